//! What a node keeps on its disk, beside the votes that the consensus engine keeps itself.
//!
//! ```text
//! blocks/log       frames (`journal`, `kept`), each a record:
//!                    1 || block as `tally_ledger` writes it
//!                    2 || digest of a block, 32 bytes || certificate that it is final
//! pool/N           frames, each a transaction that was acknowledged and may not be in a final block yet
//! snapshots/       what the blocks have come to (`snapshots`); nothing is lost with it
//! ```
//!
//! Invariants:
//! * A block is durable before this node votes for it or proposes it, so a block that a quorum voted for is on the disks of
//!   a quorum.
//! * A block is written before its children, and before its certificate. So whatever is read back has its ancestors.
//! * A transaction is durable before it is acknowledged, and stays so until it is in a final block that is durable.
//! * `pool/N` is replaced by `pool/N+1`, which is whole before the old one goes.
//! * Of blocks and pool nothing is cut off that was durable: where that cannot be read any more, the node does not start.
//!
//! A certificate need not be durable when it is known: the next one covers it, and peers have it.

use std::collections::HashMap;

use bytes::Bytes;
use commonware_runtime::{Error, Storage};
use tally_ledger::{BlockDigest, Checked, Epoch, HEADER_BYTES, Header, Height};

use crate::consensus::Finalized;
use crate::journal::{Place, ReadError, Reader};
use crate::kept::{Kept, OpenError};
use crate::wire::{FinalBlock, Stretch};

/// The names under which one node's data is kept. Nodes that share a storage, as in a simulation, differ in the prefix.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partitions {
    pub(crate) prefix: String,
}

impl Partitions {
    pub(crate) fn blocks(&self) -> String {
        format!("{}blocks", self.prefix)
    }

    pub(crate) fn pool(&self) -> String {
        format!("{}pool", self.prefix)
    }

    pub(crate) fn snapshots(&self) -> String {
        format!("{}snapshots", self.prefix)
    }

    /// Where the votes of an epoch are: a validator that loses them may sign against its own word.
    pub(crate) fn votes(&self, epoch: Epoch) -> String {
        format!("{}votes-{epoch}", self.prefix)
    }
}

/// A pool file beyond this, with most of it settled, is replaced.
const POOL_FILE: u64 = 32 * 1024 * 1024; // bytes

/// Why a node's data could not be opened or read. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused.
    #[error("the disk: {0}")]
    Disk(#[from] Error),
    /// A frame that was whole when it was written is not any more. Nothing of its file was cut off.
    #[error("the data directory is damaged: {0}")]
    Damaged(String),
}

/// What an operator can do where blocks are damaged.
const BLOCKS_ADVICE: &str = "a node whose chain others have fetches it again once store/blocks is moved away; else a backup \
                             brings it back (`tally ledger restore`)";
/// The same of acknowledged transactions.
const POOL_ADVICE: &str =
    "a node whose transactions others have, too, goes on once store/pool is moved away";

/// Why a file was not opened: what to do about it goes with it.
fn not_opened(folder: &str, advice: &str) -> impl FnOnce(OpenError) -> StoreError {
    move |error| match error {
        // The page that the runtime puts in front of each file is not as it was written.
        OpenError::Storage(corrupt @ Error::BlobCorrupt(..)) => StoreError::Damaged(format!(
            "a file in store/{folder}: {corrupt}; it is left as it is: {advice}"
        )),
        OpenError::Storage(error) => StoreError::Disk(error),
        rotten @ OpenError::Rotten { .. } => StoreError::Damaged(format!(
            "the file in store/{folder}: {rotten}; it is left as it is: {advice}"
        )),
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(error) => Self::Disk(error),
            rotten @ ReadError::Rotten { .. } => Self::Damaged(rotten.to_string()),
        }
    }
}

/// What a disk knows of a block.
#[derive(Clone, Copy, Debug)]
struct Known {
    place: Place,
    height: Height,
    parent: BlockDigest,
    certificate: Option<Place>,
}

impl Known {
    /// Bytes of the block, and of its certificate if it has one.
    fn bytes(&self) -> (usize, Option<usize>) {
        let certificate = self.certificate.map(Place::length);
        (
            self.place.length() - 1,
            certificate.map(|length| length - CERTIFICATE_HEAD),
        )
    }
}

/// The blocks on the disk.
pub(crate) struct Blocks<E: Storage> {
    journal: Kept<E>,
    known: HashMap<BlockDigest, Known>,
}

/// Blocks that are to be read, beside whoever puts others down.
pub(crate) struct Reading<E: Storage> {
    reader: Reader<E>,
    blocks: Vec<Known>,
}

impl<E: Storage> Reading<E> {
    /// Reads them, each with its own certificate if it has one.
    pub(crate) async fn read(self) -> Result<Stretch, StoreError> {
        let mut stretch = Stretch::default();
        for known in self.blocks {
            let block = Bytes::from(self.reader.read(known.place).await?);
            let certificate = match known.certificate {
                None => Bytes::new(),
                Some(place) => {
                    Bytes::from(self.reader.read(place).await?).slice(CERTIFICATE_HEAD..)
                }
            };
            stretch.blocks.push(FinalBlock {
                block: block.slice(1..),
                certificate,
            });
        }
        Ok(stretch)
    }
}

/// The one file of blocks.
pub(crate) const BLOCKS_FILE: &str = "log";

pub(crate) const BLOCK: u8 = 1;
pub(crate) const CERTIFICATE: u8 = 2;
const CERTIFICATE_HEAD: usize = 1 + 32; // bytes

impl<E: Storage> Blocks<E> {
    /// Opens the blocks. Also returns the highest block that has a certificate, with it.
    pub(crate) async fn open(
        storage: &E,
        partitions: &Partitions,
    ) -> Result<(Self, Option<Finalized>), StoreError> {
        let mut known: HashMap<BlockDigest, Known> = HashMap::new();
        let mut damaged = None;
        let mut last: Option<(Height, BlockDigest)> = None;
        let (journal, torn) = Kept::open(
            storage,
            &partitions.blocks(),
            BLOCKS_FILE,
            |place, record| {
                let read = match record.split_first() {
                    Some((&BLOCK, block)) => read_header(block).map(|header| {
                        known.entry(header.digest()).or_insert(Known {
                            place,
                            height: header.height,
                            parent: header.parent,
                            certificate: None,
                        });
                    }),
                    Some((&CERTIFICATE, rest)) => rest
                        .first_chunk()
                        .map(|digest| BlockDigest::from_bytes(*digest))
                        .and_then(|digest| {
                            let block = known.get_mut(&digest)?;
                            block.certificate = Some(place);
                            if last.is_none_or(|(height, _)| block.height > height) {
                                last = Some((block.height, digest));
                            }
                            Some(())
                        }),
                    _ => None,
                };
                if read.is_none() {
                    damaged.get_or_insert(format!("{place:?} is no record of blocks"));
                }
            },
        )
        .await
        .map_err(not_opened("blocks", BLOCKS_ADVICE))?;
        if let Some(damaged) = damaged {
            return Err(StoreError::Damaged(damaged));
        }
        if torn > 0 {
            tracing::warn!(
                bytes = torn,
                "the end of the block file was never synced, and is cut off"
            );
        }
        let blocks = Self { journal, known };
        let last = match last {
            None => None,
            Some((_, block)) => Some(Finalized {
                certificate: blocks
                    .certificate(&block)
                    .await?
                    .expect("a block with a certificate was counted"),
                block,
            }),
        };
        Ok((blocks, last))
    }

    pub(crate) fn height(&self, block: &BlockDigest) -> Option<Height> {
        self.known.get(block).map(|known| known.height)
    }

    pub(crate) fn parent(&self, block: &BlockDigest) -> Option<BlockDigest> {
        self.known.get(block).map(|known| known.parent)
    }

    /// The blocks that lead from one, which is not among them, to another, in order.
    pub(crate) fn path(
        &self,
        from: BlockDigest,
        to: BlockDigest,
    ) -> Result<Vec<BlockDigest>, StoreError> {
        let mut path = Vec::new();
        let mut at = to;
        while at != from {
            path.push(at);
            at = self.parent(&at).ok_or_else(|| {
                StoreError::Damaged(format!(
                    "block {at} is missing: it does not lead back to this chain's genesis"
                ))
            })?;
        }
        path.reverse();
        Ok(path)
    }

    /// Puts blocks down, each after its parent, and makes them durable. Those that are there already are passed over.
    pub(crate) async fn put(&mut self, blocks: &[(BlockDigest, &Bytes)]) -> Result<(), StoreError> {
        let new: Vec<_> = blocks
            .iter()
            .filter(|(digest, _)| !self.known.contains_key(digest))
            .map(|(digest, bytes)| (*digest, [&[BLOCK], bytes.as_ref()].concat()))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let records: Vec<&[u8]> = new.iter().map(|(_, record)| record.as_slice()).collect();
        let places = self.journal.append(&records).await?;
        self.journal.sync().await?;
        for ((digest, record), place) in new.iter().zip(places) {
            let header = read_header(&record[1..]).expect("only whole blocks are put down");
            self.known.insert(
                *digest,
                Known {
                    place,
                    height: header.height,
                    parent: header.parent,
                    certificate: None,
                },
            );
        }
        Ok(())
    }

    /// Puts down that a block is final. The block is there. Durable at the next sync.
    pub(crate) async fn put_certificate(
        &mut self,
        finalized: &Finalized,
    ) -> Result<(), StoreError> {
        let known = self
            .known
            .get_mut(&finalized.block)
            .expect("a block is put down before its certificate");
        if known.certificate.is_some() {
            return Ok(());
        }
        let record = [
            &[CERTIFICATE],
            &finalized.block.as_bytes()[..],
            &finalized.certificate,
        ]
        .concat();
        known.certificate = self.journal.append(&[&record]).await?.pop();
        Ok(())
    }

    pub(crate) async fn sync(&mut self) -> Result<(), StoreError> {
        Ok(self.journal.sync().await?)
    }

    /// Says on the disk what of them is durable: for whoever has the time.
    pub(crate) async fn mark(&mut self) -> Result<(), StoreError> {
        Ok(self.journal.mark().await?)
    }

    /// Bytes of a block, and of its certificate if it has one; none if it is not here.
    pub(crate) fn bytes(&self, block: &BlockDigest) -> Option<(usize, Option<usize>)> {
        self.known.get(block).map(Known::bytes)
    }

    /// Blocks to be read beside the loop; none if one of them is not here.
    pub(crate) fn reading(&self, blocks: &[BlockDigest]) -> Option<Reading<E>> {
        let known = blocks.iter().map(|block| self.known.get(block).copied());
        Some(Reading {
            reader: self.journal.reader(),
            blocks: known.collect::<Option<_>>()?,
        })
    }

    /// A block as it was written.
    pub(crate) async fn get(&self, block: &BlockDigest) -> Result<Option<Bytes>, StoreError> {
        match self.known.get(block) {
            None => Ok(None),
            Some(known) => {
                let record = Bytes::from(self.journal.read(known.place).await?);
                Ok(Some(record.slice(1..)))
            }
        }
    }

    /// A block's own certificate, if it has one.
    pub(crate) async fn certificate(
        &self,
        block: &BlockDigest,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match self.known.get(block).and_then(|known| known.certificate) {
            None => Ok(None),
            Some(place) => {
                let mut record = self.journal.read(place).await?;
                Ok(Some(record.split_off(CERTIFICATE_HEAD)))
            }
        }
    }
}

fn read_header(block: &[u8]) -> Option<Header> {
    Header::from_bytes(block.get(..HEADER_BYTES)?).ok()
}

/// The acknowledged transactions on the disk.
pub(crate) struct PoolFile<E: Storage> {
    partition: String,
    journal: Kept<E>,
    number: u64,
}

impl<E: Storage> PoolFile<E> {
    /// Opens the newest file and hands each transaction to `each`.
    pub(crate) async fn open(
        storage: &E,
        partitions: &Partitions,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Self, StoreError> {
        let partition = partitions.pool();
        let mut numbers: Vec<u64> = match storage.scan(&partition).await {
            Ok(names) => names.iter().filter_map(|name| number(name)).collect(),
            Err(Error::PartitionMissing(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        numbers.sort_unstable();
        // A crash while a file was replaced leaves two, and the older one has everything.
        let number = numbers.first().copied().unwrap_or(0);
        for half in numbers.iter().skip(1) {
            Kept::remove(storage, &partition, &file_name(*half)).await?;
        }
        let file = file_name(number);
        let (journal, torn) = Kept::open(storage, &partition, &file, |_, transaction| {
            each(transaction)
        })
        .await
        .map_err(not_opened("pool", POOL_ADVICE))?;
        if torn > 0 {
            tracing::warn!(
                bytes = torn,
                "the end of the pool was never acknowledged, and is cut off"
            );
        }
        Ok(Self {
            partition,
            journal,
            number,
        })
    }

    /// Makes transactions durable.
    pub(crate) async fn put(&mut self, transactions: &[Checked]) -> Result<(), StoreError> {
        let records = records(transactions);
        self.journal.append(&records).await?;
        Ok(self.journal.sync().await?)
    }

    /// Says on the disk what of it is durable: for whoever has the time.
    pub(crate) async fn mark(&mut self) -> Result<(), StoreError> {
        Ok(self.journal.mark().await?)
    }

    /// Whether so much of the file is settled that it should be replaced by what `live` bytes remain.
    pub(crate) fn stale(&self, live: u64) -> bool {
        self.journal.bytes() > POOL_FILE && live < self.journal.bytes() / 2
    }

    /// Replaces the file by one that has only what is still open.
    pub(crate) async fn replace(
        &mut self,
        storage: &E,
        open: &[Checked],
    ) -> Result<(), StoreError> {
        let next = self.number + 1;
        let file = file_name(next);
        let (mut journal, _) = Kept::open(storage, &self.partition, &file, |_, _| ())
            .await
            .map_err(not_opened("pool", POOL_ADVICE))?;
        let records = records(open);
        if !records.is_empty() {
            journal.append(&records).await?;
        }
        journal.sync().await?;
        let old = file_name(self.number);
        self.journal = journal;
        self.number = next;
        Ok(Kept::remove(storage, &self.partition, &old).await?)
    }
}

fn records(transactions: &[Checked]) -> Vec<&[u8]> {
    transactions
        .iter()
        .map(|checked| checked.transaction().as_bytes())
        .collect()
}

/// The name of a file that is one of a row.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:020}")
}

pub(crate) fn number(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use commonware_runtime::{Blob as _, ReadOptions, Runner as _, WriteOptions, deterministic};

    use super::*;
    use crate::bodies::Bodies;
    use crate::simulation::recorded;

    /// A chain's final blocks, put down.
    async fn put_down(disk: &impl Storage, stretch: &Stretch) {
        let (mut blocks, last) = Blocks::open(disk, &Partitions::default()).await.unwrap();
        assert!(last.is_none());
        for one in &stretch.blocks {
            let (block, _) = Bodies::read(one.block.clone()).unwrap();
            blocks.put(&[(block, &one.block)]).await.unwrap();
            if !one.certificate.is_empty() {
                let finalized = Finalized {
                    block,
                    certificate: one.certificate.to_vec(),
                };
                blocks.put_certificate(&finalized).await.unwrap();
            }
        }
        blocks.sync().await.unwrap();
        blocks.mark().await.unwrap();
    }

    /// Changes the file of blocks, and returns what it is then.
    async fn change(disk: &impl Storage, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let partition = Partitions::default().blocks();
        let (blob, size) = disk.open(&partition, BLOCKS_FILE.as_bytes()).await.unwrap();
        let size = usize::try_from(size).unwrap();
        let read = blob.read_at(0, size, ReadOptions::default()).await.unwrap();
        let mut bytes = read.coalesce().as_ref().to_vec();
        change(&mut bytes);
        let written = blob.write_at(0, bytes.clone(), WriteOptions::default());
        written.await.unwrap();
        blob.sync().await.unwrap();
        bytes
    }

    #[test]
    fn of_blocks_a_torn_end_is_cut_and_rot_in_the_middle_is_left_and_named() {
        let stretch = recorded().blocks;
        deterministic::Runner::default().start(|disk| async move {
            put_down(&disk, &stretch).await;
            let (last, _) = Bodies::read(stretch.blocks.last().unwrap().block.clone()).unwrap();
            let whole = change(&disk, |_| ()).await;
            // What was being written when the power failed.
            change(&disk, |bytes| bytes.extend([0, 0, 1, 0, 7, 7])).await;
            let (blocks, found) = Blocks::open(&disk, &Partitions::default()).await.unwrap();
            assert_eq!(found.unwrap().block, last);
            drop(blocks);
            assert_eq!(change(&disk, |_| ()).await, whole);

            let rotten = change(&disk, |bytes| {
                let tenth = bytes.len() / 10;
                bytes[tenth] ^= 1;
            });
            let rotten = rotten.await;
            let Err(StoreError::Damaged(said)) = Blocks::open(&disk, &Partitions::default()).await
            else {
                panic!("it is rotten");
            };
            assert!(said.contains("store/blocks") && said.contains("tally ledger restore"));
            assert_eq!(change(&disk, |_| ()).await, rotten);
        });
    }

    #[test]
    fn of_acknowledged_transactions_none_is_cut_off_for_rot_in_one() {
        let recorded = recorded();
        let chain = recorded.genesis.chain();
        let mut transactions = Vec::new();
        for one in recorded.blocks.blocks {
            let (_, body) = Bodies::read(one.block).unwrap();
            let good = |one| Checked::known_to_be_good(one, chain);
            transactions.extend(body.block.transactions.into_iter().map(good));
        }
        deterministic::Runner::default().start(|disk| async move {
            let names = Partitions::default();
            let mut pool = PoolFile::open(&disk, &names, |_| ()).await.unwrap();
            pool.put(&transactions).await.unwrap();
            // As a file that has replaced another one.
            pool.replace(&disk, &transactions).await.unwrap();
            pool.mark().await.unwrap();
            drop(pool);
            let mut found = 0;
            PoolFile::open(&disk, &names, |_| found += 1).await.unwrap();
            assert_eq!(found, transactions.len());
            let file = file_name(1);
            let (blob, _) = disk.open(&names.pool(), file.as_bytes()).await.unwrap();
            let written = blob.write_at(20, vec![0xff, 0xfe], WriteOptions::default());
            written.await.unwrap();
            blob.sync().await.unwrap();
            drop(blob);
            let opened = PoolFile::open(&disk, &names, |_| ()).await;
            assert!(
                matches!(opened, Err(StoreError::Damaged(said)) if said.contains("store/pool"))
            );
        });
    }

    #[test]
    fn blocks_are_read_beside_whoever_puts_others_down() {
        let stretch = recorded().blocks;
        deterministic::Runner::default().start(|disk| async move {
            put_down(&disk, &stretch).await;
            let (mut blocks, _) = Blocks::open(&disk, &Partitions::default()).await.unwrap();
            let read = |one: &FinalBlock| Bodies::read(one.block.clone()).unwrap().0;
            let digests: Vec<BlockDigest> = stretch.blocks.iter().map(read).collect();
            let reading = blocks.reading(&digests).unwrap();
            let stranger = BlockDigest::from_bytes([9; 32]);
            assert!(blocks.reading(&[digests[0], stranger]).is_none());
            let other = crate::fuzzing::genesis().state();
            let other = other.propose(other.head().time, []).block();
            let bytes = Bytes::from(other.to_bytes());
            blocks.put(&[(other.digest(), &bytes)]).await.unwrap();
            assert_eq!(reading.read().await.unwrap(), stretch);
            for (digest, one) in digests.iter().zip(&stretch.blocks) {
                let certificate = Some(one.certificate.len()).filter(|length| *length > 0);
                assert_eq!(blocks.bytes(digest), Some((one.block.len(), certificate)));
            }
        });
    }
}

//! What a node keeps on its disk, beside the votes that the consensus engine keeps itself.
//!
//! ```text
//! blocks/log       frames (`journal`), each a record:
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
//!
//! A certificate need not be durable when it is known: the next one covers it, and peers have it.

use std::collections::HashMap;

use bytes::Bytes;
use commonware_runtime::{Error, Storage};
use tally_ledger::{BlockDigest, Checked, Epoch, HEADER_BYTES, Header, Height};

use crate::consensus::Finalized;
use crate::journal::{Journal, Place, ReadError};

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
    /// A frame that was whole when it was written is not any more.
    #[error("the data directory is damaged: {0}")]
    Damaged(String),
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

/// The blocks on the disk.
pub(crate) struct Blocks<E: Storage> {
    journal: Journal<E>,
    known: HashMap<BlockDigest, Known>,
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
        let (journal, torn) = Journal::open(
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
        .await?;
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

    pub(crate) async fn sync(&self) -> Result<(), StoreError> {
        Ok(self.journal.sync().await?)
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
    journal: Journal<E>,
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
            storage.remove(&partition, Some(&name(*half))).await?;
        }
        let file = String::from_utf8(name(number)).expect("digits are UTF-8");
        let (journal, torn) = Journal::open(storage, &partition, &file, |_, transaction| {
            each(transaction)
        })
        .await?;
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
        let file = String::from_utf8(name(next)).expect("digits are UTF-8");
        let (mut journal, _) = Journal::open(storage, &self.partition, &file, |_, _| ()).await?;
        let records = records(open);
        if !records.is_empty() {
            journal.append(&records).await?;
        }
        journal.sync().await?;
        let old = name(self.number);
        self.journal = journal;
        self.number = next;
        Ok(storage.remove(&self.partition, Some(&old)).await?)
    }
}

fn records(transactions: &[Checked]) -> Vec<&[u8]> {
    transactions
        .iter()
        .map(|checked| checked.transaction().as_bytes())
        .collect()
}

pub(crate) fn name(number: u64) -> Vec<u8> {
    format!("{number:020}").into_bytes()
}

pub(crate) fn number(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

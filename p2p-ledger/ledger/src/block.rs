//! Blocks: what validators vote on.
//!
//! ```text
//! header, HEADER_BYTES:
//!     height u64 || epoch u64 || parent 32 || body 32 || log size u64 || log root 32
//!     || state root 32 || time u64 || next validators 32
//! block:
//!     header || count u32 of transactions || for each: length u32 || bytes
//! ```
//!
//! A block's digest is that of its header, and the header commits to everything: to the body by its digest, to the
//! log of receipts and to the state *after* the block, to the validators who vote on the next block, and by its parent
//! to all blocks before. `time` is the proposer's clock in milliseconds since 1970, later than the parent's.
//!
//! When `next validators` are not those who voted on this block, it is the last of its epoch.

use tally_log::Hash;
use tally_receipt::{Digest, Timestamp};

use crate::id::{BlockDigest, Epoch, Height, Purpose, StateRoot, hash};
use crate::params::MAX_BLOCK_BYTES;
use crate::transaction::{MAX_TRANSACTION_BYTES, Transaction};
use crate::wire::{DecodeError, Reader, Write};

/// Bytes of a header: four numbers and five digests.
pub const HEADER_BYTES: usize = 4 * 8 + 5 * 32;

/// Transactions in a block: the smallest takes 4 + 131 bytes, so the limit on bytes comes first.
const MAX_TRANSACTIONS: usize = MAX_BLOCK_BYTES as usize / 135;

/// What a block says about everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its place.
    pub height: Height,
    /// How often the validators had changed.
    pub epoch: Epoch,
    /// The block before it. Of genesis: zeros.
    pub parent: BlockDigest,
    /// The digest of its transactions.
    pub body: Digest,
    /// Receipts in the log.
    pub log_size: u64,
    /// The root of the log.
    pub log_root: Hash,
    /// The root of the state.
    pub state_root: StateRoot,
    /// By the proposer's clock.
    pub time: Timestamp,
    /// Who votes on the next block.
    pub next_validators: Digest,
}

impl Header {
    /// The block's digest, which is what validators vote on.
    pub fn digest(&self) -> BlockDigest {
        BlockDigest::new(hash(Purpose::Header, |hasher| self.write(hasher)))
    }

    /// Writes the header down.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        self.write(&mut bytes);
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, Self::read)
    }

    pub(crate) fn write(&self, to: &mut impl Write) {
        to.put_u64(self.height.get());
        to.put_u64(self.epoch.get());
        to.put(self.parent.as_bytes());
        to.put(self.body.as_bytes());
        to.put_u64(self.log_size);
        to.put(self.log_root.as_bytes());
        to.put(self.state_root.as_bytes());
        to.put_u64(self.time.unix_ms());
        to.put(self.next_validators.as_bytes());
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            height: Height::new(reader.u64("the height")?),
            epoch: Epoch::new(reader.u64("the epoch")?),
            parent: BlockDigest::new(reader.digest("the parent")?),
            body: reader.digest("the body's digest")?,
            log_size: reader.u64("the log's size")?,
            log_root: Hash::from_bytes(reader.array("the log's root")?),
            state_root: StateRoot::new(reader.digest("the state's root")?),
            time: reader.time("the time")?,
            next_validators: reader.digest("the next validators")?,
        })
    }
}

/// A header and the transactions that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it says.
    pub header: Header,
    /// What was asked, in the order in which it was done.
    pub transactions: Vec<Transaction>,
}

impl Block {
    /// The digest that the header has of these transactions.
    pub fn body_digest(transactions: &[Transaction]) -> Digest {
        Self::digest_of(transactions.iter())
    }

    pub(crate) fn digest_of<'a>(
        transactions: impl ExactSizeIterator<Item = &'a Transaction>,
    ) -> Digest {
        hash(Purpose::Body, |hasher| write_body(transactions, hasher))
    }

    /// Bytes of a body with these transactions, as [`Parameters::block_bytes`](crate::Parameters) counts them.
    pub fn body_bytes<'a>(transactions: impl IntoIterator<Item = &'a Transaction>) -> usize {
        transactions
            .into_iter()
            .fold(4, |sum, transaction| sum + 4 + transaction.as_bytes().len())
    }

    /// The block's digest.
    pub fn digest(&self) -> BlockDigest {
        self.header.digest()
    }

    /// Writes the block down.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.to_bytes();
        write_body(self.transactions.iter(), &mut bytes);
        bytes
    }

    /// Reads a block. Whether the body is the header's is checked by executing it.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let limit = MAX_BLOCK_BYTES as usize + HEADER_BYTES;
        if bytes.len() > limit {
            return Err(DecodeError::TooLong {
                part: "a block",
                found: bytes.len(),
                limit,
            });
        }
        Reader::whole(bytes, |reader| {
            let header = Header::read(reader)?;
            let found = reader.u32("the count of transactions")? as usize;
            if found > MAX_TRANSACTIONS {
                return Err(DecodeError::TooLong {
                    part: "a block",
                    found,
                    limit: MAX_TRANSACTIONS,
                });
            }
            let transactions = (0..found)
                .map(|_| {
                    Transaction::from_bytes(reader.counted(MAX_TRANSACTION_BYTES, "a transaction")?)
                })
                .collect::<Result<_, _>>()?;
            Ok(Self {
                header,
                transactions,
            })
        })
    }
}

fn write_body<'a>(
    transactions: impl ExactSizeIterator<Item = &'a Transaction>,
    to: &mut impl Write,
) {
    to.put_u32(u32::try_from(transactions.len()).expect("the limit on bytes keeps it far below"));
    for transaction in transactions {
        to.put_counted(transaction.as_bytes());
    }
}

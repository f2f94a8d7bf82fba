//! A state as bytes, for backup and for whoever joins late.
//!
//! ```text
//! "tally-state-v1\n" || chain id 32 || header of the head || frontier (u32 length, bytes)
//! || count u64 of records || for each, ascending by place: length u32 || record
//! ```
//!
//! Everything is bound by the header: the frontier by the log's size and root, the records by the state's root. So a
//! snapshot from a stranger is as good as one's own, once the header is known to be final.

use tally_log::{Frontier, FrontierError};

use super::State;
use super::records::{self, Record};
use crate::block::Header;
use crate::id::{ChainId, Credits};
use crate::map::{Map, Record as _};
use crate::wire::{DecodeError, Reader, Write};

const MAGIC: &[u8] = b"tally-state-v1\n";

/// Bytes of the largest record: that of the validators.
const MAX_RECORD_BYTES: usize = 64 << 10;

/// Why bytes are no state. Whoever gave them is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Not of this format.
    #[error("this is no state: it does not begin as one")]
    Magic,
    /// Malformed.
    #[error("the state is malformed: {0}")]
    Decode(#[from] DecodeError),
    /// Malformed in its log.
    #[error("the state's log is malformed: {0}")]
    Frontier(#[from] FrontierError),
    /// Of another chain.
    #[error("the state is of the chain {0}")]
    OtherChain(ChainId),
    /// The header says something else.
    #[error("the {part} is not the one in the state's own header")]
    Header {
        /// What.
        part: &'static str,
    },
    /// Without what every state has.
    #[error("the state lacks its parameters or validators")]
    Foundations,
    /// With more credits than there can be.
    #[error("the state has more credits than an amount can hold")]
    TooManyCredits,
}

impl State {
    /// Writes the state down.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.pieces(usize::MAX).next().unwrap_or_default()
    }

    /// The same bytes in pieces, each made when it is asked for: of so many bytes at least, but for the last one, and less
    /// than a record more.
    pub fn pieces(&self, bytes: usize) -> impl Iterator<Item = Vec<u8>> {
        let mut piece = MAGIC.to_vec();
        piece.put(self.chain.as_bytes());
        self.head.write(&mut piece);
        piece.put_counted(&self.log.to_bytes());
        piece.put_u64(self.records.len() as u64);
        let mut records = self.records.iter();
        let mut one = Vec::new();
        std::iter::from_fn(move || {
            while piece.len() < bytes
                && let Some(record) = records.next()
            {
                one.clear();
                record.write(&mut one);
                piece.put_counted(&one);
            }
            (!piece.is_empty()).then(|| std::mem::take(&mut piece))
        })
    }

    /// Reads a state of a chain. Whether its header is final is for the caller to check, by a certificate.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn from_bytes(chain: ChainId, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::Magic)?;
        let mut reader = Reader::new(rest);
        let found = ChainId::new(reader.digest("the chain")?);
        if found != chain {
            return Err(SnapshotError::OtherChain(found));
        }
        let head = Header::read(&mut reader)?;
        let log = Frontier::from_bytes(reader.counted(8 + 64 * 32, "the log")?)?;
        let mut records = Map::new();
        let mut before = None;
        let mut credits = Credits::ZERO;
        for _ in 0..reader.u64("the count of records")? {
            let record =
                Reader::whole(reader.counted(MAX_RECORD_BYTES, "a record")?, Record::read)?;
            let place = record.key();
            if before.is_some_and(|before| before >= place) {
                return Err(DecodeError::Order {
                    part: "the records",
                }
                .into());
            }
            before = Some(place);
            credits = credits
                .plus(record.credits())
                .ok_or(SnapshotError::TooManyCredits)?;
            records.insert(record);
        }
        reader.end()?;
        if !records::has_foundations(&records) {
            return Err(SnapshotError::Foundations);
        }
        for (part, same) in [
            ("log's size", head.log_size == log.size()),
            ("log's root", head.log_root == log.root()),
            ("state's root", head.state_root == records.root()),
            (
                "next validators",
                head.next_validators == records::validators(&records).1.digest(),
            ),
        ] {
            if !same {
                return Err(SnapshotError::Header { part });
            }
        }
        Ok(Self {
            chain,
            head_digest: head.digest(),
            head,
            log,
            records,
        })
    }
}

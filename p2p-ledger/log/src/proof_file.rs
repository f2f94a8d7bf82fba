//! Proof files: that an entry is in a log whose checkpoint others have seen, in one file, `.tlog-proof`.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra BASE64                 may be left out
//! index N
//! BASE64(hash)                 the inclusion proof, from the leaf's sibling up
//! …
//! (empty line)
//! checkpoint
//! ```
//!
//! Source: c2sp.org/tlog-proof. No deviations beyond those of checkpoints.

use std::fmt;

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::hash::Hash;
use crate::note::MAX_NOTE_BYTES;
use crate::proof::{InclusionProof, MAX_PROOF_HASHES, ProofError};
use crate::text;

/// Bytes of extra data.
pub const MAX_EXTRA_BYTES: usize = 64 << 10;

/// Bytes of a proof file: base64 takes four bytes for three, and a line for each hash.
pub const MAX_PROOF_FILE_BYTES: usize =
    MAX_EXTRA_BYTES / 3 * 4 + MAX_PROOF_HASHES * 45 + MAX_NOTE_BYTES + 256;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// That an entry is in a log. Whether it is has yet to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// What helps to make the entry. Nobody vouches for it but the entry's hash.
    pub extra: Option<Vec<u8>>,
    /// The entry's place.
    pub index: u64,
    /// The path from it to the root.
    pub inclusion: InclusionProof,
    /// The tree.
    pub checkpoint: SignedCheckpoint,
}

/// Why bytes are no proof file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFileError {
    /// Larger than any.
    #[error("a proof file has at most {MAX_PROOF_FILE_BYTES} bytes; this has {found}")]
    TooLarge {
        /// How many.
        found: usize,
    },
    /// Not of this format.
    #[error("this is no proof file: it does not begin with {FIRST_LINE:?}")]
    Magic,
    /// A line that should be there is not.
    #[error("the proof file has no {part} where it should be")]
    Line {
        /// Which.
        part: &'static str,
    },
    /// Too many hashes.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Its checkpoint is none.
    #[error("the proof file's checkpoint cannot be read: {0}")]
    Checkpoint(#[from] CheckpointError),
}

impl ProofFile {
    /// Whether bytes begin as a proof file, or did before a few of them were altered.
    pub fn resembles(bytes: &[u8]) -> bool {
        let same = bytes
            .iter()
            .zip(FIRST_LINE.as_bytes())
            .filter(|(one, other)| one == other);
        same.count() > FIRST_LINE.len() / 2
    }

    /// Reads a proof file.
    ///
    /// # Errors
    /// [`ProofFileError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        if bytes.len() > MAX_PROOF_FILE_BYTES {
            return Err(ProofFileError::TooLarge { found: bytes.len() });
        }
        let line = |part| ProofFileError::Line { part };
        let mut rest = bytes;
        let mut next = || -> Option<&str> {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let (head, tail) = rest.split_at(end);
            rest = &tail[1..];
            std::str::from_utf8(head).ok()
        };
        if next() != Some(FIRST_LINE) {
            return Err(ProofFileError::Magic);
        }
        let mut index_line = next().ok_or(line("index"))?;
        let mut extra = None;
        if let Some(data) = index_line.strip_prefix("extra ") {
            extra = Some(
                text::decode(data)
                    .filter(|data| data.len() <= MAX_EXTRA_BYTES)
                    .ok_or(line("extra data"))?,
            );
            index_line = next().ok_or(line("index"))?;
        }
        let index = index_line
            .strip_prefix("index ")
            .and_then(text::number)
            .ok_or(line("index"))?;
        let mut hashes: Vec<Hash> = Vec::new();
        loop {
            match next().ok_or(line("empty line"))? {
                "" => break,
                _ if hashes.len() == MAX_PROOF_HASHES => {
                    return Err(ProofError::Length {
                        found: hashes.len() + 1,
                    }
                    .into());
                }
                hash => hashes.push(text::decode_hash(hash).ok_or(line("hash"))?),
            }
        }
        Ok(Self {
            extra,
            index,
            inclusion: InclusionProof::new(hashes)?,
            checkpoint: SignedCheckpoint::parse(rest)?,
        })
    }

    /// Checks that `entry` is in the tree of the checkpoint. Whether the checkpoint is valid is for a
    /// [`Policy`](crate::Policy) to say.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self, entry: Hash) -> Result<(), ProofError> {
        let tree = self.checkpoint.checkpoint();
        self.inclusion
            .verify(entry, self.index, tree.size, tree.root)
    }
}

/// The file as it is written.
impl fmt::Display for ProofFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(formatter, "extra {}", text::encode(extra))?;
        }
        writeln!(formatter, "index {}", self.index)?;
        for hash in self.inclusion.hashes() {
            writeln!(formatter, "{}", text::encode(hash.as_bytes()))?;
        }
        write!(formatter, "\n{}", self.checkpoint)
    }
}

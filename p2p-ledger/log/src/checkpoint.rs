//! Checkpoints: what a log says of its tree, for others to hold it to.
//!
//! ```text
//! ORIGIN
//! SIZE
//! BASE64(root)
//! (empty line)
//! — ORIGIN …            a log key's signature
//! — COSIGNER …          cosignatures
//! ```
//!
//! Source: c2sp.org/tlog-checkpoint. Deviation: extension lines, which it advises against, are refused.

use std::fmt;

use tally_receipt::SigningKey;

use crate::hash::Hash;
use crate::note::{
    InvalidKeyName, KeyName, Note, NoteError, NoteSignature, Signed, UnixSeconds, VerifierKey,
};
use crate::text;

/// What a tree is: whose, how large, and its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is also the name of its key.
    pub origin: KeyName,
    /// Leaves of the tree.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

/// A checkpoint with signatures, not yet known to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

/// Why bytes are no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A note of something else.
    #[error("a checkpoint is an origin, a size and a root, each on its line")]
    Form,
    /// An origin that names nothing.
    #[error("the origin cannot be used: {0}")]
    Origin(#[from] InvalidKeyName),
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            text::encode(self.root.as_bytes())
        )
    }

    fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split_terminator('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Form);
        };
        Ok(Self {
            origin: KeyName::new(origin)?,
            size: text::number(size).ok_or(CheckpointError::Form)?,
            root: text::decode_hash(root).ok_or(CheckpointError::Form)?,
        })
    }

    /// The checkpoint without signatures yet.
    pub fn unsigned(self) -> SignedCheckpoint {
        SignedCheckpoint {
            note: Note::new(&self.text())
                .expect("an origin has no control characters, and every line has its end"),
            checkpoint: self,
        }
    }
}

impl SignedCheckpoint {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let note = Note::parse(bytes)?;
        Ok(Self {
            checkpoint: Checkpoint::parse(note.text())?,
            note,
        })
    }

    /// What it says.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signatures, in their order.
    pub fn signatures(&self) -> &[NoteSignature] {
        self.note.signatures()
    }

    /// Signs as the log.
    pub fn sign(&mut self, log: &SigningKey) {
        let origin = self.checkpoint.origin.clone();
        self.note.sign(&origin, log);
    }

    /// Cosigns.
    pub fn cosign(&mut self, name: &KeyName, key: &SigningKey, at: UnixSeconds) {
        self.note.cosign(name, key, at);
    }

    /// Adds the signatures that another copy of the same checkpoint has. Whether it is the same.
    pub fn merge(&mut self, other: &Self) -> bool {
        let same = self.checkpoint == other.checkpoint;
        if same {
            for signature in other.note.signatures() {
                self.note.add(signature.clone());
            }
        }
        same
    }

    /// Keeps only the signatures of keys that pass.
    pub fn retain(&mut self, keep: impl Fn(&NoteSignature) -> bool) {
        let mut kept = self.checkpoint.clone().unsigned();
        for signature in self.note.signatures().iter().filter(|one| keep(one)) {
            kept.note.add(signature.clone());
        }
        *self = kept;
    }

    /// Whether a key has signed.
    pub fn signed_by(&self, verifier: &VerifierKey) -> Signed {
        self.note.signed_by(verifier)
    }
}

/// The checkpoint as it is written.
impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(formatter)
    }
}

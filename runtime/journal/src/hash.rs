//! The one hash of a journal: BLAKE3 in its key-derivation mode, so that a journal's hash can be mistaken for no other.
//!
//! ```text
//! frame_hash(payload)       = BLAKE3 derive_key("tally journal v1 frame", payload)
//! start(header, run)        = BLAKE3 derive_key("tally journal v1 start", header || run)
//! ```
//!
//! The hash of an entry is the frame hash of its payload. The payload names its kind, so entries, blobs and seals share
//! one derivation without being confusable.

use std::fmt;
use std::sync::LazyLock;

use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

/// Domain of the hash of every frame.
pub const FRAME_CONTEXT: &str = "tally journal v1 frame";
/// Domain of the value that the first entry names as its predecessor.
pub const START_CONTEXT: &str = "tally journal v1 start";

// Deriving the context key costs as much as hashing a short entry, so it is done once.
static FRAME_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(FRAME_CONTEXT));

/// The hash of one entry, which the next entry names as its predecessor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryHash([u8; 32]);

impl EntryHash {
    /// Takes 32 bytes as they are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryHash({self})")
    }
}

pub(crate) fn frame_hash(payload: &[u8]) -> EntryHash {
    let mut hasher = Hasher::new_from_context_key(&FRAME_KEY);
    hasher.update(payload);
    EntryHash(*hasher.finalize().as_bytes())
}

pub(crate) fn start(header: &[u8], run: &[u8; 16]) -> EntryHash {
    let mut hasher = Hasher::new_derive_key(START_CONTEXT);
    hasher.update(header);
    hasher.update(run);
    EntryHash(*hasher.finalize().as_bytes())
}

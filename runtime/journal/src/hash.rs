//! The one hash of a journal: a keyed BLAKE3, so that a journal's hash can be mistaken for no other.
//!
//! ```text
//! frame_key           = BLAKE3 derive_key("tally journal v1 frame", nothing)
//!
//! frame_hash(payload) = BLAKE3 keyed_hash(prev, payload without its last 51 bytes: run and prev)   an entry but the first
//!                       BLAKE3 keyed_hash(prev, payload without its last 34 bytes: prev)           a first entry
//!                       BLAKE3 keyed_hash(frame_key, payload)                                      everything else
//! ```
//!
//! The hash of an entry is the frame hash of its payload. An entry's last two elements are the run and the hash of the
//! entry before it (of the first entry: of the terms). That hash is the key, so it is covered without being hashed again,
//! and the chain is what BLAKE3 makes of the blocks of a long message: each a function of what came before. The run is
//! covered by the first entry, and a reader compares it in the others. So nearly every entry is one block.
//!
//! The payload names its kind, so frames are not confusable, and the chain begins at the frame key, which is the same for
//! everyone and no secret.

use std::fmt;
use std::sync::LazyLock;

use blake3::platform::{self, Platform};

use crate::encode::{PREV_ITEM_LEN, TAIL_LEN, signpost};

/// Domain of the hash of every frame.
pub const FRAME_CONTEXT: &str = "tally journal v1 frame";

static FRAME_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| blake3::derive_key(FRAME_CONTEXT, &[]));

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

/// The hash of an entry after `prev`, of whose payload `covered` is hashed.
#[inline]
pub(crate) fn entry_hash(prev: &EntryHash, covered: &[u8]) -> EntryHash {
    EntryHash(if covered.len() <= BLOCK_LEN {
        one_block(&prev.0, covered)
    } else {
        *blake3::keyed_hash(&prev.0, covered).as_bytes()
    })
}

const BLOCK_LEN: usize = 64;
/// First and last block of a chunk, the root of the tree, under a key.
const ONE_BLOCK_KEYED: u8 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4;

/// BLAKE3 `keyed_hash` of at most one block: one compression, without the bookkeeping for more. Nearly every entry is that
/// short.
///
/// `blake3::platform` is hidden from that crate's pages and may change in any version of it; `Cargo.lock` fixes the version,
/// and a test compares.
#[inline]
fn one_block(key: &[u8; 32], content: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_LEN];
    block[..content.len()].copy_from_slice(content);
    let mut words = platform::words_from_le_bytes_32(key);
    let len = content.len() as u8; // at most 64
    Platform::detect().compress_in_place(&mut words, &block, len, 0, ONE_BLOCK_KEYED);
    platform::le_bytes_from_words_32(&words)
}

pub(crate) fn frame_hash(payload: &[u8]) -> EntryHash {
    // The kind of an entry is one byte after a list head of one byte: 0 for the first, 1 to 4 for the others.
    let tail = match payload.get(1) {
        Some(0) => PREV_ITEM_LEN,
        Some(1..=4) => TAIL_LEN,
        _ => 0,
    };
    let hash = match signpost(payload).filter(|_| tail > 0) {
        Some((_, prev)) => blake3::keyed_hash(prev.as_bytes(), &payload[..payload.len() - tail]),
        None => blake3::keyed_hash(&FRAME_KEY, payload),
    };
    EntryHash(*hash.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_gives_the_keyed_hash() {
        let content: Vec<u8> = (0..200).map(|i: u8| i.wrapping_mul(7)).collect();
        let prev = EntryHash::from_bytes(*blake3::hash(b"before").as_bytes());
        for len in 0..=content.len() {
            let covered = &content[..len];
            let expected = blake3::keyed_hash(prev.as_bytes(), covered);
            assert_eq!(
                entry_hash(&prev, covered).as_bytes(),
                expected.as_bytes(),
                "{len}"
            );
        }
    }
}

//! Where a vault keeps what (`docs/vault.md`, Files), and what a name found in its folder claims to be.
//!
//! Names are hints. What a file is, is decided by its bytes; a name that disagrees is a finding.

use std::path::{Path, PathBuf};

use tally_vault_format::{BlobId, KeyringId, MemberId};

pub(crate) const GENESIS: &str = "VAULT";
pub(crate) const LOCK: &str = "lock";
pub(crate) const SLOTS: &str = "slots";
pub(crate) const KEYS: &str = "keys";
pub(crate) const SEGMENTS: &str = "seg";
pub(crate) const TAILS: &str = "tail";
pub(crate) const BLOBS: &str = "blob";
pub(crate) const TEMPORARY: &str = "tmp";

/// The folders of a vault, in the order in which they are made.
pub(crate) const FOLDERS: [&str; 6] = [SLOTS, KEYS, SEGMENTS, TAILS, BLOBS, TEMPORARY];

/// A tail is closed when it is longer than this, in bytes.
pub(crate) const SEGMENT_LEN: u64 = 4 << 20;

/// Paths inside one vault's folder.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn genesis(&self) -> PathBuf {
        self.root.join(GENESIS)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join(LOCK)
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn keyring(&self, id: &KeyringId) -> PathBuf {
        self.root.join(KEYS).join(format!("{id}.key"))
    }

    pub(crate) fn tail(&self, author: &MemberId) -> PathBuf {
        self.root.join(TAILS).join(tail_name(author))
    }

    pub(crate) fn blob(&self, id: &BlobId) -> PathBuf {
        self.root.join(BLOBS).join(format!("{id}.blob"))
    }
}

pub(crate) fn slot_name(member: &MemberId) -> String {
    format!("{}.slot", hex::encode(&member.as_bytes()[..8]))
}

pub(crate) fn tail_name(author: &MemberId) -> String {
    format!("{author}.log")
}

pub(crate) fn segment_name(hash: &blake3::Hash) -> String {
    format!("{}.seg", hash.to_hex())
}

/// Whether a name has the form of a segment's or a tail's.
pub(crate) fn is_frame_file_name(name: &str, is_tail: bool) -> bool {
    let stem = name.strip_suffix(if is_tail { ".log" } else { ".seg" });
    stem.is_some_and(is_hash)
}

/// Whether a text is 32 bytes in lower-case hexadecimal.
pub(crate) fn is_hash(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

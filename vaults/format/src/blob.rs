//! A blob: a large content in a file of its own, under a key of its own.
//!
//! ```text
//! commitment [32] ‖ chunks
//! ```
//!
//! The record holds the key, the hash of the file and the true length. The file's hash is taken while
//! the chunks are in the cache, so each byte is fetched from memory once.

use rand_core::CryptoRng;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    BlobId, BlobKey, BlobRef, VaultId,
    chunks::{ChunkKey, TAG_LEN},
    crypto, limits,
    padme::padded_len,
};

/// Bytes in front of the chunks.
pub const BLOB_HEADER_LEN: usize = 32;
/// Bytes of a chunk as it is stored; the last may be shorter.
const SEALED_CHUNK_LEN: usize = limits::CHUNK_LEN + TAG_LEN;
/// Chunks that are sealed or opened at once: few enough to stay in the second cache, and many enough that the hash,
/// which runs over 16 KiB side by side where its position is even, loses little at the odd ends.
const GROUP_CHUNKS: u64 = 8;
/// Bytes of content that are sealed at once.
pub const BLOB_GROUP_LEN: usize = GROUP_CHUNKS as usize * limits::CHUNK_LEN;
/// The same as they are stored.
pub const BLOB_SEALED_GROUP_LEN: usize = GROUP_CHUNKS as usize * SEALED_CHUNK_LEN;

/// Why a blob is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// A content over 4 GiB.
    #[error("content of {found} bytes, over {}", limits::BLOB_CONTENT_LEN)]
    ContentLength {
        /// How long it is.
        found: u64,
    },
    /// Not the size that the record's length belongs to.
    #[error("blob is cut off, or longer than its record says")]
    Length,
    /// The file commits to another key or another vault.
    #[error("blob is committed to another key")]
    Commitment,
    /// A chunk was altered, moved, doubled or cut off.
    #[error("chunk {number} of the blob was altered, moved or cut off")]
    Chunk {
        /// Which, from 0.
        number: u64,
    },
    /// Padding that is not zero.
    #[error("padding of the blob is not zero")]
    PaddingNotZero,
    /// Not the file that the record names.
    #[error("blob has not the hash that its record names")]
    Hash,
}

/// Bytes of the blob file for a content of `len` bytes.
#[must_use]
pub const fn blob_file_len(len: u64) -> u64 {
    let padded = padded_len(len);
    BLOB_HEADER_LEN as u64 + padded + padded.div_ceil(limits::CHUNK_LEN as u64) * TAG_LEN as u64
}

/// Bytes of padded content in a blob file of this size; none if no blob file has it.
pub(crate) const fn padded_content_len(file_len: u64) -> Option<u64> {
    if file_len > limits::BLOB_FILE_LEN || file_len < BLOB_HEADER_LEN as u64 {
        return None;
    }
    let chunks = (file_len - BLOB_HEADER_LEN as u64).div_ceil(SEALED_CHUNK_LEN as u64);
    let overhead = BLOB_HEADER_LEN as u64 + chunks * TAG_LEN as u64;
    if file_len <= overhead {
        return None;
    }
    let padded = file_len - overhead;
    if padded_len(padded) == padded && blob_file_len(padded) == file_len {
        Some(padded)
    } else {
        None
    }
}

fn chunk_key(key: &BlobKey, vault: &VaultId) -> ChunkKey {
    ChunkKey::new(&crypto::BLOB.expand(&[key.expose(), &vault.0]))
}

/// Bytes of padded content in the group that begins with chunk `number`.
fn group_len(padded: u64, number: u64) -> usize {
    let left = padded.saturating_sub(number * limits::CHUNK_LEN as u64);
    left.min(BLOB_GROUP_LEN as u64) as usize
}

/// Writes a blob file, a group of chunks at a time.
///
/// First come [`header`](Self::header)'s bytes, then those of each group, until [`finish`](Self::finish).
pub struct BlobSealer {
    key: BlobKey,
    chunks: ChunkKey,
    hasher: blake3::Hasher,
    len: u64,
    padded: u64,
    number: u64,
}

impl BlobSealer {
    /// For a content of `len` bytes, under a fresh key.
    ///
    /// # Errors
    /// [`BlobError::ContentLength`].
    pub fn new(
        vault: &VaultId,
        len: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, BlobError> {
        if len > limits::BLOB_CONTENT_LEN {
            return Err(BlobError::ContentLength { found: len });
        }
        let mut key = BlobKey([0; 32]);
        rng.fill_bytes(&mut key.0);
        let chunks = chunk_key(&key, vault);
        let mut hasher = blake3::Hasher::new();
        hasher.update(chunks.commitment());
        Ok(Self {
            key,
            chunks,
            hasher,
            len,
            padded: padded_len(len),
            number: 0,
        })
    }

    /// The first bytes of the file.
    #[must_use]
    pub const fn header(&self) -> &[u8; BLOB_HEADER_LEN] {
        self.chunks.commitment()
    }

    /// How many bytes of content the next group takes, at most [`BLOB_GROUP_LEN`]; none after the last. It may take 0,
    /// where only padding is left.
    #[must_use]
    pub fn next_len(&self) -> Option<usize> {
        let start = self.number * limits::CHUNK_LEN as u64;
        (start < self.padded)
            .then(|| self.len.saturating_sub(start).min(BLOB_GROUP_LEN as u64) as usize)
    }

    /// Seals the next group in place: `group` holds exactly [`next_len`](Self::next_len) bytes of content, and
    /// afterwards the bytes of the file. With a capacity of [`BLOB_SEALED_GROUP_LEN`] it does not move.
    ///
    /// # Panics
    /// If `group` has another length, or after the last group.
    pub fn seal(&mut self, group: &mut Vec<u8>) {
        assert_eq!(
            self.next_len(),
            Some(group.len()),
            "a group of the announced length"
        );
        let len = group_len(self.padded, self.number);
        let chunks = len.div_ceil(limits::CHUNK_LEN);
        group.resize(len + chunks * TAG_LEN, 0);
        // Each chunk moves back by the tags in front of it, the last one first.
        for chunk in (1..chunks).rev() {
            let text = chunk * limits::CHUNK_LEN..len.min((chunk + 1) * limits::CHUNK_LEN);
            group.copy_within(text, chunk * SEALED_CHUNK_LEN);
        }
        let end = self.padded.div_ceil(limits::CHUNK_LEN as u64);
        for chunk in group.chunks_mut(SEALED_CHUNK_LEN) {
            self.chunks.seal(self.number, self.number + 1 == end, chunk);
            self.number += 1;
        }
        self.hasher.update(group);
    }

    /// What the record says about the blob.
    ///
    /// # Panics
    /// Before the last group.
    #[must_use]
    pub fn finish(self) -> BlobRef {
        assert_eq!(self.next_len(), None, "every group was sealed");
        BlobRef {
            key: self.key,
            id: BlobId(*self.hasher.finalize().as_bytes()),
            len: self.len,
        }
    }
}

/// Reads a blob file, a group of chunks at a time.
///
/// What it gives out is what was sealed under the record's key. That it is the very file the record names is known
/// only after [`finish`](Self::finish): a member who can read the record could have put another in its place.
pub struct BlobOpener {
    chunks: ChunkKey,
    hasher: blake3::Hasher,
    id: BlobId,
    len: u64,
    padded: u64,
    number: u64,
}

impl BlobOpener {
    /// For the file that begins with `header` and has `file_len` bytes.
    ///
    /// # Errors
    /// [`BlobError::ContentLength`], [`BlobError::Length`] or [`BlobError::Commitment`].
    pub fn new(
        vault: &VaultId,
        blob: &BlobRef,
        file_len: u64,
        header: &[u8; BLOB_HEADER_LEN],
    ) -> Result<Self, BlobError> {
        if blob.len > limits::BLOB_CONTENT_LEN {
            return Err(BlobError::ContentLength { found: blob.len });
        }
        if file_len != blob_file_len(blob.len) {
            return Err(BlobError::Length);
        }
        let chunks = chunk_key(&blob.key, vault);
        if !chunks.is_committed(header) {
            return Err(BlobError::Commitment);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(header);
        Ok(Self {
            chunks,
            hasher,
            id: blob.id,
            len: blob.len,
            padded: padded_len(blob.len),
            number: 0,
        })
    }

    /// How many bytes of the file the next group takes, at most [`BLOB_SEALED_GROUP_LEN`]; none after the last.
    #[must_use]
    pub fn next_len(&self) -> Option<usize> {
        let len = group_len(self.padded, self.number);
        (len > 0).then(|| len + len.div_ceil(limits::CHUNK_LEN) * TAG_LEN)
    }

    /// Opens the next group in place and gives its part of the content, which is empty where only padding is left.
    ///
    /// # Errors
    /// [`BlobError::Chunk`] or [`BlobError::PaddingNotZero`].
    ///
    /// # Panics
    /// If `group` has another length than [`next_len`](Self::next_len).
    pub fn open<'c>(&mut self, group: &'c mut [u8]) -> Result<&'c [u8], BlobError> {
        assert_eq!(
            self.next_len(),
            Some(group.len()),
            "a group of the announced length"
        );
        self.hasher.update(group);
        let start = self.number * limits::CHUNK_LEN as u64;
        let len = group_len(self.padded, self.number);
        let end = self.padded.div_ceil(limits::CHUNK_LEN as u64);
        for chunk in group.chunks_mut(SEALED_CHUNK_LEN) {
            self.chunks
                .open(self.number, self.number + 1 == end, chunk)
                .map_err(|_| BlobError::Chunk {
                    number: self.number,
                })?;
            self.number += 1;
        }
        // Each chunk moves forward over the tags in front of it.
        for chunk in 1..len.div_ceil(limits::CHUNK_LEN) {
            let text = len.min((chunk + 1) * limits::CHUNK_LEN) - chunk * limits::CHUNK_LEN;
            let from = chunk * SEALED_CHUNK_LEN;
            group.copy_within(from..from + text, chunk * limits::CHUNK_LEN);
        }
        let content = self.len.saturating_sub(start).min(len as u64) as usize;
        let (content, padding) = group[..len].split_at(content);
        if padding.iter().fold(0, |all, byte| all | byte) != 0 {
            return Err(BlobError::PaddingNotZero);
        }
        Ok(content)
    }

    /// Checks that this was the file that the record names.
    ///
    /// # Errors
    /// [`BlobError::Hash`], or [`BlobError::Length`] before the last group.
    pub fn finish(self) -> Result<(), BlobError> {
        if self.next_len().is_some() {
            return Err(BlobError::Length);
        }
        if *self.hasher.finalize().as_bytes() == self.id.0 {
            Ok(())
        } else {
            Err(BlobError::Hash)
        }
    }
}

/// A content that is in memory as a whole: the file, and what the record says about it.
///
/// # Errors
/// [`BlobError::ContentLength`].
pub fn seal_blob(
    vault: &VaultId,
    content: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<(Vec<u8>, BlobRef), BlobError> {
    let mut sealer = BlobSealer::new(vault, content.len() as u64, rng)?;
    let mut file = Vec::with_capacity(blob_file_len(content.len() as u64) as usize);
    file.extend_from_slice(sealer.header());
    let mut group = Vec::with_capacity(BLOB_SEALED_GROUP_LEN);
    let mut rest = content;
    while let Some(len) = sealer.next_len() {
        let (now, later) = rest.split_at(len);
        group.clear();
        group.extend_from_slice(now);
        sealer.seal(&mut group);
        file.extend_from_slice(&group);
        rest = later;
    }
    Ok((file, sealer.finish()))
}

/// The content of a blob file that is in memory as a whole.
///
/// # Errors
/// What is wrong with it.
pub fn open_blob(
    vault: &VaultId,
    blob: &BlobRef,
    file: &[u8],
) -> Result<Zeroizing<Vec<u8>>, BlobError> {
    let (header, mut rest) = file
        .split_first_chunk::<BLOB_HEADER_LEN>()
        .ok_or(BlobError::Length)?;
    let mut opener = BlobOpener::new(vault, blob, file.len() as u64, header)?;
    // The file's length has been checked, so the content is not longer than the file.
    let mut content = Zeroizing::new(Vec::with_capacity(blob.len as usize));
    let mut group = Zeroizing::new(Vec::with_capacity(BLOB_SEALED_GROUP_LEN));
    while let Some(len) = opener.next_len() {
        let (now, later) = rest.split_at(len);
        group.clear();
        group.extend_from_slice(now);
        content.extend_from_slice(opener.open(&mut group)?);
        rest = later;
    }
    group.zeroize();
    opener.finish()?;
    Ok(content)
}

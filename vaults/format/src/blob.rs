//! A blob: a large content in a file of its own, under a key of its own.
//!
//! ```text
//! commitment [32] ‖ chunks
//! ```
//!
//! The record holds the key, the hash of the file and the true length. The file's hash is taken chunk by chunk while
//! the chunk is in the cache, so each byte is fetched from memory once.

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
pub const BLOB_SEALED_CHUNK_LEN: usize = limits::CHUNK_LEN + TAG_LEN;

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
    let chunks = (file_len - BLOB_HEADER_LEN as u64).div_ceil(BLOB_SEALED_CHUNK_LEN as u64);
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

/// Bytes of plaintext in chunk `number` of `padded` bytes.
const fn chunk_len(padded: u64, number: u64) -> usize {
    let left = padded - number * limits::CHUNK_LEN as u64;
    if left < limits::CHUNK_LEN as u64 {
        left as usize
    } else {
        limits::CHUNK_LEN
    }
}

/// Writes a blob file, chunk by chunk.
///
/// First come [`header`](Self::header)'s bytes, then those of each chunk, until [`finish`](Self::finish).
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

    /// How many bytes of content the next chunk takes; none after the last. It may take 0: chunks of padding.
    #[must_use]
    pub fn next_len(&self) -> Option<usize> {
        let start = self.number * limits::CHUNK_LEN as u64;
        (start < self.padded).then(|| {
            let content = self.len.saturating_sub(start).min(limits::CHUNK_LEN as u64);
            content as usize
        })
    }

    /// Seals the next chunk in place: `chunk` holds exactly [`next_len`](Self::next_len) bytes of content, and
    /// afterwards the bytes of the file. With a capacity of [`BLOB_SEALED_CHUNK_LEN`] it does not move.
    ///
    /// # Panics
    /// If `chunk` has another length, or after the last chunk.
    pub fn seal(&mut self, chunk: &mut Vec<u8>) {
        assert_eq!(
            self.next_len(),
            Some(chunk.len()),
            "a chunk of the announced length"
        );
        let len = chunk_len(self.padded, self.number);
        chunk.resize(len, 0);
        let last = (self.number + 1) * limits::CHUNK_LEN as u64 >= self.padded;
        let tag = self.chunks.seal(self.number, last, chunk);
        chunk.extend_from_slice(&tag);
        self.hasher.update(chunk);
        self.number += 1;
    }

    /// What the record says about the blob.
    ///
    /// # Panics
    /// Before the last chunk.
    #[must_use]
    pub fn finish(self) -> BlobRef {
        assert_eq!(self.next_len(), None, "every chunk was sealed");
        BlobRef {
            key: self.key,
            id: BlobId(*self.hasher.finalize().as_bytes()),
            len: self.len,
        }
    }
}

/// Reads a blob file, chunk by chunk.
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

    /// How many bytes of the file the next chunk takes; none after the last.
    #[must_use]
    pub fn next_len(&self) -> Option<usize> {
        (self.number * (limits::CHUNK_LEN as u64) < self.padded)
            .then(|| chunk_len(self.padded, self.number) + TAG_LEN)
    }

    /// Opens the next chunk in place and gives its part of the content, which is empty where only padding is left.
    ///
    /// # Errors
    /// [`BlobError::Chunk`] or [`BlobError::PaddingNotZero`].
    ///
    /// # Panics
    /// If `chunk` has another length than [`next_len`](Self::next_len).
    pub fn open<'c>(&mut self, chunk: &'c mut [u8]) -> Result<&'c [u8], BlobError> {
        assert_eq!(
            self.next_len(),
            Some(chunk.len()),
            "a chunk of the announced length"
        );
        self.hasher.update(chunk);
        let start = self.number * limits::CHUNK_LEN as u64;
        let last = start + limits::CHUNK_LEN as u64 >= self.padded;
        let (text, tag) = chunk
            .split_last_chunk_mut::<TAG_LEN>()
            .expect("longer than a tag");
        self.chunks
            .open(self.number, last, text, tag)
            .map_err(|_| BlobError::Chunk {
                number: self.number,
            })?;
        self.number += 1;
        let content = self.len.saturating_sub(start).min(text.len() as u64) as usize;
        let (content, padding) = text.split_at(content);
        if padding.iter().fold(0, |all, byte| all | byte) != 0 {
            return Err(BlobError::PaddingNotZero);
        }
        Ok(content)
    }

    /// Checks that this was the file that the record names.
    ///
    /// # Errors
    /// [`BlobError::Hash`], or [`BlobError::Length`] before the last chunk.
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
    let mut chunk = Vec::with_capacity(BLOB_SEALED_CHUNK_LEN);
    let mut rest = content;
    while let Some(len) = sealer.next_len() {
        let (now, later) = rest.split_at(len);
        chunk.clear();
        chunk.extend_from_slice(now);
        sealer.seal(&mut chunk);
        file.extend_from_slice(&chunk);
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
    let mut chunk = Zeroizing::new(Vec::with_capacity(BLOB_SEALED_CHUNK_LEN));
    while let Some(len) = opener.next_len() {
        let (now, later) = rest.split_at(len);
        chunk.clear();
        chunk.extend_from_slice(now);
        content.extend_from_slice(opener.open(&mut chunk)?);
        rest = later;
    }
    chunk.zeroize();
    opener.finish()?;
    Ok(content)
}

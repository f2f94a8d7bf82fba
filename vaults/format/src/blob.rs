//! A blob: a large content in a file of its own, under a key of its own.
//!
//! ```text
//! commitment [32] ‖ chunk hash [32] × chunks ‖ chunks
//! ```
//!
//! The file's name is the BLAKE3 of what stands in front of the chunks, and a chunk hash is the BLAKE3 of the chunk as it
//! is stored: whoever has no key can verify the file, a chunk at a time. The record holds the key, the name and the true
//! length, so each chunk is known to be the one that the record's author wrote before a byte of it is deciphered, and the
//! cipher needs no tag of its own. A chunk is enciphered and hashed while it is in the cache.

use rand_core::CryptoRng;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    BlobId, BlobKey, BlobRef, VaultId, crypto, limits, padme::padded_len, stream::StreamKey,
};

/// Bytes of the commitment to the key, and of a chunk's hash.
const HASH_LEN: usize = 32;
/// Bytes of content that are sealed or opened at once: few enough to stay in the second cache.
pub const BLOB_GROUP_LEN: usize = 8 * limits::CHUNK_LEN;

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
    /// What stands in front of the chunks has not the hash that the record names.
    #[error("blob has not the hash that its record names")]
    Hash,
    /// The file commits to another key or another vault.
    #[error("blob is committed to another key")]
    Commitment,
    /// A chunk has not the hash that stands in front: it was altered, moved, doubled or cut off.
    #[error("chunk {number} of the blob was altered, moved or cut off")]
    Chunk {
        /// Which, from 0.
        number: u64,
    },
    /// Padding that is not zero.
    #[error("padding of the blob is not zero")]
    PaddingNotZero,
}

const fn chunk_count(padded: u64) -> u64 {
    padded.div_ceil(limits::CHUNK_LEN as u64)
}

const fn header_len(padded: u64) -> u64 {
    HASH_LEN as u64 * (1 + chunk_count(padded))
}

/// Bytes of the blob file for a content of `len` bytes.
#[must_use]
pub const fn blob_file_len(len: u64) -> u64 {
    let padded = padded_len(len);
    header_len(padded) + padded
}

/// Bytes of padded content in a blob file of this size; none if no blob file has it.
pub(crate) const fn padded_content_len(file_len: u64) -> Option<u64> {
    const HASHED_CHUNK_LEN: u64 = (limits::CHUNK_LEN + HASH_LEN) as u64;
    if file_len > limits::BLOB_FILE_LEN || file_len <= HASH_LEN as u64 {
        return None;
    }
    let chunks = (file_len - HASH_LEN as u64).div_ceil(HASHED_CHUNK_LEN);
    let header = HASH_LEN as u64 * (1 + chunks);
    if file_len <= header {
        return None;
    }
    let padded = file_len - header;
    if padded_len(padded) == padded && blob_file_len(padded) == file_len {
        Some(padded)
    } else {
        None
    }
}

/// Bytes in front of the chunks of a blob file of this size: what [`BlobVerifier::new`] reads.
///
/// # Errors
/// [`BlobError::Length`] if no blob file has this size.
pub const fn blob_header_len(file_len: u64) -> Result<usize, BlobError> {
    match padded_content_len(file_len) {
        // At most 2 MiB: file_len is within the limit.
        Some(padded) => Ok(header_len(padded) as usize),
        None => Err(BlobError::Length),
    }
}

/// The cipher of one blob, and what its file commits to.
fn derive(key: &BlobKey, vault: &VaultId) -> (StreamKey, [u8; HASH_LEN]) {
    let okm: Zeroizing<[u8; 64]> = crypto::BLOB.expand(&[key.expose(), &vault.0]);
    let (cipher, commitment) = okm.split_first_chunk().expect("64 bytes");
    (
        StreamKey::new(cipher),
        commitment.try_into().expect("32 bytes"),
    )
}

/// Bytes of padded content in the group that begins with chunk `number`.
fn group_len(padded: u64, number: u64) -> usize {
    let left = padded.saturating_sub(number * limits::CHUNK_LEN as u64);
    left.min(BLOB_GROUP_LEN as u64) as usize
}

/// Writes a blob file, a group of chunks at a time.
///
/// The groups stand behind [`header_len`](Self::header_len) bytes, which [`finish`](Self::finish) gives in the end.
pub struct BlobSealer {
    key: BlobKey,
    cipher: StreamKey,
    header: Vec<u8>,
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
        let (cipher, commitment) = derive(&key, vault);
        let padded = padded_len(len);
        let mut header = Vec::with_capacity(header_len(padded) as usize);
        header.extend_from_slice(&commitment);
        Ok(Self {
            key,
            cipher,
            header,
            len,
            padded,
            number: 0,
        })
    }

    /// Bytes of the file in front of the first group.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        header_len(self.padded) as usize
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
    /// afterwards the bytes of the file, padding included. With a capacity of [`BLOB_GROUP_LEN`] it does not move.
    ///
    /// # Panics
    /// If `group` has another length, or after the last group.
    pub fn seal(&mut self, group: &mut Vec<u8>) {
        assert_eq!(
            self.next_len(),
            Some(group.len()),
            "a group of the announced length"
        );
        group.resize(group_len(self.padded, self.number), 0);
        for chunk in group.chunks_mut(limits::CHUNK_LEN) {
            self.cipher.apply(self.number, chunk);
            self.header
                .extend_from_slice(blake3::hash(chunk).as_bytes());
            self.number += 1;
        }
    }

    /// What the record says about the blob, and the first bytes of the file.
    ///
    /// # Panics
    /// Before the last group.
    #[must_use]
    pub fn finish(self) -> (BlobRef, Vec<u8>) {
        assert_eq!(self.next_len(), None, "every group was sealed");
        let blob = BlobRef {
            key: self.key,
            id: BlobId(*blake3::hash(&self.header).as_bytes()),
            len: self.len,
        };
        (blob, self.header)
    }
}

/// Verifies a blob file without its key, a group of chunks at a time.
pub struct BlobVerifier {
    id: BlobId,
    header: Vec<u8>,
    padded: u64,
    number: u64,
}

impl BlobVerifier {
    /// For a file of `file_len` bytes that begins with `header`.
    ///
    /// # Errors
    /// [`BlobError::Length`] if no blob file has this size, or `header` is not [`blob_header_len`] bytes long.
    pub fn new(file_len: u64, header: Vec<u8>) -> Result<Self, BlobError> {
        let padded = padded_content_len(file_len).ok_or(BlobError::Length)?;
        if header.len() as u64 != header_len(padded) {
            return Err(BlobError::Length);
        }
        Ok(Self {
            id: BlobId(*blake3::hash(&header).as_bytes()),
            header,
            padded,
            number: 0,
        })
    }

    /// Which blob the file is, if all of its chunks verify.
    #[must_use]
    pub const fn id(&self) -> &BlobId {
        &self.id
    }

    /// What stands in front of the chunks.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    fn commitment(&self) -> &[u8] {
        &self.header[..HASH_LEN]
    }

    /// How many bytes of the file the next group takes, at most [`BLOB_GROUP_LEN`]; none after the last.
    #[must_use]
    pub fn next_len(&self) -> Option<usize> {
        let len = group_len(self.padded, self.number);
        (len > 0).then_some(len)
    }

    /// Verifies the next group.
    ///
    /// # Errors
    /// [`BlobError::Chunk`].
    ///
    /// # Panics
    /// If `group` has another length than [`next_len`](Self::next_len).
    pub fn verify(&mut self, group: &[u8]) -> Result<(), BlobError> {
        assert_eq!(
            self.next_len(),
            Some(group.len()),
            "a group of the announced length"
        );
        group
            .chunks(limits::CHUNK_LEN)
            .try_for_each(|chunk| self.verify_chunk(chunk))
    }

    fn verify_chunk(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        let number = self.number;
        // Within the header, whose length is that of all the chunks' hashes.
        let place = HASH_LEN * (1 + number as usize);
        if blake3::hash(chunk).as_bytes()[..] != self.header[place..place + HASH_LEN] {
            return Err(BlobError::Chunk { number });
        }
        self.number += 1;
        Ok(())
    }
}

impl BlobId {
    /// The name of a blob file that is in memory as a whole, every chunk verified.
    ///
    /// # Errors
    /// [`BlobError::Length`] or [`BlobError::Chunk`].
    pub fn of(file: &[u8]) -> Result<Self, BlobError> {
        let (header, mut rest) = file.split_at(blob_header_len(file.len() as u64)?);
        let mut verifier = BlobVerifier::new(file.len() as u64, header.to_vec())?;
        while let Some(len) = verifier.next_len() {
            let (now, later) = rest.split_at(len);
            verifier.verify(now)?;
            rest = later;
        }
        Ok(verifier.id)
    }
}

/// Reads a blob file, a group of chunks at a time.
pub struct BlobOpener {
    verifier: BlobVerifier,
    cipher: StreamKey,
    len: u64,
}

impl BlobOpener {
    /// For the file that begins with `header` and has `file_len` bytes.
    ///
    /// # Errors
    /// [`BlobError::ContentLength`], [`BlobError::Length`], [`BlobError::Hash`] or [`BlobError::Commitment`].
    pub fn new(
        vault: &VaultId,
        blob: &BlobRef,
        file_len: u64,
        header: Vec<u8>,
    ) -> Result<Self, BlobError> {
        if blob.len > limits::BLOB_CONTENT_LEN {
            return Err(BlobError::ContentLength { found: blob.len });
        }
        if file_len != blob_file_len(blob.len) {
            return Err(BlobError::Length);
        }
        let verifier = BlobVerifier::new(file_len, header)?;
        if verifier.id != blob.id {
            return Err(BlobError::Hash);
        }
        let (cipher, commitment) = derive(&blob.key, vault);
        if !bool::from(commitment.ct_eq(verifier.commitment())) {
            return Err(BlobError::Commitment);
        }
        Ok(Self {
            verifier,
            cipher,
            len: blob.len,
        })
    }

    /// How many bytes of the file the next group takes, at most [`BLOB_GROUP_LEN`]; none after the last.
    #[must_use]
    pub fn next_len(&self) -> Option<usize> {
        self.verifier.next_len()
    }

    /// Opens the next group in place and gives its part of the content, which is empty where only padding is left. Each
    /// chunk is what the author of the record wrote there, or this is an error.
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
        let start = self.verifier.number * limits::CHUNK_LEN as u64;
        for chunk in group.chunks_mut(limits::CHUNK_LEN) {
            let number = self.verifier.number;
            self.verifier.verify_chunk(chunk)?;
            self.cipher.apply(number, chunk);
        }
        let content = self.len.saturating_sub(start).min(group.len() as u64) as usize;
        let (content, padding) = group.split_at(content);
        if padding.iter().fold(0, |all, byte| all | byte) != 0 {
            return Err(BlobError::PaddingNotZero);
        }
        Ok(content)
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
    file.resize(sealer.header_len(), 0);
    let mut group = Vec::with_capacity(BLOB_GROUP_LEN);
    let mut rest = content;
    while let Some(len) = sealer.next_len() {
        let (now, later) = rest.split_at(len);
        group.clear();
        group.extend_from_slice(now);
        sealer.seal(&mut group);
        file.extend_from_slice(&group);
        rest = later;
    }
    let (blob, header) = sealer.finish();
    file[..header.len()].copy_from_slice(&header);
    Ok((file, blob))
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
    let header = blob_header_len(file.len() as u64)?;
    let (header, mut rest) = file.split_at(header);
    let mut opener = BlobOpener::new(vault, blob, file.len() as u64, header.to_vec())?;
    // The file's length has been checked, so the content is not longer than the file.
    let mut content = Zeroizing::new(Vec::with_capacity(blob.len as usize));
    let mut group = Zeroizing::new(Vec::with_capacity(BLOB_GROUP_LEN));
    while let Some(len) = opener.next_len() {
        let (now, later) = rest.split_at(len);
        group.clear();
        group.extend_from_slice(now);
        content.extend_from_slice(opener.open(&mut group)?);
        rest = later;
    }
    group.zeroize();
    Ok(content)
}

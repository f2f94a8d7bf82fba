//! Encryption in chunks, under a key that is used for one stream only.
//!
//! Each chunk is XChaCha20-Poly1305 with nonce = prefix [16] ‖ chunk number, 7 bytes ‖ (1 for the last, else 0). The
//! number keeps chunks in order, the last byte shows where the stream ends. The commitment is compared before any chunk
//! is opened, because the cipher alone can be made to open under two keys.

use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, aead::AeadInOut as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Bytes of the tag behind each chunk.
pub(crate) const TAG_LEN: usize = 16;

/// A chunk that is not what was sealed in this place: altered, moved, cut off, or not the last where the stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unauthentic;

/// Key, nonce prefix and commitment of one stream.
pub(crate) struct ChunkKey {
    cipher: XChaCha20Poly1305,
    prefix: [u8; 16],
    commitment: [u8; 32],
}

impl ChunkKey {
    /// From the 80 bytes of `X`: key, nonce prefix, commitment.
    pub(crate) fn new(okm: &Zeroizing<[u8; 80]>) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new_from_slice(&okm[..32]).expect("32 bytes"),
            prefix: *okm[32..].first_chunk().expect("80 bytes"),
            commitment: *okm[48..].first_chunk().expect("80 bytes"),
        }
    }

    pub(crate) const fn commitment(&self) -> &[u8; 32] {
        &self.commitment
    }

    /// Whether this is the key that the file is committed to.
    pub(crate) fn is_committed(&self, commitment: &[u8; 32]) -> bool {
        self.commitment.ct_eq(commitment).into()
    }

    fn nonce(&self, number: u64, last: bool) -> [u8; 24] {
        let mut nonce = [0; 24];
        nonce[..16].copy_from_slice(&self.prefix);
        // The number is below 2^17: four gigabytes in chunks of 64 KiB.
        nonce[16..].copy_from_slice(&(number << 8 | u64::from(last)).to_be_bytes());
        nonce
    }

    /// Encrypts a chunk in place and gives its tag.
    pub(crate) fn seal(&self, number: u64, last: bool, chunk: &mut [u8]) -> [u8; TAG_LEN] {
        self.cipher
            .encrypt_inout_detached(&self.nonce(number, last).into(), &[], chunk.into())
            .expect("a chunk is not too long")
            .into()
    }

    /// Decrypts a chunk in place. What is left there after a failure is no plaintext.
    pub(crate) fn open(
        &self,
        number: u64,
        last: bool,
        chunk: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Unauthentic> {
        self.cipher
            .decrypt_inout_detached(
                &self.nonce(number, last).into(),
                &[],
                chunk.into(),
                &(*tag).into(),
            )
            .map_err(|_| Unauthentic)
    }
}

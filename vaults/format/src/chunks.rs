//! Encryption of a box, in chunks, under a key that is used for this one only. (A blob's chunks are another matter: `stream.rs`.)
//!
//! Each chunk is XChaCha20-Poly1305 with nonce = prefix [16] ‖ chunk number, 7 bytes ‖ (1 for the last, else 0). The
//! number keeps chunks in order, the last byte shows where the stream ends. The commitment is compared before any chunk
//! is opened, because the cipher alone can be made to open under two keys.
//!
//! XChaCha20-Poly1305 is ChaCha20-Poly1305 (RFC 8439) under HChaCha20(key, first 16 bytes of the nonce), with four zero
//! bytes and the last 8 as its nonce. The prefix is one for the stream, so the inner key is derived once. On the
//! processors that `ring` has assembly for, the inner cipher is `ring`'s, more than twice as fast as `chacha20poly1305`;
//! elsewhere, WebAssembly included, it is that crate's. A test holds them against each other.

use chacha20::{R20, hchacha};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use assembly::Inner;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use portable::Inner;

/// Bytes of the tag behind each chunk.
pub(crate) const TAG_LEN: usize = 16;

/// A chunk that is not what was sealed in this place: altered, moved, cut off, or not the last where the stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unauthentic;

/// Key, nonce prefix and commitment of one stream.
pub(crate) struct ChunkKey {
    inner: Inner,
    commitment: [u8; 32],
}

impl ChunkKey {
    /// From the 80 bytes of `X`: key, nonce prefix, commitment.
    pub(crate) fn new(okm: &Zeroizing<[u8; 80]>) -> Self {
        let key: &[u8; 32] = okm.first_chunk().expect("80 bytes");
        let prefix: &[u8; 16] = okm[32..].first_chunk().expect("80 bytes");
        let mut inner = hchacha::<R20>(key.into(), prefix.into());
        let cipher = Inner::new(inner.as_ref());
        inner.as_mut_slice().zeroize();
        Self {
            inner: cipher,
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

    /// Encrypts a chunk in place: all but the last 16 bytes, which become its tag.
    pub(crate) fn seal(&self, number: u64, last: bool, chunk: &mut [u8]) {
        let (text, tag) = chunk
            .split_last_chunk_mut::<TAG_LEN>()
            .expect("room for the tag");
        *tag = self.inner.seal(nonce(number, last), text);
    }

    /// Decrypts a chunk in place, its tag in the last 16 bytes, and gives the text in front of it. What is left there
    /// after a failure is no plaintext.
    pub(crate) fn open<'c>(
        &self,
        number: u64,
        last: bool,
        chunk: &'c mut [u8],
    ) -> Result<&'c mut [u8], Unauthentic> {
        if chunk.len() < TAG_LEN {
            return Err(Unauthentic);
        }
        self.inner.open(nonce(number, last), chunk)
    }
}

/// The inner nonce: four zero bytes, the chunk number in 7, and whether it is the last.
fn nonce(number: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    // The number is below 64: four mebibytes in chunks of 64 KiB.
    nonce[4..].copy_from_slice(&(number << 8 | u64::from(last)).to_be_bytes());
    nonce
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod assembly {
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    use super::{TAG_LEN, Unauthentic};

    /// `ring` does not wipe its keys: one of a single box may stay in memory, never an epoch key.
    pub(super) struct Inner(LessSafeKey);

    impl Inner {
        pub(super) fn new(key: &[u8; 32]) -> Self {
            let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes");
            Self(LessSafeKey::new(key))
        }

        pub(super) fn seal(&self, nonce: [u8; 12], text: &mut [u8]) -> [u8; TAG_LEN] {
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = self
                .0
                .seal_in_place_separate_tag(nonce, Aad::empty(), text)
                .expect("a chunk is not too long");
            tag.as_ref().try_into().expect("16 bytes")
        }

        pub(super) fn open<'c>(
            &self,
            nonce: [u8; 12],
            chunk: &'c mut [u8],
        ) -> Result<&'c mut [u8], Unauthentic> {
            let nonce = Nonce::assume_unique_for_key(nonce);
            self.0
                .open_in_place(nonce, Aad::empty(), chunk)
                .map_err(|_| Unauthentic)
        }
    }
}

#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod portable {
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, aead::AeadInOut as _};

    use super::{TAG_LEN, Unauthentic};

    pub(super) struct Inner(ChaCha20Poly1305);

    impl Inner {
        pub(super) fn new(key: &[u8; 32]) -> Self {
            Self(ChaCha20Poly1305::new(key.into()))
        }

        pub(super) fn seal(&self, nonce: [u8; 12], text: &mut [u8]) -> [u8; TAG_LEN] {
            self.0
                .encrypt_inout_detached(&nonce.into(), &[], text.into())
                .expect("a chunk is not too long")
                .into()
        }

        pub(super) fn open<'c>(
            &self,
            nonce: [u8; 12],
            chunk: &'c mut [u8],
        ) -> Result<&'c mut [u8], Unauthentic> {
            let (text, tag) = chunk.split_last_chunk_mut::<TAG_LEN>().ok_or(Unauthentic)?;
            self.0
                .decrypt_inout_detached(&nonce.into(), &[], (&mut *text).into(), &(*tag).into())
                .map_err(|_| Unauthentic)?;
            Ok(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, aead::AeadInOut as _};

    use super::*;

    fn key(seed: u8) -> (Zeroizing<[u8; 80]>, ChunkKey) {
        let okm = Zeroizing::new(std::array::from_fn(|place| place as u8 ^ seed));
        let key = ChunkKey::new(&okm);
        (okm, key)
    }

    #[test]
    fn both_ciphers_are_xchacha20_poly1305() {
        for len in [0, 1, 15, 16, 17, 63, 64, 65, 255, 1_000, 65_535, 65_536] {
            let (okm, key) = key(len as u8);
            let text: Vec<u8> = (0..len).map(|place| place as u8).collect();
            let mut sealed = [&text[..], &[0; TAG_LEN]].concat();
            key.seal(7, true, &mut sealed);

            let mut expected = text.clone();
            let mut full = [0; 24];
            full[..16].copy_from_slice(&okm[32..48]);
            full[16..].copy_from_slice(&[0, 0, 0, 0, 0, 0, 7, 1]);
            let cipher = XChaCha20Poly1305::new_from_slice(&okm[..32]).unwrap();
            let tag = cipher
                .encrypt_inout_detached(&full.into(), &[], expected.as_mut_slice().into())
                .unwrap();
            expected.extend_from_slice(&tag);
            assert_eq!(sealed, expected, "{len}");

            let inner = hchacha::<R20>(
                okm.first_chunk::<32>().unwrap().into(),
                okm[32..].first_chunk::<16>().unwrap().into(),
            );
            let other = portable::Inner::new(inner.as_ref());
            let mut again = text.clone();
            let tag = other.seal(nonce(7, true), &mut again);
            again.extend_from_slice(&tag);
            assert_eq!(sealed, again, "{len}");

            assert_eq!(other.open(nonce(7, true), &mut again).unwrap(), text);
            assert_eq!(key.open(7, true, &mut sealed).unwrap(), text);
        }
    }

    #[test]
    fn a_chunk_opens_in_its_place_only() {
        let (_, key) = key(1);
        let mut sealed = vec![9; 100];
        key.seal(3, false, &mut sealed);
        for (number, last) in [(2, false), (4, false), (3, true)] {
            assert_eq!(
                key.open(number, last, &mut sealed.clone()),
                Err(Unauthentic)
            );
        }
        for place in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[place] ^= 0x40;
            assert_eq!(key.open(3, false, &mut altered), Err(Unauthentic));
        }
        assert_eq!(
            key.open(3, false, &mut sealed[..15].to_vec()),
            Err(Unauthentic)
        );
        assert_eq!(key.open(3, false, &mut sealed).unwrap(), [9; 84]);
    }
}

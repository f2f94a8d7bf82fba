//! Encryption of a large content, a chunk at a time, under a key that is used for that content only.
//!
//! Each chunk is ChaCha20 (RFC 8439, section 2.4) with nonce = 4 zero bytes ‖ chunk number u64 and initial block counter 1:
//! what AEAD_CHACHA20_POLY1305 makes of it, without the tag. **The cipher alone authenticates nothing**: whoever uses this
//! compares the hash of each chunk first.
//!
//! Three implementations give the same bytes, and tests hold each that runs on the processor at hand against bytes that
//! OpenSSL made. The `chacha20` crate's code for
//! AVX-512 is the fastest by far; it is compiled in only under `--cfg chacha20_avx512` (`.cargo/config.toml`), and used if
//! the processor has it. Otherwise, on the processors that `ring` has assembly for, `ring`'s AEAD encrypts and its tag is
//! dropped, which is faster than that crate's other code by half and costs a tag that nobody needs. Elsewhere, WebAssembly
//! included, it is the crate's portable code.

use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit as _, StreamCipher as _, StreamCipherSeek as _},
};
use zeroize::Zeroizing;

/// The key of one content.
pub(crate) struct StreamKey {
    key: Zeroizing<[u8; 32]>,
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    assembly: Option<assembly::Cipher>,
}

impl StreamKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self {
            key: Zeroizing::new(*key),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            assembly: (!has_wide_vectors()).then(|| assembly::Cipher::new(key)),
        }
    }

    /// Encrypts a chunk in place, or decrypts it.
    pub(crate) fn apply(&self, number: u64, chunk: &mut [u8]) {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        if let Some(assembly) = &self.assembly {
            assembly.apply(nonce(number), chunk);
            return;
        }
        by_crate(&self.key, number, chunk);
    }
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    nonce
}

fn by_crate(key: &[u8; 32], number: u64, chunk: &mut [u8]) {
    let mut cipher = ChaCha20::new(key.into(), &nonce(number).into());
    // Behind the block that an AEAD would make its authenticator's key of.
    cipher.seek(64_u32);
    cipher.apply_keystream(chunk);
}

/// Whether the `chacha20` crate has code for this processor that is faster than `ring`'s.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn has_wide_vectors() -> bool {
    #[cfg(all(target_arch = "x86_64", chacha20_avx512))]
    {
        std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512vl")
    }
    #[cfg(not(all(target_arch = "x86_64", chacha20_avx512)))]
    {
        false
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod assembly {
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    /// `ring` does not wipe its keys: one of a single content may stay in memory, never an epoch key.
    pub(super) struct Cipher(LessSafeKey);

    impl Cipher {
        pub(super) fn new(key: &[u8; 32]) -> Self {
            let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes");
            Self(LessSafeKey::new(key))
        }

        /// Decryption is the same: a key stream is added either way.
        pub(super) fn apply(&self, nonce: [u8; 12], chunk: &mut [u8]) {
            let nonce = Nonce::assume_unique_for_key(nonce);
            let _tag = self
                .0
                .seal_in_place_separate_tag(nonce, Aad::empty(), chunk)
                .expect("a chunk is not too long");
        }
    }
}

#[cfg(test)]
mod tests {
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, aead::AeadInOut as _};

    use super::*;

    #[test]
    fn every_implementation_is_chacha20_of_rfc_8439() {
        for len in [0, 1, 63, 64, 65, 255, 1_000, 1_024, 4_097, 65_535, 65_536] {
            let key: [u8; 32] = std::array::from_fn(|place| place as u8 ^ len as u8);
            let number = 0x0102_0304 + len as u64;
            let text: Vec<u8> = (0..len).map(|place| place as u8).collect();
            let mut expected = text.clone();
            ChaCha20Poly1305::new(&key.into())
                .encrypt_inout_detached(&nonce(number).into(), &[], expected.as_mut_slice().into())
                .unwrap();

            let mut chosen = text.clone();
            StreamKey::new(&key).apply(number, &mut chosen);
            assert_eq!(chosen, expected, "{len}");
            let mut portable = text.clone();
            by_crate(&key, number, &mut portable);
            assert_eq!(portable, expected, "{len}");
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            {
                let mut assembled = text.clone();
                assembly::Cipher::new(&key).apply(nonce(number), &mut assembled);
                assert_eq!(assembled, expected, "{len}");
            }

            StreamKey::new(&key).apply(number, &mut chosen);
            assert_eq!(chosen, text, "{len}");
        }
    }

    /// A whole chunk, from `cryptography` 45 (OpenSSL): BLAKE3 of the key stream.
    #[test]
    fn a_whole_chunk_is_what_openssl_makes_of_it() {
        let key: [u8; 32] = std::array::from_fn(|place| place as u8);
        let number = 0x0102_0304_0506_0708;
        let expected = "e1bc36c8cd3f27b1d31e477e7f233f9735403b1df7cf92cfde7cf0f5b01c029e";
        let mut chosen = vec![0; 65_536];
        StreamKey::new(&key).apply(number, &mut chosen);
        assert_eq!(blake3::hash(&chosen).to_hex().as_str(), expected);
        let mut of_the_crate = vec![0; 65_536];
        by_crate(&key, number, &mut of_the_crate);
        assert_eq!(blake3::hash(&of_the_crate).to_hex().as_str(), expected);
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        {
            let mut assembled = vec![0; 65_536];
            assembly::Cipher::new(&key).apply(nonce(number), &mut assembled);
            assert_eq!(blake3::hash(&assembled).to_hex().as_str(), expected);
        }
    }

    /// RFC 8439, section 2.4.2: nonce 00 00 00 00 00 00 00 4a 00 00 00 00, counter 1.
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let key: [u8; 32] = std::array::from_fn(|place| place as u8);
        let mut text = *b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        StreamKey::new(&key).apply(0x4a << 32, &mut text);
        assert_eq!(
            hex::encode(&text[..32]),
            "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b"
        );
        assert_eq!(hex::encode(&text[112..]), "874d");
    }
}

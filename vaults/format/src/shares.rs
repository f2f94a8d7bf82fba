//! The recovery phrase in parts: any k of n shares give the root's seed, fewer tell nothing about it.
//!
//! Shamir's scheme, byte by byte, over GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. A share is 44 bytes, written as 32
//! words of the English BIP-39 list, 11 bits each, so it can be copied by hand like the phrase and not be taken for it:
//!
//! ```text
//! version u8 = 1 ‖ vault [4] ‖ split [2] ‖ k u8 ‖ index u8 ‖ y [32] ‖ checksum [3]
//! ```
//!
//! The arithmetic is our own, because no crate fits: those that are kept (`blahaj`, formerly `sharks`) look secrets up in
//! tables, whose cache lines a neighbour can watch, and leave them in memory; `vsss-rs` and `sskr` bring big integers or
//! other curves. Here there is no branch and no address that depends on a secret. `blahaj` reads our shares in a test.
//!
//! Source: Shamir, "How to share a secret", CACM 1979.

use rand_core::CryptoRng;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::{Seed, VaultId, crypto};

/// Why a text is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Not 32 words.
    #[error("share has {found} words instead of 32")]
    WordCount {
        /// How many there are.
        found: usize,
    },
    /// A word that is not in the list.
    #[error("word {number} is not in the list")]
    UnknownWord {
        /// Which word, from 1.
        number: usize,
    },
    /// All words exist, but they do not belong together.
    #[error("checksum of the share is wrong: a word is wrong or out of place")]
    Checksum,
    /// A version that this reader does not know.
    #[error("share has format version {0}, this program reads 1")]
    Version(u8),
    /// A threshold below 2 or above 32, or an index of 0 or above 32.
    #[error("share {index} of a split that needs {threshold}")]
    Bounds {
        /// How many shares are needed.
        threshold: u8,
        /// Which this is.
        index: u8,
    },
}

/// Why shares do not give a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// None at all.
    #[error("no shares")]
    None,
    /// Of another vault.
    #[error("share {index} belongs to another vault")]
    ForeignVault {
        /// Which.
        index: u8,
    },
    /// Of another split of the same seed, or with another threshold.
    #[error("share {index} comes from another split than the first")]
    OtherSplit {
        /// Which.
        index: u8,
    },
    /// Two shares with one index and different contents.
    #[error("two different shares {index}")]
    Contradiction {
        /// Which.
        index: u8,
    },
    /// Not enough.
    #[error("{found} different shares of {needed} that are needed")]
    TooFew {
        /// How many there are.
        found: usize,
        /// How many it takes.
        needed: u8,
    },
    /// More shares than are needed, and they do not agree.
    #[error("share {index} does not agree with the others")]
    Disagreement {
        /// The first that does not.
        index: u8,
    },
}

/// One part of a root's seed.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Share {
    vault: [u8; 4],
    split: [u8; 2],
    threshold: u8,
    index: u8,
    y: [u8; 32],
}

impl Share {
    /// Bytes of a share.
    pub const LEN: usize = 44;
    /// Words of a share.
    pub const WORDS: usize = 32;
    /// The greatest threshold and index.
    pub const MOST: u8 = 32;
    const CHECKED_LEN: usize = Self::LEN - 3;

    /// How many shares give the seed.
    #[must_use]
    pub const fn threshold(&self) -> u8 {
        self.threshold
    }

    /// Which of the shares this is, from 1.
    #[must_use]
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// Whether the first four bytes of the vault's name are those of this share.
    #[must_use]
    pub fn is_of(&self, vault: &VaultId) -> bool {
        self.vault[..] == vault.0[..4]
    }

    fn encode(&self) -> Zeroizing<[u8; Self::LEN]> {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        bytes[0] = 1;
        bytes[1..5].copy_from_slice(&self.vault);
        bytes[5..7].copy_from_slice(&self.split);
        bytes[7] = self.threshold;
        bytes[8] = self.index;
        bytes[9..41].copy_from_slice(&self.y);
        let checksum = checksum(&bytes);
        bytes[Self::CHECKED_LEN..].copy_from_slice(&*checksum);
        bytes
    }

    /// The share as 32 words, with single spaces between them.
    #[must_use]
    pub fn to_words(&self) -> Zeroizing<String> {
        let list = bip39::Language::English.word_list();
        let bytes = self.encode();
        // Words have at most 8 letters: the string is never moved, so no copy of it stays behind.
        let mut text = Zeroizing::new(String::with_capacity(Self::WORDS * 9));
        for number in 0..Self::WORDS {
            let mut word = 0;
            for bit in number * 11..(number + 1) * 11 {
                word = word << 1 | usize::from(bytes[bit / 8] >> (7 - bit % 8) & 1);
            }
            if number > 0 {
                text.push(' ');
            }
            text.push_str(list[word]);
        }
        text
    }

    /// Reads 32 words in any letter case, with any white space around them.
    ///
    /// # Errors
    /// What is wrong with them; never a word itself.
    pub fn from_words(text: &str) -> Result<Self, ShareError> {
        let found = text.split_whitespace().count();
        if found != Self::WORDS {
            return Err(ShareError::WordCount { found });
        }
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        for (number, word) in text.split_whitespace().enumerate() {
            let word = Zeroizing::new(word.to_ascii_lowercase());
            let value = bip39::Language::English
                .find_word(&word)
                .ok_or(ShareError::UnknownWord { number: number + 1 })?;
            for bit in 0..11 {
                let place = number * 11 + bit;
                bytes[place / 8] |= ((value >> (10 - bit) & 1) as u8) << (7 - place % 8);
            }
        }
        if bytes[Self::CHECKED_LEN..] != checksum(&bytes)[..] {
            return Err(ShareError::Checksum);
        }
        if bytes[0] != 1 {
            return Err(ShareError::Version(bytes[0]));
        }
        let (threshold, index) = (bytes[7], bytes[8]);
        if !(2..=Self::MOST).contains(&threshold) || !(1..=Self::MOST).contains(&index) {
            return Err(ShareError::Bounds { threshold, index });
        }
        Ok(Self {
            vault: *bytes[1..].first_chunk().expect("44 bytes"),
            split: *bytes[5..].first_chunk().expect("44 bytes"),
            threshold,
            index,
            y: *bytes[9..].first_chunk().expect("44 bytes"),
        })
    }
}

fn checksum(share: &[u8; Share::LEN]) -> Zeroizing<[u8; 3]> {
    crypto::SHARE.expand(&[&share[..Share::CHECKED_LEN]])
}

/// Why a seed is not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot split into {shares} shares of which {threshold} are needed: at least 2, at most {most}", most = Share::MOST)]
pub struct SplitError {
    /// How many shares should be needed.
    pub threshold: u8,
    /// How many there should be.
    pub shares: u8,
}

/// Splits the seed of the vault's root into shares, of which any `threshold` give it back.
///
/// # Errors
/// Unless 2 ≤ `threshold` ≤ `shares` ≤ 32.
pub fn split_seed(
    vault: &VaultId,
    seed: &Seed,
    threshold: u8,
    shares: u8,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Vec<Share>, SplitError> {
    if threshold < 2 || threshold > shares || shares > Share::MOST {
        return Err(SplitError { threshold, shares });
    }
    let mut split = [0; 2];
    rng.fill_bytes(&mut split);
    // One polynomial for each byte of the seed: the seed is its value at 0, the other coefficients are random.
    let mut coefficients = Zeroizing::new(vec![[0; 32]; usize::from(threshold) - 1]);
    for coefficient in coefficients.iter_mut() {
        rng.fill_bytes(coefficient);
    }
    let shares = (1..=shares).map(|index| {
        let mut y = [0; 32];
        for (position, y) in y.iter_mut().enumerate() {
            let mut value = 0;
            for coefficient in coefficients.iter().rev() {
                value = multiply(value ^ coefficient[position], index);
            }
            *y = value ^ seed.expose()[position];
        }
        let share = Share {
            vault: *vault.0.first_chunk().expect("32 bytes"),
            split,
            threshold,
            index,
            y,
        };
        y.zeroize();
        share
    });
    Ok(shares.collect())
}

/// The seed that these shares are parts of. More than are needed must agree; doubles count once. Whether the seed is
/// that of the vault's root shows when its card is compared with the genesis.
///
/// # Errors
/// Why there is none.
pub fn combine_shares(vault: &VaultId, shares: &[Share]) -> Result<Seed, CombineError> {
    let first = shares.first().ok_or(CombineError::None)?;
    let mut by_index: [Option<&Share>; Share::MOST as usize] = [None; Share::MOST as usize];
    for share in shares {
        let index = share.index;
        if !share.is_of(vault) {
            return Err(CombineError::ForeignVault { index });
        }
        if (share.split, share.threshold) != (first.split, first.threshold) {
            return Err(CombineError::OtherSplit { index });
        }
        let place = &mut by_index[usize::from(index) - 1];
        if place.is_some_and(|other| other.y != share.y) {
            return Err(CombineError::Contradiction { index });
        }
        *place = Some(share);
    }
    let distinct: Vec<&Share> = by_index.into_iter().flatten().collect();
    let needed = usize::from(first.threshold);
    if distinct.len() < needed {
        return Err(CombineError::TooFew {
            found: distinct.len(),
            needed: first.threshold,
        });
    }
    let (used, extra) = distinct.split_at(needed);
    for share in extra {
        if *interpolate(used, share.index) != share.y {
            return Err(CombineError::Disagreement { index: share.index });
        }
    }
    Ok(Seed::from_bytes(*interpolate(used, 0)))
}

/// The value at `x` of the polynomials through these shares (Lagrange).
fn interpolate(shares: &[&Share], x: u8) -> Zeroizing<[u8; 32]> {
    let mut result = Zeroizing::new([0; 32]);
    for share in shares {
        let mut weight = 1;
        for other in shares.iter().filter(|other| other.index != share.index) {
            let quotient = multiply(x ^ other.index, inverse(share.index ^ other.index));
            weight = multiply(weight, quotient);
        }
        for (result, y) in result.iter_mut().zip(&share.y) {
            *result ^= multiply(*y, weight);
        }
    }
    result
}

/// The product in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1, without a branch.
const fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut product, mut bit) = (a, 0, 0);
    while bit < 8 {
        product ^= a & (b >> bit & 1).wrapping_neg();
        a = a << 1 ^ (0x1d & (a >> 7).wrapping_neg());
        bit += 1;
    }
    product
}

/// The inverse: the 254th power. That of 0 is 0, and is not asked for.
const fn inverse(a: u8) -> u8 {
    // 254 = 2 + 4 + 8 + 16 + 32 + 64 + 128
    let (mut power, mut result, mut bit) = (a, 1, 1);
    while bit < 8 {
        power = multiply(power, power);
        result = multiply(result, power);
        bit += 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_a_field() {
        for a in 1..=255 {
            assert_eq!(multiply(a, inverse(a)), 1, "{a}");
            for b in 0..=255 {
                assert_eq!(multiply(a, b), multiply(b, a));
                assert_eq!(multiply(a, b ^ 0x53), multiply(a, b) ^ multiply(a, 0x53));
            }
        }
        // The generator's powers are all elements but 0.
        let mut seen = [false; 256];
        let mut power = 1;
        for _ in 0..255 {
            assert!(!std::mem::replace(&mut seen[usize::from(power)], true));
            power = multiply(power, 2);
        }
        assert_eq!(power, 1);
    }
}

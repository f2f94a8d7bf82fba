//! The recovery phrase: a root's seed as 24 words of the English BIP-39 list, 8 bits of them a checksum.

use zeroize::Zeroizing;

use crate::Seed;

/// Why a phrase is no seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// Not 24 words.
    #[error("phrase has {found} words instead of 24")]
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
    /// All words exist, but they do not belong together: one is wrong, or two changed places.
    #[error("checksum of the phrase is wrong: a word is wrong or out of place")]
    Checksum,
}

/// The 24 words of a seed, with single spaces between them.
#[must_use]
pub fn to_phrase(seed: &Seed) -> Zeroizing<String> {
    let phrase = bip39::Mnemonic::from_entropy(seed.expose()).expect("256 bits are 24 words");
    // 24 words of at most 8 letters: the string is never moved, so no copy of it stays behind.
    let mut text = Zeroizing::new(String::with_capacity(24 * 9));
    for (position, word) in phrase.words().enumerate() {
        if position > 0 {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

/// Reads 24 words in any letter case, with any white space around them.
///
/// # Errors
/// What is wrong with the phrase; never the word itself.
pub fn from_phrase(text: &str) -> Result<Seed, PhraseError> {
    let found = text.split_whitespace().count();
    if found != 24 {
        return Err(PhraseError::WordCount { found });
    }
    let mut normal = Zeroizing::new(String::with_capacity(text.len() + 24));
    for (position, word) in text.split_whitespace().enumerate() {
        if position > 0 {
            normal.push(' ');
        }
        normal.extend(word.chars().map(|c| c.to_ascii_lowercase()));
    }
    let phrase = bip39::Mnemonic::parse_in_normalized(bip39::Language::English, &normal).map_err(
        |error| match error {
            bip39::Error::UnknownWord(index) => PhraseError::UnknownWord { number: index + 1 },
            bip39::Error::BadWordCount(found) => PhraseError::WordCount { found },
            _ => PhraseError::Checksum,
        },
    )?;
    let (entropy, len) = phrase.to_entropy_array();
    let entropy = Zeroizing::new(entropy);
    assert_eq!(len, 32, "24 words are 256 bits");
    Ok(Seed::from_bytes(
        *entropy.first_chunk().expect("longer than 32 bytes"),
    ))
}

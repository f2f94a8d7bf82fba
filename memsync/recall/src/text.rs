//! From text to terms: words by UAX #29, folded, stemmed; and what a text says about itself.
//!
//! A *term* is what is compared: the lower-case word without accents and without a possessive ending, an irregular form
//! replaced by its base, then Snowball's English stem. Words of other languages pass through the stemmer with little
//! change. Stop words are no terms.

pub(crate) mod time;
mod vocabulary;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

pub(crate) use vocabulary::{Relation, related};

/// Longest word that is told from its beginning, in characters; the rest is cut off.
const LONGEST_WORD: usize = 64;

/// A word where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Lower case, no accents, no possessive ending.
    pub(crate) folded: String,
    /// Begins with a capital letter that no beginning of a sentence explains: a name, most likely.
    pub(crate) is_name: bool,
}

/// The words of a text in order, stop words included.
pub(crate) fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut within = false;
    for piece in text.split_word_bounds() {
        if piece.chars().any(char::is_alphanumeric) {
            words.extend(fold(piece, within));
            within = true;
        } else if piece.contains(['.', '!', '?', ':', '\n', '\u{2026}']) {
            within = false;
        }
    }
    words
}

fn fold(word: &str, within_sentence: bool) -> Option<Word> {
    let mut letters = word.chars();
    let capital = letters.next().is_some_and(char::is_uppercase);
    // "I", alone or with a verb, is written large anywhere.
    let is_name = capital && within_sentence && letters.next().is_some_and(char::is_alphanumeric);
    let mut folded: String = if word.is_ascii() {
        word.chars()
            .take(LONGEST_WORD)
            .map(|c| c.to_ascii_lowercase())
            .collect()
    } else {
        word.nfkd()
            .filter(|c| !is_combining_mark(*c))
            .map(|c| if c == '\u{2019}' { '\'' } else { c })
            .flat_map(char::to_lowercase)
            .take(LONGEST_WORD)
            .collect()
    };
    for ending in ["'s", "'"] {
        if let Some(stem) = folded.strip_suffix(ending) {
            folded.truncate(stem.len());
        }
    }
    (!folded.is_empty()).then_some(Word { folded, is_name })
}

/// The term of a folded word, or `None` for a stop word.
pub(crate) fn term(folded: &str) -> Option<String> {
    if vocabulary::is_stop_word(folded) {
        return None;
    }
    Some(stem(folded))
}

/// The stem of a folded word.
pub(crate) fn stem(folded: &str) -> String {
    let base = vocabulary::base_form(folded).unwrap_or(folded);
    Stemmer::create(Algorithm::English).stem(base).into_owned()
}

/// The terms of a text in order, with repetitions.
pub(crate) fn terms(text: &str) -> Vec<String> {
    words(text)
        .iter()
        .filter_map(|word| term(&word.folded))
        .collect()
}

/// Whether the text asks something: its last sentence does.
pub(crate) fn is_question(text: &str) -> bool {
    text.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '?')
        .ends_with('?')
}

/// How many tokens a language model is likely to count: a quarter of the bytes, and no fewer than the words.
pub(crate) fn estimate_tokens(text: &str) -> u32 {
    let words = text.unicode_words().count();
    u32::try_from(text.len().div_ceil(4).max(words)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_folded_and_stemmed() {
        assert_eq!(
            terms("Ada's CAFÉS, and the children ran"),
            ["ada", "cafe", "child", "run"]
        );
        assert_eq!(
            terms("don\u{2019}t \u{4f60}\u{597d}"),
            ["\u{4f60}", "\u{597d}"]
        );
        assert_eq!(terms("!?\u{1f600}"), [""; 0]);
    }

    #[test]
    fn a_capital_inside_a_sentence_is_a_name() {
        let names = |text: &str| -> Vec<String> {
            words(text)
                .into_iter()
                .filter(|word| word.is_name)
                .map(|word| word.folded)
                .collect()
        };
        assert_eq!(
            names("Yesterday I met Ben in Lisbon. Then we left. I'm home"),
            ["ben", "lisbon"]
        );
    }

    #[test]
    fn a_text_asks_by_how_it_ends() {
        assert!(is_question("Really? You did?") && is_question("Did you? \u{1f600}"));
        assert!(!is_question("Did you? I did.") && !is_question(""));
    }

    #[test]
    fn tokens_are_never_estimated_below_the_words() {
        assert_eq!(estimate_tokens("a b c d e f"), 6);
        assert_eq!(estimate_tokens("telescopes"), 3);
        assert_eq!(estimate_tokens(""), 0);
    }
}

//! Byte-level byte-pair encoding: the alphabet of GPT-2, and merges learned by counting.
//!
//! Source: Sennrich, Haddow, Birch, "Neural machine translation of rare words with subword units" (2016); the byte
//! alphabet is that of `openai/gpt-2`, `encoder.py`.

use std::collections::BTreeMap;

/// The tokens of a learned vocabulary, bytes first, and its merges in order of rank.
pub(crate) struct Bpe {
    pub(crate) tokens: Vec<String>,
    pub(crate) merges: Vec<String>,
}

/// The printable character that stands for a byte.
pub(crate) fn byte_char(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        // The bytes without a printable character, in order, from U+0100 on.
        _ => {
            let before = (0..byte)
                .filter(|b| !matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff))
                .count();
            char::from_u32(0x100 + before as u32).expect("U+0100 to U+0143 are characters")
        }
    }
}

/// Learns `count` merges from `text`. Ties go to the pair that sorts first.
pub(crate) fn learn(text: &str, count: usize) -> Bpe {
    let mut tokens: Vec<String> = (0..=255u8)
        .map(|byte| byte_char(byte).to_string())
        .collect();
    let mut words: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for word in split(text) {
        let symbols = word
            .bytes()
            .map(|byte| byte_char(byte).to_string())
            .collect();
        *words.entry(symbols).or_default() += 1;
    }
    let mut merges = Vec::new();
    while merges.len() < count {
        let mut pairs: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (symbols, times) in &words {
            for pair in symbols.windows(2) {
                *pairs.entry((pair[0].clone(), pair[1].clone())).or_default() += times;
            }
        }
        let best = pairs
            .into_iter()
            .max_by(|(a, x), (b, y)| x.cmp(y).then_with(|| b.cmp(a)));
        let Some(((left, right), _)) = best.filter(|(_, times)| *times > 1) else {
            break;
        };
        let joined = format!("{left}{right}");
        merges.push(format!("{left} {right}"));
        if !tokens.contains(&joined) {
            tokens.push(joined.clone());
        }
        words = words.into_iter().fold(
            BTreeMap::new(),
            |mut merged: BTreeMap<Vec<String>, usize>, (symbols, times)| {
                *merged
                    .entry(merge(symbols, &left, &right, &joined))
                    .or_default() += times;
                merged
            },
        );
    }
    Bpe { tokens, merges }
}

fn merge(symbols: Vec<String>, left: &str, right: &str, joined: &str) -> Vec<String> {
    let mut out = Vec::with_capacity(symbols.len());
    let mut rest = symbols.into_iter().peekable();
    while let Some(symbol) = rest.next() {
        if symbol == left && rest.peek().is_some_and(|next| next == right) {
            rest.next();
            out.push(joined.to_owned());
        } else {
            out.push(symbol);
        }
    }
    out
}

/// Words with their leading space, and runs of other characters: a simplification of GPT-2's pattern that never joins
/// what it would split.
fn split(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut previous = None;
    for (at, c) in text.char_indices() {
        let class = match c {
            ' ' => 0,
            c if c.is_alphabetic() => 1,
            c if c.is_numeric() => 2,
            c if c.is_whitespace() => 3,
            _ => 4,
        };
        // A single space belongs to the word after it.
        let joins = match previous {
            None => true,
            Some(0) => class == 1 || class == 2 || class == 4,
            Some(before) => before == class,
        };
        if !joins {
            pieces.push(&text[start..at]);
            start = at;
        }
        previous = Some(class);
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character() {
        let characters: std::collections::BTreeSet<char> = (0..=255).map(byte_char).collect();
        assert_eq!(characters.len(), 256);
        assert_eq!(byte_char(b' '), 'Ġ');
        assert_eq!(byte_char(b'\n'), 'Ċ');
    }

    #[test]
    fn the_commonest_pair_is_merged_first() {
        let bpe = learn("aab aab aab b", 1);
        assert_eq!(bpe.merges, ["a a"], "ties go to the pair that sorts first");
    }

    #[test]
    fn pieces_join_to_the_text() {
        let text = crate::corpus::TEXT;
        assert_eq!(split(text).concat(), text);
    }
}

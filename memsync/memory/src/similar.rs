//! Whether two facts say the same: in the same words, in nearly the same words, or in the same place of an embedding.
//!
//! Nearly the same words are found by MinHash: 32 permutations in 16 bands of 2 give candidates, the exact Jaccard
//! similarity of their word pairs decides. Facts that differ in a number, a name or a denial are never the same, however near
//! they are.

use std::collections::{BTreeMap, BTreeSet};

/// Share of common word pairs from which on texts are the same.
const JACCARD: f64 = 0.8;
/// Cosine from which on texts are the same.
const TWIN: f32 = 0.97;

const BANDS: usize = 16;
const ROWS: usize = 2;

/// What is compared of a text.
#[derive(Clone, Debug)]
pub struct Gist {
    /// Its words in lower case, apart by one space.
    pub(crate) words: String,
    shingles: BTreeSet<u64>,
    /// Numbers and denials: what must be equal.
    marks: BTreeSet<String>,
    bands: [u64; BANDS],
}

impl Gist {
    /// Of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let lower = text.to_lowercase().replace('’', "'");
        let words: Vec<&str> = lower
            .split(|character: char| !character.is_alphanumeric() && character != '\'')
            .filter(|word| !word.is_empty())
            .collect();
        let mut shingles = BTreeSet::new();
        for pair in words.windows(2) {
            shingles.insert(hash(0, &pair.join(" ")));
        }
        if words.len() == 1 {
            shingles.insert(hash(0, words[0]));
        }
        let marks = words
            .iter()
            .filter(|word| {
                word.chars().any(|character| character.is_ascii_digit())
                    || word.ends_with("n't")
                    || matches!(
                        **word,
                        "not" | "no" | "never" | "used" | "stopped" | "quit" | "left"
                    )
            })
            .map(|word| (*word).to_owned())
            .collect();
        let mut bands = [0; BANDS];
        for (band, slot) in bands.iter_mut().enumerate() {
            let mut joined = 0_u64;
            for row in 0..ROWS {
                let seed = (band * ROWS + row) as u64 + 1;
                let least = shingles.iter().map(|one| mix(*one ^ mix(seed))).min();
                joined = mix(joined ^ least.unwrap_or(0));
            }
            *slot = mix(joined ^ band as u64);
        }
        Self {
            words: words.join(" "),
            shingles,
            marks,
            bands,
        }
    }

    /// Whether a number or a denial stands in one and not in the other.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        self.marks != other.marks
    }

    fn jaccard(&self, other: &Self) -> f64 {
        let common = self.shingles.intersection(&other.shingles).count();
        let all = self.shingles.len() + other.shingles.len() - common;
        if all == 0 {
            0.0
        } else {
            common as f64 / all as f64
        }
    }

    /// Whether they say the same by their words.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.words == other.words || (!self.differs(other) && self.jaccard(other) >= JACCARD)
    }
}

/// Whether sentence vectors of one model are so near each other that their texts say the same, if neither differs from the
/// other in what must be equal ([`Gist::differs`]).
#[must_use]
pub fn are_twins(a: &[f32], b: &[f32]) -> bool {
    cosine(a, b) >= TWIN
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return 0.0;
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 {
        dot(a, b) / lengths
    } else {
        0.0
    }
}

/// Facts by what they say.
pub(crate) struct Known<K> {
    gists: BTreeMap<K, (String, Gist)>,
    bands: BTreeMap<u64, Vec<K>>,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self {
            gists: BTreeMap::new(),
            bands: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Copy> Known<K> {
    pub(crate) fn insert(&mut self, id: K, subject: &str, text: &str) {
        let gist = Gist::of(text);
        for band in gist.bands {
            self.bands.entry(band).or_default().push(id);
        }
        self.gists.insert(id, (subject.to_lowercase(), gist));
    }

    /// Those about a subject that say the same as a text, ascending.
    pub(crate) fn like(&self, subject: &str, gist: &Gist) -> BTreeSet<K> {
        let subject = subject.to_lowercase();
        gist.bands
            .iter()
            .filter_map(|band| self.bands.get(band))
            .flatten()
            .filter(|id| {
                self.gists
                    .get(id)
                    .is_some_and(|(about, known)| *about == subject && known.is_like(gist))
            })
            .copied()
            .collect()
    }

    /// Whether a fact differs from a text in what must be equal.
    pub(crate) fn differs(&self, id: &K, gist: &Gist) -> bool {
        self.gists
            .get(id)
            .is_none_or(|(_, known)| known.differs(gist))
    }
}

fn hash(seed: u64, text: &str) -> u64 {
    let digest = blake3::hash(text.as_bytes());
    let bytes: [u8; 8] = digest.as_bytes()[..8].try_into().expect("8 of 32 bytes");
    mix(u64::from_le_bytes(bytes) ^ seed)
}

/// The finaliser of SplitMix64.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_are_the_same_and_another_number_is_not() {
        let mut known = Known::default();
        known.insert(
            1,
            "user",
            "I am allergic to peanuts and to tree nuts since I was a small child",
        );
        let like = |text: &str| known.like("User", &Gist::of(text));
        assert_eq!(
            like("i am allergic to peanuts, and to tree nuts since I was a small child!").len(),
            1
        );
        assert_eq!(
            like("I am allergic to peanuts and to tree nuts since I was a child").len(),
            1
        );
        assert!(
            like("I am not allergic to peanuts and to tree nuts since I was a small child")
                .is_empty()
        );
        assert!(like("I like tea").is_empty());
        known.insert(
            2,
            "user",
            "my dog is 4 years old and likes to run in the park with me",
        );
        let other = Gist::of("my dog is 5 years old and likes to run in the park with me");
        assert!(known.like("user", &other).is_empty());
        assert!(
            known
                .like(
                    "lena",
                    &Gist::of("my dog is 4 years old and likes to run in the park with me")
                )
                .is_empty()
        );
    }

    #[test]
    fn vectors_are_twins_by_their_direction_alone() {
        assert!(are_twins(&[1.0, 0.0], &[9.0, 1.0]));
        assert!(!are_twins(&[1.0, 0.0], &[1.0, 0.5]));
        assert!(!are_twins(&[1.0, 0.0], &[1.0]));
        assert!(!are_twins(&[0.0, 0.0], &[0.0, 0.0]));
    }
}

//! `tally.vectors/1`: what an embedding model made of episodes and facts, so that an index is built again without the model.
//!
//! ```text
//! version u8 = 1 ‖ model-length u8 ‖ model ‖ dimensions u16 ‖ token-dimensions u16 ‖ entries u32 ‖ entry…
//! entry: id [32] ‖ sentence i8 × dimensions ‖ tokens u16 ‖ i8 × token-dimensions × tokens
//! ```
//!
//! Integers are big-endian, entries ascend by id, the model's name is 1 to 255 bytes of UTF-8. A sentence vector is a unit vector times
//! 127, rounded, as the index keeps it anyway. Nothing follows the last entry.

use std::collections::BTreeMap;

use tally_recall::{Embedding, TokenVectors};

use crate::record::{RECORD_MAX, RecordError};

/// Vectors of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vectors {
    pub(crate) model: String,
    pub(crate) dimensions: u16,
    pub(crate) token_dimensions: u16,
    pub(crate) entries: BTreeMap<[u8; 32], Entry>,
}

/// The vectors of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    sentence: Vec<i8>,
    tokens: Vec<i8>,
}

impl Vectors {
    pub(crate) const RECORD_TYPE: &'static str = "tally.vectors/1";
    /// Most texts whose vectors one record holds.
    pub(crate) const BATCH: usize = 256;

    /// Of these texts; none if they are not all of one shape, or of one that no record holds.
    pub(crate) fn of(model: &str, embedded: &[([u8; 32], &Embedding)]) -> Option<Self> {
        let (_, first) = embedded.first()?;
        let dimensions = u16::try_from(first.sentence.len()).ok()?;
        let token_dimensions = embedded
            .iter()
            .map(|(_, one)| one.tokens.dimensions())
            .max()
            .and_then(|most| u16::try_from(most).ok())?;
        if model.is_empty() || model.len() > 255 || dimensions == 0 {
            return None;
        }
        let mut entries = BTreeMap::new();
        for (id, one) in embedded {
            if one.sentence.len() != usize::from(dimensions)
                || (!one.tokens.is_empty()
                    && one.tokens.dimensions() != usize::from(token_dimensions))
                || one.tokens.len() > usize::from(u16::MAX)
            {
                return None;
            }
            entries.insert(
                *id,
                Entry {
                    sentence: quantised(&one.sentence),
                    tokens: one.tokens.as_bytes().to_vec(),
                },
            );
        }
        Some(Self {
            model: model.to_owned(),
            dimensions,
            token_dimensions,
            entries,
        })
    }

    /// The vectors of one text, as an index takes them.
    pub(crate) fn embedding(&self, entry: &Entry) -> Embedding {
        Embedding {
            sentence: entry
                .sentence
                .iter()
                .map(|number| f32::from(*number) / 127.0)
                .collect(),
            tokens: TokenVectors::from_bytes(
                usize::from(self.token_dimensions),
                entry.tokens.clone(),
            )
            .unwrap_or_default(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![1, self.model.len() as u8];
        bytes.extend_from_slice(self.model.as_bytes());
        bytes.extend_from_slice(&self.dimensions.to_be_bytes());
        bytes.extend_from_slice(&self.token_dimensions.to_be_bytes());
        let count = u32::try_from(self.entries.len()).expect("a batch is small");
        bytes.extend_from_slice(&count.to_be_bytes());
        for (id, entry) in &self.entries {
            bytes.extend_from_slice(id);
            bytes.extend(entry.sentence.iter().map(|number| number.cast_unsigned()));
            let tokens = entry
                .tokens
                .len()
                .checked_div(usize::from(self.token_dimensions))
                .unwrap_or(0);
            let tokens = u16::try_from(tokens).expect("`of` and `decode` take no more");
            bytes.extend_from_slice(&tokens.to_be_bytes());
            bytes.extend(entry.tokens.iter().map(|number| number.cast_unsigned()));
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_MAX {
            return Err(RecordError::TooLong {
                found: bytes.len() as u64,
            });
        }
        let mut rest = bytes;
        let form = || RecordError::Form("it ends early".to_owned());
        let mut take = |count: usize| -> Result<&[u8], RecordError> {
            let (head, tail) = rest.split_at_checked(count).ok_or_else(form)?;
            rest = tail;
            Ok(head)
        };
        if take(1)? != [1] {
            return Err(RecordError::Field("version"));
        }
        let length = usize::from(take(1)?[0]);
        let model = std::str::from_utf8(take(length)?)
            .map_err(|_| RecordError::Field("model"))?
            .to_owned();
        let mut short = || -> Result<u16, RecordError> {
            let pair = take(2)?;
            Ok(u16::from_be_bytes([pair[0], pair[1]]))
        };
        let (dimensions, token_dimensions) = (short()?, short()?);
        if model.is_empty() || dimensions == 0 {
            return Err(RecordError::Field("dimensions"));
        }
        let (high, low) = (short()?, short()?);
        let count = u32::from(high) << 16 | u32::from(low);
        let numbers = |bytes: &[u8]| bytes.iter().map(|byte| byte.cast_signed()).collect();
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let id: [u8; 32] = take(32)?.try_into().expect("32 bytes were taken");
            if entries
                .last_key_value()
                .is_some_and(|(last, _)| *last >= id)
            {
                return Err(RecordError::Spelling);
            }
            let sentence: Vec<i8> = numbers(take(usize::from(dimensions))?);
            let pair = take(2)?;
            let tokens = usize::from(u16::from_be_bytes([pair[0], pair[1]]));
            if tokens > 0 && token_dimensions == 0 {
                return Err(RecordError::Field("token-dimensions"));
            }
            let tokens: Vec<i8> = numbers(take(tokens * usize::from(token_dimensions))?);
            entries.insert(id, Entry { sentence, tokens });
        }
        if !rest.is_empty() {
            return Err(RecordError::Spelling);
        }
        Ok(Self {
            model,
            dimensions,
            token_dimensions,
            entries,
        })
    }
}

/// A vector scaled to 127 times a unit vector and rounded. One without direction is kept as zeros, and finds nothing.
fn quantised(vector: &[f32]) -> Vec<i8> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    let scale = if length.is_finite() && length > 0.0 {
        127.0 / length
    } else {
        0.0
    };
    // `as` saturates, and takes what is no number for 0.
    vector.iter().map(|x| (x * scale).round() as i8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(sentence: &[f32], tokens: usize) -> Embedding {
        Embedding {
            sentence: sentence.to_vec(),
            tokens: TokenVectors::from_rows(2, std::iter::repeat_n([0.6, -0.8].as_slice(), tokens)),
        }
    }

    #[test]
    fn what_was_embedded_is_read_again() {
        let (one, two) = (embedding(&[1.0, 0.0], 0), embedding(&[0.0, -2.0], 3));
        let vectors = Vectors::of("m", &[([2; 32], &one), ([1; 32], &two)]).expect("one shape");
        let bytes = vectors.encode();
        assert_eq!(bytes.len(), 2 + 1 + 2 + 2 + 4 + 2 * (32 + 2 + 2) + 6);
        let read = Vectors::decode(&bytes).expect("its own bytes");
        assert_eq!(read, vectors);
        assert_eq!(
            read.embedding(&read.entries[&[1; 32]]).sentence,
            [0.0, -1.0]
        );
        assert_eq!(read.embedding(&read.entries[&[1; 32]]).tokens, two.tokens);
    }

    #[test]
    fn a_long_sentence_vector_keeps_its_end() {
        let mut long = vec![0.0; 384];
        (long[0], long[383]) = (3.0, -4.0);
        let one = embedding(&long, 0);
        let vectors = Vectors::of("m", &[([1; 32], &one)]).expect("one shape");
        let read = Vectors::decode(&vectors.encode()).expect("its own bytes");
        let sentence = read.embedding(&read.entries[&[1; 32]]).sentence;
        assert_eq!(sentence.len(), 384);
        assert!((sentence[0] - 0.6).abs() < 0.01 && (sentence[383] + 0.8).abs() < 0.01);
    }

    #[test]
    fn bytes_of_another_form_are_refused() {
        let one = embedding(&[1.0, 0.0], 1);
        let bytes = Vectors::of("m", &[([1; 32], &one)])
            .expect("one shape")
            .encode();
        for cut in 0..bytes.len() {
            assert!(Vectors::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut more = bytes.clone();
        more.push(0);
        assert_eq!(Vectors::decode(&more), Err(RecordError::Spelling));
        let mut many = bytes;
        many[7..11].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(Vectors::decode(&many).is_err());
        assert_eq!(
            Vectors::of("m", &[([1; 32], &one), ([2; 32], &embedding(&[1.0], 0))]),
            None
        );
    }
}

//! Names, numbers and decimals as receipts hold them.

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::{Serialize, Serializer};

use crate::bytes::TextVisitor;
use crate::limits::{MAX_COUNT, MAX_LABEL_BYTES};

/// A name for people and programs: 1 to [`MAX_LABEL_BYTES`] printable ASCII characters (U+0020 to U+007E).
///
/// Nothing in it can move a terminal's cursor, look like another letter, or have two spellings in JSON.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

/// Why a text is not a [`Label`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nothing in it, or too much.
    #[error("a label has 1 to {MAX_LABEL_BYTES} characters, not {found}")]
    Length {
        /// How many bytes it has.
        found: usize,
    },
    /// Something else than printable ASCII.
    #[error("a label has printable ASCII characters only; the one at byte {at} is not")]
    Character {
        /// Where the first such character begins.
        at: usize,
    },
}

impl Label {
    /// Takes `text` as it is.
    ///
    /// # Errors
    /// [`LabelError`] when it is empty, too long or not printable ASCII.
    pub fn new(text: &str) -> Result<Self, LabelError> {
        if text.is_empty() || text.len() > MAX_LABEL_BYTES {
            return Err(LabelError::Length { found: text.len() });
        }
        match text.bytes().position(|byte| !(0x20..=0x7e).contains(&byte)) {
            Some(at) => Err(LabelError::Character { at }),
            None => Ok(Self(text.into())),
        }
    }

    /// Makes a label of any text, such as a name out of a model file: other characters become `?`, what is too long
    /// is cut, nothing becomes `?`.
    pub fn lossy(text: &str) -> Self {
        let kept: String = text
            .chars()
            .take(MAX_LABEL_BYTES)
            .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
            .collect();
        Self(if kept.is_empty() {
            "?".into()
        } else {
            kept.into()
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::str::FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        Self::new(text)
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor {
            expecting: "a label",
            parse: Self::new,
        })
    }
}

/// A number of things, at most [`MAX_COUNT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Count(u64);

/// A number that JSON readers do not all hold exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a count is at most {MAX_COUNT}, not {found}")]
pub struct CountError {
    /// The number.
    pub found: u64,
}

impl Count {
    /// Takes `number`.
    ///
    /// # Errors
    /// [`CountError`] when it is above [`MAX_COUNT`].
    pub const fn new(number: u64) -> Result<Self, CountError> {
        if number <= MAX_COUNT {
            Ok(Self(number))
        } else {
            Err(CountError { found: number })
        }
    }

    /// Takes `number`, or [`MAX_COUNT`] when it is more: for measures where the end of the scale says enough.
    pub const fn saturating(number: u64) -> Self {
        Self(if number <= MAX_COUNT {
            number
        } else {
            MAX_COUNT
        })
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u32> for Count {
    fn from(number: u32) -> Self {
        Self(number.into())
    }
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A sampling parameter: a binary32 number in `0.0..10_000_000.0`, written as a decimal in a string.
///
/// A string, because JSON readers do not agree on floating-point numbers. The value is the binary32 number nearest to
/// the decimal, ties to even.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Real(Box<str>);

/// Why a number or text is not a [`Real`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RealError {
    /// Negative, not a number, or too large.
    #[error("a sampling parameter is at least 0 and below 10000000")]
    Range,
    /// Not a plain decimal without needless zeros.
    #[error("a decimal is digits, or digits, a point and digits, without needless zeros")]
    Decimal,
}

/// Digits before and after the point. A binary32 number needs at most 54 digits after it.
const MAX_WHOLE_DIGITS: usize = 7;
const MAX_FRACTION_DIGITS: usize = 60;

impl Real {
    /// Takes a parameter as the sampler has it.
    ///
    /// # Errors
    /// [`RealError::Range`].
    pub fn new(value: f32) -> Result<Self, RealError> {
        // Display of f32 is the shortest decimal that reads back as the same number, without an exponent.
        // Adding 0.0 makes the negative zero a zero.
        if (0.0..10_000_000.0).contains(&value) {
            Ok(Self((value + 0.0).to_string().into()))
        } else {
            Err(RealError::Range)
        }
    }

    /// Reads the decimal form.
    ///
    /// # Errors
    /// [`RealError::Decimal`].
    pub fn parse(text: &str) -> Result<Self, RealError> {
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (text, None),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let whole_holds = (1..=MAX_WHOLE_DIGITS).contains(&whole.len())
            && digits(whole)
            && (whole == "0" || !whole.starts_with('0'));
        let fraction_holds = fraction.is_none_or(|fraction| {
            (1..=MAX_FRACTION_DIGITS).contains(&fraction.len())
                && digits(fraction)
                && !fraction.ends_with('0')
        });
        if whole_holds && fraction_holds {
            Ok(Self(text.into()))
        } else {
            Err(RealError::Decimal)
        }
    }

    /// The number that the sampler computed with.
    pub fn value(&self) -> f32 {
        self.0
            .parse()
            .expect("digits, a point and digits are a number")
    }

    /// The decimal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Real {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for Real {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor {
            expecting: "a decimal in a string",
            parse: Self::parse,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_refuses_what_could_deceive_a_reader() {
        assert_eq!(Label::new(""), Err(LabelError::Length { found: 0 }));
        assert_eq!(
            Label::new(&"a".repeat(201)),
            Err(LabelError::Length { found: 201 })
        );
        assert_eq!(
            Label::new("a\u{1b}[2J"),
            Err(LabelError::Character { at: 1 })
        );
        assert_eq!(
            Label::new("p\u{0430}y"),
            Err(LabelError::Character { at: 1 })
        );
        assert_eq!(Label::lossy("Mod\u{e8}le\n").as_str(), "Mod?le?");
        assert_eq!(
            Label::lossy(&"\u{1f600}".repeat(300)).as_str().len(),
            MAX_LABEL_BYTES
        );
        assert_eq!(Label::lossy("").as_str(), "?");
    }

    #[test]
    fn real_keeps_the_exact_number() {
        for value in [
            0.0,
            0.7,
            1.0,
            f32::MIN_POSITIVE,
            f32::from_bits(1),
            0.1 + 0.2,
            9_999_999.0,
            1.0e-30,
        ] {
            let real = Real::new(value).unwrap();
            assert_eq!(real.value().to_bits(), value.to_bits());
            assert_eq!(Real::parse(real.as_str()), Ok(real));
        }
        assert_eq!(Real::new(-0.0).unwrap().as_str(), "0");
    }

    #[test]
    fn real_refuses_other_spellings() {
        for text in [
            "", ".", "1.", ".5", "01", "1.0", "0.70", "-1", "+1", "1e3", "nan", "inf", "12345678",
            " 1",
        ] {
            assert_eq!(Real::parse(text), Err(RealError::Decimal), "{text}");
        }
        for value in [f32::NAN, f32::INFINITY, -0.1, 1.0e7] {
            assert_eq!(Real::new(value), Err(RealError::Range));
        }
    }

    #[test]
    fn count_stops_where_json_readers_disagree() {
        assert_eq!(Count::new(MAX_COUNT).unwrap().get(), MAX_COUNT);
        assert_eq!(
            Count::new(MAX_COUNT + 1),
            Err(CountError {
                found: MAX_COUNT + 1
            })
        );
        assert_eq!(Count::saturating(u64::MAX).get(), MAX_COUNT);
    }
}

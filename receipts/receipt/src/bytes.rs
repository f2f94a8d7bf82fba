//! Fixed-length byte strings that are written as lower-case hex.
//!
//! One spelling: exactly two lower-case digits a byte, nothing before or after.

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// Why a text is not the hex form of a fixed-length byte string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {} lower-case hex digits", expected_bytes * 2)]
pub struct ParseHexError {
    /// How many bytes the text should name.
    pub expected_bytes: usize,
}

/// Reads `2 * N` lower-case hex digits.
pub(crate) fn decode_hex<const N: usize>(text: &[u8]) -> Result<[u8; N], ParseHexError> {
    let error = ParseHexError { expected_bytes: N };
    if text.len() != 2 * N {
        return Err(error);
    }
    let mut bytes = [0; N];
    let mut wrong = 0;
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (
            DIGIT_VALUES[usize::from(digits[0])],
            DIGIT_VALUES[usize::from(digits[1])],
        );
        wrong |= high | low;
        *byte = high << 4 | low & 15;
    }
    if wrong & NO_DIGIT == 0 {
        Ok(bytes)
    } else {
        Err(error)
    }
}

const NO_DIGIT: u8 = 0x80;

/// The value of each lower-case hex digit, and [`NO_DIGIT`] for every other byte.
const DIGIT_VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

pub(crate) fn serialize_hex<const N: usize, S: Serializer>(
    bytes: &[u8; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut text = [0; 64];
    let text = &mut text[..2 * N];
    hex::encode_to_slice(bytes, text)
        .expect("the buffer holds two digits for each of at most 32 bytes");
    serializer.serialize_str(std::str::from_utf8(text).expect("hex digits are ASCII"))
}

/// A visitor that hands the text of a JSON string to `parse`, without a copy.
pub(crate) struct TextVisitor<T, E> {
    pub(crate) expecting: &'static str,
    pub(crate) parse: fn(&str) -> Result<T, E>,
}

impl<T, E: fmt::Display> serde::de::Visitor<'_> for TextVisitor<T, E> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expecting)
    }

    fn visit_str<X: serde::de::Error>(self, text: &str) -> Result<T, X> {
        (self.parse)(text).map_err(X::custom)
    }
}

pub(crate) fn deserialize_hex<'de, const N: usize, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    deserializer.deserialize_str(TextVisitor {
        expecting: "lower-case hex digits in a string",
        parse: |text| decode_hex::<N>(text.as_bytes()),
    })
}

/// Declares a public byte-string type with hex text and JSON forms.
macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// How many bytes it has.
            pub const LENGTH: usize = $length;

            /// Takes the bytes as they are.
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseHexError;

            fn from_str(text: &str) -> Result<Self, ParseHexError> {
                $crate::bytes::decode_hex(text.as_bytes()).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::bytes::serialize_hex(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::bytes::deserialize_hex(deserializer).map(Self)
            }
        }
    };
}
pub(crate) use hex_bytes;

hex_bytes! {
    /// A BLAKE3 digest of 32 bytes. The bytes it is of are not secret: where a reader could guess them and must not be
    /// able to confirm the guess, a [`Commitment`](crate::Commitment) stands instead.
    Digest, 32
}

hex_bytes! {
    /// What a client makes up for one request, so that an old answer cannot pass as a new one and the node cannot
    /// choose its randomness. 32 random bytes, used once.
    Nonce, 32
}

hex_bytes! {
    /// The name of one run of an agent: 16 random bytes.
    RunId, 16
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// Makes an optional field one that must be present: absent is an error, `null` is `None`.
pub(crate) fn required_option<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_has_one_spelling() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        let error = Err(ParseHexError { expected_bytes: 32 });
        assert_eq!(digest.to_string().to_uppercase().parse::<Digest>(), error);
        assert_eq!(format!(" {digest}").parse::<Digest>(), error);
        assert_eq!(digest.to_string()[2..].parse::<Digest>(), error);
        assert_eq!("g".repeat(64).parse::<Digest>(), error);
    }
}

//! Keys and signatures: Ed25519, as RFC 8032 has it, with the strict reading of the cases it leaves open.
//!
//! Strict means: a public key is the canonical encoding of a point that is not of small order, `S` is below the group
//! order, `R` is compared as bytes and is not of small order. So one signature is accepted by everybody or by nobody.

use std::fmt;

use ed25519_dalek::Signer as _;
use serde::de::{Deserialize, Deserializer};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use crate::bytes::{TextVisitor, decode_hex};

/// The secret half of a key. Wiped when dropped; without `Debug`, so that it does not end in a log.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Makes the key of a seed, which is 32 bytes of the operating system's randomness that nothing else knows.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, for the one file that keeps it.
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs bytes as they are. Everything in this crate signs a
    /// [pre-authentication encoding](crate::pre_authentication_encoding); whoever signs something else with the same
    /// key must start it with other bytes than `DSSEv1`.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

/// The public half of a key, and the name of whoever holds it: 32 bytes, written as lower-case hex.
///
/// Canonically encoded and not of small order. About half of such byte strings are no point of the curve; those verify
/// no signature, which is found when one is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// Why bytes or text are not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not 64 lower-case hex digits.
    #[error("a public key is written as 64 lower-case hex digits")]
    Hex,
    /// A second encoding of some point.
    #[error("the public key is not canonically encoded")]
    NotCanonical,
    /// A key that signatures of anybody hold under.
    #[error("the public key is of small order, so it proves nothing")]
    SmallOrder,
}

/// The y coordinates of the eight points of small order, little-endian: 0, 1, -1 and the two of order eight.
/// RFC 8032 section 5.1 has the curve; the list is that of "Taming the many EdDSAs" (2020), table 6.
const SMALL_ORDER_Y: [[u8; 32]; 5] = {
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    minus_one[31] = 0x7f;
    let mut one = [0; 32];
    one[0] = 1;
    [
        [0; 32],
        one,
        minus_one,
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ]
};

/// Whether canonical bytes encode a point of small order.
pub(crate) fn is_small_order(bytes: &[u8; 32]) -> bool {
    let mut y = *bytes;
    y[31] &= 0x7f;
    SMALL_ORDER_Y.contains(&y)
}

impl PublicKey {
    /// Takes the bytes of a key.
    ///
    /// # Errors
    /// [`InvalidKey`] when they are not canonical or the point is of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidKey> {
        let mut y = bytes;
        y[31] &= 0x7f;
        // p = 2^255 - 19 is ed ff … ff 7f in little-endian bytes.
        if y[0] >= 0xed && y[31] == 0x7f && y[1..31].iter().all(|byte| *byte == 0xff) {
            return Err(InvalidKey::NotCanonical);
        }
        // The sign bit is canonical unless x is zero, and then the point is of small order.
        if is_small_order(&bytes) {
            return Err(InvalidKey::SmallOrder);
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signature` is this key's over `message`, strictly.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        crate::ed25519::verify(self, message, signature)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, InvalidKey> {
        Self::from_bytes(decode_hex(text.as_bytes()).map_err(|_| InvalidKey::Hex)?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({self})")
    }
}

impl std::str::FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::parse(text)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::bytes::serialize_hex(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor {
            expecting: "a public key in hex",
            parse: Self::parse,
        })
    }
}

/// An Ed25519 signature: `R` and `S`, 64 bytes. Not yet known to hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Takes the bytes as they are.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signature({})", hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;

    use super::*;

    #[test]
    fn every_small_order_key_is_refused() {
        for point in EIGHT_TORSION {
            let mut bytes = point.compress().to_bytes();
            assert_eq!(PublicKey::from_bytes(bytes), Err(InvalidKey::SmallOrder));
            bytes[31] ^= 0x80;
            assert_eq!(PublicKey::from_bytes(bytes), Err(InvalidKey::SmallOrder));
        }
    }

    #[test]
    fn every_second_encoding_is_refused() {
        for low in 0xed..=0xff {
            for high in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                bytes[0] = low;
                bytes[31] = high;
                assert_eq!(PublicKey::from_bytes(bytes), Err(InvalidKey::NotCanonical));
            }
        }
    }

    #[test]
    fn keys_read_back_from_their_text() {
        let key = SigningKey::from_seed(&[1; 32]).public_key();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(
            key.to_string().to_uppercase().parse::<PublicKey>(),
            Err(InvalidKey::Hex)
        );
    }
}

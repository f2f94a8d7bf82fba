//! Names of memories: hashes of what they say, shown as hexadecimal.
//!
//! A record's id is `BLAKE3 derive_key("tally memory v1 2026-11-29 " ‖ purpose, content)` of the record's content as it is
//! stored. So the same turn has the same id wherever and however often it comes in, and whoever reads a record can check
//! that it is the one an evidence names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name that is not 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 lower-case hexadecimal digits")]
pub struct ParseIdError;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $purpose:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The name of a record with this content.
            #[must_use]
            pub fn of(content: &[u8]) -> Self {
                Self(blake3::derive_key(concat!("tally memory v1 2026-11-29 ", $purpose), content))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return Err(ParseIdError);
                }
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseIdError)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A turn of a conversation, or a part of a document.
    EpisodeId = "episode";
    /// A fact that was learnt.
    FactId = "fact";
    /// A call of a model.
    CallId = "call";
    /// What the owner said about a fact: a correction or a confirmation.
    RemarkId = "remark";
    /// The bytes of a span of an episode.
    SpanHash = "span";
}

/// Something that can be recalled, corrected or forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryId {
    /// A fact.
    Fact(FactId),
    /// A correction, which stands in the place of a fact.
    Correction(RemarkId),
    /// An episode.
    Episode(EpisodeId),
}

impl MemoryId {
    /// The 32 bytes of the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        match self {
            Self::Fact(FactId(bytes))
            | Self::Correction(RemarkId(bytes))
            | Self::Episode(EpisodeId(bytes)) => bytes,
        }
    }
}

impl fmt::Display for MemoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl Serialize for MemoryId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

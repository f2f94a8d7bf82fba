//! Moments on the wire.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z; in JSON a string as RFC 3339 has it, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub i64);

/// A text that is no date and time with a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a date and time with a zone, such as 2026-11-29T20:15:00Z")]
pub struct ParseMomentError;

impl UnixMs {
    /// `2026-11-29`
    pub fn date(self) -> String {
        self.to_string().chars().take(10).collect()
    }

    /// `20:15`
    pub fn clock(self) -> String {
        self.to_string().chars().skip(11).take(5).collect()
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.0}"),
            // Outside of the years that RFC 3339 can write.
            Err(_) => f.write_str(if self.0 < 0 {
                "0000-01-01T00:00:00Z"
            } else {
                "9999-12-31T23:59:59Z"
            }),
        }
    }
}

impl FromStr for UnixMs {
    type Err = ParseMomentError;

    fn from_str(text: &str) -> Result<Self, ParseMomentError> {
        let timestamp: Timestamp = text.parse().map_err(|_| ParseMomentError)?;
        Ok(Self(timestamp.as_millisecond()))
    }
}

impl Serialize for UnixMs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnixMs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for UnixMs {
    fn schema_name() -> Cow<'static, str> {
        "DateTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

//! Moments, and the dates of other people's files.

use jiff::{Timestamp, civil, tz};
use serde::{Deserialize, Serialize};

use crate::Offset;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Moment(i64);

impl TryFrom<i64> for Moment {
    type Error = &'static str;

    fn try_from(ms: i64) -> Result<Self, Self::Error> {
        Self::from_unix_ms(ms).ok_or("outside of the years 1900 to 9999")
    }
}

impl From<Moment> for i64 {
    fn from(moment: Moment) -> Self {
        moment.0
    }
}

impl Moment {
    /// The year 1900, before which no chat was written, to the end of 9999.
    const RANGE_MS: std::ops::RangeInclusive<i64> = -2_208_988_800_000..=253_402_300_799_999;

    /// `None` outside of the years 1900 to 9999.
    pub fn from_unix_ms(ms: i64) -> Option<Self> {
        Self::RANGE_MS.contains(&ms).then_some(Self(ms))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn unix_ms(self) -> i64 {
        self.0
    }
}

/// When something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct When {
    /// The moment.
    pub moment: Moment,
    /// Whether the source says which.
    pub zone: Zone,
}

/// Where a moment's offset comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Zone {
    /// The source states it, or counts from an epoch.
    Stated,
    /// The source has a wall clock only; the offset is the caller's.
    Assumed,
}

/// Seconds since the epoch, with a fraction.
pub(crate) fn from_epoch_seconds(seconds: f64) -> Option<When> {
    if !seconds.is_finite() || seconds.abs() > 1e12 {
        return None;
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "finite and below 1e15, so it fits"
    )]
    let ms = (seconds * 1000.0).round() as i64;
    stated(ms)
}

/// RFC 3339, or the same without an offset, which then is `offset`.
pub(crate) fn from_rfc3339(text: &str, offset: Offset) -> Option<When> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return stated(timestamp.as_millisecond());
    }
    from_civil(text.parse().ok()?, offset)
}

/// A wall clock.
pub(crate) fn from_civil(clock: civil::DateTime, offset: Offset) -> Option<When> {
    let offset = tz::Offset::from_seconds(i32::from(offset.minutes()) * 60).ok()?;
    let timestamp = offset.to_timestamp(clock).ok()?;
    Some(When {
        moment: Moment::from_unix_ms(timestamp.as_millisecond())?,
        zone: Zone::Assumed,
    })
}

fn stated(ms: i64) -> Option<When> {
    Some(When {
        moment: Moment::from_unix_ms(ms)?,
        zone: Zone::Stated,
    })
}

//! Times of memories: milliseconds since 1970, in UTC, possibly before it.
//!
//! The Gregorian calendar comes from the `time` crate. Nothing here reads a clock.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime, Time};

/// A moment of the world, from year 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Moment(i64);

/// A number that is no moment between the years 1 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} milliseconds since 1970 are not between the years 1 and 9999")]
pub struct MomentError(i64);

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;

impl Moment {
    /// The first millisecond of year 1.
    pub const FIRST: Self = Self(-62_135_596_800_000);
    /// The last millisecond of year 9999.
    pub const LAST: Self = Self(253_402_300_799_999);

    /// The moment so many milliseconds after 1970.
    ///
    /// # Errors
    /// Outside of the years 1 to 9999.
    pub const fn from_unix_ms(ms: i64) -> Result<Self, MomentError> {
        if ms < Self::FIRST.0 || ms > Self::LAST.0 {
            Err(MomentError(ms))
        } else {
            Ok(Self(ms))
        }
    }

    /// The moment that a clock shows.
    #[must_use]
    pub fn of_clock(ms: u64) -> Self {
        Self(i64::try_from(ms).unwrap_or(Self::LAST.0).min(Self::LAST.0))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// The first moment of a day.
    #[must_use]
    pub fn of_day(day: Date) -> Self {
        let midnight = day.with_time(Time::MIDNIGHT).assume_utc();
        Self((midnight.unix_timestamp() * 1_000).clamp(Self::FIRST.0, Self::LAST.0))
    }

    /// The day, in UTC.
    #[must_use]
    pub fn day(self) -> Date {
        self.date_time().date()
    }

    /// So many days later, or at the end of time.
    #[must_use]
    pub fn plus_days(self, days: i64) -> Self {
        let moved = self.0.saturating_add(days.saturating_mul(DAY_MS));
        Self(moved.clamp(Self::FIRST.0, Self::LAST.0))
    }

    /// A millisecond later, or at the end of time.
    pub(crate) fn just_after(self) -> Self {
        Self((self.0 + 1).min(Self::LAST.0))
    }

    fn date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1_000))
            .expect("the years 1 to 9999 are in the calendar")
    }
}

impl TryFrom<i64> for Moment {
    type Error = MomentError;

    fn try_from(ms: i64) -> Result<Self, MomentError> {
        Self::from_unix_ms(ms)
    }
}

impl From<Moment> for i64 {
    fn from(moment: Moment) -> Self {
        moment.0
    }
}

/// `2026-11-21T02:34:32Z`
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.date_time();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_utc_and_stays_in_the_calendar() {
        let shown = |ms| Moment::from_unix_ms(ms).map(|moment| moment.to_string());
        assert_eq!(shown(0).as_deref(), Ok("1970-01-01T00:00:00Z"));
        assert_eq!(shown(-1).as_deref(), Ok("1969-12-31T23:59:59Z"));
        assert_eq!(
            shown(1_795_000_000_123).as_deref(),
            Ok("2026-11-18T11:06:40Z")
        );
        assert_eq!(Moment::FIRST.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(Moment::LAST.to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(Moment::LAST.plus_days(5), Moment::LAST);
        assert!(shown(i64::MAX).is_err());
    }
}

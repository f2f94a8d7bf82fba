//! Moments, to the millisecond, in UTC.
//!
//! Written in one way only: `2026-11-21T02:34:32.123Z` (RFC 3339, 24 characters, years 1970 to 9999, no leap second).

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::{Serialize, Serializer};

use crate::bytes::TextVisitor;

/// A moment: milliseconds since 1970-01-01T00:00:00Z, before the year 10000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// Why a text or number is not a [`Timestamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Not of the one form.
    #[error("a time is written like 2026-11-21T02:34:32.123Z")]
    Form,
    /// A day or hour that does not exist.
    #[error("no such day or time of day")]
    NoSuchMoment,
    /// In the year 10000 or later.
    #[error("a time lies before the year 10000")]
    TooLate,
}

const DAY_MS: u64 = 86_400_000;
/// 9999-12-31T23:59:59.999Z.
const LAST_MS: u64 = 253_402_300_799_999;

impl Timestamp {
    /// Takes milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`TimestampError::TooLate`].
    pub const fn from_unix_ms(ms: u64) -> Result<Self, TimestampError> {
        if ms <= LAST_MS {
            Ok(Self(ms))
        } else {
            Err(TimestampError::TooLate)
        }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// The moment `ms` later, or the last one there is.
    pub const fn plus_ms(self, ms: u64) -> Self {
        let sum = self.0.saturating_add(ms);
        Self(if sum <= LAST_MS { sum } else { LAST_MS })
    }

    fn parse(text: &str) -> Result<Self, TimestampError> {
        let bytes: &[u8; 24] = text
            .as_bytes()
            .try_into()
            .map_err(|_| TimestampError::Form)?;
        for (byte, form) in bytes.iter().zip(b"dddd-dd-ddTdd:dd:dd.dddZ") {
            let holds = if *form == b'd' {
                byte.is_ascii_digit()
            } else {
                byte == form
            };
            if !holds {
                return Err(TimestampError::Form);
            }
        }
        let number = |from: usize, to: usize| {
            bytes[from..to]
                .iter()
                .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
        };
        let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
        let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
        if year < 1970
            || !(1..=12).contains(&month)
            || !(1..=days_in_month(year, month)).contains(&day)
        {
            return Err(TimestampError::NoSuchMoment);
        }
        if hour > 23 || minute > 59 || second > 59 {
            return Err(TimestampError::NoSuchMoment);
        }
        let seconds = ((days_before_year(year) - days_before_year(1970)
            + (1..month)
                .map(|earlier| days_in_month(year, earlier))
                .sum::<u64>()
            + day
            - 1)
            * 24
            + hour)
            * 3600
            + minute * 60
            + second;
        Self::from_unix_ms(seconds * 1000 + number(20, 23))
    }
}

/// Days from 0001-01-01 to the first day of `year`, in the Gregorian calendar.
const fn days_before_year(year: u64) -> u64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400
}

const fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut days, ms) = (self.0 / DAY_MS, self.0 % DAY_MS);
        // 366 days a year never overshoots, and is one year short in the first centuries.
        let mut year = 1970 + days / 366;
        while days_before_year(year + 1) - days_before_year(1970) <= days {
            year += 1;
        }
        days -= days_before_year(year) - days_before_year(1970);
        let mut month = 1;
        while days >= days_in_month(year, month) {
            days -= days_in_month(year, month);
            month += 1;
        }
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(
            formatter,
            "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            days + 1,
            ms % 1000
        )
    }
}

impl std::str::FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Self::parse(text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor {
            expecting: "a time in a string",
            parse: Self::parse,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments_are_written_as_everybody_writes_them() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp(ms)));
        }
    }

    #[test]
    fn moments_that_do_not_exist_are_refused() {
        for text in [
            "2100-02-29T00:00:00.000Z",
            "2026-00-01T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "2026-04-31T00:00:00.000Z",
            "2026-01-00T00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T00:60:00.000Z",
            "2016-12-31T23:59:60.000Z",
            "1969-12-31T23:59:59.999Z",
        ] {
            assert_eq!(
                text.parse::<Timestamp>(),
                Err(TimestampError::NoSuchMoment),
                "{text}"
            );
        }
        for text in [
            "2026-01-01T00:00:00Z",
            "2026-01-01t00:00:00.000z",
            "2026-01-01T00:00:00.000+00:00",
            "",
        ] {
            assert_eq!(
                text.parse::<Timestamp>(),
                Err(TimestampError::Form),
                "{text}"
            );
        }
        assert_eq!(
            Timestamp::from_unix_ms(LAST_MS + 1),
            Err(TimestampError::TooLate)
        );
    }

    proptest! {
        #[test]
        fn every_moment_reads_back(ms in 0..=LAST_MS) {
            prop_assert_eq!(Timestamp(ms).to_string().parse(), Ok(Timestamp(ms)));
        }
    }
}

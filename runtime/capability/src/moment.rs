//! A second in time, and its one spelling: `2026-11-21T04:25:00Z` (RFC 3339, UTC, whole seconds).

use std::fmt;
use std::str::FromStr;

/// Whole seconds since 1970-01-01T00:00:00Z, up to the end of the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

/// A text that is not a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a moment as 2026-12-31T23:59:59Z: UTC, whole seconds, from 1970 to 9999")]
pub struct ParseMomentError;

const DAY: u64 = 86_400;
/// 9999-12-31T23:59:59Z.
const LAST: u64 = 253_402_300_799;

impl Moment {
    /// The moment that many seconds after the epoch; the end of 9999 for any later.
    pub const fn from_epoch_seconds(seconds: u64) -> Self {
        Self(if seconds > LAST { LAST } else { seconds })
    }

    /// Seconds since the epoch.
    pub const fn epoch_seconds(self) -> u64 {
        self.0
    }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of January of `year`.
const fn days_before(year: u64) -> u64 {
    let past = year - 1;
    // Leap days up to the end of 1969: 477.
    (year - 1970) * 365 + past / 4 - past / 100 + past / 400 - 477
}

impl FromStr for Moment {
    type Err = ParseMomentError;

    fn from_str(text: &str) -> Result<Self, ParseMomentError> {
        const SHAPE: &[u8; 20] = b"0000-00-00T00:00:00Z";
        let bytes: &[u8; 20] = text.as_bytes().try_into().map_err(|_| ParseMomentError)?;
        let shaped = |(byte, shape): (&u8, &u8)| {
            if *shape == b'0' {
                byte.is_ascii_digit()
            } else {
                byte == shape
            }
        };
        if !bytes.iter().zip(SHAPE).all(shaped) {
            return Err(ParseMomentError);
        }
        let number = |from: usize, to: usize| {
            bytes[from..to]
                .iter()
                .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
        };
        let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
        let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
        if year < 1970
            || !(1..=12).contains(&month)
            || day == 0
            || day > days_in(year, month)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return Err(ParseMomentError);
        }
        let days =
            days_before(year) + (1..month).map(|month| days_in(year, month)).sum::<u64>() + day - 1;
        Ok(Self(days * DAY + hour * 3600 + minute * 60 + second))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut days = self.0 / DAY;
        let mut year = 1970 + days / 366;
        while days_before(year + 1) <= days {
            year += 1;
        }
        days -= days_before(year);
        let mut month = 1;
        while days >= days_in(year, month) {
            days -= days_in(year, month);
            month += 1;
        }
        let seconds = self.0 % DAY;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
            days + 1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_have_their_known_numbers() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2001-09-09T01:46:40Z", 1_000_000_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", LAST),
        ] {
            assert_eq!(text.parse(), Ok(Moment(seconds)));
            assert_eq!(Moment(seconds).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T00:00:00",
            "2026-11-21T00:00:00+00:00",
            "2026-11-21 00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00z",
            "２026-01-01T00:00:0Z",
        ] {
            assert_eq!(text.parse::<Moment>(), Err(ParseMomentError), "{text}");
        }
    }

    #[test]
    fn every_day_reads_back() {
        for day in (0..LAST / DAY).step_by(17) {
            let moment = Moment(day * DAY + 1);
            assert_eq!(moment.to_string().parse(), Ok(moment));
        }
    }
}

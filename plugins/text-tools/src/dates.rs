//! Days of the proleptic Gregorian calendar, years 1 to 9999.

use alloc::format;
use alloc::string::String;
use core::fmt;

use serde::Deserialize;
use tally_agent::{Error, Result};

/// The arguments of `add_to_date`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddArguments {
    date: String,
    #[serde(default)]
    years: i64,
    #[serde(default)]
    months: i64,
    #[serde(default)]
    weeks: i64,
    #[serde(default)]
    days: i64,
}

/// The arguments of `days_between`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BetweenArguments {
    from: String,
    to: String,
}

/// Runs `add_to_date`: years and months first, a day past the month's end becoming its last, then weeks and days.
///
/// # Errors
///
/// [`Invalid`](Error::Invalid) when the date does not exist or the result is outside the calendar.
pub fn add(arguments: AddArguments) -> Result<String> {
    let date = Date::parse(&arguments.date)?;
    let moved = arguments
        .years
        .checked_mul(12)
        .and_then(|months| months.checked_add(arguments.months))
        .and_then(|months| date.plus_months(months));
    let days = arguments
        .weeks
        .checked_mul(7)
        .and_then(|days| days.checked_add(arguments.days));
    let moved = moved
        .zip(days)
        .and_then(|(date, days)| date.plus_days(days))
        .ok_or_else(|| Error::invalid("the result is outside the years 1 to 9999"))?;
    Ok(format!("{moved} ({})", moved.weekday()))
}

/// Runs `days_between`.
///
/// # Errors
///
/// [`Invalid`](Error::Invalid) when a date does not exist.
pub fn between(arguments: BetweenArguments) -> Result<String> {
    let (from, to) = (Date::parse(&arguments.from)?, Date::parse(&arguments.to)?);
    let days = to.day_number() - from.day_number();
    let (weeks, rest) = (days.abs() / 7, days.abs() % 7);
    let plural = if days.abs() == 1 { "" } else { "s" };
    Ok(format!(
        "{days} day{plural} ({weeks} weeks and {rest} days), from {} to {}",
        from.weekday(),
        to.weekday()
    ))
}

/// A day that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: i64,
    month: i64,
    day: i64,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weekday(usize);

const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

impl Date {
    /// The day of this year, month and day; none when there is no such day.
    pub fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        let exists = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day);
        exists.then_some(Self { year, month, day })
    }

    /// A date written `YYYY-MM-DD`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](Error::Invalid), telling a wrong form from a day that does not exist.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let bytes = text.as_bytes();
        let well_formed = bytes.len() == 10
            && bytes.iter().enumerate().all(|(place, byte)| match place {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !well_formed {
            return Err(Error::invalid("a date is written YYYY-MM-DD"));
        }
        let number = |digits: &str| digits.parse::<i64>().unwrap_or(0);
        Self::new(number(&text[..4]), number(&text[5..7]), number(&text[8..]))
            .ok_or_else(|| Error::invalid(format!("there is no day {text}")))
    }

    /// Days since 0000-03-01. Source: H. Hinnant, "chrono-compatible low-level date algorithms".
    pub fn day_number(self) -> i64 {
        let year = if self.month <= 2 {
            self.year - 1
        } else {
            self.year
        };
        let shifted_month = (self.month + 9) % 12;
        let day_of_year = (153 * shifted_month + 2) / 5 + self.day - 1;
        year * 365 + year / 4 - year / 100 + year / 400 + day_of_year
    }

    fn from_day_number(number: i64) -> Option<Self> {
        // The calendar begins at 0001-01-01, which is day 306.
        if !(306..=3_652_364).contains(&number) {
            return None;
        }
        let era = number / 146_097;
        let day_of_era = number % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = (shifted_month + 2) % 12 + 1;
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self::new(year, month, day)
    }

    fn plus_days(self, days: i64) -> Option<Self> {
        Self::from_day_number(self.day_number().checked_add(days)?)
    }

    fn plus_months(self, months: i64) -> Option<Self> {
        let month = (self.year * 12 + self.month - 1).checked_add(months)?;
        let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
        if !(1..=9999).contains(&year) {
            return None;
        }
        Self::new(year, month, self.day.min(days_in_month(year, month)))
    }

    /// The day of the week.
    pub fn weekday(self) -> Weekday {
        // 0000-03-01 was a Wednesday.
        Weekday((self.day_number() + 2).rem_euclid(7) as usize)
    }
}

impl Weekday {
    /// The weekday of this English name, in any case, whole or as three letters.
    pub fn named(name: &str) -> Option<Self> {
        WEEKDAYS
            .iter()
            .position(|day| day.eq_ignore_ascii_case(name) || day[..3].eq_ignore_ascii_case(name))
            .map(Self)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WEEKDAYS[self.0])
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn add_to(json: &str) -> Result<String> {
        add(serde_json::from_str(json).expect("arguments"))
    }

    fn count(from: &str, to: &str) -> Result<String> {
        between(BetweenArguments {
            from: from.into(),
            to: to.into(),
        })
    }

    #[test]
    fn dates_move_as_on_a_calendar() {
        for (json, expected) in [
            (
                r#"{"date":"2026-01-31","months":1}"#,
                "2026-02-28 (Saturday)",
            ),
            (r#"{"date":"2024-02-29","years":1}"#, "2025-02-28 (Friday)"),
            (
                r#"{"date":"2026-03-01","days":-1}"#,
                "2026-02-28 (Saturday)",
            ),
            (
                r#"{"date":"2026-12-31","weeks":1,"days":1}"#,
                "2027-01-08 (Friday)",
            ),
            (r#"{"date":"1970-01-01"}"#, "1970-01-01 (Thursday)"),
            (r#"{"date":"2000-02-28","days":1}"#, "2000-02-29 (Tuesday)"),
            (r#"{"date":"1900-02-28","days":1}"#, "1900-03-01 (Thursday)"),
        ] {
            assert_eq!(add_to(json).expect(json), expected, "{json}");
        }
    }

    #[test]
    fn days_are_counted_both_ways() {
        assert_eq!(
            count("2026-01-01", "2026-02-01").expect("dates"),
            "31 days (4 weeks and 3 days), from Thursday to Sunday"
        );
        assert!(
            count("2026-01-02", "2026-01-01")
                .expect("dates")
                .starts_with("-1 day (")
        );
    }

    #[test]
    fn days_that_do_not_exist_and_other_forms_are_told_apart() {
        for text in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "0000-01-01",
            "2026-04-31",
        ] {
            let error = Date::parse(text).expect_err(text).to_string();
            assert!(error.contains("there is no day"), "{text}: {error}");
        }
        for text in [
            "",
            "1.2.2026",
            "2026-1-1",
            "２０２６-01-01",
            "2026-01-01T00:00",
        ] {
            let error = Date::parse(text).expect_err(text).to_string();
            assert!(error.contains("YYYY-MM-DD"), "{text}: {error}");
        }
    }

    #[test]
    fn leaving_the_calendar_is_an_answer() {
        for json in [
            r#"{"date":"9999-12-31","days":1}"#,
            r#"{"date":"0001-01-01","days":-1}"#,
            r#"{"date":"2026-01-01","years":9223372036854775807}"#,
            r#"{"date":"2026-01-01","weeks":-9223372036854775808}"#,
            r#"{"date":"2026-01-01","days":9223372036854775807}"#,
            r#"{"date":"2026-01-01","months":-9223372036854775808}"#,
        ] {
            assert!(matches!(add_to(json), Err(Error::Invalid(_))), "{json}");
        }
    }

    #[test]
    fn every_day_of_the_calendar_comes_back_from_its_number() {
        let first = Date::new(1, 1, 1).expect("exists").day_number();
        let last = Date::new(9999, 12, 31).expect("exists").day_number();
        let mut before: Option<Date> = None;
        for number in first..=last {
            let date = Date::from_day_number(number).expect("inside the calendar");
            assert_eq!(date.day_number(), number);
            assert!(before.is_none_or(|before| before < date));
            before = Some(date);
        }
        assert_eq!(Date::from_day_number(first - 1), None);
        assert_eq!(Date::from_day_number(last + 1), None);
    }
}

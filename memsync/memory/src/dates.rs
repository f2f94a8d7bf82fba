//! Dates that people speak of, resolved against the day on which they spoke: the day in UTC, since records do not say what the clock
//! there showed (`docs/memory.md`).
//!
//! The only anchor is when something was said, never today: "yesterday" in a conversation of last year is a day of last year.
//! Without knowing when, only a date with its year is one. Weeks begin on Monday. English.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use time::{Date, Duration, Month, Weekday};

use crate::moment::Moment;
use crate::record::Precision;

/// A date that a text speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spoken {
    pub(crate) from: Moment,
    pub(crate) precision: Precision,
}

/// The first date in a text, as somebody meant it who said it on `said`.
pub(crate) fn find(text: &str, said: Option<Moment>) -> Option<Spoken> {
    let today = said.map(Moment::day);
    let mut best: Option<(usize, Spoken)> = None;
    for (pattern, read) in RULES.iter() {
        for found in pattern.captures_iter(text) {
            let at = found.get(0).map_or(0, |whole| whole.start());
            if best.is_some_and(|(first, _)| first <= at) {
                break;
            }
            if let Some((day, precision)) = read(&found, today) {
                let from = Moment::of_day(day);
                best = Some((at, Spoken { from, precision }));
                break;
            }
        }
    }
    best.map(|(_, spoken)| spoken)
}

type Read = fn(&Captures<'_>, Option<Date>) -> Option<(Date, Precision)>;

const MONTH: &str = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?";

static RULES: LazyLock<Vec<(Regex, Read)>> = LazyLock::new(|| {
    let rule = |pattern: &str, read: Read| {
        let pattern = format!("(?i){}", pattern.replace("MONTH", MONTH));
        (
            Regex::new(&pattern).expect("the patterns of this file are tested"),
            read,
        )
    };
    // The fullest first: of two that begin at the same place the first counts.
    vec![
        rule(
            r"\b(?P<year>[12][0-9]{3})-(?P<number>[0-9]{2})-(?P<day>[0-9]{2})\b",
            |found, _| {
                let month = Month::try_from(number::<u8>(found, "number")?).ok()?;
                day(number(found, "year")?, month, number(found, "day")?)
            },
        ),
        rule(
            r"\b(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?\s+(?:of\s+)?MONTH(?:,?\s+(?P<year>[12][0-9]{3}))?",
            day_of_month,
        ),
        rule(
            r"\bMONTH\s+(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?\b(?:,?\s+(?P<year>[12][0-9]{3}))?",
            day_of_month,
        ),
        rule(
            r"\b(?:(?:in|since|until|by|during)\s+)?MONTH\s+(?:of\s+)?(?P<year>[12][0-9]{3})\b",
            |found, _| month_of(number(found, "year")?, month(found)?),
        ),
        rule(r"\b(?P<which>last|next|this)\s+MONTH", |found, today| {
            let (today, month) = (today?, month(found)?);
            let passed = u8::from(month) < u8::from(today.month());
            let year = match (word(found, "which")?.as_str(), passed) {
                ("last", false) => today.year() - 1,
                ("next", true) => today.year() + 1,
                _ => today.year(),
            };
            month_of(year, month)
        }),
        rule(r"\b(?:in|since|until|by|during)\s+MONTH", |found, today| {
            month_of(today?.year(), month(found)?)
        }),
        rule(
            r"\b(?:in|since|during|from|until)\s+(?P<year>(?:19|20)[0-9]{2})\b",
            |found, _| year_of(number(found, "year")?),
        ),
        rule(
            r"\b(?P<count>[0-9]{1,3}|an?|one|two|three|four|five|six|seven|eight|nine|ten|a couple of|a few)\s+(?P<unit>day|week|month|year)s?\s+ago\b",
            |found, today| {
                let count = count(&word(found, "count")?)?;
                back(today?, count, &word(found, "unit")?)
            },
        ),
        rule(
            r"\bin\s+(?P<count>[0-9]{1,3}|an?|one|two|three|four|five|six|seven|eight|nine|ten|a couple of|a few)\s+(?P<unit>day|week|month|year)s?\b",
            |found, today| {
                let count = count(&word(found, "count")?)?;
                back(today?, -count, &word(found, "unit")?)
            },
        ),
        rule(r"\bday before yesterday\b", |_, today| {
            Some((today? - Duration::days(2), Precision::Day))
        }),
        rule(r"\byesterday\b|\blast night\b", |_, today| {
            Some((today?.previous_day()?, Precision::Day))
        }),
        rule(
            r"\btoday\b|\btonight\b|\bthis (?:morning|afternoon|evening)\b",
            |_, today| Some((today?, Precision::Day)),
        ),
        rule(r"\btomorrow\b", |_, today| {
            Some((today?.next_day()?, Precision::Day))
        }),
        rule(
            r"\b(?P<which>last|next|this|on)\s+(?P<weekday>monday|tuesday|wednesday|thursday|friday|saturday|sunday)\b",
            |found, today| {
                let today = today?;
                let weekday = weekday(&word(found, "weekday")?)?;
                match word(found, "which")?.as_str() {
                    // The nearest of that name before today, or after it.
                    "last" => Some((
                        today - days_between(weekday, today.weekday()),
                        Precision::Day,
                    )),
                    "next" => Some((
                        today + days_between(today.weekday(), weekday),
                        Precision::Day,
                    )),
                    _ => {
                        let monday = today
                            - Duration::days(today.weekday().number_days_from_monday().into());
                        Some((
                            monday + Duration::days(weekday.number_days_from_monday().into()),
                            Precision::Day,
                        ))
                    }
                }
            },
        ),
        rule(
            r"\b(?P<which>last|next|this|past)\s+(?P<unit>week|weekend|month|year)\b",
            |found, today| {
                let today = today?;
                let step: i32 = match word(found, "which")?.as_str() {
                    "last" | "past" => -1,
                    "next" => 1,
                    _ => 0,
                };
                let monday =
                    today - Duration::days(today.weekday().number_days_from_monday().into());
                match word(found, "unit")?.as_str() {
                    "week" => Some((monday + Duration::weeks(step.into()), Precision::Week)),
                    "weekend" => {
                        let saturday = monday + Duration::days(5) + Duration::weeks(step.into());
                        Some((saturday, Precision::Day))
                    }
                    "month" => {
                        let (year, month) = months_on(today, step)?;
                        month_of(year, month)
                    }
                    _ => year_of(today.year() + step),
                }
            },
        ),
    ]
});

/// From one weekday to the next of another name, or of the same: one to seven days.
fn days_between(from: Weekday, to: Weekday) -> Duration {
    let days = (7 + to.number_days_from_monday() - from.number_days_from_monday()) % 7;
    Duration::days(if days == 0 { 7 } else { days.into() })
}

fn word(found: &Captures<'_>, name: &str) -> Option<String> {
    Some(found.name(name)?.as_str().to_lowercase())
}

fn number<T: std::str::FromStr>(found: &Captures<'_>, name: &str) -> Option<T> {
    found.name(name)?.as_str().parse().ok()
}

fn month(found: &Captures<'_>) -> Option<Month> {
    let text = word(found, "month")?;
    const NAMES: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let at = NAMES.iter().position(|name| text.starts_with(name))?;
    Month::try_from(u8::try_from(at).ok()? + 1).ok()
}

fn weekday(text: &str) -> Option<Weekday> {
    [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ]
    .into_iter()
    .find(|day| day.to_string().to_lowercase() == text)
}

fn count(text: &str) -> Option<i64> {
    const WORDS: [&str; 11] = [
        "", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    ];
    match text {
        "a" | "an" => Some(1),
        "a couple of" => Some(2),
        "a few" => Some(3),
        word => match WORDS.iter().position(|one| *one == word) {
            Some(at) => i64::try_from(at).ok(),
            None => text.parse().ok(),
        },
    }
}

fn day(year: i32, month: Month, day: u8) -> Option<(Date, Precision)> {
    Some((
        Date::from_calendar_date(year, month, day).ok()?,
        Precision::Day,
    ))
}

/// A day without its year is that of the year in which it was said.
fn day_of_month(found: &Captures<'_>, today: Option<Date>) -> Option<(Date, Precision)> {
    let year = match found.name("year") {
        Some(_) => number(found, "year")?,
        None => today?.year(),
    };
    day(year, month(found)?, number(found, "day")?)
}

fn month_of(year: i32, month: Month) -> Option<(Date, Precision)> {
    Some((
        Date::from_calendar_date(year, month, 1).ok()?,
        Precision::Month,
    ))
}

fn year_of(year: i32) -> Option<(Date, Precision)> {
    Some((
        Date::from_calendar_date(year, Month::January, 1).ok()?,
        Precision::Year,
    ))
}

fn months_on(from: Date, months: i32) -> Option<(i32, Month)> {
    let all = from.year() * 12 + i32::from(u8::from(from.month())) - 1 + months;
    let month = u8::try_from(all.rem_euclid(12) + 1).ok()?;
    Some((all.div_euclid(12), Month::try_from(month).ok()?))
}

fn back(today: Date, count: i64, unit: &str) -> Option<(Date, Precision)> {
    match unit {
        "day" => Some((today.checked_sub(Duration::days(count))?, Precision::Day)),
        "week" => {
            let day = today.checked_sub(Duration::weeks(count))?;
            let monday = day - Duration::days(day.weekday().number_days_from_monday().into());
            Some((monday, Precision::Week))
        }
        "month" => {
            let (year, month) = months_on(today, -i32::try_from(count).ok()?)?;
            month_of(year, month)
        }
        _ => year_of(today.year().checked_sub(i32::try_from(count).ok()?)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(String, Precision)> {
        // A Wednesday.
        let said = Moment::from_unix_ms(1_795_000_000_000).expect("in the calendar");
        find(text, Some(said)).map(|spoken| {
            let mut day = spoken.from.to_string();
            day.truncate(10);
            (day, spoken.precision)
        })
    }

    #[test]
    fn dates_are_those_of_the_day_on_which_they_were_said() {
        use Precision as P;
        for (text, day, precision) in [
            ("I ran yesterday", "2026-11-17", P::Day),
            ("we met last Friday", "2026-11-13", P::Day),
            ("I fly next Friday", "2026-11-20", P::Day),
            ("I moved last month", "2026-10-01", P::Month),
            ("I start next week", "2026-11-23", P::Week),
            ("born on 4 May 1985", "1985-05-04", P::Day),
            ("on May 4th, 2019 it rained", "2019-05-04", P::Day),
            ("since March 2020", "2020-03-01", P::Month),
            ("I came here in 2015", "2015-01-01", P::Year),
            ("two years ago", "2024-01-01", P::Year),
            ("in three days", "2026-11-21", P::Day),
            ("we married 2024-06-30", "2024-06-30", P::Day),
            ("13 months ago", "2025-10-01", P::Month),
            // There is no such day; the month is what is left.
            ("on 31 February 2020", "2020-02-01", P::Month),
        ] {
            assert_eq!(found(text), Some((day.to_owned(), precision)), "{text}");
        }
        for text in ["I may go", "she ran a mile", "1985 people"] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn without_knowing_when_only_a_full_date_is_one() {
        assert_eq!(find("yesterday", None), None);
        assert!(find("in May 2020", None).is_some());
    }
}

//! Times that a text names, as ranges of days.
//!
//! Understood, in English: `7 July, 2023`, `July 7`, `July 2023`, `in July`, `2023`, `2023-07-07`, `summer of
//! 2022`, `yesterday`, `last week`, `two weeks ago`, `last Friday`, `next month`. What is relative is resolved against the
//! moment at which the text was said. A month or a day without a year is the latest one that had begun by then.

use std::ops::RangeInclusive;

use time::{Date, Month, Weekday};

use super::Word;
use crate::document::Moment;

/// Days since the Julian epoch, as the `time` crate counts them.
pub(crate) type Day = i32;

/// How exactly a time is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Precision {
    /// One day.
    Day,
    /// A few days: a week, a weekend.
    Week,
    /// A month.
    Month,
    /// A season.
    Season,
    /// A year.
    Year,
}

/// A time that a text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First and last day.
    pub(crate) days: RangeInclusive<Day>,
    /// How exactly.
    pub(crate) precision: Precision,
    /// Which words name it: positions in the text's words.
    pub(crate) words: RangeInclusive<usize>,
}

const SECONDS_OF_DAY: i64 = 86_400;
/// 1970-01-01.
pub(crate) const EPOCH: Day = 2_440_588;

/// The day of a moment.
pub(crate) fn day(moment: Moment) -> Day {
    let days = moment.0.div_euclid(SECONDS_OF_DAY);
    i32::try_from(days)
        .ok()
        .and_then(|days| days.checked_add(EPOCH))
        .unwrap_or(if days < 0 { Day::MIN } else { Day::MAX })
}

/// The times that words name, said at `said`.
pub(crate) fn spans(words: &[Word], said: Moment) -> Vec<Span> {
    let today = day(said);
    let Ok(date) = Date::from_julian_day(today) else {
        return Vec::new();
    };
    let reader = Reader { words, today, date };
    let mut spans = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if let Some((days, precision, taken)) = reader.span(at) {
            spans.push(Span {
                days,
                precision,
                words: at..=at + taken - 1,
            });
            at += taken;
        } else {
            at += 1;
        }
    }
    spans
}

/// A time, how exact it is, and how many words it takes.
type Found = (RangeInclusive<Day>, Precision, usize);

struct Reader<'w> {
    words: &'w [Word],
    today: Day,
    date: Date,
}

impl Reader<'_> {
    fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", |word| word.folded.as_str())
    }

    fn span(&self, at: usize) -> Option<Found> {
        self.iso(at)
            .or_else(|| self.day_of_month(at))
            .or_else(|| self.month(at))
            .or_else(|| self.season(at))
            .or_else(|| self.year(at))
            .or_else(|| self.ago(at))
            .or_else(|| self.relative(at))
    }

    /// `2023-07-07`: three words for UAX #29.
    fn iso(&self, at: usize) -> Option<Found> {
        let year = year(self.word(at))?;
        let month: u8 = number(self.word(at + 1))
            .filter(|_| self.word(at + 1).len() == 2)?
            .try_into()
            .ok()?;
        let day: u8 = number(self.word(at + 2))
            .filter(|_| self.word(at + 2).len() == 2)?
            .try_into()
            .ok()?;
        let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
        Some((one(date.to_julian_day()), Precision::Day, 3))
    }

    /// `7 July, 2023`, `7th of July`, `July 7`, `July 7th, 2023`.
    fn day_of_month(&self, at: usize) -> Option<Found> {
        let (month, day, mut taken) = if let Some(day) = ordinal(self.word(at)) {
            let of = usize::from(self.word(at + 1) == "of");
            (month(self.word(at + 1 + of), true)?, day, 2 + of)
        } else {
            (month(self.word(at), true)?, ordinal(self.word(at + 1))?, 2)
        };
        let year = year(self.word(at + taken));
        taken += usize::from(year.is_some());
        let date = |year| {
            Date::from_calendar_date(year, month, day)
                .ok()
                .map(Date::to_julian_day)
        };
        let day = match year {
            Some(year) => date(year)?,
            None => (0..=4)
                .filter_map(|back| date(self.date.year() - back))
                .find(|day| *day <= self.today)?,
        };
        Some((one(day), Precision::Day, taken))
    }

    /// `July 2023`, `in July`. "May" and "march" are months only when the words around say so.
    fn month(&self, at: usize) -> Option<Found> {
        let year = year(self.word(at + 1));
        let sure = year.is_some()
            || at > 0
                && matches!(
                    self.word(at - 1),
                    "in" | "since"
                        | "during"
                        | "last"
                        | "of"
                        | "until"
                        | "early"
                        | "late"
                        | "mid"
                        | "by"
                );
        let month = month(self.word(at), sure)?;
        let year = year.unwrap_or_else(|| {
            self.date.year() - i32::from(u8::from(month) > u8::from(self.date.month()))
        });
        let first = Date::from_calendar_date(year, month, 1)
            .ok()?
            .to_julian_day();
        let last = first + i32::from(month.length(year)) - 1;
        Some((
            first..=last,
            Precision::Month,
            if self.word(at + 1).parse() == Ok(year) {
                2
            } else {
                1
            },
        ))
    }

    /// `summer of 2022`, `winter`: of the northern half of the world.
    fn season(&self, at: usize) -> Option<Found> {
        let month = match self.word(at) {
            "spring" => Month::March,
            "summer" => Month::June,
            "fall" | "autumn" => Month::September,
            "winter" => Month::December,
            _ => return None,
        };
        let of = usize::from(self.word(at + 1) == "of");
        let named = year(self.word(at + 1 + of));
        // "Fall" is a verb and "spring" a place for bathing: a season without a year needs "last", "this" or "in".
        if named.is_none()
            && !(at > 0 && matches!(self.word(at - 1), "last" | "this" | "in" | "the" | "during"))
        {
            return None;
        }
        let start = |year| {
            Date::from_calendar_date(year, month, 1)
                .ok()
                .map(Date::to_julian_day)
        };
        let first = match named {
            Some(year) => start(year)?,
            None => (0..=1)
                .filter_map(|back| start(self.date.year() - back))
                .find(|day| *day <= self.today)?,
        };
        Some((
            first..=first + 90,
            Precision::Season,
            if named.is_some() { 2 + of } else { 1 },
        ))
    }

    fn year(&self, at: usize) -> Option<Found> {
        let year = year(self.word(at))?;
        let first = Date::from_calendar_date(year, Month::January, 1)
            .ok()?
            .to_julian_day();
        let last = Date::from_calendar_date(year, Month::December, 31)
            .ok()?
            .to_julian_day();
        Some((first..=last, Precision::Year, 1))
    }

    /// `two weeks ago`, `a few days ago`, `a couple of months ago`.
    fn ago(&self, at: usize) -> Option<Found> {
        let (count, taken) = match self.word(at) {
            "a" | "an" | "one" => match (self.word(at + 1), self.word(at + 2)) {
                ("few", _) => (3, 2),
                ("couple", "of") => (2, 3),
                ("couple", _) => (2, 2),
                _ => (1, 1),
            },
            word => (number(word).filter(|n| (1..=60).contains(n))?, 1),
        };
        let unit = unit(self.word(at + taken))?;
        if !matches!(self.word(at + taken + 1), "ago" | "back" | "earlier") {
            return None;
        }
        let back = self.today - i32::try_from(count).ok()? * unit.days();
        Some((unit.around(back), unit.precision(), taken + 2))
    }

    fn relative(&self, at: usize) -> Option<Found> {
        let today = self.today;
        let word = self.word(at);
        let next = self.word(at + 1);
        match word {
            "today" | "tonight" => return Some((one(today), Precision::Day, 1)),
            "yesterday" => return Some((one(today - 1), Precision::Day, 1)),
            "tomorrow" => return Some((one(today + 1), Precision::Day, 1)),
            _ => {}
        }
        let turn = match word {
            "last" | "past" => -1,
            "next" => 1,
            "this" => 0,
            _ => return None,
        };
        if next == "night" && turn <= 0 {
            return Some((one(today + turn), Precision::Day, 2));
        }
        if let Some(weekday) = weekday(next) {
            return Some((one(self.weekday(weekday, turn)), Precision::Day, 2));
        }
        if next == "weekend" {
            let saturday = self.weekday(Weekday::Saturday, turn);
            return Some((saturday..=saturday + 1, Precision::Week, 2));
        }
        let unit = unit(next).filter(|unit| *unit != Unit::Day)?;
        let days = match unit {
            Unit::Day | Unit::Week => today + 7 * turn - 6..=today + 7 * turn,
            Unit::Month | Unit::Year => unit.around(today + turn * unit.days()),
        };
        Some((days, unit.precision(), 2))
    }

    /// The last such day before today, the next one after it, or the one of this week.
    fn weekday(&self, weekday: Weekday, turn: i32) -> Day {
        let ahead = (i32::from(weekday.number_days_from_monday())
            - i32::from(self.date.weekday().number_days_from_monday()))
        .rem_euclid(7);
        match turn {
            -1 => self.today + ahead - 7,
            1 if ahead == 0 => self.today + 7,
            _ => self.today + ahead,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Day,
    Week,
    Month,
    Year,
}

impl Unit {
    fn days(self) -> i32 {
        match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => 30,
            Self::Year => 365,
        }
    }

    fn precision(self) -> Precision {
        match self {
            Self::Day => Precision::Day,
            Self::Week => Precision::Week,
            Self::Month => Precision::Month,
            Self::Year => Precision::Year,
        }
    }

    /// The unit that a day lies in the middle of.
    fn around(self, day: Day) -> RangeInclusive<Day> {
        let half = self.days() / 2;
        day - half..=day + half
    }
}

fn one(day: Day) -> RangeInclusive<Day> {
    day..=day
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "day" | "days" => Unit::Day,
        "week" | "weeks" => Unit::Week,
        "month" | "months" => Unit::Month,
        "year" | "years" => Unit::Year,
        _ => return None,
    })
}

/// A small number, in digits or as a word.
pub(crate) fn number(word: &str) -> Option<u32> {
    const WORDS: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        "eleven", "twelve",
    ];
    if let Some(at) = WORDS.iter().position(|w| *w == word) {
        return u32::try_from(at).ok();
    }
    if word.len() > 4 || !word.bytes().all(|b| b.is_ascii_digit()) {
        None
    } else {
        word.parse().ok()
    }
}

/// 1900 to 2100, in four digits.
fn year(word: &str) -> Option<i32> {
    if word.len() != 4 {
        return None;
    }
    number(word)
        .and_then(|n| i32::try_from(n).ok())
        .filter(|year| (1900..=2100).contains(year))
}

/// `7`, `7th`, `1st`: a day of a month.
fn ordinal(word: &str) -> Option<u8> {
    let digits = ["st", "nd", "rd", "th"]
        .iter()
        .find_map(|ending| word.strip_suffix(ending))
        .unwrap_or(word);
    if digits.is_empty() || digits.len() > 2 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|day| (1..=31).contains(day))
}

/// A month by its name; `sure` says that the words around make "may" and "march" months.
fn month(word: &str, sure: bool) -> Option<Month> {
    Some(match word {
        "january" | "jan" => Month::January,
        "february" | "feb" => Month::February,
        "march" if sure => Month::March,
        "april" | "apr" => Month::April,
        "may" if sure => Month::May,
        "june" | "jun" => Month::June,
        "july" | "jul" => Month::July,
        "august" | "aug" => Month::August,
        "september" | "sept" | "sep" => Month::September,
        "october" | "oct" => Month::October,
        "november" | "nov" => Month::November,
        "december" | "dec" => Month::December,
        _ => return None,
    })
}

fn weekday(word: &str) -> Option<Weekday> {
    Some(match word {
        "monday" | "mon" => Weekday::Monday,
        "tuesday" | "tue" | "tues" => Weekday::Tuesday,
        "wednesday" | "wed" => Weekday::Wednesday,
        "thursday" | "thu" | "thurs" => Weekday::Thursday,
        "friday" | "fri" => Weekday::Friday,
        "saturday" | "sat" => Weekday::Saturday,
        "sunday" | "sun" => Weekday::Sunday,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Said on Wednesday, 15 May 2024.
    fn named(text: &str) -> Vec<(String, String, Precision)> {
        let date = |day: Day| {
            Date::from_julian_day(day)
                .expect("a day of the calendar")
                .to_string()
        };
        spans(&super::super::words(text), Moment(1_715_774_400))
            .into_iter()
            .map(|span| {
                (
                    date(*span.days.start()),
                    date(*span.days.end()),
                    span.precision,
                )
            })
            .collect()
    }

    fn assert_day(text: &str, day: &str) {
        assert_eq!(
            named(text),
            [(day.to_owned(), day.to_owned(), Precision::Day)],
            "{text}"
        );
    }

    #[test]
    fn days_are_read_in_the_ways_people_write_them() {
        for text in [
            "on 7 July, 2023",
            "July 7th, 2023",
            "7th of July 2023",
            "2023-07-07",
            "on Jul 7 2023",
        ] {
            assert_day(text, "2023-07-07");
        }
        assert_day("on 3 May", "2024-05-03");
        assert_day("on December 24", "2023-12-24");
    }

    #[test]
    fn what_is_relative_is_resolved_against_when_it_was_said() {
        assert_day("yesterday evening", "2024-05-14");
        assert_day("last Friday", "2024-05-10");
        assert_day("next Wednesday", "2024-05-22");
        assert_day("three days ago", "2024-05-12");
        assert_eq!(
            named("two weeks ago")[0],
            ("2024-04-28".into(), "2024-05-04".into(), Precision::Week)
        );
        assert_eq!(named("last week")[0].2, Precision::Week);
    }

    #[test]
    fn months_seasons_and_years_are_ranges() {
        assert_eq!(
            named("in February 2024"),
            [("2024-02-01".into(), "2024-02-29".into(), Precision::Month)]
        );
        assert_eq!(named("in June")[0].0, "2023-06-01");
        assert_eq!(named("the summer of 2022")[0].2, Precision::Season);
        assert_eq!(
            named("in 2021"),
            [("2021-01-01".into(), "2021-12-31".into(), Precision::Year)]
        );
    }

    #[test]
    fn verbs_and_numbers_are_no_times() {
        for text in [
            "it may rain",
            "they march on",
            "we fall and rise",
            "42 people",
            "31 boats",
            "30 February 2023",
        ] {
            let days: Vec<_> = named(text)
                .into_iter()
                .filter(|(_, _, precision)| *precision == Precision::Day)
                .collect();
            assert!(days.is_empty(), "{text}: {days:?}");
        }
        assert_eq!(named("it may rain"), []);
    }

    #[test]
    fn moments_at_the_ends_of_time_are_no_error() {
        for moment in [i64::MIN, i64::MAX] {
            assert_eq!(
                spans(&super::super::words("yesterday in May"), Moment(moment)),
                []
            );
        }
    }
}

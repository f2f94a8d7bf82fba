//! Counts of a text, and the dates in it.
//!
//! A word is a run of letters and digits, with `'`, `’` or `-` inside it. A sentence ends at `.`, `!`, `?` or `…`
//! before a space or the end, or at an empty line. A date is `2026-03-14`, `14 March 2026` or `March 14, 2026`, with
//! the weekday's name just before it if it has one.
//!
//! The counts are of the whole text; the lists are bounded, and say so by their length.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use tally_agent::{Error, Result};

use crate::dates::{Date, Weekday};

/// At most this many dates are listed.
const MAX_DATES: usize = 100;
/// Words a person reads in a minute.
const READING_SPEED: usize = 230;

/// The arguments of `text_statistics`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arguments {
    text: String,
}

/// What is counted. Written as JSON, in this order.
#[derive(Debug, Serialize)]
pub struct Statistics {
    characters: usize,
    words: usize,
    sentences: usize,
    paragraphs: usize,
    /// Words of the longest sentence.
    longest_sentence_words: usize,
    /// How the longest sentence begins.
    longest_sentence_begins: String,
    reading_minutes: usize,
    dates: Vec<Found>,
}

/// A date in the text.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Found {
    /// As it is written.
    text: String,
    /// `YYYY-MM-DD`, when there is such a day.
    iso: Option<String>,
    /// The weekday it falls on.
    weekday: Option<String>,
    /// What is wrong with it.
    problem: Option<String>,
}

/// Runs the tool.
///
/// # Errors
///
/// None that the arguments can cause.
pub fn run(arguments: Arguments) -> Result<String> {
    serde_json::to_string(&count(&arguments.text)).map_err(Error::from)
}

fn count(text: &str) -> Statistics {
    let (mut sentences, mut longest, mut longest_text) = (0, 0, "");
    for sentence in split_sentences(text) {
        let words = words(sentence).count();
        if words > 0 {
            sentences += 1;
        }
        if words > longest {
            (longest, longest_text) = (words, sentence);
        }
    }
    let words_in_all = words(text).count();
    Statistics {
        characters: text.chars().count(),
        words: words_in_all,
        sentences,
        paragraphs: paragraphs(text),
        longest_sentence_words: longest,
        longest_sentence_begins: longest_text.trim().chars().take(60).collect(),
        reading_minutes: words_in_all.div_ceil(READING_SPEED),
        dates: dates(text),
    }
}

/// Each word with the place where it begins.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text;
    let mut place = 0;
    core::iter::from_fn(move || {
        let start = rest.find(char::is_alphanumeric)?;
        let tail = &rest[start..];
        let mut end = tail.len();
        let mut characters = tail.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let joins = matches!(character, '\'' | '’' | '-')
                && characters
                    .peek()
                    .is_some_and(|(_, next)| next.is_alphanumeric());
            if !character.is_alphanumeric() && !joins {
                end = at;
                break;
            }
        }
        let word = (place + start, &tail[..end]);
        rest = &tail[end..];
        place += start + end;
        Some(word)
    })
}

fn split_sentences(text: &str) -> Vec<&str> {
    let (mut found, mut start) = (Vec::new(), 0);
    let mut characters = text.char_indices().peekable();
    let mut line_is_empty = true;
    while let Some((at, character)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        let ends = match character {
            '.' | '!' | '?' | '…' => next.is_none_or(char::is_whitespace),
            '\n' => line_is_empty,
            _ => false,
        };
        line_is_empty = character == '\n' || line_is_empty && character.is_whitespace();
        if ends {
            let end = at + character.len_utf8();
            found.push(&text[start..end]);
            start = end;
        }
    }
    found.push(&text[start..]);
    found
}

fn paragraphs(text: &str) -> usize {
    let (mut paragraphs, mut inside) = (0, false);
    for line in text.lines() {
        let empty = line.trim().is_empty();
        if !empty && !inside {
            paragraphs += 1;
        }
        inside = !empty;
    }
    paragraphs
}

fn dates(text: &str) -> Vec<Found> {
    let words: Vec<(usize, &str)> = words(text).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() && found.len() < MAX_DATES {
        let Some((length, year, month, day)) = date_at(&words[at..]) else {
            at += 1;
            continue;
        };
        let (first, last) = (words[at].0, words[at + length - 1]);
        let said = at
            .checked_sub(1)
            .map(|before| words[before])
            .filter(|(place, word)| first - (place + word.len()) <= 2)
            .and_then(|(_, word)| Weekday::named(word));
        let date = Date::new(year, month, day);
        let weekday = date.map(Date::weekday);
        let problem = match (weekday, said) {
            (None, _) => Some("there is no such day".to_string()),
            (Some(is), Some(said)) if is != said => {
                Some(alloc::format!("the text says {said}, but it is a {is}"))
            }
            _ => None,
        };
        found.push(Found {
            text: text[first..last.0 + last.1.len()].to_string(),
            iso: date.map(|date| date.to_string()),
            weekday: weekday.map(|day| day.to_string()),
            problem,
        });
        at += length;
    }
    found
}

/// A date at the beginning of these words: how many it takes, and its year, month and day as written.
fn date_at(words: &[(usize, &str)]) -> Option<(usize, i64, i64, i64)> {
    let word = |index: usize| words.get(index).map(|(_, word)| *word);
    let first = word(0)?;
    if let [year, month, day] = first.split('-').collect::<Vec<_>>()[..]
        && (year.len(), month.len(), day.len()) == (4, 2, 2)
    {
        return Some((1, digits(year)?, digits(month)?, digits(day)?));
    }
    let year = word(2).filter(|year| year.len() == 4).and_then(digits)?;
    if let Some(month) = month(first) {
        return Some((3, year, month, day_of_month(word(1)?)?));
    }
    Some((3, year, month(word(1)?)?, day_of_month(first)?))
}

fn digits(text: &str) -> Option<i64> {
    let all = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

/// `14`, `14th`, `1st`.
fn day_of_month(text: &str) -> Option<i64> {
    let bare = ["st", "nd", "rd", "th"]
        .iter()
        .find_map(|suffix| text.strip_suffix(suffix))
        .unwrap_or(text);
    digits(bare).filter(|day| *day <= 99)
}

fn month(name: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let known = |month: &&str| {
        month.eq_ignore_ascii_case(name) || name.len() == 3 && month[..3].eq_ignore_ascii_case(name)
    };
    MONTHS.iter().position(known).map(|at| at as i64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted_as_a_person_would() {
        let statistics = count("It's 5 o'clock. Well-known facts, v1.2 too!\n\nA new paragraph");
        assert_eq!(statistics.words, 11);
        assert_eq!(statistics.sentences, 3);
        assert_eq!(statistics.paragraphs, 2);
        assert_eq!(statistics.longest_sentence_words, 5);
        assert_eq!(
            statistics.longest_sentence_begins,
            "Well-known facts, v1.2 too!"
        );
    }

    #[test]
    fn an_empty_text_has_nothing_in_it() {
        for text in ["", " \n\t", "...", "—"] {
            let statistics = count(text);
            assert_eq!((statistics.words, statistics.sentences), (0, 0), "{text:?}");
            assert_eq!(statistics.dates, [], "{text:?}");
        }
    }

    #[test]
    fn dates_are_found_in_three_forms_and_their_faults_named() {
        let found = dates(
            "Due 2026-03-14; moved to Friday, 14 March 2026 and then to Saturday, March 14th, 2026. \
             Never 30 Feb 2026 or 2026-13-01. Not a date: 1234-56 or March.",
        );
        let seen: Vec<_> = found
            .iter()
            .map(|date| (date.text.as_str(), date.problem.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                ("2026-03-14", None),
                (
                    "14 March 2026",
                    Some("the text says Friday, but it is a Saturday")
                ),
                ("March 14th, 2026", None),
                ("30 Feb 2026", Some("there is no such day")),
                ("2026-13-01", Some("there is no such day")),
            ]
        );
    }

    #[test]
    fn the_list_of_dates_is_bounded() {
        assert_eq!(dates(&"2026-01-01 ".repeat(1000)).len(), MAX_DATES);
    }

    #[test]
    fn a_text_without_boundaries_takes_time_in_proportion_to_its_length() {
        let text = "a'".repeat(100_000);
        assert_eq!(count(&text).words, 1);
    }
}

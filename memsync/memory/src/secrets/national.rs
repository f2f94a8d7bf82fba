//! Numbers that a state gave a person.
//!
//! Without a name before them only those are found that have a form of their own, and check digits where the state gave any, so
//! that an ordinary number is not taken, and only where they are no part of a longer number: United States social security numbers
//! (of the ranges that were issued), French (97 less the remainder by 97), Belgian (the same), Spanish (a letter by the remainder
//! by 23), Italian (a letter by the remainder by 26) and Brazilian (two digits by the remainder by 11). Behind the name of what it
//! is, such as "passport number", any number of five digits and more is, unless it is written as a date, as years or as an amount.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{is_ordinary, regex};

/// A form, and whether what has it is such a number.
type Form = (LazyLock<Regex>, fn(&str) -> bool);

static FORMS: [Form; 6] = [
    (
        LazyLock::new(|| regex(r"\b[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}\b")),
        is_united_states,
    ),
    (
        LazyLock::new(|| {
            regex(
                r"\b[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-9][0-9]) ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}\b",
            )
        }),
        is_french,
    ),
    (
        LazyLock::new(|| regex(r"\b[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}\b")),
        is_belgian,
    ),
    (
        LazyLock::new(|| regex(r"\b(?:[0-9]{8}|[XYZ][0-9]{7})-?[A-Z]\b")),
        is_spanish,
    ),
    (
        LazyLock::new(|| {
            regex(r"\b[A-Z]{6}[0-9L-NP-V]{2}[A-EHLMPR-T][0-9L-NP-V]{2}[A-Z][0-9L-NP-V]{3}[A-Z]\b")
        }),
        is_italian,
    ),
    (
        LazyLock::new(|| regex(r"\b[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}\b")),
        is_brazilian,
    ),
];

static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix)\b(?:passport|social\ security|ssn|tax(?:payer)?\ id|national\ (?:id|identity|insurance)|id(?:entity)?\ card|driv(?:er|ing)(?:'?s|’s)?\ licen[cs]e
            |reisepass|personalausweis|ausweis|steuer-?id|sozialversicherungs|passeport|s[ée]curit[ée]\ sociale|pasaporte|seguridad\ social
            |passaporto|passaporte|seguran[çc]a\ social|paspoort|rijksregister|burgerservice|bsn)
          [\ -]?(?:number|no\.?|nr\.?|n[°º]\.?|nummer|num[ée]ro|n[úu]mero|\#)?
          \s*(?:(?:\bis\b|\bist\b|\best\b|\bes\b|è|é|=|:)\s*:?\s*)?
          (?P<value>(?-i:[A-Z]{0,3}[\ -]?[0-9](?:[\ .-]?[0-9]|[A-Z]){4,20}))\b",
    )
});

/// Where such numbers stand.
pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (form, holds) in &FORMS {
        let of_form = form
            .find_iter(text)
            .filter(|one| holds(one.as_str()) && !is_glued(text, &one.range()));
        found.extend(of_form.map(|one| one.range()));
    }
    for named in NAMED.captures_iter(text) {
        if let Some(value) = named.name("value")
            && !is_ordinary(value.as_str())
        {
            found.push(value.range());
        }
    }
    found
}

/// Whether it is part of a longer number, such as that of an order.
fn is_glued(text: &str, at: &Range<usize>) -> bool {
    text[..at.start].ends_with(['-', '.', '/']) || text[at.end..].starts_with(['-', '/'])
}

/// Its digits, one after the other.
fn digits(text: &str) -> Vec<u32> {
    text.chars()
        .filter_map(|character| character.to_digit(10))
        .collect()
}

/// The number that digits write.
fn number(digits: &[u32]) -> u64 {
    digits
        .iter()
        .fold(0, |number, digit| number * 10 + u64::from(*digit))
}

/// Area, group and serial number are none of those that are never issued.
fn is_united_states(text: &str) -> bool {
    let digits = digits(text);
    let (area, rest) = digits.split_at(3);
    let (group, serial) = rest.split_at(2);
    !matches!(number(area), 0 | 666) && number(group) != 0 && number(serial) != 0
}

/// The numéro de sécurité sociale. The departments of Corsica count as 19 and 18.
fn is_french(text: &str) -> bool {
    let digits = digits(&text.replace("2A", "19").replace("2B", "18"));
    let (body, key) = digits.split_at(13);
    97 - number(body) % 97 == number(key)
}

/// The rijksregisternummer. That of whoever was born since 2000 is checked with a 2 before it.
fn is_belgian(text: &str) -> bool {
    let digits = digits(text);
    let (body, key) = digits.split_at(9);
    let (body, key) = (number(body), number(key));
    [body, 2_000_000_000 + body]
        .iter()
        .any(|body| 97 - body % 97 == key)
}

static BASIC_DATE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"));

/// The DNI, and the NIE, whose first letter counts as a digit. Eight digits that are a date in ISO 8601 are none: `20260116Z`.
fn is_spanish(text: &str) -> bool {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let Some((check, body)) = text.as_bytes().split_last() else {
        return false;
    };
    if BASIC_DATE.is_match(text) {
        return false;
    }
    let rest = body.iter().fold(0_usize, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + usize::from(byte - b'0')) % 23,
        b'X' => rest * 10 % 23,
        b'Y' => (rest * 10 + 1) % 23,
        b'Z' => (rest * 10 + 2) % 23,
        _ => rest,
    });
    LETTERS[rest] == *check
}

/// The codice fiscale: characters in odd places count otherwise than those in even ones.
fn is_italian(text: &str) -> bool {
    /// What a digit, or the letter of the same number, counts in an odd place.
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let values: Vec<u32> = text
        .chars()
        .filter_map(|character| match character {
            'A'..='Z' => Some(u32::from(character) - u32::from('A')),
            _ => character.to_digit(10),
        })
        .collect();
    let Some((check, body)) = values.split_last() else {
        return false;
    };
    let sum: u32 = body
        .iter()
        .enumerate()
        .map(|(place, value)| match place % 2 {
            0 => ODD[*value as usize],
            _ => *value,
        })
        .sum();
    sum % 26 == *check
}

/// The CPF. One digit eleven times is none.
fn is_brazilian(text: &str) -> bool {
    let digits = digits(text);
    let checks = |len: usize| {
        let sum: u32 = (2..)
            .zip(digits[..len].iter().rev())
            .map(|(weight, digit): (u32, &u32)| weight * digit)
            .sum();
        sum * 10 % 11 % 10 == digits[len]
    };
    digits.iter().any(|digit| *digit != digits[0]) && checks(9) && checks(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        find(text).into_iter().map(|one| &text[one]).collect()
    }

    #[test]
    fn a_number_of_a_state_is_found_by_its_form_and_its_check_digits() {
        for number in [
            "078-05-1120",
            "1 85 05 78 006 084 91",
            "185057800608491",
            "2 85 05 2A 006 084 82",
            "85.07.30-033.28",
            "12345678Z",
            "12345678-Z",
            "X1234567L",
            "RSSMRA85T10A562S",
            "111.444.777-35",
        ] {
            assert_eq!(found(&format!("It is {number}, keep it.")), [number]);
        }
    }

    #[test]
    fn a_number_of_another_form_or_with_other_check_digits_is_not() {
        for text in [
            "000-05-1120",
            "666-05-1120",
            "078-00-1120",
            "078-05-0000",
            "1 85 05 78 006 084 92",
            "85.07.30-033.29",
            "12345678A",
            "X1234567M",
            "RSSMRA85T10A562T",
            "111.444.777-36",
            "111.111.111-11",
            "I was born on 1985-07-30, and 123456789012345 is a number",
            "orders 0049-123-45-6789, 2026-123-45-6789 and A-302-14-2026-X",
            "it was backed up at 20260116Z",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn behind_its_name_any_number_is_found() {
        for (text, number) in [
            ("my passport number is X1234567.", "X1234567"),
            ("Passport no. AB 1234567", "AB 1234567"),
            ("SSN: 078 05 1120", "078 05 1120"),
            ("my driver's license number is D1234567 now", "D1234567"),
            ("Meine Steuer-ID ist 12 345 678 901", "12 345 678 901"),
            ("mon passeport n° 12AB34567", "12AB34567"),
            ("mijn BSN is 123456782", "123456782"),
        ] {
            assert_eq!(found(text), [number], "{text}");
        }
        for text in [
            "my passport is from 2019",
            "my passport took me to 20 countries",
            "my passport is in drawer 1234567",
            "I lost my passport: 2026-11-21 was the day",
            "the passport costs 65 euros",
            "social security pays 1200 a month",
            "my passport: 2016-2026",
            "my driving licence 12.05.24",
            "my passport 12 03 2026",
            "my passport 2026 11 21",
            "my passport: 2019-11",
            "the ID card is 10 000 forint",
            "social security: 1 200 000 a month",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}

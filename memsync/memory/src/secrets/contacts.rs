//! How to reach somebody: e-mail addresses, telephone numbers, street addresses.
//!
//! They are taken out only where the owner wants that, so a form that is sure is not needed, and one that ordinary words seldom have
//! is. Telephone numbers: with a plus and a country (ITU-T E.164: 8 to 15 digits), North American ones with their two stops, and any
//! of 7 to 15 digits behind a word like "phone". Street addresses: as they are written in English, German, Dutch, French, Spanish,
//! Italian and Portuguese, with a number and a word for a street. What is not found: addresses without either.
//! What is found and is none: a number before a name that ends in a word for a street ("2 Google Drive accounts", "21 Jump Street"), a
//! German or Dutch word that ends like one ("Mehrweg 24"), a number of another kind in the North American form ("404.250.2024").

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{Secret, SecretKind, is_ordinary, regex};

static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"(?i)\b[a-z0-9][a-z0-9._%+-]*@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}\b")
});
static INTERNATIONAL: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\+[1-9](?:[ ./()-]{0,2}[0-9]){7,14}"));
static NORTH_AMERICAN: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"(?:\([2-9][0-9]{2}\) ?|\b[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[.-][0-9]{4}\b")
});
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix)\b(?:phone|telephone|telefon(?:nummer)?|handy(?:nummer)?|mobile|cell(?:\ ?phone)?|tel|fax|whatsapp|gsm|t[ée]l[ée]phone|tel[ée]fono|telefone
            |cellulare|m[óo]vil|(?:call|text|reach|ring)\ me\ (?:at|on))
          \.?\ ?(?:number|nummer|no\.?|nr\.?)?\s*(?:(?:\bis\b|\bist\b|\best\b|\bes\b|è|é|=|:)\s*:?\s*)?
          (?P<value>[0-9(](?:[\ ./()-]{0,2}[0-9]){6,14})\b",
    )
});
/// A place by its coordinates, millions, from one time to another, and things of several sizes.
static NO_PHONE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?x)^(?:
            \+[0-9]{1,3}\.[0-9]{4,}\ [0-9]{1,3}\.[0-9]{4,}
          | \+[1-9][0-9]{0,2}(?:[\ .][0-9]{3})*(?:[\ .]000){2}
          | [0-9]{1,2}\.[0-9]{2}-[0-9]{1,2}\.[0-9]{2}
          | [1-9][0-9]{1,3}(?:/[0-9]{2,4}){2,}
        )$",
    )
});
static STREETS: [LazyLock<Regex>; 4] = [
    LazyLock::new(|| {
        regex(
            r"\b[0-9]{1,5}[A-Za-z]? (?:(?:\p{Lu}[\p{L}'’.-]*|[0-9]{1,3}(?:st|nd|rd|th)) ){1,4}(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Square|Terrace|Crescent|Parkway|Pkwy)\b",
        )
    }),
    LazyLock::new(|| {
        regex(
            r"\b\p{Lu}[\p{L}-]+(?:straße|strasse|str\.|gasse|weg|allee|straat|laan|steenweg|dreef|plein) [0-9]{1,4}[a-zA-Z]?\b",
        )
    }),
    LazyLock::new(|| {
        regex(
            r"\b[0-9]{1,4}(?: ?bis| ?ter)?,? (?:rue|avenue|boulevard|chemin|impasse|allée|quai) (?:(?:de la|de l['’]|de|du|des|d['’]) ?)?\p{Lu}[\p{L}'’-]*(?: \p{Lu}[\p{L}'’-]*){0,3}",
        )
    }),
    LazyLock::new(|| {
        regex(
            r"\b(?:Calle|Avenida|Plaza|Paseo|Via|Viale|Piazza|Corso|Rua|Travessa|Praça|Largo) (?:(?:de la|de los|del|della|dei|de|di|do|da|dos) )?\p{Lu}[\p{L}'’-]*(?: (?:(?:de|del|di|da) )?\p{Lu}[\p{L}'’-]*){0,3},? (?:n[°º.] ?)?[0-9]{1,4}\b",
        )
    }),
];

/// Every one in a text.
pub(super) fn find(text: &str) -> Vec<Secret> {
    let mut found: Vec<Secret> = Vec::new();
    let mut push = |kind, bytes| found.push(Secret { kind, bytes });
    for mail in EMAIL.find_iter(text) {
        if !is_path(text, &mail.range()) {
            push(SecretKind::Email, mail.range());
        }
    }
    for number in INTERNATIONAL.find_iter(text) {
        if stands_alone(text, &number.range())
            && !is_decimal(number.as_str())
            && !NO_PHONE.is_match(number.as_str())
        {
            push(SecretKind::Phone, number.range());
        }
    }
    for number in NORTH_AMERICAN.find_iter(text) {
        if !goes_on(text, '-', &number.range()) {
            push(SecretKind::Phone, number.range());
        }
    }
    for named in NAMED.captures_iter(text) {
        if let Some(value) = named.name("value")
            && !is_ordinary(value.as_str())
            && !NO_PHONE.is_match(value.as_str())
        {
            push(SecretKind::Phone, value.range());
        }
    }
    for street in &STREETS {
        for address in street.find_iter(text) {
            // "Via Zoom 10:30": the number is a time.
            let at = address.range();
            if !is_of_a_year(text, &at) && !goes_on(text, ':', &at) {
                push(SecretKind::Address, at);
            }
        }
    }
    found
}

/// `git@host.org:path` is where a program fetches something.
fn is_path(text: &str, at: &Range<usize>) -> bool {
    text[at.end..]
        .strip_prefix(':')
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_alphanumeric()))
}

/// Neither part of a sum before it nor of a longer number.
fn stands_alone(text: &str, at: &Range<usize>) -> bool {
    let before = text[..at.start].chars().next_back();
    let after = text[at.end..].chars().next();
    before.is_none_or(|one| !one.is_alphanumeric() && one != '+')
        && after.is_none_or(|one| !one.is_alphanumeric())
}

/// A number with one point and nothing else in it is no telephone number: `+51.0543422`.
fn is_decimal(number: &str) -> bool {
    let mut stops = number[1..].chars().filter(|one| !one.is_ascii_digit());
    stops.next() == Some('.') && stops.next().is_none()
}

/// Whether a mark and a digit follow.
fn goes_on(text: &str, mark: char, at: &Range<usize>) -> bool {
    text[at.end..]
        .strip_prefix(mark)
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// "In 2019 Wall Street fell": the number is a year.
fn is_of_a_year(text: &str, at: &Range<usize>) -> bool {
    const BEFORE_YEARS: [&str; 8] = ["in", "since", "until", "by", "from", "during", "of", "the"];
    let digits = text[at.clone()]
        .chars()
        .take_while(char::is_ascii_digit)
        .count();
    let before = text[..at.start].split_whitespace().next_back();
    digits == 4 && before.is_some_and(|word| BEFORE_YEARS.contains(&word.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(SecretKind, &str)> {
        crate::secrets::apart(find(text))
            .into_iter()
            .map(|one| (one.kind, &text[one.bytes]))
            .collect()
    }

    #[test]
    fn how_to_reach_somebody_is_found() {
        use SecretKind as K;
        for (text, kind, words) in [
            (
                "write to Anna.Peeters+home@mail.example.org.",
                K::Email,
                "Anna.Peeters+home@mail.example.org",
            ),
            ("mine is +32 470 12 34 56.", K::Phone, "+32 470 12 34 56"),
            ("+1 (212) 555-0123 is his", K::Phone, "+1 (212) 555-0123"),
            ("dial 212-555-0123 please", K::Phone, "212-555-0123"),
            ("dial (212) 555-0123 please", K::Phone, "(212) 555-0123"),
            (
                "my phone number is 0470 12 34 56",
                K::Phone,
                "0470 12 34 56",
            ),
            ("Tel.: 09/123.45.67", K::Phone, "09/123.45.67"),
            ("call me at 555 01 23", K::Phone, "555 01 23"),
            (
                "I live at 10 Downing Street in London",
                K::Address,
                "10 Downing Street",
            ),
            ("at 350 5th Avenue, New York", K::Address, "350 5th Avenue"),
            (
                "Ich wohne in der Hauptstraße 12a in Bonn",
                K::Address,
                "Hauptstraße 12a",
            ),
            ("ik woon in de Kerkstraat 5", K::Address, "Kerkstraat 5"),
            (
                "j'habite 12 rue de la Paix à Paris",
                K::Address,
                "12 rue de la Paix",
            ),
            ("vivo en Calle Mayor 3", K::Address, "Calle Mayor 3"),
            ("abito in Via Roma, 5", K::Address, "Via Roma, 5"),
        ] {
            assert_eq!(found(text), [(kind, words)], "{text}");
        }
    }

    #[test]
    fn ordinary_numbers_and_names_are_not() {
        for text in [
            "@anna wrote to anna@home",
            "clone git@example.org:anna/notes",
            "it is at +51.0543422 north",
            "2026-11-21T12:00:00+01:00",
            "12+12345678 is a sum, +1 for that",
            "parts 212-555-01234 and 078-05-1120",
            "my phone has 256 GB and is 3 years old",
            "the phone: 2026-11-21 it broke",
            "I ran 10 km in 1985, and 12345678 people came",
            "In 2019 Wall Street fell",
            "after the 2008 Wall Street crash, on the 1980 Mount St",
            "Via Zoom 10:30",
            "call me at 10.30-11.30",
            "a phone: 64/128/256 GB",
            "mobile: 900/1800/2100 bands",
            "the phone: 2026 11 21 it broke",
            "mobile: 1 200 000 users",
            "my phone 2024-2025",
            "+10 000 000 euros and +100.000.000 views",
            "GPS +51.0543 3.7234",
            "part 402-555-1234-99",
            "a street of 12 houses",
            "dix, 10 rue, 12 avenue",
            "Spring 2024 and Sitzplatz 12",
            "via Ghent 10 minutes longer",
            "I read on page 12 about Abbey Road",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}

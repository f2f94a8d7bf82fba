//! What must never be searchable: card numbers, bank accounts, keys, passwords; and what the owner may not want kept: how to reach
//! somebody.
//!
//! A finder marks bytes; [`Secrets::drop_from`] takes them out before anything is stored, [`mask`] hides them from indexes and
//! models where the owner keeps them. The finders are deterministic, so the same turn is stored in the same words each time.
//!
//! Three classes, by what is done with them:
//!
//! * *secrets*: card numbers (13 to 19 digits with a valid Luhn digit and a network's first digits), private keys in PEM, keys with a
//!   known prefix and JSON web tokens, long random words, and whatever follows a label like "password is" on its line;
//! * *numbers* that a bank or a state gave a person: IBANs (ISO 13616, with their country's length and their check digits), national
//!   numbers with a form of their own and, where they have any, check digits (`national.rs`), and passport, licence, tax, social security and
//!   account numbers behind their names;
//! * *contacts*: e-mail addresses, telephone numbers, street addresses. People want them remembered, so they are searched and learnt
//!   as other words are, unless [`Identifiers::Drop`] takes them out (`contacts.rs`).
//!
//! What is not found: what has no form and that nobody names. Names have rules of their own (`names.rs`).

mod contacts;
pub(crate) mod names;
mod national;

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

pub use names::spellings;

/// What is done with secrets that somebody says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// They are replaced by a word for what they were, before anything is stored.
    #[default]
    Drop,
    /// They stay in the encrypted episode, and nowhere else: no index and no model sees them.
    Keep,
}

/// What is done with numbers and addresses by which a person is known: what is stricter is greater.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Identifiers {
    /// Numbers stay in the encrypted episode, and nowhere else; contacts are words like any others.
    Keep,
    /// Numbers that a bank or a state gave are dealt with as secrets are; contacts are words like any others.
    #[default]
    ByKind,
    /// Both are replaced by a word for what they were, before anything is stored.
    Drop,
}

impl Identifiers {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::ByKind => "by-kind",
            Self::Drop => "drop",
        }
    }
}

/// What a secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum SecretKind {
    Card,
    BankAccount,
    NationalId,
    PrivateKey,
    ApiKey,
    Password,
    Phone,
    Email,
    Address,
}

impl SecretKind {
    /// All of them.
    const ALL: [Self; 9] = [
        Self::Card,
        Self::BankAccount,
        Self::NationalId,
        Self::PrivateKey,
        Self::ApiKey,
        Self::Password,
        Self::Phone,
        Self::Email,
        Self::Address,
    ];

    /// What stands in the place of one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card number",
            Self::BankAccount => "bank account",
            Self::NationalId => "national id",
            Self::PrivateKey => "private key",
            Self::ApiKey => "key",
            Self::Password => "password",
            Self::Phone => "phone number",
            Self::Email => "e-mail address",
            Self::Address => "street address",
        }
    }

    /// Whether it is taken out.
    const fn is_dropped(self, secrets: Secrets, identifiers: Identifiers) -> bool {
        let is_secret_dropped = matches!(secrets, Secrets::Drop);
        match self {
            Self::Card | Self::PrivateKey | Self::ApiKey | Self::Password => is_secret_dropped,
            Self::BankAccount | Self::NationalId => match identifiers {
                Identifiers::ByKind => is_secret_dropped,
                Identifiers::Keep => false,
                Identifiers::Drop => true,
            },
            Self::Phone | Self::Email | Self::Address => matches!(identifiers, Identifiers::Drop),
        }
    }
}

/// A secret and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// What it is.
    pub kind: SecretKind,
    /// Its bytes in the text.
    pub bytes: Range<usize>,
}

/// Everything in a text that is never searched, shown to a model or rendered, ascending and apart from one another: secrets and
/// numbers. Contacts are not among it.
#[must_use]
pub fn find(text: &str) -> Vec<Secret> {
    apart(secrets_and_numbers(text))
}

fn secrets_and_numbers(text: &str) -> Vec<Secret> {
    let mut found: Vec<Secret> = Vec::new();
    let mut push = |kind, bytes| found.push(Secret { kind, bytes });
    for pem in PEM.find_iter(text) {
        push(SecretKind::PrivateKey, pem.range());
    }
    for key in KEY.find_iter(text) {
        push(SecretKind::ApiKey, key.range());
    }
    for word in LONG_WORD.find_iter(text) {
        if is_random(word.as_str()) {
            push(SecretKind::ApiKey, word.range());
        }
    }
    for labelled in LABELLED.captures_iter(text) {
        if let Some(value) = labelled.name("value")
            && !is_no_password(value.as_str())
        {
            push(SecretKind::Password, value.range());
        }
    }
    // What follows has five digits at the least.
    if text.bytes().filter(u8::is_ascii_digit).nth(4).is_none() {
        return found;
    }
    for number in DIGITS.find_iter(text) {
        if is_card(number.as_str()) {
            push(SecretKind::Card, number.range());
        }
    }
    // Beside other digits, such as the date it expires.
    for card in each(&CARD, text, |card| is_card(card).then_some(card.len())) {
        push(SecretKind::Card, card);
    }
    for account in each(&ACCOUNT, text, iban_len) {
        push(SecretKind::BankAccount, account);
    }
    for named in NAMED_ACCOUNT.captures_iter(text) {
        if let Some(value) = named.name("value")
            && !is_ordinary(value.as_str())
        {
            push(SecretKind::BankAccount, value.range());
        }
    }
    for number in national::find(text) {
        push(SecretKind::NationalId, number);
    }
    found
}

/// Where a pattern is found whose first bytes count, if any: as many as `len` says. The rest may be the beginning of the next.
fn each(pattern: &Regex, text: &str, len: impl Fn(&str) -> Option<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(one) = pattern.find_at(text, at) {
        let start = one.start();
        at = match len(one.as_str()) {
            Some(len) => {
                found.push(start..start + len);
                start + len
            }
            // It begins with two letters or digits, of a byte each.
            None => start + 2,
        };
    }
    found
}

/// Ascending, and those that overlap as one.
fn apart(mut found: Vec<Secret>) -> Vec<Secret> {
    found.sort_by_key(|one| (one.bytes.start, std::cmp::Reverse(one.bytes.end)));
    let mut apart: Vec<Secret> = Vec::with_capacity(found.len());
    for one in found {
        match apart.last_mut() {
            Some(last) if one.bytes.start < last.bytes.end => {
                last.bytes.end = last.bytes.end.max(one.bytes.end);
            }
            _ => apart.push(one),
        }
    }
    apart
}

impl Secrets {
    /// The text as it is stored, and what was taken out of it.
    #[must_use]
    pub fn drop_from(self, identifiers: Identifiers, text: &str) -> (String, Vec<SecretKind>) {
        let mut found = secrets_and_numbers(text);
        if identifiers == Identifiers::Drop {
            found.extend(contacts::find(text));
        }
        found.retain(|one| one.kind.is_dropped(self, identifiers));
        let found = apart(found);
        let mut stored = String::with_capacity(text.len());
        let mut at = 0;
        for one in &found {
            stored.push_str(&text[at..one.bytes.start]);
            stored.push('[');
            stored.push_str(one.kind.as_str());
            stored.push_str(" not kept]");
            at = one.bytes.end;
        }
        stored.push_str(&text[at..]);
        (stored, found.into_iter().map(|one| one.kind).collect())
    }
}

/// The text without its secrets and numbers, for whoever searches or reads it.
#[must_use]
pub fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    for one in find(text) {
        masked.push_str(&text[at..one.bytes.start]);
        masked.push_str("[hidden]");
        at = one.bytes.end;
    }
    masked.push_str(&text[at..]);
    masked
}

/// A name without its secrets. An id as programs make them (RFC 9562) is none, random as it looks.
#[must_use]
pub fn mask_name(name: &str) -> String {
    let is_uuid = name.len() == 36
        && name.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    if is_uuid { name.to_owned() } else { mask(name) }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns of this file are tested")
}

static PEM: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----[\s\S]*?(-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|\z)",
    )
});
static KEY: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?x)\b(?:
            sk-[A-Za-z0-9_-]{16,} | (?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{10,} | AKIA[0-9A-Z]{16} | ASIA[0-9A-Z]{16}
          | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,} | glpat-[A-Za-z0-9_-]{16,} | xox[abprs]-[A-Za-z0-9-]{10,}
          | AIza[0-9A-Za-z_-]{30,} | ya29\.[0-9A-Za-z_-]{20,} | npm_[A-Za-z0-9]{30,} | hf_[A-Za-z0-9]{20,}
          | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]* | AGE-SECRET-KEY-1[0-9A-Z]{20,}
        )",
    )
});
static LONG_WORD: LazyLock<Regex> = LazyLock::new(|| regex(r"[A-Za-z0-9_+=-]{24,}"));
static LABELLED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix)\b(?:pass(?:word|code|phrase|wort)|passwd|pwd|pin(?:\ code|\ number)?|cvv2?|cvc|secret(?:\ key)?|api[\ _-]?key|access[\ _-]?token
            |auth[\ _-]?token|recovery\ (?:phrase|code|key)|seed\ phrase|private\ key|kennwort|passwort|mot\ de\ passe|contrase(?:ñ|n)a|wachtwoord)
          (?:\ (?:for|of|to)\ [^\n:=.]{1,40}?)?
          \s*(?:\bis\b(?:\s+now)?|\bare\b|=|:|\bist\b|\best\b|\bes\b)\s*:?\s*(?P<value>\S[^\n]*)",
    )
});
static DIGITS: LazyLock<Regex> = LazyLock::new(|| regex(r"\b[0-9](?:[ \x{a0}-]?[0-9]){12,18}\b"));
/// As cards are printed: four digits four times, and those of American Express.
static CARD: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"\b(?:[2-6][0-9]{3}(?:[ \x{a0}-]?[0-9]{4}){3}|3[47][0-9]{2}[ \x{a0}-]?[0-9]{6}[ \x{a0}-]?[0-9]{5})\b",
    )
});
static ACCOUNT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b[A-Z]{2}[0-9]{2}(?:[ \x{a0}]?[A-Z0-9]){11,30}"));
static NAMED_ACCOUNT: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix)\b(?:(?:bank\ )?account\ (?:number|no\.?|nr\.?)|routing\ (?:number|no\.?)|sort\ code|kontonummer|rekeningnummer
            |num[ée]ro\ de\ compte|n[úu]mero\ de\ cuenta|numero\ di\ conto|n[úu]mero\ da\ conta)
          \s*(?:(?:\bis\b|\bist\b|\best\b|\bes\b|è|é|=|:)\s*:?\s*)?(?P<value>[0-9](?:[\ .-]?[0-9]){5,19})\b",
    )
});
static DATE: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^(?:[0-9]{4}[./-][0-9]{1,2}[./-][0-9]{1,2}|[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{4})\b")
});

/// A date, years or a month, and an amount below ten million with its thousands apart.
static ORDINARY: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?x)^(?:
            (?:0?[1-9]|[12][0-9]|3[01]) (?: [./](?:0?[1-9]|1[0-2])[./](?:[0-9]{4}|[0-9]{2}) | \ (?:0?[1-9]|1[0-2])\ (?:19|20)[0-9]{2} )
          | (?:19|20)[0-9]{2} (?: [\ -](?:19|20)[0-9]{2} | [\ -](?:0[1-9]|1[0-2]) | \ (?:0[1-9]|1[0-2])\ (?:0[1-9]|[12][0-9]|3[01]) )
          | [0-9]{1,3}[\ .][0-9]{3} | [0-9][\ .][0-9]{3}[\ .][0-9]{3}
        )$",
    )
});

/// Whether a number behind a name begins as a date is written, or is written as what has nothing to do with that name: "my passport
/// 2016-2026", "the ID card is 10 000 forint".
fn is_ordinary(number: &str) -> bool {
    DATE.is_match(number) || ORDINARY.is_match(number)
}

/// "my password is too long" names no password.
fn is_no_password(value: &str) -> bool {
    let first = value
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .trim_end_matches(['.', ',', '!', '?'])
        .to_lowercase();
    const WORDS: [&str; 34] = [
        "not",
        "too",
        "very",
        "so",
        "the",
        "a",
        "an",
        "my",
        "in",
        "on",
        "stored",
        "saved",
        "weak",
        "strong",
        "long",
        "short",
        "wrong",
        "expired",
        "required",
        "needed",
        "missing",
        "lost",
        "easy",
        "hard",
        "safe",
        "secure",
        "important",
        "something",
        "different",
        "what",
        "always",
        "never",
        "still",
        "kept",
    ];
    first.is_empty() || WORDS.contains(&first.as_str())
}

/// Letters and digits mixed without a pattern that a name or a link would have.
fn is_random(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let upper = word.bytes().filter(u8::is_ascii_uppercase).count();
    let lower = word.bytes().filter(u8::is_ascii_lowercase).count();
    if digits < 4 || upper + lower < 4 {
        return false;
    }
    // How often the class of character changes: words-with-dashes and dates change seldom.
    let class = |byte: u8| match byte {
        b'0'..=b'9' => 0,
        b'A'..=b'Z' => 1,
        b'a'..=b'z' => 2,
        _ => 3,
    };
    let changes = word
        .as_bytes()
        .windows(2)
        .filter(|pair| class(pair[0]) != class(pair[1]))
        .count();
    changes * 4 >= word.len()
}

fn is_card(text: &str) -> bool {
    let digits: Vec<u8> = text
        .bytes()
        .filter(u8::is_ascii_digit)
        .map(|byte| byte - b'0')
        .collect();
    // The networks' first digits: airlines and 0, 7, 8 and 9 issue no payment cards that people type.
    if !matches!(digits.first(), Some(2..=6)) || digits.iter().all(|digit| *digit == digits[0]) {
        return false;
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit < 5 => 2 * digit,
            (_, digit) => 2 * digit - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// How many bytes of the text are an IBAN: as many characters as those of its country have, if the check digits hold.
fn iban_len(text: &str) -> Option<usize> {
    let len = iban_chars(text.as_bytes().get(..2)?)?;
    let characters: Vec<(usize, u8)> = text
        .bytes()
        .enumerate()
        .filter(|(_, byte)| byte.is_ascii_alphanumeric())
        .take(len)
        .collect();
    if characters.len() < len {
        return None;
    }
    let end = characters.last()?.0 + 1;
    // Nothing of a longer word.
    if text
        .as_bytes()
        .get(end)
        .is_some_and(u8::is_ascii_alphanumeric)
    {
        return None;
    }
    let (head, tail) = characters.split_at(4);
    let remainder = tail
        .iter()
        .chain(head)
        .fold(0_u32, |rest, (_, byte)| match byte {
            b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
            letter => (rest * 100 + u32::from(letter - b'A') + 10) % 97,
        });
    (remainder == 1).then_some(end)
}

/// How many characters the IBANs of a country have, by the registry of ISO 13616, and of some that use them outside it.
fn iban_chars(country: &[u8]) -> Option<usize> {
    Some(match country {
        b"NO" => 15,
        b"BE" => 16,
        b"DK" | b"FI" | b"FK" | b"FO" | b"GL" | b"NL" | b"SD" => 18,
        b"MK" | b"SI" => 19,
        b"AT" | b"BA" | b"EE" | b"KZ" | b"LT" | b"LU" | b"MN" | b"XK" => 20,
        b"CH" | b"HR" | b"LI" | b"LV" => 21,
        b"BG" | b"BH" | b"CR" | b"DE" | b"GB" | b"GE" | b"IE" | b"ME" | b"RS" | b"VA" => 22,
        b"AE" | b"GI" | b"IL" | b"IQ" | b"OM" | b"SO" | b"TL" => 23,
        b"AD" | b"CZ" | b"ES" | b"MD" | b"PK" | b"RO" | b"SA" | b"SE" | b"SK" | b"TN" | b"VG" => 24,
        b"AO" | b"CV" | b"GW" | b"LY" | b"MZ" | b"PT" | b"ST" => 25,
        b"DZ" | b"IR" | b"IS" | b"TR" => 26,
        b"BI" | b"CF" | b"CG" | b"CM" | b"DJ" | b"FR" | b"GA" | b"GQ" | b"GR" | b"IT" | b"KM"
        | b"MC" | b"MG" | b"MR" | b"SM" | b"TD" => 27,
        b"AL" | b"AZ" | b"BF" | b"BJ" | b"BY" | b"CI" | b"CY" | b"DO" | b"GT" | b"HN" | b"HU"
        | b"LB" | b"MA" | b"ML" | b"NE" | b"NI" | b"PL" | b"SN" | b"SV" | b"TG" => 28,
        b"BR" | b"EG" | b"PS" | b"QA" | b"UA" => 29,
        b"JO" | b"KW" | b"MU" | b"YE" => 30,
        b"MT" | b"SC" => 31,
        b"LC" => 32,
        b"RU" => 33,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<SecretKind> {
        find(text).into_iter().map(|one| one.kind).collect()
    }

    #[test]
    fn a_name_is_shown_without_secrets_and_an_id_is_none() {
        let id = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
        assert_eq!(mask_name(id), id);
        assert!(!mask_name("password: hunter2.txt").contains("hunter2"));
    }

    #[test]
    fn what_is_secret_is_found() {
        use SecretKind as K;
        for (text, kind, left) in [
            (
                "card 4111 1111 1111 1111, thanks",
                K::Card,
                "card [hidden], thanks",
            ),
            ("5500-0000-0000-0004", K::Card, "[hidden]"),
            (
                "pay DE89 3704 0044 0532 0130 00 please",
                K::BankAccount,
                "pay [hidden] please",
            ),
            ("GB82WEST12345698765432.", K::BankAccount, "[hidden]."),
            (
                "to BE68 5390 0754 7034 BY FRIDAY",
                K::BankAccount,
                "to [hidden] BY FRIDAY",
            ),
            (
                "card 4111 1111 1111 1111 12/27",
                K::Card,
                "card [hidden] 12/27",
            ),
            ("card 4111 1111 1111 1111 123", K::Card, "card [hidden] 123"),
            ("2 4111-1111-1111-1111", K::Card, "2 [hidden]"),
            ("in 2024 4111 1111 1111 1111", K::Card, "in 2024 [hidden]"),
            ("3782 822463 10005 12/27", K::Card, "[hidden] 12/27"),
            ("sort code 12-34-56", K::BankAccount, "sort code [hidden]"),
            (
                "my account number is 12345678 now",
                K::BankAccount,
                "my account number is [hidden] now",
            ),
            ("ssn 078-05-1120", K::NationalId, "ssn [hidden]"),
            (
                "use sk-abcdefghij0123456789XYZ now",
                K::ApiKey,
                "use [hidden] now",
            ),
            ("AKIAIOSFODNN7EXAMPLE", K::ApiKey, "[hidden]"),
            ("ghp_0123456789abcdefghij0123", K::ApiKey, "[hidden]"),
            (
                "token a8F3kq9Z2mLp7Xc4Vb6Nn1Ty5",
                K::ApiKey,
                "token [hidden]",
            ),
            (
                "my password is hunter2",
                K::Password,
                "my password is [hidden]",
            ),
            (
                "Wifi password: correct horse",
                K::Password,
                "Wifi password: [hidden]",
            ),
            (
                "the PIN for the safe is 4711",
                K::Password,
                "the PIN for the safe is [hidden]",
            ),
            (
                "my recovery phrase is legal winner thank",
                K::Password,
                "my recovery phrase is [hidden]",
            ),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb\n-----END OPENSSH PRIVATE KEY-----",
                K::PrivateKey,
                "[hidden]",
            ),
        ] {
            assert_eq!(kinds(text), [kind], "{text}");
            assert_eq!(mask(text), left);
        }
    }

    #[test]
    fn each_of_several_accounts_in_a_row_is_found() {
        for (text, left) in [
            (
                "BE68 5390 0754 7034 DE89 3704 0044 0532 0130 00",
                "[hidden] [hidden]",
            ),
            (
                "AB12 DE89 3704 0044 0532 0130 00 BE68 5390 0754 7034",
                "AB12 [hidden] [hidden]",
            ),
        ] {
            assert_eq!(mask(text), left);
        }
    }

    #[test]
    fn what_is_not_secret_stays() {
        for text in [
            "My phone is 32 470 12 34 56 and I was born on 1985-03-04",
            "4111 1111 1111 1112 has a wrong last digit",
            "I ordered 12345678901234 screws",
            "my password is too long",
            "I forgot my PIN again",
            "see https://example.org/a-very-long-path-with-many-words/2026",
            "DE89 3704 0044 0532 0130 02 has a wrong check digit",
            "DE89 3704 0044 0532 0130 00X is of no German length",
            "parcel ZZ12 3456 7890 1234 5678 90 is of no country",
            "my account number is 4 and its date 2026-11-21",
            "account number: 2026-11-21",
            "I typed the sort code 100 000 times",
            "statement of account no 2024-01",
            "write to anna@example.org or call +32 470 12 34 56 at Kerkstraat 5",
            "supercalifragilisticexpialidocious",
        ] {
            assert_eq!(kinds(text), [], "{text}");
        }
    }

    #[test]
    fn dropping_says_what_was_there_and_does_it_the_same_way_each_time() {
        let by_kind = Identifiers::ByKind;
        let (stored, dropped) =
            Secrets::Drop.drop_from(by_kind, "pay with 4111111111111111 or 4242");
        assert_eq!(stored, "pay with [card number not kept] or 4242");
        assert_eq!(dropped, [SecretKind::Card]);
        assert_eq!(
            Secrets::Drop.drop_from(by_kind, &stored),
            (stored.clone(), vec![])
        );
        let kept = "pay with 4111111111111111";
        assert_eq!(
            Secrets::Keep.drop_from(by_kind, kept),
            (kept.to_owned(), vec![])
        );
    }

    #[test]
    fn identifiers_are_kept_or_dropped_by_their_own_policy() {
        use SecretKind as K;
        let text = "Card 4111111111111111, account DE89 3704 0044 0532 0130 00, ssn 078-05-1120, phone +32 470 12 34 56, \
                    mail anna@example.org, home 10 Downing Street.";
        let (secrets, numbers) = ([K::Card], [K::BankAccount, K::NationalId]);
        let contacts = [K::Phone, K::Email, K::Address];
        for (policy, identifiers, dropped) in [
            (
                Secrets::Drop,
                Identifiers::ByKind,
                [&secrets[..], &numbers[..]].concat(),
            ),
            (Secrets::Drop, Identifiers::Keep, secrets.to_vec()),
            (
                Secrets::Drop,
                Identifiers::Drop,
                [&secrets[..], &numbers[..], &contacts[..]].concat(),
            ),
            (Secrets::Keep, Identifiers::ByKind, vec![]),
            (Secrets::Keep, Identifiers::Keep, vec![]),
            (
                Secrets::Keep,
                Identifiers::Drop,
                [&numbers[..], &contacts[..]].concat(),
            ),
        ] {
            let (stored, found) = policy.drop_from(identifiers, text);
            assert_eq!(found, dropped, "{policy:?}, {identifiers:?}: {stored}");
            // What stands in their places is none itself.
            assert_eq!(
                policy.drop_from(identifiers, &stored),
                (stored.clone(), vec![])
            );
        }
        // Whatever is kept: numbers are searched by nobody, contacts are.
        let masked = mask(text);
        assert!(
            !masked.contains("DE89") && !masked.contains("078-05"),
            "{masked}"
        );
        for contact in ["+32 470 12 34 56", "anna@example.org", "10 Downing Street"] {
            assert!(masked.contains(contact), "{masked}");
        }
    }
}

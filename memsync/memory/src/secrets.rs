//! What must never be searchable: card numbers, bank accounts, keys, passwords.
//!
//! A finder marks bytes; [`Secrets::drop_from`] takes them out before anything is stored, [`mask`] hides them from indexes and
//! models where the owner keeps them. The finders are deterministic, so the same turn is stored in the same words each time.
//!
//! What is found: card numbers (13 to 19 digits with a valid Luhn digit and a network's first digits), IBANs (ISO 13616, with their
//! check digits), United States social security numbers, private keys in PEM, keys with a known prefix and JSON web tokens, long
//! random words, and whatever follows a label like "password is" on its line. What is not: secrets without a form that nobody
//! labels as such.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// What is done with secrets that somebody says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// They are replaced by a word for what they were, before anything is stored.
    #[default]
    Drop,
    /// They stay in the encrypted episode, and nowhere else: no index and no model sees them.
    Keep,
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
}

impl SecretKind {
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

/// Every secret in a text, ascending and apart from one another.
#[must_use]
pub fn find(text: &str) -> Vec<Secret> {
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
    for number in DIGITS.find_iter(text) {
        if is_card(number.as_str()) {
            push(SecretKind::Card, number.range());
        }
    }
    for account in ACCOUNT.find_iter(text) {
        if let Some(len) = iban_len(account.as_str()) {
            push(
                SecretKind::BankAccount,
                account.start()..account.start() + len,
            );
        }
    }
    for number in SOCIAL.find_iter(text) {
        push(SecretKind::NationalId, number.range());
    }
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
    pub fn drop_from(self, text: &str) -> (String, Vec<SecretKind>) {
        let found = match self {
            Self::Drop => find(text),
            Self::Keep => Vec::new(),
        };
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

/// The text without its secrets, for whoever searches or reads it.
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
static ACCOUNT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b[A-Z]{2}[0-9]{2}(?:[ \x{a0}]?[A-Z0-9]){11,30}"));
static SOCIAL: LazyLock<Regex> = LazyLock::new(|| regex(r"\b[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}\b"));

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

/// How many bytes of the text are an IBAN: the longest beginning whose check digits hold.
fn iban_len(text: &str) -> Option<usize> {
    let mut ends: Vec<usize> = text
        .char_indices()
        .filter(|(_, character)| character.is_ascii_alphanumeric())
        .map(|(at, _)| at + 1)
        .collect();
    ends.truncate(34);
    while ends.len() >= 15 {
        let end = *ends.last()?;
        let characters: Vec<u8> = text[..end]
            .bytes()
            .filter(u8::is_ascii_alphanumeric)
            .collect();
        let remainder = characters[4..]
            .iter()
            .chain(&characters[..4])
            .fold(0_u32, |rest, byte| match byte {
                b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
                letter => (rest * 100 + u32::from(letter - b'A') + 10) % 97,
            });
        if remainder == 1 {
            return Some(end);
        }
        ends.pop();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<SecretKind> {
        find(text).into_iter().map(|one| one.kind).collect()
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
    fn what_is_not_secret_stays() {
        for text in [
            "My phone is 32 470 12 34 56 and I was born on 1985-03-04",
            "4111 1111 1111 1112 has a wrong last digit",
            "I ordered 12345678901234 screws",
            "my password is too long",
            "I forgot my PIN again",
            "see https://example.org/a-very-long-path-with-many-words/2026",
            "DE89 3704 0044 0532 0130 02 has a wrong check digit",
            "supercalifragilisticexpialidocious",
        ] {
            assert_eq!(kinds(text), [], "{text}");
        }
    }

    #[test]
    fn dropping_says_what_was_there_and_does_it_the_same_way_each_time() {
        let (stored, dropped) = Secrets::Drop.drop_from("pay with 4111111111111111 or 4242");
        assert_eq!(stored, "pay with [card number not kept] or 4242");
        assert_eq!(dropped, [SecretKind::Card]);
        assert_eq!(Secrets::Drop.drop_from(&stored), (stored.clone(), vec![]));
        let kept = "pay with 4111111111111111";
        assert_eq!(Secrets::Keep.drop_from(kept), (kept.to_owned(), vec![]));
    }
}

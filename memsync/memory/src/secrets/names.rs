//! Names: of speakers, conversations, turns and apps. They are shown wherever the words are that they belong to.
//!
//! So a name never holds a secret, nor a number that a bank or a state gave, whatever is kept of words; contacts it holds as words do.
//! In the place of one stand what it was and four letters that are made of it: `[phone number kqxz]`. Two speakers stay two, and one
//! stays one in every file, since white space and marks between the digits do not count. Four letters do not say which number it was;
//! whoever guesses it sees that it fits, as one of some 450,000 others would.
//!
//! A name without white space is what a program calls something: there, only what has a sure form is a secret. A long random word or
//! a row of digits is the id that it looks like.

use super::{Identifiers, KEY, Secret, SecretKind, apart, contacts, secrets_and_numbers};
use crate::record::NAME_MAX;

impl Identifiers {
    /// A name as it is kept under this policy.
    #[must_use]
    pub fn name(self, name: &str) -> String {
        let plain = plain(name);
        let found = self.find_in(&plain);
        if found.is_empty() {
            return name.to_owned();
        }
        let mut kept = String::with_capacity(plain.len());
        let mut at = 0;
        for one in found {
            kept.push_str(&plain[at..one.bytes.start]);
            kept.push_str(&instead(one.kind, &plain[one.bytes.clone()]));
            at = one.bytes.end;
        }
        kept.push_str(&plain[at..]);
        let mut end = kept.len().min(NAME_MAX);
        while !kept.is_char_boundary(end) {
            end -= 1;
        }
        kept.truncate(end);
        kept
    }

    fn find_in(self, name: &str) -> Vec<Secret> {
        let mut found = secrets_and_numbers(name);
        if !name.contains(char::is_whitespace) {
            found.retain(|one| match one.kind {
                SecretKind::ApiKey => KEY.is_match(&name[one.bytes.clone()]),
                SecretKind::Card | SecretKind::NationalId => false,
                _ => true,
            });
        }
        if self == Self::Drop {
            found.extend(contacts::find(name));
        }
        let mut found = apart(found);
        // What stands behind "password:" once that was taken out.
        found.retain(|one| !is_instead(&name[one.bytes.clone()]));
        found
    }
}

/// A name for whoever sees it: as it is kept today, where it was written before names were looked at.
pub(crate) fn shown(name: &str) -> String {
    Identifiers::ByKind.name(name)
}

/// Everything that a name may be kept as, itself first: whoever asks for one knows it as it was given.
#[must_use]
pub fn spellings(name: &str) -> Vec<String> {
    let mut all = vec![
        name.to_owned(),
        Identifiers::ByKind.name(name),
        Identifiers::Drop.name(name),
    ];
    all.dedup();
    all
}

/// With the spaces and hyphens of a keyboard: phones write numbers with others, so that no line ends within one.
fn plain(name: &str) -> String {
    name.chars()
        .map(|character| match character {
            '\u{a0}' | '\u{2007}' | '\u{2009}' | '\u{202f}' => ' ',
            '\u{2010}'..='\u{2013}' => '-',
            other => other,
        })
        .collect()
}

/// What stands in the place of a secret.
fn instead(kind: SecretKind, secret: &str) -> String {
    let bare: String = secret
        .chars()
        .filter(|character| character.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    let digest = blake3::derive_key("tally memory v1 2026-11-30 name", bare.as_bytes());
    let letters: String = digest[..4]
        .iter()
        .map(|byte| char::from(b'a' + byte % 26))
        .collect();
    format!("[{} {letters}]", kind.as_str())
}

fn is_instead(text: &str) -> bool {
    let inside = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    inside
        .and_then(|inside| inside.rsplit_once(' '))
        .is_some_and(|(kind, letters)| {
            letters.len() == 4
                && letters.bytes().all(|byte| byte.is_ascii_lowercase())
                && SecretKind::ALL.iter().any(|one| one.as_str() == kind)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_no_secret_and_two_speakers_stay_two() {
        for (name, begins, ends) in [
            ("+32 470 12 34 56", "[phone number ", "]"),
            (
                "WhatsApp Chat with +32 470 12 34 56",
                "WhatsApp Chat with [phone number ",
                "]",
            ),
            ("anna@example.org", "[e-mail address ", "]"),
            (
                "Invoice DE89 3704 0044 0532 0130 00",
                "Invoice [bank account ",
                "]",
            ),
            ("password: hunter2.txt", "password: [password ", "]"),
            ("sk-abcdefghij0123456789XYZ", "[key ", "]"),
        ] {
            let kept = Identifiers::Drop.name(name);
            assert!(kept.starts_with(begins) && kept.ends_with(ends), "{kept}");
            assert_eq!(kept.len(), begins.len() + 4 + ends.len(), "{kept}");
            // What was kept is kept as it is.
            assert_eq!(Identifiers::Drop.name(&kept), kept);
            assert_eq!(shown(&kept), kept);
        }
        let (one, other) = ("+32 470 12 34 56", "+32 470 12 34 57");
        let name = |name| Identifiers::Drop.name(name);
        assert_ne!(name(one), name(other));
        for same in ["+32470123456", "+32\u{a0}470\u{a0}12\u{2011}34\u{2011}56"] {
            assert_eq!(name(same), name(one), "{same}");
        }
    }

    #[test]
    fn contacts_are_as_in_words_and_numbers_in_no_name_at_all() {
        for policy in [Identifiers::Keep, Identifiers::ByKind] {
            for contact in ["+32 470 12 34 56", "anna@example.org"] {
                assert_eq!(policy.name(contact), contact);
            }
            let account = policy.name("Rent to BE68 5390 0754 7034");
            assert!(!account.contains("BE68"), "{account}");
        }
        let all = spellings("+32 470 12 34 56");
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(spellings("Anna"), ["Anna"]);
    }

    #[test]
    fn names_that_programs_give_are_no_secrets() {
        for name in [
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "thread_a8F3kq9Z2mLp7Xc4Vb6Nn1Ty5",
            "4111111111111111",
            "201909051423123456",
            "2023-12-31T21:41:00#1",
            "Anna Peeters",
            "notes.md",
            "",
        ] {
            assert_eq!(Identifiers::Drop.name(name), name);
        }
    }

    #[test]
    fn a_name_that_grows_stays_a_name() {
        let long = format!("{} +32470123456", "é".repeat(120));
        let kept = Identifiers::Drop.name(&long);
        assert!(kept.len() <= NAME_MAX && !kept.contains("470"), "{kept}");
    }
}

//! Other people's texts in somebody's turn that no quotation marks set off, known by the form that documents have.
//!
//! Only what the form shows is taken for another's: the head of a mail, the line above an answer, "here is what Lena wrote:", a
//! letter that somebody else signed, the lines of a chat, rows of a table. A text in the first person without any of it is its
//! speaker's.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{joined, reports};

/// What a line of a chat or below a letter is called if its speaker wrote it, beside their name.
const OWN_LABELS: [&str; 9] = ["me", "i", "myself", "ich", "moi", "yo", "io", "eu", "ik"];

/// Lines with where they stand, line feeds included, and their words.
type Lines<'a> = [(Range<usize>, &'a str)];

/// The bytes of a turn that are somebody else's by their form.
#[must_use]
pub fn pasted_in(text: &str, speaker: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    let lines: Vec<(Range<usize>, &str)> = text
        .split_inclusive('\n')
        .map(|line| {
            let start = at;
            at += line.len();
            (start..at, line.trim())
        })
        .collect();
    let mut found: Vec<Range<usize>> = lines
        .iter()
        .filter(|(_, line)| ROW.is_match(line) || STAMPED.is_match(line) || TITLE.is_match(line))
        .map(|(range, _)| range.clone())
        .collect();
    found.extend(transcript(&lines, speaker));
    found.extend(announced(&lines));
    found.extend(letter(&lines, speaker));
    found.extend(mail(&lines).map(|start| start..text.len()));
    joined(found)
}

/// Lines of a chat: `NAME: words`, of several people, one of whom speaks again. A form has each of its names once.
fn transcript(lines: &Lines<'_>, speaker: &str) -> Vec<Range<usize>> {
    let labelled: Vec<(&Range<usize>, &str)> = lines
        .iter()
        .filter_map(|(range, line)| Some((range, LABEL.captures(line)?.get(1)?.as_str())))
        .collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for (_, label) in &labelled {
        *counts.entry(*label).or_default() += 1;
    }
    if counts.len() < 2 || counts.values().all(|count| *count < 2) {
        return Vec::new();
    }
    labelled
        .into_iter()
        .filter(|(_, label)| !is_own(label, speaker))
        .map(|(range, _)| range.clone())
        .collect()
}

/// The paragraphs below lines such as "Here is what Lena wrote:". What is marked there is known by its marks, and ends with them.
fn announced(lines: &Lines<'_>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, (_, line)) in lines.iter().enumerate() {
        let below = &lines[at + 1..];
        if !line.ends_with(':') || !reports(line) || is_marked(below) {
            continue;
        }
        let paragraph = below
            .iter()
            .skip_while(|(_, line)| line.is_empty())
            .take_while(|(_, line)| !line.is_empty());
        found.extend(paragraph.map(|(range, _)| range.clone()));
    }
    found
}

/// A letter from its salutation to the name below it, unless the name is its speaker's.
fn letter(lines: &Lines<'_>, speaker: &str) -> Option<Range<usize>> {
    let first = lines
        .iter()
        .position(|(_, line)| SALUTATION.is_match(line))?;
    let closing = first
        + lines[first..]
            .iter()
            .position(|(_, line)| CLOSING.is_match(line))?;
    let (range, name) = lines[closing + 1..]
        .iter()
        .find(|(_, line)| !line.is_empty())?;
    (name.split_whitespace().count() <= 4 && !is_own(name, speaker))
        .then(|| lines[first].0.start..range.end)
}

/// Where a mail begins that goes on to the end: two lines of its head, or the line that programs put above what they answer or
/// pass on.
fn mail(lines: &Lines<'_>) -> Option<usize> {
    (0..lines.len()).find_map(|at| {
        let (range, line) = &lines[at];
        let is_head = lines.get(at + 1).is_some_and(|(_, next)| {
            HEADER.is_match(line)
                && HEADER.is_match(next)
                && [line, next]
                    .iter()
                    .any(|one| one.contains('@') || TITLE.is_match(one))
        });
        let is_above = ABOVE_A_MAIL.is_match(line) && !is_marked(&lines[at + 1..]);
        (is_head || is_above).then_some(range.start)
    })
}

/// Whether what stands below is marked as a quotation.
fn is_marked(below: &Lines<'_>) -> bool {
    below
        .iter()
        .find(|(_, line)| !line.is_empty())
        .is_some_and(|(_, line)| line.starts_with(['>', '`', '<', '"', '“', '«', '»', '„']))
}

fn is_own(name: &str, speaker: &str) -> bool {
    let (name, speaker) = (name.to_lowercase(), speaker.trim().to_lowercase());
    OWN_LABELS.contains(&name.as_str())
        || (!speaker.is_empty()
            && name
                .split(|character: char| !character.is_alphanumeric())
                .any(|word| word == speaker))
        || name == speaker
}

static ROW: LazyLock<Regex> = LazyLock::new(|| super::regex(r"^\|.*\|"));
/// A memory as it is given out, a line of a chat or of a log: a number or a time, and who says it.
static STAMPED: LazyLock<Regex> = LazyLock::new(|| {
    super::regex(
        r"(?ix)^(?:\[\d{1,4}\]\s+(?:\d{4}-\d{2}-\d{2}\s+)?
          |\[[^\]]*\d{1,2}:\d{2}[^\]]*\]\s*
          |\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?\s+\d{1,2}:\d{2}(?::\d{2})?\s*(?:[ap]\.?m\.?)?\s*[-–—]?\s*)[^:]{1,80}:\s",
    )
});
static LABEL: LazyLock<Regex> = LazyLock::new(|| {
    super::regex(
        r"^[*_]{0,2}(\p{Lu}[\p{L}.'’-]+(?:\s\p{Lu}[\p{L}.'’-]*){0,2})[*_]{0,2}:[*_]{0,2}\s",
    )
});
/// What a mail is about.
static TITLE: LazyLock<Regex> = LazyLock::new(|| {
    super::regex(r"(?i)^(?:subject|betreff|objet|asunto|oggetto|assunto|onderwerp)\s?:\s")
});
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    super::regex(
        r"(?ix)^(?:from|to|cc|bcc|date|sent|reply-to|message-id
          |von|an|datum|gesendet|de|à|cci|envoyé|para|fecha|enviado|da|a|data|inviato|enviada|aan|van|verzonden
          |subject|betreff|objet|asunto|oggetto|assunto|onderwerp)\s?:\s",
    )
});
static ABOVE_A_MAIL: LazyLock<Regex> = LazyLock::new(|| {
    super::regex(
        r"(?ix)^(?:on\s.{5,120}\swrote|am\s.{5,120}\sschrieb\b.{0,80}|le\s.{5,120}\sa\sécrit|el\s.{5,120}\sescribió
          |il\s.{5,120}\sha\sscritto|em\s.{5,120}\sescreveu|op\s.{5,120}\sschreef\b.{0,80})\s?:$
          |^-{2,}\s*(?:original\smessage|forwarded\smessage|ursprüngliche\snachricht|weitergeleitete\snachricht|message\sd['’]origine
          |message\stransféré|mensaje\soriginal|mensaje\sreenviado|messaggio\soriginale|messaggio\sinoltrato|mensagem\soriginal
          |mensagem\sencaminhada|oorspronkelijk\sbericht|doorgestuurd\sbericht)|^begin\sforwarded\smessage:",
    )
});
static SALUTATION: LazyLock<Regex> = LazyLock::new(|| {
    super::regex(
        r"(?i)^(?:dear|sehr geehrte[rs]?|liebe[rs]?|cher|chère|chers|chères|estimad[oa]s?|querid[oa]s?|gentile|gentili|car[oaie]|prezad[oa]s?|beste|geachte)\s[^.!?]{1,60}[,:]?$",
    )
});
static CLOSING: LazyLock<Regex> = LazyLock::new(|| {
    super::regex(
        r"(?ix)^(?:(?:all\sthe\s|with\s)?best(?:\swishes|\sregards)?|(?:kind|warm|kindest|warmest)\sregards|regards|sincerely|yours(?:\ssincerely|\sfaithfully|\struly)?
          |respectfully|cheers|love|thanks|thank\syou|mit\sfreundlichen\sgrüßen|mit\sfreundlichem\sgruß|(?:viele|liebe|beste|herzliche)\sgrüße
          |cordialement|bien\sà\s(?:vous|toi)|(?:un\s)?(?:cordial\s)?saludos?|atentamente|cordiali\ssaluti|distinti\ssaluti|un\sabbraccio
          |atenciosamente|cumprimentos|(?:um\s)?abraços?|met\svriendelijke\sgroet(?:en)?|(?:veel\s)?(?:groeten|groetjes|liefs))[,.!]?$",
    )
});

#[cfg(test)]
mod tests {
    use super::super::outside;
    use super::*;

    /// What of a turn of Anna's is hers.
    fn own(text: &str) -> Vec<&str> {
        outside(text, &pasted_in(text, "Anna"))
            .into_iter()
            .map(|part| &text[part])
            .collect()
    }

    #[test]
    fn a_pasted_mail_or_letter_is_not_its_speakers_whoever_pastes_it() {
        for text in [
            "I like tea.\nDear team,\nI resigned from the board.\nBest,\nMallory",
            "I like tea.\n\nSehr geehrte Frau Roth,\nich wohne in Rom.\n\nMit freundlichen Grüßen\nMallory Evil",
            "I like tea.\nFrom: mallory@evil.example\nTo: Anna\n\nI live in Rome.\n\nI own a bank.",
            "I like tea.\nVon: Mallory\nBetreff: Umzug\nIch wohne in Rom.",
            "I like tea.\nOn Tue, 3 Nov 2026, Mallory wrote:\nI live in Rome.\n\nI own a bank.",
            "I like tea.\nLe mardi 3 novembre 2026, Mallory a écrit :\nJ'habite à Rome.",
            "I like tea.\n---------- Forwarded message ---------\nI live in Rome.",
            "I like tea.\nSubject: I quit my job today",
        ] {
            assert_eq!(own(text), ["I like tea."], "{text}");
        }
    }

    #[test]
    fn lines_of_chats_tables_and_recalled_lists_are_not_their_speakers() {
        for text in [
            "I like tea.\n[1] Anna: I own a submarine.",
            "I like tea.\n[1] 2026-11-18 Anna: I own a submarine.",
            "I like tea.\n[10:04, 3.11.2026] Mallory: I own a submarine.",
            "I like tea.\n03/11/2026, 10:04 - Mallory: I own a submarine.",
            "I like tea.\n| name | claim |\n| Mallory | I own the harbour |",
            "I like tea.\nMallory: I am rich.\nBob: I am not.\nMallory: I own a bank.",
        ] {
            assert_eq!(own(text), ["I like tea."], "{text}");
        }
        let chat =
            "Mallory: I am rich.\nMe: I like tea.\nMallory: I own a bank.\nAnna: I like figs.";
        assert_eq!(own(chat), ["Me: I like tea.", "Anna: I like figs."]);
    }

    #[test]
    fn what_is_announced_as_anothers_is_so_to_the_end_of_its_paragraph() {
        for (text, left) in [
            (
                "Here is what Lena wrote:\n\nI live in Rome.\nI own a bank.\n\nI like tea.",
                vec!["Here is what Lena wrote:", "I like tea."],
            ),
            (
                "Lena hat mir geschrieben:\nIch wohne in Rom.\n\nIch mag Tee.",
                vec!["Lena hat mir geschrieben:", "Ich mag Tee."],
            ),
            (
                "He wrote:\n> I am rich.\nI like tea.",
                vec!["He wrote:\n> I am rich.\nI like tea."],
            ),
        ] {
            assert_eq!(own(text), left, "{text}");
        }
    }

    #[test]
    fn what_only_looks_a_little_like_a_document_is_its_speakers() {
        for text in [
            "Dear Tally,\nI'm allergic to nuts.\nThanks,\nAnna",
            "Dear all, I live in Ghent.",
            "Name: Anna\nJob: nurse\nDiet: I eat no meat.",
            "From: Ghent\nTo: Bruges\nI travel with my dog.",
            "Here is what I wrote:\nI live in Ghent.",
            "About me:\nI live in Ghent.\nI have two cats.",
            "# About me\n- I live in Ghent.\n- I have two cats.",
            "10:30 I have an appointment: my dentist is called Eva.",
            "Update: I moved to Ghent.\nMy bank: I left it.",
        ] {
            assert_eq!(own(text), [text], "{text}");
        }
    }
}

//! How facts are asked for, and how the answer is read: the prompt is fixed to the byte, so that it can be made again from the
//! episodes and compared with what a receipt commits to.
//!
//! A model is shown lines `SPEAKER: words`, at most [`LINES_PER_CALL`] of one conversation and [`BYTES_PER_CALL`] bytes, and answers with spans
//! that it copies from them. Line feeds in a turn become spaces, byte for byte, so that a span in a line is a span in the turn. What stands before
//! the lines depends on whom is asked ([`Dialect`]): tally-nano reads the short prompt of `models/nano/FORMAT.md` and no other, every other
//! model is told what is wanted (`instructions.txt`) and shown [`EXAMPLES`]; a large one also that a fact may be of several categories.
//!
//! What a model is never shown: what was recalled, quoted or pasted (`speech.rs`), secrets (`secrets.rs`), words of models, tools and
//! documents.

use std::ops::Range;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::ids::EpisodeId;
use crate::model::{Ask, Dialect, Form, Message};
use crate::quotations::Labels;
use crate::record::{Category, Episode, Kind, Line, Role};
use crate::{quotations, secrets, speech};

/// The name of the shape that any model is asked in, in records of calls. Its words are part of it: other words, another number.
pub const SHAPE: &str = "tally-extract/1";
/// The shape that a large model is asked in: a fact may be of several categories.
pub const LARGE_SHAPE: &str = "tally-extract/2";
/// The shape that tally-nano is asked in. In all three the answer is held to quotations (`quotations.rs`).
pub const NANO_SHAPE: &str = "tally-nano/2";
/// The same question, whose answer was only held to the schema. No longer asked; records of it are verified.
const BY_SCHEMA: &str = "tally-nano/1";
/// Most lines of one prompt.
pub(crate) const LINES_PER_CALL: usize = 3;
/// Most bytes of the lines of one prompt, speakers included. A longer sentence is left out of what is learnt.
pub(crate) const BYTES_PER_CALL: usize = 1_000;
/// Most tokens of one answer: eight facts.
const MAX_TOKENS: u32 = 512;

/// Most categories of one fact; fewer say more.
const CATEGORIES_MAX: usize = 3;

const INSTRUCTIONS: &str = include_str!("instructions.txt");
/// What stands in [`INSTRUCTIONS`], and what stands in its place where a fact may be of several categories.
const ONE_CATEGORY: &str = "\"category\": identity";
const CATEGORIES: &str =
    "\"categories\": one, or up to three where it says something about each: identity";
/// Lines and what is to be answered.
const EXAMPLES: [(&str, &str); 3] = [
    (
        "user: Hi! I'm allergic to peanuts and my sister Lena works as a nurse in Ghent.",
        r#"{"facts":[{"basis":"I'm allergic to peanuts","category":"health","kind":"semantic","subject":"user"},{"basis":"my sister Lena works as a nurse in Ghent","category":"career","kind":"semantic","subject":"Lena"}]}"#,
    ),
    (
        "user: Could you tell me what a good present for a teacher is?",
        r#"{"facts":[]}"#,
    ),
    (
        "Tom: We moved to Oslo last year, did you know?\nMia: No! My brother flies there on Friday.",
        r#"{"facts":[{"basis":"We moved to Oslo last year","category":"identity","kind":"episodic","subject":"Tom"},{"basis":"My brother flies there on Friday","category":"travel","kind":"episodic","subject":"brother"}]}"#,
    ),
];
/// The answers to the same lines where a fact may be of several categories.
const ANSWERS_OF_LARGE: [&str; 3] = [
    r#"{"facts":[{"basis":"I'm allergic to peanuts","categories":["health"],"kind":"semantic","subject":"user"},{"basis":"my sister Lena works as a nurse in Ghent","categories":["career","relationships"],"kind":"semantic","subject":"Lena"}]}"#,
    r#"{"facts":[]}"#,
    r#"{"facts":[{"basis":"We moved to Oslo last year","categories":["identity"],"kind":"episodic","subject":"Tom"},{"basis":"My brother flies there on Friday","categories":["relationships","travel"],"kind":"episodic","subject":"brother"}]}"#,
];
const NANO_SYSTEM: &str = "Extract memories as JSON.";
const SCHEMA: &str = r#"{"type":"object","properties":{"facts":{"type":"array","maxItems":8,"items":{"type":"object","properties":{"basis":{"type":"string"},"category":{"enum":["identity","career","interests","relationships","health","finance","learning","travel","productivity","private"]},"kind":{"enum":["semantic","episodic"]},"subject":{"type":"string"}},"required":["basis","category","kind","subject"],"additionalProperties":false}}},"required":["facts"],"additionalProperties":false}"#;

/// A fact as a model proposes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) basis: String,
    /// Ascending, each once, at least one.
    pub(crate) categories: Vec<Category>,
    pub(crate) kind: Kind,
    pub(crate) subject: String,
}

/// An answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposal<F> {
    facts: Vec<F>,
}

/// A fact of an answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfOne {
    basis: String,
    category: Category,
    kind: Kind,
    subject: String,
}

/// The same where it may be of several categories.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfSeveral {
    basis: String,
    categories: Vec<Category>,
    kind: Kind,
    subject: String,
}

impl From<OfOne> for Candidate {
    fn from(fact: OfOne) -> Self {
        Self {
            basis: fact.basis,
            categories: vec![fact.category],
            kind: fact.kind,
            subject: fact.subject,
        }
    }
}

impl TryFrom<OfSeveral> for Candidate {
    type Error = String;

    fn try_from(fact: OfSeveral) -> Result<Self, String> {
        let mut categories = fact.categories;
        if categories.is_empty() || categories.len() > CATEGORIES_MAX {
            return Err(format!("a fact of {} categories", categories.len()));
        }
        categories.sort_unstable();
        categories.dedup();
        Ok(Self {
            basis: fact.basis,
            categories,
            kind: fact.kind,
            subject: fact.subject,
        })
    }
}

/// The lines of an episode: what its speaker said in their own words, in pieces that fit a prompt. None for those that are
/// no people.
pub(crate) fn lines(id: EpisodeId, episode: &Episode) -> Vec<Line> {
    if !episode.role.is_person() {
        return Vec::new();
    }
    let text = &episode.text;
    let mut hidden = speech::recalled_in(text);
    hidden.extend(speech::quoted_in(text));
    hidden.extend(speech::pasted_in(text, &episode.speaker));
    hidden.extend(secrets::find(text).into_iter().map(|one| one.bytes));
    let room = BYTES_PER_CALL - speaker(episode).len() - 2;
    let mut lines = Vec::new();
    for part in speech::outside(text, &speech::joined(hidden)) {
        for piece in pieces(text, part, room) {
            lines.push(Line {
                episode: id,
                start: offset(piece.start),
                end: offset(piece.end),
            });
        }
    }
    lines
}

/// Whole sentences, as many as fit. A sentence that does not fit is in no piece.
fn pieces(text: &str, part: Range<usize>, room: usize) -> Vec<Range<usize>> {
    if part.len() <= room {
        return vec![part];
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = part.start;
    while at < part.end {
        let first = at..at + text[at..].chars().next().map_or(1, char::len_utf8);
        let sentence = at..speech::sentence_around(text, &first)
            .end
            .clamp(first.end, part.end);
        at = sentence.end;
        if sentence.len() > room {
            continue;
        }
        match found.last_mut() {
            Some(last) if last.end == sentence.start && sentence.end - last.start <= room => {
                last.end = sentence.end;
            }
            _ => found.push(sentence),
        }
    }
    found
        .into_iter()
        .map(|piece| {
            let inside = &text[piece.clone()];
            let start = piece.start + (inside.len() - inside.trim_start().len());
            start..start + inside.trim().len()
        })
        .filter(|piece| text[piece.clone()].chars().any(char::is_alphabetic))
        .collect()
}

/// Lines in groups that one call is asked about.
pub(crate) fn windows(lines: &[(Line, usize)]) -> Vec<Vec<Line>> {
    let mut windows: Vec<Vec<Line>> = Vec::new();
    let mut bytes = 0;
    for (line, len) in lines {
        match windows.last_mut() {
            Some(last) if last.len() < LINES_PER_CALL && bytes + len <= BYTES_PER_CALL => {
                last.push(*line);
                bytes += len;
            }
            _ => {
                windows.push(vec![*line]);
                bytes = *len;
            }
        }
    }
    windows
}

/// What a speaker is called in a prompt.
pub(crate) fn speaker(episode: &Episode) -> String {
    match episode.role {
        Role::Owner => "user".to_owned(),
        Role::Assistant => "assistant".to_owned(),
        _ => {
            let name: String = episode
                .speaker
                .chars()
                .filter(|character| *character != ':' && !character.is_control())
                .take(40)
                .collect();
            let name = name.trim();
            // Nobody passes for the owner by being called so.
            if name.is_empty()
                || ["user", "assistant", "system"].contains(&name.to_lowercase().as_str())
            {
                "person".to_owned()
            } else {
                name.to_owned()
            }
        }
    }
}

/// One line of a prompt.
pub(crate) fn line_text(episode: &Episode, line: &Line) -> Option<String> {
    let words = episode
        .text
        .get(line.start as usize..line.end as usize)?
        .replace(['\n', '\r', '\t'], " ");
    Some(format!("{}: {words}", speaker(episode)))
}

/// The shape that a model is asked in.
pub(crate) fn shape(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Any => SHAPE,
        Dialect::Large => LARGE_SHAPE,
        Dialect::Nano => NANO_SHAPE,
    }
}

/// The question about these lines as a call of some shape asked it; none of a shape that is not of this kind.
pub(crate) fn asked(shape: &str, lines: &[String]) -> Option<Ask> {
    let mut messages = Vec::new();
    let form = match shape {
        SHAPE => {
            messages.push(said("system", INSTRUCTIONS.trim_end()));
            for (lines, answer) in EXAMPLES {
                messages.push(said("user", lines));
                messages.push(said("assistant", answer));
            }
            Form::Grammar(quotations::grammar(lines, Labels::OneCategory))
        }
        LARGE_SHAPE => {
            let instructions = INSTRUCTIONS
                .trim_end()
                .replacen(ONE_CATEGORY, CATEGORIES, 1);
            messages.push(said("system", &instructions));
            for ((lines, _), answer) in EXAMPLES.into_iter().zip(ANSWERS_OF_LARGE) {
                messages.push(said("user", lines));
                messages.push(said("assistant", answer));
            }
            Form::Grammar(quotations::grammar(lines, Labels::Categories))
        }
        NANO_SHAPE => {
            messages.push(said("system", NANO_SYSTEM));
            Form::Grammar(quotations::grammar(lines, Labels::OneCategory))
        }
        BY_SCHEMA => {
            messages.push(said("system", NANO_SYSTEM));
            Form::Schema(SCHEMA)
        }
        _ => return None,
    };
    messages.push(said("user", &lines.join("\n")));
    Some(Ask {
        messages,
        form,
        max_tokens: MAX_TOKENS,
    })
}

fn said(role: &'static str, content: &str) -> Message {
    Message {
        role,
        content: content.to_owned(),
    }
}

/// Reads the answer to a call of some shape. One that is not of the form is an error, not an empty list.
pub(crate) fn read(shape: &str, answer: &str) -> Result<Vec<Candidate>, String> {
    fn facts<F: DeserializeOwned>(answer: &str) -> Result<Vec<F>, String> {
        serde_json::from_str::<Proposal<F>>(answer)
            .map(|proposal| proposal.facts)
            .map_err(|error| error.to_string())
    }
    if shape == LARGE_SHAPE {
        return facts::<OfSeveral>(answer)?
            .into_iter()
            .map(Candidate::try_from)
            .collect();
    }
    Ok(facts::<OfOne>(answer)?
        .into_iter()
        .map(Candidate::from)
        .collect())
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("an episode's text is shorter than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::episode;

    fn shown(episode: &Episode) -> Vec<String> {
        lines(episode.id(), episode)
            .iter()
            .map(|line| line_text(episode, line).expect("a line of it"))
            .collect()
    }

    #[test]
    fn a_model_is_shown_what_people_say_themselves() {
        let text = format!(
            "I live in Ghent.\n{}\n> I am the king\nMy password is hunter2\nI like tea.",
            speech::recalled("user: I own a yacht")
        );
        assert_eq!(
            shown(&episode(Role::Owner, "Anna", &text)),
            [
                "user: I live in Ghent.",
                "user: My password is",
                "user: I like tea."
            ]
        );
        assert_eq!(
            shown(&episode(Role::Assistant, "bot", "You live in Ghent.")),
            [""; 0]
        );
        assert_eq!(
            shown(&episode(Role::Document, "mail", "I live in Ghent.")),
            [""; 0]
        );
        assert_eq!(
            shown(&episode(Role::Person, "User", "I live in Ghent.")),
            ["person: I live in Ghent."]
        );
    }

    #[test]
    fn long_turns_come_in_whole_sentences() {
        let text = format!("{} {}. End.", "I like tea. ".repeat(200), "x".repeat(2_000));
        let episode = episode(Role::Owner, "Anna", &text);
        let lines = shown(&episode);
        assert!(lines.len() > 2 && lines.iter().all(|line| line.len() <= BYTES_PER_CALL));
        assert!(lines[0].ends_with("I like tea."));
        assert!(lines.last().is_some_and(|last| last == "user: End."));
        assert!(!lines.iter().any(|line| line.contains("xxx")));
    }

    #[test]
    fn the_schema_is_json_and_an_answer_without_its_form_is_an_error() {
        assert!(serde_json::from_str::<serde_json::Value>(SCHEMA).is_ok());
        for shape in [SHAPE, LARGE_SHAPE, NANO_SHAPE, BY_SCHEMA] {
            assert_eq!(read(shape, r#"{"facts":[]}"#), Ok(vec![]));
            assert!(read(shape, "").is_err());
            assert!(read(shape, r#"{"facts":[{"basis":"x"}]}"#).is_err());
        }
    }

    #[test]
    fn a_fact_of_a_large_model_is_of_one_to_three_categories_in_their_order() {
        let answer = |labels: &str| {
            format!(r#"{{"facts":[{{"basis":"x",{labels},"kind":"semantic","subject":"user"}}]}}"#)
        };
        let read = |shape, labels| read(shape, &answer(labels));
        let several = r#""categories":["health","identity","health"]"#;
        let one = r#""category":"health""#;
        let found = read(LARGE_SHAPE, several).expect("of the form");
        assert_eq!(found[0].categories, [Category::Identity, Category::Health]);
        assert!(read(SHAPE, several).is_err());
        assert!(read(LARGE_SHAPE, one).is_err());
        let found = read(SHAPE, one).expect("of the form");
        assert_eq!(found[0].categories, [Category::Health]);
        for labels in [
            r#""categories":[]"#,
            r#""categories":["health","travel","career","finance"]"#,
        ] {
            assert!(read(LARGE_SHAPE, labels).is_err(), "{labels}");
        }
    }

    #[test]
    fn the_examples_quote_their_lines_and_are_of_the_form() {
        let small = EXAMPLES.map(|(lines, answer)| (SHAPE, lines, answer));
        let large = EXAMPLES.into_iter().zip(ANSWERS_OF_LARGE);
        let large = large.map(|((lines, _), answer)| (LARGE_SHAPE, lines, answer));
        for (shape, lines, answer) in small.into_iter().chain(large) {
            let lines: Vec<&str> = lines.lines().collect();
            for fact in read(shape, answer).expect("of the form") {
                let line = lines
                    .iter()
                    .find(|line| line.contains(&fact.basis))
                    .expect("quoted");
                let (speaker, words) = line.split_once(": ").expect("SPEAKER: words");
                assert!(fact.subject == speaker || words.contains(&fact.subject));
            }
        }
    }

    #[test]
    fn a_model_is_asked_in_the_shape_that_its_record_names() {
        let lines = ["user: I live in Ghent.".to_owned()];
        let ask = |shape| asked(shape, &lines).expect("a shape of this kind");
        for dialect in [Dialect::Any, Dialect::Large, Dialect::Nano] {
            let ask = ask(shape(dialect));
            assert_eq!(ask.messages.last().map(|one| &one.content), lines.first());
            assert!(matches!(ask.form, Form::Grammar(_)));
        }
        assert_eq!(ask(NANO_SHAPE).messages.len(), 2);
        assert_eq!(ask(SHAPE).messages.len(), 8);
        assert_eq!(ask(LARGE_SHAPE).messages.len(), 8);
        let told = |shape: &'static str| ask(shape).messages[0].content.clone();
        assert!(told(SHAPE).contains(ONE_CATEGORY) && !told(LARGE_SHAPE).contains(ONE_CATEGORY));
        assert!(told(LARGE_SHAPE).contains(CATEGORIES));
        assert_eq!(ask(BY_SCHEMA).messages, ask(NANO_SHAPE).messages);
        assert_eq!(asked("tally-label/1", &lines), None);
    }
}

//! A bio in a model's words: how it is asked for, and which of its sentences are taken.
//!
//! A model is shown facts about the owner by small numbers from 1, and answers with sentences, each with the numbers that it
//! rests on. It may order and join them, and no more: a sentence is the words of its facts, each fact whole and in its order,
//! about the owner in the third person ("they" for "I"), with [`JOINERS`] between. So every name, number and date in it was
//! said, and nothing is denied, or said of somebody, that was not. A sentence that is anything else is stopped by one of
//! [`Stop`], and code's own rendering takes its place (`memory/phrasing.rs`).

use std::ops::Range;

use serde::Deserialize;

use crate::model::{Ask, Form, Message};
use crate::record::Modality;
use crate::{secrets, speech};

/// The name of this shape, in records of calls. Its words are part of it: other words, another number.
pub const SHAPE: &str = "tally-phrase/1";
/// Most facts of one prompt.
pub(crate) const FACTS_MAX: usize = 64;
/// Most bytes of a sentence.
const SENTENCE_MAX: usize = 600;
/// Tokens of an answer: for its form and each of its facts. A fact has some twelve words, and a sentence's form costs as much.
const TOKENS: (u32, u32) = (128, 48);
const TOKENS_MAX: u32 = 1_536;

const SYSTEM: &str = "Write a short biography of a person from numbered facts that they stated. Answer with JSON: sentences, each with the numbers of the facts that it says. Take the words of each fact whole and in their order, and only turn them into the third person: they for I, them for me, their for my, they are for I'm. Put facts that belong together into one sentence, with commas, \"and\" or \"also\" between them; after the first of them \"they\" may be left out. Add no other word: no name, no number, no explanation. Say each fact once.";
/// Facts, and what is to be answered.
const EXAMPLE_FACTS: [&str; 3] = [
    "I live in Ghent",
    "my dog is called Rex",
    "I'm allergic to peanuts",
];
const EXAMPLE_ANSWER: &str = r#"{"sentences":[{"facts":[1,3],"sentence":"They live in Ghent and are allergic to peanuts."},{"facts":[2],"sentence":"Their dog is called Rex."}]}"#;
const SCHEMA: &str = r#"{"type":"object","properties":{"sentences":{"type":"array","maxItems":64,"items":{"type":"object","properties":{"facts":{"type":"array","minItems":1,"maxItems":8,"items":{"type":"integer","minimum":1,"maximum":64}},"sentence":{"type":"string"}},"required":["facts","sentence"],"additionalProperties":false}}},"required":["sentences"],"additionalProperties":false}"#;

/// Words that may stand between those of facts. None of them denies, asks, supposes or says when.
const JOINERS: [&str; 5] = ["and", "also", "too", "furthermore", "moreover"];

/// A sentence as a model proposes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proposed {
    pub(crate) facts: Vec<u32>,
    pub(crate) sentence: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposal {
    sentences: Vec<Proposed>,
}

/// A fact as a sentence may say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) text: &'a str,
    /// Whether it was planned.
    pub(crate) planned: bool,
}

/// Why a model's sentence was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stop {
    /// It rests on nothing.
    NoFacts,
    /// It rests on a number that the model was not given.
    UnknownFact,
    /// A fact of it was said before.
    Repeated,
    /// More than a sentence.
    TooLong,
    /// A secret.
    Secret,
    /// A word of it stands in none of its facts, or not in their order.
    NotSaid,
    /// Words of its facts are missing.
    LeftOut,
    /// It reads as if a fact were denied or planned that is not, or the other way round.
    Denial,
}

impl Stop {
    /// Its name, in records and for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoFacts => "no-facts",
            Self::UnknownFact => "unknown-fact",
            Self::Repeated => "repeated",
            Self::TooLong => "too-long",
            Self::Secret => "secret",
            Self::NotSaid => "not-said",
            Self::LeftOut => "left-out",
            Self::Denial => "denial",
        }
    }
}

/// The question about these facts; none if the shape is another.
pub(crate) fn asked(shape: &str, facts: &[String]) -> Option<Ask> {
    if shape != SHAPE {
        return None;
    }
    let said = |role, content: String| Message { role, content };
    let example: Vec<String> = EXAMPLE_FACTS.map(str::to_owned).to_vec();
    let count = u32::try_from(facts.len()).unwrap_or(u32::MAX);
    Some(Ask {
        messages: vec![
            said("system", SYSTEM.to_owned()),
            said("user", numbered(&example)),
            said("assistant", EXAMPLE_ANSWER.to_owned()),
            said("user", numbered(facts)),
        ],
        form: Form::Schema(SCHEMA),
        max_tokens: TOKENS_MAX.min(TOKENS.0.saturating_add(TOKENS.1.saturating_mul(count))),
    })
}

fn numbered(facts: &[String]) -> String {
    let lines: Vec<String> = (1..)
        .zip(facts)
        .map(|(number, text)| format!("[{number}] {}", text.replace(['\n', '\r', '\t'], " ")))
        .collect();
    lines.join("\n")
}

/// Reads an answer; none if it is not of the form.
pub(crate) fn read(answer: &str) -> Option<Vec<Proposed>> {
    let read: Proposal = serde_json::from_str(answer).ok()?;
    Some(read.sentences)
}

/// The sentence as it is given out, if it says these facts and nothing else.
pub(crate) fn judge(sentence: &str, facts: &[Told<'_>]) -> Result<String, Stop> {
    if facts.is_empty() {
        return Err(Stop::NoFacts);
    }
    if sentence.len() > SENTENCE_MAX {
        return Err(Stop::TooLong);
    }
    let sentence = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
    if !secrets::find(&sentence).is_empty() {
        return Err(Stop::Secret);
    }
    let runs = runs(&words(&sentence), facts)?;
    let is_plain =
        |one: &Told<'_>| !one.planned && speech::modality(one.text, one.text) == Modality::Asserted;
    let are_plain = facts.iter().all(is_plain);
    for run in &runs {
        // Without its subject a clause goes on with the one before: "They don't study and work at Google".
        if (run.goes_on && !are_plain)
            || speech::leaves_a_denial_out(&sentence[run.bytes.clone()], &sentence)
        {
            return Err(Stop::Denial);
        }
    }
    let mut sentence = sentence.trim_end_matches([',', ';', ':', ' ']).to_owned();
    if !sentence.ends_with(['.', '!', '…']) {
        sentence.push('.');
    }
    Ok(sentence)
}

/// The words of one fact in a sentence.
struct Run {
    bytes: Range<usize>,
    /// Whether it has no subject of its own: that of the run before it is meant.
    goes_on: bool,
}

/// The words of a sentence as those of its facts, each once, with nothing but joiners between.
fn runs(said: &[Word], facts: &[Told<'_>]) -> Result<Vec<Run>, Stop> {
    let mut left: Vec<Vec<String>> = facts.iter().map(|one| third_person(one.text)).collect();
    let mut runs: Vec<Run> = Vec::new();
    let mut is_owner = false;
    let mut rest = said;
    while let Some(first) = rest.first() {
        // Of several that fit the longest: the others may be the beginning of it.
        let next = left
            .iter()
            .enumerate()
            .filter_map(|(at, fact)| {
                if begins(rest, fact) {
                    return Some((fact.len(), at, false));
                }
                let (subject, predicate) = fact.split_first()?;
                let goes_on = is_owner && subject == "they" && !predicate.is_empty();
                (goes_on && begins(rest, predicate)).then_some((predicate.len(), at, true))
            })
            .max();
        match next {
            Some((len, at, goes_on)) => {
                runs.push(Run {
                    bytes: first.bytes.start..rest[len - 1].bytes.end,
                    goes_on,
                });
                let fact = left.swap_remove(at);
                is_owner = fact.first().is_some_and(|subject| subject == "they");
                rest = &rest[len..];
            }
            None if JOINERS.contains(&first.text.as_str()) => rest = &rest[1..],
            None => return Err(Stop::NotSaid),
        }
    }
    if left.is_empty() {
        Ok(runs)
    } else {
        Err(Stop::LeftOut)
    }
}

/// Whether words begin with these, of which there is at least one.
fn begins(said: &[Word], fact: &[String]) -> bool {
    !fact.is_empty()
        && said.len() >= fact.len()
        && said.iter().zip(fact).all(|(said, word)| said.text == *word)
}

struct Word {
    /// In lower case, without the marks behind it.
    text: String,
    bytes: Range<usize>,
}

/// The words of a text. Marks of sentences behind a word are no part of it; every other character is, so that `5%`, `-5` and
/// `Ghent?` are none of `5` and `Ghent`. Of "I'm" and its like the two words.
fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut at = 0;
    for part in text.split_whitespace() {
        let start = text[at..].find(part).map_or(at, |from| at + from);
        at = start + part.len();
        let bare = part.trim_end_matches(['.', ',', ';', ':', '!', '…']);
        let lower = bare.replace('’', "'").to_lowercase();
        let two = match lower.as_str() {
            "" => continue,
            "i'm" => Some(("i", "am")),
            "i've" => Some(("i", "have")),
            "i'll" => Some(("i", "will")),
            "they're" => Some(("they", "are")),
            "they've" => Some(("they", "have")),
            "they'll" => Some(("they", "will")),
            _ => None,
        };
        let texts = match two {
            Some((first, second)) => vec![first.to_owned(), second.to_owned()],
            None => vec![lower],
        };
        found.extend(texts.into_iter().map(|text| Word {
            text,
            bytes: start..start + bare.len(),
        }));
    }
    found
}

/// What the owner says, as it is said of them.
fn third_person(text: &str) -> Vec<String> {
    let own = words(text);
    let mut told = Vec::with_capacity(own.len());
    let mut is_after_i = false;
    for word in own {
        let other = match word.text.as_str() {
            "i" => "they",
            "me" => "them",
            "my" => "their",
            "mine" => "theirs",
            "myself" => "themselves",
            "i'd" => "they'd",
            "am" if is_after_i => "are",
            "was" if is_after_i => "were",
            "wasn't" if is_after_i => "weren't",
            same => same,
        };
        told.push(other.to_owned());
        is_after_i = word.text == "i";
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(sentence: &str, facts: &[&str]) -> Result<String, Stop> {
        let facts: Vec<Told<'_>> = facts
            .iter()
            .map(|&text| Told {
                text,
                planned: false,
            })
            .collect();
        judge(sentence, &facts)
    }

    #[test]
    fn the_example_is_of_the_form_and_says_its_facts() {
        assert!(serde_json::from_str::<serde_json::Value>(SCHEMA).is_ok());
        for one in read(EXAMPLE_ANSWER).expect("of the form") {
            let facts: Vec<&str> = one
                .facts
                .iter()
                .map(|number| EXAMPLE_FACTS[*number as usize - 1])
                .collect();
            assert_eq!(judged(&one.sentence, &facts), Ok(one.sentence));
        }
        let ask = asked(SHAPE, &["I eat\nmeat".to_owned()]).expect("of this shape");
        assert_eq!(
            ask.messages.last().map(|one| one.content.as_str()),
            Some("[1] I eat meat")
        );
        assert_eq!(asked("tally-label/1", &[]), None);
        assert_eq!(read(""), None);
        assert_eq!(read(r#"{"sentences":[]}"#), Some(vec![]));
    }

    #[test]
    fn a_sentence_joins_facts_in_the_third_person_and_does_nothing_else() {
        for (sentence, facts) in [
            (
                "They are a nurse, live in Ghent and also have two cats.",
                &["I live in Ghent", "I've two cats", "I'm a nurse"][..],
            ),
            ("Their boss hates them.", &["My boss hates me"][..]),
            (
                "They don't eat meat, and they live in Ghent.",
                &["I live in Ghent", "I don't eat meat"][..],
            ),
            ("They were a baker.", &["I was a baker"][..]),
            ("Ich wohne in Gent.", &["Ich wohne in Gent"][..]),
        ] {
            assert_eq!(
                judged(sentence, facts).as_deref(),
                Ok(sentence),
                "{sentence}"
            );
        }
        assert_eq!(
            judged("They live\nin  Ghent,", &["I live in Ghent"]).as_deref(),
            Ok("They live in Ghent.")
        );
    }

    #[test]
    fn a_sentence_that_says_anything_else_is_stopped_by_name() {
        let live = &["I live in Ghent"][..];
        for (sentence, facts, stop) in [
            ("They live in Ghent.", &live[..0], Stop::NoFacts),
            ("Anna lives in Ghent.", live, Stop::NotSaid),
            ("They live in Ghent with Anna.", live, Stop::NotSaid),
            ("They live in Rome.", live, Stop::NotSaid),
            ("They do not live in Ghent.", live, Stop::NotSaid),
            ("They lived in Ghent.", live, Stop::NotSaid),
            ("They live in Ghent since 2019.", live, Stop::NotSaid),
            ("They live in Ghent?", live, Stop::NotSaid),
            ("They “live” in Ghent.", live, Stop::NotSaid),
            ("I live in Ghent.", live, Stop::NotSaid),
            ("And also.", live, Stop::LeftOut),
            ("", live, Stop::LeftOut),
            ("They eat meat.", &["I don't eat meat"][..], Stop::NotSaid),
            ("They have 3 cats.", &["I have 2 cats"][..], Stop::NotSaid),
            ("It is 5 degrees.", &["It is -5 degrees"][..], Stop::NotSaid),
            (
                "They like coffee and hate tea.",
                &["I like tea and hate coffee"][..],
                Stop::NotSaid,
            ),
            // What was cut off turns it round.
            (
                "They live in Ghent.",
                &["I live in Ghent, not in Brussels"][..],
                Stop::NotSaid,
            ),
            // Whose it is, and what is denied.
            (
                "Their dog is Rex and work at Initech.",
                &["my dog is Rex", "I work at Initech"][..],
                Stop::NotSaid,
            ),
            (
                "They don't study and work at Initech.",
                &["I don't study", "I work at Initech"][..],
                Stop::Denial,
            ),
        ] {
            assert_eq!(judged(sentence, facts), Err(stop), "{sentence}");
        }
        let long = "and ".repeat(200);
        assert_eq!(judged(&long, live), Err(Stop::TooLong));
        let card = "They pay with 4111 1111 1111 1111.";
        assert_eq!(
            judged(card, &["I pay with 4111 1111 1111 1111"]),
            Err(Stop::Secret)
        );
    }

    #[test]
    fn a_plan_does_not_spread_to_what_is_so() {
        let facts = [
            Told {
                text: "I'm moving to Rome",
                planned: true,
            },
            Told {
                text: "I work at Initech",
                planned: false,
            },
        ];
        assert_eq!(
            judge("They are moving to Rome and work at Initech.", &facts),
            Err(Stop::Denial)
        );
        let apart = "They are moving to Rome, and they work at Initech.";
        assert_eq!(judge(apart, &facts).as_deref(), Ok(apart));
    }
}

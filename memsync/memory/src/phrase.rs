//! A bio in a model's words: how it is asked for, and which of its sentences are taken.
//!
//! A model is shown facts about the owner by small numbers from 1, and answers with sentences, each with the numbers that it
//! rests on. It may order and join them, and no more: a sentence is the words of its facts, each fact whole and in its order,
//! about the owner in the third person ("they" for "I"), with [`JOINERS`] between. Only facts that begin with "I" are joined, each
//! with its own "they" behind a mark, so that nothing is denied, or said of somebody, by what stands beside it. What is given
//! out has the capitals and marks of the facts, whatever the model wrote, and a full stop where it wrote a comma between two. A
//! fact that would say something else in the third person, or points to what another fact may be about, is put into no sentence
//! ([`is_clear`]). A sentence that is anything else is stopped by one of [`Stop`], and code's own rendering takes its place
//! (`memory/phrasing.rs`).

use std::ops::Range;

use serde::Deserialize;

use crate::model::{Ask, Form, Message};
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

const SYSTEM: &str = "Write a short biography of a person from numbered facts that they stated. Answer with JSON: sentences, each with the numbers of the facts that it says. Take the words of each fact whole and in their order, and only turn them into the third person: they for I, them for me, their for my, they are for I'm. Facts that begin with I and belong together may stand in one sentence, each with its own \"they\" after a comma and \"and\"; every other fact is a sentence of its own. Add no other word: no name, no number, no explanation. Say each fact once.";
/// Facts, and what is to be answered.
const EXAMPLE_FACTS: [&str; 3] = [
    "I live in Ghent",
    "my dog is called Rex",
    "I'm allergic to peanuts",
];
const EXAMPLE_ANSWER: &str = r#"{"sentences":[{"facts":[1,3],"sentence":"They live in Ghent, and they are allergic to peanuts."},{"facts":[2],"sentence":"Their dog is called Rex."}]}"#;
const SCHEMA: &str = r#"{"type":"object","properties":{"sentences":{"type":"array","maxItems":64,"items":{"type":"object","properties":{"facts":{"type":"array","minItems":1,"maxItems":8,"items":{"type":"integer","minimum":1,"maximum":64}},"sentence":{"type":"string"}},"required":["facts","sentence"],"additionalProperties":false}}},"required":["sentences"],"additionalProperties":false}"#;

/// Words that may stand between those of facts. None of them denies, asks, supposes, weighs or says when, and none means anything
/// else before the words of a fact.
const JOINERS: [&str; 4] = ["and", "also", "furthermore", "moreover"];
/// Marks of which one ends each fact of a sentence but the last: without it, "They hope so" and "they live in Ghent" were one.
const JOINTS: [&str; 3] = [",", ";", "."];
/// Marks behind a word that are no part of it.
const MARKS: [char; 6] = ['.', ',', ';', ':', '!', '…'];
/// Words for others than the owner that would be taken for the owner's.
const OTHERS: [&str; 5] = ["they", "them", "their", "theirs", "themselves"];
/// Words of the first and second person that have no third one here: of more than the owner, of whoever was spoken to, and one that
/// may be a pit.
const NEVER: [&str; 9] = [
    "mine",
    "we",
    "our",
    "ours",
    "ourselves",
    "you",
    "your",
    "yours",
    "yourself",
];
/// Words that point to what was said before, which may be another fact here than it was there.
const POINTERS: [&str; 17] = [
    "he", "she", "him", "her", "his", "hers", "it", "its", "there", "this", "that", "these",
    "those", "then", "one", "ones", "both",
];
/// Words for the owner that are turned into the third person.
const OWN: [&str; 8] = ["i", "i'd", "i'm", "i've", "i'll", "me", "my", "myself"];

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
    /// A fact that does not begin with "I" stands beside another: it is not clear whose "they" and "their" are.
    Whose,
    /// It reads as if a fact were denied that is not.
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
            Self::Whose => "whose",
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

/// Whether a sentence can say a fact: one in English, as the third person is English, in which nobody else is "they".
pub(crate) fn may_say(fact: &str) -> bool {
    Clause::of(fact).is_some()
}

/// The sentence as it is given out, if it says these facts and nothing else.
pub(crate) fn judge(sentence: &str, facts: &[&str]) -> Result<String, Stop> {
    if facts.is_empty() {
        return Err(Stop::NoFacts);
    }
    if sentence.len() > SENTENCE_MAX {
        return Err(Stop::TooLong);
    }
    let clauses: Vec<Clause> = facts
        .iter()
        .map(|fact| Clause::of(fact).ok_or(Stop::NotSaid))
        .collect::<Result<_, Stop>>()?;
    let runs = runs(&words(sentence), clauses)?;
    if runs.len() > 1 && !runs.iter().all(|run| run.clause.is_owners) {
        return Err(Stop::Whose);
    }
    let (text, ranges) = rendered(&runs);
    if !secrets::find(&text).is_empty() {
        return Err(Stop::Secret);
    }
    if ranges
        .into_iter()
        .any(|range| speech::leaves_a_denial_out(&text[range], &text))
    {
        return Err(Stop::Denial);
    }
    Ok(text)
}

/// Facts in their order, as a sentence; and where each stands in it.
fn rendered(runs: &[Run]) -> (String, Vec<Range<usize>>) {
    let mut text = String::new();
    let mut ranges = Vec::with_capacity(runs.len());
    for run in runs {
        let mut told = run.clause.text.clone();
        match run.mark.as_str() {
            // Behind a comma it may go on with what stands before: "They told Anna, they are pregnant."
            "" | "." | "," => {
                if !text.is_empty() {
                    text.push_str(". ");
                }
                told = capital(&told);
            }
            mark => {
                text.push_str(mark);
                text.push_str(&run.joiners);
                text.push(' ');
            }
        }
        ranges.push(text.len()..text.len() + told.len());
        text.push_str(&told);
    }
    text.push('.');
    (text, ranges)
}

/// A text with its first letter large.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// A fact in a sentence.
struct Run {
    /// What ends the one before it; nothing before the first.
    mark: String,
    /// Words between that mark and this fact, a space before each.
    joiners: String,
    clause: Clause,
}

/// The words of a sentence as those of its facts, each once, with nothing but joiners between.
fn runs(said: &[Word<'_>], mut left: Vec<Clause>) -> Result<Vec<Run>, Stop> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut mark, mut joiners) = ("", String::new());
    let mut rest = said;
    while let Some(first) = rest.first() {
        // Of several that fit the longest: the others may be the beginning of it.
        let next = left
            .iter()
            .enumerate()
            .filter(|(_, clause)| clause.begins(rest))
            .map(|(at, clause)| (clause.words.len(), at))
            .max();
        match next {
            Some(_) if !runs.is_empty() && !JOINTS.contains(&mark) => return Err(Stop::NotSaid),
            Some((len, at)) => {
                runs.push(Run {
                    mark: mark.to_owned(),
                    joiners: std::mem::take(&mut joiners),
                    clause: left.swap_remove(at),
                });
                mark = rest[len - 1].marks.as_str();
                rest = &rest[len..];
            }
            None if JOINERS.contains(&first.text.as_str()) => {
                joiners.push(' ');
                joiners.push_str(&first.text);
                rest = &rest[1..];
            }
            None => return Err(Stop::NotSaid),
        }
    }
    if left.is_empty() {
        Ok(runs)
    } else {
        Err(Stop::LeftOut)
    }
}

struct Word<'a> {
    /// In lower case, without the marks behind it.
    text: String,
    /// As it was written, without the marks behind it.
    written: &'a str,
    /// The marks behind it.
    marks: String,
}

/// The words of a text. Marks of sentences behind a word are no part of it; every other character is, so that `5%`, `-5` and
/// `Ghent?` are none of `5` and `Ghent`. Of "I'm" and its like the two words.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut found: Vec<Word<'_>> = Vec::new();
    for part in text.split_whitespace() {
        let written = part.trim_end_matches(MARKS);
        let marks = &part[written.len()..];
        let lower = written.replace('’', "'").to_lowercase();
        let two = match lower.as_str() {
            "" => {
                if let Some(before) = found.last_mut() {
                    before.marks.push_str(marks);
                }
                continue;
            }
            "i'm" => Some(("i", "am")),
            "i've" => Some(("i", "have")),
            "i'll" => Some(("i", "will")),
            "they're" => Some(("they", "are")),
            "they've" => Some(("they", "have")),
            "they'll" => Some(("they", "will")),
            _ => None,
        };
        let (text, written) = match two {
            Some((subject, verb)) => {
                found.push(Word {
                    text: subject.to_owned(),
                    written: subject,
                    marks: String::new(),
                });
                (verb.to_owned(), verb)
            }
            None => (lower, written),
        };
        found.push(Word {
            text,
            written,
            marks: marks.to_owned(),
        });
    }
    found
}

/// What the owner says, as it is said of them.
struct Clause {
    /// What a sentence has to say, in lower case and without marks.
    words: Vec<String>,
    /// The same as it is given out, with the capitals and the marks of the fact, but for the marks at its end.
    text: String,
    /// Whether it begins with "I".
    is_owners: bool,
}

impl Clause {
    /// None of a fact that no sentence can say.
    fn of(fact: &str) -> Option<Self> {
        let own = words(fact);
        let is_owners = matches!(own.first()?.text.as_str(), "i" | "i'd");
        if !is_clear(fact, is_owners) || !speech::is_english(fact) {
            return None;
        }
        let mut clause = Self {
            words: Vec::with_capacity(own.len()),
            text: String::with_capacity(fact.len()),
            is_owners,
        };
        let (mut is_after_i, mut marks) = (false, "");
        for word in &own {
            let told = match word.text.as_str() {
                "i" => "they",
                "me" => "them",
                "my" => "their",
                "myself" => "themselves",
                "i'd" => "they'd",
                "am" if is_after_i => "are",
                "was" if is_after_i => "were",
                "wasn't" if is_after_i => "weren't",
                same => same,
            };
            if !clause.words.is_empty() {
                clause.text.push_str(marks);
                clause.text.push(' ');
            }
            clause.text.push_str(if told == word.text {
                word.written
            } else {
                told
            });
            clause.words.push(told.to_owned());
            marks = &word.marks;
            is_after_i = word.text == "i";
        }
        Some(clause)
    }

    /// Whether words begin with those of this one.
    fn begins(&self, said: &[Word<'_>]) -> bool {
        said.len() >= self.words.len()
            && said
                .iter()
                .zip(&self.words)
                .all(|(said, word)| said.text == *word)
    }
}

/// Whether a fact says the same in the third person, by itself and beside others. Whose "I" and "my" are is sure where it begins with
/// "I", and for its first word; behind that they may be somebody's whom it is about: "My parents say I drink", "Anna said: I drink".
fn is_clear(fact: &str, is_owners: bool) -> bool {
    fact.split_whitespace().enumerate().all(|(at, word)| {
        let word = word.replace('’', "'");
        let written = word.trim_end_matches(MARKS).to_lowercase();
        word.split(|letter: char| !letter.is_alphanumeric() && letter != '\'')
            .map(|part| part.trim_matches('\''))
            .all(|part| {
                let lower = part.to_lowercase();
                // "They're", "that's".
                let of = lower.split('\'').next().unwrap_or_default();
                if OTHERS.contains(&of) || NEVER.contains(&of) || POINTERS.contains(&of) {
                    return false;
                }
                match lower.as_str() {
                    "us" => part == "US",
                    // What is glued to something is not turned into the third person.
                    own if OWN.contains(&own) => {
                        written == own && (is_owners || at == 0 || own == "me")
                    }
                    _ => of != "i",
                }
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_of_the_form_and_says_its_facts() {
        assert!(serde_json::from_str::<serde_json::Value>(SCHEMA).is_ok());
        for one in read(EXAMPLE_ANSWER).expect("of the form") {
            let facts: Vec<&str> = one
                .facts
                .iter()
                .map(|number| EXAMPLE_FACTS[*number as usize - 1])
                .collect();
            let given = one.sentence.replace(", and they", ". They");
            assert_eq!(judge(&one.sentence, &facts), Ok(given));
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
        for (sentence, facts, given) in [
            (
                "They are a nurse, they live in Ghent, and also they have two cats.",
                &["I live in Ghent", "I've two cats", "I'm a nurse"][..],
                "They are a nurse. They live in Ghent. They have two cats.",
            ),
            (
                "Their boss hates them.",
                &["My boss hates me"][..],
                "Their boss hates them.",
            ),
            (
                "They don't eat meat, and they live in Ghent.",
                &["I live in Ghent", "I don't eat meat"][..],
                "They don't eat meat. They live in Ghent.",
            ),
            (
                "They have told Anna, they are pregnant.",
                &["I have told Anna", "I'm pregnant"][..],
                "They have told Anna. They are pregnant.",
            ),
            (
                "They were a baker.",
                &["I was a baker"][..],
                "They were a baker.",
            ),
            (
                "They refuse to drink alcohol; they eat meat. They were a baker.",
                &["I eat meat", "I was a baker", "I refuse to drink alcohol"][..],
                "They refuse to drink alcohol; they eat meat. They were a baker.",
            ),
        ] {
            assert_eq!(judge(sentence, facts).as_deref(), Ok(given), "{sentence}");
        }
        assert_eq!(
            judge("They live\nin  Ghent,", &["I live in Ghent"]).as_deref(),
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
            (
                "They have 5 euros.",
                &["I have -5 euros"][..],
                Stop::NotSaid,
            ),
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
                "They don't study; also they work at Initech.",
                &["I don't study", "I work at Initech"][..],
                Stop::Denial,
            ),
        ] {
            assert_eq!(judge(sentence, facts), Err(stop), "{sentence}");
        }
        let long = "and ".repeat(200);
        assert_eq!(judge(&long, live), Err(Stop::TooLong));
        let card = "They pay with 4111 1111 1111 1111.";
        assert_eq!(
            judge(card, &["I pay with 4111 1111 1111 1111"]),
            Err(Stop::Secret)
        );
    }

    #[test]
    fn no_fact_of_a_sentence_goes_on_with_the_one_before() {
        for (joined, apart, facts) in [
            (
                "They refuse to drink alcohol and eat meat.",
                "They refuse to drink alcohol, and they eat meat.",
                ["I refuse to drink alcohol", "I eat meat"],
            ),
            (
                "They have a sister who was in prison and worked at Initech.",
                "They have a sister who was in prison, and they worked at Initech.",
                ["I have a sister who was in prison", "I worked at Initech"],
            ),
            (
                "They don't study and work at Initech.",
                "They don't study, and they work at Initech.",
                ["I don't study", "I work at Initech"],
            ),
            (
                "They are moving to Rome and work at Initech.",
                "They are moving to Rome, and they work at Initech.",
                ["I'm moving to Rome", "I work at Initech"],
            ),
            // Its own subject alone is not enough.
            (
                "They think they have a cold and they work at Initech.",
                "They think they have a cold, and they work at Initech.",
                ["I think I have a cold", "I work at Initech"],
            ),
            (
                "They hope so they live in Ghent.",
                "They hope so, they live in Ghent.",
                ["I hope so", "I live in Ghent"],
            ),
        ] {
            assert_eq!(judge(joined, &facts), Err(Stop::NotSaid), "{joined}");
            let given = apart
                .replace(", and they", ". They")
                .replace(", they", ". They");
            assert_eq!(judge(apart, &facts), Ok(given));
        }
    }

    #[test]
    fn they_are_the_owner_and_nobody_else() {
        for (sentence, facts) in [
            (
                "They live in Ghent and fired them.",
                &["I live in Ghent", "They fired me"][..],
            ),
            ("They fired them.", &["They fired me"][..]),
            ("They like their dog.", &["I like their dog"][..]),
            ("They think they'd win.", &["I think they'd win"][..]),
        ] {
            assert_eq!(judge(sentence, facts), Err(Stop::NotSaid), "{sentence}");
        }
        for (sentence, facts) in [
            (
                "Their parents are divorced, and they live in Rome.",
                ["My parents are divorced", "I live in Rome"],
            ),
            (
                "They have two sisters, and their dog is Rex.",
                ["I have two sisters", "my dog is Rex"],
            ),
            (
                "Their parents are divorced, and their dog is Rex.",
                ["My parents are divorced", "my dog is Rex"],
            ),
        ] {
            assert_eq!(judge(sentence, &facts), Err(Stop::Whose), "{sentence}");
        }
    }

    #[test]
    fn the_marks_and_capitals_of_a_fact_are_its_own() {
        for (sentence, facts, given) in [
            (
                "Their sister, says Tom, is a liar.",
                &["My sister says Tom is a liar"][..],
                "Their sister says Tom is a liar.",
            ),
            (
                "they live in the us. also they have a cat",
                &["I live in the US", "I have a cat!"][..],
                "They live in the US. They have a cat.",
            ),
            (
                "They live in Ghent not in Brussels.",
                &["I live in Ghent, not in Brussels"][..],
                "They live in Ghent, not in Brussels.",
            ),
            (
                "They ARE a nurse .",
                &["I'm a nurse"][..],
                "They are a nurse.",
            ),
            (
                "Also, they live in Ghent,",
                &["I live in Ghent"][..],
                "They live in Ghent.",
            ),
        ] {
            assert_eq!(judge(sentence, facts).as_deref(), Ok(given), "{sentence}");
        }
    }

    #[test]
    fn what_says_something_else_in_the_third_person_or_points_elsewhere_is_not_put_into_words() {
        for fact in [
            // Whose.
            "My parents sold my car",
            "My parents say I drink too much",
            "Anna told me: I love Ghent",
            "Anna told me: I love you",
            "I work with two men (they fired Anna)",
            "I work with two men who say they're rich",
            "I work with Tom/them",
            // First person left, or another word.
            "We live in Ghent",
            "Tom lives with us",
            "I like you",
            "I live in Ghent (I moved in 2019)",
            "I sold a car (my own)",
            "I said “I love Ghent”",
            "I'd've stayed in Ghent",
            "I work in a mine",
            // Elsewhere.
            "I moved there in 2019",
            "I hate her",
            "It's my birthday",
            "I like this",
            "I have one",
        ] {
            assert!(!may_say(fact), "{fact}");
        }
        for fact in [
            "I live in the US",
            "I think I have a cold",
            "I'd like to sell my car",
            "my parents sold the car",
            "My boss hates me.",
            "I live in Ghent (since 2019)",
            "my dog hates Tom's cat",
        ] {
            assert!(may_say(fact), "{fact}");
        }
    }

    #[test]
    fn a_joiner_is_no_word_of_what_follows_it() {
        assert_eq!(
            judge(
                "They love Ghent, too much of their salary goes to their ex.",
                &["I love Ghent", "much of my salary goes to my ex"]
            ),
            Err(Stop::NotSaid)
        );
    }

    #[test]
    fn what_is_said_in_another_language_is_not_put_into_the_third_person_of_english() {
        for (sentence, fact) in [
            ("Them gusta el café.", "Me gusta el café"),
            ("Ich wohne in Gent.", "Ich wohne in Gent"),
        ] {
            assert!(!may_say(fact), "{fact}");
            assert_eq!(judge(sentence, &[fact]), Err(Stop::NotSaid));
        }
        assert!(may_say("I live in Ghent"));
    }
}

//! A bio in a model's words, where somebody asks for one.
//!
//! What the bio says is chosen by code (`profile.rs`), and a model is asked to order and join it. Each of its sentences is held
//! against the facts that it names (`phrase.rs`); where one does not say them, code's own rendering of them takes its place, and so
//! for what no sentence names. So the bio says each fact once, whatever the model does, and says of each sentence whose it is.
//!
//! Nothing is written: a bio is asked for by those who may only read. Whoever asked has the record of the call.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::dates;
use crate::ids::{FactId, MemoryId};
use crate::memory::Memory;
use crate::memory::learning::{AskError, answer, call};
use crate::model::{ChatModel, Dialect};
use crate::moment::Moment;
use crate::phrase::{self, FACTS_MAX, Stop};
use crate::profile::{Entry, Length, quoted};
use crate::record::{Call, Purpose};

/// What a bio is to say. It holds all that is needed to have it put into words, so that nobody who uses the memory waits for the
/// model.
#[derive(Clone, Debug)]
pub struct Draft {
    /// In the order of their numbers: first those that a model is shown.
    lines: Vec<(Entry, FactId)>,
    shown: usize,
}

/// Whose a sentence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A model's: it was held against the facts that it cites.
    Model,
    /// Code's: it quotes the one that it cites.
    Code,
}

/// A sentence of a bio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentence {
    /// What it says, with its citations in brackets.
    pub text: String,
    /// What it rests on, by number.
    pub citations: Vec<u32>,
    /// Whose it is.
    pub by: By,
}

/// A sentence of a model that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// Why.
    pub stop: Stop,
    /// What the model proposed.
    pub sentence: String,
}

/// A bio in a model's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phrased {
    /// Its sentences, in order.
    pub sentences: Vec<Sentence>,
    /// What the citations name.
    pub citations: Vec<(u32, MemoryId)>,
    /// Sentences that were not taken.
    pub not_taken: Vec<NotTaken>,
    /// The call, with what it cost and its receipt; none if no model was asked.
    pub call: Option<Call>,
    /// Why no sentence is the model's, if none is, for a person.
    pub note: Option<&'static str>,
}

impl Phrased {
    /// All sentences.
    #[must_use]
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.sentences.iter().map(|one| one.text.as_str()).collect();
        texts.join(" ")
    }
}

impl Memory {
    /// What a bio says at a moment, ready to be put into words.
    #[must_use]
    pub fn draft(&self, length: Length, now: Moment) -> Draft {
        let lines = self.profile(now).bio_entries(length).into_iter();
        let (mut shown, quoted): (Vec<_>, Vec<_>) = lines
            .filter_map(|entry| {
                let (fact, _) = self.state.fact_of(&entry.id)?;
                Some((entry, fact))
            })
            .partition(|(entry, _)| may_be_phrased(entry));
        let rest = shown.split_off(shown.len().min(FACTS_MAX));
        Draft {
            shown: shown.len(),
            lines: shown.into_iter().chain(rest).chain(quoted).collect(),
        }
    }
}

/// Whether a sentence can say it today: in its language one can, nothing in it is hidden, and no date in it counts from when it was
/// said.
fn may_be_phrased(entry: &Entry) -> bool {
    let text = &entry.text;
    let counts_from_then = |part: &str| {
        dates::find(part, Some(entry.said_at)).is_some() && dates::find(part, None).is_none()
    };
    // A date behind another is looked for by itself.
    let spaces = text.match_indices(' ').map(|(at, _)| at);
    !std::iter::once(0)
        .chain(spaces)
        .any(|at| counts_from_then(&text[at..]))
        && !text.contains("[hidden]")
        && !text.contains(" not kept]")
        && phrase::may_say(text)
}

impl Draft {
    /// The bio, in the model's words as far as they say what it is to say. Waits for the model.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn phrase(&self, model: &dyn ChatModel, now: Moment) -> Result<Phrased, AskError> {
        let mut bio = Phrased {
            citations: (1..)
                .zip(&self.lines)
                .map(|(number, (entry, _))| (number, entry.id))
                .collect(),
            ..Phrased::default()
        };
        let texts: Vec<&str> = self
            .lines
            .iter()
            .map(|(entry, _)| entry.text.as_str())
            .collect();
        let mut answered = None;
        if self.shown == 0 {
            if !self.lines.is_empty() {
                bio.note = Some("none of this is put into other words than it was said in");
            }
        } else if model.dialect() == Dialect::Nano {
            bio.note = Some(
                "tally-nano finds facts and was not trained to phrase them: these are the facts as they were said; another chat model phrases them",
            );
        } else {
            let shown: Vec<String> = texts[..self.shown]
                .iter()
                .map(|&text| text.to_owned())
                .collect();
            let ask = phrase::asked(phrase::SHAPE, &shown).expect("it is the shape's own name");
            answered = Some(answer(model, &ask)?);
        }
        let made = assemble(
            &texts,
            self.shown,
            answered.as_ref().map(|answer| answer.text.as_str()),
        );
        bio.sentences = made.sentences;
        bio.not_taken = made.not_taken;
        if let Some(answer) = &answered {
            if !bio.sentences.iter().any(|one| one.by == By::Model) {
                bio.note = Some(
                    "the model gave no sentence that says these facts and nothing else: these are the facts as they were said",
                );
            }
            bio.call = Some(Call {
                facts: self.lines[..self.shown]
                    .iter()
                    .map(|(_, fact)| *fact)
                    .collect(),
                refused: made.refused,
                ..call(Purpose::Phrase, phrase::SHAPE, answer, now)
            });
        }
        Ok(bio)
    }
}

/// What an answer makes of a bio.
#[derive(Default)]
pub(crate) struct Assembled {
    pub(crate) sentences: Vec<Sentence>,
    not_taken: Vec<NotTaken>,
    /// How many were not taken for which reason.
    refused: BTreeMap<String, u32>,
}

/// The bio that an answer makes of these texts, of which the model was shown the first so many: the same of the same, so that it can
/// be checked again. Each text is said once.
pub(crate) fn assemble(texts: &[&str], shown: usize, answer: Option<&str>) -> Assembled {
    let shown = &texts[..shown.min(texts.len())];
    let mut made = Assembled::default();
    let mut said: BTreeSet<u32> = BTreeSet::new();
    match answer.map(phrase::read) {
        Some(Some(proposed)) => {
            for one in proposed {
                let facts: BTreeSet<u32> = one.facts.iter().copied().collect();
                match judge(shown, &facts, &one.sentence, &said) {
                    Ok(sentence) => {
                        said.extend(&facts);
                        made.sentences.push(Sentence {
                            text: cited(&sentence, &facts),
                            citations: facts.into_iter().collect(),
                            by: By::Model,
                        });
                    }
                    Err(stop) => {
                        *made.refused.entry(stop.as_str().to_owned()).or_default() += 1;
                        quote(facts, texts, &mut made, &mut said);
                        made.not_taken.push(NotTaken {
                            stop,
                            sentence: one.sentence,
                        });
                    }
                }
            }
        }
        Some(None) => {
            made.refused.insert("unreadable".to_owned(), 1);
        }
        None => {}
    }
    quote(1..=number(texts.len()), texts, &mut made, &mut said);
    made
}

/// The sentence, if it says these facts of those that were shown, of which none was said before.
fn judge(
    shown: &[&str],
    facts: &BTreeSet<u32>,
    sentence: &str,
    said: &BTreeSet<u32>,
) -> Result<String, Stop> {
    let told: Vec<&str> = facts
        .iter()
        .map(|number| {
            let at = (*number as usize).checked_sub(1).ok_or(Stop::UnknownFact)?;
            shown.get(at).copied().ok_or(Stop::UnknownFact)
        })
        .collect::<Result<_, Stop>>()?;
    if !facts.is_disjoint(said) {
        return Err(Stop::Repeated);
    }
    phrase::judge(sentence, &told)
}

/// Code's own rendering of what has not been said, of these numbers as far as there are such.
fn quote(
    numbers: impl IntoIterator<Item = u32>,
    texts: &[&str],
    made: &mut Assembled,
    said: &mut BTreeSet<u32>,
) {
    for number in numbers {
        let at = (number as usize).checked_sub(1);
        if let Some(text) = at.and_then(|at| texts.get(at))
            && said.insert(number)
        {
            made.sentences.push(Sentence {
                text: quoted(text, number),
                citations: vec![number],
                by: By::Code,
            });
        }
    }
}

/// A sentence with its citations behind it.
fn cited(sentence: &str, facts: &BTreeSet<u32>) -> String {
    let mut text = format!("{sentence} ");
    for number in facts {
        text.push_str(&format!("[{number}]"));
    }
    text
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

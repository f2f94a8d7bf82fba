//! Learning facts from what was said: lines in, a model's proposals, gates, facts out.
//!
//! One call is asked about a few lines of one conversation. What came of it is written with one sync: its facts, their vectors, then the
//! record of the call, which also says that these lines were asked about. So after a crash a window was learnt from or it was not, and
//! going on asks about what is left. A fact that was written without its call's record is found again as a duplicate.

use std::collections::{BTreeMap, BTreeSet};

use tally_recall::{EmbedError, Embedding};
use tally_vault::WriteError;
use tally_vault::format::ReceiptDigest;

use crate::extract::{self, Candidate};
use crate::gates::{self, Gate};
use crate::ids::{CallId, EpisodeId, FactId, MemoryId, SpanHash};
use crate::memory::remembering::{Remembered, TurnError};
use crate::memory::{Memory, Turn, index};
use crate::model::{self, Answer, Ask, ChatModel, ModelError, Unused};
use crate::moment::Moment;
use crate::record::{Call, Episode, Fact, Kind, LIST_MAX, Label, Line, Link, Purpose, Record};
use crate::relate;
use crate::similar::{Gist, are_twins};
use crate::store::LoadError;
use crate::timeline::Standing;
use crate::vectors::Vectors;
use crate::verify;

/// How often a call is tried while trying again may help.
const ATTEMPTS: u32 = 3;

/// What was learnt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learnt {
    /// Facts that are new.
    pub facts: Vec<FactId>,
    /// Proposals that a gate stopped.
    pub refused: Vec<Refused>,
    /// Calls that were made.
    pub calls: Vec<CallId>,
    /// Answers that were not of the form that was asked for, for instance because they were cut off: nothing was learnt from their
    /// lines.
    pub unreadable: usize,
    /// Lines that were not asked about yet.
    pub remaining: usize,
    /// Tokens that the model read.
    pub prompt_tokens: u64,
    /// Tokens that it wrote.
    pub output_tokens: u64,
}

/// A proposal that a gate stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which gate.
    pub gate: Gate,
    /// What the model proposed.
    pub basis: String,
    /// Whom it would have been about.
    pub subject: String,
}

/// What would be learnt. What two calls say alike is in it twice, since nothing of the first is known to the second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DryRun {
    /// The facts. They are in no vault, and their call is none.
    pub facts: Vec<Fact>,
    /// Proposals that a gate stopped.
    pub refused: Vec<Refused>,
    /// How often the model was asked.
    pub calls: usize,
    /// Answers that were not of the form that was asked for.
    pub unreadable: usize,
    /// Lines that it was not asked about.
    pub remaining: usize,
    /// Tokens that the model read.
    pub prompt_tokens: u64,
    /// Tokens that it wrote.
    pub output_tokens: u64,
}

impl DryRun {
    /// Adds what would be learnt from later turns.
    pub fn add(&mut self, later: Self) {
        self.facts.extend(later.facts);
        self.refused.extend(later.refused);
        self.calls += later.calls;
        self.unreadable += later.unreadable;
        self.remaining += later.remaining;
        self.prompt_tokens += later.prompt_tokens;
        self.output_tokens += later.output_tokens;
    }
}

/// Why learning stopped. What was learnt before is kept, and asking again goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// The turns of a dry run cannot be kept.
    #[error("{0}")]
    Turn(#[from] TurnError),
    /// The model did not answer.
    #[error("the model did not answer: {0}")]
    Model(#[from] ModelError),
    /// The model answered with a receipt that does not hold, or that is of something else.
    #[error("the model's receipt does not hold, so its answer is not used: {0}")]
    Receipt(String),
    /// The model that embeds facts failed. Those of the call at hand were compared with known ones by their words alone and are kept;
    /// [`Memory::embed_missing`] gives them vectors.
    #[error("the model that embeds facts failed: {0}")]
    Embed(#[from] EmbedError),
    /// The vault was not written.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// The vault could not be read.
    #[error("{0}")]
    Load(#[from] LoadError),
}

/// Why a model gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It did not answer.
    #[error("the model did not answer: {0}")]
    Model(#[from] ModelError),
    /// It answered with a receipt that does not hold, or that is of something else.
    #[error("the model's receipt does not hold, so its answer is not used: {0}")]
    Receipt(String),
}

impl From<AskError> for LearnError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Model(error) => Self::Model(error),
            AskError::Receipt(reason) => Self::Receipt(reason),
        }
    }
}

/// An answer, judged.
struct Judged {
    /// What was asked for it.
    shape: &'static str,
    answer: Answer,
    facts: Vec<Fact>,
    refused: Vec<Refused>,
    is_readable: bool,
}

impl Memory {
    /// Learns from what was said and no model was asked about, at most so many calls: from the conversation first in which something was
    /// said last, so that what is said today waits for no backlog. `progress` hears how many lines are left after each.
    ///
    /// # Errors
    /// [`LearnError`].
    pub fn learn(
        &mut self,
        model: &dyn ChatModel,
        now: Moment,
        most_calls: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<Learnt, LearnError> {
        let mut report = Learnt {
            remaining: self.backlog().count(),
            ..Learnt::default()
        };
        while report.calls.len() < most_calls {
            let Some(window) = self.backlog().next_window() else {
                break;
            };
            let judged = {
                let shown: Vec<(Line, &Episode)> = window
                    .iter()
                    .filter_map(|line| {
                        Some((*line, &self.state.episodes.get(&line.episode)?.value))
                    })
                    .collect();
                let said_at = |line: &Line| {
                    self.state
                        .episodes
                        .get(&line.episode)
                        .map_or(now, |one| self.state.said_at(one))
                };
                ask_about(model, &shown, said_at)?
            };
            self.keep(judged, window, model, now, &mut report)?;
            report.remaining = self.backlog().count();
            progress(report.remaining);
        }
        Ok(report)
    }

    /// Whether a model is yet to be asked about a line of one of these episodes.
    #[must_use]
    pub fn awaits_learning(&self, episodes: &[EpisodeId]) -> bool {
        self.backlog().has_any_of(&self.state, episodes)
    }

    /// Asks the model about turns that are new, and judges what it proposes, without keeping anything. `progress` hears how many
    /// lines are left after each call.
    ///
    /// # Errors
    /// [`LearnError`].
    pub fn learn_dry(
        &self,
        turns: &[Turn],
        model: &dyn ChatModel,
        now: Moment,
        progress: impl FnMut(usize),
    ) -> Result<DryRun, LearnError> {
        let episodes = self.episodes_of(turns, None, &mut Remembered::default())?;
        let by_id: BTreeMap<EpisodeId, &Episode> =
            episodes.iter().map(|(id, one)| (*id, one)).collect();
        let mut conversations: BTreeMap<(&str, &str), Vec<(Line, usize)>> = BTreeMap::new();
        for (id, episode) in &episodes {
            for line in extract::lines(*id, episode) {
                let len = extract::line_text(episode, &line).map_or(0, |text| text.len());
                conversations
                    .entry((&episode.app, &episode.thread))
                    .or_default()
                    .push((line, len));
            }
        }
        let conversations: Vec<Vec<(Line, usize)>> = conversations.into_values().collect();
        let find = |line: &Line| {
            let episode = *by_id.get(&line.episode)?;
            Some((episode, episode.at.unwrap_or(now)))
        };
        self.propose(&conversations, find, model, now, usize::MAX, progress)
    }

    /// What [`Self::learn`] would learn now, at most so many calls, without keeping anything: the same lines are asked about again
    /// the next time.
    ///
    /// # Errors
    /// [`LearnError`].
    pub fn learn_dry_kept(
        &self,
        model: &dyn ChatModel,
        now: Moment,
        most_calls: usize,
        progress: impl FnMut(usize),
    ) -> Result<DryRun, LearnError> {
        let find = |line: &Line| {
            let one = self.state.episodes.get(&line.episode)?;
            Some((&one.value, self.state.said_at(one)))
        };
        let conversations = self.backlog().newest_first();
        self.propose(&conversations, find, model, now, most_calls, progress)
    }

    /// Asks about lines by conversation and judges, and keeps nothing. `find` knows the episode of a line, and when it was said.
    fn propose<'a>(
        &self,
        conversations: &[Vec<(Line, usize)>],
        find: impl Fn(&Line) -> Option<(&'a Episode, Moment)>,
        model: &dyn ChatModel,
        now: Moment,
        most_calls: usize,
        mut progress: impl FnMut(usize),
    ) -> Result<DryRun, LearnError> {
        let mut report = DryRun {
            remaining: conversations.iter().map(Vec::len).sum(),
            ..DryRun::default()
        };
        for lines in conversations {
            for window in extract::windows(lines) {
                if report.calls >= most_calls {
                    return Ok(report);
                }
                let shown: Vec<(Line, &Episode)> = window
                    .iter()
                    .filter_map(|line| Some((*line, find(line)?.0)))
                    .collect();
                let said_at = |line: &Line| find(line).map_or(now, |(_, at)| at);
                let mut judged = ask_about(model, &shown, said_at)?;
                report.calls += 1;
                report.remaining -= window.len();
                report.prompt_tokens += u64::from(judged.answer.prompt_tokens);
                report.output_tokens += u64::from(judged.answer.output_tokens);
                report.unreadable += usize::from(!judged.is_readable);
                let embedded = self.embed_facts(&judged.facts)?;
                self.stop_known(&mut judged, embedded);
                report.facts.append(&mut judged.facts);
                report.refused.append(&mut judged.refused);
                progress(report.remaining);
            }
        }
        Ok(report)
    }

    /// Writes what came of a call.
    fn keep(
        &mut self,
        mut judged: Judged,
        lines: Vec<Line>,
        model: &dyn ChatModel,
        now: Moment,
        report: &mut Learnt,
    ) -> Result<(), LearnError> {
        // Whatever becomes of the vectors, the answer is not thrown away.
        let (embedded, failure) = match self.embed_facts(&judged.facts) {
            Ok(embedded) => (embedded, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let embedded = self.stop_known(&mut judged, embedded);
        let (mut labelled, mut labels): (Vec<Call>, Vec<Answer>) = (Vec::new(), Vec::new());
        if self.options.relate {
            for fact in &mut judged.facts {
                match self.relate(fact, model, now) {
                    Ok(None) => {}
                    Ok(Some((call, answer))) => {
                        labelled.push(call);
                        labels.push(answer);
                    }
                    Err(error) => {
                        for answer in std::iter::once(&judged.answer).chain(&labels) {
                            model.thrown_away(answer, Unused::Label);
                        }
                        return Err(error);
                    }
                }
            }
        }
        let mut refused: BTreeMap<String, u32> = BTreeMap::new();
        for one in &judged.refused {
            *refused.entry(one.gate.as_str().to_owned()).or_default() += 1;
        }
        if !judged.is_readable {
            refused.insert("unreadable".to_owned(), 1);
        }
        let answer = &judged.answer;
        let asked = lines.clone();
        let shown: BTreeSet<EpisodeId> = lines.iter().map(|line| line.episode).collect();
        let call = Call {
            lines,
            refused,
            ..call(Purpose::Extract, judged.shape, answer, now)
        };
        let id = call.id();
        let digest = answer
            .receipt
            .as_ref()
            .map(|one| ReceiptDigest(*blake3::hash(&one.envelope).as_bytes()));
        for fact in &mut judged.facts {
            fact.call = id;
        }
        let facts: Vec<FactId> = judged.facts.iter().map(Fact::id).collect();
        for other in &labelled {
            report.prompt_tokens += u64::from(other.prompt_tokens);
            report.output_tokens += u64::from(other.output_tokens);
            report.calls.push(other.id());
        }
        let mut records: Vec<_> = labelled
            .into_iter()
            .map(|other| {
                let digest = other
                    .receipt
                    .as_deref()
                    .and_then(model::decode)
                    .map(|envelope| ReceiptDigest(*blake3::hash(&envelope).as_bytes()));
                (Record::Call(other), digest)
            })
            .collect();
        records.extend(
            judged
                .facts
                .into_iter()
                .map(|fact| (Record::Fact(fact), digest)),
        );
        let mut records: Vec<_> = records
            .into_iter()
            .map(|(record, digest)| (record.record_type(), record.encode(), digest))
            .collect();
        records.extend(
            self.vectors_of(&facts, &embedded)
                .iter()
                .map(|vectors| (Vectors::RECORD_TYPE, vectors.encode(), None)),
        );
        // The call comes last: it says that the lines are done with.
        let call = Record::Call(call);
        records.push((call.record_type(), call.encode(), digest));
        let written = match self.store.turn() {
            Ok(mut turn) => {
                // What was forgotten while the model answered does not come back by its answer.
                if shown
                    .iter()
                    .any(|id| turn.are_gone(self.state.operations_of(&id.0)))
                {
                    Ok(false)
                } else {
                    turn.append(&records)
                        .map(|_| true)
                        .map_err(LearnError::from)
                }
            }
            Err(error) => Err(LearnError::from(error)),
        };
        let unused = match &written {
            Ok(true) => None,
            Ok(false) => Some(Unused::Forgotten),
            Err(_) => Some(Unused::Vault),
        };
        if let Some(why) = unused {
            for answer in std::iter::once(&judged.answer).chain(&labels) {
                model.thrown_away(answer, why);
            }
        }
        let is_kept = written?;
        self.look()?;
        if !is_kept {
            return Ok(());
        }
        self.backlog().asked(&self.state, &asked);
        report.facts.extend(facts);
        report.refused.append(&mut judged.refused);
        report.calls.push(id);
        report.unreadable += usize::from(!judged.is_readable);
        report.prompt_tokens += u64::from(judged.answer.prompt_tokens);
        report.output_tokens += u64::from(judged.answer.output_tokens);
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// What the embedding model, if there is one, makes of facts as they will be searched.
    fn embed_facts(&self, facts: &[Fact]) -> Result<Vec<Embedding>, EmbedError> {
        let Some(embedder) = self.embedder.as_ref().filter(|_| !facts.is_empty()) else {
            return Ok(Vec::new());
        };
        let passages: Vec<String> = facts
            .iter()
            .map(|fact| index::fact_passage(fact, self.owner()))
            .collect();
        let embedded = embedder.embed(&passages)?;
        if embedded.len() != passages.len() {
            return Err(EmbedError {
                texts: passages.len(),
                reason: "the model gave another number of vectors".to_owned(),
                is_transient: false,
            });
        }
        Ok(embedded)
    }

    /// Records of these facts' vectors. Facts whose vectors fit no record go without: [`Memory::embed_missing`] says what is wrong.
    fn vectors_of(&self, facts: &[FactId], embedded: &[Embedding]) -> Vec<Vectors> {
        let Some(embedder) = &self.embedder else {
            return Vec::new();
        };
        let pairs: Vec<_> = facts.iter().map(|id| id.0).zip(embedded).collect();
        pairs
            .chunks(Vectors::BATCH)
            .filter_map(|batch| Vectors::of(embedder.model(), batch))
            .collect()
    }

    /// Asks the model what a fact is to those about the same subject that stand when it begins and share a word with it, and links
    /// it to them.
    fn relate(
        &self,
        fact: &mut Fact,
        model: &dyn ChatModel,
        now: Moment,
    ) -> Result<Option<(Call, Answer)>, LearnError> {
        let words = |text: &str| -> BTreeSet<String> {
            text.to_lowercase()
                .split(|character: char| !character.is_alphanumeric())
                .filter(|word| word.len() > 3)
                .map(str::to_owned)
                .collect()
        };
        let own = words(&fact.text);
        let mut near: Vec<(usize, FactId, &str)> = self
            .state
            .facts
            .iter()
            .filter(|(id, other)| {
                other.value.subject == fact.subject
                    && self
                        .state
                        .places()
                        .get(&MemoryId::Fact(**id))
                        .is_some_and(|place| place.stands_at(fact.observed.max(fact.begins())))
            })
            .map(|(id, other)| {
                let common = words(&other.value.text).intersection(&own).count();
                let categories = &other.value.categories;
                let category = categories.iter().any(|one| fact.categories.contains(one));
                (
                    common * 2 + usize::from(category),
                    *id,
                    other.value.text.as_str(),
                )
            })
            .filter(|(score, ..)| *score > 0)
            .collect();
        near.sort_by_key(|(score, id, _)| (std::cmp::Reverse(*score), *id));
        near.truncate(relate::KNOWN_MAX);
        if near.is_empty() {
            return Ok(None);
        }
        let known: Vec<&str> = near.iter().map(|(.., text)| *text).collect();
        let question = relate::ask(&known, &fact.text);
        let answer = answer(model, &question)?;
        let labels = relate::read(&answer.text, near.len());
        let mut refused = BTreeMap::new();
        match labels {
            Some(labels) => {
                let links: BTreeSet<Link> = labels
                    .into_iter()
                    .map(|(at, label)| Link {
                        to: near[at].1,
                        label,
                    })
                    .collect();
                fact.links = links.into_iter().collect();
            }
            None => {
                refused.insert("unreadable".to_owned(), 1);
            }
        }
        let call = Call {
            // What was shown of the new fact, so that forgetting it finds this call.
            lines: fact
                .evidence
                .iter()
                .map(|one| Line {
                    episode: one.episode,
                    start: one.start,
                    end: one.end,
                })
                .collect(),
            facts: near.iter().map(|(_, id, _)| *id).collect(),
            refused,
            ..call(Purpose::Label, relate::SHAPE, &answer, now)
        };
        Ok(Some((call, answer)))
    }

    /// Refuses what is known already, within the answer too, and what was forgotten. Of the facts' vectors, if there are any, gives
    /// those of the facts that stay.
    fn stop_known(&self, judged: &mut Judged, embedded: Vec<Embedding>) -> Vec<Embedding> {
        let mut embedded = embedded.into_iter();
        let mut left: Vec<Embedding> = Vec::new();
        let mut kept: Vec<(Fact, Gist)> = Vec::new();
        for mut fact in std::mem::take(&mut judged.facts) {
            let embedding = embedded.next();
            let sentence = embedding.as_ref().map(|one| one.sentence.as_slice());
            let gist = Gist::of(&fact.text);
            let twins = self.twins(&fact, &gist, sentence);
            let gate = if self.is_forgotten(&fact) {
                Some(Gate::Forgotten)
            } else if self.is_known(&fact, &twins)
                || kept.iter().any(|(other, words)| {
                    other.subject == fact.subject
                        && other.modality == fact.modality
                        && words.is_like(&gist)
                })
            {
                Some(Gate::Duplicate)
            } else {
                None
            };
            match gate {
                Some(gate) => judged.refused.push(Refused {
                    gate,
                    basis: fact.text,
                    subject: fact.subject,
                }),
                None => {
                    fact.links = self.said_again(&fact, &twins);
                    kept.push((fact, gist));
                    left.extend(embedding);
                }
            }
        }
        judged.facts = kept.into_iter().map(|(fact, _)| fact).collect();
        left
    }

    fn is_forgotten(&self, fact: &Fact) -> bool {
        self.state
            .forgotten_words
            .contains(&SpanHash::of(fact.text.as_bytes()))
            || fact
                .evidence
                .iter()
                .any(|one| self.state.forgotten.contains(&one.episode))
    }

    /// Facts that are there and say the same, whenever they hold.
    fn twins(&self, fact: &Fact, gist: &Gist, sentence: Option<&[f32]>) -> BTreeSet<FactId> {
        let mut twins = self.known.like(&fact.subject, gist);
        if let Some(sentence) = sentence {
            let near = self.state.facts.iter().filter(|(id, other)| {
                other.value.subject == fact.subject
                    && other.value.entities == fact.entities
                    && !self.known.differs(id, gist)
                    && self
                        .shelf
                        .sentence(&self.state, &id.0)
                        .is_some_and(|known| are_twins(&known, sentence))
            });
            twins.extend(near.map(|(id, _)| *id));
        }
        twins
    }

    /// Whether one of these facts, which say the same, holds when this one was said.
    fn is_known(&self, fact: &Fact, twins: &BTreeSet<FactId>) -> bool {
        let places = self.state.places();
        twins.iter().any(|id| {
            let Some(other) = self.state.facts.get(id) else {
                return false;
            };
            let other = &other.value;
            if let Some((_, correction)) = self.state.correction_of(id) {
                // Words that were corrected are known until somebody says them again after the correction.
                return fact.observed <= correction.value.at;
            }
            if other.modality != fact.modality {
                return false;
            }
            if fact.kind == Kind::Episodic && fact.slot.is_none() {
                return other.begins().day() == fact.begins().day();
            }
            places.get(&MemoryId::Fact(*id)).is_none_or(|place| {
                place.stands_at(fact.begins()) || place.stands_at(fact.observed)
            })
        })
    }

    /// Links from a fact to those of its twins that were said later and were learnt first: they repeat it, as they would have been known if
    /// it had been learnt in its turn. Where a fact answers a question with one answer at a time, its place says so without a link; where a
    /// model labels, its labels do.
    fn said_again(&self, fact: &Fact, twins: &BTreeSet<FactId>) -> Vec<Link> {
        if fact.slot.is_some() || fact.kind == Kind::Episodic || self.options.relate {
            return Vec::new();
        }
        let places = self.state.places();
        twins
            .iter()
            .filter(|id| {
                self.state.facts.get(*id).is_some_and(|other| {
                    other.value.modality == fact.modality
                        && other.value.kind == fact.kind
                        && other.value.slot.is_none()
                        && other.value.begins() > fact.begins()
                }) && places
                    .get(&MemoryId::Fact(**id))
                    .is_some_and(|place| place.standing == Standing::Holds)
            })
            .map(|id| Link {
                to: *id,
                label: Label::Same,
            })
            .take(LIST_MAX)
            .collect()
    }

    /// BLAKE3 of the receipt under which a fact was learnt.
    pub(crate) fn receipt_digest(&self, fact: &Fact) -> Option<String> {
        let call = self.state.calls.get(&fact.call)?;
        let envelope = model::decode(call.value.receipt.as_deref()?)?;
        Some(blake3::hash(&envelope).to_hex().to_string())
    }
}

/// Asks about lines, checks the receipt, and puts each proposal through the gates.
fn ask_about(
    model: &dyn ChatModel,
    shown: &[(Line, &Episode)],
    said_at: impl Fn(&Line) -> Moment,
) -> Result<Judged, LearnError> {
    let prompt: Vec<String> = shown
        .iter()
        .filter_map(|(line, episode)| extract::line_text(episode, line))
        .collect();
    let shape = extract::shape(model.dialect());
    let ask = extract::asked(shape, &prompt).expect("a dialect's shape asks for facts");
    let answer = answer(model, &ask)?;
    let (candidates, is_readable) = match extract::read(shape, &answer.text) {
        Ok(candidates) => (candidates, true),
        Err(_) => (Vec::new(), false),
    };
    let (mut facts, mut refused) = (Vec::new(), Vec::new());
    for candidate in candidates {
        match gates::judge(&candidate, shown, &said_at, CallId([0; 32])) {
            Ok(fact) => facts.push(fact),
            Err(gate) => {
                let Candidate { basis, subject, .. } = candidate;
                refused.push(Refused {
                    gate,
                    basis,
                    subject,
                });
            }
        }
    }
    Ok(Judged {
        shape,
        answer,
        facts,
        refused,
        is_readable,
    })
}

/// Asks, again where that may help, and takes no answer whose receipt does not hold.
pub(super) fn answer(model: &dyn ChatModel, ask: &Ask) -> Result<Answer, AskError> {
    let mut attempt = 1;
    let answer = loop {
        match model.ask(ask) {
            Ok(answer) => break answer,
            Err(error) if error.is_transient && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    };
    if let Some(receipt) = &answer.receipt
        && let Err(reason) = verify::fresh(receipt, ask, &answer.text)
    {
        model.thrown_away(&answer, Unused::Receipt);
        return Err(AskError::Receipt(reason));
    }
    Ok(answer)
}

/// The record of a call, but for what it was about.
pub(super) fn call(purpose: Purpose, shape: &str, answer: &Answer, now: Moment) -> Call {
    let receipt = answer.receipt.as_ref();
    Call {
        purpose,
        shape: shape.to_owned(),
        model: printable(&answer.model),
        at: now,
        took_ms: answer.took_ms,
        prompt_tokens: answer.prompt_tokens,
        output_tokens: answer.output_tokens,
        lines: Vec::new(),
        facts: Vec::new(),
        answer: cut(&answer.text),
        refused: BTreeMap::new(),
        receipt: receipt.map(|one| model::encode(&one.envelope)),
        openings: receipt
            .and_then(|one| one.openings.as_deref())
            .map(model::encode),
        gates: (purpose == Purpose::Extract).then_some(gates::NUMBER),
    }
}

fn printable(name: &str) -> String {
    let name: String = name
        .chars()
        .filter(|character| !character.is_control())
        .take(64)
        .collect();
    if name.trim().is_empty() {
        "unnamed".to_owned()
    } else {
        name
    }
}

fn cut(answer: &str) -> String {
    let mut end = answer.len().min(crate::record::ANSWER_MAX);
    while !answer.is_char_boundary(end) {
        end -= 1;
    }
    answer[..end].to_owned()
}

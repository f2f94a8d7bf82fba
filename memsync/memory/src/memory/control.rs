//! What the owner does with memories: find, look, correct, confirm, forget; and see what was done.
//!
//! A correction and a confirmation are records beside the fact, which stays as it was said. Forgetting is the one thing that
//! destroys: a memory and all that is derived from it, in this copy of the vault and every copy that syncs with it. What was
//! forgotten does not come back when its conversation is read again: a record holds the hashes of what must not.

use std::collections::BTreeSet;

use serde::Serialize;
use tally_vault::WriteError;
use tally_vault::format::{OpId, ReceiptDigest};

use crate::ids::{CallId, EpisodeId, FactId, MemoryId, RemarkId, SpanHash};
use crate::memory::Memory;
use crate::memory::recalling::Cited;
use crate::moment::Moment;
use crate::record::{
    Call, Category, Confirmation, Correction, FACT_MAX, Fact, Forgotten, Line, Policy, Provenance,
    Purpose, Record, RecordError,
};
use crate::secrets::{Identifiers, Secrets, spellings};
use crate::state::Kept;
use crate::store::LoadError;
use crate::timeline::{Place, Standing};

/// Why a name is no memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// No name at all.
    #[error("{0:?} is no name of a memory: give its id, or at least four digits of its beginning")]
    NoName(String),
    /// None has it.
    #[error("there is no memory {0}")]
    None(String),
    /// Several do.
    #[error("{count} memories begin with {beginning}: give more of it")]
    Several {
        /// What was given.
        beginning: String,
        /// How many there are.
        count: usize,
    },
}

/// Why something was not changed. Nothing was, unless it says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// No such memory.
    #[error("there is no memory {0}")]
    NoSuchMemory(MemoryId),
    /// What was said is not corrected: what was learnt from it is.
    #[error(
        "{0} is what was said, which stays as it was said: correct a fact that was learnt from it, or forget it"
    )]
    Said(EpisodeId),
    /// The correction is none.
    #[error("the correction: {0}")]
    Record(#[from] RecordError),
    /// The vault was not written.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// The vault could not be read.
    #[error("{0}")]
    Load(#[from] LoadError),
}

/// What forgetting did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgot {
    /// Memories that are gone, with all that was derived from them.
    pub memories: Vec<MemoryId>,
    /// Those of them that nobody named: they said the same as a fact that somebody did, and it would have stood again by them.
    pub repeats: Vec<MemoryId>,
    /// Calls whose records, receipts included, went with them.
    pub calls: Vec<CallId>,
    /// Facts that stay and whose call was shown what is gone: their receipts went too, so they can no longer be verified.
    pub unproved: Vec<FactId>,
    /// What the vault could not reach, in sentences.
    pub remains: Vec<&'static str>,
}

/// When an operation goes that is to be destroyed: what is derived first, so that until all else has gone what was named can be named
/// again. Of what was named words go before a fact that brought them along, and a fact before a correction that did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Going {
    Derived,
    DerivedFact,
    Episode,
    Fact,
    Correction,
}

impl Going {
    const fn of(id: &MemoryId, is_named: bool) -> Self {
        match (id, is_named) {
            (MemoryId::Correction(_), false) => Self::Derived,
            (MemoryId::Fact(_), false) => Self::DerivedFact,
            (MemoryId::Episode(_), _) => Self::Episode,
            (MemoryId::Fact(_), true) => Self::Fact,
            (MemoryId::Correction(_), true) => Self::Correction,
        }
    }
}

/// One thing that became of a memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When it was written into the vault; of an end, when it begins.
    pub at: Moment,
    /// What, for programs: `said`, `learnt`, `repeated`, `confirmed`, `corrected`, `ended`.
    pub what: &'static str,
    /// The same for a person.
    pub sentence: String,
    /// The other memory that it has to do with.
    pub other: Option<MemoryId>,
    /// The member of the vault who wrote it.
    pub by: Option<String>,
    /// The operation of the vault.
    pub operation: Option<String>,
}

/// What is to be done to forget, and what comes of it.
struct Plan {
    forgot: Forgot,
    /// What keeps it from coming back, and what is kept of records that go.
    records: Vec<(&'static str, Vec<u8>, Option<ReceiptDigest>)>,
    /// In the order in which they go.
    ops: Vec<OpId>,
}

/// What lists of memories are made by: nothing that has to be looked for in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline<'a> {
    /// When it was said.
    pub said_at: Moment,
    /// The vault's time of writing and the part of an episode, which order what was said at one moment; zero of a fact.
    pub order: (u64, u32),
    /// Categories of a fact.
    pub categories: &'a [Category],
    /// The app of an episode, or of the first that a fact rests on and that is here.
    pub app: Option<&'a str>,
    /// The conversation, likewise.
    pub thread: Option<&'a str>,
    /// Where a fact stands in time.
    pub place: Option<Place>,
}

/// A fact, with everything that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The fact; of a correction, what it makes of the fact.
    pub fact: Fact,
    /// The fact that was extracted.
    pub original: FactId,
    /// Where it stands in time; none of a correction that was corrected, or that only says that the fact is wrong.
    pub place: Option<Place>,
    /// The owner's last correction, where this is not it: it stands in the place of the fact and of every other correction.
    pub corrected_by: Option<MemoryId>,
    /// In thousandths.
    pub confidence: u16,
    /// Whether the owner said that it is so.
    pub confirmed: bool,
    /// The words it rests on.
    pub evidence: Vec<Cited>,
    /// BLAKE3 of the receipt's envelope, in hexadecimal.
    pub receipt: Option<String>,
}

impl Memory {
    /// A memory by its id, or by at least four digits of its beginning.
    ///
    /// # Errors
    /// [`FindError`].
    pub fn find(&self, name: &str) -> Result<MemoryId, FindError> {
        let beginning = name.trim().trim_end_matches('…');
        let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if beginning.len() < 4 || beginning.len() > 64 || !beginning.bytes().all(digits) {
            return Err(FindError::NoName(name.chars().take(80).collect()));
        }
        let found: Vec<MemoryId> = self
            .ids()
            .filter(|id| id.to_string().starts_with(beginning))
            .collect();
        match found[..] {
            [one] => Ok(one),
            [] => Err(FindError::None(beginning.to_owned())),
            _ => Err(FindError::Several {
                beginning: beginning.to_owned(),
                count: found.len(),
            }),
        }
    }

    /// Who put a memory into the vault, and by which operation.
    #[must_use]
    pub fn provenance(&self, id: &MemoryId) -> Option<Provenance> {
        match id {
            MemoryId::Fact(id) => self.state.facts.get(id).map(Kept::provenance),
            MemoryId::Correction(id) => self.state.corrections.get(id).map(Kept::provenance),
            MemoryId::Episode(id) => self.state.episodes.get(id).map(Kept::provenance),
        }
    }

    /// A fact as it was learnt.
    #[must_use]
    pub fn fact(&self, id: &FactId) -> Option<&Fact> {
        self.state.facts.get(id).map(|one| &one.value)
    }

    /// A fact or a correction, with everything that is known of it.
    #[must_use]
    pub fn show(&self, id: &MemoryId) -> Option<Shown> {
        let (original, fact) = self.state.fact_of(id)?;
        let last = self.state.correction_of(&original);
        Some(Shown {
            original,
            place: self.state.places().get(id).copied(),
            corrected_by: last
                .map(|(last, _)| MemoryId::Correction(*last))
                .filter(|last| last != id),
            confidence: self.confidence(id, &fact),
            confirmed: self.state.is_confirmed(&original),
            evidence: fact
                .evidence
                .iter()
                .map(|one| self.cite(one.episode, one.start, one.end))
                .collect(),
            receipt: self.receipt_digest(&fact),
            fact,
        })
    }

    /// Every fact and correction, whatever became of it, by when it was said.
    #[must_use]
    pub fn facts(&self) -> Vec<MemoryId> {
        let mut facts: Vec<MemoryId> = self.state.places().keys().copied().collect();
        facts.sort_by_cached_key(|id| {
            let fact = self.state.learnt_fact(id);
            (fact.map(|(_, fact)| fact.observed), *id)
        });
        facts
    }

    /// Facts that rest on one of these episodes, by when they were said.
    #[must_use]
    pub fn facts_from(&self, episodes: &[EpisodeId]) -> Vec<MemoryId> {
        let facts: BTreeSet<FactId> = episodes
            .iter()
            .flat_map(|id| self.state.resting_on(id))
            .collect();
        let mut facts: Vec<FactId> = facts.into_iter().collect();
        facts.sort_by_key(|id| (self.state.facts.get(id).map(|one| one.value.observed), *id));
        facts.into_iter().map(MemoryId::Fact).collect()
    }

    /// How many facts that are here a call brought.
    #[must_use]
    pub fn facts_of_call(&self, call: &CallId) -> usize {
        self.state.brought_by(call)
    }

    /// What lists go by.
    #[must_use]
    pub fn outline(&self, id: &MemoryId) -> Option<Outline<'_>> {
        if let MemoryId::Episode(id) = id {
            let kept = self.state.episodes.get(id)?;
            return Some(Outline {
                said_at: self.state.said_at(kept),
                order: (kept.written, kept.value.part),
                categories: &[],
                app: Some(&kept.value.app),
                thread: Some(&kept.value.thread),
                place: None,
            });
        }
        let (_, fact) = self.state.learnt_fact(id)?;
        let first = fact
            .evidence
            .first()
            .and_then(|one| self.state.episodes.get(&one.episode));
        Some(Outline {
            said_at: fact.observed,
            order: (0, 0),
            categories: &fact.categories,
            app: first.map(|one| one.value.app.as_str()),
            thread: first.map(|one| one.value.thread.as_str()),
            place: self.state.places().get(id).copied(),
        })
    }

    /// Everything that was said in an app, or in one conversation of it; a document is one. The names are those that were given, whatever
    /// they are kept as.
    #[must_use]
    pub fn said_in(&self, app: &str, thread: Option<&str>) -> Vec<EpisodeId> {
        let (apps, threads) = (spellings(app), thread.map(spellings));
        self.state
            .episodes
            .iter()
            .filter(|(_, one)| {
                apps.contains(&one.value.app)
                    && threads
                        .as_ref()
                        .is_none_or(|threads| threads.contains(&one.value.thread))
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// Facts and corrections, other than these, that say the same as one of these: those that repeat it, and the one that it repeats. Of
    /// an episode there are none.
    #[must_use]
    pub fn repeats_of(&self, ids: &[MemoryId]) -> BTreeSet<MemoryId> {
        let places = self.state.places();
        let named: BTreeSet<FactId> = ids
            .iter()
            .filter_map(|id| self.state.learnt_fact(id))
            .map(|(fact, _)| fact)
            .collect();
        let mut stand: BTreeSet<MemoryId> = BTreeSet::new();
        let facts = named.iter().map(|fact| MemoryId::Fact(*fact));
        for mut id in ids.iter().copied().chain(facts) {
            // A fact that was corrected to what another says is repeated by way of its correction.
            for _ in 0..2 {
                match places.get(&id).map(|place| place.standing) {
                    Some(Standing::Repeats(other) | Standing::Corrected(other)) => id = other,
                    _ => break,
                }
            }
            stand.insert(id);
        }
        let is_repeat = |id: &MemoryId, place: &Place| {
            stand.contains(id)
                || matches!(
                    place.standing,
                    Standing::Repeats(of) | Standing::Corrected(of) if stand.contains(&of)
                )
        };
        places
            .iter()
            .filter(|(id, place)| is_repeat(id, place))
            .map(|(id, _)| *id)
            .filter(|id| {
                let fact = self.state.learnt_fact(id);
                fact.is_some_and(|(fact, _)| !named.contains(&fact))
            })
            .collect()
    }

    /// Every episode, by when it was said.
    #[must_use]
    pub fn episodes(&self) -> Vec<EpisodeId> {
        let mut episodes: Vec<EpisodeId> = self.state.episodes.keys().copied().collect();
        episodes.sort_by_cached_key(|id| {
            let one = &self.state.episodes[id];
            (self.state.said_at(one), one.written, one.value.part, *id)
        });
        episodes
    }

    /// Facts and corrections that stood at a moment, as far as it had been said by then.
    #[must_use]
    pub fn facts_as_of(&self, moment: Moment) -> Vec<MemoryId> {
        self.state
            .places_as_of(moment)
            .into_iter()
            .filter(|(_, place)| place.stands_at(moment))
            .map(|(id, _)| id)
            .collect()
    }

    pub(crate) fn has_correction(&self, id: &RemarkId) -> bool {
        self.state.corrections.contains_key(id)
    }

    pub(crate) fn call_of(&self, fact: &Fact) -> Option<&Call> {
        self.state.calls.get(&fact.call).map(|one| &one.value)
    }

    /// Puts a correction in the place of a fact, or of its correction before. An empty text says that it is simply wrong. It counts from
    /// now; where a correction before says a later time, as a clock that is ahead makes it, from right after that one.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn correct(
        &mut self,
        id: &MemoryId,
        text: &str,
        from: Option<Moment>,
        until: Option<Moment>,
        why: &str,
        now: Moment,
    ) -> Result<MemoryId, ChangeError> {
        let of = self.fact_named(id)?;
        let (secrets, identifiers) = (self.options.secrets, self.identifiers());
        let (text, _) = secrets.drop_from(identifiers, text.trim());
        let before = self.state.correction_of(&of);
        let correction = Correction {
            of,
            text,
            at: before.map_or(now, |(_, last)| now.max(last.value.at.just_after())),
            from,
            until,
            why: self.without_secrets(why),
        };
        let id = MemoryId::Correction(correction.id());
        self.write(Record::Correction(correction))?;
        Ok(id)
    }

    /// Says what the owner wants done with personal identifiers, by every program that remembers here from now on. What is kept already
    /// stays. Where it was last said by a clock that is ahead, this counts from right after that.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn set_policy(&mut self, identifiers: Identifiers, now: Moment) -> Result<(), ChangeError> {
        let before = self.policy().1;
        let at = before.map_or(now, |before| now.max(before.just_after()));
        self.write(Record::Policy(Policy { identifiers, at }))
    }

    /// Says that a fact is so.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn confirm(&mut self, id: &MemoryId, now: Moment) -> Result<(), ChangeError> {
        let of = self.fact_named(id)?;
        if self.state.is_confirmed(&of) {
            return Ok(());
        }
        self.write(Record::Confirmation(Confirmation { of, at: now }))
    }

    /// Destroys memories and what is derived from them: of an episode its vectors, the facts that rest on it and the calls that
    /// were shown it; of a fact its corrections and its vectors, those that say the same ([`Self::repeats_of`]), and its words are not
    /// learnt again. However many there are, the index is built anew once.
    ///
    /// # Errors
    /// [`ChangeError`]. If it fails on the way, what was destroyed until then is gone, and asking again goes on: what is derived from
    /// the memories that are named goes before they do.
    pub fn forget(
        &mut self,
        ids: &[MemoryId],
        reason: &str,
        now: Moment,
    ) -> Result<Forgot, ChangeError> {
        let Plan {
            mut forgot,
            records,
            ops,
        } = self.plan(ids, now)?;
        let destroyed = self.destroy(&records, &ops, &self.without_secrets(reason));
        // What was destroyed before a failure is not remembered either.
        let looked = self.look();
        forgot.remains = destroyed?;
        looked?;
        Ok(forgot)
    }

    /// What [`Self::forget`] would do, without what the vault could not reach.
    ///
    /// # Errors
    /// [`ChangeError::NoSuchMemory`].
    pub fn forget_dry(&self, ids: &[MemoryId], now: Moment) -> Result<Forgot, ChangeError> {
        Ok(self.plan(ids, now)?.forgot)
    }

    fn plan(&self, ids: &[MemoryId], now: Moment) -> Result<Plan, ChangeError> {
        if let Some(missing) = ids.iter().find(|id| !self.exists(id)) {
            return Err(ChangeError::NoSuchMemory(*missing));
        }
        let repeats = self.repeats_of(ids);
        let mut going: BTreeSet<MemoryId> = ids.iter().chain(&repeats).copied().collect();
        // A correction is of a fact: whoever forgets it forgets the fact.
        let facts: Vec<FactId> = going
            .iter()
            .filter_map(|id| self.state.learnt_fact(id))
            .map(|(fact, _)| fact)
            .chain(going.iter().flat_map(|id| {
                let episode = match id {
                    MemoryId::Episode(episode) => Some(episode),
                    _ => None,
                };
                episode
                    .into_iter()
                    .flat_map(|episode| self.state.resting_on(episode))
            }))
            .collect();
        going.extend(facts.into_iter().map(MemoryId::Fact));
        for (id, correction) in &self.state.corrections {
            if going.contains(&MemoryId::Fact(correction.value.of)) {
                going.insert(MemoryId::Correction(*id));
            }
        }
        let mut forgot = Forgot::default();
        let mut calls: BTreeSet<CallId> = BTreeSet::new();
        let named: BTreeSet<MemoryId> = ids.iter().copied().collect();
        let mut ops: BTreeSet<(Going, OpId)> = BTreeSet::new();
        let (mut episodes, mut words): (Vec<EpisodeId>, Vec<SpanHash>) = (Vec::new(), Vec::new());
        for id in &going {
            let of = match id {
                MemoryId::Episode(id) => {
                    let kept = &self.state.episodes[id];
                    episodes.extend([*id, kept.value.timeless().id()]);
                    &kept.ops
                }
                MemoryId::Fact(id) => {
                    let kept = &self.state.facts[id];
                    words.push(SpanHash::of(kept.value.text.as_bytes()));
                    // The call holds the words too, in its answer and its openings.
                    calls.insert(kept.value.call);
                    &kept.ops
                }
                MemoryId::Correction(id) => &self.state.corrections[id].ops,
            };
            let turn = Going::of(id, named.contains(id));
            ops.extend(of.iter().map(|op| (turn, *op)));
        }
        let spans: BTreeSet<Line> = going
            .iter()
            .filter_map(|id| self.state.learnt_fact(id))
            .flat_map(|(_, fact)| &fact.evidence)
            .map(|one| Line {
                episode: one.episode,
                start: one.start,
                end: one.end,
            })
            .collect();
        for (id, call) in &self.state.calls {
            let call = &call.value;
            let shown = call.lines.iter().any(|line| {
                going.contains(&MemoryId::Episode(line.episode)) || spans.contains(line)
            });
            // What a call that labelled was shown stands in its openings.
            let labelled = call
                .facts
                .iter()
                .any(|fact| going.contains(&MemoryId::Fact(*fact)));
            if shown || labelled {
                calls.insert(*id);
            }
        }
        for confirmation in self.state.confirmations.values() {
            if going.contains(&MemoryId::Fact(confirmation.value.of)) {
                ops.extend(confirmation.ops.iter().map(|op| (Going::Derived, *op)));
            }
        }
        for id in &calls {
            if let Some(call) = self.state.calls.get(id) {
                ops.extend(call.ops.iter().map(|op| (Going::Derived, *op)));
            }
        }
        forgot.unproved = self
            .state
            .facts
            .iter()
            .filter(|(id, fact)| {
                calls.contains(&fact.value.call) && !going.contains(&MemoryId::Fact(**id))
            })
            .map(|(id, _)| *id)
            .collect();
        // Lines of a call that goes were asked about all the same, and so is what stays of them.
        let again: BTreeSet<Line> = calls
            .iter()
            .filter_map(|id| self.state.calls.get(id))
            .filter(|call| call.value.purpose == Purpose::Extract)
            .flat_map(|call| call.value.lines.iter())
            .filter(|line| !going.contains(&MemoryId::Episode(line.episode)))
            .copied()
            .collect();
        episodes.sort_unstable();
        episodes.dedup();
        words.sort_unstable();
        words.dedup();
        let mut records: Vec<_> = notes(&episodes, &words, now)
            .into_iter()
            .chain(
                Vec::from_iter(again)
                    .chunks(PER_RECORD)
                    .map(|lines| Record::Call(asked_about(lines.to_vec(), now))),
            )
            .map(|record| (record.record_type(), record.encode(), None))
            .collect();
        let embedded: BTreeSet<&[u8; 32]> = going.iter().map(MemoryId::as_bytes).collect();
        for (op, held) in &self.state.vectors {
            if !held.entries.keys().any(|id| embedded.contains(id)) {
                continue;
            }
            ops.insert((Going::Derived, *op));
            let mut left = held.clone();
            left.entries.retain(|id, _| !embedded.contains(id));
            if !left.entries.is_empty() {
                records.push((crate::vectors::Vectors::RECORD_TYPE, left.encode(), None));
            }
        }
        forgot.memories = going.into_iter().collect();
        forgot.repeats = repeats.into_iter().collect();
        forgot.calls = calls.into_iter().collect();
        Ok(Plan {
            forgot,
            records,
            ops: ops.into_iter().map(|(_, op)| op).collect(),
        })
    }

    /// Writes what keeps memories from coming back, then destroys their operations in this order. Gives what that cannot reach.
    fn destroy(
        &self,
        records: &[(&'static str, Vec<u8>, Option<ReceiptDigest>)],
        ops: &[OpId],
        reason: &str,
    ) -> Result<Vec<&'static str>, ChangeError> {
        let mut turn = self.store.turn()?;
        turn.append(records)?;
        let mut remains = Vec::new();
        for part in ops.chunks(64) {
            let done = turn.vault.redact(&self.store.namespace, part, reason)?;
            remains = done.remains;
        }
        Ok(remains)
    }

    /// What became of a memory, oldest first.
    ///
    /// # Errors
    /// [`ChangeError::NoSuchMemory`].
    pub fn history(&self, id: &MemoryId) -> Result<Vec<Event>, ChangeError> {
        let mut events = Vec::new();
        let event = |at, what, sentence: String, other| Event {
            at,
            what,
            sentence,
            other,
            by: None,
            operation: None,
        };
        if let MemoryId::Episode(episode) = id {
            let kept = self
                .state
                .episodes
                .get(episode)
                .ok_or(ChangeError::NoSuchMemory(*id))?;
            events.push(Event {
                by: Some(kept.first.author.to_string()),
                operation: kept.ops.first().map(ToString::to_string),
                ..event(
                    kept.written_at(),
                    "said",
                    format!("{} said it in {}", kept.value.speaker, kept.value.app),
                    None,
                )
            });
            for fact in self.state.resting_on(episode) {
                if let Some(one) = self.state.facts.get(&fact) {
                    events.push(event(
                        one.written_at(),
                        "learnt",
                        format!("learnt from it: {}", one.value.text),
                        Some(MemoryId::Fact(fact)),
                    ));
                }
            }
            events.sort_by_key(|event| event.at);
            return Ok(events);
        }
        let (original, fact) = self
            .state
            .fact_of(id)
            .ok_or(ChangeError::NoSuchMemory(*id))?;
        let kept = &self.state.facts[&original];
        for evidence in &fact.evidence {
            if let Some(episode) = self.state.episodes.get(&evidence.episode) {
                events.push(event(
                    self.state.said_at(episode),
                    "said",
                    format!("{} said it in {}", episode.value.speaker, episode.value.app),
                    Some(MemoryId::Episode(evidence.episode)),
                ));
            }
        }
        let model = self
            .call_of(&fact)
            .map_or_else(|| "a model".to_owned(), |call| call.model.clone());
        events.push(Event {
            by: Some(kept.first.author.to_string()),
            operation: kept.ops.first().map(ToString::to_string),
            ..event(
                kept.written_at(),
                "learnt",
                format!("{model} found it: {}", kept.value.text),
                None,
            )
        });
        for (other, place) in self.state.places() {
            if place.standing == Standing::Repeats(*id)
                && let Some((_, again)) = self.state.fact_of(other)
            {
                events.push(event(
                    again.observed,
                    "repeated",
                    format!("said again: {}", again.text),
                    Some(*other),
                ));
            }
        }
        for one in self.state.confirmations.values() {
            if one.value.of == original {
                events.push(Event {
                    by: Some(one.first.author.to_string()),
                    operation: one.ops.first().map(ToString::to_string),
                    ..event(one.written_at(), "confirmed", "confirmed".to_owned(), None)
                });
            }
        }
        let last = self.state.correction_of(&original).map(|(last, _)| *last);
        for (correction, one) in &self.state.corrections {
            if one.value.of == original {
                let mut sentence = match (one.value.text.is_empty(), one.value.why.is_empty()) {
                    (true, true) => "said to be wrong".to_owned(),
                    (true, false) => format!("said to be wrong: {}", one.value.why),
                    (false, true) => format!("corrected to: {}", one.value.text),
                    (false, false) => {
                        format!("corrected to: {} ({})", one.value.text, one.value.why)
                    }
                };
                if last != Some(*correction) {
                    sentence.push_str("; corrected again");
                }
                events.push(Event {
                    by: Some(one.first.author.to_string()),
                    operation: one.ops.first().map(ToString::to_string),
                    ..event(
                        one.written_at(),
                        "corrected",
                        sentence,
                        Some(MemoryId::Correction(*correction)),
                    )
                });
            }
        }
        if let Some(place) = self.state.places().get(id)
            && let (Some(until), Some(by)) = (place.until, place.ended_by)
            && let Some((_, newer)) = self.state.fact_of(&by)
        {
            events.push(event(
                until,
                "ended",
                format!("no longer so: {}", newer.text),
                Some(by),
            ));
        }
        events.sort_by_key(|event| event.at);
        Ok(events)
    }

    /// Every call of a model, oldest first.
    #[must_use]
    pub fn log(&self) -> Vec<(CallId, &Call)> {
        let mut calls: Vec<(CallId, &Call)> = self
            .state
            .calls
            .iter()
            .filter(|(_, one)| one.value.model != NO_MODEL)
            .map(|(id, one)| (*id, &one.value))
            .collect();
        calls.sort_by_key(|(id, call)| (call.at, *id));
        calls
    }

    /// The fact that is meant by a fact or by a correction of it.
    fn fact_named(&self, id: &MemoryId) -> Result<FactId, ChangeError> {
        match id {
            MemoryId::Episode(episode) if self.exists(id) => Err(ChangeError::Said(*episode)),
            _ => self
                .state
                .fact_of(id)
                .map(|(fact, _)| fact)
                .ok_or(ChangeError::NoSuchMemory(*id)),
        }
    }

    /// A reason as it is kept: the history and the vault's audit trail show it, so it has no secrets, whatever is kept of words.
    fn without_secrets(&self, reason: &str) -> String {
        let reason = reason.trim();
        let (mut kept, _) = Secrets::Drop.drop_from(self.identifiers(), reason);
        // What stands in their place may be longer. A reason that was too long is refused as such.
        if reason.len() <= FACT_MAX {
            let mut end = kept.len().min(FACT_MAX);
            while !kept.is_char_boundary(end) {
                end -= 1;
            }
            kept.truncate(end);
        }
        kept
    }

    fn write(&mut self, record: Record) -> Result<(), ChangeError> {
        let bytes = record.encode();
        // What cannot be read again is not written.
        Record::decode(record.record_type(), &bytes)?;
        self.store
            .turn()?
            .append(&[(record.record_type(), bytes, None)])?;
        self.look()?;
        Ok(())
    }
}

/// Most of a kind that one record names.
const PER_RECORD: usize = 4_096;

/// Records of what is not to come back, in as many as it takes.
fn notes(episodes: &[EpisodeId], words: &[SpanHash], at: Moment) -> Vec<Record> {
    let (mut episodes, mut words) = (episodes.chunks(PER_RECORD), words.chunks(PER_RECORD));
    let next = || match (episodes.next(), words.next()) {
        (None, None) => None,
        (episodes, words) => Some(Record::Forgotten(Forgotten {
            episodes: episodes.unwrap_or_default().to_vec(),
            words: words.unwrap_or_default().to_vec(),
            at,
        })),
    };
    std::iter::from_fn(next).collect()
}

/// The model of a call that no model was asked in: it keeps lines from being asked about again.
const NO_MODEL: &str = "none";

/// Says that lines were asked about, when the record of the call that did is gone.
fn asked_about(lines: Vec<Line>, now: Moment) -> Call {
    Call {
        purpose: Purpose::Extract,
        shape: crate::extract::SHAPE.to_owned(),
        model: NO_MODEL.to_owned(),
        at: now,
        took_ms: 0,
        prompt_tokens: 0,
        output_tokens: 0,
        lines,
        facts: Vec::new(),
        answer: String::new(),
        refused: std::collections::BTreeMap::new(),
        receipt: None,
        openings: None,
        gates: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_to_come_back_is_named_in_records_that_are_read_again() {
        let at = Moment::FIRST;
        let id = |number: usize| {
            let mut id = [0; 32];
            id[24..].copy_from_slice(&number.to_be_bytes());
            id
        };
        let episodes: Vec<EpisodeId> = (0..PER_RECORD * 2 + 1).map(|n| EpisodeId(id(n))).collect();
        let words: Vec<SpanHash> = (0..3).map(|n| SpanHash(id(n))).collect();
        let records = notes(&episodes, &words, at);
        assert_eq!(records.len(), 3);
        let (mut named, mut unlearnt) = (Vec::new(), Vec::new());
        for record in &records {
            match Record::decode(record.record_type(), &record.encode()) {
                Ok(Some(Record::Forgotten(note))) => {
                    named.extend(note.episodes);
                    unlearnt.extend(note.words);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((named, unlearnt), (episodes, words));
        assert!(notes(&[], &[], at).is_empty());
    }
}

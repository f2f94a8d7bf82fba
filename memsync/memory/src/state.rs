//! What memory knows, folded out of its records: the same for every order in which they came.
//!
//! A record that was written twice, by two devices apart, is one memory with two operations; forgetting it means both.

use std::collections::{BTreeMap, BTreeSet};

use tally_vault::format::OpId;

use crate::ids::{CallId, EpisodeId, FactId, MemoryId, RemarkId, SpanHash};
use crate::moment::Moment;
use crate::record::{
    Call, Confirmation, Correction, Episode, Fact, Kind, Label, Line, Modality, Policy, Provenance,
    Purpose, Record, Slot,
};
use crate::slots;
use crate::store::{Content, Found};
use crate::timeline::{self, Item, Place};
use crate::vectors::Vectors;

/// A record, and where it lies in the vault.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T> {
    pub(crate) value: T,
    /// Ascending by time of writing; at least one.
    pub(crate) ops: Vec<OpId>,
    /// The vault's time of the first.
    pub(crate) written: u64,
    /// The first, who wrote it, and in which run.
    pub(crate) first: Provenance,
}

impl<T> Kept<T> {
    /// When it was first written.
    pub(crate) fn written_at(&self) -> Moment {
        Moment::of_clock(self.written >> 16)
    }

    pub(crate) const fn provenance(&self) -> Provenance {
        self.first
    }
}

/// Where an episode stands in its conversation: when it was said, when it was written, which repeat, which part.
pub(crate) type Order = (Moment, u64, u32, u32, EpisodeId);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) episodes: BTreeMap<EpisodeId, Kept<Episode>>,
    pub(crate) facts: BTreeMap<FactId, Kept<Fact>>,
    pub(crate) calls: BTreeMap<CallId, Kept<Call>>,
    pub(crate) corrections: BTreeMap<RemarkId, Kept<Correction>>,
    pub(crate) confirmations: BTreeMap<RemarkId, Kept<Confirmation>>,
    pub(crate) forgotten: BTreeSet<EpisodeId>,
    pub(crate) forgotten_words: BTreeSet<SpanHash>,
    /// What the owner wanted last; of two of one moment the stricter counts.
    pub(crate) policy: Option<Policy>,
    /// Lines that a model was asked about.
    pub(crate) learnt: BTreeSet<Line>,
    pub(crate) vectors: Vec<(OpId, Vectors)>,
    /// Facts by the episodes that they rest on.
    resting: BTreeMap<EpisodeId, BTreeSet<FactId>>,
    /// Facts by the call that brought them.
    brought: BTreeMap<CallId, BTreeSet<FactId>>,
    places: BTreeMap<MemoryId, Place>,
    /// Whether something came since the places were decided.
    is_unsettled: bool,
}

impl State {
    pub(crate) fn insert(&mut self, found: Found) {
        let Found {
            op,
            written,
            author,
            run,
            content,
        } = found;
        self.is_unsettled = true;
        let record = match content {
            Content::Vectors(vectors) => {
                self.vectors.push((op, vectors));
                return;
            }
            Content::Record(record) => *record,
        };
        let first = Provenance {
            operation: op,
            author,
            run,
        };
        let at = (written, first);
        match record {
            Record::Episode(one) => keep(&mut self.episodes, one.id(), one, at),
            Record::Fact(one) => {
                let id = one.id();
                for evidence in &one.evidence {
                    self.resting.entry(evidence.episode).or_default().insert(id);
                }
                self.brought.entry(one.call).or_default().insert(id);
                keep(&mut self.facts, id, one, at);
            }
            Record::Call(one) => {
                if one.purpose == Purpose::Extract {
                    self.learnt.extend(&one.lines);
                }
                keep(&mut self.calls, one.id(), one, at);
            }
            Record::Correction(one) => keep(&mut self.corrections, one.id(), one, at),
            Record::Confirmation(one) => keep(&mut self.confirmations, one.id(), one, at),
            Record::Forgotten(one) => {
                self.forgotten.extend(one.episodes);
                self.forgotten_words.extend(one.words);
            }
            Record::Policy(one) => {
                let order = |policy: &Policy| (policy.at, policy.identifiers);
                if self
                    .policy
                    .as_ref()
                    .is_none_or(|last| order(last) < order(&one))
                {
                    self.policy = Some(one);
                }
            }
        }
    }

    /// When an episode was said; when it came in, where nobody knows.
    pub(crate) fn said_at(&self, episode: &Kept<Episode>) -> Moment {
        episode.value.at.unwrap_or_else(|| episode.written_at())
    }

    /// Episodes of each conversation in the order in which they were said.
    pub(crate) fn conversations(&self) -> BTreeMap<(&str, &str), Vec<EpisodeId>> {
        let mut found: BTreeMap<(&str, &str), Vec<EpisodeId>> = BTreeMap::new();
        for (id, one) in &self.episodes {
            found
                .entry((&one.value.app, &one.value.thread))
                .or_default()
                .push(*id);
        }
        for ids in found.values_mut() {
            ids.sort_by_cached_key(|id| self.order(id));
        }
        found
    }

    /// Those of one conversation, in the same order.
    pub(crate) fn conversation(&self, app: &str, thread: &str) -> Vec<EpisodeId> {
        let mut ids: Vec<EpisodeId> = self
            .episodes
            .iter()
            .filter(|(_, one)| one.value.app == app && one.value.thread == thread)
            .map(|(id, _)| *id)
            .collect();
        ids.sort_by_cached_key(|id| self.order(id));
        ids
    }

    /// Where an episode that is here stands in its conversation.
    pub(crate) fn order(&self, id: &EpisodeId) -> Order {
        let one = &self.episodes[id];
        (
            self.said_at(one),
            one.written,
            one.value.repeat,
            one.value.part,
            *id,
        )
    }

    /// Facts that rest on an episode.
    pub(crate) fn resting_on(&self, episode: &EpisodeId) -> impl Iterator<Item = FactId> + '_ {
        self.resting.get(episode).into_iter().flatten().copied()
    }

    /// How many facts a call brought.
    pub(crate) fn brought_by(&self, call: &CallId) -> usize {
        self.brought.get(call).map_or(0, BTreeSet::len)
    }

    /// The fact as it was learnt, by its id or that of a correction: when it was said, what it rests on and its categories are the same
    /// of both.
    pub(crate) fn learnt_fact(&self, id: &MemoryId) -> Option<(FactId, &Fact)> {
        let id = match id {
            MemoryId::Fact(id) => *id,
            MemoryId::Correction(id) => self.corrections.get(id)?.value.of,
            MemoryId::Episode(_) => return None,
        };
        self.facts.get(&id).map(|one| (id, &one.value))
    }

    /// The operations of the vault that hold a memory; none if it is not here.
    pub(crate) fn operations_of(&self, id: &[u8; 32]) -> &[OpId] {
        if let Some(kept) = self.episodes.get(&EpisodeId(*id)) {
            &kept.ops
        } else if let Some(kept) = self.facts.get(&FactId(*id)) {
            &kept.ops
        } else if let Some(kept) = self.corrections.get(&RemarkId(*id)) {
            &kept.ops
        } else {
            &[]
        }
    }

    /// The correction that counts for a fact: the latest.
    pub(crate) fn correction_of(&self, fact: &FactId) -> Option<(&RemarkId, &Kept<Correction>)> {
        self.corrections
            .iter()
            .filter(|(_, one)| one.value.of == *fact)
            .max_by_key(|(id, one)| (one.value.at, **id))
    }

    /// Whether the owner said that a fact is so.
    pub(crate) fn is_confirmed(&self, fact: &FactId) -> bool {
        self.confirmations.values().any(|one| one.value.of == *fact)
    }

    /// Decides where each fact stands, if something came since.
    pub(crate) fn settle(&mut self) {
        if std::mem::take(&mut self.is_unsettled) {
            self.places = timeline::place(&self.items(None));
        }
    }

    /// Where each fact and correction stands in time, as of the last [`Self::settle`].
    pub(crate) const fn places(&self) -> &BTreeMap<MemoryId, Place> {
        &self.places
    }

    /// The same, as far as it had been said by a moment. What was said wrongly and corrected since is taken as corrected.
    pub(crate) fn places_as_of(&self, moment: Moment) -> BTreeMap<MemoryId, Place> {
        timeline::place(&self.items(Some(moment)))
    }

    fn items(&self, said_by: Option<Moment>) -> Vec<Item> {
        let mut latest: BTreeMap<FactId, (&RemarkId, &Kept<Correction>)> = BTreeMap::new();
        for (id, one) in &self.corrections {
            if self.facts.contains_key(&one.value.of) {
                let best = latest.entry(one.value.of).or_insert((id, one));
                if (one.value.at, id) > (best.1.value.at, best.0) {
                    *best = (id, one);
                }
            }
        }
        // Who corrects a statement corrects it wherever it was made by then.
        let mut elsewhere: BTreeMap<FactId, MemoryId> = BTreeMap::new();
        for (id, one) in &self.facts {
            let links = one.value.links.iter();
            for link in links.filter(|link| link.label == Label::Same) {
                for (corrected, other) in [(*id, link.to), (link.to, *id)] {
                    if let Some((correction, kept)) = latest.get(&corrected)
                        && !latest.contains_key(&other)
                        && let Some(made) = self.facts.get(&other)
                        && made.value.observed <= kept.value.at
                    {
                        elsewhere.insert(other, MemoryId::Correction(**correction));
                    }
                }
            }
        }
        let mut items = Vec::with_capacity(self.facts.len() + latest.len());
        for (id, one) in &self.facts {
            if said_by.is_some_and(|moment| moment < one.value.observed) {
                continue;
            }
            let correction = latest.get(id);
            items.push(item(
                MemoryId::Fact(*id),
                &one.value,
                correction
                    .map(|(id, _)| MemoryId::Correction(**id))
                    .or_else(|| elsewhere.get(id).copied()),
            ));
            if let Some((correction, corrected)) = correction
                && !corrected.value.text.is_empty()
            {
                let mut stands = item(
                    MemoryId::Correction(**correction),
                    &corrected_fact(&one.value, &corrected.value),
                    None,
                );
                // What ended or repeated the fact does so to its correction.
                stands.links.retain(|(_, label)| *label != Label::Same);
                items.push(stands);
            }
        }
        items
    }

    /// A fact, or what its correction makes of it.
    pub(crate) fn fact_of(&self, id: &MemoryId) -> Option<(FactId, Fact)> {
        match id {
            MemoryId::Fact(id) => self.facts.get(id).map(|one| (*id, one.value.clone())),
            MemoryId::Correction(id) => {
                let correction = &self.corrections.get(id)?.value;
                let fact = &self.facts.get(&correction.of)?.value;
                Some((correction.of, corrected_fact(fact, correction)))
            }
            MemoryId::Episode(_) => None,
        }
    }
}

/// What a fact says once it is corrected. The evidence stays that of the fact: it is what was corrected.
pub(crate) fn corrected_fact(fact: &Fact, correction: &Correction) -> Fact {
    let found = slots::find(&correction.text);
    Fact {
        text: correction.text.clone(),
        modality: if correction.text.is_empty() || fact.modality == Modality::Plan {
            fact.modality
        } else if found
            .as_ref()
            .is_some_and(|found| found.denied && !found.over)
        {
            Modality::Negated
        } else {
            Modality::Asserted
        },
        from: correction.from.or(fact.from).or(Some(fact.observed)),
        precision: if correction.from.is_some() {
            None
        } else {
            fact.precision
        },
        until: correction.until,
        // What is over is no answer of now.
        slot: found.filter(|found| !found.over).map(|found| found.slot),
        confidence: 1_000,
        ..fact.clone()
    }
}

fn item(id: MemoryId, fact: &Fact, corrected_by: Option<MemoryId>) -> Item {
    Item {
        id,
        subject: fact.subject.to_lowercase(),
        kind: if fact.slot.is_some() {
            Kind::Semantic
        } else {
            fact.kind
        },
        modality: fact.modality,
        observed: fact.observed,
        from: fact.from,
        precision: fact.precision,
        until: fact.until,
        slot: fact
            .slot
            .as_ref()
            .map(|Slot { name, value }| (name.clone(), slots::answer_key(value))),
        links: fact
            .links
            .iter()
            .map(|link| (MemoryId::Fact(link.to), link.label))
            .collect(),
        corrected_by,
    }
}

fn keep<K: Ord, T>(
    map: &mut BTreeMap<K, Kept<T>>,
    id: K,
    value: T,
    (written, first): (u64, Provenance),
) {
    map.entry(id)
        .and_modify(|kept| {
            if !kept.ops.contains(&first.operation) {
                kept.ops.push(first.operation);
            }
            if written < kept.written {
                kept.written = written;
                kept.first = first;
            }
        })
        .or_insert(Kept {
            value,
            ops: vec![first.operation],
            written,
            first,
        });
}

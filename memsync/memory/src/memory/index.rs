//! The index of a memory: documents made of episodes and facts, kept in step with what the records say.
//!
//! A conversation is cut into sessions where nobody spoke for [`SESSION_GAP_MS`]: neighbours of a turn are those of its session.

use std::collections::{BTreeMap, BTreeSet};

use tally_recall::{
    Document, DocumentId, Embedding, Index, Interval, Kind as DocumentKind, VectorIndex, Weights,
};

use crate::ids::{EpisodeId, FactId, MemoryId, RemarkId};
use crate::moment::Moment;
use crate::record::{Category, Episode, Fact, Role};
use crate::secrets::{self, names};
use crate::speech;
use crate::state::{Kept, State};
use crate::timeline::{Place, Standing};

/// A pause after which a conversation is a new one: eight hours.
const SESSION_GAP_MS: i64 = 8 * 3_600_000;

/// Label of a document's app.
pub(crate) fn app_label(app: &str) -> String {
    format!("app:{app}")
}

/// Label of a document's conversation.
pub(crate) fn thread_label(thread: &str) -> String {
    format!("thread:{thread}")
}

/// Label of a category.
pub(crate) fn category_label(category: Category) -> String {
    format!("category:{}", category.as_str())
}

/// Label of a fact as it was learnt.
pub(crate) const LEARNT: &str = "layer:learnt";
/// Label of what the owner put in a fact's place.
pub(crate) const CORRECTION: &str = "layer:correction";

pub(crate) struct Shelf {
    pub(crate) index: Index,
    /// Where each episode stands: session and position, as the index has it.
    places: BTreeMap<EpisodeId, (String, u32)>,
    facts: BTreeMap<MemoryId, Interval>,
    /// Which record of vectors has a text's.
    vectors: BTreeMap<[u8; 32], usize>,
    vectors_read: usize,
    /// What is in the index without vectors.
    waiting: BTreeSet<[u8; 32]>,
    /// What the owner is called, in their latest turn.
    pub(crate) owner: Option<String>,
}

impl Shelf {
    /// An empty one, whose vectors are searched here.
    pub(crate) fn over(vectors: Box<dyn VectorIndex + Send + Sync>) -> Self {
        Self {
            index: Index::with(Weights::default(), vectors),
            places: BTreeMap::new(),
            facts: BTreeMap::new(),
            vectors: BTreeMap::new(),
            vectors_read: 0,
            waiting: BTreeSet::new(),
            owner: None,
        }
    }

    /// Brings the index in step with the state, in which these episodes are new.
    pub(crate) fn take(&mut self, state: &mut State, new: &[EpisodeId], model: Option<&str>) {
        for (at, (_, vectors)) in state.vectors.iter().enumerate().skip(self.vectors_read) {
            if model == Some(vectors.model.as_str()) {
                for id in vectors.entries.keys() {
                    self.vectors.insert(*id, at);
                    // What was put there without its vector is put there again with it.
                    if self.take_out(id) {
                        self.places.remove(&EpisodeId(*id));
                        self.facts.remove(&MemoryId::Fact(FactId(*id)));
                        self.facts.remove(&MemoryId::Correction(RemarkId(*id)));
                    }
                }
            }
        }
        self.vectors_read = state.vectors.len();
        self.take_episodes(state, new);
        state.settle();
        self.take_facts(state);
    }

    fn take_episodes(&mut self, state: &State, new: &[EpisodeId]) {
        let touched: BTreeSet<(&str, &str)> = new
            .iter()
            .chain(
                state
                    .episodes
                    .keys()
                    .filter(|id| !self.places.contains_key(id)),
            )
            .filter_map(|id| state.episodes.get(id))
            .map(|one| (one.value.app.as_str(), one.value.thread.as_str()))
            .collect();
        if touched.is_empty() {
            return;
        }
        for (conversation, ids) in state.conversations() {
            if !touched.contains(&conversation) {
                continue;
            }
            let mut last: Option<Moment> = None;
            let (mut session, mut position) = (0_u32, 0_u32);
            for id in ids {
                let one = &state.episodes[&id];
                let said = state.said_at(one);
                if last.is_some_and(|last| said.unix_ms() - last.unix_ms() > SESSION_GAP_MS) {
                    session += 1;
                    position = 0;
                }
                last = Some(said);
                let name = format!("{}\u{1f}{}\u{1f}{session}", conversation.0, conversation.1);
                let place = (name, position);
                position += 1;
                if self.places.get(&id) == Some(&place) {
                    continue;
                }
                self.take_out(&id.0);
                if let Some(document) = document(id, &one.value, said, &place) {
                    self.put_in(state, document);
                }
                self.places.insert(id, place);
            }
        }
        self.owner = state
            .episodes
            .values()
            .filter(|one| one.value.role == Role::Owner)
            .max_by_key(|one| (state.said_at(one), one.written))
            .map(|one| names::shown(&one.value.speaker));
    }

    fn take_facts(&mut self, state: &State) {
        let wanted: BTreeMap<MemoryId, Interval> = state
            .places()
            .iter()
            .map(|(id, place)| (*id, interval(place)))
            .collect();
        let stale: Vec<MemoryId> = self
            .facts
            .iter()
            .filter(|(id, held)| wanted.get(id) != Some(held))
            .map(|(id, _)| *id)
            .collect();
        for id in stale {
            self.take_out(id.as_bytes());
            self.facts.remove(&id);
        }
        for (id, valid) in wanted {
            if self.facts.contains_key(&id) {
                continue;
            }
            let Some((_, fact)) = state.fact_of(&id) else {
                continue;
            };
            let mut document = fact_document(&id, &fact, valid, self.owner.as_deref());
            for evidence in &fact.evidence {
                if let Some(episode) = state.episodes.get(&evidence.episode) {
                    document.labels.push(app_label(&episode.value.app));
                    document.labels.push(thread_label(&episode.value.thread));
                }
            }
            self.put_in(state, document);
            self.facts.insert(id, valid);
        }
    }

    /// Adds a document that is not there, with its vector if there is one.
    fn put_in(&mut self, state: &State, document: Document) {
        let id = document.id.0;
        let embedding = self.embedding(state, &id);
        if embedding.is_none() {
            self.waiting.insert(id);
        }
        self.index
            .insert(document, embedding.as_ref())
            .expect("it is not there");
    }

    /// Removes a document; says whether it was there.
    fn take_out(&mut self, id: &[u8; 32]) -> bool {
        self.waiting.remove(id);
        self.index.remove(DocumentId(*id))
    }

    fn embedding(&self, state: &State, id: &[u8; 32]) -> Option<Embedding> {
        let (_, vectors) = state.vectors.get(*self.vectors.get(id)?)?;
        Some(vectors.embedding(vectors.entries.get(id)?))
    }

    /// Sentence vector of a memory.
    pub(crate) fn sentence(&self, state: &State, id: &[u8; 32]) -> Option<Vec<f32>> {
        self.embedding(state, id).map(|one| one.sentence)
    }

    /// What is in the index without vectors of the present model, ascending.
    pub(crate) const fn waiting(&self) -> &BTreeSet<[u8; 32]> {
        &self.waiting
    }
}

/// What is searched of an episode: its words, without what was recalled into it and without secrets. None if nothing is left.
fn document(
    id: EpisodeId,
    episode: &Episode,
    said: Moment,
    (session, position): &(String, u32),
) -> Option<Document> {
    let text = searched(&episode.text);
    if text.trim().is_empty() {
        return None;
    }
    let mut document = Document::new(DocumentId(id.0), DocumentKind::Episode, text);
    document.speaker = Some(names::shown(&episode.speaker));
    document.session = Some(session.clone());
    document.position = *position;
    document.observed_at = seconds(said);
    document.labels = vec![app_label(&episode.app), thread_label(&episode.thread)];
    Some(document)
}

/// The words of an episode that are searched.
pub(crate) fn searched(text: &str) -> String {
    let recalled = speech::recalled_in(text);
    if recalled.is_empty() {
        return secrets::mask(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    for range in recalled {
        kept.push_str(&text[at..range.start]);
        at = range.end;
    }
    kept.push_str(&text[at..]);
    secrets::mask(&kept)
}

/// What is embedded of a fact.
pub(crate) fn fact_passage(fact: &Fact, owner: Option<&str>) -> String {
    let id = MemoryId::Fact(fact.id());
    fact_document(&id, fact, Interval::default(), owner).passage()
}

fn fact_document(id: &MemoryId, fact: &Fact, valid: Interval, owner: Option<&str>) -> Document {
    let mut document = Document::new(
        DocumentId(*id.as_bytes()),
        DocumentKind::Fact,
        secrets::mask(&fact.text),
    );
    document.speaker = Some(match fact.subject.as_str() {
        "user" => owner.unwrap_or("user").to_owned(),
        subject => names::shown(subject),
    });
    document.observed_at = seconds(fact.observed);
    document.valid = valid;
    document.labels = fact
        .categories
        .iter()
        .copied()
        .map(category_label)
        .collect();
    document.labels.push(
        match id {
            MemoryId::Correction(_) => CORRECTION,
            MemoryId::Fact(_) | MemoryId::Episode(_) => LEARNT,
        }
        .to_owned(),
    );
    document.evidence = fact
        .evidence
        .iter()
        .map(|one| DocumentId(one.episode.0))
        .collect();
    document
}

/// What a place is to the index: what stands in another's place is found only by who asks for everything.
fn interval(place: &Place) -> Interval {
    let (from, until) = (place.from.map(seconds), place.until.map(seconds));
    match place.standing {
        Standing::Holds | Standing::Planned => Interval { from, until },
        Standing::Happened => Interval { from, until: None },
        Standing::Repeats(_) | Standing::Corrected(_) => {
            let never = from.or(until).unwrap_or_default();
            Interval {
                from: Some(never),
                until: Some(never),
            }
        }
    }
}

pub(crate) fn seconds(moment: Moment) -> tally_recall::Moment {
    tally_recall::Moment(moment.unix_ms().div_euclid(1_000))
}

/// When an episode was said, for whoever shows it.
pub(crate) fn said(state: &State, episode: &Kept<Episode>) -> Moment {
    state.said_at(episode)
}

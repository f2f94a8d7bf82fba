//! The index: documents by slot, what each arm keeps of them, and searches.
//!
//! A document lives in a *slot*, a small integer that is given again after a removal; ids of callers stand beside. Orders
//! that are seen outside never depend on slots: ties are broken by time, then by id.

mod question;
mod search;
mod tokens;

use std::collections::HashMap;

use crate::document::{Document, DocumentId, Interval, Moment};
use crate::embed::{Embedding, TokenVectors};
use crate::lexical::Lexical;
use crate::text;
use crate::text::time::{Day, Span};
use crate::vector::{ExactVectors, VectorIndex};
use crate::weights::Weights;

/// Why a document was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// The caller removes the old document first.
    #[error("insert {0:?}: the index has a document with this id")]
    Present(DocumentId),
    /// The index holds as many documents as slots have numbers.
    #[error("insert {0:?}: the index is full")]
    Full(DocumentId),
}

/// Documents that can be searched.
pub struct Index {
    weights: Weights,
    slots: Vec<Option<Entry>>,
    /// By slot: what every search asks of every document, apart from the rest of it, since a search costs what it reads.
    gates: Vec<Gate>,
    free: Vec<u32>,
    by_id: HashMap<DocumentId, u32>,
    lexical: Lexical,
    vectors: Box<dyn VectorIndex + Send + Sync>,
    sessions: Names,
    /// By session: its documents in order.
    turns: Vec<Vec<Turn>>,
    /// By session, in terms.
    session_lengths: Vec<u32>,
    speakers: Names,
    /// By document, present or not: facts that name it as evidence.
    cited: HashMap<DocumentId, Vec<u32>>,
    /// By name, folded: documents that mention it.
    mentions: HashMap<String, Vec<u32>>,
    /// By speaker: how many documents they have said, without what is drawn from others. A name without documents is no speaker
    /// of this index: a model that takes a thing for a person makes no name of it.
    spoken: Vec<u32>,
}

/// Which searches a document may answer, and where it stands. Of a slot that is free nothing is asked.
#[derive(Clone, Copy, Debug)]
struct Gate {
    valid: Interval,
    observed_at: Moment,
    session: Option<u32>,
}

/// What is kept of a document beside the lexical and the vector index.
struct Entry {
    document: Document,
    tokens: TokenVectors,
    session: Option<u32>,
    speaker: Option<u32>,
    day: Day,
    spans: Vec<Span>,
    is_question: bool,
    /// Names in the text, folded.
    names: Box<[String]>,
    cost: u32,
    /// What decides whether two documents say the same.
    digest: u64,
}

/// A document's place in its session; ordered by position, then by what does not depend on slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    position: u32,
    id: DocumentId,
    slot: u32,
}

/// Names to small integers.
#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<String, u32>,
    folded: Vec<String>,
}

impl Names {
    fn intern(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.folded.len()).expect("fewer than 2^32 names fit in memory");
        self.numbers.insert(name.to_owned(), number);
        self.folded.push(name.to_lowercase());
        number
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// An empty index with exact vector search and the weights of `docs/recall.md`.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Weights::default(), Box::new(ExactVectors::new()))
    }

    /// An empty index with other weights, or vectors kept elsewhere.
    #[must_use]
    pub fn with(weights: Weights, vectors: Box<dyn VectorIndex + Send + Sync>) -> Self {
        Self {
            weights,
            slots: Vec::new(),
            gates: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            lexical: Lexical::default(),
            vectors,
            sessions: Names::default(),
            turns: Vec::new(),
            session_lengths: Vec::new(),
            speakers: Names::default(),
            cited: HashMap::new(),
            mentions: HashMap::new(),
            spoken: Vec::new(),
        }
    }

    /// Documents in the index.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The document of an id.
    #[must_use]
    pub fn get(&self, id: DocumentId) -> Option<&Document> {
        self.by_id
            .get(&id)
            .and_then(|slot| self.entry(*slot))
            .map(|entry| &entry.document)
    }

    /// Adds a document. Without an embedding it is found by words and metadata.
    ///
    /// # Errors
    ///
    /// [`InsertError::Present`] when the id is taken, [`InsertError::Full`] after four billion documents.
    pub fn insert(
        &mut self,
        document: Document,
        embedding: Option<&Embedding>,
    ) -> Result<(), InsertError> {
        let id = document.id;
        if self.by_id.contains_key(&id) {
            return Err(InsertError::Present(id));
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.slots.len()).map_err(|_| InsertError::Full(id))?;
                self.slots.push(None);
                slot
            }
        };
        let terms = document_terms(&document);
        let is_drawn = document.is_drawn();
        self.lexical.insert(slot, &terms, is_drawn);
        if let Some(embedding) = embedding {
            self.vectors.insert(slot, &embedding.sentence);
        }
        let session = document
            .session
            .as_deref()
            .map(|name| self.join(name, slot, &document));
        let speaker = document
            .speaker
            .as_deref()
            .map(|name| self.speakers.intern(name));
        if let Some(speaker) = speaker {
            let at = speaker as usize;
            if self.spoken.len() <= at {
                self.spoken.resize(at + 1, 0);
            }
            self.spoken[at] += u32::from(!is_drawn);
        }
        let words = text::words(&document.text);
        let entry = Entry {
            tokens: embedding
                .map(|embedding| embedding.tokens.clone())
                .unwrap_or_default(),
            session,
            speaker,
            day: text::time::day(document.observed_at),
            spans: text::time::spans(&words, document.observed_at),
            names: names(&words),
            is_question: text::is_question(&document.text),
            cost: text::estimate_tokens(&document.passage()),
            digest: digest(&document, &words),
            document,
        };
        for evidence in &entry.document.evidence {
            self.cited.entry(*evidence).or_default().push(slot);
        }
        for name in &entry.names {
            self.mentions.entry(name.clone()).or_default().push(slot);
        }
        self.by_id.insert(id, slot);
        let gate = Gate {
            valid: entry.document.valid,
            observed_at: entry.document.observed_at,
            session,
        };
        match self.gates.get_mut(slot as usize) {
            Some(old) => *old = gate,
            // Slots are given in order, and each new one comes here.
            None => self.gates.push(gate),
        }
        self.slots[slot as usize] = Some(entry);
        Ok(())
    }

    /// Removes a document and everything that was kept of it; says whether there was one.
    pub fn remove(&mut self, id: DocumentId) -> bool {
        let Some(slot) = self.by_id.remove(&id) else {
            return false;
        };
        let entry = self.slots[slot as usize]
            .take()
            .expect("an id names a slot that is taken");
        if let Some(session) = entry.session {
            let session = session as usize;
            self.turns[session].retain(|turn| turn.slot != slot);
            self.session_lengths[session] -= self.lexical.length(slot);
        }
        if let Some(speaker) = entry.speaker {
            self.spoken[speaker as usize] -= u32::from(!entry.document.is_drawn());
        }
        for evidence in &entry.document.evidence {
            if let Some(facts) = self.cited.get_mut(evidence) {
                facts.retain(|fact| *fact != slot);
                if facts.is_empty() {
                    self.cited.remove(evidence);
                }
            }
        }
        for name in &entry.names {
            if let Some(slots) = self.mentions.get_mut(name) {
                slots.retain(|other| *other != slot);
                if slots.is_empty() {
                    self.mentions.remove(name);
                }
            }
        }
        self.lexical.remove(slot);
        self.vectors.remove(slot);
        self.free.push(slot);
        true
    }

    /// The question as it should be embedded: without the names of speakers, which [`Document::passage`] begins with and which
    /// would outweigh everything else in a small vector. Who was named is a signal of its own.
    #[must_use]
    pub fn embeddable(&self, question: &str) -> String {
        question::without_names(self, question)
    }

    fn join(&mut self, name: &str, slot: u32, document: &Document) -> u32 {
        let number = self.sessions.intern(name);
        let at = number as usize;
        if self.turns.len() <= at {
            self.turns.resize_with(at + 1, Vec::new);
            self.session_lengths.resize(at + 1, 0);
        }
        let turn = Turn {
            position: document.position,
            id: document.id,
            slot,
        };
        let turns = &mut self.turns[at];
        let place = turns.partition_point(|other| *other < turn);
        turns.insert(place, turn);
        self.session_lengths[at] += self.lexical.length(slot);
        number
    }

    fn entry(&self, slot: u32) -> Option<&Entry> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The slot that stands `offset` places after `slot` in its session.
    fn neighbour(&self, slot: u32, offset: isize) -> Option<u32> {
        let entry = self.entry(slot)?;
        let turns = &self.turns[entry.session? as usize];
        let turn = Turn {
            position: entry.document.position,
            id: entry.document.id,
            slot,
        };
        let at = turns.binary_search(&turn).ok()?;
        turns
            .get(at.checked_add_signed(offset)?)
            .map(|turn| turn.slot)
    }
}

fn document_terms(document: &Document) -> Vec<String> {
    let mut terms = text::terms(&document.text);
    terms.extend(text::terms(&document.context));
    terms
}

fn names(words: &[text::Word]) -> Box<[String]> {
    let mut names: Vec<String> = words
        .iter()
        .filter(|word| word.is_name)
        .map(|word| word.folded.clone())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_boxed_slice()
}

/// Equal for documents in the same words by the same speaker. FNV-1a: what follows is compared in full before anything is
/// left out, so that a collision costs nothing.
fn digest(document: &Document, words: &[text::Word]) -> u64 {
    let speaker = document.speaker.as_deref().unwrap_or("");
    std::iter::once(speaker)
        .chain(words.iter().map(|word| word.folded.as_str()))
        .flat_map(|word| word.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
}

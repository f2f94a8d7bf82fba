//! The facade: one memory, in one namespace of a vault.
//!
//! A `Memory` holds what its records say and an index of it, in RAM; [`Memory::refresh`] brings in what others wrote. Each
//! method that needs to know what time it is takes it. Methods wait on the disk and on models: call them from a thread that may.

mod backlog;
mod control;
mod index;
mod learning;
mod phrasing;
mod recalling;
mod remembering;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tally_recall::{Embedder, ExactVectors, Reranker, VectorIndex};
use tally_vault::format::RunId;

use crate::ids::{EpisodeId, FactId, MemoryId, RemarkId};
use crate::moment::Moment;
use crate::record::Purpose;
use crate::secrets::{Identifiers, Secrets};
use crate::similar::Known;
use crate::state::State;
use crate::store::{Damaged, LoadError, SharedVault, Store};

pub use control::{ChangeError, Event, FindError, Forgot, Outline, Shown};
pub use learning::{AskError, DryRun, LearnError, Learnt, Refused};
pub(crate) use phrasing::assemble;
pub use phrasing::{By, Draft, NotTaken, Phrased, Sentence};
pub use recalling::{Cited, Hit, Layer, Mode, RecallError, Recalled, Search};
pub use remembering::{Embedded, KeptVectors, RememberError, Remembered, ToEmbed, Turn, TurnError};

use backlog::Backlog;
use index::Shelf;

/// An embedding model that several threads may use.
pub type SharedEmbedder = Arc<dyn Embedder + Send + Sync>;

/// A reranking model that several threads may use.
pub type SharedReranker = Arc<dyn Reranker + Send + Sync>;

/// Makes an empty index of vectors: where they are searched. Called when a memory is opened, and when its namespace turns out to have been
/// written anew.
pub type MakeVectors = Arc<dyn Fn() -> Box<dyn VectorIndex + Send + Sync> + Send + Sync>;

/// How a memory is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// What is done with secrets that somebody says.
    pub secrets: Secrets,
    /// What is done with numbers and addresses by which a person is known, where that is stricter than what the owner wants
    /// ([`Memory::policy`]).
    pub identifiers: Option<Identifiers>,
    /// Whether the chat model is also asked what new facts are to known ones. Without it rules know the questions that have one
    /// answer at a time (where somebody lives, works, …). A small model's labels are worse than none.
    pub relate: bool,
}

/// Long-term memory of one person, in one namespace of a vault.
pub struct Memory {
    options: Options,
    embedder: Option<SharedEmbedder>,
    reranker: Option<SharedReranker>,
    vectors: MakeVectors,
    store: Store,
    pub(crate) state: State,
    shelf: Shelf,
    /// Behind a lock, because whoever only reads may be the first to ask for it.
    backlog: Mutex<Backlog>,
    /// Facts by what they say.
    known: Known<FactId>,
    damaged: Vec<Damaged>,
}

/// How much a memory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Turns and parts of documents.
    pub episodes: usize,
    /// Facts, whatever became of them.
    pub facts: usize,
    /// Calls of models.
    pub calls: usize,
    /// Episodes and facts whose vectors the present embedding model has not made.
    pub without_vectors: usize,
    /// Lines that no model was asked about.
    pub unlearnt_lines: usize,
}

impl Memory {
    /// Opens the memory in a namespace of a vault, and builds its index.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn open(vault: SharedVault, namespace: &str, options: Options) -> Result<Self, LoadError> {
        Self::open_with(vault, namespace, options, None)
    }

    /// The same, with a model that embeds what is remembered and what is asked.
    ///
    /// # Errors
    /// [`LoadError`]. The model is not called here.
    pub fn open_with(
        vault: SharedVault,
        namespace: &str,
        options: Options,
        embedder: Option<SharedEmbedder>,
    ) -> Result<Self, LoadError> {
        let exact: MakeVectors = Arc::new(|| Box::new(ExactVectors::new()));
        Self::open_over(vault, namespace, options, embedder, exact)
    }

    /// The same, with vectors that are searched elsewhere than by comparing with all.
    ///
    /// # Errors
    /// [`LoadError`]. The model is not called here.
    pub fn open_over(
        vault: SharedVault,
        namespace: &str,
        options: Options,
        embedder: Option<SharedEmbedder>,
        vectors: MakeVectors,
    ) -> Result<Self, LoadError> {
        let mut memory = Self {
            options,
            embedder,
            reranker: None,
            store: Store::open(vault, namespace)?,
            state: State::default(),
            shelf: Shelf::over(vectors()),
            backlog: Mutex::default(),
            vectors,
            known: Known::default(),
            damaged: Vec::new(),
        };
        memory.look()?;
        Ok(memory)
    }

    /// A model that questions which ask for it ([`Search::rerank`](crate::Search::rerank)) have read their best memories.
    pub fn rerank_with(&mut self, reranker: Option<SharedReranker>) {
        self.reranker = reranker;
    }

    /// Brings in what others wrote since: other programs, other devices.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn refresh(&mut self) -> Result<(), LoadError> {
        self.store.vault().refresh()?;
        self.look()
    }

    /// What is written from now on names this run.
    pub fn write_as_run(&mut self, run: Option<RunId>) {
        self.store.run = run;
    }

    /// What the owner is called, in their latest turn.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.shelf.owner.as_deref()
    }

    /// What the owner wants done with personal identifiers, and since when, if they ever said so.
    #[must_use]
    pub fn policy(&self) -> (Identifiers, Option<Moment>) {
        match &self.state.policy {
            Some(policy) => (policy.identifiers, Some(policy.at)),
            None => (Identifiers::default(), None),
        }
    }

    /// What is done with personal identifiers here: what the owner wants, or what this memory was opened with if that is stricter.
    #[must_use]
    pub fn identifiers(&self) -> Identifiers {
        let (wanted, _) = self.policy();
        self.options
            .identifiers
            .map_or(wanted, |asked| asked.max(wanted))
    }

    /// How much there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            episodes: self.state.episodes.len(),
            facts: self.state.facts.len(),
            calls: self.state.calls.len(),
            without_vectors: match &self.embedder {
                Some(_) => self.shelf.waiting().len(),
                None => 0,
            },
            unlearnt_lines: self.backlog().count(),
        }
    }

    /// Whether there is a model that embeds what is remembered.
    #[must_use]
    pub const fn embeds(&self) -> bool {
        self.embedder.is_some()
    }

    /// Whether the keys at hand may add to this memory.
    #[must_use]
    pub fn may_add(&self) -> bool {
        self.store.may_add()
    }

    /// What no model was asked about, up to date.
    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        backlog.read(&self.state);
        backlog
    }

    /// Records of memory's types that are none, and were passed over.
    #[must_use]
    pub fn damaged(&self) -> &[Damaged] {
        &self.damaged
    }

    /// Takes what is new in the vault into the state and the index.
    fn look(&mut self) -> Result<(), LoadError> {
        let mut news = self.store.look()?;
        if news.gone {
            self.state = State::default();
            self.shelf = Shelf::over((self.vectors)());
            self.backlog = Mutex::default();
            self.known = Known::default();
            self.damaged.clear();
            self.store.start_over();
            news = self.store.look()?;
        }
        if news.found.is_empty() && news.damaged.is_empty() {
            return Ok(());
        }
        self.damaged.extend(news.damaged);
        let mut episodes: Vec<EpisodeId> = Vec::new();
        let backlog = self
            .backlog
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for found in news.found {
            if let crate::store::Content::Record(record) = &found.content {
                match &**record {
                    crate::record::Record::Episode(one) => {
                        let id = one.id();
                        episodes.push(id);
                        if !self.state.episodes.contains_key(&id) {
                            backlog.came(id);
                        }
                    }
                    crate::record::Record::Call(one) if one.purpose == Purpose::Extract => {
                        backlog.asked(&self.state, &one.lines);
                    }
                    crate::record::Record::Fact(one) => {
                        self.known.insert(one.id(), &one.subject, &one.text);
                    }
                    _ => {}
                }
            }
            self.state.insert(found);
        }
        self.shelf.take(
            &mut self.state,
            &episodes,
            self.embedder.as_ref().map(|one| one.model()),
        );
        Ok(())
    }

    fn exists(&self, id: &MemoryId) -> bool {
        match id {
            MemoryId::Fact(id) => self.state.facts.contains_key(id),
            MemoryId::Correction(id) => self.state.corrections.contains_key(id),
            MemoryId::Episode(id) => self.state.episodes.contains_key(id),
        }
    }

    /// Every id that can be named.
    fn ids(&self) -> impl Iterator<Item = MemoryId> + '_ {
        let facts = self
            .state
            .facts
            .keys()
            .map(|id: &FactId| MemoryId::Fact(*id));
        let corrections = self
            .state
            .corrections
            .keys()
            .map(|id: &RemarkId| MemoryId::Correction(*id));
        let episodes = self
            .state
            .episodes
            .keys()
            .map(|id: &EpisodeId| MemoryId::Episode(*id));
        facts.chain(corrections).chain(episodes)
    }
}

// A server keeps a memory behind a lock.
const _: () = {
    const fn can_move_to_another_thread<T: Send>() {}
    can_move_to_another_thread::<Memory>();
};

//! What is asked, of which documents, for how many tokens.

use std::collections::HashSet;

use crate::document::{DocumentId, Interval, Kind, Moment};
use crate::embed::Embedding;

/// Most tokens an answer holds unless the query says otherwise.
pub const DEFAULT_TOKENS: u32 = 4096;
/// Most hits an answer holds unless the query says otherwise.
pub const DEFAULT_HITS: usize = 50;

/// Which state of the world is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// What holds at the query's `now`.
    #[default]
    Current,
    /// What held at that moment and had been said by then.
    AsOf(Moment),
    /// Everything, superseded or not.
    All,
}

/// Which documents may answer. An empty list asks for nothing in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these kinds.
    pub kinds: Vec<Kind>,
    /// Of each of these lists at least one label.
    pub labels: Vec<Vec<String>>,
    /// Said by one of these, whatever the case of letters.
    pub speakers: Vec<String>,
    /// In one of these sessions.
    pub sessions: Vec<String>,
    /// Said in this time.
    pub observed: Interval,
}

/// How much may be returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Tokens of all hits together, estimated: a quarter of the bytes of each, and no fewer than its words.
    pub tokens: u32,
    /// Number of hits.
    pub hits: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            tokens: DEFAULT_TOKENS,
            hits: DEFAULT_HITS,
        }
    }
}

/// One question.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The question, as asked.
    pub text: String,
    /// Of [`Index::embeddable`](crate::Index::embeddable)`(text)`, by the embedder of the documents; `None` searches by
    /// words and metadata alone.
    pub embedding: Option<Embedding>,
    /// When it is asked: what "now", "last week" and [`Mode::Current`] mean.
    pub now: Moment,
    /// The speaker that "I" and "my" mean.
    pub asker: Option<String>,
    /// Which state of the world is asked about.
    pub mode: Mode,
    /// With [`Mode::AsOf`]: the facts that held then as far as it had been said by then, where the caller knows them. What was said
    /// later may have moved a fact's interval, which is then not asked.
    pub standing: Option<HashSet<DocumentId>>,
    /// Which documents may answer.
    pub filter: Filter,
    /// How much may be returned.
    pub budget: Budget,
}

impl Query {
    /// A question about what holds at `now`, of everything, by words.
    #[must_use]
    pub fn new(text: impl Into<String>, now: Moment) -> Self {
        Self {
            text: text.into(),
            now,
            ..Self::default()
        }
    }
}

//! Which memories answer a question, and how sure that is: the read path of MemSync.
//!
//! ```text
//!            ┌ words (document, neighbours, session) ┐
//! question ──┼ vectors (sentence, then token by token) ┼─► candidates ─► fusion ─► duplicates ─► budget ─► Answer
//!            └ metadata (who, when, of what form)    ┘
//! ```
//!
//! [`Index`] holds [`Document`]s: verbatim episodes and facts drawn from them. [`Index::search`] answers a [`Query`] with
//! an [`Answer`]: hits inside a budget of tokens, each with the trace of its score, and whether to abstain. Vectors come
//! from an [`Embedder`] that the caller has; without vectors everything works on words and metadata.
//! [`Index::search_and_rerank`] also has a [`Reranker`] read the best candidates together with the question.
//!
//! Invariants:
//!
//! - The answer depends on what is in the index, never on the order in which it came or on what was removed.
//! - A hit passes the query's mode and filter, whichever arm brought it.
//! - Hits together never cost more than the budget.
//! - Nothing here reads a clock, a disk, a socket or a source of randomness; `docs/recall.md` has the formulas.
//!
//! Out of scope: where documents rest (the vault), who extracted a fact, embedding itself, phrasing an answer.

mod answer;
mod document;
mod embed;
pub mod evaluation;
mod index;
mod lexical;
mod query;
mod rerank;
mod text;
mod vector;
mod weights;

pub use answer::{Abstention, Answer, Arm, Hit, Trace};
pub use document::{Document, DocumentId, Interval, Kind, Moment};
pub use embed::{EmbedError, Embedder, Embedding, TOKEN_DIMENSIONS, TokenVectors};
pub use index::{Index, InsertError};
pub use query::{Budget, DEFAULT_HITS, DEFAULT_TOKENS, Filter, Mode, Query};
pub use rerank::{RERANKED, RerankError, Reranker};
pub use vector::{ExactVectors, VectorIndex};
pub use weights::Weights;

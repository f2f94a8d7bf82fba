//! Long-term memory on a vault: what was said, what was learnt from it, and when it holds.
//!
//! ```text
//!  turns ─► episodes (verbatim) ─► model ─► gates ─► facts ─► timeline ─► recall, profile
//!              │                     │                 │
//!              └────── evidence ◄────┴─ receipt ◄──────┘
//! ```
//!
//! * [`Memory`]: [`remember`](Memory::remember), [`learn`](Memory::learn), [`recall`](Memory::recall),
//!   [`profile`](Memory::profile), [`correct`](Memory::correct), [`forget`](Memory::forget), [`verify`](Memory::verify) and the rest.
//! * [`record`]: what lies in the vault. `docs/memory.md` is the format.
//! * [`timeline`]: which facts hold when. [`secrets`], [`speech`]: what is not learnt.
//! * [`ChatModel`] and [`tally_recall::Embedder`]: the two models, implemented above this crate. Everything but facts works
//!   without either.
//!
//! Invariants:
//!
//! * Both layers are kept: an episode is never changed, a fact rests on bytes of episodes, and what is derived says from what.
//! * A model labels, code decides: nothing is stored that did not pass every gate of [`Gate`], and a bio has no sentence of a model
//!   that [`Stop`] stops.
//! * Reading a conversation again adds nothing.
//! * An error is an error: nothing here answers with an empty list because something failed.
//! * What is decrypted stays in memory; the index is built from the vault each time.
//!
//! Out of scope: how a search scores (`memsync/recall`), who may open a vault (`vaults/`), HTTP, running models.

mod dates;
pub mod export;
mod extract;
mod gates;
mod ids;
mod memory;
mod model;
mod moment;
mod phrase;
pub mod profile;
mod quotations;
pub mod record;
mod relate;
pub mod secrets;
mod similar;
mod slots;
pub mod speech;
mod state;
mod store;
#[cfg(test)]
mod testing;
pub mod timeline;
mod vectors;
pub mod verify;

pub use extract::{LARGE_SHAPE, NANO_SHAPE, SHAPE};
pub use gates::{Gate, NUMBER as GATES_NUMBER};
pub use ids::{CallId, EpisodeId, FactId, MemoryId, ParseIdError, RemarkId, SpanHash};
pub use memory::{
    AskError, By, ChangeError, Cited, Counts, Draft, DryRun, Embedded, Event, FindError, Forgot,
    Hit, KeptVectors, Layer, LearnError, Learnt, MakeVectors, Memory, Mode, NotTaken, Options,
    Outline, Phrased, RecallError, Recalled, Refused, RememberError, Remembered, Search, Sentence,
    SharedEmbedder, SharedReranker, Shown, ToEmbed, Turn, TurnError,
};
pub use model::{Answer, Ask, ChatModel, Dialect, Form, Message, ModelError, ReceiptParts, Unused};
pub use moment::{Moment, MomentError};
pub use phrase::{SHAPE as PHRASE_SHAPE, Stop};
pub use record::{Category, Episode, Fact, Kind, Modality, Role};
pub use relate::SHAPE as LABEL_SHAPE;
pub use similar::{Gist, are_twins};
pub use store::{Damaged, LoadError, SharedVault};
pub use tally_recall as recall;

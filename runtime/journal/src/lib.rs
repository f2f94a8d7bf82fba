//! The journal of a run: every input an agent had and every answer it got, in a chain of hashes.
//!
//! A journal is enough to execute the same component again without model, network or key, and to see whether it asks
//! the same questions at the same fuel. `docs/journal.md` fixes every byte.
//!
//! * [`Writer`] appends entries to a [`Sink`]: memory, a file (feature `file`), or one of your own.
//! * [`Journal`] reads bytes that are expected to be hostile, and holds only if every entry does.
//! * [`JournalError`] names the first entry that does not hold, and what was done to it.
//!
//! ```
//! use std::sync::Arc;
//! use tally_journal::{
//!     Completeness, Digest, EngineFingerprint, Genesis, Journal, MemorySink, RunId, SettledTerms, Terms, Timestamp, Writer,
//! };
//!
//! let digest = Digest::of(b"some component");
//! let now = Timestamp::new(1_795_000_000, 0).expect("no nanoseconds are fewer than a second");
//! let terms = Arc::new(SettledTerms::new(Terms {
//!     component: digest,
//!     world: "tally:agent/agent@0.1.0".to_owned(),
//!     engine: EngineFingerprint { name: "wasmtime".to_owned(), version: "48.0.1".to_owned(), config: digest },
//!     manifest: digest,
//!     grant: b"{}".to_vec(),
//!     limits: vec![("fuel".to_owned(), 1_000)],
//!     settings: vec![],
//!     tools: vec![],
//!     functions: vec!["tally:agent/env@0.1.0#now".into()],
//! })?);
//! let genesis = Genesis {
//!     terms,
//!     run_id: RunId::from_bytes([7; 16]),
//!     input: vec![0xf6],
//!     models: vec![],
//!     wasi_seed: [0; 32],
//!     clock_base: now,
//!     started: now,
//!     branch_of: None,
//! };
//! let writer = Writer::create(MemorySink::new(), &genesis)?;
//! let journal = Journal::parse(writer.into_sink().into_bytes())?;
//! assert_eq!(journal.completeness(), Completeness::Open);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Invariants: what the writer writes, the reader accepts; there is one way to write each entry; no byte of an accepted
//! journal can change without the head changing, except in the seal, whose own signature covers it.
//!
//! Out of scope: what the values mean (the engine encodes WIT values as CBOR), who signed the seal (`tally-receipt`),
//! executing again (`tally-engine`).

mod decode;
mod diagnose;
mod encode;
mod entry;
mod error;
#[cfg(feature = "file")]
mod file;
mod format;
mod frames;
mod hash;
mod journal;
pub mod limits;
mod seal;
mod sink;
mod state;
mod terms;
pub mod value;
mod verify;
pub mod view;
mod words;
mod writer;

pub use entry::{
    Body, BranchPoint, Brought, Call, Callee, Decision, EffectClass, End, EngineFingerprint, Enter,
    Entry, FrameId, Genesis, Head, Intent, Outcome, Seq, Terms, Timestamp,
};
pub use error::{Evidence, JournalError, Place};
#[cfg(feature = "file")]
pub use file::{BUFFER_LEN, CreateError, FileSink};
pub use format::{FORMAT_VERSION, MAGIC};
pub use hash::{EntryHash, FRAME_CONTEXT};
pub use journal::{Completeness, Journal, Torn};
pub use seal::{Contradiction, statement};
pub use sink::{MemorySink, Sink};
pub use tally_receipt::{Digest, RunId};
pub use terms::SettledTerms;
pub use verify::{JournalVerifier, code};
pub use writer::{WriteError, Writer};

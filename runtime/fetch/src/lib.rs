//! Large files from elsewhere: resumable, checked before anybody sees them, and never more than the disk holds.
//!
//! ```text
//! hf:owner/repo/file.gguf@rev ─┐
//! https://host/file.gguf ──────┼─► Reference ─► fetch ─► DIR/<key>.part + DIR/<key>.json ─► Fetched (locked, hashed)
//! ./file.gguf ─────────────────┘
//! ```
//!
//! Invariants:
//! - A [`Fetched`] file has the length that was announced and every hash that was given, by the caller or by the hub.
//!   Nothing else is handed out; what fails a check is removed.
//! - A part may be left by a kill at any moment and goes on from where it is: it holds a prefix of one version of the
//!   file, which its note names by the server's strong validator, and one process at a time writes it.
//! - Every hop is https. Plain http is spoken only between this machine and itself.
//! - The hub's token goes to the hub's own origin and nowhere else, whatever redirects say.
//! - Nothing is written before it is known that there is room for it, and the rest of the disk keeps [`RESERVE_BYTES`].
//!
//! `docs/models.md` describes the files and the rules for a stranger. Out of scope: what is in the file (the caller
//! gives its first bytes, [`Request::magic`], so that a web page is not downloaded to its end), and where it goes then.

mod checksum;
mod error;
mod http;
mod part;
mod reference;
mod transfer;

pub use checksum::{Checksums, Expected, ParseHashError};
pub use error::FetchError;
pub use http::{Client, Origin};
pub use part::{Part, RESERVE_BYTES, Unfinished, unfinished};
pub use reference::{Hub, HubFile, Place, Reference, ReferenceError};
pub use transfer::{
    Announced, Event, Fetched, Request, Retry, VouchedBy, discard_copy, fetch, look,
};

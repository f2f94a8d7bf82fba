//! Exchange between two copies of a vault: only what is missing, and only what the peer may have.
//!
//! * [`Peer`] is who is at the other end of anything that reads and writes bytes, after a handshake that needs no copy;
//!   [`Ready`] is the same once both sides can begin, and with a copy it runs a session. [`initiate`] and [`respond`] are all in
//!   one. `docs/vault-sync.md` fixes every byte.
//! * [`Replica`] is what a session needs of a copy; [`Roster`] holds the rules by which every copy judges.
//! * [`Ended`] says what was done, also by a session that failed, and who must act.
//!
//! Invariants: nothing is taken on a peer's word. Each side gives by its own view of what the other may have. Memory is
//! bounded by what is held here, never by what a peer claims. What has arrived whole is kept, at whichever byte a session
//! breaks.
//!
//! Out of scope: reaching the peer and encrypting the way (`tally-link`), what operations mean (`tally-vault-state`).

mod error;
mod forest;
mod handshake;
mod inbox;
pub mod limits;
mod replica;
mod roster;
mod session;
mod wire;

pub use error::{Fault, Refusal, SyncError};
pub use limits::Limits;
pub use replica::{Blob, Held, Item, Notice, Rank, Replica, Scope, Standing, Taken};
pub use roster::Roster;
pub use session::{Counts, Ended, Peer, Ready, Report, SeenAs, initiate, respond};

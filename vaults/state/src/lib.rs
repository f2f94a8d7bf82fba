//! What a vault says: a deterministic fold over the set of its operations (`docs/vault.md`, *What counts*).
//!
//! A [`Fold`] is given seals that **the caller has verified** (a seal *stands*: its own signature, or a standing seal that names
//! it) and the operations that were opened from their boxes, in any order, any number of times, with any of them missing.
//! [`Fold::view`] answers what counts, who may do what, what the records are, which keys there are, and what is odd.
//!
//! # Why the order of delivery cannot matter
//!
//! Everything inserted goes into tables that only grow and are keyed by hashes: a seal, an operation, and the relation "this
//! seal carries this operation". Inserting is therefore idempotent and commutative *on the tables*. Every answer is a
//! function of the tables:
//!
//! * [`Fold::view`] brings the derived part up to date. What it stores for an operation, its verdict, is always the value of
//!   `judge` over the tables; it is computed again whenever something that `judge` reads may have changed (the standing of a
//!   grant, the bounds of a log, a target that was not there before).
//! * Indexes (`u32`) depend on arrival and never leave: what leaves is sorted by id, or by (time, author, sequence, id). No map is
//!   iterated whose order is not that of its keys, and the keys of those that are iterated do not reach the outside.
//! * If one of several candidates has to be shown (the seal under which an operation counts, the version of a record), it is
//!   the least or the greatest by value, never the first that came.
//!
//! # Why it ends, and why two members cannot revoke each other
//!
//! Let `g < h` mean that grant `g` is a proper ancestor of `h` by the parent that `h`'s body names. An operation's id covers its
//! body, so the relation has no cycle, and what is not reached from the root's grant is void; a walk from the root takes each
//! grant once, parents first, at most 256 deep. Whether an operation under `g` counts reads only
//!
//! 1. the standing of `g` (is it valid; where do its revocations end it), and of the target's ancestors, which includes `g`;
//! 2. the logs, which are hash chains and not a question of validity.
//!
//! The standing of `h` reads the grant operation that made it (under its parent `g < h`), the revocations under ancestors
//! `g < h`, and its subject's own revocations of it, which are held against the revocations from above only. So every question
//! is answered from questions about grants strictly closer to the root, but for the last kind, whose answer does not feed
//! on itself. There are no rounds, no fixed point, and no pair of operations that each decide whether the other counts.
//! Data operations decide nothing about control, and control nothing about data but the standing of the grants.
//!
//! # Cost
//!
//! Inserting is O(1) per operation but for what a new control operation brings: the walk over control, a pass over the
//! operations (only those whose grant changed are judged again). A fork or a hole in a log of a member one of whose grants was
//! revoked costs O(that log) for each settling in which that log grew. `examples/scale.rs` prints time and bytes.
//!
//! Out of scope: signatures and bytes (`tally-vault-format`), which frames exist and what may be dropped (`tally-vault`).

mod authority;
mod explain;
mod findings;
mod fold;
mod keys;
mod log;
mod records;
mod tables;
mod view;

pub use explain::Void;
pub use findings::Finding;
pub use fold::{Fact, Fold, Operation, Refused};
pub use keys::{Delivery, EpochKeyRow, NamespaceKeys};
pub use records::{Record, Status};
pub use view::{GrantRow, GrantStanding, LogRow, View, What};

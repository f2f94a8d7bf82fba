//! The transparency log: a Merkle tree of entries, and everything by which others check it.
//!
//! * [`Frontier`] is the tree while it grows: O(log n) state, fast in batches. RFC 6962, SHA-256.
//! * [`InclusionProof`] and [`ConsistencyProof`] are its proofs.
//!
//! Invariants of the crate:
//!
//! * No I/O, no clock, no randomness. It builds for `wasm32-unknown-unknown`.
//! * Everything read is bounded before anything is allocated for it, and has one spelling.
//!
//! Out of scope: what an entry means (`tally-ledger`), where tiles rest and who serves them (the node).

mod hash;
mod tree;

pub use hash::{Hash, empty_root, leaf_hash, node_hash};
pub use tree::{Frontier, FrontierError};

//! The transparency log: a Merkle tree of entries, and everything by which others check it.
//!
//! * [`Frontier`] is the tree while it grows: O(log n) state, fast in batches. RFC 6962, SHA-256.
//! * [`InclusionProof`] and [`ConsistencyProof`] are its proofs; [`extends`] compares two checkpoints by the second.
//! * [`Tiler`], [`TiledTree`]: the tree as files that never change, and proofs from them. C2SP tlog-tiles.
//! * [`Note`], [`SignedCheckpoint`], [`Policy`], [`ProofFile`]: what is signed, by whom it must be, and the file that shows it
//!   all to somebody who is offline. C2SP signed-note, tlog-checkpoint, tlog-cosignature, tlog-policy, tlog-proof.
//!
//! Invariants of the crate:
//!
//! * No I/O, no clock, no randomness. It builds for `wasm32-unknown-unknown`.
//! * Everything read is bounded before anything is allocated for it, and has one spelling.
//!
//! Out of scope: what an entry means (`tally-ledger`), where tiles rest and who serves them (the node).

mod checkpoint;
mod consistency;
mod hash;
mod note;
mod policy;
mod proof;
mod proof_file;
mod text;
mod tiles;
mod tree;

pub use checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
pub use consistency::{ExtendsError, extends};
pub use hash::{Hash, empty_root, leaf_hash, node_hash};
pub use note::{
    InvalidKeyName, KeyName, KeyType, MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteError,
    NoteSignature, Signed, UnixSeconds, VerifierKey, VerifierKeyError,
};
pub use policy::{Judgement, LineError, MAX_ENTRIES, MAX_POLICY_BYTES, Policy, PolicyError};
pub use proof::{
    ConsistencyProof, HashSource, HashTree, InclusionProof, MAX_PROOF_HASHES, NotInTree,
    ProofError, prove_consistency, prove_inclusion, root_of,
};
pub use proof_file::{MAX_EXTRA_BYTES, MAX_PROOF_FILE_BYTES, ProofFile, ProofFileError};
pub use tiles::{
    EntryTooLong, MAX_ENTRY_BYTES, Resource, TILE_WIDTH, TileError, TileFile, TiledTree, Tiler,
    entries_of,
};
pub use tree::{Frontier, FrontierError};

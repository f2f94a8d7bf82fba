//! A node of the quorum ledger: validator, or follower of those that are.
//!
//! * `actor` is one node, over any runtime and any network that commonware's traits describe: a disk and QUIC, or a seeded
//!   simulation of both. [`Handle`] is how the rest of the program talks to it.
//! * [`run`] runs one on a real disk and a real network.
//! * [`Client`] asks nodes: submit, status, proofs. [`LightClient`] knows what is final without having any block. [`Outbox`] holds what a runner has yet to settle.
//! * [`Backup`] is a chain in one file, which [`restore`] makes a node's data of.
//!
//! Invariants:
//! * A block is durable before this node votes for it; a transaction is durable before it is acknowledged.
//! * This node votes for no block that it has not executed itself.
//! * Nothing here decides whether a transaction, a block or a certificate is good: `tally_ledger` does.
//! * Time, randomness, disk and peers come from the runtime and the network that a node is given.
//!
//! Where what is: `actor` is the loop; `chain`, `pool`, `bodies`, `proofs` are its pure parts; `store` is its disk, over
//! `journal` and `kept`, and `snapshots` what makes a start short; `consensus` is the joint to an engine and `simplex` the engine; `wire` is what is said. `docs/node.md` tells an
//! operator what to do, `docs/net.md` has the bytes.

mod actor;
mod backup;
mod bodies;
mod certificate;
mod chain;
mod checkpoints;
mod checks;
mod client;
mod consensus;
mod daemon;
mod evidence;
mod frames;
#[cfg(any(feature = "fuzzing", test))]
pub mod fuzzing;
pub mod guard;
mod handle;
mod http;
mod journal;
mod kept;
mod light;
mod metrics;
mod outbox;
mod pool;
mod proofs;
mod publish;
mod service;
mod settle;
mod simplex;
mod snapshots;
mod store;
mod wire;

#[cfg(any(feature = "fuzzing", test))]
mod scratch;

#[cfg(test)]
#[path = "../../net/src/altered.rs"]
mod altered;
#[cfg(test)]
mod simulation;

pub use actor::Pace;
pub use backup::{Backup, BackupError, Extent, restore};
pub use client::{Acknowledged, AskError, Client, ClientError, Governance};
pub use daemon::{Config, RunError, Running, run};
pub use evidence::write as write_evidence;
pub use handle::{Handle, Stopped};
pub use light::{AdvanceError, LightClient};
pub use outbox::{AppendError, Form, Outbox, Record, Repaired, Sent, SetAside, Settling};
pub use settle::{SettleError, settle};
pub use simplex::{Timing, vote_key};
pub use store::StoreError;
pub use tally_net::Peer;
pub use wire::{
    AccountAnswer, NodeAnswer, Refused, RefusedCode, Status, Submitted, ValidatorStatus,
};

/// What a node needs of a runtime: time, randomness, tasks, a disk.
pub trait Runtime:
    commonware_runtime::Clock
    + commonware_runtime::Spawner
    + commonware_runtime::Storage
    + commonware_runtime::Metrics
    + rand_core::CryptoRng
{
}

impl<T> Runtime for T where
    T: commonware_runtime::Clock
        + commonware_runtime::Spawner
        + commonware_runtime::Storage
        + commonware_runtime::Metrics
        + rand_core::CryptoRng
{
}

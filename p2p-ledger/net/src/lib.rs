//! The network of the ledger: one QUIC endpoint per node, and what is spoken over it.
//!
//! * [`Endpoint::bind`] opens the socket. [`Secret`] is its key, derived for this purpose only.
//! * [`Mesh`] joins validators: one connection for a pair, one stream for a channel. [`ChannelSender`] and
//!   [`ChannelReceiver`] are commonware's p2p traits over it, so consensus runs the same code here and in a simulation.
//! * [`Lan`] says whether others are found, and find this node, on the local network, by their keys.
//! * [`Caller`] and [`serve`] are request and response, for everybody else: submit, status, proofs, blocks.
//!
//! Invariants:
//! * Nobody is contacted but the peers of the [`Mesh`] and whoever a [`Caller`] names: no directory, no port mapping, no probe.
//!   One relay, and a question to the local network, if and only if the [`Config`] says so.
//! * A peer is found by its key alone. What is said on the local network only adds an address to try.
//! * A peer that is not in the mesh's list is turned away before a byte of it is read. What it is called comes from TLS,
//!   never from what it says.
//! * What strangers may have of handshakes, connections and calls is bounded, for each address apart; nobody keeps others out by
//!   staying, and whom a [`Service`] does not admit is turned away before a byte of it is read.
//! * Every queue is bounded. A full queue towards a peer drops the newest message; a full queue from a peer stops reading
//!   from it, so that QUIC's flow control slows it down.
//! * The lower key dials; the other one only if that brings nothing, and then only where no connection is. Connections are told apart by their own id: a late end of an old one never ends the new one.
//!
//! The endpoint is not shared with `tally-link`: that one carries one stream for one pair of devices, under another key,
//! and allows a peer nothing beside it.
//!
//! Out of scope: what the messages mean (`tally-node`). Wire format: `docs/net.md`.

mod call;
mod channel;
mod connections;
mod door;
mod endpoint;
mod frame;
#[cfg(any(feature = "fuzzing", test))]
pub mod fuzzing;
mod mesh;
mod secret;
mod turns;

#[cfg(test)]
mod altered;

pub use call::{Asker, CallError, Caller, Limits, Service, serve};
pub use channel::{ChannelReceiver, ChannelSender, ReceiveError};
pub use door::Origin;
pub use endpoint::{BindError, CALL_ALPN, Config, Endpoint, MESH_ALPN, Peer};
pub use frame::{FrameError, MAX_FRAME};
pub use iroh::RelayUrl;
pub use mesh::{ChannelConfig, Mesh, MeshBlocker, Stats};
pub use secret::{EndpointId, Secret};
pub use tally_lan::Lan;
pub use turns::{Turn, Turns};

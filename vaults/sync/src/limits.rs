//! What a session puts up with: sizes that are part of the protocol, and patience that is the owner's choice.

use std::time::Duration;

use tally_vault_format::limits as format;

/// Bytes that may arrive between two commits, beside one frame: what an interruption can cost.
pub const CHUNK: usize = 256 * 1024;
/// Bytes of a blob in one message.
pub const BLOB_PART: usize = 256 * 1024;
/// Nodes of the comparison in one step.
pub const STEP_NODES: usize = 512;
/// A node with at most so many items on both sides together is listed item by item.
pub const LISTED: u64 = 32;
/// Items that are compared at one place: seals of one author with one counter. A fork wider than this is not
/// exchanged beyond its first.
pub const AT_ONE_PLACE: usize = 256;
/// Seals of one author that may wait for a signature that vouches for them.
pub const UNVERIFIED: usize = 4_096;
/// Trees in a comparison: the authors, and keyrings, slots and blobs.
pub const TREES: usize = format::MEMBERS + 3;
/// Blobs in one message of offers or wishes.
pub const OFFERS: usize = 16_384;
/// Rounds in a session.
pub const ROUNDS: u32 = 16;

/// How long a session waits, and how much it takes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest silence, in either direction.
    pub idle: Duration,
    /// Time that a handshake has; and, from its first byte on, a session with somebody who is no member here.
    pub greeting: Duration,
    /// Time that a session with a member has in any case, from its first byte on.
    pub grace: Duration,
    /// Bytes a second, both directions together, that a session must move once that time is spent. It is what ends a
    /// peer that sends one byte each half minute.
    pub rate: u64,
    /// Bytes that a session takes from the peer.
    pub received: u64,
    /// Frames that a peer may announce.
    pub frames: u64,
    /// Bytes of control logs that are taken from a peer who is nobody here yet, and says that they show who it is.
    pub introduction: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30),
            greeting: Duration::from_secs(10),
            grace: Duration::from_secs(120),
            rate: 4 * 1024,
            received: 64 << 30,
            frames: 64 << 20,
            introduction: 64 << 20,
        }
    }
}

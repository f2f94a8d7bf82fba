//! How a session fails, sorted by who must act.

use std::fmt;
use std::io;

/// Why a session ended before both sides had everything.
#[derive(Debug, thiserror::Error)]
pub enum SyncError<E> {
    /// The channel broke. What had arrived is kept; the next session goes on from there.
    #[error(
        "the connection broke; what had arrived is kept, and the next session goes on from there"
    )]
    Channel(#[source] io::Error),
    /// The peer does not keep to the protocol.
    #[error("the peer does not keep to the protocol: {0}")]
    Peer(#[from] Fault),
    /// The peer ended the session and says why.
    #[error("the peer ended the session: {0}")]
    Refused(Refusal),
    /// This side ends the session.
    #[error("{0}")]
    Declined(Refusal),
    /// The own replica failed.
    #[error("this copy of the vault could not be read or written")]
    Replica(#[source] E),
}

/// What a peer did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not speak this protocol.
    #[error("it does not speak the vault protocol")]
    NotSync,
    /// It speaks another version.
    #[error("it speaks version {0} of the protocol, this program speaks 2")]
    Version(u16),
    /// It means another vault, or proves no knowledge of this one.
    #[error("it means another vault")]
    OtherVault,
    /// Its signature does not prove its member key on this channel: a wrong key, or a handshake that was recorded elsewhere.
    #[error("it did not prove its member key on this channel")]
    Proof,
    /// A message that does not belong here.
    #[error("message {found} where {expected} belongs")]
    Unexpected {
        /// What belongs here.
        expected: &'static str,
        /// The kind that came.
        found: u8,
    },
    /// A message longer than its kind may be.
    #[error("a message of kind {kind} with {length} bytes is over the limit")]
    TooLong {
        /// Its kind.
        kind: u8,
        /// What it claims.
        length: u32,
    },
    /// A message whose bytes do not parse.
    #[error("a message does not parse: {0}")]
    Malformed(&'static str),
    /// It says one thing and then another: digests, counts or orders that contradict each other.
    #[error("it contradicts itself: {0}")]
    Contradiction(&'static str),
    /// It claims to hold more than a vault may, or more than this side is willing to hear of.
    #[error("it claims more than is taken: {0}")]
    TooMuch(&'static str),
    /// It sent what was not announced, or not asked for, or a second time.
    #[error("it sent what nobody asked for: {0}")]
    Unasked(&'static str),
    /// It sent nothing for too long.
    #[error("it was silent for too long")]
    Silent,
    /// It keeps the session alive with next to nothing.
    #[error("it moves too few bytes to be waited for")]
    TooSlow,
    /// A frame, keyring, slot, blob or genesis that does not verify.
    #[error("what it sent does not verify: {0}")]
    Invalid(String),
}

/// Why a session is ended by one side, as it is said on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
#[non_exhaustive]
pub enum Refusal {
    /// The versions have nothing in common.
    Version = 1,
    /// The vault is not here.
    Vault = 2,
    /// The proof of the member key failed.
    Proof = 3,
    /// The peer broke the protocol.
    Protocol = 4,
    /// The peer is no member, as far as is known here.
    NotAMember = 5,
    /// The peer was a member.
    FormerMember = 6,
    /// This side cannot go on; the peer is not at fault.
    Internal = 7,
    /// A limit on time or amount.
    Limit = 8,
}

impl Refusal {
    pub(crate) fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::Version,
            2 => Self::Vault,
            3 => Self::Proof,
            4 => Self::Protocol,
            5 => Self::NotAMember,
            6 => Self::FormerMember,
            7 => Self::Internal,
            8 => Self::Limit,
            _ => return None,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "no common version of the protocol",
            Self::Vault => "the vault is not there",
            Self::Proof => "the member key was not proved",
            Self::Protocol => "the protocol was broken",
            Self::NotAMember => "no member of this vault, as far as the other side knows",
            Self::FormerMember => "no longer a member of this vault",
            Self::Internal => "the other side cannot go on",
            Self::Limit => "a limit on time or amount was reached",
        })
    }
}

impl Fault {
    /// What is said to the peer about it.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::NotSync | Self::Version(_) => Refusal::Version,
            Self::OtherVault => Refusal::Vault,
            Self::Proof => Refusal::Proof,
            Self::TooMuch(_) | Self::Silent | Self::TooSlow => Refusal::Limit,
            _ => Refusal::Protocol,
        }
    }
}

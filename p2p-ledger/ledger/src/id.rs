//! Numbers and names of the ledger. None converts into another.

use std::fmt;

use tally_receipt::{Digest, PublicKey};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The first one.
            pub const ZERO: Self = Self(0);

            /// Takes the number.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after.
            ///
            /// # Panics
            /// After 2^64 - 1. All of these count events, of which there are fewer.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("fewer than 2^64 events"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

number! {
    /// The place of a block in the chain. The genesis block is at 0.
    Height
}
number! {
    /// How often the validators changed before a block.
    Epoch
}
number! {
    /// The place of a receipt among those that one node settled, from 0, without gaps.
    Sequence
}
number! {
    /// How many transactions of an account used a nonce: the nonce of its next one.
    AccountNonce
}
number! {
    /// How often a node's registration changed.
    Revision
}
number! {
    /// How many decisions the validators have made on their own set and on the parameters.
    Decision
}

/// An amount of credits, the ledger's only unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credits(u64);

impl Credits {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Takes the number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum, unless it is too large.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// What is left, unless `other` is more.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Digest);

        impl $name {
            /// Takes the digest.
            pub const fn new(digest: Digest) -> Self {
                Self(digest)
            }

            /// Takes the bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(Digest::from_bytes(bytes))
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl std::str::FromStr for $name {
            type Err = tally_receipt::ParseHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

digest! {
    /// The name of a chain: the digest of its genesis.
    ChainId
}
digest! {
    /// The digest of a block's header, which is what validators vote on.
    BlockDigest
}
digest! {
    /// The digest of a transaction with its signatures.
    TransactionId
}
digest! {
    /// The root of a state.
    StateRoot
}
digest! {
    /// The name of an amount that a payer set aside for a payee.
    HoldId
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(PublicKey);

        impl $name {
            /// Takes the key.
            pub const fn new(key: PublicKey) -> Self {
                Self(key)
            }

            /// The key.
            pub const fn key(self) -> PublicKey {
                self.0
            }

            /// The key's bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

key! {
    /// An account: whoever holds the key owns what is in it.
    AccountId
}
key! {
    /// A registered node: the first key it was registered with, which names it for ever.
    NodeId
}

/// BLAKE3 in its key derivation mode: one function for each purpose, so that no bytes mean two things.
pub(crate) fn hash(purpose: Purpose, write: impl FnOnce(&mut blake3::Hasher)) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(purpose.context());
    write(&mut hasher);
    Digest::from_bytes(*hasher.finalize().as_bytes())
}

/// What a digest is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Genesis,
    Validators,
    Transaction,
    Body,
    Header,
    Hold,
    StateKey,
    StateValue,
    StateLeaf,
    StateNode,
    TrustedCheck,
}

impl Purpose {
    const fn context(self) -> &'static str {
        match self {
            Self::Genesis => "tally-ledger v1 2026-11-29 genesis",
            Self::Validators => "tally-ledger v1 2026-11-29 validators",
            Self::Transaction => "tally-ledger v1 2026-11-29 transaction",
            Self::Body => "tally-ledger v1 2026-11-29 block body",
            Self::Header => "tally-ledger v1 2026-11-29 block header",
            Self::Hold => "tally-ledger v1 2026-11-29 hold",
            Self::StateKey => "tally-ledger v1 2026-11-29 state key",
            Self::StateValue => "tally-ledger v1 2026-11-29 state value",
            Self::StateLeaf => "tally-ledger v1 2026-11-29 state leaf",
            Self::StateNode => "tally-ledger v1 2026-11-29 state node",
            Self::TrustedCheck => "tally-ledger v1 2026-11-29 trusted validators",
        }
    }
}

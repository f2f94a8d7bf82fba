//! What a session needs of a copy of the vault.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use tally_vault_format::{
    BlobId, BoxHash, KeyringId, MemberId, MemberKind, NamespaceId, SealId, Time, VaultId,
};

/// A copy of a vault, as a session sees it. The store implements it on disk, the tests of this crate in memory.
///
/// The session is one future: while a method runs, the session waits. It trusts the replica and nobody else, so
/// `insert…` must verify what it takes. Nothing needs to be durable before [`commit`](Self::commit).
pub trait Replica {
    /// Why the copy could not be read or written. It ends the session.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The vault this is a copy of, or is to become one of.
    fn vault(&self) -> VaultId;

    /// The bytes of `VAULT`, unless this copy has nothing yet.
    fn genesis(&self) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Takes the genesis. Its hash must be the vault id.
    fn insert_genesis(&mut self, bytes: &[u8]) -> Result<Taken, Self::Error>;

    /// What a member may have, as far as this copy and its clock know.
    fn standing(&self, member: &MemberId) -> Result<Standing, Self::Error>;

    /// The authors of whose seals this copy holds any; whoever granted comes before whom it granted.
    fn authors(&self) -> Result<Vec<MemberId>, Self::Error>;

    /// Shows the items of one author with these counters, ascending by (counter, seal id). Of several boxes of a seal,
    /// only the one that is preferred. Only what was verified, or is vouched for by what was, is shown.
    fn items(
        &self,
        author: &MemberId,
        counters: RangeInclusive<u64>,
        visit: &mut dyn FnMut(Item),
    ) -> Result<(), Self::Error>;

    /// The frame of a seal as it is stored; none if it is gone.
    fn frame(
        &self,
        author: &MemberId,
        counter: u64,
        seal: &SealId,
    ) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Takes a frame. A frame with a box replaces one without, and a better box a worse one. Frames of an author come in
    /// ascending order of counters, so a signature may be looked at late, at `commit`: the newest vouches for the rest.
    fn insert(&mut self, frame: &[u8]) -> Result<Taken, Self::Error>;

    /// Makes durable what was inserted and stands. What neither carries a good signature nor is named by a seal that stands
    /// may wait for one that is still to come, within a bound; if this is the last commit, it is dropped, and the answer
    /// is `Invalid`.
    fn commit(&mut self, last: bool) -> Result<Taken, Self::Error>;

    /// The keyrings that a valid rotation names, each with its namespace.
    fn keyrings(&self) -> Result<Vec<(KeyringId, NamespaceId)>, Self::Error>;

    /// A keyring's bytes; none if it is gone.
    fn keyring(&self, id: &KeyringId) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Takes a keyring, if a valid rotation names it.
    fn insert_keyring(&mut self, bytes: &[u8]) -> Result<Taken, Self::Error>;

    /// The members whose slots are here.
    fn slots(&self) -> Result<Vec<MemberId>, Self::Error>;

    /// A slot's bytes; none if it is gone.
    fn slot(&self, member: &MemberId) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Takes a slot, if this copy has none of that member and the member is one.
    fn insert_slot(&mut self, bytes: &[u8]) -> Result<Taken, Self::Error>;

    /// The blobs that are here whole, each with a namespace whose boxes name it. A blob may be shown once for each.
    fn blobs(&self) -> Result<Vec<Blob>, Self::Error>;

    /// Whether a blob is wanted: from which byte on. None if no box here names it with this size, or it is here whole.
    fn blob_wanted(&self, id: &BlobId, size: u64) -> Result<Option<u64>, Self::Error>;

    /// Reads a part of a blob, exactly `into.len()` bytes; false if the blob is gone.
    fn blob_read(&self, id: &BlobId, offset: u64, into: &mut [u8]) -> Result<bool, Self::Error>;

    /// Takes the next part of a wanted blob. With the last part its hash is checked: `Invalid` drops all parts.
    fn blob_write(
        &mut self,
        id: &BlobId,
        size: u64,
        offset: u64,
        part: &[u8],
    ) -> Result<Taken, Self::Error>;
}

/// What became of something that was offered to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is new here, or better than what was here.
    New,
    /// It, or something better, was here.
    Known,
    /// It cannot be judged before something else is here: a predecessor, a grant, a rotation. It was not kept.
    Later,
    /// It may be genuine, and is not kept: its author is nobody here, or its place is full.
    Declined,
    /// It is not genuine, and whoever passes it on did not check it.
    Invalid(String),
}

/// What a member may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody, as far as is known here.
    Unknown,
    /// A member.
    Member {
        /// What it is.
        kind: MemberKind,
        /// The namespaces of which it may have boxes: it holds relay there, or more.
        boxes: Scope,
    },
    /// It was one. Each notice is a revocation that it may see.
    Former {
        /// Where the revocations stand; none after an expiry.
        notices: Vec<Notice>,
    },
}

/// Where a revocation stands: the former member gets this author's control log up to there, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// Who revoked.
    pub author: MemberId,
    /// The counter of the seal that carries the revocation.
    pub through: u64,
}

/// A set of data namespaces. Control belongs to every one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every data namespace, present and future.
    All,
    /// These.
    Only(BTreeSet<NamespaceId>),
}

impl Scope {
    /// No data namespace.
    #[must_use]
    pub const fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// Whether boxes of this namespace are in it.
    #[must_use]
    pub fn contains(&self, namespace: &NamespaceId) -> bool {
        *namespace == NamespaceId::CONTROL
            || match self {
                Self::All => true,
                Self::Only(set) => set.contains(namespace),
            }
    }

    /// What both contain.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, scope) | (scope, Self::All) => scope.clone(),
            (Self::Only(a), Self::Only(b)) => Self::Only(a.intersection(b).copied().collect()),
        }
    }
}

/// How good a box is: the highest is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// The number of its key; 0 where there is no key or no rotation that is known names it.
    pub number: u32,
    /// The time of the rebox, or of the seal.
    pub time: Time,
    /// The hash of the box.
    pub hash: BoxHash,
}

/// Which box of a seal is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// None.
    Bare,
    /// The author's own.
    Original,
    /// One that was made anew.
    Reboxed(Rank),
}

/// One seal, and which box of it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// The number among the author's seals.
    pub counter: u64,
    /// The seal.
    pub seal: SealId,
    /// Where its operations are.
    pub namespace: NamespaceId,
    /// How good the author's own box is, held or not.
    pub original: Rank,
    /// What is held.
    pub held: Held,
}

/// A blob that is held whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    /// Its hash.
    pub id: BlobId,
    /// Bytes of its file.
    pub size: u64,
    /// A namespace whose boxes name it.
    pub namespace: NamespaceId,
}

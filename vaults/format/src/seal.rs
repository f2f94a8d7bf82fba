//! A seal: an author's signed statement over a run of operations of one log.
//!
//! The seals of an author form one chain over all namespaces. Whoever has no key can check a seal, its chain and the
//! hash of its box.

use crate::{
    BoxHash, GrantId, Identity, KeyId, MemberId, NamespaceId, OpId, SealId, Time, VaultId,
    crypto::{self, Signature, Signed},
    limits,
    wire::{Cursor, Fixed, Short},
};

/// Why a seal is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The bytes end inside it.
    #[error("seal is cut off")]
    Truncated,
    /// Counter 0, or a previous seal where there is none, or none where there is one.
    #[error("seal's counter and previous seal contradict each other")]
    Chain,
    /// Sequence 0 or beyond the last number, or `before` contradicts it.
    #[error("seal's sequence numbers and operation before contradict each other")]
    Log,
    /// No operations, or more than fit a box.
    #[error("seal over {0} operations")]
    Count(u32),
    /// The namespace `ff…ff`, which is no namespace.
    #[error("seal in the namespace that stands for all")]
    Namespace,
    /// A key for control, or none for data.
    #[error("seal names a key for clear bytes, or none for encrypted ones")]
    Key,
    /// A box longer than any, or too short to be one.
    #[error("seal over a box of {0} bytes")]
    BoxLength(u32),
    /// Of another vault.
    #[error("seal belongs to vault {0}")]
    ForeignVault(VaultId),
    /// The author did not sign these bytes.
    #[error("signature of the seal does not verify")]
    Signature,
}

impl From<Short> for SealError {
    fn from(_: Short) -> Self {
        Self::Truncated
    }
}

/// Why a seal does not follow another of its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Of another vault or author.
    #[error("seals of different authors")]
    Author,
    /// The counter is not the next.
    #[error("seal {found} where {expected} follows")]
    Counter {
        /// What follows.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// It names another seal as the one before.
    #[error("seal does not name the seal before it")]
    Previous,
}

/// A seal. What [`parse`](Self::parse) returns is well-formed; nothing has been checked against its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The vault.
    pub vault: VaultId,
    /// Who signs.
    pub author: MemberId,
    /// The number among the author's seals, from 1.
    pub counter: u64,
    /// The author's seal before.
    pub previous: SealId,
    /// The namespace of the operations.
    pub namespace: NamespaceId,
    /// Under which grant.
    pub grant: GrantId,
    /// With which epoch key the box was made.
    pub key: KeyId,
    /// The first operation's sequence number.
    pub first: u64,
    /// How many operations.
    pub count: u32,
    /// The operation before the first.
    pub before: OpId,
    /// The last operation.
    pub head: OpId,
    /// The last operation's time.
    pub time: Time,
    /// Bytes of the box.
    pub box_len: u32,
    /// BLAKE3 of the box.
    pub box_hash: BoxHash,
    /// By the author, over all of this.
    pub signature: Signature,
}

impl Seal {
    /// Bytes of a seal.
    pub const LEN: usize = 352;
    const SIGNED_LEN: usize = Self::LEN - 64;

    /// Reads a seal of `vault` and checks that it does not contradict itself.
    ///
    /// # Errors
    /// What is wrong with it; not [`SealError::Signature`].
    pub fn parse(vault: &VaultId, bytes: &[u8; Self::LEN]) -> Result<Self, SealError> {
        let mut cursor = Cursor::new(bytes);
        let seal = Self {
            vault: VaultId(*cursor.array()?),
            author: MemberId(*cursor.array()?),
            counter: cursor.u64()?,
            previous: SealId(*cursor.array()?),
            namespace: NamespaceId(*cursor.array()?),
            grant: GrantId(*cursor.array()?),
            key: KeyId(*cursor.array()?),
            first: cursor.u64()?,
            count: cursor.u32()?,
            before: OpId(*cursor.array()?),
            head: OpId(*cursor.array()?),
            time: Time(cursor.u64()?),
            box_len: cursor.u32()?,
            box_hash: BoxHash(*cursor.array()?),
            signature: Signature(*cursor.array()?),
        };
        if seal.vault != *vault {
            return Err(SealError::ForeignVault(seal.vault));
        }
        seal.check()?;
        Ok(seal)
    }

    /// That the fields do not contradict one another.
    fn check(&self) -> Result<(), SealError> {
        if self.counter == 0 || (self.counter == 1) != self.previous.is_zero() {
            return Err(SealError::Chain);
        }
        if self.count == 0 || self.count > limits::BOX_OPERATIONS {
            return Err(SealError::Count(self.count));
        }
        if self.first == 0
            || (self.first == 1) != self.before.is_zero()
            || self.first.checked_add(u64::from(self.count)).is_none()
        {
            return Err(SealError::Log);
        }
        if self.namespace == NamespaceId::ALL {
            return Err(SealError::Namespace);
        }
        if (self.namespace == NamespaceId::CONTROL) != self.key.is_zero() {
            return Err(SealError::Key);
        }
        if self.box_len < 3 || self.box_len as usize > limits::BOX_LEN {
            return Err(SealError::BoxLength(self.box_len));
        }
        Ok(())
    }

    /// The seal as it is stored.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        Fixed::new()
            .put(&self.signed_bytes())
            .put(&self.signature.0)
            .finish()
    }

    fn signed_bytes(&self) -> [u8; Self::SIGNED_LEN] {
        Fixed::new()
            .put(&self.vault.0)
            .put(&self.author.0)
            .put(&self.counter.to_be_bytes())
            .put(&self.previous.0)
            .put(&self.namespace.0)
            .put(&self.grant.0)
            .put(&self.key.0)
            .put(&self.first.to_be_bytes())
            .put(&self.count.to_be_bytes())
            .put(&self.before.0)
            .put(&self.head.0)
            .put(&self.time.0.to_be_bytes())
            .put(&self.box_len.to_be_bytes())
            .put(&self.box_hash.0)
            .finish()
    }

    /// The seal's name.
    #[must_use]
    pub fn id(&self) -> SealId {
        SealId(crypto::SEAL.hash(&[&self.signed_bytes()]))
    }

    /// Signs the fields as `identity`; `author` and `signature` are overwritten.
    ///
    /// # Errors
    /// If the fields contradict each other.
    pub fn signed(mut self, identity: &Identity) -> Result<Self, SealError> {
        self.author = identity.member();
        self.check()?;
        self.signature = identity.sign(Signed::Seal, &self.id().0);
        Ok(self)
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`SealError::Signature`].
    pub fn verify(&self) -> Result<(), SealError> {
        if Signed::Seal.verify(&self.author, &self.id().0, &self.signature) {
            Ok(())
        } else {
            Err(SealError::Signature)
        }
    }

    /// The last operation's sequence number.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.first + (self.count as u64 - 1)
    }

    /// Checks that this seal is the next of its author after `previous`, whose id is `previous_id`. If so, the
    /// signature of this one vouches for the other.
    ///
    /// # Errors
    /// Where the chain breaks.
    pub fn follows(&self, previous: &Self, previous_id: &SealId) -> Result<(), ChainError> {
        if self.vault != previous.vault || self.author != previous.author {
            return Err(ChainError::Author);
        }
        let expected = previous.counter.saturating_add(1);
        if self.counter != expected {
            return Err(ChainError::Counter {
                expected,
                found: self.counter,
            });
        }
        if self.previous != *previous_id {
            return Err(ChainError::Previous);
        }
        Ok(())
    }
}

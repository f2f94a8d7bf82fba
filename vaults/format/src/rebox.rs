//! A rebox: the packer's signed statement over a box that was made anew, beside the seal of the author.
//!
//! It changes nothing about what the author said. The operations in the new box have the ids that the author sealed.

use crate::{
    BoxHash, GrantId, Identity, KeyId, MemberId, SealId, Time,
    crypto::{self, Signature, Signed},
    limits,
    wire::{Cursor, Fixed, Short},
};

/// Why a rebox is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReboxError {
    /// The bytes end inside it.
    #[error("rebox is cut off")]
    Truncated,
    /// It speaks of another seal than the one it stands beside.
    #[error("rebox of another seal")]
    OtherSeal,
    /// No key: what is in clear is not boxed anew.
    #[error("rebox without a key")]
    Key,
    /// A box longer than any, or too short to be one.
    #[error("rebox of a box of {0} bytes")]
    BoxLength(u32),
    /// The packer did not sign these bytes.
    #[error("signature of the rebox does not verify")]
    Signature,
}

impl From<Short> for ReboxError {
    fn from(_: Short) -> Self {
        Self::Truncated
    }
}

/// A rebox. What [`parse`](Self::parse) returns is well-formed; nothing has been checked against its signature, nor
/// whether the packer may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebox {
    /// Whose box was made anew.
    pub seal: SealId,
    /// Who made it: the author or a curator.
    pub packer: MemberId,
    /// Under which grant.
    pub grant: GrantId,
    /// With which epoch key.
    pub key: KeyId,
    /// When, by the packer's clock.
    pub time: Time,
    /// Bytes of the box.
    pub box_len: u32,
    /// BLAKE3 of the box.
    pub box_hash: BoxHash,
    /// By the packer, over all of this.
    pub signature: Signature,
}

impl Rebox {
    /// Bytes of a rebox.
    pub const LEN: usize = 220;
    const SIGNED_LEN: usize = Self::LEN - 64;

    /// Reads a rebox and checks that it does not contradict itself.
    ///
    /// # Errors
    /// What is wrong with it; not [`ReboxError::Signature`].
    pub fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, ReboxError> {
        let mut cursor = Cursor::new(bytes);
        let rebox = Self {
            seal: SealId(*cursor.array()?),
            packer: MemberId(*cursor.array()?),
            grant: GrantId(*cursor.array()?),
            key: KeyId(*cursor.array()?),
            time: Time(cursor.u64()?),
            box_len: cursor.u32()?,
            box_hash: BoxHash(*cursor.array()?),
            signature: Signature(*cursor.array()?),
        };
        rebox.check()?;
        Ok(rebox)
    }

    fn check(&self) -> Result<(), ReboxError> {
        if self.key.is_zero() {
            return Err(ReboxError::Key);
        }
        if self.box_len < 3 || self.box_len as usize > limits::BOX_LEN {
            return Err(ReboxError::BoxLength(self.box_len));
        }
        Ok(())
    }

    /// The rebox as it is stored.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        Fixed::new()
            .put(&self.signed_bytes())
            .put(&self.signature.0)
            .finish()
    }

    fn signed_bytes(&self) -> [u8; Self::SIGNED_LEN] {
        Fixed::new()
            .put(&self.seal.0)
            .put(&self.packer.0)
            .put(&self.grant.0)
            .put(&self.key.0)
            .put(&self.time.0.to_be_bytes())
            .put(&self.box_len.to_be_bytes())
            .put(&self.box_hash.0)
            .finish()
    }

    /// Signs the fields as `identity`; `packer` and `signature` are overwritten.
    ///
    /// # Errors
    /// If the fields contradict each other.
    pub fn signed(mut self, identity: &Identity) -> Result<Self, ReboxError> {
        self.packer = identity.member();
        self.check()?;
        self.signature = identity.sign(Signed::Rebox, &crypto::REBOX.hash(&[&self.signed_bytes()]));
        Ok(self)
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`ReboxError::Signature`].
    pub fn verify(&self) -> Result<(), ReboxError> {
        let id = crypto::REBOX.hash(&[&self.signed_bytes()]);
        if Signed::Rebox.verify(&self.packer, &id, &self.signature) {
            Ok(())
        } else {
            Err(ReboxError::Signature)
        }
    }
}

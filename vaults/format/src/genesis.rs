//! `VAULT`: the 245 bytes that never change, and whose hash is the vault's name.

use rand_core::CryptoRng;

use crate::{
    Card, CardError, Identity, MemberKind, Time, VaultId,
    crypto::{self, Signature, Signed},
    wire::{Cursor, Fixed, Short},
};

/// Why a genesis is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Not 245 bytes.
    #[error("genesis has {found} bytes instead of {}", Genesis::LEN)]
    Length {
        /// How many there are.
        found: usize,
    },
    /// It does not begin with `TALLYVLT`.
    #[error("not a vault's genesis")]
    Magic,
    /// A version that this reader does not know.
    #[error("vault has format version {0}, this program reads 1")]
    Version(u16),
    /// A suite that this reader does not know.
    #[error(
        "vault uses cipher suite {0}, this program knows 2 (1 was before the first release: export it with the program that made it)"
    )]
    Suite(u16),
    /// The card is not a root's.
    #[error("genesis names a {0} where the root belongs")]
    NotRoot(MemberKind),
    /// The root's card is refused.
    #[error("root card: {0}")]
    Card(#[from] CardError),
    /// The root did not sign these bytes.
    #[error("signature of the genesis does not verify")]
    Signature,
}

/// The beginning of a vault, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    bytes: [u8; Self::LEN],
    created: Time,
    root: Card,
}

impl Genesis {
    /// Bytes of a genesis.
    pub const LEN: usize = 245;
    pub(crate) const MAGIC: &[u8; 8] = b"TALLYVLT";
    /// The one suite: every primitive, and how large contents are enciphered.
    const SUITE: u16 = 2;
    const SIGNED_LEN: usize = Self::LEN - 64;

    /// A new vault of `root`, which must be of kind root.
    ///
    /// # Panics
    /// If the identity is of another kind.
    #[must_use]
    pub fn new(root: &Identity, created: Time, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        assert_eq!(
            root.card().kind(),
            MemberKind::Root,
            "a vault is begun by its root"
        );
        let mut random = [0; 32];
        rng.fill_bytes(&mut random);
        let unsigned: [u8; Self::SIGNED_LEN] = Fixed::new()
            .put(Self::MAGIC)
            .put(&1u16.to_be_bytes())
            .put(&Self::SUITE.to_be_bytes())
            .put(&random)
            .put(&created.0.to_be_bytes())
            .put(&root.card().encode())
            .finish();
        let signature = root.sign(Signed::Genesis, &crypto::GENESIS.hash(&[&unsigned]));
        let bytes = Fixed::new().put(&unsigned).put(&signature.0).finish();
        Self {
            bytes,
            created,
            root: *root.card(),
        }
    }

    /// Reads a genesis and checks everything about it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, GenesisError> {
        let found = bytes.len();
        // A foreign file is called one, whatever its length.
        if bytes.len() >= 8 && !bytes.starts_with(Self::MAGIC) {
            return Err(GenesisError::Magic);
        }
        let mut cursor = Cursor::new(bytes);
        let length = |_: Short| GenesisError::Length { found };
        cursor.array::<8>().map_err(length)?;
        match cursor.u16().map_err(length)? {
            1 => {}
            other => return Err(GenesisError::Version(other)),
        }
        match cursor.u16().map_err(length)? {
            Self::SUITE => {}
            other => return Err(GenesisError::Suite(other)),
        }
        let bytes: &[u8; Self::LEN] = bytes
            .try_into()
            .map_err(|_| GenesisError::Length { found })?;
        cursor.array::<32>().map_err(length)?;
        let created = Time(cursor.u64().map_err(length)?);
        let root = Card::parse(cursor.array().map_err(length)?)?;
        if root.kind() != MemberKind::Root {
            return Err(GenesisError::NotRoot(root.kind()));
        }
        let signature = Signature(*cursor.array().map_err(length)?);
        let id = crypto::GENESIS.hash(&[&bytes[..Self::SIGNED_LEN]]);
        if !Signed::Genesis.verify(&root.member(), &id, &signature) {
            return Err(GenesisError::Signature);
        }
        Ok(Self {
            bytes: *bytes,
            created,
            root,
        })
    }

    /// The genesis as it is stored.
    #[must_use]
    pub const fn encode(&self) -> &[u8; Self::LEN] {
        &self.bytes
    }

    /// The vault's name.
    #[must_use]
    pub fn vault_id(&self) -> VaultId {
        VaultId(crypto::VAULT_ID.hash(&[&self.bytes]))
    }

    /// When the vault was made, by its root's clock.
    #[must_use]
    pub const fn created(&self) -> Time {
        self.created
    }

    /// The root's card.
    #[must_use]
    pub const fn root(&self) -> &Card {
        &self.root
    }
}

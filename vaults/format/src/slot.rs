//! A member's seed under a passphrase.
//!
//! The cost of a guess is Argon2id, within bounds that are checked before any work, so a file can neither ask for all
//! memory nor make guessing cheap. The member's signature covers the file and is checked first: changed parameters are
//! named as such and not taken for a wrong passphrase. The seed inside must be the card's, so one file cannot be made to
//! open under many passphrases.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, aead::AeadInOut as _};
use rand_core::CryptoRng;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    Card, CardError, Identity, Seed, VaultId,
    crypto::{self, Signature, Signed},
    wire::{Cursor, Fixed, Short},
};

/// The work that a guess at a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl SlotCost {
    /// 256 MiB, 3 passes, 4 lanes (RFC 9106 recommends 64 MiB, 3 and 4 as its second choice).
    pub const DEFAULT: Self = Self {
        memory_kib: 262_144,
        passes: 3,
        lanes: 4,
    };
    /// The least that is permitted: 64 MiB, 2 passes, 1 lane. For tests.
    pub const LEAST: Self = Self {
        memory_kib: 65_536,
        passes: 2,
        lanes: 1,
    };

    /// A cost inside the bounds.
    ///
    /// # Errors
    /// The parameters, if they are outside.
    pub const fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, SlotError> {
        if memory_kib < 65_536
            || memory_kib > 2_097_152
            || passes < 2
            || passes > 16
            || lanes < 1
            || lanes > 8
            || memory_kib as u64 * passes as u64 > 6_291_456
        {
            return Err(SlotError::Cost {
                memory_kib,
                passes,
                lanes,
            });
        }
        Ok(Self {
            memory_kib,
            passes,
            lanes,
        })
    }

    /// Memory in KiB.
    #[must_use]
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    #[must_use]
    pub const fn passes(self) -> u32 {
        self.passes
    }

    /// Lanes.
    #[must_use]
    pub const fn lanes(self) -> u32 {
        self.lanes
    }
}

/// Why a slot is refused before a passphrase is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// Not 335 bytes.
    #[error("slot has {found} bytes instead of {}", Slot::LEN)]
    Length {
        /// How many there are.
        found: usize,
    },
    /// It does not begin with `TALLYSLT`.
    #[error("not a slot")]
    Magic,
    /// A version that this reader does not know.
    #[error("slot has format version {0}, this program reads 1")]
    Version(u16),
    /// Of another vault.
    #[error("slot belongs to vault {0}")]
    ForeignVault(VaultId),
    /// A cost that is not tried, because it is too small to protect or too large to be honest.
    #[error(
        "slot asks for {memory_kib} KiB, {passes} passes and {lanes} lanes, which is out of bounds"
    )]
    Cost {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// The card is refused.
    #[error("slot card: {0}")]
    Card(#[from] CardError),
    /// The member did not sign these bytes: something in the slot was changed.
    #[error("signature of the slot does not verify: it was altered")]
    Signature,
}

/// Why a slot did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenSlotError {
    /// Not the passphrase of this slot: it does not open, or to another seed than the card's. Which of the two is not
    /// told, because a slot that was made to open under many passphrases would use the difference.
    #[error("wrong passphrase")]
    Passphrase,
    /// The memory for Argon2id could not be had.
    #[error("not enough memory for {memory_kib} KiB of Argon2id")]
    Memory {
        /// What the slot asks for.
        memory_kib: u32,
    },
}

/// A slot that is well-formed, inside the bounds and signed by its member. It has not been opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    vault: VaultId,
    card: Card,
    cost: SlotCost,
    bytes: [u8; Self::LEN],
}

impl Slot {
    /// Bytes of a slot.
    pub const LEN: usize = 335;
    const MAGIC: &[u8; 8] = b"TALLYSLT";
    /// Everything before the nonce.
    const HEADER_LEN: usize = 199;
    const SIGNED_LEN: usize = Self::LEN - 64;

    /// Seals the seed of `identity` under a passphrase.
    ///
    /// # Errors
    /// [`OpenSlotError::Memory`] only.
    pub fn seal(
        vault: VaultId,
        identity: &Identity,
        passphrase: &str,
        cost: SlotCost,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, OpenSlotError> {
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut nonce);
        let header: [u8; Self::HEADER_LEN] = Fixed::new()
            .put(Self::MAGIC)
            .put(&1u16.to_be_bytes())
            .put(&vault.0)
            .put(&identity.card().encode())
            .put(&cost.memory_kib.to_be_bytes())
            .put(&cost.passes.to_be_bytes())
            .put(&cost.lanes.to_be_bytes())
            .put(&salt)
            .finish();
        let okm = derive(&header, passphrase, cost)?;
        let (key, commitment) = okm.split_at(32);
        let mut sealed = Zeroizing::new([0; 48]);
        sealed[..32].copy_from_slice(identity.seed().expose());
        let (text, tag) = sealed.split_at_mut(32);
        let cipher = XChaCha20Poly1305::new_from_slice(key).expect("32 bytes");
        let sealed_tag = cipher
            .encrypt_inout_detached(&nonce.into(), commitment, text.into())
            .expect("32 bytes are not too long");
        tag.copy_from_slice(&sealed_tag);
        let unsigned: [u8; Self::SIGNED_LEN] =
            Fixed::new().put(&header).put(&nonce).put(&*sealed).finish();
        let signature = identity.sign(Signed::Slot, &crypto::SLOT.hash(&[&unsigned]));
        let bytes = Fixed::new().put(&unsigned).put(&signature.0).finish();
        Ok(Self {
            vault,
            card: *identity.card(),
            cost,
            bytes,
        })
    }

    /// Reads a slot of `vault` and checks everything that can be checked without the passphrase.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(vault: &VaultId, bytes: &[u8]) -> Result<Self, SlotError> {
        let found = bytes.len();
        if bytes.len() >= 8 && !bytes.starts_with(Self::MAGIC) {
            return Err(SlotError::Magic);
        }
        let length = |_: Short| SlotError::Length { found };
        let mut cursor = Cursor::new(bytes);
        cursor.array::<8>().map_err(length)?;
        match cursor.u16().map_err(length)? {
            1 => {}
            other => return Err(SlotError::Version(other)),
        }
        let bytes: &[u8; Self::LEN] = bytes.try_into().map_err(|_| SlotError::Length { found })?;
        let named = VaultId(*cursor.array().map_err(length)?);
        if named != *vault {
            return Err(SlotError::ForeignVault(named));
        }
        let card = cursor.array::<{ Card::LEN }>().map_err(length)?;
        let cost = SlotCost::new(
            cursor.u32().map_err(length)?,
            cursor.u32().map_err(length)?,
            cursor.u32().map_err(length)?,
        )?;
        let card = Card::parse(card)?;
        let signature = Signature(*bytes.last_chunk().expect("longer than a signature"));
        let id = crypto::SLOT.hash(&[&bytes[..Self::SIGNED_LEN]]);
        if !Signed::Slot.verify(&card.member(), &id, &signature) {
            return Err(SlotError::Signature);
        }
        Ok(Self {
            vault: named,
            card,
            cost,
            bytes: *bytes,
        })
    }

    /// The slot as it is stored.
    #[must_use]
    pub const fn encode(&self) -> &[u8; Self::LEN] {
        &self.bytes
    }

    /// The vault it belongs to.
    #[must_use]
    pub const fn vault(&self) -> VaultId {
        self.vault
    }

    /// Whose seed is inside.
    #[must_use]
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// What a guess costs.
    #[must_use]
    pub const fn cost(&self) -> SlotCost {
        self.cost
    }

    /// Where the slot lies in a vault: `slots/` and the first 8 bytes of the signing key.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.slot", hex::encode(&self.card.member().0[..8]))
    }

    /// Tries a passphrase. Takes the time and memory of [`cost`](Self::cost).
    ///
    /// # Errors
    /// Why there is no identity.
    pub fn open(&self, passphrase: &str) -> Result<Identity, OpenSlotError> {
        let (header, rest) = self.bytes.split_at(Self::HEADER_LEN);
        let nonce: &[u8; 24] = rest.first_chunk().expect("the slot's length");
        let header = header.try_into().expect("the slot's length");
        let okm = derive(header, passphrase, self.cost)?;
        let (key, commitment) = okm.split_at(32);
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(&rest[24..56]);
        let tag: [u8; 16] = *rest[56..].first_chunk().expect("the slot's length");
        let cipher = XChaCha20Poly1305::new_from_slice(key).expect("32 bytes");
        cipher
            .decrypt_inout_detached(
                nonce.into(),
                commitment,
                seed.as_mut_slice().into(),
                &tag.into(),
            )
            .map_err(|_| OpenSlotError::Passphrase)?;
        let identity = Identity::new(self.card.kind(), Seed::from_bytes(*seed));
        if *identity.card() == self.card {
            Ok(identity)
        } else {
            Err(OpenSlotError::Passphrase)
        }
    }
}

/// Key and commitment of a slot.
fn derive(
    header: &[u8; Slot::HEADER_LEN],
    passphrase: &str,
    cost: SlotCost,
) -> Result<Zeroizing<[u8; 64]>, OpenSlotError> {
    let memory = OpenSlotError::Memory {
        memory_kib: cost.memory_kib,
    };
    let salt: &[u8; 16] = header.last_chunk().expect("the header ends with the salt");
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .expect("inside the bounds of Argon2");
    let mut blocks = Vec::new();
    blocks
        .try_reserve_exact(params.block_count())
        .map_err(|_| memory)?;
    blocks.resize(params.block_count(), argon2::Block::new());
    let normal = normalize(passphrase);
    let mut kek = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(normal.as_bytes(), salt, &mut *kek, &mut blocks)
        .expect("lengths are those of the format");
    for block in &mut blocks {
        block.zeroize();
    }
    Ok(crypto::SLOT_KEY.expand(&[&*kek, header]))
}

/// NFKC, without a copy left behind.
fn normalize(passphrase: &str) -> Zeroizing<String> {
    let capacity = passphrase.nfkc().map(char::len_utf8).sum();
    let mut normal = Zeroizing::new(String::with_capacity(capacity));
    normal.extend(passphrase.nfkc());
    normal
}

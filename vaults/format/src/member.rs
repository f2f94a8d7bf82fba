//! Who is in a vault: a seed, the two key pairs that come from it, and the card that shows them.
//!
//! Whoever holds the seed is the member. The card is public: it pairs the signing key with the receiving key by a
//! signature, so nobody can pair a signing key with a receiving key of somebody else. A [`Card`] that exists has been
//! checked.

use std::fmt;

use ed25519_dalek::SigningKey;
use rand_core::CryptoRng;
use x25519_dalek::StaticSecret;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::{
    MemberId, ReceiveKey,
    crypto::{self, Signature, Signed},
    wire::Fixed,
};

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MemberKind {
    /// The one whose seed is the recovery phrase.
    Root = 0,
    /// Whoever knows a passphrase.
    Slot = 1,
    /// A device of the vault's owner.
    Device = 2,
    /// An agent.
    Agent = 3,
    /// One that stores and forwards.
    Relay = 4,
}

impl MemberKind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Root,
            1 => Self::Slot,
            2 => Self::Device,
            3 => Self::Agent,
            4 => Self::Relay,
            _ => return None,
        })
    }

    /// The name that the format page gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Slot => "slot",
            Self::Device => "device",
            Self::Agent => "agent",
            Self::Relay => "relay",
        }
    }
}

impl fmt::Display for MemberKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a card is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// The kind is none of the five.
    #[error("member kind {0} is unknown")]
    UnknownKind(u8),
    /// The signing key is no point, a point of small order, or not in its canonical form.
    #[error("signing key is not a usable Ed25519 key")]
    SigningKey,
    /// The receiving key is of small order or not in its canonical form.
    #[error("receiving key is of small order or not canonical")]
    ReceiveKey,
    /// The signing key did not sign for this receiving key.
    #[error("cross signature does not verify")]
    CrossSignature,
}

/// The public side of a member: kind, signing key, receiving key, and the signature that pairs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    kind: MemberKind,
    member: MemberId,
    receive: ReceiveKey,
    cross: Signature,
}

impl Card {
    /// Bytes of a card.
    pub const LEN: usize = 129;

    /// Reads a card and checks its keys and its signature.
    ///
    /// # Errors
    /// What is wrong with the card.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, CardError> {
        let kind = MemberKind::from_number(bytes[0]).ok_or(CardError::UnknownKind(bytes[0]))?;
        let member = MemberId(*bytes[1..].first_chunk().expect("inside 129 bytes"));
        let receive = ReceiveKey(*bytes[33..].first_chunk().expect("inside 129 bytes"));
        let cross = Signature(*bytes[65..].first_chunk().expect("inside 129 bytes"));
        if !is_usable_signing_key(&member) {
            return Err(CardError::SigningKey);
        }
        if !is_usable_receive_key(&receive) {
            return Err(CardError::ReceiveKey);
        }
        let card = Self {
            kind,
            member,
            receive,
            cross,
        };
        if !Signed::Card.verify(&member, &card.signed_id(), &cross) {
            return Err(CardError::CrossSignature);
        }
        Ok(card)
    }

    /// The card as it is stored.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        Fixed::new()
            .put(&[self.kind as u8])
            .put(&self.member.0)
            .put(&self.receive.0)
            .put(&self.cross.0)
            .finish()
    }

    /// What the member is.
    #[must_use]
    pub const fn kind(&self) -> MemberKind {
        self.kind
    }

    /// The signing key, which is the member's name.
    #[must_use]
    pub const fn member(&self) -> MemberId {
        self.member
    }

    /// The key that receives epoch keys.
    #[must_use]
    pub const fn receive(&self) -> ReceiveKey {
        self.receive
    }

    fn signed_id(&self) -> [u8; 32] {
        crypto::CARD.hash(&[&[self.kind as u8], &self.member.0, &self.receive.0])
    }
}

/// A point of large order in its canonical form.
fn is_usable_signing_key(key: &MemberId) -> bool {
    // Decompression takes y modulo p, so the form is compared with the number below p.
    is_canonical_field_element(&{
        let mut y = key.0;
        y[31] &= 0x7f;
        y
    }) && ed25519_dalek::VerifyingKey::from_bytes(&key.0).is_ok_and(|key| !key.is_weak())
}

fn is_usable_receive_key(key: &ReceiveKey) -> bool {
    /// The canonical u of every point of order 1, 2, 4 or 8 on the curve and its twist (RFC 7748, section 7).
    const SMALL_ORDER: [[u8; 32]; 5] = [
        [0; 32],
        {
            let mut one = [0; 32];
            one[0] = 1;
            one
        },
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
            0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16,
            0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83,
            0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd,
            0xd0, 0x9f, 0x11, 0x57,
        ],
        {
            let mut minus_one = [0xff; 32];
            minus_one[0] = 0xec;
            minus_one[31] = 0x7f;
            minus_one
        },
    ];
    is_canonical_field_element(&key.0) && !SMALL_ORDER.contains(&key.0)
}

/// Whether these little-endian bytes are a number below 2^255 − 19.
fn is_canonical_field_element(bytes: &[u8; 32]) -> bool {
    let greatest = bytes[31] == 0x7f && bytes[1..31].iter().all(|&b| b == 0xff);
    bytes[31] & 0x80 == 0 && !(greatest && bytes[0] >= 0xed)
}

/// The secret from which a member's keys come.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Bytes of a seed.
    pub const LEN: usize = 32;

    /// A new member's seed.
    #[must_use]
    pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut seed = Self([0; 32]);
        rng.fill_bytes(&mut seed.0);
        seed
    }

    /// The seed with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret itself.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A member as the one who holds its seed: its card and its secret keys.
pub struct Identity {
    seed: Seed,
    card: Card,
    signing: SigningKey,
    receiving: StaticSecret,
}

impl Identity {
    /// The member of that kind whose seed this is.
    #[must_use]
    pub fn new(kind: MemberKind, seed: Seed) -> Self {
        let signing = SigningKey::from_bytes(&crypto::SIGN_SEED.expand::<32>(&[&seed.0]));
        let secret: Zeroizing<[u8; 32]> = crypto::RECEIVE_SEED.expand(&[&seed.0]);
        let receiving = StaticSecret::from(*secret);
        let mut card = Card {
            kind,
            member: MemberId(signing.verifying_key().to_bytes()),
            receive: ReceiveKey(x25519_dalek::PublicKey::from(&receiving).to_bytes()),
            cross: Signature([0; 64]),
        };
        card.cross = Signed::Card.sign(&signing, &card.signed_id());
        Self {
            seed,
            card,
            signing,
            receiving,
        }
    }

    /// The public side.
    #[must_use]
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// The member's name.
    #[must_use]
    pub const fn member(&self) -> MemberId {
        self.card.member
    }

    /// The secret that all of this comes from.
    #[must_use]
    pub const fn seed(&self) -> &Seed {
        &self.seed
    }

    pub(crate) fn sign(&self, purpose: Signed, id: &[u8; 32]) -> Signature {
        purpose.sign(&self.signing, id)
    }

    pub(crate) const fn receiving(&self) -> &StaticSecret {
        &self.receiving
    }

    /// The Ed25519 secret, for a transport whose peers are members (its public key is [`member`](Self::member)).
    #[must_use]
    pub fn expose_signing_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing.to_bytes())
    }
}

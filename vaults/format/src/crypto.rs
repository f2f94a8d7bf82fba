//! The hashes and signatures of suite 2, each with its purpose.

use std::sync::OnceLock;

use blake3::{Hasher, hazmat};
use ed25519_dalek::Signer as _;
use hazmat::HasherExt as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::MemberId;

/// What one hash is for. The context is hashed once and kept.
pub(crate) struct Purpose {
    context: &'static str,
    key: OnceLock<hazmat::ContextKey>,
}

macro_rules! purposes {
    ($($name:ident = $text:literal;)*) => {$(
        pub(crate) static $name: Purpose =
            Purpose { context: concat!("tally vault v1 2026-11-21 ", $text), key: OnceLock::new() };
    )*};
}

purposes! {
    SIGN_SEED = "sign seed";
    RECEIVE_SEED = "receive seed";
    CARD = "card";
    GENESIS = "genesis";
    VAULT_ID = "vault id";
    SLOT = "slot";
    SLOT_KEY = "slot key";
    OPERATION = "operation";
    SEAL = "seal";
    REBOX = "rebox";
    BOX = "box";
    BLOB = "blob chunks";
    KEY_COMMITMENT = "key commitment";
    RECIPIENT = "recipient";
    OLDER = "older";
    SHARE = "share";
}

impl Purpose {
    pub(crate) fn hasher(&self) -> Hasher {
        Hasher::new_from_context_key(
            self.key
                .get_or_init(|| hazmat::hash_derive_key_context(self.context)),
        )
    }

    /// `H(purpose, parts…)` of public input.
    pub(crate) fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = self.hasher();
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// `X(purpose, parts…, N)` of secret input.
    pub(crate) fn expand<const N: usize>(&self, parts: &[&[u8]]) -> Zeroizing<[u8; N]> {
        let mut hasher = self.hasher();
        for part in parts {
            hasher.update(part);
        }
        let mut out = Zeroizing::new([0; N]);
        let mut reader = hasher.finalize_xof();
        reader.fill(&mut *out);
        reader.zeroize();
        hasher.zeroize();
        out
    }
}

/// What a signature is for.
#[derive(Clone, Copy)]
pub(crate) enum Signed {
    Card,
    Genesis,
    Slot,
    Seal,
    Rebox,
}

impl Signed {
    const PREFIX: &'static [u8] = b"tally vault v1 ";

    /// The signed message, on the stack: prefix, purpose, 0x00, id.
    fn message(self, id: &[u8; 32]) -> ([u8; 64], usize) {
        let purpose: &[u8] = match self {
            Self::Card => b"card",
            Self::Genesis => b"genesis",
            Self::Slot => b"slot",
            Self::Seal => b"seal",
            Self::Rebox => b"rebox",
        };
        let mut message = [0; 64];
        let mut len = 0;
        for part in [Self::PREFIX, purpose, &[0], id] {
            message[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        (message, len)
    }

    pub(crate) fn sign(self, key: &ed25519_dalek::SigningKey, id: &[u8; 32]) -> Signature {
        let (message, len) = self.message(id);
        Signature(key.sign(&message[..len]).to_bytes())
    }

    /// Strictly: no key or commitment of small order, canonical s.
    pub(crate) fn verify(self, key: &MemberId, id: &[u8; 32], signature: &Signature) -> bool {
        let (message, len) = self.message(id);
        ed25519_dalek::VerifyingKey::from_bytes(&key.0).is_ok_and(|key| {
            key.verify_strict(
                &message[..len],
                &ed25519_dalek::Signature::from_bytes(&signature.0),
            )
            .is_ok()
        })
    }
}

/// An Ed25519 signature as it is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signature({})", hex::encode(self.0))
    }
}

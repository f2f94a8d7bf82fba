//! The key of an endpoint, and its public half.

use std::fmt;

use commonware_cryptography::ed25519;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Separates the transport's key from every other key that is derived from a node's seed.
const CONTEXT: &str = "tally ledger v1 2026-11-29 transport seed";

/// The secret key of an endpoint.
///
/// A validator's is the key that it votes with, so that whoever knows the validators knows whom to expect. That is safe
/// because no message has two meanings: what TLS 1.3 signs begins with 64 spaces (RFC 8446, 4.4.3), a vote begins with
/// the length and the name of its chain's namespace, and what is said on the local network with `tally/ledger/lan/1`, which
/// would be a namespace of 116 bytes that begins with `ally`. Everybody else's is derived from a seed for this purpose only.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Derives the transport's key from the node's seed.
    #[must_use]
    pub fn derive(seed: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(seed);
        let secret = Self(*hasher.finalize().as_bytes());
        hasher.zeroize();
        secret
    }

    /// Takes the key that a validator votes with.
    #[must_use]
    pub fn of_validator(vote_seed: &[u8; 32]) -> Self {
        Self(*vote_seed)
    }

    /// The public half.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        EndpointId(*self.to_iroh().public().as_bytes())
    }

    pub(crate) fn to_iroh(&self) -> iroh::SecretKey {
        iroh::SecretKey::from_bytes(&self.0)
    }
}

/// The public key by which a node is dialled and recognised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId([u8; 32]);

impl EndpointId {
    /// Reads a key, unless the bytes are no point of the curve.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Option<Self> {
        iroh::PublicKey::from_bytes(&bytes)
            .ok()
            .map(|_| Self(bytes))
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The endpoint of whoever votes with a key.
    #[must_use]
    pub fn of_validator(key: &ed25519::PublicKey) -> Self {
        let bytes: &[u8] = key.as_ref();
        Self(*bytes.first_chunk().expect("an Ed25519 key has 32 bytes"))
    }

    pub(crate) fn from_iroh(id: iroh::EndpointId) -> Self {
        Self(*id.as_bytes())
    }

    pub(crate) fn to_iroh(self) -> iroh::EndpointId {
        iroh::PublicKey::from_bytes(&self.0).expect("an endpoint id was checked when it was made")
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointId({self})")
    }
}

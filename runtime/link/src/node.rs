//! The key of an endpoint, and its public half.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Separates the node's key from every other key that is derived from a device's seed.
const CONTEXT: &str = "tally vault v1 2026-11-21 link seed";

/// The secret key of an endpoint. It authenticates the transport, and says where the endpoint is: on a local network, to a
/// relay and to a directory, where these are configured. A member's own keys never meet TLS. No bytes mean two of these: what
/// TLS 1.3 signs begins with 64 spaces (RFC 8446, 4.4.3), what is said on the local network with `tally/vault-sync/lan/1`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct NodeSecret([u8; 32]);

impl NodeSecret {
    /// Derives the node's key from the seed of the device. The same device has the same address key each time it
    /// binds, so a ticket stays good.
    #[must_use]
    pub fn derive(seed: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(seed);
        let secret = Self(*hasher.finalize().as_bytes());
        hasher.zeroize();
        secret
    }

    /// The public half.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(*iroh::SecretKey::from_bytes(&self.0).public().as_bytes())
    }

    pub(crate) fn to_iroh(&self) -> iroh::SecretKey {
        iroh::SecretKey::from_bytes(&self.0)
    }
}

/// The public key by which a node is dialled and recognised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads a key, unless the bytes are no point of the curve.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Option<Self> {
        iroh::PublicKey::from_bytes(&bytes)
            .ok()
            .map(|_| Self(bytes))
    }

    pub(crate) fn from_iroh(id: iroh::EndpointId) -> Self {
        Self(*id.as_bytes())
    }

    pub(crate) fn to_iroh(self) -> iroh::EndpointId {
        iroh::PublicKey::from_bytes(&self.0).expect("a node id was checked when it was made")
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

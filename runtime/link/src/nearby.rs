//! Nodes of the local network, as they come and go.

use crate::{Address, NodeId, Ticket};

/// Something was seen on the local network. It is a claim of whoever sent the packet: only dialling proves a node's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// A node says that it is there; the ticket leads to the address that its packets came from and names no vault.
    Here(Ticket),
    /// A node was not heard of any more.
    Gone(NodeId),
}

/// The nodes of the local network: as many as [`tally_lan`] remembers, each once until it is elsewhere or gone.
#[derive(Debug)]
pub struct Nearby(pub(crate) tally_lan::Nearby);

impl Nearby {
    /// The next thing seen; none when the endpoint is closed.
    pub async fn next(&mut self) -> Option<Sighting> {
        Some(match self.0.next().await? {
            tally_lan::Sighting::Here(key, address) => Sighting::Here(Ticket {
                node: NodeId::from_iroh(key),
                vault: None,
                addresses: vec![Address::Direct(address)],
            }),
            tally_lan::Sighting::Gone(key) => Sighting::Gone(NodeId::from_iroh(key)),
        })
    }
}

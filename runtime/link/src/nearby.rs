//! Nodes of the local network, as they come and go.

use std::fmt;
use std::pin::Pin;

use iroh_mdns_address_lookup::DiscoveryEvent;
use tokio_stream::{Stream, StreamExt};

use crate::{Address, NodeId, Ticket};

/// Something was seen on the local network. It is a claim of whoever sent the packet: only dialling proves a node's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// A node says that it is there; the ticket leads to it and names no vault.
    Here(Ticket),
    /// A node was not heard of any more.
    Gone(NodeId),
}

/// The nodes of the local network.
pub struct Nearby(pub(crate) Pin<Box<dyn Stream<Item = DiscoveryEvent> + Send>>);

impl Nearby {
    /// The next thing seen; none when the endpoint is closed.
    pub async fn next(&mut self) -> Option<Sighting> {
        loop {
            match self.0.next().await? {
                DiscoveryEvent::Discovered { endpoint_info, .. } => {
                    return Some(Sighting::Here(Ticket {
                        node: NodeId::from_iroh(endpoint_info.endpoint_id),
                        vault: None,
                        addresses: endpoint_info
                            .ip_addrs()
                            .copied()
                            .map(Address::Direct)
                            .collect(),
                    }));
                }
                DiscoveryEvent::Expired { endpoint_id } => {
                    return Some(Sighting::Gone(NodeId::from_iroh(endpoint_id)));
                }
                // The library may learn to tell more.
                _ => {}
            }
        }
    }
}

impl fmt::Debug for Nearby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nearby")
    }
}

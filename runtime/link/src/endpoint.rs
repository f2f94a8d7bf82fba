//! Opening, dialling, accepting, closing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use iroh::address_lookup::pkarr::{PkarrPublisher, PkarrResolver};
use iroh::dns::{DnsResolver, FallbackMode};
use iroh::endpoint::{
    BindOpts, ConnectError, ConnectWithOptsError, IncomingAddr, NetReportConfig, PortmapperConfig,
    QuicTransportConfig, VarInt, presets,
};
use iroh::{Endpoint, EndpointAddr, RelayMode, RelayUrl};
use tally_lan::Search;
use tokio::time::Instant;

use crate::{
    AcceptError, Address, BindError, Channel, Config, DialError, Lan, MAX_ADDRESSES, Nearby,
    NodeId, NodeSecret, Ticket,
};

/// What is spoken on a channel.
pub const ALPN: &[u8] = b"tally/vault-sync/1";

/// How nodes find each other on a local network.
const LAN: tally_lan::Protocol = tally_lan::Protocol {
    group: SocketAddrV4::new(Ipv4Addr::new(239, 255, 86, 83), 24411),
    begin: b"tally/vault-sync/lan/1",
};

/// Between two looks at what is known of a relay.
const LOOK: Duration = Duration::from_millis(20);

/// The endpoint of this device.
#[derive(Debug)]
pub struct Link {
    endpoint: Endpoint,
    lan: Option<Search>,
    node: NodeId,
    relays: Vec<RelayUrl>,
    config: Config,
}

impl Link {
    /// Opens the endpoint.
    pub async fn bind(secret: &NodeSecret, config: Config) -> Result<Self, BindError> {
        if config.lan != Lan::Off && !config.listen.iter().any(SocketAddr::is_ipv4) {
            return Err(BindError::LanByV6);
        }
        // One stream each way for a connection, none beside: what a peer can make this side hold is one stream's window.
        let idle = config
            .idle
            .try_into()
            .map_err(|_| BindError::Bind("the idle time is out of range".into()))?;
        let transport = QuicTransportConfig::builder()
            .max_concurrent_bidi_streams(VarInt::from_u32(1))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .max_idle_timeout(Some(idle))
            .build();
        let mut builder = Endpoint::builder(presets::Minimal)
            .secret_key(secret.to_iroh())
            .alpns(vec![ALPN.to_vec()])
            .transport_config(transport)
            // A server's name is asked of this machine's own servers only: by default public ones are asked where these fail.
            .dns_resolver(
                DnsResolver::builder()
                    .with_system_defaults()
                    .with_fallback_mode(FallbackMode::Never)
                    .build(),
            )
            // The feature is not compiled in; should another crate of the workspace turn it on, it stays off here.
            .portmapper_config(PortmapperConfig::Disabled)
            .net_report_config(probes())
            .clear_ip_transports();
        for address in &config.listen {
            let options = BindOpts::default().set_is_required(address.is_ipv4());
            builder = builder
                .bind_addr_with_opts(*address, options)
                .map_err(|e| BindError::Bind(e.into()))?;
        }
        let relays = config
            .relays
            .iter()
            .map(|url| server(url))
            .collect::<Result<Vec<_>, _>>()?;
        if !relays.is_empty() {
            builder = builder.relay_mode(RelayMode::custom(relays.iter().cloned()));
        }
        if let Some(url) = &config.directory {
            let url = server(url)?;
            builder = builder
                .address_lookup(PkarrPublisher::builder((*url).clone()))
                .address_lookup(PkarrResolver::builder((*url).clone()));
        }
        let endpoint = builder
            .bind()
            .await
            .map_err(|e| BindError::Bind(e.into()))?;
        let lan = match open_search(secret, config.lan, &endpoint).transpose() {
            Ok(lan) => lan,
            Err(error) => {
                endpoint.close().await;
                return Err(BindError::Lan(error.into()));
            }
        };
        let node = NodeId::from_iroh(endpoint.id());
        Ok(Self {
            endpoint,
            lan,
            node,
            relays,
            config,
        })
    }

    /// The node's public key.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The sockets it listens on.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketAddr> {
        self.endpoint.bound_sockets()
    }

    /// A ticket to this node, with the addresses known now. A relay is known once it is connected: [`Self::relayed`].
    #[must_use]
    pub fn ticket(&self, vault: Option<[u8; 32]>) -> Ticket {
        let here = self.endpoint.addr();
        let direct = here.ip_addrs().copied().map(Address::Direct);
        // First, since there is room for so many only, and a relay leads here from everywhere.
        let relays = here.relay_urls().map(|url| Address::Relay(url.to_string()));
        Ticket {
            node: self.node,
            vault,
            addresses: relays.chain(direct).take(MAX_ADDRESSES).collect(),
        }
    }

    /// Waits until a configured relay is connected, and so in tickets; at most for `patience`. Whether one is.
    pub async fn relayed(&self, patience: Duration) -> bool {
        if self.relays.is_empty() {
            return false;
        }
        let connected = async {
            self.endpoint.online().await;
            while self.endpoint.addr().relay_urls().next().is_none() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(patience, connected).await.is_ok()
    }

    /// Dials the node of a ticket and opens a channel. The peer learns of the channel with its first byte, so whoever
    /// dialled speaks first. A ticket without an address leads to where the node is heard of on the local network, if that is
    /// searched and no directory is configured.
    pub async fn dial(&self, ticket: &Ticket) -> Result<Channel, DialError> {
        let node = ticket.node;
        if node == self.node {
            return Err(DialError::Own);
        }
        let mut address = EndpointAddr::new(node.to_iroh());
        for way in &ticket.addresses {
            match way {
                Address::Direct(socket) => address = address.with_ip_addr(*socket),
                // A relay of somebody else's choice is used only if this side's owner has configured it.
                Address::Relay(url) => {
                    if let Some(url) = url
                        .parse::<RelayUrl>()
                        .ok()
                        .filter(|url| self.relays.contains(url))
                    {
                        address = address.with_relay_url(url);
                    }
                }
            }
        }
        let deadline = Instant::now() + self.config.handshake;
        if let Some(lan) = &self.lan
            && address.is_empty()
            && self.config.directory.is_none()
        {
            let seeker = lan.seek(node.to_iroh());
            let heard = tokio::time::timeout_at(deadline, seeker.first())
                .await
                .map_err(|_| DialError::NoAddress(node))?;
            address = address.with_ip_addr(heard);
        }
        let opening = async {
            let connection =
                self.endpoint
                    .connect(address, ALPN)
                    .await
                    .map_err(|error| match error {
                        ConnectError::Connect {
                            source: ConnectWithOptsError::NoAddress { .. },
                            ..
                        } => DialError::NoAddress(node),
                        error => DialError::Connect {
                            node,
                            source: error.into(),
                        },
                    })?;
            let streams = connection
                .open_bi()
                .await
                .map_err(|error| DialError::Connect {
                    node,
                    source: error.into(),
                })?;
            Channel::new(connection, streams, self.node, node).map_err(|error| DialError::Connect {
                node,
                source: error.into(),
            })
        };
        tokio::time::timeout_at(deadline, opening)
            .await
            .map_err(|_| DialError::Timeout(node))?
    }

    /// The next caller; none when the endpoint is closed. It has proved nothing yet: [`Incoming::open`] may take as
    /// long as the configured handshake, so it belongs in a task of its own.
    pub async fn accept(&self) -> Option<Incoming> {
        let incoming = self.endpoint.accept().await?;
        Some(Incoming {
            incoming,
            node: self.node,
            config: self.config.clone(),
        })
    }

    /// The nodes of the local network; none if the configuration leaves it alone.
    pub async fn nearby(&self) -> Option<Nearby> {
        let lan = self.lan.as_ref()?;
        Some(Nearby(lan.nearby()))
    }

    /// Closes every connection and tells the peers. The sockets go with the last channel that is dropped.
    pub async fn close(self) {
        // Whoever still listens for others hears that there is an end.
        drop(self.lan);
        self.endpoint.close().await;
    }
}

/// A caller at the door.
#[derive(Debug)]
pub struct Incoming {
    incoming: iroh::endpoint::Incoming,
    node: NodeId,
    config: Config,
}

impl Incoming {
    /// Finishes the handshake and waits for the caller's stream.
    pub async fn open(self) -> Result<Channel, AcceptError> {
        let node = self.node;
        let opening = async {
            let failed =
                |error: Box<dyn std::error::Error + Send + Sync>| AcceptError::Handshake(error);
            let accepting = self.incoming.accept().map_err(|e| failed(e.into()))?;
            let connection = accepting.await.map_err(|e| failed(e.into()))?;
            let streams = connection.accept_bi().await.map_err(|e| failed(e.into()))?;
            let caller = NodeId::from_iroh(connection.remote_id());
            Channel::new(connection, streams, caller, node).map_err(|e| failed(e.into()))
        };
        tokio::time::timeout(self.config.handshake, opening)
            .await
            .map_err(|_| AcceptError::Timeout)?
    }

    /// Where the caller's packets come from, which it may have forged; none if they come by a relay.
    #[must_use]
    pub fn origin(&self) -> Option<IpAddr> {
        match self.incoming.remote_addr() {
            IncomingAddr::Ip(socket) => Some(socket.ip()),
            _ => None,
        }
    }

    /// Turns the caller away, unheard.
    pub fn refuse(self) {
        self.incoming.refuse();
    }
}

/// The search of the local network; none if it is off.
fn open_search(secret: &NodeSecret, lan: Lan, endpoint: &Endpoint) -> Option<io::Result<Search>> {
    let own = match lan {
        Lan::Off => return None,
        Lan::Find => None,
        Lan::FindAndBeFound => Some(secret.to_iroh()),
    };
    let listen: Vec<SocketAddrV4> = endpoint
        .bound_sockets()
        .into_iter()
        .filter_map(|socket| match socket {
            SocketAddr::V4(socket) => Some(socket),
            SocketAddr::V6(_) => None,
        })
        .collect();
    Some(Search::open(LAN, &listen, own))
}

/// What is asked of a relay beside its service. By default also port 80 of its host, in the clear and whatever its URL is, to
/// see whether something else answers there: that is no part of what was configured.
fn probes() -> NetReportConfig {
    let mut probes = NetReportConfig::default();
    probes.captive_portal_check = false;
    probes
}

fn server(url: &str) -> Result<RelayUrl, BindError> {
    url.parse().map_err(|_| BindError::Server(url.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text shows what the library would ask beside the system's servers, as it does for its own default.
    #[tokio::test]
    async fn no_name_server_is_asked_but_the_systems() {
        let asks_others =
            |resolver: &DnsResolver| !format!("{resolver:?}").contains("fallback_nameservers: []");
        assert!(asks_others(&DnsResolver::new()));
        let link = Link::bind(&NodeSecret::derive(&[20; 32]), Config::loopback())
            .await
            .unwrap();
        assert!(!asks_others(link.endpoint.dns_resolver().unwrap()));
        link.close().await;
    }
}

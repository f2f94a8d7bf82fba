//! The socket of a node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use commonware_cryptography::ed25519;
use iroh::dns::{DnsResolver, FallbackMode};
use iroh::endpoint::{
    Connection, IdleTimeout, NetReportConfig, PortmapperConfig, QuicTransportConfig, VarInt,
    presets,
};
use iroh::{EndpointAddr, RelayMode, RelayUrl};
use tally_lan::{Lan, Search, Seeker};

use crate::{EndpointId, Secret};

/// What validators speak among themselves.
pub const MESH_ALPN: &[u8] = b"tally/ledger/mesh/1";

/// What everybody else speaks with a node.
pub const CALL_ALPN: &[u8] = b"tally/ledger/call/1";

/// How nodes find each other on the local network.
pub(crate) const LAN: tally_lan::Protocol = tally_lan::Protocol {
    group: SocketAddrV4::new(Ipv4Addr::new(239, 255, 76, 68), 24410),
    begin: b"tally/ledger/lan/1",
};

/// Somebody to dial or to expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The key that it votes with, which its endpoint proves.
    pub key: ed25519::PublicKey,
    /// Where it listens, as far as is known; if it is not, and it cannot be found ([`Config::lan`], [`Config::relay`]), the
    /// peer has to dial.
    pub addresses: Vec<SocketAddr>,
}

impl Peer {
    pub(crate) fn endpoint(&self) -> EndpointId {
        EndpointId::of_validator(&self.key)
    }
}

/// The ways to somebody: addresses that are known, and where it is heard of on the local network.
#[derive(Debug)]
pub(crate) struct Way {
    id: EndpointId,
    addresses: Vec<SocketAddr>,
    seeker: Option<Seeker>,
}

/// How an endpoint is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What it does on the local network.
    pub lan: Lan,
    /// A relay of one's own, which carries packets, still encrypted between the two ends, where no direct way exists. It sees
    /// keys, addresses and amounts. Both ends name the same one; there is no other.
    pub relay: Option<RelayUrl>,
    /// How long dialling, and a caller's handshake, may take.
    pub handshake: Duration,
    /// How long a silent connection is kept. A live one says something four times as often.
    pub idle: Duration,
}

impl Config {
    /// The times that fit both a local network and the internet; no search and no relay.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            lan: Lan::Off,
            relay: None,
            handshake: Duration::from_secs(5),
            idle: Duration::from_secs(12),
        }
    }

    /// How often a silent connection says that it lives.
    pub(crate) fn keep_alive(&self) -> Duration {
        self.idle / 4
    }
}

/// Why an endpoint did not open. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The configured times are out of range.
    #[error("the idle time of {0:?} is out of range")]
    Idle(Duration),
    /// The address is taken, or is not this machine's.
    #[error("listen on {listen}: {source}")]
    Listen {
        /// The configured address.
        listen: SocketAddr,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The local network is searched by IPv4, which the address to listen on is not of.
    #[error("the local network is searched by IPv4, and {0} is none of its addresses")]
    LanByV6(SocketAddr),
    /// The local network does not let this process listen for others.
    #[error("search the local network: {0}")]
    Lan(#[source] std::io::Error),
}

/// An open endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(crate) inner: iroh::Endpoint,
    pub(crate) config: Config,
    search: Option<Arc<Search>>,
}

/// What a round trip is taken to be until one was measured. A first packet is sent again after three of them, and nodes that
/// start together do not hear each other's first packets; QUIC's own default is 333 ms.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// What one stream may hold unread. A connection ends ("too many gaps in stream buffer") where more than 2,048 packets of one stream
/// wait, though none is missing: noq 1.4 counts those that are well filled one by one. Of 1,150 bytes each, these are half as many.
const STREAM_WINDOW: u32 = 1024 * 1024; // bytes
/// What one connection may hold.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024; // bytes
const MAX_STREAMS: u32 = 32; // of each kind, for one connection

impl Endpoint {
    /// Opens the socket. It contacts nobody but the relay and the local network, if the configuration says so.
    pub async fn bind(secret: &Secret, config: Config) -> Result<Self, BindError> {
        let searched = match (config.lan, config.listen.ip()) {
            (Lan::Off, _) => None,
            (_, IpAddr::V4(listen)) => Some(listen),
            (_, IpAddr::V6(_)) => return Err(BindError::LanByV6(config.listen)),
        };
        let idle = IdleTimeout::try_from(config.idle).map_err(|_| BindError::Idle(config.idle))?;
        let transport = QuicTransportConfig::builder()
            .max_concurrent_bidi_streams(VarInt::from_u32(MAX_STREAMS))
            .max_concurrent_uni_streams(VarInt::from_u32(MAX_STREAMS))
            .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
            .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
            .datagram_receive_buffer_size(None)
            .keep_alive_interval(config.keep_alive())
            .initial_rtt(FIRST_ROUND_TRIP)
            .max_idle_timeout(Some(idle))
            .build();
        let failed = |source| BindError::Listen {
            listen: config.listen,
            source,
        };
        let inner = iroh::Endpoint::builder(presets::Minimal)
            .secret_key(secret.to_iroh())
            .alpns(vec![MESH_ALPN.to_vec(), CALL_ALPN.to_vec()])
            .relay_mode(relay_mode(config.relay.as_ref()))
            // A relay's name is asked of this machine's own servers only: by default public ones are asked where these fail.
            .dns_resolver(
                DnsResolver::builder()
                    .with_system_defaults()
                    .with_fallback_mode(FallbackMode::Never)
                    .build(),
            )
            // On by default where its feature is compiled in, and it multicasts: off, whatever another crate turns on.
            .portmapper_config(PortmapperConfig::Disabled)
            .net_report_config(probes())
            .transport_config(transport)
            .clear_ip_transports()
            .bind_addr(config.listen)
            .map_err(|error| failed(error.into()))?
            .bind()
            .await
            .map_err(|error| failed(error.into()))?;
        let search = match searched.map(|listen| open_search(secret, &config, listen, &inner)) {
            None => None,
            Some(Ok(search)) => Some(Arc::new(search)),
            Some(Err(error)) => {
                inner.close().await;
                return Err(BindError::Lan(error));
            }
        };
        Ok(Self {
            inner,
            config,
            search,
        })
    }

    /// This endpoint's key.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        EndpointId::from_iroh(self.inner.id())
    }

    /// Where it listens.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketAddr> {
        self.inner.bound_sockets()
    }

    /// Whether somebody can be reached of whom only the key is known.
    #[must_use]
    pub fn finds_by_key(&self) -> bool {
        self.search.is_some() || self.config.relay.is_some()
    }

    /// The ways to somebody. Dials nobody yet.
    pub(crate) fn way(&self, id: EndpointId, addresses: Vec<SocketAddr>) -> Way {
        Way {
            id,
            addresses,
            seeker: self.search.as_ref().map(|search| search.seek(id.to_iroh())),
        }
    }

    /// Whether there is any way but to be dialled.
    pub(crate) fn can_dial(&self, way: &Way) -> bool {
        !way.addresses.is_empty() || self.finds_by_key()
    }

    /// Connects with whoever proves the key, by all ways there are.
    pub(crate) async fn dial(&self, way: &Way, alpn: &[u8]) -> Result<Connection, String> {
        tokio::time::timeout(self.config.handshake, self.reach(way, alpn))
            .await
            .map_err(|late| late.to_string())?
    }

    async fn reach(&self, way: &Way, alpn: &[u8]) -> Result<Connection, String> {
        let Some(seeker) = &way.seeker else {
            return self.connect(way, None, alpn).await;
        };
        if let Some(heard) = seeker.heard() {
            // Should it be elsewhere by now, the next attempt knows.
            seeker.ask();
            return self.connect(way, Some(heard), alpn).await;
        }
        // Where it is said to be it may not be any more.
        let is_somewhere = !way.addresses.is_empty() || self.config.relay.is_some();
        tokio::select! {
            outcome = self.connect(way, None, alpn), if is_somewhere => outcome,
            heard = seeker.first() => self.connect(way, Some(heard), alpn).await,
        }
    }

    async fn connect(
        &self,
        way: &Way,
        heard: Option<SocketAddr>,
        alpn: &[u8],
    ) -> Result<Connection, String> {
        let mut to = EndpointAddr::new(way.id.to_iroh());
        for address in way.addresses.iter().copied().chain(heard) {
            to = to.with_ip_addr(address);
        }
        if let Some(relay) = &self.config.relay {
            to = to.with_relay_url(relay.clone());
        }
        self.inner
            .connect(to, alpn)
            .await
            .map_err(|error| error.to_string())
    }

    /// Closes every connection and tells the peers.
    pub async fn close(&self) {
        if let Some(search) = &self.search {
            search.end();
        }
        self.inner.close().await;
    }
}

/// No relay but the one that is configured.
fn relay_mode(relay: Option<&RelayUrl>) -> RelayMode {
    match relay {
        Some(url) => RelayMode::custom([url.clone()]),
        None => RelayMode::Disabled,
    }
}

/// What is asked of the relay beside its service. By default also port 80 of its host, in the clear and whatever its URL is, to
/// see whether something else answers there: that is no part of what was configured.
fn probes() -> NetReportConfig {
    let mut probes = NetReportConfig::default();
    probes.captive_portal_check = false;
    probes
}

fn open_search(
    secret: &Secret,
    config: &Config,
    listen: Ipv4Addr,
    inner: &iroh::Endpoint,
) -> std::io::Result<Search> {
    let bound = inner.bound_sockets();
    let port = bound.first().map_or(config.listen.port(), SocketAddr::port);
    let own = (config.lan == Lan::FindAndBeFound).then(|| secret.to_iroh());
    Search::open(LAN, &[SocketAddrV4::new(listen, port)], own)
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
        let config = Config::new((Ipv4Addr::LOCALHOST, 0).into());
        let endpoint = Endpoint::bind(&Secret::derive(&[65; 32]), config)
            .await
            .unwrap();
        assert!(!asks_others(endpoint.inner.dns_resolver().unwrap()));
        endpoint.close().await;
    }

    #[test]
    fn no_relay_is_used_but_the_one_that_is_configured() {
        let config = Config::new((Ipv4Addr::LOCALHOST, 0).into());
        assert_eq!(config.lan, Lan::Off);
        assert_eq!(relay_mode(config.relay.as_ref()), RelayMode::Disabled);
        let own: RelayUrl = "https://relay.example/".parse().unwrap();
        let map = relay_mode(Some(&own)).relay_map();
        assert_eq!(map.urls::<Vec<RelayUrl>>(), [own]);
    }
}

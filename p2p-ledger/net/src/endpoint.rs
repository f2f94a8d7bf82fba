//! The socket of a node.

use std::net::SocketAddr;
use std::time::Duration;

use commonware_cryptography::ed25519;
use iroh::endpoint::{IdleTimeout, PortmapperConfig, QuicTransportConfig, VarInt, presets};
use iroh::{EndpointAddr, RelayMode};

use crate::{EndpointId, Secret};

/// What validators speak among themselves.
pub const MESH_ALPN: &[u8] = b"tally/ledger/mesh/1";

/// What everybody else speaks with a node.
pub const CALL_ALPN: &[u8] = b"tally/ledger/call/1";

/// Somebody to dial or to expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The key that it votes with, which its endpoint proves.
    pub key: ed25519::PublicKey,
    /// Where it listens, as far as is known; if it is not, the peer has to dial.
    pub addresses: Vec<SocketAddr>,
}

impl Peer {
    pub(crate) fn endpoint(&self) -> EndpointId {
        EndpointId::of_validator(&self.key)
    }

    pub(crate) fn to_iroh(&self) -> EndpointAddr {
        address(self.endpoint(), &self.addresses)
    }
}

pub(crate) fn address(id: EndpointId, addresses: &[SocketAddr]) -> EndpointAddr {
    addresses
        .iter()
        .fold(EndpointAddr::new(id.to_iroh()), |to, socket| {
            to.with_ip_addr(*socket)
        })
}

/// How an endpoint is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long dialling, and a caller's handshake, may take.
    pub handshake: Duration,
    /// How long a silent connection is kept. A live one says something four times as often.
    pub idle: Duration,
}

impl Config {
    /// The times that fit both a local network and the internet.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
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
}

/// An open endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(crate) inner: iroh::Endpoint,
    pub(crate) config: Config,
}

/// What a round trip is taken to be until one was measured. A first packet is sent again after three of them, and nodes that
/// start together do not hear each other's first packets; QUIC's own default is 333 ms.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// What one connection may hold in this process: a full stream of the largest messages, and a few more.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024; // bytes
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024; // bytes
const MAX_STREAMS: u32 = 32; // of each kind, for one connection

impl Endpoint {
    /// Opens the socket. It contacts nobody.
    pub async fn bind(secret: &Secret, config: Config) -> Result<Self, BindError> {
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
            .relay_mode(RelayMode::Disabled)
            // On by default where its feature is compiled in, and it multicasts: off, whatever another crate turns on.
            .portmapper_config(PortmapperConfig::Disabled)
            .transport_config(transport)
            .clear_ip_transports()
            .bind_addr(config.listen)
            .map_err(|error| failed(error.into()))?
            .bind()
            .await
            .map_err(|error| failed(error.into()))?;
        Ok(Self { inner, config })
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

    /// Closes every connection and tells the peers.
    pub async fn close(&self) {
        self.inner.close().await;
    }
}

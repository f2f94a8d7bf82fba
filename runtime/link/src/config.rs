//! What an endpoint may do. The default contacts nobody.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

pub use tally_lan::Lan;

/// How an endpoint is opened.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens. A taken port is an error; port 0 takes a free one. An IPv6 address that this machine lacks is
    /// passed over.
    pub listen: Vec<SocketAddr>,
    /// Relays (URLs) that carry packets, still encrypted between the two nodes, when no direct way exists. They see
    /// node ids, addresses and amounts.
    pub relays: Vec<String>,
    /// A directory (the URL of a pkarr relay) where the endpoint publishes and finds addresses of nodes.
    pub directory: Option<String>,
    /// What it does on the local network, which is searched by IPv4: of [`Self::listen`], those addresses count.
    pub lan: Lan,
    /// How long dialling may take, and how long a caller may take for its handshake.
    pub handshake: Duration,
    /// How long a silent connection is kept.
    pub idle: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![
                (Ipv4Addr::UNSPECIFIED, 0).into(),
                (Ipv6Addr::UNSPECIFIED, 0).into(),
            ],
            relays: Vec::new(),
            directory: None,
            lan: Lan::Off,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Only this machine: for tests, and for two copies side by side.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            ..Self::default()
        }
    }
}

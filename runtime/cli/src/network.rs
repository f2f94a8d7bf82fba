//! The ledger that this machine's commands talk to, and the way to it.
//!
//! ```text
//! $TALLY_HOME/ledger/
//!   genesis.toml      the network of commands that name none: `tally ledger use FILE` puts it here
//!   outbox/           receipts that wait to be settled (`tally_node::Outbox`), one folder for each chain
//! ```
//!
//! Nothing is contacted unless a network is named: by `--network FILE`, by TALLY_NETWORK, or here.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use tally_ledger::Genesis;
use tally_net::{Endpoint, Secret};
use tally_node::{Client, Outbox};

use crate::failure::{Failure, OrFail};
use crate::home::Home;

/// Which network.
#[derive(ClapArgs, Debug, Default, Clone)]
pub(crate) struct Which {
    /// The network's genesis file; else TALLY_NETWORK, else the one of `tally ledger use`.
    #[arg(long, value_name = "FILE")]
    pub(crate) network: Option<PathBuf>,
}

/// A network that is configured.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) genesis: Genesis,
    pub(crate) file: PathBuf,
}

/// How long a validator may take to answer.
const ANSWER: Duration = Duration::from_secs(25);

impl Which {
    /// The network, if one is named.
    pub(crate) fn find(&self, home: &Home) -> Result<Option<Network>, Failure> {
        let file = match (&self.network, std::env::var_os("TALLY_NETWORK")) {
            (Some(file), _) => file.clone(),
            (None, Some(file)) if !file.is_empty() => file.into(),
            _ => {
                let file = home.path().join("ledger/genesis.toml");
                if !file.exists() {
                    return Ok(None);
                }
                file
            }
        };
        Network::read(&file).map(Some)
    }

    /// The network, which must be named.
    pub(crate) fn get(&self, home: &Home) -> Result<Network, Failure> {
        self.find(home)?.ok_or_else(|| {
            Failure::misuse("no ledger is configured")
                .advise("name its genesis file with --network FILE, or once with `tally ledger use FILE`; `tally devnet` starts one on this machine")
        })
    }
}

impl Network {
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let text =
            std::fs::read_to_string(file).or_misuse(format_args!("read {}", file.display()))?;
        let genesis =
            Genesis::parse(&text).or_misuse(format_args!("use {} as a network", file.display()))?;
        Ok(Self {
            genesis,
            file: file.to_owned(),
        })
    }

    /// What waits to be settled on this chain.
    pub(crate) fn outbox(&self, home: &Home) -> Result<Outbox, Failure> {
        let chain = self.genesis.chain().to_string();
        let folder = home.ledger()?.join("outbox").join(chain);
        Outbox::open(&folder).or_environment(format_args!("open {}", folder.display()))
    }

    /// Where somebody listens who only calls: by the protocol that the validators' addresses are of.
    pub(crate) fn listen(&self) -> SocketAddr {
        let v6_only = self
            .genesis
            .addresses
            .iter()
            .flatten()
            .all(SocketAddr::is_ipv6);
        if v6_only {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        }
    }

    /// Opens an endpoint and a way to all validators. Contacts nobody yet.
    pub(crate) async fn client(&self, home: &Home) -> Result<(Endpoint, Client), Failure> {
        let secret = Secret::derive(&home.node_key()?.to_seed());
        let endpoint = Endpoint::bind(&secret, tally_net::Config::new(self.listen()))
            .await
            .or_environment("open a socket")?;
        let client = Client::new(&endpoint, &self.genesis, Vec::new(), ANSWER)
            .or_misuse(format_args!("reach the network of {}", self.file.display()))?;
        Ok((endpoint, client))
    }
}

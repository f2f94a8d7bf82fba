//! The ledger that this machine's commands talk to, and the way to it.
//!
//! ```text
//! $TALLY_HOME/ledger/
//!   genesis.toml      the network of commands that name none: `tally ledger use FILE` puts it here
//!   peers             where validators are that genesis does not tell of, KEY@ADDRESS, one a line: `--peer` of that command
//!   reach             how validators are found by their keys, `lan` or `relay URL`, one a line: `--lan` and `--relay` of it
//!   CHAIN.trusted     who validates, as far as this machine was shown (`trusted`)
//!   outbox/           receipts that wait to be settled (`tally_node::Outbox`), one folder for each chain; CHAIN.trouble beside it
//!                     says why settling in the background failed the last time, and goes once nothing waits
//!   spending/         what accounts spent last from here, until it counts (`verbs/ledger/spending`), one file for each chain and account
//!   own/              the ledger of this machine alone, where none is named (`own`)
//! ```
//!
//! No other machine is contacted unless a network is named: by `--network FILE`, by TALLY_NETWORK, or here.

use std::ffi::OsStr;
use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args as ClapArgs;
use tally_durable::Access;
use tally_ledger::Genesis;
use tally_net::{Endpoint, EndpointId, Lan, RelayUrl, Secret};
use tally_node::{Client, Outbox, Peer};
use tally_receipt::PublicKey;

use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::own::{self, Own};
use crate::trusted::{Kept, Start, Trusted};

/// Which network.
#[derive(ClapArgs, Debug, Default, Clone)]
pub(crate) struct Which {
    /// The network's genesis file; else TALLY_NETWORK, else the one of `tally ledger use`, else the ledger of this machine
    /// alone, which tolerates nobody.
    #[arg(long, value_name = "FILE")]
    pub(crate) network: Option<PathBuf>,
    /// Where a validator is that genesis does not tell of, such as one that came later. May be given several times.
    #[arg(long = "peer", value_name = "KEY@ADDRESS")]
    pub(crate) peers: Vec<Located>,
    /// Go on from the validators in this file of `tally ledger trusted`, and not from those of genesis or those that this machine
    /// was shown last. Whoever made it is believed about who validates.
    #[arg(long, value_name = "FILE")]
    pub(crate) trusted: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// How validators are found by their keys.
#[derive(ClapArgs, Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Look for validators on the local network, by their keys. Everybody on it sees that somebody asks who is there.
    #[arg(long)]
    pub(crate) lan: bool,
    /// Reach validators by way of this relay, one's own, where no direct way leads; they name the same one.
    #[arg(long, value_name = "URL", value_parser = relay)]
    pub(crate) relay: Option<RelayUrl>,
}

/// Reads where a relay is.
pub(crate) fn relay(text: &str) -> Result<RelayUrl, String> {
    text.parse::<RelayUrl>()
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| "write its URL, such as https://relay.example".to_owned())
}

impl Reach {
    /// None of it if there is no such file.
    fn read(file: &Path) -> Result<Self, Failure> {
        let mut reach = Self::default();
        for line in lines(file)? {
            match line.split_once(' ') {
                None if line == "lan" => reach.lan = true,
                Some(("relay", url)) => {
                    let url = relay(url)
                        .or_environment(format_args!("use {line:?} of {}", file.display()))?;
                    reach.relay = Some(url);
                }
                _ => {
                    return Err(Failure::environment(format_args!(
                        "{line:?} of {} is neither `lan` nor `relay URL`",
                        file.display()
                    ))
                    .advise(
                        "tally ledger use GENESIS names the network anew, and writes that file",
                    ));
                }
            }
        }
        Ok(reach)
    }

    /// As it is kept.
    fn to_text(&self) -> String {
        let lan = if self.lan { "lan\n" } else { "" };
        let relay = self.relay.as_ref().map(|url| format!("relay {url}\n"));
        format!("{lan}{}", relay.unwrap_or_default())
    }

    /// Both together; of two relays the own one.
    fn or(self, other: Self) -> Self {
        Self {
            lan: self.lan || other.lan,
            relay: self.relay.or(other.relay),
        }
    }

    /// As it is said to another command.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let lan = self.lan.then(|| "--lan".to_owned());
        let relay = self.relay.as_ref();
        let relay = relay.map(|url| ["--relay".to_owned(), url.to_string()]);
        lan.into_iter().chain(relay.into_iter().flatten()).collect()
    }
}

/// Where somebody is who votes with a key.
///
/// Invariant: the key is a point of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    key: PublicKey,
    address: SocketAddr,
}

impl Located {
    /// Where a validator is.
    pub(crate) fn new(key: PublicKey, address: SocketAddr) -> Self {
        Self { key, address }
    }

    pub(crate) fn peer(self) -> Peer {
        Peer {
            key: tally_node::vote_key(&self.key)
                .expect("it is a validator's, or was looked at when it was read"),
            addresses: vec![self.address],
        }
    }
}

impl FromStr for Located {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, address) = text.split_once('@').ok_or("write KEY@ADDRESS")?;
        let key: PublicKey = key.parse().map_err(|error| format!("{error}"))?;
        if tally_node::vote_key(&key).is_none() {
            return Err(format!(
                "nobody can vote with the key {key}: it is no point of the curve"
            ));
        }
        Ok(Self {
            key,
            address: address.parse().map_err(|error| format!("{error}"))?,
        })
    }
}

impl fmt::Display for Located {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.key, self.address)
    }
}

/// A network.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) genesis: Genesis,
    pub(crate) file: PathBuf,
    /// Where validators are that genesis does not tell of.
    pub(crate) peers: Vec<Located>,
    /// If it is the one of this machine alone, whose node is run where it is used.
    pub(crate) own: Option<Own>,
    /// How validators are found by their keys.
    pub(crate) reach: Reach,
    /// Whom to start from, if somebody says so.
    pub(crate) trusted: Option<Trusted>,
}

/// The way to a network's nodes.
pub(crate) struct Way {
    endpoint: Endpoint,
    own: Option<own::Use>,
}

/// How long a validator may take to answer.
const ANSWER: Duration = Duration::from_secs(25);

impl Which {
    /// The network, if one is named. Without one, a way to validators is a way to nobody.
    pub(crate) fn find(&self, home: &Home) -> Result<Option<Network>, Failure> {
        let (file, peers, reach) = match (&self.network, std::env::var_os("TALLY_NETWORK")) {
            (Some(file), _) => (file.clone(), Vec::new(), Reach::default()),
            (None, Some(file)) if !file.is_empty() => (file.into(), Vec::new(), Reach::default()),
            _ => {
                let folder = home.path().join("ledger");
                let file = folder.join("genesis.toml");
                if !file.exists() {
                    return self.names_no_way().map(|()| None);
                }
                let peers = read_peers(&folder.join("peers"))?;
                (file, peers, Reach::read(&folder.join("reach"))?)
            }
        };
        let mut network = Network::read(&file)?;
        network.peers.extend(peers);
        network.peers.extend(&self.peers);
        network.own = Some(Own::of(home))
            .filter(|own| own.is(&file))
            .map(|own| own.beginning_with(&network.genesis));
        network.reach = self.reach.clone().or(reach);
        network.trusted = match &self.trusted {
            Some(file) => Some(Trusted::read(file, network.genesis.chain())?),
            None => None,
        };
        Ok(Some(network))
    }

    /// The network; that of this machine alone, made if need be, if none is named. Whoever uses that one is told what it is.
    pub(crate) fn get(&self, home: &Home) -> Result<Network, Failure> {
        let network = match self.find(home)? {
            Some(network) => network,
            None => Own::of(home).make(home)?,
        };
        Ok(network.saying_what_it_is())
    }

    /// The same for whoever only looks at what is there: nothing is made for that.
    pub(crate) fn existing(&self, home: &Home) -> Result<Network, Failure> {
        let network = match self.find(home)? {
            Some(network) => Some(network),
            None => Own::of(home).existing()?,
        };
        let network = network.ok_or_else(|| {
            Failure::misuse("no network is named, and this machine has no ledger of its own yet")
                .advise("name the network: --network FILE, or `tally ledger use FILE`")
        })?;
        Ok(network.saying_what_it_is())
    }

    fn names_no_way(&self) -> Outcome {
        let advice = "name it: --network FILE, or `tally ledger use FILE`";
        if !self.peers.is_empty() || self.reach != Reach::default() {
            return Err(Failure::misuse(
                "--peer, --lan and --relay lead to a network, and none is named",
            )
            .advise(advice));
        }
        if self.trusted.is_some() {
            return Err(
                Failure::misuse("--trusted is of a network, and none is named").advise(advice),
            );
        }
        Ok(())
    }
}

impl Way {
    /// The key by which nodes, and a relay, know whoever goes it.
    pub(crate) fn key(&self) -> EndpointId {
        self.endpoint.id()
    }

    /// Whether it leads to this machine's own node and that does not run here, or no more: it may be elsewhere by now.
    pub(crate) fn may_have_moved(&self) -> bool {
        self.own.as_ref().is_some_and(|own| !own.runs_it())
    }

    /// Closes what was opened, and stops what was started for it. Why this machine's own node had ended by then, if it ran here
    /// and had: that is also why nobody answered, if nobody did.
    pub(crate) async fn close(self) -> Option<Failure> {
        self.endpoint.close().await;
        self.own?.end().await
    }
}

/// A file's lines; none if there is no such file.
fn lines(file: &Path) -> Result<Vec<String>, Failure> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.or_environment(format_args!("read {}", file.display()))?,
    };
    Ok(text.lines().map(str::to_owned).collect())
}

fn read_peers(file: &Path) -> Result<Vec<Located>, Failure> {
    lines(file)?
        .iter()
        .map(|line| {
            line.parse::<Located>()
                .or_environment(format_args!("use {line:?} of {}", file.display()))
        })
        .collect()
}

/// How many bytes may wait in an outbox, by what the environment says.
fn outbox_limit(said: Option<&OsStr>) -> Result<u64, Failure> {
    match said {
        None => Ok(Outbox::LIMIT),
        Some(said) if said.is_empty() => Ok(Outbox::LIMIT),
        Some(said) => said
            .to_str()
            .and_then(|said| said.parse().ok())
            .ok_or_else(|| {
                Failure::misuse(format_args!(
                    "TALLY_OUTBOX_BYTES is {}, which is no number of bytes",
                    said.display()
                ))
            }),
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
            peers: Vec::new(),
            own: None,
            reach: Reach::default(),
            trusted: None,
        })
    }

    /// Tells who uses it what it is, where that is the ledger of this machine alone.
    fn saying_what_it_is(self) -> Self {
        if self.own.is_some() {
            eprintln!("{}", own::ALONE);
        }
        self
    }

    /// Makes it the network of commands that name none.
    pub(crate) fn keep(&self, home: &Home) -> Result<(), Failure> {
        let folder = home.ledger()?;
        let peers: String = self.peers.iter().map(|peer| format!("{peer}\n")).collect();
        for (name, text) in [
            ("peers", peers),
            ("reach", self.reach.to_text()),
            ("genesis.toml", self.genesis.to_toml()),
        ] {
            let place = folder.join(name);
            tally_durable::write_file(&place, text.as_bytes(), Access::Umask)
                .or_environment(format_args!("write {}", place.display()))?;
        }
        Ok(())
    }

    /// Makes the ledger of this machine alone the one of commands that name none.
    pub(crate) fn forget(home: &Home) -> Result<(), Failure> {
        let folder = home.ledger()?;
        for name in ["genesis.toml", "peers", "reach"] {
            let place = folder.join(name);
            match std::fs::remove_file(&place) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.or_environment(format_args!("remove {}", place.display()))?,
            }
        }
        Ok(())
    }

    /// With where the node is, if it is that of this machine alone and somebody runs it.
    pub(crate) async fn located(&self) -> Result<Self, Failure> {
        let mut network = self.clone();
        if let Some(own) = &self.own {
            network.put_node_at(own.address().await?);
        }
        Ok(network)
    }

    fn put_node_at(&mut self, address: SocketAddr) {
        let validators = self.genesis.validators.as_slice().iter();
        let all = validators.map(|one| Located::new(one.vote_key, address));
        self.peers.extend(all);
    }

    /// Where validators are, beside what genesis says.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.peers.iter().map(|peer| peer.peer()).collect()
    }

    /// What waits to be settled on this chain: at most TALLY_OUTBOX_BYTES of it, where that is set.
    pub(crate) fn outbox(&self, home: &Home) -> Result<Outbox, Failure> {
        home.ledger()?;
        let folder = self.outbox_folder(home);
        let outbox =
            Outbox::open(&folder).or_environment(format_args!("open {}", folder.display()))?;
        let limit = outbox_limit(std::env::var_os("TALLY_OUTBOX_BYTES").as_deref())?;
        Ok(outbox.with_limit(limit))
    }

    pub(crate) fn outbox_folder(&self, home: &Home) -> PathBuf {
        let chain = self.genesis.chain().to_string();
        home.path().join("ledger").join("outbox").join(chain)
    }

    fn trouble_file(&self, home: &Home) -> PathBuf {
        self.outbox_folder(home).with_extension("trouble")
    }

    /// Why settling in the background failed the last time, if it did and something waits since.
    pub(crate) fn trouble(&self, home: &Home) -> Option<String> {
        let text = std::fs::read_to_string(self.trouble_file(home)).ok()?;
        Some(text.trim_end().to_owned()).filter(|reason| !reason.is_empty())
    }

    /// Puts down for whoever looks why settling in the background failed, or that nothing waits any more. Where the folder is gone
    /// it is not made for this.
    pub(crate) fn note_trouble(&self, home: &Home, failure: Option<&Failure>) {
        let file = self.trouble_file(home);
        let noted = match failure {
            Some(failure) => std::fs::write(&file, format!("{}\n", failure.message())),
            None => match std::fs::remove_file(&file) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
        };
        if let Err(error) = noted {
            tracing::debug!(%error, "how settling went is not noted");
        }
    }

    /// Where somebody listens who only calls: by the protocol that the validators' addresses are of. The local network is searched
    /// by IPv4.
    fn listen(&self) -> SocketAddr {
        let mut addresses = self
            .genesis
            .addresses
            .iter()
            .flatten()
            .chain(self.peers.iter().map(|peer| &peer.address))
            .peekable();
        let are_known = addresses.peek().is_some();
        if !self.reach.lan && are_known && addresses.all(SocketAddr::is_ipv6) {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        }
    }

    /// How the endpoint of somebody is opened who only calls.
    pub(crate) fn calling(&self) -> tally_net::Config {
        let lan = match self.reach.lan {
            true => Lan::Find,
            false => Lan::Off,
        };
        tally_net::Config {
            lan,
            relay: self.reach.relay.clone(),
            ..tally_net::Config::new(self.listen())
        }
    }

    /// Whom somebody starts from who follows the chain: those in the file that somebody names, else those that this machine was
    /// shown last, else those of genesis. Those that are shown are kept.
    pub(crate) fn start(&self, home: &Home) -> Start {
        let kept = match &self.own {
            Some(_) => None,
            None => {
                // Without a place nothing is kept, and nobody does without an answer for it.
                let _ = home.ledger();
                Some(Kept::of(home, self.genesis.chain()))
            }
        };
        let from = match (&self.trusted, &kept) {
            (Some(named), _) => Some(named.validators.clone()),
            (None, Some(kept)) => kept.read(),
            (None, None) => None,
        };
        Start { from, kept }
    }

    /// Opens an endpoint and a way to all validators; where that is this machine's node and nobody runs it, runs it. Contacts
    /// nobody yet.
    pub(crate) async fn client(&self, home: &Home) -> Result<(Way, Client), Failure> {
        let mut network = self.clone();
        let secret = match &self.own {
            Some(own) => own.caller()?,
            None => Secret::derive(&home.node_key()?.to_seed()),
        };
        let own = match &self.own {
            Some(own) => {
                let used = own.reach(home).await?;
                network.put_node_at(used.address());
                Some(used)
            }
            None => None,
        };
        let endpoint = Endpoint::bind(&secret, network.calling())
            .await
            .or_environment("open a socket")?;
        let client = Client::new(&endpoint, &self.genesis, network.peers(), ANSWER)
            .or_misuse(format_args!("reach the network of {}", self.file.display()))?;
        let client = self.start(home).of(client)?;
        Ok((Way { endpoint, own }, client))
    }
}

#[cfg(test)]
mod tests {
    use tally_receipt::SigningKey;

    use super::*;

    #[test]
    fn an_outbox_has_the_limit_that_is_said_and_a_stated_one_otherwise() {
        let limit = |said: Option<&str>| outbox_limit(said.map(OsStr::new)).ok();
        assert_eq!(limit(None), Some(1 << 30));
        assert_eq!(limit(Some("")), Some(1 << 30));
        assert_eq!(limit(Some("4096")), Some(4096));
        for wrong in ["1 GiB", "-1", "all"] {
            assert_eq!(limit(Some(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn how_validators_are_found_is_kept_and_handed_on_as_it_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("reach");
        assert_eq!(Reach::read(&file).ok(), Some(Reach::default()));
        let own = relay("https://relay.example").unwrap();
        for (lan, relay) in [(false, None), (true, None), (true, Some(own.clone()))] {
            let reach = Reach { lan, relay };
            std::fs::write(&file, reach.to_text()).unwrap();
            assert_eq!(Reach::read(&file).ok().as_ref(), Some(&reach));
            assert_eq!(reach.clone().or(Reach::default()), reach);
            assert_eq!(Reach::default().or(reach.clone()), reach);
        }
        let reach = Reach {
            lan: true,
            relay: Some(own),
        };
        assert_eq!(
            reach.arguments(),
            ["--lan", "--relay", "https://relay.example/"]
        );
        for wrong in [
            "LAN",
            "relay",
            "relay relay.example",
            "relay ftp://relay.example",
        ] {
            std::fs::write(&file, wrong).unwrap();
            assert!(Reach::read(&file).is_err(), "{wrong}");
        }
    }

    #[test]
    fn where_a_validator_is_has_one_spelling() {
        let key = SigningKey::from_seed(&[1; 32]).public_key();
        let located = Located::new(key, ([127, 0, 0, 1], 4410).into());
        let no_point = format!("{}@127.0.0.1:4410", "02".repeat(32));
        assert_eq!(located.to_string().parse::<Located>(), Ok(located));
        for wrong in [
            "",
            "127.0.0.1:4410",
            "key@127.0.0.1:4410",
            &format!("{key}@4410"),
            &no_point,
        ] {
            assert!(wrong.parse::<Located>().is_err(), "{wrong}");
        }
    }
}

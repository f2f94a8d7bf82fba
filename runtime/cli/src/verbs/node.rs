//! `tally node`: one node of a ledger, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use tally_durable::Access;
use tally_net::{Lan, RelayUrl};
use tally_node::{Config, Pace, RunError, Running, Timing};
use tally_receipt::SigningKey;

use crate::failure::{Failure, OrFail, Outcome};
use crate::home::{self, Home};
use crate::network::{self, Located, Network};
use crate::node_keys::{checkpoint_seed, pair};
use crate::ui::say;

// As `tally ledger` knows them.
pub(crate) use crate::node_keys::key_file;
pub(crate) use crate::ui::interrupted;

/// Run one node of a ledger.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    tally node --role validator --key v0.key --show-keys alice      the lines of a genesis file for this key, made if new\n  \
    tally node --role validator --key v0.key --genesis genesis.toml --data v0 --listen 0.0.0.0:4410\n  \
    tally node --role validator --key v0.key --genesis genesis.toml --data v0 --lan     needs no addresses in genesis.toml\n  \
    tally node --role follower --genesis genesis.toml --data copy --metrics 127.0.0.1:9410 --log 127.0.0.1:9420\n\n\
    It runs until it is interrupted. A validator's data directory is its memory of how it voted: never restore it from an\n\
    older copy, never start two nodes with one key (docs/node.md).")]
pub(crate) struct Args {
    /// What the node does.
    #[arg(long, value_enum)]
    role: Role,
    /// Where the chain begins, and who validates.
    #[arg(long, value_name = "FILE", required_unless_present = "show_keys")]
    genesis: Option<PathBuf>,
    /// The node's data; else in the data directory, under the chain's name.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The key a validator votes with, made if there is none; else in the data directory.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Where it listens (UDP); else the first address that genesis has for it, else a free port.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where it serves /metrics (HTTP); else it serves none.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Where it serves the log's files, a C2SP tlog-tiles log (HTTP); else it serves none.
    #[arg(long, value_name = "ADDRESS")]
    log: Option<SocketAddr>,
    /// Where a validator is that genesis does not tell of. May be given several times.
    #[arg(long = "peer", value_name = "KEY@ADDRESS")]
    peers: Vec<Located>,
    /// Look for validators on the local network, by their keys, and be found there: it says its key and address to everybody on it.
    #[arg(long)]
    lan: bool,
    /// Be reached, and reach validators, by way of this relay, one's own, where no direct way leads; all name the same one.
    #[arg(long, value_name = "URL", value_parser = network::relay)]
    relay: Option<RelayUrl>,
    /// The shortest time between two blocks, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    block_ms: u64,
    /// Hold every message to a peer for so long, to stand for distance in a bench.
    #[arg(long, value_name = "MS", default_value_t = 0, hide = true)]
    delay_ms: u64,
    /// Stop when stdin ends: for whoever starts nodes and may be killed.
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
    /// Print what a genesis file needs of this validator, under this name, and stop.
    #[arg(long, value_name = "NAME")]
    show_keys: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Votes on blocks, once the ledger's validators include its key.
    Validator,
    /// Has and checks every block, and answers as a validator does.
    Follower,
}

pub(crate) fn run(args: &Args, json: bool) -> Outcome {
    let home = Home::open()?;
    if let Some(name) = &args.show_keys {
        return show_keys(args, &home, name, json);
    }
    let genesis_file = args.genesis.as_deref().expect("clap requires it");
    let network = Network::read(genesis_file)?;
    let chain = network.genesis.chain().to_string();
    let data = match &args.data {
        Some(data) => data.clone(),
        None => home.ledger()?.join("nodes").join(&chain),
    };
    tally_durable::create_folder(&data, Access::Umask)
        .or_environment(format_args!("create {}", data.display()))?;
    let (vote_seed, key_file) = match args.role {
        Role::Follower => (None, None),
        Role::Validator => {
            let key = key_file(args.key.as_deref(), &home)?;
            let seed = home::seed_or_new(&key)?;
            pair(&key, &data)?;
            (Some(seed), Some(key))
        }
    };
    let vote_key = vote_seed
        .as_ref()
        .map(|seed| SigningKey::from_seed(seed).public_key());
    let in_genesis = vote_key.and_then(|key| network.genesis.validators.index_of(&key));
    if in_genesis.is_none() && args.role == Role::Validator {
        tracing::warn!(
            "genesis does not have this key: it follows until the validators take it in"
        );
    }
    let listen = args
        .listen
        .or_else(|| network.genesis.addresses.get(in_genesis?)?.first().copied())
        .unwrap_or_else(|| ([0, 0, 0, 0], 0).into());
    let tolerated = network.genesis.validators.tolerated();
    let config = Config {
        genesis: network.genesis,
        checkpoint_key: vote_seed
            .as_ref()
            .map(|seed| SigningKey::from_seed(&checkpoint_seed(seed))),
        vote_seed,
        key_file,
        endpoint_seed: home.node_key()?.to_seed(),
        data,
        listen,
        metrics: args.metrics,
        log: args.log,
        peers: args.peers.iter().map(|peer| peer.peer()).collect(),
        callers: None,
        lan: match args.lan {
            true => Lan::FindAndBeFound,
            false => Lan::Off,
        },
        relay: args.relay.clone(),
        pace: Pace {
            block: Duration::from_millis(args.block_ms),
            ..Pace::default()
        },
        timing: Timing::default(),
        delay: Duration::from_millis(args.delay_ms),
    };
    let is_announced = args.lan;
    let started = |running: Running| {
        let sockets: Vec<String> = running.sockets.iter().map(ToString::to_string).collect();
        if json {
            say!(
                "{}",
                serde_json::json!({ "chain": chain, "endpoint": running.endpoint.to_string(), "listen": sockets, "tolerates": tolerated })
            );
        } else {
            eprintln!("chain     {chain}");
            eprintln!("endpoint  {}", running.endpoint);
            eprintln!("listening {} (UDP)", sockets.join(", "));
            if is_announced {
                eprintln!("everybody on the local network hears its key and address (--lan)");
            }
            if vote_key.is_some() && tolerated == 0 {
                eprintln!(
                    "this ledger tolerates nobody: it stops while any of its validators is away, and believes each of them"
                );
            }
        }
    };
    let until_stdin_ends = args.until_stdin_ends;
    let stop = async move {
        if until_stdin_ends {
            tokio::select! {
                () = interrupted() => {}
                () = stdin_ends() => {}
            }
        } else {
            interrupted().await;
        }
    };
    tally_node::run(config, started, stop).map_err(|error| match error {
        RunError::Store(_) | RunError::Bind(_) | RunError::Http { .. } => {
            Failure::environment(&error)
        }
        error => Failure::environment(format_args!("{error}; TALLY_LOG=info says more")),
    })
}

fn show_keys(args: &Args, home: &Home, name: &str, json: bool) -> Outcome {
    let name = tally_ledger::Name::new(name).or_misuse(format_args!("use {name:?} as a name"))?;
    let seed = home::seed_or_new(&key_file(args.key.as_deref(), home)?)?;
    let vote = SigningKey::from_seed(&seed).public_key();
    let checkpoint = SigningKey::from_seed(&checkpoint_seed(&seed)).public_key();
    let addresses: Vec<String> = args.listen.iter().map(ToString::to_string).collect();
    if json {
        say!(
            "{}",
            serde_json::json!({ "name": name.as_str(), "vote": vote.to_string(), "checkpoint": checkpoint.to_string(), "addresses": addresses })
        );
    } else {
        say!(
            "[[validators]]\nname = \"{name}\"\nvote = \"{vote}\"\ncheckpoint = \"{checkpoint}\"\naddresses = {addresses:?}"
        );
    }
    Ok(())
}

/// Ready when whoever holds the other end of stdin is gone.
async fn stdin_ends() {
    let (end, ended) = tokio::sync::oneshot::channel();
    // A thread of its own: a runtime would wait for such a read before it ends.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = end.send(());
    });
    let _ = ended.await;
}

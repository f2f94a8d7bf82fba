//! A node on a real disk and a real network.
//!
//! commonware's runtime, the endpoint and the node share one tokio runtime in one thread of the program: [`run`] blocks it
//! until the node stops.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::Signer as _;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_runtime::{
    Metrics as _, Runner as _, Spawner as _, Supervisor as _, tokio as runtime,
};
use tally_ledger::{Epoch, Genesis, Height, ValidatorSet};
use tally_net::{
    BindError, Caller, ChannelConfig, Endpoint, EndpointId, Lan, Limits, Mesh, Peer, RelayUrl,
    Secret, Turns,
};
use tally_receipt::SigningKey;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::actor::{Actor, COMMANDS, Neighbours, Pace, Parts, Peers};
use crate::client::Asked;
use crate::guard;
use crate::handle::Handle;
use crate::http::{self, Page};
use crate::publish::{last_checkpoint, publish};
use crate::service::{Answers, CALLS, READING, WAITING};
use crate::simplex::{self, Channels, Simplex, Timing};
use crate::snapshots;
use crate::store::{Partitions, StoreError};
use crate::wire::{MESSAGE_LIMIT, SUBMIT_LIMIT};

/// How a node is run.
pub struct Config {
    /// Where the chain begins.
    pub genesis: Genesis,
    /// The seed of the key it votes with. Without one it follows.
    pub vote_seed: Option<Zeroizing<[u8; 32]>>,
    /// The file of that key, which was paired with the data ([`guard`]), if its votes are to be missed when they are gone.
    pub key_file: Option<PathBuf>,
    /// The key it cosigns the log's checkpoints with, if it does.
    pub checkpoint_key: Option<SigningKey>,
    /// The seed that the key of its endpoint is derived from, if it does not vote.
    pub endpoint_seed: Zeroizing<[u8; 32]>,
    /// Where its data is.
    pub data: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it serves its counts over HTTP, if it does.
    pub metrics: Option<SocketAddr>,
    /// Where it serves the log's files over HTTP, if it does.
    pub log: Option<SocketAddr>,
    /// Where validators are, beside what genesis says.
    pub peers: Vec<Peer>,
    /// Who may call it; everybody, if nobody is named. Other validators are no callers.
    pub callers: Option<BTreeSet<EndpointId>>,
    /// Whether it finds others, and is found, on the local network.
    pub lan: Lan,
    /// The relay by which it is reached, and reaches others, where no direct way exists.
    pub relay: Option<RelayUrl>,
    /// Its own times.
    pub pace: Pace,
    /// Its engine's times.
    pub timing: Timing,
    /// How long every message to a peer is held, to stand for distance. For benches.
    pub delay: Duration,
}

/// Why a node stopped. The operator acts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The endpoint did not open.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Metrics, or the log's files, cannot be served.
    #[error("serve HTTP on {address}: {source}")]
    Http {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The disk failed, or what is on it is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task ended that never should. Our fault.
    #[error("a part of the node ended by itself")]
    Ended,
}

/// A running node.
#[derive(Clone, Debug)]
pub struct Running {
    /// The way to it.
    pub handle: Handle,
    /// Its endpoint's key.
    pub endpoint: EndpointId,
    /// Where it listens.
    pub sockets: Vec<SocketAddr>,
}

const KIB: usize = 1024; // bytes

fn queue(length: usize) -> NonZeroUsize {
    NonZeroUsize::new(length).expect("written below")
}

/// The channels of the mesh, in the order of `docs/net.md`.
fn channels() -> [ChannelConfig; 6] {
    let small = |priority| ChannelConfig {
        limit: 64 * KIB,
        priority,
        queue: queue(1024),
    };
    [
        // Votes, certificates, missing certificates.
        small(3),
        small(3),
        small(2),
        // Blocks.
        ChannelConfig {
            limit: MESSAGE_LIMIT,
            priority: 1,
            queue: queue(32),
        },
        // History.
        ChannelConfig {
            limit: MESSAGE_LIMIT,
            priority: 0,
            queue: queue(16),
        },
        // Transactions.
        ChannelConfig {
            limit: SUBMIT_LIMIT,
            priority: -1,
            queue: queue(16),
        },
    ]
}

struct MeshNeighbours {
    mesh: Mesh,
    known: Vec<Peer>,
}

impl Neighbours for MeshNeighbours {
    fn validators(&mut self, _epoch: Epoch, validators: &ValidatorSet) {
        let peers = validators.as_slice().iter().map(|validator| {
            let key = simplex::key(&validator.vote_key);
            let addresses = self
                .known
                .iter()
                .filter(|peer| peer.key == key)
                .flat_map(|peer| peer.addresses.iter().copied())
                .collect();
            Peer { key, addresses }
        });
        self.mesh.set_peers(peers);
    }

    fn connected(&self) -> Vec<PublicKey> {
        self.mesh.connected()
    }
}

/// Runs a node until `stop` is ready, and says through `started` how to reach it.
///
/// # Panics
///
/// In a thread that belongs to a tokio runtime: the node has its own.
pub fn run(
    config: Config,
    started: impl FnOnce(Running),
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let settings = runtime::Config::new()
        .with_storage_directory(config.data.join("store"))
        .with_worker_threads(1);
    runtime::Runner::new(settings).start(|context| async move {
        let key = config
            .vote_seed
            .as_ref()
            .map(|seed| PrivateKey::decode(Copying(&seed[..])).expect("32 bytes are a seed"));
        let secret = match &config.vote_seed {
            Some(seed) => Secret::of_validator(seed),
            None => Secret::derive(&config.endpoint_seed),
        };
        let reach = tally_net::Config {
            lan: config.lan,
            relay: config.relay.clone(),
            ..tally_net::Config::new(config.listen)
        };
        let endpoint = Endpoint::bind(&secret, reach).await?;
        let (mesh, halves) = Mesh::new(endpoint.clone(), &channels(), config.delay);
        let [votes, certificates, missing, blocks, history, transactions] =
            <[_; 6]>::try_from(halves)
                .unwrap_or_else(|_| unreachable!("one pair for each channel"));

        let mut known = genesis_peers(&config.genesis);
        known.extend(config.peers.iter().cloned());
        let chain = config.genesis.chain();
        let (commands_in, commands) = mpsc::channel(COMMANDS);
        let (heights, heights_out) = watch::channel(Height::ZERO);
        let handle = Handle::new(chain, commands_in, heights_out);

        let consensus = key.clone().map(|key| {
            Simplex::new(
                &context,
                Partitions::default(),
                tally_ledger::consensus_namespace(chain),
                key,
                config.timing,
                mesh.blocker(),
                Channels {
                    votes,
                    certificates,
                    missing,
                },
            )
        });
        let parts = Parts {
            partitions: Partitions::default(),
            genesis: config.genesis.clone(),
            me: key.as_ref().map(PrivateKey::public_key),
            pace: config.pace,
            snapshot_every: snapshots::EVERY,
            consensus,
            peers: Peers {
                blocks,
                history,
                transactions,
            },
            neighbours: Box::new(MeshNeighbours {
                mesh: mesh.clone(),
                known: known.clone(),
            }),
            checks: handle.checks(),
            checkpoint_key: config.checkpoint_key,
            put_down: last_checkpoint(&config.data.join("log")),
            commands,
        };
        let node = context
            .child("node")
            .spawn(move |context| Actor::run(context, parts, heights));
        let service = Answers {
            node: handle.clone(),
            genesis: Bytes::from(config.genesis.to_toml()),
            callers: config.callers,
            // One core is left to the thread that votes.
            checking: Semaphore::new(cores().saturating_sub(1).max(1)),
            waiting: Turns::new(WAITING),
            reading: Turns::new(READING),
        };
        let server = tokio::spawn(tally_net::serve(
            endpoint.clone(),
            Some(mesh.clone()),
            Arc::new(service),
            Limits {
                requests: CALLS,
                ..Limits::default()
            },
        ));
        let log = config.data.join("log");
        // Ended with this function, however it ends.
        let mut beside = JoinSet::new();
        beside.spawn(follow(endpoint.clone(), handle.clone(), known));
        beside.spawn(publish(handle.clone(), log.clone()));
        let evidence = config.data.join("evidence");
        beside.spawn(crate::evidence::keep(handle.clone(), evidence));
        if let Some(key_file) = config.key_file {
            beside.spawn(guard::watch(key_file, config.data.clone()));
        }
        if let Some(address) = config.metrics {
            let context = context.child("metrics");
            let page = move |path: &str| {
                (path == "/metrics")
                    .then(|| Page::counts(context.encode() + &http::mesh(&mesh.stats())))
            };
            beside.spawn(http::serve(listener(address).await?, page));
        }
        if let Some(address) = config.log {
            let page = move |path: &str| Page::of_log(&log, path);
            beside.spawn(http::serve(listener(address).await?, page));
        }
        started(Running {
            handle,
            endpoint: endpoint.id(),
            sockets: endpoint.sockets(),
        });
        let ended = tokio::select! {
            () = stop => Ok(()),
            ended = node => match ended {
                Ok(ended) => ended.map_err(RunError::Store).and(Err(RunError::Ended)),
                Err(_) => Err(RunError::Ended),
            },
            _ = server => Err(RunError::Ended),
        };
        beside.shutdown().await;
        endpoint.close().await;
        ended
    })
}

async fn listener(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Http { address, source })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Where genesis says that validators are.
pub(crate) fn genesis_peers(genesis: &Genesis) -> Vec<Peer> {
    genesis
        .validators
        .as_slice()
        .iter()
        .zip(&genesis.addresses)
        .map(|(validator, addresses)| Peer {
            key: simplex::key(&validator.vote_key),
            addresses: addresses.clone(),
        })
        .collect()
}

/// How often a node that does not vote looks for new blocks.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

/// One of so many looks is also for a checkpoint.
const CHECKPOINT_LOOK: u64 = 4;

/// One of so many looks is taken by a node that votes, too.
const VOTERS_LOOK: u64 = 20;

/// Fetches final blocks and cosigned checkpoints from validators, for as long as this node does not vote itself.
async fn follow(endpoint: Endpoint, node: Handle, peers: Vec<Peer>) {
    let own = endpoint.id();
    let finds_by_key = endpoint.finds_by_key();
    let to = |id, addresses| Caller::new(endpoint.clone(), id, addresses, Duration::from_secs(10));
    let mut callers: Vec<Caller> = peers
        .into_iter()
        .map(|peer| (EndpointId::of_validator(&peer.key), peer.addresses))
        .filter(|(id, addresses)| *id != own && (finds_by_key || !addresses.is_empty()))
        .map(|(id, addresses)| to(id, addresses))
        .collect();
    // Where genesis names nobody else, those who came later may be found by their keys.
    if callers.is_empty() && !finds_by_key {
        return;
    }
    let mut turn = 0;
    let mut looks = 0u64;
    loop {
        tokio::time::sleep(FOLLOW_EVERY).await;
        looks += 1;
        let Ok(status) = node.status().await else {
            return;
        };
        // A validator hears of new blocks from the others; unless they have voted it out while it was away.
        if status.votes && !looks.is_multiple_of(VOTERS_LOOK) {
            continue;
        }
        if finds_by_key {
            // Those who came later can be asked, too.
            for validator in &status.validators {
                let id = EndpointId::of_validator(&simplex::key(&validator.vote_key));
                if id != own && callers.iter().all(|one| one.server() != id) {
                    callers.push(to(id, Vec::new()));
                }
            }
        }
        if callers.is_empty() {
            continue;
        }
        let caller = &callers[turn % callers.len()];
        if !status.votes
            && looks.is_multiple_of(CHECKPOINT_LOOK)
            && let Ok(checkpoint) = Asked::new(caller).checkpoint().await
            && node.take_checkpoint(checkpoint).await.is_err()
        {
            return;
        }
        match Asked::new(caller).blocks(status.height.next()).await {
            Ok(stretch) if stretch.blocks.is_empty() => {}
            Ok(stretch) => match node.take(stretch).await {
                Ok(Ok(_)) => continue,
                Ok(Err(reason)) => {
                    tracing::warn!(peer = %caller.server(), reason, "sent blocks that are not believed");
                }
                Err(_) => return,
            },
            Err(error) => tracing::debug!(%error, "no blocks"),
        }
        turn += 1;
    }
}

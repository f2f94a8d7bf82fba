//! The ledger of this machine alone, on which receipts are settled for as long as no network is named. It has one validator,
//! whose key is here: it tolerates nobody, and says so wherever it is used.
//!
//! ```text
//! $TALLY_HOME/ledger/own/
//!   genesis.toml    made once; it says of its validator no address
//!   vote.key        made once, mode 0600; the key that signs checkpoints follows from it. `vote.key.voted` is its guard's
//!   data/           the node's (`tally_node`)
//!   running         locked by whoever runs the node; where that listens, or did the last time
//!   used            locked by everybody who uses the node, together; by whoever stops it, alone
//! ```
//!
//! The node is a thread of a process that needs it: of the one that settles in the background, of a server, of a command. The
//! first of them runs it, the others call it where the first says that it listens. Whoever runs it for a time waits for the
//! others before it stops it; a [`Host`] does not, and takes over what another one has stopped.
//!
//! Invariants: one process at a time runs the node. Whoever finds `own/` gone stops, and makes nothing anew there: who removes
//! it loses this chain, and nothing else.
//!
//! Out of scope: receipts that wait to be settled, which are in the outbox of this chain as of any other (`network`).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tally_ledger::{Genesis, Name, Parameters, Validator, ValidatorSet};
use tally_net::Lan;
use tally_node::{Config, Pace, Running, Timing};
use tally_receipt::SigningKey;
use tokio::sync::oneshot;

use crate::failure::{Failure, OrFail};
use crate::home::{self, Home};
use crate::network::Network;
use crate::trust;
use crate::verbs::node;

/// What everybody is told who uses it.
pub(crate) const ALONE: &str = "the ledger of this machine alone: one validator, which tolerates nobody; whoever believes its proofs believes this machine";

/// How long its node may take to start, or another process to say where it listens.
const STARTS: Duration = Duration::from_secs(30);
/// How long whoever stops the node waits for others who use it.
const OTHERS: Duration = Duration::from_secs(30);
/// How often it is looked whether somebody has come, or gone.
const LOOKS: Duration = Duration::from_millis(20);
/// How often it is looked whether a folder is still there.
const GONE: Duration = Duration::from_millis(100);
/// How often a server looks whether somebody else's node has ended.
const TAKE_OVER: Duration = Duration::from_secs(1);
/// The pause after it could not start the node itself.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// Where it is, made or not.
#[derive(Clone, Debug)]
pub(crate) struct Own(PathBuf);

impl Own {
    pub(crate) fn of(home: &Home) -> Self {
        Self(home.path().join("ledger").join("own"))
    }

    /// Whether this genesis file is its own.
    pub(crate) fn is(&self, genesis: &Path) -> bool {
        match (genesis.canonicalize(), self.genesis().canonicalize()) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
    }

    /// The network that it is, if it was made.
    pub(crate) fn existing(&self) -> Result<Option<Network>, Failure> {
        if !self.genesis().exists() {
            return Ok(None);
        }
        let network = Network::read(&self.genesis())?;
        Ok(Some(Network {
            own: Some(self.clone()),
            ..network
        }))
    }

    /// The network that it is, with a key and a genesis that are made now if they are not there.
    pub(crate) fn make(&self, home: &Home) -> Result<Network, Failure> {
        if let Some(network) = self.existing()? {
            return Ok(network);
        }
        home.own_ledger()?;
        let seed = home::seed_or_new(&self.key())?;
        let genesis = genesis(&seed)?;
        self.put(&genesis.to_toml())
            .or_environment(format_args!("write {}", self.genesis().display()))?;
        self.existing()?.ok_or_else(|| {
            Failure::environment(format_args!(
                "{} vanished while it was made",
                self.0.display()
            ))
        })
    }

    /// Writes the genesis whole or not at all. Of two that are made at once, one counts.
    fn put(&self, text: &str) -> io::Result<()> {
        let place = self.genesis();
        let draft = place.with_extension(format!("draft-{}", std::process::id()));
        let written = File::create(&draft)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| match std::fs::hard_link(&draft, &place) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            });
        let removed = std::fs::remove_file(&draft);
        written.and(removed)?;
        File::open(&self.0)?.sync_all()
    }

    pub(crate) fn genesis(&self) -> PathBuf {
        self.0.join("genesis.toml")
    }

    /// Where its node leaves evidence.
    pub(crate) fn evidence(&self) -> PathBuf {
        self.0.join("data").join("evidence")
    }

    fn key(&self) -> PathBuf {
        self.0.join("vote.key")
    }

    /// A file to lock. The folder is not made for it.
    fn file(&self, name: &str) -> Result<File, Failure> {
        let path = self.0.join(name);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .or_environment(format_args!("open {}", path.display()))
    }

    /// Where the node listens, or did the last time.
    fn noted(&self) -> Option<SocketAddr> {
        let text = std::fs::read_to_string(self.0.join("running")).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    }

    /// Where the node listens that somebody runs.
    pub(crate) async fn address(&self) -> Result<SocketAddr, Failure> {
        let begun = Instant::now();
        loop {
            match self.noted() {
                Some(address) => return Ok(address),
                None if begun.elapsed() > STARTS => return Err(self.silent()),
                None => tokio::time::sleep(LOOKS).await,
            }
        }
    }

    fn silent(&self) -> Failure {
        Failure::environment(format_args!(
            "another process runs the node of {}, and does not say where it listens",
            self.0.display()
        ))
    }

    /// Uses the node: runs it here if nobody does.
    pub(crate) async fn reach(&self, home: &Home) -> Result<Use, Failure> {
        let begun = Instant::now();
        loop {
            let used = self.file("used")?;
            match used.try_lock_shared() {
                Ok(()) => {
                    let node = Node::start(self, home).await?;
                    let address = match &node {
                        Some(node) => Some(node.address),
                        None => self.noted(),
                    };
                    if let Some(address) = address {
                        return Ok(Use {
                            own: self.clone(),
                            address,
                            used,
                            node,
                        });
                    }
                }
                // Whoever runs it is about to stop it.
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(error)
                        .or_environment(format_args!("lock files in {}", self.0.display()));
                }
            }
            if begun.elapsed() > STARTS {
                return Err(self.silent());
            }
            tokio::time::sleep(LOOKS).await;
        }
    }

    /// Runs the node for as long as what is returned lives, or takes it over once nobody else runs it.
    pub(crate) async fn host(&self, home: &Home) -> Result<Host, Failure> {
        let (own, home) = (self.clone(), home.clone());
        let mut node = Node::start(&own, &home).await?;
        Ok(Host(tokio::spawn(async move {
            loop {
                if let Some(node) = node.take() {
                    node.ended().await;
                }
                tokio::time::sleep(TAKE_OVER).await;
                if !own.genesis().exists() {
                    return;
                }
                node = match Node::start(&own, &home).await {
                    Ok(node) => node,
                    Err(failure) => {
                        let reason = failure.message();
                        tracing::warn!(%reason, "the node of this machine's own ledger does not start");
                        tokio::time::sleep(TRY_AGAIN).await;
                        None
                    }
                };
            }
        })))
    }

    /// How the node is run.
    fn config(&self, home: &Home, listen: SocketAddr) -> Result<Config, Failure> {
        let anew = format!(
            "bring the right files back, never an older copy of them; or move {} away: then another ledger is begun, and of this one only the proofs are left that were taken",
            self.0.display()
        );
        let genesis = Network::read(&self.genesis())?.genesis;
        let key_file = self.key();
        let seed = home::read_seed(&key_file)?
            .filter(|seed| {
                let key = SigningKey::from_seed(seed).public_key();
                genesis.validators.index_of(&key).is_some()
            })
            .ok_or_else(|| {
                Failure::environment(format_args!(
                    "{} is not the key of {}",
                    key_file.display(),
                    self.genesis().display()
                ))
                .advise(&anew)
            })?;
        let data = self.0.join("data");
        match std::fs::create_dir(&data) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.or_environment(format_args!("create {}", data.display()))?,
        }
        node::pair(&key_file, &data).map_err(|failure| failure.advise(&anew))?;
        Ok(Config {
            genesis,
            checkpoint_key: Some(SigningKey::from_seed(&node::checkpoint_seed(&seed))),
            vote_seed: Some(seed),
            key_file: Some(key_file),
            endpoint_seed: home.node_key()?.to_seed(),
            data,
            listen,
            metrics: None,
            log: None,
            peers: Vec::new(),
            lan: Lan::Off,
            relay: None,
            pace: Pace::default(),
            timing: Timing::default(),
            delay: Duration::ZERO,
        })
    }
}

/// A genesis with the one validator who has this seed.
fn genesis(seed: &[u8; 32]) -> Result<Genesis, Failure> {
    let validator = Validator {
        vote_key: SigningKey::from_seed(seed).public_key(),
        checkpoint_key: SigningKey::from_seed(&node::checkpoint_seed(seed)).public_key(),
        name: Name::new("own").expect("letters"),
    };
    Ok(Genesis {
        name: Name::new("own").expect("letters"),
        time: trust::moment(None)?,
        parameters: Parameters::default(),
        validators: ValidatorSet::new(vec![validator]).or_environment("make a validator")?,
        addresses: vec![Vec::new()],
        accounts: Vec::new(),
        faucet: None,
    })
}

/// Ready once there is nothing at a path.
pub(crate) async fn gone(path: &Path) {
    while path.exists() {
        tokio::time::sleep(GONE).await;
    }
}

/// Somebody's use of the node, which runs until it ends.
#[derive(Debug)]
pub(crate) struct Use {
    own: Own,
    address: SocketAddr,
    /// Locked.
    used: File,
    /// If it runs here.
    node: Option<Node>,
}

impl Use {
    /// Where the node listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the node runs here, so that it is where it was.
    pub(crate) fn runs_it(&self) -> bool {
        self.node.as_ref().is_some_and(|node| !node.has_ended())
    }

    /// Stops the node if it runs here, once nobody else uses it, or has used it for long enough.
    pub(crate) async fn end(self) {
        let Some(node) = self.node else {
            return;
        };
        drop(self.used);
        let begun = Instant::now();
        let mut alone = None;
        while alone.is_none() && !node.has_ended() && begun.elapsed() < OTHERS {
            match self.own.file("used").map(|used| (used.try_lock(), used)) {
                Ok((Ok(()), used)) => alone = Some(used),
                Ok((Err(TryLockError::WouldBlock), _)) => tokio::time::sleep(LOOKS).await,
                // Without its folder nobody else can come.
                _ => break,
            }
        }
        node.stop().await;
        drop(alone);
    }
}

/// A node that runs, or is taken over, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Host(tokio::task::JoinHandle<()>);

impl Drop for Host {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The node, in a thread of this process. It stops when this is dropped, and when `own/` is gone.
#[derive(Debug)]
struct Node {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
    thread: JoinHandle<Result<(), String>>,
}

impl Node {
    /// Starts it; none if it runs already.
    async fn start(own: &Own, home: &Home) -> Result<Option<Self>, Failure> {
        let running = own.file("running")?;
        match running.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                return Err(error)
                    .or_environment(format_args!("lock files in {}", own.0.display()));
            }
        }
        // Where it was, so that whoever has its address from then finds it; unless another program is there by now.
        let listen = own
            .noted()
            .filter(|before| UdpSocket::bind(before).is_ok())
            .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
        running.set_len(0).or_environment("note an address")?;
        let config = own.config(home, listen)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel::<()>();
        let (say, said) = oneshot::channel::<io::Result<SocketAddr>>();
        let genesis = own.genesis();
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || {
                let started = |node: Running| {
                    let noted = match node.sockets.first() {
                        Some(address) => note(&running, *address).map(|()| *address),
                        None => Err(io::Error::other("it has no socket")),
                    };
                    // Whoever waited for it may be gone, and then it stops.
                    let _ = say.send(noted);
                };
                let stop = async move {
                    tokio::select! {
                        _ = stopped => {}
                        () = gone(&genesis) => {}
                    }
                };
                let outcome =
                    tally_node::run(config, started, stop).map_err(|error| error.to_string());
                if let Err(reason) = &outcome {
                    tracing::warn!(%reason, "the node of this machine's own ledger has stopped");
                }
                // In this order: whoever waits for its end may start it again.
                drop(running);
                drop(end);
                outcome
            })
            .or_environment("start a thread")?;
        match said.await {
            Ok(Ok(address)) => Ok(Some(Self {
                address,
                stop,
                ended,
                thread,
            })),
            Ok(Err(error)) => Err(error).or_environment("note an address"),
            // It ends, and says why.
            Err(_) => {
                let reason = match thread.join() {
                    Ok(Ok(())) => "it ended as soon as it was started".to_owned(),
                    Ok(Err(reason)) => reason,
                    Err(_) => "a part of it panicked".to_owned(),
                };
                Err(Failure::environment(format_args!(
                    "cannot run the node of this machine's own ledger: {reason}"
                )))
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end, which nobody here brings about.
    async fn ended(mut self) {
        // Its other side is dropped then.
        let _ = (&mut self.ended).await;
    }

    async fn stop(self) {
        let Self { stop, ended, .. } = self;
        drop(stop);
        let _ = ended.await;
    }
}

/// Says to others where the node listens.
fn note(mut running: &File, address: SocketAddr) -> io::Result<()> {
    running.write_all(format!("{address}\n").as_bytes())
}

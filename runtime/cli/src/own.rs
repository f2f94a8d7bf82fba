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
//!   turn            locked for a moment by whoever makes the ledger, begins to run the node, or clears what is left of one
//! ```
//!
//! The node is a thread of a process that needs it: of the one that settles in the background, of a server, of a command. The
//! first of them runs it, the others call it where the first says that it listens. Whoever runs it for a time waits for the
//! others before it stops it; a [`Host`] does not, and takes over what another one has stopped.
//!
//! Invariants: one process at a time runs the node. Whoever finds `own/` gone stops, and what its node still wrote there goes with
//! it: who removes the folder loses this chain, and nothing else. So does whoever finds another file in the place of the `running`
//! that it locked: the folder was removed and made anew. Whoever knows a chain uses no other that was begun in its place. The node
//! answers whoever can read `vote.key`, who is its owner, and nobody else: it listens where other users of the machine are.
//!
//! Out of scope: receipts that wait to be settled, which are in the outbox of this chain as of any other (`network`).

use std::collections::BTreeSet;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tally_durable::Access;
use tally_ledger::{ChainId, Genesis, Name, Parameters, Validator, ValidatorSet};
use tally_net::{Lan, Secret};
use tally_node::{Config, Handle, Pace, Running, Timing};
use tally_receipt::SigningKey;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::failure::{Failure, OrFail};
use crate::home::{self, Home};
use crate::network::Network;
use crate::node_keys;
use crate::trust;
use crate::ui::printable;

/// What everybody is told who uses it.
pub(crate) const ALONE: &str = "the ledger of this machine alone: one validator, which tolerates nobody; whoever believes its proofs believes this machine";

/// How long its node may take to start, or another process to say where it listens.
const STARTS: Duration = Duration::from_secs(30);
/// How long it is waited for the node to read its disk. One that takes longer is used as soon as it answers.
const READS: Duration = Duration::from_secs(5);
/// How long whoever stops the node waits for others who use it.
const OTHERS: Duration = Duration::from_secs(30);
/// How often it is looked whether somebody has come, or gone.
const LOOKS: Duration = Duration::from_millis(20);
/// How often it is looked whether a folder is still there.
const GONE: Duration = Duration::from_millis(100);
/// How often a server looks whether somebody else's node has ended.
const TAKE_OVER: Duration = Duration::from_secs(1);
/// A node that ran for less has not begun to work: each time, the pause before it is started again is twice as long, up to the
/// longest.
const WORKS: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where it is, made or not.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    folder: PathBuf,
    /// The chain of it that whoever has this knows, if any.
    chain: Option<ChainId>,
}

impl Own {
    pub(crate) fn of(home: &Home) -> Self {
        Self {
            folder: home.path().join("ledger").join("own"),
            chain: None,
        }
    }

    /// The same for whoever knows how its chain begins, and uses no other.
    pub(crate) fn beginning_with(self, genesis: &Genesis) -> Self {
        Self {
            chain: Some(genesis.chain()),
            ..self
        }
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
        if !is_there(&self.genesis())? {
            return Ok(None);
        }
        let network = Network::read(&self.genesis())?;
        Ok(Some(Network {
            own: Some(self.clone().beginning_with(&network.genesis)),
            ..network
        }))
    }

    /// Where the chain begins.
    fn read(&self) -> Result<Genesis, Failure> {
        let genesis = Network::read(&self.genesis())?.genesis;
        match self.chain {
            Some(chain) if chain != genesis.chain() => Err(Failure::environment(format_args!(
                "another ledger was begun here: start again ({})",
                self.folder.display()
            ))),
            _ => Ok(genesis),
        }
    }

    /// The network that it is, with a key and a genesis that are made now if they are not there.
    pub(crate) fn make(&self, home: &Home) -> Result<Network, Failure> {
        if let Some(network) = self.existing()? {
            return Ok(network);
        }
        home.own_ledger()?;
        let _turn = self.turn(true).or_environment(self.locking())?;
        if let Some(network) = self.existing()? {
            return Ok(network);
        }
        if is_there(&self.named())? {
            return Err(Failure::environment(format_args!(
                "{} is missing, and {} is of its chain: bring it back, or remove {}",
                self.genesis().display(),
                self.data().display(),
                self.folder.display()
            )));
        }
        // With votes of another chain in it, which a new key would take for its own.
        self.remove_data()
            .or_environment(format_args!("remove {}", self.data().display()))?;
        let seed = home::seed_or_new(&self.key())?;
        let genesis = genesis(&seed)?;
        self.put(&genesis.to_toml())
            .or_environment(format_args!("write {}", self.genesis().display()))?;
        self.existing()?.ok_or_else(|| {
            Failure::environment(format_args!(
                "{} vanished while it was made",
                self.folder.display()
            ))
        })
    }

    /// The moment for what one process at a time does. The file for it is made by whoever makes the ledger, and where one is.
    fn turn(&self, is_made: bool) -> io::Result<File> {
        let turn = lockable(&self.folder.join("turn"), is_made)?;
        turn.lock()?;
        Ok(turn)
    }

    /// Fits after "cannot".
    fn locking(&self) -> String {
        format!("lock files in {}", self.folder.display())
    }

    /// Removes the data that a node still wrote while `own/` was removed, and the folders that came with it. Data that has its
    /// name is somebody's who misses a genesis.
    fn clear(&self) -> io::Result<()> {
        let _turn = match self.turn(false) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            turn => Some(turn?),
        };
        // What cannot be looked at may be there.
        if self.genesis().try_exists()? || self.named().try_exists()? {
            return Ok(());
        }
        self.remove_data()?;
        // Others have something in them, and stay.
        let _ = std::fs::remove_dir(&self.folder);
        if let Some(ledger) = self.folder.parent() {
            let _ = std::fs::remove_dir(ledger);
        }
        Ok(())
    }

    fn remove_data(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(self.data()) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Writes the genesis whole or not at all. Of two that are made at once, one counts.
    fn put(&self, text: &str) -> io::Result<()> {
        home::unless_there(tally_durable::write_new(
            &self.genesis(),
            text.as_bytes(),
            Access::Umask,
        ))
    }

    pub(crate) fn genesis(&self) -> PathBuf {
        self.folder.join("genesis.toml")
    }

    /// Where its node leaves evidence.
    pub(crate) fn evidence(&self) -> PathBuf {
        self.data().join("evidence")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What the node's data has before anything else (`tally_node::guard`).
    fn named(&self) -> PathBuf {
        self.data().join("name")
    }

    fn key(&self) -> PathBuf {
        self.folder.join("vote.key")
    }

    /// A file to lock. Where there is no genesis it is not made: the folder is being removed.
    fn file(&self, name: &str) -> Result<File, Failure> {
        let path = self.folder.join(name);
        lockable(&path, self.genesis().exists())
            .or_environment(format_args!("open {}", path.display()))
    }

    fn running(&self) -> PathBuf {
        self.folder.join("running")
    }

    /// Where the node listens, or did the last time.
    fn noted(&self) -> Option<SocketAddr> {
        let text = std::fs::read_to_string(self.running()).ok()?;
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
            self.folder.display()
        ))
    }

    /// Uses the node: runs it here if nobody does.
    pub(crate) async fn reach(&self, home: &Home) -> Result<Use, Failure> {
        self.read()?;
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
                    return Err(error).or_environment(self.locking());
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
            let (mut restarts, mut begun) = (Restarts::new(), Instant::now());
            loop {
                if let Some(node) = node.take()
                    && let Some(reason) = node.ended().await
                {
                    restarts.say(begun.elapsed(), &reason);
                }
                tokio::time::sleep(restarts.pause).await;
                if !own.genesis().exists() {
                    return;
                }
                node = match Node::start(&own, &home).await {
                    Ok(Some(node)) => Some(node),
                    Ok(None) => {
                        // It works in another process, and is taken over as soon as that ends.
                        restarts = Restarts::new();
                        None
                    }
                    Err(failure) => {
                        restarts.say(Duration::ZERO, failure.message());
                        None
                    }
                };
                begun = Instant::now();
            }
        })))
    }

    /// The key of whoever calls the node, the only one that it answers. It follows from the key of the chain, so that it is the
    /// same for as long as there is this chain, and nobody has it but who may read that.
    pub(crate) fn caller(&self) -> Result<Secret, Failure> {
        let seed = self.seed(&self.read()?)?;
        Ok(Secret::derive(&seed))
    }

    /// The key of the one validator.
    fn seed(&self, genesis: &Genesis) -> Result<Zeroizing<[u8; 32]>, Failure> {
        let key_file = self.key();
        home::read_seed(&key_file)?
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
                .advise(self.anew())
            })
    }

    /// What is to be done where the files do not belong together.
    fn anew(&self) -> String {
        format!(
            "bring the right files back, never an older copy of them; or move {} away: then another ledger is begun, and of this one only the proofs are left that were taken",
            self.folder.display()
        )
    }

    /// How the node is run.
    fn config(&self, home: &Home, listen: SocketAddr) -> Result<Config, Failure> {
        let genesis = self.read()?;
        let key_file = self.key();
        let seed = self.seed(&genesis)?;
        let callers = BTreeSet::from([Secret::derive(&seed).id()]);
        let data = self.data();
        match std::fs::create_dir(&data) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.or_environment(format_args!("create {}", data.display()))?,
        }
        node_keys::pair(&key_file, &data).map_err(|failure| failure.advise(self.anew()))?;
        Ok(Config {
            genesis,
            checkpoint_key: Some(SigningKey::from_seed(&node_keys::checkpoint_seed(&seed))),
            vote_seed: Some(seed),
            key_file: Some(key_file),
            endpoint_seed: home.node_key()?.to_seed(),
            data,
            listen,
            metrics: None,
            log: None,
            peers: Vec::new(),
            callers: Some(callers),
            lan: Lan::Off,
            relay: None,
            pace: Pace::default(),
            timing: Timing::default(),
            delay: Duration::ZERO,
        })
    }
}

fn lockable(path: &Path, is_made: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(is_made)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// A genesis with the one validator who has this seed.
fn genesis(seed: &[u8; 32]) -> Result<Genesis, Failure> {
    let validator = Validator {
        vote_key: SigningKey::from_seed(seed).public_key(),
        checkpoint_key: SigningKey::from_seed(&node_keys::checkpoint_seed(seed)).public_key(),
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

/// Whether there is something at a path.
fn is_there(path: &Path) -> Result<bool, Failure> {
    path.try_exists()
        .or_environment(format_args!("look at {}", path.display()))
}

/// Ready once there is nothing at a path.
pub(crate) async fn gone(path: &Path) {
    while !matches!(path.try_exists(), Ok(false)) {
        tokio::time::sleep(GONE).await;
    }
}

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
        }
    }
}

/// Ready once there is another file than this one at a path, or none. Whoever asks holds the file open, so that no other one gets its
/// inode.
async fn replaced(held: FileId, path: &Path) {
    loop {
        match std::fs::metadata(path) {
            Ok(there) if FileId::of(&there) != held => return,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            // What cannot be looked at may still be it.
            _ => tokio::time::sleep(GONE).await,
        }
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

    /// Stops the node if it runs here, once nobody else uses it, or has used it for long enough. Why it had ended by then, if it
    /// had.
    pub(crate) async fn end(self) -> Option<Failure> {
        let node = self.node?;
        if node.has_ended() {
            return node.ended().await.map(|reason| cannot_run(&reason));
        }
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
        None
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

/// When a server starts a node again that has ended or did not start, and whether it says why.
#[derive(Debug)]
struct Restarts {
    pause: Duration,
    is_said: bool,
}

impl Restarts {
    fn new() -> Self {
        Self {
            pause: TAKE_OVER,
            is_said: false,
        }
    }

    /// Takes in that the node has ended after so long. Whether that is news.
    fn ended_after(&mut self, ran: Duration) -> bool {
        if ran < WORKS {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        } else {
            *self = Self::new();
        }
        !std::mem::replace(&mut self.is_said, true)
    }

    /// The same, and says it if it is.
    fn say(&mut self, ran: Duration, reason: &str) {
        let is_news = self.ended_after(ran);
        tracing::debug!(reason, pause = ?self.pause, "the node of this machine's own ledger has ended");
        if is_news {
            eprintln!(
                "tally: the node of this machine's own ledger does not run, and is started again meanwhile: {}",
                printable(reason)
            );
        }
    }
}

/// The node, in a thread of this process. It stops when this is dropped, and when `own/` is gone or was made anew.
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
        let (running, listen) = {
            // Whoever sees that it is run by another one sees no address of an earlier start.
            let is_there = own.genesis().exists();
            let _turn = own.turn(is_there).or_environment(own.locking())?;
            let running = own.file("running")?;
            match running.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    return Err(error).or_environment(own.locking());
                }
            }
            // Where it was, so that whoever has its address from then finds it; unless another program is there by now.
            let listen = own
                .noted()
                .filter(|before| UdpSocket::bind(before).is_ok())
                .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
            running.set_len(0).or_environment("note an address")?;
            (running, listen)
        };
        let config = own.config(home, listen)?;
        let held = running.metadata().or_environment(own.locking())?;
        let held = FileId::of(&held);
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel::<()>();
        let (say, said) = oneshot::channel::<io::Result<(SocketAddr, Handle)>>();
        let its = own.clone();
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || {
                let started = |node: Running| {
                    let noted = match node.sockets.first() {
                        Some(address) => {
                            note(&running, *address).map(|()| (*address, node.handle))
                        }
                        None => Err(io::Error::other("it has no socket")),
                    };
                    // Whoever waited for it may be gone, and then it stops.
                    let _ = say.send(noted);
                };
                let (genesis, at) = (its.genesis(), its.running());
                let stop = async {
                    tokio::select! {
                        _ = stopped => {}
                        () = gone(&genesis) => {}
                        // Where `own/` was removed and made anew at once, others use that.
                        () = replaced(held, &at) => {}
                    }
                };
                let outcome =
                    tally_node::run(config, started, stop).map_err(|error| error.to_string());
                if matches!(genesis.try_exists(), Ok(false))
                    && let Err(error) = its.clear()
                {
                    tracing::debug!(%error, "nothing is cleared where this machine's own ledger was");
                }
                // In this order: whoever waits for its end may start it again.
                drop(running);
                drop(end);
                outcome
            })
            .or_environment("start a thread")?;
        let (address, handle) = match tokio::time::timeout(STARTS, said).await {
            Ok(Ok(Ok(said))) => said,
            Ok(Ok(Err(error))) => return Err(error).or_environment("note an address"),
            // It ends, and says why.
            Ok(Err(_)) => return Err(cannot_run(&reason(thread).unwrap_or_else(at_once))),
            Err(_) => {
                let seconds = STARTS.as_secs();
                return Err(cannot_run(&format!(
                    "it has not started after {seconds} seconds"
                )));
            }
        };
        let node = Self {
            address,
            stop,
            ended,
            thread,
        };
        // Its socket is open before its disk is read.
        match tokio::time::timeout(READS, handle.status()).await {
            Ok(Err(_)) => Err(cannot_run(&node.ended().await.unwrap_or_else(at_once))),
            _ => Ok(Some(node)),
        }
    }

    fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end, which nobody here brings about, and says why it came; nothing if `own/` is gone or was made anew.
    async fn ended(self) -> Option<String> {
        let Self {
            stop,
            ended,
            thread,
            ..
        } = self;
        // Its other side is dropped then.
        let _ = ended.await;
        drop(stop);
        reason(thread)
    }

    async fn stop(self) {
        let Self { stop, ended, .. } = self;
        drop(stop);
        let _ = ended.await;
    }
}

/// Why a node's thread, which is about to end, does so; nothing if it was told to.
fn reason(thread: JoinHandle<Result<(), String>>) -> Option<String> {
    match thread.join() {
        Ok(outcome) => outcome.err(),
        Err(_) => Some("a part of it panicked".to_owned()),
    }
}

fn at_once() -> String {
    "it ended as soon as it was started".to_owned()
}

fn cannot_run(reason: &str) -> Failure {
    Failure::environment(format_args!(
        "cannot run the node of this machine's own ledger: {reason}"
    ))
}

/// Says to others where the node listens.
fn note(mut running: &File, address: SocketAddr) -> io::Result<()> {
    running.write_all(format!("{address}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(folder: &Path, seed: u8) -> Own {
        let own = Own {
            folder: folder.to_owned(),
            chain: None,
        };
        let text = genesis(&[seed; 32]).expect("a genesis").to_toml();
        own.put(&text).expect("a disk");
        own
    }

    #[test]
    fn a_node_that_ends_young_is_started_again_ever_more_rarely_and_that_is_said_once() {
        let mut restarts = Restarts::new();
        let mut news = Vec::new();
        let mut pauses = Vec::new();
        for ran in [0, 1, 1, 29, 0, 0, 3600, 0] {
            news.push(restarts.ended_after(Duration::from_secs(ran)));
            pauses.push(restarts.pause.as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 1, 2]);
        assert_eq!(news, [true, false, false, false, false, false, true, false]);
    }

    #[test]
    fn whoever_knows_a_chain_takes_no_other_that_was_begun_in_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = begun(folder.path(), 1);
        let known = own.existing().expect("it is one").expect("it is there");
        let known = known.own.expect("it is this machine's");
        known.read().expect("it is the same");
        std::fs::remove_file(own.genesis()).expect("it is there");
        let other = begun(folder.path(), 2);
        let failure = known.read().expect_err("it is another");
        assert!(
            failure.message().contains("another ledger was begun here"),
            "{failure:?}"
        );
        other.read().expect("whoever knows none takes it");
    }

    #[tokio::test]
    async fn a_file_that_is_removed_and_made_anew_in_one_go_is_another_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = begun(folder.path(), 1);
        let running = own.file("running").expect("a disk");
        let held = FileId::of(&running.metadata().expect("it is open"));
        let path = own.running();
        let soon = |millis| tokio::time::sleep(Duration::from_millis(millis));
        tokio::select! {
            () = replaced(held, &path) => panic!("it is the same"),
            () = soon(300) => {}
        }
        std::fs::remove_file(&path).expect("it is there");
        own.file("running").expect("a disk");
        tokio::select! {
            () = replaced(held, &path) => {}
            () = soon(10_000) => panic!("it is another"),
        }
        drop(running);
    }

    #[test]
    fn a_genesis_that_cannot_be_looked_at_is_not_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = begun(folder.path(), 1);
        let remains = own.data().join("store");
        std::fs::create_dir_all(&remains).expect("a disk");
        std::fs::remove_file(own.genesis()).expect("it is there");
        // It leads to itself.
        std::os::unix::fs::symlink("genesis.toml", own.genesis()).expect("a disk");
        own.existing().expect_err("it is not known");
        own.clear().expect_err("it is not known");
        assert!(remains.exists());
    }

    #[test]
    fn what_a_node_wrote_while_its_folder_was_removed_goes_and_what_somebody_may_miss_stays() {
        let home = tempfile::tempdir().expect("a folder");
        let ledger = home.path().join("ledger");
        let folder = ledger.join("own");
        let remains = folder.join("data/store/votes-0");
        std::fs::create_dir_all(&remains).expect("a disk");
        let own = begun(&folder, 1);
        own.clear().expect("nothing to do");
        assert!(remains.exists(), "it is a ledger's");
        std::fs::remove_file(own.genesis()).expect("it is there");
        std::fs::write(own.named(), "0\n").expect("a disk");
        own.clear().expect("nothing to do");
        assert!(remains.exists(), "its genesis may come back");
        std::fs::remove_file(own.named()).expect("it is there");
        own.clear().expect("it is cleared");
        assert!(!ledger.exists());
    }
}

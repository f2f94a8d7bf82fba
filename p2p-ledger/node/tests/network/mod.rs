//! Real nodes in processes of their own, on this machine's loopback and disk.
//!
//! A node's process is the test program itself: the test named [`NODE`] does nothing unless it is told which node to be.

#![allow(dead_code, reason = "each test file uses a part")]

mod genesis;
#[path = "../../src/scratch.rs"]
mod scratch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use genesis::checkpoint_key;
pub(crate) use genesis::{genesis, vote_seed};
use scratch::Scratch;
use tally_ledger::{
    AccountId, Credits, Description, Genesis, NodeId, Request, Roles, Sequence, Settlement, Terms,
    Transaction,
};
use tally_net::{Endpoint, Secret};
use tally_node::{Client, Config, Pace, Peer, Status, Timing, guard};
use tally_receipt::{Digest, SigningKey};
use zeroize::Zeroizing;

const NODE: &str = "network::the_process_of_one_node";
const FOLDER: &str = "TALLY_TEST_FOLDER";
const NUMBER: &str = "TALLY_TEST_NUMBER";
const FOLLOWS: &str = "TALLY_TEST_FOLLOWS";
const TWIN: &str = "TALLY_TEST_TWIN";
const SHIFT: &str = "TALLY_TEST_SHIFT";
const LAN: &str = "TALLY_TEST_LAN";

#[test]
fn the_process_of_one_node() {
    let (Ok(folder), Ok(number)) = (std::env::var(FOLDER), std::env::var(NUMBER)) else {
        return;
    };
    let number: u8 = number.parse().expect("a number");
    let folder = PathBuf::from(folder);
    let text = std::fs::read_to_string(folder.join("genesis.toml")).expect("the genesis");
    let genesis = Genesis::parse(&text).expect("a genesis");
    let twin = std::env::var(TWIN).unwrap_or_default();
    let data = folder.join(format!("v{number}{twin}"));
    let votes = std::env::var(FOLLOWS).is_err();
    let key = SigningKey::from_seed(&vote_seed(number)).public_key();
    let key_file = folder.join(format!("v{number}.key"));
    if votes {
        guard::pair(&key_file, &data, [number; 16]).expect("paired");
    }
    let listen = genesis
        .validators
        .index_of(&key)
        .filter(|_| twin.is_empty())
        .map_or(([127, 0, 0, 1], 0).into(), |place| {
            genesis.addresses[place][0]
        });
    let config = Config {
        genesis,
        vote_seed: votes.then(|| Zeroizing::new(vote_seed(number))),
        key_file: votes.then_some(key_file),
        checkpoint_key: None,
        endpoint_seed: Zeroizing::new([number + 100; 32]),
        data,
        listen,
        metrics: None,
        log: None,
        peers: Vec::new(),
        callers: None,
        lan: match std::env::var(LAN) {
            Ok(_) => tally_net::Lan::FindAndBeFound,
            Err(_) => tally_net::Lan::Off,
        },
        relay: None,
        pace: Pace::default(),
        timing: Timing::default(),
        delay: Duration::ZERO,
    };
    let sockets = folder.join(format!("v{number}{twin}.socket"));
    let ended = tally_node::run(
        config,
        |running| {
            std::fs::write(&sockets, running.sockets[0].to_string()).expect("a file");
        },
        std::future::pending(),
    );
    panic!("a node ended by itself: {ended:?}");
}

pub(crate) struct Net {
    dir: Scratch,
    pub(crate) genesis: Genesis,
    pub(crate) children: Vec<Option<Child>>,
    /// Whether its nodes find each other by their keys: by multicast on the loopback, as Linux has it.
    pub(crate) finds_by_key: bool,
}

impl Net {
    pub(crate) fn new(count: u8) -> Self {
        let genesis = genesis(count, "processes");
        let dir = Scratch::new();
        std::fs::write(dir.path().join("genesis.toml"), genesis.to_toml()).expect("a file");
        Self {
            dir,
            genesis,
            children: (0..count + 1).map(|_| None).collect(),
            finds_by_key: false,
        }
    }

    pub(crate) fn start(&mut self, number: u8, follows: bool) {
        let program = std::env::current_exe().expect("this program");
        self.start_as(number, follows, Command::new(program));
    }

    /// Starts a validator none of whose files may grow beyond so many bytes, as on a disk that is full.
    pub(crate) fn start_on_a_small_disk(&mut self, number: u8, bytes: u64) {
        let mut shell = Command::new("sh");
        // A write beyond the limit fails; without the trap it would end the process at once.
        shell
            .args([
                "-c",
                "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"",
                "sh",
            ])
            .arg((bytes / 512).to_string())
            .arg(std::env::current_exe().expect("this program"));
        self.start_as(number, false, shell);
    }

    /// Starts a validator whose clock is wrong by so many seconds.
    pub(crate) fn start_with_a_wrong_clock(&mut self, number: u8, seconds: i64) {
        let shim = wrong_clock(self.folder());
        let shifted = |program: &Path| {
            let mut command = Command::new(program);
            command
                .env("LD_PRELOAD", &shim)
                .env(SHIFT, seconds.to_string());
            command
        };
        // So that nothing below can pass because the clock was right.
        let date = shifted(Path::new("date")).arg("+%s").output();
        let date = String::from_utf8(date.expect("date runs").stdout).expect("digits");
        let found: i64 = date.trim().parse().expect("digits");
        let right = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        let right = i64::try_from(right.as_secs()).expect("a time");
        assert!((found - right - seconds).abs() < 60, "{found} of {right}");
        let program = std::env::current_exe().expect("this program");
        self.start_as(number, false, shifted(&program));
    }

    /// Starts a second process with a validator's key and a copy of its memory, in the place for one more.
    pub(crate) fn start_twin_of(&mut self, number: u8) {
        let place = u8::try_from(self.children.len() - 1).expect("few");
        copy(
            &self.folder().join(format!("v{number}")),
            &self.folder().join(format!("v{number}-twin")),
        );
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.env(TWIN, "-twin");
        self.start_process(place, number, false, command);
    }

    fn start_as(&mut self, number: u8, follows: bool, command: Command) {
        self.start_process(number, number, follows, command);
    }

    fn start_process(&mut self, place: u8, number: u8, follows: bool, mut command: Command) {
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.folder().join(format!("v{place}.log")))
            .expect("a log");
        command
            .args(["--exact", NODE, "--nocapture", "--test-threads=1"])
            .env(FOLDER, self.folder())
            .env(NUMBER, number.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if follows {
            command.env(FOLLOWS, "1");
        }
        if self.finds_by_key {
            command.env(LAN, "1");
        }
        let child = command.spawn().expect("it starts");
        self.children[usize::from(place)] = Some(child);
    }

    pub(crate) fn start_all(&mut self) {
        for number in 0..u8::try_from(self.genesis.validators.len()).expect("few") {
            self.start(number, false);
        }
    }

    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.children[number].take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    /// Whether a node's process still runs.
    pub(crate) fn runs(&mut self, number: usize) -> bool {
        self.children[number]
            .as_mut()
            .is_some_and(|child| child.try_wait().expect("it is ours").is_none())
    }

    /// Where a validator listens.
    pub(crate) fn socket(&self, number: u8) -> SocketAddr {
        let key = SigningKey::from_seed(&vote_seed(number)).public_key();
        let place = self.genesis.validators.index_of(&key).expect("a validator");
        self.genesis.addresses[place][0]
    }

    /// Where a node listens that genesis has no address for, once it does.
    pub(crate) async fn found_socket(&self, number: u8) -> SocketAddr {
        let socket = self.folder().join(format!("v{number}.socket"));
        let begun = Instant::now();
        loop {
            if let Ok(text) = std::fs::read_to_string(&socket)
                && let Ok(address) = text.parse()
            {
                return address;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no v{number}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn signed(&self, request: Request, key: &SigningKey) -> Transaction {
        let signature = key.sign(&request.signed_bytes(self.genesis.chain()));
        Transaction::new(request, vec![(key.public_key(), signature)]).expect("a transaction")
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("copied");
        }
    }
}

/// A library that has a process see another time than it is; made by the C compiler that the build needs anyway.
fn wrong_clock(folder: &Path) -> PathBuf {
    const SOURCE: &str = r#"
        #define _GNU_SOURCE
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>
        int clock_gettime(clockid_t clock, struct timespec *time) {
            int failed = syscall(SYS_clock_gettime, clock, time);
            if (!failed && clock == CLOCK_REALTIME) time->tv_sec += atol(getenv("TALLY_TEST_SHIFT"));
            return failed;
        }
    "#;
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    if library.exists() {
        return library;
    }
    std::fs::write(&source, SOURCE).expect("a file");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(compiled.expect("there is a C compiler").success());
    library
}

impl Drop for Net {
    fn drop(&mut self) {
        for number in 0..self.children.len() {
            self.kill(number);
        }
        if std::thread::panicking() {
            for number in 0..self.children.len() {
                let log = self.folder().join(format!("v{number}.log"));
                let log = std::fs::read_to_string(log).unwrap_or_default();
                let tail = log.len().saturating_sub(2000);
                eprintln!("--- v{number}\n{}", &log[log.ceil_char_boundary(tail)..]);
            }
        }
    }
}

/// Validators as an operator describes them.
pub(crate) fn described(numbers: &[u8]) -> Description {
    let text: String = numbers
        .iter()
        .map(|number| {
            let vote = SigningKey::from_seed(&vote_seed(*number)).public_key();
            let checkpoint = checkpoint_key(*number).public_key();
            format!(
                "[[validators]]\nname = \"v{number}\"\nvote = \"{vote}\"\ncheckpoint = \"{checkpoint}\"\n"
            )
        })
        .collect();
    Description::parse(&text).expect("validators")
}

pub(crate) async fn client(net: &Net) -> Client {
    client_of(net, Vec::new()).await
}

/// A client of genesis that is told where others are.
pub(crate) async fn client_of(net: &Net, peers: Vec<Peer>) -> Client {
    let config = tally_net::Config::new(([127, 0, 0, 1], 0).into());
    let endpoint = Endpoint::bind(&Secret::derive(&[9; 32]), config)
        .await
        .expect("a free port");
    Client::new(&endpoint, &net.genesis, peers, Duration::from_secs(10)).expect("addresses")
}

/// Hands a transaction over, as often as it takes, for at most a minute.
pub(crate) async fn submit(client: &Client, transaction: &Transaction) {
    let begun = Instant::now();
    loop {
        match client.submit(std::slice::from_ref(transaction)).await {
            Ok(acknowledged) => {
                assert!(acknowledged.validators >= client.needed());
                return;
            }
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn proven(client: &Client, receipt: Digest) {
    let begun = Instant::now();
    loop {
        match client.prove(receipt, Duration::from_secs(5)).await {
            Ok(_) => return,
            Err(error) => assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{receipt}: {error}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) fn registration(net: &Net, key: &SigningKey) -> Transaction {
    let request = Request::Register {
        owner: AccountId::new(key.public_key()),
        node: NodeId::new(key.public_key()),
        terms: Terms {
            roles: Roles::INFERENCE,
            evidence: None,
            endpoint: None,
            price: Credits::ZERO,
        },
    };
    net.signed(request, key)
}

pub(crate) async fn register(net: &Net, client: &Client, key: &SigningKey) {
    submit(client, &registration(net, key)).await;
    let begun = Instant::now();
    let registered = |found: &Option<_>| found.is_some();
    while !client
        .statuses_of(NodeId::new(key.public_key()))
        .await
        .iter()
        .all(registered)
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "not registered");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A settlement of one receipt by its hash, and the receipt's digest.
pub(crate) fn settlement(net: &Net, key: &SigningKey, number: u64) -> (Transaction, Digest) {
    let receipt = Digest::of(&[&key.public_key().as_bytes()[..], &number.to_be_bytes()].concat());
    let request = Request::Settle {
        node: NodeId::new(key.public_key()),
        first: Sequence::new(number),
        receipts: Settlement::Hashes(vec![receipt]),
    };
    (net.signed(request, key), receipt)
}

/// What validator `number` says of itself, if it answers.
pub(crate) async fn status_of(client: &Client, number: u8) -> Option<Status> {
    let id = Secret::of_validator(&vote_seed(number)).id();
    let mut statuses = client.statuses().await.into_iter();
    statuses.find(|(endpoint, _)| *endpoint == id)?.1.ok()
}

/// Waits until a validator has everything that is final elsewhere now, and sees no fault.
pub(crate) async fn catches_up(client: &Client, number: u8) {
    let statuses = client.statuses().await;
    let heights = statuses
        .iter()
        .filter_map(|(_, status)| status.as_ref().ok());
    let tip = heights
        .map(|status| status.height)
        .max()
        .expect("somebody answers");
    let begun = Instant::now();
    loop {
        if let Some(status) = status_of(client, number).await
            && status.height >= tip
            && status.votes
        {
            assert_eq!(status.faults, 0, "v{number} saw somebody sign two things");
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(90),
            "v{number} stays behind {tip}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

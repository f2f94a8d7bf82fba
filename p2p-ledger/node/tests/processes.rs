//! Real processes on this machine's loopback and disk, killed as a power cut would, and started again.
//!
//! A node's process is this test program itself: the test named [`NODE`] does nothing unless it is told which node to be.

#[path = "../src/scratch.rs"]
mod scratch;

use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use scratch::Scratch;
use tally_ledger::{
    AccountId, Credits, Genesis, Name, NodeId, Parameters, Request, Roles, Sequence, Settlement,
    Terms, Transaction, Validator, ValidatorSet,
};
use tally_net::{Endpoint, Secret};
use tally_node::{Client, Config, Form, Outbox, Pace, Record, Timing, guard};
use tally_receipt::{Digest, SigningKey, Timestamp};
use zeroize::Zeroizing;

const NODE: &str = "the_process_of_one_node";
const FOLDER: &str = "TALLY_TEST_FOLDER";
const NUMBER: &str = "TALLY_TEST_NUMBER";
const FOLLOWS: &str = "TALLY_TEST_FOLLOWS";

fn vote_seed(number: u8) -> [u8; 32] {
    [number + 1; 32]
}

#[test]
fn the_process_of_one_node() {
    let (Ok(folder), Ok(number)) = (std::env::var(FOLDER), std::env::var(NUMBER)) else {
        return;
    };
    let number: u8 = number.parse().expect("a number");
    let folder = PathBuf::from(folder);
    let text = std::fs::read_to_string(folder.join("genesis.toml")).expect("the genesis");
    let genesis = Genesis::parse(&text).expect("a genesis");
    let data = folder.join(format!("v{number}"));
    let votes = std::env::var(FOLLOWS).is_err();
    let key = SigningKey::from_seed(&vote_seed(number)).public_key();
    if votes {
        guard::pair(&folder.join(format!("v{number}.key")), &data, [number; 16]).expect("paired");
    }
    let listen = genesis
        .validators
        .index_of(&key)
        .map_or(([127, 0, 0, 1], 0).into(), |place| {
            genesis.addresses[place][0]
        });
    let config = Config {
        genesis,
        vote_seed: votes.then(|| Zeroizing::new(vote_seed(number))),
        endpoint_seed: Zeroizing::new([number + 100; 32]),
        data,
        listen,
        metrics: None,
        peers: Vec::new(),
        pace: Pace::default(),
        timing: Timing::default(),
        delay: Duration::ZERO,
    };
    let sockets = folder.join(format!("v{number}.socket"));
    let ended = tally_node::run(
        config,
        |running| {
            std::fs::write(&sockets, running.sockets[0].to_string()).expect("a file");
        },
        std::future::pending(),
    );
    panic!("a node ended by itself: {ended:?}");
}

struct Net {
    dir: Scratch,
    genesis: Genesis,
    children: Vec<Option<Child>>,
}

impl Net {
    fn new(count: u8) -> Self {
        let mut sockets = Vec::new();
        let mut validators = Vec::new();
        let mut addresses = Vec::new();
        for number in 0..count {
            let vote_key = SigningKey::from_seed(&vote_seed(number)).public_key();
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            addresses.push((vote_key, vec![socket.local_addr().expect("bound")]));
            sockets.push(socket);
            validators.push(Validator {
                vote_key,
                checkpoint_key: SigningKey::from_seed(&[number + 50; 32]).public_key(),
                name: Name::new(&format!("v{number}")).expect("a name"),
            });
        }
        addresses.sort_by_key(|(key, _)| *key);
        let genesis = Genesis {
            name: Name::new("processes").expect("a name"),
            time: Timestamp::from_unix_ms(0).expect("a time"),
            parameters: Parameters::default(),
            validators: ValidatorSet::new(validators).expect("validators"),
            addresses: addresses.into_iter().map(|(_, at)| at).collect(),
            accounts: Vec::new(),
            faucet: None,
        };
        let dir = Scratch::new();
        std::fs::write(dir.path().join("genesis.toml"), genesis.to_toml()).expect("a file");
        Self {
            dir,
            genesis,
            children: (0..count + 1).map(|_| None).collect(),
        }
    }

    fn start(&mut self, number: u8, follows: bool) {
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.folder().join(format!("v{number}.log")))
            .expect("a log");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
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
        let child = command.spawn().expect("it starts");
        self.children[usize::from(number)] = Some(child);
    }

    fn start_all(&mut self) {
        for number in 0..u8::try_from(self.genesis.validators.len()).expect("few") {
            self.start(number, false);
        }
    }

    fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.children[number].take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    fn folder(&self) -> &Path {
        self.dir.path()
    }

    fn signed(&self, request: Request, key: &SigningKey) -> Transaction {
        let signature = key.sign(&request.signed_bytes(self.genesis.chain()));
        Transaction::new(request, vec![(key.public_key(), signature)]).expect("a transaction")
    }
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

async fn client(net: &Net) -> Client {
    let config = tally_net::Config::new(([127, 0, 0, 1], 0).into());
    let endpoint = Endpoint::bind(&Secret::derive(&[9; 32]), config)
        .await
        .expect("a free port");
    Client::new(&endpoint, &net.genesis, Vec::new(), Duration::from_secs(10)).expect("addresses")
}

/// Hands a transaction over, as often as it takes, for at most a minute.
async fn submit(client: &Client, transaction: &Transaction) {
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

async fn proven(client: &Client, receipt: Digest) {
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

async fn register(net: &Net, client: &Client, key: &SigningKey) {
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
    submit(client, &net.signed(request, key)).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_one_or_all_nothing_acknowledged_is_lost() {
    let mut net = Net::new(4);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[77; 32]);
    register(&net, &client, &key).await;
    let mut acknowledged = Vec::new();
    for round in 0..5u64 {
        for n in 0..8 {
            let number = round * 8 + n;
            let receipt = Digest::of(&number.to_be_bytes());
            let request = Request::Settle {
                node: NodeId::new(key.public_key()),
                first: Sequence::new(number),
                receipts: Settlement::Hashes(vec![receipt]),
            };
            submit(&client, &net.signed(request, &key)).await;
            acknowledged.push(receipt);
            if n == 3 {
                // One of them, while the others go on.
                net.kill(usize::try_from(round % 4).expect("below four"));
            }
        }
        for number in 0..4 {
            net.kill(number);
        }
        net.start_all();
    }
    for receipt in acknowledged {
        proven(&client, receipt).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_alone_settles_an_outbox_and_a_follower_has_it_too() {
    let mut net = Net::new(1);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[78; 32]);
    let outbox = Outbox::open(&net.folder().join("outbox")).expect("an outbox");
    let receipts: Vec<Vec<u8>> = (0..5u8).map(|n| vec![n; 40]).collect();
    let records: Vec<Record> = receipts
        .iter()
        .map(|receipt| Record {
            form: Form::Hash,
            receipt: receipt.clone(),
        })
        .collect();
    outbox.append(&records).expect("written");
    let begun = Instant::now();
    let mut settled = 0;
    while settled < 5 {
        match tally_node::settle(&outbox, &client, &net.genesis, &key).await {
            Ok(more) => settled += more,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
        }
    }
    assert_eq!(outbox.waiting().expect("read"), 0);
    // Once more does nothing.
    outbox.append(&records[..0]).expect("written");
    let again = tally_node::settle(&outbox, &client, &net.genesis, &key).await;
    assert_eq!(again.expect("nothing to do"), 0);

    net.start(1, true);
    let socket = net.folder().join("v1.socket");
    let begun = Instant::now();
    let address = loop {
        if let Ok(text) = std::fs::read_to_string(&socket)
            && let Ok(address) = text.parse()
        {
            break address;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no follower");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let config = tally_net::Config::new(([127, 0, 0, 1], 0).into());
    let endpoint = Endpoint::bind(&Secret::derive(&[10; 32]), config)
        .await
        .expect("a free port");
    let follower = Secret::derive(&[101; 32]).id();
    let of_follower = Client::of(
        &endpoint,
        &net.genesis,
        vec![(follower, vec![address])],
        Duration::from_secs(10),
    )
    .expect("an address");
    // It checks the proof, so that it comes from a follower does not matter.
    for receipt in receipts {
        proven(&of_follower, Digest::of(&receipt)).await;
    }
}

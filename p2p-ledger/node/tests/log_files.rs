//! Four validators write the log's files and cosign it, and so does somebody who only follows; whoever has a policy and nothing
//! else believes what they serve.

#[path = "network/genesis.rs"]
mod genesis;
#[path = "../src/scratch.rs"]
mod scratch;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use genesis::{checkpoint_key, genesis, vote_seed};
use scratch::Scratch;
use tally_ledger::{
    AccountId, Credits, Genesis, NodeId, Request, Roles, Sequence, Settlement, Terms, Trust,
    verify_proof,
};
use tally_log::{Policy, Resource, SignedCheckpoint, TiledTree, root_of};
use tally_net::{Endpoint, Secret};
use tally_node::{Client, Config, Pace, Timing};
use tally_receipt::{Digest, SigningKey, Timestamp};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

const VALIDATORS: u8 = 4;
const RECEIPTS: u64 = 700;
const WAIT: Duration = Duration::from_secs(20);

/// A node in a thread of its own, until it is dropped.
struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(genesis: &Genesis, number: u8, data: &Path, log: Option<SocketAddr>) -> Self {
        let key = SigningKey::from_seed(&vote_seed(number)).public_key();
        let place = genesis.validators.index_of(&key).expect("it votes");
        let config = Config {
            vote_seed: Some(Zeroizing::new(vote_seed(number))),
            checkpoint_key: Some(checkpoint_key(number)),
            listen: genesis.addresses[place][0],
            log,
            ..config(genesis, data)
        };
        Self::run(config).0
    }

    /// Somebody who only follows, and where it is asked.
    fn follow(genesis: &Genesis, data: &Path, log: SocketAddr) -> (Self, tally_node::Running) {
        Self::run(Config {
            log: Some(log),
            ..config(genesis, data)
        })
    }

    fn run(config: Config) -> (Self, tally_node::Running) {
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, running) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let stop = async {
                let _ = stopped.await;
            };
            let say = |running| started.send(running).expect("somebody waits for it");
            tally_node::run(config, say, stop).expect("it runs until it is stopped");
        });
        let node = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        (node, running.recv().expect("it starts"))
    }
}

/// Of a node that only follows.
fn config(genesis: &Genesis, data: &Path) -> Config {
    Config {
        genesis: genesis.clone(),
        vote_seed: None,
        key_file: None,
        checkpoint_key: None,
        endpoint_seed: Zeroizing::new([99; 32]),
        data: data.to_owned(),
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        metrics: None,
        log: None,
        peers: Vec::new(),
        callers: None,
        lan: tally_net::Lan::Off,
        relay: None,
        pace: Pace::default(),
        timing: Timing::default(),
        delay: Duration::ZERO,
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))));
        }
    }
}

fn get(address: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("it serves");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: log\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let end = answer
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .expect("a head");
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).expect("a head is text"), body)
}

fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
}

fn checkpoint(dir: &Path) -> Option<SignedCheckpoint> {
    SignedCheckpoint::parse(&std::fs::read(dir.join("log/checkpoint")).ok()?).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_enough_to_believe_the_files_and_proofs_of_validators() {
    let folder = Scratch::new();
    let genesis = genesis(VALIDATORS, "files");
    let policy = Policy::parse(genesis.log_policy_text().as_bytes()).expect("a policy");
    let data = |number: u8| folder.path().join(format!("v{number}"));
    let http = free_port();
    let mut nodes: Vec<_> = (0..VALIDATORS)
        .map(|number| {
            Running::start(
                &genesis,
                number,
                &data(number),
                (number == 0).then_some(http),
            )
        })
        .collect();

    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let endpoint = Endpoint::bind(&Secret::derive(&[9; 32]), tally_net::Config::new(listen))
        .await
        .expect("a free port");
    let client = Client::new(&endpoint, &genesis, Vec::new(), WAIT).expect("addresses");
    let key = SigningKey::from_seed(&[77; 32]);
    let node = NodeId::new(key.public_key());
    let sign = |request: Request| {
        request
            .sign(genesis.chain(), &[&key])
            .expect("within the limits")
    };
    let register = sign(Request::Register {
        owner: AccountId::new(key.public_key()),
        node,
        terms: Terms {
            roles: Roles::INFERENCE,
            evidence: None,
            endpoint: None,
            price: Credits::ZERO,
        },
    });
    let receipts: Vec<Vec<u8>> = (0..RECEIPTS).map(|n| n.to_be_bytes().to_vec()).collect();
    let digests: Vec<Digest> = receipts.iter().map(|one| Digest::of(one)).collect();
    let settle = sign(Request::Settle {
        node,
        first: Sequence::new(0),
        receipts: Settlement::Hashes(digests.clone()),
    });
    while client
        .submit(std::slice::from_ref(&register))
        .await
        .is_err()
    {}
    while client
        .statuses_of(node)
        .await
        .iter()
        .flatten()
        .next()
        .is_none()
    {}
    client.submit(&[settle]).await.expect("it is taken");

    let trust = Trust {
        now: Timestamp::from_unix_ms(4_000_000_000_000).expect("a time"),
        genesis: None,
        policy: Some(&policy),
    };
    let place = 300;
    let proof = client
        .prove_cosigned(digests[place], WAIT)
        .await
        .expect("a quorum cosigns");
    let shown = verify_proof(&proof, Some(&receipts[place]), &trust);
    assert!(shown.verdict.is_verified(), "{}", shown.verdict);
    assert!(proof.starts_with(b"c2sp.org/tlog-proof@v1\n"));

    // Somebody who only follows has no key that signs, and hands out what satisfies the policy all the same.
    let (follows, its_http) = (folder.path().join("follower"), free_port());
    let (follower, running) = Running::follow(&genesis, &follows, its_http);
    let nodes_of_it = vec![(running.endpoint, running.sockets)];
    let of_it = Client::of(&endpoint, &genesis, nodes_of_it, WAIT).expect("an address");

    // Every node puts the same log down, each cosigned by a quorum.
    for dir in (0..VALIDATORS).map(data).chain([follows]) {
        let written = loop {
            match checkpoint(&dir) {
                Some(written) if written.checkpoint().size == RECEIPTS => break written,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        assert!(policy.judge(&written).is_valid());
        let tree = TiledTree::new(RECEIPTS, |resource: Resource| {
            std::fs::read(dir.join("log").join(resource.path()))
        });
        let root = root_of(&tree, RECEIPTS).expect("every tile is there");
        assert_eq!(root, written.checkpoint().root);
    }
    for http in [http, its_http] {
        let (head, body) = get(http, "/checkpoint");
        assert!(
            head.starts_with("HTTP/1.1 200 OK") && head.contains("no-cache"),
            "{head}"
        );
        let served = SignedCheckpoint::parse(&body).expect("a checkpoint");
        assert!(policy.judge(&served).is_valid());
    }
    let proof = of_it.prove_cosigned(digests[place], WAIT).await;
    let shown = verify_proof(&proof.expect("it knows the log"), None, &trust);
    assert!(shown.verdict.is_verified(), "{}", shown.verdict);
    for client in [&client, &of_it] {
        let last = client.last_checkpoint().await.expect("a checkpoint");
        assert_eq!(last.checkpoint().size, RECEIPTS);
        assert!(policy.judge(&last).is_valid());
    }
    drop(follower);
    let (head, body) = get(http, "/tile/entries/001");
    assert!(
        head.contains("immutable") && body.len() == 256 * 75,
        "{head}"
    );
    for nothing in ["/tile/0/../../name", "/store/blocks/log", "/"] {
        assert!(
            get(http, nothing).0.starts_with("HTTP/1.1 404"),
            "{nothing}"
        );
    }

    // All are started again: what was cosigned is still known, though nothing new is settled.
    nodes.clear();
    for number in 0..VALIDATORS {
        nodes.push(Running::start(&genesis, number, &data(number), None));
    }
    let again = client.prove_cosigned(digests[place], WAIT).await;
    assert!(
        verify_proof(&again.expect("still"), None, &trust)
            .verdict
            .is_verified()
    );
    endpoint.close().await;
}

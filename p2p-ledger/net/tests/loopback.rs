//! Endpoints on this machine's loopback: what the mesh and calls do, and what they refuse.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::Signer as _;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_p2p::{Blocker as _, Receiver as _, Recipients, Sender as _};
use tally_net::{
    Asker, CallError, Caller, ChannelConfig, ChannelReceiver, ChannelSender, Config, Endpoint,
    EndpointId, Limits, Mesh, Peer, Secret, Service, serve,
};
use tokio::sync::Notify;

const LIMIT: usize = 100_000; // bytes

fn key(n: u8) -> PublicKey {
    PrivateKey::decode(Copying(&[n; 32][..]))
        .expect("a seed")
        .public_key()
}

struct Node {
    endpoint: Endpoint,
    mesh: Mesh,
    sender: ChannelSender,
    receiver: ChannelReceiver,
    peer: Peer,
}

struct Echo;

impl Service for Echo {
    fn answer(
        &self,
        _asker: Asker,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>> {
        Box::pin(async move {
            if request.as_ref() == b"never" {
                std::future::pending::<()>().await;
            }
            request
        })
    }
}

async fn node(n: u8) -> Node {
    let channel = ChannelConfig {
        limit: LIMIT,
        priority: 0,
        queue: NonZeroUsize::new(64).expect("not zero"),
    };
    node_of(n, &[channel]).await.0
}

/// A node with these channels; the halves of all but the first stand beside it.
async fn node_of(
    n: u8,
    channels: &[ChannelConfig],
) -> (Node, Vec<(ChannelSender, ChannelReceiver)>) {
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let endpoint = Endpoint::bind(&Secret::of_validator(&[n; 32]), Config::new(listen))
        .await
        .expect("a free port");
    let (mesh, mut halves) = Mesh::new(endpoint.clone(), channels, Duration::ZERO);
    let (sender, receiver) = halves.remove(0);
    let limits = Limits {
        request: 1000,
        time: Duration::from_secs(2),
        ..Limits::default()
    };
    tokio::spawn(serve(
        endpoint.clone(),
        Some(mesh.clone()),
        Arc::new(Echo),
        limits,
    ));
    let peer = Peer {
        key: key(n),
        addresses: endpoint.sockets(),
    };
    let node = Node {
        endpoint,
        mesh,
        sender,
        receiver,
        peer,
    };
    (node, halves)
}

async fn connected(node: &Node, peers: usize) {
    for _ in 0..600 {
        if node.mesh.connected().len() == peers {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!(
        "{} of {peers} peers are connected",
        node.mesh.connected().len()
    );
}

async fn next(node: &mut Node) -> (PublicKey, Vec<u8>) {
    let (from, message) = tokio::time::timeout(Duration::from_secs(20), node.receiver.recv())
        .await
        .expect("a message in time")
        .expect("the mesh is open");
    (from, message.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_reach_each_other_whoever_is_told_first_and_again_after_a_restart() {
    let (mut one, two) = (node(1).await, node(2).await);
    one.mesh.set_peers([two.peer.clone()]);
    two.mesh.set_peers([one.peer.clone()]);
    connected(&one, 1).await;
    connected(&two, 1).await;
    let mut to_one = two.sender.clone();
    to_one.send(Recipients::One(key(1)), Bytes::from_static(b"hello"), true);
    assert_eq!(next(&mut one).await, (key(2), b"hello".to_vec()));

    // It comes back at another address, and the other side is told.
    two.mesh.close();
    two.endpoint.close().await;
    drop(two);
    connected(&one, 0).await;
    let two = node(2).await;
    two.mesh.set_peers([one.peer.clone()]);
    one.mesh.set_peers([two.peer.clone()]);
    connected(&one, 1).await;
    connected(&two, 1).await;
    let mut to_all = two.sender.clone();
    to_all.send(Recipients::All, vec![7; LIMIT], false);
    assert_eq!(next(&mut one).await, (key(2), vec![7; LIMIT]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_address_is_not_known_dials_itself() {
    for (known, unknown) in [(1, 2), (2, 1)] {
        let (knows, hidden) = (node(known).await, node(unknown).await);
        let without_address = Peer {
            addresses: Vec::new(),
            ..hidden.peer.clone()
        };
        knows.mesh.set_peers([without_address]);
        hidden.mesh.set_peers([knows.peer.clone()]);
        connected(&knows, 1).await;
        connected(&hidden, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_a_peer_is_turned_away_and_who_is_blocked_too() {
    let (one, two, stranger) = (node(1).await, node(2).await, node(3).await);
    one.mesh.set_peers([two.peer.clone()]);
    two.mesh.set_peers([one.peer.clone()]);
    stranger
        .mesh
        .set_peers([one.peer.clone(), two.peer.clone()]);
    connected(&one, 1).await;
    for _ in 0..200 {
        if one.mesh.stats().refused + two.mesh.stats().refused > 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(one.mesh.stats().refused + two.mesh.stats().refused > 1);
    assert_eq!(one.mesh.connected(), [key(2)]);

    let mut blocker = one.mesh.blocker();
    let mut blocked = blocker.blocked();
    assert_eq!(blocked.recv().await.expect("the present set").len(), 0);
    blocker.block(key(2));
    assert_eq!(blocked.recv().await.expect("the next set").len(), 1);
    connected(&one, 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    connected(&one, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_list_is_cut_off() {
    let (one, two) = (node(1).await, node(2).await);
    one.mesh.set_peers([two.peer.clone()]);
    two.mesh.set_peers([one.peer.clone()]);
    connected(&one, 1).await;
    one.mesh.set_peers([]);
    connected(&two, 0).await;
    one.mesh.set_peers([two.peer.clone()]);
    connected(&two, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_costs_its_sender_a_bounded_queue_and_loses_the_newest() {
    let (one, mut two) = (node(1).await, node(2).await);
    one.mesh.set_peers([two.peer.clone()]);
    two.mesh.set_peers([one.peer.clone()]);
    connected(&one, 1).await;
    let mut sender = one.sender.clone();
    for n in 0..1000u32 {
        let mut message = vec![0; LIMIT];
        message[..4].copy_from_slice(&n.to_be_bytes());
        sender.send(Recipients::One(key(2)), message, false);
        if n % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(one.mesh.stats().dropped_full > 0);
    // What was kept comes in order, from the first on.
    for n in 0..50u32 {
        let (_, message) = next(&mut two).await;
        assert_eq!(message[..4], n.to_be_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_nobody_reads_holds_up_no_message_of_another() {
    let queue = |length| NonZeroUsize::new(length).expect("not zero");
    let votes = ChannelConfig {
        limit: 1000,
        priority: 1,
        queue: queue(64),
    };
    let backfill = ChannelConfig {
        limit: LIMIT,
        priority: 0,
        queue: queue(4),
    };
    let (one, mut of_one) = node_of(1, &[votes, backfill]).await;
    let (mut two, mut of_two) = node_of(2, &[votes, backfill]).await;
    one.mesh.set_peers([two.peer.clone()]);
    two.mesh.set_peers([one.peer.clone()]);
    connected(&one, 1).await;
    connected(&two, 1).await;

    // Until nothing goes any more: the reader's queue, the stream and the sender's queue are full.
    let (mut large, _heard) = of_one.pop().expect("a second channel");
    let (_said, mut unread) = of_two.pop().expect("a second channel");
    let (mut put, mut dropped, begun) = (0u32, 0, Instant::now());
    while dropped < 20 {
        let before = one.mesh.stats().dropped_full;
        let mut message = vec![0; LIMIT];
        message[..4].copy_from_slice(&put.to_be_bytes());
        large.send(Recipients::One(key(2)), message, false);
        if one.mesh.stats().dropped_full == before {
            (put, dropped) = (put + 1, 0);
        } else {
            dropped += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "never full: {put} put, {:?}",
            one.mesh.stats()
        );
    }
    // More than both queues have room for: the stream itself is full.
    assert!(put > 8, "{put}");

    let mut sender = one.sender.clone();
    for n in 0..200u32 {
        let vote = n.to_be_bytes();
        sender.send(Recipients::One(key(2)), vote.to_vec(), true);
        assert_eq!(next(&mut two).await, (key(1), vote.to_vec()));
    }
    // The other one is still full, and nothing of what it took is lost.
    let before = one.mesh.stats().dropped_full;
    large.send(Recipients::One(key(2)), vec![0; LIMIT], false);
    assert_eq!(one.mesh.stats().dropped_full, before + 1);
    for n in 0..put {
        let (_, message) = tokio::time::timeout(Duration::from_secs(20), unread.recv())
            .await
            .expect("a message in time")
            .expect("the mesh is open");
        let message: Vec<u8> = message.into();
        assert_eq!(message[..4], n.to_be_bytes());
    }
}

fn caller(from: &Node, to: &Node, time: Duration) -> Caller {
    Caller::new(
        from.endpoint.clone(),
        to.endpoint.id(),
        to.peer.addresses.clone(),
        time,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_answered_and_bounded_on_both_sides() {
    let (server, client) = (node(1).await, node(2).await);
    let calls = caller(&client, &server, Duration::from_secs(10));
    let answer = calls.call(Bytes::from_static(b"ping"), 100).await.unwrap();
    assert_eq!(answer.as_ref(), b"ping");
    // Longer than the server takes.
    let long = calls.call(vec![0; 1001].into(), 10_000).await;
    assert!(matches!(long, Err(CallError::Broken { .. })), "{long:?}");
    // Longer than the caller takes.
    let long = calls.call(vec![0; 900].into(), 800).await;
    assert!(matches!(long, Err(CallError::Answer { .. })), "{long:?}");
    // Longer than either waits.
    let late = calls.call(Bytes::from_static(b"never"), 100).await;
    assert!(matches!(late, Err(CallError::Broken { .. })), "{late:?}");
    let hasty = caller(&client, &server, Duration::from_millis(300));
    let late = hasty.call(Bytes::from_static(b"never"), 100).await;
    assert!(matches!(late, Err(CallError::Late { .. })), "{late:?}");
    let answer = calls.call(Bytes::from_static(b"still"), 100).await.unwrap();
    assert_eq!(answer.as_ref(), b"still");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_another_key_or_to_nobody_is_not_reached() {
    let (server, client) = (node(1).await, node(2).await);
    let elsewhere = Caller::new(
        client.endpoint.clone(),
        EndpointId::of_validator(&key(9)),
        server.peer.addresses.clone(),
        Duration::from_secs(10),
    );
    let answer = elsewhere.call(Bytes::from_static(b"ping"), 100).await;
    assert!(
        matches!(answer, Err(CallError::Unreachable { .. })),
        "{answer:?}"
    );
}

async fn bound(seed: u8) -> Endpoint {
    let config = Config::new((Ipv4Addr::LOCALHOST, 0).into());
    Endpoint::bind(&Secret::derive(&[seed; 32]), config)
        .await
        .expect("a free port")
}

/// A server and so many callers of it, each by an endpoint of its own.
async fn served(service: Arc<dyn Service>, limits: Limits, callers: u8) -> (Endpoint, Vec<Caller>) {
    let server = bound(100).await;
    tokio::spawn(serve(server.clone(), None, service, limits));
    let mut calling = Vec::new();
    for seed in 0..callers {
        let from = bound(101 + seed).await;
        let time = Duration::from_secs(20);
        calling.push(Caller::new(from, server.id(), server.sockets(), time));
    }
    (server, calling)
}

/// Whether the server ended the connection, which may be before this side has it.
fn is_turned_away(answer: &Result<Bytes, CallError>) -> bool {
    matches!(
        answer,
        Err(CallError::Broken { .. } | CallError::Unreachable { .. })
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_stay_without_a_call_keep_nobody_out() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let (_server, callers) = served(Arc::new(Echo), limits, 5).await;
    // Those who came first come back after they had to make room.
    for caller in callers.iter().chain(&callers) {
        let answer = caller.call(Bytes::from_static(b"ping"), 100).await;
        assert_eq!(answer.expect("an answer").as_ref(), b"ping");
    }
}

/// Answers when it is told to.
#[derive(Default)]
struct Held {
    came: Notify,
    go: Notify,
}

impl Service for Held {
    fn answer(
        &self,
        _asker: Asker,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>> {
        Box::pin(async move {
            self.came.notify_one();
            self.go.notified().await;
            request
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_being_answered_makes_no_room() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let service = Arc::new(Held::default());
    let (_server, callers) = served(service.clone(), limits, 2).await;
    let first = callers[0].call(Bytes::from_static(b"first"), 100);
    let second = async {
        service.came.notified().await;
        let answer = callers[1].call(Bytes::from_static(b"second"), 100).await;
        assert!(is_turned_away(&answer), "{answer:?}");
        service.go.notify_one();
    };
    let (answer, ()) = tokio::join!(first, second);
    assert_eq!(answer.expect("an answer").as_ref(), b"first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_has_to_show_first_where_it_is_is_answered() {
    let limits = Limits {
        // Half of it is none, so that nobody is let in who has not.
        handshakes: 1,
        ..Limits::default()
    };
    let (_server, callers) = served(Arc::new(Echo), limits, 2).await;
    for caller in &callers {
        let answer = caller.call(Bytes::from_static(b"ping"), 100).await;
        assert_eq!(answer.expect("an answer").as_ref(), b"ping");
    }
}

/// Answers one caller, and notes whether it was asked by another.
struct Private {
    owner: EndpointId,
    was_asked: AtomicBool,
}

impl Service for Private {
    fn admits(&self, caller: EndpointId) -> bool {
        caller == self.owner
    }

    fn answer(
        &self,
        asker: Asker,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>> {
        if asker.id != self.owner {
            self.was_asked.store(true, Ordering::Relaxed);
        }
        Box::pin(std::future::ready(request))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_service_does_not_admit_is_turned_away_and_takes_no_place() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let service = Arc::new(Private {
        owner: Secret::derive(&[101; 32]).id(),
        was_asked: AtomicBool::new(false),
    });
    let (_server, callers) = served(service.clone(), limits, 3).await;
    for (number, caller) in callers.iter().enumerate().chain([(0, &callers[0])]) {
        let answer = caller.call(Bytes::from_static(b"ping"), 100).await;
        if number == 0 {
            assert_eq!(answer.expect("it is its owner").as_ref(), b"ping");
        } else {
            assert!(is_turned_away(&answer), "{answer:?}");
        }
    }
    assert!(!service.was_asked.load(Ordering::Relaxed));
}

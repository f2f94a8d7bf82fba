//! Endpoints that know each other's keys and where a relay is, and nothing else. The relay is a real one, in this process. One
//! end listens by IPv4 and the other by IPv6, both on the loopback, so that no direct way leads from one to the other: what
//! arrives was carried by the relay. Where there is no `::1`, which Linux has, these tests fail.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::Signer as _;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_p2p::{Receiver as _, Recipients, Sender as _};
use iroh_relay::server::{Access, AccessControl, ClientRequest, RelayConfig, Server, ServerConfig};
use tally_net::{
    Asker, CallError, Caller, ChannelConfig, ChannelReceiver, ChannelSender, Config, Endpoint,
    EndpointId, Limits, Mesh, Peer, Secret, Service, serve,
};

const LIMIT: usize = 100_000; // bytes
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ANY_PORT: SocketAddr = SocketAddr::new(V4, 0);

/// Far longer than anything here takes: what is not there by then hangs.
const FOREVER: Duration = Duration::from_secs(180);

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(FOREVER, what).await.expect("it hangs")
}

/// Lets these keys in and no others.
#[derive(Debug)]
struct Only(Vec<EndpointId>);

impl AccessControl for Only {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let key = request.endpoint_id();
        if self.0.iter().any(|one| one.as_bytes() == key.as_bytes()) {
            Access::Allow
        } else {
            Access::Deny { reason: None }
        }
    }
}

/// Starts a relay, once its address is free.
async fn relay(at: SocketAddr, allowed: Option<&[EndpointId]>) -> Server {
    in_time(async {
        loop {
            let mut relay = RelayConfig::new(at);
            if let Some(allowed) = allowed {
                relay.access = Arc::new(Only(allowed.to_vec()));
            }
            let mut config = ServerConfig::default();
            config.relay = Some(relay);
            match Server::spawn(config).await {
                Ok(server) => return server,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await
}

fn address(relay: &Server) -> SocketAddr {
    relay.http_addr().expect("it serves HTTP")
}

async fn endpoint(secret: &Secret, listen: IpAddr, relay: SocketAddr) -> Endpoint {
    let config = Config {
        relay: Some(format!("http://{relay}/").parse().expect("a URL")),
        idle: Duration::from_secs(4),
        ..Config::new((listen, 0).into())
    };
    Endpoint::bind(secret, config)
        .await
        .expect("a free port of this loopback")
}

fn key(n: u8) -> PublicKey {
    PrivateKey::decode(Copying(&[n; 32][..]))
        .expect("a seed")
        .public_key()
}

/// Somebody of whom only the key is known.
fn peer(n: u8) -> Peer {
    Peer {
        key: key(n),
        addresses: Vec::new(),
    }
}

struct Echo;

impl Service for Echo {
    fn answer(
        &self,
        _asker: Asker,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>> {
        Box::pin(std::future::ready(request))
    }
}

struct Node {
    endpoint: Endpoint,
    mesh: Mesh,
    sender: ChannelSender,
    receiver: ChannelReceiver,
}

async fn node(n: u8, listen: IpAddr, relay: SocketAddr) -> Node {
    let endpoint = endpoint(&Secret::of_validator(&[n; 32]), listen, relay).await;
    let channel = ChannelConfig {
        limit: LIMIT,
        priority: 0,
        queue: NonZeroUsize::new(64).expect("not zero"),
    };
    let (mesh, mut halves) = Mesh::new(endpoint.clone(), &[channel], Duration::ZERO);
    let (sender, receiver) = halves.remove(0);
    tokio::spawn(serve(
        endpoint.clone(),
        Some(mesh.clone()),
        Arc::new(Echo),
        Limits::default(),
    ));
    Node {
        endpoint,
        mesh,
        sender,
        receiver,
    }
}

/// Two validators that are connected.
async fn two_nodes(relay: SocketAddr) -> (Node, Node) {
    let (one, two) = (node(1, V4, relay).await, node(2, V6, relay).await);
    one.mesh.set_peers([peer(2)]);
    two.mesh.set_peers([peer(1)]);
    connected(&one, 1).await;
    connected(&two, 1).await;
    (one, two)
}

async fn connected(node: &Node, peers: usize) {
    in_time(async {
        while node.mesh.connected().len() != peers {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

async fn next(node: &mut Node) -> (PublicKey, Vec<u8>) {
    let (from, message) = node.receiver.recv().await.expect("the mesh is open");
    (from, message.into())
}

/// Says something to validator `n` until it hears it: what is on its way when one connection takes another's place is lost.
async fn hears(n: u8, to: &mut Node, from: &Node, message: &[u8]) -> PublicKey {
    let mut sender = from.sender.clone();
    in_time(async {
        loop {
            sender.send(Recipients::One(key(n)), message.to_vec(), false);
            let heard = tokio::time::timeout(Duration::from_secs(5), next(to)).await;
            if let Ok((from, heard)) = heard
                && heard == message
            {
                return from;
            }
        }
    })
    .await
}

fn caller(client: &Endpoint, server: EndpointId) -> Caller {
    Caller::new(client.clone(), server, Vec::new(), Duration::from_secs(20))
}

async fn ping(calls: &Caller) -> Result<Bytes, CallError> {
    in_time(calls.call(Bytes::from_static(b"ping"), 100)).await
}

/// Asks until somebody answers.
async fn reached(calls: &Caller) {
    in_time(async {
        while ping(calls).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_a_key_and_a_relay_exchanges_frames_and_calls_by_it() {
    let relay = relay(ANY_PORT, None).await;
    let (mut one, mut two) = two_nodes(address(&relay)).await;
    for n in 0..3u8 {
        let message = vec![n; LIMIT];
        assert_eq!(hears(2, &mut two, &one, &message).await, key(1));
        assert_eq!(hears(1, &mut one, &two, &message).await, key(2));
    }
    let client = endpoint(&Secret::derive(&[3; 32]), V4, address(&relay)).await;
    assert!(client.finds_by_key());
    reached(&caller(&client, two.endpoint.id())).await;

    let carried = relay.metrics().server.bytes_recv.get();
    assert!(carried >= 6 * LIMIT as u64, "{carried} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_goes_is_used_again_when_it_is_back() {
    let first = relay(ANY_PORT, None).await;
    let at = address(&first);
    let (one, mut two) = two_nodes(at).await;
    in_time(first.shutdown()).await.expect("it was running");
    connected(&one, 0).await;
    connected(&two, 0).await;

    let _again = relay(at, None).await;
    connected(&one, 1).await;
    connected(&two, 1).await;
    assert_eq!(hears(2, &mut two, &one, b"hello").await, key(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_down_is_an_error_until_it_is_up() {
    // Nobody listens there once this statement has ended.
    let nobody = std::net::TcpListener::bind(ANY_PORT)
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    let server = node(1, V6, nobody).await;
    let client = endpoint(&Secret::derive(&[3; 32]), V4, nobody).await;
    let calls = caller(&client, server.endpoint.id());
    let answer = ping(&calls).await;
    assert!(
        matches!(answer, Err(CallError::Unreachable { .. })),
        "{answer:?}"
    );

    let _relay = relay(nobody, None).await;
    reached(&calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_says_nothing_is_asked_and_keeps_nobody_waiting() {
    let silent = tokio::net::TcpListener::bind(ANY_PORT)
        .await
        .expect("a free port");
    let at = silent.local_addr().expect("bound");
    let client = endpoint(&Secret::derive(&[3; 32]), V4, at).await;
    let answer = ping(&caller(&client, EndpointId::of_validator(&key(1)))).await;
    assert!(
        matches!(answer, Err(CallError::Unreachable { .. })),
        "{answer:?}"
    );
    in_time(silent.accept()).await.expect("it was asked");
    in_time(client.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_relay_does_not_let_in_reaches_nobody_by_it() {
    let (friend, stranger) = (Secret::derive(&[3; 32]), Secret::derive(&[4; 32]));
    let allowed = [EndpointId::of_validator(&key(1)), friend.id()];
    let relay = relay(ANY_PORT, Some(&allowed)).await;
    let at = address(&relay);
    let server = node(1, V6, at).await;

    let friend = endpoint(&friend, V4, at).await;
    reached(&caller(&friend, server.endpoint.id())).await;
    let stranger = endpoint(&stranger, V4, at).await;
    let answer = ping(&caller(&stranger, server.endpoint.id())).await;
    assert!(
        matches!(answer, Err(CallError::Unreachable { .. })),
        "{answer:?}"
    );
    in_time(stranger.close()).await;
}

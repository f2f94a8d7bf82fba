//! Endpoints that find each other by their keys, by multicast on this machine's loopback, which Linux has; where there is none
//! these tests fail.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use bytes::Bytes;
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::Signer as _;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use socket2::{Domain, Protocol, Socket, Type};
use tally_net::{
    Asker, BindError, CallError, Caller, ChannelConfig, ChannelReceiver, ChannelSender, Config,
    Endpoint, EndpointId, Lan, Limits, Mesh, Peer, Secret, Service, serve,
};

const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 76, 68), 24410);

fn key(n: u8) -> PublicKey {
    PrivateKey::decode(Copying(&[n; 32][..]))
        .expect("a seed")
        .public_key()
}

fn peer(n: u8, addresses: &[SocketAddr]) -> Peer {
    Peer {
        key: key(n),
        addresses: addresses.to_vec(),
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

async fn endpoint(secret: &Secret, lan: Lan) -> Endpoint {
    let mut config = Config::new((Ipv4Addr::LOCALHOST, 0).into());
    config.lan = lan;
    Endpoint::bind(secret, config)
        .await
        .expect("a free port, and multicast on this machine's loopback")
}

struct Validator {
    endpoint: Endpoint,
    mesh: Mesh,
    _halves: Vec<(ChannelSender, ChannelReceiver)>,
}

async fn validator(n: u8) -> Validator {
    let endpoint = endpoint(&Secret::of_validator(&[n; 32]), Lan::FindAndBeFound).await;
    let channel = ChannelConfig {
        limit: 1000,
        priority: 0,
        queue: NonZeroUsize::MIN,
    };
    let (mesh, halves) = Mesh::new(endpoint.clone(), &[channel], Duration::ZERO);
    tokio::spawn(serve(
        endpoint.clone(),
        Some(mesh.clone()),
        Arc::new(Echo),
        Limits::default(),
    ));
    Validator {
        endpoint,
        mesh,
        _halves: halves,
    }
}

async fn connected(one: &Validator, other: &Validator) {
    for _ in 0..600 {
        if one.mesh.connected().len() == 1 && other.mesh.connected().len() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("they have not found each other; is there multicast on this machine's loopback?");
}

async fn ping(client: &Endpoint, server: EndpointId) -> Result<Bytes, CallError> {
    let caller = Caller::new(client.clone(), server, Vec::new(), Duration::from_secs(20));
    caller.call(Bytes::from_static(b"ping"), 100).await
}

#[tokio::test(flavor = "multi_thread")]
async fn validators_and_callers_find_each_other_by_their_keys_alone() {
    let (one, two) = (validator(31).await, validator(32).await);
    one.mesh.set_peers([peer(32, &[])]);
    two.mesh.set_peers([peer(31, &[])]);
    connected(&one, &two).await;

    let client = endpoint(&Secret::derive(&[33; 32]), Lan::Find).await;
    assert!(client.finds_by_key());
    for server in [&one, &two] {
        let answer = ping(&client, server.endpoint.id()).await;
        assert_eq!(answer.expect("it is found").as_ref(), b"ping");
    }

    // Who is heard of is nobody's peer for it.
    let stranger = validator(34).await;
    stranger.mesh.set_peers([peer(31, &[])]);
    for _ in 0..200 {
        if one.mesh.stats().refused > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(one.mesh.stats().refused > 0);
    assert_eq!(one.mesh.connected(), [key(32)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_is_elsewhere_by_now_is_found() {
    let before = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let nobody = before.local_addr().expect("bound");
    let (one, two) = (validator(41).await, validator(42).await);
    one.mesh.set_peers([peer(42, &[nobody])]);
    two.mesh.set_peers([peer(41, &[nobody])]);
    connected(&one, &two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_says_where_validators_are_keeps_nobody_apart() {
    let liar = validator(53).await;
    let wrong = liar.endpoint.sockets()[0].port();
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
    socket
        .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
        .expect("the loopback");
    let socket = UdpSocket::from(socket);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let lies = std::thread::spawn(move || {
        let mut said = 0;
        while stopped.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout) {
            let now = std::time::SystemTime::UNIX_EPOCH
                .elapsed()
                .expect("after 1970");
            for n in [51, 52] {
                let lie = [
                    &b"tally/ledger/lan/1\x02"[..],
                    key(n).as_ref(),
                    &u64::try_from(now.as_millis())
                        .expect("a time")
                        .to_be_bytes(),
                    &Ipv4Addr::LOCALHOST.octets(),
                    &wrong.to_be_bytes(),
                    &[7; 64],
                ]
                .concat();
                socket.send_to(&lie, GROUP).expect("multicast on loopback");
                said += 1;
            }
        }
        said
    });
    let (one, two) = (validator(51).await, validator(52).await);
    one.mesh.set_peers([peer(52, &[])]);
    two.mesh.set_peers([peer(51, &[])]);
    connected(&one, &two).await;
    let client = endpoint(&Secret::derive(&[54; 32]), Lan::Find).await;
    let answer = ping(&client, one.endpoint.id()).await;
    assert_eq!(answer.expect("it is found").as_ref(), b"ping");
    stop.send(()).expect("it still lies");
    assert!(lies.join().expect("it lied") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_search_reaches_nobody_by_a_key_alone() {
    let server = validator(61).await;
    let client = endpoint(&Secret::derive(&[62; 32]), Lan::Off).await;
    assert!(!client.finds_by_key());
    let answer = ping(&client, server.endpoint.id()).await;
    assert!(
        matches!(answer, Err(CallError::Unreachable { .. })),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_told_to_be_found_says_nothing_to_the_network() {
    for (seed, lan) in [(66, Lan::Off), (67, Lan::Find), (68, Lan::FindAndBeFound)] {
        let listener = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("socket");
        listener.set_reuse_address(true).expect("a shared port");
        listener
            .bind(&SocketAddr::from(GROUP).into())
            .expect("the group's port");
        listener
            .join_multicast_v4(&GROUP.0, &Ipv4Addr::LOCALHOST)
            .expect("multicast on loopback");
        listener
            .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
            .expect("the loopback");
        listener.set_nonblocking(true).expect("a socket of tokio's");
        let listener = tokio::net::UdpSocket::from_std(listener.into()).expect("a socket");

        let secret = Secret::derive(&[seed; 32]);
        let endpoint = endpoint(&secret, lan).await;
        listener
            .send_to(b"tally/ledger/lan/1\x01", GROUP)
            .await
            .expect("multicast on loopback");
        let begin = [&b"tally/ledger/lan/1\x02"[..], secret.id().as_bytes()].concat();
        let announced = async {
            let mut packet = [0; 200];
            loop {
                let (length, _) = listener.recv_from(&mut packet).await.expect("a packet");
                if packet[..length].starts_with(&begin) {
                    return [packet[begin.len() + 12], packet[begin.len() + 13]];
                }
            }
        };
        let announced = tokio::time::timeout(Duration::from_secs(2), announced).await;
        let is_told = lan == Lan::FindAndBeFound;
        assert_eq!(announced.is_ok(), is_told, "{lan:?}");
        if let Ok(port) = announced {
            assert_eq!(u16::from_be_bytes(port), endpoint.sockets()[0].port());
        }
        endpoint.close().await;
    }
}

#[tokio::test]
async fn a_search_needs_an_address_of_ipv4() {
    let mut config = Config::new((Ipv6Addr::LOCALHOST, 0).into());
    config.lan = Lan::Find;
    let bound = Endpoint::bind(&Secret::derive(&[63; 32]), config).await;
    assert!(matches!(bound, Err(BindError::LanByV6(_))), "{bound:?}");
}

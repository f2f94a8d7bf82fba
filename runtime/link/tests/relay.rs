//! Devices that know each other's keys and where a relay is, and nothing else. The relay is a real one, in this process. One
//! end listens by IPv4 and the other by IPv6, both on the loopback, so that no direct way leads from one to the other: what
//! arrives was carried by the relay. Where there is no `::1`, which Linux has, one end has no way but the relay all the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use iroh_relay::server::{RelayConfig, Server, ServerConfig};
use tally_link::{Address, Config, DialError, Link, NodeId, NodeSecret, Ticket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ANY_PORT: SocketAddr = SocketAddr::new(V4, 0);

/// Far longer than anything here takes: what is not there by then hangs.
async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(180), what)
        .await
        .expect("it hangs")
}

fn url(relay: SocketAddr) -> String {
    format!("http://{relay}/")
}

async fn link(seed: u8, listen: IpAddr, relay: SocketAddr) -> Link {
    let config = Config {
        listen: vec![(listen, 0).into()],
        relays: vec![url(relay)],
        handshake: Duration::from_secs(5),
        ..Config::default()
    };
    Link::bind(&NodeSecret::derive(&[seed; 32]), config)
        .await
        .expect("loopback binds")
}

/// Leads to a node by a relay and no other way.
fn by(relay: SocketAddr, node: NodeId) -> Ticket {
    Ticket {
        node,
        vault: None,
        addresses: vec![Address::Relay(url(relay))],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_a_key_and_a_relay_opens_a_channel_by_it() {
    let mut config = ServerConfig::default();
    config.relay = Some(RelayConfig::new(ANY_PORT));
    let relay = Server::spawn(config).await.expect("a free port");
    let at = relay.http_addr().expect("it serves HTTP");
    let (a, b) = (link(1, V4, at).await, link(2, V6, at).await);
    assert!(in_time(b.relayed(Duration::from_secs(120))).await);
    let named = b.ticket(None).to_string();
    let named: Ticket = named.parse().expect("a ticket");
    assert_eq!(named.addresses.first(), Some(&Address::Relay(url(at))));

    let long: Vec<u8> = (0..500_000_u32).map(|i| i as u8).collect();
    let ticket = by(at, b.node());
    let asks = async {
        let mut near = loop {
            match a.dial(&ticket).await {
                Ok(near) => break near,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        assert_eq!(near.peer(), b.node());
        near.write_all(&long).await.expect("the peer reads");
        let mut echo = vec![0; long.len()];
        near.read_exact(&mut echo).await.expect("the peer answers");
        near.finish(Duration::from_secs(10)).await;
        echo
    };
    let answers = async {
        let mut far = loop {
            let incoming = b.accept().await.expect("the endpoint is open");
            // Who dialled in vain before is heard of late, and has hung up.
            if let Ok(far) = incoming.open().await {
                break far;
            }
        };
        assert_eq!(far.peer(), a.node());
        let mut heard = vec![0; 500_000];
        far.read_exact(&mut heard).await.expect("the peer writes");
        far.write_all(&heard).await.expect("the peer reads");
        let mut rest = Vec::new();
        // The peer closes once it has everything.
        let _ = far.read_to_end(&mut rest).await;
    };
    let (echo, ()) = in_time(async { tokio::join!(asks, answers) }).await;
    assert!(echo == long, "what comes back is what was written");
    let carried = relay.metrics().server.bytes_recv.get();
    assert!(carried >= 1_000_000, "{carried} bytes");
    in_time(a.close()).await;
    in_time(b.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_down_is_an_error() {
    // Nobody listens there once this statement has ended.
    let nobody = TcpListener::bind(ANY_PORT)
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    // Nobody accepts here.
    let silent = TcpListener::bind(ANY_PORT).expect("a free port");
    for at in [nobody, silent.local_addr().expect("bound")] {
        let a = link(3, V4, at).await;
        assert!(!a.relayed(Duration::from_millis(500)).await);
        assert!(
            !a.ticket(None).to_string().is_empty(),
            "it leads here all the same"
        );
        let lost = by(at, NodeSecret::derive(&[4; 32]).node());
        let refused = in_time(a.dial(&lost)).await.map(|channel| channel.peer());
        assert!(
            matches!(
                refused,
                Err(DialError::Timeout(_) | DialError::Connect { .. })
            ),
            "{refused:?}"
        );
        in_time(a.close()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_only_a_ticket_names_is_not_contacted() {
    let own = TcpListener::bind(ANY_PORT).expect("a free port");
    let named = TcpListener::bind(ANY_PORT).expect("a free port");
    let at = |listener: &TcpListener| listener.local_addr().expect("bound");
    let a = link(5, V4, at(&own)).await;
    let ticket = by(at(&named), NodeSecret::derive(&[6; 32]).node());
    let refused = in_time(a.dial(&ticket)).await.map(|channel| channel.peer());
    assert!(
        matches!(refused, Err(DialError::NoAddress(_))),
        "{refused:?}"
    );
    named.set_nonblocking(true).expect("a socket");
    assert!(named.accept().is_err(), "somebody came");
    in_time(a.close()).await;
}

//! Two real endpoints on this machine.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tally_link::{
    Address, BindError, Channel, Config, DialError, Lan, Link, NodeSecret, Sighting, Ticket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn link(seed: u8) -> Link {
    Link::bind(&NodeSecret::derive(&[seed; 32]), Config::loopback())
        .await
        .expect("loopback binds")
}

/// Both ends of a channel; the dialler has said `hello`.
async fn channel(dialler: &Link, dialled: &Link) -> (Channel, Channel) {
    let ticket = dialled.ticket(None);
    let (near, far) = tokio::join!(
        async {
            let mut near = dialler.dial(&ticket).await.expect("the node is there");
            near.write_all(b"hello").await.expect("the stream is open");
            near
        },
        async {
            let incoming = dialled.accept().await.expect("the endpoint is open");
            let mut far = incoming.open().await.expect("the caller is honest");
            let mut hello = [0; 5];
            far.read_exact(&mut hello)
                .await
                .expect("the caller speaks first");
            assert_eq!(&hello, b"hello");
            far
        }
    );
    (near, far)
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_both_ways_and_the_keys_are_known() {
    let (a, b) = (link(1).await, link(2).await);
    let (mut near, mut far) = channel(&a, &b).await;
    assert_eq!(near.peer(), b.node());
    assert_eq!(far.peer(), a.node());
    let long: Vec<u8> = (0..3_000_000_u32).map(|i| i as u8).collect();
    let (sent, got) = tokio::join!(
        async {
            near.write_all(&long).await.expect("the peer reads");
            near.finish(Duration::from_secs(10)).await;
        },
        async {
            let mut got = Vec::new();
            far.read_to_end(&mut got)
                .await
                .expect("finish loses nothing");
            got
        }
    );
    let () = sent;
    assert!(got == long, "what arrives is what was written");
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_belongs_to_one_channel() {
    let (a, b) = (link(3).await, link(4).await);
    let (near, far) = channel(&a, &b).await;
    assert_eq!(near.binding(), far.binding());
    assert_eq!(near.binding()[32..64], *a.node().as_bytes());
    assert_eq!(near.binding()[64..], *b.node().as_bytes());
    let (again, _far) = channel(&a, &b).await;
    assert_ne!(
        near.binding()[..32],
        again.binding()[..32],
        "a second session between the same nodes exports another key"
    );
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_answers_with_another_key_is_not_the_node_of_the_ticket() {
    let (a, b) = (link(5).await, link(6).await);
    let forged = Ticket {
        node: NodeSecret::derive(&[99; 32]).node(),
        ..b.ticket(None)
    };
    let serving = tokio::spawn(async move {
        if let Some(incoming) = b.accept().await {
            let _ = incoming.open().await;
        }
        b
    });
    let refused = a.dial(&forged).await.map(|channel| channel.peer());
    assert!(
        matches!(
            refused,
            Err(DialError::Connect { .. } | DialError::Timeout(_))
        ),
        "{refused:?}"
    );
    serving
        .await
        .expect("the other side survives")
        .close()
        .await;
    a.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_nobody_is_asked() {
    let a = link(7).await;
    let lost = Ticket {
        node: NodeSecret::derive(&[8; 32]).node(),
        vault: None,
        addresses: Vec::new(),
    };
    let refused = a.dial(&lost).await.map(|channel| channel.peer());
    assert!(
        matches!(refused, Err(DialError::NoAddress(_))),
        "{refused:?}"
    );
    assert!(matches!(
        a.dial(&a.ticket(None)).await.map(|channel| channel.peer()),
        Err(DialError::Own)
    ));
    // A relay that somebody else's ticket names is not contacted.
    let relayed = Ticket {
        addresses: vec![Address::Relay("https://relay.example/".to_owned())],
        ..lost
    };
    let refused = a.dial(&relayed).await.map(|channel| channel.peer());
    assert!(
        matches!(refused, Err(DialError::NoAddress(_))),
        "{refused:?}"
    );
    a.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_endpoint_frees_its_port_and_ends_its_channels() {
    let (a, b) = (link(9).await, link(10).await);
    let (near, mut far) = channel(&a, &b).await;
    let socket = a.sockets()[0];
    a.close().await;
    assert!(far.read_u8().await.is_err(), "the peer notices");
    drop(near);
    let config = Config {
        listen: vec![socket],
        ..Config::loopback()
    };
    // The socket goes with a task of the transport, which ends soon after the last holder.
    let again = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match Link::bind(&NodeSecret::derive(&[9; 32]), config.clone()).await {
                Ok(link) => return link,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await
    .expect("the port is free again");
    assert_eq!(again.sockets()[0], socket);
    again.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_network_find_each_other_by_multicast() {
    let open = |seed: u8, lan: Lan| async move {
        Link::bind(
            &NodeSecret::derive(&[seed; 32]),
            Config {
                lan,
                ..Config::default()
            },
        )
        .await
    };
    let (silent, open) = (
        open(11, Lan::Find).await,
        open(12, Lan::FindAndBeFound).await,
    );
    let (silent, open) = (
        silent.expect("multicast sockets open"),
        open.expect("multicast sockets open"),
    );
    let mut nearby = silent
        .nearby()
        .await
        .expect("the configuration asks for it");
    let found = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            match nearby.next().await {
                Some(Sighting::Here(ticket)) if ticket.node == open.node() => return ticket,
                Some(_) => {}
                None => panic!("the endpoint is open"),
            }
        }
    })
    .await
    .expect("an announced node is seen");
    // Its own words lead to it, and its key is proved by the handshake.
    let (near, far) = tokio::join!(
        async {
            let mut near = silent.dial(&found).await.expect("the address works");
            near.write_all(b"x").await.expect("the stream is open");
            near
        },
        async {
            open.accept()
                .await
                .expect("the endpoint is open")
                .open()
                .await
                .expect("the caller is honest")
        }
    );
    assert_eq!(near.peer(), open.node());
    assert_eq!(far.peer(), silent.node());
    silent.close().await;
    open.close().await;
}

async fn on_the_lan(seed: u8, lan: Lan) -> Link {
    let config = Config {
        lan,
        ..Config::loopback()
    };
    Link::bind(&NodeSecret::derive(&[seed; 32]), config)
        .await
        .expect("a free port, and multicast on loopback")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_which_only_the_key_is_known_is_found_on_the_local_network() {
    let (silent, open) = (
        on_the_lan(13, Lan::Find).await,
        on_the_lan(14, Lan::FindAndBeFound).await,
    );
    let ticket = Ticket {
        addresses: Vec::new(),
        ..open.ticket(None)
    };
    let serving = async { open.accept().await.expect("open").open().await };
    let (near, far) = tokio::join!(
        async {
            let mut near = silent.dial(&ticket).await.expect("it is found");
            near.write_all(b"x").await.expect("the stream is open");
            near
        },
        serving
    );
    assert_eq!(near.peer(), open.node());
    assert_eq!(far.expect("the caller is honest").peer(), silent.node());
    silent.close().await;
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_around_sees_a_node_once_and_nothing_after_the_end() {
    let (silent, open) = (
        on_the_lan(15, Lan::Find).await,
        on_the_lan(16, Lan::FindAndBeFound).await,
    );
    let mut nearby = silent.nearby().await.expect("it searches");
    let mut seen = Vec::new();
    // It says where it is several times meanwhile, since others ask too.
    let _ = tokio::time::timeout(Duration::from_secs(3), async {
        while let Some(sighting) = nearby.next().await {
            match sighting {
                Sighting::Here(ticket) if ticket.node == open.node() => seen.push(ticket),
                Sighting::Here(ticket) => assert_ne!(ticket.node, silent.node()),
                Sighting::Gone(_) => {}
            }
        }
    })
    .await;
    let here = Ticket {
        node: open.node(),
        vault: None,
        addresses: vec![Address::Direct(open.sockets()[0])],
    };
    assert_eq!(seen, [here]);
    silent.close().await;
    let end = async { while nearby.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(10), end)
        .await
        .expect("who looks around learns that the endpoint is closed");
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_told_to_be_found_says_nothing_to_the_network() {
    const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 86, 83), 24411);
    for (seed, lan) in [(17, Lan::Off), (18, Lan::Find), (19, Lan::FindAndBeFound)] {
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

        let link = on_the_lan(seed, lan).await;
        listener
            .send_to(b"tally/vault-sync/lan/1\x01", GROUP)
            .await
            .expect("multicast on loopback");
        let begin = [&b"tally/vault-sync/lan/1\x02"[..], link.node().as_bytes()].concat();
        let announced = async {
            let mut packet = [0; 200];
            loop {
                let (length, _) = listener.recv_from(&mut packet).await.expect("a packet");
                if packet[..length].starts_with(&begin) {
                    return;
                }
            }
        };
        let announced = tokio::time::timeout(Duration::from_secs(2), announced).await;
        let is_told = lan == Lan::FindAndBeFound;
        assert_eq!(announced.is_ok(), is_told, "{lan:?}");
        link.close().await;
    }
}

#[tokio::test]
async fn a_search_needs_an_address_of_ipv4() {
    let config = Config {
        listen: vec![(Ipv6Addr::LOCALHOST, 0).into()],
        lan: Lan::Find,
        ..Config::default()
    };
    let bound = Link::bind(&NodeSecret::derive(&[21; 32]), config).await;
    assert!(matches!(bound, Err(BindError::LanByV6)), "{bound:?}");
}

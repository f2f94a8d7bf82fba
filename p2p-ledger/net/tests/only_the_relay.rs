//! Whom endpoints contact that have a relay. A file of its own: it looks at all connections of its process.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use iroh_relay::server::{RelayConfig, Server, ServerConfig};
use tally_net::{Asker, Caller, Config, Endpoint, Limits, Secret, Service, serve};

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

async fn endpoint(seed: u8, relay: SocketAddr) -> Endpoint {
    let config = Config {
        relay: Some(format!("http://{relay}/").parse().expect("a URL")),
        // Of UDP, nothing leaves the machine from this address.
        ..Config::new((Ipv4Addr::LOCALHOST, 0).into())
    };
    Endpoint::bind(&Secret::derive(&[seed; 32]), config)
        .await
        .expect("a free port")
}

/// Both ends of each TCP connection of this process, as the kernel writes them.
fn connections() -> Vec<[String; 2]> {
    let own: BTreeSet<String> = std::fs::read_dir("/proc/self/fd")
        .expect("Linux has it")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            let inode = link.to_str()?.strip_prefix("socket:[")?;
            Some(inode.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table: String = ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .collect();
    table
        .lines()
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (local, remote, state) = (*columns.get(1)?, *columns.get(2)?, *columns.get(3)?);
            let listens = state == "0A";
            let is_own = own.contains(*columns.get(9)?);
            (is_own && !listens).then(|| [local.to_owned(), remote.to_owned()])
        })
        .collect()
}

fn as_the_kernel_writes_it(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else {
        panic!("{address} is not of IPv4");
    };
    let ip = u32::from_ne_bytes(address.ip().octets());
    format!("{ip:08X}:{:04X}", address.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_contacted_but_the_relay() {
    // An address that nothing else of this machine has, to see what else its host is asked.
    let host = Ipv4Addr::new(127, 83, 2, 1);
    let mut config = ServerConfig::default();
    config.relay = Some(RelayConfig::new(SocketAddr::from((host, 0))));
    let relay = Server::spawn(config).await.expect("a free port");
    let at = relay.http_addr().expect("it serves HTTP");
    // Where this process may not listen there, such a connection is refused and only seen if it is looked at in time.
    let web = TcpListener::bind((host, 80)).ok();

    let stop = Arc::new(AtomicBool::new(false));
    let looking = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let mut seen = BTreeSet::new();
            while !stop.load(Ordering::Relaxed) {
                seen.extend(connections());
                std::thread::sleep(Duration::from_millis(1));
            }
            seen
        }
    });
    let (server, client) = (endpoint(1, at).await, endpoint(2, at).await);
    tokio::spawn(serve(
        server.clone(),
        None,
        Arc::new(Echo),
        Limits::default(),
    ));
    let calls = Caller::new(
        client.clone(),
        server.id(),
        Vec::new(),
        Duration::from_secs(20),
    );
    let answered = async {
        while calls.call(Bytes::from_static(b"ping"), 100).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(180), answered)
        .await
        .expect("it hangs");
    // What an endpoint asks about its network it asks in the first seconds.
    tokio::time::sleep(Duration::from_secs(4)).await;
    stop.store(true, Ordering::Relaxed);
    let seen = looking.join().expect("it looked");

    let relay = as_the_kernel_writes_it(at);
    let (by_the_relay, elsewhere): (Vec<_>, Vec<_>) =
        seen.into_iter().partition(|ends| ends.contains(&relay));
    assert!(!by_the_relay.is_empty());
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    if let Some(web) = web {
        web.set_nonblocking(true).expect("a socket");
        let asked = web.accept();
        assert!(
            matches!(&asked, Err(error) if error.kind() == ErrorKind::WouldBlock),
            "{asked:?}"
        );
    }
}

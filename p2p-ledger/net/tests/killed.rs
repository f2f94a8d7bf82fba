//! A server that is killed says nothing, and another process takes its place.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tally_net::{Asker, Caller, Config, Endpoint, Limits, Secret, Service, serve};

const ADDRESS: &str = "TALLY_NET_TEST_ADDRESS";

struct Echo;

impl Service for Echo {
    fn answer(
        &self,
        _asker: Asker,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>> {
        Box::pin(async move { request })
    }
}

fn secret() -> Secret {
    Secret::derive(&[1; 32])
}

/// The server of the test below, in a process of its own. Without an address it is no test.
#[tokio::test]
async fn the_server_of_the_other_test() {
    let Ok(address) = std::env::var(ADDRESS) else {
        return;
    };
    let listen = address.parse().expect("an address");
    let endpoint = Endpoint::bind(&secret(), Config::new(listen))
        .await
        .expect("the address is free");
    serve(endpoint, None, Arc::new(Echo), Limits::default()).await;
}

struct Server(Child);

impl Server {
    fn start(address: SocketAddr) -> Self {
        let child = Command::new(std::env::current_exe().expect("this program's file"))
            .args(["--exact", "the_server_of_the_other_test"])
            .env(ADDRESS, address.to_string())
            .spawn()
            .expect("this program starts");
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it was killed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reaches_the_process_that_took_the_place_of_a_killed_one() {
    let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|socket| socket.local_addr())
        .expect("a free port");
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let config = Config::new(listen);
    // Less than it takes until a connection counts as idle for good.
    let time = config.idle - Duration::from_secs(1);
    let endpoint = Endpoint::bind(&Secret::derive(&[2; 32]), config)
        .await
        .expect("a free port");
    let calls = Caller::new(endpoint, secret().id(), vec![address], time);
    for _ in 0..3 {
        let _server = Server::start(address);
        let answer = calls.call(Bytes::from_static(b"ping"), 100).await;
        assert_eq!(answer.expect("an answer in time").as_ref(), b"ping");
    }
}

//! Real connections: answers, the end of the server, clients that dawdle.

mod common;

use std::time::Duration;

use common::bench;
use tally_gateway::serve;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn started(
    bench: &common::Bench,
) -> (
    std::net::SocketAddr,
    tokio::sync::oneshot::Sender<()>,
    tokio::task::JoinHandle<std::io::Result<()>>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, bench.router.clone(), async move {
        let _ = ended.await;
    }));
    (address, end, server)
}

async fn exchange(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_request_over_a_socket_is_answered_and_the_server_ends_when_told() {
    let bench = bench();
    let (address, end, server) = started(&bench).await;
    let answer = exchange(
        address,
        &format!("GET /v1/memories HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {}\r\nConnection: close\r\n\r\n", bench.key),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.to_lowercase().contains("x-request-id: "));
    end.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), server)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_costs_only_its_connection() {
    let bench = bench();
    let (address, _end, _server) = started(&bench).await;
    for request in [
        "\x16\x03\x01 not HTTP\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b c\r\n\r\n",
    ] {
        let answer = exchange(address, request).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    let head = format!(
        "GET /healthz HTTP/1.1\r\nHost: {address}\r\nX: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may hang up while we still write.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"));
    let answer = exchange(
        address,
        &format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
    .await;
    assert!(answer.contains("{\"status\":\"ok\"}"), "{answer}");
}

#[tokio::test]
async fn an_idle_client_does_not_keep_the_server_from_ending() {
    let bench = bench();
    let (address, end, server) = started(&bench).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /v1").await.unwrap();
    end.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), server)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

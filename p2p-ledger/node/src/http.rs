//! Counts over HTTP, for Prometheus: `GET /metrics` and nothing else.

use std::fmt::Write as _;
use std::time::Duration;

use tally_net::Stats;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a request's head, and how long it may take.
const HEAD: usize = 8 * 1024;
const TIME: Duration = Duration::from_secs(5);

/// Answers one request for each connection, one after another: whoever scrapes has patience.
pub(crate) async fn serve(listener: TcpListener, counts: impl Fn() -> String) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: that passes.
            tokio::time::sleep(TIME / 10).await;
            continue;
        };
        let answered = tokio::time::timeout(TIME, answer(stream, &counts)).await;
        if let Ok(Err(error)) = answered {
            tracing::debug!(%error, "a request for metrics failed");
        }
    }
}

async fn answer(mut stream: TcpStream, counts: &impl Fn() -> String) -> std::io::Result<()> {
    let mut head = vec![0; HEAD];
    let mut length = 0;
    while !head[..length].windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut head[length..]).await? {
            0 => return Ok(()),
            read => length += read,
        }
    }
    let (status, body) = if head.starts_with(b"GET /metrics ") {
        ("200 OK", counts())
    } else {
        ("404 Not Found", "there is only /metrics\n".to_owned())
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// The mesh's counts, as Prometheus reads them.
pub(crate) fn mesh(stats: &Stats) -> String {
    let mut text = String::new();
    let connected = stats.connected as u64;
    for (name, kind, help, value) in [
        (
            "connected",
            "gauge",
            "Validators with a connection",
            connected,
        ),
        (
            "sent_total",
            "counter",
            "Messages put into a queue",
            stats.sent,
        ),
        (
            "sent_bytes_total",
            "counter",
            "Their bytes",
            stats.sent_bytes,
        ),
        (
            "received_total",
            "counter",
            "Messages received",
            stats.received,
        ),
        (
            "received_bytes_total",
            "counter",
            "Their bytes",
            stats.received_bytes,
        ),
        (
            "dropped_full_total",
            "counter",
            "Messages dropped because a peer's queue was full",
            stats.dropped_full,
        ),
        (
            "dropped_offline_total",
            "counter",
            "Messages dropped because a peer was offline",
            stats.dropped_offline,
        ),
        (
            "refused_total",
            "counter",
            "Connections turned away",
            stats.refused,
        ),
    ] {
        writeln!(
            text,
            "# HELP tally_mesh_{name} {help}\n# TYPE tally_mesh_{name} {kind}\ntally_mesh_{name} {value}"
        )
        .expect("a string takes everything");
    }
    text
}

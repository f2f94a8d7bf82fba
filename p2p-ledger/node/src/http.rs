//! What a node serves in plain HTTP/1.1: each address has some pages, `GET` only, one request for a connection.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tally_net::Stats;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Bytes of a request's head, and how long it and its answer may take.
const HEAD: usize = 8 * 1024;
const TIME: Duration = Duration::from_secs(5);
/// Connections that are served at once.
const CONNECTIONS: usize = 64;

/// What is at a path.
pub(crate) struct Page {
    kind: &'static str,
    /// Whether it never changes.
    fixed: bool,
    body: Vec<u8>,
}

/// Serves what `page` has at a path. It may read files.
pub(crate) async fn serve(
    listener: TcpListener,
    page: impl Fn(&str) -> Option<Page> + Send + Sync + 'static,
) {
    let page = Arc::new(page);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let turn = connections.clone().acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: that passes.
            tokio::time::sleep(TIME / 10).await;
            continue;
        };
        let page = page.clone();
        tasks.spawn(async move {
            let _turn = turn;
            let answered = tokio::time::timeout(TIME, answer(stream, page)).await;
            if let Ok(Err(error)) = answered {
                tracing::debug!(%error, "a request over HTTP failed");
            }
        });
    }
}

async fn answer(
    mut stream: TcpStream,
    page: Arc<impl Fn(&str) -> Option<Page> + Send + Sync + 'static>,
) -> std::io::Result<()> {
    let mut head = vec![0; HEAD];
    let mut length = 0;
    while !head[..length].windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut head[length..]).await? {
            0 => return Ok(()),
            read => length += read,
        }
    }
    let found = match path_of(&head[..length]).map(str::to_owned) {
        None => None,
        Some(path) => tokio::task::spawn_blocking(move || page(&path)).await?,
    };
    let (status, page) = match found {
        Some(page) => ("200 OK", page),
        None => (
            "404 Not Found",
            Page::text("there is nothing here\n".into()),
        ),
    };
    let cache = match page.fixed {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {}\r\ncontent-length: {}\r\ncache-control: {cache}\r\n\
         access-control-allow-origin: *\r\nconnection: close\r\n\r\n",
        page.kind,
        page.body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.write_all(&page.body).await?;
    stream.shutdown().await
}

/// The path that a request's head asks for, if it is one for a page.
pub(crate) fn path_of(head: &[u8]) -> Option<&str> {
    let head = std::str::from_utf8(head).ok()?;
    let (path, _) = head.strip_prefix("GET ")?.split_once(' ')?;
    Some(path)
}

impl Page {
    pub(crate) fn text(text: String) -> Self {
        Self {
            kind: "text/plain; charset=utf-8",
            fixed: false,
            body: text.into_bytes(),
        }
    }

    /// Counts, as Prometheus reads them.
    pub(crate) fn counts(text: String) -> Self {
        Self {
            kind: "text/plain; version=0.0.4",
            ..Self::text(text)
        }
    }

    /// A file of the log in `dir`; none if there is none at this path.
    pub(crate) fn of_log(dir: &Path, path: &str) -> Option<Self> {
        let (file, fixed) = crate::publish::file_at(dir, path.strip_prefix('/')?)?;
        let body = std::fs::read(file).ok()?;
        Some(Self {
            kind: match fixed {
                true => "application/octet-stream",
                false => "text/plain; charset=utf-8",
            },
            fixed,
            body,
        })
    }
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

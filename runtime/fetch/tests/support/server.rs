//! A web server on loopback that does what a test tells it, faults included, and remembers what it was asked.
//!
//! HTTP/1.1, one request per connection. What it sends is written here byte by byte, so that a wrong length or a
//! connection that ends early is really that on the wire.

#![allow(
    dead_code,
    reason = "each test binary uses its own part of this module"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first byte of `Range: bytes=N-`.
    pub(crate) fn from(&self) -> Option<usize> {
        self.header("range")?
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    }
}

/// A connection, over TLS or not.
pub(crate) trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

type Handler = dyn Fn(&Asked, &mut dyn Wire) -> std::io::Result<()> + Send + Sync;

/// A listening server; it answers until the test process ends.
pub(crate) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Plain http.
    pub(crate) fn start(
        handler: impl Fn(&Asked, &mut dyn Wire) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start_over("http", |stream| Ok(Box::new(stream)), handler)
    }

    /// Over whatever `wrap` makes of a connection.
    pub(crate) fn start_over(
        scheme: &'static str,
        wrap: impl Fn(TcpStream) -> std::io::Result<Box<dyn Wire>> + Send + Sync + 'static,
        handler: impl Fn(&Asked, &mut dyn Wire) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let (wrap, handler): (Arc<_>, Arc<Handler>) = (Arc::new(wrap), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (wrap, handler, log) = (wrap.clone(), handler.clone(), log.clone());
                std::thread::spawn(move || {
                    // A client that is killed in the middle is what some tests are about.
                    let _ = wrap(stream).and_then(|mut wire| converse(&mut *wire, &*handler, &log));
                });
            }
        });
        Self {
            address,
            scheme,
            asked,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}/{path}", self.scheme, self.address.port())
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked
            .lock()
            .expect("no handler panics with the lock")
            .clone()
    }

    /// Where nobody listens.
    pub(crate) fn nowhere() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        format!(
            "http://127.0.0.1:{}",
            listener.local_addr().expect("it is bound").port()
        )
    }
}

fn converse(
    wire: &mut dyn Wire,
    handler: &Handler,
    log: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut lines = Vec::new();
    {
        let mut reader = BufReader::with_capacity(1, &mut *wire);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
    }
    let asked = Asked {
        path: lines[0]
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        headers: lines[1..]
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
    };
    log.lock()
        .expect("no handler panics with the lock")
        .push(asked.clone());
    handler(&asked, wire)?;
    wire.flush()
}

/// Answers with a status and headers alone.
pub(crate) fn status(
    wire: &mut dyn Wire,
    status: &str,
    headers: &[(&str, &str)],
) -> std::io::Result<()> {
    write!(wire, "HTTP/1.1 {status}\r\n")?;
    for (name, value) in headers {
        write!(wire, "{name}: {value}\r\n")?;
    }
    write!(wire, "Content-Length: 0\r\nConnection: close\r\n\r\n")
}

/// Answers with a redirect.
pub(crate) fn redirect(wire: &mut dyn Wire, to: &str) -> std::io::Result<()> {
    status(wire, "302 Found", &[("Location", to)])
}

/// A file, and how it is served.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) etag: Option<String>,
    /// Whether a range is answered with a range.
    pub(crate) ranges: bool,
    /// Whether `If-Range` is heard.
    pub(crate) hears_if_range: bool,
    /// What `Content-Length` says, when it is not the truth.
    pub(crate) announce: Option<u64>,
    /// Whether a length is announced at all; else the body is chunked.
    pub(crate) chunked: bool,
    /// The answer ends after so many bytes of its body.
    pub(crate) cut_after: Option<usize>,
    /// After the cut the connection stays open and silent.
    pub(crate) hold: bool,
    pub(crate) headers: Vec<(String, String)>,
}

impl Served {
    pub(crate) fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self {
            bytes: bytes.into(),
            etag: Some("\"v1\"".to_owned()),
            ranges: true,
            hears_if_range: true,
            announce: None,
            chunked: false,
            cut_after: None,
            hold: false,
            headers: Vec::new(),
        }
    }

    /// Answers as RFC 9110 says, but for the faults that were asked for.
    pub(crate) fn answer(&self, asked: &Asked, wire: &mut dyn Wire) -> std::io::Result<()> {
        let same = asked
            .header("if-range")
            .filter(|_| self.hears_if_range)
            .is_none_or(|validator| Some(validator) == self.etag.as_deref());
        let from = asked.from().filter(|_| self.ranges && same);
        if let Some(from) = from
            && from >= self.bytes.len()
        {
            let range = format!("bytes */{}", self.bytes.len());
            return status(
                wire,
                "416 Range Not Satisfiable",
                &[("Content-Range", &range)],
            );
        }
        let body = &self.bytes[from.unwrap_or(0)..];
        match from {
            Some(from) => {
                let total = self.bytes.len();
                write!(
                    wire,
                    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}\r\n",
                    total - 1
                )?;
            }
            None => write!(wire, "HTTP/1.1 200 OK\r\n")?,
        }
        if let Some(etag) = &self.etag {
            write!(wire, "ETag: {etag}\r\n")?;
        }
        for (name, value) in &self.headers {
            write!(wire, "{name}: {value}\r\n")?;
        }
        if self.chunked {
            write!(wire, "Transfer-Encoding: chunked\r\n")?;
        } else {
            write!(
                wire,
                "Content-Length: {}\r\n",
                self.announce.unwrap_or(body.len() as u64)
            )?;
        }
        write!(wire, "Connection: close\r\n\r\n")?;
        let end = self.cut_after.map_or(body.len(), |cut| cut.min(body.len()));
        for chunk in body[..end].chunks(16 << 10) {
            if self.chunked {
                write!(wire, "{:x}\r\n", chunk.len())?;
            }
            wire.write_all(chunk)?;
            if self.chunked {
                write!(wire, "\r\n")?;
            }
        }
        if self.chunked && end == body.len() {
            write!(wire, "0\r\n\r\n")?;
        }
        wire.flush()?;
        if self.hold && end < body.len() {
            std::thread::sleep(Duration::from_secs(600));
        }
        Ok(())
    }
}

//! Request and response: one request, one answer, one stream of its own.
//!
//! ```text
//! caller   frame, then the end of its half of the stream
//! server   frame, then the end of its half of the stream
//! ```
//!
//! A connection serves many calls at once and in no order. What is asked and answered is the [`Service`]'s business.
//!
//! A server that was killed does not say so, and its successor at the same address knows nothing of its connections: a
//! caller that went on with one would wait until it is idle for good. So a call on a connection that stays silent goes out
//! once more over a new one. A server may therefore see a request twice.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::endpoint::{CALL_ALPN, Endpoint, MESH_ALPN, address};
use crate::{EndpointId, FrameError, Mesh, frame};

/// This side serves as many callers as it may.
const BUSY: VarInt = VarInt::from_u32(4);
/// This side is closing, or the caller is done.
const DONE: VarInt = VarInt::from_u32(0);

/// Who answers calls.
pub trait Service: Send + Sync + 'static {
    /// Answers a request of `caller`, whose key TLS has proved. Dropped when the caller is gone or the time is up.
    fn answer(
        &self,
        caller: EndpointId,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>>;
}

/// How much callers may ask of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; further ones are turned away.
    pub connections: usize,
    /// Requests that are answered at once, over all connections; further ones wait.
    pub requests: usize,
    /// The longest request, in bytes.
    pub request: usize,
    /// How long a request may take to arrive, and then to be answered.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            requests: 64,
            request: 4 * 1024 * 1024,
            time: Duration::from_secs(30),
        }
    }
}

/// Accepts connections, for the mesh and for callers, until the endpoint is closed.
pub async fn serve(
    endpoint: Endpoint,
    mesh: Option<Mesh>,
    service: Arc<dyn Service>,
    limits: Limits,
) {
    let connections = Arc::new(Semaphore::new(limits.connections));
    let requests = Arc::new(Semaphore::new(limits.requests));
    // Handshakes are bounded apart, so that strangers who are slow at it do not keep validators out for ever.
    let mut tasks = JoinSet::new();
    while let Some(incoming) = endpoint.inner.accept().await {
        while tasks.try_join_next().is_some() {}
        let Ok(accepting) = incoming.accept() else {
            continue;
        };
        let handshake = endpoint.config.handshake;
        let mesh = mesh.clone();
        let service = service.clone();
        let connections = connections.clone();
        let requests = requests.clone();
        tasks.spawn(async move {
            let Ok(Ok(connection)) = tokio::time::timeout(handshake, accepting).await else {
                return;
            };
            if connection.alpn() == MESH_ALPN {
                match mesh {
                    Some(mesh) => mesh.accepted(connection).await,
                    None => connection.close(DONE, b"no validator here"),
                }
                return;
            }
            match connections.try_acquire_owned() {
                Ok(_permit) => calls(connection, service, requests, limits).await,
                Err(_) => connection.close(BUSY, b"too many callers"),
            }
        });
    }
}

async fn calls(
    connection: Connection,
    service: Arc<dyn Service>,
    requests: Arc<Semaphore>,
    limits: Limits,
) {
    let caller = EndpointId::from_iroh(connection.remote_id());
    let mut tasks = JoinSet::new();
    while let Ok((send, receive)) = connection.accept_bi().await {
        while tasks.try_join_next().is_some() {}
        let service = service.clone();
        let requests = requests.clone();
        tasks.spawn(async move {
            let answered = call(caller, send, receive, service, requests, limits).await;
            if let Err(error) = answered {
                tracing::debug!(%caller, %error, "a call failed");
            }
        });
    }
}

async fn call(
    caller: EndpointId,
    mut send: SendStream,
    mut receive: RecvStream,
    service: Arc<dyn Service>,
    requests: Arc<Semaphore>,
    limits: Limits,
) -> Result<(), String> {
    let late = |_| "took too long".to_owned();
    let request = tokio::time::timeout(limits.time, frame::read(&mut receive, limits.request))
        .await
        .map_err(late)?
        .map_err(|error| error.to_string())?
        .ok_or("no request")?;
    let answering = async {
        let _permit = requests
            .acquire()
            .await
            .map_err(|error| error.to_string())?;
        let answer = service.answer(caller, request).await;
        frame::write(&mut send, answer)
            .await
            .map_err(|error| error.to_string())?;
        send.finish().map_err(|error| error.to_string())
    };
    tokio::time::timeout(limits.time, answering)
        .await
        .map_err(late)?
}

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server was not reached: it is down, elsewhere, or another key's.
    #[error("reach {endpoint}: {source}")]
    Unreachable {
        /// Whom.
        endpoint: EndpointId,
        /// What the transport said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke off, or the server ended the call.
    #[error("call {endpoint}: {reason}")]
    Broken {
        /// Whom.
        endpoint: EndpointId,
        /// What the transport said.
        reason: String,
    },
    /// The answer broke a rule of the streams. The server is at fault.
    #[error("call {endpoint}: {source}")]
    Answer {
        /// Whom.
        endpoint: EndpointId,
        /// Which rule.
        source: FrameError,
    },
    /// No answer in time.
    #[error("call {endpoint}: no answer in {time:?}")]
    Late {
        /// Whom.
        endpoint: EndpointId,
        /// How long was waited.
        time: Duration,
    },
}

/// How long a connection may be silent after a request: the peer's transport acknowledges one long before it is answered.
const SILENCE: Duration = Duration::from_secs(1);
/// Between two looks at what has come.
const LOOK: Duration = Duration::from_millis(50);

/// Calls one server, over one connection that is opened when it is needed.
#[derive(Debug)]
pub struct Caller {
    endpoint: Endpoint,
    server: EndpointId,
    addresses: Vec<SocketAddr>,
    time: Duration,
    connection: Mutex<Option<Connection>>,
}

impl Caller {
    /// Says whom, and how long an answer may take. Dials nobody yet.
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        server: EndpointId,
        addresses: Vec<SocketAddr>,
        time: Duration,
    ) -> Self {
        Self {
            endpoint,
            server,
            addresses,
            time,
            connection: Mutex::new(None),
        }
    }

    /// Whom it calls.
    #[must_use]
    pub fn server(&self) -> EndpointId {
        self.server
    }

    /// One call. The caller's time counts dialling too.
    pub async fn call(&self, request: Bytes, answer_limit: usize) -> Result<Bytes, CallError> {
        tokio::time::timeout(self.time, self.attempt(request, answer_limit))
            .await
            .map_err(|_| CallError::Late {
                endpoint: self.server,
                time: self.time,
            })?
    }

    async fn attempt(&self, request: Bytes, answer_limit: usize) -> Result<Bytes, CallError> {
        let (connection, is_new) = self.connected(None).await?;
        let answer = self.exchange(&connection, request.clone(), answer_limit);
        if is_new {
            return answer.await;
        }
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => return answer,
            () = self.silent(&connection) => {}
        }
        tracing::debug!(server = %self.server, "a connection is silent: opening another one");
        tokio::select! {
            // It lived after all.
            answer = answer => answer,
            another = self.connected(Some(connection.stable_id())) => {
                let (another, _) = another?;
                self.exchange(&another, request, answer_limit).await
            }
        }
    }

    async fn exchange(
        &self,
        connection: &Connection,
        request: Bytes,
        answer_limit: usize,
    ) -> Result<Bytes, CallError> {
        let endpoint = self.server;
        let broken = |reason: String| CallError::Broken { endpoint, reason };
        let (mut send, mut receive) = connection
            .open_bi()
            .await
            .map_err(|e| broken(e.to_string()))?;
        frame::write(&mut send, request)
            .await
            .map_err(|e| broken(e.to_string()))?;
        send.finish().map_err(|e| broken(e.to_string()))?;
        frame::read(&mut receive, answer_limit)
            .await
            .map_err(|source| match source {
                FrameError::Broken(error) => broken(error.to_string()),
                source => CallError::Answer { endpoint, source },
            })?
            .ok_or_else(|| broken("it ended without an answer".to_owned()))
    }

    /// Ready when nothing came on a connection for longer than a living peer would be silent.
    async fn silent(&self, connection: &Connection) {
        let came = || connection.stats().udp_rx.datagrams;
        let (mut seen, mut since) = (came(), Instant::now());
        // What was just sent is acknowledged; later, nothing but the next keep-alive is.
        let mut patience = SILENCE;
        while since.elapsed() < patience {
            tokio::time::sleep(LOOK).await;
            let now = came();
            if now != seen {
                (seen, since) = (now, Instant::now());
                patience = SILENCE + self.endpoint.config.keep_alive();
            }
        }
    }

    /// The connection, and whether it was just opened. One that is `dead` is replaced.
    async fn connected(&self, dead: Option<usize>) -> Result<(Connection, bool), CallError> {
        let mut present = self.connection.lock().await;
        let lives = |one: &&Connection| {
            one.close_reason().is_none() && dead.is_none_or(|dead| one.stable_id() != dead)
        };
        if let Some(connection) = present.as_ref().filter(lives) {
            return Ok((connection.clone(), false));
        }
        let unreachable = |source| CallError::Unreachable {
            endpoint: self.server,
            source,
        };
        let connecting = self
            .endpoint
            .inner
            .connect(address(self.server, &self.addresses), CALL_ALPN);
        let connection = tokio::time::timeout(self.endpoint.config.handshake, connecting)
            .await
            .map_err(|late| unreachable(late.into()))?
            .map_err(|error| unreachable(error.into()))?;
        *present = Some(connection.clone());
        Ok((connection, true))
    }
}

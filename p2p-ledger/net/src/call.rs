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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{Connection, PathId, RecvStream, SendStream, VarInt};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::endpoint::{CALL_ALPN, Endpoint, MESH_ALPN, Way};
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

/// How long a connection may be silent while a request is on its way: a living peer's transport acknowledges what comes long
/// before it is answered. What comes late, of earlier calls, acknowledges nothing of this one.
const SILENCE: Duration = Duration::from_millis(500);
/// Round trips in which an acknowledgement is awaited at least, on connections where they are long.
const SILENT_ROUND_TRIPS: u32 = 4;
/// Between two looks at what has come.
const LOOK: Duration = Duration::from_millis(50);

/// Calls one server, over one connection that is opened when it is needed.
#[derive(Debug)]
pub struct Caller {
    endpoint: Endpoint,
    server: EndpointId,
    way: Arc<Way>,
    time: Duration,
    line: Arc<Mutex<Line>>,
}

impl Caller {
    /// Says whom, and how long an answer may take. Dials nobody yet. Addresses may be missing where the endpoint finds by key
    /// ([`Endpoint::finds_by_key`]).
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        server: EndpointId,
        addresses: Vec<SocketAddr>,
        time: Duration,
    ) -> Self {
        let way = Arc::new(endpoint.way(server, addresses));
        Self {
            endpoint,
            server,
            way,
            time,
            line: Arc::default(),
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
        let (stage, stages) = watch::channel(Stage::Opening);
        let answer = self.exchange(&connection, request.clone(), answer_limit, stage);
        if is_new {
            return answer.await;
        }
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => return answer,
            () = self.silent(&connection, stages) => {}
        }
        tracing::debug!(server = %self.server, "a connection is silent: opening another one");
        tokio::select! {
            // It lived after all.
            answer = answer => answer,
            another = self.connected(Some(connection.stable_id())) => {
                let (another, _) = another?;
                let (stage, _) = watch::channel(Stage::Opening);
                self.exchange(&another, request, answer_limit, stage).await
            }
        }
    }

    /// One request and its answer. Says through `stage` how far it is.
    async fn exchange(
        &self,
        connection: &Connection,
        request: Bytes,
        answer_limit: usize,
        stage: watch::Sender<Stage>,
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
        stage.send_replace(Stage::Sent);
        let mut answer = std::pin::pin!(frame::read(&mut receive, answer_limit));
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = send.stopped() => {
                if let Ok(None) = ended {
                    stage.send_replace(Stage::Acknowledged);
                }
                answer.await
            }
        };
        answer
            .map_err(|source| match source {
                FrameError::Broken(error) => broken(error.to_string()),
                source => CallError::Answer { endpoint, source },
            })?
            .ok_or_else(|| broken("it ended without an answer".to_owned()))
    }

    /// Ready when nothing came on a connection for longer than a living peer would be silent. What was just sent is
    /// acknowledged at once; before and after, nothing but the next keep-alive must come. Looks are counted, not time: where
    /// this process was stopped for a while, what came meanwhile is yet to be read.
    async fn silent(&self, connection: &Connection, stage: watch::Receiver<Stage>) {
        let came = || connection.stats().udp_rx.datagrams;
        let round_trips = connection
            .rtt(PathId::ZERO)
            .map_or(SILENCE, |rtt| rtt * SILENT_ROUND_TRIPS);
        let patience = SILENCE.max(round_trips);
        let (mut seen, mut quiet, mut at) = (came(), Duration::ZERO, *stage.borrow());
        loop {
            tokio::time::sleep(LOOK).await;
            let (now, now_at) = (came(), *stage.borrow());
            if now != seen || now_at != at {
                (seen, at) = (now, now_at);
                quiet = Duration::ZERO;
            }
            quiet += LOOK;
            let patience = match at {
                Stage::Sent => patience,
                Stage::Opening | Stage::Acknowledged => {
                    patience + self.endpoint.config.keep_alive()
                }
            };
            if quiet >= patience {
                return;
            }
        }
    }

    /// The connection, and whether it was just opened. One that is `dead` is replaced.
    ///
    /// Dialling goes on when the call that began it is dropped, and later calls wait for the same: whoever takes the first
    /// answers of several servers would otherwise never reach the slower ones.
    async fn connected(&self, dead: Option<usize>) -> Result<(Connection, bool), CallError> {
        let mut dialled = {
            let mut line = locked(&self.line);
            let lives = |one: &&Connection| {
                one.close_reason().is_none() && dead.is_none_or(|dead| one.stable_id() != dead)
            };
            if let Some(connection) = line.present.as_ref().filter(lives) {
                return Ok((connection.clone(), false));
            }
            // What dialled may have ended with the runtime that it ran on.
            let goes_on = |one: &&Dialled| one.borrow().is_some() || one.has_changed().is_ok();
            match line.dialling.as_ref().filter(goes_on) {
                Some(dialled) => dialled.clone(),
                None => line.dialling.insert(self.dial()).clone(),
            }
        };
        let unreachable = |source| CallError::Unreachable {
            endpoint: self.server,
            source,
        };
        let outcome = dialled
            .wait_for(Option::is_some)
            .await
            .map_err(|ended| unreachable(ended.into()))?;
        match outcome.as_ref().expect("waited for") {
            Ok(connection) => Ok((connection.clone(), true)),
            Err(reason) => Err(unreachable(reason.clone().into())),
        }
    }

    fn dial(&self) -> Dialled {
        let (tell, dialled) = watch::channel(None);
        let endpoint = self.endpoint.clone();
        let way = self.way.clone();
        let line = self.line.clone();
        tokio::spawn(async move {
            let outcome = endpoint.dial(&way, CALL_ALPN).await;
            {
                let mut line = locked(&line);
                line.dialling = None;
                if let Ok(connection) = &outcome {
                    line.present = Some(connection.clone());
                }
            }
            tell.send_replace(Some(outcome));
        });
        dialled
    }
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It waits for a stream, or for room to be sent.
    Opening,
    /// It has left, as far as this side knows.
    Sent,
    /// The peer's transport has all of it.
    Acknowledged,
}

/// The outcome of an attempt to connect, once there is one.
type Dialled = watch::Receiver<Option<Result<Connection, String>>>;

/// The way to a server: the connection there is, and the one that is being opened.
#[derive(Debug, Default)]
struct Line {
    present: Option<Connection>,
    dialling: Option<Dialled>,
}

/// Nothing that holds the lock can panic half way through a change.
fn locked(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Secret};
    use std::net::Ipv4Addr;
    use tokio::time::Instant;

    struct Silent;

    impl Service for Silent {
        fn answer(
            &self,
            _caller: EndpointId,
            _request: Bytes,
        ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>> {
            Box::pin(std::future::pending())
        }
    }

    async fn endpoint(seed: u8) -> Endpoint {
        let config = Config::new((Ipv4Addr::LOCALHOST, 0).into());
        Endpoint::bind(&Secret::derive(&[seed; 32]), config)
            .await
            .expect("a free port")
    }

    /// Whoever needs the first two answers of four drops the other two calls at once, again and again.
    #[tokio::test]
    async fn a_call_that_is_dropped_while_it_dials_opens_the_way_for_the_next() {
        let (server, client) = (endpoint(1).await, endpoint(2).await);
        tokio::spawn(serve(
            server.clone(),
            None,
            Arc::new(Silent),
            Limits::default(),
        ));
        let time = Duration::from_secs(10);
        let caller = Caller::new(client, server.id(), server.sockets(), time);
        let opened = |line: &Line| line.present.is_some();
        let begun = Instant::now();
        while !opened(&locked(&caller.line)) {
            let call = caller.call(Bytes::from_static(b"x"), 10);
            // One poll, which begins to dial at most.
            let dropped = tokio::time::timeout(Duration::ZERO, call).await;
            assert!(dropped.is_err());
            assert!(begun.elapsed() < time, "no call ever came through");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

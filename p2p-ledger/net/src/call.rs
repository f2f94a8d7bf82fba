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
//! once more over a new one. So does one on a connection that the server ends before it has answered: it ends what has been
//! idle for long, or makes room, and knows nothing of what is on its way. A server may therefore see a request twice.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{Connection, IncomingAddr, PathId, RecvStream, SendStream, VarInt};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::door::{Door, Knock, Origin, Place, Seat};
use crate::endpoint::{CALL_ALPN, Endpoint, MESH_ALPN, Way};
use crate::{EndpointId, FrameError, Mesh, frame};

/// This side serves as many callers as it may, or another one needs the room.
const BUSY: VarInt = VarInt::from_u32(4);
/// This side answers others.
const NOT_ALLOWED: VarInt = VarInt::from_u32(1);
/// This side is closing, or the caller is done.
const DONE: VarInt = VarInt::from_u32(0);

/// What comes of a call took too long.
const LATE: VarInt = VarInt::from_u32(5);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its key, which TLS has proved.
    pub id: EndpointId,
    /// Where it comes from. Keys cost nothing, so whoever gives each only so much counts by this.
    pub origin: Origin,
}

/// Who answers calls.
pub trait Service: Send + Sync + 'static {
    /// Whether it answers this caller, whose key TLS has proved. One whom it does not is turned away before a byte of it is read.
    fn admits(&self, _caller: EndpointId) -> bool {
        true
    }

    /// Answers a request of `asker`. Dropped when the asker is gone or the time is up.
    fn answer(
        &self,
        asker: Asker,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>>;
}

/// How much callers may ask of a server. Of connections, requests and handshakes one address has a quarter, this machine's own and a
/// relay's excepted, where all look alike.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. For a further one, the one that has been without a call for longest makes room; if none can, the
    /// further one is turned away.
    pub connections: usize,
    /// Requests that are answered at once, over all connections; further ones wait.
    pub requests: usize,
    /// Handshakes at once, of the mesh too. Half of them are for callers who have shown that they are where they say, and for whom
    /// another one makes room where there is none.
    pub handshakes: usize,
    /// The longest request, in bytes.
    pub request: usize,
    /// How long a request may take to arrive, then to be answered, and then the rest of the answer to arrive.
    pub time: Duration,
    /// How long a connection without a call is kept.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            requests: 64,
            handshakes: 256,
            request: 4 * 1024 * 1024,
            time: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        }
    }
}

/// What all calls of a server share.
struct Server {
    service: Arc<dyn Service>,
    requests: Semaphore,
    limits: Limits,
}

/// Accepts connections, for the mesh and for callers, until the endpoint is closed.
pub async fn serve(
    endpoint: Endpoint,
    mesh: Option<Mesh>,
    service: Arc<dyn Service>,
    limits: Limits,
) {
    let door = Door::new(&limits);
    let server = Arc::new(Server {
        service,
        requests: Semaphore::new(limits.requests),
        limits,
    });
    let mut tasks = JoinSet::new();
    while let Some(incoming) = endpoint.inner.accept().await {
        while tasks.try_join_next().is_some() {}
        let address = incoming.remote_addr();
        // A relay has seen who it is.
        let is_proved =
            incoming.remote_addr_validated() || matches!(address, IncomingAddr::Relay { .. });
        let origin = Origin::of(&address);
        let mut turn = match door.knock(origin, is_proved) {
            Knock::Enter(turn) => turn,
            Knock::Prove => {
                // What cannot be asked to is refused.
                let _ = incoming.retry();
                continue;
            }
        };
        let Ok(accepting) = incoming.accept() else {
            continue;
        };
        let handshake = endpoint.config.handshake;
        let mesh = mesh.clone();
        let door = door.clone();
        let server = server.clone();
        tasks.spawn(async move {
            let accepted = tokio::select! {
                accepted = tokio::time::timeout(handshake, accepting) => accepted,
                // Who meant it tries again.
                () = turn.taken() => return,
            };
            drop(turn);
            let Ok(Ok(connection)) = accepted else {
                return;
            };
            if connection.alpn() == MESH_ALPN {
                match mesh {
                    Some(mesh) => mesh.accepted(connection).await,
                    None => connection.close(DONE, b"no validator here"),
                }
                return;
            }
            let caller = EndpointId::from_iroh(connection.remote_id());
            if !server.service.admits(caller) {
                tracing::debug!(%caller, "turned away: not one of those who are answered");
                connection.close(NOT_ALLOWED, b"others are answered here");
                return;
            }
            match door.enter(origin) {
                Some(place) => {
                    let asker = Asker { id: caller, origin };
                    calls(asker, connection, place, server).await;
                }
                None => connection.close(BUSY, b"too many callers"),
            }
        });
    }
}

async fn calls(asker: Asker, connection: Connection, mut place: Place, server: Arc<Server>) {
    let mut tasks = JoinSet::new();
    let (code, reason) = loop {
        let streams = tokio::select! {
            streams = connection.accept_bi() => streams,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            () = place.taken() => break (BUSY, "another caller needs the room"),
            () = tokio::time::sleep(server.limits.idle), if tasks.is_empty() => {
                break (DONE, "without a call for long");
            }
        };
        let Ok((send, receive)) = streams else {
            return;
        };
        let seat = place.seat().clone();
        seat.stirs();
        let server = server.clone();
        tasks.spawn(async move {
            let answered = call(asker, &seat, &server, send, receive).await;
            if let Err(error) = answered {
                tracing::debug!(caller = %asker.id, %error, "a call failed");
            }
        });
    };
    connection.close(code, reason.as_bytes());
}

async fn call(
    asker: Asker,
    seat: &Seat,
    server: &Server,
    mut send: SendStream,
    mut receive: RecvStream,
) -> Result<(), String> {
    let late = |_| "took too long".to_owned();
    let (time, limit) = (server.limits.time, server.limits.request);
    let request = tokio::time::timeout(time, frame::read(&mut receive, limit))
        .await
        .map_err(late)?
        .map_err(|error| error.to_string())?
        .ok_or("no request")?;
    let answering = async {
        let ended = |error: tokio::sync::AcquireError| error.to_string();
        // In this order: whoever has used up its own part waits in nobody's way.
        let _own = seat.share().acquire().await.map_err(ended)?;
        let _permit = server.requests.acquire().await.map_err(ended)?;
        let _answering = seat.answering();
        let answer = server.service.answer(asker, request).await;
        frame::write(&mut send, answer)
            .await
            .map_err(|error| error.to_string())?;
        send.finish().map_err(|error| error.to_string())
    };
    let answered = tokio::time::timeout(time, answering).await;
    let mut arrived = answered.map_err(late).flatten();
    // What is not acknowledged is kept, and with it whatever the service holds for it: no longer than this, whoever reads slowly.
    if arrived.is_ok() {
        let acknowledged = tokio::time::timeout(time, send.stopped()).await;
        arrived = match acknowledged.map_err(late) {
            Ok(Ok(None)) => Ok(()),
            Ok(_) => Err("nobody wants the answer any more".to_owned()),
            Err(late) => Err(late),
        };
    }
    if arrived.is_err() {
        // Dropping it would have it sent to its end.
        let _ = send.reset(LATE);
    }
    arrived
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
            answer = &mut answer => return match answer {
                Err(CallError::Broken { .. }) if connection.close_reason().is_some() => {
                    self.once_more(&connection, request, answer_limit).await
                }
                answer => answer,
            },
            () = self.silent(&connection, stages) => {}
        }
        tracing::debug!(server = %self.server, "a connection is silent: opening another one");
        tokio::select! {
            // It lived after all.
            answer = answer => answer,
            answer = self.once_more(&connection, request, answer_limit) => answer,
        }
    }

    /// The same request over another connection than one that is given up.
    async fn once_more(
        &self,
        dead: &Connection,
        request: Bytes,
        answer_limit: usize,
    ) -> Result<Bytes, CallError> {
        let (connection, _) = self.connected(Some(dead.stable_id())).await?;
        let (stage, _) = watch::channel(Stage::Opening);
        self.exchange(&connection, request, answer_limit, stage)
            .await
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
        // Why a connection was lost says more than that it was.
        let broken = |reason: String| CallError::Broken {
            endpoint,
            reason: connection
                .close_reason()
                .map_or(reason, |why| why.to_string()),
        };
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
            _asker: Asker,
            _request: Bytes,
        ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>> {
            Box::pin(std::future::pending())
        }
    }

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

    /// Answers with more than a caller takes unread, and knows how many such answers are held.
    struct Much(Arc<()>);

    struct Held(Vec<u8>, #[expect(dead_code, reason = "is counted")] Arc<()>);

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Service for Much {
        fn answer(
            &self,
            _asker: Asker,
            _request: Bytes,
        ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>> {
            let answer = Held(vec![1; 4 * 1024 * 1024], self.0.clone());
            Box::pin(std::future::ready(Bytes::from_owner(answer)))
        }
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_not_held_for_as_long_as_its_connection_lives() {
        let (server, client) = (endpoint(5).await, endpoint(6).await);
        let limits = Limits {
            time: Duration::from_secs(1),
            ..Limits::default()
        };
        let held = Arc::new(());
        let service = Arc::new(Much(held.clone()));
        tokio::spawn(serve(server.clone(), None, service, limits));
        let way = client.way(server.id(), server.sockets());
        let connection = client.dial(&way, CALL_ALPN).await.expect("it is there");
        let (mut send, _receive) = connection.open_bi().await.expect("a stream");
        frame::write(&mut send, Bytes::from_static(b"x"))
            .await
            .expect("written");
        send.finish().expect("it is open");
        let begun = Instant::now();
        // This test, the service and the answer; and then without the answer.
        for count in [3, 2] {
            while Arc::strong_count(&held) != count {
                assert!(begun.elapsed() < Duration::from_secs(30), "it stays");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        assert!(connection.close_reason().is_none());
    }

    #[tokio::test]
    async fn a_connection_without_a_call_is_ended_and_the_next_call_opens_another() {
        let (server, client) = (endpoint(3).await, endpoint(4).await);
        let limits = Limits {
            idle: Duration::from_millis(200),
            ..Limits::default()
        };
        tokio::spawn(serve(server.clone(), None, Arc::new(Echo), limits));
        let time = Duration::from_secs(20);
        let caller = Caller::new(client, server.id(), server.sockets(), time);
        for _ in 0..2 {
            let answer = caller.call(Bytes::from_static(b"x"), 10).await;
            assert_eq!(answer.expect("an answer").as_ref(), b"x");
            let present = locked(&caller.line).present.clone();
            let present = present.expect("it called");
            tokio::time::timeout(time, present.closed())
                .await
                .expect("nobody ends it");
        }
    }
}

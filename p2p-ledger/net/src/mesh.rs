//! One connection for each pair of validators, one stream on it for each channel and direction.
//!
//! ```text
//! stream   channel (1 byte), then frames (`frame`)
//! ```
//!
//! A channel has its own stream, so that a large block never stands before a vote; the stream's priority says which of two
//! waiting messages leaves first. Whatever breaks a rule of a stream (an unknown channel, a channel twice, a message that is
//! too long) ends the connection, and the peer dials again.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use commonware_actor::{Feedback, Unreliable};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{BlockedSubscription, Blocker, Recipients};
use commonware_utils::channel::ring;
use commonware_utils::ordered::Set;
use iroh::endpoint::{Connection, RecvStream, VarInt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::connections::{ConnectionId, Connections, Lane, Messages, Put, Queue};
use crate::endpoint::{Endpoint, MESH_ALPN, Peer};
use crate::{ChannelReceiver, ChannelSender, EndpointId, FrameError, MAX_FRAME, frame};

/// The peer is not on the list, or is blocked.
const NOT_ALLOWED: VarInt = VarInt::from_u32(1);
/// This side has a newer connection, or has taken the peer from its list.
const REPLACED: VarInt = VarInt::from_u32(2);
/// The peer broke a rule of the streams.
const BROKEN_RULE: VarInt = VarInt::from_u32(3);

/// The wait before a peer is dialled again grows from the first to the second.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LAST_WAIT: Duration = Duration::from_secs(5);
/// How long the higher key waits for the lower one to dial.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits the first time.
const FIRST_PATIENCE: Duration = Duration::from_millis(250);
/// A connection that lasted this long was a good one: the next wait is the first again.
const GOOD: Duration = Duration::from_secs(5);

/// One channel of a mesh.
#[derive(Clone, Copy, Debug)]
pub struct ChannelConfig {
    /// The longest message, in bytes; at most [`MAX_FRAME`].
    pub limit: usize,
    /// Which of two waiting messages leaves first: the higher.
    pub priority: i32,
    /// How many messages wait for one peer, and how many of all peers wait to be read.
    pub queue: NonZeroUsize,
}

/// The validators' network, as one of them sees it. Clones are the same mesh.
#[derive(Clone, Debug)]
pub struct Mesh(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    /// How long each message is held before it leaves. Nothing but a bench sets it.
    delay: Duration,
    channels: Vec<ChannelConfig>,
    inbound: Vec<mpsc::Sender<(PublicKey, Bytes)>>,
    connections: Mutex<Connections>,
    peers: Mutex<BTreeMap<PublicKey, Listed>>,
    subscribers: Mutex<Vec<ring::Sender<Set<PublicKey>>>>,
    counts: Counts,
}

#[derive(Debug)]
struct Listed {
    peer: Peer,
    dialer: AbortHandle,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    dropped_full: AtomicU64,
    dropped_offline: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
    refused: AtomicU64,
}

/// What has passed through a mesh since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Peers with a connection now.
    pub connected: usize,
    /// Messages put into a queue.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Messages dropped because the peer's queue was full.
    pub dropped_full: u64,
    /// Messages dropped because the peer was offline.
    pub dropped_offline: u64,
    /// Messages handed to a receiver.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Connections turned away because the peer is not on the list.
    pub refused: u64,
}

impl Mesh {
    /// Makes a mesh without peers, and the two halves of each channel, in order. A message is held for `delay` before it
    /// leaves, which is how a bench stands for distance; a network sets zero.
    ///
    /// # Panics
    ///
    /// If there are more than 32 channels, which is how many streams a connection has, or one's limit is beyond
    /// [`MAX_FRAME`].
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        channels: &[ChannelConfig],
        delay: Duration,
    ) -> (Self, Vec<(ChannelSender, ChannelReceiver)>) {
        assert!(channels.len() <= 32, "a stream for each channel");
        assert!(channels.iter().all(|channel| channel.limit <= MAX_FRAME));
        let (inbound, receivers): (Vec<_>, Vec<_>) = channels
            .iter()
            .map(|channel| {
                let (sender, messages) = mpsc::channel(channel.queue.get());
                (sender, ChannelReceiver::new(messages, channel.queue))
            })
            .unzip();
        let mesh = Self(Arc::new(Inner {
            endpoint,
            delay,
            channels: channels.to_vec(),
            inbound,
            connections: Mutex::default(),
            peers: Mutex::default(),
            subscribers: Mutex::default(),
            counts: Counts::default(),
        }));
        let halves = receivers
            .into_iter()
            .enumerate()
            .map(|(queue, receiver)| {
                let limit = channels[queue].limit;
                (ChannelSender::new(mesh.clone(), queue, limit), receiver)
            })
            .collect();
        (mesh, halves)
    }

    /// Replaces the list of peers. Those who left it are cut off, those who came are dialled or awaited, those who stayed
    /// notice nothing. This node itself is passed over. Needs a tokio runtime.
    pub fn set_peers(&self, peers: impl IntoIterator<Item = Peer>) {
        let me = self.0.endpoint.id();
        let wanted: BTreeMap<PublicKey, Peer> = peers
            .into_iter()
            .filter(|peer| peer.endpoint() != me)
            .map(|peer| (peer.key.clone(), peer))
            .collect();
        let mut listed = locked(&self.0.peers);
        listed.retain(|key, present| {
            let stays = wanted.get(key) == Some(&present.peer);
            if !stays {
                present.dialer.abort();
                locked(&self.0.connections).cut(key);
            }
            stays
        });
        for (key, peer) in wanted {
            listed.entry(key).or_insert_with(|| {
                let dialer = tokio::spawn(self.clone().dial(peer.clone())).abort_handle();
                Listed { peer, dialer }
            });
        }
    }

    /// The peers that have a connection now.
    #[must_use]
    pub fn connected(&self) -> Vec<PublicKey> {
        locked(&self.0.connections).peers().cloned().collect()
    }

    /// How consensus turns a peer off that provably misbehaved. It stays off until this process ends.
    #[must_use]
    pub fn blocker(&self) -> MeshBlocker {
        MeshBlocker(self.clone())
    }

    /// The counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counts = &self.0.counts;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            connected: locked(&self.0.connections).peers().count(),
            sent: of(&counts.sent),
            sent_bytes: of(&counts.sent_bytes),
            dropped_full: of(&counts.dropped_full),
            dropped_offline: of(&counts.dropped_offline),
            received: of(&counts.received),
            received_bytes: of(&counts.received_bytes),
            refused: of(&counts.refused),
        }
    }

    /// Ends every connection and stops dialling.
    pub fn close(&self) {
        self.set_peers([]);
    }

    pub(crate) fn put(
        &self,
        recipients: Recipients<PublicKey>,
        queue: usize,
        message: &Bytes,
    ) -> Unreliable<Feedback> {
        let connections = locked(&self.0.connections);
        let recipients = match recipients {
            Recipients::All => connections.peers().cloned().collect(),
            Recipients::Some(peers) => peers,
            Recipients::One(peer) => vec![peer],
        };
        let counts = &self.0.counts;
        let mut all_queued = true;
        for peer in recipients {
            let count = match connections.put(&peer, queue, message.clone()) {
                Put::Queued => {
                    counts
                        .sent_bytes
                        .fetch_add(message.len() as u64, Ordering::Relaxed);
                    &counts.sent
                }
                Put::Full => {
                    all_queued = false;
                    &counts.dropped_full
                }
                Put::Offline => &counts.dropped_offline,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
        if all_queued {
            Unreliable::Outcome(Feedback::Ok)
        } else {
            Unreliable::Outcome(Feedback::Backoff)
        }
    }

    /// Takes a connection that was accepted, and serves it until it ends.
    pub(crate) async fn accepted(&self, connection: Connection) {
        let id = EndpointId::from_iroh(connection.remote_id());
        let peer = locked(&self.0.peers)
            .keys()
            .find(|key| EndpointId::of_validator(key) == id)
            .cloned();
        match peer {
            // If both dialled as they like, each would replace the other's connection for ever. But whoever dials though
            // there has been a connection for long does not have it any more: it was started again.
            Some(peer) if id > self.0.endpoint.id() && self.is_new(&peer) => {
                connection.close(REPLACED, b"connected already");
            }
            Some(peer) => self.run(&peer, connection).await,
            None => {
                self.0.counts.refused.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(endpoint = %id, "turned away: not a peer");
                connection.close(NOT_ALLOWED, b"not a peer");
            }
        }
    }

    fn is_connected(&self, peer: &PublicKey) -> bool {
        locked(&self.0.connections).peers().any(|one| one == peer)
    }

    /// Whether a peer has a connection that came about just now.
    fn is_new(&self, peer: &PublicKey) -> bool {
        locked(&self.0.connections)
            .since(peer)
            .is_some_and(|since| since.elapsed() < PATIENCE)
    }

    async fn dial(self, peer: Peer) {
        let endpoint = &self.0.endpoint;
        let way = endpoint.way(peer.endpoint(), peer.addresses.clone());
        let mut wait = FIRST_WAIT;
        let lower = self.0.endpoint.id() < peer.endpoint();
        // When it is started, the higher key dials soon, as the peer may hold a connection that died with the process before
        // this one; but not at once, as both may be started together, and of two connections one is dropped.
        let mut patience = FIRST_PATIENCE;
        loop {
            if !lower {
                tokio::time::sleep(patience).await;
                patience = PATIENCE;
            }
            if !endpoint.can_dial(&way) || self.is_connected(&peer.key) {
                tokio::time::sleep(PATIENCE).await;
                continue;
            }
            match endpoint.dial(&way, MESH_ALPN).await {
                Ok(connection) => {
                    let begun = Instant::now();
                    self.run(&peer.key, connection).await;
                    if begun.elapsed() >= GOOD {
                        wait = FIRST_WAIT;
                    }
                }
                Err(error) => tracing::trace!(peer = %peer.key, error, "not reached"),
            }
            tokio::time::sleep(wait).await;
            wait = LAST_WAIT.min(wait + wait / 2);
        }
    }

    /// Serves one connection until it ends, on whichever side.
    async fn run(&self, peer: &PublicKey, connection: Connection) {
        let id = ConnectionId(connection.stable_id());
        let (hold, held) = oneshot::channel();
        let (queues, outbound): (Vec<_>, Vec<_>) = self
            .0
            .channels
            .iter()
            .map(|channel| Queue::new(channel.queue))
            .unzip();
        let lane = Lane {
            id,
            since: Instant::now(),
            queues,
            _hold: hold,
        };
        match locked(&self.0.connections).insert(peer, lane) {
            Ok(_replaced) => {}
            Err(_) => {
                connection.close(NOT_ALLOWED, b"blocked");
                return;
            }
        }
        tracing::debug!(%peer, "connected");
        let mut tasks = JoinSet::new();
        for (channel, messages) in outbound.into_iter().enumerate() {
            tasks.spawn(self.clone().write(channel, connection.clone(), messages));
        }
        tasks.spawn(self.clone().read_all(peer.clone(), connection.clone()));
        let reason = tokio::select! {
            reason = connection.closed() => reason.to_string(),
            _ = held => {
                connection.close(REPLACED, b"replaced or no longer a peer");
                "replaced or no longer a peer".to_owned()
            }
            ended = tasks.join_next() => {
                let reason = match ended {
                    Some(Ok(Err(reason))) => reason,
                    _ => "a stream ended".to_owned(),
                };
                connection.close(BROKEN_RULE, reason.as_bytes());
                reason
            }
        };
        if locked(&self.0.connections).remove(peer, id) {
            tracing::debug!(%peer, reason, "disconnected");
        }
    }

    async fn write(
        self,
        channel: usize,
        connection: Connection,
        mut messages: Messages,
    ) -> Result<(), String> {
        let number = u8::try_from(channel).expect("at most 32 channels");
        let broken = |error: &dyn std::fmt::Display| format!("channel {number}: {error}");
        let mut stream = connection.open_uni().await.map_err(|e| broken(&e))?;
        stream
            .set_priority(self.0.channels[channel].priority)
            .map_err(|e| broken(&e))?;
        stream.write_all(&[number]).await.map_err(|e| broken(&e))?;
        while let Some((put, message)) = messages.recv().await {
            if !self.0.delay.is_zero() {
                tokio::time::sleep_until(put + self.0.delay).await;
            }
            frame::write(&mut stream, message)
                .await
                .map_err(|e| broken(&e))?;
        }
        Ok(())
    }

    /// Accepts the peer's streams and reads each.
    async fn read_all(self, peer: PublicKey, connection: Connection) -> Result<(), String> {
        let mut opened = Opened::new(self.0.channels.len());
        let mut readers = JoinSet::new();
        loop {
            tokio::select! {
                stream = connection.accept_uni() => {
                    let mut stream = stream.map_err(|error| error.to_string())?;
                    let mut number = [0];
                    stream
                        .read_exact(&mut number)
                        .await
                        .map_err(|error| error.to_string())?;
                    let channel = opened.open(number[0])?;
                    readers.spawn(self.clone().read(channel, peer.clone(), stream));
                }
                Some(ended) = readers.join_next(), if !readers.is_empty() => match ended {
                    Ok(Err(error)) => return Err(error.to_string()),
                    _ => return Err("a channel ended".to_owned()),
                },
            }
        }
    }

    async fn read(
        self,
        channel: usize,
        peer: PublicKey,
        mut stream: RecvStream,
    ) -> Result<(), FrameError> {
        let counts = &self.0.counts;
        while let Some(message) = frame::read(&mut stream, self.0.channels[channel].limit).await? {
            let length = message.len() as u64;
            // Waiting here is what slows a peer down that sends more than is read.
            if self.0.inbound[channel]
                .send((peer.clone(), message))
                .await
                .is_err()
            {
                break;
            }
            counts.received.fetch_add(1, Ordering::Relaxed);
            counts.received_bytes.fetch_add(length, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The channels of a connection for which the peer has opened a stream.
pub(crate) struct Opened(Vec<bool>);

impl Opened {
    pub(crate) fn new(channels: usize) -> Self {
        Self(vec![false; channels])
    }

    /// The channel that the first byte of a stream names, or the rule that this breaks.
    pub(crate) fn open(&mut self, number: u8) -> Result<usize, String> {
        let channel = usize::from(number);
        match self.0.get_mut(channel) {
            None => Err(format!("channel {channel} does not exist")),
            Some(true) => Err(format!("channel {channel} twice")),
            Some(opened) => {
                *opened = true;
                Ok(channel)
            }
        }
    }
}

/// Turns peers off.
#[derive(Clone, Debug)]
pub struct MeshBlocker(Mesh);

impl MeshBlocker {
    fn set(&self) -> Set<PublicKey> {
        let connections = locked(&self.0.0.connections);
        Set::from_iter_dedup(connections.blocked().cloned())
    }
}

impl Blocker for MeshBlocker {
    type PublicKey = PublicKey;

    fn block(&mut self, peer: PublicKey) -> Feedback {
        tracing::warn!(%peer, "blocked for provable misbehaviour");
        locked(&self.0.0.connections).block(&peer);
        let set = self.set();
        locked(&self.0.0.subscribers).retain(|subscriber| subscriber.send_lossy(set.clone()));
        Feedback::Ok
    }

    fn blocked(&mut self) -> BlockedSubscription<PublicKey> {
        let (sender, receiver) = ring::channel(NonZeroUsize::MIN);
        sender.send_lossy(self.set());
        locked(&self.0.0.subscribers).push(sender);
        receiver
    }
}

/// Nothing that holds one of these locks can panic half way through a change, so a poisoned one is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

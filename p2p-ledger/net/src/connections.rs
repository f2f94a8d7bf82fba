//! Which connection is a peer's, and the queues that lead to it.
//!
//! Invariant: a peer has at most one connection here. A newer one replaces an older one, and the end of a connection
//! removes the peer's entry only if the entry is that connection's.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use bytes::Bytes;
use commonware_cryptography::ed25519::PublicKey;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A connection's own number, unique in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId(pub(crate) usize);

/// A queue that notes when a message was put in.
#[derive(Debug)]
pub(crate) struct Queue(mpsc::Sender<(Instant, Bytes)>);

/// The other end of a [`Queue`]: each message with the moment it was put in.
pub(crate) type Messages = mpsc::Receiver<(Instant, Bytes)>;

impl Queue {
    pub(crate) fn new(length: NonZeroUsize) -> (Self, Messages) {
        let (sender, messages) = mpsc::channel(length.get());
        (Self(sender), messages)
    }

    pub(crate) fn put(&self, message: Bytes) -> Put {
        match self.0.try_send((Instant::now(), message)) {
            Ok(()) => Put::Queued,
            Err(mpsc::error::TrySendError::Full(_)) => Put::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Put::Offline,
        }
    }
}

/// The queues of one connection, one for each channel of the mesh, in order.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: ConnectionId,
    pub(crate) since: Instant,
    pub(crate) queues: Vec<Queue>,
    /// Dropping it ends the connection.
    pub(crate) _hold: tokio::sync::oneshot::Sender<()>,
}

/// What happened to a message that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Queued,
    /// The queue is full.
    Full,
    /// No connection.
    Offline,
}

#[derive(Debug, Default)]
pub(crate) struct Connections {
    lanes: BTreeMap<PublicKey, Lane>,
    blocked: BTreeSet<PublicKey>,
}

impl Connections {
    /// Takes a new connection in, and hands out the one it replaces. A blocked peer's is refused and handed back.
    pub(crate) fn insert(&mut self, peer: &PublicKey, lane: Lane) -> Result<Option<Lane>, Lane> {
        if self.blocked.contains(peer) {
            return Err(lane);
        }
        Ok(self.lanes.insert(peer.clone(), lane))
    }

    /// Forgets a connection that ended; true if it was the peer's present one.
    pub(crate) fn remove(&mut self, peer: &PublicKey, id: ConnectionId) -> bool {
        let present = self.lanes.get(peer).is_some_and(|lane| lane.id == id);
        if present {
            self.lanes.remove(peer);
        }
        present
    }

    /// Ends the connection of a peer, whichever it is.
    pub(crate) fn cut(&mut self, peer: &PublicKey) -> bool {
        self.lanes.remove(peer).is_some()
    }

    /// Ends a peer's connection and refuses the next ones.
    pub(crate) fn block(&mut self, peer: &PublicKey) {
        self.blocked.insert(peer.clone());
        self.lanes.remove(peer);
    }

    pub(crate) fn blocked(&self) -> impl Iterator<Item = &PublicKey> {
        self.blocked.iter()
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &PublicKey> {
        self.lanes.keys()
    }

    /// Since when a peer's connection is here.
    pub(crate) fn since(&self, peer: &PublicKey) -> Option<Instant> {
        self.lanes.get(peer).map(|lane| lane.since)
    }

    pub(crate) fn put(&self, peer: &PublicKey, queue: usize, message: Bytes) -> Put {
        match self.lanes.get(peer) {
            None => Put::Offline,
            Some(lane) => lane.queues[queue].put(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use commonware_cryptography::Signer as _;
    use commonware_cryptography::ed25519::PrivateKey;

    fn peer(n: u64) -> PublicKey {
        PrivateKey::from_seed(n).public_key()
    }

    fn lane(id: usize) -> (Lane, Messages, tokio::sync::oneshot::Receiver<()>) {
        let (queue, messages) = Queue::new(NonZeroUsize::MIN);
        let (hold, held) = tokio::sync::oneshot::channel();
        let lane = Lane {
            id: ConnectionId(id),
            since: Instant::now(),
            queues: vec![queue],
            _hold: hold,
        };
        (lane, messages, held)
    }

    #[test]
    fn the_late_end_of_an_old_connection_leaves_the_new_one() {
        let mut connections = Connections::default();
        let (old, _old_messages, mut old_held) = lane(1);
        let (new, mut messages, mut new_held) = lane(2);
        connections.insert(&peer(1), old).unwrap();
        drop(connections.insert(&peer(1), new).unwrap());
        assert!(old_held.try_recv().is_err(), "the old one is let go");
        assert!(!connections.remove(&peer(1), ConnectionId(1)));
        assert_eq!(
            connections.put(&peer(1), 0, Bytes::from_static(b"x")),
            Put::Queued
        );
        assert_eq!(messages.try_recv().unwrap().1, Bytes::from_static(b"x"));
        assert_eq!(
            new_held.try_recv(),
            Err(tokio::sync::oneshot::error::TryRecvError::Empty)
        );
        assert!(connections.remove(&peer(1), ConnectionId(2)));
        assert_eq!(connections.put(&peer(1), 0, Bytes::new()), Put::Offline);
    }

    #[test]
    fn a_full_queue_says_so_and_holds_no_more() {
        let mut connections = Connections::default();
        let (first, _messages, _held) = lane(1);
        connections.insert(&peer(1), first).unwrap();
        assert_eq!(connections.put(&peer(1), 0, Bytes::new()), Put::Queued);
        assert_eq!(connections.put(&peer(1), 0, Bytes::new()), Put::Full);
    }

    #[test]
    fn a_blocked_peer_is_cut_off_and_does_not_return() {
        let mut connections = Connections::default();
        let (first, _messages, mut held) = lane(1);
        connections.insert(&peer(1), first).unwrap();
        connections.block(&peer(1));
        assert!(held.try_recv().is_err());
        let (second, _messages, _held) = lane(2);
        assert!(connections.insert(&peer(1), second).is_err());
        assert_eq!(connections.blocked().collect::<Vec<_>>(), [&peer(1)]);
        assert_eq!(connections.peers().count(), 0);
    }
}

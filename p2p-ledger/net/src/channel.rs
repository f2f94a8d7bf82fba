//! commonware's p2p traits over a [`Mesh`].
//!
//! A message to an offline peer, or to one whose queue is full, is dropped, as those traits have it. There is no rate
//! limit towards a peer: its queue is the limit.

use std::num::NonZeroUsize;

use bytes::Bytes;
use commonware_actor::{Feedback, Unreliable};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{
    CheckedSender, LimitedSender, Message, Receiver, Recipients, UnlimitedSender,
};
use commonware_runtime::{IoBuf, IoBufs};
use std::time::SystemTime;
use tokio::sync::mpsc;

use crate::mesh::Mesh;

/// The sending half of a channel.
#[derive(Clone, Debug)]
pub struct ChannelSender {
    mesh: Mesh,
    queue: usize,
    limit: usize,
}

impl ChannelSender {
    pub(crate) fn new(mesh: Mesh, queue: usize, limit: usize) -> Self {
        Self { mesh, queue, limit }
    }
}

impl UnlimitedSender for ChannelSender {
    type PublicKey = PublicKey;

    fn send(
        &mut self,
        recipients: Recipients<PublicKey>,
        message: impl Into<IoBufs> + Send,
        _priority: bool,
    ) -> Unreliable<Feedback> {
        let message: Bytes = message.into().coalesce().into();
        assert!(
            message.len() <= self.limit,
            "a message of {} bytes on a channel of {}",
            message.len(),
            self.limit
        );
        self.mesh.put(recipients, self.queue, &message)
    }
}

impl LimitedSender for ChannelSender {
    type PublicKey = PublicKey;
    type Checked<'a> = Checked<'a>;

    fn check(&mut self, recipients: Recipients<PublicKey>) -> Result<Checked<'_>, SystemTime> {
        let recipients = match recipients {
            Recipients::All => Recipients::Some(self.mesh.connected()),
            named => named,
        };
        Ok(Checked {
            sender: self,
            recipients,
        })
    }
}

/// A sender and whom it sends to.
#[derive(Debug)]
pub struct Checked<'a> {
    sender: &'a mut ChannelSender,
    recipients: Recipients<PublicKey>,
}

impl CheckedSender for Checked<'_> {
    type PublicKey = PublicKey;

    fn recipients(&self) -> Vec<PublicKey> {
        match &self.recipients {
            Recipients::All => Vec::new(),
            Recipients::Some(peers) => peers.clone(),
            Recipients::One(peer) => vec![peer.clone()],
        }
    }

    fn send(self, message: impl Into<IoBufs> + Send, priority: bool) -> Unreliable<Feedback> {
        UnlimitedSender::send(self.sender, self.recipients, message, priority)
    }
}

/// The receiving half of a channel.
#[derive(Debug)]
pub struct ChannelReceiver {
    messages: mpsc::Receiver<(PublicKey, Bytes)>,
    capacity: NonZeroUsize,
}

impl ChannelReceiver {
    pub(crate) fn new(
        messages: mpsc::Receiver<(PublicKey, Bytes)>,
        capacity: NonZeroUsize,
    ) -> Self {
        Self { messages, capacity }
    }
}

/// The mesh is gone.
#[derive(Debug, thiserror::Error)]
#[error("the mesh is closed")]
pub struct ReceiveError;

impl Receiver for ChannelReceiver {
    type Error = ReceiveError;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, ReceiveError> {
        let (peer, message) = self.messages.recv().await.ok_or(ReceiveError)?;
        Ok((peer, IoBuf::from(message)))
    }

    fn capacity(&self) -> NonZeroUsize {
        self.capacity
    }
}

//! What a consensus engine asks of a node, and what a node needs of one: the joint between the two.
//!
//! The engine orders digests. It never sees a block: [`Request`]s ask for a digest to propose, for a verdict on one, and
//! for its block to be sent to others; they report what became final. [`Consensus`] starts one engine for one epoch. The
//! one implementation is `simplex`; nothing else in this crate names it.

use commonware_cryptography::ed25519::PublicKey;
use commonware_runtime::Handle;
use tally_ledger::{BlockDigest, Epoch};
use tokio::sync::{mpsc, oneshot};

/// Counts an engine's attempts, each with a leader of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct View(pub(crate) u64);

/// Where a block would stand.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) epoch: Epoch,
    pub(crate) parent: BlockDigest,
}

/// To whom a block goes.
#[derive(Clone, Debug)]
pub(crate) enum Audience {
    All,
    Some(Vec<PublicKey>),
}

/// What an engine asks, and what it tells.
#[derive(Debug)]
pub(crate) enum Request {
    /// This node leads: which block? Whoever answers has made the block durable. Without an answer the slot passes.
    Propose { slot: Slot, answer: Proposed },
    /// May this block stand there? The answer is the same on every honest node; where it cannot be known yet, it waits.
    /// Whoever says yes has made the block durable.
    Verify {
        slot: Slot,
        block: BlockDigest,
        answer: oneshot::Sender<bool>,
    },
    /// Others need this block.
    Broadcast {
        block: BlockDigest,
        audience: Audience,
    },
    /// A quorum has committed to this block and, with it, to all before it.
    Finalized(Finalized),
    /// A validator signed what excludes each other.
    Fault(Fault),
}

/// Where the digest of a proposed block goes. Dropped: this node proposes nothing in that slot.
pub(crate) struct Proposed(Box<dyn FnOnce(BlockDigest) + Send + Sync>);

impl Proposed {
    pub(crate) fn new(hand_over: impl FnOnce(BlockDigest) + Send + Sync + 'static) -> Self {
        Self(Box::new(hand_over))
    }

    pub(crate) fn answer(self, block: BlockDigest) {
        (self.0)(block);
    }
}

impl std::fmt::Debug for Proposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proposed")
    }
}

/// The proof that a block is final: the certificate as `tally_ledger` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finalized {
    pub(crate) block: BlockDigest,
    pub(crate) certificate: Vec<u8>,
}

/// Evidence against a validator, as the engine encodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Who signed both.
    pub(crate) validator: PublicKey,
    /// In which epoch.
    pub(crate) epoch: Epoch,
    /// In which view.
    pub(crate) view: View,
    /// What excludes each other.
    pub(crate) kind: FaultKind,
    /// Both signed messages, as commonware encodes them.
    pub(crate) evidence: Vec<u8>,
}

/// What a validator signed that excludes each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// Two blocks for one view.
    TwoProposals,
    /// Two blocks as final in one view.
    TwoFinal,
    /// A view as empty and its block as final.
    EmptyAndFinal,
}

/// The way from an engine to its node. It never blocks an engine; what it holds is bounded by what an engine has open at
/// once, which is a handful of views.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox(mpsc::UnboundedSender<Request>);

impl Mailbox {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Request>) {
        let (sender, requests) = mpsc::unbounded_channel();
        (Self(sender), requests)
    }

    /// Hands a request over; false when the node is gone.
    pub(crate) fn put(&self, request: Request) -> bool {
        self.0.send(request).is_ok()
    }
}

/// One epoch: who votes, and on top of which block it begins.
#[derive(Clone, Debug)]
pub(crate) struct EpochStart {
    pub(crate) epoch: Epoch,
    pub(crate) validators: Vec<PublicKey>,
    pub(crate) root: BlockDigest,
}

/// Starts engines.
pub(crate) trait Consensus<E>: Send + 'static {
    /// Starts the engine of an epoch. It stops when the handle is aborted, or with `context`.
    fn start(
        &mut self,
        context: E,
        start: EpochStart,
        mailbox: Mailbox,
    ) -> impl Future<Output = Handle<()>> + Send;
}

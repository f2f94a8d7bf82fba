//! A node's loop. It alone owns what the node knows, so nothing here is shared or locked.
//!
//! ```text
//! engine ── propose, verify, broadcast, final, fault ──▶ ┌───────┐ ◀── blocks, history, transactions ── peers
//!                                                        │ actor │
//! handle ── submit, status, prove, … ──────────────────▶ └───────┘ ──▶ disk
//! ```
//!
//! After each event the loop takes one [`step`](Actor::step): whatever can be answered now is answered, the rest waits for
//! the next event or moment.
//!
//! The engine is heard before all others. Of those, each is heard once before any of them again ([`round`]), and what takes long
//! happens beside the loop: to check what was passed on, and to read blocks for whoever wants them. So nobody who asks without
//! end keeps votes, or others' questions, waiting.
//!
//! Rules:
//! * A slot may hold its parent again. So an idle chain does not grow, and the last block of an epoch is repeated until it is
//!   final, which ends the epoch's engine.
//! * A block is judged once its parent's state is known and its time is not in the future; then it is on the disk; then this
//!   node votes. A block that cannot follow is refused for good; anything else waits.
//! * Blocks become final in order, each on the state of the one before it.
//! * The log after a final block is cosigned if the block's time is in another second than its parent's, or if no other block
//!   has become final for a second. So validators come to the same trees without asking each other.

mod answers;
mod arrivals;
mod entropy;
mod history;
mod ready;
mod resume;
mod round;
mod shares;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{Receiver, Recipients, Sender};
use commonware_runtime::{Error, Handle};
use tally_ledger::{
    BlockDigest, Certificate, Epoch, EpochEnd, Evidence, Genesis, Height, ValidatorSet,
};
use tally_log::{Hash, SignedCheckpoint, UnixSeconds};
use tally_receipt::{Digest, SigningKey, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};

use crate::Runtime;
use crate::bodies::Bodies;
use crate::chain::{Candidate, Chain, Final};
use crate::checkpoints::{Checkpoints, Taken};
use crate::checks::Checks;
use crate::consensus::{
    Audience, Consensus, EpochStart, Finalized, Mailbox, Proposed, Request, Slot,
};
use crate::metrics::Metrics;
use crate::pool::{self, Pool};
use crate::proofs::{Log, Wanted};
use crate::snapshots::Snapshots;
use crate::store::{Blocks, Partitions, PoolFile, StoreError};
use crate::wire::{self, BlockMessage, HistoryMessage, Outline, Refused, Transactions};
pub(crate) use answers::Command;
use ready::Ready;
use round::{Round, Source};

/// Times and limits of a node. Every validator may have its own.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The shortest time between a block and the next.
    pub block: Duration,
    /// How long a leader without transactions waits for some before it repeats the last block; well below the time after
    /// which others give the leader up.
    pub idle: Duration,
    /// How far ahead of this node's clock a block's time may be before it waits.
    pub drift: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            block: Duration::from_millis(25),
            idle: Duration::from_millis(400),
            drift: Duration::from_millis(500),
        }
    }
}

/// The longest time between two looks at what waits.
const TICK: Duration = Duration::from_millis(50);
/// How often a node says how far it is.
const TIP_EVERY: Duration = Duration::from_secs(1);
/// A transaction that waited so long may not have reached everybody: it is passed on, once.
const PASS_ON_AFTER: Duration = Duration::from_millis(750);
/// For how long after a block of its own has become final a node counts as one that leads.
const LEADS: Duration = Duration::from_secs(2);
/// How long a final block is the last before the log after it is cosigned in any case.
const COSIGN_AFTER: Duration = Duration::from_secs(1);
/// A block of up to so many bytes is sent as it is: who lacks one of its transactions need not ask.
const WHOLE: usize = 16 * 1024;
/// Evidence against validators that is kept.
const FAULTS: usize = 256;
/// Submissions that share one sync of the disk.
const SUBMISSIONS: usize = 256;
/// Calls that wait for the loop.
pub(crate) const COMMANDS: usize = 1024;

/// A node's channels to its peers.
pub(crate) struct Peers<S, R> {
    pub(crate) blocks: (S, R),
    pub(crate) history: (S, R),
    pub(crate) transactions: (S, R),
}

/// The network, as far as a node has a say in it.
pub(crate) trait Neighbours: Send + Sync {
    /// These vote from now on.
    fn validators(&mut self, epoch: Epoch, validators: &ValidatorSet);
    /// With whom there is a connection.
    fn connected(&self) -> Vec<PublicKey>;
}

/// Everything a node is made of.
pub(crate) struct Parts<C, S, R> {
    pub(crate) partitions: Partitions,
    pub(crate) genesis: Genesis,
    /// The key this node votes with, if it may.
    pub(crate) me: Option<PublicKey>,
    pub(crate) pace: Pace,
    /// After how many blocks, transactions and receipts a snapshot is written.
    pub(crate) snapshot_every: u64,
    pub(crate) consensus: Option<C>,
    pub(crate) peers: Peers<S, R>,
    pub(crate) neighbours: Box<dyn Neighbours>,
    pub(crate) checks: Arc<Checks>,
    /// The key that cosigns checkpoints, if this node does.
    pub(crate) checkpoint_key: Option<SigningKey>,
    /// The checkpoint that this node has put down last.
    pub(crate) put_down: Option<SignedCheckpoint>,
    pub(crate) commands: mpsc::Receiver<Command>,
}

struct Senders<S> {
    blocks: S,
    history: S,
    transactions: S,
}

struct Proposing {
    slot: Slot,
    answer: Proposed,
    since: SystemTime,
}

struct Verifying {
    slot: Slot,
    block: BlockDigest,
    answer: oneshot::Sender<bool>,
}

struct Voting {
    epoch: Epoch,
    engine: Handle<()>,
}

/// Somebody who waits for a receipt to become final.
struct Waiting {
    until: SystemTime,
    answer: oneshot::Sender<Result<Bytes, Refused>>,
}

pub(crate) struct Actor<E: Runtime, C, S> {
    context: E,
    partitions: Partitions,
    checks: Arc<Checks>,
    me: Option<PublicKey>,
    pace: Pace,
    consensus: Option<C>,
    senders: Senders<S>,
    neighbours: Box<dyn Neighbours>,
    metrics: Metrics,

    chain: Chain,
    /// The final blocks by height.
    finals: Vec<BlockDigest>,
    /// The last block of the epoch before, on which this one began.
    root: BlockDigest,
    /// The tip's certificate; none at genesis.
    certificate: Option<Certificate>,
    /// The last blocks of past epochs, by which others follow who votes now.
    epochs: Vec<EpochEnd>,
    log: Log,
    checkpoints: Checkpoints,
    /// The second, since 1970, of the last final block's time.
    last_second: u64,
    /// Since when the last final block has been the last.
    tip_since: SystemTime,
    pool: Pool,
    bodies: Bodies,
    /// Blocks that cannot follow on their parents.
    bad: HashSet<BlockDigest>,
    blocks: Blocks<E>,
    pool_file: PoolFile<E>,
    snapshots: Snapshots<E>,

    voting: Option<Voting>,
    /// Before this epoch there are no votes on the disk.
    votes_since: u64,
    /// The requests of an engine that was just started.
    started: Option<mpsc::UnboundedReceiver<Request>>,
    proposing: Option<Proposing>,
    verifying: Vec<Verifying>,
    history: history::History,
    entropy: entropy::Entropy,
    arrivals: arrivals::Arrivals,
    /// What peers are sent of the blocks they want.
    shares: shares::Shares,
    /// The way back of what was checked beside the loop.
    arrived: mpsc::UnboundedSender<arrivals::Arrived>,
    /// The way back of a failure of the disk beside the loop.
    trouble: mpsc::UnboundedSender<StoreError>,
    waiting: HashMap<Wanted, Vec<Waiting>>,
    waiting_cosigned: HashMap<Digest, Vec<Waiting>>,
    faults: Vec<Evidence>,
    next_tip: SystemTime,
    /// When a block of this node became final the last time.
    led: Option<SystemTime>,
    heights: watch::Sender<Height>,
}

impl<E, C, S> Actor<E, C, S>
where
    E: Runtime,
    C: Consensus<E>,
    S: Sender<PublicKey = PublicKey>,
{
    /// Reads what is on the disk and goes on from there, until the commands' senders are gone.
    pub(crate) async fn run<R: Receiver<PublicKey = PublicKey>>(
        context: E,
        parts: Parts<C, S, R>,
        heights: watch::Sender<Height>,
    ) -> Result<(), StoreError> {
        let Parts {
            partitions,
            genesis,
            me,
            pace,
            snapshot_every,
            consensus,
            peers,
            neighbours,
            checks,
            checkpoint_key,
            put_down,
            mut commands,
        } = parts;
        let (blocks_sender, mut blocks_in) = peers.blocks;
        let (history_sender, mut history_in) = peers.history;
        let (transactions_sender, mut transactions_in) = peers.transactions;
        let (blocks, last) = Blocks::open(&context, &partitions).await?;
        let mut acknowledged = Vec::new();
        let pool_file = PoolFile::open(&context, &partitions, |bytes| {
            acknowledged.push(Bytes::copy_from_slice(bytes));
        })
        .await?;
        let state = genesis.state();
        let path = match &last {
            Some(last) => blocks.path(state.head_digest(), last.block)?,
            None => Vec::new(),
        };
        let (snapshots, snapshot) =
            Snapshots::open(&context, &partitions, &genesis, snapshot_every, &path).await;
        let mut checkpoints = Checkpoints::new(&genesis, checkpoint_key);
        if let Some(before) = &put_down {
            checkpoints.has_signed(before);
        }
        let (arrived, mut arrived_in) = mpsc::unbounded_channel();
        let (trouble, mut trouble_in) = mpsc::unbounded_channel();
        let mut actor = Self {
            metrics: Metrics::new(&context),
            next_tip: context.current(),
            me,
            pace,
            consensus,
            senders: Senders {
                blocks: blocks_sender,
                history: history_sender,
                transactions: transactions_sender,
            },
            neighbours,
            root: state.head_digest(),
            finals: vec![state.head_digest()],
            chain: Chain::new(state),
            certificate: None,
            epochs: Vec::new(),
            log: Log::default(),
            checkpoints,
            last_second: 0,
            tip_since: context.current(),
            pool: Pool::default(),
            bodies: Bodies::default(),
            bad: HashSet::new(),
            blocks,
            pool_file,
            snapshots,
            voting: None,
            votes_since: 0,
            started: None,
            proposing: None,
            verifying: Vec::new(),
            history: history::History::default(),
            entropy: entropy::Entropy::default(),
            arrivals: arrivals::Arrivals::default(),
            shares: shares::Shares::default(),
            arrived,
            trouble,
            waiting: HashMap::new(),
            waiting_cosigned: HashMap::new(),
            faults: Vec::new(),
            led: None,
            heights,
            context,
            partitions,
            checks,
        };
        if !path.is_empty() {
            actor.recover(path, snapshot).await?;
        }
        actor.restore(acknowledged).await;
        actor.epoch().await;
        let mut requests = actor.started.take();
        let mut round = Round::default();
        // A command that came after submissions and waits for its turn.
        let mut after = None;
        loop {
            let wake = actor.wake();
            tokio::select! {
                biased;
                Some(error) = trouble_in.recv() => return Err(error),
                request = next(&mut requests) => actor.request(request).await?,
                message = blocks_in.recv(), if round.is_open(Source::Blocks) => match message {
                    Ok((peer, message)) => {
                        round.heard(Source::Blocks);
                        actor.block_message(&peer, message.into());
                    }
                    Err(_) => return Ok(()),
                },
                command = next_command(&mut after, &mut commands), if round.is_open(Source::Commands) => {
                    let Some(command) = command else {
                        return Ok(());
                    };
                    round.heard(Source::Commands);
                    let (batch, behind) = together(command, &mut commands);
                    after = behind;
                    actor.commands(batch).await?;
                }
                message = history_in.recv(), if round.is_open(Source::History) => match message {
                    Ok((peer, message)) => {
                        round.heard(Source::History);
                        actor.history_message(&peer, message.into()).await?;
                    }
                    Err(_) => return Ok(()),
                },
                // What was checked goes first: peers that never stop must not keep it from being taken in.
                Some(arrived) = arrived_in.recv(), if round.is_open(Source::Arrivals) => {
                    round.heard(Source::Arrivals);
                    actor.arrived(arrived);
                }
                message = transactions_in.recv(), if round.is_open(Source::Transactions) => match message {
                    Ok((peer, message)) => {
                        round.heard(Source::Transactions);
                        actor.passed_on(&peer, message.into());
                    }
                    Err(_) => return Ok(()),
                },
                () = std::future::ready(()), if round.is_begun() => {
                    round = Round::default();
                    continue;
                }
                () = actor.context.sleep_until(wake) => {}
            }
            actor.step().await?;
            if actor.voting.is_none() {
                requests = None;
            }
            if let Some(started) = actor.started.take() {
                requests = Some(started);
            }
        }
    }

    fn now(&self) -> SystemTime {
        self.context.current()
    }

    /// The moment until which nothing happens by itself.
    fn wake(&self) -> SystemTime {
        let now = self.now();
        let tick = now + TICK;
        let Some(proposing) = &self.proposing else {
            return tick;
        };
        let idle = proposing.since + self.pace.idle;
        let block = match self.chain.state(&proposing.slot.parent) {
            Some(state) if self.pool.has_some_in_turn() => {
                system_time(state.head().time) + self.pace.block
            }
            _ => tick,
        };
        // What is past was looked at in the last step.
        [idle, block]
            .into_iter()
            .filter(|moment| *moment > now)
            .fold(tick, SystemTime::min)
    }

    async fn request(&mut self, request: Option<Request>) -> Result<(), StoreError> {
        match request {
            // The engine stopped by itself, which it does when its disk fails.
            None => {
                self.voting = None;
                self.metrics.votes.set(0);
                tracing::error!("the consensus engine has stopped: this node votes no more");
            }
            Some(Request::Propose { slot, answer }) => {
                self.proposing = Some(Proposing {
                    slot,
                    answer,
                    since: self.now(),
                });
            }
            Some(Request::Verify {
                slot,
                block,
                answer,
            }) => self.verifying.push(Verifying {
                slot,
                block,
                answer,
            }),
            Some(Request::Broadcast { block, audience }) => match audience {
                Audience::All => match self.outline(&block) {
                    Some(outline) => {
                        let message = wire::encode(&BlockMessage::Outline(outline));
                        self.senders.blocks.send(Recipients::All, message, false);
                    }
                    None => self.send_block(&block, Recipients::All),
                },
                // Who did not vote may lack what the outline names.
                Audience::Some(peers) => self.send_block(&block, Recipients::Some(peers)),
            },
            Some(Request::Finalized(finalized)) => self.finalized(finalized).await?,
            Some(Request::Fault(fault)) => {
                tracing::warn!(
                    validator = %fault.validator, epoch = %fault.epoch, view = fault.view.0, kind = ?fault.kind,
                    "a validator signed what excludes each other"
                );
                match fault.to_evidence(self.chain.tip().chain()) {
                    Ok(evidence) => self.keep(evidence),
                    Err(error) => {
                        tracing::error!(%error, "votes that exclude each other cannot be read");
                    }
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, evidence: Evidence) {
        if self.faults.len() < FAULTS && !self.faults.contains(&evidence) {
            self.faults.push(evidence);
            self.metrics.faults.inc();
        }
    }

    /// Keeps what came to light among cosignatures.
    fn keep_evidence_of_checkpoints(&mut self) {
        for evidence in self.checkpoints.evidence() {
            if let Evidence::Checkpoints { signer, .. } = &evidence {
                tracing::warn!(
                    cosigner = %signer.name,
                    "a validator cosigned what excludes each other: {}",
                    evidence.in_words()
                );
            }
            self.keep(evidence);
        }
    }

    /// The outline of a block that was just made, if that is much shorter than the block.
    fn outline(&self, block: &BlockDigest) -> Option<Outline> {
        let candidate = self.chain.candidate(block)?;
        let names = candidate.done.len() * 32;
        (candidate.bytes.len() > WHOLE && names < candidate.bytes.len() / 4).then(|| Outline {
            header: candidate.executed.state.head().clone(),
            transactions: candidate.done.iter().map(|(id, _)| *id).collect(),
        })
    }

    /// Sends a block that is here, from memory or else from the disk.
    fn send_block(&mut self, block: &BlockDigest, recipients: Recipients<PublicKey>) {
        if let Some(candidate) = self.chain.candidate(block) {
            let message = wire::encode(&BlockMessage::Block(candidate.bytes.clone()));
            self.senders.blocks.send(recipients, message, false);
        } else if let Some(reading) = self.blocks.reading(&[*block]) {
            let mut sender = self.senders.blocks.clone();
            self.read_beside(reading, move |mut read| {
                if let Some(one) = read.blocks.pop() {
                    let message = wire::encode(&BlockMessage::Block(one.block));
                    sender.send(recipients, message, false);
                }
            });
        }
    }

    /// Sends a peer a block that it wants, as far as its share goes.
    fn send_wanted(&mut self, peer: &PublicKey, block: &BlockDigest) {
        let bytes = match self.chain.candidate(block) {
            Some(candidate) => Some(candidate.bytes.len()),
            None => self.blocks.bytes(block).map(|(bytes, _)| bytes),
        };
        let now = self.now();
        if let Some(bytes) = bytes
            && self.shares.block(peer, bytes, now)
        {
            self.send_block(block, Recipients::One(peer.clone()));
        }
    }

    fn block_message(&mut self, peer: &PublicKey, message: Bytes) {
        match wire::decode(message) {
            Ok(BlockMessage::Block(bytes)) => match Bodies::read(bytes) {
                Some((digest, body)) => {
                    if body.block.header.height > self.chain.tip().head().height {
                        self.bodies.insert(peer, digest, body);
                    }
                }
                None => tracing::debug!(%peer, "sent a block that is none"),
            },
            Ok(BlockMessage::Outline(outline)) => {
                if outline.header.height > self.chain.tip().head().height {
                    self.bodies.insert_outline(peer, outline);
                }
            }
            Ok(BlockMessage::Want(digest)) => self.send_wanted(peer, &digest),
            Err(error) => tracing::debug!(%peer, %error, "sent what is no message of blocks"),
        }
    }

    /// Does whatever can be done now.
    async fn step(&mut self) -> Result<(), StoreError> {
        self.verify().await?;
        self.propose().await?;
        self.catch_up().await?;
        self.send_put_off()?;
        let now = self.now();
        for (digest, sender) in self.bodies.due(now) {
            // Whoever leads has it, and so does everybody who voted for it: where nobody is known to have it all are asked,
            // which is rare.
            tracing::debug!(%digest, outlined = sender.is_some(), "asking for a block");
            let message = wire::encode(&BlockMessage::Want(digest));
            let recipients = sender.map_or(Recipients::All, Recipients::One);
            self.senders.blocks.send(recipients, message, true);
        }
        if self.tip_since + COSIGN_AFTER <= now && self.voting.is_some() {
            let head = self.chain.tip().head();
            let (size, root) = (head.log_size, head.log_root);
            self.cosign(size, root).await?;
        }
        if self.next_tip <= now {
            self.next_tip = now + TIP_EVERY;
            self.say_tip();
            self.pass_on();
            self.compare();
            self.expire(now);
            // Nobody waits for the disk of a node that has nothing to do.
            if self.tip_since + COSIGN_AFTER <= now {
                self.blocks.mark().await?;
                self.pool_file.mark().await?;
            }
        }
        Ok(())
    }

    fn say_tip(&mut self) {
        let tip = HistoryMessage::Tip(self.chain.tip().head().height);
        self.senders
            .history
            .send(Recipients::All, wire::encode(&tip), false);
    }

    /// Sends transactions on that have waited for long: whoever leads may not have them. While this node leads itself again
    /// and again, they wait because there are many, and to send them to everybody once more would make it worse.
    fn pass_on(&mut self) {
        let now = self.now();
        if self.led.is_some_and(|led| now < led + LEADS) {
            return;
        }
        let late = self
            .pool
            .late(now, PASS_ON_AFTER, arrivals::BYTES, arrivals::SIGNATURES);
        if !late.is_empty() {
            let message = wire::encode(&Transactions(late));
            self.senders
                .transactions
                .send(Recipients::All, message, false);
        }
    }

    async fn verify(&mut self) -> Result<(), StoreError> {
        let mut verifying = std::mem::take(&mut self.verifying);
        let mut open = Vec::new();
        for one in verifying.drain(..) {
            if one.answer.is_closed() {
                continue;
            }
            match self.verdict(&one.slot, &one.block).await? {
                Some(verdict) => {
                    // The engine may have gone on meanwhile.
                    let _ = one.answer.send(verdict);
                }
                None => open.push(one),
            }
        }
        self.verifying = open;
        Ok(())
    }

    /// Whether a block may stand in a slot; none while that is open.
    async fn verdict(
        &mut self,
        slot: &Slot,
        block: &BlockDigest,
    ) -> Result<Option<bool>, StoreError> {
        // An engine that was restarted may ask again about what has become final meanwhile.
        if *block == slot.parent || self.is_final(block) {
            return Ok(Some(true));
        }
        match self.ready(block).await? {
            Ready::Missing => Ok(None),
            Ready::Bad => Ok(Some(false)),
            Ready::Executed => {
                let head = self.chain.state(block).expect("it was executed").head();
                if head.parent != slot.parent || head.epoch != slot.epoch {
                    return Ok(Some(false));
                }
                let early = system_time(head.time) > self.now() + self.pace.drift;
                Ok((!early).then_some(true))
            }
        }
    }

    fn is_final(&self, block: &BlockDigest) -> bool {
        self.blocks
            .height(block)
            .and_then(|height| usize::try_from(height.get()).ok())
            .and_then(|height| self.finals.get(height))
            == Some(block)
    }

    async fn propose(&mut self) -> Result<(), StoreError> {
        let Some(Proposing { slot, since, .. }) = &self.proposing else {
            return Ok(());
        };
        let (slot, since) = (slot.clone(), *since);
        if self.ready(&slot.parent).await? != Ready::Executed {
            return Ok(());
        }
        let now = self.now();
        let is_idle = now >= since + self.pace.idle;
        // What is early by the last final state may be in turn on the parent's, which is worth one look.
        let may_build = self.pool.has_some_in_turn() || is_idle && !self.pool.is_empty();
        let parent = self.chain.state(&slot.parent).expect("it was executed");
        let block = if parent.next_epoch() != slot.epoch {
            // The parent ends this engine's epoch: nothing but itself can follow here.
            (now >= since + self.pace.block).then_some(slot.parent)
        } else if may_build && now >= system_time(parent.head().time) + self.pace.block {
            let parent = parent.clone();
            self.build(&parent, now).await?
        } else {
            None
        };
        let block = block.or_else(|| is_idle.then_some(slot.parent));
        if let (Some(block), Some(proposing)) = (block, self.proposing.take_if(|_| block.is_some()))
        {
            proposing.answer.answer(block);
        }
        Ok(())
    }

    /// Makes a block on a state, durable; none if nothing that waits can be done there.
    async fn build(
        &mut self,
        parent: &tally_ledger::State,
        now: SystemTime,
    ) -> Result<Option<BlockDigest>, StoreError> {
        let limit = parent.parameters().block_bytes as usize;
        let offered = self.pool.offer(parent, limit);
        let proposed = parent.propose(timestamp(now), offered);
        self.pool.proposed(&proposed);
        if proposed.transactions.is_empty() {
            return Ok(None);
        }
        let bytes = Bytes::from(proposed.block().to_bytes());
        let digest = proposed.header.digest();
        self.blocks.put(&[(digest, &bytes)]).await?;
        self.metrics.proposed.inc();
        self.chain.insert(Candidate {
            bytes,
            done: proposed.transactions.iter().map(pool::done).collect(),
            own: true,
            executed: proposed.executed,
        });
        Ok(Some(digest))
    }

    /// A block has become final: applies it and those before it, or remembers that it must be fetched.
    async fn finalized(&mut self, finalized: Finalized) -> Result<(), StoreError> {
        if self.ready(&finalized.block).await? == Ready::Executed {
            // The last final block again, by an idle leader, changes nothing.
            if let Some(finals) = self.chain.finalize(&finalized.block)
                && !finals.is_empty()
            {
                self.apply(finals, finalized).await?;
            }
        } else {
            self.history.behind(finalized, self.context.current());
        }
        Ok(())
    }

    /// Takes final blocks into everything that is kept of them; the certificate is the last one's.
    async fn apply(
        &mut self,
        finals: Vec<Final>,
        certificate: Finalized,
    ) -> Result<(), StoreError> {
        self.blocks.put_certificate(&certificate).await?;
        let mut epoch_ended = false;
        let mut cosign = None;
        for one in &finals {
            let header = one.state.head();
            if header.time.unix_ms() / 1000 != self.last_second {
                self.last_second = header.time.unix_ms() / 1000;
                cosign = Some((header.log_size, header.log_root));
            }
            let own = (one.digest == certificate.block).then_some(&certificate);
            epoch_ended |= self.remember(one, own)?;
            self.pool.settle(&one.state, &one.done);
            self.snapshots.count(one.done.len(), one.settled.len());
            if one.own {
                self.led = Some(self.context.current());
            }
            self.metrics.blocks.inc();
            self.metrics.transactions.inc_by(one.done.len() as u64);
            self.metrics.receipts.inc_by(one.settled.len() as u64);
        }
        let tip = self.chain.tip();
        let height = tip.head().height;
        self.metrics
            .height
            .set(i64::try_from(height.get()).unwrap_or(i64::MAX));
        self.bad.clear();
        let chain = &self.chain;
        self.bodies.prune(
            |header| header.height > height,
            |digest| chain.state(digest).is_none(),
        );
        self.heights.send_replace(height);
        for one in &finals {
            self.answer_waiting(&one.settled);
        }
        self.tip_since = self.context.current();
        if let Some((size, root)) = cosign {
            self.cosign(size, root).await?;
        }
        self.shorten_pool_file().await?;
        self.snapshot().await?;
        if epoch_ended {
            // Validators that were slower need this to leave the epoch too.
            self.say_tip();
            self.epoch().await;
        }
        Ok(())
    }

    /// Replaces the pool's file by what still waits, where that is much less.
    async fn shorten_pool_file(&mut self) -> Result<(), StoreError> {
        if self.pool_file.stale(self.pool.bytes() as u64) {
            // What leaves the pool's file stands in blocks from here on, or was early for too long.
            self.blocks.sync().await?;
            let open = self.pool.all();
            self.pool_file.replace(&self.context, &open).await?;
        }
        Ok(())
    }

    /// Cosigns a tree, unless this node has no say or has cosigned it before, or larger ones may be final; and tells the other
    /// validators.
    async fn cosign(&mut self, size: u64, root: Hash) -> Result<(), StoreError> {
        let validators = self.chain.tip().next_validators();
        if !self.checkpoints.would_sign(size, validators) || self.may_be_behind() {
            return Ok(());
        }
        // That the block is final must be known after a crash as well: or this node would go on from a smaller tree than it
        // has cosigned, and cosign one in between.
        self.blocks.sync().await?;
        let at = UnixSeconds(timestamp(self.now()).unix_ms() / 1000);
        let before = self.checkpoints.cosigned().cloned();
        let tip = self.chain.tip();
        let Some(said) = self.checkpoints.sign(size, root, at, tip.next_validators()) else {
            return Ok(());
        };
        self.keep_evidence_of_checkpoints();
        let message = HistoryMessage::Cosigned(said.to_string().into());
        self.senders
            .history
            .send(Recipients::All, wire::encode(&message), false);
        // Alone, it is a quorum; or the others were faster.
        if self.checkpoints.cosigned() != before.as_ref() {
            self.answer_waiting_cosigned();
        }
        Ok(())
    }

    /// Takes cosignatures that a peer, or this node's own disk, has.
    fn take_checkpoint(&mut self, peer: Option<&PublicKey>, said: &SignedCheckpoint) {
        let log = &self.log;
        let validators = self.chain.tip().next_validators();
        let taken = self
            .checkpoints
            .take(said, validators, |size| log.root(size));
        self.keep_evidence_of_checkpoints();
        match taken {
            Taken::Nothing => {}
            Taken::Cosigned => self.answer_waiting_cosigned(),
            Taken::Behind(known) => {
                if let Some(peer) = peer {
                    let message = HistoryMessage::Cosigned(known.to_string().into());
                    self.senders.history.send(
                        Recipients::One(peer.clone()),
                        wire::encode(&message),
                        false,
                    );
                }
            }
        }
    }

    /// Keeps what is needed of a final block, and says whether it is the last of its epoch.
    fn remember(
        &mut self,
        one: &Final,
        certificate: Option<&Finalized>,
    ) -> Result<bool, StoreError> {
        self.finals.push(one.digest);
        self.log.append(&one.settled);
        if let Some(own) = certificate {
            self.certificate = Some(read_certificate(&one.digest, &own.certificate)?);
        }
        let header = one.state.head();
        let last = one.state.next_epoch() != header.epoch;
        if last {
            // Nothing follows on it in its epoch, so nothing else can have made it final.
            let certificate = self.certificate.clone().filter(|_| certificate.is_some());
            self.epochs.push(EpochEnd {
                header: header.clone(),
                certificate: certificate.ok_or_else(|| {
                    StoreError::Damaged(format!(
                        "block {} ended an epoch and has no certificate",
                        one.digest
                    ))
                })?,
                next: one.state.next_validators().clone(),
            });
            self.root = one.digest;
        }
        Ok(last)
    }

    /// Starts or stops voting, as the last final block has it.
    async fn epoch(&mut self) {
        let tip = self.chain.tip();
        let (epoch, validators) = (tip.next_epoch(), tip.next_validators().clone());
        if self
            .voting
            .as_ref()
            .is_some_and(|voting| voting.epoch == epoch)
        {
            return;
        }
        if let Some(ended) = self.voting.take() {
            ended.engine.abort();
        }
        self.proposing = None;
        self.verifying.clear();
        self.neighbours.validators(epoch, &validators);
        let keys: Vec<PublicKey> = validators
            .as_slice()
            .iter()
            .map(|validator| crate::simplex::key(&validator.vote_key))
            .collect();
        self.metrics
            .validators
            .set(i64::try_from(keys.len()).unwrap_or(i64::MAX));
        let votes = self.me.as_ref().is_some_and(|me| keys.contains(me));
        self.metrics.votes.set(i64::from(votes));
        if !votes {
            tracing::info!(%epoch, validators = keys.len(), "following");
            return;
        }
        tracing::info!(%epoch, validators = keys.len(), tolerated = validators.tolerated(), "voting");
        let (mailbox, requests) = Mailbox::new();
        let start = EpochStart {
            epoch,
            validators: keys,
            root: self.root,
        };
        let context = self.context.child("engine");
        let consensus = self
            .consensus
            .as_mut()
            .expect("whoever has a vote key has an engine");
        let engine = consensus.start(context, start, mailbox).await;
        self.voting = Some(Voting { epoch, engine });
        self.started = Some(requests);
        self.forget_votes(epoch).await;
    }

    /// Removes the votes of epochs before the last one, which are needed by nobody: their ends are final, here too. Those of the
    /// last epoch in which this node voted stay, however long ago that was: by them it is seen that none are lost (`guard`).
    async fn forget_votes(&mut self, epoch: Epoch) {
        let Some(last) = epoch.get().checked_sub(1) else {
            return;
        };
        let partition = self.partitions.votes(Epoch::new(last));
        let begun = self.context.scan(&partition).await;
        if !begun.is_ok_and(|files| !files.is_empty()) {
            return;
        }
        for old in self.votes_since..last {
            let partition = self.partitions.votes(Epoch::new(old));
            match self.context.remove(&partition, None).await {
                Ok(()) | Err(Error::PartitionMissing(_)) => {}
                Err(error) => tracing::debug!(partition, %error, "old votes were not removed"),
            }
        }
        self.votes_since = last;
    }
}

fn read_certificate(block: &BlockDigest, bytes: &[u8]) -> Result<Certificate, StoreError> {
    Certificate::from_bytes(bytes)
        .map_err(|error| StoreError::Damaged(format!("the certificate of block {block}: {error}")))
}

async fn next(requests: &mut Option<mpsc::UnboundedReceiver<Request>>) -> Option<Request> {
    match requests {
        Some(requests) => requests.recv().await,
        None => std::future::pending().await,
    }
}

/// The command that waits, or else the next one. Nothing is lost when this is dropped.
async fn next_command(
    after: &mut Option<Command>,
    commands: &mut mpsc::Receiver<Command>,
) -> Option<Command> {
    match after.take() {
        Some(command) => Some(command),
        None => commands.recv().await,
    }
}

/// A command with those after it that share its sync of the disk, and the one behind these. Only submissions share anything: what
/// comes after any other waits for its turn.
fn together(
    first: Command,
    commands: &mut mpsc::Receiver<Command>,
) -> (Vec<Command>, Option<Command>) {
    let mut batch = vec![first];
    while batch.len() < SUBMISSIONS
        && batch.last().is_some_and(Command::is_submission)
        && let Ok(command) = commands.try_recv()
    {
        if !command.is_submission() {
            return (batch, Some(command));
        }
        batch.push(command);
    }
    (batch, None)
}

/// A clock before 1970 or beyond what a timestamp holds is taken for its nearest moment.
fn timestamp(time: SystemTime) -> Timestamp {
    let ms = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    Timestamp::from_unix_ms(ms)
        .unwrap_or_else(|_| Timestamp::from_unix_ms(0).expect("1970 is a moment"))
}

fn system_time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(time.unix_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submissions_that_follow_each_other_go_together_and_all_else_waits_for_its_turn() {
        let (sender, mut commands) = mpsc::channel(COMMANDS);
        let blocks = || Command::Blocks {
            from: Height::new(1),
            answer: oneshot::channel().0,
        };
        let submit = || Command::Submit {
            transactions: Vec::new(),
            answer: oneshot::channel().0,
        };
        let sent = |command| assert!(sender.try_send(command).is_ok(), "there is room");
        for _ in 0..SUBMISSIONS + 2 {
            sent(submit());
        }
        sent(blocks());
        sent(submit());
        let mut after = None;
        let mut batches = Vec::new();
        while let Some(first) = after.take().or_else(|| commands.try_recv().ok()) {
            let (batch, behind) = together(first, &mut commands);
            after = behind;
            batches.push((batch.len(), batch.iter().all(Command::is_submission)));
        }
        let expected = [(SUBMISSIONS, true), (2, true), (1, false), (1, true)];
        assert_eq!(batches, expected);
    }
}

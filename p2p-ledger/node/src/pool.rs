//! Transactions that wait for a block. Pure: what of it is on a disk is `store`'s business.
//!
//! A lane is whatever numbers its own transactions: a node its receipts, an account its transfers. Within a lane they are
//! offered by number; lanes take turns at being first. So one busy node neither keeps another one out nor loses its own
//! order.
//!
//! What was done is remembered for a while by name, since a submission may come twice (`tally_net::Caller`): the second time it
//! is done already, whatever the state says to one like it.
//!
//! Bounds: [`POOL_BYTES`] in all, [`LANE_BYTES`] for one lane, [`DONE`] names.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tally_ledger::{AccountId, Checked, NodeId, Request, State, TransactionError, TransactionId};

/// Bytes of all transactions that wait.
const POOL_BYTES: usize = 128 * 1024 * 1024;
/// Bytes of those of one lane.
const LANE_BYTES: usize = 32 * 1024 * 1024;
/// Transactions that were done last, and are known by name. They are of the last minutes even where blocks are full.
const DONE: usize = 65_536;
/// How far ahead of its turn a transaction may be: numbers within a lane.
const AHEAD: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Account(AccountId),
    Node(NodeId),
    /// Redemptions, claims, decisions and all else that is rare.
    Rest,
}

/// The place of a transaction in its lane: its number, and the order of arrival among those of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    number: u64,
    arrival: u64,
}

#[derive(Debug)]
struct Waiting {
    lane: Lane,
    turn: Turn,
    checked: Checked,
    since: SystemTime,
    passed_on: bool,
}

impl Waiting {
    fn bytes(&self) -> &[u8] {
        self.checked.transaction().as_bytes()
    }
}

#[derive(Debug, Default)]
struct Queue {
    turns: BTreeMap<Turn, TransactionId>,
    bytes: usize,
}

/// Why a transaction is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedEntry {
    /// It cannot be done, or not before something else is.
    #[error("{0}")]
    Impossible(TransactionError),
    /// Too far ahead of its turn.
    #[error("its number is more than {AHEAD} ahead of its turn")]
    FarAhead,
    /// No room.
    #[error("too many transactions wait; send it again later")]
    Full,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is new here.
    New,
    /// It waits here already.
    Waiting,
    /// It was done already.
    Done,
}

#[derive(Debug, Default)]
pub(crate) struct Pool {
    waiting: HashMap<TransactionId, Waiting>,
    lanes: BTreeMap<Lane, Queue>,
    bytes: usize,
    arrivals: u64,
    /// The lane that was first the last time.
    first: Option<Lane>,
    done: HashSet<TransactionId>,
    /// Oldest first.
    done_order: VecDeque<TransactionId>,
}

/// What a block has done: a transaction's name and lane.
pub(crate) type Done = (TransactionId, Lane);

pub(crate) fn done(checked: &Checked) -> Done {
    (checked.id(), lane(checked.transaction().request()).0)
}

fn lane(request: &Request) -> (Lane, u64) {
    match request {
        Request::Transfer { from, nonce, .. } => (Lane::Account(*from), nonce.get()),
        Request::Reserve { payer, nonce, .. } => (Lane::Account(*payer), nonce.get()),
        Request::Settle { node, first, .. } => (Lane::Node(*node), first.get()),
        Request::Update { node, .. } => (Lane::Node(*node), 0),
        _ => (Lane::Rest, 0),
    }
}

fn far_ahead(reason: &TransactionError) -> bool {
    match reason {
        TransactionError::Sequence {
            expected, first, ..
        } => first.get() > expected.get().saturating_add(AHEAD),
        TransactionError::Nonce { expected, found } => {
            found.get() > expected.get().saturating_add(AHEAD)
        }
        _ => false,
    }
}

impl Pool {
    /// Whether a transaction is to be taken in, given the last final state. It is not in yet.
    pub(crate) fn judge(&self, state: &State, checked: &Checked) -> Result<Entry, RefusedEntry> {
        if self.waiting.contains_key(&checked.id()) {
            return Ok(Entry::Waiting);
        }
        if self.done.contains(&checked.id()) {
            return Ok(Entry::Done);
        }
        match state.would_accept(checked) {
            Ok(()) => {}
            Err(reason) if reason.is_done_already() => return Ok(Entry::Done),
            Err(reason) if far_ahead(&reason) => return Err(RefusedEntry::FarAhead),
            // Its turn comes.
            Err(
                reason @ (TransactionError::Sequence { .. }
                | TransactionError::Nonce { .. }
                | TransactionError::Revision { .. }
                | TransactionError::Decision { .. }),
            ) if reason.may_become_good() => {}
            Err(TransactionError::BlockFull | TransactionError::SecondChange) => {}
            // What it waits for may never come; whoever sent it sends it again once it has.
            Err(reason) => return Err(RefusedEntry::Impossible(reason)),
        }
        let (lane, _) = lane(checked.transaction().request());
        let bytes = checked.transaction().as_bytes().len();
        let in_lane = self.lanes.get(&lane).map_or(0, |queue| queue.bytes);
        if self.bytes + bytes > POOL_BYTES || in_lane + bytes > LANE_BYTES {
            return Err(RefusedEntry::Full);
        }
        Ok(Entry::New)
    }

    /// Whether a transaction was done of late.
    pub(crate) fn is_done(&self, id: &TransactionId) -> bool {
        self.done.contains(id)
    }

    /// Takes a transaction in that was judged new.
    pub(crate) fn insert(&mut self, checked: Checked, now: SystemTime) {
        let id = checked.id();
        if self.waiting.contains_key(&id) {
            return;
        }
        let (lane, number) = lane(checked.transaction().request());
        self.arrivals += 1;
        let turn = Turn {
            number,
            arrival: self.arrivals,
        };
        let queue = self.lanes.entry(lane).or_default();
        queue.turns.insert(turn, id);
        let bytes = checked.transaction().as_bytes().len();
        queue.bytes += bytes;
        self.bytes += bytes;
        self.waiting.insert(
            id,
            Waiting {
                lane,
                turn,
                checked,
                since: now,
                passed_on: false,
            },
        );
    }

    fn remove(&mut self, id: &TransactionId) {
        let Some(waiting) = self.waiting.remove(id) else {
            return;
        };
        let bytes = waiting.bytes().len();
        self.bytes -= bytes;
        let queue = self
            .lanes
            .get_mut(&waiting.lane)
            .expect("what waits has a lane");
        queue.turns.remove(&waiting.turn);
        queue.bytes -= bytes;
        if queue.turns.is_empty() {
            self.lanes.remove(&waiting.lane);
        }
    }

    pub(crate) fn get(&self, id: &TransactionId) -> Option<&Checked> {
        self.waiting.get(id).map(|waiting| &waiting.checked)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Transactions for a block of about `limit` bytes, in the order in which they should be tried. The next call begins
    /// with another lane.
    pub(crate) fn offer(&mut self, limit: usize) -> Vec<Checked> {
        let start = self
            .first
            .and_then(|last| {
                self.lanes
                    .range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded))
                    .next()
            })
            .or_else(|| self.lanes.iter().next())
            .map(|(lane, _)| *lane);
        let Some(start) = start else {
            return Vec::new();
        };
        self.first = Some(start);
        let in_turn = self.lanes.range(start..).chain(self.lanes.range(..start));
        let mut bytes = 0;
        let mut offered = Vec::new();
        for id in in_turn.flat_map(|(_, queue)| queue.turns.values()) {
            let waiting = &self.waiting[id];
            bytes += waiting.bytes().len();
            if bytes > limit && !offered.is_empty() {
                break;
            }
            offered.push(waiting.checked.clone());
        }
        offered
    }

    /// Remembers what a final block has done.
    pub(crate) fn remember(&mut self, done: &[Done]) {
        for (id, _) in done {
            if self.done.insert(*id) {
                self.done_order.push_back(*id);
            }
        }
        while self.done_order.len() > DONE {
            let oldest = self.done_order.pop_front().expect("it is not empty");
            self.done.remove(&oldest);
        }
    }

    /// Forgets what a final block has done, and what it made impossible.
    pub(crate) fn settle(&mut self, state: &State, done: &[Done]) {
        let mut touched: Vec<Lane> = done.iter().map(|(_, lane)| *lane).collect();
        for (id, _) in done {
            self.remove(id);
        }
        self.remember(done);
        touched.sort_unstable();
        touched.dedup();
        for lane in touched {
            while let Some(queue) = self.lanes.get(&lane) {
                // In a lane with numbers, the first that can still be done ends the search; in the lane of the rest,
                // each stands for itself.
                let impossible: Vec<TransactionId> = queue
                    .turns
                    .values()
                    .take(if lane == Lane::Rest { usize::MAX } else { 1 })
                    .filter(|id| {
                        state
                            .would_accept(&self.waiting[*id].checked)
                            .is_err_and(|reason| !reason.may_become_good())
                    })
                    .copied()
                    .collect();
                if impossible.is_empty() {
                    break;
                }
                for id in impossible {
                    self.remove(&id);
                }
            }
        }
    }

    /// Transactions that have waited for `long` and were not named here before: up to `count`, of up to `bytes` together.
    pub(crate) fn late(
        &mut self,
        now: SystemTime,
        long: Duration,
        bytes: usize,
        count: usize,
    ) -> Vec<Bytes> {
        let mut late: Vec<&mut Waiting> = self
            .waiting
            .values_mut()
            .filter(|waiting| !waiting.passed_on && waiting.since + long <= now)
            .collect();
        late.sort_unstable_by_key(|waiting| waiting.turn.arrival);
        let mut sum = 0;
        late.into_iter()
            .take(count)
            .take_while(|waiting| {
                sum += waiting.bytes().len();
                sum <= bytes
            })
            .map(|waiting| {
                waiting.passed_on = true;
                Bytes::copy_from_slice(waiting.bytes())
            })
            .collect()
    }

    /// Everything that waits, in the order in which it came.
    pub(crate) fn all(&self) -> Vec<Checked> {
        let mut all: Vec<&Waiting> = self.waiting.values().collect();
        all.sort_unstable_by_key(|waiting| waiting.turn.arrival);
        all.into_iter()
            .map(|waiting| waiting.checked.clone())
            .collect()
    }
}

//! Transactions that wait for a block. Pure: what of it is on a disk is `store`'s business.
//!
//! A lane is whatever numbers its own transactions: a node its receipts, an account its transfers. Within a lane they are
//! offered by number; lanes take turns at being first. So one busy node neither keeps another one out nor loses its own
//! order.
//!
//! What was done is remembered for a while by name, since a submission may come twice (`tally_net::Caller`): the second time it
//! is done already, whatever the state says to one like it.
//!
//! Whatever waits for long is named to peers, part after part and again from the first on; and what is missing before a number that
//! waits can be asked for (`actor::entropy`).
//!
//! Bounds: [`POOL_BYTES`] in all, [`LANE_BYTES`] for one lane, [`DONE`] names.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tally_ledger::{AccountId, Checked, NodeId, Request, State, TransactionError, TransactionId};

use crate::wire::{Gap, Numbered};

/// Bytes of all transactions that wait.
const POOL_BYTES: usize = 128 * 1024 * 1024;
/// Bytes of those of one lane.
const LANE_BYTES: usize = 32 * 1024 * 1024;
/// Transactions that were done last, and are known by name. They are of the last minutes even where blocks are full.
pub(crate) const DONE: usize = 65_536;
/// How far ahead of its turn a transaction may be: numbers within a lane.
const AHEAD: u64 = 1_000_000;
/// Places that are looked at, at most, for names or for gaps: what is behind them has its turn the next time.
const LOOKED: usize = 8192;

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
    /// The last place that was looked at for names, and the last lane for gaps.
    named: Option<(Lane, Turn)>,
    searched: Option<Lane>,
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

/// The number that follows on a transaction's own.
fn after(request: &Request) -> u64 {
    let (_, number) = lane(request);
    match request {
        Request::Transfer { .. } | Request::Reserve { .. } => number.saturating_add(1),
        Request::Settle { receipts, .. } => number.saturating_add(receipts.count() as u64),
        _ => number,
    }
}

/// By whose numbers a lane goes, and which is the next that a state would take; none where there are none.
fn next(lane: Lane, state: &State) -> Option<(Numbered, u64)> {
    match lane {
        Lane::Account(id) => Some((Numbered::Account(id), state.account(id).nonce.get())),
        Lane::Node(id) => {
            let settled = state.node(id)?.settled;
            Some((Numbered::Node(id), settled.get()))
        }
        Lane::Rest => None,
    }
}

/// The places of a lane behind one that is in it, or all of them.
fn places(
    lane: Lane,
    queue: &Queue,
    last: Option<(Lane, Turn)>,
) -> impl Iterator<Item = ((Lane, Turn), TransactionId)> {
    let from = match last {
        Some((of, turn)) if of == lane => Bound::Excluded(turn),
        _ => Bound::Unbounded,
    };
    queue
        .turns
        .range((from, Bound::Unbounded))
        .map(move |(turn, id)| ((lane, *turn), *id))
}

/// The first of these of up to `bytes` together, at most `count`.
fn within<'a>(
    waiting: impl Iterator<Item = &'a Waiting>,
    bytes: usize,
    count: usize,
) -> Vec<Bytes> {
    let mut sum = 0;
    waiting
        .take(count)
        .take_while(|one| {
            sum += one.bytes().len();
            sum <= bytes
        })
        .map(|one| Bytes::copy_from_slice(one.bytes()))
        .collect()
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

    /// Names of transactions that have waited for `long`: the next ones each time and, once all were named, the first ones again.
    /// Up to `count`, of up to `bytes` together, which is at least what one transaction can have.
    pub(crate) fn names(
        &mut self,
        now: SystemTime,
        long: Duration,
        bytes: usize,
        count: usize,
    ) -> Vec<TransactionId> {
        let last = self.named;
        let begin = last.map_or(Bound::Unbounded, |(lane, _)| Bound::Included(lane));
        let behind = self
            .lanes
            .range((begin, Bound::Unbounded))
            .flat_map(|(lane, queue)| places(*lane, queue, last));
        let again = self
            .lanes
            .iter()
            .flat_map(|(lane, queue)| places(*lane, queue, None))
            .take_while(|(place, _)| last.is_some_and(|last| *place <= last));
        let (mut names, mut sum, mut at) = (Vec::new(), 0, last);
        for (place, id) in behind.chain(again).take(LOOKED) {
            let waiting = &self.waiting[&id];
            if waiting.since + long <= now {
                sum += waiting.bytes().len();
                if sum > bytes || names.len() == count {
                    break;
                }
                names.push(id);
            }
            at = Some(place);
        }
        self.named = at;
        names
    }

    /// The first gap of each lane in which something behind one has waited for `long`: of up to `count` lanes, the next ones each
    /// time.
    pub(crate) fn gaps(
        &mut self,
        state: &State,
        now: SystemTime,
        long: Duration,
        count: usize,
    ) -> Vec<Gap> {
        let last = self.searched;
        let begin = last.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.lanes.range((begin, Bound::Unbounded));
        let again = self
            .lanes
            .iter()
            .take_while(|(lane, _)| last.is_some_and(|last| **lane <= last));
        let (mut gaps, mut looked, mut at) = (Vec::new(), 0, last);
        for (lane, queue) in behind.chain(again) {
            if gaps.len() == count || looked >= LOOKED {
                break;
            }
            at = Some(*lane);
            looked += 1;
            let Some((of, mut next)) = next(*lane, state) else {
                continue;
            };
            for (turn, id) in &queue.turns {
                if looked >= LOOKED {
                    break;
                }
                looked += 1;
                let waiting = &self.waiting[id];
                if turn.number > next {
                    if waiting.since + long <= now {
                        gaps.push(Gap {
                            of,
                            from: next,
                            before: turn.number,
                        });
                    }
                    break;
                }
                next = next.max(after(waiting.checked.transaction().request()));
            }
        }
        self.searched = at;
        gaps
    }

    /// Those that wait of the transactions with these names: of up to `bytes` together.
    pub(crate) fn named(&self, names: &[TransactionId], bytes: usize) -> Vec<Bytes> {
        let found = names.iter().filter_map(|id| self.waiting.get(id));
        within(found, bytes, names.len())
    }

    /// What waits with the numbers of these gaps: up to `count`, of up to `bytes` together.
    pub(crate) fn numbered(&self, gaps: &[Gap], bytes: usize, count: usize) -> Vec<Bytes> {
        let turn = |number| Turn { number, arrival: 0 };
        let found = gaps
            .iter()
            .filter_map(|gap| {
                let lane = match gap.of {
                    Numbered::Account(id) => Lane::Account(id),
                    Numbered::Node(id) => Lane::Node(id),
                };
                Some(
                    self.lanes
                        .get(&lane)?
                        .turns
                        .range(turn(gap.from)..turn(gap.before)),
                )
            })
            .flatten()
            .map(|(_, id)| &self.waiting[id]);
        within(found, bytes, count)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::UNIX_EPOCH;

    use tally_ledger::{AccountNonce, Credits, Transaction};
    use tally_receipt::SigningKey;

    use super::*;

    const LONG: Duration = Duration::from_secs(2);
    const ROOM: usize = 1 << 20; // bytes

    fn account(seed: u8) -> AccountId {
        AccountId::new(SigningKey::from_seed(&[seed; 32]).public_key())
    }

    fn transfer(from: u8, nonce: u64) -> Checked {
        let chain = crate::fuzzing::genesis().chain();
        let request = Request::Transfer {
            from: account(from),
            nonce: AccountNonce::new(nonce),
            to: account(200),
            amount: Credits::new(1),
        };
        let signed = request.sign(chain, &[&SigningKey::from_seed(&[from; 32])]);
        Checked::known_to_be_good(signed.expect("a transaction"), chain)
    }

    /// A pool of one account's transactions with these nonces, which came at the beginning of 1970.
    fn pool(from: u8, nonces: &[u64]) -> Pool {
        let mut pool = Pool::default();
        for nonce in nonces {
            pool.insert(transfer(from, *nonce), UNIX_EPOCH);
        }
        pool
    }

    #[test]
    fn all_that_has_waited_is_named_in_turn_and_never_more_than_one_answer_holds() {
        let now = UNIX_EPOCH + LONG;
        let mut pool = pool(1, &[0, 1, 2, 3, 9]);
        for from in 2..7 {
            pool.insert(transfer(from, 7), UNIX_EPOCH);
        }
        let old: BTreeSet<TransactionId> = pool.waiting.keys().copied().collect();
        pool.insert(transfer(1, 5), now);
        let bytes = 4 * transfer(1, 0).transaction().as_bytes().len();
        let mut named = BTreeSet::new();
        for _ in 0..3 {
            let some = pool.names(now, LONG, bytes, 512);
            assert_eq!(some.len(), 4);
            assert_eq!(pool.named(&some, bytes).len(), 4);
            named.extend(some);
        }
        assert_eq!(named, old);
        assert_eq!(pool.names(now, LONG, ROOM, 3).len(), 3);
        let all = pool.names(now, LONG, ROOM, 512);
        assert_eq!(all.len(), old.len(), "each is named once at a time");
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), old);
        // What was named last may be gone.
        for id in &old {
            pool.remove(id);
        }
        assert_eq!(pool.names(now + LONG, LONG, ROOM, 512).len(), 1);
    }

    #[test]
    fn what_is_missing_before_a_number_is_asked_for_and_found_at_a_peer() {
        let state = crate::fuzzing::genesis().state();
        let now = UNIX_EPOCH + LONG;
        let mut lacks = pool(1, &[2, 3, 6]);
        let has = pool(1, &[0, 1, 2, 4, 5]);
        let gap = |from, before| Gap {
            of: Numbered::Account(account(1)),
            from,
            before,
        };
        assert!(lacks.gaps(&state, UNIX_EPOCH, LONG, 64).is_empty());
        for found in [gap(0, 2), gap(4, 6)] {
            let gaps = lacks.gaps(&state, now, LONG, 64);
            assert_eq!(gaps, [found]);
            let filled = has.numbered(&gaps, ROOM, 4096);
            assert_eq!(filled.len(), 2);
            for bytes in filled {
                let transaction = Transaction::from_bytes(&bytes).expect("it was in a pool");
                let checked = Checked::known_to_be_good(transaction, state.chain());
                lacks.insert(checked, now);
            }
        }
        assert!(lacks.gaps(&state, now, LONG, 64).is_empty());
        assert_eq!(lacks.len(), 7);
        assert!(has.numbered(&[gap(0, 6)], 1, 4096).is_empty());
        assert_eq!(has.numbered(&[gap(0, 6)], ROOM, 4).len(), 4);
    }

    #[test]
    fn lanes_with_gaps_have_their_turn_where_there_are_many() {
        let state = crate::fuzzing::genesis().state();
        let mut pool = Pool::default();
        for from in 1..=5 {
            pool.insert(transfer(from, 3), UNIX_EPOCH);
        }
        let mut asked = Vec::new();
        for _ in 0..5 {
            let gaps = pool.gaps(&state, UNIX_EPOCH + LONG, LONG, 2);
            assert_eq!(gaps.len(), 2);
            asked.extend(gaps);
        }
        for from in 1..=5 {
            let of = Numbered::Account(account(from));
            assert_eq!(asked.iter().filter(|gap| gap.of == of).count(), 2);
        }
    }
}

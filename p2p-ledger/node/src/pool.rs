//! Transactions that wait for a block. Pure: what of it is on a disk is `store`'s business.
//!
//! A lane is whatever numbers its own transactions: a node its receipts, an account its transfers. Within a lane they are
//! offered by number; lanes take turns at being first. So one busy node neither keeps another one out nor loses its own
//! order.
//!
//! In turn is what could be done next in its lane, or right behind others that are in turn: by its number, by its signature and by
//! what the account has. All else is early: behind a gap, one more for a number, more than the account can pay. What is early
//! costs its sender nothing and may never be done, so it has little room, and not for long; and a block is offered only what is
//! in turn on the state that it follows on. Where there is too much of it, what only peers passed on goes before what was
//! acknowledged here. What was acknowledged before this node stopped does not go for room at all, and not while the node is
//! behind: what is early by an old state may be in turn by the next.
//!
//! What has no number is in turn if a state would take it. That, and whatever else is beyond a lane (a height, another node's key),
//! is looked at again from time to time ([`Pool::look`]).
//!
//! What was done is remembered for a while by name, since a submission may come twice (`tally_net::Caller`): the second time it
//! is done already, whatever the state says to one like it.
//!
//! Whatever waits for long is named to peers, part after part and again from the first on; and what is missing before a number that
//! waits can be asked for (`actor::entropy`).
//!
//! Bounds: [`POOL_BYTES`] in all, [`LANE_BYTES`] for one lane, [`EARLY_BYTES`] and [`EARLY_COUNT`] for what is early, which goes after
//! [`EARLY_FOR`], and oldest first where there is more (what was on this node's disk when it started has room of its own); [`DONE`]
//! names.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tally_ledger::{
    AccountId, AccountNonce, Checked, Credits, Height, MAX_TRANSACTION_BYTES, NodeId, Proposed,
    Request, Revision, Sequence, State, TransactionError, TransactionId,
};
use tally_receipt::PublicKey;

use crate::wire::{Gap, Numbered};

/// Bytes of all transactions that wait.
const POOL_BYTES: usize = 128 * 1024 * 1024;
/// Bytes of those of one lane.
const LANE_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of all that are early, and how many those may be: some of the last seconds, where they came in another order.
const EARLY_BYTES: usize = 8 * 1024 * 1024;
const EARLY_COUNT: usize = 16_384;
/// How long one may be early. Whoever still means it sends it again.
const EARLY_FOR: Duration = Duration::from_secs(600);
/// For how long it is named to peers meanwhile: or they would give it back to each other for ever.
const EARLY_NAMED_FOR: Duration = Duration::from_secs(300);
/// Transactions that were done last, and are known by name. They are of the last minutes even where blocks are full.
pub(crate) const DONE: usize = 65_536;
/// How far ahead of its turn a transaction may be: numbers within a lane.
const AHEAD: u64 = 1_000_000;
/// Places that are looked at, at most, for names, for gaps or again: what is behind them has its turn the next time.
const LOOKED: usize = 8192;
/// And of the rest, those that a state would take: to see that may be to check a voucher's signature.
const LOOKED_GOOD: usize = 1024;

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

/// Where a transaction came from. Of what is early, the first of these makes room first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A peer passed it on, on whose disk it is.
    Peer,
    /// A caller, to whom it is acknowledged here.
    Caller,
    /// This node's disk: it was acknowledged here before the node stopped.
    Disk,
}

#[derive(Debug)]
struct Waiting {
    lane: Lane,
    turn: Turn,
    checked: Checked,
    source: Source,
    since: SystemTime,
    passed_on: bool,
}

impl Waiting {
    fn bytes(&self) -> &[u8] {
        self.checked.transaction().as_bytes()
    }
}

/// What is early: by where it came from, and by arrival.
#[derive(Debug, Default)]
struct Early {
    ids: BTreeMap<(Source, u64), TransactionId>,
    /// How many may have to make room, and their bytes.
    count: usize,
    bytes: usize,
}

impl Early {
    fn len(&self) -> usize {
        self.ids.len()
    }

    fn has(&self, waiting: &Waiting) -> bool {
        self.ids
            .contains_key(&(waiting.source, waiting.turn.arrival))
    }

    /// Whether it was not here yet.
    fn put(&mut self, waiting: &Waiting) -> bool {
        let place = (waiting.source, waiting.turn.arrival);
        let is_new = self.ids.insert(place, waiting.checked.id()).is_none();
        if is_new && waiting.source != Source::Disk {
            self.count += 1;
            self.bytes += waiting.bytes().len();
        }
        is_new
    }

    /// Whether it was here.
    fn take(&mut self, waiting: &Waiting) -> bool {
        let place = (waiting.source, waiting.turn.arrival);
        let was_here = self.ids.remove(&place).is_some();
        if was_here && waiting.source != Source::Disk {
            self.count -= 1;
            self.bytes -= waiting.bytes().len();
        }
        was_here
    }

    /// The oldest that came from there.
    fn first(&self, source: Source) -> Option<TransactionId> {
        let all = self.ids.range((source, 0)..=(source, u64::MAX));
        all.map(|(_, id)| *id).next()
    }

    fn is_much(&self) -> bool {
        self.bytes > EARLY_BYTES || self.count > EARLY_COUNT
    }
}

#[derive(Debug)]
struct Queue {
    turns: BTreeMap<Turn, TransactionId>,
    bytes: usize,
    /// What follows on those that are in turn.
    course: Course,
    /// How many are early.
    early: usize,
}

/// What the next transaction of a lane must be: as a state has it, and then as those before it leave it.
#[derive(Clone, Copy, Debug)]
enum Course {
    /// Each stands for itself, and a state says whether it would take it.
    Any,
    Account {
        nonce: AccountNonce,
        /// What can be spent.
        left: Credits,
        /// Of the block that would have it.
        height: Height,
    },
    Node {
        sequence: Sequence,
        revision: Revision,
        /// Who must sign.
        key: PublicKey,
        /// Whether it has a role, without which it settles nothing.
        may_settle: bool,
    },
    /// There is no such node.
    Nothing,
}

impl Course {
    fn of(lane: Lane, state: &State) -> Self {
        match lane {
            Lane::Account(id) => {
                let account = state.account(id);
                Self::Account {
                    nonce: account.nonce,
                    left: account.balance,
                    height: state.head().height.next(),
                }
            }
            Lane::Node(id) => state.node(id).map_or(Self::Nothing, |node| Self::Node {
                sequence: node.settled,
                revision: node.revision.next(),
                key: node.key,
                may_settle: node.terms.roles.any(),
            }),
            Lane::Rest => Self::Any,
        }
    }

    /// The number of the next one that has a number.
    fn number(&self) -> Option<u64> {
        match self {
            Self::Account { nonce, .. } => Some(nonce.get()),
            Self::Node { sequence, .. } => Some(sequence.get()),
            Self::Any | Self::Nothing => None,
        }
    }

    /// Whether something else than what is in turn here has led to where a state is.
    fn is_behind(&self, state: &Self) -> bool {
        if let (
            Self::Node {
                revision,
                key,
                may_settle,
                ..
            },
            Self::Node {
                revision: new,
                key: of,
                may_settle: may,
                ..
            },
        ) = (self, state)
            && (new > revision || key != of || may_settle != may)
        {
            return true;
        }
        state.number() > self.number()
    }

    /// Whether a transaction is the next one, and can be done as far as its own lane is concerned.
    fn admits(&self, checked: &Checked) -> bool {
        let pays = |left: Credits, amount: Credits| amount != Credits::ZERO && amount <= left;
        let signed = |key: PublicKey| checked.transaction().signers().any(|signer| signer == key);
        match (*self, checked.transaction().request()) {
            (Self::Any, _) => true,
            (
                Self::Account { nonce, left, .. },
                Request::Transfer {
                    nonce: of, amount, ..
                },
            ) => nonce == *of && pays(left, *amount),
            (
                Self::Account {
                    nonce,
                    left,
                    height,
                },
                Request::Reserve {
                    nonce: of,
                    amount,
                    expires,
                    ..
                },
            ) => nonce == *of && pays(left, *amount) && *expires > height,
            (
                Self::Node {
                    sequence,
                    key,
                    may_settle,
                    ..
                },
                Request::Settle { first, .. },
            ) => sequence == *first && may_settle && signed(key),
            (Self::Node { revision, key, .. }, Request::Update { revision: of, .. }) => {
                revision == *of && signed(key)
            }
            _ => false,
        }
    }

    /// Goes on behind a transaction that it admits.
    fn pass(&mut self, checked: &Checked) {
        match (self, checked.transaction().request()) {
            (
                Self::Account { nonce, left, .. },
                Request::Transfer { amount, .. } | Request::Reserve { amount, .. },
            ) => {
                *nonce = AccountNonce::new(nonce.get().saturating_add(1));
                *left = left.minus(*amount).unwrap_or_default();
            }
            (Self::Node { sequence, .. }, request @ Request::Settle { .. }) => {
                *sequence = Sequence::new(after(request));
            }
            (
                Self::Node {
                    revision,
                    key,
                    may_settle,
                    ..
                },
                Request::Update {
                    key: next, terms, ..
                },
            ) => {
                *revision = Revision::new(revision.get().saturating_add(1));
                *key = *next;
                *may_settle = terms.roles.any();
            }
            _ => {}
        }
    }
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
    early: Early,
    /// When this node was behind others the last time.
    behind: Option<SystemTime>,
    /// Behind this lane the next offer begins: it was the first the last time or, where not all had room, the last of which
    /// something had.
    offered: Option<Lane>,
    /// The last lane, and the last place in the lane of the rest, that were looked at again.
    looked: Option<Lane>,
    looked_in_rest: Option<Turn>,
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

/// All of a map, once: from behind the last one that was looked at, and then from the beginning up to it.
fn round<K: Ord + Copy, V>(
    map: &BTreeMap<K, V>,
    last: Option<K>,
) -> impl Iterator<Item = (&K, &V)> {
    let begin = last.map_or(Bound::Unbounded, Bound::Excluded);
    let behind = map.range((begin, Bound::Unbounded));
    // Without a last one, all of it is behind.
    let again = last.map(|last| map.range(..=last));
    behind.chain(again.into_iter().flatten())
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

/// Refuses what an account without a credit would do later: it costs nobody anything to make such an account.
fn has_credits(state: &State, checked: &Checked) -> Result<(), RefusedEntry> {
    let (id, needed) = match checked.transaction().request() {
        Request::Transfer { from, amount, .. } => (*from, *amount),
        Request::Reserve { payer, amount, .. } => (*payer, *amount),
        _ => return Ok(()),
    };
    let balance = state.account(id).balance;
    if balance == Credits::ZERO {
        let reason = TransactionError::NotEnough { balance, needed };
        return Err(RefusedEntry::Impossible(reason));
    }
    Ok(())
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
            Err(reason @ TransactionError::Nonce { .. }) if reason.may_become_good() => {
                has_credits(state, checked)?;
            }
            Err(
                reason @ (TransactionError::Sequence { .. } | TransactionError::Decision { .. }),
            ) if reason.may_become_good() => {}
            Err(TransactionError::BlockFull | TransactionError::SecondChange) => {}
            // What it waits for may never come; whoever sent it sends it again once it has. So with a node's changes, which are
            // rare: each is sent once the one before it was done.
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

    /// Whether there is no room for a transaction of any size.
    fn is_full(&self) -> bool {
        self.bytes > POOL_BYTES - MAX_TRANSACTION_BYTES
    }

    /// Which of these are not here and were not done; none while there is no room for them.
    pub(crate) fn lacking(&self, mut names: Vec<TransactionId>) -> Vec<TransactionId> {
        if self.is_full() {
            return Vec::new();
        }
        names.retain(|id| !self.waiting.contains_key(id) && !self.done.contains(id));
        names
    }

    /// Takes a transaction in that was judged new by this state; or notes that one which waits came from elsewhere as well.
    pub(crate) fn insert(
        &mut self,
        state: &State,
        checked: Checked,
        source: Source,
        now: SystemTime,
    ) {
        let id = checked.id();
        if let Some(waiting) = self.waiting.get_mut(&id) {
            if waiting.source < source {
                let is_early = self.early.take(waiting);
                waiting.source = source;
                if is_early {
                    self.early.put(waiting);
                }
            }
            return;
        }
        let (lane, number) = lane(checked.transaction().request());
        self.arrivals += 1;
        let turn = Turn {
            number,
            arrival: self.arrivals,
        };
        let waiting = Waiting {
            lane,
            turn,
            checked,
            source,
            since: now,
            passed_on: false,
        };
        let queue = self.lanes.entry(lane).or_insert_with(|| Queue {
            turns: BTreeMap::new(),
            bytes: 0,
            course: Course::of(lane, state),
            early: 0,
        });
        queue.turns.insert(turn, id);
        let bytes = waiting.bytes().len();
        queue.bytes += bytes;
        self.bytes += bytes;
        let is_in_turn = queue.course.admits(&waiting.checked)
            && (lane != Lane::Rest || state.would_accept(&waiting.checked).is_ok());
        if is_in_turn {
            queue.course.pass(&waiting.checked);
        } else {
            queue.early += 1;
            self.early.put(&waiting);
        }
        self.waiting.insert(id, waiting);
        if is_in_turn {
            self.follow(lane);
        }
        self.let_go(now);
    }

    /// Counts as in turn what was early in a lane and follows now on what is in turn.
    fn follow(&mut self, lane: Lane) {
        let Some(queue) = self.lanes.get_mut(&lane) else {
            return;
        };
        while queue.early > 0
            && let Some(number) = queue.course.number()
        {
            let first = Turn { number, arrival: 0 };
            let last = Turn {
                number,
                arrival: u64::MAX,
            };
            let next = queue
                .turns
                .range(first..=last)
                .map(|(_, id)| &self.waiting[id])
                .find(|waiting| self.early.has(waiting) && queue.course.admits(&waiting.checked));
            let Some(waiting) = next else {
                return;
            };
            queue.course.pass(&waiting.checked);
            queue.early -= 1;
            self.early.take(waiting);
        }
    }

    /// Counts anew what of a lane is in turn, and what is early.
    fn measure(&mut self, lane: Lane, state: &State) {
        let Some(queue) = self.lanes.get_mut(&lane) else {
            return;
        };
        queue.course = Course::of(lane, state);
        queue.early = 0;
        for id in queue.turns.values() {
            let waiting = &self.waiting[id];
            let checked = &waiting.checked;
            // Whether a new key is another node's by now is beyond its own lane.
            let is_change = matches!(checked.transaction().request(), Request::Update { .. });
            if queue.course.admits(checked) && (!is_change || state.would_accept(checked).is_ok()) {
                queue.course.pass(checked);
                self.early.take(waiting);
            } else {
                queue.early += 1;
                self.early.put(waiting);
            }
        }
    }

    /// Counts anew what of the rest is in turn, and what is early, and forgets what has become impossible: the next places each
    /// time.
    fn look_at_rest(&mut self, state: &State) {
        let Some(queue) = self.lanes.get_mut(&Lane::Rest) else {
            return;
        };
        let last = self.looked_in_rest;
        let (mut impossible, mut good) = (Vec::new(), 0);
        for (turn, id) in round(&queue.turns, last).take(LOOKED) {
            if good == LOOKED_GOOD {
                break;
            }
            let waiting = &self.waiting[id];
            match state.would_accept(&waiting.checked) {
                Ok(()) => {
                    good += 1;
                    if self.early.take(waiting) {
                        queue.early -= 1;
                    }
                }
                Err(reason) if reason.may_become_good() => {
                    if self.early.put(waiting) {
                        queue.early += 1;
                    }
                }
                Err(_) => impossible.push(*id),
            }
            self.looked_in_rest = Some(*turn);
        }
        for id in impossible {
            self.remove(&id);
        }
    }

    /// Looks again at what is in turn where nothing was done of late, by the last final state: at some of the rest, and at the next
    /// lanes with numbers.
    pub(crate) fn look(&mut self, state: &State) {
        self.look_at_rest(state);
        let last = self.looked;
        let (mut next, mut count) = (Vec::new(), 0);
        for (lane, queue) in round(&self.lanes, last) {
            count += queue.turns.len();
            if count > LOOKED && !next.is_empty() {
                break;
            }
            next.push(*lane);
        }
        for lane in next {
            self.looked = Some(lane);
            if lane != Lane::Rest {
                self.measure(lane, state);
            }
        }
    }

    /// Says that this node is behind others: what it has acknowledged may be early by its own state only.
    pub(crate) fn was_behind(&mut self, now: SystemTime) {
        self.behind = Some(now);
    }

    /// Lets go of what has been early for too long, and of the oldest where there is too much.
    pub(crate) fn let_go(&mut self, now: SystemTime) {
        for source in [Source::Peer, Source::Caller, Source::Disk] {
            while let Some(id) = self.early.first(source) {
                let mut since = self.waiting[&id].since;
                let is_kept = source == Source::Disk;
                if is_kept && let Some(behind) = self.behind {
                    since = since.max(behind);
                }
                let is_late = since + EARLY_FOR <= now;
                if !is_late && (is_kept || !self.early.is_much()) {
                    break;
                }
                self.remove(&id);
            }
        }
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
        if self.early.take(&waiting) {
            queue.early -= 1;
        }
        if queue.turns.is_empty() {
            self.lanes.remove(&waiting.lane);
        }
    }

    pub(crate) fn get(&self, id: &TransactionId) -> Option<&Checked> {
        self.waiting.get(id).map(|waiting| &waiting.checked)
    }

    /// Whether it waits and is on no disk but those of peers.
    pub(crate) fn is_only_passed_on(&self, id: &TransactionId) -> bool {
        self.waiting
            .get(id)
            .is_some_and(|waiting| waiting.source == Source::Peer)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether something waits that is in turn.
    pub(crate) fn has_some_in_turn(&self) -> bool {
        self.waiting.len() > self.early.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Transactions for a block of about `limit` bytes on a state, in the order in which they should be tried: those that are in
    /// turn there. The next call begins with another lane.
    pub(crate) fn offer(&mut self, parent: &State, limit: usize) -> Vec<Checked> {
        let last = self.offered;
        let (mut offered, mut bytes, mut first) = (Vec::new(), 0, None);
        let (mut before, mut looked) = (None, 0);
        'lanes: for (lane, queue) in round(&self.lanes, last) {
            let had = offered.len();
            let mut course = Course::of(*lane, parent);
            let next = course.number().unwrap_or(0);
            let at = |number| Turn { number, arrival: 0 };
            // A node's changes have no number. Of the others, those of lower ones were done.
            let unnumbered = queue.turns.range(..at(1));
            let numbered = queue.turns.range(at(next.max(1))..);
            for (turn, id) in unnumbered.chain(numbered) {
                if course.number().is_some_and(|next| next < turn.number) {
                    break;
                }
                let waiting = &self.waiting[id];
                let checked = &waiting.checked;
                if !course.admits(checked) {
                    continue;
                }
                // Whether a new key is another node's by now is beyond its own lane. What of the rest is early may be in turn
                // here, which is worth a look as far as there are few; of many, `look` finds those in the end.
                let is_change = matches!(checked.transaction().request(), Request::Update { .. });
                let is_early = *lane == Lane::Rest && self.early.has(waiting);
                if is_early {
                    looked += 1;
                }
                if is_early && looked > LOOKED
                    || (is_change || is_early) && parent.would_accept(checked).is_err()
                {
                    continue;
                }
                let more = checked.transaction().as_bytes().len();
                if bytes + more > limit && !offered.is_empty() {
                    // A lane of which nothing had room is the first the next time.
                    first = if offered.len() > had {
                        Some(*lane)
                    } else {
                        before
                    };
                    break 'lanes;
                }
                course.pass(checked);
                bytes += more;
                offered.push(checked.clone());
                first = first.or(Some(*lane));
            }
            before = Some(*lane);
        }
        self.offered = first.or(last);
        offered
    }

    /// Notes what became of an offer: the next one begins with the first lane that had no room in the block, with nothing of it.
    pub(crate) fn proposed(&mut self, proposed: &Proposed) {
        let lane_of = |checked: &Checked| lane(checked.transaction().request()).0;
        let has_some: BTreeSet<Lane> = proposed.transactions.iter().map(lane_of).collect();
        let mut left = proposed.left.iter().map(lane_of);
        let Some(lane) = left.find(|lane| !has_some.contains(lane)) else {
            return;
        };
        let before = self.lanes.range(..lane).next_back();
        self.offered = before
            .or_else(|| self.lanes.last_key_value())
            .map(|(lane, _)| *lane);
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
            if lane == Lane::Rest {
                self.look_at_rest(state);
                continue;
            }
            // The first that can still be done ends the search.
            let mut was_impossible = false;
            while let Some(id) = self.impossible(lane, state) {
                was_impossible = true;
                self.remove(&id);
            }
            // Where all that is left was in turn and nothing else was done, it still is; and a long lane is looked at again.
            let is_other = |queue: &Queue| {
                was_impossible
                    || queue.early > 0 && queue.turns.len() <= LOOKED
                    || queue.course.is_behind(&Course::of(lane, state))
            };
            if self.lanes.get(&lane).is_some_and(is_other) {
                self.measure(lane, state);
            }
        }
    }

    /// The first of a lane, if it can never be done.
    fn impossible(&self, lane: Lane, state: &State) -> Option<TransactionId> {
        let (_, id) = self.lanes.get(&lane)?.turns.first_key_value()?;
        let reason = state.would_accept(&self.waiting[id].checked).err()?;
        (!reason.may_become_good()).then_some(*id)
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

    /// Names of transactions that have waited for `long`, but of early ones only for a while: the next ones each time and, once all were named, the first ones again.
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
            let is_old = waiting.since + EARLY_NAMED_FOR <= now && self.early.has(waiting);
            if waiting.since + long <= now && !is_old {
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
    /// time. None while there is no room for what is missing.
    pub(crate) fn gaps(
        &mut self,
        state: &State,
        now: SystemTime,
        long: Duration,
        count: usize,
    ) -> Vec<Gap> {
        if self.is_full() {
            return Vec::new();
        }
        let last = self.searched;
        let (mut gaps, mut looked, mut at) = (Vec::new(), 0, last);
        for (lane, queue) in round(&self.lanes, last) {
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
    use std::time::UNIX_EPOCH;

    use tally_ledger::{
        Allocation, Genesis, HoldId, Roles, Settlement, Terms, Transaction, Voucher,
    };
    use tally_receipt::{Digest, SigningKey};

    use super::*;

    const LONG: Duration = Duration::from_secs(2);
    const ROOM: usize = 1 << 20; // bytes

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn account(seed: u8) -> AccountId {
        AccountId::new(key(seed).public_key())
    }

    fn node(seed: u8) -> NodeId {
        NodeId::new(key(seed).public_key())
    }

    /// Account 1 has ten credits, account 150 a thousand, and nobody else has any.
    fn genesis() -> Genesis {
        let mut accounts = vec![(account(1), 10), (account(150), 1000)];
        accounts.sort_unstable();
        let allocation = |(account, credits)| Allocation {
            account,
            credits: Credits::new(credits),
        };
        Genesis {
            accounts: accounts.into_iter().map(allocation).collect(),
            ..crate::fuzzing::genesis()
        }
    }

    fn signed_by(request: Request, keys: &[&SigningKey]) -> Checked {
        let chain = genesis().chain();
        let signed = request.sign(chain, keys);
        Checked::known_to_be_good(signed.expect("a transaction"), chain)
    }

    fn signed(request: Request, by: u8) -> Checked {
        signed_by(request, &[&key(by)])
    }

    fn transfer_to(from: u8, nonce: u64, to: u8) -> Checked {
        let request = Request::Transfer {
            from: account(from),
            nonce: AccountNonce::new(nonce),
            to: account(to),
            amount: Credits::new(1),
        };
        signed(request, from)
    }

    fn transfer(from: u8, nonce: u64) -> Checked {
        transfer_to(from, nonce, 200)
    }

    fn settle(by: u8, first: u64, count: usize) -> Checked {
        let request = Request::Settle {
            node: node(by),
            first: Sequence::new(first),
            receipts: Settlement::Hashes(vec![Digest::of(b"a receipt"); count]),
        };
        signed(request, by)
    }

    fn terms() -> Terms {
        Terms {
            roles: Roles::INFERENCE,
            evidence: None,
            endpoint: None,
            price: Credits::ZERO,
        }
    }

    fn register(number: u8) -> Checked {
        let request = Request::Register {
            owner: account(number),
            node: node(number),
            terms: terms(),
        };
        signed(request, number)
    }

    /// What a block does that has all of these, and the state after it.
    fn block(state: &State, all: Vec<Checked>) -> (Vec<Done>, State) {
        let count = all.len();
        let proposed = state.propose(state.head().time, all);
        assert_eq!(proposed.transactions.len(), count);
        let in_block = proposed.transactions.iter().map(done).collect();
        (in_block, proposed.executed.state)
    }

    /// The state in which so many are registered, from 1 on.
    fn registered(count: u8) -> State {
        block(&genesis().state(), (1..=count).map(register).collect()).1
    }

    /// A pool of one account's transactions with these nonces, which came at the beginning of 1970.
    fn pool(from: u8, nonces: &[u64]) -> Pool {
        let state = genesis().state();
        let mut pool = Pool::default();
        for nonce in nonces {
            pool.insert(&state, transfer(from, *nonce), Source::Caller, UNIX_EPOCH);
        }
        pool
    }

    #[test]
    fn all_that_has_waited_is_named_in_turn_and_never_more_than_one_answer_holds() {
        let (state, now) = (genesis().state(), UNIX_EPOCH + LONG);
        let mut pool = pool(1, &[0, 1, 2, 3, 9]);
        for from in 2..7 {
            pool.insert(&state, transfer(from, 7), Source::Caller, UNIX_EPOCH);
        }
        let old: BTreeSet<TransactionId> = pool.waiting.keys().copied().collect();
        pool.insert(&state, transfer(1, 5), Source::Caller, now);
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
        let state = genesis().state();
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
                lacks.insert(&state, checked, Source::Caller, now);
            }
        }
        assert!(lacks.gaps(&state, now, LONG, 64).is_empty());
        assert_eq!(lacks.len(), 7);
        assert!(has.numbered(&[gap(0, 6)], 1, 4096).is_empty());
        assert_eq!(has.numbered(&[gap(0, 6)], ROOM, 4).len(), 4);
    }

    #[test]
    fn lanes_with_gaps_have_their_turn_where_there_are_many() {
        let state = genesis().state();
        let mut pool = Pool::default();
        for from in 1..=5 {
            pool.insert(&state, transfer(from, 3), Source::Caller, UNIX_EPOCH);
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

    #[test]
    fn what_is_early_keeps_nothing_out_of_a_block_however_much_of_it_there_is() {
        let state = registered(101);
        let mut nodes: Vec<u8> = (1..=101).collect();
        nodes.sort_unstable_by_key(|number| node(*number));
        let (last, others) = nodes.split_last().expect("a hundred and one");
        let mut pool = Pool::default();
        for number in others {
            pool.insert(&state, settle(*number, 5, 1000), Source::Caller, UNIX_EPOCH);
        }
        assert!(pool.bytes() > 3 << 20, "{}", pool.bytes());
        assert!(!pool.has_some_in_turn());
        let wanted = settle(*last, 0, 1);
        pool.insert(&state, wanted.clone(), Source::Caller, UNIX_EPOCH);
        assert!(pool.has_some_in_turn());
        let limit = state.parameters().block_bytes as usize;
        for _ in 0..300 {
            assert_eq!(pool.offer(&state, limit), std::slice::from_ref(&wanted));
        }
    }

    #[test]
    fn what_is_early_has_little_room_and_not_for_long_and_what_is_in_turn_stays() {
        let state = registered(1);
        let mut pool = Pool::default();
        let next = settle(1, 0, 1);
        pool.insert(&state, next.clone(), Source::Caller, UNIX_EPOCH);
        let early = |number: u64| settle(1, number * 1000, 1000);
        let at = |number| UNIX_EPOCH + Duration::from_secs(number);
        for number in 1..=300 {
            pool.insert(&state, early(number), Source::Caller, at(number));
        }
        let one = early(1).transaction().as_bytes().len();
        assert!(pool.early.bytes <= EARLY_BYTES && pool.early.bytes + one > EARLY_BYTES);
        assert_eq!(
            pool.bytes(),
            pool.early.bytes + next.transaction().as_bytes().len()
        );
        assert!(pool.get(&early(1).id()).is_none(), "it came first");
        assert!(pool.get(&early(300).id()).is_some(), "it came last");
        pool.let_go(at(299) + EARLY_FOR);
        assert!(pool.get(&early(299).id()).is_none());
        assert!(pool.get(&early(300).id()).is_some());
        pool.let_go(at(300) + EARLY_FOR);
        assert_eq!((pool.len(), pool.early.bytes), (1, 0));
        assert!(pool.get(&next.id()).is_some());
    }

    #[test]
    fn what_has_no_number_and_cannot_be_done_any_more_keeps_nothing_else_out() {
        let reserve = Request::Reserve {
            payer: account(150),
            nonce: AccountNonce::new(0),
            payee: account(151),
            amount: Credits::new(1000),
            expires: Height::new(100),
        };
        let hold = HoldId::of(account(150), AccountNonce::new(0));
        let chain = genesis().chain();
        let redeem = |total: u64| {
            let voucher = Voucher::sign(chain, hold, Credits::new(total), &key(150));
            let request = Request::Redeem {
                hold,
                voucher: Some(voucher),
                close: true,
            };
            signed(request, 151)
        };
        let (_, state) = block(&genesis().state(), vec![signed(reserve, 150)]);
        let mut pool = Pool::default();
        for total in 1..=200 {
            pool.insert(&state, redeem(total), Source::Caller, UNIX_EPOCH);
        }
        let wanted = register(1);
        pool.insert(&state, wanted.clone(), Source::Caller, UNIX_EPOCH);
        assert_eq!(pool.early.len(), 0);
        let limit = 20 * redeem(1).transaction().as_bytes().len();
        assert!(!pool.offer(&state, limit).contains(&wanted));
        // One of them ends the hold.
        let (in_block, state) = block(&state, vec![redeem(1)]);
        pool.settle(&state, &in_block);
        assert_eq!((pool.len(), pool.early.len()), (200, 199));
        pool.insert(&state, redeem(201), Source::Disk, UNIX_EPOCH);
        assert_eq!((pool.len(), pool.early.len()), (201, 200));
        for _ in 0..5 {
            assert_eq!(pool.offer(&state, limit), std::slice::from_ref(&wanted));
        }
        pool.let_go(UNIX_EPOCH + EARLY_FOR);
        assert_eq!((pool.len(), pool.early.len()), (1, 0));
        assert_eq!(pool.offer(&state, limit), [wanted]);
    }

    #[test]
    fn what_a_height_or_another_lane_made_impossible_is_in_turn_no_more() {
        let state = registered(1);
        let reserve = Request::Reserve {
            payer: account(1),
            nonce: AccountNonce::new(0),
            payee: account(2),
            amount: Credits::new(1),
            expires: state.head().height.next().next(),
        };
        let change = Request::Update {
            node: node(1),
            revision: Revision::new(1),
            key: key(80).public_key(),
            terms: terms(),
        };
        let mut pool = Pool::default();
        let all = [signed(reserve, 1), signed_by(change, &[&key(1), &key(80)])];
        for one in all {
            pool.insert(&state, one, Source::Caller, UNIX_EPOCH);
        }
        pool.look(&state);
        assert_eq!((pool.len(), pool.early.len()), (2, 0));
        // Another block passes, and another node has that key.
        let (in_block, state) = block(&state, vec![register(80)]);
        pool.settle(&state, &in_block);
        for _ in 0..2 {
            pool.look(&state);
            assert_eq!((pool.len(), pool.early.len()), (2, 2));
        }
        assert!(!pool.has_some_in_turn());
        pool.let_go(UNIX_EPOCH + EARLY_FOR);
        assert!(pool.is_empty());
    }

    #[test]
    fn a_lane_whose_first_has_no_room_beside_others_is_the_first_the_next_time() {
        let state = registered(3);
        let large = settle(3, 0, 1000);
        let mut pool = Pool::default();
        for one in [settle(1, 0, 1), settle(2, 0, 1), large.clone()] {
            pool.insert(&state, one, Source::Caller, UNIX_EPOCH);
        }
        let limit = large.transaction().as_bytes().len();
        let offers: Vec<Vec<Checked>> = (0..6).map(|_| pool.offer(&state, limit)).collect();
        let with_large = offers.iter().filter(|offer| offer.contains(&large));
        assert_eq!(with_large.count(), 3);
        assert!(offers.iter().flatten().any(|one| *one == settle(1, 0, 1)));
        assert!(offers.iter().flatten().any(|one| *one == settle(2, 0, 1)));
    }

    #[test]
    fn a_lane_that_found_no_room_in_a_block_is_the_first_the_next_time() {
        let state = registered(6);
        let limit = state.parameters().block_bytes as usize;
        let mut pool = Pool::default();
        for number in 1..=6 {
            let one = settle(number, 0, 4096);
            pool.insert(&state, one, Source::Caller, UNIX_EPOCH);
        }
        let mut in_blocks = BTreeSet::new();
        for _ in 0..2 {
            let offered = pool.offer(&state, limit);
            assert_eq!(offered.len(), 6);
            let proposed = state.propose(state.head().time, offered);
            // A block has 20,000 receipts.
            assert_eq!(proposed.transactions.len(), 4);
            pool.proposed(&proposed);
            in_blocks.extend(proposed.transactions.iter().map(Checked::id));
        }
        assert_eq!(in_blocks.len(), 6);
    }

    #[test]
    fn what_is_early_and_was_only_passed_on_makes_room_for_what_was_acknowledged() {
        let state = registered(2);
        let mut pool = Pool::default();
        let mut mine: Vec<Checked> = (1..=100).map(|n| settle(1, n * 1000, 1000)).collect();
        for one in &mine {
            pool.insert(&state, one.clone(), Source::Caller, UNIX_EPOCH);
        }
        let first_passed_on = settle(2, 1000, 1000);
        pool.insert(&state, first_passed_on.clone(), Source::Peer, UNIX_EPOCH);
        assert!(pool.is_only_passed_on(&first_passed_on.id()));
        pool.insert(&state, first_passed_on.clone(), Source::Caller, UNIX_EPOCH);
        assert!(!pool.is_only_passed_on(&first_passed_on.id()));
        mine.push(first_passed_on);
        let passed_on: Vec<Checked> = (2..=300).map(|n| settle(2, n * 1000, 1000)).collect();
        for one in &passed_on {
            pool.insert(&state, one.clone(), Source::Peer, UNIX_EPOCH);
        }
        assert!(pool.early.bytes <= EARLY_BYTES);
        assert!(pool.get(&passed_on[0].id()).is_none());
        assert!(pool.get(&passed_on[298].id()).is_some());
        assert!(mine.iter().all(|one| pool.get(&one.id()).is_some()));
    }

    #[test]
    fn what_was_acknowledged_before_a_restart_makes_no_room_and_waits_until_its_turn_comes() {
        let state = registered(2);
        let mut pool = Pool::default();
        for number in 1..=300 {
            let one = settle(1, number * 1000, 1000);
            pool.insert(&state, one, Source::Disk, UNIX_EPOCH);
        }
        for number in 1..=300 {
            let one = settle(2, number * 1000, 1000);
            pool.insert(&state, one, Source::Caller, UNIX_EPOCH);
        }
        assert!(pool.early.bytes <= EARLY_BYTES);
        let later = UNIX_EPOCH + EARLY_FOR;
        pool.was_behind(later);
        pool.let_go(later);
        assert_eq!((pool.len(), pool.early.len()), (300, 300));
        pool.insert(&state, settle(1, 0, 1000), Source::Peer, later);
        assert_eq!(pool.offer(&state, usize::MAX).len(), 301);
        // It does not wait for ever for what never comes.
        pool.insert(&state, settle(1, 900_000, 1), Source::Disk, later);
        pool.let_go(later + EARLY_FOR - Duration::from_secs(1));
        assert_eq!((pool.len(), pool.early.len()), (302, 1));
        pool.let_go(later + EARLY_FOR);
        assert_eq!((pool.len(), pool.early.len()), (301, 0));
    }

    #[test]
    fn an_account_is_in_turn_as_far_as_its_nonces_and_its_credits_go() {
        let state = genesis().state();
        let nonces = |offered: &[Checked]| -> Vec<u64> {
            let number = |one: &Checked| lane(one.transaction().request()).1;
            offered.iter().map(number).collect()
        };
        let mut pool = pool(1, &[2, 1]);
        assert_eq!(pool.early.len(), 2);
        pool.insert(&state, transfer(1, 0), Source::Caller, UNIX_EPOCH);
        assert_eq!(pool.early.len(), 0);
        // Of fifteen it can pay ten.
        for nonce in 3..15 {
            pool.insert(&state, transfer(1, nonce), Source::Caller, UNIX_EPOCH);
        }
        assert_eq!(pool.early.len(), 5);
        pool.insert(&state, transfer_to(1, 0, 201), Source::Caller, UNIX_EPOCH);
        assert_eq!(pool.early.len(), 6, "one more for a nonce");
        let offered = pool.offer(&state, ROOM);
        assert_eq!(nonces(&offered), (0..10).collect::<Vec<_>>());
        // A block has four of them.
        let proposed = state.propose(state.head().time, offered[..4].to_vec());
        assert_eq!(proposed.transactions.len(), 4);
        let in_block: Vec<Done> = proposed.transactions.iter().map(done).collect();
        let state = proposed.executed.state;
        pool.settle(&state, &in_block);
        assert_eq!((pool.len(), pool.early.len()), (11, 5));
        let offered = pool.offer(&state, ROOM);
        assert_eq!(nonces(&offered), (4..10).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_early_for_long_is_named_no_more_and_what_is_in_turn_is() {
        let mut pool = pool(1, &[0, 3]);
        let (next, early) = (transfer(1, 0).id(), transfer(1, 3).id());
        let mut names = |after: Duration| -> BTreeSet<TransactionId> {
            let names = pool.names(UNIX_EPOCH + after, LONG, ROOM, 512);
            names.into_iter().collect()
        };
        let second = Duration::from_secs(1);
        let both = BTreeSet::from([next, early]);
        assert_eq!(names(EARLY_NAMED_FOR - second), both);
        assert_eq!(names(EARLY_NAMED_FOR), BTreeSet::from([next]));
        assert_eq!(names(2 * EARLY_FOR), BTreeSet::from([next]));
    }

    #[test]
    fn nothing_is_asked_for_while_there_is_no_room_for_it() {
        let (state, now) = (genesis().state(), UNIX_EPOCH + LONG);
        let mut pool = pool(1, &[0, 3]);
        let names = || [0, 1].map(|nonce| transfer(1, nonce).id()).to_vec();
        assert_eq!(pool.lacking(names()), [transfer(1, 1).id()]);
        assert_eq!(pool.gaps(&state, now, LONG, 64).len(), 1);
        let bytes = std::mem::replace(&mut pool.bytes, POOL_BYTES - MAX_TRANSACTION_BYTES + 1);
        assert!(pool.lacking(names()).is_empty());
        assert!(pool.gaps(&state, now, LONG, 64).is_empty());
        pool.bytes = bytes;
        assert_eq!(pool.gaps(&state, now, LONG, 64).len(), 1);
    }

    #[test]
    fn what_an_account_without_credits_would_do_later_is_refused() {
        let (state, pool) = (genesis().state(), Pool::default());
        assert_eq!(pool.judge(&state, &transfer(1, 5)), Ok(Entry::New));
        let refused = pool.judge(&state, &transfer(2, 5)).unwrap_err();
        let expected = TransactionError::NotEnough {
            balance: Credits::ZERO,
            needed: Credits::new(1),
        };
        assert_eq!(refused, RefusedEntry::Impossible(expected));
    }
}

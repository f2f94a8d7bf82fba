//! Anti-entropy: a transaction that one node has reaches all that are connected with it and have room, whatever was lost on the way.
//!
//! ```text
//! A, each second:  some that have waited here ──▶ all     by name: the next ones each time, until all were named
//! B:               ◀── those that are not here, unless there is no room
//! A:               them, as if they were passed on ──▶
//!
//! B, each second:  the numbers that are missing before some that wait here ──▶ A     one of those that name some, in turn
//! A:               what waits there with these numbers ──▶
//! ```
//!
//! Names leave nothing out, and numbers are faster: accounts and runners number what they do without gaps, so whoever has a
//! later one knows what it lacks. Whatever is lost is named and asked for again.
//!
//! Invariants:
//! * Names of one message are those of transactions that fit one answer. So what is sent and not taken, again and again, keeps
//!   nothing else out.
//! * A peer costs a fixed amount of work and of bytes in a second, whatever it says: within [`EVERY`], one message of names is
//!   looked at, and one question of each kind is answered, with up to [`ANSWER_BYTES`]. What one peer is asked for does not depend
//!   on what another one has named: nobody keeps others from being asked.
//! * What comes is taken in as what is passed on ([`arrivals`](super::arrivals)): checked, and judged by the last final state.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{Recipients, Sender};
use tally_ledger::{MAX_VALIDATORS, TransactionId};

use super::{Actor, arrivals};
use crate::Runtime;
use crate::consensus::Consensus;
use crate::wire::{self, Gap, HistoryMessage, Transactions};

/// A transaction that waited so long is named, and so is a gap before it: by then it is in a block, or was passed on and that was
/// lost, or there are many.
const NAMED_AFTER: Duration = Duration::from_secs(2);
/// The shortest time between two messages of a kind that are heard of one peer. Each is sent once a second.
const EVERY: Duration = Duration::from_millis(500);
/// A peer that named some within this time may have what is missing here.
const HAS_SOME: Duration = Duration::from_secs(3);
/// Bytes of the transactions in one answer: one of any length fits.
const ANSWER_BYTES: usize = arrivals::BYTES;

/// What peers have said, and when.
#[derive(Debug, Default)]
pub(super) struct Entropy {
    peers: BTreeMap<PublicKey, Peer>,
    /// Whose turn it is to be asked for what is missing.
    turn: usize,
}

#[derive(Debug, Default)]
struct Peer {
    names: Heard,
    wanted: Heard,
    wanted_numbers: Heard,
}

/// When something was heard the last time.
#[derive(Debug, Default)]
struct Heard(Option<SystemTime>);

impl Heard {
    /// Whether it was within `time`. A clock that was put back does not make it longer.
    fn is_within(&self, time: Duration, now: SystemTime) -> bool {
        self.0
            .and_then(|at| now.duration_since(at).ok())
            .is_some_and(|since| since < time)
    }

    /// Whether it is heard now: not so soon after the last time.
    fn hear(&mut self, now: SystemTime) -> bool {
        let is_soon = self.is_within(EVERY, now);
        if !is_soon {
            self.0 = Some(now);
        }
        !is_soon
    }
}

impl Entropy {
    fn peer(&mut self, key: &PublicKey) -> &mut Peer {
        // Those of other epochs go with the others: who is here is heard again at once.
        if self.peers.len() > 2 * MAX_VALIDATORS {
            self.peers.clear();
        }
        self.peers.entry(key.clone()).or_default()
    }

    /// Who is asked next for what is missing.
    fn next(&mut self, now: SystemTime) -> Option<PublicKey> {
        let have_some: Vec<&PublicKey> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.names.is_within(HAS_SOME, now))
            .map(|(key, _)| key)
            .collect();
        let turn = self.turn % have_some.len().max(1);
        let next = have_some.get(turn).copied().cloned();
        self.turn = turn + 1;
        next
    }
}

impl<E, C, S> Actor<E, C, S>
where
    E: Runtime,
    C: Consensus<E>,
    S: Sender<PublicKey = PublicKey>,
{
    /// Names some of what waits, and asks for what is missing before it.
    pub(super) fn compare(&mut self) {
        let now = self.now();
        if self.may_be_behind() {
            self.pool.was_behind(now);
        }
        self.pool.look(self.chain.tip());
        self.pool.let_go(now);
        let names = self
            .pool
            .names(now, NAMED_AFTER, ANSWER_BYTES, wire::NAMES_COUNT);
        if !names.is_empty() {
            self.say(Recipients::All, &HistoryMessage::Waiting(names));
        }
        let gaps = self
            .pool
            .gaps(self.chain.tip(), now, NAMED_AFTER, wire::GAPS_COUNT);
        if !gaps.is_empty()
            && let Some(peer) = self.entropy.next(now)
        {
            tracing::debug!(%peer, gaps = gaps.len(), "asking for what is missing before what waits");
            self.say(Recipients::One(peer), &HistoryMessage::WantNumbered(gaps));
        }
    }

    /// A peer has named what waits there.
    pub(super) fn named(&mut self, peer: &PublicKey, names: Vec<TransactionId>) {
        let now = self.now();
        if !self.entropy.peer(peer).names.hear(now) {
            return;
        }
        let names = self.pool.lacking(names);
        if !names.is_empty() {
            tracing::debug!(%peer, count = names.len(), "asking for transactions");
            let wanted = HistoryMessage::WantNamed(names);
            self.say(Recipients::One(peer.clone()), &wanted);
        }
    }

    /// A peer wants transactions that were named to it.
    pub(super) fn wanted(&mut self, peer: &PublicKey, names: &[TransactionId]) {
        let now = self.now();
        if self.entropy.peer(peer).wanted.hear(now) {
            self.send_waiting(peer, self.pool.named(names, ANSWER_BYTES));
        }
    }

    /// A peer wants what has the numbers that it lacks.
    pub(super) fn wanted_numbers(&mut self, peer: &PublicKey, gaps: &[Gap]) {
        let now = self.now();
        if self.entropy.peer(peer).wanted_numbers.hear(now) {
            let found = self.pool.numbered(gaps, ANSWER_BYTES, arrivals::SIGNATURES);
            self.send_waiting(peer, found);
        }
    }

    fn send_waiting(&mut self, peer: &PublicKey, found: Vec<Bytes>) {
        if !found.is_empty() {
            let message = wire::encode(&Transactions(found));
            self.senders
                .transactions
                .send(Recipients::One(peer.clone()), message, false);
        }
    }

    fn say(&mut self, to: Recipients<PublicKey>, message: &HistoryMessage) {
        self.senders.history.send(to, wire::encode(message), false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use tally_receipt::SigningKey;

    use super::*;

    #[test]
    fn a_peer_is_heard_twice_a_second_at_most_also_after_a_clock_was_put_back() {
        let mut heard = Heard::default();
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        let times = [5000, 5001, 5499, 5500, 5999, 6000, 1000, 1001, 1500];
        let is_heard = times.map(|ms| heard.hear(at(ms)));
        let expected = [true, false, false, true, false, true, true, false, true];
        assert_eq!(is_heard, expected);
    }

    #[test]
    fn those_that_named_some_of_late_are_asked_in_turn() {
        let keys: Vec<PublicKey> = (1..=3)
            .map(|seed| crate::simplex::key(&SigningKey::from_seed(&[seed; 32]).public_key()))
            .collect();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut entropy = Entropy::default();
        assert_eq!(entropy.next(at(1)), None);
        for (key, seconds) in keys.iter().zip([1, 9, 9]) {
            assert!(entropy.peer(key).names.hear(at(seconds)));
        }
        let asked: Vec<PublicKey> = (0..4).filter_map(|_| entropy.next(at(10))).collect();
        assert_eq!(asked.len(), 4);
        for key in &keys[1..] {
            assert_eq!(asked.iter().filter(|one| *one == key).count(), 2);
        }
    }
}

//! Who is nearby and is to be dialled, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tally_link::{NodeId, Ticket};
use tokio::time::Instant;

/// Before somebody is dialled again with whom there was no session; twice as long each time, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest of these pauses.
const LONGEST: Duration = Duration::from_secs(300);

/// A node that was seen, and with which there was no session yet.
struct Seen {
    ticket: Ticket,
    is_dialled: bool,
    due: Instant,
    pause: Duration,
}

/// The nodes of the local network that this side dials: each until there was one session with it that ended well.
#[derive(Default)]
pub(super) struct Around {
    seen: BTreeMap<NodeId, Seen>,
    met: BTreeSet<NodeId>,
}

impl Around {
    /// A node is there, or elsewhere now.
    pub(super) fn here(&mut self, ticket: Ticket, now: Instant) {
        let node = ticket.node;
        if self.met.contains(&node) {
            return;
        }
        let fresh = Seen {
            ticket: ticket.clone(),
            is_dialled: false,
            due: now,
            pause: PAUSE,
        };
        let seen = self.seen.entry(node).or_insert(fresh);
        if seen.ticket != ticket {
            (seen.ticket, seen.due, seen.pause) = (ticket, now, PAUSE);
        }
    }

    /// A node is not there any more.
    pub(super) fn gone(&mut self, node: &NodeId) {
        self.seen.remove(node);
    }

    /// Whom to dial now. It counts as being dialled until one of the others is said of it.
    pub(super) fn next(&mut self, now: Instant) -> Option<Ticket> {
        let idle = self.seen.values_mut().filter(|seen| !seen.is_dialled);
        let first = idle.min_by_key(|seen| seen.due)?;
        if first.due > now {
            return None;
        }
        first.is_dialled = true;
        Some(first.ticket.clone())
    }

    /// When somebody is to be dialled.
    pub(super) fn due(&self) -> Option<Instant> {
        let idle = self.seen.values().filter(|seen| !seen.is_dialled);
        idle.map(|seen| seen.due).min()
    }

    /// Nobody is being dialled any more, through no fault of theirs.
    pub(super) fn let_go(&mut self) {
        for seen in self.seen.values_mut() {
            seen.is_dialled = false;
        }
    }

    /// There was no session with a node, or it did not end well.
    pub(super) fn failed(&mut self, node: &NodeId, now: Instant) {
        if let Some(seen) = self.seen.get_mut(node) {
            seen.is_dialled = false;
            seen.due = now + seen.pause;
            seen.pause = (seen.pause * 2).min(LONGEST);
        }
    }

    /// There was a session that ended well.
    pub(super) fn met(&mut self, node: NodeId) {
        self.seen.remove(&node);
        self.met.insert(node);
    }
}

#[cfg(test)]
mod tests {
    use tally_link::{Address, NodeSecret};

    use super::*;

    fn at(number: u8, port: u16) -> Ticket {
        Ticket {
            node: NodeSecret::derive(&[number; 32]).node(),
            vault: None,
            addresses: vec![Address::Direct(([127, 0, 0, 1], port).into())],
        }
    }

    #[test]
    fn whoever_had_no_session_that_ended_well_is_dialled_again_and_less_and_less_often() {
        let (mut around, now) = (Around::default(), Instant::now());
        let one = at(1, 1);
        around.here(one.clone(), now);
        assert_eq!(around.next(now), Some(one.clone()));
        assert_eq!((around.next(now), around.due()), (None, None));
        let mut at = now;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            around.failed(&one.node, at);
            let due = around.due().expect("it is dialled again");
            assert_eq!(around.next(due - Duration::from_millis(1)), None);
            assert_eq!(around.next(due), Some(one.clone()));
            pauses.push(due - at);
            at = due;
        }
        assert_eq!(pauses[..3], [PAUSE, PAUSE * 2, PAUSE * 4]);
        assert_eq!(pauses.last(), Some(&LONGEST));

        around.met(one.node);
        around.here(one.clone(), at);
        assert_eq!((around.next(at + LONGEST), around.due()), (None, None));
    }

    #[test]
    fn whoever_was_let_go_for_another_ones_session_is_dialled_at_once() {
        let (mut around, now) = (Around::default(), Instant::now());
        let (one, two) = (at(1, 1), at(2, 2));
        around.here(one.clone(), now);
        around.here(two.clone(), now);
        assert!(around.next(now).is_some() && around.next(now).is_some());
        around.let_go();
        around.met(one.node);
        assert_eq!(around.due(), Some(now));
        assert_eq!(around.next(now), Some(two));
    }

    #[test]
    fn whoever_is_elsewhere_is_dialled_there_at_once_and_whoever_is_gone_is_not() {
        let (mut around, now) = (Around::default(), Instant::now());
        around.here(at(1, 1), now);
        let node = at(1, 1).node;
        assert!(around.next(now).is_some());
        around.failed(&node, now);
        assert_eq!(around.next(now), None);
        around.here(at(1, 2), now);
        assert_eq!(around.next(now), Some(at(1, 2)));
        around.gone(&node);
        around.failed(&node, now);
        assert_eq!((around.next(now + LONGEST), around.due()), (None, None));
    }
}

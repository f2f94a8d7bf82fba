//! Who is a member, as far as is known here.

use std::collections::BTreeSet;
use std::time::Duration;

use tally_vault::format::MemberId;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Between two readings: what somebody who is no member can make this computer read.
const AGAIN: Duration = Duration::from_secs(1);
/// Those who wait for the next reading.
const WAITING: usize = 8;

/// The members, when they were last read; none if they could not be.
type Read = Option<BTreeSet<MemberId>>;

/// A list of the members, and those who are not on it and came since it was last read: another program may have shared with them.
/// It is read in a thread of its own.
pub(super) struct Roll<P> {
    members: BTreeSet<MemberId>,
    asking: Vec<(MemberId, P)>,
    reading: Option<JoinHandle<Read>>,
    /// Those who were there when the reading began.
    judged: Vec<(MemberId, P)>,
    begun: Option<Instant>,
    is_old: bool,
}

impl<P> Roll<P> {
    pub(super) fn new() -> Self {
        Self {
            members: BTreeSet::new(),
            asking: Vec::new(),
            reading: None,
            judged: Vec::new(),
            begun: None,
            is_old: true,
        }
    }

    pub(super) fn knows(&self, member: &MemberId) -> bool {
        self.members.contains(member)
    }

    /// The list may not be true any more.
    pub(super) fn doubt(&mut self) {
        self.is_old = true;
    }

    /// Somebody who is not on the list waits for the next reading. Whoever finds no place is given back.
    pub(super) fn ask(&mut self, who: MemberId, peer: P) -> Option<P> {
        if self.asking.len() < WAITING {
            self.asking.push((who, peer));
            return None;
        }
        Some(peer)
    }

    /// When a reading is to begin.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let is_wanted = self.reading.is_none() && (self.is_old || !self.asking.is_empty());
        is_wanted.then(|| self.begun.map_or(now, |begun| begun + AGAIN))
    }

    /// Begins a reading if it is time for it.
    pub(super) fn begin(&mut self, now: Instant, read: impl FnOnce() -> Read + Send + 'static) {
        if self.due(now).is_some_and(|due| due <= now) {
            self.reading = Some(tokio::task::spawn_blocking(read));
            self.judged = std::mem::take(&mut self.asking);
            self.begun = Some(now);
            self.is_old = false;
        }
    }

    /// Those of whom is known now whether they are members. Never, while nothing is read; nothing is lost if the future is.
    pub(super) async fn judge(&mut self) -> Vec<(MemberId, P, bool)> {
        let read = match &mut self.reading {
            Some(reading) => reading.await,
            None => std::future::pending().await,
        };
        self.reading = None;
        // What cannot be read now is as it was.
        if let Ok(Some(members)) = read {
            self.members = members;
        }
        let (known, asking): (Vec<_>, Vec<_>) = std::mem::take(&mut self.asking)
            .into_iter()
            .partition(|(who, _)| self.members.contains(who));
        self.asking = asking;
        let all = std::mem::take(&mut self.judged).into_iter().chain(known);
        all.map(|(who, peer)| (who, peer, self.members.contains(&who)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u8) -> MemberId {
        MemberId([number; 32])
    }

    #[tokio::test]
    async fn whoever_came_after_a_reading_began_is_judged_by_the_next_unless_it_is_known_by_then() {
        let (mut roll, now) = (Roll::new(), Instant::now());
        roll.begin(now, || Some(BTreeSet::from([member(1)])));
        // The owner shares with the second one meanwhile.
        for one in [1, 2, 3] {
            assert_eq!(roll.ask(member(one), one), None);
        }
        assert_eq!(roll.judge().await, [(member(1), 1, true)]);
        assert!(roll.knows(&member(1)) && !roll.knows(&member(2)));

        assert_eq!(roll.due(now), Some(now + AGAIN));
        roll.begin(now, || panic!("it is read too soon"));
        let later = now + AGAIN;
        roll.begin(later, || Some(BTreeSet::from([member(1), member(2)])));
        let judged = roll.judge().await;
        assert_eq!(judged, [(member(2), 2, true), (member(3), 3, false)]);
        assert_eq!(roll.due(later), None);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_as_it_was_and_those_who_wait_are_few() {
        let (mut roll, now) = (Roll::new(), Instant::now());
        roll.begin(now, || Some(BTreeSet::from([member(1)])));
        assert!(roll.judge().await.is_empty());
        for one in 0..20 {
            let turned_away = roll.ask(member(100 + one), one);
            assert_eq!(turned_away.is_some(), usize::from(one) >= WAITING);
        }
        roll.doubt();
        roll.begin(now + AGAIN, || None);
        assert_eq!(roll.judge().await.len(), WAITING);
        assert!(roll.knows(&member(1)));
    }
}

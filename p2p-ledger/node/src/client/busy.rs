//! How patient whoever asks validators for blocks is with those who are busy.

use std::time::Duration;

/// Before those who were busy are asked once more; twice as long each time, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(8);
/// So often they are asked again, about a minute in all: one that always says it is busy must not keep its caller for ever.
const TIMES: u32 = 12;

/// What came of asking one after another since the last one that helped.
#[derive(Debug, Default)]
pub(crate) struct Round {
    in_vain: usize,
    /// One of those in vain was busy, and may help later.
    is_busy: bool,
    waits: u32,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another one is asked.
    Ask,
    /// All were asked, and some are busy: they are asked again after so long.
    Wait(Duration),
    /// Nobody helps.
    GiveUp,
}

impl Round {
    /// One more did not help.
    pub(crate) fn in_vain(&mut self, is_busy: bool) {
        self.in_vain += 1;
        self.is_busy |= is_busy;
    }

    /// What is to be done where so many can be asked.
    pub(crate) fn next(&mut self, all: usize) -> Next {
        if self.in_vain < all {
            return Next::Ask;
        }
        if !self.is_busy || self.waits == TIMES {
            return Next::GiveUp;
        }
        let wait = LONGEST.min(FIRST * 2u32.pow(self.waits));
        *self = Self {
            waits: self.waits + 1,
            ..Self::default()
        };
        Next::Wait(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_busy_is_asked_again_later_each_time_and_not_for_ever() {
        let mut round = Round::default();
        let mut waits = Vec::new();
        loop {
            // The other one is down.
            assert_eq!(round.next(2), Next::Ask);
            round.in_vain(true);
            assert_eq!(round.next(2), Next::Ask);
            round.in_vain(false);
            match round.next(2) {
                Next::Wait(wait) => waits.push(wait),
                Next::GiveUp => break,
                Next::Ask => panic!("both were asked"),
            }
        }
        assert_eq!(waits.len(), 12);
        assert!(waits.is_sorted());
        assert_eq!((waits[0], waits[11]), (FIRST, LONGEST));
    }

    #[test]
    fn where_nobody_is_busy_nobody_is_asked_twice() {
        let mut round = Round::default();
        round.in_vain(false);
        assert_eq!(round.next(2), Next::Ask);
        round.in_vain(false);
        assert_eq!(round.next(2), Next::GiveUp);
    }
}

//! What is done in the background for what was kept: vectors, facts. Whoever brought it may wait for its part of it.
//!
//! A chore begins with what is left, does a part at a time, and sleeps when nothing is. After a failure it tries again by itself, after a
//! pause that grows; whoever brings more has it try at once.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tally_memory::EpisodeId;

use crate::lock;

/// How long a chore rests after its first failure, and at most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(600);

/// Why a chore does not get on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It will by itself, a little later.
    Passing,
    /// Somebody has to mend something; the log says what.
    Lasting,
}

impl Trouble {
    pub(crate) const fn of(is_transient: bool) -> Self {
        if is_transient {
            Self::Passing
        } else {
            Self::Lasting
        }
    }
}

/// What a chore does.
pub(crate) trait Work {
    /// Does a part of what is left, that of these episodes before others if it can choose. Whether anything is left after it.
    fn step(&mut self, first: &[EpisodeId]) -> Result<bool, Trouble>;

    /// Whether nothing is left to do for these episodes.
    fn is_done(&self, episodes: &[EpisodeId]) -> bool;
}

/// What is known of a chore by those who wait for it, and of them by the chore.
#[derive(Default)]
pub(crate) struct Chore {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Episodes that somebody waits for, by the number of the ticket.
    waited_for: BTreeMap<u64, Vec<EpisodeId>>,
    next: u64,
    /// Somebody brought something since the last step began.
    asked: bool,
    failures: u64,
    /// How the last step failed, if it did.
    trouble: Option<Trouble>,
    /// Nobody will ask again, or nobody will answer.
    over: bool,
}

/// What somebody waits for.
pub(crate) struct Ticket {
    number: u64,
    failures: u64,
}

/// How waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Done,
    /// It goes on.
    Going,
    Failed(Trouble),
}

impl Chore {
    /// Has the chore look for what is left.
    pub(crate) fn ask(&self) {
        lock(&self.state).asked = true;
        self.changed.notify_all();
    }

    /// The same, for who waits for its part of it.
    pub(crate) fn ask_for(&self, episodes: &[EpisodeId]) -> Ticket {
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        state.waited_for.insert(number, episodes.to_vec());
        state.asked = true;
        let failures = state.failures;
        drop(state);
        self.changed.notify_all();
        Ticket { number, failures }
    }

    /// Waits until that part is done, fails, or it is so late.
    pub(crate) fn wait_for(&self, ticket: &Ticket, until: Instant) -> Waited {
        let patience = until.saturating_duration_since(Instant::now());
        let is_open = |state: &mut State| {
            state.waited_for.contains_key(&ticket.number)
                && state.failures == ticket.failures
                && !state.over
        };
        let (mut state, _) = self
            .changed
            .wait_timeout_while(lock(&self.state), patience, is_open)
            .unwrap_or_else(PoisonError::into_inner);
        if state.waited_for.remove(&ticket.number).is_none() {
            Waited::Done
        } else if state.over || state.failures != ticket.failures {
            Waited::Failed(state.trouble.unwrap_or(Trouble::Lasting))
        } else {
            Waited::Going
        }
    }

    /// Why it does not get on, if it does not.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        lock(&self.state).trouble
    }

    /// Ends it after the step that it is in.
    pub(crate) fn end(&self) {
        lock(&self.state).over = true;
        self.changed.notify_all();
    }

    /// Does the work until it is ended. Begins by itself, or once somebody asks.
    pub(crate) fn run(&self, mut work: impl Work, begins: bool) {
        // A panic must not let those wait who wait for it.
        let _over = Over(self);
        let mut pause = begins.then_some(Duration::ZERO);
        let mut failed: u32 = 0;
        while let Some(waited_for) = self.sleep(pause) {
            let first: Vec<EpisodeId> = waited_for.values().flatten().copied().collect();
            match work.step(&first) {
                Ok(is_left) => {
                    failed = 0;
                    pause = is_left.then_some(Duration::ZERO);
                    let done: Vec<u64> = waited_for
                        .iter()
                        .filter(|(_, episodes)| work.is_done(episodes))
                        .map(|(number, _)| *number)
                        .collect();
                    let mut state = lock(&self.state);
                    state.trouble = None;
                    for number in done {
                        state.waited_for.remove(&number);
                    }
                }
                Err(trouble) => {
                    pause = Some(pause_after(failed));
                    failed = failed.saturating_add(1);
                    let mut state = lock(&self.state);
                    state.trouble = Some(trouble);
                    state.failures += 1;
                }
            }
            self.changed.notify_all();
        }
    }

    /// Sleeps so long, or until somebody asks; without a pause until somebody does. Gives what is waited for; nothing at the end.
    fn sleep(&self, pause: Option<Duration>) -> Option<BTreeMap<u64, Vec<EpisodeId>>> {
        let idle = |state: &mut State| !state.asked && !state.over;
        let state = lock(&self.state);
        let mut state = match pause {
            None => self
                .changed
                .wait_while(state, idle)
                .unwrap_or_else(PoisonError::into_inner),
            Some(pause) => {
                self.changed
                    .wait_timeout_while(state, pause, idle)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        state.asked = false;
        (!state.over).then(|| state.waited_for.clone())
    }
}

/// How long to rest after so many failures in a row and one more.
fn pause_after(failed: u32) -> Duration {
    PAUSE
        .saturating_mul(2_u32.saturating_pow(failed))
        .min(PAUSE_MOST)
}

/// Ends every wait when the thread ends.
struct Over<'a>(&'a Chore);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if !state.over {
            state.over = true;
            state.trouble = Some(Trouble::Lasting);
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Has so many parts left, of which the first so many fail; the last is of the episode that is waited for.
    struct Parts {
        left: u32,
        failing: u32,
    }

    impl Work for Parts {
        fn step(&mut self, _: &[EpisodeId]) -> Result<bool, Trouble> {
            if self.failing > 0 {
                self.failing -= 1;
                return Err(Trouble::Passing);
            }
            self.left = self.left.saturating_sub(1);
            Ok(self.left > 0)
        }

        fn is_done(&self, _: &[EpisodeId]) -> bool {
            self.left == 0
        }
    }

    fn waited(parts: Parts) -> Waited {
        let chore = Arc::new(Chore::default());
        let ticket = chore.ask_for(&[EpisodeId([1; 32])]);
        let theirs = Arc::clone(&chore);
        let thread = std::thread::spawn(move || theirs.run(parts, false));
        let waited = chore.wait_for(&ticket, Instant::now() + Duration::from_secs(30));
        chore.end();
        thread.join().expect("no panic");
        waited
    }

    #[test]
    fn whoever_waits_hears_that_its_part_is_done_or_why_it_is_not() {
        assert_eq!(
            waited(Parts {
                left: 5,
                failing: 0
            }),
            Waited::Done
        );
        assert_eq!(
            waited(Parts {
                left: 5,
                failing: 9
            }),
            Waited::Failed(Trouble::Passing)
        );
    }

    #[test]
    fn what_is_left_is_begun_with_and_goes_on_after_a_failure_although_nobody_asks() {
        let chore = Arc::new(Chore::default());
        let theirs = Arc::clone(&chore);
        let parts = Parts {
            left: 2,
            failing: 1,
        };
        let thread = std::thread::spawn(move || theirs.run(parts, true));
        let begun = Instant::now();
        // It fails once, and once more tried it does not.
        while lock(&chore.state).failures == 0 || chore.trouble().is_some() {
            assert!(begun.elapsed() < Duration::from_secs(30), "nobody goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
        chore.end();
        thread.join().expect("no panic");
    }

    #[test]
    fn a_panic_lets_nobody_wait() {
        struct Breaks;
        impl Work for Breaks {
            fn step(&mut self, _: &[EpisodeId]) -> Result<bool, Trouble> {
                panic!("as told")
            }
            fn is_done(&self, _: &[EpisodeId]) -> bool {
                false
            }
        }
        let chore = Arc::new(Chore::default());
        let ticket = chore.ask_for(&[EpisodeId([1; 32])]);
        let theirs = Arc::clone(&chore);
        let thread = std::thread::spawn(move || theirs.run(Breaks, false));
        let waited = chore.wait_for(&ticket, Instant::now() + Duration::from_secs(30));
        assert_eq!(waited, Waited::Failed(Trouble::Lasting));
        assert!(thread.join().is_err());
    }

    #[test]
    fn pauses_grow_and_end_somewhere() {
        assert_eq!(pause_after(0), PAUSE);
        assert_eq!(pause_after(3), PAUSE * 8);
        assert_eq!(pause_after(u32::MAX), PAUSE_MOST);
    }
}

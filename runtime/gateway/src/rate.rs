//! How often each caller may come: buckets of tokens that fill at a steady rate. One is of all requests; searches and imports
//! also take from a smaller one, in the proportions that MemSync documents (100, 50 and 10 a minute).

use std::collections::HashMap;

use crate::time::UnixMs;

/// Callers remembered at once. A full table forgets those whose bucket is full again, which loses nothing.
const CALLERS: usize = 10_000;

/// What a request takes from beside the allowance of all requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// Nothing more.
    Ordinary,
    /// The allowance of searches.
    Searches,
    /// The allowance of imports that begin.
    Imports,
}

/// What a caller has left after a request that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) per_minute: u32,
    pub(crate) requests: u32,
    /// When all of them are there again.
    pub(crate) full_at: UnixMs,
}

/// A request too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    pub(crate) per_minute: u32,
    /// Of what there were too many.
    pub(crate) what: &'static str,
    pub(crate) wait_s: u64,
}

/// The allowances of all callers.
#[derive(Debug)]
pub(crate) struct Rates {
    all: Rate,
    searches: Rate,
    imports: Rate,
}

impl Rates {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            all: Rate::new(per_minute),
            searches: Rate::new(per_minute / 2),
            imports: Rate::new(per_minute / 10),
        }
    }

    /// Takes one request of `who`. Gives what is left where fewest are: so many more of its kind are let through.
    pub(crate) fn take(&mut self, who: &str, of: Allowance, now: UnixMs) -> Result<Left, TooMany> {
        let too_many = |per_minute, what, wait_s| TooMany {
            per_minute,
            what,
            wait_s,
        };
        let left = self
            .all
            .take(who, now)
            .map_err(|wait_s| too_many(self.all.per_minute, "requests", wait_s))?;
        let (narrow, what) = match of {
            Allowance::Ordinary => return Ok(left),
            Allowance::Searches => (&mut self.searches, "searches"),
            Allowance::Imports => (&mut self.imports, "imports"),
        };
        let narrow = narrow
            .take(who, now)
            .map_err(|wait_s| too_many(narrow.per_minute, what, wait_s))?;
        Ok(if left.requests < narrow.requests {
            left
        } else {
            narrow
        })
    }
}

#[derive(Debug)]
struct Rate {
    per_minute: u32,
    buckets: HashMap<String, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// Thousandths of a request.
    left: u64,
    at: UnixMs,
}

impl Rate {
    fn new(per_minute: u32) -> Self {
        Self {
            per_minute: per_minute.max(1),
            buckets: HashMap::new(),
        }
    }

    /// Takes one request of `who`; otherwise how many seconds to wait.
    fn take(&mut self, who: &str, now: UnixMs) -> Result<Left, u64> {
        let full = u64::from(self.per_minute) * 1000;
        let filled = |bucket: &Bucket| {
            let passed_ms = u64::try_from(now.0.saturating_sub(bucket.at.0)).unwrap_or(0);
            // A minute fills it whole.
            full.min(bucket.left + passed_ms.min(60_000) * full / 60_000)
        };
        if self.buckets.len() >= CALLERS && !self.buckets.contains_key(who) {
            self.buckets.retain(|_, bucket| filled(bucket) < full);
            if self.buckets.len() >= CALLERS {
                return Err(60);
            }
        }
        let bucket = self.buckets.entry(who.to_owned()).or_insert(Bucket {
            left: full,
            at: now,
        });
        let left = filled(bucket);
        match left.checked_sub(1000) {
            Some(left) => {
                *bucket = Bucket { left, at: now };
                let refill_ms = ((full - left) * 60_000).div_ceil(full);
                Ok(Left {
                    per_minute: self.per_minute,
                    requests: u32::try_from(left / 1000).unwrap_or(u32::MAX),
                    full_at: UnixMs(now.0.saturating_add_unsigned(refill_ms)),
                })
            }
            // The bucket keeps its time: asking too often does not postpone the refill.
            None => Err(((1000 - left) * 60).div_ceil(full).max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(rate: &mut Rate, who: &str, at: i64) -> Result<(), u64> {
        rate.take(who, UnixMs(at)).map(|_| ())
    }

    #[test]
    fn a_hundred_at_once_then_as_many_as_time_brings() {
        let mut rate = Rate::new(100);
        for _ in 0..100 {
            assert_eq!(take(&mut rate, "a", 0), Ok(()));
        }
        assert_eq!(take(&mut rate, "a", 0), Err(1));
        assert_eq!(take(&mut rate, "b", 0), Ok(()));
        assert_eq!(take(&mut rate, "a", 599), Err(1));
        assert_eq!(take(&mut rate, "a", 600), Ok(()));
        assert_eq!(take(&mut rate, "a", 601), Err(1));
        // A clock that goes back gives nothing.
        assert_eq!(take(&mut rate, "a", -100_000), Err(1));
        for _ in 0..100 {
            assert_eq!(take(&mut rate, "a", 3_600_000), Ok(()));
        }
        assert!(take(&mut rate, "a", 3_600_000).is_err());
    }

    #[test]
    fn the_table_of_callers_is_bounded_and_forgets_no_debt() {
        let mut rate = Rate::new(1);
        take(&mut rate, "debtor", 0).unwrap();
        for caller in 0..CALLERS - 1 {
            take(&mut rate, &caller.to_string(), 0).unwrap();
        }
        assert_eq!(take(&mut rate, "one more", 0), Err(60));
        assert!(take(&mut rate, "debtor", 1).is_err());
        assert_eq!(take(&mut rate, "one more", 60_000), Ok(()));
    }

    #[test]
    fn half_may_be_searches_a_tenth_imports_and_all_count_together() {
        let mut rates = Rates::new(100);
        let mut left = 0;
        for _ in 0..50 {
            left = rates
                .take("a", Allowance::Searches, UnixMs(0))
                .unwrap()
                .requests;
        }
        assert_eq!(left, 0);
        let refused = rates.take("a", Allowance::Searches, UnixMs(0)).unwrap_err();
        assert_eq!((refused.per_minute, refused.what), (50, "searches"));
        for _ in 0..10 {
            assert!(rates.take("a", Allowance::Imports, UnixMs(0)).is_ok());
        }
        let refused = rates.take("a", Allowance::Imports, UnixMs(0)).unwrap_err();
        assert_eq!(
            (refused.per_minute, refused.what, refused.wait_s),
            (10, "imports", 6)
        );
        // 62 were asked for, and whoever is refused has asked.
        let ordinary = rates.take("a", Allowance::Ordinary, UnixMs(0)).unwrap();
        assert_eq!(
            ordinary,
            Left {
                per_minute: 100,
                requests: 37,
                full_at: UnixMs(37_800)
            }
        );
        // Of searches 22 are left, of all requests 3: so many searches are let through.
        let mut rates = Rates::new(50);
        for _ in 0..44 {
            rates.take("a", Allowance::Ordinary, UnixMs(0)).unwrap();
        }
        for left in [5, 4, 3] {
            let found = rates.take("a", Allowance::Searches, UnixMs(0)).unwrap();
            assert_eq!((found.per_minute, found.requests), (50, left));
        }
        // However little is allowed, each has one.
        let mut few = Rates::new(1);
        assert!(few.take("a", Allowance::Imports, UnixMs(0)).is_ok());
    }
}

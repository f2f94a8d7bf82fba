//! How often each caller may come: buckets of tokens that fill at a steady rate. One is of all requests; searches and imports
//! also take from a smaller one, in the proportions that MemSync documents (100, 50 and 10 a minute).

use std::collections::HashMap;

use axum::http::{HeaderMap, HeaderName};

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
    /// The allowance of imports of files that begin.
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

impl Left {
    /// Puts it on an answer.
    pub(crate) fn write_to(self, headers: &mut HeaderMap) {
        // Seconds since 1970, rounded up: then they are all there.
        let reset_s = self.full_at.0.saturating_add(999).div_euclid(1000);
        for (name, value) in [
            ("x-ratelimit-limit", self.per_minute.into()),
            ("x-ratelimit-remaining", self.requests.into()),
            ("x-ratelimit-reset", reset_s.into()),
        ] {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// A request too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    pub(crate) per_minute: u32,
    /// Of what there were too many.
    pub(crate) what: &'static str,
    pub(crate) wait_s: u64,
    /// When all of them are there again.
    pub(crate) full_at: UnixMs,
}

/// The allowances of all callers.
#[derive(Debug)]
pub(crate) struct Rates {
    all: Rate,
    searches: Rate,
    imports: Rate,
    /// Addresses that show no valid key, in a table of their own: they cost nothing, and however many come, callers keep their places.
    strangers: Rate,
}

impl Rates {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            all: Rate::new(per_minute),
            searches: Rate::new(per_minute / 2),
            imports: Rate::new(per_minute / 10),
            strangers: Rate::new(per_minute),
        }
    }

    /// Takes one request of an address that shows no valid key.
    pub(crate) fn take_stranger(&mut self, address: &str, now: UnixMs) -> Result<(), TooMany> {
        let left = self
            .strangers
            .look(address, "requests without a valid key", now)?;
        self.strangers.keep(address, left, now);
        Ok(())
    }

    /// Takes one request of `who`; one that is refused takes nothing. Gives what is left where fewest are: so many more of its kind are
    /// let through.
    pub(crate) fn take(&mut self, who: &str, of: Allowance, now: UnixMs) -> Result<Left, TooMany> {
        let mut narrow = match of {
            Allowance::Ordinary => None,
            Allowance::Searches => Some((&mut self.searches, "searches")),
            Allowance::Imports => Some((&mut self.imports, "imports")),
        };
        let of_all = self.all.look(who, "requests", now)?;
        let of_narrow = match &mut narrow {
            Some((rate, what)) => Some(rate.look(who, what, now)?),
            None => None,
        };
        let left = self.all.keep(who, of_all, now);
        Ok(match (narrow, of_narrow) {
            (Some((rate, _)), Some(of_narrow)) => {
                let narrow = rate.keep(who, of_narrow, now);
                if left.requests < narrow.requests {
                    left
                } else {
                    narrow
                }
            }
            _ => left,
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

    fn full(&self) -> u64 {
        u64::from(self.per_minute) * 1000
    }

    fn filled(&self, bucket: &Bucket, now: UnixMs) -> u64 {
        let passed_ms = u64::try_from(now.0.saturating_sub(bucket.at.0)).unwrap_or(0);
        // A minute fills it whole.
        self.full()
            .min(bucket.left + passed_ms.min(60_000) * self.full() / 60_000)
    }

    /// What one request more leaves of `what` to `who`, in thousandths. Nothing is taken.
    fn look(&mut self, who: &str, what: &'static str, now: UnixMs) -> Result<u64, TooMany> {
        if self.buckets.len() >= CALLERS && !self.buckets.contains_key(who) {
            let mut buckets = std::mem::take(&mut self.buckets);
            buckets.retain(|_, bucket| self.filled(bucket, now) < self.full());
            self.buckets = buckets;
            if self.buckets.len() >= CALLERS {
                return Err(TooMany {
                    per_minute: self.per_minute,
                    what,
                    wait_s: 60,
                    full_at: UnixMs(now.0.saturating_add(60_000)),
                });
            }
        }
        let left = self
            .buckets
            .get(who)
            .map_or_else(|| self.full(), |bucket| self.filled(bucket, now));
        left.checked_sub(1000).ok_or_else(|| TooMany {
            per_minute: self.per_minute,
            what,
            wait_s: ((1000 - left) * 60).div_ceil(self.full()).max(1),
            full_at: self.full_at(left, now),
        })
    }

    /// Keeps what `who` has left. Who is refused is not kept: asking too often does not postpone the refill.
    fn keep(&mut self, who: &str, left: u64, now: UnixMs) -> Left {
        self.buckets
            .insert(who.to_owned(), Bucket { left, at: now });
        Left {
            per_minute: self.per_minute,
            requests: u32::try_from(left / 1000).unwrap_or(u32::MAX),
            full_at: self.full_at(left, now),
        }
    }

    fn full_at(&self, left: u64, now: UnixMs) -> UnixMs {
        let refill_ms = ((self.full() - left) * 60_000).div_ceil(self.full());
        UnixMs(now.0.saturating_add_unsigned(refill_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(rate: &mut Rate, who: &str, at: i64) -> Result<(), u64> {
        let left = rate
            .look(who, "requests", UnixMs(at))
            .map_err(|too_many| too_many.wait_s)?;
        rate.keep(who, left, UnixMs(at));
        Ok(())
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
    fn addresses_without_a_key_keep_no_caller_out_however_many_they_are() {
        let mut rates = Rates::new(1);
        for address in 0..CALLERS {
            let address = address.to_string();
            rates.take_stranger(&address, UnixMs(0)).unwrap();
        }
        let refused = rates.take_stranger("one more", UnixMs(0)).unwrap_err();
        assert_eq!(refused.what, "requests without a valid key");
        assert!(rates.take("a", Allowance::Ordinary, UnixMs(0)).is_ok());
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
        assert_eq!(refused.full_at, UnixMs(60_000));
        for _ in 0..10 {
            assert!(rates.take("a", Allowance::Imports, UnixMs(0)).is_ok());
        }
        let refused = rates.take("a", Allowance::Imports, UnixMs(0)).unwrap_err();
        assert_eq!(
            (refused.per_minute, refused.what, refused.wait_s),
            (10, "imports", 6)
        );
        // 60 were let through, and what was refused took nothing.
        let ordinary = rates.take("a", Allowance::Ordinary, UnixMs(0)).unwrap();
        assert_eq!(
            ordinary,
            Left {
                per_minute: 100,
                requests: 39,
                full_at: UnixMs(36_600)
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

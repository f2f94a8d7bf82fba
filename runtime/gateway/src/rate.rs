//! How often each caller may come: a bucket of tokens that fills at a steady rate.

use std::collections::HashMap;

use crate::time::UnixMs;

/// Callers remembered at once. A full table forgets those whose bucket is full again, which loses nothing.
const CALLERS: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Rate {
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
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            per_minute: per_minute.max(1),
            buckets: HashMap::new(),
        }
    }

    /// Takes one request of `who`; otherwise how many seconds to wait.
    pub(crate) fn take(&mut self, who: &str, now: UnixMs) -> Result<(), u64> {
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
                Ok(())
            }
            // The bucket keeps its time: asking too often does not postpone the refill.
            None => Err(((1000 - left) * 60).div_ceil(full).max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_at_once_then_as_many_as_time_brings() {
        let mut rate = Rate::new(100);
        for _ in 0..100 {
            assert_eq!(rate.take("a", UnixMs(0)), Ok(()));
        }
        assert_eq!(rate.take("a", UnixMs(0)), Err(1));
        assert_eq!(rate.take("b", UnixMs(0)), Ok(()));
        assert_eq!(rate.take("a", UnixMs(599)), Err(1));
        assert_eq!(rate.take("a", UnixMs(600)), Ok(()));
        assert_eq!(rate.take("a", UnixMs(601)), Err(1));
        // A clock that goes back gives nothing.
        assert_eq!(rate.take("a", UnixMs(-100_000)), Err(1));
        for _ in 0..100 {
            assert_eq!(rate.take("a", UnixMs(3_600_000)), Ok(()));
        }
        assert!(rate.take("a", UnixMs(3_600_000)).is_err());
    }

    #[test]
    fn the_table_of_callers_is_bounded_and_forgets_no_debt() {
        let mut rate = Rate::new(1);
        rate.take("debtor", UnixMs(0)).unwrap();
        for caller in 0..CALLERS - 1 {
            rate.take(&caller.to_string(), UnixMs(0)).unwrap();
        }
        assert_eq!(rate.take("one more", UnixMs(0)), Err(60));
        assert!(rate.take("debtor", UnixMs(1)).is_err());
        assert_eq!(rate.take("one more", UnixMs(60_000)), Ok(()));
    }
}

//! The clock of a vault: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
//!
//! Nothing here reads a clock. Time orders nothing by itself: it breaks ties, and it is compared with expiry.

/// A moment in a log. Strictly increasing along it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// How far ahead of the own clock a time of others may be and still advance it: ten minutes.
    pub const TOLERANCE_MILLIS: u64 = 10 * 60 * 1_000;

    /// The moment `millis` after 1970 with the counter at 0; the greatest such moment if they need more than 48 bits.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        if millis >= 1 << 48 {
            Self(u64::MAX << 16)
        } else {
            Self(millis << 16)
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// Which of the moments within that millisecond.
    #[must_use]
    pub const fn counter(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// What an author writes whose clock shows `clock` and whose last time was `last`: max(clock, last + 1).
    /// None only after the last moment there is.
    #[must_use]
    pub fn next(clock: Self, last: Option<Self>) -> Option<Self> {
        match last {
            None => Some(clock),
            Some(last) => Some(clock.max(Self(last.0.checked_add(1)?))),
        }
    }

    /// The clock after seeing `seen` in an operation of somebody else; times too far ahead are ignored.
    #[must_use]
    pub fn advanced_by(self, seen: Self) -> Self {
        if seen.millis() > self.millis().saturating_add(Self::TOLERANCE_MILLIS) {
            self
        } else {
            self.max(seen)
        }
    }
}

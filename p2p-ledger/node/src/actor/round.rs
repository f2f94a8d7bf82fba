//! Who is heard next of those from whom something comes: each once before any of them again.

/// From whom something comes, beside the engine, which is heard before all others.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Blocks,
    Commands,
    History,
    Arrivals,
    Transactions,
}

/// Who was heard in this round. It is over when nobody else has anything.
#[derive(Debug, Default)]
pub(super) struct Round(u8);

impl Round {
    const fn bit(source: Source) -> u8 {
        1 << source as u8
    }

    /// Whether somebody may be heard in this round.
    pub(super) const fn is_open(&self, source: Source) -> bool {
        self.0 & Self::bit(source) == 0
    }

    /// Whether somebody was heard in this round.
    pub(super) const fn is_begun(&self) -> bool {
        self.0 != 0
    }

    /// Somebody was heard.
    pub(super) const fn heard(&mut self, source: Source) {
        self.0 |= Self::bit(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_never_stops_is_heard_once_in_a_round() {
        let all = [
            Source::Blocks,
            Source::Commands,
            Source::History,
            Source::Arrivals,
            Source::Transactions,
        ];
        let mut round = Round::default();
        let mut heard = [0; 5];
        // All of them always have something, and the first is looked at first.
        for _ in 0..50 {
            match all.iter().find(|source| round.is_open(**source)) {
                Some(source) => {
                    round.heard(*source);
                    heard[*source as usize] += 1;
                }
                None => {
                    assert!(round.is_begun());
                    round = Round::default();
                }
            }
        }
        assert!(!Round::default().is_begun());
        assert!(
            heard.iter().all(|times| (8..=9).contains(times)),
            "{heard:?}"
        );
    }
}

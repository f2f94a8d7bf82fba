//! Turns at something that a server has little of, of which callers from one address have a part.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::door::Origin;

/// So many turns, for a [`Service`](crate::Service) whose answers cost more than their place among the requests.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    /// Those that are taken, by who has them.
    taken: Mutex<BTreeMap<Origin, usize>>,
}

impl Turns {
    /// So many at once. Callers from one address have a quarter of them; those from this machine or by a relay, who look alike, three
    /// quarters together.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shared {
            most,
            taken: Mutex::default(),
        }))
    }

    /// A turn for somebody who comes from there; none while those from there have their part, or all are taken.
    #[must_use]
    pub fn take(&self, origin: Origin) -> Option<Turn> {
        let most = self.0.most;
        let mut taken = self.taken();
        let all: usize = taken.values().sum();
        let own = taken.get(&origin).copied().unwrap_or(0);
        if all >= most || own >= origin.turns(most) {
            return None;
        }
        taken.insert(origin, own + 1);
        Some(Turn {
            turns: self.clone(),
            origin,
        })
    }

    /// Nothing that holds the lock can panic half way through a change.
    fn taken(&self) -> MutexGuard<'_, BTreeMap<Origin, usize>> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A turn that is taken, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    origin: Origin,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.turns.taken();
        let left = taken.get(&self.origin).map_or(0, |count| count - 1);
        if left == 0 {
            taken.remove(&self.origin);
        } else {
            taken.insert(self.origin, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(number: u8) -> Origin {
        Origin::Address([203, 0, 113, number].into())
    }

    #[test]
    fn an_address_has_a_part_of_the_turns_and_leaves_the_others() {
        let turns = Turns::new(8);
        let own: Vec<Turn> = std::iter::from_fn(|| turns.take(from(1))).collect();
        assert_eq!(own.len(), 2);
        let common: Vec<Turn> = std::iter::from_fn(|| turns.take(Origin::Common)).collect();
        assert_eq!(common.len(), 6);
        assert!(turns.take(from(2)).is_none(), "all are taken");
        drop(own);
        assert!(turns.take(Origin::Common).is_none(), "it has its part");
        assert!(turns.take(from(2)).is_some());
        drop(common);
        assert!(turns.taken().is_empty());
    }
}

//! How much one of many may have at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use crate::gateway::lock;

type Counts<K> = Arc<Mutex<HashMap<K, usize>>>;

/// Places of which each may have so many.
pub(crate) struct AtOnce<K> {
    most: usize,
    taken: Counts<K>,
}

impl<K: Clone + Eq + Hash> AtOnce<K> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Counts::default(),
        }
    }

    /// A place for `who`, unless all of its are taken. It is free again when it is dropped.
    pub(crate) fn enter(&self, who: K) -> Option<Place<K>> {
        let mut taken = lock(&self.taken);
        let count = taken.get(&who).copied().unwrap_or(0);
        if count >= self.most {
            return None;
        }
        taken.insert(who.clone(), count + 1);
        Some(Place {
            who,
            taken: Arc::clone(&self.taken),
        })
    }
}

/// A place that is taken.
pub(crate) struct Place<K: Eq + Hash> {
    who: K,
    taken: Counts<K>,
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        match taken.get_mut(&self.who) {
            Some(count) if *count > 1 => *count -= 1,
            // Whoever has none is not kept: the table is as long as what it counts.
            _ => {
                taken.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_many_places_and_one_that_is_left_is_free() {
        let room = AtOnce::new(2);
        let first = room.enter("a").unwrap();
        let _second = room.enter("a").unwrap();
        assert!(room.enter("a").is_none());
        assert!(room.enter("b").is_some());
        drop(first);
        let third = room.enter("a");
        assert!(third.is_some() && room.enter("a").is_none());
    }

    #[test]
    fn nothing_is_kept_of_who_has_left() {
        let room = AtOnce::new(2);
        let places: Vec<_> = (0..10).map(|who| room.enter(who).unwrap()).collect();
        assert_eq!(lock(&room.taken).len(), 10);
        drop(places);
        assert!(lock(&room.taken).is_empty());
    }
}

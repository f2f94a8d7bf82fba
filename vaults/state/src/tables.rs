//! Interning: ids to small numbers, in the order in which they came. The numbers never leave this crate.

use std::hash::{BuildHasher, RandomState};

/// No index.
pub(crate) const NONE: u32 = u32::MAX;

/// A set of ids, each with its index. A stored id costs its bytes and about seven more.
pub(crate) struct Ids<const N: usize> {
    ids: Vec<[u8; N]>,
    /// Index + 1, open addressing with linear probing; a power of two, at most three quarters full.
    slots: Vec<u32>,
    /// What operations name (targets, namespaces, grants) are bytes of the writer's choice: with a fixed hash it could choose
    /// such that fall into one slot. The seed decides where an id lies in `slots`, and `slots` is only ever looked up.
    seed: RandomState,
}

impl<const N: usize> Ids<N> {
    pub(crate) fn new() -> Self {
        Self {
            ids: Vec::new(),
            slots: vec![0; 16],
            seed: RandomState::new(),
        }
    }

    fn hash(&self, id: &[u8; N]) -> usize {
        self.seed.hash_one(id) as usize
    }

    pub(crate) fn id(&self, index: u32) -> &[u8; N] {
        &self.ids[index as usize]
    }

    pub(crate) fn get(&self, id: &[u8; N]) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = self.hash(id) & mask;
        loop {
            match self.slots[at] {
                0 => return None,
                slot if self.ids[slot as usize - 1] == *id => return Some(slot - 1),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// The index of this id; whether it is new.
    pub(crate) fn intern(&mut self, id: &[u8; N]) -> (u32, bool) {
        if self.ids.len() * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = self.hash(id) & mask;
        loop {
            match self.slots[at] {
                0 => break,
                slot if self.ids[slot as usize - 1] == *id => return (slot - 1, false),
                _ => at = (at + 1) & mask,
            }
        }
        let index = u32::try_from(self.ids.len())
            .ok()
            .filter(|index| *index < 1 << 31)
            .expect("fewer than 2^31 ids fit into memory");
        self.slots[at] = index + 1;
        self.ids.push(*id);
        (index, true)
    }

    fn grow(&mut self) {
        let mut slots = vec![0_u32; self.slots.len() * 2];
        let mask = slots.len() - 1;
        for (index, id) in self.ids.iter().enumerate() {
            let mut at = self.hash(id) & mask;
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = u32::try_from(index).expect("checked when it was interned") + 1;
        }
        self.slots = slots;
    }

    pub(crate) fn memory(&self) -> usize {
        self.ids.capacity() * N + self.slots.capacity() * 4
    }
}

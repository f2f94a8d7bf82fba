//! Interning: ids to small numbers, in the order in which they came. The numbers never leave this crate.

use std::hash::{BuildHasher, RandomState};

/// No index.
pub(crate) const NONE: u32 = u32::MAX;

/// A set of ids, each with its index. A stored id costs its bytes and about nine more.
pub(crate) struct Ids<const N: usize> {
    ids: Vec<[u8; N]>,
    /// Open addressing with linear probing; a power of two, at most three quarters full. For each slot seven bits of the hash
    /// and the top bit, or 0 if it is free, so that few ids are read in vain: each would be a cache miss.
    tags: Vec<u8>,
    slots: Vec<u32>,
    /// What operations name (targets, namespaces, grants) are bytes of the writer's choice: with a fixed hash it could choose
    /// such that fall into one slot. The seeds decide where an id lies in `slots`, and `slots` is only ever looked up.
    seeds: [u64; 2],
}

impl<const N: usize> Ids<N> {
    pub(crate) fn new() -> Self {
        let state = RandomState::new();
        let seeds = [state.hash_one(0), state.hash_one(1)];
        Self {
            ids: Vec::new(),
            tags: vec![0; 16],
            slots: vec![0; 16],
            seeds,
        }
    }

    /// The slot to begin at, before masking, and the tag.
    fn hash(&self, id: &[u8; N]) -> (usize, u8) {
        let word = |bytes: &[u8]| u64::from_le_bytes(*bytes.first_chunk().expect("8 of 16"));
        let hash = id.chunks_exact(16).fold(self.seeds[0], |hash, chunk| {
            let product =
                u128::from(word(chunk) ^ hash) * u128::from(word(&chunk[8..]) ^ self.seeds[1]);
            product as u64 ^ (product >> 64) as u64
        });
        (hash as usize, 0x80 | (hash >> 57) as u8)
    }

    pub(crate) fn id(&self, index: u32) -> &[u8; N] {
        &self.ids[index as usize]
    }

    /// The index of this id, or the free slot and the tag for it.
    fn find(&self, id: &[u8; N]) -> Result<u32, (usize, u8)> {
        let mask = self.slots.len() - 1;
        let (mut at, tag) = self.hash(id);
        loop {
            at &= mask;
            if self.tags[at] == 0 {
                return Err((at, tag));
            }
            if self.tags[at] == tag && self.ids[self.slots[at] as usize] == *id {
                return Ok(self.slots[at]);
            }
            at += 1;
        }
    }

    pub(crate) fn get(&self, id: &[u8; N]) -> Option<u32> {
        self.find(id).ok()
    }

    /// The index of this id; whether it is new.
    pub(crate) fn intern(&mut self, id: &[u8; N]) -> (u32, bool) {
        if self.ids.len() * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let (at, tag) = match self.find(id) {
            Ok(index) => return (index, false),
            Err(free) => free,
        };
        let index = u32::try_from(self.ids.len())
            .ok()
            .filter(|index| *index < 1 << 31)
            .expect("fewer than 2^31 ids fit into memory");
        (self.tags[at], self.slots[at]) = (tag, index);
        self.ids.push(*id);
        (index, true)
    }

    fn grow(&mut self) {
        let len = self.slots.len() * 2;
        self.tags = vec![0; len];
        self.slots = vec![0; len];
        for (index, id) in (0..).zip(&self.ids) {
            let (mut at, tag) = self.hash(id);
            at &= len - 1;
            while self.tags[at] != 0 {
                at = (at + 1) & (len - 1);
            }
            (self.tags[at], self.slots[at]) = (tag, index);
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.ids.capacity() * N + self.slots.capacity() * 5
    }
}

//! The seals that stand, by id, in the order in which they came to stand: an author's after one another.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Index;

use tally_vault_format::SealId;

use crate::set::Stored;

/// A table of seals. Rows are never removed, and their numbers never leave this process.
#[derive(Default)]
pub(crate) struct Seals {
    numbers: HashMap<SealId, u32, Seeds>,
    rows: Vec<(SealId, Stored)>,
}

impl Seals {
    pub(crate) fn reserve(&mut self, more: usize) {
        self.numbers.reserve(more);
        self.rows.reserve(more);
    }

    /// The number of a seal's row.
    pub(crate) fn number(&self, id: &SealId) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    pub(crate) fn row(&self, number: u32) -> &(SealId, Stored) {
        &self.rows[number as usize]
    }

    pub(crate) fn row_mut(&mut self, number: u32) -> &mut (SealId, Stored) {
        &mut self.rows[number as usize]
    }

    pub(crate) fn contains_key(&self, id: &SealId) -> bool {
        self.numbers.contains_key(id)
    }

    pub(crate) fn get(&self, id: &SealId) -> Option<&Stored> {
        self.number(id).map(|number| &self.row(number).1)
    }

    pub(crate) fn get_mut(&mut self, id: &SealId) -> Option<&mut Stored> {
        self.number(id).map(|number| &mut self.row_mut(number).1)
    }

    /// The row of this seal, which is made if there is none.
    pub(crate) fn get_or_insert_with(
        &mut self,
        id: SealId,
        make: impl FnOnce() -> Stored,
    ) -> &mut Stored {
        let next = u32::try_from(self.rows.len()).expect("fewer than 2^32 seals fit into memory");
        let number = *self.numbers.entry(id).or_insert(next);
        if number == next {
            self.rows.push((id, make()));
        }
        &mut self.row_mut(number).1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SealId, &Stored)> {
        self.rows.iter().map(|(id, stored)| (id, stored))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&SealId, &mut Stored)> {
        self.rows.iter_mut().map(|(id, stored)| (&*id, stored))
    }

    /// Each with the number of its row.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u32, &Stored)> {
        (0..).zip(self.rows.iter().map(|(_, stored)| stored))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Stored> {
        self.rows.iter().map(|(_, stored)| stored)
    }

    /// Bytes of memory, but for what the rows point to and what allocators add.
    pub(crate) fn memory(&self) -> usize {
        self.numbers.capacity() * size_of::<(SealId, u32)>()
            + self.rows.capacity() * size_of::<(SealId, Stored)>()
    }
}

impl Index<&SealId> for Seals {
    type Output = Stored;

    fn index(&self, id: &SealId) -> &Stored {
        self.get(id).expect("the seal stands")
    }
}

/// Ids are hashes already, but their makers can choose among many: seeds that they do not know keep them from filling one
/// part of the table, as in the tables of `tally_vault_state`.
#[derive(Clone)]
struct Seeds([u64; 2]);

impl Default for Seeds {
    fn default() -> Self {
        let state = RandomState::new();
        Self([state.hash_one(0), state.hash_one(1)])
    }
}

impl BuildHasher for Seeds {
    type Hasher = Mixer;

    fn build_hasher(&self) -> Mixer {
        Mixer {
            seed: self.0[1],
            hash: self.0[0],
        }
    }
}

/// Hashes ids of 32 bytes and nothing else.
struct Mixer {
    seed: u64,
    hash: u64,
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks::<16>();
        debug_assert!(rest.is_empty(), "an id");
        for chunk in chunks {
            let [low, high] = [0, 8]
                .map(|at| u64::from_le_bytes(*chunk[at..].first_chunk().expect("8 of 16 bytes")));
            let product = u128::from(low ^ self.hash) * u128::from(high ^ self.seed);
            self.hash = product as u64 ^ (product >> 64) as u64;
        }
    }

    /// The length of the id, which is the same for all.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.hash
    }
}

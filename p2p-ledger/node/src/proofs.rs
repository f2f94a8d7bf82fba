//! The log of receipts as proofs need it: the whole tree, and where each receipt stands.
//!
//! Kept in memory, about 250 bytes for each receipt, and rebuilt from the blocks when a node starts.

use std::collections::HashMap;

use tally_ledger::{Entry, Settled};
use tally_log::{Hash, HashTree, InclusionProof, prove_inclusion, root_of};
use tally_receipt::Digest;

#[derive(Debug, Default)]
pub(crate) struct Log {
    tree: HashTree,
    entries: Vec<Entry>,
    places: HashMap<Digest, u64>,
}

impl Log {
    /// Appends what a final block logged.
    ///
    /// # Panics
    ///
    /// If it does not go on where the log ends.
    pub(crate) fn append(&mut self, settled: &[Settled]) {
        for one in settled {
            assert_eq!(one.index, self.tree.size(), "final blocks come in order");
            // A receipt that is settled twice is proved by where it stands first.
            self.places.entry(one.entry.receipt).or_insert(one.index);
            self.entries.push(one.entry);
            self.tree.append(one.entry.leaf_hash());
        }
    }

    /// The entries from a place on, at most so many.
    pub(crate) fn entries(&self, from: u64, count: u64) -> &[Entry] {
        let from = usize::try_from(from).map_or(usize::MAX, |from| from.min(self.entries.len()));
        let rest = self.entries.get(from..).unwrap_or_default();
        &rest[..usize::try_from(count).map_or(rest.len(), |count| count.min(rest.len()))]
    }

    /// The root of the first `size` leaves; none if there are not so many.
    pub(crate) fn root(&self, size: u64) -> Option<Hash> {
        (size <= self.tree.size())
            .then(|| root_of(&self.tree, size).ok())
            .flatten()
    }

    /// Where a receipt stands, as what, and the path from there to the root of the first `size` leaves; none if it does not
    /// stand among them.
    pub(crate) fn find(&self, receipt: &Digest, size: u64) -> Option<(u64, Entry, InclusionProof)> {
        let index = *self.places.get(receipt)?;
        let entry = *self.entries.get(usize::try_from(index).ok()?)?;
        let path = prove_inclusion(&self.tree, index, size).ok()??;
        Some((index, entry, path))
    }
}

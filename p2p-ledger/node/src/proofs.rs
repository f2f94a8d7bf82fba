//! The log of receipts as proofs need it: the whole tree, and where each receipt stands.
//!
//! Kept in memory, about 260 bytes for each receipt, and rebuilt when a node starts: from the entries of a snapshot, and from
//! the blocks after it.

use std::collections::HashMap;

use tally_ledger::{Entry, NodeId, Sequence, Settled};
use tally_log::{Hash, HashTree, InclusionProof, prove_inclusion, root_of};
use tally_receipt::Digest;

/// Which entry of the log is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wanted {
    /// The first that has this receipt, whoever settled it.
    Receipt(Digest),
    /// The one that a node settled as its `Sequence`-th, whatever receipt that is.
    Place(NodeId, Sequence),
}

impl Wanted {
    /// Both ways to ask for an entry.
    pub(crate) fn names_of(entry: &Entry) -> [Self; 2] {
        [
            Self::Receipt(entry.receipt),
            Self::Place(entry.node, entry.sequence),
        ]
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Receipt(receipt) => write!(f, "receipt {receipt}"),
            Self::Place(node, sequence) => {
                write!(f, "receipt number {} of node {node}", sequence.get())
            }
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    tree: HashTree,
    entries: Vec<Entry>,
    places: HashMap<Digest, u64>,
    /// Where the receipts of each node stand, in the order in which it settled them, which has no gaps.
    of_nodes: HashMap<NodeId, Vec<u64>>,
}

impl Log {
    /// The log that has these entries; none if those of a node are not in its order, without gaps.
    pub(crate) fn of(entries: &[Entry]) -> Option<Self> {
        let mut log = Self::default();
        for (entry, index) in entries.iter().zip(0..) {
            let settled = log.of_nodes.get(&entry.node).map_or(0, Vec::len);
            if entry.sequence.get() != settled as u64 {
                return None;
            }
            log.append(&[Settled {
                index,
                entry: *entry,
            }]);
        }
        Some(log)
    }

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
            let of_node = self.of_nodes.entry(one.entry.node).or_default();
            assert_eq!(
                one.entry.sequence.get(),
                of_node.len() as u64,
                "a node settles its receipts one after the other"
            );
            of_node.push(one.index);
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

    /// Where an entry stands, what it is, and the path from there to the root of the first `size` leaves; none if it does not
    /// stand among them.
    pub(crate) fn find(&self, wanted: &Wanted, size: u64) -> Option<(u64, Entry, InclusionProof)> {
        let index = match wanted {
            Wanted::Receipt(receipt) => *self.places.get(receipt)?,
            Wanted::Place(node, sequence) => {
                let at = usize::try_from(sequence.get()).ok()?;
                *self.of_nodes.get(node)?.get(at)?
            }
        };
        let entry = *self.entries.get(usize::try_from(index).ok()?)?;
        let path = prove_inclusion(&self.tree, index, size).ok()??;
        Some((index, entry, path))
    }
}

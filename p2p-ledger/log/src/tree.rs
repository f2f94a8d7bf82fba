//! The growing tree, by its frontier: the roots of the full subtrees that a tree of this size consists of.
//!
//! ```text
//! size (8 bytes, big-endian) || one hash for each bit set in size, from the highest bit down
//! ```
//!
//! The subtree of the highest set bit is the leftmost. Appending merges equal subtrees as a binary counter carries, so
//! a leaf costs one node hash on average, and the root at most 63. Sources: RFC 6962, section 2.1.

use crate::hash::{Hash, empty_root, node_hash};

/// A tree's size and as much of it as is needed to append and to know its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Invariant: one for each bit set in `size`, from the highest down.
    peaks: Vec<Hash>,
}

/// Why bytes are no frontier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// Shorter than a size.
    #[error("a tree's frontier has at least {} bytes, not {found}", size_of::<u64>())]
    Truncated {
        /// How many there are.
        found: usize,
    },
    /// Another number of hashes than the size needs.
    #[error(
        "the frontier of a tree of {size} leaves has {expected} hashes; {found} bytes of them are there"
    )]
    Peaks {
        /// Leaves of the tree.
        size: u64,
        /// Hashes that such a tree has.
        expected: u32,
        /// Bytes after the size.
        found: usize,
    },
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

impl Frontier {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self {
            size: 0,
            peaks: Vec::new(),
        }
    }

    /// How many leaves the tree has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return empty_root();
        };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }

    /// Appends one leaf.
    ///
    /// # Panics
    /// When the tree has 2^64 - 1 leaves: at a billion a second, that takes 584 years.
    pub fn append(&mut self, leaf: Hash) {
        let mut carried = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self
                .peaks
                .pop()
                .expect("a peak stands for each bit set in the size");
            carried = node_hash(&left, &carried);
        }
        self.peaks.push(carried);
        self.size += 1;
    }

    /// Writes the frontier down.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + self.peaks.len() * Hash::LENGTH);
        bytes.extend_from_slice(&self.size.to_be_bytes());
        for peak in &self.peaks {
            bytes.extend_from_slice(peak.as_bytes());
        }
        bytes
    }

    /// Reads a frontier.
    ///
    /// # Errors
    /// [`FrontierError`] when the bytes are not exactly one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrontierError> {
        let (size, rest) = bytes
            .split_first_chunk()
            .ok_or(FrontierError::Truncated { found: bytes.len() })?;
        let size = u64::from_be_bytes(*size);
        let (peaks, tail) = rest.as_chunks();
        if peaks.len() != size.count_ones() as usize || !tail.is_empty() {
            return Err(FrontierError::Peaks {
                size,
                expected: size.count_ones(),
                found: rest.len(),
            });
        }
        Ok(Self {
            size,
            peaks: peaks.iter().copied().map(Hash::from_bytes).collect(),
        })
    }
}

impl Extend<Hash> for Frontier {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        for leaf in leaves {
            self.append(leaf);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::leaf_hash;

    /// RFC 6962, section 2.1, word for word.
    fn merkle_tree_hash(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&merkle_tree_hash(left), &merkle_tree_hash(right))
            }
        }
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count)
            .map(|index| leaf_hash(&index.to_be_bytes()))
            .collect()
    }

    #[test]
    fn every_size_has_the_root_of_the_definition() {
        let leaves = leaves(300);
        let mut frontier = Frontier::new();
        for count in 0..=leaves.len() {
            assert_eq!(frontier.root(), merkle_tree_hash(&leaves[..count]));
            assert_eq!(
                Frontier::from_bytes(&frontier.to_bytes()),
                Ok(frontier.clone())
            );
            if let Some(leaf) = leaves.get(count) {
                frontier.append(*leaf);
            }
        }
    }

    proptest! {
        #[test]
        fn bytes_that_are_read_are_written_again(bytes: Vec<u8>) {
            if let Ok(frontier) = Frontier::from_bytes(&bytes) {
                prop_assert_eq!(frontier.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn a_frontier_with_a_hash_too_few_or_too_many_is_refused() {
        let mut frontier = Frontier::new();
        frontier.extend(leaves(11));
        let bytes = frontier.to_bytes();
        assert!(Frontier::from_bytes(&bytes[..bytes.len() - 32]).is_err());
        assert!(Frontier::from_bytes(&[&bytes[..], &[0; 32]].concat()).is_err());
        assert!(Frontier::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(Frontier::from_bytes(&bytes[..7]).is_err());
    }
}

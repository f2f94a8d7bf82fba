//! Proofs about a tree: that an entry is in it, and that it is a tree of before with entries added.
//!
//! Hashes are in the order of RFC 6962, section 2.1: from the leaf up. Checking follows RFC 9162, sections 2.1.3.2 and
//! 2.1.4.2. Making a proof needs the roots of full subtrees, which a [`HashSource`] has: tiles on a disk, or [`HashTree`].

use crate::hash::{Hash, empty_root, node_hash};

/// Hashes in a proof: a tree of 2^64 leaves has 64 levels, and a consistency proof one hash more.
pub const MAX_PROOF_HASHES: usize = 65;

/// That a leaf is at a place in a tree: the hashes of what is beside the path from it to the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InclusionProof(Vec<Hash>);

/// That a tree begins with another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsistencyProof(Vec<Hash>);

/// Why a proof shows nothing. Whoever made it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// There is no such leaf in such a tree.
    #[error("a tree of {size} leaves has no leaf {index}")]
    NoLeaf {
        /// Which leaf.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// A tree does not begin with a larger one.
    #[error("a tree of {new} leaves does not begin with one of {old}")]
    NotLarger {
        /// Leaves of the smaller tree.
        old: u64,
        /// Leaves of the larger one.
        new: u64,
    },
    /// Another number of hashes than such a proof has.
    #[error("the proof has {found} hashes, not as many as it needs")]
    Length {
        /// How many.
        found: usize,
    },
    /// It leads to another root.
    #[error("the proof leads to the root {found}, not to {expected}")]
    OtherRoot {
        /// The root that is known.
        expected: Hash,
        /// The one that follows from the proof.
        found: Hash,
    },
}

impl InclusionProof {
    /// Takes hashes, from the leaf's sibling up.
    ///
    /// # Errors
    /// [`ProofError::Length`] with more than any proof has.
    pub fn new(hashes: Vec<Hash>) -> Result<Self, ProofError> {
        bounded(hashes).map(Self)
    }

    /// The hashes, from the leaf's sibling up.
    pub fn hashes(&self) -> &[Hash] {
        &self.0
    }

    /// The root of the one tree of `size` leaves that has `leaf` at `index` beside these hashes.
    ///
    /// # Errors
    /// [`ProofError::NoLeaf`], [`ProofError::Length`].
    pub fn root(&self, leaf: Hash, index: u64, size: u64) -> Result<Hash, ProofError> {
        if index >= size {
            return Err(ProofError::NoLeaf { index, size });
        }
        let length = ProofError::Length {
            found: self.0.len(),
        };
        let (mut node, mut last, mut hash) = (index, size - 1, leaf);
        for sibling in &self.0 {
            if last == 0 {
                return Err(length);
            }
            if node & 1 == 1 || node == last {
                hash = node_hash(sibling, &hash);
                // Levels at which the last node has no sibling are skipped.
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node_hash(&hash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        if last == 0 { Ok(hash) } else { Err(length) }
    }

    /// Checks that the tree of `size` leaves with this root has `leaf` at `index`.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self, leaf: Hash, index: u64, size: u64, root: Hash) -> Result<(), ProofError> {
        expect(root, self.root(leaf, index, size)?)
    }
}

impl ConsistencyProof {
    /// Takes hashes, in the order of RFC 6962.
    ///
    /// # Errors
    /// [`ProofError::Length`] with more than any proof has.
    pub fn new(hashes: Vec<Hash>) -> Result<Self, ProofError> {
        bounded(hashes).map(Self)
    }

    /// The hashes, in the order of RFC 6962.
    pub fn hashes(&self) -> &[Hash] {
        &self.0
    }

    /// Checks that the tree of `new` leaves begins with the one of `old`.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(
        &self,
        old: u64,
        old_root: Hash,
        new: u64,
        new_root: Hash,
    ) -> Result<(), ProofError> {
        let length = ProofError::Length {
            found: self.0.len(),
        };
        if old > new {
            return Err(ProofError::NotLarger { old, new });
        }
        if old == 0 || old == new {
            if !self.0.is_empty() {
                return Err(length);
            }
            // Every tree begins with the empty one.
            return match old {
                0 => expect(empty_root(), old_root),
                _ => expect(new_root, old_root),
            };
        }
        let (mut node, mut last) = (old - 1, new - 1);
        while node & 1 == 1 {
            node >>= 1;
            last >>= 1;
        }
        let mut hashes = self.0.iter();
        // A smaller tree that is one full subtree is not repeated in the proof.
        let first = match old.is_power_of_two() {
            true => old_root,
            false => *hashes.next().ok_or(length)?,
        };
        let (mut old_hash, mut new_hash) = (first, first);
        for sibling in hashes {
            if last == 0 {
                return Err(length);
            }
            if node & 1 == 1 || node == last {
                old_hash = node_hash(sibling, &old_hash);
                new_hash = node_hash(sibling, &new_hash);
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                new_hash = node_hash(&new_hash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        if last != 0 {
            return Err(length);
        }
        expect(old_root, old_hash)?;
        expect(new_root, new_hash)
    }
}

fn bounded(hashes: Vec<Hash>) -> Result<Vec<Hash>, ProofError> {
    match hashes.len() {
        0..=MAX_PROOF_HASHES => Ok(hashes),
        found => Err(ProofError::Length { found }),
    }
}

fn expect(expected: Hash, found: Hash) -> Result<(), ProofError> {
    if expected == found {
        Ok(())
    } else {
        Err(ProofError::OtherRoot { expected, found })
    }
}

/// Whoever has the roots of full subtrees.
pub trait HashSource {
    /// Why one cannot be had, such as a disk's error.
    type Error;

    /// The root of the leaves from `index << level` to, exclusively, `(index + 1) << level`. Asked only for subtrees
    /// that are full in the tree at hand.
    ///
    /// # Errors
    /// When it cannot be had.
    fn full(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The root of the first `size` leaves.
///
/// # Errors
/// The source's.
pub fn root_of<S: HashSource>(source: &S, size: u64) -> Result<Hash, S::Error> {
    match size {
        0 => Ok(empty_root()),
        _ => subtree(source, 0, size),
    }
}

/// Shows that the tree of the first `size` leaves has its leaf `index` where it is. None when there is no such leaf.
///
/// # Errors
/// The source's.
pub fn prove_inclusion<S: HashSource>(
    source: &S,
    index: u64,
    size: u64,
) -> Result<Option<InclusionProof>, S::Error> {
    if index >= size {
        return Ok(None);
    }
    let (mut from, mut to) = (0, size);
    let mut hashes = Vec::new();
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            hashes.push(subtree(source, middle, to)?);
            to = middle;
        } else {
            hashes.push(subtree(source, from, middle)?);
            from = middle;
        }
    }
    hashes.reverse();
    Ok(Some(InclusionProof(hashes)))
}

/// Shows that the tree of the first `new` leaves begins with that of the first `old`. None when `old` is more.
///
/// # Errors
/// The source's.
pub fn prove_consistency<S: HashSource>(
    source: &S,
    old: u64,
    new: u64,
) -> Result<Option<ConsistencyProof>, S::Error> {
    if old > new {
        return Ok(None);
    }
    if old == 0 || old == new {
        return Ok(Some(ConsistencyProof::default()));
    }
    let (mut from, mut to) = (0, new);
    let mut hashes = Vec::new();
    // Down to the subtree that ends where the smaller tree does.
    while to != old {
        let middle = from + split(to - from);
        if old <= middle {
            hashes.push(subtree(source, middle, to)?);
            to = middle;
        } else {
            hashes.push(subtree(source, from, middle)?);
            from = middle;
        }
    }
    if from != 0 {
        hashes.push(subtree(source, from, to)?);
    }
    hashes.reverse();
    Ok(Some(ConsistencyProof(hashes)))
}

/// The root of the leaves from `from` to, exclusively, `to`, where a full subtree begins at `from`.
fn subtree<S: HashSource>(source: &S, from: u64, to: u64) -> Result<Hash, S::Error> {
    let mut end = to;
    let mut right: Option<Hash> = None;
    // The full subtrees that it consists of, from the right.
    while end > from {
        let level = end.trailing_zeros().min((end - from).ilog2());
        let begin = end - (1 << level);
        let hash = source.full(level, begin >> level)?;
        right = Some(right.map_or(hash, |right| node_hash(&hash, &right)));
        end = begin;
    }
    Ok(right.expect("a subtree has at least one leaf"))
}

/// The largest power of two below `count`, which is at least two.
const fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// The whole tree in memory: about 64 bytes for each leaf.
#[derive(Clone, Debug, Default)]
pub struct HashTree {
    /// `levels[level][index]` is the root of a full subtree.
    levels: Vec<Vec<Hash>>,
}

impl HashTree {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self { levels: Vec::new() }
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Appends one leaf.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[level];
            hashes.push(hash);
            match hashes[..] {
                [.., left, right] if hashes.len().is_multiple_of(2) => {
                    hash = node_hash(&left, &right);
                }
                _ => return,
            }
        }
    }
}

impl HashSource for HashTree {
    type Error = NotInTree;

    fn full(&self, level: u32, index: u64) -> Result<Hash, NotInTree> {
        self.levels
            .get(level as usize)
            .and_then(|hashes| hashes.get(usize::try_from(index).ok()?))
            .copied()
            .ok_or(NotInTree { level, index })
    }
}

/// A subtree was asked for that the tree does not have: the caller asked about a larger tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree has no full subtree {index} at level {level}")]
pub struct NotInTree {
    /// Levels above the leaves.
    pub level: u32,
    /// Which one from the left.
    pub index: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use crate::tree::Frontier;

    fn tree(count: u64) -> (HashTree, Vec<Hash>) {
        let mut tree = HashTree::new();
        let mut frontier = Frontier::new();
        let mut roots = vec![frontier.root()];
        for index in 0..count {
            tree.append(leaf_hash(&index.to_be_bytes()));
            frontier.append(leaf_hash(&index.to_be_bytes()));
            roots.push(frontier.root());
        }
        (tree, roots)
    }

    /// `proof` with one hash altered, one left out and one added.
    fn damaged(hashes: &[Hash]) -> Vec<Vec<Hash>> {
        let mut all = Vec::new();
        for place in 0..hashes.len() {
            let mut altered = hashes.to_vec();
            altered[place] = leaf_hash(b"other");
            let mut shorter = hashes.to_vec();
            shorter.remove(place);
            let mut longer = hashes.to_vec();
            longer.insert(place, hashes[place]);
            all.extend([altered, shorter, longer]);
        }
        all.push([hashes, &[empty_root()]].concat());
        all
    }

    #[test]
    fn every_leaf_of_every_tree_is_shown_to_be_where_it_is_and_nowhere_else() {
        let (tree, roots) = tree(40);
        for size in 1..=40 {
            let root = roots[size as usize];
            assert_eq!(root_of(&tree, size), Ok(root));
            for index in 0..size {
                let leaf = leaf_hash(&index.to_be_bytes());
                let proof = prove_inclusion(&tree, index, size).unwrap().unwrap();
                assert_eq!(proof.verify(leaf, index, size, root), Ok(()));
                for other in (0..size).filter(|other| *other != index) {
                    assert!(proof.verify(leaf, other, size, root).is_err());
                }
                assert!(
                    proof
                        .verify(leaf_hash(b"other"), index, size, root)
                        .is_err()
                );
                for hashes in damaged(proof.hashes()) {
                    assert!(
                        InclusionProof(hashes)
                            .verify(leaf, index, size, root)
                            .is_err()
                    );
                }
            }
            assert_eq!(prove_inclusion(&tree, size, size), Ok(None));
        }
    }

    #[test]
    fn every_tree_is_shown_to_begin_with_every_smaller_one() {
        let (tree, roots) = tree(40);
        for new in 0..=40 {
            for old in 0..=new {
                let (old_root, new_root) = (roots[old as usize], roots[new as usize]);
                let proof = prove_consistency(&tree, old, new).unwrap().unwrap();
                assert_eq!(proof.verify(old, old_root, new, new_root), Ok(()));
                let other = leaf_hash(b"other");
                assert!(proof.verify(old, other, new, new_root).is_err());
                assert!(old == 0 || proof.verify(old, old_root, new, other).is_err());
                for hashes in damaged(proof.hashes()) {
                    assert!(
                        ConsistencyProof(hashes)
                            .verify(old, old_root, new, new_root)
                            .is_err()
                    );
                }
            }
            assert_eq!(prove_consistency(&tree, new + 1, new), Ok(None));
        }
    }

    #[test]
    fn a_proof_longer_than_any_is_refused() {
        assert!(InclusionProof::new(vec![empty_root(); MAX_PROOF_HASHES + 1]).is_err());
        assert!(ConsistencyProof::new(vec![empty_root(); MAX_PROOF_HASHES + 1]).is_err());
    }
}

//! Whether a log of today is the one of before with entries added, by two checkpoints and whoever has the tree.

use crate::checkpoint::Checkpoint;
use crate::proof::{HashSource, ProofError, prove_consistency, root_of};

/// Why that cannot be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtendsError<E> {
    /// The checkpoints are of two logs, and need have nothing in common: the caller is at fault.
    #[error("the one is of the log {}, the other of {}", .0[0].origin, .0[1].origin)]
    OtherLog(Box<[Checkpoint; 2]>),
    /// The one that is said to be older is larger: the caller is at fault.
    #[error("the older one is of {old} entries, the newer one of {new}")]
    Larger {
        /// Entries of the older one.
        old: u64,
        /// Entries of the newer one.
        new: u64,
    },
    /// The tree cannot be read: the operator must act.
    #[error("{0}")]
    Source(E),
    /// The tree at hand is not the newer one's: it was damaged, or somebody gives out another.
    #[error("the tree at hand is not that of the newer checkpoint: {0}")]
    OtherTree(ProofError),
}

/// Whether the tree of `new` begins with that of `old`. Either answer is shown by hashes that lead to the root of `new`, so
/// `source` need not be trusted. Who signed the checkpoints is not looked at.
///
/// # Errors
/// [`ExtendsError`].
pub fn extends<S: HashSource>(
    source: &S,
    old: &Checkpoint,
    new: &Checkpoint,
) -> Result<bool, ExtendsError<S::Error>> {
    if old.origin != new.origin {
        return Err(ExtendsError::OtherLog(Box::new([old.clone(), new.clone()])));
    }
    if old.size == new.size {
        return Ok(old.root == new.root);
    }
    let proof = prove_consistency(source, old.size, new.size)
        .map_err(ExtendsError::Source)?
        .ok_or(ExtendsError::Larger {
            old: old.size,
            new: new.size,
        })?;
    // What the newer tree begins with, whether or not that is the older one.
    let begins = root_of(source, old.size).map_err(ExtendsError::Source)?;
    proof
        .verify(old.size, begins, new.size, new.root)
        .map_err(ExtendsError::OtherTree)?;
    Ok(begins == old.root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{Hash, empty_root, leaf_hash};
    use crate::note::KeyName;
    use crate::proof::HashTree;

    fn tree(leaves: &[u8]) -> HashTree {
        let mut tree = HashTree::new();
        for leaf in leaves {
            tree.append(leaf_hash(&[*leaf]));
        }
        tree
    }

    fn checkpoint(leaves: &[u8]) -> Checkpoint {
        let size = leaves.len() as u64;
        Checkpoint {
            origin: KeyName::new("tally/test").unwrap(),
            size,
            root: root_of(&tree(leaves), size).unwrap(),
        }
    }

    #[test]
    fn a_log_extends_what_it_was_and_no_other_history() {
        let leaves: Vec<u8> = (0..20).collect();
        for new in 0..=leaves.len() {
            let source = tree(&leaves[..new]);
            let today = checkpoint(&leaves[..new]);
            for old in 0..=new {
                let before = checkpoint(&leaves[..old]);
                assert_eq!(extends(&source, &before, &today), Ok(true), "{old} {new}");
                if old == 0 {
                    continue;
                }
                let mut other = leaves[..old].to_vec();
                other[old - 1] = 99;
                let other = checkpoint(&other);
                assert_eq!(extends(&source, &other, &today), Ok(false), "{old} {new}");
            }
        }
    }

    #[test]
    fn a_tree_that_is_not_the_newer_ones_answers_nothing() {
        let leaves: Vec<u8> = (0..20).collect();
        let (old, new) = (checkpoint(&leaves[..8]), checkpoint(&leaves));
        for altered in 0..leaves.len() {
            let mut other = leaves.clone();
            other[altered] = 99;
            let answer = extends(&tree(&other), &old, &new);
            assert!(
                matches!(answer, Err(ExtendsError::OtherTree(_))),
                "{answer:?}"
            );
        }
        let short = extends(&tree(&leaves[..12]), &old, &new);
        assert!(matches!(short, Err(ExtendsError::Source(_))), "{short:?}");
    }

    #[test]
    fn two_logs_and_a_log_that_shrank_are_not_compared() {
        let leaves: Vec<u8> = (0..5).collect();
        let source = tree(&leaves);
        let (old, new) = (checkpoint(&leaves[..3]), checkpoint(&leaves));
        assert_eq!(
            extends(&source, &new, &old),
            Err(ExtendsError::Larger { old: 5, new: 3 })
        );
        let mut foreign = old.clone();
        foreign.origin = KeyName::new("tally/other").unwrap();
        assert!(matches!(
            extends(&source, &foreign, &new),
            Err(ExtendsError::OtherLog(_))
        ));
        // An empty log has one root.
        let mut empty = checkpoint(&[]);
        assert_eq!(empty.root, empty_root());
        empty.root = Hash::from_bytes([7; 32]);
        assert_eq!(extends(&source, &empty, &new), Ok(false));
    }
}

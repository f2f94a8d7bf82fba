//! A map with a root: what a state is kept in.
//!
//! ```text
//! root of nothing         = 32 zero bytes
//! root of one record      = H(state leaf; key 32 || value 32)
//! root of several         = H(state node; root of those whose next bit is 0 || root of those whose next bit is 1)
//! ```
//!
//! A record's key is a digest and its value another; bits are taken from the key's first byte on, the highest first. So
//! the root is a function of the set of records alone, whatever the order in which they came and went, and a map of n
//! random keys is about log2 n deep.
//!
//! A map shares with its copies whatever did not change since: a copy costs nothing, and so do many candidate blocks on
//! one state. Hashes are made when the root is asked for, each once for all changes since.

use std::sync::{Arc, OnceLock};

use crate::id::{Purpose, StateRoot, hash};
use crate::wire::{DecodeError, Reader, Write};

/// What a map holds.
pub(crate) trait Record: Clone {
    /// Where it is. Two records of one place are never in the map together.
    fn key(&self) -> [u8; 32];
    /// Its content's digest.
    fn value(&self) -> [u8; 32];
}

#[derive(Clone, Debug)]
pub(crate) struct Map<R> {
    root: Node<R>,
    len: usize,
}

#[derive(Clone, Debug)]
enum Node<R> {
    Empty,
    Leaf(Arc<Leaf<R>>),
    /// Invariant: at least two leaves are below.
    Inner(Arc<Inner<R>>),
}

#[derive(Clone, Debug)]
struct Leaf<R> {
    key: [u8; 32],
    record: R,
    hash: OnceLock<[u8; 32]>,
}

#[derive(Clone, Debug)]
struct Inner<R> {
    children: [Node<R>; 2],
    hash: OnceLock<[u8; 32]>,
}

const EMPTY: [u8; 32] = [0; 32];
const BITS: usize = 256;

impl<R: Record> Map<R> {
    pub(crate) const fn new() -> Self {
        Self {
            root: Node::Empty,
            len: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn root(&self) -> StateRoot {
        StateRoot::from_bytes(self.root.hash())
    }

    pub(crate) fn get(&self, key: &[u8; 32]) -> Option<&R> {
        let mut node = &self.root;
        for depth in 0..=BITS {
            match node {
                Node::Empty => return None,
                Node::Leaf(leaf) => return (leaf.key == *key).then_some(&leaf.record),
                Node::Inner(inner) => node = &inner.children[bit(key, depth)],
            }
        }
        None
    }

    /// Puts a record in its place, whatever was there.
    pub(crate) fn insert(&mut self, record: R) {
        let leaf = Leaf {
            key: record.key(),
            record,
            hash: OnceLock::new(),
        };
        if self.root.insert(leaf, 0) {
            self.len += 1;
        }
    }

    /// Empties a place.
    pub(crate) fn remove(&mut self, key: &[u8; 32]) {
        if self.root.remove(key, 0) {
            self.len -= 1;
        }
    }

    /// All records, ascending by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &R> {
        let mut pending = vec![&self.root];
        std::iter::from_fn(move || {
            loop {
                match pending.pop()? {
                    Node::Empty => {}
                    Node::Leaf(leaf) => return Some(&leaf.record),
                    Node::Inner(inner) => pending.extend(inner.children.iter().rev()),
                }
            }
        })
    }

    /// What shows, to whoever knows the root, what is in a place or that nothing is.
    pub(crate) fn prove(&self, key: &[u8; 32]) -> MapProof {
        let mut siblings = Vec::new();
        let mut node = &self.root;
        for depth in 0..=BITS {
            match node {
                Node::Inner(inner) => {
                    let side = bit(key, depth);
                    siblings.push(inner.children[1 - side].hash());
                    node = &inner.children[side];
                }
                Node::Leaf(leaf) if leaf.key != *key => {
                    return MapProof {
                        siblings,
                        other: Some((leaf.key, leaf.record.value())),
                    };
                }
                Node::Leaf(_) | Node::Empty => break,
            }
        }
        MapProof {
            siblings,
            other: None,
        }
    }
}

impl<R: Record> Node<R> {
    fn hash(&self) -> [u8; 32] {
        match self {
            Self::Empty => EMPTY,
            Self::Leaf(leaf) => *leaf
                .hash
                .get_or_init(|| leaf_hash(&leaf.key, &leaf.record.value())),
            Self::Inner(inner) => *inner.hash.get_or_init(|| {
                let [left, right] = &inner.children;
                node_hash(&left.hash(), &right.hash())
            }),
        }
    }

    /// Whether the place was empty.
    fn insert(&mut self, new: Leaf<R>, depth: usize) -> bool {
        match self {
            Self::Empty => {
                *self = Self::Leaf(Arc::new(new));
                true
            }
            Self::Leaf(leaf) if leaf.key == new.key => {
                *self = Self::Leaf(Arc::new(new));
                false
            }
            Self::Leaf(leaf) => {
                let mut children = [Self::Empty, Self::Empty];
                children[bit(&leaf.key, depth)] = Self::Leaf(Arc::clone(leaf));
                children[bit(&new.key, depth)].insert(new, depth + 1);
                *self = Self::Inner(Arc::new(Inner {
                    children,
                    hash: OnceLock::new(),
                }));
                true
            }
            Self::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                inner.hash = OnceLock::new();
                inner.children[bit(&new.key, depth)].insert(new, depth + 1)
            }
        }
    }

    /// Whether the place was full.
    fn remove(&mut self, key: &[u8; 32], depth: usize) -> bool {
        match self {
            Self::Empty => false,
            Self::Leaf(leaf) if leaf.key == *key => {
                *self = Self::Empty;
                true
            }
            Self::Leaf(_) => false,
            Self::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let removed = inner.children[bit(key, depth)].remove(key, depth + 1);
                inner.hash = OnceLock::new();
                // A leaf that is alone moves up, as if the other had never been.
                let alone = match &inner.children {
                    [Self::Empty, leaf @ Self::Leaf(_)] | [leaf @ Self::Leaf(_), Self::Empty] => {
                        Some(leaf.clone())
                    }
                    _ => None,
                };
                if let Some(leaf) = alone {
                    *self = leaf;
                }
                removed
            }
        }
    }
}

fn bit(key: &[u8; 32], depth: usize) -> usize {
    // Two different keys differ within 256 bits, so no leaf is deeper.
    usize::from(key[depth / 8] >> (7 - depth % 8) & 1)
}

fn leaf_hash(key: &[u8; 32], value: &[u8; 32]) -> [u8; 32] {
    *hash(Purpose::StateLeaf, |hasher| {
        hasher.put(key);
        hasher.put(value);
    })
    .as_bytes()
}

fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    *hash(Purpose::StateNode, |hasher| {
        hasher.put(left);
        hasher.put(right);
    })
    .as_bytes()
}

/// A path through the map from its root to a place.
///
/// ```text
/// count u16 of siblings || siblings, 32 each, from the root down || other u8 || if 1: key 32 || value 32
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapProof {
    siblings: Vec<[u8; 32]>,
    /// Who stands where the key would be, when somebody else does.
    other: Option<([u8; 32], [u8; 32])>,
}

impl MapProof {
    /// Whether, under `root`, the place `key` has `value`, or nothing.
    pub(crate) fn shows(&self, root: StateRoot, key: &[u8; 32], value: Option<[u8; 32]>) -> bool {
        let depth = self.siblings.len();
        if depth > BITS {
            return false;
        }
        let bottom = match (value, &self.other) {
            (Some(value), None) => leaf_hash(key, &value),
            (None, None) => EMPTY,
            // The other's path must lead here, or it would hide a record elsewhere.
            (None, Some((other, value)))
                if other != key && (0..depth).all(|depth| bit(other, depth) == bit(key, depth)) =>
            {
                leaf_hash(other, value)
            }
            _ => return false,
        };
        let top =
            self.siblings.iter().enumerate().rev().fold(
                bottom,
                |below, (depth, sibling)| match bit(key, depth) {
                    0 => node_hash(&below, sibling),
                    _ => node_hash(sibling, &below),
                },
            );
        top == *root.as_bytes()
    }

    /// Writes the proof down.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_count(self.siblings.len());
        for sibling in &self.siblings {
            bytes.put(sibling);
        }
        bytes.put_u8(u8::from(self.other.is_some()));
        if let Some((key, value)) = &self.other {
            bytes.put(key);
            bytes.put(value);
        }
        bytes
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            Ok(Self {
                siblings: reader
                    .list(BITS, 32, "the siblings", |reader| reader.array("a sibling"))?,
                other: match reader.flag("whether another record stands there")? {
                    false => None,
                    true => Some((reader.array("a key")?, reader.array("a value")?)),
                },
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Sample(u8, u8);

    impl Record for Sample {
        fn key(&self) -> [u8; 32] {
            // Keys that share long prefixes: only the last byte differs for some.
            let mut key = [0; 32];
            key[0] = self.0 & 0xf0;
            key[31] = self.0;
            key
        }

        fn value(&self) -> [u8; 32] {
            [self.1; 32]
        }
    }

    /// The definition at the top of the file, word for word.
    fn root_of(records: &[([u8; 32], [u8; 32])], depth: usize) -> [u8; 32] {
        match records {
            [] => EMPTY,
            [(key, value)] => leaf_hash(key, value),
            _ => {
                let (right, left): (Vec<_>, Vec<_>) =
                    records.iter().partition(|(key, _)| bit(key, depth) == 1);
                node_hash(&root_of(&left, depth + 1), &root_of(&right, depth + 1))
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_map_is_a_plain_map_with_the_root_of_its_definition(
            steps in prop::collection::vec((0u8..40, prop::option::of(0u8..4)), 0..60),
        ) {
            let (mut map, mut plain) = (Map::new(), BTreeMap::new());
            let mut copies = Vec::new();
            for (id, value) in steps {
                match value {
                    Some(value) => {
                        map.insert(Sample(id, value));
                        plain.insert(Sample(id, 0).key(), Sample(id, value));
                    }
                    None => {
                        map.remove(&Sample(id, 0).key());
                        plain.remove(&Sample(id, 0).key());
                    }
                }
                copies.push((map.clone(), map.root()));
            }
            prop_assert_eq!(map.len(), plain.len());
            prop_assert!(map.iter().eq(plain.values()));
            let records: Vec<_> = plain.iter().map(|(key, record)| (*key, record.value())).collect();
            prop_assert_eq!(map.root(), StateRoot::from_bytes(root_of(&records, 0)));
            for (copy, root) in copies {
                prop_assert_eq!(copy.root(), root);
            }
            for id in 0..40 {
                let key = Sample(id, 0).key();
                prop_assert_eq!(map.get(&key), plain.get(&key));
                let proof = map.prove(&key);
                prop_assert_eq!(MapProof::from_bytes(&proof.to_bytes()), Ok(proof.clone()));
                let found = plain.get(&key).map(Record::value);
                prop_assert!(proof.shows(map.root(), &key, found));
                let other = match found { Some(_) => None, None => Some([0; 32]) };
                prop_assert!(!proof.shows(map.root(), &key, other));
                prop_assert!(!proof.shows(map.root(), &key, Some([9; 32])));
            }
        }
    }
}

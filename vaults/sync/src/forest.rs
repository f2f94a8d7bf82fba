//! Finding out what is missing, without listing what is there.
//!
//! What a side shows is a forest: one tree of seals for each author, placed by counter, and one tree each of keyrings,
//! slots and blobs, placed by the first 8 bytes of their hash. A node covers 16^k places. Both sides walk down in lock step
//! from the nodes whose digests differ; what one side has none of is not walked, it is sent.
//!
//! A digest is the sum modulo 2^64 of one tag for each item, and a tag is a hash under a key that both sides fix in the
//! handshake. So nobody but the two can prepare items whose tags cancel out; and the two could lie more simply.
//!
//! Invariant: both sides compute the same list of nodes to compare from what both have seen, so nodes need no address.

use std::collections::VecDeque;
use std::ops::Range;

use tally_vault_format::{BoxHash, MemberId, Time};

use crate::error::Fault;
use crate::limits::{AT_ONE_PLACE, LISTED, STEP_NODES, TREES};
use crate::replica::{Held, Item, Rank};
use crate::wire::Fields;

/// What a tree is of. The numbers are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum TreeKind {
    Seals = 1,
    Keyrings = 2,
    Slots = 3,
    Blobs = 4,
}

/// A tree: of seals with their author, of the others with zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TreeKey {
    pub(crate) kind: TreeKind,
    pub(crate) owner: MemberId,
}

impl TreeKey {
    pub(crate) fn seals(author: MemberId) -> Self {
        Self {
            kind: TreeKind::Seals,
            owner: author,
        }
    }

    pub(crate) fn of(kind: TreeKind) -> Self {
        Self {
            kind,
            owner: MemberId([0; 32]),
        }
    }
}

/// The key of the tags of one session.
pub(crate) struct Salt(pub(crate) [u8; 32]);

impl Salt {
    fn tag(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        u64::from_be_bytes(
            *hasher
                .finalize()
                .as_bytes()
                .first_chunk()
                .expect("a hash has 32 bytes"),
        )
    }

    /// Stands for an item whatever box of it is held.
    pub(crate) fn name(&self, kind: TreeKind, id: &[u8; 32]) -> u64 {
        self.tag(&[&[kind as u8], id])
    }

    /// Stands for an item with the box that is held.
    fn held(&self, name: u64, held: &Held) -> u64 {
        match held {
            Held::Bare => self.tag(&[&name.to_be_bytes(), &[0]]),
            Held::Original => self.tag(&[&name.to_be_bytes(), &[1]]),
            Held::Reboxed(rank) => self.tag(&[
                &name.to_be_bytes(),
                &[2],
                &rank.time.0.to_be_bytes(),
                &rank.hash.0,
            ]),
        }
    }
}

/// One item of a tree.
#[derive(Debug, Clone, Copy)]
struct Entry {
    place: u64,
    name: u64,
    /// The sum of the tags up to and with this one.
    sum: u64,
    held: Short,
}

/// What is held; the ranks of boxes made anew lie aside, for they are few.
#[derive(Debug, Clone, Copy)]
enum Short {
    Bare,
    Original,
    Reboxed(u32),
}

/// What one side shows of one author, or of keyrings, slots or blobs.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) key: TreeKey,
    entries: Vec<Entry>,
    ranks: Vec<Rank>,
}

/// How much is below a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Digest {
    count: u32,
    sum: u64,
}

impl Tree {
    pub(crate) fn new(key: TreeKey) -> Self {
        Self {
            key,
            entries: Vec::new(),
            ranks: Vec::new(),
        }
    }

    /// Adds the next item; places ascend. Beyond [`AT_ONE_PLACE`] items at one place, nothing is added.
    pub(crate) fn push(&mut self, salt: &Salt, place: u64, id: &[u8; 32], held: &Held) {
        let crowd = self
            .entries
            .len()
            .checked_sub(AT_ONE_PLACE)
            .map(|index| self.entries[index].place);
        if crowd == Some(place) || self.entries.len() >= u32::MAX as usize {
            return;
        }
        let name = salt.name(self.key.kind, id);
        let before = self.entries.last().map_or(0, |entry| {
            debug_assert!(entry.place <= place, "items come in order");
            entry.sum
        });
        let sum = before.wrapping_add(salt.held(name, held));
        let held = match held {
            Held::Bare => Short::Bare,
            Held::Original => Short::Original,
            Held::Reboxed(rank) => {
                self.ranks.push(*rank);
                Short::Reboxed((self.ranks.len() - 1) as u32)
            }
        };
        self.entries.push(Entry {
            place,
            name,
            sum,
            held,
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn top(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.place)
    }

    fn indices(&self, places: &Places) -> Range<usize> {
        let from = self
            .entries
            .partition_point(|entry| entry.place < places.start);
        let to = self
            .entries
            .partition_point(|entry| entry.place <= places.last());
        from..to
    }

    fn digest(&self, places: &Places) -> Digest {
        let range = self.indices(places);
        let sum_to = |end: usize| {
            if end == 0 {
                0
            } else {
                self.entries[end - 1].sum
            }
        };
        Digest {
            count: range.len() as u32,
            sum: sum_to(range.end).wrapping_sub(sum_to(range.start)),
        }
    }

    /// Place and name of the item at an index.
    pub(crate) fn at(&self, index: usize) -> (u64, u64) {
        (self.entries[index].place, self.entries[index].name)
    }

    fn held(&self, index: usize) -> Held {
        match self.entries[index].held {
            Short::Bare => Held::Bare,
            Short::Original => Held::Original,
            Short::Reboxed(rank) => Held::Reboxed(self.ranks[rank as usize]),
        }
    }
}

/// The places that a node covers: 2^bits of them.
#[derive(Debug, Clone, Copy)]
struct Places {
    start: u64,
    bits: u32,
}

impl Places {
    /// The smallest node from 0 on that has `top` in it.
    fn root(top: u64) -> Self {
        Self {
            start: 0,
            bits: (u64::BITS - top.leading_zeros()).div_ceil(4) * 4,
        }
    }

    fn last(&self) -> u64 {
        if self.bits >= 64 {
            u64::MAX
        } else {
            self.start + ((1 << self.bits) - 1)
        }
    }

    fn children(self) -> impl Iterator<Item = Self> {
        let bits = self.bits - 4;
        (0..16).map(move |child: u64| Self {
            start: self.start + (child << bits),
            bits,
        })
    }
}

/// A node that differs, with both digests.
#[derive(Debug)]
struct Node {
    tree: usize,
    places: Places,
    mine: Digest,
    theirs: Digest,
}

impl Node {
    fn is_listed(&self) -> bool {
        self.places.bits == 0 || u64::from(self.mine.count) + u64::from(self.theirs.count) <= LISTED
    }
}

/// What the comparison has found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What the peer lacks: for each tree indices of its entries.
    pub(crate) lacking: Vec<(usize, Vec<Range<usize>>)>,
    /// What the peer has with no box or a worse one.
    pub(crate) better: Vec<(usize, Vec<Range<usize>>)>,
    /// How many seals the peer shows that are lacking here, or have a worse box here, and for each author how far its
    /// counters reach.
    pub(crate) expected: u64,
    /// The authors of these seals.
    pub(crate) expected_of: Vec<MemberId>,
}

/// The comparison of two forests, as one side makes it. It does no I/O: [`next`](Self::next) gives the bytes of a step,
/// [`answer`](Self::answer) takes the peer's bytes of the same step.
pub(crate) struct Comparison<'a> {
    salt: &'a Salt,
    forest: &'a [Tree],
    empty: Vec<Tree>,
    /// Trees of both sides, ascending.
    keys: Vec<TreeKey>,
    pending: VecDeque<Node>,
    step: Vec<Node>,
    lacking: Vec<Vec<Range<usize>>>,
    better: Vec<Vec<Range<usize>>>,
    expected: Vec<u64>,
}

/// Bytes of an entry in the list of trees: kind, owner, count, top, sum.
const TREE_LEN: usize = 1 + 32 + 4 + 8 + 8;

/// Everything that is shown, in one number and a count.
pub(crate) fn total(forest: &[Tree]) -> [u8; 16] {
    let all = Places { start: 0, bits: 64 };
    let (mut count, mut sum) = (0_u64, 0_u64);
    for tree in forest {
        let digest = tree.digest(&all);
        count += u64::from(digest.count);
        sum = sum.wrapping_add(digest.sum);
    }
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&count.to_be_bytes());
    bytes[8..].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The list of trees, as it is sent. The forest is ascending by key and has no empty tree.
pub(crate) fn encode_trees(forest: &[Tree]) -> Vec<u8> {
    let all = Places { start: 0, bits: 64 };
    let mut bytes = Vec::with_capacity(forest.len() * TREE_LEN);
    for tree in forest {
        let digest = tree.digest(&all);
        bytes.push(tree.key.kind as u8);
        bytes.extend_from_slice(&tree.key.owner.0);
        bytes.extend_from_slice(&digest.count.to_be_bytes());
        bytes.extend_from_slice(&tree.top().to_be_bytes());
        bytes.extend_from_slice(&digest.sum.to_be_bytes());
    }
    bytes
}

fn decode_trees(body: &[u8]) -> Result<Vec<(TreeKey, Digest, u64)>, Fault> {
    let (rows, rest) = body.as_chunks::<TREE_LEN>();
    if !rest.is_empty() {
        return Err(Fault::Malformed("trees"));
    }
    if rows.len() > TREES {
        return Err(Fault::TooMuch("authors"));
    }
    let mut trees: Vec<(TreeKey, Digest, u64)> = Vec::with_capacity(rows.len());
    for row in rows {
        let mut fields = Fields(row, "trees");
        let kind = match fields.u8()? {
            1 => TreeKind::Seals,
            2 => TreeKind::Keyrings,
            3 => TreeKind::Slots,
            4 => TreeKind::Blobs,
            _ => return Err(Fault::Malformed("trees: kind")),
        };
        let key = TreeKey {
            kind,
            owner: MemberId(fields.array()?),
        };
        if kind != TreeKind::Seals && !key.owner.is_zero() {
            return Err(Fault::Malformed("trees: owner"));
        }
        let count = fields.u32()?;
        let top = fields.u64()?;
        let sum = fields.u64()?;
        if count == 0 {
            return Err(Fault::Malformed("trees: an empty tree"));
        }
        if trees.last().is_some_and(|(last, _, _)| *last >= key) {
            return Err(Fault::Malformed("trees: order"));
        }
        trees.push((key, Digest { count, sum }, top));
    }
    Ok(trees)
}

impl<'a> Comparison<'a> {
    /// Begins with the peer's list of trees.
    pub(crate) fn new(salt: &'a Salt, forest: &'a [Tree], theirs: &[u8]) -> Result<Self, Fault> {
        let theirs = decode_trees(theirs)?;
        let mut keys: Vec<TreeKey> = forest
            .iter()
            .map(|tree| tree.key)
            .chain(theirs.iter().map(|(key, _, _)| *key))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let mut this = Self {
            salt,
            forest,
            empty: keys.iter().map(|key| Tree::new(*key)).collect(),
            lacking: vec![Vec::new(); keys.len()],
            better: vec![Vec::new(); keys.len()],
            expected: vec![0; keys.len()],
            keys,
            pending: VecDeque::new(),
            step: Vec::new(),
        };
        let all = Places { start: 0, bits: 64 };
        for index in 0..this.keys.len() {
            let (digest, top) = theirs
                .binary_search_by_key(&this.keys[index], |(key, _, _)| *key)
                .map_or((Digest::default(), 0), |at| (theirs[at].1, theirs[at].2));
            let tree = this.tree(index);
            let mine = tree.digest(&all);
            let places = Places::root(top.max(tree.top()));
            this.weigh(Node {
                tree: index,
                places,
                mine,
                theirs: digest,
            });
        }
        Ok(this)
    }

    fn tree(&self, index: usize) -> &Tree {
        let key = &self.keys[index];
        self.forest
            .binary_search_by_key(key, |tree| tree.key)
            .map_or(&self.empty[index], |at| &self.forest[at])
    }

    /// Decides what becomes of a node of which both digests are known.
    fn weigh(&mut self, node: Node) {
        if node.mine == node.theirs {
        } else if node.theirs.count == 0 {
            let range = self.tree(node.tree).indices(&node.places);
            self.lacking[node.tree].push(range);
        } else if node.mine.count == 0 {
            self.expected[node.tree] += u64::from(node.theirs.count);
        } else {
            self.pending.push_back(node);
        }
    }

    /// The bytes of the next step, unless nothing differs any more. Both sides are at the same step.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let count = self.pending.len().min(STEP_NODES);
        self.step = self.pending.drain(..count).collect();
        if self.step.is_empty() {
            return None;
        }
        let mut bytes = Vec::new();
        for node in &self.step {
            let tree = self.tree(node.tree);
            if node.is_listed() {
                for index in tree.indices(&node.places) {
                    let (place, name) = tree.at(index);
                    bytes.extend_from_slice(&place.to_be_bytes());
                    bytes.extend_from_slice(&name.to_be_bytes());
                    match tree.held(index) {
                        Held::Bare => bytes.push(0),
                        Held::Original => bytes.push(1),
                        Held::Reboxed(rank) => {
                            bytes.push(2);
                            bytes.extend_from_slice(&rank.number.to_be_bytes());
                            bytes.extend_from_slice(&rank.time.0.to_be_bytes());
                            bytes.extend_from_slice(&rank.hash.0);
                        }
                    }
                }
            } else {
                let children: Vec<Digest> = node
                    .places
                    .children()
                    .map(|child| tree.digest(&child))
                    .collect();
                let present = children
                    .iter()
                    .enumerate()
                    .filter(|(_, digest)| digest.count > 0);
                let bitmap = present
                    .clone()
                    .fold(0_u16, |bits, (child, _)| bits | (1 << child));
                bytes.extend_from_slice(&bitmap.to_be_bytes());
                for (_, digest) in present {
                    bytes.extend_from_slice(&digest.count.to_be_bytes());
                    bytes.extend_from_slice(&digest.sum.to_be_bytes());
                }
            }
        }
        Some(bytes)
    }

    /// Takes the peer's bytes of the step. `original` looks up how good the author's own box of a seal is, by tree,
    /// place and name.
    pub(crate) fn answer<E>(
        &mut self,
        body: &[u8],
        mut original: impl FnMut(&TreeKey, u64, u64) -> Result<Option<Rank>, E>,
    ) -> Result<Result<(), Fault>, E> {
        let mut fields = Fields(body, "step");
        for node in std::mem::take(&mut self.step) {
            let read = if node.is_listed() {
                match self.read_list(&node, &mut fields) {
                    Ok(theirs) => {
                        self.weigh_list(&node, &theirs, &mut original)?;
                        Ok(())
                    }
                    Err(fault) => Err(fault),
                }
            } else {
                self.read_children(&node, &mut fields)
            };
            if let Err(fault) = read {
                return Ok(Err(fault));
            }
        }
        Ok(fields.end())
    }

    fn read_children(&mut self, node: &Node, fields: &mut Fields<'_>) -> Result<(), Fault> {
        let bitmap = fields.u16()?;
        let (mut count, mut sum) = (0_u64, 0_u64);
        for (child, places) in node.places.children().enumerate() {
            let theirs = if bitmap & (1 << child) == 0 {
                Digest::default()
            } else {
                let digest = Digest {
                    count: fields.u32()?,
                    sum: fields.u64()?,
                };
                if digest.count == 0 {
                    return Err(Fault::Malformed("step: an empty child"));
                }
                digest
            };
            count += u64::from(theirs.count);
            sum = sum.wrapping_add(theirs.sum);
            let mine = self.tree(node.tree).digest(&places);
            self.weigh(Node {
                tree: node.tree,
                places,
                mine,
                theirs,
            });
        }
        if count != u64::from(node.theirs.count) || sum != node.theirs.sum {
            return Err(Fault::Contradiction(
                "the children of a node do not add up to it",
            ));
        }
        Ok(())
    }

    fn read_list(
        &self,
        node: &Node,
        fields: &mut Fields<'_>,
    ) -> Result<Vec<(u64, u64, Held)>, Fault> {
        if node.theirs.count as usize > AT_ONE_PLACE {
            return Err(Fault::TooMuch("items at one place"));
        }
        let mut list: Vec<(u64, u64, Held)> = Vec::with_capacity(node.theirs.count as usize);
        let mut sum = 0_u64;
        for _ in 0..node.theirs.count {
            let place = fields.u64()?;
            let name = fields.u64()?;
            let held = match fields.u8()? {
                0 => Held::Bare,
                1 => Held::Original,
                2 => Held::Reboxed(Rank {
                    number: fields.u32()?,
                    time: Time(fields.u64()?),
                    hash: BoxHash(fields.array()?),
                }),
                _ => return Err(Fault::Malformed("step: held")),
            };
            if place < node.places.start || place > node.places.last() {
                return Err(Fault::Contradiction("an item outside of its node"));
            }
            if list.last().is_some_and(|(last, _, _)| *last > place) {
                return Err(Fault::Malformed("step: order"));
            }
            sum = sum.wrapping_add(self.salt.held(name, &held));
            list.push((place, name, held));
        }
        if sum != node.theirs.sum {
            return Err(Fault::Contradiction(
                "the items of a node do not add up to it",
            ));
        }
        Ok(list)
    }

    fn weigh_list<E>(
        &mut self,
        node: &Node,
        theirs: &[(u64, u64, Held)],
        original: &mut impl FnMut(&TreeKey, u64, u64) -> Result<Option<Rank>, E>,
    ) -> Result<(), E> {
        let key = self.keys[node.tree];
        let tree = self.tree(node.tree);
        let (mut lacking, mut better) = (Vec::new(), Vec::new());
        let mut expected = 0;
        for index in tree.indices(&node.places) {
            let (place, name) = tree.at(index);
            let mine = tree.held(index);
            let same = theirs
                .iter()
                .find(|(their_place, their_name, _)| (*their_place, *their_name) == (place, name));
            let Some((_, _, held)) = same else {
                lacking.push(index..index + 1);
                continue;
            };
            if mine == *held {
                continue;
            }
            let own_box = original(&key, place, name)?;
            let rank = |held: &Held| match held {
                Held::Bare => None,
                Held::Original => own_box,
                Held::Reboxed(rank) => Some(*rank),
            };
            // None, the bare seal, is below every box.
            match rank(&mine).cmp(&rank(held)) {
                std::cmp::Ordering::Greater => better.push(index..index + 1),
                std::cmp::Ordering::Less => expected += 1,
                std::cmp::Ordering::Equal => {}
            }
        }
        for (place, name, _) in theirs {
            let here = tree
                .indices(&node.places)
                .any(|index| tree.at(index) == (*place, *name));
            expected += u64::from(!here);
        }
        self.lacking[node.tree].extend(lacking);
        self.better[node.tree].extend(better);
        self.expected[node.tree] += expected;
        Ok(())
    }

    /// What was found, once [`next`](Self::next) gave nothing. Indices of `lacking` are into the forest.
    pub(crate) fn findings(mut self) -> Findings {
        let mut findings = Findings::default();
        for (index, key) in self.keys.iter().enumerate() {
            if key.kind == TreeKind::Seals && self.expected[index] > 0 {
                findings.expected += self.expected[index];
                findings.expected_of.push(key.owner);
            }
            for (ranges, found) in [
                (&mut self.lacking[index], &mut findings.lacking),
                (&mut self.better[index], &mut findings.better),
            ] {
                if ranges.is_empty() {
                    continue;
                }
                ranges.sort_unstable_by_key(|range| range.start);
                let tree = self
                    .forest
                    .binary_search_by_key(key, |tree| tree.key)
                    .expect("only what is shown can be lacking");
                found.push((tree, std::mem::take(ranges)));
            }
        }
        findings
    }
}

/// What is held, as far as the scope of a session lets it be seen.
pub(crate) fn seen(item: &Item, boxes: &crate::replica::Scope) -> Held {
    if boxes.contains(&item.namespace) {
        item.held
    } else {
        Held::Bare
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> [u8; 32] {
        *blake3::hash(&number.to_be_bytes()).as_bytes()
    }

    fn rank(number: u8) -> Rank {
        Rank {
            number: u32::from(number),
            time: Time(u64::from(number)),
            hash: BoxHash([number; 32]),
        }
    }

    /// (author, counter, variant) → what is held: 0 bare, 1 original, else a rebox of that number.
    type Shown = std::collections::BTreeMap<(u8, u64, u8), u8>;

    fn held(number: u8) -> Held {
        match number {
            0 => Held::Bare,
            1 => Held::Original,
            number => Held::Reboxed(rank(number)),
        }
    }

    fn forest(salt: &Salt, shown: &Shown) -> Vec<Tree> {
        let mut trees: Vec<Tree> = Vec::new();
        for ((author, counter, variant), number) in shown {
            let key = TreeKey::seals(MemberId([*author; 32]));
            if trees.last().is_none_or(|tree| tree.key != key) {
                trees.push(Tree::new(key));
            }
            let name = id(u64::from(*author) << 48 | *counter << 8 | u64::from(*variant));
            trees
                .last_mut()
                .expect("just pushed")
                .push(salt, *counter, &name, &held(*number));
        }
        trees
    }

    fn lacking(forest: &[Tree], findings: &Findings) -> Vec<(u8, u64, u64)> {
        let mut list = Vec::new();
        for (tree, ranges) in findings.lacking.iter().chain(&findings.better) {
            for index in ranges.iter().cloned().flatten() {
                let (place, name) = forest[*tree].at(index);
                list.push((forest[*tree].key.owner.0[0], place, name));
            }
        }
        list.sort_unstable();
        list
    }

    /// Runs both sides to the end; what each must send, what each expects, and the bytes of the steps.
    fn compare(a: &[Tree], b: &[Tree], salt: &Salt) -> (Findings, Findings, usize) {
        let mut left = Comparison::new(salt, a, &encode_trees(b)).expect("honest");
        let mut right = Comparison::new(salt, b, &encode_trees(a)).expect("honest");
        let mut bytes = 0;
        let own = |_: &TreeKey, _: u64, _: u64| Ok::<_, Infallible>(Some(rank(1)));
        loop {
            let (from_left, from_right) = (left.next(), right.next());
            let (Some(from_left), Some(from_right)) = (&from_left, &from_right) else {
                assert_eq!(
                    from_left.is_some(),
                    from_right.is_some(),
                    "both sides end at the same step"
                );
                return (left.findings(), right.findings(), bytes);
            };
            bytes += from_left.len() + from_right.len();
            left.answer(from_right, own)
                .expect("infallible")
                .expect("honest");
            right
                .answer(from_left, own)
                .expect("infallible")
                .expect("honest");
        }
    }

    fn shown() -> impl Strategy<Value = Shown> {
        prop::collection::btree_map(
            (
                0_u8..3,
                prop_oneof![0_u64..40, 0_u64..4_000, any::<u64>().prop_map(|n| n >> 8)],
                0_u8..2,
            ),
            0_u8..5,
            0..200,
        )
    }

    proptest! {
        #[test]
        fn finds_exactly_the_difference(common in shown(), left in shown(), right in shown()) {
            let salt = Salt([5; 32]);
            let merge = |more: &Shown| {
                let mut all = common.clone();
                all.extend(more.iter().map(|(key, value)| (*key, *value)));
                all
            };
            let (a, b) = (merge(&left), merge(&right));
            let (forest_a, forest_b) = (forest(&salt, &a), forest(&salt, &b));
            let (from_a, from_b, _) = compare(&forest_a, &forest_b, &salt);
            let better = |mine: &Shown, theirs: &Shown| {
                let mut list: Vec<(u8, u64, u64)> = mine
                    .iter()
                    .filter(|(key, held)| theirs.get(key).is_none_or(|their| their < held))
                    .map(|((author, counter, variant), _)| {
                        let name = id(u64::from(*author) << 48 | *counter << 8 | u64::from(*variant));
                        (*author, *counter, salt.name(TreeKind::Seals, &name))
                    })
                    .collect();
                list.sort_unstable();
                list
            };
            prop_assert_eq!(lacking(&forest_a, &from_a), better(&a, &b));
            prop_assert_eq!(lacking(&forest_b, &from_b), better(&b, &a));
            prop_assert_eq!(from_a.expected as usize, better(&b, &a).len());
            prop_assert_eq!(from_b.expected as usize, better(&a, &b).len());
        }

        #[test]
        fn garbage_is_named_and_never_panics(shown in shown(), trees in prop::collection::vec(any::<u8>(), 0..300), step in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let salt = Salt([5; 32]);
            let forest = forest(&salt, &shown);
            let _ = Comparison::new(&salt, &forest, &trees);
            // A peer that claims to have one item more in the first tree, and then answers with noise.
            let mut claim = encode_trees(&forest);
            if claim.len() >= TREE_LEN {
                claim[TREE_LEN - 1] ^= 1;
                let mut comparison = Comparison::new(&salt, &forest, &claim).expect("well-formed");
                if comparison.next().is_some() {
                    let answer = comparison.answer(&step, |_, _, _| Ok::<_, Infallible>(None)).expect("infallible");
                    prop_assert!(answer.is_err());
                }
            }
        }
    }

    #[test]
    fn a_tail_costs_a_few_hundred_bytes() {
        let salt = Salt([1; 32]);
        let long: Shown = (1..=50_000).map(|counter| ((1, counter, 0), 1)).collect();
        let short: Shown = long
            .iter()
            .take(40_000)
            .map(|(key, held)| (*key, *held))
            .collect();
        let (forest_long, forest_short) = (forest(&salt, &long), forest(&salt, &short));
        let (from_long, from_short, bytes) = compare(&forest_long, &forest_short, &salt);
        assert_eq!(lacking(&forest_long, &from_long).len(), 10_000);
        assert!(from_short.lacking.is_empty());
        assert_eq!(from_short.expected, 10_000);
        assert!(bytes < 2_000, "{bytes} bytes of steps");
    }

    #[test]
    fn the_greatest_counter_is_a_counter() {
        let salt = Salt([1; 32]);
        let a: Shown = [((1, u64::MAX, 0), 1), ((1, 1, 0), 1)].into();
        let b: Shown = [((1, 1, 0), 1)].into();
        let (forest_a, forest_b) = (forest(&salt, &a), forest(&salt, &b));
        let (from_a, from_b, _) = compare(&forest_a, &forest_b, &salt);
        assert_eq!(lacking(&forest_a, &from_a).len(), 1);
        assert_eq!(from_b.expected, 1);
    }

    #[test]
    fn a_crowd_at_one_place_is_cut() {
        let salt = Salt([1; 32]);
        let mut tree = Tree::new(TreeKey::seals(MemberId([1; 32])));
        for number in 0..2 * AT_ONE_PLACE as u64 {
            tree.push(&salt, 7, &id(number), &Held::Original);
        }
        tree.push(&salt, 8, &id(0), &Held::Original);
        assert_eq!(tree.len(), AT_ONE_PLACE + 1);
    }
}

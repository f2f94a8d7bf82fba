//! The rules of the page once more, written as slowly and directly as they read: every question is answered by recursion over
//! the whole set, with sets and paths, without indexes, bounds or an order of evaluation.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use tally_vault_format::*;
use tally_vault_state::{Fact, Operation, Status};

use super::{ALL, CONTROL, Sealed};

/// The versions of a record, the one that is shown, the conflicts.
pub type Parts = (BTreeSet<OpId>, Option<OpId>, BTreeSet<OpId>);

pub struct Known<'a> {
    pub op: &'a Operation,
    pub author: MemberId,
    pub namespace: NamespaceId,
    pub sequence: u64,
    pub previous: OpId,
}

pub struct Model<'a> {
    pub ops: BTreeMap<OpId, Known<'a>>,
    /// The grants that the seals of an operation name.
    pub under: BTreeMap<OpId, BTreeSet<GrantId>>,
    root: MemberId,
    /// Only to end in time: answers do not depend on it.
    memo: RefCell<BTreeMap<GrantId, bool>>,
}

impl<'a> Model<'a> {
    pub fn new(root: MemberId, frames: &'a [Sealed]) -> Self {
        let mut ops = BTreeMap::new();
        let mut under: BTreeMap<OpId, BTreeSet<GrantId>> = BTreeMap::new();
        for frame in frames {
            let mut previous = frame.seal.before;
            for (sequence, op) in (frame.seal.first..).zip(&frame.operations) {
                let (author, namespace) = (frame.seal.author, frame.seal.namespace);
                ops.insert(
                    op.id,
                    Known {
                        op,
                        author,
                        namespace,
                        sequence,
                        previous,
                    },
                );
                under.entry(op.id).or_default().insert(frame.seal.grant);
                previous = op.id;
            }
        }
        Self {
            ops,
            under,
            root,
            memo: RefCell::default(),
        }
    }

    fn grant(&self, id: GrantId) -> Option<&Grant> {
        match &self.ops.get(&id.operation())?.op.fact {
            Fact::Grant(grant) => Some(grant),
            _ => None,
        }
    }

    fn subject(&self, id: GrantId) -> Option<MemberId> {
        if id == GrantId::ROOT {
            Some(self.root)
        } else {
            Some(self.grant(id)?.card.member())
        }
    }

    /// The grants above one, nearest first.
    fn above(&self, id: GrantId) -> Vec<GrantId> {
        let mut path = Vec::new();
        let mut at = id;
        while at != GrantId::ROOT {
            let Some(grant) = self.grant(at) else { break };
            at = grant.parent;
            path.push(at);
        }
        path
    }

    pub fn right(&self, id: GrantId, namespace: NamespaceId) -> u8 {
        if id == GrantId::ROOT {
            return 5;
        }
        let Some(grant) = self.grant(id) else {
            return 0;
        };
        let given = |wanted| {
            grant
                .rights
                .iter()
                .find(|r| r.0 == wanted)
                .map_or(0, |r| r.1 as u8)
        };
        given(ALL).max(given(namespace))
    }

    fn end(&self, id: GrantId) -> u64 {
        self.grant(id)
            .and_then(|grant| grant.expires)
            .map_or(u64::MAX, |end| end.0)
    }

    /// The operation and those before it, as far as they are here and in their place.
    fn history(&self, op: OpId) -> BTreeSet<OpId> {
        let mut history = BTreeSet::new();
        let mut at = op;
        while let Some(known) = self.ops.get(&at) {
            history.insert(at);
            match self.ops.get(&known.previous) {
                Some(before)
                    if before.author == known.author
                        && before.namespace == known.namespace
                        && before.sequence + 1 == known.sequence =>
                {
                    at = known.previous;
                }
                _ => break,
            }
        }
        history
    }

    fn revocations(&self, id: GrantId) -> Vec<(OpId, &Revocation)> {
        let all = self.ops.values().filter_map(|known| match &known.op.fact {
            Fact::Revocation(revocation) if known.op.targets[0] == id.operation() => {
                Some((known.op.id, revocation))
            }
            _ => None,
        });
        all.collect()
    }

    fn is_from_above(&self, revocation: OpId, id: GrantId) -> bool {
        let above = self.above(id);
        self.under[&revocation]
            .iter()
            .any(|g| above.contains(g) && self.counts_under(revocation, *g))
    }

    /// Revocations that count: from above, and the subject's own.
    pub fn valid_revocations(&self, id: GrantId) -> (Vec<OpId>, Vec<OpId>) {
        let (above, rest): (Vec<OpId>, Vec<OpId>) = self
            .revocations(id)
            .into_iter()
            .map(|(op, _)| op)
            .partition(|&op| self.is_from_above(op, id));
        let own = rest.into_iter();
        let own = own.filter(|op| self.under[op].contains(&id) && self.counts_under(*op, id));
        (above, own.collect())
    }

    fn is_inside(&self, op: OpId, revocation: OpId, own: bool) -> bool {
        let known = &self.ops[&op];
        let Fact::Revocation(body) = &self.ops[&revocation].op.fact else {
            unreachable!()
        };
        if own && known.namespace == CONTROL {
            return self.history(revocation).contains(&op);
        }
        body.frontier.iter().any(|position| {
            position.namespace == known.namespace
                && self.ops.get(&position.operation).is_some_and(|named| {
                    named.sequence == position.sequence
                        && named.author == known.author
                        && named.namespace == known.namespace
                })
                && self.history(position.operation).contains(&op)
        })
    }

    pub fn stands(&self, id: GrantId) -> bool {
        if id == GrantId::ROOT {
            return true;
        }
        if let Some(&known) = self.memo.borrow().get(&id) {
            return known;
        }
        let stands = self.grant(id).is_some_and(|grant| {
            // Only under its parent can a grant count, so nothing else need be asked.
            self.under[&id.operation()].contains(&grant.parent)
                && self.counts_under(id.operation(), grant.parent)
        });
        self.memo.borrow_mut().insert(id, stands);
        stands
    }

    pub fn counts_under(&self, op: OpId, g: GrantId) -> bool {
        let known = &self.ops[&op];
        if !self.stands(g) || self.subject(g) != Some(known.author) || known.op.time.0 > self.end(g)
        {
            return false;
        }
        let gives_up = known.op.kind == OpKind::Revoke && known.op.targets[0] == g.operation();
        if g != GrantId::ROOT {
            let from_above = self.revocations(g).into_iter().map(|(r, _)| r);
            let from_above: Vec<OpId> = from_above.filter(|&r| self.is_from_above(r, g)).collect();
            if !from_above.iter().all(|&r| self.is_inside(op, r, false)) {
                return false;
            }
            if !gives_up
                && !self
                    .valid_revocations(g)
                    .1
                    .iter()
                    .all(|&r| self.is_inside(op, r, true))
            {
                return false;
            }
        }
        let namespace = known.namespace;
        match &known.op.fact {
            Fact::Redacted | Fact::Data { .. } => {
                let foreign = known.op.targets.iter().any(|target| {
                    self.ops.get(target).is_some_and(|target| {
                        target.namespace == namespace && target.author != known.author
                    })
                });
                self.right(g, namespace) >= if foreign { 4 } else { 3 }
            }
            Fact::Grant(grant) => {
                let (depth, end) = match self.grant(g) {
                    Some(parent) => (parent.depth, self.end(g)),
                    None => (255, u64::MAX),
                };
                grant.parent == g
                    && grant.depth < depth
                    && grant
                        .rights
                        .iter()
                        .all(|&(namespace, right)| right as u8 <= self.right(g, namespace))
                    && grant.expires.map_or(u64::MAX, |end| end.0) <= end
                    && (grant.card.kind() != MemberKind::Agent || grant.expires.is_some())
            }
            Fact::Revocation(_) => {
                let target = GrantId(known.op.targets[0].0);
                target != GrantId::ROOT
                    && self.stands(target)
                    && (target == g || self.above(target).contains(&g))
            }
            Fact::Rotation(rotation) => {
                self.right(
                    g,
                    if rotation.number == 1 {
                        ALL
                    } else {
                        rotation.namespace
                    },
                ) == 5
            }
            Fact::Checkpoint(_) => true,
        }
    }

    pub fn counts(&self, op: OpId) -> bool {
        self.under[&op].iter().any(|&g| self.counts_under(op, g))
    }

    /// What becomes of every operation.
    pub fn statuses(&self) -> BTreeMap<OpId, Status> {
        let valid: BTreeSet<OpId> = self
            .ops
            .keys()
            .copied()
            .filter(|&op| self.counts(op))
            .collect();
        let is_version =
            |op: OpId| matches!(self.ops[&op].op.kind, OpKind::Add | OpKind::Supersede);
        let status = |id: OpId| {
            if !valid.contains(&id) {
                return Status::Void;
            }
            let known = &self.ops[&id];
            let named_by = |kind: OpKind| {
                valid.iter().any(|other| {
                    let other = &self.ops[other];
                    other.op.kind == kind
                        && other.namespace == known.namespace
                        && other.op.targets.contains(&id)
                })
            };
            if !known.op.kind.is_control() && named_by(OpKind::Redact) {
                Status::Redacted
            } else if is_version(id) && named_by(OpKind::Retract) {
                Status::Retracted
            } else if is_version(id) && named_by(OpKind::Supersede) {
                Status::Superseded
            } else {
                Status::Valid
            }
        };
        self.ops.keys().map(|&id| (id, status(id))).collect()
    }

    /// Records as sets, by id.
    pub fn records(&self) -> BTreeMap<OpId, Parts> {
        let statuses = self.statuses();
        let nodes: Vec<OpId> = self
            .ops
            .values()
            .filter(|known| matches!(known.op.kind, OpKind::Add | OpKind::Supersede))
            .map(|known| known.op.id)
            .collect();
        let mut colour: BTreeMap<OpId, usize> = nodes.iter().copied().zip(0..).collect();
        // Spread the smallest colour along every link until nothing changes.
        loop {
            let mut changed = false;
            for &id in &nodes {
                if self.ops[&id].op.kind != OpKind::Supersede || statuses[&id] == Status::Void {
                    continue;
                }
                for target in &self.ops[&id].op.targets {
                    let reaches = colour.contains_key(target)
                        && self.ops[target].namespace == self.ops[&id].namespace;
                    if reaches && colour[target] != colour[&id] {
                        let least = colour[target].min(colour[&id]);
                        colour.insert(*target, least);
                        colour.insert(id, least);
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
        let mut groups: BTreeMap<usize, BTreeSet<OpId>> = BTreeMap::new();
        for (&id, &colour) in &colour {
            if statuses[&id] != Status::Void {
                groups.entry(colour).or_default().insert(id);
            }
        }
        let record = |versions: BTreeSet<OpId>| {
            let mut conflicts: BTreeSet<OpId> = versions
                .iter()
                .copied()
                .filter(|id| statuses[id] == Status::Valid)
                .collect();
            let key = |id: &OpId| (self.ops[id].op.time, self.ops[id].author, *id);
            let shown = conflicts.iter().copied().max_by_key(key);
            shown.map(|shown| conflicts.remove(&shown));
            (
                *versions.first().expect("groups are not empty"),
                (versions, shown, conflicts),
            )
        };
        groups.into_values().map(record).collect()
    }
}

//! The log of one author in one namespace: which of its operations are ancestors of which.
//!
//! A log as it should be is *straight*: 1, 2, 3, each naming the one before. Then "ancestor or self" is a comparison of
//! sequence numbers. With a fork or a hole it is a forest; each operation gets the interval of its subtree in preorder, and
//! "ancestor or self" is containment.

use std::collections::{BTreeMap, HashMap};

use crate::{fold::Fold, tables::NONE};

/// Where the revocations of a grant end a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Nothing ends it.
    Everything,
    /// Nothing of it counts: a revocation does not list it, or names an operation that is not here.
    Nothing,
    /// What contains both counts: the least and the greatest place of the operations that revocations name.
    Within(u64, u64),
}

/// Subtree intervals `[enter, leave)` of a log that is not straight, by operation. Only looked up.
pub(crate) type Order = HashMap<u32, (u32, u32)>;

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) author: u32,
    pub(crate) namespace: u32,
    /// Its operations; in order of sequence if the log is straight.
    pub(crate) ops: Vec<u32>,
    pub(crate) bent: bool,
    pub(crate) order: Option<Order>,
    /// For each revoked grant of its author under which it has operations: where those from above, and the subject's own
    /// revocations, end it.
    pub(crate) bounds: BTreeMap<u32, (Bound, Bound)>,
}

/// Where valid revocations end a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frontier {
    /// How many revocations; an operation must lie inside each.
    pub(crate) revocations: usize,
    /// What they name, sorted by namespace (an index): at most one for each revocation and namespace.
    pub(crate) positions: Vec<Position>,
}

/// The last operation of a log that a revocation lets count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) namespace: u32,
    pub(crate) sequence: u64,
    pub(crate) op: u32,
}

impl Fold {
    /// Makes sure that ancestry in this log can be asked.
    pub(crate) fn order_log(&mut self, index: u32) {
        let log = &self.logs[index as usize];
        if !log.bent || log.order.is_some() {
            return;
        }
        let mut ops = std::mem::take(&mut self.logs[index as usize].ops);
        ops.sort_by_cached_key(|&op| (self.sequence(op), *self.op_ids.id(op)));
        let straight = ops.iter().enumerate().all(|(at, &op)| {
            let before = if at == 0 { NONE } else { ops[at - 1] };
            self.sequence(op) == at as u64 + 1 && self.ops[op as usize].previous == before
        });
        let order = (!straight).then(|| self.forest(&ops));
        let log = &mut self.logs[index as usize];
        log.ops = ops;
        log.bent = !straight;
        log.order = order;
    }

    /// Subtree intervals; `ops` ascend by sequence, so that parents stand before children.
    fn forest(&self, ops: &[u32]) -> Order {
        let places: HashMap<u32, usize> =
            ops.iter().enumerate().map(|(at, &op)| (op, at)).collect();
        let parents: Vec<Option<usize>> = ops
            .iter()
            .map(|&op| {
                let parent = *places.get(&self.ops[op as usize].previous)?;
                (self.sequence(ops[parent]).checked_add(1) == Some(self.sequence(op)))
                    .then_some(parent)
            })
            .collect();
        let mut sizes = vec![1_u32; ops.len()];
        for at in (0..ops.len()).rev() {
            if let Some(parent) = parents[at] {
                sizes[parent] += sizes[at];
            }
        }
        let mut order = Order::with_capacity(ops.len());
        let mut free = vec![0_u32; ops.len()];
        let mut roots = 0;
        for at in 0..ops.len() {
            let next = match parents[at] {
                Some(parent) => &mut free[parent],
                None => &mut roots,
            };
            let enter = *next;
            *next += sizes[at];
            free[at] = enter + 1;
            order.insert(ops[at], (enter, enter + sizes[at]));
        }
        order
    }

    /// The interval of an operation in its log.
    fn interval(&self, log: &Log, op: u32) -> (u64, u64) {
        match &log.order {
            Some(order) => {
                let (enter, leave) = order[&op];
                (enter.into(), leave.into())
            }
            None => (self.sequence(op), u64::MAX),
        }
    }

    /// Where a frontier ends a log, whose order must be known.
    pub(crate) fn bound(&self, frontier: &Frontier, index: u32) -> Bound {
        if frontier.revocations == 0 {
            return Bound::Everything;
        }
        let log = &self.logs[index as usize];
        let start = frontier
            .positions
            .partition_point(|p| p.namespace < log.namespace);
        let listed = frontier.positions[start..]
            .iter()
            .take_while(|position| position.namespace == log.namespace);
        let (mut low, mut high, mut found) = (u64::MAX, 0, 0);
        for position in listed {
            let row = &self.ops[position.op as usize];
            if row.kind.is_none()
                || self.seals[row.seal as usize].log != index
                || self.sequence(position.op) != position.sequence
            {
                return Bound::Nothing;
            }
            let (enter, _) = self.interval(log, position.op);
            low = low.min(enter);
            high = high.max(enter);
            found += 1;
        }
        if found == frontier.revocations {
            Bound::Within(low, high)
        } else {
            Bound::Nothing
        }
    }

    /// Whether an operation is, for each revocation behind this bound, the operation it names or an ancestor of it.
    pub(crate) fn is_inside(&self, bound: Bound, log: &Log, op: u32) -> bool {
        match bound {
            Bound::Everything => true,
            Bound::Nothing => false,
            Bound::Within(low, high) => {
                let (enter, leave) = self.interval(log, op);
                enter <= low && high < leave
            }
        }
    }
}

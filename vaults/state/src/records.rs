//! Versions, the records they form, and the hash of it all.

use tally_vault_format::{OpId, OpKind};

use crate::{
    fold::{Fold, as_u32},
    view::View,
};

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// It does not count; [`View::explain`] says why.
    Void = 0,
    /// It counts. Of a version: it is current.
    Valid = 1,
    /// A version in whose place another stands.
    Superseded = 2,
    /// A version that is no longer shown.
    Retracted = 3,
    /// Its body is to be destroyed.
    Redacted = 4,
}

impl Status {
    /// A name that programs can rely on.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Void => "void",
            Self::Valid => "valid",
            Self::Superseded => "superseded",
            Self::Retracted => "retracted",
            Self::Redacted => "redacted",
        }
    }
}

/// Versions linked by supersedes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The smallest id among its versions.
    pub id: OpId,
    /// Every version, ascending by (time, author, id).
    pub versions: Vec<OpId>,
    /// The current version that is shown; none if all were retracted, redacted or superseded.
    pub shown: Option<OpId>,
    /// The other current versions, ascending by (time, author, id): written without knowledge of the one shown.
    pub conflicts: Vec<OpId>,
}

impl Fold {
    pub(crate) fn status(&self, op: u32) -> Status {
        let row = &self.ops[op as usize];
        if !row.counts {
            return Status::Void;
        }
        match self.peek_extra(op) {
            None => Status::Valid,
            Some(extra) if extra.redacted > 0 => Status::Redacted,
            Some(extra) if extra.retracted > 0 => Status::Retracted,
            Some(extra) if extra.superseded > 0 => Status::Superseded,
            Some(_) => Status::Valid,
        }
    }

    fn is_version(&self, op: u32) -> bool {
        let row = &self.ops[op as usize];
        row.counts && matches!(row.kind, Some(OpKind::Add | OpKind::Supersede))
    }

    fn age(&self, op: u32) -> (u64, &[u8; 32], &[u8; 32]) {
        let author = self.logs[self.log_of_op(op) as usize].author;
        (
            self.ops[op as usize].time,
            self.members.id(author),
            self.op_ids.id(op),
        )
    }

    /// The record that these linked operations form, if one of them is a version.
    fn record_of(&self, linked: &mut Vec<u32>) -> Option<Record> {
        linked.retain(|&op| self.is_version(op));
        linked.sort_unstable_by_key(|&op| self.age(op));
        let id = linked.iter().map(|&op| self.op_id(op)).min()?;
        let current = linked
            .iter()
            .filter(|&&op| self.status(op) == Status::Valid);
        let mut conflicts: Vec<OpId> = current.map(|&op| self.op_id(op)).collect();
        let shown = conflicts.pop();
        Some(Record {
            id,
            versions: linked.iter().map(|&op| self.op_id(op)).collect(),
            shown,
            conflicts,
        })
    }

    fn ring(&self, op: u32) -> Vec<u32> {
        let mut ring = vec![op];
        let next = |op| self.peek_extra(op).map_or(op, |extra| extra.next);
        let mut at = next(op);
        while at != op {
            ring.push(at);
            at = next(at);
        }
        ring
    }
}

impl View<'_> {
    /// What became of an operation; none if it is not here.
    #[must_use]
    pub fn status(&self, id: &OpId) -> Option<Status> {
        Some(self.fold.status(self.find(id)?))
    }

    /// Whether the body of an operation is to be destroyed: a redaction that counts names it, whether it counts itself or not.
    #[must_use]
    pub fn is_redacted(&self, id: &OpId) -> bool {
        self.find(id)
            .and_then(|op| self.fold.peek_extra(op))
            .is_some_and(|extra| extra.redacted > 0)
    }

    /// The record that a version belongs to; none if it is no version that counts.
    #[must_use]
    pub fn record(&self, version: &OpId) -> Option<Record> {
        let op = self.find(version).filter(|&op| self.fold.is_version(op))?;
        self.fold.record_of(&mut self.fold.ring(op))
    }

    /// Every record, ascending by id.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        let mut linked = Vec::new();
        for op in 0..as_u32(self.fold.ops.len()) {
            linked.clear();
            match self.fold.peek_extra(op) {
                // A ring has one operation that leads itself.
                Some(extra) if extra.leader != op => {}
                Some(extra) if extra.next != op => {
                    linked = self.fold.ring(op);
                    records.extend(self.fold.record_of(&mut linked));
                }
                _ if self.fold.is_version(op) => {
                    linked.push(op);
                    records.extend(self.fold.record_of(&mut linked));
                }
                _ => {}
            }
        }
        records.sort_unstable_by_key(|record| record.id);
        records
    }

    /// The current versions, ascending by id, conflicts included.
    #[must_use]
    pub fn current(&self) -> Vec<OpId> {
        let fold = &self.fold;
        let mut current: Vec<OpId> = (0..as_u32(fold.ops.len()))
            .filter(|&op| fold.is_version(op) && fold.status(op) == Status::Valid)
            .map(|op| fold.op_id(op))
            .collect();
        current.sort_unstable();
        current
    }

    /// The state hash: equal for all who can open the same boxes.
    #[must_use]
    pub fn state_hash(&self) -> [u8; 32] {
        let fold = &self.fold;
        // Sorted by the first 8 bytes, then by all: most comparisons stay in one cache line.
        let mut order: Vec<(u64, u32)> = (0..as_u32(fold.ops.len()))
            .filter(|&op| fold.ops[op as usize].counts)
            .map(|op| {
                let start = fold
                    .op_ids
                    .id(op)
                    .first_chunk()
                    .expect("an id has 32 bytes");
                (u64::from_be_bytes(*start), op)
            })
            .collect();
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0)
                .then_with(|| fold.op_ids.id(a.1).cmp(fold.op_ids.id(b.1)))
        });
        let mut hasher = blake3::Hasher::new();
        hasher.update(&fold.vault.0);
        let mut buffer = Vec::with_capacity(33 * 1_024);
        for chunk in order.chunks(1_024) {
            buffer.clear();
            for &(_, op) in chunk {
                buffer.extend_from_slice(fold.op_ids.id(op));
                buffer.push(fold.status(op) as u8);
            }
            hasher.update(&buffer);
        }
        *hasher.finalize().as_bytes()
    }
}

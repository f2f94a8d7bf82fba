//! The tables: what was inserted, and the verdicts that are kept up to date over them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tally_vault_format::{
    BodyRef, Card, Content, Grant, Head, KeyCommitment, KeyringId, MemberId, NamespaceId, OpId,
    OpKind, OpRef, ReceiptDigest, Right, RunId, Seal, SealId, Time, VaultId,
};

use crate::{
    authority::Standing,
    log::{Log, Position},
    tables::{Ids, NONE},
    view::View,
};

/// An operation as the fold needs it. Author, namespace and sequence come from the seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its id, computed from the bytes of the box.
    pub id: OpId,
    /// What it does.
    pub kind: OpKind,
    /// When, by its author's clock.
    pub time: Time,
    /// What it is about, ascending.
    pub targets: Vec<OpId>,
    /// What its body says.
    pub fact: Fact,
}

/// What the fold keeps of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A data operation whose body was redacted.
    Redacted,
    /// A data operation whose body is there, readable or not: nothing in the fold depends on it.
    Data {
        /// The run that wrote it.
        run: Option<RunId>,
        /// The receipt it rests on.
        receipt: Option<ReceiptDigest>,
    },
    /// A grant.
    Grant(Box<Grant>),
    /// A revocation.
    Revocation(tally_vault_format::Revocation),
    /// A rotation.
    Rotation(tally_vault_format::Rotation),
    /// A checkpoint.
    Checkpoint(tally_vault_format::Checkpoint),
}

impl Operation {
    /// The operation that stands in a box.
    #[must_use]
    pub fn new(id: OpId, op: &OpRef<'_>) -> Self {
        let fact = match op.body() {
            BodyRef::Redacted(_) => Fact::Redacted,
            BodyRef::Present { bytes, .. } => match Content::parse(op.kind(), bytes) {
                Ok(Content::Record(record)) => Fact::Data {
                    run: record.run,
                    receipt: record.receipt,
                },
                Ok(Content::Grant(grant)) => Fact::Grant(Box::new(grant)),
                Ok(Content::Revocation(revocation)) => Fact::Revocation(revocation),
                Ok(Content::Rotation(rotation)) => Fact::Rotation(rotation),
                Ok(Content::Checkpoint(checkpoint)) => Fact::Checkpoint(checkpoint),
                // A record that does not parse counts like any other. A control body that does not is none of its kind,
                // and `Fold::insert` refuses its frame.
                Ok(Content::Reason(_)) | Err(_) => Fact::Data {
                    run: None,
                    receipt: None,
                },
            },
        };
        Self {
            id,
            kind: op.kind(),
            time: op.time(),
            targets: op.targets().collect(),
            fact,
        }
    }

    /// Whether the body is one that this kind of operation has.
    fn is_coherent(&self) -> bool {
        match self.kind {
            OpKind::Add | OpKind::Supersede | OpKind::Retract | OpKind::Redact => {
                matches!(self.fact, Fact::Redacted | Fact::Data { .. })
            }
            OpKind::Grant => matches!(self.fact, Fact::Grant(_)),
            OpKind::Revoke => match &self.fact {
                Fact::Revocation(revocation) => {
                    self.targets.len() == 1
                        && revocation
                            .frontier
                            .is_sorted_by(|a, b| a.namespace < b.namespace)
                }
                _ => false,
            },
            OpKind::Rotate => matches!(self.fact, Fact::Rotation(_)),
            OpKind::Checkpoint => matches!(self.fact, Fact::Checkpoint(_)),
        }
    }
}

/// Why a frame is not taken into the fold. The caller gave what it should have refused; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Of another vault.
    #[error("seal of vault {0}")]
    ForeignVault(VaultId),
    /// The seal contradicts itself.
    #[error("seal with impossible numbers")]
    Seal,
    /// The operations are not those that were sealed: another number, another last one.
    #[error("operations are not those that were sealed")]
    Operations,
    /// A kind in the wrong kind of namespace, or a body of another kind.
    #[error("operation {0} is not one of its kind")]
    Kind(OpId),
}

/// What is kept of an operation. A row without a kind is one that was named and is not here.
#[derive(Clone, Copy)]
pub(crate) struct OpRow {
    pub(crate) time: u64,
    /// A seal that carries it; others are in `Fold::carriers`.
    pub(crate) seal: u32,
    pub(crate) previous: u32,
    /// Data: an index into `extras`. Control: into the table of its kind.
    pub(crate) extra: u32,
    /// Its place in `seal`. A box holds at most 65,536 operations.
    pub(crate) offset: u16,
    pub(crate) kind: Option<OpKind>,
    pub(crate) counts: bool,
}

/// What most data operations do not have.
#[derive(Clone, Copy)]
pub(crate) struct Extra {
    /// In `Fold::targets`.
    pub(crate) targets: (u32, u32),
    pub(crate) run: u32,
    pub(crate) receipt: u32,
    /// How many operations that count supersede, retract, redact it.
    pub(crate) superseded: u32,
    pub(crate) retracted: u32,
    pub(crate) redacted: u32,
    /// Versions linked by supersedes: a union-find over operations, and a ring through all of them.
    pub(crate) leader: u32,
    pub(crate) next: u32,
}

/// The top bit of an entry of `Fold::targets`: the effect on the target is in its counts.
pub(crate) const APPLIED: u32 = 1 << 31;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    Named,
    Closed,
    Open,
}

pub(crate) struct SealRow {
    pub(crate) counter: u64,
    pub(crate) first: u64,
    pub(crate) log: u32,
    pub(crate) grant: u32,
    pub(crate) previous: u32,
    pub(crate) opened: Opened,
}

pub(crate) struct GrantRow {
    /// The operation; none for the root's grant and those that are not here.
    pub(crate) op: u32,
    pub(crate) parent: u32,
    pub(crate) subject: u32,
    pub(crate) card: Option<Card>,
    pub(crate) depth: u8,
    pub(crate) expires: Option<Time>,
    pub(crate) rights: Vec<(u32, Right)>,
}

pub(crate) struct RevocationRow {
    pub(crate) op: u32,
    pub(crate) target: u32,
    pub(crate) frontier: Vec<Position>,
}

pub(crate) struct RotationRow {
    pub(crate) op: u32,
    pub(crate) namespace: u32,
    pub(crate) number: u32,
    pub(crate) key: KeyCommitment,
    pub(crate) keyring: KeyringId,
    pub(crate) full: bool,
}

pub(crate) struct CheckpointRow {
    pub(crate) op: u32,
    pub(crate) heads: Vec<Head>,
}

/// The set of operations that were inserted, and what follows from it.
pub struct Fold {
    pub(crate) vault: VaultId,
    pub(crate) members: Ids<32>,
    /// The seals of each member.
    pub(crate) chains: Vec<Vec<u32>>,
    pub(crate) namespaces: Ids<16>,
    pub(crate) grant_ids: Ids<32>,
    pub(crate) grants: Vec<GrantRow>,
    pub(crate) seal_ids: Ids<32>,
    pub(crate) seals: Vec<SealRow>,
    pub(crate) op_ids: Ids<32>,
    pub(crate) ops: Vec<OpRow>,
    pub(crate) count: usize,
    log_of: HashMap<(u32, u32), u32>,
    pub(crate) logs: Vec<Log>,
    pub(crate) extras: Vec<Extra>,
    pub(crate) targets: Vec<u32>,
    runs: Ids<32>,
    receipts: Vec<ReceiptDigest>,
    /// Data operations of which no copy has its body.
    pub(crate) bodiless: BTreeSet<u32>,
    /// Operations that several seals carry: all of these seals.
    pub(crate) carriers: BTreeMap<u32, Vec<u32>>,
    pub(crate) revocations: Vec<RevocationRow>,
    pub(crate) rotations: Vec<RotationRow>,
    pub(crate) checkpoints: Vec<CheckpointRow>,
    /// Operations that name one which is not here. Only looked up.
    waiting: HashMap<u32, Vec<u32>>,
    /// By grant.
    pub(crate) standings: Vec<Standing>,
    // What the next settling has to do.
    fresh: Vec<u32>,
    touched: Vec<u32>,
    control_changed: bool,
    links_changed: bool,
}

/// The root's grant, member, and control among the indexes.
pub(crate) const ROOT: u32 = 0;
pub(crate) const CONTROL: u32 = 0;
pub(crate) const ALL: u32 = 1;

impl Fold {
    /// The empty vault: the root stands, nobody else.
    #[must_use]
    pub fn new(vault: VaultId, root: Card) -> Self {
        let mut fold = Self {
            vault,
            members: Ids::new(),
            chains: Vec::new(),
            namespaces: Ids::new(),
            grant_ids: Ids::new(),
            grants: Vec::new(),
            seal_ids: Ids::new(),
            seals: Vec::new(),
            op_ids: Ids::new(),
            ops: Vec::new(),
            count: 0,
            log_of: HashMap::new(),
            logs: Vec::new(),
            extras: Vec::new(),
            targets: Vec::new(),
            runs: Ids::new(),
            receipts: Vec::new(),
            bodiless: BTreeSet::new(),
            carriers: BTreeMap::new(),
            revocations: Vec::new(),
            rotations: Vec::new(),
            checkpoints: Vec::new(),
            waiting: HashMap::new(),
            standings: Vec::new(),
            fresh: Vec::new(),
            touched: Vec::new(),
            control_changed: true,
            links_changed: false,
        };
        fold.namespaces.intern(&NamespaceId::CONTROL.0);
        fold.namespaces.intern(&NamespaceId::ALL.0);
        let subject = fold.member(&root.member());
        let grant = fold.grant(&[0; 32]);
        debug_assert!(grant == ROOT && subject == ROOT);
        fold.grants[ROOT as usize] = GrantRow {
            op: NONE,
            parent: NONE,
            subject,
            card: Some(root),
            depth: 255,
            expires: None,
            rights: vec![(ALL, Right::Admin)],
        };
        fold
    }

    /// Takes a seal that stands and, if its box was opened, its operations. Doubles change nothing.
    ///
    /// # Errors
    /// If it is not what a seal of this vault can carry. Nothing was changed then.
    pub fn insert(
        &mut self,
        id: SealId,
        seal: &Seal,
        operations: Option<&[Operation]>,
    ) -> Result<(), Refused> {
        if seal.vault != self.vault {
            return Err(Refused::ForeignVault(seal.vault));
        }
        if seal.count == 0
            || seal.count > tally_vault_format::limits::BOX_OPERATIONS
            || seal.first == 0
            || seal.first.checked_add(u64::from(seal.count)).is_none()
            || seal.namespace == NamespaceId::ALL
        {
            return Err(Refused::Seal);
        }
        if let Some(operations) = operations {
            if operations.len() != seal.count as usize
                || operations.last().is_none_or(|last| last.id != seal.head)
            {
                return Err(Refused::Operations);
            }
            let control = seal.namespace == NamespaceId::CONTROL;
            let odd = |op: &&Operation| op.kind.is_control() != control || !op.is_coherent();
            if let Some(op) = operations.iter().find(odd) {
                return Err(Refused::Kind(op.id));
            }
        }

        let index = self.seal(&id.0);
        if self.seals[index as usize].opened == Opened::Named {
            let author = self.member(&seal.author);
            let namespace = self.namespace(&seal.namespace);
            let log = self.log(author, namespace);
            let grant = self.grant(&seal.grant.0);
            let previous = if seal.previous.is_zero() {
                NONE
            } else {
                self.seal(&seal.previous.0)
            };
            self.seals[index as usize] = SealRow {
                counter: seal.counter,
                first: seal.first,
                log,
                grant,
                previous,
                opened: Opened::Closed,
            };
            self.chains[author as usize].push(index);
        }
        let Some(operations) = operations else {
            return Ok(());
        };
        if self.seals[index as usize].opened == Opened::Open {
            // The same operations again; perhaps with a body that the other box lacked.
            for op in operations {
                let known = self.op(&op.id.0);
                self.keep_body(known, &op.fact);
            }
            return Ok(());
        }
        self.seals[index as usize].opened = Opened::Open;
        let mut previous = if seal.before.is_zero() {
            NONE
        } else {
            self.op(&seal.before.0)
        };
        for (offset, op) in operations.iter().enumerate() {
            previous = self.insert_operation(index, offset, previous, op);
        }
        Ok(())
    }

    /// What follows from everything inserted so far.
    pub fn view(&mut self) -> View<'_> {
        self.settle();
        View { fold: self }
    }

    /// How many operations were inserted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes on the heap, but for what allocators add: capacities, not lengths.
    #[must_use]
    pub fn memory(&self) -> usize {
        use std::mem::size_of;
        self.op_ids.memory()
            + self.seal_ids.memory()
            + self.grant_ids.memory()
            + self.members.memory()
            + self.namespaces.memory()
            + self.runs.memory()
            + self.receipts.capacity() * size_of::<ReceiptDigest>()
            + self.ops.capacity() * size_of::<OpRow>()
            + self.seals.capacity() * size_of::<SealRow>()
            + self.grants.capacity() * size_of::<GrantRow>()
            + self.extras.capacity() * size_of::<Extra>()
            + self.targets.capacity() * 4
            + self
                .logs
                .iter()
                .map(|log| log.ops.capacity() * 4)
                .sum::<usize>()
            + self
                .chains
                .iter()
                .map(|chain| chain.capacity() * 4)
                .sum::<usize>()
            + (self.fresh.capacity() + self.touched.capacity()) * 4
    }

    fn insert_operation(&mut self, seal: u32, offset: usize, previous: u32, op: &Operation) -> u32 {
        let index = self.op(&op.id.0);
        let row = self.ops[index as usize];
        if row.kind.is_some() {
            let carriers = self.carriers.entry(index).or_insert_with(|| vec![row.seal]);
            carriers.push(seal);
            self.keep_body(index, &op.fact);
            self.control_changed |= op.kind.is_control();
            self.fresh.push(index);
            return index;
        }
        self.count += 1;
        self.ops[index as usize] = OpRow {
            time: op.time.0,
            seal,
            previous,
            extra: row.extra,
            offset: u16::try_from(offset).expect("a box holds at most 65,536 operations"),
            kind: Some(op.kind),
            counts: false,
        };
        let log_index = self.seals[seal as usize].log;
        let sequence = self.seals[seal as usize].first + offset as u64;
        let log = &mut self.logs[log_index as usize];
        let last = log.ops.last().copied().unwrap_or(NONE);
        log.bent |= sequence != log.ops.len() as u64 + 1 || previous != last;
        log.order = None;
        log.ops.push(index);
        if self.touched.last() != Some(&log_index) {
            self.touched.push(log_index);
        }

        match &op.fact {
            Fact::Redacted => {
                self.bodiless.insert(index);
            }
            Fact::Data { run, receipt } => self.keep_provenance(index, run.as_ref(), *receipt),
            Fact::Grant(grant) => {
                self.ops[index as usize].extra = self.insert_grant(index, op.id, grant);
            }
            Fact::Revocation(revocation) => {
                let target = self.grant(&op.targets[0].0);
                let mut frontier = Vec::with_capacity(revocation.frontier.len());
                for position in &revocation.frontier {
                    frontier.push(Position {
                        namespace: self.namespace(&position.namespace),
                        sequence: position.sequence,
                        op: self.op(&position.operation.0),
                    });
                }
                self.ops[index as usize].extra = next_index(&self.revocations);
                self.revocations.push(RevocationRow {
                    op: index,
                    target,
                    frontier,
                });
            }
            Fact::Rotation(rotation) => {
                let namespace = self.namespace(&rotation.namespace);
                self.ops[index as usize].extra = next_index(&self.rotations);
                self.rotations.push(RotationRow {
                    op: index,
                    namespace,
                    number: rotation.number,
                    key: rotation.key,
                    keyring: rotation.keyring,
                    full: rotation.full,
                });
            }
            Fact::Checkpoint(checkpoint) => {
                self.ops[index as usize].extra = next_index(&self.checkpoints);
                self.checkpoints.push(CheckpointRow {
                    op: index,
                    heads: checkpoint.heads.clone(),
                });
            }
        }
        if op.kind.is_control() {
            // A rotation or a checkpoint changes nobody's standing, unless it is, or leads to, what a frontier names.
            let grants_change = matches!(op.kind, OpKind::Grant | OpKind::Revoke);
            self.control_changed |=
                grants_change || !self.logs[log_index as usize].bounds.is_empty();
        } else if !op.targets.is_empty() {
            let start = self.targets.len();
            for target in &op.targets {
                let target = self.op(&target.0);
                self.targets.push(target);
                if self.ops[target as usize].kind.is_none() {
                    self.waiting.entry(target).or_default().push(index);
                }
            }
            self.extra(index).targets = (as_u32(start), as_u32(op.targets.len()));
        }
        if let Some(namers) = self.waiting.remove(&index) {
            self.fresh.extend(namers);
        }
        self.fresh.push(index);
        index
    }

    fn insert_grant(&mut self, op: u32, id: OpId, grant: &Grant) -> u32 {
        let index = self.grant(&id.0);
        let parent = self.grant(&grant.parent.0);
        let subject = self.member(&grant.card.member());
        let mut rights = Vec::with_capacity(grant.rights.len());
        for (namespace, right) in &grant.rights {
            rights.push((self.namespace(namespace), *right));
        }
        rights.sort_unstable();
        self.grants[index as usize] = GrantRow {
            op,
            parent,
            subject,
            card: Some(grant.card),
            depth: grant.depth,
            expires: grant.expires,
            rights,
        };
        index
    }

    /// Takes the body of an operation of which so far only copies without one came.
    fn keep_body(&mut self, index: u32, fact: &Fact) {
        if let Fact::Data { run, receipt } = fact
            && self.bodiless.remove(&index)
        {
            self.keep_provenance(index, run.as_ref(), *receipt);
        }
    }

    /// Remembers what the body of a data operation says about where it comes from.
    fn keep_provenance(&mut self, index: u32, run: Option<&RunId>, receipt: Option<ReceiptDigest>) {
        if let Some(run) = run {
            self.extra(index).run = self.runs.intern(&run.0).0;
        }
        if let Some(receipt) = receipt {
            self.extra(index).receipt = next_index(&self.receipts);
            self.receipts.push(receipt);
        }
    }

    pub(crate) fn provenance(&self, index: u32) -> (Option<RunId>, Option<ReceiptDigest>) {
        let Some(extra) = self.peek_extra(index) else {
            return (None, None);
        };
        (
            (extra.run != NONE).then(|| RunId(*self.runs.id(extra.run))),
            (extra.receipt != NONE).then(|| self.receipts[extra.receipt as usize]),
        )
    }

    pub(crate) fn peek_extra(&self, index: u32) -> Option<&Extra> {
        let row = &self.ops[index as usize];
        if row.kind.is_none_or(OpKind::is_control) {
            return None;
        }
        self.extras.get(row.extra as usize)
    }

    pub(crate) fn extra(&mut self, index: u32) -> &mut Extra {
        let row = &mut self.ops[index as usize];
        if row.extra == NONE {
            row.extra = next_index(&self.extras);
            self.extras.push(Extra {
                targets: (0, 0),
                run: NONE,
                receipt: NONE,
                superseded: 0,
                retracted: 0,
                redacted: 0,
                leader: index,
                next: index,
            });
        }
        &mut self.extras[row.extra as usize]
    }

    pub(crate) fn sequence(&self, op: u32) -> u64 {
        let row = &self.ops[op as usize];
        self.seals[row.seal as usize].first + u64::from(row.offset)
    }

    pub(crate) fn log_of_op(&self, op: u32) -> u32 {
        self.seals[self.ops[op as usize].seal as usize].log
    }

    /// Every seal that carries an operation, in no particular order.
    pub(crate) fn carriers(&self, op: u32) -> &[u32] {
        match self.carriers.get(&op) {
            Some(carriers) => carriers,
            None => std::slice::from_ref(&self.ops[op as usize].seal),
        }
    }

    fn member(&mut self, id: &MemberId) -> u32 {
        let (index, new) = self.members.intern(&id.0);
        if new {
            self.chains.push(Vec::new());
        }
        index
    }

    fn namespace(&mut self, id: &NamespaceId) -> u32 {
        self.namespaces.intern(&id.0).0
    }

    fn grant(&mut self, id: &[u8; 32]) -> u32 {
        let (index, new) = self.grant_ids.intern(id);
        if new {
            self.grants.push(GrantRow {
                op: NONE,
                parent: NONE,
                subject: NONE,
                card: None,
                depth: 0,
                expires: None,
                rights: Vec::new(),
            });
            self.standings.push(Standing::default());
        }
        index
    }

    fn seal(&mut self, id: &[u8; 32]) -> u32 {
        let (index, new) = self.seal_ids.intern(id);
        if new {
            self.seals.push(SealRow {
                counter: 0,
                first: 0,
                log: NONE,
                grant: NONE,
                previous: NONE,
                opened: Opened::Named,
            });
        }
        index
    }

    fn op(&mut self, id: &[u8; 32]) -> u32 {
        let (index, new) = self.op_ids.intern(id);
        if new {
            self.ops.push(OpRow {
                time: 0,
                seal: NONE,
                previous: NONE,
                extra: NONE,
                offset: 0,
                kind: None,
                counts: false,
            });
        }
        index
    }

    fn log(&mut self, author: u32, namespace: u32) -> u32 {
        let next = as_u32(self.logs.len());
        let index = *self.log_of.entry((author, namespace)).or_insert(next);
        if index == next {
            self.logs.push(Log {
                author,
                namespace,
                ..Log::default()
            });
        }
        index
    }

    pub(crate) fn find_log(&self, author: u32, namespace: u32) -> Option<u32> {
        self.log_of.get(&(author, namespace)).copied()
    }

    pub(crate) fn member_id(&self, index: u32) -> MemberId {
        MemberId(*self.members.id(index))
    }

    pub(crate) fn namespace_id(&self, index: u32) -> NamespaceId {
        NamespaceId(*self.namespaces.id(index))
    }

    pub(crate) fn op_id(&self, index: u32) -> OpId {
        OpId(*self.op_ids.id(index))
    }

    pub(crate) fn seal_id(&self, index: u32) -> SealId {
        SealId(*self.seal_ids.id(index))
    }

    /// Brings verdicts and effects up to date with the tables.
    fn settle(&mut self) {
        let mut again = std::mem::take(&mut self.fresh);
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        if std::mem::take(&mut self.control_changed) {
            let changed = self.walk();
            // A revocation's verdict reads the standing of its target too.
            again.extend(self.revocations.iter().map(|row| row.op));
            // Logs that grew and have bounds: what a frontier names may have come.
            let grown = touched
                .into_iter()
                .filter(|&log| !self.logs[log as usize].bounds.is_empty());
            again.extend(grown.flat_map(|log| self.logs[log as usize].ops.iter().copied()));
            if changed.contains(&true) {
                for (index, row) in self.ops.iter().enumerate() {
                    if row.kind.is_some()
                        && self
                            .carriers(as_u32(index))
                            .iter()
                            .any(|&seal| changed[self.seals[seal as usize].grant as usize])
                    {
                        again.push(as_u32(index));
                    }
                }
            }
        } else {
            for log in touched {
                if self.logs[log as usize].bounds.is_empty() {
                    continue;
                }
                if self.rebound(log) {
                    again.extend(&self.logs[log as usize].ops);
                }
            }
            for &op in &again {
                for carrier in 0..self.carriers(op).len() {
                    self.bound_seal(self.carriers(op)[carrier]);
                }
            }
        }
        again.sort_unstable();
        again.dedup();
        for op in again {
            self.apply(op);
        }
        if std::mem::take(&mut self.links_changed) {
            self.link_anew();
        }
    }

    /// Judges an operation again and makes its effects on others those of the verdict.
    fn apply(&mut self, op: u32) {
        let counts = self
            .carriers(op)
            .iter()
            .any(|&seal| self.judge(op, self.seals[seal as usize].grant).is_ok());
        let row = &mut self.ops[op as usize];
        row.counts = counts;
        let Some(kind) = row.kind else { return };
        let Some(extra) = self.peek_extra(op) else {
            return;
        };
        let (start, len) = extra.targets;
        let namespace = self.logs[self.log_of_op(op) as usize].namespace;
        for at in start as usize..(start + len) as usize {
            let (target, applied) = (self.targets[at] & !APPLIED, self.targets[at] & APPLIED != 0);
            let reaches = match self.ops[target as usize].kind {
                None => false,
                Some(_) if self.logs[self.log_of_op(target) as usize].namespace != namespace => {
                    false
                }
                Some(OpKind::Add | OpKind::Supersede) => true,
                Some(_) => kind == OpKind::Redact,
            };
            let applies = counts && reaches;
            if applies == applied {
                continue;
            }
            self.targets[at] ^= APPLIED;
            let extra = self.extra(target);
            let marks = match kind {
                OpKind::Supersede => &mut extra.superseded,
                OpKind::Retract => &mut extra.retracted,
                OpKind::Redact => &mut extra.redacted,
                _ => unreachable!("only these have targets among data"),
            };
            *marks = if applies { *marks + 1 } else { *marks - 1 };
            if kind == OpKind::Supersede {
                if applies {
                    self.link(op, target);
                } else {
                    self.links_changed = true;
                }
            }
        }
    }

    /// Computes the links from the supersedes that count: one of them stopped counting.
    fn link_anew(&mut self) {
        for index in 0..as_u32(self.ops.len()) {
            if self.peek_extra(index).is_some() {
                let extra = self.extra(index);
                (extra.leader, extra.next) = (index, index);
            }
        }
        for index in 0..as_u32(self.ops.len()) {
            let row = self.ops[index as usize];
            if row.kind != Some(OpKind::Supersede) || !row.counts {
                continue;
            }
            let (start, len) = self.extra(index).targets;
            for at in start as usize..(start + len) as usize {
                if self.targets[at] & APPLIED != 0 {
                    self.link(index, self.targets[at] & !APPLIED);
                }
            }
        }
    }

    fn link(&mut self, a: u32, b: u32) {
        let (a, b) = (self.leader(a), self.leader(b));
        if a != b {
            self.extra(a).leader = b;
            let next = self.extra(a).next;
            let other = std::mem::replace(&mut self.extra(b).next, next);
            self.extra(a).next = other;
        }
    }

    fn leader(&mut self, mut op: u32) -> u32 {
        loop {
            let leader = self.extra(op).leader;
            if leader == op {
                return op;
            }
            // Path halving.
            let above = self.extra(leader).leader;
            self.extra(op).leader = above;
            op = above;
        }
    }
}

pub(crate) fn as_u32(number: usize) -> u32 {
    u32::try_from(number).expect("fewer than 2^31 of anything fit into memory")
}

fn next_index<T>(table: &[T]) -> u32 {
    as_u32(table.len())
}

//! What is asked of a fold that is up to date.

use tally_vault_format::{
    Card, GrantId, Head, KeyCommitment, LogPosition, MemberId, NamespaceId, OpId, OpKind,
    ReceiptDigest, Right, RunId, SealId, Time,
};

use crate::{
    explain::Void,
    fold::{ALL, Fold, as_u32},
    records::Status,
    tables::NONE,
};

/// A fold that is up to date with everything inserted.
pub struct View<'a> {
    pub(crate) fold: &'a Fold,
}

/// What became of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantStanding {
    /// It counts, and nobody revoked it. It may have come to its end.
    Valid,
    /// It counted until these operations, ascending by id.
    Revoked(Vec<OpId>),
    /// It never counted.
    Void(Void),
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// Its id.
    pub id: GrantId,
    /// Who made it; the root for the root's own.
    pub by: MemberId,
    /// When; none for the root's own.
    pub made: Option<Time>,
    /// The grant it narrows; none for the root's own.
    pub parent: Option<GrantId>,
    /// Who is admitted.
    pub card: Card,
    /// How many grants may follow below it.
    pub depth: u8,
    /// Its end.
    pub expires: Option<Time>,
    /// What it gives, ascending by namespace.
    pub rights: Vec<(NamespaceId, Right)>,
    /// What became of it.
    pub standing: GrantStanding,
}

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A new record.
    Add,
    /// A version in place of these.
    Supersede(Vec<OpId>),
    /// These are no longer shown.
    Retract(Vec<OpId>),
    /// The bodies of these are to be destroyed.
    Redact(Vec<OpId>),
    /// Admitted a member.
    Grant {
        /// Whom.
        card: Card,
        /// Under which grant.
        parent: GrantId,
        /// How many grants may follow below it.
        depth: u8,
        /// Its end.
        expires: Option<Time>,
        /// What it gives, ascending by namespace.
        rights: Vec<(NamespaceId, Right)>,
    },
    /// Revoked a grant.
    Revoke {
        /// Which.
        grant: GrantId,
        /// Whose; none if the grant is not here.
        subject: Option<MemberId>,
    },
    /// Announced a key.
    Rotate {
        /// Whose.
        namespace: NamespaceId,
        /// Its number.
        number: u32,
        /// The key.
        key: KeyCommitment,
        /// Whether older frames are to be boxed anew.
        full: bool,
    },
    /// Named the newest seals of so many others.
    Checkpoint(usize),
}

/// A line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// The operation.
    pub operation: OpId,
    /// When, by its author's clock.
    pub time: Time,
    /// Who.
    pub author: MemberId,
    /// In which namespace.
    pub namespace: NamespaceId,
    /// Its number in its log.
    pub sequence: u64,
    /// What it did.
    pub what: What,
    /// Under which grant: one under which it counts, if there is one.
    pub grant: GrantId,
    /// The seal that names this grant.
    pub seal: SealId,
    /// The run that wrote it; none once it is redacted.
    pub run: Option<RunId>,
    /// The receipt it rests on; none once it is redacted.
    pub receipt: Option<ReceiptDigest>,
    /// What became of it.
    pub status: Status,
    /// Why it does not count, if it does not.
    pub why: Option<Void>,
}

impl View<'_> {
    pub(crate) fn find(&self, id: &OpId) -> Option<u32> {
        self.fold
            .op_ids
            .get(&id.0)
            .filter(|&op| self.fold.ops[op as usize].kind.is_some())
    }

    /// The seal under which an operation is looked at, and the verdict there: the least seal under which it counts; if there
    /// is none, the least reason.
    fn verdict(&self, op: u32) -> (u32, Result<(), Void>) {
        let fold = self.fold;
        fold.carriers(op)
            .iter()
            .map(|&seal| (seal, fold.judge(op, fold.seals[seal as usize].grant)))
            .min_by_key(|&(seal, verdict)| (verdict.err(), fold.seal_id(seal)))
            .expect("an operation came with a seal")
    }

    /// Under which grant an operation counts, or why it does not; none if it is not here.
    #[must_use]
    pub fn explain(&self, id: &OpId) -> Option<Result<GrantId, Void>> {
        let (seal, verdict) = self.verdict(self.find(id)?);
        Some(verdict.map(|()| self.grant_id(self.fold.seals[seal as usize].grant)))
    }

    fn grant_id(&self, grant: u32) -> GrantId {
        GrantId(*self.fold.grant_ids.id(grant))
    }

    fn rights(&self, grant: u32) -> Vec<(NamespaceId, Right)> {
        let rights = self.fold.grants[grant as usize].rights.iter();
        let mut rights: Vec<_> = rights
            .map(|&(namespace, right)| (self.fold.namespace_id(namespace), right))
            .collect();
        rights.sort_unstable();
        rights
    }

    /// Every grant that is here, the root's first, then ascending by (time, id).
    #[must_use]
    pub fn grants(&self) -> Vec<GrantRow> {
        let mut grants: Vec<GrantRow> = (0..as_u32(self.fold.grants.len()))
            .filter_map(|grant| self.grant_row(grant))
            .collect();
        grants.sort_unstable_by_key(|grant| (grant.made, grant.id));
        grants
    }

    /// One grant; none if it is not here.
    #[must_use]
    pub fn grant(&self, id: &GrantId) -> Option<GrantRow> {
        self.grant_row(self.fold.grant_ids.get(&id.0)?)
    }

    fn grant_row(&self, grant: u32) -> Option<GrantRow> {
        let fold = self.fold;
        let row = &fold.grants[grant as usize];
        let card = row.card?;
        let standing = &fold.standings[grant as usize];
        let made_by = (row.op != NONE).then_some(row.op);
        Some(GrantRow {
            id: self.grant_id(grant),
            by: match made_by {
                Some(op) => fold.member_id(fold.logs[fold.log_of_op(op) as usize].author),
                None => card.member(),
            },
            made: made_by.map(|op| Time(fold.ops[op as usize].time)),
            parent: (row.parent != NONE).then(|| self.grant_id(row.parent)),
            card,
            depth: row.depth,
            expires: row.expires,
            rights: self.rights(grant),
            standing: match made_by.map(|op| self.verdict(op).1) {
                Some(Err(why)) => GrantStanding::Void(why),
                _ if standing.is_revoked() => GrantStanding::Revoked(
                    standing
                        .revocations
                        .iter()
                        .map(|&op| fold.op_id(op))
                        .collect(),
                ),
                _ => GrantStanding::Valid,
            },
        })
    }

    /// The grants below one that still stand: valid, revoked by nobody. Who revokes a grant names those that are to go too.
    /// Ascending by id.
    #[must_use]
    pub fn grants_below(&self, id: &GrantId) -> Vec<GrantId> {
        let Some(above) = self.fold.grant_ids.get(&id.0) else {
            return Vec::new();
        };
        let mut below: Vec<GrantId> = (0..as_u32(self.fold.grants.len()))
            .filter(|&grant| {
                let standing = &self.fold.standings[grant as usize];
                grant != above
                    && standing.valid
                    && !standing.is_revoked()
                    && self.fold.is_at_or_above(above, grant)
            })
            .map(|grant| self.grant_id(grant))
            .collect();
        below.sort_unstable();
        below
    }

    /// Grants that have come to their end by this clock and were revoked by nobody: until they are, a subject that lies about its
    /// clock can go on writing. Ascending by id.
    #[must_use]
    pub fn ended_and_open(&self, now: Time) -> Vec<GrantId> {
        let mut open: Vec<GrantId> = (0..as_u32(self.fold.grants.len()))
            .filter(|&grant| {
                let standing = &self.fold.standings[grant as usize];
                let ended = self.fold.grants[grant as usize]
                    .expires
                    .is_some_and(|end| end < now);
                ended && standing.valid && !standing.is_revoked()
            })
            .map(|grant| self.grant_id(grant))
            .collect();
        open.sort_unstable();
        open
    }

    /// What a member may do in a namespace (in [`NamespaceId::ALL`]: in every one) at a time, by the grants that nobody
    /// revoked.
    #[must_use]
    pub fn right(&self, member: &MemberId, namespace: &NamespaceId, at: Time) -> Option<Right> {
        self.live_grants(member, at)
            .filter_map(|grant| self.fold.right_under(grant, self.namespace(namespace)))
            .max()
    }

    /// The grant to write under: of those that give at least this right the one that ends last, then the least id.
    #[must_use]
    pub fn grant_to_use(
        &self,
        member: &MemberId,
        namespace: &NamespaceId,
        right: Right,
        at: Time,
    ) -> Option<GrantId> {
        let namespace = self.namespace(namespace);
        self.live_grants(member, at)
            .filter(|&grant| self.fold.right_under(grant, namespace) >= Some(right))
            .map(|grant| {
                let end = self.fold.grants[grant as usize]
                    .expires
                    .map_or(u64::MAX, |end| end.0);
                (std::cmp::Reverse(end), self.grant_id(grant))
            })
            .min()
            .map(|(_, grant)| grant)
    }

    /// Whether this grant gives that member this right there: valid, its own, not ended at that time, revoked by nobody.
    #[must_use]
    pub fn permits(
        &self,
        grant: &GrantId,
        member: &MemberId,
        namespace: &NamespaceId,
        right: Right,
        at: Time,
    ) -> bool {
        let Some(grant) = self.fold.grant_ids.get(&grant.0) else {
            return false;
        };
        self.live_grants(member, at).any(|live| live == grant)
            && self.fold.right_under(grant, self.namespace(namespace)) >= Some(right)
    }

    fn namespace(&self, id: &NamespaceId) -> u32 {
        // Of one that was never named, only what is given for all is given.
        self.fold.namespaces.get(&id.0).unwrap_or(ALL)
    }

    fn live_grants(&self, member: &MemberId, at: Time) -> impl Iterator<Item = u32> + '_ {
        let subject = self.fold.members.get(&member.0);
        (0..as_u32(self.fold.grants.len())).filter(move |&grant| {
            let row = &self.fold.grants[grant as usize];
            let standing = &self.fold.standings[grant as usize];
            Some(row.subject) == subject
                && standing.valid
                && !standing.is_revoked()
                && row.expires.is_none_or(|end| at <= end)
        })
    }

    /// The frontier of a revocation made now: the last operation of each of the member's logs, ascending by namespace. Of a
    /// fork the longer branch, then the smaller id: an operation on the other one will not count.
    #[must_use]
    pub fn frontier(&self, member: &MemberId) -> Vec<LogPosition> {
        let fold = self.fold;
        let subject = fold.members.get(&member.0);
        let logs = fold.logs.iter().filter(|log| Some(log.author) == subject);
        let mut frontier: Vec<LogPosition> = logs
            .filter_map(|log| {
                let newest =
                    |op: &u32| (fold.sequence(*op), std::cmp::Reverse(fold.op_ids.id(*op)));
                let &op = log.ops.iter().max_by_key(|op| newest(op))?;
                Some(LogPosition {
                    namespace: fold.namespace_id(log.namespace),
                    sequence: fold.sequence(op),
                    operation: fold.op_id(op),
                })
            })
            .collect();
        frontier.sort_unstable_by_key(|position| position.namespace);
        frontier
    }

    /// What a checkpoint made now says: the newest seal of each other author, ascending. Of a fork the smaller id.
    #[must_use]
    pub fn heads(&self, witness: &MemberId) -> Vec<Head> {
        let fold = self.fold;
        let mut heads: Vec<Head> = Vec::new();
        for (member, chain) in fold.chains.iter().enumerate() {
            let author = fold.member_id(as_u32(member));
            let newest = |seal: &u32| {
                (
                    fold.seals[*seal as usize].counter,
                    std::cmp::Reverse(fold.seal_ids.id(*seal)),
                )
            };
            let Some(&seal) = chain.iter().max_by_key(|seal| newest(seal)) else {
                continue;
            };
            if author != *witness {
                let counter = fold.seals[seal as usize].counter;
                heads.push(Head {
                    author,
                    counter,
                    seal: fold.seal_id(seal),
                });
            }
        }
        heads.sort_unstable_by_key(|head| head.author);
        heads
    }

    /// The audit trail: every operation, ascending by (time, author, sequence, id).
    pub fn log(&self) -> impl ExactSizeIterator<Item = LogRow> + '_ {
        let fold = self.fold;
        let mut order: Vec<u32> = (0..as_u32(fold.ops.len()))
            .filter(|&op| fold.ops[op as usize].kind.is_some())
            .collect();
        order.sort_unstable_by_key(|&op| {
            let author = fold.logs[fold.log_of_op(op) as usize].author;
            (
                fold.ops[op as usize].time,
                fold.members.id(author),
                fold.sequence(op),
                fold.op_ids.id(op),
            )
        });
        order.into_iter().map(|op| self.log_row(op))
    }

    /// One operation's line of the audit trail; none if it is not here.
    #[must_use]
    pub fn row(&self, id: &OpId) -> Option<LogRow> {
        self.find(id).map(|op| self.log_row(op))
    }

    fn log_row(&self, op: u32) -> LogRow {
        let fold = self.fold;
        let row = &fold.ops[op as usize];
        let log = &fold.logs[fold.log_of_op(op) as usize];
        let (seal, verdict) = self.verdict(op);
        let redacted = fold.peek_extra(op).is_some_and(|extra| extra.redacted > 0);
        let (run, receipt) = if redacted {
            (None, None)
        } else {
            fold.provenance(op)
        };
        LogRow {
            operation: fold.op_id(op),
            time: Time(row.time),
            author: fold.member_id(log.author),
            namespace: fold.namespace_id(log.namespace),
            sequence: fold.sequence(op),
            what: self.what(op),
            grant: self.grant_id(fold.seals[seal as usize].grant),
            seal: fold.seal_id(seal),
            run,
            receipt,
            status: fold.status(op),
            why: verdict.err(),
        }
    }

    fn what(&self, op: u32) -> What {
        let fold = self.fold;
        let row = &fold.ops[op as usize];
        let targets = || {
            let (start, len) = fold.peek_extra(op).map_or((0, 0), |extra| extra.targets);
            let targets = &fold.targets[start as usize..(start + len) as usize];
            targets
                .iter()
                .map(|&target| fold.op_id(target & !crate::fold::APPLIED))
                .collect()
        };
        match row.kind.expect("only operations that are here have a row") {
            OpKind::Add => What::Add,
            OpKind::Supersede => What::Supersede(targets()),
            OpKind::Retract => What::Retract(targets()),
            OpKind::Redact => What::Redact(targets()),
            OpKind::Grant => {
                let grant = &fold.grants[row.extra as usize];
                What::Grant {
                    card: grant.card.expect("a grant that is here has a subject"),
                    parent: self.grant_id(grant.parent),
                    depth: grant.depth,
                    expires: grant.expires,
                    rights: self.rights(row.extra),
                }
            }
            OpKind::Revoke => {
                let target = fold.revocations[row.extra as usize].target;
                What::Revoke {
                    grant: self.grant_id(target),
                    subject: fold.grants[target as usize].card.map(|card| card.member()),
                }
            }
            OpKind::Rotate => {
                let rotation = &fold.rotations[row.extra as usize];
                What::Rotate {
                    namespace: fold.namespace_id(rotation.namespace),
                    number: rotation.number,
                    key: rotation.key,
                    full: rotation.full,
                }
            }
            OpKind::Checkpoint => {
                What::Checkpoint(fold.checkpoints[row.extra as usize].heads.len())
            }
        }
    }
}

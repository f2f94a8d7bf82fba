//! What is odd or missing, with its evidence. Nothing here changes what counts.

use std::collections::BTreeMap;

use tally_vault_format::{MemberId, NamespaceId, OpId, SealId};

use crate::{
    fold::{Fold, Opened, as_u32},
    tables::NONE,
    view::View,
};

/// Something odd or missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Seals of one author with the same number. Both branches count.
    SealFork {
        /// Whose.
        author: MemberId,
        /// The number.
        counter: u64,
        /// The evidence, ascending.
        seals: Vec<SealId>,
    },
    /// Operations of one log with the same number. Both branches count.
    OperationFork {
        /// Whose.
        author: MemberId,
        /// In which log.
        namespace: NamespaceId,
        /// The number.
        sequence: u64,
        /// Ascending.
        operations: Vec<OpId>,
        /// The evidence: the least seal that carries each.
        seals: Vec<SealId>,
    },
    /// Seals of an author are missing among those that are here.
    SealGap {
        /// Whose.
        author: MemberId,
        /// The first that is missing.
        first: u64,
        /// The last that is missing.
        last: u64,
    },
    /// A seal names as the one before a seal of another author or number.
    SealUnlinked {
        /// The seal.
        seal: SealId,
    },
    /// An operation names as the one before an operation of another log or number.
    OperationUnlinked {
        /// The operation.
        operation: OpId,
    },
    /// An operation is dated no later than the one before it.
    ClockWentBack {
        /// The operation.
        operation: OpId,
    },
    /// Somebody has seen newer seals of an author than are here.
    Withheld {
        /// Whose seals.
        author: MemberId,
        /// The newest that is here; 0 for none.
        have: u64,
        /// The newest that was seen.
        seen: u64,
        /// That seal.
        seal: SealId,
        /// Who saw it.
        witness: MemberId,
        /// Where that stands.
        checkpoint: OpId,
    },
    /// Somebody has seen another seal under a number than those that are here: a fork of which one side is withheld.
    SeenOtherwise {
        /// Whose seals.
        author: MemberId,
        /// The number.
        counter: u64,
        /// What was seen.
        seal: SealId,
        /// Who saw it.
        witness: MemberId,
        /// Where that stands.
        checkpoint: OpId,
    },
    /// A revocation that counts names an operation that is not here (or not at that place): what its author wrote in that log
    /// before does not count until it comes.
    FrontierMissing {
        /// The revocation.
        revocation: OpId,
        /// The log.
        namespace: NamespaceId,
        /// The place that is named.
        sequence: u64,
        /// The operation that is named.
        operation: OpId,
    },
    /// A body is missing from every copy, and no redaction that counts names the operation.
    BodyMissing {
        /// The operation, which counts all the same.
        operation: OpId,
    },
}

impl Finding {
    /// A name that programs can rely on.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SealFork { .. } | Self::OperationFork { .. } => "author.forked",
            Self::SealGap { .. } => "seal.gap",
            Self::SealUnlinked { .. } => "seal.unlinked",
            Self::OperationUnlinked { .. } => "operation.unlinked",
            Self::ClockWentBack { .. } => "author.clock",
            Self::Withheld { .. } => "author.withheld",
            Self::SeenOtherwise { .. } => "author.seen-otherwise",
            Self::FrontierMissing { .. } => "frontier.missing",
            Self::BodyMissing { .. } => "body.missing",
        }
    }
}

impl Fold {
    /// Groups of two and more with the same number that do not each follow one of another fork further down.
    ///
    /// `items` ascend by number; `previous` gives what an item names as the one before, if that is here and in its place.
    fn forks(
        items: &[u32],
        number: impl Fn(u32) -> u64,
        previous: impl Fn(u32) -> Option<u32>,
        mut found: impl FnMut(u64, Vec<u32>),
    ) {
        for group in items.chunk_by(|&a, &b| number(a) == number(b)) {
            if group.len() < 2 {
                continue;
            }
            let mut by_previous: BTreeMap<Option<u32>, Vec<u32>> = BTreeMap::new();
            for &item in group {
                by_previous.entry(previous(item)).or_default().push(item);
            }
            if by_previous.contains_key(&None) {
                found(number(group[0]), group.to_vec());
                continue;
            }
            for branches in by_previous
                .into_values()
                .filter(|branches| branches.len() > 1)
            {
                found(number(group[0]), branches);
            }
        }
    }

    fn seal_findings(&self, findings: &mut Vec<Finding>) {
        for (author, chain) in self.chains.iter().enumerate() {
            let author = self.member_id(as_u32(author));
            let number = |seal: u32| self.seals[seal as usize].counter;
            let of = |seal: u32| self.logs[self.seals[seal as usize].log as usize].author;
            let previous = |seal: u32| {
                let previous = self.seals[seal as usize].previous;
                (previous != NONE
                    && self.seals[previous as usize].opened != Opened::Named
                    && of(previous) == of(seal)
                    && number(previous).checked_add(1) == Some(number(seal)))
                .then_some(previous)
            };
            let mut chain = chain.clone();
            chain.sort_unstable_by_key(|&seal| number(seal));
            let mut expected = 1;
            for &seal in &chain {
                if number(seal) > expected {
                    findings.push(Finding::SealGap {
                        author,
                        first: expected,
                        last: number(seal) - 1,
                    });
                }
                expected = number(seal).saturating_add(1);
                let named = self.seals[seal as usize].previous;
                if named != NONE
                    && self.seals[named as usize].opened != Opened::Named
                    && previous(seal).is_none()
                {
                    findings.push(Finding::SealUnlinked {
                        seal: self.seal_id(seal),
                    });
                }
            }
            Self::forks(&chain, number, previous, |counter, seals| {
                let mut seals: Vec<SealId> =
                    seals.into_iter().map(|seal| self.seal_id(seal)).collect();
                seals.sort_unstable();
                findings.push(Finding::SealFork {
                    author,
                    counter,
                    seals,
                });
            });
        }
    }

    fn operation_findings(&self, findings: &mut Vec<Finding>) {
        for log in &self.logs {
            let (author, namespace) =
                (self.member_id(log.author), self.namespace_id(log.namespace));
            let named = |op: u32| {
                let previous = self.ops[op as usize].previous;
                (previous != NONE && self.ops[previous as usize].kind.is_some()).then_some(previous)
            };
            let previous = |op: u32| {
                named(op).filter(|&previous| {
                    self.log_of_op(previous) == self.log_of_op(op)
                        && self.sequence(previous).checked_add(1) == Some(self.sequence(op))
                })
            };
            for &op in &log.ops {
                match (named(op), previous(op)) {
                    (Some(_), None) => {
                        findings.push(Finding::OperationUnlinked {
                            operation: self.op_id(op),
                        });
                    }
                    (_, Some(before))
                        if self.ops[op as usize].time <= self.ops[before as usize].time =>
                    {
                        findings.push(Finding::ClockWentBack {
                            operation: self.op_id(op),
                        });
                    }
                    _ => {}
                }
            }
            if !log.bent {
                continue;
            }
            let mut ops = log.ops.clone();
            ops.sort_by_cached_key(|&op| self.sequence(op));
            Self::forks(
                &ops,
                |op| self.sequence(op),
                previous,
                |sequence, ops| {
                    let mut operations: Vec<OpId> = ops.iter().map(|&op| self.op_id(op)).collect();
                    operations.sort_unstable();
                    let least = |&op: &u32| {
                        self.carriers(op)
                            .iter()
                            .map(|&seal| self.seal_id(seal))
                            .min()
                    };
                    let mut seals: Vec<SealId> = ops.iter().filter_map(least).collect();
                    seals.sort_unstable();
                    seals.dedup();
                    findings.push(Finding::OperationFork {
                        author,
                        namespace,
                        sequence,
                        operations,
                        seals,
                    });
                },
            );
        }
    }

    fn checkpoint_findings(&self, findings: &mut Vec<Finding>) {
        let mut withheld: BTreeMap<MemberId, Finding> = BTreeMap::new();
        let mut counters: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for row in &self.checkpoints {
            if !self.ops[row.op as usize].counts {
                continue;
            }
            let checkpoint = self.op_id(row.op);
            let witness = self.member_id(self.logs[self.log_of_op(row.op) as usize].author);
            for head in &row.heads {
                let author = head.author;
                let known = self.members.get(&author.0);
                let held: &[u64] = match known {
                    None => &[],
                    Some(member) => counters.entry(member).or_insert_with(|| {
                        let chain = self.chains[member as usize].iter();
                        let mut held: Vec<u64> = chain
                            .map(|&seal| self.seals[seal as usize].counter)
                            .collect();
                        held.sort_unstable();
                        held
                    }),
                };
                let have = held.last().copied().unwrap_or(0);
                let (counter, seal) = (head.counter, head.seal);
                let is_here = self
                    .seal_ids
                    .get(&seal.0)
                    .is_some_and(|seal| self.seals[seal as usize].opened != Opened::Named);
                if is_here {
                    continue;
                }
                if counter > have {
                    let seen = counter;
                    let claim = Finding::Withheld {
                        author,
                        have,
                        seen,
                        seal,
                        witness,
                        checkpoint,
                    };
                    // The greatest: `have` is the same for all of one author, so by what was seen.
                    withheld
                        .entry(author)
                        .and_modify(|best| {
                            if claim > *best {
                                *best = claim.clone();
                            }
                        })
                        .or_insert(claim);
                } else if held.binary_search(&counter).is_ok() {
                    findings.push(Finding::SeenOtherwise {
                        author,
                        counter,
                        seal,
                        witness,
                        checkpoint,
                    });
                }
            }
        }
        findings.extend(withheld.into_values());
    }

    fn frontier_findings(&self, findings: &mut Vec<Finding>) {
        for row in &self.revocations {
            if !self.ops[row.op as usize].counts {
                continue;
            }
            let subject = self.grants[row.target as usize].subject;
            for position in &row.frontier {
                let op = &self.ops[position.op as usize];
                let is_there = op.kind.is_some()
                    && self.sequence(position.op) == position.sequence
                    && self.find_log(subject, position.namespace)
                        == Some(self.log_of_op(position.op));
                if !is_there {
                    findings.push(Finding::FrontierMissing {
                        revocation: self.op_id(row.op),
                        namespace: self.namespace_id(position.namespace),
                        sequence: position.sequence,
                        operation: self.op_id(position.op),
                    });
                }
            }
        }
    }
}

impl View<'_> {
    /// Everything odd or missing, sorted.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let fold = &self.fold;
        let mut findings = Vec::new();
        fold.seal_findings(&mut findings);
        fold.operation_findings(&mut findings);
        fold.checkpoint_findings(&mut findings);
        fold.frontier_findings(&mut findings);
        for &op in &fold.bodiless {
            if fold.peek_extra(op).is_none_or(|extra| extra.redacted == 0) {
                findings.push(Finding::BodyMissing {
                    operation: fold.op_id(op),
                });
            }
        }
        findings.sort_unstable();
        findings
    }
}

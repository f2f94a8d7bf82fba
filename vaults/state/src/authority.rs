//! Who may do what: the walk over the tree of grants, and the judgement of one operation under one grant.

use tally_vault_format::{MemberKind, OpKind, Right};

use crate::{
    explain::Void,
    fold::{ALL, CONTROL, Fold, ROOT, as_u32},
    log::{Bound, Frontier, Position},
    tables::NONE,
};

/// What became of a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) valid: bool,
    /// Where revocations from above end it.
    pub(crate) above: Frontier,
    /// Where its subject's own revocations end it.
    pub(crate) own: Frontier,
    /// The operations of both, ascending by id.
    pub(crate) revocations: Vec<u32>,
}

impl Standing {
    pub(crate) fn is_revoked(&self) -> bool {
        !self.revocations.is_empty()
    }
}

impl Fold {
    /// Computes the standing of every grant anew. Returns, by grant, whether it changed.
    pub(crate) fn walk(&mut self) -> Vec<bool> {
        let blank = vec![Standing::default(); self.grants.len()];
        let before = std::mem::replace(&mut self.standings, blank);
        for log in &mut self.logs {
            log.bounds.clear();
        }
        let mut children: Vec<(u32, u32)> = (0..as_u32(self.grants.len()))
            .filter(|&grant| self.grants[grant as usize].op != NONE)
            .map(|grant| (self.grants[grant as usize].parent, grant))
            .collect();
        children.sort_unstable();
        let mut revocations: Vec<(u32, u32)> = (0..as_u32(self.revocations.len()))
            .map(|row| (self.revocations[row as usize].target, row))
            .collect();
        revocations.sort_unstable();

        // Breadth first: whatever is asked about a grant's ancestors has been answered.
        self.standings[ROOT as usize].valid = true;
        let mut queue = vec![ROOT];
        let mut at = 0;
        while let Some(&grant) = queue.get(at) {
            at += 1;
            if grant != ROOT {
                let start = revocations.partition_point(|&(target, _)| target < grant);
                let rows: Vec<u32> = revocations[start..]
                    .iter()
                    .take_while(|&&(target, _)| target == grant)
                    .map(|&(_, row)| row)
                    .collect();
                self.revoke(grant, &rows);
            }
            let start = children.partition_point(|&(parent, _)| parent < grant);
            for &(_, child) in children[start..]
                .iter()
                .take_while(|&&(parent, _)| parent == grant)
            {
                if self.is_carried_under(self.grants[child as usize].op, grant) {
                    self.standings[child as usize].valid = true;
                    queue.push(child);
                }
            }
        }
        for seal in 0..as_u32(self.seals.len()) {
            self.bound_seal(seal);
        }
        self.standings
            .iter()
            .enumerate()
            .map(|(grant, standing)| before.get(grant) != Some(standing))
            .collect()
    }

    /// Whether an operation counts under this grant.
    fn is_carried_under(&self, op: u32, grant: u32) -> bool {
        self.carriers(op)
            .iter()
            .any(|&seal| self.seals[seal as usize].grant == grant)
            && self.judge(op, grant).is_ok()
    }

    /// Finds where the revocations of a valid grant end it. The standings of those above it are known.
    fn revoke(&mut self, grant: u32, rows: &[u32]) {
        let mut own = Vec::new();
        for &row in rows {
            let op = self.revocations[row as usize].op;
            let is_from_above = self.carriers(op).iter().any(|&seal| {
                let under = self.seals[seal as usize].grant;
                under != grant && self.judge(op, under).is_ok()
            });
            if is_from_above {
                let standing = &mut self.standings[grant as usize];
                standing.above.revocations += 1;
                standing
                    .above
                    .positions
                    .extend(&self.revocations[row as usize].frontier);
                standing.revocations.push(op);
            } else {
                own.push(row);
            }
        }
        self.standings[grant as usize]
            .above
            .positions
            .sort_unstable();
        let subject = self.grants[grant as usize].subject;
        let control = self.find_log(subject, CONTROL);
        if let Some(log) = control {
            self.bound_log(log, grant);
        }
        own.retain(|&row| self.is_carried_under(self.revocations[row as usize].op, grant));
        for row in own {
            let op = self.revocations[row as usize].op;
            let itself = Position {
                namespace: CONTROL,
                sequence: self.sequence(op),
                op,
            };
            let standing = &mut self.standings[grant as usize];
            standing.own.revocations += 1;
            standing.own.positions.push(itself);
            let data = self.revocations[row as usize].frontier.iter();
            standing
                .own
                .positions
                .extend(data.filter(|position| position.namespace != CONTROL));
            standing.revocations.push(op);
        }
        self.standings[grant as usize].own.positions.sort_unstable();
        let mut revocations = std::mem::take(&mut self.standings[grant as usize].revocations);
        revocations.sort_unstable_by_key(|&op| self.op_ids.id(op));
        self.standings[grant as usize].revocations = revocations;
        if let Some(log) = control {
            self.logs[log as usize].bounds.remove(&grant);
            self.bound_log(log, grant);
        }
    }

    /// Makes sure that it is known where the revocations of the grant of a seal end its log.
    pub(crate) fn bound_seal(&mut self, seal: u32) {
        let row = &self.seals[seal as usize];
        if row.log != NONE
            && self.grants[row.grant as usize].subject == self.logs[row.log as usize].author
        {
            self.bound_log(row.log, row.grant);
        }
    }

    fn bound_log(&mut self, log: u32, grant: u32) {
        if self.standings[grant as usize].is_revoked()
            && !self.logs[log as usize].bounds.contains_key(&grant)
        {
            self.order_log(log);
            let standing = &self.standings[grant as usize];
            let bounds = (
                self.bound(&standing.above, log),
                self.bound(&standing.own, log),
            );
            self.logs[log as usize].bounds.insert(grant, bounds);
        }
    }

    /// Computes the bounds of a log that grew. Returns whether verdicts may have changed.
    pub(crate) fn rebound(&mut self, log: u32) -> bool {
        // Places in a log that is, or was, bent are not comparable with those before.
        let was_bent = self.logs[log as usize].bent;
        self.order_log(log);
        let before = self.logs[log as usize].bounds.clone();
        let after = before
            .keys()
            .map(|&grant| {
                let standing = &self.standings[grant as usize];
                (
                    grant,
                    (
                        self.bound(&standing.above, log),
                        self.bound(&standing.own, log),
                    ),
                )
            })
            .collect();
        let differs = was_bent || before != after;
        self.logs[log as usize].bounds = after;
        differs
    }

    /// Whether an operation counts under a grant that a seal of it names.
    pub(crate) fn judge(&self, op: u32, grant: u32) -> Result<(), Void> {
        let row = &self.ops[op as usize];
        let log = &self.logs[self.log_of_op(op) as usize];
        let given = &self.grants[grant as usize];
        let standing = &self.standings[grant as usize];
        if given.card.is_none() {
            return Err(Void::GrantUnknown);
        }
        if !standing.valid {
            return Err(Void::GrantVoid);
        }
        if given.subject != log.author {
            return Err(Void::NotTheSubject);
        }
        if let Some(ended) = given.expires
            && row.time > ended.0
        {
            return Err(Void::Expired { ended });
        }
        let kind = row.kind.expect("only operations that are here are judged");
        let revokes = (kind == OpKind::Revoke).then(|| self.revocations[row.extra as usize].target);
        if standing.is_revoked() {
            let &(above, own) = log
                .bounds
                .get(&grant)
                .unwrap_or(&(Bound::Nothing, Bound::Nothing));
            if !self.is_inside(above, log, op) {
                return Err(Void::Revoked);
            }
            // Those who give up a grant twice, on two branches of a fork, have done so twice.
            if revokes != Some(grant) && !self.is_inside(own, log, op) {
                return Err(Void::GivenUp);
            }
        }
        match kind {
            OpKind::Add => self.needs(grant, log.namespace, Right::Append),
            OpKind::Supersede | OpKind::Retract | OpKind::Redact => {
                let (start, len) = self.peek_extra(op).map_or((0, 0), |extra| extra.targets);
                let foreign = self.targets[start as usize..(start + len) as usize]
                    .iter()
                    .any(|&at| {
                        let target = at & !crate::fold::APPLIED;
                        self.ops[target as usize].kind.is_some() && {
                            let other = &self.logs[self.log_of_op(target) as usize];
                            other.namespace == log.namespace && other.author != log.author
                        }
                    });
                let right = if foreign {
                    Right::Curate
                } else {
                    Right::Append
                };
                self.needs(grant, log.namespace, right)
            }
            OpKind::Grant => self.judge_grant(row.extra, grant),
            OpKind::Revoke => {
                let target = self.revocations[row.extra as usize].target;
                if self.grants[target as usize].op == NONE {
                    Err(Void::TargetUnknown)
                } else if !self.standings[target as usize].valid {
                    Err(Void::TargetVoid)
                } else if !self.is_at_or_above(grant, target) {
                    Err(Void::NotAbove)
                } else {
                    Ok(())
                }
            }
            OpKind::Rotate => {
                let rotation = &self.rotations[row.extra as usize];
                let namespace = if rotation.number == 1 {
                    ALL
                } else {
                    rotation.namespace
                };
                self.needs(grant, namespace, Right::Admin)
            }
            OpKind::Checkpoint => Ok(()),
        }
    }

    fn judge_grant(&self, child: u32, under: u32) -> Result<(), Void> {
        let (child, parent) = (&self.grants[child as usize], &self.grants[under as usize]);
        if child.parent != under {
            return Err(Void::WrongParent);
        }
        if parent.depth == 0 {
            return Err(Void::DepthSpent);
        }
        if child.depth >= parent.depth {
            return Err(Void::DepthWidened {
                asked: child.depth,
                has: parent.depth,
            });
        }
        let widened = child.rights.iter().filter_map(|&(namespace, asked)| {
            let has = self.right_under(under, namespace);
            (has < Some(asked)).then(|| (self.namespace_id(namespace), asked, has))
        });
        // By namespace, not by index: which of several is named must not depend on arrival.
        if let Some((namespace, asked, has)) = widened.min() {
            return Err(Void::RightWidened {
                namespace,
                asked,
                has,
            });
        }
        if let Some(end) = parent.expires
            && child.expires.is_none_or(|expires| expires > end)
        {
            return Err(Void::OutlivesParent { parent: end });
        }
        let is_agent = child
            .card
            .is_some_and(|card| card.kind() == MemberKind::Agent);
        if is_agent && child.expires.is_none() {
            return Err(Void::AgentWithoutEnd);
        }
        Ok(())
    }

    fn needs(&self, grant: u32, namespace: u32, needs: Right) -> Result<(), Void> {
        let has = self.right_under(grant, namespace);
        if has >= Some(needs) {
            Ok(())
        } else {
            Err(Void::NeedsRight { needs, has })
        }
    }

    /// What a grant gives in a namespace; in `ALL`: in every one.
    pub(crate) fn right_under(&self, grant: u32, namespace: u32) -> Option<Right> {
        let rights = &self.grants[grant as usize].rights;
        let at = |namespace| {
            let at = rights
                .binary_search_by_key(&namespace, |&(namespace, _)| namespace)
                .ok()?;
            Some(rights[at].1)
        };
        at(ALL).or_else(|| at(namespace))
    }

    /// Whether a grant is another or stands above it.
    pub(crate) fn is_at_or_above(&self, grant: u32, mut other: u32) -> bool {
        // A valid grant's way to the root is at most 256 long, since depth falls.
        while other != grant {
            if other == ROOT || other == NONE {
                return false;
            }
            other = self.grants[other as usize].parent;
        }
        true
    }
}

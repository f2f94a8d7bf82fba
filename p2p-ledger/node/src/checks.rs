//! Which transactions were found good a short while ago, so that none is checked twice: the same one comes from whoever
//! submits it, inside a block, and passed on by peers, in any order.
//!
//! The answer to a check depends on the transaction and the chain only, so that an old one is as good as a new one. Bounds:
//! [`COUNT`] and [`BYTES`]; the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tally_ledger::{ChainId, CheckError, Checked, Transaction, TransactionId};

/// Transactions that are remembered, and their bytes.
const COUNT: usize = 4096;
const BYTES: usize = 32 * 1024 * 1024;

/// A node's checks, for whichever of its tasks needs one.
#[derive(Debug)]
pub(crate) struct Checks {
    chain: ChainId,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    good: HashMap<TransactionId, Checked>,
    /// Oldest first.
    order: VecDeque<TransactionId>,
    bytes: usize,
}

impl Checks {
    pub(crate) fn new(chain: ChainId) -> Self {
        Self {
            chain,
            recent: Mutex::default(),
        }
    }

    /// The same answers as [`Checked::check_many`].
    pub(crate) fn check_many(
        &self,
        transactions: Vec<Transaction>,
    ) -> Vec<Result<Checked, CheckError>> {
        let known: Vec<Option<Checked>> = {
            let recent = self.recent();
            transactions
                .iter()
                .map(|transaction| recent.good.get(&transaction.id()).cloned())
                .collect()
        };
        let unknown = transactions
            .into_iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none())
            .map(|(transaction, _)| transaction)
            .collect();
        // The lock is not held while signatures are checked, which is what takes time.
        let mut found = Checked::check_many(unknown, self.chain).into_iter();
        let answers = known
            .into_iter()
            .map(|known| match known {
                Some(checked) => Ok(checked),
                None => found.next().expect("one answer for each"),
            })
            .collect::<Vec<_>>();
        let mut recent = self.recent();
        for checked in answers.iter().flatten() {
            recent.remember(checked);
        }
        answers
    }

    /// A transaction that was found good.
    pub(crate) fn get(&self, id: &TransactionId) -> Option<Checked> {
        self.recent().good.get(id).cloned()
    }

    /// Whoever held the lock left it whole: nothing in between can panic.
    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn remember(&mut self, checked: &Checked) {
        let id = checked.id();
        if self.good.contains_key(&id) {
            return;
        }
        self.bytes += bytes(checked);
        self.good.insert(id, checked.clone());
        self.order.push_back(id);
        while self.order.len() > COUNT || self.bytes > BYTES {
            let oldest = self.order.pop_front().expect("there is what has bytes");
            let gone = self
                .good
                .remove(&oldest)
                .expect("what is in the order is good");
            self.bytes -= bytes(&gone);
        }
    }
}

fn bytes(checked: &Checked) -> usize {
    checked.transaction().as_bytes().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_ledger::{AccountId, Request};
    use tally_receipt::SigningKey;

    fn claim(chain: ChainId, n: u32) -> Transaction {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        let key = SigningKey::from_seed(&seed);
        let account = AccountId::new(key.public_key());
        Request::Claim { account }
            .sign(chain, &[&key])
            .expect("within the limits")
    }

    #[test]
    fn good_ones_are_remembered_and_bad_ones_are_not() {
        let (chain, other) = (ChainId::from_bytes([1; 32]), ChainId::from_bytes([2; 32]));
        let checks = Checks::new(chain);
        let mixed = vec![claim(chain, 1), claim(other, 2), claim(chain, 3)];
        for _ in 0..2 {
            let answers = checks.check_many(mixed.clone());
            assert_eq!(answers, Checked::check_many(mixed.clone(), chain));
        }
        let known: Vec<bool> = mixed
            .iter()
            .map(|one| checks.get(&one.id()).is_some())
            .collect();
        assert_eq!(known, [true, false, true]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let chain = ChainId::from_bytes([1; 32]);
        let checks = Checks::new(chain);
        let all: Vec<_> = (0..COUNT as u32 + 1).map(|n| claim(chain, n)).collect();
        checks.check_many(all.clone());
        assert!(checks.get(&all[0].id()).is_none());
        assert!(checks.get(&all[1].id()).is_some());
        assert!(checks.get(&all[COUNT].id()).is_some());
    }
}

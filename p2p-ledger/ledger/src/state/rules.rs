//! What each transaction does, and why it is refused.
//!
//! A transaction is done wholly or not at all: every reason to refuse is looked at before anything changes.

use std::collections::BTreeSet;

use tally_receipt::{Digest, PublicKey};

use super::State;
use super::records::{self, Account, Entry, FaucetPool, Hold, Node, NodeKey, Record, Subject};
use crate::id::{
    AccountId, AccountNonce, ChainId, Credits, Decision, Height, HoldId, NodeId, Revision, Sequence,
};
use crate::map::Map;
use crate::params::Registration;
use crate::proof::MAX_EPOCHS;
use crate::transaction::{Change, Checked, Request, Settlement, Terms};
use crate::validators::ValidatorSet;
use crate::voucher::{Voucher, WorthlessVoucher};

/// Why a transaction cannot be done on a state. Its sender is to act, except where said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// It was checked for another chain. The caller is at fault.
    #[error("the transaction is for the chain {0}")]
    OtherChain(ChainId),
    /// The block has no room for its receipts. Nobody is at fault: the next block may have.
    #[error("the block has no room for its receipts")]
    BlockFull,
    /// Somebody who must sign did not.
    #[error("{0} must sign this, and did not")]
    NotSigned(PublicKey),
    /// Somebody signed who has nothing to do with it.
    #[error("{0} signed this, and has no say in it")]
    NoSay(PublicKey),
    /// Fewer validators signed than must.
    #[error("{found} validators signed this; {needed} must")]
    NoQuorum {
        /// How many did.
        found: usize,
        /// How many must.
        needed: usize,
    },
    /// Not the account's next transaction.
    #[error("the account's next nonce is {expected}, not {found}")]
    Nonce {
        /// The next one.
        expected: AccountNonce,
        /// The transaction's.
        found: AccountNonce,
    },
    /// The account has less than that.
    #[error("the account has {balance} credits; this needs {needed}")]
    NotEnough {
        /// What it has.
        balance: Credits,
        /// What it would take.
        needed: Credits,
    },
    /// An amount of nothing.
    #[error("an amount of nothing cannot be moved")]
    Nothing,
    /// From an account to itself.
    #[error("the sender and the recipient are the same account")]
    ToItself,
    /// There is no such hold, or it ended.
    #[error("there is no hold {0}: it never was, or it ended")]
    NoHold(HoldId),
    /// The voucher is not the payer's, or grants more than was set aside.
    #[error(transparent)]
    Voucher(#[from] WorthlessVoucher),
    /// As much was paid out already.
    #[error("{redeemed} were paid out already, so this pays nothing")]
    Redeemed {
        /// How much.
        redeemed: Credits,
    },
    /// A hold that would have expired when it begins.
    #[error("the hold would expire at {expires}, and this is block {height}")]
    Expired {
        /// When it would.
        expires: Height,
        /// The block's height.
        height: Height,
    },
    /// The payee still has time.
    #[error("the hold expires at {expires}, and this is block {height}")]
    NotExpired {
        /// When it does.
        expires: Height,
        /// The block's height.
        height: Height,
    },
    /// Genesis gives nothing to anybody.
    #[error("this chain gives no credits away")]
    NoFaucet,
    /// Nothing is left to give.
    #[error("this chain has given all the credits away that it had for that")]
    FaucetEmpty,
    /// It was given already.
    #[error("this account was given credits already")]
    Claimed,
    /// The key is or was a node's.
    #[error("the key {0} is or was a node's")]
    KeyTaken(PublicKey),
    /// There is no such node.
    #[error("no node {0} is registered")]
    NoNode(NodeId),
    /// Not the next change of the node.
    #[error("the node's next revision is {expected}, not {found}")]
    Revision {
        /// The next one.
        expected: Revision,
        /// The transaction's.
        found: Revision,
    },
    /// The node has no role any more.
    #[error("the node has retired")]
    Retired,
    /// A node without a role.
    #[error("a node without a role cannot be registered")]
    NoRole,
    /// Not the node's next receipts.
    #[error("the node's next receipt is number {expected}; these are {first} to {last}")]
    Sequence {
        /// The next one.
        expected: Sequence,
        /// The first one given.
        first: Sequence,
        /// The last one given.
        last: Sequence,
    },
    /// Not the validators' next decision.
    #[error("the next decision is number {expected}, not {found}")]
    Decision {
        /// The next one.
        expected: Decision,
        /// The transaction's.
        found: Decision,
    },
    /// It is so already.
    #[error("what is decided is so already")]
    NoChange,
    /// The validators changed in this block. Nobody is at fault: it may be good in the next.
    #[error("the validators changed in this block already")]
    SecondChange,
    /// Proofs have no room for another change of validators: a reader would refuse all that come after it.
    #[error(
        "validators have changed {MAX_EPOCHS} times, and a proof leads over no more changes than that"
    )]
    LastEpoch,
}

impl TransactionError {
    /// Whether the same transaction may be good later, because something has to happen before it.
    pub fn may_become_good(&self) -> bool {
        match self {
            Self::BlockFull
            | Self::SecondChange
            | Self::NotEnough { .. }
            | Self::NotExpired { .. }
            | Self::NoHold(_)
            | Self::NoNode(_) => true,
            Self::Nonce { expected, found } => found > expected,
            Self::Revision { expected, found } => found > expected,
            Self::Decision { expected, found } => found > expected,
            Self::Sequence {
                expected, first, ..
            } => first > expected,
            _ => false,
        }
    }

    /// Whether what it asks for was done already, wholly, as when it is sent twice.
    pub fn is_done_already(&self) -> bool {
        match self {
            Self::Claimed | Self::Redeemed { .. } => true,
            Self::Sequence { expected, last, .. } => last < expected,
            _ => false,
        }
    }
}

/// A block while it is made.
pub(super) struct Draft {
    chain: ChainId,
    height: Height,
    pub(super) records: Map<Record>,
    pub(super) entries: Vec<Entry>,
    validators_changed: bool,
    /// As they were before the block: a decision counts from the next one on.
    block_receipts: usize,
}

impl Draft {
    pub(super) fn on(state: &State) -> Self {
        Self {
            chain: state.chain,
            height: state.head.height.next(),
            records: state.records.clone(),
            entries: Vec::new(),
            validators_changed: false,
            block_receipts: state.parameters().block_receipts as usize,
        }
    }

    pub(super) fn apply(&mut self, checked: &Checked) -> Result<(), TransactionError> {
        if checked.chain() != self.chain {
            return Err(TransactionError::OtherChain(checked.chain()));
        }
        let signers: BTreeSet<PublicKey> = checked.transaction().signers().collect();
        match checked.transaction().request() {
            Request::Transfer {
                from,
                nonce,
                to,
                amount,
            } => {
                signed_by(&signers, &[from.key()])?;
                self.transfer(*from, *nonce, *to, *amount)
            }
            Request::Reserve {
                payer,
                nonce,
                payee,
                amount,
                expires,
            } => {
                signed_by(&signers, &[payer.key()])?;
                self.reserve(*payer, *nonce, *payee, *amount, *expires)
            }
            Request::Redeem {
                hold,
                voucher,
                close,
            } => self.redeem(&signers, *hold, *voucher, *close),
            Request::Release { hold } => self.release(&signers, *hold),
            Request::Claim { account } => {
                signed_by(&signers, &[account.key()])?;
                self.claim(*account)
            }
            Request::Register { owner, node, terms } => {
                self.register(&signers, *owner, *node, terms)
            }
            Request::Update {
                node,
                revision,
                key,
                terms,
            } => self.update(&signers, *node, *revision, *key, terms),
            Request::Settle {
                node,
                first,
                receipts,
            } => {
                let in_full = matches!(receipts, Settlement::Full(_));
                let digests = checked.transaction().receipts();
                self.settle(&signers, *node, *first, in_full, digests)
            }
            Request::Decide { decision, change } => self.decide(&signers, *decision, change),
        }
    }

    fn transfer(
        &mut self,
        from: AccountId,
        nonce: AccountNonce,
        to: AccountId,
        amount: Credits,
    ) -> Result<(), TransactionError> {
        if from == to {
            return Err(TransactionError::ToItself);
        }
        let sender = self.spend(from, nonce, amount)?;
        self.set_account(from, sender);
        self.credit(to, amount);
        Ok(())
    }

    fn reserve(
        &mut self,
        payer: AccountId,
        nonce: AccountNonce,
        payee: AccountId,
        amount: Credits,
        expires: Height,
    ) -> Result<(), TransactionError> {
        if payer == payee {
            return Err(TransactionError::ToItself);
        }
        if expires <= self.height {
            return Err(TransactionError::Expired {
                expires,
                height: self.height,
            });
        }
        let account = self.spend(payer, nonce, amount)?;
        self.set_account(payer, account);
        self.records.insert(Record::Hold(
            HoldId::of(payer, nonce),
            Hold {
                payer,
                payee,
                amount,
                redeemed: Credits::ZERO,
                expires,
            },
        ));
        Ok(())
    }

    fn redeem(
        &mut self,
        signers: &BTreeSet<PublicKey>,
        id: HoldId,
        voucher: Option<Voucher>,
        close: bool,
    ) -> Result<(), TransactionError> {
        let mut hold = *records::hold(&self.records, id).ok_or(TransactionError::NoHold(id))?;
        signed_by(signers, &[hold.payee.key()])?;
        let paid = match voucher {
            Some(voucher) => voucher.pays(self.chain, id, &hold)?,
            None => Credits::ZERO,
        };
        if paid == Credits::ZERO && !close {
            return Err(TransactionError::Redeemed {
                redeemed: hold.redeemed,
            });
        }
        hold.redeemed = hold
            .redeemed
            .plus(paid)
            .expect("what is redeemed is at most the hold's amount");
        self.credit(hold.payee, paid);
        if close {
            self.end(id, &hold);
        } else {
            self.records.insert(Record::Hold(id, hold));
        }
        Ok(())
    }

    fn release(
        &mut self,
        signers: &BTreeSet<PublicKey>,
        id: HoldId,
    ) -> Result<(), TransactionError> {
        let hold = *records::hold(&self.records, id).ok_or(TransactionError::NoHold(id))?;
        signed_by(signers, &[hold.payer.key()])?;
        if self.height < hold.expires {
            return Err(TransactionError::NotExpired {
                expires: hold.expires,
                height: self.height,
            });
        }
        self.end(id, &hold);
        Ok(())
    }

    fn claim(&mut self, id: AccountId) -> Result<(), TransactionError> {
        let faucet = records::faucet(&self.records).ok_or(TransactionError::NoFaucet)?;
        let account = records::account(&self.records, id);
        if account.claimed {
            return Err(TransactionError::Claimed);
        }
        let left = faucet
            .left
            .minus(faucet.each)
            .ok_or(TransactionError::FaucetEmpty)?;
        self.records
            .insert(Record::Faucet(FaucetPool { left, ..faucet }));
        self.set_account(
            id,
            Account {
                claimed: true,
                ..account
            },
        );
        self.credit(id, faucet.each);
        Ok(())
    }

    fn register(
        &mut self,
        signers: &BTreeSet<PublicKey>,
        owner: AccountId,
        node: NodeId,
        terms: &Terms,
    ) -> Result<(), TransactionError> {
        let own = [owner.key(), node.key()];
        match records::parameters(&self.records).registration {
            Registration::Open => signed_by(signers, &own)?,
            Registration::ByValidators => {
                let validators = records::validators(&self.records).1;
                for key in own {
                    if !signers.contains(&key) {
                        return Err(TransactionError::NotSigned(key));
                    }
                }
                // A validator may register a node of its own, and its signature then counts for both.
                let others = signers
                    .iter()
                    .filter(|key| !own.contains(key) || validators.index_of(key).is_some());
                signed_by_quorum(others, validators)?;
            }
        }
        if !terms.roles.any() {
            return Err(TransactionError::NoRole);
        }
        self.take_key(node, node.key())?;
        self.records.insert(Record::Node(
            node,
            Node {
                owner,
                key: node.key(),
                revision: Revision::ZERO,
                settled: Sequence::ZERO,
                registered: self.height,
                terms: terms.clone(),
            },
        ));
        Ok(())
    }

    fn update(
        &mut self,
        signers: &BTreeSet<PublicKey>,
        id: NodeId,
        revision: Revision,
        key: PublicKey,
        terms: &Terms,
    ) -> Result<(), TransactionError> {
        let node = records::node(&self.records, id).ok_or(TransactionError::NoNode(id))?;
        signed_by(signers, &[node.key, key])?;
        let expected = node.revision.next();
        if revision != expected {
            return Err(TransactionError::Revision {
                expected,
                found: revision,
            });
        }
        let (node, before) = (node.clone(), node.key);
        if key != before {
            self.take_key(id, key)?;
            let ended = records::node_key(&self.records, before)
                .map(|of| NodeKey {
                    until: Some(self.height),
                    ..*of
                })
                .expect("a node's key is put down when it becomes one");
            self.records.insert(Record::NodeKey(before, ended));
        }
        self.records.insert(Record::Node(
            id,
            Node {
                key,
                revision,
                terms: terms.clone(),
                ..node
            },
        ));
        Ok(())
    }

    fn settle(
        &mut self,
        signers: &BTreeSet<PublicKey>,
        id: NodeId,
        first: Sequence,
        in_full: bool,
        receipts: &[Digest],
    ) -> Result<(), TransactionError> {
        let node = records::node(&self.records, id).ok_or(TransactionError::NoNode(id))?;
        signed_by(signers, &[node.key])?;
        let count = receipts.len() as u64;
        let sequence = |offset: u64| first.get().checked_add(offset).map(Sequence::new);
        let last = sequence(count - 1).unwrap_or(Sequence::new(u64::MAX));
        if first != node.settled {
            return Err(TransactionError::Sequence {
                expected: node.settled,
                first,
                last,
            });
        }
        if !node.terms.roles.any() {
            return Err(TransactionError::Retired);
        }
        if self.entries.len() + receipts.len() > self.block_receipts {
            return Err(TransactionError::BlockFull);
        }
        let settled =
            sequence(count).expect("a node settles fewer than 2^64 receipts, one after the other");
        let node = Node {
            settled,
            ..node.clone()
        };
        let places = (first.get()..).map(Sequence::new);
        self.entries.extend(
            receipts
                .iter()
                .zip(places)
                .map(|(receipt, sequence)| Entry {
                    in_full,
                    node: id,
                    sequence,
                    receipt: *receipt,
                }),
        );
        self.records.insert(Record::Node(id, node));
        Ok(())
    }

    fn decide(
        &mut self,
        signers: &BTreeSet<PublicKey>,
        decision: Decision,
        change: &Change,
    ) -> Result<(), TransactionError> {
        // Whoever is a validator by a change in this block has no say before the next.
        if self.validators_changed {
            return Err(TransactionError::SecondChange);
        }
        let (epoch, validators) = records::validators(&self.records);
        signed_by_quorum(signers.iter(), validators)?;
        let expected = records::decision(&self.records);
        if decision != expected {
            return Err(TransactionError::Decision {
                expected,
                found: decision,
            });
        }
        let record = match change {
            Change::Validators(next) if next == validators => {
                return Err(TransactionError::NoChange);
            }
            // Proofs of the epoch that would begin lead over all that have ended.
            Change::Validators(_) if epoch.get() >= MAX_EPOCHS as u64 => {
                return Err(TransactionError::LastEpoch);
            }
            Change::Validators(next) => {
                self.validators_changed = true;
                Record::Validators(epoch.next(), next.clone())
            }
            Change::Parameters(next) if *next == records::parameters(&self.records) => {
                return Err(TransactionError::NoChange);
            }
            Change::Parameters(next) => Record::Parameters(*next),
        };
        self.records.insert(record);
        self.records.insert(Record::Decisions(decision.next()));
        Ok(())
    }

    /// The account after it spent an amount by its next transaction.
    fn spend(
        &self,
        id: AccountId,
        nonce: AccountNonce,
        amount: Credits,
    ) -> Result<Account, TransactionError> {
        let account = records::account(&self.records, id);
        if nonce != account.nonce {
            return Err(TransactionError::Nonce {
                expected: account.nonce,
                found: nonce,
            });
        }
        if amount == Credits::ZERO {
            return Err(TransactionError::Nothing);
        }
        let balance = account
            .balance
            .minus(amount)
            .ok_or(TransactionError::NotEnough {
                balance: account.balance,
                needed: amount,
            })?;
        Ok(Account {
            balance,
            nonce: nonce.next(),
            ..account
        })
    }

    /// Makes a key a node's, from this block on.
    fn take_key(&mut self, node: NodeId, key: PublicKey) -> Result<(), TransactionError> {
        if records::node_key(&self.records, key).is_some() {
            return Err(TransactionError::KeyTaken(key));
        }
        self.records.insert(Record::NodeKey(
            key,
            NodeKey {
                node,
                from: self.height,
                until: None,
            },
        ));
        Ok(())
    }

    fn set_account(&mut self, id: AccountId, account: Account) {
        self.records.insert(Record::Account(id, account));
    }

    fn credit(&mut self, id: AccountId, amount: Credits) {
        let account = records::account(&self.records, id);
        let balance = account
            .balance
            .plus(amount)
            .expect("genesis has fewer credits than an amount can hold, and none are made");
        self.set_account(id, Account { balance, ..account });
    }

    /// Ends a hold. What is left goes back to the payer.
    fn end(&mut self, id: HoldId, hold: &Hold) {
        self.credit(hold.payer, hold.left());
        self.records.remove(&Subject::Hold(id).key());
    }
}

/// Whether exactly these keys signed.
fn signed_by(signers: &BTreeSet<PublicKey>, keys: &[PublicKey]) -> Result<(), TransactionError> {
    if let Some(missing) = keys.iter().find(|key| !signers.contains(key)) {
        return Err(TransactionError::NotSigned(*missing));
    }
    match signers.iter().find(|key| !keys.contains(key)) {
        Some(other) => Err(TransactionError::NoSay(*other)),
        None => Ok(()),
    }
}

/// Whether only validators signed, and enough of them.
fn signed_by_quorum<'a>(
    signers: impl Iterator<Item = &'a PublicKey>,
    validators: &ValidatorSet,
) -> Result<(), TransactionError> {
    let mut found = 0;
    for key in signers {
        if validators.index_of(key).is_none() {
            return Err(TransactionError::NoSay(*key));
        }
        found += 1;
    }
    let needed = validators.quorum();
    if found < needed {
        return Err(TransactionError::NoQuorum { found, needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tally_receipt::{SigningKey, Timestamp};

    use super::*;
    use crate::genesis::Genesis;
    use crate::id::Epoch;
    use crate::params::Parameters;
    use crate::validators::{Name, Validator};

    fn key(number: u8) -> SigningKey {
        SigningKey::from_seed(&[number; 32])
    }

    fn validator(number: u8) -> Validator {
        Validator {
            vote_key: key(number).public_key(),
            checkpoint_key: key(number + 100).public_key(),
            name: Name::new(&format!("v{number}")).unwrap(),
        }
    }

    fn set(numbers: &[u8]) -> ValidatorSet {
        ValidatorSet::new(numbers.iter().map(|one| validator(*one)).collect()).unwrap()
    }

    /// What becomes of a decision that the only validator makes in an epoch.
    fn decided(epoch: usize, change: Change) -> Result<(), TransactionError> {
        let genesis = Genesis {
            name: Name::new("test").unwrap(),
            time: Timestamp::from_unix_ms(0).unwrap(),
            parameters: Parameters::default(),
            validators: set(&[1]),
            addresses: vec![Vec::new()],
            accounts: Vec::new(),
            faucet: None,
        };
        let request = Request::Decide {
            decision: Decision::ZERO,
            change,
        };
        let signed = request.sign(genesis.chain(), &[&key(1)]).unwrap();
        let mut draft = Draft::on(&genesis.state());
        draft
            .records
            .insert(Record::Validators(Epoch::new(epoch as u64), set(&[1])));
        draft.apply(&Checked::known_to_be_good(signed, genesis.chain()))
    }

    #[test]
    fn validators_change_as_often_as_a_proof_can_lead_over_and_parameters_after_that() {
        let others = || Change::Validators(set(&[2]));
        assert_eq!(decided(MAX_EPOCHS - 1, others()), Ok(()));
        let refused = decided(MAX_EPOCHS, others()).unwrap_err();
        assert_eq!(refused, TransactionError::LastEpoch);
        assert!(!refused.may_become_good());
        let parameters = Parameters {
            block_receipts: Parameters::default().block_receipts + 1,
            ..Parameters::default()
        };
        assert_eq!(decided(MAX_EPOCHS, Change::Parameters(parameters)), Ok(()));
    }
}

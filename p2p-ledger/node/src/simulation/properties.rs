//! What must hold of what honest nodes have, whatever went wrong. Pure: each check is given what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use commonware_cryptography::ed25519::PublicKey;
use tally_ledger::{
    AccountId, Block, BlockDigest, BlockError, Checked, Credits, Entry, Genesis, NodeId, Request,
    State, ValidatorSet, policy_of,
};
use tally_log::{Hash, HashTree, KeyName, Policy, SignedCheckpoint, root_of};
use tally_receipt::Digest;

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error("at height {height}, node {one} has another final block than node {other}")]
    TwoBlocks {
        height: u64,
        one: usize,
        other: usize,
    },
    #[error("block {block} was final at height {height} on node {node}, and is not any more")]
    Undone {
        node: usize,
        height: u64,
        block: BlockDigest,
    },
    #[error("a transaction in the final block {height} is not signed as it says")]
    NotSigned { height: u64 },
    #[error("the final block {height} does not follow on the one before it: {reason}")]
    DoesNotFollow { height: u64, reason: BlockError },
    #[error("there are {found} credits after block {height}, and genesis made {made}")]
    Supply {
        height: u64,
        made: Credits,
        found: Credits,
    },
    #[error("{account} has {found} credits after block {height}; what was moved leaves {left}")]
    Balance {
        height: u64,
        account: AccountId,
        left: u64,
        found: u64,
    },
    #[error("nodes {one} and {other} had checkpoints of {size} entries with different roots")]
    TwoRoots { size: u64, one: usize, other: usize },
    #[error("a checkpoint that node {node} had is not of the log's first {size} entries")]
    Rewritten { node: usize, size: u64 },
    #[error("a checkpoint that node {node} had is of {size} entries, of which {known} are there")]
    Cut { node: usize, size: u64, known: u64 },
    #[error(
        "no validators' quorum has cosigned the checkpoint of {size} entries of node {node}, or none of them has signed it as the log"
    )]
    NotCosigned { node: usize, size: u64 },
    #[error("receipt {number} of {node} was acknowledged, and the log has something else there")]
    NotIncluded { node: NodeId, number: usize },
    #[error("{expected} payments were acknowledged, and {found} are done")]
    NotPaid { expected: u64, found: u64 },
    #[error("{0} is honest, and is convicted")]
    Framed(Box<PublicKey>),
}

/// A checkpoint that a node had as cosigned.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) node: usize,
    pub(super) checkpoint: SignedCheckpoint,
}

/// What honest nodes had as final at one time or another.
pub(super) struct Witnessed {
    pub(super) begun: SystemTime,
    /// Who was first seen with which block at which height.
    blocks: BTreeMap<(u64, BlockDigest), usize>,
    /// One of each size and root.
    checkpoints: Vec<Seen>,
}

impl Witnessed {
    pub(super) fn new(begun: SystemTime) -> Self {
        Self {
            begun,
            blocks: BTreeMap::new(),
            checkpoints: Vec::new(),
        }
    }

    pub(super) fn block(&mut self, node: usize, height: u64, block: BlockDigest) {
        self.blocks.entry((height, block)).or_insert(node);
    }

    pub(super) fn checkpoint(&mut self, node: usize, checkpoint: SignedCheckpoint) {
        let is_known = |one: &Seen| one.checkpoint.checkpoint() == checkpoint.checkpoint();
        if !self.checkpoints.iter().any(is_known) {
            self.checkpoints.push(Seen { node, checkpoint });
        }
    }

    pub(super) fn checkpoints(&self) -> &[Seen] {
        &self.checkpoints
    }

    /// The height of the highest final block that anybody had.
    pub(super) fn height(&self) -> u64 {
        let last = self.blocks.last_key_value();
        last.map_or(0, |((height, _), _)| *height)
    }

    /// Whatever was final at some time is in the chain.
    pub(super) fn stays_final(&self, chain: &[Block]) -> Result<(), Violation> {
        let digests: Vec<BlockDigest> = chain.iter().map(Block::digest).collect();
        for (&(height, block), &node) in &self.blocks {
            // Genesis is no block that anybody agreed on.
            let Some(before) = height.checked_sub(1) else {
                continue;
            };
            let now = usize::try_from(before).ok().and_then(|at| digests.get(at));
            if now != Some(&block) {
                return Err(Violation::Undone {
                    node,
                    height,
                    block,
                });
            }
        }
        Ok(())
    }
}

/// One block per height, and one history: every node's chain is the beginning of the longest, which is the answer.
pub(super) fn one_history(chains: &[(usize, Vec<Block>)]) -> Result<&[Block], Violation> {
    let (other, longest) = chains
        .iter()
        .max_by_key(|(_, chain)| chain.len())
        .expect("somebody runs");
    for (one, chain) in chains {
        for (block, expected) in chain.iter().zip(longest) {
            if block != expected {
                return Err(Violation::TwoBlocks {
                    height: block.header.height.get(),
                    one: *one,
                    other: *other,
                });
            }
        }
    }
    Ok(longest.as_slice())
}

/// Who has how many credits, by nothing but genesis and what was moved.
struct Books {
    made: Credits,
    accounts: BTreeMap<AccountId, u64>,
}

impl Books {
    fn new(genesis: &Genesis) -> Self {
        let accounts = genesis.accounts.iter();
        Self {
            made: genesis.state().supply(),
            accounts: accounts
                .map(|one| (one.account, one.credits.get()))
                .collect(),
        }
    }

    fn enter(&mut self, request: &Request) {
        if let Request::Transfer {
            from, to, amount, ..
        } = request
        {
            *self.accounts.entry(*from).or_default() -= amount.get();
            *self.accounts.entry(*to).or_default() += amount.get();
        }
    }

    /// Credits are conserved, and where they should be.
    fn agree_with(&self, state: &State) -> Result<(), Violation> {
        let height = state.head().height.get();
        let found = state.supply();
        if found != self.made {
            return Err(Violation::Supply {
                height,
                made: self.made,
                found,
            });
        }
        for (&account, &left) in &self.accounts {
            let found = state.account(account).balance.get();
            if found != left {
                return Err(Violation::Balance {
                    height,
                    account,
                    left,
                    found,
                });
            }
        }
        Ok(())
    }
}

/// What follows from a chain by the ledger's own rules.
pub(super) struct Replayed {
    pub(super) state: State,
    /// The log.
    pub(super) entries: Vec<Entry>,
    /// Everybody who validated at one time or another.
    pub(super) validators: Vec<ValidatorSet>,
}

/// Does what a chain says, block after block, and checks the books after each.
pub(super) fn replay(genesis: &Genesis, chain: &[Block]) -> Result<Replayed, Violation> {
    let name = genesis.chain();
    let mut books = Books::new(genesis);
    let mut replayed = Replayed {
        state: genesis.state(),
        entries: Vec::new(),
        validators: vec![genesis.validators.clone()],
    };
    for block in chain {
        let height = block.header.height.get();
        let checked = Checked::check_many(block.transactions.clone(), name)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Violation::NotSigned { height })?;
        let executed = replayed
            .state
            .execute(&block.header, &checked)
            .map_err(|reason| Violation::DoesNotFollow { height, reason })?;
        replayed.state = executed.state;
        let entries = executed.settled.iter().map(|one| one.entry);
        replayed.entries.extend(entries);
        for transaction in &block.transactions {
            books.enter(transaction.request());
        }
        books.agree_with(&replayed.state)?;
        let next = replayed.state.next_validators();
        if replayed.validators.last() != Some(next) {
            replayed.validators.push(next.clone());
        }
    }
    Ok(replayed)
}

/// The log is append-only between any two checkpoints that anybody had: each is of its first entries, so two of one size have
/// one root.
pub(super) fn append_only(entries: &[Entry], seen: &[Seen]) -> Result<(), Violation> {
    let mut roots: BTreeMap<u64, (usize, Hash)> = BTreeMap::new();
    for one in seen {
        let checkpoint = one.checkpoint.checkpoint();
        let (other, root) = *roots
            .entry(checkpoint.size)
            .or_insert((one.node, checkpoint.root));
        if root != checkpoint.root {
            return Err(Violation::TwoRoots {
                size: checkpoint.size,
                one: one.node,
                other,
            });
        }
    }
    let mut tree = HashTree::new();
    for entry in entries {
        tree.append(entry.leaf_hash());
    }
    for (size, (node, root)) in roots {
        let known = tree.size();
        if size > known {
            return Err(Violation::Cut { node, size, known });
        }
        if root_of(&tree, size) != Ok(root) {
            return Err(Violation::Rewritten { node, size });
        }
    }
    Ok(())
}

/// Each checkpoint was cosigned by a quorum of those who validated at one time, one of them signed it as the log, and no signature on
/// it is false.
pub(super) fn cosigned(
    origin: &KeyName,
    validators: &[ValidatorSet],
    seen: &[Seen],
) -> Result<(), Violation> {
    let policies: Vec<Policy> = validators
        .iter()
        .map(|set| policy_of(origin, set))
        .collect();
    for one in seen {
        let is_cosigned = policies
            .iter()
            .any(|policy| policy.judge(&one.checkpoint).is_valid());
        if !is_cosigned {
            return Err(Violation::NotCosigned {
                node: one.node,
                size: one.checkpoint.checkpoint().size,
            });
        }
    }
    Ok(())
}

/// What a runner was told that it would be settled is in the log, in its order.
pub(super) fn included(
    entries: &[Entry],
    node: NodeId,
    acknowledged: &[Digest],
) -> Result<(), Violation> {
    let mut logged = entries.iter().filter(|entry| entry.node == node);
    for (number, receipt) in acknowledged.iter().enumerate() {
        if logged.next().map(|entry| entry.receipt) != Some(*receipt) {
            return Err(Violation::NotIncluded { node, number });
        }
    }
    Ok(())
}

/// As many payments of an account are done as were acknowledged, or more.
pub(super) fn paid(state: &State, account: AccountId, expected: u64) -> Result<(), Violation> {
    let found = state.account(account).nonce.get();
    if found < expected {
        return Err(Violation::NotPaid { expected, found });
    }
    Ok(())
}

/// Nobody is convicted who did not lie.
pub(super) fn only_liars(
    convicted: &BTreeSet<PublicKey>,
    liars: &BTreeSet<PublicKey>,
) -> Result<(), Violation> {
    match convicted.difference(liars).next() {
        Some(honest) => Err(Violation::Framed(Box::new(honest.clone()))),
        None => Ok(()),
    }
}

/// Each check can fail.
mod tests {
    use std::time::UNIX_EPOCH;

    use tally_ledger::{
        AccountNonce, Height, Roles, Sequence, Settlement, Terms, Transaction, cosigner_name,
    };
    use tally_log::{Checkpoint, UnixSeconds, leaf_hash};
    use tally_receipt::{SigningKey, Timestamp};

    use super::super::network::{checkpoint_key, genesis, signed, treasury, vote_seeds};
    use super::*;

    fn four() -> Genesis {
        genesis(&vote_seeds(4))
    }

    fn runner() -> SigningKey {
        SigningKey::from_seed(&[50; 32])
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(ms).unwrap()
    }

    fn receipts() -> Vec<Digest> {
        vec![Digest::of(b"one"), Digest::of(b"two")]
    }

    fn transfer(nonce: u64, amount: u64) -> Request {
        Request::Transfer {
            from: AccountId::new(treasury().public_key()),
            nonce: AccountNonce::new(nonce),
            to: AccountId::new(runner().public_key()),
            amount: Credits::new(amount),
        }
    }

    /// The block of these requests on a state, and the state after it.
    fn next(state: &State, ms: u64, requests: Vec<(Request, SigningKey)>) -> (Block, State) {
        let offered: Vec<Checked> = requests
            .into_iter()
            .map(|(request, key)| {
                Checked::check(signed(state.chain(), request, &key), state.chain()).unwrap()
            })
            .collect();
        let count = offered.len();
        let proposed = state.propose(at(ms), offered);
        assert_eq!(proposed.transactions.len(), count);
        (proposed.block(), proposed.executed.state)
    }

    /// A payment, a registration, and two receipts.
    fn chain(genesis: &Genesis) -> Vec<Block> {
        let state = genesis.state();
        let (one, state) = next(&state, 10, vec![(transfer(0, 5), treasury())]);
        let register = Request::Register {
            owner: AccountId::new(runner().public_key()),
            node: NodeId::new(runner().public_key()),
            terms: Terms {
                roles: Roles::INFERENCE,
                evidence: None,
                endpoint: None,
                price: Credits::ZERO,
            },
        };
        let (two, state) = next(&state, 20, vec![(register, runner())]);
        let settle = Request::Settle {
            node: NodeId::new(runner().public_key()),
            first: Sequence::new(0),
            receipts: Settlement::Hashes(receipts()),
        };
        let (three, _) = next(&state, 30, vec![(settle, runner())]);
        vec![one, two, three]
    }

    /// A checkpoint that some of four validators have cosigned, and the first has signed as the log.
    fn checkpoint(genesis: &Genesis, size: u64, root: Hash, by: usize) -> Seen {
        let origin = genesis.log_origin();
        let checkpoint = Checkpoint {
            origin: origin.clone(),
            size,
            root,
        };
        let mut signed = checkpoint.unsigned();
        let validators = genesis.validators.as_slice().iter();
        for (validator, seed) in validators.zip(vote_seeds(4)).take(by) {
            let name = cosigner_name(&origin, &validator.name);
            signed.cosign(&name, &checkpoint_key(&seed), UnixSeconds(7));
        }
        signed.sign(&checkpoint_key(&vote_seeds(4)[0]));
        Seen {
            node: 2,
            checkpoint: signed,
        }
    }

    #[test]
    fn what_holds_violates_nothing() {
        let genesis = four();
        let chain = chain(&genesis);
        let chains = [(0, chain.clone()), (1, chain[..1].to_vec())];
        assert_eq!(one_history(&chains), Ok(&chain[..]));
        let mut witnessed = Witnessed::new(UNIX_EPOCH);
        witnessed.block(3, 0, genesis.state().head_digest());
        witnessed.block(3, 2, chain[1].digest());
        assert_eq!(witnessed.height(), 2);
        assert_eq!(witnessed.stays_final(&chain), Ok(()));
        let replayed = replay(&genesis, &chain).unwrap();
        assert_eq!(replayed.state.head().height, Height::new(3));
        assert_eq!(replayed.entries.len(), 2);
        let node = NodeId::new(runner().public_key());
        assert_eq!(included(&replayed.entries, node, &receipts()), Ok(()));
        let payer = AccountId::new(treasury().public_key());
        assert_eq!(paid(&replayed.state, payer, 1), Ok(()));
        let first = replayed.entries[0].leaf_hash();
        let seen = [
            checkpoint(&genesis, 1, first, 3),
            checkpoint(&genesis, 2, replayed.state.head().log_root, 4),
        ];
        assert_eq!(append_only(&replayed.entries, &seen), Ok(()));
        let origin = genesis.log_origin();
        assert_eq!(cosigned(&origin, &replayed.validators, &seen), Ok(()));
    }

    #[test]
    fn two_blocks_of_one_height_are_seen() {
        let genesis = four();
        let chain = chain(&genesis);
        let (another, _) = next(&genesis.state(), 11, vec![(transfer(0, 6), treasury())]);
        let violation = one_history(&[(4, vec![another]), (5, chain)]).unwrap_err();
        let expected = Violation::TwoBlocks {
            height: 1,
            one: 4,
            other: 5,
        };
        assert_eq!(violation, expected);
    }

    #[test]
    fn a_final_block_that_is_undone_or_gone_is_seen() {
        let genesis = four();
        let chain = chain(&genesis);
        let mut witnessed = Witnessed::new(UNIX_EPOCH);
        witnessed.block(3, 3, chain[2].digest());
        assert_eq!(witnessed.stays_final(&chain), Ok(()));
        assert!(matches!(
            witnessed.stays_final(&chain[..2]),
            Err(Violation::Undone {
                node: 3,
                height: 3,
                ..
            })
        ));
        witnessed.block(1, 2, chain[0].digest());
        assert!(matches!(
            witnessed.stays_final(&chain),
            Err(Violation::Undone {
                node: 1,
                height: 2,
                ..
            })
        ));
    }

    #[test]
    fn a_chain_that_breaks_the_rules_is_seen() {
        let genesis = four();
        let mut chain = chain(&genesis);
        assert!(matches!(
            replay(&genesis, &chain[1..]),
            Err(Violation::DoesNotFollow { height: 2, .. })
        ));
        let other = treasury().sign(b"something else");
        let forged = Transaction::new(transfer(1, 9), vec![(treasury().public_key(), other)]);
        chain[2].transactions.push(forged.unwrap());
        assert!(matches!(
            replay(&genesis, &chain),
            Err(Violation::NotSigned { height: 3 })
        ));
    }

    #[test]
    fn credits_that_are_made_lost_or_elsewhere_are_seen() {
        let genesis = four();
        let mut books = Books::new(&genesis);
        books.enter(&transfer(0, 5));
        let (_, state) = next(&genesis.state(), 10, vec![(transfer(0, 5), treasury())]);
        assert_eq!(books.agree_with(&state), Ok(()));
        let (_, state) = next(&genesis.state(), 10, vec![(transfer(0, 6), treasury())]);
        assert!(matches!(
            books.agree_with(&state),
            Err(Violation::Balance { height: 1, .. })
        ));
        let mut richer = genesis;
        richer.accounts[0].credits = Credits::new(1_000_001);
        assert!(matches!(
            books.agree_with(&richer.state()),
            Err(Violation::Supply { height: 0, .. })
        ));
    }

    #[test]
    fn a_log_that_was_rewritten_or_cut_is_seen() {
        let genesis = four();
        let entries = replay(&genesis, &chain(&genesis)).unwrap().entries;
        let (first, false_root) = (entries[0].leaf_hash(), leaf_hash(b"another"));
        let seen = [checkpoint(&genesis, 1, false_root, 3)];
        assert_eq!(
            append_only(&entries, &seen),
            Err(Violation::Rewritten { node: 2, size: 1 })
        );
        let seen = [
            checkpoint(&genesis, 1, first, 3),
            checkpoint(&genesis, 1, false_root, 3),
        ];
        assert!(matches!(
            append_only(&entries, &seen),
            Err(Violation::TwoRoots { size: 1, .. })
        ));
        let seen = [checkpoint(&genesis, 3, first, 3)];
        let cut = Violation::Cut {
            node: 2,
            size: 3,
            known: 2,
        };
        assert_eq!(append_only(&entries, &seen), Err(cut));
    }

    #[test]
    fn a_checkpoint_without_a_quorum_or_the_logs_signature_is_seen() {
        let genesis = four();
        let seen = [checkpoint(&genesis, 1, leaf_hash(b"one"), 2)];
        let validators = [genesis.validators.clone()];
        assert_eq!(
            cosigned(&genesis.log_origin(), &validators, &seen),
            Err(Violation::NotCosigned { node: 2, size: 1 })
        );
        let mut unsigned = checkpoint(&genesis, 1, leaf_hash(b"one"), 4);
        let origin = genesis.log_origin();
        unsigned.checkpoint.retain(|one| *one.name() != origin);
        assert_eq!(
            cosigned(&origin, &validators, &[unsigned]),
            Err(Violation::NotCosigned { node: 2, size: 1 })
        );
    }

    #[test]
    fn a_receipt_and_a_payment_that_are_nowhere_are_seen() {
        let genesis = four();
        let replayed = replay(&genesis, &chain(&genesis)).unwrap();
        let node = NodeId::new(runner().public_key());
        let mut acknowledged = receipts();
        acknowledged.push(Digest::of(b"three"));
        assert_eq!(
            included(&replayed.entries, node, &acknowledged),
            Err(Violation::NotIncluded { node, number: 2 })
        );
        let payer = AccountId::new(treasury().public_key());
        assert_eq!(
            paid(&replayed.state, payer, 2),
            Err(Violation::NotPaid {
                expected: 2,
                found: 1
            })
        );
    }

    #[test]
    fn an_honest_validator_that_is_convicted_is_seen() {
        let keys: Vec<PublicKey> = four()
            .validators
            .as_slice()
            .iter()
            .map(|one| crate::simplex::key(&one.vote_key))
            .collect();
        let liars = BTreeSet::from([keys[3].clone()]);
        assert_eq!(only_liars(&liars, &liars), Ok(()));
        let convicted = BTreeSet::from([keys[1].clone(), keys[3].clone()]);
        assert_eq!(
            only_liars(&convicted, &liars),
            Err(Violation::Framed(Box::new(keys[1].clone())))
        );
    }
}

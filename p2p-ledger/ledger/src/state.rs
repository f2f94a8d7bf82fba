//! What the ledger knows after a block, and how a block changes it.
//!
//! A state is the log's frontier and a map of records. The header of a block commits to both. A copy costs nothing, so a
//! validator keeps one for every block that is not final yet.
//!
//! * `state/records.rs`: what there is.
//! * `state/rules.rs`: what each transaction does, and why it is refused.
//! * `state/snapshot.rs`: a state as bytes.

mod records;
mod rules;
mod snapshot;

pub use records::{
    Account, Decided, Entry, FaucetPool, Hold, Node, NodeKey, NotShown, Said, Subject,
};
pub use rules::TransactionError;
pub use snapshot::SnapshotError;

use tally_log::Frontier;
use tally_receipt::{PublicKey, Timestamp};

use crate::block::{Block, Header};
use crate::genesis::Genesis;
use crate::id::{
    AccountId, BlockDigest, ChainId, Credits, Decision, Epoch, HoldId, NodeId, StateRoot,
};
use crate::map::{Map, MapProof};
use crate::params::Parameters;
use crate::transaction::{Checked, Transaction};
use crate::validators::ValidatorSet;
use records::Record;
use rules::Draft;

/// What the ledger knows after a block.
#[derive(Clone, Debug)]
pub struct State {
    chain: ChainId,
    head: Header,
    head_digest: BlockDigest,
    log: Frontier,
    records: Map<Record>,
}

/// What a block did.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The state after it.
    pub state: State,
    /// The receipts it logged, in the log's order.
    pub settled: Vec<Settled>,
}

/// A receipt in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its place in the log, from 0.
    pub index: u64,
    /// What stands there.
    pub entry: Entry,
}

/// A block that was made, and what became of the transactions offered for it.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// What validators vote on.
    pub header: Header,
    /// What it does, in order.
    pub transactions: Vec<Checked>,
    /// What it did.
    pub executed: Executed,
    /// What cannot be done now. [`TransactionError::may_become_good`] says whether it is worth keeping.
    pub refused: Vec<Refusal>,
    /// What did not fit any more.
    pub left: Vec<Checked>,
}

impl Proposed {
    /// The block.
    pub fn block(&self) -> Block {
        Block {
            header: self.header.clone(),
            transactions: self
                .transactions
                .iter()
                .map(|checked| checked.transaction().clone())
                .collect(),
        }
    }
}

/// A transaction that cannot be done, and why.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Which one.
    pub transaction: Checked,
    /// Why not.
    pub reason: TransactionError,
}

/// Why a block cannot follow on a state. All but [`NotOnHead`](Self::NotOnHead) are the proposer's fault, whoever
/// looks at them and whenever.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// It follows on another block.
    #[error("the block follows on {found}, not on {expected}")]
    NotOnHead {
        /// The block this state is of.
        expected: BlockDigest,
        /// The block's parent.
        found: BlockDigest,
    },
    /// Something in its header is not what follows from its transactions.
    #[error("the header's {part} is not what follows from the block")]
    Header {
        /// What.
        part: &'static str,
    },
    /// It is not later than its parent.
    #[error("the block's time {found} is not after its parent's, {parent}")]
    Time {
        /// The parent's.
        parent: Timestamp,
        /// The block's.
        found: Timestamp,
    },
    /// It is larger than the parameters allow.
    #[error("the block has {found} bytes, more than {limit}")]
    TooLarge {
        /// Bytes of its body.
        found: usize,
        /// As many as there may be.
        limit: u32,
    },
    /// A transaction cannot be done.
    #[error("transaction {index} cannot be done: {reason}")]
    Transaction {
        /// Which one, from 0.
        index: usize,
        /// Why not.
        reason: TransactionError,
    },
}

impl State {
    pub(crate) fn begin(genesis: &Genesis) -> Self {
        let records = records::begin(genesis);
        let head = genesis.header(records.root());
        Self {
            chain: genesis.chain(),
            head_digest: head.digest(),
            head,
            log: Frontier::new(),
            records,
        }
    }

    /// The chain's name.
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// The header of the block that led here.
    pub const fn head(&self) -> &Header {
        &self.head
    }

    /// The digest of the block that led here.
    pub const fn head_digest(&self) -> BlockDigest {
        self.head_digest
    }

    /// The log of receipts.
    pub const fn log(&self) -> &Frontier {
        &self.log
    }

    /// The root of what is known.
    pub const fn root(&self) -> StateRoot {
        self.head.state_root
    }

    /// The epoch of the next block.
    pub fn next_epoch(&self) -> Epoch {
        records::validators(&self.records).0
    }

    /// Who votes on the next block.
    pub fn next_validators(&self) -> &ValidatorSet {
        records::validators(&self.records).1
    }

    /// Limits and admission for the next block.
    pub fn parameters(&self) -> Parameters {
        records::parameters(&self.records)
    }

    /// The number of the validators' next decision.
    pub fn next_decision(&self) -> Decision {
        records::decision(&self.records)
    }

    /// What is in an account. An account that nobody ever used has nothing.
    pub fn account(&self, id: AccountId) -> Account {
        records::account(&self.records, id)
    }

    /// A registered node.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        records::node(&self.records, id)
    }

    /// Whose key a key is or was, and from when to when.
    pub fn node_key(&self, key: PublicKey) -> Option<&NodeKey> {
        records::node_key(&self.records, key)
    }

    /// What a payer set aside.
    pub fn hold(&self, id: HoldId) -> Option<&Hold> {
        records::hold(&self.records, id)
    }

    /// What is left for whoever asks.
    pub fn faucet(&self) -> Option<FaucetPool> {
        records::faucet(&self.records)
    }

    /// Every registered node, in no order that means anything.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.records.iter().filter_map(|record| match record {
            Record::Node(id, node) => Some((*id, node)),
            _ => None,
        })
    }

    /// How many records there are.
    pub const fn records(&self) -> usize {
        self.records.len()
    }

    /// All credits: in accounts, set aside, and in the faucet. The same after every block.
    pub fn supply(&self) -> Credits {
        self.records
            .iter()
            .map(Record::credits)
            .try_fold(Credits::ZERO, Credits::plus)
            .expect("genesis has fewer credits than an amount can hold, and none are made")
    }

    /// What the state says of something, in the bytes of `state/records.rs`.
    pub fn record(&self, subject: Subject) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.records.get(&subject.key())?.write(&mut bytes);
        Some(bytes)
    }

    /// What shows, to whoever has the header, what the state says of something. [`Subject::shown`] and
    /// [`Subject::said`] check it.
    pub fn prove(&self, subject: Subject) -> MapProof {
        self.records.prove(&subject.key())
    }

    /// Does what a block says.
    ///
    /// `transactions` are the block's, checked: whether it is these is part of what the header says.
    ///
    /// # Errors
    /// [`BlockError`]. The state is as it was.
    pub fn execute(
        &self,
        header: &Header,
        transactions: &[Checked],
    ) -> Result<Executed, BlockError> {
        if header.parent != self.head_digest {
            return Err(BlockError::NotOnHead {
                expected: self.head_digest,
                found: header.parent,
            });
        }
        if header.time <= self.head.time {
            return Err(BlockError::Time {
                parent: self.head.time,
                found: header.time,
            });
        }
        let found = Block::body_bytes(transactions.iter().map(Checked::transaction));
        let limit = self.parameters().block_bytes;
        if found > limit as usize {
            return Err(BlockError::TooLarge { found, limit });
        }
        let mut draft = Draft::on(self);
        for (index, transaction) in transactions.iter().enumerate() {
            draft
                .apply(transaction)
                .map_err(|reason| BlockError::Transaction { index, reason })?;
        }
        let executed = self.finish(draft, header.time, transactions);
        let expected = &executed.state.head;
        for (part, same) in [
            ("height", expected.height == header.height),
            ("epoch", expected.epoch == header.epoch),
            ("body", expected.body == header.body),
            ("log size", expected.log_size == header.log_size),
            ("log root", expected.log_root == header.log_root),
            ("state root", expected.state_root == header.state_root),
            (
                "next validators",
                expected.next_validators == header.next_validators,
            ),
        ] {
            if !same {
                return Err(BlockError::Header { part });
            }
        }
        Ok(executed)
    }

    /// Makes a block of as many of the transactions offered as can be done and fit, in the order given. Its time is
    /// `now`, or one millisecond after its parent's when that is later.
    pub fn propose(&self, now: Timestamp, offered: impl IntoIterator<Item = Checked>) -> Proposed {
        let limit = self.parameters().block_bytes as usize;
        let mut draft = Draft::on(self);
        let mut bytes = Block::body_bytes(std::iter::empty::<&Transaction>());
        let (mut transactions, mut refused, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for transaction in offered {
            let more = Block::body_bytes([transaction.transaction()]) - 4;
            if bytes + more > limit {
                left.push(transaction);
                continue;
            }
            match draft.apply(&transaction) {
                Ok(()) => {
                    bytes += more;
                    transactions.push(transaction);
                }
                Err(TransactionError::BlockFull) => left.push(transaction),
                Err(reason) => refused.push(Refusal {
                    transaction,
                    reason,
                }),
            }
        }
        let time = now.max(self.head.time.plus_ms(1));
        let executed = self.finish(draft, time, &transactions);
        Proposed {
            header: executed.state.head.clone(),
            transactions,
            executed,
            refused,
            left,
        }
    }

    /// Whether a transaction could be done next, alone.
    ///
    /// # Errors
    /// [`TransactionError`].
    pub fn would_accept(&self, transaction: &Checked) -> Result<(), TransactionError> {
        Draft::on(self).apply(transaction)
    }

    fn finish(&self, draft: Draft, time: Timestamp, transactions: &[Checked]) -> Executed {
        let Draft {
            records, entries, ..
        } = draft;
        let mut log = self.log.clone();
        let first = log.size();
        log.extend(entries.iter().map(Entry::leaf_hash));
        let settled = entries
            .into_iter()
            .zip(first..)
            .map(|(entry, index)| Settled { index, entry })
            .collect();
        let head = Header {
            height: self.head.height.next(),
            epoch: self.next_epoch(),
            parent: self.head_digest,
            body: Block::digest_of(transactions.iter().map(Checked::transaction)),
            log_size: log.size(),
            log_root: log.root(),
            state_root: records.root(),
            time,
            next_validators: records::validators(&records).1.digest(),
        };
        Executed {
            state: Self {
                chain: self.chain,
                head_digest: head.digest(),
                head,
                log,
                records,
            },
            settled,
        }
    }
}

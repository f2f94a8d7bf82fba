//! What a state knows, record by record.
//!
//! ```text
//! record: tag u8 || fields
//!     0 parameters   parameters
//!     1 validators   epoch u64 || validators                           of the next block
//!     2 decisions    how many u64
//!     3 faucet       left u64 || each u64
//!     4 account      key 32 || balance u64 || nonce u64 || claimed u8
//!     5 node         node 32 || owner 32 || key 32 || revision u64 || settled u64 || registered u64 || terms
//!     6 node key     key 32 || node 32 || from u64 || until u8 || if 1: u64
//!     7 hold         hold 32 || payer 32 || payee 32 || amount u64 || redeemed u64 || expires u64
//! place  = H(state key; tag u8 || the 32 bytes after it, for tags 4 to 7)
//! value  = H(state value; record)
//! ```

use tally_log::Hash;
use tally_receipt::{Digest, PublicKey};

use crate::genesis::Genesis;
use crate::id::{
    AccountId, AccountNonce, Credits, Decision, Epoch, Height, HoldId, NodeId, Purpose, Revision,
    Sequence, StateRoot, hash,
};
use crate::map::{self, Map, MapProof};
use crate::params::Parameters;
use crate::transaction::Terms;
use crate::validators::ValidatorSet;
use crate::wire::{DecodeError, Reader, Write};

/// Credits of somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What can be spent.
    pub balance: Credits,
    /// The nonce of the next transaction.
    pub nonce: AccountNonce,
    /// Whether the faucet gave already.
    pub claimed: bool,
}

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Who is responsible for it.
    pub owner: AccountId,
    /// Its key now.
    pub key: PublicKey,
    /// How often it changed.
    pub revision: Revision,
    /// How many receipts it settled: the sequence number of its next one.
    pub settled: Sequence,
    /// When it came.
    pub registered: Height,
    /// What it does now, under which conditions.
    pub terms: Terms,
}

/// A key that a node has or had. It never becomes another node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeKey {
    /// Whose.
    pub node: NodeId,
    /// The first block at which it is the node's key.
    pub from: Height,
    /// The first block at which it is not any more.
    pub until: Option<Height>,
}

/// Credits that a payer set aside for a payee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Whose credits they were.
    pub payer: AccountId,
    /// Who can redeem them.
    pub payee: AccountId,
    /// How many at the beginning.
    pub amount: Credits,
    /// How many of them were paid out.
    pub redeemed: Credits,
    /// From when on the payer may take back the rest.
    pub expires: Height,
}

impl Hold {
    /// How many are left.
    pub fn left(&self) -> Credits {
        self.amount
            .minus(self.redeemed)
            .expect("no more is redeemed than was set aside")
    }
}

/// Credits for whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaucetPool {
    /// How many are left.
    pub left: Credits,
    /// How many one account is given.
    pub each: Credits,
}

/// A receipt in the log.
///
/// ```text
/// form u8 (1 by hash, 2 in full) || node 32 || sequence u64 || receipt's digest 32
/// ```
///
/// In full means that the receipt stands in the block, and that every validator has checked each of its signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whether validators saw the receipt.
    pub in_full: bool,
    /// Who settled it.
    pub node: NodeId,
    /// Its place among all that the node settled.
    pub sequence: Sequence,
    /// The receipt's digest.
    pub receipt: Digest,
}

impl Entry {
    /// Bytes of an entry.
    pub const BYTES: usize = 1 + 32 + 8 + 32;

    /// Writes the entry down: the leaf in the log.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.put_u8(if self.in_full { 2 } else { 1 });
        bytes.put(self.node.as_bytes());
        bytes.put_u64(self.sequence.get());
        bytes.put(self.receipt.as_bytes());
        bytes
            .try_into()
            .expect("the fields above have these lengths")
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            Ok(Self {
                in_full: match reader.u8("an entry's form")? {
                    1 => false,
                    2 => true,
                    found => {
                        return Err(DecodeError::Unknown {
                            part: "an entry's form",
                            found: found.into(),
                        });
                    }
                },
                node: NodeId::new(reader.key("an entry's node")?),
                sequence: Sequence::new(reader.u64("a sequence number")?),
                receipt: reader.digest("a receipt's digest")?,
            })
        })
    }

    /// Its hash in the tree.
    pub fn leaf_hash(&self) -> Hash {
        tally_log::leaf_hash(&self.to_bytes())
    }
}

/// What can be looked up in a state, and shown to be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An account.
    Account(AccountId),
    /// A node.
    Node(NodeId),
    /// A node's key.
    NodeKey(PublicKey),
    /// A hold.
    Hold(HoldId),
    /// The parameters.
    Parameters,
    /// How many decisions the validators have made.
    Decisions,
}

impl Subject {
    pub(crate) fn key(self) -> [u8; 32] {
        match self {
            Self::Account(id) => place(TAG_ACCOUNT, id.as_bytes()),
            Self::Node(id) => place(TAG_NODE, id.as_bytes()),
            Self::NodeKey(key) => place(TAG_NODE_KEY, key.as_bytes()),
            Self::Hold(id) => place(TAG_HOLD, id.as_bytes()),
            Self::Parameters => place(TAG_PARAMETERS, &[]),
            Self::Decisions => place(TAG_DECISIONS, &[]),
        }
    }

    /// Whether `proof` shows that a state with this root says of the subject what `record` says, or nothing. The record
    /// is as [`State::record`](crate::State::record) gives it.
    pub fn shown(self, root: StateRoot, record: Option<&[u8]>, proof: &MapProof) -> bool {
        let value = record.map(|bytes| value_of(|hasher| hasher.put(bytes)));
        proof.shows(root, &self.key(), value)
    }

    /// What a state with this root says of the subject, by what [`State::record`](crate::State::record) and
    /// [`State::prove`](crate::State::prove) give; none if it says nothing.
    ///
    /// # Errors
    /// [`NotShown`] when they do not show it.
    pub fn said(
        self,
        root: StateRoot,
        record: Option<&[u8]>,
        proof: &MapProof,
    ) -> Result<Option<Said>, NotShown> {
        if !self.shown(root, record, proof) {
            return Err(NotShown);
        }
        let Some(record) = record else {
            return Ok(None);
        };
        let record = Reader::whole(record, Record::read).map_err(|_| NotShown)?;
        Ok(Some(match (self, record) {
            (Self::Account(id), Record::Account(found, account)) if found == id => {
                Said::Account(account)
            }
            (Self::Node(id), Record::Node(found, node)) if found == id => Said::Node(node),
            (Self::NodeKey(key), Record::NodeKey(found, of)) if found == key => Said::NodeKey(of),
            (Self::Hold(id), Record::Hold(found, hold)) if found == id => Said::Hold(hold),
            (Self::Parameters, Record::Parameters(parameters)) => Said::Parameters(parameters),
            (Self::Decisions, Record::Decisions(next)) => Said::Decisions(next),
            _ => return Err(NotShown),
        }))
    }
}

/// What a state says of something that was looked up in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Of an account.
    Account(Account),
    /// Of a node.
    Node(Node),
    /// Of a node's key.
    NodeKey(NodeKey),
    /// Of a hold.
    Hold(Hold),
    /// Of the parameters.
    Parameters(Parameters),
    /// The number of the next decision.
    Decisions(Decision),
}

/// What is said of a state is not what its root commits to. Whoever said it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is said of the state is not what its root commits to")]
pub struct NotShown;

/// What validators decide on, beside who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The parameters of the next block.
    pub parameters: Parameters,
    /// The number of the next decision.
    pub next: Decision,
}

impl Decided {
    /// What a state with this root says, as [`State::record`](crate::State::record) and
    /// [`State::prove`](crate::State::prove) give it of [`Subject::Parameters`] and of [`Subject::Decisions`]; none if they
    /// do not show it.
    pub fn shown(
        root: StateRoot,
        parameters: (&[u8], &MapProof),
        decisions: (&[u8], &MapProof),
    ) -> Option<Self> {
        let said = |subject: Subject, (record, proof): (&[u8], &MapProof)| {
            subject.said(root, Some(record), proof).ok().flatten()
        };
        match (
            said(Subject::Parameters, parameters)?,
            said(Subject::Decisions, decisions)?,
        ) {
            (Said::Parameters(parameters), Said::Decisions(next)) => {
                Some(Self { parameters, next })
            }
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Parameters(Parameters),
    Validators(Epoch, ValidatorSet),
    Decisions(Decision),
    Faucet(FaucetPool),
    Account(AccountId, Account),
    Node(NodeId, Node),
    NodeKey(PublicKey, NodeKey),
    Hold(HoldId, Hold),
}

const TAG_PARAMETERS: u8 = 0;
const TAG_VALIDATORS: u8 = 1;
const TAG_DECISIONS: u8 = 2;
const TAG_FAUCET: u8 = 3;
const TAG_ACCOUNT: u8 = 4;
const TAG_NODE: u8 = 5;
const TAG_NODE_KEY: u8 = 6;
const TAG_HOLD: u8 = 7;

fn place(tag: u8, id: &[u8]) -> [u8; 32] {
    *hash(Purpose::StateKey, |hasher| {
        hasher.put_u8(tag);
        hasher.put(id);
    })
    .as_bytes()
}

fn value_of(write: impl FnOnce(&mut blake3::Hasher)) -> [u8; 32] {
    *hash(Purpose::StateValue, write).as_bytes()
}

impl map::Record for Record {
    fn key(&self) -> [u8; 32] {
        match self {
            Self::Parameters(_) => Subject::Parameters.key(),
            Self::Validators(..) => place(TAG_VALIDATORS, &[]),
            Self::Decisions(_) => Subject::Decisions.key(),
            Self::Faucet(_) => place(TAG_FAUCET, &[]),
            Self::Account(id, _) => Subject::Account(*id).key(),
            Self::Node(id, _) => Subject::Node(*id).key(),
            Self::NodeKey(key, _) => Subject::NodeKey(*key).key(),
            Self::Hold(id, _) => Subject::Hold(*id).key(),
        }
    }

    fn value(&self) -> [u8; 32] {
        value_of(|hasher| self.write(hasher))
    }
}

impl Record {
    /// Credits that are in it.
    pub(super) fn credits(&self) -> Credits {
        match self {
            Self::Account(_, account) => account.balance,
            Self::Hold(_, hold) => hold.left(),
            Self::Faucet(faucet) => faucet.left,
            _ => Credits::ZERO,
        }
    }

    pub(super) fn write(&self, to: &mut impl Write) {
        match self {
            Self::Parameters(parameters) => {
                to.put_u8(TAG_PARAMETERS);
                parameters.write(to);
            }
            Self::Validators(epoch, validators) => {
                to.put_u8(TAG_VALIDATORS);
                to.put_u64(epoch.get());
                validators.write(to);
            }
            Self::Decisions(next) => {
                to.put_u8(TAG_DECISIONS);
                to.put_u64(next.get());
            }
            Self::Faucet(faucet) => {
                to.put_u8(TAG_FAUCET);
                to.put_u64(faucet.left.get());
                to.put_u64(faucet.each.get());
            }
            Self::Account(id, account) => {
                to.put_u8(TAG_ACCOUNT);
                to.put(id.as_bytes());
                to.put_u64(account.balance.get());
                to.put_u64(account.nonce.get());
                to.put_u8(u8::from(account.claimed));
            }
            Self::Node(id, node) => {
                to.put_u8(TAG_NODE);
                to.put(id.as_bytes());
                to.put(node.owner.as_bytes());
                to.put(node.key.as_bytes());
                to.put_u64(node.revision.get());
                to.put_u64(node.settled.get());
                to.put_u64(node.registered.get());
                node.terms.write(to);
            }
            Self::NodeKey(key, of) => {
                to.put_u8(TAG_NODE_KEY);
                to.put(key.as_bytes());
                to.put(of.node.as_bytes());
                to.put_u64(of.from.get());
                to.put_u8(u8::from(of.until.is_some()));
                if let Some(until) = of.until {
                    to.put_u64(until.get());
                }
            }
            Self::Hold(id, hold) => {
                to.put_u8(TAG_HOLD);
                to.put(id.as_bytes());
                to.put(hold.payer.as_bytes());
                to.put(hold.payee.as_bytes());
                to.put_u64(hold.amount.get());
                to.put_u64(hold.redeemed.get());
                to.put_u64(hold.expires.get());
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let credits = |reader: &mut Reader<'_>| reader.u64("an amount").map(Credits::new);
        let height = |reader: &mut Reader<'_>| reader.u64("a height").map(Height::new);
        Ok(match reader.u8("a record's tag")? {
            TAG_PARAMETERS => Self::Parameters(Parameters::read(reader)?),
            TAG_VALIDATORS => Self::Validators(
                Epoch::new(reader.u64("an epoch")?),
                ValidatorSet::read(reader)?,
            ),
            TAG_DECISIONS => Self::Decisions(Decision::new(reader.u64("a decision's number")?)),
            TAG_FAUCET => Self::Faucet(FaucetPool {
                left: credits(reader)?,
                each: credits(reader)?,
            }),
            TAG_ACCOUNT => Self::Account(
                AccountId::new(reader.key("an account")?),
                Account {
                    balance: credits(reader)?,
                    nonce: AccountNonce::new(reader.u64("a nonce")?),
                    claimed: reader.flag("whether it claimed")?,
                },
            ),
            TAG_NODE => Self::Node(
                NodeId::new(reader.key("a node")?),
                Node {
                    owner: AccountId::new(reader.key("an owner")?),
                    key: reader.key("a node's key")?,
                    revision: Revision::new(reader.u64("a revision")?),
                    settled: Sequence::new(reader.u64("a sequence number")?),
                    registered: height(reader)?,
                    terms: Terms::read(reader)?,
                },
            ),
            TAG_NODE_KEY => Self::NodeKey(
                reader.key("a node's key")?,
                NodeKey {
                    node: NodeId::new(reader.key("a node")?),
                    from: height(reader)?,
                    until: match reader.flag("whether it ended")? {
                        false => None,
                        true => Some(height(reader)?),
                    },
                },
            ),
            TAG_HOLD => {
                let id = HoldId::new(reader.digest("a hold")?);
                let hold = Hold {
                    payer: AccountId::new(reader.key("a payer")?),
                    payee: AccountId::new(reader.key("a payee")?),
                    amount: credits(reader)?,
                    redeemed: credits(reader)?,
                    expires: height(reader)?,
                };
                if hold.redeemed > hold.amount {
                    return Err(DecodeError::Mismatch {
                        part: "what was redeemed",
                    });
                }
                Self::Hold(id, hold)
            }
            found => {
                return Err(DecodeError::Unknown {
                    part: "a record's tag",
                    found: found.into(),
                });
            }
        })
    }
}

/// The records of a genesis.
pub(super) fn begin(genesis: &Genesis) -> Map<Record> {
    let mut records = Map::new();
    records.insert(Record::Parameters(genesis.parameters));
    records.insert(Record::Validators(Epoch::ZERO, genesis.validators.clone()));
    records.insert(Record::Decisions(Decision::ZERO));
    if let Some(faucet) = genesis.faucet {
        records.insert(Record::Faucet(FaucetPool {
            left: faucet.total,
            each: faucet.each,
        }));
    }
    for allocation in &genesis.accounts {
        records.insert(Record::Account(
            allocation.account,
            Account {
                balance: allocation.credits,
                ..Account::default()
            },
        ));
    }
    records
}

const ALWAYS: &str = "genesis puts it there and nothing removes it";

pub(super) fn parameters(records: &Map<Record>) -> Parameters {
    match records.get(&Subject::Parameters.key()) {
        Some(Record::Parameters(parameters)) => *parameters,
        _ => unreachable!("{ALWAYS}"),
    }
}

pub(super) fn validators(records: &Map<Record>) -> (Epoch, &ValidatorSet) {
    match records.get(&place(TAG_VALIDATORS, &[])) {
        Some(Record::Validators(epoch, validators)) => (*epoch, validators),
        _ => unreachable!("{ALWAYS}"),
    }
}

pub(super) fn decision(records: &Map<Record>) -> Decision {
    match records.get(&Subject::Decisions.key()) {
        Some(Record::Decisions(next)) => *next,
        _ => unreachable!("{ALWAYS}"),
    }
}

/// Whether what genesis puts there is there.
pub(super) fn has_foundations(records: &Map<Record>) -> bool {
    [TAG_PARAMETERS, TAG_VALIDATORS, TAG_DECISIONS]
        .into_iter()
        .all(|tag| records.get(&place(tag, &[])).is_some())
}

pub(super) fn faucet(records: &Map<Record>) -> Option<FaucetPool> {
    match records.get(&place(TAG_FAUCET, &[])) {
        Some(Record::Faucet(faucet)) => Some(*faucet),
        _ => None,
    }
}

pub(super) fn account(records: &Map<Record>, id: AccountId) -> Account {
    match records.get(&Subject::Account(id).key()) {
        Some(Record::Account(_, account)) => *account,
        _ => Account::default(),
    }
}

pub(super) fn node(records: &Map<Record>, id: NodeId) -> Option<&Node> {
    match records.get(&Subject::Node(id).key()) {
        Some(Record::Node(_, node)) => Some(node),
        _ => None,
    }
}

pub(super) fn node_key(records: &Map<Record>, key: PublicKey) -> Option<&NodeKey> {
    match records.get(&Subject::NodeKey(key).key()) {
        Some(Record::NodeKey(_, of)) => Some(of),
        _ => None,
    }
}

pub(super) fn hold(records: &Map<Record>, id: HoldId) -> Option<&Hold> {
    match records.get(&Subject::Hold(id).key()) {
        Some(Record::Hold(_, hold)) => Some(hold),
        _ => None,
    }
}

//! What nodes say to each other, and what callers ask of a node. `docs/net.md` has the bytes.
//!
//! A message is a tag (u8) and its fields in the order of the declarations below. Numbers are big endian; bytes have their
//! length before them (u32), lists their count (u16). Everything is bounded before it is allocated, and what does not use
//! all of its bytes is refused.

use bytes::Bytes;
use tally_ledger::{
    AccountId, BlockDigest, Certificate, ChainId, Epoch, EpochEnd, HEADER_BYTES, Header, Height,
    HoldId, MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES, MAX_VALIDATORS, MapProof, NodeId, Sequence,
    Subject, TransactionId, ValidatorSet,
};
use tally_log::MAX_NOTE_BYTES;
use tally_receipt::{Digest, PublicKey};

/// The longest block, framing included.
pub(crate) const BLOCK_LIMIT: usize = MAX_BLOCK_BYTES as usize + HEADER_BYTES + 16; // bytes
/// The longest certificate: 256 validators' signatures and their bitmap, with room.
pub(crate) const CERTIFICATE_LIMIT: usize = 32 * 1024; // bytes
/// The longest message of blocks, and the longest answer to a call. One block and its certificate always fit.
pub(crate) const MESSAGE_LIMIT: usize = BLOCK_LIMIT + CERTIFICATE_LIMIT + 64; // bytes
/// The longest list of transactions in one message, in bytes and in number.
pub(crate) const SUBMIT_LIMIT: usize = 4 * 1024 * 1024 - 16; // bytes
pub(crate) const SUBMIT_COUNT: usize = 4096;
/// Transactions in the outline of a block: as many as a block can have.
const OUTLINE_COUNT: usize = MAX_BLOCK_BYTES as usize / 135;
/// Blocks in one stretch of history.
pub(crate) const STRETCH_COUNT: usize = 256;
/// Ends of epochs in one answer: who needs more asks again.
pub(crate) const MAX_ENDS: usize = 64;
/// Transactions that are named to a peer, or asked for by name, at once.
pub(crate) const NAMES_COUNT: usize = 512;
/// Gaps that a peer is asked to fill at once.
pub(crate) const GAPS_COUNT: usize = 64;
/// The longest list of validators.
const VALIDATORS_LIMIT: usize = 64 * 1024; // bytes
/// The longest record of a state that is shown: of what validators decide on, and any other, of which a node's is the longest.
const RECORD_LIMIT: usize = 64; // bytes
const ANY_RECORD_LIMIT: usize = 512; // bytes
/// The longest proof of one.
const STATE_PROOF_LIMIT: usize = 2 + 256 * 32 + 1 + 64; // bytes
/// Sentences and names.
const TEXT_LIMIT: usize = 1024; // bytes

/// Said on the channel of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlockMessage {
    /// A block, as `tally_ledger` writes it.
    Block(Bytes),
    /// Send me this block.
    Want(BlockDigest),
    /// A block whose transactions the receiver most likely has.
    Outline(Outline),
}

/// A block's header and the names of its transactions, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) header: Header,
    pub(crate) transactions: Vec<TransactionId>,
}

/// Said on the channel of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HistoryMessage {
    /// My last final block.
    Tip(Height),
    /// Send me final blocks from here on.
    Want(Height),
    /// A stretch of final blocks.
    Stretch(Stretch),
    /// A checkpoint of the log with cosignatures, as it is written.
    Cosigned(Bytes),
    /// Some of the transactions that have waited here for a while.
    Waiting(Vec<TransactionId>),
    /// Send me these transactions.
    WantNamed(Vec<TransactionId>),
    /// Send me what waits with these numbers.
    WantNumbered(Vec<Gap>),
}

/// Numbers that a node lacks, of those by which transactions of an account or a node follow on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) of: Numbered,
    /// The first number that is missing.
    pub(crate) from: u64,
    /// The one after the last; more than `from`.
    pub(crate) before: u64,
}

/// Whose transactions have numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbered {
    /// By their nonces.
    Account(AccountId),
    /// By the places of its receipts.
    Node(NodeId),
}

/// Final blocks in order, the last of which has a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) blocks: Vec<FinalBlock>,
}

/// A block as `tally_ledger` writes it, and its certificate if the sender has one of its own; else a later block's
/// covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FinalBlock {
    pub(crate) block: Bytes,
    pub(crate) certificate: Bytes,
}

/// Said on the channel of transactions, and submitted: transactions as `tally_ledger` writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transactions(pub(crate) Vec<Bytes>);

/// Asked of a node by anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Status,
    Genesis,
    Submit(Transactions),
    Prove {
        receipt: Digest,
        /// How long the answer may wait for the receipt to become final.
        wait_ms: u32,
    },
    Blocks(Height),
    Account(AccountId),
    Node(NodeId),
    /// The last final header, and who came to vote since an epoch.
    Head(Epoch),
    /// The last checkpoint that a quorum has cosigned.
    Checkpoint,
    /// The same as `Prove`, by such a checkpoint.
    ProveCosigned {
        receipt: Digest,
        wait_ms: u32,
    },
    /// The same as `Prove`, of the receipt that a node settled as its `sequence`-th.
    ProvePlace {
        node: NodeId,
        sequence: Sequence,
        wait_ms: u32,
    },
    /// The same as `Head`, and what that header's state says that validators decide on.
    Decided(Epoch),
    /// The same as `Head`, and what that header's state says of something.
    Said {
        since: Epoch,
        subject: Subject,
    },
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(Status),
    Genesis(Bytes),
    /// One for each transaction, in order.
    Submitted(Vec<Submitted>),
    /// A proof file, as `tally_ledger` writes it.
    Proof(Bytes),
    Blocks(Stretch),
    Account(AccountAnswer),
    Node(Option<NodeAnswer>),
    Head(Head),
    /// A checkpoint, as it is written.
    Checkpoint(Bytes),
    Decided(Box<DecidedAnswer>),
    Said(Box<SaidAnswer>),
    /// The answer is no, or not now.
    No(Refused),
}

/// The last final header with its certificate, and the ends of the epochs before, in order: all that shows who votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) header: Header,
    pub(crate) certificate: Certificate,
    pub(crate) ends: Vec<EpochEnd>,
}

/// What validators decide on beside who they are, as the state after a final block has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DecidedAnswer {
    pub(crate) head: Head,
    pub(crate) parameters: ShownRecord,
    pub(crate) decisions: ShownRecord,
}

/// What the state after a final block says of what was asked, or that it says nothing; and what shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SaidAnswer {
    pub(crate) head: Head,
    pub(crate) record: Option<Bytes>,
    pub(crate) proof: MapProof,
}

/// A record of a state, and what shows it to whoever has the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownRecord {
    pub(crate) record: Bytes,
    pub(crate) proof: MapProof,
}

/// Why a call has no other answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refused {
    /// For a program.
    pub code: RefusedCode,
    /// For a person.
    pub sentence: String,
}

/// Who has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedCode {
    /// The question makes no sense, or what was handed over can never be good, whatever the state is; the caller.
    Malformed = 1,
    /// There is no such thing.
    Unknown = 2,
    /// Not yet; ask again.
    NotYet = 3,
    /// The node has too much to do; ask again, or another one.
    Busy = 4,
    /// The node's own fault: its operator.
    Broken = 5,
    /// What was handed over cannot be done as the state is, and nothing that is expected changes that; the caller.
    Impossible = 6,
}

/// What became of a submitted transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It is on this node's disk and will be in a block, unless another one makes it impossible.
    Accepted(TransactionId),
    /// It can never be in a block, or not before something else: the sentence says what.
    Refused(Refused),
}

/// How a node and its chain are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Which chain.
    pub chain: ChainId,
    /// The last final block.
    pub height: Height,
    /// Its digest.
    pub block: BlockDigest,
    /// Its time, in milliseconds since 1970.
    pub time_ms: u64,
    /// The epoch in which the next block will be.
    pub epoch: u64,
    /// Receipts in the log.
    pub receipts: u64,
    /// The log's root.
    pub log_root: [u8; 32],
    /// The state's root.
    pub state_root: [u8; 32],
    /// Who votes on the next block.
    pub validators: Vec<ValidatorStatus>,
    /// Transactions that wait for a block.
    pub waiting: u64,
    /// The highest block that a peer has said to be final.
    pub seen: Height,
    /// Faults of validators that this node has evidence for.
    pub faults: u32,
    /// Whether this node votes.
    pub votes: bool,
}

/// A validator as a node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorStatus {
    /// Its key.
    pub vote_key: PublicKey,
    /// Its name.
    pub name: String,
    /// Whether this node has a connection to it, or is it.
    pub connected: bool,
}

/// An account as the last final block leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountAnswer {
    /// As of which block.
    pub height: Height,
    /// Its credits, without those set aside for others.
    pub balance: u64,
    /// The nonce of its next transaction.
    pub nonce: u64,
}

/// A node that settles receipts, as the last final block leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAnswer {
    /// As of which block.
    pub height: Height,
    /// The key that signs for it now.
    pub key: PublicKey,
    /// Receipts that it settled: the number of its next one.
    pub settled: u64,
}

/// Why bytes are no message. Whoever sent them is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("the message ends in the middle of {0}")]
    Truncated(&'static str),
    #[error("{0} is longer than allowed")]
    TooLong(&'static str),
    #[error("{0} is not what it should be")]
    Malformed(&'static str),
    #[error("{0} bytes follow after the message")]
    Trailing(usize),
}

/// Something that has bytes.
pub(crate) trait Message: Sized {
    fn put(&self, to: &mut Vec<u8>);
    fn get(from: &mut Cursor) -> Result<Self, DecodeError>;
}

/// Writes a message.
pub(crate) fn encode(message: &impl Message) -> Bytes {
    let mut bytes = Vec::new();
    message.put(&mut bytes);
    bytes.into()
}

/// Whether an answer that is these bytes alone, such as a proof, is no longer than one may be.
pub(crate) fn fits_an_answer(bytes: &Bytes) -> bool {
    1 + 4 + bytes.len() <= MESSAGE_LIMIT
}

/// Reads one message out of exactly these bytes.
pub(crate) fn decode<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let mut cursor = Cursor(bytes);
    let message = M::get(&mut cursor)?;
    match cursor.0.len() {
        0 => Ok(message),
        left => Err(DecodeError::Trailing(left)),
    }
}

/// Bytes that are being read. What is taken shares them.
pub(crate) struct Cursor(Bytes);

impl Cursor {
    fn take(&mut self, count: usize, part: &'static str) -> Result<Bytes, DecodeError> {
        if count > self.0.len() {
            return Err(DecodeError::Truncated(part));
        }
        Ok(self.0.split_to(count))
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N, part)?;
        Ok(*bytes.first_chunk().expect("taken at that length"))
    }

    fn u8(&mut self, part: &'static str) -> Result<u8, DecodeError> {
        self.array(part).map(u8::from_be_bytes)
    }

    fn u32(&mut self, part: &'static str) -> Result<u32, DecodeError> {
        self.array(part).map(u32::from_be_bytes)
    }

    fn u64(&mut self, part: &'static str) -> Result<u64, DecodeError> {
        self.array(part).map(u64::from_be_bytes)
    }

    fn flag(&mut self, part: &'static str) -> Result<bool, DecodeError> {
        match self.u8(part)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Malformed(part)),
        }
    }

    fn header(&mut self) -> Result<Header, DecodeError> {
        let bytes = self.take(HEADER_BYTES, "a header")?;
        Header::from_bytes(&bytes).map_err(|_| DecodeError::Malformed("a header"))
    }

    fn certificate(&mut self) -> Result<Certificate, DecodeError> {
        let bytes = self.blob(CERTIFICATE_LIMIT, "a certificate")?;
        Certificate::from_bytes(&bytes).map_err(|_| DecodeError::Malformed("a certificate"))
    }

    fn state_proof(&mut self) -> Result<MapProof, DecodeError> {
        let bytes = self.blob(STATE_PROOF_LIMIT, "a proof of state")?;
        MapProof::from_bytes(&bytes).map_err(|_| DecodeError::Malformed("a proof of state"))
    }

    fn height(&mut self) -> Result<Height, DecodeError> {
        self.u64("a height").map(Height::new)
    }

    fn key(&mut self) -> Result<PublicKey, DecodeError> {
        PublicKey::from_bytes(self.array("a key")?).map_err(|_| DecodeError::Malformed("a key"))
    }

    fn blob(&mut self, limit: usize, part: &'static str) -> Result<Bytes, DecodeError> {
        let length = self.u32(part)? as usize;
        if length > limit {
            return Err(DecodeError::TooLong(part));
        }
        self.take(length, part)
    }

    fn names(
        &mut self,
        limit: usize,
        part: &'static str,
    ) -> Result<Vec<TransactionId>, DecodeError> {
        self.list(limit, part, |from| {
            from.array("a transaction's name")
                .map(TransactionId::from_bytes)
        })
    }

    fn text(&mut self, part: &'static str) -> Result<String, DecodeError> {
        String::from_utf8(self.blob(TEXT_LIMIT, part)?.to_vec())
            .map_err(|_| DecodeError::Malformed(part))
    }

    fn list<T>(
        &mut self,
        limit: usize,
        part: &'static str,
        mut one: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = u16::from_be_bytes(self.array(part)?).into();
        // Everything in a list takes at least a byte.
        if count > limit.min(self.0.len()) {
            return Err(DecodeError::TooLong(part));
        }
        (0..count).map(|_| one(self)).collect()
    }
}

fn put_blob(blob: &[u8], to: &mut Vec<u8>) {
    let length = u32::try_from(blob.len()).expect("every limit is far below 4 GiB");
    to.extend(length.to_be_bytes());
    to.extend_from_slice(blob);
}

/// A sentence that is too long for the wire loses its end.
fn put_text(text: &str, to: &mut Vec<u8>) {
    put_blob(&text.as_bytes()[..text.floor_char_boundary(TEXT_LIMIT)], to);
}

fn put_list<T>(list: &[T], to: &mut Vec<u8>, mut one: impl FnMut(&T, &mut Vec<u8>)) {
    let count = u16::try_from(list.len()).expect("every limit is below 65,536");
    to.extend(count.to_be_bytes());
    for item in list {
        one(item, to);
    }
}

fn put_names(names: &[TransactionId], to: &mut Vec<u8>) {
    put_list(names, to, |id, to| to.extend(id.as_bytes()));
}

impl Message for BlockMessage {
    fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::Block(block) => {
                to.push(1);
                put_blob(block, to);
            }
            Self::Want(digest) => {
                to.push(2);
                to.extend(digest.as_bytes());
            }
            Self::Outline(outline) => {
                to.push(3);
                to.extend(outline.header.to_bytes());
                put_names(&outline.transactions, to);
            }
        }
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        match from.u8("a tag")? {
            1 => from.blob(BLOCK_LIMIT, "a block").map(Self::Block),
            2 => Ok(Self::Want(BlockDigest::from_bytes(from.array("a digest")?))),
            3 => Ok(Self::Outline(Outline {
                header: from.header()?,
                transactions: from.names(OUTLINE_COUNT, "an outline")?,
            })),
            _ => Err(DecodeError::Malformed("a tag")),
        }
    }
}

impl Message for HistoryMessage {
    fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::Tip(height) => {
                to.push(1);
                to.extend(height.get().to_be_bytes());
            }
            Self::Want(from) => {
                to.push(2);
                to.extend(from.get().to_be_bytes());
            }
            Self::Stretch(stretch) => {
                to.push(3);
                stretch.put(to);
            }
            Self::Cosigned(checkpoint) => {
                to.push(4);
                put_blob(checkpoint, to);
            }
            Self::Waiting(names) => {
                to.push(5);
                put_names(names, to);
            }
            Self::WantNamed(names) => {
                to.push(6);
                put_names(names, to);
            }
            Self::WantNumbered(gaps) => {
                to.push(7);
                put_list(gaps, to, Gap::put);
            }
        }
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        match from.u8("a tag")? {
            1 => from.height().map(Self::Tip),
            2 => from.height().map(Self::Want),
            3 => Stretch::get(from).map(Self::Stretch),
            4 => from
                .blob(MAX_NOTE_BYTES, "a checkpoint")
                .map(Self::Cosigned),
            5 => from.names(NAMES_COUNT, "the names").map(Self::Waiting),
            6 => from.names(NAMES_COUNT, "the names").map(Self::WantNamed),
            7 => from
                .list(GAPS_COUNT, "the gaps", Gap::get)
                .map(Self::WantNumbered),
            _ => Err(DecodeError::Malformed("a tag")),
        }
    }
}

impl Message for Gap {
    fn put(&self, to: &mut Vec<u8>) {
        match &self.of {
            Numbered::Account(account) => {
                to.push(1);
                to.extend(account.as_bytes());
            }
            Numbered::Node(node) => {
                to.push(2);
                to.extend(node.as_bytes());
            }
        }
        to.extend(self.from.to_be_bytes());
        to.extend(self.before.to_be_bytes());
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        let of = match from.u8("whose numbers")? {
            1 => Numbered::Account(AccountId::new(from.key()?)),
            2 => Numbered::Node(NodeId::new(from.key()?)),
            _ => return Err(DecodeError::Malformed("whose numbers")),
        };
        let (first, before) = (from.u64("a number")?, from.u64("a number")?);
        if first >= before {
            return Err(DecodeError::Malformed("a gap"));
        }
        Ok(Self {
            of,
            from: first,
            before,
        })
    }
}

impl Message for Stretch {
    fn put(&self, to: &mut Vec<u8>) {
        put_list(&self.blocks, to, |one, to| {
            put_blob(&one.block, to);
            put_blob(&one.certificate, to);
        });
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        let blocks = from.list(STRETCH_COUNT, "a stretch of blocks", |from| {
            Ok(FinalBlock {
                block: from.blob(BLOCK_LIMIT, "a block")?,
                certificate: from.blob(CERTIFICATE_LIMIT, "a certificate")?,
            })
        })?;
        Ok(Self { blocks })
    }
}

impl Message for Transactions {
    fn put(&self, to: &mut Vec<u8>) {
        put_list(&self.0, to, |one, to| put_blob(one, to));
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        from.list(SUBMIT_COUNT, "the transactions", |from| {
            from.blob(MAX_TRANSACTION_BYTES, "a transaction")
        })
        .map(Self)
    }
}

impl Message for Ask {
    fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::Status => to.push(1),
            Self::Genesis => to.push(2),
            Self::Submit(transactions) => {
                to.push(3);
                transactions.put(to);
            }
            Self::Prove { receipt, wait_ms } => {
                to.push(4);
                to.extend(receipt.as_bytes());
                to.extend(wait_ms.to_be_bytes());
            }
            Self::Blocks(from) => {
                to.push(5);
                to.extend(from.get().to_be_bytes());
            }
            Self::Account(account) => {
                to.push(6);
                to.extend(account.as_bytes());
            }
            Self::Node(node) => {
                to.push(7);
                to.extend(node.as_bytes());
            }
            Self::Head(since) => {
                to.push(8);
                to.extend(since.get().to_be_bytes());
            }
            Self::Checkpoint => to.push(9),
            Self::ProveCosigned { receipt, wait_ms } => {
                to.push(10);
                to.extend(receipt.as_bytes());
                to.extend(wait_ms.to_be_bytes());
            }
            Self::ProvePlace {
                node,
                sequence,
                wait_ms,
            } => {
                to.push(11);
                to.extend(node.as_bytes());
                to.extend(sequence.get().to_be_bytes());
                to.extend(wait_ms.to_be_bytes());
            }
            Self::Decided(since) => {
                to.push(12);
                to.extend(since.get().to_be_bytes());
            }
            Self::Said { since, subject } => {
                to.push(13);
                to.extend(since.get().to_be_bytes());
                subject.put(to);
            }
        }
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(match from.u8("a tag")? {
            1 => Self::Status,
            2 => Self::Genesis,
            3 => Self::Submit(Transactions::get(from)?),
            4 => Self::Prove {
                receipt: Digest::from_bytes(from.array("a digest")?),
                wait_ms: from.u32("a time")?,
            },
            5 => Self::Blocks(from.height()?),
            6 => Self::Account(AccountId::new(from.key()?)),
            7 => Self::Node(NodeId::new(from.key()?)),
            8 => Self::Head(Epoch::new(from.u64("an epoch")?)),
            9 => Self::Checkpoint,
            10 => Self::ProveCosigned {
                receipt: Digest::from_bytes(from.array("a digest")?),
                wait_ms: from.u32("a time")?,
            },
            11 => Self::ProvePlace {
                node: NodeId::new(from.key()?),
                sequence: Sequence::new(from.u64("a place")?),
                wait_ms: from.u32("a time")?,
            },
            12 => Self::Decided(Epoch::new(from.u64("an epoch")?)),
            13 => Self::Said {
                since: Epoch::new(from.u64("an epoch")?),
                subject: Subject::get(from)?,
            },
            _ => return Err(DecodeError::Malformed("a tag")),
        })
    }
}

/// By the tags of the ledger's records.
impl Message for Subject {
    fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::Parameters => to.push(0),
            Self::Decisions => to.push(2),
            Self::Account(account) => {
                to.push(4);
                to.extend(account.as_bytes());
            }
            Self::Node(node) => {
                to.push(5);
                to.extend(node.as_bytes());
            }
            Self::NodeKey(key) => {
                to.push(6);
                to.extend(key.as_bytes());
            }
            Self::Hold(hold) => {
                to.push(7);
                to.extend(hold.as_bytes());
            }
        }
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(match from.u8("a record's tag")? {
            0 => Self::Parameters,
            2 => Self::Decisions,
            4 => Self::Account(AccountId::new(from.key()?)),
            5 => Self::Node(NodeId::new(from.key()?)),
            6 => Self::NodeKey(from.key()?),
            7 => Self::Hold(HoldId::from_bytes(from.array("a hold")?)),
            _ => return Err(DecodeError::Malformed("a record's tag")),
        })
    }
}

impl Message for Answer {
    fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::No(refused) => {
                to.push(0);
                refused.put(to);
            }
            Self::Status(status) => {
                to.push(1);
                status.put(to);
            }
            Self::Genesis(genesis) => {
                to.push(2);
                put_blob(genesis, to);
            }
            Self::Submitted(each) => {
                to.push(3);
                put_list(each, to, |one, to| match one {
                    Submitted::Accepted(id) => {
                        to.push(1);
                        to.extend(id.as_bytes());
                    }
                    Submitted::Refused(refused) => {
                        to.push(0);
                        refused.put(to);
                    }
                });
            }
            Self::Proof(proof) => {
                to.push(4);
                put_blob(proof, to);
            }
            Self::Blocks(stretch) => {
                to.push(5);
                stretch.put(to);
            }
            Self::Account(account) => {
                to.push(6);
                let numbers = [account.balance, account.nonce];
                to.extend(account.height.get().to_be_bytes());
                to.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
            }
            Self::Head(head) => {
                to.push(8);
                head.put(to);
            }
            Self::Checkpoint(checkpoint) => {
                to.push(9);
                put_blob(checkpoint, to);
            }
            Self::Decided(decided) => {
                to.push(10);
                decided.head.put(to);
                decided.parameters.put(to);
                decided.decisions.put(to);
            }
            Self::Said(said) => {
                to.push(11);
                said.put(to);
            }
            Self::Node(node) => {
                to.push(7);
                to.push(u8::from(node.is_some()));
                if let Some(node) = node {
                    to.extend(node.height.get().to_be_bytes());
                    to.extend(node.key.as_bytes());
                    to.extend(node.settled.to_be_bytes());
                }
            }
        }
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(match from.u8("a tag")? {
            0 => Self::No(Refused::get(from)?),
            1 => Self::Status(Status::get(from)?),
            2 => Self::Genesis(from.blob(MESSAGE_LIMIT, "the genesis")?),
            3 => Self::Submitted(from.list(SUBMIT_COUNT, "the answers", |from| {
                Ok(match from.u8("an answer")? {
                    0 => Submitted::Refused(Refused::get(from)?),
                    1 => Submitted::Accepted(TransactionId::from_bytes(from.array("a digest")?)),
                    _ => return Err(DecodeError::Malformed("an answer")),
                })
            })?),
            4 => Self::Proof(from.blob(MESSAGE_LIMIT, "a proof")?),
            5 => Self::Blocks(Stretch::get(from)?),
            6 => Self::Account(AccountAnswer {
                height: from.height()?,
                balance: from.u64("a balance")?,
                nonce: from.u64("a nonce")?,
            }),
            7 => Self::Node(match from.flag("whether there is a node")? {
                false => None,
                true => Some(NodeAnswer {
                    height: from.height()?,
                    key: from.key()?,
                    settled: from.u64("a count")?,
                }),
            }),
            8 => Self::Head(Head::get(from)?),
            9 => Self::Checkpoint(from.blob(MAX_NOTE_BYTES, "a checkpoint")?),
            10 => Self::Decided(Box::new(DecidedAnswer {
                head: Head::get(from)?,
                parameters: ShownRecord::get(from)?,
                decisions: ShownRecord::get(from)?,
            })),
            11 => Self::Said(Box::new(SaidAnswer::get(from)?)),
            _ => return Err(DecodeError::Malformed("a tag")),
        })
    }
}

impl Message for Head {
    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.header.to_bytes());
        put_blob(&self.certificate.to_bytes(), to);
        put_list(&self.ends, to, |end, to| {
            to.extend(end.header.to_bytes());
            put_blob(&end.certificate.to_bytes(), to);
            put_blob(&end.next.to_bytes(), to);
        });
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(Self {
            header: from.header()?,
            certificate: from.certificate()?,
            ends: from.list(MAX_ENDS, "the ends of epochs", |from| {
                Ok(EpochEnd {
                    header: from.header()?,
                    certificate: from.certificate()?,
                    next: ValidatorSet::from_bytes(&from.blob(VALIDATORS_LIMIT, "validators")?)
                        .map_err(|_| DecodeError::Malformed("validators"))?,
                })
            })?,
        })
    }
}

impl Message for SaidAnswer {
    fn put(&self, to: &mut Vec<u8>) {
        self.head.put(to);
        to.push(u8::from(self.record.is_some()));
        if let Some(record) = &self.record {
            put_blob(record, to);
        }
        put_blob(&self.proof.to_bytes(), to);
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(Self {
            head: Head::get(from)?,
            record: match from.flag("whether there is a record")? {
                false => None,
                true => Some(from.blob(ANY_RECORD_LIMIT, "a record")?),
            },
            proof: from.state_proof()?,
        })
    }
}

impl Message for ShownRecord {
    fn put(&self, to: &mut Vec<u8>) {
        put_blob(&self.record, to);
        put_blob(&self.proof.to_bytes(), to);
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(Self {
            record: from.blob(RECORD_LIMIT, "a record")?,
            proof: from.state_proof()?,
        })
    }
}

impl Message for Refused {
    fn put(&self, to: &mut Vec<u8>) {
        to.push(self.code as u8);
        put_text(&self.sentence, to);
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(Self {
            code: match from.u8("a code")? {
                1 => RefusedCode::Malformed,
                2 => RefusedCode::Unknown,
                3 => RefusedCode::NotYet,
                4 => RefusedCode::Busy,
                5 => RefusedCode::Broken,
                6 => RefusedCode::Impossible,
                _ => return Err(DecodeError::Malformed("a code")),
            },
            sentence: from.text("a sentence")?,
        })
    }
}

impl Message for Status {
    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.chain.as_bytes());
        to.extend(self.height.get().to_be_bytes());
        to.extend(self.block.as_bytes());
        for number in [self.time_ms, self.epoch, self.receipts] {
            to.extend(number.to_be_bytes());
        }
        to.extend(self.log_root);
        to.extend(self.state_root);
        put_list(&self.validators, to, |one, to| {
            to.extend(one.vote_key.as_bytes());
            put_text(&one.name, to);
            to.push(u8::from(one.connected));
        });
        to.extend(self.waiting.to_be_bytes());
        to.extend(self.seen.get().to_be_bytes());
        to.extend(self.faults.to_be_bytes());
        to.push(u8::from(self.votes));
    }

    fn get(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(Self {
            chain: ChainId::from_bytes(from.array("the chain")?),
            height: from.height()?,
            block: BlockDigest::from_bytes(from.array("a digest")?),
            time_ms: from.u64("a time")?,
            epoch: from.u64("an epoch")?,
            receipts: from.u64("a count")?,
            log_root: from.array("a root")?,
            state_root: from.array("a root")?,
            validators: from.list(MAX_VALIDATORS, "the validators", |from| {
                Ok(ValidatorStatus {
                    vote_key: from.key()?,
                    name: from.text("a name")?,
                    connected: from.flag("whether it is connected")?,
                })
            })?,
            waiting: from.u64("a count")?,
            seen: from.height()?,
            faults: from.u32("a count")?,
            votes: from.flag("whether it votes")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            height: Height::new(3),
            epoch: Epoch::new(1),
            parent: BlockDigest::from_bytes([1; 32]),
            body: Digest::of(b"body"),
            log_size: 5,
            log_root: tally_log::Hash::from_bytes([2; 32]),
            state_root: tally_ledger::StateRoot::new(Digest::of(b"state")),
            time: tally_receipt::Timestamp::from_unix_ms(7).expect("a moment"),
            next_validators: Digest::of(b"validators"),
        }
    }

    fn there_and_back<M: Message + PartialEq + std::fmt::Debug>(message: M) {
        let bytes = encode(&message);
        assert_eq!(decode::<M>(bytes.clone()).as_ref(), Ok(&message));
        for cut in 0..bytes.len() {
            assert!(decode::<M>(bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
        let longer = [bytes.as_ref(), &[0]].concat();
        assert!(decode::<M>(longer.into()).is_err());
    }

    #[test]
    fn messages_come_back_and_neither_shorter_nor_longer_ones_do() {
        let block = Bytes::from_static(b"block");
        let digest = BlockDigest::from_bytes([7; 32]);
        there_and_back(BlockMessage::Block(block.clone()));
        there_and_back(BlockMessage::Want(digest));
        there_and_back(BlockMessage::Outline(Outline {
            header: header(),
            transactions: vec![
                TransactionId::from_bytes([4; 32]),
                TransactionId::from_bytes([5; 32]),
            ],
        }));
        there_and_back(HistoryMessage::Tip(Height::new(9)));
        there_and_back(HistoryMessage::Want(Height::new(1 << 40)));
        let stretch = Stretch {
            blocks: vec![
                FinalBlock {
                    block: block.clone(),
                    certificate: Bytes::new(),
                },
                FinalBlock {
                    block,
                    certificate: Bytes::from_static(b"certificate"),
                },
            ],
        };
        there_and_back(HistoryMessage::Stretch(stretch.clone()));
        there_and_back(Answer::Blocks(stretch));
        there_and_back(Ask::Submit(Transactions(vec![Bytes::from_static(b"t")])));
        there_and_back(Ask::Prove {
            receipt: Digest::of(b"receipt"),
            wait_ms: 500,
        });
        there_and_back(HistoryMessage::Cosigned(Bytes::from_static(b"note")));
        let names = vec![TransactionId::from_bytes([6; 32]); 2];
        there_and_back(HistoryMessage::Waiting(names.clone()));
        there_and_back(HistoryMessage::WantNamed(names));
        there_and_back(Ask::Checkpoint);
        there_and_back(Ask::ProveCosigned {
            receipt: Digest::of(b"receipt"),
            wait_ms: 500,
        });
        there_and_back(Answer::Checkpoint(Bytes::from_static(b"note")));
        let refused = Refused {
            code: RefusedCode::NotYet,
            sentence: "not yet".into(),
        };
        there_and_back(Answer::No(refused.clone()));
        there_and_back(Answer::Submitted(vec![
            Submitted::Accepted(TransactionId::from_bytes([3; 32])),
            Submitted::Refused(refused),
        ]));
        let key = tally_receipt::SigningKey::from_seed(&[1; 32]).public_key();
        there_and_back(Ask::Node(NodeId::new(key)));
        there_and_back(HistoryMessage::WantNumbered(vec![
            Gap {
                of: Numbered::Account(AccountId::new(key)),
                from: 3,
                before: 5,
            },
            Gap {
                of: Numbered::Node(NodeId::new(key)),
                from: 0,
                before: u64::MAX,
            },
        ]));
        there_and_back(Ask::ProvePlace {
            node: NodeId::new(key),
            sequence: Sequence::new(7),
            wait_ms: 20_000,
        });
        there_and_back(Answer::Node(None));
        there_and_back(Answer::Node(Some(NodeAnswer {
            height: Height::new(2),
            key,
            settled: 77,
        })));
        there_and_back(Answer::Status(Status {
            chain: ChainId::from_bytes([1; 32]),
            height: Height::new(5),
            block: digest,
            time_ms: 1,
            epoch: 2,
            receipts: 3,
            log_root: [4; 32],
            state_root: [5; 32],
            validators: vec![ValidatorStatus {
                vote_key: key,
                name: "one".into(),
                connected: true,
            }],
            waiting: 6,
            seen: Height::new(7),
            faults: 8,
            votes: false,
        }));
    }

    #[test]
    fn more_names_or_gaps_than_one_answer_is_for_are_refused_and_so_is_an_empty_gap() {
        let names = |count| vec![TransactionId::from_bytes([6; 32]); count];
        let key = tally_receipt::SigningKey::from_seed(&[1; 32]).public_key();
        let gap = Gap {
            of: Numbered::Node(NodeId::new(key)),
            from: 3,
            before: 4,
        };
        let read = |message: &HistoryMessage| decode::<HistoryMessage>(encode(message));
        assert!(read(&HistoryMessage::Waiting(names(NAMES_COUNT))).is_ok());
        assert!(read(&HistoryMessage::WantNumbered(vec![gap; GAPS_COUNT])).is_ok());
        for refused in [
            HistoryMessage::Waiting(names(NAMES_COUNT + 1)),
            HistoryMessage::WantNamed(names(NAMES_COUNT + 1)),
            HistoryMessage::WantNumbered(vec![gap; GAPS_COUNT + 1]),
            HistoryMessage::WantNumbered(vec![Gap { before: 3, ..gap }]),
        ] {
            assert!(read(&refused).is_err(), "{refused:?}");
        }
    }

    /// Each bit of each sample alone; `fuzzing` has more at once.
    #[test]
    fn altered_messages_are_refused_or_mean_what_they_say() {
        for (_, sample) in crate::fuzzing::samples()
            .into_iter()
            .filter(|(target, _)| *target == "wire")
        {
            for place in 0..sample.len() {
                for bit in 0..8 {
                    let mut altered = sample.clone();
                    altered[place] ^= 1 << bit;
                    crate::fuzzing::wire(&altered);
                }
            }
        }
    }
}

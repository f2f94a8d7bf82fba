//! What can be asked of the ledger.
//!
//! ```text
//! kind u8 || fields of the kind || count u8 of signatures || for each: key 32 || signature 64    ascending by key
//! ```
//!
//! Every signature is over the same bytes, which name the chain, so that nothing can be repeated on another:
//!
//! ```text
//! "tally-ledger-transaction-v1\n" || chain id 32 || kind u8 || fields of the kind
//! ```
//!
//! The keys stand beside the signatures, so whether they hold can be checked without the state ([`Checked`]); whether
//! they are the right keys is the state's business (`state/rules.rs`). A signature holds by the strict rule of
//! `docs/receipt.md`, the one for receipts: one alone and many together give the same answer.
//!
//! `docs/ledger.md` has the fields of every kind.

use std::sync::{Arc, OnceLock};

use tally_receipt::{Digest, Label, PublicKey, Signature, SigningKey, verify_signatures};

use crate::id::{
    AccountId, AccountNonce, ChainId, Credits, Decision, Height, HoldId, NodeId, Purpose, Revision,
    Sequence, TransactionId, hash,
};
use crate::params::Parameters;
use crate::validators::{MAX_VALIDATORS, ValidatorSet};
use crate::voucher::Voucher;
use crate::wire::{DecodeError, Reader, Write};

/// Receipts in one settlement.
pub const MAX_RECEIPTS_IN_SETTLEMENT: usize = 4096;

/// Bytes of one transaction: a settlement in full takes up to 512 KiB for one receipt, so this is room for two.
pub const MAX_TRANSACTION_BYTES: usize = 1 << 20;

/// Signatures of one transaction: a decision has those of all validators, and a registration two more.
pub const MAX_SIGNATURES: usize = MAX_VALIDATORS + 2;

/// What is asked of the ledger, not yet signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Move credits from one account to another. Signed by the first.
    Transfer {
        /// Whose credits.
        from: AccountId,
        /// The next one of that account.
        nonce: AccountNonce,
        /// To whom.
        to: AccountId,
        /// How many, at least one.
        amount: Credits,
    },
    /// Set credits aside for a payee, who redeems them by vouchers. Signed by the payer.
    Reserve {
        /// Whose credits.
        payer: AccountId,
        /// The next one of that account. With the payer, it names the hold.
        nonce: AccountNonce,
        /// For whom.
        payee: AccountId,
        /// How many, at least one.
        amount: Credits,
        /// From this height on the payer may take back what is left.
        expires: Height,
    },
    /// Pay out what a payer's voucher grants. Signed by the payee.
    Redeem {
        /// Of which hold.
        hold: HoldId,
        /// The payer's promise. None pays nothing, which only makes sense with `close`.
        voucher: Option<Voucher>,
        /// Whether the rest goes back to the payer and the hold ends.
        close: bool,
    },
    /// Take back what is left of a hold after it expired. Signed by the payer.
    Release {
        /// Which hold.
        hold: HoldId,
    },
    /// Take what genesis gives to every account that asks, once. Signed by the account.
    Claim {
        /// Which account.
        account: AccountId,
    },
    /// Register a node. Signed by its key, by its owner and, where registration is not open, by a quorum of validators.
    Register {
        /// Who is responsible for it.
        owner: AccountId,
        /// The key that names it from now on.
        node: NodeId,
        /// What it does, under which conditions.
        terms: Terms,
    },
    /// Change a node's registration, or its key. Signed by its present key and by the new one, if that is another.
    Update {
        /// Which node.
        node: NodeId,
        /// The next one of that node.
        revision: Revision,
        /// Its key from now on.
        key: PublicKey,
        /// Its terms from now on. Without roles it is retired.
        terms: Terms,
    },
    /// Log receipts. Signed by the node's key.
    Settle {
        /// Which node.
        node: NodeId,
        /// The place of the first among all that the node settled: how many it settled before.
        first: Sequence,
        /// The receipts, at least one.
        receipts: Settlement,
    },
    /// Change the ledger itself. Signed by a quorum of validators.
    Decide {
        /// The next one.
        decision: Decision,
        /// What is decided.
        change: Change,
    },
}

/// Receipts to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Only their digests: nobody but the node and its client knows what they say.
    Hashes(Vec<Digest>),
    /// The receipts themselves, each of whose signatures every validator checks.
    Full(Vec<Box<[u8]>>),
}

impl Settlement {
    /// How many receipts.
    pub fn count(&self) -> usize {
        match self {
            Self::Hashes(digests) => digests.len(),
            Self::Full(receipts) => receipts.len(),
        }
    }

    /// The receipts' digests, in order.
    pub fn digests(&self) -> Vec<Digest> {
        match self {
            Self::Hashes(digests) => digests.clone(),
            Self::Full(receipts) => receipts.iter().map(|bytes| Digest::of(bytes)).collect(),
        }
    }
}

/// What a node does, under which conditions. The ledger orders and shows it; it cannot know whether it is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What it does.
    pub roles: Roles,
    /// The digest of evidence about it, such as a quote of its hardware with all that is needed to check it.
    pub evidence: Option<Digest>,
    /// Where it is reached.
    pub endpoint: Option<Label>,
    /// What it asks for a thousand tokens.
    pub price: Credits,
}

/// What a node does. None: it is retired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roles(u8);

impl Roles {
    /// Nothing any more.
    pub const NONE: Self = Self(0);
    /// Answers requests to models.
    pub const INFERENCE: Self = Self(1);
    /// Attests data.
    pub const DATA: Self = Self(2);
    /// Keeps blobs.
    pub const STORAGE: Self = Self(4);
    /// Runs agents.
    pub const RUN: Self = Self(8);

    const ALL: u8 = 15;

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is any.
    pub const fn any(self) -> bool {
        self.0 != 0
    }
}

/// What validators decide on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Who votes on the blocks after this one.
    Validators(ValidatorSet),
    /// The parameters from the next block on.
    Parameters(Parameters),
}

impl HoldId {
    /// The name of what `payer` sets aside by the transaction with this nonce.
    pub fn of(payer: AccountId, nonce: AccountNonce) -> Self {
        Self::new(hash(Purpose::Hold, |hasher| {
            hasher.put(payer.as_bytes());
            hasher.put_u64(nonce.get());
        }))
    }
}

/// A signed request. Whether the signatures hold is not known yet. Clones share it.
#[derive(Clone, Debug)]
pub struct Transaction(Arc<Signed>);

#[derive(Debug)]
struct Signed {
    request: Request,
    /// Ascending by key, each key once, at least one.
    signatures: Vec<(PublicKey, Signature)>,
    /// The transaction as it is written, which has one spelling; so this decides whether two are the same.
    bytes: Box<[u8]>,
    /// How many of them, from the start, are the request.
    request_bytes: usize,
    id: TransactionId,
    /// Of the receipts that it settles, once somebody has asked.
    digests: OnceLock<Box<[Digest]>>,
}

impl PartialEq for Transaction {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Transaction {}

/// A transaction for a chain, whose signatures all hold and whose receipts, if it carries any in full, are receipts
/// with good signatures. That is everything that can be said about it without the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    transaction: Transaction,
    chain: ChainId,
}

/// Why a transaction can never be good, whatever the state. Its sender is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A signature does not hold.
    #[error("the signature of {0} does not hold for this transaction on this chain")]
    BadSignature(PublicKey),
    /// A receipt that is settled in full is none.
    #[error("receipt {index} of the settlement is no receipt: {reason}")]
    NoReceipt {
        /// Which one, from 0.
        index: usize,
        /// Why not.
        reason: tally_receipt::ReceiptError,
    },
    /// A receipt that is settled in full is signed badly.
    #[error("receipt {index} of the settlement has a bad signature")]
    BadReceipt {
        /// Which one, from 0.
        index: usize,
    },
}

impl Request {
    const fn kind(&self) -> u8 {
        match self {
            Self::Transfer { .. } => 1,
            Self::Reserve { .. } => 2,
            Self::Redeem { .. } => 3,
            Self::Release { .. } => 4,
            Self::Claim { .. } => 5,
            Self::Register { .. } => 6,
            Self::Update { .. } => 7,
            Self::Settle { .. } => 8,
            Self::Decide { .. } => 9,
        }
    }

    /// The bytes that signers sign.
    pub fn signed_bytes(&self, chain: ChainId) -> Vec<u8> {
        let mut bytes = signed_prefix(chain);
        self.write(&mut bytes);
        bytes
    }

    /// Signs with every key given. For several signers in different places, each signs
    /// [`signed_bytes`](Self::signed_bytes) and [`Transaction::new`] puts the signatures together.
    ///
    /// # Errors
    /// [`DecodeError`], as [`Transaction::new`].
    pub fn sign(self, chain: ChainId, keys: &[&SigningKey]) -> Result<Transaction, DecodeError> {
        let message = self.signed_bytes(chain);
        let signatures = keys
            .iter()
            .map(|key| (key.public_key(), key.sign(&message)))
            .collect();
        Transaction::new(self, signatures)
    }

    fn write(&self, to: &mut impl Write) {
        to.put_u8(self.kind());
        match self {
            Self::Transfer {
                from,
                nonce,
                to: payee,
                amount,
            } => {
                to.put(from.as_bytes());
                to.put_u64(nonce.get());
                to.put(payee.as_bytes());
                to.put_u64(amount.get());
            }
            Self::Reserve {
                payer,
                nonce,
                payee,
                amount,
                expires,
            } => {
                to.put(payer.as_bytes());
                to.put_u64(nonce.get());
                to.put(payee.as_bytes());
                to.put_u64(amount.get());
                to.put_u64(expires.get());
            }
            Self::Redeem {
                hold,
                voucher,
                close,
            } => {
                to.put(hold.as_bytes());
                to.put_u8(u8::from(*close));
                to.put_u8(u8::from(voucher.is_some()));
                if let Some(voucher) = voucher {
                    to.put_u64(voucher.total.get());
                    to.put(voucher.signature.as_bytes());
                }
            }
            Self::Release { hold } => to.put(hold.as_bytes()),
            Self::Claim { account } => to.put(account.as_bytes()),
            Self::Register { owner, node, terms } => {
                to.put(owner.as_bytes());
                to.put(node.as_bytes());
                terms.write(to);
            }
            Self::Update {
                node,
                revision,
                key,
                terms,
            } => {
                to.put(node.as_bytes());
                to.put_u64(revision.get());
                to.put(key.as_bytes());
                terms.write(to);
            }
            Self::Settle {
                node,
                first,
                receipts,
            } => {
                to.put(node.as_bytes());
                to.put_u64(first.get());
                match receipts {
                    Settlement::Hashes(digests) => {
                        to.put_u8(0);
                        to.put_count(digests.len());
                        for digest in digests {
                            to.put(digest.as_bytes());
                        }
                    }
                    Settlement::Full(receipts) => {
                        to.put_u8(1);
                        to.put_count(receipts.len());
                        for receipt in receipts {
                            to.put_counted(receipt);
                        }
                    }
                }
            }
            Self::Decide { decision, change } => {
                to.put_u64(decision.get());
                match change {
                    Change::Validators(validators) => {
                        to.put_u8(0);
                        validators.write(to);
                    }
                    Change::Parameters(parameters) => {
                        to.put_u8(1);
                        parameters.write(to);
                    }
                }
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let account = |reader: &mut Reader<'_>, part| reader.key(part).map(AccountId::new);
        Ok(match reader.u8("a transaction's kind")? {
            1 => Self::Transfer {
                from: account(reader, "the sender")?,
                nonce: AccountNonce::new(reader.u64("a nonce")?),
                to: account(reader, "the recipient")?,
                amount: Credits::new(reader.u64("an amount")?),
            },
            2 => Self::Reserve {
                payer: account(reader, "the payer")?,
                nonce: AccountNonce::new(reader.u64("a nonce")?),
                payee: account(reader, "the payee")?,
                amount: Credits::new(reader.u64("an amount")?),
                expires: Height::new(reader.u64("a height")?),
            },
            3 => Self::Redeem {
                hold: HoldId::new(reader.digest("a hold")?),
                close: reader.flag("whether to close")?,
                voucher: match reader.flag("whether there is a voucher")? {
                    false => None,
                    true => Some(Voucher {
                        total: Credits::new(reader.u64("an amount")?),
                        signature: reader.signature("a voucher")?,
                    }),
                },
            },
            4 => Self::Release {
                hold: HoldId::new(reader.digest("a hold")?),
            },
            5 => Self::Claim {
                account: account(reader, "the account")?,
            },
            6 => Self::Register {
                owner: account(reader, "the owner")?,
                node: NodeId::new(reader.key("the node")?),
                terms: Terms::read(reader)?,
            },
            7 => Self::Update {
                node: NodeId::new(reader.key("the node")?),
                revision: Revision::new(reader.u64("a revision")?),
                key: reader.key("the node's key")?,
                terms: Terms::read(reader)?,
            },
            8 => Self::Settle {
                node: NodeId::new(reader.key("the node")?),
                first: Sequence::new(reader.u64("a sequence number")?),
                receipts: Settlement::read(reader)?,
            },
            9 => Self::Decide {
                decision: Decision::new(reader.u64("a decision's number")?),
                change: match reader.u8("what is decided")? {
                    0 => Change::Validators(ValidatorSet::read(reader)?),
                    1 => Change::Parameters(Parameters::read(reader)?),
                    found => {
                        return Err(DecodeError::Unknown {
                            part: "what is decided",
                            found: found.into(),
                        });
                    }
                },
            },
            found => {
                return Err(DecodeError::Unknown {
                    part: "a transaction's kind",
                    found: found.into(),
                });
            }
        })
    }
}

impl Settlement {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const PART: &str = "the receipts";
        let settlement = match reader.u8("how receipts are settled")? {
            0 => Self::Hashes(reader.list(
                MAX_RECEIPTS_IN_SETTLEMENT,
                Digest::LENGTH,
                PART,
                |reader| reader.digest("a receipt's digest"),
            )?),
            1 => Self::Full(reader.list(MAX_RECEIPTS_IN_SETTLEMENT, 4, PART, |reader| {
                reader
                    .counted(tally_receipt::limits::MAX_ENVELOPE_BYTES, "a receipt")
                    .map(Into::into)
            })?),
            found => {
                return Err(DecodeError::Unknown {
                    part: "how receipts are settled",
                    found: found.into(),
                });
            }
        };
        if settlement.count() == 0 {
            return Err(DecodeError::Empty { part: PART });
        }
        Ok(settlement)
    }
}

impl Terms {
    pub(crate) fn write(&self, to: &mut impl Write) {
        to.put_u8(self.roles.0);
        to.put_u8(u8::from(self.evidence.is_some()));
        if let Some(evidence) = &self.evidence {
            to.put(evidence.as_bytes());
        }
        to.put_text(self.endpoint.as_ref().map_or("", Label::as_str));
        to.put_u64(self.price.get());
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let roles = reader.u8("the roles")?;
        if roles & !Roles::ALL != 0 {
            return Err(DecodeError::Unknown {
                part: "the roles",
                found: roles.into(),
            });
        }
        Ok(Self {
            roles: Roles(roles),
            evidence: match reader.flag("whether there is evidence")? {
                false => None,
                true => Some(reader.digest("the evidence")?),
            },
            endpoint: match reader.text("the endpoint")? {
                "" => None,
                text => Some(Label::new(text).map_err(|_| DecodeError::TooLong {
                    part: "the endpoint",
                    found: text.len(),
                    limit: tally_receipt::limits::MAX_LABEL_BYTES,
                })?),
            },
            price: Credits::new(reader.u64("the price")?),
        })
    }
}

impl Transaction {
    /// Puts a request and its signatures together, whatever their order.
    ///
    /// # Errors
    /// [`DecodeError`] as for bytes: without a signature, with two of one key, with too many, or too large.
    pub fn new(
        request: Request,
        mut signatures: Vec<(PublicKey, Signature)>,
    ) -> Result<Self, DecodeError> {
        let receipts = match &request {
            Request::Settle { receipts, .. } => receipts.count(),
            _ => 0,
        };
        for (part, found, limit) in [
            ("the receipts", receipts, MAX_RECEIPTS_IN_SETTLEMENT),
            ("the signatures", signatures.len(), MAX_SIGNATURES),
        ] {
            if found > limit {
                return Err(DecodeError::TooLong { part, found, limit });
            }
        }
        signatures.sort_by_key(|(key, _)| *key);
        let mut bytes = Vec::new();
        request.write(&mut bytes);
        bytes.put_count(signatures.len());
        for (key, signature) in &signatures {
            bytes.put(key.as_bytes());
            bytes.put(signature.as_bytes());
        }
        Self::from_bytes(&bytes)
    }

    /// What is asked.
    pub fn request(&self) -> &Request {
        &self.0.request
    }

    /// Who signed, ascending.
    pub fn signers(&self) -> impl Iterator<Item = PublicKey> {
        self.0.signatures.iter().map(|(key, _)| *key)
    }

    /// Who signed, ascending, and their signatures: what [`Transaction::new`] takes with others to make one of it all.
    pub fn signatures(&self) -> &[(PublicKey, Signature)] {
        &self.0.signatures
    }

    /// The digest of the transaction with its signatures.
    pub fn id(&self) -> TransactionId {
        self.0.id
    }

    /// The transaction as it is written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// A copy of [`as_bytes`](Self::as_bytes).
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.bytes.to_vec()
    }

    /// The digests of the receipts that it settles, in order.
    pub fn receipts(&self) -> &[Digest] {
        match &self.0.request {
            Request::Settle {
                receipts: Settlement::Hashes(digests),
                ..
            } => digests,
            Request::Settle { receipts, .. } => self
                .0
                .digests
                .get_or_init(|| receipts.digests().into_boxed_slice()),
            _ => &[],
        }
    }

    /// The bytes that signers signed, if they signed for this chain.
    fn signed_bytes(&self, chain: ChainId) -> Vec<u8> {
        let mut bytes = signed_prefix(chain);
        bytes.put(&self.0.bytes[..self.0.request_bytes]);
        bytes
    }

    /// Reads a transaction.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_TRANSACTION_BYTES {
            return Err(DecodeError::TooLong {
                part: "a transaction",
                found: bytes.len(),
                limit: MAX_TRANSACTION_BYTES,
            });
        }
        Reader::whole(bytes, |reader| {
            const PART: &str = "the signatures";
            let request = Request::read(reader)?;
            let request_bytes = bytes.len() - reader.remaining();
            let signatures = reader.list(MAX_SIGNATURES, 96, PART, |reader| {
                Ok((reader.key("a signer")?, reader.signature("a signature")?))
            })?;
            if signatures.is_empty() {
                return Err(DecodeError::Empty { part: PART });
            }
            if !signatures.is_sorted_by(|(one, _), (next, _)| one < next) {
                return Err(DecodeError::Order { part: PART });
            }
            Ok(Self(Arc::new(Signed {
                request,
                signatures,
                bytes: bytes.into(),
                request_bytes,
                id: TransactionId::new(hash(Purpose::Transaction, |hasher| hasher.put(bytes))),
                digests: OnceLock::new(),
            })))
        })
    }
}

fn signed_prefix(chain: ChainId) -> Vec<u8> {
    let mut bytes = b"tally-ledger-transaction-v1\n".to_vec();
    bytes.put(chain.as_bytes());
    bytes
}

impl Checked {
    /// Checks a transaction.
    ///
    /// # Errors
    /// [`CheckError`] when it can never be good.
    pub fn check(transaction: Transaction, chain: ChainId) -> Result<Self, CheckError> {
        Self::check_many(vec![transaction], chain)
            .pop()
            .expect("there is one answer for each transaction")
    }

    /// Checks many, one answer for each, in order: the same that [`check`](Self::check) gives. Many signatures of one
    /// key are faster checked together.
    pub fn check_many(
        transactions: Vec<Transaction>,
        chain: ChainId,
    ) -> Vec<Result<Self, CheckError>> {
        let messages: Vec<Vec<u8>> = transactions
            .iter()
            .map(|transaction| transaction.signed_bytes(chain))
            .collect();
        let signed: Vec<(PublicKey, &[u8], &Signature)> = transactions
            .iter()
            .zip(&messages)
            .flat_map(|(transaction, message)| {
                transaction
                    .0
                    .signatures
                    .iter()
                    .map(|(key, signature)| (*key, message.as_slice(), signature))
            })
            .collect();
        let mut holds = verify_signatures(&signed).into_iter();
        let bad: Vec<Option<PublicKey>> = transactions
            .iter()
            .map(|transaction| {
                // Every answer must be taken, whatever the ones before it say.
                let mut bad = None;
                for ((key, _), holds) in transaction.0.signatures.iter().zip(holds.by_ref()) {
                    if !holds {
                        bad = bad.or(Some(*key));
                    }
                }
                bad
            })
            .collect();
        transactions
            .into_iter()
            .zip(bad)
            .map(|(transaction, bad)| {
                if let Some(key) = bad {
                    return Err(CheckError::BadSignature(key));
                }
                if let Request::Settle {
                    receipts: Settlement::Full(receipts),
                    ..
                } = transaction.request()
                {
                    check_receipts(receipts)?;
                }
                Ok(Self { transaction, chain })
            })
            .collect()
    }

    /// Takes a transaction for checked without checking it: for whoever has checked it before and kept it where nobody else
    /// writes. What is not good and is taken so is executed all the same.
    pub const fn known_to_be_good(transaction: Transaction, chain: ChainId) -> Self {
        Self { transaction, chain }
    }

    /// The transaction.
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// The chain it was checked for.
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// Its digest.
    pub fn id(&self) -> TransactionId {
        self.transaction.id()
    }
}

fn check_receipts(receipts: &[Box<[u8]>]) -> Result<(), CheckError> {
    let parsed = receipts
        .iter()
        .enumerate()
        .map(|(index, bytes)| {
            tally_receipt::Receipt::parse(bytes)
                .map_err(|reason| CheckError::NoReceipt { index, reason })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let messages: Vec<Vec<u8>> = parsed
        .iter()
        .map(|receipt| tally_receipt::pre_authentication_encoding(receipt.envelope().payload()))
        .collect();
    let mut of = Vec::new();
    let mut signed = Vec::new();
    for (index, receipt) in parsed.iter().enumerate() {
        for one in receipt.envelope().signatures() {
            of.push(index);
            signed.push((one.key, messages[index].as_slice(), &one.signature));
        }
    }
    match of
        .into_iter()
        .zip(verify_signatures(&signed))
        .find(|(_, holds)| !holds)
    {
        Some((index, _)) => Err(CheckError::BadReceipt { index }),
        None => Ok(()),
    }
}

//! What a ledger must show: the trait under the explorer.
//!
//! Everything but a proof is what nodes say and is shown as that. A proof is handed to the reader's browser as it is, and
//! checked there.

use std::pin::Pin;

use crate::time::UnixMs;

/// An answer that takes its time.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A ledger, as somebody sees it who asks its nodes.
pub trait LedgerView: Send + Sync + 'static {
    /// How the network is.
    fn overview(&self) -> Later<'_, Overview>;

    /// A receipt that is settled, by its digest in 64 hex digits; none if it is not.
    fn receipt<'a>(
        &'a self,
        digest: &'a str,
    ) -> Later<'a, Result<Option<SettledReceipt>, LedgerError>>;

    /// The genesis file of the chain.
    fn genesis(&self) -> &str;

    /// A file of evidence, by its name in the overview.
    fn evidence(&self, name: &str) -> Option<Vec<u8>>;
}

/// Why a ledger did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// What was asked for has no such name; the caller.
    #[error("{0:?} is no digest of a receipt: one has 64 hex digits")]
    NoDigest(String),
    /// No validator answered. It may later.
    #[error("no validator answered: {0}")]
    Nobody(String),
    /// As much is being asked of the validators as may be at once. It will do in a moment.
    #[error(
        "the validators are being asked for as many receipts as may be at once; try again in a moment"
    )]
    Busy,
}

/// How a network is.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// What genesis calls it.
    pub name: String,
    /// The chain's name, in hex.
    pub chain: String,
    /// When this was asked.
    pub asked: UnixMs,
    /// The last final block, as its certificate shows.
    pub height: u64,
    /// Its time, by its proposer's clock; none at genesis.
    pub time: Option<UnixMs>,
    /// How often the validators have changed.
    pub epoch: u64,
    /// Receipts in the log.
    pub receipts: u64,
    /// How many validators may be away or lie.
    pub tolerated: usize,
    /// Those that vote now.
    pub validators: Vec<ValidatorRow>,
    /// The last final blocks, newest first.
    pub blocks: Vec<BlockRow>,
    /// The last receipts, newest first.
    pub arrivals: Vec<Arrival>,
    /// Validators that are shown to have signed what excludes each other.
    pub faults: Vec<FaultRow>,
    /// What this machine has yet to settle there; none where it settles nothing.
    pub own: Option<OwnReceipts>,
}

/// Receipts of this machine that are on their way to a ledger.
#[derive(Clone, Debug)]
pub struct OwnReceipts {
    /// How many wait; none where nobody can tell, and then the trouble says why.
    pub waiting: Option<u64>,
    /// How many can never be settled and were set aside, since somebody cleared them the last time.
    pub refused: u64,
    /// Why they are not settled, for a person.
    pub trouble: Option<String>,
}

/// A validator.
#[derive(Clone, Debug)]
pub struct ValidatorRow {
    /// What genesis, or the decision that let it in, calls it.
    pub name: String,
    /// Its key, in hex.
    pub key: String,
    /// What it says of itself, or why it says nothing.
    pub answer: Result<ValidatorAnswer, String>,
}

/// What a validator says of itself.
#[derive(Clone, Copy, Debug)]
pub struct ValidatorAnswer {
    /// Its last final block.
    pub height: u64,
    /// Whether it votes.
    pub votes: bool,
    /// How many of the validators it has a connection with, itself included.
    pub connected: usize,
    /// Transactions that wait there.
    pub waiting: u64,
    /// Faults of others that it has evidence of.
    pub faults: u32,
}

/// A final block.
#[derive(Clone, Copy, Debug)]
pub struct BlockRow {
    /// Its place.
    pub height: u64,
    /// By its proposer's clock.
    pub time: UnixMs,
    /// Transactions in it.
    pub transactions: usize,
    /// Receipts in them.
    pub receipts: usize,
}

/// A receipt that has become final.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its digest, in hex.
    pub digest: String,
    /// Who settled it, in hex.
    pub node: String,
    /// As which of that node's receipts.
    pub sequence: u64,
    /// In which block.
    pub height: u64,
    /// The block's time.
    pub time: UnixMs,
    /// Whether the ledger has the whole of it.
    pub in_full: bool,
}

/// A receipt and what shows that it is settled.
#[derive(Clone, Debug)]
pub struct SettledReceipt {
    /// Its digest, in hex.
    pub digest: String,
    /// Who settled it, in hex.
    pub node: String,
    /// As which of that node's receipts.
    pub sequence: u64,
    /// The place in the log.
    pub index: u64,
    /// Receipts in the log that the proof is of.
    pub log_size: u64,
    /// The block by which the proof is made: the receipt stands in it or in one before.
    pub height: u64,
    /// That block's time.
    pub time: UnixMs,
    /// Whether the ledger has the whole of it.
    pub in_full: bool,
    /// The block in which it stands, if that is known here.
    pub block: Option<u64>,
    /// What it says, if it is at hand here: about what, and the words. Not checked.
    pub words: Vec<(String, String)>,
    /// The proof, as `tally verify` takes it.
    pub proof: Vec<u8>,
}

/// A validator that signed what excludes each other.
#[derive(Clone, Debug)]
pub struct FaultRow {
    /// The name of the file that shows it.
    pub name: String,
    /// What it shows, in a sentence.
    pub sentence: String,
    /// Whether it does, by the genesis of this chain.
    pub convicts: bool,
}

//! The quorum ledger's state machine, without I/O: what transactions mean, what a block does, and how whoever was not
//! there checks that a receipt was settled.
//!
//! * [`Request`], [`Transaction`], [`Checked`]: what can be asked, signed, and found to be signed.
//! * [`Header`], [`Block`]: what validators vote on.
//! * [`Genesis`], [`State`]: where a chain begins, and what blocks make of it. [`State::propose`] makes a block,
//!   [`State::execute`] checks one and gives the next state.
//! * [`Vote`], [`Certificate`]: what validators sign, and the proof that a block is final.
//! * [`Proof`], [`verify_proof`]: that a receipt was settled, for somebody who is offline.
//! * [`DecisionFile`]: a decision of the validators, while they sign it.
//! * [`RegistrationFile`]: a node's registration, while they sign that.
//! * [`Voucher`], [`VoucherLine`]: what a payer promises of a hold, and how a payee is handed it.
//! * [`Evidence`], [`verify_evidence`]: that a validator signed two histories.
//!
//! Invariants of the crate:
//!
//! * No I/O, no clock, no randomness. Nothing outside a block decides what it does: every validator that executes it on
//!   one state comes to one state, or refuses it for one reason.
//! * Credits are neither made nor lost after genesis.
//! * A node's receipts are logged in its own order, without gaps, each place once.
//! * Everything read is bounded before it is allocated, and has one spelling.
//!
//! `docs/ledger.md` has the exact bytes. Out of scope: consensus, peers and disks (`p2p-ledger/node`), the tree's tiles
//! and checkpoints (`tally-log`).

mod block;
mod certificate;
mod decision;
mod evidence;
mod genesis;
mod id;
mod map;
mod params;
mod proof;
mod registration;
mod signed_file;
mod state;
mod transaction;
mod validators;
mod verify;
mod vote;
mod voucher;
mod wire;

pub use block::{Block, HEADER_BYTES, Header};
pub use certificate::{Certificate, CertificateError};
pub use decision::{DecisionError, DecisionFile, Description};
pub use evidence::{
    Evidence, MAX_EVIDENCE_BYTES, SimplexFault, code as evidence_code, verify_evidence,
};
pub use genesis::{Allocation, Faucet, Genesis, GenesisError};
pub use id::{
    AccountId, AccountNonce, BlockDigest, ChainId, Credits, Decision, Epoch, Height, HoldId,
    NodeId, Revision, Sequence, StateRoot, TransactionId,
};
pub use map::MapProof;
pub use params::{MAX_BLOCK_BYTES, MAX_BLOCK_RECEIPTS, Parameters, Registration};
pub use proof::{
    AssembleError, EpochEnd, Finality, FollowError, MAX_EPOCHS, MAX_PROOF_BYTES, Proof,
    TrustedValidators,
};
pub use registration::{RegistrationError, RegistrationFile};
pub use signed_file::{NotAValidator, SignedFileError, TooFewSigned};
pub use state::{
    Account, BlockError, Decided, Entry, Executed, FaucetPool, Hold, Node, NodeKey, NotShown,
    Proposed, Refusal, Said, Settled, SnapshotError, State, Subject, TransactionError,
};
pub use transaction::{
    Change, CheckError, Checked, MAX_RECEIPTS_IN_SETTLEMENT, MAX_SIGNATURES, MAX_TRANSACTION_BYTES,
    Request, Roles, Settlement, Terms, Transaction,
};
pub use validators::{
    InvalidName, InvalidValidators, MAX_VALIDATORS, Name, Validator, ValidatorSet,
};
pub use verify::{
    Shown, Trust, code, cosigner_name, policy_of, policy_text, verify_checkpoint, verify_proof,
};
pub use vote::{Proposal, Round, Vote, consensus_namespace};
pub use voucher::{Voucher, VoucherError, VoucherLine, WorthlessVoucher};
pub use wire::DecodeError;

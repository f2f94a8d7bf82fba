//! What a Tally receipt is and how one is checked.
//!
//! A receipt is an in-toto Statement v1 in a DSSE envelope, signed with Ed25519. The statement says what *executed*:
//! one inference ([`InferencePredicate`]), one run of an agent ([`RunPredicate`]) or the hand-over from one key to the
//! next ([`KeyRotationPredicate`]). Prompts and outputs are in it as salted commitments, which whoever holds the salt
//! opens one by one ([`Openings`]).
//!
//! ```
//! use tally_receipt::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runner = SigningKey::from_seed(&[7; 32]); // from the operating system in real life
//! let rotation = KeyRotation {
//!     from: runner.public_key(),
//!     to: SigningKey::from_seed(&[8; 32]).public_key(),
//!     at: "2026-11-21T02:30:00.000Z".parse()?,
//!     reason: Label::new("yearly rotation")?,
//! };
//! let receipt = Receipt::sign(KeyRotationPredicate::new(rotation)?, &[&runner, &SigningKey::from_seed(&[8; 32])])?;
//!
//! let read = Receipt::parse(&receipt.to_json())?;
//! let verdict = SignatureVerifier.verify(&read, &(), &Context::at("2026-11-22T00:00:00.000Z".parse()?));
//! assert_eq!(verdict.status_of(code::SIGNATURE), Some(Status::Pass));
//! // Nobody said whose key it is, so the receipt is not verified yet.
//! assert_eq!(verdict.status_of(code::SIGNER_TRUSTED), Some(Status::NotEstablished));
//! assert!(!verdict.is_verified());
//! # Ok(())
//! # }
//! ```
//!
//! Invariants of the crate:
//!
//! * No I/O, no clock, no randomness: salts, keys and `now` are arguments. It builds for `wasm32-unknown-unknown`.
//! * A receipt has one spelling. What [`Receipt::parse`] accepts, [`Receipt::to_json`] writes, byte for byte.
//! * Everything read is bounded ([`limits`]) and parsed once into types that cannot hold a wrong value.
//! * A verdict does not depend on how a signature was checked: alone and in a batch accept the same signatures.
//!
//! The formats are described for a second implementation in `docs/receipt.md`. Out of scope: where receipts and keys
//! rest (the binary), the journal that a run receipt names (`tally-journal`), other methods than `signature`
//! (they implement [`Verifier`] above this crate).

mod bytes;
mod commitment;
mod ed25519;
mod envelope;
mod inference;
mod key;
pub mod limits;
mod policy;
mod rotation;
mod run;
mod statement;
mod text;
mod time;
mod verdict;
mod verify;
mod words;

pub use bytes::{Digest, Nonce, ParseHexError, RunId};
pub use commitment::{
    Commitment, CommittedValue, Field, Opening, OpeningError, Openings, OpeningsError, Salt,
    SaltSeed, ValueRef,
};
pub use envelope::{
    Envelope, EnvelopeError, EnvelopeSignature, PAYLOAD_TYPE, pre_authentication_encoding,
};
pub use inference::{
    EngineProfile, FinishReason, Inference, InferenceError, InferencePredicate, Lane, Links, Model,
    Operation, Output, Prompt, Sampling, Seed, StopStrings, Usage,
};
pub use key::{InvalidKey, PublicKey, Signature, SigningKey};
pub use policy::{
    Policy, PolicyError, Revocation, RevocationReason, Role, RotationRefused, TrustedKey,
};
pub use rotation::{KeyRotation, KeyRotationPredicate, RotationError};
pub use run::{EngineIdentity, JournalHead, Outcome, OutcomeStatus, Run, RunError, RunPredicate};
pub use statement::{Predicate, Receipt, ReceiptError, STATEMENT_TYPE, SignError};
pub use text::{Count, CountError, Label, LabelError, Real, RealError};
pub use time::{Timestamp, TimestampError};
pub use verdict::{Check, Simulated, SimulatedVerdict, Status, Verdict, code};
pub use verify::{
    Context, SignatureVerifier, Verifier, verify_batch, verify_bytes, verify_signatures,
};
pub use words::Said;

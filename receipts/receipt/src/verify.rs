//! Checking a receipt: the trait that all methods share, and the method `signature`.
//!
//! `signature` shows who says what, and that nobody altered it. Its checks, in order: [`code::FORMAT`],
//! [`code::SIGNATURE`], [`code::SIGNER_NAMED`], [`code::SIGNER_TRUSTED`], [`code::TIME`]; then for an inference
//! [`code::MODEL`], [`code::NONCE`], [`code::REPLAY`], for a run [`code::COMPONENT`]; then one [`code::OPENING`] for
//! each opening given. The first four are needed. Whatever the caller did not say what to expect of is not
//! established; it does not pass.
//!
//! Out of scope: whether the statement is true. That is what the other methods are for.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::{Digest, Nonce};
use crate::commitment::{OpeningError, Openings};
use crate::ed25519::verify_many;
use crate::envelope::pre_authentication_encoding;
use crate::inference::InferencePredicate;
use crate::key::{PublicKey, Signature};
use crate::policy::{Policy, Role, Standing};
use crate::run::RunPredicate;
use crate::statement::{Predicate, Receipt};
use crate::time::Timestamp;
use crate::verdict::{Check, Verdict, code};

/// A verification method.
pub trait Verifier {
    /// What it needs beside the receipt: an attestation, a proof, a journal; `()` for none.
    type Evidence: ?Sized;

    /// Its name.
    fn method(&self) -> &'static str;

    /// Looks at the receipt and the evidence. Never panics, whatever they are.
    fn verify(
        &self,
        receipt: &Receipt,
        evidence: &Self::Evidence,
        context: &Context<'_>,
    ) -> Verdict;
}

/// What the verifying side knows and expects. Start from [`Context::at`]; what stays `None` is not established.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The present time.
    pub now: Timestamp,
    /// Whom and what to trust.
    pub policy: Option<&'a Policy>,
    /// The nonce that was sent with the request.
    pub expected_nonce: Option<Nonce>,
    /// The weights that should have been used.
    pub expected_weights: Option<Digest>,
    /// The component that should have been run.
    pub expected_component: Option<Digest>,
    /// All nonces that were seen before this receipt.
    pub seen_nonces: Option<&'a BTreeSet<Nonce>>,
    /// A time at which the receipt is known to have existed, from something else than the receipt: a ledger, an own
    /// archive.
    pub known_since: Option<Timestamp>,
    /// Values that should be what the receipt commits to.
    pub openings: Option<&'a Openings>,
}

impl Context<'_> {
    /// Nothing known but the time.
    pub const fn at(now: Timestamp) -> Self {
        Self {
            now,
            policy: None,
            expected_nonce: None,
            expected_weights: None,
            expected_component: None,
            seen_nonces: None,
            known_since: None,
            openings: None,
        }
    }
}

/// How far a signer's clock may be ahead of ours.
const CLOCK_SKEW_MS: u64 = 5 * 60 * 1000;

/// The method `signature`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignatureVerifier;

const METHOD: &str = "signature";
const NEEDED: &[&str] = &[
    code::FORMAT,
    code::SIGNATURE,
    code::SIGNER_NAMED,
    code::SIGNER_TRUSTED,
];

impl Verifier for SignatureVerifier {
    type Evidence = ();

    fn method(&self) -> &'static str {
        METHOD
    }

    fn verify(&self, receipt: &Receipt, (): &(), context: &Context<'_>) -> Verdict {
        let message = pre_authentication_encoding(receipt.envelope().payload());
        let bad = receipt
            .envelope()
            .signatures()
            .iter()
            .find(|one| !one.key.verify(&message, &one.signature));
        verdict(receipt, bad.map(|one| one.key), context)
    }
}

/// Reads a receipt and checks it by the method `signature`. Bytes that are no receipt give a verdict too, whose only
/// check is [`code::FORMAT`].
pub fn verify_bytes(bytes: &[u8], context: &Context<'_>) -> (Option<Receipt>, Verdict) {
    match Receipt::parse(bytes) {
        Ok(receipt) => {
            let verdict = SignatureVerifier.verify(&receipt, &(), context);
            (Some(receipt), verdict)
        }
        Err(error) => {
            let check = Check::fail(code::FORMAT, error.code(), error.to_string());
            (None, Verdict::new(METHOD, NEEDED, vec![check], vec![]))
        }
    }
}

/// Whether each signature is the key's over the message beside it, strictly: what [`PublicKey::verify`] says of each
/// alone. Many of one key are faster checked together (`ed25519.rs` says how).
pub fn verify_signatures(signed: &[(PublicKey, &[u8], &Signature)]) -> Vec<bool> {
    let mut by_key: BTreeMap<PublicKey, Vec<usize>> = BTreeMap::new();
    for (index, (key, ..)) in signed.iter().enumerate() {
        by_key.entry(*key).or_default().push(index);
    }
    let mut results = vec![false; signed.len()];
    for (key, indexes) in by_key {
        let pairs: Vec<(&[u8], &Signature)> = indexes
            .iter()
            .map(|index| (signed[*index].1, signed[*index].2))
            .collect();
        for (index, holds) in indexes.into_iter().zip(verify_many(&key, &pairs)) {
            results[index] = holds;
        }
    }
    results
}

/// Checks many receipts by the method `signature`, one verdict for each, in order. A receipt gets the verdict that it
/// would get alone, except that with [`Context::seen_nonces`] a nonce also counts as seen once an earlier receipt of
/// the batch had it.
///
/// Many receipts of one key are faster checked together than alone (`ed25519.rs` says how).
pub fn verify_batch(receipts: &[Receipt], context: &Context<'_>) -> Vec<Verdict> {
    let messages: Vec<Vec<u8>> = receipts
        .iter()
        .map(|receipt| pre_authentication_encoding(receipt.envelope().payload()))
        .collect();
    let mut by_key: BTreeMap<PublicKey, Vec<(usize, &Signature)>> = BTreeMap::new();
    for (index, receipt) in receipts.iter().enumerate() {
        for one in receipt.envelope().signatures() {
            by_key
                .entry(one.key)
                .or_default()
                .push((index, &one.signature));
        }
    }
    let mut bad: Vec<Option<PublicKey>> = vec![None; receipts.len()];
    for (key, signed) in by_key {
        let pairs: Vec<(&[u8], &Signature)> = signed
            .iter()
            .map(|(index, signature)| (messages[*index].as_slice(), *signature))
            .collect();
        for ((index, _), holds) in signed.iter().zip(verify_many(&key, &pairs)) {
            if !holds {
                // The first in order of key, as when it is checked alone.
                bad[*index].get_or_insert(key);
            }
        }
    }

    let mut seen = context.seen_nonces.cloned();
    receipts
        .iter()
        .zip(bad)
        .map(|(receipt, bad)| {
            let verdict = verdict(
                receipt,
                bad,
                &Context {
                    seen_nonces: seen.as_ref(),
                    ..*context
                },
            );
            if let (Some(seen), Some(inference)) = (&mut seen, receipt.as_inference()) {
                seen.insert(inference.nonce);
            }
            verdict
        })
        .collect()
}

/// The verdict, once it is known whether a signature is bad and whose.
fn verdict(receipt: &Receipt, bad: Option<PublicKey>, context: &Context<'_>) -> Verdict {
    let predicate = receipt.predicate();
    let mut checks = Vec::with_capacity(10);
    checks.push(Check::pass(
        code::FORMAT,
        "the file is a receipt in its one spelling",
    ));
    checks.push(match bad {
        None if receipt.envelope().signatures().len() == 1 => {
            Check::pass(code::SIGNATURE, "the signature holds: nothing was altered after it was signed")
        }
        None => Check::pass(code::SIGNATURE, "all signatures hold: nothing was altered after it was signed"),
        Some(key) => Check::fail(
            code::SIGNATURE,
            "bad-signature",
            format!("the signature of {key} does not hold: the receipt was altered, or that key did not sign it"),
        ),
    });
    checks.push(signer_named(receipt));
    checks.push(signer_trusted(predicate, context));
    checks.push(time(predicate, context));
    match predicate {
        Predicate::Inference(inference) => {
            checks.push(model(inference, context));
            checks.push(nonce(inference, context));
            checks.push(replay(inference, context));
        }
        Predicate::Run(run) => checks.push(component(run, context)),
        Predicate::KeyRotation(_) => {}
    }
    if let Some(openings) = context.openings {
        checks.extend(opened(receipt, openings));
    }
    Verdict::new(METHOD, NEEDED, checks, not_proved(predicate))
}

fn signer_named(receipt: &Receipt) -> Check {
    let named = receipt.predicate().named_signers();
    match named
        .iter()
        .find(|key| !receipt.envelope().signers().any(|signer| signer == **key))
    {
        None => Check::pass(
            code::SIGNER_NAMED,
            "whoever the receipt names as its signer has signed it",
        ),
        Some(key) => Check::fail(
            code::SIGNER_NAMED,
            "other-signer",
            format!("the receipt names {key} as its signer, but somebody else signed it"),
        ),
    }
}

fn signer_trusted(predicate: &Predicate, context: &Context<'_>) -> Check {
    const CODE: &str = code::SIGNER_TRUSTED;
    let key = match predicate {
        Predicate::Inference(inference) => inference.seed.node,
        Predicate::Run(run) => run.runner,
        Predicate::KeyRotation(rotation) => rotation.from,
    };
    let role = match predicate {
        Predicate::Inference(_) => Some(Role::Inference),
        Predicate::Run(_) => Some(Role::Run),
        Predicate::KeyRotation(_) => None,
    };
    let Some(policy) = context.policy else {
        return Check::not_established(
            CODE,
            "no-policy",
            format!(
                "the receipt is signed by {key}, but without a policy nobody says whose key that is: anyone can make a key"
            ),
        );
    };
    match policy.standing(key, role, predicate.issued_at(), context.known_since) {
        Standing::Trusted(trusted) => Check::pass(
            CODE,
            format!("the policy trusts {} for this, at that time", trusted.owner),
        ),
        Standing::Unknown => Check::fail(
            CODE,
            "unknown-key",
            format!("the policy does not know the key {key}"),
        ),
        Standing::WrongRole(trusted) => Check::fail(
            CODE,
            "wrong-role",
            format!(
                "the policy trusts {}, but not for receipts of this kind",
                trusted.owner
            ),
        ),
        Standing::TooEarly(trusted) => Check::fail(
            CODE,
            "before-validity",
            format!(
                "the key of {} was valid only from {} on",
                trusted.owner, trusted.valid_from
            ),
        ),
        Standing::TooLate(trusted) => Check::fail(
            CODE,
            "after-validity",
            format!(
                "the key of {} was no longer valid at that time",
                trusted.owner
            ),
        ),
        Standing::Revoked(trusted) => Check::fail(
            CODE,
            "revoked",
            format!("the key of {} had been revoked at that time", trusted.owner),
        ),
        Standing::Compromised(trusted) => Check::fail(
            CODE,
            "compromised",
            format!(
                "somebody else may have had the key of {} at that time",
                trusted.owner
            ),
        ),
        Standing::PerhapsBackdated(trusted) => Check::not_established(
            CODE,
            "perhaps-backdated",
            format!(
                "somebody else may have the key of {} by now and could write an earlier time into a receipt; \
                 only a record that this one existed before can settle it",
                trusted.owner
            ),
        ),
    }
}

fn time(predicate: &Predicate, context: &Context<'_>) -> Check {
    let issued_at = predicate.issued_at();
    if issued_at > context.now.plus_ms(CLOCK_SKEW_MS) {
        return Check::fail(
            code::TIME,
            "in-the-future",
            format!("the receipt says it was issued at {issued_at}, which is yet to come"),
        );
    }
    match context.known_since {
        Some(known) if issued_at > known.plus_ms(CLOCK_SKEW_MS) => Check::fail(
            code::TIME,
            "known-before-issued",
            format!(
                "the receipt says it was issued at {issued_at}, but it is known to have existed at {known}"
            ),
        ),
        _ => Check::pass(
            code::TIME,
            format!("issued at {issued_at} by its signer's clock, which is not in the future"),
        ),
    }
}

fn model(inference: &InferencePredicate, context: &Context<'_>) -> Check {
    const CODE: &str = code::MODEL;
    let weights = inference.model.weights;
    if let Some(expected) = context.expected_weights
        && expected != weights
    {
        return Check::fail(
            CODE,
            "other-model",
            format!("the weights are {weights}, not the expected {expected}"),
        );
    }
    match (
        context.policy.map(|policy| policy.model(weights)),
        context.expected_weights,
    ) {
        (Some(Err(())), _) => Check::fail(
            CODE,
            "not-allowed",
            format!("the policy does not allow the weights {weights}"),
        ),
        (Some(Ok(Some(name))), _) => Check::pass(
            CODE,
            format!("the weights are those of {name}, as the policy has it"),
        ),
        (_, Some(_)) => Check::pass(CODE, "the weights are the expected ones"),
        (_, None) => Check::not_established(
            CODE,
            "nothing-expected",
            format!("nobody said which model to expect; the weights are {weights}"),
        ),
    }
}

fn component(run: &RunPredicate, context: &Context<'_>) -> Check {
    const CODE: &str = code::COMPONENT;
    let component = run.component;
    if let Some(expected) = context.expected_component
        && expected != component
    {
        return Check::fail(
            CODE,
            "other-component",
            format!("the component is {component}, not the expected {expected}"),
        );
    }
    match (
        context.policy.map(|policy| policy.component(component)),
        context.expected_component,
    ) {
        (Some(Err(())), _) => Check::fail(
            CODE,
            "not-allowed",
            format!("the policy does not allow the component {component}"),
        ),
        (Some(Ok(Some(name))), _) => Check::pass(
            CODE,
            format!("the component is {name}, as the policy has it"),
        ),
        (_, Some(_)) => Check::pass(CODE, "the component is the expected one"),
        (_, None) => Check::not_established(
            CODE,
            "nothing-expected",
            format!("nobody said which component to expect; it is {component}"),
        ),
    }
}

fn nonce(inference: &InferencePredicate, context: &Context<'_>) -> Check {
    match context.expected_nonce {
        Some(expected) if expected == inference.nonce => Check::pass(
            code::NONCE,
            "the nonce is the one that was sent: this answers that request",
        ),
        Some(_) => Check::fail(
            code::NONCE,
            "other-nonce",
            "the nonce is not the one that was sent: this answers another request",
        ),
        None => Check::not_established(
            code::NONCE,
            "nothing-expected",
            "nobody said which nonce was sent",
        ),
    }
}

fn replay(inference: &InferencePredicate, context: &Context<'_>) -> Check {
    match context.seen_nonces {
        Some(seen) if seen.contains(&inference.nonce) => Check::fail(
            code::REPLAY,
            "nonce-seen",
            "the nonce was seen before: this is an old receipt, or a second one for its request",
        ),
        Some(_) => Check::pass(code::REPLAY, "the nonce was not seen before"),
        None => Check::not_established(
            code::REPLAY,
            "no-record",
            "there is no record of nonces seen before",
        ),
    }
}

fn opened(receipt: &Receipt, openings: &Openings) -> Vec<Check> {
    let code = |path: &str| format!("{} {path}", code::OPENING);
    let digest = receipt.digest();
    openings
        .iter()
        .map(|opening| {
            let path = opening.field.path();
            let outcome = if openings.receipt() != digest {
                Err((
                    "other-receipt",
                    OpeningError::OtherReceipt {
                        expected: openings.receipt(),
                    },
                ))
            } else {
                match receipt.predicate().commitment(opening.field) {
                    None => Err((
                        "nothing-committed",
                        OpeningError::NothingCommitted(opening.field),
                    )),
                    Some(commitment) if opening.opens(&commitment) => Ok(()),
                    Some(_) => Err(("mismatch", OpeningError::Mismatch(opening.field))),
                }
            };
            match outcome {
                Ok(()) => Check::pass(
                    code(path),
                    "the value shown is the one that the receipt commits to",
                ),
                Err((reason, error)) => Check::fail(code(path), reason, error.to_string()),
            }
        })
        .collect()
}

fn not_proved(predicate: &Predicate) -> Vec<Cow<'static, str>> {
    let sentences: &[&str] = match predicate {
        Predicate::Inference(_) => &[
            "that these weights gave this output: its signer says so, and only execution, an audit or hardware evidence can show it",
            "when it happened: the time is its signer's",
            "that what the model said is true",
        ],
        Predicate::Run(_) => &[
            "that the agent made these calls: replay the journal with the component to see that",
            "that answers in the journal without a receipt of their own are genuine: its signer says so",
            "that there was no other run whose journal is not shown",
            "when it happened: the times are its signer's",
        ],
        Predicate::KeyRotation(_) => &[
            "that nobody else has either key",
            "when it happened: the time is its signer's",
        ],
    };
    sentences
        .iter()
        .map(|sentence| Cow::Borrowed(*sentence))
        .collect()
}

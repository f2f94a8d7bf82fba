//! Checking a proof of settlement, a `.tlog-proof`, or a checkpoint alone, against whom one believes.
//!
//! Two things can be believed, and either is enough where the file has what goes with it:
//!
//! * a **genesis**: its validators, and whoever they let in, made the block final; and it also gives a policy;
//! * a **policy** ([`tally_log::Policy`]): so many of these cosigners have seen the checkpoint.
//!
//! | code | passes when | otherwise |
//! |---|---|---|
//! | `proof` | the file is a proof in its one spelling, and its parts are of one tree | fail `malformed`, and no other check is made |
//! | `receipt` | the receipt at hand is the one that was settled | fail `other-receipt`; not established `no-receipt` |
//! | `validators` | the block's validators follow from genesis by certificates alone | fail `not-followed`; not established `no-genesis` |
//! | `final` | a quorum of them voted for the block with this receipt in its log | fail `not-final`; not established `no-genesis` |
//! | `cosigned` | the policy is satisfied by the checkpoint with this receipt in its tree | fail `not-cosigned`, `bad-signature`; not established `no-policy` |
//! | `settled` | `final` or `cosigned` passed | not established `nobody-to-believe` |
//! | `time` | the block's or the quorum's time is at most 5 minutes after now | fail `in-the-future`; not established `no-time` |
//!
//! `validators` and `final` are looked at where there is finality in the file, `cosigned` where there is a checkpoint.
//! What is needed: `proof`, `settled`, and that nothing failed.
//!
//! Of a checkpoint alone, `cosigned` and `time` are looked at as above, and first:
//!
//! | code | passes when | otherwise |
//! |---|---|---|
//! | `checkpoint` | the file is a checkpoint in its one spelling | fail `malformed`, and no other check is made |
//!
//! What is needed: `checkpoint`, `cosigned`, and that nothing failed.

use std::borrow::Cow;

use tally_log::{KeyName, KeyType, Policy, ProofFile, SignedCheckpoint, VerifierKey};
use tally_receipt::{Check, Digest, PublicKey, Timestamp, Verdict};

use crate::genesis::Genesis;
use crate::proof::{Finality, Proof, TrustedValidators};
use crate::state::Entry;
use crate::validators::Name;

/// The codes of these checks. Codes are stable; sentences are not.
pub mod code {
    /// The file is a proof in its one spelling.
    pub const PROOF: &str = "proof";
    /// The receipt is the one that was settled.
    pub const RECEIPT: &str = "receipt";
    /// The block's validators follow from genesis.
    pub const VALIDATORS: &str = "validators";
    /// The block is final.
    pub const FINAL: &str = "final";
    /// The policy is satisfied.
    pub const COSIGNED: &str = "cosigned";
    /// Somebody who is believed vouches for it.
    pub const SETTLED: &str = "settled";
    /// It was not settled, or cosigned, in the future.
    pub const TIME: &str = "time";
    /// The file is a checkpoint in its one spelling.
    pub const CHECKPOINT: &str = "checkpoint";
}

const METHOD: &str = "ledger";
const NEEDED: &[&str] = &[code::PROOF, code::SETTLED];
const CHECKPOINT_METHOD: &str = "checkpoint";
const CHECKPOINT_NEEDED: &[&str] = &[code::CHECKPOINT, code::COSIGNED];

/// How far validators' clocks may be ahead of ours.
const CLOCK_SKEW_MS: u64 = 5 * 60 * 1000;

/// Whom to believe.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The present time.
    pub now: Timestamp,
    /// Where the chain began.
    pub genesis: Option<&'a Genesis>,
    /// Which cosigners, and how many.
    pub policy: Option<&'a Policy>,
}

/// What a proof shows.
#[derive(Clone, Debug)]
#[must_use = "a verdict that nobody reads verifies nothing"]
pub struct Shown {
    /// Check by check.
    pub verdict: Verdict,
    /// What stands in the log, if the file could be read.
    pub entry: Option<Entry>,
    /// The receipt, when the file has it inside.
    pub receipt: Option<Box<[u8]>>,
    /// When the receipt is known to have existed, if the verdict is good. By validators' clocks.
    pub known_since: Option<Timestamp>,
}

/// Checks a proof of either kind, given the receipt if there is one beside it.
pub fn verify_proof(bytes: &[u8], receipt: Option<&[u8]>, trust: &Trust<'_>) -> Shown {
    if ProofFile::resembles(bytes) {
        return match read_proof_file(bytes) {
            Ok((entry, checkpoint)) => {
                let given = receipt.map(Digest::of);
                judge(entry, given, None, None, Some(&checkpoint), trust)
            }
            Err(sentence) => malformed(sentence),
        };
    }
    match Proof::from_bytes(bytes) {
        Ok(proof) => {
            let given = receipt.or(proof.receipt()).map(Digest::of);
            judge(
                *proof.entry(),
                given,
                proof.receipt().map(Into::into),
                proof.finality(),
                proof.checkpoint(),
                trust,
            )
        }
        Err(error) => malformed(error.to_string()),
    }
}

/// Checks a checkpoint of a log: whether those who are believed have signed it, and enough of them.
pub fn verify_checkpoint(bytes: &[u8], trust: &Trust<'_>) -> Verdict {
    let checkpoint = match SignedCheckpoint::parse(bytes) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            let check = Check::fail(code::CHECKPOINT, "malformed", error.to_string());
            return Verdict::new(CHECKPOINT_METHOD, CHECKPOINT_NEEDED, vec![check], vec![]);
        }
    };
    let tree = checkpoint.checkpoint();
    let mut checks = vec![Check::pass(
        code::CHECKPOINT,
        format!(
            "the file is a checkpoint of the log {}, of {} receipts",
            tree.origin, tree.size
        ),
    )];
    let at = judge_checkpoint(&checkpoint, trust, "", &mut checks);
    checks.push(judge_time(at, trust.now, "cosigned"));
    let believed = trust.genesis.filter(|_| trust.policy.is_none());
    let not_proved = vec![
        "that the log has nothing later".into(),
        "that the log begins with that of another checkpoint: for that the two are compared".into(),
        lies(believed).into(),
    ];
    Verdict::new(CHECKPOINT_METHOD, CHECKPOINT_NEEDED, checks, not_proved)
}

/// A `.tlog-proof` carries the entry as its `extra`.
fn read_proof_file(bytes: &[u8]) -> Result<(Entry, SignedCheckpoint), String> {
    let file = ProofFile::parse(bytes).map_err(|error| error.to_string())?;
    let extra = file
        .extra
        .as_deref()
        .ok_or("the proof file has no extra data, so nobody knows which entry it is for")?;
    let entry = Entry::from_bytes(extra).map_err(|error| error.to_string())?;
    file.verify(entry.leaf_hash())
        .map_err(|error| error.to_string())?;
    Ok((entry, file.checkpoint))
}

fn malformed(sentence: String) -> Shown {
    let check = Check::fail(code::PROOF, "malformed", sentence);
    Shown {
        verdict: Verdict::new(METHOD, NEEDED, vec![check], vec![]),
        entry: None,
        receipt: None,
        known_since: None,
    }
}

fn judge(
    entry: Entry,
    given: Option<Digest>,
    inside: Option<Box<[u8]>>,
    finality: Option<&Finality>,
    checkpoint: Option<&SignedCheckpoint>,
    trust: &Trust<'_>,
) -> Shown {
    let mut checks = vec![Check::pass(
        code::PROOF,
        "the file is a proof, and its parts are of one tree",
    )];
    checks.push(match given {
        Some(digest) if digest == entry.receipt => Check::pass(
            code::RECEIPT,
            format!(
                "the receipt is number {} that node {} settled",
                entry.sequence, entry.node
            ),
        ),
        Some(_) => Check::fail(
            code::RECEIPT,
            "other-receipt",
            "the receipt is not the one that was settled",
        ),
        None => Check::not_established(
            code::RECEIPT,
            "no-receipt",
            format!(
                "the receipt is not at hand; the one that was settled has the digest {}",
                entry.receipt
            ),
        ),
    });
    let mut times = Vec::new();
    if let Some(finality) = finality {
        times.extend(judge_finality(finality, trust, &mut checks));
    }
    if let Some(checkpoint) = checkpoint {
        let has = ", and this one is in it";
        times.extend(judge_checkpoint(checkpoint, trust, has, &mut checks));
    }
    checks.push(match times.is_empty() {
        false => Check::pass(code::SETTLED, "somebody who is believed vouches for it"),
        true => Check::not_established(
            code::SETTLED,
            "nobody-to-believe",
            "nothing that is believed here vouches for it: give a genesis or a policy that goes with the file",
        ),
    });
    let known_since = times.into_iter().min();
    checks.push(judge_time(known_since, trust.now, "settled"));
    // A checkpoint is judged by a policy where there is one.
    let believed = trust
        .genesis
        .filter(|_| finality.is_some() || trust.policy.is_none());
    let verdict = Verdict::new(METHOD, NEEDED, checks, not_proved(&entry, believed));
    Shown {
        known_since: known_since.filter(|_| verdict.is_verified()),
        verdict,
        entry: Some(entry),
        receipt: inside,
    }
}

/// That what was `done` at a time was not in the future.
fn judge_time(at: Option<Timestamp>, now: Timestamp, done: &str) -> Check {
    match at {
        None => Check::not_established(code::TIME, "no-time", "no time is vouched for"),
        Some(time) if time > now.plus_ms(CLOCK_SKEW_MS) => Check::fail(
            code::TIME,
            "in-the-future",
            format!("it is said to have been {done} at {time}, which is yet to come"),
        ),
        Some(time) => Check::pass(
            code::TIME,
            format!("it was {done} at {time} at the latest, by validators' clocks"),
        ),
    }
}

/// The block's time, if it is final.
fn judge_finality(
    finality: &Finality,
    trust: &Trust<'_>,
    checks: &mut Vec<Check>,
) -> Option<Timestamp> {
    let Some(genesis) = trust.genesis else {
        for code in [code::VALIDATORS, code::FINAL] {
            checks.push(Check::not_established(
                code,
                "no-genesis",
                "without a genesis nobody says who the validators are",
            ));
        }
        return None;
    };
    let mut validators = TrustedValidators::of(genesis);
    for end in &finality.epochs {
        if let Err(error) = validators.follow(end) {
            checks.push(Check::fail(
                code::VALIDATORS,
                "not-followed",
                error.to_string(),
            ));
            return None;
        }
    }
    let header = &finality.header;
    if header.epoch != validators.epoch {
        checks.push(Check::fail(
            code::VALIDATORS,
            "not-followed",
            format!(
                "the block is of epoch {}, and the file leads to the validators of epoch {}",
                header.epoch, validators.epoch
            ),
        ));
        return None;
    }
    checks.push(Check::pass(
        code::VALIDATORS,
        match finality.epochs.len() {
            0 => format!(
                "the {} validators are those of the genesis of {}",
                validators.validators.len(),
                genesis.name
            ),
            changes => format!(
                "the {} validators follow from the genesis of {} by {changes} changes, each final by those before",
                validators.validators.len(),
                genesis.name
            ),
        },
    ));
    let votes = finality.certificate.voters().count();
    match finality
        .certificate
        .verify(validators.chain, &validators.validators, header)
    {
        Ok(()) => {
            checks.push(Check::pass(
                code::FINAL,
                format!(
                    "{votes} of {} validators made block {} final, whose log of {} receipts has this one",
                    validators.validators.len(),
                    header.height,
                    header.log_size
                ),
            ));
            Some(header.time)
        }
        Err(error) => {
            checks.push(Check::fail(
                code::FINAL,
                "not-final",
                format!("no quorum voted for a block with this receipt in its log: {error}"),
            ));
            None
        }
    }
}

/// The earliest time by which a quorum had seen it, if one had. `has` says what is in it.
fn judge_checkpoint(
    checkpoint: &SignedCheckpoint,
    trust: &Trust<'_>,
    has: &str,
    checks: &mut Vec<Check>,
) -> Option<Timestamp> {
    let from_genesis = trust.genesis.map(Genesis::log_policy);
    let Some(policy) = trust.policy.or(from_genesis.as_ref()) else {
        checks.push(Check::not_established(
            code::COSIGNED,
            "no-policy",
            "without a policy or a genesis nobody says whose cosignatures count",
        ));
        return None;
    };
    let judgement = policy.judge(checkpoint);
    let (found, of) = (judgement.cosigned.len(), judgement.witnesses);
    let size = checkpoint.checkpoint().size;
    if let Some(name) = judgement.bad.first() {
        checks.push(Check::fail(
            code::COSIGNED,
            "bad-signature",
            format!("a signature on the checkpoint pretends to be by {name}, and is not"),
        ));
        return None;
    }
    if !judgement.is_valid() {
        checks.push(Check::fail(
            code::COSIGNED,
            "not-cosigned",
            if judgement.log_signed {
                format!("{found} of the {of} cosigners that are known here have seen it, and more or others must")
            } else {
                "no log that the policy names has signed the checkpoint".into()
            },
        ));
        return None;
    }
    checks.push(Check::pass(
        code::COSIGNED,
        format!("{found} of {of} cosigners have seen the log of {size} receipts{has}"),
    ));
    // The latest of them: by then the whole quorum had.
    let seconds = judgement.cosigned.iter().map(|(_, at)| at.0).max()?;
    Timestamp::from_unix_ms(seconds.saturating_mul(1000)).ok()
}

/// What believing is worth.
fn lies(believed: Option<&Genesis>) -> &'static str {
    // Later validators are there by the word of the first.
    let first = believed.map(|genesis| &genesis.validators);
    match first.map(|first| (first.tolerated(), first.len())) {
        Some((0, 1)) => {
            "that the one validator of the genesis did not lie: it tolerates nobody, so whoever believes this believes whoever has that validator's key"
        }
        Some((0, _)) => {
            "that none of the validators of the genesis lied about what it saw: they are so few that it tolerates nobody"
        }
        _ => "that a third or more of the validators did not agree to lie about what they saw",
    }
}

fn not_proved(entry: &Entry, believed: Option<&Genesis>) -> Vec<Cow<'static, str>> {
    let mut sentences: Vec<Cow<'static, str>> = vec![
        "that what the receipt says is true: a ledger orders statements and keeps them".into(),
        lies(believed).into(),
        "when the receipt was made: only by when it existed".into(),
    ];
    if !entry.in_full {
        sentences.push(
            "that the receipt is one: it was settled by its hash, and validators did not see it"
                .into(),
        );
    }
    sentences
}

/// The name of a validator's key for checkpoints: `ORIGIN/NAME`.
pub fn cosigner_name(origin: &KeyName, validator: &Name) -> KeyName {
    KeyName::new(&format!("{origin}/{validator}"))
        .expect("an origin and a validator's name have no white space or plus sign")
}

impl Genesis {
    /// The log's origin, as checkpoints name it.
    pub fn log_origin(&self) -> KeyName {
        KeyName::new(&self.origin()).expect("a chain's name has no white space or plus sign")
    }

    /// The policy that follows from the first validators: each may sign as the log, and a quorum cosigns.
    ///
    /// It does not know of later changes: whoever wants to believe those gives a policy of today, or uses finality.
    pub fn log_policy(&self) -> Policy {
        policy_of(&self.log_origin(), &self.validators)
    }

    /// The keys by which its validators sign checkpoints: each as the log, and as a cosigner.
    pub fn checkpoint_signers(&self) -> Vec<VerifierKey> {
        let origin = self.log_origin();
        let validators = self.validators.as_slice().iter();
        validators
            .flat_map(|validator| {
                let key = |key_type, name| VerifierKey {
                    name,
                    key_type,
                    key: validator.checkpoint_key,
                };
                [
                    key(KeyType::Ed25519, origin.clone()),
                    key(
                        KeyType::Cosignature,
                        cosigner_name(&origin, &validator.name),
                    ),
                ]
            })
            .collect()
    }

    /// The text of [`log_policy`](Self::log_policy): a C2SP policy file.
    pub fn log_policy_text(&self) -> String {
        policy_text(&self.log_origin(), &self.validators)
    }
}

/// The policy of [`policy_text`].
pub fn policy_of(origin: &KeyName, validators: &crate::ValidatorSet) -> Policy {
    Policy::parse(policy_text(origin, validators).as_bytes())
        .expect("validators have keys and names that are each there once")
}

/// A C2SP policy file for a set of validators: each may sign as the log, and a quorum cosigns.
pub fn policy_text(origin: &KeyName, validators: &crate::ValidatorSet) -> String {
    use std::fmt::Write as _;

    let mut text = String::new();
    let key = |key_type, name: KeyName, key: PublicKey| VerifierKey {
        name,
        key_type,
        key,
    };
    let mut line = |line: std::fmt::Arguments<'_>| {
        writeln!(text, "{line}").expect("a text takes whatever is written");
    };
    for validator in validators.as_slice() {
        let log = key(KeyType::Ed25519, origin.clone(), validator.checkpoint_key);
        line(format_args!("log {log}"));
    }
    let mut members = String::new();
    for (index, validator) in validators.as_slice().iter().enumerate() {
        let witness = key(
            KeyType::Cosignature,
            cosigner_name(origin, &validator.name),
            validator.checkpoint_key,
        );
        // Numbered: a validator might be called "none", which a policy cannot define.
        line(format_args!("witness {index}-{} {witness}", validator.name));
        members.push_str(&format!(" {index}-{}", validator.name));
    }
    line(format_args!(
        "group validators {}{members}",
        validators.quorum()
    ));
    line(format_args!("quorum validators"));
    text
}

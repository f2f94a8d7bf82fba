//! The seal: a run receipt (`tally-receipt`) over the head of the journal it closes.
//!
//! [`statement`] says what a run receipt says about a journal; the reader makes the same statement from what it read and
//! compares, so the two cannot drift. A seal is accepted when its signatures hold and it says nothing else than the
//! journal does. Whose keys they are is for a policy: [`JournalVerifier`](crate::JournalVerifier).

use tally_receipt::{
    Commitment, Count, Digest, EngineIdentity, JournalHead, Label, Outcome as ReceiptOutcome,
    OutcomeStatus, PublicKey, Receipt, Run, RunPredicate, limits::MAX_RECEIPTS_IN_RUN,
    pre_authentication_encoding,
};

use crate::entry::{End, Genesis, Head, Outcome, Timestamp};
use crate::hash::EntryHash;

/// What the run receipt of a journal says.
///
/// `receipts` are the digests of the receipts in the journal, in order; each is named once, and the first
/// [`MAX_RECEIPTS_IN_RUN`] of them. (The head covers all.) `output` is left out unless the run replied.
pub fn statement(
    genesis: &Genesis,
    end: &End<'_>,
    head: Head,
    receipts: impl IntoIterator<Item = Digest>,
    runner: PublicKey,
    input: Commitment,
    output: Option<Commitment>,
) -> Run {
    let mut named: Vec<Digest> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for digest in receipts {
        if seen.insert(digest) && named.len() < MAX_RECEIPTS_IN_RUN {
            named.push(digest);
        }
    }
    Run {
        run: genesis.run_id,
        runner,
        component: genesis.terms.component,
        world: Label::lossy(&genesis.terms.world),
        engine: EngineIdentity {
            name: Label::lossy(&genesis.terms.engine.name),
            version: Label::lossy(&genesis.terms.engine.version),
            config: genesis.terms.engine.config,
        },
        manifest: genesis.terms.manifest,
        grant: Digest::of(&genesis.terms.grant),
        input,
        output: output.filter(|_| end.outcome == Outcome::Replied),
        journal: JournalHead {
            head: Digest::from_bytes(*head.hash.as_bytes()),
            entries: Count::saturating(head.entries),
        },
        outcome: outcome(&end.outcome),
        fuel: Count::saturating(end.fuel),
        started_at: moment(genesis.started),
        // A clock that was set back during the run must not make the run unsealable.
        ended_at: moment(end.ended).max(moment(genesis.started)),
        receipts: named,
    }
}

fn outcome(outcome: &Outcome<'_>) -> ReceiptOutcome {
    let (status, detail) = match outcome {
        Outcome::Replied => (OutcomeStatus::Completed, None),
        Outcome::Failed => (OutcomeStatus::AgentError, None),
        Outcome::Trapped { reason } => (OutcomeStatus::Trapped, Some(reason)),
        Outcome::Exhausted { limit } => (OutcomeStatus::LimitReached, Some(limit)),
        Outcome::Cancelled => (OutcomeStatus::Cancelled, None),
        Outcome::HostFailed { reason } => (OutcomeStatus::HostError, Some(reason)),
    };
    ReceiptOutcome {
        status,
        detail: detail.map(|text| Label::lossy(text)),
    }
}

/// To the millisecond, as receipts write it; later than the year 9999 is the end of it.
fn moment(at: Timestamp) -> tally_receipt::Timestamp {
    let ms = at
        .seconds()
        .saturating_mul(1000)
        .saturating_add(u64::from(at.nanoseconds() / 1_000_000));
    let epoch =
        tally_receipt::Timestamp::from_unix_ms(0).expect("the epoch is before the year 10000");
    epoch.plus_ms(ms)
}

/// A part of a run receipt that says otherwise than the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// Another run.
    Run,
    /// Another component, world, engine, manifest or grant: named here.
    Beginning(&'static str),
    /// Another number of entries or another last one.
    Head,
    /// Another outcome, amount of fuel, or time: named here.
    Ending(&'static str),
    /// Other receipts.
    Receipts,
}

/// The first part of `receipt` that says otherwise than `journal`, which is what [`statement`] made of a journal.
pub(crate) fn contradiction(receipt: &Run, journal: &Run) -> Option<Contradiction> {
    let differs = |same: bool, contradiction| (!same).then_some(contradiction);
    differs(receipt.run == journal.run, Contradiction::Run)
        .or(differs(
            receipt.component == journal.component,
            Contradiction::Beginning("component"),
        ))
        .or(differs(
            receipt.world == journal.world,
            Contradiction::Beginning("world"),
        ))
        .or(differs(
            receipt.engine == journal.engine,
            Contradiction::Beginning("engine"),
        ))
        .or(differs(
            receipt.manifest == journal.manifest,
            Contradiction::Beginning("manifest"),
        ))
        .or(differs(
            receipt.grant == journal.grant,
            Contradiction::Beginning("grant"),
        ))
        .or(differs(
            receipt.started_at == journal.started_at,
            Contradiction::Beginning("start time"),
        ))
        .or(differs(
            receipt.journal == journal.journal,
            Contradiction::Head,
        ))
        .or(differs(
            receipt.outcome == journal.outcome,
            Contradiction::Ending("outcome"),
        ))
        .or(differs(
            receipt.fuel == journal.fuel,
            Contradiction::Ending("fuel"),
        ))
        .or(differs(
            receipt.ended_at == journal.ended_at,
            Contradiction::Ending("end time"),
        ))
        .or(differs(
            receipt.output.is_some() == journal.output.is_some(),
            Contradiction::Ending("output"),
        ))
        .or(differs(
            receipt.receipts == journal.receipts,
            Contradiction::Receipts,
        ))
}

/// What a seal's bytes are.
pub(crate) enum Sealed {
    /// A run receipt whose signatures hold, the named runner's among them.
    Run(Box<Receipt>),
    /// A receipt whose signatures do not hold, or not the named runner's.
    BadSignature,
    /// No receipt, or of something else; why, in the words of `tally-receipt`.
    Unreadable(&'static str),
}

pub(crate) fn read(bytes: &[u8]) -> Sealed {
    let receipt = match Receipt::parse(bytes) {
        Ok(receipt) => receipt,
        Err(error) => return Sealed::Unreadable(error.code()),
    };
    let Some(run) = receipt.as_run() else {
        return Sealed::Unreadable("not-a-run");
    };
    let message = pre_authentication_encoding(receipt.envelope().payload());
    let signatures = receipt.envelope().signatures();
    if signatures.iter().any(|one| one.key == run.runner)
        && signatures
            .iter()
            .all(|one| one.key.verify(&message, &one.signature))
    {
        Sealed::Run(Box::new(receipt))
    } else {
        Sealed::BadSignature
    }
}

/// The head that a run receipt names.
pub(crate) fn named_head(run: &RunPredicate) -> Head {
    Head {
        hash: EntryHash::from_bytes(*run.journal.head.as_bytes()),
        entries: run.journal.entries.get(),
    }
}

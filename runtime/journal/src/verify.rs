//! The method `journal`: a run receipt checked against the journal it was made over.
//!
//! Reading a journal already decides that its entries hold together and that its seal, if any, says what they say. What
//! is left is whose word the seal is, which is for a policy, and whether the receipts inside belong to this run.

use std::borrow::Cow;
use std::collections::HashMap;

use tally_receipt::{
    Check, Context, Receipt, RunId, SignatureVerifier, Verdict, Verifier, verify_batch,
};

use crate::entry::Seq;
use crate::journal::{Completeness, Journal};
use crate::seal::{Contradiction, contradiction};
use crate::words;

/// Codes of the checks of this method, beside those of `signature`. They do not change.
pub mod code {
    /// The journal's entries hold together.
    pub const CHAIN: &str = "journal-chain";
    /// The run ended and the journal says so.
    pub const ENDED: &str = "journal-ended";
    /// The receipt is of the run that the journal begins: component, world, engine, manifest, grant, start.
    pub const RUN: &str = "journal-run";
    /// The receipt covers these entries and no others.
    pub const HEAD: &str = "journal-head";
    /// The receipt states the outcome, the fuel, the end and the receipts that the journal has.
    pub const END: &str = "journal-end";
    /// A receipt inside the journal holds. Followed by a space and the entry's number.
    pub const RECEIPT: &str = "journal-receipt";
    /// What the agent asked and was told is what a receipt inside commits to. Followed by a space and the number of the
    /// entry that brought the receipt.
    pub const WORDS: &str = "journal-words";
    /// The receipts inside the journal name this run, each another step, each the one before it.
    pub const LINKS: &str = "journal-links";
}

/// The method `journal`.
#[derive(Clone, Copy, Debug, Default)]
pub struct JournalVerifier;

const METHOD: &str = "journal";
const NEEDED: &[&str] = &[
    tally_receipt::code::FORMAT,
    tally_receipt::code::SIGNATURE,
    tally_receipt::code::SIGNER_NAMED,
    tally_receipt::code::SIGNER_TRUSTED,
    code::CHAIN,
    code::ENDED,
    code::RUN,
    code::HEAD,
    code::END,
];

impl Verifier for JournalVerifier {
    type Evidence = Journal;

    fn method(&self) -> &'static str {
        METHOD
    }

    fn verify(&self, receipt: &Receipt, journal: &Journal, context: &Context<'_>) -> Verdict {
        let signature = SignatureVerifier.verify(receipt, &(), context);
        let mut checks = signature.checks().to_vec();
        checks.push(chain(journal));
        checks.push(ended(journal));
        checks.extend(agreement(receipt, journal));
        let words = words::compare(journal);
        checks.extend(inside(journal, context));
        checks.extend(words.checks);
        let mut not_proved = signature.not_proved().to_vec();
        not_proved.push(Cow::Borrowed(
            "that executing the component gives this journal: replay shows that",
        ));
        not_proved.extend(taken_over(journal));
        not_proved.extend(unreceipted(&words.without_receipt));
        Verdict::new(METHOD, NEEDED, checks, not_proved)
    }
}

impl Journal {
    /// Checks the journal by its own seal. Without one, nothing is established but that its entries hold together.
    pub fn verify(&self, context: &Context<'_>) -> Verdict {
        if let Some(receipt) = self.run_receipt() {
            return JournalVerifier.verify(receipt, self, context);
        }
        let reason = "no-seal";
        let mut checks = vec![chain(self), ended(self)];
        for (code, sentence) in [
            (
                tally_receipt::code::SIGNATURE,
                "nobody has signed this journal: whoever has it could have written it",
            ),
            (code::RUN, "no run receipt says which run this is"),
            (
                code::HEAD,
                "no run receipt says which entries there should be",
            ),
            (code::END, "no run receipt says how the run ended"),
        ] {
            checks.push(Check::not_established(code, reason, sentence));
        }
        let words = words::compare(self);
        checks.extend(inside(self, context));
        checks.extend(words.checks);
        let mut not_proved = vec![Cow::Borrowed(
            "that this journal was written by a run at all",
        )];
        not_proved.extend(taken_over(self));
        not_proved.extend(unreceipted(&words.without_receipt));
        Verdict::new(METHOD, NEEDED, checks, not_proved)
    }
}

/// What a branch says of the run that it left, which its own journal cannot show.
fn taken_over(journal: &Journal) -> Option<Cow<'static, str>> {
    let point = journal.genesis().branch_of?;
    Some(Cow::Owned(format!(
        "that entries 1 to {} are those of the run that this one branched from: verify that run's journal, whose entry {0} has the hash {}",
        point.entry, point.head
    )))
}

/// Which answers of models are nobody's word but the runner's.
fn unreceipted(began: &[Seq]) -> Option<Cow<'static, str>> {
    const NAMED: usize = 8;
    if began.is_empty() {
        return None;
    }
    let mut named: Vec<String> = began.iter().take(NAMED).map(ToString::to_string).collect();
    if began.len() > NAMED {
        named.push(format!("{} more", began.len() - NAMED));
    }
    Some(Cow::Owned(format!(
        "that a model answered what entries {} asked: the agent took no receipt for it",
        named.join(", ")
    )))
}

fn chain(journal: &Journal) -> Check {
    Check::pass(
        code::CHAIN,
        format!(
            "all {} entries hold together, each naming the one before it",
            journal.len()
        ),
    )
}

fn ended(journal: &Journal) -> Check {
    match journal.completeness() {
        Completeness::Sealed | Completeness::Ended => {
            Check::pass(code::ENDED, "the run ended and its end is recorded")
        }
        Completeness::Open => Check::not_established(
            code::ENDED,
            "cut-off",
            "the journal stops in the middle of the run: what came after is not known",
        ),
    }
}

/// What the receipt says beside what the journal says.
fn agreement(receipt: &Receipt, journal: &Journal) -> [Check; 3] {
    let passed = [
        Check::pass(
            code::RUN,
            "the receipt is of the run that the journal begins",
        ),
        Check::pass(code::HEAD, "the receipt covers exactly these entries"),
        Check::pass(
            code::END,
            "the receipt states the end that the journal records",
        ),
    ];
    let undone = |reason: &'static str| {
        [code::RUN, code::HEAD, code::END]
            .map(|code| Check::not_established(code, reason, "there is nothing to compare it with"))
    };
    let Some(run) = receipt.as_run() else {
        return [code::RUN, code::HEAD, code::END]
            .map(|code| Check::fail(code, "not-a-run", "the receipt is not of a run"));
    };
    let Some(stated) = journal.stated(run) else {
        return undone("cut-off");
    };
    // What comes after the first contradiction is not compared: it may only follow from it.
    let not_compared =
        |code| Check::not_established(code, "not-compared", "a check before it failed");
    let [run_passed, head_passed, end_passed] = passed;
    let (failed, reason, sentence) = match contradiction(run, &stated) {
        None => return [run_passed, head_passed, end_passed],
        Some(Contradiction::Run) => (0, "other-run", format!("the receipt is of run {}", run.run)),
        Some(Contradiction::Beginning(what)) => (
            0,
            "other-beginning",
            format!("the receipt states another {what}"),
        ),
        Some(Contradiction::Head) => {
            let named = run.journal.entries.get();
            (
                1,
                "other-head",
                format!(
                    "the receipt covers {named} entries that are not these {}",
                    journal.len()
                ),
            )
        }
        Some(Contradiction::Ending(what)) => {
            (2, "other-end", format!("the receipt states another {what}"))
        }
        Some(Contradiction::Receipts) => (
            2,
            "other-receipts",
            "the receipt names other receipts".to_owned(),
        ),
    };
    match failed {
        0 => [
            Check::fail(code::RUN, reason, sentence),
            not_compared(code::HEAD),
            not_compared(code::END),
        ],
        1 => [
            run_passed,
            Check::fail(code::HEAD, reason, sentence),
            not_compared(code::END),
        ],
        _ => [
            run_passed,
            head_passed,
            Check::fail(code::END, reason, sentence),
        ],
    }
}

/// The receipts inside: each by its own signature, and all by how they name this run and one another.
fn inside(journal: &Journal, context: &Context<'_>) -> Vec<Check> {
    let mut receipts: Vec<(Seq, Receipt)> = Vec::new();
    let mut checks = Vec::new();
    let mut seen = HashMap::new();
    for (seq, bytes) in journal.receipts() {
        match Receipt::parse(bytes) {
            // The same receipt may come with several calls; it is looked at once.
            Ok(receipt) => {
                if seen.insert(receipt.digest(), receipts.len()).is_none() {
                    receipts.push((seq, receipt));
                }
            }
            Err(error) => checks.push(Check::fail(named(seq), error.code(), error.to_string())),
        }
    }
    let alone: Vec<Receipt> = receipts
        .iter()
        .map(|(_, receipt)| receipt.clone())
        .collect();
    // What the caller expects of the run's own receipt is not expected of these.
    let context = Context {
        expected_nonce: None,
        expected_weights: None,
        openings: None,
        ..*context
    };
    for ((seq, _), verdict) in receipts.iter().zip(verify_batch(&alone, &context)) {
        let failed = verdict
            .checks()
            .iter()
            .find(|check| check.status == tally_receipt::Status::Fail);
        let missing = verdict.missing();
        checks.push(match (failed, missing.first()) {
            (Some(check), _) => Check::fail(
                named(*seq),
                check.reason.clone().unwrap_or_else(|| check.code.clone()),
                format!("the receipt in entry {seq} does not hold: {}", check.sentence),
            ),
            (None, Some(missing)) => Check::not_established(
                named(*seq),
                *missing,
                format!("the receipt in entry {seq} is whole, but whose it is is not known without a policy"),
            ),
            (None, None) => Check::pass(named(*seq), format!("the receipt in entry {seq} holds")),
        });
    }
    if !receipts.is_empty() {
        checks.push(links(journal, &receipts));
    }
    checks
}

fn named(seq: Seq) -> String {
    format!("{} {seq}", code::RECEIPT)
}

fn links(journal: &Journal, receipts: &[(Seq, Receipt)]) -> Check {
    let run = journal.genesis().run_id;
    let branch_of = journal.genesis().branch_of;
    let mut steps = HashMap::new();
    let mut other_runs: Vec<RunId> = Vec::new();
    for (seq, receipt) in receipts {
        let Some(inference) = receipt.as_inference() else {
            return Check::fail(
                code::LINKS,
                "not-an-inference",
                format!("entry {seq} holds a receipt of something else"),
            );
        };
        let Some(links) = inference.links else {
            return Check::fail(
                code::LINKS,
                "no-run",
                format!("the receipt in entry {seq} names no run: it may be of any"),
            );
        };
        // What a branch took over was issued for the run it left, or for one that this had branched from in its turn.
        let taken_over = branch_of.is_some_and(|point| *seq <= point.entry);
        if taken_over == (links.run == run) {
            let sentence = format!(
                "the receipt in entry {seq} was issued for run {}",
                links.run
            );
            return Check::fail(code::LINKS, "other-run", sentence);
        }
        if taken_over && other_runs.last() != Some(&links.run) {
            if other_runs.contains(&links.run) {
                let sentence = format!(
                    "the receipt in entry {seq} is of run {}, which receipts before it had left",
                    links.run
                );
                return Check::fail(code::LINKS, "other-run", sentence);
            }
            other_runs.push(links.run);
        }
        if let Some((other, _)) = steps.insert(links.step, (*seq, receipt)) {
            let sentence = format!(
                "the receipts in entries {other} and {seq} both claim step {}",
                links.step
            );
            return Check::fail(code::LINKS, "step-twice", sentence);
        }
    }
    let mut gap = false;
    for (seq, receipt) in receipts {
        let Some(links) = receipt.as_inference().and_then(|inference| inference.links) else {
            continue;
        };
        let before = links.step.checked_sub(1).map(|step| steps.get(&step));
        match (links.previous, before) {
            // The one before may have been issued and never asked for by the agent.
            (_, Some(None)) => gap = true,
            (None, None | Some(_)) => {}
            (Some(previous), Some(Some((_, before)))) if before.digest() == previous => {}
            (Some(_), _) => {
                let sentence = format!(
                    "the receipt in entry {seq} names another receipt before it than step {} brought",
                    links.step.saturating_sub(1)
                );
                return Check::fail(code::LINKS, "other-previous", sentence);
            }
        }
    }
    if gap {
        return Check::not_established(
            code::LINKS,
            "step-missing",
            "the receipts inside name this run, but some of its inferences brought none into the journal",
        );
    }
    let Some(point) = branch_of.filter(|_| !other_runs.is_empty()) else {
        return Check::pass(
            code::LINKS,
            "the receipts inside name this run and, where they name one, the receipt before",
        );
    };
    let others: Vec<String> = other_runs.iter().map(ToString::to_string).collect();
    Check::pass(
        code::LINKS,
        format!(
            "the receipts up to entry {} name run {}, from which this one branched, those after it this run, and, where they name one, the receipt before",
            point.entry,
            others.join(" and ")
        ),
    )
}

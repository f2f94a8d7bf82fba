//! What happened in one run of an agent: the predicate `urn:tally:run:v1`.
//!
//! It is signed over the head of the run's journal, so it covers every entry of it. Invariants, on top of those of each
//! field's type: a run ends after it started; there is an output exactly when it completed; the receipts it names are
//! at most [`MAX_RECEIPTS_IN_RUN`], each once, in the order of the journal.

use std::collections::HashSet;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

use crate::bytes::{Digest, RunId, required_option};
use crate::commitment::Commitment;
use crate::key::PublicKey;
use crate::limits::MAX_RECEIPTS_IN_RUN;
use crate::text::{Count, Label};
use crate::time::Timestamp;

/// The content of a [`RunPredicate`], before its parts are checked against each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Run {
    /// The run's name.
    pub run: RunId,
    /// The key of whoever ran it. It must be among those that sign the receipt.
    pub runner: PublicKey,
    /// BLAKE3 of the component that was run.
    pub component: Digest,
    /// The world it was run in, such as `tally:agent/agent@0.1.0`.
    pub world: Label,
    /// What ran it.
    pub engine: EngineIdentity,
    /// BLAKE3 of the component's manifest: the most it could be allowed.
    pub manifest: Digest,
    /// BLAKE3 of the grant: what it was allowed.
    pub grant: Digest,
    /// Commitment to what it was run with ([`Field::RunInput`](crate::Field::RunInput)).
    pub input: Commitment,
    /// Commitment to what it answered ([`Field::RunOutput`](crate::Field::RunOutput)). Present exactly when it completed.
    #[serde(deserialize_with = "required_option")]
    pub output: Option<Commitment>,
    /// The record of everything between the two.
    pub journal: JournalHead,
    /// How it ended.
    pub outcome: Outcome,
    /// Instructions it used, in the engine's unit.
    pub fuel: Count,
    /// When it began, by the runner's clock.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The digests of the inference receipts in its journal.
    pub receipts: Vec<Digest>,
}

/// What ran an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EngineIdentity {
    /// The engine.
    pub name: Label,
    /// Its version.
    pub version: Label,
    /// BLAKE3 of its configuration, as the engine spells it.
    pub config: Digest,
}

/// The end of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JournalHead {
    /// The hash of its last entry.
    pub head: Digest,
    /// How many entries it has, the first one included.
    pub entries: Count,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outcome {
    /// In one word.
    pub status: OutcomeStatus,
    /// More exactly, in the engine's words.
    #[serde(deserialize_with = "required_option")]
    pub detail: Option<Label>,
}

/// How a run ended, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeStatus {
    /// The agent answered.
    Completed,
    /// The agent said that it failed.
    AgentError,
    /// The agent broke: a trap.
    Trapped,
    /// A limit stopped it: fuel, memory, time, output.
    LimitReached,
    /// It was told to stop.
    Cancelled,
    /// What ran it broke.
    HostError,
}

/// Why the parts of a [`Run`] do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Time ran backwards.
    #[error("a run that ended at {ended_at}, before it started at {started_at}")]
    EndedBeforeStart {
        /// The start.
        started_at: Timestamp,
        /// The end.
        ended_at: Timestamp,
    },
    /// Completed without an answer.
    #[error("a completed run without an output")]
    NoOutput,
    /// An answer of a run that did not complete.
    #[error("an output of a run that did not complete")]
    UnfinishedWithOutput,
    /// A journal has at least its first entry.
    #[error("a journal without entries")]
    EmptyJournal,
    /// Too many receipts.
    #[error("{0} inference receipts where a run has at most {MAX_RECEIPTS_IN_RUN}")]
    TooManyReceipts(usize),
    /// A receipt twice.
    #[error("the inference receipt {0} is named twice")]
    ReceiptTwice(Digest),
}

/// What happened in one run, whole and consistent. Reads as a [`Run`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RunPredicate(Run);

impl RunPredicate {
    /// The `predicateType`.
    pub const TYPE: &'static str = "urn:tally:run:v1";

    /// Checks the parts against each other.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn new(run: Run) -> Result<Self, RunError> {
        if run.ended_at < run.started_at {
            return Err(RunError::EndedBeforeStart {
                started_at: run.started_at,
                ended_at: run.ended_at,
            });
        }
        match (run.outcome.status, run.output) {
            (OutcomeStatus::Completed, None) => return Err(RunError::NoOutput),
            (OutcomeStatus::Completed, Some(_)) | (_, None) => {}
            (_, Some(_)) => return Err(RunError::UnfinishedWithOutput),
        }
        if run.journal.entries.get() == 0 {
            return Err(RunError::EmptyJournal);
        }
        if run.receipts.len() > MAX_RECEIPTS_IN_RUN {
            return Err(RunError::TooManyReceipts(run.receipts.len()));
        }
        let mut seen = HashSet::with_capacity(run.receipts.len());
        if let Some(twice) = run.receipts.iter().find(|digest| !seen.insert(**digest)) {
            return Err(RunError::ReceiptTwice(*twice));
        }
        Ok(Self(run))
    }

    /// The parts, to make another of.
    pub fn into_inner(self) -> Run {
        self.0
    }
}

impl Deref for RunPredicate {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.0
    }
}

impl<'de> Deserialize<'de> for RunPredicate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Run::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

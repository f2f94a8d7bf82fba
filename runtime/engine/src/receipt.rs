//! The run receipt: a statement over the head of a journal, signed by whoever ran it.
//!
//! Input and output stand in it as salted commitments to their CBOR, as the journal holds them.

use crate::services::Entropy;
use std::sync::Arc;
use tally_journal::{End, Genesis, Head, Outcome as Ending};
use tally_receipt::{
    CommittedValue, Count, Digest, EngineIdentity, Field, JournalHead, Label, Opening, Openings,
    Outcome, OutcomeStatus, Receipt, Run, RunId, RunPredicate, SaltSeed, SigningKey, Timestamp,
};

/// Who signs.
#[derive(Clone)]
pub struct Signing {
    key: Arc<SigningKey>,
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signing({})", self.key.public_key())
    }
}

/// A run receipt, and what opens its commitments: the holder decides to whom.
pub struct Proof {
    /// The receipt.
    pub receipt: Receipt,
    /// Input and output with their salts.
    pub openings: Openings,
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proof({})", self.openings.receipt())
    }
}

impl Signing {
    /// Signs with this key.
    pub fn new(key: Arc<SigningKey>) -> Self {
        Self { key }
    }

    pub(crate) fn prove(
        &self,
        genesis: &Genesis,
        end: &End<'_>,
        head: Head,
        receipts: &[Digest],
        entropy: &dyn Entropy,
    ) -> Result<Proof, String> {
        let mut seed = [0; 32];
        entropy.fill(&mut seed).map_err(|error| error.to_string())?;
        let salts = SaltSeed::from_bytes(seed);
        let commit = |field: Field, bytes: &[u8]| {
            Opening::commit(
                field,
                salts.salt(field),
                CommittedValue::Bytes(bytes.to_vec()),
            )
        };
        let (input, input_opening) = commit(Field::RunInput, &genesis.input);
        let mut openings = vec![input_opening];
        let (status, detail) = match end.outcome {
            Ending::Replied => (OutcomeStatus::Completed, None),
            Ending::Failed => (OutcomeStatus::AgentError, None),
            Ending::Trapped { reason } => (OutcomeStatus::Trapped, Some(reason)),
            Ending::Exhausted { limit } => (OutcomeStatus::LimitReached, Some(limit)),
            Ending::Cancelled => (OutcomeStatus::Cancelled, None),
            Ending::HostFailed { reason } => (OutcomeStatus::HostError, Some(reason)),
        };
        let output = match end.output {
            Some(bytes) if status == OutcomeStatus::Completed => {
                let (output, opening) = commit(Field::RunOutput, bytes);
                openings.push(opening);
                Some(output)
            }
            _ => None,
        };
        let label = |text: &str| Label::new(text).map_err(|error| error.to_string());
        let started_at = timestamp(genesis.started)?;
        let run = Run {
            run: RunId::from_bytes(*genesis.run_id.as_bytes()),
            runner: self.key.public_key(),
            component: genesis.component,
            world: label(&genesis.world)?,
            engine: EngineIdentity {
                name: label(&genesis.engine.name)?,
                version: label(&genesis.engine.version)?,
                config: genesis.engine.config,
            },
            manifest: genesis.manifest,
            grant: Digest::of(&genesis.grant),
            input,
            output,
            journal: JournalHead {
                head: Digest::from_bytes(*head.hash.as_bytes()),
                entries: Count::saturating(head.entries),
            },
            outcome: Outcome {
                status,
                detail: detail.map(Label::lossy),
            },
            fuel: Count::saturating(end.fuel),
            started_at,
            ended_at: timestamp(end.ended)?.max(started_at),
            receipts: receipts.to_vec(),
        };
        let predicate = RunPredicate::new(run).map_err(|error| error.to_string())?;
        let receipt = Receipt::sign(predicate, &[&self.key]).map_err(|error| error.to_string())?;
        let openings =
            Openings::new(receipt.digest(), openings).map_err(|error| error.to_string())?;
        Ok(Proof { receipt, openings })
    }
}

fn timestamp(at: tally_journal::Timestamp) -> Result<Timestamp, String> {
    let ms = at
        .seconds()
        .saturating_mul(1000)
        .saturating_add(u64::from(at.nanoseconds() / 1_000_000));
    Timestamp::from_unix_ms(ms).map_err(|error| error.to_string())
}

//! The run receipt: a statement over the head of a journal, signed by whoever ran it.
//!
//! Input and output stand in it as salted commitments to their CBOR, as the journal holds them.

use crate::services::Entropy;
use std::sync::Arc;
use tally_journal::{End, Genesis, Head, Outcome as Ending, statement};
use tally_receipt::{
    CommittedValue, Digest, Field, Opening, Openings, Receipt, RunPredicate, SaltSeed, SigningKey,
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
        let output = end
            .output
            .filter(|_| end.outcome == Ending::Replied)
            .map(|bytes| {
                let (output, opening) = commit(Field::RunOutput, bytes);
                openings.push(opening);
                output
            });
        let run = statement(
            genesis,
            end,
            head,
            receipts.iter().copied(),
            self.key.public_key(),
            input,
            output,
        );
        let predicate = RunPredicate::new(run).map_err(|error| error.to_string())?;
        let receipt = Receipt::sign(predicate, &[&self.key]).map_err(|error| error.to_string())?;
        let openings =
            Openings::new(receipt.digest(), openings).map_err(|error| error.to_string())?;
        Ok(Proof { receipt, openings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::SystemEntropy;
    use tally_journal::{
        Brought, Completeness, EngineFingerprint, Journal, MemorySink, RunId, SettledTerms, Terms,
        Timestamp, Writer,
    };
    use tally_receipt::limits::MAX_RECEIPTS_IN_RUN;

    #[test]
    fn a_run_with_more_receipts_than_a_statement_names_is_sealed() {
        let digest = Digest::of(b"x");
        let at = Timestamp::from_nanoseconds(1_800_000_000_000_000_000);
        let function = "tally:agent/env@0.1.0#now";
        let terms = Terms {
            component: digest,
            world: "tally:agent/agent@0.1.0".into(),
            engine: EngineFingerprint {
                name: "wasmtime".into(),
                version: "1".into(),
                config: digest,
            },
            manifest: digest,
            grant: b"{}".to_vec(),
            limits: Vec::new(),
            settings: Vec::new(),
            tools: Vec::new(),
            functions: vec![function.into()],
        };
        let genesis = Genesis {
            terms: Arc::new(SettledTerms::new(terms).unwrap()),
            run_id: RunId::from_bytes([7; 16]),
            input: b"\xf6".to_vec(),
            models: Vec::new(),
            wasi_seed: [0; 32],
            clock_base: at,
            started: at,
            branch_of: None,
        };
        let mut writer = Writer::create(MemorySink::new(), &genesis).unwrap();
        let mut receipts = Vec::new();
        for number in 0..MAX_RECEIPTS_IN_RUN + 3 {
            let receipt = number.to_string();
            receipts.push(Digest::of(receipt.as_bytes()));
            writer
                .call(&tally_journal::Call {
                    frame: tally_journal::FrameId::AGENT,
                    function,
                    class: tally_journal::EffectClass::ReadLocal,
                    intent: None,
                    request: b"\xa0",
                    decision: tally_journal::Decision::Allowed { rule: "contract" },
                    fuel: 1,
                    response: b"\xf6",
                    receipt: Some(Brought::closed(receipt.as_bytes())),
                    callee: None,
                })
                .unwrap();
        }
        let end = End {
            outcome: Ending::Exhausted { limit: "fuel" },
            output: None,
            fuel: 1,
            ended: at,
        };
        let head = writer.end(&end).unwrap();
        let signing = Signing::new(Arc::new(SigningKey::from_seed(&[1; 32])));
        let proof = signing
            .prove(&genesis, &end, head, &receipts, &SystemEntropy)
            .expect("a statement names as many receipts as it may");
        writer.seal(&proof.receipt.to_json()).unwrap();
        let journal = Journal::parse(writer.into_sink().into_bytes()).unwrap();
        assert_eq!(journal.completeness(), Completeness::Sealed);
        let run = journal.run_receipt().and_then(|receipt| receipt.as_run());
        assert_eq!(run.unwrap().receipts, receipts[..MAX_RECEIPTS_IN_RUN]);
    }
}

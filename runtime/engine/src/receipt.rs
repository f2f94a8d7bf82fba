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

//! Evidence against validators as files: what a node has seen outlives it, and whoever gets the file can check it.
//!
//! `DIR/evidence/NAME.evidence`, NAME being the first 16 hex digits of the BLAKE3 of the file, as `tally_ledger` writes evidence
//! (`docs/ledger.md`). A file is there whole or not at all, and stays once it counts as written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tally_durable::Access;
use tally_ledger::{ChainId, DecodeError, Evidence, SimplexFault};
use tally_receipt::{Digest, PublicKey};

use crate::consensus::{Fault, FaultKind};
use crate::handle::Handle;

/// How often a node looks whether there is more.
const EVERY: Duration = Duration::from_secs(1);

impl Fault {
    /// The fault as evidence that convinces others.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the engine encodes votes otherwise than `tally_ledger` reads them: our fault.
    pub(crate) fn to_evidence(&self, chain: ChainId) -> Result<Evidence, DecodeError> {
        let key: &[u8] = self.validator.as_ref();
        let voter = key
            .first_chunk()
            .and_then(|bytes| PublicKey::from_bytes(*bytes).ok())
            .ok_or(DecodeError::Mismatch {
                part: "a validator's key",
            })?;
        let kind = match self.kind {
            FaultKind::TwoProposals => SimplexFault::ConflictingNotarize,
            FaultKind::TwoFinal => SimplexFault::ConflictingFinalize,
            FaultKind::EmptyAndFinal => SimplexFault::NullifyFinalize,
        };
        Evidence::from_simplex(chain, voter, kind, &self.evidence)
    }
}

/// Writes whatever the node sees into a folder, for as long as the node runs. A disk that fails stops no node: what was seen is
/// written when it works again.
pub(crate) async fn keep(node: Handle, folder: PathBuf) {
    let mut written = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        let Ok(faults) = node.faults().await else {
            return;
        };
        // They only become more.
        for evidence in &faults[written..] {
            match write(&folder, evidence) {
                Ok(_) => written += 1,
                Err(error) => {
                    tracing::warn!(%error, "evidence is not written yet");
                    break;
                }
            }
        }
    }
}

/// Writes evidence into a folder under the name that a node gives it, unless it is there, and says where it is.
///
/// # Errors
///
/// The disk's.
pub fn write(folder: &Path, evidence: &Evidence) -> std::io::Result<PathBuf> {
    let bytes = evidence.to_bytes();
    tally_durable::create_folder(folder, Access::Umask)?;
    let digest = Digest::of(&bytes).to_string();
    let place = folder.join(format!("{}.evidence", &digest[..16]));
    match place.try_exists()? {
        true => tally_durable::sync(&place)?,
        false => tally_durable::write_file(&place, &bytes, Access::Umask)?,
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use tally_ledger::{BlockDigest, Epoch, Proposal, Round, Vote};
    use tally_receipt::SigningKey;

    #[test]
    fn evidence_is_one_file_however_often_it_is_seen() {
        let dir = Scratch::new();
        let folder = dir.path().join("evidence");
        let [one, two] = [1, 2].map(|block| {
            let key = SigningKey::from_seed(&[1; 32]);
            let chain = ChainId::new(Digest::of(b"a chain"));
            let vote = |block| {
                let vote = Vote::Notarize(Proposal {
                    round: Round {
                        epoch: Epoch::ZERO,
                        view: 7,
                    },
                    parent_view: 6,
                    block: BlockDigest::from_bytes([block; 32]),
                });
                (vote, key.sign(&vote.signed_bytes(chain)))
            };
            Evidence::votes(chain, key.public_key(), vote(0), vote(block))
        });
        for evidence in [&one, &two, &one] {
            write(&folder, evidence).unwrap();
        }
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect();
        files.sort();
        let mut both = [one.to_bytes(), two.to_bytes()];
        both.sort();
        assert_eq!(files, both);
    }
}

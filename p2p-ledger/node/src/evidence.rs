//! Evidence against validators as files: what a node has seen outlives it, and whoever gets the file can check it.
//!
//! `DIR/evidence/NAME.evidence`, NAME being the first 16 hex digits of the BLAKE3 of the file, as `tally_ledger` writes evidence
//! (`docs/ledger.md`). A file is there whole or not at all.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

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
    pub fn to_evidence(&self, chain: ChainId) -> Result<Evidence, DecodeError> {
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
pub(crate) async fn keep(node: Handle, folder: std::path::PathBuf) {
    let mut written = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        let Ok(faults) = node.faults().await else {
            return;
        };
        // They only become more.
        for fault in &faults[written..] {
            let kept = match fault.to_evidence(node.chain()) {
                Ok(evidence) => write(&folder, &evidence.to_bytes()),
                Err(error) => {
                    tracing::error!(%error, "votes that exclude each other cannot be read");
                    Ok(())
                }
            };
            match kept {
                Ok(()) => written += 1,
                Err(error) => {
                    tracing::warn!(%error, "evidence is not written yet");
                    break;
                }
            }
        }
    }
}

fn write(folder: &Path, evidence: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let digest = Digest::of(evidence).to_string();
    let place = folder.join(format!("{}.evidence", &digest[..16]));
    if place.exists() {
        return Ok(());
    }
    let draft = place.with_extension("draft");
    let mut file = std::fs::File::create(&draft)?;
    file.write_all(evidence)?;
    file.sync_all()?;
    std::fs::rename(draft, place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn evidence_is_one_file_however_often_it_is_seen() {
        let dir = Scratch::new();
        let folder = dir.path().join("evidence");
        for bytes in [&b"one"[..], b"two", b"one"] {
            write(&folder, bytes).unwrap();
        }
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect();
        files.sort();
        assert_eq!(files, [b"one", b"two"]);
    }
}

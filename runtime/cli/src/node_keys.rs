//! The keys of a ledger's nodes: where a validator has its own, what follows from it, and which data directory it belongs to.

use std::path::{Path, PathBuf};

use tally_node::guard;
use zeroize::Zeroizing;

use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;

/// Separates the key that signs checkpoints from the one that votes.
const CHECKPOINT_CONTEXT: &str = "tally ledger v1 2026-11-29 checkpoint seed";

/// The seed of a validator's checkpoint key.
pub(crate) fn checkpoint_seed(vote_seed: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(blake3::derive_key(CHECKPOINT_CONTEXT, vote_seed))
}

/// Where a validator of a devnet has its key.
pub(crate) fn devnet_key(folder: &Path) -> PathBuf {
    folder.join("vote.key")
}

/// Makes a key and a data directory belong together, or checks that they do.
pub(crate) fn pair(key: &Path, data: &Path) -> Outcome {
    let mut name = [0; 16];
    getrandom::fill(&mut name).or_environment("draw a name from the system's random source")?;
    guard::pair(key, data, name).map_err(|error| match error {
        guard::GuardError::Forgotten { .. } => Failure::no(&error).advise(
            "bring the right directory back; if it is lost, so is the key: have the other validators replace it (docs/node.md)",
        ),
        guard::GuardError::VotesLost { .. } => Failure::no(&error).advise(
            "bring these very files back, never an older copy of them; if they are lost, so is the key: make a new one and have the other validators replace this one (docs/node.md)",
        ),
        guard::GuardError::Damaged(_) => Failure::no(&error).advise(
            "its first line is that of the file `name` in the data directory; a second one, `epoch E`, names the last epoch of which there are votes (docs/node.md)",
        ),
        error => Failure::environment(&error),
    })
}

/// Where the key is that a validator votes with.
pub(crate) fn key_file(named: Option<&Path>, home: &Home) -> Result<PathBuf, Failure> {
    match named {
        Some(key) => Ok(key.to_owned()),
        None => Ok(home.ledger()?.join("validator.key")),
    }
}

//! Who validates, as far as this machine was shown: commands and explorers start from there, and not from genesis each time.
//!
//! ```text
//! $TALLY_HOME/ledger/CHAIN.trusted      one file for each chain, as docs/ledger.md has it ("Trusted validators")
//! ```
//!
//! It is believed as the genesis file beside it is. Whoever can write it can have this machine's commands count others as
//! validators, and has the keys that lie in the same directory anyway. Proofs are checked from genesis on all the same. What
//! is damaged or of another chain is passed over with a warning, and made anew when the chain was followed the next time.
//!
//! There is none of the ledger of this machine alone, whose one validator it is.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tally_durable::Access;
use tally_ledger::{ChainId, TrustedValidators};
use tally_node::Client;

use crate::failure::{Failure, OrFail};
use crate::home::Home;

/// Validators in a file that somebody named.
#[derive(Debug, Clone)]
pub(crate) struct Trusted {
    pub(crate) file: PathBuf,
    pub(crate) validators: TrustedValidators,
}

impl Trusted {
    /// Reads such a file. It must be of this chain.
    pub(crate) fn read(file: &Path, chain: ChainId) -> Result<Self, Failure> {
        let bytes = std::fs::read(file).or_misuse(format_args!("read {}", file.display()))?;
        let validators = of_chain(&bytes, chain).or_misuse(format_args!(
            "start from the validators in {}",
            file.display()
        ))?;
        Ok(Self {
            file: file.to_owned(),
            validators,
        })
    }
}

/// Whom somebody who follows a chain starts from, and where it is kept whom it is shown. Those of genesis and nowhere, unless it is
/// said otherwise.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// None for those of genesis.
    pub(crate) from: Option<TrustedValidators>,
    pub(crate) kept: Option<Kept>,
}

impl Start {
    /// A client that starts there and keeps whom it is shown.
    pub(crate) fn of(self, client: Client) -> Result<Client, Failure> {
        let client = match self.from {
            Some(from) => client
                .starting_from(from)
                .or_misuse("start from these validators")?,
            None => client,
        };
        Ok(match self.kept {
            Some(kept) => client.keeping(move |shown| kept.keep(shown)),
            None => client,
        })
    }
}

/// The validators of a chain that this machine was shown last.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    file: PathBuf,
    chain: ChainId,
}

impl Kept {
    pub(crate) fn of(home: &Home, chain: ChainId) -> Self {
        Self {
            file: home.path().join("ledger").join(format!("{chain}.trusted")),
            chain,
        }
    }

    /// What is there, if it can be used. If not, it is said why.
    pub(crate) fn read(&self) -> Option<TrustedValidators> {
        self.look().unwrap_or_else(|reason| {
            eprintln!(
                "tally: {} is not used, and will be made anew: {reason}",
                self.file.display()
            );
            None
        })
    }

    fn look(&self) -> Result<Option<TrustedValidators>, String> {
        match std::fs::read(&self.file) {
            Ok(bytes) => of_chain(&bytes, self.chain).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Keeps what was shown, unless something later is there: another command may have been shown more. That it cannot be
    /// written costs the next command some questions, and this one nothing.
    pub(crate) fn keep(&self, shown: &TrustedValidators) {
        match self.look() {
            Ok(Some(kept)) if kept == *shown || kept.epoch > shown.epoch => return,
            Ok(Some(kept)) if kept.epoch == shown.epoch => {
                eprintln!(
                    "tally: of epoch {} the chain has shown other validators than {} has, which stays as it is: \
                     remove it if it is wrong",
                    shown.epoch,
                    self.file.display()
                );
                return;
            }
            _ => {}
        }
        if let Err(error) = self.write(shown) {
            tracing::debug!(%error, "who validates is not kept");
        }
    }

    /// Whole or not at all. Where the folder is gone it is not made for this.
    fn write(&self, shown: &TrustedValidators) -> std::io::Result<()> {
        tally_durable::write_file(&self.file, &shown.to_bytes(), Access::Owner)
    }
}

fn of_chain(bytes: &[u8], chain: ChainId) -> Result<TrustedValidators, String> {
    let read = TrustedValidators::from_bytes(bytes).map_err(|error| error.to_string())?;
    match read.chain == chain {
        true => Ok(read),
        false => Err(format!("they are of the chain {}", read.chain)),
    }
}

#[cfg(test)]
mod tests {
    use tally_ledger::{
        BlockDigest, Epoch, Header, Height, Name, StateRoot, Validator, ValidatorSet,
    };
    use tally_log::Hash;
    use tally_receipt::{Digest, SigningKey, Timestamp};

    use super::*;

    const CHAIN: ChainId = ChainId::from_bytes([1; 32]);

    /// The only validator of an epoch, by a seed.
    fn trusted(epoch: u64, seed: u8) -> TrustedValidators {
        let key = |seed| SigningKey::from_seed(&[seed; 32]).public_key();
        let one = Validator {
            vote_key: key(seed),
            checkpoint_key: key(seed + 100),
            name: Name::new("v").unwrap(),
        };
        let validators = ValidatorSet::new(vec![one]).unwrap();
        let named_by = epoch.checked_sub(1).map(|before| Header {
            height: Height::new(epoch),
            epoch: Epoch::new(before),
            parent: BlockDigest::from_bytes([2; 32]),
            body: Digest::of(b"body"),
            log_size: 0,
            log_root: Hash::from_bytes([3; 32]),
            state_root: StateRoot::from_bytes([4; 32]),
            time: Timestamp::from_unix_ms(1_790_000_000_000).unwrap(),
            next_validators: validators.digest(),
        });
        TrustedValidators {
            chain: CHAIN,
            epoch: Epoch::new(epoch),
            validators,
            named_by,
        }
    }

    #[test]
    fn what_was_shown_last_is_kept_and_gives_way_to_later_validators_only() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept {
            file: folder.path().join("ledger/kept.trusted"),
            chain: CHAIN,
        };
        // Where there is no folder none is made.
        kept.keep(&trusted(0, 1));
        assert_eq!(kept.read(), None);
        std::fs::create_dir(folder.path().join("ledger")).unwrap();
        for shown in [trusted(0, 1), trusted(2, 3)] {
            kept.keep(&shown);
            assert_eq!(kept.read(), Some(shown));
        }
        // Of another command that was shown less; and of a chain that cannot be this one.
        for other in [trusted(1, 2), trusted(2, 4)] {
            kept.keep(&other);
            assert_eq!(kept.read(), Some(trusted(2, 3)));
        }
        std::fs::write(&kept.file, "damaged").unwrap();
        assert_eq!(kept.read(), None);
        kept.keep(&trusted(0, 1));
        assert_eq!(kept.read(), Some(trusted(0, 1)));
        // Nothing but the file is left.
        let files = std::fs::read_dir(folder.path().join("ledger")).unwrap();
        assert_eq!(files.count(), 1);
    }

    #[test]
    fn a_file_that_somebody_names_is_read_if_it_is_whole_and_of_the_chain() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("named.trusted");
        assert!(Trusted::read(&file, CHAIN).is_err(), "there is none");
        let named = trusted(1, 2);
        std::fs::write(&file, named.to_bytes()).unwrap();
        let read = Trusted::read(&file, CHAIN).unwrap();
        assert_eq!((read.file, read.validators), (file.clone(), named.clone()));
        let other = Trusted::read(&file, ChainId::from_bytes([2; 32])).unwrap_err();
        assert!(other.message().contains("they are of the chain"));
        let bytes = named.to_bytes();
        std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        assert!(Trusted::read(&file, CHAIN).is_err());
    }
}

//! What the files share that people hand on and sign one after another: a decision's (`decision.rs`) and a registration's
//! (`registration.rs`).
//!
//! Such a file is bounded before it is parsed, names its format and its chain, and is read only if every signature in it
//! holds. Whether the signatures are of validators is a question to whoever knows who votes.

use std::fmt;

use serde::de::DeserializeOwned;
use tally_receipt::{PublicKey, Signature, SigningKey};

use crate::id::ChainId;
use crate::transaction::MAX_SIGNATURES;
use crate::validators::{Validator, ValidatorSet};

/// Why a text is no such file, or two are not of one thing. Whoever wrote it, or handed it over, must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedFileError {
    /// Too large.
    #[error("it has {found} bytes, more than {limit}")]
    TooLarge {
        /// How many.
        found: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Not TOML, or not these fields.
    #[error("it cannot be read: {0}")]
    Toml(String),
    /// Of a format this reader does not know.
    #[error("it has the format {found:?}; this reader knows {known:?}")]
    Format {
        /// The one that it names.
        found: String,
        /// The one that is read.
        known: &'static str,
    },
    /// The chain's name is none.
    #[error("{0:?} is no chain's name, which has 64 hex digits")]
    Chain(String),
    /// Of another chain.
    #[error("it is of the chain {found}, and this is the chain {expected}")]
    OtherChain {
        /// The one that it names.
        found: ChainId,
        /// The one that it is read for.
        expected: ChainId,
    },
    /// More signatures than there can be.
    #[error("{found} signatures are more than {MAX_SIGNATURES}")]
    TooManySignatures {
        /// How many.
        found: usize,
    },
    /// A key has signed twice.
    #[error("the key {0} has signed twice")]
    SignedTwice(PublicKey),
    /// A signature is of something else, or damaged.
    #[error("the signature of {0} does not hold for what it says on this chain")]
    BadSignature(PublicKey),
    /// Two files are of two things.
    #[error("they are of different things, and signatures of one do not count for the other")]
    Another,
}

/// A key that has no say. Whoever signs with it must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key {0} is of no validator that votes now, so it has no say in this")]
pub struct NotAValidator(pub PublicKey);

/// Why something cannot be handed in yet: other validators must sign it first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TooFewSigned {
    /// How many have.
    pub found: usize,
    /// How many must.
    pub needed: usize,
    /// Those of whom no signature is there.
    pub may: Vec<Validator>,
}

impl fmt::Display for TooFewSigned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, needed, may } = self;
        write!(
            formatter,
            "{found} of the {needed} validators that must sign this have; {} more must, of: ",
            needed - found
        )?;
        for (place, validator) in may.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(formatter, "{comma}{}", validator.name)?;
        }
        Ok(())
    }
}

/// Parses a text of at most `limit` bytes.
pub(crate) fn read_toml<T: DeserializeOwned>(
    text: &str,
    limit: usize,
) -> Result<T, SignedFileError> {
    let found = text.len();
    if found > limit {
        return Err(SignedFileError::TooLarge { found, limit });
    }
    toml::from_str(text).map_err(|error| SignedFileError::Toml(error.to_string()))
}

/// Looks whether a file is of the format that is known, and of the chain that it is read for.
pub(crate) fn check_format_and_chain(
    (found, known): (String, &'static str),
    (named, expected): (String, ChainId),
) -> Result<(), SignedFileError> {
    if found != known {
        return Err(SignedFileError::Format { found, known });
    }
    let Ok(found) = named.parse::<ChainId>() else {
        return Err(SignedFileError::Chain(named));
    };
    match found == expected {
        true => Ok(()),
        false => Err(SignedFileError::OtherChain { found, expected }),
    }
}

/// The signatures of one thing.
///
/// Invariant: ascending by key, each key once, at most [`MAX_SIGNATURES`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signatures(Vec<(PublicKey, Signature)>);

impl Signatures {
    /// Takes what a file has, whatever the order, if all of it holds for `message`.
    pub(crate) fn check(
        message: &[u8],
        given: &[(PublicKey, Signature)],
    ) -> Result<Self, SignedFileError> {
        let found = given.len();
        if found > MAX_SIGNATURES {
            return Err(SignedFileError::TooManySignatures { found });
        }
        let mut signatures = Self::default();
        for (key, signature) in given {
            if !key.verify(message, signature) {
                return Err(SignedFileError::BadSignature(*key));
            }
            if !signatures.put(*key, *signature) {
                return Err(SignedFileError::SignedTwice(*key));
            }
        }
        Ok(signatures)
    }

    /// Signs for a validator that votes now, and says whether the key had not signed before. `own` are the keys of whoever
    /// asks, two at most.
    pub(crate) fn sign(
        &mut self,
        message: &[u8],
        key: &SigningKey,
        validators: &ValidatorSet,
        own: &[PublicKey],
    ) -> Result<bool, NotAValidator> {
        let public = key.public_key();
        validators.index_of(&public).ok_or(NotAValidator(public))?;
        if self.0.len() == MAX_SIGNATURES {
            // Those who voted once make room: without them there are fewer, unless this key has signed.
            self.0.retain(|(signer, _)| {
                own.contains(signer) || validators.index_of(signer).is_some()
            });
        }
        Ok(self.put(public, key.sign(message)))
    }

    /// Takes the signatures of a copy as well.
    pub(crate) fn join(&mut self, other: &Self) -> Result<(), SignedFileError> {
        let mut all = self.clone();
        for (key, signature) in &other.0 {
            all.put(*key, *signature);
        }
        let found = all.0.len();
        if found > MAX_SIGNATURES {
            return Err(SignedFileError::TooManySignatures { found });
        }
        *self = all;
        Ok(())
    }

    /// Whether a quorum of validators is among the signers.
    pub(crate) fn check_quorum(&self, validators: &ValidatorSet) -> Result<(), TooFewSigned> {
        let (signed, others): (Vec<&Validator>, Vec<&Validator>) = validators
            .as_slice()
            .iter()
            .partition(|validator| self.has(&validator.vote_key));
        let (found, needed) = (signed.len(), validators.quorum());
        match found < needed {
            true => Err(TooFewSigned {
                found,
                needed,
                may: others.into_iter().cloned().collect(),
            }),
            false => Ok(()),
        }
    }

    pub(crate) fn has(&self, key: &PublicKey) -> bool {
        self.place(key).is_ok()
    }

    /// Who has signed, ascending.
    pub(crate) fn signers(&self) -> impl Iterator<Item = PublicKey> {
        self.as_slice().iter().map(|(key, _)| *key)
    }

    pub(crate) fn as_slice(&self) -> &[(PublicKey, Signature)] {
        &self.0
    }

    /// Those whose signers count.
    pub(crate) fn of_those(
        &self,
        counts: impl Fn(&PublicKey) -> bool,
    ) -> Vec<(PublicKey, Signature)> {
        let all = self.0.iter();
        all.filter(|(key, _)| counts(key)).copied().collect()
    }

    /// Puts a signature in its place, and says whether the key had none.
    pub(crate) fn put(&mut self, key: PublicKey, signature: Signature) -> bool {
        match self.place(&key) {
            Ok(_) => false,
            Err(place) => {
                self.0.insert(place, (key, signature));
                true
            }
        }
    }

    fn place(&self, key: &PublicKey) -> Result<usize, usize> {
        self.0.binary_search_by_key(key, |(signer, _)| *signer)
    }
}

/// What tests of such files begin with.
#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;
    use crate::validators::Name;

    pub(crate) const CHAIN: ChainId = ChainId::from_bytes([7; 32]);
    pub(crate) const OTHER_CHAIN: ChainId = ChainId::from_bytes([8; 32]);

    pub(crate) fn key(number: u8) -> SigningKey {
        SigningKey::from_seed(&[number; 32])
    }

    /// Validators that vote with the keys of these numbers and are called `v` and the number.
    pub(crate) fn set(numbers: impl IntoIterator<Item = u8>) -> ValidatorSet {
        let validators = numbers.into_iter().map(|number| Validator {
            vote_key: key(number).public_key(),
            checkpoint_key: key(number + 100).public_key(),
            name: Name::new(&format!("v{number}")).unwrap(),
        });
        ValidatorSet::new(validators.collect()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{key, set};
    use super::*;

    /// As many signatures as there can be, of keys that are none of [`key`]'s.
    fn full() -> Signatures {
        let mut signatures = Signatures::default();
        for number in 0..MAX_SIGNATURES {
            let mut seed = [200; 32];
            seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
            let public = SigningKey::from_seed(&seed).public_key();
            assert!(signatures.put(public, Signature::from_bytes([0; 64])));
        }
        signatures
    }

    #[test]
    fn whoever_voted_once_makes_room_for_who_votes_now_and_whoever_asks_stays() {
        let mut signatures = full();
        let own: Vec<PublicKey> = signatures.signers().take(2).collect();
        let validators = set([1, 2, 3, 4]);
        assert_eq!(
            signatures.sign(b"this", &key(1), &validators, &own),
            Ok(true)
        );
        let mut kept = own.clone();
        kept.push(key(1).public_key());
        kept.sort();
        assert!(signatures.signers().eq(kept));
    }

    #[test]
    fn more_signatures_than_there_can_be_are_not_put_together() {
        let one = full();
        let mut more = Signatures::default();
        for key in [key(1), key(2)] {
            more.put(key.public_key(), key.sign(b"this"));
        }
        let mut joined = one.clone();
        assert_eq!(
            joined.join(&more),
            Err(SignedFileError::TooManySignatures {
                found: MAX_SIGNATURES + 2
            })
        );
        assert_eq!(joined, one);
        assert_eq!(joined.join(&one), Ok(()));
        let given = [one.as_slice(), more.as_slice()].concat();
        assert_eq!(
            Signatures::check(b"this", &given),
            Err(SignedFileError::TooManySignatures {
                found: MAX_SIGNATURES + 2
            })
        );
    }
}

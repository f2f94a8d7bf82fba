//! The validators of an epoch.
//!
//! ```text
//! count u16 || for each: vote key 32 || checkpoint key 32 || name (u8 length, text)      ascending by vote key
//! ```
//!
//! A validator has two keys: one votes on blocks, the other signs checkpoints (`docs/log.md`), since a C2SP
//! cosigner's key should have no other use. Votes are numbered by the order of the vote keys, which is the order in
//! which commonware numbers participants.
//!
//! A vote key is a point of the curve, and not one of small order. Nobody can vote with any other 32 bytes, and the engine
//! has no such participants.

use curve25519_dalek::edwards::CompressedEdwardsY;
use tally_receipt::{Digest, PublicKey};

use crate::id::{Purpose, hash};
use crate::wire::{DecodeError, Reader, Write};

/// Validators in one set. A certificate has a signature of two thirds of them.
pub const MAX_VALIDATORS: usize = 256;

/// Whoever votes on blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    /// Votes on blocks, and on decisions about the ledger itself.
    pub vote_key: PublicKey,
    /// Signs checkpoints, and nothing else.
    pub checkpoint_key: PublicKey,
    /// A name for people and for the policy file.
    pub name: Name,
}

/// A validator's or a chain's name: 1 to 64 of `a-z`, `0-9`, `-`, `.`, `_`. It stands in signed notes, which allow no spaces or
/// plus signs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to {MAX_NAME_BYTES} of a-z, 0-9, '-', '.' and '_'")]
pub struct InvalidName;

const MAX_NAME_BYTES: usize = 64;

impl Name {
    /// Takes a name.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
        if (1..=MAX_NAME_BYTES).contains(&text.len()) && text.as_bytes().iter().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The validators of an epoch, at least one, ascending by vote key; every key and name once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSet(Vec<Validator>);

/// Why validators are no set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidValidators {
    /// Nobody.
    #[error("a ledger needs at least one validator")]
    Empty,
    /// More than there may be.
    #[error("{found} validators are more than the {MAX_VALIDATORS} allowed")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// A key is there twice, whether as vote or checkpoint key.
    #[error("the key {0} is there twice: every validator has two keys of its own")]
    KeyTwice(PublicKey),
    /// A name is there twice.
    #[error("two validators are called {0}")]
    NameTwice(Name),
    /// A vote key with which nobody can vote.
    #[error("nobody can vote with the key {0}: it is no point of the curve")]
    NoPoint(PublicKey),
}

impl ValidatorSet {
    /// Makes a set, whatever the order.
    ///
    /// # Errors
    /// [`InvalidValidators`].
    pub fn new(mut validators: Vec<Validator>) -> Result<Self, InvalidValidators> {
        if validators.is_empty() {
            return Err(InvalidValidators::Empty);
        }
        if validators.len() > MAX_VALIDATORS {
            return Err(InvalidValidators::TooMany {
                found: validators.len(),
            });
        }
        validators.sort_by_key(|validator| validator.vote_key);
        let mut keys: Vec<PublicKey> = validators
            .iter()
            .flat_map(|validator| [validator.vote_key, validator.checkpoint_key])
            .collect();
        keys.sort();
        if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(InvalidValidators::KeyTwice(twice[0]));
        }
        let mut names: Vec<&Name> = validators.iter().map(|validator| &validator.name).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(InvalidValidators::NameTwice(twice[0].clone()));
        }
        // That it is not of small order is part of what a public key is.
        let mut vote_keys = validators.iter().map(|validator| validator.vote_key);
        if let Some(none) = vote_keys.find(|key| !is_point(key)) {
            return Err(InvalidValidators::NoPoint(none));
        }
        Ok(Self(validators))
    }

    /// The validators, ascending by vote key.
    pub fn as_slice(&self) -> &[Validator] {
        &self.0
    }

    /// How many there are: at least one.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a set without validators cannot be made"
    )]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many may fail or lie without harm: `(n - 1) / 3`, so none of one, two or three.
    pub fn tolerated(&self) -> usize {
        (self.len() - 1) / 3
    }

    /// How many must agree: all but those tolerated.
    pub fn quorum(&self) -> usize {
        self.len() - self.tolerated()
    }

    /// The number of the validator who votes with a key.
    pub fn index_of(&self, vote_key: &PublicKey) -> Option<usize> {
        self.0
            .binary_search_by_key(vote_key, |validator| validator.vote_key)
            .ok()
    }

    /// The digest that headers commit to.
    pub fn digest(&self) -> Digest {
        hash(Purpose::Validators, |hasher| self.write(hasher))
    }

    /// Writes the set down.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    /// Reads a set.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, Self::read)
    }

    pub(crate) fn write(&self, to: &mut impl Write) {
        to.put_count(self.0.len());
        for validator in &self.0 {
            to.put(validator.vote_key.as_bytes());
            to.put(validator.checkpoint_key.as_bytes());
            to.put_text(validator.name.as_str());
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const PART: &str = "the validators";
        let listed = reader.list(MAX_VALIDATORS, 66, PART, |reader| {
            Ok(Validator {
                vote_key: reader.key("a vote key")?,
                checkpoint_key: reader.key("a checkpoint key")?,
                name: Name::new(reader.text("a validator's name")?).map_err(|_| {
                    DecodeError::Text {
                        part: "a validator's name",
                    }
                })?,
            })
        })?;
        let ascending = listed.is_sorted_by(|one, next| one.vote_key < next.vote_key);
        match Self::new(listed) {
            Ok(set) if ascending => Ok(set),
            Err(InvalidValidators::Empty) => Err(DecodeError::Empty { part: PART }),
            Err(InvalidValidators::NoPoint(_)) => Err(DecodeError::NoPoint { part: "a vote key" }),
            _ => Err(DecodeError::Order { part: PART }),
        }
    }
}

fn is_point(key: &PublicKey) -> bool {
    CompressedEdwardsY(*key.as_bytes()).decompress().is_some()
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use tally_receipt::{InvalidKey, SigningKey};

    use super::*;
    use crate::genesis::{Genesis, GenesisError};

    fn validator(number: u8) -> Validator {
        let key = |number| SigningKey::from_seed(&[number; 32]).public_key();
        Validator {
            vote_key: key(number),
            checkpoint_key: key(number + 100),
            name: Name::new(&format!("v{number}")).unwrap(),
        }
    }

    /// A key that no signature holds under.
    fn no_point() -> PublicKey {
        (2..=u8::MAX)
            .map(|byte| PublicKey::from_bytes([byte; 32]).unwrap())
            .find(|key| !is_point(key))
            .expect("about half of all bytes are no point")
    }

    #[test]
    fn a_vote_key_that_is_no_point_is_refused_wherever_validators_come_from() {
        let mut validators = vec![validator(1), validator(2)];
        assert!(ValidatorSet::new(validators.clone()).is_ok());
        validators[1].vote_key = no_point();
        assert_eq!(
            ValidatorSet::new(validators.clone()),
            Err(InvalidValidators::NoPoint(no_point()))
        );

        // What somebody wrote down who does not check.
        validators.sort_by_key(|one| one.vote_key);
        let bytes = ValidatorSet(validators).to_bytes();
        assert_eq!(
            ValidatorSet::from_bytes(&bytes),
            Err(DecodeError::NoPoint { part: "a vote key" })
        );
        let file = format!(
            "format = \"tally-genesis-v1\"\nname = \"test\"\ntime = \"2026-11-29T20:00:00.000Z\"\n\
             [[validators]]\nname = \"v1\"\nvote = \"{}\"\ncheckpoint = \"{}\"\n",
            no_point(),
            validator(1).checkpoint_key
        );
        assert_eq!(
            Genesis::parse(&file),
            Err(GenesisError::Validators(InvalidValidators::NoPoint(
                no_point()
            )))
        );
    }

    #[test]
    fn a_vote_key_of_small_order_is_refused() {
        let bytes = ValidatorSet::new(vec![validator(1)]).unwrap().to_bytes();
        for point in EIGHT_TORSION {
            let mut weak = bytes.clone();
            weak[2..34].copy_from_slice(point.compress().as_bytes());
            assert_eq!(
                ValidatorSet::from_bytes(&weak),
                Err(DecodeError::Key {
                    part: "a vote key",
                    reason: InvalidKey::SmallOrder,
                })
            );
        }
    }
}

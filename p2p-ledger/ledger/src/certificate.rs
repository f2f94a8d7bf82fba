//! The proof that a block is final: the votes of a quorum of validators.
//!
//! ```text
//! proposal (vote.rs) || validators u64 || bitmap, one bit each, lowest bit first, padded with zeros to bytes
//! || votes varint || signature 64 for each bit set, in order
//! ```
//!
//! These are the bytes of simplex's `Finalization` with Ed25519. 237 bytes with 3 of 4 validators.

use tally_receipt::{PublicKey, Signature};

use crate::block::Header;
use crate::id::{BlockDigest, ChainId, Epoch};
use crate::validators::{MAX_VALIDATORS, ValidatorSet};
use crate::vote::{Proposal, Round, Vote};
use crate::wire::{DecodeError, Reader, Write};

/// The votes that make a block final. Whether they hold is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    proposal: Proposal,
    votes: Votes,
}

/// Who of how many validators signed. The signatures are as many as the bits that are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Votes {
    validators: usize,
    /// Ascending by validator.
    signed: Vec<(usize, Signature)>,
}

/// Why a certificate does not make a block final. Whoever gave it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is about another block.
    #[error("the certificate is for the block {found}, not for {expected}")]
    OtherBlock {
        /// The block it should be about.
        expected: BlockDigest,
        /// The one it is about.
        found: BlockDigest,
    },
    /// The votes are of other validators' time.
    #[error("the certificate is of epoch {found}, and the block of epoch {expected}")]
    OtherEpoch {
        /// The block's epoch.
        expected: Epoch,
        /// The certificate's.
        found: Epoch,
    },
    /// It was made by another number of validators.
    #[error("the certificate is of {found} validators, and there are {expected}")]
    OtherValidators {
        /// How many there are.
        expected: usize,
        /// How many the certificate has.
        found: usize,
    },
    /// Too few voted.
    #[error("{found} validators voted, and {needed} must")]
    NoQuorum {
        /// How many did.
        found: usize,
        /// How many must.
        needed: usize,
    },
    /// A vote is not the validator's.
    #[error("the vote of {0} does not hold")]
    BadVote(PublicKey),
}

impl Certificate {
    /// What the votes are on.
    pub const fn proposal(&self) -> &Proposal {
        &self.proposal
    }

    /// Who voted, by the order of the set.
    pub fn voters(&self) -> impl Iterator<Item = usize> {
        self.votes.signed.iter().map(|(index, _)| *index)
    }

    /// Checks that a quorum of `validators` voted for the block with this header. That they are those of the header's
    /// epoch is for the caller to know.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify(
        &self,
        chain: ChainId,
        validators: &ValidatorSet,
        header: &Header,
    ) -> Result<(), CertificateError> {
        let expected = header.digest();
        if self.proposal.block != expected {
            return Err(CertificateError::OtherBlock {
                expected,
                found: self.proposal.block,
            });
        }
        if self.proposal.round.epoch != header.epoch {
            return Err(CertificateError::OtherEpoch {
                expected: header.epoch,
                found: self.proposal.round.epoch,
            });
        }
        if self.votes.validators != validators.len() {
            return Err(CertificateError::OtherValidators {
                expected: validators.len(),
                found: self.votes.validators,
            });
        }
        let (found, needed) = (self.votes.signed.len(), validators.quorum());
        if found < needed {
            return Err(CertificateError::NoQuorum { found, needed });
        }
        let vote = Vote::Finalize(self.proposal);
        for (index, signature) in &self.votes.signed {
            let key = validators.as_slice()[*index].vote_key;
            if !vote.is_signed(chain, &key, signature) {
                return Err(CertificateError::BadVote(key));
            }
        }
        Ok(())
    }

    /// Writes the certificate down, as simplex does.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.proposal.write(&mut bytes);
        bytes.put_u64(self.votes.validators as u64);
        bytes.put(&self.votes.bitmap());
        bytes.put_varint(self.votes.signed.len() as u64);
        for (_, signature) in &self.votes.signed {
            bytes.put(signature.as_bytes());
        }
        bytes
    }

    /// Reads a certificate, as simplex writes it.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            let proposal = Proposal::read(reader)?;
            let validators = Votes::count(reader.u64("the number of validators")?)?;
            let voters = Votes::read_bitmap(reader, validators)?;
            let found = reader.varint("the number of votes")?;
            if found != voters.len() as u64 {
                return Err(DecodeError::Mismatch {
                    part: "the number of votes",
                });
            }
            Ok(Self {
                proposal,
                votes: Votes::read_signatures(reader, validators, &voters)?,
            })
        })
    }

    /// Writes what a reader that has the block's header cannot know: the views and the votes.
    pub(crate) fn write_beside_header(&self, to: &mut impl Write) {
        to.put_varint(self.proposal.round.view);
        to.put_varint(self.proposal.parent_view);
        to.put_count(self.votes.validators);
        to.put(&self.votes.bitmap());
        for (_, signature) in &self.votes.signed {
            to.put(signature.as_bytes());
        }
    }

    pub(crate) fn read_beside_header(
        reader: &mut Reader<'_>,
        header: &Header,
    ) -> Result<Self, DecodeError> {
        let view = reader.varint("a view")?;
        let parent_view = reader.varint("a parent's view")?;
        let validators = Votes::count(reader.u16("the number of validators")?.into())?;
        let voters = Votes::read_bitmap(reader, validators)?;
        Ok(Self {
            proposal: Proposal {
                round: Round {
                    epoch: header.epoch,
                    view,
                },
                parent_view,
                block: header.digest(),
            },
            votes: Votes::read_signatures(reader, validators, &voters)?,
        })
    }
}

impl Votes {
    fn count(found: u64) -> Result<usize, DecodeError> {
        match usize::try_from(found) {
            Ok(count @ 1..=MAX_VALIDATORS) => Ok(count),
            _ => Err(DecodeError::Unknown {
                part: "the number of validators",
                found,
            }),
        }
    }

    fn bitmap(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.validators.div_ceil(8)];
        for (index, _) in &self.signed {
            bytes[index / 8] |= 1 << (index % 8);
        }
        bytes
    }

    /// The validators whose bits are set. At least one; no bit beyond the last validator's.
    fn read_bitmap(reader: &mut Reader<'_>, validators: usize) -> Result<Vec<usize>, DecodeError> {
        const PART: &str = "the voters";
        let bytes = reader.bytes(validators.div_ceil(8), PART)?;
        let voters: Vec<usize> = (0..bytes.len() * 8)
            .filter(|index| bytes[index / 8] >> (index % 8) & 1 == 1)
            .collect();
        match voters.last() {
            None => Err(DecodeError::Empty { part: PART }),
            Some(last) if *last >= validators => Err(DecodeError::Mismatch { part: PART }),
            Some(_) => Ok(voters),
        }
    }

    fn read_signatures(
        reader: &mut Reader<'_>,
        validators: usize,
        voters: &[usize],
    ) -> Result<Self, DecodeError> {
        Ok(Self {
            validators,
            signed: voters
                .iter()
                .map(|index| Ok((*index, reader.signature("a vote")?)))
                .collect::<Result<_, DecodeError>>()?,
        })
    }
}

//! Votes, as commonware's simplex signs them with Ed25519, without commonware.
//!
//! ```text
//! namespace = "tally-ledger-v1/" || chain id 32 || "_NOTARIZE", "_NULLIFY" or "_FINALIZE"
//! message   = round, for a nullify; else round || parent view varint || block 32
//! round     = epoch varint || view varint
//! signed    = length of namespace varint || namespace || message
//! ```
//!
//! A vote holds by the rule by which simplex itself counts it, which is that of ZIP 215: `S` is below the group order and
//! `8·R = 8·(S·B − SHA-512(R || key || signed)·A)`, where `R` may be any encoding of a point. This is not the strict rule
//! that everything else here is checked by. If it were, a validator could make votes that count for the engine and not
//! for whoever checks the certificate later, and so spoil proofs.
//!
//! Sources: `commonware-consensus` and `commonware-cryptography` 2026.10.0; ZIP 215. No deviations.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity as _;
use sha2::Digest as _;
use tally_receipt::{PublicKey, Signature};

use crate::id::{BlockDigest, ChainId, Epoch};
use crate::wire::{DecodeError, Reader, Write};

/// The namespace of a chain's votes: what simplex's signing scheme is made with.
pub fn consensus_namespace(chain: ChainId) -> Vec<u8> {
    let mut namespace = b"tally-ledger-v1/".to_vec();
    namespace.put(chain.as_bytes());
    namespace
}

/// A place in the order of proposals: a view of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round {
    /// Whose validators vote.
    pub epoch: Epoch,
    /// The turn of one leader.
    pub view: u64,
}

/// What is voted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// In which round.
    pub round: Round,
    /// The view of the block before.
    pub parent_view: u64,
    /// The block.
    pub block: BlockDigest,
}

/// What a validator says of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vote {
    /// This block may follow.
    Notarize(Proposal),
    /// None follows in this round.
    Nullify(Round),
    /// This block is final.
    Finalize(Proposal),
}

impl Vote {
    /// The bytes that are signed.
    pub fn signed_bytes(&self, chain: ChainId) -> Vec<u8> {
        let mut namespace = consensus_namespace(chain);
        namespace.put(match self {
            Self::Notarize(_) => b"_NOTARIZE",
            Self::Nullify(_) => b"_NULLIFY",
            Self::Finalize(_) => b"_FINALIZE",
        });
        let mut bytes = Vec::with_capacity(128);
        bytes.put_varint(namespace.len() as u64);
        bytes.put(&namespace);
        match self {
            Self::Notarize(proposal) | Self::Finalize(proposal) => proposal.write(&mut bytes),
            Self::Nullify(round) => round.write(&mut bytes),
        }
        bytes
    }

    /// Whether `signature` is `key`'s, by simplex's rule.
    pub fn is_signed(&self, chain: ChainId, key: &PublicKey, signature: &Signature) -> bool {
        holds(key, &self.signed_bytes(chain), signature)
    }

    /// In which round.
    pub const fn round(&self) -> Round {
        match self {
            Self::Notarize(proposal) | Self::Finalize(proposal) => proposal.round,
            Self::Nullify(round) => *round,
        }
    }
}

impl Round {
    pub(crate) fn write(&self, to: &mut impl Write) {
        to.put_varint(self.epoch.get());
        to.put_varint(self.view);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: Epoch::new(reader.varint("an epoch")?),
            view: reader.varint("a view")?,
        })
    }
}

impl Proposal {
    pub(crate) fn write(&self, to: &mut impl Write) {
        self.round.write(to);
        to.put_varint(self.parent_view);
        to.put(self.block.as_bytes());
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            round: Round::read(reader)?,
            parent_view: reader.varint("a parent's view")?,
            block: BlockDigest::new(reader.digest("a block")?),
        })
    }
}

/// Whether a signature holds by ZIP 215.
fn holds(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    let (r, s) = signature.as_bytes().split_at(32);
    let [r, s]: [[u8; 32]; 2] =
        [r, s].map(|half| half.try_into().expect("half of 64 bytes is 32 bytes"));
    let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)) else {
        return false;
    };
    let (Some(point), Some(minus_key)) = (
        CompressedEdwardsY(r).decompress(),
        CompressedEdwardsY(*key.as_bytes())
            .decompress()
            .map(|point| -point),
    ) else {
        return false;
    };
    let hash = sha2::Sha512::new()
        .chain_update(r)
        .chain_update(key.as_bytes())
        .chain_update(message)
        .finalize();
    let h = Scalar::from_bytes_mod_order_wide(&hash.into());
    let computed = EdwardsPoint::vartime_double_scalar_mul_basepoint(&h, &minus_key, &s);
    (point - computed).mul_by_cofactor().is_identity()
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use tally_receipt::SigningKey;

    use super::*;

    #[test]
    fn a_signature_holds_for_its_vote_alone() {
        let key = SigningKey::from_seed(&[1; 32]);
        let chain = ChainId::from_bytes([7; 32]);
        let round = Round {
            epoch: Epoch::new(3),
            view: 300,
        };
        let proposal = Proposal {
            round,
            parent_view: 299,
            block: BlockDigest::from_bytes([9; 32]),
        };
        let votes = [
            Vote::Notarize(proposal),
            Vote::Nullify(round),
            Vote::Finalize(proposal),
        ];
        for vote in votes {
            let signature = key.sign(&vote.signed_bytes(chain));
            for other in votes {
                assert_eq!(
                    other.is_signed(chain, &key.public_key(), &signature),
                    other == vote
                );
            }
            let elsewhere = ChainId::from_bytes([8; 32]);
            assert!(!vote.is_signed(elsewhere, &key.public_key(), &signature));
        }
    }

    /// A validator that adds a point of small order to `R` makes a vote that simplex counts. It must count here.
    #[test]
    fn a_vote_with_a_torsion_component_counts_as_it_does_for_simplex() {
        let seed = [9; 32];
        let mut scalar: [u8; 32] = sha2::Sha512::digest(seed)[..32].try_into().unwrap();
        scalar[0] &= 248;
        scalar[31] = scalar[31] & 63 | 64;
        let secret = Scalar::from_bytes_mod_order(scalar);
        let public = SigningKey::from_seed(&seed).public_key();
        for torsion in EIGHT_TORSION {
            let nonce = Scalar::from_bytes_mod_order([5; 32]);
            let r = (EdwardsPoint::mul_base(&nonce) + torsion).compress();
            let hash = sha2::Sha512::new()
                .chain_update(r.0)
                .chain_update(public.as_bytes())
                .chain_update(b"m")
                .finalize();
            let s = nonce + Scalar::from_bytes_mod_order_wide(&hash.into()) * secret;
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(&r.0);
            bytes[32..].copy_from_slice(s.as_bytes());
            let signature = Signature::from_bytes(bytes);
            assert!(holds(&public, b"m", &signature));
            assert!(!holds(&public, b"n", &signature));
            assert_eq!(public.verify(b"m", &signature), torsion.is_identity());
        }
    }
}

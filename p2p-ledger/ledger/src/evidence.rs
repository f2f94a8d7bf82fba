//! Evidence that a validator signed two histories: one file that convinces whoever knows the validator's key.
//!
//! ```text
//! "TALLYEV1" || kind u8 || fields
//!     1 votes         chain 32 || vote key 32 || vote || signature 64 || vote || signature 64
//!     2 checkpoints   verifier key (u16 length, text) || checkpoint (u32 length, bytes) || checkpoint (u32 length, bytes)
//! vote: 1 notarize || proposal (vote.rs), 2 nullify || round, 3 finalize || proposal
//! ```
//!
//! Of the two, the one whose bytes are smaller stands first. Two **votes** contradict each other when they are of one
//! round and both notarize, or both finalize, different proposals, or one nullifies and the other finalizes. An honest
//! validator never signs such two, whatever it was shown and however often it restarted. To notarize one block and
//! finalize another is no fault: the others may have agreed on the second. Two **checkpoints** contradict each other when
//! they are of one log and one size with different roots. Of different sizes, only who has the entries can say.
//!
//! | code | passes when | otherwise |
//! |---|---|---|
//! | `evidence` | the file is evidence in its one spelling | fail `malformed`, and no other check is made |
//! | `signed` | both signatures hold for the key | fail `bad-signature` |
//! | `contradiction` | the two contradict each other | fail `no-contradiction` |
//! | `validator` | the key is a validator's, by the genesis or the policy | fail `other-chain`, `unknown-key`; not established `nobody-to-believe` |
//!
//! All four are needed: *verified* means that this validator is at fault.

use tally_log::{MAX_NOTE_BYTES, Policy, Signed, SignedCheckpoint, VerifierKey};
use tally_receipt::{Check, PublicKey, Signature, Verdict};

use crate::genesis::Genesis;
use crate::id::ChainId;
use crate::verify::{Trust, cosigner_name};
use crate::vote::{Proposal, Round, Vote};
use crate::wire::{DecodeError, EVIDENCE_MAGIC, Reader, Write};

/// Bytes of a file of evidence: two checkpoints and a key.
pub const MAX_EVIDENCE_BYTES: usize = 2 * MAX_NOTE_BYTES + 1024;

/// That somebody signed two things of which only one can be honest. Whether they did has yet to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Two votes.
    Votes {
        /// On which chain.
        chain: ChainId,
        /// Whose.
        voter: PublicKey,
        /// In order of their bytes.
        votes: Box<[(Vote, Signature); 2]>,
    },
    /// Two checkpoints.
    Checkpoints {
        /// Whose signatures.
        signer: VerifierKey,
        /// In order of their bytes.
        checkpoints: Box<[SignedCheckpoint; 2]>,
    },
}

/// What simplex calls a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SimplexFault {
    /// Two proposals notarized in one round.
    ConflictingNotarize,
    /// Two proposals finalized in one round.
    ConflictingFinalize,
    /// A round nullified, and a proposal in it finalized.
    NullifyFinalize,
}

/// The codes of these checks. Codes are stable; sentences are not.
pub mod code {
    /// The file is evidence in its one spelling.
    pub const EVIDENCE: &str = "evidence";
    /// Both signatures hold.
    pub const SIGNED: &str = "signed";
    /// The two contradict each other.
    pub const CONTRADICTION: &str = "contradiction";
    /// The key is a validator's.
    pub const VALIDATOR: &str = "validator";
}

const METHOD: &str = "evidence";
const NEEDED: &[&str] = &[
    code::EVIDENCE,
    code::SIGNED,
    code::CONTRADICTION,
    code::VALIDATOR,
];

impl Evidence {
    /// Evidence of two votes, in whatever order.
    pub fn votes(
        chain: ChainId,
        voter: PublicKey,
        one: (Vote, Signature),
        other: (Vote, Signature),
    ) -> Self {
        let mut votes = Box::new([one, other]);
        votes.sort_by_key(vote_bytes);
        Self::Votes {
            chain,
            voter,
            votes,
        }
    }

    /// Evidence of what simplex reports, in the bytes in which it encodes both votes of `voter`.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly that.
    pub fn from_simplex(
        chain: ChainId,
        voter: PublicKey,
        fault: SimplexFault,
        bytes: &[u8],
    ) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            let mut signed = |kind: fn(&mut Reader<'_>) -> Result<Vote, DecodeError>| {
                let vote = kind(reader)?;
                reader.varint("the voter's number")?;
                Ok((vote, reader.signature("a vote's signature")?))
            };
            let notarize = |reader: &mut Reader<'_>| Proposal::read(reader).map(Vote::Notarize);
            let nullify = |reader: &mut Reader<'_>| Round::read(reader).map(Vote::Nullify);
            let finalize = |reader: &mut Reader<'_>| Proposal::read(reader).map(Vote::Finalize);
            let (one, other) = match fault {
                SimplexFault::ConflictingNotarize => (signed(notarize)?, signed(notarize)?),
                SimplexFault::ConflictingFinalize => (signed(finalize)?, signed(finalize)?),
                SimplexFault::NullifyFinalize => (signed(nullify)?, signed(finalize)?),
            };
            Ok(Self::votes(chain, voter, one, other))
        })
    }

    /// Evidence of two checkpoints, in whatever order. Other signatures on them than the signer's are left out.
    pub fn checkpoints(
        signer: VerifierKey,
        one: SignedCheckpoint,
        other: SignedCheckpoint,
    ) -> Self {
        let mut checkpoints = [one, other];
        for checkpoint in &mut checkpoints {
            checkpoint.retain(|signature| *signature.name() == signer.name);
        }
        checkpoints.sort_by_key(ToString::to_string);
        Self::Checkpoints {
            signer,
            checkpoints: Box::new(checkpoints),
        }
    }

    /// Whether bytes begin as evidence, or did before a few of them were altered.
    pub fn resembles(bytes: &[u8]) -> bool {
        crate::wire::resembles(bytes, EVIDENCE_MAGIC)
    }

    /// Whether both signatures hold.
    pub fn is_signed(&self) -> bool {
        match self {
            Self::Votes {
                chain,
                voter,
                votes,
            } => votes
                .iter()
                .all(|(vote, signature)| vote.is_signed(*chain, voter, signature)),
            Self::Checkpoints {
                signer,
                checkpoints,
            } => checkpoints.iter().all(|checkpoint| {
                matches!(checkpoint.signed_by(signer), Signed::Yes | Signed::At(_))
            }),
        }
    }

    /// Whether only one of the two can be honest.
    pub fn contradicts(&self) -> bool {
        match self {
            Self::Votes { votes, .. } => {
                let [one, other] = [votes[0].0, votes[1].0];
                one.round() == other.round()
                    && match (one, other) {
                        (Vote::Notarize(one), Vote::Notarize(other))
                        | (Vote::Finalize(one), Vote::Finalize(other)) => one != other,
                        (Vote::Nullify(_), Vote::Finalize(_))
                        | (Vote::Finalize(_), Vote::Nullify(_)) => true,
                        _ => false,
                    }
            }
            Self::Checkpoints { checkpoints, .. } => {
                let [one, other] = [checkpoints[0].checkpoint(), checkpoints[1].checkpoint()];
                one.origin == other.origin && one.size == other.size && one.root != other.root
            }
        }
    }

    /// What both say, for a person. Whether they are signed and exclude each other is the verdict's business.
    pub fn in_words(&self) -> String {
        match self {
            Self::Votes { votes, .. } => {
                let [one, other] = [votes[0].0, votes[1].0];
                let (here, there) = (one.round(), other.round());
                if here == there {
                    format!(
                        "in view {} of epoch {} it {} and {}",
                        here.view,
                        here.epoch,
                        vote_words(&one),
                        vote_words(&other)
                    )
                } else {
                    format!(
                        "in view {} of epoch {} it {}, and in view {} of epoch {} it {}",
                        here.view,
                        here.epoch,
                        vote_words(&one),
                        there.view,
                        there.epoch,
                        vote_words(&other)
                    )
                }
            }
            Self::Checkpoints { checkpoints, .. } => {
                let [one, other] = [checkpoints[0].checkpoint(), checkpoints[1].checkpoint()];
                format!(
                    "it signed the root {} for {} receipts and the root {} for {}",
                    one.root, one.size, other.root, other.size
                )
            }
        }
    }

    /// Writes the evidence down.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = EVIDENCE_MAGIC.to_vec();
        match self {
            Self::Votes {
                chain,
                voter,
                votes,
            } => {
                bytes.put_u8(1);
                bytes.put(chain.as_bytes());
                bytes.put(voter.as_bytes());
                for vote in votes.iter() {
                    bytes.put(&vote_bytes(vote));
                }
            }
            Self::Checkpoints {
                signer,
                checkpoints,
            } => {
                bytes.put_u8(2);
                let key = signer.to_string();
                bytes.put_count(key.len());
                bytes.put(key.as_bytes());
                for checkpoint in checkpoints.iter() {
                    bytes.put_counted(checkpoint.to_string().as_bytes());
                }
            }
        }
        bytes
    }

    /// Reads evidence.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_EVIDENCE_BYTES {
            return Err(DecodeError::TooLong {
                part: "evidence",
                found: bytes.len(),
                limit: MAX_EVIDENCE_BYTES,
            });
        }
        let evidence = Reader::whole(bytes, Self::read)?;
        // The order, and what a checkpoint may have beside the signer's signature.
        if evidence.to_bytes() == bytes {
            Ok(evidence)
        } else {
            Err(DecodeError::Order {
                part: "the two that contradict each other",
            })
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.array("the beginning")? != *EVIDENCE_MAGIC {
            return Err(DecodeError::Mismatch {
                part: "the beginning",
            });
        }
        match reader.u8("the kind of evidence")? {
            1 => {
                let chain = ChainId::new(reader.digest("the chain")?);
                let voter = reader.key("the voter")?;
                let mut vote = || Ok((read_vote(reader)?, reader.signature("a vote's signature")?));
                Ok(Self::votes(chain, voter, vote()?, vote()?))
            }
            2 => {
                const PART: &str = "a verifier key";
                let malformed = |part| DecodeError::Mismatch { part };
                let length = reader.u16(PART)?.into();
                let signer = std::str::from_utf8(reader.bytes(length, PART)?)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or(malformed(PART))?;
                let mut checkpoint = || {
                    let bytes = reader.counted(MAX_NOTE_BYTES, "a checkpoint")?;
                    SignedCheckpoint::parse(bytes).map_err(|_| malformed("a checkpoint"))
                };
                Ok(Self::checkpoints(signer, checkpoint()?, checkpoint()?))
            }
            found => Err(DecodeError::Unknown {
                part: "the kind of evidence",
                found: found.into(),
            }),
        }
    }
}

fn vote_bytes((vote, signature): &(Vote, Signature)) -> Vec<u8> {
    let mut bytes = Vec::new();
    match vote {
        Vote::Notarize(proposal) => {
            bytes.put_u8(1);
            proposal.write(&mut bytes);
        }
        Vote::Nullify(round) => {
            bytes.put_u8(2);
            round.write(&mut bytes);
        }
        Vote::Finalize(proposal) => {
            bytes.put_u8(3);
            proposal.write(&mut bytes);
        }
    }
    bytes.put(signature.as_bytes());
    bytes
}

fn vote_words(vote: &Vote) -> String {
    match vote {
        Vote::Notarize(proposal) => format!("voted for block {}", proposal.block),
        Vote::Nullify(_) => "voted to give the view up".into(),
        Vote::Finalize(proposal) => format!("voted block {} final", proposal.block),
    }
}

fn read_vote(reader: &mut Reader<'_>) -> Result<Vote, DecodeError> {
    Ok(match reader.u8("a vote's kind")? {
        1 => Vote::Notarize(Proposal::read(reader)?),
        2 => Vote::Nullify(Round::read(reader)?),
        3 => Vote::Finalize(Proposal::read(reader)?),
        found => {
            return Err(DecodeError::Unknown {
                part: "a vote's kind",
                found: found.into(),
            });
        }
    })
}

/// Checks evidence. Verified means that the validator is at fault.
pub fn verify_evidence(bytes: &[u8], trust: &Trust<'_>) -> Verdict {
    let evidence = match Evidence::from_bytes(bytes) {
        Ok(evidence) => evidence,
        Err(error) => {
            let check = Check::fail(code::EVIDENCE, "malformed", error.to_string());
            return Verdict::new(METHOD, NEEDED, vec![check], vec![]);
        }
    };
    let checks = vec![
        Check::pass(code::EVIDENCE, "the file is evidence in its one spelling"),
        match evidence.is_signed() {
            true => Check::pass(code::SIGNED, "both were signed by the key it names"),
            false => Check::fail(
                code::SIGNED,
                "bad-signature",
                "one of the two was not signed by the key it names",
            ),
        },
        match evidence.contradicts() {
            true => Check::pass(
                code::CONTRADICTION,
                format!("{}: nobody honest signs both", evidence.in_words()),
            ),
            false => Check::fail(
                code::CONTRADICTION,
                "no-contradiction",
                format!(
                    "{}: somebody honest may have signed both",
                    evidence.in_words()
                ),
            ),
        },
        validator(&evidence, trust),
    ];
    let not_proved = vec![
        "whether the validator lied or lost control of its key".into(),
        "which of the two histories the others agreed on".into(),
    ];
    Verdict::new(METHOD, NEEDED, checks, not_proved)
}

fn validator(evidence: &Evidence, trust: &Trust<'_>) -> Check {
    const CODE: &str = code::VALIDATOR;
    let unknown = |key: String| {
        Check::fail(
            CODE,
            "unknown-key",
            format!("{key} is no key of a validator that is known here"),
        )
    };
    match (evidence, trust.genesis, trust.policy) {
        (Evidence::Votes { chain, voter, .. }, Some(genesis), _) => {
            if genesis.chain() != *chain {
                return Check::fail(
                    CODE,
                    "other-chain",
                    format!(
                        "the votes are of the chain {chain}, not of {}",
                        genesis.name
                    ),
                );
            }
            match genesis.validators.index_of(voter) {
                Some(index) => {
                    let name = &genesis.validators.as_slice()[index].name;
                    Check::pass(
                        CODE,
                        format!("the votes are of the validator {name}, key {voter}"),
                    )
                }
                // It may have become one later, which only the epochs' certificates could show.
                None => unknown(voter.to_string()),
            }
        }
        (Evidence::Checkpoints { signer, .. }, genesis, policy)
            if genesis.is_some() || policy.is_some() =>
        {
            match policy.is_some_and(|policy| knows(policy, signer))
                || genesis.is_some_and(|genesis| has_cosigner(genesis, signer))
            {
                true => Check::pass(
                    CODE,
                    format!("the checkpoints were signed by {}", signer.name),
                ),
                false => unknown(signer.to_string()),
            }
        }
        _ => Check::not_established(
            CODE,
            "nobody-to-believe",
            "without a genesis or a policy that goes with it, nobody says whose key this is",
        ),
    }
}

fn knows(policy: &Policy, signer: &VerifierKey) -> bool {
    policy.keys().any(|key| key == signer)
}

fn has_cosigner(genesis: &Genesis, signer: &VerifierKey) -> bool {
    let origin = genesis.log_origin();
    genesis.validators.as_slice().iter().any(|validator| {
        validator.checkpoint_key == signer.key
            && (signer.name == origin || signer.name == cosigner_name(&origin, &validator.name))
    })
}

//! Proofs of settlement: one file by which somebody who is offline checks that a receipt was settled, and when.
//!
//! ```text
//! "TALLYPR1" || flags u8: 1 the receipt is inside, 2 it was settled in full, 4 finality, 8 checkpoint
//! || node 32 || sequence varint || index varint
//! || the receipt (length u32, bytes), or its digest 32
//! || count u8 of hashes || hashes 32, from the leaf's sibling up
//! if finality:
//!     height varint || epoch varint || parent 32 || body 32 || log size varint || state root 32 || time u64
//!     || next validators 32 || votes
//!     || count u16 of epochs || for each: header (block.rs) || votes || validators (validators.rs)
//! if checkpoint:
//!     length u32 || a C2SP checkpoint, of the same tree
//! votes: view varint || parent's view varint || validators u16 || bitmap || signature 64 for each bit set
//! ```
//!
//! Varints are seven bits a byte, lowest first, in their shortest form. What a reader computes is left out: the log's
//! root, which follows from the entry and the hashes, the block's digest, which follows from the header with that root,
//! and so the proposal that validators signed. A proof with one altered byte therefore leads to a block that nobody
//! voted for.
//!
//! The epochs lead from the validators of genesis to those of the block: each is the last block of its epoch, final by
//! the validators before, and those it names as the next.
//!
//! Whoever has followed them can begin there the next time, by a file of [`TrustedValidators`]:
//!
//! ```text
//! "tally-trusted-v1\n" || chain id 32 || epoch varint || validators (validators.rs)
//! if the epoch is not 0: header (block.rs), of the block that named them, the last of the epoch before
//! check 32, the digest of all bytes before it
//! ```
//!
//! The check finds damage. It shows nothing to whoever does not know where the file is from.

use tally_log::{InclusionProof, ProofError, ProofFile, SignedCheckpoint};
use tally_receipt::Digest;

use crate::block::{HEADER_BYTES, Header};
use crate::certificate::{Certificate, CertificateError};
use crate::id::{BlockDigest, ChainId, Epoch, Height, NodeId, Purpose, Sequence, StateRoot, hash};
use crate::state::Entry;
use crate::validators::ValidatorSet;
use crate::wire::{DecodeError, PROOF_MAGIC, Reader, Write};

/// Bytes of a proof: a receipt, and a thousand changes of 256 validators.
pub const MAX_PROOF_BYTES: usize = 64 << 20;

/// Changes of validators in a proof, and so in a chain: no decision makes more ([`TransactionError`](crate::TransactionError)).
pub const MAX_EPOCHS: usize = 4096;

const TRUSTED_MAGIC: &[u8] = b"tally-trusted-v1\n";

const RECEIPT_INSIDE: u8 = 1;
const IN_FULL: u8 = 2;
const FINALITY: u8 = 4;
const CHECKPOINT: u8 = 8;

/// That a receipt was settled. Whether it was has yet to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    entry: Entry,
    /// Its digest is the entry's.
    receipt: Option<Box<[u8]>>,
    index: u64,
    inclusion: InclusionProof,
    /// Its header's log root is the one that the inclusion proof leads to.
    finality: Option<Finality>,
    /// Its size and root are those of the header and the inclusion proof.
    checkpoint: Option<SignedCheckpoint>,
}

/// That a block is final, for whoever knows the validators of genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finality {
    /// The block.
    pub header: Header,
    /// The votes on it.
    pub certificate: Certificate,
    /// How its validators came to be so.
    pub epochs: Vec<EpochEnd>,
}

/// The last block of an epoch, and who came after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The block.
    pub header: Header,
    /// The votes on it, of the validators before.
    pub certificate: Certificate,
    /// The validators of the next epoch.
    pub next: ValidatorSet,
}

/// Why parts do not make a proof. Whoever puts them together is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// The path does not lead from the entry to the log.
    #[error("the inclusion proof does not lead to the tree of the {part}: {reason}")]
    Inclusion {
        /// Header or checkpoint.
        part: &'static str,
        /// Why not.
        reason: ProofError,
    },
    /// The receipt is another.
    #[error("the receipt is not the one that was settled")]
    OtherReceipt,
    /// Nothing to check it by.
    #[error("a proof needs finality, or a checkpoint")]
    NothingToHoldOnTo,
}

/// Who votes in an epoch of a chain, as somebody knows it who was there or has followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedValidators {
    /// Of which chain.
    pub chain: ChainId,
    /// In which epoch.
    pub epoch: Epoch,
    /// Who.
    pub validators: ValidatorSet,
    /// The last block of the epoch before, which named them and is final. None in the first epoch.
    pub named_by: Option<Header>,
}

/// Why a chain of epochs cannot be followed. Whoever gave it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// An epoch is left out.
    #[error("the epoch {expected} ends next, and the block is of epoch {found}")]
    OtherEpoch {
        /// The one that ends next.
        expected: Epoch,
        /// The block's.
        found: Epoch,
    },
    /// The end of an epoch is not final.
    #[error("the last block of epoch {epoch} is not final: {reason}")]
    NotFinal {
        /// Which epoch.
        epoch: Epoch,
        /// Why not.
        reason: CertificateError,
    },
    /// The next validators are others.
    #[error("the last block of epoch {epoch} names other validators than these as the next")]
    OtherValidators {
        /// Which epoch.
        epoch: Epoch,
    },
}

impl TrustedValidators {
    /// Those of a genesis.
    pub fn of(genesis: &crate::Genesis) -> Self {
        Self {
            chain: genesis.chain(),
            epoch: Epoch::ZERO,
            validators: genesis.validators.clone(),
            named_by: None,
        }
    }

    /// Goes on to the next epoch.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn follow(&mut self, end: &EpochEnd) -> Result<(), FollowError> {
        if end.header.epoch != self.epoch {
            return Err(FollowError::OtherEpoch {
                expected: self.epoch,
                found: end.header.epoch,
            });
        }
        end.certificate
            .verify(self.chain, &self.validators, &end.header)
            .map_err(|reason| FollowError::NotFinal {
                epoch: self.epoch,
                reason,
            })?;
        let changed = end.next != self.validators;
        if !changed || end.header.next_validators != end.next.digest() {
            return Err(FollowError::OtherValidators { epoch: self.epoch });
        }
        self.epoch = self.epoch.next();
        self.validators = end.next.clone();
        self.named_by = Some(end.header.clone());
        Ok(())
    }

    /// Writes them down, for whoever begins there.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = TRUSTED_MAGIC.to_vec();
        bytes.put(self.chain.as_bytes());
        bytes.put_varint(self.epoch.get());
        self.validators.write(&mut bytes);
        if let Some(header) = &self.named_by {
            header.write(&mut bytes);
        }
        let check = trusted_check(&bytes);
        bytes.put(check.as_bytes());
        bytes
    }

    /// Reads them. Whether they are the chain's does not follow from the bytes: whoever reads them believes whom they are from.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one such file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, |reader| {
            let read = Self::read(reader)?;
            let checked = &bytes[..bytes.len() - reader.remaining()];
            if reader.digest("the check")? != trusted_check(checked) {
                return Err(DecodeError::Mismatch { part: "the check" });
            }
            Ok(read)
        })
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.bytes(TRUSTED_MAGIC.len(), "the beginning")? != TRUSTED_MAGIC {
            return Err(DecodeError::Mismatch {
                part: "the beginning",
            });
        }
        let chain = ChainId::new(reader.digest("the chain")?);
        let epoch = Epoch::new(reader.varint("the epoch")?);
        let validators = ValidatorSet::read(reader)?;
        let named_by = match epoch {
            Epoch::ZERO => None,
            _ => Some(Header::read(reader)?),
        };
        let is_named = named_by.as_ref().is_none_or(|header| {
            header.epoch.get().checked_add(1) == Some(epoch.get())
                && header.next_validators == validators.digest()
        });
        if !is_named {
            return Err(DecodeError::Mismatch {
                part: "the block that named the validators",
            });
        }
        Ok(Self {
            chain,
            epoch,
            validators,
            named_by,
        })
    }
}

/// What is written behind trusted validators.
fn trusted_check(bytes: &[u8]) -> Digest {
    hash(Purpose::TrustedCheck, |hasher| hasher.put(bytes))
}

impl Proof {
    /// Puts a proof together.
    ///
    /// # Errors
    /// [`AssembleError`] when the parts are not of one tree.
    pub fn new(
        entry: Entry,
        index: u64,
        inclusion: InclusionProof,
        finality: Option<Finality>,
        checkpoint: Option<SignedCheckpoint>,
    ) -> Result<Self, AssembleError> {
        if finality.is_none() && checkpoint.is_none() {
            return Err(AssembleError::NothingToHoldOnTo);
        }
        let trees = [
            finality
                .as_ref()
                .map(|finality| ("header", finality.header.log_size, finality.header.log_root)),
            checkpoint.as_ref().map(|signed| {
                let tree = signed.checkpoint();
                ("checkpoint", tree.size, tree.root)
            }),
        ];
        for (part, size, root) in trees.into_iter().flatten() {
            inclusion
                .verify(entry.leaf_hash(), index, size, root)
                .map_err(|reason| AssembleError::Inclusion { part, reason })?;
        }
        Ok(Self {
            entry,
            receipt: None,
            index,
            inclusion,
            finality,
            checkpoint,
        })
    }

    /// The same with the receipt inside.
    ///
    /// # Errors
    /// [`AssembleError::OtherReceipt`].
    pub fn with_receipt(self, receipt: &[u8]) -> Result<Self, AssembleError> {
        if Digest::of(receipt) != self.entry.receipt {
            return Err(AssembleError::OtherReceipt);
        }
        Ok(Self {
            receipt: Some(receipt.into()),
            ..self
        })
    }

    /// The same without the receipt.
    #[must_use]
    pub fn without_receipt(self) -> Self {
        Self {
            receipt: None,
            ..self
        }
    }

    /// The checkpoint's part of the proof as a C2SP `.tlog-proof`, whose extra data is the entry. None without a
    /// checkpoint.
    pub fn to_proof_file(&self) -> Option<ProofFile> {
        Some(ProofFile {
            extra: Some(self.entry.to_bytes().to_vec()),
            index: self.index,
            inclusion: self.inclusion.clone(),
            checkpoint: self.checkpoint.clone()?,
        })
    }

    /// What stands in the log.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The receipt, when it is inside.
    pub fn receipt(&self) -> Option<&[u8]> {
        self.receipt.as_deref()
    }

    /// Its place in the log.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The path from the entry to the root.
    pub const fn inclusion(&self) -> &InclusionProof {
        &self.inclusion
    }

    /// That the block is final.
    pub const fn finality(&self) -> Option<&Finality> {
        self.finality.as_ref()
    }

    /// What others have seen of the log.
    pub const fn checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.checkpoint.as_ref()
    }

    /// Whether bytes begin as a proof, or did before a few of them were altered.
    pub fn resembles(bytes: &[u8]) -> bool {
        crate::wire::resembles(bytes, PROOF_MAGIC)
    }

    /// Writes the proof down.
    pub fn to_bytes(&self) -> Vec<u8> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let mut bytes = PROOF_MAGIC.to_vec();
        bytes.put_u8(
            flag(self.receipt.is_some(), RECEIPT_INSIDE)
                | flag(self.entry.in_full, IN_FULL)
                | flag(self.finality.is_some(), FINALITY)
                | flag(self.checkpoint.is_some(), CHECKPOINT),
        );
        bytes.put(self.entry.node.as_bytes());
        bytes.put_varint(self.entry.sequence.get());
        bytes.put_varint(self.index);
        match &self.receipt {
            Some(receipt) => bytes.put_counted(receipt),
            None => bytes.put(self.entry.receipt.as_bytes()),
        }
        let hashes = self.inclusion.hashes();
        bytes.put_u8(u8::try_from(hashes.len()).expect("a proof has at most 65 hashes"));
        for hash in hashes {
            bytes.put(hash.as_bytes());
        }
        if let Some(finality) = &self.finality {
            let header = &finality.header;
            bytes.put_varint(header.height.get());
            bytes.put_varint(header.epoch.get());
            bytes.put(header.parent.as_bytes());
            bytes.put(header.body.as_bytes());
            bytes.put_varint(header.log_size);
            bytes.put(header.state_root.as_bytes());
            bytes.put_u64(header.time.unix_ms());
            bytes.put(header.next_validators.as_bytes());
            finality.certificate.write_beside_header(&mut bytes);
            bytes.put_count(finality.epochs.len());
            for end in &finality.epochs {
                end.write(&mut bytes);
            }
        }
        if let Some(checkpoint) = &self.checkpoint {
            bytes.put_counted(checkpoint.to_string().as_bytes());
        }
        bytes
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one, or its parts are not of one tree.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(DecodeError::TooLong {
                part: "a proof",
                found: bytes.len(),
                limit: MAX_PROOF_BYTES,
            });
        }
        Reader::whole(bytes, Self::read)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.array("the beginning")? != *PROOF_MAGIC {
            return Err(DecodeError::Mismatch {
                part: "the beginning",
            });
        }
        let flags = reader.u8("the flags")?;
        if flags > 15 || flags & (FINALITY | CHECKPOINT) == 0 {
            return Err(DecodeError::Unknown {
                part: "the flags",
                found: flags.into(),
            });
        }
        let node = NodeId::new(reader.key("the node")?);
        let sequence = Sequence::new(reader.varint("the sequence number")?);
        let index = reader.varint("the index")?;
        let receipt: Option<Box<[u8]>> = match flags & RECEIPT_INSIDE {
            0 => None,
            _ => Some(
                reader
                    .counted(tally_receipt::limits::MAX_ENVELOPE_BYTES, "the receipt")?
                    .into(),
            ),
        };
        let entry = Entry {
            in_full: flags & IN_FULL != 0,
            node,
            sequence,
            receipt: match &receipt {
                Some(receipt) => Digest::of(receipt),
                None => reader.digest("the receipt's digest")?,
            },
        };
        let inclusion = read_inclusion(reader)?;
        let root_of = |size| {
            inclusion
                .root(entry.leaf_hash(), index, size)
                .map_err(|_| DecodeError::Mismatch {
                    part: "the number of hashes",
                })
        };
        let finality = match flags & FINALITY {
            0 => None,
            _ => {
                let height = Height::new(reader.varint("the height")?);
                let epoch = Epoch::new(reader.varint("the epoch")?);
                let parent = BlockDigest::new(reader.digest("the parent")?);
                let body = reader.digest("the body's digest")?;
                let log_size = reader.varint("the log's size")?;
                let header = Header {
                    height,
                    epoch,
                    parent,
                    body,
                    log_size,
                    log_root: root_of(log_size)?,
                    state_root: StateRoot::new(reader.digest("the state's root")?),
                    time: reader.time("the time")?,
                    next_validators: reader.digest("the next validators")?,
                };
                let certificate = Certificate::read_beside_header(reader, &header)?;
                let epochs = reader.list(MAX_EPOCHS, HEADER_BYTES, "the epochs", EpochEnd::read)?;
                Some(Finality {
                    header,
                    certificate,
                    epochs,
                })
            }
        };
        let checkpoint = match flags & CHECKPOINT {
            0 => None,
            _ => {
                const PART: &str = "the checkpoint";
                let bytes = reader.counted(tally_log::MAX_NOTE_BYTES, PART)?;
                let mismatch = DecodeError::Mismatch { part: PART };
                let signed = SignedCheckpoint::parse(bytes).map_err(|_| mismatch)?;
                let tree = signed.checkpoint();
                if tree.root != root_of(tree.size)? {
                    return Err(mismatch);
                }
                Some(signed)
            }
        };
        Ok(Self {
            entry,
            receipt,
            index,
            inclusion,
            finality,
            checkpoint,
        })
    }
}

fn read_inclusion(reader: &mut Reader<'_>) -> Result<InclusionProof, DecodeError> {
    const PART: &str = "the inclusion proof";
    let count = usize::from(reader.u8(PART)?);
    let hashes = (0..count)
        .map(|_| Ok(tally_log::Hash::from_bytes(reader.array(PART)?)))
        .collect::<Result<_, DecodeError>>()?;
    InclusionProof::new(hashes).map_err(|_| DecodeError::TooLong {
        part: PART,
        found: count,
        limit: tally_log::MAX_PROOF_HASHES,
    })
}

impl EpochEnd {
    /// Writes the end of an epoch down.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    /// Reads the end of an epoch.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Reader::whole(bytes, Self::read)
    }

    fn write(&self, to: &mut Vec<u8>) {
        self.header.write(to);
        self.certificate.write_beside_header(to);
        self.next.write(to);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = Header::read(reader)?;
        Ok(Self {
            certificate: Certificate::read_beside_header(reader, &header)?,
            header,
            next: ValidatorSet::read(reader)?,
        })
    }
}

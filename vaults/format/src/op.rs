//! One operation as it stands in a box, and its name.
//!
//! ```text
//! kind u8 ‖ time u64 ‖ targets u16 ‖ target [32] × targets, ascending ‖ state u8 ‖
//!   state 1, body present:   salt [32] ‖ length u32 ‖ body
//!   state 0, body redacted:  commitment [32]
//! ```
//!
//! The id covers the salted hash of the body and not the body, so it is the same before and after redaction.
//! An operation does not know its place: author, namespace and sequence come from the seal of its box.

use blake3::Hasher;
use rand_core::CryptoRng;

use crate::{
    BodyCommitment, Content, ContentError, GrantId, MemberId, NamespaceId, OpId, Time, VaultId,
    crypto, limits,
    wire::{Cursor, Short, is_ascending},
};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum OpKind {
    /// A new record.
    Add = 1,
    /// A record in place of others.
    Supersede = 2,
    /// Records are no longer shown.
    Retract = 3,
    /// Records are to be destroyed.
    Redact = 4,
    /// Admits a member.
    Grant = 16,
    /// Ends a grant.
    Revoke = 17,
    /// Announces an epoch key.
    Rotate = 18,
    /// Names the newest seals its author has seen.
    Checkpoint = 19,
}

impl OpKind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Add,
            2 => Self::Supersede,
            3 => Self::Retract,
            4 => Self::Redact,
            16 => Self::Grant,
            17 => Self::Revoke,
            18 => Self::Rotate,
            19 => Self::Checkpoint,
            _ => return None,
        })
    }

    /// The name that the format page gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Supersede => "supersede",
            Self::Retract => "retract",
            Self::Redact => "redact",
            Self::Grant => "grant",
            Self::Revoke => "revoke",
            Self::Rotate => "rotate",
            Self::Checkpoint => "checkpoint",
        }
    }

    /// Whether it belongs in the control namespace; the others belong in data.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 >= 16
    }

    /// The least and the greatest number of targets.
    const fn targets(self) -> (usize, usize) {
        match self {
            Self::Add | Self::Grant | Self::Rotate | Self::Checkpoint => (0, 0),
            Self::Supersede | Self::Retract | Self::Redact => (1, limits::TARGETS),
            Self::Revoke => (1, 1),
        }
    }
}

impl std::fmt::Display for OpKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an operation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// The bytes end inside it.
    #[error("operation is cut off")]
    Truncated,
    /// Bytes after it, where it should be alone.
    #[error("bytes after the operation")]
    Trailing,
    /// A kind that this reader does not know.
    #[error("operation kind {0} is unknown")]
    UnknownKind(u8),
    /// A control operation among data, or the other way round.
    #[error("{0} in the wrong kind of namespace")]
    WrongNamespace(OpKind),
    /// A number of targets that this kind does not have.
    #[error("{kind} with {found} targets")]
    TargetCount {
        /// What it is.
        kind: OpKind,
        /// How many targets there are.
        found: u16,
    },
    /// A revocation of the root's grant, which has none.
    #[error("revocation of the root")]
    RevokesRoot,
    /// Targets out of order or doubled.
    #[error("targets are not strictly ascending")]
    TargetOrder,
    /// Neither present nor redacted.
    #[error("body state {0} is unknown")]
    UnknownState(u8),
    /// A body that may not be redacted: control operations keep theirs.
    #[error("{0} without its body")]
    Redacted(OpKind),
    /// A body over the limit.
    #[error("body of {found} bytes, over {}", limits::BODY_LEN)]
    BodyLength {
        /// Its length.
        found: u32,
    },
    /// The body is not what this kind of operation has.
    #[error("{0}")]
    Content(#[from] ContentError),
}

impl From<Short> for OpError {
    fn from(_: Short) -> Self {
        Self::Truncated
    }
}

/// The body of an operation, in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BodyRef<'a> {
    /// It is there.
    Present {
        /// The key of the commitment: without it the commitment tells nothing about the body.
        salt: &'a [u8; 32],
        /// The body itself.
        bytes: &'a [u8],
    },
    /// It was redacted.
    Redacted(BodyCommitment),
}

impl BodyRef<'_> {
    /// The salted hash, computed or as it was left.
    #[must_use]
    pub fn commitment(&self) -> BodyCommitment {
        match self {
            Self::Present { salt, bytes } => {
                BodyCommitment(*blake3::keyed_hash(salt, bytes).as_bytes())
            }
            Self::Redacted(commitment) => *commitment,
        }
    }
}

/// An operation in place: it borrows the plaintext of its box. Its layout has been checked, its content too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OpRef<'a> {
    kind: OpKind,
    time: Time,
    targets: &'a [[u8; 32]],
    body: BodyRef<'a>,
    encoded: &'a [u8],
}

impl<'a> OpRef<'a> {
    /// Reads the one operation that these bytes are.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(namespace: &NamespaceId, bytes: &'a [u8]) -> Result<Self, OpError> {
        let mut cursor = Cursor::new(bytes);
        let op = Self::read(namespace, &mut cursor)?;
        if cursor.remaining() > 0 {
            return Err(OpError::Trailing);
        }
        Ok(op)
    }

    /// Reads the next operation of a run.
    pub(crate) fn read(namespace: &NamespaceId, cursor: &mut Cursor<'a>) -> Result<Self, OpError> {
        let start = *cursor;
        let number = cursor.u8()?;
        let kind = OpKind::from_number(number).ok_or(OpError::UnknownKind(number))?;
        if kind.is_control() != (*namespace == NamespaceId::CONTROL) {
            return Err(OpError::WrongNamespace(kind));
        }
        let time = Time(cursor.u64()?);
        let count = cursor.u16()?;
        let (least, greatest) = kind.targets();
        if usize::from(count) < least || usize::from(count) > greatest {
            return Err(OpError::TargetCount { kind, found: count });
        }
        let targets = cursor.arrays::<32>(usize::from(count))?;
        if !is_ascending(targets) {
            return Err(OpError::TargetOrder);
        }
        if kind == OpKind::Revoke && targets.contains(&GrantId::ROOT.0) {
            return Err(OpError::RevokesRoot);
        }
        let body = match cursor.u8()? {
            1 => {
                let salt = cursor.array()?;
                let found = cursor.u32()?;
                if found as usize > limits::BODY_LEN {
                    return Err(OpError::BodyLength { found });
                }
                let bytes = cursor.slice(found as usize)?;
                Content::parse(kind, bytes)?;
                BodyRef::Present { salt, bytes }
            }
            0 if kind.is_control() => return Err(OpError::Redacted(kind)),
            0 => BodyRef::Redacted(BodyCommitment(*cursor.array()?)),
            other => return Err(OpError::UnknownState(other)),
        };
        let encoded = start.rest();
        let encoded = &encoded[..encoded.len() - cursor.remaining()];
        Ok(Self {
            kind,
            time,
            targets,
            body,
            encoded,
        })
    }

    /// What it does.
    #[must_use]
    pub const fn kind(&self) -> OpKind {
        self.kind
    }

    /// When, by its author's clock.
    #[must_use]
    pub const fn time(&self) -> Time {
        self.time
    }

    /// What it is about, ascending.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = OpId> + Clone + use<'a> {
        self.targets.iter().map(|bytes| OpId(*bytes))
    }

    /// Its body.
    #[must_use]
    pub const fn body(&self) -> BodyRef<'a> {
        self.body
    }

    /// Its body's meaning; none if it was redacted.
    #[must_use]
    pub fn content(&self) -> Option<Content<'a>> {
        match self.body {
            BodyRef::Present { bytes, .. } => {
                Some(Content::parse(self.kind, bytes).expect("parsed when the operation was read"))
            }
            BodyRef::Redacted(_) => None,
        }
    }

    /// The bytes as they stand in the box.
    #[must_use]
    pub const fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// A copy that owns its bytes.
    #[must_use]
    pub fn to_op(&self) -> Op {
        Op {
            kind: self.kind,
            time: self.time,
            targets: self.targets().collect(),
            body: match self.body {
                BodyRef::Present { salt, bytes } => Body::Present {
                    salt: *salt,
                    bytes: bytes.to_vec(),
                },
                BodyRef::Redacted(commitment) => Body::Redacted(commitment),
            },
        }
    }
}

/// The body of an operation.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// It is there.
    Present {
        /// The key of the commitment.
        salt: [u8; 32],
        /// The body itself.
        bytes: Vec<u8>,
    },
    /// It was redacted.
    Redacted(BodyCommitment),
}

/// An operation to be written. Whether it is well-formed shows when it is put into a box.
#[derive(Clone, PartialEq, Eq)]
pub struct Op {
    /// What it does.
    pub kind: OpKind,
    /// When.
    pub time: Time,
    /// What it is about, ascending.
    pub targets: Vec<OpId>,
    /// Its body.
    pub body: Body,
}

impl Op {
    /// An operation with this content and a fresh salt; targets are sorted and doubles dropped.
    #[must_use]
    pub fn new(
        time: Time,
        kind: OpKind,
        mut targets: Vec<OpId>,
        content: &Content<'_>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Self {
        targets.sort_unstable();
        targets.dedup();
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        Self {
            kind,
            time,
            targets,
            body: Body::Present {
                salt,
                bytes: content.encode(),
            },
        }
    }

    /// The operation as it stands in a box.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    /// Appends the operation as it stands in a box.
    ///
    /// # Panics
    /// With more than 65,535 targets or a body of 4 GiB; smaller excesses are refused when it is put into a box.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let targets = u16::try_from(self.targets.len()).expect("at most 64 targets");
        out.push(self.kind as u8);
        out.extend_from_slice(&self.time.0.to_be_bytes());
        out.extend_from_slice(&targets.to_be_bytes());
        for target in &self.targets {
            out.extend_from_slice(&target.0);
        }
        match &self.body {
            Body::Present { salt, bytes } => {
                let len = u32::try_from(bytes.len()).expect("a body is at most 64 KiB");
                out.push(1);
                out.extend_from_slice(salt);
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(bytes);
            }
            Body::Redacted(commitment) => {
                out.push(0);
                out.extend_from_slice(&commitment.0);
            }
        }
    }
}

/// Names the operations of one log. The part of the hash that they share is prepared once.
#[derive(Clone)]
pub(crate) struct OpHasher {
    place: [u8; 80],
}

impl OpHasher {
    /// For the log of `author` in `namespace` of `vault`.
    #[must_use]
    pub(crate) fn new(vault: &VaultId, namespace: &NamespaceId, author: &MemberId) -> Self {
        let mut place = [0; 80];
        place[..32].copy_from_slice(&vault.0);
        place[32..48].copy_from_slice(&namespace.0);
        place[48..].copy_from_slice(&author.0);
        Self { place }
    }

    /// The id of the operation with this sequence number after `previous`.
    #[must_use]
    pub(crate) fn id(&self, sequence: u64, previous: &OpId, op: &OpRef<'_>) -> OpId {
        // Place, sequence, previous, kind, time, number of targets, targets, commitment: one buffer, one update, since
        // short updates cost more than the hash itself.
        let mut input = [0; 80 + 8 + 32 + 11];
        input[..80].copy_from_slice(&self.place);
        input[80..88].copy_from_slice(&sequence.to_be_bytes());
        input[88..120].copy_from_slice(&previous.0);
        input[120..131].copy_from_slice(&op.encoded[..11]);
        let commitment = op.body.commitment();
        let mut hasher: Hasher = crypto::OPERATION.hasher();
        hasher.update(&input);
        hasher.update(op.targets.as_flattened());
        hasher.update(&commitment.0);
        OpId(*hasher.finalize().as_bytes())
    }
}

impl Op {
    /// Bytes of [`encode`](Self::encode).
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let body = match &self.body {
            Body::Present { bytes, .. } => 32 + 4 + bytes.len(),
            Body::Redacted(_) => 32,
        };
        1 + 8 + 2 + 32 * self.targets.len() + 1 + body
    }
}

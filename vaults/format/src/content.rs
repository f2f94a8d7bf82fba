//! What the body of an operation says, by the operation's kind.
//!
//! Parsing borrows: a record's content is a slice of the body. Every body has one form.

use zeroize::ZeroizeOnDrop;

use crate::{
    BlobId, Card, CardError, GrantId, KeyCommitment, KeyringId, MemberId, MemberKind, NamespaceId,
    OpId, OpKind, ReceiptDigest, RunId, SealId, Time, limits,
    wire::{Cursor, Short, is_ascending},
};

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The bytes end inside it.
    #[error("body is cut off")]
    Truncated,
    /// Bytes after it.
    #[error("bytes after the body")]
    Trailing,
    /// Flags of a record that this reader does not know.
    #[error("record flags {0:#04x} are unknown")]
    RecordFlags(u8),
    /// A record type that is empty, too long or has other characters than `a-z 0-9 . - / +`.
    #[error("record type is not 1 to 64 of a-z 0-9 . - / +")]
    RecordType,
    /// Content that belongs in a blob.
    #[error("record holds {found} bytes, over {}", limits::INLINE_LEN)]
    InlineLength {
        /// How many bytes.
        found: usize,
    },
    /// A blob over the limit.
    #[error(
        "record names a blob of {found} bytes, over {}",
        limits::BLOB_CONTENT_LEN
    )]
    BlobLength {
        /// How many bytes.
        found: u64,
    },
    /// A reason that is too long.
    #[error("reason of {found} bytes, over {}", limits::REASON_LEN)]
    ReasonLength {
        /// How many bytes.
        found: usize,
    },
    /// A reason that is not UTF-8.
    #[error("reason is not UTF-8")]
    ReasonText,
    /// The subject's card is refused.
    #[error("card of the grant: {0}")]
    Card(#[from] CardError),
    /// A grant to the root.
    #[error("grant to a root")]
    GrantToRoot,
    /// A depth that is not below the root's.
    #[error("grant with depth 255")]
    Depth,
    /// No rights, or too many.
    #[error("grant with {0} rights")]
    RightCount(u8),
    /// A right that is none of the five.
    #[error("right {0} is unknown")]
    UnknownRight(u8),
    /// Rights out of order or doubled, `ff…ff` beside others, or a right for control.
    #[error("rights are not ascending, or name namespaces that cannot stand there")]
    RightNamespaces,
    /// Logs of a frontier out of order or doubled, or with sequence 0 or the namespace `ff…ff`.
    #[error("frontier is not ascending, or names what cannot be a log")]
    Frontier,
    /// A rotation of control or of `ff…ff`, or number 0.
    #[error("rotation of what has no keys, or number 0")]
    RotationPlace,
    /// `full` that is neither 0 nor 1.
    #[error("rotation with full {0}")]
    RotationFull(u8),
    /// Heads out of order or doubled, or with counter 0.
    #[error("heads are not ascending, or have counter 0")]
    Heads,
}

impl From<Short> for ContentError {
    fn from(_: Short) -> Self {
        Self::Truncated
    }
}

/// The key of a blob. Whoever has the record has it.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct BlobKey(pub(crate) [u8; 32]);

/// A content that lies in a file of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct BlobRef {
    /// What opens it.
    pub key: BlobKey,
    /// The file.
    pub id: BlobId,
    /// Bytes of the content, without padding.
    pub len: u64,
}

/// The content of a record.
#[derive(Clone, PartialEq, Eq)]
pub enum RecordContent<'a> {
    /// Here.
    Inline(&'a [u8]),
    /// In a blob.
    Blob(BlobRef),
}

/// One thing that is remembered.
#[derive(Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is, in the words of whoever wrote it: 1 to 64 of `a-z 0-9 . - / +`.
    pub record_type: &'a str,
    /// The run that wrote it.
    pub run: Option<RunId>,
    /// The receipt it rests on.
    pub receipt: Option<ReceiptDigest>,
    /// The thing itself.
    pub content: RecordContent<'a>,
}

/// What a member may do in a namespace. Each contains the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Right {
    /// Store and forward.
    Relay = 1,
    /// Read.
    Read = 2,
    /// Add, and change what is its own.
    Append = 3,
    /// Change what others wrote.
    Curate = 4,
    /// Rotate keys, and delegate all of this.
    Admin = 5,
}

impl Right {
    /// The right with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Relay,
            2 => Self::Read,
            3 => Self::Append,
            4 => Self::Curate,
            5 => Self::Admin,
            _ => return None,
        })
    }

    /// The name that the format page gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Read => "read",
            Self::Append => "append",
            Self::Curate => "curate",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Admits a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The grant that this one narrows.
    pub parent: GrantId,
    /// Who is admitted; not a root.
    pub card: Card,
    /// How many grants may follow below this one.
    pub depth: u8,
    /// After this moment it ends; none: never.
    pub expires: Option<Time>,
    /// Rights by namespace, ascending: 1 to 64, or one for [`NamespaceId::ALL`].
    pub rights: Vec<(NamespaceId, Right)>,
}

/// The last operation of one of a member's logs that a revoker had seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// Which log.
    pub namespace: NamespaceId,
    /// Its last sequence number.
    pub sequence: u64,
    /// Its last operation.
    pub operation: OpId,
}

/// Ends a grant. What lies behind the frontier does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// By namespace, ascending. A log that is not listed had no operation.
    pub frontier: Vec<LogPosition>,
}

/// Announces an epoch key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Whose key.
    pub namespace: NamespaceId,
    /// Its number, from 1.
    pub number: u32,
    /// The commitment to it.
    pub key: KeyCommitment,
    /// The keyring that delivers it.
    pub keyring: KeyringId,
    /// Whether frames of older keys are boxed anew and older keys dropped.
    pub full: bool,
}

/// The newest seal that somebody has seen of an author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Who.
    pub author: MemberId,
    /// The seal's number.
    pub counter: u64,
    /// The seal.
    pub seal: SealId,
}

/// What an author had seen of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// By author, ascending.
    pub heads: Vec<Head>,
}

/// What the body of an operation says.
#[derive(Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// Of add and supersede.
    Record(Record<'a>),
    /// Of retract and redact: why, in words; may be empty.
    Reason(&'a str),
    /// Of grant.
    Grant(Grant),
    /// Of revoke.
    Revocation(Revocation),
    /// Of rotate.
    Rotation(Rotation),
    /// Of checkpoint.
    Checkpoint(Checkpoint),
}

impl<'a> Content<'a> {
    /// Reads the body of an operation of that kind.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(kind: OpKind, body: &'a [u8]) -> Result<Self, ContentError> {
        let mut cursor = Cursor::new(body);
        let content = match kind {
            OpKind::Add | OpKind::Supersede => Self::Record(Record::parse(body)?),
            OpKind::Retract | OpKind::Redact => Self::Reason(parse_reason(body)?),
            OpKind::Grant => Self::Grant(Grant::read(&mut cursor)?),
            OpKind::Revoke => Self::Revocation(Revocation::read(&mut cursor)?),
            OpKind::Rotate => Self::Rotation(Rotation::read(&mut cursor)?),
            OpKind::Checkpoint => Self::Checkpoint(Checkpoint::read(&mut cursor)?),
        };
        if kind.is_control() && cursor.remaining() > 0 {
            return Err(ContentError::Trailing);
        }
        Ok(content)
    }

    /// The body as it is stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Record(record) => record.write(&mut out),
            Self::Reason(text) => out.extend_from_slice(text.as_bytes()),
            Self::Grant(grant) => grant.write(&mut out),
            Self::Revocation(revocation) => revocation.write(&mut out),
            Self::Rotation(rotation) => rotation.write(&mut out),
            Self::Checkpoint(checkpoint) => checkpoint.write(&mut out),
        }
        out
    }
}

impl BlobKey {
    /// The key with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret itself.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

const FLAG_RUN: u8 = 1;
const FLAG_RECEIPT: u8 = 2;
const FLAG_BLOB: u8 = 4;

impl<'a> Record<'a> {
    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(body: &'a [u8]) -> Result<Self, ContentError> {
        let mut cursor = Cursor::new(body);
        let flags = cursor.u8()?;
        if flags & !(FLAG_RUN | FLAG_RECEIPT | FLAG_BLOB) != 0 {
            return Err(ContentError::RecordFlags(flags));
        }
        let type_len = cursor.u8()?;
        let record_type = cursor.slice(usize::from(type_len))?;
        if !is_record_type(record_type) {
            return Err(ContentError::RecordType);
        }
        let record_type = str::from_utf8(record_type).expect("ASCII");
        let run = if flags & FLAG_RUN != 0 {
            Some(RunId(*cursor.array()?))
        } else {
            None
        };
        let receipt = if flags & FLAG_RECEIPT != 0 {
            Some(ReceiptDigest(*cursor.array()?))
        } else {
            None
        };
        let content = if flags & FLAG_BLOB != 0 {
            let key = BlobKey(*cursor.array()?);
            let id = BlobId(*cursor.array()?);
            let len = cursor.u64()?;
            if len > limits::BLOB_CONTENT_LEN {
                return Err(ContentError::BlobLength { found: len });
            }
            if cursor.remaining() > 0 {
                return Err(ContentError::Trailing);
            }
            RecordContent::Blob(BlobRef { key, id, len })
        } else {
            let found = cursor.remaining();
            if found > limits::INLINE_LEN {
                return Err(ContentError::InlineLength { found });
            }
            RecordContent::Inline(cursor.rest())
        };
        Ok(Self {
            record_type,
            run,
            receipt,
            content,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut flags = 0;
        flags |= if self.run.is_some() { FLAG_RUN } else { 0 };
        flags |= if self.receipt.is_some() {
            FLAG_RECEIPT
        } else {
            0
        };
        flags |= if matches!(self.content, RecordContent::Blob(_)) {
            FLAG_BLOB
        } else {
            0
        };
        // A type that is too long shows as such when the body is read back; it must not wrap into a valid one.
        out.push(flags);
        out.push(u8::try_from(self.record_type.len()).unwrap_or(0));
        out.extend_from_slice(self.record_type.as_bytes());
        if let Some(run) = &self.run {
            out.extend_from_slice(&run.0);
        }
        if let Some(receipt) = &self.receipt {
            out.extend_from_slice(&receipt.0);
        }
        match &self.content {
            RecordContent::Inline(bytes) => out.extend_from_slice(bytes),
            RecordContent::Blob(blob) => {
                out.extend_from_slice(&blob.key.0);
                out.extend_from_slice(&blob.id.0);
                out.extend_from_slice(&blob.len.to_be_bytes());
            }
        }
    }
}

fn is_record_type(bytes: &[u8]) -> bool {
    (1..=limits::RECORD_TYPE_LEN).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'/' | b'+'))
}

fn parse_reason(body: &[u8]) -> Result<&str, ContentError> {
    if body.len() > limits::REASON_LEN {
        return Err(ContentError::ReasonLength { found: body.len() });
    }
    str::from_utf8(body).map_err(|_| ContentError::ReasonText)
}

impl Grant {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ContentError> {
        let parent = GrantId(*cursor.array()?);
        let card = cursor.array::<{ Card::LEN }>()?;
        let depth = cursor.u8()?;
        if depth == u8::MAX {
            return Err(ContentError::Depth);
        }
        let expires = match cursor.u64()? {
            0 => None,
            time => Some(Time(time)),
        };
        let count = cursor.u8()?;
        if count == 0 || usize::from(count) > limits::RIGHTS {
            return Err(ContentError::RightCount(count));
        }
        let mut rights = Vec::with_capacity(usize::from(count));
        for entry in cursor.arrays::<17>(usize::from(count))? {
            let (namespace, right) = entry.split_first_chunk::<16>().expect("17 bytes");
            let right = Right::from_number(right[0]).ok_or(ContentError::UnknownRight(right[0]))?;
            rights.push((NamespaceId(*namespace), right));
        }
        let namespaces = || rights.iter().map(|(namespace, _)| *namespace);
        if !is_ascending(namespaces())
            || namespaces().any(|namespace| namespace == NamespaceId::CONTROL)
            || (rights.len() > 1 && namespaces().any(|namespace| namespace == NamespaceId::ALL))
        {
            return Err(ContentError::RightNamespaces);
        }
        // The card last: its signatures are the costly part.
        let card = Card::parse(card)?;
        if card.kind() == MemberKind::Root {
            return Err(ContentError::GrantToRoot);
        }
        Ok(Self {
            parent,
            card,
            depth,
            expires,
            rights,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.parent.0);
        out.extend_from_slice(&self.card.encode());
        out.push(self.depth);
        out.extend_from_slice(&self.expires.map_or(0, |time| time.0).to_be_bytes());
        out.push(u8::try_from(self.rights.len()).unwrap_or(0));
        for (namespace, right) in &self.rights {
            out.extend_from_slice(&namespace.0);
            out.push(*right as u8);
        }
    }
}

impl Revocation {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ContentError> {
        let count = usize::from(cursor.u16()?);
        let mut frontier = Vec::new();
        for entry in cursor.arrays::<56>(count)? {
            let mut entry = Cursor::new(entry);
            frontier.push(LogPosition {
                namespace: NamespaceId(*entry.array()?),
                sequence: entry.u64()?,
                operation: OpId(*entry.array()?),
            });
        }
        if !is_ascending(frontier.iter().map(|log| log.namespace))
            || frontier
                .iter()
                .any(|log| log.sequence == 0 || log.namespace == NamespaceId::ALL)
        {
            return Err(ContentError::Frontier);
        }
        Ok(Self { frontier })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let count = u16::try_from(self.frontier.len()).unwrap_or(0);
        out.extend_from_slice(&count.to_be_bytes());
        for log in &self.frontier {
            out.extend_from_slice(&log.namespace.0);
            out.extend_from_slice(&log.sequence.to_be_bytes());
            out.extend_from_slice(&log.operation.0);
        }
    }
}

impl Rotation {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ContentError> {
        let namespace = NamespaceId(*cursor.array()?);
        let number = cursor.u32()?;
        let key = KeyCommitment(*cursor.array()?);
        let keyring = KeyringId(*cursor.array()?);
        let full = match cursor.u8()? {
            0 => false,
            1 => true,
            other => return Err(ContentError::RotationFull(other)),
        };
        if namespace == NamespaceId::CONTROL || namespace == NamespaceId::ALL || number == 0 {
            return Err(ContentError::RotationPlace);
        }
        Ok(Self {
            namespace,
            number,
            key,
            keyring,
            full,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.namespace.0);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.key.0);
        out.extend_from_slice(&self.keyring.0);
        out.push(u8::from(self.full));
    }
}

impl Checkpoint {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ContentError> {
        let count = usize::from(cursor.u16()?);
        let mut heads = Vec::new();
        for entry in cursor.arrays::<72>(count)? {
            let mut entry = Cursor::new(entry);
            heads.push(Head {
                author: MemberId(*entry.array()?),
                counter: entry.u64()?,
                seal: SealId(*entry.array()?),
            });
        }
        if !is_ascending(heads.iter().map(|head| head.author))
            || heads.iter().any(|head| head.counter == 0)
        {
            return Err(ContentError::Heads);
        }
        Ok(Self { heads })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let count = u16::try_from(self.heads.len()).unwrap_or(0);
        out.extend_from_slice(&count.to_be_bytes());
        for head in &self.heads {
            out.extend_from_slice(&head.author.0);
            out.extend_from_slice(&head.counter.to_be_bytes());
            out.extend_from_slice(&head.seal.0);
        }
    }
}

//! A box: the operations of one seal, encrypted (data) or clear (control).
//!
//! ```text
//! blobs u16 ‖ (hash [32] ‖ size u64) × blobs, ascending ‖ form u8 ‖ rest
//!   form 0, control:  length u32 ‖ operations
//!   form 1, data:     salt [24] ‖ commitment [32] ‖ chunks
//! ```
//!
//! A box opens under one key and in one place only: vault, namespace, author and sequence numbers go into its key.
//! Opening is all or nothing: what [`open_box`] returns has the ids, the head and the time that the author sealed.

use std::collections::BTreeMap;

use rand_core::CryptoRng;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    BlobId, BoxHash, Content, EpochKey, MemberId, NamespaceId, Op, OpError, OpId, OpRef,
    RecordContent, Seal, Time, VaultId,
    blob::blob_file_len,
    chunks::{ChunkKey, TAG_LEN},
    crypto, limits,
    op::OpHasher,
    padme::padded_len,
    wire::{Cursor, Short, is_ascending},
};

const FORM_CLEAR: u8 = 0;
const FORM_SEALED: u8 = 1;
const BLOB_ENTRY_LEN: usize = 40;

/// Why a box is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoxError {
    /// The bytes end inside it.
    #[error("box is cut off")]
    Truncated,
    /// Bytes after the operations of a clear box.
    #[error("bytes after the box")]
    Trailing,
    /// Longer than any box.
    #[error("box of {found} bytes, over {}", limits::BOX_LEN)]
    Length {
        /// How long it is.
        found: usize,
    },
    /// Not the bytes that were signed.
    #[error("box has not the hash that was signed")]
    Hash,
    /// Blobs out of order or doubled, or of impossible size.
    #[error("blob list of the box is not ascending, or names impossible sizes")]
    BlobOrder,
    /// A form that this reader does not know.
    #[error("box form {0} is unknown")]
    UnknownForm(u8),
    /// Control in an encrypted box, or data in a clear one.
    #[error("box form {0} in the wrong kind of namespace")]
    WrongForm(u8),
    /// A data box and no key.
    #[error("no key to open the box")]
    NoKey,
    /// The key is not the one that the seal or rebox names.
    #[error("key is not the one the box was made with")]
    OtherKey,
    /// The box commits to another key or another place.
    #[error("box is committed to another key or another place")]
    Commitment,
    /// A chunk was altered, moved, doubled or cut off.
    #[error("chunk {number} of the box was altered, moved or cut off")]
    Chunk {
        /// Which, from 0.
        number: u64,
    },
    /// The length inside is over the limit, or not the one that the padded length belongs to.
    #[error("length inside the box does not belong to its padding")]
    Padding,
    /// Padding that is not zero.
    #[error("padding of the box is not zero")]
    PaddingNotZero,
    /// Another number of operations than the seal says.
    #[error("box has not the {expected} operations of its seal")]
    Count {
        /// What the seal says.
        expected: u32,
    },
    /// An operation is refused.
    #[error("operation {sequence}: {error}")]
    Operation {
        /// Its sequence number.
        sequence: u64,
        /// What is wrong with it.
        error: OpError,
    },
    /// Times do not increase, or the last is not the seal's.
    #[error("operation {sequence}: time does not increase, or is not the one sealed")]
    Time {
        /// Of which operation.
        sequence: u64,
    },
    /// The operations are not those that the author sealed.
    #[error("operations do not lead to the head that was sealed")]
    Head,
    /// A redacted body in the author's own box.
    #[error("operation {sequence}: redacted body in a box that was not made anew")]
    RedactedBody {
        /// Of which operation.
        sequence: u64,
    },
    /// The blob list is not what the operations refer to.
    #[error("blob list of the box is not what its operations refer to")]
    BlobList,
}

impl From<Short> for BoxError {
    fn from(_: Short) -> Self {
        Self::Truncated
    }
}

/// A blob that a box refers to, in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobEntry {
    /// The blob file.
    pub id: BlobId,
    /// Its size in bytes, which is padded: not the content's length.
    pub size: u64,
}

/// A box in place, its clear part read.
#[derive(Clone, Copy)]
pub struct BoxRef<'a> {
    blobs: &'a [[u8; BLOB_ENTRY_LEN]],
    rest: Rest<'a>,
}

#[derive(Clone, Copy)]
enum Rest<'a> {
    Clear {
        operations: &'a [u8],
    },
    Sealed {
        salt: &'a [u8; 24],
        commitment: &'a [u8; 32],
        chunks: &'a [u8],
    },
}

impl<'a> BoxRef<'a> {
    /// Reads what can be read without a key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(namespace: &NamespaceId, bytes: &'a [u8]) -> Result<Self, BoxError> {
        if bytes.len() > limits::BOX_LEN {
            return Err(BoxError::Length { found: bytes.len() });
        }
        let mut cursor = Cursor::new(bytes);
        let count = usize::from(cursor.u16()?);
        let blobs = cursor.arrays::<BLOB_ENTRY_LEN>(count)?;
        let entries = || blobs.iter().map(blob_entry);
        if !is_ascending(entries().map(|entry| entry.id))
            || entries().any(|entry| !is_blob_file_len(entry.size))
        {
            return Err(BoxError::BlobOrder);
        }
        let form = cursor.u8()?;
        let control = *namespace == NamespaceId::CONTROL;
        let rest = match form {
            FORM_CLEAR if control => {
                let len = cursor.u32()? as usize;
                if len + 4 > limits::BOX_PLAINTEXT_LEN {
                    return Err(BoxError::Padding);
                }
                let operations = cursor.slice(len)?;
                if cursor.remaining() > 0 {
                    return Err(BoxError::Trailing);
                }
                // Control operations refer to no blobs.
                if !blobs.is_empty() {
                    return Err(BoxError::BlobList);
                }
                Rest::Clear { operations }
            }
            FORM_SEALED if !control => Rest::Sealed {
                salt: cursor.array()?,
                commitment: cursor.array()?,
                chunks: cursor.rest(),
            },
            FORM_CLEAR | FORM_SEALED => return Err(BoxError::WrongForm(form)),
            other => return Err(BoxError::UnknownForm(other)),
        };
        Ok(Self { blobs, rest })
    }

    /// The blobs that its operations refer to, ascending.
    pub fn blobs(&self) -> impl ExactSizeIterator<Item = BlobEntry> + Clone + use<'a> {
        self.blobs.iter().map(blob_entry)
    }
}

fn blob_entry(bytes: &[u8; BLOB_ENTRY_LEN]) -> BlobEntry {
    let (id, size) = bytes.split_first_chunk::<32>().expect("40 bytes");
    BlobEntry {
        id: BlobId(*id),
        size: u64::from_be_bytes(size.try_into().expect("40 bytes")),
    }
}

/// Whether a blob file can have this size.
fn is_blob_file_len(size: u64) -> bool {
    crate::blob::padded_content_len(size).is_some()
}

/// Room for one opened box, reused for the next. Wiped when it is dropped and before it grows.
#[derive(Default)]
pub struct BoxBuffer {
    plaintext: Vec<u8>,
    ids: Vec<OpId>,
    blobs: BTreeMap<BlobId, u64>,
}

impl BoxBuffer {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties it. Growing a vector would leave the old bytes behind, so they are wiped first.
    fn reset(&mut self, plaintext_len: usize) {
        if self.plaintext.capacity() < plaintext_len {
            self.plaintext.zeroize();
            self.plaintext.reserve_exact(plaintext_len);
        }
        self.plaintext.clear();
        self.ids.clear();
        self.blobs.clear();
    }
}

impl Drop for BoxBuffer {
    fn drop(&mut self) {
        self.plaintext.zeroize();
    }
}

/// The operations of a box: those that the author sealed, in order.
pub struct Opened<'b> {
    namespace: NamespaceId,
    first: u64,
    operations: &'b [u8],
    ids: &'b [OpId],
}

/// One operation of an opened box.
#[derive(Clone, Copy)]
pub struct OpenedOp<'b> {
    /// Its number in its log.
    pub sequence: u64,
    /// Its name.
    pub id: OpId,
    /// The operation itself.
    pub op: OpRef<'b>,
}

impl<'b> Opened<'b> {
    /// The operations, in order. Nothing is allocated for them.
    pub fn iter(&self) -> impl Iterator<Item = OpenedOp<'b>> + use<'b> {
        let namespace = self.namespace;
        let mut cursor = Cursor::new(self.operations);
        // The ids first: they end before the numbers do, and a number after the last may be one too many.
        self.ids
            .iter()
            .zip(self.first..)
            .map(move |(id, sequence)| OpenedOp {
                sequence,
                id: *id,
                op: OpRef::read(&namespace, &mut cursor).expect("read when the box was opened"),
            })
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ids.len()
    }

    /// Never: a seal covers at least one operation.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Whose box is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packer {
    /// The author's own, as it was sealed: no body is missing.
    Author,
    /// One that was made anew: bodies may have been redacted.
    Anew,
}

/// Opens the box of a seal. `bytes` must have the hash that the seal, or the rebox beside it, names; this is not checked
/// here (see [`FrameRef::check_box`](crate::FrameRef::check_box)). `key` is needed for data only.
///
/// # Errors
/// What is wrong with the box. Nothing of it is given out then.
pub fn open_box<'b>(
    seal: &Seal,
    packer: Packer,
    bytes: &[u8],
    key: Option<&EpochKey>,
    buffer: &'b mut BoxBuffer,
) -> Result<Opened<'b>, BoxError> {
    let parsed = BoxRef::parse(&seal.namespace, bytes)?;
    let range = match parsed.rest {
        Rest::Clear { operations } => {
            buffer.reset(operations.len());
            buffer.plaintext.extend_from_slice(operations);
            0..operations.len()
        }
        Rest::Sealed {
            salt,
            commitment,
            chunks,
        } => {
            let key = key.ok_or(BoxError::NoKey)?;
            let key = box_key(key, salt, seal);
            if !key.is_committed(commitment) {
                return Err(BoxError::Commitment);
            }
            decrypt(&key, chunks, buffer)?
        }
    };
    let BoxBuffer {
        plaintext,
        ids,
        blobs,
    } = buffer;
    let operations = &plaintext[range];
    let hasher = OpHasher::new(&seal.vault, &seal.namespace, &seal.author);
    let mut walk = Walk::new(&hasher, &seal.namespace, seal.first, seal.before, None);
    let mut cursor = Cursor::new(operations);
    ids.reserve(seal.count as usize);
    while cursor.remaining() > 0 {
        if ids.len() == seal.count as usize {
            return Err(BoxError::Count {
                expected: seal.count,
            });
        }
        let (id, redacted) = walk.step(&mut cursor, blobs)?;
        if redacted && packer == Packer::Author {
            return Err(BoxError::RedactedBody {
                sequence: walk.next - 1,
            });
        }
        ids.push(id);
    }
    if ids.len() != seal.count as usize {
        return Err(BoxError::Count {
            expected: seal.count,
        });
    }
    if walk.previous != seal.head {
        return Err(BoxError::Head);
    }
    if walk.time != Some(seal.time) {
        return Err(BoxError::Time {
            sequence: seal.last(),
        });
    }
    if !parsed
        .blobs()
        .map(|entry| (entry.id, entry.size))
        .eq(blobs.iter().map(|(&id, &size)| (id, size)))
    {
        return Err(BoxError::BlobList);
    }
    Ok(Opened {
        namespace: seal.namespace,
        first: seal.first,
        operations,
        ids,
    })
}

/// A run of operations of one log that are read one after the other.
struct Walk<'a> {
    hasher: &'a OpHasher,
    namespace: &'a NamespaceId,
    next: u64,
    previous: OpId,
    time: Option<Time>,
}

impl<'a> Walk<'a> {
    fn new(
        hasher: &'a OpHasher,
        namespace: &'a NamespaceId,
        first: u64,
        before: OpId,
        time: Option<Time>,
    ) -> Self {
        Self {
            hasher,
            namespace,
            next: first,
            previous: before,
            time,
        }
    }

    /// Reads the next operation, names it, and notes the blob it refers to. Says also whether its body is missing.
    fn step(
        &mut self,
        cursor: &mut Cursor<'_>,
        blobs: &mut BTreeMap<BlobId, u64>,
    ) -> Result<(OpId, bool), BoxError> {
        let sequence = self.next;
        let op = OpRef::read(self.namespace, cursor)
            .map_err(|error| BoxError::Operation { sequence, error })?;
        if self.time.is_some_and(|time| op.time() <= time) {
            return Err(BoxError::Time { sequence });
        }
        let content = op.content();
        if let Some(Content::Record(record)) = &content
            && let RecordContent::Blob(blob) = &record.content
        {
            let size = blob_file_len(blob.len);
            if *blobs.entry(blob.id).or_insert(size) != size {
                return Err(BoxError::BlobList);
            }
        }
        let id = self.hasher.id(sequence, &self.previous, &op);
        self.next = sequence + 1;
        self.previous = id;
        self.time = Some(op.time());
        Ok((id, content.is_none()))
    }
}

fn box_key(key: &EpochKey, salt: &[u8; 24], seal: &Seal) -> ChunkKey {
    box_key_at(
        key,
        salt,
        &seal.vault,
        &seal.namespace,
        &seal.author,
        seal.first,
        seal.count,
    )
}

fn box_key_at(
    key: &EpochKey,
    salt: &[u8; 24],
    vault: &VaultId,
    namespace: &NamespaceId,
    author: &MemberId,
    first: u64,
    count: u32,
) -> ChunkKey {
    ChunkKey::new(&crypto::BOX.expand(&[
        key.expose(),
        salt,
        &vault.0,
        &namespace.0,
        &author.0,
        &first.to_be_bytes(),
        &count.to_be_bytes(),
    ]))
}

/// Decrypts all chunks into the buffer, and says where the operations are.
fn decrypt(
    key: &ChunkKey,
    chunks: &[u8],
    buffer: &mut BoxBuffer,
) -> Result<std::ops::Range<usize>, BoxError> {
    const SEALED_LEN: usize = limits::CHUNK_LEN + TAG_LEN;
    let count = chunks.len().div_ceil(SEALED_LEN);
    if count == 0 || count > limits::BOX_PLAINTEXT_LEN / limits::CHUNK_LEN {
        return Err(BoxError::Truncated);
    }
    let len = chunks
        .len()
        .checked_sub(count * TAG_LEN)
        .ok_or(BoxError::Truncated)?;
    // The last chunk's tag stands behind its text until it is checked.
    buffer.reset(len + TAG_LEN);
    for (number, chunk) in chunks.chunks(SEALED_LEN).enumerate() {
        if chunk.len() <= TAG_LEN {
            return Err(BoxError::Truncated);
        }
        let start = buffer.plaintext.len();
        buffer.plaintext.extend_from_slice(chunk);
        let number = number as u64;
        key.open(
            number,
            number + 1 == count as u64,
            &mut buffer.plaintext[start..],
        )
        .map_err(|_| BoxError::Chunk { number })?;
        buffer.plaintext.truncate(start + chunk.len() - TAG_LEN);
    }
    let (prefix, rest) = buffer
        .plaintext
        .split_first_chunk::<4>()
        .ok_or(BoxError::Padding)?;
    let len = u32::from_be_bytes(*prefix) as usize;
    if len > rest.len() || padded_len(len as u64 + 4) != buffer.plaintext.len() as u64 {
        return Err(BoxError::Padding);
    }
    if !is_zero(&rest[len..]) {
        return Err(BoxError::PaddingNotZero);
    }
    Ok(4..4 + len)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}

/// Operations on their way into a box.
///
/// It starts behind an operation of a log and names each operation that is pushed. It is wiped when dropped.
pub struct BoxDraft {
    hasher: OpHasher,
    vault: VaultId,
    namespace: NamespaceId,
    author: MemberId,
    first: u64,
    before: OpId,
    head: OpId,
    time: Option<Time>,
    count: u32,
    /// Length field, then operations.
    plaintext: Zeroizing<Vec<u8>>,
    blobs: BTreeMap<BlobId, u64>,
}

/// Why an operation does not go into a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// The box is full: seal it, and put the operation into the next.
    #[error("the box is full")]
    Full,
    /// The operation would be refused when it is read.
    #[error("{0}")]
    Refused(#[from] BoxError),
}

impl BoxDraft {
    /// An empty box for the log of `author` in `namespace`, behind the operation `before` with the sequence number
    /// `first` − 1 and the time `time`; for the first of a log, `first` is 1, `before` [`OpId::NONE`] and `time` none.
    #[must_use]
    pub fn new(
        vault: VaultId,
        namespace: NamespaceId,
        author: MemberId,
        first: u64,
        before: OpId,
        time: Option<Time>,
    ) -> Self {
        Self {
            hasher: OpHasher::new(&vault, &namespace, &author),
            vault,
            namespace,
            author,
            first,
            before,
            head: before,
            time,
            count: 0,
            plaintext: Zeroizing::new(vec![0; 4]),
            blobs: BTreeMap::new(),
        }
    }

    /// An empty box for the operations of a seal, to be made anew.
    #[must_use]
    pub fn anew(seal: &Seal) -> Self {
        Self::new(
            seal.vault,
            seal.namespace,
            seal.author,
            seal.first,
            seal.before,
            None,
        )
    }

    /// Appends an operation and names it.
    ///
    /// # Errors
    /// [`DraftError::Full`], or what a reader would say. The draft is as it was then.
    pub fn push(&mut self, op: &Op) -> Result<OpId, DraftError> {
        let encoded_len = op.encoded_len();
        let start = self.plaintext.len();
        if start + encoded_len > limits::BOX_PLAINTEXT_LEN
            || self.count == limits::BOX_OPERATIONS
            || self.blobs.len() == limits::BOX_BLOBS
        {
            return Err(DraftError::Full);
        }
        self.reserve(encoded_len);
        op.encode_into(&mut self.plaintext);
        self.name(start)
    }

    /// Appends an operation of another box of the same log, or of this box as it was.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_ref(&mut self, op: &OpRef<'_>) -> Result<OpId, DraftError> {
        let start = self.plaintext.len();
        if start + op.encoded().len() > limits::BOX_PLAINTEXT_LEN
            || self.count == limits::BOX_OPERATIONS
            || self.blobs.len() == limits::BOX_BLOBS
        {
            return Err(DraftError::Full);
        }
        self.reserve(op.encoded().len());
        self.plaintext.extend_from_slice(op.encoded());
        self.name(start)
    }

    /// Grows by moving into new memory and wiping the old.
    fn reserve(&mut self, more: usize) {
        if self.plaintext.capacity() - self.plaintext.len() < more {
            let wanted = (self.plaintext.len() + more).next_power_of_two().max(4_096);
            let mut grown = Zeroizing::new(Vec::with_capacity(wanted));
            grown.extend_from_slice(&self.plaintext);
            self.plaintext = grown;
        }
    }

    /// Reads back the operation that was just appended.
    fn name(&mut self, start: usize) -> Result<OpId, DraftError> {
        let sequence = self.first + u64::from(self.count);
        let mut walk = Walk::new(
            &self.hasher,
            &self.namespace,
            sequence,
            self.head,
            self.time,
        );
        let mut cursor = Cursor::new(&self.plaintext[start..]);
        let result = walk.step(&mut cursor, &mut self.blobs).and_then(|(id, _)| {
            if cursor.remaining() > 0 {
                return Err(BoxError::Operation {
                    sequence,
                    error: OpError::Trailing,
                });
            }
            Ok((id, walk.time))
        });
        match result {
            Ok((id, time)) => {
                self.head = id;
                self.time = time;
                self.count += 1;
                Ok(id)
            }
            Err(error) => {
                self.plaintext[start..].zeroize();
                self.plaintext.truncate(start);
                Err(error.into())
            }
        }
    }

    /// How many operations are in it.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the operations, before padding.
    #[must_use]
    pub fn len(&self) -> usize {
        self.plaintext.len()
    }

    /// The last operation, or the one before the first.
    #[must_use]
    pub const fn head(&self) -> OpId {
        self.head
    }

    /// The last operation's time, or the time before the first.
    #[must_use]
    pub const fn time(&self) -> Option<Time> {
        self.time
    }

    /// The sequence number of the first operation.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The operation before the first.
    #[must_use]
    pub const fn before(&self) -> OpId {
        self.before
    }

    /// The namespace.
    #[must_use]
    pub const fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// The vault.
    #[must_use]
    pub const fn vault(&self) -> VaultId {
        self.vault
    }

    /// The author.
    #[must_use]
    pub const fn author(&self) -> MemberId {
        self.author
    }
}

/// Appends the bytes of a box to `out`: encrypted with `key` for data, clear for control.
///
/// # Panics
/// If the draft is empty, or `key` is given for control or missing for data.
pub(crate) fn seal_box(
    draft: &BoxDraft,
    key: Option<&EpochKey>,
    rng: &mut (impl CryptoRng + ?Sized),
    out: &mut Vec<u8>,
) {
    assert!(draft.count > 0, "a box holds at least one operation");
    let blobs = u16::try_from(draft.blobs.len()).expect("the draft bounds its blobs");
    out.extend_from_slice(&blobs.to_be_bytes());
    for (id, size) in &draft.blobs {
        out.extend_from_slice(&id.0);
        out.extend_from_slice(&size.to_be_bytes());
    }
    let operations = &draft.plaintext[4..];
    let len = u32::try_from(operations.len()).expect("the draft bounds its length");
    if draft.namespace == NamespaceId::CONTROL {
        assert!(key.is_none(), "control is in clear");
        out.push(FORM_CLEAR);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(operations);
        return;
    }
    let key = key.expect("data is encrypted");
    let mut salt = [0; 24];
    rng.fill_bytes(&mut salt);
    let key = box_key_at(
        key,
        &salt,
        &draft.vault,
        &draft.namespace,
        &draft.author,
        draft.first,
        draft.count,
    );
    out.push(FORM_SEALED);
    out.extend_from_slice(&salt);
    out.extend_from_slice(key.commitment());
    let padded = padded_len(u64::from(len) + 4) as usize;
    let chunks = padded.div_ceil(limits::CHUNK_LEN);
    // No plaintext may be left behind by a vector that moves.
    out.reserve_exact(padded + chunks * TAG_LEN);
    let mut rest: &[u8] = operations;
    let mut left = padded;
    for number in 0..chunks {
        let start = out.len();
        let wanted = left.min(limits::CHUNK_LEN);
        if number == 0 {
            out.extend_from_slice(&len.to_be_bytes());
        }
        let (now, later) = rest.split_at(rest.len().min(wanted - (out.len() - start)));
        out.extend_from_slice(now);
        out.resize(start + wanted + TAG_LEN, 0);
        key.seal(number as u64, number + 1 == chunks, &mut out[start..]);
        rest = later;
        left -= wanted;
    }
    debug_assert!(rest.is_empty() && left == 0);
}

/// Fills in what a box says about itself: its length and hash.
pub(crate) fn box_statement(bytes: &[u8]) -> (u32, BoxHash) {
    (
        u32::try_from(bytes.len()).expect("a box is bounded"),
        BoxHash::of(bytes),
    )
}

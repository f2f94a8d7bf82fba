//! A frame: a seal, perhaps a rebox, and a box. The unit that is stored, exchanged and verified.
//!
//! ```text
//! magic u8 = 0xF1 ‖ flags u8 (1: rebox, 2: no box) ‖ length u32 of what follows ‖ seal ‖ [rebox] ‖ [box]
//! ```

use rand_core::CryptoRng;

use crate::{
    BoxBuffer, BoxDraft, BoxError, BoxHash, BoxRef, EpochKey, GrantId, Identity, KeyId,
    NamespaceId, OpId, Opened, Packer, Rebox, ReboxError, Seal, SealError, SealId, Time, VaultId,
    boxes::{box_statement, open_box, seal_box},
    crypto::Signature,
    limits,
    wire::{Cursor, Short},
};

const MAGIC: u8 = 0xf1;
const FLAG_REBOX: u8 = 1;
const FLAG_NO_BOX: u8 = 2;
/// Bytes before the seal.
const HEADER_LEN: usize = 6;

/// Why a frame is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end inside it. At the end of a tail this is a write that was never acknowledged.
    #[error("frame is cut off")]
    Truncated,
    /// Bytes after it, where it should be alone.
    #[error("bytes after the frame")]
    Trailing,
    /// It does not begin with 0xF1.
    #[error("no frame begins here")]
    Magic,
    /// Flags that this reader does not know, or that exclude each other.
    #[error("frame flags {0:#04x} are unknown")]
    Flags(u8),
    /// A length that no frame with these flags has.
    #[error("frame of {0} bytes")]
    Length(u32),
    /// The seal is refused.
    #[error("{0}")]
    Seal(#[from] SealError),
    /// The rebox is refused.
    #[error("{0}")]
    Rebox(#[from] ReboxError),
    /// A rebox in control, which is in clear and loses nothing.
    #[error("rebox in the control namespace")]
    ReboxOfControl,
    /// No box in control, which everybody may read.
    #[error("control without its box")]
    ControlWithoutBox,
    /// The box is not as long as was signed.
    #[error("box of {found} bytes where {signed} were signed")]
    BoxLength {
        /// How long it is.
        found: usize,
        /// How long it should be.
        signed: u32,
    },
    /// The clear part of the box is refused.
    #[error("{0}")]
    Box(#[from] BoxError),
}

impl From<Short> for FrameError {
    fn from(_: Short) -> Self {
        Self::Truncated
    }
}

/// A frame in place. It is well-formed; neither signatures nor the hash of the box have been checked.
#[derive(Clone, Copy)]
pub struct FrameRef<'a> {
    seal: Seal,
    seal_id: SealId,
    rebox: Option<Rebox>,
    sealed_box: Option<&'a [u8]>,
    bytes: &'a [u8],
}

impl<'a> FrameRef<'a> {
    /// Reads the one frame that these bytes are.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(vault: &VaultId, bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut cursor = Cursor::new(bytes);
        let frame = Self::read(vault, &mut cursor)?;
        if cursor.remaining() > 0 {
            return Err(FrameError::Trailing);
        }
        Ok(frame)
    }

    /// Reads the first of the frames that these bytes begin with, and says how many bytes it takes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_prefix(vault: &VaultId, bytes: &'a [u8]) -> Result<(Self, usize), FrameError> {
        let mut cursor = Cursor::new(bytes);
        let frame = Self::read(vault, &mut cursor)?;
        Ok((frame, bytes.len() - cursor.remaining()))
    }

    /// How many bytes the frame takes that begins with these; for a stream. None while fewer than
    /// [`FrameRef::PREFIX_LEN`] are there.
    ///
    /// # Errors
    /// If no frame begins so.
    pub fn announced_len(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        match read_header(&mut Cursor::new(bytes)) {
            Ok((_, len)) => Ok(Some(HEADER_LEN + len)),
            Err(FrameError::Truncated) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes that tell a frame's length.
    pub const PREFIX_LEN: usize = HEADER_LEN;

    fn read(vault: &VaultId, cursor: &mut Cursor<'a>) -> Result<Self, FrameError> {
        let start = *cursor;
        let (flags, len) = read_header(cursor)?;
        let mut body = Cursor::new(cursor.slice(len)?);
        let bytes = &start.rest()[..HEADER_LEN + len];
        let seal = Seal::parse(vault, body.array()?)?;
        let seal_id = seal.id();
        let rebox = if flags & FLAG_REBOX == 0 {
            None
        } else {
            if seal.namespace == NamespaceId::CONTROL {
                return Err(FrameError::ReboxOfControl);
            }
            let rebox = Rebox::parse(body.array()?)?;
            if rebox.seal != seal_id {
                return Err(ReboxError::OtherSeal.into());
            }
            Some(rebox)
        };
        let sealed_box = if flags & FLAG_NO_BOX == 0 {
            let found = body.remaining();
            let signed = rebox.map_or(seal.box_len, |rebox| rebox.box_len);
            if found != signed as usize {
                return Err(FrameError::BoxLength { found, signed });
            }
            let sealed_box = body.rest();
            BoxRef::parse(&seal.namespace, sealed_box)?;
            Some(sealed_box)
        } else {
            if seal.namespace == NamespaceId::CONTROL {
                return Err(FrameError::ControlWithoutBox);
            }
            None
        };
        Ok(Self {
            seal,
            seal_id,
            rebox,
            sealed_box,
            bytes,
        })
    }

    /// The author's seal.
    #[must_use]
    pub const fn seal(&self) -> &Seal {
        &self.seal
    }

    /// The seal's name.
    #[must_use]
    pub const fn seal_id(&self) -> SealId {
        self.seal_id
    }

    /// Who made the box anew, if anybody did.
    #[must_use]
    pub const fn rebox(&self) -> Option<&Rebox> {
        self.rebox.as_ref()
    }

    /// The box, if the frame has it.
    #[must_use]
    pub const fn sealed_box(&self) -> Option<&'a [u8]> {
        self.sealed_box
    }

    /// The clear part of the box, if the frame has it.
    #[must_use]
    pub fn box_ref(&self) -> Option<BoxRef<'a>> {
        self.sealed_box
            .map(|bytes| BoxRef::parse(&self.seal.namespace, bytes).expect("parsed with the frame"))
    }

    /// The epoch key that the box was made with; [`KeyId::NONE`] for control.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.rebox.map_or(self.seal.key, |rebox| rebox.key)
    }

    /// Whose box it is.
    #[must_use]
    pub const fn packer(&self) -> Packer {
        if self.rebox.is_some() {
            Packer::Anew
        } else {
            Packer::Author
        }
    }

    /// The box in the bytes of a frame that was read before and that has one, `anew` if a rebox is beside it. For who kept the
    /// seal: nothing is parsed or checked.
    ///
    /// # Panics
    /// If these are fewer bytes than stand before the box.
    #[must_use]
    pub fn box_in(bytes: &'a [u8], anew: bool) -> &'a [u8] {
        &bytes[HEADER_LEN + Seal::LEN + if anew { Rebox::LEN } else { 0 }..]
    }

    /// The frame as it is stored.
    #[must_use]
    pub const fn encoded(&self) -> &'a [u8] {
        self.bytes
    }

    /// Checks that the box has the hash that was signed. A frame without a box has nothing to check.
    ///
    /// # Errors
    /// [`BoxError::Hash`].
    pub fn check_box(&self) -> Result<(), BoxError> {
        let signed = self
            .rebox
            .map_or(self.seal.box_hash, |rebox| rebox.box_hash);
        match self.sealed_box {
            Some(bytes) if BoxHash::of(bytes) != signed => Err(BoxError::Hash),
            _ => Ok(()),
        }
    }

    /// Opens the box, its hash included. None if the frame has no box.
    ///
    /// # Errors
    /// What is wrong with the box. Nothing of it is given out then.
    pub fn open<'b>(
        &self,
        key: Option<&EpochKey>,
        buffer: &'b mut BoxBuffer,
    ) -> Result<Option<Opened<'b>>, BoxError> {
        let Some(bytes) = self.sealed_box else {
            return Ok(None);
        };
        self.check_box()?;
        open_box(&self.seal, self.packer(), bytes, key, buffer).map(Some)
    }

    /// Appends this frame without its box: what those get who may not have it. A rebox goes with the box.
    ///
    /// # Panics
    /// For control, whose boxes everybody has.
    pub fn write_without_box(&self, out: &mut Vec<u8>) {
        assert_ne!(
            self.seal.namespace,
            NamespaceId::CONTROL,
            "control goes with its box"
        );
        write_header(FLAG_NO_BOX, Seal::LEN, out);
        out.extend_from_slice(&self.seal.encode());
    }
}

fn read_header(cursor: &mut Cursor<'_>) -> Result<(u8, usize), FrameError> {
    if cursor.u8()? != MAGIC {
        return Err(FrameError::Magic);
    }
    let flags = cursor.u8()?;
    if flags > FLAG_NO_BOX {
        return Err(FrameError::Flags(flags));
    }
    let len = cursor.u32()?;
    let least = match flags {
        FLAG_REBOX => Seal::LEN + Rebox::LEN,
        _ => Seal::LEN,
    };
    let greatest = if flags == FLAG_NO_BOX {
        Seal::LEN
    } else {
        least + limits::BOX_LEN
    };
    if (len as usize) < least || len as usize > greatest {
        return Err(FrameError::Length(len));
    }
    Ok((flags, len as usize))
}

fn write_header(flags: u8, len: usize, out: &mut Vec<u8>) {
    out.push(MAGIC);
    out.push(flags);
    out.extend_from_slice(
        &u32::try_from(len)
            .expect("a frame is bounded")
            .to_be_bytes(),
    );
}

/// Where a new seal stands in its author's chain, and under which grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPosition {
    /// The number of the new seal.
    pub counter: u64,
    /// The author's seal before; [`SealId::NONE`] for the first.
    pub previous: SealId,
    /// The author's grant.
    pub grant: GrantId,
}

impl ChainPosition {
    /// The position of an author's first seal.
    #[must_use]
    pub const fn first(grant: GrantId) -> Self {
        Self {
            counter: 1,
            previous: SealId::NONE,
            grant,
        }
    }

    /// The position after a seal, under the same grant.
    #[must_use]
    pub fn after(seal: &Seal) -> Self {
        Self {
            counter: seal.counter + 1,
            previous: seal.id(),
            grant: seal.grant,
        }
    }
}

/// Seals a draft: appends the frame to `out` and returns its seal. `key` is needed for data only, `key_id` is its
/// commitment's short name.
///
/// # Errors
/// If the position contradicts itself.
///
/// # Panics
/// If the draft is empty or of another author, or `key` is given for control or missing for data.
pub fn seal_frame(
    identity: &Identity,
    position: ChainPosition,
    draft: &BoxDraft,
    key: Option<&EpochKey>,
    rng: &mut (impl CryptoRng + ?Sized),
    out: &mut Vec<u8>,
) -> Result<Seal, SealError> {
    assert_eq!(
        draft.author(),
        identity.member(),
        "a draft is sealed by its author"
    );
    let start = out.len();
    let box_start = start + HEADER_LEN + Seal::LEN;
    out.resize(box_start, 0);
    seal_box(draft, key, rng, out);
    let (box_len, box_hash) = box_statement(&out[box_start..]);
    let seal = Seal {
        vault: draft.vault(),
        author: draft.author(),
        counter: position.counter,
        previous: position.previous,
        namespace: draft.namespace(),
        grant: position.grant,
        key: key_id(draft, key),
        first: draft.first(),
        count: draft.count(),
        before: draft.before(),
        head: draft.head(),
        time: draft.time().expect("the draft is not empty"),
        box_len,
        box_hash,
        signature: Signature([0; 64]),
    }
    .signed(identity);
    let seal = match seal {
        Ok(seal) => seal,
        Err(error) => {
            out.truncate(start);
            return Err(error);
        }
    };
    let mut header = Vec::with_capacity(HEADER_LEN);
    write_header(0, Seal::LEN + box_len as usize, &mut header);
    out[start..start + HEADER_LEN].copy_from_slice(&header);
    out[start + HEADER_LEN..box_start].copy_from_slice(&seal.encode());
    Ok(seal)
}

/// Why a box was not made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReboxFrameError {
    /// The draft does not hold the operations of the seal.
    #[error("operations are not those of the seal")]
    OtherOperations,
    /// The seal is one of control.
    #[error("control is not boxed anew")]
    Control,
}

/// Boxes the operations of a seal anew: appends the frame to `out` and returns its rebox. The draft holds the
/// operations of the seal, from [`BoxDraft::anew`], with bodies redacted or not.
///
/// # Errors
/// Why not.
#[expect(clippy::too_many_arguments, reason = "each is a field of the frame")]
pub fn rebox_frame(
    packer: &Identity,
    grant: GrantId,
    time: Time,
    seal: &Seal,
    draft: &BoxDraft,
    key: &EpochKey,
    rng: &mut (impl CryptoRng + ?Sized),
    out: &mut Vec<u8>,
) -> Result<Rebox, ReboxFrameError> {
    if seal.namespace == NamespaceId::CONTROL {
        return Err(ReboxFrameError::Control);
    }
    let place = (
        draft.vault(),
        draft.namespace(),
        draft.author(),
        draft.first(),
        draft.count(),
    );
    if place
        != (
            seal.vault,
            seal.namespace,
            seal.author,
            seal.first,
            seal.count,
        )
        || draft.head() != seal.head
    {
        return Err(ReboxFrameError::OtherOperations);
    }
    let start = out.len();
    let box_start = start + HEADER_LEN + Seal::LEN + Rebox::LEN;
    out.resize(box_start, 0);
    seal_box(draft, Some(key), rng, out);
    let (box_len, box_hash) = box_statement(&out[box_start..]);
    let rebox = Rebox {
        seal: seal.id(),
        packer: packer.member(),
        grant,
        key: key_id(draft, Some(key)),
        time,
        box_len,
        box_hash,
        signature: Signature([0; 64]),
    }
    .signed(packer)
    .expect("every field comes from a box that was just made");
    let mut header = Vec::with_capacity(HEADER_LEN);
    write_header(
        FLAG_REBOX,
        Seal::LEN + Rebox::LEN + box_len as usize,
        &mut header,
    );
    out[start..start + HEADER_LEN].copy_from_slice(&header);
    out[start + HEADER_LEN..start + HEADER_LEN + Seal::LEN].copy_from_slice(&seal.encode());
    out[start + HEADER_LEN + Seal::LEN..box_start].copy_from_slice(&rebox.encode());
    Ok(rebox)
}

fn key_id(draft: &BoxDraft, key: Option<&EpochKey>) -> KeyId {
    key.map_or(KeyId::NONE, |key| {
        key.commitment(&draft.vault(), &draft.namespace()).key_id()
    })
}

/// A frame that owns its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    seal: Seal,
    seal_id: SealId,
    rebox: Option<Rebox>,
    bytes: Vec<u8>,
}

impl Frame {
    /// Reads the one frame that these bytes are, and keeps them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_bytes(vault: &VaultId, bytes: Vec<u8>) -> Result<Self, FrameError> {
        let FrameRef {
            seal,
            seal_id,
            rebox,
            ..
        } = FrameRef::parse(vault, &bytes)?;
        Ok(Self {
            seal,
            seal_id,
            rebox,
            bytes,
        })
    }

    /// The frame in place.
    #[must_use]
    pub fn as_ref(&self) -> FrameRef<'_> {
        let box_start = HEADER_LEN + Seal::LEN + if self.rebox.is_some() { Rebox::LEN } else { 0 };
        let sealed_box = (self.bytes[1] & FLAG_NO_BOX == 0).then(|| &self.bytes[box_start..]);
        FrameRef {
            seal: self.seal,
            seal_id: self.seal_id,
            rebox: self.rebox,
            sealed_box,
            bytes: &self.bytes,
        }
    }

    /// The bytes as they are stored.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The last operation of the run, for whoever appends to the log.
    #[must_use]
    pub const fn head(&self) -> OpId {
        self.seal.head
    }
}

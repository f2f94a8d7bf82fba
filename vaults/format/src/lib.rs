//! Every byte of a vault: names, keys, signed operations, boxes, keyrings and the portable file.
//!
//! `docs/vault.md` fixes the format; this crate is its first implementation. What is read here is expected to be
//! hostile: every parser is bounded before it reserves memory, accepts one encoding only and names the fault.
//!
//! * [`Genesis`] begins a vault. [`Seed`], [`Identity`] and [`Card`] are its members, [`Slot`] and the recovery phrase
//!   ([`to_phrase`], [`from_phrase`]), whole or in [`Share`]s, bring a seed back.
//! * [`Op`] and [`OpRef`] are operations, [`Content`] what they say. A [`BoxDraft`] collects them, [`seal_frame`] seals
//!   them, [`FrameRef`] reads the frame and [`FrameRef::open`] its box.
//! * [`EpochKey`] and [`Keyring`] deliver the keys, [`BlobSealer`] and [`BlobOpener`] hold large contents, [`portable`]
//!   is all of it in one file.
//!
//! Invariants of the crate:
//!
//! * No I/O, no clock; randomness is a parameter. It builds for `wasm32-unknown-unknown`.
//! * What a writer writes, the reader accepts, and what a parser accepts, encodes to the same bytes.
//! * A secret has no `Debug` and is wiped when it is dropped.
//!
//! Out of scope: which operations count (`vaults/state`), where bytes rest (`vaults/store`), how they travel
//! (`vaults/sync`).

mod blob;
mod boxes;
mod chunks;
mod content;
mod crypto;
mod frame;
mod genesis;
mod ids;
mod keyring;
pub mod limits;
mod member;
mod op;
mod padme;
mod phrase;
pub mod portable;
mod rebox;
mod seal;
mod segment;
mod shares;
mod slot;
mod stream;
mod time;
mod wire;

pub use blob::{
    BLOB_GROUP_LEN, BlobError, BlobOpener, BlobSealer, BlobVerifier, blob_file_len,
    blob_header_len, open_blob, seal_blob,
};
pub use boxes::{
    BlobEntry, BoxBuffer, BoxDraft, BoxError, BoxRef, DraftError, Opened, OpenedOp, Packer,
    open_box,
};
pub use content::{
    BlobKey, BlobRef, Checkpoint, Content, ContentError, Grant, Head, LogPosition, Record,
    RecordContent, Revocation, Right, Rotation,
};
pub use crypto::Signature;
pub use frame::{
    ChainPosition, Frame, FrameError, FrameRef, ReboxFrameError, rebox_frame, seal_frame,
};
pub use genesis::{Genesis, GenesisError};
pub use ids::{
    BlobId, BodyCommitment, BoxHash, GrantId, KeyCommitment, KeyId, KeyringId, MemberId,
    NamespaceId, OpId, ParseIdError, ReceiptDigest, ReceiveKey, RecipientId, RunId, SealId,
    VaultId,
};
pub use keyring::{
    EpochKey, Keyring, KeyringError, NamespaceNameError, OpenKeyring, OpenKeyringError,
    SealKeyringError, check_namespace_name, recipient_id,
};
pub use member::{Card, CardError, Identity, MemberKind, Seed};
pub use op::{Body, BodyRef, Op, OpError, OpKind, OpRef};
pub use phrase::{PhraseError, from_phrase, to_phrase};
pub use rand_core::CryptoRng;
pub use rebox::{Rebox, ReboxError};
pub use seal::{ChainError, Seal, SealError};
pub use segment::{Frames, SEGMENT_HEADER, SegmentError};
pub use shares::{CombineError, Share, ShareError, SplitError, combine_shares, split_seed};
pub use slot::{OpenSlotError, Slot, SlotCost, SlotError};
pub use time::Time;

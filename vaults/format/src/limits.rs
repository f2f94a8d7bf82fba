//! Every limit of the format. A reader refuses what is over one before it reserves memory for it.

/// Bytes of a body.
pub const BODY_LEN: usize = 65_536;
/// Bytes of a record's content that stands in the record itself; larger contents go to a blob.
pub const INLINE_LEN: usize = 49_152;
/// Bytes of a reason.
pub const REASON_LEN: usize = 1_024;
/// Bytes of a record's type.
pub const RECORD_TYPE_LEN: usize = 64;
/// Targets of an operation.
pub const TARGETS: usize = 64;
/// Rights in a grant.
pub const RIGHTS: usize = 64;
/// Heads in a checkpoint: as many as a body holds.
pub const CHECKPOINT_HEADS: usize = (BODY_LEN - 2) / 72;
/// Operations in a box.
pub const BOX_OPERATIONS: u32 = 65_536;
/// Plaintext of a box, with its length field and, in form 1, its padding.
pub const BOX_PLAINTEXT_LEN: usize = 4 << 20;
/// Blobs that a box refers to.
pub const BOX_BLOBS: usize = 65_535;
/// The smallest padded plaintext.
pub const PADDED_LEN_MIN: u64 = 256;
/// Plaintext of a chunk, of a box or of a blob.
pub const CHUNK_LEN: usize = 65_536;
/// Bytes of a box.
pub const BOX_LEN: usize =
    2 + BOX_BLOBS * 40 + 1 + 24 + 32 + BOX_PLAINTEXT_LEN + (BOX_PLAINTEXT_LEN / CHUNK_LEN) * 16;
/// Bytes of a frame.
pub const FRAME_LEN: usize = 6 + 352 + 220 + BOX_LEN;
/// Bytes of a blob's content.
pub const BLOB_CONTENT_LEN: u64 = 4 << 30;
/// Bytes of a blob file.
pub const BLOB_FILE_LEN: u64 = 32 + BLOB_CONTENT_LEN + (BLOB_CONTENT_LEN / CHUNK_LEN as u64) * 32;
/// Members of a vault.
pub const MEMBERS: usize = 4_096;
/// Namespaces of a vault.
pub const NAMESPACES: usize = 1_024;
/// Stanzas of a keyring: one for each member.
pub const KEYRING_STANZAS: usize = MEMBERS;
/// Older keys in a keyring.
pub const KEYRING_OLDER: usize = 255;
/// Bytes of a keyring file.
pub const KEYRING_LEN: usize = 95 + KEYRING_OLDER * 104 + 2 + KEYRING_STANZAS * 160;
/// Bytes of a namespace's name.
pub const NAMESPACE_NAME_LEN: usize = 63;

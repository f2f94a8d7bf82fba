//! The outermost layer: a header, then frames.
//!
//! ```text
//! file   = header frame*
//! header = 89 54 4c 59 4a 0d 0a 1a   version: u32 little-endian (2)
//! frame  = length: u32 little-endian   payload: length bytes   check: first 8 bytes of frame_hash(payload)
//! ```
//!
//! The header's first bytes are not text and hold a carriage return, a line feed and a control-Z, so a copy through
//! something that translates text is noticed. The check finds accidents (a torn or rotten frame) at once and names the
//! frame; forgery is what the chain and the seal are for.

/// First bytes of every journal.
pub const MAGIC: [u8; 8] = *b"\x89TLYJ\r\n\x1a";
/// The version of the format that this crate writes and reads. Version 1 had no salts beside its receipts.
pub const FORMAT_VERSION: u32 = 2;
/// Magic and version.
pub(crate) const HEADER: [u8; HEADER_LEN] = {
    let mut header = [0; HEADER_LEN];
    let version = FORMAT_VERSION.to_le_bytes();
    let mut i = 0;
    while i < HEADER_LEN {
        header[i] = if i < MAGIC.len() {
            MAGIC[i]
        } else {
            version[i - MAGIC.len()]
        };
        i += 1;
    }
    header
};
/// Length of the header, in bytes.
pub(crate) const HEADER_LEN: usize = 12;
/// Length of a frame's length, in bytes.
pub(crate) const LENGTH_LEN: usize = 4;
/// Length of a frame's check, in bytes.
pub(crate) const CHECK_LEN: usize = 8;

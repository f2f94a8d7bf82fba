//! The bounds of one reading.

use serde::{Deserialize, Serialize};

/// What a reading may cost, and how much it may hand on. Lengths are in bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// The file itself.
    pub input_len: usize,
    /// A PDF, whose parser does more work for a byte than the others.
    pub pdf_len: usize,
    /// Pages of a PDF that are read.
    pub pdf_pages: usize,
    /// What a PDF's streams inflate to, together.
    pub pdf_unpacked_len: usize,
    /// Drawing operations of a PDF: letters, lines, pictures, clips.
    pub pdf_work: u64,
    /// Files in an archive.
    pub entries: usize,
    /// One unpacked file of an archive.
    pub entry_len: usize,
    /// All that is unpacked from an archive, together.
    pub unpacked_len: usize,
    /// One record of JSON: a conversation of ChatGPT or Claude, a message elsewhere.
    pub record_len: usize,
    /// One turn's text. Longer turns are left out, not cut.
    pub turn_len: usize,
    /// Turns and passages handed on.
    pub pieces: usize,
    /// All text handed on.
    pub text_len: usize,
    /// A passage of a document: blocks are packed into passages of at most this length.
    pub passage_len: usize,
}

impl Default for Limits {
    /// Generous for what one person has gathered in years; a phone or a shared server wants less.
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            input_len: 2048 * MIB,
            pdf_len: 64 * MIB,
            pdf_pages: 5_000,
            pdf_unpacked_len: 512 * MIB,
            pdf_work: 50_000_000,
            entries: 100_000,
            entry_len: 1024 * MIB,
            unpacked_len: 2048 * MIB,
            record_len: 64 * MIB,
            turn_len: MIB,
            pieces: 5_000_000,
            text_len: 1024 * MIB,
            passage_len: 1_600,
        }
    }
}

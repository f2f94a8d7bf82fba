//! A segment: a header and frames. A tail has the same bytes, perhaps with room behind them, and is still growing.

use crate::{FrameError, FrameRef, VaultId};

/// Bytes that a segment or tail begins with: `TALLYSEG` and version 1.
pub const SEGMENT_HEADER: &[u8; 10] = b"TALLYSEG\x00\x01";

/// Why a segment is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// The bytes end inside the header.
    #[error("segment is cut off in its header")]
    Truncated,
    /// It does not begin with `TALLYSEG`.
    #[error("not a segment")]
    Magic,
    /// A version that this reader does not know.
    #[error("segment has format version {0}, this program reads 1")]
    Version(u16),
    /// A frame is refused; what comes after it is not read.
    #[error("frame at byte {offset}: {error}")]
    Frame {
        /// Where it begins.
        offset: usize,
        /// What is wrong with it.
        error: FrameError,
    },
}

impl SegmentError {
    /// Whether, at the end of a tail, this is a write that was never acknowledged, and where the tail should end.
    #[must_use]
    pub const fn torn_at(&self) -> Option<usize> {
        match self {
            Self::Truncated => Some(0),
            Self::Frame {
                offset,
                error: FrameError::Truncated,
            } => Some(*offset),
            _ => None,
        }
    }
}

/// The frames of a segment, in place, with their offsets. After an error there is nothing more.
#[derive(Clone)]
pub struct Frames<'a> {
    vault: VaultId,
    bytes: &'a [u8],
    offset: usize,
    is_tail: bool,
}

impl<'a> Frames<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_segment(vault: &VaultId, bytes: &'a [u8]) -> Result<Self, SegmentError> {
        let Some(header) = bytes.first_chunk::<{ SEGMENT_HEADER.len() }>() else {
            return Err(if SEGMENT_HEADER.starts_with(bytes) {
                SegmentError::Truncated
            } else {
                SegmentError::Magic
            });
        };
        if header[..8] != SEGMENT_HEADER[..8] {
            return Err(SegmentError::Magic);
        }
        let version = u16::from_be_bytes([header[8], header[9]]);
        if version != 1 {
            return Err(SegmentError::Version(version));
        }
        Ok(Self {
            vault: *vault,
            bytes,
            offset: SEGMENT_HEADER.len(),
            is_tail: false,
        })
    }

    /// As [`of_segment`](Self::of_segment), of a tail, whose room is passed over.
    ///
    /// # Errors
    /// What is wrong with the header.
    pub fn of_tail(vault: &VaultId, bytes: &'a [u8]) -> Result<Self, SegmentError> {
        Ok(Self {
            is_tail: true,
            ..Self::of_segment(vault, bytes)?
        })
    }

    /// Where the next frame begins.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<(usize, FrameRef<'a>), SegmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.offset..];
        // A frame begins with another byte, so this is quick.
        if rest.is_empty() || self.is_tail && rest.iter().all(|byte| *byte == 0) {
            return None;
        }
        let offset = self.offset;
        match FrameRef::parse_prefix(&self.vault, rest) {
            Ok((frame, len)) => {
                self.offset += len;
                Some(Ok((offset, frame)))
            }
            Err(error) => {
                self.bytes = &self.bytes[..offset];
                Some(Err(SegmentError::Frame { offset, error }))
            }
        }
    }
}

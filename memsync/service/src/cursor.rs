//! Where a page of a list ended: by what was the last on it, and not by how many came before, so that what is written or forgotten
//! between two pages neither repeats nor skips another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tally_memory::{EpisodeId, FactId, MemoryId, Outline, RemarkId};

/// The first byte of a cursor: the form of the others.
const VERSION: u8 = 1;
/// Version, kind, time said, time written, part, id.
const LEN: usize = 1 + 1 + 8 + 8 + 4 + 32;

/// The place of a memory in a list. What was said first is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    said_at: i64,
    written: u64,
    part: u32,
    pub(crate) id: MemoryId,
}

impl Cursor {
    pub(crate) const fn of(id: MemoryId, outline: &Outline<'_>) -> Self {
        let (written, part) = outline.order;
        Self {
            said_at: outline.said_at.unix_ms(),
            written,
            part,
            id,
        }
    }

    pub(crate) fn encode(&self) -> String {
        let kind = match self.id {
            MemoryId::Fact(_) => 0,
            MemoryId::Correction(_) => 1,
            MemoryId::Episode(_) => 2,
        };
        let mut bytes = vec![VERSION, kind];
        bytes.extend(self.said_at.to_be_bytes());
        bytes.extend(self.written.to_be_bytes());
        bytes.extend(self.part.to_be_bytes());
        bytes.extend(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a text of [`Self::encode`] names; none if it is none.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        if text.len() > LEN * 2 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let bytes: [u8; LEN] = bytes.try_into().ok()?;
        let [VERSION, kind, rest @ ..] = bytes else {
            return None;
        };
        let (said_at, rest) = rest.split_first_chunk::<8>()?;
        let (written, rest) = rest.split_first_chunk::<8>()?;
        let (part, id) = rest.split_first_chunk::<4>()?;
        let id: [u8; 32] = id.try_into().ok()?;
        Some(Self {
            said_at: i64::from_be_bytes(*said_at),
            written: u64::from_be_bytes(*written),
            part: u32::from_be_bytes(*part),
            id: match kind {
                0 => MemoryId::Fact(FactId(id)),
                1 => MemoryId::Correction(RemarkId(id)),
                2 => MemoryId::Episode(EpisodeId(id)),
                _ => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_again_and_nothing_else_is_one() {
        for id in [
            MemoryId::Fact(FactId([7; 32])),
            MemoryId::Correction(RemarkId([8; 32])),
            MemoryId::Episode(EpisodeId([9; 32])),
        ] {
            let cursor = Cursor {
                said_at: -5,
                written: u64::MAX,
                part: 3,
                id,
            };
            let text = cursor.encode();
            assert_eq!(Cursor::decode(&text), Some(cursor));
            assert_eq!(Cursor::decode(&text[1..]), None);
            assert_eq!(Cursor::decode(&format!("{text}A")), None);
            assert_eq!(Cursor::decode(&format!("B{}", &text[1..])), None);
        }
        for wrong in ["", "30", "x", "!", &"A".repeat(72), &"A".repeat(10_000)] {
            assert_eq!(Cursor::decode(wrong), None, "{wrong}");
        }
    }
}

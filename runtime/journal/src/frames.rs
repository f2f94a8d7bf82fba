//! Bytes into frames.

use std::ops::Range;

use crate::decode::item_len;
use crate::format::{CHECK_LEN, HEADER_LEN, LENGTH_LEN};
use crate::hash::{EntryHash, frame_hash};
use crate::limits::MAX_FRAME_LEN;

/// One frame as it stands in the file.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    /// Where its length stands.
    pub(crate) offset: usize,
    pub(crate) payload: Range<usize>,
    pub(crate) hash: EntryHash,
    /// Whether length and check match the payload.
    pub(crate) intact: bool,
    /// Whether only the length is wrong: with the right one the check matches.
    pub(crate) length_altered: bool,
}

/// What follows the last frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    Clean,
    Cut {
        offset: usize,
        present: usize,
        needed: usize,
    },
    TooLong {
        offset: usize,
        len: u32,
    },
}

/// Cuts bytes after the header into frames, as far as lengths lead. They are given one by one and nothing of them is kept: of a file
/// of the smallest frames a list of all would be many times as large as the file.
#[derive(Clone, Debug)]
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    offset: usize,
    /// One fault is named, so one frame is looked at closely: a file of nothing but bad frames costs no more than a good
    /// one.
    closely: bool,
    tail: Tail,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            offset: HEADER_LEN,
            closely: true,
            tail: Tail::Clean,
        }
    }

    /// What follows the last frame, when all were given.
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// No frame comes any more.
    fn end(&mut self, tail: Tail) -> Option<Raw> {
        self.tail = tail;
        self.offset = self.bytes.len();
        None
    }

    /// The frame that begins here and has a payload of `len` bytes.
    fn give(
        &mut self,
        len: usize,
        hash: EntryHash,
        intact: bool,
        length_altered: bool,
    ) -> Option<Raw> {
        let offset = self.offset;
        let begin = offset + LENGTH_LEN;
        self.offset = begin + len + CHECK_LEN;
        Some(Raw {
            offset,
            payload: begin..begin + len,
            hash,
            intact,
            length_altered,
        })
    }
}

impl Iterator for Frames<'_> {
    type Item = Raw;

    fn next(&mut self) -> Option<Raw> {
        let (bytes, offset) = (self.bytes, self.offset);
        let rest = bytes.get(offset..).filter(|rest| !rest.is_empty())?;
        let Some((length, body)) = rest.split_first_chunk::<LENGTH_LEN>() else {
            return self.end(Tail::Cut {
                offset,
                present: rest.len(),
                needed: LENGTH_LEN,
            });
        };
        let claimed = u32::from_le_bytes(*length);
        // The claim is bounded before it is used for anything.
        let len = usize::try_from(claimed)
            .ok()
            .filter(|len| *len <= MAX_FRAME_LEN);
        let whole = len
            .filter(|len| body.len() >= len + CHECK_LEN)
            .map(|len| (len, frame_hash(&body[..len])));
        if let Some((len, hash)) = whole
            && body[len..len + CHECK_LEN] == hash.as_bytes()[..CHECK_LEN]
        {
            return self.give(len, hash, true, false);
        }
        // Something is wrong with this frame. If its content tells its own length and then matches the check, the
        // length is what was altered, and what follows can still be read.
        if std::mem::take(&mut self.closely)
            && let Some((len, hash)) = self_evident(body)
        {
            return self.give(len, hash, false, true);
        }
        match (len, whole) {
            (_, Some((len, hash))) => self.give(len, hash, false, false),
            (Some(len), None) => self.end(Tail::Cut {
                offset,
                present: rest.len(),
                needed: LENGTH_LEN + len + CHECK_LEN,
            }),
            (None, None) => self.end(Tail::TooLong {
                offset,
                len: claimed,
            }),
        }
    }
}

/// Length and hash of the payload at the start of `body`, when its own structure and its check agree on them.
fn self_evident(body: &[u8]) -> Option<(usize, EntryHash)> {
    let len = item_len(body)?;
    let check = body.get(len..len.checked_add(CHECK_LEN)?)?;
    let hash = frame_hash(&body[..len]);
    (*check == hash.as_bytes()[..CHECK_LEN]).then_some((len, hash))
}

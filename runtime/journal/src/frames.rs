//! The first pass: bytes into frames.

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

/// Cuts bytes after the header into frames, as far as lengths lead.
pub(crate) fn split(bytes: &[u8]) -> (Vec<Raw>, Tail) {
    let mut frames = Vec::new();
    let mut offset = HEADER_LEN;
    // One fault is named, so one frame is looked at closely: a file of nothing but bad frames costs no more than a good
    // one.
    let mut closely = true;
    while offset < bytes.len() {
        let rest = &bytes[offset..];
        let Some((length, body)) = rest.split_first_chunk::<LENGTH_LEN>() else {
            return (
                frames,
                Tail::Cut {
                    offset,
                    present: rest.len(),
                    needed: LENGTH_LEN,
                },
            );
        };
        let claimed = u32::from_le_bytes(*length);
        let begin = offset + LENGTH_LEN;
        // The claim is bounded before it is used for anything.
        let len = usize::try_from(claimed)
            .ok()
            .filter(|len| *len <= MAX_FRAME_LEN);
        let whole = len.filter(|len| body.len() >= len + CHECK_LEN);
        if let Some(len) = whole {
            let hash = frame_hash(&body[..len]);
            if body[len..len + CHECK_LEN] == hash.as_bytes()[..CHECK_LEN] {
                frames.push(Raw {
                    offset,
                    payload: begin..begin + len,
                    hash,
                    intact: true,
                    length_altered: false,
                });
                offset = begin + len + CHECK_LEN;
                continue;
            }
        }
        // Something is wrong with this frame. If its content tells its own length and then matches the check, the
        // length is what was altered, and what follows can still be read.
        if std::mem::take(&mut closely)
            && let Some((len, hash)) = self_evident(body)
        {
            frames.push(Raw {
                offset,
                payload: begin..begin + len,
                hash,
                intact: false,
                length_altered: true,
            });
            offset = begin + len + CHECK_LEN;
            continue;
        }
        match (len, whole) {
            (_, Some(len)) => {
                let hash = frame_hash(&body[..len]);
                frames.push(Raw {
                    offset,
                    payload: begin..begin + len,
                    hash,
                    intact: false,
                    length_altered: false,
                });
                offset = begin + len + CHECK_LEN;
            }
            (Some(len), None) => {
                let needed = LENGTH_LEN + len + CHECK_LEN;
                return (
                    frames,
                    Tail::Cut {
                        offset,
                        present: rest.len(),
                        needed,
                    },
                );
            }
            (None, _) => {
                return (
                    frames,
                    Tail::TooLong {
                        offset,
                        len: claimed,
                    },
                );
            }
        }
    }
    (frames, Tail::Clean)
}

/// Length and hash of the payload at the start of `body`, when its own structure and its check agree on them.
fn self_evident(body: &[u8]) -> Option<(usize, EntryHash)> {
    let len = item_len(body)?;
    let check = body.get(len..len.checked_add(CHECK_LEN)?)?;
    let hash = frame_hash(&body[..len]);
    (*check == hash.as_bytes()[..CHECK_LEN]).then_some((len, hash))
}

//! The frames in one file, whatever else is in it.
//!
//! A frame verifies by itself, so damage costs only the frames it hits. Behind a place that is no frame, reading goes on
//! where the frame's length leads, if a frame begins there, and otherwise at the next place where the vault's id stands as
//! it does in a seal that its author signed.
//!
//! A tail ends in room, which is zeros. Between its last frame and the room there may be what was never acknowledged: what
//! is no frame, or one whose box is not the sealed one. It is cut off by the next writer, but only if no frame lies behind
//! its beginning: one whose length was damaged must not take acknowledged frames with it.

use std::io;
use std::path::Path;

use tally_vault_format::{
    BlobEntry, FrameError, FrameRef, NamespaceId, Rebox, SEGMENT_HEADER, Seal, SealError, SealId,
    VaultId, limits,
};

use crate::fs::{Fs, Input, read_full};

/// How much is read at once, in bytes.
const WINDOW_LEN: usize = 1 << 20;

/// How many signatures are checked in one file while looking for frames behind damage. A file that holds more places
/// that look like a seal and are none was made to cost time.
const RESYNC_MAX: usize = 4_096;

/// A frame that was found.
pub(crate) struct Found {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// Its bytes, header included.
    pub(crate) len: u32,
    pub(crate) seal: Seal,
    pub(crate) id: SealId,
    pub(crate) rebox: Option<Rebox>,
    pub(crate) boxed: Boxed,
    /// What its box refers to.
    pub(crate) blobs: Vec<BlobEntry>,
    /// The whole frame, kept for control: it is read next, and is small.
    pub(crate) control: Option<Vec<u8>>,
}

/// What is known about a frame's box without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boxed {
    /// It has the hash that was signed.
    Good,
    /// It has not.
    Altered,
    /// The frame has none.
    Absent,
}

/// Something in a file that is not a frame of this vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) offset: u64,
    pub(crate) kind: FlawKind,
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlawKind {
    /// The file does not begin like one of frames.
    Header,
    /// Not a frame.
    Damaged,
    /// A frame of another vault.
    Foreign,
    /// Never acknowledged: between the last frame of a tail and its room.
    Cut,
    /// A frame whose box is not the sealed one.
    BoxAltered,
    /// The file system did not give the bytes.
    Unreadable,
}

/// What is in a file.
pub(crate) struct Scanned {
    pub(crate) frames: Vec<Found>,
    pub(crate) flaws: Vec<Flaw>,
    /// Where the next frame would go: behind the last byte that belongs to the file, and before the room of a tail.
    pub(crate) good_len: u64,
    /// How long the file was.
    pub(crate) len: u64,
}

/// A part of a file in memory.
struct Window<'f> {
    file: &'f dyn Input,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// At most `wanted` bytes from `offset`: fewer only at the end of the file.
    fn get(&mut self, offset: u64, wanted: usize) -> io::Result<&[u8]> {
        let wanted = usize::try_from(self.len.saturating_sub(offset))
            .map_or(wanted, |left| wanted.min(left));
        let end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + wanted as u64 > end {
            let room = usize::try_from(self.len - offset.min(self.len))
                .map_or(WINDOW_LEN, |left| WINDOW_LEN.min(left));
            self.bytes.resize(room.max(wanted), 0);
            let filled = read_full(self.file, &mut self.bytes, offset)?;
            self.bytes.truncate(filled);
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).expect("inside the window");
        let to = (from + wanted).min(self.bytes.len());
        Ok(&self.bytes[from.min(to)..to])
    }
}

/// Reads all frames of a file from `from` on, which is 0 or where an earlier scan ended. `is_tail`: what is incomplete at
/// the end was never acknowledged.
///
/// # Errors
/// What the file system says. Whatever the bytes are is no error.
pub(crate) fn scan(
    fs: &dyn Fs,
    path: &Path,
    vault: &VaultId,
    is_tail: bool,
    from: u64,
) -> io::Result<Scanned> {
    let file = fs.open(path)?;
    let len = file.len()?;
    let mut window = Window {
        file: &*file,
        len,
        start: 0,
        bytes: Vec::new(),
    };
    let mut scanned = Scanned {
        frames: Vec::new(),
        flaws: Vec::new(),
        good_len: from,
        len,
    };
    let mut resyncs = 0;
    let mut offset = from;
    if from == 0 {
        let header = window.get(0, SEGMENT_HEADER.len())?;
        if header != SEGMENT_HEADER {
            // The first sector of the first write did not reach the disk, or only a part of it was written.
            let torn = SEGMENT_HEADER.starts_with(header) || header.iter().all(|byte| *byte == 0);
            let cut = is_tail && torn && resync(&mut window, vault, 0, &mut resyncs)?.is_none();
            let kind = if cut { FlawKind::Cut } else { FlawKind::Header };
            scanned.flaws.push(Flaw {
                offset: 0,
                kind,
                detail: format!("{len} bytes"),
            });
            if !cut {
                scanned.good_len = len;
            }
            return Ok(scanned);
        }
        offset = SEGMENT_HEADER.len() as u64;
        scanned.good_len = offset;
    }
    while offset < len {
        if is_tail && is_zero(&mut window, offset)? {
            break;
        }
        let read = read_frame(&mut window, vault, offset)?;
        match read {
            Read::Frame(found) => {
                let end = offset + u64::from(found.len);
                if is_tail && found.boxed == Boxed::Altered && is_zero(&mut window, end)? {
                    // The pages of an unacknowledged write reach the disk in any order.
                    scanned.flaws.push(Flaw {
                        offset,
                        kind: FlawKind::Cut,
                        detail: format!("at byte {offset} of {len}: the box is not the sealed one"),
                    });
                    return Ok(scanned);
                }
                scanned.frames.push(*found);
                offset = end;
                scanned.good_len = end;
            }
            Read::Foreign(other, end) => {
                scanned.flaws.push(Flaw {
                    offset,
                    kind: FlawKind::Foreign,
                    detail: format!("at byte {offset}: of vault {other}"),
                });
                offset = end;
                scanned.good_len = end;
            }
            Read::Bad { error, leads_to } => {
                let next = match leads_to {
                    // Its length leads to a frame, or to the end of the file.
                    Some(next) if next < len && is_frame(&mut window, vault, next)? => Some(next),
                    _ => resync(&mut window, vault, offset + 1, &mut resyncs)?,
                };
                match next {
                    Some(next) => {
                        scanned.flaws.push(Flaw {
                            offset,
                            kind: FlawKind::Damaged,
                            detail: format!("bytes {offset} to {next}: {error}"),
                        });
                        offset = next;
                    }
                    None if is_tail && resyncs < RESYNC_MAX => {
                        scanned.flaws.push(Flaw {
                            offset,
                            kind: FlawKind::Cut,
                            detail: format!("at byte {offset} of {len}: {error}"),
                        });
                        return Ok(scanned);
                    }
                    None => {
                        scanned.flaws.push(Flaw {
                            offset,
                            kind: FlawKind::Damaged,
                            detail: format!("bytes {offset} to {len}: {error}"),
                        });
                        scanned.good_len = len;
                        return Ok(scanned);
                    }
                }
            }
        }
    }
    Ok(scanned)
}

enum Read {
    Frame(Box<Found>),
    /// Of another vault, and where it ends.
    Foreign(VaultId, u64),
    Bad {
        error: FrameError,
        /// Where its length leads, if it has a plausible one.
        leads_to: Option<u64>,
    },
}

fn read_frame(window: &mut Window<'_>, vault: &VaultId, offset: u64) -> io::Result<Read> {
    let prefix = window.get(offset, FrameRef::PREFIX_LEN)?;
    let announced = match FrameRef::announced_len(prefix) {
        Ok(Some(announced)) => announced,
        Ok(None) => {
            return Ok(Read::Bad {
                error: FrameError::Truncated,
                leads_to: None,
            });
        }
        Err(error) => {
            return Ok(Read::Bad {
                error,
                leads_to: None,
            });
        }
    };
    let end = offset + announced as u64;
    let bytes = window.get(offset, announced)?;
    if bytes.len() < announced {
        return Ok(Read::Bad {
            error: FrameError::Truncated,
            leads_to: None,
        });
    }
    match FrameRef::parse(vault, bytes) {
        Ok(frame) => Ok(Read::Frame(Box::new(found(&frame, offset)))),
        Err(FrameError::Seal(SealError::ForeignVault(other))) => Ok(Read::Foreign(other, end)),
        Err(error) => Ok(Read::Bad {
            error,
            leads_to: Some(end),
        }),
    }
}

fn found(frame: &FrameRef<'_>, offset: u64) -> Found {
    let boxed = match frame.sealed_box() {
        None => Boxed::Absent,
        Some(_) if frame.check_box().is_ok() => Boxed::Good,
        Some(_) => Boxed::Altered,
    };
    let keep = frame.seal().namespace == NamespaceId::CONTROL && boxed == Boxed::Good;
    Found {
        offset,
        len: u32::try_from(frame.encoded().len()).expect("a frame is bounded"),
        seal: *frame.seal(),
        id: frame.seal_id(),
        rebox: frame.rebox().copied(),
        boxed,
        blobs: match frame.box_ref() {
            Some(parsed) if boxed == Boxed::Good => parsed.blobs().collect(),
            _ => Vec::new(),
        },
        control: keep.then(|| frame.encoded().to_vec()),
    }
}

/// The frame that these bytes are, which lie at `offset` of some file; none if they are not one of this vault.
pub(crate) fn read_frame_at(vault: &VaultId, bytes: &[u8], offset: u64) -> Option<Found> {
    FrameRef::parse(vault, bytes)
        .ok()
        .map(|frame| found(&frame, offset))
}

/// Whether a frame of this vault, well-formed and signed, begins here.
fn is_frame(window: &mut Window<'_>, vault: &VaultId, offset: u64) -> io::Result<bool> {
    Ok(match read_frame(window, vault, offset)? {
        Read::Frame(found) => found.boxed != Boxed::Altered && found.seal.verify().is_ok(),
        Read::Foreign(..) | Read::Bad { .. } => false,
    })
}

/// The next place from `from` on where a frame of this vault begins that its author signed.
fn resync(
    window: &mut Window<'_>,
    vault: &VaultId,
    from: u64,
    tries: &mut usize,
) -> io::Result<Option<u64>> {
    // Where the vault's id would stand, were there a frame at `from`.
    let prefix = FrameRef::PREFIX_LEN as u64;
    let mut at = from + prefix;
    let id = vault.as_bytes();
    let step = limits::CHUNK_LEN;
    while at + id.len() as u64 <= window.len {
        let bytes = window.get(at, step + id.len())?;
        let Some(found) = bytes.windows(id.len()).position(|part| part == id) else {
            at += step as u64;
            continue;
        };
        let candidate = at + found as u64 - prefix;
        if *tries == RESYNC_MAX {
            return Ok(None);
        }
        *tries += 1;
        if is_frame(window, vault, candidate)? {
            return Ok(Some(candidate));
        }
        at = candidate + prefix + 1;
    }
    Ok(None)
}

/// Whether there are only zeros from here to the end.
fn is_zero(window: &mut Window<'_>, from: u64) -> io::Result<bool> {
    // Nearly always this is a frame, which begins with another byte.
    if window.get(from, 1)?.first().is_some_and(|byte| *byte != 0) {
        return Ok(false);
    }
    let mut at = from;
    while at < window.len {
        let bytes = window.get(at, WINDOW_LEN)?;
        if bytes.is_empty() {
            break;
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += bytes.len() as u64;
    }
    Ok(true)
}

//! The file an author appends to: one write and one sync, then the frame is acknowledged.
//!
//! * Behind the frames there is room: zeros that were written ahead. An append into the room changes neither the length
//!   nor the blocks of the file, so that its sync is one write to the disk and none to the file system's journal. Where the
//!   room is too short, the frames are written with new room behind them, by the same one write and sync.
//! * A frame that is half written is cut off again, and was never acknowledged. When even that fails nothing more is
//!   written until the vault is opened anew.
//! * After a failed sync nothing is known about the last bytes, so the tail is given up as well, cut or not.
//! * A tail that is long enough becomes a segment: copied to `tmp/`, synced, renamed, the folder synced, and only then the
//!   tail is removed. The copy is made of fresh writes, so it does not rest on what an earlier sync may have lost.
//!
//! * Before each append the file's name is looked at. A sync tool that took the file away would otherwise take with it what is
//!   acknowledged next.
//!
//! Crash argument. Before the sync returns, the frame is absent, cut, or whole: whole is fine, since its author finds it
//! and continues behind it. Between rename and removal the frames are in two files, which is the same set. A removal that
//! a crash undoes is met by syncing the folder when the next tail is made, before its first frame is acknowledged.

use std::io;
use std::path::PathBuf;

use tally_vault_format::{MemberId, SEGMENT_HEADER};

use crate::durable::Draft;
use crate::environment::Environment;
use crate::fs::{self, Output};
use crate::layout::{self, Layout, SEGMENT_LEN, SEGMENTS, TAILS, TEMPORARY};

/// A tail that was made long by one large batch is still copied in one piece.
const TAIL_LEN_MAX: u64 = 1 << 30;

/// Room is made in steps of half of what the tail has, between these: little for small vaults, few for large ones.
const ROOM_STEP_LEAST: u64 = 16 << 10;
const ROOM_STEP_MOST: u64 = 1 << 20;

/// The end of one author's frames.
pub(crate) struct Tail {
    path: PathBuf,
    output: Box<dyn Output>,
    /// Where the last frame ends.
    len: u64,
    /// Where the file ends: between the two are zeros that are on the disk.
    room_end: u64,
    /// Nothing is known about the end of the file any more.
    lost: bool,
}

/// Where a batch came to lie.
pub(crate) struct Placed {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
}

/// Why a batch was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TailError {
    #[error("the end of the file is unknown after a failure")]
    Lost,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Tail {
    /// Continues the tail that is there. Behind `good_len` is room if `is_room`, and else what was never acknowledged, which
    /// is cut off.
    pub(crate) fn resume(
        environment: &Environment,
        layout: &Layout,
        author: &MemberId,
        good_len: u64,
        is_room: bool,
    ) -> io::Result<Self> {
        let path = layout.tail(author);
        let mut room_end = environment.fs.open(&path)?.len()?;
        let mut output = environment.fs.append(&path)?;
        if room_end > good_len && !is_room {
            output.truncate(good_len)?;
            output.sync()?;
            room_end = good_len;
        }
        Ok(Self {
            path,
            output,
            len: good_len,
            room_end,
            lost: false,
        })
    }

    /// Begins a tail with its first frames. Returns when they, and the name of the file, are on the disk.
    pub(crate) fn begin(
        environment: &Environment,
        layout: &Layout,
        author: &MemberId,
        frames: &[u8],
    ) -> Result<(Self, Placed), TailError> {
        let path = layout.tail(author);
        let mut output = environment.fs.create(&path)?;
        let mut bytes = [SEGMENT_HEADER, frames].concat();
        let len = bytes.len() as u64;
        add_room(&mut bytes, 0);
        let begun = output
            .write_at(&bytes, 0)
            .and_then(|()| output.sync())
            .and_then(|()| environment.fs.sync_dir(&layout.folder(TAILS)));
        if let Err(error) = begun {
            // Whether the name is on the disk is unknown; the next writer finds a tail that is cut, whole or absent.
            drop(output);
            return match environment.fs.remove(&path) {
                Ok(()) => Err(TailError::Io(error)),
                Err(_) => Err(TailError::Lost),
            };
        }
        let offset = SEGMENT_HEADER.len() as u64;
        let tail = Self {
            path: path.clone(),
            output,
            len,
            room_end: bytes.len() as u64,
            lost: false,
        };
        Ok((tail, Placed { path, offset }))
    }

    /// Appends frames. Returns when they are on the disk.
    pub(crate) fn append(&mut self, frames: &[u8]) -> Result<Placed, TailError> {
        if self.lost {
            return Err(TailError::Lost);
        }
        let offset = self.len;
        let end = offset + frames.len() as u64;
        let written = if end <= self.room_end {
            self.output.write_at(frames, offset)
        } else {
            let mut bytes = frames.to_vec();
            add_room(&mut bytes, offset);
            let written = self.output.write_at(&bytes, offset);
            if written.is_ok() {
                self.room_end = offset + bytes.len() as u64;
            }
            written
        };
        if let Err(error) = written {
            self.lost = self
                .output
                .truncate(offset)
                .and_then(|()| self.output.sync())
                .is_err();
            self.room_end = offset;
            return Err(error.into());
        }
        if let Err(error) = self.output.sync() {
            self.lost = true;
            // If this succeeds the frame is gone; if not, it may show up, unacknowledged, when the vault is opened.
            let _ = self
                .output
                .truncate(offset)
                .and_then(|()| self.output.sync());
            return Err(error.into());
        }
        self.len = end;
        Ok(Placed {
            path: self.path.clone(),
            offset,
        })
    }

    /// Whether it is long enough to be closed.
    pub(crate) const fn is_full(&self) -> bool {
        self.len >= SEGMENT_LEN && !self.lost
    }

    /// Whether the file is still where it was. A sync tool may have moved it away or put another in its place; what was
    /// acknowledged before is then up to that tool, and nothing more is written into a file that has no name.
    pub(crate) fn is_in_place(&self) -> bool {
        self.output.is_at(&self.path).unwrap_or(false)
    }

    /// Whether nothing is known about its end any more.
    pub(crate) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Makes a segment of it and removes it. Returns the segment's path; frames lie at the same offsets.
    ///
    /// On failure the tail is still there and whole.
    pub(crate) fn close(&self, environment: &Environment, layout: &Layout) -> io::Result<PathBuf> {
        close(environment, layout, &self.path, self.len)
    }
}

/// Puts room behind frames that will lie at `offset`.
fn add_room(bytes: &mut Vec<u8>, offset: u64) {
    let end = offset + bytes.len() as u64;
    let step = (end / 2)
        .next_power_of_two()
        .clamp(ROOM_STEP_LEAST, ROOM_STEP_MOST);
    // No more than what a tail is closed at; a batch that reaches beyond is the last.
    let room_end = end.next_multiple_of(step).min(SEGMENT_LEN).max(end);
    let room = usize::try_from(room_end - end).expect("at most a step");
    bytes.resize(bytes.len() + room, 0);
}

/// Makes a segment of a tail's first `len` bytes.
pub(crate) fn close(
    environment: &Environment,
    layout: &Layout,
    tail: &std::path::Path,
    len: u64,
) -> io::Result<PathBuf> {
    let mut bytes = fs::read(&*environment.fs, tail, TAIL_LEN_MAX)?;
    bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
    let name = layout::segment_name(&blake3::hash(&bytes));
    let path = layout.folder(SEGMENTS).join(name);
    let mut draft = Draft::begin(environment, &layout.folder(TEMPORARY))?;
    if let Err(error) = draft.write(&bytes) {
        draft.abandon(environment);
        return Err(error);
    }
    draft.place(environment, &path)?;
    environment.fs.sync_dir(&layout.folder(SEGMENTS))?;
    environment.fs.remove(tail)?;
    Ok(path)
}

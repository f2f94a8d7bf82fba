//! What a runner has yet to settle: receipts, on its disk before its answer is shown.
//!
//! ```text
//! DIR/receipts     frames (`frames`), each a record: 1 (by hash) or 2 (in full) || the receipt's envelope
//! DIR/settled      frames, each: how many records from the start are settled, u64
//! DIR/lock         held by whoever settles
//! ```
//!
//! Invariants: [`Outbox::append`] returns once the receipt is durable. A record is never altered or removed while another
//! one may be appended; `settled` only grows. Several processes may append at once: each frame is one write at the end, under
//! a lock of the file.
//!
//! Out of scope: sending them, which is [`settle`](crate::settle)'s.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::frames::{HEAD, put, whole};

/// How much of a receipt goes into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Its digest.
    Hash = 1,
    /// All of it, so that everybody sees it and every validator checks its signatures.
    Full = 2,
}

/// A receipt that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// How it is to be settled.
    pub form: Form,
    /// The receipt's envelope.
    pub receipt: Vec<u8>,
}

/// A runner's outbox.
#[derive(Clone, Debug)]
pub struct Outbox(PathBuf);

/// Holds the right to settle.
#[derive(Debug)]
pub struct Settling(#[expect(dead_code, reason = "holds the lock until it is dropped")] File);

impl Outbox {
    /// Opens an outbox, made if there is none.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        Ok(Self(dir.to_owned()))
    }

    /// Makes receipts durable, in order.
    pub fn append(&self, records: &[Record]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            let payload = [&[record.form as u8], record.receipt.as_slice()].concat();
            put(&payload, &mut bytes);
        }
        self.write("receipts", &bytes)
    }

    /// The receipts that are not settled, oldest first: at most `limit`. Also where the first stands.
    pub fn open_records(&self, limit: usize) -> io::Result<(u64, Vec<Record>)> {
        let settled = self.settled()?;
        let mut open = Vec::new();
        let mut count = 0;
        each_frame(&self.0.join("receipts"), |payload| {
            let form = match payload[0] {
                1 => Form::Hash,
                2 => Form::Full,
                _ => return,
            };
            if count >= settled && open.len() < limit {
                open.push(Record {
                    form,
                    receipt: payload[1..].to_vec(),
                });
            }
            count += 1;
        })?;
        Ok((settled, open))
    }

    /// How many receipts are not settled.
    pub fn waiting(&self) -> io::Result<u64> {
        let mut count = 0u64;
        each_frame(&self.0.join("receipts"), |payload| {
            count += u64::from(matches!(payload[0], 1 | 2));
        })?;
        Ok(count.saturating_sub(self.settled()?))
    }

    /// Puts down that the first `count` receipts are settled.
    pub fn set_settled(&self, count: u64) -> io::Result<()> {
        let mut bytes = Vec::new();
        put(&count.to_be_bytes(), &mut bytes);
        self.write("settled", &bytes)
    }

    fn settled(&self) -> io::Result<u64> {
        let mut settled = 0;
        each_frame(&self.0.join("settled"), |payload| {
            if let Ok(count) = payload.try_into() {
                settled = settled.max(u64::from_be_bytes(count));
            }
        })?;
        Ok(settled)
    }

    /// Takes the right to settle; none while another process has it.
    pub fn settle(&self) -> io::Result<Option<Settling>> {
        let file = self.file("lock")?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Settling(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.0.join(name))
    }

    /// Appends whole frames, after those that are whole already: what a crash left half is written over.
    fn write(&self, name: &str, frames: &[u8]) -> io::Result<()> {
        let new = !self.0.join(name).exists();
        let mut file = self.file(name)?;
        file.lock()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let end = whole_bytes(&bytes);
        if end < bytes.len() {
            file.set_len(end as u64)?;
        }
        file.seek(SeekFrom::Start(end as u64))?;
        file.write_all(frames)?;
        file.sync_all()?;
        if new {
            File::open(&self.0)?.sync_all()?;
        }
        Ok(())
    }
}

/// How many bytes from the start are whole frames.
fn whole_bytes(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(payload) = whole(&bytes[end..]) {
        end += HEAD + payload.len();
    }
    end
}

fn each_frame(path: &Path, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut at = 0;
    while let Some(payload) = whole(&bytes[at..]) {
        each(payload);
        at += HEAD + payload.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u8) -> Record {
        Record {
            form: if n.is_multiple_of(2) {
                Form::Hash
            } else {
                Form::Full
            },
            receipt: vec![n; 10],
        }
    }

    #[test]
    fn what_is_appended_waits_until_it_is_settled() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(0), record(1)]).unwrap();
        outbox.append(&[record(2)]).unwrap();
        assert_eq!(outbox.waiting().unwrap(), 3);
        outbox.set_settled(2).unwrap();
        let outbox = Outbox::open(dir.path()).unwrap();
        assert_eq!(outbox.open_records(9).unwrap(), (2, vec![record(2)]));
        outbox.set_settled(3).unwrap();
        assert_eq!(outbox.waiting().unwrap(), 0);
    }

    #[test]
    fn half_a_frame_at_the_end_is_written_over() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(0), record(1)]).unwrap();
        let path = dir.path().join("receipts");
        let length = fs::metadata(&path).unwrap().len();
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(length - 3)
            .unwrap();
        assert_eq!(outbox.waiting().unwrap(), 1);
        outbox.append(&[record(2)]).unwrap();
        let (_, open) = outbox.open_records(9).unwrap();
        assert_eq!(open, vec![record(0), record(2)]);
    }

    #[test]
    fn one_at_a_time_settles() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        let first = outbox.settle().unwrap();
        assert!(first.is_some());
        assert!(outbox.settle().unwrap().is_none());
        drop(first);
        assert!(outbox.settle().unwrap().is_some());
    }
}

//! A journal in a file of its own.
//!
//! * The file is made new, for its owner only (mode 0600); one that is already there is never touched.
//! * An exclusive advisory lock is held for as long as the sink lives, so a second run on the same path is told so.
//! * Frames gather in a buffer of [`BUFFER_LEN`] bytes. `flush` hands them to the operating system, `sync` to the disk;
//!   the directory's entry is durable before the first frame is.
//! * When the disk is full, what was durable stays, and the file ends inside a frame at worst: `Journal::recover` reads
//!   it up to there.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::sink::Sink;

/// How much is gathered before the operating system is asked, in bytes.
pub const BUFFER_LEN: usize = 64 << 10;

/// Why a journal file could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// Another run is writing it.
    #[error("the journal {} is being written by another run: wait for it or name another file", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A journal is never overwritten.
    #[error("{} is already there and a journal is never overwritten: name another file or remove it", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The disk has no room.
    #[error("no room on the disk for the journal {}: free some and run again", .path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Anything else, such as a missing folder or a missing permission.
    #[error("make the journal {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A new, locked journal file.
#[derive(Debug)]
pub struct FileSink {
    file: File,
    buffer: Vec<u8>,
    path: PathBuf,
}

impl FileSink {
    /// Makes the file at `path`.
    ///
    /// # Errors
    /// [`CreateError`], without having touched a file that was there before.
    pub fn create(path: &Path) -> Result<Self, CreateError> {
        let owned = || path.to_owned();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = match options.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(if is_locked(path) {
                    CreateError::InUse { path: owned() }
                } else {
                    CreateError::Exists { path: owned() }
                });
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                return Err(CreateError::DiskFull { path: owned() });
            }
            Err(source) => {
                return Err(CreateError::Io {
                    path: owned(),
                    source,
                });
            }
        };
        lock(&file).map_err(|error| match error {
            TryLockError::WouldBlock => CreateError::InUse { path: owned() },
            TryLockError::Error(source) => CreateError::Io {
                path: owned(),
                source,
            },
        })?;
        sync_directory(path).map_err(|source| CreateError::Io {
            path: owned(),
            source,
        })?;
        Ok(Self {
            file,
            buffer: Vec::with_capacity(BUFFER_LEN),
            path: owned(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Sink for FileSink {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_LEN {
            self.flush()?;
            if bytes.len() > BUFFER_LEN {
                return self.file.write_all(bytes);
            }
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        // After a failed write nobody knows how much of the buffer arrived, and the writer takes no more entries:
        // writing it again when the sink is dropped would only put the same frames there twice.
        self.buffer.clear();
        written
    }

    fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync_data()
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        // A run that ends by an error still leaves what it wrote. Nobody is left to be told that this failed.
        let _ = self.flush();
    }
}

/// Whether another open file holds the lock.
fn is_locked(path: &Path) -> bool {
    File::open(path)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Takes the lock of a file that was just made. Only somebody looking whether it is locked can hold it, for a moment.
fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..50 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
            done => return done,
        }
    }
    file.try_lock()
}

/// Makes the directory's entry for `path` durable.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

/// Directories cannot be opened as files here; the file system orders the entry itself.
#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::writer::{WriteError, Writer};
    use tally_receipt::{Digest, RunId};

    /// Every write to /dev/full fails as on a full disk.
    #[test]
    fn a_full_disk_is_told_apart_from_other_faults() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let sink = FileSink {
            file,
            buffer: Vec::new(),
            path: "/dev/full".into(),
        };
        let digest = Digest::from_bytes([0; 32]);
        let at = crate::Timestamp::new(0, 0).unwrap();
        let terms = crate::Terms {
            component: digest,
            world: "w".to_owned(),
            engine: crate::EngineFingerprint {
                name: "e".to_owned(),
                version: "1".to_owned(),
                config: digest,
            },
            manifest: digest,
            grant: b"{}".to_vec(),
            limits: vec![],
            settings: vec![],
            tools: vec![],
            functions: vec![],
        };
        let genesis = crate::Genesis {
            terms: std::sync::Arc::new(crate::SettledTerms::new(terms).unwrap()),
            run_id: RunId::from_bytes([0; 16]),
            input: b"\xf6".to_vec(),
            models: vec![],
            wasi_seed: [0; 32],
            clock_base: at,
            started: at,
            branch_of: None,
        };
        let mut writer = Writer::create(sink, &genesis).unwrap();
        let error = writer.flush().unwrap_err();
        assert!(matches!(error, WriteError::DiskFull { .. }), "{error}");
        assert!(matches!(writer.flush(), Err(WriteError::Closed)));
    }
}

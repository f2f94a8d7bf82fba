//! What a vault needs of a file system, and the real one.
//!
//! Every durable step of the store goes through [`Fs`], so a test can fail or cut each of them in turn.
//!
//! * A vault's folder may come from a stranger. Links are never followed, and only regular files are opened: a link named
//!   like a tail would otherwise be a way to write anywhere.
//! * [`Output::sync`] returns after the bytes and the length are on the disk; [`Fs::sync_dir`] after the names are.
//! * Files are made for their owner only.
//!
//! Out of scope: which files there are (`layout`), and in which order they are written (`durable`, `tail`).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// What a name in a folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a pipe, a device: nothing that a vault makes.
    Other,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, without its folder. Bytes that are not UTF-8 are replaced: such a name is none of a vault's.
    pub name: String,
    /// What it stands for.
    pub kind: EntryKind,
    /// Length in bytes; 0 unless it is a file.
    pub len: u64,
}

/// A file open for reading.
pub trait Input: Send + Sync {
    /// Its length now, in bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn len(&self) -> io::Result<u64>;

    /// Reads at most `buffer.len()` bytes from `offset`; 0 is the end.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Whether there is nothing in it.
    ///
    /// # Errors
    /// What the file system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A file open for writing.
pub trait Output: Send {
    /// Writes all of `bytes` behind what is there.
    ///
    /// # Errors
    /// What the file system says; then some of the bytes may have been written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, which is not behind the end, over what is there and beyond.
    ///
    /// # Errors
    /// What the file system says; then some of the bytes may have been written.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns once everything written is on the disk.
    ///
    /// # Errors
    /// What the file system says; then nothing is known about what was written since the last success.
    fn sync(&mut self) -> io::Result<()>;

    /// Whether `path` still leads to this file: a sync tool may have put another in its place, or none.
    ///
    /// # Errors
    /// What the file system says.
    fn is_at(&self, path: &Path) -> io::Result<bool>;

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("held by another process")]
    Held,
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A lock, held until it is dropped.
pub trait Lock: Send {}

/// A file system.
pub trait Fs: Send + Sync {
    /// Makes a folder in one that is there. One that exists already is fine.
    ///
    /// # Errors
    /// What the file system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// What the file system says; a folder that is not there is `NotFound`.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// What the file system says; a link or a special file is `InvalidInput`.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Input>>;

    /// Makes a file that is not there.
    ///
    /// # Errors
    /// What the file system says; one that is there is `AlreadyExists`.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>>;

    /// Opens a regular file that is there, to write to it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    fn append(&self, path: &Path) -> io::Result<Box<dyn Output>>;

    /// Gives a file another name in one step, replacing what had that name.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file or a link.
    ///
    /// # Errors
    /// What the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns once the names in a folder are on the disk.
    ///
    /// # Errors
    /// What the file system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the lock that a file stands for, making the file if need be; never waits.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process has it.
    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError>;
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// What the file system says; a longer file is `FileTooLarge`.
pub fn read(fs: &dyn Fs, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = fs.open(path)?;
    let len = file.len()?;
    if len > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let filled = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(filled);
    Ok(bytes)
}

/// Reads until `buffer` is full or the file ends, and says how much that was.
///
/// # Errors
/// What the file system says.
pub fn read_full(file: &dyn Input, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The file system of this computer.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

struct RealInput(File);
struct RealOutput(File);

/// The lock goes with the descriptor, so a killed process leaves none behind.
struct RealLock(#[expect(dead_code, reason = "held, never read")] File);

impl Lock for RealLock {}

impl Input for RealInput {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset)
    }
}

impl Output for RealOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The end, wherever it is: files are cut, and written at other places, between two calls.
        self.0.seek(SeekFrom::End(0))?;
        self.0.write_all(bytes)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        // The length is written too: data that cannot be reached without it counts as data.
        self.0.sync_data()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let own = self.0.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

/// Opens without following a link and without waiting for the other end of a pipe, and lets only regular files through.
fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags =
        rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    options.mode(0o600).custom_flags(flags.bits().cast_signed());
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    Ok(file)
}

impl Fs for RealFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists
                    && fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // A file that a sync tool moves away between the two calls is simply not there.
            let found = match entry.metadata() {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let (kind, len) = if found.is_file() {
                (EntryKind::File, found.len())
            } else if found.is_dir() {
                (EntryKind::Folder, 0)
            } else {
                (EntryKind::Other, 0)
            };
            entries.push(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                kind,
                len,
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Input>> {
        Ok(Box::new(RealInput(open_regular(
            path,
            OpenOptions::new().read(true),
        )?)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        Ok(Box::new(RealOutput(open_regular(
            path,
            OpenOptions::new().write(true).create_new(true),
        )?)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        Ok(Box::new(RealOutput(open_regular(
            path,
            OpenOptions::new().write(true),
        )?)))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the store has its own rules (`durable`), on any disk"
    )]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        let file = open_regular(
            path,
            OpenOptions::new().write(true).create(true).truncate(false),
        )?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock(file))),
            Err(TryLockError::WouldBlock) => Err(LockError::Held),
            Err(TryLockError::Error(error)) => Err(LockError::Io(error)),
        }
    }
}

//! Weights: hashed before they are loaded, and what is loaded is what was hashed.
//!
//! Two ways to hold a file so that nobody changes it between the hash and the use:
//!
//! - [`WeightsHold::Sealed`]: the bytes are copied into an anonymous memory file while they are hashed, and the file is
//!   sealed against every change. llama.cpp maps that same memory. For files up to a limit, since it costs memory that
//!   the page cache would otherwise share.
//! - [`WeightsHold::Rechecked`]: one file descriptor is hashed and then handed to the worker, which maps the same inode
//!   through `/proc/self/fd`. Size, modification time and change time are taken before the hash and compared
//!   after loading and again before every receipt. This does not stop somebody who writes to the file and can set its
//!   change time back (root on this machine); the receipt says which hold was used.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags};

use crate::error::ModelFault;
use crate::gguf::{self, GgufHeader};

/// BLAKE3 of a model file, all of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightsDigest([u8; 32]);

impl WeightsDigest {
    /// The digest with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest written as 64 lower-case hex digits, if it is.
    fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl std::fmt::Display for WeightsDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for WeightsDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WeightsDigest({self})")
    }
}

impl serde::Serialize for WeightsDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for WeightsDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text)
            .ok_or_else(|| serde::de::Error::custom("expected 64 lower-case hex digits"))
    }
}

/// How weights are kept from changing between the hash and the use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightsHold {
    /// In sealed anonymous memory.
    Sealed,
    /// In the file, which is rechecked.
    Rechecked,
}

impl WeightsHold {
    /// The word used in receipts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed-memory",
            Self::Rechecked => "same-file-rechecked",
        }
    }
}

/// Hashed weights and the descriptor a worker loads them from.
#[derive(Debug)]
pub(crate) struct Weights {
    file: File,
    hold: WeightsHold,
    digest: WeightsDigest,
    header: GgufHeader,
    /// Of the file when it is [`WeightsHold::Rechecked`].
    stamp: Option<Stamp>,
}

/// What changes when a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Weights {
    /// Opens, parses and hashes the file at `path`; files of at most `seal_limit_bytes` are sealed in memory.
    ///
    /// Blocks for as long as reading the file takes.
    pub(crate) fn open(
        path: &Path,
        expected: WeightsDigest,
        seal_limit_bytes: u64,
    ) -> Result<Self, ModelFault> {
        let unreadable = |error: io::Error| ModelFault::Unreadable(error.to_string());
        let mut file = File::open(path).map_err(unreadable)?;
        let before = stamp(file.as_fd()).map_err(unreadable)?;
        let header = gguf::parse(&mut io::BufReader::new(&file), before.bytes)?;
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;

        let (file, digest, hold) = if before.bytes <= seal_limit_bytes {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let memory = rustix::fs::memfd_create("tally-weights", flags)
                .map_err(|error| unreadable(error.into()))?;
            let mut memory = File::from(memory);
            let digest =
                copy_hashed(&mut file, Some(&mut memory), &mut |_| {}).map_err(|error| {
                    if error.kind() == io::ErrorKind::OutOfMemory
                        || error.kind() == io::ErrorKind::StorageFull
                    {
                        ModelFault::OutOfMemory
                    } else {
                        unreadable(error)
                    }
                })?;
            let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
            rustix::fs::fcntl_add_seals(&memory, seals)
                .map_err(|error| unreadable(error.into()))?;
            (memory, digest, WeightsHold::Sealed)
        } else {
            let digest = copy_hashed(&mut file, None, &mut |_| {}).map_err(unreadable)?;
            (file, digest, WeightsHold::Rechecked)
        };
        if digest != expected {
            return Err(ModelFault::Altered {
                expected,
                found: digest,
            });
        }
        let weights = Self {
            file,
            hold,
            digest,
            header,
            stamp: (hold == WeightsHold::Rechecked).then_some(before),
        };
        weights.recheck()?;
        Ok(weights)
    }

    /// Fails when the file was written since it was hashed. Cheap: one system call, none for sealed memory.
    pub(crate) fn recheck(&self) -> Result<(), ModelFault> {
        let Some(before) = self.stamp else {
            return Ok(());
        };
        match stamp(self.file.as_fd()) {
            Ok(now) if now == before => Ok(()),
            Ok(_) => Err(ModelFault::ChangedInUse),
            Err(error) => Err(ModelFault::Unreadable(error.to_string())),
        }
    }

    /// A descriptor of the same bytes, for a worker to inherit.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    pub(crate) fn hold(&self) -> WeightsHold {
        self.hold
    }

    pub(crate) fn digest(&self) -> WeightsDigest {
        self.digest
    }

    pub(crate) fn header(&self) -> &GgufHeader {
        &self.header
    }
}

fn stamp(file: BorrowedFd<'_>) -> io::Result<Stamp> {
    let stat = rustix::fs::fstat(file)?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(Stamp {
        bytes: u64::try_from(stat.st_size).unwrap_or(0),
        modified: (
            stat.st_mtime,
            i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
        changed: (
            stat.st_ctime,
            i64::try_from(stat.st_ctime_nsec).unwrap_or(0),
        ),
    })
}

/// Hashes all of `from`, writing what was hashed to `into`. `progress` gets the bytes done so far.
pub(crate) fn copy_hashed(
    from: &mut File,
    mut into: Option<&mut File>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<WeightsDigest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        if let Some(into) = into.as_deref_mut() {
            into.write_all(&buffer[..read])?;
        }
        done += read as u64;
        progress(done);
    }
    Ok(WeightsDigest(*hasher.finalize().as_bytes()))
}

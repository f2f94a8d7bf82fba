//! A file that is on its way, and the note that says which.
//!
//! ```text
//! DIR/<key>.part     the bytes that came, from the first on
//! DIR/<key>.json     the note: {"format":1,"source":…,"etag":…,"bytes":…,"sha256":…,"boot":…}
//! ```
//!
//! The key is the first 32 hex digits of the BLAKE3 of the full address. Whoever holds the lock (`flock`) on the part
//! may write both. The note is written before the first byte of its version, so a part without one is begun again.
//!
//! What a kill leaves is in the page cache and whole. After a power cut the end of a part may be zeros; the note holds
//! the boot it was written in, and after another one the part goes on only when a hash will judge the whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checksum::Hashing;
use crate::error::FetchError;

/// What the rest of the machine keeps on the disk, whatever is downloaded.
pub const RESERVE_BYTES: u64 = 64 << 20;
/// A part that nobody went on with for so long is removed by the next fetch.
const ABANDONED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const NOTE_FORMAT: u32 = 1;
/// Longest note that is read.
const MAX_NOTE_BYTES: u64 = 64 << 10;
pub(crate) const CHUNK: usize = 256 << 10;

/// A locked part. Dropping it leaves the files for the next time.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    note_path: PathBuf,
    file: File,
}

/// Which version of which file the part begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    format: u32,
    /// For a person who looks into the folder.
    pub(crate) source: String,
    /// The server's strong validator.
    pub(crate) etag: Option<String>,
    /// How long the whole is.
    pub(crate) bytes: Option<u64>,
    /// What the hub says the whole hashes to.
    #[serde(with = "optional_hex")]
    pub(crate) sha256: Option<[u8; 32]>,
    /// The hub's commit.
    pub(crate) commit: Option<String>,
    /// `/proc/sys/kernel/random/boot_id`
    boot: String,
}

impl Note {
    pub(crate) fn new(source: String) -> Self {
        Self {
            format: NOTE_FORMAT,
            source,
            boot: boot(),
            ..Self::default()
        }
    }

    /// Whether the machine has been up since it was written.
    pub(crate) fn is_of_this_boot(&self) -> bool {
        !self.boot.is_empty() && self.boot == boot()
    }
}

impl Part {
    /// Opens or makes the part for `address`, and locks it.
    pub(crate) fn open(dir: &Path, address: &str) -> Result<Self, FetchError> {
        fs::create_dir_all(dir).map_err(io_error("make", dir))?;
        let (path, note_path) = paths(dir, address);
        clear_abandoned(dir, &path);
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(io_error("open", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(FetchError::Busy { path }),
                Err(TryLockError::Error(error)) => return Err(io_error("lock", &path)(error)),
            }
            // Between our open and our lock the last owner may have moved the file away: then the lock is on that one.
            let (ours, there) = (file.metadata(), fs::metadata(&path));
            match (ours, there) {
                (Ok(ours), Ok(there)) if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) => {
                    return Ok(Self {
                        path,
                        note_path,
                        file,
                    });
                }
                (Err(error), _) => return Err(io_error("read", &path)(error)),
                _ => {}
            }
        }
    }

    /// Where the bytes are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the part and its note. The part may have been moved away by its new owner, which is fine.
    ///
    /// # Errors
    /// [`FetchError::Io`]
    pub fn remove(self) -> Result<(), FetchError> {
        remove_both(&self.path, &self.note_path)
    }

    pub(crate) fn len(&self) -> Result<u64, FetchError> {
        Ok(self
            .file
            .metadata()
            .map_err(io_error("read", &self.path))?
            .len())
    }

    /// The note, when there is one that can be read.
    pub(crate) fn note(&self) -> Option<Note> {
        read_note(&self.note_path)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a note that a power cut takes costs the beginning of a download"
    )]
    pub(crate) fn write_note(&self, note: &Note) -> Result<(), FetchError> {
        let draft = self.note_path.with_extension("json.new");
        let bytes = serde_json::to_vec(note).expect("a note is plain data with string keys");
        fs::write(&draft, bytes)
            .and_then(|()| fs::rename(&draft, &self.note_path))
            .map_err(|error| {
                // Without the note nothing is lost but the beginning of this download.
                let _ = fs::remove_file(&draft);
                self.write_error(0, None, error)
            })
    }

    /// Makes it empty, for another version.
    pub(crate) fn clear(&mut self) -> Result<(), FetchError> {
        // The note first: an empty part without a note is nothing, a note without its part would be a wrong one.
        match fs::remove_file(&self.note_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &self.note_path)(error));
            }
            _ => {}
        }
        self.file
            .set_len(0)
            .map_err(io_error("empty", &self.path))?;
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(io_error("write", &self.path))?;
        Ok(())
    }

    /// Hashes what is there and stands at its end.
    pub(crate) fn hash(&mut self, watch: &mut dyn FnMut(u64)) -> Result<Hashing, FetchError> {
        let mut hashing = Hashing::default();
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(io_error("read", &self.path))?;
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        loop {
            let read = self
                .file
                .read(&mut buffer)
                .map_err(io_error("read", &self.path))?;
            if read == 0 {
                return Ok(hashing);
            }
            hashing.feed(&buffer[..read]);
            done += read as u64;
            watch(done);
        }
    }

    /// Adds to the end. `needed` is how much is still to come, these bytes included.
    pub(crate) fn append(
        &mut self,
        bytes: &[u8],
        have: u64,
        needed: Option<u64>,
    ) -> Result<(), FetchError> {
        self.file
            .write_all(bytes)
            .map_err(|error| self.write_error(have, needed, error))
    }

    pub(crate) fn sync(&self) -> Result<(), FetchError> {
        self.file
            .sync_all()
            .map_err(|error| self.write_error(0, None, error))
    }

    fn write_error(&self, have: u64, needed: Option<u64>, error: io::Error) -> FetchError {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => {
                // A write may have been cut short: the part is longer than what was counted, and still a prefix.
                let have = self.file.metadata().map_or(have, |metadata| metadata.len());
                FetchError::Full {
                    path: self.path.clone(),
                    have,
                    needed,
                    reason: error.to_string(),
                }
            }
            _ => io_error("write", &self.path)(error),
        }
    }

    /// How many bytes may still be written here.
    pub(crate) fn room(&self) -> Result<u64, FetchError> {
        let disk = rustix::fs::fstatvfs(&self.file)
            .map_err(|error| io_error("measure the disk of", &self.path)(error.into()))?;
        Ok(disk
            .f_bavail
            .saturating_mul(disk.f_frsize)
            .saturating_sub(RESERVE_BYTES))
    }
}

/// Where the part for `address` and its note are.
fn paths(dir: &Path, address: &str) -> (PathBuf, PathBuf) {
    let key = &blake3::hash(address.as_bytes()).to_hex()[..32];
    (
        dir.join(format!("{key}.part")),
        dir.join(format!("{key}.json")),
    )
}

/// Removes the part for `address` and its note, also from under who writes it.
pub(crate) fn discard(dir: &Path, address: &str) -> Result<(), FetchError> {
    let (path, note_path) = paths(dir, address);
    remove_both(&path, &note_path)
}

fn remove_both(path: &Path, note_path: &Path) -> Result<(), FetchError> {
    for path in [path, note_path] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_note(path: &Path) -> Option<Note> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(MAX_NOTE_BYTES)
        .read_to_end(&mut bytes)
        .ok()?;
    serde_json::from_slice(&bytes)
        .ok()
        .filter(|note: &Note| note.format == NOTE_FORMAT)
}

/// A download that was begun and is not whole yet, or whole and not yet moved on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// What it is of. An address is without its query; a file of this machine is `file:` and its absolute path, and is
    /// copied anew.
    pub source: String,
    /// How many bytes are here.
    pub have: u64,
    /// How many there will be, when that is known.
    pub total: Option<u64>,
}

/// The downloads in a folder that a [`crate::fetch`] would go on with, by their sources.
#[must_use]
pub fn unfinished(dir: &Path) -> Vec<Unfinished> {
    let mut found: Vec<Unfinished> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "part"))
        .filter_map(|path| {
            let note = read_note(&path.with_extension("json"))?;
            Some(Unfinished {
                source: note.source,
                have: fs::metadata(&path).ok()?.len(),
                total: note.bytes,
            })
        })
        .collect();
    found.sort_by(|a, b| a.source.cmp(&b.source));
    found
}

/// Removes parts that nobody went on with and nobody holds, but for the one at `but`.
fn clear_abandoned(dir: &Path, but: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED));
        if !is_old || path.extension().is_none_or(|end| end != "part") || path == but {
            continue;
        }
        if let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
        {
            // What cannot be removed harms nothing but space.
            let _ = fs::remove_file(path.with_extension("json"));
            let _ = fs::remove_file(&path);
        }
    }
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

pub(crate) fn io_error(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> FetchError {
    move |error| FetchError::Io {
        doing,
        path: path.to_owned(),
        error,
    }
}

mod optional_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<[u8; 32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(bytes) => serializer.serialize_some(&hex::encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 32]>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| crate::Expected::parse_hash(&text).map_err(D::Error::custom))
            .transpose()
    }
}

//! Compiled code on disk, authenticated before it is believed.
//!
//! ```text
//! DIR/key                 32 random bytes, mode 0600, made on first use
//! DIR/NAME.cwasm          tag (32 bytes) || code
//! NAME = hex BLAKE3(component) || "-" || hex of the engine's compatibility hash (64 bits)
//! tag  = BLAKE3 keyed(key, NAME || 0x00 || code)
//! ```
//!
//! Loading compiled code runs it, so an entry is read into memory once, its tag is checked, and *those* bytes are
//! loaded. An entry that is truncated, altered, renamed or from another key is deleted and compiled again. The directory
//! belongs to this user alone (mode 0700). Entries are written beside their place and renamed into it, so a reader sees
//! all of one or nothing; two writers of the same entry write the same code.
//!
//! Out of scope: eviction. An entry can be deleted at any time.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

const TAG_LEN: usize = 32; // bytes
/// Larger entries are not read; Python's is 40 MB.
const ENTRY_LEN_MAX: u64 = 1 << 30;

/// A directory of compiled code.
pub(crate) struct CodeCache {
    dir: PathBuf,
    key: [u8; 32],
}

impl CodeCache {
    /// Opens the directory, and makes it and its key when there is none.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        let meta = fs::metadata(dir)?;
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the directory belongs to another user",
            ));
        }
        if meta.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            key: read_or_make_key(&dir.join("key"))?,
        })
    }

    /// The code stored under `name`, if it is there and was stored by us.
    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.path(name);
        let file = fs::File::open(&path).ok()?;
        let mut bytes = Vec::new();
        let read = file.take(ENTRY_LEN_MAX).read_to_end(&mut bytes);
        if read.is_ok() && bytes.len() >= TAG_LEN {
            let code = bytes.split_off(TAG_LEN);
            // `blake3::Hash` compares in constant time.
            if self.tag(name, &code) == blake3::Hash::from_slice(&bytes).ok()? {
                return Some(code);
            }
        }
        tracing::warn!(path = %path.display(), "compiled code is damaged or not ours: compiling again");
        let _ = fs::remove_file(&path); // it is replaced in any case
        None
    }

    /// Deletes an entry that was ours but could not be used.
    pub(crate) fn discard(&self, name: &str) {
        let _ = fs::remove_file(self.path(name)); // absent is as good
    }

    /// Stores code. A failure costs a compilation next time and nothing else.
    pub(crate) fn put(&self, name: &str, code: &[u8]) {
        if let Err(error) = self.write(name, code) {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled code could not be stored");
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "what a power cut takes is compiled again"
    )]
    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let temporary = self
            .dir
            .join(format!("{name}.{}.{:016x}", std::process::id(), unique()?));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        let written = file
            .write_all(self.tag(name, code).as_bytes())
            .and_then(|()| file.write_all(code))
            .and_then(|()| fs::rename(&temporary, self.path(name)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary); // the first error is the one to report
        }
        written
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.cwasm"))
    }

    fn tag(&self, name: &str, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name.as_bytes()).update(&[0]).update(code);
        hasher.finalize()
    }
}

fn unique() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::from)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Reads the key, or makes one. Of two processes that make one at once, one wins and both use it.
#[expect(
    clippy::disallowed_methods,
    reason = "what a power cut takes is made anew"
)]
fn read_or_make_key(path: &Path) -> io::Result<[u8; 32]> {
    loop {
        match fs::read(path) {
            Ok(bytes) => match bytes.try_into() {
                Ok(key) => return Ok(key),
                // Whatever it authenticated is compiled again.
                Err(_) => fs::remove_file(path)?,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(io::Error::from)?;
                let temporary =
                    path.with_file_name(format!("key.{}.{:016x}", std::process::id(), unique()?));
                let mut file = fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&temporary)?;
                file.write_all(&key)?;
                let linked = fs::hard_link(&temporary, path);
                fs::remove_file(&temporary)?;
                match linked {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(error);
                    }
                    _ => {} // read whichever key is there now
                }
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_given_back_only_as_it_was_stored() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(dir.path()).unwrap();
        assert_eq!(cache.get("a"), None);
        cache.put("a", b"code");
        assert_eq!(cache.get("a").as_deref(), Some(&b"code"[..]));
        // The same key is used by whoever opens the directory next.
        assert_eq!(
            CodeCache::open(dir.path()).unwrap().get("a").as_deref(),
            Some(&b"code"[..])
        );

        let path = dir.path().join("a.cwasm");
        let good = fs::read(&path).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert_eq!(cache.get("a"), None, "byte {i} altered");
            assert!(!path.exists(), "a damaged entry is deleted");
        }
        for len in 0..good.len() {
            fs::write(&path, &good[..len]).unwrap();
            assert_eq!(cache.get("a"), None, "truncated to {len}");
        }
        // An entry under another name is not the entry of that name.
        fs::write(dir.path().join("b.cwasm"), &good).unwrap();
        assert_eq!(cache.get("b"), None);
        // Nor is one that somebody with another key made.
        let other = tempfile::tempdir().unwrap();
        let foreign = CodeCache::open(other.path()).unwrap();
        foreign.put("a", b"code");
        fs::copy(other.path().join("a.cwasm"), &path).unwrap();
        assert_eq!(cache.get("a"), None);
    }

    #[test]
    fn nobody_else_can_read_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        CodeCache::open(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(
            fs::metadata(path.join("key")).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

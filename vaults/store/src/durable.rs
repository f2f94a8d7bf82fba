//! Whole files, written so that a crash leaves the old state or the new one.
//!
//! A file is written under another name in `tmp/`, synced, renamed to where it belongs, and the folder is synced. The
//! two syncs are in this order because a name on the disk must never lead to bytes that are not.

use std::io;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::fs::Output;

/// A file on its way: in a temporary folder until it is finished.
pub(crate) struct Draft {
    path: PathBuf,
    output: Box<dyn Output>,
}

impl Draft {
    /// Begins a file. Its name is random, so that it says nothing and meets no other.
    pub(crate) fn begin(environment: &Environment, temporary: &Path) -> io::Result<Self> {
        let mut name = [0; 16];
        environment.random.fill(&mut name)?;
        let path = temporary.join(hex::encode(name));
        let output = environment.fs.create(&path)?;
        Ok(Self { path, output })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write(bytes)
    }

    /// Writes over bytes that are there.
    pub(crate) fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.output.write_at(bytes, offset)
    }

    /// Syncs the bytes and gives the file its name. The folder is not synced yet: several files may share that.
    pub(crate) fn place(mut self, environment: &Environment, to: &Path) -> io::Result<()> {
        let placed = self
            .output
            .sync()
            .and_then(|()| environment.fs.rename(&self.path, to));
        if placed.is_err() {
            self.abandon(environment);
        }
        placed
    }

    /// Removes what was begun; if even that fails, whoever opens the vault for writing next does it.
    pub(crate) fn abandon(self, environment: &Environment) {
        drop(self.output);
        let _ = environment.fs.remove(&self.path);
    }
}

/// Writes one file durably, name included, replacing one of that name. `temporary` is a folder of the same file system.
pub(crate) fn write(
    environment: &Environment,
    temporary: &Path,
    folder: &Path,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    write_unsynced(environment, temporary, folder, name, bytes)?;
    environment.fs.sync_dir(folder)
}

/// As [`write`], but the folder is the caller's to sync.
pub(crate) fn write_unsynced(
    environment: &Environment,
    temporary: &Path,
    folder: &Path,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let mut draft = Draft::begin(environment, temporary)?;
    if let Err(error) = draft.write(bytes) {
        draft.abandon(environment);
        return Err(error);
    }
    draft.place(environment, &folder.join(name))
}

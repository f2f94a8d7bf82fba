//! Files that are put in place: after a power cut each is as it was or as it was to be, and what was done stays done.
//!
//! A file is written under another name in its folder, synced, given its name, and the folder is synced. The two syncs are in
//! this order because a name on the disk must never lead to bytes that are not; without the second one the name itself may be
//! gone.
//!
//! * [`write_file`] puts a file in place, [`write_new`] one that must not be there yet.
//! * [`link`] and [`rename`] give what is there another name.
//! * [`create_folder`] makes a folder, [`sync`] has on the disk what somebody else put in place.
//!
//! When a function returns, what it did outlives a power cut. Where it fails, it may have happened or not. A process that is stopped
//! in between may leave a draft, `.draft-…`, in the folder, which nobody reads.
//!
//! Code elsewhere that renames or links a file says why it needs none of this (`clippy.toml`). Out of scope: files that grow, each of
//! which has rules of its own.

#![forbid(unsafe_code)]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(test)]
mod tests;

/// Who may read what is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// This user alone.
    Owner,
    /// Whom the process's umask lets.
    Umask,
}

/// Puts a file in place, also of one that is there.
///
/// # Errors
///
/// The disk's.
pub fn write_file(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    write_file_on(&System, path, bytes, access)
}

/// Puts a file in place where there is none. Of two that are put there at once, one is.
///
/// # Errors
///
/// [`ErrorKind::AlreadyExists`] where there is one, whose name is durable then; the disk's.
pub fn write_new(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    write_new_on(&System, path, bytes, access)
}

/// Gives a file a second name.
///
/// # Errors
///
/// [`ErrorKind::AlreadyExists`] where something has that name, which is durable then; the disk's.
pub fn link(from: &Path, to: &Path) -> io::Result<()> {
    link_on(&System, from, to)
}

/// Gives a file or a folder another name, also one that a file had. What is in a folder is its maker's to sync.
///
/// # Errors
///
/// The disk's.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    rename_on(&System, from, to)
}

/// Makes a folder, and those that it is in, if they are not there.
///
/// # Errors
///
/// The disk's.
pub fn create_folder(path: &Path, access: Access) -> io::Result<()> {
    create_folder_on(&System, path, access)
}

/// Has a file on the disk that is in place, and its name.
///
/// # Errors
///
/// The disk's.
pub fn sync(path: &Path) -> io::Result<()> {
    System.sync(path)?;
    System.sync(folder_of(path))
}

/// Has the names in a folder on the disk.
///
/// # Errors
///
/// The disk's.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    System.sync(folder)
}

/// How many drafts this process has begun.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

fn write_file_on<D: Disk>(disk: &D, path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let draft = draft(disk, path, bytes, access)?;
    if let Err(error) = disk.rename(&draft, path) {
        // The first error says more.
        let _ = disk.remove(&draft);
        return Err(error);
    }
    disk.sync(folder_of(path))
}

fn write_new_on<D: Disk>(disk: &D, path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let draft = draft(disk, path, bytes, access)?;
    let linked = disk.link(&draft, path);
    // Whether or not it got the name: it may hold a key.
    let removed = disk.remove(&draft);
    named(disk, path, linked)?;
    removed
}

fn link_on<D: Disk>(disk: &D, from: &Path, to: &Path) -> io::Result<()> {
    disk.sync(from)?;
    let linked = disk.link(from, to);
    named(disk, to, linked)
}

fn rename_on<D: Disk>(disk: &D, from: &Path, to: &Path) -> io::Result<()> {
    disk.sync(from)?;
    disk.rename(from, to)?;
    disk.sync(folder_of(to))?;
    match folder_of(from) {
        folder if folder == folder_of(to) => Ok(()),
        folder => disk.sync(folder),
    }
}

fn create_folder_on<D: Disk>(disk: &D, path: &Path, access: Access) -> io::Result<()> {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let (mut missing, mut level) = (Vec::new(), path);
    while !disk.is_folder(level)? {
        missing.push(level);
        match level.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => level = parent,
            _ => break,
        }
    }
    if missing.last() != Some(&level) {
        // Whoever made it just now may not have its name on the disk yet. One where this user may not even look is nobody's who does so.
        match disk.sync(folder_of(level)) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    // Nothing is put into a folder whose own name is not durable: so above the one that was there all are.
    for level in missing.into_iter().rev() {
        match disk.create_folder(level, access) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && disk.is_folder(level)? => {}
            made => made?,
        }
        disk.sync(folder_of(level))?;
    }
    Ok(())
}

/// Writes bytes beside the place that they are for, and has them on the disk. The name may be gone after a power cut.
fn draft<D: Disk>(disk: &D, path: &Path, bytes: &[u8], access: Access) -> io::Result<PathBuf> {
    let (draft, mut file) = loop {
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let name = format!(".draft-{}-{number}", std::process::id());
        let draft = folder_of(path).join(name);
        match disk.create(&draft, access) {
            // A process that had this one's number left it, or has it now in another container.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => break (draft, made?),
        }
    };
    let written = disk
        .write(&mut file, bytes)
        .and_then(|()| disk.sync_file(&file));
    match written {
        Ok(()) => Ok(draft),
        Err(error) => {
            let _ = disk.remove(&draft);
            Err(error)
        }
    }
}

/// Has a name on the disk that was given, or that somebody else gave before.
fn named<D: Disk>(disk: &D, path: &Path, linked: io::Result<()>) -> io::Result<()> {
    match &linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {}
        _ => disk.sync(folder_of(path))?,
    }
    linked
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// What is asked of a disk. None of it is durable but what was synced.
trait Disk {
    type File;

    /// Makes a file that must not be there.
    fn create(&self, path: &Path, access: Access) -> io::Result<Self::File>;
    fn write(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;
    fn sync_file(&self, file: &Self::File) -> io::Result<()>;
    /// A file's bytes, or a folder's names.
    fn sync(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn create_folder(&self, path: &Path, access: Access) -> io::Result<()>;
    fn is_folder(&self, path: &Path) -> io::Result<bool>;
}

/// The one that there is.
struct System;

impl Disk for System {
    type File = File;

    fn create(&self, path: &Path, access: Access) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(match access {
                Access::Owner => 0o600,
                Access::Umask => 0o666,
            })
            .open(path)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    #[expect(clippy::disallowed_methods, reason = "this is where it is done")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    #[expect(clippy::disallowed_methods, reason = "this is where it is done")]
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_folder(&self, path: &Path, access: Access) -> io::Result<()> {
        DirBuilder::new()
            .mode(match access {
                Access::Owner => 0o700,
                Access::Umask => 0o777,
            })
            .create(path)
    }

    fn is_folder(&self, path: &Path) -> io::Result<bool> {
        match std::fs::metadata(path) {
            Ok(found) => Ok(found.is_dir()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

//! A key never votes without its memory.
//!
//! A validator that forgot how it voted may vote otherwise, which is the one thing that a quorum cannot forgive more than a
//! third of. So the first start of a key with a data directory writes the same random name to two places:
//!
//! ```text
//! DATA/name            16 bytes, hex, and a line feed
//! KEY.voted            the same name, beside the key file
//! ```
//!
//! Whoever starts with a key that has voted, and with a data directory that is not the one it voted from, is refused. A
//! directory that was put back from an older copy has the right name and is not noticed: `docs/node.md` says not to do that.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// Why a node does not start to vote. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The key has voted from another data directory.
    #[error(
        "the key of {marker} has voted from another data directory than {data}: with what is here it could vote against its own word"
    )]
    Forgotten {
        /// Beside the key.
        marker: PathBuf,
        /// What was given.
        data: PathBuf,
    },
    /// The disk refused.
    #[error("{path}: {source}")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Checks that a key and a data directory belong together, or makes them belong together if neither has voted before.
/// `name` is fresh randomness, used if this is the first start.
pub fn pair(key_file: &Path, data: &Path, name: [u8; 16]) -> Result<(), GuardError> {
    let marker = marker(key_file);
    let here = data.join("name");
    match (read(&marker)?, read(&here)?) {
        (Some(voted), Some(found)) if voted == found => Ok(()),
        (Some(_), _) => Err(GuardError::Forgotten {
            marker,
            data: data.to_owned(),
        }),
        // A crash between the two writes, or a copy of the directory with a fresh key: either has not voted yet.
        (None, Some(found)) => write(&marker, &found),
        (None, None) => {
            let name = format!("{:032x}\n", u128::from_be_bytes(name));
            fs::create_dir_all(data).map_err(at(data))?;
            // This order: a name without a marker is a first start that can be repeated.
            write(&here, &name)?;
            write(&marker, &name)
        }
    }
}

fn marker(key_file: &Path) -> PathBuf {
    let mut name = key_file.as_os_str().to_owned();
    name.push(".voted");
    name.into()
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> GuardError {
    move |source| GuardError::Disk {
        path: path.to_owned(),
        source,
    }
}

fn read(path: &Path) -> Result<Option<String>, GuardError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

fn write(path: &Path, text: &str) -> Result<(), GuardError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        })
        .map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_votes_from_one_directory_only() {
        let folder = crate::scratch::Scratch::new();
        let (key, data) = (folder.path().join("k"), folder.path().join("d"));
        pair(&key, &data, [1; 16]).unwrap();
        pair(&key, &data, [2; 16]).unwrap();
        let other = folder.path().join("other");
        assert!(matches!(
            pair(&key, &other, [3; 16]),
            Err(GuardError::Forgotten { .. })
        ));
        fs::remove_dir_all(&data).unwrap();
        assert!(matches!(
            pair(&key, &data, [4; 16]),
            Err(GuardError::Forgotten { .. })
        ));
    }

    #[test]
    fn a_crash_between_the_two_writes_can_be_repeated() {
        let folder = crate::scratch::Scratch::new();
        let (key, data) = (folder.path().join("k"), folder.path().join("d"));
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("name"), "00000000000000000000000000000001\n").unwrap();
        pair(&key, &data, [2; 16]).unwrap();
        pair(&key, &data, [3; 16]).unwrap();
    }
}

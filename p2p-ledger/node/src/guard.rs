//! A key never votes without its memory.
//!
//! A validator that forgot how it voted may vote otherwise, which is the one thing that a quorum cannot forgive more than a
//! third of. So the first start of a key with a data directory writes the same random name to two places:
//!
//! ```text
//! DATA/name            16 bytes, hex, and a line feed
//! KEY.voted            the same line, beside the key file; then, once there are votes on the disk:
//!                      "epoch E" and a line feed, E being the last epoch with votes in DATA/store/votes-E
//! ```
//!
//! Whoever starts with a key that has voted, and with a data directory that is not the one it voted from, is refused; so is
//! whoever starts with the right directory and without the votes of the last epoch, or later ones. A node has no votes before
//! its first epoch, so their absence is no loss until the second line says so. It is written while the node runs (`watch`),
//! at most a second after the first vote of an epoch: what is lost sooner is not noticed. Nor is a directory that was put back
//! from an older copy, which has the right name: `docs/node.md` says not to do that.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tally_durable::Access;
use tally_ledger::Epoch;

use crate::store::Partitions;

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
    /// The key has voted, and how is not known any more.
    #[error(
        "the key of {marker} has voted in epoch {epoch}, and {votes} has no votes in it: without them it could vote against its own word"
    )]
    VotesLost {
        /// Beside the key.
        marker: PathBuf,
        /// The last epoch in which it is known to have voted.
        epoch: Epoch,
        /// Where they must be.
        votes: PathBuf,
    },
    /// What stands beside the key is not what was written there.
    #[error("{0} is damaged: it does not say which data directory the key has voted from")]
    Damaged(PathBuf),
    /// The disk refused.
    #[error("{path}: {source}")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How often a node that runs looks whether it votes in another epoch.
const EVERY: Duration = Duration::from_secs(1);

/// A blob's own header: a journal with nothing in it has no more.
const EMPTY: u64 = 4096; // bytes

/// What stands beside a key.
#[derive(Debug, PartialEq, Eq)]
struct Voted {
    /// The name of the directory it votes from, with its line feed.
    name: String,
    /// The last epoch with votes on the disk.
    epoch: Option<Epoch>,
}

/// Checks that a key and a data directory belong together, or makes them belong together if neither has voted before.
/// `name` is fresh randomness, used if this is the first start.
pub fn pair(key_file: &Path, data: &Path, name: [u8; 16]) -> Result<(), GuardError> {
    let marker = marker(key_file);
    let here = data.join("name");
    match (Voted::read(&marker)?, read(&here)?) {
        (Some(voted), Some(found)) if voted.name == found => match voted.epoch {
            // A journal of a later epoch that was just begun is enough: the older ones go once there is one.
            Some(epoch)
                if last_journal(data, |other| match other.cmp(&epoch) {
                    Ordering::Less => None,
                    Ordering::Equal => Some(EMPTY),
                    Ordering::Greater => Some(0),
                })?
                .is_none() =>
            {
                Err(GuardError::VotesLost {
                    marker,
                    epoch,
                    votes: votes(data, epoch),
                })
            }
            _ => note(key_file, data),
        },
        (Some(_), _) => Err(GuardError::Forgotten {
            marker,
            data: data.to_owned(),
        }),
        // A crash between the two writes, or a copy of the directory with a fresh key: either has not voted yet.
        (None, Some(found)) => write(&marker, &found),
        (None, None) => {
            let name = format!("{:032x}\n", u128::from_be_bytes(name));
            tally_durable::create_folder(data, Access::Umask).map_err(at(data))?;
            // This order: a name without a marker is a first start that can be repeated.
            write(&here, &name)?;
            write(&marker, &name)
        }
    }
}

/// Puts down beside a key that is paired with a directory which epoch it has votes of there, if that is a later one.
fn note(key_file: &Path, data: &Path) -> Result<(), GuardError> {
    let marker = marker(key_file);
    let (Some(voted), Some(last)) = (Voted::read(&marker)?, last_journal(data, |_| Some(EMPTY))?)
    else {
        return Ok(());
    };
    if voted.epoch >= Some(last) {
        return Ok(());
    }
    // What is missed when it is gone must outlive a power cut.
    sync_files(&votes(data, last))?;
    let text = format!("{}epoch {last}\n", voted.name);
    tally_durable::write_file(&marker, text.as_bytes(), Access::Umask).map_err(at(&marker))
}

/// Notes the epochs of a node's votes for as long as it runs. A disk that fails stops no node: it is tried again.
pub(crate) async fn watch(key_file: PathBuf, data: PathBuf) {
    loop {
        tokio::time::sleep(EVERY).await;
        let (key_file, data) = (key_file.clone(), data.clone());
        match tokio::task::spawn_blocking(move || note(&key_file, &data)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "which epoch has votes is not noted yet"),
            // The program ends.
            Err(_) => return,
        }
    }
}

impl Voted {
    fn read(marker: &Path) -> Result<Option<Self>, GuardError> {
        let Some(text) = read(marker)? else {
            return Ok(None);
        };
        let damaged = || GuardError::Damaged(marker.to_owned());
        let end = text.find('\n').ok_or_else(damaged)? + 1;
        let (name, rest) = text.split_at(end);
        let epoch = match rest {
            "" => None,
            rest => Some(
                rest.strip_prefix("epoch ")
                    .and_then(|rest| rest.strip_suffix('\n'))
                    .and_then(|number| number.parse().ok())
                    .map(Epoch::new)
                    .ok_or_else(damaged)?,
            ),
        };
        Ok(Some(Self {
            name: name.to_owned(),
            epoch,
        }))
    }
}

fn votes(data: &Path, epoch: Epoch) -> PathBuf {
    data.join("store").join(Partitions::default().votes(epoch))
}

/// The last epoch whose journal has a file of more than so many bytes, as `beyond` says for each epoch that counts.
fn last_journal(
    data: &Path,
    beyond: impl Fn(Epoch) -> Option<u64>,
) -> Result<Option<Epoch>, GuardError> {
    let store = data.join("store");
    let entries = match fs::read_dir(&store) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(at(&store))?,
    };
    let mut last: Option<Epoch> = None;
    for entry in entries {
        let entry = entry.map_err(at(&store))?;
        let epoch = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix("votes-")?.parse().ok())
            .map(Epoch::new);
        if let Some(epoch) = epoch.filter(|epoch| last.is_none_or(|last| last < *epoch))
            && let Some(bytes) = beyond(epoch)
            && has_file_beyond(&entry.path(), bytes)?
        {
            last = Some(epoch);
        }
    }
    Ok(last)
}

fn sync_files(folder: &Path) -> Result<(), GuardError> {
    for file in fs::read_dir(folder).map_err(at(folder))? {
        let path = file.map_err(at(folder))?.path();
        match File::open(&path).and_then(|file| file.sync_all()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(&path)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a folder has a file of more than so many bytes.
fn has_file_beyond(folder: &Path, bytes: u64) -> Result<bool, GuardError> {
    // The engine removes the files of old views meanwhile, and the node the journals of old epochs.
    let is_gone = |error: &std::io::Error| error.kind() == ErrorKind::NotFound;
    let files = match fs::read_dir(folder) {
        Err(error) if is_gone(&error) => return Ok(false),
        files => files.map_err(at(folder))?,
    };
    for file in files {
        let file = file.map_err(at(folder))?;
        match file.metadata() {
            Ok(about) if about.len() > bytes => return Ok(true),
            Err(error) if !is_gone(&error) => return Err(at(&file.path())(error)),
            _ => {}
        }
    }
    Ok(false)
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
    tally_durable::write_new(path, text.as_bytes(), Access::Umask).map_err(at(path))
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

    /// What an engine leaves of an epoch: a file that was just made, and one with votes in it.
    fn vote(data: &Path, epoch: u64) {
        let journal = votes(data, Epoch::new(epoch));
        fs::create_dir_all(&journal).unwrap();
        fs::write(journal.join("00"), vec![1; 4096]).unwrap();
        fs::write(journal.join("01"), vec![1; 8192]).unwrap();
    }

    fn is_lost(outcome: Result<(), GuardError>, number: u64) -> bool {
        matches!(outcome, Err(GuardError::VotesLost { epoch, .. }) if epoch == Epoch::new(number))
    }

    #[test]
    fn a_key_that_has_voted_does_not_start_without_its_votes() {
        let folder = crate::scratch::Scratch::new();
        let (key, data) = (folder.path().join("k"), folder.path().join("d"));
        let start = || pair(&key, &data, [1; 16]);
        start().unwrap();
        // Stopped before its first vote; it may have waited for days to be taken in.
        start().unwrap();
        vote(&data, 0);
        note(&key, &data).unwrap();
        start().unwrap();
        // A file without a vote is none of them.
        let journal = votes(&data, Epoch::ZERO);
        fs::write(journal.join("01"), vec![1; 4096]).unwrap();
        assert!(is_lost(start(), 0));
        fs::remove_dir_all(&journal).unwrap();
        assert!(is_lost(start(), 0));
        fs::remove_dir_all(data.join("store")).unwrap();
        assert!(is_lost(start(), 0));
        // Nothing of what was refused is taken for a first start.
        assert!(is_lost(start(), 0));
    }

    #[test]
    fn the_votes_of_the_last_epoch_count_and_those_of_later_ones() {
        let folder = crate::scratch::Scratch::new();
        let (key, data) = (folder.path().join("k"), folder.path().join("d"));
        let start = || pair(&key, &data, [1; 16]);
        start().unwrap();
        for epoch in [2, 10] {
            vote(&data, epoch);
        }
        // A start notes what is there, whoever wrote it.
        start().unwrap();
        fs::remove_dir_all(votes(&data, Epoch::new(10))).unwrap();
        assert!(is_lost(start(), 10));
        // Those of a later epoch were not noted before the node was killed, and the older ones had gone.
        let begun = votes(&data, Epoch::new(11));
        fs::create_dir_all(&begun).unwrap();
        fs::write(begun.join("00"), vec![1; 4096]).unwrap();
        start().unwrap();
        vote(&data, 11);
        start().unwrap();
        fs::remove_dir_all(&begun).unwrap();
        assert!(is_lost(start(), 11));
    }

    #[test]
    fn a_marker_that_says_something_else_is_damaged() {
        let folder = crate::scratch::Scratch::new();
        let (key, data) = (folder.path().join("k"), folder.path().join("d"));
        pair(&key, &data, [1; 16]).unwrap();
        let marker = marker(&key);
        let good = fs::read_to_string(&marker).unwrap();
        for bad in ["", "epoch", "epoch 1", "epoch x\n", "epoch 1\n\n"] {
            let text = if bad.is_empty() {
                bad.to_owned()
            } else {
                format!("{good}{bad}")
            };
            fs::write(&marker, text).unwrap();
            let started = pair(&key, &data, [2; 16]);
            assert!(matches!(started, Err(GuardError::Damaged(_))), "{bad:?}");
        }
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

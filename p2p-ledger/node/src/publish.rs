//! The log as files that any web server can serve (`docs/log.md`): tiles and entries up to the last tree that a quorum has
//! cosigned, then that checkpoint.
//!
//! Everything but the checkpoint follows from the blocks. So nothing is synced file by file: when a node starts, each file is
//! compared with what must be in it, and what a crash took is written again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tally_durable::Access;
use tally_ledger::Entry;
use tally_log::{Resource, SignedCheckpoint, Tiler};

use crate::handle::{Handle, Stopped};

/// How often a new checkpoint is looked for.
const EVERY: Duration = Duration::from_millis(250);
/// Entries that are asked for at once. A multiple of a tile, so that few partial ones of sizes in between are made.
const CHUNK: u64 = 16 * 1024;

/// The files of one log.
pub(crate) struct Files {
    dir: PathBuf,
    tiler: Tiler,
}

impl Files {
    /// Begins at the first entry, whatever is there.
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            tiler: Tiler::new(),
        }
    }

    /// Up to where the files are those of the log.
    pub(crate) fn size(&self) -> u64 {
        self.tiler.size()
    }

    /// Goes on with the entries that follow.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let bytes: Vec<_> = entries.iter().map(Entry::to_bytes).collect();
        let files = self
            .tiler
            .append(bytes.iter().map(|entry| &entry[..]))
            .expect("an entry of the ledger is short");
        for file in files {
            let path = self.dir.join(file.resource.path());
            let present = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                read => Some(read?),
            };
            if present.as_ref() != Some(&file.bytes) {
                replace(&path, &file.bytes)?;
            }
        }
        Ok(())
    }

    /// Puts the checkpoint down. The files up to its size are there.
    pub(crate) fn set_checkpoint(&self, checkpoint: &SignedCheckpoint) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        tally_durable::write_file(
            &checkpoint_file(&self.dir),
            checkpoint.to_string().as_bytes(),
            Access::Umask,
        )
    }
}

fn checkpoint_file(dir: &Path) -> PathBuf {
    dir.join("checkpoint")
}

/// Readers see the old file or the new one, whole.
#[expect(
    clippy::disallowed_methods,
    reason = "what a power cut takes is written again when the node starts"
)]
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("every file of a log is in its folder");
    fs::create_dir_all(folder)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    fs::write(&draft, bytes)?;
    fs::rename(&draft, path)
}

/// The checkpoint that was put down last, if there is one that can be read.
pub(crate) fn last_checkpoint(dir: &Path) -> Option<SignedCheckpoint> {
    SignedCheckpoint::parse(&fs::read(checkpoint_file(dir)).ok()?).ok()
}

/// What is at a path below the log: a file's name and whether it never changes.
pub(crate) fn file_at(dir: &Path, path: &str) -> Option<(PathBuf, bool)> {
    if path == "checkpoint" {
        return Some((checkpoint_file(dir), false));
    }
    // Whatever is no resource's one spelling is no path of ours.
    Resource::at(path).map(|resource| (dir.join(resource.path()), true))
}

/// Keeps the files of a node's log, until the node stops.
pub(crate) async fn publish(node: Handle, dir: PathBuf) {
    if let Some(checkpoint) = last_checkpoint(&dir)
        && node.take_checkpoint(checkpoint).await.is_err()
    {
        return;
    }
    let mut files = Some(Files::new(&dir));
    let mut written = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let checkpoint = match node.checkpoint().await {
            Ok(Some(checkpoint)) if written.as_ref() != Some(&checkpoint) => checkpoint,
            Ok(_) => continue,
            Err(Stopped) => return,
        };
        // After a failure the files are compared from the start.
        let begun = files.take().unwrap_or_else(|| Files::new(&dir));
        match bring_up(&node, begun, &checkpoint).await {
            Err(Stopped) => return,
            Ok(Ok(grown)) => {
                files = Some(grown);
                written = Some(checkpoint);
            }
            Ok(Err(error)) => {
                tracing::error!(%error, dir = %dir.display(), "the log's files cannot be written");
            }
        }
    }
}

async fn bring_up(
    node: &Handle,
    mut files: Files,
    checkpoint: &SignedCheckpoint,
) -> Result<io::Result<Files>, Stopped> {
    let size = checkpoint.checkpoint().size;
    while files.size() < size {
        let entries = node
            .entries(files.size(), CHUNK.min(size - files.size()))
            .await?;
        let grown = tokio::task::spawn_blocking(move || {
            files.append(&entries)?;
            Ok(files)
        })
        .await
        .map_err(|_| Stopped)?;
        files = match grown {
            Ok(grown) => grown,
            Err(error) => return Ok(Err(error)),
        };
    }
    let checkpoint = checkpoint.clone();
    tokio::task::spawn_blocking(move || {
        files.set_checkpoint(&checkpoint)?;
        Ok(files)
    })
    .await
    .map_err(|_| Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use tally_ledger::{NodeId, Sequence};
    use tally_log::{Checkpoint, HashSource as _, KeyName, TILE_WIDTH, TiledTree, root_of};
    use tally_receipt::{Digest, SigningKey};

    fn entries(count: u64) -> Vec<Entry> {
        let node = NodeId::new(SigningKey::from_seed(&[1; 32]).public_key());
        (0..count)
            .map(|n| Entry {
                in_full: false,
                node,
                sequence: Sequence::new(n),
                receipt: Digest::of(&n.to_be_bytes()),
            })
            .collect()
    }

    fn root(dir: &Path, size: u64) -> tally_log::Hash {
        let tree = TiledTree::new(size, |resource: Resource| {
            fs::read(dir.join(resource.path()))
        });
        tree.full(0, 0).expect("the first leaf is there");
        root_of(&tree, size).expect("every tile is there")
    }

    #[test]
    fn files_give_the_root_and_what_a_crash_took_is_written_again() {
        let folder = Scratch::new();
        let all = entries(70_000);
        let mut frontier = tally_log::Frontier::new();
        frontier.extend(all.iter().map(Entry::leaf_hash));
        let mut files = Files::new(folder.path());
        for chunk in all.chunks(16 * 1024) {
            files.append(chunk).unwrap();
        }
        assert_eq!(root(folder.path(), 70_000), frontier.root());
        // A file that was never synced is empty after a power cut, another one is gone.
        let tile = |index| {
            let width = TILE_WIDTH;
            folder.path().join(
                Resource::Tile {
                    level: 0,
                    index,
                    width,
                }
                .path(),
            )
        };
        fs::write(tile(3), b"").unwrap();
        fs::remove_file(tile(200)).unwrap();
        let mut files = Files::new(folder.path());
        files.append(&all[..65_536]).unwrap();
        files.append(&all[65_536..]).unwrap();
        assert_eq!(root(folder.path(), 70_000), frontier.root());
    }

    #[test]
    fn a_checkpoint_is_read_back_and_only_what_the_log_has_is_at_a_path() {
        let folder = Scratch::new();
        assert!(last_checkpoint(folder.path()).is_none());
        let mut signed = Checkpoint {
            origin: KeyName::new("tally/test").unwrap(),
            size: 1,
            root: tally_log::leaf_hash(b"x"),
        }
        .unsigned();
        signed.sign(&SigningKey::from_seed(&[1; 32]));
        let files = Files::new(folder.path());
        files.set_checkpoint(&signed).unwrap();
        assert_eq!(last_checkpoint(folder.path()), Some(signed));
        for good in ["checkpoint", "tile/0/000", "tile/entries/x001/000.p/7"] {
            assert!(file_at(folder.path(), good).is_some(), "{good}");
        }
        for bad in [
            "",
            "../name",
            "tile/0/../../checkpoint",
            "tile/0/0",
            "/etc/passwd",
        ] {
            assert!(file_at(folder.path(), bad).is_none(), "{bad}");
        }
    }
}

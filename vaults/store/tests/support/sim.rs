//! A file system in memory that loses what a disk may lose.
//!
//! Each file has the bytes that a reader sees and the bytes that survive a power cut; each folder has the names of both
//! kinds. `sync` and `sync_dir` make the first the second. Every step that changes something is numbered, and one number
//! can be made to fail or to be the last. [`Sim::reboot`] then gives the disk as it may come back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tally_vault::fs::{Entry, EntryKind, Fs, Input, Lock, LockError, Output};

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// What happens at the chosen step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It returns an error, a write after half of its bytes, and everything after it works.
    FailOnce,
    /// It and everything after it fail for want of space; removing still works.
    Full,
    /// The power goes: a write is half done, and nothing after it happens.
    Cut,
}

/// What is left after the power was gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Survives {
    /// Only what was synced.
    Synced,
    /// All that was written.
    Everything,
    /// What was synced, and of the rest what the seed says: some names, some length, and some sectors.
    Some(u64),
}

#[derive(Clone, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone, Default)]
struct Folder {
    now: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    folders: BTreeMap<PathBuf, Folder>,
    locks: BTreeSet<PathBuf>,
    steps: u64,
    fault: Option<(u64, Fault)>,
    full: bool,
    dead: bool,
    trace: Vec<String>,
}

/// The file system. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Sim(Arc<Mutex<State>>);

enum Step {
    Go,
    Half(io::Error),
}

impl State {
    /// Counts a step and says whether it happens.
    fn step(&mut self, what: &str, path: &Path, grows: bool) -> io::Result<Step> {
        if self.dead {
            return Err(io::Error::other("the power is gone"));
        }
        self.steps += 1;
        self.trace
            .push(format!("{}: {what} {}", self.steps, path.display()));
        match self.fault {
            Some((at, Fault::FailOnce)) if at == self.steps => {
                Ok(Step::Half(io::Error::other("injected failure")))
            }
            Some((at, Fault::Full)) if at == self.steps || self.full => {
                self.full = true;
                if grows {
                    Ok(Step::Half(io::ErrorKind::StorageFull.into()))
                } else {
                    Ok(Step::Go)
                }
            }
            Some((at, Fault::Cut)) if at == self.steps => {
                self.dead = true;
                Ok(Step::Half(io::Error::other("the power is gone")))
            }
            _ => Ok(Step::Go),
        }
    }

    fn folder(&mut self, path: &Path) -> io::Result<&mut Folder> {
        self.folders
            .get_mut(path)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn find(&mut self, path: &Path) -> io::Result<usize> {
        let (parent, name) = split(path);
        self.folder(&parent)?
            .now
            .get(&name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn split(path: &Path) -> (PathBuf, String) {
    let parent = path.parent().expect("a path in a folder").to_owned();
    (
        parent,
        path.file_name()
            .expect("a path with a name")
            .to_string_lossy()
            .into_owned(),
    )
}

impl Sim {
    /// An empty disk with one folder, `/`.
    pub(crate) fn new() -> Self {
        let sim = Self::default();
        sim.state()
            .folders
            .insert(PathBuf::from("/"), Folder::default());
        sim
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while locked")
    }

    /// Arms a fault at a step, counted from now.
    pub(crate) fn arm(&self, step: u64, fault: Fault) {
        let mut state = self.state();
        state.steps = 0;
        state.trace.clear();
        state.full = false;
        state.fault = Some((step, fault));
    }

    /// No fault any more, and room again.
    pub(crate) fn disarm(&self) {
        let mut state = self.state();
        state.fault = None;
        state.full = false;
    }

    /// Steps since the fault was armed.
    pub(crate) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// The steps since the fault was armed, in words.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// The disk after the power was gone, or after a process was killed (`Everything`).
    pub(crate) fn reboot(&self, survives: Survives) -> Self {
        let state = self.state();
        let mut random = match survives {
            Survives::Some(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            _ => 1,
        };
        let mut draw = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let mut next = State::default();
        for inode in &state.inodes {
            let bytes = match survives {
                Survives::Synced => inode.durable.clone(),
                Survives::Everything => inode.now.clone(),
                Survives::Some(_) => {
                    // Some length between the two, and each sector as it was or as it is: where nothing was, zeros.
                    let (old, new) = (&inode.durable, &inode.now);
                    let shorter = old.len().min(new.len());
                    let extra = old.len().max(new.len()) - shorter;
                    let len = shorter + usize::try_from(draw() % (extra as u64 + 1)).expect("fits");
                    let mut bytes = vec![0; len];
                    for start in (0..len).step_by(SECTOR) {
                        let source = if draw() % 2 == 0 { old } else { new };
                        let end = (start + SECTOR).min(len).min(source.len());
                        if start < end {
                            bytes[start..end].copy_from_slice(&source[start..end]);
                        }
                    }
                    bytes
                }
            };
            next.inodes.push(Inode {
                now: bytes.clone(),
                durable: bytes,
            });
        }
        for (path, folder) in &state.folders {
            let names = match survives {
                Survives::Synced => folder.durable.clone(),
                Survives::Everything => folder.now.clone(),
                Survives::Some(_) => {
                    // Each name that differs goes its own way.
                    let mut names = BTreeMap::new();
                    let all: BTreeSet<&String> =
                        folder.now.keys().chain(folder.durable.keys()).collect();
                    for name in all {
                        let (now, durable) = (folder.now.get(name), folder.durable.get(name));
                        let chosen = if now == durable || draw() % 2 == 0 {
                            now
                        } else {
                            durable
                        };
                        if let Some(inode) = chosen {
                            names.insert(name.clone(), *inode);
                        }
                    }
                    names
                }
            };
            next.folders.insert(
                path.clone(),
                Folder {
                    now: names.clone(),
                    durable: names,
                },
            );
        }
        Self(Arc::new(Mutex::new(next)))
    }

    /// A copy of the disk as a reader sees it.
    pub(crate) fn copy(&self) -> Self {
        self.reboot(Survives::Everything)
    }

    /// Every file with its bytes.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let mut files = BTreeMap::new();
        for (path, folder) in &state.folders {
            for (name, inode) in &folder.now {
                files.insert(path.join(name), state.inodes[*inode].now.clone());
            }
        }
        files
    }

    /// Puts a file there as somebody else would, synced.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.inodes.len();
        state.inodes.push(Inode {
            now: bytes.to_vec(),
            durable: bytes.to_vec(),
        });
        let (parent, name) = split(path);
        let folder = state.folders.entry(parent).or_default();
        folder.now.insert(name.clone(), inode);
        folder.durable.insert(name, inode);
    }

    /// Takes a file away as somebody else would.
    pub(crate) fn take(&self, path: &Path) {
        let mut state = self.state();
        let (parent, name) = split(path);
        if let Some(folder) = state.folders.get_mut(&parent) {
            folder.now.remove(&name);
            folder.durable.remove(&name);
        }
    }

    /// The same paths under another root, as a copied folder.
    pub(crate) fn copy_folder(&self, from: &Path, to: &Path) {
        let folders: Vec<PathBuf> = self
            .state()
            .folders
            .keys()
            .filter(|path| path.starts_with(from))
            .cloned()
            .collect();
        for folder in folders {
            let there = to.join(folder.strip_prefix(from).expect("filtered"));
            self.state().folders.entry(there).or_default();
        }
        for (path, bytes) in self.files() {
            if let Ok(inside) = path.strip_prefix(from) {
                self.put(&to.join(inside), &bytes);
            }
        }
    }
}

struct SimInput {
    sim: Sim,
    inode: usize,
}

impl Input for SimInput {
    fn len(&self) -> io::Result<u64> {
        Ok(self.sim.state().inodes[self.inode].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.sim.state();
        let bytes = &state.inodes[self.inode].now;
        let from = usize::try_from(offset).expect("fits").min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }
}

struct SimOutput {
    sim: Sim,
    inode: usize,
    path: PathBuf,
}

impl Output for SimOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.sim.state();
        let step = state.step("write", &self.path, true)?;
        let file = &mut state.inodes[self.inode].now;
        match step {
            Step::Go => {
                file.extend_from_slice(bytes);
                Ok(())
            }
            Step::Half(error) => {
                file.extend_from_slice(&bytes[..bytes.len() / 2]);
                Err(error)
            }
        }
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.sim.state();
        let step = state.step("write", &self.path, true)?;
        let file = &mut state.inodes[self.inode].now;
        let start = usize::try_from(offset).expect("fits");
        assert!(start <= file.len(), "no hole is written");
        let (written, result) = match step {
            Step::Go => (bytes, Ok(())),
            Step::Half(error) => (&bytes[..bytes.len() / 2], Err(error)),
        };
        let end = start + written.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[start..end].copy_from_slice(written);
        result
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.sim.state();
        match state.step("sync", &self.path, false)? {
            Step::Go => {
                let file = &mut state.inodes[self.inode];
                file.durable = file.now.clone();
                Ok(())
            }
            Step::Half(error) => Err(error),
        }
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        Ok(self
            .sim
            .state()
            .find(path)
            .is_ok_and(|inode| inode == self.inode))
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.sim.state();
        match state.step("truncate", &self.path, false)? {
            Step::Go => {
                state.inodes[self.inode]
                    .now
                    .truncate(usize::try_from(len).expect("fits"));
                Ok(())
            }
            Step::Half(error) => Err(error),
        }
    }
}

struct SimLock {
    sim: Sim,
    path: PathBuf,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.sim.state().locks.remove(&self.path);
    }
}

impl Fs for Sim {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.folders.contains_key(path) {
            return Ok(());
        }
        match state.step("create folder", path, true)? {
            Step::Go => {
                // Folders survive from the moment they are made: the store makes them before anything that matters.
                state.folders.insert(path.to_owned(), Folder::default());
                Ok(())
            }
            Step::Half(error) => Err(error),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        let mut entries: Vec<Entry> = state
            .folders
            .keys()
            .filter(|folder| folder.parent() == Some(path))
            .map(|folder| Entry {
                name: split(folder).1,
                kind: EntryKind::Folder,
                len: 0,
            })
            .collect();
        let names = state.folder(path)?.now.clone();
        for (name, inode) in names {
            entries.push(Entry {
                name,
                kind: EntryKind::File,
                len: state.inodes[inode].now.len() as u64,
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Input>> {
        let inode = self.state().find(path)?;
        Ok(Box::new(SimInput {
            sim: self.clone(),
            inode,
        }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        let mut state = self.state();
        let (parent, name) = split(path);
        if state.folder(&parent)?.now.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match state.step("create", path, true)? {
            Step::Go => {
                let inode = state.inodes.len();
                state.inodes.push(Inode::default());
                state.folder(&parent)?.now.insert(name, inode);
                Ok(Box::new(SimOutput {
                    sim: self.clone(),
                    inode,
                    path: path.to_owned(),
                }))
            }
            Step::Half(error) => Err(error),
        }
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        let inode = self.state().find(path)?;
        Ok(Box::new(SimOutput {
            sim: self.clone(),
            inode,
            path: path.to_owned(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.find(from)?;
        match state.step("rename to", to, false)? {
            Step::Go => {
                let (parent, name) = split(from);
                state.folder(&parent)?.now.remove(&name);
                let (parent, name) = split(to);
                state.folder(&parent)?.now.insert(name, inode);
                Ok(())
            }
            Step::Half(error) => Err(error),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.find(path)?;
        match state.step("remove", path, false)? {
            Step::Go => {
                let (parent, name) = split(path);
                state.folder(&parent)?.now.remove(&name);
                Ok(())
            }
            Step::Half(error) => Err(error),
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.folder(path)?;
        match state.step("sync folder", path, false)? {
            Step::Go => {
                let folder = state.folder(path)?;
                folder.durable = folder.now.clone();
                Ok(())
            }
            Step::Half(error) => Err(error),
        }
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        let mut state = self.state();
        let (parent, name) = split(path);
        if !state.folder(&parent)?.now.contains_key(&name) {
            match state.step("create", path, true)? {
                Step::Go => {}
                Step::Half(error) => return Err(error.into()),
            }
            let inode = state.inodes.len();
            state.inodes.push(Inode::default());
            state.folder(&parent)?.now.insert(name, inode);
        }
        if !state.locks.insert(path.to_owned()) {
            return Err(LockError::Held);
        }
        Ok(Box::new(SimLock {
            sim: self.clone(),
            path: path.to_owned(),
        }))
    }
}

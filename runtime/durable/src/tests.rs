//! A disk that loses power after each of its steps, and has then what was synced, or that and all names that were given since.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    /// One of the files that ever were.
    File(usize),
}

#[derive(Default)]
struct Bytes {
    now: Vec<u8>,
    on_disk: Vec<u8>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, Node>,
    on_disk: BTreeMap<PathBuf, Node>,
    files: Vec<Bytes>,
    /// How many steps it takes until the power is gone.
    left: usize,
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("the power is gone"))?;
        Ok(())
    }

    fn at(&self, path: &Path) -> io::Result<Node> {
        let found = self.names.get(path).copied();
        found.ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<()> {
        if self.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        assert_eq!(self.at(folder_of(path))?, Node::Folder);
        self.names.insert(path.to_owned(), node);
        Ok(())
    }
}

struct Model(RefCell<State>);

impl Disk for Model {
    type File = usize;

    fn create(&self, path: &Path, _access: Access) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        state.step()?;
        let file = state.files.len();
        state.add(path, Node::File(file))?;
        state.files.push(Bytes::default());
        Ok(file)
    }

    fn write(&self, file: &mut usize, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.step()?;
        state.files[*file].now.extend_from_slice(bytes);
        Ok(())
    }

    fn sync_file(&self, file: &usize) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.step()?;
        let bytes = &mut state.files[*file];
        bytes.on_disk.clone_from(&bytes.now);
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let node = self.0.borrow().at(path)?;
        if let Node::File(file) = node {
            return self.sync_file(&file);
        }
        let mut state = self.0.borrow_mut();
        state.step()?;
        let State { names, on_disk, .. } = &mut *state;
        on_disk.retain(|name, _| folder_of(name) != path);
        let here = names.iter().filter(|(name, _)| folder_of(name) == path);
        on_disk.extend(here.map(|(name, node)| (name.clone(), *node)));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.step()?;
        let node = state.at(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.step()?;
        let node = state.at(from)?;
        state.add(to, node)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.step()?;
        state.at(path)?;
        state.names.remove(path);
        Ok(())
    }

    fn create_folder(&self, path: &Path, _access: Access) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.step()?;
        state.add(path, Node::Folder)
    }

    fn is_folder(&self, path: &Path) -> io::Result<bool> {
        Ok(self.0.borrow().names.get(path) == Some(&Node::Folder))
    }
}

const ROOT: &str = "/";
const FOLDER: &str = "/folder";
const FILE: &str = "/folder/file";
const OTHER: &str = "/folder/other";

impl Model {
    /// A disk that has a folder.
    fn new() -> Self {
        let folders = [ROOT, FOLDER].map(|path| (PathBuf::from(path), Node::Folder));
        let names = BTreeMap::from(folders);
        Self(RefCell::new(State {
            on_disk: names.clone(),
            names,
            files: Vec::new(),
            left: usize::MAX,
        }))
    }

    fn losing_power_after(self, steps: usize) -> Self {
        self.0.borrow_mut().left = steps;
        self
    }

    /// What is at a path after a power cut, where only synced names are there, and where all are: none of it is more than was synced.
    fn after_a_power_cut(&self, path: &str) -> [Option<Vec<u8>>; 2] {
        let state = self.0.borrow();
        [&state.on_disk, &state.names].map(|names| {
            let path = Path::new(path);
            let is_reached = path.ancestors().all(|level| names.contains_key(level));
            match names.get(path) {
                Some(Node::File(file)) if is_reached => Some(state.files[*file].on_disk.clone()),
                _ => None,
            }
        })
    }
}

/// Does something with the power lost after each of its steps, and says for each whether it went well.
fn at_each_step(make: impl Fn() -> Model, act: impl Fn(&Model) -> bool) -> Vec<(bool, Model)> {
    let mut all = Vec::new();
    for steps in 0.. {
        let disk = make().losing_power_after(steps);
        let is_done = act(&disk);
        all.push((is_done, disk));
        if is_done {
            break;
        }
    }
    // Otherwise nothing of it was looked at.
    assert!(all.len() > 3);
    all
}

const OLD: &[u8] = b"old";
const NEW: &[u8] = b"new bytes";

fn with_old() -> Model {
    let disk = Model::new();
    write_file_on(&disk, Path::new(FILE), OLD, Access::Umask).unwrap();
    disk
}

#[test]
fn a_file_is_the_old_one_or_the_new_one_and_the_new_one_once_it_is_said_to_be_there() {
    let write = |disk: &Model| write_file_on(disk, Path::new(FILE), NEW, Access::Umask).is_ok();
    for (is_done, disk) in at_each_step(with_old, write) {
        for found in disk.after_a_power_cut(FILE) {
            let found = found.expect("one of both is there");
            assert!(found == NEW || !is_done && found == OLD, "{found:?}");
        }
    }
}

#[test]
fn a_new_file_is_there_whole_or_not_at_all_and_no_other_takes_its_place() {
    let write = |disk: &Model| write_new_on(disk, Path::new(FILE), NEW, Access::Owner).is_ok();
    for (is_done, disk) in at_each_step(Model::new, write) {
        for found in disk.after_a_power_cut(FILE) {
            assert!(
                found.as_deref() == Some(NEW) || !is_done && found.is_none(),
                "{found:?}"
            );
        }
        if is_done {
            let names = disk.0.borrow().on_disk.len();
            assert_eq!(names, 3, "no draft stays");
        }
    }
    let disk = with_old();
    let error = write_new_on(&disk, Path::new(FILE), NEW, Access::Owner).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        disk.after_a_power_cut(FILE),
        [(); 2].map(|()| Some(OLD.to_vec()))
    );
    assert_eq!(disk.0.borrow().names.len(), 3);
}

#[test]
fn who_finds_that_another_one_made_the_file_may_rely_on_its_name() {
    let disk = with_old();
    // The other one has not come to that yet.
    disk.0.borrow_mut().on_disk.remove(Path::new(FILE));
    write_new_on(&disk, Path::new(FILE), NEW, Access::Owner).unwrap_err();
    assert_eq!(disk.after_a_power_cut(FILE)[0].as_deref(), Some(OLD));
}

#[test]
fn a_second_name_leads_to_what_is_on_the_disk() {
    let unsynced = || {
        let disk = Model::new();
        let mut file = disk.create(Path::new(FILE), Access::Owner).unwrap();
        disk.write(&mut file, OLD).unwrap();
        disk
    };
    for is_rename in [false, true] {
        let act = |disk: &Model| {
            let (from, to) = (Path::new(FILE), Path::new(OTHER));
            match is_rename {
                true => rename_on(disk, from, to),
                false => link_on(disk, from, to),
            }
            .is_ok()
        };
        for (is_done, disk) in at_each_step(unsynced, act) {
            for found in disk.after_a_power_cut(OTHER) {
                assert!(
                    found.as_deref() == Some(OLD) || !is_done && found.is_none(),
                    "{found:?}"
                );
            }
            if is_done {
                let has_first = disk.after_a_power_cut(FILE)[0].is_some();
                assert_eq!(has_first, !is_rename);
            }
        }
    }
}

#[test]
fn a_file_in_folders_that_were_made_for_it_is_reached() {
    let (folder, file) = ("/folder/a/b/c", "/folder/a/b/c/file");
    let act = |disk: &Model| {
        create_folder_on(disk, Path::new(folder), Access::Owner)
            .and_then(|()| write_file_on(disk, Path::new(file), NEW, Access::Owner))
            .is_ok()
    };
    // Also where another process has made some of them, and stopped before it had the last of their names on the disk.
    let begun = |disk: Model, path: &str| {
        disk.create_folder(Path::new(path), Access::Owner).unwrap();
        disk
    };
    let one = || begun(Model::new(), "/folder/a");
    let all = || {
        let disk = Model::new();
        create_folder_on(&disk, Path::new("/folder/a/b"), Access::Owner).unwrap();
        begun(disk, folder)
    };
    let begun: [&dyn Fn() -> Model; 3] = [&Model::new, &one, &all];
    for begun in begun {
        for (is_done, disk) in at_each_step(begun, act) {
            for found in disk.after_a_power_cut(file) {
                assert!(
                    found.as_deref() == Some(NEW) || !is_done && found.is_none(),
                    "{found:?}"
                );
            }
        }
    }
}

/// A folder of this test's own, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("tally-durable-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn on_a_real_disk_files_are_replaced_and_made_and_nothing_else_stays() {
    let scratch = Scratch::new("files");
    let folder = scratch.0.join("a/b");
    create_folder(&folder, Access::Owner).unwrap();
    create_folder(&folder, Access::Owner).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let (file, new, other) = (
        folder.join("file"),
        folder.join("new"),
        folder.join("other"),
    );
    write_file(&file, OLD, Access::Owner).unwrap();
    write_file(&file, NEW, Access::Owner).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), NEW);
    assert_eq!(mode(&file), 0o600);
    write_new(&new, OLD, Access::Owner).unwrap();
    let error = write_new(&new, NEW, Access::Owner).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    link(&new, &other).unwrap();
    let error = link(&file, &other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    rename(&other, &file).unwrap();
    sync(&file).unwrap();
    assert_eq!(std::fs::read(&new).unwrap(), OLD);
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["file", "new"]);
    let error = create_folder(&file, Access::Owner).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn what_a_crash_left_of_a_draft_is_in_nobodys_way() {
    let scratch = Scratch::new("drafts");
    // Other tests make some meanwhile.
    let next = DRAFTS.load(Ordering::Relaxed);
    let numbers = next..next + 4096;
    for number in numbers.clone() {
        let name = format!(".draft-{}-{number}", std::process::id());
        std::fs::write(scratch.0.join(name), OLD).unwrap();
    }
    let file = scratch.0.join("file");
    write_file(&file, NEW, Access::Umask).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), NEW);
    let there = std::fs::read_dir(&scratch.0).unwrap();
    assert_eq!(there.count(), numbers.count() + 1);
}

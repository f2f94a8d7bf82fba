//! The set: every frame that was found and stands, and where its boxes lie.
//!
//! The set grows as files are read and never believes a name. Operations stay on the disk: what is kept of a frame is its
//! seal and the places of its boxes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use tally_vault_format::{
    BlobEntry, BoxHash, FrameRef, KeyId, MemberId, OpId, Rebox, Seal, SealId, VaultId,
};

use crate::environment::Environment;
use crate::finding::{Code, Finding};
use crate::fs::{self, EntryKind};
use crate::layout::{self, Layout, SEGMENTS, TAILS};
use crate::parallel;
use crate::scan::{self, Boxed, Flaw, FlawKind, Found, Scanned};
use crate::seals::Seals;
use crate::standing::{self, Chain};

/// A file of frames.
pub(crate) struct FrameFile {
    pub(crate) path: PathBuf,
    pub(crate) is_tail: bool,
    /// Whether its name has the form that such a file has.
    pub(crate) well_named: bool,
    /// How long it was when it was read.
    pub(crate) len: u64,
    /// Where reading goes on when it has grown: in a tail, where its room begins.
    pub(crate) good_len: u64,
    /// How many frames are in it, and how many of them, when it was read, brought something that no other file had.
    pub(crate) frames: usize,
    pub(crate) fresh: usize,
    /// The authors of its frames.
    pub(crate) authors: Vec<MemberId>,
    pub(crate) flaws: Vec<Flaw>,
    /// It was there when the folder was last listed.
    pub(crate) present: bool,
}

/// One box of a seal.
#[derive(Clone)]
pub(crate) struct StoredBox {
    pub(crate) file: usize,
    /// Where the frame begins, and how long it is.
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) hash: BoxHash,
    pub(crate) key: KeyId,
    pub(crate) rebox: Option<Box<Rebox>>,
    pub(crate) blobs: Vec<BlobEntry>,
    /// It was opened and is not what was sealed.
    pub(crate) unreadable: bool,
}

/// A seal that stands.
pub(crate) struct Stored {
    pub(crate) seal: Seal,
    pub(crate) boxes: Vec<StoredBox>,
    /// Its operations are in the fold.
    pub(crate) opened: bool,
    /// Of the box that was opened: the operations whose bodies it lacks.
    pub(crate) bodiless: Vec<OpId>,
    /// The fold knows the seal.
    pub(crate) noted: bool,
}

/// What reading brought.
#[derive(Default)]
pub(crate) struct News {
    /// Control frames, to be folded first.
    pub(crate) control: Vec<(SealId, Vec<u8>)>,
    /// Seals that are new, or that have a new box.
    pub(crate) seals: Vec<SealId>,
}

/// All frames that stand.
#[derive(Default)]
pub(crate) struct Set {
    pub(crate) files: Vec<FrameFile>,
    pub(crate) seals: Seals,
    pub(crate) chains: BTreeMap<MemberId, Chain>,
    /// Findings about frames that were dropped.
    pub(crate) dropped: Vec<Finding>,
}

impl Set {
    /// Reads what is new in the folder. A file that vanished while it was read is taken as not there.
    pub(crate) fn read_folder(
        &mut self,
        environment: &Environment,
        layout: &Layout,
        vault: &VaultId,
    ) -> io::Result<News> {
        for file in &mut self.files {
            file.present = false;
        }
        let mut wanted = Vec::new();
        for (folder, is_tail) in [(SEGMENTS, false), (TAILS, true)] {
            for entry in list(environment, &layout.folder(folder))? {
                if entry.kind != EntryKind::File {
                    continue;
                }
                let path = layout.folder(folder).join(&entry.name);
                let well_named = layout::is_frame_file_name(&entry.name, is_tail);
                match self.files.iter_mut().position(|file| file.path == path) {
                    Some(known) => {
                        let file = &mut self.files[known];
                        file.present = true;
                        // A tail grows into its room, which does not show in its length.
                        if entry.len != file.len || is_tail {
                            let from = if entry.len >= file.good_len && file.flaws.is_empty() {
                                file.good_len
                            } else {
                                0
                            };
                            wanted.push((known, from));
                        }
                    }
                    None => {
                        self.files.push(FrameFile {
                            path,
                            is_tail,
                            well_named,
                            len: 0,
                            good_len: 0,
                            frames: 0,
                            fresh: 0,
                            authors: Vec::new(),
                            flaws: Vec::new(),
                            present: true,
                        });
                        wanted.push((self.files.len() - 1, 0));
                    }
                }
            }
        }
        // What has the name that the format gives it counts as the original, a second copy as the double.
        wanted.sort_by_key(|(file, _)| (!self.files[*file].well_named, *file));
        let scans = parallel::map(&wanted, environment.threads, |(file, from)| {
            let file = &self.files[*file];
            scan::scan(&*environment.fs, &file.path, vault, file.is_tail, *from)
        });
        let mut read = Vec::new();
        for ((file, from), scanned) in wanted.into_iter().zip(scans) {
            match scanned {
                Ok(scanned) => read.push((file, from, scanned)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.files[file].present = false
                }
                Err(error) => {
                    let flaw = Flaw {
                        offset: 0,
                        kind: FlawKind::Unreadable,
                        detail: error.to_string(),
                    };
                    self.files[file].flaws = vec![flaw];
                }
            }
        }
        Ok(self.absorb(environment, read))
    }

    /// The frames of one file that is not a vault's, such as a portable one.
    pub(crate) fn of_file(environment: &Environment, path: &Path, scanned: Scanned) -> Self {
        let mut set = Self::default();
        let file = set.own_file(path, false);
        set.absorb(environment, vec![(file, 0, scanned)]);
        set
    }

    /// Takes in what was read from files.
    fn absorb(&mut self, environment: &Environment, read: Vec<(usize, u64, Scanned)>) -> News {
        let found: Vec<(SealId, &Seal)> = read
            .iter()
            .flat_map(|(_, _, scanned)| &scanned.frames)
            .filter(|found| !self.seals.contains_key(&found.id))
            .map(|found| (found.id, &found.seal))
            .collect();
        let judged = standing::judge(found, &mut self.chains, environment.threads);
        for (id, seal) in judged.forged {
            self.dropped.push(Finding::new(
                Code::SealForged,
                seal.author.to_string(),
                format!("seal {} {id}", seal.counter),
            ));
        }
        self.seals.reserve(judged.standing.len());
        for (id, seal) in judged.standing {
            self.seals.get_or_insert_with(id, || Stored {
                seal: *seal,
                boxes: Vec::new(),
                opened: false,
                bodiless: Vec::new(),
                noted: false,
            });
        }

        let mut news = News::default();
        for (file, from, scanned) in read {
            let known = &mut self.files[file];
            if from == 0 {
                (known.frames, known.fresh) = (0, 0);
                known.authors.clear();
            }
            known.len = scanned.len;
            known.good_len = scanned.good_len;
            known.flaws = scanned.flaws;
            for found in scanned.frames {
                let fresh = self.add(file, found, &mut news);
                let known = &mut self.files[file];
                known.frames += 1;
                known.fresh += usize::from(fresh);
            }
        }
        news
    }

    /// Adds a frame of a seal that stands. Says whether it brought anything.
    fn add(&mut self, file: usize, found: Found, news: &mut News) -> bool {
        let authors = &mut self.files[file].authors;
        if !authors.contains(&found.seal.author) {
            authors.push(found.seal.author);
        }
        let Some(stored) = self.seals.get_mut(&found.id) else {
            return false;
        };
        let fresh = !std::mem::replace(&mut stored.noted, true);
        if fresh {
            news.seals.push(found.id);
        }
        match found.boxed {
            Boxed::Absent => fresh,
            Boxed::Altered => {
                self.files[file].flaws.push(Flaw {
                    offset: found.offset,
                    kind: FlawKind::BoxAltered,
                    detail: format!(
                        "at byte {}: seal {} of {}",
                        found.offset, found.seal.counter, found.seal.author
                    ),
                });
                false
            }
            Boxed::Good => {
                let hash = found
                    .rebox
                    .map_or(found.seal.box_hash, |rebox| rebox.box_hash);
                let rebox = found.rebox.map(Box::new);
                if let Some(known) = stored
                    .boxes
                    .iter_mut()
                    .find(|known| known.hash == hash && known.rebox == rebox)
                {
                    // The file it was in is gone, as when a tail became a segment.
                    let moved = !self.files[known.file].present;
                    if moved {
                        (known.file, known.offset, known.len) = (file, found.offset, found.len);
                    }
                    return moved;
                }
                // One box is what nearly all have.
                stored.boxes.reserve_exact(1);
                stored.boxes.push(StoredBox {
                    file,
                    offset: found.offset,
                    len: found.len,
                    hash,
                    key: found.rebox.map_or(found.seal.key, |rebox| rebox.key),
                    rebox,
                    blobs: found.blobs,
                    unreadable: false,
                });
                if let Some(control) = found.control {
                    news.control.push((found.id, control));
                }
                if !fresh {
                    news.seals.push(found.id);
                }
                true
            }
        }
    }

    /// Takes in a frame that this process has just written.
    pub(crate) fn add_own(&mut self, file: usize, offset: u64, frame: &FrameRef<'_>) {
        let seal = *frame.seal();
        let id = frame.seal_id();
        let len = u32::try_from(frame.encoded().len()).expect("a frame is bounded");
        let stored = self.seals.get_or_insert_with(id, || {
            let link = standing::Link {
                id,
                previous: seal.previous,
                signed: true,
            };
            let chain = self.chains.entry(seal.author).or_default();
            standing::add_link(chain, seal.counter, link);
            Stored {
                seal,
                boxes: Vec::new(),
                opened: true,
                bodiless: Vec::new(),
                noted: true,
            }
        });
        stored.boxes.reserve_exact(1);
        stored.boxes.push(StoredBox {
            file,
            offset,
            len,
            hash: frame.rebox().map_or(seal.box_hash, |rebox| rebox.box_hash),
            key: frame.key(),
            rebox: frame.rebox().copied().map(Box::new),
            blobs: frame
                .box_ref()
                .map_or_else(Vec::new, |parsed| parsed.blobs().collect()),
            unreadable: false,
        });
        let known = &mut self.files[file];
        known.len = offset + u64::from(len);
        known.good_len = known.len;
        known.frames += 1;
        known.fresh += 1;
        if !known.authors.contains(&seal.author) {
            known.authors.push(seal.author);
        }
    }

    /// The number of a file that this process writes.
    pub(crate) fn own_file(&mut self, path: &Path, is_tail: bool) -> usize {
        if let Some(known) = self.files.iter().position(|file| file.path == path) {
            self.files[known].present = true;
            return known;
        }
        self.files.push(FrameFile {
            path: path.to_owned(),
            is_tail,
            well_named: true,
            len: 0,
            good_len: 0,
            frames: 0,
            fresh: 0,
            authors: Vec::new(),
            flaws: Vec::new(),
            present: true,
        });
        self.files.len() - 1
    }

    /// Bytes of memory, but for what allocators add.
    pub(crate) fn memory(&self) -> usize {
        let boxes: usize = self
            .seals
            .values()
            .map(|stored| {
                stored.boxes.capacity() * size_of::<StoredBox>()
                    + stored
                        .boxes
                        .iter()
                        .map(|one| one.blobs.capacity() * size_of::<BlobEntry>())
                        .sum::<usize>()
            })
            .sum();
        let links: usize = self.chains.values().map(BTreeMap::len).sum();
        self.seals.memory()
            + boxes
            + links * size_of::<(u64, Vec<standing::Link>, standing::Link)>()
    }
}

/// The frame of a seal without its box, as the format's `FrameRef::write_without_box` makes it of a frame: magic, the
/// flag for no box, length, seal.
pub(crate) fn bare_frame(seal: &Seal) -> Vec<u8> {
    let mut frame = vec![0xf1, 2];
    frame.extend_from_slice(&u32::try_from(Seal::LEN).expect("352").to_be_bytes());
    frame.extend_from_slice(&seal.encode());
    frame
}

/// The names in a folder of a vault; none if the folder is missing, as sync tools leave out empty ones.
pub(crate) fn list(environment: &Environment, folder: &Path) -> io::Result<Vec<fs::Entry>> {
    match environment.fs.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

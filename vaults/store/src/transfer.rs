//! From copy to copy without a network: the portable file, and another folder of the same vault.
//!
//! What comes from outside is judged as if it were in the folder, and only what stands is written: blobs first, then keyrings,
//! then frames, each durable before the next. A crash in between leaves at worst files that nobody names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tally_vault_format::{
    BlobId, BoxBuffer, Content, FrameRef, Genesis, GenesisError, Keyring, KeyringId, MemberId,
    NamespaceId, SealId, Slot, VaultId, limits, portable,
};

use crate::blobs;
use crate::durable::{self, Draft};
use crate::error::{FileError, OpenError, WriteError};
use crate::fs::{self, EntryKind, Input, read_full};
use crate::layout::{BLOBS, GENESIS, KEYS, Layout, SLOTS, TEMPORARY};
use crate::open_boxes::{FrameReader, ranked};
use crate::scan::{Scanned, read_frame_at};
use crate::segment::SegmentWriter;
use crate::set::{Set, bare_frame, list};
use crate::vault::Vault;

const BUFFER_LEN: usize = 1 << 18;

/// Why a vault was not written to a portable file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A file of the vault could not be read.
    #[error("{0}")]
    File(#[from] FileError),
    /// Whoever takes the file refused it.
    #[error("write the portable file: {0}")]
    Output(io::Error),
}

/// Why nothing was taken from elsewhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The portable file does not hold. Nothing of it was taken.
    #[error("{0}")]
    Portable(#[from] portable::PortableError),
    /// Its genesis does not hold.
    #[error("the genesis in it: {0}")]
    Genesis(#[from] GenesisError),
    /// It is another vault's.
    #[error("it belongs to vault {found}, this is {own}")]
    OtherVault {
        /// This vault.
        own: VaultId,
        /// The other.
        found: VaultId,
    },
    /// Reading it failed.
    #[error("read the portable file: {0}")]
    Input(io::Error),
    /// Writing failed. What was taken until then is whole; do it again for the rest.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// Reading the folder again failed.
    #[error("{0}")]
    Open(#[from] OpenError),
}

impl From<FileError> for ImportError {
    fn from(error: FileError) -> Self {
        Self::Write(error.into())
    }
}

/// How much was written to a portable file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Seals, with or without a box.
    pub frames: u64,
    /// Large contents.
    pub blobs: u64,
    /// Large contents that are not here.
    pub blobs_missing: u64,
    /// Bytes altogether.
    pub bytes: u64,
}

/// What was taken from elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Frames that are new, or have a box that is.
    pub frames: u64,
    /// Their bytes.
    pub frame_bytes: u64,
    /// Keyrings.
    pub keyrings: u64,
    /// Slots.
    pub slots: u64,
    /// Large contents.
    pub blobs: u64,
    /// Frames that are not genuine, or whose author nobody admitted; they were left.
    pub refused: u64,
}

/// Where a blob lies that could be taken.
struct BlobSource {
    path: PathBuf,
    offset: u64,
    len: u64,
}

/// What another copy holds.
struct Other {
    set: Set,
    keyrings: Vec<Vec<u8>>,
    slots: Vec<Vec<u8>>,
    blobs: BTreeMap<BlobId, BlobSource>,
}

impl Vault {
    /// Writes the vault, as far as it is here, to one file. What it holds stays encrypted.
    ///
    /// # Errors
    /// [`ExportError`].
    pub fn export(&mut self, output: &mut dyn Write) -> Result<Exported, ExportError> {
        let mut out = Portable {
            output,
            writer: portable::Writer::new(),
            bytes: 0,
        };
        let mut exported = Exported::default();
        out.raw(portable::HEADER)?;
        out.section(portable::SectionKind::Genesis, self.genesis.encode())?;
        let mut ignored = Vec::new();
        let (slots, _) = self.read_slots(&mut ignored)?;
        for slot in &slots {
            out.section(portable::SectionKind::Slot, slot.encode())?;
        }
        let rings: Vec<KeyringId> = self.named_keyrings().into_iter().collect();
        for ring in rings {
            if let Some((ring, _)) = self.keys.rings.get(&ring) {
                out.section(portable::SectionKind::Keyring, ring.encode())?;
            }
        }
        let numbers = self.key_numbers();
        let mut reader = FrameReader::new(&self.environment, &self.set);
        let mut blobs: BTreeSet<BlobId> = BTreeSet::new();
        for chain in self.set.chains.values() {
            for link in chain.values().flatten() {
                let Some(stored) = self.set.seals.get(&link.id) else {
                    continue;
                };
                exported.frames += 1;
                let best = ranked(stored, &self.keys, &numbers)
                    .first()
                    .copied()
                    .or_else(|| stored.boxes.iter().position(|one| !one.unreadable));
                let Some(one) = best.map(|place| &stored.boxes[place]) else {
                    out.section(portable::SectionKind::Frame, &bare_frame(&stored.seal))?;
                    continue;
                };
                blobs.extend(one.blobs.iter().map(|entry| entry.id));
                let bytes = reader
                    .read(one)
                    .map_err(FileError::at(self.layout.root()))?;
                out.section(portable::SectionKind::Frame, bytes)?;
            }
        }
        for blob in blobs {
            let path = self.layout.blob(&blob);
            // Verified first: a length that was announced cannot be taken back.
            let file = match self.environment.fs.open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    exported.blobs_missing += 1;
                    continue;
                }
                Err(error) => return Err(FileError::at(&path)(error).into()),
            };
            let len = file.len().map_err(FileError::at(&path))?;
            let found = blobs::identify(&*file, 0, len).map_err(FileError::at(&path))?;
            if found != Ok(blob) {
                exported.blobs_missing += 1;
                continue;
            }
            exported.blobs += 1;
            out.file(portable::SectionKind::Blob, &*file, &path, len)?;
        }
        exported.bytes = out.finish()?;
        Ok(exported)
    }

    /// Takes in what a portable file of this vault holds and this copy does not. The file is read to its end, and found
    /// complete, before anything of it is taken.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn import(&mut self, input: &mut dyn Read) -> Result<Taken, ImportError> {
        if self.lock.is_none() {
            return Err(WriteError::ReadOnly.into());
        }
        let temporary = self.layout.folder(TEMPORARY);
        let mut name = [0; 16];
        self.environment
            .random
            .fill(&mut name)
            .map_err(WriteError::Random)?;
        let spool = temporary.join(hex::encode(name));
        let taken = self.spool(&spool, input).and_then(|sections| {
            let other = self.read_portable(&spool, &sections)?;
            self.take(&other)
        });
        let _ = self.environment.fs.remove(&spool);
        taken
    }

    /// Takes in what another folder of this vault holds and this one does not. The other is not changed.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn merge_folder(&mut self, folder: &Path) -> Result<Taken, ImportError> {
        if self.lock.is_none() {
            return Err(WriteError::ReadOnly.into());
        }
        let layout = Layout::new(folder);
        let environment = &self.environment;
        let genesis = fs::read(&*environment.fs, &layout.genesis(), Genesis::LEN as u64).map_err(
            |error| match error.kind() {
                io::ErrorKind::NotFound => ImportError::Open(OpenError::NotAVault {
                    folder: folder.to_owned(),
                }),
                _ => FileError::at(&layout.genesis())(error).into(),
            },
        )?;
        self.same_vault(&genesis)?;
        let mut set = Set::default();
        set.read_folder(environment, &layout, &self.id)
            .map_err(FileError::at(folder))?;
        let mut other = Other {
            set,
            keyrings: Vec::new(),
            slots: Vec::new(),
            blobs: BTreeMap::new(),
        };
        for (name, limit) in [(KEYS, limits::KEYRING_LEN), (SLOTS, Slot::LEN)] {
            let inside = layout.folder(name);
            for entry in list(environment, &inside).map_err(FileError::at(&inside))? {
                if entry.kind != EntryKind::File || entry.len > limit as u64 {
                    continue;
                }
                let Ok(bytes) = fs::read(&*environment.fs, &inside.join(&entry.name), limit as u64)
                else {
                    continue;
                };
                if name == KEYS {
                    other.keyrings.push(bytes)
                } else {
                    other.slots.push(bytes)
                }
            }
        }
        let inside = layout.folder(BLOBS);
        for entry in list(environment, &inside).map_err(FileError::at(&inside))? {
            let id: Option<BlobId> = entry
                .name
                .strip_suffix(".blob")
                .and_then(|stem| stem.parse().ok());
            if let Some(id) = id.filter(|_| entry.kind == EntryKind::File) {
                let source = BlobSource {
                    path: inside.join(&entry.name),
                    offset: 0,
                    len: entry.len,
                };
                other.blobs.insert(id, source);
            }
        }
        self.take(&other)
    }

    fn same_vault(&self, genesis: &[u8]) -> Result<(), ImportError> {
        let found = Genesis::parse(genesis)?.vault_id();
        if found == self.id {
            Ok(())
        } else {
            Err(ImportError::OtherVault {
                own: self.id,
                found,
            })
        }
    }

    /// Copies a portable file into the temporary folder, and checks that it is complete. Returns its sections.
    fn spool(
        &self,
        spool: &Path,
        input: &mut dyn Read,
    ) -> Result<Vec<(portable::SectionKind, u64, u64)>, ImportError> {
        let incomplete = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                ImportError::Portable(portable::PortableError::Incomplete)
            }
            _ => ImportError::Input(error),
        };
        let mut draft = self
            .environment
            .fs
            .create(spool)
            .map_err(FileError::at(spool))?;
        let mut header = [0; portable::HEADER.len()];
        input.read_exact(&mut header).map_err(incomplete)?;
        let mut reader = portable::Reader::new(&header)?;
        let mut sections = Vec::new();
        let mut offset = 0;
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            let mut section = [0; portable::SECTION_HEADER_LEN];
            input.read_exact(&mut section).map_err(incomplete)?;
            match reader.section(&section)? {
                portable::Next::Section { kind, len } => {
                    let mut left = len;
                    while left > 0 {
                        let part = usize::try_from(left)
                            .map_or(buffer.len(), |left| left.min(buffer.len()));
                        let part = &mut buffer[..part];
                        input.read_exact(part).map_err(incomplete)?;
                        reader.content(part);
                        draft.write(part).map_err(FileError::at(spool))?;
                        left -= part.len() as u64;
                    }
                    sections.push((kind, offset, len));
                    offset += len;
                }
                portable::Next::End => {
                    let mut hash = [0; 32];
                    input.read_exact(&mut hash).map_err(incomplete)?;
                    reader.finish(&hash)?;
                    let mut more = [0];
                    return match input.read(&mut more).map_err(ImportError::Input)? {
                        0 => Ok(sections),
                        _ => Err(portable::PortableError::Trailing.into()),
                    };
                }
            }
        }
    }

    fn read_portable(
        &self,
        spool: &Path,
        sections: &[(portable::SectionKind, u64, u64)],
    ) -> Result<Other, ImportError> {
        let file = self
            .environment
            .fs
            .open(spool)
            .map_err(FileError::at(spool))?;
        let mut scanned = Scanned {
            frames: Vec::new(),
            flaws: Vec::new(),
            good_len: 0,
            len: 0,
        };
        let (mut keyrings, mut slots, mut blobs) = (Vec::new(), Vec::new(), BTreeMap::new());
        let read = |offset: u64, len: u64| -> Result<Vec<u8>, FileError> {
            let mut bytes = vec![0; usize::try_from(len).expect("a bounded section")];
            let filled = read_full(&*file, &mut bytes, offset).map_err(FileError::at(spool))?;
            bytes.truncate(filled);
            Ok(bytes)
        };
        for &(kind, offset, len) in sections {
            match kind {
                portable::SectionKind::Genesis => self.same_vault(&read(offset, len)?)?,
                portable::SectionKind::Slot => slots.push(read(offset, len)?),
                portable::SectionKind::Keyring => keyrings.push(read(offset, len)?),
                portable::SectionKind::Frame => {
                    let bytes = read(offset, len)?;
                    scanned
                        .frames
                        .extend(read_frame_at(&self.id, &bytes, offset));
                }
                portable::SectionKind::Blob => {
                    // What is no blob is of no use to anybody.
                    let found =
                        blobs::identify(&*file, offset, len).map_err(FileError::at(spool))?;
                    if let Ok(id) = found {
                        blobs.insert(
                            id,
                            BlobSource {
                                path: spool.to_owned(),
                                offset,
                                len,
                            },
                        );
                    }
                }
            }
        }
        Ok(Other {
            set: Set::of_file(&self.environment, spool, scanned),
            keyrings,
            slots,
            blobs,
        })
    }

    /// Writes what is new and stands.
    fn take(&mut self, other: &Other) -> Result<Taken, ImportError> {
        let mut taken = Taken {
            refused: other.set.dropped.len() as u64,
            ..Taken::default()
        };
        let admitted = self.admitted_with(&other.set);
        let mut news: Vec<(SealId, Vec<usize>)> = Vec::new();
        for (id, stored) in other.set.seals.iter() {
            if !admitted.contains(&stored.seal.author) {
                taken.refused += 1;
                continue;
            }
            let known = self.set.seals.get(id);
            let new_boxes: Vec<usize> = stored
                .boxes
                .iter()
                .enumerate()
                .filter(|(_, one)| {
                    known.is_none_or(|known| {
                        !known
                            .boxes
                            .iter()
                            .any(|have| have.hash == one.hash && have.rebox == one.rebox)
                    })
                })
                .map(|(place, _)| place)
                .collect();
            if known.is_none() || !new_boxes.is_empty() {
                news.push((*id, new_boxes));
            }
        }
        // Authors and their seals in order, so that what was written is read again in order.
        news.sort_by_key(|(id, _)| {
            let seal = &other.set.seals[id].seal;
            (seal.author, seal.counter, *id)
        });

        // What is pointed to comes before what points.
        let mut wanted: BTreeSet<BlobId> = self.missing_blobs()?;
        for (id, places) in &news {
            let boxes = &other.set.seals[id].boxes;
            wanted.extend(
                places
                    .iter()
                    .flat_map(|place| boxes[*place].blobs.iter().map(|entry| entry.id)),
            );
        }
        for blob in wanted {
            let Some(source) = other.blobs.get(&blob) else {
                continue;
            };
            taken.blobs += u64::from(self.copy_blob(&blob, source)?);
        }
        self.sync(BLOBS)?;
        for bytes in &other.keyrings {
            let Ok(ring) = Keyring::parse(&self.id, bytes) else {
                continue;
            };
            let id = ring.id();
            if self.keys.rings.contains_key(&id) {
                continue;
            }
            let path = self.layout.keyring(&id);
            let name = path
                .file_name()
                .expect("a keyring's path has a name")
                .to_string_lossy()
                .into_owned();
            let temporary = self.layout.folder(TEMPORARY);
            durable::write_unsynced(
                &self.environment,
                &temporary,
                &self.layout.folder(KEYS),
                &name,
                bytes,
            )
            .map_err(FileError::at(&path))?;
            self.keys.add_ring(ring);
            taken.keyrings += 1;
        }
        self.sync(KEYS)?;
        let mut reader = FrameReader::new(&self.environment, &other.set);
        let mut writer = SegmentWriter::new(&self.environment, &self.layout);
        for (id, places) in &news {
            let stored = &other.set.seals[id];
            let mut push = |bytes: &[u8]| -> Result<(), FileError> {
                taken.frame_bytes += bytes.len() as u64;
                writer
                    .push(bytes)
                    .map_err(FileError::at(self.layout.root()))
            };
            if stored.boxes.is_empty() {
                push(&bare_frame(&stored.seal))?;
            }
            for place in places {
                let bytes = reader
                    .read(&stored.boxes[*place])
                    .map_err(FileError::at(self.layout.root()))?;
                push(bytes)?;
            }
            taken.frames += 1;
        }
        writer.finish().map_err(FileError::at(self.layout.root()))?;
        self.refresh()?;
        taken.slots = self.take_slots(&other.slots)?;
        // What came may be redacted here, and what is here may be redacted by what came.
        match self.finish_redactions() {
            Ok(_) | Err(WriteError::Locked | WriteError::NotPermitted { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(taken)
    }

    /// The root, and whoever is admitted here or by the frames that came, from the root down.
    fn admitted_with(&mut self, other: &Set) -> BTreeSet<MemberId> {
        let mut admitted: BTreeSet<MemberId> = self
            .fold
            .view()
            .grants()
            .iter()
            .map(|grant| grant.card.member())
            .collect();
        admitted.insert(self.genesis.root().member());
        let mut grants: Vec<(MemberId, MemberId)> = Vec::new();
        let mut reader = FrameReader::new(&self.environment, other);
        let mut buffer = BoxBuffer::new();
        for stored in other
            .seals
            .values()
            .filter(|stored| stored.seal.namespace == NamespaceId::CONTROL)
        {
            for one in &stored.boxes {
                let Ok(bytes) = reader.read(one) else {
                    continue;
                };
                let Ok(frame) = FrameRef::parse(&self.id, bytes) else {
                    continue;
                };
                let Ok(Some(opened)) = frame.open(None, &mut buffer) else {
                    continue;
                };
                for op in opened.iter() {
                    if let Some(Content::Grant(grant)) = op.op.content() {
                        grants.push((stored.seal.author, grant.card.member()));
                    }
                }
            }
        }
        loop {
            let before = admitted.len();
            for (by, whom) in &grants {
                if admitted.contains(by) {
                    admitted.insert(*whom);
                }
            }
            if admitted.len() == before {
                return admitted;
            }
        }
    }

    /// Keyrings that a rotation that counts names.
    pub(crate) fn named_keyrings(&mut self) -> BTreeSet<KeyringId> {
        let view = self.fold.view();
        view.namespaces()
            .iter()
            .flat_map(|namespace| view.keys(namespace, |_| None).keys)
            .flat_map(|row| row.keyrings.into_iter().map(|(ring, _, _)| ring))
            .collect()
    }

    /// Blobs that boxes here refer to and that are not here.
    fn missing_blobs(&self) -> Result<BTreeSet<BlobId>, FileError> {
        let folder = self.layout.folder(BLOBS);
        let here: BTreeSet<String> = list(&self.environment, &folder)
            .map_err(FileError::at(&folder))?
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        Ok(self
            .set
            .seals
            .values()
            .flat_map(|stored| &stored.boxes)
            .flat_map(|one| one.blobs.iter().map(|entry| entry.id))
            .filter(|id| !here.contains(&format!("{id}.blob")))
            .collect())
    }

    /// Copies a blob if its bytes are those of its name.
    fn copy_blob(&self, id: &BlobId, source: &BlobSource) -> Result<bool, FileError> {
        let path = self.layout.blob(id);
        match self.environment.fs.open(&path) {
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(FileError::at(&path)(error)),
        }
        let Ok(file) = self.environment.fs.open(&source.path) else {
            return Ok(false);
        };
        let mut draft = Draft::begin(&self.environment, &self.layout.folder(TEMPORARY))
            .map_err(FileError::at(&path))?;
        let copied = blobs::pass_on(&*file, source.offset, source.len, id, |part| {
            draft.write(part)
        });
        match copied {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                draft.abandon(&self.environment);
                return Ok(false);
            }
            Err(error) => {
                draft.abandon(&self.environment);
                return Err(FileError::at(&path)(error));
            }
        }
        draft
            .place(&self.environment, &path)
            .map_err(FileError::at(&path))?;
        Ok(true)
    }

    /// Keeps the slots of members that are admitted and have none here.
    fn take_slots(&mut self, slots: &[Vec<u8>]) -> Result<u64, ImportError> {
        let mut ignored = Vec::new();
        let (here, _) = self.read_slots(&mut ignored)?;
        let cards: Vec<_> = self
            .fold
            .view()
            .grants()
            .into_iter()
            .map(|grant| grant.card)
            .collect();
        let mut taken = 0;
        for bytes in slots {
            let Ok(slot) = Slot::parse(&self.id, bytes) else {
                continue;
            };
            if !cards.contains(slot.card()) || here.iter().any(|known| known.card() == slot.card())
            {
                continue;
            }
            let folder = self.layout.folder(SLOTS);
            let temporary = self.layout.folder(TEMPORARY);
            durable::write(
                &self.environment,
                &temporary,
                &folder,
                &slot.file_name(),
                slot.encode(),
            )
            .map_err(FileError::at(&folder))?;
            taken += 1;
        }
        Ok(taken)
    }

    fn sync(&self, name: &str) -> Result<(), FileError> {
        let folder = self.layout.folder(name);
        self.environment
            .fs
            .sync_dir(&folder)
            .map_err(FileError::at(&folder))
    }
}

/// Makes a folder of a vault from a portable file: the way in on a computer that has no copy. Returns the vault's id;
/// open the folder afterwards.
///
/// # Errors
/// [`ImportError`]; [`WriteError::File`] of kind `AlreadyExists` if the folder is a vault.
pub fn unpack(
    environment: crate::Environment,
    place: &crate::Place,
    input: &mut dyn Read,
) -> Result<VaultId, ImportError> {
    let layout = Layout::new(&place.folder);
    let exists = |path: &Path| {
        ImportError::from(FileError {
            path: path.to_owned(),
            source: io::ErrorKind::AlreadyExists.into(),
        })
    };
    let names = list(&environment, layout.root()).map_err(FileError::at(layout.root()))?;
    if let Some(first) = names.first() {
        return Err(exists(&layout.root().join(&first.name)));
    }
    // The genesis is the first section: it is read ahead, and given to the import again.
    let mut head = vec![0; portable::HEADER.len() + portable::SECTION_HEADER_LEN + Genesis::LEN];
    input
        .read_exact(&mut head)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                ImportError::Portable(portable::PortableError::Incomplete)
            }
            _ => ImportError::Input(error),
        })?;
    portable::Reader::new(head.first_chunk().expect("read above"))?;
    let genesis = Genesis::parse(&head[head.len() - Genesis::LEN..])?;
    for folder in std::iter::once(layout.root().to_owned())
        .chain(crate::layout::FOLDERS.map(|name| layout.folder(name)))
    {
        environment
            .fs
            .create_dir(&folder)
            .map_err(FileError::at(&folder))?;
    }
    let lock = crate::vault::take_lock(&environment, &layout)?;
    let id = genesis.vault_id();
    let mut vault = Vault::begin(environment, place, genesis, Some(lock));
    vault.import(&mut head.as_slice().chain(input))?;
    let temporary = layout.folder(TEMPORARY);
    durable::write(
        &vault.environment,
        &temporary,
        layout.root(),
        GENESIS,
        vault.genesis.encode(),
    )
    .map_err(FileError::at(layout.root()))?;
    Ok(id)
}

/// A portable file on its way out.
struct Portable<'o> {
    output: &'o mut dyn Write,
    writer: portable::Writer,
    bytes: u64,
}

impl Portable<'_> {
    fn raw(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.bytes += bytes.len() as u64;
        self.output.write_all(bytes).map_err(ExportError::Output)
    }

    fn section(&mut self, kind: portable::SectionKind, content: &[u8]) -> Result<(), ExportError> {
        let header = self
            .writer
            .section(kind, content.len() as u64)
            .expect("sections come in their order, and what was read from a vault has its length");
        self.raw(&header)?;
        self.writer.content(content);
        self.raw(content)
    }

    fn file(
        &mut self,
        kind: portable::SectionKind,
        file: &dyn Input,
        path: &Path,
        len: u64,
    ) -> Result<(), ExportError> {
        let header = self
            .writer
            .section(kind, len)
            .expect("a blob that a box names has its length");
        self.raw(&header)?;
        let mut offset = 0;
        let mut buffer = vec![0; BUFFER_LEN];
        while offset < len {
            let wanted =
                usize::try_from(len - offset).map_or(buffer.len(), |left| left.min(buffer.len()));
            let part = &mut buffer[..wanted];
            let filled = read_full(file, part, offset).map_err(FileError::at(path))?;
            if filled < wanted {
                return Err(FileError::at(path)(io::ErrorKind::UnexpectedEof.into()).into());
            }
            self.writer.content(part);
            self.raw(part)?;
            offset += wanted as u64;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<u64, ExportError> {
        let end = std::mem::take(&mut self.writer)
            .finish()
            .expect("the genesis was written");
        self.raw(&end)?;
        self.output.flush().map_err(ExportError::Output)?;
        Ok(self.bytes)
    }
}

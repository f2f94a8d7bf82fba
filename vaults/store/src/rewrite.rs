//! Boxing anew: redaction of single records, and rotation in full.
//!
//! Files are never changed. New segments are written and synced with their folder, and only then the files whose frames they
//! hold are removed. In between frames exist twice, and a union does not mind. A crash leaves the rest to be done by
//! the next opening for writing ([`Vault::finish_redactions`]) or the next rotation in full.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;

use tally_vault_format::{
    BlobId, Body, BoxBuffer, BoxDraft, Content, EpochKey, GrantId, Identity, NamespaceId, Op, OpId,
    OpKind, Right, SealId, Time, limits, rebox_frame,
};
use tally_vault_state::Status;

use crate::environment::Rng;
use crate::error::{FileError, WriteError};
use crate::layout::{BLOBS, KEYS, SEGMENTS, TAILS};
use crate::open_boxes::{FrameReader, ranked};
use crate::scan::{self, Boxed};
use crate::segment::SegmentWriter;
use crate::set::{News, Set, Stored, StoredBox, bare_frame, list};
use crate::vault::Vault;
use crate::write::{Draft, Writer};

/// What a redaction did, and what it could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The operation that says so, and that every copy follows when it comes there.
    pub operation: OpId,
    /// Boxes that were made anew here, without the bodies.
    pub boxes: usize,
    /// Files of large contents that were removed here.
    pub blobs: Vec<BlobId>,
    /// Where copies may remain, each in a sentence.
    pub remains: Vec<&'static str>,
}

/// What a rotation in full did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotatedInFull {
    /// Boxes that were made anew.
    pub boxes: usize,
    /// Boxes that could not be opened here, so that the older keys had to stay.
    pub left: usize,
    /// Keyrings that were removed.
    pub keyrings: usize,
}

impl RotatedInFull {
    /// What it cannot do, in a sentence.
    pub const CAVEAT: &'static str = "who had an older key and a copy made until now can still open that copy; large contents keep their own keys";
}

const REMAINS: [&str; 4] = [
    "copies of the vault that have not been synced since, and backups of any copy",
    "the storage's own history of the folder (versions, trash, snapshots), and blocks of the disk that were freed and not written over",
    "what a reader of the namespace kept outside of the vault, such as an index, a conversation or an export",
    "the operation's author, time, kind and the salted hash of its body, which stay",
];

impl Vault {
    /// Destroys the bodies of operations: says so in an operation, boxes what is left anew, and removes their large
    /// contents. What is gone cannot be brought back.
    ///
    /// # Errors
    /// [`WriteError`]. If it fails after the operation was written, the next opening for writing goes on.
    pub fn redact(
        &mut self,
        namespace: &NamespaceId,
        targets: &[OpId],
        reason: &str,
    ) -> Result<Redacted, WriteError> {
        self.enrol_if_new()?;
        let own: Vec<_> = self
            .holder
            .all()
            .iter()
            .map(|holder| holder.member())
            .collect();
        let mut needs = Right::Append;
        for target in targets {
            let row = self
                .fold
                .view()
                .row(target)
                .filter(|row| row.namespace == *namespace);
            let row = row.ok_or(WriteError::NoSuchOperation(*target))?;
            if !own.contains(&row.author) {
                needs = Right::Curate;
            }
        }
        let writer = self.writer(namespace, needs)?;
        let mut rng = Rng::new(&self.environment).map_err(WriteError::Random)?;
        let draft = Draft::new(OpKind::Redact, targets.to_vec(), &Content::Reason(reason));
        let operation = self.write(&writer, namespace, vec![draft], &mut rng)?[0];
        self.redactions.extend_from_slice(targets);
        let (boxes, blobs) = self.finish_redactions()?;
        Ok(Redacted {
            operation,
            boxes,
            blobs,
            remains: REMAINS.to_vec(),
        })
    }

    /// Boxes anew, without the bodies, what redactions name and boxes here still hold. Returns how many boxes that were and
    /// which large contents were removed.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn finish_redactions(&mut self) -> Result<(usize, Vec<BlobId>), WriteError> {
        let mut wanted: BTreeMap<SealId, NamespaceId> = BTreeMap::new();
        let view = self.fold.view();
        for target in &self.redactions {
            let Some(row) = view
                .row(target)
                .filter(|row| row.status == Status::Redacted)
            else {
                continue;
            };
            let Some(stored) = self.set.seals.get(&row.seal) else {
                continue;
            };
            // Of several boxes the best may lack the body and another have it.
            if stored.opened && (!stored.bodiless.contains(target) || stored.boxes.len() > 1) {
                wanted.insert(row.seal, row.namespace);
            }
        }
        if wanted.is_empty() {
            return Ok((0, Vec::new()));
        }
        let namespaces: BTreeSet<NamespaceId> = wanted.values().copied().collect();
        let packers = self.packers(&namespaces)?;
        let mut blobs = BTreeSet::new();
        for id in wanted.keys() {
            for one in &self.set.seals[id].boxes {
                blobs.extend(one.blobs.iter().map(|entry| entry.id));
            }
        }
        let wanted: HashSet<SealId> = wanted.into_keys().collect();
        let (boxes, _) = self.repack(&wanted, &packers)?;
        let removed = self.remove_unneeded(&blobs)?;
        Ok((boxes, removed))
    }

    /// Gives namespaces new keys, boxes everything in them anew, and then removes the older keys and files.
    ///
    /// # Errors
    /// [`WriteError`]. If it fails on the way, do it again: nothing is removed before what replaces it is on the disk.
    pub fn rotate_full(&mut self, namespaces: &[NamespaceId]) -> Result<RotatedInFull, WriteError> {
        self.enrol_if_new()?;
        let mut rng = Rng::new(&self.environment).map_err(WriteError::Random)?;
        for namespace in namespaces {
            self.rotate_with(namespace, true, &mut rng)?;
        }
        let namespaces: BTreeSet<NamespaceId> = namespaces.iter().copied().collect();
        let packers = self.packers(&namespaces)?;
        let wanted: HashSet<SealId> = self
            .set
            .seals
            .iter()
            .filter(|(_, stored)| {
                namespaces.contains(&stored.seal.namespace) && !stored.boxes.is_empty()
            })
            .map(|(id, _)| *id)
            .collect();
        let (boxes, left) = self.repack(&wanted, &packers)?;
        let mut keyrings = 0;
        if left == 0 {
            for namespace in &namespaces {
                keyrings += self.remove_older_keyrings(namespace)?;
            }
        }
        Ok(RotatedInFull {
            boxes,
            left,
            keyrings,
        })
    }

    /// Who boxes anew in each namespace, and with which key.
    fn packers(
        &mut self,
        namespaces: &BTreeSet<NamespaceId>,
    ) -> Result<BTreeMap<NamespaceId, (Writer, EpochKey)>, WriteError> {
        let mut packers = BTreeMap::new();
        for namespace in namespaces {
            let writer = self.writer(namespace, Right::Curate).or_else(|error| {
                // An author may box its own anew.
                self.writer(namespace, Right::Append).map_err(|_| error)
            })?;
            packers.insert(*namespace, (writer, self.key_to_write(namespace)?));
        }
        Ok(packers)
    }

    /// Writes every file that holds a frame of these seals anew, with new boxes for them. Returns how many boxes were made
    /// anew, and how many could not be.
    fn repack(
        &mut self,
        wanted: &HashSet<SealId>,
        packers: &BTreeMap<NamespaceId, (Writer, EpochKey)>,
    ) -> Result<(usize, usize), WriteError> {
        if self.lock.is_none() {
            return Err(WriteError::ReadOnly);
        }
        let root = self.layout.root().to_owned();
        let at_root = || FileError::at(&root);
        for author in self.authors.values_mut() {
            author
                .close(&self.environment, &self.layout, &mut self.set)
                .map_err(at_root())?;
        }
        self.authors.clear();
        let mut rng = Rng::new(&self.environment).map_err(WriteError::Random)?;
        let numbers = self.key_numbers();
        let time = self.now();
        let redacted = self.redacted_among(wanted);
        let environment = &self.environment;
        let mut writer = SegmentWriter::new(environment, &self.layout);
        let mut done: HashSet<SealId> = HashSet::new();
        let mut left: HashSet<SealId> = HashSet::new();
        let mut old = Vec::new();
        let mut buffer = BoxBuffer::new();
        for (number, file) in self
            .set
            .files
            .iter()
            .enumerate()
            .filter(|(_, file)| file.present)
        {
            let found = match scan::scan(&*environment.fs, &file.path, &self.id, file.is_tail, 0) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(at_root()(error).into()),
            };
            if !found.frames.iter().any(|frame| wanted.contains(&frame.id)) {
                continue;
            }
            let mut reader = FrameReader::new(environment, &self.set);
            for frame in found.frames {
                let Some(stored) = self.set.seals.get(&frame.id) else {
                    continue;
                };
                if wanted.contains(&frame.id) {
                    if !done.contains(&frame.id) && !left.contains(&frame.id) {
                        let (packer, key) = &packers[&stored.seal.namespace];
                        let places = ranked(stored, &self.keys, &numbers);
                        let mut opener = FrameReader::new(environment, &self.set);
                        let ops =
                            collect(&mut opener, self, stored, &places, &redacted, &mut buffer);
                        let packed = ops.and_then(|ops| {
                            anew(
                                &packer.identity,
                                packer.grant,
                                time,
                                &stored.seal,
                                &ops,
                                key,
                                &mut rng,
                            )
                        });
                        match packed {
                            Some(bytes) => {
                                writer.push(&bytes).map_err(at_root())?;
                                done.insert(frame.id);
                            }
                            None => {
                                left.insert(frame.id);
                            }
                        }
                    }
                    if done.contains(&frame.id) {
                        continue;
                    }
                }
                match frame.boxed {
                    // The seal may be the only one of its kind; the box is of no use to anybody.
                    Boxed::Altered if stored.seal.namespace != NamespaceId::CONTROL => {
                        writer.push(&bare_frame(&stored.seal)).map_err(at_root())?;
                    }
                    _ => {
                        let place = StoredBox {
                            file: number,
                            offset: frame.offset,
                            len: frame.len,
                            hash: frame.seal.box_hash,
                            key: frame.seal.key,
                            rebox: None,
                            blobs: Vec::new(),
                            unreadable: false,
                        };
                        let bytes = reader.read(&place).map_err(at_root())?;
                        writer.push(bytes).map_err(at_root())?;
                    }
                }
            }
            old.push(file.path.clone());
        }
        let written: HashSet<_> = writer.finish().map_err(at_root())?.into_iter().collect();
        for path in old.iter().filter(|path| !written.contains(*path)) {
            environment.fs.remove(path).map_err(at_root())?;
        }
        for folder in [SEGMENTS, TAILS] {
            let folder = self.layout.folder(folder);
            environment
                .fs
                .sync_dir(&folder)
                .map_err(FileError::at(&folder))?;
        }
        self.reread(&done, &redacted)?;
        Ok((done.len(), left.len()))
    }

    /// Reads the places of all frames again, after files were replaced. The operations are the same.
    fn reread(
        &mut self,
        repacked: &HashSet<SealId>,
        redacted: &HashSet<OpId>,
    ) -> Result<(), WriteError> {
        let mut set = Set::default();
        let _: News = set
            .read_folder(&self.environment, &self.layout, &self.id)
            .map_err(FileError::at(self.layout.root()))?;
        for (id, stored) in set.seals.iter_mut() {
            if let Some(known) = self.set.seals.get(id) {
                stored.opened = known.opened;
                stored.bodiless.clone_from(&known.bodiless);
            }
        }
        let view = self.fold.view();
        for id in redacted {
            let Some(seal) = view
                .row(id)
                .map(|row| row.seal)
                .filter(|seal| repacked.contains(seal))
            else {
                continue;
            };
            if let Some(stored) = set.seals.get_mut(&seal)
                && !stored.bodiless.contains(id)
            {
                stored.bodiless.push(*id);
            }
        }
        self.set = set;
        self.authors.clear();
        Ok(())
    }

    /// Operations of these seals that a redaction that counts names.
    fn redacted_among(&mut self, wanted: &HashSet<SealId>) -> HashSet<OpId> {
        let view = self.fold.view();
        self.redactions
            .iter()
            .filter(|id| {
                view.is_redacted(id) && view.row(id).is_some_and(|row| wanted.contains(&row.seal))
            })
            .copied()
            .collect()
    }

    /// Removes those of these blobs that no box refers to any more.
    fn remove_unneeded(&mut self, blobs: &BTreeSet<BlobId>) -> Result<Vec<BlobId>, WriteError> {
        let needed: HashSet<BlobId> = self
            .set
            .seals
            .values()
            .flat_map(|stored| &stored.boxes)
            .flat_map(|one| one.blobs.iter().map(|entry| entry.id))
            .collect();
        let mut removed = Vec::new();
        for blob in blobs.iter().filter(|blob| !needed.contains(blob)) {
            let path = self.layout.blob(blob);
            match self.environment.fs.remove(&path) {
                Ok(()) => removed.push(*blob),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(FileError::at(&path)(error).into()),
            }
        }
        if !removed.is_empty() {
            let folder = self.layout.folder(BLOBS);
            self.environment
                .fs
                .sync_dir(&folder)
                .map_err(FileError::at(&folder))?;
        }
        Ok(removed)
    }

    /// Removes the keyrings of keys that a rotation in full dropped.
    fn remove_older_keyrings(&mut self, namespace: &NamespaceId) -> Result<usize, WriteError> {
        let keys = self.namespace_keys(namespace);
        let Some(below) = keys.dropped_below() else {
            return Ok(0);
        };
        let dropped: HashSet<_> = keys
            .keys
            .iter()
            .filter(|row| row.number < below)
            .flat_map(|row| row.keyrings.iter().map(|(ring, _, _)| *ring))
            .collect();
        let folder = self.layout.folder(KEYS);
        let mut removed = 0;
        for entry in list(&self.environment, &folder).map_err(FileError::at(&folder))? {
            let path = folder.join(&entry.name);
            let limit = limits::KEYRING_LEN as u64;
            let Ok(bytes) = crate::fs::read(&*self.environment.fs, &path, limit) else {
                continue;
            };
            if dropped.contains(&tally_vault_format::KeyringId::of(&bytes)) {
                self.environment
                    .fs
                    .remove(&path)
                    .map_err(FileError::at(&path))?;
                removed += 1;
            }
        }
        self.environment
            .fs
            .sync_dir(&folder)
            .map_err(FileError::at(&folder))?;
        Ok(removed)
    }
}

/// The operations of a seal from its boxes, best first: a body that one lacks is taken from another, and those that are
/// redacted are left out. None if no box opens.
fn collect(
    reader: &mut FrameReader<'_>,
    vault: &Vault,
    stored: &Stored,
    places: &[usize],
    redacted: &HashSet<OpId>,
    buffer: &mut BoxBuffer,
) -> Option<Vec<Op>> {
    let mut ops: Option<Vec<Op>> = None;
    for place in places {
        let Ok(opened) = reader.open(stored, *place, &vault.keys, buffer) else {
            continue;
        };
        let lacks = |op: &Op| matches!(op.body, Body::Redacted(_));
        match &mut ops {
            None => {
                let all = opened.iter().map(|one| {
                    let mut op = one.op.to_op();
                    if redacted.contains(&one.id) {
                        op.body = Body::Redacted(one.op.body().commitment());
                    }
                    op
                });
                ops = Some(all.collect());
            }
            Some(ops) => {
                for (op, other) in ops.iter_mut().zip(opened.iter()) {
                    if lacks(op) && !redacted.contains(&other.id) {
                        *op = other.op.to_op();
                    }
                }
            }
        }
    }
    ops
}

/// The frame of a seal with a new box.
fn anew(
    packer: &Identity,
    grant: GrantId,
    time: Time,
    seal: &tally_vault_format::Seal,
    ops: &[Op],
    key: &EpochKey,
    rng: &mut Rng,
) -> Option<Vec<u8>> {
    let mut draft = BoxDraft::anew(seal);
    for op in ops {
        draft.push(op).ok()?;
    }
    let mut bytes = Vec::new();
    rebox_frame(packer, grant, time, seal, &draft, key, rng, &mut bytes).ok()?;
    Some(bytes)
}

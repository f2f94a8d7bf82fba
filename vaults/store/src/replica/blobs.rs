//! Large contents in a session: which are here, which are wanted from where on, and the parts that come.
//!
//! A part is on the disk before the next is taken. After the last the whole file is looked at, and gets its name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tally_vault_format::{BlobId, NamespaceId};
use tally_vault_sync::{Blob, Taken};

use super::{CopyError, DiskCopy};
use crate::blobs;
use crate::error::FileError;
use crate::fs::{Input, Output, read_full};
use crate::layout::BLOBS;
use crate::set::list;

/// The blobs that boxes here name, and in which namespaces.
pub(super) type Named = BTreeMap<(BlobId, u64), BTreeSet<NamespaceId>>;

/// A blob on its way.
pub(super) struct Part {
    id: BlobId,
    output: Box<dyn Output>,
    len: u64,
    /// All of it came in this session, so a wrong hash is the peer's doing.
    whole: bool,
}

impl DiskCopy {
    /// Made when it is asked for, and anew after boxes came.
    pub(super) fn named(&self) -> Arc<Named> {
        let make = || {
            let mut named = Named::new();
            for stored in self
                .vault
                .borrow()
                .iter()
                .flat_map(|one| one.set.seals.values())
            {
                for entry in stored.boxes.iter().flat_map(|one| &one.blobs) {
                    named
                        .entry((entry.id, entry.size))
                        .or_default()
                        .insert(stored.seal.namespace);
                }
            }
            Arc::new(named)
        };
        self.named.borrow_mut().get_or_insert_with(make).clone()
    }

    /// The blobs that are here whole and that a box here names, once for each namespace of such a box.
    pub(super) fn whole_blobs(&self) -> Result<Vec<Blob>, CopyError> {
        let folder = self.layout.folder(BLOBS);
        let here: HashMap<String, u64> = list(&self.environment, &folder)
            .map_err(FileError::at(&folder))?
            .into_iter()
            .map(|entry| (entry.name, entry.len))
            .collect();
        let mut blobs = Vec::new();
        for ((id, size), namespaces) in &*self.named() {
            if here.get(&format!("{id}.blob")) == Some(size) {
                blobs.extend(namespaces.iter().map(|namespace| Blob {
                    id: *id,
                    size: *size,
                    namespace: *namespace,
                }));
            }
        }
        Ok(blobs)
    }

    /// From which byte on a blob is wanted, if it is.
    pub(super) fn blob_from(&self, id: &BlobId, size: u64) -> Result<Option<u64>, CopyError> {
        if !self.named().contains_key(&(*id, size))
            || self.len_of(&self.layout.blob(id))? == Some(size)
        {
            return Ok(None);
        }
        let path = self.part_path(id);
        match self.len_of(&path)? {
            Some(len) if len < size => Ok(Some(len)),
            Some(_) => {
                // Its last step was cut off, or it was another size's.
                self.environment
                    .fs
                    .remove(&path)
                    .map_err(FileError::at(&path))?;
                Ok(Some(0))
            }
            None => Ok(Some(0)),
        }
    }

    /// Reads from the blob that is being sent; false if it is gone or is not what its name says.
    pub(super) fn read_blob(
        &self,
        id: &BlobId,
        offset: u64,
        into: &mut [u8],
    ) -> Result<bool, CopyError> {
        let mut source = self.source.borrow_mut();
        if source.as_ref().is_none_or(|(known, _)| known != id) {
            *source = self.open_blob(id)?.map(|file| (*id, file));
        }
        let Some((_, file)) = source.as_ref() else {
            return Ok(false);
        };
        let filled =
            read_full(&**file, into, offset).map_err(FileError::at(&self.layout.blob(id)))?;
        self.moved
            .blob_bytes_out
            .fetch_add(filled as u64, Ordering::Relaxed);
        Ok(filled == into.len())
    }

    /// Writes the next part of a blob, and with the last one finishes it.
    pub(super) fn write_part(
        &mut self,
        id: &BlobId,
        size: u64,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Taken, CopyError> {
        let path = self.part_path(id);
        if self.part.as_ref().is_none_or(|part| part.id != *id) {
            self.part = Some(self.open_part(id, &path)?);
        }
        let part = self.part.as_mut().expect("set above");
        if part.len != offset {
            // Another session was quicker.
            return Ok(Taken::Known);
        }
        let written = part.output.write(bytes).and_then(|()| part.output.sync());
        if let Err(error) = written {
            // Nothing is known about its end now.
            self.part = None;
            let _ = self.environment.fs.remove(&path);
            return Err(FileError::at(&path)(error).into());
        }
        part.len += bytes.len() as u64;
        self.moved
            .blob_bytes_in
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if part.len < size {
            return Ok(Taken::New);
        }
        let whole = part.whole;
        self.part = None;
        self.finish_blob(id, &path, whole)
    }

    fn open_part(&self, id: &BlobId, path: &Path) -> Result<Part, FileError> {
        let known = self.len_of(path)?;
        let output = match known {
            Some(_) => self.environment.fs.append(path),
            None => self.environment.fs.create(path),
        }
        .map_err(FileError::at(path))?;
        Ok(Part {
            id: *id,
            output,
            len: known.unwrap_or(0),
            whole: known.unwrap_or(0) == 0,
        })
    }

    /// Looks at a part that is as long as its blob, and gives it the blob's name if it is one.
    fn finish_blob(&self, id: &BlobId, path: &Path, whole: bool) -> Result<Taken, CopyError> {
        let file = self
            .environment
            .fs
            .open(path)
            .map_err(FileError::at(path))?;
        let len = file.len().map_err(FileError::at(path))?;
        if blobs::identify(&*file, 0, len).map_err(FileError::at(path))? != Ok(*id) {
            self.environment
                .fs
                .remove(path)
                .map_err(FileError::at(path))?;
            // What an earlier session left may have been damaged here; the next one begins anew.
            return Ok(if whole {
                Taken::Invalid(format!("blob {id} is made of other bytes"))
            } else {
                Taken::Declined
            });
        }
        let target = self.layout.blob(id);
        self.environment
            .fs
            .rename(path, &target)
            .map_err(FileError::at(&target))?;
        let folder = self.layout.folder(BLOBS);
        self.environment
            .fs
            .sync_dir(&folder)
            .map_err(FileError::at(&folder))?;
        Ok(Taken::New)
    }

    fn part_path(&self, id: &BlobId) -> PathBuf {
        self.layout.folder(BLOBS).join(format!("{id}.part"))
    }

    /// Removes begun blobs that nothing names any more or that are here.
    pub(super) fn tidy_parts(&self) -> Result<(), CopyError> {
        let folder = self.layout.folder(BLOBS);
        let entries = list(&self.environment, &folder).map_err(FileError::at(&folder))?;
        let here: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let named: BTreeSet<BlobId> = self.named().keys().map(|(id, _)| *id).collect();
        for entry in &entries {
            let Some(stem) = entry.name.strip_suffix(".part") else {
                continue;
            };
            let wanted = stem.parse().is_ok_and(|id| named.contains(&id));
            if !wanted || here.contains(format!("{stem}.blob").as_str()) {
                let _ = self.environment.fs.remove(&folder.join(&entry.name));
            }
        }
        Ok(())
    }

    fn len_of(&self, path: &Path) -> Result<Option<u64>, FileError> {
        match self.environment.fs.open(path) {
            Ok(file) => file.len().map(Some).map_err(FileError::at(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::at(path)(error)),
        }
    }

    /// Opens a blob to be sent, if its bytes are those of its name. If they are not it is set aside: the next session offers
    /// it no more, and takes it from whoever has it.
    fn open_blob(&self, id: &BlobId) -> Result<Option<Box<dyn Input>>, FileError> {
        let path = self.layout.blob(id);
        let file = match self.environment.fs.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FileError::at(&path)(error)),
        };
        let len = file.len().map_err(FileError::at(&path))?;
        if blobs::identify(&*file, 0, len).map_err(FileError::at(&path))? == Ok(*id) {
            return Ok(Some(file));
        }
        let aside = self.layout.folder(BLOBS).join(format!("{id}.damaged"));
        self.environment
            .fs
            .rename(&path, &aside)
            .map_err(FileError::at(&path))?;
        Ok(None)
    }
}

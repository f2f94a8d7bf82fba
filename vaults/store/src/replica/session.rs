//! What a session asks of a vault on disk, and gives it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use tally_vault_format::{
    BlobId, FrameRef, Genesis, Keyring, KeyringId, MemberId, NamespaceId, OpId, SEGMENT_HEADER,
    Seal, SealId, Slot, Time, VaultId,
};
use tally_vault_sync::{Blob, Item, Notice, Replica, Standing, Taken};

use super::authority::Authority;
use super::{CopyError, DiskCopy};
use crate::durable;
use crate::error::FileError;
use crate::layout::{FOLDERS, GENESIS, KEYS, SEGMENT_LEN, SLOTS, TEMPORARY};
use crate::set::bare_frame;
use crate::vault::{Vault, take_lock};

impl Replica for DiskCopy {
    type Error = CopyError;

    fn vault(&self) -> VaultId {
        self.id
    }

    fn genesis(&self) -> Result<Option<Vec<u8>>, CopyError> {
        Ok(self.with(|vault| vault.genesis.encode().to_vec()))
    }

    fn insert_genesis(&mut self, bytes: &[u8]) -> Result<Taken, CopyError> {
        let genesis = match Genesis::parse(bytes) {
            Ok(genesis) => genesis,
            Err(error) => return Ok(Taken::Invalid(error.to_string())),
        };
        if genesis.vault_id() != self.id {
            return Ok(Taken::Invalid("the genesis of another vault".to_owned()));
        }
        if self.vault.borrow().is_some() {
            return Ok(Taken::Known);
        }
        let root = self.layout.root().to_owned();
        for folder in
            std::iter::once(root.clone()).chain(FOLDERS.map(|name| self.layout.folder(name)))
        {
            self.environment
                .fs
                .create_dir(&folder)
                .map_err(FileError::at(&folder))?;
        }
        let lock = take_lock(&self.environment, &self.layout)?;
        let temporary = self.layout.folder(TEMPORARY);
        durable::write(&self.environment, &temporary, &root, GENESIS, bytes)
            .map_err(FileError::at(&root))?;
        let vault = Vault::begin(self.environment.clone(), &self.place, genesis, Some(lock));
        *self.vault.borrow_mut() = Some(vault);
        *self.authority.borrow_mut() = None;
        Ok(Taken::New)
    }

    fn standing(&self, member: &MemberId) -> Result<Standing, CopyError> {
        let authority = self.authority();
        let now = Time::from_millis(self.environment.clock.now_ms());
        Ok(authority
            .roster
            .standing(member, now, |operation| self.notice(&authority, operation)))
    }

    fn authors(&self) -> Result<Vec<MemberId>, CopyError> {
        let authority = self.authority();
        let vault = self.vault.borrow();
        let Some(vault) = vault.as_ref() else {
            return Ok(Vec::new());
        };
        let has_seals = |author: &&MemberId| {
            vault
                .set
                .chains
                .get(*author)
                .is_some_and(|chain| !chain.is_empty())
        };
        let authors = authority.roster.order().iter();
        Ok(authors.filter(has_seals).copied().collect())
    }

    fn items(
        &self,
        author: &MemberId,
        counters: RangeInclusive<u64>,
        visit: &mut dyn FnMut(Item),
    ) -> Result<(), CopyError> {
        let authority = self.authority();
        let roster = &authority.roster;
        let vault = self.vault.borrow();
        let Some(vault) = vault.as_ref() else {
            return Ok(());
        };
        let Some(chain) = vault.set.chains.get(author) else {
            return Ok(());
        };
        let mut ids: Vec<SealId> = Vec::new();
        for (counter, links) in chain.range(counters) {
            ids.clear();
            ids.extend(links.iter().map(|link| link.id));
            ids.sort_unstable();
            for id in &ids {
                let Some(stored) = vault.set.seals.get(id) else {
                    continue;
                };
                if let Some((held, _)) = self.preferred(roster, *id, stored) {
                    visit(Item {
                        counter: *counter,
                        seal: *id,
                        namespace: stored.seal.namespace,
                        original: roster.original(&stored.seal),
                        held,
                    });
                }
            }
        }
        Ok(())
    }

    fn frame(&self, _: &MemberId, _: u64, seal: &SealId) -> Result<Option<Vec<u8>>, CopyError> {
        let authority = self.authority();
        let vault = self.vault.borrow();
        let Some((vault, stored)) = vault
            .as_ref()
            .and_then(|vault| Some((vault, vault.set.seals.get(seal)?)))
        else {
            return Ok(None);
        };
        let Some((_, place)) = self.preferred(&authority.roster, *seal, stored) else {
            return Ok(None);
        };
        let Some(place) = place else {
            return Ok(Some(bare_frame(&stored.seal)));
        };
        let one = &stored.boxes[place];
        let path = &vault.set.files[one.file].path;
        let mut window = self.window.borrow_mut();
        let read = window
            .read(&self.environment, path, one.offset, one.len as usize)
            .map_err(FileError::at(path))?;
        let Some(mut bytes) = read.map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        // The disk may not be ours.
        let same = FrameRef::parse(&self.id, &bytes)
            .is_ok_and(|frame| frame.seal_id() == *seal && frame.check_box().is_ok());
        if !same {
            return Ok(None);
        }
        // Of several signatures of one seal the set has found out which is good; the one beside this box may not be.
        bytes[FrameRef::PREFIX_LEN..FrameRef::PREFIX_LEN + Seal::LEN]
            .copy_from_slice(&stored.seal.encode());
        self.moved.frames_out.fetch_add(1, Ordering::Relaxed);
        Ok(Some(bytes))
    }

    fn insert(&mut self, frame: &[u8]) -> Result<Taken, CopyError> {
        let taken = self.take(frame);
        if taken == Taken::New {
            self.moved.frames_in.fetch_add(1, Ordering::Relaxed);
        }
        Ok(taken)
    }

    fn commit(&mut self, last: bool) -> Result<Taken, CopyError> {
        let settled = self.settle(last);
        for folder in std::mem::take(&mut self.unsynced) {
            let path = self.layout.folder(folder);
            self.environment
                .fs
                .sync_dir(&path)
                .map_err(FileError::at(&path))?;
        }
        self.write()?;
        if last || self.gathered.len() as u64 + SEGMENT_HEADER.len() as u64 >= SEGMENT_LEN {
            self.gather()?;
        }
        Ok(settled)
    }

    fn keyrings(&self) -> Result<Vec<(KeyringId, NamespaceId)>, CopyError> {
        let authority = self.authority();
        let vault = self.vault.borrow();
        let rings = vault.iter().flat_map(|vault| &vault.keys.rings);
        Ok(rings
            .filter(|(_, (ring, _))| authority.roster.announces(ring) == Some(true))
            .map(|(id, (ring, _))| (*id, ring.namespace()))
            .collect())
    }

    fn keyring(&self, id: &KeyringId) -> Result<Option<Vec<u8>>, CopyError> {
        Ok(self
            .with(|vault| Some(vault.keys.rings.get(id)?.0.encode().to_vec()))
            .flatten())
    }

    fn insert_keyring(&mut self, bytes: &[u8]) -> Result<Taken, CopyError> {
        let ring = match Keyring::parse(&self.id, bytes) {
            Ok(ring) => ring,
            Err(error) => return Ok(Taken::Invalid(error.to_string())),
        };
        let id = ring.id();
        if self.with(|vault| vault.keys.rings.contains_key(&id)) == Some(true) {
            return Ok(Taken::Known);
        }
        match self.authority().roster.announces(&ring) {
            None => return Ok(Taken::Later),
            Some(false) => return Ok(Taken::Declined),
            Some(true) => {}
        }
        self.place(KEYS, &format!("{id}.key"), bytes)?;
        self.with(|vault| vault.keys.add_ring(ring));
        Ok(Taken::New)
    }

    fn slots(&self) -> Result<Vec<MemberId>, CopyError> {
        let slots = self
            .with(|vault| vault.read_slots(&mut Vec::new()))
            .transpose()?;
        let members: BTreeSet<MemberId> = slots
            .iter()
            .flat_map(|(slots, _)| slots)
            .map(|slot| slot.card().member())
            .collect();
        Ok(members.into_iter().collect())
    }

    fn slot(&self, member: &MemberId) -> Result<Option<Vec<u8>>, CopyError> {
        let slots = self
            .with(|vault| vault.read_slots(&mut Vec::new()))
            .transpose()?;
        // The first is the one that has its own name.
        let found = slots
            .iter()
            .flat_map(|(slots, _)| slots)
            .find(|slot| slot.card().member() == *member);
        Ok(found.map(|slot| slot.encode().to_vec()))
    }

    fn insert_slot(&mut self, bytes: &[u8]) -> Result<Taken, CopyError> {
        let slot = match Slot::parse(&self.id, bytes) {
            Ok(slot) => slot,
            Err(error) => return Ok(Taken::Invalid(error.to_string())),
        };
        let member = slot.card().member();
        match self.standing(&member)? {
            Standing::Member { .. } => {}
            Standing::Former { .. } => return Ok(Taken::Declined),
            Standing::Unknown => return Ok(Taken::Later),
        }
        if self.slots()?.contains(&member) {
            return Ok(Taken::Known);
        }
        // A member's own card, not one with a receiving key of somebody else's.
        if !self.authority().roster.has_card(slot.card()) {
            return Ok(Taken::Declined);
        }
        self.place(SLOTS, &slot.file_name(), bytes)?;
        Ok(Taken::New)
    }

    fn blobs(&self) -> Result<Vec<Blob>, CopyError> {
        self.whole_blobs()
    }

    fn blob_wanted(&self, id: &BlobId, size: u64) -> Result<Option<u64>, CopyError> {
        self.blob_from(id, size)
    }

    fn blob_read(&self, id: &BlobId, offset: u64, into: &mut [u8]) -> Result<bool, CopyError> {
        self.read_blob(id, offset, into)
    }

    fn blob_write(
        &mut self,
        id: &BlobId,
        size: u64,
        offset: u64,
        part: &[u8],
    ) -> Result<Taken, CopyError> {
        self.write_part(id, size, offset, part)
    }
}

impl DiskCopy {
    /// Where a revocation stands, in the folder or among what waits.
    fn notice(&self, authority: &Authority, operation: &OpId) -> Option<Notice> {
        let id = authority.revocations.get(operation)?;
        let here = self
            .with(|vault| Some(vault.set.seals.get(id)?.seal))
            .flatten();
        let waits = || {
            let mut waiting = self.waiting.values().flat_map(|chain| chain.iter());
            waiting.find_map(|((_, one), waits)| (one == id).then_some(waits.seal))
        };
        here.or_else(waits).map(|seal| Notice {
            author: seal.author,
            through: seal.counter,
        })
    }
}

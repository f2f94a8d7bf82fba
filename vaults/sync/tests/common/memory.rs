//! A copy of a vault in memory that holds no key, to be synchronised in tests.
//!
//! It verifies what can be verified without keys: the genesis, each seal (its own signature, or that of a later seal
//! which names it), the hash of each box, who signed a box made anew, and by the [`Roster`] of its control logs whether an
//! author is a member at all, what it may do, and whether a keyring, slot or blob is named by somebody who may.
//!
//! As a relay ([`Memory::relay`]) it keeps boxes only of authors whose grant gives append there, and of others the bare
//! seals, so that their chains stay whole.
//!
//! Invariants: a seal is here only if the one it names as previous is. What is not verified yet is not in `fold`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tally_vault_format::{
    BlobError, BlobId, BoxBuffer, FrameRef, Genesis, Keyring, KeyringId, MemberId, NamespaceId,
    OpId, Rebox, Seal, SealId, Slot, Time, VaultId,
};
use tally_vault_state::{Fold, Operation};
use tally_vault_sync::limits::{AT_ONE_PLACE, UNVERIFIED};
use tally_vault_sync::{Blob, Held, Item, Notice, Replica, Roster, Standing, Taken};

/// A copy of a vault in memory, without keys.
#[derive(Debug)]
pub struct Memory {
    vault: VaultId,
    relay: bool,
    now: Time,
    genesis: Option<Genesis>,
    control: RefCell<Option<Control>>,
    seals: BTreeMap<MemberId, BTreeMap<(u64, SealId), Kept>>,
    /// Inserted since the last commit, and vouched for by nothing yet.
    unverified: BTreeMap<MemberId, BTreeSet<(u64, SealId)>>,
    keyrings: BTreeMap<KeyringId, (NamespaceId, Vec<u8>)>,
    slots: BTreeMap<MemberId, Vec<u8>>,
    /// What the boxes here name.
    named: BTreeMap<BlobId, (u64, NamespaceId)>,
    blobs: BTreeMap<BlobId, Vec<u8>>,
    parts: BTreeMap<BlobId, Vec<u8>>,
}

/// A seal and the box that is preferred.
#[derive(Debug)]
struct Kept {
    seal: Seal,
    boxed: bool,
    rebox: Option<Rebox>,
    frame: Vec<u8>,
}

/// The control logs, and what follows from them.
struct Control {
    fold: Fold,
    /// Where control operations stand.
    places: BTreeMap<OpId, Notice>,
    /// Brought up to date when it is asked for.
    roster: Option<Arc<Roster>>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("operations", &self.places.len())
            .finish_non_exhaustive()
    }
}

impl Control {
    fn new(genesis: &Genesis) -> Self {
        Self {
            fold: Fold::new(genesis.vault_id(), *genesis.root()),
            places: BTreeMap::new(),
            roster: None,
        }
    }

    fn roster(&mut self) -> Arc<Roster> {
        self.roster
            .get_or_insert_with(|| Arc::new(Roster::of(&self.fold.view())))
            .clone()
    }
}

impl Memory {
    /// An empty copy, of a vault of which only the id is known, with the clock showing `now`.
    #[must_use]
    pub fn new(vault: VaultId, now: Time) -> Self {
        Self {
            vault,
            relay: false,
            now,
            genesis: None,
            control: RefCell::new(None),
            seals: BTreeMap::new(),
            unverified: BTreeMap::new(),
            keyrings: BTreeMap::new(),
            slots: BTreeMap::new(),
            named: BTreeMap::new(),
            blobs: BTreeMap::new(),
            parts: BTreeMap::new(),
        }
    }

    /// An empty copy that keeps boxes only of authors who may append there.
    #[must_use]
    pub fn relay(vault: VaultId, now: Time) -> Self {
        Self {
            relay: true,
            ..Self::new(vault, now)
        }
    }

    /// Sets the clock, by which grants end.
    pub fn set_clock(&mut self, now: Time) {
        self.now = now;
    }

    /// Takes a blob whole, that a box here names or will name.
    ///
    /// # Errors
    /// The file is no blob.
    pub fn add_blob(&mut self, file: Vec<u8>) -> Result<BlobId, BlobError> {
        let id = BlobId::of(&file)?;
        self.blobs.insert(id, file);
        Ok(id)
    }

    /// The bytes of a blob that is here whole.
    #[must_use]
    pub fn blob(&self, id: &BlobId) -> Option<&[u8]> {
        self.blobs.get(id).map(Vec::as_slice)
    }

    fn with_control<T>(&self, ask: impl FnOnce(&mut Control) -> T) -> Option<T> {
        self.control.borrow_mut().as_mut().map(ask)
    }

    /// What the control logs say; nothing before there is a genesis.
    fn roster(&self) -> Arc<Roster> {
        self.with_control(Control::roster).unwrap_or_default()
    }

    /// Gives a verified seal of control to the fold.
    fn learn(&mut self, frame: &FrameRef<'_>) {
        let seal = frame.seal();
        let mut buffer = BoxBuffer::new();
        let opened = frame.open(None, &mut buffer).ok().flatten();
        let operations: Option<Vec<Operation>> = opened.map(|opened| {
            opened
                .iter()
                .map(|row| Operation::new(row.id, &row.op))
                .collect()
        });
        self.with_control(|control| {
            // A box that does not hold what was sealed is its author's noise: the seal counts, and says nothing.
            let taken = control
                .fold
                .insert(frame.seal_id(), seal, operations.as_deref())
                .is_ok();
            for operation in operations.iter().flatten().filter(|_| taken) {
                let notice = Notice {
                    author: seal.author,
                    through: seal.counter,
                };
                control.places.insert(operation.id, notice);
            }
            control.roster = None;
        });
    }

    fn name_blobs(&mut self, frame: &FrameRef<'_>) {
        let namespace = frame.seal().namespace;
        for entry in frame.box_ref().into_iter().flat_map(|clear| clear.blobs()) {
            self.named.insert(entry.id, (entry.size, namespace));
        }
    }

    /// A seal that stands vouches for the one it names, and so on down the chain.
    fn stand(&mut self, author: &MemberId, mut counter: u64, mut id: SealId) {
        let mut control = Vec::new();
        if let (Some(chain), Some(unverified)) =
            (self.seals.get(author), self.unverified.get_mut(author))
        {
            while unverified.remove(&(counter, id)) {
                let kept = &chain[&(counter, id)];
                if kept.seal.namespace == NamespaceId::CONTROL {
                    control.push(kept.frame.clone());
                }
                (counter, id) = (counter - 1, kept.seal.previous);
            }
        }
        for bytes in control.iter().rev() {
            self.learn(&FrameRef::parse(&self.vault, bytes).expect("parsed when it was taken"));
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Taken {
        let frame = match FrameRef::parse(&self.vault, bytes) {
            Ok(frame) => frame,
            Err(error) => return Taken::Invalid(error.to_string()),
        };
        let (seal, id) = (*frame.seal(), frame.seal_id());
        if let Err(error) = frame.check_box() {
            return Taken::Invalid(error.to_string());
        }
        if frame.rebox().is_some_and(|rebox| rebox.verify().is_err()) {
            return Taken::Invalid("a rebox that its packer did not sign".to_owned());
        }
        let roster = self.roster();
        let boxed = frame.sealed_box().is_some();
        if frame
            .rebox()
            .is_some_and(|rebox| roster.number(seal.namespace, rebox.key) == 0)
        {
            // How good it is, only the rotation says that names its key.
            return Taken::Later;
        }
        let place = (seal.counter, id);
        let control = seal.namespace == NamespaceId::CONTROL;
        if control && !boxed {
            return Taken::Invalid("a control seal without its box".to_owned());
        }
        if let Some(kept) = self
            .seals
            .get(&seal.author)
            .and_then(|chain| chain.get(&place))
        {
            let old = roster.rank(&seal, kept.boxed, kept.rebox.as_ref());
            if roster.rank(&seal, boxed, frame.rebox()) <= old {
                return Taken::Known;
            }
        } else {
            if !roster.is_subject(&seal.author) {
                // Its grant may come with the next author.
                return Taken::Later;
            }
            let chain = self.seals.entry(seal.author).or_default();
            if seal.counter > 1 && !chain.contains_key(&(seal.counter - 1, seal.previous)) {
                return Taken::Later;
            }
            if chain
                .range((seal.counter, SealId([0; 32]))..=(seal.counter, SealId([0xff; 32])))
                .count()
                >= AT_ONE_PLACE
            {
                return Taken::Declined;
            }
        }
        let mut kept = Kept {
            seal,
            boxed,
            rebox: frame.rebox().copied(),
            frame: bytes.to_vec(),
        };
        let mut taken = Taken::New;
        if boxed && !control {
            let keeps = self.with_control(|control| {
                roster.keeps(&control.fold.view(), &seal, frame.rebox(), self.relay)
            });
            match keeps.flatten() {
                Some(true) => self.name_blobs(&frame),
                None => return Taken::Later,
                Some(false) => {
                    if self
                        .seals
                        .get(&seal.author)
                        .is_some_and(|chain| chain.contains_key(&place))
                    {
                        return Taken::Declined;
                    }
                    // The chain stays whole.
                    kept.frame.clear();
                    frame.write_without_box(&mut kept.frame);
                    (kept.boxed, kept.rebox) = (false, None);
                    taken = Taken::Declined;
                }
            }
        }
        let fresh = self
            .seals
            .entry(seal.author)
            .or_default()
            .insert(place, kept)
            .is_none();
        if fresh {
            self.unverified
                .entry(seal.author)
                .or_default()
                .insert(place);
        }
        // By control others are judged, so it is looked at now. A signature that is damaged is none: a later seal may vouch.
        if control && fresh && seal.verify().is_ok() {
            self.stand(&seal.author, seal.counter, id);
        }
        taken
    }

    /// Looks for signatures that vouch for what is unverified. Unless nothing more comes, what has none stays for now.
    fn settle(&mut self, last: bool) -> Taken {
        let mut forged = None;
        for author in self.unverified.keys().copied().collect::<Vec<_>>() {
            // From the newest down: one signature vouches for a chain.
            let mut left: Vec<(u64, SealId)> = self.unverified[&author].iter().copied().collect();
            while let Some((counter, id)) = left.pop() {
                if !self.unverified[&author].contains(&(counter, id)) {
                    continue;
                }
                let chain = self.seals.entry(author).or_default();
                if chain[&(counter, id)].seal.verify().is_ok() {
                    self.stand(&author, counter, id);
                } else if last {
                    // What named it was newer, and is gone already.
                    chain.remove(&(counter, id));
                    self.unverified
                        .entry(author)
                        .or_default()
                        .remove(&(counter, id));
                    forged = Some(format!(
                        "seal {counter} of {author} was not signed by its author"
                    ));
                }
            }
            if self.unverified[&author].len() > UNVERIFIED {
                return self.settle(true);
            }
        }
        self.unverified.retain(|_, places| !places.is_empty());
        forged.map_or(Taken::New, Taken::Invalid)
    }
}

impl Replica for Memory {
    type Error = Infallible;

    fn vault(&self) -> VaultId {
        self.vault
    }

    fn genesis(&self) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self
            .genesis
            .as_ref()
            .map(|genesis| genesis.encode().to_vec()))
    }

    fn insert_genesis(&mut self, bytes: &[u8]) -> Result<Taken, Infallible> {
        Ok(match Genesis::parse(bytes) {
            Ok(genesis) if genesis.vault_id() != self.vault => {
                Taken::Invalid("the genesis of another vault".to_owned())
            }
            Ok(_) if self.genesis.is_some() => Taken::Known,
            Ok(genesis) => {
                self.control = RefCell::new(Some(Control::new(&genesis)));
                self.genesis = Some(genesis);
                Taken::New
            }
            Err(error) => Taken::Invalid(error.to_string()),
        })
    }

    fn standing(&self, member: &MemberId) -> Result<Standing, Infallible> {
        let standing = self.with_control(|control| {
            let roster = control.roster();
            roster.standing(member, self.now, |operation| {
                control.places.get(operation).copied()
            })
        });
        Ok(standing.unwrap_or(Standing::Unknown))
    }

    fn authors(&self) -> Result<Vec<MemberId>, Infallible> {
        let has_seals = |author: &&MemberId| {
            self.seals
                .get(*author)
                .is_some_and(|chain| !chain.is_empty())
        };
        let roster = self.roster();
        Ok(roster.order().iter().filter(has_seals).copied().collect())
    }

    fn items(
        &self,
        author: &MemberId,
        counters: RangeInclusive<u64>,
        visit: &mut dyn FnMut(Item),
    ) -> Result<(), Infallible> {
        let Some(chain) = self.seals.get(author) else {
            return Ok(());
        };
        let roster = self.roster();
        let places = (*counters.start(), SealId([0; 32]))..=(*counters.end(), SealId([0xff; 32]));
        for ((counter, id), kept) in chain.range(places) {
            let held = match &kept.rebox {
                Some(rebox) => Held::Reboxed(roster.anew(&kept.seal, rebox)),
                None if kept.boxed => Held::Original,
                None => Held::Bare,
            };
            visit(Item {
                counter: *counter,
                seal: *id,
                namespace: kept.seal.namespace,
                original: roster.original(&kept.seal),
                held,
            });
        }
        Ok(())
    }

    fn frame(
        &self,
        author: &MemberId,
        counter: u64,
        seal: &SealId,
    ) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self
            .seals
            .get(author)
            .and_then(|chain| chain.get(&(counter, *seal)))
            .map(|kept| kept.frame.clone()))
    }

    fn insert(&mut self, frame: &[u8]) -> Result<Taken, Infallible> {
        Ok(self.take(frame))
    }

    fn commit(&mut self, last: bool) -> Result<Taken, Infallible> {
        Ok(self.settle(last))
    }

    fn keyrings(&self) -> Result<Vec<(KeyringId, NamespaceId)>, Infallible> {
        Ok(self
            .keyrings
            .iter()
            .map(|(id, (namespace, _))| (*id, *namespace))
            .collect())
    }

    fn keyring(&self, id: &KeyringId) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.keyrings.get(id).map(|(_, bytes)| bytes.clone()))
    }

    fn insert_keyring(&mut self, bytes: &[u8]) -> Result<Taken, Infallible> {
        let keyring = match Keyring::parse(&self.vault, bytes) {
            Ok(keyring) => keyring,
            Err(error) => return Ok(Taken::Invalid(error.to_string())),
        };
        let id = keyring.id();
        if self.keyrings.contains_key(&id) {
            return Ok(Taken::Known);
        }
        Ok(match self.roster().announces(&keyring) {
            None => Taken::Later,
            Some(true) => {
                self.keyrings
                    .insert(id, (keyring.namespace(), bytes.to_vec()));
                Taken::New
            }
            Some(false) => Taken::Declined,
        })
    }

    fn slots(&self) -> Result<Vec<MemberId>, Infallible> {
        Ok(self.slots.keys().copied().collect())
    }

    fn slot(&self, member: &MemberId) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.slots.get(member).cloned())
    }

    fn insert_slot(&mut self, bytes: &[u8]) -> Result<Taken, Infallible> {
        let slot = match Slot::parse(&self.vault, bytes) {
            Ok(slot) => slot,
            Err(error) => return Ok(Taken::Invalid(error.to_string())),
        };
        let member = slot.card().member();
        if self.slots.contains_key(&member) {
            return Ok(Taken::Known);
        }
        Ok(match self.standing(&member)? {
            // A member's own card, not one with a receiving key of somebody else's.
            Standing::Member { .. } if !self.roster().has_card(slot.card()) => Taken::Declined,
            Standing::Member { .. } => {
                self.slots.insert(member, bytes.to_vec());
                Taken::New
            }
            Standing::Former { .. } => Taken::Declined,
            Standing::Unknown => Taken::Later,
        })
    }

    fn blobs(&self) -> Result<Vec<Blob>, Infallible> {
        let whole = |(id, (size, namespace)): (&BlobId, &(u64, NamespaceId))| {
            let file = self.blobs.get(id)?;
            (file.len() as u64 == *size).then_some(Blob {
                id: *id,
                size: *size,
                namespace: *namespace,
            })
        };
        Ok(self.named.iter().filter_map(whole).collect())
    }

    fn blob_wanted(&self, id: &BlobId, size: u64) -> Result<Option<u64>, Infallible> {
        if self.blobs.contains_key(id) || self.named.get(id).is_none_or(|(named, _)| *named != size)
        {
            return Ok(None);
        }
        Ok(Some(self.parts.get(id).map_or(0, |part| part.len() as u64)))
    }

    fn blob_read(&self, id: &BlobId, offset: u64, into: &mut [u8]) -> Result<bool, Infallible> {
        let from = self
            .blobs
            .get(id)
            .and_then(|file| file.get(usize::try_from(offset).ok()?..)?.get(..into.len()));
        if let Some(from) = from {
            into.copy_from_slice(from);
        }
        Ok(from.is_some())
    }

    fn blob_write(
        &mut self,
        id: &BlobId,
        size: u64,
        offset: u64,
        part: &[u8],
    ) -> Result<Taken, Infallible> {
        let file = self.parts.entry(*id).or_default();
        if file.len() as u64 != offset {
            // Another session was quicker.
            return Ok(Taken::Known);
        }
        file.extend_from_slice(part);
        if (file.len() as u64) < size {
            return Ok(Taken::New);
        }
        let file = self.parts.remove(id).expect("just written");
        if BlobId::of(&file) != Ok(*id) {
            return Ok(Taken::Invalid(format!("blob {id} is made of other bytes")));
        }
        self.blobs.insert(*id, file);
        Ok(Taken::New)
    }
}

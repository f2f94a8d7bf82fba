//! A vault that is open: what is in it, and with whose keys it is read and written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tally_vault_format::{
    Card, Genesis, GrantId, Identity, KeyringId, MemberId, MemberKind, NamespaceId, OpId,
    OpenSlotError, RecipientId, Right, Slot, Time, VaultId, from_phrase, recipient_id,
};
use tally_vault_state::{Delivery, Fold, GrantRow, GrantStanding, LogRow, NamespaceKeys, View};

use crate::author::Author;
use crate::environment::Environment;
use crate::error::{FileError, OpenError};
use crate::finding::{Code, Finding};
use crate::fs::{self, EntryKind, Lock, LockError};
use crate::keys::Keys;
use crate::layout::{FOLDERS, Layout, SLOTS, TEMPORARY};
use crate::local::{Head, Local, SealedIdentityError, Seen};
use crate::members::Revoked;
use crate::open_boxes::{self, KeyNumbers};
use crate::set::{Set, list};

/// How many slots a passphrase is tried on: each costs what its maker chose, up to the format's bounds.
const SLOTS_TRIED: usize = 16;

/// Where a vault is, and where this device keeps what it knows about vaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The vault's folder, as an absolute path.
    pub folder: PathBuf,
    /// A folder of this device, outside of every vault; it is made when it is needed.
    pub local: PathBuf,
}

/// What opens a vault.
#[expect(
    clippy::large_enum_variant,
    reason = "made once for an opening, and secrets are better not moved about the heap"
)]
pub enum Key<'a> {
    /// Nothing: what a relay sees.
    None,
    /// The owner's passphrase.
    Passphrase(&'a str),
    /// The owner's recovery phrase.
    Phrase(&'a str),
    /// A member's own key: an agent's, or a device's that was kept elsewhere.
    Member(Identity),
}

/// How to open a vault.
pub struct Open<'a> {
    /// With which key.
    pub key: Key<'a>,
    /// Whether to write. One process at a time can.
    pub write: bool,
    /// Which vault it must be. Without it, it must be the one that this device saw in that folder before, if it saw one.
    pub expect: Option<VaultId>,
    /// Whether to go on where this device has seen newer things than are there.
    pub accept_rollback: bool,
}

impl<'a> Open<'a> {
    /// To read with a key.
    #[must_use]
    pub const fn reading(key: Key<'a>) -> Self {
        Self {
            key,
            write: false,
            expect: None,
            accept_rollback: false,
        }
    }

    /// To read and write with a key.
    #[must_use]
    pub const fn writing(key: Key<'a>) -> Self {
        Self {
            key,
            write: true,
            expect: None,
            accept_rollback: false,
        }
    }
}

/// A namespace as its holder sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// Its id.
    pub id: NamespaceId,
    /// What it is called; none without its key.
    pub name: Option<String>,
    /// The keys it has had.
    pub keys: NamespaceKeys,
    /// What the holder may do in it; none without a grant.
    pub right: Option<Right>,
}

/// An open vault.
///
/// With [`Open::write`] it holds the vault's lock until it is dropped.
pub struct Vault {
    pub(crate) environment: Environment,
    pub(crate) layout: Layout,
    pub(crate) place: Place,
    pub(crate) local: Local,
    pub(crate) genesis: Genesis,
    pub(crate) id: VaultId,
    pub(crate) lock: Option<Box<dyn Lock>>,
    pub(crate) fold: Fold,
    pub(crate) set: Set,
    pub(crate) keys: Keys,
    pub(crate) holder: Holder,
    pub(crate) authors: BTreeMap<MemberId, Author>,
    pub(crate) seen: Seen,
    pub(crate) accept_rollback: bool,
    /// What redactions name, whether they count or not.
    pub(crate) redactions: Vec<OpId>,
    /// Members whose newest seals are gone, which the owner accepted.
    pub(crate) set_back: BTreeSet<MemberId>,
    /// The newest time of anybody that is not far ahead of this computer's clock.
    pub(crate) latest: Time,
    /// What was found while opening, apart from what the set and the fold tell.
    pub(crate) findings: Vec<Finding>,
    /// Grants that had ended and were closed when the vault was opened.
    pub(crate) closed: Revoked,
}

/// Whose keys are here.
#[derive(Default)]
pub(crate) struct Holder {
    pub(crate) device: Option<Arc<Identity>>,
    pub(crate) member: Option<Arc<Identity>>,
    pub(crate) slot: Option<Arc<Identity>>,
    pub(crate) root: Option<Arc<Identity>>,
}

impl Holder {
    /// All of them, in the order in which they are asked to write.
    pub(crate) fn all(&self) -> Vec<Arc<Identity>> {
        [&self.device, &self.member, &self.slot, &self.root]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }
}

impl Vault {
    /// Opens a vault.
    ///
    /// # Errors
    /// [`OpenError`]. Damage and malice in the folder are no errors but [findings](Self::check): what could be verified is
    /// there, and what could not is not.
    pub fn open(
        environment: Environment,
        place: &Place,
        options: Open<'_>,
    ) -> Result<Self, OpenError> {
        let layout = Layout::new(&place.folder);
        let local = Local::new(&place.local);
        let mut findings = Vec::new();
        let genesis = read_genesis(
            &environment,
            &layout,
            &local,
            place,
            options.expect,
            &mut findings,
        )?;
        let id = genesis.vault_id();
        let lock = if options.write {
            Some(take_lock(&environment, &layout)?)
        } else {
            None
        };
        let seen = read_seen(&environment, &local, &id, &mut findings)?;
        let mut vault = Self::begin(environment, place, genesis, lock);
        vault.seen = seen;
        vault.accept_rollback = options.accept_rollback;
        vault.findings = findings;
        if vault.lock.is_some() {
            vault.prepare_to_write()?;
        }
        vault.read_control()?;
        vault.unlock(options.key)?;
        vault.read_data()?;
        vault.compare_with_seen()?;
        if vault.lock.is_some() {
            // A redaction that was interrupted, or that came from another copy. Whoever may not do it leaves it to others.
            let _ = vault.finish_redactions();
            // What was not closed is named by `check`, and tried again when the vault is opened next.
            vault.closed = vault.close_ended().unwrap_or_default();
        }
        Ok(vault)
    }

    /// A vault of which nothing was read yet.
    pub(crate) fn begin(
        environment: Environment,
        place: &Place,
        genesis: Genesis,
        lock: Option<Box<dyn Lock>>,
    ) -> Self {
        let id = genesis.vault_id();
        Self {
            environment,
            layout: Layout::new(&place.folder),
            place: place.clone(),
            local: Local::new(&place.local),
            fold: Fold::new(id, *genesis.root()),
            genesis,
            id,
            lock,
            set: Set::default(),
            keys: Keys::default(),
            holder: Holder::default(),
            authors: BTreeMap::new(),
            seen: Seen::new(),
            accept_rollback: false,
            redactions: Vec::new(),
            set_back: BTreeSet::new(),
            latest: Time(0),
            findings: Vec::new(),
            closed: Revoked::default(),
        }
    }

    /// Reads what came into the folder since the vault was opened, from another process or a sync tool.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn refresh(&mut self) -> Result<(), OpenError> {
        self.read_control()?;
        self.read_data()?;
        self.compare_with_seen()
    }

    /// The vault's name.
    #[must_use]
    pub const fn id(&self) -> VaultId {
        self.id
    }

    /// How the vault began.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The vault's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.layout.root()
    }

    /// What the vault says: grants, records, the audit trail.
    pub fn view(&mut self) -> View<'_> {
        self.fold.view()
    }

    /// The members whose keys are here: this device, an agent, the passphrase slot, the root.
    #[must_use]
    pub fn holders(&self) -> Vec<Card> {
        self.holder
            .all()
            .iter()
            .map(|identity| *identity.card())
            .collect()
    }

    /// Whether the vault was opened for writing.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.lock.is_some()
    }

    /// Bytes of memory that the index takes, but for what allocators add.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.fold.memory() + self.set.memory()
    }

    /// All namespaces, ascending by id.
    pub fn namespaces(&mut self) -> Vec<NamespaceInfo> {
        let now = self.now();
        let holders = self.holder.all();
        let names: Vec<_> = self.fold.view().namespaces();
        names
            .into_iter()
            .map(|id| {
                let keys = self.namespace_keys(&id);
                let view = self.fold.view();
                let right = holders
                    .iter()
                    .filter_map(|holder| view.right(&holder.member(), &id, now))
                    .max();
                NamespaceInfo {
                    id,
                    name: self.keys.name_of(&id).map(str::to_owned),
                    keys,
                    right,
                }
            })
            .collect()
    }

    /// The namespace of this name, or of this id in hexadecimal. None if there is none, or if two have that name, as
    /// when two devices made it apart: then only the id tells them apart.
    pub fn namespace(&mut self, name: &str) -> Option<NamespaceId> {
        let known = self.fold.view().namespaces();
        let mut named = self
            .keys
            .namespace_named(name)
            .filter(|id| known.contains(id));
        if let Some(first) = named.next() {
            return named.next().is_none().then_some(first);
        }
        drop(named);
        name.parse().ok().filter(|id| known.contains(id))
    }

    /// What a namespace is called; none without its key.
    #[must_use]
    pub fn namespace_name(&self, id: &NamespaceId) -> Option<&str> {
        self.keys.name_of(id)
    }

    /// Every grant that is here.
    pub fn grants(&mut self) -> Vec<GrantRow> {
        self.fold.view().grants()
    }

    /// The audit trail, oldest first: who, what, when, under which grant, from which run and receipt.
    pub fn log(&mut self) -> Vec<LogRow> {
        self.fold.view().log().collect()
    }

    /// The hash of what the vault says, equal for all who can open the same boxes.
    pub fn state_hash(&mut self) -> [u8; 32] {
        self.fold.view().state_hash()
    }

    /// This device's time, moved on by what was seen of others as the format permits.
    pub(crate) fn now(&self) -> Time {
        Time::from_millis(self.environment.clock.now_ms()).advanced_by(self.latest)
    }

    pub(crate) fn namespace_keys(&mut self, id: &NamespaceId) -> NamespaceKeys {
        let deliveries = self.deliveries(id);
        self.fold
            .view()
            .keys(id, |ring| deliveries.get(ring).cloned())
    }

    /// What the keyrings at hand give, and whether to somebody who may not read.
    fn deliveries(&mut self, namespace: &NamespaceId) -> BTreeMap<KeyringId, Delivery> {
        let vault = self.id;
        let readers: Vec<RecipientId> = self
            .fold
            .view()
            .readers(namespace)
            .iter()
            .map(|card| recipient_id(&vault, namespace, &card.receive()))
            .collect();
        self.keys
            .rings
            .iter()
            .filter(|(_, (ring, _))| ring.namespace() == *namespace)
            .map(|(id, (ring, _))| {
                let to_strangers = ring
                    .recipients()
                    .any(|recipient| !readers.contains(&recipient));
                (
                    *id,
                    Delivery {
                        to_strangers,
                        older: ring.older_keys().collect(),
                    },
                )
            })
            .collect()
    }

    /// Removes what an interrupted write left, and puts back what is missing.
    pub(crate) fn prepare_to_write(&mut self) -> Result<(), OpenError> {
        let environment = &self.environment;
        for name in FOLDERS {
            let folder = self.layout.folder(name);
            environment
                .fs
                .create_dir(&folder)
                .map_err(FileError::at(&folder))?;
        }
        let temporary = self.layout.folder(TEMPORARY);
        for entry in list(environment, &temporary).map_err(FileError::at(&temporary))? {
            if entry.kind != EntryKind::Folder {
                // A file that cannot be removed is in nobody's way.
                let _ = environment.fs.remove(&temporary.join(&entry.name));
            }
        }
        self.local.tidy(environment, &self.id);
        if self
            .findings
            .iter()
            .any(|found| matches!(found.code, Code::GenesisMissing | Code::GenesisDamaged))
        {
            let root = self.layout.root();
            crate::durable::write(
                environment,
                &temporary,
                root,
                crate::layout::GENESIS,
                self.genesis.encode(),
            )
            .map_err(FileError::at(root))?;
        }
        Ok(())
    }

    /// Reads new frames, and folds what needs no key.
    fn read_control(&mut self) -> Result<(), OpenError> {
        let news = self
            .set
            .read_folder(&self.environment, &self.layout, &self.id)
            .map_err(FileError::at(self.layout.root()))?;
        self.keys
            .read_folder(
                &self.environment,
                &self.layout,
                &self.id,
                &mut self.findings,
            )
            .map_err(FileError::at(self.layout.root()))?;
        self.fold_control(news);
        Ok(())
    }

    /// Folds the seals, and the operations of control.
    pub(crate) fn fold_control(&mut self, news: crate::set::News) {
        let horizon = Time::from_millis(
            self.environment
                .clock
                .now_ms()
                .saturating_add(Time::TOLERANCE_MILLIS),
        );
        for id in &news.seals {
            let Some(stored) = self.set.seals.get(id) else {
                continue;
            };
            if stored.seal.time <= horizon {
                self.latest = self.latest.max(stored.seal.time);
            }
            // The seal was checked by the format, so the fold has nothing to refuse.
            let _ = self.fold.insert(*id, &stored.seal, None);
        }
        let mut buffer = tally_vault_format::BoxBuffer::new();
        for (id, bytes) in news.control {
            let Some(stored) = self.set.seals.get_mut(&id) else {
                continue;
            };
            let opened = tally_vault_format::FrameRef::parse(&self.id, &bytes)
                .map_err(|error| error.to_string())
                .and_then(|frame| {
                    let opened = frame
                        .open(None, &mut buffer)
                        .map_err(|error| error.to_string())?;
                    let opened = opened.ok_or_else(|| "no box".to_owned())?;
                    Ok(opened
                        .iter()
                        .map(|one| tally_vault_state::Operation::new(one.id, &one.op))
                        .collect::<Vec<_>>())
                })
                .and_then(|operations| {
                    self.fold
                        .insert(id, &stored.seal, Some(&operations))
                        .map_err(|error| error.to_string())
                });
            match opened {
                Ok(()) => stored.opened = true,
                Err(why) => {
                    for one in &mut stored.boxes {
                        one.unreadable = true;
                    }
                    self.findings.push(Finding::new(
                        Code::BoxUnreadable,
                        stored.seal.author.to_string(),
                        format!("seal {}: {why}", stored.seal.counter),
                    ));
                }
            }
        }
    }

    /// Opens the keyrings that may be opened, and then the boxes.
    pub(crate) fn read_data(&mut self) -> Result<(), OpenError> {
        let numbers = self.open_keyrings();
        let mut wanted: Vec<(usize, u64, u32)> = Vec::new();
        for (number, stored) in self.set.seals.numbered() {
            if !stored.opened
                && stored.seal.namespace != NamespaceId::CONTROL
                && stored.boxes.iter().any(|one| {
                    !one.unreadable && self.keys.get(&stored.seal.namespace, &one.key).is_some()
                })
            {
                let first = &stored.boxes[0];
                wanted.push((first.file, first.offset, number));
            }
        }
        // As they lie on the disk.
        wanted.sort_unstable();
        let wanted: Vec<u32> = wanted.into_iter().map(|(_, _, number)| number).collect();
        let mut outcomes = Vec::new();
        let fold = &mut self.fold;
        let redactions = &mut self.redactions;
        let (set, keys) = (&self.set, &self.keys);
        open_boxes::open_all(&self.environment, set, keys, &numbers, &wanted, |outcome| {
            let (id, stored) = set.seals.row(outcome.number);
            let mut opened = false;
            for operations in &outcome.operations {
                for op in operations
                    .iter()
                    .filter(|op| op.kind == tally_vault_format::OpKind::Redact)
                {
                    redactions.extend_from_slice(&op.targets);
                }
                // What opens has the ids that were sealed, so the fold has nothing to refuse.
                opened |= fold.insert(*id, &stored.seal, Some(operations)).is_ok();
            }
            outcomes.push((outcome.number, opened, outcome.bodiless, outcome.unreadable));
        });
        for (number, opened, bodiless, unreadable) in outcomes {
            let (_, stored) = self.set.seals.row_mut(number);
            stored.opened |= opened;
            stored.bodiless = bodiless;
            for (place, why) in unreadable {
                stored.boxes[place].unreadable = true;
                self.findings.push(Finding::new(
                    Code::BoxUnreadable,
                    stored.seal.author.to_string(),
                    format!("seal {}: {why}", stored.seal.counter),
                ));
            }
        }
        Ok(())
    }

    /// Opens every keyring that a rotation names and that brings a key not held yet. Returns the numbers of all keys.
    pub(crate) fn open_keyrings(&mut self) -> KeyNumbers {
        let holders = self.holder.all();
        let members: Vec<&Identity> = holders.iter().map(Arc::as_ref).collect();
        let mut numbers = KeyNumbers::new();
        let namespaces = self.fold.view().namespaces();
        for namespace in namespaces {
            let keys = self.fold.view().keys(&namespace, |_| None);
            // The newest first: it brings the older ones with it.
            for row in keys.keys.iter().rev() {
                numbers.insert((namespace, row.key.key_id()), row.number);
                if self.keys.by_commitment(&namespace, &row.key).is_some()
                    && self.keys.name_of(&namespace).is_some()
                {
                    continue;
                }
                for (ring, _, _) in &row.keyrings {
                    let fits = self.keys.rings.get(ring).is_some_and(|(ring, _)| {
                        ring.namespace() == namespace && ring.key() == row.key
                    });
                    if !fits {
                        continue;
                    }
                    match self.keys.open(ring, &members) {
                        Ok(()) => break,
                        Err(tally_vault_format::OpenKeyringError::NoMatch) => {}
                        Err(error) => self.findings.push(Finding::new(
                            Code::KeyringDamaged,
                            format!("keys/{ring}.key"),
                            error.to_string(),
                        )),
                    }
                }
            }
        }
        numbers
    }

    /// Finds out whose keys the given one leads to.
    fn unlock(&mut self, key: Key<'_>) -> Result<(), OpenError> {
        match key {
            Key::None => {}
            Key::Phrase(text) => {
                let root = Identity::new(MemberKind::Root, from_phrase(text)?);
                if root.card() != self.genesis.root() {
                    return Err(OpenError::OtherRoot);
                }
                self.holder.root = Some(Arc::new(root));
            }
            Key::Member(identity) => {
                let card = *identity.card();
                let is_root = card == *self.genesis.root();
                if !is_root
                    && !self
                        .fold
                        .view()
                        .grants()
                        .iter()
                        .any(|grant| grant.card == card)
                {
                    return Err(OpenError::Stranger {
                        member: card.member(),
                    });
                }
                let identity = Arc::new(identity);
                if is_root {
                    self.holder.root = Some(identity);
                } else {
                    self.holder.member = Some(identity);
                }
            }
            Key::Passphrase(passphrase) => {
                let slot = Arc::new(self.open_slot(passphrase)?);
                self.holder.device = self.open_device(&slot)?.map(Arc::new);
                self.holder.slot = Some(slot);
            }
        }
        Ok(())
    }

    /// The slots of members that were admitted, and findings about the others.
    pub(crate) fn read_slots(
        &mut self,
        findings: &mut Vec<Finding>,
    ) -> Result<(Vec<Slot>, Option<tally_vault_format::SlotError>), FileError> {
        let folder = self.layout.folder(SLOTS);
        let admitted: Vec<Card> = self
            .fold
            .view()
            .grants()
            .into_iter()
            .filter(|grant| grant.standing == GrantStanding::Valid)
            .map(|grant| grant.card)
            .collect();
        let mut slots: Vec<Slot> = Vec::new();
        let mut refused = None;
        for entry in list(&self.environment, &folder).map_err(FileError::at(&folder))? {
            if entry.kind != EntryKind::File {
                continue;
            }
            let place = format!("{SLOTS}/{}", entry.name);
            let path = folder.join(&entry.name);
            let bytes = match fs::read(&*self.environment.fs, &path, Slot::LEN as u64) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    findings.push(Finding::new(Code::SlotDamaged, place, error.to_string()));
                    continue;
                }
            };
            match Slot::parse(&self.id, &bytes) {
                Ok(slot) if !admitted.contains(slot.card()) => {
                    findings.push(Finding::new(
                        Code::SlotForeign,
                        place,
                        slot.card().member().to_string(),
                    ));
                }
                Ok(slot) => {
                    if entry.name != slot.file_name() {
                        findings.push(Finding::new(Code::FileMisnamed, place, slot.file_name()));
                    }
                    // The file that has the slot's own name first: a second copy may be older.
                    let at = if entry.name == slot.file_name() {
                        0
                    } else {
                        slots.len()
                    };
                    slots.insert(at, slot);
                }
                Err(error) => {
                    findings.push(Finding::new(Code::SlotDamaged, place, error.to_string()));
                    refused = Some(error);
                }
            }
        }
        Ok((slots, refused))
    }

    fn open_slot(&mut self, passphrase: &str) -> Result<Identity, OpenError> {
        let mut findings = Vec::new();
        let (slots, refused) = self.read_slots(&mut findings)?;
        self.findings.extend(findings);
        if slots.is_empty() {
            return Err(refused.map_or(OpenError::NoSlot, OpenError::SlotsRefused));
        }
        let mut tried: Vec<[u8; Slot::LEN]> = Vec::new();
        for slot in slots.iter().take(SLOTS_TRIED) {
            if tried.contains(slot.encode()) {
                continue;
            }
            tried.push(*slot.encode());
            match slot.open(passphrase) {
                Ok(identity) => return Ok(identity),
                Err(OpenSlotError::Passphrase) => {}
                Err(error) => return Err(OpenError::Slot(error)),
            }
        }
        Err(OpenError::WrongPassphrase)
    }

    /// This device's key, if it has one that opens and that nobody revoked.
    fn open_device(&mut self, slot: &Identity) -> Result<Option<Identity>, OpenError> {
        match self.local.device(&self.environment, &self.id, slot) {
            Ok(None) => Ok(None),
            Ok(Some(device)) => {
                let card = *device.card();
                let is_revoked = self
                    .fold
                    .view()
                    .grants()
                    .iter()
                    .any(|grant| grant.card == card && grant.standing != GrantStanding::Valid);
                Ok((!is_revoked).then_some(device))
            }
            // Sealed under another slot, or damaged: the device enrols anew when it writes.
            Err(SealedIdentityError::OtherKeeper { .. }) => Ok(None),
            Err(SealedIdentityError::Damaged) => {
                self.findings.push(Finding::new(
                    Code::TrustDamaged,
                    "device",
                    "the device's key does not open",
                ));
                Ok(None)
            }
            Err(error @ SealedIdentityError::Io(_)) => Err(error.into()),
        }
    }

    /// Holds what is there against what this device has seen, and remembers the rest.
    fn compare_with_seen(&mut self) -> Result<(), OpenError> {
        let heads = self.heads();
        if self.accept_rollback {
            self.set_back = self
                .seen
                .iter()
                .filter(|(author, seen)| {
                    heads
                        .get(author)
                        .is_none_or(|head| head.counter < seen.counter)
                })
                .map(|(author, _)| *author)
                .collect();
            self.accept_rollback = false;
            self.seen = heads;
            self.local
                .reset_seen(&self.environment, &self.id, &self.seen)
                .and_then(|()| {
                    self.local
                        .remember(&self.environment, &self.place.folder, &self.genesis)
                })
                .map_err(FileError::at(&self.place.local))?;
            return Ok(());
        }
        let news: Seen = heads
            .into_iter()
            .filter(|(author, head)| {
                self.seen
                    .get(author)
                    .is_none_or(|known| known.counter < head.counter)
            })
            .collect();
        self.local
            .add_seen(&self.environment, &self.id, &news)
            .and_then(|()| {
                self.local
                    .remember(&self.environment, &self.place.folder, &self.genesis)
            })
            .map_err(FileError::at(&self.place.local))?;
        // What is missing stays in the record: a vault that was set back and grew again is still not the one that was.
        self.findings
            .retain(|found| !matches!(found.code, Code::AuthorRolledBack | Code::AuthorRewritten));
        self.findings.extend(self.rollbacks());
        for (author, head) in news {
            if !self.findings.iter().any(|found| {
                found.code == Code::AuthorRewritten && found.place == author.to_string()
            }) {
                self.seen.insert(author, head);
            }
        }
        Ok(())
    }

    /// The newest seal of each author.
    pub(crate) fn heads(&self) -> Seen {
        self.set
            .chains
            .iter()
            .filter_map(|(author, chain)| {
                let (counter, links) = chain.last_key_value()?;
                let seal = links.iter().map(|link| link.id).max()?;
                Some((
                    *author,
                    Head {
                        counter: *counter,
                        seal,
                    },
                ))
            })
            .collect()
    }

    /// What this device has seen and is not there.
    pub(crate) fn rollbacks(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (author, head) in &self.seen {
            let chain = self.set.chains.get(author);
            let newest = chain
                .and_then(|chain| chain.last_key_value())
                .map_or(0, |(counter, _)| *counter);
            let at = chain.and_then(|chain| chain.get(&head.counter));
            if at.is_some_and(|links| links.iter().any(|link| link.id == head.seal)) {
                continue;
            }
            let place = author.to_string();
            if newest < head.counter {
                let detail = format!("seen up to seal {}, here up to {newest}", head.counter);
                findings.push(Finding::new(Code::AuthorRolledBack, place, detail));
            } else if at.is_some() {
                let detail = format!("seal {}: seen {}", head.counter, head.seal);
                findings.push(Finding::new(Code::AuthorRewritten, place, detail));
            }
            // Otherwise it lies in a gap, which is named as one.
        }
        findings
    }

    /// A grant that counts and was not revoked.
    pub(crate) fn valid_grant(&mut self, id: &GrantId) -> Option<GrantRow> {
        self.fold
            .view()
            .grant(id)
            .filter(|grant| grant.standing == GrantStanding::Valid)
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        // What this process wrote is noted when it is done, not at each append: that would be a second sync. Whoever is
        // killed before notes it when the vault is opened next.
        if self.lock.is_some() && !self.authors.is_empty() {
            let written: Seen = self
                .heads()
                .into_iter()
                .filter(|(author, _)| self.authors.contains_key(author))
                .collect();
            let _ = self.local.add_seen(&self.environment, &self.id, &written);
        }
    }
}

fn read_genesis(
    environment: &Environment,
    layout: &Layout,
    local: &Local,
    place: &Place,
    expect: Option<VaultId>,
    findings: &mut Vec<Finding>,
) -> Result<Genesis, OpenError> {
    let expected = match expect {
        Some(id) => Some(id),
        None => local
            .vault_at(environment, &place.folder)
            .map_err(FileError::at(&place.local))?,
    };
    let path = layout.genesis();
    // A byte more than it has, so that a longer file is seen to be one.
    let found = match fs::read(&*environment.fs, &path, Genesis::LEN as u64 + 4_096) {
        Ok(bytes) => Some(Genesis::parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Some(Genesis::parse(&[])),
        Err(error) => return Err(FileError::at(&path)(error).into()),
    };
    let (code, error) = match found {
        Some(Ok(genesis)) => {
            let found = genesis.vault_id();
            return match expected {
                Some(expected) if expected != found => {
                    Err(OpenError::Substituted { expected, found })
                }
                _ => Ok(genesis),
            };
        }
        Some(Err(error)) => (Code::GenesisDamaged, OpenError::Genesis(error)),
        None => (
            Code::GenesisMissing,
            OpenError::NotAVault {
                folder: place.folder.clone(),
            },
        ),
    };
    let copy = match expected {
        Some(id) => local
            .genesis(environment, &id)
            .map_err(FileError::at(&place.local))?,
        None => None,
    };
    let genesis = copy.ok_or(error)?;
    findings.push(Finding::new(code, crate::layout::GENESIS, ""));
    Ok(genesis)
}

pub(crate) fn take_lock(
    environment: &Environment,
    layout: &Layout,
) -> Result<Box<dyn Lock>, OpenError> {
    let path = layout.lock();
    environment.fs.lock(&path).map_err(|error| match error {
        LockError::Held => OpenError::InUse,
        LockError::Io(error) => FileError::at(&path)(error).into(),
    })
}

fn read_seen(
    environment: &Environment,
    local: &Local,
    id: &VaultId,
    findings: &mut Vec<Finding>,
) -> Result<Seen, OpenError> {
    let seen = local
        .seen(environment, id)
        .map_err(|error| OpenError::File(FileError::at(Path::new("seen"))(error)))?;
    Ok(seen.unwrap_or_else(|_| {
        findings.push(Finding::new(Code::TrustDamaged, "seen", ""));
        Seen::new()
    }))
}

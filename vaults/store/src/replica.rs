//! A vault on disk as a copy that synchronises ([`tally_vault_sync::Replica`]).
//!
//! * [`DiskCopy::of`] is for a vault that is here, with or without its keys; [`DiskCopy::empty`] for one of which only the id is
//!   known. [`DiskCopy::finish`] opens what came and gives the vault back.
//! * What a peer sends is judged as if it lay in the folder, and by the same rules as a relay's: seals by signature or by the
//!   chain, boxes by hash, boxes made anew by their packer's right, authors by the control log.
//!
//! Invariants:
//!
//! * A frame is written once it stands: its own signature is good, or a seal that stands names it. Until then it waits in
//!   memory, at most [`UNVERIFIED`] of an author.
//! * At a commit keyrings and slots are on the disk before frames. Blobs come after the frames that name them, as the
//!   protocol has it; a part is on the disk before the next is taken, under `blob/….part`, so a session that was cut goes on there.
//! * The fold learns a control seal when it stands, which may be before it is on the disk: others are judged by it. If
//!   writing fails the session is over, and the vault is opened anew.
//! * What is shown was verified: the folder's frames by the set, and here also who signed a box made anew.
//!
//! Each commit writes a segment of its own. They are put together when they make up a whole one, and at the last commit;
//! the small ones are removed after that, so that a crash in between leaves frames double and none missing.
//!
//! Out of scope: whom to talk to, and over what (`tally-link`, the command line).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tally_vault_format::{
    BlobId, BoxBuffer, BoxHash, FrameRef, Genesis, GrantId, Identity, KeyCommitment, KeyId,
    Keyring, KeyringId, MemberId, NamespaceId, OpId, Rebox, Right, SEGMENT_HEADER, Seal, SealId,
    Slot, Time, VaultId,
};
use tally_vault_state::{GrantRow, GrantStanding, Operation, What};
use tally_vault_sync::limits::AT_ONE_PLACE;
use tally_vault_sync::{Blob, Held, Item, Notice, Rank, Replica, Scope, Standing, Taken};

use crate::blobs;
use crate::durable;
use crate::environment::Environment;
use crate::error::{FileError, OpenError, WriteError};
use crate::fs::{Input, Output, read_full};
use crate::layout::{BLOBS, FOLDERS, GENESIS, KEYS, Layout, SEGMENT_LEN, SLOTS, TEMPORARY};
use crate::parallel;
use crate::segment::SegmentWriter;
use crate::set::{Stored, bare_frame, list};
use crate::vault::{Place, Vault, take_lock};

/// How many seals of one author may wait for a signature that vouches for them.
const UNVERIFIED: usize = 4_096;
/// How much of a file of frames is read at once.
const WINDOW_LEN: usize = 1 << 20;

/// Why a copy could not be read or written in a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The vault was opened for reading.
    #[error("the vault is open for reading only")]
    ReadOnly,
    /// The folder for a new copy holds something.
    #[error("{} is not empty: name a new folder (found {found})", .folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
        /// One name in it.
        found: String,
    },
    /// The folder could not be made a vault, or not be read again.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// What came could not be finished.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// The file system refused.
    #[error("{0}")]
    File(#[from] FileError),
}

/// What a session has moved so far, for whoever shows it while the session runs.
#[derive(Debug, Default)]
pub struct Moved {
    /// Frames that came and were kept.
    pub frames_in: AtomicU64,
    /// Frames that were read to be sent.
    pub frames_out: AtomicU64,
    /// Bytes of large contents that came.
    pub blob_bytes_in: AtomicU64,
    /// Bytes of large contents that were read to be sent.
    pub blob_bytes_out: AtomicU64,
}

/// A vault on disk, in a session.
pub struct DiskCopy {
    id: VaultId,
    environment: Environment,
    place: Place,
    layout: Layout,
    /// None until the genesis has come.
    vault: RefCell<Option<Vault>>,
    roster: RefCell<Option<Arc<Roster>>>,
    named: RefCell<Option<Arc<Named>>>,
    /// Boxes in the folder whose packer did not sign them.
    forged: HashSet<(SealId, BoxHash)>,
    waiting: BTreeMap<MemberId, BTreeMap<(u64, SealId), Waiting>>,
    /// Segments of this session that are smaller than one may be, and their frames.
    small: Vec<PathBuf>,
    gathered: Vec<u8>,
    /// Folders with names that are not on the disk yet.
    unsynced: BTreeSet<&'static str>,
    part: Option<Part>,
    window: RefCell<Window>,
    source: RefCell<Option<(BlobId, Box<dyn Input>)>>,
    moved: Arc<Moved>,
}

/// A frame that came and is not on the disk.
struct Waiting {
    seal: Seal,
    boxed: bool,
    rebox: Option<Rebox>,
    frame: Vec<u8>,
    stands: bool,
}

/// A blob on its way.
struct Part {
    id: BlobId,
    output: Box<dyn Output>,
    len: u64,
    /// All of it came in this session, so a wrong hash is the peer's doing.
    whole: bool,
}

/// A part of a file of frames in memory.
#[derive(Default)]
struct Window {
    file: Option<(PathBuf, Box<dyn Input>)>,
    start: u64,
    bytes: Vec<u8>,
}

/// The blobs that boxes here name, and in which namespaces.
type Named = BTreeMap<(BlobId, u64), BTreeSet<NamespaceId>>;

/// What follows from the control logs.
#[derive(Default)]
struct Roster {
    grants: BTreeMap<GrantId, GrantRow>,
    subjects: BTreeSet<MemberId>,
    /// Who granted comes before whom it granted.
    order: Vec<MemberId>,
    numbers: HashMap<(NamespaceId, KeyId), u32>,
    keyrings: BTreeMap<KeyringId, Vec<(NamespaceId, u32, KeyCommitment)>>,
    /// The seals of revocations.
    revocations: BTreeMap<OpId, SealId>,
    /// Nobody whose key is here may read anything.
    is_relay: bool,
}

impl Roster {
    fn of(vault: &mut Vault) -> Self {
        let holders: BTreeSet<MemberId> =
            vault.holder.all().iter().map(|one| one.member()).collect();
        let view = vault.fold.view();
        let mut roster = Self {
            is_relay: true,
            ..Self::default()
        };
        for grant in view.grants() {
            if let GrantStanding::Revoked(by) = &grant.standing {
                let places = by
                    .iter()
                    .filter_map(|operation| Some((*operation, view.row(operation)?.seal)));
                roster.revocations.extend(places);
            }
            if holders.contains(&grant.card.member())
                && grant.rights.iter().any(|(_, right)| *right >= Right::Read)
            {
                roster.is_relay = false;
            }
            roster.subjects.insert(grant.card.member());
            roster.grants.insert(grant.id, grant);
        }
        for namespace in view.namespaces() {
            for row in view.keys(&namespace, |_| None).keys {
                roster
                    .numbers
                    .insert((namespace, row.key.key_id()), row.number);
                for (ring, operation, _) in row.keyrings {
                    // The number of the rotation itself: its key may stand under a higher one too.
                    if let Some(What::Rotate { number, .. }) =
                        view.row(&operation).map(|row| row.what)
                    {
                        let announced = (namespace, number, row.key);
                        roster.keyrings.entry(ring).or_default().push(announced);
                    }
                }
            }
        }
        let mut seen = BTreeSet::new();
        let mut placed: BTreeSet<GrantId> = BTreeSet::new();
        let mut left: Vec<&GrantRow> = roster.grants.values().collect();
        while !left.is_empty() {
            let before = left.len();
            left.retain(|grant| {
                let ready = grant.parent.is_none_or(|parent| placed.contains(&parent));
                if ready {
                    placed.insert(grant.id);
                    if seen.insert(grant.card.member()) {
                        roster.order.push(grant.card.member());
                    }
                }
                !ready
            });
            if left.len() == before {
                // Grants whose parent is not here.
                for grant in left.drain(..) {
                    if seen.insert(grant.card.member()) {
                        roster.order.push(grant.card.member());
                    }
                }
            }
        }
        roster
    }

    fn number(&self, namespace: NamespaceId, key: KeyId) -> u32 {
        self.numbers.get(&(namespace, key)).copied().unwrap_or(0)
    }

    fn original(&self, seal: &Seal) -> Rank {
        Rank {
            number: match seal.namespace {
                NamespaceId::CONTROL => 0,
                namespace => self.number(namespace, seal.key),
            },
            time: seal.time,
            hash: seal.box_hash,
        }
    }

    fn anew(&self, seal: &Seal, rebox: &Rebox) -> Rank {
        Rank {
            number: self.number(seal.namespace, rebox.key),
            time: rebox.time,
            hash: rebox.box_hash,
        }
    }

    fn rank(&self, seal: &Seal, boxed: bool, rebox: Option<&Rebox>) -> Option<Rank> {
        match rebox {
            Some(rebox) => Some(self.anew(seal, rebox)),
            None => boxed.then(|| self.original(seal)),
        }
    }

    /// Whether a relay keeps the box of a data seal; none if its grant is not here yet.
    fn may_append(&self, seal: &Seal) -> Option<bool> {
        let grant = self.grants.get(&seal.grant)?;
        let right = grant
            .rights
            .iter()
            .filter(|(namespace, _)| *namespace == seal.namespace || *namespace == NamespaceId::ALL)
            .map(|(_, right)| *right)
            .max();
        // What a revocation cut off cannot be told without opening boxes; readers tell.
        Some(
            grant.card.member() == seal.author
                && !matches!(grant.standing, GrantStanding::Void(_))
                && right >= Some(Right::Append)
                && grant.expires.is_none_or(|end| seal.time <= end),
        )
    }
}

impl DiskCopy {
    /// A vault that is open for writing.
    ///
    /// # Errors
    /// [`CopyError::ReadOnly`], and what the file system says.
    pub fn of(vault: Vault) -> Result<Self, CopyError> {
        if vault.lock.is_none() {
            return Err(CopyError::ReadOnly);
        }
        let (environment, place, id) = (vault.environment.clone(), vault.place.clone(), vault.id);
        let mut copy = Self::begin(environment, place, id);
        copy.forged = forged(&vault);
        copy.vault = RefCell::new(Some(vault));
        copy.tidy_parts()?;
        Ok(copy)
    }

    /// A copy that is to be made, in a folder that is empty or not there, of a vault of which only the id is known.
    ///
    /// # Errors
    /// [`CopyError::NotEmpty`], and what the file system says.
    pub fn empty(environment: Environment, place: &Place, id: VaultId) -> Result<Self, CopyError> {
        let names = list(&environment, &place.folder).map_err(FileError::at(&place.folder))?;
        if let Some(first) = names.into_iter().next() {
            return Err(CopyError::NotEmpty {
                folder: place.folder.clone(),
                found: first.name,
            });
        }
        Ok(Self::begin(environment, place.clone(), id))
    }

    fn begin(environment: Environment, place: Place, id: VaultId) -> Self {
        Self {
            id,
            layout: Layout::new(&place.folder),
            environment,
            place,
            vault: RefCell::new(None),
            roster: RefCell::new(None),
            named: RefCell::new(None),
            forged: HashSet::new(),
            waiting: BTreeMap::new(),
            small: Vec::new(),
            gathered: Vec::new(),
            unsynced: BTreeSet::new(),
            part: None,
            window: RefCell::default(),
            source: RefCell::new(None),
            moved: Arc::default(),
        }
    }

    /// What is moved, as it is moved.
    #[must_use]
    pub fn moved(&self) -> Arc<Moved> {
        self.moved.clone()
    }

    /// Writes what still waits and stands, opens what came, and gives the vault back; none if nothing ever came.
    ///
    /// # Errors
    /// [`CopyError`]. What was acknowledged is on the disk all the same.
    pub fn finish(mut self) -> Result<Option<Vault>, CopyError> {
        // Also after a session whose future was dropped.
        self.commit(true)?;
        let Some(mut vault) = self.vault.into_inner() else {
            return Ok(None);
        };
        vault.refresh()?;
        // What came may be redacted here, and what is here may be redacted by what came.
        match vault.finish_redactions() {
            Ok(_) | Err(WriteError::Locked | WriteError::NotPermitted { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Some(vault))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vault) -> T) -> Option<T> {
        self.vault.borrow_mut().as_mut().map(act)
    }

    fn roster(&self) -> Arc<Roster> {
        self.roster
            .borrow_mut()
            .get_or_insert_with(|| Arc::new(self.with(Roster::of).unwrap_or_default()))
            .clone()
    }

    fn named(&self) -> Arc<Named> {
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

    /// The box of a seal that is preferred: by its place, or none. None at all for a seal that cannot be shown.
    fn preferred(
        &self,
        roster: &Roster,
        id: SealId,
        stored: &Stored,
    ) -> Option<(Held, Option<usize>)> {
        let seal = &stored.seal;
        let mut best: Option<(Rank, usize)> = None;
        for (place, one) in stored.boxes.iter().enumerate() {
            let rank = match one.rebox.as_deref() {
                None => roster.original(seal),
                Some(rebox) => {
                    let rank = roster.anew(seal, rebox);
                    // How good it is nobody can tell without its rotation.
                    if rank.number == 0
                        || self.forged.contains(&(id, one.hash))
                        || (one.unreadable && stored.boxes.len() > 1)
                    {
                        continue;
                    }
                    rank
                }
            };
            if best.is_none_or(|(known, _)| rank > known) {
                best = Some((rank, place));
            }
        }
        match best {
            Some((rank, place)) if stored.boxes[place].rebox.is_some() => {
                Some((Held::Reboxed(rank), Some(place)))
            }
            Some((_, place)) => Some((Held::Original, Some(place))),
            // A control seal without its box says nothing to anybody; whoever has the box is to send it.
            None if seal.namespace == NamespaceId::CONTROL => None,
            None => Some((Held::Bare, None)),
        }
    }

    /// How good the box is that is here or waits; none if the seal is unknown.
    fn known_rank(&self, roster: &Roster, seal: &Seal, id: SealId) -> Option<Option<Rank>> {
        let here = self.vault.borrow().as_ref().and_then(|vault| {
            let stored = vault.set.seals.get(&id)?;
            Some(match self.preferred(roster, id, stored) {
                Some((Held::Original, _)) => Some(roster.original(seal)),
                Some((Held::Reboxed(rank), _)) => Some(rank),
                Some((Held::Bare, _)) | None => None,
            })
        });
        let waits = self
            .waiting
            .get(&seal.author)
            .and_then(|chain| chain.get(&(seal.counter, id)))
            .map(|one| roster.rank(seal, one.boxed, one.rebox.as_ref()));
        match (here, waits) {
            (None, None) => None,
            (a, b) => Some(a.flatten().max(b.flatten())),
        }
    }

    /// Whether a seal may be behind the ones that are here, and how many have its counter.
    fn place_of(&self, seal: &Seal) -> (bool, usize) {
        let vault = self.vault.borrow();
        let chain = vault
            .as_ref()
            .and_then(|vault| vault.set.chains.get(&seal.author));
        let waiting = self.waiting.get(&seal.author);
        let follows = seal.counter == 1
            || chain
                .and_then(|chain| chain.get(&(seal.counter - 1)))
                .is_some_and(|links| links.iter().any(|link| link.id == seal.previous))
            || waiting.is_some_and(|one| one.contains_key(&(seal.counter - 1, seal.previous)));
        let beside = (seal.counter, SealId([0; 32]))..=(seal.counter, SealId([0xff; 32]));
        let count = chain
            .and_then(|chain| chain.get(&seal.counter))
            .map_or(0, Vec::len)
            + waiting.map_or(0, |one| one.range(beside).count());
        (follows, count)
    }

    fn take(&mut self, bytes: &[u8]) -> Taken {
        let frame = match FrameRef::parse(&self.id, bytes) {
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
        if self.vault.borrow().is_none() {
            return Taken::Later;
        }
        let roster = self.roster();
        if frame
            .rebox()
            .is_some_and(|rebox| roster.number(seal.namespace, rebox.key) == 0)
        {
            // How good it is, only the rotation says that names its key.
            return Taken::Later;
        }
        let boxed = frame.sealed_box().is_some();
        let control = seal.namespace == NamespaceId::CONTROL;
        if control && !boxed {
            return Taken::Invalid("a control seal without its box".to_owned());
        }
        let known = self.known_rank(&roster, &seal, id);
        match known {
            Some(old) if roster.rank(&seal, boxed, frame.rebox()) <= old => return Taken::Known,
            Some(_) => {}
            None => {
                if !roster.subjects.contains(&seal.author) {
                    // Its grant may come with the next author.
                    return Taken::Later;
                }
                let (follows, beside) = self.place_of(&seal);
                if !follows {
                    return Taken::Later;
                }
                if beside >= AT_ONE_PLACE {
                    return Taken::Declined;
                }
            }
        }
        let mut one = Waiting {
            seal,
            boxed,
            rebox: frame.rebox().copied(),
            frame: bytes.to_vec(),
            stands: false,
        };
        let mut taken = Taken::New;
        if boxed && !control {
            let may = match frame.rebox() {
                Some(rebox) if rebox.packer == seal.author => Some(true),
                Some(rebox) => self.with(|vault| {
                    let (packer, namespace) = (&rebox.packer, &seal.namespace);
                    let view = vault.fold.view();
                    view.permits(&rebox.grant, packer, namespace, Right::Curate, rebox.time)
                }),
                None if roster.is_relay => roster.may_append(&seal),
                None => Some(true),
            };
            match may {
                Some(true) => {}
                None => return Taken::Later,
                Some(false) if known.is_some() => return Taken::Declined,
                Some(false) => {
                    // The chain stays whole.
                    one.frame.clear();
                    frame.write_without_box(&mut one.frame);
                    (one.boxed, one.rebox) = (false, None);
                    taken = Taken::Declined;
                }
            }
        }
        let in_set =
            (self.vault.borrow().as_ref()).is_some_and(|vault| vault.set.seals.contains_key(&id));
        let chain = self.waiting.entry(seal.author).or_default();
        one.stands = in_set
            || chain
                .get(&(seal.counter, id))
                .is_some_and(|known| known.stands);
        let stood = one.stands;
        chain.insert((seal.counter, id), one);
        if control {
            if stood {
                // The seal was here without its box.
                self.learn(seal.author, (seal.counter, id));
            } else if seal.verify().is_ok() {
                // By control others are judged, so it is looked at now. A signature that is damaged is none: a later seal may vouch.
                self.stand(seal.author, seal.counter, id);
            }
        }
        taken
    }

    /// A seal that stands vouches for the one it names, and so on down the chain.
    fn stand(&mut self, author: MemberId, mut counter: u64, mut id: SealId) {
        let Some(chain) = self.waiting.get_mut(&author) else {
            return;
        };
        let mut control = Vec::new();
        while let Some(one) = chain.get_mut(&(counter, id)).filter(|one| !one.stands) {
            one.stands = true;
            if one.seal.namespace == NamespaceId::CONTROL {
                control.push((counter, id));
            }
            (counter, id) = (counter.saturating_sub(1), one.seal.previous);
        }
        for place in control.into_iter().rev() {
            self.learn(author, place);
        }
    }

    /// Gives a control seal that stands to the fold.
    fn learn(&mut self, author: MemberId, place: (u64, SealId)) {
        let Some(one) = self
            .waiting
            .get(&author)
            .and_then(|chain| chain.get(&place))
        else {
            return;
        };
        let frame = FrameRef::parse(&self.id, &one.frame).expect("parsed when it was taken");
        let mut buffer = BoxBuffer::new();
        let opened = frame.open(None, &mut buffer).ok().flatten();
        let operations: Option<Vec<Operation>> = opened.map(|opened| {
            opened
                .iter()
                .map(|row| Operation::new(row.id, &row.op))
                .collect()
        });
        self.with(|vault| {
            // A box that does not hold what was sealed is its author's noise: the seal counts, and says nothing.
            if vault
                .fold
                .insert(place.1, &one.seal, operations.as_deref())
                .is_err()
            {
                let _ = vault.fold.insert(place.1, &one.seal, None);
            }
        });
        *self.roster.borrow_mut() = None;
    }

    /// Looks for signatures that vouch for what waits. Unless nothing more comes, what has none stays for now.
    fn settle(&mut self, last: bool) -> Taken {
        let mut forgery = None;
        let authors: Vec<MemberId> = self.waiting.keys().copied().collect();
        for author in authors {
            // From the newest down: one signature vouches for a chain.
            let places: Vec<(u64, SealId)> = self.waiting[&author].keys().rev().copied().collect();
            for pass_last in [false, true] {
                for (counter, id) in &places {
                    let Some(one) = self.waiting[&author]
                        .get(&(*counter, *id))
                        .filter(|one| !one.stands)
                    else {
                        continue;
                    };
                    let is_vouched = self.vault.borrow().as_ref().is_some_and(|vault| {
                        let above = vault
                            .set
                            .chains
                            .get(&author)
                            .and_then(|chain| chain.get(&(counter + 1)));
                        above.is_some_and(|links| links.iter().any(|link| link.previous == *id))
                    });
                    if is_vouched || one.seal.verify().is_ok() {
                        self.stand(author, *counter, *id);
                    } else if pass_last {
                        // What named it was newer, and is gone already.
                        if let Some(chain) = self.waiting.get_mut(&author) {
                            chain.remove(&(*counter, *id));
                        }
                        forgery = Some(format!(
                            "seal {counter} of {author} was not signed by its author"
                        ));
                    }
                }
                let unverified = self.waiting[&author]
                    .values()
                    .filter(|one| !one.stands)
                    .count();
                if unverified == 0 || !(last || unverified > UNVERIFIED) {
                    break;
                }
            }
        }
        forgery.map_or(Taken::New, Taken::Invalid)
    }

    /// Makes durable what stands, and reads it as it would be read from any file.
    fn write(&mut self) -> Result<(), CopyError> {
        let mut news = 0;
        let mut writer = SegmentWriter::new(&self.environment, &self.layout);
        for one in self
            .waiting
            .values()
            .flat_map(BTreeMap::values)
            .filter(|one| one.stands)
        {
            writer
                .push(&one.frame)
                .map_err(FileError::at(self.layout.root()))?;
            news += 1;
        }
        if news == 0 {
            return Ok(());
        }
        self.small
            .extend(writer.finish().map_err(FileError::at(self.layout.root()))?);
        for chain in self.waiting.values_mut() {
            for (_, one) in chain.extract_if(.., |_, one| one.stands) {
                self.gathered.extend_from_slice(&one.frame);
            }
        }
        self.waiting.retain(|_, chain| !chain.is_empty());
        self.read_news()
    }

    fn read_news(&mut self) -> Result<(), CopyError> {
        let layout = &self.layout;
        let read = self.with(|vault| {
            let news = vault
                .set
                .read_folder(&vault.environment, layout, &vault.id)?;
            let control = !news.control.is_empty();
            vault.fold_control(news);
            Ok::<_, io::Error>(control)
        });
        let control = read.transpose().map_err(FileError::at(layout.root()))?;
        if control == Some(true) {
            *self.roster.borrow_mut() = None;
        }
        *self.named.borrow_mut() = None;
        Ok(())
    }

    /// Puts the small segments of this session together.
    fn gather(&mut self) -> Result<(), CopyError> {
        if self.small.len() > 1 {
            let mut writer = SegmentWriter::new(&self.environment, &self.layout);
            let at_root = || FileError::at(self.layout.root());
            writer.push(&self.gathered).map_err(at_root())?;
            let written = writer.finish().map_err(at_root())?;
            for path in self.small.iter().filter(|path| !written.contains(path)) {
                // What cannot be removed is a double, which is in nobody's way.
                let _ = self.environment.fs.remove(path);
            }
            *self.window.borrow_mut() = Window::default();
            self.read_news()?;
        }
        self.small.clear();
        self.gathered.clear();
        Ok(())
    }

    /// A new file in a folder, which is synced at the next commit.
    fn place(&mut self, folder: &'static str, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        let inside = self.layout.folder(folder);
        let temporary = self.layout.folder(TEMPORARY);
        durable::write_unsynced(&self.environment, &temporary, &inside, name, bytes)
            .map_err(FileError::at(&inside))?;
        self.unsynced.insert(folder);
        Ok(())
    }

    fn part_path(&self, id: &BlobId) -> PathBuf {
        self.layout.folder(BLOBS).join(format!("{id}.part"))
    }

    /// Removes begun blobs that nothing names any more or that are here.
    fn tidy_parts(&self) -> Result<(), CopyError> {
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

/// Boxes made anew that lie in the folder and whose packer did not sign them.
fn forged(vault: &Vault) -> HashSet<(SealId, BoxHash)> {
    let anew: Vec<(SealId, BoxHash, &Rebox)> = vault
        .set
        .seals
        .iter()
        .flat_map(|(id, stored)| stored.boxes.iter().map(move |one| (*id, one)))
        .filter_map(|(id, one)| Some((id, one.hash, one.rebox.as_deref()?)))
        .collect();
    let signed = parallel::map(&anew, vault.environment.threads, |(_, _, rebox)| {
        rebox.verify().is_ok()
    });
    anew.iter()
        .zip(signed)
        .filter(|(_, signed)| !signed)
        .map(|((id, hash, _), _)| (*id, *hash))
        .collect()
}

impl Window {
    /// The bytes at a place of a file; none if the file is gone or shorter.
    fn read(
        &mut self,
        environment: &Environment,
        path: &Path,
        offset: u64,
        len: usize,
    ) -> io::Result<Option<&[u8]>> {
        if self.file.as_ref().is_none_or(|(known, _)| known != path) {
            self.bytes.clear();
            self.file = match environment.fs.open(path) {
                Ok(input) => Some((path.to_owned(), input)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
        let Some((_, input)) = &self.file else {
            return Ok(None);
        };
        let end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + len as u64 > end {
            self.bytes.resize(len.max(WINDOW_LEN), 0);
            let filled = read_full(&**input, &mut self.bytes, offset)?;
            self.bytes.truncate(filled);
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).expect("inside the window");
        Ok(self.bytes.get(from..from + len))
    }
}

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
        self.vault = RefCell::new(Some(vault));
        *self.roster.borrow_mut() = None;
        Ok(Taken::New)
    }

    fn standing(&self, member: &MemberId) -> Result<Standing, CopyError> {
        let roster = self.roster();
        let now = Time::from_millis(self.environment.clock.now_ms());
        let mut kind = None;
        let mut boxes = Scope::none();
        let (mut notices, mut former) = (Vec::new(), false);
        for grant in roster
            .grants
            .values()
            .filter(|grant| grant.card.member() == *member)
        {
            match &grant.standing {
                GrantStanding::Void(_) => {}
                GrantStanding::Revoked(by) => {
                    former = true;
                    for operation in by {
                        let Some(id) = roster.revocations.get(operation) else {
                            continue;
                        };
                        let here = self
                            .with(|vault| Some(vault.set.seals.get(id)?.seal))
                            .flatten();
                        let waits = || {
                            let chains = self.waiting.values().flat_map(BTreeMap::iter);
                            chains
                                .filter(|((_, one), _)| one == id)
                                .map(|(_, one)| one.seal)
                                .next()
                        };
                        notices.extend(here.or_else(waits).map(|seal| Notice {
                            author: seal.author,
                            through: seal.counter,
                        }));
                    }
                }
                GrantStanding::Valid if grant.expires.is_some_and(|end| end < now) => former = true,
                GrantStanding::Valid => {
                    kind = Some(grant.card.kind());
                    for (namespace, _) in &grant.rights {
                        match &mut boxes {
                            Scope::All => {}
                            _ if *namespace == NamespaceId::ALL => boxes = Scope::All,
                            Scope::Only(set) => {
                                set.insert(*namespace);
                            }
                        }
                    }
                }
            }
        }
        Ok(match kind {
            Some(kind) => Standing::Member { kind, boxes },
            None if former => Standing::Former { notices },
            None => Standing::Unknown,
        })
    }

    fn authors(&self) -> Result<Vec<MemberId>, CopyError> {
        let roster = self.roster();
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
        Ok(roster.order.iter().filter(has_seals).copied().collect())
    }

    fn items(
        &self,
        author: &MemberId,
        counters: RangeInclusive<u64>,
        visit: &mut dyn FnMut(Item),
    ) -> Result<(), CopyError> {
        let roster = self.roster();
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
                if let Some((held, _)) = self.preferred(&roster, *id, stored) {
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
        let roster = self.roster();
        let vault = self.vault.borrow();
        let Some((vault, stored)) = vault
            .as_ref()
            .and_then(|vault| Some((vault, vault.set.seals.get(seal)?)))
        else {
            return Ok(None);
        };
        let Some((_, place)) = self.preferred(&roster, *seal, stored) else {
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
        let roster = self.roster();
        let vault = self.vault.borrow();
        let Some(vault) = vault.as_ref() else {
            return Ok(Vec::new());
        };
        let fits = |(id, announced): (&KeyringId, &Vec<(NamespaceId, u32, KeyCommitment)>)| {
            let (ring, _) = vault.keys.rings.get(id)?;
            let own = (ring.namespace(), ring.number(), ring.key());
            announced.contains(&own).then_some((*id, own.0))
        };
        Ok(roster.keyrings.iter().filter_map(fits).collect())
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
        let roster = self.roster();
        let Some(announced) = roster.keyrings.get(&id) else {
            return Ok(Taken::Later);
        };
        if !announced.contains(&(ring.namespace(), ring.number(), ring.key())) {
            return Ok(Taken::Declined);
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
        if !self
            .roster()
            .grants
            .values()
            .any(|grant| grant.card == *slot.card())
        {
            return Ok(Taken::Declined);
        }
        self.place(SLOTS, &slot.file_name(), bytes)?;
        Ok(Taken::New)
    }

    fn blobs(&self) -> Result<Vec<Blob>, CopyError> {
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

    fn blob_wanted(&self, id: &BlobId, size: u64) -> Result<Option<u64>, CopyError> {
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

    fn blob_read(&self, id: &BlobId, offset: u64, into: &mut [u8]) -> Result<bool, CopyError> {
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

    fn blob_write(
        &mut self,
        id: &BlobId,
        size: u64,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Taken, CopyError> {
        let path = self.part_path(id);
        if self.part.as_ref().is_none_or(|part| part.id != *id) {
            let known = self.len_of(&path)?;
            let output = match known {
                Some(_) => self.environment.fs.append(&path),
                None => self.environment.fs.create(&path),
            }
            .map_err(FileError::at(&path))?;
            self.part = Some(Part {
                id: *id,
                output,
                len: known.unwrap_or(0),
                whole: known.unwrap_or(0) == 0,
            });
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
        let file = self
            .environment
            .fs
            .open(&path)
            .map_err(FileError::at(&path))?;
        let len = file.len().map_err(FileError::at(&path))?;
        if blobs::identify(&*file, 0, len).map_err(FileError::at(&path))? != Ok(*id) {
            self.environment
                .fs
                .remove(&path)
                .map_err(FileError::at(&path))?;
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
            .rename(&path, &target)
            .map_err(FileError::at(&target))?;
        let folder = self.layout.folder(BLOBS);
        self.environment
            .fs
            .sync_dir(&folder)
            .map_err(FileError::at(&folder))?;
        Ok(Taken::New)
    }
}

impl Vault {
    /// With whose key this copy meets others: this device's, or that of the member whose key is here; none in a vault that was
    /// opened with no key. Opened with a passphrase on a computer that is new to the vault, it is enrolled first.
    ///
    /// # Errors
    /// [`WriteError`], if it has to be enrolled and cannot.
    pub fn sync_identity(&mut self) -> Result<Option<Arc<Identity>>, WriteError> {
        if self.lock.is_some() {
            self.enrol_if_new()?;
        }
        Ok(self.holder.all().into_iter().next())
    }
}

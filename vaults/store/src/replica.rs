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

mod authority;
mod blobs;
mod session;
mod window;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tally_vault_format::{
    BlobId, BoxBuffer, BoxHash, FrameRef, Identity, MemberId, NamespaceId, Rebox, Seal, SealId,
    VaultId,
};
use tally_vault_state::Operation;
use tally_vault_sync::limits::{AT_ONE_PLACE, UNVERIFIED};
use tally_vault_sync::{Held, Rank, Replica, Roster, Taken};

use self::authority::Authority;
use self::blobs::{Named, Part};
use self::window::Window;
use crate::durable;
use crate::environment::Environment;
use crate::error::{FileError, OpenError, WriteError};
use crate::fs::Input;
use crate::layout::{Layout, TEMPORARY};
use crate::parallel;
use crate::segment::SegmentWriter;
use crate::set::{Stored, list};
use crate::vault::{Place, Vault};

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
    authority: RefCell<Option<Arc<Authority>>>,
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
            authority: RefCell::new(None),
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

    fn authority(&self) -> Arc<Authority> {
        self.authority
            .borrow_mut()
            .get_or_insert_with(|| Arc::new(self.with(Authority::of).unwrap_or_default()))
            .clone()
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
        let authority = self.authority();
        let roster = &authority.roster;
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
        let known = self.known_rank(roster, &seal, id);
        match known {
            Some(old) if roster.rank(&seal, boxed, frame.rebox()) <= old => return Taken::Known,
            Some(_) => {}
            None => {
                if !roster.is_subject(&seal.author) {
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
            let keeps = self.with(|vault| {
                let view = vault.fold.view();
                roster.keeps(&view, &seal, frame.rebox(), authority.is_relay)
            });
            match keeps.flatten() {
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
        *self.authority.borrow_mut() = None;
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
            *self.authority.borrow_mut() = None;
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

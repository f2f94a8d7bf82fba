//! Where a member that writes here stands: its newest seal, the ends of its logs, its tail.

use std::collections::BTreeMap;
use std::io;

use tally_vault_format::{MemberId, NamespaceId, OpId, SealId, Time, VaultId};

use crate::environment::Environment;
use crate::layout::Layout;
use crate::scan::{self, FlawKind};
use crate::set::Set;
use crate::tail::{self, Placed, Tail, TailError};

/// A member that writes here.
pub(crate) struct Author {
    /// The number of its newest seal, and its id.
    pub(crate) counter: u64,
    pub(crate) previous: SealId,
    /// The latest time it wrote.
    pub(crate) last: Option<Time>,
    /// The last operation of each log.
    pub(crate) logs: BTreeMap<NamespaceId, (u64, OpId)>,
    tail: Option<(Tail, usize)>,
    /// Whether the tail on the disk, if there is one, was looked at.
    ready: bool,
    broken: bool,
}

impl Author {
    /// From what the set holds of it.
    pub(crate) fn of(set: &Set, member: &MemberId) -> Self {
        let mut author = Self {
            counter: 0,
            previous: SealId::NONE,
            last: None,
            logs: BTreeMap::new(),
            tail: None,
            ready: false,
            broken: false,
        };
        let Some(chain) = set.chains.get(member) else {
            return author;
        };
        for (counter, links) in chain {
            for link in links {
                // Of a fork, one branch is continued: the one with the greatest id, as everywhere.
                if (*counter, link.id) > (author.counter, author.previous) {
                    (author.counter, author.previous) = (*counter, link.id);
                }
                let Some(stored) = set.seals.get(&link.id) else {
                    continue;
                };
                let seal = &stored.seal;
                author.last = author.last.max(Some(seal.time));
                let end = author.logs.entry(seal.namespace).or_insert((0, OpId::NONE));
                if (seal.last(), seal.head) > *end {
                    *end = (seal.last(), seal.head);
                }
            }
        }
        author
    }

    pub(crate) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Writes frames durably. Returns the file they lie in, by its number in the set, and where the first begins.
    pub(crate) fn append(
        &mut self,
        environment: &Environment,
        layout: &Layout,
        vault: &VaultId,
        set: &mut Set,
        member: &MemberId,
        frames: &[u8],
    ) -> Result<(usize, u64), TailError> {
        if self.broken {
            return Err(TailError::Lost);
        }
        if !self.ready {
            self.tail = find_tail(environment, layout, set, member)?;
            self.ready = true;
        }
        if self
            .tail
            .as_ref()
            .is_some_and(|(tail, _)| !tail.is_in_place())
        {
            self.tail = None;
        }
        if self.tail.as_ref().is_some_and(|(tail, _)| tail.is_full()) {
            self.close(environment, layout, set)?;
        }
        let placed = match &mut self.tail {
            Some((tail, file)) => tail.append(frames).map(|placed| (*file, placed.offset)),
            None => begin(environment, layout, vault, member, frames).map(|(tail, placed)| {
                let file = set.own_file(&placed.path, true);
                self.tail = Some((tail, file));
                (file, placed.offset)
            }),
        };
        if matches!(placed, Err(TailError::Lost))
            || self.tail.as_ref().is_some_and(|(tail, _)| tail.is_lost())
        {
            self.broken = true;
        }
        placed
    }

    /// Makes a segment of the tail, if there is one.
    pub(crate) fn close(
        &mut self,
        environment: &Environment,
        layout: &Layout,
        set: &mut Set,
    ) -> io::Result<()> {
        if let Some((tail, file)) = self.tail.take() {
            match tail.close(environment, layout) {
                Ok(path) => {
                    // Frames lie at the same places in the segment.
                    set.files[file].path = path;
                    set.files[file].is_tail = false;
                }
                Err(error) => {
                    self.tail = Some((tail, file));
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// Begins a tail. If a file of its name has come from somewhere meanwhile, that one is made a segment first.
fn begin(
    environment: &Environment,
    layout: &Layout,
    vault: &VaultId,
    member: &MemberId,
    frames: &[u8],
) -> Result<(Tail, Placed), TailError> {
    match Tail::begin(environment, layout, member, frames) {
        Err(TailError::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
            let path = layout.tail(member);
            let found = scan::scan(&*environment.fs, &path, vault, true, 0)?;
            tail::close(environment, layout, &path, found.good_len)?;
            Tail::begin(environment, layout, member, frames)
        }
        other => other,
    }
}

/// The tail that is on the disk, made fit to be continued.
fn find_tail(
    environment: &Environment,
    layout: &Layout,
    set: &mut Set,
    member: &MemberId,
) -> io::Result<Option<(Tail, usize)>> {
    let path = layout.tail(member);
    let Some(number) = set
        .files
        .iter()
        .position(|file| file.path == path && file.present)
    else {
        return Ok(None);
    };
    let file = &set.files[number];
    let is_whole = file.flaws.iter().all(|flaw| flaw.kind == FlawKind::Cut);
    if is_whole && file.fresh == 0 {
        // Nothing was acknowledged in it, or all of it is in a segment: a crash came between that and its removal.
        environment.fs.remove(&path)?;
        set.files[number].present = false;
        return Ok(None);
    }
    if !is_whole {
        // Damage stays where it is, in a file that nobody appends to.
        let segment = tail::close(environment, layout, &path, file.good_len)?;
        set.files[number].path = segment;
        set.files[number].is_tail = false;
        return Ok(None);
    }
    let is_room = file.flaws.is_empty();
    let tail = Tail::resume(environment, layout, member, file.good_len, is_room)?;
    let file = &mut set.files[number];
    file.len = file.good_len;
    file.flaws.clear();
    Ok(Some((tail, number)))
}

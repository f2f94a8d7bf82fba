//! What a runner has yet to settle: receipts, on its disk before its answer is shown.
//!
//! ```text
//! DIR/receipts-N   frames (`frames`), each a record: 1 (by hash) or 2 (in full) || the receipt's envelope;
//!                  or 0 || how many records stood there that could not be read any more, u64.
//!                  The first of the file is record N, from 0, in 20 digits
//! DIR/damaged-N.M  what the file of that number was before it was repaired, M counting from 0
//! DIR/settled      a frame: how many records, from the first ever, are settled or set aside, u64
//! DIR/refused-N    frames, each a record that was set aside: its number u64 || length u16 || reason || 1 or 2 || envelope.
//!                  None of the file has a lower number than N
//! DIR/dropped      a frame: how many of those set aside were let go to make room, and below which number none is here; two u64
//! DIR/sent         a frame: what was last handed over ([`Sent`]), three u64 || the node's name, 32 bytes,
//!                  which older files lack
//! DIR/append       held by whoever appends, and shared by whoever reads receipts
//! DIR/lock         held by whoever settles
//! DIR/attended     held by a process that settles what comes, for as long as it looks
//! ```
//!
//! A file of receipts that has [`FILE_BYTES`] is followed by a new one, and goes once all of it is settled. So to append one
//! or to find the next to settle is to read one file, however many wait. A file of those set aside is followed by a new one, too.
//!
//! Invariants: [`Outbox::append`] returns once the receipt is durable. A record is never altered; none is handed
//! over before it is durable, since until then it may be taken back; `settled` only grows; the last file stays, since its name tells
//! how many there were. Several processes may append at once. What waits has no more than a limit of bytes ([`Outbox::LIMIT`] unless
//! it is said otherwise), however long a ledger is away: beyond it nothing is taken.
//!
//! A record that can never be settled is set aside: with its reason into `refused-N`, and then `settled` goes past it. A crash in
//! between leaves it waiting as it was, and whoever settles next goes on with that before anything else
//! ([`Outbox::go_on`]): it is in one of both for everybody who looks, and stands in those files once.
//!
//! Those set aside take [`Outbox::ASIDE_LIMIT`] bytes at most: what is set aside must neither fill the disk nor hold up what is behind
//! it. Beyond that the oldest file goes, and [`Outbox::dropped`] counts what was in it until the operator clears them all
//! ([`Outbox::clear_refused`]). That count is durable before the file goes; what a crash leaves of it is passed over, and goes with
//! whatever is done next.
//!
//! What a crash leaves at a file's end was never acknowledged, and is written over. What a disk damages before that was: then nothing is
//! appended to that file and nothing behind the damage is handed over, until the operator has it repaired ([`Outbox::repair`]). Which
//! is which is in `outbox/slots.rs`.
//!
//! Out of scope: sending them, which is [`settle`](crate::settle)'s.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tally_durable::Access;
use tally_ledger::NodeId;
use tally_receipt::PublicKey;

use crate::frames::{HEAD, put};

mod slots;

use slots::{Slot, lost, mended, records, slots};

/// Bytes after which a new file of receipts, or of those set aside, is begun.
const FILE_BYTES: usize = 1024 * 1024;

/// Bytes of the reason for which a record is set aside. A longer one loses its end.
const REASON_BYTES: usize = 1024;

/// What the names of both kinds of files begin with.
const RECEIPTS: &str = "receipts";
const REFUSED: &str = "refused";
/// What the names of files begin with that were repaired.
const DAMAGED: &str = "damaged";

/// How often, and how long after each other, the place of whoever looks after an outbox is asked for.
const ATTEND_TRIES: u32 = 5;
const ATTEND_PAUSE: Duration = Duration::from_millis(10);

/// How much of a receipt goes into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Its digest.
    Hash = 1,
    /// All of it, so that everybody sees it and every validator checks its signatures.
    Full = 2,
}

/// A receipt that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// How it is to be settled.
    pub form: Form,
    /// The receipt's envelope.
    pub receipt: Vec<u8>,
}

impl Record {
    fn to_payload(&self) -> Vec<u8> {
        [&[self.form as u8], self.receipt.as_slice()].concat()
    }

    /// None if it is of no kind that this version knows.
    fn of(payload: &[u8]) -> Option<Self> {
        let (form, receipt) = payload.split_first()?;
        let form = match form {
            1 => Form::Hash,
            2 => Form::Full,
            _ => return None,
        };
        Some(Self {
            form,
            receipt: receipt.to_vec(),
        })
    }
}

/// That a receipt can never be settled, and waits no more. The receipt itself stays beside it, until others need the room or the
/// operator clears them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its place among all records that ever were.
    pub number: u64,
    /// Why it cannot be settled.
    pub reason: String,
}

impl SetAside {
    /// With the receipt's record. The reason must be of no more than [`REASON_BYTES`].
    pub(crate) fn to_payload(&self, record: &[u8]) -> Vec<u8> {
        let length = u16::try_from(self.reason.len()).expect("a sentence");
        [
            &self.number.to_be_bytes()[..],
            &length.to_be_bytes(),
            self.reason.as_bytes(),
            record,
        ]
        .concat()
    }

    /// And the receipt's record.
    fn of(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (number, payload) = payload.split_first_chunk()?;
        let (length, payload) = payload.split_first_chunk()?;
        let length = u16::from_be_bytes(*length).into();
        let (reason, record) = payload.split_at_checked(length)?;
        let aside = Self {
            number: u64::from_be_bytes(*number),
            reason: String::from_utf8(reason.to_vec()).ok()?,
        };
        matches!(record.first(), Some(1 | 2)).then_some((aside, record))
    }
}

/// A settlement that may have been handed over: which records, and as what. It is put down before it is handed over, so that
/// after a crash the same records go to the same place, whatever was appended since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The first record, among all that ever were.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// The place of the first among all that the node settled.
    pub sequence: u64,
    /// Which node; none in what an older version has put down.
    pub node: Option<NodeId>,
}

impl Sent {
    fn to_payload(self) -> Vec<u8> {
        let numbers = [self.first, self.count, self.sequence].map(u64::to_be_bytes);
        let mut payload = numbers.as_flattened().to_vec();
        if let Some(node) = self.node {
            payload.extend_from_slice(node.key().as_bytes());
        }
        payload
    }

    fn of(payload: &[u8]) -> Option<Self> {
        let (numbers, node) = payload.split_first_chunk::<24>()?;
        let (numbers, _) = numbers.as_chunks::<8>();
        let [first, count, sequence] = [numbers[0], numbers[1], numbers[2]].map(u64::from_be_bytes);
        let node = match node {
            [] => None,
            node => {
                let key = PublicKey::from_bytes(node.try_into().ok()?).ok()?;
                Some(NodeId::new(key))
            }
        };
        Some(Self {
            first,
            count,
            sequence,
            node,
        })
    }
}

/// A runner's outbox.
#[derive(Clone, Debug)]
pub struct Outbox {
    dir: PathBuf,
    limit: u64,       // bytes
    aside_limit: u64, // bytes
}

/// What is not here any more of those that were set aside.
#[derive(Clone, Copy, Debug, Default)]
struct Dropped {
    /// How many went to make room, since the operator cleared them the last time.
    count: u64,
    /// Whatever has a lower number.
    below: u64,
}

/// Why receipts were not put into an outbox. None of them was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Too much waits. The operator has it settled, or decides to do without.
    #[error(
        "the outbox has {waiting} bytes of receipts that wait, and at most {limit} may: settle them (`tally ledger settle`), or keep none (`--settle none`)"
    )]
    Full {
        /// Bytes that wait.
        waiting: u64,
        /// Bytes that may.
        limit: u64,
    },
    /// The disk.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// How many records that waited are lost.
    pub lost: u64,
    /// Where the files are that were repaired, as they were.
    pub kept: Vec<PathBuf>,
}

/// Says, until it is dropped, that a process looks after an outbox. Whoever drops it looks once more: a receipt that was
/// appended while this was there has no other who settles it.
#[derive(Debug)]
pub struct Attending(#[expect(dead_code, reason = "holds the lock until it is dropped")] File);

/// Holds the right to settle.
#[derive(Debug)]
pub struct Settling(#[expect(dead_code, reason = "holds the lock until it is dropped")] File);

impl Outbox {
    /// Bytes of receipts that may wait, unless it is said otherwise ([`with_limit`](Self::with_limit)): 1 GiB.
    pub const LIMIT: u64 = 1 << 30;

    /// Bytes of those set aside that are kept, unless it is said otherwise ([`with_aside_limit`](Self::with_aside_limit)), and at
    /// least the last file of them: 64 MiB.
    pub const ASIDE_LIMIT: u64 = 64 << 20;

    /// Opens an outbox, made if there is none.
    pub fn open(dir: &Path) -> io::Result<Self> {
        tally_durable::create_folder(dir, Access::Owner)?;
        let outbox = Self {
            dir: dir.to_owned(),
            limit: Self::LIMIT,
            aside_limit: Self::ASIDE_LIMIT,
        };
        // Before there were several files, there was this one.
        for kind in [RECEIPTS, REFUSED] {
            outbox.number_old(kind)?;
        }
        Ok(outbox)
    }

    /// Gives the only file of a kind, as there was one, its number. Where another file has that, both stay as they are.
    fn number_old(&self, kind: &str) -> io::Result<()> {
        let (old, new) = (self.dir.join(kind), self.dir.join(numbered(kind, 0)));
        match tally_durable::link(&old, &new) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let inode = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
                match inode(&old) {
                    // A crash has left one file both names.
                    Ok(of_old) if of_old == inode(&new)? => {}
                    Ok(_) => {
                        tracing::warn!(
                            old = %old.display(), new = %new.display(),
                            "both files are there: the old one is left as it is, and not read"
                        );
                        return Ok(());
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
        match fs::remove_file(&old) {
            Ok(()) => self.sync_folder(),
            // Another process did the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The same outbox, for which so many bytes may wait. Each process that appends has a limit of its own.
    #[must_use]
    pub fn with_limit(self, bytes: u64) -> Self {
        Self {
            limit: bytes,
            ..self
        }
    }

    /// The same outbox, which keeps so many bytes of those set aside.
    #[must_use]
    pub fn with_aside_limit(self, bytes: u64) -> Self {
        Self {
            aside_limit: bytes,
            ..self
        }
    }

    /// Makes receipts durable, in order.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; then none of them is there, unless the disk that failed will not have them taken back either. Also where
    /// fewer records are there than are settled: the next ones would count as settled.
    pub fn append(&self, records: &[Record]) -> Result<(), AppendError> {
        let mut frames = Vec::new();
        for record in records {
            put(&record.to_payload(), &mut frames);
        }
        let turn = self.file("append")?;
        turn.lock()?;
        self.has_room(frames.len() as u64)?;
        let settled = self.settled()?;
        let next = |last: Option<(u64, u64)>| {
            let next = last.map_or(0, |(first, count): (u64, u64)| first.saturating_add(count));
            if next < settled {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "the outbox is damaged: {settled} records are settled, and it has {next}: `tally ledger repair` goes on behind them"
                    ),
                ));
            }
            Ok(next)
        };
        self.put_last(RECEIPTS, next, &frames)?;
        Ok(())
    }

    /// Puts frames behind the last whole one of the last file of a kind, or into a new file if that one has enough: whose name has the
    /// number that follows on the last file's and on how many it has.
    fn put_last(
        &self,
        kind: &str,
        number: impl FnOnce(Option<(u64, u64)>) -> io::Result<u64>,
        frames: &[u8],
    ) -> io::Result<()> {
        let last = self.firsts(kind)?.last().copied();
        let (mut has_room, mut end, mut found, mut torn) = (None, 0, None, None);
        if let Some(first) = last {
            let mut file = self.file(&numbered(kind, first))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let (slots, whole) = slots(&bytes);
            let is_damaged = slots.iter().any(Slot::is_damaged);
            // Those that were set aside need no place among the others.
            if is_damaged && kind == RECEIPTS {
                return Err(damaged(&self.receipts(first)));
            }
            if !is_damaged && whole < bytes.len() {
                torn = Some((file.try_clone()?, whole as u64));
            }
            if !is_damaged && whole < FILE_BYTES {
                (has_room, end) = (Some(file), whole as u64);
            }
            found = Some((first, records(&slots)));
        }
        let number = number(found)?;
        if let Some((file, whole)) = torn {
            // What a crash left half was never acknowledged.
            file.set_len(whole)?;
        }
        let mut file = match has_room {
            Some(file) => file,
            None if last == Some(number) => {
                return Err(damaged(&self.dir.join(numbered(kind, number))));
            }
            None => self.file(&numbered(kind, number))?,
        };
        let sync_folder = || if end == 0 { self.sync_folder() } else { Ok(()) };
        grow(&mut file, end, frames, sync_folder)
    }

    /// The receipts that are not settled, oldest first: at most `limit`, and no more than one file has. Also where the first
    /// stands among all that ever were. Waits for whoever appends.
    ///
    /// # Errors
    ///
    /// The disk's; [`io::ErrorKind::InvalidData`], which names the file, where the first that waits cannot be read any more.
    pub fn open_records(&self, limit: usize) -> io::Result<(u64, Vec<Record>)> {
        // What is written and not durable may be taken back yet, and its place is another one's then.
        let turn = self.file("append")?;
        turn.lock_shared()?;
        let settled = self.settled()?;
        let mut open = Vec::new();
        let Some((first, next)) = self.file_of(settled)? else {
            return Ok((settled, open));
        };
        let path = self.receipts(first);
        let bytes = read(&path)?;
        let mut number = first;
        // What is sent is counted from the first on: nothing can be that is behind one which cannot be read.
        let mut ends = None;
        for slot in slots(&bytes).0 {
            if open.len() == limit || next.is_some_and(|next| number >= next) {
                return Ok((settled, open));
            }
            let Slot::Whole(payload) = slot else {
                ends = Some(damaged(&path));
                break;
            };
            let end = number.saturating_add(slot.records());
            if end > settled {
                match Record::of(payload) {
                    Some(record) => open.push(record),
                    // Whoever settles goes past it.
                    None if lost(payload).is_some() => return Ok((settled, open)),
                    None => {
                        ends = Some(io::Error::new(
                            io::ErrorKind::InvalidData,
                            format!("record {number} is of a kind that this version does not know"),
                        ));
                        break;
                    }
                }
            }
            number = end;
        }
        if ends.is_none() && next.is_some_and(|next| number < next) {
            ends = Some(damaged(&path));
        }
        match ends {
            Some(error) if open.is_empty() => Err(error),
            _ => Ok((settled, open)),
        }
    }

    /// Where the file of receipts begins that has a record, and the next one; none where there are no files.
    fn file_of(&self, number: u64) -> io::Result<Option<(u64, Option<u64>)>> {
        let firsts = self.firsts(RECEIPTS)?;
        let behind = firsts.partition_point(|first| *first <= number);
        match (behind.checked_sub(1), firsts.first()) {
            (Some(at), _) => Ok(Some((firsts[at], firsts.get(behind).copied()))),
            (None, None) => Ok(None),
            // The one that had it is gone.
            (None, Some(_)) => Err(damaged(&self.receipts(number))),
        }
    }

    /// Goes past the first records that wait where they are lost. Whether there were any.
    pub(crate) fn pass_lost(&self) -> io::Result<bool> {
        let settled = self.settled()?;
        let Some((first, _)) = self.file_of(settled)? else {
            return Ok(false);
        };
        let mut number = first;
        for slot in slots(&read(&self.receipts(first))?).0 {
            let end = number.saturating_add(slot.records());
            if end > settled {
                let is_lost = matches!(slot, Slot::Whole(payload) if lost(payload).is_some());
                if is_lost {
                    self.set_settled(end)?;
                }
                return Ok(is_lost);
            }
            number = end;
        }
        Ok(false)
    }

    /// Goes on behind what the disk has damaged: every record that can be read stays in its file, and a frame stands for those which
    /// cannot. The files stay beside them as they were. Nothing is done where nothing is damaged.
    ///
    /// # Errors
    ///
    /// The disk's; what was not repaired then is as it was.
    pub fn repair(&self, _turn: &Settling) -> io::Result<Repaired> {
        let appending = self.file("append")?;
        appending.lock()?;
        let settled = self.settled()?;
        let firsts = self.firsts(RECEIPTS)?;
        let mut repaired = Repaired::default();
        for (index, first) in firsts.iter().enumerate() {
            let path = self.receipts(*first);
            let next = firsts.get(index + 1).copied();
            let Some(mended) = mended(&read(&path)?, *first, next, settled) else {
                continue;
            };
            repaired.kept.push(self.keep_damaged(*first)?);
            tally_durable::write_file(&path, &mended.bytes, Access::Owner)?;
            repaired.lost = repaired.lost.saturating_add(mended.lost);
        }
        if firsts.is_empty() && settled > 0 {
            // All were settled, and how many they were is in no file's name any more.
            self.file(&numbered(RECEIPTS, settled))?;
            self.sync_folder()?;
        }
        // Those before the first file are lost with their own.
        if let Some(first) = firsts.first()
            && *first > settled
        {
            self.set_settled(*first)?;
            repaired.lost = repaired.lost.saturating_add(first - settled);
        }
        Ok(repaired)
    }

    /// Gives a file of receipts a second name, that it keeps.
    fn keep_damaged(&self, first: u64) -> io::Result<PathBuf> {
        let path = self.receipts(first);
        let mut times = 0u32;
        loop {
            let kept = self
                .dir
                .join(format!("{}.{times}", numbered(DAMAGED, first)));
            match tally_durable::link(&path, &kept) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => times += 1,
                linked => return linked.map(|()| kept),
            }
        }
    }

    /// How many receipts are not settled.
    pub fn waiting(&self) -> io::Result<u64> {
        let Some(last) = self.firsts(RECEIPTS)?.last().copied() else {
            return Ok(0);
        };
        let count = records(&slots(&read(&self.receipts(last))?).0);
        Ok(last.saturating_add(count).saturating_sub(self.settled()?))
    }

    /// Bytes of the receipts that are not settled, with what frames them.
    pub fn waiting_bytes(&self) -> io::Result<u64> {
        let settled = self.settled()?;
        let firsts = self.firsts(RECEIPTS)?;
        let begin = firsts
            .partition_point(|first| *first <= settled)
            .saturating_sub(1);
        let mut waiting = self.bytes_of(RECEIPTS, &firsts[begin..])?;
        if let Some(first) = firsts.get(begin) {
            let mut number = *first;
            for slot in slots(&read(&self.receipts(*first))?).0 {
                if let Slot::Whole(payload) = slot
                    && number < settled
                {
                    waiting = waiting.saturating_sub((HEAD + payload.len()) as u64);
                }
                number = number.saturating_add(slot.records());
            }
        }
        Ok(waiting)
    }

    /// Whether so many bytes more may wait.
    ///
    /// # Errors
    ///
    /// [`AppendError::Full`] if not.
    pub fn has_room(&self, bytes: u64) -> Result<(), AppendError> {
        // The files have little that is settled: how much is only looked at where they have too much.
        let most = self.bytes_of(RECEIPTS, &self.firsts(RECEIPTS)?)?;
        if most.saturating_add(bytes) <= self.limit {
            return Ok(());
        }
        let waiting = self.waiting_bytes()?;
        if waiting.saturating_add(bytes) <= self.limit {
            return Ok(());
        }
        Err(AppendError::Full {
            waiting,
            limit: self.limit,
        })
    }

    /// Bytes of the files of a kind that begin with these records. One that was let go meanwhile has none.
    fn bytes_of(&self, kind: &str, firsts: &[u64]) -> io::Result<u64> {
        let mut sum = 0;
        for first in firsts {
            match fs::metadata(self.dir.join(numbered(kind, *first))) {
                Ok(file) => sum += file.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sum)
    }

    /// What may have been handed over of the records that are not settled; none if nothing was.
    pub fn sent(&self) -> io::Result<Option<Sent>> {
        let mut sent = None;
        each_frame(&read(&self.dir.join("sent"))?, |payload| {
            sent = Sent::of(payload).or(sent);
        });
        let settled = self.settled()?;
        Ok(sent.filter(|sent| sent.first == settled && sent.count > 0))
    }

    /// Puts down what is about to be handed over.
    pub fn set_sent(&self, sent: Sent) -> io::Result<()> {
        self.replace("sent", &sent.to_payload())
    }

    /// Puts down that the first `count` receipts of all that ever were are settled, and lets go of files that have no others.
    pub fn set_settled(&self, count: u64) -> io::Result<()> {
        self.replace("settled", &count.to_be_bytes())?;
        for pair in self.firsts(RECEIPTS)?.windows(2) {
            if pair[1] <= count {
                fs::remove_file(self.receipts(pair[0]))?;
            }
        }
        Ok(())
    }

    /// Sets the first record that waits aside, for good; nothing if none waits. Where there are too many, the oldest of them go.
    pub fn set_aside(&self, reason: &str) -> io::Result<()> {
        let (number, open) = self.open_records(1)?;
        let Some(record) = open.into_iter().next() else {
            return Ok(());
        };
        // None is put into a file that is to go.
        self.remove_below(self.not_here()?.below)?;
        let aside = SetAside {
            number,
            reason: reason[..reason.floor_char_boundary(REASON_BYTES)].to_owned(),
        };
        let mut frame = Vec::new();
        put(&aside.to_payload(&record.to_payload()), &mut frame);
        self.put_last(REFUSED, |_| Ok(number), &frame)?;
        self.set_settled(number + 1)?;
        self.make_room()
    }

    /// Lets go of the oldest files of those set aside, until the others have no more than they may. The last one stays.
    fn make_room(&self) -> io::Result<()> {
        let mut dropped = self.not_here()?;
        let below = dropped.below;
        // What a crash left of the last time was counted then.
        self.remove_below(below)?;
        let firsts = self.firsts(REFUSED)?;
        let mut bytes = self.bytes_of(REFUSED, &firsts)?;
        for pair in firsts.windows(2) {
            if bytes <= self.aside_limit {
                break;
            }
            bytes = bytes.saturating_sub(self.bytes_of(REFUSED, &pair[..1])?);
            let file = read(&self.dir.join(numbered(REFUSED, pair[0])))?;
            each_frame(&file, |payload| {
                let is_new =
                    SetAside::of(payload).is_some_and(|(aside, _)| aside.number >= dropped.below);
                dropped.count = dropped.count.saturating_add(is_new.into());
            });
            dropped.below = pair[1];
        }
        if dropped.below > below {
            self.set_not_here(dropped)?;
            self.remove_below(dropped.below)?;
        }
        Ok(())
    }

    /// Lets go of all that was set aside, and of the count of what went before. Says how many they were.
    pub fn clear_refused(&self, _turn: &Settling) -> io::Result<u64> {
        self.go_on()?;
        let cleared = self.refused()?.len() as u64;
        let below = self.settled()?.max(self.not_here()?.below);
        self.set_not_here(Dropped { count: 0, below })?;
        self.remove_below(below)?;
        Ok(cleared)
    }

    /// Removes the files of those set aside that begin below a number below which none is here: they have no others.
    fn remove_below(&self, below: u64) -> io::Result<()> {
        for first in self.firsts(REFUSED)? {
            if first < below {
                fs::remove_file(self.dir.join(numbered(REFUSED, first)))?;
            }
        }
        Ok(())
    }

    fn not_here(&self) -> io::Result<Dropped> {
        let mut dropped = Dropped::default();
        each_frame(&read(&self.dir.join("dropped"))?, |payload| {
            if let Ok(numbers) = <[u8; 16]>::try_from(payload) {
                let (numbers, _) = numbers.as_chunks::<8>();
                let [count, below] = [numbers[0], numbers[1]].map(u64::from_be_bytes);
                dropped = Dropped { count, below };
            }
        });
        Ok(dropped)
    }

    fn set_not_here(&self, dropped: Dropped) -> io::Result<()> {
        let numbers = [dropped.count, dropped.below].map(u64::to_be_bytes);
        self.replace("dropped", numbers.as_flattened())
    }

    /// Does the rest of what a crash left of setting a record aside. Whoever settles begins with it.
    pub fn go_on(&self) -> io::Result<()> {
        let settled = self.settled()?;
        let mut end = settled;
        // Only the last file can have what is not past yet.
        let last = self.firsts(REFUSED)?.last().copied().unwrap_or(0);
        self.each_aside(last, |aside, _| {
            if aside.number == end {
                end = end.saturating_add(1);
            }
        })?;
        if end > settled {
            self.set_settled(end)?;
        }
        self.make_room()
    }

    /// What was set aside and is here, oldest first: why, without the receipts.
    pub fn refused(&self) -> io::Result<Vec<SetAside>> {
        self.refused_from(0)
    }

    /// The same with the receipts.
    pub fn refused_records(&self) -> io::Result<Vec<(SetAside, Record)>> {
        let settled = self.settled()?;
        let mut refused = Vec::new();
        self.each_aside(0, |aside, record| {
            if let Some(record) = Record::of(record).filter(|_| aside.number < settled) {
                refused.push((aside, record));
            }
        })?;
        Ok(refused)
    }

    /// Bytes of the files of those that were set aside.
    pub fn refused_bytes(&self) -> io::Result<u64> {
        self.bytes_of(REFUSED, &self.firsts(REFUSED)?)
    }

    /// How many of those that were set aside went to make room for others, since they were cleared the last time.
    pub fn dropped(&self) -> io::Result<u64> {
        Ok(self.not_here()?.count)
    }

    /// What was set aside of the records from this one on, as [`refused`](Self::refused) has it. It reads no file that has only
    /// others.
    pub fn refused_from(&self, number: u64) -> io::Result<Vec<SetAside>> {
        let settled = self.settled()?;
        let firsts = self.firsts(REFUSED)?;
        let begin = firsts.iter().rev().find(|first| **first <= number);
        let mut refused = Vec::new();
        self.each_aside(begin.copied().unwrap_or(0), |aside, _| {
            if (number..settled).contains(&aside.number) {
                refused.push(aside);
            }
        })?;
        Ok(refused)
    }

    /// What stands in the files from one on, each with its record: one file after the other.
    pub(crate) fn each_aside(
        &self,
        from: u64,
        mut each: impl FnMut(SetAside, &[u8]),
    ) -> io::Result<()> {
        let below = self.not_here()?.below;
        for first in self.firsts(REFUSED)? {
            if first < from {
                continue;
            }
            each_frame(
                &read(&self.dir.join(numbered(REFUSED, first)))?,
                |payload| {
                    if let Some((aside, record)) = SetAside::of(payload)
                        && aside.number >= below
                    {
                        each(aside, record);
                    }
                },
            );
        }
        Ok(())
    }

    /// Writes a file of one frame anew: it is the old one or the new one, whenever the machine stops.
    fn replace(&self, name: &str, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        put(payload, &mut bytes);
        tally_durable::write_file(&self.dir.join(name), &bytes, Access::Owner)
    }

    /// How many records, from the first ever, are settled or set aside.
    pub fn settled(&self) -> io::Result<u64> {
        let mut settled = 0;
        each_frame(&read(&self.dir.join("settled"))?, |payload| {
            if let Ok(count) = payload.try_into() {
                settled = settled.max(u64::from_be_bytes(count));
            }
        });
        Ok(settled)
    }

    /// Takes the right to settle; none while another process has it.
    pub fn settle(&self) -> io::Result<Option<Settling>> {
        let file = self.file("lock")?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Settling(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Becomes the process that looks after this outbox; none while another is.
    pub fn attend(&self) -> io::Result<Option<Attending>> {
        let file = self.file("attended")?;
        // Whoever asks whether somebody is there holds the lock for a moment.
        for _ in 0..ATTEND_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Attending(file))),
                Err(fs::TryLockError::WouldBlock) => std::thread::sleep(ATTEND_PAUSE),
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether a process looks after this outbox. If so, it tries to settle whatever was appended before this was asked.
    pub fn is_attended(&self) -> io::Result<bool> {
        match self.file("attended")?.try_lock() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.dir.join(name))
    }

    fn receipts(&self, first: u64) -> PathBuf {
        self.dir.join(numbered(RECEIPTS, first))
    }

    /// The number in the name of each file of a kind, ascending.
    fn firsts(&self, kind: &str) -> io::Result<Vec<u64>> {
        let mut firsts = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            firsts.extend(
                name.to_str()
                    .and_then(|name| name.strip_prefix(kind)?.strip_prefix('-'))
                    .and_then(|number| number.parse::<u64>().ok()),
            );
        }
        firsts.sort_unstable();
        Ok(firsts)
    }

    fn sync_folder(&self) -> io::Result<()> {
        tally_durable::sync_folder(&self.dir)
    }
}

fn numbered(kind: &str, first: u64) -> String {
    format!("{kind}-{first:020}")
}

/// A file that grows at its end.
trait Growing: io::Write + io::Seek {
    fn cut(&mut self, length: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Growing for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Writes bytes behind the first `end` of a file, makes them durable, and does what else they need for that. Where anything fails,
/// they are taken back: of several frames some may be whole.
fn grow(
    file: &mut impl Growing,
    end: u64,
    bytes: &[u8],
    finish: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let written = file
        .seek(SeekFrom::Start(end))
        .and_then(|_| file.write_all(bytes))
        .and_then(|()| file.sync())
        .and_then(|()| finish());
    if written.is_err() {
        // Whoever reads the error learns more from the first one.
        let _ = file.cut(end).and_then(|()| file.sync());
    }
    written
}

/// A file's bytes; none if there is no such file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// Hands on every frame that is whole, also those behind what is damaged.
fn each_frame(bytes: &[u8], mut each: impl FnMut(&[u8])) {
    for slot in slots(bytes).0 {
        if let Slot::Whole(payload) = slot {
            each(payload);
        }
    }
}

fn damaged(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "{} is damaged, and has receipts that can be read no more: `tally ledger repair` goes on behind them",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u8) -> Record {
        Record {
            form: if n.is_multiple_of(2) {
                Form::Hash
            } else {
                Form::Full
            },
            receipt: vec![n; 10],
        }
    }

    #[test]
    fn what_is_appended_waits_until_it_is_settled() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(0), record(1)]).unwrap();
        outbox.append(&[record(2)]).unwrap();
        assert_eq!(outbox.waiting().unwrap(), 3);
        outbox.set_settled(2).unwrap();
        let outbox = Outbox::open(dir.path()).unwrap();
        assert_eq!(outbox.open_records(9).unwrap(), (2, vec![record(2)]));
        outbox.set_settled(3).unwrap();
        assert_eq!(outbox.waiting().unwrap(), 0);
    }

    #[test]
    fn beyond_its_limit_an_outbox_takes_nothing_until_something_is_settled() {
        let dir = crate::scratch::Scratch::new();
        let frame = (HEAD + 11) as u64;
        let outbox = Outbox::open(dir.path()).unwrap().with_limit(2 * frame + 1);
        outbox.append(&[record(0), record(1)]).unwrap();
        assert_eq!(outbox.waiting_bytes().unwrap(), 2 * frame);
        outbox.has_room(1).unwrap();
        let full = outbox.append(&[record(2)]).unwrap_err();
        let AppendError::Full { waiting, limit } = full else {
            panic!("{full}");
        };
        assert_eq!((waiting, limit), (2 * frame, 2 * frame + 1));
        assert!(full.to_string().contains("tally ledger settle"), "{full}");
        assert_eq!(outbox.waiting().unwrap(), 2);
        // The file still has what is settled, which waits no more.
        outbox.set_settled(1).unwrap();
        assert_eq!(outbox.waiting_bytes().unwrap(), frame);
        outbox.append(&[record(2)]).unwrap();
        assert!(outbox.append(&[record(3)]).is_err());
        let (_, open) = outbox.open_records(9).unwrap();
        assert_eq!(open, vec![record(1), record(2)]);
    }

    #[test]
    fn bytes_that_wait_are_those_of_all_files_without_what_is_settled() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        assert_eq!(outbox.waiting_bytes().unwrap(), 0);
        let big = Record {
            form: Form::Hash,
            receipt: vec![7; FILE_BYTES / 2],
        };
        let frame = (HEAD + 1 + big.receipt.len()) as u64;
        for _ in 0..7 {
            outbox.append(std::slice::from_ref(&big)).unwrap();
        }
        for settled in 1..=7 {
            outbox.set_settled(settled).unwrap();
            assert_eq!(outbox.waiting_bytes().unwrap(), (7 - settled) * frame);
        }
    }

    #[test]
    fn half_a_frame_at_the_end_is_written_over() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(0), record(1)]).unwrap();
        let path = outbox.receipts(0);
        let length = fs::metadata(&path).unwrap().len();
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(length - 3)
            .unwrap();
        assert_eq!(outbox.waiting().unwrap(), 1);
        outbox.append(&[record(2)]).unwrap();
        let (_, open) = outbox.open_records(9).unwrap();
        assert_eq!(open, vec![record(0), record(2)]);
    }

    /// A disk that takes so many bytes more, and may not sync.
    struct Failing {
        file: File,
        room: usize,
        syncs: bool,
    }

    impl io::Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= fits;
            io::Write::write(&mut self.file, &bytes[..fits])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl io::Seek for Failing {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            io::Seek::seek(&mut self.file, to)
        }
    }

    impl Growing for Failing {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.file.set_len(length)
        }

        fn sync(&mut self) -> io::Result<()> {
            if self.syncs {
                return Ok(());
            }
            Err(io::Error::other("the disk is gone"))
        }
    }

    /// An outbox of files that have two records each.
    fn outbox_of(dir: &Path, count: u8) -> (Outbox, Vec<Record>) {
        let outbox = Outbox::open(dir).unwrap();
        let big = |n: u8| Record {
            receipt: vec![n; FILE_BYTES / 2],
            ..record(n)
        };
        let all: Vec<Record> = (0..count).map(big).collect();
        for one in &all {
            outbox.append(std::slice::from_ref(one)).unwrap();
        }
        (outbox, all)
    }

    /// Alters a byte of the payload of one of the frames in a file.
    fn alter(file: &Path, frame: usize) {
        let mut bytes = fs::read(file).unwrap();
        let mut at = 0;
        for _ in 0..frame {
            at += HEAD + crate::frames::whole(&bytes[at..]).unwrap().len();
        }
        bytes[at + HEAD + 1] ^= 1;
        fs::write(file, bytes).unwrap();
    }

    /// What waits, as whoever settles gets it.
    fn settled_one_by_one(outbox: &Outbox) -> io::Result<Vec<Record>> {
        let mut all = Vec::new();
        loop {
            let (first, open) = outbox.open_records(1)?;
            match open.into_iter().next() {
                Some(one) => {
                    all.push(one);
                    outbox.set_settled(first + 1)?;
                }
                None if outbox.pass_lost()? => {}
                None => return Ok(all),
            }
        }
    }

    #[test]
    fn damage_in_a_file_that_is_not_the_last_is_said_and_all_else_settles_once_it_is_repaired() {
        // Each record of the first file that is not the only one, and the end of that file.
        for (frame, cut) in [(0, false), (1, false), (1, true)] {
            let dir = crate::scratch::Scratch::new();
            let (outbox, all) = outbox_of(dir.path(), 7);
            assert_eq!(outbox.firsts(RECEIPTS).unwrap(), [0, 2, 4, 6]);
            outbox.set_settled(1).unwrap();
            let file = outbox.receipts(2);
            match cut {
                true => {
                    let length = fs::metadata(&file).unwrap().len();
                    let opened = OpenOptions::new().write(true).open(&file).unwrap();
                    opened.set_len(length - 1).unwrap();
                }
                false => alter(&file, frame),
            }
            let before = fs::read(&file).unwrap();
            let mut settled = vec![all[1].clone()];
            settled.extend(all[2..2 + frame].iter().cloned());
            for one in &settled {
                let (first, open) = outbox.open_records(1).unwrap();
                assert_eq!(open, std::slice::from_ref(one));
                outbox.set_settled(first + 1).unwrap();
            }
            let error = outbox.open_records(9).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let name = numbered(RECEIPTS, 2);
            assert!(error.to_string().contains(&name), "{error}");
            assert!(error.to_string().contains("tally ledger repair"), "{error}");
            let left = 6 - settled.len() as u64;
            assert_eq!(outbox.waiting().unwrap(), left);
            // It holds up nothing that comes.
            outbox.append(&[record(9)]).unwrap();

            let turn = outbox.settle().unwrap().expect("nobody else settles");
            let repaired = outbox.repair(&turn).unwrap();
            assert_eq!(repaired.lost, 1);
            assert_eq!(fs::read(&repaired.kept[0]).unwrap(), before);
            assert_eq!(outbox.waiting().unwrap(), left + 1);
            settled.extend(settled_one_by_one(&outbox).unwrap());
            let mut expected = all[1..].to_vec();
            expected.remove(1 + frame);
            expected.push(record(9));
            assert_eq!(settled, expected);
            assert_eq!(outbox.waiting().unwrap(), 0);
            assert_eq!(outbox.repair(&turn).unwrap(), Repaired::default());
        }
    }

    #[test]
    fn what_was_acknowledged_behind_damage_in_the_last_file_is_not_cut_off() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        let all: Vec<Record> = (0..5).map(record).collect();
        outbox.append(&all).unwrap();
        outbox.set_settled(1).unwrap();
        let file = outbox.receipts(0);
        alter(&file, 2);
        let before = fs::read(&file).unwrap();
        // What is before it settles.
        let (first, open) = outbox.open_records(9).unwrap();
        assert_eq!((first, &open[..]), (1, &all[1..2]));
        assert_eq!(outbox.waiting().unwrap(), 4);
        let error = outbox.append(&[record(7)]).unwrap_err();
        assert!(error.to_string().contains("receipts-"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), before);
        outbox.set_settled(2).unwrap();
        let error = outbox.open_records(9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);

        let turn = outbox.settle().unwrap().expect("nobody else settles");
        let repaired = outbox.repair(&turn).unwrap();
        assert_eq!(repaired.lost, 1);
        assert_eq!(fs::read(&repaired.kept[0]).unwrap(), before);
        outbox.append(&[record(7)]).unwrap();
        let expected = [&all[3..], &[record(7)]].concat();
        assert_eq!(settled_one_by_one(&outbox).unwrap(), expected);
        // The same file once more, whose first copy stays.
        outbox.append(&[record(8), record(9)]).unwrap();
        alter(&file, 6);
        let again = outbox.repair(&turn).unwrap();
        assert_eq!(again.lost, 1);
        assert_ne!(again.kept, repaired.kept);
        assert_eq!(fs::read(&repaired.kept[0]).unwrap(), before);
        assert_eq!(settled_one_by_one(&outbox).unwrap(), [record(9)]);
    }

    #[test]
    fn where_whole_files_are_gone_that_is_said_and_the_others_settle_once_it_is_repaired() {
        for gone in [0, 2] {
            let dir = crate::scratch::Scratch::new();
            let (outbox, all) = outbox_of(dir.path(), 5);
            fs::remove_file(outbox.receipts(gone)).unwrap();
            let error = settled_one_by_one(&outbox).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let turn = outbox.settle().unwrap().expect("nobody else settles");
            assert_eq!(outbox.repair(&turn).unwrap().lost, 2);
            let next = usize::try_from(gone).unwrap() + 2;
            assert_eq!(settled_one_by_one(&outbox).unwrap(), all[next..]);
            assert_eq!(outbox.waiting().unwrap(), 0);
        }
    }

    #[test]
    fn what_was_set_aside_behind_damage_is_shown_and_not_cut_off() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        let all: Vec<Record> = (0..4).map(record).collect();
        outbox.append(&all).unwrap();
        for _ in 0..3 {
            outbox.set_aside("it is none").unwrap();
        }
        let file = dir.path().join(numbered(REFUSED, 0));
        alter(&file, 1);
        let before = fs::read(&file).unwrap();
        assert_eq!(numbers(&outbox), [0, 2]);
        outbox.set_aside("it is none").unwrap();
        assert_eq!(numbers(&outbox), [0, 2, 3]);
        assert_eq!(fs::read(&file).unwrap(), before);
        outbox.go_on().unwrap();
        assert_eq!(outbox.settled().unwrap(), 4);
    }

    #[test]
    fn of_receipts_that_cannot_all_be_written_none_is_there() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(0)]).unwrap();
        let before = fs::read(outbox.receipts(0)).unwrap();
        let end = before.len() as u64;
        let mut frames = Vec::new();
        for n in 1..4 {
            put(&record(n).to_payload(), &mut frames);
        }
        let failing = |room, syncs| Failing {
            file: outbox.file(&numbered(RECEIPTS, 0)).unwrap(),
            room,
            syncs,
        };
        for room in 0..frames.len() {
            grow(&mut failing(room, true), end, &frames, || Ok(())).unwrap_err();
            assert_eq!(fs::read(outbox.receipts(0)).unwrap(), before, "{room}");
        }
        let room = frames.len();
        grow(&mut failing(room, false), end, &frames, || Ok(())).unwrap_err();
        assert_eq!(fs::read(outbox.receipts(0)).unwrap(), before);
        let folder = || Err(io::Error::other("the folder is gone"));
        grow(&mut failing(room, true), end, &frames, folder).unwrap_err();
        assert_eq!(outbox.waiting().unwrap(), 1);
        grow(&mut failing(room, true), end, &frames, || Ok(())).unwrap();
        assert_eq!(outbox.waiting().unwrap(), 4);
    }

    #[test]
    fn what_was_sent_is_known_until_it_is_settled() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        assert_eq!(outbox.sent().unwrap(), None);
        outbox.append(&[record(0), record(2), record(4)]).unwrap();
        let key = tally_receipt::SigningKey::from_seed(&[7; 32]).public_key();
        // The first as an older version put it down.
        for node in [None, Some(NodeId::new(key))] {
            let sent = Sent {
                first: 0,
                count: 2,
                sequence: 70,
                node,
            };
            outbox.set_sent(sent).unwrap();
            let outbox = Outbox::open(dir.path()).unwrap();
            assert_eq!(outbox.sent().unwrap(), Some(sent));
        }
        outbox.set_settled(2).unwrap();
        assert_eq!(outbox.sent().unwrap(), None);
        fs::write(dir.path().join("sent"), b"half a fra").unwrap();
        assert_eq!(outbox.sent().unwrap(), None);
    }

    #[test]
    fn nothing_behind_a_record_of_an_unknown_kind_takes_its_place() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(0)]).unwrap();
        let mut bytes = fs::read(outbox.receipts(0)).unwrap();
        put(&[9, 9, 9], &mut bytes);
        fs::write(outbox.receipts(0), bytes).unwrap();
        outbox.append(&[record(2)]).unwrap();
        assert_eq!(outbox.open_records(9).unwrap(), (0, vec![record(0)]));
        outbox.set_settled(1).unwrap();
        let error = outbox.open_records(9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(outbox.waiting().unwrap(), 2);
    }

    #[test]
    fn what_is_set_aside_is_kept_with_its_reason_and_those_behind_it_wait() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(1), record(3), record(5)]).unwrap();
        let sent = Sent {
            first: 0,
            count: 1,
            sequence: 7,
            node: None,
        };
        outbox.set_sent(sent).unwrap();
        outbox.set_aside("it is none").unwrap();
        assert_eq!(outbox.sent().unwrap(), None);
        outbox.set_settled(2).unwrap();
        let long = "ä".repeat(REASON_BYTES);
        outbox.set_aside(&long).unwrap();
        outbox.set_aside("nothing is left").unwrap();
        assert_eq!(outbox.waiting().unwrap(), 0);
        let outbox = Outbox::open(dir.path()).unwrap();
        let refused = outbox.refused().unwrap();
        let expected = [(0, "it is none", 1), (2, &long[..REASON_BYTES], 5)];
        assert_eq!(refused.len(), expected.len());
        for (one, (number, reason, _)) in refused.iter().zip(expected) {
            assert_eq!((one.number, one.reason.as_str()), (number, reason));
        }
        let mut kept = Vec::new();
        outbox
            .each_aside(0, |_, record| kept.push(record.to_vec()))
            .unwrap();
        assert_eq!(kept, expected.map(|(_, _, n)| record(n).to_payload()));
    }

    #[test]
    fn a_crash_while_a_receipt_is_set_aside_leaves_it_in_one_of_both_and_never_twice() {
        let dir = crate::scratch::Scratch::new();
        let path = |name: &str| dir.path().join(name);
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(1), record(3), record(5)]).unwrap();
        outbox.set_aside("one").unwrap();
        let before = fs::read(path("settled")).unwrap();
        outbox.set_aside("two").unwrap();
        let file = numbered(REFUSED, 0);
        let whole = fs::read(path(&file)).unwrap();
        for written in 0..=whole.len() {
            // It stops before `settled` is there, with so much of the other file.
            fs::write(path("settled"), &before).unwrap();
            fs::write(path(&file), &whole[..written]).unwrap();
            let outbox = Outbox::open(dir.path()).unwrap();
            let first = outbox.refused().unwrap().len();
            assert!(first <= 1);
            assert_eq!(outbox.waiting().unwrap(), 2);
            // As whoever settles does.
            outbox.go_on().unwrap();
            if outbox.waiting().unwrap() == 2 {
                assert_eq!(outbox.open_records(1).unwrap(), (1, vec![record(3)]));
                outbox.set_aside("two").unwrap();
            } else {
                assert_eq!(written, whole.len());
            }
            outbox.go_on().unwrap();
            assert_eq!(outbox.open_records(9).unwrap(), (2, vec![record(5)]));
            let numbers: Vec<u64> = outbox
                .refused()
                .unwrap()
                .iter()
                .map(|one| one.number)
                .collect();
            assert_eq!(numbers, [0u64, 1][1 - first..]);
        }
    }

    #[test]
    fn however_many_are_set_aside_the_next_is_put_into_a_file_of_bounded_length() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        let big = |n: u8| Record {
            form: Form::Full,
            receipt: vec![n; FILE_BYTES / 3],
        };
        let all: Vec<Record> = (0..8).map(big).collect();
        outbox.append(&all).unwrap();
        for number in 0..8u64 {
            outbox.set_aside(&format!("reason {number}")).unwrap();
            // As whoever settles does.
            outbox.go_on().unwrap();
            assert_eq!(outbox.settled().unwrap(), number + 1);
        }
        assert_eq!(outbox.firsts(REFUSED).unwrap(), [0, 3, 6]);
        for first in [0, 3, 6] {
            let file = fs::metadata(dir.path().join(numbered(REFUSED, first))).unwrap();
            assert!(file.len() < 2 * FILE_BYTES as u64);
        }
        let reasons: Vec<String> = outbox
            .refused()
            .unwrap()
            .into_iter()
            .map(|one| one.reason)
            .collect();
        assert_eq!(
            reasons,
            [0, 1, 2, 3, 4, 5, 6, 7].map(|n| format!("reason {n}"))
        );
        let from = |number| -> Vec<u64> {
            let refused = outbox.refused_from(number).unwrap();
            refused.into_iter().map(|one| one.number).collect()
        };
        assert_eq!(from(4), [4, 5, 6, 7]);
        assert_eq!(from(6), [6, 7]);
        assert!(from(8).is_empty());
        // What is before them is not even read.
        fs::remove_file(dir.path().join(numbered(REFUSED, 0))).unwrap();
        fs::create_dir(dir.path().join(numbered(REFUSED, 0))).unwrap();
        assert_eq!(from(4), [4, 5, 6, 7]);
        // A crash before `settled` went past the last one.
        outbox.replace("settled", &7u64.to_be_bytes()).unwrap();
        outbox.go_on().unwrap();
        assert_eq!(outbox.waiting().unwrap(), 0);
    }

    fn numbers(outbox: &Outbox) -> Vec<u64> {
        let refused = outbox.refused().unwrap();
        refused.into_iter().map(|one| one.number).collect()
    }

    #[test]
    fn beyond_their_limit_the_oldest_that_were_set_aside_go_and_are_counted_once() {
        let dir = crate::scratch::Scratch::new();
        let path = |first: u64| dir.path().join(numbered(REFUSED, first));
        let limit = 3 * FILE_BYTES as u64;
        let outbox = Outbox::open(dir.path()).unwrap().with_aside_limit(limit);
        let big = |n: u8| Record {
            form: Form::Full,
            receipt: vec![n; FILE_BYTES / 3],
        };
        let all: Vec<Record> = (0..20).map(big).collect();
        outbox.append(&all).unwrap();
        for number in 0..20u64 {
            let before: Vec<(u64, Vec<u8>)> = outbox
                .firsts(REFUSED)
                .unwrap()
                .into_iter()
                .map(|first| (first, fs::read(path(first)).unwrap()))
                .collect();
            outbox.set_aside("it is none").unwrap();
            assert!(outbox.refused_bytes().unwrap() <= limit, "{number}");
            let dropped = outbox.dropped().unwrap();
            let here: Vec<u64> = (dropped..=number).collect();
            assert_eq!(numbers(&outbox), here);
            // A crash before a file had gone: what is in it is not here, and is counted already.
            for (first, bytes) in before {
                if !path(first).exists() {
                    fs::write(path(first), bytes).unwrap();
                }
            }
            let outbox = Outbox::open(dir.path()).unwrap();
            assert_eq!(
                (numbers(&outbox), outbox.dropped().unwrap()),
                (here, dropped)
            );
        }
        let dropped = outbox.dropped().unwrap();
        assert!(dropped > 9);
        // As whoever settles does.
        outbox.go_on().unwrap();
        assert_eq!(outbox.dropped().unwrap(), dropped);
        assert!(outbox.refused_bytes().unwrap() <= limit);
        assert_eq!(outbox.settled().unwrap(), 20);
        let kept = outbox.refused_records().unwrap();
        let last = kept.last().expect("the newest stays");
        assert_eq!((last.0.number, &last.1), (19, &big(19)));
    }

    #[test]
    fn what_is_cleared_is_gone_and_what_is_set_aside_after_it_is_not() {
        let dir = crate::scratch::Scratch::new();
        // The last file stays, however little may.
        let outbox = Outbox::open(dir.path()).unwrap().with_aside_limit(0);
        let all = [record(1), record(3), record(5), record(7)];
        outbox.append(&all).unwrap();
        outbox.set_aside("one").unwrap();
        outbox.set_aside("two").unwrap();
        assert_eq!(numbers(&outbox), [0, 1]);
        let file = dir.path().join(numbered(REFUSED, 0));
        let before = fs::read(&file).unwrap();
        let turn = outbox.settle().unwrap().expect("nobody else settles");
        assert_eq!(outbox.clear_refused(&turn).unwrap(), 2);
        assert!(!file.exists());
        // A crash before the file had gone.
        fs::write(&file, before).unwrap();
        assert!(numbers(&outbox).is_empty());
        assert_eq!(outbox.waiting().unwrap(), 2);
        outbox.set_aside("three").unwrap();
        let three = SetAside {
            number: 2,
            reason: "three".into(),
        };
        let kept = outbox.refused_records().unwrap();
        assert_eq!(kept, [(three, record(5))]);
        assert!(!file.exists());
        // A crash while it was set aside: it goes with the rest, and waits no more.
        outbox.replace("settled", &2u64.to_be_bytes()).unwrap();
        assert_eq!(outbox.clear_refused(&turn).unwrap(), 1);
        assert_eq!(outbox.refused_bytes().unwrap(), 0);
        assert_eq!(outbox.open_records(9).unwrap(), (3, vec![record(7)]));
    }

    #[test]
    fn clearing_what_was_set_aside_ends_the_count_of_what_made_room() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap().with_aside_limit(0);
        let big = |n: u8| Record {
            form: Form::Full,
            receipt: vec![n; FILE_BYTES],
        };
        let all: Vec<Record> = (0..3).map(big).collect();
        outbox.append(&all).unwrap();
        for _ in 0..3 {
            outbox.set_aside("it is none").unwrap();
        }
        assert_eq!((numbers(&outbox), outbox.dropped().unwrap()), (vec![2], 2));
        let turn = outbox.settle().unwrap().expect("nobody else settles");
        assert_eq!(outbox.clear_refused(&turn).unwrap(), 1);
        assert_eq!((numbers(&outbox), outbox.dropped().unwrap()), (vec![], 0));
    }

    #[test]
    fn what_was_set_aside_in_one_file_is_known_and_goes_on_in_many() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(1), record(3)]).unwrap();
        outbox.set_aside("one").unwrap();
        let file = dir.path().join(numbered(REFUSED, 0));
        tally_durable::rename(&file, &dir.path().join(REFUSED)).unwrap();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.set_aside("two").unwrap();
        let numbers = outbox.refused().unwrap();
        assert_eq!(
            numbers.iter().map(|one| one.number).collect::<Vec<_>>(),
            [0, 1]
        );
        assert_eq!(outbox.firsts(REFUSED).unwrap(), [0]);
    }

    #[test]
    fn what_an_old_file_has_takes_no_other_files_place() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(1)]).unwrap();
        outbox.set_aside("one").unwrap();
        let (old, new) = (
            dir.path().join(REFUSED),
            dir.path().join(numbered(REFUSED, 0)),
        );
        let before = fs::read(&new).unwrap();
        fs::write(&old, b"of another version").unwrap();
        Outbox::open(dir.path()).unwrap();
        assert_eq!(fs::read(&new).unwrap(), before);
        assert_eq!(fs::read(&old).unwrap(), b"of another version");
        // A crash between the two steps of giving it its number.
        fs::remove_file(&old).unwrap();
        tally_durable::link(&new, &old).unwrap();
        Outbox::open(dir.path()).unwrap();
        assert!(!old.exists());
        assert_eq!(fs::read(&new).unwrap(), before);
    }

    #[test]
    fn a_receipt_is_not_read_while_another_process_may_take_it_back() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(0)]).unwrap();
        let appending = outbox.file("append").unwrap();
        appending.lock().unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || said.send(outbox.open_records(9).unwrap()));
        assert!(heard.recv_timeout(Duration::from_millis(200)).is_err());
        appending.unlock().unwrap();
        assert_eq!(heard.recv().unwrap(), (0, vec![record(0)]));
        reader.join().unwrap().unwrap();
    }

    #[test]
    fn where_records_are_gone_the_next_one_does_not_count_as_settled() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(0), record(1)]).unwrap();
        outbox.set_settled(2).unwrap();
        outbox.append(&[record(2)]).unwrap();
        let whole = fs::read(outbox.receipts(0)).unwrap();
        let one = HEAD + 11;
        fs::write(outbox.receipts(0), &whole[..one]).unwrap();
        let error = outbox.append(&[record(3)]).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
        assert_eq!(fs::read(outbox.receipts(0)).unwrap(), &whole[..one]);
    }

    #[test]
    fn where_every_file_is_gone_a_repair_goes_on_behind_what_is_settled() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(0), record(1)]).unwrap();
        outbox.set_settled(2).unwrap();
        fs::remove_file(outbox.receipts(0)).unwrap();
        outbox.append(&[record(2)]).unwrap_err();
        let turn = outbox.settle().unwrap().expect("nobody else settles");
        outbox.repair(&turn).unwrap();
        outbox.append(&[record(2)]).unwrap();
        assert_eq!(outbox.open_records(9).unwrap(), (2, vec![record(2)]));
    }

    #[test]
    fn where_the_last_records_are_rotten_and_were_settled_a_repair_goes_on_behind_them() {
        // The last one, and with it one before that.
        for rotten in [&[3][..], &[1, 3]] {
            let dir = crate::scratch::Scratch::new();
            let outbox = Outbox::open(dir.path()).unwrap();
            outbox
                .append(&[record(0), record(1), record(2), record(3)])
                .unwrap();
            outbox.set_settled(4).unwrap();
            let file = outbox.receipts(0);
            // From behind: a frame is found by those before it.
            for frame in rotten.iter().rev() {
                alter(&file, *frame);
            }
            let before = fs::read(&file).unwrap();
            let error = outbox.append(&[record(4)]).unwrap_err();
            assert!(error.to_string().contains("damaged"), "{error}");
            assert_eq!(fs::read(&file).unwrap(), before, "nothing is cut off");

            let turn = outbox.settle().unwrap().expect("nobody else settles");
            let repaired = outbox.repair(&turn).unwrap();
            assert_eq!((repaired.lost, repaired.kept.len()), (0, 1));
            assert_eq!(fs::read(&repaired.kept[0]).unwrap(), before);
            outbox.append(&[record(4)]).unwrap();
            assert_eq!(outbox.open_records(9).unwrap(), (4, vec![record(4)]));
            assert_eq!(outbox.repair(&turn).unwrap(), Repaired::default());
        }
    }

    #[test]
    fn one_at_a_time_settles() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        let first = outbox.settle().unwrap();
        assert!(first.is_some());
        assert!(outbox.settle().unwrap().is_none());
        drop(first);
        assert!(outbox.settle().unwrap().is_some());
    }

    #[test]
    fn what_is_settled_is_let_go_and_the_count_goes_on() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        let big = |n: u8| Record {
            receipt: vec![n; FILE_BYTES / 2],
            ..record(n)
        };
        for n in 0..9 {
            outbox.append(&[big(n)]).unwrap();
        }
        assert_eq!(outbox.waiting().unwrap(), 9);
        let files = outbox.firsts(RECEIPTS).unwrap().len();
        assert!(files > 3, "{files} files");
        for settled in 1..=9 {
            let (first, open) = outbox.open_records(1).unwrap();
            assert_eq!(
                (first, &open[..]),
                (settled - 1, &[big(settled as u8 - 1)][..])
            );
            outbox.set_settled(settled).unwrap();
        }
        assert_eq!(outbox.firsts(RECEIPTS).unwrap().len(), 1);
        assert_eq!(outbox.open_records(9).unwrap(), (9, vec![]));
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(9), record(10)]).unwrap();
        assert_eq!(
            outbox.open_records(9).unwrap(),
            (9, vec![record(9), record(10)])
        );
        assert_eq!(outbox.waiting().unwrap(), 2);
    }

    #[test]
    fn an_outbox_of_one_file_goes_on_as_one_of_many() {
        let dir = crate::scratch::Scratch::new();
        let outbox = Outbox::open(dir.path()).unwrap();
        outbox.append(&[record(0), record(1)]).unwrap();
        tally_durable::rename(&outbox.receipts(0), &dir.path().join("receipts")).unwrap();
        let mut settled = Vec::new();
        put(&0u64.to_be_bytes(), &mut settled);
        put(&1u64.to_be_bytes(), &mut settled);
        fs::write(dir.path().join("settled"), settled).unwrap();
        let outbox = Outbox::open(dir.path()).unwrap();
        assert_eq!(outbox.open_records(9).unwrap(), (1, vec![record(1)]));
    }
}

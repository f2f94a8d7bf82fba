//! A chain in one file, for whoever must be able to bring it back, and for whoever wants to check all of it.
//!
//! ```text
//! frames (`frames`), each a record:
//!   0 || the genesis, as `Genesis::to_toml` writes it      the first one, and only that
//!   1 || block, as `tally_ledger` writes it
//!   2 || digest of the block before it, 32 bytes || certificate that this block is final
//! ```
//!
//! Blocks stand in order from the first; what stands after the last certificate is no part of the backup. There are no keys
//! in it and no votes, so nothing that a validator has to remember can be brought back from an old one.
//!
//! Invariants:
//! * Whoever reads a backup executes every block by the ledger's rules on the one before it, and checks every certificate against
//!   the validators whom those before it name. Signatures of transactions are checked when a block comes, in a check and in a
//!   restore; when a backup is opened to go on, the word of the quorum that certified them is taken.
//! * What was made durable stays. Each stretch is durable before the next is asked for, so a crash leaves at most [`TAIL`] bytes
//!   that are no part of the backup; they are written over when something better has come. More than that was not a crash:
//!   the file is damaged, and is not written to.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use commonware_runtime::{Runner as _, tokio as runtime};
use tally_durable::Access;
use tally_ledger::{BlockDigest, ChainId, Checked, Genesis, Height, State};

use crate::bodies::{Bodies, Body};
use crate::certificate;
use crate::client::busy::{Next, Round};
use crate::client::{AskError, Asked, Client, statuses};
use crate::consensus::Finalized;
use crate::frames::{HEAD, put, wanted, whole};
use crate::store::{Blocks, Partitions, StoreError};
use crate::wire::{MESSAGE_LIMIT, STRETCH_COUNT, Stretch};

pub(crate) const GENESIS: u8 = 0;
pub(crate) const BLOCK: u8 = 1;
pub(crate) const CERTIFICATE: u8 = 2;

/// More bytes than one stretch takes here: what of it does not come from its message is the frames'.
const TAIL: u64 = (MESSAGE_LIMIT + STRETCH_COUNT * 2 * (HEAD + 1 + 32)) as u64;

/// Bytes of blocks that a restore puts down at once.
const TOGETHER: usize = 64 * 1024 * 1024;

/// Why a chain is not backed up, or not brought back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The disk refused. The operator acts.
    #[error("{path}: {source}")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else is at it. The operator waits.
    #[error("another process is using {0}")]
    Busy(PathBuf),
    /// The file is something else. The operator acts.
    #[error("{0} is no backup of a chain")]
    NoBackup(PathBuf),
    /// It is of another chain. The operator acts.
    #[error("{path} is a backup of the chain {found}")]
    OtherChain {
        /// Which file.
        path: PathBuf,
        /// The chain.
        found: ChainId,
    },
    /// It is not what was written. The operator acts.
    #[error("{path} is damaged at byte {at}, after block {after}: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where the record begins that cannot be.
        at: u64,
        /// The last block before it that is known to be final.
        after: Height,
        /// Why it cannot be.
        reason: String,
    },
    /// A node's data would be written over. The operator acts.
    #[error("{0} has a node's data in it")]
    InUse(PathBuf),
    /// Too few validators say how far the chain goes for one of them to be honest. The operator waits, or sees to the network.
    #[error("{found} validators say how far the chain goes, and {needed} are needed: {trouble}")]
    TooFew {
        /// How many did.
        found: usize,
        /// How many must.
        needed: usize,
        /// What the trouble was with one of the others.
        trouble: AskError,
    },
    /// No validator gave what is missing. The operator waits, or sees to the network.
    #[error("nobody gave the blocks from {after} to {goal}: {reason}")]
    Behind {
        /// The last block that is here.
        after: Height,
        /// The last block that there is.
        goal: Height,
        /// The trouble of whoever was asked last.
        reason: String,
    },
    /// What is brought back could not be put down. The operator acts.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The last block that is known to be final.
    pub height: Height,
    /// Receipts in the log after it.
    pub receipts: u64,
    /// Bytes up to its certificate.
    pub bytes: u64,
    /// Bytes behind that, which a crash has left and which are no part of it.
    pub torn: u64,
}

/// Whose word is taken for the signatures in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signatures {
    /// Nobody's.
    Check,
    /// That of the quorum which certified it.
    Certified,
}

/// A backup that is written to.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    /// Locked, for as long as it is open.
    file: File,
    end: u64,
    /// What stands behind `end` has yet to be cut off.
    torn: bool,
    state: State,
}

impl Backup {
    /// Opens a backup, made if there is none, and checks what is in it. `progress` gets the bytes that were read and how many
    /// there are.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; the file is as it was.
    pub fn open(
        path: &Path,
        genesis: &Genesis,
        progress: impl FnMut(u64, u64),
    ) -> Result<(Self, Extent), BackupError> {
        if !path.exists() {
            create(path, genesis)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(at(path))?;
        held(path, file.try_lock())?;
        let mut reader = Reader::open(path, genesis, Signatures::Certified)?;
        let extent = reader.read_out(progress)?;
        let backup = Self {
            path: path.to_owned(),
            file,
            end: extent.bytes,
            torn: extent.torn > 0,
            state: reader.state,
        };
        Ok((backup, extent))
    }

    /// Checks all of a backup as somebody who believes nobody: signatures, rules, certificates.
    ///
    /// # Errors
    ///
    /// [`BackupError`].
    pub fn check(
        path: &Path,
        genesis: &Genesis,
        progress: impl FnMut(u64, u64),
    ) -> Result<Extent, BackupError> {
        let file = File::open(path).map_err(at(path))?;
        held(path, file.try_lock_shared())?;
        Reader::open(path, genesis, Signatures::Check)?.read_out(progress)
    }

    /// How far it goes.
    #[must_use]
    pub fn extent(&self) -> Extent {
        extent(&self.state, self.end, 0)
    }

    /// Takes final blocks in, durably, and says why it believes them no further if it does not. What came before that stays.
    fn take(&mut self, stretch: Stretch) -> Result<Result<(), String>, BackupError> {
        let mut frames = Vec::new();
        let mut state = self.state.clone();
        let mut run = Vec::new();
        let mut refused = None;
        for one in stretch.blocks {
            let Some((digest, body)) = Bodies::read(one.block) else {
                refused = Some("a block in it is none".to_owned());
                break;
            };
            if body.block.header.height <= state.head().height {
                continue;
            }
            run.push((digest, body));
            if one.certificate.is_empty() {
                continue;
            }
            match follow(&state, &run, &one.certificate, Signatures::Check) {
                Ok(next) => state = next,
                Err(reason) => {
                    refused = Some(reason);
                    break;
                }
            }
            for (_, body) in run.drain(..) {
                put(&[&[BLOCK], body.bytes.as_ref()].concat(), &mut frames);
            }
            let record = [&[CERTIFICATE], &digest.as_bytes()[..], &one.certificate].concat();
            put(&record, &mut frames);
        }
        if !frames.is_empty() {
            let end = self.end + frames.len() as u64;
            self.file
                .write_all_at(&frames, self.end)
                .and_then(|()| match self.torn {
                    true => self.file.set_len(end),
                    false => Ok(()),
                })
                .and_then(|()| self.file.sync_data())
                .map_err(at(&self.path))?;
            self.torn = false;
            self.end = end;
            self.state = state;
        }
        Ok(match refused {
            Some(reason) => Err(reason),
            None if run.is_empty() => Ok(()),
            None => Err("its last block has no certificate".to_owned()),
        })
    }
}

impl Client {
    /// Brings a backup up to what the network has, durably. `progress` gets how far it is and the height it goes to.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; what came before it stays.
    pub async fn back_up(
        &self,
        backup: &mut Backup,
        mut progress: impl FnMut(Extent, Height),
    ) -> Result<(), BackupError> {
        let goal = self.height(backup.state.chain()).await?;
        // Whoever did not help is asked last.
        let mut turns: VecDeque<_> = self.callers().into();
        let mut round = Round::default();
        let mut reason = String::new();
        loop {
            let after = backup.extent().height;
            progress(backup.extent(), goal);
            if after >= goal {
                return Ok(());
            }
            match round.next(turns.len()) {
                Next::Ask => {}
                Next::Wait(wait) => tokio::time::sleep(wait).await,
                Next::GiveUp => {
                    return Err(BackupError::Behind {
                        after,
                        goal,
                        reason,
                    });
                }
            }
            let mut is_busy = false;
            match Asked::new(&turns[0]).blocks(after.next()).await {
                Ok(stretch) if stretch.blocks.is_empty() => {
                    "it has no more".clone_into(&mut reason)
                }
                Ok(stretch) => {
                    if let Err(refused) = backup.take(stretch)? {
                        tracing::warn!(peer = %turns[0].server(), reason = refused, "sent blocks that are not believed");
                        reason = refused;
                    }
                }
                Err(error) => {
                    is_busy = error.is_busy();
                    reason = error.to_string();
                }
            }
            if backup.extent().height > after {
                round = Round::default();
            } else {
                round.in_vain(is_busy);
                turns.rotate_left(1);
            }
        }
    }

    /// The height that so many validators say they have that one of them is honest.
    async fn height(&self, chain: ChainId) -> Result<Height, BackupError> {
        let mut trouble = None;
        let mut heights = Vec::new();
        let (needed, counted) = self.counted().await;
        for (node, status) in statuses(counted).await {
            match status {
                Ok(status) if status.chain == chain => heights.push(status.height),
                Ok(_) => trouble = Some(AskError::Nonsense(node)),
                Err(error) => trouble = Some(error),
            }
        }
        heights.sort_unstable_by(|a, b| b.cmp(a));
        match (heights.get(needed - 1), trouble) {
            (Some(height), _) => Ok(*height),
            (None, trouble) => Err(BackupError::TooFew {
                found: heights.len(),
                needed,
                trouble: trouble.expect("whoever did not say it was in trouble"),
            }),
        }
    }
}

/// Brings a chain back as the data of a node that has never run; the backup is checked while it is read. Returns how far
/// it goes.
///
/// # Errors
///
/// [`BackupError`]; there is no data of a node then.
///
/// # Panics
///
/// In a thread that belongs to a tokio runtime: the node's storage has its own.
pub fn restore(
    path: &Path,
    genesis: &Genesis,
    data: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Extent, BackupError> {
    let backup = File::open(path).map_err(at(path))?;
    held(path, backup.try_lock_shared())?;
    tally_durable::create_folder(data, Access::Umask).map_err(at(data))?;
    let folder = File::open(data).map_err(at(data))?;
    held(data, folder.try_lock())?;
    let store = data.join("store");
    let draft = data.join("store.new");
    for taken in [&store, &data.join("name")] {
        if taken.exists() {
            return Err(BackupError::InUse(data.to_owned()));
        }
    }
    let mut reader = Reader::open(path, genesis, Signatures::Check)?;
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(at(&draft))?;
    }
    let settings = runtime::Config::new()
        .with_storage_directory(draft.clone())
        .with_worker_threads(1);
    let extent = runtime::Runner::new(settings).start(|context| async move {
        let (mut blocks, _) = Blocks::open(&context, &Partitions::default()).await?;
        let total = reader.length;
        let mut runs = Vec::new();
        let mut bytes = 0;
        loop {
            let run = reader.next_run()?;
            let ended = run.is_none();
            if let Some(run) = run {
                bytes += run
                    .blocks
                    .iter()
                    .map(|(_, one)| one.bytes.len())
                    .sum::<usize>();
                runs.push(run);
            }
            if ended || bytes > TOGETHER {
                let together: Vec<(BlockDigest, &Bytes)> = runs
                    .iter()
                    .flat_map(|run| &run.blocks)
                    .map(|(digest, body)| (*digest, &body.bytes))
                    .collect();
                blocks.put(&together).await?;
                for run in runs.drain(..) {
                    blocks.put_certificate(&run.finalized).await?;
                }
                blocks.sync().await?;
                bytes = 0;
            }
            progress(reader.at, total);
            if ended {
                return Ok::<_, BackupError>(reader.extent());
            }
        }
    })?;
    tally_durable::rename(&draft, &store).map_err(at(&store))?;
    Ok(extent)
}

/// Blocks up to one that has a certificate.
pub(crate) struct Run {
    pub(crate) blocks: Vec<(BlockDigest, Body)>,
    pub(crate) finalized: Finalized,
}

/// Reads a backup from its start, one certificate after another.
pub(crate) struct Reader<R> {
    path: PathBuf,
    from: BufReader<R>,
    length: u64,
    /// Where the next record begins.
    at: u64,
    /// Where the last certificate ends, or the genesis file.
    end: u64,
    state: State,
    signatures: Signatures,
}

impl Reader<File> {
    fn open(path: &Path, genesis: &Genesis, signatures: Signatures) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(at(path))?;
        let length = file.metadata().map_err(at(path))?.len();
        Self::begin(path, file, length, genesis, signatures)
    }
}

impl<R: io::Read> Reader<R> {
    /// Reads the genesis of what is `length` bytes long and is called `path`.
    pub(crate) fn begin(
        path: &Path,
        from: R,
        length: u64,
        genesis: &Genesis,
        signatures: Signatures,
    ) -> Result<Self, BackupError> {
        let mut reader = Self {
            path: path.to_owned(),
            from: BufReader::with_capacity(1024 * 1024, from),
            length,
            at: 0,
            end: 0,
            state: genesis.state(),
            signatures,
        };
        let no_backup = || BackupError::NoBackup(path.to_owned());
        // Whatever is wrong with the first record, this is no backup.
        let first = match reader.record() {
            Err(BackupError::Damaged { .. }) => None,
            read => read?,
        };
        let found = first
            .as_deref()
            .and_then(|first| first.strip_prefix(&[GENESIS]))
            .and_then(|text| std::str::from_utf8(text).ok())
            .and_then(|text| Genesis::parse(text).ok())
            .ok_or_else(no_backup)?;
        if found.chain() != genesis.chain() {
            return Err(BackupError::OtherChain {
                path: path.to_owned(),
                found: found.chain(),
            });
        }
        reader.end = reader.at;
        Ok(reader)
    }

    fn read_out(&mut self, mut progress: impl FnMut(u64, u64)) -> Result<Extent, BackupError> {
        while self.next_run()?.is_some() {
            progress(self.at, self.length);
        }
        Ok(self.extent())
    }

    pub(crate) fn extent(&self) -> Extent {
        extent(&self.state, self.end, self.length - self.end)
    }

    /// The blocks up to the next certificate, checked; none where no more certificate comes.
    pub(crate) fn next_run(&mut self) -> Result<Option<Run>, BackupError> {
        let mut blocks: Vec<(BlockDigest, Body)> = Vec::new();
        let mut bytes = 0;
        loop {
            let begin = self.at;
            let record = match self.record() {
                // What a crash leaves may be anything.
                Err(BackupError::Damaged { .. }) if self.length - self.end <= TAIL => None,
                read => read?,
            };
            let Some(record) = record else {
                return Ok(None);
            };
            let damaged = |reason: &str| self.damaged(begin, reason.to_owned());
            let record = Bytes::from(record);
            match record[0] {
                BLOCK => {
                    bytes += record.len();
                    if blocks.len() == STRETCH_COUNT || bytes > MESSAGE_LIMIT {
                        return Err(damaged(
                            "more blocks than there can be without a certificate",
                        ));
                    }
                    let Some((digest, body)) = Bodies::read(record.slice(1..)) else {
                        return Err(damaged("it is no block"));
                    };
                    let parent = blocks
                        .last()
                        .map_or(self.state.head_digest(), |(digest, _)| *digest);
                    if body.block.header.parent != parent {
                        return Err(damaged("it does not follow on the block before it"));
                    }
                    blocks.push((digest, body));
                }
                CERTIFICATE => {
                    let certified = blocks.last().map(|(digest, _)| *digest);
                    let (Some(named), Some(block)) = (record[1..].first_chunk(), certified) else {
                        return Err(damaged("a certificate of no block"));
                    };
                    if BlockDigest::from_bytes(*named) != block {
                        return Err(damaged("a certificate of another block"));
                    }
                    let certificate = record[1 + 32..].to_vec();
                    self.state = follow(&self.state, &blocks, &certificate, self.signatures)
                        .map_err(|reason| self.damaged(begin, reason))?;
                    self.end = self.at;
                    return Ok(Some(Run {
                        blocks,
                        finalized: Finalized { block, certificate },
                    }));
                }
                other => return Err(damaged(&format!("there are no records of kind {other}"))),
            }
        }
    }

    /// The next record; none at the end of the file.
    fn record(&mut self) -> Result<Option<Vec<u8>>, BackupError> {
        let begin = self.at;
        let left = self.length - begin;
        if left == 0 {
            return Ok(None);
        }
        let cut = |this: &Self| this.damaged(begin, "it is not whole".to_owned());
        if left < HEAD as u64 {
            return Err(cut(self));
        }
        let mut frame = vec![0; HEAD];
        self.from.read_exact(&mut frame).map_err(at(&self.path))?;
        let length = wanted(&frame);
        if length as u64 > left {
            return Err(cut(self));
        }
        if length > HEAD {
            frame.resize(length, 0);
            self.from
                .read_exact(&mut frame[HEAD..])
                .map_err(at(&self.path))?;
        }
        match whole(&frame) {
            Some(_) => {
                self.at += length as u64;
                frame.drain(..HEAD);
                Ok(Some(frame))
            }
            None => Err(self.damaged(begin, "it is not what was written".to_owned())),
        }
    }

    fn damaged(&self, at: u64, reason: String) -> BackupError {
        BackupError::Damaged {
            path: self.path.clone(),
            at,
            after: self.state.head().height,
            reason,
        }
    }
}

fn extent(state: &State, bytes: u64, torn: u64) -> Extent {
    Extent {
        height: state.head().height,
        receipts: state.head().log_size,
        bytes,
        torn,
    }
}

/// The state after blocks that follow on one, the last of which a certificate makes final; or why there is none.
fn follow(
    state: &State,
    run: &[(BlockDigest, Body)],
    certificate: &[u8],
    signatures: Signatures,
) -> Result<State, String> {
    let certified = run
        .last()
        .is_some_and(|(_, body)| certificate::holds(state, &body.block.header, certificate));
    if !certified {
        return Err("its certificate does not hold".to_owned());
    }
    let mut state = state.clone();
    for (_, body) in run {
        let transactions = body.block.transactions.clone();
        let checked = match signatures {
            Signatures::Certified => transactions
                .into_iter()
                .map(|one| Checked::known_to_be_good(one, state.chain()))
                .collect(),
            Signatures::Check => Checked::check_many(transactions, state.chain())
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| format!("a transaction in it: {error}"))?,
        };
        state = state
            .execute(&body.block.header, &checked)
            .map_err(|error| format!("it cannot follow on the block before it: {error}"))?
            .state;
    }
    Ok(state)
}

/// Makes a backup with nothing in it, whole or not at all.
fn create(path: &Path, genesis: &Genesis) -> Result<(), BackupError> {
    let mut first = Vec::new();
    put(
        &[&[GENESIS], genesis.to_toml().as_bytes()].concat(),
        &mut first,
    );
    match tally_durable::write_new(path, &first, Access::Umask) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        written => written.map_err(at(path)),
    }
}

fn held(path: &Path, lock: Result<(), TryLockError>) -> Result<(), BackupError> {
    lock.map_err(|error| match error {
        TryLockError::WouldBlock => BackupError::Busy(path.to_owned()),
        TryLockError::Error(source) => at(path)(source),
    })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::Disk {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use crate::simulation::{Recorded, recorded};

    fn backed_up(folder: &Scratch) -> (PathBuf, Recorded) {
        let recorded = recorded();
        let path = folder.path().join("chain");
        let (mut backup, extent) = Backup::open(&path, &recorded.genesis, |_, _| {}).unwrap();
        assert_eq!(extent.height, Height::ZERO);
        backup.take(recorded.blocks.clone()).unwrap().unwrap();
        assert_eq!(backup.extent().height, recorded.head.header.height);
        (path, recorded)
    }

    fn no_progress(_: u64, _: u64) {}

    #[test]
    fn a_chain_with_changes_of_validators_is_read_back_as_it_was() {
        let folder = Scratch::new();
        let (path, recorded) = backed_up(&folder);
        let extent = Backup::check(&path, &recorded.genesis, no_progress).unwrap();
        assert_eq!(extent.height, recorded.head.header.height);
        assert_eq!(extent.receipts, recorded.head.header.log_size);
        assert!(extent.receipts > 0);
        assert_eq!(extent.bytes, fs::metadata(&path).unwrap().len());
        // The same blocks again are there already.
        let (mut backup, before) = Backup::open(&path, &recorded.genesis, no_progress).unwrap();
        backup.take(recorded.blocks).unwrap().unwrap();
        assert_eq!(backup.extent(), before);
        assert!(matches!(
            Backup::open(&path, &recorded.genesis, no_progress),
            Err(BackupError::Busy(_))
        ));
    }

    #[test]
    fn what_a_crash_left_is_written_over_by_what_comes_again() {
        let folder = Scratch::new();
        let (path, recorded) = backed_up(&folder);
        let whole = fs::read(&path).unwrap();
        let first = HEAD + 1 + recorded.genesis.to_toml().len();
        for cut in (first..whole.len()).rev().step_by(97) {
            // A write that never reached the disk leaves nothing of itself, zeros, or anything.
            for left in [&[][..], &[0; 300], &[0xa5; 300]] {
                let torn = [&whole[..cut], left].concat();
                fs::write(&path, &torn).unwrap();
                let (mut backup, extent) =
                    Backup::open(&path, &recorded.genesis, no_progress).unwrap();
                assert_eq!(extent.bytes + extent.torn, torn.len() as u64);
                assert_eq!(fs::read(&path).unwrap(), torn);
                backup.take(recorded.blocks.clone()).unwrap().unwrap();
                assert_eq!(fs::read(&path).unwrap(), whole);
            }
        }
        fs::write(&path, &whole[..first - 1]).unwrap();
        assert!(matches!(
            Backup::open(&path, &recorded.genesis, no_progress),
            Err(BackupError::NoBackup(_))
        ));
    }

    #[test]
    fn no_altered_byte_goes_unnoticed_and_opening_writes_to_no_file() {
        let folder = Scratch::new();
        let (path, recorded) = backed_up(&folder);
        let whole = fs::read(&path).unwrap();
        let full = Backup::check(&path, &recorded.genesis, no_progress).unwrap();
        for place in (0..whole.len()).step_by(41) {
            let mut altered = whole.clone();
            altered[place] ^= 1;
            fs::write(&path, &altered).unwrap();
            // In so short a file it may have been a crash.
            match Backup::check(&path, &recorded.genesis, no_progress) {
                Ok(extent) => assert!(extent.torn > 0 && extent.height < full.height, "{place}"),
                Err(BackupError::NoBackup(_)) => {}
                Err(error) => panic!("byte {place}: {error}"),
            }
            drop(Backup::open(&path, &recorded.genesis, no_progress));
            assert_eq!(fs::read(&path).unwrap(), altered);
        }
    }

    #[test]
    fn more_behind_the_last_certificate_than_a_crash_can_leave_is_damage() {
        let folder = Scratch::new();
        let (path, recorded) = backed_up(&folder);
        let whole = fs::read(&path).unwrap();
        let room = usize::try_from(TAIL).unwrap();
        for (length, is_damage) in [(room, false), (room + 1, true)] {
            let longer = [&whole[..], &vec![0; length]].concat();
            fs::write(&path, &longer).unwrap();
            let opened = Backup::open(&path, &recorded.genesis, no_progress);
            assert_eq!(
                matches!(opened, Err(BackupError::Damaged { at, .. }) if at == whole.len() as u64),
                is_damage
            );
        }
    }

    #[test]
    fn blocks_that_are_not_believed_stay_out_and_those_before_them_stay_in() {
        let folder = Scratch::new();
        let (path, recorded) = backed_up(&folder);
        let blocks = &recorded.blocks.blocks;
        let certified: Vec<usize> = (0..blocks.len())
            .filter(|at| !blocks[*at].certificate.is_empty())
            .collect();
        let middle = certified[certified.len() / 2];
        for fault in [
            "a certificate of another",
            "no certificate at the end",
            "a gap",
            "noise",
        ] {
            fs::remove_file(&path).unwrap();
            let (mut backup, _) = Backup::open(&path, &recorded.genesis, no_progress).unwrap();
            let mut stretch = recorded.blocks.clone();
            match fault {
                "a certificate of another" => {
                    stretch.blocks[middle].certificate = blocks[certified[0]].certificate.clone();
                }
                "no certificate at the end" => {
                    stretch.blocks.truncate(middle + 1);
                    stretch.blocks[middle].certificate = Bytes::new();
                }
                "a gap" => drop(stretch.blocks.remove(middle)),
                _ => stretch.blocks[middle].block = Bytes::from_static(b"noise"),
            }
            backup.take(stretch).unwrap().unwrap_err();
            let kept = backup.extent();
            assert_eq!(
                kept.height.get(),
                certified[certified.len() / 2 - 1] as u64 + 1,
                "{fault}"
            );
            drop(backup);
            assert_eq!(
                Backup::check(&path, &recorded.genesis, no_progress).unwrap(),
                kept
            );
        }
    }

    #[test]
    fn what_the_checks_of_frames_cannot_see_the_certificates_do() {
        let folder = Scratch::new();
        let (path, recorded) = backed_up(&folder);
        let mut reader = Reader::open(&path, &recorded.genesis, Signatures::Certified).unwrap();
        let mut records = Vec::new();
        let rewound = |records: &[Vec<u8>]| {
            let mut frames = Vec::new();
            for record in records {
                put(record, &mut frames);
            }
            fs::write(&path, frames).unwrap();
            Backup::check(&path, &recorded.genesis, no_progress)
        };
        records.push([&[GENESIS], recorded.genesis.to_toml().as_bytes()].concat());
        while let Some(record) = reader.record().unwrap() {
            records.push(record);
        }
        let full = rewound(&records).unwrap();
        for index in 1..records.len() {
            let mut without = records.clone();
            without.remove(index);
            let mut swapped = records.clone();
            swapped.swap(index, index - 1);
            let mut altered = records.clone();
            let middle = altered[index].len() / 2;
            altered[index][middle] ^= 1;
            for (what, records) in [
                ("without", without),
                ("swapped", swapped),
                ("altered", altered),
            ] {
                match rewound(&records) {
                    Err(_) => {}
                    // Without a certificate that a later one covers, the chain is the same.
                    Ok(extent) => {
                        let covered = what == "without" && records[index - 1][0] == BLOCK;
                        assert!(extent.height < full.height || covered, "{what} {index}");
                    }
                }
            }
        }
    }

    #[test]
    fn of_another_chain_or_of_none_it_is_refused() {
        let folder = Scratch::new();
        let (path, recorded) = backed_up(&folder);
        let mut other = recorded.genesis.clone();
        other.name = tally_ledger::Name::new("another").unwrap();
        assert!(matches!(
            Backup::check(&path, &other, no_progress),
            Err(BackupError::OtherChain { .. })
        ));
        for bytes in [&b""[..], b"x", b"not a backup of anything at all", &[0; 64]] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(
                Backup::open(&path, &recorded.genesis, no_progress),
                Err(BackupError::NoBackup(_))
            ));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn it_comes_back_as_a_nodes_data_unless_there_is_some() {
        let folder = Scratch::new();
        let (path, recorded) = backed_up(&folder);
        let data = folder.path().join("node");
        // What a restore that was stopped has left.
        fs::create_dir_all(data.join("store.new/blocks")).unwrap();
        let extent = restore(&path, &recorded.genesis, &data, no_progress).unwrap();
        assert_eq!(extent.height, recorded.head.header.height);
        assert!(matches!(
            restore(&path, &recorded.genesis, &data, no_progress),
            Err(BackupError::InUse(_))
        ));
        let settings = runtime::Config::new().with_storage_directory(data.join("store"));
        runtime::Runner::new(settings).start(|context| async move {
            let (_, last) = Blocks::open(&context, &Partitions::default())
                .await
                .unwrap();
            assert_eq!(last.unwrap().block, recorded.head.header.digest());
        });
    }
}

//! What the blocks have come to, on the disk: so that a node that starts executes those since, and not all.
//!
//! ```text
//! snapshots/entries   frames (`journal`), each up to 8,192 entries of the log, 73 bytes each, in order, from the first on
//! snapshots/HEIGHT    frames, in this order:
//!                       1 || end of an epoch, as `tally_ledger` writes it     for each that has ended
//!                       2 || piece of a state, as `tally_ledger` writes it    at least one
//!                       3 || BLAKE3 of all payloads before, one after another, 32 bytes
//! ```
//!
//! HEIGHT is the block's after which it is so, in 20 digits.
//!
//! Invariants:
//! * Nothing in a snapshot is believed. Its block is the final one of its height among the blocks on the disk; the roots of
//!   state and log are computed from what stands there, and are those of the block's header; the ends of epochs are followed
//!   from genesis on, by their certificates. A snapshot of which this does not hold is passed over and removed.
//! * A snapshot is written after the entries that it needs are durable, and the frames of these end where it ends. The last
//!   [`KEPT`] are kept, so one that a crash tore has another before it.
//! * Writing takes a few times [`PIECE`] bytes of memory and the new entries, beside what changes meanwhile: a state shares the
//!   rest with its copy.
//!
//! Nothing depends on there being snapshots: who has none executes all blocks.

use commonware_runtime::{Error, Storage};
use tally_ledger::{
    BlockDigest, DecodeError, Entry, EpochEnd, FollowError, Genesis, Height, SnapshotError, State,
    TrustedValidators,
};
use tokio::sync::oneshot;

use crate::journal::Journal;
use crate::proofs::Log;
use crate::store::{self, Partitions};

/// A snapshot is due when so many blocks, transactions and receipts, counted together, have come since the last one...
pub(crate) const EVERY: u64 = 100_000;
/// ... and, of a large state, one for so many of its records: or writing it down would take more than executing what came.
const RECORDS: u64 = 16;
/// Snapshots that are kept.
const KEPT: usize = 2;
/// Bytes of a state that are written at once.
const PIECE: usize = 1024 * 1024;
/// Entries in a frame.
const ENTRIES: usize = 8192;

/// The file of entries.
pub(crate) const ENTRIES_FILE: &str = "entries";

pub(crate) const END: u8 = 1;
pub(crate) const STATE: u8 = 2;
pub(crate) const CHECK: u8 = 3;

/// What the blocks up to one have come to.
pub(crate) struct Snapshot {
    pub(crate) state: State,
    pub(crate) epochs: Vec<EpochEnd>,
    pub(crate) log: Log,
}

/// Why a snapshot is not believed.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it cannot be read: {0}")]
    Disk(#[from] Error),
    #[error("it is not whole")]
    Torn,
    #[error("the end of an epoch in it is malformed: {0}")]
    Malformed(#[from] DecodeError),
    #[error(transparent)]
    State(#[from] SnapshotError),
    #[error("its block is not the final one of height {0} that is on this disk")]
    NotFinal(Height),
    #[error(transparent)]
    Epochs(#[from] FollowError),
    #[error("its epochs do not end with the one before its state's")]
    OtherEpoch,
    #[error("the entries beside it are not those of its block's log")]
    Entries,
}

/// The snapshots of a node that runs.
pub(crate) struct Snapshots<E: Storage> {
    every: u64,
    /// Blocks, transactions and receipts since the last one.
    tail: u64,
    writing: Writing<E>,
}

enum Writing<E: Storage> {
    /// Nothing is written.
    Idle(Writer<E>),
    /// The writer comes back once it is done.
    Busy(oneshot::Receiver<Writer<E>>),
    /// The disk failed, and no more is written until the next start.
    Off,
}

impl<E: Storage> Snapshots<E> {
    /// Opens the snapshots of a chain whose final blocks from height 1 on are these. Also returns the newest one that is to be
    /// believed.
    pub(crate) async fn open(
        storage: &E,
        partitions: &Partitions,
        genesis: &Genesis,
        every: u64,
        blocks: &[BlockDigest],
    ) -> (Self, Option<Snapshot>) {
        let partition = partitions.snapshots();
        let mut opened = Writer::open(storage, &partition, genesis, blocks).await;
        if let Err(error) = &opened {
            tracing::warn!(%error, "the snapshots cannot be opened, and are made anew");
            opened = match storage.remove(&partition, None).await {
                Ok(()) => Writer::open(storage, &partition, genesis, blocks).await,
                Err(error) => Err(error),
            };
        }
        let (writing, found) = match opened {
            Ok(Opened {
                writer,
                found,
                passed_over,
            }) => {
                for (height, reason) in passed_over {
                    tracing::warn!(height, %reason, "a snapshot is not believed, and older blocks are executed again");
                }
                (Writing::Idle(writer), found)
            }
            Err(error) => {
                tracing::warn!(%error, "no snapshots are made: the next start executes all blocks");
                (Writing::Off, None)
            }
        };
        let snapshots = Self {
            every,
            tail: 0,
            writing,
        };
        (snapshots, found)
    }

    /// Counts a final block.
    pub(crate) fn count(&mut self, transactions: usize, receipts: usize) {
        self.tail += 1 + (transactions + receipts) as u64;
    }

    /// Hands out the writer if a snapshot of this state is due and none is being written.
    pub(crate) fn due(&mut self, state: &State) -> Option<Writer<E>> {
        if self.tail < self.every.max(state.records() as u64 / RECORDS) {
            return None;
        }
        let writer = match std::mem::replace(&mut self.writing, Writing::Off) {
            Writing::Idle(writer) => writer,
            Writing::Busy(mut back) => match back.try_recv() {
                Ok(writer) => writer,
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.writing = Writing::Busy(back);
                    return None;
                }
                // Why it failed was said when it did.
                Err(oneshot::error::TryRecvError::Closed) => return None,
            },
            Writing::Off => return None,
        };
        self.tail = 0;
        Some(writer)
    }

    /// Takes the writer back.
    pub(crate) fn done(&mut self, writer: Writer<E>) {
        self.writing = Writing::Idle(writer);
    }

    /// The writer writes, and comes back by this way.
    pub(crate) fn begun(&mut self, back: oneshot::Receiver<Writer<E>>) {
        self.writing = Writing::Busy(back);
    }
}

/// What writes snapshots, one at a time.
pub(crate) struct Writer<E: Storage> {
    partition: String,
    entries: Journal<E>,
    /// Entries that are in the file.
    written: u64,
    /// The heights of the snapshots that are there, ascending.
    heights: Vec<u64>,
}

struct Opened<E: Storage> {
    writer: Writer<E>,
    found: Option<Snapshot>,
    /// Newer ones, and why they are not believed.
    passed_over: Vec<(u64, Unusable)>,
}

impl<E: Storage> Writer<E> {
    async fn open(
        storage: &E,
        partition: &str,
        genesis: &Genesis,
        blocks: &[BlockDigest],
    ) -> Result<Opened<E>, Error> {
        let mut heights: Vec<u64> = match storage.scan(partition).await {
            Ok(names) => names
                .iter()
                .filter_map(|name| store::number(name))
                .collect(),
            Err(Error::PartitionMissing(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        heights.sort_unstable();
        let (mut journal, entries) = Entries::open(storage, partition).await?;
        let (mut found, mut passed_over) = (None, Vec::new());
        let (mut written, mut end) = (0, 0);
        while let Some(height) = heights.last().copied() {
            match read(storage, partition, height, genesis, blocks, &entries).await {
                Ok((snapshot, its_end)) => {
                    (written, end) = (snapshot.state.head().log_size, its_end);
                    found = Some(snapshot);
                    break;
                }
                Err(reason) => {
                    passed_over.push((height, reason));
                    storage
                        .remove(partition, Some(store::file_name(height).as_bytes()))
                        .await?;
                    heights.pop();
                }
            }
        }
        // What is behind it is of no snapshot, or of one that is not believed.
        if end < journal.bytes() {
            journal.cut(end).await?;
        }
        let writer = Self {
            partition: partition.to_owned(),
            entries: journal,
            written,
            heights,
        };
        Ok(Opened {
            writer,
            found,
            passed_over,
        })
    }

    /// How many entries are in the file: a snapshot needs those of its log from there on.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Writes a snapshot, and removes old ones. `entries` are those of the state's log that are not in the file yet.
    pub(crate) async fn write(
        &mut self,
        storage: &E,
        state: &State,
        epochs: &[EpochEnd],
        entries: &[Entry],
    ) -> Result<(), Error> {
        for some in entries.chunks(ENTRIES) {
            let payload: Vec<u8> = some.iter().flat_map(Entry::to_bytes).collect();
            self.entries.append(&[&payload]).await?;
        }
        self.entries.sync().await?;
        self.written += entries.len() as u64;

        let height = state.head().height.get();
        let file = store::file_name(height);
        let (mut journal, _) = Journal::open(storage, &self.partition, &file, |_, _| ()).await?;
        // What an attempt left that came to nothing.
        journal.cut(0).await?;
        let mut hasher = blake3::Hasher::new();
        for end in epochs {
            let payload = [&[END], end.to_bytes().as_slice()].concat();
            hasher.update(&payload);
            journal.append(&[&payload]).await?;
        }
        for piece in state.pieces(PIECE) {
            let payload = [&[STATE], piece.as_slice()].concat();
            hasher.update(&payload);
            journal.append(&[&payload]).await?;
        }
        let check = [&[CHECK], hasher.finalize().as_bytes().as_slice()].concat();
        journal.append(&[&check]).await?;
        journal.sync().await?;
        self.heights.push(height);
        while self.heights.len() > KEPT {
            let oldest = store::file_name(self.heights.remove(0));
            let oldest = Some(oldest.as_bytes());
            storage.remove(&self.partition, oldest).await?;
        }
        Ok(())
    }
}

/// The entries on the disk.
#[derive(Default)]
struct Entries {
    all: Vec<Entry>,
    /// After how many of them a frame ends, and where.
    ends: Vec<(u64, u64)>,
    /// Whether there was a frame of something else; nothing after it is taken.
    is_cut: bool,
}

impl Entries {
    async fn open<E: Storage>(storage: &E, partition: &str) -> Result<(Journal<E>, Self), Error> {
        let mut entries = Self::default();
        let (journal, _) = Journal::open(storage, partition, ENTRIES_FILE, |place, payload| {
            entries.take(place.end(), payload);
        })
        .await?;
        Ok((journal, entries))
    }

    fn take(&mut self, end: u64, payload: &[u8]) {
        let (each, rest) = payload.as_chunks::<{ Entry::BYTES }>();
        let read: Result<Vec<Entry>, _> = each.iter().map(|one| Entry::from_bytes(one)).collect();
        match read {
            Ok(read) if rest.is_empty() && !self.is_cut => {
                self.all.extend(read);
                self.ends.push((self.all.len() as u64, end));
            }
            _ => self.is_cut = true,
        }
    }

    /// The log of the first `size` of them, and where their frames end; none if no frame ends there.
    fn log(&self, size: u64) -> Option<(Log, u64)> {
        let end = match size {
            0 => 0,
            _ => self.ends.iter().find(|(count, _)| *count == size)?.1,
        };
        let first = self.all.get(..usize::try_from(size).ok()?)?;
        Some((Log::of(first)?, end))
    }
}

/// What the frames of a snapshot say.
struct Said {
    ends: Vec<EpochEnd>,
    state: Vec<u8>,
    hasher: blake3::Hasher,
    /// Whether the last frame was the check of those before it.
    is_whole: bool,
    trouble: Option<Unusable>,
}

impl Said {
    fn new() -> Self {
        Self {
            ends: Vec::new(),
            state: Vec::new(),
            hasher: blake3::Hasher::new(),
            is_whole: false,
            trouble: None,
        }
    }

    fn take(&mut self, payload: &[u8]) {
        let is_after_the_check = std::mem::replace(&mut self.is_whole, false);
        match payload.split_first() {
            _ if is_after_the_check => {
                self.trouble.get_or_insert(Unusable::Torn);
            }
            Some((&END, end)) if self.state.is_empty() => match EpochEnd::from_bytes(end) {
                Ok(end) => self.ends.push(end),
                Err(error) => {
                    self.trouble.get_or_insert(error.into());
                }
            },
            Some((&STATE, piece)) => self.state.extend_from_slice(piece),
            Some((&CHECK, check)) => {
                self.is_whole = *check == self.hasher.finalize().as_bytes()[..];
            }
            _ => {
                self.trouble.get_or_insert(Unusable::Torn);
            }
        }
        self.hasher.update(payload);
    }
}

/// Reads a snapshot, and checks it. Also says where the frames of its entries end.
async fn read<E: Storage>(
    storage: &E,
    partition: &str,
    height: u64,
    genesis: &Genesis,
    blocks: &[BlockDigest],
    entries: &Entries,
) -> Result<(Snapshot, u64), Unusable> {
    let mut said = Said::new();
    let (_, torn) = Journal::open(
        storage,
        partition,
        &store::file_name(height),
        |_, payload| {
            said.take(payload);
        },
    )
    .await?;
    if torn > 0 || !said.is_whole {
        return Err(Unusable::Torn);
    }
    if let Some(trouble) = said.trouble {
        return Err(trouble);
    }
    let state = State::from_bytes(genesis.chain(), &said.state)?;
    drop(said.state);
    let is_final = |height: Height, block: BlockDigest| match final_at(blocks, height) {
        Some(known) if known == block => Ok(()),
        _ => Err(Unusable::NotFinal(height)),
    };
    is_final(Height::new(height), state.head_digest())?;

    let mut trusted = TrustedValidators::of(genesis);
    for end in &said.ends {
        trusted.follow(end)?;
        is_final(end.header.height, end.header.digest())?;
    }
    if trusted.epoch != state.next_epoch() || trusted.validators != *state.next_validators() {
        return Err(Unusable::OtherEpoch);
    }

    let head = state.head();
    let (log, end) = entries
        .log(head.log_size)
        .filter(|(log, _)| log.root(head.log_size) == Some(head.log_root))
        .ok_or(Unusable::Entries)?;
    let snapshot = Snapshot {
        state,
        epochs: said.ends,
        log,
    };
    Ok((snapshot, end))
}

fn final_at(blocks: &[BlockDigest], height: Height) -> Option<BlockDigest> {
    let place = height.get().checked_sub(1)?;
    blocks.get(usize::try_from(place).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use commonware_runtime::{
        Blob as _, ReadOptions, Runner as _, WriteOptions, deterministic, tokio as runtime,
    };
    use tally_ledger::{Checked, Name};

    use super::*;
    use crate::bodies::Bodies;
    use crate::frames::{HEAD, put, whole};
    use crate::proofs::Wanted;
    use crate::scratch::Scratch;
    use crate::simulation::{Recorded, recorded};

    const PARTITION: &str = "snapshots";

    /// A chain whose validators changed twice, and what each of its blocks has come to.
    struct Sample {
        genesis: Genesis,
        blocks: Vec<BlockDigest>,
        states: Vec<State>,
        entries: Vec<Entry>,
        log: Log,
        ends: Vec<EpochEnd>,
    }

    fn sample() -> Sample {
        let recorded: Recorded = recorded();
        let mut sample = Sample {
            genesis: recorded.genesis,
            blocks: Vec::new(),
            states: Vec::new(),
            entries: Vec::new(),
            log: Log::default(),
            ends: recorded.head.ends,
        };
        let mut state = sample.genesis.state();
        for one in recorded.blocks.blocks {
            let (digest, body) = Bodies::read(one.block).unwrap();
            let checked = Checked::check_many(body.block.transactions, state.chain());
            let checked: Vec<Checked> = checked.into_iter().map(Result::unwrap).collect();
            let executed = state.execute(&body.block.header, &checked).unwrap();
            state = executed.state;
            sample.blocks.push(digest);
            sample.states.push(state.clone());
            let settled = executed.settled.iter().map(|one| one.entry);
            sample.entries.extend(settled);
            sample.log.append(&executed.settled);
        }
        sample
    }

    impl Sample {
        fn last(&self) -> usize {
            self.blocks.len()
        }

        /// Opens the snapshots where so many blocks are on the disk.
        async fn open<E: Storage>(&self, disk: &E, blocks: usize) -> Opened<E> {
            Writer::open(disk, PARTITION, &self.genesis, &self.blocks[..blocks])
                .await
                .unwrap()
        }

        async fn write<E: Storage>(&self, disk: &E, writer: &mut Writer<E>, height: usize) {
            let state = &self.states[height - 1];
            let head = state.head();
            let ends = self.ends.iter();
            let ends: Vec<EpochEnd> = ends
                .take_while(|end| end.header.height <= head.height)
                .cloned()
                .collect();
            let [from, to] =
                [writer.written(), head.log_size].map(|one| usize::try_from(one).unwrap());
            let entries = &self.entries[from..to];
            writer.write(disk, state, &ends, entries).await.unwrap();
        }

        /// Writes the last two snapshots there can be, and looks at what is read back.
        async fn come_back<E: Storage>(&self, disk: &E) {
            let last = self.last();
            let opened = self.open(disk, last).await;
            assert!(opened.found.is_none() && opened.passed_over.is_empty());
            let mut writer = opened.writer;
            for height in last - 2..=last {
                self.write(disk, &mut writer, height).await;
            }
            drop(writer);
            let opened = self.open(disk, last).await;
            assert!(opened.passed_over.is_empty());
            assert_eq!(opened.writer.heights, [last as u64 - 1, last as u64]);
            let found = opened.found.unwrap();
            assert_eq!(found.state.to_bytes(), self.states[last - 1].to_bytes());
            assert_eq!(found.epochs, self.ends);
            let size = found.state.head().log_size;
            assert_eq!(size, self.entries.len() as u64);
            for wanted in self.entries.iter().flat_map(Wanted::names_of) {
                let proof = self.log.find(&wanted, size);
                assert!(proof.is_some());
                assert_eq!(found.log.find(&wanted, size), proof);
            }
        }
    }

    #[test]
    fn a_snapshot_gives_the_state_the_epochs_and_the_proofs_that_the_blocks_give() {
        let sample = sample();
        deterministic::Runner::default().start(|disk| {
            let sample = &sample;
            async move { sample.come_back(&disk).await }
        });
        let folder = Scratch::new();
        let settings = runtime::Config::new().with_storage_directory(folder.path().to_owned());
        runtime::Runner::new(settings).start(|disk| {
            let sample = &sample;
            async move { sample.come_back(&disk).await }
        });
    }

    fn payloads(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        let mut left = bytes;
        while let Some(payload) = whole(left) {
            payloads.push(payload.to_vec());
            left = &left[HEAD + payload.len()..];
        }
        payloads
    }

    fn framed(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut frames = Vec::new();
        payloads.iter().for_each(|one| put(one, &mut frames));
        frames
    }

    /// A snapshot that says something else, all of whose checks are right.
    fn altered(bytes: &[u8], alter: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
        let mut payloads = payloads(bytes);
        payloads.pop();
        alter(&mut payloads);
        let check = blake3::hash(&payloads.concat());
        payloads.push([&[CHECK], check.as_bytes().as_slice()].concat());
        framed(&payloads)
    }

    /// Writes two snapshots, changes a file, and says the height of the one that is believed, and why the other is not.
    fn believed_after(
        sample: &Sample,
        file: &str,
        change: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> (Option<u64>, Vec<(u64, Unusable)>) {
        deterministic::Runner::default().start(|disk| async move {
            let last = sample.last();
            let mut writer = sample.open(&disk, last).await.writer;
            for height in last - 1..=last {
                sample.write(&disk, &mut writer, height).await;
            }
            drop(writer);
            let (blob, length) = disk.open(PARTITION, file.as_bytes()).await.unwrap();
            let length = usize::try_from(length).unwrap();
            let bytes = blob.read_at(0, length, ReadOptions::default()).await;
            let changed = change(bytes.unwrap().coalesce().as_ref());
            blob.resize(0).await.unwrap();
            let written = blob.write_at(0, changed, WriteOptions::default()).await;
            written.unwrap();
            blob.sync().await.unwrap();
            drop(blob);
            let opened = sample.open(&disk, last).await;
            let height = opened.found.map(|one| one.state.head().height.get());
            (height, opened.passed_over)
        })
    }

    #[test]
    fn what_is_torn_or_altered_is_passed_over_for_what_was_before_it() {
        let sample = sample();
        let last = sample.last() as u64;
        let newest = store::file_name(last);
        let reason = |file: &str, change: &dyn Fn(&[u8]) -> Vec<u8>| {
            let (height, mut passed_over) = believed_after(&sample, file, change);
            assert_eq!((height, passed_over.len()), (Some(last - 1), 1));
            let (height, reason) = passed_over.remove(0);
            assert_eq!(height, last);
            reason
        };
        let torn = reason(&newest, &|bytes| bytes[..bytes.len() - 1].to_vec());
        assert!(matches!(torn, Unusable::Torn), "{torn}");
        let without_its_end = reason(&newest, &|bytes| {
            let payloads = payloads(bytes);
            framed(&payloads[..payloads.len() - 1])
        });
        assert!(
            matches!(without_its_end, Unusable::Torn),
            "{without_its_end}"
        );
        let rotten = reason(&newest, &|bytes| {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        });
        assert!(matches!(rotten, Unusable::Torn), "{rotten}");

        // Somebody who puts the checks right, too.
        let state = reason(&newest, &|bytes| {
            altered(bytes, |payloads| {
                *payloads.last_mut().unwrap().last_mut().unwrap() ^= 1;
            })
        });
        assert!(matches!(state, Unusable::State(_)), "{state}");
        let epochs = reason(&newest, &|bytes| {
            altered(bytes, |payloads| {
                assert_eq!(payloads.remove(0)[0], END);
            })
        });
        assert!(matches!(epochs, Unusable::Epochs(_)), "{epochs}");
        let before = sample.states[sample.last() - 2].to_bytes();
        let block = reason(&newest, &|bytes| {
            altered(bytes, |payloads| {
                *payloads.last_mut().unwrap() = [&[STATE], before.as_slice()].concat();
            })
        });
        assert!(matches!(block, Unusable::NotFinal(_)), "{block}");
        let entries = reason(ENTRIES_FILE, &|bytes| {
            let mut payloads = payloads(bytes);
            *payloads.last_mut().unwrap().last_mut().unwrap() ^= 1;
            framed(&payloads)
        });
        assert!(matches!(entries, Unusable::Entries), "{entries}");
    }

    #[test]
    fn a_snapshot_of_another_chain_is_not_believed() {
        let ours = sample();
        let mut theirs = sample();
        theirs.genesis.name = Name::new("another").unwrap();
        deterministic::Runner::default().start(|disk| async move {
            let mut writer = ours.open(&disk, ours.last()).await.writer;
            ours.write(&disk, &mut writer, ours.last()).await;
            drop(writer);
            let opened = theirs.open(&disk, theirs.last()).await;
            assert!(opened.found.is_none());
            let [(_, reason)] = &opened.passed_over[..] else {
                panic!("one was there");
            };
            let is_of_another = matches!(reason, Unusable::State(SnapshotError::OtherChain(_)));
            assert!(is_of_another, "{reason}");
        });
    }

    #[test]
    fn a_snapshot_that_is_newer_than_the_blocks_is_removed_and_written_again() {
        let sample = sample();
        deterministic::Runner::default().start(|disk| async move {
            let last = sample.last();
            let mut writer = sample.open(&disk, last).await.writer;
            for height in last - 1..=last {
                sample.write(&disk, &mut writer, height).await;
            }
            drop(writer);
            let opened = sample.open(&disk, last - 1).await;
            let found = opened.found.unwrap();
            assert_eq!(found.state.head().height.get(), last as u64 - 1);
            let [(_, Unusable::NotFinal(height))] = &opened.passed_over[..] else {
                panic!("one is newer");
            };
            assert_eq!(height.get(), last as u64);
            // Its entries went with it.
            let mut writer = opened.writer;
            assert_eq!(writer.written(), found.state.head().log_size);
            sample.write(&disk, &mut writer, last).await;
            drop(writer);
            let opened = sample.open(&disk, last).await;
            assert!(opened.passed_over.is_empty());
            let found = opened.found.unwrap();
            assert_eq!(found.state.head().height.get(), last as u64);
        });
    }
}

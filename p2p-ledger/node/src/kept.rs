//! A journal whose frames are nowhere else, so that nothing of it may be cut off that was durable once.
//!
//! A crash tears what was never synced, and a rotten disk anything. So that the two are told apart, a file beside the journal,
//! its mark, says up to where it was durable:
//!
//! ```text
//! NAME.durable    two slots, at 0 and 4096, written in turn; the newest that holds counts:
//!                   turn u64 || bytes u64 || the first 8 bytes of BLAKE3 of both
//! ```
//!
//! Invariants:
//! * What the mark says was durable when it was written. It may say less than is durable: by up to [`MARK_EVERY`] while whoever
//!   writes is busy.
//! * [`Kept::open`] cuts off what is not whole behind the mark. Where a frame before the mark is not whole any more, the file
//!   is left as it is; unless its end is gone, and little of it: that is what a power cut takes from a disk that says too early
//!   that something is durable.
//! * A file without a mark, from before there were any, is cut where a crash can have torn it.

use commonware_runtime::{Blob as _, Error, ReadOptions, Storage, WriteOptions};

use crate::frames::{HEAD, MAX_PAYLOAD};
use crate::journal::{Journal, Place, ReadError, Reader};

/// After so many bytes more a sync also writes the mark.
const MARK_EVERY: u64 = 1024 * 1024;
/// The most that a crash tears of a file without a mark, and that a disk loses which lies: a frame of any length.
const TAIL: u64 = (HEAD + MAX_PAYLOAD) as u64;

/// An open journal, and its mark.
pub(crate) struct Kept<E: Storage> {
    journal: Journal<E>,
    mark: Mark<E>,
    /// Up to where it is durable.
    synced: u64,
}

/// Why a journal was not opened. The operator acts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Storage(#[from] Error),
    #[error("it cannot be read from byte {at} on, of {size} that it has, and was whole there once")]
    Rotten { at: u64, size: u64 },
}

impl<E: Storage> Kept<E> {
    /// Opens a journal, made if it is not there, and hands each whole frame to `each`. Also returns how many bytes at the
    /// end were never durable, and are gone.
    pub(crate) async fn open(
        storage: &E,
        partition: &str,
        name: &str,
        each: impl FnMut(Place, &[u8]),
    ) -> Result<(Self, u64), OpenError> {
        let (mut journal, size) = Journal::read_out(storage, partition, name, each).await?;
        let mut mark = Mark::open(storage, partition, &mark_of(name)).await?;
        let end = journal.bytes();
        if is_rotten(end, size, mark.durable) {
            return Err(OpenError::Rotten { at: end, size });
        }
        if end < size || mark.durable != Some(end) {
            // What was written before this program was killed may not be durable either.
            journal.cut(end).await?;
            mark.set(end).await?;
        }
        let kept = Self {
            journal,
            mark,
            synced: end,
        };
        Ok((kept, size - end))
    }

    /// Removes a journal with its mark. The mark goes first: one that is left alone would miss what the next of that name never had.
    pub(crate) async fn remove(storage: &E, partition: &str, name: &str) -> Result<(), Error> {
        let mark = mark_of(name);
        match storage.remove(partition, Some(mark.as_bytes())).await {
            Ok(()) | Err(Error::BlobMissing(..)) => {}
            Err(error) => return Err(error),
        }
        storage.remove(partition, Some(name.as_bytes())).await
    }

    /// [`Journal::append`].
    pub(crate) async fn append(&mut self, payloads: &[&[u8]]) -> Result<Vec<Place>, Error> {
        self.journal.append(payloads).await
    }

    /// Makes durable what was appended.
    pub(crate) async fn sync(&mut self) -> Result<(), Error> {
        let end = self.journal.bytes();
        self.journal.sync().await?;
        self.synced = end;
        if end - self.mark.durable.unwrap_or(0) >= MARK_EVERY {
            self.mark().await?;
        }
        Ok(())
    }

    /// Says in the mark what is durable, unless it does already: for whoever has the time.
    pub(crate) async fn mark(&mut self) -> Result<(), Error> {
        if self.mark.durable != Some(self.synced) {
            self.mark.set(self.synced).await?;
        }
        Ok(())
    }

    /// [`Journal::read`].
    pub(crate) async fn read(&self, place: Place) -> Result<Vec<u8>, ReadError> {
        self.journal.read(place).await
    }

    /// [`Journal::reader`].
    pub(crate) fn reader(&self) -> Reader<E> {
        self.journal.reader()
    }

    /// How long it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.journal.bytes()
    }
}

/// Whether a journal that is whole up to `end`, of `size` bytes, has lost what it had, as far as the mark knows. What is lost begins
/// where it is not whole any more, however much follows.
const fn is_rotten(end: u64, size: u64, durable: Option<u64>) -> bool {
    match durable {
        None => size - end > TAIL,
        Some(durable) => end < durable && (size >= durable || durable - end > TAIL),
    }
}

fn mark_of(name: &str) -> String {
    format!("{name}.durable")
}

/// The file that says up to where a journal was durable.
struct Mark<E: Storage> {
    blob: E::Blob,
    turn: u64,
    /// None before it was said for the first time.
    durable: Option<u64>,
}

const SAID: usize = 16; // bytes
const SLOT: usize = SAID + 8; // bytes
/// Where the slots begin: in sectors of their own, since a disk that fails may take all of one.
const SLOTS: [u64; 2] = [0, 4096];
/// Where older versions had the second one, which is read and not written any more.
const OLD_SLOT: u64 = SLOT as u64;

impl<E: Storage> Mark<E> {
    async fn open(storage: &E, partition: &str, name: &str) -> Result<Self, Error> {
        let (blob, size) = storage.open(partition, name.as_bytes()).await?;
        let mut newest: Option<(u64, u64)> = None;
        for at in SLOTS.into_iter().chain([OLD_SLOT]) {
            if at + SLOT as u64 > size {
                continue;
            }
            let read = blob.read_at(at, SLOT, ReadOptions::default()).await?;
            newest = newest.max(said(read.coalesce().as_ref()));
        }
        let (turn, durable) = match newest {
            Some((turn, durable)) => (turn, Some(durable)),
            None => (0, None),
        };
        Ok(Self {
            blob,
            turn,
            durable,
        })
    }

    /// Says it, durably.
    async fn set(&mut self, durable: u64) -> Result<(), Error> {
        let turn = self.turn + 1;
        let [first, second] = SLOTS;
        let at = if turn.is_multiple_of(2) {
            second
        } else {
            first
        };
        self.blob
            .write_at(at, slot(turn, durable), WriteOptions::default())
            .await?;
        self.blob.sync().await?;
        (self.turn, self.durable) = (turn, Some(durable));
        Ok(())
    }
}

fn slot(turn: u64, durable: u64) -> Vec<u8> {
    let mut slot = [turn.to_be_bytes(), durable.to_be_bytes()].concat();
    slot.extend_from_slice(&check(&slot));
    slot
}

fn check(said: &[u8]) -> [u8; SLOT - SAID] {
    let hash = blake3::hash(said);
    *hash.as_bytes().first_chunk().expect("32 bytes have 8")
}

/// The turn of a slot and what it says, if it holds.
fn said(slot: &[u8]) -> Option<(u64, u64)> {
    let (turn, rest) = slot.split_first_chunk()?;
    let (durable, found) = rest.split_first_chunk()?;
    (check(&slot[..SAID]) == found)
        .then(|| (u64::from_be_bytes(*turn), u64::from_be_bytes(*durable)))
}

#[cfg(test)]
mod tests {
    use commonware_runtime::{Runner as _, deterministic, tokio as runtime};

    use super::*;
    use crate::scratch::Scratch;

    const FRAME: u64 = HEAD as u64 + 5;

    type Opened<E> = Result<(Kept<E>, u64), OpenError>;

    async fn open<E: Storage>(disk: &E) -> (Opened<E>, Vec<Vec<u8>>) {
        let mut frames = Vec::new();
        let opened = Kept::open(disk, "p", "j", |_, payload| frames.push(payload.to_vec())).await;
        (opened, frames)
    }

    /// Writes ten frames of five bytes, durably, and says in the mark how many of them that are.
    async fn write(disk: &impl Storage, marked: usize) {
        let mut kept = open(disk).await.0.unwrap().0;
        for number in 0..10u8 {
            kept.append(&[&[number; 5]]).await.unwrap();
            kept.sync().await.unwrap();
            if usize::from(number) + 1 == marked {
                kept.mark().await.unwrap();
            }
        }
    }

    /// What is in the file.
    async fn bytes(disk: &impl Storage) -> Vec<u8> {
        let (blob, size) = disk.open("p", b"j").await.unwrap();
        let size = usize::try_from(size).unwrap();
        let read = blob.read_at(0, size, ReadOptions::default()).await;
        read.unwrap().coalesce().as_ref().to_vec()
    }

    async fn alter(disk: &impl Storage, name: &[u8], at: u64, to: &'static [u8]) {
        let (blob, _) = disk.open("p", name).await.unwrap();
        blob.write_at(at, to.to_vec(), WriteOptions::default())
            .await
            .unwrap();
        blob.sync().await.unwrap();
    }

    async fn shorten(disk: &impl Storage, size: u64) {
        let (blob, _) = disk.open("p", b"j").await.unwrap();
        blob.resize(size).await.unwrap();
        blob.sync().await.unwrap();
    }

    #[test]
    fn rot_in_what_was_durable_is_named_and_the_file_left_as_it_is() {
        // In a length, a check and a payload.
        for at in [0, 6, HEAD as u64 + 2] {
            deterministic::Runner::default().start(|disk| async move {
                write(&disk, 10).await;
                let at = 2 * FRAME + at;
                alter(&disk, b"j", at, b"\xff").await;
                let before = bytes(&disk).await;
                for _ in 0..2 {
                    let (opened, frames) = open(&disk).await;
                    let Err(OpenError::Rotten { at, size }) = opened else {
                        panic!("it is rotten");
                    };
                    assert_eq!((at, size), (2 * FRAME, 10 * FRAME));
                    assert_eq!(frames.len(), 2);
                    assert_eq!(bytes(&disk).await, before);
                }
            });
        }
    }

    #[test]
    fn what_a_crash_tore_behind_the_mark_is_cut_off_though_whole_frames_follow() {
        deterministic::Runner::default().start(|disk| async move {
            write(&disk, 6).await;
            alter(&disk, b"j", 7 * FRAME + 13, b"\xff").await;
            let (opened, frames) = open(&disk).await;
            let (mut kept, torn) = opened.unwrap();
            assert_eq!((frames.len(), torn), (7, 3 * FRAME));
            // It goes on there, and what is written now is missed as anything else.
            kept.append(&[b"other"]).await.unwrap();
            kept.sync().await.unwrap();
            kept.mark().await.unwrap();
            drop(kept);
            let (opened, frames) = open(&disk).await;
            assert_eq!((frames.len(), opened.unwrap().1), (8, 0));
            alter(&disk, b"j", 7 * FRAME + 13, b"\xff").await;
            assert!(matches!(open(&disk).await.0, Err(OpenError::Rotten { .. })));
        });
    }

    #[test]
    fn what_is_there_when_a_journal_is_opened_is_marked() {
        deterministic::Runner::default().start(|disk| async move {
            write(&disk, 0).await;
            drop(open(&disk).await);
            alter(&disk, b"j", 8 * FRAME + 13, b"\xff").await;
            assert!(matches!(open(&disk).await.0, Err(OpenError::Rotten { .. })));
        });
    }

    #[test]
    fn a_megabyte_more_is_marked_whoever_is_busy() {
        deterministic::Runner::default().start(|disk| async move {
            let mut kept = open(&disk).await.0.unwrap().0;
            let big = vec![1; 600 * 1024];
            for _ in 0..2 {
                kept.append(&[&big]).await.unwrap();
                kept.sync().await.unwrap();
            }
            drop(kept);
            alter(&disk, b"j", 100, b"\xff").await;
            assert!(matches!(open(&disk).await.0, Err(OpenError::Rotten { .. })));
        });
    }

    #[test]
    fn a_little_of_the_end_may_be_gone_and_not_more() {
        deterministic::Runner::default().start(|disk| async move {
            write(&disk, 10).await;
            shorten(&disk, 8 * FRAME + 3).await;
            let (opened, frames) = open(&disk).await;
            assert_eq!((frames.len(), opened.unwrap().1), (8, 3));
            // Who removed it wants it anew.
            shorten(&disk, 0).await;
            let (opened, frames) = open(&disk).await;
            assert_eq!((frames.len(), opened.unwrap().1), (0, 0));
        });
        let gone = |end, size, durable| is_rotten(end, size, Some(durable));
        assert!(!gone(10, 10, 10 + TAIL));
        assert!(gone(10, 10, 11 + TAIL));
        assert!(gone(0, 10, 11 + TAIL));
        assert!(!gone(0, 0, TAIL));
        assert!(gone(0, 0, 1 + TAIL));
        // A byte of the end is gone, and nearly all of it rotten.
        let whole = 10 * TAIL;
        assert!(gone(TAIL, whole - 1, whole));
        assert!(!gone(whole - TAIL, whole - 1, whole));
    }

    #[test]
    fn without_a_mark_as_much_is_cut_off_as_a_crash_can_tear() {
        assert!(!is_rotten(10, 10 + TAIL, None));
        assert!(is_rotten(10, 11 + TAIL, None));
        deterministic::Runner::default().start(|disk| async move {
            write(&disk, 10).await;
            disk.remove("p", Some(b"j.durable")).await.unwrap();
            alter(&disk, b"j", 8 * FRAME + 13, b"\xff").await;
            let (opened, frames) = open(&disk).await;
            assert_eq!((frames.len(), opened.unwrap().1), (8, 2 * FRAME));
        });
    }

    #[test]
    fn a_torn_mark_leaves_the_one_before_it() {
        deterministic::Runner::default().start(|disk| async move {
            write(&disk, 6).await;
            // Both slots were written by then: at the first open, and here.
            for slot in SLOTS {
                let (blob, _) = disk.open("p", b"j.durable").await.unwrap();
                let read = blob.read_at(slot, SLOT, ReadOptions::default()).await;
                assert!(said(read.unwrap().coalesce().as_ref()).is_some());
            }
            let mark = Mark::open(&disk, "p", "j.durable").await.unwrap();
            assert_eq!((mark.turn, mark.durable), (2, Some(6 * FRAME)));
            drop(mark);
            alter(&disk, b"j.durable", SLOTS[1] + 3, b"\xff").await;
            let mark = Mark::open(&disk, "p", "j.durable").await.unwrap();
            assert_eq!((mark.turn, mark.durable), (1, Some(0)));
        });
    }

    #[test]
    fn a_mark_whose_slots_are_beside_each_other_is_read_and_goes_on_apart() {
        deterministic::Runner::default().start(|disk| async move {
            let (blob, _) = disk.open("p", b"j.durable").await.unwrap();
            let old = [slot(7, 70), slot(8, 80)].concat();
            blob.write_at(0, old, WriteOptions::default())
                .await
                .unwrap();
            blob.sync().await.unwrap();
            drop(blob);
            for turn in 8..12 {
                let mut mark = Mark::open(&disk, "p", "j.durable").await.unwrap();
                assert_eq!((mark.turn, mark.durable), (turn, Some(turn * 10)));
                mark.set((turn + 1) * 10).await.unwrap();
            }
            // Both are apart by then: whatever takes the first sector leaves one.
            alter(&disk, b"j.durable", 0, &[0xff; 512]).await;
            let mark = Mark::open(&disk, "p", "j.durable").await.unwrap();
            assert_eq!((mark.turn, mark.durable), (12, Some(120)));
        });
    }

    #[test]
    fn a_removed_journal_leaves_no_mark_on_the_next_of_its_name() {
        async fn remove_and_write_again<E: Storage>(disk: E) {
            write(&disk, 10).await;
            Kept::remove(&disk, "p", "j").await.unwrap();
            let (opened, frames) = open(&disk).await;
            let kept = opened.unwrap().0;
            assert_eq!((frames.len(), kept.mark.durable), (0, Some(0)));
            // One that was removed alone leaves it, and little is missed by nobody.
            drop(kept);
            disk.remove("p", Some(b"j")).await.unwrap();
            assert!(open(&disk).await.0.is_ok());
        }
        deterministic::Runner::default().start(remove_and_write_again);
        let folder = Scratch::new();
        let settings = runtime::Config::new().with_storage_directory(folder.path().to_owned());
        runtime::Runner::new(settings).start(remove_and_write_again);
    }
}

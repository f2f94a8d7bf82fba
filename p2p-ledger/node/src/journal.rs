//! An append-only file of frames, on whatever storage the runtime has: a disk, or a simulated one that loses what was not
//! synced.
//!
//! Invariants:
//! * [`Journal::append`] returns the frame's place; nothing of it is durable before [`Journal::sync`] returns.
//! * [`Journal::open`] hands out every frame from the start up to the first one that is not whole, and cuts off what follows:
//!   it is for files that can be made again. What is nowhere else is opened as [`Kept`](crate::kept::Kept).
//!
//! Out of scope: what a frame means.

use std::sync::Arc;

use commonware_runtime::{Blob as _, Error, ReadOptions, Storage, WriteOptions};

use crate::frames::{HEAD, put, wanted, whole};

/// How much is read at once when a journal is opened.
const READ: usize = 1024 * 1024; // bytes

/// Where a frame's payload lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    offset: u64,
    length: u32,
}

impl Place {
    /// Where the frame ends.
    pub(crate) const fn end(self) -> u64 {
        self.offset + self.length as u64
    }

    /// How long the payload is.
    pub(crate) const fn length(self) -> usize {
        self.length as usize
    }
}

/// An open journal.
pub(crate) struct Journal<E: Storage> {
    blob: Arc<E::Blob>,
    end: u64,
}

/// Reads frames of an open journal, whatever is appended meanwhile.
pub(crate) struct Reader<E: Storage> {
    blob: Arc<E::Blob>,
}

/// Why a frame could not be read back. The operator's disk is at fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("read the journal: {0}")]
    Storage(#[from] Error),
    #[error("the journal's frame at byte {offset} is not what was written")]
    Rotten { offset: u64 },
}

impl<E: Storage> Journal<E> {
    /// Opens a journal, made if it is not there, and hands each whole frame to `each`. Also returns how many bytes at the
    /// end were no frame, and are gone.
    pub(crate) async fn open(
        storage: &E,
        partition: &str,
        name: &str,
        each: impl FnMut(Place, &[u8]),
    ) -> Result<(Self, u64), Error> {
        let (mut journal, size) = Self::read_out(storage, partition, name, each).await?;
        let torn = size - journal.end;
        if torn > 0 {
            journal.cut(journal.end).await?;
        }
        Ok((journal, torn))
    }

    /// The same, but that the file stays as it is, and its length is said.
    pub(crate) async fn read_out(
        storage: &E,
        partition: &str,
        name: &str,
        mut each: impl FnMut(Place, &[u8]),
    ) -> Result<(Self, u64), Error> {
        let (blob, size) = storage.open(partition, name.as_bytes()).await?;
        let mut read = Vec::new(); // bytes [end, end + read.len())
        let mut end = 0;
        loop {
            let mut used = 0;
            while let Some(payload) = whole(&read[used..]) {
                let place = Place {
                    offset: end + (used + HEAD) as u64,
                    length: u32::try_from(payload.len()).expect("a payload is bounded"),
                };
                each(place, payload);
                used += HEAD + payload.len();
            }
            read.drain(..used);
            end += used as u64;
            let have = end + read.len() as u64;
            // More is needed only while the frame at hand may yet become whole.
            let wanted = wanted(&read).saturating_sub(read.len());
            if wanted == 0 || have == size {
                break;
            }
            let left = usize::try_from(size - have).unwrap_or(usize::MAX);
            let chunk = blob
                .read_at(have, wanted.max(READ).min(left), ReadOptions::default())
                .await?;
            read.extend_from_slice(chunk.coalesce().as_ref());
        }
        let blob = Arc::new(blob);
        Ok((Self { blob, end }, size))
    }

    /// Writes frames at the end, in one go.
    ///
    /// # Panics
    ///
    /// If a payload is empty or longer than a frame can hold.
    pub(crate) async fn append(&mut self, payloads: &[&[u8]]) -> Result<Vec<Place>, Error> {
        let mut bytes = Vec::with_capacity(payloads.iter().map(|p| HEAD + p.len()).sum());
        let mut places = Vec::with_capacity(payloads.len());
        for payload in payloads {
            places.push(Place {
                offset: self.end + (bytes.len() + HEAD) as u64,
                length: u32::try_from(payload.len()).expect("a payload is bounded"),
            });
            put(payload, &mut bytes);
        }
        let length = bytes.len() as u64;
        self.blob
            .write_at(self.end, bytes, WriteOptions::default())
            .await?;
        self.end += length;
        Ok(places)
    }

    /// Makes durable what was appended.
    pub(crate) async fn sync(&self) -> Result<(), Error> {
        self.blob.sync().await
    }

    /// Reads a frame back.
    pub(crate) async fn read(&self, place: Place) -> Result<Vec<u8>, ReadError> {
        self.reader().read(place).await
    }

    /// What reads frames back beside whoever appends.
    pub(crate) fn reader(&self) -> Reader<E> {
        Reader {
            blob: self.blob.clone(),
        }
    }

    /// Takes the frames from a place on away.
    pub(crate) async fn cut(&mut self, end: u64) -> Result<(), Error> {
        self.blob.resize(end).await?;
        self.blob.sync().await?;
        self.end = end;
        Ok(())
    }

    /// How long it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.end
    }
}

impl<E: Storage> Reader<E> {
    /// Reads a frame back.
    pub(crate) async fn read(&self, place: Place) -> Result<Vec<u8>, ReadError> {
        let at = place.offset - HEAD as u64;
        let length = HEAD + place.length();
        let bytes = self
            .blob
            .read_at(at, length, ReadOptions::default())
            .await?
            .coalesce();
        match whole(bytes.as_ref()) {
            Some(payload) if payload.len() == place.length() => Ok(payload.to_vec()),
            _ => Err(ReadError::Rotten { offset: at }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use commonware_runtime::{Runner as _, Supervisor as _, deterministic};

    fn opened(frames: &mut Vec<Vec<u8>>) -> impl FnMut(Place, &[u8]) {
        |_, payload| frames.push(payload.to_vec())
    }

    #[test]
    fn frames_come_back_in_order_and_by_place() {
        deterministic::Runner::default().start(|context| async move {
            let big = vec![7; 3 * READ];
            let mut none = Vec::new();
            let (mut journal, torn) = Journal::open(&context, "p", "j", opened(&mut none))
                .await
                .unwrap();
            assert_eq!((none.len(), torn), (0, 0));
            let places = journal.append(&[b"one", &big, b"three"]).await.unwrap();
            journal.sync().await.unwrap();
            assert_eq!(journal.read(places[1]).await.unwrap(), big);
            drop(journal);
            let mut frames = Vec::new();
            let (journal, torn) = Journal::open(&context, "p", "j", opened(&mut frames))
                .await
                .unwrap();
            assert_eq!(frames, [b"one".to_vec(), big, b"three".to_vec()]);
            assert_eq!(torn, 0);
            assert_eq!(journal.read(places[2]).await.unwrap(), b"three");
        });
    }

    #[test]
    fn a_torn_or_altered_end_is_cut_off_and_what_stands_before_it_stays() {
        let whole_frame = HEAD as u64 + 5;
        for (cut, flip) in [
            (1, None),
            (4, None),
            (whole_frame, None),
            (0, Some(2)),
            (0, Some(13)),
        ] {
            deterministic::Runner::default().start(|context| async move {
                let mut none = Vec::new();
                let (mut journal, _) = Journal::open(&context, "p", "j", opened(&mut none))
                    .await
                    .unwrap();
                journal.append(&[b"first"]).await.unwrap();
                journal.append(&[b"again"]).await.unwrap();
                journal.sync().await.unwrap();
                let end = journal.bytes();
                if let Some(flip) = flip {
                    let at = whole_frame + flip;
                    journal
                        .blob
                        .write_at(at, vec![0xff], WriteOptions::default())
                        .await
                        .unwrap();
                }
                journal.blob.resize(end - cut).await.unwrap();
                journal.sync().await.unwrap();
                drop(journal);
                let mut frames = Vec::new();
                let (mut journal, torn) = Journal::open(&context, "p", "j", opened(&mut frames))
                    .await
                    .unwrap();
                assert_eq!(frames, [b"first".to_vec()]);
                assert_eq!(torn, whole_frame - cut);
                // It goes on where the whole frames end.
                journal.append(&[b"other"]).await.unwrap();
                journal.sync().await.unwrap();
                drop(journal);
                let mut frames = Vec::new();
                Journal::open(&context.child("again"), "p", "j", opened(&mut frames))
                    .await
                    .unwrap();
                assert_eq!(frames, [b"first".to_vec(), b"other".to_vec()]);
            });
        }
    }
}

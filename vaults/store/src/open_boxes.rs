//! Opening boxes: reads frames in the order in which they lie on the disk, opens them on all cores, and hands the
//! operations on in that order while the next are being opened.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use tally_vault_format::{
    BoxBuffer, BoxError, FrameRef, KeyId, NamespaceId, OpId, Opened, Packer, open_box,
};
use tally_vault_state::{Fact, Operation};

use crate::environment::Environment;
use crate::fs::{Input, read_full};
use crate::keys::Keys;
use crate::set::{Set, Stored, StoredBox};

/// Frames that one thread takes at once.
const SHARE: usize = 32;
/// How much is read at once.
const WINDOW_LEN: usize = 1 << 20;

/// What became of one seal's boxes.
pub(crate) struct Outcome {
    /// The seal, by its row in the set.
    pub(crate) number: u32,
    /// The operations, once for each box that was opened: a second is opened only for bodies that the first lacks.
    pub(crate) operations: Vec<Vec<Operation>>,
    /// Operations whose bodies the best box lacks.
    pub(crate) bodiless: Vec<OpId>,
    /// Boxes that are not what was sealed, by their place among the seal's boxes.
    pub(crate) unreadable: Vec<(usize, String)>,
}

/// Reads frames one after the other from few files.
pub(crate) struct FrameReader<'a> {
    environment: &'a Environment,
    set: &'a Set,
    file: Option<(usize, Box<dyn Input>)>,
    start: u64,
    window: Vec<u8>,
}

/// Why a box was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenBoxError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Box(#[from] BoxError),
}

impl<'a> FrameReader<'a> {
    pub(crate) fn new(environment: &'a Environment, set: &'a Set) -> Self {
        Self {
            environment,
            set,
            file: None,
            start: 0,
            window: Vec::new(),
        }
    }

    /// The bytes of the frame around a box.
    pub(crate) fn read(&mut self, stored: &StoredBox) -> io::Result<&[u8]> {
        let len = stored.len as usize;
        if self
            .file
            .as_ref()
            .is_none_or(|(number, _)| *number != stored.file)
        {
            let input = self
                .environment
                .fs
                .open(&self.set.files[stored.file].path)?;
            self.file = Some((stored.file, input));
            self.window.clear();
            self.start = 0;
        }
        let (_, input) = self.file.as_ref().expect("opened above");
        let end = self.start + self.window.len() as u64;
        if stored.offset < self.start || stored.offset + u64::from(stored.len) > end {
            self.window.resize(len.max(WINDOW_LEN), 0);
            let filled = read_full(&**input, &mut self.window, stored.offset)?;
            self.window.truncate(filled);
            self.start = stored.offset;
        }
        let from = usize::try_from(stored.offset - self.start).expect("inside the window");
        self.window
            .get(from..from + len)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Opens a box of a seal, by its place among them.
    ///
    /// Neither the frame nor the hash of the box is checked again: under the seal that is kept in memory a box opens only to
    /// the operations that were sealed, wherever its bytes come from.
    pub(crate) fn open<'b>(
        &mut self,
        stored: &Stored,
        place: usize,
        keys: &Keys,
        buffer: &'b mut BoxBuffer,
    ) -> Result<Opened<'b>, OpenBoxError> {
        let (seal, one) = (&stored.seal, &stored.boxes[place]);
        let key = keys.get(&seal.namespace, &one.key);
        let packer = match one.rebox {
            None => Packer::Author,
            Some(_) => Packer::Anew,
        };
        let bytes = FrameRef::box_in(self.read(one)?, one.rebox.is_some());
        Ok(open_box(seal, packer, bytes, key, buffer)?)
    }
}

/// Numbers of keys, for choosing among boxes.
pub(crate) type KeyNumbers = HashMap<(NamespaceId, KeyId), u32>;

/// The boxes of a seal, best first; those whose key is not held, and those known to be unreadable, are left out.
pub(crate) fn ranked(stored: &Stored, keys: &Keys, numbers: &KeyNumbers) -> Vec<usize> {
    let namespace = stored.seal.namespace;
    let mut places: Vec<usize> = (0..stored.boxes.len())
        .filter(|place| {
            let one = &stored.boxes[*place];
            !one.unreadable
                && (namespace == NamespaceId::CONTROL || keys.get(&namespace, &one.key).is_some())
        })
        .collect();
    places.sort_by_key(|place| {
        let one = &stored.boxes[*place];
        let time = one
            .rebox
            .as_ref()
            .map_or(stored.seal.time, |rebox| rebox.time);
        let number = numbers.get(&(namespace, one.key)).copied().unwrap_or(0);
        std::cmp::Reverse((number, time, one.hash))
    });
    places
}

/// Opens the boxes of these seals, by their rows in the set, and passes what came of each to `take`, in the order of the list.
pub(crate) fn open_all(
    environment: &Environment,
    set: &Set,
    keys: &Keys,
    numbers: &KeyNumbers,
    seals: &[u32],
    mut take: impl FnMut(Outcome),
) {
    let shares: Vec<&[u32]> = seals.chunks(SHARE).collect();
    let work =
        |reader: &mut FrameReader<'_>, buffer: &mut BoxBuffer, share: &[u32]| -> Vec<Outcome> {
            share
                .iter()
                .map(|number| {
                    let (_, stored) = set.seals.row(*number);
                    open_one(reader, *number, stored, keys, numbers, buffer)
                })
                .collect()
        };
    let threads = environment.threads.get().min(shares.len());
    if threads <= 1 {
        let (mut reader, mut buffer) = (FrameReader::new(environment, set), BoxBuffer::new());
        for share in shares {
            work(&mut reader, &mut buffer, share)
                .into_iter()
                .for_each(&mut take);
        }
        return;
    }
    // The threads run ahead of the taker by a few shares each, so memory is bounded.
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let (send, receive) = mpsc::sync_channel::<(usize, Vec<Outcome>)>(threads * 4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let send = send.clone();
            let (next, stop, shares, work) = (&next, &stop, &shares, &work);
            scope.spawn(move || {
                let (mut reader, mut buffer) =
                    (FrameReader::new(environment, set), BoxBuffer::new());
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(share) = shares.get(index) else {
                        break;
                    };
                    if send
                        .send((index, work(&mut reader, &mut buffer, share)))
                        .is_err()
                    {
                        break;
                    }
                }
            });
        }
        drop(send);
        let mut waiting = BTreeMap::new();
        let mut wanted = 0;
        while let Ok((index, outcomes)) = receive.recv() {
            waiting.insert(index, outcomes);
            while let Some(outcomes) = waiting.remove(&wanted) {
                wanted += 1;
                outcomes.into_iter().for_each(&mut take);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn open_one(
    reader: &mut FrameReader<'_>,
    number: u32,
    stored: &Stored,
    keys: &Keys,
    numbers: &KeyNumbers,
    buffer: &mut BoxBuffer,
) -> Outcome {
    let mut outcome = Outcome {
        number,
        operations: Vec::with_capacity(1),
        bodiless: Vec::new(),
        unreadable: Vec::new(),
    };
    for place in ranked(stored, keys, numbers) {
        match reader.open(stored, place, keys, buffer) {
            Ok(opened) => {
                let mut operations: Vec<Operation> = Vec::with_capacity(opened.len());
                operations.extend(opened.iter().map(|one| Operation::new(one.id, &one.op)));
                let bodiless = operations
                    .iter()
                    .filter(|op| matches!(op.fact, Fact::Redacted));
                let bodiless: Vec<OpId> = bodiless.map(|op| op.id).collect();
                let whole = bodiless.is_empty();
                if outcome.operations.is_empty() {
                    outcome.bodiless = bodiless;
                }
                outcome.operations.push(operations);
                if whole {
                    break;
                }
            }
            Err(error) => outcome.unreadable.push((place, error.to_string())),
        }
    }
    outcome
}

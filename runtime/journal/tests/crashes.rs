//! What is left after a crash, a full disk or a short write: a prefix of what was written, with all that was synced.

mod common;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use proptest::prelude::*;
use tally_journal::{Body, Completeness, Journal, Seq, Sink, WriteError};

/// What a disk holds, as it would be found after the machine stopped.
#[derive(Debug, Default)]
struct Disk {
    /// Handed to the operating system.
    written: Vec<u8>,
    /// How much of that is durable.
    durable: usize,
    /// How many bytes still fit.
    room: Option<usize>,
    /// How many more operations succeed before the process dies.
    operations: Option<usize>,
}

impl Disk {
    fn operation(&mut self) -> io::Result<()> {
        match &mut self.operations {
            Some(0) => return Err(io::Error::other("the process was killed")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }
}

/// A sink that buffers like a file does, over a disk that fails as it is told.
#[derive(Debug)]
struct Faulty {
    disk: Rc<RefCell<Disk>>,
    buffer: Vec<u8>,
    buffer_len: usize,
}

impl Sink for Faulty {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.borrow_mut().operation()?;
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > self.buffer_len {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.operation()?;
        let fits = disk
            .room
            .map_or(self.buffer.len(), |room| room.min(self.buffer.len()));
        let buffer = std::mem::take(&mut self.buffer);
        disk.written.extend_from_slice(&buffer[..fits]);
        if let Some(room) = &mut disk.room {
            *room -= fits;
        }
        if fits < buffer.len() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        let mut disk = self.disk.borrow_mut();
        disk.operation()?;
        disk.durable = disk.written.len();
        Ok(())
    }
}

fn write(disk: Disk, buffer_len: usize) -> (Result<(), WriteError>, Disk) {
    let disk = Rc::new(RefCell::new(disk));
    let sink = Faulty {
        disk: Rc::clone(&disk),
        buffer: Vec::new(),
        buffer_len,
    };
    let result = common::write_all(sink, 7).map(|_| ());
    (result, Rc::try_unwrap(disk).unwrap().into_inner())
}

/// Whether what was found is a beginning of what should be there. None when not even the first entry is.
fn recovered(found: &[u8]) -> Option<Journal> {
    let whole = Journal::parse(common::ended(7)).unwrap();
    match Journal::recover(found) {
        Ok((journal, torn)) => {
            assert!(journal.len() <= whole.len());
            assert!(
                journal.entries().eq(whole
                    .entries()
                    .take(usize::try_from(journal.len()).unwrap()))
            );
            assert_eq!(torn.is_some(), Journal::parse(found).is_err());
            if let Some(torn) = torn {
                assert_eq!(torn.offset + torn.len, found.len());
            }
            Some(journal)
        }
        Err(fault) => {
            let beginning = [
                "journal.not-a-journal",
                "journal.cut-in-header",
                "journal.newer-format", // rubbish in the last bytes of the header
                "journal.older-format",
                "journal.unknown-format",
                "journal.empty",
            ];
            assert!(
                beginning.contains(&fault.code()) || fault.entry() == Some(Seq::GENESIS),
                "more than a beginning was lost: {fault}"
            );
            None
        }
    }
}

/// How many entries of a good journal end within its first `len` bytes.
fn entries_within(len: usize) -> u64 {
    let bytes = common::ended(7);
    common::frames(&bytes)
        .iter()
        .filter(|at| at.is_entry && at.end <= len)
        .count() as u64
}

#[test]
fn killed_after_any_operation_what_was_synced_is_there() {
    let (result, whole) = write(Disk::default(), 256);
    result.unwrap();
    assert_eq!(whole.written, common::ended(7));
    let mut died = 0;
    for operations in 0.. {
        let (result, disk) = write(
            Disk {
                operations: Some(operations),
                ..Disk::default()
            },
            256,
        );
        let Err(error) = result else { break };
        died += 1;
        assert!(matches!(error, WriteError::Io { .. }));
        // The process is gone, the operating system is not: everything written is found.
        let journal = recovered(&disk.written);
        let found = journal.as_ref().map_or(0, Journal::len);
        assert_eq!(found, entries_within(disk.written.len()));
        // The machine is gone: at least what was durable is found.
        let synced = recovered(&disk.written[..disk.durable]).map_or(0, |journal| journal.len());
        assert_eq!(synced, entries_within(disk.durable));
    }
    assert!(died > 20, "the run was killed at {died} points");
}

#[test]
fn with_a_full_disk_the_error_says_so_and_what_fits_is_readable() {
    let whole = common::ended(7);
    for room in (0..whole.len())
        .step_by(61)
        .chain(whole.len() - 40..whole.len())
    {
        let (result, disk) = write(
            Disk {
                room: Some(room),
                ..Disk::default()
            },
            100,
        );
        assert!(
            matches!(result, Err(WriteError::DiskFull { .. })),
            "room for {room}"
        );
        assert_eq!(disk.written, whole[..room]);
        let found = recovered(&disk.written).map_or(0, |journal| journal.len());
        assert_eq!(found, entries_within(room));
    }
}

#[test]
fn after_a_failed_write_nothing_more_is_taken() {
    let disk = Rc::new(RefCell::new(Disk {
        room: Some(2000),
        ..Disk::default()
    }));
    let sink = Faulty {
        disk: Rc::clone(&disk),
        buffer: Vec::new(),
        buffer_len: 0,
    };
    let mut writer = tally_journal::Writer::create(sink, &common::genesis(7)).unwrap();
    let error = loop {
        if let Err(error) = writer.call(&common::now(1)) {
            break error;
        }
    };
    assert!(matches!(error, WriteError::DiskFull { .. }));
    disk.borrow_mut().room = None;
    assert!(matches!(
        writer.call(&common::now(2)),
        Err(WriteError::Closed)
    ));
    assert!(matches!(writer.end(&common::END), Err(WriteError::Closed)));
    assert!(matches!(writer.flush(), Err(WriteError::Closed)));
    assert_eq!(disk.borrow().written.len(), 2000);
}

#[test]
fn an_intent_is_durable_before_its_call_can_be_made() {
    let disk = Rc::new(RefCell::new(Disk::default()));
    let sink = Faulty {
        disk: Rc::clone(&disk),
        buffer: Vec::new(),
        buffer_len: 1 << 20,
    };
    let mut writer = tally_journal::Writer::create(sink, &common::genesis(7)).unwrap();
    assert_eq!(disk.borrow().durable, 0);
    let seq = writer.intent(&common::CHAT).unwrap();
    let found = disk.borrow().written[..disk.borrow().durable].to_vec();
    let journal = Journal::parse(found).unwrap();
    assert!(matches!(journal.get(seq).unwrap().body, Body::Intent(_)));
    assert_eq!(journal.completeness(), Completeness::Open);
    assert_eq!(journal.in_doubt().collect::<Vec<_>>(), [seq]);
    assert!(tally_journal::view::summary(&journal).contains("not known to have happened"));
}

proptest! {
    /// What the disk had not made durable may be anything at all: old bytes, zeros, parts of it.
    #[test]
    fn rubbish_after_what_was_synced_loses_nothing_that_was(
        operations in 1..60usize, buffer_len in 0..2000usize, rubbish in prop::collection::vec(any::<u8>(), 0..300),
        kept in 0..400usize,
    ) {
        let (_, disk) = write(Disk { operations: Some(operations), ..Disk::default() }, buffer_len);
        let kept = disk.durable + kept.min(disk.written.len() - disk.durable);
        let mut found = disk.written[..kept].to_vec();
        found.extend_from_slice(&rubbish);
        let journal = recovered(&found);
        let len = journal.map_or(0, |journal| journal.len());
        prop_assert!(len >= entries_within(disk.durable));
        prop_assert!(len <= entries_within(kept));
    }

    #[test]
    fn zeros_after_what_was_synced_are_left_out(operations in 1..60usize, zeros in 1..5000usize) {
        let (_, disk) = write(Disk { operations: Some(operations), ..Disk::default() }, 0);
        let mut found = disk.written.clone();
        found.resize(found.len() + zeros, 0);
        let len = recovered(&found).map_or(0, |journal| journal.len());
        prop_assert_eq!(len, entries_within(disk.written.len()));
    }
}

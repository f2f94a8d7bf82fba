//! Journals in files: made once, for one writer, for their owner.
#![cfg(feature = "file")]

mod common;

use std::fs;

use tally_journal::{BUFFER_LEN, CreateError, FileSink, Journal, Sink};

#[test]
fn a_file_holds_what_memory_would() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.journal");
    let writer = common::write_all(FileSink::create(&path).unwrap(), 7).unwrap();
    assert_eq!(writer.sink().path(), path);
    assert_eq!(fs::read(&path).unwrap(), common::ended(7));
    assert!(
        common::large().len() > BUFFER_LEN,
        "one value went past the buffer"
    );
}

#[test]
fn a_journal_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.journal");
    fs::write(&path, b"mine").unwrap();
    let error = FileSink::create(&path).unwrap_err();
    assert!(matches!(error, CreateError::Exists { .. }), "{error}");
    assert!(error.to_string().contains("never overwritten"));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
}

#[test]
fn a_second_run_on_the_same_file_is_told_so_while_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.journal");
    let first = FileSink::create(&path).unwrap();
    assert!(matches!(
        FileSink::create(&path),
        Err(CreateError::InUse { .. })
    ));
    drop(first);
    assert!(matches!(
        FileSink::create(&path),
        Err(CreateError::Exists { .. })
    ));
}

#[test]
fn of_many_runs_at_once_one_gets_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.journal");
    let barrier = std::sync::Barrier::new(8);
    let won: Vec<_> = std::thread::scope(|scope| {
        let run = || {
            barrier.wait();
            FileSink::create(&path)
        };
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(won.iter().filter(|sink| sink.is_ok()).count(), 1);
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.journal");
    let _sink = FileSink::create(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_missing_folder_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = FileSink::create(&folder.path().join("no/run.journal")).unwrap_err();
    assert!(
        matches!(&error, CreateError::Io { .. }) && error.to_string().contains("run.journal"),
        "{error}"
    );
}

#[test]
fn what_was_appended_reaches_the_file_when_flushed_and_when_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.journal");
    let mut sink = FileSink::create(&path).unwrap();
    sink.append(b"one").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
    sink.flush().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"one");
    sink.append(b"two").unwrap();
    drop(sink);
    assert_eq!(fs::read(&path).unwrap(), b"onetwo");
}

#[test]
fn a_reader_may_look_while_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.journal");
    let mut writer =
        tally_journal::Writer::create(FileSink::create(&path).unwrap(), &common::genesis(7))
            .unwrap();
    writer.call(&common::now(1)).unwrap();
    writer.flush().unwrap();
    assert_eq!(Journal::parse(fs::read(&path).unwrap()).unwrap().len(), 2);
}

//! What was written is what is read.

mod common;

use common::{CHAT, END, ENTRIES, genesis, large, now};
use tally_journal::{Body, Completeness, Decision, Journal, MemorySink, Seq, WriteError, Writer};

#[test]
fn reads_every_kind_of_entry_as_written() {
    let writer = common::write_all(MemorySink::new(), 7).unwrap();
    let head = writer.head();
    let journal = Journal::parse(writer.into_sink().into_bytes()).unwrap();
    assert_eq!(journal.genesis(), &genesis(7));
    assert_eq!(journal.head(), head);
    assert_eq!(journal.len(), ENTRIES);
    assert_eq!(journal.completeness(), Completeness::Ended);
    assert_eq!(journal.end(), Some(END));
    assert_eq!(journal.in_doubt().collect::<Vec<_>>(), [Seq::new(9)]);
    assert_eq!(journal.get(Seq::new(1)).unwrap().body, Body::Call(now(100)));
    let Body::Call(denied) = journal.get(Seq::new(2)).unwrap().body else {
        panic!("entry 2 is a call")
    };
    assert!(matches!(denied.decision, Decision::Denied { .. }));
    let Body::Call(chat) = journal.get(Seq::new(4)).unwrap().body else {
        panic!("entry 4 is a call")
    };
    assert_eq!(
        (chat.intent, chat.request),
        (Some(Seq::new(3)), CHAT.request)
    );
    let Body::Call(tool) = journal.get(Seq::new(8)).unwrap().body else {
        panic!("entry 8 is a call")
    };
    assert_eq!(tool.request, large());
    assert_eq!(journal.receipts().count(), 1);
    assert!(journal.get(Seq::new(ENTRIES)).is_none());
}

#[test]
fn a_large_value_stands_in_the_file_once() {
    let bytes = common::ended(1);
    assert!(bytes.len() > large().len() && bytes.len() < 2 * large().len());
}

#[test]
fn writer_takes_nothing_after_the_end_but_one_seal() {
    let mut writer = common::write_all(MemorySink::new(), 1).unwrap();
    assert!(matches!(
        writer.call(&now(1)),
        Err(WriteError::OutOfOrder { .. })
    ));
    assert!(matches!(
        writer.end(&END),
        Err(WriteError::OutOfOrder { .. })
    ));
    writer.seal(b"{}").unwrap();
    assert!(matches!(
        writer.seal(b"{}"),
        Err(WriteError::OutOfOrder { .. })
    ));
}

#[test]
fn writer_refuses_a_seal_before_the_end() {
    let mut writer = Writer::create(MemorySink::new(), &genesis(1)).unwrap();
    assert!(matches!(
        writer.seal(b"{}"),
        Err(WriteError::OutOfOrder { .. })
    ));
}

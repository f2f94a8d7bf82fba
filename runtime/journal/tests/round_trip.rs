//! What was written is what is read.

mod common;

use common::{CHAT, END, ENTRIES, genesis, large, now};
use tally_journal::{
    Body, Completeness, Decision, Journal, MemorySink, Seq, SettledTerms, WriteError, Writer,
};

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
fn a_sealed_journal_reads_as_such_and_gives_its_seal_back() {
    let bytes = common::sealed(7);
    let journal = Journal::parse(&bytes[..]).unwrap();
    assert_eq!(journal.completeness(), Completeness::Sealed);
    assert_eq!(
        journal.seal().unwrap(),
        journal.run_receipt().unwrap().to_json()
    );
    assert_eq!(journal.bytes(), bytes);
}

#[test]
fn a_branch_names_where_it_left_its_parent() {
    let genesis = common::branch(3);
    let bytes = common::write_small(MemorySink::new(), &genesis)
        .into_sink()
        .into_bytes();
    assert_eq!(
        Journal::parse(bytes).unwrap().genesis().branch_of,
        genesis.branch_of
    );
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

#[test]
fn writer_refuses_an_answer_to_another_request_than_was_announced() {
    let mut writer = Writer::create(MemorySink::new(), &genesis(1)).unwrap();
    let seq = writer.intent(&CHAT).unwrap();
    let answer = common::answer_to(seq, &CHAT);
    let refused = |writer: &mut Writer<_>, call: &tally_journal::Call<'_>| {
        assert!(
            matches!(writer.call(call), Err(WriteError::OutOfOrder { .. })),
            "{call:?}"
        );
    };
    refused(
        &mut writer,
        &tally_journal::Call {
            request: b"\xa0",
            ..answer
        },
    );
    refused(
        &mut writer,
        &tally_journal::Call {
            intent: Some(Seq::new(0)),
            ..answer
        },
    );
    refused(
        &mut writer,
        &tally_journal::Call {
            function: "another",
            ..answer
        },
    );
    refused(
        &mut writer,
        &tally_journal::Call {
            frame: tally_journal::FrameId::new(1),
            ..answer
        },
    );
    writer.call(&answer).unwrap();
    refused(&mut writer, &answer);
    // What was refused left nothing behind.
    let journal = Journal::parse(writer.into_sink().into_bytes()).unwrap();
    assert_eq!(journal.len(), 3);
}

#[test]
fn writer_refuses_frames_that_are_not_open() {
    let mut writer = Writer::create(MemorySink::new(), &genesis(1)).unwrap();
    let enter = |frame, parent| tally_journal::Enter::<&[u8]> {
        frame: tally_journal::FrameId::new(frame),
        parent: tally_journal::FrameId::new(parent),
        component: common::digest(1),
        export: "x",
        request: b"\xa0",
        grant: b"{}",
    };
    for (frame, parent) in [(0, 0), (2, 0), (1, 1), (1, 7)] {
        assert!(
            matches!(
                writer.enter(&enter(frame, parent)),
                Err(WriteError::OutOfOrder { .. })
            ),
            "{frame} {parent}"
        );
    }
    writer.enter(&enter(1, 0)).unwrap();
    let close = |frame, by| tally_journal::Call {
        frame: tally_journal::FrameId::new(by),
        callee: Some(tally_journal::Callee {
            frame: tally_journal::FrameId::new(frame),
            fuel: 1,
        }),
        ..now(1)
    };
    assert!(
        writer.call(&close(1, 1)).is_err(),
        "a frame cannot close itself"
    );
    writer.call(&close(1, 0)).unwrap();
    assert!(writer.call(&close(1, 0)).is_err());
    assert!(writer.enter(&enter(1, 0)).is_err(), "a number is used once");
    writer.enter(&enter(2, 0)).unwrap();
}

#[test]
fn writer_refuses_what_is_too_long_or_unsorted_before_writing() {
    let long = "x".repeat(4097);
    let mut writer = Writer::create(MemorySink::new(), &genesis(1)).unwrap();
    let before = writer.sink().bytes().len();
    for call in [
        tally_journal::Call {
            decision: Decision::Allowed { rule: &long },
            ..now(1)
        },
        tally_journal::Call {
            decision: Decision::Denied {
                reason: &"x".repeat(4097),
            },
            ..now(1)
        },
    ] {
        assert!(matches!(
            writer.call(&call),
            Err(WriteError::TooLong { .. })
        ));
    }
    assert_eq!(writer.sink().bytes().len(), before);
    let mut twice = genesis(1);
    twice.models.push(twice.models[0].clone());
    assert!(matches!(
        Writer::create(MemorySink::new(), &twice),
        Err(WriteError::Unsorted { .. })
    ));
    for change in [
        |terms: &mut tally_journal::Terms| terms.limits.reverse(),
        |terms: &mut tally_journal::Terms| terms.functions.reverse(),
        |terms: &mut tally_journal::Terms| terms.functions[1] = terms.functions[0].clone(),
    ] {
        let mut terms = common::terms();
        change(&mut terms);
        assert!(matches!(
            SettledTerms::new(terms),
            Err(WriteError::Unsorted { .. })
        ));
    }
    for change in [
        |terms: &mut tally_journal::Terms| terms.grant = vec![b' '; (64 << 10) + 1],
        |terms: &mut tally_journal::Terms| terms.functions.push("x".repeat(257).into()),
    ] {
        let mut terms = common::terms();
        change(&mut terms);
        assert!(matches!(
            SettledTerms::new(terms),
            Err(WriteError::TooLong { .. })
        ));
    }
}

#[test]
fn writer_refuses_a_function_that_is_not_in_the_terms() {
    let mut writer = Writer::create(MemorySink::new(), &genesis(1)).unwrap();
    let before = writer.sink().bytes().len();
    let call = tally_journal::Call {
        function: "tally:agent/env@0.1.0#never",
        ..now(1)
    };
    let refused = writer.call(&call).unwrap_err().to_string();
    assert!(refused.contains("not in the terms"), "{refused}");
    let intent = tally_journal::Intent {
        function: "",
        ..CHAT
    };
    assert!(matches!(
        writer.intent(&intent),
        Err(WriteError::OutOfOrder { .. })
    ));
    assert_eq!(writer.sink().bytes().len(), before);
    writer.call(&now(1)).unwrap();
}

//! A journal that was altered, cut, swapped or could not be written is never taken for the real one.

mod common;

use common::*;
use std::io;
use std::sync::{Arc, Mutex};
use tally_engine::{
    Difference, EnvironmentError, JournalTo, Outcome, Plan, ReplayError, ReplayOptions,
    ReplayVerdict, RunError, Signing,
};
use tally_journal::{Completeness, Journal, MemorySink, Seq, Sink, Writer};
use tally_receipt::{Predicate, Receipt, SigningKey};

#[tokio::test]
async fn no_altered_byte_survives_reading_and_replay() {
    let report = run("receipt").await;
    let bytes = report.journal.unwrap().to_bytes();
    for i in 0..bytes.len() {
        for flip in [0x01, 0x80] {
            let mut altered = bytes.clone();
            altered[i] ^= flip;
            assert!(
                Journal::parse(altered).is_err(),
                "byte {i} altered by {flip:#x}"
            );
        }
    }
}

/// The journal of a run with entries rewritten and the chain made whole again: what a forger can do without a key.
fn forged(journal: &Journal, alter: impl Fn(&mut Vec<u8>, Seq)) -> Arc<Journal> {
    use tally_journal::Body;
    let mut writer = Writer::create(MemorySink::new(), journal.genesis()).unwrap();
    for entry in journal.entries() {
        match entry.body {
            Body::Call(call) => {
                let mut response = call.response.to_vec();
                alter(&mut response, entry.seq);
                writer
                    .call(&tally_journal::Call {
                        response: &response,
                        intent: None,
                        ..call
                    })
                    .unwrap();
            }
            Body::Enter(enter) => {
                writer.enter(&enter).unwrap();
            }
            Body::End(end) => {
                writer.end(&end).unwrap();
            }
            Body::Genesis | Body::Intent(_) => {}
        }
    }
    Arc::new(Journal::parse(writer.into_sink().into_bytes()).unwrap())
}

#[tokio::test]
async fn a_forged_answer_of_the_model_is_found_by_executing() {
    let report = run("prompt tell the truth").await;
    let journal = journal(&report);
    let forged = forged(&journal, |response, _| {
        if let Some(at) = response.windows(5).position(|window| window == b"truth") {
            response[at..at + 5].copy_from_slice(b"troth");
        }
    });
    assert_ne!(forged.head(), journal.head());
    let replay = ENGINE
        .replay(&forged, &AGENT, tools().await, ReplayOptions::default())
        .await
        .unwrap();
    let ReplayVerdict::Differs(divergence) = replay.verdict else {
        panic!("a lie was taken for the truth")
    };
    assert_eq!(divergence.what, Difference::Output);
    assert!(
        divergence.recorded.contains("truth") && divergence.now.contains("troth"),
        "{divergence}"
    );
}

#[tokio::test]
async fn a_forged_answer_of_a_tool_is_found_when_the_tool_is_at_hand() {
    let report = run("tool echo {\"say\":\"truth\"}").await;
    let journal = journal(&report);
    let forged = forged(&journal, |response, _| {
        if let Some(at) = response.windows(5).position(|window| window == b"truth") {
            response[at..at + 5].copy_from_slice(b"troth");
        }
    });
    let replay = ENGINE
        .replay(&forged, &AGENT, tools().await, ReplayOptions::default())
        .await
        .unwrap();
    assert!(
        matches!(&replay.verdict, ReplayVerdict::Differs(d) if d.what == Difference::ToolAnswer),
        "{}",
        replay.sentence()
    );
    // The honest journal without the tool's component: its answer is taken as recorded, and the report says so.
    let replay = ENGINE
        .replay(&journal, &AGENT, Vec::new(), ReplayOptions::default())
        .await
        .unwrap();
    assert_eq!(
        replay.verdict,
        ReplayVerdict::Identical,
        "{}",
        replay.sentence()
    );
    assert_eq!(replay.not_executed_again, [(1, TOOL.digest())]);
}

#[tokio::test]
async fn a_journal_cut_anywhere_is_replayed_to_the_cut() {
    let report = run("every-call name").await;
    let bytes = report.journal.unwrap().to_bytes();
    let whole = Journal::parse(bytes.clone()).unwrap().len();
    let mut cuts = 0;
    for len in (0..bytes.len()).step_by(61) {
        let Ok((journal, _)) = Journal::recover(&bytes[..len]) else {
            continue;
        };
        let journal = Arc::new(journal);
        assert_eq!(journal.completeness(), Completeness::Open);
        let replay = ENGINE
            .replay(&journal, &AGENT, tools().await, ReplayOptions::default())
            .await
            .unwrap();
        assert_eq!(
            replay.verdict,
            ReplayVerdict::IdenticalToCut,
            "cut at {len}: {}",
            replay.sentence()
        );
        assert!(replay.calls < whole);
        cuts += 1;
    }
    assert!(cuts > 10, "{cuts}");
}

#[tokio::test]
async fn another_component_is_named_as_such() {
    let report = run("every-call name").await;
    let other = ENGINE
        .load(&with_section(agent_bytes(), "note", b"rebuilt"), |_| {})
        .unwrap();
    let journal = journal(&report);
    let error = ENGINE
        .replay(&journal, &other, Vec::new(), ReplayOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ReplayError::OtherComponent { .. }),
        "{error}"
    );
    let error = ENGINE
        .replay(&journal, &TOOL, Vec::new(), ReplayOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ReplayError::NotAnAgent), "{error}");
    // Unless a changed agent is to be tested against it.
    let options = ReplayOptions {
        allow_other_component: true,
    };
    let replay = ENGINE
        .replay(&journal, &other, tools().await, options)
        .await
        .unwrap();
    assert!(
        replay.is_identical() && replay.other_component,
        "{}",
        replay.sentence()
    );
}

#[tokio::test]
async fn another_engine_is_named_as_such_and_not_as_tampering() {
    let report = run("hello there").await;
    let recorded = journal(&report);
    let mut genesis = recorded.genesis().clone();
    let mut terms = (**genesis.terms).clone();
    terms.engine.version = "99.0.0".into();
    genesis.terms = Arc::new(tally_journal::SettledTerms::new(terms).unwrap());
    let mut writer = Writer::create(MemorySink::new(), &genesis).unwrap();
    writer.end(&recorded.end().unwrap()).unwrap();
    let other = Arc::new(Journal::parse(writer.into_sink().into_bytes()).unwrap());
    let error = ENGINE
        .replay(&other, &AGENT, Vec::new(), ReplayOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ReplayError::OtherEngine { .. }), "{error}");
    assert!(error.to_string().contains("99.0.0"));
}

#[tokio::test]
async fn a_journal_of_another_input_differs_at_the_first_call() {
    let a = run("emit first").await;
    let b = run("emit second").await;
    let (a, b) = (journal(&a), journal(&b));
    let mut writer = Writer::create(MemorySink::new(), b.genesis()).unwrap();
    for entry in a.entries() {
        match entry.body {
            tally_journal::Body::Call(call) => drop(writer.call(&call).unwrap()),
            tally_journal::Body::End(end) => drop(writer.end(&end).unwrap()),
            _ => {}
        }
    }
    let mixed = Arc::new(Journal::parse(writer.into_sink().into_bytes()).unwrap());
    let replay = ENGINE
        .replay(&mixed, &AGENT, Vec::new(), ReplayOptions::default())
        .await
        .unwrap();
    let ReplayVerdict::Differs(divergence) = &replay.verdict else {
        panic!("{}", replay.sentence())
    };
    assert_eq!(
        (divergence.entry, divergence.what),
        (Some(Seq::new(1)), Difference::Request)
    );
    assert!(
        divergence.recorded.contains("first") && divergence.now.contains("second"),
        "{divergence}"
    );
}

/// A disk with room for so many bytes.
struct SmallDisk {
    room: usize,
    syncs: Arc<Mutex<Vec<usize>>>,
    written: usize,
}

impl Sink for SmallDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written + bytes.len() > self.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.written += bytes.len();
        Ok(())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        self.syncs.lock().unwrap().push(self.written);
        Ok(())
    }
}

#[tokio::test]
async fn a_full_disk_stops_the_run_and_nothing_is_shown_after() {
    let whole = run("every-call name").await.journal.unwrap().len();
    for room in (0..whole).step_by(97) {
        let screen = Screen::default();
        let mut start = start("every-call name");
        start.output = Box::new(screen.clone());
        start.journal = JournalTo::Sink(Box::new(SmallDisk {
            room,
            syncs: Arc::default(),
            written: 0,
        }));
        let error = ENGINE.run(&plan("").await, start).await.unwrap_err();
        assert!(
            matches!(
                error,
                RunError::JournalStart(_) | RunError::Environment(EnvironmentError::Journal(_))
            ),
            "{error}"
        );
        assert!(error.to_string().contains("no room on the disk"), "{error}");
        if room < 600 {
            assert_eq!(
                *screen.shown.lock().unwrap(),
                "",
                "nothing is shown before its entry is written"
            );
        }
    }
}

#[tokio::test]
async fn a_request_that_leaves_the_machine_is_durable_first() {
    let syncs = Arc::new(Mutex::new(Vec::new()));
    let mut remote = start("prompt hang");
    remote.services.inference = Arc::new(Scripted {
        leaves: true,
        ..Scripted::default()
    });
    remote.journal = JournalTo::Sink(Box::new(SmallDisk {
        room: usize::MAX,
        syncs: syncs.clone(),
        written: 0,
    }));
    let report = ENGINE
        .run(&plan(r#""wall-ms":200"#).await, remote)
        .await
        .unwrap();
    assert!(matches!(report.outcome, Outcome::Exhausted(_)));
    assert_eq!(
        syncs.lock().unwrap().len(),
        2,
        "once before the request, once at the end"
    );

    let mut local = start("prompt hang");
    let syncs = Arc::new(Mutex::new(Vec::new()));
    local.journal = JournalTo::Sink(Box::new(SmallDisk {
        room: usize::MAX,
        syncs: syncs.clone(),
        written: 0,
    }));
    ENGINE
        .run(&plan(r#""wall-ms":200"#).await, local)
        .await
        .unwrap();
    assert_eq!(
        syncs.lock().unwrap().len(),
        1,
        "a local model needs no such wait"
    );

    let mut remote = start("prompt some words");
    remote.services.inference = Arc::new(Scripted {
        leaves: true,
        ..Scripted::default()
    });
    let report = ENGINE.run(&plan("").await, remote).await.unwrap();
    assert_eq!(
        replay(&report).await.verdict,
        ReplayVerdict::Identical,
        "intents do not disturb replay"
    );
}

#[tokio::test]
async fn the_run_receipt_signs_the_head_of_the_journal() {
    let key = Arc::new(SigningKey::from_seed(&[9; 32]));
    let mut start = start("receipt");
    start.signing = Some(Signing::new(key.clone()));
    let report = ENGINE.run(&plan("").await, start).await.unwrap();
    let journal = journal(&report);
    assert_eq!(journal.completeness(), Completeness::Sealed);
    let receipt = Receipt::parse(journal.seal().unwrap()).unwrap();
    let Predicate::Run(run) = receipt.predicate() else {
        panic!("a run receipt")
    };
    assert_eq!(run.journal.head.as_bytes(), journal.head().hash.as_bytes());
    assert_eq!(run.journal.entries.get(), journal.head().entries);
    assert_eq!(run.runner, key.public_key());
    assert_eq!(run.component, AGENT.digest());
    assert_eq!(run.receipts, report.receipts);
    assert_eq!(run.receipts.len(), 1);
    let proof = report.proof.unwrap();
    assert_eq!(proof.receipt.digest(), receipt.digest());
    for opening in proof.openings.iter() {
        assert!(opening.opens(&run.input) || opening.opens(&run.output.unwrap()));
    }
}

#[tokio::test]
async fn receipts_link_and_nonces_differ() {
    let model = Arc::new(Scripted::default());
    let mut start = start("two");
    start.services.inference = model.clone();
    let plan: Plan = plan("").await;
    ENGINE.run(&plan, start).await.unwrap();
    let calls = model.calls.lock().unwrap();
    let contexts: Vec<_> = calls.iter().map(|(_, context)| context).collect();
    assert_eq!((contexts[0].step, contexts[1].step), (0, 1));
    assert_ne!(contexts[0].nonce, contexts[1].nonce);
    assert_eq!(contexts[0].run, contexts[1].run);
    assert_eq!(calls[0].0.model, "m", "the empty name is resolved");
}

#[tokio::test]
async fn a_journal_can_be_read_by_a_person() {
    let report = run("every-call name").await;
    let journal = journal(&report);
    let entries: Vec<_> = journal
        .entries()
        .map(|entry| tally_journal::view::to_json(&journal, &entry))
        .collect();
    assert_eq!(entries.len() as u64, journal.len());
    assert_eq!(entries[0]["input"]["text"], "every-call name");
    let chat = entries
        .iter()
        .find(|entry| entry["function"] == "tally:agent/inference@0.1.0#chat")
        .unwrap();
    assert_eq!(
        chat["request"]["request"]["messages"][0]["content"],
        "some words"
    );
    assert_eq!(chat["decision"]["allowed"], "models/*");
    let tool = entries
        .iter()
        .find(|entry| entry["kind"] == "enter")
        .unwrap();
    assert_eq!(tool["frame"], 1);
    assert_eq!(entries.last().unwrap()["kind"], "end");
}

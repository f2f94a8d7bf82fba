//! The memory as a guest sees it: bounded by manifest and grant like the vault it lies in, journaled, replayed without the
//! memory; and nobody but the person speaks for the person.

mod common;

use common::*;
use std::sync::{Arc, Mutex};
use tally_engine::contract::Error;
use tally_engine::contract::memory::{
    Forgotten, Hit, Layer, Portrait, Question, Recalled, Remembered, Source, Turn, Voice,
};
use tally_engine::{BoxFuture, Grant, Memory, Plan, ReplayOptions, RunReport};
use tally_journal::{Body, Decision, EntryHash};

/// A memory of turns as they came, which finds all of them and notes what it is asked.
#[derive(Default)]
struct Notebook {
    turns: Mutex<Vec<Turn>>,
    runs: Mutex<Vec<Option<EntryHash>>>,
    asked: Mutex<Vec<String>>,
}

fn id(number: usize) -> String {
    format!("{number:064x}")
}

impl Notebook {
    fn note(&self, what: &str) {
        self.asked.lock().unwrap().push(what.to_owned());
    }
}

impl Memory for Notebook {
    fn remember<'a>(
        &'a self,
        namespace: String,
        turns: Vec<Turn>,
        run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<Remembered, Error>> {
        Box::pin(async move {
            self.note(&format!("remember {namespace}"));
            self.runs.lock().unwrap().push(run);
            let mut kept = self.turns.lock().unwrap();
            let first = kept.len();
            kept.extend(turns);
            Ok(Remembered {
                ids: (first..kept.len()).map(id).collect(),
                known: 0,
                forgotten: 0,
                empty: 0,
                secrets: Vec::new(),
            })
        })
    }

    fn recall<'a>(
        &'a self,
        namespace: String,
        question: Question,
    ) -> BoxFuture<'a, Result<Recalled, Error>> {
        Box::pin(async move {
            self.note(&format!("recall {namespace}"));
            let score = if question.text == "nan" {
                f32::NAN
            } else {
                1.5
            };
            let hits: Vec<Hit> = self
                .turns
                .lock()
                .unwrap()
                .iter()
                .enumerate()
                .map(|(number, turn)| Hit {
                    id: id(number),
                    layer: Layer::Episode,
                    corrected: false,
                    text: turn.text.clone(),
                    speaker: turn.speaker.clone().unwrap_or_default(),
                    voice: turn.voice,
                    said_at: "2026-11-29T00:00:00Z".into(),
                    begins: None,
                    ends: None,
                    categories: Vec::new(),
                    confidence: None,
                    evidence: Vec::new(),
                    source: Source {
                        app: "probe".into(),
                        thread: turn.thread.clone(),
                        operation: id(1000 + number),
                        author: "ab".repeat(32),
                        run: None,
                        receipt: None,
                    },
                    score,
                    tokens: 3,
                })
                .collect();
            Ok(Recalled {
                context: hits.iter().map(|hit| hit.text.clone()).collect(),
                tokens: 3,
                abstain: hits.is_empty(),
                hits,
            })
        })
    }

    fn profile<'a>(&'a self, namespace: String) -> BoxFuture<'a, Result<Portrait, Error>> {
        Box::pin(async move {
            self.note(&format!("profile {namespace}"));
            Ok(Portrait {
                bio: String::new(),
                lines: Vec::new(),
            })
        })
    }

    fn correct<'a>(
        &'a self,
        namespace: String,
        _id: String,
        text: String,
        _why: String,
        run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<String, Error>> {
        Box::pin(async move {
            self.note(&format!("correct {namespace} {text}"));
            self.runs.lock().unwrap().push(run);
            Ok(id(99))
        })
    }

    fn forget<'a>(
        &'a self,
        namespace: String,
        ids: Vec<String>,
        _reason: String,
        run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<Forgotten, Error>> {
        Box::pin(async move {
            self.note(&format!("forget {namespace}"));
            self.runs.lock().unwrap().push(run);
            Ok(Forgotten {
                ids,
                unproved: Vec::new(),
                remains: Vec::new(),
            })
        })
    }
}

const CURATE: &str = r#""vault-curate":["diary"]"#;
const APPEND: &str = r#""vault-append":["diary"]"#;
const READ: &str = r#""vault-read":["diary"]"#;

fn plan_with(capabilities: &str) -> Plan {
    let grant =
        Grant::from_json(format!(r#"{{"format":1,"capabilities":{{{capabilities}}}}}"#).as_bytes())
            .unwrap();
    Plan::new(&ENGINE, &AGENT, &grant, Vec::new(), [].into()).unwrap()
}

async fn with(memory: &Arc<Notebook>, capabilities: &str, command: &str) -> RunReport {
    let mut start = start(command);
    start.services.memory = memory.clone();
    ENGINE.run(&plan_with(capabilities), start).await.unwrap()
}

async fn fresh(capabilities: &str, command: &str) -> (Arc<Notebook>, RunReport) {
    let memory = Arc::new(Notebook::default());
    let report = with(&memory, capabilities, command).await;
    (memory, report)
}

#[tokio::test]
async fn an_agent_remembers_recalls_corrects_and_forgets_and_a_replay_needs_no_memory() {
    let (memory, report) = fresh(CURATE, "memory-story").await;
    assert_eq!(reply(&report), "2 2 0 64 2");
    assert_eq!(
        *memory.asked.lock().unwrap(),
        [
            "remember diary",
            "recall diary",
            "profile diary",
            "correct diary ",
            "forget diary"
        ]
    );
    let parsed = journal(&report);
    let first = parsed.entries().next().expect("a journal begins");
    let runs = memory.runs.lock().unwrap().clone();
    assert_eq!(
        runs,
        [Some(first.hash); 3],
        "each write names the run by the first entry of its journal"
    );
    let again = ENGINE
        .replay(&parsed, &AGENT, Vec::new(), ReplayOptions::default())
        .await
        .unwrap();
    assert!(again.is_identical(), "{again:?}");
    assert_eq!(
        memory.asked.lock().unwrap().len(),
        5,
        "the replay asked nothing"
    );
}

#[tokio::test]
async fn the_journal_names_what_the_agent_was_told() {
    let memory = Arc::new(Notebook::default());
    with(&memory, APPEND, "memory-say I row.").await;
    let report = with(&memory, READ, "memory-recall who rows?").await;
    let journal = journal(&report);
    let told = journal
        .entries()
        .find_map(|entry| match entry.body {
            Body::Call(call) if call.function.ends_with("memory@0.1.0#recall") => {
                Some(call.response.to_vec())
            }
            _ => None,
        })
        .expect("the recall is journaled");
    for name in [id(0), id(1000), "ab".repeat(32)] {
        assert!(
            told.windows(name.len())
                .any(|window| window == name.as_bytes()),
            "memory, operation and author are in the answer: {name}"
        );
    }
}

#[tokio::test]
async fn a_branch_goes_on_with_the_memory_of_whoever_branches() {
    let memory = Arc::new(Notebook::default());
    let report = with(&memory, CURATE, "memory-story").await;
    let journal = journal(&report);
    let remembered = journal
        .entries()
        .find(
            |entry| matches!(entry.body, Body::Call(call) if call.function.ends_with("#remember")),
        )
        .map(|entry| entry.seq)
        .expect("it remembered");
    let other = Arc::new(Notebook::default());
    let mut start = start("");
    start.services.memory = other.clone();
    let branch = ENGINE
        .branch(&journal, remembered, &plan_with(CURATE), start)
        .await
        .unwrap();
    // What was remembered before is in the parent's memory and not in this one.
    assert_eq!(reply(&branch), "2 0 0 64 2");
    assert_eq!(
        *other.asked.lock().unwrap(),
        [
            "recall diary",
            "profile diary",
            "correct diary ",
            "forget diary"
        ]
    );
}

#[tokio::test]
async fn a_write_is_announced_before_it_happens_and_a_question_is_not() {
    let intents = |report: &RunReport| {
        journal(report)
            .entries()
            .filter(|entry| matches!(entry.body, Body::Intent(_)))
            .count()
    };
    let (_, report) = fresh(APPEND, "memory-say I row.").await;
    assert_eq!((reply(&report), intents(&report)), ("Ok(1)", 1));
    let (_, report) = fresh(READ, "memory-recall who rows?").await;
    assert_eq!((reply(&report), intents(&report)), ("Ok(\"\")", 0));
}

#[tokio::test]
async fn what_is_not_granted_is_refused_and_the_memory_is_not_asked() {
    let forget = format!("memory-forget {}", id(1));
    let correct = format!("memory-correct {}", id(1));
    for (capabilities, command, reason) in [
        (
            "",
            "memory-recall who?",
            "reading the namespace \"diary\" is not granted",
        ),
        (
            READ,
            "memory-say I row.",
            "appending to the namespace \"diary\" is not granted",
        ),
        (
            APPEND,
            &forget,
            "curating the namespace \"diary\" is not granted",
        ),
        (
            APPEND,
            &correct,
            "curating the namespace \"diary\" is not granted",
        ),
    ] {
        let (memory, report) = fresh(capabilities, command).await;
        assert!(
            reply(&report).contains("Denied"),
            "{command}: {}",
            reply(&report)
        );
        assert_eq!(report.denials[0].reason, reason, "{command}");
        assert!(memory.asked.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn only_the_text_of_the_input_is_in_the_persons_words() {
    let (memory, report) = fresh(APPEND, "memory-say I row.").await;
    assert_eq!(reply(&report), "Ok(1)");
    let turn = memory.turns.lock().unwrap()[0].clone();
    assert_eq!(
        (turn.voice, turn.text.as_str()),
        (Voice::User, "memory-say I row.")
    );
    // A part of it is not: half a sentence can say the opposite.
    let correct = format!("memory-correct {} I hate tea.", id(1));
    for command in ["memory-put I love tea.", "memory-put I", &correct] {
        let (memory, report) = fresh(CURATE, command).await;
        assert!(
            reply(&report).contains("Denied"),
            "{command}: {}",
            reply(&report)
        );
        assert!(
            report.denials[0]
                .reason
                .starts_with("speaking for the person"),
            "{:?}",
            report.denials
        );
        let journal = journal(&report);
        let entry = journal.get(report.denials[0].entry.unwrap()).unwrap();
        assert!(matches!(
            entry.body,
            Body::Call(call) if matches!(call.decision, Decision::Denied { .. })
        ));
        assert!(memory.asked.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn malformed_requests_reach_no_memory() {
    for command in [
        "memory-turn named-user",
        "memory-turn dated-user",
        "memory-turn nameless-person",
        "memory-recall  ",
        "memory-recall-many 257",
        "memory-correct abc",
        "memory-forget abc",
    ] {
        let (memory, report) = fresh(CURATE, command).await;
        assert!(
            reply(&report).contains("Invalid") || reply(&report) == "false",
            "{command}: {}",
            reply(&report)
        );
        assert!(memory.asked.lock().unwrap().is_empty(), "{command}");
    }
}

#[tokio::test]
async fn a_score_that_is_no_number_is_not_handed_out() {
    let memory = Arc::new(Notebook::default());
    with(&memory, APPEND, "memory-say I row.").await;
    let report = with(&memory, READ, "memory-recall nan").await;
    assert!(reply(&report).contains("Failed"), "{}", reply(&report));
}

#[tokio::test]
async fn without_a_vault_there_is_no_memory_and_the_agent_is_told() {
    let report = ENGINE
        .run(&plan_with(READ), start("memory-recall who?"))
        .await
        .unwrap();
    assert!(
        reply(&report).contains("started without a vault"),
        "{}",
        reply(&report)
    );
}

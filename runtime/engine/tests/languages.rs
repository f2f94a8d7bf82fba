//! The same contract in every language: Rust in the native pool, JavaScript and Python in the interpreted one.
//!
//! The components come from `$TALLY_COMPONENTS`, where `scripts/components.sh` has built them (`make test` does). Building
//! them needs Node and componentize-py, so without that folder these tests say that they tried nothing and pass.

mod common;

use common::*;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::LazyLock;
use tally_engine::contract::{Error, Input};
use tally_engine::{
    Component, Engine, EngineOptions, Exhausted, Grant, Outcome, Plan, PoolKind, ReplayOptions,
    ReplayReport, ReplayVerdict, RunReport, Start, ToolPlugin,
};
use tally_journal::{Body, Journal};

/// One for all tests of this file: Python takes seconds to compile, and the second to ask finds it in the cache.
static ENGINE: LazyLock<(tempfile::TempDir, Engine)> = LazyLock::new(|| {
    let cache = tempfile::tempdir().expect("a folder for compiled code");
    let options = EngineOptions {
        cache_dir: Some(cache.path().to_owned()),
        ..small()
    };
    let engine = Engine::new(&options).expect("address space for ten agents");
    (cache, engine)
});

fn engine() -> &'static Engine {
    &ENGINE.1
}

/// The folder of components. Where there is none, whoever looks at the output of the tests sees it.
fn components() -> Option<PathBuf> {
    let folder = std::env::var_os("TALLY_COMPONENTS").map(PathBuf::from);
    if folder.is_none() {
        // Not `eprintln`, which the test harness keeps from people when a test passes.
        let _ = writeln!(
            std::io::stderr(),
            "\nNOT TESTED: agents in JavaScript and Python, for want of components. Build them with `make components` and \
             name the folder in TALLY_COMPONENTS; `make test` does both.\n"
        );
    }
    folder
}

fn load(folder: &std::path::Path, name: &str) -> Component {
    let path = folder.join(format!("{name}.wasm"));
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make components`", path.display()));
    engine().load(&bytes, |_| {}).unwrap()
}

/// The agent that makes four host calls (`now`, `random`, `setting`, `log`), in each language.
fn benches() -> Vec<(&'static str, Component)> {
    let Some(folder) = components() else {
        return Vec::new();
    };
    ["bench-guest", "bench-guest-js", "bench-guest-python"]
        .map(|name| (name, load(&folder, name)))
        .into()
}

fn plan_of(component: &Component, grant: &Grant, tools: Vec<ToolPlugin>) -> Plan {
    let settings = BTreeMap::from([("name".to_owned(), "value".to_owned())]);
    Plan::new(engine(), component, grant, tools, settings).unwrap()
}

async fn run_with(component: &Component, grant: &Grant, input: &str) -> RunReport {
    let plan = plan_of(component, grant, Vec::new());
    engine().run(&plan, start(input)).await.unwrap()
}

async fn replay_of(
    report: &RunReport,
    component: &Component,
    tools: Vec<ToolPlugin>,
) -> ReplayReport {
    engine()
        .replay(&journal(report), component, tools, ReplayOptions::default())
        .await
        .unwrap()
}

async fn replays(report: &RunReport, component: &Component, name: &str) {
    let replay = replay_of(report, component, Vec::new()).await;
    assert_eq!(
        replay.verdict,
        ReplayVerdict::Identical,
        "{name}: {}",
        replay.sentence()
    );
}

#[tokio::test]
async fn an_agent_in_each_language_runs_and_replays_identically() {
    for (name, component) in benches() {
        let pool = match name {
            "bench-guest" => PoolKind::Native,
            _ => PoolKind::Interpreted,
        };
        assert_eq!(component.pool(), pool, "{name}");
        let report = run_with(&component, &grant(""), "hello").await;
        assert!(reply(&report).starts_with("value"), "{name}: {report:?}");
        assert_eq!(report.used.calls, 4, "{name}");
        replays(&report, &component, name).await;
        // What the agent is told is the same, so everything it does is: journal, hashes and fuel.
        let again = run_with(&component, &grant(""), "hello").await;
        assert!(report.journal == again.journal, "{name}: two journals");
    }
}

#[tokio::test]
async fn a_denial_is_a_typed_error_in_each_language() {
    let without_chance =
        Grant::from_json(br#"{"format":1,"capabilities":{"settings":["*"]}}"#).unwrap();
    for (name, component) in benches() {
        let report = run_with(&component, &without_chance, "hello").await;
        assert!(
            matches!(&report.outcome, Outcome::Failed(Error::Denied(_))),
            "{name}: {:?}",
            report.outcome
        );
        assert_eq!(report.denials.len(), 1, "{name}");
        let entry = report.denials[0].entry.expect("a journal was written");
        let journal = journal(&report);
        let body = journal.get(entry).unwrap().body;
        assert!(
            matches!(body, Body::Call(call) if call.function == "tally:agent/env@0.1.0#random"),
            "{name}: {body:?}"
        );
        replays(&report, &component, name).await;
    }
}

#[tokio::test]
async fn limits_end_an_agent_in_each_language_by_name() {
    for (name, component) in benches() {
        for (budgets, limit) in [
            (r#""fuel":2000"#, Exhausted::Fuel),
            (r#""memory-bytes":65536"#, Exhausted::Memory),
            (r#""calls":2"#, Exhausted::Calls),
            (r#""output-bytes":3"#, Exhausted::OutputBytes),
        ] {
            let report = run_with(&component, &grant(budgets), "hello").await;
            assert_eq!(report.outcome, Outcome::Exhausted(limit), "{name}");
            replays(&report, &component, name).await;
        }
    }
}

#[tokio::test]
async fn more_agents_than_slots_wait_for_one_in_each_language() {
    for (name, component) in benches() {
        let plan = plan_of(&component, &grant(""), Vec::new());
        // Eight native slots, two for interpreters.
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let plan = plan.clone();
            running.spawn(async move { engine().run(&plan, start("hello")).await });
        }
        while let Some(done) = running.join_next().await {
            let report = done.unwrap().unwrap();
            assert!(reply(&report).starts_with("value"), "{name}");
        }
    }
}

/// Runs a sample agent with the tools of `text-tools` and the model that repeats its prompt.
async fn sample(
    folder: &std::path::Path,
    name: &str,
    input: &str,
) -> (Component, RunReport, ReplayReport) {
    let component = load(folder, name);
    let tool = load(folder, "text-tools");
    let tools = async || {
        vec![
            ToolPlugin::new(engine(), "text-tools", tool.clone(), &grant(""))
                .await
                .unwrap(),
        ]
    };
    let plan = plan_of(
        &component,
        &Grant::as_asked(component.manifest()),
        tools().await,
    );
    let start = Start {
        input: Input::text(input),
        ..start("")
    };
    let report = engine().run(&plan, start).await.unwrap();
    let replay = replay_of(&report, &component, tools().await).await;
    (component, report, replay)
}

/// Frames of tools that a journal has.
fn tool_runs(journal: &Journal) -> usize {
    journal
        .entries()
        .filter(|entry| matches!(entry.body, Body::Enter(_)))
        .count()
}

#[tokio::test]
async fn a_python_agent_calls_a_model_and_a_tool_and_replays_identically() {
    let Some(folder) = components() else { return };
    let list = "Trip\nBudget: 400 EUR\n- two nights: 2 * 80\n- train: 60 + 55\n";
    let (_, report, replay) = sample(&folder, "plan-with-a-tool", list).await;
    let text = reply(&report);
    assert!(
        text.contains("Total: 275 EUR") && text.contains("Left of 400: 125"),
        "{text}"
    );
    assert_eq!(
        replay.verdict,
        ReplayVerdict::Identical,
        "{}",
        replay.sentence()
    );
    assert!(replay.not_executed_again.is_empty());
    assert_eq!(report.receipts.len(), 2, "one for each item");
    assert!(tool_runs(&journal(&report)) >= 4);
}

#[tokio::test]
async fn a_javascript_agent_calls_a_model_and_a_tool_and_replays_identically() {
    let Some(folder) = components() else { return };
    let text = "Concert in Ghent on 2026-12-01 at 20:00";
    let (component, report, replay) = sample(&folder, "review-against-a-schema", text).await;
    // The model repeats its prompt, which is no JSON: the agent says so, whichever way it ends.
    assert!(
        matches!(report.outcome, Outcome::Replied(_) | Outcome::Failed(_)),
        "{:?}",
        report.outcome
    );
    assert_eq!(report.receipts.len(), 1);
    assert_eq!(
        replay.verdict,
        ReplayVerdict::Identical,
        "{}",
        replay.sentence()
    );
    // The same journal against another agent is named, not executed.
    let folder = components().expect("it was there");
    let other = load(&folder, "bench-guest-js");
    assert_ne!(component.digest(), other.digest());
    let error = engine()
        .replay(
            &journal(&report),
            &other,
            Vec::new(),
            ReplayOptions::default(),
        )
        .await
        .unwrap_err();
    assert!(error.to_string().contains("component"), "{error}");
}

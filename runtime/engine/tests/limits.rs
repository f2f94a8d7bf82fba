//! Every limit ends a run, or a call, in a way that is named, and leaves nothing running.

mod common;

use common::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tally_engine::contract::{Attachment, Input};
use tally_engine::{
    Engine, EngineOptions, Exhausted, JournalTo, Outcome, Plan, ReplayOptions, ReplayVerdict,
    RunError,
};
use tally_journal::{Completeness, Journal};

async fn ends(command: &str, budgets: &str, limit: Exhausted) {
    let report = run_within(command, budgets).await;
    assert_eq!(report.outcome, Outcome::Exhausted(limit), "{command}");
    let journal = journal(&report);
    assert_eq!(journal.completeness(), Completeness::Ended, "{command}");
    assert_eq!(
        journal.end().unwrap().outcome,
        tally_journal::Outcome::Exhausted {
            limit: limit.name()
        },
        "{command}"
    );
}

#[tokio::test]
async fn an_endless_loop_runs_out_of_fuel() {
    ends("loop", r#""fuel":20000000"#, Exhausted::Fuel).await;
}

#[tokio::test]
async fn a_memory_bomb_stops_at_its_limit() {
    ends("memory", r#""memory-bytes":30000000"#, Exhausted::Memory).await;
    let report = run_within("memory", r#""memory-bytes":30000000"#).await;
    assert!(report.used.memory_bytes <= 30_000_000);
}

#[tokio::test]
async fn an_agent_too_large_for_its_limit_does_not_start() {
    ends("hello", r#""memory-bytes":65536"#, Exhausted::Memory).await;
}

#[tokio::test]
async fn recursion_ends_at_the_stack() {
    ends("recurse", "", Exhausted::Stack).await;
}

#[tokio::test]
async fn floods_end_at_their_limits() {
    ends(
        "log-flood",
        r#""output-bytes":200000"#,
        Exhausted::OutputBytes,
    )
    .await;
    ends(
        "print-flood",
        r#""output-bytes":200000"#,
        Exhausted::OutputBytes,
    )
    .await;
    ends("calls 1000", r#""calls":100"#, Exhausted::Calls).await;
    ends(
        "big-reply 9000000",
        r#""request-bytes":1000000"#,
        Exhausted::RequestBytes,
    )
    .await;
    let report = run_within("flood", r#""output-bytes":200000"#).await;
    assert!(
        matches!(&report.outcome, Outcome::Failed(error) if error.sentence().contains("output-bytes")),
        "{report:?}"
    );
    assert!(report.used.output_bytes <= 200_000);
}

#[tokio::test]
async fn wall_time_counts_computing_and_waiting() {
    for command in [
        "loop",
        "prompt hang",
        "prompt hang-later please",
        "tool spin",
    ] {
        let report = run_within(command, r#""wall-ms":300,"fuel":900000000000000"#).await;
        assert_eq!(
            report.outcome,
            Outcome::Exhausted(Exhausted::WallTime),
            "{command}"
        );
        // What was recorded up to there can be repeated, without waiting.
        let replay = replay(&report).await;
        assert_eq!(
            replay.verdict,
            ReplayVerdict::IdenticalToCut,
            "{command}: {}",
            replay.sentence()
        );
    }
}

#[tokio::test]
async fn a_model_that_never_answers_is_a_typed_error_to_the_agent() {
    let report = run_within("chat-result hang", r#""call-wall-ms":100"#).await;
    assert!(
        reply(&report).starts_with("Error::Unavailable"),
        "{}",
        reply(&report)
    );
    let report = run_within("chat-result hang-later now", r#""call-wall-ms":100"#).await;
    assert!(
        reply(&report).starts_with("Error::Unavailable"),
        "{}",
        reply(&report)
    );
    assert_eq!(replay(&report).await.verdict, ReplayVerdict::Identical);
}

#[tokio::test]
async fn nothing_is_left_running() {
    let model = Arc::new(Scripted::default());
    for command in ["drop", "prompt hang-later on", "two", "handles"] {
        let mut start = start(command);
        start.services.inference = model.clone();
        ENGINE
            .run(&plan(r#""wall-ms":300"#).await, start)
            .await
            .unwrap();
        assert_eq!(model.running.load(Ordering::SeqCst), 0, "{command}");
    }
    let mut start = start("prompt hang-later on");
    start.services.inference = model.clone();
    let plan = plan("").await;
    let run = ENGINE.run(&plan, start);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), run)
            .await
            .is_err(),
        "it hangs until it is dropped"
    );
    assert_eq!(
        model.running.load(Ordering::SeqCst),
        0,
        "a dropped run cancels its generations"
    );
}

#[tokio::test]
async fn a_run_can_be_stopped_in_order() {
    let mut start = start("prompt hang-later on");
    start.cancel = Some(Box::pin(tokio::time::sleep(Duration::from_millis(100))));
    let report = ENGINE.run(&plan("").await, start).await.unwrap();
    assert_eq!(report.outcome, Outcome::Cancelled);
    assert_eq!(
        journal(&report).end().unwrap().outcome,
        tally_journal::Outcome::Cancelled
    );
    assert_eq!(replay(&report).await.verdict, ReplayVerdict::IdenticalToCut);
}

#[tokio::test]
async fn tokens_and_handles_are_counted() {
    assert_eq!(
        reply(&run_within("tokens", r#""tokens":35"#).await),
        "4 Error::Exhausted(ResourceKind::Tokens)"
    );
    let handles = run_within("handles", r#""handles":5"#).await;
    assert_eq!(reply(&handles), "5 Error::Exhausted(ResourceKind::Handles)");
    assert_eq!(replay(&handles).await.verdict, ReplayVerdict::Identical);
    // Dropping a generation does not give back what it might have used.
    assert_eq!(run("drop").await.used.tokens, 100);
}

#[tokio::test]
async fn a_request_too_large_is_refused_to_the_agent() {
    let report = run_within("big-request 2000000", r#""request-bytes":1000000"#).await;
    assert_eq!(
        reply(&report),
        "Error::Exhausted(ResourceKind::RequestBytes)"
    );
    let journal = report.journal.as_ref().unwrap();
    assert!(
        journal.len() < 100_000,
        "the request itself is not kept: {}",
        journal.len()
    );
}

#[tokio::test]
async fn an_input_of_a_hundred_megabytes_is_refused_with_a_sentence() {
    let huge = "x".repeat(100 << 20);
    let mut start = start("");
    start.input.attachments.push(Attachment {
        name: "a".into(),
        media_type: "text/plain".into(),
        text: huge,
    });
    let error = ENGINE.run(&plan("").await, start).await.unwrap_err();
    assert!(
        matches!(
            error,
            RunError::InputTooLarge {
                len: 104_857_611,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("shorten it"));
}

#[tokio::test]
async fn lies_in_the_binary_interface_end_the_agent_only() {
    for command in ["lie", "lying-reply"] {
        let report = run(command).await;
        assert!(
            matches!(&report.outcome, Outcome::Trapped(reason) if reason.contains("utf-8")),
            "{:?}",
            report.outcome
        );
    }
    assert_eq!(reply(&run("hello again").await), "hello again");
}

#[tokio::test]
async fn a_panic_says_what_happened() {
    let screen = Screen::default();
    let mut start = start("panic here");
    start.output = Box::new(screen.clone());
    let report = ENGINE.run(&plan("").await, start).await.unwrap();
    assert!(
        matches!(&report.outcome, Outcome::Trapped(reason) if reason.contains("unreachable")),
        "{report:?}"
    );
    let log = screen.log.lock().unwrap().clone();
    assert!(
        log.iter()
            .any(|(frame, _, line)| *frame == 0 && line.contains("on purpose: here")),
        "{log:?}"
    );
    assert!(
        matches!(run("exit 7").await.outcome, Outcome::Trapped(reason) if reason == "it called exit(1)")
    );
    assert!(matches!(run("fail so").await.outcome, Outcome::Failed(_)));
}

#[tokio::test]
async fn runs_wait_when_the_pool_is_full() {
    let engine = Engine::new(&EngineOptions {
        native_slots: 2,
        ..small()
    })
    .unwrap();
    let agent = engine.load(&agent_bytes(), |_| {}).unwrap();
    let plan = Plan::new(&engine, &agent, &grant(""), Vec::new(), Default::default()).unwrap();
    let mut running = tokio::task::JoinSet::new();
    for i in 0..16 {
        let (engine, plan) = (engine.clone(), plan.clone());
        running.spawn(async move {
            let report = engine
                .run(&plan, start(&format!("prompt word {i}")))
                .await
                .unwrap();
            reply(&report).to_owned()
        });
    }
    let mut replies = running.join_all().await;
    replies.sort();
    assert_eq!(replies.len(), 16);
    assert!(replies.contains(&"word 15 ".to_owned()));
}

#[tokio::test]
async fn agents_that_fill_the_pool_can_still_call_tools() {
    let engine = Engine::new(&EngineOptions {
        native_slots: 1,
        ..small()
    })
    .unwrap();
    let agent = engine.load(&agent_bytes(), |_| {}).unwrap();
    let tool = engine.load(&tool_bytes(), |_| {}).unwrap();
    let tool = tally_engine::ToolPlugin::new(&engine, "t", tool, &grant(""))
        .await
        .unwrap();
    let plan = Plan::new(&engine, &agent, &grant(""), vec![tool], Default::default()).unwrap();
    let (a, b) = tokio::join!(
        engine.run(&plan, start("tool echo {\"a\":1}")),
        engine.run(&plan, start("tool echo {\"b\":2}"))
    );
    assert_eq!(
        (reply(&a.unwrap()), reply(&b.unwrap())),
        ("{\"a\":1}", "{\"b\":2}")
    );
}

#[tokio::test]
async fn a_tool_uses_what_is_left_of_its_caller_and_no_more() {
    let spin = run_within("tool spin", r#""fuel":40000000"#).await;
    assert_eq!(
        spin.outcome,
        Outcome::Exhausted(Exhausted::Fuel),
        "the tool used up what its caller had"
    );
    assert!(spin.used.fuel >= 40_000_000);
    let fill = run_within("tool fill", r#""memory-bytes":30000000"#).await;
    assert!(reply(&fill).contains("memory"), "{}", reply(&fill));
    assert!(fill.used.memory_bytes <= 30_000_000);
    // The tool's own grant binds it too.
    let tight =
        tally_engine::ToolPlugin::new(&ENGINE, "t", TOOL.clone(), &grant(r#""fuel":5000000"#))
            .await
            .unwrap();
    let plan = Plan::new(
        &ENGINE,
        &AGENT,
        &grant(""),
        vec![tight.clone()],
        Default::default(),
    )
    .unwrap();
    let report = ENGINE.run(&plan, start("tool spin")).await.unwrap();
    assert!(reply(&report).contains("fuel"), "{}", reply(&report));
    let journal = Arc::new(Journal::parse(report.journal.clone().unwrap()).unwrap());
    let replay = ENGINE
        .replay(&journal, &AGENT, vec![tight], ReplayOptions::default())
        .await
        .unwrap();
    assert_eq!(
        replay.verdict,
        ReplayVerdict::Identical,
        "{}",
        replay.sentence()
    );
}

#[tokio::test]
async fn without_a_journal_a_run_is_the_same_but_for_the_proof() {
    let mut bare = start("every-call name");
    bare.journal = JournalTo::Nowhere;
    let bare = ENGINE.run(&plan("").await, bare).await.unwrap();
    let journaled = run("every-call name").await;
    assert_eq!(
        (bare.outcome, bare.used),
        (journaled.outcome, journaled.used)
    );
    assert!(bare.journal.is_none() && bare.head.is_none());
}

#[tokio::test]
async fn the_input_of_an_agent_is_what_was_given() {
    let mut given = start("");
    given.input = Input::text("hello wörld ✓");
    let report = ENGINE.run(&plan("").await, given).await.unwrap();
    assert_eq!(reply(&report), "hello wörld ✓");
}

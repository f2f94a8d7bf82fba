//! What was run is run again: the same, or the first difference is named.

mod common;

use common::*;
use tally_engine::{Outcome, ReplayVerdict};

#[tokio::test]
async fn a_run_with_every_host_call_replays_identically() {
    let report = run("every-call name").await;
    assert!(reply(&report).contains("some words"), "{report:?}");
    let replay = replay(&report).await;
    assert_eq!(
        replay.verdict,
        ReplayVerdict::Identical,
        "{}",
        replay.sentence()
    );
    assert!(replay.not_executed_again.is_empty());
    assert_eq!(replay.fuel, report.used.fuel);
    assert!(replay.calls > 10);
}

#[tokio::test]
async fn every_way_to_end_replays_identically() {
    for command in [
        "hello world",
        "two",
        "cancel",
        "drop",
        "receipt",
        "random 70000",
        "nan",
        "hash-order",
        "std-time",
        "std-outside",
        "print words",
        "panic now",
        "exit 3",
        "fail badly",
        "lie",
        "lying-reply",
        "recurse",
        "big-request 9000000",
        "tool echo {\"a\":1}",
        "tool ask",
        "tool break",
        "tool clock",
        "tool refuse",
        "tool echo not json",
        "tool none {}",
        "tool-then-count",
        "handles",
        "chat-result boom",
    ] {
        let report = run(command).await;
        let replay = replay(&report).await;
        assert_eq!(
            replay.verdict,
            ReplayVerdict::Identical,
            "{command}: {} {:?}",
            replay.sentence(),
            report.outcome
        );
    }
}

#[tokio::test]
async fn limits_end_a_replay_where_they_ended_the_run() {
    for (command, budgets) in [
        ("loop", r#""fuel":30000000"#),
        ("memory", r#""memory-bytes":20000000"#),
        ("calls 100", r#""calls":50"#),
        ("log-flood", r#""output-bytes":200000"#),
        ("print-flood", r#""output-bytes":200000"#),
        ("flood", r#""output-bytes":200000"#),
        ("tokens", r#""tokens":50"#),
        ("tool spin", r#""fuel":50000000"#),
        ("tool fill", r#""memory-bytes":30000000"#),
    ] {
        let report = run_within(command, budgets).await;
        let replay = replay(&report).await;
        assert_eq!(
            replay.verdict,
            ReplayVerdict::Identical,
            "{command}: {} {:?}",
            replay.sentence(),
            report.outcome
        );
    }
    assert!(matches!(
        run_within("loop", r#""fuel":30000000"#).await.outcome,
        Outcome::Exhausted(_)
    ));
}

//! Deny by default: a refusal is an answer, it is journaled with its reason, and it is not asked again during replay.

mod common;

use common::*;
use std::sync::Arc;
use tally_engine::{Grant, Outcome, Plan, ReplayOptions, ReplayVerdict};
use tally_journal::{Body, Decision};

async fn granted(capabilities: &str, command: &str) -> tally_engine::RunReport {
    let grant =
        Grant::from_json(format!(r#"{{"format":1,"capabilities":{{{capabilities}}}}}"#).as_bytes())
            .unwrap();
    let plan = Plan::new(
        &ENGINE,
        &AGENT,
        &grant,
        tools().await,
        [("name".into(), "value".into())].into(),
    )
    .unwrap();
    ENGINE.run(&plan, start(command)).await.unwrap()
}

#[tokio::test]
async fn a_model_that_is_not_granted_is_refused_and_the_agent_goes_on() {
    let report = granted(r#""models":["m"]"#, "chat-as other").await;
    assert_eq!(
        reply(&report),
        r#"Error::Denied("the model \"other\" is not granted")"#
    );
    assert_eq!(report.denials.len(), 1);
    let denial = &report.denials[0];
    assert_eq!(
        (denial.frame, denial.function),
        (0, "tally:agent/inference@0.1.0#chat")
    );
    let journal = journal(&report);
    let entry = journal.get(denial.entry.unwrap()).unwrap();
    assert!(
        matches!(entry.body, Body::Call(call) if call.decision == Decision::Denied { reason: &denial.reason }),
        "the denial names its entry: {entry:?}"
    );
    assert_eq!(
        reply(&granted(r#""models":["m"]"#, "chat-as m").await),
        "allowed"
    );
}

#[tokio::test]
async fn vectors_without_a_model_named_are_of_the_default_embedding_model_which_has_to_be_granted()
{
    let report = granted(r#""models":["m"]"#, "embed").await;
    let Outcome::Failed(error) = &report.outcome else {
        panic!("{:?}", report.outcome)
    };
    assert!(
        error
            .sentence()
            .contains(r#"the model "other" is not granted"#),
        "{}",
        error.sentence()
    );
    assert_eq!(report.denials.len(), 1);
    let report = granted(r#""models":["other"]"#, "embed").await;
    assert!(reply(&report).starts_with("[[0.6"), "{}", reply(&report));
    assert_eq!(replay(&report).await.verdict, ReplayVerdict::Identical);
}

#[tokio::test]
async fn where_no_model_makes_vectors_an_agent_is_told_why_and_nothing_was_denied() {
    let mut start = start("embed");
    start.services.inference = Arc::new(Scripted {
        without_vectors: true,
        ..Scripted::default()
    });
    let report = ENGINE.run(&plan("").await, start).await.unwrap();
    let Outcome::Failed(error) = &report.outcome else {
        panic!("{:?}", report.outcome)
    };
    assert!(
        error.sentence().contains("no embedding model here"),
        "{}",
        error.sentence()
    );
    assert!(report.denials.is_empty(), "{:?}", report.denials);
    assert_eq!(replay(&report).await.verdict, ReplayVerdict::Identical);
}

#[tokio::test]
async fn nothing_is_allowed_by_default() {
    for command in [
        "emit x",
        "chat x",
        "tool echo {}",
        "random 4",
        "setting name",
        "embed",
    ] {
        let report = granted("", command).await;
        let denied = match &report.outcome {
            Outcome::Failed(error) => error.sentence().contains("granted"),
            Outcome::Replied(reply) => reply.text.contains("Denied") || reply.text == "None",
            other => panic!("{command}: a denial is no {other:?}"),
        };
        assert!(denied, "{command}: {:?}", report.outcome);
        assert_eq!(report.denials.len(), 1, "{command}");
        assert_eq!(
            replay(&report).await.verdict,
            ReplayVerdict::Identical,
            "{command}"
        );
    }
    assert_eq!(reply(&granted("", "models").await), "");
    assert_eq!(reply(&granted("", "tools").await), "");
}

#[tokio::test]
async fn a_component_without_a_manifest_may_do_nothing() {
    let undeclared = ENGINE.load(&bare_guest("probe"), |_| {}).unwrap();
    let plan = Plan::new(
        &ENGINE,
        &undeclared,
        &grant(""),
        Vec::new(),
        Default::default(),
    )
    .unwrap();
    let report = ENGINE.run(&plan, start("emit x")).await.unwrap();
    assert!(
        matches!(&report.outcome, Outcome::Failed(error) if error.sentence().contains("manifest")),
        "{:?}",
        report.outcome
    );
}

#[tokio::test]
async fn a_refused_effect_does_not_happen() {
    let screen = Screen::default();
    let model = Arc::new(Scripted::default());
    for command in ["emit secret", "chat-as m"] {
        let grant = Grant::from_json(br#"{"format":1}"#).unwrap();
        let plan = Plan::new(&ENGINE, &AGENT, &grant, Vec::new(), Default::default()).unwrap();
        let mut start = start(command);
        start.output = Box::new(screen.clone());
        start.services.inference = model.clone();
        ENGINE.run(&plan, start).await.unwrap();
    }
    assert_eq!(*screen.shown.lock().unwrap(), "");
    assert!(model.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_tool_acts_under_its_own_grant() {
    let nothing = Grant::from_json(br#"{"format":1}"#).unwrap();
    let plugin = tally_engine::ToolPlugin::new(&ENGINE, "probe-tool", TOOL.clone(), &nothing)
        .await
        .unwrap();
    let plan = Plan::new(
        &ENGINE,
        &AGENT,
        &grant(""),
        vec![plugin.clone()],
        Default::default(),
    )
    .unwrap();
    let report = ENGINE.run(&plan, start("tool ask")).await.unwrap();
    assert!(reply(&report).contains("Denied"), "{}", reply(&report));
    assert_eq!(
        report.denials[0].frame, 1,
        "the tool was refused, not the agent"
    );
    let replay = ENGINE
        .replay(
            &journal(&report),
            &AGENT,
            vec![plugin],
            ReplayOptions::default(),
        )
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
async fn an_expired_grant_allows_nothing() {
    let grant = grant("").until("2001-01-01T00:00:00Z".parse().unwrap());
    let plan = Plan::new(&ENGINE, &AGENT, &grant, Vec::new(), Default::default()).unwrap();
    let report = ENGINE.run(&plan, start("chat-as m")).await.unwrap();
    assert!(reply(&report).contains("expired"), "{}", reply(&report));
}

#[tokio::test]
async fn a_grant_for_another_component_is_refused() {
    let other = grant("").only_for([7; 32]).unwrap();
    let error = Plan::new(&ENGINE, &AGENT, &other, Vec::new(), Default::default()).unwrap_err();
    assert!(
        error.to_string().contains("another") || error.to_string().contains("component"),
        "{error}"
    );
}

//! A run can be taken up from the middle, live, under another name.

mod common;

use common::*;
use std::sync::Arc;
use tally_engine::{BranchError, ReplayOptions, ReplayVerdict};
use tally_journal::{Body, RunId, Seq};

/// A model that shouts, to be told apart from the one that was recorded.
struct Shouting(Scripted);

impl tally_engine::Inference for Shouting {
    fn models(&self) -> Vec<(String, tally_journal::Digest)> {
        self.0.models()
    }
    fn embedding_model(&self) -> Result<String, String> {
        self.0.embedding_model()
    }
    fn leaves_machine(&self, model: &str) -> bool {
        self.0.leaves_machine(model)
    }
    fn chat<'a>(
        &'a self,
        mut request: tally_engine::contract::ChatRequest,
        context: tally_engine::CallContext,
    ) -> tally_engine::BoxFuture<
        'a,
        Result<Box<dyn tally_engine::Generation>, tally_engine::contract::Error>,
    > {
        request.messages[0].content = request.messages[0].content.to_uppercase();
        self.0.chat(request, context)
    }
    fn embed<'a>(
        &'a self,
        model: &'a str,
        texts: Vec<String>,
        context: tally_engine::CallContext,
    ) -> tally_engine::BoxFuture<'a, Result<tally_engine::Embeddings, tally_engine::contract::Error>>
    {
        self.0.embed(model, texts, context)
    }
}

fn find(journal: &tally_journal::Journal, function: &str) -> Seq {
    journal
        .entries()
        .find(|entry| matches!(entry.body, Body::Call(call) if call.function.ends_with(function)))
        .unwrap()
        .seq
}

#[tokio::test]
async fn a_branch_repeats_its_parent_and_then_goes_its_own_way() {
    let parent = run("every-call name").await;
    let parent_journal = journal(&parent);
    let at = find(&parent_journal, "#models");
    let plan = plan("").await;
    let mut start = start("this is not used");
    start.run_id = Some(RunId::from_bytes([5; 16]));
    start.services.inference = Arc::new(Shouting(Scripted::default()));
    let report = ENGINE
        .branch(&parent_journal, at, &plan, start)
        .await
        .unwrap();
    assert!(reply(&report).contains("SOME WORDS"), "{}", reply(&report));
    // The time and chance of before the branch are the parent's.
    let head = |text: &str| text.split(" Some").next().unwrap().to_owned();
    assert_eq!(head(reply(&report)), head(reply(&parent)));

    let branch = journal(&report);
    let genesis = branch.genesis();
    let point = genesis.branch_of.unwrap();
    assert_eq!(
        (point.entry, point.head),
        (at, parent_journal.get(at).unwrap().hash)
    );
    assert_ne!(genesis.run_id, parent_journal.genesis().run_id);
    assert_eq!(genesis.input, parent_journal.genesis().input);
    // It stands on its own.
    let replay = ENGINE
        .replay(&branch, &AGENT, tools().await, ReplayOptions::default())
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
async fn a_branch_at_the_last_call_ends_like_its_parent() {
    let parent = run("every-call name").await;
    let parent_journal = journal(&parent);
    let last = Seq::new(parent_journal.len() - 2);
    let report = ENGINE
        .branch(&parent_journal, last, &plan("").await, start(""))
        .await
        .unwrap();
    assert_eq!(report.outcome, parent.outcome);
    assert_eq!(report.used.fuel, parent.used.fuel);
}

#[tokio::test]
async fn a_branch_inside_a_generation_or_a_tool_is_refused_with_the_nearest_place() {
    let parent = run("every-call name").await;
    let parent_journal = journal(&parent);
    let chat = find(&parent_journal, "#chat");
    let plan = plan("").await;
    let error = ENGINE
        .branch(&parent_journal, chat, &plan, start(""))
        .await
        .unwrap_err();
    assert!(
        matches!(error, BranchError::InsideGeneration { began, nearest, .. } if began == chat && nearest.get() == chat.get() - 1),
        "{error}"
    );
    let enter = parent_journal
        .entries()
        .find(|entry| matches!(entry.body, Body::Enter(_)))
        .unwrap()
        .seq;
    let error = ENGINE
        .branch(&parent_journal, enter, &plan, start(""))
        .await
        .unwrap_err();
    assert!(matches!(error, BranchError::NotACall { .. }), "{error}");
    let error = ENGINE
        .branch(&parent_journal, Seq::new(9999), &plan, start(""))
        .await
        .unwrap_err();
    assert!(matches!(error, BranchError::NotACall { .. }), "{error}");
}

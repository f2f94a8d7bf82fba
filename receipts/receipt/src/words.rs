//! What a receipt says, in plain words: for a page or a terminal, beside the verdict that says whether it is so.

use crate::inference::{FinishReason, InferencePredicate, Lane, Operation};
use crate::run::{OutcomeStatus, RunPredicate};
use crate::statement::{Predicate, Receipt};

/// One thing that a receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it is about, in a word or two.
    pub about: &'static str,
    /// What it says.
    pub words: String,
}

impl Receipt {
    /// What this receipt says, most important first. Nothing here was checked: that is the verdict's business.
    pub fn in_words(&self) -> Vec<Said> {
        match self.predicate() {
            Predicate::Inference(inference) => of_inference(inference),
            Predicate::Run(run) => of_run(run),
            Predicate::KeyRotation(rotation) => vec![
                said("What happened", "One key handed over to another.".into()),
                said("Old key", rotation.from.to_string()),
                said("New key", rotation.to.to_string()),
                said("From", rotation.at.to_string()),
                said("Why", rotation.reason.to_string()),
            ],
        }
    }
}

fn said(about: &'static str, words: String) -> Said {
    Said { about, words }
}

fn of_inference(inference: &InferencePredicate) -> Vec<Said> {
    let (prompt, output) = (&inference.prompt, &inference.output);
    let mut all = vec![
        said(
            "What happened",
            match inference.operation {
                Operation::Chat => format!(
                    "A model read {} tokens, {} of them from a cache, and wrote {}.",
                    prompt.count, prompt.cached, output.count
                ),
                Operation::Embed => format!(
                    "A model read {} tokens and made {} vectors of them.",
                    prompt.count, output.count
                ),
                Operation::Rank => format!(
                    "A model read {} tokens and said of {} passages how well each answers a question.",
                    prompt.count, output.count
                ),
            },
        ),
        said(
            "Model",
            format!(
                "{}, weights {}",
                inference.model.name, inference.model.weights
            ),
        ),
        said("When", inference.issued_at.to_string()),
        said("Signed by", inference.seed.node.to_string()),
        said(
            "How it ended",
            match output.finish {
                FinishReason::Stop => "The model ended its turn.",
                FinishReason::StopString => "A text that the client named was met.",
                FinishReason::Length => "The output had as many tokens as were allowed.",
                FinishReason::ToolCalls => "The model asked for tools.",
                FinishReason::Cancelled => "The client went away.",
                FinishReason::Complete => "It is complete.",
            }
            .into(),
        ),
        said(
            "How it ran",
            format!(
                "{} {} on {}, {}",
                inference.engine.name,
                inference.engine.version,
                inference.engine.backend,
                match inference.engine.lane {
                    Lane::Exact => "alone, so that it can be repeated to the byte",
                    Lane::Throughput => "together with others",
                }
            ),
        ),
    ];
    if let Some(links) = &inference.links {
        all.push(said(
            "Part of",
            format!("inference {} of run {}", links.step, links.run),
        ));
    }
    all.push(said(
        "Not in it",
        "The words themselves: prompt and output are sealed, and whoever holds a seal's salt can open it.".into(),
    ));
    all
}

fn of_run(run: &RunPredicate) -> Vec<Said> {
    vec![
        said(
            "What happened",
            format!(
                "An agent ran: {}",
                match run.outcome.status {
                    OutcomeStatus::Completed => "it answered.",
                    OutcomeStatus::AgentError => "it said that it failed.",
                    OutcomeStatus::Trapped => "it broke.",
                    OutcomeStatus::LimitReached => "a limit stopped it.",
                    OutcomeStatus::Cancelled => "it was told to stop.",
                    OutcomeStatus::HostError => "what ran it broke.",
                }
            ),
        ),
        said("Agent", run.component.to_string()),
        said("When", format!("{} to {}", run.started_at, run.ended_at)),
        said("Signed by", run.runner.to_string()),
        said(
            "Record",
            format!(
                "{} entries, {} inferences among them",
                run.journal.entries,
                run.receipts.len()
            ),
        ),
        said("Run", run.run.to_string()),
        said(
            "Not in it",
            "What went in and came out: both are sealed, and whoever holds a seal's salt can open it."
                .into(),
        ),
    ]
}

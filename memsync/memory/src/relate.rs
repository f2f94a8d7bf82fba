//! What a new fact is to those that are known: asked of a model, which only gives a label. Code decides what follows (`timeline.rs`).
//!
//! A model is shown at most [`KNOWN_MAX`] facts about the same subject, by small numbers from 1, and the new one; so it can neither
//! invent an id nor reach a fact that it was not shown. Numbers that it was not given are passed over.

use serde::Deserialize;

use crate::model::{Ask, Form, Message};
use crate::record::Label;

/// The name of this shape, in records of calls.
pub const SHAPE: &str = "tally-label/1";
/// Most known facts of one prompt.
pub(crate) const KNOWN_MAX: usize = 8;

const SYSTEM: &str = "Compare the new statement with each known one. Answer as JSON.";
const SCHEMA: &str = r#"{"type":"object","properties":{"labels":{"type":"array","maxItems":8,"items":{"type":"object","properties":{"label":{"enum":["same","updates","contradicts","other"]},"number":{"type":"integer","minimum":1,"maximum":8}},"required":["label","number"],"additionalProperties":false}}},"required":["labels"],"additionalProperties":false}"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    labels: Vec<Labelled>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Labelled {
    label: Word,
    number: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Same,
    Updates,
    Contradicts,
    Other,
}

/// The question about a new fact.
pub(crate) fn ask(known: &[&str], new: &str) -> Ask {
    let mut lines = String::from("Known:\n");
    for (number, text) in (1..).zip(known) {
        lines.push_str(&format!("[{number}] {}\n", one_line(text)));
    }
    lines.push_str(&format!("New: {}", one_line(new)));
    Ask {
        messages: vec![
            Message {
                role: "system",
                content: SYSTEM.to_owned(),
            },
            Message {
                role: "user",
                content: lines,
            },
        ],
        form: Form::Schema(SCHEMA),
        max_tokens: 256,
    }
}

/// Reads an answer: places in the list of known facts, and what each is to the new one.
pub(crate) fn read(answer: &str, known: usize) -> Option<Vec<(usize, Label)>> {
    let read: Answer = serde_json::from_str(answer).ok()?;
    Some(
        read.labels
            .into_iter()
            .filter(|one| (1..=known).contains(&one.number))
            .filter_map(|one| {
                let label = match one.label {
                    Word::Same => Label::Same,
                    Word::Updates => Label::Updates,
                    Word::Contradicts => Label::Contradicts,
                    Word::Other => return None,
                };
                Some((one.number - 1, label))
            })
            .collect(),
    )
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_were_not_given_are_passed_over() {
        assert!(serde_json::from_str::<serde_json::Value>(SCHEMA).is_ok());
        let answer = r#"{"labels":[{"label":"updates","number":2},{"label":"same","number":3},{"label":"other","number":1},{"label":"same","number":0}]}"#;
        assert_eq!(read(answer, 2), Some(vec![(1, Label::Updates)]));
        assert_eq!(read("no", 2), None);
        assert_eq!(
            ask(&["I eat\nmeat"], "I'm vegetarian").messages[1].content,
            "Known:\n[1] I eat meat\nNew: I'm vegetarian"
        );
    }
}

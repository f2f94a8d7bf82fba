//! Facts that a chat model of this machine learns from a conversation: by memory's own way of learning, with its gates, in a
//! vault that is thrown away.
//!
//! Turns are put down by people, none of them the owner, with their words alone: what a picture shows is nothing that was said.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};
use tally_memory::{Episode, EpisodeId, Memory, MemoryId, Moment, Options, Role, Turn};
use tally_recall::evaluation::Conversation;
use tally_recall::{Document, DocumentId, Kind};
use tally_vault::format::SlotCost;
use tally_vault::{Create, Environment, Place, Vault};

use crate::failure::{Failure, OrFail};
use crate::memories::{LocalChat, loading};
use crate::ui::Progress;

const NAMESPACE: &str = "memory";

/// What learning came to, over all conversations.
#[derive(Default)]
pub(super) struct Costs {
    pub(super) facts: usize,
    pub(super) calls: usize,
    pub(super) unreadable: usize,
    pub(super) prompt_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) seconds: f64,
    /// Proposals that were refused, by the gate that did.
    pub(super) refused: BTreeMap<&'static str, usize>,
}

impl Costs {
    pub(super) fn json(&self, model: &str) -> Value {
        json!({
            "model": model,
            "facts": self.facts,
            "calls": self.calls,
            "unreadable": self.unreadable,
            "refused": self.refused,
            "promptTokens": self.prompt_tokens,
            "outputTokens": self.output_tokens,
            "seconds": self.seconds,
        })
    }
}

/// The facts that the model finds in a conversation, as documents beside its turns.
pub(super) fn learn(
    conversation: &Conversation,
    model: &LocalChat,
    costs: &mut Costs,
    progress: &Progress,
) -> Result<Vec<Document>, Failure> {
    let folder = tempfile::tempdir().or_environment("make a folder for a vault")?;
    let mut memory = empty_memory(folder.path())?;
    let began = Instant::now();
    let mut turns: BTreeMap<EpisodeId, DocumentId> = BTreeMap::new();
    for (number, document) in conversation.turns.iter().enumerate() {
        // A turn at a time: of several, none says which episodes are its own.
        let report = memory
            .remember(&[turn(number, document)])
            .or_environment("put a turn into a vault")?;
        turns.extend(report.new.into_iter().map(|id| (id, document.id)));
    }
    let now = Moment::of_clock(milliseconds(conversation.asked_at()));
    let report = memory
        .learn(model, now, usize::MAX, |left| {
            progress.says(format!(
                "{}: learning, {left} lines left",
                conversation.name
            ));
        })
        .or_environment("learn from a conversation")?;
    costs.seconds += began.elapsed().as_secs_f64();
    costs.calls += report.calls.len();
    costs.unreadable += report.unreadable;
    costs.prompt_tokens += report.prompt_tokens;
    costs.output_tokens += report.output_tokens;
    for one in &report.refused {
        *costs.refused.entry(one.gate.as_str()).or_default() += 1;
    }
    let facts: Vec<Document> = memory
        .facts()
        .iter()
        .filter_map(|id| document(&memory, id, &turns))
        .collect();
    costs.facts += facts.len();
    Ok(facts)
}

/// A memory in a new vault in this folder.
pub(super) fn empty_memory(folder: &Path) -> Result<Memory, Failure> {
    let place = Place {
        folder: folder.join("vault"),
        local: folder.join("local"),
    };
    let create = Create {
        passphrase: "thrown away with the folder",
        cost: SlotCost::LEAST,
        namespaces: &[NAMESPACE],
    };
    let made = Vault::create(Environment::of_this_computer(), &place, &create)
        .or_environment("make a vault")?;
    let vault = Arc::new(Mutex::new(made.vault));
    Memory::open(vault, NAMESPACE, Options::default()).map_err(loading)
}

fn turn(number: usize, document: &Document) -> Turn {
    Turn {
        app: "eval".to_owned(),
        thread: document.session.clone().unwrap_or_default(),
        key: Some(number.to_string()),
        role: Role::Person,
        speaker: document.speaker.clone().unwrap_or_default(),
        at: Some(Moment::of_clock(milliseconds(document.observed_at))),
        text: document.text.clone(),
    }
}

fn document(
    memory: &Memory,
    id: &MemoryId,
    turns: &BTreeMap<EpisodeId, DocumentId>,
) -> Option<Document> {
    let shown = memory.show(id)?;
    let fact = shown.fact;
    let said: Option<(&Episode, Moment)> = fact
        .evidence
        .first()
        .and_then(|evidence| memory.episode(&evidence.episode));
    let mut document = Document::new(DocumentId(*id.as_bytes()), Kind::Fact, fact.text);
    document.speaker = Some(fact.subject);
    document.observed_at = tally_recall::Moment(said.map_or(0, |(_, at)| at.unix_ms() / 1000));
    document.evidence = fact
        .evidence
        .iter()
        .filter_map(|evidence| turns.get(&evidence.episode).copied())
        .collect();
    Some(document)
}

fn milliseconds(moment: tally_recall::Moment) -> u64 {
    u64::try_from(moment.0).unwrap_or(0) * 1000
}

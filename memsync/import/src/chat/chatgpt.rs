//! OpenAI's data export.
//!
//! `conversations.json` (newer exports: several, numbered) is a list of conversations. A conversation is a tree of
//! messages, because an edited question and a regenerated answer begin a branch; what the user saw last is the path
//! from `current_node` up to the root, and that path is taken. Messages of other branches are counted as replaced.

use std::collections::HashMap;
use std::ops::ControlFlow;

use serde::Deserialize;
use serde_json::Value;

use super::{json_files, stated};
use crate::collect::Collector;
use crate::json::{each_element, record};
use crate::time::from_epoch_seconds;
use crate::{Conversation, ImportError, Reason, Role, Speaker, Turn};

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    conversation_id: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    current_node: Option<String>,
    mapping: HashMap<String, Node>,
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    children: Vec<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    id: Option<String>,
    author: Author,
    #[serde(default)]
    create_time: Option<f64>,
    content: Content,
    #[serde(default)]
    recipient: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Author {
    role: String,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    content_type: String,
    #[serde(default)]
    parts: Vec<Value>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    is_visually_hidden_from_conversation: bool,
    #[serde(default)]
    model_slug: Option<String>,
}

pub(crate) fn read(bytes: &[u8], into: &mut Collector<'_>) -> Result<(), ImportError> {
    json_files(bytes, &["conversations"], into, &mut |_, json, into| {
        let format = into.format();
        let limit = into.limits().record_len;
        let mut number = 0;
        each_element(json, &mut |raw| {
            number += 1;
            let place = format!("conversation {number}");
            if raw.get().len() > limit {
                into.leave(Reason::TooLong, &place);
            } else {
                match record::<Wire>(raw) {
                    Ok(wire) => one(wire, &place, into),
                    Err(_) => into.leave(Reason::Malformed, &place),
                }
            }
            if into.stopped() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .map_err(|error| ImportError::malformed(format, error))
    })
}

fn one(mut wire: Wire, place: &str, into: &mut Collector<'_>) {
    let path = path(&wire);
    let mut turns = Vec::new();
    for node in path {
        let Some(message) = wire.mapping.remove(&node).and_then(|node| node.message) else {
            continue;
        };
        if let Some(turn) = turn(node, message, into) {
            turns.push(turn);
        }
    }
    let replaced = wire
        .mapping
        .into_values()
        .filter_map(|node| node.message)
        .filter(|message| matches!(message.author.role.as_str(), "user" | "assistant"))
        .count();
    into.leave_many(Reason::Replaced, replaced as u64, place);
    into.conversation(Conversation {
        source: into.format(),
        id: stated(wire.conversation_id.or(wire.id)).unwrap_or_else(|| place.to_owned()),
        title: stated(wire.title),
        turns,
    });
}

/// The nodes of the branch that is shown, oldest first.
fn path(wire: &Wire) -> Vec<String> {
    let mut node = wire
        .current_node
        .as_ref()
        .filter(|node| wire.mapping.contains_key(*node))
        .or_else(|| last_leaf(wire));
    let mut path = Vec::new();
    // A ring of parents would never end: no path is longer than there are nodes.
    while let Some(id) = node
        && path.len() < wire.mapping.len()
    {
        path.push(id.clone());
        node = wire
            .mapping
            .get(id)
            .and_then(|node| node.parent.as_ref())
            .filter(|parent| wire.mapping.contains_key(*parent));
    }
    path.reverse();
    path
}

/// Without `current_node`: the leaf written last.
fn last_leaf(wire: &Wire) -> Option<&String> {
    wire.mapping
        .iter()
        .filter(|(_, node)| node.children.is_empty() && node.message.is_some())
        .max_by(|(a_id, a), (b_id, b)| {
            let time = |node: &Node| {
                node.message
                    .as_ref()
                    .and_then(|message| message.create_time)
            };
            let (a, b) = (time(a), time(b));
            a.partial_cmp(&b)
                .unwrap_or(std::cmp::Ordering::Equal)
                .then_with(|| a_id.cmp(b_id))
        })
        .map(|(id, _)| id)
}

/// The first words of a message.
fn written(message: &Message) -> &str {
    let mut parts = message.content.parts.iter();
    parts.find_map(Value::as_str).unwrap_or_default()
}

fn turn(node: String, message: Message, into: &mut Collector<'_>) -> Option<Turn> {
    let role = match message.author.role.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => {
            into.leave_text(
                Reason::Tool,
                message.author.name.as_deref().unwrap_or("tool"),
                written(&message),
            );
            return None;
        }
        other => {
            into.leave_text(Reason::System, other, written(&message));
            return None;
        }
    };
    if message.metadata.is_visually_hidden_from_conversation {
        into.leave_text(Reason::System, "hidden message", written(&message));
        return None;
    }
    // What an assistant writes to a tool is not said to the user.
    if message.recipient.as_deref().is_some_and(|to| to != "all") {
        into.leave_text(Reason::Tool, "call of a tool", written(&message));
        return None;
    }
    match message.content.content_type.as_str() {
        "text" | "multimodal_text" => {}
        "code"
        | "execution_output"
        | "thoughts"
        | "reasoning_recap"
        | "tether_quote"
        | "tether_browsing_display" => {
            let kind = &message.content.content_type;
            into.leave_text(Reason::Tool, kind, written(&message));
            return None;
        }
        "user_editable_context" | "model_editable_context" | "system_error" => {
            let kind = &message.content.content_type;
            into.leave_text(Reason::System, kind, written(&message));
            return None;
        }
        other => {
            into.leave_text(Reason::UnknownKind, other, written(&message));
            return None;
        }
    }
    let mut text = String::new();
    for part in &message.content.parts {
        match part {
            Value::String(part) => push_paragraph(&mut text, part),
            // What was spoken comes as its transcript.
            Value::Object(part) => match part.get("text").and_then(Value::as_str) {
                Some(spoken) => push_paragraph(&mut text, spoken),
                None => into.leave(
                    Reason::Media,
                    part.get("content_type")
                        .and_then(Value::as_str)
                        .unwrap_or("attachment"),
                ),
            },
            _ => into.leave(Reason::UnknownKind, "part of a message"),
        }
    }
    Some(Turn {
        id: stated(message.id).unwrap_or(node),
        speaker: Speaker {
            role,
            name: match role {
                Role::Assistant => stated(message.metadata.model_slug),
                _ => None,
            },
        },
        at: message.create_time.and_then(from_epoch_seconds),
        text,
    })
}

fn push_paragraph(text: &mut String, part: &str) {
    let part = part.trim();
    if !part.is_empty() {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(part);
    }
}

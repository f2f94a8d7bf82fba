//! Anthropic's data export.
//!
//! `conversations.json` is a list of conversations of messages. `content` holds typed blocks; `text` repeats them in
//! older exports and is taken where there are no blocks. Text extracted from an attached file is a document of its own.
//! `projects.json`, in the same zip, holds the documents a user gave to a project.

use std::ops::ControlFlow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{json_files, stated};
use crate::collect::Collector;
use crate::document::passages::Passages;
use crate::json::{each_element, record};
use crate::time::from_rfc3339;
use crate::{Conversation, Document, ImportError, Offset, Reason, Role, Speaker, Turn};

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    uuid: Option<String>,
    #[serde(default)]
    name: Option<String>,
    chat_messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    uuid: Option<String>,
    sender: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    content: Vec<Block>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    attachments: Vec<Attachment>,
    #[serde(default)]
    files: Vec<Attachment>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(default)]
    file_name: Option<String>,
    #[serde(default)]
    extracted_content: Option<String>,
}

#[derive(Deserialize)]
struct Project {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    docs: Vec<ProjectDocument>,
}

#[derive(Deserialize)]
struct ProjectDocument {
    #[serde(default)]
    uuid: Option<String>,
    #[serde(default)]
    filename: Option<String>,
    #[serde(default)]
    content: Option<String>,
}

pub(crate) fn read(bytes: &[u8], into: &mut Collector<'_>) -> Result<(), ImportError> {
    json_files(
        bytes,
        &["conversations", "projects"],
        into,
        &mut |stem, json, into| {
            let format = into.format();
            let limit = into.limits().record_len;
            let (kind, each): (_, fn(&RawValue, &str, &mut Collector<'_>)) = match stem {
                "projects" => ("project", project),
                _ => ("conversation", conversation),
            };
            let mut number = 0;
            each_element(json, &mut |raw| {
                number += 1;
                let place = format!("{kind} {number}");
                if raw.get().len() > limit {
                    into.leave(Reason::TooLong, &place);
                } else {
                    each(raw, &place, into);
                }
                if into.stopped() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .map_err(|error| ImportError::malformed(format, error))
        },
    )
}

fn conversation(raw: &RawValue, place: &str, into: &mut Collector<'_>) {
    let Ok(wire) = record::<Wire>(raw) else {
        into.leave(Reason::Malformed, place);
        return;
    };
    let id = stated(wire.uuid).unwrap_or_else(|| place.to_owned());
    let mut turns = Vec::new();
    for (index, message) in wire.chat_messages.into_iter().enumerate() {
        let role = match message.sender.as_str() {
            "human" => Role::User,
            "assistant" => Role::Assistant,
            other => {
                let text = message.text.as_deref().unwrap_or_default();
                into.leave_text(Reason::System, other, text);
                continue;
            }
        };
        let message_id = stated(message.uuid).unwrap_or_else(|| (index + 1).to_string());
        for (number, attachment) in message.attachments.into_iter().enumerate() {
            let name = stated(attachment.file_name);
            let shown = name.clone().unwrap_or_else(|| "attachment".to_owned());
            match stated(attachment.extracted_content) {
                Some(text) => into.document(plain_document(
                    format!("{id}/{message_id}/{}", number + 1),
                    name,
                    &text,
                    into,
                )),
                None => into.leave(Reason::Media, &shown),
            }
        }
        for file in message.files {
            into.leave(Reason::Media, file.file_name.as_deref().unwrap_or("file"));
        }
        let mut text = String::new();
        if message.content.is_empty() {
            text = message.text.unwrap_or_default();
        }
        for block in message.content {
            match (block.kind.as_str(), block.text) {
                ("text", Some(part)) => {
                    if !text.is_empty() && !part.trim().is_empty() {
                        text.push_str("\n\n");
                    }
                    text.push_str(part.trim());
                }
                (kind, text) => {
                    into.leave_text(Reason::Tool, kind, text.as_deref().unwrap_or_default());
                }
            }
        }
        turns.push(Turn {
            id: message_id,
            speaker: Speaker { role, name: None },
            at: message
                .created_at
                .and_then(|at| from_rfc3339(&at, Offset::UTC)),
            text: text.trim().to_owned(),
        });
    }
    into.conversation(Conversation {
        source: into.format(),
        id,
        title: stated(wire.name),
        turns,
    });
}

fn project(raw: &RawValue, place: &str, into: &mut Collector<'_>) {
    let Ok(project) = record::<Project>(raw) else {
        into.leave(Reason::Malformed, place);
        return;
    };
    for (index, document) in project.docs.into_iter().enumerate() {
        let id =
            stated(document.uuid).unwrap_or_else(|| format!("{place}, document {}", index + 1));
        let title = stated(document.filename).or_else(|| stated(project.name.clone()));
        let text = document.content.unwrap_or_default();
        into.document(plain_document(id, title, &text, into));
    }
}

fn plain_document(id: String, title: Option<String>, text: &str, into: &Collector<'_>) -> Document {
    let mut passages = Passages::new(into.limits().passage_len);
    crate::document::text::paragraphs(text, &mut passages);
    Document {
        source: into.format(),
        id,
        title,
        passages: passages.finish(),
    }
}

//! Telegram Desktop's machine-readable export.
//!
//! `result.json` is one chat (`name`, `type`, `id`, `messages`) or an account (`personal_information`, `chats.list`,
//! `left_chats.list`). `text` is a string or a list of strings and marked pieces (`{"type": "bold", "text": …}`).
//! `date_unixtime` came in 2022; before it there is `date`, a wall clock.

use std::ops::ControlFlow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{json_files, person, stated};
use crate::collect::Collector;
use crate::json::{record, string_or_number};
use crate::time::{from_epoch_seconds, from_rfc3339};
use crate::{Conversation, ImportError, Reason, Role, Turn};

#[derive(Deserialize)]
struct Account<'a> {
    #[serde(default)]
    personal_information: Option<Personal>,
    #[serde(borrow, default)]
    chats: Option<Chats<'a>>,
    #[serde(borrow, default)]
    left_chats: Option<Chats<'a>>,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Personal {
    #[serde(default, deserialize_with = "string_or_number")]
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct Chats<'a> {
    #[serde(borrow, default)]
    list: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(default)]
    name: Option<String>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default, deserialize_with = "string_or_number")]
    id: Option<String>,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default, deserialize_with = "string_or_number")]
    id: Option<String>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    date: Option<String>,
    #[serde(default, deserialize_with = "string_or_number")]
    date_unixtime: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    from_id: Option<String>,
    #[serde(default)]
    text: Value,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    photo: Option<Value>,
    #[serde(default)]
    file: Option<Value>,
    #[serde(default)]
    forwarded_from: Option<String>,
}

pub(crate) fn read(bytes: &[u8], into: &mut Collector<'_>) -> Result<(), ImportError> {
    json_files(bytes, &["result"], into, &mut |_, json, into| {
        let format = into.format();
        let malformed = |error: serde_json::Error| ImportError::malformed(format, error);
        let account: Account<'_> = serde_json::from_slice(json).map_err(malformed)?;
        // In an account's export the ids of people are "user" and the number.
        let me = account
            .personal_information
            .and_then(|personal| personal.user_id)
            .map(|id| format!("user{id}"));
        if account.messages.is_some() {
            return chat(
                serde_json::from_slice(json).map_err(malformed)?,
                "chat",
                me.as_deref(),
                into,
            );
        }
        if account.chats.is_none() && account.left_chats.is_none() {
            return Err(ImportError::malformed(
                format,
                "neither messages nor chats in it",
            ));
        }
        let lists = [account.chats, account.left_chats];
        for (index, raw) in lists
            .into_iter()
            .flatten()
            .flat_map(|it| it.list)
            .enumerate()
        {
            let place = format!("chat {}", index + 1);
            match record::<Chat<'_>>(raw) {
                Ok(wire) => chat(wire, &place, me.as_deref(), into)?,
                Err(_) => into.leave(Reason::Malformed, &place),
            }
            if into.stopped() {
                break;
            }
        }
        Ok(())
    })
}

fn chat(
    wire: Chat<'_>,
    place: &str,
    me: Option<&str>,
    into: &mut Collector<'_>,
) -> Result<(), ImportError> {
    let title = stated(wire.name).or_else(|| {
        (wire.kind.as_deref() == Some("saved_messages")).then(|| "Saved messages".to_owned())
    });
    let mut turns = Vec::new();
    for (index, raw) in wire.messages.into_iter().enumerate() {
        let place = format!("{place}, message {}", index + 1);
        if raw.get().len() > into.limits().record_len {
            into.leave(Reason::TooLong, &place);
            continue;
        }
        match record::<Message>(raw) {
            Ok(message) => match turn(message, index, me, into) {
                ControlFlow::Continue(turn) => turns.push(turn),
                ControlFlow::Break((reason, what)) => into.leave(reason, &what),
            },
            Err(_) => into.leave(Reason::Malformed, &place),
        }
    }
    into.conversation(Conversation {
        source: into.format(),
        id: wire
            .id
            .or_else(|| title.clone())
            .unwrap_or_else(|| place.to_owned()),
        title,
        turns,
    });
    Ok(())
}

/// A turn, or why it is none.
fn turn(
    message: Message,
    index: usize,
    me: Option<&str>,
    into: &mut Collector<'_>,
) -> ControlFlow<(Reason, String), Turn> {
    match message.kind.as_deref() {
        Some("message") | None => {}
        Some("service") => {
            return ControlFlow::Break((Reason::System, message.action.unwrap_or_default()));
        }
        Some(other) => return ControlFlow::Break((Reason::UnknownKind, other.to_owned())),
    }
    let media = message
        .media_type
        .or_else(|| message.photo.map(|_| "photo".to_owned()))
        .or_else(|| message.file.map(|_| "file".to_owned()));
    let text = plain(&message.text);
    if let Some(media) = media {
        into.leave(Reason::Media, &media);
        if text.trim().is_empty() {
            // Counted once, as what it is.
            return ControlFlow::Break((Reason::Empty, "caption".to_owned()));
        }
    }
    let at = message
        .date_unixtime
        .and_then(|seconds| seconds.parse().ok())
        .and_then(from_epoch_seconds)
        .or_else(|| {
            let date = message.date?;
            from_rfc3339(&date, into.options.offset)
        });
    let mut speaker = person(message.from.as_deref(), message.from_id.as_deref(), into);
    if me.is_some() && message.from_id.as_deref() == me {
        speaker.role = Role::User;
    }
    // A forwarded text is somebody else's, whoever passed it on.
    if let Some(author) = stated(message.forwarded_from) {
        speaker.role = Role::Person;
        speaker.name = Some(author);
    }
    ControlFlow::Continue(Turn {
        id: message.id.unwrap_or_else(|| (index + 1).to_string()),
        speaker,
        at,
        text: text.trim().to_owned(),
    })
}

fn plain(text: &Value) -> String {
    let mut plain = String::new();
    match text {
        Value::String(text) => plain.push_str(text),
        Value::Array(pieces) => {
            for piece in pieces {
                let piece = piece
                    .as_str()
                    .or_else(|| piece.get("text").and_then(Value::as_str));
                plain.push_str(piece.unwrap_or_default());
            }
        }
        _ => {}
    }
    plain
}

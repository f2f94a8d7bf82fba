//! The JSON of `DiscordChatExporter`, one channel or thread for each file. Discord's own data package holds only what
//! the user wrote, without the other side, and is not read.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{person, stated};
use crate::collect::Collector;
use crate::json::{record, string_or_number, without_mark};
use crate::time::from_rfc3339;
use crate::{Conversation, ImportError, Reason, Role, Turn};

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(default)]
    guild: Option<Named>,
    channel: Named,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default, deserialize_with = "string_or_number")]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default, deserialize_with = "string_or_number")]
    id: Option<String>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    timestamp: Option<String>,
    #[serde(default)]
    content: String,
    author: Author,
    #[serde(default)]
    attachments: Vec<Value>,
    #[serde(default)]
    stickers: Vec<Value>,
    #[serde(default)]
    embeds: Vec<Value>,
}

#[derive(Deserialize)]
struct Author {
    #[serde(default, deserialize_with = "string_or_number")]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    nickname: Option<String>,
    #[serde(rename = "isBot", default)]
    is_bot: bool,
}

pub(crate) fn read(bytes: &[u8], into: &mut Collector<'_>) -> Result<(), ImportError> {
    let wire: Wire<'_> = serde_json::from_slice(without_mark(bytes))
        .map_err(|error| ImportError::malformed(into.format(), error))?;
    let title = match (
        wire.guild.and_then(|guild| stated(guild.name)),
        stated(wire.channel.name),
    ) {
        (Some(guild), Some(channel)) => Some(format!("{guild} / {channel}")),
        (guild, channel) => channel.or(guild),
    };
    let mut turns = Vec::new();
    for (index, raw) in wire.messages.into_iter().enumerate() {
        let place = format!("message {}", index + 1);
        if raw.get().len() > into.limits().record_len {
            into.leave(Reason::TooLong, &place);
            continue;
        }
        let Ok(message) = record::<Message>(raw) else {
            into.leave(Reason::Malformed, &place);
            continue;
        };
        // Joins, pins, boosts and calls are messages to Discord, and nobody's words.
        match message.kind.as_deref() {
            None | Some("Default" | "Reply" | "0" | "19") => {}
            Some(other) => {
                into.leave(Reason::System, other);
                continue;
            }
        }
        let media = message.attachments.len() + message.stickers.len() + message.embeds.len();
        into.leave_many(
            Reason::Media,
            media as u64,
            "attachment, sticker or preview",
        );
        let name = stated(message.author.nickname).or(stated(message.author.name));
        let mut speaker = person(name.as_deref(), message.author.id.as_deref(), into);
        if message.author.is_bot {
            speaker.role = Role::Assistant;
        }
        turns.push(Turn {
            id: message.id.unwrap_or_else(|| (index + 1).to_string()),
            speaker,
            at: message
                .timestamp
                .and_then(|at| from_rfc3339(&at, into.options.offset)),
            text: message.content.trim().to_owned(),
        });
    }
    into.conversation(Conversation {
        source: into.format(),
        id: wire
            .channel
            .id
            .or_else(|| title.clone())
            .unwrap_or_else(|| "channel".to_owned()),
        title,
        turns,
    });
    Ok(())
}

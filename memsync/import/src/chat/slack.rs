//! Slack's workspace export: a zip with `users.json` and a folder for each channel, a file for each day in it.
//!
//! A channel's days become one conversation, oldest first. Text has Slack's markup, which is resolved: `<@U1>` to the
//! name of a user, `<#C1|name>` to `#name`, `<https://…|label>` to the label with the address, `&lt;` to `<`.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{person, stated};
use crate::archive::{Archive, base};
use crate::collect::Collector;
use crate::json::{record, without_mark};
use crate::time::from_epoch_seconds;
use crate::{Conversation, ImportError, Reason, Role, Turn};

#[derive(Deserialize)]
struct User {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    real_name: Option<String>,
    #[serde(default)]
    profile: Profile,
}

#[derive(Default, Deserialize)]
struct Profile {
    #[serde(default)]
    real_name: Option<String>,
    #[serde(default)]
    display_name: Option<String>,
}

#[derive(Deserialize)]
struct Channel {
    id: String,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    subtype: Option<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    bot_id: Option<String>,
    #[serde(default)]
    user_profile: Profile,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    ts: Option<String>,
    #[serde(default)]
    files: Vec<Value>,
}

pub(crate) fn read(bytes: &[u8], into: &mut Collector<'_>) -> Result<(), ImportError> {
    let mut archive = Archive::open(bytes, into.format(), into.limits())?;
    // A workspace may be in a folder of the zip; the channels are then one level down.
    let names = archive.names();
    let root = names
        .iter()
        .find_map(|name| name.strip_suffix("users.json"))
        .filter(|root| root.is_empty() || root.ends_with('/'))
        .unwrap_or_default()
        .to_owned();
    let mut users = HashMap::new();
    let mut channels = HashMap::new();
    let mut days: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in names {
        let Some(inside) = name.strip_prefix(&root) else {
            into.leave(Reason::OtherFile, &name);
            continue;
        };
        match inside.split_once('/') {
            None if inside == "users.json" => {
                for user in list::<User>(&archive.file(&name)?, &name, into) {
                    let known = stated(user.profile.display_name)
                        .or(stated(user.profile.real_name))
                        .or(stated(user.real_name))
                        .or(stated(user.name));
                    users.insert(user.id.clone(), known.unwrap_or(user.id));
                }
            }
            None if matches!(
                inside,
                "channels.json" | "groups.json" | "dms.json" | "mpims.json"
            ) =>
            {
                for channel in list::<Channel>(&archive.file(&name)?, &name, into) {
                    let known = stated(channel.name).unwrap_or_else(|| channel.id.clone());
                    channels.insert(known, channel.id);
                }
            }
            Some((channel, day)) if is_day(day) => {
                days.entry(channel.to_owned()).or_default().push(name);
            }
            _ => into.leave(Reason::OtherFile, &name),
        }
    }
    for (channel, mut files) in days {
        files.sort();
        let mut turns = Vec::new();
        for file in files {
            let bytes = archive.file(&file)?;
            messages(&bytes, &file, &users, &mut turns, into);
        }
        into.conversation(Conversation {
            source: into.format(),
            id: channels.get(&channel).unwrap_or(&channel).clone(),
            title: Some(channel),
            turns,
        });
        if into.stopped() {
            break;
        }
    }
    Ok(())
}

/// `2024-01-31.json`
fn is_day(name: &str) -> bool {
    let date = base(name).strip_suffix(".json").unwrap_or_default();
    date.len() == 10 && date.parse::<jiff::civil::Date>().is_ok()
}

/// The records of a file; those that are none, and a file that is none, are counted.
fn list<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    name: &str,
    into: &mut Collector<'_>,
) -> Vec<T> {
    let Ok(raw) = serde_json::from_slice::<Vec<&RawValue>>(without_mark(bytes)) else {
        into.leave(Reason::Malformed, name);
        return Vec::new();
    };
    let mut records = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let place = || format!("{name}, record {}", index + 1);
        if raw.get().len() > into.limits().record_len {
            into.leave(Reason::TooLong, &place());
        } else {
            match record(raw) {
                Ok(record) => records.push(record),
                Err(_) => into.leave(Reason::Malformed, &place()),
            }
        }
    }
    records
}

fn messages(
    bytes: &[u8],
    file: &str,
    users: &HashMap<String, String>,
    turns: &mut Vec<Turn>,
    into: &mut Collector<'_>,
) {
    for (index, message) in list::<Message>(bytes, file, into).into_iter().enumerate() {
        if message
            .kind
            .as_deref()
            .is_some_and(|kind| kind != "message")
        {
            into.leave(
                Reason::UnknownKind,
                message.kind.as_deref().unwrap_or_default(),
            );
            continue;
        }
        match message.subtype.as_deref() {
            None | Some("thread_broadcast" | "me_message" | "file_share" | "bot_message") => {}
            Some("tombstone") => {
                into.leave(Reason::Deleted, "tombstone");
                continue;
            }
            Some(other) => {
                into.leave(Reason::System, other);
                continue;
            }
        }
        into.leave_many(Reason::Media, message.files.len() as u64, "file");
        let name = message
            .user
            .as_ref()
            .and_then(|user| users.get(user).cloned())
            .or(stated(message.user_profile.display_name))
            .or(stated(message.user_profile.real_name))
            .or(stated(message.username));
        let mut speaker = person(
            name.as_deref(),
            message.user.as_deref().or(message.bot_id.as_deref()),
            into,
        );
        if message.bot_id.is_some() && message.user.is_none() {
            speaker.role = Role::Assistant;
        }
        let text = plain(message.text.as_deref().unwrap_or_default(), users);
        let at = message
            .ts
            .as_deref()
            .and_then(|ts| ts.parse().ok())
            .and_then(from_epoch_seconds);
        turns.push(Turn {
            // Unique in its channel, by Slack's word.
            id: stated(message.ts).unwrap_or_else(|| format!("{}#{}", base(file), index + 1)),
            speaker,
            at,
            text: text.trim().to_owned(),
        });
    }
}

/// Slack's markup, resolved.
fn plain(text: &str, users: &HashMap<String, String>) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        unescape(&rest[..open], &mut plain);
        rest = &rest[open + 1..];
        let Some(close) = rest.find('>') else {
            plain.push('<');
            break;
        };
        let (target, label) = match rest[..close].split_once('|') {
            Some((target, label)) => (target, Some(label)),
            None => (&rest[..close], None),
        };
        rest = &rest[close + 1..];
        match target.split_at_checked(1) {
            Some(("@", user)) => {
                plain.push('@');
                plain.push_str(
                    users
                        .get(user)
                        .map_or(label.unwrap_or(user), String::as_str),
                );
            }
            Some(("#", channel)) => {
                plain.push('#');
                plain.push_str(label.unwrap_or(channel));
            }
            Some(("!", command)) => {
                plain.push('@');
                plain.push_str(label.unwrap_or(command).trim_start_matches('@'));
            }
            _ => match label {
                Some(label) if label != target => {
                    unescape(label, &mut plain);
                    plain.push_str(" (");
                    unescape(target, &mut plain);
                    plain.push(')');
                }
                _ => unescape(target, &mut plain),
            },
        }
    }
    unescape(rest, &mut plain);
    plain
}

/// The three characters that Slack escapes.
fn unescape(text: &str, into: &mut String) {
    into.push_str(
        &text
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    );
}

//! Exports of chats: one file for each application.

pub(crate) mod chatgpt;
pub(crate) mod claude;
pub(crate) mod discord;
pub(crate) mod slack;
pub(crate) mod telegram;
pub(crate) mod whatsapp;

use crate::archive::{self, Archive, base};
use crate::collect::Collector;
use crate::{ImportError, Reason, Role, Speaker};

/// Reads one file of an export: the stem that its name begins with, its bytes, and where what is in it goes.
type ReadFile<'f> = &'f mut dyn FnMut(&str, &[u8], &mut Collector<'_>) -> Result<(), ImportError>;

/// The JSON of an export that comes bare or in a zip: the files whose name begins with one of `stems` and ends in
/// `.json`, by name. The others are counted as left.
fn json_files(
    bytes: &[u8],
    stems: &[&str],
    into: &mut Collector<'_>,
    each: ReadFile<'_>,
) -> Result<(), ImportError> {
    if !bytes.starts_with(archive::MAGIC) {
        return each(stems[0], crate::json::without_mark(bytes), into);
    }
    let mut archive = Archive::open(bytes, into.format(), into.limits())?;
    let mut names = archive.names();
    names.sort();
    let mut found = false;
    for name in names {
        if into.stopped() {
            break;
        }
        let stem = base(&name)
            .strip_suffix(".json")
            .and_then(|stem| stems.iter().find(|wanted| stem.starts_with(**wanted)));
        let Some(stem) = stem else {
            into.leave(Reason::OtherFile, &name);
            continue;
        };
        found = true;
        let file = archive.file(&name)?;
        each(stem, crate::json::without_mark(&file), into)?;
    }
    if found {
        Ok(())
    } else {
        Err(ImportError::malformed(
            into.format(),
            format!("zip: no {}.json in it", stems[0]),
        ))
    }
}

/// A voice of a chat between people: the user if its name or id is the one the caller gave.
fn person(name: Option<&str>, id: Option<&str>, into: &Collector<'_>) -> Speaker {
    let me = into.options.me.as_deref();
    let is_me = me.is_some() && (me == name || me == id);
    Speaker {
        role: if is_me { Role::User } else { Role::Person },
        name: name.or(id).map(str::to_owned),
    }
}

/// What a name or title is when it says nothing.
fn stated(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

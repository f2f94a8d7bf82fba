//! What a file is, by its content.
//!
//! The name is asked only between Markdown and plain text, which no content tells apart for sure.

use std::fmt;

use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::archive::{self, Archive, base};
use crate::chat::whatsapp;
use crate::document::docx;
use crate::json::without_mark;
use crate::{Format, ImportError, Options};

/// Bytes of a text that are looked at.
const HEAD_LEN: usize = 64 * 1024;
/// Bytes of JSON in an archive that are unpacked to see what it is.
const JSON_HEAD_LEN: u64 = 1 << 20;

/// What a file is.
///
/// # Errors
///
/// [`ImportError::Unrecognized`], saying what it looks like; and what opening an archive may say.
pub fn detect(bytes: &[u8], options: &Options) -> Result<Format, ImportError> {
    if bytes.starts_with(archive::MAGIC) {
        return archive_format(bytes, options);
    }
    if bytes[..bytes.len().min(1024)]
        .windows(5)
        .any(|window| window == b"%PDF-")
    {
        return Ok(Format::Pdf);
    }
    let json = without_mark(bytes);
    match json.trim_ascii_start().first() {
        None => return unrecognized("an empty file"),
        Some(b'{' | b'[') => match json_format(json) {
            Some(format) => return Ok(format),
            // Text may begin with a bracket too, WhatsApp's above all.
            None if json.trim_ascii_start().starts_with(b"{") || looks_like_json_list(json) => {
                return unrecognized("JSON, but of no chat export that is known");
            }
            None => {}
        },
        Some(_) => {}
    }
    text_format(bytes, options)
}

fn unrecognized<T>(found: impl Into<String>) -> Result<T, ImportError> {
    Err(ImportError::Unrecognized {
        found: found.into(),
    })
}

fn archive_format(bytes: &[u8], options: &Options) -> Result<Format, ImportError> {
    // The format is not known yet; an archive that does not open is not of any.
    let mut archive = match Archive::open(bytes, Format::Docx, &options.limits) {
        Ok(archive) => archive,
        Err(ImportError::Malformed { detail, .. }) => return unrecognized(detail),
        Err(error) => return Err(error),
    };
    let names = archive.names();
    let named = |wanted: &str| names.iter().find(|name| base(name) == wanted);
    if names.iter().any(|name| name == docx::DOCUMENT) {
        return Ok(Format::Docx);
    }
    if names.iter().any(|name| whatsapp::is_chat_file(name)) {
        return Ok(Format::WhatsApp);
    }
    let conversations = names
        .iter()
        .find(|name| base(name).starts_with("conversations") && name.ends_with(".json"));
    if let Some(name) = conversations {
        let head = archive.head(name, JSON_HEAD_LEN)?;
        return match json_format(without_mark(&head)) {
            Some(format @ (Format::ChatGpt | Format::Claude)) => Ok(format),
            // A new account has none yet; the other files tell.
            _ if named("chat.html").is_some() => Ok(Format::ChatGpt),
            _ if named("projects.json").is_some() => Ok(Format::Claude),
            _ => unrecognized(format!("a zip whose {name} is of no export that is known")),
        };
    }
    if named("result.json").is_some() {
        return Ok(Format::Telegram);
    }
    if named("users.json").is_some()
        && (named("channels.json").is_some() || named("dms.json").is_some())
    {
        return Ok(Format::Slack);
    }
    for (sign, what) in [
        ("xl/workbook.xml", "a spreadsheet"),
        ("ppt/presentation.xml", "a presentation"),
        (
            "content.xml",
            "an OpenDocument file; save it as DOCX or PDF",
        ),
        ("META-INF/container.xml", "an e-book"),
    ] {
        if names.iter().any(|name| name == sign) {
            return unrecognized(what);
        }
    }
    unrecognized("a zip without a chat export or a document in it")
}

/// The chat export that JSON is, by the names in its first object; nothing after them is read.
fn json_format(json: &[u8]) -> Option<Format> {
    let mut probe = Probe::default();
    let mut reader = serde_json::Deserializer::from_slice(json);
    // It ends with an error by design: it stops as soon as it knows.
    let _ = reader.deserialize_any(&mut probe);
    let has = |key: &str| probe.keys.iter().any(|seen| seen == key);
    if probe.in_list {
        if has("mapping") {
            return Some(Format::ChatGpt);
        }
        return has("chat_messages").then_some(Format::Claude);
    }
    if has("channel") && (has("messages") || has("guild")) {
        return Some(Format::Discord);
    }
    let telegram = has("chats") || has("left_chats") || (has("type") && has("messages"));
    telegram.then_some(Format::Telegram)
}

fn looks_like_json_list(json: &[u8]) -> bool {
    // "[" and then another value's first letter; a date in brackets begins with a digit and goes on with no comma.
    json.trim_ascii_start()[1..]
        .trim_ascii_start()
        .first()
        .is_some_and(|byte| matches!(byte, b'{' | b'[' | b'"' | b']'))
}

/// The keys of the first object: the outermost, or the first of the outermost list.
#[derive(Default)]
struct Probe {
    in_list: bool,
    keys: Vec<String>,
}

impl<'de> Visitor<'de> for &mut Probe {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list of objects")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        self.in_list = true;
        list.next_element_seed(First(self))?;
        Err(S::Error::custom("known"))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<(), M::Error> {
        keys(self, map)
    }
}

fn keys<'de, M: MapAccess<'de>>(probe: &mut Probe, mut map: M) -> Result<(), M::Error> {
    // These are long and come last: their name is enough.
    const DECISIVE: [&str; 4] = ["mapping", "chat_messages", "messages", "chats"];
    while let Some(key) = map.next_key::<String>()? {
        let decisive = DECISIVE.contains(&&*key);
        probe.keys.push(key);
        if decisive || probe.keys.len() == 64 {
            return Err(M::Error::custom("known"));
        }
        map.next_value::<IgnoredAny>()?;
    }
    Ok(())
}

struct First<'p>(&'p mut Probe);

impl<'de> serde::de::DeserializeSeed<'de> for First<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        struct Object<'p>(&'p mut Probe);
        impl<'de> Visitor<'de> for Object<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<(), M::Error> {
                keys(self.0, map)
            }
        }
        from.deserialize_map(Object(self.0))
    }
}

fn text_format(bytes: &[u8], options: &Options) -> Result<Format, ImportError> {
    let head = &bytes[..bytes.len().min(HEAD_LEN)];
    let text = match encoding_rs::Encoding::for_bom(head) {
        Some((encoding, len)) => encoding.decode_without_bom_handling(&head[len..]).0,
        // A zero byte is in no text, and in almost every other file.
        None if head.contains(&0) => return unrecognized(binary(head)),
        None => encoding_rs::UTF_8.decode_without_bom_handling(head).0,
    };
    let lower = text.trim_start()[..]
        .chars()
        .take(512)
        .collect::<String>()
        .to_ascii_lowercase();
    if lower.starts_with("<!doctype html")
        || lower.starts_with("<html")
        || (lower.starts_with('<') && (lower.contains("<html") || lower.contains("<body")))
    {
        return Ok(Format::Html);
    }
    if lower.starts_with("{\\rtf") {
        return unrecognized("RTF; save it as DOCX or PDF");
    }
    if whatsapp::looks_like(&text) {
        return Ok(Format::WhatsApp);
    }
    let extension = options
        .name
        .as_deref()
        .and_then(|name| base(name).rsplit_once('.'))
        .map(|(_, extension)| extension.to_ascii_lowercase());
    Ok(match extension.as_deref() {
        Some("md" | "markdown" | "mkd") => Format::Markdown,
        Some("txt" | "text" | "log") => Format::Text,
        Some("html" | "htm" | "xhtml") => Format::Html,
        _ if looks_like_markdown(&text) => Format::Markdown,
        _ => Format::Text,
    })
}

/// What a binary file is, of those people try.
fn binary(head: &[u8]) -> &'static str {
    match head {
        [0xD0, 0xCF, 0x11, 0xE0, ..] => "an old Office file; save it as DOCX or PDF",
        [0x89, b'P', b'N', b'G', ..] | [0xFF, 0xD8, 0xFF, ..] | [b'G', b'I', b'F', ..] => {
            "a picture; nothing here reads pictures"
        }
        [b'S', b'Q', b'L', b'i', b't', b'e', ..] => "a SQLite database",
        _ => "a binary file",
    }
}

fn looks_like_markdown(text: &str) -> bool {
    let signs = text
        .lines()
        .take(200)
        .filter(|line| {
            let heading = line.trim_start_matches('#');
            (heading.len() < line.len()
                && line.len() - heading.len() <= 6
                && heading.starts_with(' '))
                || line.starts_with("```")
                || line.starts_with("- [ ] ")
                || line.starts_with("- [x] ")
                || line.contains("](")
        })
        .count();
    signs >= 2
}

//! Reads what people have and hands it on as conversations and passages of documents.
//!
//! Chats: ChatGPT, Claude, Telegram, WhatsApp, Slack, Discord. Documents: Markdown, plain text, HTML, PDF, DOCX.
//! `docs/import.md` says of each what is taken out of it and what is left.
//!
//! * [`detect`] tells the [`Format`] by content; [`read`] reads a file and gives each [`Item`] to its caller as soon as
//!   it is complete. The [`Report`] counts what was taken and, by [`Reason`], what was not.
//! * Whatever a file has as the name of a turn is kept as its id, so that reading a newer export of the same chat names
//!   the same turns the same.
//!
//! Invariants of the crate:
//!
//! * No I/O, no clock, no time zone of the machine: a date without a zone is read with the offset in [`Options`], and
//!   says so ([`Zone::Assumed`]).
//! * Input is hostile. Every count and length is bounded by [`Limits`], archives are never unpacked to more than the
//!   limit whatever they claim, nothing recurses on the input, and a parser of a library that panics costs the file it
//!   read and nothing else.
//! * One bad record is left out and counted; it does not cost the rest of the file. What was handed on before a file
//!   breaks off stays, and [`Report::fault`] says where it broke.
//!
//! Out of scope: what is worth remembering, and whether a text may be believed (`memsync`); reading files from disk.

mod archive;
mod chat;
mod collect;
mod detect;
mod document;
mod error;
mod item;
mod json;
mod limits;
mod options;
mod report;
mod time;

pub use detect::detect;
pub use error::ImportError;
pub use item::{Conversation, Document, Item, Passage, Place, Role, Speaker, Turn};
pub use limits::Limits;
pub use options::{DateOrder, Format, Offset, Options};
pub use report::{Example, LeftOut, Reason, Report};
pub use time::{Moment, When, Zone};

use std::ops::ControlFlow;

use collect::Collector;

/// Reads `bytes` and gives every item to `take`, in the order of the file; `take` may stop the reading.
///
/// # Errors
///
/// When nothing could be taken: the format is not known, the file is broken or encrypted, or a limit forbids it. A file
/// that breaks off after something was taken is not an error: [`Report::fault`] says it.
pub fn read(
    bytes: &[u8],
    options: &Options,
    take: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> Result<Report, ImportError> {
    if bytes.len() > options.limits.input_len {
        return Err(ImportError::TooLarge {
            what: "the file".into(),
            limit: options.limits.input_len,
        });
    }
    let format = match options.format {
        Some(format) => format,
        None => detect::detect(bytes, options)?,
    };
    let mut into = Collector::new(format, options, take);
    let outcome = match format {
        Format::ChatGpt => chat::chatgpt::read(bytes, &mut into),
        Format::Claude => chat::claude::read(bytes, &mut into),
        Format::Telegram => chat::telegram::read(bytes, &mut into),
        Format::WhatsApp => chat::whatsapp::read(bytes, &mut into),
        Format::Slack => chat::slack::read(bytes, &mut into),
        Format::Discord => chat::discord::read(bytes, &mut into),
        Format::Markdown => document::markdown::read(bytes, &mut into),
        Format::Text => document::text::read(bytes, &mut into),
        Format::Html => document::html::read(bytes, &mut into),
        Format::Pdf => document::pdf::read(bytes, &mut into),
        Format::Docx => document::docx::read(bytes, &mut into),
    };
    into.finish(outcome)
}

/// Reads `bytes` and keeps every item. For small files and tests; [`read`] does not keep what it has handed on.
///
/// # Errors
///
/// As [`read`].
pub fn read_all(bytes: &[u8], options: &Options) -> Result<(Vec<Item>, Report), ImportError> {
    let mut items = Vec::new();
    let report = read(bytes, options, &mut |item| {
        items.push(item);
        ControlFlow::Continue(())
    })?;
    Ok((items, report))
}

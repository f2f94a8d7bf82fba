//! Office Open XML text documents.
//!
//! `word/document.xml` in a zip, read as a stream of tags: runs of text (`w:t`) in paragraphs (`w:p`), whose style tells
//! headings, in cells of tables or not. Text that is marked as deleted, and the code of fields, is not taken; headers,
//! footers, notes and comments are files of their own and are counted. No entity is expanded but XML's own five.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::passages::Passages;
use super::{decode, whole_file};
use crate::archive::Archive;
use crate::collect::Collector;
use crate::{ImportError, Reason};

pub(crate) const DOCUMENT: &str = "word/document.xml";

pub(crate) fn read(bytes: &[u8], into: &mut Collector<'_>) -> Result<(), ImportError> {
    let mut archive = Archive::open(bytes, into.format(), into.limits())?;
    for name in archive.names() {
        if [
            "word/header",
            "word/footer",
            "word/footnotes",
            "word/endnotes",
            "word/comments",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix) && name.ends_with(".xml"))
        {
            into.leave(Reason::Marginal, &name);
        } else if name.starts_with("word/media/") {
            into.leave(Reason::Media, &name);
        }
    }
    let title = match archive.file("docProps/core.xml") {
        Ok(properties) => title(&String::from_utf8_lossy(&properties)),
        Err(_) => None,
    };
    let xml = archive.file(DOCUMENT)?;
    let xml = decode::text(&xml, into);
    let mut passages = Passages::new(into.limits().passage_len);
    let broken = body(&xml, &mut passages, into);
    let passages = passages.finish();
    if let Err(detail) = broken {
        let error = ImportError::malformed(into.format(), detail);
        if passages.is_empty() {
            return Err(error);
        }
        into.fault(error.to_string());
    }
    whole_file(title, passages, into);
    Ok(())
}

/// What a paragraph has gathered.
#[derive(Default)]
struct Paragraph {
    text: String,
    heading: Option<usize>,
}

fn body(xml: &str, passages: &mut Passages, into: &mut Collector<'_>) -> Result<(), String> {
    let mut reader = Reader::from_str(xml);
    let mut paragraph = Paragraph::default();
    let (mut in_text, mut deleted, mut cells) = (false, 0_usize, 0_usize);
    loop {
        let place = reader.buffer_position();
        let event = reader
            .read_event()
            .map_err(|error| format!("{DOCUMENT}, byte {place}: {error}"))?;
        match event {
            Event::Start(tag) => match tag.local_name().as_ref() {
                "t" => in_text = true,
                "del" | "moveFrom" => {
                    deleted += 1;
                    into.leave(Reason::Deleted, "tracked deletion");
                }
                "tc" => cells += 1,
                _ => empty_or_start(&tag, &mut paragraph),
            },
            Event::Empty(tag) => empty_or_start(&tag, &mut paragraph),
            Event::End(tag) => match tag.local_name().as_ref() {
                "t" => in_text = false,
                "del" | "moveFrom" => deleted = deleted.saturating_sub(1),
                "tc" => {
                    cells = cells.saturating_sub(1);
                    paragraph.text.push_str(" | ");
                }
                // In a table, a row is a block.
                "tr" if cells == 0 => end(&mut paragraph, passages),
                "p" if cells == 0 => end(&mut paragraph, passages),
                "p" => paragraph.text.push(' '),
                _ => {}
            },
            Event::Text(text) if in_text && deleted == 0 => {
                paragraph.text.push_str(&text.xml10_content());
            }
            Event::GeneralRef(name) if in_text && deleted == 0 => {
                paragraph.text.push_str(&reference(&name));
            }
            Event::Eof => break,
            _ => {}
        }
    }
    end(&mut paragraph, passages);
    Ok(())
}

fn empty_or_start(tag: &BytesStart<'_>, paragraph: &mut Paragraph) {
    match tag.local_name().as_ref() {
        "tab" => paragraph.text.push('\t'),
        "br" | "cr" => paragraph.text.push('\n'),
        "noBreakHyphen" => paragraph.text.push('-'),
        "pStyle" => {
            let style = tag
                .attributes()
                .flatten()
                .find(|attribute| attribute.key.local_name().as_ref() == "val")
                .map(|attribute| attribute.value.to_lowercase());
            paragraph.heading = style.as_deref().and_then(heading);
        }
        _ => {}
    }
}

/// `Heading1`, and its name in documents made in other languages.
fn heading(style: &str) -> Option<usize> {
    if style == "title" {
        return Some(1);
    }
    let level = [
        "heading",
        "berschrift",
        "überschrift",
        "titre",
        "titolo",
        "ttulo",
        "título",
        "kop",
    ]
    .iter()
    .find_map(|word| style.strip_prefix(word))?;
    level
        .trim()
        .parse()
        .ok()
        .filter(|level| (1..=9).contains(level))
}

fn end(paragraph: &mut Paragraph, passages: &mut Passages) {
    let Paragraph { text, heading } = std::mem::take(paragraph);
    match heading {
        Some(level) => passages.heading(level, &text),
        None => passages.block(&text),
    }
}

/// XML's own entities and characters by number; any other stays as it was written.
fn reference(name: &quick_xml::events::BytesRef<'_>) -> String {
    if let Ok(Some(letter)) = name.resolve_char_ref() {
        return letter.to_string();
    }
    match &**name {
        "lt" => "<".to_owned(),
        "gt" => ">".to_owned(),
        "amp" => "&".to_owned(),
        "quot" => "\"".to_owned(),
        "apos" => "'".to_owned(),
        other => format!("&{other};"),
    }
}

/// `dc:title` of the properties.
fn title(xml: &str) -> Option<String> {
    let mut reader = Reader::from_str(xml);
    let mut title: Option<String> = None;
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) if tag.local_name().as_ref() == "title" => {
                title = Some(String::new());
            }
            Event::Text(text) => {
                if let Some(title) = &mut title {
                    title.push_str(&text.xml10_content());
                }
            }
            Event::GeneralRef(name) => {
                if let Some(title) = &mut title {
                    title.push_str(&reference(&name));
                }
            }
            Event::End(tag) if tag.local_name().as_ref() == "title" => return title,
            Event::Eof => return None,
            _ => {}
        }
    }
}

//! `CommonMark`, with tables: the text of its blocks, under their headings. Code is text too; pictures and raw HTML are
//! counted and left.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::passages::Passages;
use super::{decode, whole_file};
use crate::collect::Collector;
use crate::{ImportError, Reason};

pub(crate) fn read(bytes: &[u8], into: &mut Collector<'_>) -> Result<(), ImportError> {
    let text = decode::text(bytes, into);
    let mut passages = Passages::new(into.limits().passage_len);
    let mut title = None;
    let mut block = String::new();
    let (mut pictures, mut raw) = (0, 0);
    let mut in_front_matter = false;
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    for event in Parser::new_ext(&text, options) {
        match event {
            Event::Start(Tag::MetadataBlock(_)) => in_front_matter = true,
            Event::End(TagEnd::MetadataBlock(_)) => {
                in_front_matter = false;
                into.leave(Reason::Marginal, "front matter");
            }
            _ if in_front_matter => {}
            Event::Start(
                Tag::Heading { .. }
                | Tag::Paragraph
                | Tag::Item
                | Tag::CodeBlock(_)
                | Tag::TableRow
                | Tag::TableHead,
            ) => {
                passages.block(&std::mem::take(&mut block));
            }
            Event::Start(Tag::Image { .. }) => pictures += 1,
            Event::End(TagEnd::Heading(level)) => {
                let heading = std::mem::take(&mut block);
                if title.is_none() && level == HeadingLevel::H1 {
                    title = Some(heading.clone());
                }
                passages.heading(level as usize, &heading);
            }
            Event::End(
                TagEnd::Paragraph
                | TagEnd::Item
                | TagEnd::CodeBlock
                | TagEnd::TableRow
                | TagEnd::TableHead,
            ) => passages.block(&std::mem::take(&mut block)),
            Event::End(TagEnd::TableCell) => block.push_str(" | "),
            Event::Text(text) | Event::Code(text) => block.push_str(&text),
            Event::SoftBreak | Event::HardBreak => block.push('\n'),
            Event::TaskListMarker(done) => block.push_str(if done { "[x] " } else { "[ ] " }),
            Event::Html(_) | Event::InlineHtml(_) => raw += 1,
            _ => {}
        }
    }
    passages.block(&block);
    into.leave_many(Reason::Media, pictures, "picture");
    into.leave_many(Reason::UnknownKind, raw, "HTML inside Markdown");
    whole_file(title, passages.finish(), into);
    Ok(())
}

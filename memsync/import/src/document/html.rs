//! Web pages, tokenised as the HTML standard says, and no tree built: memory does not grow with nesting.
//!
//! Text is taken block by block, under its headings. Scripts, styles, forms' values and templates are not text; what an
//! element hides by its own attributes is counted and left; navigation, asides and footers are marginal.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::passages::Passages;
use super::{decode, whole_file};
use crate::collect::Collector;
use crate::{ImportError, Reason};

/// Text is fed in pieces of this length, so that the tokenizer's copy of it stays small.
const PIECE_LEN: usize = 64 * 1024; // bytes

pub(crate) fn read(bytes: &[u8], into: &mut Collector<'_>) -> Result<(), ImportError> {
    let text = match declared(bytes) {
        Some(encoding) => encoding.decode(bytes).0,
        None => decode::text(bytes, into),
    };
    let page = Page {
        state: RefCell::new(State {
            passages: Passages::new(into.limits().passage_len),
            block: String::new(),
            title: None,
            heading: None,
            skipped: None,
            marginal: 0,
            pictures: 0,
            margins: 0,
            invisible: 0,
        }),
    };
    let tokenizer = Tokenizer::new(page, TokenizerOpts::default());
    let queue = BufferQueue::default();
    let mut rest = &*text;
    while !rest.is_empty() {
        let mut end = rest.len().min(PIECE_LEN);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        queue.push_back(StrTendril::from_slice(&rest[..end]));
        rest = &rest[end..];
        // The sink never asks to run a script, which is all that a feed could stop for.
        while !queue.is_empty() {
            let _ = tokenizer.feed(&queue);
        }
    }
    tokenizer.end();
    let mut state = tokenizer.sink.state.into_inner();
    state.end_block();
    into.leave_many(Reason::Media, state.pictures, "picture, sound or film");
    into.leave_many(
        Reason::Marginal,
        state.margins,
        "header, footer or navigation",
    );
    into.leave_many(Reason::Invisible, state.invisible, "hidden element");
    whole_file(state.title, state.passages.finish(), into);
    Ok(())
}

/// The encoding that a page declares in its first kilobyte, as the standard's prescan finds it in ordinary pages.
fn declared(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    if encoding_rs::Encoding::for_bom(bytes).is_some() || std::str::from_utf8(bytes).is_ok() {
        return None;
    }
    let head = bytes[..bytes.len().min(1024)].to_ascii_lowercase();
    let at = head.windows(8).position(|window| window == b"charset=")? + 8;
    let label = head[at..]
        .iter()
        .skip_while(|byte| matches!(**byte, b'"' | b'\'' | b' '))
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(**byte, b'-' | b'_'))
        .copied()
        .collect::<Vec<_>>();
    encoding_rs::Encoding::for_label(&label)
}

struct Page {
    state: RefCell<State>,
}

struct State {
    passages: Passages,
    block: String,
    title: Option<String>,
    /// The level of the heading that is open.
    heading: Option<usize>,
    /// The element whose content is no text, and how many of its name are open, until the last of them ends.
    skipped: Option<(String, usize)>,
    /// Marginal elements that are open.
    marginal: usize,
    pictures: u64,
    margins: u64,
    invisible: u64,
}

impl State {
    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        let text = block
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join("\n");
        match self.heading.take() {
            Some(level) => self.passages.heading(level, &text),
            None => self.passages.block(&text),
        }
    }

    fn tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name = &*tag.name;
        let opens = tag.kind == TagKind::StartTag;
        if let Some((skipped, open)) = &mut self.skipped {
            if skipped == name {
                *open = if opens { *open + 1 } else { *open - 1 };
            }
            if *open == 0 {
                if name == "title" {
                    // A title in a picture is not the page's.
                    let title = std::mem::take(&mut self.block);
                    self.title.get_or_insert(title);
                }
                self.skipped = None;
            }
            return TokenSinkResult::Continue;
        }
        if opens && !tag.self_closing && !is_void(name) && is_hidden(tag) {
            self.invisible += 1;
            self.skipped = Some((name.to_owned(), 1));
            return TokenSinkResult::Continue;
        }
        match name {
            "title" if opens => {
                self.end_block();
                self.skipped = Some((name.to_owned(), 1));
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            "script" if opens => {
                self.skipped = Some((name.to_owned(), 1));
                return TokenSinkResult::RawData(RawKind::ScriptData);
            }
            "style" | "noscript" | "noframes" | "noembed" | "iframe" | "xmp" if opens => {
                self.skipped = Some((name.to_owned(), 1));
                return TokenSinkResult::RawData(RawKind::Rawtext);
            }
            "textarea" if opens => {
                self.skipped = Some((name.to_owned(), 1));
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            "template" | "select" | "svg" | "math" | "object" if opens && !tag.self_closing => {
                self.skipped = Some((name.to_owned(), 1));
            }
            "nav" | "footer" | "aside" => {
                self.end_block();
                if opens {
                    self.marginal += 1;
                    self.margins += 1;
                } else {
                    self.marginal = self.marginal.saturating_sub(1);
                }
            }
            "img" | "video" | "audio" | "picture" | "canvas" if opens => self.pictures += 1,
            "br" => self.block.push('\n'),
            "td" | "th" if !opens => self.block.push_str(" | "),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.end_block();
                if opens {
                    self.heading = Some(usize::from(name.as_bytes()[1] - b'0'));
                }
            }
            "p" | "div" | "li" | "ul" | "ol" | "dl" | "dt" | "dd" | "tr" | "table" | "section"
            | "article" | "main" | "header" | "body" | "head" | "html" | "pre" | "blockquote"
            | "figure" | "figcaption" | "hr" | "form" | "details" | "summary" | "address"
            | "caption" | "fieldset" => self.end_block(),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// Elements that have no content, so that what follows is not theirs.
fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "source"
            | "track"
            | "wbr"
    )
}

/// Hidden by its own attributes. What a style sheet hides is not known here.
fn is_hidden(tag: &Tag) -> bool {
    tag.attrs.iter().any(|attribute| {
        let value = || attribute.value.to_ascii_lowercase().replace(' ', "");
        match &*attribute.name.local {
            "hidden" => true,
            "aria-hidden" => value() == "true",
            "style" => {
                let style = value();
                style.contains("display:none")
                    || style.contains("visibility:hidden")
                    || style.contains("font-size:0;")
                    || style.ends_with("font-size:0")
                    || style.contains("opacity:0;")
                    || style.ends_with("opacity:0")
            }
            _ => false,
        }
    })
}

impl TokenSink for Page {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut state = self.state.borrow_mut();
        match token {
            Token::TagToken(tag) => return state.tag(&tag),
            Token::CharacterTokens(text)
                if state.marginal == 0
                    && state
                        .skipped
                        .as_ref()
                        .map(|(name, _)| &**name)
                        .is_none_or(|skipped| skipped == "title" && state.title.is_none()) =>
            {
                state.block.push_str(&text);
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

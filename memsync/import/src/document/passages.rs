//! Packs the blocks of a document into passages.
//!
//! Blocks in a row under one heading and on one page share a passage up to its length; a longer block is cut after a
//! sentence, else at a space, else between two characters.

use crate::{Passage, Place};

/// Headings nest at most so deep, in all formats read here.
const LEVELS: usize = 6;
/// Bytes of a heading that are kept with each passage.
const HEADING_LEN: usize = 200;

pub(crate) struct Passages {
    len: usize,
    headings: [Option<String>; LEVELS],
    /// The page, in formats that have pages.
    page: Option<usize>,
    blocks: usize,
    done: Vec<Passage>,
    open: Option<Passage>,
}

impl Passages {
    pub(crate) fn new(len: usize) -> Self {
        Self {
            // No less than a character.
            len: len.max(4),
            headings: Default::default(),
            page: None,
            blocks: 0,
            done: Vec::new(),
            open: None,
        }
    }

    /// A heading of `level` 1 to 6: what follows stands under it, and no longer under those of its level and below.
    pub(crate) fn heading(&mut self, level: usize, text: &str) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            return;
        }
        self.close();
        let level = level.clamp(1, LEVELS) - 1;
        self.headings[level..].fill(None);
        self.headings[level] = Some(text[..boundary(&text, HEADING_LEN)].to_owned());
    }

    pub(crate) fn page(&mut self, page: usize) {
        self.close();
        self.page = Some(page);
    }

    pub(crate) fn block(&mut self, text: &str) {
        let mut text = text.trim();
        if text.is_empty() {
            return;
        }
        self.blocks += 1;
        if let Some(open) = &mut self.open
            && open.text.len() + 1 + text.len() <= self.len
        {
            open.text.push('\n');
            open.text.push_str(text);
            return;
        }
        self.close();
        while text.len() > self.len {
            let end = cut(text, self.len);
            let passage = self.passage(text[..end].trim_end());
            self.done.push(passage);
            text = text[end..].trim_start();
        }
        if !text.is_empty() {
            self.open = Some(self.passage(text));
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Passage> {
        self.close();
        self.done
    }

    fn passage(&self, text: &str) -> Passage {
        Passage {
            headings: self.headings.iter().flatten().cloned().collect(),
            place: match self.page {
                Some(page) => Place::Page(page),
                None => Place::Block(self.blocks),
            },
            text: text.to_owned(),
        }
    }

    fn close(&mut self) {
        self.done.extend(self.open.take());
    }
}

/// The largest length of at most `len` bytes that ends between two characters.
fn boundary(text: &str, len: usize) -> usize {
    let mut end = len.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// Where to cut a text that is longer than `len`: never zero.
fn cut(text: &str, len: usize) -> usize {
    let end = boundary(text, len);
    let head = &text[..end];
    // A sentence that ends in the second half; otherwise the passage would be needlessly short.
    let sentence = head
        .char_indices()
        .rev()
        .take_while(|(at, _)| *at >= end / 2)
        .find(|(at, letter)| match letter {
            '.' | '!' | '?' | ';' => text[at + 1..].starts_with(char::is_whitespace),
            '\n' | '。' | '！' | '？' => true,
            _ => false,
        })
        .map(|(at, letter)| at + letter.len_utf8());
    sentence
        .or_else(|| head.rfind(char::is_whitespace))
        .filter(|end| *end > 0)
        .unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_block_is_cut_after_a_sentence_and_loses_no_word() {
        let text = "One two three. Four five six. Seven eight nine ten eleven.";
        let mut passages = Passages::new(32);
        passages.block(text);
        let texts: Vec<_> = passages.finish().into_iter().map(|it| it.text).collect();
        assert_eq!(texts[0], "One two three. Four five six.");
        assert_eq!(texts.join(" "), text);
    }

    #[test]
    fn a_block_without_spaces_is_cut_between_characters() {
        let text = "日".repeat(50);
        let mut passages = Passages::new(10);
        passages.block(&text);
        let passages = passages.finish();
        assert!(passages.iter().all(|it| it.text.len() <= 10));
        assert_eq!(
            passages.iter().map(|it| &*it.text).collect::<String>(),
            text
        );
    }

    #[test]
    fn a_heading_ends_those_below_it() {
        let mut passages = Passages::new(100);
        passages.heading(1, "A");
        passages.heading(3, "a");
        passages.block("under both");
        passages.heading(2, "b");
        passages.block("under A and b");
        let headings: Vec<_> = passages
            .finish()
            .into_iter()
            .map(|it| it.headings)
            .collect();
        assert_eq!(headings, [vec!["A", "a"], vec!["A", "b"]]);
    }
}

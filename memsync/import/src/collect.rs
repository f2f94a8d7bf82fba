//! Where every reader puts what it takes and what it leaves: counts, and keeps the limits.

use std::ops::ControlFlow;

use crate::{
    Conversation, Document, Example, Format, ImportError, Item, LeftOut, Limits, Options, Reason,
    Report,
};

/// Examples kept for each reason, bytes of the name of each, and of what it begins with.
const EXAMPLES: usize = 5;
const EXAMPLE_LEN: usize = 120;
const BEGINS_LEN: usize = 1_024;
/// Assumptions kept.
const ASSUMPTIONS: usize = 16;

pub(crate) struct Collector<'a> {
    pub(crate) options: &'a Options,
    take: &'a mut dyn FnMut(Item) -> ControlFlow<()>,
    report: Report,
    /// Turns and passages granted so far, those of the item at hand included.
    pieces: usize,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(
        format: Format,
        options: &'a Options,
        take: &'a mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Self {
        Self {
            options,
            take,
            report: Report {
                format,
                conversations: 0,
                turns: 0,
                documents: 0,
                passages: 0,
                text_len: 0,
                left_out: Vec::new(),
                assumptions: Vec::new(),
                fault: None,
                stopped: false,
            },
            pieces: 0,
        }
    }

    pub(crate) fn format(&self) -> Format {
        self.report.format
    }

    pub(crate) fn limits(&self) -> &'a Limits {
        &self.options.limits
    }

    /// Whether the caller has had enough.
    pub(crate) fn stopped(&self) -> bool {
        self.report.stopped
    }

    /// Counts one thing left out. `what` names it and is never its text.
    pub(crate) fn leave(&mut self, reason: Reason, what: &str) {
        self.note(reason, 1, what, "");
    }

    pub(crate) fn leave_many(&mut self, reason: Reason, count: u64, what: &str) {
        self.note(reason, count, what, "");
    }

    /// Counts one text left out. `what` names it; how it begins is kept beside.
    pub(crate) fn leave_text(&mut self, reason: Reason, what: &str, text: &str) {
        self.note(reason, 1, what, text);
    }

    fn note(&mut self, reason: Reason, count: u64, what: &str, text: &str) {
        if count == 0 {
            return;
        }
        let left = &mut self.report.left_out;
        let place = left
            .iter()
            .position(|left| left.reason == reason)
            .unwrap_or_else(|| {
                left.push(LeftOut {
                    reason,
                    count: 0,
                    examples: Vec::new(),
                });
                left.len() - 1
            });
        let left = &mut left[place];
        left.count += count;
        if left.examples.len() >= EXAMPLES {
            return;
        }
        let text = text.trim();
        let begins = beginning(text);
        let example = Example {
            place: shown(what),
            begins: (!text.is_empty()).then(|| begins.to_owned()),
            is_cut: begins.len() < text.len(),
        };
        let says_something = !example.place.is_empty() || example.begins.is_some();
        if says_something && !left.examples.contains(&example) {
            left.examples.push(example);
        }
    }

    pub(crate) fn assume(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if self.report.assumptions.len() < ASSUMPTIONS
            && !self.report.assumptions.contains(&sentence)
        {
            self.report.assumptions.push(sentence);
        }
    }

    /// The file breaks off here; what was taken before stays.
    pub(crate) fn fault(&mut self, sentence: impl Into<String>) {
        self.report.fault.get_or_insert(sentence.into());
    }

    pub(crate) fn conversation(&mut self, mut conversation: Conversation) {
        if self.report.stopped {
            return;
        }
        let mut kept = Vec::with_capacity(conversation.turns.len());
        for turn in conversation.turns {
            if turn.text.trim().is_empty() {
                self.leave(Reason::Empty, &turn.id);
            } else if turn.text.len() > self.limits().turn_len {
                self.leave_text(Reason::TooLong, &turn.id, &turn.text);
            } else if self.spend(turn.text.len()) {
                kept.push(turn);
            } else {
                self.leave_text(Reason::OverBudget, &turn.id, &turn.text);
            }
        }
        if kept.is_empty() {
            return;
        }
        self.report.conversations += 1;
        self.report.turns += kept.len() as u64;
        conversation.turns = kept;
        self.hand_on(Item::Conversation(conversation));
    }

    pub(crate) fn document(&mut self, mut document: Document) {
        if self.report.stopped {
            return;
        }
        let mut kept = Vec::with_capacity(document.passages.len());
        for passage in document.passages {
            if self.spend(passage.text.len()) {
                kept.push(passage);
            } else {
                self.leave_text(Reason::OverBudget, &document.id, &passage.text);
            }
        }
        if kept.is_empty() {
            self.leave(Reason::Empty, &document.id);
            return;
        }
        self.report.documents += 1;
        self.report.passages += kept.len() as u64;
        document.passages = kept;
        self.hand_on(Item::Document(document));
    }

    /// An error after something was taken is a fault of the report.
    pub(crate) fn finish(
        mut self,
        outcome: Result<(), ImportError>,
    ) -> Result<Report, ImportError> {
        if let Err(error) = outcome {
            if self.report.conversations + self.report.documents == 0 {
                return Err(error);
            }
            self.fault(error.to_string());
        }
        self.report.left_out.sort_by_key(|left| left.reason);
        Ok(self.report)
    }

    fn spend(&mut self, len: usize) -> bool {
        let text_len = self.report.text_len + len as u64;
        if self.pieces >= self.limits().pieces || text_len > self.limits().text_len as u64 {
            return false;
        }
        self.pieces += 1;
        self.report.text_len = text_len;
        true
    }

    fn hand_on(&mut self, item: Item) {
        if (self.take)(item).is_break() {
            self.report.stopped = true;
        }
    }
}

/// The first bytes of a text, to a whole character.
fn beginning(text: &str) -> &str {
    let mut end = text.len().min(BEGINS_LEN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A short, printable form of a name from outside.
fn shown(what: &str) -> String {
    let mut shown = String::new();
    for letter in what.chars() {
        if shown.len() + letter.len_utf8() > EXAMPLE_LEN {
            shown.push('…');
            break;
        }
        shown.push(if letter.is_control() { ' ' } else { letter });
    }
    shown.trim().to_owned()
}

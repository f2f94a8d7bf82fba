//! Plain text: paragraphs, between empty lines.

use super::passages::Passages;
use super::{decode, whole_file};
use crate::ImportError;
use crate::collect::Collector;

pub(crate) fn read(bytes: &[u8], into: &mut Collector<'_>) -> Result<(), ImportError> {
    let text = decode::text(bytes, into);
    let mut passages = Passages::new(into.limits().passage_len);
    paragraphs(&text, &mut passages);
    whole_file(None, passages.finish(), into);
    Ok(())
}

/// The paragraphs of `text`. Lines inside one stay lines: it may be verse, or a table.
pub(crate) fn paragraphs(text: &str, passages: &mut Passages) {
    let mut start = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            passages.block(&text[start..at]);
            start = at + line.len();
        }
        at += line.len();
    }
    passages.block(&text[start..]);
}

//! Reading the best candidates once more, each together with the question.
//!
//! A reranking model sees both texts at once, so it can tell an answer from what merely sounds like one. It is asked about
//! the best [`RERANKED`] candidates of the other arms, adds one more arm ([`Arm::Reranker`](crate::Arm::Reranker)) to their
//! scores, and brings no candidate of its own.
//!
//! What it reads of a candidate is a *passage*: the end of what was said before it in its session, and the document, each
//! after its speaker's name and a colon, with a line feed between. Somebody's "Yes, twice!" means nothing without the
//! question before it.

use crate::document::Document;

/// Candidates that are read again.
pub const RERANKED: usize = 30;
/// Bytes of what was said before a document, from its end.
const BEFORE: usize = 160;

/// Why passages were not read.
#[derive(Debug, thiserror::Error)]
#[error("rerank {passages} passages: {reason}")]
pub struct RerankError {
    /// How many were asked about.
    pub passages: usize,
    /// The model's or the transport's own words.
    pub reason: String,
    /// Whether asking again may help; else somebody has to mend something first.
    pub is_transient: bool,
}

/// A model that says how well passages answer a question. Implemented above this crate, over the inference service.
pub trait Reranker {
    /// A number for each passage, in order, larger for a better answer; on the model's own scale.
    ///
    /// # Errors
    ///
    /// [`RerankError`] when any of them could not be made; nothing is left out silently.
    fn rank(&self, question: &str, passages: &[String]) -> Result<Vec<f32>, RerankError>;
}

/// A document as a reranking model reads it, after the one before it in its session.
pub(crate) fn passage(before: Option<&Document>, document: &Document) -> String {
    let before = before.map(line).unwrap_or_default();
    let before = match before.len().checked_sub(BEFORE) {
        Some(cut) if cut > 0 => {
            // From the next word on, in scripts that part words.
            let rest = &before[before.ceil_char_boundary(cut)..];
            let next = rest.split_once(char::is_whitespace);
            next.map_or(rest, |(_, rest)| rest)
        }
        _ => &before,
    };
    match before {
        "" => line(document),
        before => format!("{before}\n{}", line(document)),
    }
}

fn line(document: &Document) -> String {
    match &document.speaker {
        Some(speaker) => format!("{speaker}: {}", document.text),
        None => document.text.clone(),
    }
}

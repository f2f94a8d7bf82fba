//! What was taken out of a file, and what was not.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Format;

/// What was taken out of a file, and what was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What it was read as.
    pub format: Format,
    /// Conversations handed on.
    pub conversations: u64,
    /// Their turns.
    pub turns: u64,
    /// Documents handed on.
    pub documents: u64,
    /// Their passages.
    pub passages: u64,
    /// Bytes of text handed on.
    pub text_len: u64,
    /// What was left, by reason.
    pub left_out: Vec<LeftOut>,
    /// What had to be assumed to read it, each a sentence.
    pub assumptions: Vec<String>,
    /// Where and why the file broke off, when it did.
    pub fault: Option<String>,
    /// Whether the caller stopped the reading.
    pub stopped: bool,
}

/// What was left out for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Why.
    pub reason: Reason,
    /// How many.
    pub count: u64,
    /// The first few.
    pub examples: Vec<Example>,
}

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Its name, its place or its kind; never its text.
    pub place: String,
    /// How it begins, where somebody or something wrote it as text. **Secrets are still in it**: who shows it takes them out, and
    /// only then makes it shorter, since of a part of a secret nobody tells that it is one.
    pub begins: Option<String>,
    /// Whether more was written than this says, so that its end may be the beginning of a secret.
    pub is_cut: bool,
}

impl Report {
    /// How many were left out for `reason`.
    pub fn left(&self, reason: Reason) -> u64 {
        self.left_out
            .iter()
            .find(|left| left.reason == reason)
            .map_or(0, |left| left.count)
    }
}

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// Instructions of the application to its model, joins and leaves of a chat, notices: nobody said it.
    System,
    /// What a tool, a search or a program gave to a model, and a model's thoughts.
    Tool,
    /// A picture, recording or file. Its text, if any beside it, was taken.
    Media,
    /// Nothing in it.
    Empty,
    /// Deleted by who wrote it, or marked as deleted text in a document.
    Deleted,
    /// An answer or question that was replaced by another; the conversation as it stands was taken.
    Replaced,
    /// Not what the format says it should be.
    Malformed,
    /// Longer than a limit allows.
    TooLong,
    /// Beyond the limit on all that is handed on.
    OverBudget,
    /// A kind of content that is not read.
    UnknownKind,
    /// A file of an archive that holds no conversation or document.
    OtherFile,
    /// A page that shows pictures of text, or no text at all. Nothing here reads pictures.
    NoTextLayer,
    /// Glyphs that the file does not say the letters of.
    UnmappedGlyph,
    /// Drawn or marked so that a reader of the document does not see it; what people hide instructions in.
    Invisible,
    /// Headers, footers, notes and comments of a document.
    Marginal,
}

impl Reason {
    /// A stable code for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Tool => "tool",
            Self::Media => "media",
            Self::Empty => "empty",
            Self::Deleted => "deleted",
            Self::Replaced => "replaced",
            Self::Malformed => "malformed",
            Self::TooLong => "too-long",
            Self::OverBudget => "over-budget",
            Self::UnknownKind => "unknown-kind",
            Self::OtherFile => "other-file",
            Self::NoTextLayer => "no-text-layer",
            Self::UnmappedGlyph => "unmapped-glyph",
            Self::Invisible => "invisible",
            Self::Marginal => "marginal",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "notices and instructions that nobody said",
            Self::Tool => "results of tools and thoughts of a model",
            Self::Media => "pictures, recordings and files",
            Self::Empty => "empty",
            Self::Deleted => "deleted by their author",
            Self::Replaced => "replaced by another version",
            Self::Malformed => "not as the format says",
            Self::TooLong => "longer than the limit",
            Self::OverBudget => "beyond the limit of one import",
            Self::UnknownKind => "of a kind that is not read",
            Self::OtherFile => "other files of the archive",
            Self::NoTextLayer => "pages without text",
            Self::UnmappedGlyph => "glyphs whose letters the file does not say",
            Self::Invisible => "text that a reader does not see",
            Self::Marginal => "headers, footers, notes and comments",
        })
    }
}

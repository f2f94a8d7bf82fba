//! What is remembered: episodes and facts, with who said them, where, when, and for how long they hold.

use std::fmt;

/// The caller's name of a document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId(pub [u8; 32]);

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0[..4] {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "…")
    }
}

/// Seconds since 1970-01-01T00:00:00, on one clock for all documents and questions of an index: what "yesterday" means is counted on it.
/// Memory gives UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

/// When something holds: from `from` inclusive until `until` exclusive; `None` is unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// The first moment inside.
    pub from: Option<Moment>,
    /// The first moment after.
    pub until: Option<Moment>,
}

impl Interval {
    /// Whether `moment` is inside.
    #[must_use]
    pub fn contains(&self, moment: Moment) -> bool {
        self.from.is_none_or(|from| from <= moment) && self.until.is_none_or(|until| moment < until)
    }
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Verbatim: one turn of a conversation, or one passage of a document.
    Episode,
    /// A statement drawn from episodes, which are its evidence.
    Fact,
}

/// One memory, as the index sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Unique in an index.
    pub id: DocumentId,
    /// Episode or fact.
    pub kind: Kind,
    /// What is searched and returned.
    pub text: String,
    /// What belongs to the text without being said: the caption of its picture, the title of its document. Searched with
    /// the text.
    pub context: String,
    /// Who said it; for a fact, whom it is about.
    pub speaker: Option<String>,
    /// The conversation or document it stands in. Neighbours are documents of one session.
    pub session: Option<String>,
    /// Place in the session.
    pub position: u32,
    /// When it was said.
    pub observed_at: Moment,
    /// When it holds in the world. Episodes hold always.
    pub valid: Interval,
    /// What filters can ask for: an app, a category, a thread.
    pub labels: Vec<String>,
    /// For a fact: the episodes that support it.
    pub evidence: Vec<DocumentId>,
}

impl Document {
    /// An episode that nobody said, in no session, at the start of 1970; the fields are public.
    #[must_use]
    pub fn new(id: DocumentId, kind: Kind, text: impl Into<String>) -> Self {
        Self {
            id,
            kind,
            text: text.into(),
            context: String::new(),
            speaker: None,
            session: None,
            position: 0,
            observed_at: Moment(0),
            valid: Interval::default(),
            labels: Vec::new(),
            evidence: Vec::new(),
        }
    }

    /// Whether it was drawn from other documents and was not said itself.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        self.kind == Kind::Fact && !self.evidence.is_empty()
    }

    /// The text to embed for this document. A speaker's name belongs to a passage and is cut from a question
    /// ([`Index::embeddable`](crate::Index::embeddable)): in a small sentence vector it outweighs the rest.
    #[must_use]
    pub fn passage(&self) -> String {
        let mut passage = String::new();
        if let Some(speaker) = &self.speaker {
            passage.push_str(speaker);
            passage.push_str(": ");
        }
        passage.push_str(&self.text);
        if !self.context.is_empty() {
            passage.push_str(" [");
            passage.push_str(&self.context);
            passage.push(']');
        }
        passage
    }
}

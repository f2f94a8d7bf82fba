//! What is handed on.

use serde::{Deserialize, Serialize};

use crate::{Format, When};

/// One conversation, part of one, or one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// Turns, oldest first.
    Conversation(Conversation),
    /// Passages, in reading order.
    Document(Document),
}

/// A conversation. Long ones come whole: what bounds them is the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Where it comes from.
    pub source: Format,
    /// Its name in the source; the same in every export of it, where the source has one.
    pub id: String,
    /// Its title, or the chat's or channel's name.
    pub title: Option<String>,
    /// Oldest first.
    pub turns: Vec<Turn>,
}

/// What one voice said at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Unique in its conversation; the same in every export of it, where the source has one.
    pub id: String,
    /// Who said it.
    pub speaker: Speaker,
    /// When, if the source says.
    pub at: Option<When>,
    /// What, without the source's own markup. Never empty.
    pub text: String,
}

/// Who said something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speaker {
    /// Whose side.
    pub role: Role,
    /// The name the source shows.
    pub name: Option<String>,
}

/// Whose side a voice is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The user whose export it is.
    User,
    /// A model, or a bot of a chat.
    Assistant,
    /// Somebody else; or, in a chat that does not say who the user is, anybody.
    Person,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Where it comes from.
    pub source: Format,
    /// The file's name, or its id in the source.
    pub id: String,
    /// Its title, as it says it.
    pub title: Option<String>,
    /// In reading order.
    pub passages: Vec<Passage>,
}

/// A piece of a document, short enough to be found by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// The headings above it, outermost first.
    pub headings: Vec<String>,
    /// Where it stands.
    pub place: Place,
    /// Its text. Never empty.
    pub text: String,
}

/// Where a passage stands in its document. Counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// A page, as the file counts them; not what is printed on it.
    Page(usize),
    /// A block (paragraph, list item, row), counted through the document.
    Block(usize),
}

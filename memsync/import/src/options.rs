//! What the caller says about a file.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Limits;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Format {
    /// OpenAI's data export: `conversations.json`, alone or in its zip.
    ChatGpt,
    /// Anthropic's data export: `conversations.json`, alone or in its zip with `projects.json`.
    Claude,
    /// Telegram Desktop's machine-readable export: `result.json`.
    Telegram,
    /// WhatsApp's "export chat": the text, alone or in its zip.
    WhatsApp,
    /// Slack's workspace export: a zip with a folder for each channel.
    Slack,
    /// DiscordChatExporter's JSON.
    Discord,
    /// `CommonMark`.
    Markdown,
    /// Anything that is text.
    Text,
    /// A web page.
    Html,
    /// ISO 32000.
    Pdf,
    /// Office Open XML, a text document.
    Docx,
}

impl Format {
    /// Every format, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::ChatGpt,
        Self::Claude,
        Self::Telegram,
        Self::WhatsApp,
        Self::Slack,
        Self::Discord,
        Self::Markdown,
        Self::Text,
        Self::Html,
        Self::Pdf,
        Self::Docx,
    ];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatGpt => "chatgpt",
            Self::Claude => "claude",
            Self::Telegram => "telegram",
            Self::WhatsApp => "whatsapp",
            Self::Slack => "slack",
            Self::Discord => "discord",
            Self::Markdown => "markdown",
            Self::Text => "text",
            Self::Html => "html",
            Self::Pdf => "pdf",
            Self::Docx => "docx",
        }
    }

    /// The format of that [`name`](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Whether it holds conversations; otherwise it is a document.
    pub fn is_chat(self) -> bool {
        matches!(
            self,
            Self::ChatGpt
                | Self::Claude
                | Self::Telegram
                | Self::WhatsApp
                | Self::Slack
                | Self::Discord
        )
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Minutes east of UTC, for dates that come without a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i16", into = "i16")]
pub struct Offset(i16);

impl TryFrom<i16> for Offset {
    type Error = &'static str;

    fn try_from(minutes: i16) -> Result<Self, Self::Error> {
        Self::from_minutes(minutes).ok_or("no place on Earth has this offset")
    }
}

impl From<Offset> for i16 {
    fn from(offset: Offset) -> Self {
        offset.0
    }
}

impl Offset {
    /// Coordinated universal time.
    pub const UTC: Self = Self(0);

    /// `None` beyond 18 hours: no place on Earth has such an offset.
    pub fn from_minutes(minutes: i16) -> Option<Self> {
        (-18 * 60..=18 * 60)
            .contains(&minutes)
            .then_some(Self(minutes))
    }

    /// Minutes east of UTC.
    pub fn minutes(self) -> i16 {
        self.0
    }
}

/// Which of two small numbers of a date is the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DateOrder {
    /// 31/12, as most of the world writes it.
    DayFirst,
    /// 12/31, as the United States write it.
    MonthFirst,
}

/// What the caller says about a file, beside its bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Options {
    /// The file's name. Names a document, and tells Markdown from plain text; never believed against the content.
    pub name: Option<String>,
    /// What the file is, when the caller knows; otherwise it is told by content.
    pub format: Option<Format>,
    /// The offset of dates without a zone (WhatsApp, Telegram's older exports).
    pub offset: Offset,
    /// The order of WhatsApp's dates, when the caller knows; otherwise it is inferred from the whole file.
    pub date_order: Option<DateOrder>,
    /// The name or id under which the user speaks in chats that do not say which of the voices is theirs.
    pub me: Option<String>,
    /// The bounds.
    pub limits: Limits,
}

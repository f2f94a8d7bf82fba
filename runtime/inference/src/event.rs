//! What a generation yields: pieces of text, tool calls, and how it ended.

use serde::{Deserialize, Serialize};

use crate::request::ToolCall;

/// One step of a generation, in the order the model produced them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// More text. Never empty, never a part of a character, never a part of a stop string that completed.
    Text(String),
    /// The model asks that a tool be called.
    ToolCall(ToolCall),
    /// The last event.
    Done(Completion),
}

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Why it ended.
    pub finish: FinishReason,
    /// How many tokens it took.
    pub usage: Usage,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinishReason {
    /// The model ended its turn, or a grammar was complete.
    Stop,
    /// A stop string was met.
    StopString,
    /// `max_tokens` or the end of the context was reached.
    Length,
    /// The model asked for tools.
    ToolCalls,
    /// The caller cancelled.
    Cancelled,
}

impl FinishReason {
    /// The word used in receipts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::StopString => "stop-string",
            Self::Length => "length",
            Self::ToolCalls => "tool-calls",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Tokens of one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Those whose state was reused from an earlier request.
    pub cached_tokens: u32,
    /// Tokens the model produced, the one that ended its turn included.
    pub completion_tokens: u32,
}

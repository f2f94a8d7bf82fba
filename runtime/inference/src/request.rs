//! What a caller asks for: messages, tools, the form of the answer, and how tokens are chosen.
//!
//! These are plain values. [`ChatRequest::check`] is the one place where their limits are enforced, before anything is
//! sent to a worker; a request that passed can still be refused by the worker for what only the model knows (its
//! context length, its template, whether a grammar parses).
//!
//! Out of scope: permission. Whoever calls has already decided that this model may be used.

use serde::{Deserialize, Serialize};

/// Most bytes of text in one request: messages, tools, grammar and stop strings together.
pub const MAX_REQUEST_BYTES: usize = 8 << 20;
/// Most messages in one request.
pub const MAX_MESSAGES: usize = 4096;
/// Most tools in one request.
pub const MAX_TOOLS: usize = 128;
/// Most stop strings in one request.
pub const MAX_STOP_STRINGS: usize = 16;
/// Longest stop string, in bytes. Text up to this length is held back while a stop string may still complete.
pub const MAX_STOP_BYTES: usize = 256;
/// Most texts in one call to `embed`.
pub const MAX_EMBED_TEXTS: usize = 256;
/// Longest JSON Schema or grammar, in bytes.
pub const MAX_GRAMMAR_BYTES: usize = 256 << 10;

/// Who said a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Instructions of the application.
    System,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
    /// The answer to a tool call.
    Tool,
}

impl Role {
    /// The word that chat templates compare with.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// A request by a model that a tool be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Unique within one generation; the answering message repeats it.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// A JSON object, as text.
    pub arguments_json: String,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub content: String,
    /// Calls made in this message; empty unless `role` is [`Role::Assistant`].
    pub tool_calls: Vec<ToolCall>,
    /// The call this message answers; set exactly when `role` is [`Role::Tool`].
    pub tool_call_id: Option<String>,
}

impl Message {
    /// A message without tool calls.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }
}

/// What a tool is called, does, and takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// The name the model uses.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// A JSON Schema of the arguments object, as text.
    pub parameters_schema: String,
}

/// Whether the model may, must or must not call a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// Tools are shown to the model, and what it writes is text.
    None,
    /// The output is constrained to one call of some tool.
    Required,
    /// The output is constrained to one call of this tool.
    Named(String),
}

/// What the text must be. A constrained generation cannot produce anything else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResponseFormat {
    /// Anything.
    #[default]
    Text,
    /// A JSON Schema, as JSON text.
    JsonSchema(String),
    /// A llama.cpp GBNF grammar whose start rule is `root`.
    Gbnf(String),
}

/// How tokens are chosen. `docs/sampling.md` gives the order of operations.
///
/// There is no seed: randomness comes from the client's nonce, the prompt, the model and the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 takes the likeliest token.
    pub temperature: f32,
    /// 0 keeps all.
    pub top_k: u32,
    /// 1 keeps all.
    pub top_p: f32,
    /// 0 keeps all.
    pub min_p: f32,
    /// 1 penalises nothing.
    pub repeat_penalty: f32,
    /// How many latest tokens (of prompt and output together) the penalty looks at.
    pub repeat_last_n: u32,
    /// The generation ends after this many tokens.
    pub max_tokens: u32,
    /// The text ends before the first of these.
    pub stop: Vec<String>,
}

impl Default for Sampling {
    /// The likeliest token each time, at most 256.
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 40,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            max_tokens: 256,
            stop: Vec::new(),
        }
    }
}

/// How the request is scheduled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lane {
    /// Alone in each step, with fixed kernels: the same request gives the same tokens.
    #[default]
    Exact,
    /// Batched with others: faster under load.
    Throughput,
}

impl Lane {
    /// The word used in receipts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Throughput => "throughput",
        }
    }
}

/// One conversation to continue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// A name in the model store, a BLAKE3 digest of weights in hex, or the empty string for the store's default.
    pub model: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Tools the model may ask for.
    pub tools: Vec<ToolSpec>,
    /// Whether it may, must or must not.
    pub tool_choice: ToolChoice,
    /// The form of the answer.
    pub response: ResponseFormat,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// How the request is scheduled.
    pub lane: Lane,
    /// What a template's `strftime_now` sees, in seconds since 1970-01-01 UTC. `None` leaves the function undefined, so
    /// that templates take their fixed date and the prompt does not depend on the day.
    pub template_time: Option<i64>,
}

impl ChatRequest {
    /// A request with one user message, greedy sampling and the exact lane.
    #[must_use]
    pub fn ask(model: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            messages: vec![Message::new(Role::User, text)],
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            response: ResponseFormat::Text,
            sampling: Sampling::default(),
            lane: Lane::Exact,
            template_time: None,
        }
    }

    /// Checks every limit that does not depend on the model.
    ///
    /// # Errors
    /// The first limit that does not hold.
    pub fn check(&self) -> Result<(), InvalidRequest> {
        use InvalidRequest as E;
        if self.messages.is_empty() {
            return Err(E::NoMessages);
        }
        if self.messages.len() > MAX_MESSAGES {
            return Err(E::TooManyMessages {
                found: self.messages.len(),
            });
        }
        if self.tools.len() > MAX_TOOLS {
            return Err(E::TooManyTools {
                found: self.tools.len(),
            });
        }
        let bytes = self.text_bytes();
        if bytes > MAX_REQUEST_BYTES {
            return Err(E::TooLong { found: bytes });
        }
        for (index, message) in self.messages.iter().enumerate() {
            if message.role != Role::Assistant && !message.tool_calls.is_empty() {
                return Err(E::MisplacedToolCalls { index });
            }
            if (message.role == Role::Tool) != message.tool_call_id.is_some() {
                return Err(E::MisplacedToolCallId { index });
            }
            for call in &message.tool_calls {
                if !is_json_object(&call.arguments_json) {
                    return Err(E::ArgumentsNotJson { index });
                }
            }
        }
        for tool in &self.tools {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
            if tool.name.is_empty() || tool.name.len() > 128 || !tool.name.chars().all(plain) {
                return Err(E::ToolName {
                    name: tool.name.chars().take(64).collect(),
                });
            }
            if !is_json_object(&tool.parameters_schema) {
                return Err(E::ToolSchema {
                    name: tool.name.clone(),
                });
            }
        }
        match &self.tool_choice {
            ToolChoice::Named(name) if !self.tools.iter().any(|tool| tool.name == *name) => {
                return Err(E::UnknownTool {
                    name: name.chars().take(64).collect(),
                });
            }
            ToolChoice::Required if self.tools.is_empty() => return Err(E::NoToolToRequire),
            ToolChoice::Named(_) | ToolChoice::Required
                if self.response != ResponseFormat::Text =>
            {
                return Err(E::TwoConstraints);
            }
            _ => {}
        }
        match &self.response {
            ResponseFormat::Text => {}
            ResponseFormat::JsonSchema(text) => {
                if text.len() > MAX_GRAMMAR_BYTES {
                    return Err(E::GrammarTooLong { found: text.len() });
                }
                if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
                    return Err(E::SchemaNotJson {
                        reason: error.to_string(),
                    });
                }
            }
            ResponseFormat::Gbnf(text) => {
                if text.len() > MAX_GRAMMAR_BYTES {
                    return Err(E::GrammarTooLong { found: text.len() });
                }
                if text.contains('\0') {
                    return Err(E::GrammarHasNul);
                }
            }
        }
        self.sampling.check()
    }

    fn text_bytes(&self) -> usize {
        let messages = self.messages.iter().map(|message| {
            let calls = message
                .tool_calls
                .iter()
                .map(|call| call.id.len() + call.name.len() + call.arguments_json.len())
                .sum::<usize>();
            message.content.len() + calls + message.tool_call_id.as_ref().map_or(0, String::len)
        });
        let tools = self
            .tools
            .iter()
            .map(|tool| tool.name.len() + tool.description.len() + tool.parameters_schema.len());
        let response = match &self.response {
            ResponseFormat::Text => 0,
            ResponseFormat::JsonSchema(text) | ResponseFormat::Gbnf(text) => text.len(),
        };
        messages.sum::<usize>()
            + tools.sum::<usize>()
            + response
            + self.sampling.stop.iter().map(String::len).sum::<usize>()
    }
}

impl Sampling {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), InvalidRequest> {
        let in_range = |what, value: f32, low: f32, high: f32| {
            if value.is_finite() && (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(InvalidRequest::OutOfRange { what, low, high })
            }
        };
        in_range("temperature", self.temperature, 0.0, 100.0)?;
        in_range("top-p", self.top_p, 0.0, 1.0)?;
        in_range("min-p", self.min_p, 0.0, 1.0)?;
        in_range("repeat-penalty", self.repeat_penalty, 0.01, 100.0)?;
        if self.max_tokens == 0 {
            return Err(InvalidRequest::NoTokens);
        }
        if self.stop.len() > MAX_STOP_STRINGS {
            return Err(InvalidRequest::TooManyStops {
                found: self.stop.len(),
            });
        }
        if self
            .stop
            .iter()
            .any(|stop| stop.is_empty() || stop.len() > MAX_STOP_BYTES)
        {
            return Err(InvalidRequest::StopLength);
        }
        Ok(())
    }
}

fn is_json_object(text: &str) -> bool {
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok()
}

/// The client's contribution to the randomness of a generation; the receipt repeats it.
///
/// A client that draws it at random knows that the answer was not computed before it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientNonce([u8; 32]);

impl ClientNonce {
    /// The nonce with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Where a generation stands in a larger run; all of it is signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// The run of an agent.
    pub run: Option<[u8; 16]>,
    /// Which generation of that run, from zero.
    pub step: Option<u32>,
    /// BLAKE3 of the previous receipt's envelope.
    pub previous: Option<[u8; 32]>,
}

/// Why a request cannot be run by any model. The caller changes it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// Nothing to answer.
    #[error("the request has no messages; give at least one")]
    NoMessages,
    /// More than [`MAX_MESSAGES`].
    #[error("the request has {found} messages, more than {MAX_MESSAGES}; shorten the conversation")]
    TooManyMessages {
        /// How many there were.
        found: usize,
    },
    /// More than [`MAX_TOOLS`].
    #[error("the request has {found} tools, more than {MAX_TOOLS}; offer fewer")]
    TooManyTools {
        /// How many there were.
        found: usize,
    },
    /// More than [`MAX_REQUEST_BYTES`].
    #[error("the request holds {found} bytes of text, more than {MAX_REQUEST_BYTES}; shorten it")]
    TooLong {
        /// How many there were.
        found: usize,
    },
    /// Tool calls in a message that is not the assistant's.
    #[error("message {index} carries tool calls but its role is not assistant")]
    MisplacedToolCalls {
        /// Which message, from zero.
        index: usize,
    },
    /// A tool answer that names no call, or another role that does.
    #[error("message {index}: a tool call id must be set exactly when the role is tool")]
    MisplacedToolCallId {
        /// Which message, from zero.
        index: usize,
    },
    /// Arguments of an earlier call that are not a JSON object.
    #[error("message {index}: the arguments of a tool call are not a JSON object")]
    ArgumentsNotJson {
        /// Which message, from zero.
        index: usize,
    },
    /// A name that models cannot be trusted to repeat.
    #[error("tool name {name:?} must be 1 to 128 ASCII letters, digits or _-./:")]
    ToolName {
        /// The name, cut to 64 characters.
        name: String,
    },
    /// Parameters that are not a schema.
    #[error("the parameters of tool {name:?} are not a JSON object")]
    ToolSchema {
        /// The tool.
        name: String,
    },
    /// The tool that must be called was not offered.
    #[error("tool {name:?} must be called but is not among the tools of the request")]
    UnknownTool {
        /// The name, cut to 64 characters.
        name: String,
    },
    /// A call is required and no tool was offered.
    #[error("a tool call is required but the request offers no tools")]
    NoToolToRequire,
    /// A required tool call and a response format both constrain the output.
    #[error(
        "a required tool call and a response format cannot both constrain one answer; choose one"
    )]
    TwoConstraints,
    /// More than [`MAX_GRAMMAR_BYTES`].
    #[error("the schema or grammar has {found} bytes, more than {MAX_GRAMMAR_BYTES}")]
    GrammarTooLong {
        /// How many there were.
        found: usize,
    },
    /// The schema is not JSON at all.
    #[error("the response schema is not JSON: {reason}")]
    SchemaNotJson {
        /// What the parser said.
        reason: String,
    },
    /// llama.cpp reads grammars up to the first NUL.
    #[error("the grammar contains a NUL character; remove it")]
    GrammarHasNul,
    /// A number outside its range, or not a number.
    #[error("{what} must be between {low} and {high}")]
    OutOfRange {
        /// The parameter.
        what: &'static str,
        /// Smallest value.
        low: f32,
        /// Largest value.
        high: f32,
    },
    /// `max_tokens` is zero.
    #[error("max-tokens is 0; ask for at least one token")]
    NoTokens,
    /// More than [`MAX_STOP_STRINGS`].
    #[error("{found} stop strings, more than {MAX_STOP_STRINGS}")]
    TooManyStops {
        /// How many there were.
        found: usize,
    },
    /// Empty, or longer than [`MAX_STOP_BYTES`].
    #[error("a stop string must have 1 to {MAX_STOP_BYTES} bytes")]
    StopLength,
    /// No text, or more than [`MAX_EMBED_TEXTS`].
    #[error("{found} texts to embed; give 1 to {MAX_EMBED_TEXTS}")]
    TextCount {
        /// How many there were.
        found: usize,
    },
}

//! The chat model that memory asks, as memory sees it. Implementations live above this crate, over an inference service.

/// A message of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, or `assistant` in an example.
    pub role: &'static str,
    /// What it says.
    pub content: String,
}

/// What an answer must look like. It is held to it token by token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON by this schema.
    Schema(&'static str),
    /// What this grammar derives (llama.cpp's GBNF).
    Grammar(String),
}

/// What a model is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The prompt.
    pub messages: Vec<Message>,
    /// What the answer must look like.
    pub form: Form,
    /// Most tokens of the answer.
    pub max_tokens: u32,
}

/// A receipt, as whoever made it hands it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptParts {
    /// The DSSE envelope (`docs/receipt.md`).
    pub envelope: Vec<u8>,
    /// A file of openings for it, or nothing.
    pub openings: Option<Vec<u8>>,
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The model's name.
    pub model: String,
    /// Tokens it read.
    pub prompt_tokens: u32,
    /// Tokens it wrote.
    pub output_tokens: u32,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether it was cut off at [`Ask::max_tokens`].
    pub is_cut: bool,
    /// The receipt; none where the model gives none, and then nothing about the call can be proved.
    pub receipt: Option<ReceiptParts>,
}

/// Why a model did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ModelError {
    /// What the service said.
    pub message: String,
    /// Whether asking again may help.
    pub is_transient: bool,
}

/// Why an answer is thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unused {
    /// Its receipt does not hold, or is of something else.
    Receipt,
    /// A call that belongs to it failed, and what both brought would have been kept together.
    Label,
    /// The vault was not written.
    Vault,
    /// What it is about was forgotten while the model answered.
    Forgotten,
}

/// What a model has to be told before it is asked for facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// What a fact is, with examples: any chat model.
    #[default]
    Any,
    /// The same, and that a fact may be of several categories: a chat model of more than a billion parameters.
    Large,
    /// Nothing: tally-nano, which was trained on its own short prompt and reads no other.
    Nano,
}

/// A model that answers. It is called from a thread that may wait.
pub trait ChatModel {
    /// Its name, for the log.
    fn name(&self) -> &str;

    /// How it is asked.
    fn dialect(&self) -> Dialect;

    /// Asks once.
    ///
    /// # Errors
    /// [`ModelError`]; memory asks again where that may help.
    fn ask(&self, ask: &Ask) -> Result<Answer, ModelError>;

    /// Told of an answer of it that is thrown away, so that no record names the call and what it cost.
    fn thrown_away(&self, _answer: &Answer, _why: Unused) {}
}

/// Bytes as a record of a call holds them.
pub(crate) fn encode(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

/// The bytes again; none if it is no base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok()
}

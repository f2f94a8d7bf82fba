//! Why a generation or an embedding did not succeed, sorted by who must act.

use crate::gguf::GgufError;
use crate::request::InvalidRequest;
use crate::weights::WeightsDigest;

/// Why `chat`, `embed` or `load` failed, or a running generation broke off.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// The caller changes the request: a limit that holds for every model.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The caller changes the request: this model cannot take it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The caller names another model, or the operator adds this one.
    #[error(
        "no model {name:?} in the store; add it with `tally model add`, or name one of: {known}"
    )]
    UnknownModel {
        /// What was asked for, cut to 128 characters.
        name: String,
        /// The names there are, separated by commas.
        known: String,
    },
    /// The store has no default model and the request named none.
    #[error(
        "the request names no model and the store has no default for it; name one, or add one with `tally model add`"
    )]
    NoDefaultModel,
    /// The caller tries again later.
    #[error("{queued} requests are waiting for this model already; try again later")]
    Busy {
        /// Requests that wait.
        queued: u32,
    },
    /// The caller tries again: the worker ended while it had the request, and another is being started.
    #[error("the worker of model {model:?} {loss}; the request was lost, try again")]
    WorkerLost {
        /// The model.
        model: String,
        /// How it ended.
        loss: WorkerLoss,
    },
    /// The operator acts: the worker cannot be started.
    #[error("start a worker for model {model:?}: {reason}")]
    WorkerUnavailable {
        /// The model.
        model: String,
        /// What happened, with what to do.
        reason: String,
    },
    /// The operator acts: the model store cannot be read.
    #[error("read the model store: {0}")]
    Store(String),
    /// The operator acts: the file is not a model that can be run.
    #[error("model {model:?} cannot be loaded: {fault}")]
    ModelUnusable {
        /// The model.
        model: String,
        /// What is wrong with it.
        fault: ModelFault,
    },
    /// The worker said something that does not follow from the request: its answer is not handed out.
    #[error("the worker of model {model:?} reported {what}; nothing was signed")]
    Inconsistent {
        /// The model.
        model: String,
        /// What does not hold.
        what: String,
    },
    /// The receipt could not be made or did not verify: the answer is not handed out as receipted.
    #[error("make the receipt: {0}")]
    Receipt(String),
    /// The generation was cancelled before it began.
    #[error("the request was cancelled")]
    Cancelled,
    /// The service was shut down.
    #[error("the inference service is shut down")]
    ShutDown,
}

impl InferenceError {
    /// Whether the same request may succeed when sent again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::WorkerLost { .. })
    }

    /// Whether the caller's request is at fault.
    #[must_use]
    pub fn is_callers(&self) -> bool {
        matches!(
            self,
            Self::Invalid(_) | Self::Refused(_) | Self::UnknownModel { .. }
        )
    }
}

/// Why this model cannot take a request that another might.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// An embedding model was asked to chat.
    #[error("this is an embedding model; it cannot chat, name a chat model")]
    EmbeddingModelForChat,
    /// A chat model was asked to embed.
    #[error(
        "this is a chat model; it has no embeddings, name an embedding model, as `tally model list` shows them (`make models` makes one)"
    )]
    ChatModelForEmbedding,
    /// A reranking model was asked for something else.
    #[error(
        "this is a reranking model; it says how well passages answer a question and does nothing else"
    )]
    RerankingModel,
    /// Another model was asked to rank.
    #[error("this model does not rank passages; name a reranking model")]
    NoRerankingModel,
    /// A reranking model that reads its question and passage in another form.
    #[error(
        "this reranking model does not read a question and a passage between marks of beginning and end, and other forms are not supported; use one of the BERT family"
    )]
    RankForm,
    /// Token vectors were asked of a model whose sentence vectors are not made of them.
    #[error("this model does not pool token vectors by their mean; ask for sentence vectors alone")]
    NoTokenVectors,
    /// The prompt fills the context.
    #[error(
        "the prompt has {prompt_tokens} tokens and the context holds {context_tokens}, of which one must be left for the answer; shorten the conversation"
    )]
    PromptTooLong {
        /// Tokens of the prompt. A lower bound when the text was too long to be worth tokenizing.
        prompt_tokens: u32,
        /// Tokens the context holds.
        context_tokens: u32,
    },
    /// A text to embed is longer than the model can read.
    #[error("text {index} has {tokens} tokens and the model reads {context_tokens}; split it")]
    TextTooLong {
        /// Which text, from zero.
        index: u32,
        /// Its tokens. A lower bound when the text was too long to be worth tokenizing.
        tokens: u32,
        /// Tokens the model reads.
        context_tokens: u32,
    },
    /// The conversation renders to no tokens at all.
    #[error("the conversation renders to an empty prompt; give a message with text")]
    EmptyPrompt,
    /// The model's chat template refused the conversation or cannot be run.
    #[error("the chat template of this model does not take the conversation: {reason}")]
    Template {
        /// What the template engine said.
        reason: String,
    },
    /// The schema has parts that no grammar expresses.
    #[error(
        "the JSON schema cannot be turned into a grammar; remove what llama.cpp's converter does not know"
    )]
    Schema,
    /// The grammar does not parse, or has no rule `root`, or recurses to the left.
    #[error(
        "the grammar does not parse; it must be GBNF with a start rule `root` and no left recursion"
    )]
    Grammar,
    /// No token of the model continues the constrained output.
    #[error("the grammar leaves the model no token to continue with; loosen it")]
    GrammarDeadEnd,
    /// llama.cpp did not compute a step.
    #[error(
        "llama.cpp could not compute a step ({reason}); shorten the conversation or use a smaller context"
    )]
    StepFailed {
        /// What it said.
        reason: String,
    },
    /// The model produced numbers that are none.
    #[error("the model computed no usable scores; its weights are broken")]
    BrokenScores,
}

/// How a worker process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerLoss {
    /// A signal that means a fault of the engine: abort, segmentation fault and the like.
    Crashed {
        /// The signal's number.
        signal: i32,
    },
    /// Killed from outside, or by the kernel for want of memory.
    Killed,
    /// It could not get the memory it needed.
    OutOfMemory,
    /// It made no step for too long and was killed.
    Hung {
        /// How long, in seconds.
        after_s: u64,
    },
    /// It ended by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// It sent bytes that are not the protocol and was killed.
    Garbled,
}

impl std::fmt::Display for WorkerLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Crashed { signal: 6 } => f.write_str("aborted"),
            Self::Crashed { signal } => write!(f, "crashed with signal {signal}"),
            Self::Killed => f.write_str("was killed"),
            Self::OutOfMemory => f.write_str("ran out of memory"),
            Self::Hung { after_s } => write!(f, "made no step in {after_s} s and was killed"),
            Self::Exited { code } => write!(f, "ended with exit code {code}"),
            Self::Garbled => f.write_str("broke the protocol and was killed"),
        }
    }
}

/// Why a model's file cannot be run.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFault {
    /// The weights are gone or cannot be read.
    #[error("read its weights: {0}; add the model again")]
    Unreadable(String),
    /// The weights are not those that were added.
    #[error(
        "its weights hash to {found}, not to {expected}; the file was altered, add the model again"
    )]
    Altered {
        /// BLAKE3 in the store's record.
        expected: WeightsDigest,
        /// BLAKE3 of what is there now.
        found: WeightsDigest,
    },
    /// The file changed between hashing and use.
    #[error("its weights changed while they were in use; stop whatever writes to the model store")]
    ChangedInUse,
    /// The header is not one we accept.
    #[error(transparent)]
    Header(#[from] GgufError),
    /// llama.cpp does not take it: an architecture it does not know, tensors that do not fit, a broken vocabulary.
    #[error(
        "llama.cpp does not load it; check that its architecture ({architecture}) is supported and the file is whole"
    )]
    Unloadable {
        /// What the header calls it.
        architecture: String,
    },
    /// llama.cpp aborted while it loaded the file.
    #[error("llama.cpp crashed while loading it; the file is damaged or of an unsupported kind")]
    CrashedLoading,
    /// Its worker was killed while it loaded the file: by somebody, or by the kernel for want of memory.
    #[error(
        "its worker was killed while it loaded, as the system does when memory is short; free some and try again, or use a \
         smaller model or context"
    )]
    KilledLoading,
    /// There is not enough memory for the weights or the context.
    #[error("not enough memory for it; use a smaller model or a smaller context")]
    OutOfMemory,
    /// The machine lacks instructions that the engine was built with.
    #[error("this processor lacks {missing}, which the engine was built with")]
    Processor {
        /// The instruction sets, separated by commas.
        missing: String,
    },
}

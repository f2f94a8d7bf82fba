//! Verified inference: llama.cpp in a supervised process of its own, and a signed receipt for every answer.
//!
//! ```text
//!  caller ──► Service ──(socket)──► worker process: template, tokens, llama.cpp, our sampler
//!    ▲           │                        │ token ids and counts
//!    └─ events ──┴── receipt ◄── signed ──┘
//! ```
//!
//! - [`ModelStore`] keeps weights by their BLAKE3 digest, and reads GGUF headers without trusting them.
//! - [`Service`] runs one worker per loaded model, restarts it when it dies, and signs receipts.
//! - [`sampler`] chooses tokens: pure, counter-based, checkable one position at a time.
//! - [`wordpiece`] gives the token ids of texts for BERT and its family, where llama.cpp's own differ from the published ones.
//! - [`worker::main`] is what the worker process runs; a binary re-executes itself to get there.
//!
//! Time, randomness and the key come in through [`Signer`]. `docs/sampling.md` specifies the sampler,
//! `docs/inference.md` the worker, the lanes and the model store.

mod error;
mod event;
mod gguf;
mod receipt;
mod request;
pub mod sampler;
mod service;
mod store;
mod supervisor;
mod template;
mod tools;
mod weights;
mod wire;
pub mod wordpiece;
pub mod worker;

pub use error::{InferenceError, ModelFault, Refusal, WorkerLoss};
pub use event::{Completion, Event, FinishReason, Usage};
pub use gguf::{GgufError, GgufHeader, MAX_HEADER_BYTES, ModelKind};
pub use receipt::{SignedReceipt, Signer};
pub use request::{
    ChatRequest, ClientNonce, InvalidRequest, Lane, Links, MAX_EMBED_TEXTS, MAX_GRAMMAR_BYTES,
    MAX_MESSAGES, MAX_REQUEST_BYTES, MAX_STOP_BYTES, MAX_STOP_STRINGS, MAX_TOOLS, Message,
    ResponseFormat, Role, Sampling, ToolCall, ToolChoice, ToolSpec,
};
pub use service::{
    Embedded, EngineOptions, Generation, LoadedModel, Ranked, Service, ServiceOptions, TokenRows,
    WorkerCommand, WorkerLimits,
};
pub use store::{
    AddMode, AddOptions, Listing, ModelName, ModelRecord, ModelStore, Removed, StoreError,
};
pub use weights::{WeightsDigest, WeightsHold};

//! The inference service: requests in, events and signed receipts out.
//!
//! One worker process runs per loaded model ([`crate::worker`]); this side starts and watches them, passes requests,
//! and turns what a worker *executed* (token ids, counts, the digest of what it loaded) into a signed receipt.
//!
//! Invariants:
//! - The node's key never reaches a worker.
//! - A receipt is verified with the public key before it is handed out.
//! - Nothing outlives the service: dropping it, or the process dying, ends every worker.
//! - No call blocks the caller's runtime; hashing and file access run on blocking threads.
//!
//! Out of scope: who may use which model (the caller decides), and settling receipts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{InferenceError, WorkerLoss};
use crate::event::Event;
use crate::gguf::ModelKind;
use crate::request::{ChatRequest, ClientNonce, Links};
use crate::store::{ModelName, ModelStore};
use crate::weights::WeightsDigest;

/// The program that becomes a worker by calling [`crate::worker::main`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerCommand {
    /// An executable; usually the running one.
    pub program: PathBuf,
    /// Its arguments, such as `__worker`.
    pub args: Vec<OsString>,
}

/// How models are run. Everything here is part of the engine profile in a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Threads of one step. More do not change a result; they are fixed so that this need not be believed.
    pub threads: u32,
    /// Tokens that one conversation may hold; the model's own limit where that is smaller.
    pub context_tokens: u32,
    /// Conversations that the throughput lane runs at once.
    pub slots: u32,
    /// Layers to put on a GPU, in builds with the `cuda` feature.
    pub gpu_layers: u32,
}

impl Default for EngineOptions {
    /// As many threads as there are processors (at most 16), 4096 tokens, 8 slots, no GPU.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(16) as u32);
        Self { threads, context_tokens: 4096, slots: 8, gpu_layers: 0 }
    }
}

/// What a worker may use, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Address space of a worker beyond its weights, in bytes; `None` leaves it to the system.
    pub memory_bytes: Option<u64>,
    /// Longest time to load a model.
    pub load_timeout: Duration,
    /// Longest time without a step while there is work; then the worker is killed.
    pub step_timeout: Duration,
    /// Requests that may wait for one model; more are answered with [`InferenceError::Busy`].
    pub queue: u32,
    /// Models loaded at once; the one idle longest is unloaded for the next.
    pub loaded_models: usize,
    /// Weights of at most this many bytes are held in sealed memory.
    pub seal_limit_bytes: u64,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            memory_bytes: None,
            load_timeout: Duration::from_secs(600),
            step_timeout: Duration::from_secs(120),
            queue: 256,
            loaded_models: 4,
            seal_limit_bytes: 1 << 30,
        }
    }
}

/// Everything a service is started with, besides its store and its signer.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// How to start a worker.
    pub worker: WorkerCommand,
    /// How models are run.
    pub engine: EngineOptions,
    /// What workers may use.
    pub limits: WorkerLimits,
}

impl ServiceOptions {
    /// The defaults, with this worker.
    #[must_use]
    pub fn new(worker: WorkerCommand) -> Self {
        Self { worker, engine: EngineOptions::default(), limits: WorkerLimits::default() }
    }
}

/// Runs models and signs what they did. Cheap to clone; the last clone's drop ends every worker.
#[derive(Clone, Debug)]
pub struct Service {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner;

/// A model that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedModel {
    /// Its name in the store.
    pub name: ModelName,
    /// BLAKE3 of what is loaded.
    pub weights: WeightsDigest,
    /// Chat or embedding.
    pub kind: ModelKind,
    /// Tokens one conversation may hold.
    pub context_tokens: u32,
    /// The worker's process id.
    pub pid: u32,
    /// How often its worker was started again after a loss.
    pub restarts: u32,
    /// How the last worker was lost, if one was.
    pub last_loss: Option<WorkerLoss>,
}

/// A running generation. Dropping it cancels it.
#[derive(Debug)]
pub struct Generation {}

/// A signed receipt and what opens its commitments. The service has verified it.
#[derive(Clone, Debug)]
pub struct SignedReceipt {
    /// The DSSE envelope, as JSON bytes.
    pub envelope: Vec<u8>,
    /// BLAKE3 of `envelope`.
    pub digest: [u8; 32],
    /// The node's public key.
    pub signer: [u8; 32],
    /// Token ids of the prompt, which the receipt commits to.
    pub prompt_tokens: Vec<u32>,
    /// The salt of that commitment.
    pub prompt_salt: [u8; 32],
    /// Token ids of the output, which the receipt commits to.
    pub output_tokens: Vec<u32>,
    /// The salt of that commitment.
    pub output_salt: [u8; 32],
}

impl Service {
    // new(store: ModelStore, signer: Signer, options: ServiceOptions) -> Service
    //     Signer { key: tally_receipt::SigningKey, now: fn() -> unix milliseconds, salt: fn() -> [u8; 32] }
    // async chat(&self, ChatRequest, ClientNonce, Links) -> Result<Generation, InferenceError>
    //     returns once the worker has taken the request: template, tokens, grammar and limits are checked
    // async embed(&self, model: &str, texts: Vec<String>) -> Result<Vec<Vec<f32>>, InferenceError>
    // async load(&self, model: &str) -> Result<LoadedModel, InferenceError>
    // loaded(&self) -> Vec<LoadedModel>
    // async shut_down(&self)                              every worker has ended when it returns
}

impl Generation {
    // async next(&mut self) -> Result<Option<Event>, InferenceError>      None after Done
    // cancel(&self)                                                       Done(Cancelled) follows, with a receipt
    // receipt(&self) -> Option<&SignedReceipt>                            Some once Done was returned
    // model(&self) -> &LoadedModel
}

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

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::error::{InferenceError, ModelFault, Refusal, WorkerLoss};
use crate::event::{Completion, Event, FinishReason, Usage};
use crate::gguf::ModelKind;
use crate::receipt::{self, ChatRecord, Identity, SignedReceipt, Signer, TextsRecord};
use crate::request::{
    ChatRequest, ClientNonce, InvalidRequest, Lane, Links, MAX_EMBED_TEXTS, MAX_REQUEST_BYTES,
    ToolCall,
};
use crate::store::{ModelName, ModelRecord, ModelStore, StoreError};
use crate::supervisor::{Reply, StartFailure, Worker};
use crate::weights::{Weights, WeightsDigest};
use crate::wire::{Chat, FromWorker, Load, LoadFault, PROTOCOL, RequestId, ToWorker};

/// First pause before a worker that was lost is started again; it doubles with each loss in a row.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Longest such pause.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

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
    /// Threads of one step; `None` chooses by the model's size. More do not change a result; they are part of the profile
    /// so that this need not be believed.
    pub threads: Option<u32>,
    /// Tokens that one conversation may hold; the model's own limit where that is smaller.
    pub context_tokens: u32,
    /// Conversations that the throughput lane runs at once.
    pub slots: u32,
    /// Layers to put on a GPU, in builds with the `cuda` feature.
    pub gpu_layers: u32,
}

impl Default for EngineOptions {
    /// Threads by the model's size, 4096 tokens, 8 slots, no GPU.
    fn default() -> Self {
        Self {
            threads: None,
            context_tokens: 4096,
            slots: 8,
            gpu_layers: 0,
        }
    }
}

impl EngineOptions {
    /// Threads for a model of this many weights. Threads of a step wait for each other at every layer; for a small model
    /// that is most of the work, and where other programs use the processors it is many times the work.
    fn threads_for(&self, parameters: u64) -> u32 {
        const SMALL: u64 = 50_000_000;
        let all =
            || std::thread::available_parallelism().map_or(1, |count| count.get().min(16) as u32);
        self.threads
            .unwrap_or_else(|| if parameters < SMALL { 1 } else { all() })
            .max(1)
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
        Self {
            worker,
            engine: EngineOptions::default(),
            limits: WorkerLimits::default(),
        }
    }
}

/// Runs models and signs what they did. Cheap to clone; the last clone's drop ends every worker.
#[derive(Clone, Debug)]
pub struct Service {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: ModelStore,
    signer: Signer,
    options: ServiceOptions,
    models: Mutex<HashMap<WeightsDigest, Arc<Slot>>>,
    next_id: AtomicU64,
    shut_down: AtomicBool,
}

/// One model, loaded or not.
#[derive(Debug)]
struct Slot {
    /// Held while a worker is being started, so that one start serves all who wait.
    gate: tokio::sync::Mutex<Gate>,
    view: Mutex<View>,
}

#[derive(Debug, Default)]
struct Gate {
    running: Option<Arc<Running>>,
    /// Kept between workers, so that a restart neither reads nor hashes the file again.
    weights: Option<Arc<Weights>>,
    /// Losses since the last answer.
    losses_in_a_row: u32,
}

/// What can be seen of a slot without waiting for a start.
#[derive(Debug, Default)]
struct View {
    running: Option<Arc<Running>>,
    restarts: u32,
    last_loss: Option<WorkerLoss>,
    used_at: Option<Instant>,
}

/// A worker, and what its receipts say about it.
#[derive(Debug)]
struct Running {
    name: ModelName,
    kind: ModelKind,
    worker: Worker,
    weights: Arc<Weights>,
    identity: Identity,
}

impl Slot {
    fn view(&self) -> MutexGuard<'_, View> {
        // Each change of the view is one assignment, so a panic leaves it whole.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A model that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedModel {
    /// Its name in the store.
    pub name: ModelName,
    /// BLAKE3 of what is loaded.
    pub weights: WeightsDigest,
    /// Chat, embedding or reranking.
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

/// Vectors and the receipt for them.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// One for each text, in order, of length 1.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of all texts together.
    pub tokens: u32,
    /// What was done, signed.
    pub receipt: SignedReceipt,
}

/// Numbers and the receipt for them.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// One for each passage, in order; finite.
    pub scores: Vec<f32>,
    /// Tokens of all pairs of question and passage together.
    pub tokens: u32,
    /// What was done, signed.
    pub receipt: SignedReceipt,
}

/// The vectors of one text's words, as the model gives them: of no particular length.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenRows {
    /// Entries of one vector.
    pub width: usize,
    /// *Shape* `[tokens, width]`, row by row. Marks of beginning and end are left out.
    pub rows: Vec<f32>,
}

impl TokenRows {
    /// Rows as the worker sends them; nothing when they are not whole or not finite.
    fn read(width: usize, bytes: &[u8]) -> Option<Self> {
        let row = width.checked_mul(size_of::<f32>()).filter(|row| *row > 0)?;
        if !bytes.len().is_multiple_of(row) {
            return None;
        }
        let rows: Vec<f32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect();
        rows.iter()
            .all(|x| x.is_finite())
            .then_some(Self { width, rows })
    }
}

impl Service {
    /// A service over the models of `store`. Nothing is loaded until it is asked for.
    #[must_use]
    pub fn new(store: ModelStore, signer: Signer, options: ServiceOptions) -> Self {
        let inner = Inner {
            store,
            signer,
            options,
            models: Mutex::default(),
            next_id: AtomicU64::new(1),
            shut_down: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Starts a generation. Returns when the worker has rendered and tokenized the conversation and compiled its grammar,
    /// so that what is wrong with the request shows here and not in the stream.
    ///
    /// # Errors
    /// [`InferenceError`], by who must act. Those that say so ([`InferenceError::is_retryable`]) may be tried again.
    pub async fn chat(
        &self,
        request: ChatRequest,
        nonce: ClientNonce,
        links: Links,
    ) -> Result<Generation, InferenceError> {
        let began = Instant::now();
        request.check()?;
        let record = self.resolve(&request.model).await?;
        match record.kind() {
            ModelKind::Chat => {}
            ModelKind::Embedding => return Err(Refusal::EmbeddingModelForChat.into()),
            ModelKind::Reranking => return Err(Refusal::RerankingModel.into()),
        }
        let slot = self.slot(record.weights);
        let running = self.ensure(&slot, &record).await?;
        let id = self.next_id();
        let chat = Chat {
            id,
            fairness: links.run.map_or(0, |run| {
                u64::from_le_bytes(run[..8].try_into().expect("8 of 16 bytes"))
            }),
            messages: request.messages.clone(),
            tools: request.tools.clone(),
            tool_choice: request.tool_choice.clone(),
            response: request.response.clone(),
            sampling: request.sampling.clone(),
            lane: request.lane,
            template_time: request.template_time,
            nonce: *nonce.as_bytes(),
            weights: *running.weights.digest().as_bytes(),
            node_key: *self.inner.signer.public_key().as_bytes(),
        };
        let mut pending = Pending::send(&running, id, &ToWorker::Chat(Box::new(chat)))?;
        let (prompt, grammar) = match pending.next().await? {
            FromWorker::Accepted {
                prompt, grammar, ..
            } => (prompt, grammar),
            _ => return Err(running.inconsistent("an output before the prompt")),
        };
        let loaded = running.worker.loaded();
        if prompt.is_empty()
            || prompt.len() >= loaded.context_tokens as usize
            || prompt.iter().any(|token| *token >= loaded.vocabulary)
        {
            return Err(running.inconsistent("a prompt that its model cannot read"));
        }
        Ok(Generation {
            pending,
            slot,
            signer: self.inner.signer.clone(),
            request,
            nonce,
            links,
            began,
            prompt,
            grammar,
            output: Vec::new(),
            asked: None,
            text: String::new(),
            calls: Vec::new(),
            events: VecDeque::new(),
            receipt: None,
            ended: false,
        })
    }

    /// Turns texts into vectors of length 1. The empty name means the store's default embedding model, or its only one.
    ///
    /// # Errors
    /// As [`Service::chat`].
    pub async fn embed(
        &self,
        model: &str,
        texts: Vec<String>,
        nonce: ClientNonce,
        links: Links,
    ) -> Result<Embedded, InferenceError> {
        let (embedded, _) = self.embed_as(model, texts, nonce, links, false).await?;
        Ok(embedded)
    }

    /// Turns texts into vectors of length 1, and each word of them too. A text's vector is the mean of its tokens' vectors; it
    /// differs from that of [`Service::embed`] by rounding alone. The receipt is for the vectors of the texts.
    ///
    /// # Errors
    /// As [`Service::embed`], and [`Refusal::NoTokenVectors`] for a model that pools otherwise.
    pub async fn embed_tokens(
        &self,
        model: &str,
        texts: Vec<String>,
        nonce: ClientNonce,
        links: Links,
    ) -> Result<(Embedded, Vec<TokenRows>), InferenceError> {
        self.embed_as(model, texts, nonce, links, true).await
    }

    async fn embed_as(
        &self,
        model: &str,
        texts: Vec<String>,
        nonce: ClientNonce,
        links: Links,
        with_tokens: bool,
    ) -> Result<(Embedded, Vec<TokenRows>), InferenceError> {
        let began = Instant::now();
        if texts.is_empty() || texts.len() > MAX_EMBED_TEXTS {
            return Err(InvalidRequest::TextCount { found: texts.len() }.into());
        }
        let bytes = texts.iter().map(String::len).sum();
        if bytes > MAX_REQUEST_BYTES {
            return Err(InvalidRequest::TooLong { found: bytes }.into());
        }
        let record = if model.is_empty() {
            self.default_embedding_model().await?
        } else {
            self.resolve(model).await?
        };
        match record.kind() {
            ModelKind::Embedding => {}
            ModelKind::Chat => return Err(Refusal::ChatModelForEmbedding.into()),
            ModelKind::Reranking => return Err(Refusal::RerankingModel.into()),
        }
        if with_tokens && record.header.pooling.as_deref() != Some("mean") {
            return Err(Refusal::NoTokenVectors.into());
        }
        let slot = self.slot(record.weights);
        let running = self.ensure(&slot, &record).await?;
        let id = self.next_id();
        let mut pending = Pending::send(
            &running,
            id,
            &ToWorker::Embed {
                id,
                texts: texts.clone(),
                with_tokens,
            },
        )?;
        let width = running.worker.loaded().embedding_length as usize;
        let mut rows = Vec::new();
        let (tokens, vectors) = loop {
            match pending.next().await? {
                FromWorker::TokenVectors { rows: bytes, .. } if with_tokens => {
                    let Some(read) =
                        TokenRows::read(width, &bytes).filter(|_| rows.len() < texts.len())
                    else {
                        return Err(running.inconsistent("token vectors of another form"));
                    };
                    rows.push(read);
                }
                FromWorker::Embedded {
                    tokens, vectors, ..
                } => break (tokens, vectors),
                _ => return Err(running.inconsistent("a text where vectors were asked for")),
            }
        };
        if vectors.len() != texts.len()
            || (with_tokens && rows.len() != texts.len())
            || !vectors
                .iter()
                .all(|vector| vector.len() == width && is_unit(vector))
        {
            return Err(running.inconsistent("vectors of another number, width or length"));
        }
        running.recheck()?;
        let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        let record = TextsRecord {
            operation: tally_receipt::Operation::Embed,
            nonce,
            links: &links,
            texts,
            prompt: tokens,
            numbers: &vectors.concat(),
            count: u32::try_from(vectors.len()).unwrap_or(u32::MAX),
            duration_ms: milliseconds_since(began),
        };
        let receipt = receipt::texts(&self.inner.signer, &running.identity, record)
            .map_err(InferenceError::Receipt)?;
        slot.succeeded();
        let embedded = Embedded {
            vectors,
            tokens: count,
            receipt,
        };
        Ok((embedded, rows))
    }

    /// How well each passage answers a question, by a reranking model: the larger the number, the better. Numbers are of
    /// one model's own scale. A question or passage too long for the model is cut at its end; the receipt says what was read.
    ///
    /// # Errors
    /// As [`Service::chat`].
    pub async fn rank(
        &self,
        model: &str,
        question: String,
        passages: Vec<String>,
        nonce: ClientNonce,
        links: Links,
    ) -> Result<Ranked, InferenceError> {
        let began = Instant::now();
        if passages.is_empty() || passages.len() > MAX_EMBED_TEXTS {
            return Err(InvalidRequest::TextCount {
                found: passages.len(),
            }
            .into());
        }
        let bytes = question.len() + passages.iter().map(String::len).sum::<usize>();
        if bytes > MAX_REQUEST_BYTES {
            return Err(InvalidRequest::TooLong { found: bytes }.into());
        }
        let record = self.resolve(model).await?;
        if record.kind() != ModelKind::Reranking {
            return Err(Refusal::NoRerankingModel.into());
        }
        let slot = self.slot(record.weights);
        let running = self.ensure(&slot, &record).await?;
        let id = self.next_id();
        let message = ToWorker::Rank {
            id,
            question: question.clone(),
            passages: passages.clone(),
        };
        let mut pending = Pending::send(&running, id, &message)?;
        let (tokens, scores) = match pending.next().await? {
            FromWorker::Ranked { tokens, scores, .. } => (tokens, scores),
            _ => return Err(running.inconsistent("something else where numbers were asked for")),
        };
        if scores.len() != passages.len() || !scores.iter().all(|score| score.is_finite()) {
            return Err(running.inconsistent("numbers of another count, or none"));
        }
        running.recheck()?;
        let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        let record = TextsRecord {
            operation: tally_receipt::Operation::Rank,
            nonce,
            links: &links,
            texts: std::iter::once(question).chain(passages).collect(),
            prompt: tokens,
            numbers: &scores,
            count: u32::try_from(scores.len()).unwrap_or(u32::MAX),
            duration_ms: milliseconds_since(began),
        };
        let receipt = receipt::texts(&self.inner.signer, &running.identity, record)
            .map_err(InferenceError::Receipt)?;
        slot.succeeded();
        Ok(Ranked {
            scores,
            tokens: count,
            receipt,
        })
    }

    /// What the store knows of the model that a request of this name would use, without loading it.
    ///
    /// # Errors
    /// As [`Service::chat`].
    pub async fn record(&self, model: &str) -> Result<ModelRecord, InferenceError> {
        self.resolve(model).await
    }

    /// Loads a model now instead of at its first use.
    ///
    /// # Errors
    /// As [`Service::chat`].
    pub async fn load(&self, model: &str) -> Result<LoadedModel, InferenceError> {
        let record = self.resolve(model).await?;
        let slot = self.slot(record.weights);
        let running = self.ensure(&slot, &record).await?;
        let view = slot.view();
        Ok(running.describe(&view))
    }

    /// The models that are loaded, by name.
    #[must_use]
    pub fn loaded(&self) -> Vec<LoadedModel> {
        let models = self.models();
        let mut loaded: Vec<LoadedModel> = models
            .values()
            .filter_map(|slot| {
                let view = slot.view();
                view.running
                    .as_ref()
                    .filter(|running| running.worker.lost().is_none())
                    .map(|running| running.describe(&view))
            })
            .collect();
        loaded.sort_by(|a, b| a.name.cmp(&b.name));
        loaded
    }

    /// Ends every worker. Generations that run end with [`InferenceError::WorkerLost`]. Returns when the processes are gone.
    pub async fn shut_down(&self) {
        self.inner.shut_down.store(true, Ordering::SeqCst);
        let slots: Vec<Arc<Slot>> = self.models().drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            // A start that is under way ends first.
            let running = slot.gate.lock().await.running.take();
            slot.view().running = None;
            if let Some(running) = running {
                running.worker.end().await;
            }
        }
    }

    fn models(&self) -> MutexGuard<'_, HashMap<WeightsDigest, Arc<Slot>>> {
        self.inner
            .models
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn next_id(&self) -> RequestId {
        RequestId(self.inner.next_id.fetch_add(1, Ordering::Relaxed))
    }

    async fn resolve(&self, model: &str) -> Result<ModelRecord, InferenceError> {
        let store = &self.inner.store;
        let failed = |error: StoreError| InferenceError::Store(error.to_string());
        if model.is_empty() {
            return store
                .default_model(ModelKind::Chat)
                .await
                .map_err(failed)?
                .ok_or(InferenceError::NoDefaultModel);
        }
        match store.resolve(model).await {
            Ok(record) => Ok(record),
            Err(StoreError::Unknown { name }) => {
                let records = store.list().await.map_err(failed)?;
                let known: Vec<String> = records
                    .iter()
                    .map(|record| record.name.to_string())
                    .collect();
                Err(InferenceError::UnknownModel {
                    name,
                    known: known.join(", "),
                })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The store's default embedding model, or its only one; with several and no default the caller says which.
    async fn default_embedding_model(&self) -> Result<ModelRecord, InferenceError> {
        let found = self.inner.store.default_or_only(ModelKind::Embedding).await;
        match found {
            Ok(Some(record)) => Ok(record),
            Ok(None) | Err(StoreError::Undecided { .. }) => Err(InferenceError::NoDefaultModel),
            Err(error) => Err(InferenceError::Store(error.to_string())),
        }
    }

    fn slot(&self, weights: WeightsDigest) -> Arc<Slot> {
        let mut models = self.models();
        let slot = models.entry(weights).or_insert_with(|| {
            Arc::new(Slot {
                gate: tokio::sync::Mutex::default(),
                view: Mutex::default(),
            })
        });
        slot.view().used_at = Some(Instant::now());
        Arc::clone(slot)
    }

    /// The slot's worker, started if need be.
    async fn ensure(
        &self,
        slot: &Arc<Slot>,
        record: &ModelRecord,
    ) -> Result<Arc<Running>, InferenceError> {
        let mut gate = slot.gate.lock().await;
        if self.inner.shut_down.load(Ordering::SeqCst) {
            return Err(InferenceError::ShutDown);
        }
        if let Some(running) = &gate.running {
            match running.worker.lost() {
                None => return Ok(Arc::clone(running)),
                Some(loss) => {
                    gate.running = None;
                    gate.losses_in_a_row += 1;
                    let mut view = slot.view();
                    view.running = None;
                    view.last_loss = Some(loss);
                    view.restarts += 1;
                }
            }
        }
        // The first restart is at once: one loss says nothing about the next.
        if gate.losses_in_a_row > 1 {
            let doublings = (gate.losses_in_a_row - 2).min(16);
            tokio::time::sleep((FIRST_BACKOFF * 2u32.pow(doublings)).min(LONGEST_BACKOFF)).await;
        }
        self.make_room(slot).await?;
        let weights = match &gate.weights {
            Some(weights) => {
                weights.recheck().map_err(|fault| unusable(record, fault))?;
                Arc::clone(weights)
            }
            None => {
                let (path, digest) = (
                    self.inner.store.weights_path(&record.weights),
                    record.weights,
                );
                let limit = self.inner.options.limits.seal_limit_bytes;
                let opened =
                    tokio::task::spawn_blocking(move || Weights::open(&path, digest, limit)).await;
                let opened = opened.map_err(|_| InferenceError::ShutDown)?;
                Arc::new(opened.map_err(|fault| unusable(record, fault))?)
            }
        };
        let running = match self.start(record, &weights).await {
            Ok(running) => Arc::new(running),
            Err(failure) => {
                gate.losses_in_a_row += 1;
                return Err(failure);
            }
        };
        gate.weights = Some(weights);
        gate.running = Some(Arc::clone(&running));
        slot.view().running = Some(Arc::clone(&running));
        Ok(running)
    }

    async fn start(
        &self,
        record: &ModelRecord,
        weights: &Arc<Weights>,
    ) -> Result<Running, InferenceError> {
        let options = &self.inner.options;
        let header = weights.header();
        let load = Load {
            protocol: PROTOCOL,
            parent_pid: std::process::id(),
            kind: header.kind,
            chat_template: header.chat_template.clone(),
            tokenizer: header.tokenizer.clone(),
            threads: options.engine.threads_for(header.parameters),
            context_tokens: options.engine.context_tokens.max(1),
            slots: options.engine.slots.clamp(1, 128),
            gpu_layers: options.engine.gpu_layers,
            queue: options.limits.queue,
            memory_bytes: options.limits.memory_bytes,
        };
        let worker = Worker::start(&options.worker, weights, load, &options.limits)
            .await
            .map_err(|failure| start_failure(record, failure))?;
        // What the worker mapped is what was hashed.
        weights.recheck().map_err(|fault| unusable(record, fault))?;
        let identity = Identity::new(
            record.name.as_str(),
            &weights.digest(),
            header,
            weights.hold(),
            worker.loaded(),
            options.engine.gpu_layers,
        );
        Ok(Running {
            name: record.name.clone(),
            kind: header.kind,
            worker,
            weights: Arc::clone(weights),
            identity,
        })
    }

    /// Unloads models that rest until another fits.
    async fn make_room(&self, wanted: &Arc<Slot>) -> Result<(), InferenceError> {
        loop {
            let resting = {
                let models = self.models();
                let others: Vec<&Arc<Slot>> = models
                    .values()
                    .filter(|slot| !Arc::ptr_eq(slot, wanted))
                    .filter(|slot| {
                        slot.view()
                            .running
                            .as_ref()
                            .is_some_and(|running| running.worker.lost().is_none())
                    })
                    .collect();
                if others.len() < self.inner.options.limits.loaded_models.max(1) {
                    return Ok(());
                }
                let rests = |slot: &&&Arc<Slot>| {
                    slot.view()
                        .running
                        .as_ref()
                        .is_some_and(|running| running.worker.outstanding() == 0)
                };
                let longest = others
                    .iter()
                    .filter(rests)
                    .min_by_key(|slot| slot.view().used_at);
                longest
                    .map(|slot| Arc::clone(slot))
                    .ok_or(InferenceError::Busy { queued: 0 })?
            };
            let mut gate = resting.gate.lock().await;
            *gate = Gate::default();
            let running = resting.view().running.take();
            if let Some(running) = running {
                running.worker.end().await;
            }
        }
    }
}

impl Slot {
    /// A request was answered: the next loss is the first again.
    fn succeeded(&self) {
        // Somebody who holds the gate is starting a worker and counts for himself.
        if let Ok(mut gate) = self.gate.try_lock() {
            gate.losses_in_a_row = 0;
        }
    }
}

impl Running {
    fn describe(&self, view: &View) -> LoadedModel {
        LoadedModel {
            name: self.name.clone(),
            weights: self.weights.digest(),
            kind: self.kind,
            context_tokens: self.worker.loaded().context_tokens,
            pid: self.worker.pid(),
            restarts: view.restarts,
            last_loss: view.last_loss,
        }
    }

    fn recheck(&self) -> Result<(), InferenceError> {
        self.weights
            .recheck()
            .map_err(|fault| InferenceError::ModelUnusable {
                model: self.name.to_string(),
                fault,
            })
    }

    fn inconsistent(&self, what: &str) -> InferenceError {
        InferenceError::Inconsistent {
            model: self.name.to_string(),
            what: what.to_owned(),
        }
    }
}

/// A request that a worker has. Dropping it before the last frame cancels it.
#[derive(Debug)]
struct Pending {
    running: Arc<Running>,
    id: RequestId,
    replies: mpsc::UnboundedReceiver<Reply>,
}

impl Pending {
    fn send(
        running: &Arc<Running>,
        id: RequestId,
        message: &ToWorker,
    ) -> Result<Self, InferenceError> {
        let replies = running.worker.request(id, message).map_err(|error| {
            InferenceError::WorkerUnavailable {
                model: running.name.to_string(),
                reason: format!("the request does not fit a frame: {error}"),
            }
        })?;
        Ok(Self {
            running: Arc::clone(running),
            id,
            replies,
        })
    }

    /// The next frame that is no refusal.
    async fn next(&mut self) -> Result<FromWorker, InferenceError> {
        let model = || self.running.name.to_string();
        match self.replies.recv().await {
            Some(Reply::Frame(FromWorker::Refused { refusal, .. })) => Err(refusal.into()),
            Some(Reply::Frame(FromWorker::Busy { queued, .. })) => {
                Err(InferenceError::Busy { queued })
            }
            Some(Reply::Frame(frame)) => Ok(frame),
            Some(Reply::Lost(loss)) => Err(InferenceError::WorkerLost {
                model: model(),
                loss,
            }),
            None => Err(InferenceError::WorkerLost {
                model: model(),
                loss: WorkerLoss::Killed,
            }),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // When it is still known there, frames would follow; nobody reads them.
        if self.running.worker.forget(self.id) {
            self.running.worker.cancel(self.id);
        }
    }
}

/// A running generation. Dropping it cancels it.
#[derive(Debug)]
pub struct Generation {
    pending: Pending,
    slot: Arc<Slot>,
    signer: Signer,
    request: ChatRequest,
    nonce: ClientNonce,
    links: Links,
    began: Instant,
    prompt: Vec<u32>,
    grammar: Option<[u8; 32]>,
    output: Vec<u32>,
    asked: Option<Vec<u8>>,
    text: String,
    calls: Vec<ToolCall>,
    events: VecDeque<Event>,
    receipt: Option<SignedReceipt>,
    ended: bool,
}

impl Generation {
    /// The next event; none after [`Event::Done`]. Safe to drop before it is ready: nothing is lost.
    ///
    /// # Errors
    /// [`InferenceError::WorkerLost`] when the worker died, [`InferenceError::Refused`] when the generation cannot go on,
    /// [`InferenceError::Receipt`] and [`InferenceError::Inconsistent`] when no receipt can be given. No event follows an
    /// error.
    pub async fn next(&mut self) -> Result<Option<Event>, InferenceError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            let frame = self
                .pending
                .next()
                .await
                .inspect_err(|_| self.ended = true)?;
            if let Err(error) = self.take(frame) {
                self.ended = true;
                self.events.clear();
                return Err(error);
            }
        }
    }

    /// Says what the client sent, where that was something else than the [`ChatRequest`]: the receipt then commits to these
    /// bytes. Without effect once the generation has ended.
    pub fn was_asked(&mut self, request: Vec<u8>) {
        self.asked = Some(request);
    }

    /// Asks for the end. What was written until then, [`FinishReason::Cancelled`] and a receipt follow; or whatever
    /// the generation ended with, when it was faster.
    pub fn cancel(&self) {
        if !self.ended {
            self.pending.running.worker.cancel(self.pending.id);
        }
    }

    /// The receipt, once [`Event::Done`] was returned.
    #[must_use]
    pub fn receipt(&self) -> Option<&SignedReceipt> {
        self.receipt
            .as_ref()
            .filter(|_| self.ended && self.events.is_empty())
    }

    /// The weights that run.
    #[must_use]
    pub fn weights(&self) -> WeightsDigest {
        self.pending.running.weights.digest()
    }

    fn take(&mut self, frame: FromWorker) -> Result<(), InferenceError> {
        match frame {
            FromWorker::Output {
                tokens,
                text,
                calls,
                ..
            } => {
                let vocabulary = self.pending.running.worker.loaded().vocabulary;
                self.output.extend_from_slice(&tokens);
                if self.output.len() > self.request.sampling.max_tokens as usize
                    || tokens.iter().any(|token| *token >= vocabulary)
                {
                    return Err(self
                        .pending
                        .running
                        .inconsistent("tokens that were not asked for"));
                }
                self.push(text, calls);
                Ok(())
            }
            FromWorker::Finished {
                finish,
                cached_tokens,
                ..
            } => self.finish(finish, cached_tokens),
            _ => Err(self
                .pending
                .running
                .inconsistent("something else than an output")),
        }
    }

    fn push(&mut self, text: String, calls: Vec<ToolCall>) {
        if !text.is_empty() {
            self.text.push_str(&text);
            self.events.push_back(Event::Text(text));
        }
        self.calls.extend_from_slice(&calls);
        self.events.extend(calls.into_iter().map(Event::ToolCall));
    }

    fn finish(&mut self, finish: FinishReason, cached_tokens: u32) -> Result<(), InferenceError> {
        let running = Arc::clone(&self.pending.running);
        let usage = Usage {
            prompt_tokens: u32::try_from(self.prompt.len()).unwrap_or(u32::MAX),
            cached_tokens,
            completion_tokens: u32::try_from(self.output.len()).unwrap_or(u32::MAX),
        };
        if cached_tokens >= usage.prompt_tokens
            || (self.request.lane == Lane::Exact && cached_tokens > 0)
        {
            return Err(running.inconsistent("a cached prefix that cannot be"));
        }
        running.recheck()?;
        let record = ChatRecord {
            request: &self.request,
            nonce: self.nonce,
            links: &self.links,
            prompt: std::mem::take(&mut self.prompt),
            cached: cached_tokens,
            output: std::mem::take(&mut self.output),
            asked: self.asked.take(),
            text: std::mem::take(&mut self.text),
            calls: std::mem::take(&mut self.calls),
            grammar: self.grammar,
            finish,
            duration_ms: milliseconds_since(self.began),
        };
        self.receipt = Some(
            receipt::chat(&self.signer, &running.identity, record)
                .map_err(InferenceError::Receipt)?,
        );
        self.ended = true;
        self.slot.succeeded();
        self.events
            .push_back(Event::Done(Completion { finish, usage }));
        Ok(())
    }
}

fn milliseconds_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn is_unit(vector: &[f32]) -> bool {
    let square: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    (square - 1.0).abs() < 1e-3
}

fn unusable(record: &ModelRecord, fault: ModelFault) -> InferenceError {
    InferenceError::ModelUnusable {
        model: record.name.to_string(),
        fault,
    }
}

fn start_failure(record: &ModelRecord, failure: StartFailure) -> InferenceError {
    let model = record.name.to_string();
    let fault = match failure {
        StartFailure::Spawn(reason) => return InferenceError::WorkerUnavailable { model, reason },
        StartFailure::Slow => {
            let reason =
                "it did not load the model in time; raise the limit or use a smaller model"
                    .to_owned();
            return InferenceError::WorkerUnavailable { model, reason };
        }
        StartFailure::Fault(LoadFault::Protocol) => {
            let reason =
                "the worker program is of another version; install both from the same release"
                    .to_owned();
            return InferenceError::WorkerUnavailable { model, reason };
        }
        StartFailure::Lost(WorkerLoss::Exited { code }, stderr) => {
            let reason = format!(
                "it ended at once with exit code {code}: {}",
                last_line(&stderr)
            );
            return InferenceError::WorkerUnavailable { model, reason };
        }
        StartFailure::Lost(WorkerLoss::Garbled, _) => {
            let reason =
                "the worker program does not speak the protocol; check the command that starts it"
                    .to_owned();
            return InferenceError::WorkerUnavailable { model, reason };
        }
        StartFailure::Processor(missing) => ModelFault::Processor { missing },
        StartFailure::Fault(LoadFault::Unloadable) => ModelFault::Unloadable {
            architecture: record.header.architecture.clone(),
        },
        StartFailure::Fault(LoadFault::OutOfMemory)
        | StartFailure::Lost(WorkerLoss::OutOfMemory, _) => ModelFault::OutOfMemory,
        StartFailure::Lost(WorkerLoss::Killed, _) => ModelFault::KilledLoading,
        StartFailure::Lost(_, _) => ModelFault::CrashedLoading,
    };
    InferenceError::ModelUnusable { model, fault }
}

/// The line that says most of what a process wrote before it ended: the one after a panic's place, or the last.
fn last_line(text: &str) -> String {
    let mut lines = text
        .lines()
        .skip_while(|line| !line.contains("panicked at"))
        .skip(1);
    let line = lines.next().or_else(|| text.lines().last());
    line.unwrap_or("it said nothing")
        .chars()
        .take(200)
        .collect()
}

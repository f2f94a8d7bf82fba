//! The computing thread: loads the model, then serves requests one step at a time.

use std::io::Write;
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, TryRecvError};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{LlamaContextParams, LlamaPoolingType};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;

use crate::error::Refusal;
use crate::event::FinishReason;
use crate::gguf::ModelKind;
use crate::request::Lane;
use crate::sampler::TokenId;
use crate::wire::{
    self, Chat, FromWorker, Load, LoadFault, Loaded, MAX_TOKEN_VECTORS_BYTES, RequestId, ToWorker,
    WireError,
};
use crate::wordpiece::WordPiece;
use crate::worker::admission::Admission;
use crate::worker::lanes::{self, ExactLane, Outcome, PREFILL_TOKENS, Shape, ThroughputLane};
use crate::worker::prompt::Prompter;
use crate::worker::turn::Turn;
use crate::worker::vocabulary::{self, Vocabulary};

/// Most tokens an embedding or reranking model reads at once, whatever its header says: attention needs memory for their square.
const MAX_EMBED_TOKENS: u32 = 8192;

/// How many tokens of a text that is too long are counted: more than any model reads here.
const MAX_COUNTED_TOKENS: usize = 1 << 16;

/// Loads the weights behind `weights` and serves `inbox` until the service lets go.
pub(crate) fn run(
    load: &Load,
    weights: RawFd,
    socket: UnixStream,
    inbox: &Receiver<ToWorker>,
) -> Result<(), WireError> {
    let mut out = Outbox {
        stream: std::io::BufWriter::with_capacity(1 << 16, socket),
        wrote: false,
    };
    let fail = |out: &mut Outbox, fault| {
        out.send(&FromWorker::LoadFailed(fault))?;
        out.flush()
    };
    let Ok(mut backend) = LlamaBackend::init() else {
        return fail(&mut out, LoadFault::Unloadable);
    };
    backend.void_logs();
    let params = LlamaModelParams::default().with_n_gpu_layers(load.gpu_layers);
    let Ok(model) =
        LlamaModel::load_from_file(&backend, format!("/proc/self/fd/{weights}"), &params)
    else {
        return fail(&mut out, LoadFault::Unloadable);
    };
    let vocabulary = Vocabulary::of(&model, &load.tokenizer);
    let context_tokens = load.context_tokens.min(model.n_ctx_train()).max(1);
    let prompter = Prompter::new(load.chat_template.clone());
    let shape = |sequences| Shape {
        context_tokens,
        sequences,
        threads: load.threads,
    };
    let lanes = match load.kind {
        ModelKind::Chat => {
            let exact = lanes::context(&model, &backend, &shape(1));
            let throughput = lanes::context(&model, &backend, &shape(load.slots));
            let (Some(exact), Some(throughput)) = (exact, throughput) else {
                return fail(&mut out, LoadFault::OutOfMemory);
            };
            Lanes::Chat {
                exact: ExactLane::new(exact),
                throughput: ThroughputLane::new(throughput, &shape(load.slots)),
            }
        }
        ModelKind::Embedding | ModelKind::Reranking => {
            let tokens = context_tokens.min(MAX_EMBED_TOKENS);
            let context =
                |pooling| embedding_context(&model, &backend, tokens, load.threads, pooling);
            let ranks = load.kind == ModelKind::Reranking;
            let Some(pooled) = context(LlamaPoolingType::Unspecified) else {
                return fail(&mut out, LoadFault::OutOfMemory);
            };
            let token_context = if ranks {
                None
            } else {
                let Some(unpooled) = context(LlamaPoolingType::None) else {
                    return fail(&mut out, LoadFault::OutOfMemory);
                };
                Some(unpooled)
            };
            Lanes::Embed(Embedder {
                context: pooled,
                token_context,
                words: WordPiece::of(&model),
                pairs: ranks.then(|| Pairs::of(&model, &load.tokenizer)),
                width: usize::try_from(model.n_embd_out()).unwrap_or(0),
                batch: LlamaBatch::new(tokens as usize, 1),
                tokens,
                jobs: Admission::new(usize::MAX),
            })
        }
    };
    let loaded = Loaded {
        context_tokens: if let Lanes::Embed(embedder) = &lanes {
            embedder.tokens
        } else {
            context_tokens
        },
        vocabulary: vocabulary.len() as u32,
        embedding_length: u32::try_from(model.n_embd_out()).unwrap_or(0),
        llama_version: library::version(),
        ggml_commit: library::commit(),
        system_info: library::system_info(),
        backend: backend_name(load),
        prefill_tokens: PREFILL_TOKENS,
        slots: load.slots,
        threads: load.threads,
        tokenizer: vocabulary.digest(),
        template: prompter.digest(),
    };
    out.send(&FromWorker::Loaded(Box::new(loaded)))?;
    out.flush()?;
    let queue = || Admission::new(load.queue as usize);
    let mut engine = Engine {
        model: &model,
        vocabulary,
        prompter,
        context_tokens,
        lanes,
        exact_queue: queue(),
        throughput_queue: queue(),
        out,
    };
    engine.serve(inbox)
}

fn embedding_context<'m>(
    model: &'m LlamaModel,
    backend: &LlamaBackend,
    tokens: u32,
    threads: u32,
    pooling: LlamaPoolingType,
) -> Option<LlamaContext<'m>> {
    let threads = i32::try_from(threads).unwrap_or(1).max(1);
    let params = LlamaContextParams::default()
        .with_n_ctx(std::num::NonZeroU32::new(tokens))
        .with_n_batch(tokens)
        .with_n_ubatch(tokens)
        .with_n_seq_max(1)
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_embeddings(true)
        .with_pooling_type(pooling)
        .with_flash_attention_policy(llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_DISABLED)
        .with_no_perf(true);
    model.new_context(backend, params).ok()
}

fn backend_name(load: &Load) -> String {
    let offloads = load.gpu_layers > 0 && cfg!(feature = "cuda");
    if offloads {
        format!("cuda ({} layers)", load.gpu_layers)
    } else {
        "cpu".to_owned()
    }
}

struct Engine<'m> {
    model: &'m LlamaModel,
    vocabulary: Vocabulary,
    prompter: Prompter,
    context_tokens: u32,
    lanes: Lanes<'m>,
    exact_queue: Admission<Turn>,
    throughput_queue: Admission<Turn>,
    out: Outbox,
}

enum Lanes<'m> {
    Chat {
        exact: ExactLane<'m>,
        throughput: ThroughputLane<'m>,
    },
    Embed(Embedder<'m>),
}

impl Engine<'_> {
    fn serve(&mut self, inbox: &Receiver<ToWorker>) -> Result<(), WireError> {
        loop {
            // Wait only when there is nothing to compute.
            let mut message = if self.is_idle() {
                match inbox.recv() {
                    Ok(message) => Some(message),
                    Err(_) => return Ok(()),
                }
            } else {
                None
            };
            loop {
                match message.take() {
                    Some(message) => self.take(message)?,
                    None => match inbox.try_recv() {
                        Ok(next) => message = Some(next),
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => return Ok(()),
                    },
                }
            }
            self.out.flush()?;
            if !self.is_idle() {
                self.out.wrote = false;
                self.step()?;
                if !self.out.wrote {
                    self.out.send(&FromWorker::Step)?;
                }
                self.out.flush()?;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.exact_queue.is_empty()
            && self.throughput_queue.is_empty()
            && match &self.lanes {
                Lanes::Chat { exact, throughput } => exact.is_idle() && throughput.is_idle(),
                Lanes::Embed(embedder) => embedder.jobs.is_empty(),
            }
    }

    fn take(&mut self, message: ToWorker) -> Result<(), WireError> {
        match message {
            ToWorker::Load(_) => Err(WireError::Malformed("a second load".into())),
            ToWorker::Chat(chat) => self.take_chat(&chat),
            ToWorker::Embed {
                id,
                texts,
                with_tokens,
            } => self.take_texts(id, |embedder, model, vocabulary| {
                embedder.prepare(model, vocabulary, id, &texts, with_tokens)
            }),
            ToWorker::Rank {
                id,
                question,
                passages,
            } => self.take_texts(id, |embedder, model, _| {
                embedder.prepare_pairs(model, id, &question, &passages)
            }),
            ToWorker::Cancel { id } => self.cancel(id),
        }
    }

    fn take_chat(&mut self, chat: &Chat) -> Result<(), WireError> {
        let id = chat.id;
        if let Lanes::Embed(embedder) = &self.lanes {
            let refusal = match embedder.pairs {
                None => Refusal::EmbeddingModelForChat,
                Some(_) => Refusal::RerankingModel,
            };
            return self.out.send(&FromWorker::Refused { id, refusal });
        }
        let queue = match chat.lane {
            Lane::Exact => &mut self.exact_queue,
            Lane::Throughput => &mut self.throughput_queue,
        };
        if queue.is_full() {
            let queued = u32::try_from(queue.len()).unwrap_or(u32::MAX);
            return self.out.send(&FromWorker::Busy { id, queued });
        }
        match Turn::new(
            chat,
            &self.prompter,
            self.model,
            &self.vocabulary,
            self.context_tokens,
        ) {
            Err(refusal) => self.out.send(&FromWorker::Refused { id, refusal }),
            Ok(turn) => {
                self.out.send(&FromWorker::Accepted {
                    id,
                    prompt: turn.prompt().to_vec(),
                    grammar: turn.grammar_digest(),
                })?;
                queue.push(turn.fairness, turn);
                Ok(())
            }
        }
    }

    fn take_texts(
        &mut self,
        id: RequestId,
        prepare: impl FnOnce(&Embedder<'_>, &LlamaModel, &Vocabulary) -> Result<EmbedJob, Refusal>,
    ) -> Result<(), WireError> {
        let Lanes::Embed(embedder) = &mut self.lanes else {
            return self.out.send(&FromWorker::Refused {
                id,
                refusal: Refusal::ChatModelForEmbedding,
            });
        };
        match prepare(embedder, self.model, &self.vocabulary) {
            Err(refusal) => self.out.send(&FromWorker::Refused { id, refusal }),
            Ok(job) => {
                embedder.jobs.push(id.0, job);
                Ok(())
            }
        }
    }

    fn cancel(&mut self, id: RequestId) -> Result<(), WireError> {
        let queued = self
            .exact_queue
            .remove(|turn| turn.id == id)
            .or_else(|| self.throughput_queue.remove(|turn| turn.id == id));
        let turn = match &mut self.lanes {
            Lanes::Chat { exact, throughput } => queued
                .or_else(|| exact.cancel(id))
                .or_else(|| throughput.cancel(id)),
            Lanes::Embed(embedder) => {
                // Nobody waits for the answer any more, so none is sent.
                embedder.jobs.remove(|job| job.id == id);
                None
            }
        };
        // It may have ended while the cancellation was on its way.
        let Some(mut turn) = turn else { return Ok(()) };
        let (text, calls) = turn.cancel();
        if !text.is_empty() || !calls.is_empty() {
            self.out.send(&FromWorker::Output {
                id,
                tokens: Vec::new(),
                text,
                calls,
            })?;
        }
        self.out.send(&FromWorker::Finished {
            id,
            finish: FinishReason::Cancelled,
            cached_tokens: turn.cached,
        })
    }

    fn step(&mut self) -> Result<(), WireError> {
        match &mut self.lanes {
            Lanes::Chat { exact, throughput } => {
                if exact.is_idle()
                    && let Some(turn) = self.exact_queue.pop()
                {
                    exact.start(turn);
                }
                if let Some(outcome) = exact.step(&self.vocabulary) {
                    self.out.report(outcome)?;
                }
                throughput.admit(&mut self.throughput_queue);
                for outcome in throughput.step(&self.vocabulary) {
                    self.out.report(outcome)?;
                }
                Ok(())
            }
            Lanes::Embed(embedder) => match embedder.step(&self.vocabulary) {
                None => Ok(()),
                Some((id, Ok(Embedding::Tokens { rows, last }))) => {
                    self.out.send(&FromWorker::TokenVectors { id, rows })?;
                    match last {
                        None => Ok(()),
                        Some(job) => self.out.embedded(id, job),
                    }
                }
                Some((id, Ok(Embedding::Job(job)))) => self.out.embedded(id, job),
                Some((id, Err(refusal))) => self.out.send(&FromWorker::Refused { id, refusal }),
            },
        }
    }
}

struct Outbox {
    stream: std::io::BufWriter<UnixStream>,
    wrote: bool,
}

impl Outbox {
    fn send(&mut self, message: &FromWorker) -> Result<(), WireError> {
        self.wrote = true;
        wire::write(&mut self.stream, message)
    }

    fn embedded(&mut self, id: RequestId, job: EmbedJob) -> Result<(), WireError> {
        let tokens = job.texts.concat();
        self.send(&match job.made {
            Made::Scores => FromWorker::Ranked {
                id,
                tokens,
                scores: job.vectors.concat(),
            },
            Made::Vectors | Made::WithTokens => FromWorker::Embedded {
                id,
                tokens,
                vectors: job.vectors,
            },
        })
    }

    fn report(&mut self, outcome: Outcome) -> Result<(), WireError> {
        let id = outcome.id;
        match outcome.result {
            Err(refusal) => self.send(&FromWorker::Refused { id, refusal }),
            Ok(advance) => {
                self.send(&FromWorker::Output {
                    id,
                    tokens: vec![advance.token],
                    text: advance.text,
                    calls: advance.calls,
                })?;
                match advance.finish {
                    None => Ok(()),
                    Some(finish) => self.send(&FromWorker::Finished {
                        id,
                        finish,
                        cached_tokens: outcome.cached,
                    }),
                }
            }
        }
    }

    fn flush(&mut self) -> Result<(), WireError> {
        Ok(self.stream.flush()?)
    }
}

/// Turns texts into vectors, or pairs of a question and a passage into numbers: one per step.
struct Embedder<'m> {
    context: LlamaContext<'m>,
    /// The same model without pooling, for token vectors; none of a reranking model.
    token_context: Option<LlamaContext<'m>>,
    /// The tokenizer of BERT and its family; llama.cpp's is used where there is none.
    words: Option<WordPiece>,
    /// How a reranking model reads two texts.
    pairs: Option<Pairs>,
    /// Entries of a vector.
    width: usize,
    batch: LlamaBatch<'static>,
    /// Longest text, in tokens.
    tokens: u32,
    jobs: Admission<EmbedJob>,
}

struct EmbedJob {
    id: RequestId,
    texts: Vec<Vec<TokenId>>,
    vectors: Vec<Vec<f32>>,
    made: Made,
}

/// What a job makes of its texts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// A vector of length 1 each.
    Vectors,
    /// The same, and a vector of each word.
    WithTokens,
    /// One number each.
    Scores,
}

/// How a reranking model reads a question and a passage: `[CLS] question [SEP] passage [SEP]`, with the marks that the file
/// says begin and end a text. The RoBERTa family, whose words are not of the BERT tokenizer, has the one between them twice.
enum Pairs {
    Marked {
        begin: TokenId,
        end: TokenId,
        between: usize,
    },
    /// Through a template of the model's own, or without these marks: not supported.
    Otherwise,
}

impl Pairs {
    fn of(model: &LlamaModel, tokenizer: &str) -> Self {
        let has = |key: &str| model.meta_val_str(key).ok();
        let once = tokenizer == "bert"
            || has("general.architecture").is_some_and(|name| name == "modern-bert");
        match (
            &tokenized_whole(model, "")[..],
            has("tokenizer.chat_template.rerank"),
        ) {
            ([begin, end], None) => Self::Marked {
                begin: *begin,
                end: *end,
                between: if once { 1 } else { 2 },
            },
            _ => Self::Otherwise,
        }
    }
}

/// What a step of embedding gives out.
enum Embedding {
    /// A job whose vectors are all made.
    Job(EmbedJob),
    /// The token vectors of one text, and its job if that was the last.
    Tokens {
        rows: Vec<u8>,
        last: Option<EmbedJob>,
    },
}

impl Embedder<'_> {
    /// A text's tokens with the model's marks of beginning and end.
    fn tokenized(&self, model: &LlamaModel, text: &str) -> Vec<TokenId> {
        match &self.words {
            Some(words) => words.tokenize_whole(text, MAX_COUNTED_TOKENS),
            None => tokenized_whole(model, text),
        }
    }

    fn prepare(
        &self,
        model: &LlamaModel,
        vocabulary: &Vocabulary,
        id: RequestId,
        texts: &[String],
        with_tokens: bool,
    ) -> Result<EmbedJob, Refusal> {
        if self.pairs.is_some() {
            return Err(Refusal::RerankingModel);
        }
        let limit = if with_tokens {
            let most = MAX_TOKEN_VECTORS_BYTES / (size_of::<f32>() * self.width.max(1));
            self.tokens.min(u32::try_from(most).unwrap_or(u32::MAX))
        } else {
            self.tokens
        };
        let mut tokenized = Vec::with_capacity(texts.len());
        for (text, index) in texts.iter().zip(0..) {
            let too_long = |tokens: usize| Refusal::TextTooLong {
                index,
                tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
                context_tokens: limit,
            };
            // A long word is one token and a space is none, so the length says nothing there.
            if self.words.is_none() {
                let least = vocabulary.fewest_tokens(text.len());
                if least > limit as usize {
                    return Err(too_long(least));
                }
            }
            let tokens = self.tokenized(model, text);
            if tokens.len() > limit as usize {
                return Err(too_long(tokens.len()));
            }
            if tokens.is_empty() {
                return Err(Refusal::EmptyPrompt);
            }
            tokenized.push(tokens);
        }
        Ok(EmbedJob {
            id,
            texts: tokenized,
            vectors: Vec::new(),
            made: match with_tokens {
                true => Made::WithTokens,
                false => Made::Vectors,
            },
        })
    }

    /// A question is cut to half of what the model reads, and passages to what is left: what is read of a long text is its
    /// beginning.
    fn prepare_pairs(
        &self,
        model: &LlamaModel,
        id: RequestId,
        question: &str,
        passages: &[String],
    ) -> Result<EmbedJob, Refusal> {
        let (begin, end, between) = match self.pairs {
            None => return Err(Refusal::NoRerankingModel),
            Some(Pairs::Otherwise) => return Err(Refusal::RankForm),
            Some(Pairs::Marked {
                begin,
                end,
                between,
            }) => (begin, end, between),
        };
        let words = |text: &str, room: usize| {
            let whole = self.tokenized(model, text);
            let words = whole.strip_prefix(&[begin]).unwrap_or(&whole);
            let words = words.strip_suffix(&[end]).unwrap_or(words);
            words[..words.len().min(room)].to_vec()
        };
        let limit = self.tokens as usize;
        let asked = words(question, (limit / 2).saturating_sub(1 + between));
        if asked.is_empty() {
            return Err(Refusal::EmptyPrompt);
        }
        let mut start = vec![begin];
        start.extend(asked);
        start.extend(std::iter::repeat_n(end, between));
        let room = limit.saturating_sub(start.len() + 1);
        let texts = passages
            .iter()
            .map(|passage| [&start[..], &words(passage, room), &[end]].concat())
            .collect();
        Ok(EmbedJob {
            id,
            texts,
            vectors: Vec::new(),
            made: Made::Scores,
        })
    }

    /// Embeds one text of the job whose turn it is; gives that job back with its last text.
    fn step(&mut self, vocabulary: &Vocabulary) -> Option<(RequestId, Result<Embedding, Refusal>)> {
        let mut job = self.jobs.pop()?;
        let id = job.id;
        let text = &job.texts[job.vectors.len()];
        let embedded = match job.made {
            Made::WithTokens => self
                .embed_tokens(text, vocabulary)
                .map(|(vector, rows)| (vector, Some(rows))),
            Made::Vectors => self.embed(text).map(|vector| (vector, None)),
            Made::Scores => self.rank(text).map(|score| (vec![score], None)),
        };
        let (vector, rows) = match embedded {
            Err(refusal) => return Some((id, Err(refusal))),
            Ok(embedded) => embedded,
        };
        job.vectors.push(vector);
        let last = if job.vectors.len() == job.texts.len() {
            Some(job)
        } else {
            self.jobs.push(id.0, job);
            None
        };
        match (rows, last) {
            (Some(rows), last) => Some((id, Ok(Embedding::Tokens { rows, last }))),
            (None, Some(job)) => Some((id, Ok(Embedding::Job(job)))),
            (None, None) => None,
        }
    }

    fn embed(&mut self, tokens: &[TokenId]) -> Result<Vec<f32>, Refusal> {
        decode(&mut self.context, &mut self.batch, tokens)?;
        let last = i32::try_from(tokens.len()).unwrap_or(1) - 1;
        // A model that does not say how to pool is read at its last token.
        let vector = match self.context.embeddings_seq_ith(0) {
            Ok(vector) => vector,
            Err(_) => self
                .context
                .embeddings_ith(last)
                .map_err(|_| Refusal::BrokenScores)?,
        };
        unit(vector).ok_or(Refusal::BrokenScores)
    }

    fn rank(&mut self, tokens: &[TokenId]) -> Result<f32, Refusal> {
        decode(&mut self.context, &mut self.batch, tokens)?;
        // Of a model with several classes, the first is whether the passage answers.
        let scores = self.context.embeddings_seq_ith(0).ok();
        scores
            .and_then(|scores| scores.first().copied())
            .filter(|score| score.is_finite())
            .ok_or(Refusal::BrokenScores)
    }

    /// A text's vector, which is the mean over all its tokens, and the vectors of those tokens that are words.
    fn embed_tokens(
        &mut self,
        tokens: &[TokenId],
        vocabulary: &Vocabulary,
    ) -> Result<(Vec<f32>, Vec<u8>), Refusal> {
        let context = self.token_context.as_mut().ok_or(Refusal::RerankingModel)?;
        decode(context, &mut self.batch, tokens)?;
        let mut sum = vec![0.0; self.width];
        let mut rows = Vec::with_capacity(tokens.len() * self.width * size_of::<f32>());
        for (token, place) in tokens.iter().zip(0..) {
            let vector = context
                .embeddings_ith(place)
                .ok()
                .filter(|vector| vector.len() == self.width)
                .ok_or(Refusal::BrokenScores)?;
            for (sum, x) in sum.iter_mut().zip(vector) {
                *sum += x;
            }
            // The marks of a text's beginning and end are no words.
            if !vocabulary.is_control(*token) && !vocabulary.ends_turn(*token) {
                rows.extend(vector.iter().flat_map(|x| x.to_le_bytes()));
            }
        }
        let vector = unit(&sum).ok_or(Refusal::BrokenScores)?;
        Ok((vector, rows))
    }
}

/// A text's tokens by llama.cpp, with the model's marks of beginning and end. Control tokens in a text are letters, as in prompts.
fn tokenized_whole(model: &LlamaModel, text: &str) -> Vec<TokenId> {
    model
        .vocab()
        .tokenize(text.as_bytes(), true, false)
        .iter()
        .map(|token| token.0.cast_unsigned())
        .collect()
}

/// Computes all tokens of one text.
fn decode(
    context: &mut LlamaContext<'_>,
    batch: &mut LlamaBatch<'static>,
    tokens: &[TokenId],
) -> Result<(), Refusal> {
    batch.clear();
    for (token, position) in tokens.iter().zip(0..) {
        batch
            .add(vocabulary::llama(*token), position, &[0], true)
            .expect("a batch has room for the longest text");
    }
    context.clear_kv_cache();
    context
        .decode(batch)
        .map_err(|error| Refusal::StepFailed {
            reason: error.to_string(),
        })
        .map(drop)
}

/// The vector of length 1 in the same direction.
fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let length = vector
        .iter()
        .map(|x| f64::from(*x) * f64::from(*x))
        .sum::<f64>()
        .sqrt();
    (length.is_finite() && length > 0.0).then(|| {
        vector
            .iter()
            .map(|x| (f64::from(*x) / length) as f32)
            .collect()
    })
}

/// What llama.cpp says about itself.
mod library {
    use std::ffi::{CStr, c_char};

    pub(super) fn version() -> String {
        #[allow(unsafe_code, reason = "the safe wrapper does not offer the version")]
        // SAFETY: `llama_version` takes nothing and returns a string literal.
        let text = unsafe { llama_cpp_sys_2::llama_version() };
        read(text)
    }

    pub(super) fn commit() -> String {
        #[allow(unsafe_code, reason = "the safe wrapper does not offer the commit")]
        // SAFETY: `ggml_commit` takes nothing and returns a string literal.
        let text = unsafe { llama_cpp_sys_2::ggml_commit() };
        read(text)
    }

    pub(super) fn system_info() -> String {
        #[allow(
            unsafe_code,
            reason = "the safe wrapper does not offer the build options"
        )]
        // SAFETY: `llama_print_system_info` takes nothing and returns the buffer of a static string, which only another
        // call of it changes; calls come from one thread.
        let text = unsafe { llama_cpp_sys_2::llama_print_system_info() };
        read(text).trim().to_owned()
    }

    /// Copies a string of the library.
    fn read(text: *const c_char) -> String {
        if text.is_null() {
            return String::new();
        }
        #[allow(unsafe_code, reason = "a C string is read")]
        // SAFETY: `text` is not null, and the three callers above pass strings that end with NUL and live as long as the
        // library, which is as long as the process.
        let text = unsafe { CStr::from_ptr(text) };
        text.to_string_lossy().into_owned()
    }
}

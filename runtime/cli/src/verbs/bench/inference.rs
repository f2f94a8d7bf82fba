//! `tally bench inference`: tokens per second of both lanes, beside llama.cpp called directly in this process on the same
//! prompts, with the same threads, kernels and batches, for as many tokens as ours gave.
//!
//! Each round measures ours and then the peer, so that both see the same machine; the median of the rounds is printed.
//! Prompts are new each time, so that no prefix is reused. Choosing is greedy on both sides.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use serde_json::{Value, json};
use tally_inference::{
    AddMode, AddOptions, ChatRequest, ClientNonce, Event, Lane, Links, ModelName, ModelStore,
    Service, ServiceOptions, Signer, WorkerCommand,
};
use tally_receipt::SigningKey;
use tally_seed_model::{ChatShape, Dtype, SEED};

/// Requests at once.
const CONCURRENCY: [usize; 3] = [1, 2, 8];
const ROUNDS: usize = 3;
/// Time for everything after loading. The length of the answers is chosen to fit.
const BUDGET: Duration = Duration::from_secs(40);
const CONTEXT_TOKENS: u32 = 512;
const PREFILL_TOKENS: usize = 256;
/// Weights below which a step is too short to be worth a second thread; as the service itself chooses.
const SMALL: u64 = 50_000_000;

/// Least time of one way of asking in one round; a small model is asked several times.
const SHORTEST_CELL: Duration = Duration::from_millis(400);

/// What one way of asking gave in one round.
#[derive(Default)]
struct Sample {
    tokens: usize,
    wall: Duration,
}

impl Sample {
    fn add(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.wall += other.wall;
    }

    fn rate(&self) -> f64 {
        self.tokens as f64 / self.wall.as_secs_f64()
    }
}

pub(crate) async fn run(worker: WorkerCommand, model: Option<&Path>) -> anyhow::Result<Value> {
    let dir = tempfile::tempdir().context("make a temporary directory")?;
    let path = match model {
        Some(path) => path.to_owned(),
        None => {
            let path = dir.path().join("seed.gguf");
            let shape = ChatShape {
                width: 512,
                heads: 8,
                kv_heads: 4,
                inner: 1536,
                layers: 8,
                context: 2048,
                dtype: Dtype::Q8_0,
            };
            std::fs::write(&path, tally_seed_model::chat_model_of(SEED, shape))
                .context("write the model")?;
            path
        }
    };
    let store = ModelStore::open(dir.path().join("store"));
    let options = AddOptions {
        name: ModelName::parse("bench"),
        mode: AddMode::Link,
        ..AddOptions::default()
    };
    let record = store.add(&path, options, |_, _| {}).await?;
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get().min(16));
    let threads = if record.header.parameters < SMALL {
        1
    } else {
        u32::try_from(processors)?
    };

    let mut options = ServiceOptions::new(worker);
    options.engine.threads = Some(threads);
    options.engine.context_tokens = CONTEXT_TOKENS;
    options.engine.slots = 8;
    let service = Service::new(store, signer(), options);
    let began = Instant::now();
    service.load("bench").await?;
    let load_ms = began.elapsed().as_secs_f64() * 1e3;

    let mut peer = Peer::new(&path, threads)?;
    let mut bench = Bench {
        service,
        asked: 0,
        receipt_time: Duration::ZERO,
        generation_time: Duration::ZERO,
        receipts: 0,
    };

    // One short answer says how fast this machine is, and warms both sides.
    let (warm, prompts) = bench.round(Lane::Exact, 1, 16).await?;
    peer.round(&prompts, 1)?;
    bench.receipt_time = Duration::ZERO;
    bench.generation_time = Duration::ZERO;
    bench.receipts = 0;
    // Each round asks 11 times in each lane, and the peer does the same.
    let affordable = BUDGET.as_secs_f64() * warm.rate() / (ROUNDS as f64 * 44.0);
    let max_tokens = (affordable as u32).clamp(8, 128);

    let mut ours = vec![Vec::new(); CONCURRENCY.len() * 2];
    let mut raw = vec![Vec::new(); CONCURRENCY.len() * 2];
    for _ in 0..ROUNDS {
        let mut at = 0;
        for lane in [Lane::Exact, Lane::Throughput] {
            for concurrency in CONCURRENCY {
                // The exact lane runs one at a time, and so does its peer.
                let together = if lane == Lane::Exact { 1 } else { concurrency };
                let (mut mine, mut theirs) = (Sample::default(), Sample::default());
                while mine.wall < SHORTEST_CELL {
                    let (sample, prompts) = bench.round(lane, concurrency, max_tokens).await?;
                    mine.add(&sample);
                    theirs.add(&peer.round(&prompts, together)?);
                }
                ours[at].push(mine.rate());
                raw[at].push(theirs.rate());
                at += 1;
            }
        }
    }
    bench.service.shut_down().await;

    let mut lanes = serde_json::Map::new();
    let mut at = 0;
    for lane in [Lane::Exact, Lane::Throughput] {
        let mut rows = Vec::new();
        for concurrency in CONCURRENCY {
            let (mine, theirs) = (median(&mut ours[at]), median(&mut raw[at]));
            rows.push(json!({
                "concurrent": concurrency,
                "tokens_per_s": round(mine),
                "llama_cpp_tokens_per_s": round(theirs),
                "ratio": round(mine / theirs),
            }));
            at += 1;
        }
        lanes.insert(lane.as_str().to_owned(), Value::from(rows));
    }
    let share = bench.receipt_time.as_secs_f64() / bench.generation_time.as_secs_f64();
    Ok(json!({
        "model": {
            "architecture": record.header.architecture,
            "parameters": record.header.parameters,
            "quantisation": record.header.quantisation,
            "bytes": record.bytes,
        },
        "threads": threads,
        "max_tokens": max_tokens,
        "rounds": ROUNDS,
        "load_ms": round(load_ms),
        "lanes": lanes,
        "receipt": {
            "count": bench.receipts,
            "mean_us": round(bench.receipt_time.as_secs_f64() * 1e6 / f64::from(bench.receipts.max(1))),
            "share_of_generation": share,
        },
    }))
}

/// Asks the service.
struct Bench {
    service: Service,
    /// Makes every prompt and nonce another.
    asked: u64,
    receipt_time: Duration,
    generation_time: Duration,
    receipts: u32,
}

/// A prompt as the model read it, and how many tokens it was answered with.
struct Answered {
    prompt: Vec<LlamaToken>,
    tokens: usize,
}

impl Bench {
    /// Asks `concurrency` times at once.
    async fn round(
        &mut self,
        lane: Lane,
        concurrency: usize,
        max_tokens: u32,
    ) -> anyhow::Result<(Sample, Vec<Answered>)> {
        let began = Instant::now();
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..concurrency {
            self.asked += 1;
            let mut nonce = [0; 32];
            nonce[..8].copy_from_slice(&self.asked.to_le_bytes());
            let text = format!(
                "{} is the number of this question. Why do two halves of a stick prove what was lent?",
                self.asked
            );
            let mut request = ChatRequest::ask("bench", text);
            request.lane = lane;
            request.sampling.max_tokens = max_tokens;
            let service = self.service.clone();
            running.spawn(async move {
                let began = Instant::now();
                let mut generation = service
                    .chat(request, ClientNonce::from_bytes(nonce), Links::default())
                    .await?;
                while let Some(event) = generation.next().await? {
                    if matches!(event, Event::Done(_)) {
                        break;
                    }
                }
                let receipt = generation.receipt().cloned();
                Ok::<_, tally_inference::InferenceError>((receipt, began.elapsed()))
            });
        }
        let mut answered = Vec::new();
        while let Some(outcome) = running.join_next().await {
            let (receipt, took) = outcome??;
            let receipt = receipt.context("a generation ended without a receipt")?;
            self.receipt_time += receipt.took();
            self.generation_time += took;
            self.receipts += 1;
            let prompt = receipt
                .prompt_tokens()
                .iter()
                .map(|token| LlamaToken::new(token.cast_signed()))
                .collect();
            answered.push(Answered {
                prompt,
                tokens: receipt.output_tokens().len(),
            });
        }
        let tokens = answered.iter().map(|answer| answer.tokens).sum();
        Ok((
            Sample {
                tokens,
                wall: began.elapsed(),
            },
            answered,
        ))
    }
}

/// llama.cpp, called directly.
struct Peer {
    backend: LlamaBackend,
    model: LlamaModel,
    threads: i32,
}

impl Peer {
    fn new(path: &Path, threads: u32) -> anyhow::Result<Self> {
        let mut backend = LlamaBackend::init()?;
        backend.void_logs();
        let model = LlamaModel::load_from_file(&backend, path, &LlamaModelParams::default())?;
        Ok(Self {
            backend,
            model,
            threads: i32::try_from(threads)?,
        })
    }

    /// Answers the prompts, `together` at a time. Setting up the context is not counted.
    fn round(&mut self, prompts: &[Answered], together: usize) -> anyhow::Result<Sample> {
        let sequences = u32::try_from(together)?;
        let batch_tokens = PREFILL_TOKENS + together;
        let params = LlamaContextParams::default()
            .with_n_ctx(std::num::NonZeroU32::new(CONTEXT_TOKENS * sequences))
            .with_n_batch(u32::try_from(batch_tokens)?)
            .with_n_ubatch(u32::try_from(batch_tokens)?)
            .with_n_seq_max(sequences)
            .with_n_threads(self.threads)
            .with_n_threads_batch(self.threads)
            .with_flash_attention_policy(llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_DISABLED)
            .with_kv_unified(false)
            .with_no_perf(true);
        let mut context = self.model.new_context(&self.backend, params)?;
        let mut batch = LlamaBatch::new(batch_tokens, 1);
        let began = Instant::now();
        let mut tokens = 0;
        for group in prompts.chunks(together) {
            context.clear_kv_cache();
            tokens += answer(&mut context, &mut batch, group)?;
        }
        Ok(Sample {
            tokens,
            wall: began.elapsed(),
        })
    }
}

/// One token of every answer per step, after the prompts were read.
fn answer(
    context: &mut LlamaContext<'_>,
    batch: &mut LlamaBatch<'_>,
    group: &[Answered],
) -> anyhow::Result<usize> {
    let mut greedy = LlamaSampler::greedy();
    let mut last = Vec::with_capacity(group.len());
    for (sequence, answered) in (0..).zip(group) {
        for (chunk, start) in answered
            .prompt
            .chunks(PREFILL_TOKENS)
            .zip((0..).step_by(PREFILL_TOKENS))
        {
            batch.clear();
            for (token, position) in chunk.iter().zip(start..) {
                let is_last = usize::try_from(position)? + 1 == answered.prompt.len();
                batch.add(*token, position, &[sequence], is_last)?;
            }
            context.decode(batch)?;
        }
        last.push(greedy.sample(context, batch.n_tokens() - 1));
    }
    let mut done = vec![1usize; group.len()];
    loop {
        batch.clear();
        let mut rows = Vec::new();
        for (index, answered) in group.iter().enumerate() {
            if done[index] < answered.tokens {
                let position = i32::try_from(answered.prompt.len() + done[index] - 1)?;
                rows.push((index, batch.n_tokens()));
                batch.add(last[index], position, &[i32::try_from(index)?], true)?;
            }
        }
        if rows.is_empty() {
            return Ok(done.iter().sum());
        }
        context.decode(batch)?;
        for (index, row) in rows {
            last[index] = greedy.sample(context, row);
            done[index] += 1;
        }
    }
}

/// A key for this measurement alone.
fn signer() -> Signer {
    let now = || {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    };
    let salt = || {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)
            .expect("the system has a random source, or nothing here would have run");
        salt
    };
    Signer::new(SigningKey::from_seed(&salt()), now, salt)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

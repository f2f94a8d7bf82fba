//! The two ways of computing: alone, and together.
//!
//! **Exact lane.** One generation at a time in a context of its own. The cache is cleared before each; the prompt is read
//! in chunks of [`PREFILL_TOKENS`], then one token per step. No state of an earlier request and no other request takes part
//! in any sum, so the same request gives the same scores.
//!
//! **Throughput lane.** A context with one sequence per slot, each with its own part of the cache. Each step takes one token
//! of every generation that is writing and fills up with chunks of prompts that are still being read. A new prompt goes to
//! the slot whose cache shares the longest beginning with it, and only the rest is computed.
//!
//! Both run without flash attention, whose sums are split by the number of threads.

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;

use crate::error::Refusal;
use crate::sampler::TokenId;
use crate::wire::RequestId;
use crate::worker::admission::Admission;
use crate::worker::turn::{Advance, Turn};
use crate::worker::vocabulary::{self, Vocabulary};

/// Prompt tokens of one step.
pub(crate) const PREFILL_TOKENS: u32 = 256;

/// What a step gave to one generation.
pub(crate) struct Outcome {
    pub(crate) id: RequestId,
    pub(crate) cached: u32,
    pub(crate) result: Result<Advance, Refusal>,
}

/// Dimensions of a context.
pub(crate) struct Shape {
    pub(crate) context_tokens: u32,
    pub(crate) sequences: u32,
    pub(crate) threads: u32,
}

/// A context for generating, or why there is none: too little memory.
pub(crate) fn context<'m>(
    model: &'m LlamaModel,
    backend: &LlamaBackend,
    shape: &Shape,
) -> Option<LlamaContext<'m>> {
    let threads = i32::try_from(shape.threads).unwrap_or(1).max(1);
    let tokens = shape.context_tokens.checked_mul(shape.sequences)?;
    let params = LlamaContextParams::default()
        .with_n_ctx(std::num::NonZeroU32::new(tokens))
        .with_n_batch(batch_tokens(shape))
        .with_n_ubatch(batch_tokens(shape))
        .with_n_seq_max(shape.sequences)
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_flash_attention_policy(llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_DISABLED)
        .with_kv_unified(false)
        .with_swa_full(true)
        .with_no_perf(true);
    model.new_context(backend, params).ok()
}

/// Most tokens of one step: a chunk of prompt and one token of each sequence.
fn batch_tokens(shape: &Shape) -> u32 {
    if shape.sequences == 1 {
        PREFILL_TOKENS
    } else {
        PREFILL_TOKENS + shape.sequences
    }
}

/// The exact lane.
pub(crate) struct ExactLane<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    running: Option<Running>,
}

struct Running {
    turn: Turn,
    /// Prompt tokens that were read.
    read: usize,
    /// The last token, when it was not computed with yet.
    pending: Option<TokenId>,
    /// Tokens in the cache.
    length: usize,
}

impl<'m> ExactLane<'m> {
    pub(crate) fn new(context: LlamaContext<'m>) -> Self {
        Self {
            context,
            batch: LlamaBatch::new(PREFILL_TOKENS as usize, 1),
            running: None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// Takes a generation. The lane is idle.
    pub(crate) fn start(&mut self, turn: Turn) {
        self.context.clear_kv_cache();
        self.running = Some(Running {
            turn,
            read: 0,
            pending: None,
            length: 0,
        });
    }

    /// Ends a generation where it is.
    pub(crate) fn cancel(&mut self, id: RequestId) -> Option<Turn> {
        self.running
            .take_if(|running| running.turn.id == id)
            .map(|running| running.turn)
    }

    /// One step, if there is work.
    pub(crate) fn step(&mut self, vocabulary: &Vocabulary) -> Option<Outcome> {
        let running = self.running.as_mut()?;
        self.batch.clear();
        let last_of_prompt = match running.pending {
            Some(token) => {
                add(&mut self.batch, token, running.length, 0, true);
                true
            }
            None => {
                let prompt = running.turn.prompt();
                let end = prompt.len().min(running.read + PREFILL_TOKENS as usize);
                for at in running.read..end {
                    add(&mut self.batch, prompt[at], at, 0, at + 1 == prompt.len());
                }
                running.read = end;
                end == prompt.len()
            }
        };
        let tokens = self.batch.n_tokens();
        let decoded = self.context.decode(&mut self.batch);
        running.length += tokens as usize;
        let result = match decoded {
            Err(error) => Err(step_failed(&error)),
            Ok(()) if !last_of_prompt => return None,
            Ok(()) => running
                .turn
                .advance(self.context.get_logits_ith(tokens - 1), vocabulary),
        };
        let outcome = Outcome {
            id: running.turn.id,
            cached: 0,
            result,
        };
        match &outcome.result {
            Ok(Advance {
                finish: None,
                token,
                ..
            }) => running.pending = Some(*token),
            _ => self.running = None,
        }
        Some(outcome)
    }
}

/// The throughput lane.
pub(crate) struct ThroughputLane<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    slots: Vec<Slot>,
    /// Which slot's prompt is read first in the next step.
    rotation: usize,
    /// Counts admissions, to find the slot that rested longest.
    clock: u64,
}

#[derive(Default)]
struct Slot {
    /// Tokens in this slot's part of the cache.
    cache: Vec<TokenId>,
    running: Option<SlotRun>,
    used_at: u64,
}

struct SlotRun {
    turn: Turn,
    pending: Option<TokenId>,
    /// Where this slot's scores are, when the step computes some.
    scores: Option<i32>,
}

impl<'m> ThroughputLane<'m> {
    pub(crate) fn new(context: LlamaContext<'m>, shape: &Shape) -> Self {
        Self {
            context,
            batch: LlamaBatch::new(batch_tokens(shape) as usize, 1),
            slots: (0..shape.sequences).map(|_| Slot::default()).collect(),
            rotation: 0,
            clock: 0,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.running.is_none())
    }

    /// Moves waiting generations into free slots.
    pub(crate) fn admit(&mut self, queue: &mut Admission<Turn>) {
        while !queue.is_empty() && self.slots.iter().any(|slot| slot.running.is_none()) {
            let Some(mut turn) = queue.pop() else { return };
            let prompt = turn.prompt();
            let shared = |slot: &Slot| {
                slot.cache
                    .iter()
                    .zip(prompt)
                    .take_while(|(a, b)| a == b)
                    .count()
            };
            let (index, common) = self
                .slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| slot.running.is_none())
                .map(|(index, slot)| (index, shared(slot), slot.used_at))
                .max_by_key(|(_, shared, used_at)| (*shared, std::cmp::Reverse(*used_at)))
                .map(|(index, shared, _)| (index, shared))
                .expect("a free slot was seen above");
            // The last token is computed in any case: its scores are what comes next.
            let common = common.min(prompt.len() - 1);
            let kept = self.keep(index, common);
            turn.cached = u32::try_from(kept).unwrap_or(u32::MAX);
            self.clock += 1;
            let slot = &mut self.slots[index];
            slot.used_at = self.clock;
            slot.running = Some(SlotRun {
                turn,
                pending: None,
                scores: None,
            });
        }
    }

    /// Shortens a slot's cache to its first `length` tokens, or empties it where the model's state cannot be cut.
    fn keep(&mut self, index: usize, length: usize) -> usize {
        let sequence = u32::try_from(index).unwrap_or(u32::MAX);
        let from = u32::try_from(length).unwrap_or(u32::MAX);
        let cut = |context: &mut LlamaContext<'_>, from| {
            matches!(
                context.clear_kv_cache_seq(Some(sequence), Some(from), None),
                Ok(true)
            )
        };
        let kept = if length > 0 && cut(&mut self.context, from) {
            length
        } else {
            cut(&mut self.context, 0);
            0
        };
        self.slots[index].cache.truncate(kept);
        kept
    }

    /// Ends a generation where it is.
    pub(crate) fn cancel(&mut self, id: RequestId) -> Option<Turn> {
        let runs = self.slots.iter_mut().map(|slot| &mut slot.running);
        runs.into_iter()
            .find_map(|run| run.take_if(|run| run.turn.id == id))
            .map(|run| run.turn)
    }

    /// One step of all generations, if there is work.
    pub(crate) fn step(&mut self, vocabulary: &Vocabulary) -> Vec<Outcome> {
        self.fill_batch();
        if self.batch.n_tokens() == 0 {
            return Vec::new();
        }
        let decoded = self.context.decode(&mut self.batch);
        let mut outcomes = Vec::new();
        for slot in &mut self.slots {
            let Some(run) = &mut slot.running else {
                continue;
            };
            let result = match &decoded {
                // One bad step is every participant's: what the cache holds now is not known.
                Err(error) => Err(step_failed(error)),
                Ok(()) => match run.scores.take() {
                    None => continue,
                    Some(at) => run
                        .turn
                        .advance(self.context.get_logits_ith(at), vocabulary),
                },
            };
            let outcome = Outcome {
                id: run.turn.id,
                cached: run.turn.cached,
                result,
            };
            match &outcome.result {
                Ok(Advance {
                    finish: None,
                    token,
                    ..
                }) => run.pending = Some(*token),
                _ => slot.running = None,
            }
            outcomes.push(outcome);
        }
        if decoded.is_err() {
            self.context.clear_kv_cache();
            self.slots.iter_mut().for_each(|slot| slot.cache.clear());
        }
        outcomes
    }

    fn fill_batch(&mut self) {
        self.batch.clear();
        for (sequence, slot) in self.slots.iter_mut().enumerate() {
            let Some(run) = &mut slot.running else {
                continue;
            };
            if let Some(token) = run.pending.take() {
                run.scores = Some(self.batch.n_tokens());
                add(&mut self.batch, token, slot.cache.len(), sequence, true);
                slot.cache.push(token);
            }
        }
        let mut room = PREFILL_TOKENS as usize;
        let count = self.slots.len();
        for turn in 0..count {
            let sequence = (self.rotation + turn) % count;
            let slot = &mut self.slots[sequence];
            let Some(run) = &mut slot.running else {
                continue;
            };
            let prompt = run.turn.prompt();
            let read = slot.cache.len();
            if run.scores.is_some() || read >= prompt.len() || room == 0 {
                continue;
            }
            let end = prompt.len().min(read + room);
            for at in read..end {
                let is_last = at + 1 == prompt.len();
                if is_last {
                    run.scores = Some(self.batch.n_tokens());
                }
                add(&mut self.batch, prompt[at], at, sequence, is_last);
            }
            slot.cache.extend_from_slice(&prompt[read..end]);
            room -= end - read;
        }
        self.rotation = (self.rotation + 1) % count;
    }
}

fn add(batch: &mut LlamaBatch<'_>, token: TokenId, position: usize, sequence: usize, scores: bool) {
    let position = i32::try_from(position).expect("positions are within the context, which fits");
    let sequence = i32::try_from(sequence).expect("slots are few");
    batch
        .add(vocabulary::llama(token), position, &[sequence], scores)
        .expect("a batch has room for one chunk and one token of each slot");
}

fn step_failed(error: &llama_cpp_2::DecodeError) -> Refusal {
    Refusal::StepFailed {
        reason: error.to_string().chars().take(200).collect(),
    }
}

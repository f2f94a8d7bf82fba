//! What executed in one inference: the predicate `urn:tally:inference:v1`.
//!
//! It describes the request *as the engine ran it*, after templates, defaults and limits: token ids, not text; the
//! parameters the sampler used, not those that were asked for. Texts are in it as commitments only.
//!
//! Invariants, on top of those of each field's type ([`InferenceError`] names them): the cached part of a prompt is
//! part of it; a chat has sampling parameters, an embedding or a ranking has none and no grammar, tools, template or output text;
//! an output has at most as many tokens as were allowed; CPU features ascend.

use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

use crate::bytes::{Digest, Nonce, RunId, required_option};
use crate::commitment::Commitment;
use crate::key::PublicKey;
use crate::limits::{MAX_CPU_FEATURES, MAX_STOP_STRINGS};
use crate::text::{Count, Label, Real};
use crate::time::Timestamp;

/// The content of an [`InferencePredicate`], before its parts are checked against each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inference {
    /// What was done.
    pub operation: Operation,
    /// The model that did it.
    pub model: Model,
    /// BLAKE3 of the tokenizer as the engine holds it; how it is computed is the engine's to say.
    pub tokenizer: Digest,
    /// BLAKE3 of the chat template's text. None when the prompt went in without one.
    #[serde(deserialize_with = "required_option")]
    pub template: Option<Digest>,
    /// Commitment to the request as the client sent it ([`Field::Asked`](crate::Field::Asked)), so that the client can
    /// show what it asked for beside what was executed.
    #[serde(deserialize_with = "required_option")]
    pub asked: Option<Commitment>,
    /// What the model read.
    pub prompt: Prompt,
    /// BLAKE3 of the grammar in GBNF that constrained the output.
    #[serde(deserialize_with = "required_option")]
    pub grammar: Option<Digest>,
    /// BLAKE3 of the tool specifications that the template was given.
    #[serde(deserialize_with = "required_option")]
    pub tools: Option<Digest>,
    /// How tokens were chosen. None but for a chat.
    #[serde(deserialize_with = "required_option")]
    pub sampling: Option<Sampling>,
    /// Where randomness came from.
    pub seed: Seed,
    /// On what it ran.
    pub engine: EngineProfile,
    /// What the model produced.
    pub output: Output,
    /// The client's nonce.
    pub nonce: Nonce,
    /// What it is part of.
    #[serde(deserialize_with = "required_option")]
    pub links: Option<Links>,
    /// When it was finished, by the node's clock.
    pub issued_at: Timestamp,
    /// How long it took, from the request's arrival. In milliseconds.
    pub duration_ms: Count,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Tokens were generated after a prompt.
    Chat,
    /// Texts became vectors.
    Embed,
    /// Passages got numbers, by how well each answers a question.
    Rank,
}

/// The model that executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Model {
    /// What the node calls it.
    pub name: Label,
    /// BLAKE3 of the weights file that was loaded. This is the model's identity.
    pub weights: Digest,
    /// As the weights file says, such as `llama`.
    pub architecture: Label,
    /// As the weights file says, such as `Q4_K_M`.
    pub quantisation: Label,
}

/// What the model read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prompt {
    /// To the token ids ([`Field::Prompt`](crate::Field::Prompt)); else those of all texts or pairs in order.
    pub commitment: Commitment,
    /// How many tokens.
    pub count: u32,
    /// Of how many of them, from the start, the state was taken from a cache.
    pub cached: u32,
}

/// How tokens were chosen: the numbers the sampler computed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sampling {
    /// Which sampler, with its version.
    pub sampler: Label,
    /// 0 takes the likeliest token.
    pub temperature: Real,
    /// 0 keeps all.
    pub top_k: u32,
    /// 1 keeps all.
    pub top_p: Real,
    /// 0 keeps all.
    pub min_p: Real,
    /// 1 penalises nothing.
    pub repeat_penalty: Real,
    /// How many latest tokens the penalty looks at.
    pub repeat_last_n: u32,
    /// How many tokens the output could have.
    pub max_tokens: u32,
    /// What ends the output before that.
    #[serde(deserialize_with = "required_option")]
    pub stop: Option<StopStrings>,
}

/// Strings that end an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StopStrings {
    /// To the strings in order ([`Field::StopStrings`](crate::Field::StopStrings)).
    pub commitment: Commitment,
    /// How many, 1 to [`MAX_STOP_STRINGS`].
    pub count: u32,
}

/// What randomness is derived from, together with the nonce, the prompt and the model's weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seed {
    /// The name of the derivation, with its version.
    pub derivation: Label,
    /// The node's key. It must be among those that sign the receipt.
    pub node: PublicKey,
}

/// How an engine schedules a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lane {
    /// Alone in each step: can be replayed to the byte.
    Exact,
    /// Batched with others: can be audited statistically.
    Throughput,
}

/// On what the model ran: everything that can change a bit of the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EngineProfile {
    /// The engine.
    pub name: Label,
    /// Its version.
    pub version: Label,
    /// The version of llama.cpp in it.
    pub llama_cpp: Label,
    /// What computes, such as `CPU` or `CUDA`.
    pub backend: Label,
    /// How the request was scheduled.
    pub lane: Lane,
    /// Threads of one step.
    pub threads: u32,
    /// Layers on an accelerator.
    pub gpu_layers: u32,
    /// Tokens of a context.
    pub context_tokens: u32,
    /// Tokens of a logical batch.
    pub batch_tokens: u32,
    /// Tokens of a physical batch.
    pub micro_batch_tokens: u32,
    /// Number type of cached keys.
    pub kv_key_type: Label,
    /// Number type of cached values.
    pub kv_value_type: Label,
    /// Whether attention was computed in tiles.
    pub flash_attention: bool,
    /// What the compiled code uses of the processor, ascending, each once.
    pub cpu_features: Vec<Label>,
}

/// What the model produced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// To the token ids or vectors ([`Field::Output`](crate::Field::Output)).
    pub commitment: Commitment,
    /// How many tokens, or how many vectors.
    pub count: u32,
    /// To the text that was handed out for them ([`Field::OutputText`](crate::Field::OutputText)).
    #[serde(deserialize_with = "required_option")]
    pub text: Option<Commitment>,
    /// Why it ended.
    pub finish: FinishReason,
}

/// Why an output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinishReason {
    /// The model ended its turn.
    Stop,
    /// A stop string was met.
    StopString,
    /// As many tokens as were allowed.
    Length,
    /// The model asked for tools.
    ToolCalls,
    /// The client went away.
    Cancelled,
    /// Vectors or numbers are complete; the only reason of an embedding or a ranking, and never of a chat.
    Complete,
}

/// What an inference is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Links {
    /// The run of an agent.
    pub run: RunId,
    /// Which of the run's inferences, counted from zero.
    pub step: u32,
    /// The receipt before it in the run.
    #[serde(deserialize_with = "required_option")]
    pub previous: Option<Digest>,
}

/// What is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Tokens the model read.
    pub prompt_tokens: u32,
    /// Those of them that came from a cache.
    pub cached_tokens: u32,
    /// Tokens it produced; 0 but for a chat.
    pub completion_tokens: u32,
}

/// Why the parts of an [`Inference`] do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// More cached than there is.
    #[error("{cached} cached tokens in a prompt of {count}")]
    CachedBeyondPrompt {
        /// Tokens of the prompt.
        count: u32,
        /// Cached ones.
        cached: u32,
    },
    /// A chat without parameters.
    #[error("a chat without sampling parameters")]
    ChatWithoutSampling,
    /// A chat that ended like an embedding.
    #[error("a chat cannot finish as complete")]
    ChatComplete,
    /// Something that only a chat has.
    #[error("an embedding or a ranking with {0}")]
    EmbeddingWith(&'static str),
    /// More output than allowed.
    #[error("{count} output tokens where {max} were allowed")]
    OutputBeyondMaximum {
        /// Tokens of the output.
        count: u32,
        /// How many it could have.
        max: u32,
    },
    /// No stop string, or too many.
    #[error("{0} stop strings where there are 1 to {MAX_STOP_STRINGS}")]
    StopStringCount(u32),
    /// No stop string to have been met.
    #[error("finished by a stop string where there is none")]
    FinishedByNoStopString,
    /// Too many features.
    #[error("{0} CPU features where there are at most {MAX_CPU_FEATURES}")]
    CpuFeatureCount(usize),
    /// Not sorted, or one twice.
    #[error("CPU features are not in ascending order, each once")]
    CpuFeatureOrder,
}

/// What executed in one inference, whole and consistent. Reads as an [`Inference`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct InferencePredicate(Inference);

impl InferencePredicate {
    /// The `predicateType`.
    pub const TYPE: &'static str = "urn:tally:inference:v1";

    /// Checks the parts against each other.
    ///
    /// # Errors
    /// [`InferenceError`].
    pub fn new(inference: Inference) -> Result<Self, InferenceError> {
        let Inference {
            operation,
            prompt,
            sampling,
            output,
            engine,
            ..
        } = &inference;
        if prompt.cached > prompt.count {
            return Err(InferenceError::CachedBeyondPrompt {
                count: prompt.count,
                cached: prompt.cached,
            });
        }
        match (operation, sampling) {
            (Operation::Chat, None) => return Err(InferenceError::ChatWithoutSampling),
            (Operation::Chat, Some(sampling)) => check_chat(sampling, output)?,
            (Operation::Embed | Operation::Rank, _) => {
                let only_in_a_chat = [
                    ("sampling parameters", sampling.is_some()),
                    ("a template", inference.template.is_some()),
                    ("a grammar", inference.grammar.is_some()),
                    ("tools", inference.tools.is_some()),
                    ("an output text", output.text.is_some()),
                    (
                        "the finish of a chat",
                        output.finish != FinishReason::Complete,
                    ),
                ];
                if let Some((what, _)) = only_in_a_chat.into_iter().find(|(_, present)| *present) {
                    return Err(InferenceError::EmbeddingWith(what));
                }
            }
        }
        if engine.cpu_features.len() > MAX_CPU_FEATURES {
            return Err(InferenceError::CpuFeatureCount(engine.cpu_features.len()));
        }
        if !engine.cpu_features.is_sorted_by(|left, right| left < right) {
            return Err(InferenceError::CpuFeatureOrder);
        }
        Ok(Self(inference))
    }

    /// What is paid for.
    pub fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.prompt.count,
            cached_tokens: self.prompt.cached,
            completion_tokens: if self.operation == Operation::Chat {
                self.output.count
            } else {
                0
            },
        }
    }

    /// The parts, to make another of.
    pub fn into_inner(self) -> Inference {
        self.0
    }
}

fn check_chat(sampling: &Sampling, output: &Output) -> Result<(), InferenceError> {
    if output.finish == FinishReason::Complete {
        return Err(InferenceError::ChatComplete);
    }
    if output.count > sampling.max_tokens {
        return Err(InferenceError::OutputBeyondMaximum {
            count: output.count,
            max: sampling.max_tokens,
        });
    }
    match sampling.stop {
        Some(StopStrings { count, .. }) if !(1..=MAX_STOP_STRINGS).contains(&count) => {
            Err(InferenceError::StopStringCount(count))
        }
        None if output.finish == FinishReason::StopString => {
            Err(InferenceError::FinishedByNoStopString)
        }
        _ => Ok(()),
    }
}

impl Deref for InferencePredicate {
    type Target = Inference;

    fn deref(&self) -> &Inference {
        &self.0
    }
}

impl<'de> Deserialize<'de> for InferencePredicate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Inference::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

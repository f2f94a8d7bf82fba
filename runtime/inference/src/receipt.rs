//! From what a worker executed to a signed receipt.
//!
//! The predicate is `urn:tally:inference:v1` of `tally-receipt`. This module fills it: what each digest is taken over is
//! listed in `docs/inference.md`.

use std::sync::Arc;

use tally_receipt::{
    CommittedValue, Context, Count, Digest, EngineProfile, Field, FinishReason, Inference,
    InferencePredicate, Label, Model, Nonce, Opening, Openings, Operation, Output, Prompt,
    PublicKey, Real, Receipt, RunId, SaltSeed, Seed, SigningKey, Status, StopStrings, Timestamp,
    code,
};

use crate::gguf::GgufHeader;
use crate::request::{ChatRequest, ClientNonce, Lane, Links, Sampling, ToolCall};
use crate::sampler::{SAMPLER_ID, SEED_CONTEXT};
use crate::weights::{WeightsDigest, WeightsHold};
use crate::wire::Loaded;

/// The version of `llama-cpp-sys-2`, which fixes the sources of llama.cpp; what those say of their own version is not exact.
/// The workspace pins the same one.
const LLAMA_CPP_SYS_VERSION: &str = "0.1.161";

/// The node's key, its clock and its randomness. Cheap to clone.
#[derive(Clone)]
pub struct Signer {
    key: Arc<SigningKey>,
    public: PublicKey,
    now_unix_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    salt: Arc<dyn Fn() -> [u8; 32] + Send + Sync>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Signs with `key`. `now_unix_ms` gives the present in milliseconds since 1970-01-01 UTC, `salt` 32 fresh random
    /// bytes from the operating system each time.
    pub fn new(
        key: SigningKey,
        now_unix_ms: impl Fn() -> u64 + Send + Sync + 'static,
        salt: impl Fn() -> [u8; 32] + Send + Sync + 'static,
    ) -> Self {
        Self {
            public: key.public_key(),
            key: Arc::new(key),
            now_unix_ms: Arc::new(now_unix_ms),
            salt: Arc::new(salt),
        }
    }

    /// The key that receipts are checked with.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public
    }
}

/// A signed receipt and what opens its commitments. The service has verified it.
#[derive(Clone)]
pub struct SignedReceipt {
    /// The DSSE envelope, as JSON bytes.
    pub envelope: Vec<u8>,
    /// BLAKE3 of `envelope`.
    pub digest: Digest,
    /// The node's public key.
    pub signer: PublicKey,
    openings: Openings,
    took: std::time::Duration,
}

impl SignedReceipt {
    /// The salts and values of its commitments. Whoever has these reads the prompt and the answer.
    #[must_use]
    pub fn openings(&self) -> &Openings {
        &self.openings
    }

    /// How long making and checking it took.
    #[must_use]
    pub fn took(&self) -> std::time::Duration {
        self.took
    }

    /// The token ids of the prompt.
    #[must_use]
    pub fn prompt_tokens(&self) -> &[u32] {
        self.tokens(Field::Prompt)
    }

    /// The token ids of the output; none for an embedding.
    #[must_use]
    pub fn output_tokens(&self) -> &[u32] {
        self.tokens(Field::Output)
    }

    fn tokens(&self, field: Field) -> &[u32] {
        match self.openings.value(field) {
            Some(CommittedValue::Tokens(tokens)) => tokens,
            _ => &[],
        }
    }
}

impl std::fmt::Debug for SignedReceipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedReceipt")
            .field("digest", &self.digest)
            .field("signer", &self.signer)
            .finish_non_exhaustive()
    }
}

/// The model and engine that ran, as far as they do not change between requests.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) model: Model,
    tokenizer: Digest,
    template: Digest,
    profile: EngineProfile,
    prefill_tokens: u32,
    slots: u32,
}

impl Identity {
    pub(crate) fn new(
        name: &str,
        weights: &WeightsDigest,
        header: &GgufHeader,
        hold: WeightsHold,
        loaded: &Loaded,
        gpu_layers: u32,
    ) -> Self {
        let mut cpu_features: Vec<Label> =
            features(&loaded.system_info).map(Label::lossy).collect();
        cpu_features.sort();
        cpu_features.dedup();
        cpu_features.truncate(tally_receipt::limits::MAX_CPU_FEATURES);
        Self {
            model: Model {
                name: Label::lossy(name),
                weights: Digest::from_bytes(*weights.as_bytes()),
                architecture: Label::lossy(&header.architecture),
                quantisation: Label::lossy(&header.quantisation),
            },
            tokenizer: Digest::from_bytes(loaded.tokenizer),
            template: Digest::from_bytes(loaded.template),
            profile: EngineProfile {
                name: Label::lossy("tally-inference"),
                version: Label::lossy(env!("CARGO_PKG_VERSION")),
                llama_cpp: Label::lossy(&format!(
                    "llama-cpp-sys-2 {LLAMA_CPP_SYS_VERSION}, llama.cpp {}, ggml {}",
                    loaded.llama_version, loaded.ggml_commit
                )),
                backend: Label::lossy(&format!("{}; weights in {}", loaded.backend, hold.as_str())),
                lane: tally_receipt::Lane::Exact,
                threads: loaded.threads,
                gpu_layers,
                context_tokens: loaded.context_tokens,
                batch_tokens: loaded.prefill_tokens,
                micro_batch_tokens: loaded.prefill_tokens,
                kv_key_type: Label::lossy("f16"),
                kv_value_type: Label::lossy("f16"),
                flash_attention: false,
                cpu_features,
            },
            prefill_tokens: loaded.prefill_tokens,
            slots: loaded.slots,
        }
    }

    fn profile(&self, lane: Lane) -> EngineProfile {
        let batch = match lane {
            Lane::Exact => self.prefill_tokens,
            Lane::Throughput => self.prefill_tokens.saturating_add(self.slots),
        };
        EngineProfile {
            lane: match lane {
                Lane::Exact => tally_receipt::Lane::Exact,
                Lane::Throughput => tally_receipt::Lane::Throughput,
            },
            batch_tokens: batch,
            micro_batch_tokens: batch,
            ..self.profile.clone()
        }
    }
}

/// The names in llama.cpp's system information that are on: `CPU : SSE3 = 1 | AVX = 1 | …`.
fn features(system_info: &str) -> impl Iterator<Item = &str> {
    system_info
        .split(['|', ':'])
        .filter_map(|part| part.trim().strip_suffix("= 1").map(str::trim))
        .filter(|name| !name.is_empty())
}

/// What one generation did.
pub(crate) struct ChatRecord<'a> {
    pub(crate) request: &'a ChatRequest,
    pub(crate) nonce: ClientNonce,
    pub(crate) links: &'a Links,
    pub(crate) prompt: Vec<u32>,
    pub(crate) cached: u32,
    pub(crate) output: Vec<u32>,
    /// What the client sent, where that was not `request`.
    pub(crate) asked: Option<Vec<u8>>,
    pub(crate) text: String,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) grammar: Option<[u8; 32]>,
    pub(crate) finish: crate::event::FinishReason,
    pub(crate) duration_ms: u64,
}

/// What one embedding or ranking did.
pub(crate) struct TextsRecord<'a> {
    pub(crate) operation: Operation,
    pub(crate) nonce: ClientNonce,
    pub(crate) links: &'a Links,
    /// Of a ranking, the question first.
    pub(crate) texts: Vec<String>,
    pub(crate) prompt: Vec<u32>,
    /// All vectors, one after another, or the number of each passage.
    pub(crate) numbers: &'a [f32],
    /// How many vectors, or passages.
    pub(crate) count: u32,
    pub(crate) duration_ms: u64,
}

/// The receipt of a generation.
pub(crate) fn chat(
    signer: &Signer,
    identity: &Identity,
    record: ChatRecord<'_>,
) -> Result<SignedReceipt, String> {
    let mut commitments = Commitments::new(signer);
    let asked = match record.asked {
        Some(bytes) => CommittedValue::Bytes(bytes),
        None => CommittedValue::Text(
            serde_json::to_string(record.request).map_err(|error| error.to_string())?,
        ),
    };
    let (prompt_count, output_count) = (count(record.prompt.len()), count(record.output.len()));
    let tools = serde_json::to_vec(&record.request.tools).map_err(|error| error.to_string())?;
    let inference = Inference {
        operation: Operation::Chat,
        model: identity.model.clone(),
        tokenizer: identity.tokenizer,
        template: Some(identity.template),
        asked: Some(commitments.commit(Field::Asked, asked)),
        prompt: Prompt {
            commitment: commitments.commit(Field::Prompt, CommittedValue::Tokens(record.prompt)),
            count: prompt_count,
            cached: record.cached,
        },
        grammar: record.grammar.map(Digest::from_bytes),
        tools: (!record.request.tools.is_empty()).then(|| Digest::of(&tools)),
        sampling: Some(sampling(&record.request.sampling, &mut commitments)?),
        seed: seed(signer),
        engine: identity.profile(record.request.lane),
        output: Output {
            commitment: commitments.commit(Field::Output, CommittedValue::Tokens(record.output)),
            count: output_count,
            text: Some(
                commitments.commit(Field::OutputText, handed_out(record.text, record.calls)),
            ),
            finish: match record.finish {
                crate::event::FinishReason::Stop => FinishReason::Stop,
                crate::event::FinishReason::StopString => FinishReason::StopString,
                crate::event::FinishReason::Length => FinishReason::Length,
                crate::event::FinishReason::ToolCalls => FinishReason::ToolCalls,
                crate::event::FinishReason::Cancelled => FinishReason::Cancelled,
            },
        },
        nonce: Nonce::from_bytes(*record.nonce.as_bytes()),
        links: links(record.links),
        issued_at: now(signer)?,
        duration_ms: Count::new(record.duration_ms).map_err(|error| error.to_string())?,
    };
    sign(signer, inference, commitments)
}

/// The text that was handed out; with the tool calls, where there are any.
fn handed_out(text: String, calls: Vec<ToolCall>) -> CommittedValue {
    if calls.is_empty() {
        return CommittedValue::Text(text);
    }
    let calls = calls
        .into_iter()
        .flat_map(|call| [call.id, call.name, call.arguments_json]);
    CommittedValue::Texts(std::iter::once(text).chain(calls).collect())
}

/// The receipt of an embedding or a ranking.
pub(crate) fn texts(
    signer: &Signer,
    identity: &Identity,
    record: TextsRecord<'_>,
) -> Result<SignedReceipt, String> {
    let mut commitments = Commitments::new(signer);
    let prompt_count = count(record.prompt.len());
    let numbers: Vec<u8> = record
        .numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let inference = Inference {
        operation: record.operation,
        model: identity.model.clone(),
        tokenizer: identity.tokenizer,
        template: None,
        asked: Some(commitments.commit(Field::Asked, CommittedValue::Texts(record.texts))),
        prompt: Prompt {
            commitment: commitments.commit(Field::Prompt, CommittedValue::Tokens(record.prompt)),
            count: prompt_count,
            cached: 0,
        },
        grammar: None,
        tools: None,
        sampling: None,
        seed: seed(signer),
        engine: identity.profile(Lane::Exact),
        output: Output {
            commitment: commitments.commit(Field::Output, CommittedValue::Bytes(numbers)),
            count: record.count,
            text: None,
            finish: FinishReason::Complete,
        },
        nonce: Nonce::from_bytes(*record.nonce.as_bytes()),
        links: links(record.links),
        issued_at: now(signer)?,
        duration_ms: Count::new(record.duration_ms).map_err(|error| error.to_string())?,
    };
    sign(signer, inference, commitments)
}

/// Signs, reads back what was signed, and checks it as a client would.
fn sign(
    signer: &Signer,
    inference: Inference,
    commitments: Commitments,
) -> Result<SignedReceipt, String> {
    let (nonce, weights) = (inference.nonce, inference.model.weights);
    let predicate = InferencePredicate::new(inference).map_err(|error| error.to_string())?;
    let receipt = Receipt::sign(predicate, &[&signer.key]).map_err(|error| error.to_string())?;
    let envelope = receipt.to_json();
    let digest = Digest::of(&envelope);
    let began = commitments.began;
    let openings =
        Openings::new(digest, commitments.openings).map_err(|error| error.to_string())?;
    let mut context = Context::at(now(signer)?);
    context.expected_nonce = Some(nonce);
    context.expected_weights = Some(weights);
    context.openings = Some(&openings);
    let (_, verdict) = tally_receipt::verify_bytes(&envelope, &context);
    if verdict.status_of(code::SIGNATURE) != Some(Status::Pass) || verdict.has_failed() {
        let failed: Vec<String> = verdict
            .checks()
            .iter()
            .map(|check| format!("{check:?}"))
            .collect();
        return Err(format!("it does not verify: {}", failed.join("; ")));
    }
    Ok(SignedReceipt {
        envelope,
        digest,
        signer: signer.public,
        openings,
        took: began.elapsed(),
    })
}

struct Commitments {
    /// When making the receipt began.
    began: std::time::Instant,
    salts: SaltSeed,
    openings: Vec<Opening>,
}

impl Commitments {
    fn new(signer: &Signer) -> Self {
        Self {
            began: std::time::Instant::now(),
            salts: SaltSeed::from_bytes((signer.salt)()),
            openings: Vec::new(),
        }
    }

    fn commit(&mut self, field: Field, value: CommittedValue) -> tally_receipt::Commitment {
        let (commitment, opening) = Opening::commit(field, self.salts.salt(field), value);
        self.openings.push(opening);
        commitment
    }
}

fn sampling(
    sampling: &Sampling,
    commitments: &mut Commitments,
) -> Result<tally_receipt::Sampling, String> {
    let real = |value| Real::new(value).map_err(|error| error.to_string());
    let stop = (!sampling.stop.is_empty()).then(|| StopStrings {
        commitment: commitments.commit(
            Field::StopStrings,
            CommittedValue::Texts(sampling.stop.clone()),
        ),
        count: count(sampling.stop.len()),
    });
    Ok(tally_receipt::Sampling {
        sampler: Label::lossy(SAMPLER_ID),
        temperature: real(sampling.temperature)?,
        top_k: sampling.top_k,
        top_p: real(sampling.top_p)?,
        min_p: real(sampling.min_p)?,
        repeat_penalty: real(sampling.repeat_penalty)?,
        repeat_last_n: sampling.repeat_last_n,
        max_tokens: sampling.max_tokens,
        stop,
    })
}

fn seed(signer: &Signer) -> Seed {
    Seed {
        derivation: Label::lossy(SEED_CONTEXT),
        node: signer.public,
    }
}

fn links(links: &Links) -> Option<tally_receipt::Links> {
    let run = links.run?;
    Some(tally_receipt::Links {
        run: RunId::from_bytes(run),
        step: links.step.unwrap_or(0),
        previous: links.previous.map(Digest::from_bytes),
    })
}

fn now(signer: &Signer) -> Result<Timestamp, String> {
    Timestamp::from_unix_ms((signer.now_unix_ms)()).map_err(|error| error.to_string())
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{LLAMA_CPP_SYS_VERSION, features};

    #[test]
    fn the_stated_version_is_the_one_that_is_built() {
        let lock = include_str!("../../../Cargo.lock");
        let after = lock
            .split("name = \"llama-cpp-sys-2\"\nversion = \"")
            .nth(1)
            .expect("it is locked");
        assert_eq!(after.split('"').next(), Some(LLAMA_CPP_SYS_VERSION));
    }

    #[test]
    fn features_are_those_that_are_on() {
        let info = "CPU : SSE3 = 1 | AVX = 1 | LLAMAFILE = 0 | REPACK = 1 | ";
        assert_eq!(
            features(info).collect::<Vec<_>>(),
            ["SSE3", "AVX", "REPACK"]
        );
    }
}

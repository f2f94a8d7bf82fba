//! `tally bench receipts`: what a receipt costs to make, to check alone and to check among many.
//!
//! The peer in the same run is bare Ed25519 on the same bytes (`ed25519-dalek`, `sign` and `verify_strict`): no scheme
//! that signs and checks a receipt can be faster than that, so the ratio is the cost of everything around it.
//!
//! `create` starts from token ids and ends with the file's bytes; `verify` starts from the file's bytes and ends with a
//! verdict under a policy; `verifyBatch` starts from receipts that are read already, which `parse` measures.
//!
//! Each figure is the fastest of several rounds: other work on the machine can only make a round slower.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ed25519_dalek::Signer as _;
use serde_json::{Value, json};
use tally_receipt::{
    Commitment, Context, Count, Digest, EngineProfile, Field, FinishReason, Inference,
    InferencePredicate, Label, Lane, Links, Model, Nonce, Operation, Output, Policy, Prompt,
    PublicKey, Real, Receipt, Role, RunId, SaltSeed, Sampling, Seed, SignatureVerifier, SigningKey,
    Timestamp, TrustedKey, ValueRef, Verifier as _, pre_authentication_encoding, verify_batch,
};

/// In the batch.
const RECEIPTS: u16 = 256;
/// Short rounds, so that some of them are not interrupted.
const ROUND: u16 = 16;
const PROMPT_TOKENS: u32 = 512;
const OUTPUT_TOKENS: u32 = 128;
/// For each of six measures.
const BUDGET: Duration = Duration::from_millis(400);
const MIN_ROUNDS: u32 = 3;

pub(crate) fn run() -> anyhow::Result<Value> {
    let seed = [7; 32];
    let key = SigningKey::from_seed(&seed);
    let policy = Policy::new(vec![TrustedKey {
        key: key.public_key(),
        owner: Label::new("bench")?,
        roles: vec![Role::Inference],
        valid_from: Timestamp::from_unix_ms(0)?,
        valid_until: None,
        revoked: None,
    }])?;
    let context = Context {
        policy: Some(&policy),
        ..Context::at(Timestamp::from_unix_ms(1_800_000_000_000)?)
    };

    let receipts = (0..RECEIPTS)
        .map(|number| {
            Ok(Receipt::sign(
                predicate(number, key.public_key())?,
                &[&key],
            )?)
        })
        .collect::<anyhow::Result<Vec<Receipt>>>()?;
    let files: Vec<Vec<u8>> = receipts.iter().map(Receipt::to_json).collect();
    let one = &receipts[0];

    let mut numbers = (0..RECEIPTS).cycle();
    let create = fastest(ROUND.into(), || {
        for number in numbers.by_ref().take(ROUND.into()) {
            let made = Receipt::sign(predicate(number, key.public_key())?, &[&key])?;
            black_box(made.to_json());
        }
        Ok(())
    })?;
    let verify = fastest(ROUND.into(), || {
        for file in files.iter().take(ROUND.into()) {
            let verdict = SignatureVerifier.verify(&Receipt::parse(file)?, &(), &context);
            anyhow::ensure!(
                verdict.is_verified(),
                "a good receipt was refused: {verdict}"
            );
        }
        Ok(())
    })?;
    let parse = fastest(ROUND.into(), || {
        for file in files.iter().take(ROUND.into()) {
            black_box(Receipt::parse(file)?);
        }
        Ok(())
    })?;
    let batch = fastest(RECEIPTS.into(), || {
        let verdicts = verify_batch(&receipts, &context);
        anyhow::ensure!(
            verdicts.iter().all(|verdict| verdict.is_verified()),
            "a good receipt was refused"
        );
        Ok(())
    })?;

    let bare_key = ed25519_dalek::SigningKey::from_bytes(&seed);
    let bare_public = bare_key.verifying_key();
    let message = pre_authentication_encoding(one.envelope().payload());
    let bare_signature = bare_key.sign(&message);
    let bare_sign = fastest(ROUND.into(), || {
        (0..ROUND).for_each(|_| {
            black_box(bare_key.sign(black_box(&message)));
        });
        Ok(())
    })?;
    let bare_verify = fastest(ROUND.into(), || {
        for _ in 0..ROUND {
            bare_public
                .verify_strict(black_box(&message), &bare_signature)
                .context("a bare signature does not hold")?;
        }
        Ok(())
    })?;

    Ok(json!({
        "bench": "receipts",
        "receipt": {
            "bytes": files[0].len(),
            "payloadBytes": one.envelope().payload().len(),
            "promptTokens": PROMPT_TOKENS,
            "outputTokens": OUTPUT_TOKENS,
        },
        "create": figure(create),
        "verify": figure(verify),
        "parse": figure(parse),
        "verifyBatch": {
            "us": us(batch),
            "usFromFiles": us(batch + parse),
            "perSecond": per_second(batch),
            "receipts": RECEIPTS,
            "keys": 1,
        },
        "peer": {
            "name": "bare ed25519-dalek on the same bytes",
            "sign": figure(bare_sign),
            "verifyStrict": figure(bare_verify),
        },
        "ratio": {
            "createToBareSign": ratio(create, bare_sign),
            "verifyToBareVerify": ratio(verify, bare_verify),
            "verifyBatchToBareVerify": ratio(batch, bare_verify),
        },
        "bar": { "verifyUs": 100, "verifyBatchUs": 25 },
    }))
}

/// A receipt of ordinary size with everything filled in.
pub(in crate::verbs::bench) fn predicate(
    number: u16,
    node: PublicKey,
) -> anyhow::Result<InferencePredicate> {
    let [low, high] = number.to_le_bytes();
    let mut unique = [low; 32];
    unique[0] = high;
    let salts = SaltSeed::from_bytes(unique);
    let commit = |field, value: ValueRef<'_>| Commitment::new(field, &salts.salt(field), value);
    let prompt: Vec<u32> = (0..PROMPT_TOKENS).collect();
    let output: Vec<u32> = (0..OUTPUT_TOKENS).collect();
    let label = Label::new;
    Ok(InferencePredicate::new(Inference {
        operation: Operation::Chat,
        model: Model {
            name: label("tally-nano")?,
            weights: Digest::of(b"weights"),
            architecture: label("llama")?,
            quantisation: label("Q8_0")?,
        },
        tokenizer: Digest::of(b"tokenizer"),
        template: Some(Digest::of(b"template")),
        asked: Some(commit(Field::Asked, ValueRef::Bytes(b"{\"messages\":[]}"))),
        prompt: Prompt {
            commitment: commit(Field::Prompt, ValueRef::Tokens(&prompt)),
            count: PROMPT_TOKENS,
            cached: 64,
        },
        grammar: Some(Digest::of(b"grammar")),
        tools: Some(Digest::of(b"tools")),
        sampling: Some(Sampling {
            sampler: label("tally-gumbel-v1")?,
            temperature: Real::new(0.7)?,
            top_k: 40,
            top_p: Real::new(0.95)?,
            min_p: Real::new(0.05)?,
            repeat_penalty: Real::new(1.1)?,
            repeat_last_n: 64,
            max_tokens: 256,
            stop: None,
        }),
        seed: Seed {
            derivation: label("tally-seed-v1")?,
            node,
        },
        engine: EngineProfile {
            name: label("tally-inference")?,
            version: label("0.1.0")?,
            llama_cpp: label("0.1.161")?,
            backend: label("CPU")?,
            lane: Lane::Exact,
            threads: 2,
            gpu_layers: 0,
            context_tokens: 4096,
            batch_tokens: 512,
            micro_batch_tokens: 512,
            kv_key_type: label("f16")?,
            kv_value_type: label("f16")?,
            flash_attention: false,
            cpu_features: vec![
                label("AVX2")?,
                label("BMI2")?,
                label("F16C")?,
                label("FMA")?,
            ],
        },
        output: Output {
            commitment: commit(Field::Output, ValueRef::Tokens(&output)),
            count: OUTPUT_TOKENS,
            text: Some(commit(Field::OutputText, ValueRef::Text("a short answer"))),
            finish: FinishReason::Stop,
        },
        nonce: Nonce::from_bytes(unique),
        links: Some(Links {
            run: RunId::from_bytes([1; 16]),
            step: 0,
            previous: None,
        }),
        issued_at: Timestamp::from_unix_ms(1_790_000_000_000)?,
        duration_ms: Count::from(1200),
    })?)
}

/// The time of one of `items` in the fastest round.
fn fastest(items: u32, mut round: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let mut best = Duration::MAX;
    let mut rounds = 0;
    while rounds < MIN_ROUNDS || begin.elapsed() < BUDGET {
        let start = Instant::now();
        round()?;
        best = best.min(start.elapsed());
        rounds += 1;
    }
    Ok(best / items)
}

fn us(one: Duration) -> f64 {
    (one.as_secs_f64() * 1e8).round() / 100.0
}

fn per_second(one: Duration) -> f64 {
    (1.0 / one.as_secs_f64()).round()
}

fn figure(one: Duration) -> Value {
    json!({ "us": us(one), "perSecond": per_second(one) })
}

fn ratio(ours: Duration, peer: Duration) -> f64 {
    (ours.as_secs_f64() / peer.as_secs_f64() * 100.0).round() / 100.0
}

//! Receipts to test with, the same in each run: keys, salts and times are fixed.

#![allow(dead_code, reason = "each test file uses a part of it")]

use tally_receipt::*;

pub(crate) fn node() -> SigningKey {
    SigningKey::from_seed(&[0x11; 32])
}

pub(crate) fn runner() -> SigningKey {
    SigningKey::from_seed(&[0x22; 32])
}

pub(crate) fn successor() -> SigningKey {
    SigningKey::from_seed(&[0x33; 32])
}

pub(crate) fn stranger() -> SigningKey {
    SigningKey::from_seed(&[0x44; 32])
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn issued_at() -> Timestamp {
    time("2026-11-21T02:34:32.123Z")
}

pub(crate) fn now() -> Timestamp {
    time("2026-11-22T00:00:00.000Z")
}

pub(crate) fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(crate) fn nonce() -> Nonce {
    Nonce::from_bytes([0x5a; 32])
}

pub(crate) const PROMPT: [u32; 5] = [1, 15, 70_000, 4, 2];
pub(crate) const OUTPUT: [u32; 3] = [9, 300, 2];
pub(crate) const OUTPUT_TEXT: &str = "It is in the tally.";

pub(crate) fn salts() -> SaltSeed {
    SaltSeed::from_bytes([0x77; 32])
}

fn open(field: Field, value: CommittedValue) -> (Commitment, Opening) {
    Opening::commit(field, salts().salt(field), value)
}

pub(crate) fn opening_of(field: Field) -> Opening {
    let value = match field {
        Field::Asked => {
            CommittedValue::Bytes(br#"{"messages":[{"role":"user","content":"Where?"}]}"#.to_vec())
        }
        Field::Prompt => CommittedValue::Tokens(PROMPT.to_vec()),
        Field::StopStrings => CommittedValue::Texts(vec!["\n\n".into(), "END".into()]),
        Field::Output => CommittedValue::Tokens(OUTPUT.to_vec()),
        Field::OutputText => CommittedValue::Text(OUTPUT_TEXT.into()),
        Field::RunInput => CommittedValue::Bytes(b"\xa1\x64text\x66Where?".to_vec()),
        Field::RunOutput => {
            CommittedValue::Bytes(b"\xa1\x64text\x78\x13It is in the tally.".to_vec())
        }
        other => panic!("no sample for {}", other.path()),
    };
    open(field, value).1
}

pub(crate) fn commitment_of(field: Field) -> Commitment {
    let opening = opening_of(field);
    Commitment::new(field, &opening.salt, opening.value.as_ref())
}

/// Openings of every field that `receipt` has.
pub(crate) fn openings_of(receipt: &Receipt) -> Openings {
    let fields = Field::ALL
        .into_iter()
        .filter(|field| receipt.predicate().commitment(*field).is_some());
    Openings::new(receipt.digest(), fields.map(opening_of).collect())
        .ok()
        .unwrap()
}

pub(crate) fn chat() -> Inference {
    Inference {
        operation: Operation::Chat,
        model: Model {
            name: label("tally-nano"),
            weights: digest("weights"),
            architecture: label("llama"),
            quantisation: label("Q8_0"),
        },
        tokenizer: digest("tokenizer"),
        template: Some(digest("template")),
        asked: Some(commitment_of(Field::Asked)),
        prompt: Prompt {
            commitment: commitment_of(Field::Prompt),
            count: 5,
            cached: 2,
        },
        grammar: Some(digest("grammar")),
        tools: Some(digest("tools")),
        sampling: Some(Sampling {
            sampler: label("tally-gumbel-v1"),
            temperature: Real::new(0.7).unwrap(),
            top_k: 40,
            top_p: Real::new(0.95).unwrap(),
            min_p: Real::new(0.05).unwrap(),
            repeat_penalty: Real::new(1.0).unwrap(),
            repeat_last_n: 64,
            max_tokens: 16,
            stop: Some(StopStrings {
                commitment: commitment_of(Field::StopStrings),
                count: 2,
            }),
        }),
        seed: Seed {
            derivation: label("tally-seed-v1"),
            node: node().public_key(),
        },
        engine: EngineProfile {
            name: label("tally-inference"),
            version: label("0.1.0"),
            llama_cpp: label("0.1.161"),
            backend: label("CPU"),
            lane: Lane::Exact,
            threads: 2,
            gpu_layers: 0,
            context_tokens: 4096,
            batch_tokens: 512,
            micro_batch_tokens: 512,
            kv_key_type: label("f16"),
            kv_value_type: label("f16"),
            flash_attention: false,
            cpu_features: vec![label("AVX2"), label("FMA")],
        },
        output: Output {
            commitment: commitment_of(Field::Output),
            count: 3,
            text: Some(commitment_of(Field::OutputText)),
            finish: FinishReason::Stop,
        },
        nonce: nonce(),
        links: Some(Links {
            run: RunId::from_bytes([0x0f; 16]),
            step: 1,
            previous: Some(digest("previous receipt")),
        }),
        issued_at: issued_at(),
        duration_ms: Count::from(480),
    }
}

pub(crate) fn embed() -> Inference {
    let mut inference = chat();
    inference.operation = Operation::Embed;
    inference.template = None;
    inference.grammar = None;
    inference.tools = None;
    inference.sampling = None;
    inference.links = None;
    inference.asked = None;
    inference.output = Output {
        commitment: Commitment::new(
            Field::Output,
            &salts().salt(Field::Output),
            ValueRef::Bytes(&1.0f32.to_le_bytes()),
        ),
        count: 1,
        text: None,
        finish: FinishReason::Complete,
    };
    inference
}

pub(crate) fn run() -> Run {
    Run {
        run: RunId::from_bytes([0x0f; 16]),
        runner: runner().public_key(),
        component: digest("component"),
        world: label("tally:agent/agent@0.1.0"),
        engine: EngineIdentity {
            name: label("tally-engine"),
            version: label("0.1.0"),
            config: digest("config"),
        },
        manifest: digest("manifest"),
        grant: digest("grant"),
        input: commitment_of(Field::RunInput),
        output: Some(commitment_of(Field::RunOutput)),
        journal: JournalHead {
            head: digest("journal head"),
            entries: Count::from(12),
        },
        outcome: Outcome {
            status: OutcomeStatus::Completed,
            detail: None,
        },
        fuel: Count::new(1_234_567).unwrap(),
        started_at: time("2026-11-21T02:34:31.000Z"),
        ended_at: time("2026-11-21T02:34:33.000Z"),
        receipts: vec![digest("previous receipt"), chat_receipt().digest()],
    }
}

pub(crate) fn rotation() -> KeyRotation {
    KeyRotation {
        from: node().public_key(),
        to: successor().public_key(),
        at: time("2026-12-01T00:00:00.000Z"),
        reason: label("yearly rotation"),
    }
}

pub(crate) fn chat_receipt() -> Receipt {
    Receipt::sign(InferencePredicate::new(chat()).unwrap(), &[&node()]).unwrap()
}

pub(crate) fn rank_receipt() -> Receipt {
    let ranking = Inference {
        operation: Operation::Rank,
        ..embed()
    };
    Receipt::sign(InferencePredicate::new(ranking).unwrap(), &[&node()]).unwrap()
}

pub(crate) fn embed_receipt() -> Receipt {
    Receipt::sign(InferencePredicate::new(embed()).unwrap(), &[&node()]).unwrap()
}

/// Countersigned by the node.
pub(crate) fn run_receipt() -> Receipt {
    Receipt::sign(RunPredicate::new(run()).unwrap(), &[&runner(), &node()]).unwrap()
}

pub(crate) fn rotation_receipt() -> Receipt {
    Receipt::sign(
        KeyRotationPredicate::new(rotation()).unwrap(),
        &[&node(), &successor()],
    )
    .unwrap()
}

pub(crate) fn all_receipts() -> [Receipt; 4] {
    [
        chat_receipt(),
        embed_receipt(),
        run_receipt(),
        rotation_receipt(),
    ]
}

pub(crate) fn trusted(key: &SigningKey, owner: &str, role: Role) -> TrustedKey {
    TrustedKey {
        key: key.public_key(),
        owner: label(owner),
        roles: vec![role],
        valid_from: time("2026-01-01T00:00:00.000Z"),
        valid_until: None,
        revoked: None,
    }
}

pub(crate) fn trusted_keys() -> Vec<TrustedKey> {
    vec![
        trusted(&node(), "a node", Role::Inference),
        trusted(&runner(), "a runner", Role::Run),
    ]
}

pub(crate) fn policy() -> Policy {
    Policy::new(trusted_keys()).unwrap()
}

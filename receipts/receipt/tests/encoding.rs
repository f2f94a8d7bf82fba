//! The encodings, for any content: what is written is read back, and is written as it was in earlier versions.

mod samples;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use samples::*;
use tally_receipt::*;

fn digests() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn commitments() -> impl Strategy<Value = Commitment> {
    any::<[u8; 32]>().prop_map(Commitment::from_bytes)
}

fn labels() -> impl Strategy<Value = Label> {
    "[ -~]{1,200}".prop_map(|text| Label::new(&text).unwrap())
}

fn reals() -> impl Strategy<Value = Real> {
    prop_oneof![
        0.0f32..2.0,
        0.0f32..9_999_999.0,
        (0u32..0x0080_0000).prop_map(f32::from_bits)
    ]
    .prop_map(|value| Real::new(value).unwrap())
}

fn counts() -> impl Strategy<Value = Count> {
    (0..=limits::MAX_COUNT).prop_map(|number| Count::new(number).unwrap())
}

fn times() -> impl Strategy<Value = Timestamp> {
    (0u64..=253_402_300_799_999).prop_map(|ms| Timestamp::from_unix_ms(ms).unwrap())
}

fn samplings() -> impl Strategy<Value = Sampling> {
    let stop = proptest::option::of((commitments(), 1..=limits::MAX_STOP_STRINGS));
    (
        labels(),
        [reals(), reals(), reals(), reals()],
        any::<[u32; 3]>(),
        stop,
    )
        .prop_map(|(sampler, reals, numbers, stop)| {
            let [temperature, top_p, min_p, repeat_penalty] = reals;
            let [top_k, repeat_last_n, max_tokens] = numbers;
            let stop = stop.map(|(commitment, count)| StopStrings { commitment, count });
            Sampling {
                sampler,
                temperature,
                top_k,
                top_p,
                min_p,
                repeat_penalty,
                repeat_last_n,
                max_tokens,
                stop,
            }
        })
}

fn engines() -> impl Strategy<Value = EngineProfile> {
    let features = proptest::collection::btree_set(labels(), 0..8);
    (
        proptest::collection::vec(labels(), 6),
        any::<bool>(),
        any::<[u32; 5]>(),
        any::<bool>(),
        features,
    )
        .prop_map(|(labels, exact, numbers, flash_attention, features)| {
            let [
                name,
                version,
                llama_cpp,
                backend,
                kv_key_type,
                kv_value_type,
            ] = <[Label; 6]>::try_from(labels).unwrap();
            let [
                threads,
                gpu_layers,
                context_tokens,
                batch_tokens,
                micro_batch_tokens,
            ] = numbers;
            EngineProfile {
                name,
                version,
                llama_cpp,
                backend,
                lane: if exact { Lane::Exact } else { Lane::Throughput },
                threads,
                gpu_layers,
                context_tokens,
                batch_tokens,
                micro_batch_tokens,
                kv_key_type,
                kv_value_type,
                flash_attention,
                cpu_features: features.into_iter().collect(),
            }
        })
}

prop_compose! {
    fn chats()(
        names in [labels(), labels(), labels(), labels()],
        fixed in [digests(), digests()],
        optional in [
            proptest::option::of(digests()), proptest::option::of(digests()), proptest::option::of(digests()),
            proptest::option::of(digests()),
        ],
        committed in [commitments(), commitments()],
        shown in [proptest::option::of(commitments()), proptest::option::of(commitments())],
        sampling in samplings(),
        engine in engines(),
        counts in any::<[u32; 4]>(),
        finish in prop_oneof![
            Just(FinishReason::Stop), Just(FinishReason::Length), Just(FinishReason::ToolCalls), Just(FinishReason::Cancelled)
        ],
        nonce in any::<[u8; 32]>(),
        run in proptest::option::of(any::<[u8; 16]>()),
        issued_at in times(),
        duration_ms in counts(),
    ) -> Inference {
        let [name, architecture, quantisation, derivation] = names;
        let [weights, tokenizer] = fixed;
        let [template, grammar, tools, previous] = optional;
        let [prompt, output] = committed;
        let [asked, text] = shown;
        let [prompt_count, cached, output_count, step] = counts;
        Inference {
            operation: Operation::Chat,
            model: Model { name, weights, architecture, quantisation },
            tokenizer,
            template,
            asked,
            prompt: Prompt { commitment: prompt, count: prompt_count, cached: cached.min(prompt_count) },
            grammar,
            tools,
            seed: Seed { derivation, node: node().public_key() },
            engine,
            output: Output { commitment: output, count: output_count.min(sampling.max_tokens), text, finish },
            sampling: Some(sampling),
            nonce: Nonce::from_bytes(nonce),
            links: run.map(|run| Links { run: RunId::from_bytes(run), step, previous }),
            issued_at,
            duration_ms,
        }
    }
}

prop_compose! {
    fn runs()(
        names in [labels(), labels(), labels()],
        fixed in [digests(), digests(), digests(), digests(), digests()],
        input in commitments(),
        output in proptest::option::of(commitments()),
        detail in proptest::option::of(labels()),
        run in any::<[u8; 16]>(),
        entries in 1..=limits::MAX_COUNT,
        fuel in counts(),
        times in [times(), times()],
        receipts in proptest::collection::btree_set(digests(), 0..20),
    ) -> Run {
        let [world, name, version] = names;
        let [component, config, manifest, grant, head] = fixed;
        let [one, other] = times;
        let status = if output.is_some() { OutcomeStatus::Completed } else { OutcomeStatus::LimitReached };
        Run {
            run: RunId::from_bytes(run),
            runner: runner().public_key(),
            component,
            world,
            engine: EngineIdentity { name, version, config },
            manifest,
            grant,
            input,
            output,
            journal: JournalHead { head, entries: Count::new(entries).unwrap() },
            outcome: Outcome { status, detail },
            fuel,
            started_at: one.min(other),
            ended_at: one.max(other),
            receipts: receipts.into_iter().collect(),
        }
    }
}

fn sign_chat(chat: Inference) -> Receipt {
    Receipt::sign(InferencePredicate::new(chat).unwrap(), &[&node()]).unwrap()
}

fn sign_run(run: Run) -> Receipt {
    Receipt::sign(RunPredicate::new(run).unwrap(), &[&runner()]).unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(chat in chats(), run in runs()) {
        for receipt in [sign_chat(chat), sign_run(run)] {
            let file = receipt.to_json();
            let read = Receipt::parse(&file);
            prop_assert_eq!(read.as_ref(), Ok(&receipt));
            prop_assert_eq!(receipt.digest(), Digest::of(&file));
        }
    }
}

/// BLAKE3 over 200 generated receipts of each kind and the fixed ones. A change of this value is a change of the format:
/// files that were written before would not be read, or would have another digest.
#[test]
fn encodings_are_those_of_version_1() {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::from_seed(
            proptest::test_runner::RngAlgorithm::ChaCha,
            &[7; 32],
        ),
    );
    let mut hasher = blake3::Hasher::new();
    for receipt in all_receipts() {
        hasher.update(&receipt.to_json());
        if receipt
            .as_inference()
            .is_some_and(|inference| inference.operation == Operation::Chat)
        {
            hasher.update(&openings_of(&receipt).to_json());
        }
    }
    hasher.update(&policy().to_json());
    for _ in 0..200 {
        let chat = chats().new_tree(&mut runner).unwrap().current();
        let run = runs().new_tree(&mut runner).unwrap().current();
        hasher.update(&sign_chat(chat).to_json());
        hasher.update(&sign_run(run).to_json());
    }
    assert_eq!(
        hasher.finalize().to_hex().as_str(),
        "d14735e1b65a1a2483a5d89320395c70e153c1f59af6f7f5678bbc4184e48bde"
    );
}

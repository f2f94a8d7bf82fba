//! Whose word a journal is, and whether the receipts inside belong to it.

mod common;

use common::{CHAT, END, answer_to, genesis, runner, seal_with};
use tally_journal::{
    Call, Digest, Intent, Journal, JournalVerifier, MemorySink, RunId, Writer, code,
};
use tally_receipt::{
    Commitment, Context, Count, EngineProfile, Field, FinishReason, Inference, InferencePredicate,
    Label, Lane, Links, Model, Nonce, Operation, Output, Policy, Prompt, Real, Receipt, Role,
    Sampling, Seed, SigningKey, Status, Timestamp, TrustedKey, Verifier,
};

fn node() -> SigningKey {
    SigningKey::from_seed(&[11; 32])
}

fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

fn commitment(field: Field) -> Commitment {
    common::commitment(field)
}

fn receipt(links: Option<Links>) -> Receipt {
    let inference = Inference {
        operation: Operation::Chat,
        model: Model {
            weights: Digest::of(b"weights"),
            name: label("seed"),
            architecture: label("llama"),
            quantisation: label("f16"),
        },
        tokenizer: Digest::of(b"tokenizer"),
        template: None,
        asked: None,
        prompt: Prompt {
            commitment: commitment(Field::Prompt),
            count: 3,
            cached: 0,
        },
        grammar: None,
        tools: None,
        sampling: Some(Sampling {
            sampler: label("gumbel"),
            temperature: Real::new(0.0).unwrap(),
            top_k: 0,
            top_p: Real::new(1.0).unwrap(),
            min_p: Real::new(0.0).unwrap(),
            repeat_penalty: Real::new(1.0).unwrap(),
            repeat_last_n: 0,
            max_tokens: 10,
            stop: None,
        }),
        seed: Seed {
            node: node().public_key(),
            derivation: label("blake3"),
        },
        engine: EngineProfile {
            name: label("tally"),
            version: label("0.1.0"),
            llama_cpp: label("b1"),
            backend: label("cpu"),
            lane: Lane::Exact,
            threads: 1,
            context_tokens: 64,
            batch_tokens: 64,
            micro_batch_tokens: 64,
            kv_key_type: label("f16"),
            kv_value_type: label("f16"),
            flash_attention: false,
            gpu_layers: 0,
            cpu_features: vec![],
        },
        output: Output {
            commitment: commitment(Field::Output),
            count: 2,
            text: None,
            finish: FinishReason::Stop,
        },
        nonce: Nonce::from_bytes([links.map_or(99, |links| u8::try_from(links.step).unwrap()); 32]),
        links,
        issued_at: Timestamp::from_unix_ms(1_700_000_005_000).unwrap(),
        duration_ms: Count::saturating(5),
    };
    Receipt::sign(InferencePredicate::new(inference).unwrap(), &[&node()]).unwrap()
}

fn links(run: u8, step: u32, previous: Option<Digest>) -> Option<Links> {
    Some(Links {
        run: RunId::from_bytes([run; 16]),
        step,
        previous,
    })
}

/// A sealed journal of run 7 whose calls brought `receipts`.
fn journal(receipts: &[&[u8]]) -> Journal {
    let genesis = genesis(7);
    let mut writer = Writer::create(MemorySink::new(), &genesis).unwrap();
    for (index, receipt) in receipts.iter().enumerate() {
        let intent = Intent {
            fuel: index as u64,
            ..CHAT
        };
        let seq = writer.intent(&intent).unwrap();
        writer
            .call(&Call {
                receipt: Some(*receipt),
                ..answer_to(seq, &intent)
            })
            .unwrap();
    }
    writer.end(&END).unwrap();
    common::seal(
        &mut writer,
        &genesis,
        receipts.iter().map(|receipt| Digest::of(receipt)).collect(),
    );
    Journal::parse(writer.into_sink().into_bytes()).unwrap()
}

fn policy() -> Policy {
    let key = |key: &SigningKey, role| TrustedKey {
        key: key.public_key(),
        owner: label("somebody"),
        roles: vec![role],
        valid_from: Timestamp::from_unix_ms(0).unwrap(),
        valid_until: None,
        revoked: None,
    };
    Policy::new(vec![
        key(&runner(), Role::Run),
        key(&node(), Role::Inference),
    ])
    .unwrap()
}

fn context(policy: &Policy) -> Context<'_> {
    Context {
        policy: Some(policy),
        ..Context::at(Timestamp::from_unix_ms(1_800_000_000_000).unwrap())
    }
}

fn reason(verdict: &tally_receipt::Verdict, code: &str) -> String {
    let check = verdict
        .checks()
        .iter()
        .find(|check| check.code == code)
        .unwrap();
    format!(
        "{:?} {}",
        check.status,
        check.reason.as_deref().unwrap_or("")
    )
}

#[test]
fn a_sealed_journal_with_its_receipts_is_verified() {
    let first = receipt(links(7, 0, None));
    let second = receipt(links(7, 1, Some(first.digest())));
    let journal = journal(&[&first.to_json(), &second.to_json(), &second.to_json()]);
    let policy = policy();
    let verdict = journal.verify(&context(&policy));
    assert!(verdict.is_verified(), "{:?}", verdict.checks());
    for code in [
        code::CHAIN,
        code::ENDED,
        code::RUN,
        code::HEAD,
        code::END,
        code::LINKS,
        "journal-receipt 2",
    ] {
        assert_eq!(verdict.status_of(code), Some(Status::Pass), "{code}");
    }
    assert!(
        verdict
            .not_proved()
            .iter()
            .any(|sentence| sentence.contains("replay"))
    );
}

#[test]
fn without_a_policy_nobody_vouches_for_the_signer() {
    let journal = journal(&[&receipt(links(7, 0, None)).to_json()]);
    let verdict = journal.verify(&Context::at(
        Timestamp::from_unix_ms(1_800_000_000_000).unwrap(),
    ));
    assert!(!verdict.is_verified() && !verdict.has_failed());
    assert_eq!(
        verdict.status_of("journal-receipt 2"),
        Some(Status::NotEstablished)
    );
}

#[test]
fn without_a_seal_nothing_is_established_but_the_chain() {
    let policy = policy();
    for bytes in [
        common::small_ended(7),
        common::small_ended(7)[..900].to_vec(),
    ] {
        let (journal, _) = Journal::recover(bytes).unwrap();
        let verdict = journal.verify(&context(&policy));
        assert!(!verdict.is_verified() && !verdict.has_failed());
        assert_eq!(verdict.status_of(code::CHAIN), Some(Status::Pass));
        assert_eq!(verdict.status_of(code::HEAD), Some(Status::NotEstablished));
    }
}

#[test]
fn a_receipt_of_another_run_or_of_none_does_not_belong_here() {
    let policy = policy();
    let found = |receipts: &[&Receipt]| {
        let bytes: Vec<_> = receipts.iter().map(|receipt| receipt.to_json()).collect();
        let bytes: Vec<_> = bytes.iter().map(|bytes| &bytes[..]).collect();
        let verdict = journal(&bytes).verify(&context(&policy));
        assert!(
            !verdict.is_verified() || reason(&verdict, code::LINKS).starts_with("NotEstablished")
        );
        reason(&verdict, code::LINKS)
    };
    let (zero, one) = (
        receipt(links(7, 0, None)),
        receipt(links(7, 1, Some(Digest::of(b"other")))),
    );
    assert_eq!(found(&[&receipt(links(8, 0, None))]), "Fail other-run");
    assert_eq!(found(&[&receipt(None)]), "Fail no-run");
    assert_eq!(found(&[&zero, &one]), "Fail other-previous");
    assert_eq!(
        found(&[
            &receipt(links(7, 1, None)),
            &receipt(links(7, 1, Some(zero.digest())))
        ]),
        "Fail step-twice"
    );
    assert_eq!(
        found(&[&receipt(links(7, 3, None))]),
        "NotEstablished step-missing"
    );
}

#[test]
fn a_receipt_inside_that_was_altered_is_named_by_its_entry() {
    let good = receipt(links(7, 0, None)).to_json();
    let text = String::from_utf8(good.clone()).unwrap();
    let at = text.find("\"sig\":\"").unwrap() + 10;
    let mut bad = good;
    bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
    let policy = policy();
    let verdict = journal(&[&bad]).verify(&context(&policy));
    assert!(verdict.has_failed());
    assert_eq!(verdict.status_of("journal-receipt 2"), Some(Status::Fail));
    assert_eq!(
        journal(&[b"{}"])
            .verify(&context(&policy))
            .status_of("journal-receipt 2"),
        Some(Status::Fail)
    );
}

#[test]
fn a_run_receipt_of_another_journal_fails_by_name() {
    let journal = Journal::parse(common::small_sealed(7)).unwrap();
    let policy = policy();
    let verify = |bytes: &[u8]| {
        JournalVerifier.verify(&Receipt::parse(bytes).unwrap(), &journal, &context(&policy))
    };
    let head = journal.head();
    assert!(verify(&seal_with(&genesis(7), head, vec![], |_| {})).is_verified());
    let other = verify(&seal_with(&genesis(8), head, vec![], |_| {}));
    assert_eq!(reason(&other, code::RUN), "Fail other-run");
    let other = verify(&seal_with(&genesis(7), head, vec![], |run| {
        run.journal.head = Digest::of(b"x")
    }));
    assert_eq!(
        (reason(&other, code::RUN), reason(&other, code::HEAD)),
        ("Pass ".to_owned(), "Fail other-head".to_owned())
    );
    let other = verify(&seal_with(&genesis(7), head, vec![], |run| {
        run.fuel = Count::saturating(1)
    }));
    assert_eq!(reason(&other, code::END), "Fail other-end");
    let other = verify(&receipt(links(7, 0, None)).to_json());
    assert_eq!(reason(&other, code::RUN), "Fail not-a-run");
}

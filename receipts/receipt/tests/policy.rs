//! Keys over time, and what of many receipts differs from one.

mod samples;

use std::collections::BTreeSet;

use samples::*;
use tally_receipt::*;

fn verdict(receipt: &Receipt, policy: &Policy, now: &str) -> Verdict {
    SignatureVerifier.verify(
        receipt,
        &(),
        &Context {
            policy: Some(policy),
            ..Context::at(time(now))
        },
    )
}

fn chat_by(key: &SigningKey, issued_at: &str) -> Receipt {
    let mut inference = chat();
    inference.seed.node = key.public_key();
    inference.issued_at = time(issued_at);
    Receipt::sign(InferencePredicate::new(inference).unwrap(), &[key]).unwrap()
}

#[test]
fn after_a_rotation_old_receipts_stay_checkable_and_the_old_key_signs_no_more() {
    let mut policy = policy();
    policy.apply_rotation(&rotation_receipt()).unwrap();
    let policy = Policy::parse(&policy.to_json()).unwrap();
    let now = "2027-01-01T00:00:00.000Z";

    assert!(verdict(&chat_by(&node(), "2026-11-30T23:59:59.999Z"), &policy, now).is_verified());
    assert!(!verdict(&chat_by(&node(), "2026-12-01T00:00:00.000Z"), &policy, now).is_verified());
    assert!(
        verdict(
            &chat_by(&successor(), "2026-12-01T00:00:00.000Z"),
            &policy,
            now
        )
        .is_verified()
    );
    assert!(
        !verdict(
            &chat_by(&successor(), "2026-11-30T23:59:59.999Z"),
            &policy,
            now
        )
        .is_verified()
    );
    assert_eq!(policy.keys().last().unwrap().owner, label("a node"));
}

#[test]
fn a_rotation_is_refused_where_it_would_widen_trust() {
    let refused = |policy: &Policy, receipt: &Receipt| {
        let mut changed = policy.clone();
        let refused = changed.apply_rotation(receipt).unwrap_err();
        assert_eq!(changed, *policy);
        refused
    };
    let good = rotation_receipt();
    let policy = policy();
    assert_eq!(
        refused(&policy, &chat_receipt()),
        RotationRefused::NotARotation
    );

    let one = Envelope::sign(good.envelope().payload().to_vec(), &[&node()]).unwrap();
    assert_eq!(
        refused(&policy, &Receipt::parse(&one.to_json()).unwrap()),
        RotationRefused::NotSigned
    );
    let mut signatures = good.envelope().signatures().to_vec();
    let bad = signatures[0].signature;
    signatures[1].signature = bad;
    let forged = Envelope::from_parts(good.envelope().payload().to_vec(), signatures).unwrap();
    assert_eq!(
        refused(&policy, &Receipt::parse(&forged.to_json()).unwrap()),
        RotationRefused::NotSigned
    );

    let without = Policy::new(vec![trusted(&runner(), "a runner", Role::Run)]).unwrap();
    assert_eq!(
        refused(&without, &good),
        RotationRefused::UnknownKey(node().public_key())
    );

    let mut keys = trusted_keys();
    keys[0].valid_until = Some(time("2026-11-30T00:00:00.000Z"));
    assert_eq!(
        refused(&Policy::new(keys).unwrap(), &good),
        RotationRefused::NotValid(node().public_key())
    );

    let mut keys = trusted_keys();
    keys[0].revoked = Some(Revocation {
        at: time("2027-01-01T00:00:00.000Z"),
        reason: RevocationReason::Retired,
        compromised_since: None,
    });
    assert_eq!(
        refused(&Policy::new(keys).unwrap(), &good),
        RotationRefused::NotValid(node().public_key())
    );

    let mut keys = trusted_keys();
    keys.push(trusted(&successor(), "somebody", Role::Run));
    assert_eq!(
        refused(&Policy::new(keys).unwrap(), &good),
        RotationRefused::KnownSuccessor(successor().public_key())
    );
}

#[test]
fn policies_that_contradict_themselves_are_refused() {
    let with = |change: fn(&mut TrustedKey)| {
        let mut keys = trusted_keys();
        change(&mut keys[0]);
        Policy::new(keys).unwrap_err()
    };
    let key = node().public_key();
    let revocation = |reason, compromised_since| Revocation {
        at: issued_at(),
        reason,
        compromised_since,
    };
    assert_eq!(with(|entry| entry.roles.clear()), PolicyError::Roles(key));
    assert_eq!(
        with(|entry| entry.roles = vec![Role::Run, Role::Run]),
        PolicyError::Roles(key)
    );
    assert_eq!(
        with(|entry| entry.valid_until = Some(entry.valid_from)),
        PolicyError::EmptyPeriod(key)
    );
    for (reason, since) in [
        (RevocationReason::Compromised, None),
        (RevocationReason::Retired, Some(issued_at())),
        (RevocationReason::Compromised, Some(issued_at().plus_ms(1))),
    ] {
        let mut keys = trusted_keys();
        keys[0].revoked = Some(revocation(reason, since));
        assert_eq!(Policy::new(keys), Err(PolicyError::Revocation(key)));
    }
    let twice = [trusted_keys(), trusted_keys()].concat();
    assert_eq!(Policy::new(twice), Err(PolicyError::KeyTwice(key)));
}

#[test]
fn a_policy_of_another_version_or_too_large_is_refused() {
    let text = String::from_utf8(policy().to_json()).unwrap();
    assert!(matches!(
        Policy::parse(text.replace("policy-v1", "policy-v2").as_bytes()),
        Err(PolicyError::Form { .. })
    ));
    assert!(matches!(
        Policy::parse(&text.as_bytes()[..text.len() - 1]),
        Err(PolicyError::Form { .. })
    ));
    let large = vec![b' '; limits::MAX_POLICY_BYTES + 1];
    assert_eq!(
        Policy::parse(&large),
        Err(PolicyError::TooLarge { found: large.len() })
    );
}

#[test]
fn a_statement_is_not_signed_without_the_signer_it_names() {
    let chat = InferencePredicate::new(chat()).unwrap();
    assert_eq!(
        Receipt::sign(chat, &[&stranger()]),
        Err(SignError::SignerMissing(node().public_key()))
    );
    let rotation = KeyRotationPredicate::new(rotation()).unwrap();
    assert_eq!(
        Receipt::sign(rotation, &[&node()]),
        Err(SignError::SignerMissing(successor().public_key()))
    );
}

#[test]
fn the_largest_run_receipt_fits_into_an_envelope() {
    let mut run = run();
    run.receipts = (0..limits::MAX_RECEIPTS_IN_RUN)
        .map(|number| digest(&number.to_string()))
        .collect();
    let receipt = Receipt::sign(RunPredicate::new(run.clone()).unwrap(), &[&runner()]).unwrap();
    assert_eq!(Receipt::parse(&receipt.to_json()), Ok(receipt));
    run.receipts.push(digest("one more"));
    assert_eq!(
        RunPredicate::new(run),
        Err(RunError::TooManyReceipts(limits::MAX_RECEIPTS_IN_RUN + 1))
    );
}

#[test]
fn the_largest_payload_fits_and_one_byte_more_does_not() {
    let keys: Vec<SigningKey> = (1..=8)
        .map(|seed| SigningKey::from_seed(&[seed; 32]))
        .collect();
    let keys: Vec<&SigningKey> = keys.iter().collect();
    let fits = |size: usize| Envelope::sign(vec![b'x'; size], &keys).is_ok();
    let (mut largest, mut too_large) = (0, limits::MAX_PAYLOAD_BYTES + 1);
    while too_large - largest > 1 {
        let middle = largest.midpoint(too_large);
        *(if fits(middle) {
            &mut largest
        } else {
            &mut too_large
        }) = middle;
    }
    let envelope = Envelope::sign(vec![b'x'; largest], &keys).unwrap();
    assert!(envelope.to_json().len() <= limits::MAX_ENVELOPE_BYTES);
    assert_eq!(Envelope::parse(&envelope.to_json()), Ok(envelope));
    let error = Envelope::sign(vec![b'x'; largest + 1], &keys);
    assert_eq!(
        error,
        Err(EnvelopeError::PayloadTooLarge { found: largest + 1 })
    );
}

#[test]
fn each_receipt_of_a_batch_gets_the_verdict_it_would_get_alone() {
    let policy = policy();
    let context = Context {
        policy: Some(&policy),
        ..Context::at(now())
    };
    let mut receipts: Vec<Receipt> = (0..30)
        .map(|number| {
            let mut inference = chat();
            inference.nonce = Nonce::from_bytes([number; 32]);
            Receipt::sign(InferencePredicate::new(inference).unwrap(), &[&node()]).unwrap()
        })
        .collect();
    receipts.push(run_receipt());
    // One bad signature among them, one key that nobody knows.
    let other = receipts[4].envelope().signatures().to_vec();
    let forged = Envelope::from_parts(receipts[3].envelope().payload().to_vec(), other).unwrap();
    receipts[3] = Receipt::parse(&forged.to_json()).unwrap();
    receipts.push(chat_by(&stranger(), "2026-11-21T02:34:32.123Z"));

    let batch = verify_batch(&receipts, &context);
    let alone: Vec<Verdict> = receipts
        .iter()
        .map(|receipt| SignatureVerifier.verify(receipt, &(), &context))
        .collect();
    assert_eq!(batch, alone);
    let refused: Vec<usize> = (0..batch.len())
        .filter(|index| !batch[*index].is_verified())
        .collect();
    assert_eq!(refused, [3, 31]);
    assert!(verify_batch(&[], &context).is_empty());
}

#[test]
fn a_nonce_that_comes_twice_in_a_batch_is_a_replay() {
    let policy = policy();
    let seen = BTreeSet::new();
    let context = Context {
        policy: Some(&policy),
        seen_nonces: Some(&seen),
        ..Context::at(now())
    };
    let batch = verify_batch(&[chat_receipt(), chat_receipt()], &context);
    assert_eq!(batch[0].status_of(code::REPLAY), Some(Status::Pass));
    assert_eq!(batch[1].status_of(code::REPLAY), Some(Status::Fail));
}

#[test]
fn a_verdict_for_programs_has_codes_and_says_what_is_not_proved() {
    let verdict = SignatureVerifier.verify(&chat_receipt(), &(), &Context::at(now()));
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["method"], "signature");
    assert_eq!(json["verified"], false);
    assert_eq!(json["missing"], serde_json::json!(["signer-trusted"]));
    assert_eq!(json["checks"][3]["code"], "signer-trusted");
    assert_eq!(json["checks"][3]["status"], "not-established");
    assert!(!json["notProved"].as_array().unwrap().is_empty());
}

#[test]
fn made_up_evidence_never_verifies_whatever_it_shows() {
    let policy = policy();
    let context = Context {
        policy: Some(&policy),
        ..Context::at(now())
    };
    let receipt = chat_receipt();
    assert!(
        SignatureVerifier
            .verify(&receipt, &(), &context)
            .is_verified()
    );
    let simulated = Simulated(()).verify(&SignatureVerifier, &receipt, &context);
    assert!(simulated.would_be_verified());
    let json = serde_json::to_value(&simulated).unwrap();
    assert_eq!(json["verified"], false);
    assert_eq!(json["simulated"], true);
}

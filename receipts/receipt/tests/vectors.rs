//! The published vectors: each is written by this file, named by its fault, and gets its verdict.
//!
//! `docs/receipt.md` describes the form. To write the files anew after a decision to change a format:
//! `TALLY_WRITE_VECTORS=1 cargo test --release -p tally-receipt --test vectors`.

mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use samples::*;
use serde_json::{Value, json};
use tally_receipt::*;

/// One vector, before it is JSON.
struct Vector {
    name: &'static str,
    comment: &'static str,
    receipt: Value,
    policy: Option<String>,
    context: BTreeMap<&'static str, Value>,
    openings: Option<String>,
    expect: Value,
}

const CHAT_PASS: [(&str, &str); 8] = [
    ("format", "pass"),
    ("signature", "pass"),
    ("signer-named", "pass"),
    ("signer-trusted", "pass"),
    ("time", "pass"),
    ("model", "not-established nothing-expected"),
    ("nonce", "not-established nothing-expected"),
    ("replay", "not-established no-record"),
];

impl Vector {
    /// A receipt that is as it should be in every respect that nothing below changes.
    fn new(name: &'static str, comment: &'static str, file: &[u8]) -> Self {
        let receipt = match std::str::from_utf8(file) {
            Ok(text) => json!({ "text": text }),
            Err(_) => {
                let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
                json!({ "hex": hex })
            }
        };
        let policy = Some(String::from_utf8(policy().to_json()).unwrap());
        let context = BTreeMap::from([("now", json!(now()))]);
        Self {
            name,
            comment,
            receipt,
            policy,
            context,
            openings: None,
            expect: Value::Null,
        }
    }

    fn with(mut self, name: &'static str, value: impl serde::Serialize) -> Self {
        self.context.insert(name, json!(value));
        self
    }

    fn policy(mut self, policy: Option<&Policy>) -> Self {
        self.policy = policy.map(|policy| String::from_utf8(policy.to_json()).unwrap());
        self
    }

    fn policy_text(mut self, text: String) -> Self {
        self.policy = Some(text);
        self
    }

    fn openings(mut self, openings: &Openings) -> Self {
        self.openings = Some(String::from_utf8(openings.to_json()).unwrap());
        self
    }

    fn openings_text(mut self, text: String) -> Self {
        self.openings = Some(text);
        self
    }

    /// The checks of a chat's receipt, with `changes`.
    fn chat(self, verified: bool, changes: &[(&str, &str)]) -> Self {
        let mut checks: Vec<(&str, &str)> = CHAT_PASS.to_vec();
        for change in changes {
            match checks.iter_mut().find(|check| check.0 == change.0) {
                Some(check) => check.1 = change.1,
                None => checks.push(*change),
            }
        }
        self.checks(verified, &checks)
    }

    fn checks(mut self, verified: bool, checks: &[(&str, &str)]) -> Self {
        let checks: serde_json::Map<String, Value> = checks
            .iter()
            .map(|(code, status)| ((*code).into(), json!(status)))
            .collect();
        self.expect = json!({ "verified": verified, "checks": checks });
        self
    }

    /// Not a receipt.
    fn no_receipt(self, reason: &str) -> Self {
        self.checks(false, &[("format", &format!("fail {reason}"))])
    }

    /// A policy or file of openings that cannot be used.
    fn refused(mut self, what: &str) -> Self {
        self.expect = json!({ "refused": what });
        self
    }

    fn to_json(&self) -> String {
        let value = json!({
            "name": self.name,
            "comment": self.comment,
            "receipt": self.receipt,
            "policy": self.policy,
            "context": self.context,
            "openings": self.openings,
            "expect": self.expect,
        });
        serde_json::to_string_pretty(&value).unwrap() + "\n"
    }
}

/// The receipt's statement with a replacement, signed again by its right signer: a fault in what is signed.
fn resigned(receipt: &Receipt, from: &str, to: &str) -> Vec<u8> {
    let payload = String::from_utf8(receipt.envelope().payload().to_vec()).unwrap();
    assert!(payload.contains(from), "{from}");
    Envelope::sign(payload.replacen(from, to, 1).into_bytes(), &[&node()])
        .unwrap()
        .to_json()
}

/// The receipt's statement with a replacement, under the old signature: an alteration.
fn altered(receipt: &Receipt, from: &str, to: &str) -> Vec<u8> {
    let payload = String::from_utf8(receipt.envelope().payload().to_vec()).unwrap();
    assert!(payload.contains(from), "{from}");
    let signatures = receipt.envelope().signatures().to_vec();
    Envelope::from_parts(payload.replacen(from, to, 1).into_bytes(), signatures)
        .unwrap()
        .to_json()
}

fn text(file: &[u8]) -> String {
    String::from_utf8(file.to_vec()).unwrap()
}

/// The file with a replacement in its own text.
fn edited(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = text(file);
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

fn chat_with(change: impl FnOnce(&mut Inference)) -> Vec<u8> {
    let mut inference = chat();
    change(&mut inference);
    Receipt::sign(InferencePredicate::new(inference).unwrap(), &[&node()])
        .unwrap()
        .to_json()
}

fn policy_with(change: impl FnOnce(&mut TrustedKey)) -> Policy {
    let mut keys = trusted_keys();
    change(&mut keys[0]);
    Policy::new(keys).unwrap()
}

fn compromised(at: &str, since: &str) -> Policy {
    policy_with(|key| {
        key.revoked = Some(Revocation {
            at: time(at),
            reason: RevocationReason::Compromised,
            compromised_since: Some(time(since)),
        });
    })
}

/// A signature that holds in the cofactored equation only, made by the holder of the key `[0x11; 32]`.
fn torsion_signature(payload: &[u8]) -> Vec<u8> {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::edwards::EdwardsPoint;
    use curve25519_dalek::scalar::Scalar;
    use sha2::Digest as _;

    let expanded = sha2::Sha512::digest([0x11; 32]);
    let mut scalar: [u8; 32] = expanded[..32].try_into().unwrap();
    scalar[0] &= 248;
    scalar[31] = scalar[31] & 63 | 64;
    let public = node().public_key();
    let nonce = Scalar::from_bytes_mod_order([5; 32]);
    let r = (EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[1]).compress();
    let message = pre_authentication_encoding(payload);
    let hash = sha2::Sha512::new()
        .chain_update(r.0)
        .chain_update(public.as_bytes())
        .chain_update(message)
        .finalize();
    let s = nonce
        + Scalar::from_bytes_mod_order_wide(&hash.into()) * Scalar::from_bytes_mod_order(scalar);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r.0);
    signature[32..].copy_from_slice(s.as_bytes());
    let signature = EnvelopeSignature {
        key: public,
        signature: Signature::from_bytes(signature),
    };
    Envelope::from_parts(payload.to_vec(), vec![signature])
        .unwrap()
        .to_json()
}

fn vectors() -> Vec<Vector> {
    let receipt = chat_receipt();
    let file = receipt.to_json();
    let payload = text(receipt.envelope().payload());
    let key = node().public_key().to_string();
    let sig = {
        let text = text(&file);
        text.split("\"sig\":\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned()
    };
    let signature_json = format!(r#"{{"keyid":"{key}","sig":"{sig}"}}"#);
    let other_weights = digest("other weights");
    let openings = openings_of(&receipt);
    let opening_json = text(&openings.to_json());
    let run = run_receipt();
    let rotation = rotation_receipt();
    let mismatch = |opening: Opening| Openings::new(receipt.digest(), vec![opening]).ok().unwrap();
    let all_open = [
        ("opening urn:tally:inference:v1#/asked", "pass"),
        ("opening urn:tally:inference:v1#/prompt/commitment", "pass"),
        (
            "opening urn:tally:inference:v1#/sampling/stop/commitment",
            "pass",
        ),
        ("opening urn:tally:inference:v1#/output/commitment", "pass"),
        ("opening urn:tally:inference:v1#/output/text", "pass"),
    ];
    let run_pass = [
        ("format", "pass"),
        ("signature", "pass"),
        ("signer-named", "pass"),
        ("signer-trusted", "pass"),
        ("time", "pass"),
        ("component", "not-established nothing-expected"),
    ];
    let rotation_pass = &run_pass[..5];

    vec![
        Vector::new("valid", "A chat, signed by a node that the policy trusts.", &file).chat(true, &[]),
        Vector::new("valid-everything-expected", "Every expectation of the client is given and met, every field opened.", &file)
            .with("expectedNonce", nonce())
            .with("expectedWeights", digest("weights"))
            .with("seenNonces", [Nonce::from_bytes([1; 32])])
            .with("knownSince", time("2026-11-21T03:00:00.000Z"))
            .openings(&openings)
            .chat(true, &[[("model", "pass"), ("nonce", "pass"), ("replay", "pass")].as_slice(), &all_open].concat()),
        Vector::new("valid-embedding", "An embedding: no sampling, no template, vectors instead of tokens.", &embed_receipt().to_json())
            .chat(true, &[]),
        Vector::new("valid-ranking", "A ranking: numbers of passages instead of tokens, and nothing that only a chat has.", &rank_receipt().to_json())
            .chat(true, &[]),
        Vector::new("valid-run", "A run of an agent, signed by its runner and countersigned by a node.", &run.to_json())
            .with("expectedComponent", digest("component"))
            .openings(&openings_of(&run))
            .checks(
                true,
                &[
                    &run_pass[..5],
                    &[
                        ("component", "pass"),
                        ("opening urn:tally:run:v1#/input", "pass"),
                        ("opening urn:tally:run:v1#/output", "pass"),
                    ],
                ]
                .concat(),
            ),
        Vector::new("valid-key-rotation", "A key hands over to the next; both have signed.", &rotation.to_json())
            .with("now", time("2026-12-02T00:00:00.000Z"))
            .checks(true, rotation_pass),
        Vector::new("valid-key-ended-later", "The key is no longer valid today, but was when it signed.", &file)
            .policy(Some(&policy_with(|key| key.valid_until = Some(time("2026-11-21T02:34:32.124Z")))))
            .chat(true, &[]),
        Vector::new("valid-known-before-compromise", "The key was compromised later, and the receipt is known from before.", &file)
            .policy(Some(&compromised("2026-11-21T22:00:00.000Z", "2026-11-21T20:00:00.000Z")))
            .with("knownSince", time("2026-11-21T19:00:00.000Z"))
            .chat(true, &[]),
        Vector::new("valid-one-field-open", "One field is opened, the others stay closed.", &file)
            .openings(&openings.only(&[Field::OutputText]))
            .chat(true, &[("opening urn:tally:inference:v1#/output/text", "pass")]),
        // Whom to trust.
        Vector::new("no-policy", "The signature holds, but nobody says whose key it is.", &file)
            .policy(None)
            .chat(false, &[("signer-trusted", "not-established no-policy")]),
        Vector::new("wrong-key", "Signed by a key that the policy does not know.", &{
            let mut inference = chat();
            inference.seed.node = stranger().public_key();
            Receipt::sign(InferencePredicate::new(inference).unwrap(), &[&stranger()]).unwrap().to_json()
        })
        .chat(false, &[("signer-trusted", "fail unknown-key")]),
        Vector::new("other-signer", "The statement names a trusted node, but a stranger signed it.", &{
            Envelope::sign(payload.clone().into_bytes(), &[&stranger()]).unwrap().to_json()
        })
        .chat(false, &[("signer-named", "fail other-signer")]),
        Vector::new("key-swapped", "A trusted key's name on a stranger's signature.", &{
            let message = pre_authentication_encoding(payload.as_bytes());
            let forged = EnvelopeSignature { key: node().public_key(), signature: stranger().sign(&message) };
            Envelope::from_parts(payload.clone().into_bytes(), vec![forged]).unwrap().to_json()
        })
        .chat(false, &[("signature", "fail bad-signature")]),
        Vector::new("bad-countersignature", "The runner's signature holds, the second one does not: both must.", &{
            let mut signatures = run.envelope().signatures().to_vec();
            let second = signatures.iter_mut().find(|one| one.key == node().public_key()).unwrap();
            second.signature = node().sign(b"something else");
            Envelope::from_parts(run.envelope().payload().to_vec(), signatures).unwrap().to_json()
        })
        .checks(false, &[&[("signature", "fail bad-signature")], &run_pass[..1], &run_pass[2..]].concat()),
        Vector::new("wrong-role", "A key that may sign runs has signed an inference.", &{
            let mut inference = chat();
            inference.seed.node = runner().public_key();
            Receipt::sign(InferencePredicate::new(inference).unwrap(), &[&runner()]).unwrap().to_json()
        })
        .chat(false, &[("signer-trusted", "fail wrong-role")]),
        Vector::new("before-validity", "Signed before the key was valid.", &file)
            .policy(Some(&policy_with(|key| key.valid_from = time("2026-11-21T02:34:32.124Z"))))
            .chat(false, &[("signer-trusted", "fail before-validity")]),
        Vector::new("after-validity", "Signed at the moment from which the key is no longer valid.", &file)
            .policy(Some(&policy_with(|key| key.valid_until = Some(issued_at()))))
            .chat(false, &[("signer-trusted", "fail after-validity")]),
        Vector::new("revoked", "Signed after the key was retired.", &file)
            .policy(Some(&policy_with(|key| {
                key.revoked = Some(Revocation {
                    at: time("2026-11-01T00:00:00.000Z"),
                    reason: RevocationReason::Retired,
                    compromised_since: None,
                });
            })))
            .chat(false, &[("signer-trusted", "fail revoked")]),
        Vector::new("compromised", "Signed when somebody else may have had the key.", &file)
            .policy(Some(&compromised("2026-11-21T22:00:00.000Z", "2026-11-21T02:34:32.123Z")))
            .chat(false, &[("signer-trusted", "fail compromised")]),
        Vector::new("perhaps-backdated", "Says it is from before the compromise, but nothing else says so.", &file)
            .policy(Some(&compromised("2026-11-21T22:00:00.000Z", "2026-11-21T20:00:00.000Z")))
            .chat(false, &[("signer-trusted", "not-established perhaps-backdated")]),
        Vector::new("known-only-after-compromise", "Known from elsewhere, but not from before the compromise.", &file)
            .policy(Some(&compromised("2026-11-21T22:00:00.000Z", "2026-11-21T20:00:00.000Z")))
            .with("knownSince", time("2026-11-21T20:00:00.000Z"))
            .chat(false, &[("signer-trusted", "not-established perhaps-backdated")]),
        Vector::new("in-the-future", "Issued more than five minutes after now.", &file)
            .with("now", time("2026-11-21T02:29:32.122Z"))
            .chat(false, &[("time", "fail in-the-future")]),
        Vector::new("clock-ahead-a-little", "Issued five minutes after now: clocks differ.", &file)
            .with("now", time("2026-11-21T02:29:32.123Z"))
            .chat(true, &[]),
        Vector::new("known-before-issued", "Known to have existed before the time it gives.", &file)
            .with("knownSince", time("2026-11-20T00:00:00.000Z"))
            .chat(false, &[("time", "fail known-before-issued")]),
        // What was altered.
        Vector::new("altered-payload", "The finish reason was altered under the old signature.", &{
            altered(&receipt, r#""finish":"stop""#, r#""finish":"length""#)
        })
        .chat(false, &[("signature", "fail bad-signature")]),
        Vector::new("altered-commitment", "The commitment to the output was altered, in the subject as well.", &{
            let other = Commitment::new(Field::Output, &salts().salt(Field::Output), ValueRef::Tokens(&[9, 301, 2]));
            let old = commitment_of(Field::Output).to_string();
            let payload = payload.replace(&old, &other.to_string());
            Envelope::from_parts(payload.into_bytes(), receipt.envelope().signatures().to_vec()).unwrap().to_json()
        })
        .chat(false, &[("signature", "fail bad-signature")]),
        Vector::new("altered-signature", "One bit of S differs.", &{
            let mut signatures = receipt.envelope().signatures().to_vec();
            let mut bytes = *signatures[0].signature.as_bytes();
            bytes[40] ^= 1;
            signatures[0].signature = Signature::from_bytes(bytes);
            Envelope::from_parts(payload.clone().into_bytes(), signatures).unwrap().to_json()
        })
        .chat(false, &[("signature", "fail bad-signature")]),
        Vector::new("torsion-signature", "Made by the key's holder to hold in the cofactored equation only.", &torsion_signature(payload.as_bytes()))
            .chat(false, &[("signature", "fail bad-signature")]),
        Vector::new("small-order-r", "R is the neutral element.", &{
            let mut bytes = *receipt.envelope().signatures()[0].signature.as_bytes();
            bytes[..32].fill(0);
            bytes[0] = 1;
            let signature = EnvelopeSignature { key: node().public_key(), signature: Signature::from_bytes(bytes) };
            Envelope::from_parts(payload.clone().into_bytes(), vec![signature]).unwrap().to_json()
        })
        .chat(false, &[("signature", "fail bad-signature")]),
        // What was expected.
        Vector::new("swapped-model", "Other weights than the client expected.", &chat_with(|inference| inference.model.weights = other_weights))
            .with("expectedWeights", digest("weights"))
            .chat(false, &[("model", "fail other-model")]),
        Vector::new("model-not-allowed", "Weights that are not in the policy's list.", &file)
            .policy(Some(&policy().allow_model(other_weights, label("another model"))))
            .chat(false, &[("model", "fail not-allowed")]),
        Vector::new("model-allowed", "Weights that are in the policy's list.", &file)
            .policy(Some(&policy().allow_model(digest("weights"), label("tally-nano"))))
            .chat(true, &[("model", "pass")]),
        Vector::new("swapped-component", "Another component than expected.", &run.to_json())
            .with("expectedComponent", digest("another component"))
            .checks(false, &[&run_pass[..5], &[("component", "fail other-component")]].concat()),
        Vector::new("component-not-allowed", "A component that is not in the policy's list.", &run.to_json())
            .policy(Some(&policy().allow_component(digest("another component"), label("another agent"))))
            .checks(false, &[&run_pass[..5], &[("component", "fail not-allowed")]].concat()),
        Vector::new("other-nonce", "The answer to another request.", &file)
            .with("expectedNonce", Nonce::from_bytes([1; 32]))
            .chat(false, &[("nonce", "fail other-nonce")]),
        Vector::new("replayed-nonce", "An old receipt, shown a second time.", &file)
            .with("seenNonces", [Nonce::from_bytes([1; 32]), nonce()])
            .chat(false, &[("replay", "fail nonce-seen")]),
        // What was opened.
        Vector::new("opened-to-another-value", "The prompt that is shown is not the one that was committed to.", &file)
            .openings(&mismatch(Opening { value: CommittedValue::Tokens(vec![1, 15, 70_000, 4, 3]), ..opening_of(Field::Prompt) }))
            .chat(false, &[("opening urn:tally:inference:v1#/prompt/commitment", "fail mismatch")]),
        Vector::new("opened-with-another-salt", "The right value with a wrong salt.", &file)
            .openings(&mismatch(Opening { salt: Salt::from_bytes([0; 32]), ..opening_of(Field::Prompt) }))
            .chat(false, &[("opening urn:tally:inference:v1#/prompt/commitment", "fail mismatch")]),
        Vector::new("opening-moved", "The opening of the prompt, shown for the output.", &file)
            .openings(&mismatch(Opening { field: Field::Output, ..opening_of(Field::Prompt) }))
            .chat(false, &[("opening urn:tally:inference:v1#/output/commitment", "fail mismatch")]),
        Vector::new("opened-as-another-kind", "The right bytes, as bytes instead of tokens.", &file)
            .openings(&mismatch(Opening {
                value: CommittedValue::Bytes(PROMPT.iter().flat_map(|token| token.to_le_bytes()).collect()),
                ..opening_of(Field::Prompt)
            }))
            .chat(false, &[("opening urn:tally:inference:v1#/prompt/commitment", "fail mismatch")]),
        Vector::new("opening-of-nothing", "An opening for a field of another kind of receipt.", &file)
            .openings(&mismatch(opening_of(Field::RunInput)))
            .chat(false, &[("opening urn:tally:run:v1#/input", "fail nothing-committed")]),
        Vector::new("openings-of-another-receipt", "The file of openings names another receipt.", &file)
            .openings(&Openings::new(digest("another receipt"), vec![opening_of(Field::Prompt)]).ok().unwrap())
            .chat(false, &[("opening urn:tally:inference:v1#/prompt/commitment", "fail other-receipt")]),
        Vector::new("openings-duplicate-key", "The file of openings has a key twice.", &file)
            .openings_text(opening_json.replacen("\"format\"", "\"receipt\":\"\",\"format\"", 1))
            .refused("openings"),
        Vector::new("openings-field-twice", "The file of openings opens a field twice.", &file)
            .openings_text({
                let one = text(&openings.only(&[Field::OutputText]).to_json());
                let opening = one.split('[').nth(1).unwrap().split(']').next().unwrap().trim().to_owned();
                one.replace(&opening, &format!("{opening},{opening}"))
            })
            .refused("openings"),
        Vector::new("openings-as-array", "Values without their names.", &file)
            .openings_text(format!(r#"["tally-openings-v1","{}",[]]"#, receipt.digest()))
            .refused("openings"),
        Vector::new("policy-key-twice", "The policy lists a key twice.", &file)
            .policy_text({
                let once = text(&Policy::new(vec![trusted(&node(), "a node", Role::Inference)]).unwrap().to_json());
                let start = once.find("[\n").unwrap() + 1;
                let end = once.rfind("],\n  \"models\"").unwrap();
                let entry = once[start..end].trim().to_owned();
                once.replace(&entry, &format!("{entry},{entry}"))
            })
            .refused("policy"),
        Vector::new("policy-unknown-field", "A policy with a field that means nothing to this version.", &file)
            .policy_text(text(&policy().to_json()).replacen("\"models\"", "\"threshold\":2,\"models\"", 1))
            .refused("policy"),
        Vector::new("policy-compromised-without-since", "A policy that does not say since when a key is compromised.", &file)
            .policy_text(text(&policy().to_json()).replacen(
                "\"revoked\": null",
                r#""revoked":{"at":"2026-11-01T00:00:00.000Z","reason":"compromised","compromisedSince":null}"#,
                1,
            ))
            .refused("policy"),
        // What is signed and yet no receipt.
        Vector::new("missing-field", "The nonce is missing from the predicate.", &resigned(&receipt, &format!(r#""nonce":"{}","#, nonce()), ""))
            .no_receipt("predicate"),
        Vector::new("missing-optional-field", "An optional field is absent instead of null.", &resigned(&receipt, &format!(r#""grammar":"{}","#, digest("grammar")), ""))
            .no_receipt("predicate"),
        Vector::new("unknown-field", "A field that this version does not have.", &resigned(&receipt, r#""durationMs":480"#, r#""durationMs":480,"simulated":true"#))
            .no_receipt("predicate"),
        Vector::new("unknown-statement-field", "A field beside the predicate.", &resigned(&receipt, r#","predicateType""#, r#","note":"","predicateType""#))
            .no_receipt("statement"),
        Vector::new("unknown-predicate-version", "A receipt of a later version.", &resigned(&receipt, "urn:tally:inference:v1", "urn:tally:inference:v2"))
            .no_receipt("unknown-predicate-version"),
        Vector::new("unknown-predicate", "A statement about something else.", &resigned(&receipt, "urn:tally:inference:v1", "https://slsa.dev/provenance/v1"))
            .no_receipt("unknown-predicate"),
        Vector::new("other-predicate", "An inference under the type of a run.", &resigned(&receipt, "\"urn:tally:inference:v1\"", "\"urn:tally:run:v1\""))
            .no_receipt("predicate"),
        Vector::new("statement-type", "An in-toto statement of the version before.", &resigned(&receipt, "Statement/v1", "Statement/v0.1"))
            .no_receipt("statement-type"),
        Vector::new("subject-differs", "The subject is not the output that the predicate has.", &{
            resigned(&receipt, &commitment_of(Field::Output).to_string(), &commitment_of(Field::Prompt).to_string())
        })
        .no_receipt("subject"),
        Vector::new("duplicate-key", "A key twice in the predicate.", &resigned(&receipt, r#""durationMs":480"#, r#""durationMs":480,"durationMs":480"#))
            .no_receipt("predicate"),
        Vector::new("duplicate-statement-key", "A key twice in the statement.", &resigned(&receipt, r#","predicateType""#, r#","_type":"https://in-toto.io/Statement/v1","predicateType""#))
            .no_receipt("statement"),
        Vector::new("white-space", "A space inside the statement.", &resigned(&receipt, r#""nonce":"#, r#""nonce": "#))
            .no_receipt("spelling"),
        Vector::new("field-order", "Two fields in another order.", &resigned(&receipt, r#""count":5,"cached":2"#, r#""cached":2,"count":5"#))
            .no_receipt("spelling"),
        Vector::new("needless-escape", "A letter written as an escape.", &resigned(&receipt, "tally-nano", "\\u0074ally-nano"))
            .no_receipt("spelling"),
        Vector::new("array-for-object", "Values without their names.", &resigned(&receipt, r#"{"derivation":"tally-seed-v1","node":"#, r#"["tally-seed-v1","#).pipe_close(&key))
            .no_receipt("spelling"),
        Vector::new("control-character", "An escape sequence of a terminal in a name.", &resigned(&receipt, "tally-nano", "\\u001b[2J"))
            .no_receipt("predicate"),
        Vector::new("negative-number", "A count below zero.", &resigned(&receipt, r#""durationMs":480"#, r#""durationMs":-480"#))
            .no_receipt("predicate"),
        Vector::new("negative-zero", "A zero with a sign.", &resigned(&receipt, r#""gpuLayers":0"#, r#""gpuLayers":-0"#)).no_receipt("predicate"),
        Vector::new("number-with-point", "A count written as a fraction.", &resigned(&receipt, r#""durationMs":480"#, r#""durationMs":480.0"#))
            .no_receipt("predicate"),
        Vector::new("number-too-large", "A count that not every JSON reader holds exactly.", &resigned(&receipt, r#""durationMs":480"#, r#""durationMs":9007199254740992"#))
            .no_receipt("predicate"),
        Vector::new("decimal-with-needless-zero", "A sampling parameter in a second spelling.", &resigned(&receipt, r#""0.7""#, r#""0.70""#))
            .no_receipt("predicate"),
        Vector::new("no-such-day", "The thirtieth of February.", &resigned(&receipt, "2026-11-21T02:34:32.123Z", "2026-02-30T02:34:32.123Z"))
            .no_receipt("predicate"),
        Vector::new("cached-beyond-prompt", "More cached tokens than the prompt has.", &resigned(&receipt, r#""cached":2"#, r#""cached":6"#))
            .no_receipt("predicate"),
        Vector::new("output-beyond-maximum", "More output than was allowed.", &resigned(&receipt, r#""maxTokens":16"#, r#""maxTokens":2"#))
            .no_receipt("predicate"),
        Vector::new("chat-without-sampling", "A chat that does not say how tokens were chosen.", &resigned(&embed_receipt(), r#""operation":"embed""#, r#""operation":"chat""#))
            .no_receipt("predicate"),
        Vector::new("run-output-without-completion", "A trapped run with an answer.", &{
            let payload = text(run.envelope().payload()).replace(r#""status":"completed""#, r#""status":"trapped""#);
            Envelope::sign(payload.into_bytes(), &[&runner()]).unwrap().to_json()
        })
        .no_receipt("predicate"),
        Vector::new("run-names-a-receipt-twice", "One inference counted twice.", &{
            let payload = text(run.envelope().payload())
                .replace(&chat_receipt().digest().to_string(), &digest("previous receipt").to_string());
            Envelope::sign(payload.into_bytes(), &[&runner()]).unwrap().to_json()
        })
        .no_receipt("predicate"),
        Vector::new("rotation-to-itself", "A key that hands over to itself.", &{
            let payload = text(rotation.envelope().payload())
                .replace(&successor().public_key().to_string(), &node().public_key().to_string());
            Envelope::sign(payload.into_bytes(), &[&node()]).unwrap().to_json()
        })
        .no_receipt("predicate"),
        Vector::new("rotation-signed-by-one", "The new key has not signed.", &{
            Envelope::sign(rotation.envelope().payload().to_vec(), &[&node()]).unwrap().to_json()
        })
        .with("now", time("2026-12-02T00:00:00.000Z"))
        .checks(false, &[&rotation_pass[..2], &[("signer-named", "fail other-signer")], &rotation_pass[3..]].concat()),
        Vector::new("payload-not-json", "Signed, but no statement.", &Envelope::sign(b"hello".to_vec(), &[&node()]).unwrap().to_json())
            .no_receipt("statement"),
        Vector::new("deep-nesting", "Brackets in brackets.", &Envelope::sign(vec![b'['; 2_000], &[&node()]).unwrap().to_json())
            .no_receipt("statement"),
        // What is no envelope.
        Vector::new("truncated", "The last byte is missing.", &file[..file.len() - 1]).no_receipt("truncated"),
        Vector::new("truncated-in-payload", "Cut in the middle.", &file[..file.len() / 2]).no_receipt("truncated"),
        Vector::new("empty", "Nothing.", b"").no_receipt("truncated"),
        Vector::new("trailing-bytes", "A line end after the envelope.", &[&file[..], b"\n"].concat()).no_receipt("trailing-bytes"),
        Vector {
            receipt: json!({ "repeat": ["A", limits::MAX_ENVELOPE_BYTES + 1] }),
            ..Vector::new("oversized", "One byte more than any receipt has.", b"")
        }
        .no_receipt("oversized"),
        Vector::new("duplicate-signature", "A key has signed twice.", &edited(&file, &signature_json, &format!("{signature_json},{signature_json}")))
            .no_receipt("duplicate-signature"),
        Vector::new("signature-order", "Two signatures in descending order of key.", &{
            let text = text(&run.to_json());
            let start = text.find("[{").unwrap() + 1;
            let (left, right) = text[start..text.len() - 2].split_once("},{").unwrap();
            format!("{}{{{right},{left}}}]}}", &text[..start]).into_bytes()
        })
        .no_receipt("signature-order"),
        Vector::new("too-many-signatures", "Nine signatures.", &{
            let nine = (1..=9).map(|_| signature_json.clone()).collect::<Vec<_>>().join(",");
            edited(&file, &signature_json, &nine)
        })
        .no_receipt("too-many-signatures"),
        Vector::new("no-signature", "Nobody signed.", &edited(&file, &signature_json, "")).no_receipt("no-signature"),
        Vector::new("wrong-payload-type", "Another payload type in the envelope.", &edited(&file, PAYLOAD_TYPE, "application/json"))
            .no_receipt("payload-type"),
        Vector::new("duplicate-envelope-key", "A key twice in the envelope.", &edited(&file, r#"{"payload":"#, r#"{"payload":"","payload":"#))
            .no_receipt("layout"),
        Vector::new("unknown-envelope-field", "A field that DSSE does not have.", &edited(&file, r#","signatures":"#, r#","x":1,"signatures":"#))
            .no_receipt("layout"),
        Vector::new("envelope-white-space", "A space after the first brace.", &edited(&file, "{", "{ ")).no_receipt("layout"),
        Vector::new("not-utf-8", "A byte that is no text.", &{
            let mut bytes = file.clone();
            bytes[20] = 0xff;
            bytes
        })
        .no_receipt("layout"),
        Vector::new("non-canonical-base64", "Other trailing bits in the signature's base64: the same bytes, another file.", &{
            let last = sig.as_bytes()[sig.len() - 3];
            let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let next = alphabet.as_bytes()[alphabet.find(char::from(last)).unwrap() + 1];
            edited(&file, &sig, &format!("{}{}==", &sig[..sig.len() - 3], char::from(next)))
        })
        .no_receipt("base64"),
        Vector::new("base64-without-padding", "The signature's padding is missing.", &edited(&file, &sig, sig.trim_end_matches('='))).no_receipt("base64"),
        Vector::new("base64-url-alphabet", "The payload in the other base64 alphabet.", &{
            let text = text(&file);
            let payload = text.split('"').nth(3).unwrap();
            // A payload of ASCII has no + and only sometimes a /; one character of the other alphabet stands for all.
            edited(&file, payload, &format!("_{}", &payload[1..]))
        })
        .no_receipt("base64"),
        Vector::new("short-signature", "63 bytes.", &edited(&file, &sig, &format!("{}=", "A".repeat(84)))).no_receipt("base64"),
        Vector::new("upper-case-key", "The keyid in upper case.", &edited(&file, &format!(r#""keyid":"{key}""#), &format!(r#""keyid":"{}""#, key.to_uppercase())))
            .no_receipt("invalid-key"),
        Vector::new("low-order-key", "A key under which anybody's signature holds.", &edited(&file, &format!(r#""keyid":"{key}""#), &format!(r#""keyid":"01{}""#, "00".repeat(31))))
            .no_receipt("invalid-key"),
        Vector::new("non-canonical-key", "A second encoding of a point.", &edited(&file, &format!(r#""keyid":"{key}""#), &format!(r#""keyid":"f0{}7f""#, "ff".repeat(30))))
            .no_receipt("invalid-key"),
        Vector::new("key-not-on-the-curve", "A keyid that is no point.", &edited(&file, &format!(r#""keyid":"{key}""#), &format!(r#""keyid":"02{}""#, "00".repeat(31))))
            .chat(false, &[("signature", "fail bad-signature"), ("signer-named", "fail other-signer")]),
    ]
}

trait PipeClose {
    fn pipe_close(self, key: &str) -> Vec<u8>;
}

impl PipeClose for Vec<u8> {
    /// Closes the array that stands for the object `seed`, and signs again.
    fn pipe_close(self, key: &str) -> Vec<u8> {
        let payload = text(Envelope::parse(&self).unwrap().payload()).replacen(
            &format!("\"{key}\"}}"),
            &format!("\"{key}\"]"),
            1,
        );
        Envelope::sign(payload.into_bytes(), &[&node()])
            .unwrap()
            .to_json()
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

#[test]
fn vectors_are_what_the_code_writes() {
    let written: BTreeMap<String, String> = vectors()
        .iter()
        .map(|vector| (format!("{}.json", vector.name), vector.to_json()))
        .collect();
    assert_eq!(written.len(), vectors().len(), "two vectors have one name");
    if std::env::var_os("TALLY_WRITE_VECTORS").is_some() {
        for (name, content) in &written {
            std::fs::write(folder().join(name), content).unwrap();
        }
    }
    let found: BTreeMap<String, String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                std::fs::read_to_string(entry.path()).unwrap(),
            )
        })
        .collect();
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        written.keys().collect::<Vec<_>>()
    );
    for (name, content) in &written {
        assert!(
            found[name] == *content,
            "{name} is not what the code writes"
        );
    }
}

#[test]
fn every_vector_gets_its_verdict() {
    for vector in vectors() {
        let vector: Value = serde_json::from_str(&vector.to_json()).unwrap();
        assert_eq!(judge(&vector), vector["expect"], "{}", vector["name"]);
    }
}

/// What this crate says about a vector, in the vector's words.
fn judge(vector: &Value) -> Value {
    let bytes = match (
        &vector["receipt"]["text"],
        &vector["receipt"]["hex"],
        &vector["receipt"]["repeat"],
    ) {
        (Value::String(text), _, _) => text.clone().into_bytes(),
        (_, Value::String(hex), _) => hex
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect(),
        (_, _, repeat) => repeat[0]
            .as_str()
            .unwrap()
            .repeat(usize::try_from(repeat[1].as_u64().unwrap()).unwrap())
            .into_bytes(),
    };
    let Ok(policy) = vector["policy"]
        .as_str()
        .map(|text| Policy::parse(text.as_bytes()))
        .transpose()
    else {
        return json!({ "refused": "policy" });
    };
    let Ok(openings) = vector["openings"]
        .as_str()
        .map(|text| Openings::parse(text.as_bytes()))
        .transpose()
    else {
        return json!({ "refused": "openings" });
    };
    let given = &vector["context"];
    let seen: Option<BTreeSet<Nonce>> = given["seenNonces"].as_array().map(|nonces| {
        nonces
            .iter()
            .map(|nonce| nonce.as_str().unwrap().parse().unwrap())
            .collect()
    });
    let context = Context {
        policy: policy.as_ref(),
        openings: openings.as_ref(),
        seen_nonces: seen.as_ref(),
        expected_nonce: given["expectedNonce"]
            .as_str()
            .map(|text| text.parse().unwrap()),
        expected_weights: given["expectedWeights"]
            .as_str()
            .map(|text| text.parse().unwrap()),
        expected_component: given["expectedComponent"]
            .as_str()
            .map(|text| text.parse().unwrap()),
        known_since: given["knownSince"]
            .as_str()
            .map(|text| text.parse().unwrap()),
        ..Context::at(given["now"].as_str().unwrap().parse().unwrap())
    };
    let (receipt, verdict) = verify_bytes(&bytes, &context);
    if let Some(receipt) = receipt {
        // Checked among many, with a table of the key's multiples, it is the same verdict.
        let alone = Context {
            seen_nonces: None,
            ..context
        };
        let many = verify_batch(&vec![receipt.clone(); 40], &alone);
        assert!(
            many.iter()
                .all(|one| *one == SignatureVerifier.verify(&receipt, &(), &alone)),
            "{}",
            vector["name"]
        );
    }
    let checks: serde_json::Map<String, Value> = verdict
        .checks()
        .iter()
        .map(|check| {
            let status = serde_json::to_value(check.status)
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned();
            let status = check
                .reason
                .as_ref()
                .map_or(status.clone(), |reason| format!("{status} {reason}"));
            (check.code.to_string(), json!(status))
        })
        .collect();
    assert_eq!(
        checks.len(),
        verdict.checks().len(),
        "a code occurs twice in {}",
        vector["name"]
    );
    json!({ "verified": verdict.is_verified(), "checks": checks })
}

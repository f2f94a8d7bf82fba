//! The published vectors in `p2p-ledger/vectors`, each a file named by its fault: a proof, whom to believe, and what a
//! reader must say. This reader, the one in Python (`p2p-ledger/reader`) and the browser's (`p2p-ledger/verifier-web`)
//! are held to them.
//!
//! `TALLY_WRITE_VECTORS=1 cargo test -p tally-ledger --test vectors` writes them anew; that is a decision about the format.

mod network;

use std::collections::BTreeMap;
use std::path::PathBuf;

use network::*;
use serde::{Deserialize, Serialize};
use tally_ledger::*;
use tally_log::{Policy, SignedCheckpoint};
use tally_receipt::{Digest, Status, Timestamp};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    /// What is wrong, or right.
    comment: String,
    /// In hex.
    proof: String,
    /// In hex.
    receipt: Option<String>,
    /// A file.
    genesis: Option<String>,
    /// A file.
    policy: Option<String>,
    now: Timestamp,
    expect: Expected,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    verified: bool,
    /// `pass`, or the status and the reason.
    checks: BTreeMap<String, String>,
}

const NOW_MS: u64 = 1_000_000;

fn judge(vector: &Vector) -> Expected {
    let genesis = vector
        .genesis
        .as_deref()
        .map(|text| Genesis::parse(text).unwrap());
    let policy = vector
        .policy
        .as_deref()
        .map(|text| Policy::parse(text.as_bytes()).unwrap());
    let trust = Trust {
        now: vector.now,
        genesis: genesis.as_ref(),
        policy: policy.as_ref(),
    };
    let bytes = hex::decode(&vector.proof).unwrap();
    let receipt = vector
        .receipt
        .as_deref()
        .map(|text| hex::decode(text).unwrap());
    let verdict = verify_proof(&bytes, receipt.as_deref(), &trust).verdict;
    let said = |check: &tally_receipt::Check| match (check.status, &check.reason) {
        (Status::Pass, _) => "pass".to_owned(),
        (Status::Fail, reason) => format!("fail {}", reason.as_deref().unwrap()),
        (Status::NotEstablished, reason) => {
            format!("not-established {}", reason.as_deref().unwrap())
        }
    };
    Expected {
        verified: verdict.is_verified(),
        checks: verdict
            .checks()
            .iter()
            .map(|check| (check.code.to_string(), said(check)))
            .collect(),
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../vectors")
}

#[test]
fn every_vector_is_judged_as_it_says() {
    let made = vectors();
    if std::env::var_os("TALLY_WRITE_VECTORS").is_some() {
        for (name, vector) in &made {
            let text = serde_json::to_string_pretty(vector).unwrap() + "\n";
            std::fs::write(folder().join(format!("{name}.json")), text).unwrap();
        }
    }
    let read: BTreeMap<String, Vector> = std::fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (
                name,
                serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap(),
            )
        })
        .collect();
    assert_eq!(
        read.keys().collect::<Vec<_>>(),
        made.keys().collect::<Vec<_>>()
    );
    for (name, vector) in read {
        assert_eq!(judge(&vector), vector.expect, "{name}: {}", vector.comment);
        assert_eq!(vector, made[&name], "{name}");
        let good = name.starts_with("valid");
        assert_eq!(vector.expect.verified, good, "{name}");
    }
}

/// A signature that the cofactored equation accepts and the strict one does not: its `R` has a point of order eight added.
fn signed_with_torsion(key: &tally_receipt::SigningKey, message: &[u8]) -> [u8; 64] {
    use curve25519_dalek::{constants::EIGHT_TORSION, edwards::EdwardsPoint, scalar::Scalar};
    use sha2::Digest as _;

    let mut scalar: [u8; 32] = sha2::Sha512::digest(*key.to_seed())[..32]
        .try_into()
        .unwrap();
    scalar[0] &= 248;
    scalar[31] = scalar[31] & 63 | 64;
    let nonce = Scalar::from_bytes_mod_order([5; 32]);
    let r = (EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[1]).compress();
    let hash = sha2::Sha512::new()
        .chain_update(r.0)
        .chain_update(key.public_key().as_bytes())
        .chain_update(message)
        .finalize();
    let s = nonce
        + Scalar::from_bytes_mod_order_wide(&hash.into()) * Scalar::from_bytes_mod_order(scalar);
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&r.0);
    bytes[32..].copy_from_slice(s.as_bytes());
    bytes
}

/// The first 32 bytes from a key on that are no point of the curve.
fn no_point_after(key: &tally_receipt::PublicKey) -> [u8; 32] {
    use curve25519_dalek::edwards::CompressedEdwardsY;

    let mut bytes = *key.as_bytes();
    while CompressedEdwardsY(bytes).decompress().is_some() {
        bytes[31] = bytes[31].checked_add(1).unwrap();
    }
    bytes
}

fn base64(text: &str) -> Vec<u8> {
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap()
}

fn to_base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

/// A proof's parts, to put together others.
struct Parts {
    entry: Entry,
    index: u64,
    inclusion: tally_log::InclusionProof,
    finality: Finality,
    checkpoint: SignedCheckpoint,
}

impl Parts {
    fn of(proof: &Proof) -> Self {
        Self {
            entry: *proof.entry(),
            index: proof.index(),
            inclusion: proof.inclusion().clone(),
            finality: proof.finality().unwrap().clone(),
            checkpoint: proof.checkpoint().unwrap().clone(),
        }
    }

    fn with_finality(&self, finality: Finality) -> Vec<u8> {
        Proof::new(
            self.entry,
            self.index,
            self.inclusion.clone(),
            Some(finality),
            None,
        )
        .unwrap()
        .to_bytes()
    }

    fn with_checkpoint(&self, checkpoint: SignedCheckpoint) -> Vec<u8> {
        let proof = Proof::new(
            self.entry,
            self.index,
            self.inclusion.clone(),
            None,
            Some(checkpoint),
        )
        .unwrap();
        proof.to_proof_file().unwrap().to_string().into_bytes()
    }
}

fn vectors() -> BTreeMap<String, Vector> {
    let mut chain = Chain::new(4);
    chain.block(vec![chain.register(1)]);
    chain.block(vec![chain.settle(1, 0, digests(600))]);
    let proof = chain.prove(521, true, true);
    let parts = Parts::of(&proof);
    let final_only = parts.with_finality(parts.finality.clone());
    let tlog_proof = parts.with_checkpoint(parts.checkpoint.clone());
    let (first_chain, first_validators) = (chain.id(), validators(0, 4));
    let genesis = chain.genesis.to_toml();
    let policy = chain.genesis.log_policy_text();
    let receipt = 521u64.to_be_bytes().to_vec();

    let mut all = BTreeMap::new();
    let mut add = |name: &str, comment: &str, bytes: Vec<u8>, change: &dyn Fn(&mut Vector)| {
        let mut vector = Vector {
            comment: comment.into(),
            proof: hex::encode(bytes),
            receipt: Some(hex::encode(&receipt)),
            genesis: Some(genesis.clone()),
            policy: None,
            now: time(NOW_MS),
            expect: Expected {
                verified: false,
                checks: BTreeMap::new(),
            },
        };
        change(&mut vector);
        vector.expect = judge(&vector);
        assert!(all.insert(name.to_owned(), vector).is_none());
    };
    let same = |_: &mut Vector| {};
    let by_policy = |vector: &mut Vector| {
        vector.genesis = None;
        vector.policy = Some(policy.clone());
    };
    let altered = |bytes: &[u8], place: usize| {
        let mut bytes = bytes.to_vec();
        bytes[place] ^= 1;
        bytes
    };

    add(
        "valid-finality",
        "a certificate, checked with the genesis",
        final_only.clone(),
        &same,
    );
    add(
        "valid-checkpoint",
        "a .tlog-proof, checked with a policy",
        tlog_proof.clone(),
        &by_policy,
    );
    add(
        "valid-checkpoint-by-genesis",
        "a .tlog-proof, checked with the policy that follows from the genesis",
        tlog_proof.clone(),
        &same,
    );
    add(
        "valid-both",
        "finality and checkpoint in one file",
        proof.to_bytes(),
        &|vector| vector.policy = Some(policy.clone()),
    );
    add(
        "valid-receipt-inside",
        "the receipt is in the file, and nowhere else",
        proof.clone().with_receipt(&receipt).unwrap().to_bytes(),
        &|vector| vector.receipt = None,
    );
    add(
        "valid-without-receipt",
        "nobody has the receipt: one with this digest was settled",
        final_only.clone(),
        &|vector| vector.receipt = None,
    );
    add(
        "nobody-to-believe",
        "neither a genesis nor a policy",
        final_only.clone(),
        &|vector| vector.genesis = None,
    );
    add(
        "policy-for-finality",
        "a policy says nothing about certificates",
        final_only.clone(),
        &by_policy,
    );
    add(
        "other-chain",
        "the genesis of another chain, with the same validators",
        final_only.clone(),
        &|vector| {
            vector.genesis = Some(genesis.replace("name = \"test\"", "name = \"tset\""));
        },
    );
    add(
        "other-receipt",
        "the receipt at hand is not the one",
        final_only.clone(),
        &|vector| vector.receipt = Some("00".into()),
    );
    add(
        "other-receipt-for-file",
        "the receipt at hand is not the one",
        tlog_proof.clone(),
        &|vector| vector.receipt = Some("00".into()),
    );
    add(
        "in-the-future",
        "settled after now",
        final_only.clone(),
        &|vector| vector.now = Timestamp::from_unix_ms(START_MS - 3_600_000).unwrap(),
    );

    // Places: 8 magic, flags, 32 node, sequence and index of two bytes each, 32 digest, count, hashes of 32.
    add("empty", "no byte", vec![], &same);
    add(
        "altered-beginning",
        "not the format's first bytes, but nearly",
        altered(&final_only, 3),
        &same,
    );
    add(
        "altered-node",
        "another node",
        altered(&final_only, 30),
        &same,
    );
    add(
        "altered-sequence",
        "another place in the node's order",
        altered(&final_only, 41),
        &same,
    );
    add(
        "altered-index",
        "another place in the log",
        altered(&final_only, 43),
        &same,
    );
    add(
        "altered-digest",
        "another receipt",
        altered(&final_only, 60),
        &|vector| vector.receipt = None,
    );
    add(
        "altered-hash",
        "another hash beside the path",
        altered(&final_only, 100),
        &same,
    );
    add(
        "altered-form",
        "in full, which it was not",
        altered(&final_only, 8)
            .into_iter()
            .enumerate()
            .map(|(place, byte)| if place == 8 { 4 | 2 } else { byte })
            .collect(),
        &same,
    );
    add(
        "altered-vote",
        "a signature that does not hold",
        altered(&final_only, final_only.len() - 10),
        &same,
    );
    add(
        "unknown-flag",
        "a flag that means nothing",
        altered(&final_only, 8)
            .into_iter()
            .enumerate()
            .map(|(place, byte)| if place == 8 { 4 | 16 } else { byte })
            .collect(),
        &same,
    );
    add(
        "needless-varint-byte",
        "a number in another spelling",
        [&final_only[..41], &[0x89, 0x84, 0x00], &final_only[43..]].concat(),
        &same,
    );
    add(
        "truncated",
        "without its last byte",
        final_only[..final_only.len() - 1].to_vec(),
        &same,
    );
    add(
        "trailing-byte",
        "with one more byte",
        [&final_only[..], &[0]].concat(),
        &same,
    );
    add(
        "hash-too-few",
        "without the last hash of the path",
        {
            let hashes = usize::from(final_only[77]);
            let end = 78 + 32 * hashes;
            [
                &final_only[..77],
                &[final_only[77] - 1],
                &final_only[78..end - 32],
                &final_only[end..],
            ]
            .concat()
        },
        &same,
    );
    let header = parts.finality.header.clone();
    let certified = |header: &Header, validators: &[Keys], voters: &[usize]| {
        parts.with_finality(Finality {
            header: header.clone(),
            certificate: certificate_of(first_chain, validators, 4, header, voters),
            epochs: vec![],
        })
    };
    add(
        "valid-all-votes",
        "every validator voted",
        certified(&header, &first_validators, &[0, 1, 2, 3]),
        &same,
    );
    add(
        "too-few-votes",
        "two of four voted",
        certified(&header, &first_validators, &[1, 3]),
        &same,
    );
    add(
        "votes-of-strangers",
        "three signatures, of nobody known",
        certified(&header, &validators(40, 4), &[0, 1, 2]),
        &same,
    );
    add(
        "vote-beyond-the-validators",
        "a bit for a validator that there is not",
        {
            let mut bytes = final_only.clone();
            let place = bytes.len() - 2 - 3 * 64 - 1;
            bytes[place] = 0b1000_0011 ^ 0b1001_0000;
            bytes
        },
        &same,
    );
    let other_epoch = Header {
        epoch: Epoch::new(1),
        ..header.clone()
    };
    add(
        "epoch-without-its-beginning",
        "a block of epoch 1, and no end of epoch 0",
        certified(&other_epoch, &first_validators, &[0, 1, 2]),
        &same,
    );
    let altered_header = Header {
        time: time(7),
        ..header
    };
    add(
        "altered-time",
        "another time than the one voted on",
        parts.with_finality(Finality {
            header: altered_header,
            ..parts.finality.clone()
        }),
        &same,
    );

    let text = String::from_utf8(tlog_proof.clone()).unwrap();
    let edited = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    };
    add(
        "too-few-cosignatures",
        "the policy asks for all four; three cosigned",
        tlog_proof.clone(),
        &|vector| {
            by_policy(vector);
            vector.policy = Some(policy.replace("group validators 3", "group validators all"));
        },
    );
    let mut unsigned = parts.checkpoint.clone();
    let origin = chain.genesis.log_origin();
    unsigned.retain(|signature| *signature.name() != origin);
    add(
        "no-log-signature",
        "cosigned, and signed by no log",
        parts.with_checkpoint(unsigned),
        &by_policy,
    );
    let mut few = parts.checkpoint.clone();
    few.retain(|signature| !signature.name().as_str().ends_with("/v0"));
    add(
        "cosignature-missing",
        "two of four cosigned",
        parts.with_checkpoint(few),
        &by_policy,
    );
    let cosignature = text.find("/v1 ").unwrap() + 60;
    add(
        "altered-cosignature",
        "a known key's signature that does not hold",
        {
            let mut bytes = tlog_proof.clone();
            bytes[cosignature] = if bytes[cosignature] == b'A' {
                b'B'
            } else {
                b'A'
            };
            bytes
        },
        &by_policy,
    );
    add(
        "other-origin",
        "a log of another name",
        edited("tally/test-", "tally/tset-"),
        &by_policy,
    );
    add(
        "file-other-index",
        "another place in the log",
        edited("index 521", "index 520"),
        &by_policy,
    );
    add(
        "file-leading-zero",
        "a number in another spelling",
        edited("index 521", "index 0521"),
        &by_policy,
    );
    add(
        "file-without-extra",
        "nobody knows which entry it is for",
        {
            let lines: Vec<&str> = text
                .split_inclusive('\n')
                .filter(|line| !line.starts_with("extra "))
                .collect();
            lines.concat().into_bytes()
        },
        &by_policy,
    );
    add(
        "file-carriage-returns",
        "lines that end in CR LF",
        text.replace('\n', "\r\n").into_bytes(),
        &by_policy,
    );
    add(
        "file-other-version",
        "of a format that is not known",
        edited("@v1", "@v2"),
        &by_policy,
    );

    // Signatures that one rule accepts and the other does not.
    let torsion_vote = {
        let certificate = parts.finality.certificate.clone();
        let message = Vote::Finalize(*certificate.proposal()).signed_bytes(first_chain);
        let signature = signed_with_torsion(&first_validators[2].vote, &message);
        let mut bytes = final_only.clone();
        let end = bytes.len() - 2;
        bytes[end - 64..end].copy_from_slice(&signature);
        bytes
    };
    add(
        "valid-vote-with-torsion",
        "a vote with a point of small order added: simplex counts it, and so must a reader",
        torsion_vote,
        &same,
    );
    let mut torsion = tally_log::Checkpoint {
        origin: origin.clone(),
        size: parts.checkpoint.checkpoint().size,
        root: parts.checkpoint.checkpoint().root,
    }
    .unsigned();
    torsion.sign(&first_validators[0].checkpoint);
    let torsion = torsion.to_string();
    let (head, line) = torsion.trim_end().rsplit_once(' ').unwrap();
    let mut signature = base64(line);
    let note_text = torsion.split_once("\n\n").unwrap().0.to_owned() + "\n";
    signature.splice(
        4..,
        signed_with_torsion(&first_validators[0].checkpoint, note_text.as_bytes()),
    );
    let torsion =
        SignedCheckpoint::parse(format!("{head} {}\n", to_base64(&signature)).as_bytes()).unwrap();
    let mut spoilt = parts.checkpoint.clone();
    assert!(spoilt.merge(&torsion));
    add(
        "checkpoint-signature-with-torsion",
        "the same on a checkpoint, where the strict rule holds",
        parts.with_checkpoint(spoilt),
        &by_policy,
    );

    // Validators that change twice.
    let mut chain = chain;
    chain.change_validators(validators(2, 5));
    chain.change_validators(validators(5, 7));
    chain.block(vec![chain.settle(1, 600, vec![Digest::of(&receipt)])]);
    let later = Parts::of(&chain.prove(600, true, true));
    let ends = later.finality.epochs.clone();
    let led = |epochs: Vec<EpochEnd>| {
        later.with_finality(Finality {
            epochs,
            ..later.finality.clone()
        })
    };
    add(
        "valid-after-two-changes",
        "the validators changed twice since genesis",
        led(ends.clone()),
        &same,
    );
    add(
        "epoch-left-out",
        "without the first change",
        led(ends[1..].to_vec()),
        &same,
    );
    add(
        "epoch-twice",
        "the first change twice",
        led(vec![ends[0].clone(), ends[0].clone(), ends[1].clone()]),
        &same,
    );
    let mut usurped = ends.clone();
    usurped[1].next = set_of(&validators(60, 7));
    add(
        "epoch-with-other-validators",
        "validators that the block does not name",
        led(usurped),
        &same,
    );
    add(
        "epoch-with-a-key-of-nobody",
        "a vote key that is no point of the curve",
        {
            // The last of them, so that they still ascend.
            let last = ends[1].next.as_slice().last().unwrap().vote_key;
            let mut bytes = led(ends.clone());
            let place = bytes
                .windows(32)
                .rposition(|window| window == last.as_bytes())
                .unwrap();
            bytes[place..place + 32].copy_from_slice(&no_point_after(&last));
            bytes
        },
        &same,
    );
    let mut unvoted = ends;
    unvoted[0].certificate = certificate_of(
        chain.id(),
        &validators(0, 4),
        4,
        &unvoted[0].header,
        &[0, 1],
    );
    add(
        "epoch-without-a-quorum",
        "two of four let the next ones in",
        led(unvoted),
        &same,
    );
    all
}

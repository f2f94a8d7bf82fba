//! Files that somebody altered: never accepted, never a panic.

mod samples;

#[path = "../fuzz/properties.rs"]
mod properties;

use proptest::test_runner::{RngAlgorithm, TestRng};
use samples::*;
use tally_receipt::*;

fn context(policy: &Policy) -> Context<'_> {
    Context {
        policy: Some(policy),
        ..Context::at(time("2026-12-02T00:00:00.000Z"))
    }
}

/// No altered file is a receipt whose signatures hold, so none can say the same, or anything, in the signer's name.
fn assert_refused(
    altered: &[u8],
    original: &[u8],
    context: &Context<'_>,
    what: impl Fn() -> String,
) {
    if altered == original {
        return;
    }
    let (receipt, verdict) = verify_bytes(altered, context);
    assert!(!verdict.is_verified(), "{} is verified", what());
    assert_eq!(
        receipt.is_some(),
        verdict.status_of(code::FORMAT) == Some(Status::Pass)
    );
    if receipt.is_some() {
        assert_eq!(
            verdict.status_of(code::SIGNATURE),
            Some(Status::Fail),
            "{}",
            what()
        );
    }
}

#[test]
fn good_receipts_are_verified() {
    let policy = policy();
    for receipt in all_receipts() {
        let (_, verdict) = verify_bytes(&receipt.to_json(), &context(&policy));
        assert!(verdict.is_verified(), "{verdict}");
    }
}

#[test]
fn no_flipped_bit_is_accepted() {
    let policy = policy();
    for receipt in all_receipts() {
        let original = receipt.to_json();
        for at in 0..original.len() {
            for mask in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff] {
                let mut altered = original.clone();
                altered[at] ^= mask;
                assert_refused(&altered, &original, &context(&policy), || {
                    format!("byte {at} xor {mask:#04x}")
                });
            }
        }
    }
}

#[test]
fn no_cut_is_accepted() {
    let policy = policy();
    for receipt in all_receipts() {
        let original = receipt.to_json();
        for at in 0..original.len() {
            assert_refused(&original[..at], &original, &context(&policy), || {
                format!("the first {at} bytes")
            });
            assert_refused(&original[at + 1..], &original, &context(&policy), || {
                format!("what follows byte {at}")
            });
        }
    }
}

#[test]
fn no_inserted_removed_or_doubled_byte_is_accepted() {
    let policy = policy();
    let original = chat_receipt().to_json();
    for at in 0..original.len() {
        let mut removed = original.clone();
        removed.remove(at);
        assert_refused(&removed, &original, &context(&policy), || {
            format!("without byte {at}")
        });
        for inserted in [original[at], b' ', b'A', b'"', 0] {
            let mut longer = original.clone();
            longer.insert(at, inserted);
            assert_refused(&longer, &original, &context(&policy), || {
                format!("{inserted} before byte {at}")
            });
        }
    }
}

#[test]
fn no_signature_serves_another_receipt() {
    let policy = policy();
    let receipts = all_receipts();
    for receipt in &receipts {
        for other in receipts.iter().filter(|other| *other != receipt) {
            let signatures = other.envelope().signatures().to_vec();
            let forged =
                Envelope::from_parts(receipt.envelope().payload().to_vec(), signatures).unwrap();
            assert_refused(
                &forged.to_json(),
                &receipt.to_json(),
                &context(&policy),
                || "another's signature".into(),
            );
        }
    }
}

/// Seeded mutations of good files, deep enough to get past the envelope. The fuzz targets look further.
#[test]
fn mutated_files_never_panic_and_never_read_two_ways() {
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[42; 32]);
    let receipts = all_receipts();
    let files: Vec<Vec<u8>> = receipts.iter().map(Receipt::to_json).collect();
    let payloads: Vec<Vec<u8>> = receipts
        .iter()
        .map(|receipt| receipt.envelope().payload().to_vec())
        .collect();
    let documents = vec![
        policy().to_json(),
        openings_of(&receipts[0]).to_json(),
        openings_of(&receipts[2]).to_json(),
    ];
    for original in files.iter().chain(&payloads).chain(&documents) {
        properties::receipt(original);
        properties::statement(original);
        properties::documents(original);
    }
    for _ in 0..3000 {
        properties::receipt(&mutated(&mut rng, &files));
        properties::statement(&mutated(&mut rng, &payloads));
        properties::documents(&mutated(&mut rng, &documents));
    }
}

fn mutated(rng: &mut TestRng, originals: &[Vec<u8>]) -> Vec<u8> {
    use proptest::prelude::Rng as _;

    let mut below = |limit: usize| {
        usize::try_from(rng.next_u64() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    };
    let mut bytes = originals[below(originals.len())].clone();
    for _ in 0..=below(4) {
        let at = below(bytes.len());
        match below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            1 => bytes.insert(at, b"\"\\{}[],:0-1.eu \n"[below(16)]),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            4 => {
                let end = (at + below(60)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = below(bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                let other = &originals[below(originals.len())];
                let from = below(other.len());
                let to = (from + below(200)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    bytes
}

//! What proofs show, and to whom; and that nobody else's word passes for a quorum's.

mod network;

use network::*;
use tally_ledger::*;
use tally_log::{Policy, ProofFile};
use tally_receipt::{Digest, Status, Timestamp};

fn settled_chain(receipts: u64) -> Chain {
    let mut chain = Chain::new(4);
    chain.block(vec![chain.register(1)]);
    let digests = digests(receipts);
    for (batch, digests) in digests.chunks(4096).enumerate() {
        chain.block(vec![chain.settle(1, batch as u64 * 4096, digests.to_vec())]);
    }
    chain
}

fn trust<'a>(genesis: Option<&'a Genesis>, policy: Option<&'a Policy>) -> Trust<'a> {
    Trust {
        now: time(1_000_000),
        genesis,
        policy,
    }
}

fn statuses(shown: &Shown) -> Vec<(String, Status)> {
    shown
        .verdict
        .checks()
        .iter()
        .map(|check| (check.code.to_string(), check.status))
        .collect()
}

#[test]
fn a_proof_says_whom_it_believes_where_a_genesis_tolerates_nobody() {
    for (count, words) in [
        (
            1,
            "the one validator of the genesis did not lie: it tolerates nobody",
        ),
        (3, "so few that it tolerates nobody"),
        (4, "a third or more"),
    ] {
        let mut chain = Chain::new(count);
        chain.block(vec![chain.register(1)]);
        chain.block(vec![chain.settle(1, 0, digests(1))]);
        let proof = chain.prove(0, true, false).to_bytes();
        let verdict = verify_proof(&proof, None, &trust(Some(&chain.genesis), None)).verdict;
        assert!(verdict.is_verified(), "{verdict}");
        let said = verdict.not_proved();
        assert!(said.iter().any(|one| one.contains(words)), "{said:?}");
    }
    // By a policy alone, nobody knows how many there are.
    let chain = settled_chain(1);
    let proof = chain.prove(0, true, false).to_bytes();
    let said = verify_proof(&proof, None, &trust(None, None)).verdict;
    let said = said.not_proved();
    assert!(said.iter().any(|one| one.contains("a third or more")));
}

#[test]
fn a_proof_by_finality_verifies_with_the_genesis_alone() {
    let chain = settled_chain(100);
    let receipt = 41u64.to_be_bytes();
    let proof = chain.prove(41, true, false).to_bytes();
    let shown = verify_proof(&proof, Some(&receipt), &trust(Some(&chain.genesis), None));
    assert!(shown.verdict.is_verified(), "{}", shown.verdict);
    assert_eq!(shown.known_since, Some(chain.state.head().time));
    assert_eq!(shown.entry.unwrap().receipt, Digest::of(&receipt));
    assert_eq!(shown.verdict.status_of(code::FINAL), Some(Status::Pass));

    // Without the receipt, it shows that one of this digest was settled.
    let shown = verify_proof(&proof, None, &trust(Some(&chain.genesis), None));
    assert!(shown.verdict.is_verified());
    assert_eq!(
        shown.verdict.status_of(code::RECEIPT),
        Some(Status::NotEstablished)
    );

    // Another receipt is not the one.
    let shown = verify_proof(&proof, Some(b"other"), &trust(Some(&chain.genesis), None));
    assert_eq!(shown.verdict.status_of(code::RECEIPT), Some(Status::Fail));
    assert!(!shown.verdict.is_verified() && shown.known_since.is_none());

    // Nobody to believe.
    let shown = verify_proof(&proof, Some(&receipt), &trust(None, None));
    assert!(!shown.verdict.is_verified() && !shown.verdict.has_failed());

    // The validators of another chain.
    let mut other = chain.genesis.clone();
    other.name = Name::new("other").unwrap();
    let shown = verify_proof(&proof, Some(&receipt), &trust(Some(&other), None));
    assert_eq!(shown.verdict.status_of(code::FINAL), Some(Status::Fail));
}

#[test]
fn a_checkpoint_alone_is_believed_by_a_policy_or_a_genesis_and_not_with_a_byte_altered() {
    let chain = settled_chain(10);
    let text = chain.checkpoint().to_string();
    let policy = Policy::parse(chain.genesis.log_policy_text().as_bytes()).unwrap();
    let by_policy = trust(None, Some(&policy));
    for trust in [by_policy, trust(Some(&chain.genesis), None)] {
        let verdict = verify_checkpoint(text.as_bytes(), &trust);
        assert!(verdict.is_verified(), "{verdict}");
    }
    let nobody = verify_checkpoint(text.as_bytes(), &trust(None, None));
    assert!(!nobody.is_verified() && !nobody.has_failed());
    let mut other = chain.genesis.clone();
    other.name = Name::new("other").unwrap();
    let other = verify_checkpoint(text.as_bytes(), &trust(Some(&other), None));
    assert_eq!(other.status_of(code::COSIGNED), Some(Status::Fail));
    let early = Trust {
        now: Timestamp::from_unix_ms(0).unwrap(),
        ..by_policy
    };
    let early = verify_checkpoint(text.as_bytes(), &early);
    assert_eq!(early.status_of(code::TIME), Some(Status::Fail));
    for at in 0..text.len() {
        let mut altered = text.clone().into_bytes();
        altered[at] ^= 1;
        let verdict = verify_checkpoint(&altered, &by_policy);
        assert!(!verdict.is_verified(), "byte {at}");
    }
}

#[test]
fn a_proof_by_checkpoint_verifies_with_a_policy_or_a_genesis() {
    let chain = settled_chain(100);
    let receipt = 99u64.to_be_bytes();
    let text = chain.genesis.log_policy_text();
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let proof = chain.prove(99, false, true);
    let file = proof.to_proof_file().unwrap().to_string();
    for bytes in [proof.to_bytes(), file.into_bytes()] {
        for trust in [
            trust(None, Some(&policy)),
            trust(Some(&chain.genesis), None),
        ] {
            let shown = verify_proof(&bytes, Some(&receipt), &trust);
            assert!(shown.verdict.is_verified(), "{}", shown.verdict);
            assert_eq!(shown.verdict.status_of(code::COSIGNED), Some(Status::Pass));
            assert!(
                !verify_proof(&bytes, Some(b"other"), &trust)
                    .verdict
                    .is_verified()
            );
        }
        let shown = verify_proof(&bytes, Some(&receipt), &trust(None, None));
        assert!(!shown.verdict.is_verified());
        // All four must have cosigned: three did.
        let all = text.replace("group validators 3", "group validators all");
        let all = Policy::parse(all.as_bytes()).unwrap();
        let shown = verify_proof(&bytes, Some(&receipt), &trust(None, Some(&all)));
        assert_eq!(shown.verdict.status_of(code::COSIGNED), Some(Status::Fail));
    }
}

#[test]
fn no_altered_bit_of_a_proof_verifies() {
    let chain = settled_chain(20);
    let receipt = 7u64.to_be_bytes();
    let trust = trust(Some(&chain.genesis), None);
    let proof = chain.prove(7, true, true);
    for bytes in [
        proof.to_bytes(),
        proof.to_proof_file().unwrap().to_string().into_bytes(),
    ] {
        assert!(
            verify_proof(&bytes, Some(&receipt), &trust)
                .verdict
                .is_verified()
        );
        for place in 0..bytes.len() {
            let mut altered = bytes.clone();
            // One bit of each byte, another one each time.
            altered[place] ^= 1 << (place % 8);
            let shown = verify_proof(&altered, Some(&receipt), &trust);
            assert!(
                !shown.verdict.is_verified(),
                "byte {place}: {}",
                shown.verdict
            );
        }
        for end in 0..bytes.len() {
            assert!(
                !verify_proof(&bytes[..end], Some(&receipt), &trust)
                    .verdict
                    .is_verified()
            );
        }
    }
}

#[test]
fn a_proof_is_written_as_it_was_read_with_and_without_its_receipt() {
    let chain = settled_chain(20);
    for (finality, checkpoint) in [(true, false), (false, true), (true, true)] {
        let proof = chain.prove(3, finality, checkpoint);
        let with = proof.clone().with_receipt(&3u64.to_be_bytes()).unwrap();
        assert_eq!(with.clone().without_receipt(), proof);
        for proof in [proof.clone(), with] {
            assert_eq!(Proof::from_bytes(&proof.to_bytes()), Ok(proof));
        }
        assert!(proof.with_receipt(b"other").is_err());
    }
}

#[test]
fn validators_are_followed_from_genesis_by_certificates_alone() {
    let mut chain = settled_chain(10);
    chain.change_validators(validators(2, 5));
    chain.change_validators(validators(5, 7));
    chain.block(vec![chain.settle(1, 10, vec![Digest::of(b"late")])]);
    let proof = chain.prove(10, true, false);
    let trust = trust(Some(&chain.genesis), None);
    let shown = verify_proof(&proof.to_bytes(), Some(b"late"), &trust);
    assert!(shown.verdict.is_verified(), "{}", shown.verdict);

    // An epoch left out, twice, or in another order is not followed.
    let finality = proof.finality().unwrap();
    for epochs in [
        vec![],
        vec![0],
        vec![1],
        vec![1, 0],
        vec![0, 0, 1],
        vec![0, 1, 1],
    ] {
        let epochs = epochs
            .into_iter()
            .map(|index| finality.epochs[index].clone())
            .collect();
        let altered = Proof::new(
            *proof.entry(),
            proof.index(),
            proof.inclusion().clone(),
            Some(Finality {
                epochs,
                ..finality.clone()
            }),
            None,
        )
        .unwrap();
        let shown = verify_proof(&altered.to_bytes(), Some(b"late"), &trust);
        assert!(shown.verdict.has_failed(), "{:?}", statuses(&shown));
    }
}

#[test]
fn fewer_than_a_quorum_make_nothing_final() {
    let chain = settled_chain(1);
    let header = chain.state.head();
    let verify = |certificate: Certificate| {
        certificate.verify(chain.id(), &chain.genesis.validators, header)
    };
    let made = |voters: &[usize]| certificate_of(chain.id(), &chain.validators, 4, header, voters);
    assert_eq!(verify(made(&[0, 1, 2])), Ok(()));
    assert_eq!(verify(made(&[1, 2, 3])), Ok(()));
    assert_eq!(verify(made(&[0, 1, 2, 3])), Ok(()));
    assert_eq!(
        verify(made(&[0, 3])),
        Err(CertificateError::NoQuorum {
            found: 2,
            needed: 3
        })
    );
    // Somebody else's votes, and votes for another block.
    let strangers = validators(50, 4);
    assert!(
        verify(certificate_of(
            chain.id(),
            &strangers,
            4,
            header,
            &[0, 1, 2]
        ))
        .is_err()
    );
    let other = Header {
        time: time(999),
        ..header.clone()
    };
    assert!(
        verify(certificate_of(
            chain.id(),
            &chain.validators,
            4,
            &other,
            &[0, 1, 2]
        ))
        .is_err()
    );
}

/// The sizes that `docs/ledger.md` states.
#[test]
fn a_proof_in_a_log_of_a_million_receipts_is_small() {
    let mut chain = settled_chain(1);
    // A log as large: the entries are the same, which its size does not depend on.
    let leaf = chain.settled[0].entry.leaf_hash();
    let mut state_log = chain.tree.clone();
    let mut frontier = chain.state.log().clone();
    for _ in 1..1_000_000 {
        state_log.append(leaf);
        frontier.append(leaf);
    }
    chain.tree = state_log;
    let mut header = chain.state.head().clone();
    header.log_size = frontier.size();
    header.log_root = frontier.root();
    header.height = Height::new(100_000);
    let mut one = chain.settled[0];
    one.index = 654_321;
    let inclusion = tally_log::prove_inclusion(&chain.tree, one.index, 1_000_000)
        .unwrap()
        .unwrap();
    assert_eq!(inclusion.hashes().len(), 20);
    header.height = Height::new(100);
    let finality = Finality {
        certificate: chain.certificate(&header),
        header,
        epochs: vec![],
    };
    let origin = chain.genesis.log_origin();
    let mut checkpoint = tally_log::Checkpoint {
        origin: origin.clone(),
        size: frontier.size(),
        root: frontier.root(),
    }
    .unsigned();
    checkpoint.sign(&chain.validators[0].checkpoint);
    for keys in &chain.validators[..3] {
        checkpoint.cosign(
            &cosigner_name(&origin, &keys.validator.name),
            &keys.checkpoint,
            tally_log::UnixSeconds(START_MS / 1000),
        );
    }
    let binary = Proof::new(
        one.entry,
        one.index,
        inclusion.clone(),
        Some(finality),
        None,
    )
    .unwrap();
    let text = Proof::new(one.entry, one.index, inclusion, None, Some(checkpoint)).unwrap();
    // Views and heights in a chain of years take up to eight bytes more than in this one.
    let binary = binary.to_bytes().len() + 8;
    let text = text.to_proof_file().unwrap().to_string().len();
    println!("binary {binary} bytes, .tlog-proof {text} bytes");
    assert!(binary <= 1100, "{binary}");
    assert!(text <= 1800, "{text}");
}

#[test]
fn a_proof_file_of_the_specifications_form_is_read() {
    let chain = settled_chain(5);
    let file = chain.prove(2, false, true).to_proof_file().unwrap();
    let text = file.to_string();
    assert_eq!(ProofFile::parse(text.as_bytes()), Ok(file));
    for bad in [
        text.replace("index 2", "index 02"),
        text.replace("index 2", "index 3"),
        text.replace("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        text.replace("extra ", "extra  "),
        text.replace("\n\n", "\n"),
        text.replacen('\n', "\r\n", 1),
    ] {
        let trust = trust(Some(&chain.genesis), None);
        assert!(
            !verify_proof(bad.as_bytes(), None, &trust)
                .verdict
                .is_verified()
        );
    }
}

#[test]
fn trusted_validators_are_read_as_they_were_written_and_damaged_not_at_all() {
    let mut chain = Chain::new(4);
    let mut trusted = TrustedValidators::of(&chain.genesis);
    let first = trusted.to_bytes();
    assert_eq!(TrustedValidators::from_bytes(&first), Ok(trusted.clone()));
    for next in [validators(2, 5), validators(3, 4)] {
        chain.change_validators(next);
    }
    for end in &chain.epochs {
        trusted.follow(end).unwrap();
    }
    assert_eq!(trusted.named_by.as_ref(), Some(&chain.epochs[1].header));
    let bytes = trusted.to_bytes();
    assert_eq!(TrustedValidators::from_bytes(&bytes), Ok(trusted.clone()));

    for good in [&first, &bytes] {
        for place in 0..good.len() {
            let mut altered = good.clone();
            altered[place] ^= 1;
            assert!(TrustedValidators::from_bytes(&altered).is_err(), "{place}");
            assert!(TrustedValidators::from_bytes(&good[..place]).is_err());
        }
        let longer = [&good[..], b"\n"].concat();
        assert!(TrustedValidators::from_bytes(&longer).is_err());
    }
    // A block that named others, though the check is right.
    let other = TrustedValidators {
        validators: set_of(&validators(2, 5)),
        ..trusted.clone()
    };
    assert!(TrustedValidators::from_bytes(&other.to_bytes()).is_err());
    let later = TrustedValidators {
        epoch: trusted.epoch.next(),
        ..trusted
    };
    assert!(TrustedValidators::from_bytes(&later.to_bytes()).is_err());
}

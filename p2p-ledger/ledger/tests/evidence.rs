//! Evidence convinces of what happened, and of nothing else.

mod network;

use network::*;
use tally_ledger::*;
use tally_log::{Checkpoint, Hash, KeyType, Policy, SignedCheckpoint, UnixSeconds, VerifierKey};
use tally_receipt::{Signature, Status};

fn trust(genesis: Option<&Genesis>) -> Trust<'_> {
    Trust {
        now: time(0),
        genesis,
        policy: None,
    }
}

fn proposal(view: u64, block: u8) -> Proposal {
    Proposal {
        round: Round {
            epoch: Epoch::ZERO,
            view,
        },
        parent_view: 1,
        block: BlockDigest::from_bytes([block; 32]),
    }
}

fn signed(chain: &Chain, vote: Vote) -> (Vote, Signature) {
    (
        vote,
        chain.validators[0]
            .vote
            .sign(&vote.signed_bytes(chain.id())),
    )
}

fn of(chain: &Chain, one: Vote, other: Vote) -> Evidence {
    let voter = chain.validators[0].validator.vote_key;
    Evidence::votes(chain.id(), voter, signed(chain, one), signed(chain, other))
}

#[test]
fn two_votes_that_contradict_each_other_convict_and_others_do_not() {
    let chain = Chain::new(4);
    let round = proposal(5, 1).round;
    let guilty = [
        (
            Vote::Notarize(proposal(5, 1)),
            Vote::Notarize(proposal(5, 2)),
        ),
        (
            Vote::Finalize(proposal(5, 1)),
            Vote::Finalize(proposal(5, 2)),
        ),
        (Vote::Nullify(round), Vote::Finalize(proposal(5, 2))),
    ];
    for (one, other) in guilty {
        let evidence = of(&chain, one, other);
        assert_eq!(evidence, of(&chain, other, one));
        let bytes = evidence.to_bytes();
        assert_eq!(Evidence::from_bytes(&bytes), Ok(evidence));
        let verdict = verify_evidence(&bytes, &trust(Some(&chain.genesis)));
        assert!(verdict.is_verified(), "{verdict}");
        assert!(!verify_evidence(&bytes, &trust(None)).is_verified());
        for place in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[place] ^= 1 << (place % 8);
            assert!(!verify_evidence(&altered, &trust(Some(&chain.genesis))).is_verified());
        }
    }
    let innocent = [
        (
            Vote::Notarize(proposal(5, 1)),
            Vote::Notarize(proposal(5, 1)),
        ),
        (
            Vote::Notarize(proposal(5, 1)),
            Vote::Notarize(proposal(6, 2)),
        ),
        (
            Vote::Notarize(proposal(5, 1)),
            Vote::Finalize(proposal(5, 2)),
        ),
        (Vote::Notarize(proposal(5, 1)), Vote::Nullify(round)),
        (Vote::Nullify(round), Vote::Finalize(proposal(6, 2))),
    ];
    for (one, other) in innocent {
        let verdict = verify_evidence(
            &of(&chain, one, other).to_bytes(),
            &trust(Some(&chain.genesis)),
        );
        assert_eq!(
            verdict.status_of(evidence_code::CONTRADICTION),
            Some(Status::Fail)
        );
    }
}

#[test]
fn nobody_is_convicted_by_somebody_elses_signature_or_on_another_chain() {
    let chain = Chain::new(4);
    let (one, other) = (
        Vote::Notarize(proposal(5, 1)),
        Vote::Notarize(proposal(5, 2)),
    );
    let framed = Evidence::votes(
        chain.id(),
        chain.validators[1].validator.vote_key,
        signed(&chain, one),
        signed(&chain, other),
    );
    let verdict = verify_evidence(&framed.to_bytes(), &trust(Some(&chain.genesis)));
    assert_eq!(verdict.status_of(evidence_code::SIGNED), Some(Status::Fail));

    let mut elsewhere = chain.genesis.clone();
    elsewhere.name = Name::new("other").unwrap();
    let verdict = verify_evidence(&of(&chain, one, other).to_bytes(), &trust(Some(&elsewhere)));
    assert_eq!(
        verdict.status_of(evidence_code::VALIDATOR),
        Some(Status::Fail)
    );
}

#[test]
fn two_checkpoints_of_one_size_and_different_roots_convict() {
    let chain = Chain::new(4);
    let origin = chain.genesis.log_origin();
    let keys = &chain.validators[0];
    let name = cosigner_name(&origin, &keys.validator.name);
    let made = |size, root: u8| -> SignedCheckpoint {
        let mut signed = Checkpoint {
            origin: origin.clone(),
            size,
            root: Hash::from_bytes([root; 32]),
        }
        .unsigned();
        signed.sign(&chain.validators[1].checkpoint);
        signed.cosign(&name, &keys.checkpoint, UnixSeconds(u64::from(root)));
        signed
    };
    let signer = VerifierKey {
        name: name.clone(),
        key_type: KeyType::Cosignature,
        key: keys.validator.checkpoint_key,
    };
    let policy = Policy::parse(chain.genesis.log_policy_text().as_bytes()).unwrap();
    let evidence = Evidence::checkpoints(signer.clone(), made(9, 1), made(9, 2));
    let bytes = evidence.to_bytes();
    assert_eq!(Evidence::from_bytes(&bytes), Ok(evidence));
    for trust in [
        Trust {
            policy: Some(&policy),
            ..trust(None)
        },
        trust(Some(&chain.genesis)),
    ] {
        assert!(verify_evidence(&bytes, &trust).is_verified());
        for innocent in [(made(9, 1), made(10, 2)), (made(9, 1), made(9, 1))] {
            let evidence = Evidence::checkpoints(signer.clone(), innocent.0, innocent.1);
            assert!(!verify_evidence(&evidence.to_bytes(), &trust).is_verified());
        }
        let framed = VerifierKey {
            key: chain.validators[2].validator.checkpoint_key,
            ..signer.clone()
        };
        let evidence = Evidence::checkpoints(framed, made(9, 1), made(9, 2));
        assert!(!verify_evidence(&evidence.to_bytes(), &trust).is_verified());
    }
    assert!(!verify_evidence(&bytes, &trust(None)).is_verified());
}

#[test]
fn what_simplex_reports_becomes_evidence() {
    let chain = Chain::new(4);
    let voter = chain.validators[0].validator.vote_key;
    let round = proposal(5, 1).round;
    let cases = [
        (
            SimplexFault::ConflictingNotarize,
            Vote::Notarize(proposal(5, 1)),
            Vote::Notarize(proposal(5, 2)),
        ),
        (
            SimplexFault::ConflictingFinalize,
            Vote::Finalize(proposal(5, 1)),
            Vote::Finalize(proposal(5, 2)),
        ),
        (
            SimplexFault::NullifyFinalize,
            Vote::Nullify(round),
            Vote::Finalize(proposal(5, 2)),
        ),
    ];
    for (fault, one, other) in cases {
        // As simplex encodes them: round, for a proposal its parent's view and block, the voter's number, the signature.
        let encoded: Vec<u8> = [one, other]
            .into_iter()
            .flat_map(|vote| {
                let mut bytes = vec![0, 5];
                if let Vote::Notarize(proposal) | Vote::Finalize(proposal) = vote {
                    bytes.push(1);
                    bytes.extend(proposal.block.as_bytes());
                }
                bytes.push(0);
                bytes.extend(signed(&chain, vote).1.as_bytes());
                bytes
            })
            .collect();
        let evidence = Evidence::from_simplex(chain.id(), voter, fault, &encoded);
        assert_eq!(evidence, Ok(of(&chain, one, other)));
        assert!(Evidence::from_simplex(chain.id(), voter, fault, &encoded[1..]).is_err());
    }
}

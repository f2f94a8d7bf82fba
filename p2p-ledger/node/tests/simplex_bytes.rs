//! What commonware's own types sign and encode is what `tally_ledger` reads and checks without them: votes, certificates, and evidence
//! of two votes that exclude each other.

use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{
    ConflictingFinalize, ConflictingNotarize, Finalization, Finalize, Notarize, Nullify,
    NullifyFinalize, Proposal,
};
use commonware_consensus::types::{Epoch, Round, View};
use commonware_cryptography::blake3::Digest;
use commonware_cryptography::ed25519::PrivateKey;
use commonware_parallel::Sequential;
use commonware_utils::non_empty;
use commonware_utils::ordered::Set;
use tally_ledger::{
    Certificate, Evidence, Genesis, Header, Name, Parameters, SimplexFault, Trust, Validator,
    ValidatorSet, Vote, consensus_namespace, evidence_code, verify_evidence,
};
use tally_receipt::{SigningKey, Status, Timestamp};

/// Far enough that each takes several bytes as a varint.
const VIEW: u64 = 70_000;

struct Network {
    genesis: Genesis,
    /// One for each validator, in the order of their keys.
    schemes: Vec<Scheme>,
}

fn network(count: u8) -> Network {
    let mut seeds: Vec<[u8; 32]> = (1..=count).map(|n| [n; 32]).collect();
    seeds.sort_by_key(|seed| SigningKey::from_seed(seed).public_key());
    let validators = seeds
        .iter()
        .enumerate()
        .map(|(number, seed)| Validator {
            vote_key: SigningKey::from_seed(seed).public_key(),
            checkpoint_key: SigningKey::from_seed(&[seed[0] + 100; 32]).public_key(),
            name: Name::new(&format!("v{number}")).unwrap(),
        })
        .collect();
    let genesis = Genesis {
        name: Name::new("bytes").unwrap(),
        time: Timestamp::from_unix_ms(0).unwrap(),
        parameters: Parameters::default(),
        validators: ValidatorSet::new(validators).unwrap(),
        addresses: vec![Vec::new(); count.into()],
        accounts: Vec::new(),
        faucet: None,
    }
    .checked()
    .unwrap();
    let namespace = consensus_namespace(genesis.chain());
    let keys = genesis.validators.as_slice().iter();
    let participants =
        Set::from_iter_dedup(keys.map(|one| tally_node::vote_key(&one.vote_key).unwrap()));
    let schemes = seeds
        .iter()
        .map(|seed| {
            let key = PrivateKey::decode(Copying(&seed[..])).unwrap();
            Scheme::signer(&namespace, participants.clone(), key).expect("a participant")
        })
        .collect();
    Network { genesis, schemes }
}

fn proposal(block: [u8; 32]) -> Proposal<Digest> {
    let round = Round::new(Epoch::new(0), View::new(VIEW));
    let payload = Digest::decode(Copying(&block[..])).unwrap();
    Proposal::new(round, View::new(VIEW - 1), payload)
}

#[test]
fn a_finalization_of_commonware_makes_a_block_final_here() {
    for count in [1, 4, 7, 13] {
        let network = network(count);
        let header = Header {
            height: tally_ledger::Height::new(5),
            ..network.genesis.state().head().clone()
        };
        let proposal = proposal(*header.digest().as_bytes());
        let quorum = network.genesis.validators.quorum();
        // Not the first ones: the bitmap has holes.
        let votes: Vec<Finalize<Scheme, Digest>> = network
            .schemes
            .iter()
            .rev()
            .take(quorum)
            .map(|scheme| Finalize::sign(scheme, proposal.clone()).unwrap())
            .collect();
        let finalization = Finalization::from_finalizes(
            &network.schemes[0],
            non_empty![@votes.iter()],
            &Sequential,
        )
        .unwrap();
        let bytes = finalization.encode().to_vec();
        let certificate = Certificate::from_bytes(&bytes).unwrap();
        assert_eq!(certificate.to_bytes(), bytes);
        assert_eq!(certificate.voters().count(), quorum);
        assert_eq!(certificate.proposal().round.view, VIEW);
        let chain = network.genesis.chain();
        certificate
            .verify(chain, &network.genesis.validators, &header)
            .unwrap();
        for place in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[place] ^= 1;
            let holds = Certificate::from_bytes(&altered).is_ok_and(|read| {
                read.verify(chain, &network.genesis.validators, &header)
                    .is_ok()
            });
            assert!(!holds, "byte {place} of {count} validators' certificate");
        }
    }
}

#[test]
fn votes_of_commonware_are_signed_votes_here() {
    let network = network(4);
    let chain = network.genesis.chain();
    let scheme = &network.schemes[2];
    let key = network.genesis.validators.as_slice()[2].vote_key;
    let proposal = proposal([9; 32]);
    let ours = tally_ledger::Proposal {
        round: tally_ledger::Round {
            epoch: tally_ledger::Epoch::ZERO,
            view: VIEW,
        },
        parent_view: VIEW - 1,
        block: tally_ledger::BlockDigest::from_bytes([9; 32]),
    };
    let notarize = Notarize::sign(scheme, proposal.clone()).unwrap();
    let nullify = Nullify::sign::<Digest>(scheme, proposal.round).unwrap();
    let finalize = Finalize::sign(scheme, proposal).unwrap();
    for (bytes, vote) in [
        (notarize.encode(), Vote::Notarize(ours)),
        (nullify.encode(), Vote::Nullify(ours.round)),
        (finalize.encode(), Vote::Finalize(ours)),
    ] {
        // A signature is what an encoded vote ends with.
        let signature = bytes.last_chunk::<64>().expect("a signature");
        let signature = tally_receipt::Signature::from_bytes(*signature);
        assert!(vote.is_signed(chain, &key, &signature), "{vote:?}");
        let other = network.genesis.validators.as_slice()[1].vote_key;
        assert!(!vote.is_signed(chain, &other, &signature), "{vote:?}");
    }
}

#[test]
fn what_commonware_reports_convicts_here() {
    let network = network(4);
    let genesis = &network.genesis;
    let scheme = &network.schemes[3];
    let voter = genesis.validators.as_slice()[3].vote_key;
    let (one, other) = (proposal([1; 32]), proposal([2; 32]));
    let notarize = |proposal: &Proposal<Digest>| Notarize::sign(scheme, proposal.clone()).unwrap();
    let finalize = |proposal: &Proposal<Digest>| Finalize::sign(scheme, proposal.clone()).unwrap();
    let reports = [
        (
            SimplexFault::ConflictingNotarize,
            ConflictingNotarize::new(notarize(&one), notarize(&other)).encode(),
        ),
        (
            SimplexFault::ConflictingFinalize,
            ConflictingFinalize::new(finalize(&one), finalize(&other)).encode(),
        ),
        (
            SimplexFault::NullifyFinalize,
            NullifyFinalize::new(
                Nullify::sign::<Digest>(scheme, one.round).unwrap(),
                finalize(&other),
            )
            .encode(),
        ),
    ];
    for (fault, bytes) in reports {
        let evidence = Evidence::from_simplex(genesis.chain(), voter, fault, &bytes).unwrap();
        let file = evidence.to_bytes();
        let trust = Trust {
            now: Timestamp::from_unix_ms(0).unwrap(),
            genesis: Some(genesis),
            policy: None,
        };
        let verdict = verify_evidence(&file, &trust);
        assert!(verdict.is_verified(), "{fault:?}: {verdict}");
        // Somebody else is not convicted by it.
        let framed = genesis.validators.as_slice()[0].vote_key;
        let evidence = Evidence::from_simplex(genesis.chain(), framed, fault, &bytes).unwrap();
        let verdict = verify_evidence(&evidence.to_bytes(), &trust);
        assert_eq!(verdict.status_of(evidence_code::SIGNED), Some(Status::Fail));
    }
}

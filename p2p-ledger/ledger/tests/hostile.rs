//! Any bytes, and good bytes a little altered: nothing panics, and whatever is read is written back.

#[path = "../fuzz/properties.rs"]
mod properties;

mod network;

use network::*;
use proptest::prelude::*;
use std::sync::LazyLock;
use tally_ledger::*;

/// A property, and a good input for it.
type Sample = (fn(&[u8]), Vec<u8>);

/// One good input for each decoder.
static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let mut chain = Chain::new(4);
    let mut transactions = vec![chain.register(1), chain.register(2)];
    let first = chain.block(transactions.clone());
    transactions.push(chain.settle(1, 0, digests(5)));
    transactions.push(chain.decide(Change::Validators(set_of(&validators(9, 2)))));
    chain.block(vec![chain.settle(1, 0, digests(5))]);
    chain.change_validators(validators(2, 5));
    chain.block(vec![chain.settle(1, 5, digests(2))]);
    let proof = chain
        .prove(3, true, true)
        .with_receipt(&3u64.to_be_bytes())
        .unwrap();
    let vote = |block: u8| {
        let vote = Vote::Notarize(Proposal {
            round: Round {
                epoch: Epoch::ZERO,
                view: 5,
            },
            parent_view: 1,
            block: BlockDigest::from_bytes([block; 32]),
        });
        (
            vote,
            chain.validators[0]
                .vote
                .sign(&vote.signed_bytes(chain.id())),
        )
    };
    let voter = chain.validators[0].validator.vote_key;
    let evidence = Evidence::votes(chain.id(), voter, vote(1), vote(2));
    let subject = Subject::Account(account(1));
    let mut samples: Vec<Sample> = vec![
        (properties::block, first.to_bytes()),
        (properties::block, first.header.to_bytes()),
        (properties::block, set_of(&chain.validators).to_bytes()),
        (properties::block, chain.state.prove(subject).to_bytes()),
        (
            properties::block,
            chain.settled[0].entry.to_bytes().to_vec(),
        ),
        (properties::state, chain.state.to_bytes()),
        (
            properties::certificate,
            proof.finality().unwrap().certificate.to_bytes(),
        ),
        (properties::certificate, chain.epochs[0].to_bytes()),
        (properties::proof, proof.to_bytes()),
        (
            properties::proof,
            proof.to_proof_file().unwrap().to_string().into_bytes(),
        ),
        (properties::evidence, evidence.to_bytes()),
    ];
    for transaction in transactions {
        samples.push((
            properties::transaction,
            transaction.transaction().to_bytes(),
        ));
    }
    // Last: TOML and white space have many spellings, so their bytes are no format of ours.
    let description = Description::parse("[parameters]\nblock-bytes = 4194304\n").unwrap();
    let next = chain.state.next_decision();
    let mut decision =
        DecisionFile::new(chain.id(), next, description, chain.state.parameters()).unwrap();
    for keys in &chain.validators {
        decision
            .sign(&keys.vote, chain.state.next_validators())
            .unwrap();
    }
    let mut registration = RegistrationFile::new(chain.id(), &key(1), &key(2), terms());
    registration
        .sign(&chain.validators[0].vote, chain.state.next_validators())
        .unwrap();
    let voucher = VoucherLine::sign(
        chain.id(),
        HoldId::of(account(1), AccountNonce::ZERO),
        Credits::new(5),
        &key(1),
    );
    samples.push((properties::handed, decision.to_toml().into_bytes()));
    samples.push((properties::handed, registration.to_toml().into_bytes()));
    samples.push((properties::handed, voucher.to_string().into_bytes()));
    samples.push((properties::genesis, chain.genesis.to_toml().into_bytes()));
    samples
});

/// How many of the samples, from the last one back, are texts.
const TEXTS: usize = 4;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        for (property, _) in SAMPLES.iter() {
            property(&bytes);
        }
    }

    #[test]
    fn good_bytes_a_little_altered(which: usize, place: usize, mask: u8, cut: usize) {
        let (property, bytes) = &SAMPLES[which % SAMPLES.len()];
        let mut bytes = bytes.clone();
        let place = place % bytes.len();
        bytes[place] ^= mask;
        property(&bytes);
        bytes.truncate(cut % (bytes.len() + 1));
        property(&bytes);
    }
}

#[test]
fn the_samples_are_good() {
    for (property, bytes) in SAMPLES.iter() {
        property(bytes);
    }
}

#[test]
fn no_altered_byte_makes_another_registration_or_voucher() {
    let chain = Chain::new(4);
    let file = RegistrationFile::new(chain.id(), &key(1), &key(2), terms());
    let line = VoucherLine::sign(
        chain.id(),
        HoldId::of(account(1), AccountNonce::ZERO),
        Credits::new(5),
        &key(1),
    );
    let altered = |text: String| {
        (0..text.len()).filter_map(move |place| {
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= 1;
            String::from_utf8(bytes).ok()
        })
    };
    for text in altered(file.to_toml()) {
        if let Ok(read) = RegistrationFile::parse(&text, chain.id()) {
            assert_eq!(read, file, "{text}");
        }
    }
    for text in altered(line.to_string()) {
        if let Ok(read) = VoucherLine::parse(&text, chain.id()) {
            let holds = read.voucher.holds(read.chain, read.hold, account(1));
            assert!(!holds || read == line, "{text}");
        }
    }
}

/// A hash of each encoding. A change here is a change of the format, and a decision.
#[test]
fn encodings_are_what_they_were() {
    let samples = &SAMPLES[..SAMPLES.len() - TEXTS];
    let found: Vec<String> = samples
        .iter()
        .map(|(_, bytes)| tally_receipt::Digest::of(bytes).to_string())
        .chain([Chain::new(4).id().to_string()])
        .map(|digest| digest[..16].to_owned())
        .collect();
    let expected: Vec<&str> = include_str!("encodings.txt").split_whitespace().collect();
    assert_eq!(found, expected);
}

//! Any bytes, and good bytes a little altered: nothing panics, and whatever is read is written back.

#[path = "../fuzz/properties.rs"]
mod properties;

use proptest::prelude::*;
use tally_log::*;
use tally_receipt::SigningKey;

/// A property, and a good input for it.
type Sample = (fn(&[u8]), Vec<u8>);

/// One good input for each property.
fn samples() -> Vec<Sample> {
    let mut tree = HashTree::new();
    let mut frontier = Frontier::new();
    for index in 0..300u64 {
        tree.append(leaf_hash(&index.to_be_bytes()));
        frontier.append(leaf_hash(&index.to_be_bytes()));
    }
    let origin = KeyName::new("example.com/log").unwrap();
    let key = SigningKey::from_seed(&[1; 32]);
    let mut signed = Checkpoint {
        origin: origin.clone(),
        size: 300,
        root: frontier.root(),
    }
    .unsigned();
    signed.sign(&key);
    signed.cosign(&KeyName::new("w").unwrap(), &key, UnixSeconds(5));
    let verifier = |name: &KeyName, key_type| VerifierKey {
        name: name.clone(),
        key_type,
        key: key.public_key(),
    };
    let log = verifier(&origin, KeyType::Ed25519);
    let witness = verifier(&KeyName::new("w").unwrap(), KeyType::Cosignature);
    let policy = format!(
        "# a policy\nlog {log} https://example.com\n\twitness w {witness}\ngroup g 1 w\nquorum g\n"
    );
    let file = ProofFile {
        extra: Some(vec![1, 2, 3]),
        index: 299,
        inclusion: prove_inclusion(&tree, 299, 300).unwrap().unwrap(),
        checkpoint: signed.clone(),
    };
    vec![
        (properties::note, signed.to_string().into_bytes()),
        (properties::note, log.to_string().into_bytes()),
        (properties::checkpoint, signed.to_string().into_bytes()),
        (properties::policy, policy.into_bytes()),
        (properties::proof_file, file.to_string().into_bytes()),
        (properties::tiles, b"tile/1/x001/000.p/17".to_vec()),
        (properties::tiles, vec![0, 1, 7, 0, 0, 0, 2, 8, 9]),
        (properties::frontier, frontier.to_bytes()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        for (property, _) in samples() {
            property(&bytes);
        }
    }

    #[test]
    fn good_bytes_a_little_altered(which: usize, place: usize, mask: u8, cut: usize) {
        let samples = samples();
        let (property, bytes) = &samples[which % samples.len()];
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
    for (property, bytes) in samples() {
        property(&bytes);
    }
    let samples = samples();
    assert!(Note::parse(&samples[0].1).is_ok() && Policy::parse(&samples[3].1).is_ok());
    assert!(ProofFile::parse(&samples[4].1).is_ok());
}

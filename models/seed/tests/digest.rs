//! The bytes of the seed models are part of other tests' expectations: a change here is a decision.

fn digest(bytes: &[u8]) -> String {
    hex::encode(blake3::hash(bytes).as_bytes())
}

#[test]
fn chat_model_has_the_bytes_it_always_had() {
    let bytes = tally_seed_model::chat_model(tally_seed_model::SEED);
    assert_eq!(
        digest(&bytes),
        "a1af9afda30091dfca7a3f4315e850878882755357c09927419b77b25ab4fb13"
    );
}

#[test]
fn embedding_model_has_the_bytes_it_always_had() {
    let bytes = tally_seed_model::embedding_model(tally_seed_model::SEED);
    assert_eq!(
        digest(&bytes),
        "4f94b6088e18f48c89416273ba4445932e0e23f3a4be8280c243e991f96488f8"
    );
}

#[test]
fn another_seed_gives_other_weights() {
    assert_ne!(
        tally_seed_model::chat_model(1),
        tally_seed_model::chat_model(2)
    );
    assert_ne!(
        tally_seed_model::embedding_model(1),
        tally_seed_model::embedding_model(2)
    );
}

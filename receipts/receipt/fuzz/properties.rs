//! What must hold of any bytes. The fuzz targets and a seeded test in the suite (`tests/hostile.rs`) run the same functions.

use tally_receipt::*;

/// A receipt that is read is written back byte for byte, and every way of checking it gives one verdict.
pub(crate) fn receipt(bytes: &[u8]) {
    let context =
        Context::at(Timestamp::from_unix_ms(1_800_000_000_000).expect("before the year 10000"));
    let (receipt, verdict) = verify_bytes(bytes, &context);
    assert!(
        !verdict.is_verified(),
        "nothing is verified without a policy"
    );
    let Some(receipt) = receipt else {
        assert!(verdict.has_failed());
        return;
    };
    assert_eq!(receipt.to_json(), bytes);
    assert_eq!(receipt.digest(), Digest::of(bytes));
    assert_eq!(Receipt::parse(&receipt.to_json()).as_ref(), Ok(&receipt));
    assert_eq!(
        verify_batch(&vec![receipt; 20], &context),
        vec![verdict; 20]
    );
}

/// A statement that somebody else wrote, signed: gets past the envelope into the statement.
pub(crate) fn statement(payload: &[u8]) {
    let key = SigningKey::from_seed(&[1; 32]);
    if let Ok(envelope) = Envelope::sign(payload.to_vec(), &[&key]) {
        receipt(&envelope.to_json());
    }
}

/// A policy or file of openings that is read is read the same when it is written back.
pub(crate) fn documents(bytes: &[u8]) {
    if let Ok(policy) = Policy::parse(bytes) {
        assert_eq!(Policy::parse(&policy.to_json()), Ok(policy));
    }
    if let Ok(openings) = Openings::parse(bytes) {
        assert!(Openings::parse(&openings.to_json()).is_ok_and(|again| again == openings));
    }
}

//! What must hold of any bytes. The fuzz targets and a seeded test in the suite (`tests/hostile.rs`) run the same functions.

use tally_ledger::*;
use tally_receipt::Timestamp;

const NOBODY: Trust<'_> = Trust {
    now: match Timestamp::from_unix_ms(1_800_000_000_000) {
        Ok(time) => time,
        Err(_) => panic!("before the year 10000"),
    },
    genesis: None,
    policy: None,
};

/// A transaction that is read is written back byte for byte, and is checked without a panic.
pub(crate) fn transaction(bytes: &[u8]) {
    if let Ok(transaction) = Transaction::from_bytes(bytes) {
        assert_eq!(transaction.to_bytes(), bytes);
        let chain = ChainId::from_bytes([0; 32]);
        if let Ok(checked) = Checked::check(transaction, chain) {
            assert_eq!(checked.transaction().to_bytes(), bytes);
        }
    }
}

/// Blocks, headers, validators and proofs of state that are read are written back byte for byte.
pub(crate) fn block(bytes: &[u8]) {
    if let Ok(block) = Block::from_bytes(bytes) {
        assert_eq!(block.to_bytes(), bytes);
    }
    if let Ok(header) = Header::from_bytes(bytes) {
        assert_eq!(header.to_bytes(), bytes);
    }
    if let Ok(validators) = ValidatorSet::from_bytes(bytes) {
        assert_eq!(validators.to_bytes(), bytes);
    }
    if let Ok(proof) = MapProof::from_bytes(bytes) {
        assert_eq!(proof.to_bytes(), bytes);
    }
    if let Ok(entry) = Entry::from_bytes(bytes) {
        assert_eq!(entry.to_bytes(), bytes);
    }
}

/// A state that is read is written back byte for byte. The chain is the one that the bytes name.
pub(crate) fn state(bytes: &[u8]) {
    let chain = bytes.get(15..47).and_then(|chain| chain.try_into().ok());
    if let Some(chain) = chain.map(ChainId::from_bytes)
        && let Ok(state) = State::from_bytes(chain, bytes)
    {
        assert_eq!(state.to_bytes(), bytes);
        state.supply();
    }
}

/// Certificates, ends of epochs and trusted validators that are read are written back byte for byte.
pub(crate) fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::from_bytes(bytes) {
        assert_eq!(certificate.to_bytes(), bytes);
    }
    if let Ok(end) = EpochEnd::from_bytes(bytes) {
        assert_eq!(end.to_bytes(), bytes);
    }
    if let Ok(trusted) = TrustedValidators::from_bytes(bytes) {
        assert_eq!(trusted.to_bytes(), bytes);
    }
}

/// A proof that is read is written back byte for byte, and proves nothing to who believes nobody.
pub(crate) fn proof(bytes: &[u8]) {
    if let Ok(proof) = Proof::from_bytes(bytes) {
        assert_eq!(proof.to_bytes(), bytes);
    }
    assert!(!verify_proof(bytes, None, &NOBODY).verdict.is_verified());
}

/// Evidence that is read is written back byte for byte, and convicts nobody before who believes nobody.
pub(crate) fn evidence(bytes: &[u8]) {
    if let Ok(evidence) = Evidence::from_bytes(bytes) {
        assert_eq!(evidence.to_bytes(), bytes);
        let _ = (evidence.is_signed(), evidence.contradicts());
    }
    assert!(!verify_evidence(bytes, &NOBODY).is_verified());
}

/// What people hand to one another (decisions, registrations, vouchers) is read the same when it is written back. The chain is
/// the one that the text names.
pub(crate) fn handed(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = Description::parse(text);
    let chain = chain_of(text);
    if let Ok(file) = DecisionFile::parse(text, chain) {
        let read = DecisionFile::parse(&file.to_toml(), chain);
        assert_eq!(read.as_ref(), Ok(&file));
    }
    if let Ok(file) = RegistrationFile::parse(text, chain) {
        let read = RegistrationFile::parse(&file.to_toml(), chain);
        assert_eq!(read.as_ref(), Ok(&file));
    }
    if let Ok(line) = VoucherLine::parse(text, chain) {
        let written = line.to_string();
        assert!(text.split_whitespace().eq(written.split(' ')));
        assert_eq!(VoucherLine::parse(&written, chain), Ok(line));
    }
}

/// The chain that a file or a line names, or any.
fn chain_of(text: &str) -> ChainId {
    let in_file = text.split_once("chain = \"");
    let named = match in_file {
        Some((_, rest)) => rest.get(..64),
        None => text.split_whitespace().nth(1),
    };
    named
        .and_then(|name| name.parse().ok())
        .unwrap_or(ChainId::from_bytes([0; 32]))
}

/// A genesis that is read is read the same when it is written back, and begins a state.
pub(crate) fn genesis(bytes: &[u8]) {
    if let Some(genesis) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| Genesis::parse(text).ok())
    {
        assert_eq!(Genesis::parse(&genesis.to_toml()).as_ref(), Ok(&genesis));
        assert_eq!(genesis.state().chain(), genesis.chain());
        let _ = (genesis.log_policy(), genesis.state().supply());
    }
}

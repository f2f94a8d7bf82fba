//! What must hold of any bytes. The fuzz targets and a seeded test in the suite (`tests/hostile.rs`) run the same functions.

use tally_log::*;

/// A note that is read is written back byte for byte.
pub(crate) fn note(bytes: &[u8]) {
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
    }
    if let Some(key) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse::<VerifierKey>().ok())
    {
        assert_eq!(key.to_string().as_bytes(), bytes);
    }
}

/// A checkpoint that is read is written back byte for byte.
pub(crate) fn checkpoint(bytes: &[u8]) {
    if let Ok(checkpoint) = SignedCheckpoint::parse(bytes) {
        assert_eq!(checkpoint.to_string().as_bytes(), bytes);
    }
}

/// A policy that is read judges what nobody signed as not valid, or asks for nobody but a log.
pub(crate) fn policy(bytes: &[u8]) {
    if let Ok(policy) = Policy::parse(bytes) {
        let origin = policy
            .keys()
            .next()
            .expect("a policy names a log")
            .name
            .clone();
        let nobody = Checkpoint {
            origin,
            size: 0,
            root: empty_root(),
        }
        .unsigned();
        let judgement = policy.judge(&nobody);
        assert!(!judgement.is_valid() && !judgement.log_signed && judgement.cosigned.is_empty());
    }
}

/// A proof file that is read is written back byte for byte, and shows nothing of an entry nobody logged.
pub(crate) fn proof_file(bytes: &[u8]) {
    if let Ok(file) = ProofFile::parse(bytes) {
        assert_eq!(file.to_string().as_bytes(), bytes);
        assert!(
            file.verify(leaf_hash(b"an entry that nobody logged"))
                .is_err()
        );
    }
}

/// A path that is read is written back; a bundle's entries are its bytes.
pub(crate) fn tiles(bytes: &[u8]) {
    if let Some(resource) = std::str::from_utf8(bytes).ok().and_then(Resource::at) {
        assert_eq!(resource.path().as_bytes(), bytes);
    }
    if let Some(entries) = entries_of(bytes) {
        let sum: usize = entries.iter().map(|entry| entry.len() + 2).sum();
        assert_eq!(sum, bytes.len());
    }
}

/// A frontier that is read is written back byte for byte.
pub(crate) fn frontier(bytes: &[u8]) {
    if let Ok(frontier) = Frontier::from_bytes(bytes) {
        assert_eq!(frontier.to_bytes(), bytes);
    }
}

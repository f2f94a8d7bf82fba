//! Any bytes, and bytes that are nearly right: never a panic, never two encodings of one thing.

#[path = "../fuzz/properties.rs"]
mod properties;

use std::fs;

use proptest::prelude::*;

fn all(bytes: &[u8]) {
    properties::files(bytes);
    properties::blob(bytes);
    properties::frame(bytes);
    properties::segment(bytes);
    properties::operation(bytes);
    properties::content(bytes);
    properties::operations(bytes);
    properties::portable_file(bytes);
    properties::words(bytes);
}

fn objects() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/objects");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    // The large ones say nothing more here.
    paths
        .iter()
        .map(|path| fs::read(path).unwrap())
        .filter(|bytes| bytes.len() < 4_096)
        .collect()
}

#[test]
fn the_properties_reach_the_vectors() {
    let vault = properties::vault();
    let read = |name: &str| {
        fs::read(format!(
            "{}/vectors/objects/{name}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap()
    };
    let frame = read("frame-valid.frame");
    assert!(
        tally_vault_format::FrameRef::parse(&vault, &frame).is_ok(),
        "the vectors' vault has another id now"
    );
}

#[test]
fn published_objects_keep_the_properties() {
    for object in objects() {
        all(&object);
    }
}

proptest! {
    #[test]
    fn any_bytes_keep_the_properties(bytes in proptest::collection::vec(any::<u8>(), 0..2_048)) {
        all(&bytes);
    }

    /// Bytes of a published object with a few of them changed, cut or doubled.
    #[test]
    fn altered_objects_keep_the_properties(
        which in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..6),
    ) {
        let objects = objects();
        let mut bytes = which.get(&objects).clone();
        for (place, value, edit) in edits {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match edit {
                0 => bytes[place] = value,
                1 => bytes.truncate(place),
                2 => bytes.insert(place, value),
                _ => bytes[place] ^= 1 << (value & 7),
            }
        }
        all(&bytes);
    }

    #[test]
    fn operations_with_a_likely_layout_keep_the_properties(
        kind in prop::sample::select(vec![1u8, 2, 3, 4, 16, 17, 18, 19]),
        time in any::<u64>(),
        targets in proptest::collection::btree_set(any::<[u8; 32]>(), 0..4),
        state in 0u8..3,
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&time.to_be_bytes());
        bytes.extend_from_slice(&(targets.len() as u16).to_be_bytes());
        targets.iter().for_each(|target| bytes.extend_from_slice(target));
        bytes.push(state);
        bytes.extend_from_slice(&[7; 32]);
        if state == 1 {
            bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&body);
        }
        all(&bytes);
        all(&[&[kind], &body[..]].concat());
    }
}

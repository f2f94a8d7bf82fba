//! Whoever meddles with the file of a large content is named, and nothing of it is read.

mod support;

use std::path::{Path, PathBuf};

use support::sim::Sim;
use support::{Computer, add, codes, text};
use tally_vault::format::{BlobError, BlobId, OpId};
use tally_vault::{ReadError, Stored, Vault};

/// A vault with two large contents of one length, and the files that they lie in.
fn furnished(seed: u64) -> (Sim, Computer, [(OpId, PathBuf); 2]) {
    let (disk, computer) = (Sim::new(), Computer::new(seed));
    let (mut vault, _) = computer.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    // Three chunks of 64 KiB, the last with padding.
    let written = [one(), other()].map(|text| {
        let id = add(&mut vault, &notes, &text).expect("written");
        let Stored::Blob(blob) = vault.get(&id).expect("it is there").content else {
            panic!("a content of 180 kB is a blob")
        };
        (id, PathBuf::from(format!("/vault/blob/{}.blob", blob.id)))
    });
    (disk, computer, written)
}

fn one() -> String {
    "one ".repeat(45_000)
}

fn other() -> String {
    "two ".repeat(45_000)
}

fn read(vault: &mut Vault, id: &OpId) -> (Result<(), ReadError>, Vec<u8>) {
    let record = vault.get(id).expect("the record itself is whole");
    let mut bytes = Vec::new();
    (vault.read_content(&record, &mut bytes), bytes)
}

const HEADER: usize = 32 * 4;

#[test]
fn altered_bytes_are_named_and_not_given_out() {
    let (disk, computer, [(first, path), (second, second_path)]) = furnished(101);
    let whole = disk.files()[&path].clone();
    let other_file = disk.files()[&second_path].clone();
    assert_eq!(whole.len(), other_file.len());
    let flipped = |place: usize| {
        let mut bytes = whole.clone();
        bytes[place] ^= 4;
        bytes
    };
    let chunk = |number: usize| HEADER + number * 65_536..HEADER + (number + 1) * 65_536;
    let mut swapped = whole.clone();
    swapped[chunk(0)].copy_from_slice(&whole[chunk(1)]);
    swapped[chunk(1)].copy_from_slice(&whole[chunk(0)]);
    let longer = [&whole[..], &[0]].concat();
    let header_of_other = [&other_file[..HEADER], &whole[HEADER..]].concat();
    let cases: [(&str, Vec<u8>, BlobError); 9] = [
        ("the commitment", flipped(0), BlobError::Hash),
        ("a chunk's hash", flipped(40), BlobError::Hash),
        (
            "the first chunk",
            flipped(HEADER),
            BlobError::Chunk { number: 0 },
        ),
        (
            "the last byte",
            flipped(whole.len() - 1),
            BlobError::Chunk { number: 2 },
        ),
        ("two chunks", swapped, BlobError::Chunk { number: 0 }),
        ("cut", whole[..whole.len() - 1].to_vec(), BlobError::Length),
        ("longer", longer, BlobError::Length),
        ("another blob", other_file.clone(), BlobError::Hash),
        ("another's header", header_of_other, BlobError::Hash),
    ];
    for (what, bytes, expected) in cases {
        disk.put(&path, &bytes);
        let mut vault = computer.read(&disk);
        let (result, out) = read(&mut vault, &first);
        assert!(
            matches!(&result, Err(ReadError::Blob(error)) if *error == expected),
            "{what}: {result:?}"
        );
        assert_eq!(out, b"", "{what}");
        assert_eq!(
            codes(&mut vault),
            ["blob.damaged", "blob.missing"],
            "{what}"
        );
        assert_eq!(text(&mut vault, &second), other(), "{what}");
    }
    disk.put(&path, &whole);
    assert_eq!(codes(&mut computer.read(&disk)), Vec::<&str>::new());

    disk.take(&path);
    let mut vault = computer.read(&disk);
    assert!(matches!(
        read(&mut vault, &first).0,
        Err(ReadError::BlobMissing)
    ));
    assert_eq!(codes(&mut vault), ["blob.missing"]);
    // Under another name it is there, and not found.
    disk.put(Path::new("/vault/blob/elsewhere"), &whole);
    assert_eq!(codes(&mut vault), ["blob.missing", "file.misnamed"]);
}

#[test]
fn what_is_damaged_is_not_passed_on() {
    let (disk, computer, [(first, path), (second, _)]) = furnished(102);
    disk.copy_folder(Path::new("/vault"), Path::new("/copy"));
    let whole = disk.files()[&path].clone();
    let mut damaged = whole.clone();
    damaged[HEADER + 70_000] ^= 1;
    disk.put(&path, &damaged);

    let mut file = Vec::new();
    let exported = computer.write(&disk).export(&mut file).expect("exported");
    assert_eq!((exported.blobs, exported.blobs_missing), (1, 1));

    // A copy that lacks both takes the one that is whole.
    let there = Computer::new(103).with_folder("/copy");
    let inside: Vec<PathBuf> = disk
        .files()
        .into_keys()
        .filter(|at| at.starts_with("/copy/blob"))
        .collect();
    assert_eq!(inside.len(), 2);
    for at in &inside {
        disk.take(at);
    }
    let mut copy = there.write(&disk);
    let taken = copy.merge_folder(&computer.place.folder).expect("merged");
    assert_eq!(taken.blobs, 1);
    assert_eq!(text(&mut copy, &second), other());
    assert!(matches!(
        read(&mut copy, &first).0,
        Err(ReadError::BlobMissing)
    ));
    drop(copy);
    let left: Vec<Vec<u8>> = disk
        .files()
        .into_iter()
        .filter(|(at, _)| at.starts_with("/copy/blob"))
        .map(|(_, bytes)| bytes)
        .collect();
    assert_eq!(left.len(), 1, "nothing of the damaged one stayed");
    assert!(left.iter().all(|bytes| BlobId::of(bytes).is_ok()));

    // When the file is whole again, the copy gets it.
    disk.put(&path, &whole);
    let mut copy = there.write(&disk);
    assert_eq!(
        copy.merge_folder(&computer.place.folder)
            .expect("merged")
            .blobs,
        1
    );
    assert_eq!(text(&mut copy, &first), one());
}

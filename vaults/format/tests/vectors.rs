//! The published vectors: that they are what the generator writes, and that this crate answers each object as the
//! manifest says. What whole vaults say is for the fold (`vaults/store`) and for the second reader (`vaults/reader`).

#[path = "../examples/vectors/all.rs"]
mod all;
#[path = "../examples/vectors/manifest.rs"]
mod manifest;
#[path = "../examples/vectors/objects.rs"]
mod objects;
#[path = "../examples/vectors/raw.rs"]
mod raw;
#[path = "../examples/vectors/vaults.rs"]
mod vaults;

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use tally_vault_format::{
    BlobId, BlobKey, BlobRef, BoxBuffer, EpochKey, FrameError, FrameRef, Frames, Genesis, Identity,
    Keyring, MemberKind, Seed, Share, Slot, VaultId, combine_shares, from_phrase, open_blob,
    portable,
};

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors"))
}

fn manifest() -> Value {
    serde_json::from_slice(&fs::read(folder().join("manifest.json")).unwrap()).unwrap()
}

fn files_below(folder: &Path, prefix: &str, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), &format!("{name}/"), names);
        } else {
            names.insert(name);
        }
    }
}

#[test]
fn the_files_are_what_the_generator_writes() {
    let written = all::vectors();
    let mut names = BTreeSet::new();
    files_below(folder(), "", &mut names);
    names.remove("README.md");
    assert_eq!(
        names,
        written.keys().cloned().collect(),
        "files that the generator does not write, or none where it does"
    );
    for (name, bytes) in written {
        assert!(
            fs::read(folder().join(&name)).unwrap() == bytes,
            "{name} differs"
        );
    }
}

#[test]
fn every_object_is_answered_as_the_manifest_says() {
    let manifest = manifest();
    let objects = manifest["objects"].as_array().unwrap();
    let (mut kinds, mut wrong) = (BTreeSet::new(), Vec::<String>::new());
    for object in objects {
        let name = object["name"].as_str().unwrap();
        let bytes = fs::read(folder().join(object["file"].as_str().unwrap())).unwrap();
        let kind = object["object"].as_str().unwrap();
        kinds.insert(kind);
        let inputs = &object["inputs"];
        let answer = match kind {
            "genesis" => genesis(&bytes, inputs),
            "slot" => slot(&bytes, inputs),
            "keyring" => keyring(&bytes, inputs),
            "frame" => frame(&bytes, inputs).map_err(|error| format!("{error:?}")),
            "segment" => segment(&bytes, inputs),
            "portable" => portable::parse(&bytes)
                .map(drop)
                .map_err(|error| format!("{error:?}")),
            "blob" => blob(&bytes, inputs),
            "phrase" => phrase(&bytes, inputs),
            "shares" => shares(&bytes, inputs),
            other => panic!("{name}: nobody checks a {other}"),
        };
        let expected = object["error"].as_str();
        if answer.as_ref().err().map(String::as_str) != expected {
            wrong.push(format!("{name}: {answer:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(kinds.len(), 9, "a kind of object has no vectors");
}

fn text<'a>(inputs: &'a Value, name: &str) -> &'a str {
    inputs[name]
        .as_str()
        .unwrap_or_else(|| panic!("no input {name}"))
}

fn bytes32(inputs: &Value, name: &str) -> [u8; 32] {
    hex::decode(text(inputs, name)).unwrap().try_into().unwrap()
}

fn vault(inputs: &Value) -> VaultId {
    text(inputs, "vault").parse().unwrap()
}

fn genesis(bytes: &[u8], inputs: &Value) -> Result<(), String> {
    let genesis = Genesis::parse(bytes).map_err(|error| format!("{error:?}"))?;
    assert_eq!(genesis.encode()[..], *bytes);
    assert_eq!(genesis.vault_id(), vault(inputs));
    Ok(())
}

fn slot(bytes: &[u8], inputs: &Value) -> Result<(), String> {
    let slot = Slot::parse(&vault(inputs), bytes).map_err(|error| format!("{error:?}"))?;
    assert_eq!(slot.encode()[..], *bytes);
    let identity = slot
        .open(text(inputs, "passphrase"))
        .map_err(|error| format!("{error:?}"))?;
    assert_eq!(*identity.seed().expose(), bytes32(inputs, "seed"));
    Ok(())
}

fn keyring(bytes: &[u8], inputs: &Value) -> Result<(), String> {
    let keyring = Keyring::parse(&vault(inputs), bytes).map_err(|error| format!("{error:?}"))?;
    assert_eq!(keyring.encode(), bytes);
    let member = Identity::new(
        MemberKind::Device,
        Seed::from_bytes(bytes32(inputs, "member_seed")),
    );
    let opened = keyring
        .open(&member)
        .map_err(|error| format!("{error:?}"))?;
    assert_eq!(*opened.key.expose(), bytes32(inputs, "key"));
    assert_eq!(opened.name.as_str(), text(inputs, "name"));
    assert_eq!(opened.older.len(), 1);
    assert_eq!(*opened.older[0].1.expose(), bytes32(inputs, "older"));
    Ok(())
}

fn frame(bytes: &[u8], inputs: &Value) -> Result<(), FrameError> {
    let frame = FrameRef::parse(&vault(inputs), bytes)?;
    assert_eq!(frame.encoded(), bytes);
    frame.seal().verify()?;
    if let Some(rebox) = frame.rebox() {
        rebox.verify()?;
    }
    let key = EpochKey::from_bytes(bytes32(inputs, "epoch_key"));
    let mut buffer = BoxBuffer::new();
    if let Some(opened) = frame.open(Some(&key), &mut buffer)? {
        assert_eq!(opened.len(), frame.seal().count as usize);
        assert_eq!(opened.iter().last().unwrap().id, frame.seal().head);
    }
    Ok(())
}

fn segment(bytes: &[u8], inputs: &Value) -> Result<(), String> {
    let frames = Frames::of_segment(&vault(inputs), bytes).map_err(|error| format!("{error:?}"))?;
    for frame in frames {
        frame.map_err(|error| format!("{error:?}"))?;
    }
    Ok(())
}

fn blob(bytes: &[u8], inputs: &Value) -> Result<(), String> {
    let blob = BlobRef {
        key: BlobKey::from_bytes(bytes32(inputs, "key")),
        id: BlobId(bytes32(inputs, "hash")),
        len: text(inputs, "length").parse().unwrap(),
    };
    let content = open_blob(&vault(inputs), &blob, bytes).map_err(|error| format!("{error:?}"))?;
    assert_eq!(
        *blake3::hash(&content).as_bytes(),
        bytes32(inputs, "content_blake3")
    );
    Ok(())
}

fn phrase(bytes: &[u8], inputs: &Value) -> Result<(), String> {
    let seed = from_phrase(str::from_utf8(bytes).unwrap()).map_err(|error| format!("{error:?}"))?;
    assert_eq!(*seed.expose(), bytes32(inputs, "seed"));
    Ok(())
}

fn shares(bytes: &[u8], inputs: &Value) -> Result<(), String> {
    let shares: Result<Vec<Share>, _> = str::from_utf8(bytes)
        .unwrap()
        .lines()
        .map(Share::from_words)
        .collect();
    let shares = shares.map_err(|error| format!("{error:?}"))?;
    let seed = combine_shares(&vault(inputs), &shares).map_err(|error| format!("{error:?}"))?;
    assert_eq!(*seed.expose(), bytes32(inputs, "seed"));
    Ok(())
}

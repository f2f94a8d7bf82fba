//! The vaults of the format's vectors: the fold over their frames gives the statuses, the state hash and the records that
//! their authors wrote down.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use tally_vault_format::{
    BoxBuffer, EpochKey, FrameRef, Genesis, Identity, KeyId, Keyring, MemberKind, OpId, Seed,
    portable,
};
use tally_vault_state::{Finding, Fold, Operation};

#[test]
fn the_fold_agrees_with_the_vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../format/vectors");
    let manifest =
        fs::read(folder.join("manifest.json")).expect("the format's vectors are checked in");
    let manifest: Value = serde_json::from_slice(&manifest).expect("a manifest is JSON");
    let mut told = Vec::new();
    for vector in manifest["vaults"].as_array().expect("a list of vaults") {
        // Vaults that are refused, folders and passphrases are the store's.
        let path = vector["path"].as_str().expect("a path");
        if vector["answer"]["state"].is_null()
            || !path.ends_with(".vex")
            || vector["secret"]["how"] != "seed"
        {
            continue;
        }
        assert_answer(
            vector,
            &fs::read(folder.join(path)).expect("a file for each vector"),
        );
        told.push(vector["name"].as_str().expect("a name"));
    }
    for name in [
        "removed",
        "expired",
        "widened-right",
        "widened-depth",
        "forked",
        "versions",
    ] {
        assert!(told.contains(&name), "no vector {name}: {told:?}");
    }
}

fn assert_answer(vector: &Value, file: &[u8]) {
    let name = &vector["name"];
    let seed = hex::decode(vector["secret"]["value"].as_str().expect("a seed")).expect("hex");
    let root = Identity::new(
        MemberKind::Root,
        Seed::from_bytes(seed.try_into().expect("a seed has 32 bytes")),
    );
    let sections = portable::parse(file).expect("a portable file that is whole");
    let genesis = sections[0].1;
    let genesis = Genesis::parse(genesis).expect("the genesis comes first");
    let vault = genesis.vault_id();
    let mut keys: BTreeMap<KeyId, EpochKey> = BTreeMap::new();
    for (kind, bytes) in &sections {
        if *kind == portable::SectionKind::Keyring {
            let keyring = Keyring::parse(&vault, bytes).expect("a keyring");
            let Ok(opened) = keyring.open(&root) else {
                continue;
            };
            keys.insert(keyring.key().key_id(), opened.key);
        }
    }
    let mut fold = Fold::new(vault, *root.card());
    let mut buffer = BoxBuffer::new();
    for (kind, bytes) in &sections {
        if *kind != portable::SectionKind::Frame {
            continue;
        }
        let Ok(frame) = FrameRef::parse(&vault, bytes) else {
            continue;
        };
        let seal = frame.seal();
        if seal.verify().is_err() {
            continue;
        }
        let opened = frame
            .open(keys.get(&frame.key()), &mut buffer)
            .ok()
            .flatten();
        let operations: Option<Vec<Operation>> = opened.map(|opened| {
            opened
                .iter()
                .map(|op| Operation::new(op.id, &op.op))
                .collect()
        });
        fold.insert(seal.id(), seal, operations.as_deref())
            .expect("what parses is taken");
    }

    let view = fold.view();
    let answer = &vector["answer"];
    let statuses: BTreeMap<String, Value> = view
        .log()
        .map(|row| (row.operation.to_string(), row.status.name().into()))
        .collect();
    assert_eq!(
        &serde_json::to_value(statuses).expect("strings"),
        &answer["operations"],
        "{name}"
    );
    assert_eq!(
        hex::encode(view.state_hash()),
        answer["state"].as_str().expect("a hash"),
        "{name}"
    );
    let records: BTreeMap<String, (String, Vec<String>)> = view
        .records()
        .into_iter()
        .filter_map(|record| {
            let conflicts = record.conflicts.iter().map(OpId::to_string).collect();
            Some((
                record.id.to_string(),
                (record.shown?.to_string(), conflicts),
            ))
        })
        .collect();
    let expected: BTreeMap<String, (String, Vec<String>)> = answer["records"]
        .as_array()
        .expect("a list of records")
        .iter()
        .map(|record| {
            let text = |value: &Value| value.as_str().expect("an id").to_owned();
            let conflicts = record["conflicts"]
                .as_array()
                .expect("a list")
                .iter()
                .map(text)
                .collect();
            (text(&record["record"]), (text(&record["id"]), conflicts))
        })
        .collect();
    assert_eq!(records, expected, "{name}");
    // Of the findings, those that are the fold's to make.
    let mine = [
        "author.forked",
        "seal.gap",
        "seal.unlinked",
        "author.withheld",
        "author.clock",
        "body.missing",
    ];
    let mut found: Vec<&str> = view.findings().iter().map(Finding::code).collect();
    found.dedup();
    let expected = answer["findings"]
        .as_array()
        .expect("a list of findings")
        .iter();
    let expected: Vec<&str> = expected
        .filter_map(Value::as_str)
        .filter(|code| mine.contains(code))
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected, "{name}");
}

//! The age file is one that any age tool opens.
#![cfg(feature = "age")]

mod support;

use std::io::Read;

use support::sim::Sim;
use support::{Computer, add, record};
use tally_vault::{AgeError, AgeKey, Change, NewContent, NewRecord};

#[test]
fn an_age_file_holds_what_is_current() {
    let (disk, computer) = (Sim::new(), Computer::new(51));
    let (mut vault, _) = computer.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    let old = add(&mut vault, &notes, "old").expect("written");
    let long = "long ".repeat(20_000);
    let changes = vec![
        Change::Supersede {
            targets: vec![old],
            record: record("new, with \"quotes\" and\nlines".as_bytes()),
        },
        Change::Add(NewRecord {
            content: NewContent::Bytes(&[0xff, 0, 1]),
            ..record(b"")
        }),
        Change::Add(record(long.as_bytes())),
    ];
    vault.append(&notes, changes).expect("written");

    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let mut file = Vec::new();
    let key = AgeKey::Recipients(&[&recipient]);
    assert_eq!(
        vault.export_age(&key, None, &mut file).expect("exported"),
        3
    );
    assert!(file.starts_with(b"age-encryption.org/v1\n"));
    let mut text = String::new();
    let decryptor = age::Decryptor::new(file.as_slice()).expect("an age file");
    decryptor
        .decrypt(std::iter::once(&identity as &dyn age::Identity))
        .expect("it opens")
        .read_to_string(&mut text)
        .expect("whole");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is an object"))
        .collect();
    assert_eq!(lines.len(), 3);
    let with = |encoding: &str| {
        lines
            .iter()
            .filter(|line| line["encoding"] == encoding)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        with("utf-8")[0]["content"],
        "new, with \"quotes\" and\nlines"
    );
    assert_eq!(with("utf-8")[0]["namespace"], "notes");
    use base64::Engine;
    let mut bytes: Vec<Vec<u8>> = with("base64")
        .iter()
        .map(|line| {
            let text = line["content"].as_str().expect("text");
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .expect("base64")
        })
        .collect();
    bytes.sort_by_key(Vec::len);
    assert_eq!(bytes[0], [0xff, 0, 1]);
    assert!(bytes[1] == long.as_bytes());

    let key = AgeKey::Recipients(&["age1nobody"]);
    assert!(matches!(
        vault.export_age(&key, None, &mut Vec::new()),
        Err(AgeError::Recipient { .. })
    ));
    assert!(matches!(
        vault.export_age(&AgeKey::Recipients(&[]), None, &mut Vec::new()),
        Err(AgeError::Nobody)
    ));
}

//! A vault is made, written, read, shared, carried and recovered.

mod support;

use support::sim::Sim;
use support::{Computer, PASSPHRASE, add, agent, codes, record, text, texts};
use tally_vault::format::{NamespaceId, Right, SlotCost};
use tally_vault::{Change, Key, NewContent, NewRecord, Open, OpenError, Share, WriteError};

#[test]
fn what_was_written_is_read_again() {
    let (disk, computer) = (Sim::new(), Computer::new(1));
    let (mut vault, _) = computer.create(&disk, &["notes", "health"]);
    let notes = vault.namespace("notes").expect("it was made");
    let first = add(&mut vault, &notes, "the first").expect("written");
    let second = vault
        .append(
            &notes,
            vec![Change::Supersede {
                targets: vec![first],
                record: record(b"the second"),
            }],
        )
        .expect("written")[0];
    assert_eq!(text(&mut vault, &second), "the second");
    let hash = vault.state_hash();
    assert_eq!(codes(&mut vault), Vec::<&str>::new());
    drop(vault);

    let mut vault = computer.read(&disk);
    assert_eq!(vault.state_hash(), hash);
    assert_eq!(texts(&mut vault), ["the second"]);
    assert_eq!(text(&mut vault, &first), "the first");
    assert_eq!(codes(&mut vault), Vec::<&str>::new());
}

#[test]
fn a_large_content_lies_in_a_file_of_its_own() {
    let (disk, computer) = (Sim::new(), Computer::new(2));
    let (mut vault, _) = computer.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    let long = "long ".repeat(50_000);
    let mut stream = long.as_bytes();
    let ids = vault
        .append(
            &notes,
            vec![
                Change::Add(record(long.as_bytes())),
                Change::Add(NewRecord {
                    content: NewContent::Stream {
                        reader: &mut stream,
                        len: long.len() as u64,
                    },
                    ..record(b"")
                }),
            ],
        )
        .expect("written");
    drop(vault);
    let mut vault = computer.read(&disk);
    for id in ids {
        assert!(text(&mut vault, &id) == long);
    }
    assert_eq!(codes(&mut vault), Vec::<&str>::new());
}

#[test]
fn another_computer_enrols_when_it_writes() {
    let (disk, first) = (Sim::new(), Computer::new(3));
    let (mut vault, _) = first.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    add(&mut vault, &notes, "from the first").expect("written");
    drop(vault);

    let second = Computer::new(4);
    let vault = second.read(&disk);
    assert_eq!(vault.holders().len(), 1, "reading enrols nobody");
    drop(vault);
    let mut vault = second.write(&disk);
    add(&mut vault, &notes, "from the second").expect("written");
    assert_eq!(vault.holders().len(), 2);
    let device = vault.holders()[0];
    drop(vault);

    let mut vault = second.write(&disk);
    assert_eq!(
        vault.holders()[0],
        device,
        "it is the same device the next time"
    );
    assert_eq!(texts(&mut vault), ["from the first", "from the second"]);
    drop(vault);
    let mut vault = first.read(&disk);
    assert_eq!(texts(&mut vault), ["from the first", "from the second"]);
    assert_eq!(codes(&mut vault), Vec::<&str>::new());
}

#[test]
fn an_agent_stays_inside_its_grant() {
    let (disk, computer) = (Sim::new(), Computer::new(5));
    let (mut vault, _) = computer.create(&disk, &["notes", "health"]);
    let notes = vault.namespace("notes").expect("it was made");
    let health = vault.namespace("health").expect("it was made");
    add(&mut vault, &notes, "a note").expect("written");
    let secret = add(&mut vault, &health, "a diagnosis").expect("written");
    let share = Share {
        card: *agent(1).card(),
        rights: vec![(notes, Right::Append)],
        expires: None,
        depth: 0,
    };
    let grant = vault.share(&share).expect("shared");
    let row = vault.view().grant(&grant).expect("it is here");
    assert_eq!(
        row.expires.expect("an agent's grant ends").millis(),
        support::START_MS + 30 * 86_400_000
    );
    drop(vault);

    let mut vault = computer
        .open(&disk, Open::writing(Key::Member(agent(1))))
        .expect("the agent opens it");
    assert_eq!(texts(&mut vault), ["a note"]);
    assert!(vault.get(&secret).is_err());
    assert_eq!(vault.namespace("health"), None, "not even the name");
    let own = add(&mut vault, &notes, "by the agent").expect("written");
    assert!(matches!(
        add(&mut vault, &health, "no"),
        Err(WriteError::NotPermitted { .. })
    ));
    let note = *vault
        .view()
        .current()
        .iter()
        .find(|id| **id != own)
        .expect("the owner's");
    let retract = Change::Retract {
        targets: vec![note],
        reason: "",
    };
    assert!(matches!(
        vault.append(&notes, vec![retract]),
        Err(WriteError::NotPermitted {
            needs: Right::Curate,
            ..
        })
    ));
    assert!(matches!(
        vault.create_namespace("mine"),
        Err(WriteError::NotPermitted { .. })
    ));
    assert!(matches!(
        vault.rotate(&notes),
        Err(WriteError::NotPermitted { .. })
    ));
    drop(vault);

    // After its revocation nothing of it is added, and it has no new key.
    let mut vault = computer.write(&disk);
    assert_eq!(texts(&mut vault), ["a diagnosis", "a note", "by the agent"]);
    let revoked = vault.revoke(&grant, &[]).expect("revoked");
    assert_eq!(
        (revoked.grants, revoked.rotated),
        (vec![grant], vec![notes])
    );
    let later = add(&mut vault, &notes, "after it was gone").expect("written");
    assert_eq!(codes(&mut vault), Vec::<&str>::new());
    drop(vault);
    let mut vault = computer
        .open(&disk, Open::writing(Key::Member(agent(1))))
        .expect("what it had it can open");
    assert_eq!(texts(&mut vault), ["a note", "by the agent"]);
    assert!(vault.get(&later).is_err());
    assert!(matches!(
        add(&mut vault, &notes, "again"),
        Err(WriteError::NotPermitted { .. })
    ));
}

#[test]
fn the_phrase_brings_the_vault_back() {
    let (disk, computer) = (Sim::new(), Computer::new(6));
    let (mut vault, phrase) = computer.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    add(&mut vault, &notes, "kept").expect("written");
    let old: Vec<_> = vault.grants();
    drop(vault);

    let new = Computer::new(7);
    let wrong = new.open(&disk, Open::writing(Key::Passphrase("not it")));
    assert!(matches!(wrong, Err(OpenError::WrongPassphrase)));
    let mut vault = new
        .open(&disk, Open::writing(Key::Phrase(&phrase)))
        .expect("the phrase opens it");
    assert_eq!(texts(&mut vault), ["kept"]);
    vault
        .recover("another passphrase", SlotCost::LEAST)
        .expect("recovered");
    let slot = old
        .iter()
        .find(|grant| grant.parent == Some(tally_vault::format::GrantId::ROOT))
        .expect("the slot");
    let revoked = vault.revoke(&slot.id, &[]).expect("revoked");
    assert_eq!(revoked.grants.len(), 2, "the old slot and the old device");
    assert_eq!(revoked.rotated, [notes]);
    add(&mut vault, &notes, "new").expect("written");
    drop(vault);

    let old_way = computer.open(&disk, Open::reading(Key::Passphrase(PASSPHRASE)));
    assert!(matches!(old_way, Err(OpenError::WrongPassphrase)));
    let mut vault = new
        .open(&disk, Open::writing(Key::Passphrase("another passphrase")))
        .expect("the new one opens it");
    assert_eq!(texts(&mut vault), ["kept", "new"]);
    assert_eq!(
        codes(&mut vault),
        ["slot.foreign"],
        "the old slot's file is named"
    );
}

#[test]
fn a_new_passphrase_replaces_the_old() {
    let (disk, computer) = (Sim::new(), Computer::new(8));
    let (mut vault, _) = computer.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    vault
        .change_passphrase("a better one", SlotCost::LEAST)
        .expect("changed");
    add(&mut vault, &notes, "a note").expect("written");
    drop(vault);
    assert!(matches!(
        computer.open(&disk, Open::reading(Key::Passphrase(PASSPHRASE))),
        Err(OpenError::WrongPassphrase)
    ));
    let mut vault = computer
        .open(&disk, Open::writing(Key::Passphrase("a better one")))
        .expect("it opens");
    assert_eq!(vault.holders().len(), 2, "the same device");
    add(&mut vault, &notes, "another").expect("written");
    assert_eq!(texts(&mut vault), ["a note", "another"]);
}

#[test]
fn one_process_writes_and_others_read() {
    let (disk, computer) = (Sim::new(), Computer::new(9));
    let (mut vault, _) = computer.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    let second = computer.open(&disk, Open::writing(Key::Passphrase(PASSPHRASE)));
    let Err(error) = second else {
        panic!("a second writer got in")
    };
    assert_eq!(
        error.to_string(),
        "another program is writing this vault: wait until it is done, or open the vault for reading"
    );
    let mut reader = computer.read(&disk);
    add(&mut vault, &notes, "while somebody reads").expect("written");
    assert_eq!(texts(&mut reader), Vec::<String>::new());
    reader.refresh().expect("it reads on");
    assert_eq!(texts(&mut reader), ["while somebody reads"]);
    assert!(matches!(
        add(&mut reader, &notes, "no"),
        Err(WriteError::ReadOnly)
    ));
    drop(vault);
    computer.write(&disk);
}

#[test]
fn a_namespace_made_later_reaches_everybody_who_may_read_all() {
    let (disk, first) = (Sim::new(), Computer::new(10));
    let (mut vault, _) = first.create(&disk, &[]);
    let share = Share {
        card: *agent(2).card(),
        rights: vec![(NamespaceId::ALL, Right::Read)],
        expires: None,
        depth: 0,
    };
    vault.share(&share).expect("shared");
    let later = vault.create_namespace("later").expect("made");
    assert!(matches!(
        vault.create_namespace("later"),
        Err(WriteError::NameTaken(_))
    ));
    add(&mut vault, &later, "for all").expect("written");
    drop(vault);
    let mut vault = first
        .open(&disk, Open::reading(Key::Member(agent(2))))
        .expect("the agent opens it");
    assert_eq!(vault.namespace("later"), Some(later));
    assert_eq!(texts(&mut vault), ["for all"]);
}

#[test]
fn without_a_key_the_vault_is_checked_and_not_read() {
    let (disk, computer) = (Sim::new(), Computer::new(11));
    let (mut vault, _) = computer.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    let id = add(&mut vault, &notes, "a note").expect("written");
    drop(vault);
    let mut vault = computer
        .open(&disk, Open::reading(Key::None))
        .expect("it opens");
    assert!(vault.get(&id).is_err());
    assert_eq!(vault.namespaces()[0].name, None);
    assert_eq!(codes(&mut vault), ["box.locked", "check.locked"]);
    let stranger = computer.open(&disk, Open::reading(Key::Member(agent(9))));
    assert!(matches!(stranger, Err(OpenError::Stranger { .. })));
}

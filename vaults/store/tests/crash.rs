//! Every write, sync, rename and removal of a session fails or is the last, in turn. Afterwards the vault holds everything
//! that was acknowledged, and of what was under way all or nothing that its kind permits.

mod support;

use std::path::Path;
use std::sync::OnceLock;

use support::sim::{Fault, Sim, Survives};
use support::{Computer, PASSPHRASE, add, agent, texts};
use tally_vault::format::{OpId, Right, SlotCost};
use tally_vault::{Change, Code, Key, Open, OpenError, Share, Vault, WriteError};

/// What the session has been told is done.
#[derive(Default)]
struct Acknowledged {
    texts: Vec<String>,
    /// Texts of which the session was not told whether they were written.
    unsure: Vec<String>,
    redacted: Vec<OpId>,
}

/// A session of everything that writes. It ends with the first error.
fn session(vault: &mut Vault, done: &mut Acknowledged) -> Result<(), WriteError> {
    let notes = vault.namespace("notes").expect("it was made");
    for number in 0..3 {
        let text = format!("note {number}");
        done.unsure.push(text.clone());
        add(vault, &notes, &text)?;
        done.texts.push(text);
    }
    let long = "large ".repeat(20_000);
    done.unsure.push(long.clone());
    let large = add(vault, &notes, &long)?;
    done.texts.push(long.clone());

    let other = vault.create_namespace("later")?;
    done.unsure.push("in the later one".to_owned());
    add(vault, &other, "in the later one")?;
    done.texts.push("in the later one".to_owned());

    let share = Share {
        card: *agent(1).card(),
        rights: vec![(notes, Right::Append)],
        expires: None,
        depth: 0,
    };
    let grant = vault.share(&share)?;
    vault.revoke(&grant, &[])?;

    let first = vault
        .view()
        .current()
        .into_iter()
        .find(|id| *id != large)
        .expect("a note");
    let text = support::text(vault, &first);
    let place = vault.view().row(&first).expect("it is here").namespace;
    done.texts.retain(|known| *known != text);
    done.unsure.push(text.clone());
    vault.redact(&place, &[first], "a mistake")?;
    done.unsure.retain(|known| *known != text);
    done.redacted.push(first);

    // Gone with its file.
    done.texts.retain(|known| *known != long);
    vault.redact(&notes, &[large], "")?;
    done.unsure.retain(|known| *known != long);
    done.redacted.push(large);

    vault.rotate_full(&[notes, other])?;
    done.unsure.push("the last".to_owned());
    add(vault, &notes, "the last")?;
    done.texts.push("the last".to_owned());
    Ok(())
}

/// A vault whose session costs no passphrase.
fn prepared() -> (Sim, Computer) {
    static PREPARED: OnceLock<Sim> = OnceLock::new();
    let disk = PREPARED.get_or_init(|| {
        let (disk, computer) = (Sim::new(), Computer::new(21));
        let (mut vault, _) = computer.create(&disk, &["notes"]);
        support::admit_device(&mut vault);
        drop(vault);
        disk.reboot(Survives::Synced)
    });
    (disk.copy(), Computer::new(22))
}

fn open(disk: &Sim, computer: &Computer) -> Result<Vault, OpenError> {
    computer.open(disk, Open::writing(Key::Member(support::device())))
}

/// What must hold after anything.
fn check(disk: &Sim, computer: &Computer, done: &Acknowledged, when: &str) {
    let mut vault = open(disk, computer).unwrap_or_else(|error| panic!("{when}: {error}"));
    let found = texts(&mut vault);
    for text in &done.texts {
        assert!(
            found.contains(text),
            "{when}: {} was acknowledged and is lost",
            &text[..text.len().min(40)]
        );
    }
    for text in &found {
        assert!(
            done.texts.contains(text) || done.unsure.contains(text),
            "{when}: {} came from nowhere",
            &text[..text.len().min(40)]
        );
    }
    for id in &done.redacted {
        assert!(vault.get(id).is_err(), "{when}: what was redacted is back");
    }
    let odd: Vec<_> = vault
        .check()
        .expect("the folder can be read")
        .into_iter()
        .filter(|found| {
            !matches!(
                found.code,
                // What an interruption may leave, each harmless.
                Code::BlobUnneeded | Code::KeyringForeign | Code::FileDoubled | Code::TailCut
                // Revoked and not yet rotated.
                | Code::KeySpoiled
            )
        })
        .collect();
    assert!(odd.is_empty(), "{when}: {odd:?}");
    // It can be written on.
    let notes = vault.namespace("notes").expect("it was made");
    add(&mut vault, &notes, "after it").unwrap_or_else(|error| panic!("{when}: {error}"));
}

fn steps_of_a_session() -> u64 {
    let (disk, computer) = prepared();
    disk.arm(u64::MAX, Fault::Cut);
    let mut done = Acknowledged::default();
    session(&mut open(&disk, &computer).expect("it opens"), &mut done).expect("nothing fails");
    let steps = disk.steps();
    check(&disk, &computer, &done, "without a fault");
    steps
}

fn every_step(fault: Fault, survives: &[Survives]) {
    let steps = steps_of_a_session();
    assert!(steps > 100, "the session writes: {steps} steps");
    for step in 1..=steps {
        let (disk, computer) = prepared();
        disk.arm(step, fault);
        let mut done = Acknowledged::default();
        let error = match open(&disk, &computer) {
            Ok(mut vault) => session(&mut vault, &mut done).err(),
            Err(_) => None,
        };
        let last = disk.trace().last().cloned().unwrap_or_default();
        disk.disarm();
        for kind in survives {
            let after = disk.reboot(*kind);
            check(
                &after,
                &computer,
                &done,
                &format!("{fault:?} at step {step} ({last}), {kind:?}, {error:?}"),
            );
        }
    }
}

#[test]
fn the_power_goes_at_every_step_and_only_what_was_synced_survives() {
    every_step(Fault::Cut, &[Survives::Synced]);
}

#[test]
fn the_power_goes_at_every_step_and_everything_written_survives() {
    every_step(Fault::Cut, &[Survives::Everything]);
}

#[test]
fn the_power_goes_at_every_step_and_some_of_the_rest_survives() {
    every_step(Fault::Cut, &[Survives::Some(1), Survives::Some(2)]);
}

#[test]
fn every_step_fails_once() {
    every_step(Fault::FailOnce, &[Survives::Everything, Survives::Synced]);
}

#[test]
fn the_disk_is_full_from_every_step_on() {
    every_step(Fault::Full, &[Survives::Everything]);
}

#[test]
fn a_writer_goes_on_after_the_disk_was_full() {
    let (disk, computer) = prepared();
    let mut vault = open(&disk, &computer).expect("it opens");
    let notes = vault.namespace("notes").expect("it was made");
    add(&mut vault, &notes, "before").expect("written");
    disk.arm(1, Fault::Full);
    let error = add(&mut vault, &notes, "no room").expect_err("the disk is full");
    assert!(error.is_disk_full(), "{error}");
    disk.disarm();
    add(&mut vault, &notes, "room again").expect("written");
    drop(vault);
    let mut vault = open(&disk.reboot(Survives::Synced), &computer).expect("it opens");
    assert_eq!(texts(&mut vault), ["before", "room again"]);
}

#[test]
fn making_a_vault_leaves_a_vault_or_none() {
    let steps = {
        let (disk, computer) = (Sim::new(), Computer::new(22));
        disk.arm(u64::MAX, Fault::Cut);
        computer.create(&disk, &["notes"]);
        disk.steps()
    };
    for step in 1..=steps {
        let (disk, computer) = (Sim::new(), Computer::new(22));
        disk.arm(step, Fault::Cut);
        let create = tally_vault::Create {
            passphrase: PASSPHRASE,
            cost: SlotCost::LEAST,
            namespaces: &["notes"],
        };
        let made = Vault::create(computer.environment(&disk), &computer.place, &create).is_ok();
        for kind in [Survives::Synced, Survives::Some(3)] {
            let after = disk.reboot(kind);
            let is_vault = after.files().contains_key(Path::new("/vault/VAULT"));
            assert!(is_vault || !made, "step {step}: made and gone");
            if is_vault {
                let mut vault = computer.write(&after);
                let notes = vault.namespace("notes").expect("a whole vault");
                add(&mut vault, &notes, "usable").expect("written");
            }
        }
    }
}

#[test]
fn a_change_of_passphrase_leaves_the_old_or_the_new() {
    let (disk, computer) = (Sim::new(), Computer::new(23));
    drop(computer.create(&disk, &["notes"]));
    let disk = disk.reboot(Survives::Synced);
    for step in 1.. {
        let disk = disk.copy();
        let mut vault = computer.write(&disk);
        disk.arm(step, Fault::Cut);
        let changed = vault.change_passphrase("new", SlotCost::LEAST);
        drop(vault);
        if disk.steps() < step {
            changed.expect("nothing failed");
            break;
        }
        for kind in [Survives::Synced, Survives::Everything] {
            let after = disk.reboot(kind);
            let new = computer
                .open(&after, Open::reading(Key::Passphrase("new")))
                .is_ok();
            let old = computer
                .open(&after, Open::reading(Key::Passphrase(PASSPHRASE)))
                .is_ok();
            assert!(new || (old && changed.is_err()), "step {step}, {kind:?}");
        }
    }
}

#[test]
fn a_tail_that_lost_its_name_is_not_written_to() {
    let (disk, computer) = prepared();
    let mut vault = open(&disk, &computer).expect("it opens");
    let notes = vault.namespace("notes").expect("it was made");
    add(&mut vault, &notes, "before").expect("written");
    let tail = disk
        .files()
        .into_keys()
        .find(|path| path.starts_with("/vault/tail"))
        .expect("the device's tail");
    let bytes = disk.files()[&tail].clone();
    // A sync tool sets it aside under another name.
    disk.take(&tail);
    disk.put(&tail.with_file_name("conflicted copy.log"), &bytes);
    vault
        .append(&notes, vec![Change::Add(support::record(b"after"))])
        .expect("written");
    drop(vault);
    let mut vault = open(&disk.reboot(Survives::Synced), &computer).expect("it opens");
    assert_eq!(texts(&mut vault), ["after", "before"]);
}

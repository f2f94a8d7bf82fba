//! Grants that have ended are closed by whoever stands above them and opens the vault for writing.

mod support;

use std::path::Path;
use std::sync::atomic::Ordering;

use support::sim::Sim;
use support::{Computer, START_MS, add, agent, codes, texts};
use tally_vault::format::{GrantId, NamespaceId, Right, Time};
use tally_vault::state::GrantStanding;
use tally_vault::{Key, Open, Share, Vault};

const HOUR: u64 = 60 * 60 * 1_000;
const DAY: u64 = 24 * HOUR;

fn give(vault: &mut Vault, namespace: NamespaceId, end_ms: u64) -> GrantId {
    let share = Share {
        card: *agent(1).card(),
        rights: vec![(namespace, Right::Append)],
        expires: Some(Time::from_millis(end_ms)),
        depth: 0,
    };
    vault.share(&share).expect("shared")
}

fn at(computer: &Computer, ms: u64) {
    computer.clock.0.store(ms, Ordering::Relaxed);
}

/// A vault with a grant for an agent that ends after an hour.
fn shared() -> (Sim, Computer, GrantId, NamespaceId) {
    let (disk, computer) = (Sim::new(), Computer::new(31));
    let (mut vault, _) = computer.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    let grant = give(&mut vault, notes, START_MS + HOUR);
    add(&mut vault, &notes, "of the owner").expect("written");
    (disk, computer, grant, notes)
}

fn agents(disk: &Sim, computer: &Computer, write: bool) -> Vault {
    let options = match write {
        true => Open::writing(Key::Member(agent(1))),
        false => Open::reading(Key::Member(agent(1))),
    };
    computer.open(disk, options).expect("it opens")
}

fn standing(vault: &mut Vault, grant: GrantId) -> GrantStanding {
    let rows = vault.grants();
    rows.into_iter()
        .find(|row| row.id == grant)
        .expect("it is here")
        .standing
}

#[test]
fn a_grant_that_ended_is_closed_when_its_giver_opens_the_vault() {
    let (disk, computer, grant, notes) = shared();
    at(&computer, START_MS + HOUR + 1);
    let mut vault = computer.write(&disk);
    let closed = vault.closed_when_opened().clone();
    assert_eq!(closed.grants, [grant]);
    assert_eq!((closed.rotated, closed.not_rotated), (vec![notes], vec![]));
    assert_ne!(standing(&mut vault, grant), GrantStanding::Valid);
    assert_eq!(codes(&mut vault), [""; 0]);
    add(&mut vault, &notes, "for the owner alone").expect("written");
    drop(vault);

    let mut vault = agents(&disk, &Computer::new(32), false);
    assert_eq!(texts(&mut vault), ["of the owner"]);
    drop(vault);
    // Once is enough.
    let vault = computer.write(&disk);
    assert_eq!(vault.closed_when_opened().grants, []);
}

#[test]
fn what_is_dated_back_and_comes_after_the_closing_does_not_count() {
    let (disk, computer, _, notes) = shared();
    disk.copy_folder(Path::new("/vault"), Path::new("/copy"));
    at(&computer, START_MS + HOUR + 1);
    drop(computer.write(&disk));

    // The agent's own clock stands still, and it has not seen the revocation.
    let other = Computer::new(33).with_folder("/copy");
    let mut vault = agents(&disk, &other, true);
    add(&mut vault, &notes, "dated back").expect("its own copy takes it");
    drop(vault);

    let mut vault = computer.write(&disk);
    vault.merge_folder(Path::new("/copy")).expect("merged");
    assert_eq!(texts(&mut vault), ["of the owner"]);
    assert_eq!(codes(&mut vault), ["operation.void"]);
}

#[test]
fn what_was_written_before_the_end_and_is_here_keeps_counting() {
    let (disk, computer, _, notes) = shared();
    let mut vault = agents(&disk, &Computer::new(34), true);
    add(&mut vault, &notes, "in time").expect("written");
    drop(vault);
    at(&computer, START_MS + 2 * HOUR);
    let mut vault = computer.write(&disk);
    assert_eq!(texts(&mut vault), ["in time", "of the owner"]);
}

#[test]
fn who_only_reads_or_stands_below_closes_nothing() {
    let (disk, computer, grant, _) = shared();
    at(&computer, START_MS + HOUR + 1);
    let mut vault = computer.read(&disk);
    assert_eq!(vault.closed_when_opened().grants, []);
    assert_eq!(codes(&mut vault), ["grant.expired"]);
    drop(vault);
    let late = Computer::new(35);
    at(&late, START_MS + HOUR + 1);
    let mut vault = agents(&disk, &late, true);
    assert_eq!(vault.closed_when_opened().grants, []);
    assert_eq!(standing(&mut vault, grant), GrantStanding::Valid);
}

#[test]
fn a_grant_that_runs_is_left_alone_and_so_is_a_newer_one_of_the_same_agent() {
    let (disk, computer, grant, notes) = shared();
    let mut vault = computer.write(&disk);
    assert_eq!(vault.closed_when_opened().grants, []);
    let newer = give(&mut vault, notes, START_MS + DAY);
    drop(vault);
    at(&computer, START_MS + HOUR + 1);
    let mut vault = computer.write(&disk);
    assert_eq!(vault.closed_when_opened().grants, [grant]);
    assert_eq!(standing(&mut vault, newer), GrantStanding::Valid);
    add(&mut vault, &notes, "under the new key").expect("written");
    drop(vault);
    let late = Computer::new(36);
    at(&late, START_MS + HOUR + 2);
    let mut vault = agents(&disk, &late, true);
    assert_eq!(texts(&mut vault), ["of the owner", "under the new key"]);
    add(&mut vault, &notes, "of the agent").expect("it may still write");
}

#[test]
fn another_computer_leaves_it_to_the_giver_for_a_week() {
    let (disk, _, grant, _) = shared();
    let other = Computer::new(37);
    for (after, closed) in [(DAY, vec![]), (7 * DAY + HOUR, vec![grant])] {
        at(&other, START_MS + HOUR + after);
        let vault = other.write(&disk);
        assert_eq!(vault.closed_when_opened().grants, closed, "after {after}");
    }
}

#[test]
fn a_disk_that_is_full_leaves_the_grant_to_the_next_opening() {
    let (disk, computer, grant, _) = shared();
    at(&computer, START_MS + HOUR + 1);
    disk.arm(1, support::sim::Fault::Full);
    // Opening notes nothing new here, so that what fails is the closing.
    if let Ok(mut vault) = computer.open(&disk, Open::writing(Key::Passphrase(support::PASSPHRASE)))
    {
        assert_eq!(vault.closed_when_opened().grants, []);
        assert_eq!(standing(&mut vault, grant), GrantStanding::Valid);
    }
    disk.disarm();
    let vault = computer.write(&disk);
    assert_eq!(vault.closed_when_opened().grants, [grant]);
}

#[test]
fn whoever_is_stopped_between_closing_and_new_keys_leaves_the_keys_to_the_next_opening() {
    let mut stopped_between = 0;
    for operation in 1.. {
        let (disk, computer, grant, notes) = shared();
        at(&computer, START_MS + HOUR + 1);
        disk.arm(operation, support::sim::Fault::Full);
        let opened = computer.open(&disk, Open::writing(Key::Passphrase(support::PASSPHRASE)));
        let whole = opened.is_ok_and(|vault| vault.closed_when_opened().rotated == [notes]);
        disk.disarm();

        let mut vault = computer.write(&disk);
        let second = vault.closed_when_opened().clone();
        if second.grants.is_empty() && second.rotated == [notes] {
            stopped_between += 1;
        }
        assert_ne!(standing(&mut vault, grant), GrantStanding::Valid);
        // A keyring may be left whose rotation was never written: nobody uses it.
        let mut found = codes(&mut vault);
        found.retain(|code| *code != "keyring.foreign");
        assert_eq!(found, [""; 0], "stopped at {operation}");
        add(&mut vault, &notes, "for the owner alone").expect("written");
        drop(vault);
        let mut vault = agents(&disk, &Computer::new(38), false);
        assert_eq!(
            texts(&mut vault),
            ["of the owner"],
            "stopped at {operation}"
        );
        if whole {
            break;
        }
    }
    assert!(stopped_between > 0, "no operation lies between the two");
}

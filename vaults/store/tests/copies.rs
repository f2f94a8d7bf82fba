//! Copies that diverged come together: by a portable file, by folder, in any order; and what is forgotten stays forgotten.

mod support;

use std::path::Path;

use support::sim::Sim;
use support::{Computer, add, codes, record, texts};
use tally_vault::{Change, ImportError, ReadError, unpack};

fn two_copies() -> (Sim, Computer, Computer) {
    let (disk, here) = (Sim::new(), Computer::new(41));
    let (mut vault, _) = here.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    add(&mut vault, &notes, "before").expect("written");
    drop(vault);
    disk.copy_folder(Path::new("/vault"), Path::new("/copy"));
    let there = Computer::new(42).with_folder("/copy");
    let mut vault = here.write(&disk);
    add(&mut vault, &notes, "here").expect("written");
    add(&mut vault, &notes, &"large here ".repeat(8_000)).expect("written");
    drop(vault);
    let mut vault = there.write(&disk);
    add(&mut vault, &notes, "there").expect("written");
    add(&mut vault, &notes, &"large there ".repeat(8_000)).expect("written");
    (disk, here, there)
}

#[test]
fn folders_merge_to_one_state_in_either_direction() {
    let (disk, here, there) = two_copies();
    let mut a = here.write(&disk);
    let taken = a.merge_folder(&there.place.folder).expect("merged");
    assert_eq!((taken.refused, taken.blobs), (0, 1));
    assert!(taken.frames >= 3);
    assert_eq!(
        a.merge_folder(&there.place.folder).expect("merged").frames,
        0,
        "nothing is new the second time"
    );
    let mut b = there.write(&disk);
    b.merge_folder(&here.place.folder).expect("merged");
    assert_eq!(a.state_hash(), b.state_hash());
    assert_eq!(texts(&mut a), texts(&mut b));
    assert_eq!(texts(&mut a).len(), 5);
    assert_eq!(codes(&mut a), Vec::<&str>::new());
    assert_eq!(codes(&mut b), Vec::<&str>::new());
}

#[test]
fn a_portable_file_carries_everything() {
    let (disk, here, there) = two_copies();
    let mut a = here.write(&disk);
    let mut file = Vec::new();
    let exported = a.export(&mut file).expect("exported");
    assert_eq!(
        (exported.bytes, exported.blobs, exported.blobs_missing),
        (file.len() as u64, 1, 0)
    );
    let mut b = there.write(&disk);
    b.import(&mut file.as_slice()).expect("imported");
    let mut back = Vec::new();
    b.export(&mut back).expect("exported");
    a.import(&mut back.as_slice()).expect("imported");
    assert_eq!(a.state_hash(), b.state_hash());
    assert_eq!(codes(&mut a), Vec::<&str>::new());

    // And to a computer that had no copy.
    let third = Computer::new(43).with_folder("/third");
    let id =
        unpack(third.environment(&disk), &third.place, &mut back.as_slice()).expect("unpacked");
    assert_eq!(id, a.id());
    let mut c = third.read(&disk);
    assert_eq!(c.state_hash(), a.state_hash());
    assert_eq!(texts(&mut c), texts(&mut a));
    assert_eq!(codes(&mut c), Vec::<&str>::new());
}

#[test]
fn a_portable_file_that_does_not_hold_changes_nothing() {
    let (disk, here, there) = two_copies();
    let mut file = Vec::new();
    here.write(&disk).export(&mut file).expect("exported");
    let mut b = there.write(&disk);
    let before = b.state_hash();
    let files = disk.files();
    for at in (0..file.len()).step_by(file.len() / 40) {
        let error = b.import(&mut &file[..at]).expect_err("it was cut");
        assert!(matches!(error, ImportError::Portable(_)), "{error}");
        let mut altered = file.clone();
        altered[at] ^= 1;
        b.import(&mut altered.as_slice())
            .expect_err("it was altered");
    }
    assert_eq!(b.state_hash(), before);
    assert!(disk.files() == files, "nothing is left in the folder");
}

#[test]
fn a_redaction_reaches_the_other_copies_and_what_they_bring_back() {
    let (disk, here, there) = two_copies();
    let mut a = here.write(&disk);
    let mut b = there.write(&disk);
    a.merge_folder(&there.place.folder).expect("merged");
    b.merge_folder(&here.place.folder).expect("merged");
    let notes = a.namespace("notes").expect("it was made");
    let large = a
        .view()
        .current()
        .into_iter()
        .find(|id| support::text(&mut b, id).starts_with("large there"))
        .expect("written there");
    let redacted = a.redact(&notes, &[large], "private").expect("redacted");
    assert_eq!((redacted.boxes, redacted.blobs.len()), (1, 1));
    assert!(!redacted.remains.is_empty());
    assert!(matches!(a.get(&large), Err(ReadError::Redacted(_))));
    // The other copy still has the body, and brings it: it does not come back.
    a.merge_folder(&there.place.folder).expect("merged");
    assert!(matches!(a.get(&large), Err(ReadError::Redacted(_))));
    assert_eq!(
        disk.files()
            .keys()
            .filter(|path| path.starts_with("/vault/blob"))
            .count(),
        1
    );
    // The redaction goes there, and is followed there.
    b.merge_folder(&here.place.folder).expect("merged");
    assert!(matches!(b.get(&large), Err(ReadError::Redacted(_))));
    assert_eq!(
        disk.files()
            .keys()
            .filter(|path| path.starts_with("/copy/blob"))
            .count(),
        1
    );
    assert_eq!(a.state_hash(), b.state_hash());
    assert_eq!(codes(&mut a), Vec::<&str>::new());
    assert_eq!(codes(&mut b), Vec::<&str>::new());
}

#[test]
fn two_records_of_one_box_are_redacted_one_after_the_other() {
    let (disk, here) = (Sim::new(), Computer::new(44));
    let (mut vault, _) = here.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    let changes = ["one", "two", "three"].map(|text| Change::Add(record(text.as_bytes())));
    let ids = vault.append(&notes, changes.into()).expect("written");
    for (left, id) in [(2, ids[0]), (1, ids[2])] {
        assert_eq!(vault.redact(&notes, &[id], "").expect("redacted").boxes, 1);
        assert_eq!(texts(&mut vault).len(), left);
    }
    assert_eq!(codes(&mut vault), Vec::<&str>::new());
    drop(vault);
    let mut vault = here.write(&disk);
    assert_eq!(texts(&mut vault), ["two"]);
    assert_eq!(
        vault.finish_redactions().expect("done").0,
        0,
        "nothing is left to do"
    );
    assert_eq!(codes(&mut vault), Vec::<&str>::new());
}

#[test]
fn after_a_rotation_in_full_the_old_keys_are_gone() {
    let (disk, here) = (Sim::new(), Computer::new(45));
    let (mut vault, _) = here.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    for number in 0..5 {
        add(&mut vault, &notes, &format!("note {number}")).expect("written");
    }
    vault.rotate(&notes).expect("rotated");
    add(&mut vault, &notes, "after the first rotation").expect("written");
    let hash = vault.state_hash();
    let done = vault.rotate_full(&[notes]).expect("rotated in full");
    assert_eq!((done.boxes, done.left), (6, 0));
    assert!(done.keyrings >= 2);
    assert_ne!(vault.state_hash(), hash, "the rotation is an operation");
    let read = texts(&mut vault);
    assert_eq!(read.len(), 6);
    assert_eq!(codes(&mut vault), Vec::<&str>::new());
    drop(vault);
    assert_eq!(
        disk.files()
            .keys()
            .filter(|path| path.starts_with("/vault/keys"))
            .count(),
        1
    );
    let mut vault = here.write(&disk);
    assert_eq!(texts(&mut vault), read);
    add(&mut vault, &notes, "and on").expect("written");
    assert_eq!(codes(&mut vault), Vec::<&str>::new());
}

#[test]
fn the_clock_goes_back_ten_years_and_times_go_on() {
    let (disk, here) = (Sim::new(), Computer::new(46));
    let (mut vault, _) = here.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    let first = add(&mut vault, &notes, "now").expect("written");
    drop(vault);
    here.clock.0.store(
        support::START_MS - 10 * 365 * 86_400_000,
        std::sync::atomic::Ordering::Relaxed,
    );
    let mut vault = here.write(&disk);
    let second = add(&mut vault, &notes, "ten years before").expect("written");
    let time = |vault: &mut tally_vault::Vault, id| vault.view().row(&id).expect("it is here").time;
    assert!(time(&mut vault, second) > time(&mut vault, first));
    assert_eq!(texts(&mut vault).len(), 2);
    assert_eq!(codes(&mut vault), Vec::<&str>::new());
}

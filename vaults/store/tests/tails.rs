//! A tail and its room: zeros written ahead, over which the next frames go.

mod support;

use std::path::PathBuf;

use support::sim::Sim;
use support::{Computer, add, codes, texts};
use tally_vault::format::NamespaceId;
use tally_vault::{Change, Key, Open, Vault};

fn prepared() -> (Sim, Computer, NamespaceId) {
    let (disk, computer) = (Sim::new(), Computer::new(41));
    let (mut vault, _) = computer.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    support::admit_device(&mut vault);
    (disk, computer, notes)
}

fn open(disk: &Sim, computer: &Computer, write: bool) -> Vault {
    let key = Key::Member(support::device());
    let options = match write {
        true => Open::writing(key),
        false => Open::reading(key),
    };
    computer.open(disk, options).expect("it opens")
}

/// The tail of the device, its bytes, and where its room begins.
fn tail(disk: &Sim) -> (PathBuf, Vec<u8>, usize) {
    let name = format!("/vault/tail/{}.log", support::device().member());
    let path = PathBuf::from(name);
    let bytes = disk.files()[&path].clone();
    // Good enough here: a frame of these tests does not end in zeros.
    let room = bytes.iter().rposition(|byte| *byte != 0).expect("frames") + 1;
    (path, bytes, room)
}

#[test]
fn an_append_into_the_room_changes_neither_the_length_nor_what_is_before() {
    let (disk, computer, notes) = prepared();
    let mut vault = open(&disk, &computer, true);
    add(&mut vault, &notes, "one").expect("written");
    let (_, before, room) = tail(&disk);
    assert!(before.len() > room + 8_192, "there is room");
    add(&mut vault, &notes, "two").expect("written");
    let (_, after, _) = tail(&disk);
    assert_eq!(after.len(), before.len());
    assert_eq!(after[..room], before[..room]);
    drop(vault);

    // Opened again it is continued in place.
    let mut vault = open(&disk, &computer, true);
    add(&mut vault, &notes, "three").expect("written");
    assert_eq!(tail(&disk).1.len(), before.len());
    assert_eq!(texts(&mut vault), ["one", "three", "two"]);
    assert_eq!(codes(&mut vault), [""; 0]);
}

#[test]
fn room_grows_with_the_tail_and_is_gone_from_the_segment() {
    let (disk, computer, notes) = prepared();
    let mut vault = open(&disk, &computer, true);
    let text = "m".repeat(40_000);
    let mut lengths = Vec::new();
    for _ in 0..120 {
        let record = support::record(text.as_bytes());
        vault
            .append(&notes, vec![Change::Add(record)])
            .expect("written");
        lengths.push(tail(&disk).1.len());
    }
    lengths.dedup();
    assert!(lengths.len() < 20, "the length changes seldom: {lengths:?}");
    let files = disk.files();
    let mut segments = files
        .iter()
        .filter(|(path, bytes)| path.starts_with("/vault/seg") && bytes.len() > 4 << 20);
    let (_, segment) = segments.next().expect("a tail became a segment");
    assert!(segment.len() < (4 << 20) + 100_000);
    drop(vault);
    let mut vault = open(&disk, &computer, false);
    assert_eq!(vault.view().current().len(), 120);
    assert_eq!(codes(&mut vault), [""; 0]);
}

#[test]
fn another_process_sees_what_was_written_into_the_room() {
    let (disk, computer, notes) = prepared();
    let mut writer = open(&disk, &computer, true);
    add(&mut writer, &notes, "one").expect("written");
    let mut reader = open(&disk, &computer, false);
    assert_eq!(texts(&mut reader), ["one"]);
    add(&mut writer, &notes, "two").expect("written");
    reader.refresh().expect("read");
    assert_eq!(texts(&mut reader), ["one", "two"]);
}

#[test]
fn what_did_not_reach_the_disk_whole_is_cut_before_anything_is_written_over_it() {
    let (disk, computer, notes) = prepared();
    let mut vault = open(&disk, &computer, true);
    add(&mut vault, &notes, "acknowledged").expect("written");
    let (path, _, start) = tail(&disk);
    add(&mut vault, &notes, &"under way ".repeat(200)).expect("written");
    drop(vault);
    let (_, whole, end) = tail(&disk);
    let sectors = (start / 512)..end.div_ceil(512);
    assert!(sectors.len() > 4);
    for missing in sectors {
        let disk = disk.copy();
        let mut torn = whole.clone();
        let (from, to) = ((missing * 512).max(start), (missing * 512 + 512).min(end));
        torn[from..to].fill(0);
        disk.put(&path, &torn);
        // Its author has seen more than is here, and a stranger has not.
        let other = Computer::new(42);
        let mut vault = open(&disk, &other, false);
        assert_eq!(texts(&mut vault), ["acknowledged"], "sector {missing}");
        assert_eq!(codes(&mut vault), ["tail.cut"], "sector {missing}");
        drop(vault);
        let mut vault = open(&disk, &other, true);
        add(&mut vault, &notes, "next").expect("written");
        drop(vault);
        let mut vault = open(&disk, &other, false);
        assert_eq!(texts(&mut vault), ["acknowledged", "next"]);
        assert_eq!(codes(&mut vault), [""; 0], "sector {missing}");
    }
}

#[test]
fn a_damaged_length_in_front_takes_no_frame_along() {
    let (disk, computer, notes) = prepared();
    let mut vault = open(&disk, &computer, true);
    add(&mut vault, &notes, "one").expect("written");
    let (path, _, start) = tail(&disk);
    add(&mut vault, &notes, "two").expect("written");
    add(&mut vault, &notes, "three").expect("written");
    drop(vault);
    let (_, mut bytes, _) = tail(&disk);
    bytes[start + 3] ^= 0x40;
    disk.put(&path, &bytes);
    let mut vault = open(&disk, &computer, true);
    assert_eq!(texts(&mut vault), ["one", "three"]);
    assert_eq!(codes(&mut vault), ["frame.damaged", "seal.gap"]);
    add(&mut vault, &notes, "four").expect("written");
    drop(vault);
    let mut vault = open(&disk, &computer, false);
    assert_eq!(texts(&mut vault), ["four", "one", "three"]);
}

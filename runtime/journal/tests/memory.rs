//! What it costs to read a file that somebody made to cost much. In a binary of its own: what is measured is all of this process.

mod common;

use tally_journal::{Journal, JournalError};

/// The most memory that this process has had, in bytes.
#[cfg(target_os = "linux")]
fn most() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

/// A good beginning, and then the same frame again and again.
fn repeated(beginning: &[u8], frame: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(beginning.len() + len + frame.len());
    bytes.extend_from_slice(beginning);
    while bytes.len() < beginning.len() + len {
        bytes.extend_from_slice(frame);
    }
    bytes
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_of_the_smallest_frames_costs_no_multiple_of_its_length() {
    const LEN: usize = 48 << 20;
    let good = common::small_ended(7);
    let entries = Journal::parse(&good[..]).unwrap().len();
    let header = &good[..common::HEADER_LEN];
    let whole = common::frame(b"");
    let mut bad = whole.clone();
    bad[5] ^= 1;
    for (beginning, frame) in [
        (header, &bad),
        (header, &whole),
        (&good[..], &bad),
        (&good[..], &whole),
    ] {
        let bytes = repeated(beginning, frame, LEN);
        let before = most();
        match Journal::recover(bytes) {
            Ok((journal, torn)) => {
                assert_eq!(journal.len(), entries);
                assert_eq!(torn.unwrap().offset, good.len());
            }
            Err(fault) => assert!(
                !matches!(fault, JournalError::NotAJournal) && fault.code() != "journal.empty",
                "{fault}"
            ),
        }
        // The kernel adds up what threads have counted apart, so the mark may be seen a little lower than before.
        let more = most().saturating_sub(before);
        assert!(more < LEN / 2, "{more} bytes more for a file of {LEN}");
    }
}

/// Rot that is longer than anything a crash leaves is left out too, unless a whole frame follows it.
#[test]
fn a_whole_frame_far_behind_bad_ones_is_found() {
    let good = common::small_ended(7);
    let frames = common::frames(&good);
    let last = &good[frames.last().unwrap().offset..];
    let before = &good[..frames.last().unwrap().offset];
    let mut bytes = repeated(before, &[0; 12], 1 << 20);
    let (journal, torn) = Journal::recover(&bytes[..]).unwrap();
    assert_eq!(journal.len(), common::SMALL_ENTRIES - 1);
    assert_eq!(torn.unwrap().offset, before.len());
    bytes.extend_from_slice(last);
    assert!(matches!(
        Journal::recover(bytes),
        Err(JournalError::Altered { .. })
    ));
}

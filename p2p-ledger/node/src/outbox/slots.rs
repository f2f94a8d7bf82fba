//! What a file of frames has of which a disk may have damaged some.
//!
//! What a crash leaves stands at the end, and was never acknowledged. So bytes that are no frame and have a whole one behind them
//! were frames once: acknowledged, and damaged since. (Of several frames that were written at once, a power cut may have left the
//! last and not the first: that is taken for damage, too, and nothing is lost by it.) Where the last frames of all are damaged, that
//! cannot be told from what a crash leaves, unless they were settled: then they are missing in the count.

use crate::frames::{HEAD, put, wanted, whole};

/// The first byte of the payload that stands for records which could not be read any more: how many, u64, follows.
const LOST: u8 = 0;

/// A piece of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slot<'a> {
    /// A frame's payload.
    Whole(&'a [u8]),
    /// Bytes before a whole frame that are none: so many frames once, if their lengths are not damaged.
    Damaged(Option<u64>),
}

impl Slot<'_> {
    /// For how many records it stands, as far as that is known: at least for one.
    pub(super) fn records(&self) -> u64 {
        match self {
            Self::Whole(payload) => lost(payload).unwrap_or(1),
            Self::Damaged(count) => count.unwrap_or(1),
        }
    }

    pub(super) const fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

/// The pieces of a file up to its last whole frame, and how many bytes they take.
pub(super) fn slots(bytes: &[u8]) -> (Vec<Slot<'_>>, usize) {
    let (mut slots, mut at) = (Vec::new(), 0);
    loop {
        while let Some(payload) = whole(&bytes[at..]) {
            slots.push(Slot::Whole(payload));
            at += HEAD + payload.len();
        }
        let Some(next) = (at + 1..bytes.len()).find(|next| whole(&bytes[*next..]).is_some()) else {
            return (slots, at);
        };
        slots.push(Slot::Damaged(frames_between(&bytes[at..next])));
        at = next;
    }
}

/// How many frames these bytes were by the lengths in them, if those lead to their end.
fn frames_between(mut bytes: &[u8]) -> Option<u64> {
    let mut count = 0;
    while !bytes.is_empty() {
        let length = wanted(bytes);
        bytes = bytes.get(length..).filter(|_| length > 0)?;
        count += 1;
    }
    Some(count)
}

/// How many records there are in these pieces, as far as that is known.
pub(super) fn records(slots: &[Slot<'_>]) -> u64 {
    let each = slots.iter().map(Slot::records);
    each.fold(0, u64::saturating_add)
}

/// For how many records that could not be read any more a payload stands, if it does.
pub(super) fn lost(payload: &[u8]) -> Option<u64> {
    let (&LOST, count) = payload.split_first()? else {
        return None;
    };
    let count = u64::from_be_bytes(count.try_into().ok()?);
    (count > 0).then_some(count)
}

/// A file of receipts in which every record has its number again, and how many were lost that waited.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mended {
    pub(super) bytes: Vec<u8>,
    pub(super) lost: u64,
}

/// Mends a file of receipts: what is before the damage stays as it is; what is behind it follows on a frame that stands for whatever
/// was lost. `first` is the number of its first record, `next` that of the next file's. None if nothing is missing.
/// In the last file that can only be seen as far as its records are settled.
///
/// Where it is not known how many were lost before some record, that one gets the highest number that it may have had: so it may be
/// settled twice, but counts as settled only if it was.
pub(super) fn mended(bytes: &[u8], first: u64, next: Option<u64>, settled: u64) -> Option<Mended> {
    let (slots, _) = slots(bytes);
    let damage = slots.iter().position(Slot::is_damaged);
    let (before, behind) = slots.split_at(damage.unwrap_or(slots.len()));
    let begin = first.saturating_add(records(before));
    let left: Vec<&[u8]> = behind
        .iter()
        .filter_map(|slot| match slot {
            Slot::Whole(payload) => Some(*payload),
            Slot::Damaged(_) => None,
        })
        .collect();
    let count = left
        .iter()
        .map(|payload| lost(payload).unwrap_or(1))
        .fold(0, u64::saturating_add);
    // Those at the end of the last file that were there once, since they are settled.
    let mut ended = 0;
    let resumed = match next {
        Some(next) if begin >= next => return None,
        Some(next) => next.saturating_sub(count),
        None => {
            let all = begin.saturating_add(records(behind));
            let resumed = all.saturating_sub(count);
            let resumed = match behind.contains(&Slot::Damaged(None)) {
                true => resumed.max(settled),
                false => resumed,
            };
            ended = settled.saturating_sub(resumed.saturating_add(count));
            if damage.is_none() && ended == 0 {
                return None;
            }
            resumed
        }
    };
    let mut bytes = Vec::new();
    for slot in before {
        if let Slot::Whole(payload) = slot {
            put(payload, &mut bytes);
        }
    }
    let put_lost = |count: u64, bytes: &mut Vec<u8>| {
        if count > 0 {
            put(&[&[LOST], &count.to_be_bytes()[..]].concat(), bytes);
        }
    };
    put_lost(resumed.saturating_sub(begin), &mut bytes);
    for payload in left {
        put(payload, &mut bytes);
    }
    put_lost(ended, &mut bytes);
    Some(Mended {
        bytes,
        lost: resumed.saturating_sub(begin.max(settled)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of five frames, each with the same length.
    const PAYLOAD: usize = 20;
    const FRAME: usize = HEAD + PAYLOAD;

    fn payload(n: u8) -> [u8; PAYLOAD] {
        [n; PAYLOAD]
    }

    fn file() -> Vec<u8> {
        let mut bytes = Vec::new();
        for n in 1..=5 {
            put(&payload(n), &mut bytes);
        }
        bytes
    }

    /// The file with a byte of each of these frames altered.
    fn altered(frames: &[usize], byte: usize) -> Vec<u8> {
        let mut bytes = file();
        for frame in frames {
            bytes[frame * FRAME + byte] ^= 0x40;
        }
        bytes
    }

    fn lost_frame(count: u64) -> Vec<u8> {
        [&[LOST], &count.to_be_bytes()[..]].concat()
    }

    fn payloads(bytes: &[u8]) -> Vec<Vec<u8>> {
        let (slots, end) = slots(bytes);
        assert_eq!(end, bytes.len());
        slots
            .iter()
            .map(|slot| match slot {
                Slot::Whole(payload) => payload.to_vec(),
                Slot::Damaged(_) => panic!("it is damaged"),
            })
            .collect()
    }

    #[test]
    fn whatever_byte_is_altered_the_frames_around_it_are_found() {
        for frame in 0..4 {
            for byte in 0..FRAME {
                let bytes = altered(&[frame], byte);
                let (slots, end) = slots(&bytes);
                assert_eq!(end, bytes.len());
                let found: Vec<_> = slots.iter().map(Slot::is_damaged).collect();
                let expected: Vec<_> = (0..5).map(|n| n == frame).collect();
                assert_eq!(found, expected);
                let is_length = byte < 4;
                let expected = Slot::Damaged((!is_length).then_some(1));
                assert_eq!(slots[frame], expected, "byte {byte}");
            }
        }
    }

    #[test]
    fn what_stands_behind_the_last_whole_frame_is_what_a_crash_left() {
        let whole = file();
        for length in 0..=whole.len() {
            let (slots, end) = slots(&whole[..length]);
            assert_eq!((slots.len(), end), (length / FRAME, length / FRAME * FRAME));
            assert!(!slots.iter().any(Slot::is_damaged));
        }
        // Zeros, as some disks leave.
        let bytes = [whole, vec![0; 99]].concat();
        assert_eq!(slots(&bytes).1, 5 * FRAME);
    }

    #[test]
    fn what_is_mended_has_every_record_that_was_whole_by_its_own_number() {
        for frames in [&[1][..], &[1, 2], &[0, 3]] {
            for next in [None, Some(15)] {
                let bytes = altered(frames, HEAD);
                let mended = mended(&bytes, 10, next, 10).expect("it is damaged");
                let count = frames.len() as u64;
                assert_eq!(mended.lost, count);
                let mut expected: Vec<Vec<u8>> = (1..=5)
                    .filter(|n| !frames.contains(&(usize::from(*n) - 1)))
                    .map(|n| payload(n).to_vec())
                    .collect();
                expected.insert(frames[0], lost_frame(count));
                assert_eq!(payloads(&mended.bytes), expected);
                assert_eq!(records(&slots(&mended.bytes).0), 5);
                // It is as it is to be.
                assert_eq!(super::mended(&mended.bytes, 10, next, 10), None);
            }
        }
    }

    #[test]
    fn a_file_that_is_shorter_than_the_next_ones_name_says_has_lost_its_end() {
        let bytes = &file()[..2 * FRAME + 7];
        assert_eq!(mended(bytes, 10, None, 10), None);
        let mended = mended(bytes, 10, Some(15), 13).expect("three are missing");
        // One of them was settled.
        assert_eq!(mended.lost, 2);
        let expected = [payload(1).to_vec(), payload(2).to_vec(), lost_frame(3)];
        assert_eq!(payloads(&mended.bytes), expected);
        // All of it was lost.
        let mended = super::mended(&[], 10, Some(15), 0).expect("all are missing");
        assert_eq!(payloads(&mended.bytes), [lost_frame(5)]);
    }

    #[test]
    fn the_last_file_has_lost_its_end_as_far_as_more_is_settled_than_it_has() {
        let bytes = &file()[..3 * FRAME + 7];
        assert_eq!(mended(bytes, 10, None, 13), None);
        let found = mended(bytes, 10, None, 15).expect("two are missing");
        assert_eq!(found.lost, 0, "none of them waited");
        let expected = [1, 2, 3].map(|n| payload(n).to_vec());
        assert_eq!(
            payloads(&found.bytes),
            [&expected[..], &[lost_frame(2)]].concat()
        );
        assert_eq!(mended(&found.bytes, 10, None, 15), None);
    }

    #[test]
    fn nothing_counts_as_settled_of_which_it_is_not_known() {
        // Two records whose lengths are damaged count as one at least. Of the file's, 13 are settled.
        let bytes = altered(&[0, 1], 0);
        let mended = mended(&bytes, 10, None, 13).expect("it is damaged");
        let numbers = records(&slots(&mended.bytes).0);
        assert_eq!(10 + numbers - 3, 13, "none of the three that are left");
        assert_eq!(mended.lost, 0);
        // By the next file's name it is known.
        let mended = super::mended(&bytes, 10, Some(15), 13).expect("it is damaged");
        assert_eq!(payloads(&mended.bytes)[0], lost_frame(2));
    }
}

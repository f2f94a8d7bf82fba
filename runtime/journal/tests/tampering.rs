//! What was altered is not accepted, and is named.

mod common;

use common::{At, HEADER_LEN, frame, frames, genesis, mend_check, seal_with, terms_at};
use tally_journal::{Completeness, Evidence, Head, Journal, JournalError, MemorySink, Place, Seq};

const MASKS: [u8; 5] = [0x01, 0x20, 0x80, 0xff, 0x55];

/// All frames of a good journal.
fn all_frames(good: &[u8]) -> Vec<At> {
    let mut frames = frames(good);
    frames.insert(0, terms_at(good));
    frames
}

/// The frame that holds the byte at `offset`.
fn holder(frames: &[At], offset: usize) -> Option<&At> {
    frames
        .iter()
        .find(|at| (at.offset..at.end).contains(&offset))
}

/// Flips each byte of a journal and expects the fault to be found and placed.
fn sweep(good: &[u8], masks: &[u8]) {
    Journal::parse(good).unwrap();
    let frames = all_frames(good);
    let mut bytes = good.to_vec();
    for offset in 0..good.len() {
        for mask in masks {
            bytes[offset] ^= mask;
            let fault = Journal::parse(&bytes[..]).expect_err("altered and accepted");
            let expected = holder(&frames, offset)
                .and_then(|at| at.entry)
                .map(Seq::new);
            assert_eq!(
                fault.entry(),
                expected,
                "byte {offset} xor {mask:#04x}: {fault}"
            );
            if let Ok((recovered, torn)) = Journal::recover(&bytes[..]) {
                // Only the very end may be left out, and never silently: the last entry there is, or the seal.
                let next = (recovered.completeness() == Completeness::Open)
                    .then(|| Seq::new(recovered.len()));
                assert!(
                    torn.is_some() && expected == next,
                    "byte {offset} xor {mask:#04x}"
                );
            }
            bytes[offset] = good[offset];
        }
    }
}

#[test]
fn every_byte_of_a_sealed_journal_flipped_is_found_and_placed() {
    sweep(&common::small_sealed(7), &MASKS);
}

#[test]
fn every_byte_of_a_journal_with_receipts_and_their_salts_flipped_is_found_and_placed() {
    sweep(&common::spoken(common::Spoken::default()), &[0x01]);
}

#[test]
fn every_byte_of_an_unsealed_journal_flipped_is_found_and_placed() {
    sweep(&common::small_ended(7), &MASKS);
}

#[test]
fn every_byte_around_and_inside_large_values_flipped_is_found_and_placed() {
    // One bit each: a large value makes reading slow.
    let good = common::sealed(7);
    let frames = all_frames(&good);
    let mut bytes = good.clone();
    let interesting = |offset: &usize| {
        let at = holder(&frames, *offset);
        at.is_none_or(|at| {
            at.is_entry
                || offset.is_multiple_of(97)
                || offset - at.offset < 16
                || at.end - offset < 16
        })
    };
    for offset in (0..good.len()).filter(interesting) {
        bytes[offset] ^= 0x10;
        let fault = Journal::parse(&bytes[..]).expect_err("altered and accepted");
        let expected = holder(&frames, offset)
            .and_then(|at| at.entry)
            .map(Seq::new);
        assert_eq!(fault.entry(), expected, "byte {offset}: {fault}");
        bytes[offset] = good[offset];
    }
}

/// A forger makes the check beside the bytes right again; the neighbours and the seal still tell.
#[test]
fn every_byte_altered_with_its_check_mended_is_found_and_placed() {
    let good = common::small_sealed(7);
    let frames = all_frames(&good);
    for at in &frames {
        for offset in at.payload.clone() {
            for mask in MASKS {
                let mut bytes = good.clone();
                bytes[offset] ^= mask;
                mend_check(&mut bytes, at);
                let fault = Journal::parse(&bytes[..]).expect_err("forged and accepted");
                assert_eq!(
                    fault.entry(),
                    at.entry.map(Seq::new),
                    "byte {offset} xor {mask:#04x}: {fault}"
                );
                assert!(
                    Journal::recover(&bytes[..]).is_err(),
                    "a forgery is no crash"
                );
            }
        }
    }
}

#[test]
fn without_a_seal_a_forged_end_changes_the_head_and_nothing_else_tells() {
    let good = common::small_ended(7);
    let head = Journal::parse(&good[..]).unwrap().head();
    let last = frames(&good).pop().unwrap();
    let (mut forged, mut refused) = (0, 0);
    for offset in last.payload.clone() {
        let mut bytes = good.clone();
        bytes[offset] ^= 0x01;
        mend_check(&mut bytes, &last);
        match Journal::parse(bytes) {
            Ok(journal) => {
                assert_ne!(journal.head(), head);
                forged += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        forged > 0 && refused > 0,
        "{forged} forged, {refused} refused"
    );
}

#[test]
fn an_entry_that_its_successor_does_not_vouch_for_is_named_and_not_the_successor() {
    let good = common::small_ended(7);
    let frames = frames(&good);
    let altered = |entry: usize, from_end: usize| {
        let mut bytes = good.clone();
        let at = &frames[entry];
        let offset = at.payload.end - common::TAIL_LEN - from_end;
        bytes[offset] ^= 0x01;
        mend_check(&mut bytes, at);
        Journal::parse(bytes).unwrap_err()
    };
    // The last byte of entry 2's response: still a well-formed entry.
    let second = JournalError::Altered {
        place: Place::Entry(Seq::new(2)),
        evidence: Evidence::NextEntry,
    };
    assert_eq!(altered(2, 3), second);
    // The last 32 bytes of an entry are its predecessor's hash.
    let mut bytes = good.clone();
    bytes[frames[2].payload.end - 20] ^= 0x01;
    mend_check(&mut bytes, &frames[2]);
    assert_eq!(
        Journal::parse(bytes).unwrap_err(),
        JournalError::PrevAltered { entry: Seq::new(2) }
    );
    // Next to the last of an unsealed journal nothing vouches for either.
    assert_eq!(
        altered(4, 3),
        JournalError::LinkBroken {
            second: Seq::new(5)
        }
    );
}

/// The frames of a journal in another order.
fn arranged(bytes: &[u8], order: &[usize]) -> Vec<u8> {
    let frames = frames(bytes);
    let mut out = bytes[..terms_at(bytes).end].to_vec();
    for index in order {
        out.extend_from_slice(&bytes[frames[*index].offset..frames[*index].end]);
    }
    out
}

#[test]
fn entries_in_another_order_are_named() {
    let good = common::small_sealed(7);
    let fault = |order: &[usize]| Journal::parse(arranged(&good, order)).unwrap_err();
    let seq = Seq::new;
    assert_eq!(
        fault(&[0, 2, 1, 3, 4, 5, 6]),
        JournalError::Reordered {
            entry: seq(1),
            found: seq(2)
        }
    );
    assert_eq!(
        fault(&[0, 1, 3, 4, 2, 5, 6]),
        JournalError::Reordered {
            entry: seq(2),
            found: seq(3)
        }
    );
    assert_eq!(
        fault(&[0, 1, 3, 4, 5, 6]),
        JournalError::Missing {
            entry: seq(2),
            found: seq(3)
        }
    );
    assert_eq!(
        fault(&[1, 2, 3, 4, 5, 6]),
        JournalError::Missing {
            entry: seq(0),
            found: seq(1)
        }
    );
    assert_eq!(
        fault(&[0, 1, 1, 2, 3, 4, 5, 6]),
        JournalError::Duplicated {
            entry: seq(2),
            found: seq(1)
        }
    );
    assert_eq!(
        fault(&[0, 1, 2, 3, 1, 4, 5, 6]),
        JournalError::Duplicated {
            entry: seq(4),
            found: seq(1)
        }
    );
    assert_eq!(
        fault(&[0, 0, 1, 2, 3, 4, 5, 6]),
        JournalError::Duplicated {
            entry: seq(1),
            found: seq(0)
        }
    );
    assert!(matches!(
        fault(&[0, 1, 2, 3, 4, 5, 6, 6]),
        JournalError::TrailingData { .. }
    ));
    assert!(matches!(
        fault(&[0, 1, 2, 3, 4, 6, 5]),
        JournalError::OutOfOrder {
            place: Place::Seal,
            ..
        }
    ));
    assert!(matches!(
        fault(&[6]),
        JournalError::OutOfOrder {
            place: Place::Seal,
            ..
        }
    ));
    assert_eq!(fault(&[]), JournalError::Empty);
}

#[test]
fn an_entry_of_another_journal_is_named_as_foreign() {
    let (ours, theirs) = (common::small_sealed(7), common::small_sealed(8));
    let (our, their) = (frames(&ours), frames(&theirs));
    let splice = |index: usize| {
        let (ours_at, theirs_at) = (&our[index], &their[index]);
        [
            &ours[..ours_at.offset],
            &theirs[theirs_at.offset..theirs_at.end],
            &ours[ours_at.end..],
        ]
        .concat()
    };
    let run = genesis(8).run_id;
    for entry in 0..common::SMALL_ENTRIES {
        let fault = Journal::parse(splice(usize::try_from(entry).unwrap())).unwrap_err();
        assert_eq!(
            fault,
            JournalError::Foreign {
                entry: Seq::new(entry),
                run
            }
        );
    }
    let seal = Journal::parse(splice(our.len() - 1)).unwrap_err();
    assert_eq!(seal, JournalError::SealForeign { run });
}

#[test]
fn terms_that_are_missing_doubled_or_of_another_run_are_named() {
    let good = common::small_sealed(7);
    let terms = terms_at(&good);
    let with =
        |terms: &[u8]| [&good[..HEADER_LEN], terms, &good[frames(&good)[0].offset..]].concat();
    let fault = |terms: &[u8]| Journal::parse(with(terms)).unwrap_err();
    let bytes = &good[terms.offset..terms.end];
    assert_eq!(fault(b""), JournalError::TermsMissing);
    assert!(matches!(
        fault(&[bytes, bytes].concat()),
        JournalError::OutOfOrder {
            place: Place::Terms,
            ..
        }
    ));
    // The terms of another grant: whole, and vouched for by nothing here.
    let mut other = common::terms();
    other.grant = b"{}".to_vec();
    let mut other_genesis = genesis(7);
    other_genesis.terms = std::sync::Arc::new(tally_journal::SettledTerms::new(other).unwrap());
    let other = common::write_small(MemorySink::new(), &other_genesis);
    let other = other.sink().bytes();
    let at = terms_at(other);
    assert_eq!(
        fault(&other[at.offset..at.end]),
        JournalError::Altered {
            place: Place::Terms,
            evidence: Evidence::NextEntry
        }
    );
    // With their own first entry they are another journal's beginning, and the second entry does not follow it.
    let first = &frames(other)[0];
    let foreign = [&other[..first.end], &good[frames(&good)[1].offset..]].concat();
    assert_eq!(
        Journal::parse(foreign).unwrap_err(),
        JournalError::Altered {
            place: Place::Entry(Seq::GENESIS),
            evidence: Evidence::NextEntry
        }
    );
    // Nothing follows that could tell which of the two was altered.
    let only = [&good[..HEADER_LEN], &other[at.offset..at.end], {
        let first = &frames(&good)[0];
        &good[first.offset..first.end]
    }]
    .concat();
    let fault = Journal::parse(only).unwrap_err();
    assert_eq!(
        fault,
        JournalError::LinkBroken {
            second: Seq::GENESIS
        }
    );
    assert_eq!(
        fault.to_string(),
        "the list of terms or entry 0 was altered: they do not fit together, and no seal tells which"
    );
}

#[test]
fn a_journal_cut_anywhere_is_not_taken_for_a_sealed_one() {
    let good = common::small_sealed(7);
    let frames = all_frames(&good);
    for len in 0..good.len() {
        match Journal::parse(&good[..len]) {
            Ok(journal) => {
                assert!(
                    frames.iter().any(|at| at.end == len),
                    "cut inside a frame at {len}"
                );
                assert_ne!(journal.completeness(), Completeness::Sealed);
                let ended = journal.len() == common::SMALL_ENTRIES;
                assert_eq!(journal.completeness() == Completeness::Ended, ended);
            }
            Err(fault) => {
                let expected = match len {
                    0 => "journal.not-a-journal",
                    1..HEADER_LEN => "journal.cut-in-header",
                    HEADER_LEN => "journal.empty",
                    _ if len == frames[0].end => "journal.empty",
                    _ => "journal.cut-in-frame",
                };
                assert_eq!(fault.code(), expected, "{len}");
                let next = frames.iter().find(|at| at.end > len).unwrap();
                if expected == "journal.cut-in-frame" {
                    assert_eq!(fault.entry(), next.entry.map(Seq::new));
                }
            }
        }
    }
}

#[test]
fn what_follows_the_seal_is_refused() {
    let good = common::small_sealed(7);
    for more in [&b"\0"[..], b"\n", b"{}", &[0; 64], &common::small_sealed(8)] {
        let bytes = [&good[..], more].concat();
        assert_eq!(
            Journal::parse(&bytes[..]).unwrap_err(),
            JournalError::TrailingData { len: more.len() }
        );
        assert!(Journal::recover(bytes).is_err());
    }
}

#[test]
fn what_is_no_journal_is_named_as_such() {
    for bytes in [
        &b""[..],
        b"x",
        b"{\"payload\":\"\"}",
        &[0; 4096],
        b"\x89PNG\r\n\x1a\n0000",
    ] {
        assert_eq!(
            Journal::parse(bytes).unwrap_err(),
            JournalError::NotAJournal
        );
    }
    let mut newer = common::small_sealed(7);
    newer[8] = 3;
    assert_eq!(
        Journal::parse(newer).unwrap_err(),
        JournalError::NewerFormat { found: 3 }
    );
    let mut older = common::small_sealed(7);
    older[8] = 1;
    assert_eq!(
        Journal::parse(older).unwrap_err(),
        JournalError::OlderFormat { found: 1 }
    );
    let mut no_version = common::small_sealed(7);
    no_version[8] = 0;
    assert_eq!(
        Journal::parse(no_version).unwrap_err(),
        JournalError::UnknownFormat { found: 0 }
    );
    // A copy that went through a translation of line ends.
    let text: Vec<u8> = common::small_sealed(7)
        .into_iter()
        .filter(|byte| *byte != b'\r')
        .collect();
    assert_eq!(Journal::parse(text).unwrap_err(), JournalError::NotAJournal);
}

#[test]
fn large_values_are_looked_for_where_their_entry_names_them() {
    let good = common::sealed(7);
    let blob = frames(&good).iter().position(|at| !at.is_entry).unwrap();
    let all: Vec<usize> = (0..frames(&good).len()).collect();
    let without: Vec<usize> = all.iter().copied().filter(|index| *index != blob).collect();
    let fault = Journal::parse(arranged(&good, &without)).unwrap_err();
    assert_eq!(fault, JournalError::ValueMissing { entry: Seq::new(7) });
    let mut early = all.clone();
    early.swap(blob, blob - 1);
    assert_eq!(
        Journal::parse(arranged(&good, &early)).unwrap_err(),
        JournalError::ValueStray { entry: Seq::new(6) }
    );
    let mut twice = all;
    twice.insert(blob, blob);
    assert_eq!(
        Journal::parse(arranged(&good, &twice)).unwrap_err(),
        JournalError::ValueStray { entry: Seq::new(7) }
    );
    // Another value in its place, with a check that is right.
    let at = &frames(&good)[blob];
    let mut payload = good[at.payload.clone()].to_vec();
    *payload.last_mut().unwrap() ^= 1;
    let other = [&good[..at.offset], &frame(&payload), &good[at.end..]].concat();
    let fault = JournalError::Altered {
        place: Place::ValueOf(Seq::new(7)),
        evidence: Evidence::Owner,
    };
    assert_eq!(Journal::parse(other).unwrap_err(), fault);
}

/// An ended journal with another seal.
fn resealed(seal: &[u8]) -> Result<Journal, JournalError> {
    let mut writer = common::write_small(MemorySink::new(), &genesis(7));
    writer.seal(seal).unwrap();
    Journal::parse(writer.into_sink().into_bytes())
}

#[test]
fn a_seal_that_says_otherwise_than_the_journal_is_refused() {
    let head = Journal::parse(common::small_ended(7)).unwrap().head();
    let with = |change: &dyn Fn(&mut tally_receipt::Run)| {
        resealed(&seal_with(&genesis(7), head, vec![], |run| change(run))).unwrap_err()
    };
    let contradicts = |what| JournalError::SealContradicts { what };
    let other = tally_receipt::Digest::from_bytes([0xee; 32]);
    assert_eq!(with(&|run| run.component = other), contradicts("component"));
    assert_eq!(with(&|run| run.grant = other), contradicts("grant"));
    assert_eq!(with(&|run| run.manifest = other), contradicts("manifest"));
    assert_eq!(
        with(&|run| run.engine.config = other),
        contradicts("engine")
    );
    assert_eq!(
        with(&|run| run.world = tally_receipt::Label::new("w").unwrap()),
        contradicts("world")
    );
    assert_eq!(
        with(&|run| run.fuel = tally_receipt::Count::saturating(1)),
        contradicts("fuel")
    );
    assert_eq!(
        with(&|run| run.receipts = vec![other]),
        contradicts("list of receipts")
    );
    assert_eq!(
        with(&|run| run.ended_at = run.ended_at.plus_ms(1)),
        contradicts("end time")
    );
    let failed = |run: &mut tally_receipt::Run| {
        run.outcome.status = tally_receipt::OutcomeStatus::AgentError;
        run.output = None; // a run that did not complete states none
    };
    assert_eq!(with(&failed), contradicts("outcome"));
    assert_eq!(
        with(&|run| run.run = genesis(9).run_id),
        JournalError::SealForeign {
            run: genesis(9).run_id
        }
    );
    assert_eq!(
        with(&|run| run.journal.head = other),
        JournalError::NotTheSealed { last: Seq::new(5) }
    );
    assert_eq!(
        with(&|run| run.journal.entries = tally_receipt::Count::saturating(9)),
        JournalError::SealOverAnotherHead { named: 9, found: 6 }
    );
}

#[test]
fn a_seal_that_is_no_run_receipt_is_refused() {
    assert_eq!(
        resealed(b"{}").unwrap_err().code(),
        "journal.seal-unreadable"
    );
    assert_eq!(resealed(b"").unwrap_err().code(), "journal.seal-unreadable");
    let head = Journal::parse(common::small_ended(7)).unwrap().head();
    // The runner that the receipt names is not the one who signed it.
    let good = seal_with(&genesis(7), head, vec![], |_| {});
    let receipt = tally_receipt::Receipt::parse(&good).unwrap();
    let other = tally_receipt::SigningKey::from_seed(&[1; 32]);
    let envelope =
        tally_receipt::Envelope::sign(receipt.envelope().payload().to_vec(), &[&other]).unwrap();
    let unsigned = JournalError::Altered {
        place: Place::Seal,
        evidence: Evidence::Signature,
    };
    assert_eq!(resealed(&envelope.to_json()).unwrap_err(), unsigned);
}

#[test]
fn a_journal_rewritten_from_the_middle_is_not_the_sealed_one() {
    // Everything right but who signed over it: the same run, another answer in entry 1, all hashes made anew.
    let sealed = common::small_sealed(7);
    let seal = frames(&sealed).pop().unwrap();
    let mut writer = tally_journal::Writer::create(MemorySink::new(), &genesis(7)).unwrap();
    writer.call(&common::now(101)).unwrap();
    writer.call(&common::denied(200)).unwrap();
    let seq = writer.intent(&common::CHAT).unwrap();
    writer
        .call(&tally_journal::Call {
            receipt: None,
            ..common::answer_to(seq, &common::CHAT)
        })
        .unwrap();
    let Head { entries, .. } = writer.end(&common::END).unwrap();
    let forged = [writer.sink().bytes(), &sealed[seal.offset..]].concat();
    assert_eq!(
        Journal::parse(forged).unwrap_err(),
        JournalError::NotTheSealed {
            last: Seq::new(entries - 1)
        }
    );
}

#[test]
fn faults_read_as_sentences_and_have_a_stable_code() {
    let fault = JournalError::Altered {
        place: Place::Entry(Seq::new(3)),
        evidence: Evidence::NextEntry,
    };
    assert_eq!(
        fault.to_string(),
        "entry 3 was altered: the entry after it names another hash"
    );
    assert_eq!(fault.code(), "journal.altered");
    let fault = JournalError::LinkBroken {
        second: Seq::new(5),
    };
    assert_eq!(
        fault.to_string(),
        "entry 4 or entry 5 was altered: they do not fit together, and no seal tells which"
    );
}

/// A hostile file makes the reader work no harder than its length: every frame is bad and each claims to be a long list.
#[test]
fn a_file_of_bad_frames_is_refused_without_much_effort() {
    let mut bytes = common::small_ended(7)[..HEADER_LEN].to_vec();
    for _ in 0..500_000 {
        bytes.extend_from_slice(b"\x05\0\0\0\x9a\xff\xff\xff\xff\0\0\0\0\0\0\0\0");
    }
    assert_eq!(
        Journal::parse(&bytes[..]).unwrap_err().entry(),
        Some(Seq::GENESIS)
    );
    assert!(Journal::recover(bytes).is_err(), "not even a first entry");
}

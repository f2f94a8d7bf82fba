//! Journals named by their fault, for this reader and for independent ones (`reader/check_journal.py`).
//!
//! The files and `expected.json` are committed; this test makes them anew and compares, so a change of the format cannot
//! go unnoticed. Where a change is meant, `TALLY_BLESS=1 cargo test -p tally-journal --test vectors` writes them.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use common::{
    CHAT, END, HEADER_LEN, Spoken, TAIL_LEN, frame, frames, genesis, mend_check, now, seal_with,
    spoken, terms_at,
};
use serde_json::{Value, json};
use tally_journal::{Call, Completeness, Journal, MemorySink, Writer, code, view};
use tally_receipt::{Context, Count, Digest, Envelope, Receipt, SigningKey, Timestamp};

/// The frames of a journal in another order.
fn arranged(bytes: &[u8], order: &[usize]) -> Vec<u8> {
    let frames = frames(bytes);
    let mut out = bytes[..terms_at(bytes).end].to_vec();
    for index in order {
        out.extend_from_slice(&bytes[frames[*index].offset..frames[*index].end]);
    }
    out
}

/// A journal with the byte at `from_end` before the end of one payload, or before the tail of an entry, flipped, and its
/// check mended or not.
fn flipped(bytes: &[u8], index: usize, from_end: usize, mend: bool) -> Vec<u8> {
    let at = frames(bytes)[index].clone();
    let mut out = bytes.to_vec();
    let tail = if at.is_entry { TAIL_LEN } else { 0 };
    out[at.payload.end - tail - from_end] ^= 0x01;
    if mend {
        mend_check(&mut out, &at);
    }
    out
}

/// A journal with one payload rewritten.
fn rewritten(bytes: &[u8], index: usize, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let at = frames(bytes)[index].clone();
    let mut payload = bytes[at.payload.clone()].to_vec();
    change(&mut payload);
    [&bytes[..at.offset], &frame(&payload), &bytes[at.end..]].concat()
}

/// An ended journal of run 7 with a seal changed before it was signed.
fn resealed(change: impl FnOnce(&mut tally_receipt::Run)) -> Vec<u8> {
    let mut writer = common::write_small(MemorySink::new(), &genesis(7));
    let seal = seal_with(&genesis(7), writer.head(), vec![], change);
    writer.seal(&seal).unwrap();
    writer.into_sink().into_bytes()
}

/// The payload of entry 1 with more put after its lead, as the next entry of a journal that ends there.
fn large() -> Vec<u8> {
    let mut value = vec![0x5a, 0x00, 0x01, 0x00, 0x00];
    value.resize((64 << 10) + 5, 0x61);
    let mut writer = Writer::create(MemorySink::new(), &genesis(7)).unwrap();
    writer
        .call(&Call {
            response: &value,
            ..now(100)
        })
        .unwrap();
    writer
        .call(&Call {
            request: &value,
            ..now(200)
        })
        .unwrap();
    writer.end(&END).unwrap();
    common::seal(&mut writer, &genesis(7), vec![]);
    writer.into_sink().into_bytes()
}

fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let sealed = common::small_sealed(7);
    let ended = common::small_ended(7);
    let other = common::small_sealed(8);
    let large = large();
    let (our, their) = (frames(&sealed), frames(&other));
    let splice = |index: usize| {
        [
            &sealed[..our[index].offset],
            &other[their[index].offset..their[index].end],
            &sealed[our[index].end..],
        ]
        .concat()
    };
    let number = |index: usize| rewritten(&sealed, index, |payload| payload[2] ^= 0x01);
    let from_end = |index: usize, from_end: usize| {
        rewritten(&sealed, index, |payload| {
            let at = payload.len() - from_end;
            payload[at] ^= 0x01;
        })
    };
    // The last 32 bytes of an entry are its predecessor's hash, and the 16 before the head of that are the run.
    let (run, prev) = (
        |index: usize| from_end(index, 40),
        |index: usize| from_end(index, 20),
    );
    let mut crlf = Vec::new();
    for byte in &sealed {
        if *byte == b'\n' {
            crlf.push(b'\r');
        }
        crlf.push(*byte);
    }
    let mut open = Writer::create(MemorySink::new(), &genesis(7)).unwrap();
    open.call(&now(1)).unwrap();
    open.intent(&CHAT).unwrap();
    let open = open.into_sink().into_bytes();
    let mut forged = Writer::create(MemorySink::new(), &genesis(7)).unwrap();
    forged.call(&now(101)).unwrap();
    forged.call(&common::denied(200)).unwrap();
    let seq = forged.intent(&CHAT).unwrap();
    forged
        .call(&Call {
            receipt: None,
            ..common::answer_to(seq, &CHAT)
        })
        .unwrap();
    forged.end(&END).unwrap();
    let forged = [forged.sink().bytes(), &sealed[our[6].offset..]].concat();
    let good_seal = Journal::parse(&sealed[..])
        .unwrap()
        .run_receipt()
        .unwrap()
        .clone();
    let stranger = Envelope::sign(
        good_seal.envelope().payload().to_vec(),
        &[&SigningKey::from_seed(&[1; 32])],
    )
    .unwrap();
    let with_seal = |seal: &[u8]| {
        let mut writer = common::write_small(MemorySink::new(), &genesis(7));
        writer.seal(seal).unwrap();
        writer.into_sink().into_bytes()
    };
    let mut bad_signature = good_seal.to_json();
    let at = String::from_utf8(bad_signature.clone())
        .unwrap()
        .find("\"sig\":\"")
        .unwrap()
        + 9;
    bad_signature[at] = if bad_signature[at] == b'A' {
        b'B'
    } else {
        b'A'
    };
    let said = Spoken::default();
    let small_blob = frame(&[&[0x82, 0x08, 0x43][..], b"abc"].concat());
    BTreeMap::from([
        ("good-sealed", sealed.clone()),
        ("good-ended", ended.clone()),
        ("good-open-with-intent-in-doubt", open.clone()),
        ("good-every-kind-of-entry", common::sealed(7)),
        ("good-large-values", large.clone()),
        (
            "good-branch",
            common::write_small(MemorySink::new(), &common::branch(7))
                .into_sink()
                .into_bytes(),
        ),
        ("good-words", spoken(said)),
        (
            "good-words-without-salts",
            spoken(Spoken {
                salts: false,
                ..said
            }),
        ),
        (
            "good-words-without-a-receipt",
            spoken(Spoken {
                taken: false,
                ..said
            }),
        ),
        (
            "words-other-answer",
            spoken(Spoken {
                text: ["hel", "l"],
                ..said
            }),
        ),
        (
            "words-other-request",
            spoken(Spoken {
                asked: b"\xa1\x67request\xa1\x65model\x60",
                ..said
            }),
        ),
        (
            "words-other-tool-call",
            spoken(Spoken {
                arguments: "{ }",
                ..said
            }),
        ),
        (
            "words-other-texts",
            spoken(Spoken {
                embedded: "another",
                ..said
            }),
        ),
        (
            "words-other-vectors",
            spoken(Spoken {
                vector: [0.8, 0.6],
                ..said
            }),
        ),
        (
            "words-other-model",
            spoken(Spoken {
                weights: common::digest(9),
                ..said
            }),
        ),
        (
            "words-swapped-receipts",
            spoken(Spoken {
                swapped: true,
                ..said
            }),
        ),
        (
            "not-a-journal",
            b"{\"payloadType\":\"application/vnd.in-toto+json\"}\n".to_vec(),
        ),
        ("text-translated", crlf),
        ("newer-format", {
            let mut bytes = sealed.clone();
            bytes[8] = 3;
            bytes
        }),
        ("older-format", {
            let mut bytes = sealed.clone();
            bytes[8] = 1;
            bytes
        }),
        ("unknown-format", {
            let mut bytes = sealed.clone();
            bytes[8] = 0;
            bytes
        }),
        ("cut-in-header", sealed[..9].to_vec()),
        ("empty", sealed[..HEADER_LEN].to_vec()),
        ("cut-in-entry", sealed[..our[3].payload.start + 9].to_vec()),
        ("cut-in-length", sealed[..our[3].offset + 2].to_vec()),
        ("cut-in-seal", sealed[..sealed.len() - 1].to_vec()),
        ("terms-missing", {
            let terms = terms_at(&sealed);
            [&sealed[..terms.offset], &sealed[terms.end..]].concat()
        }),
        ("terms-twice", {
            let terms = terms_at(&sealed);
            [&sealed[..terms.end], &sealed[terms.offset..]].concat()
        }),
        ("terms-altered", {
            let mut bytes = sealed.clone();
            bytes[terms_at(&sealed).payload.end - 3] ^= 0x01;
            bytes
        }),
        ("terms-forged", {
            let terms = terms_at(&sealed);
            let mut bytes = sealed.clone();
            // A byte of the component's digest.
            bytes[terms.payload.start + 9] ^= 0x01;
            mend_check(&mut bytes, &terms);
            bytes
        }),
        ("terms-alone", sealed[..terms_at(&sealed).end].to_vec()),
        (
            "function-not-in-the-terms",
            // In the entry of a frame below 24 the function is byte 4.
            rewritten(&sealed, 2, |payload| payload[4] = 7),
        ),
        ("altered-byte", flipped(&sealed, 2, 3, false)),
        ("altered-length", {
            let mut bytes = sealed.clone();
            bytes[our[2].offset] ^= 0x01;
            bytes
        }),
        ("altered-check", {
            let mut bytes = sealed.clone();
            bytes[our[2].end - 1] ^= 0x01;
            bytes
        }),
        ("altered-seal", flipped(&sealed, 6, 90, false)),
        ("forged-entry", flipped(&sealed, 2, 3, true)),
        (
            "forged-first-entry",
            rewritten(&sealed, 0, |payload| payload[9] ^= 0x01),
        ),
        (
            "forged-last-entry",
            rewritten(&sealed, 5, |payload| {
                let at = payload.len() - TAIL_LEN - 4;
                payload[at] ^= 0x01;
            }),
        ),
        ("forged-number", number(2)),
        ("forged-run", run(2)),
        ("forged-run-of-the-first", run(0)),
        ("forged-predecessor", prev(2)),
        ("forged-predecessor-of-the-last", prev(5)),
        ("forged-predecessor-of-the-first", prev(0)),
        ("forged-unsealed-next-to-last", flipped(&ended, 4, 3, true)),
        ("forged-all-after-entry-1", forged),
        ("foreign-first-entry", splice(0)),
        ("foreign-entry", splice(3)),
        ("foreign-seal", splice(6)),
        ("reordered", arranged(&sealed, &[0, 2, 1, 3, 4, 5, 6])),
        ("missing-entry", arranged(&sealed, &[0, 1, 3, 4, 5, 6])),
        (
            "missing-first-entry",
            arranged(&sealed, &[1, 2, 3, 4, 5, 6]),
        ),
        (
            "duplicated-entry",
            arranged(&sealed, &[0, 1, 2, 1, 3, 4, 5, 6]),
        ),
        ("trailing-data", [&sealed[..], b"\0"].concat()),
        ("second-seal", arranged(&sealed, &[0, 1, 2, 3, 4, 5, 6, 6])),
        ("seal-before-the-end", arranged(&sealed, &[0, 1, 6])),
        ("value-missing", arranged(&large, &[0, 2, 3, 4, 5])),
        ("value-twice", arranged(&large, &[0, 1, 1, 2, 3, 4, 5])),
        (
            "value-before-the-wrong-entry",
            arranged(&large, &[1, 0, 2, 3, 4, 5]),
        ),
        (
            "value-forged",
            rewritten(&large, 1, |payload| *payload.last_mut().unwrap() ^= 0x01),
        ),
        (
            "value-that-belongs-inline",
            [
                &sealed[..our[2].offset],
                &small_blob,
                &sealed[our[2].offset..],
            ]
            .concat(),
        ),
        (
            "indefinite-length",
            rewritten(&sealed, 2, |payload| {
                payload[0] = 0x9f;
                payload.push(0xff);
            }),
        ),
        (
            "number-too-long",
            rewritten(&sealed, 2, |payload| {
                payload.splice(2..3, [0x18, 0x02]);
            }),
        ),
        (
            "bytes-after-the-last-field",
            rewritten(&sealed, 2, |payload| payload.push(0xf6)),
        ),
        (
            "unknown-kind",
            rewritten(&sealed, 2, |payload| payload[1] = 5),
        ),
        (
            "field-missing",
            rewritten(&sealed, 2, |payload| {
                payload[0] -= 1;
                payload.truncate(payload.len() - 34);
            }),
        ),
        (
            "empty-frame",
            [
                &sealed[..our[2].offset],
                &frame(b""),
                &sealed[our[2].offset..],
            ]
            .concat(),
        ),
        (
            "seal-over-more-entries",
            resealed(|run| run.journal.entries = Count::saturating(9)),
        ),
        (
            "seal-of-another-component",
            resealed(|run| run.component = Digest::from_bytes([0xee; 32])),
        ),
        (
            "seal-of-another-grant",
            resealed(|run| run.grant = Digest::from_bytes([0xee; 32])),
        ),
        (
            "seal-with-other-fuel",
            resealed(|run| run.fuel = Count::saturating(1)),
        ),
        (
            "seal-with-receipts-not-inside",
            resealed(|run| run.receipts = vec![Digest::from_bytes([0xee; 32])]),
        ),
        ("seal-is-no-receipt", with_seal(b"{}")),
        ("seal-signed-by-a-stranger", with_seal(&stranger.to_json())),
        ("seal-with-bad-signature", with_seal(&bad_signature)),
    ])
}

/// What the words of each receipt were found to be, by the entry that brought it.
fn words(journal: &Journal) -> BTreeMap<String, String> {
    let verdict = journal.verify(&Context::at(
        Timestamp::from_unix_ms(1_800_000_000_000).unwrap(),
    ));
    let checks = verdict.checks().iter().filter_map(|check| {
        let entry = check.code.strip_prefix(code::WORDS)?;
        let found = check.reason.as_deref().unwrap_or("pass");
        Some((entry.trim().to_owned(), found.to_owned()))
    });
    checks.collect()
}

/// What a reader must find.
fn expected(bytes: &[u8]) -> Value {
    match Journal::parse(bytes) {
        Ok(journal) => json!({
            "accepted": match journal.completeness() {
                Completeness::Sealed => "sealed",
                Completeness::Ended => "ended",
                Completeness::Open => "open",
            },
            "entries": journal.len(),
            "head": journal.head().hash.to_string(),
            "words": words(&journal),
            "in_doubt": journal.in_doubt().map(|seq| seq.get()).collect::<Vec<_>>(),
        }),
        Err(fault) => json!({
            "refused": fault.code(),
            "entry": fault.entry().map(|seq| seq.get()),
            "sentence": fault.to_string(),
        }),
    }
}

#[test]
fn the_vectors_are_what_this_format_gives() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let vectors = vectors();
    let verdicts: BTreeMap<_, _> = vectors
        .iter()
        .map(|(name, bytes)| (*name, expected(bytes)))
        .collect();
    for (name, verdict) in &verdicts {
        assert_eq!(
            verdict.get("accepted").is_some(),
            name.starts_with("good-") || name.starts_with("words-"),
            "{name}: {verdict}"
        );
    }
    let expected = serde_json::to_string_pretty(&verdicts).unwrap() + "\n";
    if std::env::var_os("TALLY_BLESS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in &vectors {
            fs::write(folder.join(format!("{name}.journal")), bytes).unwrap();
        }
        fs::write(folder.join("expected.json"), &expected).unwrap();
    }
    let mut found: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".journal").map(str::to_owned))
        .collect();
    found.sort();
    assert!(
        found.iter().eq(vectors.keys()),
        "the folder holds these vectors and no others"
    );
    for (name, bytes) in &vectors {
        let path = folder.join(format!("{name}.journal"));
        assert!(
            fs::read(&path).unwrap() == *bytes,
            "{} is not what this format gives",
            path.display()
        );
    }
    assert_eq!(
        fs::read_to_string(folder.join("expected.json")).unwrap(),
        expected
    );
}

#[test]
fn a_journal_reads_as_lines_for_a_person() {
    let journal = Journal::parse(common::sealed(7)).unwrap();
    assert_eq!(
        view::summary(&journal),
        "run 07070707070707070707070707070707: 11 entries, ended and sealed; not known to have happened: the calls \
         announced by entries 9"
    );
    let described: Vec<_> = view::describe(&journal).collect();
    assert_eq!(
        described[1].title,
        "1 called tally:agent/env@0.1.0#now at fuel 100"
    );
    assert_eq!(described[1].details[0], "asked {}");
    assert!(
        described[1].details[1].contains("\"seconds\":1700000000"),
        "{:?}",
        described[1].details
    );
    assert_eq!(described[1].details[2], "allowed by env.clock");
    assert_eq!(
        described[5].title,
        "5 frame 1 of a tool begins at tally:agent/tools@0.1.0#call"
    );
    assert_eq!(described[10].title, "10 the run replied after 900 fuel");
    let json = view::to_json(&journal, &journal.get(tally_journal::Seq::new(2)).unwrap());
    assert_eq!(
        json["decision"],
        json!({"denied": "env.random is not in the manifest"})
    );
    assert_eq!(json["request"], json!({"len": 8}));
}

#[test]
fn what_a_guest_said_cannot_steer_a_terminal() {
    let mut writer = Writer::create(MemorySink::new(), &genesis(7)).unwrap();
    let reason = "\u{1b}[2Jok\n\u{202e}txt";
    let call = Call {
        decision: tally_journal::Decision::Denied { reason },
        request: &b"\x63\x1b[2"[..],
        ..now(1)
    };
    writer.call(&call).unwrap();
    let journal = Journal::parse(writer.into_sink().into_bytes()).unwrap();
    for description in view::describe(&journal) {
        for line in [description.title].into_iter().chain(description.details) {
            assert!(
                !line.chars().any(|c| c.is_control() || c == '\u{202e}'),
                "{line:?}"
            );
        }
    }
}

#[test]
fn a_receipt_reads_back_from_a_vector() {
    let journal = Journal::parse(common::small_sealed(7)).unwrap();
    assert_eq!(
        Receipt::parse(journal.seal().unwrap()).as_ref(),
        Ok(journal.run_receipt().unwrap())
    );
}

//! Whose word a journal is, and whether the receipts inside belong to it.

mod common;

use common::{
    CHAT, END, SPOKEN_RECEIPTS, Spoken, answer_to, digest, genesis, links, node, now, receipt_of,
    runner, seal_with, spoken,
};
use tally_journal::{
    Brought, Call, Digest, Genesis, Journal, JournalVerifier, MemorySink, Writer, code,
};
use tally_receipt::{
    Context, Count, Label, Links, Policy, Receipt, Role, SigningKey, Status, Timestamp, TrustedKey,
    Verifier,
};

fn receipt(links: Option<Links>) -> Receipt {
    receipt_of(links, |_| {})
}

/// A sealed journal of run 7 whose generation brought `receipts`, each without what would open it.
fn journal(receipts: &[&[u8]]) -> Journal {
    journal_of(&genesis(7), receipts)
}

/// The same of any run.
fn journal_of(genesis: &Genesis, receipts: &[&[u8]]) -> Journal {
    let mut writer = Writer::create(MemorySink::new(), genesis).unwrap();
    let seq = writer.intent(&CHAT).unwrap();
    writer
        .call(&Call {
            receipt: None,
            ..answer_to(seq, &CHAT)
        })
        .unwrap();
    for receipt in receipts {
        writer
            .call(&Call {
                function: "tally:agent/inference@0.1.0#[method]generation.receipt",
                request: b"\xa1\x64self\x01",
                receipt: Some(Brought::closed(*receipt)),
                ..now(300)
            })
            .unwrap();
    }
    writer.end(&END).unwrap();
    common::seal(
        &mut writer,
        genesis,
        receipts.iter().map(|receipt| Digest::of(receipt)).collect(),
    );
    Journal::parse(writer.into_sink().into_bytes()).unwrap()
}

fn policy() -> Policy {
    let key = |key: &SigningKey, role| TrustedKey {
        key: key.public_key(),
        owner: Label::new("somebody").unwrap(),
        roles: vec![role],
        valid_from: Timestamp::from_unix_ms(0).unwrap(),
        valid_until: None,
        revoked: None,
    };
    Policy::new(vec![
        key(&runner(), Role::Run),
        key(&node(), Role::Inference),
    ])
    .unwrap()
}

fn context(policy: &Policy) -> Context<'_> {
    Context {
        policy: Some(policy),
        ..Context::at(Timestamp::from_unix_ms(1_800_000_000_000).unwrap())
    }
}

fn reason(verdict: &tally_receipt::Verdict, code: &str) -> String {
    let check = verdict
        .checks()
        .iter()
        .find(|check| check.code == code)
        .unwrap();
    format!(
        "{:?} {}",
        check.status,
        check.reason.as_deref().unwrap_or("")
    )
}

#[test]
fn a_sealed_journal_with_its_receipts_is_verified() {
    let first = receipt(links(7, 0, None));
    let second = receipt(links(7, 1, Some(first.digest())));
    let journal = journal(&[&first.to_json(), &second.to_json(), &second.to_json()]);
    let policy = policy();
    let verdict = journal.verify(&context(&policy));
    assert!(verdict.is_verified(), "{:?}", verdict.checks());
    for code in [
        code::CHAIN,
        code::ENDED,
        code::RUN,
        code::HEAD,
        code::END,
        code::LINKS,
        "journal-receipt 3",
    ] {
        assert_eq!(verdict.status_of(code), Some(Status::Pass), "{code}");
    }
    assert!(
        verdict
            .not_proved()
            .iter()
            .any(|sentence| sentence.contains("replay"))
    );
}

#[test]
fn without_a_policy_nobody_vouches_for_the_signer() {
    let journal = journal(&[&receipt(links(7, 0, None)).to_json()]);
    let verdict = journal.verify(&Context::at(
        Timestamp::from_unix_ms(1_800_000_000_000).unwrap(),
    ));
    assert!(!verdict.is_verified() && !verdict.has_failed());
    assert_eq!(
        verdict.status_of("journal-receipt 3"),
        Some(Status::NotEstablished)
    );
}

#[test]
fn without_a_seal_nothing_is_established_but_the_chain() {
    let policy = policy();
    for bytes in [
        common::small_ended(7),
        common::small_ended(7)[..900].to_vec(),
    ] {
        let (journal, _) = Journal::recover(bytes).unwrap();
        let verdict = journal.verify(&context(&policy));
        assert!(!verdict.is_verified() && !verdict.has_failed());
        assert_eq!(verdict.status_of(code::CHAIN), Some(Status::Pass));
        assert_eq!(verdict.status_of(code::HEAD), Some(Status::NotEstablished));
    }
}

#[test]
fn a_receipt_of_another_run_or_of_none_does_not_belong_here() {
    let policy = policy();
    let found = |receipts: &[&Receipt]| {
        let bytes: Vec<_> = receipts.iter().map(|receipt| receipt.to_json()).collect();
        let bytes: Vec<_> = bytes.iter().map(|bytes| &bytes[..]).collect();
        let verdict = journal(&bytes).verify(&context(&policy));
        assert!(
            !verdict.is_verified() || reason(&verdict, code::LINKS).starts_with("NotEstablished")
        );
        reason(&verdict, code::LINKS)
    };
    let (zero, one) = (
        receipt(links(7, 0, None)),
        receipt(links(7, 1, Some(Digest::of(b"other")))),
    );
    assert_eq!(found(&[&receipt(links(8, 0, None))]), "Fail other-run");
    assert_eq!(found(&[&receipt(None)]), "Fail no-run");
    assert_eq!(found(&[&zero, &one]), "Fail other-previous");
    assert_eq!(
        found(&[
            &receipt(links(7, 1, None)),
            &receipt(links(7, 1, Some(zero.digest())))
        ]),
        "Fail step-twice"
    );
    assert_eq!(
        found(&[&receipt(links(7, 3, None))]),
        "NotEstablished step-missing"
    );
}

#[test]
fn a_branch_holds_receipts_of_the_run_it_left_up_to_where_it_left() {
    // The branch leaves after entry 3, which brought the first receipt; the second is in entry 4.
    let policy = policy();
    let branch = common::branch(9);
    let verify = |first: &Receipt, second: &Receipt| {
        let (first, second) = (first.to_json(), second.to_json());
        journal_of(&branch, &[&first, &second]).verify(&context(&policy))
    };
    let parents = receipt(links(7, 0, None));
    let own = receipt(links(9, 1, Some(parents.digest())));
    let verdict = verify(&parents, &own);
    assert!(verdict.is_verified(), "{:?}", verdict.checks());
    assert!(
        verdict
            .not_proved()
            .iter()
            .any(|sentence| sentence.contains("verify that run's journal")),
        "{:?}",
        verdict.not_proved()
    );
    let found = |first: &Receipt, second: &Receipt| reason(&verify(first, second), code::LINKS);
    // Own receipts before the branch, the parent's after it, and a receipt that names another before it.
    assert_eq!(found(&receipt(links(9, 0, None)), &own), "Fail other-run");
    assert_eq!(
        found(&parents, &receipt(links(7, 1, Some(parents.digest())))),
        "Fail other-run"
    );
    assert_eq!(
        found(&parents, &receipt(links(9, 1, Some(Digest::of(b"other"))))),
        "Fail other-previous"
    );
}

#[test]
fn a_receipt_inside_that_was_altered_is_named_by_its_entry() {
    let good = receipt(links(7, 0, None)).to_json();
    let text = String::from_utf8(good.clone()).unwrap();
    let at = text.find("\"sig\":\"").unwrap() + 10;
    let mut bad = good;
    bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
    let policy = policy();
    let verdict = journal(&[&bad]).verify(&context(&policy));
    assert!(verdict.has_failed());
    assert_eq!(verdict.status_of("journal-receipt 3"), Some(Status::Fail));
    assert_eq!(
        journal(&[b"{}"])
            .verify(&context(&policy))
            .status_of("journal-receipt 3"),
        Some(Status::Fail)
    );
}

#[test]
fn a_run_receipt_of_another_journal_fails_by_name() {
    let journal = Journal::parse(common::small_sealed(7)).unwrap();
    let policy = policy();
    let verify = |bytes: &[u8]| {
        JournalVerifier.verify(&Receipt::parse(bytes).unwrap(), &journal, &context(&policy))
    };
    let head = journal.head();
    assert!(verify(&seal_with(&genesis(7), head, vec![], |_| {})).is_verified());
    let other = verify(&seal_with(&genesis(8), head, vec![], |_| {}));
    assert_eq!(reason(&other, code::RUN), "Fail other-run");
    let other = verify(&seal_with(&genesis(7), head, vec![], |run| {
        run.journal.head = Digest::of(b"x")
    }));
    assert_eq!(
        (reason(&other, code::RUN), reason(&other, code::HEAD)),
        ("Pass ".to_owned(), "Fail other-head".to_owned())
    );
    let other = verify(&seal_with(&genesis(7), head, vec![], |run| {
        run.fuel = Count::saturating(1)
    }));
    assert_eq!(reason(&other, code::END), "Fail other-end");
    let other = verify(&receipt(links(7, 0, None)).to_json());
    assert_eq!(reason(&other, code::RUN), "Fail not-a-run");
}

/// What the checks of the words found, by the entries that brought the receipts.
fn found(said: Spoken) -> [String; 3] {
    let journal = Journal::parse(spoken(said)).unwrap();
    let policy = policy();
    let verdict = journal.verify(&context(&policy));
    let found = SPOKEN_RECEIPTS.map(|entry| reason(&verdict, &format!("{} {entry}", code::WORDS)));
    let failed = found.iter().any(|found| found.starts_with("Fail"));
    assert_eq!(verdict.has_failed(), failed, "{:?}", verdict.checks());
    found
}

const PASS: &str = "Pass ";

#[test]
fn words_that_receipts_commit_to_are_the_words_of_the_journal() {
    assert_eq!(found(Spoken::default()), [PASS; 3]);
    let journal = Journal::parse(spoken(Spoken::default())).unwrap();
    let policy = policy();
    let verdict = journal.verify(&context(&policy));
    assert!(verdict.is_verified(), "{:?}", verdict.checks());
    let sentence = |entry: u64| {
        let code = format!("{} {entry}", code::WORDS);
        let check = verdict.checks().iter().find(|check| check.code == code);
        check.unwrap().sentence.clone()
    };
    assert_eq!(
        sentence(5),
        "the receipt in entry 5 commits to what entry 1 asked and to the text that entries 3 to 4 brought"
    );
    assert_eq!(
        sentence(8),
        "the receipt in entry 8 commits to what entry 2 asked and to the text that entry 6 brought"
    );
    assert_eq!(
        sentence(9),
        "the receipt in entry 9 commits to what entry 9 asked and to the vectors that entry 9 brought"
    );
}

#[test]
fn a_word_that_no_receipt_commits_to_is_named_by_its_entries() {
    let good = Spoken::default();
    let answer = Spoken {
        text: ["hel", "l"],
        ..good
    };
    assert_eq!(found(answer), ["Fail other-answer", PASS, PASS]);
    let request = Spoken {
        asked: b"\xa1\x67request\xa1\x65model\x60",
        ..good
    };
    assert_eq!(found(request), ["Fail other-request", PASS, PASS]);
    let arguments = Spoken {
        arguments: "{ }",
        ..good
    };
    assert_eq!(found(arguments), [PASS, "Fail other-answer", PASS]);
    let embedded = Spoken {
        embedded: "another",
        ..good
    };
    assert_eq!(found(embedded), [PASS, PASS, "Fail other-request"]);
    let vector = Spoken {
        vector: [0.8, 0.6],
        ..good
    };
    assert_eq!(found(vector), [PASS, PASS, "Fail other-answer"]);
    let weights = Spoken {
        weights: digest(9),
        ..good
    };
    assert_eq!(found(weights), ["Fail other-model", PASS, PASS]);
    let swapped = Spoken {
        swapped: true,
        ..good
    };
    assert_eq!(
        found(swapped),
        ["Fail other-answer", "Fail other-answer", PASS]
    );
}

#[test]
fn words_are_not_established_where_the_journal_holds_no_salt() {
    let closed = Spoken {
        salts: false,
        ..Spoken::default()
    };
    assert_eq!(found(closed), ["NotEstablished no-salt"; 3]);
}

#[test]
fn an_answer_whose_receipt_was_not_taken_is_said_to_be_unproved() {
    let journal = Journal::parse(spoken(Spoken {
        taken: false,
        ..Spoken::default()
    }))
    .unwrap();
    let policy = policy();
    let verdict = journal.verify(&context(&policy));
    assert!(
        verdict
            .not_proved()
            .iter()
            .any(|sentence| sentence.contains("what entries 1 asked: the agent took no receipt")),
        "{:?}",
        verdict.not_proved()
    );
}

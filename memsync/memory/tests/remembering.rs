//! What was said is kept, found, and kept once; secrets are not.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use support::{Computer, Letters, Parrot, at, memory, memory_with, says, turn};
use tally_memory::secrets::{Identifiers, SecretKind, Secrets};
use tally_memory::speech::recalled;
use tally_memory::{
    Layer, Memory, MemoryId, Moment, Options, RecallError, RememberError, Role, Search, Turn,
    TurnError,
};

fn conversation() -> Vec<Turn> {
    vec![
        says(0, "I adopted a puppy called Biscuit, canary-2718."),
        turn(
            Role::Assistant,
            "assistant",
            0,
            "How lovely! What breed is Biscuit?",
        ),
        says(0, "A beagle. We got him from the shelter in Ghent."),
        turn(
            Role::Person,
            "Lena",
            1,
            "My violin lessons start on Tuesday.",
        ),
    ]
}

#[test]
fn what_was_said_is_found_again_and_nothing_of_it_lies_open_on_the_disk() {
    let (computer, vault) = Computer::new();
    let mut first = memory(&vault);
    let report = first.remember(&conversation()).expect("remembered");
    assert_eq!(report.new.len(), 4);
    drop((first, vault));

    let vault = computer.open();
    let memory = memory(&vault);
    let found = memory
        .recall(&Search::new("When do the violin lessons start?"), at(2))
        .expect("asked");
    let best = &found.hits[0];
    assert_eq!((best.speaker.as_str(), best.app.as_str()), ("Lena", "chat"));
    assert_eq!(
        best.evidence[0].words.as_deref(),
        Some("My violin lessons start on Tuesday.")
    );
    assert!(!best.trace.0.is_empty());
    assert!(found.context().contains("Lena: My violin lessons"));
    assert!(!computer.lies_about("canary-2718"));
    assert!(!computer.lies_about("Biscuit"));
    assert!(!computer.lies_about("tally.episode"));
}

#[test]
fn ten_replays_add_nothing() {
    let (_computer, vault) = Computer::new();
    let mut memory = memory(&vault);
    memory.remember(&conversation()).expect("remembered");
    memory
        .learn(&Parrot::default(), at(2), usize::MAX, |_| ())
        .expect("learnt");
    let before = memory.counts();
    assert!(before.facts > 0);
    for _ in 0..10 {
        let report = memory.remember(&conversation()).expect("remembered");
        assert_eq!((report.new.len(), report.known), (0, 4));
        let learnt = memory
            .learn(&Parrot::default(), at(3), usize::MAX, |_| ())
            .expect("learnt");
        assert_eq!((learnt.facts.len(), learnt.calls.len()), (0, 0));
    }
    assert_eq!(memory.counts(), before);
    // Told again in another conversation, it is another episode and no new fact.
    let elsewhere: Vec<Turn> = conversation()
        .into_iter()
        .map(|turn| Turn {
            thread: "two".into(),
            ..turn
        })
        .collect();
    assert_eq!(
        memory.remember(&elsewhere).expect("remembered").new.len(),
        4
    );
    let learnt = memory
        .learn(&Parrot::default(), at(3), usize::MAX, |_| ())
        .expect("learnt");
    assert_eq!(learnt.facts, []);
    assert_eq!(memory.counts().facts, before.facts);
}

/// A turn that says not when it was said.
fn now(thread: &str, text: &str) -> Turn {
    Turn {
        thread: thread.into(),
        at: None,
        ..says(0, text)
    }
}

#[test]
fn what_is_said_now_is_of_now_and_the_same_words_on_another_day_are_said_again() {
    let (_computer, vault) = Computer::new();
    let mut memory = memory(&vault);
    let migraine = [now("", "I had a migraine today.")];
    let mut come = |moment| {
        let report = memory.remember_live(&migraine, moment).expect("kept");
        (report.new, report.known)
    };
    let (first, known) = come(at(0));
    assert_eq!((first.len(), known), (1, 0));
    // Whoever asks again, ten times over, adds nothing.
    for minutes in 1..=10 {
        let later = Moment::from_unix_ms(at(0).unix_ms() + minutes * 60_000).expect("a moment");
        assert_eq!(come(later), (vec![], 1));
    }
    let (second, _) = come(at(7));
    assert_eq!(second.len(), 1);
    assert_eq!(come(at(7)), (vec![], 1));
    let said = |id| memory.episode(id).expect("it is there").0.at;
    assert_eq!(
        (said(&first[0]), said(&second[0])),
        (Some(at(0)), Some(at(7)))
    );
    // In a file it would be of no day.
    let report = memory.remember(&migraine).expect("kept");
    assert_eq!(memory.episode(&report.new[0]).expect("there").0.at, None);
}

#[test]
fn dates_in_what_is_said_now_count_from_now() {
    let (_computer, vault) = Computer::new();
    let mut memory = memory(&vault);
    memory
        .remember_live(&[now("one", "I moved to Berlin last month.")], at(0))
        .expect("kept");
    let learnt = memory
        .learn(&Parrot::default(), at(1), usize::MAX, |_| ())
        .expect("learnt");
    let fact = memory.fact(&learnt.facts[0]).expect("it is there");
    let from = fact.from.map(|from| from.to_string());
    assert_eq!(from.as_deref(), Some("2026-10-01T00:00:00Z"));
    assert_eq!(fact.observed, at(0));
}

#[test]
fn an_app_that_hands_over_all_of_a_conversation_each_day_adds_what_is_new() {
    let (_computer, vault) = Computer::new();
    let mut memory = memory(&vault);
    let mut turns = vec![
        now("one", "I ran yesterday."),
        now("one", "Yes."),
        now("one", "Yes."),
    ];
    for day in 0..4 {
        let report = memory.remember_live(&turns, at(day)).expect("kept");
        let new = if day == 0 { 3 } else { 1 };
        assert_eq!((report.new.len(), report.known), (new, turns.len() - new));
        let again = memory.remember_live(&turns, at(day)).expect("kept");
        assert_eq!((again.new.len(), again.known), (0, turns.len()));
        turns.push(now("one", &format!("I ran {day} miles.")));
    }
    // By its own name a turn is the same at any time.
    let keyed = [Turn {
        key: Some("7".into()),
        ..now("two", "Yes.")
    }];
    for (day, new) in [(0, 1), (30, 0)] {
        let report = memory.remember_live(&keyed, at(day)).expect("kept");
        assert_eq!(report.new.len(), new);
    }
}

#[test]
fn what_was_forgotten_does_not_come_back_from_an_app_that_says_no_times() {
    let (_computer, vault) = Computer::new();
    let mut memory = memory(&vault);
    let turns = [now("one", "I like figs."), now("one", "I like dates.")];
    let report = memory.remember_live(&turns, at(0)).expect("kept");
    let figs = MemoryId::Episode(report.new[0]);
    memory.forget(&[figs], "", at(1)).expect("forgotten");
    for day in [0, 1, 9] {
        let report = memory.remember_live(&turns, at(day)).expect("kept");
        assert_eq!(report.forgotten, 1, "day {day}");
        assert!(report.new.len() <= 1);
    }
    let kept = memory.episodes();
    let texts: Vec<&str> = kept
        .iter()
        .filter_map(|id| Some(memory.episode(id)?.0.text.as_str()))
        .collect();
    assert!(!texts.contains(&"I like figs."), "{texts:?}");
}

#[test]
fn two_equal_turns_of_one_conversation_are_two_and_stay_two() {
    let (_computer, vault) = Computer::new();
    let mut memory = memory(&vault);
    let twice = [says(0, "Yes."), says(0, "Yes.")];
    assert_eq!(memory.remember(&twice).expect("remembered").new.len(), 2);
    assert_eq!(memory.remember(&twice).expect("remembered").known, 2);
}

#[test]
fn a_turn_that_cannot_be_kept_is_named_and_nothing_of_the_rest_is_lost_silently() {
    let (_computer, vault) = Computer::new();
    let mut memory = memory(&vault);
    let bad = [
        says(0, "fine"),
        Turn {
            speaker: "a\u{7}b".into(),
            ..says(0, "not")
        },
    ];
    let error = memory
        .remember(&bad)
        .expect_err("a control character in a name");
    assert!(
        matches!(
            error,
            RememberError::Turn(TurnError::Field { index: 1, .. })
        ),
        "{error}"
    );
    assert_eq!(memory.counts().episodes, 0);
    let report = memory
        .remember(&[says(0, "  \n"), says(0, "fine")])
        .expect("remembered");
    assert_eq!((report.new.len(), report.empty), (1, 1));
    assert!(matches!(
        memory.recall(&Search::new(" "), at(0)),
        Err(RecallError::Empty)
    ));
}

#[test]
fn identifiers_are_kept_or_dropped_by_kind_unless_the_owner_says_otherwise() {
    let text = "My passport number is X1234567. My phone number is 0470 12 34 56.";
    // What the owner wants, and what a program is opened with: the stricter counts.
    for (wanted, asked, passport, phone) in [
        (None, None, false, true),
        (Some(Identifiers::Keep), None, true, true),
        (Some(Identifiers::Drop), None, false, false),
        (None, Some(Identifiers::Drop), false, false),
        (None, Some(Identifiers::Keep), false, true),
        (
            Some(Identifiers::Drop),
            Some(Identifiers::Keep),
            false,
            false,
        ),
        (
            Some(Identifiers::Keep),
            Some(Identifiers::ByKind),
            false,
            true,
        ),
    ] {
        let (_computer, vault) = Computer::new();
        if let Some(wanted) = wanted {
            let mut owners = memory(&vault);
            owners.set_policy(wanted, at(0)).expect("it is written");
            assert_eq!(owners.policy(), (wanted, Some(at(0))));
        }
        let options = Options {
            identifiers: asked,
            ..Options::default()
        };
        let mut memory = Memory::open(vault.clone(), "memory", options).expect("it opens");
        let report = memory.remember(&[says(0, text)]).expect("remembered");
        let kept = &memory.episode(&report.new[0]).expect("it is there").0.text;
        assert_eq!(
            (kept.contains("X1234567"), kept.contains("0470")),
            (passport, phone),
            "{kept}"
        );
        // A number is shown to no model, whatever is kept; a way to reach somebody is.
        let parrot = Parrot::default();
        memory
            .learn(&parrot, at(0), usize::MAX, |_| ())
            .expect("learnt");
        let seen = parrot.seen.lock().expect("no panic").clone();
        assert_eq!(
            (seen.contains("X1234567"), seen.contains("0470")),
            (false, phone),
            "{seen}"
        );
    }
}

#[test]
fn the_policy_that_the_owner_chose_last_counts_for_every_program_whatever_its_clock_says() {
    let (computer, vault) = Computer::new();
    let (mut first, mut second) = (memory(&vault), memory(&vault));
    assert_eq!(first.policy(), (Identifiers::ByKind, None));
    first.set_policy(Identifiers::Drop, at(9)).expect("written");
    second.refresh().expect("it is read");
    assert_eq!(second.identifiers(), Identifiers::Drop);
    second
        .set_policy(Identifiers::Keep, at(1))
        .expect("written");
    first.refresh().expect("it is read");
    assert_eq!(first.identifiers(), Identifiers::Keep);
    // It is no memory, and survives what is built anew.
    let report = first.remember(&[says(0, "I like figs.")]).expect("kept");
    let gone = MemoryId::Episode(report.new[0]);
    first.forget(&[gone], "", at(2)).expect("forgotten");
    assert_eq!(first.identifiers(), Identifiers::Keep);
    drop((first, second, vault));
    assert_eq!(memory(&computer.open()).identifiers(), Identifiers::Keep);
}

const GROUP: &str = "WhatsApp Chat with +32 470 12 34 56";

/// What two people say in a chat who are known by their telephone numbers.
fn by_number() -> [Turn; 2] {
    let from = |speaker: &str, text: &str| Turn {
        thread: GROUP.into(),
        ..turn(Role::Person, speaker, 0, text)
    };
    [
        from("+32 470 12 34 56", "My violin lessons start on Tuesday."),
        from("+32 470 65 43 21", "My violin is broken."),
    ]
}

#[test]
fn names_are_kept_by_the_same_policy_and_two_speakers_stay_two() {
    let (_computer, vault) = Computer::new();
    let options = Options {
        identifiers: Some(Identifiers::Drop),
        ..Options::default()
    };
    let mut memory = Memory::open(vault.clone(), "memory", options).expect("it opens");
    let report = memory.remember(&by_number()).expect("kept");
    assert_eq!(report.new.len(), 2);
    assert_eq!(memory.remember(&by_number()).expect("kept").known, 2);
    let parrot = Parrot::default();
    memory
        .learn(&parrot, at(1), usize::MAX, |_| ())
        .expect("learnt");
    let seen = parrot.seen.lock().expect("no panic").clone();
    let search = |threads: &[&str], speakers: &[&str]| {
        let owned = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let search = Search {
            only: Some(Layer::Episodes),
            threads: owned(threads),
            speakers: owned(speakers),
            ..Search::new("violin")
        };
        memory.recall(&search, at(1)).expect("asked")
    };
    let found = search(&[], &[]);
    for shown in [
        seen,
        found.context(),
        memory.export_markdown(at(1)),
        serde_json::to_string(&memory.export(at(1))).expect("JSON"),
    ] {
        assert!(shown.contains("[phone number "), "{shown}");
        for number in ["12 34 56", "65 43 21"] {
            assert!(!shown.contains(number), "{shown}");
        }
    }
    assert_eq!(found.hits.len(), 2);
    assert_ne!(found.hits[0].speaker, found.hits[1].speaker);
    // Whoever asks knows the names as they were.
    let one = search(&[GROUP], &["+32 470 65 43 21"]);
    let texts: Vec<&str> = one.hits.iter().map(|hit| hit.text.as_str()).collect();
    assert_eq!(texts, ["My violin is broken."]);
    assert!(search(&["another"], &[]).hits.is_empty());
    assert_eq!(memory.said_in("chat", Some(GROUP)).len(), 2);
    assert_eq!(memory.said_in("chat", Some("another")), []);
}

#[test]
fn what_was_kept_under_another_name_before_is_known_and_stays_forgotten() {
    let (_computer, vault) = Computer::new();
    let mut before = memory(&vault);
    let report = before.remember(&by_number()).expect("kept");
    let first = MemoryId::Episode(report.new[0]);
    before.forget(&[first], "", at(1)).expect("forgotten");
    let options = Options {
        identifiers: Some(Identifiers::Drop),
        ..Options::default()
    };
    let mut now = Memory::open(vault, "memory", options).expect("it opens");
    let again = now.remember(&by_number()).expect("kept");
    assert_eq!((again.new.len(), again.known, again.forgotten), (0, 1, 1));
}

#[test]
fn titles_and_reasons_have_no_secrets_whatever_is_kept_of_words() {
    let (_computer, vault) = Computer::new();
    let options = Options {
        secrets: Secrets::Keep,
        identifiers: Some(Identifiers::Keep),
        ..Options::default()
    };
    let mut memory = Memory::open(vault.clone(), "memory", options).expect("it opens");
    let title = "Invoice of DE89 3704 0044 0532 0130 00";
    let turns = [
        turn(Role::Document, title, 0, "The roof leaks."),
        says(0, "I live in Ghent."),
    ];
    memory.remember(&turns).expect("kept");
    memory
        .learn(&Parrot::default(), at(1), usize::MAX, |_| ())
        .expect("learnt");
    let found = memory
        .recall(&Search::new("Which roof leaks?"), at(1))
        .expect("asked");
    assert!(!found.context().contains("DE89"), "{}", found.context());
    assert!(!memory.export_markdown(at(1)).contains("DE89"));

    let why = "my card 4111 1111 1111 1111 says so";
    let fact = memory.facts()[0];
    let right = memory
        .correct(&fact, "I live in Bruges", None, None, why, at(2))
        .expect("corrected");
    let events = memory.history(&right).expect("known");
    let sentences: Vec<String> = events.into_iter().map(|event| event.sentence).collect();
    let sentences = sentences.join("\n");
    assert!(sentences.contains("my card [card number not kept] says so"));
    assert!(!sentences.contains("4111"), "{sentences}");
    memory.forget(&[right], why, at(3)).expect("forgotten");
    let mut open = vault.lock().expect("no panic");
    let operations: Vec<_> = open.view().log().map(|row| row.operation).collect();
    let reasons: Vec<String> = operations
        .iter()
        .filter_map(|id| Some(open.reason(id).ok()?.as_str().to_owned()))
        .collect();
    assert!(!reasons.is_empty());
    for reason in reasons {
        assert_eq!(reason, "my card [card number not kept] says so");
    }
}

#[test]
fn secrets_are_in_no_index_no_prompt_and_kept_only_where_the_owner_says_so() {
    let text = "My card is 4111 1111 1111 1111. I use the key sk-abcdefghijkl0123456789mnop. I like rye bread.";
    for policy in [Secrets::Drop, Secrets::Keep] {
        let (_computer, vault) = Computer::new();
        let options = Options {
            secrets: policy,
            ..Options::default()
        };
        let mut memory = Memory::open(vault.clone(), "memory", options).expect("it opens");
        let report = memory.remember(&[says(0, text)]).expect("remembered");
        let kept = &memory.episode(&report.new[0]).expect("it is there").0.text;
        assert_eq!(kept.contains("4111"), policy == Secrets::Keep);
        let taken: Vec<SecretKind> = report.secrets.iter().map(|(_, kind)| *kind).collect();
        match policy {
            Secrets::Drop => assert_eq!(taken, [SecretKind::Card, SecretKind::ApiKey]),
            Secrets::Keep => assert_eq!(taken, []),
        }
        let parrot = Parrot {
            always: vec![("My card is 4111 1111 1111 1111".into(), "user".into())],
            ..Parrot::default()
        };
        memory
            .learn(&parrot, at(0), usize::MAX, |_| ())
            .expect("learnt");
        let seen = parrot.seen.lock().expect("no panic").clone();
        assert!(!seen.contains("4111") && !seen.contains("sk-abc"), "{seen}");
        for query in [
            "card 4111 1111 1111 1111",
            "sk-abcdefghijkl0123456789mnop",
            "rye bread",
        ] {
            let found = memory.recall(&Search::new(query), at(1)).expect("asked");
            for hit in &found.hits {
                assert!(
                    !hit.text.contains("4111") && !hit.text.contains("sk-abc"),
                    "{}",
                    hit.text
                );
                for cited in &hit.evidence {
                    assert!(!cited.words.as_deref().unwrap_or_default().contains("4111"));
                }
            }
        }
        assert!(!memory.export_markdown(at(1)).contains("4111"));
        assert!(
            memory.facts().iter().all(|id| !memory
                .show(id)
                .expect("shown")
                .fact
                .text
                .contains("41"))
        );
    }
}

#[test]
fn what_was_recalled_is_not_found_as_if_it_was_said() {
    let (_computer, vault) = Computer::new();
    let mut memory = memory(&vault);
    let echo = format!(
        "{}\nWhat should I cook?",
        recalled("Anna: I own a submarine")
    );
    memory.remember(&[says(0, &echo)]).expect("remembered");
    let found = memory
        .recall(&Search::new("submarine"), at(1))
        .expect("asked");
    assert!(found.hits.iter().all(|hit| !hit.text.contains("submarine")));
}

#[test]
fn vectors_are_made_once_and_a_failing_model_is_an_error() {
    let (computer, vault) = Computer::new();
    let letters = Arc::new(Letters::default());
    let mut first = memory_with(&vault, letters.clone());
    letters.fails.store(true, Ordering::Relaxed);
    let error = first
        .remember(&conversation())
        .expect_err("the model is gone");
    assert!(
        matches!(error, RememberError::Embed { kept: 4, .. }),
        "{error}"
    );
    assert!(matches!(
        first.recall(&Search::new("violin"), at(2)),
        Err(RecallError::Embed(_))
    ));
    letters.fails.store(false, Ordering::Relaxed);
    assert_eq!(
        first
            .remember(&conversation())
            .expect("remembered")
            .embedded,
        4
    );
    assert_eq!(letters.texts.load(Ordering::Relaxed), 4);
    assert_eq!(first.counts().without_vectors, 0);
    drop((first, vault));

    let vault = computer.open();
    let memory = memory_with(&vault, letters.clone());
    assert_eq!(memory.counts().without_vectors, 0);
    assert_eq!(
        letters.texts.load(Ordering::Relaxed),
        4,
        "opening embeds nothing"
    );
    let search = Search {
        only: Some(Layer::Episodes),
        ..Search::new("violin lessons")
    };
    let found = memory.recall(&search, at(2)).expect("asked");
    assert_eq!(found.hits[0].speaker, "Lena");
}

#[test]
fn who_shares_a_memory_lets_go_of_it_while_a_model_makes_vectors() {
    let (_computer, vault) = Computer::new();
    let mut memory = memory_with(&vault, Arc::new(Letters::default()));
    let report = memory.remember_words(&conversation()).expect("kept");
    assert_eq!((report.new.len(), report.embedded), (4, 0));
    assert_eq!(memory.counts().without_vectors, 4);
    let search = Search::new("violin lessons");
    let found = memory.recall(&search, at(2)).expect("asked");
    assert_eq!(found.hits[0].speaker, "Lena", "by its words");
    // Those that are asked for come first, and no more than are asked for.
    let last = report.new[3];
    let texts = memory.to_embed(&[last], 1).expect("they wait");
    let kept = texts.embed().expect("embedded").keep().expect("written");
    assert_eq!(memory.take_vectors(&kept).expect("read"), 1);
    assert!(!memory.awaits_vectors(&last) && memory.awaits_vectors(&report.new[0]));
    let texts = memory.to_embed(&[], 100).expect("three wait");
    let kept = texts.embed().expect("embedded").keep().expect("written");
    assert_eq!(memory.take_vectors(&kept).expect("read"), 3);
    assert!(memory.to_embed(&[], 100).is_none());
    assert_eq!(memory.counts().without_vectors, 0);
}

#[test]
fn what_is_forgotten_while_a_model_makes_its_vector_leaves_none() {
    let (_computer, vault) = Computer::new();
    let mut memory = memory_with(&vault, Arc::new(Letters::default()));
    let report = memory.remember_words(&conversation()).expect("kept");
    let texts = memory.to_embed(&[], 100).expect("they wait");
    let embedded = texts.embed().expect("embedded");
    let gone = [MemoryId::Episode(report.new[0])];
    memory.forget(&gone, "", at(2)).expect("forgotten");
    let kept = embedded.keep().expect("written");
    assert_eq!(memory.take_vectors(&kept).expect("read"), 3);
    // And where all are gone, nothing is written.
    let more = memory
        .remember_words(&[says(3, "I sold the car.")])
        .expect("kept");
    let texts = memory.to_embed(&[], 100).expect("one waits");
    let embedded = texts.embed().expect("embedded");
    let gone = [MemoryId::Episode(more.new[0])];
    memory.forget(&gone, "", at(3)).expect("forgotten");
    let written = |vault: &tally_memory::SharedVault| {
        let mut vault = vault.lock().expect("no panic");
        vault.view().current().len()
    };
    let before = written(&vault);
    let kept = embedded.keep().expect("nothing to write");
    assert_eq!(memory.take_vectors(&kept).expect("read"), 0);
    assert_eq!(written(&vault), before);
}

#[test]
fn who_waits_hears_how_many_texts_are_embedded_and_of_how_many() {
    let (_computer, vault) = Computer::new();
    let mut memory = memory_with(&vault, Arc::new(Letters::default()));
    let mut heard = Vec::new();
    let report = memory
        .remember_telling(&conversation(), |done, of| heard.push((done, of)))
        .expect("remembered");
    assert_eq!(report.embedded, 4);
    assert_eq!(heard, [(4, 4)]);
}

#[test]
fn apps_and_threads_narrow_what_is_found_together() {
    let (_computer, vault) = Computer::new();
    let mut memory = memory(&vault);
    let elsewhere = |app: &str, thread: &str| Turn {
        app: app.into(),
        thread: thread.into(),
        ..says(0, "I bought a kayak")
    };
    memory
        .remember(&[
            elsewhere("a", "x"),
            elsewhere("a", "y"),
            elsewhere("b", "x"),
        ])
        .expect("remembered");
    let search = Search {
        apps: vec!["a".into()],
        threads: vec!["x".into()],
        ..Search::new("kayak")
    };
    let found = memory.recall(&search, at(1)).expect("asked");
    let places: Vec<(&str, &str)> = found
        .hits
        .iter()
        .map(|hit| (hit.app.as_str(), hit.thread.as_str()))
        .collect();
    assert_eq!(places, [("a", "x")]);
}

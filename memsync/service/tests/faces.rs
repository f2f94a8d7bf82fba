//! A real memory in a real vault, through the gateway's trait and through its REST.

#[path = "../../../runtime/gateway/tests/common/described.rs"]
mod described;
#[path = "../../memory/tests/support/mod.rs"]
mod support;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use serde_json::{Value, json};
use support::{Computer, Letters, Parrot, at, memory, memory_with};
use tally_gateway::{
    BioLength, Config, Gateway, KeyRing, Level, Listing, MemoryService, NewTurn, Origin, Recall,
    Remember, Scope, ServiceError, Status, UnixMs, Voice,
};
use tally_memory::recall::{EmbedError, Embedder, Embedding, RerankError, Reranker};
use tally_memory::secrets::Identifiers;
use tally_memory::{Answer, Ask, Category, ChatModel, Dialect, Memory, ModelError, SharedVault};
use tally_memory_service::{Model, PIECE, VaultMemory, in_pieces, turns_of};
use tower::ServiceExt;

/// The memory of a vault. The clock stands two days after everything was said.
fn service(vault: &SharedVault, model: Option<Parrot>) -> VaultMemory {
    let learning = model.map(|model| (memory(vault), Box::new(model) as Model));
    VaultMemory::new(
        vault.clone(),
        memory(vault),
        learning,
        Arc::new(|| at(2)),
        Arc::new(|vault| {
            Ok(vec![tally_gateway::GrantInfo {
                name: vault.grants().len().to_string(),
                ..Default::default()
            }])
        }),
    )
}

fn signing() -> Option<Parrot> {
    Some(Parrot {
        signs: true,
        ..Parrot::default()
    })
}

fn said(texts: &[&str]) -> Remember {
    Remember {
        app: "chat".to_owned(),
        thread: "one".to_owned(),
        turns: texts
            .iter()
            .map(|text| NewTurn {
                key: None,
                voice: Voice::User,
                speaker: Some("Anna".to_owned()),
                at: Some(UnixMs(at(0).unix_ms())),
                text: (*text).to_owned(),
            })
            .collect(),
    }
}

#[test]
fn what_is_said_is_kept_learnt_and_shown_with_evidence_and_receipt() {
    let (_computer, vault) = Computer::new();
    let service = service(&vault, signing());
    let kept = service.remember(said(&["I live in Ghent."])).unwrap();
    assert_eq!((kept.episodes, kept.known, kept.note), (1, 0, None));
    let fact = &kept.facts[0];
    assert_eq!((fact.level, fact.status), (Level::Fact, Status::Current));
    assert_eq!(
        fact.evidence[0].words.trim_end_matches('.'),
        "I live in Ghent"
    );
    assert_eq!(fact.evidence[0].speaker.as_deref(), Some("Anna"));
    assert_eq!(fact.source.as_deref(), Some("chat"));
    assert_eq!(fact.observed_at, Some(UnixMs(at(0).unix_ms())));
    assert_eq!(fact.receipt.as_ref().map(String::len), Some(64));
    let again = service.remember(said(&["I live in Ghent."])).unwrap();
    assert_eq!((again.episodes, again.known, again.facts.len()), (0, 1, 0));

    let found = service
        .recall(Recall {
            query: "where does Anna live?".to_owned(),
            limit: 5,
            ..Recall::default()
        })
        .unwrap();
    assert!(
        found.hits.iter().any(|hit| hit.memory.id == fact.id),
        "{found:?}"
    );
    assert!(found.hits.iter().all(|hit| !hit.trace.is_empty()));
    assert!(found.context.contains("Ghent"));
    let calls = service.calls(10).unwrap();
    assert_eq!(
        (calls.len(), &*calls[0].outcome),
        (1, "1 fact kept, 0 proposals refused")
    );
    assert_eq!(calls[0].receipt, fact.receipt);
    let profile = service.profile().unwrap();
    assert!(profile.user_bio.contains("Ghent"));
    assert_eq!(profile.lasting[0].id, fact.id);
    assert!(matches!(
        service.set_bio(Some("x")),
        Err(ServiceError::Unsupported(_))
    ));
    assert!(!service.grants().unwrap().is_empty());
}

#[test]
fn what_comes_without_a_time_is_said_now() {
    let (_computer, vault) = Computer::new();
    let days = Arc::new(AtomicI64::new(0));
    let today = Arc::clone(&days);
    let service = VaultMemory::new(
        vault.clone(),
        memory(&vault),
        signing().map(|model| (memory(&vault), Box::new(model) as Model)),
        Arc::new(move || at(today.load(Ordering::Relaxed))),
        Arc::new(|_| Ok(Vec::new())),
    );
    let come = |text: &str| {
        let mut turns = said(&[text]);
        turns.turns[0].at = None;
        service.remember(turns).unwrap()
    };
    let moved = come("I moved to Berlin last month.").facts.remove(0);
    assert_eq!(moved.observed_at, Some(UnixMs(at(0).unix_ms())));
    let from = moved.valid_from.map(UnixMs::date);
    assert_eq!(from.as_deref(), Some("2026-10-01"));
    let migraine = "I had a migraine today.";
    assert_eq!(come(migraine).episodes, 1);
    for _ in 0..10 {
        let again = come(migraine);
        assert_eq!((again.episodes, again.known), (0, 1));
    }
    days.store(7, Ordering::Relaxed);
    assert_eq!(come(migraine).episodes, 1);
}

#[test]
fn a_fact_is_corrected_confirmed_and_forgotten_with_what_it_rests_on() {
    let (_computer, vault) = Computer::new();
    let service = service(&vault, signing());
    let fact = service
        .remember(said(&["I live in Ghent."]))
        .unwrap()
        .facts
        .remove(0);
    let new = service
        .correct(&fact.id, "I live in Bruges")
        .unwrap()
        .memory;
    assert_eq!(
        (new.level, new.status, new.receipt.clone()),
        (Level::Correction, Status::Current, None)
    );
    assert_eq!(service.get(&fact.id).unwrap().status, Status::Corrected);
    let events: Vec<String> = service
        .history(&fact.id)
        .unwrap()
        .into_iter()
        .map(|it| it.event)
        .collect();
    assert!(
        events.contains(&"learnt".to_owned()) && events.contains(&"corrected".to_owned()),
        "{events:?}"
    );
    assert!(service.confirm(&fact.id).unwrap().confirmed);
    let current = |past| {
        let listing = Listing {
            limit: 10,
            past,
            ..Listing::default()
        };
        service
            .list(listing)
            .unwrap()
            .memories
            .into_iter()
            .map(|it| it.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(current(false), std::slice::from_ref(&new.id));
    assert_eq!(current(true).len(), 2);

    let episode = fact.evidence[0].episode.clone();
    assert!(matches!(
        service.correct(&episode, "x"),
        Err(ServiceError::Refused(_))
    ));
    let gone = service.forget(&new.id, true).unwrap().forgotten;
    for id in [&fact.id, &new.id, &episode] {
        assert!(gone.contains(id), "{gone:?}");
        assert_eq!(service.get(id), Err(ServiceError::NotFound));
    }
    // What was forgotten does not come back when it is said again.
    let again = service.remember(said(&["I live in Ghent."])).unwrap();
    assert_eq!((again.episodes, again.facts.len()), (0, 0));
    assert!(again.note.unwrap().contains("forgotten"));
}

#[test]
fn a_question_is_of_one_level_and_of_one_state() {
    let (_computer, vault) = Computer::new();
    let service = service(&vault, signing());
    let fact = service
        .remember(said(&["I live in Ghent."]))
        .unwrap()
        .facts
        .remove(0);
    let new = service.correct(&fact.id, "I live in Bruges").unwrap();
    let found = |change: fn(&mut Recall)| {
        let mut recall = Recall {
            query: "where does Anna live?".to_owned(),
            limit: 5,
            ..Recall::default()
        };
        change(&mut recall);
        let hits = service.recall(recall)?.hits.into_iter();
        Ok::<_, ServiceError>(hits.map(|hit| hit.memory.id).collect::<Vec<_>>())
    };
    let episode = &fact.evidence[0].episode;
    let one = std::slice::from_ref;
    assert_eq!(
        found(|it| it.level = Some(Level::Correction)).unwrap(),
        one(&new.memory.id)
    );
    assert_eq!(
        found(|it| it.level = Some(Level::Episode)).unwrap(),
        one(episode)
    );
    // It does not hold any more, so only who asks for everything finds it.
    assert!(found(|it| it.level = Some(Level::Fact)).unwrap().is_empty());
    let everything = found(|it| {
        it.level = Some(Level::Fact);
        it.past = true;
    });
    assert_eq!(everything.unwrap(), one(&fact.id));
    let both = found(|it| {
        it.as_of = Some(UnixMs(at(1).unix_ms()));
        it.past = true;
    });
    assert!(matches!(both, Err(ServiceError::Refused(_))), "{both:?}");
}

#[test]
fn one_is_told_in_the_singular_and_several_in_the_plural() {
    let (_computer, vault) = Computer::new();
    let service = service(&vault, signing());
    for (texts, note) in [
        (
            &["my password is hunter2"][..],
            "1 secret in it was not kept",
        ),
        (
            &["the PIN is 4711", "my passcode is 1234"][..],
            "2 secrets in it were not kept",
        ),
    ] {
        let kept = service.remember(said(texts)).unwrap();
        assert_eq!(kept.note.as_deref(), Some(note));
    }
    let kept = service
        .remember(said(&["I live in Ghent.", "I like figs very much."]))
        .unwrap();
    let calls = service.calls(10).unwrap();
    assert!(
        calls
            .iter()
            .any(|call| call.outcome.starts_with("2 facts kept, ")),
        "{calls:?}"
    );
    let episode = &kept.facts[0].evidence[0].episode;
    let forgotten = service.forget(episode, false).unwrap();
    assert!(
        forgotten
            .note
            .is_some_and(|note| note.contains("1 other fact stays"))
    );
    // Of the two one was forgotten, and the other is known.
    let again = said(&["I live in Ghent.", "I like figs very much."]);
    assert_eq!(
        service.remember(again).unwrap().note.as_deref(),
        Some("1 was forgotten before and stays so")
    );
}

#[test]
fn calls_that_the_machine_noted_stand_between_those_of_the_vault() {
    let (_computer, vault) = Computer::new();
    let noted = |limit: usize| {
        let call = |day| tally_gateway::CallInfo {
            at: UnixMs(at(day).unix_ms()),
            purpose: "embed".to_owned(),
            is_noted: true,
            ..Default::default()
        };
        Ok::<Vec<_>, ServiceError>([3, 1, 0].map(call).into_iter().take(limit).collect())
    };
    let unreadable = |_: usize| {
        Err::<Vec<tally_gateway::CallInfo>, _>(ServiceError::Failed("the disk".to_owned()))
    };
    let broken = service(&vault, None).showing_noted(Arc::new(unreadable));
    let service = service(&vault, signing()).showing_noted(Arc::new(noted));
    service.remember(said(&["I live in Ghent."])).unwrap();
    let shown: Vec<(String, bool)> = service
        .calls(2)
        .unwrap()
        .into_iter()
        .map(|call| (call.purpose, call.is_noted))
        .collect();
    // So many searches as there are, none hides what was learnt from.
    let noted = ("embed".to_owned(), true);
    assert_eq!(shown, [noted.clone(), ("extract".to_owned(), false), noted]);
    assert!(matches!(broken.calls(2), Err(ServiceError::Failed(_))));
}

#[test]
fn a_correction_names_the_one_that_held_before_it() {
    let (_computer, vault) = Computer::new();
    let days = AtomicI64::new(1);
    let service = VaultMemory::new(
        vault.clone(),
        memory(&vault),
        signing().map(|model| (memory(&vault), Box::new(model) as Model)),
        // Each look at the clock is a day later.
        Arc::new(move || at(days.fetch_add(1, Ordering::Relaxed))),
        Arc::new(|_| Ok(Vec::new())),
    );
    let fact = service
        .remember(said(&["I live in Ghent."]))
        .unwrap()
        .facts
        .remove(0);
    let correct = |id: &str, text: &str| service.correct(id, text).unwrap();
    let first = correct(&fact.id, "I live in Bruges");
    assert_eq!(first.supersedes, fact.id);
    // By the fact's id, which holds no more, and by the correction's.
    let second = correct(&fact.id, "I live in Antwerp");
    assert_eq!(second.supersedes, first.memory.id);
    let third = correct(&first.memory.id[..12], "I live in Liège");
    assert_eq!(third.supersedes, second.memory.id);
    let status = |id: &str| service.get(id).unwrap().status;
    for past in [&fact.id, &first.memory.id, &second.memory.id] {
        assert_eq!(status(past), Status::Corrected);
    }
    assert_eq!(status(&third.memory.id), Status::Current);
}

#[test]
fn without_a_model_what_is_said_is_kept_and_found() {
    let (_computer, vault) = Computer::new();
    let service = service(&vault, None);
    let kept = service
        .remember(said(&["The key lies under the pot."]))
        .unwrap();
    assert!(kept.facts.is_empty() && kept.note.unwrap().contains("without learning"));
    let found = service
        .recall(Recall {
            query: "key".to_owned(),
            limit: 5,
            ..Recall::default()
        })
        .unwrap();
    assert_eq!(found.hits[0].memory.level, Level::Episode);
    let listing = Listing {
        limit: 1,
        level: Some(Level::Episode),
        ..Listing::default()
    };
    assert_eq!(service.list(listing).unwrap().total, 1);
}

#[test]
fn a_model_that_fails_costs_the_facts_and_not_the_words() {
    let (_computer, vault) = Computer::new();
    let service = service(
        &vault,
        Some(Parrot {
            fails_at: Some(0),
            ..Parrot::default()
        }),
    );
    let kept = service.remember(said(&["I live in Ghent."])).unwrap();
    assert_eq!(kept.episodes, 1);
    let note = kept.note.unwrap();
    assert!(note.contains("the server's log says why"), "{note}");
    assert!(!note.contains("the worker is gone"), "{note}");
}

/// Looks until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn facts(service: &VaultMemory) -> u64 {
    let listing = Listing {
        limit: 1,
        level: Some(Level::Fact),
        ..Listing::default()
    };
    service.list(listing).unwrap().total
}

#[test]
fn what_is_left_to_learn_from_is_begun_with_although_nobody_says_anything() {
    let (_computer, vault) = Computer::new();
    memory(&vault)
        .remember(&[support::says(0, "I live in Ghent.")])
        .unwrap();
    let service = service(&vault, signing());
    until("it is learnt from", || facts(&service) == 1);
}

/// Does not answer so often, then as the parrot does.
struct Tired {
    often: AtomicI64,
    parrot: Parrot,
}

impl ChatModel for Tired {
    fn name(&self) -> &str {
        "tired"
    }

    fn dialect(&self) -> Dialect {
        Dialect::Any
    }

    fn ask(&self, ask: &Ask) -> Result<Answer, ModelError> {
        if self.often.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Err(ModelError {
                message: "/secret/path is gone".to_owned(),
                is_transient: true,
            });
        }
        self.parrot.ask(ask)
    }
}

/// The memory of a vault, learning with this model.
fn learning_with(vault: &SharedVault, model: Model) -> VaultMemory {
    VaultMemory::new(
        vault.clone(),
        memory(vault),
        Some((memory(vault), model)),
        Arc::new(|| at(2)),
        Arc::new(|_| Ok(Vec::new())),
    )
}

#[test]
fn learning_goes_on_by_itself_once_the_model_answers_again() {
    let (_computer, vault) = Computer::new();
    // Memory asks three times before it gives up.
    let tired = Tired {
        often: AtomicI64::new(3),
        parrot: Parrot::default(),
    };
    let service = learning_with(&vault, Box::new(tired));
    let kept = service.remember(said(&["I live in Ghent."])).unwrap();
    let note = kept.note.expect("it failed");
    assert!(note.contains("goes on by itself"), "{note}");
    assert!(!note.contains("secret"), "{note}");
    until("it is learnt from", || facts(&service) == 1);
}

/// Answers about the backlog only as often as it is let, and about everything else at once.
struct Held(Mutex<mpsc::Receiver<()>>);

impl ChatModel for Held {
    fn name(&self) -> &str {
        "held"
    }

    fn dialect(&self) -> Dialect {
        Dialect::Any
    }

    fn ask(&self, ask: &Ask) -> Result<Answer, ModelError> {
        let shown = &ask.messages.last().expect("a question").content;
        if shown.contains("fig trees") {
            // At the end of the test there is nobody to wait for.
            let _ = self.0.lock().expect("no panic").recv();
        }
        Parrot::default().ask(ask)
    }
}

#[test]
fn what_is_said_now_is_learnt_before_a_backlog_and_its_facts_are_answered() {
    let (_computer, vault) = Computer::new();
    let backlog: Vec<tally_memory::Turn> = (0..300)
        .map(|number| tally_memory::Turn {
            app: "an old chat".into(),
            ..support::says(-400, &format!("I planted {} fig trees.", number + 3))
        })
        .collect();
    memory(&vault).remember(&backlog).unwrap();
    let (let_on, held) = mpsc::channel();
    let service = Arc::new(learning_with(&vault, Box::new(Held(Mutex::new(held)))));
    let (sender, answer) = mpsc::channel();
    let telling = service.clone();
    std::thread::spawn(move || sender.send(telling.remember(said(&["I live in Ghent."]))));
    let begun = Instant::now();
    let kept = loop {
        let_on.send(()).expect("it learns");
        match answer.recv_timeout(Duration::from_millis(50)) {
            Ok(kept) => break kept.unwrap(),
            Err(_) => assert!(begun.elapsed() < Duration::from_secs(60), "no answer"),
        }
    };
    assert_eq!((kept.facts.len(), kept.note), (1, None));
    assert!(memory(&vault).counts().unlearnt_lines > 0);
}

/// Makes vectors of letters; of what Anna said once somebody waits for it to be asked and to answer.
struct Patient {
    letters: Letters,
    asked: Barrier,
    answers: Barrier,
}

impl Embedder for Patient {
    fn model(&self) -> &str {
        "letters"
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        if texts.iter().any(|text| text.starts_with("Anna: ")) {
            self.asked.wait();
            self.answers.wait();
        }
        self.letters.embed(texts)
    }
}

/// The memory of a vault, without learning, which embeds with this model.
fn embedding_with(vault: &SharedVault, embedder: tally_memory::SharedEmbedder) -> VaultMemory {
    VaultMemory::new(
        vault.clone(),
        memory_with(vault, embedder),
        None,
        Arc::new(|| at(2)),
        Arc::new(|_| Ok(Vec::new())),
    )
}

fn without_vectors(vault: &SharedVault) -> usize {
    let letters = Arc::new(Letters::default());
    memory_with(vault, letters).counts().without_vectors
}

#[test]
fn what_is_kept_is_found_by_its_words_while_a_model_embeds_it() {
    let (_computer, vault) = Computer::new();
    let patient = Arc::new(Patient {
        letters: Letters::default(),
        asked: Barrier::new(2),
        answers: Barrier::new(2),
    });
    let service = Arc::new(embedding_with(&vault, patient.clone()));
    let telling = service.clone();
    let told = std::thread::spawn(move || telling.remember(said(&["I moved the sofa."])));
    patient.asked.wait();
    let (sender, answer) = mpsc::channel();
    let asking = service.clone();
    std::thread::spawn(move || {
        let recall = Recall {
            query: "sofa".to_owned(),
            limit: 5,
            ..Recall::default()
        };
        sender.send(asking.recall(recall))
    });
    let found = answer
        .recv_timeout(Duration::from_secs(15))
        .expect("nobody waits for the model")
        .unwrap();
    assert_eq!(found.hits[0].memory.text, "I moved the sofa.");
    assert_eq!(without_vectors(&vault), 1);
    patient.answers.wait();
    let kept = told.join().expect("no panic").unwrap();
    let note = kept.note.expect("nothing is learnt");
    assert!(!note.contains("vectors"), "{note}");
    assert_eq!(without_vectors(&vault), 0);
}

#[test]
fn what_has_no_vectors_is_embedded_in_the_background_from_the_start() {
    let (_computer, vault) = Computer::new();
    let turns: Vec<tally_memory::Turn> = (0..100)
        .map(|number| support::says(0, &format!("I planted {number} fig trees.")))
        .collect();
    memory(&vault).remember(&turns).unwrap();
    assert_eq!(without_vectors(&vault), 100);
    let _service = embedding_with(&vault, Arc::new(Letters::default()));
    until("all have vectors", || without_vectors(&vault) == 0);
}

#[test]
fn an_embedding_model_that_fails_costs_vectors_and_not_words() {
    let (_computer, vault) = Computer::new();
    let letters = Arc::new(Letters::default());
    letters.fails.store(true, Ordering::Relaxed);
    let service = embedding_with(&vault, letters.clone());
    let kept = service.remember(said(&["I moved the sofa."])).unwrap();
    let note = kept.note.expect("it failed");
    assert!(note.contains("found by its words"), "{note}");
    assert!(!note.contains("the worker is gone"), "{note}");
    letters.fails.store(false, Ordering::Relaxed);
    until("it goes on", || without_vectors(&vault) == 0);
}

/// Does not embed.
struct Mute {
    is_transient: bool,
}

impl Embedder for Mute {
    fn model(&self) -> &str {
        "letters"
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        Err(EmbedError {
            texts: texts.len(),
            reason: "/secret/path/model.gguf is no model".to_owned(),
            is_transient: self.is_transient,
        })
    }
}

#[test]
fn whoever_searches_is_to_ask_again_only_where_that_helps() {
    let (_computer, vault) = Computer::new();
    let recall = |is_transient| {
        let service = embedding_with(&vault, Arc::new(Mute { is_transient }));
        service.recall(Recall {
            query: "sofa".to_owned(),
            limit: 5,
            ..Recall::default()
        })
    };
    assert!(matches!(recall(false), Err(ServiceError::Failed(_))));
    match recall(true) {
        Err(ServiceError::Busy(sentence)) => assert!(!sentence.contains("secret"), "{sentence}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_list_goes_on_where_its_page_ended_whatever_was_said_or_forgotten_since() {
    let (_computer, vault) = Computer::new();
    let tell = |days: std::ops::Range<i64>| {
        let turns: Vec<tally_memory::Turn> = days
            .map(|day| support::says(day, &format!("Day {day}.")))
            .collect();
        memory(&vault).remember(&turns).unwrap();
    };
    tell(0..9);
    let service = service(&vault, None);
    let page = |cursor: Option<String>| {
        let listing = Listing {
            cursor,
            limit: 3,
            level: Some(Level::Episode),
            ..Listing::default()
        };
        let listed = service.list(listing).unwrap();
        let texts: Vec<String> = listed.memories.iter().map(|it| it.text.clone()).collect();
        (listed, texts)
    };
    let (first, texts) = page(None);
    assert_eq!(texts, ["Day 8.", "Day 7.", "Day 6."]);
    // Whoever cleans up forgets a page and goes on.
    for memory in &first.memories {
        service.forget(&memory.id, false).unwrap();
    }
    let (second, texts) = page(first.next);
    assert_eq!(texts, ["Day 5.", "Day 4.", "Day 3."]);
    // What is said meanwhile comes before all of them.
    tell(20..23);
    until("it is seen", || page(None).1[0] == "Day 22.");
    let (third, texts) = page(second.next);
    assert_eq!(texts, ["Day 2.", "Day 1.", "Day 0."]);
    assert_eq!((third.next, third.total), (None, 9));
    // A cursor is of its list.
    let other = Listing {
        cursor: page(None).0.next,
        limit: 3,
        ..Listing::default()
    };
    assert!(matches!(service.list(other), Err(ServiceError::Refused(_))));
}

#[test]
fn several_are_forgotten_with_one_rebuild_of_the_index() {
    let (_computer, vault) = Computer::new();
    let made = Arc::new(AtomicI64::new(0));
    let counting = made.clone();
    let make: tally_memory::MakeVectors = Arc::new(move || {
        counting.fetch_add(1, Ordering::Relaxed);
        Box::new(tally_memory::recall::ExactVectors::new())
    });
    let options = tally_memory::Options::default();
    let answering = Memory::open_over(vault.clone(), "memory", options, None, make).unwrap();
    let service = VaultMemory::new(
        vault.clone(),
        answering,
        None,
        Arc::new(|| at(2)),
        Arc::new(|_| Ok(Vec::new())),
    );
    let texts: Vec<String> = (0..10).map(|number| format!("Turn {number}.")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    service.remember(said(&texts)).unwrap();
    let listing = Listing {
        limit: 10,
        level: Some(Level::Episode),
        ..Listing::default()
    };
    let listed = service.list(listing).unwrap().memories;
    let mut ids: Vec<String> = listed.into_iter().map(|memory| memory.id).collect();
    assert_eq!(ids.len(), 10);
    let missing = "f".repeat(64);
    ids.insert(3, missing.clone());
    let before = made.load(Ordering::Relaxed);
    let done = service.forget_many(&ids, true).unwrap();
    assert_eq!(made.load(Ordering::Relaxed), before + 1);
    assert_eq!(done.forgotten.forgotten.len(), 10);
    assert_eq!(
        (done.not_found, done.failed.len()),
        (vec![missing.clone()], 0)
    );
    // Where nothing is there, nothing is done.
    let done = service.forget_many(&[missing], false).unwrap();
    assert_eq!(done.forgotten.forgotten, [""; 0]);
    assert_eq!(made.load(Ordering::Relaxed), before + 1);
}

#[test]
fn what_came_from_somewhere_is_listed_and_forgotten_by_the_name_that_it_had() {
    let (_computer, vault) = Computer::new();
    let mut owners = memory(&vault);
    owners.set_policy(Identifiers::Drop, at(0)).unwrap();
    let service = service(&vault, None);
    let chat = "Chat with +32 470 12 34 56";
    let by_number = Remember {
        thread: chat.to_owned(),
        ..said(&["I row."])
    };
    service.remember(by_number).unwrap();
    service.remember(said(&["I sing."])).unwrap();
    let listed = |thread: Option<&str>| {
        let listing = Listing {
            limit: 10,
            level: Some(Level::Episode),
            thread: thread.map(str::to_owned),
            ..Listing::default()
        };
        service.list(listing).unwrap()
    };
    let found = listed(Some(chat));
    assert_eq!(found.total, 1);
    let kept_as = found.memories[0].thread_id.as_deref().unwrap();
    assert!(kept_as.starts_with("Chat with [phone number "), "{kept_as}");
    assert_eq!(listed(Some(kept_as)).total, 1);
    let from = Origin {
        app: "chat".to_owned(),
        thread: Some(chat.to_owned()),
    };
    assert_eq!(service.extent(&from).unwrap().turns, 1);
    assert_eq!(service.forget_from(&from, 1).unwrap().gone.turns, 1);
    assert_eq!(listed(Some(chat)).total, 0);
    assert_eq!(listed(None).total, 1);
}

#[test]
fn what_came_from_an_app_is_forgotten_once_it_was_counted() {
    let (_computer, vault) = Computer::new();
    let service = service(&vault, signing());
    let fact = service
        .remember(said(&["I live in Ghent.", "Do you like figs?"]))
        .unwrap()
        .facts
        .remove(0);
    service.correct(&fact.id, "I live in Bruges").unwrap();
    let elsewhere = Remember {
        app: "mail".to_owned(),
        ..said(&["I play the cello."])
    };
    service.remember(elsewhere).unwrap();
    let from = |thread: Option<&str>| Origin {
        app: "chat".to_owned(),
        thread: thread.map(str::to_owned),
    };
    let extent = service.extent(&from(None)).unwrap();
    assert_eq!((extent.turns, extent.facts, extent.corrections), (2, 1, 1));
    assert_eq!(service.extent(&from(Some("one"))).unwrap(), extent);
    assert_eq!(service.extent(&from(Some("two"))).unwrap().turns, 0);
    match service.forget_from(&from(None), 3) {
        Err(ServiceError::Refused(why)) => assert!(why.contains("2 turns are there"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(service.get(&fact.id).is_ok(), "nothing was forgotten");
    let gone = service.forget_from(&from(None), 2).unwrap();
    assert_eq!(gone.gone, extent);
    assert_eq!(service.get(&fact.id), Err(ServiceError::NotFound));
    assert_eq!(service.extent(&from(None)).unwrap().turns, 0);
    // What another app brought stays.
    let profile = service.profile().unwrap();
    assert!(profile.user_bio.contains("cello"), "{profile:?}");
}

#[test]
fn a_statement_that_was_made_twice_is_forgotten_as_one() {
    let (_computer, vault) = Computer::new();
    let service = service(&vault, signing());
    let fact = service
        .remember(said(&["I live in Ghent."]))
        .unwrap()
        .facts
        .remove(0);
    let later = service
        .remember(Remember {
            app: "mail".to_owned(),
            ..said(&["I'm based in Ghent."])
        })
        .unwrap();
    assert_eq!(later.facts.len(), 1, "{later:?}");
    let done = service.forget(&fact.id, false).unwrap();
    for other in &later.facts {
        assert!(done.forgotten.contains(&other.id), "{done:?}");
        assert!(
            done.note
                .as_ref()
                .is_some_and(|note| note.contains("says the same"))
        );
    }
    assert_eq!(service.profile().unwrap().user_bio, "");
}

#[test]
fn what_a_file_held_and_was_not_kept_is_counted() {
    let turn = |id: &str, text: &str| tally_import::Turn {
        id: id.to_owned(),
        speaker: tally_import::Speaker {
            role: tally_import::Role::Person,
            name: Some("Ben".to_owned()),
        },
        at: None,
        text: text.to_owned(),
    };
    let item = tally_import::Item::Conversation(tally_import::Conversation {
        source: tally_import::Format::WhatsApp,
        id: "Ben".to_owned(),
        title: None,
        turns: vec![
            turn("1", "my password is hunter2"),
            turn("2", " "),
            turn("3", "Nice."),
        ],
    });
    let (_computer, vault) = Computer::new();
    let service = service(&vault, None);
    let kept = service.ingest(item.clone(), None).unwrap();
    assert_eq!((kept.episodes, kept.empty, kept.secrets), (2, 1, 1));
    assert!(
        kept.note
            .is_some_and(|note| note.contains("without learning"))
    );
    let listing = Listing {
        limit: 2,
        level: Some(Level::Episode),
        ..Listing::default()
    };
    for memory in service.list(listing).unwrap().memories {
        service.forget(&memory.id, false).unwrap();
    }
    let again = service.ingest(item, None).unwrap();
    assert_eq!((again.episodes, again.forgotten), (0, 2));
    assert_eq!(again.note, None);
}

#[test]
fn wrong_questions_are_refused_in_words() {
    let (_computer, vault) = Computer::new();
    let service = service(&vault, None);
    let recall = |change: fn(&mut Recall)| {
        let mut recall = Recall {
            query: "x".to_owned(),
            limit: 5,
            ..Recall::default()
        };
        change(&mut recall);
        service.recall(recall)
    };
    assert!(matches!(
        recall(|it| it.query = " ".to_owned()),
        Err(ServiceError::Refused(_))
    ));
    assert!(matches!(
        recall(|it| it.categories = vec!["soul".to_owned()]),
        Err(ServiceError::Refused(_))
    ));
    assert!(matches!(
        recall(|it| it.as_of = Some(UnixMs(i64::MAX))),
        Err(ServiceError::Refused(_))
    ));
    let listing = Listing {
        cursor: Some("x".to_owned()),
        limit: 1,
        ..Listing::default()
    };
    assert!(matches!(
        service.list(listing),
        Err(ServiceError::Refused(_))
    ));
    for id in ["", "zz", "../../etc", "0000", &"0".repeat(64)] {
        assert_eq!(service.get(id), Err(ServiceError::NotFound), "{id}");
    }
}

#[test]
fn a_file_comes_in_once_and_names_too_long_are_cut() {
    let chat = "31.12.23, 21:41 - Anna: I live in Ghent.\n31.12.23, 21:42 - Ben: Nice.\n";
    let options = tally_import::Options {
        name: Some(format!("WhatsApp Chat with {}.txt", "é".repeat(300))),
        me: Some("Anna".to_owned()),
        ..Default::default()
    };
    let (_computer, vault) = Computer::new();
    let service = service(&vault, None);
    for expected in [(2, 0), (0, 2)] {
        let mut kept = (0, 0);
        tally_import::read(chat.as_bytes(), &options, &mut |item| {
            let turns = turns_of(item.clone(), None);
            assert_eq!(turns[0].role, tally_memory::Role::Owner);
            assert!(turns[0].thread.len() <= 256);
            let one = service.ingest(item, None).unwrap();
            kept = (kept.0 + one.episodes, kept.1 + one.known);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(kept, expected);
    }
}

#[test]
fn a_file_that_came_in_by_a_server_is_known_to_whoever_reads_it_again() {
    let files = [
        (
            "WhatsApp Chat with Ben.txt",
            "31.12.23, 21:41 - Anna: I live in Ghent.\n31.12.23, 21:42 - Ben: Nice.\n",
        ),
        (
            "notes.md",
            "# Garden\n\n## Trees\n\nThe figs ripen in September.\n\n# House\n\nThe roof leaks.\n",
        ),
    ];
    let (_computer, vault) = Computer::new();
    let service = service(&vault, None);
    for (name, file) in files {
        let options = tally_import::Options {
            name: Some(name.to_owned()),
            ..Default::default()
        };
        let (items, _) = tally_import::read_all(file.as_bytes(), &options).unwrap();
        for item in items {
            assert_eq!(service.ingest(item.clone(), None).unwrap().episodes, 2);
            // As `tally memory import` does it.
            let mut memory = memory(&vault);
            let again = in_pieces(&turns_of(item, None), |piece| memory.remember(piece)).unwrap();
            assert_eq!((again.new.len(), again.known), (0, 2), "{name}");
        }
    }
}

#[test]
fn a_long_conversation_comes_in_whole() {
    let turns: Vec<tally_import::Turn> = (0..=PIECE)
        .map(|number| tally_import::Turn {
            id: number.to_string(),
            speaker: tally_import::Speaker {
                role: tally_import::Role::Person,
                name: Some("Ben".to_owned()),
            },
            at: None,
            text: "Nice.".to_owned(),
        })
        .collect();
    let item = tally_import::Item::Conversation(tally_import::Conversation {
        source: tally_import::Format::WhatsApp,
        id: "Ben".to_owned(),
        title: None,
        turns,
    });
    let (_computer, vault) = Computer::new();
    let service = service(&vault, None);
    for (new, known) in [(PIECE + 1, 0), (0, PIECE + 1)] {
        let kept = service.ingest(item.clone(), None).unwrap();
        assert_eq!((kept.episodes, kept.known), (new as u64, known as u64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_over_rest_and_in_the_console() {
    let (_computer, vault) = Computer::new();
    let gateway = Gateway::new(
        Config::default(),
        Arc::new(service(&vault, signing())),
        KeyRing::default(),
        Arc::new(|_| Ok(())),
        Arc::new(|| UnixMs(at(2).unix_ms())),
    );
    let key = gateway.issue_key("desk", &Scope::ALL, None).unwrap().key;
    let router = gateway.router();
    // Everything a real memory answers is as the OpenAPI document says.
    let call = async |method: &str, path: &str, body: Value| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("x-api-key", &key)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let (parts, answer) = response.into_parts();
        let bytes = to_bytes(answer, 1 << 20).await.unwrap();
        described::check(&described::Exchange {
            method: &Method::from_bytes(method.as_bytes()).unwrap(),
            path,
            sent: (method != "GET").then_some(&body),
            status: parts.status,
            headers: &parts.headers,
            answer: &bytes,
        });
        (
            parts.status.as_u16(),
            serde_json::from_slice::<Value>(&bytes).unwrap(),
        )
    };
    let messages = json!({ "messages": [{ "role": "user", "name": "Anna", "content": "I live in Ghent.", "timestamp": UnixMs(at(0).unix_ms()) }] });
    let (status, added) = call("POST", "/v1/memories", messages).await;
    assert_eq!(
        (status, &added["memories_created"]),
        (201, &json!(1)),
        "{added}"
    );
    // The faces know the memory's categories.
    for category in Category::ALL {
        let path = format!("/v1/profile?category={}", category.as_str());
        let (status, profile) = call("GET", &path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {profile}");
    }
    assert_eq!(added["memories"][0]["source"], "desk");
    let (_, found) = call(
        "POST",
        "/v1/memories/search",
        json!({ "query": "where does Anna live?" }),
    )
    .await;
    assert!(
        found["user_bio"].as_str().unwrap().contains("Ghent"),
        "{found}"
    );
    let id = added["memories"][0]["id"].as_str().unwrap();
    // As a client of MemSync does it.
    let content = json!({ "content": "I live in Bruges", "category": "travel" });
    let (_, corrected) = call("PATCH", &format!("/v1/memories/{id}"), content).await;
    assert_eq!(corrected["level"], "correction");
    assert_eq!(
        (&corrected["content"], &corrected["supersedes"]),
        (&json!("I live in Bruges"), &json!(id))
    );
    assert!(
        corrected["note"]
            .as_str()
            .is_some_and(|note| note.contains("categories stay")),
        "{corrected}"
    );
    let (_, first) = call("GET", "/v1/memories?page=1&page_size=1", Value::Null).await;
    assert_eq!(first["data"][0]["id"], corrected["memory_id"], "{first}");
    let (_, second) = call("GET", "/v1/memories?page=2&page_size=1", Value::Null).await;
    assert_eq!(
        (&second["data"], &second["pagination"]["has_previous"]),
        (&json!([]), &json!(true)),
        "{second}"
    );
    let dated = json!({
        "messages": [{ "role": "user", "name": "Anna", "content": "I live in Ghent since May." }],
        "metadata": { "timestamp": UnixMs(at(1).unix_ms()), "platform": "web-app" }
    });
    call("POST", "/v1/memories", dated).await;
    let (_, said) = call("GET", "/v1/memories?level=episode&limit=1", Value::Null).await;
    assert_eq!(
        said["memories"][0]["observed_at"],
        json!(UnixMs(at(1).unix_ms())),
        "{said}"
    );
    let both = json!({ "memory_ids": [id, corrected["memory_id"]], "cascade": true });
    let (_, gone) = call("POST", "/v1/memories/batch-delete", both).await;
    assert_eq!(gone["success"], true, "{gone}");
    let (status, _) = call("PATCH", "/v1/profile/bio", json!({ "bio": "x" })).await;
    assert_eq!(status, 501);
    let (status, error) = call("GET", "/v1/memories/zz", json!({})).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (404, &json!("memory_not_found"))
    );
}

/// Says of the one fact that it is shown what it is told to, once somebody waits for it to be asked and to answer.
struct Phrases {
    sentence: &'static str,
    asked: Barrier,
    answers: Barrier,
}

impl ChatModel for Phrases {
    fn name(&self) -> &str {
        "phrases"
    }

    fn dialect(&self) -> Dialect {
        Dialect::Any
    }

    fn ask(&self, ask: &Ask) -> Result<Answer, ModelError> {
        self.asked.wait();
        self.answers.wait();
        let text =
            json!({ "sentences": [{ "facts": [1], "sentence": self.sentence }] }).to_string();
        Ok(Answer {
            receipt: Some(support::sign(ask, &text)),
            model: "phrases".into(),
            prompt_tokens: 10,
            output_tokens: 20,
            took_ms: 1,
            is_cut: false,
            text,
        })
    }
}

#[test]
fn a_bio_is_put_into_words_while_others_change_the_memory() {
    for (sentence, text, by) in [
        ("They live in Ghent.", "They live in Ghent. [1]", "model"),
        ("Anna lives in Ghent.", "“I live in Ghent” [1]", "code"),
    ] {
        let (_computer, vault) = Computer::new();
        let silent = service(&vault, signing());
        let kept = silent.remember(said(&["I live in Ghent."])).unwrap();
        assert!(matches!(
            silent.phrase(BioLength::Short),
            Err(ServiceError::Unsupported(_))
        ));
        let model = Arc::new(Phrases {
            sentence,
            asked: Barrier::new(2),
            answers: Barrier::new(2),
        });
        let service = Arc::new(service(&vault, None).phrasing_with(model.clone()));
        let asking = service.clone();
        let bio = std::thread::spawn(move || asking.phrase(BioLength::Short));
        model.asked.wait();
        let (sender, changed) = mpsc::channel();
        let (changing, id) = (service.clone(), kept.facts[0].id.clone());
        std::thread::spawn(move || {
            sender
                .send(changing.confirm(&id))
                .map_err(|_| "nobody waits")
        });
        let confirmed = changed
            .recv_timeout(Duration::from_secs(30))
            .expect("nobody waits for the model");
        assert!(confirmed.unwrap().confirmed);
        model.answers.wait();
        let bio = bio.join().expect("no panic").unwrap();
        assert_eq!((&*bio.text, &*bio.sentences[0].by), (text, by));
        assert_eq!(bio.sentences[0].memories, [kept.facts[0].id.as_str()]);
        let refused = by == "code";
        assert_eq!(
            (bio.not_taken, bio.note.is_some()),
            (usize::from(refused), refused)
        );
        let call = bio.call.expect("it was asked");
        assert_eq!((&*call.purpose, call.prompt_tokens), ("phrase", 10));
        assert_eq!(call.receipt.as_ref().map(String::len), Some(64));
        // Who may only read asks for it: nothing is written.
        assert_eq!(service.calls(10).unwrap().len(), 1);
    }
}

#[test]
fn names_out_of_files_are_shown_without_secrets() {
    let (_computer, vault) = Computer::new();
    let service = service(&vault, None);
    let shown = service.without_secrets("password: hunter2.txt");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(service.without_secrets("notes.txt"), "notes.txt");
}

/// Does not answer.
struct Silent {
    is_transient: bool,
}

impl ChatModel for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    fn dialect(&self) -> Dialect {
        Dialect::Any
    }

    fn ask(&self, _: &Ask) -> Result<Answer, ModelError> {
        Err(ModelError {
            message: "/secret/path/model.gguf is no model".into(),
            is_transient: self.is_transient,
        })
    }
}

#[test]
fn whoever_asks_for_a_bio_is_to_ask_again_only_where_that_helps() {
    let (_computer, vault) = Computer::new();
    let kept = service(&vault, signing()).remember(said(&["I live in Ghent."]));
    assert!(kept.is_ok());
    let phrase = |is_transient| {
        let model = Arc::new(Silent { is_transient });
        let service = service(&vault, None).phrasing_with(model);
        service.phrase(BioLength::Short)
    };
    assert!(matches!(phrase(false), Err(ServiceError::Failed(_))));
    match phrase(true) {
        Err(ServiceError::Busy(sentence)) => assert!(!sentence.contains("secret"), "{sentence}"),
        other => panic!("{other:?}"),
    }
}

/// Prefers what names a place, once two questions wait for it.
struct Judge(Barrier);

impl Reranker for Judge {
    fn rank(&self, _: &str, passages: &[String]) -> Result<Vec<f32>, RerankError> {
        self.0.wait();
        let number = |passage: &String| {
            if passage.ends_with("Ghent.") {
                5.0
            } else {
                0.0
            }
        };
        Ok(passages.iter().map(number).collect())
    }
}

#[test]
fn questions_that_a_model_reads_for_are_answered_side_by_side() {
    let (_computer, vault) = Computer::new();
    let mut reading = memory(&vault);
    reading.rerank_with(Some(Arc::new(Judge(Barrier::new(2)))));
    let service = Arc::new(VaultMemory::new(
        vault.clone(),
        reading,
        None,
        Arc::new(|| at(2)),
        Arc::new(|_| Ok(Vec::new())),
    ));
    service
        .remember(said(&["I moved here from Ghent.", "I moved the sofa."]))
        .unwrap();
    let recall = |rerank| Recall {
        query: "Where did I move from?".to_owned(),
        limit: 5,
        rerank,
        ..Recall::default()
    };
    let (sender, answers) = mpsc::channel();
    for _ in 0..2 {
        let (service, sender, recall) = (service.clone(), sender.clone(), recall(true));
        std::thread::spawn(move || sender.send(service.recall(recall)));
    }
    for _ in 0..2 {
        let answer = answers
            .recv_timeout(Duration::from_secs(30))
            .expect("neither waits for the other to end")
            .unwrap();
        assert!(answer.reranked);
        assert!(answer.hits.len() > 1);
        for hit in &answer.hits {
            let added = hit.rerank_score.expect("all of so few were read");
            assert_eq!(added > 0.0, hit.memory.text.contains("Ghent"), "{hit:?}");
        }
    }
    let plain = service.recall(recall(false)).unwrap();
    assert!(!plain.reranked, "nobody asked the model");
    assert!(plain.hits.iter().all(|hit| hit.rerank_score.is_none()));
}

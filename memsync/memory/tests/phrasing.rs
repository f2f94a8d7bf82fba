//! A bio in a model's words: what is taken of them, what takes the place of the rest, and how it is checked.

mod support;

use std::sync::Mutex;

use support::{Computer, Parrot, at, key, memory, says, sign};
use tally_memory::profile::Length;
use tally_memory::verify::{PrintedBio, Trust, codes};
use tally_memory::{
    Answer, Ask, AskError, By, ChatModel, Dialect, Memory, MemoryId, ModelError, PHRASE_SHAPE,
    Phrased, Sentence, Stop,
};
use tally_receipt::{Label, Policy, Role as KeyRole, Status, Timestamp, TrustedKey};

/// Answers what it is told to, with the numbers of facts for their words between `<` and `>`.
#[derive(Default)]
struct Scripted {
    answer: String,
    dialect: Dialect,
    /// Signs another answer than it gives.
    lies: bool,
    asked: Mutex<Vec<Ask>>,
}

impl Scripted {
    /// Sentences, each with the facts that it names.
    fn saying(sentences: &[(&[&str], &str)]) -> Self {
        let sentences: Vec<String> = sentences
            .iter()
            .map(|(facts, sentence)| {
                format!(
                    r#"{{"facts":[{}],"sentence":"{sentence}"}}"#,
                    facts.join(",")
                )
            })
            .collect();
        Self {
            answer: format!(r#"{{"sentences":[{}]}}"#, sentences.join(",")),
            ..Self::default()
        }
    }
}

impl ChatModel for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn ask(&self, ask: &Ask) -> Result<Answer, ModelError> {
        self.asked.lock().expect("no panic").push(ask.clone());
        let shown = &ask.messages.last().expect("a question").content;
        let mut text = self.answer.clone();
        for line in shown.lines() {
            let (number, fact) = line.split_once("] ").expect("[number] fact");
            let number = number.trim_start_matches('[');
            text = text.replace(&format!("<{fact}>"), number);
        }
        let signed = if self.lies { "{}" } else { &text };
        Ok(Answer {
            receipt: Some(sign(ask, signed)),
            model: "scripted".into(),
            prompt_tokens: 10,
            output_tokens: 20,
            took_ms: 1,
            is_cut: false,
            text,
        })
    }
}

/// A memory that knows four facts about its owner, of which one says "last month".
fn known() -> (Computer, Memory) {
    let (computer, vault) = Computer::new();
    let mut memory = memory(&vault);
    let said = "I live in Ghent. I don't eat meat. I've been a nurse since 2019. I moved house last month.";
    memory.remember(&[says(0, said)]).expect("remembered");
    let learnt = memory
        .learn(&Parrot::default(), at(1), usize::MAX, |_| ())
        .expect("learnt");
    assert_eq!(learnt.facts.len(), 4);
    (computer, memory)
}

fn phrased(memory: &Memory, model: &Scripted) -> Phrased {
    memory
        .draft(Length::Medium, at(3))
        .phrase(model, at(3))
        .expect("asked")
}

/// Whatever a model did, each of the four is said once.
fn says_all(bio: &Phrased) {
    let mut numbers: Vec<u32> = bio
        .sentences
        .iter()
        .flat_map(|one| one.citations.clone())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4], "{bio:?}");
    assert_eq!(bio.citations.len(), 4);
}

fn policy() -> Policy {
    let from = Timestamp::from_unix_ms(0).expect("1970");
    Policy::new(vec![TrustedKey {
        key: key().public_key(),
        owner: Label::lossy("this machine"),
        roles: vec![KeyRole::Inference],
        valid_from: from,
        valid_until: None,
        revoked: None,
    }])
    .expect("one key")
}

#[test]
fn a_model_joins_facts_and_code_quotes_what_it_did_not_say() {
    let (_computer, mut memory) = known();
    let model = Scripted::saying(&[(
        &["<I live in Ghent>", "<I've been a nurse since 2019>"],
        "They live in Ghent, and they have been a nurse since 2019.",
    )]);
    let bio = phrased(&memory, &model);
    says_all(&bio);
    let first = &bio.sentences[0];
    assert_eq!((first.by, first.citations.len()), (By::Model, 2));
    assert!(
        first
            .text
            .starts_with("They live in Ghent. They have been a nurse since 2019. ["),
        "{}",
        first.text
    );
    for quotation in ["“I don't eat meat” [", "“I moved house last month” [4]"] {
        assert!(bio.text().contains(quotation), "{}", bio.text());
    }
    assert!(bio.sentences[1..].iter().all(|one| one.by == By::Code));
    assert_eq!((bio.note, bio.not_taken.len()), (None, 0));
    // "Last month" was then.
    let asked = model.asked.lock().expect("no panic");
    let shown = &asked[0].messages.last().expect("a question").content;
    assert_eq!(shown.lines().count(), 3);
    assert!(!shown.contains("last month"), "{shown}");

    let call = bio.call.as_ref().expect("it was asked");
    assert_eq!((call.shape.as_str(), call.facts.len()), (PHRASE_SHAPE, 3));
    let policy = policy();
    let trust = Trust {
        now: at(4),
        policy: Some(&policy),
        weights: None,
    };
    let printed = PrintedBio::from(&bio);
    let verdict = memory.verify_phrase(&printed, &trust);
    assert!(verdict.is_verified(), "{verdict}");
    let mut other = printed.clone();
    called(&mut other).answer.push(' ');
    let verdict = memory.verify_phrase(&other, &trust);
    assert_eq!(verdict.status_of(codes::ANSWER), Some(Status::Fail));
    // The vault was not written, and what is forgotten cannot be shown again.
    assert_eq!(memory.log().len(), 1);
    memory
        .forget(&[MemoryId::Fact(call.facts[0])], "", at(5))
        .expect("forgotten");
    let verdict = memory.verify_phrase(&printed, &trust);
    assert_eq!(
        verdict.status_of(codes::PROMPT),
        Some(Status::NotEstablished)
    );
}

fn called(printed: &mut PrintedBio) -> &mut tally_memory::record::Call {
    printed.call.as_mut().expect("it was asked")
}

#[test]
fn a_bio_that_was_changed_after_it_was_printed_is_not_true() {
    let (_computer, memory) = known();
    let bio = phrased(
        &memory,
        &Scripted::saying(&[(&["<I live in Ghent>"], "They live in Ghent.")]),
    );
    let policy = policy();
    let trust = Trust {
        now: at(4),
        policy: Some(&policy),
        weights: None,
    };
    let printed = PrintedBio::from(&bio);
    assert!(memory.verify_phrase(&printed, &trust).is_verified());
    let changes: [fn(&mut PrintedBio); 7] = [
        |it| it.bio = it.bio.replace("They live in Ghent", "They live in Rome"),
        |it| {
            it.sentences[0].text = it.sentences[0].text.replace("Ghent", "Rome");
            it.bio = it.bio.replace("They live in Ghent", "They live in Rome");
        },
        |it| it.sentences[1].by = By::Model,
        |it| it.sentences[0].citations = vec![4],
        |it| {
            it.sentences.pop();
            let all: Vec<&str> = it.sentences.iter().map(|one| one.text.as_str()).collect();
            it.bio = all.join(" ");
        },
        |it| it.citations.swap(0, 1),
        |it| called(it).facts.reverse(),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut other = printed.clone();
        change(&mut other);
        let verdict = memory.verify_phrase(&other, &trust);
        assert_eq!(
            verdict.status_of(codes::SENTENCES),
            Some(Status::Fail),
            "{at}: {verdict}"
        );
        assert!(!verdict.is_verified(), "{at}");
    }
    // The facts in another order are another prompt.
    let mut other = printed;
    let (first, second) = (other.citations[0].1.clone(), other.citations[1].1.clone());
    other.citations[0].1 = second;
    other.citations[1].1 = first;
    called(&mut other).facts.swap(0, 1);
    let verdict = memory.verify_phrase(&other, &trust);
    assert_eq!(verdict.status_of(codes::PROMPT), Some(Status::Fail));
}

#[test]
fn a_bio_that_was_made_longer_by_what_no_bio_says_is_not_true() {
    let (_computer, mut memory) = known();
    let bio = phrased(
        &memory,
        &Scripted::saying(&[(&["<I live in Ghent>"], "They live in Ghent.")]),
    );
    memory
        .remember(&[says(3, "I collect old stamps.")])
        .expect("remembered");
    // What such a model proposes is private, among others.
    let large = Parrot {
        dialect: Dialect::Large,
        ..Parrot::default()
    };
    let private = memory
        .learn(&large, at(3), usize::MAX, |_| ())
        .expect("learnt");
    let private = MemoryId::Fact(private.facts[0]);
    let shown = MemoryId::Fact(bio.call.as_ref().expect("it was asked").facts[0]);
    let policy = policy();
    let trust = Trust {
        now: at(4),
        policy: Some(&policy),
        weights: None,
    };
    let printed = PrintedBio::from(&bio);
    assert!(memory.verify_phrase(&printed, &trust).is_verified());
    for id in [private, shown] {
        let mut longer = printed.clone();
        let text = memory.show(&id).expect("it is there").fact.text;
        let sentence = Sentence {
            text: format!("“{text}” [5]"),
            citations: vec![5],
            by: By::Code,
        };
        longer.bio = format!("{} {}", longer.bio, sentence.text);
        longer.sentences.push(sentence);
        longer.citations.push((5, id.to_string()));
        let verdict = memory.verify_phrase(&longer, &trust);
        assert_eq!(
            verdict.status_of(codes::SENTENCES),
            Some(Status::Fail),
            "{verdict}"
        );
    }
}

#[test]
fn a_sentence_that_does_not_say_its_facts_is_replaced_by_them() {
    let (_computer, memory) = known();
    let none: &[&str] = &[];
    for (facts, sentence, stop) in [
        (
            &["<I live in Ghent>"][..],
            "Anna lives in Ghent.",
            Stop::NotSaid,
        ),
        (
            &["<I live in Ghent>"][..],
            "They live in Ghent with Tom.",
            Stop::NotSaid,
        ),
        (&["<I don't eat meat>"][..], "They eat meat.", Stop::NotSaid),
        (
            &["<I live in Ghent>"][..],
            "They do not live in Ghent.",
            Stop::NotSaid,
        ),
        (
            &["<I've been a nurse since 2019>"][..],
            "They have been a nurse since 2009.",
            Stop::NotSaid,
        ),
        (
            &["<I don't eat meat>", "<I live in Ghent>"][..],
            "They don't eat meat and live in Ghent.",
            Stop::NotSaid,
        ),
        (
            &["<I don't eat meat>", "<I live in Ghent>"][..],
            "They don't eat meat; also they live in Ghent.",
            Stop::Denial,
        ),
        (&["99"][..], "They live in Ghent.", Stop::UnknownFact),
        (&["0"][..], "They live in Ghent.", Stop::UnknownFact),
        // A number of the bio's that the model was not shown.
        (
            &["4"][..],
            "They moved house last month.",
            Stop::UnknownFact,
        ),
        (none, "They are well.", Stop::NoFacts),
    ] {
        let bio = phrased(&memory, &Scripted::saying(&[(facts, sentence)]));
        says_all(&bio);
        assert!(
            bio.sentences.iter().all(|one| one.by == By::Code),
            "{bio:?}"
        );
        assert!(!bio.text().contains(sentence), "{}", bio.text());
        assert!(bio.note.is_some());
        assert_eq!(
            (bio.not_taken[0].stop, bio.not_taken[0].sentence.as_str()),
            (stop, sentence)
        );
        let refused = bio.call.expect("it was asked").refused;
        assert_eq!(refused.get(stop.as_str()), Some(&1), "{refused:?}");
    }
    // In its place, and not again.
    let bio = phrased(
        &memory,
        &Scripted::saying(&[
            (&["<I live in Ghent>"], "They live in Rome."),
            (&["<I don't eat meat>"], "They don't eat meat."),
            (&["<I live in Ghent>"], "They live in Ghent."),
        ]),
    );
    says_all(&bio);
    assert!(bio.sentences[0].text.starts_with("“I live in Ghent” ["));
    assert!(bio.sentences[1].text.starts_with("They don't eat meat. ["));
    let stops: Vec<Stop> = bio.not_taken.iter().map(|one| one.stop).collect();
    assert_eq!(stops, [Stop::NotSaid, Stop::Repeated]);
}

#[test]
fn an_empty_or_broken_answer_leaves_the_facts_as_they_were_said() {
    let (_computer, memory) = known();
    for (answer, refused) in [
        (r#"{"sentences":[]}"#, 0),
        ("", 1),
        (r#"{"sentences":[{"#, 1),
    ] {
        let model = Scripted {
            answer: answer.to_owned(),
            ..Scripted::default()
        };
        let bio = phrased(&memory, &model);
        says_all(&bio);
        assert!(bio.sentences.iter().all(|one| one.by == By::Code));
        assert!(bio.note.is_some());
        let call = bio.call.expect("it was asked, and that cost something");
        assert_eq!(call.refused.len(), refused);
    }
}

#[test]
fn nobody_is_asked_who_cannot_phrase_and_nothing_where_nothing_is_known() {
    let (_computer, memory) = known();
    let nano = Scripted {
        dialect: Dialect::Nano,
        ..Scripted::default()
    };
    let bio = phrased(&memory, &nano);
    says_all(&bio);
    assert!(bio.sentences.iter().all(|one| one.by == By::Code));
    assert!(bio.note.is_some_and(|note| note.contains("tally-nano")));
    assert_eq!(bio.call, None);
    assert!(nano.asked.lock().expect("no panic").is_empty());

    let (_computer, vault) = Computer::new();
    let model = Scripted::default();
    let bio = phrased(&support::memory(&vault), &model);
    assert_eq!(bio, Phrased::default());
    assert!(model.asked.lock().expect("no panic").is_empty());
}

#[test]
fn an_answer_under_a_receipt_of_another_is_not_used() {
    let (_computer, memory) = known();
    let liar = Scripted {
        lies: true,
        ..Scripted::saying(&[(&["<I live in Ghent>"], "They live in Ghent.")])
    };
    let asked = memory.draft(Length::Medium, at(3)).phrase(&liar, at(3));
    assert!(matches!(asked, Err(AskError::Receipt(_))), "{asked:?}");
}

#[test]
fn what_no_sentence_can_say_is_not_shown_to_a_model() {
    let (_computer, mut memory) = known();
    let fact = living_in_ghent(&memory);
    for text in ["Me gusta el café", "I like their dog"] {
        memory
            .correct(&fact, text, None, None, "", at(2))
            .expect("corrected");
        let model = Scripted::saying(&[]);
        let bio = phrased(&memory, &model);
        says_all(&bio);
        assert!(
            bio.text().contains(&format!("“{text}” [")),
            "{}",
            bio.text()
        );
        let asked = model.asked.lock().expect("no panic");
        let shown = &asked[0].messages.last().expect("a question").content;
        assert_eq!(shown.lines().count(), 2, "{shown}");
    }
}

fn living_in_ghent(memory: &Memory) -> MemoryId {
    memory
        .facts()
        .into_iter()
        .find(|id| {
            memory
                .show(id)
                .is_some_and(|shown| shown.fact.text == "I live in Ghent")
        })
        .expect("it was learnt")
}

#[test]
fn a_correction_is_what_is_put_into_words_and_checked_again() {
    let (_computer, mut memory) = known();
    let fact = living_in_ghent(&memory);
    // Written by a computer whose clock is ahead of that of whoever asks.
    memory
        .correct(&fact, "I live in Rome", None, None, "", at(10))
        .expect("corrected");
    let model = Scripted::saying(&[(&["<I live in Rome>"], "They live in Rome.")]);
    let bio = phrased(&memory, &model);
    assert!(
        bio.text().contains("They live in Rome. ["),
        "{}",
        bio.text()
    );
    let printed = PrintedBio::from(&bio);
    let policy = policy();
    let trust = Trust {
        now: at(4),
        policy: Some(&policy),
        weights: None,
    };
    let verdict = memory.verify_phrase(&printed, &trust);
    assert!(verdict.is_verified(), "{verdict}");
    // Other corrections, whenever they say they were made, do not change what was asked then.
    for day in [5, 12] {
        memory
            .correct(
                &fact,
                &format!("I live in Oslo {day}"),
                None,
                None,
                "",
                at(day),
            )
            .expect("corrected");
        let verdict = memory.verify_phrase(&printed, &trust);
        assert!(verdict.is_verified(), "{verdict}");
    }
}

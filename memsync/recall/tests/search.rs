//! What a search finds, leaves out and costs, on a small invented conversation.

use std::sync::Mutex;

use tally_recall::{
    Arm, Budget, Document, DocumentId, Embedding, Filter, Index, Interval, Kind, Mode, Moment,
    Query, RERANKED, RerankError, Reranker, TokenVectors,
};

const DAY: i64 = 86_400;
/// 2024-05-01, noon.
const START: i64 = 1_714_564_800;

fn id(number: u8) -> DocumentId {
    DocumentId([number; 32])
}

fn turn(number: u8, session: &str, position: u32, day: i64, speaker: &str, text: &str) -> Document {
    Document {
        speaker: Some(speaker.into()),
        session: Some(session.into()),
        position,
        observed_at: Moment(START + day * DAY),
        ..Document::new(id(number), Kind::Episode, text)
    }
}

fn conversation() -> Vec<Document> {
    vec![
        turn(
            1,
            "one",
            0,
            0,
            "Ada",
            "I finally repaired the old sailing boat with my brother.",
        ),
        turn(
            2,
            "one",
            1,
            0,
            "Ben",
            "Congratulations! What did you name the boat?",
        ),
        turn(3, "one", 2, 0, "Ada", "We painted Heron on the stern."),
        turn(
            4,
            "two",
            0,
            20,
            "Ben",
            "My sister moved to Lisbon last week, and I miss her cooking.",
        ),
        turn(
            5,
            "two",
            1,
            20,
            "Ada",
            "Lisbon is lovely. I bought a telescope to watch the comet.",
        ),
        turn(
            6,
            "three",
            0,
            40,
            "Ben",
            "I repaired a bicycle for the neighbours.",
        ),
    ]
}

fn index() -> Index {
    let mut index = Index::new();
    for document in conversation() {
        index.insert(document, None).expect("ids differ");
    }
    index
}

fn found(index: &Index, query: &Query) -> Vec<u8> {
    index
        .search(query)
        .hits
        .iter()
        .map(|hit| hit.id.0[0])
        .collect()
}

fn ask(text: &str) -> Query {
    Query::new(text, Moment(START + 60 * DAY))
}

#[test]
fn a_word_in_another_form_is_found() {
    assert_eq!(found(&index(), &ask("Who has bicycles?"))[0], 6);
    assert_eq!(found(&index(), &ask("telescope buying"))[0], 5);
}

#[test]
fn the_speaker_whom_the_question_names_is_preferred() {
    assert_eq!(found(&index(), &ask("What did Ada repair?"))[0], 1);
    assert_eq!(found(&index(), &ask("What did Ben repair?"))[0], 6);
}

#[test]
fn the_answer_to_a_question_that_matches_is_found_by_its_neighbour() {
    let hits = found(&index(), &ask("What is the name of Ada's boat?"));
    assert!(hits[..2].contains(&3), "{hits:?}");
}

#[test]
fn a_date_in_the_question_prefers_what_was_said_then() {
    assert_eq!(
        found(&index(), &ask("What was talked about on 21 May 2024?"))[..2]
            .iter()
            .filter(|n| [4, 5].contains(*n))
            .count(),
        2
    );
}

/// So many plans for something, each of another day, none in a session.
fn plans(what: &str, count: u16, embedding: Option<&Embedding>) -> Index {
    let mut index = Index::new();
    for number in 0..count {
        let mut bytes = [255; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        let plan = Document {
            observed_at: Moment(START - i64::from(number) * DAY),
            ..Document::new(
                DocumentId(bytes),
                Kind::Episode,
                format!("Our plan for {what} {number}."),
            )
        };
        index.insert(plan, embedding).expect("ids differ");
    }
    index
}

/// A question whose answer has room for every candidate.
fn ask_for_all(text: &str) -> Query {
    Query {
        budget: Budget {
            tokens: u32::MAX,
            hits: 2000,
        },
        ..ask(text)
    }
}

#[test]
fn in_a_large_memory_what_was_said_then_is_considered_though_it_has_no_word_of_the_question() {
    let mut index = plans("shelf", 1500, None);
    let wanted = turn(1, "one", 0, 33, "Ada", "Tickets for the opera are booked.");
    index.insert(wanted, None).expect("a new id");
    let answer = index.search(&ask_for_all("What was the plan on 3 June 2024?"));
    let hit = answer.hits.iter().find(|hit| hit.id == id(1));
    let hit = hit.expect("it is the only one of that day");
    assert!(hit.trace.of(Arm::Date) > 0.0);
    assert_eq!(hit.trace.part(Arm::Words), None);
    // Few of all were looked at.
    assert!(answer.candidates < 500, "{}", answer.candidates);
}

#[test]
fn in_a_large_memory_what_is_near_by_its_vector_is_considered_though_it_has_no_word_of_the_question()
 {
    let vector = |sentence: [f32; 2]| Embedding {
        sentence: sentence.to_vec(),
        tokens: TokenVectors::default(),
    };
    let mut index = plans("shelf", 1500, Some(&vector([1.0, 0.0])));
    let wanted = turn(1, "one", 0, 33, "Ada", "Tickets for the opera are booked.");
    index
        .insert(wanted, Some(&vector([0.0, 1.0])))
        .expect("a new id");
    let query = ask_for_all("What was the plan for a shelf?");
    let by_words = index.search(&query);
    assert!(!by_words.hits.is_empty());
    assert!(by_words.hits.iter().all(|hit| hit.id != id(1)));
    let answer = index.search(&Query {
        embedding: Some(vector([0.1, 1.0])),
        ..query
    });
    let hit = answer.hits.iter().find(|hit| hit.id == id(1));
    let hit = hit.expect("its vector is the nearest");
    assert!(hit.trace.of(Arm::Sentence) > 0.0);
    assert_eq!(hit.trace.part(Arm::Words), None);
    // Few of all were looked at.
    assert!(answer.candidates < 500, "{}", answer.candidates);
}

#[test]
fn in_a_large_memory_who_mentions_a_name_of_the_question_is_considered_though_many_have_more_of_its_words()
 {
    // Of the birds, all plans speak; of what bears their name, one.
    let mut index = plans("the heron shelf", 1500, None);
    let wanted = turn(1, "one", 0, 33, "Ada", "Tickets for the Heron are booked.");
    index.insert(wanted, None).expect("a new id");
    let without_a_name = index.search(&ask_for_all("What was the plan for a shelf of the heron?"));
    assert!(!without_a_name.hits.is_empty());
    assert!(without_a_name.hits.iter().all(|hit| hit.id != id(1)));
    let answer = index.search(&ask_for_all("What was the plan for a shelf of the Heron?"));
    let hit = answer.hits.iter().find(|hit| hit.id == id(1));
    let hit = hit.expect("it is the only one with the name");
    assert!(hit.trace.of(Arm::Entity) > 0.0);
    // Few of all were looked at.
    assert!(answer.candidates < 500, "{}", answer.candidates);
}

#[test]
fn who_names_whom_the_question_names_is_preferred() {
    let index = index();
    let answer = index.search(&ask("Did anybody move to Lisbon?"));
    let part = |number: u8| {
        let hit = answer.hits.iter().find(|hit| hit.id == id(number));
        hit.and_then(|hit| hit.trace.part(Arm::Entity))
    };
    assert!(part(4) > Some(0.0));
    assert_eq!((part(1), part(6)), (None, None));
    // A speaker is whom it is about, and no such name.
    let answer = index.search(&ask("What did Ada tell Ben?"));
    let parts = |hit: &tally_recall::Hit| hit.trace.part(Arm::Entity);
    assert!(answer.hits.iter().all(|hit| parts(hit).is_none()));
}

#[test]
fn i_means_whoever_asks() {
    let query = Query {
        asker: Some("Ben".into()),
        ..ask("What did I repair?")
    };
    assert_eq!(found(&index(), &query)[0], 6);
}

#[test]
fn names_of_speakers_are_cut_from_what_is_embedded() {
    assert_eq!(
        index().embeddable("What did Ada's brother tell Ben?"),
        "What did brother tell ?"
    );
}

#[test]
fn hits_never_cost_more_than_the_budget() {
    for tokens in [0, 10, 20, 40, 4096] {
        let query = Query {
            budget: Budget { tokens, hits: 3 },
            ..ask("What about the boat in Lisbon?")
        };
        let answer = index().search(&query);
        assert!(answer.tokens <= tokens && answer.hits.len() <= 3);
        assert_eq!(
            answer.tokens,
            answer.hits.iter().map(|hit| hit.tokens).sum::<u32>()
        );
    }
}

#[test]
fn what_was_removed_is_not_found() {
    let mut index = index();
    assert!(index.remove(id(6)));
    assert!(!index.remove(id(6)));
    assert!(!found(&index, &ask("bicycle")).contains(&6));
    assert_eq!(index.get(id(6)), None);
}

#[test]
fn an_id_is_taken_once() {
    let mut index = index();
    assert!(index.insert(conversation().remove(0), None).is_err());
}

#[test]
fn the_same_words_by_the_same_speaker_are_one_hit() {
    let mut index = index();
    index
        .insert(
            turn(
                7,
                "four",
                0,
                50,
                "Ben",
                "I repaired a bicycle, for the neighbours!",
            ),
            None,
        )
        .expect("a new id");
    let answer = index.search(&ask("Who repaired a bicycle?"));
    let hit = &answer.hits[0];
    assert_eq!((hit.id, &hit.duplicates[..]), (id(7), &[id(6)][..]));
    assert_eq!(answer.hits.len(), 6);
}

#[test]
fn what_no_longer_holds_is_left_out_of_the_present_only() {
    let mut index = Index::new();
    let lives = |number, place: &str, from, until| Document {
        valid: Interval {
            from: Some(Moment(START + from * DAY)),
            until,
        },
        observed_at: Moment(START + from * DAY),
        ..Document::new(id(number), Kind::Fact, format!("Ada lives in {place}"))
    };
    index
        .insert(lives(1, "Oslo", 0, Some(Moment(START + 30 * DAY))), None)
        .expect("new");
    index.insert(lives(2, "Rome", 30, None), None).expect("new");
    let read = |mode| {
        found(
            &index,
            &Query {
                mode,
                ..ask("Where does Ada live?")
            },
        )
    };
    assert_eq!(read(Mode::Current), [2]);
    assert_eq!(read(Mode::AsOf(Moment(START + 10 * DAY))), [1]);
    assert_eq!(read(Mode::All).len(), 2);
    // By intervals that are known now nothing held between them; whoever knows what was known then says so.
    index.remove(id(1));
    index
        .insert(lives(1, "Oslo", 0, Some(Moment(START + 5 * DAY))), None)
        .expect("new");
    for (standing, answers) in [
        (None, &[][..]),
        (Some(&[1][..]), &[1][..]),
        (Some(&[][..]), &[][..]),
        (Some(&[1, 2][..]), &[1][..]),
    ] {
        let query = Query {
            mode: Mode::AsOf(Moment(START + 10 * DAY)),
            standing: standing.map(|those| those.iter().copied().map(id).collect()),
            ..ask("Where does Ada live?")
        };
        assert_eq!(found(&index, &query), answers);
    }
}

#[test]
fn filters_hold_for_every_arm() {
    let filter = Filter {
        speakers: vec!["ada".into()],
        sessions: vec!["one".into()],
        ..Filter::default()
    };
    let hits = found(
        &index(),
        &Query {
            filter,
            ..ask("What did Ben repair in Lisbon?")
        },
    );
    assert!(
        !hits.is_empty() && hits.iter().all(|n| [1, 3].contains(n)),
        "{hits:?}"
    );
}

#[test]
fn a_score_is_the_sum_of_its_trace() {
    for hit in index().search(&ask("When did Ada repair the boat?")).hits {
        let sum: f32 = hit.trace.0.iter().map(|(_, value)| value).sum();
        assert!((sum - hit.score).abs() < 1e-5);
    }
}

#[test]
fn an_empty_index_answers_nothing_and_advises_to_abstain() {
    let answer = Index::new().search(&ask("Where?"));
    assert!(answer.hits.is_empty() && answer.abstention.advised);
}

#[test]
fn what_somebody_else_said_than_the_one_person_asked_about_advises_to_abstain() {
    let advised = |question: &str| {
        let abstention = index().search(&ask(question)).abstention;
        assert_eq!(abstention.advised, abstention.said_by_somebody_else);
        abstention.advised
    };
    // Ada did.
    assert!(advised("What did Ben buy to watch the comet?"));
    assert!(!advised("What did Ada buy to watch the comet?"));
    // With two people named either may have said it, and with nobody named anybody.
    assert!(!advised("What did Ben hear Ada buy to watch the comet?"));
    assert!(!advised("What was bought to watch the comet?"));
}

#[test]
fn a_question_by_somebody_else_is_no_statement_of_what_it_asks() {
    let advised = |text: &str| {
        let mut index = plans("shelf", 20, None);
        for (number, speaker, text) in [
            (1, "Ada", "I bought a telescope for the comet."),
            (2, "Ben", text),
        ] {
            let document = turn(number, "one", number.into(), 0, speaker, text);
            index.insert(document, None).expect("ids differ");
        }
        let answer = index.search(&ask("Did Ada buy a telescope to watch the comet?"));
        answer.abstention.advised
    };
    // Ben has one word more of it than Ada.
    assert!(advised("I bought a telescope and watch the comet."));
    assert!(!advised("You bought a telescope and watch the comet?"));
}

#[test]
fn a_fact_lifts_the_episodes_it_was_drawn_from() {
    let mut index = index();
    let rank = |index: &Index| {
        found(index, &ask("Which hobby has to do with astronomy?"))
            .iter()
            .position(|n| *n == 5)
    };
    let before = rank(&index);
    let fact = Document {
        evidence: vec![id(5)],
        ..Document::new(id(9), Kind::Fact, "Ada's hobby is astronomy")
    };
    index.insert(fact, None).expect("a new id");
    let filter = Filter {
        kinds: vec![Kind::Episode],
        ..Filter::default()
    };
    let query = Query {
        filter,
        ..ask("Which hobby has to do with astronomy?")
    };
    assert_eq!(found(&index, &query)[0], 5);
    index.remove(id(9));
    assert_eq!(rank(&index), before);
}

#[test]
fn a_fact_that_only_quotes_its_episode_changes_no_place_whatever_it_takes_for_a_person() {
    let mut index = index();
    let query = Query {
        filter: Filter {
            kinds: vec![Kind::Episode],
            ..Filter::default()
        },
        ..ask("Which hobby has to do with astronomy?")
    };
    let before = found(&index, &query);
    let (place, text) = (1..8)
        .find_map(|n| Some((n, index.get(id(n))?.text.clone())))
        .expect("there are episodes");
    let words: Vec<&str> = text.split(' ').collect();
    let quotation = words[..words.len() / 2].join(" ");
    let fact = Document {
        evidence: vec![id(place)],
        speaker: Some("Astronomy".into()),
        ..Document::new(id(9), Kind::Fact, quotation)
    };
    index.insert(fact, None).expect("a new id");
    assert_eq!(found(&index, &query), before);
}

/// Gives what `number` says of each passage, and keeps what it was asked.
struct Judge<F> {
    number: F,
    asked: Mutex<Vec<String>>,
}

impl<F: Fn(&str) -> Option<f32>> Judge<F> {
    fn new(number: F) -> Self {
        Self {
            number,
            asked: Mutex::default(),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

impl<F: Fn(&str) -> Option<f32>> Reranker for Judge<F> {
    fn rank(&self, _: &str, passages: &[String]) -> Result<Vec<f32>, RerankError> {
        *self.asked.lock().expect("nobody panicked") = passages.to_vec();
        Ok(passages
            .iter()
            .filter_map(|passage| (self.number)(passage))
            .collect())
    }
}

#[test]
fn a_reranker_reads_each_turn_after_the_one_before_it_and_lifts_what_it_prefers() {
    let index = index();
    // By words, the turns that say "boat" are best.
    let query = Query::new(
        "Which bird is the boat called after?",
        Moment(START + 50 * DAY),
    );
    let without = index.search(&query);
    let judge = Judge::new(|passage: &str| Some(if passage.contains("Heron") { 9.0 } else { 0.0 }));
    let with = index
        .search_and_rerank(&query, &judge)
        .expect("it gives numbers");
    let asked = judge.asked();
    assert!(
        asked.contains(
            &"Ben: Congratulations! What did you name the boat?\nAda: We painted Heron on the stern."
                .to_owned()
        ),
        "{asked:?}"
    );
    assert!(
        asked.contains(&"Ada: I finally repaired the old sailing boat with my brother.".to_owned())
    );
    let place = |answer: &tally_recall::Answer| {
        let at = answer.hits.iter().position(|hit| hit.id == id(3));
        at.expect("it is found")
    };
    assert!(place(&with) < place(&without), "{with:?}");
    let hit = &with.hits[place(&with)];
    let part = hit.trace.part(Arm::Reranker).expect("it was read");
    let sum: f32 = hit.trace.0.iter().map(|(_, value)| value).sum();
    assert!(part > 0.0 && (sum - hit.score).abs() < 1e-5);
    assert_eq!(
        with.abstention, without.abstention,
        "what it advises is not the reranker's business, and here the same words are on top"
    );
}

#[test]
fn a_reranker_is_asked_about_few_and_brings_none_of_its_own() {
    let mut index = Index::new();
    for number in 0..100 {
        let text = format!("The {number}. boat of the harbour is blue.");
        let document = turn(number, "one", number.into(), 0, "Ada", &text);
        index.insert(document, None).expect("ids differ");
    }
    let query = Query {
        budget: Budget {
            tokens: u32::MAX,
            hits: 100,
        },
        ..Query::new("Which boat is blue?", Moment(START + 50 * DAY))
    };
    let mut before: Vec<_> = index.search(&query).hits.iter().map(|hit| hit.id).collect();
    let judge = Judge::new(|passage: &str| {
        Some(
            if passage.ends_with("The 20. boat of the harbour is blue.") {
                9.0
            } else {
                0.0
            },
        )
    });
    let answer = index
        .search_and_rerank(&query, &judge)
        .expect("it gives numbers");
    assert_eq!(judge.asked().len(), RERANKED);
    let mut after: Vec<_> = answer.hits.iter().map(|hit| hit.id).collect();
    assert_ne!(before, after);
    before.sort_unstable();
    after.sort_unstable();
    assert_eq!(before, after, "the same memories, in another order");
    // Nothing to read, nobody to ask.
    let none = Index::new().search_and_rerank(&query, &Judge::new(|_: &str| None));
    assert_eq!(none.map(|answer| answer.hits.len()).ok(), Some(0));
}

#[test]
fn a_reranker_that_gives_no_number_for_each_is_an_error_and_never_an_answer() {
    let query = Query::new("What did Ada call the boat?", Moment(START + 50 * DAY));
    for bad in [None, Some(f32::NAN), Some(f32::INFINITY)] {
        let judge = Judge::new(|passage: &str| match passage.contains("Heron") {
            true => bad,
            false => Some(0.0),
        });
        let error = index().search_and_rerank(&query, &judge);
        assert!(error.is_err(), "{bad:?}");
    }
    // Numbers as large as there are do not spoil the others.
    let judge = Judge::new(|passage: &str| {
        Some(if passage.contains("Heron") {
            f32::MAX
        } else {
            f32::MIN
        })
    });
    let answer = index()
        .search_and_rerank(&query, &judge)
        .expect("they are numbers");
    assert!(answer.hits.iter().all(|hit| hit.score.is_finite()));
}

#[test]
fn what_a_reranker_reads_of_the_turn_before_is_its_end_from_a_whole_word_on() {
    let mut index = Index::new();
    let long = format!("{} so what did you name the boat?", "é".repeat(200));
    for (number, speaker, text) in [
        (0, "Ben", long.as_str()),
        (1, "Ada", "Heron, after the bird."),
    ] {
        let document = turn(number, "one", number.into(), 0, speaker, text);
        index.insert(document, None).expect("ids differ");
    }
    let judge = Judge::new(|_: &str| Some(0.0));
    let query = Query::new("Which boat?", Moment(START + 50 * DAY));
    index.search_and_rerank(&query, &judge).expect("numbers");
    let asked = judge.asked();
    assert!(
        asked.contains(&"so what did you name the boat?\nAda: Heron, after the bird.".to_owned()),
        "{asked:?}"
    );
}

#[test]
fn what_a_reranker_reads_of_the_turn_before_is_not_lost_where_words_are_not_parted() {
    let mut index = Index::new();
    let long = "船の名前は何ですか".repeat(30);
    for (number, speaker, text) in [(0, "Ken", long.as_str()), (1, "Aki", "サギです boat")] {
        let document = turn(number, "one", number.into(), 0, speaker, text);
        index.insert(document, None).expect("ids differ");
    }
    let judge = Judge::new(|_: &str| Some(0.0));
    let query = Query::new("Which boat?", Moment(START + 50 * DAY));
    index.search_and_rerank(&query, &judge).expect("numbers");
    let asked = judge.asked();
    let last = asked
        .iter()
        .find(|passage| passage.ends_with("Aki: サギです boat"));
    let last = last.expect("it was asked about");
    let before = last.lines().next().expect("the turn before");
    assert!((100..=160).contains(&before.len()), "{last}");
}

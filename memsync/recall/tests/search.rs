//! What a search finds, leaves out and costs, on a small invented conversation.

use tally_recall::{
    Budget, Document, DocumentId, Filter, Index, Interval, Kind, Mode, Moment, Query,
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

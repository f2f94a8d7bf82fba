//! `tally memory eval --dataset`: figures that can be worked out by hand, on invented conversations.

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{Ended, Machine};

/// Two sessions of twelve turns; Ada begins, and Ben answers. But for names, each question has its words in one turn, and "Would a
/// quokka amuse her?" in none. What Ada says about the neighbours' animals comes twice, the second time with a word more.
const GARDEN: [[&str; 12]; 2] = [
    [
        "The snow has melted at last.",
        "Small furry animals make my sister laugh.",
        "I painted a heron on the fence.",
        "The neighbours will stop and stare.",
        "They have told me so already.",
        "My knee hurts since the race.",
        "The neighbours keep four brown hens, two grey geese and one old donkey behind the mill.",
        "A donkey sings better than our choir.",
        "We pickled the cherries for the winter.",
        "My mother made jam of hers.",
        "The cellar smells of vinegar now.",
        "Keep a jar for me.",
    ],
    [
        "The rain did not stop for a week.",
        "My boots are still wet.",
        "Dry them by the stove.",
        "I bought a telescope yesterday.",
        "Then the clouds should part soon.",
        "The forecast says Friday.",
        "The neighbours keep four brown hens, two grey geese and one old donkey behind the mill now.",
        "So the donkey is still there.",
        "It eats out of my hand.",
        "Carrots are its weakness.",
        "The other jars hold plums.",
        "I will fetch one on Sunday.",
    ],
];

/// One session of three turns, and a question without evidence.
const HARBOUR: [&str; 3] = [
    "The fog came in at noon.",
    "I moored the barge by the lighthouse.",
    "Then it is safe.",
];

fn session(number: usize, speakers: [&str; 2], turns: &[&str]) -> Value {
    let turns = turns.iter().zip(speakers.iter().cycle()).enumerate();
    turns
        .map(|(at, (text, speaker))| {
            json!({ "speaker": speaker, "dia_id": format!("D{number}:{}", at + 1), "text": text })
        })
        .collect()
}

fn ask(category: u8, question: &str, evidence: &[&str]) -> Value {
    json!({ "question": question, "evidence": evidence, "category": category })
}

fn dataset() -> String {
    json!([
        {
            "sample_id": "garden",
            "conversation": {
                "session_1": session(1, ["Ada", "Ben"], &GARDEN[0]),
                "session_1_date_time": "10:00 am on 4 March, 2024",
                "session_2": session(2, ["Ada", "Ben"], &GARDEN[1]),
                "session_2_date_time": "6:30 pm on 20 May, 2024",
            },
            "qa": [
                ask(4, "What did Ada paint on the fence?", &["D1:3"]),
                ask(2, "When did Ben buy the telescope?", &["D2:4"]),
                ask(1, "What was pickled?", &["D1:9", "D2:11"]),
                ask(3, "Would a quokka amuse her?", &["D1:2"]),
                ask(5, "What did Ben paint on the fence?", &["D1:3"]),
            ],
        },
        {
            "sample_id": "harbour",
            "conversation": {
                "session_1": session(1, ["Cleo", "Dan"], &HARBOUR),
                "session_1_date_time": "9:00 am on 2 April, 2024",
            },
            "qa": [
                ask(4, "Where did Dan moor the barge?", &["D1:2"]),
                ask(4, "What did the captain sing?", &["D7:1"]),
            ],
        },
    ])
    .to_string()
}

fn eval(machine: &Machine, args: &[&str]) -> Ended {
    let file = machine.file("dataset.json", dataset());
    let file = file.to_str().expect("UTF-8");
    machine.tally([&["memory", "eval", "--dataset", file], args].concat())
}

/// recall@5, recall@10, any@10 and all@10 in per cent, and MRR.
fn figures(of: &Value) -> [f64; 5] {
    ["recall@5", "recall@10", "any@10", "all@10", "mrr"]
        .map(|key| of[key].as_f64().unwrap_or_else(|| panic!("{key}: {of}")))
}

fn keys(of: &Value) -> BTreeSet<&str> {
    of.as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[track_caller]
fn assert_near(found: &Value, wanted: f64) {
    let near = found.as_f64().is_some_and(|f| (f - wanted).abs() < 1e-9);
    assert!(near, "{found} is not {wanted}");
}

/// The turn with a question's words is the first. The other turn of the multi-hop question has none of them, and stands in the other
/// session: it is the 23rd. Nothing has a word of the open-domain question, and all turns tie: BM25 leaves them as they came, so the
/// evidence is second; the index has the later session first, so it is the 14th. The adversarial question names Ben, and Ada said
/// what it is made from: the turns of Ben before and after come before that one.
fn assert_words_alone(report: &Value) {
    let found = [100.0, 100.0, 100.0, 100.0, 1.0];
    let half = [50.0, 50.0, 100.0, 0.0, 1.0];
    let systems = [
        (
            "bm25",
            [100.0, 100.0, 100.0, 100.0, 0.5],
            found,
            [87.5, 87.5, 100.0, 75.0, 0.875],
        ),
        (
            "tally-words",
            [0.0, 0.0, 0.0, 0.0, 0.071],
            [100.0, 100.0, 100.0, 100.0, 0.333],
            [62.5, 62.5, 75.0, 50.0, 0.768],
        ),
    ];
    for (name, open_domain, adversarial, all) in systems {
        let system = &report["systems"][name];
        for (category, wanted) in [
            ("single-hop", found),
            ("temporal", found),
            ("multi-hop", half),
            ("open-domain", open_domain),
            ("adversarial", adversarial),
        ] {
            let row = &system["categories"][category];
            assert_eq!(figures(row), wanted, "{name}, {category}");
            assert_eq!(row["questions"], 1, "{name}, {category}");
        }
        // Of the questions that have an answer.
        assert_eq!(figures(&system["all"]), all, "{name}");
        assert_eq!(system["all"]["questions"], 4, "{name}");
        assert_eq!(system["conversations"]["garden"], system["all"], "{name}");
    }
}

#[test]
fn figures_by_category_and_baseline_are_what_can_be_worked_out_by_hand() {
    let machine = Machine::bare();
    let report = eval(
        &machine,
        &["--split", "garden", "--embedding", "none", "--json"],
    )
    .ok()
    .json();
    assert_eq!(
        keys(&report["systems"]),
        BTreeSet::from(["bm25", "tally-words"])
    );
    assert_words_alone(&report);

    // It advises to abstain where Ada did what Ben is said to have done, and nowhere else.
    let abstention = &report["abstention"];
    for (key, wanted) in [("right", 1), ("wrong", 0), ("missed", 0)] {
        assert_eq!(abstention[key], wanted, "{abstention}");
    }
    assert_near(&abstention["precision"], 1.0);
    assert_near(&abstention["recall"], 1.0);

    // All turns fit an answer, and in each the neighbours' animals come twice.
    let answer = &report["answer"];
    assert_eq!(answer["hits"], 5 * 24, "{answer}");
    assert_near(&answer["repeatedShare"]["words"], 1.0 / 24.0);
    assert_eq!(answer["repeatedShare"]["vectors"], Value::Null);

    let of_dataset = &report["dataset"];
    assert_eq!(of_dataset["conversations"], json!(["garden"]));
    for (key, wanted) in [
        ("turns", 24),
        ("questions", 5),
        ("observations", 0),
        ("withoutEvidence", 0),
    ] {
        assert_eq!(of_dataset[key], wanted, "{key}");
    }
    let parts = [
        "abstention",
        "answer",
        "chat",
        "dataset",
        "embedding",
        "ingest",
        "latencyMs",
        "reranker",
        "systems",
    ];
    assert_eq!(keys(&report), BTreeSet::from(parts));
    for key in ["chat", "embedding", "reranker"] {
        assert_eq!(report[key], Value::Null, "{key}");
    }
    assert!(report["latencyMs"]["search"]["p95"].is_f64(), "{report}");
    assert_eq!(report["latencyMs"]["embedding"], Value::Null);
}

#[test]
fn conversations_are_measured_apart_or_together_as_one_memory() {
    let machine = Machine::bare();
    let apart = eval(&machine, &["--embedding", "none", "--json"])
        .ok()
        .json();
    let together = eval(&machine, &["--together", "--embedding", "none", "--json"])
        .ok()
        .json();
    let names = json!(["garden", "harbour"]);
    assert_eq!(apart["dataset"]["conversations"], names);
    assert_eq!(together["dataset"]["conversations"], json!(["together"]));
    for report in [&apart, &together] {
        for (key, wanted) in [("turns", 27), ("questions", 6), ("withoutEvidence", 1)] {
            assert_eq!(report["dataset"][key], wanted, "{key}");
        }
        for name in ["bm25", "tally-words"] {
            let system = &report["systems"][name];
            assert_eq!(system["all"]["questions"], 5, "{name}");
            let single = &system["categories"]["single-hop"];
            assert_eq!(figures(single), [100.0, 100.0, 100.0, 100.0, 1.0], "{name}");
            assert_eq!(single["questions"], 2, "{name}");
        }
    }
    let of = |report: &Value| report["systems"]["bm25"]["conversations"].clone();
    assert_eq!(keys(&of(&apart)), BTreeSet::from(["garden", "harbour"]));
    assert_eq!(keys(&of(&together)), BTreeSet::from(["together"]));
    // One memory is searched whole by each question.
    assert_eq!(apart["answer"]["hits"], 5 * 24 + 3);
    assert_eq!(together["answer"]["hits"], 6 * 27);
    assert_near(&together["answer"]["repeatedShare"]["words"], 1.0 / 27.0);
}

/// The model's vectors mean nothing: what they find is not asserted.
#[test]
fn with_an_embedding_model_the_ways_that_need_one_are_measured_too_and_what_was_found_is_written_down()
 {
    let machine = Machine::bare();
    let model = machine.file("embed.gguf", tally_seed_model::embedding_model(1));
    let model = model.to_str().expect("UTF-8");
    let details = machine.path("details.jsonl");
    let report = eval(
        &machine,
        &[
            "--split",
            "garden",
            "--embedding",
            model,
            "--details",
            details.to_str().expect("UTF-8"),
            "--json",
        ],
    )
    .ok()
    .json();
    assert_eq!(
        keys(&report["systems"]),
        BTreeSet::from(["bm25", "dense", "rrf", "tally", "tally-words"])
    );
    assert_words_alone(&report);
    for name in ["dense", "rrf", "tally"] {
        let system = &report["systems"][name];
        assert_eq!(system["all"]["questions"], 4, "{name}");
        // All turns are ranked, so every piece of evidence has a place.
        assert!(figures(&system["all"])[4] > 0.0, "{name}: {system}");
    }
    assert!(report["embedding"]["weights"].is_string(), "{report}");
    assert!(report["latencyMs"]["embedding"]["p50"].is_f64(), "{report}");
    let repeated = &report["answer"]["repeatedShare"];
    assert_near(&repeated["words"], 1.0 / 24.0);
    let by_vectors = repeated["vectors"].as_f64();
    assert!(
        by_vectors.is_some_and(|share| (0.0..1.0).contains(&share)),
        "{repeated}"
    );

    let written = std::fs::read_to_string(details).expect("it was written");
    let lines: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object"))
        .collect();
    assert_eq!(lines.len(), 5);
    for (line, wanted) in lines.iter().zip([1, 1, 2, 1, 1]) {
        assert_eq!(line["conversation"], "garden");
        assert_eq!(line["evidence"].as_array().map(Vec::len), Some(wanted));
        let hits = line["hits"].as_array().expect("hits");
        let evidence = hits.iter().filter(|hit| hit["evidence"] == true).count();
        assert_eq!((hits.len(), evidence), (24, wanted), "{line}");
    }
    let telescope = &lines[1];
    assert_eq!(telescope["category"], "temporal");
    assert_eq!(telescope["question"], "When did Ben buy the telescope?");
    assert_eq!(
        telescope["evidence"][0]["text"],
        "Ben: I bought a telescope yesterday."
    );
}

#[test]
fn a_person_reads_a_table_and_that_vectors_are_left_out() {
    let machine = Machine::bare();
    eval(&machine, &["--embedding", "none"])
        .ok()
        .says("no embedding model")
        .says("recall@10 by category")
        .says("tally-words");
}

#[test]
fn what_cannot_be_measured_is_said_and_whose_turn_it_is() {
    let machine = Machine::bare();
    machine.tally(["memory", "eval"]).exits(2).says("--dataset");
    let of =
        |file: &str| machine.tally(["memory", "eval", "--dataset", file, "--embedding", "none"]);
    of("/nowhere/talk.json").exits(3).says("locomo10.json");
    for (text, says) in [
        ("What did Ada paint?", "read the dataset"),
        (r#"{"sample_id":"garden"}"#, "read the dataset"),
        (
            r#"[{"sample_id":"undated","conversation":{"session_1":[]},"qa":[]}]"#,
            "undated: session_1_date_time",
        ),
    ] {
        let file = machine.file("no-dataset.json", text);
        of(file.to_str().expect("UTF-8")).exits(2).says(says);
    }
    let unknown = ["--split", "attic", "--embedding", "none"];
    eval(&machine, &unknown)
        .exits(2)
        .says("attic")
        .says("it has garden, harbour");
    let error = eval(&machine, &[&unknown[..], &["--json"]].concat())
        .exits(2)
        .json();
    assert_eq!(error["error"]["kind"], "misuse", "{error}");
    let details = machine.path("details.jsonl");
    let file = details.to_str().expect("UTF-8");
    eval(&machine, &["--embedding", "none", "--details", file])
        .exits(2)
        .says("needs an embedding model");
    assert!(!details.exists());
}

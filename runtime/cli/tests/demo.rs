//! The whole story on one machine, with the model that comes with the program.

mod support;

use serde_json::Value;
use support::{Machine, component};

/// `tally demo` on this machine, with every agent that it can show.
fn demo(machine: &Machine) -> Value {
    let agents = [
        "answer-with-sources",
        "trip-notes",
        "trip-brief",
        "remember-and-ask",
    ]
    .map(component);
    let folder = agents[0].parent().expect("a component lies in a folder");
    let folder = folder.to_str().expect("the path is UTF-8");
    machine
        .tally(["demo", "--components", folder, "--json"])
        .ok()
        .json()
}

#[test]
fn what_a_person_says_is_learnt_from_proved_and_found_with_the_models_that_are_there() {
    let machine = Machine::bare();
    let shown = demo(&machine);
    assert_eq!(shown["model"], "tally-nano");
    assert_ne!(shown["vault"], Value::Null, "{shown:#}");

    let memory = &shown["memory"];
    let facts = memory["facts"].as_array().expect("facts are listed");
    assert!(!facts.is_empty(), "{memory:#}");
    for fact in facts {
        let text = |key: &str| fact[key].as_str().expect("a text");
        assert!(text("said").contains(text("text")), "{fact:#}");
    }
    assert!(
        !memory["profile"]
            .as_array()
            .expect("a profile is a list")
            .is_empty(),
        "{memory:#}"
    );
    assert_eq!(memory["verified"]["verified"], true, "{memory:#}");
    // Without an embedding model the words have to be the same.
    assert_eq!(memory["embedding"], Value::Null);
    let found = memory["found"][0]["text"].as_str().expect("it is found");
    assert!(found.contains("allergic to peanuts"), "{memory:#}");

    let model = machine.file(
        "meaning.gguf",
        tally_seed_model::embedding_model(tally_seed_model::SEED),
    );
    let model = model.to_str().expect("the path is UTF-8");
    machine
        .tally(["model", "add", model, "--name", "meaning"])
        .ok();
    let memory = &demo(&machine)["memory"];
    assert_eq!(memory["embedding"], "meaning", "{memory:#}");
}

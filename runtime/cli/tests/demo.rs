//! The whole story on one machine, with the model that comes with the program.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Ended, Machine, checkout, component};

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

    assert_eq!(shown["searched"], "words", "{shown:#}");

    machine.add_embedding_model("meaning", tally_seed_model::SEED);
    let shown = demo(&machine);
    let memory = &shown["memory"];
    assert_eq!(memory["embedding"], "meaning", "{memory:#}");
    assert_eq!(shown["searched"], "words and meaning", "{shown:#}");
    assert_eq!(shown["receipts"], 2, "of the vectors and of the answer");
}

/// What `make demo` does about an embedding model on this machine, with a Python that has no venv.
fn embedding_model_script(machine: &Machine) -> Ended {
    let tools = machine.path("tools");
    std::fs::create_dir_all(&tools).expect("the temporary folder can be written");
    let python = machine.file("tools/python3", "#!/bin/sh\nexit 1\n");
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755))
        .expect("a file of ours");
    let path = std::env::var("PATH").expect("programs are found by PATH");
    let mut command = Command::new(checkout().join("scripts/embedding-model.sh"));
    command
        .arg(env!("CARGO_BIN_EXE_tally"))
        .arg(machine.path("models"))
        .env("TALLY_HOME", machine.path("home"))
        .env("TALLY_SETTLE", "none")
        .env("PATH", format!("{}:{path}", tools.display()))
        .env_remove("TALLY_EMBEDDING")
        .stdin(Stdio::null());
    Ended::of(command)
}

#[test]
fn a_machine_that_cannot_make_the_embedding_model_is_told_what_is_searched_by_and_goes_on() {
    let machine = Machine::bare();
    embedding_model_script(&machine)
        .ok()
        .says("memory is searched by words alone, because there is no Python 3 with venv");
}

#[test]
fn an_embedding_model_that_is_damaged_is_made_anew_the_next_time() {
    let machine = Machine::bare();
    std::fs::create_dir(machine.path("models")).expect("the temporary folder can be written");
    let model = machine.file("models/tally-recall.q8_0.gguf", "cut off");
    embedding_model_script(&machine)
        .ok()
        .says("the embedding model could not be added");
    assert!(!model.exists());
    embedding_model_script(&machine).ok().says("Python 3");
}

#[test]
fn an_embedding_model_that_was_made_is_added_and_a_machine_that_has_one_is_left_alone() {
    let machine = Machine::bare();
    std::fs::create_dir(machine.path("models")).expect("the temporary folder can be written");
    machine.file(
        "models/tally-recall.q8_0.gguf",
        tally_seed_model::embedding_model(1),
    );
    embedding_model_script(&machine).ok();
    let listed = machine.tally(["model", "list", "--json"]).ok().json();
    let kinds: Vec<&str> = listed["models"]
        .as_array()
        .expect("models are listed")
        .iter()
        .filter(|model| model["name"] == "tally-recall.q8_0")
        .filter_map(|model| model["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["embedding"], "{listed:#}");

    std::fs::remove_file(machine.path("models/tally-recall.q8_0.gguf")).expect("it is there");
    let again = embedding_model_script(&machine).ok();
    assert_eq!(again.stderr(), "", "there is nothing to do");
}

//! The whole story on one machine, with the model that comes with the program.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
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

/// A file that can be executed.
fn program(path: &Path, text: &str) {
    let folder = path.parent().expect("it lies in a folder");
    std::fs::create_dir_all(folder).expect("the temporary folder can be written");
    std::fs::write(path, text).expect("the temporary folder can be written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a file of ours");
}

/// A checkout whose recipe makes this model.
fn checkout_of(machine: &Machine, name: &str, model: &[u8]) -> PathBuf {
    let at = machine.path(name);
    let script = checkout().join("scripts/embedding-model.sh");
    let script = std::fs::read_to_string(script).expect("it is in the checkout");
    program(&at.join("scripts/embedding-model.sh"), &script);
    program(&at.join("models/package.sh"), "#!/bin/sh\necho wheel\n");
    std::fs::create_dir_all(at.join("models/minilm")).expect("the temporary folder can be written");
    let sum = blake3::hash(model).to_hex();
    for (file, bytes) in [
        ("made.gguf", model),
        ("NOTICE", &b"whose it is"[..]),
        (
            "BLAKE3SUMS",
            format!("{sum}  tally-recall.q8_0.gguf\n").as_bytes(),
        ),
    ] {
        std::fs::write(at.join("models/minilm").join(file), bytes)
            .expect("the temporary folder can be written");
    }
    at
}

/// What `make demo` does about an embedding model on this machine. Its Python has a venv, which makes what the checkout says, or none.
fn embedding_model_script(machine: &Machine, checkout: &Path, has_venv: bool) -> Ended {
    let tools = machine.path("tools");
    let end = if has_venv { 0 } else { 1 };
    program(&tools.join("python3"), &format!("#!/bin/sh\nexit {end}\n"));
    program(
        &machine.path("models/venv/bin/python"),
        "#!/bin/sh\ncp models/minilm/made.gguf \"$3/$4\"\n",
    );
    let path = std::env::var("PATH").expect("programs are found by PATH");
    let mut command = Command::new("bash");
    command
        .arg(checkout.join("scripts/embedding-model.sh"))
        .arg(env!("CARGO_BIN_EXE_tally"))
        .arg(machine.path("models"))
        .env("TALLY_HOME", machine.path("home"))
        .env("TALLY_SETTLE", "none")
        .env("PATH", format!("{}:{path}", tools.display()))
        .env_remove("TALLY_EMBEDDING")
        .stdin(Stdio::null());
    Ended::of(command)
}

/// The embedding models of a machine, by name and sum.
fn embedding_models(machine: &Machine) -> Vec<(String, String)> {
    let listed = machine.tally(["model", "list", "--json"]).ok().json();
    let text = |model: &Value, key: &str| model[key].as_str().expect("a text").to_owned();
    listed["models"]
        .as_array()
        .expect("models are listed")
        .iter()
        .filter(|model| model["kind"] == "embedding")
        .map(|model| (text(model, "name"), text(model, "blake3")))
        .collect()
}

/// `tally-recall.q8_0` with the weights of this seed, as [`embedding_models`] gives it.
fn recall(seed: u64) -> Vec<(String, String)> {
    let sum = blake3::hash(&tally_seed_model::embedding_model(seed)).to_string();
    vec![("tally-recall.q8_0".to_owned(), sum)]
}

#[test]
fn a_machine_that_cannot_make_the_embedding_model_is_told_what_is_searched_by_and_goes_on() {
    let machine = Machine::bare();
    embedding_model_script(&machine, &checkout(), false)
        .ok()
        .says("memory is searched by words alone, because there is no Python 3 with venv");
    assert!(embedding_models(&machine).is_empty());
}

#[test]
fn an_embedding_model_that_is_not_the_recipe_s_is_left_where_it_is_and_not_added() {
    let machine = Machine::bare();
    std::fs::create_dir(machine.path("models")).expect("the temporary folder can be written");
    let other = machine.file("models/tally-recall.q8_0.gguf", "cut off");
    embedding_model_script(&machine, &checkout(), false)
        .ok()
        .says("there is no Python 3 with venv");
    assert!(embedding_models(&machine).is_empty());
    let model = tally_seed_model::embedding_model(1);
    let checkout = checkout_of(&machine, "checkout", &model);
    embedding_model_script(&machine, &checkout, true)
        .ok()
        .says("making the embedding model");
    assert_eq!(embedding_models(&machine), recall(1));
    assert_eq!(std::fs::read(other).expect("it is there"), b"cut off");
}

#[test]
fn an_embedding_model_that_was_made_is_added_and_a_machine_that_has_one_is_left_alone() {
    let machine = Machine::bare();
    let model = tally_seed_model::embedding_model(1);
    let checkout = checkout_of(&machine, "checkout", &model);
    std::fs::create_dir(machine.path("models")).expect("the temporary folder can be written");
    let made = machine.file("models/tally-recall.q8_0.gguf", &model);
    embedding_model_script(&machine, &checkout, false).ok();
    assert_eq!(embedding_models(&machine), recall(1));

    std::fs::remove_file(made).expect("it is there");
    let again = embedding_model_script(&machine, &checkout, false).ok();
    assert_eq!(again.stderr(), "", "there is nothing to do");
}

#[test]
fn checkouts_with_other_recipes_exchange_the_model_and_make_each_file_once() {
    let machine = Machine::bare();
    let checkouts = [1, 2].map(|seed| {
        let model = tally_seed_model::embedding_model(seed);
        (
            seed,
            checkout_of(&machine, &format!("checkout-{seed}"), &model),
        )
    });
    for (turn, (seed, checkout)) in checkouts.iter().cycle().take(4).enumerate() {
        let ended = embedding_model_script(&machine, checkout, true).ok();
        let makes = ended.stderr().contains("making the embedding model");
        assert_eq!(makes, turn < 2, "{}", ended.stderr());
        assert_eq!(embedding_models(&machine), recall(*seed));
    }
    let left = std::fs::read_dir(machine.path("models")).expect("it is there");
    let left = left.map(|entry| entry.expect("an entry").file_name());
    let made: Vec<_> = left
        .filter(|name| name.to_string_lossy().starts_with("making."))
        .collect();
    assert!(made.is_empty(), "{made:?}");
}

/// Of two without a default none is chosen, so an exchange that was stopped must not stay half done.
#[test]
fn an_exchange_that_was_stopped_is_ended_the_next_time() {
    const OLD: u64 = 1;
    const NEW: u64 = 2;
    for before in [
        &[("tally-recall.q8_0", OLD), ("tally-recall.q8_0.new", NEW)][..],
        &[("tally-recall.q8_0.new", NEW)],
        &[("tally-recall.q8_0", NEW), ("tally-recall.q8_0.new", NEW)],
        &[("tally-recall.q8_0.new", OLD)],
    ] {
        let machine = Machine::bare();
        let model = tally_seed_model::embedding_model(NEW);
        let checkout = checkout_of(&machine, "checkout", &model);
        for (name, seed) in before {
            machine.add_embedding_model(name, *seed);
        }
        embedding_model_script(&machine, &checkout, true).ok();
        assert_eq!(embedding_models(&machine), recall(NEW), "{before:?}");
    }
    // Also where the new one cannot be had any more.
    let machine = Machine::bare();
    let model = tally_seed_model::embedding_model(NEW);
    let checkout = checkout_of(&machine, "checkout", &model);
    machine.add_embedding_model("tally-recall.q8_0", OLD);
    machine.add_embedding_model("tally-recall.q8_0.new", NEW);
    embedding_model_script(&machine, &checkout, false)
        .ok()
        .says("with the embedding model tally-recall.q8_0, which was here before");
    assert_eq!(embedding_models(&machine), recall(OLD));
}

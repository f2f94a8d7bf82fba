//! A vault from the command line: made, written, shared with agents of two apps, taken back, recovered, tampered with.

mod support;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::vaults::{PASSPHRASE, init, vault, with_secrets};
use support::{Ended, Machine, component};

fn folder(machine: &Machine) -> PathBuf {
    machine.path("home").join("vault")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Whether the bytes of any file hold this.
fn lies_about(folder: &Path, needle: &str) -> Option<PathBuf> {
    files(folder).into_iter().find(|path| {
        let bytes = std::fs::read(path).expect("the file can be read");
        bytes
            .windows(needle.len())
            .any(|window| window == needle.as_bytes())
    })
}

fn records(answer: &Value) -> Vec<(String, String)> {
    let text = |record: &Value, key: &str| record[key].as_str().unwrap_or_default().to_owned();
    answer["records"]
        .as_array()
        .expect("records are a list")
        .iter()
        .map(|record| (text(record, "namespace"), text(record, "text")))
        .collect()
}

#[test]
fn what_is_added_is_there_and_nothing_of_it_lies_open_on_the_disk() {
    let machine = Machine::bare();
    let phrase = init(&machine, &["memory", "health"]);
    assert_eq!(phrase.split(' ').count(), 24);
    let id = vault(
        &machine,
        &[
            "add",
            "allergic to peanuts, canary-2718",
            "--namespace",
            "health",
        ],
    )
    .ok()
    .stdout();
    let id = id.trim();
    let answer = vault(&machine, &["get", "--json"]).ok().json();
    assert_eq!(
        records(&answer),
        [(
            "health".to_owned(),
            "allergic to peanuts, canary-2718".to_owned()
        )]
    );
    let newer = [
        "add",
        "allergic to nuts",
        "--namespace",
        "health",
        "--replaces",
        &id[..12],
    ];
    vault(&machine, &newer).ok();
    let answer = vault(&machine, &["get", "--namespace", "health", "--json"])
        .ok()
        .json();
    assert_eq!(
        records(&answer),
        [("health".to_owned(), "allergic to nuts".to_owned())]
    );
    let log = vault(&machine, &["log", "--json"]).ok().json();
    let old = log["log"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["operation"] == *id)
        .expect("it is in the log");
    assert_eq!(
        (old["status"].as_str(), old["what"].as_str()),
        (Some("superseded"), Some("add"))
    );
    vault(&machine, &["check"]).ok().says("sound");
    vault(&machine, &["status"]).ok().says("health");
    for canary in [
        "canary-2718",
        "peanuts",
        "health",
        "text/plain",
        PASSPHRASE,
        phrase.split(' ').next().unwrap(),
    ] {
        // A word of the list may lie in random bytes by chance only if it is very short.
        if canary.len() > 4 {
            // The vault, and what this device keeps of it; compiled code beside them is shared by all tests.
            for place in [folder(&machine), machine.path("home").join("vaults")] {
                assert_eq!(lies_about(&place, canary), None, "{canary}");
            }
        }
    }
}

#[test]
fn a_large_content_comes_back_as_it_was() {
    let machine = Machine::bare();
    init(&machine, &["memory"]);
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let file = machine.file("passport.png", &content);
    let add = [
        "add",
        "--type",
        "image/png",
        "--file",
        file.to_str().unwrap(),
    ];
    let id = vault(&machine, &add).ok().stdout().trim().to_owned();
    let out = machine.path("out.png");
    vault(&machine, &["get", &id, "--out", out.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read(&out).unwrap(), content);
    assert_eq!(
        vault(&machine, &["get", &id, "--out", out.to_str().unwrap()]).code(),
        2,
        "nothing is written over"
    );
}

#[test]
fn what_cannot_be_meant_is_said_in_a_sentence() {
    let machine = Machine::bare();
    let missing = vault(&machine, &["get"]);
    assert_eq!(missing.code(), 2);
    missing.says("tally vault init");
    init(&machine, &["memory"]);
    assert_eq!(
        with_secrets(
            &machine,
            &["vault", "init", "--passphrase-fd", "3", "--json"],
            None
        )
        .says("already")
        .code(),
        2
    );
    let wrong = with_secrets(
        &machine,
        &["vault", "get", "--passphrase-fd", "4"],
        Some("not it"),
    );
    assert_eq!(wrong.code(), 1);
    wrong.says("wrong passphrase");
    let silent = machine.tally(["vault", "get"]);
    assert_eq!(silent.code(), 2);
    silent.says("--passphrase-fd");
    for (args, words) in [
        (&["add", "x", "--namespace", "nowhere"][..], "there are: "),
        (&["add", "x", "--type", "NOT A TYPE"], "type"),
        (&["get", "zz"], "no record"),
        (&["share", "--agent", "a", "memory"], "NAMESPACE=RIGHT"),
        (&["share", "--agent", "a", "memory=write"], "no right"),
        (
            &["share", "--agent", "a", "memory=read", "--expires", "never"],
            "has an end",
        ),
        (
            &["share", "--agent", "../a", "memory=read"],
            "cannot be an agent's name",
        ),
        (
            &["share", "--card", "abc", "--name", "a", "memory=read"],
            "no card",
        ),
        (&["revoke", "nobody"], "no grant that stands"),
    ] {
        let ended = vault(&machine, args);
        assert_eq!(ended.code(), 2, "{args:?}");
        ended.says(words);
    }
}

#[test]
fn an_agent_sees_and_does_what_was_shared_until_it_is_taken_back() {
    let machine = Machine::bare();
    init(&machine, &["memory", "health", "trips"]);
    vault(
        &machine,
        &["add", "likes the window seat", "--namespace", "trips"],
    )
    .ok();
    vault(
        &machine,
        &["add", "a secret of the doctor", "--namespace", "health"],
    )
    .ok();
    let stranger = machine.tally(["vault", "get", "--as", "planner"]);
    assert_eq!(stranger.code(), 2);
    vault(&machine, &["share", "--agent", "planner", "trips=append"])
        .ok()
        .says("until 20");
    let seen = machine
        .tally(["vault", "get", "--as", "planner", "--json"])
        .ok()
        .json();
    assert_eq!(
        records(&seen),
        [("trips".to_owned(), "likes the window seat".to_owned())]
    );
    machine
        .tally([
            "vault",
            "add",
            "prefers trains",
            "--namespace",
            "trips",
            "--as",
            "planner",
        ])
        .ok();
    let outside = machine.tally([
        "vault",
        "add",
        "x",
        "--namespace",
        "health",
        "--as",
        "planner",
    ]);
    assert_ne!(outside.code(), 0);
    let log = vault(&machine, &["log", "--namespace", "trips", "--json"])
        .ok()
        .json();
    assert_eq!(log["log"][1]["author_name"], "planner", "{log:#}");
    let answer = vault(&machine, &["revoke", "planner", "--json"])
        .ok()
        .json();
    assert_eq!(answer["rotated"], serde_json::json!(["trips"]));
    assert!(answer["caveat"].as_str().unwrap().contains("may have kept"));
    vault(&machine, &["add", "written after", "--namespace", "trips"]).ok();
    let later = machine.tally([
        "vault",
        "add",
        "again",
        "--namespace",
        "trips",
        "--as",
        "planner",
    ]);
    assert_eq!(later.code(), 1, "a revoked agent writes nothing");
    let seen = machine.tally(["vault", "get", "--as", "planner", "--json"]);
    assert!(
        !seen.stdout().contains("written after"),
        "{}",
        seen.stdout()
    );
    let kept = records(
        &vault(&machine, &["get", "--namespace", "trips", "--json"])
            .ok()
            .json(),
    );
    assert_eq!(kept.len(), 3, "what it wrote before still counts: {kept:?}");
}

#[test]
fn agents_of_two_apps_share_a_vault_and_neither_steps_outside_its_grant() {
    let machine = Machine::with_model();
    init(&machine, &["trips", "health"]);
    vault(
        &machine,
        &["share", "--agent", "trip-notes", "trips=append"],
    )
    .ok();
    vault(&machine, &["share", "--agent", "trip-brief", "trips=read"]).ok();
    let journal = machine.path("notes.tally");
    let run = |agent: &str, input: &str, more: &[&str]| {
        let wasm = component(agent);
        let mut args = vec![OsStr::new("run"), wasm.as_os_str()];
        args.extend(["--input", input, "--vault", "--grant-asked", "--json"].map(OsStr::new));
        args.extend(more.iter().map(OsStr::new));
        machine.tally(args)
    };
    let kept = run(
        "trip-notes",
        "keep the window seat, always",
        &["--journal", journal.to_str().unwrap()],
    )
    .ok()
    .json();
    let id = kept["reply"]["data"]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{kept:#}"))
        .to_owned();
    // The other app's agent reads what this one wrote, and says who.
    let brief = run("trip-brief", "which seat?", &[]).ok().json();
    assert_eq!(brief["reply"]["data"]["notes"], 1, "{brief:#}");
    // The record is the agent's own, and names the run.
    let log = vault(&machine, &["log", "--json"]).ok().json();
    let row = log["log"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["operation"] == *id)
        .expect("it is in the log");
    assert_eq!(row["author_name"], "trip-notes");
    assert!(
        row["run"].as_str().is_some_and(|run| !run.is_empty()),
        "{row:#}"
    );
    // The run is replayed without the vault.
    let vault_folder = folder(&machine);
    std::fs::rename(&vault_folder, machine.path("elsewhere")).unwrap();
    machine
        .tally([
            OsStr::new("replay"),
            journal.as_os_str(),
            "--agent".as_ref(),
            component("trip-notes").as_os_str(),
        ])
        .ok()
        .says("identical");
    std::fs::rename(machine.path("elsewhere"), &vault_folder).unwrap();
    // The run grants everything the manifest asks for, which is every namespace; the vault shared one.
    let outside = run(
        "trip-notes",
        "keep a secret",
        &["--set", "namespace=health"],
    );
    assert_eq!(outside.code(), 1);
    assert!(
        outside.stdout().contains("is shared with this agent"),
        "{}",
        outside.stdout()
    );
    // And the other way round: the vault shares it, the run does not grant it.
    let grant = machine.file(
        "grant.toml",
        "[capabilities]\nsettings = ['*']\noutput = true\n",
    );
    let wasm = component("trip-notes");
    let refused = machine.tally([
        OsStr::new("run"),
        wasm.as_os_str(),
        "--input".as_ref(),
        "keep this".as_ref(),
        "--vault".as_ref(),
        vault_folder.as_os_str(),
        "--grant".as_ref(),
        grant.as_os_str(),
    ]);
    assert_eq!(refused.code(), 1);
    refused.says("not granted");
    // A reader cannot write, even as itself from the command line.
    let reader = machine.tally([
        "vault",
        "add",
        "x",
        "--namespace",
        "trips",
        "--as",
        "trip-brief",
    ]);
    assert_eq!(reader.code(), 1);
    vault(&machine, &["check"]).ok().says("sound");
}

#[test]
fn the_recovery_phrase_opens_the_vault_when_all_else_is_lost() {
    let machine = Machine::bare();
    let phrase = init(&machine, &["memory"]);
    vault(&machine, &["add", "remember me"]).ok();
    // Another computer, the folder, and the words; the passphrase is forgotten.
    let other = Machine::bare();
    let copy = other.path("copy");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(folder(&machine))
        .arg(&copy)
        .status()
        .unwrap();
    assert!(copied.success());
    let place = copy.to_str().unwrap();
    let recover = [
        "vault",
        "recover",
        "--vault",
        place,
        "--phrase-fd",
        "4",
        "--new-passphrase-fd",
        "3",
        "--json",
    ];
    let wrong = with_secrets(&other, &recover, Some(&phrase.replacen(' ', " zoo ", 1)));
    assert_eq!(wrong.code(), 2, "25 words are no phrase");
    let done = with_secrets(&other, &recover, Some(&phrase)).ok().json();
    assert_eq!(done["older_slots"].as_array().map(Vec::len), Some(1));
    let answer = vault(&other, &["get", "--vault", place, "--json"])
        .ok()
        .json();
    assert_eq!(
        records(&answer),
        [("memory".to_owned(), "remember me".to_owned())]
    );
}

#[test]
fn any_two_of_three_shares_recover_and_one_does_not() {
    let machine = Machine::bare();
    let args = [
        "vault",
        "init",
        "--json",
        "--passphrase-fd",
        "3",
        "--work-memory",
        "64",
        "--work-passes",
        "2",
        "--shares",
        "2/3",
    ];
    let made = with_secrets(&machine, &args, None).ok().json();
    let shares: Vec<&str> = made["recovery_shares"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect();
    assert_eq!(shares.len(), 3);
    vault(&machine, &["add", "remember me"]).ok();
    let recover = [
        "vault",
        "recover",
        "--phrase-fd",
        "4",
        "--new-passphrase-fd",
        "3",
        "--json",
        "--work-memory",
        "64",
        "--work-passes",
        "2",
    ];
    let one = with_secrets(&machine, &recover, Some(shares[1]));
    assert_eq!(one.code(), 2, "{}", one.stdout());
    with_secrets(
        &machine,
        &recover,
        Some(&format!("{}\n{}\n", shares[2], shares[0])),
    )
    .ok();
    let answer = vault(&machine, &["get", "--json"]).ok().json();
    assert_eq!(
        records(&answer),
        [("memory".to_owned(), "remember me".to_owned())]
    );
}

#[test]
fn what_somebody_did_to_the_folder_is_named() {
    let machine = Machine::bare();
    init(&machine, &["memory"]);
    for text in ["one", "two", "three"] {
        vault(&machine, &["add", text]).ok();
    }
    let tail = files(&folder(&machine).join("tail"))
        .into_iter()
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let sound = std::fs::read(&tail).unwrap();
    let mut cut = sound.clone();
    cut.truncate(sound.len() - 700);
    std::fs::write(&tail, &cut).unwrap();
    let ended = vault(&machine, &["check", "--json"]);
    assert_eq!(ended.code(), 1);
    let codes = |ended: &Ended| -> Vec<String> {
        ended.json()["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["code"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(
        codes(&ended).contains(&"author.rolled-back".to_owned()),
        "{:?}",
        codes(&ended)
    );
    let refused = vault(&machine, &["add", "four"]);
    assert_eq!(refused.code(), 1, "nothing is sealed over what is missing");
    let mut flipped = sound.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    std::fs::write(&tail, &flipped).unwrap();
    let ended = vault(&machine, &["check", "--json"]);
    assert_eq!(ended.code(), 1, "{}", ended.stdout());
    std::fs::write(&tail, &sound).unwrap();
    vault(&machine, &["check"]).ok().says("sound");
    let locked = machine
        .tally(["vault", "check", "--locked", "--json"])
        .ok()
        .json();
    assert_eq!(locked["sound"], true);
}

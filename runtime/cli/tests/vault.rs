//! A vault from the command line: made, written, shared with agents of two apps, taken back, recovered, tampered with.

#![expect(clippy::disallowed_methods, reason = "somebody else moves these files")]

mod support;

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::vaults::{PASSPHRASE, init, vault, with_secrets};
use support::{Machine, component};

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
    let mode = std::fs::metadata(&out).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600, "for nobody else");
    assert_eq!(
        vault(&machine, &["get", &id, "--out", out.to_str().unwrap()]).code(),
        2,
        "nothing is written over"
    );
}

#[test]
fn a_vault_has_a_memory_whatever_it_is_made_with_and_gets_more_namespaces_later() {
    let machine = Machine::bare();
    init(&machine, &["trips"]);
    vault(&machine, &["add", "said without a namespace"]).ok();
    let add = ["add", "allergic to peanuts", "--namespace", "health"];
    vault(&machine, &add)
        .exits(2)
        .says("to make one more: tally vault namespace health");
    vault(&machine, &["namespace", "health"])
        .ok()
        .says("tally vault share --agent NAME health=read");
    vault(&machine, &add).ok();
    let made = vault(&machine, &["namespace", "diary", "--json"])
        .ok()
        .json();
    assert_eq!(made["name"], "diary", "{made:#}");
    let status = vault(&machine, &["status", "--json"]).ok().json();
    let mut names: Vec<&str> = status["namespaces"]
        .as_array()
        .expect("namespaces are a list")
        .iter()
        .map(|one| one["name"].as_str().expect("a name"))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["diary", "health", "members", "memory", "trips"]);

    vault(&machine, &["namespace", "health"])
        .exits(2)
        .says("already");
    for name in ["", "*", "control"] {
        vault(&machine, &["namespace", name]).exits(2);
    }
    // An agent gets no namespace of its own, and is told who shares one.
    vault(&machine, &["share", "--agent", "planner", "trips=append"]).ok();
    machine
        .tally(["vault", "namespace", "mine", "--as", "planner"])
        .exits(1)
        .says("takes the right to");
    let add = ["vault", "add", "x", "--namespace", "health"];
    machine
        .tally([&add[..], &["--as", "planner"]].concat())
        .exits(2)
        .says("tally vault share --agent NAME health=read");
    vault(&machine, &["check"]).ok().says("sound");
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
        (&["add"], "nothing to add"),
        (&["get", "zz"], "no record"),
        (
            &[
                "share",
                "--agent",
                "a",
                "memory=read",
                "--expires",
                "2001-01-01T00:00:00Z",
            ],
            "is past",
        ),
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
        (&["import", "/etc/passwd"], "tally vault export wrote"),
        (&["import", "/etc"], "tally vault export wrote"),
        (&["import", "/nowhere/at/all"], "is not there"),
    ] {
        let ended = vault(&machine, args);
        assert_eq!(ended.code(), 2, "{args:?}");
        ended.says(words);
    }
    vault(&machine, &["get", "--vault", "/etc/passwd"])
        .exits(2)
        .says("a vault is a folder");
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

/// What `vault check` names, and whether it calls the vault sound.
fn check(machine: &Machine, folder: &Path) -> (bool, Vec<String>) {
    let folder = folder.to_str().expect("the path is UTF-8");
    let ended = vault(machine, &["check", "--json", "--vault", folder]);
    let answer = ended.json();
    let sound = answer["sound"].as_bool().expect("it says so");
    assert_eq!(ended.code(), i32::from(!sound), "{}", ended.stderr());
    let findings = answer["findings"].as_array().expect("a list");
    let code = |finding: &Value| finding["code"].as_str().expect("a code").to_owned();
    let codes: std::collections::BTreeSet<String> = findings.iter().map(code).collect();
    (sound, codes.into_iter().collect())
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for path in files(from) {
        let there = to.join(path.strip_prefix(from).expect("it is inside"));
        std::fs::create_dir_all(there.parent().expect("it is in a folder")).expect("made");
        std::fs::copy(&path, there).expect("the file can be copied");
    }
}

/// The files of one kind, the longest first.
fn longest(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found = files(&folder.join(kind));
    found.sort_by_key(|path| std::cmp::Reverse(path.metadata().expect("it is there").len()));
    found
}

/// Changes the bytes of a file.
fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("the file can be read");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("the file can be written");
}

/// The frames of a file, each with its header, without the room of a tail.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).expect("the file can be read");
    let (mut frames, mut at) = (Vec::new(), 10);
    while bytes.get(at) == Some(&0xf1) {
        let len = u32::from_be_bytes(bytes[at + 2..at + 6].try_into().expect("four"));
        let end = at + 6 + len as usize;
        frames.push(bytes[at..end].to_vec());
        at = end;
    }
    frames
}

fn write_frames(path: &Path, frames: &[Vec<u8>]) {
    let bytes = [b"TALLYSEG\x00\x01", frames.concat().as_slice()].concat();
    std::fs::write(path, bytes).expect("the file can be written");
}

/// A vault of two computers, as the first has it: segments of both, and a tail. Also the second, and another vault.
fn attacked() -> (Machine, Machine, Machine) {
    let (machine, second, other) = (Machine::bare(), Machine::bare(), Machine::bare());
    init(&machine, &["memory"]);
    let carried = machine.path("carried");
    let carry = carried.to_str().expect("the path is UTF-8");
    vault(&machine, &["export", carry]).ok();
    vault(&second, &["import", carry]).ok();
    for text in ["b one", "b two", "b three"] {
        vault(&second, &["add", text]).ok();
    }
    let theirs = folder(&second);
    vault(
        &machine,
        &["import", theirs.to_str().expect("the path is UTF-8")],
    )
    .ok();
    for text in ["a one", "a two", "a three"] {
        vault(&machine, &["add", text]).ok();
    }
    init(&other, &["memory"]);
    vault(&other, &["add", "of another vault"]).ok();
    (machine, second, other)
}

/// What somebody does to a vault's folder.
type Attack<'a> = (&'a str, Box<dyn Fn(&Path) + 'a>, &'a [&'a str], bool);

#[test]
fn what_somebody_did_to_the_folder_is_named() {
    let (machine, second, other) = attacked();
    let pristine = machine.path("pristine");
    copy_folder(&folder(&machine), &pristine);
    let (foreign, theirs) = (folder(&other), folder(&second));
    assert_eq!(check(&machine, &folder(&machine)), (true, vec![]));

    let attacks: Vec<Attack<'_>> = vec![
        (
            "a segment whose byte was changed in a box",
            Box::new(|at| {
                edit(&longest(at, "seg")[0], |bytes| {
                    *bytes.last_mut().unwrap() ^= 1
                })
            }),
            &["box.altered", "file.misnamed"],
            false,
        ),
        (
            "a segment that was cut",
            Box::new(|at| {
                edit(&longest(at, "seg")[0], |bytes| {
                    bytes.truncate(bytes.len() - 9)
                })
            }),
            &["author.rolled-back", "file.misnamed", "frame.damaged"],
            false,
        ),
        (
            "two segments that changed their names",
            Box::new(|at| {
                let seg = longest(at, "seg");
                let aside = at.join("aside");
                std::fs::rename(&seg[0], &aside).unwrap();
                std::fs::rename(&seg[1], &seg[0]).unwrap();
                std::fs::rename(&aside, &seg[1]).unwrap();
            }),
            &["file.misnamed"],
            true,
        ),
        (
            "a segment that is there twice",
            Box::new(|at| {
                let seg = &longest(at, "seg")[0];
                std::fs::copy(seg, seg.with_file_name(format!("{}.seg", "07".repeat(32)))).unwrap();
            }),
            &["file.doubled", "file.misnamed"],
            true,
        ),
        (
            "frames in another order",
            Box::new(|at| {
                let seg = &longest(at, "seg")[0];
                let mut frames = frames(seg);
                assert!(frames.len() > 1);
                frames.reverse();
                write_frames(seg, &frames);
            }),
            &["file.misnamed"],
            true,
        ),
        (
            "operations in the middle withheld",
            Box::new(|at| {
                let tail = &longest(at, "tail")[0];
                let mut frames = frames(tail);
                frames.remove(frames.len() - 2);
                write_frames(tail, &frames);
            }),
            &["seal.gap"],
            false,
        ),
        (
            "the newest operation of an author withheld",
            Box::new(|at| {
                let tail = &longest(at, "tail")[0];
                let mut frames = frames(tail);
                frames.pop();
                write_frames(tail, &frames);
            }),
            &["author.rolled-back"],
            false,
        ),
        (
            "a file of another vault",
            Box::new(|at| {
                let seg = &longest(&foreign, "seg")[0];
                std::fs::copy(seg, at.join("seg").join(seg.file_name().unwrap())).unwrap();
            }),
            &["frame.foreign"],
            false,
        ),
        (
            "a file that is none",
            Box::new(|at| std::fs::write(at.join("seg").join("notes.txt"), "hello").unwrap()),
            &["file.header"],
            false,
        ),
        (
            "a slot that asks for less work",
            Box::new(|at| {
                // Memory, in the middle of its 1024s: 10 bytes, vault, card.
                edit(&longest(at, "slots")[0], |bytes| {
                    bytes[10 + 32 + 129 + 1] ^= 1
                });
            }),
            &["slot.damaged"],
            false,
        ),
        (
            "a slot of another vault's member",
            Box::new(|at| {
                let slot = &longest(&foreign, "slots")[0];
                std::fs::copy(slot, at.join("slots").join(slot.file_name().unwrap())).unwrap();
            }),
            &["slot.damaged"],
            false,
        ),
        (
            "a keyring of other keys",
            Box::new(|at| {
                let ring = &longest(&foreign, "keys")[0];
                std::fs::copy(ring, &longest(at, "keys")[0]).unwrap();
            }),
            &["keyring.damaged", "keyring.missing"],
            false,
        ),
        (
            "a VAULT that was changed",
            Box::new(|at| edit(&at.join("VAULT"), |bytes| bytes[40] ^= 1)),
            &["genesis.damaged"],
            false,
        ),
        (
            "a write that was interrupted",
            Box::new(|at| {
                let tail = &longest(at, "tail")[0];
                let mut frames = frames(tail);
                let torn = frames.last().unwrap()[..300].to_vec();
                frames.push(torn);
                write_frames(tail, &frames);
            }),
            &["tail.cut"],
            true,
        ),
        (
            "a record's large content changed",
            Box::new(|at| {
                // Copies leave out folders that are empty.
                std::fs::create_dir_all(at.join("blob")).unwrap();
                let blob = at.join("blob").join(format!("{}.blob", "05".repeat(32)));
                std::fs::write(blob, [5; 400]).unwrap();
            }),
            &["blob.damaged"],
            false,
        ),
    ];
    let place = folder(&machine);
    for (what, attack, codes, sound) in attacks {
        std::fs::remove_dir_all(&place).unwrap();
        copy_folder(&pristine, &place);
        attack(&place);
        let found = check_any(&machine, &place);
        for code in codes {
            assert!(found.1.iter().any(|one| one == code), "{what}: {found:?}");
        }
        assert_eq!(found.0, sound, "{what}: {found:?}");
    }

    // Set back to what the second computer was given.
    std::fs::remove_dir_all(&place).unwrap();
    copy_folder(&theirs, &place);
    let (_, codes) = check(&machine, &place);
    assert!(
        codes.contains(&"author.rolled-back".to_owned()),
        "{codes:?}"
    );
    vault(&machine, &["add", "four"]).exits(1).says("set back");

    // Another vault altogether, with the same passphrase.
    std::fs::remove_dir_all(&place).unwrap();
    copy_folder(&foreign, &place);
    vault(&machine, &["check"])
        .exits(1)
        .says("somebody exchanged it");

    std::fs::remove_dir_all(&place).unwrap();
    copy_folder(&pristine, &place);
    vault(&machine, &["check"]).ok().says("sound");
    let locked = machine
        .tally(["vault", "check", "--locked", "--json"])
        .ok()
        .json();
    assert_eq!(locked["sound"], true);
}

/// As [`check`]; a vault whose slot no passphrase is tried on is checked without.
fn check_any(machine: &Machine, folder: &Path) -> (bool, Vec<String>) {
    let text = folder.to_str().expect("the path is UTF-8");
    if vault(machine, &["status", "--json", "--vault", text]).code() == 0 {
        return check(machine, folder);
    }
    let ended = machine.tally(["vault", "check", "--locked", "--json", "--vault", text]);
    let answer = ended.json();
    let findings = answer["findings"].as_array().expect("a list").iter();
    let codes = findings.map(|finding| finding["code"].as_str().expect("a code").to_owned());
    (
        answer["sound"].as_bool().expect("it says so"),
        codes.collect(),
    )
}

#[test]
fn a_device_restored_from_a_backup_forks_and_both_sides_count() {
    let machine = Machine::bare();
    init(&machine, &["memory"]);
    vault(&machine, &["add", "before"]).ok();
    let backup = Machine::bare();
    copy_folder(
        &machine.path("home").join("vault"),
        &backup.path("home").join("vault"),
    );
    let known = |machine: &Machine| machine.path("home").join("vaults");
    copy_folder(&known(&machine), &known(&backup));
    vault(&machine, &["add", "here"]).ok();
    vault(&backup, &["add", "there"]).ok();
    let theirs = folder(&backup);
    let ended = vault(
        &machine,
        &["import", theirs.to_str().expect("the path is UTF-8")],
    );
    assert_eq!(ended.code(), 0, "{}", ended.stderr());
    let (sound, codes) = check(&machine, &folder(&machine));
    assert!(
        !sound && codes.contains(&"author.forked".to_owned()),
        "{codes:?}"
    );
    let answer = vault(&machine, &["get", "--json", "--namespace", "memory"])
        .ok()
        .json();
    let mut texts: Vec<String> = records(&answer).into_iter().map(|(_, text)| text).collect();
    texts.sort();
    assert_eq!(texts, ["before", "here", "there"]);
}

#[test]
fn a_grant_that_ended_is_closed_and_said_so() {
    let machine = Machine::bare();
    init(&machine, &["memory"]);
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
    let seconds = soon
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let end = tally_capability::Moment::from_epoch_seconds(seconds).to_string();
    vault(
        &machine,
        &[
            "share",
            "--agent",
            "planner",
            "memory=append",
            "--expires",
            &end,
        ],
    )
    .ok();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let (sound, codes) = check(&machine, &folder(&machine));
    assert_eq!((sound, codes), (true, vec!["grant.expired".to_owned()]));
    let ended = vault(&machine, &["add", "after it"]).ok();
    let said = ended.stderr();
    assert!(said.contains("the grant of planner ended"), "{said}");
    assert!(said.contains("new keys for memory"), "{said}");
    let (sound, codes) = check(&machine, &folder(&machine));
    assert_eq!((sound, codes), (true, vec![]));
}

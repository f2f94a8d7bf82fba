//! The main job, through the command line: run, check, replay, tamper, kill.

mod support;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{Machine, component};

const DOCUMENT: &str = "# Opening hours\n\nThe library opens at nine on weekdays.\nOn Saturday it opens at ten.\nIt is closed on Sunday.\n";

/// Runs the document agent once; gives its journal and the JSON it printed.
fn run_once(machine: &Machine, name: &str) -> (PathBuf, serde_json::Value) {
    run_once_with(machine, name, &[])
}

/// The same, with more on the command line.
fn run_once_with(machine: &Machine, name: &str, more: &[&str]) -> (PathBuf, serde_json::Value) {
    let agent = component("answer-with-sources");
    let document = machine.file("hours.md", DOCUMENT);
    let journal = machine.path(name);
    let mut args = vec![
        OsStr::new("run"),
        agent.as_os_str(),
        "--input".as_ref(),
        "When does the library open on Saturday?".as_ref(),
        "--attach".as_ref(),
        document.as_os_str(),
        "--grant-asked".as_ref(),
        "--journal".as_ref(),
        journal.as_os_str(),
        "--json".as_ref(),
    ];
    args.extend(more.iter().map(OsStr::new));
    let said = machine.tally(args).ok().json();
    (journal, said)
}

#[test]
fn a_bare_machine_has_the_model_that_comes_with_the_program() {
    let machine = Machine::bare();
    let (_, said) = run_once(&machine, "run.tally");
    assert_eq!(said["outcome"], "replied", "{said:#}");
    let models = machine.tally(["model", "list", "--json"]).ok().json();
    assert_eq!(models["models"][0]["name"], "tally-nano");
    assert_eq!(models["models"][0]["default"], true);
}

fn verify(machine: &Machine, file: &Path) -> support::Ended {
    machine.tally([OsStr::new("verify"), file.as_os_str(), "--json".as_ref()])
}

fn replay(machine: &Machine, journal: &Path, agent: &Path) -> support::Ended {
    machine.tally([
        OsStr::new("replay"),
        journal.as_os_str(),
        "--agent".as_ref(),
        agent.as_os_str(),
        "--json".as_ref(),
    ])
}

fn status<'a>(verdict: &'a serde_json::Value, code: &str) -> &'a str {
    verdict["files"][0]["checks"]
        .as_array()
        .expect("a verdict lists its checks")
        .iter()
        .find(|check| check["code"] == code)
        .unwrap_or_else(|| panic!("no check {code} in {verdict:#}"))["status"]
        .as_str()
        .expect("a status is text")
}

/// The checks whose code begins so.
fn checks_of(verdict: &serde_json::Value, code: &str) -> Vec<serde_json::Value> {
    let checks = verdict["files"][0]["checks"].as_array();
    let checks = checks.expect("a verdict lists its checks").iter();
    let named = |check: &&serde_json::Value| {
        check["code"]
            .as_str()
            .is_some_and(|it| it.starts_with(code))
    };
    checks.filter(named).cloned().collect()
}

#[test]
fn a_run_has_receipts_and_a_journal_that_verifies_and_replays_without_the_model() {
    let machine = Machine::with_model();
    let (journal, said) = run_once(&machine, "run.tally");
    assert_eq!(said["outcome"], "replied", "{said:#}");
    assert!(
        !said["receipts"]
            .as_array()
            .expect("receipts are listed")
            .is_empty(),
        "{said:#}"
    );

    let verdict = verify(&machine, &journal).ok().json();
    for code in [
        "journal-chain",
        "journal-head",
        "journal-end",
        "signature",
        "signer-trusted",
    ] {
        assert_eq!(status(&verdict, code), "pass", "{verdict:#}");
    }
    let words = checks_of(&verdict, "journal-words");
    assert!(!words.is_empty(), "{verdict:#}");
    for check in words {
        assert_eq!(check["status"], "pass", "{check:#}");
    }

    // Another machine: no model, no key, no cache.
    let elsewhere = Machine::bare();
    let again = replay(&elsewhere, &journal, &component("answer-with-sources"))
        .ok()
        .json();
    assert_eq!(again["identical"], true, "{again:#}");
    assert_eq!(again["words"][0]["status"], "pass", "{again:#}");
    assert!(
        !elsewhere.path("home/keys/node.key").exists(),
        "a replay needs no key and makes none"
    );
}

#[test]
fn an_agent_searches_by_meaning_where_a_model_can_and_its_vectors_have_a_receipt() {
    let machine = Machine::with_model();
    machine.add_embedding_model("meaning", 1);
    let (journal, said) = run_once(&machine, "run.tally");
    assert_eq!(said["outcome"], "replied", "{said:#}");
    let data = &said["reply"]["data"];
    assert_eq!(data["searched"], "words and meaning", "{said:#}");
    assert_eq!(data["words_alone"], serde_json::Value::Null, "{said:#}");
    let receipts = said["receipts"].as_array().expect("receipts are listed");
    assert_eq!(receipts.len(), 2, "of the vectors and of the answer");
    assert_eq!(said["denied"], serde_json::json!([]), "{said:#}");

    let verdict = verify(&machine, &journal).ok().json();
    let words = checks_of(&verdict, "journal-words");
    assert_eq!(words.len(), 2, "{verdict:#}");
    for check in words {
        assert_eq!(check["status"], "pass", "{check:#}");
    }
    // Elsewhere there is no model of either kind.
    let elsewhere = Machine::bare();
    let again = replay(&elsewhere, &journal, &component("answer-with-sources"))
        .ok()
        .json();
    assert_eq!(again["identical"], true, "{again:#}");
}

#[test]
fn an_agent_searches_by_words_where_no_model_makes_vectors_and_says_why() {
    let machine = Machine::with_model();
    let why = |said: &serde_json::Value| {
        let data = &said["reply"]["data"];
        assert_eq!(data["searched"], "words", "{said:#}");
        assert_eq!(said["denied"], serde_json::json!([]), "{said:#}");
        let receipts = said["receipts"].as_array().expect("receipts are listed");
        assert_eq!(receipts.len(), 1, "of the answer");
        data["words_alone"].as_str().expect("a reason").to_owned()
    };
    let (journal, said) = run_once(&machine, "none.tally");
    let said = why(&said);
    // No receipt is missing in it.
    let file = journal.to_str().expect("UTF-8");
    machine.tally(["verify", file]).ok();
    assert!(
        said.contains("this machine has no embedding model"),
        "{said}"
    );
    // The answer is the journal's, whatever the machine has by then.
    machine.add_embedding_model("meaning", 1);
    replay(&machine, &journal, &component("answer-with-sources")).ok();

    let (_, said) = run_once_with(&machine, "asked.tally", &["--embedding", "none"]);
    let said = why(&said);
    assert!(said.contains("no embedding model was asked for"), "{said}");
    let (_, said) = run_once_with(&machine, "set.tally", &["--set", "embedder=none"]);
    let said = why(&said);
    assert!(said.contains("no embedding model was asked for"), "{said}");

    machine.add_embedding_model("other", 2);
    let (_, said) = run_once(&machine, "several.tally");
    let said = why(&said);
    assert!(said.contains("meaning") && said.contains("other"), "{said}");
    let (_, said) = run_once_with(&machine, "named.tally", &["--embedding", "other"]);
    assert_eq!(
        said["reply"]["data"]["searched"], "words and meaning",
        "{said:#}"
    );
}

#[test]
fn a_flipped_byte_is_caught_and_the_entry_named() {
    let machine = Machine::with_model();
    let (journal, _) = run_once(&machine, "run.tally");
    let whole = std::fs::read(&journal).expect("the journal is there");
    // Every 97th byte here; the crate's own sweep flips each one.
    for at in (0..whole.len()).step_by(97) {
        let mut altered = whole.clone();
        altered[at] ^= 0x20;
        let copy = machine.file("altered.tally", &altered);
        let ended = verify(&machine, &copy);
        assert!(
            [1, 2].contains(&ended.code()),
            "byte {at} was accepted: {}",
            ended.stdout()
        );
    }
    let middle = whole.len() / 2;
    let mut altered = whole;
    altered[middle] ^= 1;
    let copy = machine.file("altered.tally", &altered);
    machine
        .tally([OsStr::new("verify"), copy.as_os_str()])
        .exits(1)
        .says("entry");
}

#[test]
fn a_journal_of_another_component_is_named_as_such() {
    let machine = Machine::with_model();
    let (journal, _) = run_once(&machine, "run.tally");
    machine
        .tally([
            OsStr::new("replay"),
            journal.as_os_str(),
            "--agent".as_ref(),
            component("bench-guest").as_os_str(),
        ])
        .exits(1)
        .says("another component");
}

#[test]
fn the_component_that_was_run_can_be_named_by_its_file() {
    let machine = Machine::with_model();
    let (journal, _) = run_once(&machine, "run.tally");
    let with = |component: &Path| {
        machine.tally([
            OsStr::new("verify"),
            journal.as_os_str(),
            "--component".as_ref(),
            component.as_os_str(),
        ])
    };
    with(&component("answer-with-sources")).ok();
    with(&component("bench-guest")).exits(1).says("component");
    with(Path::new("nowhere.wasm"))
        .exits(2)
        .says("nowhere.wasm");
}

#[test]
fn a_truncated_journal_is_incomplete_and_says_where_it_ends() {
    let machine = Machine::with_model();
    let (journal, _) = run_once(&machine, "run.tally");
    let whole = std::fs::read(&journal).expect("the journal is there");
    let copy = machine.file("cut.tally", &whole[..whole.len() - 10]);
    machine
        .tally([OsStr::new("verify"), copy.as_os_str()])
        .exits(1);
}

#[test]
fn without_a_grant_a_denial_is_an_answer_and_is_in_the_journal() {
    let machine = Machine::with_model();
    let agent = component("answer-with-sources");
    let document = machine.file("hours.md", DOCUMENT);
    let journal = machine.path("denied.tally");
    let ended = machine.tally([
        OsStr::new("run"),
        agent.as_os_str(),
        "--input".as_ref(),
        "When?".as_ref(),
        "--attach".as_ref(),
        document.as_os_str(),
        "--journal".as_ref(),
        journal.as_os_str(),
        "--json".as_ref(),
    ]);
    assert!(
        [0, 1].contains(&ended.code()),
        "a denial is no misuse: {}",
        ended.stderr()
    );
    let said = ended.json();
    assert!(
        !said["denied"]
            .as_array()
            .expect("denials are listed")
            .is_empty(),
        "{said:#}"
    );
    let view = machine
        .tally([OsStr::new("replay"), journal.as_os_str(), "--view".as_ref()])
        .ok()
        .stdout();
    assert!(view.contains("denied"), "{view}");
}

#[test]
fn a_killed_run_leaves_a_journal_that_says_it_is_incomplete_and_no_worker() {
    let machine = Machine::with_model();
    let agent = component("answer-with-sources");
    let document = machine.file("hours.md", DOCUMENT);
    let journal = machine.path("killed.tally");
    let mut child = machine
        .command()
        .args([
            OsStr::new("run"),
            agent.as_os_str(),
            "--input".as_ref(),
            "When does the library open?".as_ref(),
            "--attach".as_ref(),
            document.as_os_str(),
            "--grant-asked".as_ref(),
            "--journal".as_ref(),
            journal.as_os_str(),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("tally can be started");
    let patience = Instant::now() + Duration::from_secs(120);
    while !journal.exists() {
        assert!(Instant::now() < patience, "the run made no journal");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("the run can be killed");
    child.wait().expect("the run has ended");

    let ended = machine.tally([OsStr::new("verify"), journal.as_os_str()]);
    assert_ne!(ended.code(), 0, "a cut run must not verify");
    while workers_of(&machine) > 0 {
        assert!(Instant::now() < patience, "a worker outlived its run");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Worker processes that were started by this machine's `tally`.
fn workers_of(machine: &Machine) -> usize {
    let home = machine.path("home");
    let mark = format!("TALLY_HOME={}", home.display());
    std::fs::read_dir("/proc")
        .expect("/proc can be read")
        .flatten()
        .filter(|entry| {
            let read = |name| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let command = read("cmdline");
            command
                .split(|&byte| byte == 0)
                .any(|word| word == b"__worker")
                && (read("environ")
                    .split(|&byte| byte == 0)
                    .any(|pair| pair == mark.as_bytes())
                    || parent_is_gone(entry))
        })
        .count()
}

/// Whether a process has been left to init: what a worker of a killed run would be.
fn parent_is_gone(entry: &std::fs::DirEntry) -> bool {
    std::fs::read_to_string(entry.path().join("status"))
        .unwrap_or_default()
        .lines()
        .any(|line| line.split_whitespace().collect::<Vec<_>>() == ["PPid:", "1"])
}

#[test]
fn two_runs_cannot_share_a_journal() {
    let machine = Machine::with_model();
    let agent = component("bench-guest");
    let journal = machine.path("one.tally");
    let spawn = || {
        machine
            .command()
            .args([
                OsStr::new("run"),
                agent.as_os_str(),
                "--input".as_ref(),
                "x".as_ref(),
                "--grant-asked".as_ref(),
                "--journal".as_ref(),
                journal.as_os_str(),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tally can be started")
    };
    let codes: Vec<_> = [spawn(), spawn()]
        .map(|mut run| run.wait().expect("a run ends").code())
        .into();
    assert!(
        codes.contains(&Some(0)) && codes.contains(&Some(2)),
        "{codes:?}"
    );
    verify(&machine, &journal).ok();
}

//! What a hostile agent, a hostile model and a bad moment get, through the binary: a sentence that says what happened, the
//! right exit code, a journal that holds, and nothing left running.

#[path = "../../engine/tests/common/guests.rs"]
mod guests;
mod support;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use support::{Ended, Machine, component};

/// The engine's own guest that does what it is told, with a manifest that asks for everything.
static PROBE: LazyLock<PathBuf> = LazyLock::new(|| {
    let manifest = br#"{"format":1,"name":"probe","version":"1","world":"agent","capabilities":{"models":["*"],"settings":["*"],"random":true,"tools":["*"],"output":true}}"#;
    let wasm = guests::with_section(guests::bare_guest("probe"), "tally:manifest", manifest);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-probe.wasm");
    std::fs::write(&path, wasm).expect("the build folder can be written");
    path
});

/// A grant of everything, within these budgets.
fn grant(machine: &Machine, budgets: &str) -> PathBuf {
    let text = format!(
        "format = 1\n[capabilities]\nmodels = [\"*\"]\noutput = true\n[budgets]\n{budgets}\n"
    );
    machine.file("grant.toml", text)
}

fn run_command(machine: &Machine, order: &str, budgets: &str, journal: &Path) -> Command {
    let mut command = machine.command();
    command
        .args([OsStr::new("run"), PROBE.as_os_str()])
        .args(["--input", order])
        .args([OsStr::new("--grant"), grant(machine, budgets).as_os_str()])
        .args([OsStr::new("--journal"), journal.as_os_str()]);
    command
}

/// Runs one order, and looks at what is left: the run ended as `outcome`, its journal holds and repeats.
#[track_caller]
fn ends(machine: &Machine, order: &str, budgets: &str, words: &str) {
    let journal = machine.path("run.tally");
    let _ = std::fs::remove_file(&journal);
    Ended::of(run_command(machine, order, budgets, &journal))
        .exits(1)
        .says(words);
    whole(machine, &journal);
}

/// A journal that verifies, and that executing the agent again gives.
#[track_caller]
fn whole(machine: &Machine, journal: &Path) {
    machine
        .tally(
            [OsStr::new("replay"), journal.as_os_str()]
                .into_iter()
                .chain([OsStr::new("--agent"), PROBE.as_os_str()]),
        )
        .ok()
        .says("identical");
    machine
        .tally([OsStr::new("verify"), journal.as_os_str()])
        .says("hold together");
}

#[test]
fn an_agent_that_uses_too_much_is_stopped_with_its_limit_named_and_a_journal_that_holds() {
    let machine = Machine::with_model();
    for (order, budgets, words) in [
        ("loop", "fuel = 20000000", "fuel"),
        ("loop", "wall-ms = 500\nfuel = 900000000000000", "wall"),
        ("memory", "memory-bytes = 30000000", "memory"),
        ("recurse", "", "stack"),
        ("log-flood", "output-bytes = 200000", "output"),
        ("print-flood", "output-bytes = 200000", "output"),
        ("flood", "output-bytes = 200000", "output"),
        ("calls 1000", "calls = 100", "calls"),
        ("big-reply 9000000", "request-bytes = 1000000", "request"),
        ("lying-reply", "", "invalid utf-8"),
        ("panic", "", "on purpose"),
    ] {
        ends(&machine, order, budgets, words);
    }
}

#[test]
fn a_model_that_hangs_is_an_error_to_the_agent_and_its_worker_does_not_outlive_the_run() {
    let machine = Machine::with_model();
    let journal = machine.path("hung.tally");
    let mut run = run_command(
        &machine,
        "prompt a long story",
        "call-wall-ms = 2000\nwall-ms = 60000",
        &journal,
    )
    .stdout(Stdio::null())
    .stderr(Stdio::piped())
    .spawn()
    .expect("tally can be started");
    let patience = Instant::now() + Duration::from_secs(60);
    let worker = loop {
        if let Some(worker) = worker_of(run.id()) {
            break worker;
        }
        assert!(Instant::now() < patience, "no worker was started");
        std::thread::sleep(Duration::from_millis(1));
    };
    signal(worker, "STOP");
    let code = run.wait().expect("the run ends").code();
    assert!(matches!(code, Some(1 | 3)), "{code:?}");
    let patience = Instant::now() + Duration::from_secs(20);
    while is_worker(worker) {
        assert!(Instant::now() < patience, "a stopped worker is left behind");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_input_of_a_hundred_megabytes_is_refused_with_a_sentence() {
    let machine = Machine::with_model();
    let input = machine.file("big.txt", vec![b'x'; 100 << 20]);
    let journal = machine.path("big.tally");
    let order = format!("@{}", input.display());
    Ended::of(run_command(&machine, &order, "", &journal))
        .exits(2)
        .says("an input has at most");
    assert!(!journal.exists(), "nothing ran, and nothing was recorded");
}

#[test]
fn input_that_is_no_text_is_refused_with_a_sentence() {
    let machine = Machine::with_model();
    let input = machine.file("noise.bin", [0xff, 0xfe, 0x00, 0x80]);
    let order = format!("@{}", input.display());
    Ended::of(run_command(&machine, &order, "", &machine.path("n.tally")))
        .exits(2)
        .says("UTF-8");
}

#[test]
fn an_embedding_model_is_not_taken_for_a_chat_model() {
    let machine = Machine::bare();
    let path = machine.file(
        "embedding.gguf",
        tally_seed_model::embedding_model(tally_seed_model::SEED),
    );
    machine
        .tally([
            OsStr::new("model"),
            "add".as_ref(),
            path.as_os_str(),
            "--name".as_ref(),
            "letters".as_ref(),
        ])
        .ok();
    // It is the default embedding model then, and no default chat model.
    machine.tally(["model", "default", "letters"]).ok();
    let agent = component("answer-with-sources");
    let document = machine.file("hours.md", "The library opens at nine.");
    machine
        .tally([
            OsStr::new("run"),
            agent.as_os_str(),
            "--model".as_ref(),
            "letters".as_ref(),
            "--input".as_ref(),
            "When does it open?".as_ref(),
            "--attach".as_ref(),
            document.as_os_str(),
            "--grant-asked".as_ref(),
        ])
        .exits(2)
        .says("letters is no chat model but one for embeddings");
}

#[test]
fn a_second_run_on_the_journal_of_one_that_runs_is_refused_and_harms_nothing() {
    let machine = Machine::with_model();
    let journal = machine.path("one.tally");
    let budgets = "wall-ms = 4000\nfuel = 900000000000000";
    let mut first = run_command(&machine, "loop", budgets, &journal)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("tally can be started");
    let patience = Instant::now() + Duration::from_secs(60);
    while !journal.exists() {
        assert!(Instant::now() < patience, "the run made no journal");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ended::of(run_command(&machine, "hello", budgets, &journal))
        .exits(2)
        .says("one.tally");
    assert_eq!(first.wait().expect("it ends").code(), Some(1));
    whole(&machine, &journal);
}

#[test]
fn a_disk_that_is_full_ends_the_run_and_names_the_disk() {
    let machine = Machine::with_model();
    let journal = machine.path("full.tally");
    // Once without a limit, so that the compiled agent is in its cache.
    Ended::of(run_command(
        &machine,
        "hello",
        "",
        &machine.path("first.tally"),
    ))
    .ok();
    let run = run_command(&machine, "calls 20000", "calls = 30000", &journal);
    // A limit on the length of files fails writes as a full disk does.
    let mut limited = Command::new("bash");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(run.get_program())
        .args(run.get_args());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.stdin(Stdio::null());
    Ended::of(limited).exits(3).says("full.tally");
    // What was written before holds, as far as it goes.
    machine
        .tally([OsStr::new("verify"), journal.as_os_str()])
        .says("is cut off inside entry");
}

/// The worker of this run, while the run is its parent.
fn worker_of(run: u32) -> Option<u32> {
    processes().find(|process| {
        is_worker(*process) && status(*process).contains(&format!("\nPPid:\t{run}\n"))
    })
}

fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .expect("/proc can be read")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn is_worker(process: u32) -> bool {
    std::fs::read(format!("/proc/{process}/cmdline"))
        .unwrap_or_default()
        .split(|&byte| byte == 0)
        .any(|word| word == b"__worker")
}

fn status(process: u32) -> String {
    std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default()
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status()
        .expect("kill can be started");
    assert!(sent.success(), "process {process} is gone");
}

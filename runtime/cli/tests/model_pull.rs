//! `tally model pull` through the binary: against a server on loopback that serves a real model file, kills, faults and
//! files that are none. What does not end well leaves the store as it was.

#[path = "../../fetch/tests/support/server.rs"]
mod server;
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use server::{Served, Server, redirect, status};
use sha2::Digest as _;
use support::{Ended, Machine, seed_model};

fn seed() -> Arc<[u8]> {
    std::fs::read(seed_model())
        .expect("the seed model is there")
        .into()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(bytes))
}

/// Serves one answer after the other, the last for ever.
fn in_turn(answers: Vec<Served>) -> Server {
    let calls = AtomicUsize::new(0);
    Server::start(move |asked, wire| {
        let call = calls.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        answers[call].answer(asked, wire)
    })
}

fn pull(machine: &Machine, args: &[&str]) -> Ended {
    let mut all = vec!["model", "pull"];
    all.extend(args);
    machine.tally(all)
}

fn models(machine: &Machine) -> Value {
    machine.tally(["model", "list", "--json"]).ok().json()
}

fn model<'a>(models: &'a Value, name: &str) -> Option<&'a Value> {
    models["models"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|model| model["name"] == name)
}

fn parts(machine: &Machine) -> Vec<PathBuf> {
    std::fs::read_dir(machine.path("home/models/pull"))
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// A machine on which the model that comes with the program is installed already.
fn machine() -> Machine {
    let machine = Machine::bare();
    models(&machine);
    machine
}

fn spawn(machine: &Machine, args: &[&str]) -> std::process::Child {
    machine
        .command()
        .args(["model", "pull"])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tally can be started")
}

/// Waits until a part has so many bytes.
fn until_part_has(machine: &Machine, bytes: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let there = parts(machine)
            .iter()
            .filter(|path| path.extension().is_some_and(|end| end == "part"))
            .filter_map(|path| path.metadata().ok())
            .any(|metadata| metadata.len() >= bytes);
        if there {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the download does not get to {bytes} bytes"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_model_is_pulled_kept_and_listed_and_nano_stays_the_default() {
    let machine = Machine::bare();
    let server = in_turn(vec![Served::new(seed())]);
    let said = pull(&machine, &[&server.url("seed-q.gguf"), "--json"])
        .ok()
        .json();
    assert_eq!(said["name"], "seed-q");
    assert_eq!(said["bytes"], seed().len());
    assert_eq!(said["downloaded"], seed().len());
    assert_eq!(said["sha256"], sha256(&seed()));
    assert_eq!(said["blake3"], blake3::hash(&seed()).to_string());
    assert_eq!(said["vouched_by"], "nobody");
    assert_eq!(said["default"], false);
    let listed = models(&machine);
    assert!(model(&listed, "seed-q").is_some(), "{listed:#}");
    assert_eq!(
        model(&listed, "tally-nano").expect("it comes with the program")["default"],
        true
    );
    assert_eq!(
        parts(&machine),
        Vec::<PathBuf>::new(),
        "nothing is left beside the store"
    );

    machine.tally(["model", "default", "seed-q"]).ok();
    assert_eq!(
        model(&models(&machine), "seed-q").expect("it is there")["default"],
        true
    );
}

#[test]
fn what_was_pulled_can_be_run() {
    let machine = Machine::bare();
    let server = in_turn(vec![Served::new(seed())]);
    pull(&machine, &[&server.url("seed.gguf"), "--default"]).ok();
    let agent = support::component("answer-with-sources");
    let document = machine.file("hours.md", "The library opens at nine.\n");
    machine
        .tally([
            "run".as_ref(),
            agent.as_os_str(),
            "--input".as_ref(),
            "When does it open?".as_ref(),
            "--attach".as_ref(),
            document.as_os_str(),
            "--grant-asked".as_ref(),
            "--model".as_ref(),
            "seed".as_ref(),
            "--json".as_ref(),
        ])
        .ok();
}

/// The process is killed with no chance to tidy up, in the middle of the transfer.
#[test]
fn a_killed_pull_goes_on_with_the_rest_and_nothing_else() {
    let machine = machine();
    let before = models(&machine);
    let bytes = seed();
    let half = bytes.len() / 2 + 7;
    let server = in_turn(vec![
        Served {
            cut_after: Some(half),
            hold: true,
            ..Served::new(bytes.clone())
        },
        Served::new(bytes.clone()),
    ]);
    let url = server.url("seed.gguf");
    let mut child = spawn(&machine, &[&url]);
    until_part_has(&machine, half as u64);
    child.kill().expect("it runs");
    let status = child.wait().expect("it was started here");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "it was still running"
    );
    assert_eq!(models(&machine), before, "half a model is no model");

    let said = pull(&machine, &[&url, "--json"]).ok().json();
    assert_eq!(said["resumed_from"], half);
    assert_eq!(said["downloaded"], bytes.len() - half);
    assert_eq!(said["blake3"], blake3::hash(&bytes).to_string());
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].from(), Some(half));
    assert_eq!(asked[1].header("if-range"), Some("\"v1\""));
    assert_eq!(parts(&machine), Vec::<PathBuf>::new());
}

#[test]
fn control_c_says_that_what_came_is_kept() {
    let machine = machine();
    let bytes = seed();
    let server = in_turn(vec![
        Served {
            cut_after: Some(100_000),
            hold: true,
            ..Served::new(bytes.clone())
        },
        Served::new(bytes),
    ]);
    let url = server.url("seed.gguf");
    let child = spawn(&machine, &[&url]);
    until_part_has(&machine, 100_000);
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a process has an id");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it was started here");
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("what came is kept"), "{stderr}");
    machine
        .tally(["model", "list"])
        .ok()
        .says(&format!("unfinished: {url}, 100,000 of "));
    let said = pull(&machine, &[&url, "--json"]).ok().json();
    assert_eq!(said["resumed_from"], 100_000);
}

#[test]
fn a_server_without_ranges_starts_again_and_the_person_reads_so() {
    let machine = machine();
    let whole = Served {
        ranges: false,
        ..Served::new(seed())
    };
    let server = in_turn(vec![
        Served {
            cut_after: Some(500_000),
            ..whole.clone()
        },
        whole,
    ]);
    pull(&machine, &[&server.url("seed.gguf")])
        .ok()
        .says("from the beginning: the server sends the whole file when it is asked for the rest");
    assert!(model(&models(&machine), "seed").is_some());
}

#[test]
fn a_file_that_changed_between_the_halves_comes_from_its_beginning() {
    let machine = machine();
    let new: Arc<[u8]> = tally_seed_model::chat_model(5).into();
    let first = Served {
        cut_after: Some(500_000),
        hold: true,
        ..Served::new(seed())
    };
    let then = Served {
        etag: Some("\"v2\"".to_owned()),
        ..Served::new(new.clone())
    };
    let server = in_turn(vec![first, then]);
    let url = server.url("seed.gguf");
    let mut child = spawn(&machine, &[&url]);
    until_part_has(&machine, 500_000);
    child.kill().expect("it runs");
    child.wait().expect("it was started here");
    pull(&machine, &[&url])
        .ok()
        .says("has changed on the server");
    assert_eq!(server.asked()[1].header("if-range"), Some("\"v1\""));
    let listed = models(&machine);
    assert_eq!(
        model(&listed, "seed").expect("it came")["blake3"],
        blake3::hash(&new).to_string()
    );
}

#[test]
fn a_wrong_hash_is_a_no_and_the_old_model_stays() {
    let machine = Machine::with_model();
    let before = models(&machine);
    let server = in_turn(vec![Served::new(tally_seed_model::chat_model(5))]);
    let url = server.url("seed.gguf");
    for option in ["--sha256", "--blake3"] {
        pull(
            &machine,
            &[&url, "--name", "other", option, &"ab".repeat(32)],
        )
        .exits(1)
        .says(&"ab".repeat(32))
        .says("nothing was added");
    }
    assert_eq!(models(&machine), before);
    assert_eq!(parts(&machine), Vec::<PathBuf>::new());
}

#[test]
fn a_right_hash_is_said_to_be_checked() {
    let machine = machine();
    let server = in_turn(vec![Served::new(seed())]);
    let digest = blake3::hash(&seed()).to_string();
    pull(
        &machine,
        &[
            &server.url("seed.gguf"),
            "--sha256",
            &sha256(&seed()),
            "--blake3",
            &digest,
        ],
    )
    .ok()
    .says("it has the hash that was asked for");
    // And then nothing has to come, whoever asks.
    let said = pull(
        &machine,
        &["hf:nobody/nothing/seed.gguf", "--blake3", &digest, "--json"],
    )
    .ok()
    .json();
    assert_eq!(said["downloaded"], 0);
}

/// A digest names bytes, not a name: what the store has under another one is called by this one too.
#[test]
fn a_blake3_that_the_store_has_under_another_name_saves_the_download() {
    let machine = Machine::with_model();
    let digest = blake3::hash(&seed()).to_string();
    let server = in_turn(vec![Served::new(seed())]);
    let url = server.url("x.gguf");
    let said = pull(
        &machine,
        &[&url, "--name", "twin", "--blake3", &digest, "--json"],
    )
    .ok()
    .json();
    assert_eq!(
        (&said["name"], &said["downloaded"]),
        (&"twin".into(), &0.into())
    );
    assert_eq!(server.asked().len(), 0);
    let listed = models(&machine);
    for name in ["seed", "twin"] {
        assert_eq!(
            model(&listed, name).expect("it is there")["blake3"],
            *digest
        );
    }
    // A name that another model has stays with it, and two hashes of two files are of none.
    pull(
        &machine,
        &[&url, "--name", "tally-nano", "--blake3", &digest],
    )
    .exits(2)
    .says("other weights");
    let other = "ab".repeat(32);
    pull(
        &machine,
        &[
            &url, "--name", "third", "--blake3", &digest, "--sha256", &other,
        ],
    )
    .exits(1)
    .says(&sha256(&seed()));
    assert_eq!(server.asked().len(), 0);
    assert_eq!(models(&machine), listed);
}

/// A record is no model: weights that are gone or damaged come again, whichever hash is known.
#[test]
fn weights_that_are_gone_or_damaged_come_again() {
    let machine = Machine::with_model();
    let bytes = seed();
    let digest = blake3::hash(&bytes).to_string();
    let weights = machine.path(&format!("home/models/weights/{digest}.gguf"));
    let server = in_turn(vec![Served::new(bytes.clone())]);
    let url = server.url("x.gguf");
    let sums = sha256(&bytes);
    for (option, hash) in [("--blake3", &digest), ("--sha256", &sums)] {
        for (damaged, words) in [(false, "cannot be read"), (true, "are damaged")] {
            std::fs::remove_file(&weights).expect("they are there");
            if damaged {
                std::fs::write(&weights, &bytes[..bytes.len() / 2]).expect("they can be written");
            }
            let before = server.asked().len();
            pull(&machine, &[&url, "--name", "seed", option, hash])
                .ok()
                .says(words)
                .says("it has the hash that was asked for");
            assert!(server.asked().len() > before);
            assert_eq!(std::fs::read(&weights).expect("they came"), *bytes);
        }
    }
}

#[test]
fn a_damaged_record_is_named_and_its_model_can_be_removed_and_pulled_again() {
    let machine = Machine::with_model();
    let record = machine.file("home/models/models/seed.json", "{");
    let server = in_turn(vec![Served::new(seed())]);
    let url = server.url("seed.gguf");
    let ended = machine.tally(["model", "list"]).ok();
    assert!(ended.stdout().contains("tally-nano"), "{}", ended.stdout());
    ended.says("passed over").says("seed.json");
    pull(&machine, &[&url])
        .exits(3)
        .says("tally model remove seed");
    assert_eq!(server.asked().len(), 0, "nothing comes for nothing");
    machine
        .tally(["model", "remove", "seed"])
        .ok()
        .says("its record was damaged");
    assert!(!record.exists());
    pull(&machine, &[&url]).ok();
    assert!(model(&models(&machine), "seed").is_some());
}

#[test]
fn the_model_that_comes_with_the_program_can_be_had_again() {
    let machine = Machine::with_model();
    machine
        .tally(["model", "remove", "tally-nano"])
        .ok()
        .says("tally model add tally-nano");
    assert!(model(&models(&machine), "tally-nano").is_none());
    machine
        .tally(["model", "default", "tally-nano"])
        .exits(2)
        .says("tally model add tally-nano");
    machine
        .tally(["model", "add", "tally-nano", "--name", "nano"])
        .exits(2)
        .says("comes with the program");
    machine
        .tally(["model", "add", "tally-nano", "--default"])
        .ok();
    assert_eq!(
        model(&models(&machine), "tally-nano").expect("it is there again")["default"],
        true
    );
    // A model of somebody's own that is called so keeps its name.
    machine.tally(["model", "remove", "tally-nano"]).ok();
    let own = machine.file("own.gguf", tally_seed_model::chat_model(5));
    let own = own.to_str().expect("UTF-8");
    machine
        .tally(["model", "add", own, "--name", "tally-nano"])
        .ok();
    machine
        .tally(["model", "add", "tally-nano"])
        .exits(2)
        .says("other weights");
}

/// The wrong kind is named before anything is run, not by the first search or the first word.
#[test]
fn a_model_of_another_kind_than_is_asked_for_is_misuse() {
    let machine = machine();
    machine.add_embedding_model("embed", tally_seed_model::SEED);
    let agent = support::component("answer-with-sources");
    let agent = agent.to_str().expect("UTF-8");
    for (option, name, words) in [
        (
            "--embedding",
            "tally-nano",
            "tally-nano is no embedding model",
        ),
        ("--model", "embed", "embed is no chat model"),
    ] {
        machine
            .tally(["run", agent, "--input", "x", "--grant-asked", option, name])
            .exits(2)
            .says(words);
    }
}

#[test]
fn a_limit_of_memory_that_is_no_number_is_named() {
    let machine = Machine::with_model();
    let agent = support::component("answer-with-sources");
    let document = machine.file("hours.md", "The library opens at nine.\n");
    for (mib, code) in [("4 GiB", 3), ("4096", 0)] {
        let output = machine
            .command()
            .env("TALLY_WORKER_MIB", mib)
            .arg("run")
            .arg(&agent)
            .arg("--attach")
            .arg(&document)
            .args(["--input", "When does it open?", "--grant-asked", "--json"])
            .output()
            .expect("tally can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(said.contains("TALLY_WORKER_MIB"), code != 0, "{said}");
    }
}

/// The copy of a file that is here anyway is worth nothing half-way, and nobody goes on with it.
#[test]
fn control_c_leaves_nothing_of_the_copy_of_a_file() {
    let machine = machine();
    let path = machine.file("large.gguf", b"GGUF");
    // Long enough to copy and to hash; it takes no room itself.
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(2 << 30))
        .expect("a file with a hole can be made");
    let child = spawn(&machine, &[path.to_str().expect("UTF-8")]);
    until_part_has(&machine, 1);
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a process has an id");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it was started here");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("copies it again") && !stderr.contains("is kept"),
        "{stderr}"
    );
    assert_eq!(parts(&machine), Vec::<PathBuf>::new());
}

#[test]
fn a_length_that_is_not_kept_is_not_the_file() {
    let machine = machine();
    let before = models(&machine);
    let served = Served {
        announce: Some(seed().len() as u64 + 1000),
        ranges: false,
        etag: None,
        ..Served::new(seed())
    };
    let server = in_turn(vec![served]);
    pull(&machine, &[&server.url("seed.gguf")])
        .exits(3)
        .says(&format!("of {} bytes", seed().len() + 1000));
    assert_eq!(models(&machine), before);
}

#[test]
fn redirects_are_counted_and_stay_in_tls() {
    let machine = machine();
    let circle = Server::start(|_, wire| redirect(wire, "/round"));
    pull(&machine, &[&circle.url("m.gguf")])
        .exits(3)
        .says("redirects more than 8 times");
    let away = Server::start(|_, wire| redirect(wire, "http://example.org/m.gguf"));
    pull(&machine, &[&away.url("m.gguf")])
        .exits(3)
        .says("which is not https; it was not followed");
    assert_eq!(
        parts(&machine)
            .iter()
            .filter(|path| path.metadata().is_ok_and(|part| part.len() > 0))
            .count(),
        0
    );
}

#[test]
fn what_is_not_there_is_misuse_and_named() {
    let machine = machine();
    let server = Server::start(|_, wire| status(wire, "404 Not Found", &[]));
    pull(&machine, &[&server.url("gone.gguf")])
        .exits(2)
        .says("gone.gguf")
        .says("404");
    let ended = hub(&machine, &server, &["hf:owner/repo/gone.gguf@v2"]);
    assert_eq!(ended.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(
        stderr.contains(&server.url("owner/repo/tree/v2")),
        "{stderr}"
    );
}

fn hub(machine: &Machine, server: &Server, args: &[&str]) -> std::process::Output {
    machine
        .command()
        .env("HF_ENDPOINT", server.url(""))
        .env("HF_TOKEN", "hf_secret")
        .args(["model", "pull"])
        .args(args)
        .output()
        .expect("tally can be started")
}

#[test]
fn the_hub_vouches_for_its_file_and_alone_gets_the_token() {
    let machine = machine();
    let cdn = Arc::new(in_turn(vec![Served::new(seed())]));
    let (to, linked) = (cdn.url("blob"), format!("\"{}\"", sha256(&seed())));
    let server = Server::start(move |_, wire| {
        status(
            wire,
            "302 Found",
            &[("Location", &to), ("X-Linked-Etag", &linked)],
        )
    });
    let ended = hub(&machine, &server, &["hf:owner/repo/sub/seed.gguf@v1"]);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains("it has the SHA-256 that 127.0.0.1"),
        "{stderr}"
    );
    assert_eq!(
        server.asked()[0].path,
        "owner/repo/resolve/v1/sub/seed.gguf"
    );
    assert_eq!(
        server.asked()[0].header("authorization"),
        Some("Bearer hf_secret")
    );
    assert_eq!(cdn.asked()[0].header("authorization"), None);
    // The second time the hub is asked and the other server is not: the file is here.
    let ended = hub(
        &machine,
        &server,
        &["hf:owner/repo/sub/seed.gguf@v1", "--json"],
    );
    let said: Value = serde_json::from_slice(&ended.stdout).expect("one JSON object");
    assert_eq!(said["downloaded"], 0, "{said:#}");
}

#[test]
fn a_gated_file_is_explained() {
    let machine = machine();
    let server = Server::start(|_, wire| status(wire, "403 Forbidden", &[]));
    let ended = hub(&machine, &server, &["hf:owner/gated/m.gguf"]);
    assert_eq!(ended.status.code(), Some(3));
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(
        stderr.contains("licence") && !stderr.contains("hf_secret"),
        "{stderr}"
    );
}

/// The bytes of `from` become `to`, of the same length, wherever they stand.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    let mut at = 0;
    let mut count = 0;
    while at + from.len() <= out.len() {
        if &out[at..at + from.len()] == from.as_bytes() {
            out[at..at + from.len()].copy_from_slice(to.as_bytes());
            count += 1;
        }
        at += 1;
    }
    assert!(count > 0, "{from} is in the file");
    out
}

/// The seed model, whose embedding has twice as many rows as its tokenizer has tokens, each half as wide.
fn twice_the_rows(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let name = b"token_embd.weight";
    let at = bytes
        .windows(name.len())
        .position(|window| window == name)
        .expect("it has an embedding");
    // After the name: u32 dimensions, u64 width, u64 rows.
    let (width, rows) = (at + name.len() + 4, at + name.len() + 12);
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    out[width..width + 8].copy_from_slice(&(number(width) / 2).to_le_bytes());
    out[rows..rows + 8].copy_from_slice(&(number(rows) * 2).to_le_bytes());
    out
}

#[test]
fn files_that_no_llama_cpp_runs_are_told_apart_and_the_old_model_stays() {
    let machine = Machine::with_model();
    let before = models(&machine);
    let good = seed();
    let cases: [(&str, Vec<u8>, &str); 6] = [
        (
            "page.gguf",
            b"<!doctype html><title>Sign in</title>".to_vec(),
            "that is a web page",
        ),
        (
            "notes.gguf",
            b"just some notes".to_vec(),
            "is not a GGUF file",
        ),
        ("cut.gguf", good[..good.len() / 2].to_vec(), "truncated"),
        (
            "arch.gguf",
            replaced(&good, "llama", "xlama"),
            "its architecture, xlama, is not one that this build's llama.cpp runs",
        ),
        (
            "tokens.gguf",
            replaced(&good, "gpt2", "zzz2"),
            "its tokenizer cannot be used",
        ),
        (
            "rows.gguf",
            twice_the_rows(&good),
            "its tokenizer and its weights do not go together",
        ),
    ];
    for (name, bytes, words) in cases {
        let server = in_turn(vec![Served::new(bytes.clone())]);
        pull(&machine, &[&server.url(name), "--name", "seed2"])
            .exits(2)
            .says(words)
            .says(name);
        let path = machine.file(name, &bytes);
        let path = path.to_str().expect("the path is UTF-8");
        pull(&machine, &[path, "--name", "seed2"])
            .exits(2)
            .says(words);
        if !matches!(name, "page.gguf" | "notes.gguf") {
            machine
                .tally(["model", "add", path, "--name", "seed2"])
                .exits(2)
                .says(words);
        }
    }
    assert_eq!(models(&machine), before);
    assert_eq!(parts(&machine), Vec::<PathBuf>::new());
}

#[test]
fn an_embedding_model_becomes_the_default_of_its_kind_and_nano_stays_that_of_chat() {
    let machine = machine();
    let server = in_turn(vec![Served::new(tally_seed_model::embedding_model(
        tally_seed_model::SEED,
    ))]);
    let url = server.url("embed.gguf");
    let said = pull(&machine, &[&url, "--json"]).ok().json();
    assert_eq!(
        (&said["kind"], &said["default"]),
        (&"embedding".into(), &false.into())
    );
    // A second one, and a choice is wanted; the same command with --default makes it.
    let url = server.url("embed-2.gguf");
    pull(&machine, &[&url])
        .ok()
        .says("(embed, embed-2); choose one with `tally model default NAME`");
    pull(&machine, &[&url, "--default"]).ok().says("(default)");
    pull(&machine, &[&server.url("embed.gguf")])
        .ok()
        .says("memories use embed-2; to change that: tally model default embed");
    let marked = || {
        let listed = models(&machine);
        ["embed", "embed-2", "tally-nano"]
            .map(|name| model(&listed, name).expect("it is there")["default"] == true)
    };
    assert_eq!(marked(), [false, true, true]);
    machine
        .tally(["model", "default", "embed"])
        .ok()
        .says("(default)");
    assert_eq!(marked(), [true, false, true]);
    let listed = machine.tally(["model", "list"]).ok().stdout();
    for line in listed.lines() {
        assert_eq!(
            line.ends_with("(default)"),
            !line.starts_with("embed-2 "),
            "{listed}"
        );
    }
    // With the default gone the other is the only one, which needs no choice.
    let ended = machine.tally(["model", "remove", "embed"]).ok();
    assert!(!ended.stderr().contains("default"), "{}", ended.stderr());
    pull(&machine, &[&server.url("embed.gguf")]).ok();
    let ended = machine.tally(["model", "remove", "tally-nano"]).ok();
    ended.says("no chat model is left");
}

#[test]
fn a_name_that_is_taken_stays_with_its_model() {
    let machine = Machine::with_model();
    let before = models(&machine);
    let server = in_turn(vec![Served::new(tally_seed_model::chat_model(5))]);
    let url = server.url("x.gguf");
    pull(&machine, &[&url, "--name", "seed"])
        .exits(2)
        .says("other weights");
    assert_eq!(models(&machine), before);
    pull(&machine, &[&url, "--name", "seed5"]).ok();
    assert_eq!(
        server.asked().len(),
        2,
        "one look, one download, and the third time it is here"
    );
}

/// A limit on the size of a file stands for the disk: the kernel refuses the write in the middle of the transfer.
#[test]
fn a_write_that_finds_no_room_says_how_much_is_needed_and_is_gone_on_with() {
    let machine = machine();
    let bytes = seed();
    let server = in_turn(vec![Served::new(bytes.clone())]);
    let url = server.url("seed.gguf");
    let limit = 1 << 20;
    assert!(bytes.len() > limit + (256 << 10));
    let output = Command::new("sh")
        // An ignored signal stays ignored: the write fails instead of the process. POSIX counts in blocks of 512.
        .args([
            "-c",
            &format!(
                "trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"",
                limit / 512
            ),
        ])
        .arg(env!("CARGO_BIN_EXE_tally"))
        .args(["model", "pull", &url])
        .env("TALLY_HOME", machine.path("home"))
        .output()
        .expect("sh can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("no room for") && stderr.contains("what came is kept"),
        "{stderr}"
    );
    let said = pull(&machine, &[&url, "--json"]).ok().json();
    assert_eq!(said["resumed_from"], limit);
    assert_eq!(said["blake3"], blake3::hash(&bytes).to_string());
}

#[test]
fn more_than_the_disk_holds_is_refused_before_it_comes() {
    let machine = machine();
    let disk =
        rustix::fs::statvfs(machine.path("home").as_path()).expect("the disk can be measured");
    let free = disk.f_bavail * disk.f_frsize;
    let server = in_turn(vec![Served {
        announce: Some(free + 1),
        ..Served::new(seed())
    }]);
    let ended = pull(&machine, &[&server.url("huge.gguf"), "--json"]).exits(3);
    let message = ended.json()["error"]["message"]
        .as_str()
        .expect("a message")
        .to_owned();
    assert!(message.contains(&(free + 1).to_string()), "{message}");
    assert!(model(&models(&machine), "huge").is_none());
}

#[test]
fn two_pulls_of_one_file_do_not_mix() {
    let machine = machine();
    let bytes = seed();
    let server = in_turn(vec![
        Served {
            cut_after: Some(100_000),
            hold: true,
            ..Served::new(bytes.clone())
        },
        Served::new(bytes),
    ]);
    let url = server.url("seed.gguf");
    let mut first = spawn(&machine, &[&url]);
    until_part_has(&machine, 100_000);
    pull(&machine, &[&url])
        .exits(3)
        .says("another pull of this file");
    first.kill().expect("it runs");
    first.wait().expect("it was started here");
    pull(&machine, &[&url]).ok();
}

#[test]
fn two_pulls_of_two_files_go_side_by_side() {
    let machine = machine();
    let server = in_turn(vec![Served::new(seed())]);
    let names = ["a.gguf", "b.gguf", "c.gguf"];
    let children: Vec<_> = names
        .map(|name| spawn(&machine, &[&server.url(name)]))
        .into_iter()
        .collect();
    for child in children {
        let output = child.wait_with_output().expect("it was started here");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let listed = models(&machine);
    for name in ["a", "b", "c"] {
        assert!(model(&listed, name).is_some(), "{listed:#}");
    }
}

/// Names do not resolve, or nobody listens: the person reads which file to bring and what to type then.
#[test]
fn without_a_connection_the_person_is_told_what_to_do() {
    let machine = machine();
    let output = machine
        .command()
        .env("HF_ENDPOINT", Server::nowhere())
        .args([
            "model",
            "pull",
            "hf:owner/repo/m-q8_0.gguf@v1",
            "--name",
            "mine",
            "--sha256",
            &"ab".repeat(32),
        ])
        .output()
        .expect("tally can be started");
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8_lossy(&output.stderr);
    for words in [
        "cannot reach 127.0.0.1",
        "/owner/repo/resolve/v1/m-q8_0.gguf",
        &format!(
            "tally model pull ./m-q8_0.gguf --name mine --sha256 {}",
            "ab".repeat(32)
        ),
        "HF_ENDPOINT",
    ] {
        assert!(stderr.contains(words), "{words}\n{stderr}");
    }
    // And typing that does it, with no connection.
    let path = machine.file("m-q8_0.gguf", &*seed());
    let said = pull(
        &machine,
        &[
            path.to_str().expect("UTF-8"),
            "--name",
            "mine",
            "--sha256",
            &sha256(&seed()),
            "--json",
        ],
    )
    .ok()
    .json();
    assert_eq!(said["vouched_by"], "caller");
    assert!(path.exists(), "the file that was brought stays where it is");
}

#[test]
fn references_that_mean_nothing_are_misuse_and_say_what_would_mean_something() {
    let machine = machine();
    for (reference, words) in [
        ("", "empty"),
        (
            "hf:Qwen/Qwen3-0.6B-GGUF",
            "https://huggingface.co/Qwen/Qwen3-0.6B-GGUF/tree/main",
        ),
        ("hf:", "hf:owner/repo/file.gguf"),
        ("hf:o/r/../x.gguf", "path"),
        (
            "Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf",
            "tally model pull hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf",
        ),
        ("llama3", "docs/models.md"),
        ("ftp://example.org/m.gguf", "ftp"),
        ("http://example.org/m.gguf", "use https"),
        ("https://user:pw@example.org/m.gguf", "password"),
        ("/", "is no file"),
        ("hf:o/r/m-00001-of-00003.gguf", "one of 3 files"),
    ] {
        pull(&machine, &[reference]).exits(2).says(words);
    }
    pull(&machine, &["hf:o/r/m.gguf", "--sha256", "12"])
        .exits(2)
        .says("64 hex digits");
    pull(&machine, &["hf:o/r/m.gguf", "--name", "a b"])
        .exits(2)
        .says("cannot be a model's name");
    pull(&machine, &[]).exits(2);
    let help = machine.tally(["model", "pull", "--help"]).ok().stdout();
    for words in ["Examples:", "HF_ENDPOINT", "HF_TOKEN", "--sha256"] {
        assert!(help.contains(words), "{help}");
    }
}

#[test]
fn a_program_gets_one_object_and_silence() {
    let machine = machine();
    let whole = Served {
        ranges: false,
        ..Served::new(seed())
    };
    let server = in_turn(vec![
        Served {
            cut_after: Some(500_000),
            ..whole.clone()
        },
        whole,
    ]);
    let ended = pull(&machine, &[&server.url("seed.gguf"), "--json"]).ok();
    assert_eq!(ended.stderr(), "");
    assert_eq!(ended.json()["name"], "seed");
}

/// A server with a certificate of a maker of its own, whom this machine trusts or does not.
struct Tls {
    server: Server,
    ca: String,
}

fn tls(
    handler: impl Fn(&server::Asked, &mut dyn server::Wire) -> std::io::Result<()>
    + Send
    + Sync
    + 'static,
) -> Tls {
    let ca_key = rcgen::KeyPair::generate().expect("a key can be drawn");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names are good names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = rcgen::CertifiedIssuer::self_signed(params, ca_key).expect("it signs itself");
    let key = rcgen::KeyPair::generate().expect("a key can be drawn");
    let params =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("it is an address");
    let cert = params.signed_by(&key, &ca).expect("it signs");
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("it is a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks them")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("key and certificate belong together");
    let config = Arc::new(config);
    let wrap = move |stream| {
        let connection =
            rustls::ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
        Ok(Box::new(rustls::StreamOwned::new(connection, stream)) as Box<dyn server::Wire>)
    };
    Tls {
        server: Server::start_over("https", wrap, handler),
        ca: ca.pem(),
    }
}

fn pull_trusting(machine: &Machine, ca: &Path, url: &str) -> std::process::Output {
    machine
        .command()
        .env("SSL_CERT_FILE", ca)
        .args(["model", "pull", url])
        .output()
        .expect("tally can be started")
}

#[test]
fn tls_is_spoken_and_strangers_are_not_believed() {
    let machine = machine();
    let served = Served::new(seed());
    let tls_server = tls(move |asked, wire| served.answer(asked, wire));
    let ca = machine.file("ca.pem", &tls_server.ca);
    let url = tls_server.server.url("seed.gguf");

    let other = tls(|_, _| Ok(()));
    let stranger = machine.file("other.pem", &other.ca);
    let refused = pull_trusting(&machine, &stranger, &url);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("certificate") && stderr.contains("SSL_CERT_FILE"),
        "{stderr}"
    );
    assert!(model(&models(&machine), "seed").is_none());

    let output = pull_trusting(&machine, &ca, &url);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(model(&models(&machine), "seed").is_some());
}

#[test]
fn a_redirect_from_tls_to_plain_http_on_this_machine_is_refused_too() {
    let machine = machine();
    let plain = in_turn(vec![Served::new(seed())]);
    let to = plain.url("seed.gguf");
    let tls_server = tls(move |_, wire| redirect(wire, &to));
    let ca = machine.file("ca.pem", &tls_server.ca);
    let output = pull_trusting(&machine, &ca, &tls_server.server.url("seed.gguf"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("which is not https"), "{stderr}");
    assert_eq!(plain.asked().len(), 0);
}

/// Runs `scripts/embedding-model.sh` where no Python can make the model.
fn demo_s_embedding_model(machine: &Machine, folder: &Path) -> std::process::Output {
    let bin = machine.path("bin");
    std::fs::create_dir_all(&bin).expect("the temporary folder can be written");
    let python = machine.file("bin/python3", "#!/bin/sh\nexit 1\n");
    std::fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("it can be made a program");
    let path = std::env::var("PATH").expect("there is a PATH");
    Command::new("bash")
        .arg(support::checkout().join("scripts/embedding-model.sh"))
        .arg(env!("CARGO_BIN_EXE_tally"))
        .arg(folder)
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("TALLY_HOME", machine.path("home"))
        .env_remove("TALLY_EMBEDDING")
        .output()
        .expect("bash can be started")
}

/// A file in the cache is somebody's word; the recipe's sums say which one it must be.
#[test]
fn the_demo_adds_no_embedding_model_but_the_one_of_its_recipe() {
    let machine = machine();
    let before = models(&machine);
    let folder = machine.path("cache");
    std::fs::create_dir(&folder).expect("the temporary folder can be written");
    let file = folder.join("tally-recall.q8_0.gguf");
    let other = tally_seed_model::embedding_model(tally_seed_model::SEED);
    std::fs::write(&file, &other).expect("the temporary folder can be written");
    let ended = demo_s_embedding_model(&machine, &folder);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{stderr}");
    assert!(stderr.contains("searched by words alone"), "{stderr}");
    assert_eq!(models(&machine), before);
    let there = std::fs::read(&file).expect("another checkout may have made it");
    assert_eq!(there, other);

    // One of another recipe stays where the new one cannot be had, and is tried to be replaced.
    machine.add_embedding_model("tally-recall.q8_0", tally_seed_model::SEED);
    let before = models(&machine);
    let ended = demo_s_embedding_model(&machine, &folder);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{stderr}");
    assert!(
        stderr.contains("which was here before, because there is no Python"),
        "{stderr}"
    );
    assert_eq!(models(&machine), before);
}

#[test]
fn a_half_written_answer_is_no_answer() {
    let machine = machine();
    let server = Server::start(|_, wire| write!(wire, "HTTP/1.1 200 O"));
    pull(&machine, &[&server.url("m.gguf")]).exits(3);
    assert!(model(&models(&machine), "m").is_none());
}

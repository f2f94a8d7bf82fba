//! A ledger through the program: processes started by `tally devnet`, receipts settled, proved and checked offline.

#![expect(clippy::disallowed_methods, reason = "somebody else moves these files")]

mod support;

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Ended, Machine};
use tally_ledger::{
    AccountId, AccountNonce, BlockDigest, Credits, Epoch, Evidence, Genesis, Header, Height, Name,
    Parameters, Proof, Proposal, Request, Round, StateRoot, TrustedValidators, Validator,
    ValidatorSet, Vote, cosigner_name, policy_text,
};
use tally_log::{Checkpoint, Frontier, Hash, SignedCheckpoint, Tiler, UnixSeconds, leaf_hash};
use tally_net::{CallError, Caller, Config, Endpoint, EndpointId, Secret};
use tally_node::{Form, Outbox, Record};
use tally_receipt::{
    Digest, KeyRotation, KeyRotationPredicate, Label, Receipt, SigningKey, Timestamp,
};

/// A network of this machine's processes; they end with it.
struct Devnet {
    child: Child,
    stdin: ChildStdin,
    genesis: String,
    /// Where its explorer answers, without the scheme.
    explorer: String,
}

impl Devnet {
    fn start(machine: &Machine, validators: &str) -> Self {
        let mut child = machine
            .command()
            .args(["devnet", "--json", "--explorer", "127.0.0.1:0"])
            .args(["--validators", validators, "--dir"])
            .arg(machine.path("devnet"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("it is piped");
        let line = BufReader::new(stdout)
            .lines()
            .next()
            .expect("it says something")
            .expect("in UTF-8");
        let said: Value = serde_json::from_str(&line).expect("an object");
        Self {
            stdin: child.stdin.take().expect("it is piped"),
            genesis: said["genesis"].as_str().expect("a path").to_owned(),
            explorer: said["explorer"]
                .as_str()
                .and_then(|url| url.strip_prefix("http://")?.strip_suffix("/ledger"))
                .expect("where it listens")
                .to_owned(),
            child,
        }
    }

    /// What its explorer has at a path: status and body.
    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        got(&self.explorer, path)
    }

    /// Reloads the overview until it shows these words, as a reader would.
    fn shows(&self, words: &str) -> String {
        shown(&self.explorer, words)
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("it listens");
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        // It may have been killed.
        let _ = writeln!(self.stdin, "quit");
        let _ = self.child.wait();
    }
}

/// What an explorer has at a path: status and body.
fn got(explorer: &str, path: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(explorer).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {explorer}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is sent");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("it answers");
    let head = reply
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .expect("a head");
    let status = std::str::from_utf8(&reply[9..12]).expect("a status");
    (
        status.parse().expect("a number"),
        reply[head + 4..].to_vec(),
    )
}

fn overview(explorer: &str) -> String {
    let (status, page) = got(explorer, "/ledger");
    let page = String::from_utf8(page).expect("UTF-8");
    assert_eq!(status, 200, "{page}");
    page
}

/// The overview of an explorer once it shows these words.
fn shown(explorer: &str, words: &str) -> String {
    let begun = Instant::now();
    loop {
        let page = overview(explorer);
        if page.contains(words) {
            return page;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{words}: {page}");
    }
}

/// An explorer in a process of its own, which ends with it.
struct Looking {
    child: Child,
    /// Where it answers, without the scheme.
    at: String,
}

impl Looking {
    fn start(machine: &Machine, genesis: &str) -> Self {
        let mut child = machine
            .command()
            .args(["ledger", "explorer", "--json", "--listen", "127.0.0.1:0"])
            .args(["--network", genesis])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("in UTF-8");
        let said: Value = serde_json::from_str(&line).expect("an object");
        let at = said["explorer"]
            .as_str()
            .and_then(|url| url.strip_prefix("http://")?.strip_suffix("/ledger"))
            .expect("where it listens");
        Self {
            at: at.to_owned(),
            child,
        }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The receipt of a test vector, as a file would have it.
fn receipt(vector: &str) -> Vec<u8> {
    let path = support::checkout().join(format!("receipts/receipt/vectors/{vector}.json"));
    let vector: Value =
        serde_json::from_slice(&std::fs::read(path).expect("a vector")).expect("an object");
    vector["receipt"]["text"]
        .as_str()
        .expect("a receipt")
        .into()
}

#[test]
fn receipts_are_settled_on_a_devnet_and_proved_offline_whatever_is_killed() {
    let machine = Machine::bare();
    let mut devnet = Devnet::start(&machine, "4");
    machine.tally(["ledger", "use", &devnet.genesis]).ok();
    let first = machine.file("first.receipt.json", receipt("valid"));
    let begun = Instant::now();
    while machine
        .tally(["ledger", "submit", first.to_str().unwrap(), "--json"])
        .code()
        != 0
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "no ledger");
    }
    machine
        .tally(["ledger", "prove", first.to_str().unwrap()])
        .ok();
    let proof = machine.path("first.receipt.proof");
    devnet.shows("All validators answer.");
    // One may be away.
    devnet.say("kill 2");
    devnet.shows("v2 does not answer; the ledger goes on without.");
    let second = machine.file("second.receipt.json", receipt("valid-run"));
    machine
        .tally(["ledger", "submit", "--full", second.to_str().unwrap()])
        .ok();
    // All at once, and again on what their disks have.
    for number in 0..4 {
        devnet.say(&format!("kill {number}"));
    }
    for number in 0..4 {
        devnet.say(&format!("start {number}"));
    }
    let begun = Instant::now();
    let second_proof = machine.path("second.proof");
    while machine
        .tally([
            "ledger",
            "prove",
            second.to_str().unwrap(),
            "--out",
            second_proof.to_str().unwrap(),
        ])
        .code()
        != 0
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "no ledger");
    }
    let status = machine.tally(["ledger", "status", "--json"]).ok().json();
    assert_eq!(status["validators"].as_array().unwrap().len(), 4);
    assert_eq!(status["outbox"], 0);
    assert_eq!(status["outbox_bytes"], 0);
    assert_eq!(status["refused"], Value::Array(Vec::new()));

    // What the explorer hands out about the one that was settled in full has all of it.
    let digest = machine
        .tally([
            "ledger",
            "prove",
            second.to_str().unwrap(),
            "--json",
            "--out",
            second_proof.to_str().unwrap(),
        ])
        .ok()
        .json()["receipt"]
        .as_str()
        .expect("a digest")
        .to_owned();
    devnet.shows(&digest[..12]);
    let (status, page) = devnet.get(&format!("/ledger/receipts/{digest}"));
    let page = String::from_utf8(page).expect("UTF-8");
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("An agent ran: it answered."), "{page}");
    let (_, whole) = devnet.get(&format!("/ledger/receipts/{digest}.proof"));
    let whole = machine.file("whole.proof", whole);
    let unknown = format!("/ledger/receipts/{}", "0".repeat(64));
    assert_eq!(devnet.get(&unknown).0, 404);
    drop(devnet);

    // Offline from here on.
    let genesis = machine.path("devnet/genesis.toml");
    for proof in [&proof, &second_proof, &whole] {
        machine
            .tally([
                "verify",
                proof.to_str().unwrap(),
                "--genesis",
                genesis.to_str().unwrap(),
            ])
            .ok();
    }
    let mut altered = std::fs::read(&proof).expect("it is there");
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    let altered = machine.file("altered.proof", altered);
    let refused = machine.tally([
        "verify",
        altered.to_str().unwrap(),
        "--genesis",
        genesis.to_str().unwrap(),
    ]);
    refused.exits(1);
}

/// Starts the process that settles in the background, as a run does at its end.
fn settler(machine: &Machine, genesis: &str) -> Child {
    machine
        .command()
        .args(["ledger", "settle", "--background", "--network", genesis])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

#[test]
fn one_process_settles_for_runs_that_follow_each_other_and_another_after_it_was_killed() {
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "1");
    let genesis = std::fs::read_to_string(&devnet.genesis).expect("a file");
    let chain = Genesis::parse(&genesis).expect("a genesis").chain();
    let dir = machine.path("home/ledger/outbox").join(chain.to_string());
    let outbox = Outbox::open(&dir).expect("an outbox");
    let append = |receipt: &[u8]| {
        let record = Record {
            form: Form::Hash,
            receipt: receipt.to_vec(),
        };
        outbox.append(&[record]).expect("a disk");
    };
    let begun = Instant::now();
    let settled = || {
        while outbox.waiting().expect("an outbox") > 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "not settled");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    assert!(!outbox.is_attended().expect("an outbox"));
    append(b"one");
    let mut first = settler(&machine, &devnet.genesis);
    settled();
    // Another run begins and sees that somebody is there.
    assert!(outbox.is_attended().expect("an outbox"));
    append(b"two");
    settled();
    // One that is started all the same leaves it to the first.
    let mut second = settler(&machine, &devnet.genesis);
    assert!(second.wait().expect("it ends").success());
    assert!(outbox.is_attended().expect("an outbox"));
    first.kill().expect("it is there");
    first.wait().expect("it ends");
    assert!(!outbox.is_attended().expect("an outbox"));
    append(b"three");
    assert_eq!(outbox.waiting().expect("an outbox"), 1);
    let mut third = settler(&machine, &devnet.genesis);
    settled();
    third.kill().expect("it is there");
    third.wait().expect("it ends");

    // What can never be settled keeps nothing else from it, and is not forgotten.
    let none = Record {
        form: Form::Full,
        receipt: b"no receipt".to_vec(),
    };
    outbox.append(&[none]).expect("a disk");
    append(b"four");
    let network = ["--network", devnet.genesis.as_str()];
    machine
        .tally([&["ledger", "settle"][..], &network].concat())
        .ok()
        .says("can never be settled")
        .says("settled 1 receipts");
    let status = machine.tally([&["ledger", "status", "--json"][..], &network].concat());
    let status = status.ok().json();
    assert_eq!(status["outbox"], 0);
    assert_eq!(status["outbox_bytes"], 0);
    assert_eq!(status["refused"][0]["receipts"], 1);
    let reason = status["refused"][0]["reason"].as_str().expect("a sentence");
    assert!(reason.contains("is no receipt"), "{reason}");
}

/// Ends with the test what a run left to settle for it, by the genesis file.
struct Settlers(String);

impl Settlers {
    /// The processes' numbers.
    fn all(&self) -> Vec<std::ffi::OsString> {
        let processes = std::fs::read_dir("/proc").expect("processes").flatten();
        processes
            .filter(|process| {
                let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
                words.contains(&&b"--background"[..]) && words.contains(&self.0.as_bytes())
            })
            .map(|process| process.file_name())
            .collect()
    }

    fn kill(&self) {
        for number in self.all() {
            let _ = Command::new("kill").arg("-9").arg(number).status();
        }
        let begun = Instant::now();
        while !self.all().is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(30), "one is left");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Settlers {
    fn drop(&mut self) {
        for number in self.all() {
            let _ = Command::new("kill").arg("-9").arg(number).status();
        }
    }
}

/// The files of a network that does not run.
fn devnet_files(machine: &Machine, validators: u8, dir: &std::path::Path) {
    let validators = validators.to_string();
    let dir = dir.to_str().expect("a plain path");
    machine
        .tally([
            "devnet",
            "--files-only",
            "--validators",
            &validators,
            "--dir",
            dir,
        ])
        .ok();
}

/// A run of an agent that asks a model.
fn agent_run(machine: &Machine, more: &[&str]) -> Command {
    let document = machine.file("hours.md", "On Saturday the library opens at ten.\n");
    let mut command = machine.command();
    command
        .arg("run")
        .arg(support::component("answer-with-sources"))
        .args(["--input", "When does the library open on Saturday?"])
        .arg("--attach")
        .arg(document)
        .args(["--grant-asked", "--json"])
        .args(more);
    command
}

#[test]
fn what_a_run_made_is_in_the_outbox_when_it_ends_unless_nothing_is_to_be_settled() {
    let machine = Machine::bare().settling();
    let dir = machine.path("devnet");
    devnet_files(&machine, 1, &dir);
    let genesis = dir.join("genesis.toml").display().to_string();
    let chain = Genesis::parse(&std::fs::read_to_string(&genesis).unwrap())
        .unwrap()
        .chain();
    let run = |more: &[&str]| Ended::of(agent_run(&machine, more));
    run(&["--settle", "none"]).ok();
    run(&["--network", &genesis, "--settle", "none"]).ok();
    let mut by_variable = agent_run(&machine, &[]);
    by_variable.env("TALLY_SETTLE", "none");
    Ended::of(by_variable).ok();
    let mut wrong = agent_run(&machine, &[]);
    wrong.env("TALLY_SETTLE", "all");
    Ended::of(wrong).exits(2).says("TALLY_SETTLE");
    for folder in ["outbox", "own"] {
        assert!(!machine.path("home/ledger").join(folder).exists());
    }

    // No validator is there: the run ends all the same, and everything waits.
    let _settlers = Settlers(genesis.clone());
    let place = machine.path("home/ledger/outbox").join(chain.to_string());
    let mut before = 0;
    let asked: [(Form, &[&str]); 3] = [
        (Form::Hash, &[]),
        (Form::Hash, &["--settle", "hash"]),
        (Form::Full, &["--settle", "full"]),
    ];
    for (form, settle) in asked {
        let said = run(&[&["--network", genesis.as_str()], settle].concat())
            .ok()
            .json();
        let made = said["receipts"].as_array().expect("digests");
        assert!(!made.is_empty(), "{said}");
        let outbox = Outbox::open(&place).expect("an outbox");
        let (settled, records) = outbox.open_records(1000).expect("an outbox");
        assert_eq!(settled, 0);
        let new = &records[before..];
        // Those of the models, in order, and then the run's own.
        let digests: Vec<String> = new
            .iter()
            .map(|record| Digest::of(&record.receipt).to_string())
            .collect();
        let (own, models) = digests.split_last().expect("receipts");
        assert_eq!(models, made.as_slice(), "{said}");
        assert!(!models.contains(own));
        assert!(new.iter().all(|record| record.form == form), "{new:?}");
        before = records.len();
    }
}

#[test]
fn a_run_whose_receipts_the_outbox_has_no_room_for_does_not_begin() {
    let machine = Machine::bare();
    let dir = machine.path("devnet");
    devnet_files(&machine, 1, &dir);
    let agent = support::component("answer-with-sources");
    let document = machine.file("hours.md", "On Saturday the library opens at ten.\n");
    let journal = machine.path("run.journal");
    let run = |settle: &str| {
        let mut command = machine.command();
        command
            .env("TALLY_OUTBOX_BYTES", "0")
            .arg("run")
            .arg(&agent)
            .args(["--input", "When does the library open on Saturday?"])
            .arg("--attach")
            .arg(&document)
            .arg("--network")
            .arg(dir.join("genesis.toml"))
            .arg("--journal")
            .arg(&journal)
            .args(["--grant-asked", "--settle", settle]);
        Ended::of(command)
    };
    run("hash")
        .exits(3)
        .says("tally ledger settle")
        .says("--settle none");
    assert!(!journal.exists());
    run("none").ok();
}

#[test]
fn what_can_never_be_settled_is_shown_with_its_reason_written_to_files_and_cleared() {
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "1");
    machine.tally(["ledger", "use", &devnet.genesis]).ok();
    let genesis = std::fs::read_to_string(&devnet.genesis).expect("a file");
    let chain = Genesis::parse(&genesis).expect("a genesis").chain();
    let refused = || machine.tally(["ledger", "refused"]);
    refused().ok().says("no receipt is set aside here");

    let folder = machine.path(&format!("home/ledger/outbox/{chain}"));
    let bad = Record {
        form: Form::Full,
        receipt: b"no receipt".to_vec(),
    };
    let outbox = Outbox::open(&folder).expect("an outbox");
    outbox.append(std::slice::from_ref(&bad)).expect("a disk");
    once_it_answers(&machine, &["ledger", "settle"])
        .ok()
        .says("set aside in the outbox: 1: it is no receipt");
    let status = || machine.tally(["ledger", "status", "--json"]).ok().json();
    let said = status();
    assert_eq!(said["refused"][0]["receipts"], 1, "{said}");
    assert_eq!(said["refused_dropped"], 0, "{said}");
    assert!(said["refused_bytes"].as_u64() > Some(0), "{said}");
    machine
        .tally(["ledger", "status"])
        .ok()
        .says("refused for good: 1: it is no receipt")
        .says("tally ledger refused");

    let digest = Digest::of(&bad.receipt).to_string();
    refused().ok().says(&digest).says("it is no receipt");
    let out = machine.path("refused");
    let out = out.to_str().expect("UTF-8");
    let clear = ["ledger", "refused", "--out", out, "--clear", "--json"];
    let cleared = machine.tally(clear).ok().json();
    assert_eq!(cleared["refused"][0]["receipt"], digest, "{cleared}");
    let file = machine.path(&format!("refused/{digest}.receipt.json"));
    assert_eq!(std::fs::read(file).expect("it was written"), bad.receipt);
    refused().ok().says("no receipt is set aside here");
    let said = status();
    assert_eq!(said["refused"], serde_json::json!([]), "{said}");
    assert_eq!(said["refused_bytes"], 0, "{said}");
}

#[test]
fn what_the_disk_damaged_in_the_outbox_is_said_and_all_else_settles_once_it_is_repaired() {
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "1");
    machine.tally(["ledger", "use", &devnet.genesis]).ok();
    let genesis = std::fs::read_to_string(&devnet.genesis).expect("a file");
    let chain = Genesis::parse(&genesis).expect("a genesis").chain();
    let folder = machine.path(&format!("home/ledger/outbox/{chain}"));
    let outbox = Outbox::open(&folder).expect("an outbox");
    let append = |receipt: &[u8]| {
        let record = Record {
            form: Form::Hash,
            receipt: receipt.to_vec(),
        };
        outbox.append(&[record]).expect("a disk");
    };
    append(b"one");
    once_it_answers(&machine, &["ledger", "settle"])
        .ok()
        .says("settled 1 receipts");

    for receipt in [&b"two"[..], b"three", b"four"] {
        append(receipt);
    }
    let file = folder.join(format!("receipts-{:020}", 0));
    let mut bytes = std::fs::read(&file).expect("a file");
    let at = bytes.windows(5).position(|found| found == b"three");
    bytes[at.expect("it is there")] ^= 1;
    std::fs::write(&file, &bytes).expect("a disk");
    let settle = || machine.tally(["ledger", "settle"]);
    settle()
        .exits(3)
        .says(file.to_str().expect("UTF-8"))
        .says("tally ledger repair");
    let waiting = || number(&machine, &["ledger", "status"], "outbox");
    assert_eq!(waiting(), 2);

    let said = machine.tally(["ledger", "repair", "--json"]).ok().json();
    assert_eq!(said["lost"], 1, "{said}");
    let kept = said["kept"][0].as_str().expect("a path");
    assert_eq!(std::fs::read(kept).expect("a file"), bytes);
    settle().ok().says("settled 1 receipts");
    assert_eq!(waiting(), 0);
    machine
        .tally(["ledger", "repair"])
        .ok()
        .says("nothing in the outbox is damaged");
}

/// Two votes of `v3` in one round for different blocks, as a node would have kept them.
fn evidence(machine: &Machine, genesis: &Genesis) -> Vec<u8> {
    let seed = std::fs::read_to_string(machine.path("devnet/v3/vote.key")).expect("a key");
    let seed: [u8; 32] = hex::decode(seed.trim())
        .expect("hex")
        .try_into()
        .expect("a seed");
    let key = SigningKey::from_seed(&seed);
    let vote = |block: u8| {
        let vote = Vote::Notarize(Proposal {
            round: Round {
                epoch: Epoch::ZERO,
                view: 7,
            },
            parent_view: 6,
            block: BlockDigest::from_bytes([block; 32]),
        });
        (vote, key.sign(&vote.signed_bytes(genesis.chain())))
    };
    Evidence::votes(genesis.chain(), key.public_key(), vote(1), vote(2)).to_bytes()
}

#[test]
fn evidence_says_who_signed_what_and_altered_evidence_fails_by_name() {
    let machine = Machine::bare();
    let dir = machine.path("devnet");
    devnet_files(&machine, 4, &dir);
    let genesis_file = dir.join("genesis.toml");
    let genesis = Genesis::parse(&std::fs::read_to_string(&genesis_file).unwrap()).unwrap();
    let bytes = evidence(&machine, &genesis);
    let file = machine.file("fault.evidence", &bytes);
    let verify = |file: &Path, genesis: Option<&Path>| {
        let mut args = vec!["verify".to_owned(), file.display().to_string()];
        if let Some(genesis) = genesis {
            args.extend(["--genesis".to_owned(), genesis.display().to_string()]);
        }
        machine.tally(args)
    };
    let chain = genesis.chain().to_string();
    let ended = verify(&file, Some(&genesis_file)).ok();
    for words in [
        "evidence against a validator, verified",
        "the votes are of the validator v3",
        "in view 7 of epoch 0 it voted for block 0101",
        "genesis of devnet",
        &chain,
    ] {
        assert!(
            ended.stdout().contains(words),
            "{words}: {}",
            ended.stdout()
        );
    }
    verify(&file, None).exits(1).says("believing nobody");
    // Whatever byte is altered, it is not verified, and the check that fails says so.
    for place in (0..bytes.len()).step_by(17) {
        let mut altered = bytes.clone();
        altered[place] ^= 0x10;
        let altered = machine.file("altered.evidence", altered);
        verify(&altered, Some(&genesis_file)).exits(1).says("FAIL");
    }
    let mut other = genesis.clone();
    other.name = Name::new("elsewhere").unwrap();
    let other = machine.file("other.toml", other.to_toml());
    verify(&file, Some(&other))
        .exits(1)
        .says("the votes are of the chain");
}

#[test]
fn a_validators_key_does_not_vote_from_an_empty_directory() {
    let machine = Machine::bare();
    let files = machine.tally(
        ["devnet", "--files-only", "--validators", "1", "--dir"]
            .map(str::to_owned)
            .into_iter()
            .chain([machine.path("one").display().to_string()]),
    );
    files.ok();
    let node = |data: &str| {
        let mut command = machine.command();
        command
            .args(["node", "--role", "validator", "--json", "--genesis"])
            .arg(machine.path("one/genesis.toml"))
            .arg("--key")
            .arg(machine.path("one/v0/vote.key"))
            .arg("--data")
            .arg(machine.path(data));
        command
    };
    let mut first = node("data")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(first.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("it says where it listens");
    first.kill().expect("it runs");
    first.wait().expect("it ends");
    support::Ended::of(node("elsewhere"))
        .exits(1)
        .says("has voted from another data directory");
}

#[test]
fn validators_of_a_devnet_end_with_it_however_it_ends() {
    let machine = Machine::bare();
    let mut devnet = Devnet::start(&machine, "2");
    let begun = Instant::now();
    let processes: Vec<String> = (0..2)
        .map(|number| {
            let pid = machine.path(&format!("devnet/v{number}/pid"));
            loop {
                if let Ok(pid) = std::fs::read_to_string(&pid)
                    && pid.ends_with('\n')
                {
                    return format!("/proc/{}", pid.trim());
                }
                assert!(begun.elapsed() < Duration::from_secs(30), "none starts");
                std::thread::sleep(Duration::from_millis(20));
            }
        })
        .collect();
    let runs = |process: &String| {
        std::fs::read_to_string(Path::new(process).join("cmdline"))
            .is_ok_and(|line| line.contains("--role"))
    };
    assert!(processes.iter().all(runs));
    devnet.child.kill().expect("it runs");
    devnet.child.wait().expect("it ends");
    let begun = Instant::now();
    while processes.iter().any(runs) {
        assert!(begun.elapsed() < Duration::from_secs(30), "one is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_chain_is_kept_in_one_file_and_brought_back_as_a_followers_data() {
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "1");
    machine.tally(["ledger", "use", &devnet.genesis]).ok();
    let backup = machine.path("chain.tally");
    let backup = backup.to_str().unwrap();
    let settle = |vector: &str| {
        let file = machine.file("a.receipt.json", receipt(vector));
        let begun = Instant::now();
        while machine
            .tally(["ledger", "submit", "--full", file.to_str().unwrap()])
            .code()
            != 0
        {
            assert!(begun.elapsed() < Duration::from_secs(60), "no ledger");
        }
    };
    let back_up = || {
        machine
            .tally(["ledger", "backup", backup, "--json"])
            .ok()
            .json()
    };
    settle("valid");
    let first = back_up();
    assert_eq!(first["receipts"], 1);
    settle("valid-run");
    let second = back_up();
    assert_eq!(second["receipts"], 2);
    assert!(second["height"].as_u64() > first["height"].as_u64());

    // What runs is not written over; what is left after a disaster is enough for a follower.
    machine
        .tally([
            "ledger",
            "restore",
            backup,
            "--data",
            machine.path("devnet/v0/data").to_str().unwrap(),
        ])
        .exits(2)
        .says("has a node's data in it");
    drop(devnet);
    let checked = machine.tally(["ledger", "backup", backup, "--check", "--json"]);
    assert_eq!(checked.ok().json(), second);
    let data = machine.path("copy");
    let restored = machine.tally([
        "ledger",
        "restore",
        backup,
        "--json",
        "--data",
        data.to_str().unwrap(),
    ]);
    assert_eq!(restored.ok().json()["height"], second["height"]);
    let port = free_port();
    let mut follower = machine
        .command()
        .args(["node", "--role", "follower", "--genesis"])
        .arg(machine.path("devnet/genesis.toml"))
        .args(["--listen", "127.0.0.1:0", "--metrics", &port.to_string()])
        .arg("--data")
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let height = format!("node_tally_height {}", second["height"]);
    let begun = Instant::now();
    let has_all = loop {
        let page = metrics(port);
        if page.contains(&height) || begun.elapsed() > Duration::from_secs(60) {
            break page.contains(&height);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    follower.kill().expect("it runs");
    follower.wait().expect("it ends");
    assert!(has_all, "no follower with all blocks");

    // Altered, it is named as such, and stays as it is.
    let mut altered = std::fs::read(backup).expect("it is there");
    let end = altered.len() - 10;
    altered[end] ^= 1;
    std::fs::write(backup, &altered).expect("it can be written");
    machine
        .tally(["ledger", "backup", backup, "--check"])
        .exits(1)
        .says("are no part of the backup");
    // Nobody is there to fetch it from again.
    machine.tally(["ledger", "backup", backup]).exits(3);
    assert_eq!(std::fs::read(backup).expect("it is there"), altered);
}

fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("a free port")
}

/// What a node serves to Prometheus; nothing as long as it does not listen.
fn metrics(at: SocketAddr) -> String {
    let mut page = String::new();
    if let Ok(mut stream) = TcpStream::connect(at) {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n");
        let _ = stream.read_to_string(&mut page);
    }
    page
}

/// The names in the first column of the table in `docs/node.md`. Of one that begins with `_`, `node_tally` is left out there.
fn documented_metrics() -> Vec<String> {
    let text = std::fs::read_to_string(support::checkout().join("docs/node.md")).expect("a file");
    let (_, table) = text.split_once("| metric | |\n").expect("the table");
    table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(1))
        // What stands between marks is every second part.
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(|name| match name.starts_with('_') {
            true => format!("node_tally{name}"),
            false => name.to_owned(),
        })
        .collect()
}

#[test]
fn a_running_node_serves_every_metric_that_the_documents_name() {
    let names = documented_metrics();
    assert!(names.len() >= 16, "{names:?}");
    let machine = Machine::bare();
    let dir = machine.path("devnet");
    devnet_files(&machine, 1, &dir);
    let at = free_port();
    // It ends with this test, as its stdin does.
    let mut node = machine
        .command()
        .args(["node", "--role", "validator", "--until-stdin-ends", "--key"])
        .arg(dir.join("v0/vote.key"))
        .arg("--genesis")
        .arg(dir.join("genesis.toml"))
        .arg("--data")
        .arg(machine.path("data"))
        .args(["--listen", "127.0.0.1:0", "--metrics", &at.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let begun = Instant::now();
    let missing = loop {
        let page = metrics(at);
        let is_served = |name: &String| {
            page.lines()
                .filter_map(|line| line.strip_prefix(name.as_str()))
                .any(|rest| rest.starts_with([' ', '{']))
        };
        let missing: Vec<&String> = names.iter().filter(|name| !is_served(name)).collect();
        if missing.is_empty() || begun.elapsed() > Duration::from_secs(60) {
            break missing;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    node.kill().expect("it runs");
    node.wait().expect("it ends");
    assert!(missing.is_empty(), "not on /metrics: {missing:?}");
}

#[test]
fn validators_decide_by_a_file_that_one_makes_enough_sign_and_the_last_hands_in() {
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "4");
    machine.tally(["ledger", "use", &devnet.genesis]).ok();
    let text = |path: std::path::PathBuf| path.to_str().expect("UTF-8").to_owned();
    let key = |number: u8| text(machine.path(&format!("devnet/v{number}/vote.key")));
    let file = text(machine.path("decision.toml"));
    let five = text(machine.path("five.toml"));

    // The four of genesis, and one that comes.
    let stranger = text(machine.path("v4.key"));
    let lines = machine.tally([
        "node",
        "--role",
        "validator",
        "--key",
        &stranger,
        "--listen",
        "127.0.0.1:4499",
        "--show-keys",
        "v4",
    ]);
    let genesis = std::fs::read_to_string(&devnet.genesis).expect("a file");
    let from = genesis.find("[[validators]]").expect("validators");
    let to = genesis.find("[faucet]").expect("a faucet");
    let description = format!("{}\n{}", &genesis[from..to], lines.ok().stdout());
    machine.file("five.toml", description);
    let draft = ["ledger", "decide", "draft", &five, "--out", &file];
    let begun = Instant::now();
    while machine.tally(draft).code() != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no ledger");
    }
    // What others may have signed is not written over.
    machine.tally(draft).exits(2);
    machine
        .tally(["ledger", "decide", "show", &file])
        .ok()
        .says("comes: v4 (")
        .says("nobody has signed it");

    let sign = |key: &str| machine.tally(["ledger", "decide", "sign", &file, "--key", key]);
    sign(&stranger).exits(1).says("has no say in this");
    sign(&text(machine.path("none.key")))
        .exits(2)
        .says("tally node --key");
    assert!(!machine.path("none.key").exists());
    sign(&key(0)).ok().says("signed by v0");
    sign(&key(0)).ok().says("had signed it already");
    let submit = ["ledger", "decide", "submit", &file];
    machine
        .tally(submit)
        .exits(1)
        .says("1 of the 3 validators that must sign this have; 2 more must, of: ");
    sign(&key(1)).ok();
    sign(&key(2)).ok().says("enough have signed");

    let other = text(machine.path("other"));
    devnet_files(&machine, 1, other.as_ref());
    let other = format!("{other}/genesis.toml");
    machine
        .tally(["ledger", "decide", "show", &file, "--network", &other])
        .exits(2)
        .says("begins the chain");

    machine
        .tally(submit)
        .ok()
        .says("decision 0 is made")
        .says("--peer");
    machine
        .tally(["ledger", "decide", "show", &file])
        .exits(1)
        .says("decision 0 is made already, and the next one is 1");
    // The four go on without the fifth.
    let receipt = machine.file("one.receipt.json", receipt("valid"));
    machine
        .tally(["ledger", "submit", receipt.to_str().unwrap()])
        .ok();
}

/// Has one of a network's two validators go, by a decision of both.
fn one_of_two_goes(machine: &Machine, genesis: &str) {
    let text = |path: std::path::PathBuf| path.to_str().expect("UTF-8").to_owned();
    let description = std::fs::read_to_string(genesis).expect("a file");
    let parts: Vec<&str> = description.split("[[validators]]").collect();
    let stays = machine.file("stays.toml", format!("[[validators]]{}", parts[1]));
    let (stays, file) = (text(stays), text(machine.path("decision.toml")));
    let draft = ["ledger", "decide", "draft", &stays, "--out", &file];
    let begun = Instant::now();
    while machine.tally(draft).code() != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no ledger");
    }
    for number in 0..2 {
        let key = text(machine.path(&format!("devnet/v{number}/vote.key")));
        machine
            .tally(["ledger", "decide", "sign", &file, "--key", &key])
            .ok();
    }
    machine.tally(["ledger", "decide", "submit", &file]).ok();
}

#[test]
fn after_validators_were_replaced_cosigned_proofs_go_with_a_policy_of_those_of_now() {
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "2");
    let genesis = devnet.genesis.as_str();
    machine.tally(["ledger", "use", genesis]).ok();
    one_of_two_goes(&machine, genesis);
    let one = machine.file("one.receipt.json", receipt("valid"));
    let one = one.to_str().expect("UTF-8");
    machine.tally(["ledger", "submit", one]).ok();

    let proof = machine.path("one.tlog-proof").display().to_string();
    let prove = ["ledger", "prove", one, "--cosigned", "--wait", "20"];
    machine
        .tally([&prove[..], &["--out", &proof]].concat())
        .ok()
        .says("tally ledger policy --now");
    // Whoever answers first may be behind.
    let begun = Instant::now();
    let today = loop {
        let said = machine.tally(["ledger", "policy", "--now", "--json"]).ok();
        let said = said.json();
        if said["epoch"] == 1 {
            break said["policy"].as_str().expect("a policy").to_owned();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no change");
    };
    assert!(today.contains("group validators 1 "), "{today}");
    let first = machine.tally(["ledger", "policy"]).ok().stdout();
    assert!(first.contains("group validators 2 "), "{first}");
    let verified = |policy: String| {
        let policy = machine.file("log.policy", policy).display().to_string();
        let named = ["--log-policy", policy.as_str(), "--receipt", one];
        machine.tally([&["verify", proof.as_str()][..], &named].concat())
    };
    verified(today.clone()).ok();
    verified(first.clone()).exits(1);

    // So it is with checkpoints.
    let checkpoint = machine.path("today.checkpoint").display().to_string();
    let ask = ["ledger", "checkpoint", "--out", &checkpoint, "--json"];
    assert_eq!(machine.tally(ask).ok().json()["size"], 1);
    let verified = |policy: String| {
        let policy = machine.file("log.policy", policy).display().to_string();
        machine.tally(["verify", &checkpoint, "--log-policy", &policy])
    };
    verified(today).ok();
    verified(first).exits(1);
}

#[test]
fn a_command_starts_from_whom_this_machine_was_shown_last_and_others_start_there_by_a_file() {
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "2");
    let genesis = devnet.genesis.as_str();
    machine.tally(["ledger", "use", genesis]).ok();
    let text = |path: std::path::PathBuf| path.to_str().expect("UTF-8").to_owned();
    one_of_two_goes(&machine, genesis);

    let description = std::fs::read_to_string(genesis).expect("a file");
    let chain = Genesis::parse(&description).expect("a genesis").chain();
    let place = format!("home/ledger/{chain}.trusted");
    let shared = text(machine.path("shared.trusted"));
    // Whoever answers first may be behind.
    let goes_on = |machine: &Machine| {
        let begun = Instant::now();
        let ask = ["ledger", "trusted", "--out", &shared, "--json"];
        while machine.tally(ask).ok().json()["epoch"] != 1 {
            assert!(begun.elapsed() < Duration::from_secs(60), "no change");
        }
    };
    goes_on(&machine);
    let kept = machine.path(&place);
    let good = std::fs::read(&kept).expect("it is kept");
    assert_eq!(std::fs::read(&shared).expect("it was written"), good);
    let read = TrustedValidators::from_bytes(&good).expect("validators");
    assert_eq!((read.epoch.get(), read.validators.len()), (1, 1));

    // What is damaged or another chain's is not believed, and made anew.
    let mut damaged = good.clone();
    damaged[60] ^= 1;
    let other = machine.path("other");
    devnet_files(&machine, 1, &other);
    let other = std::fs::read_to_string(other.join("genesis.toml")).expect("a file");
    let other = Genesis::parse(&other).expect("a genesis");
    let foreign = TrustedValidators::of(&other).to_bytes();
    for bad in [&damaged, &foreign] {
        std::fs::write(&kept, bad).expect("a disk");
        machine
            .tally(["ledger", "trusted"])
            .ok()
            .says("is not used, and will be made anew");
        goes_on(&machine);
        assert_eq!(std::fs::read(&kept).expect("it is kept"), good);
    }

    // Another machine believes the first one, and begins where that is.
    let newcomer = Machine::bare();
    let begin = |file: &str| {
        let named = ["--network", genesis, "--trusted", file, "--json"];
        newcomer.tally([&["ledger", "trusted"][..], &named].concat())
    };
    assert_eq!(begin(&shared).ok().json()["epoch"], 1);
    let kept = std::fs::read(newcomer.path(&place)).expect("it is kept");
    assert_eq!(kept, good);
    for (bad, words) in [
        (&damaged, "start from the validators"),
        (&foreign, "of the chain"),
    ] {
        let bad = machine.file("bad.trusted", bad);
        begin(&text(bad)).exits(2).says(words);
    }
    Machine::bare()
        .tally(["ledger", "account", "--trusted", &shared])
        .exits(2)
        .says("--trusted is of a network, and none is named");
}

#[test]
fn an_explorer_begins_with_whom_this_machine_was_shown_last_and_keeps_whom_it_is_shown() {
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "1");
    let file = machine.file("first.receipt.json", receipt("valid"));
    let submit = [
        "ledger",
        "submit",
        file.to_str().expect("UTF-8"),
        "--network",
        &devnet.genesis,
        "--json",
    ];
    let settled = once_it_answers(&machine, &submit).ok().json();
    let digest = &settled["receipts"][0].as_str().expect("a digest")[..12];
    let genesis = std::fs::read_to_string(&devnet.genesis).expect("a file");
    let genesis = Genesis::parse(&genesis).expect("a genesis");
    let place = format!("home/ledger/{}.trusted", genesis.chain());

    // Nobody was shown anything here yet.
    let newcomer = Machine::bare();
    let kept = newcomer.path(&place);
    let looking = Looking::start(&newcomer, &devnet.genesis);
    assert!(!kept.exists(), "nobody has looked");
    shown(&looking.at, digest);
    let first = TrustedValidators::of(&genesis).to_bytes();
    assert_eq!(std::fs::read(&kept).expect("it is kept"), first);
    drop(looking);

    // Whoever is kept is believed, and so nothing of the others: from genesis on, the receipt would be shown.
    let key = |seed| seed_key(seed).public_key();
    let validators = ValidatorSet::new(vec![Validator {
        vote_key: key(7),
        checkpoint_key: key(8),
        name: Name::new("later").expect("letters"),
    }])
    .expect("a set");
    let later = TrustedValidators {
        chain: genesis.chain(),
        epoch: Epoch::new(3),
        named_by: Some(Header {
            height: Height::new(1),
            epoch: Epoch::new(2),
            parent: BlockDigest::from_bytes([2; 32]),
            body: Digest::of(b"body"),
            log_size: 0,
            log_root: Hash::from_bytes([3; 32]),
            state_root: StateRoot::from_bytes([4; 32]),
            time: Timestamp::from_unix_ms(1_790_000_000_000).expect("a moment"),
            next_validators: validators.digest(),
        }),
        validators,
    }
    .to_bytes();
    std::fs::write(&kept, &later).expect("a disk");
    let looking = Looking::start(&newcomer, &devnet.genesis);
    // Each page asks again, and what one round shows is on the page after it.
    let mut page = shown(&looking.at, "All validators answer.");
    for _ in 0..3 {
        assert!(!page.contains(digest), "{page}");
        std::thread::sleep(Duration::from_millis(1100));
        page = overview(&looking.at);
    }
    // And never goes back.
    assert_eq!(std::fs::read(&kept).expect("it is kept"), later);
    drop(looking);

    // What is no such file is made anew by whoever looks.
    std::fs::write(&kept, "damaged").expect("a disk");
    let looking = Looking::start(&newcomer, &devnet.genesis);
    shown(&looking.at, digest);
    assert_eq!(std::fs::read(&kept).expect("it is kept"), first);
}

/// A key file of this seed, its place, and its public key.
fn key_file(machine: &Machine, name: &str, seed: u8) -> (String, String) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = machine.file(name, format!("{}\n", format!("{seed:02x}").repeat(32)));
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, mode).expect("it is ours");
    let path = path.to_str().expect("UTF-8").to_owned();
    (path, seed_key(seed).public_key().to_string())
}

/// The first command that a network answers.
fn once_it_answers(machine: &Machine, command: &[&str]) -> Ended {
    let begun = Instant::now();
    loop {
        let ended = machine.tally(command);
        if ended.code() != 3 {
            return ended;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no ledger");
    }
}

/// A number that a command says as JSON.
fn number(machine: &Machine, command: &[&str], field: &str) -> u64 {
    let said = machine.tally([command, &["--json"]].concat()).ok().json();
    said[field].as_u64().expect("a number")
}

fn balance(machine: &Machine, key: &str) -> u64 {
    number(machine, &["ledger", "account", key], "balance")
}

#[test]
fn a_transfer_changes_both_accounts_and_what_cannot_be_done_says_what_to_do() {
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "1");
    machine.tally(["ledger", "use", &devnet.genesis]).ok();
    let (other, other_key) = key_file(&machine, "other.key", 7);
    let claimed = once_it_answers(&machine, &["ledger", "claim", "--json"])
        .ok()
        .json();
    assert_eq!(claimed["balance"], 1_000_000);
    let own_key = claimed["account"].as_str().expect("a key").to_owned();
    machine
        .tally(["ledger", "claim"])
        .ok()
        .says("was given credits already");

    let sent = machine
        .tally(["ledger", "transfer", &other_key, "300", "--json"])
        .ok()
        .json();
    assert_eq!((&sent["nonce"], &sent["counts"]), (&0.into(), &true.into()));
    assert_eq!(sent["balance"], 999_700);
    assert_eq!(balance(&machine, &own_key), 999_700);
    assert_eq!(balance(&machine, &other_key), 300);
    machine
        .tally(["ledger", "transfer", &own_key, "100", "--key", &other])
        .ok()
        .says("200 credits are left");
    assert_eq!(balance(&machine, &own_key), 999_800);

    let to_other = |amount: &str| machine.tally(["ledger", "transfer", &other_key, amount]);
    to_other("5000000").exits(1).says("has 999800 credits");
    to_other("3.5").exits(2).says("a whole number of credits");
    to_other("0").exits(2);
    machine
        .tally(["ledger", "transfer", "alice", "5"])
        .exits(2)
        .says("as a public key");
    machine
        .tally(["ledger", "transfer", &own_key, "5"])
        .exits(2)
        .says("the same account");
    let (nobody, _) = key_file(&machine, "nobody.key", 8);
    machine
        .tally(["ledger", "transfer", &own_key, "5", "--key", &nobody])
        .exits(1)
        .says("has 0 credits")
        .says("tally ledger claim");
    assert_eq!(balance(&machine, &other_key), 200);
}

#[test]
fn a_transfer_whose_command_did_not_end_is_done_once_when_it_is_repeated() {
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "1");
    machine.tally(["ledger", "use", &devnet.genesis]).ok();
    let (payer, payer_key) = key_file(&machine, "payer.key", 7);
    let other = seed_key(8).public_key();
    once_it_answers(&machine, &["ledger", "claim", "--key", &payer]).ok();
    let genesis = std::fs::read_to_string(&devnet.genesis).expect("a file");
    let chain = Genesis::parse(&genesis).expect("a genesis").chain();
    // What a command leaves that is killed before it hands anything in, or after.
    let request = Request::Transfer {
        from: AccountId::new(seed_key(7).public_key()),
        nonce: AccountNonce::ZERO,
        to: AccountId::new(other),
        amount: Credits::new(5),
    };
    let transaction = request.sign(chain, &[&seed_key(7)]).expect("small");
    let begun = machine.path(&format!("home/ledger/spending/{chain}/{payer_key}"));
    let is_left = || {
        std::fs::create_dir_all(begun.parent().expect("a folder")).expect("a disk");
        let bytes = [&[0][..], transaction.as_bytes()].concat();
        std::fs::write(&begun, bytes).expect("a disk");
    };
    let to = other.to_string();
    let transfer = || {
        let command = ["ledger", "transfer", &to, "5", "--key", &payer, "--json"];
        machine.tally(command).ok().json()
    };
    for _ in 0..2 {
        is_left();
        let said = transfer();
        assert_eq!(said["earlier"], true);
        assert_eq!(said["transaction"], transaction.id().to_string());
        assert_eq!(balance(&machine, &to), 5);
        assert!(!begun.exists());
    }
    assert_eq!(transfer()["earlier"], false);
    assert_eq!(balance(&machine, &to), 10);
    // Whoever does not wait spends the next nonce all the same.
    machine
        .tally(["ledger", "transfer", &to, "1", "--key", &payer, "--no-wait"])
        .ok();
    assert_eq!(transfer()["nonce"], 3);
    assert_eq!(balance(&machine, &to), 16);
}

#[test]
fn what_is_reserved_is_redeemed_by_vouchers_once_and_the_rest_comes_back() {
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "1");
    machine.tally(["ledger", "use", &devnet.genesis]).ok();
    let (payer, payer_key) = key_file(&machine, "payer.key", 7);
    let (payee, payee_key) = key_file(&machine, "payee.key", 8);
    once_it_answers(&machine, &["ledger", "claim", "--key", &payer]).ok();
    let reserve = |blocks: &str| {
        let command = [
            "ledger", "reserve", &payee_key, "100", "--blocks", blocks, "--key", &payer, "--json",
        ];
        let said = machine.tally(command).ok().json();
        said["hold"].as_str().expect("a name").to_owned()
    };
    let hold = reserve("1000");
    assert_eq!(balance(&machine, &payer_key), 999_900);
    let file = machine.path("voucher");
    let file = file.to_str().expect("UTF-8");
    let voucher = |total: &str| {
        machine.tally([
            "ledger", "voucher", &hold, total, "--key", &payer, "--out", file,
        ])
    };
    voucher("101").exits(1).says("of a hold of 100");
    voucher("60").ok();
    let redeem = |more: &[&str]| machine.tally([&["ledger", "redeem", file][..], more].concat());
    redeem(&["--key", &payer])
        .exits(1)
        .says("the payee of hold");
    let text = machine.file("text", "to be paid: 60");
    let text = text.to_str().expect("UTF-8");
    machine
        .tally(["ledger", "redeem", text, "--key", &payee])
        .exits(2)
        .says("a voucher begins with \"tally-voucher-v1\"");
    redeem(&["--key", &payee]).ok().says("60 credits paid out");
    assert_eq!(balance(&machine, &payee_key), 60);
    redeem(&["--key", &payee]).ok().says("done already");
    let release = |hold: &str| machine.tally(["ledger", "release", hold, "--key", &payer]);
    release(&hold).exits(1).says("the hold expires at block");
    voucher("80").ok();
    for _ in 0..2 {
        redeem(&["--key", &payee, "--close"]).ok();
        assert_eq!(balance(&machine, &payee_key), 80);
        assert_eq!(balance(&machine, &payer_key), 999_920);
    }
    release(&hold).exits(1).says("there is no hold");
    voucher("90").exits(1).says("there is no hold");

    let hold = reserve("1");
    assert_eq!(balance(&machine, &payer_key), 999_820);
    for _ in 0..2 {
        release(&hold).ok();
        assert_eq!(balance(&machine, &payer_key), 999_920);
    }
}

#[test]
fn a_rotated_key_is_this_machines_own_and_settles_for_its_node_and_the_one_before_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "1");
    machine.tally(["ledger", "use", &devnet.genesis]).ok();
    let first = machine.file("first.receipt.json", receipt("valid"));
    let second = machine.file("second.receipt.json", receipt("valid-run"));
    let submit = |path: &Path| machine.tally(["ledger", "submit", path.to_str().expect("UTF-8")]);
    once_it_answers(&machine, &["ledger", "node", "show"])
        .exits(1)
        .says("no node has or had the key");
    submit(&first).ok();
    let show = || machine.tally(["ledger", "node", "show", "--json"]).ok();
    let before = show().json();
    assert_eq!(
        (&before["settled"], &before["revision"]),
        (&1.into(), &0.into())
    );
    assert_eq!(before["node"], before["key"]);

    let new = machine.path("new.key");
    let new = new.to_str().expect("UTF-8");
    let own = machine.path("home/keys/node.key");
    let rotate = |file: &str, more: &[&str]| {
        let rotate = ["ledger", "node", "rotate", "--key-file", file];
        machine.tally([&rotate[..], more].concat())
    };
    let key_of = |path: &Path| std::fs::read_to_string(path).expect("a key");
    let old = key_of(&own);
    rotate(own.to_str().expect("UTF-8"), &[])
        .exits(2)
        .says("has the key that the node is to lose");
    rotate(new, &["--no-wait"])
        .ok()
        .says("own key is not exchanged before it counts");
    let mode = |path: &Path| std::fs::metadata(path).expect("a key").permissions().mode() & 0o777;
    assert_eq!(mode(Path::new(new)), 0o600);
    let public = |text: &str| {
        let seed: [u8; 32] = hex::decode(text.trim())
            .expect("hex")
            .try_into()
            .expect("a seed");
        SigningKey::from_seed(&seed).public_key().to_string()
    };
    let fresh = public(&key_of(Path::new(new)));
    let begun = Instant::now();
    while machine.tally(["ledger", "node", "show", &fresh]).code() != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no rotation");
    }
    // The ledger has it, and this machine does not yet: as after a crash in between.
    assert_eq!(key_of(&own), old);
    submit(&second).exits(1).says("was the key of node");
    machine
        .tally(["ledger", "node", "terms", "--price", "3"])
        .exits(1)
        .says("sign with that one");
    rotate(new, &[])
        .ok()
        .says("it is so already")
        .says("what else must change");
    assert_eq!((key_of(&own), mode(&own)), (key_of(Path::new(new)), 0o600));
    let former: Vec<_> = std::fs::read_dir(machine.path("home/keys/former"))
        .expect("it is kept")
        .map(|file| file.expect("a file").path())
        .collect();
    assert_eq!(former.len(), 1);
    assert_eq!((key_of(&former[0]), mode(&former[0])), (old.clone(), 0o600));
    assert!(former[0].to_string_lossy().contains(&public(&old)));
    // And when all is done.
    rotate(new, &[])
        .ok()
        .says("it is so already")
        .says("is this one already");
    let said = rotate(new, &["--json"]).ok().json();
    assert_eq!(said["exchanged"], false, "{said}");
    assert_eq!(key_of(&own), key_of(Path::new(new)));

    machine
        .tally(["ledger", "settle"])
        .ok()
        .says("settled 1 receipts");
    let after = show().json();
    assert_eq!(
        (&after["settled"], &after["revision"]),
        (&2.into(), &1.into())
    );
    assert_eq!(after["node"], before["node"]);
    assert_ne!(after["key"], before["key"]);
    // No other node can have it.
    let (stranger, _) = key_file(&machine, "stranger.key", 9);
    let register = ["ledger", "node", "register", "--key", &stranger];
    machine.tally(register).ok();
    rotate(&stranger, &[]).exits(1).says("is or was a node's");
    assert_eq!(key_of(&own), key_of(Path::new(new)));
    // Another node's key is no business of this machine's own.
    let next = machine.path("next.key");
    let next = next.to_str().expect("UTF-8");
    rotate(next, &["--key", &stranger])
        .ok()
        .says("own key is another one, and stays");
    assert_eq!(key_of(&own), key_of(Path::new(new)));
    // In one go.
    let last = machine.path("last.key");
    let last = last.to_str().expect("UTF-8");
    let said = rotate(last, &["--json"]).ok().json();
    assert_eq!(said["exchanged"], true, "{said}");
    assert_eq!(said["key"], public(&key_of(&own)), "{said}");
    assert_eq!(key_of(&own), key_of(Path::new(last)));

    let terms = [
        "ledger",
        "node",
        "terms",
        "--roles",
        "inference,run",
        "--price",
        "3",
    ];
    machine.tally(terms).ok();
    let said = show().json();
    assert_eq!(said["roles"], serde_json::json!(["inference", "run"]));
    assert_eq!((&said["price"], &said["revision"]), (&3.into(), &3.into()));
    machine.tally(terms).ok().says("it is so already");
    machine.tally(["ledger", "node", "terms"]).exits(2);
    machine
        .tally(["ledger", "node", "retire"])
        .ok()
        .says("retired: no role");
    submit(&first).exits(3).says("has retired");
}

#[test]
fn where_validators_decide_a_node_is_registered_by_a_file_that_enough_of_them_sign() {
    let machine = Machine::bare();
    let devnet = Devnet::start(&machine, "4");
    machine.tally(["ledger", "use", &devnet.genesis]).ok();
    let text = |path: std::path::PathBuf| path.to_str().expect("UTF-8").to_owned();
    let vote_key = |number: u8| text(machine.path(&format!("devnet/v{number}/vote.key")));
    let rule = "[parameters]\nregistration = \"by-validators\"\n";
    let rule = text(machine.file("rule.toml", rule));
    let decision = text(machine.path("decision.toml"));
    let draft = ["ledger", "decide", "draft", &rule, "--out", &decision];
    once_it_answers(&machine, &draft).ok();
    for number in 0..3 {
        let key = vote_key(number);
        machine
            .tally(["ledger", "decide", "sign", &decision, "--key", &key])
            .ok();
    }
    machine
        .tally(["ledger", "decide", "submit", &decision])
        .ok();

    let receipt = text(machine.file("one.receipt.json", receipt("valid")));
    machine
        .tally(["ledger", "submit", &receipt])
        .exits(1)
        .says("tally ledger node register --out FILE");
    machine
        .tally(["ledger", "node", "register"])
        .exits(1)
        .says("--out FILE");
    let file = text(machine.path("node.toml"));
    let register = ["ledger", "node", "register", "--price", "2", "--out", &file];
    machine
        .tally(register)
        .ok()
        .says("no validator has signed it");
    machine.tally(register).exits(2);
    let admit =
        |file: &str, key: &str| machine.tally(["ledger", "node", "admit", file, "--key", key]);
    let (stranger, _) = key_file(&machine, "stranger.key", 9);
    admit(&file, &stranger).exits(1).says("has no say in this");
    admit(&file, &vote_key(0)).ok().says("signed by v0");
    admit(&file, &vote_key(0))
        .ok()
        .says("had signed it already");
    machine
        .tally(["ledger", "node", "submit", &file])
        .exits(1)
        .says("1 of the 3 validators that must sign this have");
    // Two sign apart.
    let copy = text(machine.path("copy.toml"));
    std::fs::copy(&file, &copy).expect("it is there");
    admit(&copy, &vote_key(1)).ok();
    admit(&file, &vote_key(2)).ok();
    let submit = ["ledger", "node", "submit", &file, &copy];
    machine.tally(submit).ok().says("price: 2 credits");
    machine.tally(submit).ok().says("it is so already");
    machine
        .tally(["ledger", "settle"])
        .ok()
        .says("settled 1 receipts");
}

/// The ledger of this machine alone.
struct OwnLedger<'a> {
    machine: &'a Machine,
    genesis: String,
    settlers: Settlers,
}

impl<'a> OwnLedger<'a> {
    fn of(machine: &'a Machine) -> Self {
        let genesis = machine.path("home/ledger/own/genesis.toml");
        let genesis = genesis.to_str().expect("a plain path").to_owned();
        Self {
            machine,
            settlers: Settlers(genesis.clone()),
            genesis,
        }
    }

    /// Once it was made.
    fn chain(&self) -> String {
        let genesis = std::fs::read_to_string(&self.genesis).expect("it was made");
        let genesis = Genesis::parse(&genesis).expect("a genesis");
        genesis.chain().to_string()
    }

    /// Once it was made.
    fn outbox(&self) -> Outbox {
        let outbox = self.machine.path("home/ledger/outbox");
        Outbox::open(&outbox.join(self.chain())).expect("an outbox")
    }

    fn settles(&self) {
        let (outbox, begun) = (self.outbox(), Instant::now());
        while outbox.waiting().expect("an outbox") > 0 {
            assert!(begun.elapsed() < Duration::from_secs(120), "not settled");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether some process runs its node.
    fn has_node(&self) -> bool {
        let running = self.machine.path("home/ledger/own/running");
        let file = std::fs::File::open(running).expect("it was run");
        matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock))
    }

    /// Waits until none does.
    fn rests(&self) {
        let begun = Instant::now();
        while self.has_node() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it stays");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The first receipt that a run made.
fn first_receipt(run: &Value) -> String {
    run["receipts"][0].as_str().expect("a digest").to_owned()
}

/// Needs multicast on this machine's loopback, which Linux has.
#[test]
fn validators_without_addresses_are_found_on_the_local_network_if_and_only_if_that_is_asked_for() {
    let machine = Machine::bare();
    let dir = machine.path("devnet");
    devnet_files(&machine, 4, &dir);
    let placed = std::fs::read_to_string(dir.join("genesis.toml")).expect("a file");
    let nowhere: String = placed
        .lines()
        .map(|line| match line.starts_with("addresses") {
            true => "addresses = []\n".to_owned(),
            false => format!("{line}\n"),
        })
        .collect();
    let genesis = machine.file("genesis.toml", nowhere);
    let genesis = genesis.to_str().expect("UTF-8");
    machine
        .tally(["ledger", "status", "--network", genesis])
        .exits(2)
        .says("--lan");
    // The key that a relay has to let in is said, though it lets nobody in: at this port nobody listens.
    let by_relay = [
        &["ledger", "status", "--network", genesis][..],
        &["--relay", "http://127.0.0.1:1"],
    ]
    .concat();
    let unreached = machine.tally(&by_relay).exits(3);
    let said = machine
        .tally([&by_relay[..], &["--json"]].concat())
        .exits(1)
        .json();
    unreached.says(said["endpoint"].as_str().expect("a key"));
    // They end with this test, as their stdin does.
    let _nodes: Vec<Child> = (0..4)
        .map(|number| {
            machine
                .command()
                .args(["node", "--role", "validator", "--lan", "--until-stdin-ends"])
                .args(["--listen", "127.0.0.1:0", "--key"])
                .arg(dir.join(format!("v{number}/vote.key")))
                .arg("--genesis")
                .arg(genesis)
                .arg("--data")
                .arg(machine.path(&format!("data-{number}")))
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the program starts")
        })
        .collect();
    machine.tally(["ledger", "use", genesis, "--lan"]).ok();
    let receipt = machine.file("one.receipt.json", receipt("valid"));
    machine.tally(["ledger", "submit", receipt.to_str().expect("UTF-8")]);
    let begun = Instant::now();
    // The first time they may not have found each other.
    while machine.tally(["ledger", "settle"]).code() != 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "they do not find each other; is there multicast on this machine's loopback?"
        );
    }
    machine
        .tally(["ledger", "status"])
        .ok()
        .says("waiting on this machine: 0");
}

#[test]
fn without_a_network_a_run_settles_on_this_machines_own_ledger_which_tolerates_nobody() {
    let machine = Machine::bare().settling();
    let own = OwnLedger::of(&machine);
    let said = Ended::of(agent_run(&machine, &[])).ok().json();
    own.settles();
    let key = std::fs::metadata(machine.path("home/ledger/own/vote.key")).expect("a key");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777,
        0o600
    );
    let proof = machine.path("first.proof").display().to_string();
    let digest = first_receipt(&said);
    let prove = ["ledger", "prove", &digest, "--out", &proof];
    machine.tally(prove).ok().says("tolerates nobody");
    // Somebody else, offline, with the genesis file.
    let other = Machine::bare();
    let genesis = other.file("genesis.toml", std::fs::read(&own.genesis).unwrap());
    let verify = ["verify", &proof, "--genesis", genesis.to_str().unwrap()];
    other
        .tally(verify)
        .ok()
        .says("that the one validator of the genesis did not lie: it tolerates nobody");
    other.tally(["verify", &proof]).exits(1);

    // The others find the node that is there, and run one where none is.
    let status = || machine.tally(["ledger", "status", "--json"]);
    status().ok();
    own.settlers.kill();
    own.rests();
    let said = status().ok().says("tolerates nobody").json();
    assert_eq!(
        (&said["own"], &said["tolerates"], &said["outbox"]),
        (&Value::Bool(true), &Value::from(0), &Value::from(0)),
        "{said}"
    );
    own.rests();
    let backup = machine.path("own.tally").display().to_string();
    machine
        .tally(["ledger", "backup", &backup, "--json"])
        .ok()
        .says("tolerates nobody");
}

/// A receipt that needs no model: of the hand-over from one key to another, by their seeds.
fn rotation(at: Timestamp, from: u8, to: u8) -> Vec<u8> {
    let (from, to) = (seed_key(from), seed_key(to));
    let rotation = KeyRotation {
        from: from.public_key(),
        to: to.public_key(),
        at,
        reason: Label::new("a new machine").expect("a label"),
    };
    let rotation = KeyRotationPredicate::new(rotation).expect("two keys");
    let receipt = Receipt::sign(rotation, &[&from, &to]);
    receipt.expect("both sign").to_json()
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let ms = since.expect("after 1970").as_millis();
    Timestamp::from_unix_ms(ms.try_into().expect("a time")).expect("a time")
}

#[test]
fn a_proof_has_its_receipt_inside_says_which_it_is_and_is_of_no_other_one() {
    let machine = Machine::bare().settling();
    let own = OwnLedger::of(&machine);
    let text = |path: std::path::PathBuf| path.to_str().expect("UTF-8").to_owned();
    let [one, other] = [("one", 31), ("other", 32)].map(|(name, seed)| {
        let name = format!("{name}.receipt.json");
        text(machine.file(&name, rotation(now(), seed, 40)))
    });
    machine.tally(["ledger", "submit", &one, &other]).ok();
    let proof = text(machine.path("one.proof"));
    let alone = text(machine.path("alone.proof"));
    let prove = ["ledger", "prove", one.as_str(), "--out"];
    machine.tally([&prove[..], &[proof.as_str()]].concat()).ok();
    machine
        .tally([&prove[..], &[alone.as_str(), "--without-receipt"]].concat())
        .ok();
    let receipt = std::fs::read(&one).expect("it is there");
    let inside = |proof: &str| {
        let proof = std::fs::read(proof).expect("it was written");
        let proof = Proof::from_bytes(&proof).expect("a proof");
        proof.receipt().map(<[u8]>::to_vec)
    };
    assert_eq!(inside(&proof).as_ref(), Some(&receipt));
    assert_eq!(inside(&alone), None);

    let digest = Digest::of(&receipt).to_string();
    let verify = |files: &[&str]| {
        let given = ["verify", "--genesis", own.genesis.as_str()];
        machine.tally([&given[..], files].concat())
    };
    let [its_key, others_key, a_strangers] =
        [31, 32, 33].map(|seed| seed_key(seed).public_key().to_string());
    for file in [&proof, &alone] {
        verify(&[file]).ok().says(&digest);
        let said = verify(&[file, "--json"]).ok().json();
        let said = &said["files"][0];
        assert_eq!(said["receipt"], digest.as_str());
        assert_eq!(said["sequence"], 0);
        let known = ["node", "known_since"].map(|field| said[field].is_string());
        assert_eq!(known, [true; 2], "{said}");
        // Of the one that is named, or lies beside it.
        verify(&[file, "--receipt", &one]).ok();
        verify(&[file, &one, "--trust", &its_key]).ok();
        const NOT: &str = "not the one that was settled";
        verify(&[file, "--receipt", &other]).exits(1).says(NOT);
        verify(&[file, &other, "--trust", &others_key])
            .exits(1)
            .says(NOT);
        let both = [file.as_str(), &one, &other, "--trust", &its_key];
        verify(&[&both[..], &["--trust", &others_key]].concat()).ok();
    }
    // The receipt inside is judged by whom somebody names; without one there is none to judge.
    verify(&[&proof, "--trust", &its_key]).ok();
    verify(&[&proof, "--trust", &a_strangers]).exits(1);
    verify(&[&alone, "--trust", &a_strangers]).ok();
    verify(&[&one, "--receipt", &one])
        .exits(2)
        .says("none of these files is a proof");
}

#[test]
fn what_is_settled_before_its_key_is_stolen_is_not_backdated() {
    let machine = Machine::bare().settling();
    let own = OwnLedger::of(&machine);
    let text = |path: std::path::PathBuf| path.to_str().expect("UTF-8").to_owned();
    let issued = now();
    let one = text(machine.file("one.receipt.json", rotation(issued, 31, 40)));
    machine.tally(["ledger", "submit", &one]).ok();
    let [proof, alone] = ["one.proof", "alone.proof"].map(|name| text(machine.path(name)));
    let prove = ["ledger", "prove", one.as_str(), "--out"];
    machine.tally([&prove[..], &[proof.as_str()]].concat()).ok();
    machine
        .tally([&prove[..], &[alone.as_str(), "--without-receipt"]].concat())
        .ok();

    let hours = |count: u64| issued.plus_ms(count * 3_600_000);
    let judged = |stolen: Timestamp, files: &[&str]| {
        let policy = serde_json::json!({
            "format": "tally-policy-v1",
            "keys": [{
                "key": seed_key(31).public_key().to_string(), "owner": "a node", "roles": ["inference"],
                "validFrom": "1970-01-01T00:00:00.000Z", "validUntil": null,
                "revoked": {
                    "at": hours(2).to_string(), "reason": "compromised", "compromisedSince": stolen.to_string(),
                },
            }],
            "models": null,
            "components": null,
        });
        let policy = text(machine.file("trusted.json", policy.to_string()));
        let (genesis, at) = (own.genesis.as_str(), hours(3).to_string());
        let given = [
            "--genesis",
            genesis,
            "--policy",
            &policy,
            "--now",
            &at,
            "--json",
        ];
        machine.tally([&["verify"][..], files, &given].concat())
    };
    let why = |checks: &Value| {
        let checks = checks.as_array().expect("checks");
        let trusted = checks.iter().find(|one| one["code"] == "signer-trusted");
        trusted.expect("it is made")["reason"].clone()
    };

    // It is in the log before, which the receipt alone does not show.
    let later = hours(1);
    let said = judged(later, &[&one]).exits(1).json();
    assert_eq!(why(&said["files"][0]["checks"]), "perhaps-backdated");
    judged(later, &[&one, &proof]).ok();
    judged(later, &[&alone, &one]).ok();
    judged(later, &[&proof]).ok();
    judged(later, &[&alone, "--receipt", &one]).ok();
    // It came into the log after that.
    let before = issued.plus_ms(1);
    let said = judged(before, &[&one, &proof]).exits(1).json();
    assert_eq!(why(&said["files"][0]["checks"]), "perhaps-backdated");
    let said = judged(before, &[&proof]).exits(1).json();
    let inside = &said["files"][0]["receipt_verdict"]["checks"];
    assert_eq!(why(inside), "perhaps-backdated", "{said}");
}

#[test]
fn what_was_not_settled_when_the_process_in_the_background_was_killed_is_settled_later() {
    let machine = Machine::bare().settling();
    let own = OwnLedger::of(&machine);
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(first_receipt(
            &Ended::of(agent_run(&machine, &[])).ok().json(),
        ));
        own.settlers.kill();
    }
    machine.tally(["ledger", "settle", "--json"]).ok();
    assert_eq!(own.outbox().waiting().expect("an outbox"), 0);
    for digest in &made {
        let proof = machine.path("one.proof").display().to_string();
        let prove = ["ledger", "prove", digest, "--out", &proof];
        machine.tally(prove).ok();
    }
}

#[test]
fn two_runs_at_once_share_one_ledger_and_one_node() {
    let machine = Machine::bare().settling();
    let own = OwnLedger::of(&machine);
    // The compiled agent is there, and nothing of a ledger.
    Ended::of(agent_run(&machine, &["--settle", "none"])).ok();
    let runs = [(); 2].map(|()| {
        agent_run(&machine, &[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts")
    });
    for mut run in runs {
        assert!(run.wait().expect("it ends").success());
    }
    own.settles();
    assert!(own.has_node());
    let begun = Instant::now();
    while own.settlers.all().len() > 1 {
        assert!(begun.elapsed() < Duration::from_secs(30), "two attend");
        std::thread::sleep(Duration::from_millis(20));
    }
    let chains = std::fs::read_dir(machine.path("home/ledger/outbox")).expect("outboxes");
    assert_eq!(chains.count(), 1);
    // It goes by itself once nothing has come for a while.
    own.rests();
}

#[test]
fn what_settles_in_the_background_ends_when_the_data_directory_is_gone() {
    let machine = Machine::bare().settling();
    let own = OwnLedger::of(&machine);
    Ended::of(agent_run(&machine, &[])).ok();
    own.settles();
    assert!(own.has_node());
    let begun = Instant::now();
    let ledger = machine.path("home/ledger");
    // A node that still runs may put a file there meanwhile.
    while ledger.exists() {
        let _ = std::fs::remove_dir_all(&ledger);
        assert!(begun.elapsed() < Duration::from_secs(10), "it stays");
    }
    while !own.settlers.all().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "one is left");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!ledger.exists(), "something was made there anew");
    // Data without its name, with votes that no key of today cast, is what was left of a folder that was removed.
    let votes = ledger.join("own/data/store/votes-0");
    std::fs::create_dir_all(&votes).expect("a folder");
    std::fs::write(votes.join("left"), "a vote").expect("a disk");
    machine.tally(["ledger", "settle"]).ok();
    assert!(ledger.join("own/data/name").exists());
    assert!(!votes.join("left").exists());
    // Without its genesis the data is somebody's who may bring that back.
    std::fs::remove_file(&own.genesis).expect("it was made");
    machine
        .tally(["ledger", "settle"])
        .exits(3)
        .says("genesis.toml is missing");
    assert!(ledger.join("own/data/name").exists());
}

#[test]
fn a_node_ends_when_its_ledger_is_removed_and_begun_anew_at_once() {
    let machine = Machine::bare().settling();
    let own = OwnLedger::of(&machine);
    let mut explorer = machine
        .command()
        .args(["ledger", "explorer", "--listen", "127.0.0.1:0", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let stdout = explorer.stdout.take().expect("a pipe");
    let read = BufReader::new(stdout).read_line(&mut line);
    // The name of the thread that runs the node.
    let tasks = format!("/proc/{}/task", explorer.id());
    let runs_a_node = || {
        let tasks = std::fs::read_dir(&tasks).into_iter().flatten();
        tasks
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
            .any(|name| name.trim() == "ledger")
    };
    let ran = runs_a_node();
    let genesis = || std::fs::read(&own.genesis).ok();
    let old = genesis();
    let folder = machine.path("home/ledger/own");
    // Aside in one go, as nothing that the node still writes can keep it from going; it is not seen that it was away.
    let moved = std::fs::rename(&folder, machine.path("removed"));
    machine.tally(["ledger", "status"]);
    let new = genesis();
    let begun = Instant::now();
    while runs_a_node() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let still_runs = runs_a_node();
    explorer.kill().expect("it is ours");
    explorer.wait().expect("it ends");
    read.expect("it says where it listens");
    assert!(ran, "it ran one");
    moved.expect("it was made");
    assert!(new.is_some() && new != old, "another was begun");
    assert!(!still_runs, "two nodes run in one folder");
}

/// A program that ends with this.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_node_of_the_own_ledger_answers_its_owner_and_no_other_user_of_the_machine() {
    let machine = Machine::bare().settling();
    let own = OwnLedger::of(&machine);
    let explorer = machine
        .command()
        .args(["ledger", "explorer", "--listen", "127.0.0.1:0", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut explorer = Started(explorer);
    let mut line = String::new();
    let stdout = explorer.0.stdout.take().expect("a pipe");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("it says where it listens");
    // What everybody on this machine can find out.
    let address = std::fs::read_to_string(machine.path("home/ledger/own/running"));
    let address: SocketAddr = address
        .expect("it runs")
        .trim_end()
        .parse()
        .expect("an address");
    let genesis = std::fs::read_to_string(&own.genesis).expect("it was made");
    let genesis = Genesis::parse(&genesis).expect("a genesis");
    let key = genesis.validators.as_slice()[0].vote_key;
    let node = EndpointId::of_validator(&tally_node::vote_key(&key).expect("it votes"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    // For its genesis file, for blocks, with a transaction: `docs/net.md`.
    let asked: [&[u8]; 3] = [&[2], &[5, 0, 0, 0, 0, 0, 0, 0, 0], &[3, 0, 0]];
    for request in asked {
        let answer = runtime.block_on(async {
            let config = Config::new(([127, 0, 0, 1], 0).into());
            let endpoint = Endpoint::bind(&Secret::derive(&[66; 32]), config)
                .await
                .expect("a free port");
            let time = Duration::from_secs(20);
            let caller = Caller::new(endpoint.clone(), node, vec![address], time);
            let answer = caller.call(request.to_vec().into(), 1 << 20).await;
            endpoint.close().await;
            answer
        });
        // That it is there is no secret.
        assert!(
            matches!(
                answer,
                Err(CallError::Broken { .. } | CallError::Unreachable { .. })
            ),
            "{answer:?}"
        );
    }
    machine.tally(["ledger", "status"]).ok();
    machine.tally(["ledger", "settle"]).ok();
    let said: Value = serde_json::from_str(&line).expect("an object");
    let url = said["explorer"].as_str().expect("a URL");
    let host = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split('/').next())
        .expect("where it listens");
    let begun = Instant::now();
    loop {
        let mut stream = TcpStream::connect(host).expect("it listens");
        let request = format!("GET /ledger HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it is sent");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("it answers");
        if page.contains("All validators answer.") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{page}");
    }
}

#[test]
fn why_an_own_ledger_cannot_go_on_is_said_by_whoever_asks_it_and_by_the_next_run() {
    let machine = Machine::bare().settling();
    let own = OwnLedger::of(&machine);
    let receipt = machine.file("one.receipt.json", receipt("valid"));
    let submit = ["ledger", "submit", receipt.to_str().unwrap()];
    machine.tally(submit).ok();
    // Where the node has its blocks there is something else.
    let blocks = machine.path("home/ledger/own/data/store/blocks");
    let kept = machine.path("blocks");
    std::fs::rename(&blocks, &kept).expect("it is there");
    std::fs::write(&blocks, "no folder").expect("a disk");
    const REASON: &str = "cannot run the node of this machine's own ledger: the disk";
    for verb in ["status", "settle", "account"] {
        machine.tally(["ledger", verb]).exits(3).says(REASON);
    }
    // Nobody waits for the process in the background, and nobody sees what it says.
    Ended::of(agent_run(&machine, &[])).ok();
    let chain = own.chain();
    let trouble = machine.path("home/ledger/outbox");
    let trouble = trouble.join(format!("{chain}.trouble"));
    let begun = Instant::now();
    while !trouble.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not noted");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ended::of(agent_run(&machine, &[]))
        .ok()
        .says("the last try in the background failed")
        .says(REASON);
    own.settlers.kill();
    std::fs::remove_file(&blocks).expect("it is there");
    std::fs::rename(&kept, &blocks).expect("it is there");
    machine.tally(["ledger", "settle"]).ok();
    assert_eq!(own.outbox().waiting().expect("an outbox"), 0);
    assert!(!trouble.exists());
}

#[test]
fn a_run_that_nobody_asked_to_settle_answers_although_its_receipts_cannot_be_kept() {
    let machine = Machine::bare().settling();
    let own = OwnLedger::of(&machine);
    // There is room when it begins, and not for a receipt.
    let run = |settle: &[&str]| {
        let mut command = agent_run(&machine, settle);
        command.env("TALLY_OUTBOX_BYTES", "10");
        Ended::of(command)
    };
    let said = run(&[]).ok().says("receipts are not kept").json();
    assert_eq!(said["outcome"], "replied", "{said}");
    run(&["--settle", "hash"])
        .exits(3)
        .says("write the receipts to the outbox");
    // Who names it asks for it.
    run(&["--network", &own.genesis])
        .exits(3)
        .says("write the receipts to the outbox");
    assert_eq!(own.outbox().waiting().expect("an outbox"), 0);
}

#[test]
fn a_way_to_validators_of_no_network_is_misuse_and_begins_no_ledger() {
    let machine = Machine::bare().settling();
    let peer = format!("{}@127.0.0.1:4410", seed_key(1).public_key());
    let ways: [&[&str]; 3] = [
        &["--lan"],
        &["--peer", &peer],
        &["--relay", "https://relay.example"],
    ];
    for way in ways {
        machine
            .tally([&["ledger", "status"][..], way].concat())
            .exits(2)
            .says("none is named");
        Ended::of(agent_run(&machine, way))
            .exits(2)
            .says("none is named");
    }
    let own = machine.path("home/ledger/own");
    assert!(!own.exists());
    machine.tally(["ledger", "settle"]).ok();
    let genesis = own.join("genesis.toml").display().to_string();
    for way in ways {
        machine
            .tally([&["ledger", "use", &genesis][..], way].concat())
            .exits(2)
            .says("the ledger of this machine alone");
    }
    machine.tally(["ledger", "use", &genesis]).ok();
}

#[test]
fn whoever_only_looks_at_files_begins_no_ledger_and_is_told_to_name_a_network() {
    let machine = Machine::bare().settling();
    let genesis = two_validators();
    let root = leaf_hash(b"one");
    let one = machine.file("one", cosigned(&genesis, 5, root, &[1]));
    let one = one.to_str().unwrap();
    let looks: [&[&str]; 5] = [
        &["backup", "chain.tally", "--check"],
        &["restore", "chain.tally", "--data", "data"],
        &["policy"],
        &["decide", "show", "decision.toml"],
        &["evidence", one, one],
    ];
    for look in looks {
        machine
            .tally([&["ledger"][..], look].concat())
            .exits(2)
            .says("--network FILE");
    }
    assert!(!machine.path("home/ledger").exists());
    // Once there is one, it is the one that is looked at.
    machine.tally(["ledger", "settle"]).ok();
    let said = machine.tally(["ledger", "policy"]).ok();
    assert!(said.says("tolerates nobody").stdout().contains("own"));
}

#[test]
fn a_network_takes_the_place_of_the_own_ledger_which_keeps_what_it_has() {
    let machine = Machine::bare().settling();
    let own = OwnLedger::of(&machine);
    let receipt = machine.file("one.receipt.json", receipt("valid"));
    let receipt = receipt.to_str().unwrap();
    machine
        .tally(["ledger", "submit", receipt])
        .ok()
        .says("tolerates nobody");
    own.outbox()
        .append(&[Record {
            form: Form::Hash,
            receipt: b"it waits".to_vec(),
        }])
        .expect("a disk");
    let dir = machine.path("devnet");
    devnet_files(&machine, 4, &dir);
    let network = dir.join("genesis.toml").display().to_string();
    machine
        .tally(["ledger", "use", &network])
        .ok()
        .says("stays there")
        .says("(now: 1)");
    let policy = machine.tally(["ledger", "policy"]).ok();
    assert!(policy.stdout().contains("/v3"), "{}", policy.stdout());
    // It can still be named.
    let proof = machine.path("one.proof").display().to_string();
    let prove = ["ledger", "prove", receipt, "--out", &proof];
    let named = ["--network", &own.genesis];
    machine.tally([&prove[..], &named].concat()).ok();
    machine.tally(["ledger", "use", &network, "--own"]).exits(2);
    machine.tally(["ledger", "use"]).exits(2);
    machine
        .tally(["ledger", "use", "--own"])
        .ok()
        .says("tolerates nobody");
    machine.tally(prove).ok();
    machine.tally(["ledger", "settle"]).ok();
    assert_eq!(own.outbox().waiting().expect("an outbox"), 0);
}

#[test]
fn a_node_says_its_warnings_unasked_and_as_objects_where_that_is_asked() {
    let machine = Machine::bare();
    let dir = machine.path("devnet");
    devnet_files(&machine, 1, &dir);
    let node = |format: Option<&str>| {
        let mut command = machine.command();
        command
            .args(["node", "--role", "validator", "--until-stdin-ends"])
            .args(["--listen", "127.0.0.1:0", "--key"])
            .arg(machine.path("stranger.key"))
            .arg("--genesis")
            .arg(dir.join("genesis.toml"))
            .arg("--data")
            .arg(machine.path("stranger"));
        if let Some(format) = format {
            command.env("TALLY_LOG_FORMAT", format);
        }
        Ended::of(command)
    };
    const WARNING: &str = "genesis does not have this key";
    node(None).ok().says(WARNING);
    let said = node(Some("json")).ok().stderr();
    let line = said
        .lines()
        .find(|line| line.contains(WARNING))
        .unwrap_or_else(|| panic!("{said}"));
    let event: Value = serde_json::from_str(line).expect("an object");
    assert_eq!(event["level"], "WARN");
    node(Some("xml")).exits(2).says("TALLY_LOG_FORMAT");
}

fn seed_key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

/// A genesis of two validators whose keys for checkpoints are known: 101 and 102.
fn two_validators() -> Genesis {
    let validator = |number: u8| Validator {
        vote_key: seed_key(number).public_key(),
        checkpoint_key: seed_key(100 + number).public_key(),
        name: Name::new(&format!("v{number}")).expect("a name"),
    };
    Genesis {
        name: Name::new("harbour").expect("a name"),
        time: Timestamp::from_unix_ms(0).expect("1970"),
        parameters: Parameters::default(),
        validators: ValidatorSet::new(vec![validator(1), validator(2)]).expect("two"),
        addresses: vec![Vec::new(); 2],
        accounts: Vec::new(),
        faucet: None,
    }
    .checked()
    .expect("it is one")
}

/// A checkpoint of a genesis' log, cosigned by these of its validators.
fn cosigned(genesis: &Genesis, size: u64, root: Hash, validators: &[u8]) -> String {
    let origin = genesis.log_origin();
    let mut checkpoint = Checkpoint {
        origin: origin.clone(),
        size,
        root,
    }
    .unsigned();
    for number in validators {
        let name = Name::new(&format!("v{number}")).expect("a name");
        checkpoint.cosign(
            &cosigner_name(&origin, &name),
            &seed_key(100 + number),
            UnixSeconds(1_790_000_000),
        );
    }
    checkpoint.to_string()
}

/// The same, signed as the log by the first of them.
fn signed(genesis: &Genesis, size: u64, root: Hash, validators: &[u8]) -> String {
    let text = cosigned(genesis, size, root, validators);
    let mut checkpoint = SignedCheckpoint::parse(text.as_bytes()).expect("a checkpoint");
    checkpoint.sign(&seed_key(100 + validators[0]));
    checkpoint.to_string()
}

#[test]
fn checkpoints_count_by_who_signed_them_alone_and_where_two_are_compared() {
    let machine = Machine::bare();
    let genesis = two_validators();
    let genesis_file = machine.file("genesis.toml", genesis.to_toml());
    let genesis_file = genesis_file.to_str().expect("UTF-8");
    let leaves: Vec<[u8; 2]> = (0..20u16).map(u16::to_be_bytes).collect();
    let log = machine.path("log");
    let mut tiler = Tiler::new();
    let all = leaves.iter().map(<[u8; 2]>::as_slice);
    for tile in tiler.append(all).expect("short entries") {
        let path = log.join(tile.resource.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, tile.bytes).unwrap();
    }
    let file = |name: &str, size: usize, validators: &[u8]| {
        let mut frontier = Frontier::new();
        frontier.extend(leaves[..size].iter().map(|leaf| leaf_hash(leaf)));
        let text = signed(&genesis, size as u64, frontier.root(), validators);
        machine.file(name, text).display().to_string()
    };
    let (old, new) = (file("old", 8, &[1, 2]), file("new", 20, &[1, 2]));
    // One of the two made it up, with the files that go with it.
    let forged = file("forged", 20, &[1]);

    let by_genesis = ["--genesis", genesis_file];
    let verify =
        |file: &str, given: &[&str]| machine.tally([&["verify", file][..], given].concat());
    let said = verify(&old, &["--genesis", genesis_file, "--json"]).ok();
    assert_eq!(said.json()["files"][0]["size"], 8);
    verify(&forged, &by_genesis)
        .exits(1)
        .says("1 of the 2 cosigners");
    verify(&old, &[]).exits(1).says("believing nobody");
    let mut altered = std::fs::read(&old).expect("it was written");
    let end = altered.len() - 3;
    altered[end] ^= 1;
    let altered = machine.file("altered", altered).display().to_string();
    verify(&altered, &by_genesis).exits(1);

    let tiles = log.display().to_string();
    let compare = |new: &str, given: &[&str]| {
        let files = ["ledger", "consistency", old.as_str(), new];
        machine.tally([&files[..], &["--tiles", &tiles], given].concat())
    };
    compare(&new, &by_genesis).ok().says("have signed both");
    compare(&forged, &[]).ok().says("was not looked at");
    compare(&forged, &by_genesis)
        .exits(1)
        .says("1 of the 2 cosigners");

    // Others validate by then: a policy of each time.
    let later = file("later", 20, &[3, 4]);
    let [three, four] = [3, 4].map(|number| Validator {
        vote_key: seed_key(number).public_key(),
        checkpoint_key: seed_key(100 + number).public_key(),
        name: Name::new(&format!("v{number}")).expect("a name"),
    });
    let others = ValidatorSet::new(vec![three, four]).expect("two");
    let policies = [
        genesis.log_policy_text(),
        policy_text(&genesis.log_origin(), &others),
    ];
    let mut number = 0;
    let [first, second] = policies.map(|policy| {
        number += 1;
        let name = format!("{number}.policy");
        machine.file(&name, policy).display().to_string()
    });
    compare(&later, &["--log-policy", &first]).exits(1);
    compare(&later, &["--log-policy", &second]).exits(1);
    compare(&later, &["--log-policy", &first, "--log-policy", &second]).ok();
    compare(
        &later,
        &["--genesis", genesis_file, "--log-policy", &second],
    )
    .ok();
}

#[test]
fn two_checkpoints_of_one_size_are_evidence_against_whoever_signed_both() {
    let machine = Machine::bare();
    let genesis = two_validators();
    let genesis_file = machine.file("genesis.toml", genesis.to_toml());
    let genesis_file = genesis_file.to_str().unwrap();
    let file = |name: &str, size, leaf: &[u8], validators: &[u8]| {
        let text = cosigned(&genesis, size, leaf_hash(leaf), validators);
        machine.file(name, text).display().to_string()
    };
    let mine = file("mine", 5, b"one", &[1, 2]);
    let theirs = file("theirs", 5, b"another", &[2]);
    let later = file("later", 6, b"later", &[1, 2]);
    let out = machine.path("found").display().to_string();
    let made = |one: &str, other: &str| {
        machine.tally([
            "ledger",
            "evidence",
            one,
            other,
            "--network",
            genesis_file,
            "--out",
            &out,
            "--json",
        ])
    };
    let said = made(&mine, &theirs).ok().json();
    let files = said["files"].as_array().expect("a list");
    assert_eq!(files.len(), 1, "{said}");
    let evidence = files[0]["evidence"].as_str().expect("a path");
    machine
        .tally(["verify", evidence, "--genesis", genesis_file])
        .ok()
        .says("the checkpoints were signed by")
        .says("/v2");
    // The same file, however often and in whatever order.
    assert_eq!(made(&theirs, &mine).ok().json(), said);
    made(&mine, &mine).exits(1);
    let apart = machine.tally([
        "ledger",
        "evidence",
        &mine,
        &later,
        "--network",
        genesis_file,
        "--out",
        &out,
    ]);
    apart.exits(1).says("tally ledger consistency");
    // By a key that is named, and signed only one of them.
    let policy = genesis.log_policy_text();
    for line in policy.lines().filter(|line| line.starts_with("witness ")) {
        let key = line.rsplit(' ').next().expect("a key");
        let is_second = key.contains("/v2+");
        let ended = machine.tally([
            "ledger", "evidence", &mine, &theirs, "--key", key, "--out", &out,
        ]);
        ended.exits(i32::from(!is_second));
    }
}

#[test]
fn a_log_extends_its_older_checkpoints_and_nobody_elses() {
    let machine = Machine::bare();
    let genesis = two_validators();
    let entries: Vec<[u8; 2]> = (0..700u16).map(u16::to_be_bytes).collect();
    let root_of = |count: usize, altered: Option<usize>| {
        let mut frontier = Frontier::new();
        frontier.extend((0..count).map(|place| match altered {
            Some(altered) if altered == place => leaf_hash(b"altered"),
            _ => leaf_hash(&entries[place]),
        }));
        frontier.root()
    };
    // As a node leaves them that had a checkpoint at 600 and at 700.
    let log = machine.path("log");
    let mut tiler = Tiler::new();
    for stretch in [0..600, 600..700] {
        let stretch = entries[stretch].iter().map(<[u8; 2]>::as_slice);
        for tile in tiler.append(stretch).expect("short entries") {
            let path = log.join(tile.resource.path());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, tile.bytes).unwrap();
        }
    }
    let file = |name: &str, size: usize, altered| {
        let root = root_of(size, altered);
        let text = cosigned(&genesis, size as u64, root, &[1]);
        machine.file(name, text).display().to_string()
    };
    std::fs::write(
        log.join("checkpoint"),
        cosigned(&genesis, 700, root_of(700, None), &[1]),
    )
    .unwrap();
    let today = log.join("checkpoint").display().to_string();
    let compare = |old: &str, new: &str, tiles: bool| {
        let mut args = vec!["ledger", "consistency", old, new];
        let dir = log.display().to_string();
        if tiles {
            args.extend(["--tiles", &dir]);
        }
        machine.tally(args)
    };
    for size in [0, 1, 256, 300, 512, 600, 699, 700] {
        let old = file("old", size, None);
        compare(&old, &today, false).ok().says("extends");
        if size > 0 {
            let old = file("altered", size, Some(size / 2));
            compare(&old, &today, false)
                .exits(1)
                .says("does not extend");
        }
    }
    // Between the files of a node's own checkpoints: later ones have what is needed.
    let between = file("between", 650, None);
    compare(&file("old", 300, None), &between, true).ok();
    compare(&today, &between, true)
        .exits(2)
        .says("older checkpoint first");
    // Another history, of which there are no tiles here, is not judged by ours.
    let foreign = file("foreign", 650, Some(3));
    compare(&file("old", 300, None), &foreign, true).exits(3);
    compare(&file("old", 300, None), &foreign, false).exits(3);
}

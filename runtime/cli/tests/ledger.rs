//! A ledger through the program: processes started by `tally devnet`, receipts settled, proved and checked offline.

mod support;

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::Machine;

/// A network of this machine's processes; they end with it.
struct Devnet {
    child: Child,
    stdin: ChildStdin,
    genesis: String,
}

impl Devnet {
    fn start(machine: &Machine, validators: &str) -> Self {
        let mut child = machine
            .command()
            .args(["devnet", "--json", "--validators", validators, "--dir"])
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
            child,
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("it listens");
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        // `quit` ends the validators too; a kill of this process alone would leave them.
        self.say("quit");
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
    // One may be away.
    devnet.say("kill 2");
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
    drop(devnet);

    // Offline from here on.
    let genesis = machine.path("devnet/genesis.toml");
    for proof in [&proof, &second_proof] {
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
fn without_a_network_nothing_is_settled_and_asking_for_it_is_misuse() {
    let machine = Machine::bare();
    machine.tally(["ledger", "status", "--json"]).exits(2);
    assert!(!machine.path("home/ledger/outbox").exists());
}

//! Two devices bring their copies of a vault in step over real QUIC: through the program, two homes, one ticket.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{Ended, Machine};
use tally_link::{Address, Config, Link, NodeSecret, Ticket};
use tokio::io::AsyncWriteExt as _;

const PASSPHRASE: &str = "correct horse battery staple";
const LOOPBACK: &str = "127.0.0.1:0";

/// `tally vault …` on a machine, with the passphrase on descriptor 3.
fn command(machine: &Machine, args: &[&str]) -> Command {
    let pass = machine.file("passphrase", PASSPHRASE);
    let inner = machine.command();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "exec \"$0\" vault \"$@\" 3<\"$PASS\""])
        .arg(inner.get_program())
        .args(args);
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.env("PASS", pass).stdin(Stdio::null());
    shell
}

fn vault(machine: &Machine, args: &[&str]) -> Ended {
    Ended::of(command(
        machine,
        &[args, &["--passphrase-fd", "3"]].concat(),
    ))
}

/// A device that waits for others, and the ticket it printed.
struct Waiting {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    ticket: String,
}

impl Waiting {
    fn begin(machine: &Machine, more: &[&str]) -> Self {
        let args = [
            &["sync", "--json", "--bind", LOOPBACK, "--passphrase-fd", "3"],
            more,
        ]
        .concat();
        let mut child = command(machine, &args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let first: Value = line(&mut lines);
        let ticket = first["ticket"]
            .as_str()
            .expect("it prints a ticket first")
            .to_owned();
        Self {
            child,
            lines,
            ticket,
        }
    }

    /// The next thing it says.
    fn says(&mut self) -> Value {
        line(&mut self.lines)
    }

    /// It ends by itself, well.
    fn ends(mut self) {
        assert!(self.child.wait().expect("it is ours").success());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Value {
    let text = lines
        .next()
        .expect("it says something")
        .expect("its stdout can be read");
    serde_json::from_str(&text).expect("each line is one JSON value")
}

/// The texts of all records of the namespace `memory`, sorted.
fn texts(machine: &Machine) -> Vec<String> {
    let answer = vault(machine, &["get", "--json", "--namespace", "memory"])
        .ok()
        .json();
    let mut texts: Vec<String> = answer["records"]
        .as_array()
        .expect("records are a list")
        .iter()
        .map(|record| record["text"].as_str().unwrap_or_default().to_owned())
        .collect();
    texts.sort();
    texts
}

fn init(machine: &Machine) {
    let work = ["--work-memory", "64", "--work-passes", "2"];
    vault(machine, &[&["init", "--json"], &work[..]].concat()).ok();
}

/// Two computers with one vault, which was carried over in a file.
fn two_devices() -> (Machine, Machine) {
    let (home, laptop) = (Machine::bare(), Machine::bare());
    init(&home);
    vault(&home, &["add", "before the journey"]).ok();
    let file = home.path("carried.tvault");
    let file = file.to_str().expect("the path is UTF-8");
    vault(&home, &["export", file]).ok();
    vault(&laptop, &["import", file]).ok();
    (home, laptop)
}

fn sync(machine: &Machine, ticket: &str) -> Ended {
    vault(machine, &["sync", ticket, "--json", "--bind", LOOPBACK])
}

#[test]
fn two_devices_that_both_wrote_show_the_same() {
    let (home, laptop) = two_devices();
    vault(&home, &["add", "at home"]).ok();
    vault(&laptop, &["add", "on the road"]).ok();
    let large = laptop.file("large.txt", "a long story ".repeat(40_000));
    vault(
        &laptop,
        &[
            "add",
            "--file",
            large.to_str().expect("UTF-8"),
            "--type",
            "text/plain",
        ],
    )
    .ok();

    let mut waiting = Waiting::begin(&home, &[]);
    // While it waits the vault can be written.
    vault(&home, &["add", "while waiting"]).ok();
    let ticket = waiting.ticket.clone();
    let report = sync(&laptop, &ticket).ok().json();
    assert_eq!(report["went"]["blobs"], 1, "{report}");
    assert!(report["came"]["frames"].as_u64() >= Some(2), "{report}");
    let other = waiting.says();
    assert_eq!(other["bytes_received"], report["bytes_sent"]);
    waiting.ends();

    let all = texts(&home);
    assert_eq!(all, texts(&laptop));
    assert_eq!(all.len(), 5);
    assert!(all.contains(&"on the road".to_owned()) && all.contains(&"while waiting".to_owned()));
    vault(&home, &["check"]).ok();
    vault(&laptop, &["check"]).ok();
}

#[test]
fn a_ticket_that_leads_elsewhere_is_named_as_such() {
    let (home, laptop) = two_devices();
    sync(&laptop, "tally-nonsense").exits(2).says("ticket");
    let stranger = Machine::bare();
    init(&stranger);
    let elsewhere = Waiting::begin(&stranger, &[]);
    sync(&laptop, &elsewhere.ticket).exits(2).says("--vault");
    drop(elsewhere);

    // Nobody is there any more.
    let gone = Waiting::begin(&home, &[]).ticket.clone();
    sync(&laptop, &gone).exits(3).says("still waiting");
    // Its own ticket.
    let own = Waiting::begin(&home, &[]);
    sync(&home, &own.ticket).exits(2).says("this very device");
}

#[test]
fn whoever_is_no_member_gets_nothing_and_an_agent_gets_its_share() {
    let home = Machine::bare();
    init(&home);
    vault(&home, &["add", "for nobody else"]).ok();
    let agents = Machine::bare();
    let copy = agents.path("copy");
    let copy = copy.to_str().expect("UTF-8");
    // The agent's key is made for this vault; its card would be shared next.
    let source = home.path("home").join("vault");
    let card = |machine: &Machine, vault: &Path| {
        let args = [
            "card",
            "--agent",
            "planner",
            "--json",
            "--vault",
            vault.to_str().expect("UTF-8"),
        ];
        Ended::of(command(machine, &args)).ok().json()["card"]
            .as_str()
            .expect("a card")
            .to_owned()
    };
    let planner = card(&agents, &source);

    let mut waiting = Waiting::begin(&home, &[]);
    let ticket = waiting.ticket.clone();
    let args = [
        "sync", &ticket, "--json", "--bind", LOOPBACK, "--as", "planner", "--vault", copy,
    ];
    Ended::of(command(&agents, &args))
        .exits(1)
        .says("no member");
    assert!(
        !Path::new(copy).join("VAULT").exists(),
        "not even the genesis"
    );
    // Whoever is no member has the vault held for it once in a while and not as often as it likes, and is told so.
    Ended::of(command(&agents, &args))
        .exits(3)
        .says("once a minute");
    let said = waiting.says();
    assert!(
        said["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("no member")),
        "{said}"
    );

    // It goes on waiting; meanwhile the owner shares.
    vault(
        &home,
        &[
            "share",
            "--card",
            &planner,
            "--name",
            "planner",
            "memory=read",
        ],
    )
    .ok();
    Ended::of(command(&agents, &args)).ok();
    assert!(waiting.says()["peer"].is_string());
    waiting.ends();
    let got = Ended::of(command(
        &agents,
        &["get", "--json", "--as", "planner", "--vault", copy],
    ))
    .ok()
    .json();
    assert_eq!(got["records"][0]["text"], "for nobody else", "{got}");
}

#[test]
fn a_device_that_is_killed_in_the_middle_goes_on() {
    let (home, laptop) = two_devices();
    for number in 0..3 {
        let large = home.file("large.bin", vec![number; 12_000_000]);
        vault(
            &home,
            &[
                "add",
                "--file",
                large.to_str().expect("UTF-8"),
                "--type",
                "application/octet-stream",
            ],
        )
        .ok();
    }
    vault(&laptop, &["add", "on the road"]).ok();
    let waiting = Waiting::begin(&home, &["--listen"]);
    let part = |machine: &Machine| -> u64 {
        let folder = machine.path("home").join("vault/blob");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .sum()
    };
    let mut killed = 0;
    let mut wanted = 0;
    for _ in 0..3 {
        let args = [
            "sync",
            &waiting.ticket,
            "--bind",
            LOOPBACK,
            "--passphrase-fd",
            "3",
        ];
        let mut child = command(&laptop, &args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        wanted += 3_000_000;
        // As soon as there is more than the last time: in the middle of a large content.
        while part(&laptop) < wanted && child.try_wait().expect("it is ours").is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        if child.try_wait().expect("it is ours").is_none() {
            child.kill().expect("it can be killed");
            killed += 1;
        }
        child.wait().expect("it is ours");
        wanted = part(&laptop);
        vault(&laptop, &["status"]).ok();
    }
    assert!(killed > 0, "it was never killed in the middle");
    let kept = part(&laptop);
    assert!(kept > 0, "what had arrived is kept");
    let report = sync(&laptop, &waiting.ticket).ok().json();
    let came = report["bytes_received"].as_u64().expect("a number");
    assert!(
        came < 36_100_000 - kept + 400_000,
        "{came} bytes came, {kept} were there: {report}"
    );
    drop(waiting);
    assert_eq!(texts(&home), texts(&laptop));
    vault(&laptop, &["check"]).ok();
    vault(&home, &["check"]).ok();
}

#[test]
fn a_device_that_proves_to_be_a_member_leaves_the_place_of_who_is_none_to_the_next() {
    let (home, laptop) = two_devices();
    let desk = Machine::bare();
    let file = home.path("carried.tvault");
    vault(&desk, &["import", file.to_str().expect("UTF-8")]).ok();
    let waiting = Waiting::begin(&home, &["--listen"]);
    // Both have enrolled themselves, which nobody has heard of there.
    sync(&laptop, &waiting.ticket).ok();
    sync(&desk, &waiting.ticket).ok();
    drop(waiting);
    // `tally vault check` would name a fork: both enrolled themselves with one key, out of one file.
    assert_eq!(texts(&home), texts(&desk));
}

#[test]
fn whoever_calls_and_proves_nothing_keeps_neither_this_computer_nor_other_devices_waiting() {
    let (home, laptop) = two_devices();
    let waiting = Waiting::begin(&home, &["--listen"]);
    let ticket: Ticket = waiting.ticket.parse().expect("a ticket");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let strangers = runtime.block_on(async {
        let secret = NodeSecret::derive(&[77; 32]);
        let link = Link::bind(&secret, Config::loopback())
            .await
            .expect("loopback binds");
        let mut channels = Vec::new();
        // More than are heard at once. Each says the first byte of a hello.
        for _ in 0..12 {
            let mut channel = link.dial(&ticket).await.expect("it listens");
            channel.write_all(&[1]).await.expect("a window");
            channels.push(channel);
        }
        (link, channels)
    });
    for _ in 0..3 {
        vault(&home, &["add", "while somebody says nothing"]).ok();
    }
    sync(&laptop, &waiting.ticket).ok();
    assert_eq!(texts(&home), texts(&laptop));
    let _in_runtime = runtime.enter();
    drop(strangers);
}

#[test]
fn a_relay_that_does_not_answer_keeps_nobody_from_a_direct_way_and_none_is_used_that_only_a_ticket_names()
 {
    let (home, laptop) = two_devices();
    for wrong in ["relay.example", "ftp://relay.example"] {
        vault(&home, &["sync", "--relay", wrong])
            .exits(2)
            .says("https://relay.example");
    }
    // Nobody listens there.
    let relay = "http://127.0.0.1:1/";
    let waiting = Waiting::begin(&home, &["--relay", relay]);
    let ticket = waiting.ticket.clone();
    let args = ["sync", &ticket, "--bind", LOOPBACK, "--relay", relay];
    vault(&laptop, &args).ok();
    waiting.ends();

    let lost = Ticket {
        node: NodeSecret::derive(&[78; 32]).node(),
        vault: None,
        addresses: vec![Address::Relay(relay.to_owned())],
    };
    sync(&laptop, &lost.to_string())
        .exits(3)
        .says(&format!("--relay {relay}"));
}

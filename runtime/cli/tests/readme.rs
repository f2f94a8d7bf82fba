//! What the README tells somebody to type works as it stands there, in the order in which it stands there.

mod support;

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::vaults::{PASSPHRASE, with_secrets};
use support::{Ended, Machine, checkout, component};
use tally_receipt::SigningKey;

const AGENTS: &str = "Use it";
const LEDGER: &str = "A ledger that nobody has to believe";
const VAULT: &str = "Your memory, in a vault";
const MEMORY: &str = "What it remembers";

/// Commands that begin so are not typed here.
const LEFT: [&str; 8] = [
    // What a test runs in is built by then.
    "make ",
    "export PATH=",
    // These take a network, and the model that comes over it.
    "tally model pull ",
    "tally model default ",
    // These run until somebody ends them: the first beside the commands that need it, the others in tests of their own.
    "tally devnet ",
    "tally serve ",
    "tally memory mcp ",
    // This takes what somebody has exported.
    "tally memory import ",
];

/// Somebody at a terminal, who answers what is asked there: for the passphrase, and for what an agent may do.
const AT_THE_TERMINAL: &str = r#"
tally() {
    case "$1 ${2-}" in
    "vault init") "$TALLY" "$@" --passphrase-fd 3 --phrase-fd 4 --work-memory 64 --work-passes 2 3<"$PASS" 4>"$PHRASE" ;;
    vault\ * | memory\ *) "$TALLY" "$@" --passphrase-fd 3 3<"$PASS" ;;
    run\ *) "$TALLY" "$@" --grant-asked ;;
    *) "$TALLY" "$@" ;;
    esac
}
"#;

/// The commands of the README, each with the heading that it stands under.
fn all() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(checkout().join("README.md")).expect("it is there");
    let (mut heading, mut is_shell, mut found) = (String::new(), false, Vec::new());
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("```") {
            is_shell = kind == "sh";
        } else if is_shell {
            found.push((heading.clone(), line.to_owned()));
        } else if let Some(name) = line.strip_prefix("## ") {
            name.clone_into(&mut heading);
        }
    }
    found
}

fn is_left(command: &str) -> bool {
    LEFT.iter().any(|begin| command.starts_with(begin))
}

/// What is to be typed of that which stands under a heading.
fn under(heading: &str) -> Vec<String> {
    all()
        .into_iter()
        .filter(|(under, command)| under == heading && !is_left(command))
        .map(|(_, command)| command)
        .collect()
}

/// Types one command in a folder.
fn typed(machine: &Machine, folder: &Path, command: &str) -> Ended {
    let tally = machine.command();
    let mut shell = Command::new("bash");
    shell
        .args(["-euc", &format!("{AT_THE_TERMINAL}\n{command}")])
        .current_dir(folder)
        .stdin(Stdio::null())
        .env("TALLY", tally.get_program())
        .env("PASS", machine.file("passphrase", PASSPHRASE))
        .env("PHRASE", machine.path("phrase"));
    for (name, value) in tally.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    Ended::of(shell)
}

/// A ledger on this machine, in a folder; it ends with this.
struct Devnet(Child);

impl Devnet {
    fn start(machine: &Machine, folder: &Path) -> Self {
        let child = machine
            .command()
            .args(["devnet", "--json"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut this = Self(child);
        let mut line = String::new();
        BufReader::new(this.0.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("in UTF-8");
        let genesis = folder.join("devnet/genesis.toml");
        let genesis = genesis.to_str().expect("UTF-8");
        let status = ["ledger", "status", "--network", genesis, "--json"];
        let begun = Instant::now();
        while !all_answer(&machine.tally(status).json()) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{line}");
        }
        this
    }
}

fn all_answer(status: &Value) -> bool {
    let validators = status["validators"].as_array();
    validators.is_some_and(|all| all.iter().all(|one| one["error"].is_null()))
}

impl Drop for Devnet {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            // It may have ended.
            let _ = writeln!(stdin, "quit");
        }
        let _ = self.0.wait();
    }
}

#[test]
fn an_agent_is_made_run_replayed_and_verified_and_its_receipt_settled_and_proved() {
    let machine = Machine::bare();
    let mut folder = machine.path("typed");
    std::fs::create_dir(&folder).expect("the temporary folder can be written");
    for command in under(AGENTS) {
        let mut command = command.as_str();
        if let Some((into, then)) = command
            .strip_prefix("cd ")
            .and_then(|rest| rest.split_once(" && "))
        {
            folder.push(into);
            command = then;
        }
        let ended = typed(&machine, &folder, command).ok();
        if command.starts_with("tally replay ") {
            ended.says("identical");
        }
    }
    let _devnet = Devnet::start(&machine, &folder);
    let other = SigningKey::from_seed(&[7; 32]).public_key().to_string();
    for command in under(LEDGER) {
        typed(&machine, &folder, &command.replace("3b6a27bc…", &other)).ok();
    }
}

#[test]
fn a_vault_is_made_and_shared_and_its_memory_told_searched_corrected_and_forgotten() {
    let machine = Machine::bare();
    let folder = machine.path("typed");
    let cache = machine.path("cache");
    for made in [&folder, &cache.join("components"), &cache.join("models")] {
        std::fs::create_dir_all(made).expect("the temporary folder can be written");
    }
    for agent in ["trip-brief", "remember-and-ask"] {
        let place = cache.join("components").join(format!("{agent}.wasm"));
        std::os::unix::fs::symlink(component(agent), place).expect("a link can be made");
    }
    machine.file(
        "cache/models/tally-recall.q8_0.gguf",
        tally_seed_model::embedding_model(tally_seed_model::SEED),
    );
    let cache = cache.to_str().expect("UTF-8");
    let mut fact = None;
    for command in [under(VAULT), under(MEMORY)].concat() {
        let mut command = command.replace("~/.cache/tally", cache);
        if command.contains("3f2a…") {
            let id = fact.get_or_insert_with(|| first_fact(&machine));
            command = command.replace("3f2a…", id);
        }
        let ended = typed(&machine, &folder, &command).ok();
        if command.starts_with("tally vault check") {
            ended.says("sound");
        } else if command.starts_with("tally memory search 'what am I allergic to?'") {
            ended.says("peanuts");
        }
    }
}

/// The beginning of the id of a fact that was learnt.
fn first_fact(machine: &Machine) -> String {
    let show = ["memory", "show", "--json", "--passphrase-fd", "3"];
    let shown = with_secrets(machine, &show, None).ok().json();
    let facts = shown["memories"].as_array().expect("memories are listed");
    let fact = facts.iter().find(|one| one["kind"] == "fact");
    let id = fact.and_then(|one| one["id"].as_str());
    id.unwrap_or_else(|| panic!("nothing was learnt: {shown:#}"))[..12].to_owned()
}

#[test]
fn whatever_the_readme_tells_to_type_is_typed_here_or_left_for_a_reason() {
    let all = all();
    let headings = [AGENTS, LEDGER, VAULT, MEMORY];
    for (heading, command) in &all {
        // What an agent is shared is in the story of the vault.
        let is_typed =
            headings.contains(&heading.as_str()) || command.starts_with("tally vault share ");
        assert!(is_typed || is_left(command), "{heading}: {command}");
    }
    for heading in headings {
        assert!(!under(heading).is_empty(), "{heading}");
    }
    for begin in LEFT {
        let is_there = all.iter().any(|(_, command)| command.starts_with(begin));
        assert!(is_there, "{begin} is not in the README");
    }
}

//! Agents in each language: made, built, inspected, run, replayed, tested; and agents that call tools.

mod support;

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use support::{Ended, Machine, component};

const WISH: &str = "Budget: 400\n- museum tickets 2 x 18.50\n- dinner 64\n- train 39.90\n";

fn run_with_tool(machine: &Machine, journal: &Path) -> Ended {
    machine.tally([
        OsStr::new("run"),
        component("plan-with-a-tool").as_os_str(),
        "--input".as_ref(),
        WISH.as_ref(),
        "--tool".as_ref(),
        component("text-tools").as_os_str(),
        "--grant-asked".as_ref(),
        "--journal".as_ref(),
        journal.as_os_str(),
        "--json".as_ref(),
    ])
}

#[test]
fn an_embedding_model_that_is_named_and_is_not_there_ends_the_run_before_it_begins() {
    let machine = Machine::with_model();
    machine
        .tally([
            OsStr::new("run"),
            component("answer-with-sources").as_os_str(),
            "--input".as_ref(),
            "Which?".as_ref(),
            "--embedding".as_ref(),
            "no-such-model".as_ref(),
            "--grant-asked".as_ref(),
        ])
        .exits(2)
        .says("no-such-model");
}

fn a_new_agent_builds_runs_and_replays(lang: &str) {
    let machine = Machine::with_model();
    let name = format!("my-{lang}");
    machine
        .tally([
            OsStr::new("agent"),
            "new".as_ref(),
            name.as_ref(),
            "--lang".as_ref(),
            lang.as_ref(),
            "--dir".as_ref(),
            machine.path("").as_os_str(),
        ])
        .ok();
    let project = machine.path(&name);
    machine
        .tally([OsStr::new("agent"), "build".as_ref(), project.as_os_str()])
        .ok();
    let agent = project.join(format!("{name}.wasm"));

    let asked = machine
        .tally([
            OsStr::new("agent"),
            "inspect".as_ref(),
            agent.as_os_str(),
            "--json".as_ref(),
        ])
        .ok()
        .json();
    assert_eq!(asked["kind"], "agent");
    assert!(
        asked["manifest"].is_object(),
        "a built agent carries its manifest: {asked:#}"
    );

    let journal = machine.path("run.tally");
    let said = machine
        .tally([
            OsStr::new("run"),
            agent.as_os_str(),
            "--input".as_ref(),
            "hello".as_ref(),
            "--grant-asked".as_ref(),
            "--journal".as_ref(),
            journal.as_os_str(),
            "--json".as_ref(),
        ])
        .ok()
        .json();
    assert_eq!(said["outcome"], "replied", "{said:#}");
    let tested = machine
        .tally([
            OsStr::new("agent"),
            "test".as_ref(),
            agent.as_os_str(),
            journal.as_os_str(),
        ])
        .ok();
    tested.says("1 passed, 0 failed");
}

#[test]
fn a_new_agent_in_rust_builds_runs_and_replays() {
    a_new_agent_builds_runs_and_replays("rust");
}

#[test]
fn a_new_agent_in_python_builds_runs_and_replays() {
    a_new_agent_builds_runs_and_replays("python");
}

#[test]
fn a_new_agent_in_javascript_builds_runs_and_replays() {
    a_new_agent_builds_runs_and_replays("js");
}

#[test]
fn a_new_agent_never_touches_what_is_there() {
    let machine = Machine::bare();
    std::fs::create_dir(machine.path("mine")).expect("a folder can be made");
    let inside = machine.file("mine/precious", "x");
    machine
        .tally([
            OsStr::new("agent"),
            "new".as_ref(),
            "mine".as_ref(),
            "--lang".as_ref(),
            "js".as_ref(),
            "--dir".as_ref(),
            machine.path("").as_os_str(),
        ])
        .exits(2)
        .says("mine");
    assert_eq!(std::fs::read(inside).expect("it is still there"), b"x");
}

#[test]
fn a_tool_is_executed_again_on_replay_or_said_to_be_taken_as_recorded() {
    let machine = Machine::with_model();
    let journal = machine.path("plan.tally");
    let said = run_with_tool(&machine, &journal);
    assert!([0, 1].contains(&said.code()), "{}", said.stderr());
    let (agent, tool) = (component("plan-with-a-tool"), component("text-tools"));
    let replay = |tool: Option<&PathBuf>| {
        let mut args = vec![
            OsStr::new("replay"),
            journal.as_os_str(),
            "--agent".as_ref(),
            agent.as_os_str(),
            "--json".as_ref(),
        ];
        if let Some(tool) = tool {
            args.extend([OsStr::new("--tool"), tool.as_os_str()]);
        }
        machine.tally(args).ok().json()
    };
    let recorded = replay(None)["tools_as_recorded"].as_array().map(Vec::len);
    let executed = replay(Some(&tool))["tools_as_recorded"]
        .as_array()
        .map(Vec::len);
    assert_eq!(executed, Some(0));
    assert!(
        recorded > Some(0),
        "the agent called no tool: {}",
        said.stdout()
    );
}

#[test]
fn another_plugin_than_the_recorded_one_is_refused() {
    let machine = Machine::with_model();
    let journal = machine.path("plan.tally");
    run_with_tool(&machine, &journal);
    machine
        .tally([
            OsStr::new("replay"),
            journal.as_os_str(),
            "--agent".as_ref(),
            component("plan-with-a-tool").as_os_str(),
            "--tool".as_ref(),
            component("bench-guest").as_os_str(),
        ])
        .exits(2)
        .says("not a tool plugin");
}

#[test]
fn a_branch_goes_on_live_from_an_entry_into_a_journal_of_its_own() {
    let machine = Machine::with_model();
    let agent = component("bench-guest");
    let journal = machine.path("parent.tally");
    machine
        .tally([
            OsStr::new("run"),
            agent.as_os_str(),
            "--input".as_ref(),
            "x".as_ref(),
            "--grant-asked".as_ref(),
            "--journal".as_ref(),
            journal.as_os_str(),
        ])
        .ok();
    let child = machine.path("child.tally");
    machine
        .tally([
            OsStr::new("replay"),
            journal.as_os_str(),
            "--agent".as_ref(),
            agent.as_os_str(),
            "--branch-from".as_ref(),
            "1".as_ref(),
            "--grant-asked".as_ref(),
            "--journal".as_ref(),
            child.as_os_str(),
        ])
        .ok();
    machine
        .tally([OsStr::new("verify"), child.as_os_str()])
        .ok();
    machine
        .tally([
            OsStr::new("replay"),
            child.as_os_str(),
            "--agent".as_ref(),
            agent.as_os_str(),
        ])
        .ok();
    let parent = machine
        .tally([
            OsStr::new("replay"),
            journal.as_os_str(),
            "--view".as_ref(),
            "--json".as_ref(),
        ])
        .ok()
        .json();
    let branch = machine
        .tally([
            OsStr::new("replay"),
            child.as_os_str(),
            "--view".as_ref(),
            "--json".as_ref(),
        ])
        .ok()
        .json();
    assert_eq!(
        parent["entries"][1]["response"], branch["entries"][1]["response"],
        "the first call is the parent's"
    );
    assert_ne!(
        parent["entries"][2]["response"], branch["entries"][2]["response"],
        "what comes after is new"
    );
    machine
        .tally([
            OsStr::new("replay"),
            journal.as_os_str(),
            "--agent".as_ref(),
            agent.as_os_str(),
            "--branch-from".as_ref(),
            "999".as_ref(),
            "--grant-asked".as_ref(),
            "--journal".as_ref(),
            machine.path("never.tally").as_os_str(),
        ])
        .exits(2);
    assert!(
        !machine.path("never.tally").exists(),
        "a branch that did not begin leaves nothing"
    );
}

#[test]
fn receipts_can_be_handed_over_and_opened_one_by_one() {
    let machine = Machine::with_model();
    let document = machine.file("hours.md", "The library opens at nine.\n");
    let folder = machine.path("receipts");
    machine
        .tally([
            OsStr::new("run"),
            component("answer-with-sources").as_os_str(),
            "--input".as_ref(),
            "When does the library open?".as_ref(),
            "--attach".as_ref(),
            document.as_os_str(),
            "--grant-asked".as_ref(),
            "--receipts".as_ref(),
            folder.as_os_str(),
        ])
        .ok();
    let receipt = folder.join("inference-1.receipt.json");
    let openings = folder.join("inference-1.openings.json");
    for opens in [&openings, &folder.join("run.openings.json")] {
        let mode = std::fs::metadata(opens).expect("it was written").mode();
        assert_eq!(
            mode & 0o777,
            0o600,
            "{} is for nobody else",
            opens.display()
        );
    }
    let verdict = machine
        .tally([
            OsStr::new("verify"),
            receipt.as_os_str(),
            "--open".as_ref(),
            openings.as_os_str(),
            "--json".as_ref(),
        ])
        .ok()
        .json();
    let opened = verdict["files"][0]["checks"]
        .as_array()
        .expect("a verdict lists its checks")
        .iter()
        .filter(|check| {
            check["code"]
                .as_str()
                .is_some_and(|code| code.starts_with("opening"))
                && check["status"] == "pass"
        })
        .count();
    assert!(opened >= 2, "{verdict:#}");
    // Openings of another receipt open nothing here.
    machine
        .tally([
            OsStr::new("verify"),
            folder.join("run.receipt.json").as_os_str(),
            "--open".as_ref(),
            openings.as_os_str(),
        ])
        .exits(1);
    // Nobody else's machine believes this one's key.
    let elsewhere = Machine::bare();
    elsewhere
        .tally([OsStr::new("verify"), receipt.as_os_str()])
        .exits(1)
        .says("policy");
}

#[test]
fn another_version_of_the_program_brings_its_model_and_keeps_the_one_before() {
    let machine = Machine::bare();
    let name = |model: &serde_json::Value| model["name"].as_str().unwrap_or_default().to_owned();
    // As a program before this one left it: a file of its own in the folder of models.
    let models = machine.path("home/models");
    std::fs::create_dir_all(&models).expect("a folder");
    let draft = models.join("draft.gguf");
    std::fs::copy(support::seed_model(), &draft).expect("a model");
    let store = tally_inference::ModelStore::open(&models);
    let options = tally_inference::AddOptions {
        name: tally_inference::ModelName::parse("tally-nano"),
        ..Default::default()
    };
    let old = tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(store.add(&draft, options, |_, _| {}))
        .expect("it is added");
    let listed = machine.tally(["model", "list", "--json"]).ok().json();
    let all = listed["models"].as_array().cloned().unwrap_or_default();
    let aside = format!("tally-nano-{}", &old.weights.to_string()[..8]);
    let names: Vec<String> = all.iter().map(name).collect();
    assert_eq!(names, ["tally-nano".to_owned(), aside], "{listed}");
    let default: Vec<bool> = all.iter().map(|one| one["default"] == true).collect();
    assert_eq!(default, [true, false], "{listed}");
    // The next time there is nothing to do.
    let again = machine.tally(["model", "list", "--json"]).ok().json();
    assert_eq!(listed, again);
}

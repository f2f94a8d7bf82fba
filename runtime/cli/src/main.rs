//! The `tally` command: one file per verb under [`verbs`], and the adapters that join the parts.
//!
//! stdout carries answers, stderr carries everything a person reads meanwhile. With `--json` stdout holds one JSON
//! object and nothing else. Exit codes are in [`failure`].

mod adapt;
mod address;
mod calls;
mod embedder;
mod emptying;
mod explorer;
mod failure;
mod home;
mod keeper;
mod local_model;
mod logs;
mod memories;
mod memory_service;
mod network;
mod node_keys;
mod own;
mod private;
mod reading;
mod reranker;
mod secret;
mod settling;
mod setup;
mod trust;
mod trusted;
mod ui;
mod vault_service;
mod vaults;
mod vectors;
mod verbs;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{Failure, OrFail, Outcome};
use logs::Runs;

/// Run AI agents that can prove what they did.
///
/// An agent is a WebAssembly component. Every answer of a model comes with a signed receipt, every run is journaled,
/// and anyone who holds the journal can replay the agent and check each receipt without the model.
#[derive(Parser)]
#[command(
    name = "tally",
    version,
    after_help = "Examples:\n  \
        tally demo                                          the whole story on this machine\n  \
        tally agent new helper --lang rust                  start an agent\n  \
        tally run helper.wasm --input 'what is due today?'  run it, streaming\n  \
        tally replay RUN.tally --agent helper.wasm          do it again without the model, and compare\n  \
        tally verify RUN.tally                              check it offline\n\n\
        Exit codes: 0 done or verified; 1 the answer is no; 2 misuse; 3 something is missing on this machine."
)]
struct Cli {
    /// One JSON object on stdout, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// The whole story on this machine: an agent, a model, receipts, a replay, and tampering caught.
    Demo(verbs::demo::Args),
    /// Run an agent once, streaming what it says.
    Run(verbs::run::Args),
    /// Execute a recorded run again, without model, network or key, and compare.
    Replay(verbs::replay::Args),
    /// Check receipts and journals, offline.
    Verify(verbs::verify::Args),
    /// Make, build, inspect and test agents.
    #[command(
        subcommand,
        after_help = "Examples:\n  tally agent new helper --lang rust      or python, or js\n  cd helper && tally agent build          one component, helper.wasm\n  tally agent inspect helper.wasm         what it asks for, before it runs"
    )]
    Agent(verbs::agent::Verb),
    /// Weights on this machine.
    #[command(
        subcommand,
        after_help = "Examples:\n  tally model pull hf:owner/repo/file.gguf\n  tally model list\n  tally model default file                what runs use that name none"
    )]
    Model(verbs::model::Verb),
    /// Encrypted memory that its owner carries.
    #[command(
        subcommand,
        after_help = "Examples:\n  tally vault init --namespace trips\n  tally vault add 'Likes the window seat' --namespace trips\n  tally vault share --agent planner trips=read        for 30 days\n  tally vault log                                     who did what, when, under which grant"
    )]
    Vault(verbs::vault::Verb),
    /// What was said and learnt: searched, corrected, audited.
    #[command(
        subcommand,
        after_help = "Examples, in a vault (tally vault init makes one):\n  tally memory add \"I'm allergic to peanuts\"\n  tally memory search 'what am I allergic to?'\n  tally memory profile\n  tally memory verify                     what each fact rests on, checked again"
    )]
    Memory(verbs::memory::Verb),
    /// Memory over HTTP: REST, an MCP server, and a console in the browser.
    Serve(verbs::serve::Args),
    /// Settle receipts and prove that they are settled.
    #[command(
        subcommand,
        after_help = "Examples:\n  tally ledger status\n  tally ledger submit receipts/run.receipt.json       as `tally run --receipts receipts` wrote it\n  tally ledger prove receipts/run.receipt.json --out run.proof\n  tally verify run.proof --genesis genesis.toml       offline; `prove` says which file\n\nWhere no network was named (`tally ledger use`) it is the ledger of this machine alone, which tolerates nobody."
    )]
    Ledger(verbs::ledger::Verb),
    /// Run one node of a ledger.
    Node(verbs::node::Args),
    /// Start a whole ledger on this machine.
    Devnet(verbs::devnet::Args),
    /// Measure this machine, beside the peer or the physical limit in the same run.
    Bench(verbs::bench::Args),
    /// Serve one model to the process that started this one.
    #[command(name = "__worker", hide = true)]
    Worker,
    /// Let llama.cpp judge the model file on standard input, for the process that started this one.
    #[command(name = "__probe", hide = true)]
    Probe,
    /// Read the file on standard input, for the process that started this one.
    #[command(name = reading::VERB, hide = true)]
    Read,
}

impl Verb {
    const fn runs(&self) -> Runs {
        match self {
            Self::Node(_)
            | Self::Devnet(_)
            | Self::Serve(_)
            | Self::Ledger(verbs::ledger::Verb::Explorer(_)) => Runs::UntilStopped,
            _ => Runs::Once,
        }
    }
}

fn main() -> ExitCode {
    // The worker has a protocol on its descriptors and must not meet the command line's machinery.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|verb| verb == "__worker")
    {
        return tally_inference::worker::main();
    }
    let cli = Cli::parse();
    let begun = logs::begin(cli.verb.runs());
    match begun.and_then(|()| dispatch(cli.verb, cli.json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.json),
    }
}

fn dispatch(verb: Verb, json: bool) -> Outcome {
    match verb {
        Verb::Demo(args) => verbs::demo::run(&args, json),
        Verb::Run(args) => verbs::run::run(&args, json),
        Verb::Replay(args) => verbs::replay::run(&args, json),
        Verb::Verify(args) => verbs::verify::run(&args, json),
        Verb::Agent(verb) => verbs::agent::run(verb, json),
        Verb::Model(verb) => verbs::model::run(verb, json),
        Verb::Vault(verb) => verbs::vault::run(verb, json),
        Verb::Memory(verb) => verbs::memory::run(verb, json),
        Verb::Serve(args) => verbs::serve::run(&args, json),
        Verb::Ledger(verb) => verbs::ledger::run(verb, json),
        Verb::Node(args) => verbs::node::run(&args, json),
        Verb::Devnet(args) => verbs::devnet::run(&args, json),
        Verb::Bench(args) => verbs::bench::run(&args, json),
        Verb::Probe => verbs::model::probe::judge(),
        Verb::Read => reading::serve(),
        Verb::Worker => unreachable!("handled before the command line is parsed"),
    }
}

/// The threads that a verb waits on.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_environment("start threads")
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::Cli;

    /// Commands and groups of commands whose help shows nothing that could be typed.
    fn without_examples(command: &Command, path: &str, found: &mut Vec<String>) {
        for verb in command.get_subcommands() {
            let path = format!("{path} {}", verb.get_name());
            let help = verb.get_after_help().map(ToString::to_string);
            let has_examples = help.is_some_and(|help| help.contains("Example"));
            if !has_examples && !verb.is_hide_set() {
                found.push(path.clone());
            }
            without_examples(verb, &path, found);
        }
    }

    #[test]
    fn every_verb_and_every_group_of_verbs_has_examples_in_its_help() {
        let mut found = Vec::new();
        without_examples(&Cli::command(), "tally", &mut found);
        assert!(found.is_empty(), "without examples: {found:?}");
    }
}

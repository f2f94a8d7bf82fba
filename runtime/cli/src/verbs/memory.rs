//! `tally memory`: long-term memory on a vault. `docs/memory.md` is the format.

pub(crate) mod add;
mod control;
mod eval;
mod import;
pub(crate) mod look;
mod mcp;
mod policy;
mod transfer;
mod verify;

use clap::Subcommand;

use crate::failure::Outcome;

/// What to do with a memory.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Remember what was said, and learn from it.
    #[command(
        after_help = "Examples:\n  tally memory add \"I'm allergic to peanuts\"\n  tally memory add 'The museum opens at 9:30' --role document --app web\n  tally memory add --turns chat.jsonl          one object a line: role, speaker, text, at, app, thread\n  tally memory add --turns chat.jsonl --dry-run          what would be learnt"
    )]
    Add(add::Add),
    /// Learn from what was said and no model was asked about yet.
    #[command(
        after_help = "Examples:\n  tally memory learn\n  tally memory learn --model qwen3 --calls 100\n  tally memory learn --dry-run --calls 10          what would be learnt"
    )]
    Learn(add::Learn),
    /// Find what was said and learnt.
    #[command(
        after_help = "Examples:\n  tally memory search 'what am I allergic to?'\n  tally memory search 'where did I live' --as-of 2024-06-01\n  tally memory search puppy --all --json\n  tally memory search puppy --context          as a model is given it"
    )]
    Search(look::Search),
    /// Who you are, by what you said: each line with what it rests on.
    #[command(
        after_help = "Examples:\n  tally memory profile\n  tally memory profile --bio short\n  tally memory profile --bio medium --phrase --model qwen3          in a model's words, held against the facts"
    )]
    Profile(look::Profile),
    /// One memory, with everything that is known of it; or all facts.
    #[command(after_help = "Examples:\n  tally memory show\n  tally memory show 3f2a41c09be2")]
    Show(look::Show),
    /// Say what is so instead.
    #[command(
        after_help = "Examples:\n  tally memory correct 3f2a41c09be2 'I live in Ghent'\n  tally memory correct 3f2a41c09be2 --wrong --why 'said by my brother'"
    )]
    Correct(control::Correct),
    /// Say that a fact is so.
    #[command(after_help = "Example:\n  tally memory confirm 3f2a41c09be2")]
    Confirm(control::Confirm),
    /// Destroy memories, and what was derived from them.
    #[command(
        after_help = "Examples:\n  tally memory forget 3f2a41c09be2 --reason 'none of your business'\n  tally memory forget --app whatsapp --dry-run          how much came from there\n  tally memory forget --app markdown --thread notes.md"
    )]
    Forget(control::Forget),
    /// What became of a memory.
    #[command(after_help = "Example:\n  tally memory history 3f2a41c09be2")]
    History(control::History),
    /// Take in exports of ChatGPT, Claude, Telegram, WhatsApp, Slack and Discord; Markdown, text, HTML, PDF and DOCX.
    #[command(
        after_help = "Examples:\n  tally memory import conversations.json\n  tally memory import 'WhatsApp Chat.txt' --me Anna --offset 60\n  tally memory import notes.md report.pdf --learn\n  tally memory import chat.zip --dry-run          what would be taken, and what would not"
    )]
    Import(import::Import),
    /// Write everything to a file that other programs or people read.
    #[command(
        after_help = "Examples:\n  tally memory export --out memory.json\n  tally memory export --markdown\n  tally vault export vault.tvault          the vault itself"
    )]
    Export(transfer::Export),
    /// Every call of a model, with what it cost and its receipt: from the vault, and noted by this machine.
    #[command(after_help = "Example:\n  tally memory log")]
    Log(control::Log),
    /// What is kept of personal identifiers, by every program that remembers in this vault: shown, or chosen.
    #[command(
        after_help = "Examples:\n  tally memory policy\n  tally memory policy --identifiers drop          no phone numbers and addresses either"
    )]
    Policy(policy::Policy),
    /// Serve one MCP client over standard streams.
    #[command(
        after_help = "Example, in a client's configuration:\n  {\"command\": \"tally\", \"args\": [\"memory\", \"mcp\", \"--as\", \"desk\"]}\n\nwith a key of its own for the client, made once: tally vault share --agent desk memory=curate"
    )]
    Mcp(mcp::Mcp),
    /// Check memories again, offline: which words, which prompt, which model, whose receipt.
    #[command(
        after_help = "Examples:\n  tally memory verify\n  tally memory verify 3f2a41c09be2 --policy policy.json\n  tally memory verify --bio bio.json          the call behind a bio that was printed as JSON"
    )]
    Verify(verify::Verify),
    /// Measure how well memories are found, on conversations whose evidence is known; or what attacks teach.
    #[command(
        after_help = "Examples:\n  tally memory eval --dataset locomo10.json\n  tally memory eval --dataset locomo10.json --split conv-26 --embedding none --json\n  tally memory eval --dataset locomo10.json --chat\n  tally memory eval --poison          what attacks teach about the owner\n  tally memory eval --poison --chat qwen3 --junk 300 --json"
    )]
    Eval(eval::Eval),
}

pub(crate) fn run(verb: Verb, json: bool) -> Outcome {
    match verb {
        Verb::Eval(args) => eval::eval(&args, json),
        Verb::Add(args) => add::add(&args, json),
        Verb::Learn(args) => add::learn(&args, json),
        Verb::Search(args) => look::search(&args, json),
        Verb::Profile(args) => look::profile(&args, json),
        Verb::Show(args) => look::show(&args, json),
        Verb::Correct(args) => control::correct(&args, json),
        Verb::Confirm(args) => control::confirm(&args, json),
        Verb::Forget(args) => control::forget(&args, json),
        Verb::History(args) => control::history(&args, json),
        Verb::Import(args) => import::import(&args, json),
        Verb::Export(args) => transfer::export(&args, json),
        Verb::Log(args) => control::log(&args, json),
        Verb::Policy(args) => policy::policy(&args, json),
        Verb::Mcp(args) => mcp::run(&args, json),
        Verb::Verify(args) => verify::run(&args, json),
    }
}

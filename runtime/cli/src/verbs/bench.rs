//! `tally bench`: this machine, measured beside the peer or the physical limit in the same run.
//!
//! The figures are printed and never compared with a bar here: `docs/benchmarks.md` has the bars and what was measured.

mod engine;
mod inference;
mod ledger;
mod memory;
mod receipts;
mod vault;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args as ClapArgs, ValueEnum};

use crate::embedder::LocalEmbedder;
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::memories::LocalChat;
use crate::setup;
use crate::ui::{Progress, say};

/// What can be measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// Cold start, host calls, throughput, memory, replay; beside bare wasmtime.
    Engine,
    /// Tokens per second in both lanes; beside raw llama.cpp.
    Inference,
    /// A ledger of processes on this machine: latency, throughput, restart, proofs.
    Ledger,
    /// Making and checking receipts; beside bare Ed25519.
    Receipts,
    /// Recall at 10,000 and 100,000 memories, from a vault and bare, and their ingest; beside a scan of the bare vectors.
    Memory,
    /// Sealing, appending, opening and merging a vault; beside raw ciphers, age and SQLite.
    Vault,
}

/// Measure this machine.
#[derive(ClapArgs)]
#[command(
    after_help = "Examples:\n  tally bench receipts --json\n  tally bench engine --component bench-guest.wasm --component review-against-a-schema.wasm\n  tally bench inference --model some-chat-model.gguf --json\n  tally bench ledger --curves --rounds 100 --component answer-with-sources.wasm --json\n  tally bench memory --memories 1000,10000 --embedding all-minilm-l6-v2.f16.gguf --json\n  tally bench vault --folder . --json"
)]
pub(crate) struct Args {
    /// What to measure.
    name: Name,
    /// For `engine`: components to start. The first is the one whose details are measured. For `ledger`: an agent whose runs are
    /// timed with and without settlement.
    #[arg(long = "component", value_name = "FILE")]
    components: Vec<PathBuf>,
    /// For `inference`: a GGUF file; else a small model with seeded weights. For `memory`: the chat model that learns facts, by
    /// name; else the default one.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// For `memory`: an embedding model, by name or file; else the default one, or the only one of this machine. `none`: words
    /// alone.
    #[arg(long, value_name = "MODEL", env = "TALLY_EMBEDDING")]
    embedding: Option<String>,
    /// For `memory`: how many memories there are to be when it is asked, several numbers with commas between them; else 10,000 and
    /// 100,000.
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    memories: Vec<u32>,
    /// For `vault` and `memory`: where to work, on a disk; else the folder for temporary files.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// For `vault`: leave the vault of a million operations out. For `memory`: leave 100,000 memories out, and take in fewer turns.
    /// For `ledger`: three seconds for each figure.
    #[arg(long)]
    quick: bool,
    /// For `ledger`: how many validators.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=32))]
    validators: u16,
    /// For `ledger`: hold messages between validators for so many milliseconds, to stand for distance.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// For `ledger`: how often all validators are killed and started again.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// For `ledger`: run the component so many times with settlement, and twice as often without; else 100 times, or as often as it
    /// can be in 25 seconds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: Option<u32>,
    /// For `ledger`: also by the size of a settlement, by the number of validators, and with distance between them.
    #[arg(long)]
    curves: bool,
    /// For `ledger`: also what a million receipts cost a validator, and how long catching up with them takes.
    #[arg(long)]
    million: bool,
    /// What `vault` runs in a process of its own.
    #[arg(long, hide = true, value_name = "FOLDER")]
    opened: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, json: bool) -> Outcome {
    let progress = Progress::spinner("measuring");
    let figures = match args.name {
        Name::Engine => crate::runtime()?.block_on(engine::run(&args.components)),
        Name::Inference => crate::runtime()?.block_on(inference::run(
            setup::worker_command()?,
            args.model.as_deref(),
        )),
        Name::Ledger => ledger::run(&ledger::Options {
            quick: args.quick,
            validators: args.validators,
            delay_ms: args.delay_ms,
            rounds: args.rounds,
            curves: args.curves,
            million: args.million,
            component: args.components.first().map(PathBuf::as_path),
            runs: args.runs,
        }),
        Name::Receipts => receipts::run(),
        Name::Memory => with_models(args, &progress)?,
        Name::Vault => match &args.opened {
            Some(folder) => vault::opened(folder),
            None => vault::run(&vault::Options {
                quick: args.quick,
                folder: args.folder.as_deref(),
            }),
        },
    };
    drop(progress);
    let figures = figures.or_environment("measure")?;
    if json {
        say!("{figures}");
    } else {
        say!(
            "{}",
            serde_json::to_string_pretty(&figures).or_environment("print the figures")?
        );
    }
    Ok(())
}

/// `memory` with the models of this machine, which are looked for before anything is measured.
fn with_models(
    args: &Args,
    progress: &Progress,
) -> Result<anyhow::Result<serde_json::Value>, Failure> {
    let runtime = crate::runtime()?;
    let embedding = LocalEmbedder::find(args.embedding.as_deref(), runtime.handle())?;
    let home = Home::open()?;
    let key = Arc::new(home.node_key()?);
    let models = runtime.block_on(setup::models(&home, &key, None, None))?;
    let name = args.model.as_deref().map(|model| model.to_string_lossy());
    let chat = LocalChat::new(
        models.service.clone(),
        name.as_deref().unwrap_or_default(),
        runtime.handle().clone(),
    );
    Ok(memory::run(memory::Options {
        sizes: &args.memories,
        quick: args.quick,
        folder: args.folder.as_deref(),
        embedding,
        chat: &chat,
        progress,
    }))
}

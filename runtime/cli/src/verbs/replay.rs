//! `tally replay`: a recorded run again.
//!
//! | mode | needs | does |
//! |---|---|---|
//! | verify (default) | the component | executes it against the journal, with no model, network or key, and compares |
//! | `--view` | nothing | prints every entry |
//! | `--branch-from N` | component, models | replays to entry N, then goes on live, into a new journal |
//!
//! A replay does not check signatures: whether the journal is the one that was signed is `tally verify`. What the agent
//! was told by models is compared with what their receipts commit to, here as there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args as ClapArgs;
use tally_engine::{
    BranchError, Component, Engine, JournalTo, ReplayError, ReplayOptions, ReplayReport,
    ReplayVerdict, Start, ToolPlugin,
};
use tally_journal::{Journal, JournalError, Seq};
use tally_receipt::Status;

use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::setup::{self, Consent, Screen, ToolArg};
use crate::ui::{grouped, printable, say};
use crate::verbs::run::{self, Given};
use crate::verbs::verify::{self, resembles_journal};

/// Execute a recorded run again, without model, network or key, and compare.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    tally replay run.tally --agent helper.wasm\n  \
    tally replay run.tally --agent plan.wasm --tool text-tools.wasm      # executes the tools again, too\n  \
    tally replay run.tally --view\n  \
    tally replay run.tally --agent helper.wasm --branch-from 12 --grant-asked --journal other.tally\n\n\
    Exit code 0 only when identical, and the words of models are those that their receipts commit to.")]
pub(crate) struct Args {
    /// The journal.
    journal: PathBuf,
    /// The component that was run.
    #[arg(long, value_name = "FILE", required_unless_present = "view")]
    agent: Option<PathBuf>,
    /// Print every entry; execute nothing.
    #[arg(long, conflicts_with_all = ["agent", "branch_from"])]
    view: bool,
    /// Replay to this entry, then go on live, into a new journal.
    #[arg(long, value_name = "ENTRY")]
    branch_from: Option<u64>,
    #[command(flatten)]
    given: Given,
    /// For a branch: the model used where the agent names none.
    #[arg(long, requires = "branch_from")]
    model: Option<String>,
    /// For a branch: where its journal goes.
    #[arg(long = "journal", value_name = "FILE", requires = "branch_from")]
    branch_journal: Option<PathBuf>,
    #[command(flatten)]
    shared: run::Shared,
}

pub(crate) fn run(args: &Args, json: bool) -> Outcome {
    if args.branch_from.is_none() && args.shared.vault.is_some() {
        return Err(
            Failure::misuse("a replay takes what a vault said from the journal")
                .advise("--vault is for --branch-from, which goes on live"),
        );
    }
    let journal = Arc::new(read(&args.journal)?);
    if args.view {
        return view(&journal, json);
    }
    let agent = args
        .agent
        .as_deref()
        .expect("the command line requires it without --view");
    crate::runtime()?.block_on(async {
        match args.branch_from {
            None => compare(&journal, agent, &args.given.tools, json).await,
            Some(entry) => branch(&journal, agent, Seq::new(entry), args, json).await,
        }
    })
}

/// Reads a journal that holds; one that does not is not replayed, since its answers are not the run's. One that a crash
/// cut in the middle of an entry is read up to there.
pub(crate) fn read(path: &Path) -> Result<Journal, Failure> {
    let bytes = verify::read(path)?;
    if !resembles_journal(&bytes) {
        return Err(
            Failure::misuse(format_args!("{} is not a journal", path.display()))
                .advise("name what `tally run` wrote, RUN.tally"),
        );
    }
    match Journal::recover(bytes) {
        Ok((journal, torn)) => {
            if let Some(torn) = torn {
                eprintln!(
                    "tally: {} was cut: its last {} bytes are no whole entry and are left out ({})",
                    path.display(),
                    torn.len,
                    torn.reason
                );
            }
            Ok(journal)
        }
        Err(error @ (JournalError::NewerFormat { .. } | JournalError::OlderFormat { .. })) => Err(
            Failure::environment(format_args!("{}: {error}", path.display()))
                .advise("this says nothing against the journal"),
        ),
        Err(error) => Err(Failure::no(format_args!("{}: {error}", path.display()))
            .advise("nothing was executed; `tally verify` says the same in full")),
    }
}

fn view(journal: &Journal, json: bool) -> Outcome {
    let mut out = std::io::stdout().lock();
    let written = if json {
        let entries: Vec<_> = journal
            .entries()
            .map(|entry| tally_journal::view::to_json(journal, &entry))
            .collect();
        writeln!(
            out,
            "{}",
            serde_json::json!({ "summary": tally_journal::view::summary(journal), "entries": entries })
        )
    } else {
        writeln!(out, "{}", tally_journal::view::summary(journal)).and_then(|()| {
            tally_journal::view::describe(journal).try_for_each(|entry| {
                writeln!(out, "{}", printable(&entry.title))?;
                entry
                    .details
                    .iter()
                    .try_for_each(|detail| writeln!(out, "    {}", printable(detail)))
            })
        })
    };
    match written {
        // Whoever reads has seen enough, as in `tally replay --view | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.or_environment("print the journal"),
    }
}

/// The engine for a replay: compiled code is kept where this machine has a home already, and no home is made.
pub(crate) fn engine() -> Result<Engine, Failure> {
    setup::engine(Home::existing()?.as_ref())
}

async fn compare(journal: &Arc<Journal>, agent: &Path, tools: &[ToolArg], json: bool) -> Outcome {
    let engine = engine()?;
    let component = setup::load(&engine, agent)?;
    let tools = setup::tools(&engine, tools, Consent::AsAsked).await?;
    let report = execute(
        &engine,
        journal,
        &component,
        tools,
        ReplayOptions::default(),
    )
    .await?;
    let words = journal.words();
    let others = words.iter().any(|check| check.status == Status::Fail);
    if json {
        let mut object = to_json(&report);
        object["words"] = serde_json::json!(words);
        say!("{object}");
    } else {
        say!("replay: {}", sentence(&report));
        for check in words.iter().filter(|check| check.status != Status::Pass) {
            say!("  {}", printable(&check.sentence));
        }
        for (frame, digest) in &report.not_executed_again {
            say!(
                "  tool run {frame} was taken as recorded; to execute it too: --tool FILE of component {digest}"
            );
        }
        for entry in &report.in_doubt {
            say!("  entry {entry} announces an effect; whether it happened is not known");
        }
    }
    if report.is_identical() && !others {
        Ok(())
    } else {
        Err(Failure::reported())
    }
}

pub(crate) async fn execute(
    engine: &Engine,
    journal: &Arc<Journal>,
    component: &Component,
    tools: Vec<ToolPlugin>,
    options: ReplayOptions,
) -> Result<ReplayReport, Failure> {
    engine
        .replay(journal, component, tools, options)
        .await
        .map_err(|error| match error {
            ReplayError::NotAnAgent | ReplayError::OtherTool { .. } | ReplayError::Tools(_) => {
                Failure::misuse(error)
            }
            ReplayError::OtherEngine { .. } | ReplayError::Genesis(_) => Failure::environment(
                error,
            )
            .advise(
                "this says nothing against the journal: fuel counts belong to an engine version",
            ),
            error => Failure::no(error),
        })
}

/// `identical: 12 calls, …`, or the first difference.
pub(crate) fn sentence(report: &ReplayReport) -> String {
    match &report.verdict {
        ReplayVerdict::Identical => format!(
            "identical: {} calls with the same arguments, {} fuel at the same points, the same end",
            grouped(report.calls),
            grouped(report.fuel)
        ),
        ReplayVerdict::IdenticalToCut => format!(
            "identical up to where the run was cut: {} calls",
            grouped(report.calls)
        ),
        ReplayVerdict::Differs(divergence) => {
            format!("DIFFERS at {}", printable(&divergence.to_string()))
        }
    }
}

fn to_json(report: &ReplayReport) -> serde_json::Value {
    let difference = match &report.verdict {
        ReplayVerdict::Differs(divergence) => serde_json::json!({
            "entry": divergence.entry.map(Seq::get),
            "frame": divergence.frame,
            "code": divergence.what.code(),
            "recorded": divergence.recorded,
            "now": divergence.now,
        }),
        _ => serde_json::Value::Null,
    };
    serde_json::json!({
        "identical": report.is_identical(),
        "to_cut": report.verdict == ReplayVerdict::IdenticalToCut,
        "calls": report.calls,
        "fuel": report.fuel,
        "recorded_outcome": report.recorded_outcome,
        "first_difference": difference,
        "tools_as_recorded": report.not_executed_again.iter().map(|(frame, digest)| serde_json::json!({ "frame": frame, "component": digest.to_string() })).collect::<Vec<_>>(),
        "in_doubt": report.in_doubt.iter().map(|entry| entry.get()).collect::<Vec<_>>(),
        "wall_ms": u64::try_from(report.wall.as_millis()).unwrap_or(u64::MAX),
    })
}

async fn branch(journal: &Arc<Journal>, agent: &Path, at: Seq, args: &Args, json: bool) -> Outcome {
    let path = args.branch_journal.as_deref().ok_or_else(|| {
        Failure::misuse("a branch has a journal of its own").advise("name it with --journal FILE")
    })?;
    let home = Home::open()?;
    let engine = setup::engine(Some(&home))?;
    let settings = journal.genesis().terms.settings.iter().cloned().collect();
    let plan = run::plan(&engine, agent, &args.given, settings).await?;
    let mut live = setup::live(&home, args.model.as_deref(), args.shared.embedding()).await?;
    args.shared.give(&plan, &home, &mut live)?;
    let screen = Screen::new(json);
    let start = Start {
        journal: JournalTo::Sink(Box::new(run::create_journal(path)?)),
        signing: Some(live.signing.clone()),
        ..Start::new(
            tally_engine::contract::Input::text(""),
            live.services.clone(),
            Box::new(screen.clone()),
        )
    };
    let result = engine.branch(journal, at, &plan, start).await;
    live.models.service.shut_down().await;
    let report = result.map_err(|error| {
        // A branch that did not begin leaves nothing that would be taken for a journal.
        if !matches!(error, BranchError::Run(_)) {
            let _ = std::fs::remove_file(path);
        }
        match error {
            BranchError::NotACall { .. } | BranchError::InsideGeneration { .. } => {
                Failure::misuse(error)
            }
            BranchError::Run(error) => run::run_failure(&error, path),
            error => Failure::no(error),
        }
    })?;
    run::finish(&report, path, &screen, json)
}

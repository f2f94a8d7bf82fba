//! `tally agent test`: a changed agent against recorded runs.
//!
//! The journal plays the outside world: every call that the agent makes as before is answered as before, without model,
//! network or key. The first thing the agent does differently is named. Fuel is compared only for the recorded
//! component, since a changed one executes other instructions.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args as ClapArgs;
use tally_engine::ReplayOptions;

use crate::failure::{Failure, Outcome};
use crate::setup::{self, Consent, ToolArg};
use crate::ui::say;
use crate::verbs::replay;

/// Run an agent against recorded journals and tell what it now does differently.
#[derive(ClapArgs)]
#[command(
    after_help = "Examples:\n  tally agent test helper.wasm tests/*.tally\n  tally agent test plan.wasm recorded.tally --tool text-tools.wasm\n\nExit code 0: the agent behaves as recorded in every journal."
)]
pub(crate) struct Args {
    /// The component, changed or not.
    agent: PathBuf,
    /// Journals of earlier runs.
    #[arg(required = true)]
    journals: Vec<PathBuf>,
    /// A tool plugin to execute again; without it its recorded answers are used.
    #[arg(long = "tool", value_name = "FILE")]
    tools: Vec<ToolArg>,
}

pub(crate) fn run(args: &Args, json: bool) -> Outcome {
    crate::runtime()?.block_on(async {
        let engine = replay::engine()?;
        let component = setup::load(&engine, &args.agent)?;
        let mut results = Vec::with_capacity(args.journals.len());
        for path in &args.journals {
            let journal = Arc::new(replay::read(path)?);
            let tools = setup::tools(&engine, &args.tools, Consent::AsAsked).await?;
            let options = ReplayOptions {
                allow_other_component: true,
            };
            let report = replay::execute(&engine, &journal, &component, tools, options).await?;
            if !json {
                let mark = if report.is_identical() {
                    "ok  "
                } else {
                    "DIFF"
                };
                say!("{mark}  {}: {}", path.display(), replay::sentence(&report));
            }
            results.push((path, report));
        }
        let different = results
            .iter()
            .filter(|(_, report)| !report.is_identical())
            .count();
        if json {
            let results: Vec<_> = results
                .iter()
                .map(|(path, report)| {
                    serde_json::json!({
                        "journal": path,
                        "as_recorded": report.is_identical(),
                        "component_changed": report.other_component,
                        "calls": report.calls,
                        "sentence": report.sentence(),
                    })
                })
                .collect();
            say!(
                "{}",
                serde_json::json!({ "as_recorded": different == 0, "journals": results })
            );
        } else {
            say!("{} passed, {different} failed", results.len() - different);
        }
        if different == 0 {
            Ok(())
        } else {
            Err(Failure::reported())
        }
    })
}

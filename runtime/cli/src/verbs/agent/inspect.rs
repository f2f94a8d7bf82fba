//! `tally agent inspect`: what a component asks for. Nothing is compiled and nothing runs.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use tally_capability::{Grant, Manifest};
use tally_engine::{ComponentKind, inspect};

use crate::failure::{OrFail, Outcome};
use crate::setup::{read_component, unusable};
use crate::ui::{grouped, printable, say};

/// Show what a component asks for, without running it.
#[derive(ClapArgs)]
#[command(
    after_help = "Examples:\n  tally agent inspect helper.wasm\n  tally agent inspect helper.wasm --grant > grant.json    # then take away what it should not have"
)]
pub(crate) struct Args {
    /// The component.
    file: PathBuf,
    /// Print the grant that would give it all it asks for, to be edited.
    #[arg(long)]
    grant: bool,
}

pub(crate) fn run(args: &Args, json: bool) -> Outcome {
    let bytes = read_component(&args.file)?;
    let inspection = inspect(&bytes).map_err(|error| unusable(&args.file, &error))?;
    let manifest = match &inspection.manifest {
        Some(section) => Some(
            Manifest::from_json(section)
                .or_misuse(format_args!("read the manifest of {}", args.file.display()))?,
        ),
        None => None,
    };
    if args.grant {
        let grant = Grant::as_asked(manifest.as_ref().unwrap_or(&Manifest::undeclared()));
        say!("{}", String::from_utf8_lossy(&grant.to_canonical_json()));
        return Ok(());
    }
    let kind = match inspection.kind {
        ComponentKind::Agent => "agent",
        ComponentKind::Tool => "tool plugin",
    };
    if json {
        let asked = match &manifest {
            Some(manifest) => serde_json::from_slice(&manifest.to_canonical_json())
                .or_misuse("read the manifest")?,
            None => serde_json::Value::Null,
        };
        say!(
            "{}",
            serde_json::json!({
                "file": args.file,
                "kind": kind,
                "blake3": inspection.digest.to_string(),
                "bytes": inspection.len,
                "imports": inspection.imports,
                "exports": inspection.exports,
                "manifest": asked,
            })
        );
        return Ok(());
    }
    say!(
        "{}: {kind}, {} bytes",
        args.file.display(),
        grouped(inspection.len as u64)
    );
    say!("  blake3   {}", inspection.digest);
    say!(
        "  imports  {}",
        if inspection.imports.is_empty() {
            "nothing".into()
        } else {
            printable(&inspection.imports.join(", "))
        }
    );
    match &manifest {
        Some(manifest) => {
            say!(
                "  says it is {} {}: {}",
                printable(manifest.name().as_str()),
                printable(manifest.version().as_str()),
                printable(manifest.description())
            );
            say!("  asks:");
            for line in manifest.explain() {
                say!(
                    "    {} {}",
                    if line.may { "•" } else { " " },
                    printable(&line.sentence)
                );
            }
        }
        None => say!(
            "  it has no manifest, so it asks for nothing and may do nothing: build it with `tally agent build`"
        ),
    }
    if inspection
        .imports
        .iter()
        .any(|import| import.starts_with("tally:agent/memory@"))
    {
        say!(
            "  it can use memories: recall in a namespace that it may read, remember where it may append, correct and forget where it may curate"
        );
    }
    if inspection.uses_wasi() {
        say!(
            "  it uses WASI: its clock and randomness are functions of the journal, it has no files and no network"
        );
    }
    Ok(())
}

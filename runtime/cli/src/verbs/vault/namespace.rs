//! `tally vault namespace`: one more part of the vault, with keys of its own.

use clap::Args as ClapArgs;

use crate::failure::Outcome;
use crate::ui::{printable, say};
use crate::vaults::{Which, new_namespace, writing};

/// Make a namespace.
#[derive(ClapArgs)]
pub(crate) struct Namespace {
    /// What it is to be called.
    #[arg(value_name = "NAME", value_parser = new_namespace)]
    name: String,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn run(args: &Namespace, json: bool) -> Outcome {
    let mut vault = args.which.write()?;
    let id = vault.create_namespace(&args.name).map_err(writing)?;
    if json {
        super::answer(
            &vault,
            serde_json::json!({ "namespace": id.to_string(), "name": args.name }),
        );
        return Ok(());
    }
    say!("{id}");
    let name = printable(&args.name);
    eprintln!("made {name}; to share it: tally vault share --agent NAME {name}=read");
    Ok(())
}

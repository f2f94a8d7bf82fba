//! `tally memory policy`: what the owner wants kept, by every program that remembers in this vault.

use clap::Args as ClapArgs;
use tally_memory::secrets::Identifiers;
use tally_memory::{Moment, Options};

use super::control::changing;
use crate::failure::Outcome;
use crate::memories::{self, IdentifierPolicy, WhichMemory};
use crate::ui::say;

/// What is kept of how a person is known.
#[derive(ClapArgs)]
pub(crate) struct Policy {
    /// What is to be done with personal identifiers from now on; else it says what is done. What is kept already stays.
    #[arg(long, value_name = "POLICY", value_enum)]
    identifiers: Option<IdentifierPolicy>,
    #[command(flatten)]
    which: WhichMemory,
}

pub(crate) fn policy(args: &Policy, json: bool) -> Outcome {
    let (identifiers, since) = match args.identifiers {
        None => args.which.read()?.memory.policy(),
        Some(identifiers) => {
            let mut opened = args.which.write(Options::default())?;
            opened
                .memory
                .set_policy(identifiers.into(), memories::now()?)
                .map_err(changing)?;
            opened.memory.policy()
        }
    };
    show(identifiers, since, json);
    Ok(())
}

fn show(identifiers: Identifiers, since: Option<Moment>, json: bool) {
    let since = since.map(|since| since.to_string());
    if json {
        say!(
            "{}",
            serde_json::json!({ "identifiers": identifiers.as_str(), "since": since })
        );
        return;
    }
    say!(
        "identifiers: {} ({})",
        identifiers.as_str(),
        since.map_or_else(
            || "nobody chose it".to_owned(),
            |since| format!("since {since}")
        )
    );
    eprintln!(
        "{}",
        match identifiers {
            Identifiers::Keep =>
                "numbers of banks and states stay in the encrypted episode and nowhere else; phone numbers and addresses are words like any others",
            Identifiers::ByKind =>
                "numbers of banks and states are dealt with as secrets are; phone numbers and addresses are words like any others",
            Identifiers::Drop =>
                "neither numbers of banks and states nor phone numbers and addresses are kept",
        }
    );
}

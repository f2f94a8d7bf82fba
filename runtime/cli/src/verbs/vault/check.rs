//! `tally vault check`: what is odd or wrong with a vault's folder, in words.

use clap::Args as ClapArgs;
use tally_vault::{Finding, Severity};

use crate::failure::{Failure, Outcome};
use crate::ui::{Progress, printable, say};
use crate::vaults::{Which, opening};

/// Read everything again.
#[derive(ClapArgs)]
pub(crate) struct Check {
    #[command(flatten)]
    which: Which,
}

pub(crate) fn run(args: &Check, json: bool) -> Outcome {
    let mut vault = args.which.read()?;
    let bar = Progress::spinner("checking every file, signature and hash");
    let folder = vault.folder().to_owned();
    let findings = vault.check().map_err(|error| opening(error, &folder))?;
    let state = hex::encode(vault.state_hash());
    drop(bar);
    let worst = findings.iter().map(|finding| finding.code.severity()).max();
    let sound = worst.is_none_or(|worst| worst < Severity::Warning);
    if json {
        let findings: Vec<_> = findings.iter().map(describe).collect();
        super::answer(
            &vault,
            serde_json::json!({ "sound": sound, "state": state, "findings": findings }),
        );
    } else {
        for finding in &findings {
            say!(
                "{:<7} {}",
                word(finding.code.severity()),
                printable(&finding.to_string())
            );
            say!("        do: {}", finding.code.advice());
        }
        let operations = vault.view().log().len();
        say!(
            "{} operations; state {}",
            crate::ui::grouped(operations as u64),
            crate::ui::short(&state)
        );
        say!("{}", if sound { "sound" } else { "not sound" });
    }
    if sound {
        Ok(())
    } else {
        Err(Failure::reported())
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Alarm => "ALARM",
    }
}

fn describe(finding: &Finding) -> serde_json::Value {
    serde_json::json!({
        "code": finding.code.as_str(),
        "severity": word(finding.code.severity()).to_lowercase(),
        "place": finding.place,
        "detail": finding.detail,
        "means": finding.code.means(),
        "do": finding.code.advice(),
    })
}

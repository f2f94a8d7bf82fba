//! What `tally run` does with its receipts once they are made: onto the disk before the answer ends, and to the ledger in a
//! process of its own, for which nobody waits.

use std::process::{Command, Stdio};

use clap::ValueEnum;
use tally_engine::RunReport;
use tally_node::{Form as RecordForm, Outbox, Record};

use crate::failure::{Failure, OrFail};
use crate::home::Home;
use crate::network::{Network, Which};
use crate::setup::Live;

/// How receipts are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Not at all.
    None,
    /// By their digests.
    Hash,
    /// As they are.
    Full,
}

/// A run whose receipts will be settled.
pub(crate) struct Settling {
    network: Network,
    form: RecordForm,
}

/// Receipts that are on the disk and wait.
pub(crate) struct Kept {
    network: Network,
}

impl Settling {
    /// What was asked for; by digest where a network is configured and nothing was asked for.
    pub(crate) fn of(
        form: Option<Form>,
        which: &Which,
        home: &Home,
    ) -> Result<Option<Self>, Failure> {
        let asked = form.is_some();
        let form = match form {
            Some(Form::None) => return Ok(None),
            Some(Form::Full) => RecordForm::Full,
            Some(Form::Hash) | None => RecordForm::Hash,
        };
        let network = match which.find(home)? {
            Some(network) => network,
            None if asked => which.get(home)?,
            None => return Ok(None),
        };
        Ok(Some(Self { network, form }))
    }

    /// Puts a run's receipts into the outbox.
    pub(crate) fn keep(
        self,
        home: &Home,
        live: &Live,
        report: &RunReport,
    ) -> Result<Kept, Failure> {
        let form = self.form;
        let mut records: Vec<Record> = live
            .models
            .kept
            .all()
            .iter()
            .map(|kept| Record {
                form,
                receipt: kept.envelope.to_vec(),
            })
            .collect();
        records.extend(report.proof.as_ref().map(|proof| Record {
            form,
            receipt: proof.receipt.to_json(),
        }));
        let outbox: Outbox = self.network.outbox(home)?;
        outbox
            .append(&records)
            .or_environment("write the receipts to the outbox")?;
        Ok(Kept {
            network: self.network,
        })
    }
}

impl Kept {
    /// Starts settling, and does not wait for it. What it cannot settle now stays in the outbox for the next time.
    pub(crate) fn begin(self) {
        let started = std::env::current_exe().and_then(|program| {
            Command::new(program)
                .args(["ledger", "settle", "--quiet", "--network"])
                .arg(&self.network.file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        });
        if let Err(error) = started {
            tracing::warn!(%error, "receipts wait in the outbox: `tally ledger settle` settles them");
        }
    }
}

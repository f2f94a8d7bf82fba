//! Whether receipts are settled, and what `tally run` does with its own once they are made: onto the disk before the answer
//! ends, and to the ledger in a process of its own, for which nobody waits. That process is started beside the run, so that it
//! is there when the run ends, and stays for a while: runs that follow each other have the same one.
//!
//! What `tally serve` does with its own is in `keeper`.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use clap::{Args as ClapArgs, ValueEnum};
use tally_engine::RunReport;
use tally_node::{Form as RecordForm, Outbox, Record};

use crate::failure::{Failure, OrFail};
use crate::home::Home;
use crate::keeper::Keeper;
use crate::network::{Network, Which};
use crate::own::Own;
use crate::setup::Live;
use crate::ui::printable;

/// Whether receipts are settled, and where.
#[derive(ClapArgs)]
pub(crate) struct Asked {
    /// How the receipts of models and runs are settled on the ledger, in the background: by their digests, which is the default, in
    /// full for everybody to see, or not at all. Where no network is configured (`tally ledger use`), the ledger is that of this
    /// machine alone, which tolerates nobody: whoever believes its proofs believes this machine.
    #[arg(long, value_enum, value_name = "FORM", env = "TALLY_SETTLE")]
    settle: Option<Form>,
    #[command(flatten)]
    pub(crate) network: Which,
}

impl Asked {
    /// What settles as was asked for: on the network that is configured, else on the ledger of this machine alone.
    fn chosen<T>(
        &self,
        home: &Home,
        make: impl FnOnce(Network, RecordForm) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let form = match self.settle {
            Some(Form::None) => return Ok(None),
            Some(Form::Full) => RecordForm::Full,
            Some(Form::Hash) | None => RecordForm::Hash,
        };
        if let Some(network) = self.network.find(home)? {
            return make(network, form).map(Some);
        }
        let own = Own::of(home).make(home);
        match own.and_then(|network| make(network, form)) {
            // Nobody asked for it, and nobody does without an answer for it.
            Err(failure) if self.settle.is_none() => {
                let reason = printable(failure.message());
                eprintln!("tally: nothing is settled on this machine's own ledger: {reason}");
                Ok(None)
            }
            made => made.map(Some),
        }
    }

    /// For a run.
    pub(crate) fn of_run(&self, home: &Home) -> Result<Option<Settling>, Failure> {
        self.chosen(home, |network, form| Settling::new(network, form, home))
    }

    /// For a server.
    pub(crate) fn of_server(&self, home: &Home) -> Result<Option<Arc<Keeper>>, Failure> {
        self.chosen(home, |network, form| {
            Keeper::new(network, form, home).map(Arc::new)
        })
    }
}

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
    outbox: Outbox,
    settler: Option<Settler>,
}

/// Receipts that are on the disk and wait.
pub(crate) struct Kept {
    network: Network,
    outbox: Outbox,
    settler: Option<Settler>,
}

/// A process that settles what is in the outbox once its stdin ends: when it is told to, or when whoever started it is gone.
struct Settler(JoinHandle<io::Result<Child>>);

impl Settling {
    fn new(network: Network, form: RecordForm, home: &Home) -> Result<Self, Failure> {
        let outbox = network.outbox(home)?;
        // Before anything is done whose receipt could not be kept.
        outbox
            .has_room(1)
            .or_environment("keep the receipts of this run")?;
        let settler = if outbox.is_attended().or_environment("look at the outbox")? {
            None
        } else {
            Some(Settler::start(&network))
        };
        Ok(Self {
            network,
            form,
            outbox,
            settler,
        })
    }

    /// Puts a run's receipts into the outbox.
    pub(crate) fn keep(self, live: &Live, report: &RunReport) -> Result<Kept, Failure> {
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
        self.outbox
            .append(&records)
            .or_environment("write the receipts to the outbox")?;
        Ok(Kept {
            network: self.network,
            outbox: self.outbox,
            settler: self.settler,
        })
    }
}

impl Kept {
    /// Says on which ledger they are settled, where nobody but this machine has a part in it.
    pub(crate) fn say_where(&self) {
        if self.network.own.is_some() {
            eprintln!("ledger  this machine's own, which tolerates nobody");
        }
    }

    /// Has them settled, and does not wait for it. What cannot be settled now stays in the outbox for the next time.
    pub(crate) fn begin(self) {
        let settler = match self.settler {
            Some(settler) => settler,
            // It was there when the run began; if it still is, it sees what was appended.
            None if self.outbox.is_attended().unwrap_or(false) => return,
            None => Settler::start(&self.network),
        };
        match settler.0.join() {
            // Its stdin ends with it.
            Ok(Ok(settler)) => drop(settler),
            Ok(Err(error)) => {
                tracing::warn!(%error, "receipts wait in the outbox: `tally ledger settle` settles them");
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Settler {
    fn start(network: &Network) -> Self {
        let file = network.file.clone();
        let reach: Vec<String> = network
            .peers
            .iter()
            .flat_map(|peer| ["--peer".to_owned(), peer.to_string()])
            .chain(network.reach.arguments())
            .collect();
        // To start a program is to wait for it to be found and mapped.
        Self(std::thread::spawn(move || {
            Command::new(std::env::current_exe()?)
                .args(["ledger", "settle", "--background", "--network"])
                .arg(file)
                .args(reach)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                // ^C is meant for the run.
                .process_group(0)
                .spawn()
        }))
    }
}

//! Whether receipts are settled, and what `tally run` does with its own once they are made: onto the disk before the answer
//! ends, and to the ledger in a process of its own, for which nobody waits. That process is started beside the run, so that it
//! is there when the run ends, and stays for a while: runs that follow each other have the same one.
//!
//! What `tally serve` does with its own is in `keeper`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use clap::{Args as ClapArgs, ValueEnum};
use tally_engine::RunReport;
use tally_node::{AppendError, Form as RecordForm, Outbox, Record};

use crate::failure::{Failure, OrFail};
use crate::home::Home;
use crate::keeper::Keeper;
use crate::network::{Network, Which};
use crate::own::Own;
use crate::setup::Live;
use crate::ui::{grouped, printable};

/// Whether receipts are settled, and where.
#[derive(ClapArgs)]
pub(crate) struct Asked {
    /// How the receipts of models and runs are settled on the ledger, in the background: by their digests, which is the default, in
    /// full for everybody to see, or not at all; else as TALLY_SETTLE says. Where no network is configured (`tally ledger use`), the
    /// ledger is that of this machine alone, which tolerates nobody: whoever believes its proofs believes this machine.
    #[arg(long, value_enum, value_name = "FORM")]
    settle: Option<Form>,
    #[command(flatten)]
    pub(crate) network: Which,
}

impl Asked {
    /// What settles as was asked for: on the network that is configured, else on the ledger of this machine alone. It is told
    /// whether somebody asked for it: by the form, or by a network.
    fn chosen<T>(
        &self,
        home: &Home,
        make: impl FnOnce(Network, RecordForm, bool) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let said = match self.settle {
            Some(form) => Some(form),
            None => Form::said(std::env::var_os("TALLY_SETTLE").as_deref())?,
        };
        let form = match said {
            Some(Form::None) => return Ok(None),
            Some(Form::Full) => RecordForm::Full,
            Some(Form::Hash) | None => RecordForm::Hash,
        };
        if let Some(network) = self.network.find(home)? {
            // Whichever it is: who names this machine's own ledger asks for it, too.
            return make(network, form, true).map(Some);
        }
        let own = Own::of(home).make(home);
        match own.and_then(|network| make(network, form, said.is_some())) {
            // Nobody asked for it, and nobody does without an answer for it.
            Err(failure) if said.is_none() => {
                let reason = printable(failure.message());
                eprintln!("tally: nothing is settled on this machine's own ledger: {reason}");
                Ok(None)
            }
            made => made.map(Some),
        }
    }

    /// For a run.
    pub(crate) fn of_run(&self, home: &Home) -> Result<Option<Settling>, Failure> {
        self.chosen(home, |network, form, is_asked| {
            Settling::new(network, form, is_asked, home)
        })
    }

    /// For a server.
    pub(crate) fn of_server(&self, home: &Home) -> Result<Option<Arc<Keeper>>, Failure> {
        self.chosen(home, |network, form, is_asked| {
            Keeper::new(network, form, is_asked, home).map(Arc::new)
        })
    }
}

/// Says that receipts are not kept, where nobody asked for it and so nothing else comes of it.
pub(crate) fn say_unkept(error: &AppendError) {
    let reason = printable(&error.to_string());
    eprintln!("tally: receipts are not kept for this machine's own ledger: {reason}");
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

impl Form {
    /// As the environment says. Nothing is said by nothing.
    fn said(text: Option<&OsStr>) -> Result<Option<Self>, Failure> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        text.to_str()
            .and_then(|text| Self::from_str(text, false).ok())
            .map(Some)
            .ok_or_else(|| {
                Failure::misuse(format_args!(
                    "TALLY_SETTLE is {}, which is neither none nor hash nor full",
                    text.display()
                ))
            })
    }
}

/// A run whose receipts will be settled.
pub(crate) struct Settling {
    network: Network,
    form: RecordForm,
    /// Whether somebody asked for it.
    is_asked: bool,
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
    fn new(
        network: Network,
        form: RecordForm,
        is_asked: bool,
        home: &Home,
    ) -> Result<Self, Failure> {
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
            is_asked,
            outbox,
            settler,
        })
    }

    /// Puts a run's receipts into the outbox. None are there if it does not take them and nobody asked for it.
    pub(crate) fn keep(self, live: &Live, report: &RunReport) -> Result<Option<Kept>, Failure> {
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
        match self.outbox.append(&records) {
            Err(error) if !self.is_asked => {
                say_unkept(&error);
                return Ok(None);
            }
            kept => kept.or_environment("write the receipts to the outbox")?,
        }
        Ok(Some(Kept {
            network: self.network,
            outbox: self.outbox,
            settler: self.settler,
        }))
    }
}

impl Kept {
    /// Says on which ledger they are settled, where nobody but this machine has a part in it.
    pub(crate) fn say_where(&self) {
        if self.network.own.is_some() {
            eprintln!("ledger  this machine's own, which tolerates nobody");
        }
    }

    /// Says what keeps receipts from being settled, as far as it is known: whoever settled in the background had nobody to tell.
    pub(crate) fn say_trouble(&self, home: &Home) {
        if let (Some(reason), Ok(waiting)) = (self.network.trouble(home), self.outbox.waiting()) {
            eprintln!(
                "tally: receipts wait to be settled (now: {}); the last try in the background failed: {}",
                grouped(waiting),
                printable(&reason)
            );
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
        let trusted = network.trusted.as_ref().map(|named| named.file.clone());
        // To start a program is to wait for it to be found and mapped.
        Self(std::thread::spawn(move || {
            Command::new(std::env::current_exe()?)
                .args(["ledger", "settle", "--background", "--network"])
                .arg(file)
                .args(reach)
                .args(
                    trusted
                        .iter()
                        .flat_map(|file| [OsStr::new("--trusted"), file.as_os_str()]),
                )
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                // ^C is meant for the run.
                .process_group(0)
                .spawn()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_asks_for_nothing_and_a_word_that_is_no_form_is_misuse() {
        let said = |text: Option<&str>| Form::said(text.map(OsStr::new)).ok();
        assert_eq!(said(None), Some(None));
        assert_eq!(said(Some("")), Some(None));
        assert_eq!(said(Some("none")), Some(Some(Form::None)));
        assert_eq!(said(Some("hash")), Some(Some(Form::Hash)));
        assert_eq!(said(Some("full")), Some(Some(Form::Full)));
        for wrong in ["Hash", "all", " "] {
            assert_eq!(said(Some(wrong)), None, "{wrong}");
        }
    }
}

//! Receipts of a server: on the disk before an answer that they are of is used, and on the ledger while it goes on serving.
//!
//! ```text
//! a model's answer ──▶ outbox (`Receipts::keep`) ──▶ whoever asked
//!                         └── wakes ──▶ `Keeper::settle`, a task beside the server
//! ```
//!
//! Invariants: an answer whose receipt is not durable is not given, unless nobody asked for receipts to be settled: then it is said
//! once. Nobody who asks waits for the ledger; while it is away
//! receipts wait in the outbox, and what is there is settled by whoever comes next, this server or another program.
//!
//! Out of scope: receipts of `tally run`, which ends (`settling`), and how an outbox is emptied (`emptying`).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tally_gateway::OwnReceipts;
use tally_node::{AppendError, Form, Outbox, Record};
use tokio::sync::Notify;

use crate::emptying;
use crate::failure::{Failure, OrFail};
use crate::home::Home;
use crate::network::Network;
use crate::settling;
use crate::ui::{grouped, printable};

/// How long receipts are gathered once there is one: a question makes several, and a settlement of many costs what one of a
/// single receipt costs.
const GATHER: Duration = Duration::from_millis(500);
/// The pause after the first time that settling failed; each later one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where the receipts of models go as soon as they are made: into an outbox, or nowhere.
#[derive(Clone, Default)]
pub(crate) struct Receipts(Option<Arc<Keeper>>);

impl Receipts {
    /// Into this keeper's outbox; nowhere if there is none.
    pub(crate) fn of(keeper: Option<&Arc<Keeper>>) -> Self {
        Self(keeper.cloned())
    }

    /// Makes a receipt durable, where it is to be settled. Waits for the disk and is called from threads that may.
    pub(crate) fn keep(&self, envelope: &[u8]) -> io::Result<()> {
        match &self.0 {
            Some(keeper) => keeper.keep(envelope),
            None => Ok(()),
        }
    }
}

/// An outbox that a server fills and empties.
pub(crate) struct Keeper {
    network: Network,
    form: Form,
    /// Whether somebody asked for it.
    is_asked: bool,
    /// Whether it was said that a receipt was not kept.
    is_loss_said: AtomicBool,
    outbox: Outbox,
    kept: Notify,
    /// Why the last try to settle failed, if it did.
    trouble: Mutex<Option<String>>,
}

impl Keeper {
    /// Over this machine's outbox for a network. Contacts nobody.
    pub(crate) fn new(
        network: Network,
        form: Form,
        is_asked: bool,
        home: &Home,
    ) -> Result<Self, Failure> {
        Ok(Self {
            outbox: network.outbox(home)?,
            network,
            form,
            is_asked,
            is_loss_said: AtomicBool::new(false),
            kept: Notify::new(),
            trouble: Mutex::default(),
        })
    }

    /// Where they are settled.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// `hash` or `full`.
    pub(crate) fn form(&self) -> &'static str {
        match self.form {
            Form::Hash => "hash",
            Form::Full => "full",
        }
    }

    fn keep(&self, envelope: &[u8]) -> io::Result<()> {
        let record = Record {
            form: self.form,
            receipt: envelope.to_vec(),
        };
        match self.outbox.append(&[record]) {
            Ok(()) => {
                self.kept.notify_one();
                Ok(())
            }
            // Nobody does without an answer for what nobody asked for.
            Err(error) if !self.is_asked => {
                if !self.is_loss_said.swap(true, Ordering::Relaxed) {
                    settling::say_unkept(&error);
                }
                Ok(())
            }
            Err(error) => {
                let kind = match &error {
                    AppendError::Disk(error) => error.kind(),
                    _ => io::ErrorKind::StorageFull,
                };
                Err(io::Error::new(
                    kind,
                    format!("cannot write the receipt to the outbox: {error}"),
                ))
            }
        }
    }

    /// Settles what is in the outbox: what is found there, then whatever is kept, and again after a pause where it fails.
    /// Ends with whoever waits for it.
    pub(crate) async fn settle(self: Arc<Self>, home: Home) {
        let mut pause = FIRST_PAUSE;
        loop {
            // In a task of its own, so that what goes wrong there is said and tried again.
            let (keeper, here) = (Arc::clone(&self), home.clone());
            let once = tokio::spawn(async move { keeper.empty(&here).await }).await;
            match once.unwrap_or_else(|error| Err(Failure::environment(&error))) {
                Ok(()) => {
                    if self.trouble().take().is_some() {
                        eprintln!("tally: the receipts that waited in the outbox are settled");
                    }
                    pause = FIRST_PAUSE;
                    self.kept.notified().await;
                    tokio::time::sleep(GATHER).await;
                }
                // Also what no network would take: who may settle, and what fits, may have changed by the next try.
                Err(failure) => {
                    let reason = printable(failure.message());
                    tracing::debug!(%reason, ?pause, "the outbox is not settled");
                    // Said once. How it is can be seen in the console.
                    if self.trouble().replace(reason.clone()).is_none() {
                        eprintln!(
                            "tally: receipts wait in the outbox, and are tried again meanwhile: {reason}"
                        );
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn empty(&self, home: &Home) -> Result<(), Failure> {
        let waiting = self.outbox.waiting();
        if waiting.or_environment("look at the outbox")? == 0 {
            return Ok(());
        }
        let settled = emptying::empty(&self.network, &self.outbox, home).await?;
        tracing::debug!(settled, "receipts are settled");
        Ok(())
    }

    /// What waits, for whoever looks.
    pub(crate) fn standing(&self) -> OwnReceipts {
        let looked = self.outbox.waiting().and_then(|waiting| {
            let here = self.outbox.refused()?.len() as u64;
            Ok((waiting, here + self.outbox.dropped()?))
        });
        match looked {
            Ok((waiting, refused)) => OwnReceipts {
                waiting: Some(waiting),
                refused,
                trouble: self.trouble().clone(),
            },
            Err(error) => OwnReceipts {
                waiting: None,
                refused: 0,
                trouble: Some(format!("the outbox cannot be read: {error}")),
            },
        }
    }

    /// Says what is left to somebody else, once nobody settles here any more.
    pub(crate) fn say_what_waits(&self) {
        if let Ok(waiting @ 1..) = self.outbox.waiting() {
            eprintln!(
                "receipts that wait in the outbox: {}; the next server or run settles them, or `tally ledger settle`",
                grouped(waiting)
            );
        }
    }

    /// What a panic left here is whole: it is replaced as one.
    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

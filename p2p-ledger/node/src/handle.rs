//! How the rest of a program talks to its node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tally_ledger::{
    AccountId, ChainId, Checked, Entry, Epoch, Evidence, Height, NodeId, Subject, Transaction,
};
use tally_log::SignedCheckpoint;
use tally_receipt::Digest;
use tokio::sync::{mpsc, oneshot, watch};

use crate::actor::Command;
use crate::checks::Checks;
use crate::proofs::Wanted;
use crate::service::malformed;
use crate::wire::{
    AccountAnswer, DecidedAnswer, Head, NodeAnswer, Refused, SaidAnswer, Status, Stretch, Submitted,
};

/// A way to a running node. Clones lead to the same one.
#[derive(Clone, Debug)]
pub struct Handle {
    chain: ChainId,
    checks: Arc<Checks>,
    commands: mpsc::Sender<Command>,
    heights: watch::Receiver<Height>,
}

/// The node has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;

impl Handle {
    pub(crate) fn new(
        chain: ChainId,
        commands: mpsc::Sender<Command>,
        heights: watch::Receiver<Height>,
    ) -> Self {
        Self {
            chain,
            checks: Arc::new(Checks::new(chain)),
            commands,
            heights,
        }
    }

    /// What the node and whoever hands it transactions have checked.
    pub(crate) fn checks(&self) -> Arc<Checks> {
        self.checks.clone()
    }

    /// The chain's name.
    #[must_use]
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// The last final block, whenever it changes.
    #[must_use]
    pub fn heights(&self) -> watch::Receiver<Height> {
        self.heights.clone()
    }

    /// Hands transactions over. What is accepted is durable. Signatures are checked here, in the caller's task.
    pub async fn submit(&self, transactions: Vec<Transaction>) -> Result<Vec<Submitted>, Stopped> {
        let checked = self.checks.check_many(transactions);
        self.offer(
            checked
                .into_iter()
                .map(|one| one.map_err(|error| malformed(&error)))
                .collect(),
        )
        .await
    }

    /// Hands over what was checked, and answers for what was not good enough, too.
    pub(crate) async fn offer(
        &self,
        checked: Vec<Result<Checked, Refused>>,
    ) -> Result<Vec<Submitted>, Stopped> {
        let good: Vec<Checked> = checked.iter().flatten().cloned().collect();
        let judged = if good.is_empty() {
            Vec::new()
        } else {
            self.ask(|answer| Command::Submit {
                transactions: good,
                answer,
            })
            .await?
        };
        let mut judged = judged.into_iter();
        Ok(checked
            .into_iter()
            .map(|one| match one {
                Ok(_) => judged.next().expect("one answer for each"),
                Err(refused) => Submitted::Refused(refused),
            })
            .collect())
    }

    /// How the node and its chain are.
    pub async fn status(&self) -> Result<Status, Stopped> {
        self.ask(Command::Status).await
    }

    /// The proof that a receipt is settled, as soon as it is.
    pub async fn prove(
        &self,
        receipt: Digest,
        wait: Duration,
    ) -> Result<Result<Bytes, Refused>, Stopped> {
        self.prove_wanted(Wanted::Receipt(receipt), wait).await
    }

    /// The proof of one entry of the log, as soon as it is there.
    pub(crate) async fn prove_wanted(
        &self,
        wanted: Wanted,
        wait: Duration,
    ) -> Result<Result<Bytes, Refused>, Stopped> {
        self.ask(|answer| Command::Prove {
            wanted,
            wait,
            answer,
        })
        .await
    }

    /// The same by a checkpoint that a quorum has cosigned, as a `.tlog-proof`.
    pub async fn prove_cosigned(
        &self,
        receipt: Digest,
        wait: Duration,
    ) -> Result<Result<Bytes, Refused>, Stopped> {
        self.ask(|answer| Command::ProveCosigned {
            receipt,
            wait,
            answer,
        })
        .await
    }

    /// The last checkpoint of the log that a quorum has cosigned.
    pub async fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, Stopped> {
        self.ask(Command::Checkpoint).await
    }

    /// Takes a checkpoint that this node or another one had.
    pub(crate) async fn take_checkpoint(&self, said: SignedCheckpoint) -> Result<(), Stopped> {
        self.ask(|answer| Command::TakeCheckpoint { said, answer })
            .await
    }

    /// Entries of the log from a place on, at most so many.
    pub(crate) async fn entries(&self, from: u64, count: u64) -> Result<Vec<Entry>, Stopped> {
        self.ask(|answer| Command::Entries {
            from,
            count,
            answer,
        })
        .await
    }

    /// What is in an account.
    pub async fn account(&self, account: AccountId) -> Result<AccountAnswer, Stopped> {
        self.ask(|answer| Command::Account { account, answer })
            .await
    }

    /// A registered node.
    pub async fn node(&self, node: NodeId) -> Result<Option<NodeAnswer>, Stopped> {
        self.ask(|answer| Command::Node { node, answer }).await
    }

    /// Evidence against validators.
    pub async fn faults(&self) -> Result<Vec<Evidence>, Stopped> {
        self.ask(Command::Faults).await
    }

    pub(crate) async fn head(&self, since: Epoch) -> Result<Option<Head>, Stopped> {
        self.ask(|answer| Command::Head { since, answer }).await
    }

    pub(crate) async fn decided(&self, since: Epoch) -> Result<Option<DecidedAnswer>, Stopped> {
        self.ask(|answer| Command::Decided { since, answer }).await
    }

    pub(crate) async fn said(
        &self,
        since: Epoch,
        subject: Subject,
    ) -> Result<Option<SaidAnswer>, Stopped> {
        self.ask(|answer| Command::Said {
            since,
            subject,
            answer,
        })
        .await
    }

    pub(crate) async fn blocks(&self, from: Height) -> Result<Result<Stretch, Refused>, Stopped> {
        self.ask(|answer| Command::Blocks { from, answer }).await
    }

    pub(crate) async fn take(
        &self,
        stretch: Stretch,
    ) -> Result<Result<Height, &'static str>, Stopped> {
        self.ask(|answer| Command::Take { stretch, answer }).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.commands
            .send(command(answer))
            .await
            .map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }
}

//! Answers to whoever calls.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tally_ledger::{Checked, Transaction};
use tally_net::{EndpointId, Service};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::checks::Checks;
use crate::handle::{Handle, Stopped};
use crate::proofs::Wanted;
use crate::wire::{self, Answer, Ask, Refused, RefusedCode, Submitted, Transactions};

/// A node's answers. Everything here is public: whoever calls is asked nothing, and a transaction speaks for itself by its
/// signatures.
pub(crate) struct Answers {
    pub(crate) node: Handle,
    /// The genesis file.
    pub(crate) genesis: Bytes,
    /// How many submissions are checked at once.
    pub(crate) checking: Semaphore,
    /// How many callers may wait for a proof at once: [`WAITING`].
    pub(crate) waiting: Semaphore,
}

/// Calls that are answered at once.
pub(crate) const CALLS: usize = 256;
/// Those of them that may wait for a proof; further ones are told that there is none yet. So whoever waits for something never
/// keeps out the submission that it waits for.
pub(crate) const WAITING: usize = 192;

/// Reads and checks transactions, one answer for each.
fn check(all: &[Bytes], checks: &Checks) -> Vec<Result<Checked, Refused>> {
    let mut readable = Vec::new();
    let read: Vec<Result<(), Refused>> = all
        .iter()
        .map(|bytes| match Transaction::from_bytes(bytes) {
            Ok(transaction) => {
                readable.push(transaction);
                Ok(())
            }
            Err(error) => Err(malformed(&error)),
        })
        .collect();
    let mut checked = checks.check_many(readable).into_iter();
    read.into_iter()
        .map(|read| {
            read.and_then(|()| {
                checked
                    .next()
                    .expect("one answer for each")
                    .map_err(|error| malformed(&error))
            })
        })
        .collect()
}

/// What can never be good, whoever looks at it.
pub(crate) fn malformed(error: &dyn std::error::Error) -> Refused {
    Refused {
        code: RefusedCode::Malformed,
        sentence: error.to_string(),
    }
}

fn at_genesis() -> Refused {
    Refused {
        code: RefusedCode::NotYet,
        sentence: "the chain has no block but genesis".into(),
    }
}

impl Service for Answers {
    fn answer(
        &self,
        caller: EndpointId,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>> {
        Box::pin(async move {
            let answer = match wire::decode::<Ask>(request) {
                Ok(ask) => self.ask(ask).await.unwrap_or_else(|Stopped| {
                    Answer::No(Refused {
                        code: RefusedCode::Broken,
                        sentence: Stopped.to_string(),
                    })
                }),
                Err(error) => {
                    tracing::debug!(%caller, %error, "asked what is no question");
                    Answer::No(Refused {
                        code: RefusedCode::Malformed,
                        sentence: error.to_string(),
                    })
                }
            };
            wire::encode(&answer)
        })
    }
}

impl Answers {
    async fn ask(&self, ask: Ask) -> Result<Answer, Stopped> {
        Ok(match ask {
            Ask::Status => Answer::Status(self.node.status().await?),
            Ask::Genesis => Answer::Genesis(self.genesis.clone()),
            Ask::Submit(transactions) => Answer::Submitted(self.submit(transactions).await?),
            Ask::Prove { receipt, wait_ms } => {
                self.prove(Wanted::Receipt(receipt), wait_ms).await?
            }
            Ask::ProvePlace {
                node,
                sequence,
                wait_ms,
            } => self.prove(Wanted::Place(node, sequence), wait_ms).await?,
            Ask::Blocks(from) => Answer::Blocks(self.node.blocks(from).await?),
            Ask::Account(account) => Answer::Account(self.node.account(account).await?),
            Ask::Head(since) => match self.node.head(since).await? {
                Some(head) => Answer::Head(head),
                None => Answer::No(at_genesis()),
            },
            Ask::Decided(since) => match self.node.decided(since).await? {
                Some(decided) => Answer::Decided(Box::new(decided)),
                None => Answer::No(at_genesis()),
            },
            Ask::Said { since, subject } => match self.node.said(since, subject).await? {
                Some(said) => Answer::Said(Box::new(said)),
                None => Answer::No(at_genesis()),
            },
            Ask::Checkpoint => match self.node.checkpoint().await? {
                Some(checkpoint) => Answer::Checkpoint(checkpoint.to_string().into()),
                None => Answer::No(Refused {
                    code: RefusedCode::NotYet,
                    sentence: "no checkpoint has enough cosignatures yet".into(),
                }),
            },
            Ask::ProveCosigned { receipt, wait_ms } => {
                let (wait, _turn) = self.patience(wait_ms);
                match self.node.prove_cosigned(receipt, wait).await? {
                    Ok(proof) => Answer::Proof(proof),
                    Err(refused) => Answer::No(refused),
                }
            }
            Ask::Node(node) => Answer::Node(self.node.node(node).await?),
        })
    }

    async fn prove(&self, wanted: Wanted, wait_ms: u32) -> Result<Answer, Stopped> {
        let (wait, _turn) = self.patience(wait_ms);
        Ok(match self.node.prove_wanted(wanted, wait).await? {
            Ok(proof) => Answer::Proof(proof),
            Err(refused) => Answer::No(refused),
        })
    }

    /// How long a caller may wait who would wait so long.
    fn patience(&self, wait_ms: u32) -> (Duration, Option<SemaphorePermit<'_>>) {
        match self.waiting.try_acquire() {
            Ok(turn) => (Duration::from_millis(wait_ms.into()), Some(turn)),
            Err(_) => (Duration::ZERO, None),
        }
    }

    /// Reading and checking takes milliseconds, for which no vote should wait: it happens beside the thread that votes.
    async fn submit(&self, Transactions(all): Transactions) -> Result<Vec<Submitted>, Stopped> {
        let _turn = self.checking.acquire().await.map_err(|_| Stopped)?;
        let checks = self.node.checks();
        let checked = tokio::task::spawn_blocking(move || check(&all, &checks))
            .await
            .map_err(|_| Stopped)?;
        self.node.offer(checked).await
    }
}

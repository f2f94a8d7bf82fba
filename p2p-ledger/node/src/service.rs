//! Answers to whoever calls.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tally_ledger::Transaction;
use tally_net::{EndpointId, Service};

use crate::handle::{Handle, Stopped};
use crate::wire::{self, Answer, Ask, Refused, RefusedCode, Submitted, Transactions};

/// A node's answers. Everything here is public: whoever calls is asked nothing, and a transaction speaks for itself by its
/// signatures.
pub(crate) struct Answers {
    pub(crate) node: Handle,
    /// The genesis file.
    pub(crate) genesis: Bytes,
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
                let wait = Duration::from_millis(wait_ms.into());
                match self.node.prove(receipt, wait).await? {
                    Ok(proof) => Answer::Proof(proof),
                    Err(refused) => Answer::No(refused),
                }
            }
            Ask::Blocks(from) => Answer::Blocks(self.node.blocks(from).await?),
            Ask::Account(account) => Answer::Account(self.node.account(account).await?),
            Ask::Head(since) => match self.node.head(since).await? {
                Some(head) => Answer::Head(head),
                None => Answer::No(Refused {
                    code: RefusedCode::NotYet,
                    sentence: "the chain has no block but genesis".into(),
                }),
            },
            Ask::Node(node) => Answer::Node(self.node.node(node).await?),
        })
    }

    async fn submit(&self, Transactions(all): Transactions) -> Result<Vec<Submitted>, Stopped> {
        let mut answers = Vec::with_capacity(all.len());
        let mut readable = Vec::new();
        for bytes in &all {
            match Transaction::from_bytes(bytes) {
                Ok(transaction) => {
                    answers.push(None);
                    readable.push(transaction);
                }
                Err(error) => answers.push(Some(Submitted::Refused(Refused {
                    code: RefusedCode::Malformed,
                    sentence: error.to_string(),
                }))),
            }
        }
        let mut submitted = self.node.submit(readable).await?.into_iter();
        Ok(answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| submitted.next().expect("one answer for each")))
            .collect())
    }
}

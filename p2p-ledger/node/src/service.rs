//! Answers to whoever calls.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tally_ledger::{Checked, Height, Transaction};
use tally_net::{Asker, EndpointId, Origin, Service, Turn, Turns};
use tokio::sync::Semaphore;

use crate::checks::Checks;
use crate::handle::{Handle, Stopped};
use crate::proofs::Wanted;
use crate::wire::{self, Answer, Ask, Refused, RefusedCode, Submitted, Transactions};

/// A node's answers. Everything here is public, unless it is said who may call: whoever calls is asked nothing, and a transaction
/// speaks for itself by its signatures.
pub(crate) struct Answers {
    pub(crate) node: Handle,
    /// The genesis file.
    pub(crate) genesis: Bytes,
    /// Who may call; everybody, if nobody is named.
    pub(crate) callers: Option<BTreeSet<EndpointId>>,
    /// How many submissions are checked at once.
    pub(crate) checking: Semaphore,
    /// How many callers may wait for a proof at once: [`WAITING`].
    pub(crate) waiting: Turns,
    /// How many stretches of blocks are read, held and sent at once: [`READING`].
    pub(crate) reading: Turns,
}

/// Calls that are answered at once.
pub(crate) const CALLS: usize = 256;
/// Those of them that may wait for a proof; further ones are told that there is none yet. So whoever waits for something never
/// keeps out the submission that it waits for: nor one from the same address, which has a quarter of both.
pub(crate) const WAITING: usize = 192;
/// Those of them that may be for blocks, which take reading and memory until they are sent; further ones are refused at once. One
/// address has a quarter.
pub(crate) const READING: usize = 16;

/// An answer that takes much memory, with the turn that it has until the last of it is sent.
struct Held {
    bytes: Bytes,
    _turn: Turn,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

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
    fn admits(&self, caller: EndpointId) -> bool {
        self.callers
            .as_ref()
            .is_none_or(|callers| callers.contains(&caller))
    }

    fn answer(
        &self,
        asker: Asker,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>> {
        Box::pin(async move {
            match wire::decode::<Ask>(request) {
                Ok(ask) => self
                    .ask(ask, asker.origin)
                    .await
                    .unwrap_or_else(|Stopped| no(RefusedCode::Broken, Stopped.to_string())),
                Err(error) => {
                    tracing::debug!(caller = %asker.id, %error, "asked what is no question");
                    no(RefusedCode::Malformed, error.to_string())
                }
            }
        })
    }
}

/// A refusal, as an answer.
fn no(code: RefusedCode, sentence: String) -> Bytes {
    wire::encode(&Answer::No(Refused { code, sentence }))
}

/// A proof, unless it is longer than an answer.
fn proof(proof: Bytes) -> Answer {
    if wire::fits_an_answer(&proof) {
        return Answer::Proof(proof);
    }
    let sentence = format!(
        "the proof has {} bytes, by the validators who came and went, and an answer fewer",
        proof.len()
    );
    Answer::No(Refused {
        code: RefusedCode::Broken,
        sentence,
    })
}

impl Answers {
    async fn ask(&self, ask: Ask, origin: Origin) -> Result<Bytes, Stopped> {
        let answer = match ask {
            Ask::Status => Answer::Status(self.node.status().await?),
            Ask::Genesis => Answer::Genesis(self.genesis.clone()),
            Ask::Submit(transactions) => Answer::Submitted(self.submit(transactions).await?),
            Ask::Prove { receipt, wait_ms } => {
                self.prove(Wanted::Receipt(receipt), wait_ms, origin)
                    .await?
            }
            Ask::ProvePlace {
                node,
                sequence,
                wait_ms,
            } => {
                self.prove(Wanted::Place(node, sequence), wait_ms, origin)
                    .await?
            }
            Ask::Blocks(from) => return self.blocks(from, origin).await,
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
                let (wait, _turn) = self.patience(wait_ms, origin);
                match self.node.prove_cosigned(receipt, wait).await? {
                    Ok(found) => proof(found),
                    Err(refused) => Answer::No(refused),
                }
            }
            Ask::Node(node) => Answer::Node(self.node.node(node).await?),
        };
        Ok(wire::encode(&answer))
    }

    async fn blocks(&self, from: Height, origin: Origin) -> Result<Bytes, Stopped> {
        let Some(turn) = self.reading.take(origin) else {
            let sentence = "too many ask for blocks; ask again later, or another node";
            return Ok(no(RefusedCode::Busy, sentence.into()));
        };
        let stretch = match self.node.blocks(from).await? {
            Ok(stretch) => stretch,
            Err(refused) => return Ok(wire::encode(&Answer::No(refused))),
        };
        Ok(Bytes::from_owner(Held {
            bytes: wire::encode(&Answer::Blocks(stretch)),
            _turn: turn,
        }))
    }

    async fn prove(&self, wanted: Wanted, wait_ms: u32, origin: Origin) -> Result<Answer, Stopped> {
        let (wait, _turn) = self.patience(wait_ms, origin);
        Ok(match self.node.prove_wanted(wanted, wait).await? {
            Ok(found) => proof(found),
            Err(refused) => Answer::No(refused),
        })
    }

    /// How long a caller may wait who would wait so long.
    fn patience(&self, wait_ms: u32, origin: Origin) -> (Duration, Option<Turn>) {
        match self.waiting.take(origin) {
            Some(turn) => (Duration::from_millis(wait_ms.into()), Some(turn)),
            None => (Duration::ZERO, None),
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

#[cfg(test)]
mod tests {
    use tally_ledger::ChainId;
    use tally_net::Secret;
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::actor::Command;
    use crate::wire::{FinalBlock, Stretch};

    /// What answers calls of a node that has one block.
    fn answers() -> Answers {
        let (commands_in, mut commands) = mpsc::channel(8);
        let (_, heights) = watch::channel(Height::ZERO);
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                if let Command::Blocks { answer, .. } = command {
                    let stretch = Stretch {
                        blocks: vec![FinalBlock {
                            block: Bytes::from_static(b"a block"),
                            certificate: Bytes::from_static(b"a certificate"),
                        }],
                    };
                    let _ = answer.send(Ok(stretch));
                }
            }
        });
        Answers {
            node: Handle::new(ChainId::from_bytes([1; 32]), commands_in, heights),
            genesis: Bytes::new(),
            callers: None,
            checking: Semaphore::new(1),
            waiting: Turns::new(WAITING),
            reading: Turns::new(READING),
        }
    }

    fn from(number: u8) -> Origin {
        Origin::Address([203, 0, 113, number].into())
    }

    #[tokio::test]
    async fn blocks_are_held_for_so_many_at_once_and_others_are_told_until_one_is_sent() {
        let answers = answers();
        let id = Secret::derive(&[7; 32]).id();
        let ask = |number| {
            let origin = from(number);
            let ask = wire::encode(&Ask::Blocks(Height::new(1)));
            answers.answer(Asker { id, origin }, ask)
        };
        let is_busy = |answer: &Bytes| {
            let read = wire::decode(answer.clone());
            matches!(read, Ok(Answer::No(refused)) if refused.code == RefusedCode::Busy)
        };
        let mut held = Vec::new();
        for number in 0..4 {
            for _ in 0..READING / 4 {
                let bytes = ask(number).await;
                assert!(matches!(wire::decode(bytes.clone()), Ok(Answer::Blocks(_))));
                held.push(bytes);
            }
            // Others are left what they have.
            assert!(is_busy(&ask(number).await));
        }
        assert!(is_busy(&ask(9).await));
        // A part of an answer that is not sent yet is not sent.
        let rest = held.pop().expect("there are some").slice(5..);
        assert!(is_busy(&ask(9).await));
        drop(rest);
        assert!(!is_busy(&ask(9).await));
    }

    #[tokio::test]
    async fn whoever_waits_for_proofs_leaves_calls_to_its_own_address() {
        let answers = answers();
        let waits = std::iter::from_fn(|| answers.patience(9, from(1)).1);
        let turns: Vec<Turn> = waits.collect();
        assert!(
            turns.len() < CALLS / 4,
            "an address has a quarter of the calls"
        );
        assert_eq!(answers.patience(9, from(1)).0, Duration::ZERO);
        assert_eq!(answers.patience(9, from(2)).0, Duration::from_millis(9));
    }

    #[test]
    fn a_proof_that_is_longer_than_an_answer_is_refused_in_words() {
        let of = |length| wire::encode(&proof(Bytes::from(vec![0; length])));
        let longest = wire::MESSAGE_LIMIT - 5;
        assert_eq!(of(longest).len(), wire::MESSAGE_LIMIT);
        let answer = wire::decode(of(longest + 1));
        assert!(matches!(answer, Ok(Answer::No(refused)) if refused.code == RefusedCode::Broken));
    }
}

//! Emptying an outbox into a ledger.
//!
//! ```text
//! what is next for this node, says the ledger ──▶ the outbox's next receipts, signed ──▶ f + 1 validators have them
//!        ▲                                                                                          │
//!        └────────────── the outbox notes them as settled ◀── proof of the last, checked ◀──────────┘
//! ```
//!
//! A crash anywhere is harmless: receipts that were settled and not noted are found by their proof, and the same receipts at
//! the same place make the same transaction.

use std::time::Duration;

use tally_ledger::{
    AccountId, Credits, Genesis, NodeId, Registration, Request, Roles, Sequence, Settlement, Terms,
    Transaction,
};
use tally_receipt::{Digest, SigningKey};

use crate::client::{AskError, Client, ClientError};
use crate::outbox::{Form, Outbox, Record};
use crate::wire::RefusedCode;

/// Receipts in one transaction, and their bytes if they are settled in full.
const RECEIPTS: usize = 1024;
const FULL_BYTES: usize = 768 * 1024;

/// How long a settlement may take to become final before it is sent again.
const FINAL: Duration = Duration::from_secs(15);

/// Why an outbox was not emptied. It keeps what it has.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The network.
    #[error(transparent)]
    Network(#[from] ClientError),
    /// The outbox's disk.
    #[error("the outbox: {0}")]
    Disk(#[from] std::io::Error),
    /// Validators decide who may settle, and have not let this node in.
    #[error("this ledger's validators decide who settles receipts; node {0} is not registered")]
    NotAdmitted(NodeId),
    /// It was handed over and has not become final.
    #[error("the ledger took the receipts {FINAL:?} ago and has not settled them yet")]
    NotFinal,
    /// A receipt is too large to be settled in full.
    #[error("a receipt of {0} bytes is too large to be settled in full")]
    TooLarge(usize),
}

/// Settles what is in an outbox, and says how many receipts that were. `key` is the node's that made the receipts; where the
/// ledger lets anybody register, it is registered as its own owner.
pub async fn settle(
    outbox: &Outbox,
    client: &Client,
    genesis: &Genesis,
    key: &SigningKey,
) -> Result<u64, SettleError> {
    let node = NodeId::new(key.public_key());
    let mut settled = 0;
    loop {
        let (first, open) = outbox.open_records(RECEIPTS)?;
        let Some(open) = batch(open)? else {
            return Ok(settled);
        };
        let digests: Vec<Digest> = open.iter().map(|one| Digest::of(&one.receipt)).collect();
        let Some(last) = digests.last() else {
            return Ok(settled);
        };
        if !final_at(client, *last, Duration::ZERO).await? {
            let next = match client.node(node).await? {
                Some(found) => found.settled,
                None => {
                    register(client, genesis, key).await?;
                    0
                }
            };
            let receipts = match open[0].form {
                Form::Hash => Settlement::Hashes(digests.clone()),
                Form::Full => {
                    Settlement::Full(open.iter().map(|one| one.receipt.clone().into()).collect())
                }
            };
            let request = Request::Settle {
                node,
                first: Sequence::new(next),
                receipts,
            };
            client.submit(&[signed(request, genesis, key)]).await?;
            if !final_at(client, *last, FINAL).await? {
                return Err(SettleError::NotFinal);
            }
        }
        outbox.set_settled(first + digests.len() as u64)?;
        settled += digests.len() as u64;
    }
}

/// The first receipts that fit one transaction: all of one form.
fn batch(open: Vec<Record>) -> Result<Option<Vec<Record>>, SettleError> {
    let Some(form) = open.first().map(|one| one.form) else {
        return Ok(None);
    };
    let mut bytes = 0;
    let mut batch = Vec::new();
    for one in open {
        bytes += one.receipt.len();
        if one.form != form || form == Form::Full && bytes > FULL_BYTES {
            if batch.is_empty() {
                return Err(SettleError::TooLarge(one.receipt.len()));
            }
            break;
        }
        batch.push(one);
    }
    Ok(Some(batch))
}

/// Whether a receipt is settled, or becomes so within `wait`.
async fn final_at(client: &Client, receipt: Digest, wait: Duration) -> Result<bool, SettleError> {
    match client.prove(receipt, wait).await {
        Ok(_) => Ok(true),
        Err(ClientError::Nobody(AskError::Refused(refused)))
            if refused.code == RefusedCode::NotYet =>
        {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

async fn register(client: &Client, genesis: &Genesis, key: &SigningKey) -> Result<(), SettleError> {
    let node = NodeId::new(key.public_key());
    if genesis.parameters.registration == Registration::ByValidators {
        return Err(SettleError::NotAdmitted(node));
    }
    let request = Request::Register {
        owner: AccountId::new(key.public_key()),
        node,
        terms: Terms {
            roles: Roles::INFERENCE,
            evidence: None,
            endpoint: None,
            price: Credits::ZERO,
        },
    };
    client.submit(&[signed(request, genesis, key)]).await?;
    let begun = std::time::Instant::now();
    while client.node(node).await?.is_none() {
        if begun.elapsed() > FINAL {
            return Err(SettleError::NotFinal);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn signed(request: Request, genesis: &Genesis, key: &SigningKey) -> Transaction {
    let signature = key.sign(&request.signed_bytes(genesis.chain()));
    Transaction::new(request, vec![(key.public_key(), signature)])
        .expect("it is within the limits, and has a signature")
}

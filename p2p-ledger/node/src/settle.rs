//! Emptying an outbox into a ledger.
//!
//! ```text
//! what is next for this node, says the ledger ──▶ the outbox notes: these records, from that place on ──▶ signed, to f + 1 validators
//!        ▲                                                                                                     │
//!        └───── the outbox notes them as settled ◀── proof of what stands at the last of these places ◀────────┘
//! ```
//!
//! Invariants: a record counts as settled when the log has its receipt at the place that was noted for it, under this node's
//! name; that somebody else settled the same receipt, or that this node did earlier, does not count. A crash anywhere is
//! harmless: the same records go to the same place, which makes the same transaction, however many were appended since.
//!
//! A receipt in full is set aside, so that those behind it settle, where `f + 1` validators refuse it for good and this runner, looking
//! at its own copy, sees that it is none or badly signed, and which one that is; so is one that is too large for any transaction.
//! Nothing else sets one aside: a digest is refused by nobody for what it is, every other refusal may be another one by the next
//! time, and validators of an older version, or of another chain, refuse for good what is good.
//!
//! Two machines with one key take each other's places. Whoever lost such a place takes a new one; nothing is lost, and each
//! learns of it by what stands there.

use std::time::Duration;

use tally_ledger::{
    AccountId, ChainId, CheckError, Checked, Credits, Genesis, Height, NodeId, NodeKey,
    Registration, Request, Roles, Sequence, Settlement, Terms, Transaction,
};
use tally_receipt::limits::MAX_ENVELOPE_BYTES;
use tally_receipt::{Digest, PublicKey, SigningKey};

use crate::client::{AskError, Client, ClientError};
use crate::outbox::{Form, Outbox, Record, Sent};
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
    /// The node has another key by now, which alone settles for it. Whoever settles must have that one.
    #[error("{key} was the key of node {node} until block {until}, and settles nothing any more")]
    Rotated {
        /// The key that was to settle.
        key: PublicKey,
        /// Whose it was.
        node: NodeId,
        /// The first block at which it was not any more.
        until: Height,
    },
    /// It was handed over and has not become final.
    #[error("the ledger took the receipts {FINAL:?} ago and has not settled them yet")]
    NotFinal,
}

/// Settles what is in an outbox, and says how many receipts that were. `key` is the node's own by now, which the chain shows; where
/// it never was a node's and the ledger lets anybody register, it is registered as its own owner.
pub async fn settle(
    outbox: &Outbox,
    client: &Client,
    genesis: &Genesis,
    key: &SigningKey,
) -> Result<u64, SettleError> {
    let mut whose = None;
    let mut settled = 0;
    // The number of one that can never be settled, and why: those before it go first.
    let mut bad: Option<(u64, String)> = None;
    outbox.go_on()?;
    loop {
        let (first, mut open) = outbox.open_records(RECEIPTS)?;
        if let Some((number, reason)) = bad.take_if(|(number, _)| *number <= first)
            && number == first
        {
            outbox.set_aside(&reason)?;
            continue;
        }
        if let Some((number, _)) = &bad {
            open.truncate(usize::try_from(number - first).unwrap_or(usize::MAX));
        }
        match open.first() {
            None if outbox.pass_lost()? => continue,
            None => return Ok(settled),
            Some(one) if is_too_large(one) => {
                let bytes = one.receipt.len();
                outbox.set_aside(&format!(
                    "a receipt of {bytes} bytes is too large to be settled in full"
                ))?;
                continue;
            }
            Some(_) => {}
        }
        let node = match whose {
            Some(node) => node,
            None => *whose.insert(node_of(client, key.public_key()).await?),
        };
        // What is noted next is shown, not said: a validator that lies would have it noted for good.
        let next = match client.settled_by(node).await? {
            Some(next) => next,
            None => {
                // A node that is new has no other place than its first: durably, since registering it may outlast this call.
                if let Some(sent) = outbox.sent()?.filter(|sent| sent.sequence > 0) {
                    outbox.set_sent(Sent { count: 0, ..sent })?;
                }
                register(client, genesis, key).await?;
                0
            }
        };
        let noted = outbox.sent()?.filter(|sent| is_of(sent, node, next));
        if let Some(sent) = noted {
            // The same records, though more have come since.
            open.truncate(usize::try_from(sent.count).unwrap_or(usize::MAX));
        }
        let open = batch(open);
        let count = open.len() as u64;
        let sent = match noted {
            Some(sent) => sent,
            None => {
                let sent = Sent {
                    first,
                    count,
                    sequence: next,
                    node: Some(node),
                };
                outbox.set_sent(sent)?;
                sent
            }
        };
        let end = sent.sequence + count;
        if next <= sent.sequence {
            let request = Request::Settle {
                node,
                first: Sequence::new(sent.sequence),
                receipts: receipts(&open),
            };
            let transaction = signed(request, genesis, key);
            if let Err(error) = client.submit(std::slice::from_ref(&transaction)).await {
                let found = match &error {
                    ClientError::Refused { .. } => bad_receipt(transaction, genesis.chain()),
                    _ => None,
                };
                let Some((index, reason)) = found else {
                    return Err(error.into());
                };
                // No block will have these there, so that others may take the place.
                outbox.set_sent(Sent { count: 0, ..sent })?;
                bad = Some((first + index as u64, reason));
                continue;
            }
        }
        // If some of the places are taken and others are not, then not by these records, which come together or not at all.
        let mut is_there = next <= sent.sequence || next >= end;
        for (place, record) in [(end - 1, open.last()), (sent.sequence, open.first())] {
            is_there = is_there
                && record.map(|one| Digest::of(&one.receipt))
                    == Some(found_at(client, node, Sequence::new(place)).await?);
        }
        if is_there {
            outbox.set_settled(first + count)?;
            settled += count;
        } else {
            // Something else that has this key settled other receipts there: these records take another place.
            outbox.set_sent(Sent { count: 0, ..sent })?;
        }
    }
}

/// Whether what is noted was to be settled by this node, whose next place this is: a machine may have had another key before. Of a
/// note that does not say whose it is, from before notes did, one that leaves a gap is another's.
fn is_of(sent: &Sent, node: NodeId, next: u64) -> bool {
    match sent.node {
        Some(of) => of == node,
        None => sent.sequence <= next,
    }
}

fn receipts(records: &[Record]) -> Settlement {
    match records[0].form {
        Form::Hash => {
            Settlement::Hashes(records.iter().map(|one| Digest::of(&one.receipt)).collect())
        }
        Form::Full => Settlement::Full(
            records
                .iter()
                .map(|one| one.receipt.clone().into())
                .collect(),
        ),
    }
}

/// The first receipt of a settlement that can never be settled in full, as this runner itself sees it, and why.
fn bad_receipt(settlement: Transaction, chain: ChainId) -> Option<(usize, String)> {
    match Checked::check(settlement, chain) {
        Err(CheckError::NoReceipt { index, reason }) => {
            Some((index, format!("it is no receipt: {reason}")))
        }
        Err(CheckError::BadReceipt { index }) => {
            Some((index, "a signature of it does not hold".to_owned()))
        }
        _ => None,
    }
}

/// Whether no transaction can have it.
fn is_too_large(record: &Record) -> bool {
    record.form == Form::Full && record.receipt.len() > MAX_ENVELOPE_BYTES
}

/// The first receipts that fit one transaction: all of one form. The first of all fits.
fn batch(open: Vec<Record>) -> Vec<Record> {
    let form = open.first().map(|one| one.form);
    let mut bytes = 0;
    open.into_iter()
        .take_while(|one| {
            bytes += one.receipt.len();
            let fits = one.form == Form::Hash || bytes <= FULL_BYTES && !is_too_large(one);
            Some(one.form) == form && fits
        })
        .collect()
}

/// Whose key it is. One that never was a node's names the node that it is to become.
async fn node_of(client: &Client, key: PublicKey) -> Result<NodeId, SettleError> {
    let (_, of) = client.shown_node_key(key).await?;
    match of {
        None => Ok(NodeId::new(key)),
        Some(NodeKey {
            node, until: None, ..
        }) => Ok(node),
        Some(NodeKey {
            node,
            until: Some(until),
            ..
        }) => Err(SettleError::Rotated { key, node, until }),
    }
}

/// The receipt that stands at a node's place, once it is final.
async fn found_at(client: &Client, node: NodeId, place: Sequence) -> Result<Digest, SettleError> {
    match client.settled_at(node, place, FINAL).await {
        Ok(entry) => Ok(entry.receipt),
        Err(ClientError::Nobody(AskError::Refused(refused)))
            if refused.code == RefusedCode::NotYet =>
        {
            Err(SettleError::NotFinal)
        }
        Err(error) => Err(error.into()),
    }
}

async fn register(client: &Client, genesis: &Genesis, key: &SigningKey) -> Result<(), SettleError> {
    let node = NodeId::new(key.public_key());
    // By the rule of now, which validators may have changed since genesis.
    let decided = client.governance().await?.decided;
    if decided.parameters.registration == Registration::ByValidators {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_counts_for_the_node_that_it_was_noted_for() {
        let node = |seed| NodeId::new(SigningKey::from_seed(&[seed; 32]).public_key());
        let sent = |node| Sent {
            first: 0,
            count: 1,
            sequence: 70,
            node,
        };
        for next in [0, 69, 70, 71, 90] {
            assert!(is_of(&sent(Some(node(1))), node(1), next));
            assert!(!is_of(&sent(Some(node(1))), node(2), next));
            assert_eq!(is_of(&sent(None), node(1), next), next >= 70);
        }
    }

    #[test]
    fn a_batch_is_of_one_form_and_has_what_one_transaction_can_have() {
        let record = |form, bytes| Record {
            form,
            receipt: vec![1; bytes],
        };
        let (hash, full) = (Form::Hash, Form::Full);
        let large = MAX_ENVELOPE_BYTES + 1;
        for (open, expected) in [
            (vec![], 0),
            (
                vec![record(hash, 9), record(hash, large), record(full, 9)],
                2,
            ),
            (vec![record(full, 9), record(full, 9), record(hash, 9)], 2),
            (vec![record(full, 9), record(full, large)], 1),
            (vec![record(full, MAX_ENVELOPE_BYTES); 3], 1),
        ] {
            assert_eq!(batch(open).len(), expected);
        }
        assert!(is_too_large(&record(full, large)));
        assert!(!is_too_large(&record(hash, large)));
    }
}

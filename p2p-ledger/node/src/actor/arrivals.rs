//! Transactions that peers have passed on and that are not checked yet.
//!
//! To read and to check them takes milliseconds, for which no vote should wait: a task beside the loop does it, for one peer after
//! the other, in turn.
//!
//! Bounds: within [`EVERY`], [`BYTES`] and [`SIGNATURES`] of one peer, of which the last transaction may have more; no more than
//! [`BYTES`] of one peer wait here. What is beyond that is dropped: what is good of it is named and asked for again
//! ([`entropy`](super::entropy)).

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use commonware_cryptography::ed25519::PublicKey;
use tally_ledger::{
    Checked, MAX_TRANSACTION_BYTES, MAX_VALIDATORS, Request, Settlement, Transaction,
};

use crate::checks::Checks;

/// The time within which a peer has its share.
const EVERY: Duration = Duration::from_millis(500);
/// Bytes of what is taken of a peer within that time: one transaction of any length fits.
pub(super) const BYTES: usize = MAX_TRANSACTION_BYTES;
/// Signatures that are checked of it, where a receipt in full counts for one: the last transaction may have any number.
pub(super) const SIGNATURES: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Arrivals {
    peers: BTreeMap<PublicKey, Peer>,
    /// Those of whom some wait, by whose turn it is.
    turns: VecDeque<PublicKey>,
    is_checking: bool,
}

#[derive(Debug, Default)]
struct Peer {
    /// When its share began.
    since: Option<SystemTime>,
    /// What was taken and checked of it since.
    bytes: usize,
    signatures: usize,
    /// What waits.
    open: Vec<Bytes>,
    /// Whether it has a turn, or is being checked.
    has_turn: bool,
}

impl Peer {
    /// Gives it another share, once the time of the last one is over. A clock that was put back does not make it longer.
    fn renew(&mut self, now: SystemTime) {
        let past = self.since.and_then(|since| now.duration_since(since).ok());
        if past.is_none_or(|past| past >= EVERY) {
            self.since = Some(now);
            self.bytes = self.open.iter().map(Bytes::len).sum();
            self.signatures = 0;
        }
    }
}

/// What a peer passed on, to be checked.
#[derive(Debug)]
pub(super) struct Batch {
    peer: PublicKey,
    transactions: Vec<Bytes>,
    /// Signatures that may be checked.
    signatures: usize,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Arrived {
    peer: PublicKey,
    /// Signatures that were checked.
    signatures: usize,
    pub(super) good: Vec<Checked>,
}

impl Arrivals {
    /// Takes what a peer has passed on, as far as its share goes.
    pub(super) fn hear(&mut self, from: &PublicKey, transactions: Vec<Bytes>, now: SystemTime) {
        // Those of other epochs go with the others.
        if self.peers.len() > 2 * MAX_VALIDATORS {
            self.peers.clear();
            self.turns.clear();
        }
        let peer = self.peers.entry(from.clone()).or_default();
        peer.renew(now);
        for bytes in transactions {
            if peer.bytes + bytes.len() > BYTES {
                break;
            }
            peer.bytes += bytes.len();
            peer.open.push(bytes);
        }
        if !peer.open.is_empty() && !peer.has_turn {
            peer.has_turn = true;
            self.turns.push_back(from.clone());
        }
    }

    /// What is checked next; nothing while something is.
    pub(super) fn next(&mut self) -> Option<Batch> {
        if self.is_checking {
            return None;
        }
        let key = self.turns.pop_front()?;
        let peer = self.peers.get_mut(&key)?;
        self.is_checking = true;
        Some(Batch {
            peer: key,
            transactions: std::mem::take(&mut peer.open),
            signatures: SIGNATURES.saturating_sub(peer.signatures),
        })
    }

    /// Something was checked.
    pub(super) fn checked(&mut self, arrived: &Arrived) {
        self.is_checking = false;
        // It may have gone with those of other epochs.
        let Some(peer) = self.peers.get_mut(&arrived.peer) else {
            return;
        };
        peer.signatures += arrived.signatures;
        peer.has_turn = !peer.open.is_empty();
        if peer.has_turn {
            self.turns.push_back(arrived.peer.clone());
        }
    }
}

impl Batch {
    /// Reads and checks as many as may be. Takes a while.
    pub(super) fn check(self, checks: &Checks) -> Arrived {
        let mut signatures = 0;
        let transactions = self
            .transactions
            .iter()
            .filter_map(|bytes| Transaction::from_bytes(bytes).ok())
            .take_while(|transaction| {
                let fits = signatures < self.signatures;
                if fits {
                    signatures += signatures_of(transaction);
                }
                fits
            })
            .collect();
        let good = checks.check_many(transactions).into_iter().flatten();
        let good = good.collect();
        Arrived {
            peer: self.peer,
            signatures,
            good,
        }
    }
}

fn signatures_of(transaction: &Transaction) -> usize {
    let in_full = match transaction.request() {
        Request::Settle {
            receipts: Settlement::Full(receipts),
            ..
        } => receipts.len(),
        _ => 0,
    };
    transaction.signers().count() + in_full
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use tally_ledger::{AccountId, ChainId, Credits, NodeId, Roles, Terms};
    use tally_receipt::SigningKey;

    use super::*;

    const CHAIN: ChainId = ChainId::from_bytes([1; 32]);

    fn peer(seed: u8) -> PublicKey {
        crate::simplex::key(&SigningKey::from_seed(&[seed; 32]).public_key())
    }

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    fn claims(count: u32) -> Vec<Bytes> {
        let claim = |number: u32| {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&number.to_be_bytes());
            let key = SigningKey::from_seed(&seed);
            let account = AccountId::new(key.public_key());
            let signed = Request::Claim { account }.sign(CHAIN, &[&key]);
            Bytes::from(signed.expect("within the limits").to_bytes())
        };
        (0..count).map(claim).collect()
    }

    /// How many bytes of whose are checked next, and how many signatures may be.
    fn next(arrivals: &mut Arrivals) -> Option<(PublicKey, usize, usize)> {
        let batch = arrivals.next()?;
        let bytes = batch.transactions.iter().map(Bytes::len).sum();
        Some((batch.peer, bytes, batch.signatures))
    }

    fn done(arrivals: &mut Arrivals, peer: PublicKey, signatures: usize) {
        arrivals.checked(&Arrived {
            peer,
            signatures,
            good: Vec::new(),
        });
    }

    #[test]
    fn of_one_peer_its_share_is_looked_at_and_others_have_theirs_whatever_it_sends() {
        let mut arrivals = Arrivals::default();
        let (liar, honest) = (peer(1), peer(2));
        let junk = || vec![Bytes::from(vec![0u8; 1000]); 4000];
        arrivals.hear(&liar, junk(), at(0));
        assert_eq!(
            next(&mut arrivals),
            Some((liar.clone(), BYTES / 1000 * 1000, SIGNATURES))
        );
        // Beside the loop one batch is checked, and meanwhile no other.
        arrivals.hear(&liar, junk(), at(1));
        arrivals.hear(&honest, claims(1), at(2));
        let claim = claims(1)[0].len();
        assert_eq!(next(&mut arrivals), None);
        done(&mut arrivals, liar.clone(), 1000);
        assert_eq!(
            next(&mut arrivals),
            Some((honest.clone(), claim, SIGNATURES))
        );
        done(&mut arrivals, honest.clone(), 1);
        assert_eq!(next(&mut arrivals), None);
        // What is left of its share is that of the same half second.
        arrivals.hear(&liar, vec![Bytes::from_static(b"little")], at(499));
        assert_eq!(next(&mut arrivals), Some((liar.clone(), 6, 24)));
        for ms in [500, 501, 999] {
            arrivals.hear(&liar, junk(), at(ms));
        }
        arrivals.hear(&honest, claims(1), at(999));
        done(&mut arrivals, liar.clone(), 0);
        assert_eq!(
            next(&mut arrivals),
            Some((honest.clone(), claim, SIGNATURES))
        );
        done(&mut arrivals, honest, 1);
        assert_eq!(
            next(&mut arrivals),
            Some((liar, BYTES / 1000 * 1000, SIGNATURES))
        );
    }

    #[test]
    fn no_more_signatures_are_checked_than_may_be() {
        let mut arrivals = Arrivals::default();
        let checks = Checks::new(CHAIN);
        arrivals.hear(&peer(1), claims(1500), at(0));
        let batch = arrivals.next().expect("some wait");
        let arrived = batch.check(&checks);
        assert_eq!(
            (arrived.good.len(), arrived.signatures),
            (SIGNATURES, SIGNATURES)
        );
        arrivals.checked(&arrived);
        arrivals.hear(&peer(1), claims(1), at(1));
        let arrived = arrivals.next().expect("one waits").check(&checks);
        assert!(arrived.good.is_empty());
        arrivals.checked(&arrived);
        arrivals.hear(&peer(1), claims(1), at(500));
        let arrived = arrivals.next().expect("one waits").check(&checks);
        assert_eq!(arrived.good.len(), 1);
    }

    #[test]
    fn the_last_transaction_of_a_share_may_have_any_number_of_signatures() {
        let mut arrivals = Arrivals::default();
        let checks = Checks::new(CHAIN);
        let (owner, node) = (
            SigningKey::from_seed(&[1; 32]),
            SigningKey::from_seed(&[2; 32]),
        );
        let register = Request::Register {
            owner: AccountId::new(owner.public_key()),
            node: NodeId::new(node.public_key()),
            terms: Terms {
                roles: Roles::RUN,
                evidence: None,
                endpoint: None,
                price: Credits::ZERO,
            },
        };
        let signed = register.sign(CHAIN, &[&owner, &node]);
        let signed = Bytes::from(signed.expect("within the limits").to_bytes());
        let mut all = claims(SIGNATURES as u32 - 1);
        all.push(signed);
        all.extend(claims(1));
        arrivals.hear(&peer(1), all, at(0));
        let arrived = arrivals.next().expect("some wait").check(&checks);
        assert_eq!(
            (arrived.good.len(), arrived.signatures),
            (SIGNATURES, SIGNATURES + 1)
        );
    }
}

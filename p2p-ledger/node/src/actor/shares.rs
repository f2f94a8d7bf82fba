//! How much of the blocks a peer is sent, whatever it asks for.
//!
//! Bounds, within [`EVERY`] and of each peer: [`BLOCKS`] that it wants one by one, and [`BYTES`] of them, of which the last one
//! may have more; [`STRETCHES`]. Who wants a further block asks again soon; who wants a further stretch is sent it once that time
//! is over, and of several the last one.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use commonware_cryptography::ed25519::PublicKey;
use tally_ledger::{Height, MAX_VALIDATORS};

use crate::bodies;
use crate::wire::MESSAGE_LIMIT;

/// The time within which a peer has its share.
const EVERY: Duration = Duration::from_millis(500);
/// Blocks that a peer is sent within that time: as many as it may want at once.
const BLOCKS: usize = bodies::WANTED;
/// Their bytes: one block of any length fits.
const BYTES: usize = MESSAGE_LIMIT;
/// Stretches that a peer is sent within that time: it takes one after another, and executes them.
const STRETCHES: usize = 4;

/// What was sent to whom, and what is still to be.
#[derive(Debug, Default)]
pub(super) struct Shares {
    peers: BTreeMap<PublicKey, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    /// When its share began.
    since: Option<SystemTime>,
    /// What of it is used up.
    blocks: usize,
    bytes: usize,
    stretches: usize,
    /// From where on it wants a stretch beyond its share.
    open: Option<Height>,
}

impl Peer {
    /// Gives it another share, once the time of the last one is over. A clock that was put back does not make it longer.
    fn renew(&mut self, now: SystemTime) {
        let past = self.since.and_then(|since| now.duration_since(since).ok());
        if past.is_none_or(|past| past >= EVERY) {
            *self = Self {
                since: Some(now),
                open: self.open,
                ..Self::default()
            };
        }
    }

    fn take_stretch(&mut self) -> bool {
        let fits = self.stretches < STRETCHES;
        self.stretches += usize::from(fits);
        fits
    }
}

impl Shares {
    fn peer(&mut self, key: &PublicKey, now: SystemTime) -> &mut Peer {
        // Those of other epochs go with the others.
        if self.peers.len() > 2 * MAX_VALIDATORS {
            self.peers.clear();
        }
        let peer = self.peers.entry(key.clone()).or_default();
        peer.renew(now);
        peer
    }

    /// Whether a peer that wants a block of so many bytes is sent it.
    pub(super) fn block(&mut self, key: &PublicKey, bytes: usize, now: SystemTime) -> bool {
        let peer = self.peer(key, now);
        let fits = peer.blocks < BLOCKS && peer.bytes < BYTES;
        if fits {
            peer.blocks += 1;
            peer.bytes += bytes;
        }
        fits
    }

    /// Whether a peer that wants a stretch is sent it now. If not, it is due later.
    pub(super) fn stretch(&mut self, key: &PublicKey, from: Height, now: SystemTime) -> bool {
        let peer = self.peer(key, now);
        let fits = peer.take_stretch();
        peer.open = (!fits).then_some(from);
        fits
    }

    /// The stretches that were put off and are to be sent now.
    pub(super) fn due(&mut self, now: SystemTime) -> Vec<(PublicKey, Height)> {
        let mut due = Vec::new();
        for (key, peer) in &mut self.peers {
            if peer.open.is_none() {
                continue;
            }
            peer.renew(now);
            if peer.take_stretch()
                && let Some(from) = peer.open.take()
            {
                due.push((key.clone(), from));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use tally_receipt::SigningKey;

    use super::*;

    fn peer(seed: u8) -> PublicKey {
        crate::simplex::key(&SigningKey::from_seed(&[seed; 32]).public_key())
    }

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn a_peer_is_sent_so_many_blocks_in_a_time_and_others_have_theirs_whatever_it_wants() {
        let mut shares = Shares::default();
        let sent = |shares: &mut Shares, seed, bytes, ms| {
            let wants = 0..10_000;
            wants
                .filter(|_| shares.block(&peer(seed), bytes, at(ms)))
                .count()
        };
        assert_eq!(sent(&mut shares, 1, 1000, 0), BLOCKS);
        assert_eq!(sent(&mut shares, 1, 1000, 499), 0);
        assert_eq!(sent(&mut shares, 2, 1000, 499), BLOCKS);
        assert_eq!(sent(&mut shares, 1, 1000, 500), BLOCKS);
        // Of long ones as many bytes, and a block of any length at all.
        assert_eq!(sent(&mut shares, 3, MESSAGE_LIMIT, 600), 1);
        assert_eq!(sent(&mut shares, 4, MESSAGE_LIMIT / 2, 600), 2);
        // A clock that was put back makes nobody wait.
        assert_eq!(sent(&mut shares, 4, 1000, 10), BLOCKS);
    }

    #[test]
    fn a_stretch_beyond_a_peers_share_is_sent_later_and_of_several_the_last() {
        let mut shares = Shares::default();
        let (greedy, other) = (peer(1), peer(2));
        let from = Height::new;
        let fits: Vec<bool> = (1..=7)
            .map(|height| shares.stretch(&greedy, from(height), at(height)))
            .collect();
        assert_eq!(fits.iter().filter(|fits| **fits).count(), STRETCHES);
        assert!(fits[..STRETCHES].iter().all(|fits| *fits));
        assert!(shares.stretch(&other, from(1), at(8)));
        assert!(shares.due(at(500)).is_empty());
        assert_eq!(shares.due(at(501)), [(greedy.clone(), from(7))]);
        assert!(shares.due(at(501)).is_empty());
        // What was put off is a part of the next share.
        let more = (1..=7).filter(|height| shares.stretch(&greedy, from(*height), at(502)));
        assert_eq!(more.count(), STRETCHES - 1);
        // Whoever asks again in time is answered once.
        assert!(shares.stretch(&greedy, from(9), at(1100)));
        assert!(shares.due(at(1100)).is_empty());
    }
}

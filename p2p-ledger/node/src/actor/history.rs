//! Catching up: final blocks in stretches, from whoever has them.
//!
//! A stretch is believed for its certificates only. Each run of blocks up to a certified one is checked before any of it is
//! executed: it follows on the tip, block by block, and the certificate is of the validators whom the tip's state names. A
//! run never crosses the end of an epoch, since the last block of one has a certificate of its own.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{Recipients, Sender};
use tally_ledger::Height;
use tally_log::SignedCheckpoint;

use super::Actor;
use super::ready::Ready;
use crate::Runtime;
use crate::bodies::{Bodies, Body};
use crate::consensus::{Consensus, Finalized};
use crate::store::StoreError;
use crate::wire::{self, FinalBlock, HistoryMessage, STRETCH_COUNT, Stretch};

/// After how long without an answer the next peer is asked.
const PATIENCE: Duration = Duration::from_millis(800);
/// How long a node that is behind waits for what is on its way anyway.
const GRACE: Duration = Duration::from_millis(150);
/// Bytes of a stretch, beyond which only what its last certificate needs is added.
const STRETCH_BYTES: usize = 4 * 1024 * 1024;

/// What is known of being behind.
#[derive(Debug, Default)]
pub(super) struct History {
    /// What peers have said to be their last final block.
    tips: BTreeMap<PublicKey, Height>,
    /// A block that is final and is not here.
    ahead: Option<Finalized>,
    since: Option<SystemTime>,
    asked: Option<SystemTime>,
    turn: usize,
}

impl History {
    pub(super) fn behind(&mut self, ahead: Finalized, now: SystemTime) {
        self.ahead = Some(ahead);
        self.since.get_or_insert(now);
    }

    /// The highest block that a peer said to be final.
    pub(super) fn seen(&self) -> Height {
        self.tips.values().copied().max().unwrap_or(Height::ZERO)
    }

    /// Whether, of so many validators with these tolerated, some have blocks beyond this one, or too few have said how far they
    /// are. As many as are tolerated may say what they like.
    fn may_lack(&self, height: Height, validators: usize, tolerated: usize) -> bool {
        // This node is one of those who agree.
        let others = validators - tolerated - 1;
        let ahead = self.tips.values().filter(|tip| **tip > height).count();
        self.tips.len() < others || ahead > tolerated
    }
}

impl<E, C, S> Actor<E, C, S>
where
    E: Runtime,
    C: Consensus<E>,
    S: Sender<PublicKey = PublicKey>,
{
    pub(super) async fn history_message(
        &mut self,
        peer: &PublicKey,
        message: Bytes,
    ) -> Result<(), StoreError> {
        match wire::decode(message) {
            Ok(HistoryMessage::Tip(height)) => {
                self.history.tips.insert(peer.clone(), height);
            }
            Ok(HistoryMessage::Want(from)) => {
                let stretch = self.stretch(from).await?;
                if !stretch.blocks.is_empty() {
                    let message = wire::encode(&HistoryMessage::Stretch(stretch));
                    self.senders
                        .history
                        .send(Recipients::One(peer.clone()), message, false);
                }
            }
            Ok(HistoryMessage::Cosigned(checkpoint)) => {
                match SignedCheckpoint::parse(&checkpoint) {
                    Ok(said) => self.take_checkpoint(Some(peer), &said),
                    Err(error) => tracing::debug!(%peer, %error, "sent what is no checkpoint"),
                }
            }
            Ok(HistoryMessage::Waiting(names)) => self.named(peer, names),
            Ok(HistoryMessage::WantNamed(names)) => self.wanted(peer, &names),
            Ok(HistoryMessage::WantNumbered(gaps)) => self.wanted_numbers(peer, &gaps),
            Ok(HistoryMessage::Stretch(stretch)) => {
                if let Err(reason) = self.take(stretch).await? {
                    tracing::debug!(%peer, reason, "sent a stretch of blocks that is not believed");
                }
            }
            Err(error) => tracing::debug!(%peer, %error, "sent what is no message of history"),
        }
        Ok(())
    }

    /// Whether blocks may be final that this node does not have.
    pub(super) fn may_be_behind(&self) -> bool {
        let tip = self.chain.tip();
        let validators = tip.next_validators();
        let (count, tolerated) = (validators.len(), validators.tolerated());
        self.history.may_lack(tip.head().height, count, tolerated)
    }

    /// Asks for what is missing, if something is.
    pub(super) async fn catch_up(&mut self) -> Result<(), StoreError> {
        // What was missing may have come as a block of its own.
        if let Some(ahead) = self.history.ahead.take() {
            self.finalized_or_ahead(ahead).await?;
        }
        let now = self.now();
        let height = self.chain.tip().head().height;
        if self.history.ahead.is_none() && self.history.seen() <= height {
            self.history.since = None;
            return Ok(());
        }
        let since = *self.history.since.get_or_insert(now);
        if now < since + GRACE
            || self
                .history
                .asked
                .is_some_and(|asked| now < asked + PATIENCE)
        {
            return Ok(());
        }
        let ahead: Vec<PublicKey> = self
            .history
            .tips
            .iter()
            .filter(|(_, tip)| **tip > height)
            .map(|(peer, _)| peer.clone())
            .collect();
        let recipients = match ahead.len() {
            // Somebody has signed what is final; who has it is not known.
            0 => Recipients::All,
            count => Recipients::One(ahead[self.history.turn % count].clone()),
        };
        self.history.turn += 1;
        self.history.asked = Some(now);
        let message = wire::encode(&HistoryMessage::Want(height.next()));
        self.senders.history.send(recipients, message, true);
        Ok(())
    }

    async fn finalized_or_ahead(&mut self, ahead: Finalized) -> Result<(), StoreError> {
        match self.ready(&ahead.block).await? {
            Ready::Executed => self.finalized(ahead).await,
            Ready::Missing => {
                self.history.ahead = Some(ahead);
                Ok(())
            }
            // It is below the tip by now: history has brought it.
            Ready::Bad => Ok(()),
        }
    }

    /// Final blocks from a height on, the last of which has a certificate; none if there are no such.
    pub(super) async fn stretch(&self, from: Height) -> Result<Stretch, StoreError> {
        let first = usize::try_from(from.get()).unwrap_or(usize::MAX).max(1);
        let mut stretch = Stretch::default();
        let (mut bytes, mut certified) = (0, 0);
        for digest in self.finals.get(first..).unwrap_or_default() {
            let full = bytes > STRETCH_BYTES || stretch.blocks.len() == STRETCH_COUNT;
            if full && certified > 0 || stretch.blocks.len() == STRETCH_COUNT {
                break;
            }
            let block = self.blocks.get(digest).await?.ok_or_else(|| {
                StoreError::Damaged(format!("block {digest} was final and is gone"))
            })?;
            // The engine certifies some blocks only together with a later one.
            let certificate = self.blocks.certificate(digest).await?;
            bytes += block.len();
            if bytes > wire::BLOCK_LIMIT && certified > 0 {
                break;
            }
            let has_certificate = certificate.is_some();
            stretch.blocks.push(FinalBlock {
                block,
                certificate: certificate.unwrap_or_default().into(),
            });
            if has_certificate {
                certified = stretch.blocks.len();
            }
        }
        stretch.blocks.truncate(certified);
        Ok(stretch)
    }

    /// Takes a stretch of final blocks in. The inner error says why it is not believed; what came before it stays.
    pub(super) async fn take(
        &mut self,
        stretch: Stretch,
    ) -> Result<Result<(), &'static str>, StoreError> {
        let mut run = Vec::new();
        let mut parent = self.chain.tip().head_digest();
        for one in stretch.blocks {
            let Some((digest, body)) = Bodies::read(one.block) else {
                return Ok(Err("a block in it is none"));
            };
            if run.is_empty() && body.block.header.height <= self.chain.tip().head().height {
                continue;
            }
            if body.block.header.parent != parent {
                return Ok(Err("a block does not follow on the one before it"));
            }
            parent = digest;
            run.push((digest, body));
            if one.certificate.is_empty() {
                continue;
            }
            let finalized = Finalized {
                block: digest,
                certificate: one.certificate.to_vec(),
            };
            if let Err(reason) = self.take_run(std::mem::take(&mut run), finalized).await? {
                return Ok(Err(reason));
            }
        }
        Ok(if run.is_empty() {
            Ok(())
        } else {
            Err("its last block has no certificate")
        })
    }

    async fn take_run(
        &mut self,
        run: Vec<(tally_ledger::BlockDigest, Body)>,
        finalized: Finalized,
    ) -> Result<Result<(), &'static str>, StoreError> {
        let tip = self.chain.tip();
        let certified = run.last().map(|(_, body)| &body.block.header);
        let holds = certified
            .is_some_and(|header| crate::certificate::holds(tip, header, &finalized.certificate));
        if !holds {
            return Ok(Err("a certificate does not hold"));
        }
        let last = finalized.block;
        for (digest, body) in run {
            // Under this node's own name, so that no peer's share of the memory is taken.
            self.bodies.insert_own(digest, body);
        }
        match self.ready(&last).await? {
            Ready::Executed => {
                self.history.asked = None;
                self.finalized(finalized).await?;
                Ok(Ok(()))
            }
            Ready::Missing => Ok(Err("it is longer than this node takes at once")),
            Ready::Bad => Ok(Err(
                "a quorum certified what this node's rules refuse: are they of the same version?",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use tally_receipt::SigningKey;

    use super::*;

    #[test]
    fn a_node_may_lack_blocks_until_enough_have_said_otherwise_and_one_liar_changes_nothing() {
        let height = Height::new;
        let mut history = History::default();
        assert!(!history.may_lack(height(5), 1, 0), "it is alone");
        let mut say = |seed, tip| {
            let key = crate::simplex::key(&SigningKey::from_seed(&[seed; 32]).public_key());
            history.tips.insert(key, height(tip));
            history.may_lack(height(5), 4, 1)
        };
        assert!(say(1, 5), "one of two that it takes");
        assert!(!say(2, 4));
        assert!(!say(3, u64::MAX));
        assert!(say(2, 6));
        assert!(!say(2, 5));
    }
}

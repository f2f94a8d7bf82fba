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
use crate::store::{Reading, StoreError};
use crate::wire::{self, HistoryMessage, Refused, RefusedCode, STRETCH_COUNT, Stretch};

/// After how long without an answer the next peer is asked.
const PATIENCE: Duration = Duration::from_millis(800);
/// How long a node that is behind waits for what is on its way anyway.
const GRACE: Duration = Duration::from_millis(150);
/// Bytes of a stretch, beyond which only what its last certificate needs is added.
const STRETCH_BYTES: usize = 4 * 1024 * 1024;
/// What frames a stretch in a message, and each block with its certificate in it.
const FRAMING: usize = 1 + 2; // bytes
const FRAMING_EACH: usize = 4 + 4; // bytes

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
                let now = self.now();
                if self.shares.stretch(peer, from, now) {
                    self.send_stretch(peer.clone(), from)?;
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

    /// Sends the stretches that were put off.
    pub(super) fn send_put_off(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        for (peer, from) in self.shares.due(now) {
            self.send_stretch(peer, from)?;
        }
        Ok(())
    }

    fn send_stretch(&self, peer: PublicKey, from: Height) -> Result<(), StoreError> {
        let mut sender = self.senders.history.clone();
        self.read_stretch(from, move |stretch| match stretch {
            Ok(stretch) if stretch.blocks.is_empty() => {}
            Ok(stretch) => {
                let message = wire::encode(&HistoryMessage::Stretch(stretch));
                sender.send(Recipients::One(peer), message, false);
            }
            // It asks again, and is to find out here why that is in vain.
            Err(refused) => {
                tracing::error!(%peer, from = from.get(), "cannot send blocks: {}", refused.sentence);
            }
        })
    }

    /// Has final blocks from a height on read, the last of which has a certificate; none if there are no such. Refused where there
    /// are and none of them can ever be sent.
    pub(super) fn read_stretch(
        &self,
        from: Height,
        then: impl FnOnce(Result<Stretch, Refused>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let first = usize::try_from(from.get()).unwrap_or(usize::MAX).max(1);
        let finals = self.finals.get(first..).unwrap_or_default();
        let gone = || {
            StoreError::Damaged(format!(
                "a block from height {from} on was final and is gone"
            ))
        };
        let lengths = finals.iter().map(|digest| self.blocks.bytes(digest));
        let count = match one_stretch(lengths) {
            Ok(0) => {
                then(Ok(Stretch::default()));
                return Ok(());
            }
            Ok(count) => count,
            Err(NoStretch::TooLong) => {
                then(Err(Refused {
                    code: RefusedCode::Broken,
                    sentence: format!(
                        "the blocks from height {from} up to the next certificate are too long for a message"
                    ),
                }));
                return Ok(());
            }
            Err(NoStretch::Gone) => return Err(gone()),
        };
        let reading = self.blocks.reading(&finals[..count]).ok_or_else(gone)?;
        self.read_beside(reading, |stretch| then(Ok(stretch)));
        Ok(())
    }

    /// Has blocks read on a thread that nothing else waits for.
    pub(super) fn read_beside(
        &self,
        reading: Reading<E>,
        then: impl FnOnce(Stretch) + Send + 'static,
    ) {
        let trouble = self.trouble.clone();
        let context = self.context.child("reading").shared(true);
        context.spawn(move |_| async move {
            match reading.read().await {
                Ok(stretch) => then(stretch),
                // The node stops, as wherever its disk fails; or has stopped meanwhile.
                Err(error) => {
                    let _ = trouble.send(error);
                }
            }
        });
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

/// Why blocks are no stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoStretch {
    /// One of them is not here.
    Gone,
    /// No message has room for as many as lead to the first certificate.
    TooLong,
}

/// How many of these blocks, of so many bytes and with a certificate of so many if they have one, are one stretch.
fn one_stretch(
    blocks: impl Iterator<Item = Option<(usize, Option<usize>)>>,
) -> Result<usize, NoStretch> {
    let mut is_full = false;
    let (mut count, mut bytes, mut message, mut certified) = (0, 0, FRAMING, 0);
    for block in blocks {
        if count == STRETCH_COUNT || bytes > STRETCH_BYTES && certified > 0 {
            is_full = true;
            break;
        }
        // The engine certifies some blocks only together with a later one.
        let (block, certificate) = block.ok_or(NoStretch::Gone)?;
        message += FRAMING_EACH + block + certificate.unwrap_or(0);
        if message > wire::MESSAGE_LIMIT {
            is_full = true;
            break;
        }
        bytes += block;
        count += 1;
        if certificate.is_some() {
            certified = count;
        }
    }
    match certified {
        0 if is_full => Err(NoStretch::TooLong),
        certified => Ok(certified),
    }
}

#[cfg(test)]
mod tests {
    use tally_receipt::SigningKey;

    use super::*;
    use crate::wire::FinalBlock;

    #[test]
    fn a_stretch_ends_with_a_certificate_and_fits_a_message() {
        let of = |blocks: &[(usize, Option<usize>)]| one_stretch(blocks.iter().copied().map(Some));
        let (small, certified) = ((1000, None), (1000, Some(240)));
        assert_eq!(of(&[]), Ok(0));
        assert_eq!(of(&[small, small]), Ok(0));
        assert_eq!(of(&[small, certified, small]), Ok(2));
        assert_eq!(of(&[certified; 300]), Ok(STRETCH_COUNT));
        // What comes after four mebibytes is only there for the first certificate.
        let (half, rest) = ((STRETCH_BYTES / 2 + 1, Some(240)), (3_000_000, None));
        assert_eq!(of(&[half, half, certified]), Ok(2));
        assert_eq!(of(&[half, rest, certified]), Ok(1));
        assert_eq!(of(&[rest, rest, certified, certified]), Ok(3));
        // Any block goes with any certificate, and none is too much.
        let longest = (wire::BLOCK_LIMIT, Some(wire::CERTIFICATE_LIMIT));
        assert_eq!(of(&[longest, longest]), Ok(1));
        assert_eq!(of(&[certified, longest]), Ok(1));
        // What can never be sent is not the same as nothing.
        let too_long = Err(NoStretch::TooLong);
        assert_eq!(of(&[(wire::BLOCK_LIMIT, None), longest]), too_long);
        assert_eq!(of(&[small; STRETCH_COUNT + 1]), too_long);
        let gone = one_stretch([Some(certified), None].into_iter());
        assert_eq!(gone, Err(NoStretch::Gone));
        // Certificates count, too.
        let many = [(30_000, Some(wire::CERTIFICATE_LIMIT)); STRETCH_COUNT];
        let count = of(&many).expect("all are here");
        let blocks = (0..count).map(|_| FinalBlock {
            block: Bytes::from(vec![0; many[0].0]),
            certificate: Bytes::from(vec![0; wire::CERTIFICATE_LIMIT]),
        });
        let message = wire::encode(&HistoryMessage::Stretch(Stretch {
            blocks: blocks.collect(),
        }));
        assert!(count > 100 && message.len() <= wire::MESSAGE_LIMIT);
    }

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

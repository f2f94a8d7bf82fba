//! Blocks that came and were not executed yet, and those that are asked for.
//!
//! A block may come as an outline: its header, and the names of transactions that are most likely here already. It becomes
//! a block once they all are.
//!
//! Bounds: [`PER_PEER`] blocks that a peer sent and nobody asked for; [`WANTED`] that are asked for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use commonware_cryptography::ed25519::PublicKey;
use tally_ledger::{Block, BlockDigest, Header, Transaction, TransactionId};

use crate::wire::Outline;

/// Blocks of one peer that are kept. A leader sends one, and passes others on.
const PER_PEER: usize = 8;
/// Blocks that are asked for at once.
pub(crate) const WANTED: usize = 64;
/// After how long a block is asked for: it is usually on its way.
const FIRST: Duration = Duration::from_millis(40);
/// After how long a block is asked for whose outline is here: its transactions are usually on their way, too.
const FIRST_OF_OUTLINE: Duration = Duration::from_millis(100);
/// After how long it is asked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// A block whose body is its header's, and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) block: Block,
    pub(crate) bytes: Bytes,
}

#[derive(Debug)]
struct Want {
    next: SystemTime,
    asked: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Bodies {
    here: HashMap<BlockDigest, Body>,
    outlines: HashMap<BlockDigest, Outline>,
    /// Which of them came from whom, oldest first.
    from: BTreeMap<PublicKey, VecDeque<BlockDigest>>,
    wanted: BTreeMap<BlockDigest, Want>,
}

impl Bodies {
    /// Reads what a peer sent. Whoever sends something else than a block whose body is its header's wastes our time.
    pub(crate) fn read(bytes: Bytes) -> Option<(BlockDigest, Body)> {
        let block = Block::from_bytes(&bytes).ok()?;
        // The header names the block, so another body under it must not pass for the block.
        (Block::body_digest(&block.transactions) == block.header.body)
            .then(|| (block.digest(), Body { block, bytes }))
    }

    /// Keeps a block.
    pub(crate) fn insert(&mut self, peer: &PublicKey, digest: BlockDigest, body: Body) {
        if self.here.contains_key(&digest) {
            return;
        }
        self.wanted.remove(&digest);
        self.outlines.remove(&digest);
        self.count(peer, digest);
        self.here.insert(digest, body);
    }

    /// Keeps the outline of a block.
    pub(crate) fn insert_outline(&mut self, peer: &PublicKey, outline: Outline) {
        let digest = outline.header.digest();
        if self.here.contains_key(&digest) || self.outlines.contains_key(&digest) {
            return;
        }
        self.count(peer, digest);
        self.outlines.insert(digest, outline);
    }

    /// Takes a block from a peer's share of the memory.
    fn count(&mut self, peer: &PublicKey, digest: BlockDigest) {
        let theirs = self.from.entry(peer.clone()).or_default();
        theirs.push_back(digest);
        if theirs.len() > PER_PEER
            && let Some(oldest) = theirs.pop_front()
        {
            self.here.remove(&oldest);
            self.outlines.remove(&oldest);
        }
    }

    /// Keeps a block that this node is about to execute.
    pub(crate) fn insert_own(&mut self, digest: BlockDigest, body: Body) {
        self.wanted.remove(&digest);
        self.outlines.remove(&digest);
        self.here.entry(digest).or_insert(body);
    }

    pub(crate) fn get(&self, digest: &BlockDigest) -> Option<&Body> {
        self.here.get(digest)
    }

    /// Makes a block of its outline, if every transaction in it is found.
    pub(crate) fn complete(
        &mut self,
        digest: &BlockDigest,
        find: impl Fn(&TransactionId) -> Option<Transaction>,
    ) -> Option<&Body> {
        let outline = self.outlines.get(digest)?;
        let transactions = outline
            .transactions
            .iter()
            .map(find)
            .collect::<Option<Vec<_>>>()?;
        let outline = self.outlines.remove(digest).expect("it was here just now");
        // Whoever made it up wastes our time: the block is asked for as any other.
        if Block::body_digest(&transactions) != outline.header.body {
            return None;
        }
        let block = Block {
            header: outline.header,
            transactions,
        };
        let bytes = block.to_bytes().into();
        self.insert_own(*digest, Body { block, bytes });
        self.here.get(digest)
    }

    /// Asks for a block, if it is neither here nor asked for.
    pub(crate) fn want(&mut self, digest: BlockDigest, now: SystemTime) {
        if !self.here.contains_key(&digest) && self.wanted.len() < WANTED {
            let first = match self.outlines.contains_key(&digest) {
                true => FIRST_OF_OUTLINE,
                false => FIRST,
            };
            self.wanted.entry(digest).or_insert(Want {
                next: now + first,
                asked: 0,
            });
        }
    }

    /// The blocks to ask for now, each with whom to ask, if that is known: whoever sent its outline, the first time.
    pub(crate) fn due(&mut self, now: SystemTime) -> Vec<(BlockDigest, Option<PublicKey>)> {
        let mut due = Vec::new();
        for (digest, want) in &mut self.wanted {
            if want.next <= now {
                let sender = self
                    .from
                    .iter()
                    .find(|(_, theirs)| want.asked == 0 && theirs.contains(digest))
                    .map(|(peer, _)| peer.clone());
                due.push((*digest, sender));
                want.asked += 1;
                want.next = now + AGAIN;
            }
        }
        due
    }

    /// Forgets blocks at or below a final height, and what nobody needs any more.
    pub(crate) fn prune(
        &mut self,
        keep: impl Fn(&Header) -> bool,
        needed: impl Fn(&BlockDigest) -> bool,
    ) {
        self.here.retain(|_, body| keep(&body.block.header));
        self.outlines.retain(|_, outline| keep(&outline.header));
        let (here, outlines) = (&self.here, &self.outlines);
        for theirs in self.from.values_mut() {
            theirs.retain(|digest| here.contains_key(digest) || outlines.contains_key(digest));
        }
        self.from.retain(|_, theirs| !theirs.is_empty());
        self.wanted.retain(|digest, _| needed(digest));
    }
}

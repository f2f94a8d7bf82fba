//! Blocks that came and were not executed yet, and those that are asked for.
//!
//! Bounds: [`PER_PEER`] blocks that a peer sent and nobody asked for; [`WANTED`] that are asked for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use commonware_cryptography::ed25519::PublicKey;
use tally_ledger::{Block, BlockDigest};

/// Blocks of one peer that are kept. A leader sends one, and passes others on.
const PER_PEER: usize = 8;
/// Blocks that are asked for at once.
const WANTED: usize = 64;
/// After how long a block is asked for: it is usually on its way.
const FIRST: Duration = Duration::from_millis(40);
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
        let theirs = self.from.entry(peer.clone()).or_default();
        theirs.push_back(digest);
        if theirs.len() > PER_PEER
            && let Some(oldest) = theirs.pop_front()
        {
            self.here.remove(&oldest);
        }
        self.here.insert(digest, body);
    }

    /// Keeps a block that this node is about to execute.
    pub(crate) fn insert_own(&mut self, digest: BlockDigest, body: Body) {
        self.wanted.remove(&digest);
        self.here.entry(digest).or_insert(body);
    }

    pub(crate) fn get(&self, digest: &BlockDigest) -> Option<&Body> {
        self.here.get(digest)
    }

    /// Asks for a block, if it is neither here nor asked for.
    pub(crate) fn want(&mut self, digest: BlockDigest, now: SystemTime) {
        if !self.here.contains_key(&digest) && self.wanted.len() < WANTED {
            self.wanted.entry(digest).or_insert(Want {
                next: now + FIRST,
                asked: 0,
            });
        }
    }

    /// The blocks to ask for now, each with how often it was asked for before.
    pub(crate) fn due(&mut self, now: SystemTime) -> Vec<(BlockDigest, usize)> {
        let mut due = Vec::new();
        for (digest, want) in &mut self.wanted {
            if want.next <= now {
                due.push((*digest, want.asked));
                want.asked += 1;
                want.next = now + AGAIN;
            }
        }
        due
    }

    /// Forgets blocks at or below a final height, and what nobody needs any more.
    pub(crate) fn prune(
        &mut self,
        keep: impl Fn(&Block) -> bool,
        needed: impl Fn(&BlockDigest) -> bool,
    ) {
        self.here.retain(|_, body| keep(&body.block));
        let here = &self.here;
        for theirs in self.from.values_mut() {
            theirs.retain(|digest| here.contains_key(digest));
        }
        self.from.retain(|_, theirs| !theirs.is_empty());
        self.wanted.retain(|digest, _| needed(digest));
    }
}

//! The last final block and those that may follow it: pure bookkeeping over `tally_ledger::State`.
//!
//! Invariant: every candidate's parent is a candidate or the tip, and every candidate was executed.

use std::collections::HashMap;

use bytes::Bytes;
use tally_ledger::{BlockDigest, Executed, Settled, State};

use crate::pool::Done;

/// An executed block.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// As `tally_ledger` writes it.
    pub(crate) bytes: Bytes,
    pub(crate) executed: Executed,
    /// The transactions in it.
    pub(crate) done: Vec<Done>,
    /// Whether this node made it.
    pub(crate) own: bool,
}

impl Candidate {
    pub(crate) fn parent(&self) -> BlockDigest {
        self.executed.state.head().parent
    }
}

/// A block that has become final.
#[derive(Clone, Debug)]
pub(crate) struct Final {
    pub(crate) digest: BlockDigest,
    pub(crate) state: State,
    pub(crate) settled: Vec<Settled>,
    pub(crate) done: Vec<Done>,
    pub(crate) own: bool,
}

#[derive(Debug)]
pub(crate) struct Chain {
    tip: State,
    candidates: HashMap<BlockDigest, Candidate>,
}

impl Chain {
    pub(crate) fn new(tip: State) -> Self {
        Self {
            tip,
            candidates: HashMap::new(),
        }
    }

    /// The state after the last final block.
    pub(crate) fn tip(&self) -> &State {
        &self.tip
    }

    /// The state after a block that is the tip or a candidate.
    pub(crate) fn state(&self, block: &BlockDigest) -> Option<&State> {
        if *block == self.tip.head_digest() {
            return Some(&self.tip);
        }
        self.candidates.get(block).map(|one| &one.executed.state)
    }

    pub(crate) fn candidate(&self, block: &BlockDigest) -> Option<&Candidate> {
        self.candidates.get(block)
    }

    /// Takes an executed block in.
    ///
    /// # Panics
    ///
    /// If its parent is not here, from which it was executed.
    pub(crate) fn insert(&mut self, candidate: Candidate) {
        assert!(self.state(&candidate.parent()).is_some());
        let digest = candidate.executed.state.head_digest();
        self.candidates.insert(digest, candidate);
    }

    /// Makes a candidate final, and with it those before it, which come first in the answer. None if it is no candidate.
    /// What no longer can become final is forgotten.
    pub(crate) fn finalize(&mut self, block: &BlockDigest) -> Option<Vec<Final>> {
        let mut path = Vec::new();
        let mut at = *block;
        while at != self.tip.head_digest() {
            let candidate = self.candidates.get(&at)?;
            path.push(at);
            at = candidate.parent();
        }
        let finals = path
            .into_iter()
            .rev()
            .map(|digest| {
                let candidate = self
                    .candidates
                    .remove(&digest)
                    .expect("walked over just now");
                Final {
                    digest,
                    state: candidate.executed.state,
                    settled: candidate.executed.settled,
                    done: candidate.done,
                    own: candidate.own,
                }
            })
            .collect::<Vec<_>>();
        if let Some(last) = finals.last() {
            self.tip = last.state.clone();
            let tip = self.tip.head_digest();
            let height = self.tip.head().height;
            // Ascending by height, so that a parent is judged before its children.
            let mut rest: Vec<_> = self.candidates.drain().collect();
            rest.sort_by_key(|(_, one)| one.executed.state.head().height);
            for (digest, candidate) in rest {
                let parent = candidate.parent();
                if candidate.executed.state.head().height > height
                    && (parent == tip || self.candidates.contains_key(&parent))
                {
                    self.candidates.insert(digest, candidate);
                }
            }
        }
        Some(finals)
    }
}

//! Getting a block executed: from memory, from the disk, from a peer.

use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::Sender;
use tally_ledger::{Block, BlockDigest, BlockError, Checked};

use super::Actor;
use crate::Runtime;
use crate::bodies::{Bodies, Body};
use crate::chain::Candidate;
use crate::consensus::Consensus;
use crate::pool;
use crate::store::StoreError;

/// How a block stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// It is final and last, or executed and on the disk.
    Executed,
    /// It, or one before it, is not here, and is asked for.
    Missing,
    /// It cannot follow on its parent, now or ever; or what is final excludes it.
    Bad,
}

/// Whether the signatures in a block are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signatures {
    /// They are, but for those that were checked when their transaction came.
    Check,
    /// They were, by this node, before it put the block on its disk.
    Checked,
}

/// Blocks that one block may need before it. More than that is a matter of history.
const DEPTH: usize = crate::wire::STRETCH_COUNT;

impl<E, C, S> Actor<E, C, S>
where
    E: Runtime,
    C: Consensus<E>,
    S: Sender<PublicKey = PublicKey>,
{
    /// Executes a block and those before it, as far as they are here. What is executed is on the disk.
    pub(super) async fn ready(&mut self, block: &BlockDigest) -> Result<Ready, StoreError> {
        self.ready_by(block, Signatures::Check).await
    }

    /// The same with what this node has executed before and kept on its disk.
    pub(super) async fn ready_again(&mut self, block: &BlockDigest) -> Result<Ready, StoreError> {
        self.ready_by(block, Signatures::Checked).await
    }

    async fn ready_by(
        &mut self,
        block: &BlockDigest,
        signatures: Signatures,
    ) -> Result<Ready, StoreError> {
        let mut path: Vec<(BlockDigest, Body)> = Vec::new();
        let mut at = *block;
        while self.chain.state(&at).is_none() {
            if self.bad.contains(&at) {
                self.bad.extend(path.iter().map(|(digest, _)| *digest));
                return Ok(Ready::Bad);
            }
            let Some(body) = self.body(&at).await? else {
                let now = self.context.current();
                self.bodies.want(at, now);
                return Ok(Ready::Missing);
            };
            if body.block.header.height <= self.chain.tip().head().height {
                return Ok(Ready::Bad);
            }
            let parent = body.block.header.parent;
            path.push((at, body));
            if path.len() > DEPTH {
                return Ok(Ready::Missing);
            }
            at = parent;
        }
        while let Some((digest, body)) = path.pop() {
            match self.execute(&body.block, signatures) {
                Ok(executed) => {
                    self.blocks.put(&[(digest, &body.bytes)]).await?;
                    self.chain.insert(Candidate {
                        bytes: body.bytes,
                        ..executed
                    });
                }
                Err(reason) => {
                    tracing::warn!(%digest, height = %body.block.header.height, %reason, "refused a block");
                    self.metrics.refused.inc();
                    self.bad.insert(digest);
                    self.bad.extend(path.iter().map(|(digest, _)| *digest));
                    return Ok(Ready::Bad);
                }
            }
        }
        Ok(Ready::Executed)
    }

    pub(super) async fn body(&mut self, digest: &BlockDigest) -> Result<Option<Body>, StoreError> {
        if let Some(body) = self.bodies.get(digest) {
            return Ok(Some(body.clone()));
        }
        let (pool, checks) = (&self.pool, &self.checks);
        let completed = self.bodies.complete(digest, |id| {
            pool.get(id)
                .cloned()
                .or_else(|| checks.get(id))
                .map(|checked| checked.transaction().clone())
        });
        if let Some(body) = completed {
            return Ok(Some(body.clone()));
        }
        match self.blocks.get(digest).await? {
            None => Ok(None),
            Some(bytes) => match Bodies::read(bytes) {
                Some((found, body)) if found == *digest => Ok(Some(body)),
                _ => Err(StoreError::Damaged(format!(
                    "what is kept as block {digest} is not that block"
                ))),
            },
        }
    }

    /// Executes one block whose parent is here. Signatures that were checked when a transaction came are not checked again.
    fn execute(&self, block: &Block, signatures: Signatures) -> Result<Candidate, BadBlock> {
        let parent = self
            .chain
            .state(&block.header.parent)
            .expect("a block is executed after its parent");
        let chain = parent.chain();
        let mut checked: Vec<Option<Checked>> = Vec::with_capacity(block.transactions.len());
        let mut unknown = Vec::new();
        for transaction in &block.transactions {
            let known = match signatures {
                Signatures::Checked => Some(Checked::known_to_be_good(transaction.clone(), chain)),
                Signatures::Check => self.pool.get(&transaction.id()).cloned(),
            };
            if known.is_none() {
                unknown.push(transaction.clone());
            }
            checked.push(known);
        }
        let mut found = self.checks.check_many(unknown).into_iter();
        let checked = checked
            .into_iter()
            .map(|known| match known {
                Some(known) => Ok(known),
                None => found.next().expect("one answer for each"),
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(BadBlock::Transaction)?;
        let executed = parent
            .execute(&block.header, &checked)
            .map_err(BadBlock::Block)?;
        Ok(Candidate {
            bytes: bytes::Bytes::new(),
            done: checked.iter().map(pool::done).collect(),
            own: false,
            executed,
        })
    }
}

/// Why a block cannot follow. Its proposer is at fault.
#[derive(Debug, thiserror::Error)]
enum BadBlock {
    #[error("a transaction in it: {0}")]
    Transaction(tally_ledger::CheckError),
    #[error("{0}")]
    Block(BlockError),
}

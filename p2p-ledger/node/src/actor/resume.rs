//! Starting where a node stopped: from a snapshot and the blocks after it; and writing the next one.

use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::Sender;
use tally_ledger::{BlockDigest, Checked};
use tokio::sync::oneshot;

use super::Actor;
use super::ready::Ready;
use crate::Runtime;
use crate::chain::Chain;
use crate::consensus::{Consensus, Finalized};
use crate::pool;
use crate::snapshots::Snapshot;
use crate::store::StoreError;

/// Bytes of the blocks that are read to know what was done before a snapshot.
const DONE_BYTES: usize = 64 * 1024 * 1024;

impl<E, C, S> Actor<E, C, S>
where
    E: Runtime,
    C: Consensus<E>,
    S: Sender<PublicKey = PublicKey>,
{
    /// Goes from a snapshot, or else from genesis, to the last of these blocks, which are final, on what the disk has.
    pub(super) async fn recover(
        &mut self,
        path: Vec<BlockDigest>,
        snapshot: Option<Snapshot>,
    ) -> Result<(), StoreError> {
        if let Some(snapshot) = snapshot {
            self.begin_at(snapshot, &path).await?;
        }
        let known = self.finals.len() - 1;
        for digest in path.into_iter().skip(known) {
            if self.ready_again(&digest).await? != Ready::Executed {
                return Err(StoreError::Damaged(format!(
                    "block {digest} was final and does not follow on the one before it"
                )));
            }
            let certificate =
                self.blocks
                    .certificate(&digest)
                    .await?
                    .map(|certificate| Finalized {
                        block: digest,
                        certificate,
                    });
            let finals = self.chain.finalize(&digest).expect("it was executed");
            for one in &finals {
                self.remember(one, certificate.as_ref())?;
                self.pool.remember(&one.done);
                self.snapshots.count(one.done.len(), one.settled.len());
            }
        }
        let head = self.chain.tip().head();
        self.metrics
            .height
            .set(i64::try_from(head.height.get()).unwrap_or(i64::MAX));
        self.heights.send_replace(head.height);
        tracing::info!(
            height = %head.height, receipts = head.log_size, snapshot = known,
            "read the chain from the disk"
        );
        self.snapshot_before_all_else().await
    }

    /// Takes what the blocks up to a snapshot's have come to. All of it was checked; the snapshot's block is one of these.
    async fn begin_at(
        &mut self,
        snapshot: Snapshot,
        path: &[BlockDigest],
    ) -> Result<(), StoreError> {
        let Snapshot { state, epochs, log } = snapshot;
        let height = usize::try_from(state.head().height.get()).unwrap_or(usize::MAX);
        let (before, _) = path.split_at(height.min(path.len()));
        self.finals.extend(before);
        if let Some(last) = epochs.last() {
            self.root = last.header.digest();
        }
        let digest = state.head_digest();
        if let Some(certificate) = self.blocks.certificate(&digest).await? {
            self.certificate = Some(super::read_certificate(&digest, &certificate)?);
        }
        self.epochs = epochs;
        self.log = log;
        self.chain = Chain::new(state);
        self.remember_done(before).await
    }

    /// Remembers what the last of these blocks have done, as executing them would: a name for each transaction, as far as the
    /// pool keeps them and [`DONE_BYTES`] go.
    async fn remember_done(&mut self, blocks: &[BlockDigest]) -> Result<(), StoreError> {
        let chain = self.chain.tip().chain();
        let mut newest_first: Vec<Vec<pool::Done>> = Vec::new();
        let (mut count, mut bytes) = (0, 0);
        for digest in blocks.iter().rev() {
            if count >= pool::DONE || bytes >= DONE_BYTES {
                break;
            }
            let body = self.body(digest).await?.ok_or_else(|| {
                StoreError::Damaged(format!("block {digest} was final and is gone"))
            })?;
            bytes += body.bytes.len();
            count += body.block.transactions.len();
            let done = body.block.transactions.into_iter().map(|transaction| {
                // Its block is final, so it was checked.
                pool::done(&Checked::known_to_be_good(transaction, chain))
            });
            newest_first.push(done.collect());
        }
        for done in newest_first.iter().rev() {
            self.pool.remember(done);
        }
        Ok(())
    }

    /// Writes a snapshot if one is due, before this node does anything else: nobody waits for it yet.
    async fn snapshot_before_all_else(&mut self) -> Result<(), StoreError> {
        let Some(mut writer) = self.snapshots.due(self.chain.tip()) else {
            return Ok(());
        };
        self.blocks.sync().await?;
        let state = self.chain.tip();
        let entries = self.log.entries(writer.written(), u64::MAX);
        let written = writer
            .write(&self.context, state, &self.epochs, entries)
            .await;
        match written {
            Ok(()) => self.snapshots.done(writer),
            Err(error) => tracing::warn!(%error, "no more snapshots are written"),
        }
        Ok(())
    }

    /// Begins to write a snapshot if one is due, in a task of its own, on a thread that nothing else waits for.
    pub(super) async fn snapshot(&mut self) -> Result<(), StoreError> {
        let Some(mut writer) = self.snapshots.due(self.chain.tip()) else {
            return Ok(());
        };
        // That its block is final must be known after a crash as well: or the snapshot would be newer than the blocks.
        self.blocks.sync().await?;
        let (state, epochs) = (self.chain.tip().clone(), self.epochs.clone());
        let entries = self.log.entries(writer.written(), u64::MAX).to_vec();
        let (back, written) = oneshot::channel();
        self.snapshots.begun(written);
        let context = self.context.child("snapshot").shared(true);
        context.spawn(move |context| async move {
            match writer.write(&context, &state, &epochs, &entries).await {
                Ok(()) => {
                    tracing::debug!(height = %state.head().height, "wrote a snapshot");
                    // The node may have stopped meanwhile.
                    let _ = back.send(writer);
                }
                Err(error) => tracing::warn!(%error, "no more snapshots are written"),
            }
        });
        Ok(())
    }
}

//! Whole networks in one seeded runtime: the same nodes and the same consensus as on a real network, where time, disks and
//! links are simulated and every run of a seed is the same run.
//!
//! What is checked after every run, on what honest nodes have (`properties`):
//! * one block per height, and one history: every node's chain is a prefix of the longest, and what was final on any node at any
//!   time is in it;
//! * the chain follows from genesis by the ledger's own rules, and after each block credits are as many as at genesis, and where
//!   the transfers leave them;
//! * the log is append-only between any two checkpoints that any nodes had as cosigned at any time, and a quorum has cosigned each;
//! * once the faults stop, every acknowledged receipt and payment is in a final block;
//! * whoever is shown to have signed what excludes each other has done so, by the evidence that a reader checks offline.
//!
//! Some seeds run twice, and the second run must be the first one: every final block, every checkpoint, and the digest of all that
//! the runtime did, messages and writes among it.
//!
//! `make simulate` runs ten thousand seeds of each.

mod chaos;
mod clock;
mod faults;
mod network;
mod properties;

use tally_ledger::{Epoch, Genesis, Height, Subject};
use tally_receipt::SigningKey;

use crate::wire::{DecidedAnswer, Head, SaidAnswer, Stretch};

/// What a network left behind that changed its validators twice.
pub(crate) struct Recorded {
    pub(crate) genesis: Genesis,
    pub(crate) head: Head,
    /// What that header's state says that validators decide on.
    pub(crate) decided: DecidedAnswer,
    /// What it says of what is in it, and of what is not.
    pub(crate) said: [(Subject, SaidAnswer); 2],
    /// All its final blocks.
    pub(crate) blocks: Stretch,
}

/// Runs one.
pub(crate) fn recorded() -> Recorded {
    faults::run(1, |context| async move {
        let mut net = network::Net::with_outsiders(context, 1, 3).await;
        net.start_all().await;
        net.decide(0, &[0, 1], &[0]).await;
        net.epoch(1).await;
        net.decide(1, &[0, 1, 2, 3], &[0, 1]).await;
        net.epoch(2).await;
        let mut runner = net.register(50, &[0, 1]).await;
        net.settle(&mut runner, 3, &[0, 1]).await;
        net.settle(&mut runner, 2, &[0, 1]).await;
        net.all_settled(&runner).await;
        let head = net.handle(0).head(Epoch::ZERO).await.expect("it runs");
        let decided = net.handle(0).decided(Epoch::ZERO).await.expect("it runs");
        let nobody = SigningKey::from_seed(&[99; 32]).public_key();
        let mut said = Vec::new();
        for subject in [Subject::Decisions, Subject::NodeKey(nobody)] {
            let answer = net.handle(0).said(Epoch::ZERO, subject).await;
            let answer = answer.expect("it runs").expect("there are blocks");
            said.push((subject, answer));
        }
        let blocks = net.handle(0).blocks(Height::new(1)).await;
        Recorded {
            blocks: blocks.expect("it runs").expect("they are short"),
            genesis: net.genesis.clone(),
            head: head.expect("there are blocks"),
            decided: decided.expect("there are blocks"),
            said: said.try_into().expect("two"),
        }
    })
    .0
}

/// Seeds that each scenario runs with, unless the environment says otherwise.
const SEEDS: u64 = 200;

fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("TALLY_SEEDS").ok();
    0..count.and_then(|count| count.parse().ok()).unwrap_or(SEEDS)
}

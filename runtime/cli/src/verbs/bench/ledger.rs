//! `tally bench ledger`: a devnet of processes on this machine, and what it does under load.
//!
//! Everything shares this machine's cores: the validators, each of which checks every signature, and the runners. Parts:
//!
//! * `latency`: 500 receipts a second; from handing one over until the proof that came back has been checked offline.
//! * `sustained`: runners hand over as much as is taken. By hash, a validator checks one signature for each settlement of
//!   up to 1,024 receipts; in full, also the signature of every receipt.
//! * `restart`: all processes killed at once and started again; until a receipt handed over then is final. Everything that was
//!   acknowledged before is looked for.
//! * `proof`: sizes, and the time to check one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};
use tally_ledger::{
    AccountId, Credits, Genesis, NodeId, Request, Roles, Sequence, Settlement, Terms, Transaction,
};
use tally_net::{Endpoint, Secret};
use tally_node::Client;
use tally_receipt::{Digest, Receipt, SigningKey};

use super::receipts::predicate;
use crate::verbs::devnet::{self, Devnet};

/// Receipts in a second, for the latency, and in one submission.
const RATE: u32 = 500;
const TOGETHER: u64 = 10;
/// Receipts in one settlement under load, and settlements that a runner has on their way.
const BATCH: usize = 1024;
const FULL_BATCH: usize = 256;
const ON_THE_WAY: usize = 3;
const RUNNERS: u8 = 4;
const PATIENCE: Duration = Duration::from_secs(20);

struct Network {
    devnet: Devnet,
    genesis: Genesis,
    client: Client,
    _endpoint: Endpoint,
    _dir: tempfile::TempDir,
}

/// Somebody who settles receipts.
struct Runner {
    key: SigningKey,
    next: u64,
    batch: u64,
}

pub(crate) fn run(quick: bool, validators: u16, delay_ms: u64) -> anyhow::Result<Value> {
    let seconds = if quick { 3 } else { 10 };
    let runtime = crate::runtime().map_err(|failure| anyhow::anyhow!("{}", failure.message()))?;
    runtime.block_on(async {
        let mut network = start(validators, delay_ms).await?;
        let latency = latency(&network, Duration::from_secs(seconds)).await?;
        let hash = sustained(&network, Duration::from_secs(seconds), false).await?;
        let full = sustained(&network, Duration::from_secs(seconds), true).await?;
        let restart = restart(&mut network, validators).await?;
        let proof = proof(&network).await?;
        Ok(json!({
            "validators": validators,
            "delay_ms": delay_ms,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "load_before": std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
            "latency": latency,
            "sustained_by_hash": hash,
            "sustained_in_full": full,
            "restart": restart,
            "proof": proof,
        }))
    })
}

async fn start(validators: u16, delay_ms: u64) -> anyhow::Result<Network> {
    let said = |failure: crate::failure::Failure| anyhow::anyhow!("{}", failure.message());
    let dir = tempfile::tempdir()?;
    let network = devnet::files(dir.path(), validators).map_err(said)?;
    let devnet = Devnet::start(dir.path(), validators.into(), 25, delay_ms).map_err(said)?;
    let endpoint = Endpoint::bind(
        &Secret::derive(&[3; 32]),
        tally_net::Config::new(([127, 0, 0, 1], 0).into()),
    )
    .await?;
    let client = Client::new(&endpoint, &network.genesis, Vec::new(), PATIENCE)?;
    let network = Network {
        devnet,
        genesis: network.genesis,
        client,
        _endpoint: endpoint,
        _dir: dir,
    };
    // All of them, so that the first figures are not those of a network that comes up.
    let begun = Instant::now();
    while network
        .client
        .statuses()
        .await
        .iter()
        .any(|(_, status)| !status.as_ref().is_ok_and(|status| status.votes))
    {
        ensure!(begun.elapsed() < PATIENCE, "the devnet did not start");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(network)
}

impl Network {
    fn signed(&self, request: Request, key: &SigningKey) -> Transaction {
        let signature = key.sign(&request.signed_bytes(self.genesis.chain()));
        Transaction::new(request, vec![(key.public_key(), signature)]).expect("within the limits")
    }

    async fn runner(&self, seed: u8) -> anyhow::Result<Runner> {
        let key = SigningKey::from_seed(&[seed; 32]);
        let node = NodeId::new(key.public_key());
        let request = Request::Register {
            owner: AccountId::new(key.public_key()),
            node,
            terms: Terms {
                roles: Roles::INFERENCE,
                evidence: None,
                endpoint: None,
                price: Credits::ZERO,
            },
        };
        self.client.submit(&[self.signed(request, &key)]).await?;
        let begun = Instant::now();
        while self
            .client
            .statuses_of(node)
            .await
            .iter()
            .any(|found| found.is_none())
        {
            ensure!(begun.elapsed() < PATIENCE, "a runner was not registered");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Runner {
            key,
            next: 0,
            batch: 0,
        })
    }

    /// A settlement of digests that nobody has settled before, and the last of them.
    fn settlement(&self, runner: &mut Runner, count: u64) -> (Transaction, Digest) {
        let digests: Vec<Digest> = (runner.next..runner.next + count)
            .map(|n| {
                Digest::of(&[&runner.key.public_key().as_bytes()[..], &n.to_be_bytes()].concat())
            })
            .collect();
        let last = *digests.last().expect("at least one");
        let request = Request::Settle {
            node: NodeId::new(runner.key.public_key()),
            first: Sequence::new(runner.next),
            receipts: Settlement::Hashes(digests),
        };
        runner.next += count;
        (self.signed(request, &runner.key), last)
    }

    /// A settlement of whole receipts, each signed by the runner.
    fn full_settlement(
        &self,
        runner: &mut Runner,
        count: usize,
    ) -> anyhow::Result<(Transaction, Digest)> {
        let mut last = None;
        let receipts = (0..count)
            .map(|_| {
                // Every batch differs by its numbers.
                let number = u16::try_from((runner.batch * 7919 + runner.next) % 65_521)?;
                runner.next += 1;
                let receipt =
                    Receipt::sign(predicate(number, runner.key.public_key())?, &[&runner.key])?;
                last = Some(receipt.digest());
                Ok(receipt.to_json().into_boxed_slice())
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        runner.batch += 1;
        let request = Request::Settle {
            node: NodeId::new(runner.key.public_key()),
            first: Sequence::new(runner.next - count as u64),
            receipts: Settlement::Full(receipts),
        };
        Ok((
            self.signed(request, &runner.key),
            last.context("at least one receipt")?,
        ))
    }

    /// Hands a settlement over and waits for the checked proof of its last receipt.
    async fn settle(&self, transaction: Transaction, last: Digest) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.client.submit(&[transaction]).await?;
        self.client.prove(last, PATIENCE).await?;
        Ok(begun.elapsed())
    }
}

async fn latency(network: &Network, time: Duration) -> anyhow::Result<Value> {
    let mut runner = network.runner(50).await?;
    let every = Duration::from_secs(1) * u32::try_from(TOGETHER)? / RATE;
    let begun = Instant::now();
    let mut on_the_way = FuturesUnordered::new();
    let mut times = Vec::new();
    let mut sent = 0;
    let mut next = tokio::time::interval(every);
    next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            _ = next.tick(), if begun.elapsed() < time => {
                let (transaction, last) = network.settlement(&mut runner, TOGETHER);
                sent += TOGETHER;
                on_the_way.push(network.settle(transaction, last));
            }
            Some(took) = on_the_way.next() => times.push(took?),
            else => break,
        }
        if begun.elapsed() >= time && on_the_way.is_empty() {
            break;
        }
    }
    let per_second = sent as f64 / begun.elapsed().as_secs_f64();
    Ok(json!({
        "receipts_per_second": per_second,
        "receipts_in_a_submission": TOGETHER,
        "submissions": times.len(),
        "p50_ms": percentile(&mut times, 50),
        "p99_ms": percentile(&mut times, 99),
        "max_ms": percentile(&mut times, 100),
    }))
}

async fn sustained(network: &Network, time: Duration, full: bool) -> anyhow::Result<Value> {
    let mut runners = Vec::new();
    for n in 0..RUNNERS {
        runners.push(network.runner(if full { 100 } else { 60 } + n).await?);
    }
    // Made beforehand: what a runner spends on its own receipts is not the ledger's cost.
    let each = if full { 6 } else { 200 };
    let mut ready = Vec::new();
    for runner in &mut runners {
        let mut queue = Vec::new();
        for _ in 0..each {
            queue.push(if full {
                network.full_settlement(runner, FULL_BATCH)?
            } else {
                network.settlement(runner, BATCH as u64)
            });
        }
        ready.push(queue);
    }
    let size = if full { FULL_BATCH } else { BATCH };
    let begun = Instant::now();
    let done: Vec<anyhow::Result<Vec<Duration>>> =
        futures::future::join_all(ready.into_iter().map(|queue| async move {
            let mut times = Vec::new();
            let mut on_the_way = FuturesUnordered::new();
            for (transaction, last) in queue {
                if begun.elapsed() > time {
                    break;
                }
                on_the_way.push(network.settle(transaction, last));
                if on_the_way.len() == ON_THE_WAY
                    && let Some(took) = on_the_way.next().await
                {
                    times.push(took?);
                }
            }
            while let Some(took) = on_the_way.next().await {
                times.push(took?);
            }
            Ok(times)
        }))
        .await;
    let elapsed = begun.elapsed();
    let mut times = Vec::new();
    for one in done {
        times.extend(one?);
    }
    Ok(json!({
        "receipts_in_a_settlement": size,
        "runners": RUNNERS,
        "settlements": times.len(),
        "receipts": times.len() * size,
        "receipts_per_second": (times.len() * size) as f64 / elapsed.as_secs_f64(),
        "p50_ms": percentile(&mut times, 50),
        "p99_ms": percentile(&mut times, 99),
    }))
}

async fn restart(network: &mut Network, validators: u16) -> anyhow::Result<Value> {
    let mut runner = network.runner(51).await?;
    let mut acknowledged = Vec::new();
    for _ in 0..50 {
        let (transaction, last) = network.settlement(&mut runner, 1);
        network.client.submit(&[transaction]).await?;
        acknowledged.push(last);
    }
    for number in 0..validators.into() {
        network.devnet.kill(number);
    }
    let begun = Instant::now();
    for number in 0..validators.into() {
        network
            .devnet
            .start_one(number)
            .map_err(|failure| anyhow::anyhow!("{}", failure.message()))?;
    }
    let (transaction, last) = network.settlement(&mut runner, 1);
    loop {
        match network
            .client
            .submit(std::slice::from_ref(&transaction))
            .await
        {
            Ok(_) => break,
            Err(error) => ensure!(begun.elapsed() < PATIENCE, "nobody came back: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    network.client.prove(last, PATIENCE).await?;
    let progress = begun.elapsed();
    let mut lost = 0;
    for receipt in &acknowledged {
        if network.client.prove(*receipt, PATIENCE).await.is_err() {
            lost += 1;
        }
    }
    Ok(json!({
        "acknowledged_before": acknowledged.len(),
        "lost": lost,
        "progress_ms": progress.as_secs_f64() * 1000.0,
    }))
}

async fn proof(network: &Network) -> anyhow::Result<Value> {
    let mut runner = network.runner(52).await?;
    let (transaction, last) = network.settlement(&mut runner, 1);
    network.settle(transaction, last).await?;
    let proof = network.client.prove(last, PATIENCE).await?;
    let status = network
        .client
        .statuses()
        .await
        .into_iter()
        .find_map(|(_, status)| status.ok())
        .context("a validator answers")?;
    Ok(json!({ "bytes": proof.len(), "receipts_in_the_log": status.receipts }))
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times
        .get(place)
        .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

//! `tally bench ledger`: a devnet of processes on this machine, and what it does under load.
//!
//! Everything shares this machine's cores: the validators, each of which checks every signature, and the runners. Parts:
//!
//! * `latency`: 500 receipts a second; from handing one over until the proof that came back has been checked offline.
//! * `sustained`: runners hand over as much as is taken. By hash, a validator checks one signature for each settlement of
//!   up to 1,024 receipts; in full, also the signature of every receipt.
//! * `limit`: what these cores could do if validators did nothing but check receipts (`limit.rs`).
//! * `restart`: all processes killed at once and started again; until a receipt handed over then is final. Everything that was
//!   acknowledged before is looked for.
//! * `proof`: sizes, and the time to check one.
//! * `runs`: `tally run` with and without settlement (`runs.rs`), if there is a component to run.
//! * `million`, on demand: what a million receipts cost a validator (`million.rs`).
//! * `curves`, on demand: sustained receipts by the size of a settlement and by the number of validators, and the latency with 50 ms
//!   between any two validators. Each on a network of its own.

mod limit;
mod million;
mod runs;

use std::path::{Path, PathBuf};

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
/// Curves.
const BATCHES: [usize; 6] = [1, 16, 64, 256, 1024, 4096];
const VALIDATORS: [u16; 3] = [4, 7, 13];
const DISTANCE_MS: u64 = 50;
const PATIENCE: Duration = Duration::from_secs(20);

/// What is measured.
pub(crate) struct Options<'a> {
    /// Three seconds for each figure.
    pub(crate) quick: bool,
    pub(crate) validators: u16,
    pub(crate) delay_ms: u64,
    /// Kills of all validators.
    pub(crate) rounds: u32,
    pub(crate) curves: bool,
    pub(crate) million: bool,
    /// An agent for `runs`, and how many rounds of them if somebody says so.
    pub(crate) component: Option<&'a Path>,
    pub(crate) runs: Option<u32>,
}

struct Network {
    devnet: Devnet,
    genesis: Genesis,
    file: PathBuf,
    /// Seeds of runners that are taken.
    runners: std::cell::Cell<u8>,
    client: Client,
    endpoint: Endpoint,
    dir: tempfile::TempDir,
}

/// Somebody who settles receipts.
struct Runner {
    key: SigningKey,
    next: u64,
}

pub(crate) fn run(options: &Options<'_>) -> anyhow::Result<Value> {
    let time = Duration::from_secs(if options.quick { 3 } else { 10 });
    let (validators, delay_ms) = (options.validators, options.delay_ms);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let runtime = crate::runtime().map_err(|failure| anyhow::anyhow!("{}", failure.message()))?;
    runtime.block_on(async {
        let limit = limit::measure(validators, time / 2)?;
        let mut network = start(validators, delay_ms).await?;
        let latency = latency(&network, time).await?;
        let hash = sustained(&network, time, Shape::hashes(BATCH)).await?;
        let full = sustained(&network, time, Shape::full()).await?;
        let restart = restart(&mut network, validators, options.rounds).await?;
        let proof = proof(&network).await?;
        let runs = match options.component {
            Some(component) => {
                let rounds = runs::Rounds::new(options.runs, options.quick);
                runs::measure(&network, component, rounds).await?
            }
            None => json!("not measured: --component names an agent to run"),
        };
        network.close().await;
        let million = match options.million {
            true => million::measure().await?,
            false => json!("not measured: --million"),
        };
        let curves = match options.curves {
            true => curves(time).await?,
            false => json!("not measured: --curves"),
        };
        Ok(json!({
            "validators": validators,
            "delay_ms": delay_ms,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "load_before": load.trim(),
            "latency": latency,
            "sustained_by_hash": hash,
            "sustained_in_full": full,
            "limit": limit,
            "restart": restart,
            "proof": proof,
            "runs": runs,
            "million": million,
            "curves": curves,
        }))
    })
}

async fn curves(time: Duration) -> anyhow::Result<Value> {
    let mut by_batch = Vec::new();
    let network = start(4, 0).await?;
    for batch in BATCHES {
        by_batch.push(sustained(&network, time, Shape::hashes(batch)).await?);
    }
    network.close().await;
    let mut by_validators = Vec::new();
    for validators in VALIDATORS {
        let network = start(validators, 0).await?;
        by_validators.push(json!({
            "validators": validators,
            "latency": latency(&network, time).await?,
            "sustained": sustained(&network, time, Shape::hashes(BATCH)).await?,
        }));
        network.close().await;
    }
    let network = start(4, DISTANCE_MS).await?;
    let far = json!({ "delay_ms": DISTANCE_MS, "latency": latency(&network, time).await? });
    network.close().await;
    Ok(json!({
        "by_receipts_in_a_settlement": by_batch,
        "by_validators": by_validators,
        "with_distance": far,
    }))
}

/// What runners hand over.
#[derive(Clone, Copy)]
struct Shape {
    full: bool,
    receipts: usize,
    /// Settlements that a runner has on their way.
    on_the_way: usize,
    /// Settlements that a runner has ready.
    ready: usize,
}

impl Shape {
    /// By hash: as many receipts ready and on their way, whatever the size of a settlement, as far as they do not wait for each other: a
    /// runner's connection has 32 streams, and those that wait for a proof are among them.
    fn hashes(receipts: usize) -> Self {
        Self {
            full: false,
            receipts,
            on_the_way: (ON_THE_WAY * BATCH / receipts).clamp(ON_THE_WAY, 24),
            ready: (200 * BATCH / receipts).clamp(50, 8_000),
        }
    }

    fn full() -> Self {
        Self {
            full: true,
            receipts: FULL_BATCH,
            on_the_way: ON_THE_WAY,
            ready: 24,
        }
    }
}

async fn start(validators: u16, delay_ms: u64) -> anyhow::Result<Network> {
    let said = |failure: crate::failure::Failure| anyhow::anyhow!("{}", failure.message());
    let dir = tempfile::tempdir()?;
    let network = devnet::files(dir.path(), validators).map_err(said)?;
    let devnet = Devnet::start(dir.path(), validators.into(), 25, delay_ms).map_err(said)?;
    let (endpoint, client) = client(&network.genesis, 3).await?;
    let network = Network {
        devnet,
        genesis: network.genesis,
        file: network.file,
        runners: std::cell::Cell::new(1),
        client,
        endpoint,
        dir,
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

/// A way to the validators of its own.
async fn client(genesis: &Genesis, seed: u8) -> anyhow::Result<(Endpoint, Client)> {
    let endpoint = Endpoint::bind(
        &Secret::derive(&[seed; 32]),
        tally_net::Config::new(([127, 0, 0, 1], 0).into()),
    )
    .await?;
    let client = Client::new(&endpoint, genesis, Vec::new(), PATIENCE)?;
    Ok((endpoint, client))
}

impl Network {
    /// Where the validators' folders are.
    fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends the processes.
    async fn close(self) {
        self.endpoint.close().await;
    }

    fn signed(&self, request: Request, key: &SigningKey) -> Transaction {
        let signature = key.sign(&request.signed_bytes(self.genesis.chain()));
        Transaction::new(request, vec![(key.public_key(), signature)]).expect("within the limits")
    }

    /// Somebody new.
    async fn runner(&self) -> anyhow::Result<Runner> {
        let number = self.runners.get();
        self.runners
            .set(number.checked_add(1).context("too many runners")?);
        let key = SigningKey::from_seed(&[number; 32]);
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
        Ok(Runner { key, next: 0 })
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
                // No two are the same.
                let number = u16::try_from(runner.next)?;
                runner.next += 1;
                let receipt =
                    Receipt::sign(predicate(number, runner.key.public_key())?, &[&runner.key])?;
                last = Some(receipt.digest());
                Ok(receipt.to_json().into_boxed_slice())
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
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
}

/// Hands a settlement over and waits for the checked proof of its last receipt.
async fn settle(
    client: &Client,
    transaction: Transaction,
    last: Digest,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    client.submit(&[transaction]).await?;
    client.prove(last, PATIENCE).await?;
    Ok(begun.elapsed())
}

async fn latency(network: &Network, time: Duration) -> anyhow::Result<Value> {
    let mut runner = network.runner().await?;
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
                on_the_way.push(settle(&network.client, transaction, last));
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

async fn sustained(network: &Network, time: Duration, shape: Shape) -> anyhow::Result<Value> {
    let mut runners = Vec::new();
    let mut clients = Vec::new();
    for number in 0..RUNNERS {
        runners.push(network.runner().await?);
        clients.push(client(&network.genesis, 200 + number).await?);
    }
    // Made beforehand: what a runner spends on its own receipts is not the ledger's cost.
    let mut ready = Vec::new();
    for runner in &mut runners {
        let mut queue = Vec::new();
        for _ in 0..shape.ready {
            queue.push(if shape.full {
                network.full_settlement(runner, shape.receipts)?
            } else {
                network.settlement(runner, shape.receipts as u64)
            });
        }
        ready.push(queue);
    }
    let size = shape.receipts;
    let begun = Instant::now();
    let done: Vec<anyhow::Result<Vec<Duration>>> =
        futures::future::join_all(ready.into_iter().zip(&clients).map(
            |(queue, (_, client))| async move {
                let mut times = Vec::new();
                let mut on_the_way = FuturesUnordered::new();
                for (transaction, last) in queue {
                    if begun.elapsed() > time {
                        break;
                    }
                    on_the_way.push(settle(client, transaction, last));
                    if on_the_way.len() == shape.on_the_way
                        && let Some(took) = on_the_way.next().await
                    {
                        times.push(took?);
                    }
                }
                while let Some(took) = on_the_way.next().await {
                    times.push(took?);
                }
                Ok(times)
            },
        ))
        .await;
    let elapsed = begun.elapsed();
    for (endpoint, _) in clients {
        endpoint.close().await;
    }
    let mut times = Vec::new();
    for one in done {
        times.extend(one?);
    }
    Ok(json!({
        "receipts_in_a_settlement": size,
        "on_the_way": shape.on_the_way * usize::from(RUNNERS),
        "runners": RUNNERS,
        "settlements": times.len(),
        "receipts": times.len() * size,
        "receipts_per_second": (times.len() * size) as f64 / elapsed.as_secs_f64(),
        "p50_ms": percentile(&mut times, 50),
        "p99_ms": percentile(&mut times, 99),
    }))
}

async fn restart(network: &mut Network, validators: u16, rounds: u32) -> anyhow::Result<Value> {
    let mut runner = network.runner().await?;
    let mut acknowledged = Vec::new();
    let (mut answered, mut progress) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
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
        answered.push(begun.elapsed());
        network.client.prove(last, PATIENCE).await?;
        progress.push(begun.elapsed());
    }
    let mut lost = 0;
    for receipt in &acknowledged {
        if network.client.prove(*receipt, PATIENCE).await.is_err() {
            lost += 1;
        }
    }
    Ok(json!({
        "rounds": rounds,
        "acknowledged_before": acknowledged.len(),
        "lost": lost,
        "acknowledge_p50_ms": percentile(&mut answered, 50),
        "acknowledge_max_ms": percentile(&mut answered, 100),
        "progress_p50_ms": percentile(&mut progress, 50),
        "progress_max_ms": percentile(&mut progress, 100),
    }))
}

async fn proof(network: &Network) -> anyhow::Result<Value> {
    let mut runner = network.runner().await?;
    let (transaction, last) = network.settlement(&mut runner, 1);
    settle(&network.client, transaction, last).await?;
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

//! `tally bench engine`: what a run costs beside bare wasmtime, on the same pool, in the same process, in turns.
//!
//! Each component is started with a journal in memory and every capability linked. *Bare* is the same compiled component
//! with a host that answers constants and writes nothing. Signing the run receipt and making a journal durable happen
//! once for each run and are measured apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tally_engine::baseline::Baseline;
use tally_engine::contract::Input;
use tally_engine::{
    Component, Engine, EngineOptions, Grant, JournalTo, NoInference, NoOutput, Outcome, Plan,
    PoolKind, ReplayOptions, Services, Signing, Start,
};
use tally_journal::{FileSink, Journal};
use tally_receipt::SigningKey;

/// How long one figure is measured.
const SPAN: Duration = Duration::from_millis(1500);
/// What the agent's setting says, ours and the peer's.
const SETTING: &str = "bench";
/// Runs of one kind before it is the other's turn, so that both see the same machine.
const TURN: usize = 20;

pub(crate) async fn run(components: &[PathBuf]) -> anyhow::Result<Value> {
    if components.is_empty() {
        bail!(
            "name at least one agent with --component; `make components` builds one to start with"
        );
    }
    let began = Instant::now();
    let engine = Engine::new(&EngineOptions::default())?;
    let start_up = began.elapsed();
    let pools = engine.pools();
    let mut agents = Vec::new();
    for (index, path) in components.iter().enumerate() {
        agents.push(
            measure(&engine, path, index == 0)
                .await
                .with_context(|| path.display().to_string())?,
        );
    }
    Ok(json!({
        "bench": "engine",
        "engine": format!("{} {}", engine.fingerprint().name, engine.fingerprint().version),
        "engine_start_ms": ms(start_up),
        "slots": { "native": pools.native, "interpreted": pools.interpreted, "reduced": pools.reduced },
        "agents": agents,
    }))
}

/// A component that is started again and again.
struct Subject {
    engine: Engine,
    plan: Plan,
    component: Component,
    services: Services,
    input: Input,
}

impl Subject {
    fn start(&self, journal: JournalTo) -> Start {
        let mut start = Start::new(
            self.input.clone(),
            self.services.clone(),
            Box::new(NoOutput),
        );
        start.journal = journal;
        start
    }

    /// Runs what was prepared, and lets its report go.
    async fn once(&self, start: Start) -> anyhow::Result<()> {
        let report = self.engine.run(&self.plan, start).await?;
        match report.outcome {
            Outcome::Replied(_) | Outcome::Failed(_) => Ok(()),
            other => bail!("{}", other.sentence()),
        }
    }
}

async fn measure(engine: &Engine, path: &Path, in_detail: bool) -> anyhow::Result<Value> {
    let bytes = std::fs::read(path).context("read the component")?;
    let began = Instant::now();
    let component = engine.load(&bytes, |_| {})?;
    let load = began.elapsed();
    let grant = Grant::as_asked(component.manifest());
    let settings = BTreeMap::from([("name".to_owned(), SETTING.to_owned())]);
    let subject = Subject {
        engine: engine.clone(),
        plan: Plan::new(engine, &component, &grant, Vec::new(), settings)?,
        component,
        services: Services::system(Arc::new(NoInference)),
        input: Input::text("hello"),
    };
    let bare = Baseline::new(engine, &subject.component, SETTING)
        .map_err(|error| anyhow::anyhow!("{error:#}"))?;

    let probe = engine
        .run(&subject.plan, subject.start(JournalTo::Memory))
        .await?;
    let calls = probe.used.calls;
    let journal = Arc::new(Journal::parse(
        probe.journal.context("the journal was kept in memory")?,
    )?);

    // In turns: ours with a journal, ours without, bare.
    let (mut ours, mut unjournaled, mut least) = (Vec::new(), Vec::new(), Vec::new());
    let until = Instant::now() + SPAN * 3;
    while Instant::now() < until {
        for (journal, times) in [(true, &mut ours), (false, &mut unjournaled)] {
            for _ in 0..TURN {
                // The input is there before a run begins, here and for the peer.
                let start = subject.start(if journal {
                    JournalTo::Memory
                } else {
                    JournalTo::Nowhere
                });
                let began = Instant::now();
                subject.once(start).await?;
                times.push(began.elapsed());
            }
        }
        for _ in 0..TURN {
            let began = Instant::now();
            let _ = bare
                .run(&subject.input)
                .await
                .map_err(|error| anyhow::anyhow!("{error:#}"))?;
            least.push(began.elapsed());
        }
    }
    let (ours, unjournaled, least) = (
        median(&mut ours),
        median(&mut unjournaled),
        median(&mut least),
    );
    let mut figures = json!({
        "component": path.file_name().map(|name| name.to_string_lossy()),
        "bytes": bytes.len(),
        "pool": match subject.component.pool() { PoolKind::Native => "native", PoolKind::Interpreted => "interpreted" },
        "compile_and_load_ms": ms(load),
        "host_calls": calls,
        "cold_start_call_drop_us": { "tally": us(ours), "bare_wasmtime": us(least), "ratio": ratio(ours, least) },
        "without_journal_us": us(unjournaled),
    });
    if calls > 0 {
        // An upper bound: the first and the last entry are in it.
        figures["journaled_call_extra_us"] =
            json!(round(us(ours.saturating_sub(unjournaled)) / calls as f64));
    }
    if in_detail {
        details(&subject, &bare, &journal, ours, &mut figures).await?;
    }
    Ok(figures)
}

async fn details(
    subject: &Subject,
    bare: &Baseline,
    journal: &Arc<Journal>,
    ours: Duration,
    figures: &mut Value,
) -> anyhow::Result<()> {
    let mut sustained = serde_json::Map::new();
    for tasks in [1usize, 2, 64] {
        sustained.insert(tasks.to_string(), json!(throughput(subject, tasks).await?));
    }
    figures["sustained_runs_per_s"] = sustained.into();
    figures["memory_per_idle_instance_kib"] = json!(idle(bare).await?);

    // Once for each run: the receipt's signature, and a journal that survives the loss of power.
    let key = Arc::new(SigningKey::from_seed(&[7; 32]));
    let mut signed = Vec::new();
    let until = Instant::now() + SPAN / 2;
    while Instant::now() < until {
        let mut start = subject.start(JournalTo::Memory);
        start.signing = Some(Signing::new(key.clone()));
        let began = Instant::now();
        subject.engine.run(&subject.plan, start).await?;
        signed.push(began.elapsed());
    }
    figures["run_receipt_us"] = json!(round(us(median(&mut signed).saturating_sub(ours))));

    let dir = std::env::temp_dir().join(format!("tally-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).context("make a folder for journals")?;
    let durable = durable(subject, &dir, &key).await;
    std::fs::remove_dir_all(&dir).context("remove the folder of journals")?;
    let durable = durable?;

    let mut replays = Vec::new();
    let bytes = journal.bytes().to_vec();
    let until = Instant::now() + SPAN / 2;
    while Instant::now() < until {
        let began = Instant::now();
        let parsed = Arc::new(Journal::parse(bytes.clone())?);
        let report = subject
            .engine
            .replay(
                &parsed,
                &subject.component,
                Vec::new(),
                ReplayOptions::default(),
            )
            .await?;
        replays.push(began.elapsed());
        if !report.is_identical() {
            bail!("the replay is not identical: {}", report.sentence());
        }
    }
    let replay = median(&mut replays);
    figures["replay"] = json!({
        "parse_and_replay_us": us(replay),
        "live_in_memory_us": us(ours),
        "live_signed_and_durable_us": us(durable),
        "times_faster_than_in_memory": ratio(ours, replay),
        "times_faster_than_durable": ratio(durable, replay),
    });
    Ok(())
}

/// Runs with a signed journal in a file, synced as a real run's is.
async fn durable(subject: &Subject, dir: &Path, key: &Arc<SigningKey>) -> anyhow::Result<Duration> {
    let mut took = Vec::new();
    let until = Instant::now() + SPAN / 2;
    while Instant::now() < until {
        let path = dir.join(format!("{}.tally", took.len()));
        let began = Instant::now();
        let mut start = subject.start(JournalTo::Sink(Box::new(FileSink::create(&path)?)));
        start.signing = Some(Signing::new(key.clone()));
        subject.engine.run(&subject.plan, start).await?;
        took.push(began.elapsed());
    }
    Ok(median(&mut took))
}

async fn throughput(subject: &Subject, tasks: usize) -> anyhow::Result<u64> {
    let began = Instant::now();
    let until = began + SPAN;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..tasks {
        let subject = Subject {
            engine: subject.engine.clone(),
            plan: subject.plan.clone(),
            component: subject.component.clone(),
            services: subject.services.clone(),
            input: subject.input.clone(),
        };
        running.spawn(async move {
            let mut runs = 0u64;
            while Instant::now() < until {
                subject.once(subject.start(JournalTo::Memory)).await?;
                runs += 1;
                // Sixty-four agents share two threads.
                tokio::task::yield_now().await;
            }
            anyhow::Ok(runs)
        });
    }
    let mut runs = 0;
    while let Some(done) = running.join_next().await {
        runs += done.context("a run panicked")??;
    }
    Ok((runs as f64 / began.elapsed().as_secs_f64()) as u64)
}

/// Private memory of one instance that waits, in KiB.
async fn idle(bare: &Baseline) -> anyhow::Result<f64> {
    const INSTANCES: u64 = 200;
    let before = anonymous_kib()?;
    let mut kept = Vec::new();
    for _ in 0..INSTANCES {
        kept.push(
            bare.idle()
                .await
                .map_err(|error| anyhow::anyhow!("{error:#}"))?,
        );
    }
    let after = anonymous_kib()?;
    drop(kept);
    Ok(round(
        after.saturating_sub(before) as f64 / INSTANCES as f64,
    ))
}

fn anonymous_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .context("no RssAnon in /proc/self/status")?;
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .context("RssAnon is not a number")
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1e3)
}

fn us(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1e6)
}

fn ratio(a: Duration, b: Duration) -> f64 {
    round(a.as_secs_f64() / b.as_secs_f64())
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

//! What settling costs somebody who runs an agent: `tally run` with and without it, one after the other, as a person starts it.
//!
//! Each round has two runs without and one with settlement, so that the difference between the first two, which is noise, stands
//! beside the one that is asked about. What a run left to be settled is settled before the next one begins.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tally_node::Outbox;

use super::{Network, PATIENCE, percentile};

pub(super) async fn measure(
    network: &Network,
    component: &Path,
    rounds: usize,
) -> anyhow::Result<Value> {
    let dir = tempfile::tempdir()?;
    let home = dir.path().join("home");
    let model = dir.path().join("seed.gguf");
    let document = dir.path().join("hours.md");
    std::fs::write(&model, tally_seed_model::chat_model(tally_seed_model::SEED))?;
    std::fs::write(&document, "The library opens at nine and closes at six.\n")?;
    let tally = || -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .env("TALLY_HOME", &home)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Ok(command)
    };
    let done = |mut command: Command| -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let ended = command.stderr(Stdio::piped()).output()?;
        let took = begun.elapsed();
        ensure!(
            ended.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&ended.stderr)
        );
        Ok(took)
    };
    let mut add = tally()?;
    add.args(["model", "add"])
        .arg(&model)
        .args(["--name", "seed", "--default"]);
    done(add)?;
    let run = |settle: &str| -> anyhow::Result<Duration> {
        let mut command = tally()?;
        command
            .arg("run")
            .arg(component)
            .args(["--input", "When does the library open?", "--attach"])
            .arg(&document)
            .args(["--grant-asked", "--settle", settle, "--network"])
            .arg(&network.file);
        done(command)
    };
    // Compiled code and key are made on the way.
    run("none")?;
    let outbox = home
        .join("ledger/outbox")
        .join(network.genesis.chain().to_string());
    let (mut without, mut again, mut with) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        without.push(run("none")?);
        again.push(run("none")?);
        with.push(run("hash")?);
        let begun = Instant::now();
        while Outbox::open(&outbox)?.waiting()? > 0 {
            ensure!(begun.elapsed() < PATIENCE, "the outbox is not emptied");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let name = component
        .file_name()
        .context("a component has a name")?
        .to_string_lossy();
    Ok(json!({
        "component": name,
        "rounds": rounds,
        "settle_none": figures(&mut without),
        "settle_none_again": figures(&mut again),
        "settle_hash": figures(&mut with),
    }))
}

fn figures(times: &mut [Duration]) -> Value {
    json!({
        "p50_ms": percentile(times, 50),
        "p90_ms": percentile(times, 90),
        "max_ms": percentile(times, 100),
    })
}

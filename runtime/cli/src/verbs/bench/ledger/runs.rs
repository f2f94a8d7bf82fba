//! What settling costs somebody who runs an agent: `tally run` with and without it, one after the other, as a person starts it.
//!
//! Each round has two runs without and one with settlement, so that the difference between the first two, which is noise, stands
//! beside the one that is asked about. What a run left to be settled is settled before the next one begins.
//!
//! A percentile is the time of one run, that of the nearest rank: of fewer than a hundred, the 99th is the longest.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tally_node::Outbox;

use super::{Network, PATIENCE, percentile};

/// How many rounds there are.
#[derive(Clone, Copy)]
pub(super) struct Rounds {
    most: usize,
    /// After which no more are begun.
    time: Option<Duration>,
}

impl Rounds {
    /// Rounds that are enough for a 99th percentile, where they fit into this time.
    const MOST: usize = 100;
    const TIME: Duration = Duration::from_secs(25);

    /// As many as are asked for; else as many as fit into half a minute, or a third of that.
    pub(super) fn new(asked: Option<u32>, quick: bool) -> Self {
        let share: u16 = if quick { 3 } else { 1 };
        match asked {
            Some(asked) => Self {
                most: asked as usize,
                time: None,
            },
            None => Self {
                most: Self::MOST / usize::from(share),
                time: Some(Self::TIME / u32::from(share)),
            },
        }
    }

    /// Whether there is another one.
    fn go_on(self, done: usize, elapsed: Duration) -> bool {
        done < self.most && (done == 0 || self.time.is_none_or(|time| elapsed < time))
    }
}

pub(super) async fn measure(
    network: &Network,
    component: &Path,
    rounds: Rounds,
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
    let begun = Instant::now();
    while rounds.go_on(with.len(), begun.elapsed()) {
        without.push(run("none")?);
        again.push(run("none")?);
        with.push(run("hash")?);
        let left = Instant::now();
        while Outbox::open(&outbox)?.waiting()? > 0 {
            ensure!(left.elapsed() < PATIENCE, "the outbox is not emptied");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let name = component
        .file_name()
        .context("a component has a name")?
        .to_string_lossy();
    Ok(json!({
        "component": name,
        "rounds": with.len(),
        "settle_none": figures(&mut without),
        "settle_none_again": figures(&mut again),
        "settle_hash": figures(&mut with),
    }))
}

fn figures(times: &mut [Duration]) -> Value {
    json!({
        "p50_ms": percentile(times, 50),
        "p95_ms": percentile(times, 95),
        "p99_ms": percentile(times, 99),
        "max_ms": percentile(times, 100),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_the_times_is_reported_whatever_their_order() {
        let mut times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let expected =
            json!({ "p50_ms": 100.0, "p95_ms": 190.0, "p99_ms": 198.0, "max_ms": 200.0 });
        assert_eq!(figures(&mut times), expected);
        let mut one = [Duration::from_millis(7)];
        let expected = json!({ "p50_ms": 7.0, "p95_ms": 7.0, "p99_ms": 7.0, "max_ms": 7.0 });
        assert_eq!(figures(&mut one), expected);
    }

    #[test]
    fn rounds_end_after_a_while_unless_somebody_said_how_many() {
        let (soon, late) = (Duration::from_secs(1), Duration::from_secs(600));
        let unsaid = Rounds::new(None, false);
        assert!(unsaid.go_on(99, soon) && !unsaid.go_on(100, soon));
        // At least one, however slow the machine is.
        assert!(unsaid.go_on(0, late) && !unsaid.go_on(1, late));
        let quick = Rounds::new(None, true);
        assert!(quick.go_on(32, soon) && !quick.go_on(33, soon));
        assert!(!quick.go_on(1, Duration::from_secs(9)));
        let said = Rounds::new(Some(500), true);
        assert!(said.go_on(499, late) && !said.go_on(500, soon));
    }
}

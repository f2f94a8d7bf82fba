//! What a million receipts, settled by digest, cost a validator: disk, memory, the time until a validator that missed all of
//! them has them too, and until one that was killed is back.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{BATCH, Network, RUNNERS, Shape, start, sustained};

const MILLION: usize = 1_000_000;
/// Longer than a slow machine takes.
const HOURS: Duration = Duration::from_secs(3 * 3600);

pub(super) async fn measure() -> anyhow::Result<Value> {
    let mut network = start(4, 0).await?;
    network.devnet.kill(3);
    let before = Footprint::of(network.dir())?;
    let shape = Shape {
        ready: MILLION.div_ceil(BATCH * usize::from(RUNNERS)),
        ..Shape::hashes(BATCH)
    };
    let settled = sustained(&network, HOURS, shape).await?;
    let receipts = settled["receipts"].as_u64().context("a number")?;
    let after = Footprint::of(network.dir())?;
    let per_million = |before: u64, after: u64| {
        after.saturating_sub(before) as f64 * MILLION as f64 / receipts as f64
    };

    let absent = until_all_have(&mut network, 3, receipts).await?;
    network.devnet.kill(0);
    let killed = until_all_have(&mut network, 0, receipts).await?;
    network.close().await;
    Ok(json!({
        "receipts": receipts,
        "receipts_in_a_settlement": BATCH,
        "receipts_per_second_of_three_validators": settled["receipts_per_second"],
        "disk_bytes_per_million": per_million(before.disk, after.disk),
        "of_that_log_files": per_million(before.log, after.log),
        "resident_bytes_per_million": per_million(before.resident, after.resident),
        "an_absent_validator_has_all_after_s": absent.as_secs_f64(),
        "a_killed_validator_is_back_after_s": killed.as_secs_f64(),
    }))
}

/// Starts one validator, and says when every one of the four answers that it has all receipts.
async fn until_all_have(
    network: &mut Network,
    number: usize,
    receipts: u64,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    network
        .devnet
        .start_one(number)
        .map_err(|failure| anyhow::anyhow!("{}", failure.message()))?;
    loop {
        let statuses = network.client.statuses().await;
        let has_all = |status: &tally_node::Status| status.receipts >= receipts;
        if statuses
            .iter()
            .all(|(_, status)| status.as_ref().is_ok_and(has_all))
        {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < HOURS, "a validator did not catch up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the first validator takes, in bytes.
struct Footprint {
    disk: u64,
    log: u64,
    resident: u64,
}

impl Footprint {
    fn of(dir: &Path) -> anyhow::Result<Self> {
        let folder = dir.join("v0");
        let pid = fs::read_to_string(folder.join("pid"))?;
        let status = fs::read_to_string(format!("/proc/{}/status", pid.trim()))?;
        let kilobytes: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .context("how much memory a process has")?
            .parse()?;
        Ok(Self {
            disk: bytes(&folder.join("data"))?,
            log: bytes(&folder.join("data").join("log"))?,
            resident: kilobytes * 1024,
        })
    }
}

/// Bytes of the files in a folder, as long as they are; none if it is not there yet.
fn bytes(folder: &Path) -> anyhow::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut sum = 0;
    for entry in entries {
        let entry = entry?;
        // A file may have been replaced since.
        let Ok(about) = entry.metadata() else {
            continue;
        };
        sum += match about.is_dir() {
            true => bytes(&entry.path())?,
            false => about.len(),
        };
    }
    Ok(sum)
}

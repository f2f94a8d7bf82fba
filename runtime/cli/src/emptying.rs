//! Emptying an outbox: what waits in it is settled, once by whoever asks, or by a process in the background for as long as more comes.
//!
//! What receipts come into it is `settling`'s for a run, `keeper`'s for a server.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tally_node::{Client, Outbox, SetAside, SettleError, Settling};
use tally_receipt::SigningKey;

use crate::failure::{Failure, OrFail};
use crate::home::Home;
use crate::network::{Network, Way};
use crate::own;
use crate::ui::{grouped, printable};

/// How long a process in the background looks for more receipts after it settled some, and how often.
const ATTENDS: Duration = Duration::from_secs(10);
const LOOKS: Duration = Duration::from_millis(100);
/// The pause after the first time that settling failed; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// Settles what is in an outbox and what comes until none has been settled for a while. Returns at once if another process does,
/// and as soon as the outbox is gone: whoever removes a data directory waits for nobody. Whether nothing is left.
pub(crate) async fn attend(network: &Network, home: &Home) -> Result<bool, Failure> {
    let outbox = network.outbox(home)?;
    let folder = network.outbox_folder(home);
    let waits = || outbox.waiting().or_environment("look at the outbox");
    while let Some(attending) = outbox.attend().or_environment("lock the outbox")? {
        let mut reached = network.client(home).await?;
        let tended = tokio::select! {
            tended = tend(&outbox, network, home, &mut reached) => Some(tended),
            () = own::gone(&folder) => None,
        };
        // While it is still this process that attends: another one would find a node that is about to stop.
        let ended = reached.0.close().await;
        drop(attending);
        let Some(tended) = tended else {
            return Ok(false);
        };
        let is_stuck = tended.map_err(|failure| ended.unwrap_or(failure))?;
        // Whoever appended a moment ago may have seen this process attend.
        if is_stuck || waits()? == 0 {
            break;
        }
    }
    Ok(waits()? == 0)
}

/// Settles what comes until none has been settled for a while. Whether something is left that could not be.
///
/// # Errors
/// The last failure, if nothing was settled since.
async fn tend(
    outbox: &Outbox,
    network: &Network,
    home: &Home,
    reached: &mut (Way, Client),
) -> Result<bool, Failure> {
    let (mut since, mut pause, mut is_stuck) = (Instant::now(), PAUSE, false);
    let mut failed = None;
    while since.elapsed() < ATTENDS {
        if outbox.waiting().or_environment("look at the outbox")? > 0 {
            // It may be exchanged meanwhile.
            let key = home.node_key()?;
            match settle_all(network, outbox, &reached.1, &key).await {
                // Where all that waited was set aside, nothing was settled, and nothing is stuck.
                Ok(0) if outbox.waiting().or_environment("look at the outbox")? > 0 => {
                    (is_stuck, failed) = (true, None);
                }
                Ok(_) => {
                    (since, pause, is_stuck, failed) = (Instant::now(), PAUSE, false, None);
                }
                // Runs that end meanwhile rely on this process; a network may come back.
                Err(failure) if failure.is_environment() => {
                    failed = Some(failure);
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    if reached.0.may_have_moved() {
                        let anew = network.client(home).await?;
                        std::mem::replace(reached, anew).0.close().await;
                    }
                }
                Err(failure) => return Err(failure),
            }
        } else {
            // Whatever failed before is over: somebody else settled it.
            (is_stuck, failed) = (false, None);
        }
        tokio::time::sleep(LOOKS).await;
    }
    match failed {
        Some(failure) => Err(failure),
        None => Ok(is_stuck),
    }
}

/// Settles everything that waits in an outbox. Where another process ran this machine's own node, and may have stopped it
/// meanwhile, it is tried once more.
pub(crate) async fn empty(network: &Network, outbox: &Outbox, home: &Home) -> Result<u64, Failure> {
    let key = home.node_key()?;
    let mut is_second = false;
    loop {
        let (way, client) = network.client(home).await?;
        let settled = settle_all(network, outbox, &client, &key).await;
        let may_have_moved = way.may_have_moved();
        let ended = way.close().await;
        match settled {
            Ok(settled) => {
                network.note_trouble(home, None);
                return Ok(settled);
            }
            Err(failure) if failure.is_environment() && may_have_moved && !is_second => {
                is_second = true;
            }
            Err(failure) => return Err(ended.unwrap_or(failure)),
        }
    }
}

/// The right to settle; waits for it if another process has it.
pub(crate) async fn turn(outbox: &Outbox) -> Result<Settling, Failure> {
    let began = Instant::now();
    loop {
        if let Some(turn) = outbox.settle().or_environment("lock the outbox")? {
            return Ok(turn);
        }
        if began.elapsed() > Duration::from_secs(60) {
            return Err(Failure::environment(
                "another process has been settling this outbox for a minute",
            )
            .advise("nothing is lost: the outbox keeps what waits; try again once the other one has ended"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Settles everything that waits in an outbox; waits its turn if another process does.
async fn settle_all(
    network: &Network,
    outbox: &Outbox,
    client: &Client,
    key: &SigningKey,
) -> Result<u64, Failure> {
    let _turn = turn(outbox).await?;
    let before = outbox.settled().or_environment("read the outbox")?;
    let dropped_before = outbox.dropped().or_environment("read the outbox")?;
    let settled = tally_node::settle(outbox, client, &network.genesis, key).await;
    let refused = outbox
        .refused_from(before)
        .or_environment("read the outbox")?;
    for (reason, count) in reasons(&refused) {
        eprintln!(
            "tally: receipts that can never be settled, set aside in the outbox: {}: {}",
            grouped(count),
            printable(reason)
        );
    }
    let dropped = outbox.dropped().or_environment("read the outbox")?;
    if let more @ 1.. = dropped.saturating_sub(dropped_before) {
        eprintln!(
            "tally: receipts that were set aside earlier, dropped to make room: {}",
            grouped(more)
        );
    }
    settled.map_err(|error| match error {
        // It says what to do.
        SettleError::Disk(ref disk) if disk.kind() == ErrorKind::InvalidData => {
            Failure::environment(&error)
        }
        SettleError::NotAdmitted(_) => Failure::no(&error).advise(
            "make a request that they sign: tally ledger node register --out FILE; the outbox keeps what waits",
        ),
        SettleError::Rotated { .. } => Failure::no(&error).advise(
            "settle with the key that it has now (`tally ledger node show`), as keys/node.key of the data directory: where `tally ledger node rotate` did not end, repeat it; the outbox keeps what waits",
        ),
        error => Failure::environment(&error)
            .advise("nothing is lost: the outbox keeps it; `tally ledger settle` tries again"),
    })
}

/// How many receipts were set aside for which reason.
pub(crate) fn reasons(refused: &[SetAside]) -> BTreeMap<&str, u64> {
    let mut reasons = BTreeMap::new();
    for one in refused {
        *reasons.entry(one.reason.as_str()).or_default() += 1;
    }
    reasons
}

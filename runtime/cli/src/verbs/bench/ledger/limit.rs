//! Receipts a second that validators check on this machine when they do nothing else: no network, no disk, no order. As many
//! threads of one process as there would be processes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tally_receipt::{Receipt, SigningKey, pre_authentication_encoding, verify_signatures};

use super::FULL_BATCH;
use crate::verbs::bench::receipts::predicate;

/// `signatures` are checked on receipts that are read already; `read_and_checked` is all that a ledger does with a receipt.
pub(super) fn measure(validators: u16, time: Duration) -> anyhow::Result<Value> {
    let key = SigningKey::from_seed(&[90; 32]);
    let files = (0..u16::try_from(FULL_BATCH)?)
        .map(|number| {
            let receipt = Receipt::sign(predicate(number, key.public_key())?, &[&key])?;
            Ok(receipt.to_json())
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let receipts = read(&files)?;
    let signatures = per_second(validators, time, &|| check(&receipts))?;
    let both = per_second(validators, time, &|| check(&read(&files)?))?;
    Ok(json!({
        "threads": validators,
        "signatures_per_second": signatures,
        "read_and_checked_per_second": both,
    }))
}

fn read(files: &[Vec<u8>]) -> anyhow::Result<Vec<Receipt>> {
    files
        .iter()
        .map(|file| Receipt::parse(file).context("it was just made"))
        .collect()
}

fn check(receipts: &[Receipt]) -> anyhow::Result<()> {
    let messages: Vec<Vec<u8>> = receipts
        .iter()
        .map(|one| pre_authentication_encoding(one.envelope().payload()))
        .collect();
    let signed: Vec<_> = receipts
        .iter()
        .zip(&messages)
        .flat_map(|(one, message)| {
            let signatures = one.envelope().signatures().iter();
            signatures.map(|one| (one.key, message.as_slice(), &one.signature))
        })
        .collect();
    ensure!(
        verify_signatures(&signed).into_iter().all(|holds| holds),
        "a good receipt was refused"
    );
    Ok(())
}

/// Every thread checks every receipt, as every validator does.
fn per_second(
    threads: u16,
    time: Duration,
    round: &(dyn Fn() -> anyhow::Result<()> + Sync),
) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let rounds = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut rounds = 0u32;
                    while begun.elapsed() < time {
                        round()?;
                        rounds += 1;
                    }
                    anyhow::Ok(rounds)
                })
            })
            .collect();
        all.into_iter()
            .map(|thread| thread.join().expect("it returns its errors"))
            .sum::<anyhow::Result<u32>>()
    })?;
    let each = f64::from(rounds) / f64::from(threads);
    Ok((each * FULL_BATCH as f64 / begun.elapsed().as_secs_f64()).round())
}

//! `tally ledger backup` and `restore`: a chain in one file (`docs/node.md`).

use std::path::PathBuf;

use clap::Args as ClapArgs;
use tally_node::{Backup, BackupError, Extent};

use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::{Network, Which};
use crate::ui::{Progress, grouped, say};

#[derive(ClapArgs)]
pub(crate) struct BackUp {
    /// The backup; made if there is none, else brought up to date.
    file: PathBuf,
    /// Ask nobody: check all that is in it, signatures, rules and certificates, from the genesis file on.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(ClapArgs)]
pub(crate) struct Restore {
    /// The backup.
    file: PathBuf,
    /// The data directory of a node that has never run.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn back_up(args: &BackUp, home: &Home, json: bool) -> Outcome {
    let network = match args.check {
        true => args.which.existing(home)?,
        false => args.which.get(home)?,
    };
    let progress = Progress::bytes("checking the backup", 0);
    let show = |done, total| progress.at_of(done, total);
    let extent = if args.check {
        readable(&args.file)?;
        Backup::check(&args.file, &network.genesis, show).map_err(failure)?
    } else {
        let (mut backup, found) =
            Backup::open(&args.file, &network.genesis, show).map_err(failure)?;
        if found.torn > 0 && !json {
            eprintln!(
                "the last {} bytes were never whole, and are fetched again",
                grouped(found.torn)
            );
        }
        crate::runtime()?.block_on(catch_up(&network, home, &mut backup))?;
        backup.extent()
    };
    drop(progress);
    said(&args.file, &network, extent, json);
    if args.check && extent.torn > 0 {
        if json {
            return Err(Failure::reported());
        }
        return Err(Failure::no(format_args!(
            "the last {} bytes are no part of the backup: they end in the middle of a record, or no certificate covers them",
            grouped(extent.torn)
        ))
        .advise("without --check, `tally ledger backup` fetches them again"));
    }
    Ok(())
}

async fn catch_up(network: &Network, home: &Home, backup: &mut Backup) -> Outcome {
    let (endpoint, client) = network.client(home).await?;
    let progress = Progress::spinner("asking for blocks");
    let done = client
        .back_up(backup, |extent, goal| {
            progress.says(format!(
                "block {} of {}, {} bytes",
                grouped(extent.height.get()),
                grouped(goal.get()),
                grouped(extent.bytes)
            ));
        })
        .await;
    let ended = endpoint.close().await;
    done.map_err(|error| ended.unwrap_or_else(|| failure(error)))
}

pub(crate) fn restore(args: &Restore, home: &Home, json: bool) -> Outcome {
    let network = args.which.existing(home)?;
    readable(&args.file)?;
    let progress = Progress::bytes("checking the backup", 0);
    let extent = tally_node::restore(&args.file, &network.genesis, &args.data, |done, total| {
        progress.at_of(done, total);
    })
    .map_err(failure)?;
    drop(progress);
    said(&args.data, &network, extent, json);
    if !json {
        if extent.torn > 0 {
            eprintln!(
                "the last {} bytes of the backup were never whole, and were left",
                grouped(extent.torn)
            );
        }
        eprintln!(
            "start it: tally node --role follower --genesis {} --data {}",
            network.file.display(),
            args.data.display()
        );
    }
    Ok(())
}

fn readable(file: &std::path::Path) -> Outcome {
    std::fs::metadata(file).or_misuse(format_args!("read {}", file.display()))?;
    Ok(())
}

fn said(what: &std::path::Path, network: &Network, extent: Extent, json: bool) {
    let (height, receipts) = (extent.height.get(), extent.receipts);
    if json {
        say!(
            "{}",
            serde_json::json!({
                "path": what.display().to_string(), "chain": network.genesis.chain().to_string(),
                "height": height, "receipts": receipts, "bytes": extent.bytes, "torn": extent.torn,
            })
        );
    } else {
        say!(
            "{}: {} blocks, {} receipts, {} bytes",
            what.display(),
            grouped(height),
            grouped(receipts),
            grouped(extent.bytes)
        );
    }
}

fn failure(error: BackupError) -> Failure {
    match &error {
        BackupError::NoBackup(_) | BackupError::OtherChain { .. } => Failure::misuse(&error),
        BackupError::Damaged { .. } => Failure::no(&error)
            .advise("nothing was written to it; move it away, and `tally ledger backup` makes a new one from the network"),
        BackupError::InUse(_) => Failure::misuse(&error)
            .advise("a backup is brought back into a directory of its own: what a node has is never written over"),
        BackupError::TooFew { .. } => Failure::environment(&error)
            .advise("`tally ledger status` says which validators answer; the backup is as it was"),
        BackupError::Behind { .. } => Failure::environment(&error)
            .advise("what came before that is in the backup; the same command goes on from there"),
        _ => Failure::environment(&error),
    }
}

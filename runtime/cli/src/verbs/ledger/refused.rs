//! `tally ledger refused`: receipts that can never be settled, and were set aside in this machine's outbox.
//!
//! Nobody is asked for it. Whoever clears them has the right to settle meanwhile, so that what goes is what was shown.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_durable::Access;
use tally_node::{Form, Record};
use tally_receipt::Digest;

use crate::emptying::turn;
use crate::failure::{OrFail, Outcome};
use crate::home::Home;
use crate::network::Which;
use crate::ui::{grouped, printable, say};

#[derive(ClapArgs)]
pub(crate) struct Refused {
    /// Write the receipts into this folder, each as DIGEST.receipt.json. A file that is there stays as it is.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Let go of them here, once they are shown, and written where that is asked for.
    #[arg(long)]
    clear: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) async fn run(args: &Refused, home: &Home, json: bool) -> Outcome {
    const READ: &str = "read the outbox";
    let outbox = args.which.existing(home)?.outbox(home)?;
    let turn = match args.clear {
        true => Some(turn(&outbox).await?),
        false => None,
    };
    if turn.is_some() {
        // What a crash left half set aside goes with the rest, so it is shown with it.
        outbox.go_on().or_environment(READ)?;
    }
    let refused = outbox.refused_records().or_environment(READ)?;
    let dropped = outbox.dropped().or_environment(READ)?;
    if let Some(folder) = &args.out {
        write(folder, refused.iter().map(|(_, record)| record))
            .or_environment(format_args!("write to {}", folder.display()))?;
    }
    if let Some(turn) = &turn {
        outbox
            .clear_refused(turn)
            .or_environment("clear what was set aside")?;
    }
    if json {
        let refused: Vec<_> = refused
            .iter()
            .map(|(aside, record)| {
                serde_json::json!({
                    "number": aside.number, "receipt": Digest::of(&record.receipt).to_string(),
                    "bytes": record.receipt.len(), "in_full": record.form == Form::Full, "reason": aside.reason,
                })
            })
            .collect();
        say!(
            "{}",
            serde_json::json!({ "refused": refused, "dropped": dropped, "cleared": args.clear })
        );
        return Ok(());
    }
    for (aside, record) in &refused {
        say!(
            "{}  {} bytes  {}",
            Digest::of(&record.receipt),
            grouped(record.receipt.len() as u64),
            printable(&aside.reason)
        );
    }
    if dropped > 0 {
        eprintln!(
            "older ones that were dropped to make room: {}",
            grouped(dropped)
        );
    }
    match (refused.len() as u64, args.clear) {
        (0, _) => eprintln!("no receipt is set aside here"),
        (cleared, true) => eprintln!("cleared: {}", grouped(cleared)),
        (_, false) => eprintln!("`tally ledger refused --clear` lets go of them"),
    }
    Ok(())
}

/// Writes receipts into a folder, made if there is none, and has them on the disk.
fn write<'a>(folder: &Path, records: impl Iterator<Item = &'a Record>) -> io::Result<()> {
    tally_durable::create_folder(folder, Access::Umask)?;
    for record in records {
        let place = folder.join(format!("{}.receipt.json", Digest::of(&record.receipt)));
        // The same receipt may be set aside twice, or be written before.
        match place.try_exists()? {
            true => tally_durable::sync(&place)?,
            false => tally_durable::write_file(&place, &record.receipt, Access::Umask)?,
        }
    }
    Ok(())
}

//! `tally ledger submit` and `settle`: receipts onto the ledger.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_node::{Form, Record};
use tally_receipt::{Digest, Receipt};

use crate::emptying::{attend, empty};
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::Which;
use crate::ui::{grouped, say};

#[derive(ClapArgs)]
pub(crate) struct Submit {
    /// Receipts.
    #[arg(required = true, value_name = "RECEIPT")]
    files: Vec<PathBuf>,
    /// Put the receipts themselves into blocks, for everybody to see; else only their digests.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(ClapArgs)]
pub(crate) struct Settle {
    /// Begin when stdin ends, say nothing, and nothing of a network that is not there: for whoever starts this beside a run.
    #[arg(long, hide = true)]
    background: bool,
    #[command(flatten)]
    which: Which,
}

/// A receipt's bytes as they are settled and named: the envelope in its one spelling.
pub(super) fn receipt(path: &Path) -> Result<(Digest, Vec<u8>), Failure> {
    let bytes = std::fs::read(path).or_misuse(format_args!("read {}", path.display()))?;
    let receipt =
        Receipt::parse(&bytes).or_misuse(format_args!("use {} as a receipt", path.display()))?;
    Ok((receipt.digest(), receipt.envelope().to_json()))
}

pub(super) async fn submit(args: &Submit, home: &Home, json: bool) -> Outcome {
    let network = args.which.get(home)?;
    let form = if args.full { Form::Full } else { Form::Hash };
    let mut digests = Vec::new();
    let mut records = Vec::new();
    for path in &args.files {
        let (digest, receipt) = receipt(path)?;
        digests.push(digest.to_string());
        records.push(Record { form, receipt });
    }
    let outbox = network.outbox(home)?;
    outbox
        .append(&records)
        .or_environment("write to the outbox")?;
    let settled = empty(&network, &outbox, home).await?;
    if json {
        say!(
            "{}",
            serde_json::json!({ "settled": settled, "receipts": digests })
        );
    } else {
        for digest in &digests {
            say!("settled {digest}");
        }
    }
    Ok(())
}

pub(super) async fn settle(args: &Settle, home: &Home, json: bool) -> Outcome {
    if args.background {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).or_environment("wait")?;
        let Some(network) = args.which.find(home)? else {
            return Ok(());
        };
        let attended = attend(&network, home).await;
        // Nobody is there to be told: what is not settled stays in the outbox, and the next run says why.
        match &attended {
            Err(failure) => network.note_trouble(home, Some(failure)),
            Ok(true) => network.note_trouble(home, None),
            Ok(false) => {}
        }
        return attended.map(|_| ()).map_err(|_| Failure::reported());
    }
    let network = args.which.get(home)?;
    let outbox = network.outbox(home)?;
    let settled = empty(&network, &outbox, home).await?;
    if json {
        say!("{}", serde_json::json!({ "settled": settled }));
    } else {
        say!("settled {} receipts", grouped(settled));
    }
    Ok(())
}

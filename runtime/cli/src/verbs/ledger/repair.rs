//! `tally ledger repair`: goes on behind receipts in this machine's outbox that its disk has damaged.
//!
//! Nobody is asked for it. Which are damaged, and what becomes of them, is `tally_node::Outbox`'s.

use clap::Args as ClapArgs;

use crate::emptying::turn;
use crate::failure::{OrFail, Outcome};
use crate::home::Home;
use crate::network::Which;
use crate::ui::{grouped, say};

#[derive(ClapArgs)]
pub(crate) struct Repair {
    #[command(flatten)]
    which: Which,
}

pub(super) async fn run(args: &Repair, home: &Home, json: bool) -> Outcome {
    let outbox = args.which.existing(home)?.outbox(home)?;
    let turn = turn(&outbox).await?;
    let repaired = outbox.repair(&turn).or_environment("repair the outbox")?;
    if json {
        let kept: Vec<String> = repaired
            .kept
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        say!(
            "{}",
            serde_json::json!({ "lost": repaired.lost, "kept": kept })
        );
        return Ok(());
    }
    for file in &repaired.kept {
        eprintln!("as it was before: {}", file.display());
    }
    if repaired.kept.is_empty() && repaired.lost == 0 {
        say!("nothing in the outbox is damaged");
    } else {
        say!(
            "repaired; receipts that waited and are lost here: {}",
            grouped(repaired.lost)
        );
        eprintln!("what is left settles as ever: tally ledger settle");
    }
    Ok(())
}

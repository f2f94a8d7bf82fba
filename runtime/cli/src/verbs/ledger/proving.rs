//! `tally ledger prove`: the proof that a receipt is settled, in one file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use tally_node::{AskError, ClientError, RefusedCode};
use tally_receipt::Digest;

use super::settle::receipt;
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::Which;
use crate::ui::{grouped, say};

#[derive(ClapArgs)]
pub(crate) struct Prove {
    /// The receipt: its file, or its digest.
    receipt: String,
    /// Where the proof goes; else beside the receipt, or to DIGEST.proof.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A proof by a checkpoint that a quorum has cosigned, which tools for C2SP logs read; it comes about a second later than
    /// one by finality.
    #[arg(long)]
    cosigned: bool,
    /// Wait so many seconds for the receipt to become final.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=20))]
    wait: u64,
    #[command(flatten)]
    which: Which,
}

pub(super) async fn prove(args: &Prove, home: &Home, json: bool) -> Outcome {
    let network = args.which.get(home)?;
    let (digest, beside) = match args.receipt.parse::<Digest>() {
        Ok(digest) => (digest, PathBuf::from(format!("{digest}.proof"))),
        Err(_) => {
            let path = Path::new(&args.receipt);
            (receipt(path)?.0, path.with_extension("proof"))
        }
    };
    let out = args.out.clone().unwrap_or(beside);
    let (endpoint, client) = network.client(home).await?;
    let wait = Duration::from_secs(args.wait);
    let proof = match args.cosigned {
        true => client.prove_cosigned(digest, wait).await,
        false => client.prove(digest, wait).await,
    };
    let ended = endpoint.close().await;
    let proof = proof.map_err(|error| match &error {
        ClientError::Nobody(AskError::Refused(refused)) if refused.code == RefusedCode::NotYet => {
            Failure::no(&error).advise("`tally ledger submit` settles a receipt")
        }
        _ => ended.unwrap_or_else(|| Failure::environment(&error)),
    })?;
    std::fs::write(&out, &proof).or_environment(format_args!("write {}", out.display()))?;
    if json {
        say!(
            "{}",
            serde_json::json!({
                "receipt": digest.to_string(), "proof": out, "bytes": proof.len(), "own": network.own.is_some(),
            })
        );
    } else {
        say!("{}: {} bytes", out.display(), grouped(proof.len() as u64));
        eprintln!(
            "check it offline: tally verify {} --genesis {}",
            out.display(),
            network.file.display()
        );
    }
    Ok(())
}

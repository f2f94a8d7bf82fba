//! `tally ledger prove`: a receipt and the proof that it is settled, in one file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use tally_ledger::{Proof, Trust, verify_proof};
use tally_node::{AskError, ClientError, RefusedCode};
use tally_receipt::Digest;

use super::settle::receipt;
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::Which;
use crate::trust::moment;
use crate::ui::{grouped, say};

#[derive(ClapArgs)]
pub(crate) struct Prove {
    /// The receipt: its file, which then goes into the proof, or its digest.
    receipt: String,
    /// Where the proof goes; else beside the receipt, or to DIGEST.proof.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A proof by a checkpoint that a quorum has cosigned, which tools for C2SP logs read; it comes about a second later than
    /// one by finality.
    #[arg(long)]
    cosigned: bool,
    /// Leave the receipt itself out of the file, which then has its digest alone and is some 1,100 bytes. A proof for tools for C2SP
    /// logs never has it.
    #[arg(long)]
    without_receipt: bool,
    /// Wait so many seconds for the receipt to become final.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=20))]
    wait: u64,
    #[command(flatten)]
    which: Which,
}

pub(super) async fn prove(args: &Prove, home: &Home, json: bool) -> Outcome {
    let network = args.which.get(home)?;
    let (digest, document, beside) = match args.receipt.parse::<Digest>() {
        Ok(digest) => (digest, None, PathBuf::from(format!("{digest}.proof"))),
        Err(_) => {
            let path = Path::new(&args.receipt);
            let (digest, document) = receipt(path)?;
            (digest, Some(document), path.with_extension("proof"))
        }
    };
    let document = document.filter(|_| !args.cosigned && !args.without_receipt);
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
    let proof = match &document {
        Some(document) => with_receipt(&proof, document)?,
        None => proof.to_vec(),
    };
    std::fs::write(&out, &proof).or_environment(format_args!("write {}", out.display()))?;
    if json {
        say!(
            "{}",
            serde_json::json!({
                "receipt": digest.to_string(), "proof": out, "bytes": proof.len(), "own": network.own.is_some(),
                "receipt_inside": document.is_some(),
            })
        );
        return Ok(());
    }
    say!("{}: {} bytes", out.display(), grouped(proof.len() as u64));
    let verify = match document {
        Some(_) => format!("tally verify {}", out.display()),
        None => format!("tally verify {} --receipt RECEIPT", out.display()),
    };
    // Of validators that came later a checkpoint says nothing to who has the genesis file alone.
    let trust = Trust {
        now: moment(None)?,
        genesis: Some(&network.genesis),
        policy: None,
    };
    if verify_proof(&proof, None, &trust).verdict.is_verified() {
        eprintln!(
            "check it offline: {verify} --genesis {}",
            network.file.display()
        );
    } else {
        eprintln!(
            "check it offline: tally ledger policy --now > today.policy && {verify} --log-policy today.policy"
        );
    }
    Ok(())
}

/// A proof by finality with its receipt inside.
fn with_receipt(proof: &[u8], receipt: &[u8]) -> Result<Vec<u8>, Failure> {
    let proof = Proof::from_bytes(proof).or_environment("read the proof")?;
    let proof = proof
        .with_receipt(receipt)
        .or_environment("put the receipt into the proof")?;
    Ok(proof.to_bytes())
}

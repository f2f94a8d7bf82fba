//! `tally ledger account`, `trusted` and `policy`: what a network shows of an account, and of who vouches for it.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use tally_ledger::AccountId;
use tally_receipt::PublicKey;

use super::registered::found;
use super::sending::ASK;
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::Which;
use crate::ui::{grouped, say};

#[derive(ClapArgs)]
pub(crate) struct PolicyOf {
    #[command(flatten)]
    which: Which,
}

#[derive(ClapArgs)]
pub(crate) struct Account {
    /// A public key, 64 hex digits; else this machine's.
    key: Option<String>,
    #[command(flatten)]
    which: Which,
}

#[derive(ClapArgs)]
pub(crate) struct TrustedOf {
    /// Write them to this file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

pub(super) fn policy(args: &PolicyOf, home: &Home, json: bool) -> Outcome {
    let policy = args.which.existing(home)?.genesis.log_policy_text();
    if json {
        say!("{}", serde_json::json!({ "policy": policy }));
    } else {
        say!("{}", policy.trim_end());
    }
    Ok(())
}

pub(super) async fn trusted(args: &TrustedOf, home: &Home, json: bool) -> Outcome {
    let network = args.which.get(home)?;
    let (endpoint, client) = network.client(home).await?;
    let trusted = client.trusted().await;
    let ended = endpoint.close().await;
    let trusted = trusted
        .or_environment("learn from the network who validates")
        .map_err(|failure| ended.unwrap_or(failure))?;
    if let Some(out) = &args.out {
        std::fs::write(out, trusted.to_bytes())
            .or_environment(format_args!("write {}", out.display()))?;
    }
    let height = trusted
        .named_by
        .as_ref()
        .map_or(0, |header| header.height.get());
    let validators = trusted.validators.as_slice();
    if json {
        let validators: Vec<_> = validators
            .iter()
            .map(|one| {
                serde_json::json!({
                    "name": one.name.as_str(), "vote_key": one.vote_key.to_string(),
                    "checkpoint_key": one.checkpoint_key.to_string(),
                })
            })
            .collect();
        say!(
            "{}",
            serde_json::json!({
                "chain": trusted.chain.to_string(), "epoch": trusted.epoch.get(), "named_at": height,
                "validators": validators, "file": args.out, "own": network.own.is_some(),
            })
        );
        return Ok(());
    }
    say!("chain {}", trusted.chain);
    say!(
        "epoch {}, whose validators the block at height {} named",
        grouped(trusted.epoch.get()),
        grouped(height)
    );
    for one in validators {
        say!("{}  {}", one.vote_key, one.name);
    }
    if let Some(out) = &args.out {
        eprintln!(
            "{} is for whoever believes this machine about it: --trusted {}",
            out.display(),
            out.display()
        );
    }
    Ok(())
}

pub(super) async fn account(args: &Account, home: &Home, json: bool) -> Outcome {
    let network = args.which.get(home)?;
    let key: PublicKey = match &args.key {
        Some(text) => text
            .parse()
            .or_misuse(format_args!("use {text:?} as a public key"))?,
        None => home.node_key()?.public_key(),
    };
    let (endpoint, client) = network.client(home).await?;
    let answered = async {
        let account = client.shown_account(AccountId::new(key)).await;
        let account = account.or_environment(ASK)?;
        Ok::<_, Failure>((account, found(&client, key).await?))
    }
    .await;
    let ended = endpoint.close().await;
    let ((height, account), node) = answered.map_err(|failure| ended.unwrap_or(failure))?;
    let node = node.map(|found| found.node);
    if json {
        say!(
            "{}",
            serde_json::json!({
                "key": key.to_string(), "height": height.get(), "balance": account.balance.get(),
                "nonce": account.nonce.get(), "claimed": account.claimed,
                "settled": node.as_ref().map(|node| node.settled.get()),
                "node_key": node.as_ref().map(|node| node.key.to_string()),
            })
        );
    } else {
        say!("{key}, as the chain shows at height {height}");
        say!(
            "  {} credits, next nonce {}",
            grouped(account.balance.get()),
            account.nonce
        );
        match &node {
            Some(node) => say!("  a node, {} receipts settled", grouped(node.settled.get())),
            None => say!("  no registered node"),
        }
    }
    Ok(())
}

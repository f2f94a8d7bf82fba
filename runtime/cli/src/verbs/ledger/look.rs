//! `tally ledger status`, `account`, `trusted` and `policy`: what there is to see of a ledger, and who vouches for it.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use tally_ledger::{AccountId, Epoch, TrustedValidators, policy_text};
use tally_receipt::PublicKey;

use super::registered::found;
use super::sending::ASK;
use crate::emptying::reasons;
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::{Network, Which};
use crate::ui::{grouped, printable, say, short};

#[derive(ClapArgs)]
pub(crate) struct Status {
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

#[derive(ClapArgs)]
pub(crate) struct PolicyOf {
    /// Of those who validate now, as the chain shows them from the genesis file or `--trusted FILE` on; else of those of the genesis
    /// file.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) async fn status(args: &Status, home: &Home, json: bool) -> Outcome {
    let network = args.which.get(home)?;
    let outbox = network.outbox(home)?;
    let waiting = outbox.waiting().or_environment("read the outbox")?;
    let waiting_bytes = outbox.waiting_bytes().or_environment("read the outbox")?;
    let refused = outbox.refused().or_environment("read the outbox")?;
    let refused = reasons(&refused);
    let refused_bytes = outbox.refused_bytes().or_environment("read the outbox")?;
    let dropped = outbox.dropped().or_environment("read the outbox")?;
    let (endpoint, client) = network.client(home).await?;
    let key = endpoint.key();
    let statuses = client.statuses().await;
    let ended = endpoint.close().await;
    let trouble = network.trouble(home).filter(|_| waiting > 0);
    let reached = statuses.iter().filter(|(_, status)| status.is_ok()).count();
    let chain = network.genesis.chain();
    // Who validates now is what the newest of them says; genesis has the first ones.
    let newest = statuses
        .iter()
        .filter_map(|(_, status)| status.as_ref().ok())
        .max_by_key(|status| (status.epoch, status.height));
    let tolerated = newest.map_or(network.genesis.validators.tolerated(), |status| {
        status.validators.len().saturating_sub(1) / 3
    });
    if json {
        let validators: Vec<_> = statuses
            .iter()
            .map(|(endpoint, status)| match status {
                Ok(status) => serde_json::json!({
                    "validator": endpoint.to_string(),
                    "height": status.height.get(),
                    "block": status.block.to_string(),
                    "time_ms": status.time_ms,
                    "epoch": status.epoch,
                    "receipts": status.receipts,
                    "log_root": hex::encode(status.log_root),
                    "state_root": hex::encode(status.state_root),
                    "waiting": status.waiting,
                    "votes": status.votes,
                    "faults": status.faults,
                    "validators": status.validators.iter().map(|one| serde_json::json!({
                        "name": one.name, "vote_key": one.vote_key.to_string(), "connected": one.connected,
                    })).collect::<Vec<_>>(),
                }),
                Err(error) => serde_json::json!({
                    "validator": endpoint.to_string(), "error": error.to_string(),
                }),
            })
            .collect();
        say!(
            "{}",
            serde_json::json!({
                "chain": chain.to_string(), "tolerates": tolerated, "own": network.own.is_some(),
                "endpoint": key.to_string(), "outbox": waiting, "outbox_bytes": waiting_bytes, "trouble": trouble, "validators": validators,
                "refused": refused.iter().map(|(reason, count)| serde_json::json!({
                    "reason": reason, "receipts": count,
                })).collect::<Vec<_>>(),
                "refused_bytes": refused_bytes, "refused_dropped": dropped,
            })
        );
    } else {
        say!("chain {chain}");
        if tolerated == 0 {
            say!(
                "it tolerates nobody: it stops while any of its validators is away, and believes each of them"
            );
        }
        for (endpoint, status) in &statuses {
            let validator = endpoint.to_string();
            match status {
                Ok(status) => say!(
                    "{}…  height {}, {} receipts, {} waiting{}{}",
                    short(&validator),
                    grouped(status.height.get()),
                    grouped(status.receipts),
                    grouped(status.waiting),
                    if status.votes { "" } else { ", does not vote" },
                    match status.faults {
                        0 => String::new(),
                        faults => format!(", has evidence of {faults} faults"),
                    }
                ),
                Err(error) => say!("{}…  {}", short(&validator), printable(&error.to_string())),
            }
        }
        if let Some(relay) = &network.reach.relay {
            say!("the relay {relay} knows this machine by the key {key}");
        }
        say!(
            "waiting on this machine: {} receipts, {} bytes",
            grouped(waiting),
            grouped(waiting_bytes)
        );
        if let Some(reason) = trouble {
            say!(
                "the last try to settle them in the background failed: {}",
                printable(&reason)
            );
        }
        for (reason, count) in &refused {
            say!(
                "set aside on this machine, refused for good: {}: {}",
                grouped(*count),
                printable(reason)
            );
        }
        if dropped > 0 {
            say!(
                "set aside before those, and dropped to make room: {}",
                grouped(dropped)
            );
        }
        if dropped > 0 || !refused.is_empty() {
            say!("`tally ledger refused` shows them, and clears them");
        }
    }
    if reached == 0 {
        return Err(if json {
            Failure::reported()
        } else {
            ended.unwrap_or_else(|| {
                Failure::environment("no validator answered").advise("does the network run? `tally devnet --dir DIR` starts one of this machine again; `tally ledger use --own` goes back to the ledger of this machine alone")
            })
        });
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

/// Who validates now, as the chain shows it.
async fn followed(network: &Network, home: &Home) -> Result<TrustedValidators, Failure> {
    let (endpoint, client) = network.client(home).await?;
    let trusted = client.trusted().await;
    let ended = endpoint.close().await;
    trusted
        .or_environment("learn from the network who validates")
        .map_err(|failure| ended.unwrap_or(failure))
}

pub(super) async fn trusted(args: &TrustedOf, home: &Home, json: bool) -> Outcome {
    let network = args.which.get(home)?;
    let trusted = followed(&network, home).await?;
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

pub(super) fn policy(args: &PolicyOf, home: &Home, json: bool) -> Outcome {
    let (policy, epoch) = match args.now {
        true => {
            let network = args.which.get(home)?;
            let trusted = crate::runtime()?.block_on(followed(&network, home))?;
            let origin = network.genesis.log_origin();
            (policy_text(&origin, &trusted.validators), trusted.epoch)
        }
        false => {
            let genesis = args.which.existing(home)?.genesis;
            (genesis.log_policy_text(), Epoch::ZERO)
        }
    };
    if json {
        say!(
            "{}",
            serde_json::json!({ "policy": policy, "epoch": epoch.get() })
        );
    } else {
        say!("{}", policy.trim_end());
        if args.now {
            eprintln!(
                "of the validators of epoch {}; whoever uses it believes whom it is from about who they are",
                grouped(epoch.get())
            );
        }
    }
    Ok(())
}

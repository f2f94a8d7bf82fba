//! `tally ledger voucher`, `redeem` and `release`: credits that are set aside for a payee.
//!
//! ```text
//! reserve ──▶ hold ── voucher, as often as the payer likes ──▶ redeem, by the payee: all that the last voucher grants
//!               ├──── redeem --close, by the payee: the rest goes back to the payer
//!               └──── release, by the payer, from the block on at which it expires
//! ```
//!
//! Holds are shown by the chain from genesis on, not said by a node. A command that is repeated pays what is not paid yet, or ends what
//! has not ended.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_ledger::{
    AccountId, Credits, Height, Hold, HoldId, Request, Transaction, Voucher, VoucherError,
    VoucherLine, WorthlessVoucher,
};
use tally_node::Client;
use tally_receipt::SigningKey;

use super::credits::amount;
use super::files;
use super::sending::{ASK, Sending, hand_in, signed};
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::Network;
use crate::ui::{grouped, say};

#[derive(ClapArgs)]
pub(crate) struct Grant {
    /// The hold, as `reserve` names it.
    hold: HoldId,
    /// How many credits of it altogether, those of earlier vouchers among them.
    #[arg(value_parser = amount)]
    total: Credits,
    /// Where the voucher goes; else to stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    sending: Sending,
}

#[derive(ClapArgs)]
pub(crate) struct Redeem {
    /// A voucher of the payer's.
    #[arg(value_name = "FILE", required_unless_present = "hold")]
    voucher: Option<PathBuf>,
    /// Which hold, where there is no voucher: then it is only closed.
    #[arg(long, conflicts_with = "voucher", requires = "close")]
    hold: Option<HoldId>,
    /// Give the rest back to the payer, and end the hold.
    #[arg(long)]
    close: bool,
    #[command(flatten)]
    sending: Sending,
}

#[derive(ClapArgs)]
pub(crate) struct Release {
    /// The hold, as `reserve` names it.
    hold: HoldId,
    #[command(flatten)]
    sending: Sending,
}

/// The voucher in a file, which must be of the network's chain.
fn read_voucher(path: &Path, network: &Network) -> Result<VoucherLine, Failure> {
    match VoucherLine::parse(&files::read(path)?, network.genesis.chain()) {
        Err(VoucherError::OtherChain { found, .. }) => {
            Err(files::of_another_chain(path, found, network))
        }
        read => read
            .or_misuse(format_args!("use {} as a voucher", path.display()))
            .map_err(|failure| {
                failure.advise("the payer makes one: tally ledger voucher HOLD TOTAL --out FILE")
            }),
    }
}

/// A hold that there is, and at which height.
async fn held(client: &Client, id: HoldId) -> Result<(Height, Hold), Failure> {
    let (height, hold) = client.shown_hold(id).await.or_environment(ASK)?;
    Ok((height, hold.ok_or_else(|| no_hold(id))?))
}

fn no_hold(id: HoldId) -> Failure {
    Failure::no(format_args!(
        "there is no hold {id}: it never was, or it ended"
    ))
    .advise("whoever reserved it was told its name; what was left of one that ended went back to the payer")
}

/// Whether this key is the one that has a say.
fn is_of(key: &SigningKey, account: AccountId, role: &str, id: HoldId) -> Outcome {
    match key.public_key() == account.key() {
        true => Ok(()),
        false => Err(Failure::no(format_args!(
            "the {role} of hold {id} is {account}, and the key that would sign is {}",
            key.public_key()
        ))
        .advise("name the key's file: --key FILE")),
    }
}

fn worthless(error: WorthlessVoucher) -> Failure {
    Failure::no(error).advise(match error {
        WorthlessVoucher::BeyondHold { .. } => {
            "a voucher's number is the total from the hold's beginning; more than the hold takes another `reserve`"
        }
        _ => "ask the payer for another one",
    })
}

pub(super) async fn voucher(args: &Grant, home: &Home, json: bool) -> Outcome {
    let network = args.sending.which.existing(home)?;
    let key = args.sending.key(home)?;
    let (way, client) = network.client(home).await?;
    let held = held(&client, args.hold).await;
    let ended = way.close().await;
    let (_, hold) = held.map_err(|failure| ended.unwrap_or(failure))?;
    is_of(&key, hold.payer, "payer", args.hold)?;
    let chain = network.genesis.chain();
    let line = VoucherLine::sign(chain, args.hold, args.total, &key);
    // Else the payee alone would be told.
    line.voucher
        .pays(chain, args.hold, &hold)
        .map_err(worthless)?;
    if let Some(out) = &args.out {
        std::fs::write(out, format!("{line}\n"))
            .or_environment(format_args!("write {}", out.display()))?;
    }
    match (&args.out, json) {
        (_, true) => say!(
            "{}",
            serde_json::json!({
                "hold": args.hold.to_string(), "total": args.total.get(), "voucher": line.to_string(), "out": args.out,
            })
        ),
        (Some(out), false) => {
            say!(
                "{}: {} of hold {}",
                out.display(),
                grouped(args.total.get()),
                args.hold
            );
            eprintln!("the payee: tally ledger redeem {}", out.display());
        }
        (None, false) => say!("{line}"),
    }
    Ok(())
}

/// What became of a hold.
struct Changed {
    transaction: Option<Transaction>,
    height: Option<Height>,
    paid: Credits,
    is_earlier: bool,
}

impl Changed {
    const fn earlier(transaction: Option<Transaction>, height: Height) -> Self {
        Self {
            transaction,
            height: Some(height),
            paid: Credits::ZERO,
            is_earlier: true,
        }
    }
}

/// What is asked of a hold that is not there, if it was done already: validators take again what was done.
async fn ended_by(
    client: &Client,
    transaction: Transaction,
    id: HoldId,
    height: Height,
) -> Result<Changed, Failure> {
    match client.submit(std::slice::from_ref(&transaction)).await {
        Ok(_) => Ok(Changed::earlier(Some(transaction), height)),
        Err(_) => Err(no_hold(id)),
    }
}

async fn redeemed(
    client: &Client,
    id: HoldId,
    voucher: Option<Voucher>,
    close: bool,
    key: &SigningKey,
    network: &Network,
    no_wait: bool,
) -> Result<Changed, Failure> {
    let chain = network.genesis.chain();
    let request = Request::Redeem {
        hold: id,
        voucher,
        close,
    };
    let transaction = signed(request, chain, &[key]);
    let (height, hold) = client.shown_hold(id).await.or_environment(ASK)?;
    let Some(hold) = hold else {
        return ended_by(client, transaction, id, height).await;
    };
    is_of(key, hold.payee, "payee", id)?;
    let mut paid = Credits::ZERO;
    if let Some(voucher) = voucher {
        paid = voucher.pays(chain, id, &hold).map_err(worthless)?;
        if paid == Credits::ZERO && !close {
            return Ok(Changed::earlier(None, height));
        }
    }
    let total = hold
        .redeemed
        .plus(paid)
        .expect("it is at most the hold's amount");
    let height = hand_in(client, &transaction, no_wait, async || {
        let (height, hold) = client.shown_hold(id).await?;
        let counts = hold.is_none_or(|hold| !close && hold.redeemed >= total);
        Ok(counts.then_some(height))
    })
    .await?;
    Ok(Changed {
        transaction: Some(transaction),
        height,
        paid,
        is_earlier: false,
    })
}

pub(super) async fn redeem(args: &Redeem, home: &Home, json: bool) -> Outcome {
    let network = args.sending.which.existing(home)?;
    let key = args.sending.key(home)?;
    let (id, voucher) = match (&args.voucher, args.hold) {
        (Some(file), _) => {
            let line = read_voucher(file, &network)?;
            (line.hold, Some(line.voucher))
        }
        (None, Some(id)) => (id, None),
        (None, None) => unreachable!("clap requires one"),
    };
    let (way, client) = network.client(home).await?;
    let no_wait = args.sending.no_wait;
    let changed = redeemed(&client, id, voucher, args.close, &key, &network, no_wait).await;
    let ended = way.close().await;
    let changed = changed.map_err(|failure| ended.unwrap_or(failure))?;
    let words = match args.close {
        true => format!(
            "{} credits paid out of hold {id}, which ends; the rest goes back to the payer",
            grouped(changed.paid.get())
        ),
        false => format!(
            "{} credits paid out of hold {id}",
            grouped(changed.paid.get())
        ),
    };
    say_changed(id, &changed, &words, json);
    Ok(())
}

fn say_changed(id: HoldId, changed: &Changed, words: &str, json: bool) {
    if json {
        say!(
            "{}",
            serde_json::json!({
                "hold": id.to_string(), "transaction": changed.transaction.as_ref().map(|one| one.id().to_string()),
                "paid": changed.paid.get(), "counts": changed.height.is_some(), "earlier": changed.is_earlier,
                "height": changed.height.map(Height::get),
            })
        );
        return;
    }
    match (changed.is_earlier, changed.height) {
        (true, _) => say!("that was done already: nothing more is to be had of hold {id} by this"),
        (false, Some(height)) => say!("{words}, as the chain shows at height {height}"),
        (false, None) => {
            say!("{words}");
            say!("  handed in; `tally ledger account` shows when it counts");
        }
    }
}

async fn released(
    client: &Client,
    id: HoldId,
    key: &SigningKey,
    network: &Network,
    no_wait: bool,
) -> Result<Changed, Failure> {
    let request = Request::Release { hold: id };
    let transaction = signed(request, network.genesis.chain(), &[key]);
    let (height, hold) = client.shown_hold(id).await.or_environment(ASK)?;
    let Some(hold) = hold else {
        return ended_by(client, transaction, id, height).await;
    };
    is_of(key, hold.payer, "payer", id)?;
    let next = height.next();
    if next < hold.expires {
        return Err(Failure::no(format_args!(
            "the hold expires at block {}, and the next one is {next}",
            hold.expires
        ))
        .advise(format_args!(
            "until then the payee can give it back: tally ledger redeem --hold {id} --close"
        )));
    }
    let paid = hold.left();
    let height = hand_in(client, &transaction, no_wait, async || {
        let (height, hold) = client.shown_hold(id).await?;
        Ok(hold.is_none().then_some(height))
    })
    .await?;
    Ok(Changed {
        transaction: Some(transaction),
        height,
        paid,
        is_earlier: false,
    })
}

pub(super) async fn release(args: &Release, home: &Home, json: bool) -> Outcome {
    let network = args.sending.which.existing(home)?;
    let key = args.sending.key(home)?;
    let (way, client) = network.client(home).await?;
    let changed = released(&client, args.hold, &key, &network, args.sending.no_wait).await;
    let ended = way.close().await;
    let changed = changed.map_err(|failure| ended.unwrap_or(failure))?;
    let words = format!(
        "{} credits of hold {} are back",
        grouped(changed.paid.get()),
        args.hold
    );
    say_changed(args.hold, &changed, &words, json);
    Ok(())
}

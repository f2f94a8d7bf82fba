//! `tally ledger transfer`, `reserve` and `claim`: credits of an account.
//!
//! Balances and nonces are shown by the chain from genesis on, not said by a node. A transfer or reservation is done once, however
//! often its command is repeated (`spending.rs`); a claim needs no such care: who has claimed cannot again.

use clap::Args as ClapArgs;
use tally_ledger::{Account, AccountId, Credits, Height, HoldId, Request};
use tally_node::Client;
use tally_receipt::SigningKey;

use super::sending::{Sending, hand_in, public_key, signed};
use super::spending::{Spending, Spent, shown, spent};
use crate::failure::{Failure, Outcome};
use crate::home::Home;
use crate::network::Network;
use crate::ui::{grouped, say};

#[derive(ClapArgs)]
pub(crate) struct Transfer {
    /// To whom: a public key, 64 hex digits.
    #[arg(value_name = "KEY")]
    to: String,
    /// How many credits.
    #[arg(value_parser = amount)]
    amount: Credits,
    #[command(flatten)]
    sending: Sending,
}

#[derive(ClapArgs)]
pub(crate) struct Reserve {
    /// For whom: a public key, 64 hex digits.
    #[arg(value_name = "KEY")]
    payee: String,
    /// How many credits.
    #[arg(value_parser = amount)]
    amount: Credits,
    /// After so many blocks, what is left can be taken back by `release`. An idle chain does not grow.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    blocks: u64,
    #[command(flatten)]
    sending: Sending,
}

#[derive(ClapArgs)]
pub(crate) struct Claim {
    #[command(flatten)]
    sending: Sending,
}

pub(super) fn amount(text: &str) -> Result<Credits, String> {
    text.parse::<u64>()
        .ok()
        .filter(|number| *number > 0)
        .map(Credits::new)
        .ok_or_else(|| {
            "write a whole number of credits, at least 1, in digits and nothing else".to_owned()
        })
}

/// What is said of every spending, as JSON.
fn in_json(from: AccountId, spent: &Spent) -> serde_json::Value {
    serde_json::json!({
        "account": from.to_string(), "transaction": spent.transaction.id().to_string(), "nonce": spent.nonce.get(),
        "counts": spent.after.is_some(), "earlier": spent.is_earlier,
        "height": spent.after.map(|(height, _)| height.get()),
        "balance": spent.after.map(|(_, account)| account.balance.get()),
    })
}

fn report(from: AccountId, spent: &Spent) {
    if spent.is_earlier {
        eprintln!("it was begun by an earlier command that did not end, and is done once");
    }
    match &spent.after {
        Some((height, account)) => say!(
            "  {} credits are left in {from}, as the chain shows at height {height}",
            grouped(account.balance.get())
        ),
        None => say!("  handed in; `tally ledger account` shows when it counts"),
    }
}

pub(super) async fn transfer(args: &Transfer, home: &Home, json: bool) -> Outcome {
    let to = AccountId::new(public_key(&args.to)?);
    let spending = Spending::Transfer {
        to,
        amount: args.amount,
    };
    let (from, spent) = spent(spending, &args.sending, home).await?;
    if json {
        say!("{}", in_json(from, &spent));
        return Ok(());
    }
    say!("{} credits for {to}", grouped(args.amount.get()));
    report(from, &spent);
    Ok(())
}

pub(super) async fn reserve(args: &Reserve, home: &Home, json: bool) -> Outcome {
    let payee = AccountId::new(public_key(&args.payee)?);
    let spending = Spending::Reserve {
        payee,
        amount: args.amount,
        blocks: args.blocks,
    };
    let (from, spent) = spent(spending, &args.sending, home).await?;
    let hold = HoldId::of(from, spent.nonce);
    let expires = match spent.transaction.request() {
        Request::Reserve { expires, .. } => *expires,
        _ => unreachable!("a reservation was made, or one that was begun goes on"),
    };
    if json {
        let mut said = in_json(from, &spent);
        said["hold"] = hold.to_string().into();
        said["expires"] = expires.get().into();
        say!("{said}");
        return Ok(());
    }
    say!("hold {hold}");
    say!(
        "  {} credits set aside for {payee} until block {expires}",
        grouped(args.amount.get())
    );
    report(from, &spent);
    if spent.after.is_some() {
        eprintln!("grant some of it: tally ledger voucher {hold} TOTAL --out FILE");
    }
    Ok(())
}

/// The account afterwards, unless nobody waited; and whether it had claimed before.
async fn claimed(
    client: &Client,
    key: &SigningKey,
    network: &Network,
    no_wait: bool,
) -> Result<(Option<(Height, Account)>, bool), Failure> {
    let id = AccountId::new(key.public_key());
    if network.genesis.faucet.is_none() {
        return Err(
            Failure::no("this chain gives no credits away").advise(format_args!(
                "somebody who has credits gives some: tally ledger transfer {id} AMOUNT"
            )),
        );
    }
    let (height, account) = shown(client, id).await?;
    if account.claimed {
        return Ok((Some((height, account)), true));
    }
    let request = Request::Claim { account: id };
    let transaction = signed(request, network.genesis.chain(), &[key]);
    let after = hand_in(client, &transaction, no_wait, async || {
        let (height, account) = client.shown_account(id).await?;
        Ok(account.claimed.then_some((height, account)))
    })
    .await?;
    Ok((after, false))
}

pub(super) async fn claim(args: &Claim, home: &Home, json: bool) -> Outcome {
    let network = args.sending.which.existing(home)?;
    let key = args.sending.key(home)?;
    let (way, client) = network.client(home).await?;
    let claimed = claimed(&client, &key, &network, args.sending.no_wait).await;
    let ended = way.close().await;
    let (after, is_earlier) = claimed.map_err(|failure| ended.unwrap_or(failure))?;
    let id = key.public_key();
    if json {
        say!(
            "{}",
            serde_json::json!({
                "account": id.to_string(), "counts": after.is_some(), "earlier": is_earlier,
                "height": after.map(|(height, _)| height.get()),
                "balance": after.map(|(_, account)| account.balance.get()),
            })
        );
        return Ok(());
    }
    if is_earlier {
        eprintln!("this account was given credits already");
    }
    match after {
        Some((height, account)) => say!(
            "{id} has {} credits, as the chain shows at height {height}",
            grouped(account.balance.get())
        ),
        None => say!("handed in; `tally ledger account` shows when it counts"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_whole_number_of_credits() {
        assert_eq!(amount("17"), Ok(Credits::new(17)));
        for no in [
            "",
            "0",
            "-1",
            "1.5",
            "1,000",
            "many",
            "18446744073709551616",
        ] {
            assert!(amount(no).is_err(), "{no}");
        }
    }
}

//! `tally ledger transfer`, `reserve`, `voucher`, `redeem`, `release` and `claim`: credits of an account.
//!
//! ```text
//! reserve ──▶ hold ── voucher, as often as the payer likes ──▶ redeem, by the payee: all that the last voucher grants
//!               ├──── redeem --close, by the payee: the rest goes back to the payer
//!               └──── release, by the payer, from the block on at which it expires
//! ```
//!
//! Balances, nonces and holds are shown by the chain from genesis on, not said by a node.
//!
//! A transfer or reservation is written down before it is handed in, signed: `$TALLY_HOME/ledger/spending/CHAIN/ACCOUNT` has
//! `0 || transaction` until it counts, or `1 || transaction` if the command ended without waiting. Whoever repeats a command that
//! did not end sends the same transaction again, which has the same nonce and counts once. Whether a nonce was used by it, and not
//! by something else that has the key, the chain does not show: `f + 1` validators say so, which take again what was done.
//! What else there is needs no such file: it pays what is not paid yet, or ends what has not ended.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_ledger::{
    Account, AccountId, AccountNonce, ChainId, Credits, Height, Hold, HoldId, Request, Transaction,
    Voucher, VoucherError, VoucherLine, WorthlessVoucher,
};
use tally_node::Client;
use tally_receipt::SigningKey;

use super::files;
use super::sending::{ASK, Sending, hand_in, public_key, signed};
use crate::failure::{Failure, OrFail, Outcome};
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

#[derive(ClapArgs)]
pub(crate) struct Claim {
    #[command(flatten)]
    sending: Sending,
}

fn amount(text: &str) -> Result<Credits, String> {
    text.parse::<u64>()
        .ok()
        .filter(|number| *number > 0)
        .map(Credits::new)
        .ok_or_else(|| {
            "write a whole number of credits, at least 1, in digits and nothing else".to_owned()
        })
}

/// What an account spends by its next nonce.
#[derive(Clone, Copy)]
enum Spending {
    Transfer {
        to: AccountId,
        amount: Credits,
    },
    Reserve {
        payee: AccountId,
        amount: Credits,
        blocks: u64,
    },
}

/// How it ended.
struct Spent {
    transaction: Transaction,
    nonce: AccountNonce,
    /// The account after it, where somebody waited for that.
    after: Option<(Height, Account)>,
    /// Whether it is one that was begun before.
    is_earlier: bool,
}

impl Spending {
    fn request(self, from: AccountId, nonce: AccountNonce, height: Height) -> Request {
        match self {
            Self::Transfer { to, amount } => Request::Transfer {
                from,
                nonce,
                to,
                amount,
            },
            Self::Reserve {
                payee,
                amount,
                blocks,
            } => Request::Reserve {
                payer: from,
                nonce,
                payee,
                amount,
                // Of the next block, at the earliest.
                expires: Height::new(height.get().saturating_add(1).saturating_add(blocks)),
            },
        }
    }

    /// Whether a request is this, whichever nonce it has and whenever it expires.
    fn is(self, request: &Request) -> bool {
        match (self, request) {
            (
                Self::Transfer { to, amount },
                Request::Transfer {
                    to: found,
                    amount: of,
                    ..
                },
            ) => to == *found && amount == *of,
            (
                Self::Reserve { payee, amount, .. },
                Request::Reserve {
                    payee: found,
                    amount: of,
                    ..
                },
            ) => payee == *found && amount == *of,
            _ => false,
        }
    }

    const fn other(self) -> AccountId {
        match self {
            Self::Transfer { to, .. } => to,
            Self::Reserve { payee, .. } => payee,
        }
    }

    const fn amount(self) -> Credits {
        match self {
            Self::Transfer { amount, .. } | Self::Reserve { amount, .. } => amount,
        }
    }

    /// Whether an account can.
    fn check(self, from: AccountId, account: &Account, network: &Network) -> Outcome {
        if account.balance >= self.amount() {
            return Ok(());
        }
        let failure = Failure::no(format_args!(
            "the account {from} has {} credits; this needs {}",
            account.balance,
            self.amount()
        ));
        Err(match network.genesis.faucet {
            Some(faucet) if !account.claimed => failure.advise(format_args!(
                "`tally ledger claim` gives it {}, once",
                grouped(faucet.each.get())
            )),
            _ => failure.advise(format_args!(
                "somebody who has credits gives it some: tally ledger transfer {from} AMOUNT"
            )),
        })
    }
}

fn nonce_of(request: &Request) -> Option<AccountNonce> {
    match request {
        Request::Transfer { nonce, .. } | Request::Reserve { nonce, .. } => Some(*nonce),
        _ => None,
    }
}

/// What an account spent last from this machine, until it is known to count. One command at a time has it.
struct Begun {
    path: PathBuf,
    _turn: File,
}

impl Begun {
    fn of(home: &Home, chain: ChainId, account: AccountId) -> Result<Self, Failure> {
        let folder = home.ledger()?.join("spending").join(chain.to_string());
        std::fs::create_dir_all(&folder)
            .or_environment(format_args!("create {}", folder.display()))?;
        let path = folder.join(account.to_string());
        let lock = path.with_extension("lock");
        let turn = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock)
            .or_environment(format_args!("open {}", lock.display()))?;
        match turn.try_lock() {
            Ok(()) => Ok(Self { path, _turn: turn }),
            Err(TryLockError::WouldBlock) => Err(Failure::environment(
                "another command spends from this account at the moment",
            )
            .advise("repeat this one when it has ended")),
            Err(TryLockError::Error(error)) => {
                Err(error).or_environment(format_args!("lock {}", lock.display()))
            }
        }
    }

    /// Whether the command that made it has ended, and what it made.
    fn read(&self) -> Result<Option<(bool, Transaction)>, Failure> {
        let bytes = match std::fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.or_environment(format_args!("read {}", self.path.display()))?,
        };
        let read = bytes.split_first().and_then(|(is_ended, transaction)| {
            Some((*is_ended == 1, Transaction::from_bytes(transaction).ok()?))
        });
        read.map(Some).ok_or_else(|| {
            Failure::environment(format_args!(
                "{} is damaged: it had what this account spent last",
                self.path.display()
            ))
            .advise("look at the account whether that counts (`tally ledger account`), and remove the file")
        })
    }

    fn write(&self, is_ended: bool, transaction: &Transaction) -> Outcome {
        let draft = self.path.with_extension("draft");
        let bytes = [&[u8::from(is_ended)][..], transaction.as_bytes()].concat();
        File::create(&draft)
            .and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&draft, &self.path))
            .or_environment(format_args!("write {}", self.path.display()))
    }

    fn remove(&self) -> Outcome {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).or_environment(format_args!("remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

async fn shown(client: &Client, id: AccountId) -> Result<(Height, Account), Failure> {
    client.shown_account(id).await.or_environment(ASK)
}

async fn spend(
    spending: Spending,
    key: &SigningKey,
    no_wait: bool,
    client: &Client,
    network: &Network,
    begun: &Begun,
) -> Result<Spent, Failure> {
    let from = AccountId::new(key.public_key());
    let (mut height, mut account) = shown(client, from).await?;
    if let Some((is_ended, earlier)) = begun.read()?
        && let Some(nonce) = nonce_of(earlier.request())
    {
        let is_this = !is_ended && spending.is(earlier.request());
        let is_used = nonce < account.nonce;
        let after = match is_used {
            true => {
                begun.remove()?;
                if is_this {
                    by_this(client, &earlier, nonce).await?;
                }
                Some((height, account))
            }
            false => {
                if !is_this {
                    eprintln!(
                        "what this account spent before does not count yet, and is handed in again first"
                    );
                }
                finish(&earlier, nonce, no_wait && is_this, client, from, begun)
                    .await
                    .map_err(|failure| match is_this {
                        true => failure,
                        false => failure.advise(format_args!(
                            "what was spent before is in {}; remove that file to give it up, unless it counts by then",
                            begun.path.display()
                        )),
                    })?
            }
        };
        if is_this {
            return Ok(Spent {
                transaction: earlier,
                nonce,
                after,
                is_earlier: true,
            });
        }
        if let Some(after) = after {
            (height, account) = after;
        }
    }
    spending.check(from, &account, network)?;
    let nonce = account.nonce;
    let request = spending.request(from, nonce, height);
    let transaction = signed(request, network.genesis.chain(), &[key]);
    begun.write(false, &transaction)?;
    let after = finish(&transaction, nonce, no_wait, client, from, begun).await?;
    Ok(Spent {
        transaction,
        nonce,
        after,
        is_earlier: false,
    })
}

/// Hands in what was written down, and waits until its nonce is used.
async fn finish(
    transaction: &Transaction,
    nonce: AccountNonce,
    no_wait: bool,
    client: &Client,
    from: AccountId,
    begun: &Begun,
) -> Result<Option<(Height, Account)>, Failure> {
    let handed = hand_in(client, transaction, no_wait, async || {
        let (height, account) = client.shown_account(from).await?;
        Ok((account.nonce > nonce).then_some((height, account)))
    })
    .await;
    match handed {
        Ok(None) => {
            begun.write(true, transaction)?;
            Ok(None)
        }
        Ok(after) => {
            begun.remove()?;
            by_this(client, transaction, nonce).await?;
            Ok(after)
        }
        Err(failure) => {
            // Something else that has this key may have come before.
            match client.shown_account(from).await {
                Ok((_, account)) if account.nonce > nonce => {
                    begun.remove()?;
                    by_this(client, transaction, nonce).await?;
                    Ok(Some(shown(client, from).await?))
                }
                _ => Err(failure),
            }
        }
    }
}

/// Whether a nonce that is used was used by this transaction: validators take again what was done, and nothing else.
async fn by_this(client: &Client, transaction: &Transaction, nonce: AccountNonce) -> Outcome {
    let taken = client.submit(std::slice::from_ref(transaction)).await;
    taken.map(|_| ()).map_err(|error| {
        Failure::no(format_args!(
            "nonce {nonce} of this account is used, and too few validators say that it was by this: {error}"
        ))
        .advise("something else that has this key may have used it: look at both accounts (`tally ledger account KEY`) before the command is repeated, which then takes the next nonce")
    })
}

async fn spent(
    spending: Spending,
    sending: &Sending,
    home: &Home,
) -> Result<(AccountId, Spent), Failure> {
    let network = sending.which.existing(home)?;
    let key = sending.key(home)?;
    let from = AccountId::new(key.public_key());
    if spending.other() == from {
        return Err(Failure::misuse(
            "the sender and the recipient are the same account",
        ));
    }
    let begun = Begun::of(home, network.genesis.chain(), from)?;
    let (way, client) = network.client(home).await?;
    let spent = spend(spending, &key, sending.no_wait, &client, &network, &begun).await;
    let ended = way.close().await;
    let spent = spent.map_err(|failure| ended.unwrap_or(failure))?;
    Ok((from, spent))
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

    #[test]
    fn what_is_begun_again_is_the_same_whatever_its_nonce_and_end() {
        let [one, two] =
            [1, 2].map(|seed| AccountId::new(SigningKey::from_seed(&[seed; 32]).public_key()));
        let amount = Credits::new(3);
        let spending = Spending::Reserve {
            payee: two,
            amount,
            blocks: 10,
        };
        let earlier = spending.request(one, AccountNonce::new(4), Height::new(9));
        assert!(spending.is(&earlier));
        assert!(!Spending::Transfer { to: two, amount }.is(&earlier));
        let more = Spending::Reserve {
            payee: two,
            amount: Credits::new(4),
            blocks: 10,
        };
        assert!(!more.is(&earlier));
    }
}

//! `tally ledger`: settle receipts, prove that they are settled, look around. `docs/node.md` is about running one.
//!
//! Where no network is named it is about the ledger of this machine alone, whose node is run for as long as a verb needs it.

mod credits;
mod decide;
mod files;
mod holds;
mod proving;
mod refused;
mod registered;
mod registration;
mod sending;
mod shown;
mod spending;
mod terms;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, Subcommand};
use tally_node::{Client, Form, Outbox, Record, SetAside, SettleError, Settling};
use tally_receipt::{Digest, Receipt, SigningKey};

use self::proving::{Prove, prove};
use self::shown::{Account, PolicyOf, TrustedOf, account, policy, trusted};
use crate::explorer::{self, Verifier};
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::{Located, Network, Reach, Way, Which};
use crate::own::{self, Own};
use crate::ui::{grouped, printable, say, short};
use crate::verbs::backup::{self, BackUp, Restore};
use crate::verbs::checkpoints::{self, Consistency, EvidenceOf};
use crate::verbs::node;

/// What to do with a ledger.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// How the network is: every validator's height, and what waits here.
    #[command(
        after_help = "Examples:\n  tally ledger status\n  tally ledger status --network devnet/genesis.toml --json"
    )]
    Status(Status),
    /// Settle receipts: hand them to the validators and wait until they are final.
    #[command(
        after_help = "Examples:\n  tally ledger submit answer.receipt.json\n  tally ledger submit receipts/*.receipt.json --full"
    )]
    Submit(Submit),
    /// Settle whatever waits in this machine's outbox.
    #[command(after_help = "Example:\n  tally ledger settle")]
    Settle(Settle),
    /// Receipts that can never be settled and were set aside on this machine: which, and why.
    #[command(
        after_help = "Examples:\n  tally ledger refused\n  tally ledger refused --out refused/ --clear    writes them to files, and lets go of them here"
    )]
    Refused(refused::Refused),
    /// Write the proof that a receipt is settled to one file, which `tally verify` checks offline.
    #[command(
        after_help = "Examples:\n  tally ledger prove answer.receipt.json --out answer.proof\n  tally ledger prove 3f2a… --wait 10"
    )]
    Prove(Prove),
    /// Whose cosignatures on a checkpoint of the log are enough, by the genesis file: a C2SP policy for
    /// `tally verify --log-policy`.
    #[command(after_help = "Example:\n  tally ledger policy > devnet.policy")]
    Policy(PolicyOf),
    /// Make evidence of two checkpoints of one size with different roots, against everybody who signed both.
    #[command(
        after_help = "Examples:\n  tally ledger evidence mine.checkpoint theirs.checkpoint --network genesis.toml\n  tally ledger evidence mine.checkpoint theirs.checkpoint --key 'tally/devnet-0123456789abcdef/v0+…'\n\n`tally verify` checks what it writes."
    )]
    Evidence(EvidenceOf),
    /// Whether a checkpoint extends an older one: the same log with entries added, nothing altered or taken out.
    #[command(
        after_help = "Examples:\n  tally ledger consistency last-year.checkpoint v0/log/checkpoint\n  tally ledger consistency old.checkpoint new.checkpoint --tiles v0/log\n\nThe tiles need not be trusted; whose signatures are on the checkpoints is not looked at."
    )]
    Consistency(Consistency),
    /// What is in an account, and what a node has settled; else this machine's own.
    #[command(after_help = "Examples:\n  tally ledger account\n  tally ledger account 3b6a27bc…")]
    Account(Account),
    /// Who validates now, as the chain shows it: what others start from (--trusted) who believe this machine about it, and need
    /// nothing of what was before.
    #[command(
        after_help = "Examples:\n  tally ledger trusted\n  tally ledger trusted --out mine.trusted\n  tally ledger status --network genesis.toml --trusted mine.trusted"
    )]
    Trusted(TrustedOf),
    /// Show a network in a browser: validators, receipts as they arrive, proofs that the browser checks.
    #[command(
        after_help = "Examples:\n  tally ledger explorer\n  tally ledger explorer --network devnet/genesis.toml --listen 127.0.0.1:8080"
    )]
    Explorer(ExplorerArgs),
    /// Keep the whole chain in one file, checked; each time only what is new is fetched.
    #[command(
        after_help = "Examples:\n  tally ledger backup chain.tally\n  tally ledger backup chain.tally --check --network genesis.toml    all of it again, offline"
    )]
    Backup(BackUp),
    /// Make a node's data of a backup.
    #[command(
        after_help = "Example:\n  tally ledger restore chain.tally --data copy && tally node --role follower --genesis genesis.toml --data copy"
    )]
    Restore(Restore),
    /// Change who validates, or the ledger's parameters: a decision that validators sign one after another.
    #[command(subcommand)]
    Decide(decide::Verb),
    /// Register a node, change its terms or its key, retire it; where validators decide who is registered, sign for one.
    #[command(subcommand)]
    Node(registration::Verb),
    /// Move credits of this machine's account to another one.
    #[command(
        after_help = "Examples:\n  tally ledger transfer 3b6a27bc… 500\n  tally ledger transfer 3b6a27bc… 500 --key other.key --json\n\n\
            The nonce comes from the chain. A command that did not end is repeated as it was: the same transaction goes out again, and counts once."
    )]
    Transfer(credits::Transfer),
    /// Set credits aside for a payee, who redeems them by vouchers.
    #[command(
        after_help = "Examples:\n  tally ledger reserve 3b6a27bc… 1000\n  tally ledger reserve 3b6a27bc… 1000 --blocks 500\n\n\
            It says the hold's name, which `voucher`, `redeem` and `release` take. A command that did not end is repeated as it was, as with `transfer`."
    )]
    Reserve(credits::Reserve),
    /// Promise a payee some of a hold: all of its vouchers together are worth what the last one says.
    #[command(
        after_help = "Example:\n  tally ledger voucher 9f86d081… 250 --out for-alice.voucher"
    )]
    Voucher(holds::Grant),
    /// Be paid what a voucher grants, beyond what was paid before.
    #[command(
        after_help = "Examples:\n  tally ledger redeem for-alice.voucher\n  tally ledger redeem for-alice.voucher --close    the rest goes back to the payer\n  tally ledger redeem --hold 9f86d081… --close"
    )]
    Redeem(holds::Redeem),
    /// Take back what is left of a hold that has expired.
    #[command(after_help = "Example:\n  tally ledger release 9f86d081…")]
    Release(holds::Release),
    /// Take what the chain gives to every account that asks, once.
    #[command(after_help = "Example:\n  tally ledger claim")]
    Claim(credits::Claim),
    /// Make a network the one of commands that name none: `tally run` and `tally serve` settle there from now on.
    #[command(
        after_help = "Examples:\n  tally ledger use devnet/genesis.toml\n  tally ledger use genesis.toml --peer 3b6a27bc…@203.0.113.9:4410\n  tally ledger use genesis.toml --lan    validators are looked for on the local network\n  tally ledger use --own      the ledger of this machine alone again, which tolerates nobody\n\n\
            Nothing moves with it: what is settled on a ledger stays there, and what waits for it stays in its outbox."
    )]
    Use(Use),
}

#[derive(ClapArgs)]
pub(crate) struct Status {
    #[command(flatten)]
    which: Which,
}

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

#[derive(ClapArgs)]
pub(crate) struct ExplorerArgs {
    /// Address and port to listen on. What is shown is public, and is not encrypted on the way.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = explorer::ADDRESS)]
    listen: SocketAddr,
    /// A folder of a node on this machine in which it leaves evidence. May be given several times.
    #[arg(long, value_name = "DIR")]
    evidence: Vec<PathBuf>,
    #[command(flatten)]
    verifier: Verifier,
    #[command(flatten)]
    which: Which,
}

#[derive(ClapArgs)]
pub(crate) struct Use {
    /// The network's genesis file.
    #[arg(required_unless_present = "own")]
    genesis: Option<PathBuf>,
    /// The ledger of this machine alone, as where no network was ever named.
    #[arg(long, conflicts_with_all = ["genesis", "peers", "lan", "relay"])]
    own: bool,
    /// Where a validator is that genesis does not tell of, for all commands that name no network. May be given several times.
    #[arg(long = "peer", value_name = "KEY@ADDRESS")]
    peers: Vec<Located>,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(verb: Verb, json: bool) -> Outcome {
    let home = Home::open()?;
    match verb {
        Verb::Use(args) => use_network(&args, &home, json),
        Verb::Status(args) => crate::runtime()?.block_on(status(&args, &home, json)),
        Verb::Submit(args) => crate::runtime()?.block_on(submit(&args, &home, json)),
        Verb::Settle(args) => crate::runtime()?.block_on(settle(&args, &home, json)),
        Verb::Refused(args) => crate::runtime()?.block_on(refused::run(&args, &home, json)),
        Verb::Prove(args) => crate::runtime()?.block_on(prove(&args, &home, json)),
        Verb::Explorer(args) => crate::runtime()?.block_on(explore(&args, &home, json)),
        Verb::Node(verb) => crate::runtime()?.block_on(registration::run(verb, &home, json)),
        Verb::Transfer(args) => crate::runtime()?.block_on(credits::transfer(&args, &home, json)),
        Verb::Reserve(args) => crate::runtime()?.block_on(credits::reserve(&args, &home, json)),
        Verb::Voucher(args) => crate::runtime()?.block_on(holds::voucher(&args, &home, json)),
        Verb::Redeem(args) => crate::runtime()?.block_on(holds::redeem(&args, &home, json)),
        Verb::Release(args) => crate::runtime()?.block_on(holds::release(&args, &home, json)),
        Verb::Claim(args) => crate::runtime()?.block_on(credits::claim(&args, &home, json)),
        Verb::Decide(verb) => crate::runtime()?.block_on(decide::run(verb, &home, json)),
        Verb::Policy(args) => policy(&args, &home, json),
        Verb::Evidence(args) => checkpoints::evidence(&args, &home, json),
        Verb::Consistency(args) => checkpoints::consistency(&args, json),
        Verb::Backup(args) => backup::back_up(&args, &home, json),
        Verb::Restore(args) => backup::restore(&args, &home, json),
        Verb::Account(args) => crate::runtime()?.block_on(account(&args, &home, json)),
        Verb::Trusted(args) => crate::runtime()?.block_on(trusted(&args, &home, json)),
    }
}

fn use_network(args: &Use, home: &Home, json: bool) -> Outcome {
    let before = Own::of(home).existing();
    let network = match &args.genesis {
        Some(file) if !Own::of(home).is(file) => {
            let mut network = Network::read(file)?;
            network.peers.extend(&args.peers);
            network.reach = args.reach.clone();
            network.keep(home)?;
            network
        }
        _ if !args.peers.is_empty() || args.reach != Reach::default() => {
            return Err(Failure::misuse(
                "--peer, --lan and --relay lead to a network, and this is the ledger of this machine alone",
            ));
        }
        _ => {
            Network::forget(home)?;
            Own::of(home).make(home)?
        }
    };
    let is_own = network.own.is_some();
    let chain = network.genesis.chain().to_string();
    if json {
        say!("{}", serde_json::json!({ "chain": chain, "own": is_own }));
        return Ok(());
    }
    say!(
        "commands that name no network use {} ({}) from now on",
        network.genesis.name,
        short(&chain)
    );
    match before {
        _ if is_own => eprintln!("{}", own::ALONE),
        Ok(Some(own)) => {
            eprintln!(
                "what is settled on the ledger of this machine alone stays there; `tally ledger use --own` goes back to it"
            );
            let waiting = own.outbox(home)?.waiting();
            let waiting = waiting.or_environment("read the outbox")?;
            if waiting > 0 {
                eprintln!(
                    "so do receipts that wait for it (now: {}): tally ledger settle --network {}",
                    grouped(waiting),
                    own.file.display()
                );
            }
        }
        // None was made, or it is damaged: then it is no part of this.
        _ => {}
    }
    Ok(())
}

async fn status(args: &Status, home: &Home, json: bool) -> Outcome {
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
            ended.unwrap_or_else(|| Failure::environment("no validator answered"))
        });
    }
    Ok(())
}

/// A receipt's bytes as they are settled and named: the envelope in its one spelling.
fn receipt(path: &Path) -> Result<(Digest, Vec<u8>), Failure> {
    let bytes = std::fs::read(path).or_misuse(format_args!("read {}", path.display()))?;
    let receipt =
        Receipt::parse(&bytes).or_misuse(format_args!("use {} as a receipt", path.display()))?;
    Ok((receipt.digest(), receipt.envelope().to_json()))
}

async fn submit(args: &Submit, home: &Home, json: bool) -> Outcome {
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

async fn settle(args: &Settle, home: &Home, json: bool) -> Outcome {
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

/// How long a process in the background looks for more receipts after it settled some, and how often.
const ATTENDS: Duration = Duration::from_secs(10);
const LOOKS: Duration = Duration::from_millis(100);
/// The pause after the first time that settling failed; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// Settles what is in an outbox and what comes until none has been settled for a while. Returns at once if another process does,
/// and as soon as the outbox is gone: whoever removes a data directory waits for nobody. Whether nothing is left.
async fn attend(network: &Network, home: &Home) -> Result<bool, Failure> {
    let outbox = network.outbox(home)?;
    let folder = network.outbox_folder(home);
    let waits = || outbox.waiting().or_environment("look at the outbox");
    while let Some(attending) = outbox.attend().or_environment("lock the outbox")? {
        let mut reached = network.client(home).await?;
        let tended = tokio::select! {
            tended = tend(&outbox, network, home, &mut reached) => Some(tended),
            () = own::gone(&folder) => None,
        };
        // While it is still this process that attends: another one would find a node that is about to stop.
        let ended = reached.0.close().await;
        drop(attending);
        let Some(tended) = tended else {
            return Ok(false);
        };
        let is_stuck = tended.map_err(|failure| ended.unwrap_or(failure))?;
        // Whoever appended a moment ago may have seen this process attend.
        if is_stuck || waits()? == 0 {
            break;
        }
    }
    Ok(waits()? == 0)
}

/// Settles what comes until none has been settled for a while. Whether something is left that could not be.
///
/// # Errors
/// The last failure, if nothing was settled since.
async fn tend(
    outbox: &Outbox,
    network: &Network,
    home: &Home,
    reached: &mut (Way, Client),
) -> Result<bool, Failure> {
    let (mut since, mut pause, mut is_stuck) = (Instant::now(), PAUSE, false);
    let mut failed = None;
    while since.elapsed() < ATTENDS {
        if outbox.waiting().or_environment("look at the outbox")? > 0 {
            // It may be exchanged meanwhile.
            let key = home.node_key()?;
            match settle_all(network, outbox, &reached.1, &key).await {
                // Where all that waited was set aside, nothing was settled, and nothing is stuck.
                Ok(0) if outbox.waiting().or_environment("look at the outbox")? > 0 => {
                    (is_stuck, failed) = (true, None);
                }
                Ok(_) => {
                    (since, pause, is_stuck, failed) = (Instant::now(), PAUSE, false, None);
                }
                // Runs that end meanwhile rely on this process; a network may come back.
                Err(failure) if failure.is_environment() => {
                    failed = Some(failure);
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    if reached.0.may_have_moved() {
                        let anew = network.client(home).await?;
                        std::mem::replace(reached, anew).0.close().await;
                    }
                }
                Err(failure) => return Err(failure),
            }
        } else {
            // Whatever failed before is over: somebody else settled it.
            (is_stuck, failed) = (false, None);
        }
        tokio::time::sleep(LOOKS).await;
    }
    match failed {
        Some(failure) => Err(failure),
        None => Ok(is_stuck),
    }
}

/// Settles everything that waits in an outbox. Where another process ran this machine's own node, and may have stopped it
/// meanwhile, it is tried once more.
pub(crate) async fn empty(network: &Network, outbox: &Outbox, home: &Home) -> Result<u64, Failure> {
    let key = home.node_key()?;
    let mut is_second = false;
    loop {
        let (way, client) = network.client(home).await?;
        let settled = settle_all(network, outbox, &client, &key).await;
        let may_have_moved = way.may_have_moved();
        let ended = way.close().await;
        match settled {
            Ok(settled) => {
                network.note_trouble(home, None);
                return Ok(settled);
            }
            Err(failure) if failure.is_environment() && may_have_moved && !is_second => {
                is_second = true;
            }
            Err(failure) => return Err(ended.unwrap_or(failure)),
        }
    }
}

/// The right to settle; waits for it if another process has it.
async fn turn(outbox: &Outbox) -> Result<Settling, Failure> {
    let began = Instant::now();
    loop {
        if let Some(turn) = outbox.settle().or_environment("lock the outbox")? {
            return Ok(turn);
        }
        if began.elapsed() > Duration::from_secs(60) {
            return Err(Failure::environment(
                "another process has been settling this outbox for a minute",
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Settles everything that waits in an outbox; waits its turn if another process does.
async fn settle_all(
    network: &Network,
    outbox: &Outbox,
    client: &Client,
    key: &SigningKey,
) -> Result<u64, Failure> {
    let _turn = turn(outbox).await?;
    let before = outbox.settled().or_environment("read the outbox")?;
    let dropped_before = outbox.dropped().or_environment("read the outbox")?;
    let settled = tally_node::settle(outbox, client, &network.genesis, key).await;
    let refused = outbox
        .refused_from(before)
        .or_environment("read the outbox")?;
    for (reason, count) in reasons(&refused) {
        eprintln!(
            "tally: receipts that can never be settled, set aside in the outbox: {}: {}",
            grouped(count),
            printable(reason)
        );
    }
    let dropped = outbox.dropped().or_environment("read the outbox")?;
    if let more @ 1.. = dropped.saturating_sub(dropped_before) {
        eprintln!(
            "tally: receipts that were set aside earlier, dropped to make room: {}",
            grouped(more)
        );
    }
    settled.map_err(|error| match error {
        SettleError::NotAdmitted(_) => Failure::no(&error).advise(
            "make a request that they sign: tally ledger node register --out FILE; the outbox keeps what waits",
        ),
        SettleError::Rotated { .. } => Failure::no(&error).advise(
            "settle with the key that it has now (`tally ledger node show`), as keys/node.key of the data directory: where `tally ledger node rotate` did not end, repeat it; the outbox keeps what waits",
        ),
        error => Failure::environment(&error)
            .advise("nothing is lost: the outbox keeps it; `tally ledger settle` tries again"),
    })
}

/// How many receipts were set aside for which reason.
fn reasons(refused: &[SetAside]) -> BTreeMap<&str, u64> {
    let mut reasons = BTreeMap::new();
    for one in refused {
        *reasons.entry(one.reason.as_str()).or_default() += 1;
    }
    reasons
}

async fn explore(args: &ExplorerArgs, home: &Home, json: bool) -> Outcome {
    let network = args.which.get(home)?;
    let mut evidence = args.evidence.clone();
    let _node = match &network.own {
        Some(own) => {
            evidence.push(own.evidence());
            Some(own.host(home).await?)
        }
        None => None,
    };
    let start = network.start(home);
    let listening =
        explorer::listen(args.listen, &network, start, evidence, &args.verifier).await?;
    if json {
        say!("{}", serde_json::json!({ "explorer": listening.url }));
    } else {
        say!("explorer {}", listening.url);
        eprintln!("end with ^C");
    }
    listening
        .serve(node::interrupted())
        .await
        .or_environment("serve")
}

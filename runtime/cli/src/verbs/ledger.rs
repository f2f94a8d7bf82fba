//! `tally ledger`: settle receipts, prove that they are settled, look around. `docs/node.md` is about running one.
//!
//! Where no network is named it is about the ledger of this machine alone, whose node is run for as long as a verb needs it.

mod backup;
mod checkpoints;
mod credits;
mod decide;
mod files;
mod holds;
mod look;
mod proving;
mod refused;
mod registered;
mod registration;
mod repair;
mod sending;
mod settle;
mod spending;
mod terms;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use crate::explorer::{self, Verifier};
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::{Located, Network, Reach, Which};
use crate::own::{self, Own};
use crate::ui::{grouped, say, short};
use crate::verbs::node;

/// What to do with a ledger.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// How the network is: every validator's height, and what waits here.
    #[command(
        after_help = "Examples:\n  tally ledger status\n  tally ledger status --network devnet/genesis.toml --json"
    )]
    Status(look::Status),
    /// Settle receipts: hand them to the validators and wait until they are final.
    #[command(
        after_help = "Examples:\n  tally ledger submit receipts/run.receipt.json        as `tally run --receipts receipts` wrote it\n  tally ledger submit receipts/*.receipt.json --full"
    )]
    Submit(settle::Submit),
    /// Settle whatever waits in this machine's outbox.
    #[command(after_help = "Example:\n  tally ledger settle")]
    Settle(settle::Settle),
    /// Receipts that can never be settled and were set aside on this machine: which, and why.
    #[command(
        after_help = "Examples:\n  tally ledger refused\n  tally ledger refused --out refused/ --clear    writes them to files, and lets go of them here"
    )]
    Refused(refused::Refused),
    /// Go on behind receipts in this machine's outbox that its disk has damaged: what can be read is settled, what cannot is lost here.
    #[command(
        after_help = "Example:\n  tally ledger repair && tally ledger settle\n\nThe files stay in the outbox's folder as they were, too. A receipt itself remains where it was made: in the journal of its run."
    )]
    Repair(repair::Repair),
    /// Write a receipt and the proof that it is settled to one file, which `tally verify` checks offline.
    #[command(
        after_help = "Examples:\n  tally ledger prove receipts/run.receipt.json --out run.proof\n  tally ledger prove receipts/run.receipt.json --without-receipt    the proof alone, for who has the receipt\n  tally ledger prove 3f2a… --wait 10"
    )]
    Prove(proving::Prove),
    /// The log's last checkpoint: what others can be held to, signed by a quorum of those who validate now.
    #[command(
        after_help = "Examples:\n  tally ledger checkpoint --out today.checkpoint\n  tally verify today.checkpoint --genesis genesis.toml\n  tally ledger consistency last-year.checkpoint today.checkpoint --tiles v0/log --genesis genesis.toml"
    )]
    Checkpoint(checkpoints::CheckpointOf),
    /// Whose cosignatures on a checkpoint of the log are enough, by the genesis file or as it is now: a C2SP policy for
    /// `tally verify --log-policy`.
    #[command(
        after_help = "Examples:\n  tally ledger policy > devnet.policy\n  tally ledger policy --now > today.policy    by those who validate now, as the chain shows them"
    )]
    Policy(look::PolicyOf),
    /// Make evidence of two checkpoints of one size with different roots, against everybody who signed both.
    #[command(
        after_help = "Examples:\n  tally ledger evidence mine.checkpoint theirs.checkpoint --network genesis.toml\n  tally ledger evidence mine.checkpoint theirs.checkpoint --key 'tally/devnet-0123456789abcdef/v0+…'\n\n`tally verify` checks what it writes."
    )]
    Evidence(checkpoints::EvidenceOf),
    /// Whether a checkpoint extends an older one: the same log with entries added, nothing altered or taken out.
    #[command(
        after_help = "Examples:\n  tally ledger consistency last-year.checkpoint v0/log/checkpoint\n  tally ledger consistency old.checkpoint new.checkpoint --tiles v0/log --genesis genesis.toml\n  tally ledger consistency old.checkpoint new.checkpoint --log-policy old.policy --log-policy today.policy\n\nThe tiles need not be trusted. Whose signatures are on the checkpoints is looked at where --genesis or --log-policy says whose\nshould be: without that, both may be made up."
    )]
    Consistency(checkpoints::Consistency),
    /// What is in an account, and what a node has settled; else this machine's own.
    #[command(after_help = "Examples:\n  tally ledger account\n  tally ledger account 3b6a27bc…")]
    Account(look::Account),
    /// Who validates now, as the chain shows it: what others start from (--trusted) who believe this machine about it, and need
    /// nothing of what was before.
    #[command(
        after_help = "Examples:\n  tally ledger trusted\n  tally ledger trusted --out mine.trusted\n  tally ledger status --network genesis.toml --trusted mine.trusted"
    )]
    Trusted(look::TrustedOf),
    /// Show a network in a browser: validators, receipts as they arrive, proofs that the browser checks.
    #[command(
        after_help = "Examples:\n  tally ledger explorer\n  tally ledger explorer --network devnet/genesis.toml --listen 127.0.0.1:8080"
    )]
    Explorer(ExplorerArgs),
    /// Keep the whole chain in one file, checked; each time only what is new is fetched.
    #[command(
        after_help = "Examples:\n  tally ledger backup chain.tally\n  tally ledger backup chain.tally --check --network genesis.toml    all of it again, offline"
    )]
    Backup(backup::BackUp),
    /// Make a node's data of a backup.
    #[command(
        after_help = "Example:\n  tally ledger restore chain.tally --data copy && tally node --role follower --genesis genesis.toml --data copy"
    )]
    Restore(backup::Restore),
    /// Change who validates, or the ledger's parameters: a decision that validators sign one after another.
    #[command(
        subcommand,
        after_help = "Examples, one after another:\n  tally ledger decide draft five.toml --out decision.toml --key v.key\n  tally ledger decide sign decision.toml --key w.key        by each of the others\n  tally ledger decide submit decision.toml"
    )]
    Decide(decide::Verb),
    /// Register a node, change its terms or its key, retire it; where validators decide who is registered, sign for one.
    #[command(
        subcommand,
        after_help = "Examples:\n  tally ledger node register --roles inference,data --price 3\n  tally ledger node show\n  tally ledger node rotate --key-file new.key\n  tally ledger node admit node.toml --key v.key             by validators, where they decide"
    )]
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
        Verb::Status(args) => crate::runtime()?.block_on(look::status(&args, &home, json)),
        Verb::Submit(args) => crate::runtime()?.block_on(settle::submit(&args, &home, json)),
        Verb::Settle(args) => crate::runtime()?.block_on(settle::settle(&args, &home, json)),
        Verb::Refused(args) => crate::runtime()?.block_on(refused::run(&args, &home, json)),
        Verb::Repair(args) => crate::runtime()?.block_on(repair::run(&args, &home, json)),
        Verb::Prove(args) => crate::runtime()?.block_on(proving::prove(&args, &home, json)),
        Verb::Explorer(args) => crate::runtime()?.block_on(explore(&args, &home, json)),
        Verb::Node(verb) => crate::runtime()?.block_on(registration::run(verb, &home, json)),
        Verb::Transfer(args) => crate::runtime()?.block_on(credits::transfer(&args, &home, json)),
        Verb::Reserve(args) => crate::runtime()?.block_on(credits::reserve(&args, &home, json)),
        Verb::Voucher(args) => crate::runtime()?.block_on(holds::voucher(&args, &home, json)),
        Verb::Redeem(args) => crate::runtime()?.block_on(holds::redeem(&args, &home, json)),
        Verb::Release(args) => crate::runtime()?.block_on(holds::release(&args, &home, json)),
        Verb::Claim(args) => crate::runtime()?.block_on(credits::claim(&args, &home, json)),
        Verb::Decide(verb) => crate::runtime()?.block_on(decide::run(verb, &home, json)),
        Verb::Checkpoint(args) => {
            crate::runtime()?.block_on(checkpoints::checkpoint(&args, &home, json))
        }
        Verb::Policy(args) => look::policy(&args, &home, json),
        Verb::Evidence(args) => checkpoints::evidence(&args, &home, json),
        Verb::Consistency(args) => checkpoints::consistency(&args, json),
        Verb::Backup(args) => backup::back_up(&args, &home, json),
        Verb::Restore(args) => backup::restore(&args, &home, json),
        Verb::Account(args) => crate::runtime()?.block_on(look::account(&args, &home, json)),
        Verb::Trusted(args) => crate::runtime()?.block_on(look::trusted(&args, &home, json)),
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

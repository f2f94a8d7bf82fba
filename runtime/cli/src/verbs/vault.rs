//! `tally vault`: encrypted memory that its owner carries. `docs/vault.md` is the format.

mod check;
mod init;
mod members;
mod namespace;
mod records;
mod status;
mod sync;
mod transfer;

use clap::Subcommand;

use crate::failure::Outcome;

/// What to do with a vault.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make a vault: asks for a passphrase, and shows the 24 words that open it when all else is lost.
    #[command(
        after_help = "Examples:\n  tally vault init\n  tally vault init --vault /media/stick/vault --namespace trips --namespace health\n  tally vault init --json --passphrase-fd 3 3<passphrase.txt"
    )]
    Init(init::Init),
    /// What is in the vault, who may use it, and since when.
    #[command(
        after_help = "Examples:\n  tally vault status\n  tally vault status --locked        what somebody sees who only stores it"
    )]
    Status(status::Status),
    /// Make a namespace: a part of the vault with keys of its own, which is shared by itself.
    #[command(
        after_help = "Examples:\n  tally vault namespace health\n  tally vault namespace memory        in a vault that has none, for `tally memory`"
    )]
    Namespace(namespace::Namespace),
    /// Write a record.
    #[command(
        after_help = "Examples:\n  tally vault add 'Allergic to peanuts' --namespace health\n  tally vault add --type image/png --file passport.png\n  tally vault add 'Allergic to nuts' --namespace health --replaces 3f2a…"
    )]
    Add(records::Add),
    /// Show one record, or list them.
    #[command(
        after_help = "Examples:\n  tally vault get\n  tally vault get --namespace health --type text/\n  tally vault get 3f2a41c09be2 --out passport.png"
    )]
    Get(records::Get),
    /// Hide records. They stay in the vault's history; to destroy them use `redact`.
    #[command(after_help = "Example:\n  tally vault retract 3f2a41c09be2 --reason 'moved house'")]
    Retract(records::Retract),
    /// Destroy records: their contents leave this copy and every copy that syncs with it.
    #[command(
        after_help = "Example:\n  tally vault redact 3f2a41c09be2 --reason 'should never have been kept'"
    )]
    Redact(records::Redact),
    /// The audit trail: who did what, when, under which grant, in which run.
    #[command(
        after_help = "Examples:\n  tally vault log\n  tally vault log --namespace health --json"
    )]
    Log(status::Log),
    /// Let an agent or a device use namespaces, for a time.
    #[command(
        after_help = "Examples:\n  tally vault share --agent planner trips=append diary=read\n  tally vault share --agent planner trips=read --expires 7d\n  tally vault share --card ZGV2… --name phone '*=admin' --expires never"
    )]
    Share(members::Share),
    /// Print a card: what somebody shares a vault with. Makes this machine's key for it if there is none.
    #[command(
        after_help = "Example:\n  tally vault card --agent planner --vault /media/stick/vault"
    )]
    Card(members::CardOf),
    /// Take a grant back, and give the namespaces it could read new keys.
    #[command(
        after_help = "Examples:\n  tally vault revoke planner\n  tally vault revoke 3f2a41 --keep 77ab01"
    )]
    Revoke(members::Revoke),
    /// Give namespaces new keys.
    #[command(
        after_help = "Examples:\n  tally vault rotate --namespace health\n  tally vault rotate --full        also encrypt everything anew, and drop the old keys"
    )]
    Rotate(members::Rotate),
    /// Come back with the 24 words: a new passphrase, and this computer as a device.
    #[command(
        after_help = "Example:\n  tally vault recover        then revoke what was lost: tally vault revoke NAME"
    )]
    Recover(members::Recover),
    /// Write the vault to one file that another device imports; or, with --age, its records to a file that the stock
    /// `age` tool opens.
    #[command(
        after_help = "Examples:\n  tally vault export vault.tvault\n  tally vault export records.age --age age1…\n  age -d -i key.txt records.age        one JSON object a line"
    )]
    Export(transfer::Export),
    /// Take what another copy of the vault has and this one lacks: from an exported file or from a folder.
    #[command(
        after_help = "Examples:\n  tally vault import vault.tvault\n  tally vault import /media/stick/vault\n  tally vault import vault.tvault --vault new/place        on a computer that has no copy"
    )]
    Import(transfer::Import),
    /// Exchange with another device what each lacks, straight from one to the other: one prints a ticket, the other takes it.
    #[command(
        after_help = "Examples:\n  tally vault sync                    prints a ticket, and waits\n  tally vault sync tally-…            on the other device\n  tally vault sync --lan              finds devices of this vault on the local network\n  tally vault sync --relay https://relay.example              on both devices: by way of a relay of one's own\n  tally vault sync tally-… --as planner --vault new/place     an agent's copy, which may be new"
    )]
    Sync(sync::Sync),
    /// Read everything in the folder again, hold it against everything else, and name what is odd or wrong.
    #[command(
        after_help = "Examples:\n  tally vault check\n  tally vault check --locked        what can be checked without a key"
    )]
    Check(check::Check),
    /// Change the passphrase.
    #[command(after_help = "Example:\n  tally vault passphrase")]
    Passphrase(members::Passphrase),
}

pub(crate) fn run(verb: Verb, json: bool) -> Outcome {
    match verb {
        Verb::Init(args) => init::run(&args, json),
        Verb::Status(args) => status::status(&args, json),
        Verb::Namespace(args) => namespace::run(&args, json),
        Verb::Add(args) => records::add(args, json),
        Verb::Get(args) => records::get(&args, json),
        Verb::Retract(args) => records::retract(&args, json),
        Verb::Redact(args) => records::redact(&args, json),
        Verb::Log(args) => status::log(&args, json),
        Verb::Share(args) => members::share(&args, json),
        Verb::Card(args) => members::card(&args, json),
        Verb::Revoke(args) => members::revoke(&args, json),
        Verb::Rotate(args) => members::rotate(&args, json),
        Verb::Recover(args) => members::recover(&args, json),
        Verb::Export(args) => transfer::export(&args, json),
        Verb::Import(args) => transfer::import(&args, json),
        Verb::Sync(args) => sync::run(&args, json),
        Verb::Check(args) => check::run(&args, json),
        Verb::Passphrase(args) => members::passphrase(&args, json),
    }
}

/// One object on stdout, with what every answer has.
fn answer(vault: &tally_vault::Vault, more: serde_json::Value) {
    let mut object = serde_json::json!({ "vault": vault.id().to_string() });
    let closed = vault.closed_when_opened();
    if !closed.grants.is_empty() {
        let texts: Vec<String> = closed.grants.iter().map(ToString::to_string).collect();
        object["closed_because_ended"] = texts.into();
    }
    if let (Some(object), serde_json::Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    crate::ui::say!("{object}");
}

//! `tally ledger node`: register a node, change its terms or its key, retire it.
//!
//! ```text
//! where anybody may:          register ──▶ it counts
//! where validators decide:    register --out FILE ── admit, by one validator after another ──▶ submit ──▶ it counts
//! then:                       terms, rotate, retire: each is the node's next revision
//! ```
//!
//! Revision, key and terms come from the chain, shown from genesis on. A command that is repeated finds that it is so already.

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use tally_ledger::{
    Credits, NodeId, Registration, RegistrationError, RegistrationFile, Roles, SignedFileError,
    Terms, Validator,
};
use tally_node::{Client, Governance};

use super::files;
use super::registered::{self, Changed, Found, found, report};
use super::sending::{Sending, existing_key, hand_in};
use super::terms::{Described, terms_in_words};
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::{Network, Which};
use crate::ui::say;
use crate::verbs::node;

/// What to do with a node's registration.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// What the ledger has of a node: its key, terms, and how much it settled.
    #[command(
        after_help = "Examples:\n  tally ledger node show\n  tally ledger node show 3b6a27bc…    by any key that it has or had"
    )]
    Show(registered::Show),
    /// Register a node. The first settlement does it unasked where anybody may; where validators decide, they sign a file.
    #[command(
        after_help = "Examples:\n  tally ledger node register --roles inference,data --price 3\n  tally ledger node register --out node.toml    for the validators, where they decide\n\n\
            Then, by one validator after another: tally ledger node admit node.toml --key v.key\n\
            And by whoever has it in the end:     tally ledger node submit node.toml"
    )]
    Register(Register),
    /// Sign a node's registration with the key of a validator.
    #[command(after_help = "Example:\n  tally ledger node admit node.toml --key v.key")]
    Admit(Admit),
    /// Hand a registration in that enough validators have signed, and wait until it counts.
    #[command(
        after_help = "Examples:\n  tally ledger node submit node.toml\n  tally ledger node submit of-alice.toml of-bob.toml    copies that were signed apart"
    )]
    Submit(Submit),
    /// Change what a node does, under which conditions. What is not named stays.
    #[command(
        after_help = "Examples:\n  tally ledger node terms --endpoint https://node.example --price 3\n  tally ledger node terms --evidence quote.bin --roles inference,run"
    )]
    Terms(registered::TermsArgs),
    /// Give a node another key, which alone signs for it from then on; and this machine, if the one before was its own.
    #[command(
        after_help = "Example:\n  tally ledger node rotate --key-file new.key\n\n\
            The new key is on the disk first, then the ledger has it, and in the end this machine's own key is exchanged for it. A command that \
            did not end is repeated as it was. What else is to change is said afterwards."
    )]
    Rotate(registered::Rotate),
    /// End a node: it settles nothing any more, until `terms --roles` gives it a role again.
    #[command(after_help = "Example:\n  tally ledger node retire")]
    Retire(registered::Retire),
}

#[derive(ClapArgs)]
pub(crate) struct Register {
    /// Where the request goes that validators sign. A file that is there is not written over.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The key file of the account that is responsible for it; else the node's own.
    #[arg(long, value_name = "FILE")]
    owner: Option<PathBuf>,
    #[command(flatten)]
    described: Described,
    #[command(flatten)]
    sending: Sending,
}

#[derive(ClapArgs)]
pub(crate) struct Admit {
    /// The registration. The signature is added to it.
    file: PathBuf,
    /// The key that a validator votes with; else in the data directory.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

#[derive(ClapArgs)]
pub(crate) struct Submit {
    /// The registration; copies of it that were signed apart count together.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    which: Which,
}

pub(super) async fn run(verb: Verb, home: &Home, json: bool) -> Outcome {
    match verb {
        Verb::Show(args) => registered::show(&args, home, json).await,
        Verb::Register(args) => register(&args, home, json).await,
        Verb::Admit(args) => admit(&args, home, json).await,
        Verb::Submit(args) => submit(&args, home, json).await,
        Verb::Terms(args) => registered::terms(&args, home, json).await,
        Verb::Rotate(args) => registered::rotate(&args, home, json).await,
        Verb::Retire(args) => registered::retire(&args, home, json).await,
    }
}

/// The registration in a file, which must be of the network's chain.
fn registration(path: &Path, network: &Network) -> Result<RegistrationFile, Failure> {
    match RegistrationFile::parse(&files::read(path)?, network.genesis.chain()) {
        Err(RegistrationError::File(SignedFileError::OtherChain { found, .. })) => {
            Err(files::of_another_chain(path, found, network))
        }
        read => read.or_misuse(format_args!("use {} as a registration", path.display())),
    }
}

/// Says what is asked, and who has signed.
fn report_request(path: &Path, file: &RegistrationFile, governance: &Governance, json: bool) {
    let validators = &governance.validators;
    let rule = governance.decided.parameters.registration;
    let (signed, others): (Vec<&Validator>, Vec<&Validator>) = validators
        .as_slice()
        .iter()
        .partition(|one| file.signers().any(|key| key == one.vote_key));
    let (signed, others) = (files::names(signed), files::names(others));
    if json {
        let needed = match rule {
            Registration::Open => 0,
            Registration::ByValidators => validators.quorum(),
        };
        say!(
            "{}",
            serde_json::json!({
                "node": file.node().to_string(), "owner": file.owner().to_string(), "terms": terms_in_words(file.terms()),
                "file": path, "signed": signed, "needed": needed, "may_sign": others,
            })
        );
        return;
    }
    say!("a registration of node {}", file.node());
    if file.owner().key() != file.node().key() {
        say!("  its owner: {}", file.owner());
    }
    for line in terms_in_words(file.terms()) {
        say!("  {line}");
    }
    match signed.is_empty() {
        true => say!("no validator has signed it"),
        false => say!("signed by {}", signed.join(", ")),
    }
    match file.transaction(validators, rule) {
        Err(missing) => say!("{missing}"),
        Ok(_) => say!(
            "enough have signed: tally ledger node submit {}",
            path.display()
        ),
    }
}

/// What is not known without the network; fits after "cannot".
const WHO: &str = "learn from the network who votes, and who may register";

/// Whether a node with this key may be registered, or is.
async fn is_registered(client: &Client, node: NodeId) -> Result<Option<Found>, Failure> {
    match found(client, node.key()).await? {
        Some(found) if found.id == node => Ok(Some(found)),
        Some(found) => Err(Failure::no(format_args!(
            "the key {} is or was that of node {}",
            node.key(),
            found.id
        ))
        .advise("a key is one node's for ever: name another by --key FILE")),
        None => Ok(None),
    }
}

/// Hands a registration in that has all the signatures that it needs.
async fn hand_in_registration(
    client: &Client,
    file: &RegistrationFile,
    governance: &Governance,
    no_wait: bool,
) -> Result<Changed, Failure> {
    let rule = governance.decided.parameters.registration;
    let transaction = file
        .transaction(&governance.validators, rule)
        .map_err(|error| {
            Failure::no(error)
                .advise("each of them adds a signature with `tally ledger node admit`")
        })?;
    let after = hand_in(client, &transaction, no_wait, async || {
        let (height, node) = client.shown_node(file.node()).await?;
        Ok(node.map(|node| (node, height)))
    })
    .await?;
    Ok(after.map_or(Changed::HandedIn, |(node, height)| {
        Changed::Counts(node, height)
    }))
}

async fn register(args: &Register, home: &Home, json: bool) -> Outcome {
    let network = args.sending.which.existing(home)?;
    let key = args.sending.key(home)?;
    let owner = match &args.owner {
        Some(file) => Some(existing_key(file)?),
        None => None,
    };
    let terms = args.described.of(&Terms {
        roles: Roles::INFERENCE,
        evidence: None,
        endpoint: None,
        price: Credits::ZERO,
    })?;
    let owner = owner.as_ref().unwrap_or(&key);
    let file = RegistrationFile::new(network.genesis.chain(), owner, &key, terms);
    let node = file.node();
    let (way, client) = network.client(home).await?;
    let done = async {
        if let Some(found) = is_registered(&client, node).await? {
            return Ok(Some(Changed::Already(found.node, found.height)));
        }
        let governance = client.governance().await.or_environment(WHO)?;
        if let Some(out) = &args.out {
            files::make(out, &file.to_toml())?;
            report_request(out, &file, &governance, json);
            return Ok(None);
        }
        if governance.decided.parameters.registration == Registration::ByValidators {
            return Err(Failure::no(
                "this ledger's validators decide who settles receipts",
            )
            .advise(
                "make a request that they sign: tally ledger node register --out FILE; `docs/node.md` tells the rest",
            ));
        }
        hand_in_registration(&client, &file, &governance, args.sending.no_wait)
            .await
            .map(Some)
    }
    .await;
    let ended = way.close().await;
    if let Some(changed) = done.map_err(|failure| ended.unwrap_or(failure))? {
        report(node, &changed, json);
    }
    Ok(())
}

async fn admit(args: &Admit, home: &Home, json: bool) -> Outcome {
    let network = args.which.existing(home)?;
    let mut file = registration(&args.file, &network)?;
    let key = existing_key(&node::key_file(args.key.as_deref(), home)?)?;
    let (way, client) = network.client(home).await?;
    let governance = client.governance().await.or_environment(WHO);
    let ended = way.close().await;
    let governance = governance.map_err(|failure| ended.unwrap_or(failure))?;
    let is_new = file
        .sign(&key, &governance.validators)
        .map_err(|error| files::has_no_say(error, &governance))?;
    if !is_new && !json {
        eprintln!("this key had signed it already");
    }
    files::replace(&args.file, &file.to_toml())?;
    report_request(&args.file, &file, &governance, json);
    Ok(())
}

async fn submit(args: &Submit, home: &Home, json: bool) -> Outcome {
    let network = args.which.existing(home)?;
    let mut all = args.files.iter();
    let first = all.next().expect("clap requires one");
    let mut file = registration(first, &network)?;
    for path in all {
        file.join(&registration(path, &network)?)
            .or_misuse(format_args!("add the signatures of {}", path.display()))?;
    }
    let (way, client) = network.client(home).await?;
    let done = async {
        if let Some(found) = is_registered(&client, file.node()).await? {
            return Ok(Changed::Already(found.node, found.height));
        }
        let governance = client.governance().await.or_environment(WHO)?;
        hand_in_registration(&client, &file, &governance, false).await
    }
    .await;
    let ended = way.close().await;
    let changed = done.map_err(|failure| ended.unwrap_or(failure))?;
    report(file.node(), &changed, json);
    Ok(())
}

//! `tally ledger decide`: validators change who they are, or the ledger's parameters, by a file that their operators sign one
//! after another. `docs/node.md` tells them how.
//!
//! ```text
//! description ── draft ──▶ decision.toml ── sign, by one operator after another ──▶ submit ──▶ it counts from the next block on
//! ```
//!
//! Who votes now, which parameters count and which number is the next are shown by the chain from genesis on, not said by a
//! node: whoever signs a later number because somebody lied would have signed what can be used then.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, Subcommand};
use tally_ledger::{Change, DecisionError, DecisionFile, Description, SignedFileError, Validator};
use tally_node::{Client, Governance};
use tally_receipt::SigningKey;

use super::files;
use super::sending::existing_key;
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::{Located, Network, Which};
use crate::ui::say;
use crate::verbs::node;

/// What to do with a decision.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make the file of a decision, with the number that is the next, and sign it if a key is named.
    #[command(
        after_help = "The description is a TOML file of either [[validators]], all of those who are to vote, or [parameters], those that\n\
            become others; both as in a genesis file (`tally node --show-keys NAME` prints a validator's lines).\n\n\
            Example:\n  tally ledger decide draft five.toml --out decision.toml --key v.key"
    )]
    Draft(Draft),
    /// Say what a decision does, who has signed it and who may.
    #[command(after_help = "Example:\n  tally ledger decide show decision.toml")]
    Show(Show),
    /// Say what a decision does, and sign it with the key of a validator.
    #[command(after_help = "Example:\n  tally ledger decide sign decision.toml --key v.key")]
    Sign(Sign),
    /// Hand a decision in that enough have signed, and wait until it counts.
    #[command(
        after_help = "Examples:\n  tally ledger decide submit decision.toml\n  tally ledger decide submit of-alice.toml of-bob.toml    copies that were signed apart"
    )]
    Submit(Submit),
}

#[derive(ClapArgs)]
pub(crate) struct Draft {
    /// What is to be: validators, or parameters.
    description: PathBuf,
    /// Where the decision goes. A file that is there is not written over.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Sign it with this key, which a validator votes with.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

#[derive(ClapArgs)]
pub(crate) struct Show {
    /// The decision.
    file: PathBuf,
    #[command(flatten)]
    which: Which,
}

#[derive(ClapArgs)]
pub(crate) struct Sign {
    /// The decision. The signature is added to it.
    file: PathBuf,
    /// The key that a validator votes with; else in the data directory.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

#[derive(ClapArgs)]
pub(crate) struct Submit {
    /// The decision; copies of it that were signed apart count together.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    which: Which,
}

/// How long a decision that was handed in may take to be made.
const MADE: Duration = Duration::from_secs(15);
/// Between two looks whether it is.
const LOOKS: Duration = Duration::from_millis(200);

pub(crate) async fn run(verb: Verb, home: &Home, json: bool) -> Outcome {
    match verb {
        Verb::Draft(args) => draft(&args, home, json).await,
        Verb::Show(args) => show(&args, home, json).await,
        Verb::Sign(args) => sign(&args, home, json).await,
        Verb::Submit(args) => submit(&args, home, json).await,
    }
}

async fn draft(args: &Draft, home: &Home, json: bool) -> Outcome {
    let network = args.which.existing(home)?;
    let text = files::read(&args.description)?;
    let description = Description::parse(&text).or_misuse(format_args!(
        "use {} as a description",
        args.description.display()
    ))?;
    // Before the network is asked: a key that is not there is not made here.
    let key = match &args.key {
        Some(file) => Some(existing_key(file)?),
        None => None,
    };
    let governance = governance(&network, home).await?;
    let mut file = DecisionFile::new(
        network.genesis.chain(),
        governance.decided.next,
        description,
        governance.decided.parameters,
    )
    .or_misuse(format_args!("decide {}", args.description.display()))?;
    if counts(&file, &governance) {
        return Err(Failure::misuse(
            "there is nothing to decide: it is so already",
        ));
    }
    if let Some(key) = key {
        add(&mut file, &key, &governance)?;
    }
    files::make(&args.out, &file.to_toml())?;
    report(&args.out, &file, &network, &governance, json);
    Ok(())
}

async fn show(args: &Show, home: &Home, json: bool) -> Outcome {
    let network = args.which.existing(home)?;
    let file = decision(&args.file, &network)?;
    let governance = governance(&network, home).await?;
    is_next(&file, &governance)?;
    report(&args.file, &file, &network, &governance, json);
    Ok(())
}

async fn sign(args: &Sign, home: &Home, json: bool) -> Outcome {
    let network = args.which.existing(home)?;
    let mut file = decision(&args.file, &network)?;
    let key = existing_key(&node::key_file(args.key.as_deref(), home)?)?;
    let governance = governance(&network, home).await?;
    is_next(&file, &governance)?;
    if !add(&mut file, &key, &governance)? && !json {
        eprintln!("this key had signed it already");
    }
    files::replace(&args.file, &file.to_toml())?;
    report(&args.file, &file, &network, &governance, json);
    Ok(())
}

async fn submit(args: &Submit, home: &Home, json: bool) -> Outcome {
    let mut network = args.which.existing(home)?;
    let mut all = args.files.iter();
    let first = all.next().expect("clap requires one");
    let mut file = decision(first, &network)?;
    for copy in all {
        file.join(&decision(copy, &network)?)
            .or_misuse(format_args!("add the signatures of {}", copy.display()))?;
    }
    // By these it is asked whether it counts, should it need those who come.
    let new = located(&file, &network);
    network
        .peers
        .extend(new.iter().map(|(_, located)| *located));
    let (endpoint, client) = network.client(home).await?;
    let made = hand_in(&file, &client).await;
    let ended = endpoint.close().await;
    let governance = made.map_err(|failure| ended.unwrap_or(failure))?;
    if json {
        say!(
            "{}",
            serde_json::json!({
                "decision": file.decision().get(), "height": governance.height.get(),
                "validators": governance.validators.len(), "tolerates": governance.validators.tolerated(),
            })
        );
    } else {
        say!("decision {} is made, and counts", file.decision());
        say_where(&new);
    }
    Ok(())
}

async fn hand_in(file: &DecisionFile, client: &Client) -> Result<Governance, Failure> {
    let number = file.decision();
    let governance = client.governance().await.or_environment(WHO)?;
    is_next(file, &governance)?;
    let transaction = file.transaction(&governance.validators).map_err(|error| {
        Failure::no(&error).advise("each of them adds a signature with `tally ledger decide sign`")
    })?;
    client
        .submit(&[transaction])
        .await
        .or_environment("hand the decision in")?;
    let begun = Instant::now();
    let governance = loop {
        let asked = client.governance().await;
        match asked {
            Ok(governance) if governance.decided.next > number => break governance,
            asked if begun.elapsed() > MADE => {
                let failure = match asked {
                    Ok(_) => Failure::environment(format_args!(
                        "the ledger took decision {number} {MADE:?} ago and has not made it yet"
                    )),
                    Err(error) => Failure::environment(format_args!(
                        "decision {number} was handed in, and whether it is made is not known: {error}"
                    )),
                };
                return Err(failure.advise("`tally ledger decide show` says whether it is made"));
            }
            _ => tokio::time::sleep(LOOKS).await,
        }
    };
    match counts(file, &governance) {
        true => Ok(governance),
        false => Err(Failure::no(format_args!(
            "decision {number} is made, and what counts now is something else: another one had its number, or one came after it"
        ))),
    }
}

/// What is not known without the network; fits after "cannot".
const WHO: &str = "learn from the network who votes and what was decided";

async fn governance(network: &Network, home: &Home) -> Result<Governance, Failure> {
    let (endpoint, client) = network.client(home).await?;
    let governance = client.governance().await;
    let ended = endpoint.close().await;
    governance
        .or_environment(WHO)
        .map_err(|failure| ended.unwrap_or(failure))
}

/// The decision in a file, which must be of the network's chain.
fn decision(path: &Path, network: &Network) -> Result<DecisionFile, Failure> {
    match DecisionFile::parse(&files::read(path)?, network.genesis.chain()) {
        Err(DecisionError::File(SignedFileError::OtherChain { found, .. })) => {
            Err(files::of_another_chain(path, found, network))
        }
        read => read.or_misuse(format_args!("use {} as a decision", path.display())),
    }
}

/// Signs; whether the key had not before.
fn add(
    file: &mut DecisionFile,
    key: &SigningKey,
    governance: &Governance,
) -> Result<bool, Failure> {
    file.sign(key, &governance.validators)
        .map_err(|error| files::has_no_say(error, governance))
}

/// Whether the decision can be the next.
fn is_next(file: &DecisionFile, governance: &Governance) -> Outcome {
    let (found, next) = (file.decision(), governance.decided.next);
    if found > next {
        return Err(Failure::no(format_args!(
            "this is decision {found}, and the next one is {next}"
        )));
    }
    if found < next {
        let failure = Failure::no(format_args!(
            "decision {found} is made already, and the next one is {next}"
        ));
        return Err(match counts(file, governance) {
            true => failure.advise("what this file says is what counts"),
            false => failure.advise("`tally ledger decide draft` makes a file of the next one"),
        });
    }
    Ok(())
}

/// Whether it is as the decision says.
fn counts(file: &DecisionFile, governance: &Governance) -> bool {
    match file.change() {
        Change::Validators(set) => governance.validators == *set,
        Change::Parameters(parameters) => governance.decided.parameters == *parameters,
    }
}

/// Where the file says that validators are and genesis does not.
fn located(file: &DecisionFile, network: &Network) -> Vec<(String, Located)> {
    let genesis = &network.genesis;
    let is_known = |validator: &Validator, address: &SocketAddr| {
        genesis
            .validators
            .index_of(&validator.vote_key)
            .and_then(|at| genesis.addresses.get(at))
            .is_some_and(|all| all.contains(address))
    };
    file.addresses()
        .flat_map(|(validator, all)| all.iter().map(move |address| (validator, address)))
        .filter(|(validator, address)| !is_known(validator, address))
        .map(|(validator, address)| {
            (
                validator.name.to_string(),
                Located::new(validator.vote_key, *address),
            )
        })
        .collect()
}

fn say_where(new: &[(String, Located)]) {
    for (name, located) in new {
        eprintln!("nodes and commands find {name} by: --peer {located}");
    }
}

/// Says what a decision does and how far it is.
fn report(
    path: &Path,
    file: &DecisionFile,
    network: &Network,
    governance: &Governance,
    json: bool,
) {
    let validators = &governance.validators;
    let words = file.in_words(validators, governance.decided.parameters);
    let signed = file
        .signers()
        .filter_map(|key| validators.index_of(&key))
        .map(|at| &validators.as_slice()[at]);
    let signed = files::names(signed);
    let missing = file.transaction(validators).err();
    if json {
        let may = files::names(missing.iter().flat_map(|missing| &missing.may));
        say!(
            "{}",
            serde_json::json!({
                "decision": file.decision().get(), "chain": file.chain().to_string(), "changes": words,
                "signed": signed,
                "needed": validators.quorum(),
                "may_sign": may,
            })
        );
        return;
    }
    say!("decision {} of the chain {}", file.decision(), file.chain());
    for sentence in words {
        say!("  {sentence}");
    }
    match signed.is_empty() {
        true => say!("nobody has signed it"),
        false => say!("signed by {}", signed.join(", ")),
    }
    match missing {
        Some(missing) => say!("{missing}"),
        None => say!(
            "enough have signed: tally ledger decide submit {}",
            path.display()
        ),
    }
    say_where(&located(file, network));
}

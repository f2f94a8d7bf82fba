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

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use tally_ledger::{
    ChainId, Credits, Height, Node, NodeId, NodeKey, Registration, RegistrationError,
    RegistrationFile, Request, Roles, SignedFileError, Terms, Validator,
};
use tally_node::{Client, Governance};
use tally_receipt::{Digest, Label, PublicKey, SigningKey};

use super::files;
use super::sending::{ASK, Sending, existing_key, hand_in, public_key, signed};
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::{self, Home};
use crate::network::{Network, Which};
use crate::ui::{grouped, say};
use crate::verbs::node;

/// What to do with a node's registration.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// What the ledger has of a node: its key, terms, and how much it settled.
    #[command(
        after_help = "Examples:\n  tally ledger node show\n  tally ledger node show 3b6a27bc…    by any key that it has or had"
    )]
    Show(Show),
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
    Terms(TermsArgs),
    /// Give a node another key, which alone signs for it from then on.
    #[command(
        after_help = "Example:\n  tally ledger node rotate --key-file new.key\n\n\
            This machine's own key is not exchanged by it: what else the key is used for is said afterwards."
    )]
    Rotate(Rotate),
    /// End a node: it settles nothing any more, until `terms --roles` gives it a role again.
    #[command(after_help = "Example:\n  tally ledger node retire")]
    Retire(Retire),
}

#[derive(ClapArgs)]
pub(crate) struct Show {
    /// A key that it has or had, 64 hex digits; else this machine's.
    key: Option<String>,
    #[command(flatten)]
    which: Which,
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

#[derive(ClapArgs)]
pub(crate) struct TermsArgs {
    #[command(flatten)]
    described: Described,
    #[command(flatten)]
    sending: Sending,
}

#[derive(ClapArgs)]
pub(crate) struct Rotate {
    /// The file of the new key. It is made if there is none, for this user alone to read.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    #[command(flatten)]
    sending: Sending,
}

#[derive(ClapArgs)]
pub(crate) struct Retire {
    #[command(flatten)]
    sending: Sending,
}

/// What a node does, as far as it is said.
#[derive(ClapArgs)]
struct Described {
    /// What it does, with commas between.
    #[arg(long, value_delimiter = ',', value_name = "ROLE")]
    roles: Vec<Role>,
    /// Where it is reached: up to 200 printable ASCII characters.
    #[arg(long, value_name = "TEXT", conflicts_with = "no_endpoint")]
    endpoint: Option<Label>,
    /// Say no more where it is reached.
    #[arg(long)]
    no_endpoint: bool,
    /// Credits that it asks for a thousand tokens.
    #[arg(long, value_name = "CREDITS")]
    price: Option<u64>,
    /// Evidence about it, such as a quote of its hardware. Its digest alone goes to the ledger.
    #[arg(long, value_name = "FILE", conflicts_with = "no_evidence")]
    evidence: Option<PathBuf>,
    /// Name no evidence any more.
    #[arg(long)]
    no_evidence: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    /// Answers requests to models.
    Inference,
    /// Attests data.
    Data,
    /// Keeps blobs.
    Storage,
    /// Runs agents.
    Run,
}

impl Role {
    const fn roles(self) -> Roles {
        match self {
            Self::Inference => Roles::INFERENCE,
            Self::Data => Roles::DATA,
            Self::Storage => Roles::STORAGE,
            Self::Run => Roles::RUN,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Data => "data",
            Self::Storage => "storage",
            Self::Run => "run",
        }
    }
}

fn role_names(roles: Roles) -> Vec<&'static str> {
    Role::value_variants()
        .iter()
        .filter(|role| roles.has(role.roles()))
        .map(|role| role.name())
        .collect()
}

impl Described {
    fn is_nothing(&self) -> bool {
        self.roles.is_empty()
            && self.endpoint.is_none()
            && !self.no_endpoint
            && self.price.is_none()
            && self.evidence.is_none()
            && !self.no_evidence
    }

    /// The terms with what is said.
    fn of(&self, before: &Terms) -> Result<Terms, Failure> {
        let mut terms = before.clone();
        if !self.roles.is_empty() {
            terms.roles = self
                .roles
                .iter()
                .fold(Roles::NONE, |all, role| all.with(role.roles()));
        }
        if self.no_endpoint {
            terms.endpoint = None;
        }
        if let Some(endpoint) = &self.endpoint {
            terms.endpoint = Some(endpoint.clone());
        }
        if let Some(price) = self.price {
            terms.price = Credits::new(price);
        }
        if self.no_evidence {
            terms.evidence = None;
        }
        if let Some(file) = &self.evidence {
            let bytes = std::fs::read(file).or_misuse(format_args!("read {}", file.display()))?;
            terms.evidence = Some(Digest::of(&bytes));
        }
        Ok(terms)
    }
}

/// A node that a key leads to.
pub(super) struct Found {
    height: Height,
    id: NodeId,
    of: NodeKey,
    pub(super) node: Node,
}

pub(super) async fn run(verb: Verb, home: &Home, json: bool) -> Outcome {
    match verb {
        Verb::Show(args) => show(&args, home, json).await,
        Verb::Register(args) => register(&args, home, json).await,
        Verb::Admit(args) => admit(&args, home, json).await,
        Verb::Submit(args) => submit(&args, home, json).await,
        Verb::Terms(args) => terms(&args, home, json).await,
        Verb::Rotate(args) => rotate(&args, home, json).await,
        Verb::Retire(args) => retire(&args, home, json).await,
    }
}

/// The node that has or had a key, if one does.
pub(super) async fn found(client: &Client, key: PublicKey) -> Result<Option<Found>, Failure> {
    let (_, of) = client.shown_node_key(key).await.or_environment(ASK)?;
    let Some(of) = of else {
        return Ok(None);
    };
    let (height, node) = client.shown_node(of.node).await.or_environment(ASK)?;
    let node = node.ok_or_else(|| {
        Failure::environment(format_args!(
            "cannot {ASK}: one validator shows the key of node {}, and another one an older state without it",
            of.node
        ))
        .advise("ask again")
    })?;
    Ok(Some(Found {
        height,
        id: of.node,
        of,
        node,
    }))
}

fn unknown(key: PublicKey) -> Failure {
    Failure::no(format_args!("no node has or had the key {key}"))
        .advise("`tally ledger node register` registers one; another key is named by --key FILE")
}

fn in_json(id: NodeId, node: &Node, height: Height) -> serde_json::Value {
    serde_json::json!({
        "node": id.to_string(), "key": node.key.to_string(), "owner": node.owner.to_string(),
        "revision": node.revision.get(), "settled": node.settled.get(), "registered": node.registered.get(),
        "roles": role_names(node.terms.roles), "price": node.terms.price.get(),
        "endpoint": node.terms.endpoint.as_ref().map(Label::as_str),
        "evidence": node.terms.evidence.map(|digest| digest.to_string()),
        "height": height.get(),
    })
}

/// What a node does, for a person.
fn terms_in_words(terms: &Terms) -> Vec<String> {
    let roles = role_names(terms.roles);
    let mut words = vec![match roles.is_empty() {
        true => "retired: no role".to_owned(),
        false => format!("roles: {}", roles.join(", ")),
    }];
    words.push(format!(
        "price: {} credits for a thousand tokens",
        grouped(terms.price.get())
    ));
    if let Some(endpoint) = &terms.endpoint {
        words.push(format!("endpoint: {endpoint}"));
    }
    if let Some(evidence) = &terms.evidence {
        words.push(format!("digest of its evidence: {evidence}"));
    }
    words
}

fn say_node(id: NodeId, node: &Node, height: Height) {
    say!("node {id}, as the chain shows at height {height}");
    if node.key != id.key() {
        say!("  its key now: {}", node.key);
    }
    if node.owner.key() != id.key() {
        say!("  its owner: {}", node.owner);
    }
    for line in terms_in_words(&node.terms) {
        say!("  {line}");
    }
    say!(
        "  revision {}, {} receipts settled, registered at block {}",
        node.revision,
        grouped(node.settled.get()),
        node.registered
    );
}

async fn show(args: &Show, home: &Home, json: bool) -> Outcome {
    let key = match &args.key {
        Some(text) => public_key(text)?,
        None => home.node_key()?.public_key(),
    };
    let network = args.which.existing(home)?;
    let (way, client) = network.client(home).await?;
    let found = found(&client, key).await;
    let ended = way.close().await;
    let found = found.map_err(|failure| ended.unwrap_or(failure))?;
    let found = found.ok_or_else(|| unknown(key))?;
    if json {
        let mut said = in_json(found.id, &found.node, found.height);
        said["asked"] = serde_json::json!({
            "key": key.to_string(), "from": found.of.from.get(), "until": found.of.until.map(Height::get),
        });
        say!("{said}");
        return Ok(());
    }
    say_node(found.id, &found.node, found.height);
    match found.of.until {
        Some(until) => say!(
            "  {key} was its key from block {} to before block {until}",
            found.of.from
        ),
        None => say!("  {key} is its key since block {}", found.of.from),
    }
    Ok(())
}

/// What became of a change.
enum Changed {
    Already(Node, Height),
    Counts(Node, Height),
    HandedIn,
}

/// Makes terms and key of a node what they are to be, by its next revision.
async fn change(
    client: &Client,
    chain: ChainId,
    found: &Found,
    signer: &SigningKey,
    new: Option<&SigningKey>,
    terms: Terms,
    no_wait: bool,
) -> Result<Changed, Failure> {
    let node = &found.node;
    let key = new.unwrap_or(signer).public_key();
    if node.key == key && node.terms == terms {
        return Ok(Changed::Already(node.clone(), found.height));
    }
    if let Some(until) = found.of.until {
        return Err(Failure::no(format_args!(
            "{} was the key of node {} until block {until}; its key is {} now",
            signer.public_key(),
            found.id,
            node.key
        ))
        .advise("sign with that one: --key FILE"));
    }
    if key != node.key {
        let (_, taken) = client.shown_node_key(key).await.or_environment(ASK)?;
        if taken.is_some() {
            return Err(
                Failure::no(format_args!("the key {key} is or was a node's"))
                    .advise("name a file that is not there yet, and a new key is made"),
            );
        }
    }
    let revision = node.revision.next();
    let request = Request::Update {
        node: found.id,
        revision,
        key,
        terms: terms.clone(),
    };
    let keys: Vec<&SigningKey> = std::iter::once(signer).chain(new).collect();
    let transaction = signed(request, chain, &keys);
    let after = hand_in(client, &transaction, no_wait, async || {
        let (height, node) = client.shown_node(found.id).await?;
        Ok(node
            .filter(|node| node.revision >= revision)
            .map(|node| (node, height)))
    })
    .await?;
    match after {
        None => Ok(Changed::HandedIn),
        Some((node, height)) if node.key == key && node.terms == terms => {
            Ok(Changed::Counts(node, height))
        }
        Some((node, _)) => Err(Failure::no(format_args!(
            "the node's revision is {}, and it is something else: another change came before this one, or after it",
            node.revision
        ))
        .advise("`tally ledger node show` says how it is; repeat the command if it should not be so")),
    }
}

/// Says how a node is after a change.
fn report(id: NodeId, changed: &Changed, json: bool) {
    let (node, height, is_earlier) = match changed {
        Changed::Already(node, height) => (node, *height, true),
        Changed::Counts(node, height) => (node, *height, false),
        Changed::HandedIn => {
            match json {
                true => say!(
                    "{}",
                    serde_json::json!({ "node": id.to_string(), "counts": false })
                ),
                false => say!("handed in; `tally ledger node show` shows when it counts"),
            }
            return;
        }
    };
    if json {
        let mut said = in_json(id, node, height);
        said["counts"] = true.into();
        said["earlier"] = is_earlier.into();
        say!("{said}");
        return;
    }
    if is_earlier {
        eprintln!("it is so already");
    }
    say_node(id, node, height);
}

/// Changes the node that a key is of.
async fn update(
    sending: &Sending,
    home: &Home,
    new: Option<&SigningKey>,
    terms: impl FnOnce(&Terms) -> Result<Terms, Failure>,
) -> Result<(NodeId, Changed), Failure> {
    let network = sending.which.existing(home)?;
    let signer = sending.key(home)?;
    let (way, client) = network.client(home).await?;
    let changed = async {
        let found = found(&client, signer.public_key())
            .await?
            .ok_or_else(|| unknown(signer.public_key()))?;
        let terms = terms(&found.node.terms)?;
        let chain = network.genesis.chain();
        let changed = change(&client, chain, &found, &signer, new, terms, sending.no_wait).await?;
        Ok::<_, Failure>((found.id, changed))
    }
    .await;
    let ended = way.close().await;
    changed.map_err(|failure| ended.unwrap_or(failure))
}

async fn terms(args: &TermsArgs, home: &Home, json: bool) -> Outcome {
    if args.described.is_nothing() {
        return Err(
            Failure::misuse("there is nothing to change").advise("name what becomes other: --help")
        );
    }
    let (id, changed) = update(&args.sending, home, None, |before| {
        args.described.of(before)
    })
    .await?;
    report(id, &changed, json);
    Ok(())
}

async fn retire(args: &Retire, home: &Home, json: bool) -> Outcome {
    let (id, changed) = update(&args.sending, home, None, |before| {
        Ok(Terms {
            roles: Roles::NONE,
            ..before.clone()
        })
    })
    .await?;
    report(id, &changed, json);
    Ok(())
}

async fn rotate(args: &Rotate, home: &Home, json: bool) -> Outcome {
    let old = args.sending.key(home)?.public_key();
    let seed = home::seed_or_new(&args.key_file)?;
    let new = SigningKey::from_seed(&seed);
    if new.public_key() == old {
        return Err(Failure::misuse(format_args!(
            "{} has the key that the node is to lose",
            args.key_file.display()
        ))
        .advise("name a file that is not there yet, and a new key is made"));
    }
    let (id, changed) =
        update(&args.sending, home, Some(&new), |before| Ok(before.clone())).await?;
    report(id, &changed, json);
    if json || matches!(changed, Changed::HandedIn) {
        return Ok(());
    }
    let file = args.key_file.display();
    eprintln!(
        "what else must change:\n  \
         whatever settles for this node signs with {file} from now on: this machine's own key is keys/node.key of its data directory, which is not exchanged here, and \
         whatever else it is used for (vaults, receipts) changes with it\n  \
         receipts that were signed with {old} stay as good as they were; policies that are to believe new ones name {} too\n  \
         credits stay in the account {old}, which has its key for ever: keep it, or transfer them",
        new.public_key()
    );
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_of_a_node_stays() {
        let nothing = Described {
            roles: Vec::new(),
            endpoint: None,
            no_endpoint: false,
            price: None,
            evidence: None,
            no_evidence: false,
        };
        let before = Terms {
            roles: Roles::INFERENCE.with(Roles::RUN),
            evidence: Some(Digest::of(b"quote")),
            endpoint: Some(Label::new("there").unwrap()),
            price: Credits::new(3),
        };
        assert!(nothing.is_nothing());
        assert_eq!(nothing.of(&before).unwrap(), before);
        let some = Described {
            roles: vec![Role::Data, Role::Storage],
            no_endpoint: true,
            price: Some(0),
            ..nothing
        };
        assert!(!some.is_nothing());
        let after = some.of(&before).unwrap();
        assert_eq!(role_names(after.roles), ["data", "storage"]);
        assert_eq!((after.endpoint, after.price), (None, Credits::ZERO));
        assert_eq!(after.evidence, before.evidence);
    }
}

//! `tally ledger node show`, `terms`, `rotate` and `retire`: a node that is registered.
//!
//! What the chain shows of it comes from genesis on, and is not said by one node. A change is the node's next revision; one that is
//! repeated finds that it is so already.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_ledger::{ChainId, Height, Node, NodeId, NodeKey, Request, Roles, Terms};
use tally_node::Client;
use tally_receipt::{Label, PublicKey, SigningKey};

use super::sending::{ASK, Sending, hand_in, public_key, signed};
use super::terms::{Described, role_names, terms_in_words};
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::{self, Home};
use crate::network::Which;
use crate::trust;
use crate::ui::{grouped, say};

#[derive(ClapArgs)]
pub(crate) struct Show {
    /// A key that it has or had, 64 hex digits; else this machine's.
    key: Option<String>,
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

/// A node that a key leads to.
pub(super) struct Found {
    pub(super) height: Height,
    pub(super) id: NodeId,
    of: NodeKey,
    pub(super) node: Node,
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

pub(super) async fn show(args: &Show, home: &Home, json: bool) -> Outcome {
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
pub(super) enum Changed {
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
pub(super) fn report(id: NodeId, changed: &Changed, json: bool) {
    report_with(id, changed, json, |_| ());
}

/// The same with what else is to be said to a program.
fn report_with(
    id: NodeId,
    changed: &Changed,
    json: bool,
    add: impl FnOnce(&mut serde_json::Value),
) {
    let (node, height, is_earlier) = match changed {
        Changed::Already(node, height) => (node, *height, true),
        Changed::Counts(node, height) => (node, *height, false),
        Changed::HandedIn => {
            if json {
                let mut said = serde_json::json!({ "node": id.to_string(), "counts": false });
                add(&mut said);
                say!("{said}");
            } else {
                say!("handed in; `tally ledger node show` shows when it counts");
            }
            return;
        }
    };
    if json {
        let mut said = in_json(id, node, height);
        said["counts"] = true.into();
        said["earlier"] = is_earlier.into();
        add(&mut said);
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

pub(super) async fn terms(args: &TermsArgs, home: &Home, json: bool) -> Outcome {
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

pub(super) async fn retire(args: &Retire, home: &Home, json: bool) -> Outcome {
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

/// The new key is durable before the ledger has it, and the ledger has it before this machine's own key is exchanged: whoever is
/// stopped in between finds by the same command what is done, and does the rest.
pub(super) async fn rotate(args: &Rotate, home: &Home, json: bool) -> Outcome {
    let old = args.sending.key(home)?.public_key();
    let seed = home::seed_or_new(&args.key_file)?;
    home::sync_key(&args.key_file)?;
    let new = SigningKey::from_seed(&seed);
    // Also that of a command that is repeated once all is done.
    let has_it = new.public_key() == old;
    let (id, changed) = update(&args.sending, home, (!has_it).then_some(&new), |before| {
        Ok(before.clone())
    })
    .await?;
    if has_it && id.key() == old {
        return Err(Failure::misuse(format_args!(
            "{} has the key that the node is to lose",
            args.key_file.display()
        ))
        .advise("name a file that is not there yet, and a new key is made"));
    }
    let is_own = !has_it && home.node_key()?.public_key() == old;
    let former = match &changed {
        Changed::Already(..) | Changed::Counts(..) if is_own => {
            let now = trust::moment(None)?;
            Some(home.exchange_node_key(&new, now).map_err(|failure| {
                failure
                    .advise("the ledger has the new key: repeat the command, which does the rest")
            })?)
        }
        _ => None,
    };
    report_with(id, &changed, json, |said| {
        said["exchanged"] = former.is_some().into();
        said["former"] = serde_json::json!(former);
    });
    if json {
        return Ok(());
    }
    let has_new = home.node_key()?.public_key() == new.public_key();
    match (&changed, former) {
        (Changed::HandedIn, _) if is_own => eprintln!(
            "this machine's own key is not exchanged before it counts: repeat the command without --no-wait"
        ),
        (Changed::HandedIn, _) => {}
        (_, Some(former)) => say_exchanged(&args.key_file, &former, old, new.public_key()),
        (_, None) if has_new => {
            eprintln!("this machine's own key is this one already");
        }
        (_, None) => eprintln!(
            "whatever settles for this node signs with {} from now on; this machine's own key is another one, and stays",
            args.key_file.display()
        ),
    }
    Ok(())
}

fn say_exchanged(file: &Path, former: &Path, old: PublicKey, new: PublicKey) {
    let (file, former) = (file.display(), former.display());
    eprintln!(
        "this machine's own key is the new one now; the one before is kept: {former}\n\
         what else must change:\n  \
         programs that run (`tally serve`, a node) have the one before until they are started again, and what they sign with it until then this machine does not believe\n  \
         on every other ledger where this machine has a node, its own included: tally ledger node rotate --key {former} --key-file {file} --network FILE; \
         what settles there before that settles as another node\n  \
         receipts that were signed with {old} stay as good as they were; policies that are to believe new ones name {new} too\n  \
         credits stay in the account {old}, which has its key for ever: keep that file, or transfer them (--key)\n  \
         {file} is a copy of the new key: keep it where nobody else reads it, or remove it"
    );
}

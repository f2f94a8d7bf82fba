//! `tally vault sync`: two devices exchange what each lacks, straight from one to the other.
//!
//! One prints a ticket and waits, the other dials it; or both look for each other on the local network. Nobody else is contacted.
//! `docs/vault-sync.md` is the protocol: who may have what is decided by member keys, and a ticket opens nothing.
//!
//! The vault is held for writing only while a session runs, so that this computer can use it while it waits: whoever calls proves
//! its member key, and that it knows the vault, and both sides can begin, before the copy is opened; and it gets no last bytes before
//! it is closed. A session that is interrupted, however, keeps what has arrived whole, and the next goes on from there.

mod around;
mod door;
mod roll;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args as ClapArgs;
use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use tally_link::{
    Address, Channel, Config, DialError, Lan, Link, NodeId, NodeSecret, Sighting, Ticket,
};
use tally_net::RelayUrl;
use tally_vault::format::{Identity, MemberId, Seed, Time, VaultId};
use tally_vault::state::GrantStanding;
use tally_vault::{CopyError, DiskCopy, Environment, Key, Moved, Open, OpenError, Place, Vault};
use tally_vault_sync::{Fault, Limits, Peer, Ready, Refusal, Report, SyncError};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use self::around::Around;
use self::door::{Callers, Queue};
use self::roll::Roll;
use crate::failure::{Failure, OrFail, Outcome};
use crate::network::relay;
use crate::ui::{Progress, grouped, printable, say};
use crate::vaults::{Names, Which, agent_identity, announce_closed, opening, vault_id, writing};

/// How long another program of this computer may hold the vault before a session gives up.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);
/// How long a relay is waited for before a ticket is printed that does not name it.
const RELAY_PATIENCE: Duration = Duration::from_secs(10);
/// How long the last bytes may take to be delivered.
const LAST_BYTES: Duration = Duration::from_secs(10);
/// Devices nearby that are dialled at once, and those that are told at once that there is no session.
const WAITING: usize = 8;

/// Exchange with another device.
#[derive(ClapArgs)]
pub(crate) struct Sync {
    /// The ticket that the other device printed. Without one, this device prints a ticket and waits for the other.
    ticket: Option<String>,
    /// Find devices of this vault on the local network, and be found by them; each is met once.
    #[arg(long, conflicts_with = "ticket")]
    lan: bool,
    /// End after the first device. It is what happens anyway without --lan and --listen.
    #[arg(long, conflicts_with = "listen")]
    once: bool,
    /// Stay for further devices until interrupted.
    #[arg(long, conflicts_with = "ticket")]
    listen: bool,
    /// Be reached, and reach the other device, by way of this relay, one's own, where no direct way leads; both name the same one.
    #[arg(long, value_name = "URL", value_parser = relay)]
    relay: Option<RelayUrl>,
    /// Use this address and port instead of every address and a free port. May be given several times.
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Vec<SocketAddr>,
    #[command(flatten)]
    which: Which,
}

/// This side: which vault, where, and with whose key.
struct Here {
    place: Place,
    id: VaultId,
    identity: Arc<Identity>,
    json: bool,
}

pub(crate) fn run(args: &Sync, json: bool) -> Outcome {
    let ticket: Option<Ticket> = match &args.ticket {
        Some(text) => Some(text.parse::<Ticket>().map_err(|error| {
            Failure::misuse(error).advise("tally vault sync on the other device prints a new one")
        })?),
        None => None,
    };
    let here = here(&args.which, ticket.as_ref(), json)?;
    let mut config = Config {
        lan: if args.lan {
            Lan::FindAndBeFound
        } else {
            Lan::Off
        },
        relays: args.relay.iter().map(ToString::to_string).collect(),
        ..Config::default()
    };
    if !args.bind.is_empty() {
        config.listen.clone_from(&args.bind);
    }
    // Methods of the copy block their thread while they read and write; the network goes on in others.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .or_environment("start the network")?
        .block_on(async {
            let secret = NodeSecret::derive(here.identity.seed().expose());
            let link = Link::bind(&secret, config).await.map_err(|error| {
                Failure::environment(with_source(&error))
                    .advise("if the port is taken, name another: --bind 0.0.0.0:PORT")
            })?;
            let outcome = match &ticket {
                Some(ticket) => dial(&here, &link, ticket, args).await,
                None => wait(&here, &link, args).await,
            };
            link.close().await;
            outcome
        })
}

/// Finds out with whose key this side speaks. What the passphrase takes to open is done once, before anybody is met.
fn here(which: &Which, ticket: Option<&Ticket>, json: bool) -> Result<Here, Failure> {
    let place = which.place()?;
    let meant = ticket.and_then(|ticket| ticket.vault).map(VaultId);
    if which.locked {
        return Err(Failure::misuse("without a key this side cannot prove who it is").advise(
            "for a copy that only stores: tally vault share --agent NAME '*=relay', then tally vault sync --as NAME",
        ));
    }
    let is_new = !place.folder.join("VAULT").exists();
    let id = if is_new {
        meant.filter(|_| which.agent.is_some()).ok_or_else(|| {
            Failure::misuse(format_args!("there is no vault in {}", place.folder.display())).advise(
                "bring the vault here first (tally vault export FILE there, tally vault import FILE here); an agent begins with nothing: --as NAME",
            )
        })?
    } else {
        vault_id(&place)?
    };
    if let Some(meant) = meant.filter(|meant| *meant != id) {
        return Err(Failure::misuse(format_args!(
            "the ticket is for vault {meant}, and this is {id}"
        ))
        .advise("name the folder of the other vault with --vault"));
    }
    let identity = match &which.agent {
        Some(agent) => Arc::new(agent_identity(agent, &id)?),
        None => {
            let mut vault = which.write()?;
            vault
                .sync_identity()
                .map_err(writing)?
                .ok_or_else(|| Failure::misuse("this vault was opened with no key"))?
        }
    };
    Ok(Here {
        place,
        id,
        identity,
        json,
    })
}

/// Who speaks first.
#[derive(Clone, Copy)]
enum Side {
    /// This side: it dialled.
    Dialled,
    /// The other one: it called.
    Called,
}

/// Finds out who is at the other end.
async fn greet(
    channel: Channel,
    side: Side,
    vault: VaultId,
    identity: Arc<Identity>,
) -> Result<Peer<Channel>, SyncError<Infallible>> {
    let (binding, me) = (*channel.binding(), &*identity);
    let (limits, mut random) = (Limits::default(), UnwrapErr(SysRng));
    match side {
        Side::Dialled => Peer::dialled(channel, &vault, me, &binding, &mut random, &limits).await,
        Side::Called => Peer::called(channel, &vault, me, &binding, &mut random, &limits).await,
    }
}

/// The other device waits: one session with it.
async fn dial(here: &Here, link: &Link, ticket: &Ticket, args: &Sync) -> Outcome {
    let bar = Progress::spinner("reaching the other device");
    let reaching = async {
        let dialled = link.dial(ticket).await;
        let channel = dialled.map_err(|error| unreachable_node(error, ticket, args))?;
        let peer = greet(channel, Side::Dialled, here.id, here.identity.clone())
            .await
            .map_err(|error| unfinished(error, None, |never| match never {}))?;
        peer.ready().await.map_err(not_begun)
    };
    let ready = tokio::select! {
        ready = reaching => ready?,
        _ = tokio::signal::ctrl_c() => return Err(interrupted()),
    };
    drop(bar);
    meet(here, ready).await.map_err(|unmet| match unmet {
        Unmet::Interrupted => interrupted(),
        Unmet::Failed(failure) => failure,
    })
}

/// Waits for others, and looks for them if it is to.
async fn wait(here: &Here, link: &Link, args: &Sync) -> Outcome {
    if let Some(relay) = &args.relay {
        let bar = Progress::spinner("reaching the relay");
        let is_connected = tokio::select! {
            is_connected = link.relayed(RELAY_PATIENCE) => is_connected,
            _ = tokio::signal::ctrl_c() => return Err(interrupted()),
        };
        drop(bar);
        if !is_connected {
            eprintln!(
                "tally: {relay} does not answer, or does not let in this device's key, which is {}; the ticket does not name it",
                link.node()
            );
        }
    }
    let ticket = link.ticket(Some(here.id.0));
    if here.json {
        say!(
            "{}",
            serde_json::json!({ "vault": here.id.to_string(), "ticket": ticket.to_string() })
        );
    } else {
        eprintln!("on the other device: tally vault sync TICKET, with this ticket");
        say!("{ticket}");
    }
    serve(here, link, args.listen || (args.lan && !args.once)).await
}

/// A device that has proved who it is.
struct Arrived {
    node: NodeId,
    peer: Peer<Channel>,
}

/// What is done until a session can begin with a node: none if it cannot.
type Beginning<'a> = LocalBoxFuture<'a, (NodeId, Option<Ready<Channel>>)>;

/// A device that called and was told that this side can begin.
struct Invited<'a> {
    is_member: bool,
    beginning: Beginning<'a>,
}

/// A session, and how it ended.
struct Met {
    node: NodeId,
    is_member: bool,
    outcome: Result<(), Unmet>,
}

/// Hears callers, and has one session after the other. Those nearby are dialled while there is none, and nobody waits for a session
/// with this side's vault, or the other's, open: who was called says when it can begin. Of two that could begin, one is let go, and
/// dials again.
async fn serve(here: &Here, link: &Link, stays: bool) -> Outcome {
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut nearby = link.nearby().await;
    let mut around = Around::default();
    let mut dialling: FuturesUnordered<Beginning<'_>> = FuturesUnordered::new();
    let mut callers: Callers<AbortHandle> = Callers::new();
    let mut greeting: JoinSet<Option<Arrived>> = JoinSet::new();
    let mut leaving: JoinSet<()> = JoinSet::new();
    let mut roll: Roll<Arrived> = Roll::new();
    let mut queue: Queue<Arrived> = Queue::new(Limits::default().idle);
    let mut invited: Option<Invited<'_>> = None;
    let mut session: Option<LocalBoxFuture<'_, Met>> = None;
    let mut bar: Option<Progress> = None;
    loop {
        let now = Instant::now();
        if roll.due(now).is_some_and(|due| due <= now) {
            let (place, id) = (here.place.clone(), here.id);
            roll.begin(now, move || members(&place, id));
        }
        if session.is_none() {
            // A stranger that was told to begin, and has not, makes room for a member.
            let has_room = match &invited {
                Some(one) => !one.is_member && queue.has_member(now),
                None => true,
            };
            if has_room && let Some(next) = queue.next(now) {
                dialling.clear();
                around.let_go();
                invited = Some(Invited {
                    is_member: next.is_member,
                    beginning: Box::pin(invite(next.peer)),
                });
            }
            while invited.is_none()
                && dialling.len() < WAITING
                && let Some(found) = around.next(now)
            {
                dialling.push(Box::pin(approach(here, link, found)));
            }
        }
        for one in queue.turned_away() {
            while leaving.try_join_next().is_some() {}
            if leaving.len() < WAITING {
                leaving.spawn(async move {
                    let channel = one.peer.refuse(Refusal::Limit).await;
                    channel.finish(LAST_BYTES).await;
                });
            }
        }
        if session.is_some() {
            bar = None;
        } else if bar.is_none() {
            bar = Some(Progress::spinner("waiting for the other device"));
        }
        let (dial_at, read_at) = (around.due(), roll.due(now));
        let is_free = session.is_none() && invited.is_none() && dialling.len() < WAITING;
        tokio::select! {
            // A session hears of it by itself, and closes the copy.
            _ = &mut interrupt, if session.is_none() => {
                return if stays { Ok(()) } else { Err(interrupted()) };
            }
            caller = link.accept() => {
                let Some(caller) = caller else {
                    return Err(Failure::environment("the network endpoint closed"));
                };
                let (vault, identity) = (here.id, here.identity.clone());
                let origin = caller.origin();
                let one = greeting.spawn(async move {
                    // Whoever does not finish a handshake is nobody to this side.
                    let channel = caller.open().await.ok()?;
                    proved(channel, Side::Called, vault, identity).await
                });
                callers.retain(|one| !one.is_finished());
                if let Some(one) = callers.admit(origin, one) {
                    one.abort();
                }
            }
            Some(ended) = greeting.join_next(), if !greeting.is_empty() => {
                if let Ok(Some(arrived)) = ended {
                    let now = Instant::now();
                    let who = arrived.peer.member();
                    if roll.knows(&who) {
                        queue.admit_member(who, arrived, now);
                    } else if let Some(arrived) = roll.ask(who, arrived) {
                        queue.turn_away(arrived);
                    }
                }
            }
            judged = roll.judge() => {
                let now = Instant::now();
                for (who, arrived, is_member) in judged {
                    if is_member {
                        queue.admit_member(who, arrived, now);
                    } else {
                        queue.admit_stranger(who, arrived, now);
                    }
                }
            }
            seen = next(nearby.as_mut()) => match seen {
                // Both see each other; the one with the smaller key dials.
                Some(Sighting::Here(found)) if found.node > link.node() => {
                    around.here(found, Instant::now());
                }
                Some(Sighting::Here(_)) => {}
                Some(Sighting::Gone(node)) => around.gone(&node),
                None => nearby = None,
            },
            Some((node, ready)) = dialling.next(), if !dialling.is_empty() => {
                let now = Instant::now();
                let is_heard = ready.as_ref().is_some_and(|ready| {
                    let is_member = roll.knows(&ready.member());
                    if !is_member {
                        roll.doubt();
                    }
                    is_member || queue.hears(now)
                });
                match ready {
                    Some(ready) if is_heard => {
                        dialling.clear();
                        around.let_go();
                        let is_member = roll.knows(&ready.member());
                        session = Some(Box::pin(hold(here, node, is_member, ready)));
                    }
                    _ => around.failed(&node, now),
                }
            }
            (node, ready) = ends(invited.as_mut().map(|one| &mut one.beginning)) => {
                let is_member = invited.take().is_some_and(|one| one.is_member);
                // Whoever goes before it begins has other things to do; it comes again.
                if let Some(ready) = ready {
                    session = Some(Box::pin(hold(here, node, is_member, ready)));
                }
            }
            met = ends(session.as_mut()) => {
                session = None;
                roll.doubt();
                match met.outcome {
                    Ok(()) if stays => {
                        around.met(met.node);
                        if !met.is_member {
                            queue.introduced();
                        }
                    }
                    Ok(()) => return Ok(()),
                    Err(Unmet::Interrupted) => return Err(interrupted()),
                    // Somebody else may come, or the same device again.
                    Err(Unmet::Failed(failure)) => {
                        let _ = failure.report(here.json);
                        around.failed(&met.node, Instant::now());
                    }
                }
            }
            () = until(dial_at), if is_free => {}
            () = until(read_at) => {}
        }
    }
}

/// Dials somebody nearby. It says when a session can begin.
async fn approach(here: &Here, link: &Link, found: Ticket) -> (NodeId, Option<Ready<Channel>>) {
    let beginning = async {
        let channel = link.dial(&found).await.ok()?;
        let identity = here.identity.clone();
        proved(channel, Side::Dialled, here.id, identity).await
    };
    match beginning.await {
        Some(arrived) => invite(arrived).await,
        None => (found.node, None),
    }
}

/// Waits until a session can begin: the side that was called says so by this.
async fn invite(arrived: Arrived) -> (NodeId, Option<Ready<Channel>>) {
    let node = arrived.node;
    match arrived.peer.ready().await {
        Ok(ready) => (node, Some(ready)),
        Err(error) => {
            tracing::debug!(?node, %error, "there is no session");
            (node, None)
        }
    }
}

/// One session.
async fn hold(here: &Here, node: NodeId, is_member: bool, ready: Ready<Channel>) -> Met {
    Met {
        node,
        is_member,
        outcome: meet(here, ready).await,
    }
}

/// The end of what is under way; never, if there is nothing.
async fn ends<T>(underway: Option<&mut LocalBoxFuture<'_, T>>) -> T {
    match underway {
        Some(underway) => underway.await,
        None => std::future::pending().await,
    }
}

/// A moment; never, if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Whoever is at the other end, with its node, if it proves who that is.
async fn proved(
    channel: Channel,
    side: Side,
    vault: VaultId,
    identity: Arc<Identity>,
) -> Option<Arrived> {
    let node = channel.peer();
    match greet(channel, side, vault, identity).await {
        Ok(peer) => Some(Arrived { node, peer }),
        Err(error) => {
            tracing::debug!(?node, %error, "somebody did not prove to be anybody");
            None
        }
    }
}

/// Who is a member, as far as is known here; none if that cannot be read. The control logs say so to everybody; the vault is not
/// held for that.
fn members(place: &Place, id: VaultId) -> Option<BTreeSet<MemberId>> {
    let environment = Environment::of_this_computer();
    let now = Time::from_millis(environment.clock.now_ms());
    let options = Open {
        expect: Some(id),
        ..Open::reading(Key::None)
    };
    match Vault::open(environment, place, options) {
        Ok(mut vault) => {
            let grants = vault.grants().into_iter().filter(|grant| {
                matches!(grant.standing, GrantStanding::Valid)
                    && grant.expires.is_none_or(|end| end >= now)
            });
            Some(grants.map(|grant| grant.card.member()).collect())
        }
        Err(error) => {
            tracing::debug!(%error, "who is a member cannot be read");
            None
        }
    }
}

/// The next node nearby; never, if none are looked for.
async fn next(nearby: Option<&mut tally_link::Nearby>) -> Option<Sighting> {
    match nearby {
        Some(nearby) => nearby.next().await,
        None => std::future::pending().await,
    }
}

/// Why a session did not come to its end.
enum Unmet {
    /// The person at the terminal.
    Interrupted,
    /// Something else.
    Failed(Failure),
}

impl From<Failure> for Unmet {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// One session, and its report.
async fn meet(here: &Here, ready: Ready<Channel>) -> Result<(), Unmet> {
    let mut copy = open_copy(here).await?;
    let (moved, bar) = (copy.moved(), Progress::spinner("comparing"));
    let ended = tokio::select! {
        ended = ready.synchronise(&mut copy) => Some(ended),
        () = show(&moved, &bar) => None,
        _ = tokio::signal::ctrl_c() => None,
    };
    drop(bar);
    let (result, channel) = match ended {
        // The channel was dropped, which tells the peer.
        None => (Err(Unmet::Interrupted), None),
        Some((ended, channel)) => {
            let result = match ended.result {
                Ok(()) => Ok(ended.report),
                Err(error) => Err(Unmet::Failed(unfinished(error, ended.report.peer, broken))),
            };
            (result, Some(channel))
        }
    };
    let outcome = close(here, copy, result);
    // Nobody waits for the vault while these are delivered.
    if let Some(channel) = channel {
        channel.finish(LAST_BYTES).await;
    }
    outcome
}

/// Closes the copy, and reports. Whatever arrived whole is kept, however the session ended.
fn close(here: &Here, copy: DiskCopy, result: Result<Report, Unmet>) -> Result<(), Unmet> {
    let vault = copy.finish().map_err(broken)?;
    let report = result?;
    let mut vault = vault.ok_or_else(|| Failure::no("the other device gave nothing"))?;
    say_report(here, &mut vault, &report)?;
    Ok(())
}

/// Shows what moves, for as long as it is polled.
async fn show(moved: &Moved, bar: &Progress) {
    let read = |number: &AtomicU64| grouped(number.load(Ordering::Relaxed));
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        bar.says(format!(
            "frames: {} in, {} out; large contents: {} bytes in, {} out",
            read(&moved.frames_in),
            read(&moved.frames_out),
            read(&moved.blob_bytes_in),
            read(&moved.blob_bytes_out)
        ));
    }
}

/// Opens this side's copy for a session, or begins one.
async fn open_copy(here: &Here) -> Result<DiskCopy, Failure> {
    let environment = Environment::of_this_computer();
    if !here.place.folder.join("VAULT").exists() {
        return DiskCopy::empty(environment, &here.place, here.id).map_err(broken);
    }
    let begun = Instant::now();
    loop {
        let seed = Seed::from_bytes(*here.identity.seed().expose());
        let identity = Identity::new(here.identity.card().kind(), seed);
        let open = |key| {
            let options = Open {
                expect: Some(here.id),
                ..Open::writing(key)
            };
            Vault::open(environment.clone(), &here.place, options)
        };
        let opened = match open(Key::Member(identity)) {
            // A first session that broke before the grants came: it goes on without the key.
            Err(OpenError::Stranger { .. }) => open(Key::None),
            opened => opened,
        };
        match opened {
            Ok(mut vault) => {
                announce_closed(&mut vault);
                return DiskCopy::of(vault).map_err(broken);
            }
            Err(OpenError::InUse) if begun.elapsed() < LOCK_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(opening(error, &here.place.folder)),
        }
    }
}

fn say_report(here: &Here, vault: &mut Vault, report: &Report) -> Outcome {
    let names = Names::of(vault)?;
    let peer = report
        .peer
        .map_or_else(|| "another device".to_owned(), |peer| names.text(&peer));
    if here.json {
        let counts = |counts: &tally_vault_sync::Counts| serde_json::json!({ "frames": counts.frames, "keyrings": counts.keyrings, "slots": counts.slots, "blobs": counts.blobs });
        super::answer(
            vault,
            serde_json::json!({
                "peer": report.peer.map(|peer| peer.to_string()), "name": peer,
                "came": counts(&report.kept), "went": counts(&report.sent), "declined": report.declined, "withheld": report.withheld,
                "rounds": report.rounds, "bytes_sent": report.bytes_sent, "bytes_received": report.bytes_received,
            }),
        );
        return Ok(());
    }
    let line = |counts: &tally_vault_sync::Counts| {
        format!(
            "{} frames, {} keyrings, {} slots, {} large contents",
            grouped(counts.frames),
            counts.keyrings,
            counts.slots,
            grouped(counts.blobs)
        )
    };
    eprintln!("in step with {}", printable(&peer));
    eprintln!(
        "  came  {} ({} bytes)",
        line(&report.kept),
        grouped(report.bytes_received)
    );
    eprintln!(
        "  went  {} ({} bytes)",
        line(&report.sent),
        grouped(report.bytes_sent)
    );
    if report.withheld > 0 {
        eprintln!(
            "tally: {} frames were named and did not come; another device may have them",
            grouped(report.withheld)
        );
    }
    Ok(())
}

/// Who must act when a session ends early, or does not begin. `copy_failed` says it where this side's copy is at fault.
fn unfinished<E: std::error::Error + 'static>(
    error: SyncError<E>,
    peer: Option<MemberId>,
    copy_failed: impl FnOnce(E) -> Failure,
) -> Failure {
    let peer = peer.map_or_else(|| "it".to_owned(), |peer| peer.to_string());
    match error {
        SyncError::Channel(_) => {
            Failure::environment(with_source(&error)).advise("sync again: it goes on where it broke off")
        }
        SyncError::Peer(Fault::OtherVault) | SyncError::Refused(Refusal::Vault) => {
            Failure::no("the other device has not got this vault")
                .advise("take a ticket that `tally vault sync` printed for it")
        }
        SyncError::Peer(Fault::NotSync | Fault::Version(_)) | SyncError::Refused(Refusal::Version) => {
            Failure::environment(&error).advise("use the same version of tally on both devices")
        }
        SyncError::Peer(Fault::Silent | Fault::TooSlow | Fault::TooMuch(_)) | SyncError::Refused(Refusal::Limit | Refusal::Internal) => {
            Failure::environment(&error).advise("sync again: it goes on where it broke off")
        }
        SyncError::Peer(_) => Failure::no(&error).advise(
            "nothing that does not verify was kept; tally vault check on the other device says what is wrong with its copy",
        ),
        SyncError::Refused(Refusal::NotAMember) => {
            Failure::no("this key is no member of the vault, as far as the other device knows").advise(
                "share with it there: tally vault card prints this device's card, tally vault share --card takes it; an agent's: tally vault card --agent NAME",
            )
        }
        SyncError::Refused(Refusal::FormerMember) => {
            Failure::no("this key was removed from the vault, or its grant has ended")
                .advise("whoever owns the vault can share with it again")
        }
        SyncError::Declined(Refusal::NotAMember) => {
            Failure::no(format_args!("somebody called who is no member of this vault: {peer}"))
                .advise("nothing was given to it")
        }
        SyncError::Declined(Refusal::FormerMember) => Failure::no(format_args!(
            "somebody called who was removed from this vault, or whose grant has ended: {peer}"
        ))
        .advise("it heard of that, and got nothing else"),
        SyncError::Replica(error) => copy_failed(error),
        SyncError::Refused(_) | SyncError::Declined(_) => Failure::no(&error),
    }
}

/// Who must act when the other device proved who it is, and does not begin.
fn not_begun(error: SyncError<Infallible>) -> Failure {
    match error {
        SyncError::Refused(Refusal::Limit) | SyncError::Peer(Fault::Silent) => {
            Failure::environment("the other device did not begin a session").advise(
                "sync again in a minute: it may be in a session with another device; and whom it does not know as a member yet, it hears once a minute",
            )
        }
        error => unfinished(error, None, |never| match never {}),
    }
}

/// Who must act when the copy cannot be read or written.
fn broken(error: CopyError) -> Failure {
    match error {
        CopyError::NotEmpty { .. } | CopyError::ReadOnly => Failure::misuse(&error),
        CopyError::Open(error) => opening(error, std::path::Path::new("the folder")),
        CopyError::Write(error) => writing(error),
        _ => Failure::environment(&error)
            .advise("what was acknowledged is on the disk; sync again when it can be written"),
    }
}

fn unreachable_node(error: DialError, ticket: &Ticket, args: &Sync) -> Failure {
    // A relay of somebody else's choice is named, and used only if this side's owner says so.
    let named = ticket.addresses.iter().find_map(|way| match way {
        Address::Relay(url) => Some(url),
        Address::Direct(_) => None,
    });
    match (error, named) {
        (error @ DialError::Own, _) => Failure::misuse(&error).advise("use it on the other device"),
        (error, Some(url)) if args.relay.is_none() => Failure::environment(with_source(&error))
            .advise(format_args!(
                "the other device is reached by a relay, too; if that is yours: --relay {}",
                printable(url)
            )),
        (error, _) => Failure::environment(with_source(&error)).advise(
            "is `tally vault sync` still waiting there, and do both share a network? A new ticket has its present addresses; on one local network, --lan on both finds them",
        ),
    }
}

fn interrupted() -> Failure {
    Failure::environment("interrupted; what had arrived whole is kept")
        .advise("sync again: it goes on where it broke off")
}

/// An error, and what it rests on.
fn with_source(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(source) = below {
        text.push_str(": ");
        text.push_str(&source.to_string());
        below = source.source();
    }
    printable(&text)
}

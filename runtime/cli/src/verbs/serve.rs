//! `tally serve`: memory over HTTP: MemSync REST, an MCP server, the console. `docs/gateway.md` says what each answers.
//!
//! It listens on this machine only, unless it is told otherwise in so many words. Every request shows an API key; the console is
//! opened with a link that is printed here and works once, or with a key.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::Args as ClapArgs;
use tally_durable::Access;
use tally_gateway::{
    CallInfo, Config, FileReader, Gateway, GrantInfo, KeyKeeper, KeyRing, Scope, ServiceError,
    UnixMs,
};
use tally_memory::{Memory, Moment, Options, SharedVault};
use tally_memory_service::{Model, VaultMemory};
use tally_vault::Vault;
use tally_vault::format::{GrantId, Time};
use tally_vault::state::GrantStanding;

use crate::address::{own_name, shown};
use crate::calls::Calls;
use crate::explorer::{Verifier, Watched};
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::keeper::{Keeper, Receipts};
use crate::memories::{self, Keeping, Rerank, WhichMemory, loading};
use crate::network::Network;
use crate::own::{self, Host};
use crate::reading;
use crate::settling::Asked;
use crate::setup;
use crate::ui::{grouped, printable, say};
use crate::vaults::{Names, namespace_text};

/// Serve memory over HTTP.
#[derive(ClapArgs)]
#[command(
    after_help = "Examples:\n  tally serve\n  tally serve --listen 127.0.0.1:8000 --no-learn\n  tally serve --listen 0.0.0.0:7411 --allow-remote --name memory.example.org      behind a proxy with TLS\n  tally serve --listen 0.0.0.0:7411 --allow-remote --name memory.example.org --proxy 172.18.0.2      one in a container\n  tally serve --origin https://app.example      whose pages may call it, with a key\n\n\
                  For an MCP client that starts its servers: tally memory mcp --as NAME"
)]
pub(crate) struct Args {
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7411")]
    listen: SocketAddr,
    /// Listen on an address that other machines reach. Nothing is encrypted here: put a proxy with TLS before it.
    #[arg(long)]
    allow_remote: bool,
    /// A name by which the server is called, beside localhost. May be given several times.
    #[arg(long, value_name = "HOST")]
    name: Vec<String>,
    /// The address of a proxy that is not on this machine: all its clients have it, so it may have more connections than others. May be
    /// given several times.
    #[arg(long, value_name = "ADDRESS")]
    proxy: Vec<IpAddr>,
    /// An origin from which pages in a browser may call it, such as https://app.example. May be given several times.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    origin: Vec<String>,
    /// Answer without API keys. Everybody and every program on this machine can then read and change the memory.
    #[arg(long, conflicts_with = "allow_remote")]
    no_keys: bool,
    /// Requests of one key in a minute.
    #[arg(long, value_name = "N", default_value_t = 100)]
    rate: u32,
    #[command(flatten)]
    learning: Learning,
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    which: WhichMemory,
    #[command(flatten)]
    rerank: Rerank,
    #[command(flatten)]
    settling: Asked,
    #[command(flatten)]
    verifier: Verifier,
}

/// Whether and with what facts are learnt.
#[derive(ClapArgs)]
pub(crate) struct Learning {
    /// Keep and find what is said, and learn no facts from it.
    #[arg(long)]
    no_learn: bool,
    /// The chat model to learn with, unless nothing is learnt, and to put a bio into words for whoever asks for that; else the default
    /// one.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
}

pub(crate) fn run(args: &Args, json: bool) -> Outcome {
    check_address(args)?;
    let ring_path = keys_path()?;
    let ring = read_ring(&ring_path)?;
    let has_keys = !ring.is_empty();
    if args.allow_remote && !has_keys {
        return Err(
            Failure::misuse("a server that other machines reach needs an API key first")
                .advise("start it once without --allow-remote: it makes a key and shows it"),
        );
    }
    let home = Home::open()?;
    let keeper = args.settling.of_server(&home)?;
    let receipts = Receipts::of(keeper.as_ref());
    let (service, _open) = open(
        &args.which,
        &args.rerank,
        &args.learning,
        args.keeping,
        receipts,
    )?;
    let mut config = Config::default();
    config.names.extend(args.name.iter().cloned());
    config.names.extend(own_name(args.listen.ip()));
    config.origins.clone_from(&args.origin);
    config.per_minute = args.rate;
    config.open = args.no_keys;
    config.files = FileReader::new(reading::detect, reading::read);
    let runtime = crate::runtime()?;
    let network = match &keeper {
        Some(keeper) => Some(keeper.network().clone()),
        None => args.settling.network.find(&home)?,
    };
    let is_own = network
        .as_ref()
        .is_some_and(|network| network.own.is_some());
    // Before a node is waited for: an address that is taken is said at once.
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind(args.listen))
        .or_environment(format_args!("listen on {}", args.listen))
        .map_err(|failure| failure.advise("name another port: --listen 127.0.0.1:PORT"))?;
    let (mut endpoint, mut _node) = (None, None);
    if let Some(network) = network {
        match runtime.block_on(watch(&network, keeper.clone(), &home)) {
            Ok((node, watched)) => {
                _node = node;
                endpoint = Some(watched.endpoint());
                config.ledger = Some(watched.explorer(&args.verifier)?);
            }
            // Nobody need have named it, and memory is served all the same.
            Err(failure) if is_own => {
                let reason = printable(failure.message());
                eprintln!("tally: this machine's own ledger is not shown: {reason}");
            }
            Err(failure) => return Err(failure),
        }
    }
    let of_keys: KeyKeeper = {
        let path = ring_path.clone();
        Arc::new(move |bytes| tally_durable::write_file(&path, bytes, Access::Owner))
    };
    let gateway = Gateway::new(config, Arc::new(service), ring, of_keys, Arc::new(clock));
    let first_key = if has_keys || args.no_keys {
        None
    } else {
        let issued = gateway
            .issue_key("first", &Scope::ALL, None)
            .or_environment("make an API key")?;
        Some(issued.key)
    };
    let secret = gateway
        .sign_in_secret()
        .or_environment("make a sign-in link")?;
    runtime.block_on(async {
        let address = listener.local_addr().or_environment("listen")?;
        let base = format!("http://{}", shown(address));
        let link = format!("{base}/console/sign-in?secret={secret}");
        if json {
            say!(
                "{}",
                serde_json::json!({
                    "address": address.to_string(), "rest": format!("{base}/v1"), "openapi": format!("{base}/v1/openapi.json"),
                    "mcp": format!("{base}/mcp"), "console": link, "api_key": first_key,
                    "settle": keeper.as_ref().map_or("none", |keeper| keeper.form()), "own_ledger": is_own,
                })
            );
        } else {
            say!("console  {link}");
            say!("         (the link signs in once; later: an API key)");
            say!("REST     {base}/v1          described by {base}/v1/openapi.json");
            say!("MCP      {base}/mcp");
            if let Some(key) = &first_key {
                say!("API key  {key}");
                say!("         (shown once; it may everything, keys included: make narrower ones in the console)");
            }
            if let Some(keeper) = &keeper {
                eprintln!(
                    "receipts settle in the background ({}); waiting now: {}",
                    keeper.form(),
                    keeper.standing().waiting.map_or_else(|| "?".to_owned(), grouped)
                );
                if is_own {
                    eprintln!("they settle on {}", own::ALONE);
                }
            }
            eprintln!("listening on {address}; end with ^C");
        }
        let settling = keeper
            .as_ref()
            .map(|keeper| tokio::spawn(Arc::clone(keeper).settle(home)));
        let served =
            tally_gateway::serve_behind(listener, gateway.router(), &args.proxy, ended()).await;
        if let Some(settling) = settling {
            settling.abort();
        }
        if let Some(endpoint) = endpoint {
            endpoint.close().await;
        }
        if let Some(keeper) = keeper {
            keeper.say_what_waits();
        }
        served.or_environment("serve")
    })
}

/// The network that is shown, and its node where that is run here.
async fn watch(
    network: &Network,
    keeper: Option<Arc<Keeper>>,
    home: &Home,
) -> Result<(Option<Host>, Watched), Failure> {
    let (node, folders) = match &network.own {
        Some(own) => (Some(own.host(home).await?), vec![own.evidence()]),
        None => (None, Vec::new()),
    };
    let start = network.start(home);
    Ok((node, Watched::new(network, start, folders, keeper).await?))
}

/// What keeps models running while a memory is served.
pub(crate) struct Open {
    _models: setup::Models,
    _runtime: tokio::runtime::Runtime,
}

/// The memory, as the faces see it.
pub(crate) fn open(
    which: &WhichMemory,
    rerank: &Rerank,
    learning: &Learning,
    keeping: Keeping,
    receipts: Receipts,
) -> Result<(VaultMemory, Open), Failure> {
    let options = Options {
        identifiers: keeping.identifiers(),
        ..Options::default()
    };
    // Opened for reading: each write takes the vault's lock for itself, so that other programs go on.
    let vault: SharedVault = Arc::new(Mutex::new(which.vault.read()?));
    let mut opened = which.open_shared(Arc::clone(&vault), options, receipts)?;
    opened.rerank(rerank)?;
    let learner = if learning.no_learn {
        None
    } else {
        let second = Memory::open_with(
            Arc::clone(&vault),
            &which.namespace,
            options,
            opened.embedder.clone(),
        )
        .map_err(loading)?;
        let chat = opened.chat(learning.model.as_deref());
        Some((second, Box::new(chat) as Model))
    };
    let phraser = opened.chat_for("phrase", learning.model.as_deref());
    let memories::Opened {
        memory,
        models,
        calls,
        runtime,
        ..
    } = opened;
    Ok((
        VaultMemory::new(
            vault,
            memory,
            learner,
            Arc::new(|| Moment::of_clock(now_ms())),
            Arc::new(grants),
        )
        .phrasing_with(Arc::new(phraser))
        .showing_noted(Arc::new(move |limit| noted(&calls, limit))),
        Open {
            _models: models,
            _runtime: runtime,
        },
    ))
}

/// An origin as browsers send it. One that is written otherwise would be equal to none.
fn origin(text: &str) -> Result<String, String> {
    let is_name = |text: &str, others: &[u8]| {
        let is_of_it =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || others.contains(&byte);
        !text.is_empty() && text.bytes().all(is_of_it)
    };
    match text.split_once("://") {
        Some((scheme, host)) if is_name(scheme, b"-+.") && is_name(host, b"-._:[]") => {
            Ok(text.to_owned())
        }
        _ => Err(
            "an origin is a scheme, a host in lower case and its port if it has one, without a path: https://app.example"
                .to_owned(),
        ),
    }
}

fn check_address(args: &Args) -> Outcome {
    if args.listen.ip().is_loopback() || args.allow_remote {
        return Ok(());
    }
    Err(Failure::misuse(format_args!(
        "{} is an address that other machines reach",
        args.listen.ip()
    ))
    .advise("if that is meant: --allow-remote, with a proxy with TLS before it; else --listen 127.0.0.1:PORT"))
}

/// `$TALLY_HOME/gateway/keys.json`
fn keys_path() -> Result<PathBuf, Failure> {
    let folder = Home::open()?.path().join("gateway");
    tally_durable::create_folder(&folder, Access::Owner)
        .or_environment(format_args!("create {}", folder.display()))?;
    Ok(folder.join("keys.json"))
}

fn read_ring(path: &Path) -> Result<KeyRing, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => KeyRing::from_json(&bytes).map_err(|error| {
            Failure::environment(format_args!("{}: {error}", path.display()))
                .advise("restore it from a copy; or move it away, and new keys are made")
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(KeyRing::default()),
        Err(error) => Err(error).or_environment(format_args!("read {}", path.display())),
    }
}

fn clock() -> UnixMs {
    UnixMs(i64::try_from(now_ms()).unwrap_or(i64::MAX))
}

fn now_ms() -> u64 {
    use tally_vault::Clock as _;
    tally_vault::SystemClock.now_ms()
}

/// Who may use the vault, as the console shows it.
fn grants(vault: &mut Vault) -> Result<Vec<GrantInfo>, ServiceError> {
    let names =
        Names::of(vault).map_err(|failure| ServiceError::Failed(failure.message().to_owned()))?;
    let now = Time::from_millis(now_ms());
    Ok(vault
        .grants()
        .into_iter()
        .filter(|row| row.id != GrantId::ROOT)
        .map(|row| GrantInfo {
            name: names.text(&row.card.member()),
            kind: row.card.kind().name().to_owned(),
            rights: row
                .rights
                .iter()
                .map(|(space, right)| format!("{} {}", right.name(), namespace_text(vault, space)))
                .collect(),
            until: row
                .expires
                .map(|end| UnixMs(i64::try_from(end.millis()).unwrap_or(i64::MAX))),
            revoked: row.standing != GrantStanding::Valid
                || row.expires.is_some_and(|end| end < now),
        })
        .collect())
}

/// What this machine noted of calls, as the console shows it: the newest first.
fn noted(calls: &Calls, limit: usize) -> Result<Vec<CallInfo>, ServiceError> {
    let (noted, _) = calls.read().map_err(|error| {
        ServiceError::Failed(format!("read what this machine noted of calls: {error}"))
    })?;
    Ok(noted
        .into_iter()
        .rev()
        .take(limit)
        .map(|call| CallInfo {
            at: UnixMs(i64::try_from(call.at).unwrap_or(i64::MAX)),
            purpose: call.purpose,
            model: call.model,
            prompt_tokens: call.prompt_tokens.into(),
            output_tokens: call.output_tokens.into(),
            took_ms: call.took_ms,
            outcome: match (call.error, call.texts) {
                (Some(class), _) => format!("failed: {class}"),
                (None, 1) => "1 text".to_owned(),
                (None, several) => format!("{several} texts"),
            },
            receipt: call.receipt,
            is_noted: true,
        })
        .collect())
}

/// Ready when somebody ends the program.
async fn ended() {
    let mut terminated =
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(signal) => signal,
            Err(error) => {
                tracing::warn!("listen for SIGTERM: {error}");
                let _ = tokio::signal::ctrl_c().await;
                return;
            }
        };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

/// A gateway for one client of this process, without keys and without HTTP.
pub(crate) fn private_gateway(service: VaultMemory) -> Gateway {
    Gateway::new(
        Config::default(),
        Arc::new(service),
        KeyRing::default(),
        Arc::new(|_| Ok(())),
        Arc::new(clock),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_taken_as_browsers_send_it_and_not_otherwise() {
        for fine in [
            "https://app.example",
            "http://localhost:3000",
            "http://[::1]:8000",
            "chrome-extension://abcdefgh",
        ] {
            assert_eq!(origin(fine).as_deref(), Ok(fine));
        }
        for wrong in [
            "*",
            "null",
            "app.example",
            "https://",
            "https://app.example/",
            "https://App.example",
            "https://*.example",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }
}

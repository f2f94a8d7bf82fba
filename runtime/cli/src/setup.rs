//! What a verb needs to run agents on this machine: engine, components, models, grants, a screen.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tally_capability::{Budgets, Capabilities, Grant};
use tally_engine::contract::{Attachment, Input, Level};
use tally_engine::{
    Component, ComponentKind, Engine, EngineOptions, LoadError, LoadStep, OutputSink, Services,
    Signing, ToolPlugin,
};
use tally_inference::{
    AddOptions, ModelKind, ModelName, ModelRecord, ModelStore, Service, ServiceOptions, Signer,
    WorkerCommand,
};
use tally_receipt::{Digest, SigningKey};

use crate::adapt::{Kept, LocalModels};
use crate::embedder::chosen;
use crate::failure::{Failure, OrFail};
use crate::home::Home;
use crate::local_model::{must_be, store_failure};
use crate::ui::{Progress, printable};

/// The engine, with compiled code kept between commands.
pub(crate) fn engine(home: Option<&Home>) -> Result<Engine, Failure> {
    let cache_dir = home.map(Home::compiled).transpose()?;
    Engine::new(&EngineOptions {
        cache_dir,
        native_slots: 64,
        interpreted_slots: 16,
    })
    .or_environment("set up the WebAssembly engine")
}

/// Reads and compiles one component.
pub(crate) fn load(engine: &Engine, path: &Path) -> Result<Component, Failure> {
    let bytes = read_component(path)?;
    let mut progress = None;
    engine
        .load(&bytes, |step| match step {
            LoadStep::Compiling { .. } => {
                progress = Some(Progress::spinner(format!("compiling {}", path.display())))
            }
            LoadStep::FromCache | LoadStep::Compiled { .. } => progress = None,
        })
        .map_err(|error| unusable(path, &error))
}

/// Reads a file that should be a component.
pub(crate) fn read_component(path: &Path) -> Result<Vec<u8>, Failure> {
    let size = std::fs::metadata(path)
        .or_misuse(format_args!("read {}", path.display()))?
        .len();
    if size > tally_engine::COMPONENT_LEN_MAX as u64 {
        return Err(Failure::misuse(format_args!(
            "{} has {size} bytes, more than any component",
            path.display()
        )));
    }
    std::fs::read(path).or_misuse(format_args!("read {}", path.display()))
}

/// A file that cannot run.
pub(crate) fn unusable(path: &Path, error: &LoadError) -> Failure {
    Failure::misuse(format_args!("{} cannot run: {error}", path.display()))
}

/// A plugin as it stands on the command line: `FILE` or `FILE=GRANT`.
#[derive(Clone, Debug)]
pub(crate) struct ToolArg {
    pub(crate) component: PathBuf,
    grant: Option<PathBuf>,
}

impl std::str::FromStr for ToolArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (component, grant) = match text.split_once('=') {
            Some((component, grant)) => (component, Some(PathBuf::from(grant))),
            None => (text, None),
        };
        if component.is_empty() {
            return Err("name the plugin's file, FILE or FILE=GRANT".into());
        }
        Ok(Self {
            component: component.into(),
            grant,
        })
    }
}

/// How a component that asks for something is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// It gets what its manifest asks for.
    AsAsked,
    /// The person at the terminal is asked; without a terminal it gets nothing.
    Ask,
}

/// The grant for a component: from a file, or by consent.
pub(crate) fn grant(
    component: &Component,
    path: &Path,
    file: Option<&Path>,
    consent: Consent,
) -> Result<Grant, Failure> {
    if let Some(file) = file {
        let bytes = std::fs::read(file).or_misuse(format_args!("read {}", file.display()))?;
        return Grant::from_bytes(&bytes)
            .or_misuse(format_args!("use {} as a grant", file.display()))
            .map_err(|failure| failure.advise("docs/manifest.md lists every key"));
    }
    let manifest = component.manifest();
    if consent == Consent::AsAsked || asks_for_nothing(manifest.capabilities()) {
        return Ok(Grant::as_asked(manifest));
    }
    let mut stderr = std::io::stderr();
    if std::io::stdin().is_terminal() && stderr.is_terminal() {
        eprintln!("{} asks:", path.display());
        for line in manifest.explain() {
            eprintln!(
                "  {} {}",
                if line.may { "•" } else { " " },
                printable(&line.sentence)
            );
        }
        eprint!("Grant this, for this run? [y/N] ");
        // A prompt that cannot be shown is answered by nobody, which is a no.
        let _ = stderr.flush();
        let mut answer = String::new();
        std::io::stdin()
            .read_line(&mut answer)
            .or_environment("read your answer")?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(Grant::as_asked(manifest));
        }
    } else {
        eprintln!(
            "tally: {} asks for more than nothing and nobody granted it: it runs with nothing. `tally agent inspect {0}` shows \
             what it asks for; grant it with --grant FILE, or all of it with --grant-asked",
            path.display()
        );
    }
    Ok(nothing())
}

/// No model, no tool, no setting, no randomness, no output; the default budgets.
fn nothing() -> Grant {
    Grant::new(Capabilities::default(), Budgets::default())
}

fn asks_for_nothing(capabilities: &Capabilities) -> bool {
    let Capabilities {
        models,
        tools,
        settings,
        vault,
        random,
        output,
    } = capabilities;
    models.is_empty()
        && tools.is_empty()
        && settings.is_empty()
        && vault.is_empty()
        && !random
        && !output
}

/// Makes plugins ready to be called.
pub(crate) async fn tools(
    engine: &Engine,
    args: &[ToolArg],
    consent: Consent,
) -> Result<Vec<ToolPlugin>, Failure> {
    let mut plugins = Vec::with_capacity(args.len());
    for arg in args {
        let component = load(engine, &arg.component)?;
        if component.kind() != ComponentKind::Tool {
            return Err(Failure::misuse(format_args!(
                "{} is an agent, not a tool plugin",
                arg.component.display()
            )));
        }
        let grant = grant(&component, &arg.component, arg.grant.as_deref(), consent)?;
        let name = arg
            .component
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        plugins.push(
            ToolPlugin::new(engine, name, component, &grant)
                .await
                .or_misuse(format_args!("use {} as a tool", arg.component.display()))?,
        );
    }
    Ok(plugins)
}

/// The models of this machine, and what keeps them running.
pub(crate) struct Models {
    pub(crate) inference: Arc<LocalModels>,
    pub(crate) service: Service,
    /// Receipts as they were made, with what opens them.
    pub(crate) kept: Kept,
}

/// The model that comes with the program, so that a fresh machine has one: a toy, as its card (`models/nano`) says.
pub(crate) const BUILTIN_NAME: &str = "tally-nano";
static BUILTIN: &[u8] = include_bytes!("../../../models/nano/tally-nano.q8_0.gguf");

/// Its BLAKE3, so that nobody has to compute it to see that a store has it.
const BUILTIN_WEIGHTS: &str = "b955292b251a49fc08f1acacdfd07a6009fd8a61e734a74d0e5667f56cd3f0e5";

/// This machine's store of models. One that holds nothing yet gets the model that comes with the program; one that has such a model of
/// another version of the program gets this one under its name, and keeps the other under its name and digest. Records that cannot
/// be read are named and passed over.
pub(crate) async fn store(home: &Home) -> Result<ModelStore, Failure> {
    let store = ModelStore::open(home.models()?);
    let listing = store.survey().await.map_err(store_failure)?;
    for damaged in &listing.damaged {
        eprintln!("tally: passed over: {}", printable(&damaged.to_string()));
    }
    let records = listing.models;
    let own =
        std::fs::canonicalize(home.models()?).or_environment("look at the folder of models")?;
    // As a record writes it.
    let own = PathBuf::from(own.to_string_lossy().into_owned());
    // A model that somebody else called so came from somewhere else.
    let is_old = |record: &&ModelRecord| {
        record.name.as_str() == BUILTIN_NAME
            && record.weights.to_string() != BUILTIN_WEIGHTS
            && record.source.parent() == Some(own.as_path())
    };
    if let Some(old) = records.iter().find(is_old) {
        let digest = old.weights.to_string();
        let aside = AddOptions {
            name: ModelName::parse(&format!("{BUILTIN_NAME}-{}", &digest[..8])),
            ..AddOptions::default()
        };
        // Before it loses its name, so that its weights always have a record. Two programs may do this at once.
        store
            .add(&store.weights_path(&old.weights), aside, |_, _| {})
            .await
            .map_err(store_failure)?;
        add_builtin(home, &store, true).await?;
        eprintln!(
            "tally: {BUILTIN_NAME} is the one of this version of the program now; the one before is {BUILTIN_NAME}-{}",
            &digest[..8]
        );
    } else if records.is_empty() {
        add_builtin(home, &store, true).await?;
    }
    Ok(store)
}

/// Adds the model that comes with the program. `takes_name` says whether a model that is called so already loses the name to it.
pub(crate) async fn add_builtin(
    home: &Home,
    store: &ModelStore,
    takes_name: bool,
) -> Result<ModelRecord, Failure> {
    let mut draft = tempfile::NamedTempFile::new_in(home.models()?)
        .or_environment("make a temporary file for the built-in model")?;
    draft
        .write_all(BUILTIN)
        .or_environment("write the built-in model")?;
    let options = AddOptions {
        name: ModelName::parse(BUILTIN_NAME),
        takes_name,
        ..AddOptions::default()
    };
    store
        .add(draft.path(), options, |_, _| {})
        .await
        .map_err(store_failure)
}

/// Starts the inference service over this machine's store. No worker runs until a model is asked for.
///
/// `first` is the model that a run uses when it names none; else the store's default. `embedding` is the one that makes its vectors, as
/// [`chosen`] finds it; that there is none is said to whoever asks for vectors, and ends nothing, unless one was named.
pub(crate) async fn models(
    home: &Home,
    key: &Arc<SigningKey>,
    first: Option<&str>,
    embedding: Option<&str>,
) -> Result<Models, Failure> {
    let store = store(home).await?;
    let first = match first {
        Some(name) => {
            let record = store.resolve(name).await;
            let record = record.map_err(store_failure)?;
            must_be(&record, ModelKind::Chat)?;
            Some(record)
        }
        None => store
            .default_model(ModelKind::Chat)
            .await
            .map_err(store_failure)?,
    };
    let mut known: Vec<(String, Digest)> = Vec::new();
    let records = store.list().await.map_err(store_failure)?;
    for record in first.iter().chain(&records) {
        let name = record.name.to_string();
        if !known.iter().any(|(other, _)| *other == name) {
            known.push((name, Digest::from_bytes(*record.weights.as_bytes())));
        }
    }
    // An empty variable names none.
    let embedding = embedding.filter(|name| !name.is_empty());
    let embedding = match chosen(&store, embedding).await {
        Ok(Some(record)) => Ok(record.name.to_string()),
        Ok(None) => Err(no_embedding_model(embedding).to_owned()),
        Err(failure) if embedding.is_some() => return Err(failure),
        // An agent is told, and its journal has it: nothing about the folders of this machine.
        Err(failure) if failure.is_environment() => {
            Err("the embedding models of this machine cannot be read".to_owned())
        }
        Err(failure) => Err(failure.message().to_owned()),
    };
    let service = Service::new(store, signer(key), service_options()?);
    let kept = Kept::default();
    Ok(Models {
        inference: LocalModels::new(service.clone(), known, embedding, kept.clone()),
        service,
        kept,
    })
}

/// Why [`chosen`] gave none.
pub(crate) fn no_embedding_model(asked: Option<&str>) -> &'static str {
    match asked {
        Some(_) => "no embedding model was asked for",
        None => "this machine has no embedding model",
    }
}

/// This program, as a worker.
pub(crate) fn worker_command() -> Result<WorkerCommand, Failure> {
    let program = std::env::current_exe()
        .or_environment("find this program's own file, which workers are started from")?;
    Ok(WorkerCommand {
        program,
        args: vec!["__worker".into()],
    })
}

/// How models are run: this program as worker, and what [`WORKER_MIB`] gives it.
pub(crate) fn service_options() -> Result<ServiceOptions, Failure> {
    let mut options = ServiceOptions::new(worker_command()?);
    let asked = std::env::var_os(WORKER_MIB);
    options.limits.memory_bytes = worker_memory(asked.as_deref(), cfg!(feature = "cuda"))?;
    Ok(options)
}

/// The environment variable with the most memory, in MiB, that a model's process may take beside its weights.
const WORKER_MIB: &str = "TALLY_WORKER_MIB";

/// As bytes; nothing bounds it where it is not set.
fn worker_memory(text: Option<&OsStr>, is_for_gpus: bool) -> Result<Option<u64>, Failure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if is_for_gpus {
        return Err(Failure::environment(format_args!(
            "{WORKER_MIB} cannot be kept by this program, which is built for GPUs: their driver reserves more addresses than any limit \
             that would mean something"
        ))
        .advise("unset it: nothing bounds a model's memory then"));
    }
    let mib = text.to_str().and_then(|text| text.parse::<u64>().ok());
    mib.filter(|mib| *mib > 0)
        .and_then(|mib| mib.checked_mul(1 << 20))
        .map(Some)
        .ok_or_else(|| {
            Failure::environment(format_args!(
                "{WORKER_MIB} is {text:?}, which is no number of MiB"
            ))
            .advise("give a whole number, as 4096 for 4 GiB, or unset it: nothing bounds a model's memory then")
        })
}

/// Signs with this machine's key, by this machine's clock and randomness.
pub(crate) fn signer(key: &Arc<SigningKey>) -> Signer {
    Signer::new(
        SigningKey::from_seed(&key.to_seed()),
        || {
            let since = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        },
        || {
            let mut salt = [0u8; 32];
            getrandom::fill(&mut salt)
                .expect("the system's random source worked when the key was read");
            salt
        },
    )
}

/// Everything a live run is given.
pub(crate) struct Live {
    pub(crate) services: Services,
    pub(crate) signing: Signing,
    pub(crate) models: Models,
}

pub(crate) async fn live(
    home: &Home,
    model: Option<&str>,
    embedding: Option<&str>,
) -> Result<Live, Failure> {
    let key = Arc::new(home.node_key()?);
    let models = models(home, &key, model, embedding).await?;
    Ok(Live {
        services: Services::system(models.inference.clone()),
        signing: Signing::new(key),
        models,
    })
}

/// What a run shows: to the person at the terminal as it comes, and kept for a report.
#[derive(Clone)]
pub(crate) struct Screen {
    quiet: bool,
    shown: Arc<Mutex<String>>,
}

impl Screen {
    /// `quiet` keeps what is shown for later and shows nothing.
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            shown: Arc::default(),
        }
    }

    /// What was shown.
    pub(crate) fn shown(&self) -> String {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl OutputSink for Screen {
    fn emit(&mut self, text: &str) -> std::io::Result<()> {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(text);
        if self.quiet {
            return Ok(());
        }
        let mut stdout = std::io::stdout().lock();
        let safe = if stdout.is_terminal() {
            printable(text)
        } else {
            text.to_owned()
        };
        stdout
            .write_all(safe.as_bytes())
            .and_then(|()| stdout.flush())
    }

    fn log(&mut self, frame: u32, level: Level, message: &str) -> std::io::Result<()> {
        let level = match level {
            Level::Debug => return Ok(()),
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        if self.quiet {
            return Ok(());
        }
        let who = if frame == 0 {
            "agent".to_owned()
        } else {
            format!("tool {frame}")
        };
        writeln!(
            std::io::stderr().lock(),
            "[{who} {level}] {}",
            printable(message)
        )
    }
}

/// Most bytes of one text on the command line or in a file that becomes input. The run's own limit is lower.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// The input of a run: `--input TEXT`, `@FILE` or `-`, and attachments.
pub(crate) fn input(text: &str, attachments: &[PathBuf]) -> Result<Input, Failure> {
    let text = match text.strip_prefix('@') {
        Some(path) => read_text(Path::new(path))?,
        None if text == "-" => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(
                &mut std::io::Read::take(std::io::stdin().lock(), MAX_TEXT_BYTES + 1),
                &mut bytes,
            )
            .or_environment("read the input from stdin")?;
            as_text(bytes, "stdin")?
        }
        None => text.to_owned(),
    };
    let attachments = attachments
        .iter()
        .map(|path| {
            let extension = path
                .extension()
                .and_then(|extension| extension.to_str())
                .unwrap_or_default();
            let media_type = match extension.to_ascii_lowercase().as_str() {
                "md" | "markdown" => "text/markdown",
                "html" | "htm" => "text/html",
                "csv" => "text/csv",
                "json" => "application/json",
                "toml" => "application/toml",
                _ => "text/plain",
            };
            Ok(Attachment {
                name: path
                    .file_name()
                    .unwrap_or(path.as_os_str())
                    .to_string_lossy()
                    .into_owned(),
                media_type: media_type.into(),
                text: read_text(path)?,
            })
        })
        .collect::<Result<_, Failure>>()?;
    Ok(Input { text, attachments })
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let size = std::fs::metadata(path)
        .or_misuse(format_args!("read {}", path.display()))?
        .len();
    if size > MAX_TEXT_BYTES {
        return Err(Failure::misuse(format_args!(
            "{} has {size} bytes; an input has at most {MAX_TEXT_BYTES}",
            path.display()
        ))
        .advise("shorten it, or give the agent a part of it at a time"));
    }
    as_text(
        std::fs::read(path).or_misuse(format_args!("read {}", path.display()))?,
        &path.display().to_string(),
    )
}

fn as_text(bytes: Vec<u8>, from: &str) -> Result<String, Failure> {
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(Failure::misuse(format_args!(
            "{from} has more than {MAX_TEXT_BYTES} bytes"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        Failure::misuse(format_args!(
            "{from} is not UTF-8 text: byte {} is part of no character",
            error.utf8_error().valid_up_to()
        ))
        .advise("convert it to text first: agents are given text")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_s_memory_is_a_whole_number_of_mib_or_unbounded() {
        let memory = |text: &str| worker_memory(Some(OsStr::new(text)), false);
        assert!(matches!(worker_memory(None, false), Ok(None)));
        assert!(matches!(memory(""), Ok(None)));
        assert!(matches!(memory("4096"), Ok(Some(bytes)) if bytes == 4 << 30));
        for bad in ["0", "-1", "4GiB", " 1", "1.5", "18446744073709551615"] {
            let failure = memory(bad).expect_err(bad);
            assert!(failure.is_environment(), "{bad}");
            assert!(failure.message().contains(WORKER_MIB), "{failure:?}");
        }
    }

    #[test]
    fn a_program_for_gpus_refuses_a_limit_that_it_could_not_run_under() {
        let memory = |text: &str| worker_memory(Some(OsStr::new(text)), true);
        assert!(matches!(worker_memory(None, true), Ok(None)));
        assert!(matches!(memory(""), Ok(None)));
        let failure = memory("4096").expect_err("refused");
        assert!(failure.is_environment());
        assert!(failure.message().contains(WORKER_MIB), "{failure:?}");
    }

    #[test]
    fn the_built_in_model_is_the_one_whose_digest_is_written_here() {
        assert_eq!(blake3::hash(BUILTIN).to_hex().as_str(), BUILTIN_WEIGHTS);
    }
}

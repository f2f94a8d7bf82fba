//! `tally model`: weights on this machine.
//!
//! A file enters the store when our reader finds it whole and llama.cpp says that it can run it ([`judge`]); otherwise
//! the store stays as it was.

pub(crate) mod probe;
mod pull;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use tally_inference::{
    AddMode, AddOptions, GgufHeader, Listing, ModelKind, ModelName, ModelRecord, ModelStore,
    Removed, StoreError,
};

use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::local_model::store_failure;
use crate::setup::{self, BUILTIN_NAME};
use crate::ui::{Progress, grouped, printable, say, short};

/// What to do with weights.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Bring a model here from a hub, a server or a file, check it, and keep it.
    Pull(pull::Args),
    /// Hash a GGUF file and keep it.
    #[command(
        after_help = "Examples:\n  tally model add qwen2.5-0.5b-instruct-q8_0.gguf\n  tally model add model.gguf --name mine --default\n  tally model add /big/disk/model.gguf --name big --link\n  tally model add tally-nano                             the one that comes with the program, after a remove"
    )]
    Add(Add),
    /// The models there are.
    #[command(after_help = "Example:\n  tally model list --json")]
    List,
    /// What a file or a model of the store says about itself.
    #[command(
        after_help = "Examples:\n  tally model inspect qwen2.5-0.5b-instruct-q8_0\n  tally model inspect ./unknown.gguf"
    )]
    Inspect {
        /// A name, the beginning of a digest, or a file.
        model: String,
    },
    /// Choose the model of its kind (chat, embedding, reranking) that is used where none is named.
    #[command(
        after_help = "Examples:\n  tally model default qwen2.5-0.5b-instruct-q8_0\n  tally model default tally-recall.q8_0"
    )]
    Default {
        /// A name or the beginning of a digest.
        model: String,
    },
    /// Forget a model, and its weights when no other name has them.
    #[command(after_help = "Example:\n  tally model remove qwen2.5-0.5b-instruct-q8_0")]
    Remove {
        /// A name or the beginning of a digest.
        model: String,
    },
}

/// Hash a GGUF file and keep it.
#[derive(ClapArgs)]
pub(crate) struct Add {
    /// The GGUF file, or `tally-nano`, which comes with the program.
    file: PathBuf,
    /// What to call it; else by the file's name.
    #[arg(long)]
    name: Option<String>,
    /// Leave the file where it is and link to it, instead of copying.
    #[arg(long)]
    link: bool,
    /// Make it the model of its kind that is used where none is named.
    #[arg(long)]
    default: bool,
}

pub(crate) fn run(verb: Verb, json: bool) -> Outcome {
    let runtime = crate::runtime()?;
    runtime.block_on(async {
        // With the model that comes with the program, so that every verb sees the models that a run would.
        let home = Home::open()?;
        let store = setup::store(&home).await?;
        match verb {
            Verb::Pull(args) => pull::pull(&store, args, json).await,
            Verb::Add(args) if is_builtin(&args.file) => {
                add_builtin(&home, &store, args, json).await
            }
            Verb::Add(args) => add(&store, args, json).await,
            Verb::List => list(&store, json).await,
            Verb::Inspect { model } => inspect(&store, &model, json).await,
            Verb::Default { model } => {
                let record = store.set_default(&model).await.map_err(store_failure)?;
                show(&record, true, json);
                Ok(())
            }
            Verb::Remove { model } => remove(&store, &model, json).await,
        }
    })
}

async fn add(store: &ModelStore, args: Add, json: bool) -> Outcome {
    let name = args.name.as_deref().map(name).transpose()?;
    judge(&args.file, args.file.display()).await?;
    let size = std::fs::metadata(&args.file).map_or(0, |meta| meta.len());
    let bar = Progress::bytes(format!("hashing {}", args.file.display()), size);
    let mode = if args.link {
        AddMode::Link
    } else {
        AddMode::Copy
    };
    let record = store
        .add(
            &args.file,
            AddOptions {
                name,
                mode,
                ..AddOptions::default()
            },
            move |done, _| bar.at(done),
        )
        .await
        .map_err(store_failure)?;
    finish(
        store,
        record,
        args.default,
        json,
        serde_json::Value::default(),
    )
    .await
}

/// Whether the model that comes with the program is meant, and no file that happens to be called so.
fn is_builtin(file: &Path) -> bool {
    file == Path::new(BUILTIN_NAME) && !file.exists()
}

async fn add_builtin(home: &Home, store: &ModelStore, args: Add, json: bool) -> Outcome {
    if args.link || args.name.is_some() {
        return Err(Failure::misuse(format_args!(
            "{BUILTIN_NAME} comes with the program: it is added by its own name, and there is no file to link to"
        ))
        .advise(format_args!("tally model add {BUILTIN_NAME}")));
    }
    let record = setup::add_builtin(home, store, false).await?;
    let more = serde_json::Value::default();
    finish(store, record, args.default, json, more).await
}

/// Shows a model that is in the store now, and makes it the default of its kind when that was asked.
async fn finish(
    store: &ModelStore,
    record: ModelRecord,
    make_default: bool,
    json: bool,
    more: serde_json::Value,
) -> Outcome {
    if make_default {
        store
            .set_default(record.name.as_str())
            .await
            .map_err(store_failure)?;
    }
    let defaults = Defaults::of(store).await?;
    let is_default = defaults.has(&record);
    if json {
        let mut said = describe(&record, is_default);
        if let (Some(said), serde_json::Value::Object(more)) = (said.as_object_mut(), more) {
            said.extend(more);
        }
        say!("{said}");
        return Ok(());
    }
    show(&record, is_default, false);
    if is_default {
        return Ok(());
    }
    match store.default_or_only(record.kind()).await {
        Ok(Some(used)) if used.name != record.name => eprintln!(
            "{} {}; to change that: tally model default {}",
            match used.kind() {
                ModelKind::Chat => "runs that name no model use",
                ModelKind::Embedding => "memories use",
                ModelKind::Reranking => "`--rerank default` uses",
            },
            used.name,
            record.name
        ),
        // Its only one.
        Ok(_) => {}
        // What was asked is done; what comes next needs a choice.
        Err(error @ (StoreError::Undecided { .. } | StoreError::BadRecord { .. })) => {
            eprintln!("{error}");
        }
        Err(error) => return Err(store_failure(error)),
    }
    Ok(())
}

/// The default models of a store, at most one of each kind.
struct Defaults(Vec<ModelName>);

impl Defaults {
    async fn of(store: &ModelStore) -> Result<Self, Failure> {
        let mut names = Vec::new();
        for kind in [ModelKind::Chat, ModelKind::Embedding, ModelKind::Reranking] {
            names.extend(default_of(store, kind).await?.map(|record| record.name));
        }
        Ok(Self(names))
    }

    fn has(&self, record: &ModelRecord) -> bool {
        self.0.contains(&record.name)
    }
}

/// The default of this kind. One whose record is damaged was named when the store was opened, and the verbs of this file are
/// what mends it.
async fn default_of(store: &ModelStore, kind: ModelKind) -> Result<Option<ModelRecord>, Failure> {
    match store.default_model(kind).await {
        Err(StoreError::BadRecord { .. }) => Ok(None),
        found => found.map_err(store_failure),
    }
}

/// Why a file was not found good.
enum Judged {
    /// It is not a model that can be run here.
    Bad(Failure),
    /// It could not be read or judged; it may be good.
    Unable(Failure),
}

impl From<Judged> for Failure {
    fn from(judged: Judged) -> Self {
        match judged {
            Judged::Bad(failure) | Judged::Unable(failure) => failure,
        }
    }
}

/// Reads the header of a file and lets llama.cpp judge it. `what` is the file as the person knows it.
async fn judge(file: &Path, what: impl Display) -> Result<(), Judged> {
    let header = ModelStore::inspect(file)
        .await
        .map_err(|error| match error {
            StoreError::NotAModel { fault, .. } => {
                Judged::Bad(Failure::misuse(format_args!("{what}: {fault}")))
            }
            error => Judged::Unable(store_failure(error)),
        })?;
    match probe::refusal(file, &header.architecture).await {
        Ok(None) => Ok(()),
        Ok(Some(reason)) => Err(Judged::Bad(
            Failure::misuse(format_args!("{what}: {reason}"))
                .advise("nothing was added; docs/models.md lists models that are known to work"),
        )),
        Err(failure) => Err(Judged::Unable(failure)),
    }
}

fn name(text: &str) -> Result<ModelName, Failure> {
    ModelName::parse(text).ok_or_else(|| {
        Failure::misuse(format_args!("{text:?} cannot be a model's name"))
            .advise("letters, digits, dots, hyphens and underscores, a letter or digit first: for example my-model")
    })
}

async fn remove(store: &ModelStore, model: &str, json: bool) -> Outcome {
    let removed = store.remove(model).await.map_err(store_failure)?;
    if json {
        let weights = match &removed {
            Removed::Model(record) => Some(record.weights.to_string()),
            Removed::Damaged(_) => None,
        };
        say!(
            "{}",
            serde_json::json!({ "removed": removed.name(), "blake3": weights })
        );
        return Ok(());
    }
    eprintln!("removed {}", removed.name());
    if removed.name().as_str() == BUILTIN_NAME {
        eprintln!("it comes with the program; to have it again: tally model add {BUILTIN_NAME}");
    }
    let record = match removed {
        Removed::Model(record) => record,
        Removed::Damaged(_) => {
            eprintln!(
                "its record was damaged: which weights in {} were its is not known, and they stay",
                store.dir().join("weights").display()
            );
            return Ok(());
        }
    };
    let Listing {
        models: mut rest,
        damaged,
    } = store.survey().await.map_err(store_failure)?;
    if !damaged.is_empty() && rest.iter().all(|other| other.weights != record.weights) {
        eprintln!(
            "its weights stay in {}: a record that is damaged may be of them, too",
            store.weights_path(&record.weights).display()
        );
    }
    let kind = record.kind();
    if default_of(store, kind).await?.is_some() {
        return Ok(());
    }
    rest.retain(|other| other.kind() == kind);
    match (kind, rest.as_slice()) {
        (ModelKind::Chat, []) => eprintln!("no chat model is left"),
        // The only one is used without being chosen.
        (ModelKind::Embedding | ModelKind::Reranking, [] | [_]) => {}
        (_, [other, ..]) => eprintln!(
            "no {kind} model is the default now; choose one: tally model default {}",
            other.name
        ),
    }
    Ok(())
}

async fn list(store: &ModelStore, json: bool) -> Outcome {
    let records = store.list().await.map_err(store_failure)?;
    let defaults = Defaults::of(store).await?;
    if json {
        let models: Vec<_> = records
            .iter()
            .map(|record| describe(record, defaults.has(record)))
            .collect();
        say!("{}", serde_json::json!({ "models": models }));
    } else if records.is_empty() {
        eprintln!("no models. Bring one: tally model pull hf:owner/repo/file.gguf");
    } else {
        for record in &records {
            show(record, defaults.has(record), false);
        }
    }
    if !json {
        for left in tally_fetch::unfinished(&pull::dir(store)) {
            let then = if left.source.starts_with("file:") {
                "copies it again"
            } else {
                "goes on with it"
            };
            eprintln!(
                "unfinished: {}, {} of {} bytes; the command that began it {then}",
                printable(&left.source),
                grouped(left.have),
                left.total.map_or_else(|| "unknown".to_owned(), grouped)
            );
        }
    }
    Ok(())
}

async fn inspect(store: &ModelStore, model: &str, json: bool) -> Outcome {
    let path = PathBuf::from(model);
    let (header, name, weights) = if path.is_file() {
        let header = ModelStore::inspect(&path).await.map_err(store_failure)?;
        let mut hasher = blake3::Hasher::new();
        // Nothing else is done meanwhile.
        std::fs::File::open(&path)
            .and_then(|file| hasher.update_reader(file).map(|_| ()))
            .or_environment(format_args!("read {}", path.display()))?;
        (header, None, hasher.finalize().to_hex().to_string())
    } else {
        let record = store.resolve(model).await.map_err(store_failure)?;
        let weights = record.weights.to_string();
        (record.header, Some(record.name), weights)
    };
    if json {
        let header =
            serde_json::to_value(&header).expect("a header is plain data with string keys");
        say!(
            "{}",
            serde_json::json!({ "header": header, "blake3": weights })
        );
        return Ok(());
    }
    if let Some(name) = name {
        say!("{name}");
    }
    say!("  weights       blake3 {weights}");
    describe_header(&header);
    Ok(())
}

fn describe_header(header: &GgufHeader) {
    say!("  kind          {}", kind(header.kind));
    say!("  architecture  {}", printable(&header.architecture));
    say!("  parameters    {}", grouped(header.parameters));
    say!("  quantisation  {}", header.quantisation);
    say!("  layers        {}", header.layers);
    say!(
        "  vocabulary    {} ({})",
        grouped(header.vocabulary.into()),
        printable(&header.tokenizer)
    );
    say!(
        "  context       {} tokens",
        grouped(header.context_tokens.into())
    );
    match &header.chat_template {
        Some(template) => say!("  template      {} bytes of Jinja", template.len()),
        None => say!("  template      none: the plain default of docs/inference.md"),
    }
}

fn kind(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::Chat => "chat",
        ModelKind::Embedding => "embedding",
        ModelKind::Reranking => "reranking",
    }
}

fn describe(record: &ModelRecord, default: bool) -> serde_json::Value {
    serde_json::json!({
        "name": record.name,
        "blake3": record.weights.to_string(),
        "bytes": record.bytes,
        "kind": kind(record.kind()),
        "architecture": record.header.architecture,
        "quantisation": record.header.quantisation,
        "parameters": record.header.parameters,
        "context_tokens": record.header.context_tokens,
        "default": default,
    })
}

fn show(record: &ModelRecord, default: bool, json: bool) {
    if json {
        say!("{}", describe(record, default));
        return;
    }
    let digest = record.weights.to_string();
    say!(
        "{}  {}  {}  {} parameters  {}  {} bytes  blake3 {}…{}",
        record.name,
        kind(record.kind()),
        printable(&record.header.architecture),
        grouped(record.header.parameters),
        record.header.quantisation,
        grouped(record.bytes),
        short(&digest),
        if default { "  (default)" } else { "" }
    );
}

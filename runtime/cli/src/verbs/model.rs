//! `tally model`: weights on this machine.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use tally_inference::{
    AddMode, AddOptions, GgufHeader, ModelKind, ModelName, ModelRecord, ModelStore, StoreError,
};

use crate::failure::{Failure, Outcome};
use crate::home::Home;
use crate::ui::{Progress, grouped, printable, say, short};

/// What to do with weights.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Hash a GGUF file and keep it.
    #[command(
        after_help = "Examples:\n  tally model add qwen2.5-0.5b-instruct-q8_0.gguf\n  tally model add /big/disk/model.gguf --name big --link"
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
    /// Choose the model that runs use when they name none.
    #[command(after_help = "Example:\n  tally model default qwen2.5-0.5b-instruct-q8_0")]
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
    /// The GGUF file.
    file: PathBuf,
    /// What to call it; else by the file's name.
    #[arg(long)]
    name: Option<String>,
    /// Leave the file where it is and link to it, instead of copying.
    #[arg(long)]
    link: bool,
}

pub(crate) fn run(verb: Verb, json: bool) -> Outcome {
    let runtime = crate::runtime()?;
    runtime.block_on(async {
        let store = ModelStore::open(Home::open()?.models()?);
        match verb {
            Verb::Add(args) => add(&store, args, json).await,
            Verb::List => list(&crate::setup::store(&Home::open()?).await?, json).await,
            Verb::Inspect { model } => inspect(&store, &model, json).await,
            Verb::Default { model } => {
                let record = store.set_default(&model).await.map_err(failure)?;
                show(&record, true, json);
                Ok(())
            }
            Verb::Remove { model } => {
                let record = store.remove(&model).await.map_err(failure)?;
                if json {
                    say!("{}", serde_json::json!({ "removed": record.name, "blake3": record.weights.to_string() }));
                } else {
                    eprintln!("removed {}", record.name);
                }
                Ok(())
            }
        }
    })
}

async fn add(store: &ModelStore, args: Add, json: bool) -> Outcome {
    let name = match &args.name {
        None => None,
        Some(text) => Some(ModelName::parse(text).ok_or_else(|| {
            Failure::misuse(format_args!("{text:?} cannot be a model's name"))
                .advise("letters, digits, dots, hyphens and underscores, a letter or digit first: for example my-model")
        })?),
    };
    let size = std::fs::metadata(&args.file).map_or(0, |meta| meta.len());
    let bar = Progress::bytes(format!("hashing {}", args.file.display()), size);
    let mode = if args.link {
        AddMode::Link
    } else {
        AddMode::Copy
    };
    let record = store
        .add(&args.file, AddOptions { name, mode }, move |done, _| {
            bar.at(done)
        })
        .await
        .map_err(failure)?;
    let default = store
        .default_model()
        .await
        .map_err(failure)?
        .is_some_and(|default| default.name == record.name);
    show(&record, default, json);
    Ok(())
}

async fn list(store: &ModelStore, json: bool) -> Outcome {
    let records = store.list().await.map_err(failure)?;
    let default = store
        .default_model()
        .await
        .map_err(failure)?
        .map(|record| record.name);
    if json {
        let models: Vec<_> = records
            .iter()
            .map(|record| describe(record, default.as_ref() == Some(&record.name)))
            .collect();
        say!("{}", serde_json::json!({ "models": models }));
    } else if records.is_empty() {
        eprintln!("no models. Add one: tally model add FILE.gguf");
    } else {
        for record in &records {
            show(record, default.as_ref() == Some(&record.name), false);
        }
    }
    Ok(())
}

async fn inspect(store: &ModelStore, model: &str, json: bool) -> Outcome {
    let path = PathBuf::from(model);
    let (header, record) = if path.is_file() {
        (ModelStore::inspect(&path).await.map_err(failure)?, None)
    } else {
        let record = store.resolve(model).await.map_err(failure)?;
        (record.header.clone(), Some(record))
    };
    if json {
        let header =
            serde_json::to_value(&header).expect("a header is plain data with string keys");
        say!(
            "{}",
            serde_json::json!({ "header": header, "blake3": record.as_ref().map(|record| record.weights.to_string()) })
        );
        return Ok(());
    }
    if let Some(record) = &record {
        say!("{}\n  weights       blake3 {}", record.name, record.weights);
    }
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

/// Whose turn a store's error is.
pub(crate) fn failure(error: StoreError) -> Failure {
    match &error {
        StoreError::NotAModel { .. }
        | StoreError::NameTaken { .. }
        | StoreError::Unknown { .. }
        | StoreError::Ambiguous { .. } => Failure::misuse(&error),
        StoreError::Io { error: io, .. } if io.kind() == std::io::ErrorKind::NotFound => {
            Failure::misuse(&error)
        }
        _ => Failure::environment(&error),
    }
}

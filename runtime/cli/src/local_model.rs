//! A model of this machine, or of a file that is named, for a command that asks it from blocking code.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tally_inference::{
    AddMode, AddOptions, ClientNonce, ModelKind, ModelName, ModelRecord, ModelStore, Service,
    StoreError,
};
use tokio::runtime::Handle;

use crate::calls::{Calls, Ended};
use crate::failure::{Failure, OrFail};
use crate::home::Home;
use crate::keeper::Receipts;
use crate::setup::{self, BUILTIN_NAME};

/// A model in a worker process. Its methods block, and are not to be called from asynchronous code.
pub(crate) struct LocalModel {
    pub(crate) service: Service,
    pub(crate) record: ModelRecord,
    pub(crate) name: String,
    pub(crate) handle: Handle,
    /// Where its receipts go.
    pub(crate) receipts: Receipts,
    /// Where its calls are noted.
    pub(crate) calls: Calls,
    /// Of a model that was named as a file; removed with it.
    _store: Option<tempfile::TempDir>,
}

impl LocalModel {
    /// The model `record` names, run by `service`.
    pub(crate) fn new(service: Service, record: &ModelRecord, handle: Handle) -> Self {
        Self {
            service,
            record: record.clone(),
            name: record.name.to_string(),
            handle,
            receipts: Receipts::default(),
            calls: Calls::default(),
            _store: None,
        }
    }

    /// Notes a call of it that has just ended.
    pub(crate) fn note(&self, purpose: &str, texts: usize, began: Instant, ended: Ended<'_>) {
        self.calls.note(purpose, &self.name, texts, began, ended);
    }

    /// The model of a GGUF file, run by a service of its own.
    pub(crate) async fn of_file(
        file: &Path,
        kind: ModelKind,
        handle: &Handle,
    ) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().or_environment("make a temporary folder")?;
        let store = ModelStore::open(folder.path());
        let options = AddOptions {
            name: ModelName::parse(&kind.to_string()),
            mode: AddMode::Link,
            ..AddOptions::default()
        };
        let record = store
            .add(file, options, |_, _| {})
            .await
            .map_err(store_failure)?;
        let mut this = Self::of_store(store, &record, kind, handle)?;
        this._store = Some(folder);
        Ok(this)
    }

    /// The model `record` names, run by a service of its own over `store`.
    pub(crate) fn of_store(
        store: ModelStore,
        record: &ModelRecord,
        kind: ModelKind,
        handle: &Handle,
    ) -> Result<Self, Failure> {
        must_be(record, kind)?;
        let key = Arc::new(Home::open()?.node_key()?);
        let service = Service::new(store, setup::signer(&key), setup::service_options()?);
        Ok(Self::new(service, record, handle.clone()))
    }
}

/// Refuses a model of another kind than is asked for.
pub(crate) fn must_be(record: &ModelRecord, kind: ModelKind) -> Result<(), Failure> {
    if record.kind() == kind {
        return Ok(());
    }
    Err(
        Failure::misuse(format_args!("{} is no {kind} model but one for {}", record.name, match record.kind() {
            ModelKind::Chat => "chat",
            ModelKind::Embedding => "embeddings",
            ModelKind::Reranking => "reranking",
        }))
        .advise("`tally model list` says what each model is for; `make models` makes an embedding model and a reranking model"),
    )
}

/// Whose turn a store's error is.
pub(crate) fn store_failure(error: StoreError) -> Failure {
    match &error {
        StoreError::Unknown { name } if name == BUILTIN_NAME => Failure::misuse(&error).advise(
            format_args!("it comes with the program: tally model add {BUILTIN_NAME}"),
        ),
        StoreError::BadRecord { path, .. } => {
            let failure = Failure::environment(&error);
            let name = path.file_stem().and_then(|stem| stem.to_str());
            match name.and_then(ModelName::parse) {
                Some(name) if path.extension().is_some() => {
                    failure.advise(format_args!("tally model remove {name}"))
                }
                _ => failure,
            }
        }
        StoreError::NotAModel { .. }
        | StoreError::NameTaken { .. }
        | StoreError::Unknown { .. }
        | StoreError::Ambiguous { .. }
        | StoreError::Undecided { .. } => Failure::misuse(&error),
        StoreError::Io { error: io, .. } if io.kind() == std::io::ErrorKind::NotFound => {
            Failure::misuse(&error)
        }
        _ => Failure::environment(&error),
    }
}

/// A nonce that nobody has used.
pub(crate) fn nonce() -> Result<ClientNonce, String> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| error.to_string())?;
    Ok(ClientNonce::from_bytes(nonce))
}

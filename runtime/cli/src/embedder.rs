//! An embedding model of this machine, as memories use one: a vector for each text and one for each word of it.

use std::path::Path;
use std::sync::Arc;

use tally_inference::{
    AddMode, AddOptions, ClientNonce, Links, MAX_EMBED_TEXTS, ModelKind, ModelName, ModelRecord,
    ModelStore, Service, ServiceOptions,
};
use tally_recall::{EmbedError, Embedder, Embedding, TokenVectors};
use tokio::runtime::Handle;

use crate::failure::{Failure, OrFail};
use crate::home::Home;
use crate::setup;
use crate::verbs::model::failure;

/// The embedding model that is asked for by name, or the only one there is; `none` asks for nothing.
pub(crate) async fn chosen(
    store: &ModelStore,
    asked: Option<&str>,
) -> Result<Option<ModelRecord>, Failure> {
    match asked {
        Some("none") => Ok(None),
        Some(name) => store.resolve(name).await.map(Some).map_err(failure),
        None => {
            let all = store.list().await.map_err(failure)?;
            let mut embedding = all
                .into_iter()
                .filter(|record| record.kind() == ModelKind::Embedding);
            match (embedding.next(), embedding.next()) {
                (Some(_), Some(_)) => {
                    Err(Failure::misuse("this machine has several embedding models")
                        .advise("name one with --embedding, or none"))
                }
                (one, _) => Ok(one),
            }
        }
    }
}

/// A model in a worker process. Its methods block, and are not to be called from asynchronous code.
pub(crate) struct LocalEmbedder {
    service: Service,
    name: String,
    /// What vectors are known by: the same weights under another name give the same vectors.
    weights: String,
    /// Whether it gives a vector for each word.
    with_tokens: bool,
    handle: Handle,
    /// Of a model that was named as a file; removed with it.
    _store: Option<tempfile::TempDir>,
}

impl LocalEmbedder {
    /// The model `record` names, run by `service`.
    pub(crate) fn new(service: Service, record: &ModelRecord, handle: Handle) -> Self {
        Self {
            service,
            name: record.name.to_string(),
            weights: record.weights.to_string(),
            with_tokens: record.header.pooling.as_deref() == Some("mean"),
            handle,
            _store: None,
        }
    }

    /// The model that is asked for: a GGUF file, or a name in this machine's store; without either the store's only embedding
    /// model, and nothing if it has none. `none` asks for nothing.
    pub(crate) fn find(asked: Option<&str>, handle: &Handle) -> Result<Option<Self>, Failure> {
        match asked {
            Some("none") => Ok(None),
            Some(file) if Path::new(file).is_file() => handle
                .block_on(Self::of_file(Path::new(file), handle))
                .map(Some),
            _ => handle.block_on(Self::of_store(asked, handle)),
        }
    }

    async fn of_file(file: &Path, handle: &Handle) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().or_environment("make a temporary folder")?;
        let store = ModelStore::open(folder.path());
        let options = AddOptions {
            name: ModelName::parse("embedding"),
            mode: AddMode::Link,
            ..AddOptions::default()
        };
        let record = store.add(file, options, |_, _| {}).await.map_err(failure)?;
        let mut this = Self::of_record(store, &record, handle)?;
        this._store = Some(folder);
        Ok(this)
    }

    async fn of_store(asked: Option<&str>, handle: &Handle) -> Result<Option<Self>, Failure> {
        let store = setup::store(&Home::open()?).await?;
        let record = chosen(&store, asked).await?;
        record
            .map(|record| Self::of_record(store, &record, handle))
            .transpose()
    }

    fn of_record(
        store: ModelStore,
        record: &ModelRecord,
        handle: &Handle,
    ) -> Result<Self, Failure> {
        if record.kind() != ModelKind::Embedding {
            return Err(
                Failure::misuse(format_args!("{} is a chat model", record.name))
                    .advise("`tally model list` names embedding models; `make models` makes one"),
            );
        }
        let key = Arc::new(Home::open()?.node_key()?);
        let options = ServiceOptions::new(setup::worker_command()?);
        let service = Service::new(store, setup::signer(&key), options);
        Ok(Self::new(service, record, handle.clone()))
    }

    /// What the model is called here.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Embedder for LocalEmbedder {
    fn model(&self) -> &str {
        &self.weights
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        let failed = |reason: String| EmbedError {
            texts: texts.len(),
            reason,
        };
        let mut embeddings = Vec::with_capacity(texts.len());
        for batch in texts.chunks(MAX_EMBED_TEXTS) {
            let mut nonce = [0; 32];
            getrandom::fill(&mut nonce).map_err(|error| failed(error.to_string()))?;
            let (texts, nonce) = (batch.to_vec(), ClientNonce::from_bytes(nonce));
            let embedded = self.handle.block_on(async {
                if self.with_tokens {
                    self.service
                        .embed_tokens(&self.name, texts, nonce, Links::default())
                        .await
                } else {
                    let sentences = self
                        .service
                        .embed(&self.name, texts, nonce, Links::default());
                    sentences.await.map(|embedded| (embedded, Vec::new()))
                }
            });
            let (embedded, rows) = embedded.map_err(|error| failed(error.to_string()))?;
            let tokens = rows
                .into_iter()
                .map(|t| TokenVectors::from_rows(t.width, t.rows.chunks_exact(t.width)))
                .chain(std::iter::repeat_with(TokenVectors::default));
            embeddings.extend(
                embedded
                    .vectors
                    .into_iter()
                    .zip(tokens)
                    .map(|(sentence, tokens)| Embedding { sentence, tokens }),
            );
        }
        Ok(embeddings)
    }
}

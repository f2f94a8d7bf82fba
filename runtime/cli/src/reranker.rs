//! A reranking model of this machine, as memories use one: how well each passage answers a question.

use std::path::Path;
use std::time::Instant;

use tally_inference::{
    Links, MAX_EMBED_TEXTS, ModelKind, ModelRecord, ModelStore, Service, StoreError,
};
use tally_recall::{RerankError, Reranker};
use tokio::runtime::Handle;

use crate::calls::{self, Calls};
use crate::failure::Failure;
use crate::home::Home;
use crate::keeper::Receipts;
use crate::local_model::{LocalModel, must_be, nonce, store_failure};
use crate::setup;

/// The reranking model of that name; `default` asks for the default one, or the only one there is.
pub(crate) async fn chosen(store: &ModelStore, asked: &str) -> Result<ModelRecord, Failure> {
    if asked == "default" {
        let found = store.default_or_only(ModelKind::Reranking).await;
        let found = found.map_err(|error| match error {
            StoreError::Undecided { .. } => {
                store_failure(error).advise("or name one with --rerank")
            }
            error => store_failure(error),
        })?;
        return found.ok_or_else(|| {
            Failure::misuse("this machine has no reranking model")
                .advise("`make models` makes one, and says how to add it")
        });
    }
    let record = store.resolve(asked).await.map_err(store_failure)?;
    must_be(&record, ModelKind::Reranking)?;
    Ok(record)
}

/// A model in a worker process. Its methods block, and are not to be called from asynchronous code.
pub(crate) struct LocalReranker(LocalModel);

impl LocalReranker {
    /// The model `record` names, run by `service`.
    pub(crate) fn new(service: Service, record: &ModelRecord, handle: Handle) -> Self {
        Self(LocalModel::new(service, record, handle))
    }

    /// The same, which puts the receipt of each answer there before it gives the answer.
    pub(crate) fn keeping(mut self, receipts: Receipts) -> Self {
        self.0.receipts = receipts;
        self
    }

    /// The same, whose calls are noted there.
    pub(crate) fn noting(mut self, calls: Calls) -> Self {
        self.0.calls = calls;
        self
    }

    /// The model that is asked for: a GGUF file, a name in this machine's store, or `default`.
    pub(crate) fn find(asked: &str, handle: &Handle) -> Result<Self, Failure> {
        let kind = ModelKind::Reranking;
        let file = Path::new(asked);
        handle.block_on(async {
            if file.is_file() {
                return LocalModel::of_file(file, kind, handle).await.map(Self);
            }
            let store = setup::store(&Home::open()?).await?;
            let record = chosen(&store, asked).await?;
            LocalModel::of_store(store, &record, kind, handle).map(Self)
        })
    }

    /// What the model is called here, and its weights.
    pub(crate) fn identity(&self) -> (&str, String) {
        (&self.0.name, self.0.record.weights.to_string())
    }
}

impl Reranker for LocalReranker {
    fn rank(&self, question: &str, passages: &[String]) -> Result<Vec<f32>, RerankError> {
        let failed = |reason: String, is_transient: bool| RerankError {
            passages: passages.len(),
            reason,
            is_transient,
        };
        let mut scores = Vec::with_capacity(passages.len());
        for batch in passages.chunks(MAX_EMBED_TEXTS) {
            let nonce = nonce().map_err(|reason| failed(reason, false))?;
            let began = Instant::now();
            let note = |ended: calls::Ended<'_>| self.0.note("rank", batch.len(), began, ended);
            let ranked = self.0.handle.block_on(self.0.service.rank(
                &self.0.name,
                question.to_owned(),
                batch.to_vec(),
                nonce,
                Links::default(),
            ));
            let ranked = ranked.map_err(|error| {
                note(Err(calls::class(&error)));
                failed(error.to_string(), error.is_retryable())
            })?;
            let envelope = ranked.receipt.envelope.as_slice();
            if let Err(error) = self.0.receipts.keep(envelope) {
                note(Err(calls::NOT_KEPT));
                // To ask again would not help the disk.
                return Err(failed(error.to_string(), false));
            }
            note(Ok((ranked.tokens, 0, Some(envelope))));
            scores.extend(ranked.scores);
        }
        Ok(scores)
    }
}

//! An embedding model of this machine, as memories use one: a vector for each text and one for each word of it.

use std::path::Path;
use std::time::Instant;

use tally_inference::{
    InferenceError, Links, MAX_EMBED_TEXTS, ModelKind, ModelRecord, ModelStore, Refusal, Service,
    StoreError,
};
use tally_recall::{EmbedError, Embedder, Embedding, TokenVectors};
use tokio::runtime::Handle;

use crate::calls::{self, Calls};
use crate::failure::Failure;
use crate::home::Home;
use crate::keeper::Receipts;
use crate::local_model::{LocalModel, must_be, nonce, store_failure};
use crate::setup;

/// The embedding model that is asked for by name, else the default one, else the only one there is; `none` asks for nothing.
pub(crate) async fn chosen(
    store: &ModelStore,
    asked: Option<&str>,
) -> Result<Option<ModelRecord>, Failure> {
    match asked {
        Some("none") => Ok(None),
        Some(name) => {
            let record = store.resolve(name).await.map_err(store_failure)?;
            must_be(&record, ModelKind::Embedding)?;
            Ok(Some(record))
        }
        None => {
            let found = store.default_or_only(ModelKind::Embedding).await;
            found.map_err(|error| match error {
                StoreError::Undecided { .. } => store_failure(error)
                    .advise("or name one with --embedding; `none` searches by words alone"),
                error => store_failure(error),
            })
        }
    }
}

/// A model in a worker process. Its methods block, and are not to be called from asynchronous code.
pub(crate) struct LocalEmbedder {
    local: LocalModel,
    /// What vectors are known by: the same weights under another name give the same vectors.
    weights: String,
    /// Whether it gives a vector for each word.
    with_tokens: bool,
}

impl LocalEmbedder {
    /// The model `record` names, run by `service`.
    pub(crate) fn new(service: Service, record: &ModelRecord, handle: Handle) -> Self {
        Self::over(LocalModel::new(service, record, handle))
    }

    /// The same, which puts the receipt of each answer there before it gives the answer.
    pub(crate) fn keeping(mut self, receipts: Receipts) -> Self {
        self.local.receipts = receipts;
        self
    }

    /// The same, whose calls are noted there.
    pub(crate) fn noting(mut self, calls: Calls) -> Self {
        self.local.calls = calls;
        self
    }

    fn over(local: LocalModel) -> Self {
        Self {
            weights: local.record.weights.to_string(),
            with_tokens: local.record.header.pooling.as_deref() == Some("mean"),
            local,
        }
    }

    /// The model that is asked for: a GGUF file, or a name in this machine's store; without either the store's default embedding
    /// model or its only one, and nothing if it has none. `none` asks for nothing.
    pub(crate) fn find(asked: Option<&str>, handle: &Handle) -> Result<Option<Self>, Failure> {
        let kind = ModelKind::Embedding;
        let local = handle.block_on(async {
            match asked {
                Some("none") => Ok(None),
                Some(file) if Path::new(file).is_file() => {
                    LocalModel::of_file(Path::new(file), kind, handle)
                        .await
                        .map(Some)
                }
                _ => {
                    let store = setup::store(&Home::open()?).await?;
                    let record = chosen(&store, asked).await?;
                    record
                        .map(|record| LocalModel::of_store(store, &record, kind, handle))
                        .transpose()
                }
            }
        })?;
        Ok(local.map(Self::over))
    }

    /// What the model is called here.
    pub(crate) fn name(&self) -> &str {
        &self.local.name
    }
}

impl Embedder for LocalEmbedder {
    fn model(&self) -> &str {
        &self.weights
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        let failed = |reason: String, is_transient: bool| EmbedError {
            texts: texts.len(),
            reason,
            is_transient,
        };
        let mut embeddings = Vec::with_capacity(texts.len());
        for batch in texts.chunks(MAX_EMBED_TEXTS) {
            let nonce = nonce().map_err(|reason| failed(reason, false))?;
            let mut texts = batch.to_vec();
            let began = Instant::now();
            let note =
                |ended: calls::Ended<'_>| self.local.note("embed", batch.len(), began, ended);
            let LocalModel {
                service,
                name,
                handle,
                ..
            } = &self.local;
            let embedded = loop {
                let asked = texts.clone();
                let embedded = handle.block_on(async {
                    if self.with_tokens {
                        service
                            .embed_tokens(name, asked, nonce, Links::default())
                            .await
                    } else {
                        let sentences = service.embed(name, asked, nonce, Links::default());
                        sentences.await.map(|embedded| (embedded, Vec::new()))
                    }
                });
                // One text that is too long keeps no other from its vector.
                if let Err(InferenceError::Refused(Refusal::TextTooLong {
                    index,
                    tokens,
                    context_tokens,
                })) = &embedded
                    && let Some(text) = texts.get_mut(*index as usize)
                    && cut(text, *tokens, *context_tokens)
                {
                    continue;
                }
                break embedded;
            };
            let (embedded, rows) = embedded.map_err(|error| {
                note(Err(calls::class(&error)));
                failed(error.to_string(), error.is_retryable())
            })?;
            let envelope = embedded.receipt.envelope.as_slice();
            if let Err(error) = self.local.receipts.keep(envelope) {
                note(Err(calls::NOT_KEPT));
                // To ask again would not help the disk.
                return Err(failed(error.to_string(), false));
            }
            note(Ok((embedded.tokens, 0, Some(envelope))));
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

/// Leaves of a text of so many tokens, or more, its beginning: what a model that reads so many can read. Whether it is shorter now.
fn cut(text: &mut String, tokens: u32, reads: u32) -> bool {
    let share = f64::from(reads) / f64::from(tokens.max(1));
    // Tokens are not of one length, so it is less than its share; one that is still too long is cut again.
    let most = (text.len() as f64 * share.min(1.0) * 0.9) as usize;
    let end = text.floor_char_boundary(most);
    let is_shorter = 0 < end && end < text.len();
    if is_shorter {
        text.truncate(end);
    }
    is_shorter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_text_that_is_too_long_its_beginning_is_read() {
        let mut text = "é".repeat(1_000);
        assert!(cut(&mut text, 1_000, 500));
        assert_eq!(text, "é".repeat(450));
        // That there are at least so many tokens may be all that is known.
        assert!(cut(&mut text, 100, 500));
        assert_eq!(text, "é".repeat(405));
        let mut one = "é".to_owned();
        assert!(!cut(&mut one, 9, 1));
        assert_eq!(one, "é");
    }
}

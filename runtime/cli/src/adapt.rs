//! Fits the inference service to what the engine asks for.
//!
//! The engine states its needs as traits and knows no service; the service knows no engine. The words of both are the
//! guest contract's, so this file is renaming, and the one decision that is neither's: whose turn an error is.

use std::sync::{Arc, Mutex, PoisonError};

use tally_engine::contract as guest;
use tally_engine::{BoxFuture, CallContext, Embeddings, Generation, Inference, ReceiptBytes};
use tally_inference as service;
use tally_receipt::{Digest, Field};

/// The models of this machine, as the engine sees them. Prompts never leave it.
pub(crate) struct LocalModels {
    service: service::Service,
    /// Names and digests of weights, the default one first. Fixed when the run starts, as its journal says.
    models: Vec<(String, Digest)>,
    /// The model for vectors where none is named, or why there is none. Fixed when the run starts, too.
    embedding: Result<String, String>,
    kept: Kept,
}

impl LocalModels {
    pub(crate) fn new(
        service: service::Service,
        models: Vec<(String, Digest)>,
        embedding: Result<String, String>,
        kept: Kept,
    ) -> Arc<Self> {
        Arc::new(Self {
            service,
            models,
            embedding,
            kept,
        })
    }
}

/// Receipts as the service made them, with what opens their commitments: for whoever started the run, not for the guest.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<service::SignedReceipt>>>);

impl Kept {
    fn push(&self, receipt: service::SignedReceipt) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(receipt);
    }

    /// All of them, in the order they were made.
    pub(crate) fn all(&self) -> Vec<service::SignedReceipt> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Inference for LocalModels {
    fn models(&self) -> Vec<(String, Digest)> {
        self.models.clone()
    }

    fn embedding_model(&self) -> Result<String, String> {
        self.embedding.clone()
    }

    fn leaves_machine(&self, _model: &str) -> bool {
        false
    }

    fn chat<'a>(
        &'a self,
        request: guest::ChatRequest,
        context: CallContext,
    ) -> BoxFuture<'a, Result<Box<dyn Generation>, guest::Error>> {
        Box::pin(async move {
            let nonce = service::ClientNonce::from_bytes(context.nonce);
            let mut generation = self
                .service
                .chat(
                    chat_request(request, context.tokens_left),
                    nonce,
                    links(&context)?,
                )
                .await
                .map_err(error)?;
            generation.was_asked(context.asked);
            Ok(Box::new(Running {
                generation,
                kept: Some(self.kept.clone()),
            }) as Box<dyn Generation>)
        })
    }

    fn embed<'a>(
        &'a self,
        model: &'a str,
        texts: Vec<String>,
        context: CallContext,
    ) -> BoxFuture<'a, Result<Embeddings, guest::Error>> {
        Box::pin(async move {
            let nonce = service::ClientNonce::from_bytes(context.nonce);
            let embedded = self
                .service
                .embed(model, texts, nonce, links(&context)?)
                .await
                .map_err(error)?;
            self.kept.push(embedded.receipt.clone());
            let receipt = bytes_of(&embedded.receipt);
            Ok(Embeddings {
                vectors: embedded.vectors,
                tokens: embedded.tokens.into(),
                receipt: Some(receipt),
            })
        })
    }
}

struct Running {
    generation: service::Generation,
    /// Taken when the receipt is handed over, so that each is kept once.
    kept: Option<Kept>,
}

impl Generation for Running {
    fn next<'a>(&'a mut self) -> BoxFuture<'a, Result<Option<guest::Event>, guest::Error>> {
        Box::pin(async move { Ok(self.generation.next().await.map_err(error)?.map(event)) })
    }

    fn receipt<'a>(&'a mut self) -> BoxFuture<'a, Result<ReceiptBytes, guest::Error>> {
        Box::pin(async move {
            let receipt = self.generation.receipt().ok_or_else(|| {
                guest::Error::Invalid("the receipt is there once `done` has been pulled".into())
            })?;
            if let Some(kept) = self.kept.take() {
                kept.push(receipt.clone());
            }
            Ok(bytes_of(receipt))
        })
    }

    fn cancel(&mut self) {
        self.generation.cancel();
    }
}

fn bytes_of(receipt: &service::SignedReceipt) -> ReceiptBytes {
    ReceiptBytes {
        envelope: receipt.envelope.clone(),
        digest: receipt.digest,
        signer: receipt.signer.to_string(),
        asked_salt: salt(receipt, Field::Asked),
        answered_salt: salt(receipt, Field::OutputText).or_else(|| salt(receipt, Field::Output)),
    }
}

fn salt(receipt: &service::SignedReceipt, field: Field) -> Option<[u8; 32]> {
    receipt.openings().salt(field).map(|salt| *salt.as_bytes())
}

fn links(context: &CallContext) -> Result<service::Links, guest::Error> {
    Ok(service::Links {
        run: Some(*context.run.as_bytes()),
        step: Some(
            u32::try_from(context.step)
                .map_err(|_| guest::Error::Exhausted(guest::ResourceKind::Calls))?,
        ),
        previous: context.previous.map(|digest| *digest.as_bytes()),
    })
}

fn chat_request(request: guest::ChatRequest, tokens_left: u64) -> service::ChatRequest {
    let sampling = request.sampling;
    service::ChatRequest {
        model: request.model,
        messages: request.messages.into_iter().map(message).collect(),
        tools: request.tools.into_iter().map(tool_spec).collect(),
        tool_choice: service::ToolChoice::Auto,
        response: match request.response {
            guest::ResponseFormat::Text => service::ResponseFormat::Text,
            guest::ResponseFormat::JsonSchema(schema) => {
                service::ResponseFormat::JsonSchema(schema)
            }
            guest::ResponseFormat::Gbnf(grammar) => service::ResponseFormat::Gbnf(grammar),
        },
        sampling: service::Sampling {
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            repeat_penalty: sampling.repeat_penalty,
            repeat_last_n: sampling.repeat_last_n,
            max_tokens: sampling
                .max_tokens
                .min(u32::try_from(tokens_left).unwrap_or(u32::MAX)),
            stop: sampling.stop,
        },
        lane: match request.lane {
            guest::Lane::Exact => service::Lane::Exact,
            guest::Lane::Throughput => service::Lane::Throughput,
        },
        // An agent that wants the date asks the journaled clock; a template that read ours would be an input that
        // the agent's journal does not show.
        template_time: None,
    }
}

fn message(message: guest::Message) -> service::Message {
    service::Message {
        role: match message.role {
            guest::Role::System => service::Role::System,
            guest::Role::User => service::Role::User,
            guest::Role::Assistant => service::Role::Assistant,
            guest::Role::Tool => service::Role::Tool,
        },
        content: message.content,
        tool_calls: message
            .tool_calls
            .into_iter()
            .map(|call| service::ToolCall {
                id: call.id,
                name: call.name,
                arguments_json: call.arguments_json,
            })
            .collect(),
        tool_call_id: message.tool_call_id,
    }
}

fn tool_spec(tool: guest::ToolSpec) -> service::ToolSpec {
    service::ToolSpec {
        name: tool.name,
        description: tool.description,
        parameters_schema: tool.parameters_schema,
    }
}

fn event(event: service::Event) -> guest::Event {
    match event {
        service::Event::Text(text) => guest::Event::Text(text),
        service::Event::ToolCall(call) => guest::Event::ToolCall(guest::ToolCall {
            id: call.id,
            name: call.name,
            arguments_json: call.arguments_json,
        }),
        service::Event::Done(completion) => guest::Event::Done(guest::Completion {
            finish: match completion.finish {
                service::FinishReason::Stop => guest::FinishReason::Stop,
                service::FinishReason::StopString => guest::FinishReason::StopString,
                service::FinishReason::Length => guest::FinishReason::Length,
                service::FinishReason::ToolCalls => guest::FinishReason::ToolCalls,
                service::FinishReason::Cancelled => guest::FinishReason::Cancelled,
            },
            usage: guest::Usage {
                prompt_tokens: completion.usage.prompt_tokens,
                cached_tokens: completion.usage.cached_tokens,
                completion_tokens: completion.usage.completion_tokens,
            },
        }),
    }
}

/// Whose turn it is: the agent's, the operator's or time's, or nobody's.
fn error(error: service::InferenceError) -> guest::Error {
    use service::InferenceError as E;
    let text = error.to_string();
    match error {
        E::Cancelled => guest::Error::Cancelled,
        error if error.is_callers() => guest::Error::Invalid(text),
        E::Busy { .. }
        | E::WorkerLost { .. }
        | E::WorkerUnavailable { .. }
        | E::ModelUnusable { .. }
        | E::NoDefaultModel => guest::Error::Unavailable(text),
        _ => guest::Error::Failed(text),
    }
}

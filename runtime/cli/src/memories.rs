//! Memories as the command line sees them: where one is, which models it asks, and what time it is.
//!
//! `tally-memory` states what it needs of models as two traits; this file fits the inference service to them. Both wait for the
//! service, so they are called from threads that may.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::{Args as ClapArgs, ValueEnum};
use tally_inference as service;
use tally_memory::secrets::Identifiers;
use tally_memory::{
    Answer, Ask, ChatModel, Dialect, Form, LoadError, Memory, ModelError, Moment, Options,
    ReceiptParts, SharedEmbedder, SharedVault, Unused,
};
use tally_vault::Vault;
use tokio::runtime::Handle;

use crate::calls::{self, Calls};
use crate::embedder::{LocalEmbedder, chosen};
use crate::failure::Failure;
use crate::home::Home;
use crate::keeper::Receipts;
use crate::reranker::{self, LocalReranker};
use crate::setup::{self, Models};
use crate::ui::printable;
use crate::vaults::{MEMORY, Which, opening, reading};
use crate::vectors::Vectors;

/// Which memory.
#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct WhichMemory {
    #[command(flatten)]
    pub(crate) vault: Which,
    /// The namespace of the vault that it lies in.
    #[arg(long, default_value = MEMORY, value_name = "NAME")]
    pub(crate) namespace: String,
    /// The embedding model to search with: a name, or `none` for words alone; else the default one, or the only one there is.
    #[arg(long, value_name = "MODEL", env = "TALLY_EMBEDDING")]
    pub(crate) embedding: Option<String>,
    /// Where vectors are searched: `exact` (here, by comparing with all), `edge` (Qdrant's engine in this process), or the address of a
    /// Qdrant server, whose key is taken from `TALLY_QDRANT_API_KEY`.
    #[arg(
        long,
        value_name = "WHERE",
        env = "TALLY_VECTORS",
        default_value = "exact"
    )]
    pub(crate) vectors: Vectors,
}

/// What is kept of how a person is known.
#[derive(ClapArgs, Clone, Copy, Debug)]
pub(crate) struct Keeping {
    /// What is done with personal identifiers this time, where it is stricter than what the vault says (`tally memory policy` has the
    /// words): keep, by-kind or drop.
    #[arg(long, value_name = "POLICY", env = "TALLY_IDENTIFIERS", value_enum)]
    identifiers: Option<IdentifierPolicy>,
}

/// What is done with personal identifiers, as a person types it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum IdentifierPolicy {
    /// Numbers that a bank or a state gave stay in the encrypted episode and nowhere else; phone numbers, e-mail and street addresses are
    /// words like any others.
    Keep,
    /// Numbers that a bank or a state gave (accounts, passports, social security) are dealt with as secrets are; phone numbers, e-mail and
    /// street addresses are words like any others.
    ByKind,
    /// None of either is kept.
    Drop,
}

impl From<IdentifierPolicy> for Identifiers {
    fn from(policy: IdentifierPolicy) -> Self {
        match policy {
            IdentifierPolicy::Keep => Self::Keep,
            IdentifierPolicy::ByKind => Self::ByKind,
            IdentifierPolicy::Drop => Self::Drop,
        }
    }
}

impl Keeping {
    /// As memory takes it.
    pub(crate) fn identifiers(self) -> Option<Identifiers> {
        self.identifiers.map(Identifiers::from)
    }
}

/// Says so where a run asks for less than the owner wants, which it does not get.
pub(crate) fn say_if_laxer(memory: &Memory, asked: Option<Identifiers>) {
    let (wanted, _) = memory.policy();
    if let Some(asked) = asked.filter(|asked| *asked < wanted) {
        eprintln!(
            "tally: identifiers are dealt with by the policy of this vault, {}, which is stricter than {}: tally memory policy changes it",
            wanted.as_str(),
            asked.as_str()
        );
    }
}

/// Whether what was found is read again.
#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct Rerank {
    /// A reranking model that reads the best memories together with the question, by name; `default`; or `none`. Slower, and better at the top.
    #[arg(long, value_name = "MODEL", env = "TALLY_RERANK")]
    rerank: Option<String>,
}

impl Rerank {
    /// The model's name, if there is to be one.
    pub(crate) fn asked(&self) -> Option<&str> {
        let name = self.rerank.as_deref()?;
        Some(name).filter(|name| !name.is_empty() && *name != "none")
    }
}

/// What a command that uses memory has open.
pub(crate) struct Opened {
    pub(crate) memory: Memory,
    /// What it searches with, if it does.
    pub(crate) embedder: Option<SharedEmbedder>,
    pub(crate) models: Models,
    /// Where the receipts of its models go.
    pub(crate) receipts: Receipts,
    /// Where calls are noted that no record of a vault names.
    pub(crate) calls: Calls,
    /// Waits for models. After everything else, so that it is dropped last.
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl WhichMemory {
    /// Opens it for reading.
    pub(crate) fn read(&self) -> Result<Opened, Failure> {
        self.read_with(Options::default())
    }

    /// The same, to see what would be kept by these options.
    pub(crate) fn read_with(&self, options: Options) -> Result<Opened, Failure> {
        self.open(self.vault.read()?, options)
    }

    /// Opens it for reading and writing.
    pub(crate) fn write(&self, options: Options) -> Result<Opened, Failure> {
        self.open(self.vault.write()?, options)
    }

    fn open(&self, vault: Vault, options: Options) -> Result<Opened, Failure> {
        self.open_shared(Arc::new(Mutex::new(vault)), options, Receipts::default())
    }

    /// Opens it in a vault that is open already.
    pub(crate) fn open_shared(
        &self,
        vault: SharedVault,
        options: Options,
        receipts: Receipts,
    ) -> Result<Opened, Failure> {
        let home = Home::open()?;
        let key = Arc::new(home.node_key()?);
        let runtime = crate::runtime()?;
        let calls = Calls::of(&home);
        let models = runtime.block_on(setup::models(&home, &key, None, None))?;
        let embedder = runtime.block_on(embedder(
            &home,
            &models,
            self.embedding.as_deref(),
            runtime.handle(),
            &receipts,
            &calls,
        ))?;
        let id = vault
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .id();
        let vectors = self
            .vectors
            .maker(&home, &format!("{id} {}", self.namespace))?;
        let memory = Memory::open_over(vault, &self.namespace, options, embedder.clone(), vectors)
            .map_err(|error| self.not_opened(error))?;
        for damaged in memory.damaged() {
            eprintln!(
                "tally: record {} of type {} was passed over: {}",
                damaged.operation, damaged.record_type, damaged.error
            );
        }
        say_if_laxer(&memory, options.identifiers);
        Ok(Opened {
            memory,
            embedder,
            models,
            receipts,
            calls,
            runtime,
        })
    }

    /// Why it did not open, and who can do something about it: what an agent lacks is shared with it.
    fn not_opened(&self, error: LoadError) -> Failure {
        if let (LoadError::NoSuchNamespace(name), Some(agent)) = (&error, &self.vault.agent) {
            let name = printable(name);
            return Failure::misuse(&error).advise(format_args!(
                "whose vault it is may share it: tally vault share --agent {agent} {name}=read"
            ));
        }
        loading(error)
    }
}

impl Opened {
    /// Has the memory's best answers read by a model, where one is asked for.
    pub(crate) fn rerank(&mut self, asked: &Rerank) -> Result<(), Failure> {
        let Some(name) = asked.asked() else {
            return Ok(());
        };
        let found = async { reranker::chosen(&setup::store(&Home::open()?).await?, name).await };
        let record = self.runtime.block_on(found)?;
        let (service, handle) = (self.models.service.clone(), self.runtime.handle().clone());
        let reranker = LocalReranker::new(service, &record, handle)
            .keeping(self.receipts.clone())
            .noting(self.calls.clone());
        self.memory.rerank_with(Some(Arc::new(reranker)));
        Ok(())
    }

    /// A chat model of this machine; the default one where none is named. What it answers is to be a record of the vault.
    pub(crate) fn chat(&self, model: Option<&str>) -> LocalChat {
        LocalChat::new(
            self.models.service.clone(),
            model.unwrap_or_default(),
            self.runtime.handle().clone(),
        )
        .keeping(self.receipts.clone())
        .noting(self.calls.clone())
    }

    /// The same, for answers that no record of the vault will name.
    pub(crate) fn chat_for(&self, purpose: &'static str, model: Option<&str>) -> LocalChat {
        LocalChat {
            notes: Some(purpose),
            ..self.chat(model)
        }
    }
}

/// Why a memory did not open.
pub(crate) fn loading(error: LoadError) -> Failure {
    match error {
        LoadError::NoSuchNamespace(ref name) => {
            let name = printable(name);
            Failure::misuse(&error).advise(format_args!(
                "tally vault status lists the namespaces; to make it: tally vault namespace {name}"
            ))
        }
        LoadError::InUse => Failure::environment(&error),
        LoadError::Vault(error) => opening(error, std::path::Path::new("the vault")),
        LoadError::Read(error) => reading(error),
        other => Failure::environment(&other),
    }
}

/// What this machine's clock shows.
pub(crate) fn now() -> Result<Moment, Failure> {
    Ok(Moment::of_clock(crate::trust::moment(None)?.unix_ms()))
}

/// A day, or a moment, as a person types it.
pub(crate) fn moment(text: &str) -> Result<Moment, Failure> {
    let full = match text.len() {
        10 => format!("{text}T00:00:00.000Z"),
        20 => format!("{}.000Z", text.trim_end_matches('Z')),
        _ => text.to_owned(),
    };
    crate::trust::moment(Some(&full))
        .map(|at| Moment::of_clock(at.unix_ms()))
        .map_err(|_| {
            Failure::misuse(format_args!("{text:?} is no time"))
                .advise("for example 2026-11-21 or 2026-11-21T12:00:00Z")
        })
}

/// The embedding model that is asked for, else the default one, else the only one there is.
async fn embedder(
    home: &Home,
    models: &Models,
    asked: Option<&str>,
    handle: &Handle,
    receipts: &Receipts,
    calls: &Calls,
) -> Result<Option<SharedEmbedder>, Failure> {
    let record = chosen(&setup::store(home).await?, asked).await?;
    Ok(record.map(|record| {
        let service = models.service.clone();
        let embedder = LocalEmbedder::new(service, &record, handle.clone())
            .keeping(receipts.clone())
            .noting(calls.clone());
        Arc::new(embedder) as SharedEmbedder
    }))
}

/// What the file of the model that comes with the program calls itself (`general.name`), under whatever name the store has it.
const NANO: &str = "tally-nano";

/// A model of more parameters than these is told that a fact may be of several categories.
const LARGE: u64 = 1_000_000_000;

/// How a model is asked whose file calls itself this and has so many parameters.
fn dialect_of(name: Option<&str>, parameters: u64) -> Dialect {
    match name {
        Some(NANO) => Dialect::Nano,
        _ if parameters > LARGE => Dialect::Large,
        _ => Dialect::Any,
    }
}

/// A chat model of this machine.
pub(crate) struct LocalChat {
    service: service::Service,
    name: String,
    handle: Handle,
    receipts: Receipts,
    calls: Calls,
    /// What its answers are noted as having been for; none, where they become records of a vault: then failures alone are noted.
    notes: Option<&'static str>,
}

impl LocalChat {
    /// The model of this name; the store's default for the empty one.
    pub(crate) fn new(service: service::Service, name: &str, handle: Handle) -> Self {
        Self {
            service,
            name: name.to_owned(),
            handle,
            receipts: Receipts::default(),
            calls: Calls::default(),
            notes: None,
        }
    }

    /// The same, which puts the receipt of each answer there before it gives the answer.
    pub(crate) fn keeping(mut self, receipts: Receipts) -> Self {
        self.receipts = receipts;
        self
    }

    /// The same, whose calls are noted there: those that fail, and those whose answers are thrown away.
    pub(crate) fn noting(mut self, calls: Calls) -> Self {
        self.calls = calls;
        self
    }

    /// Notes a call that has just ended.
    fn note(&self, model: &str, began: Instant, ended: calls::Ended<'_>) {
        let purpose = self.notes.unwrap_or(calls::LEARN);
        self.calls.note(purpose, model, 1, began, ended);
    }

    /// The answer, once its receipt is where receipts go.
    fn keep(&self, answer: Answer) -> Result<Answer, ModelError> {
        if let Some(receipt) = &answer.receipt {
            self.receipts
                .keep(&receipt.envelope)
                .map_err(|error| ModelError {
                    message: error.to_string(),
                    // To ask again would not help the disk.
                    is_transient: false,
                })?;
        }
        Ok(answer)
    }

    async fn answer(&self, ask: &Ask) -> Result<Answer, service::InferenceError> {
        let began = Instant::now();
        let messages = ask
            .messages
            .iter()
            .map(|one| {
                let role = match one.role {
                    "system" => service::Role::System,
                    "assistant" => service::Role::Assistant,
                    _ => service::Role::User,
                };
                service::Message::new(role, one.content.clone())
            })
            .collect();
        let request = service::ChatRequest {
            messages,
            response: match &ask.form {
                Form::Schema(schema) => service::ResponseFormat::JsonSchema((*schema).to_owned()),
                Form::Grammar(grammar) => service::ResponseFormat::Gbnf(grammar.clone()),
            },
            sampling: service::Sampling {
                max_tokens: ask.max_tokens,
                ..service::Sampling::default()
            },
            ..service::ChatRequest::ask(&self.name, "")
        };
        let nonce = nonce().expect("the system's random source worked when the key was read");
        let mut generation = self
            .service
            .chat(request, nonce, service::Links::default())
            .await?;
        let mut text = String::new();
        let mut completion = None;
        while let Some(event) = generation.next().await? {
            match event {
                service::Event::Text(more) => text.push_str(&more),
                service::Event::ToolCall(_) => {}
                service::Event::Done(done) => completion = Some(done),
            }
        }
        let usage = completion.map(|done| done.usage).unwrap_or_default();
        let name = if self.name.is_empty() {
            self.service
                .loaded()
                .into_iter()
                .find(|one| one.weights == generation.weights())
                .map_or_else(
                    || generation.weights().to_string(),
                    |one| one.name.to_string(),
                )
        } else {
            self.name.clone()
        };
        Ok(Answer {
            text,
            model: name,
            prompt_tokens: usage.prompt_tokens,
            output_tokens: usage.completion_tokens,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            is_cut: completion.is_some_and(|done| done.finish == service::FinishReason::Length),
            receipt: generation.receipt().map(|receipt| ReceiptParts {
                envelope: receipt.envelope.clone(),
                openings: Some(receipt.openings().to_json()),
            }),
        })
    }
}

impl ChatModel for LocalChat {
    fn name(&self) -> &str {
        if self.name.is_empty() {
            "the default model"
        } else {
            &self.name
        }
    }

    fn dialect(&self) -> Dialect {
        // A model that is not there is asked in whatever way, and the refusal says so.
        let record = self.handle.block_on(self.service.record(&self.name));
        record.map_or(Dialect::Any, |record| {
            dialect_of(record.header.name.as_deref(), record.header.parameters)
        })
    }

    fn ask(&self, ask: &Ask) -> Result<Answer, ModelError> {
        let began = Instant::now();
        let answer = self.handle.block_on(self.answer(ask)).map_err(|error| {
            self.note(self.name(), began, Err(calls::class(&error)));
            ModelError {
                is_transient: error.is_retryable(),
                message: error.to_string(),
            }
        })?;
        let answer = self
            .keep(answer)
            .inspect_err(|_| self.note(self.name(), began, Err(calls::NOT_KEPT)))?;
        if self.notes.is_some() {
            let receipt = answer.receipt.as_ref().map(|one| one.envelope.as_slice());
            let tokens = (answer.prompt_tokens, answer.output_tokens);
            self.note(&answer.model, began, Ok((tokens.0, tokens.1, receipt)));
        }
        Ok(answer)
    }

    fn thrown_away(&self, answer: &Answer, why: Unused) {
        // One that no record was to name is noted already.
        if self.notes.is_none() {
            let receipt = answer.receipt.as_ref().map(|one| one.envelope.as_slice());
            let spent = (answer.prompt_tokens, answer.output_tokens, receipt);
            let why = match why {
                Unused::Receipt => "receipt-refused",
                Unused::Label => "label-failed",
                Unused::Vault => "vault-not-written",
                Unused::Forgotten => "forgotten",
            };
            self.calls
                .note_thrown_away(&answer.model, answer.took_ms, spent, why);
        }
    }
}

fn nonce() -> Result<service::ClientNonce, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(service::ClientNonce::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_model_of_more_than_a_billion_parameters_is_asked_for_several_categories() {
        for (name, parameters, dialect) in [
            (Some(NANO), 60_000_000, Dialect::Nano),
            (Some("Qwen2.5 0.5B Instruct"), 494_032_768, Dialect::Any),
            (None, LARGE, Dialect::Any),
            (Some("Qwen2.5 3B Instruct"), 3_085_938_688, Dialect::Large),
            (None, LARGE + 1, Dialect::Large),
        ] {
            assert_eq!(dialect_of(name, parameters), dialect);
        }
    }
}

//! What every test of the service needs: the seed models in a store, a service with real workers, a generation read out.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use tally_inference::{
    AddMode, AddOptions, ChatRequest, ClientNonce, Completion, Event, Generation, InferenceError,
    Links, ModelName, ModelStore, Service, ServiceOptions, SignedReceipt, Signer, ToolCall,
    WorkerCommand,
};
use tally_receipt::SigningKey;

/// The store's name of the seed chat model.
pub(crate) const CHAT: &str = "seed-chat";
/// The store's name of the seed embedding model.
pub(crate) const EMBED: &str = "seed-embed";

/// The name under which [`World::add_reranker`] puts the seed reranking model.
pub(crate) const RERANK: &str = "seed-rerank";

/// The worker binary of this crate.
pub(crate) fn worker() -> WorkerCommand {
    WorkerCommand {
        program: PathBuf::from(env!("CARGO_BIN_EXE_tally-inference-worker")),
        args: Vec::new(),
    }
}

/// A directory with both seed models in a store.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: ModelStore,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = ModelStore::open(dir.path().join("store"));
        let world = Self { dir, store };
        world
            .add(CHAT, &tally_seed_model::chat_model(tally_seed_model::SEED))
            .await;
        world
            .add(
                EMBED,
                &tally_seed_model::embedding_model(tally_seed_model::SEED),
            )
            .await;
        world
    }

    /// Puts the seed reranking model into the store.
    pub(crate) async fn add_reranker(&self) {
        let bytes = tally_seed_model::reranking_model(tally_seed_model::SEED);
        self.add(RERANK, &bytes).await;
    }

    /// Puts a model into the store.
    pub(crate) async fn add(&self, name: &str, bytes: &[u8]) {
        let path = self.dir.path().join(format!("{name}.gguf"));
        std::fs::write(&path, bytes).expect("the file is written");
        let options = AddOptions {
            name: ModelName::parse(name),
            mode: AddMode::Copy,
            ..AddOptions::default()
        };
        self.store
            .add(&path, options, |_, _| {})
            .await
            .expect("the model is added");
    }

    pub(crate) fn weights(&self, digest: &str) -> PathBuf {
        self.store
            .dir()
            .join("weights")
            .join(format!("{digest}.gguf"))
    }

    pub(crate) fn service(&self) -> Service {
        self.service_with(|_| {})
    }

    /// A service with small contexts, changed by `change`.
    pub(crate) fn service_with(&self, change: impl FnOnce(&mut ServiceOptions)) -> Service {
        let mut options = ServiceOptions::new(worker());
        options.engine.context_tokens = 1024;
        options.engine.slots = 4;
        change(&mut options);
        Service::new(self.store.clone(), signer(), options)
    }
}

/// A signer with a fixed key and clock, and salts that differ.
pub(crate) fn signer() -> Signer {
    let salts = AtomicU8::new(0);
    Signer::new(
        SigningKey::from_seed(&[42; 32]),
        || 1_795_218_330_000,
        move || [salts.fetch_add(1, Ordering::Relaxed); 32],
    )
}

pub(crate) fn nonce(byte: u8) -> ClientNonce {
    ClientNonce::from_bytes([byte; 32])
}

/// A request that samples, for at most this many tokens.
pub(crate) fn sampled(text: &str, max_tokens: u32) -> ChatRequest {
    let mut request = ChatRequest::ask(CHAT, text);
    request.sampling.temperature = 0.8;
    request.sampling.top_k = 0;
    request.sampling.max_tokens = max_tokens;
    request
}

/// All that a generation gave.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) pieces: Vec<String>,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) done: Completion,
    pub(crate) receipt: SignedReceipt,
}

impl Answer {
    pub(crate) fn tokens(&self) -> Vec<u32> {
        self.receipt.output_tokens().to_vec()
    }
}

/// Reads a generation to its end.
pub(crate) async fn read(mut generation: Generation) -> Result<Answer, InferenceError> {
    let (mut pieces, mut calls, mut done) = (Vec::new(), Vec::new(), None);
    while let Some(event) = generation.next().await? {
        assert!(done.is_none(), "nothing follows the end");
        assert!(
            generation.receipt().is_none() || matches!(event, Event::Done(_)),
            "no receipt before the end"
        );
        match event {
            Event::Text(text) => {
                assert!(!text.is_empty(), "no empty text");
                pieces.push(text);
            }
            Event::ToolCall(call) => calls.push(call),
            Event::Done(completion) => done = Some(completion),
        }
    }
    assert!(generation.next().await?.is_none(), "the end stays the end");
    Ok(Answer {
        text: pieces.concat(),
        pieces,
        calls,
        done: done.expect("every generation ends with done"),
        receipt: generation.receipt().expect("a receipt after done").clone(),
    })
}

/// Asks and reads.
pub(crate) async fn ask(
    service: &Service,
    request: ChatRequest,
    nonce: ClientNonce,
) -> Result<Answer, InferenceError> {
    read(service.chat(request, nonce, Links::default()).await?).await
}

/// Whether a process exists, zombies not counted.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with(['Z', 'X'])
    })
}

/// Waits until a process is gone; fails after a while.
pub(crate) async fn wait_until_gone(pid: u32) {
    for _ in 0..1000 {
        if !is_alive(pid) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("process {pid} is still there");
}

/// Sends a signal to a worker, which must be there.
pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("the worker is there");
}

/// Sends a signal until the worker is gone. Rust's own handler for faults takes the first for a stack overflow, sees
/// that it is none, and gets out of the way of the second.
pub(crate) async fn signal_until_gone(pid: u32, signal: rustix::process::Signal) {
    let number = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process id");
    while is_alive(pid) {
        // It may be gone by now.
        let _ = rustix::process::kill_process(number, signal);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// The signed statement of an envelope, as text.
pub(crate) fn payload(envelope: &[u8]) -> String {
    let receipt = tally_receipt::Receipt::parse(envelope).expect("it is a receipt");
    String::from_utf8_lossy(receipt.envelope().payload()).into_owned()
}

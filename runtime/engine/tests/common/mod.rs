//! What the engine's tests share: guests built from source, a model that follows a script, and short ways to run.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use tally_engine::contract::{
    ChatRequest, Completion, Error, Event, FinishReason, Input, Level, Usage,
};
use tally_engine::{
    BoxFuture, CallContext, Clock, Component, Embeddings, Engine, EngineOptions, Entropy,
    Generation, Grant, Inference, NoMemory, NoVault, Outcome, OutputSink, Plan, ReceiptBytes,
    ReplayOptions, ReplayReport, RunReport, Services, Start, ToolPlugin,
};
use tally_journal::{Digest, Journal, Timestamp};

mod guests;
pub use guests::{bare_guest, with_section};

pub fn manifest(world: &str) -> String {
    let more = if world == "agent" {
        r#","tools":["*"],"output":true,"vault-curate":["*"]"#
    } else {
        ""
    };
    format!(
        r#"{{"format":1,"name":"probe","version":"1","world":"{world}","capabilities":{{"models":["*"],"settings":["*"],"random":true{more}}}}}"#
    )
}

pub fn agent_bytes() -> Vec<u8> {
    with_section(
        bare_guest("probe"),
        "tally:manifest",
        manifest("agent").as_bytes(),
    )
}

pub fn tool_bytes() -> Vec<u8> {
    with_section(
        bare_guest("probe_tool"),
        "tally:manifest",
        manifest("tool").as_bytes(),
    )
}

pub fn small() -> EngineOptions {
    EngineOptions {
        cache_dir: None,
        native_slots: 8,
        interpreted_slots: 2,
    }
}

pub static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&small()).unwrap());
pub static AGENT: LazyLock<Component> =
    LazyLock::new(|| ENGINE.load(&agent_bytes(), |_| {}).unwrap());
pub static TOOL: LazyLock<Component> =
    LazyLock::new(|| ENGINE.load(&tool_bytes(), |_| {}).unwrap());

/// A model that says the words of the prompt, one event for each.
///
/// `hang` never answers, `hang-later` not after the first word, `boom` fails. Vectors are made by `other`, and words by `m`, where no model is named.
#[derive(Default)]
pub struct Scripted {
    pub calls: Mutex<Vec<(ChatRequest, CallContext)>>,
    pub running: Arc<AtomicUsize>,
    pub leaves: bool,
    /// Whether no model makes vectors.
    pub without_vectors: bool,
}

struct Script {
    words: Vec<String>,
    at: usize,
    hangs: bool,
    done: bool,
    cancelled: bool,
    nonce: [u8; 32],
    running: Arc<AtomicUsize>,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Generation for Script {
    fn next<'a>(&'a mut self) -> BoxFuture<'a, Result<Option<Event>, Error>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self.done {
                return Ok(None);
            }
            if self.at < self.words.len() && !self.cancelled {
                if self.hangs && self.at == 1 {
                    std::future::pending::<()>().await;
                }
                self.at += 1;
                return Ok(Some(Event::Text(format!("{} ", self.words[self.at - 1]))));
            }
            self.done = true;
            let usage = Usage {
                prompt_tokens: 2,
                cached_tokens: 0,
                completion_tokens: self.at as u32,
            };
            let finish = if self.cancelled {
                FinishReason::Cancelled
            } else {
                FinishReason::Stop
            };
            Ok(Some(Event::Done(Completion { finish, usage })))
        })
    }

    fn receipt<'a>(&'a mut self) -> BoxFuture<'a, Result<ReceiptBytes, Error>> {
        let envelope = format!("{{\"receipt\":{:?}}}", self.nonce).into_bytes();
        let digest = Digest::of(&envelope);
        Box::pin(async move {
            Ok(ReceiptBytes {
                envelope,
                digest,
                signer: "ab".repeat(32),
                asked_salt: None,
                answered_salt: None,
            })
        })
    }

    fn cancel(&mut self) {
        self.cancelled = true;
    }
}

impl Inference for Scripted {
    fn models(&self) -> Vec<(String, Digest)> {
        vec![
            ("m".into(), Digest::of(b"m")),
            ("other".into(), Digest::of(b"other")),
        ]
    }

    fn embedding_model(&self) -> Result<String, String> {
        if self.without_vectors {
            return Err("no embedding model here".into());
        }
        Ok("other".into())
    }

    fn leaves_machine(&self, _model: &str) -> bool {
        self.leaves
    }

    fn chat<'a>(
        &'a self,
        request: ChatRequest,
        context: CallContext,
    ) -> BoxFuture<'a, Result<Box<dyn Generation>, Error>> {
        Box::pin(async move {
            let prompt = request.messages[0].content.clone();
            let nonce = context.nonce;
            self.calls.lock().unwrap().push((request, context));
            match prompt.as_str() {
                "hang" => std::future::pending().await,
                "boom" => return Err(Error::Failed("boom".into())),
                _ => {}
            }
            self.running.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(Script {
                hangs: prompt.starts_with("hang-later"),
                words: prompt.split(' ').map(str::to_owned).collect(),
                at: 0,
                done: false,
                cancelled: false,
                nonce,
                running: self.running.clone(),
            }) as Box<dyn Generation>)
        })
    }

    fn embed<'a>(
        &'a self,
        _model: &'a str,
        texts: Vec<String>,
        _context: CallContext,
    ) -> BoxFuture<'a, Result<Embeddings, Error>> {
        Box::pin(async move {
            let vectors = texts
                .iter()
                .map(|text| vec![0.6, 0.8 + text.len() as f32])
                .collect();
            Ok(Embeddings {
                vectors,
                tokens: 3,
                receipt: None,
            })
        })
    }
}

/// A clock that goes on by itself, and back once.
pub struct Ticking(AtomicUsize);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let tick = self.0.fetch_add(1, Ordering::SeqCst) as u64;
        let back = if tick == 3 { 100 } else { 0 };
        Timestamp::from_epoch(std::time::Duration::from_millis(
            1_763_700_000_000 + tick - back,
        ))
    }
}

/// Bytes that differ from call to call and from test to test in no way.
pub struct Counting(AtomicUsize);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        let seed = self.0.fetch_add(1, Ordering::SeqCst);
        let mut reader = blake3::Hasher::new()
            .update(&seed.to_le_bytes())
            .finalize_xof();
        reader.fill(bytes);
        Ok(())
    }
}

pub fn services(inference: Arc<dyn Inference>) -> Services {
    Services {
        inference,
        vault: Arc::new(NoVault),
        memory: Arc::new(NoMemory),
        clock: Arc::new(Ticking(AtomicUsize::new(0))),
        entropy: Arc::new(Counting(AtomicUsize::new(0))),
    }
}

/// Output kept for looking at.
#[derive(Clone, Default)]
pub struct Screen {
    pub shown: Arc<Mutex<String>>,
    pub log: Arc<Mutex<Vec<(u32, Level, String)>>>,
}

impl OutputSink for Screen {
    fn emit(&mut self, text: &str) -> std::io::Result<()> {
        self.shown.lock().unwrap().push_str(text);
        Ok(())
    }

    fn log(&mut self, frame: u32, level: Level, message: &str) -> std::io::Result<()> {
        self.log
            .lock()
            .unwrap()
            .push((frame, level, message.to_owned()));
        Ok(())
    }
}

/// A grant of everything, with these budgets (`"fuel":1,…`).
pub fn grant(budgets: &str) -> Grant {
    let text = format!(
        r#"{{"format":1,"budgets":{{{budgets}}},"capabilities":{{"models":["*"],"tools":["*"],"settings":["*"],"random":true,"output":true}}}}"#
    );
    Grant::from_json(text.as_bytes()).unwrap()
}

pub async fn tools() -> Vec<ToolPlugin> {
    vec![
        ToolPlugin::new(&ENGINE, "probe-tool", TOOL.clone(), &grant(""))
            .await
            .unwrap(),
    ]
}

pub async fn plan(budgets: &str) -> Plan {
    let settings = BTreeMap::from([("name".to_owned(), "value".to_owned())]);
    Plan::new(&ENGINE, &AGENT, &grant(budgets), tools().await, settings).unwrap()
}

pub fn start(command: &str) -> Start {
    Start::new(
        Input::text(command),
        services(Arc::new(Scripted::default())),
        Box::new(Screen::default()),
    )
}

/// Runs a command with these budgets.
pub async fn run_within(command: &str, budgets: &str) -> RunReport {
    ENGINE
        .run(&plan(budgets).await, start(command))
        .await
        .unwrap()
}

pub async fn run(command: &str) -> RunReport {
    run_within(command, "").await
}

/// The text of the reply.
pub fn reply(report: &RunReport) -> &str {
    match &report.outcome {
        Outcome::Replied(reply) => &reply.text,
        other => panic!("no reply: {other:?}"),
    }
}

pub fn journal(report: &RunReport) -> Arc<Journal> {
    Arc::new(Journal::parse(report.journal.clone().unwrap()).unwrap())
}

pub async fn replay(report: &RunReport) -> ReplayReport {
    ENGINE
        .replay(
            &journal(report),
            &AGENT,
            tools().await,
            ReplayOptions::default(),
        )
        .await
        .unwrap()
}

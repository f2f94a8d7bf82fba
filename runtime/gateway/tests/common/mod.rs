//! A small memory in a list, and a gateway above it. It finds by shared words and learns by a rule ("I …"): enough to see
//! that every face passes on what a memory says, and nothing of how a real one thinks.

#![allow(dead_code, reason = "each test file uses some of these")]

pub(crate) mod chromium;
pub(crate) mod described;
pub(crate) mod ledger;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use tally_gateway::*;
use tower::ServiceExt;

pub(crate) const START_MS: i64 = 1_795_000_000_000;

#[derive(Default)]
pub(crate) struct Notebook {
    kept: Mutex<Kept>,
    clock: Option<Arc<AtomicI64>>,
    /// Where a model waits before it puts a bio into words.
    phrasing: Option<Arc<Barrier>>,
}

#[derive(Default)]
struct Kept {
    memories: Vec<Memory>,
    history: BTreeMap<String, Vec<Change>>,
    /// What came in the place of what.
    corrected: BTreeMap<String, String>,
    bio: Option<String>,
    next: u64,
}

impl Notebook {
    /// One whose model waits here before it puts a bio into words.
    pub(crate) fn phrasing_behind(barrier: Arc<Barrier>) -> Self {
        Self {
            phrasing: Some(barrier),
            ..Self::default()
        }
    }

    fn now(&self) -> UnixMs {
        UnixMs(
            self.clock
                .as_ref()
                .map_or(START_MS, |clock| clock.load(Ordering::Relaxed)),
        )
    }
}

fn from_there(memory: &Memory, from: &Origin) -> bool {
    memory.source.as_ref() == Some(&from.app)
        && (from.thread.is_none() || memory.thread_id == from.thread)
}

fn id(number: u64) -> String {
    format!("{number:04x}{}", "5".repeat(60))
}

impl Kept {
    fn fresh(&mut self) -> String {
        self.next += 1;
        id(self.next)
    }

    /// By its id or its first digits, as a memory is found at a terminal.
    fn find(&mut self, wanted: &str) -> Result<&mut Memory, ServiceError> {
        self.memories
            .iter_mut()
            .find(|memory| wanted.len() >= 4 && memory.id.starts_with(wanted))
            .ok_or(ServiceError::NotFound)
    }
}

impl MemoryService for Notebook {
    fn remember(&self, turns: Remember) -> Result<Remembered, ServiceError> {
        let now = self.now();
        let mut kept = self.kept.lock().unwrap();
        let mut remembered = Remembered::default();
        for turn in turns.turns {
            if turn.text.contains("hunter2") {
                remembered.secrets += 1;
                remembered.note = Some("facts are being learnt from it".to_owned());
            }
            if turn.text.contains("boom") {
                panic!("the memory panics, as told");
            }
            if turn.text.contains("disk is full") {
                return Err(ServiceError::Failed(
                    "write /secret/path: no space".to_owned(),
                ));
            }
            let is_known = kept.memories.iter().any(|memory| {
                memory.level == Level::Episode
                    && memory.text == turn.text
                    && memory.thread_id.as_deref() == Some(&turns.thread)
            });
            if is_known {
                remembered.known += 1;
                continue;
            }
            let episode = Memory {
                id: kept.fresh(),
                text: turn.text.clone(),
                level: Level::Episode,
                source: Some(turns.app.clone()),
                thread_id: Some(turns.thread.clone()),
                said_by: turn.speaker.clone(),
                observed_at: turn.at,
                created_at: now,
                updated_at: now,
                ..Memory::default()
            };
            remembered.episodes += 1;
            if turn.voice == Voice::User && turn.text.starts_with("I ") {
                let fact = Memory {
                    id: kept.fresh(),
                    text: turn.text.replacen("I ", "User ", 1),
                    level: Level::Fact,
                    kind: "semantic".to_owned(),
                    categories: vec!["interests".to_owned()],
                    subject: Some("user".to_owned()),
                    modality: Some("asserted".to_owned()),
                    confidence: Some(0.9),
                    evidence: vec![Evidence {
                        episode: episode.id.clone(),
                        words: turn.text.clone(),
                        speaker: turn.speaker.clone(),
                        said_at: turn.at,
                        source: Some(turns.app.clone()),
                    }],
                    receipt: Some("ab".repeat(32)),
                    ..episode.clone()
                };
                kept.history.insert(
                    fact.id.clone(),
                    vec![Change {
                        at: now,
                        event: "learnt".to_owned(),
                        text: fact.text.clone(),
                        by: None,
                        receipt: fact.receipt.clone(),
                    }],
                );
                kept.memories.push(fact.clone());
                remembered.facts.push(fact);
            }
            kept.memories.push(episode);
        }
        Ok(remembered)
    }

    fn recall(&self, question: Recall) -> Result<Recalled, ServiceError> {
        let kept = self.kept.lock().unwrap();
        let words: Vec<String> = question
            .query
            .to_lowercase()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let mut hits: Vec<Hit> = kept
            .memories
            .iter()
            .filter(|memory| question.level.is_none_or(|level| memory.level == level))
            .filter(|memory| match question.as_of {
                Some(at) => memory.created_at <= at,
                None => question.past || memory.status == Status::Current,
            })
            .filter_map(|memory| {
                let text = memory.text.to_lowercase();
                let shared = words.iter().filter(|word| text.contains(&**word)).count();
                (shared > 0).then(|| Hit {
                    memory: memory.clone(),
                    score: shared as f64,
                    vector_distance: None,
                    rerank_score: None,
                    trace: vec![format!("words: {shared} shared")],
                })
            })
            .collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        hits.truncate(question.limit);
        let context: String = hits
            .iter()
            .map(|hit| format!("[memory] {}\n", hit.memory.text))
            .collect();
        Ok(Recalled {
            tokens: context.len() / 4,
            abstained: hits
                .is_empty()
                .then(|| "no word of the question is in it".to_owned()),
            hits,
            context,
            reranked: false,
        })
    }

    fn list(&self, listing: Listing) -> Result<Listed, ServiceError> {
        let kept = self.kept.lock().unwrap();
        let all: Vec<Memory> = kept
            .memories
            .iter()
            .rev()
            .filter(|memory| match listing.level {
                Some(level) => memory.level == level,
                None => memory.level != Level::Episode,
            })
            .filter(|memory| {
                listing
                    .category
                    .as_ref()
                    .is_none_or(|it| memory.categories.contains(it))
            })
            .filter(|memory| listing.past || memory.status == Status::Current)
            .cloned()
            .collect();
        let after: usize = match &listing.cursor {
            Some(cursor) => cursor.parse().map_err(|_| {
                ServiceError::Refused("the cursor is not one of this list".to_owned())
            })?,
            None => 0,
        };
        let start = after.saturating_add(listing.skip);
        let total = all.len() as u64;
        let end = start.saturating_add(listing.limit).min(all.len());
        Ok(Listed {
            next: (end < all.len()).then(|| end.to_string()),
            memories: all.into_iter().take(end).skip(start).collect(),
            total,
        })
    }

    fn get(&self, id: &str) -> Result<Memory, ServiceError> {
        self.kept.lock().unwrap().find(id).cloned()
    }

    fn history(&self, id: &str) -> Result<Vec<Change>, ServiceError> {
        let mut kept = self.kept.lock().unwrap();
        kept.find(id)?;
        Ok(kept.history.get(id).cloned().unwrap_or_default())
    }

    fn correct(&self, id: &str, text: &str) -> Result<Corrected, ServiceError> {
        let now = self.now();
        let mut kept = self.kept.lock().unwrap();
        let fresh = kept.fresh();
        let mut before = id.to_owned();
        while let Some(by) = kept.corrected.get(&before) {
            before = by.clone();
        }
        let old = kept.find(&before)?;
        if old.level == Level::Episode {
            return Err(ServiceError::Refused(
                "what was said cannot be corrected".to_owned(),
            ));
        }
        old.status = Status::Corrected;
        let new = Memory {
            id: fresh.clone(),
            text: text.to_owned(),
            level: Level::Correction,
            status: Status::Current,
            receipt: None,
            updated_at: now,
            ..old.clone()
        };
        kept.memories.push(new.clone());
        let mut history = kept.history.get(id).cloned().unwrap_or_default();
        history.push(Change {
            at: now,
            event: "corrected".to_owned(),
            text: text.to_owned(),
            by: Some(fresh.clone()),
            receipt: None,
        });
        kept.history.insert(id.to_owned(), history.clone());
        kept.history.insert(fresh.clone(), history);
        kept.corrected.insert(before.clone(), fresh);
        Ok(Corrected {
            memory: new,
            supersedes: before,
        })
    }

    fn confirm(&self, id: &str) -> Result<Memory, ServiceError> {
        let mut kept = self.kept.lock().unwrap();
        let memory = kept.find(id)?;
        memory.confirmed = true;
        Ok(memory.clone())
    }

    fn forget(&self, id: &str, cascade: bool) -> Result<Forgotten, ServiceError> {
        let mut kept = self.kept.lock().unwrap();
        let mut gone = vec![kept.find(id)?.clone()];
        if gone[0].text.contains("cling") {
            return Err(ServiceError::Failed(
                "write /secret/path: no space".to_owned(),
            ));
        }
        if gone[0].text.contains("slip") {
            kept.memories.retain(|memory| memory.id != id);
            return Err(ServiceError::Failed(
                "write /secret/path: no space".to_owned(),
            ));
        }
        if cascade {
            let episodes: Vec<String> = gone[0]
                .evidence
                .iter()
                .map(|it| it.episode.clone())
                .collect();
            gone.extend(
                kept.memories
                    .iter()
                    .filter(|memory| episodes.contains(&memory.id))
                    .cloned(),
            );
        }
        kept.memories
            .retain(|memory| !gone.iter().any(|it| it.id == memory.id));
        Ok(Forgotten {
            forgotten: gone.into_iter().map(|memory| memory.id).collect(),
            note: None,
        })
    }

    fn extent(&self, from: &Origin) -> Result<Extent, ServiceError> {
        let kept = self.kept.lock().unwrap();
        let count = |level| {
            let all = kept
                .memories
                .iter()
                .filter(|memory| from_there(memory, from));
            all.filter(|memory| memory.level == level).count() as u64
        };
        Ok(Extent {
            turns: count(Level::Episode),
            facts: count(Level::Fact),
            corrections: count(Level::Correction),
        })
    }

    fn forget_from(&self, from: &Origin, turns: u64) -> Result<ForgottenFrom, ServiceError> {
        let gone = self.extent(from)?;
        if gone.turns != turns {
            return Err(ServiceError::Refused(format!(
                "nothing was forgotten: {} turns are there",
                gone.turns
            )));
        }
        let mut kept = self.kept.lock().unwrap();
        kept.memories.retain(|memory| !from_there(memory, from));
        Ok(ForgottenFrom { gone, note: None })
    }

    fn profile(&self) -> Result<Profile, ServiceError> {
        let kept = self.kept.lock().unwrap();
        let lasting: Vec<ProfileLine> = kept
            .memories
            .iter()
            .filter(|memory| memory.level != Level::Episode && memory.status == Status::Current)
            .map(|memory| ProfileLine {
                text: memory.text.clone(),
                id: memory.id.clone(),
            })
            .collect();
        let rendered = lasting
            .iter()
            .map(|line| format!("{}.", line.text))
            .collect::<Vec<_>>()
            .join(" ");
        Ok(Profile {
            bio_is_own: kept.bio.is_some(),
            bio_is_editable: true,
            user_bio: kept.bio.clone().unwrap_or(rendered),
            categories: vec![ProfileCategory {
                name: "interests".to_owned(),
                lines: lasting.clone(),
            }],
            lasting,
            ..Profile::default()
        })
    }

    fn phrase(&self, length: BioLength) -> Result<PhrasedBio, ServiceError> {
        if let Some(barrier) = &self.phrasing {
            barrier.wait();
        }
        let lines = self.profile()?.lasting;
        Ok(PhrasedBio {
            text: format!("A {length:?} bio.").to_lowercase(),
            sentences: lines
                .into_iter()
                .map(|line| PhrasedSentence {
                    text: line.text,
                    by: "code".to_owned(),
                    memories: vec![line.id],
                })
                .collect(),
            note: Some("nobody was asked".to_owned()),
            ..PhrasedBio::default()
        })
    }

    fn set_bio(&self, text: Option<&str>) -> Result<Profile, ServiceError> {
        self.kept.lock().unwrap().bio = text.map(str::to_owned);
        self.profile()
    }

    fn ingest(
        &self,
        item: tally_import::Item,
        app: Option<&str>,
    ) -> Result<Remembered, ServiceError> {
        let (source, thread, turns) = match item {
            tally_import::Item::Conversation(chat) => (
                chat.source,
                chat.id,
                chat.turns
                    .into_iter()
                    .map(|turn| (turn.speaker.name, turn.text, turn.at))
                    .collect(),
            ),
            tally_import::Item::Document(document) => (
                document.source,
                document.id,
                document
                    .passages
                    .into_iter()
                    .map(|passage| (None, passage.text, None))
                    .collect::<Vec<_>>(),
            ),
        };
        self.remember(Remember {
            app: app.unwrap_or(source.name()).to_owned(),
            thread,
            turns: turns
                .into_iter()
                .map(|(speaker, text, at)| NewTurn {
                    key: None,
                    voice: Voice::Document,
                    speaker,
                    at: at.map(|when| UnixMs(when.moment.unix_ms())),
                    text,
                })
                .collect(),
        })
    }

    /// This memory takes a time of day for a secret.
    fn without_secrets(&self, name: &str) -> String {
        name.replace("21:40:00", "[hidden]")
    }

    fn grants(&self) -> Result<Vec<GrantInfo>, ServiceError> {
        Ok(vec![
            GrantInfo {
                name: "Laptop".to_owned(),
                kind: "device".to_owned(),
                rights: vec!["curate".to_owned()],
                until: None,
                revoked: false,
            },
            GrantInfo {
                name: "Travel agent".to_owned(),
                kind: "agent".to_owned(),
                rights: vec!["read".to_owned(), "append".to_owned()],
                until: Some(UnixMs(START_MS + 30 * 86_400_000)),
                revoked: false,
            },
        ])
    }

    fn calls(&self, limit: usize) -> Result<Vec<CallInfo>, ServiceError> {
        let call = CallInfo {
            at: self.now(),
            purpose: "extract".to_owned(),
            model: "tally-nano".to_owned(),
            prompt_tokens: 412,
            output_tokens: 58,
            took_ms: 900,
            outcome: "1 fact kept, 2 refused".to_owned(),
            receipt: Some("cd".repeat(32)),
            is_noted: false,
        };
        let noted = CallInfo {
            purpose: "embed".to_owned(),
            model: "letters".to_owned(),
            outcome: "failed: operator".to_owned(),
            receipt: None,
            is_noted: true,
            ..call.clone()
        };
        Ok(vec![noted, call].into_iter().take(2 * limit).collect())
    }
}

pub(crate) struct Bench {
    pub(crate) gateway: Gateway,
    pub(crate) router: Router,
    /// A key that may everything.
    pub(crate) key: String,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) kept_keys: Arc<Mutex<Vec<u8>>>,
}

pub(crate) fn bench() -> Bench {
    bench_with(|_| {})
}

pub(crate) fn bench_with(change: impl FnOnce(&mut Config)) -> Bench {
    bench_of(Notebook::default(), change)
}

pub(crate) fn bench_of(notebook: Notebook, change: impl FnOnce(&mut Config)) -> Bench {
    let clock = Arc::new(AtomicI64::new(START_MS));
    let kept_keys: Arc<Mutex<Vec<u8>>> = Arc::default();
    let (told, kept) = (Arc::clone(&clock), Arc::clone(&kept_keys));
    let mut config = Config::default();
    config.per_minute = 10_000;
    change(&mut config);
    let notebook = Notebook {
        clock: Some(Arc::clone(&clock)),
        ..notebook
    };
    let gateway = Gateway::new(
        config,
        Arc::new(notebook),
        KeyRing::default(),
        Arc::new(move |bytes| {
            *kept.lock().unwrap() = bytes.to_vec();
            Ok(())
        }),
        Arc::new(move || UnixMs(told.load(Ordering::Relaxed))),
    );
    let key = gateway
        .issue_key("test app", &Scope::ALL, None)
        .unwrap()
        .key;
    Bench {
        router: gateway.router(),
        gateway,
        key,
        clock,
        kept_keys,
    }
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// The code of an error, which has the one shape.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        let error = &json["error"];
        assert!(
            error["type"].is_string() && error["message"].is_string(),
            "{json}"
        );
        assert_eq!(
            error["request_id"],
            self.headers["x-request-id"].to_str().unwrap()
        );
        error["code"].as_str().unwrap().to_owned()
    }
}

impl Bench {
    /// Sends a request; what is answered, and what was taken, is as the OpenAPI document says.
    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let (asked, body) = request.into_parts();
        let body = to_bytes(body, 16 << 20).await.unwrap();
        let request = Request::from_parts(asked.clone(), Body::from(body.clone()));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, answer) = response.into_parts();
        let bytes = to_bytes(answer, 16 << 20).await.unwrap();
        described::check(&described::Exchange {
            method: &asked.method,
            path: asked.uri.path_and_query().map_or("/", |it| it.as_str()),
            sent: serde_json::from_slice(&body).ok().as_ref(),
            status: parts.status,
            headers: &parts.headers,
            answer: &bytes,
        });
        Reply {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// With the key that may everything.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        self.call_as(&self.key, method, path, body).await
    }

    pub(crate) async fn call_as(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Reply {
        let request = request(method, path).header("x-api-key", key);
        self.send(match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string()))
                .unwrap(),
            None => request.body(Body::empty()).unwrap(),
        })
        .await
    }

    /// Signs in; gives the cookie.
    pub(crate) async fn cookie(&self) -> String {
        let secret = self.gateway.sign_in_secret().unwrap();
        let reply = self
            .send(
                request(Method::POST, "/console/sign-in")
                    .body(Body::from(format!("secret={secret}")))
                    .unwrap(),
            )
            .await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.text);
        let cookie = reply.headers["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    pub(crate) async fn page(&self, cookie: &str, path: &str) -> Reply {
        self.send(
            request(Method::GET, path)
                .header("cookie", cookie)
                .body(Body::empty())
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn form(&self, cookie: &str, path: &str, body: &str) -> Reply {
        self.send(
            request(Method::POST, path)
                .header("cookie", cookie)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(body.to_owned()))
                .unwrap(),
        )
        .await
    }

    /// A memory of what a person said over some weeks.
    pub(crate) fn fill(&self) {
        // Through the same door as everybody.
        let said = [
            ("chat", "I like rye bread with caraway"),
            ("chat", "I moved to Ghent in March"),
            (
                "mail",
                "I am learning to row, on Tuesdays, with Mara and two people from the club whose names I keep forgetting",
            ),
            ("chat", "Can you find me a train to Bruges?"),
            (
                "notes",
                "I <b>never</b> drink coffee after \"four\" & sleep better for it",
            ),
        ];
        let runtime = tokio::runtime::Handle::current();
        for (index, (app, text)) in said.into_iter().enumerate() {
            self.clock
                .store(START_MS + index as i64 * 90_000_000, Ordering::Relaxed);
            let body = serde_json::json!({
                "agent_id": app, "thread_id": "t",
                "messages": [{ "role": "user", "name": "Anna", "content": text, "timestamp": "2026-11-17T10:00:00Z" }]
            });
            tokio::task::block_in_place(|| {
                runtime.block_on(async {
                    let reply = self.call(Method::POST, "/v1/memories", Some(body)).await;
                    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
                });
            });
        }
    }
}

pub(crate) fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:7411")
}

//! Fits long-term memory to what the engine asks for: the memories in the vault of one agent, opened with the agent's own key.
//!
//! A memory is built from the vault when it is first asked for, and the embedding model is looked for then. What an agent remembers is of
//! the app that it is to the vault, and keeps to what its key may do there. Work on a memory waits on the disk and on the
//! model, so it runs on threads of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tally_capability::Access;
use tally_engine::contract::Error;
use tally_engine::contract::memory::{
    Cited, Forgotten, Hit, Layer, Part, Portrait, ProfileLine, Question, Recalled, Remembered,
    Source, State, Turn, Voice,
};
use tally_engine::{BoxFuture, Services};
use tally_inference::Service;
use tally_journal::EntryHash;
use tally_memory::profile::{Entry, Length};
use tally_memory::secrets::Identifiers;
use tally_memory::{
    ChangeError, FindError, LoadError, Memory, MemoryId, Mode, Moment, Options, RecallError,
    RememberError, Role, Search, SharedEmbedder, SharedVault,
};
use tally_vault::Vault;
use tally_vault::format::RunId;
use tokio::runtime::Handle;

use crate::calls::Calls;
use crate::embedder::{LocalEmbedder, chosen};
use crate::home::Home;
use crate::memories;
use crate::setup;
use crate::vault_service::{AgentVault, readable, shared, written};

/// Most lines of a profile.
const LINES_MAX: usize = 256;
/// What the owner is called whom nobody has named yet.
const OWNER: &str = "me";

/// Finds the embedding model of this machine, where there is one.
type FindEmbedder = Box<dyn Fn() -> Result<Option<SharedEmbedder>, String> + Send + Sync>;

/// Gives a run the vault that was opened with its agent's key, and the memories in it.
pub(crate) fn give(
    services: &mut Services,
    agent: String,
    vault: Vault,
    home: Home,
    service: Service,
    embedding: Option<String>,
    identifiers: Option<Identifiers>,
) {
    let vault: SharedVault = Arc::new(Mutex::new(vault));
    services.vault = AgentVault::new(vault.clone());
    let handle = Handle::current();
    let find: FindEmbedder = Box::new(move || {
        let chosen = handle
            .block_on(async { chosen(&setup::store(&home).await?, embedding.as_deref()).await });
        let record = chosen.map_err(|failure| failure.message().to_owned())?;
        Ok(record.map(|record| {
            let embedder = LocalEmbedder::new(service.clone(), &record, handle.clone());
            Arc::new(embedder.noting(Calls::of(&home))) as SharedEmbedder
        }))
    });
    services.memory = AgentMemory::new(vault, agent, find, identifiers);
}

/// The memories in a vault that was opened with an agent's key.
struct AgentMemory(Arc<Inner>);

struct Inner {
    vault: SharedVault,
    /// What the agent is to the vault.
    agent: String,
    find: FindEmbedder,
    /// What the run was told, where it is stricter than what the owner wants.
    identifiers: Option<Identifiers>,
    opened: Mutex<Opened>,
}

#[derive(Default)]
struct Opened {
    embedder: Option<Option<SharedEmbedder>>,
    memories: BTreeMap<String, Memory>,
}

impl AgentMemory {
    /// Memories in the vault of the agent of this name.
    fn new(
        vault: SharedVault,
        agent: String,
        find: FindEmbedder,
        identifiers: Option<Identifiers>,
    ) -> Arc<Self> {
        Arc::new(Self(Arc::new(Inner {
            vault,
            agent,
            find,
            identifiers,
            opened: Mutex::default(),
        })))
    }

    /// Works on a memory, as it is now, away from the threads that wait on agents.
    fn work<'a, T: Send + 'static>(
        &self,
        namespace: String,
        needs: Access,
        run: Option<EntryHash>,
        work: impl FnOnce(&Inner, &mut Memory) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, Error>> {
        let inner = self.0.clone();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || {
                let mut opened = lock(&inner.opened);
                let memory = inner.memory(&mut opened, &namespace, needs)?;
                memory.write_as_run(run.map(|run| RunId(*run.as_bytes())));
                work(&inner, memory)
            })
            .await
            .map_err(|error| Error::Failed(format!("the memory's thread ended: {error}")))?
        })
    }
}

impl Inner {
    /// The memory in a namespace, with what others wrote meanwhile.
    fn memory<'o>(
        &self,
        opened: &'o mut Opened,
        namespace: &str,
        needs: Access,
    ) -> Result<&'o mut Memory, Error> {
        {
            let mut vault = lock(&self.vault);
            readable(&mut vault, namespace)?;
            shared(&mut vault, namespace, needs)?;
        }
        if !opened.memories.contains_key(namespace) {
            if opened.embedder.is_none() {
                opened.embedder = Some((self.find)().map_err(Error::Unavailable)?);
            }
            let memory = Memory::open_with(
                self.vault.clone(),
                namespace,
                Options {
                    identifiers: self.identifiers,
                    ..Options::default()
                },
                opened.embedder.clone().flatten(),
            )
            .map_err(load)?;
            memories::say_if_laxer(&memory, self.identifiers);
            opened.memories.insert(namespace.to_owned(), memory);
        }
        let memory = opened
            .memories
            .get_mut(namespace)
            .expect("it was put there");
        memory.refresh().map_err(load)?;
        Ok(memory)
    }
}

impl tally_engine::Memory for AgentMemory {
    fn remember<'a>(
        &'a self,
        namespace: String,
        turns: Vec<Turn>,
        run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<Remembered, Error>> {
        self.work(namespace, Access::Append, run, move |inner, memory| {
            let owner = memory.owner().unwrap_or(OWNER).to_owned();
            let turns: Vec<_> = turns
                .into_iter()
                .map(|turn| turn_of(turn, &inner.agent, &owner))
                .collect::<Result<_, Error>>()?;
            // A replay is told what this run was, so the time is this machine's.
            let report = memory.remember_live(&turns, now()?).map_err(remembering)?;
            let mut secrets: Vec<String> = report
                .secrets
                .iter()
                .map(|(_, kind)| kind.as_str().to_owned())
                .collect();
            secrets.sort_unstable();
            secrets.dedup();
            Ok(Remembered {
                ids: report.new.iter().map(ToString::to_string).collect(),
                known: count(report.known),
                forgotten: count(report.forgotten),
                empty: count(report.empty),
                secrets,
            })
        })
    }

    fn recall<'a>(
        &'a self,
        namespace: String,
        question: Question,
    ) -> BoxFuture<'a, Result<Recalled, Error>> {
        self.work(namespace, Access::Read, None, move |_, memory| {
            let found = memory
                .recall(&search(question)?, now()?)
                .map_err(|error| match error {
                    RecallError::Empty | RecallError::TooLong { .. } => {
                        Error::Invalid(error.to_string())
                    }
                    other => Error::Unavailable(other.to_string()),
                })?;
            Ok(Recalled {
                context: found.context(),
                tokens: found.tokens,
                abstain: found.abstention.advised,
                hits: found
                    .hits
                    .into_iter()
                    .map(|hit| described(memory, hit))
                    .collect::<Result<_, Error>>()?,
            })
        })
    }

    fn profile<'a>(&'a self, namespace: String) -> BoxFuture<'a, Result<Portrait, Error>> {
        self.work(namespace, Access::Read, None, move |_, memory| {
            let at = now()?;
            let profile = memory.profile(at);
            let mut found: BTreeMap<u32, (&Entry, Vec<String>)> = BTreeMap::new();
            for (category, entries) in &profile.categories {
                for entry in entries {
                    let (_, categories) =
                        found.entry(entry.citation).or_insert((entry, Vec::new()));
                    categories.push(category.as_str().to_owned());
                }
            }
            let is_in = |entries: &[Entry], id| entries.iter().any(|entry| entry.id == id);
            let lines = found
                .into_values()
                .take(LINES_MAX)
                .map(|(entry, categories)| ProfileLine {
                    id: entry.id.to_string(),
                    part: if is_in(&profile.lasting, entry.id) {
                        Part::Lasting
                    } else if is_in(&profile.recent, entry.id) {
                        Part::Recent
                    } else {
                        Part::Other
                    },
                    subject: entry.subject.clone(),
                    text: entry.text.clone(),
                    categories,
                    said_by: entry.said_by.clone(),
                    said_at: entry.said_at.to_string(),
                    begins: text(entry.from),
                    planned: entry.planned,
                    times: entry.times,
                    confidence: entry.confidence.into(),
                    evidence: entry.evidence.iter().map(ToString::to_string).collect(),
                })
                .collect();
            Ok(Portrait {
                bio: memory.bio(Length::Medium, at).text,
                lines,
            })
        })
    }

    fn correct<'a>(
        &'a self,
        namespace: String,
        id: String,
        text: String,
        why: String,
        run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<String, Error>> {
        self.work(namespace, Access::Curate, run, move |_, memory| {
            let id = named(memory, &id)?;
            let corrected = memory
                .correct(&id, &text, None, None, &why, now()?)
                .map_err(changing)?;
            Ok(corrected.to_string())
        })
    }

    fn forget<'a>(
        &'a self,
        namespace: String,
        ids: Vec<String>,
        reason: String,
        run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<Forgotten, Error>> {
        self.work(namespace, Access::Curate, run, move |_, memory| {
            let ids: Vec<MemoryId> = ids
                .iter()
                .map(|id| named(memory, id))
                .collect::<Result<_, Error>>()?;
            let forgot = memory.forget(&ids, &reason, now()?).map_err(changing)?;
            Ok(Forgotten {
                ids: forgot.memories.iter().map(ToString::to_string).collect(),
                unproved: forgot.unproved.iter().map(ToString::to_string).collect(),
                remains: forgot.remains.iter().map(ToString::to_string).collect(),
            })
        })
    }
}

fn now() -> Result<Moment, Error> {
    memories::now().map_err(|failure| Error::Unavailable(failure.message().to_owned()))
}

fn turn_of(turn: Turn, agent: &str, owner: &str) -> Result<tally_memory::Turn, Error> {
    let role = match turn.voice {
        Voice::User => Role::Owner,
        Voice::Person => Role::Person,
        Voice::Assistant => Role::Assistant,
        Voice::Tool => Role::Tool,
        Voice::Document => Role::Document,
    };
    let usual = match role {
        Role::Owner => owner,
        Role::Assistant => agent,
        other => other.as_str(),
    };
    Ok(tally_memory::Turn {
        app: agent.to_owned(),
        thread: turn.thread,
        key: turn.key,
        role,
        speaker: turn.speaker.unwrap_or_else(|| usual.to_owned()),
        at: turn.at.as_deref().map(moment).transpose()?,
        text: turn.text,
    })
}

fn search(question: Question) -> Result<Search, Error> {
    Ok(Search {
        text: question.text,
        mode: match question.state {
            State::Current => Mode::Current,
            State::AsOf(at) => Mode::AsOf(moment(&at)?),
            State::Everything => Mode::Everything,
        },
        categories: question
            .categories
            .iter()
            .map(|name| {
                name.parse()
                    .map_err(|error: tally_memory::record::UnknownCategory| {
                        Error::Invalid(format!("{name:?}: {error}"))
                    })
            })
            .collect::<Result<_, _>>()?,
        apps: question.apps,
        threads: question.threads,
        speakers: question.speakers,
        only: question.only.map(|layer| match layer {
            Layer::Episode => tally_memory::Layer::Episodes,
            Layer::Fact => tally_memory::Layer::Facts,
        }),
        hits: Some(question.hits as usize).filter(|hits| *hits > 0),
        tokens: Some(question.tokens).filter(|tokens| *tokens > 0),
        ..Search::default()
    })
}

fn described(memory: &Memory, hit: tally_memory::Hit) -> Result<Hit, Error> {
    let from = memory
        .provenance(&hit.id)
        .ok_or_else(|| Error::Failed(format!("{} was found and is not there", hit.id)))?;
    Ok(Hit {
        id: hit.id.to_string(),
        layer: match hit.id {
            MemoryId::Episode(_) => Layer::Episode,
            MemoryId::Fact(_) | MemoryId::Correction(_) => Layer::Fact,
        },
        corrected: matches!(hit.id, MemoryId::Correction(_)),
        voice: match hit.role {
            Role::Owner => Voice::User,
            Role::Person => Voice::Person,
            Role::Assistant => Voice::Assistant,
            Role::Tool => Voice::Tool,
            Role::Document => Voice::Document,
        },
        text: hit.text,
        speaker: hit.speaker,
        said_at: hit.said_at.to_string(),
        begins: text(hit.place.and_then(|place| place.from)),
        ends: text(hit.place.and_then(|place| place.until)),
        categories: hit
            .categories
            .iter()
            .map(|one| one.as_str().to_owned())
            .collect(),
        confidence: hit.confidence.map(u32::from),
        evidence: hit
            .evidence
            .into_iter()
            .map(|cited| Cited {
                episode: cited.episode.to_string(),
                words: cited.words,
                speaker: cited.speaker,
                said_at: text(cited.said_at),
                app: cited.app,
            })
            .collect(),
        source: Source {
            app: hit.app,
            thread: hit.thread,
            operation: from.operation.to_string(),
            author: from.author.to_string(),
            run: from.run.map(|run| run.to_string()),
            receipt: hit.receipt,
        },
        score: hit.score,
        tokens: hit.tokens,
    })
}

fn moment(text: &str) -> Result<Moment, Error> {
    memories::moment(text).map_err(|failure| Error::Invalid(failure.message().to_owned()))
}

fn text(moment: Option<Moment>) -> Option<String> {
    moment.map(|moment| moment.to_string())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn named(memory: &Memory, id: &str) -> Result<MemoryId, Error> {
    memory
        .find(id)
        .map_err(|error: FindError| Error::Invalid(error.to_string()))
}

/// Whose turn it is when turns are not remembered.
fn remembering(error: RememberError) -> Error {
    match error {
        RememberError::Turn(error) => Error::Invalid(error.to_string()),
        RememberError::Write(error) => written(error),
        RememberError::Load(error) => load(error),
        other => Error::Unavailable(other.to_string()),
    }
}

/// Whose turn it is when something is not changed.
fn changing(error: ChangeError) -> Error {
    match error {
        ChangeError::NoSuchMemory(_) | ChangeError::Said(_) | ChangeError::Record(_) => {
            Error::Invalid(error.to_string())
        }
        ChangeError::Write(error) => written(error),
        ChangeError::Load(error) => load(error),
        other => Error::Failed(other.to_string()),
    }
}

fn load(error: LoadError) -> Error {
    match error {
        LoadError::NoSuchNamespace(_) => Error::Denied(error.to_string()),
        other => Error::Unavailable(other.to_string()),
    }
}

/// What a panic left behind a lock here is whole: a memory writes before it changes what it holds.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

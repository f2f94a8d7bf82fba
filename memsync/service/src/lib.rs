//! A memory in a vault, as the gateway's faces see it.
//!
//! Two views of the same namespace are open: one answers, the other learns. A call of a model takes seconds, and nobody who
//! searches waits for it; what the learning view writes, the answering one takes in with its next look. Both write through one
//! vault, in turns with other programs of this machine.

mod imported;

use std::collections::BTreeSet;
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::{Duration, Instant};

use tally_gateway::{
    BioLength, CallInfo, Change, Corrected, Evidence, Forgotten, GrantInfo, Hit, Level, Listed,
    Listing, MemoryService, NamedText, PhrasedBio, PhrasedSentence, Profile, ProfileCategory,
    ProfileLine, Recall, Recalled, Remember, Remembered, ServiceError, Status, UnixMs, Voice,
};
use tally_import::Item;
use tally_memory::profile::{Entry, Length};
use tally_memory::recall::Arm;
use tally_memory::record::Call;
use tally_memory::{
    AskError, By, Category, ChangeError, ChatModel, Cited, EpisodeId, FindError, LoadError, Memory,
    MemoryId, Mode, Moment, RecallError, RememberError, Role, Search, SharedVault, Turn,
};
use tally_vault::Vault;

pub use imported::{PIECE, in_pieces, turns_of};

/// How old what others wrote may be before it is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an answer waits for what is learnt from it.
const LEARN_PATIENCE: Duration = Duration::from_secs(20);

/// What time it is.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Who may use a vault, by the names that whoever opened it knows.
pub type Grants = Arc<dyn Fn(&mut Vault) -> Result<Vec<GrantInfo>, ServiceError> + Send + Sync>;

/// What this machine noted of calls of models that no vault has a record of: at most so many, newest first.
pub type Noted = Arc<dyn Fn(usize) -> Result<Vec<CallInfo>, ServiceError> + Send + Sync>;

/// A model to learn with.
pub type Model = Box<dyn ChatModel + Send>;

/// A model that puts a bio into words; several may ask it at once.
pub type Phraser = Arc<dyn ChatModel + Send + Sync>;

/// A memory in a vault, with all that its faces need.
pub struct VaultMemory {
    vault: SharedVault,
    clock: Clock,
    grants: Grants,
    answering: RwLock<Answering>,
    learner: Option<Arc<Progress>>,
    phraser: Option<Phraser>,
    noted: Option<Noted>,
}

struct Answering {
    memory: Memory,
    looked: Instant,
}

/// How far learning is.
#[derive(Default)]
struct Progress {
    state: Mutex<Learning>,
    changed: Condvar,
}

#[derive(Default)]
struct Learning {
    /// Rounds that were asked for, and that were ended.
    wanted: u64,
    ended: u64,
    /// Why the last round stopped early.
    error: Option<String>,
    /// Nobody will ask again.
    over: bool,
}

impl VaultMemory {
    /// `learning` is a second view of the same namespace of the same vault, and the model to learn with; without it what is
    /// said is kept and found, and no facts are learnt.
    #[must_use]
    pub fn new(
        vault: SharedVault,
        memory: Memory,
        learning: Option<(Memory, Model)>,
        clock: Clock,
        grants: Grants,
    ) -> Self {
        let learner = learning.map(|(memory, model)| {
            let progress = Arc::new(Progress::default());
            let (theirs, clock) = (Arc::clone(&progress), Arc::clone(&clock));
            std::thread::spawn(move || {
                // A panic must not let those wait who wait for the end of a round.
                let _over = Over(&theirs);
                learn(memory, &*model, &clock, &theirs);
            });
            progress
        });
        Self {
            vault,
            clock,
            grants,
            answering: RwLock::new(Answering {
                memory,
                looked: Instant::now(),
            }),
            learner,
            phraser: None,
            noted: None,
        }
    }

    /// The same, with a model that puts a bio into words for whoever asks for that.
    #[must_use]
    pub fn phrasing_with(mut self, model: Phraser) -> Self {
        self.phraser = Some(model);
        self
    }

    /// The same, which shows beside the vault's records of calls what this machine noted.
    #[must_use]
    pub fn showing_noted(mut self, noted: Noted) -> Self {
        self.noted = Some(noted);
        self
    }

    /// The answering view, not older than [`LOOK_EVERY`]. Questions are answered side by side: a model may take its time.
    fn answering(&self) -> Result<RwLockReadGuard<'_, Answering>, ServiceError> {
        let view = self
            .answering
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if view.looked.elapsed() < LOOK_EVERY {
            return Ok(view);
        }
        drop(view);
        drop(self.changing()?);
        // It may be older than that again by now, if others were long; not by more than they took.
        Ok(self
            .answering
            .read()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// The same, to change it.
    fn changing(&self) -> Result<RwLockWriteGuard<'_, Answering>, ServiceError> {
        self.up_to_date().map_err(load)
    }

    fn up_to_date(&self) -> Result<RwLockWriteGuard<'_, Answering>, LoadError> {
        let mut view = self
            .answering
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if view.looked.elapsed() >= LOOK_EVERY {
            view.look()?;
        }
        Ok(view)
    }

    /// Asks for a round of learning, and waits for its end if `patience` lasts so long. Gives what a person is told.
    fn learn_soon(&self, patience: Duration) -> Option<String> {
        let Some(progress) = &self.learner else {
            return Some(
                "kept and searchable; this server was started without learning facts".to_owned(),
            );
        };
        let mut state = lock(&progress.state);
        state.wanted += 1;
        let mine = state.wanted;
        progress.changed.notify_all();
        let (state, _) = progress
            .changed
            .wait_timeout_while(state, patience, |state| state.ended < mine)
            .unwrap_or_else(PoisonError::into_inner);
        if state.ended < mine {
            return Some("kept and searchable; facts are being learnt from it".to_owned());
        }
        state
            .error
            .as_ref()
            .map(|error| format!("kept and searchable; learning stopped: {error}"))
    }
}

impl Drop for VaultMemory {
    fn drop(&mut self) {
        if let Some(progress) = &self.learner {
            lock(&progress.state).over = true;
            progress.changed.notify_all();
        }
    }
}

impl Answering {
    fn look(&mut self) -> Result<(), LoadError> {
        self.memory.refresh()?;
        self.looked = Instant::now();
        Ok(())
    }
}

/// Ends every round when the learning thread ends.
struct Over<'a>(&'a Progress);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if !state.over {
            state.over = true;
            state.ended = u64::MAX;
            state.error = Some("learning has failed; the server's log says why".to_owned());
        }
        self.0.changed.notify_all();
    }
}

/// The learning thread: round after round, one call of the model at a time.
fn learn(mut memory: Memory, model: &dyn ChatModel, clock: &Clock, progress: &Progress) {
    loop {
        let round = {
            let state = lock(&progress.state);
            let state = progress
                .changed
                .wait_while(state, |state| state.wanted == state.ended && !state.over)
                .unwrap_or_else(PoisonError::into_inner);
            if state.over {
                return;
            }
            state.wanted
        };
        let outcome = memory
            .refresh()
            .map_err(|error| error.to_string())
            .and_then(|()| {
                loop {
                    let learnt = memory
                        .learn(model, clock(), 1, |_| ())
                        .map_err(|error| error.to_string())?;
                    if learnt.remaining == 0
                        || learnt.calls.is_empty()
                        || lock(&progress.state).over
                    {
                        return Ok(());
                    }
                }
            });
        if let Err(error) = &outcome {
            tracing::warn!("learn from what was said: {error}");
        }
        let mut state = lock(&progress.state);
        state.ended = round;
        state.error = outcome.err();
        progress.changed.notify_all();
    }
}

impl MemoryService for VaultMemory {
    fn remember(&self, turns: Remember) -> Result<Remembered, ServiceError> {
        let turns: Vec<Turn> = turns
            .turns
            .into_iter()
            .map(|turn| {
                let role = match turn.voice {
                    Voice::User => Role::Owner,
                    Voice::Assistant => Role::Assistant,
                    Voice::Person => Role::Person,
                    Voice::Tool => Role::Tool,
                    Voice::Document => Role::Document,
                };
                Ok(Turn {
                    app: turns.app.clone(),
                    thread: turns.thread.clone(),
                    key: turn.key,
                    role,
                    speaker: turn.speaker.unwrap_or_else(|| speaker(role).to_owned()),
                    at: turn.at.map(moment).transpose()?,
                    text: turn.text,
                })
            })
            .collect::<Result<_, ServiceError>>()?;
        let kept = self.keep(&turns)?;
        self.told(kept, LEARN_PATIENCE)
    }

    fn ingest(&self, item: Item, app: Option<&str>) -> Result<Remembered, ServiceError> {
        // Questions are answered between two pieces.
        let kept = in_pieces(&turns_of(item, app), |piece| {
            self.up_to_date()?.memory.remember(piece)
        })
        .map_err(not_kept)?;
        // A file is read to its end first; what is learnt from it comes by and by.
        self.told(kept, Duration::ZERO)
    }

    fn without_secrets(&self, name: &str) -> String {
        tally_memory::secrets::mask_name(name)
    }

    fn recall(&self, question: Recall) -> Result<Recalled, ServiceError> {
        let search = Search {
            text: question.query,
            mode: match (question.as_of, question.past) {
                (Some(at), _) => Mode::AsOf(moment(at)?),
                (None, true) => Mode::Everything,
                (None, false) => Mode::Current,
            },
            categories: question
                .categories
                .iter()
                .map(|name| category(name))
                .collect::<Result<_, _>>()?,
            apps: question.app.into_iter().collect(),
            threads: question.thread.into_iter().collect(),
            hits: Some(question.limit),
            tokens: question
                .tokens
                .map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX)),
            rerank: question.rerank,
            ..Search::default()
        };
        let at = (self.clock)();
        let answering = self.answering()?;
        let recalled = answering
            .memory
            .recall(&search, at)
            .map_err(|error| match error {
                RecallError::Empty | RecallError::TooLong { .. } => {
                    ServiceError::Refused(error.to_string())
                }
                other => ServiceError::Busy(other.to_string()),
            })?;
        let hits = recalled
            .hits
            .iter()
            .filter_map(|hit| {
                let mut memory = described(&answering.memory, &hit.id, at)?;
                // What is searched of an episode: without secrets, without what was recalled into it.
                memory.text.clone_from(&hit.text);
                Some(Hit {
                    memory,
                    score: f64::from(hit.score),
                    vector_distance: None,
                    rerank_score: hit.trace.part(Arm::Reranker).map(f64::from),
                    trace: hit
                        .trace
                        .0
                        .iter()
                        .map(|(arm, value)| format!("{arm:?}: {value:+.3}").to_lowercase())
                        .collect(),
                })
            })
            .collect();
        let abstained = recalled.abstention.advised.then(|| {
            if recalled.abstention.said_by_somebody_else {
                "what matches best was said by somebody whom the question does not ask about"
                    .to_owned()
            } else {
                format!(
                    "the best memories hold {:.0} % of what the question's words weigh",
                    recalled.abstention.covered * 100.0
                )
            }
        });
        Ok(Recalled {
            hits,
            context: recalled.context(),
            tokens: recalled.tokens as usize,
            abstained,
            reranked: recalled.reranked,
        })
    }

    fn list(&self, listing: Listing) -> Result<Listed, ServiceError> {
        let wanted = listing.category.as_deref().map(category).transpose()?;
        let after: usize = match &listing.cursor {
            Some(cursor) => cursor.parse().map_err(|_| {
                ServiceError::Refused("the cursor is not one that a list here gave".to_owned())
            })?,
            None => 0,
        };
        let start = after.saturating_add(listing.skip);
        let at = (self.clock)();
        let answering = self.answering()?;
        let memory = &answering.memory;
        let mut ids: Vec<MemoryId> = match listing.level {
            Some(Level::Episode) => memory
                .episodes()
                .into_iter()
                .map(MemoryId::Episode)
                .collect(),
            level => memory
                .facts()
                .into_iter()
                .filter(|id| match level {
                    Some(Level::Fact) => matches!(id, MemoryId::Fact(_)),
                    Some(Level::Correction) => matches!(id, MemoryId::Correction(_)),
                    _ => true,
                })
                .collect(),
        };
        ids.reverse();
        ids.retain(|id| {
            if let MemoryId::Episode(id) = id {
                return wanted.is_none()
                    && memory.episode(id).is_some_and(|(episode, _)| {
                        listing.app.as_ref().is_none_or(|app| *app == episode.app)
                            && listing
                                .thread
                                .as_ref()
                                .is_none_or(|it| *it == episode.thread)
                    });
            }
            memory.show(id).is_some_and(|shown| {
                let app = shown.evidence.first().and_then(|cited| cited.app.as_ref());
                let thread = || {
                    let cited = shown.evidence.first()?;
                    Some(&memory.episode(&cited.episode)?.0.thread)
                };
                (listing.past || shown.place.is_some_and(|place| place.stands_at(at)))
                    && wanted.is_none_or(|wanted| shown.fact.categories.contains(&wanted))
                    && (listing.app.is_none() || listing.app.as_ref() == app)
                    && (listing.thread.is_none() || listing.thread.as_ref() == thread())
            })
        });
        let end = ids.len().min(listing.limit.saturating_add(start));
        Ok(Listed {
            memories: ids
                .get(start..end)
                .unwrap_or_default()
                .iter()
                .filter_map(|id| described(memory, id, at))
                .collect(),
            next: (end < ids.len()).then(|| end.to_string()),
            total: ids.len() as u64,
        })
    }

    fn get(&self, id: &str) -> Result<tally_gateway::Memory, ServiceError> {
        let at = (self.clock)();
        let answering = self.answering()?;
        let id = named(&answering.memory, id)?;
        described(&answering.memory, &id, at).ok_or(ServiceError::NotFound)
    }

    fn history(&self, id: &str) -> Result<Vec<Change>, ServiceError> {
        let answering = self.answering()?;
        let memory = &answering.memory;
        let id = named(memory, id)?;
        let receipt = memory.show(&id).and_then(|shown| shown.receipt);
        let events = memory.history(&id).map_err(change)?;
        Ok(events
            .into_iter()
            .map(|event| Change {
                at: UnixMs(event.at.unix_ms()),
                event: event.what.to_owned(),
                text: event.sentence,
                by: event.other.map(|id| id.to_string()),
                receipt: receipt.clone().filter(|_| event.what == "learnt"),
            })
            .collect())
    }

    fn correct(&self, id: &str, text: &str) -> Result<Corrected, ServiceError> {
        let at = (self.clock)();
        let mut answering = self.changing()?;
        let id = named(&answering.memory, id)?;
        let before = answering
            .memory
            .show(&id)
            .map_or(id, |shown| shown.corrected_by.unwrap_or(id));
        let new = answering
            .memory
            .correct(&id, text, None, None, "", at)
            .map_err(change)?;
        Ok(Corrected {
            memory: described(&answering.memory, &new, at).ok_or(ServiceError::NotFound)?,
            supersedes: before.to_string(),
        })
    }

    fn confirm(&self, id: &str) -> Result<tally_gateway::Memory, ServiceError> {
        let at = (self.clock)();
        let mut answering = self.changing()?;
        let id = named(&answering.memory, id)?;
        answering.memory.confirm(&id, at).map_err(change)?;
        described(&answering.memory, &id, at).ok_or(ServiceError::NotFound)
    }

    fn forget(&self, id: &str, cascade: bool) -> Result<Forgotten, ServiceError> {
        let at = (self.clock)();
        let mut answering = self.changing()?;
        let id = named(&answering.memory, id)?;
        let mut ids = vec![id];
        if cascade && let Some(shown) = answering.memory.show(&id) {
            // Evidence may be gone already.
            ids.extend(
                shown
                    .evidence
                    .iter()
                    .filter(|cited| answering.memory.episode(&cited.episode).is_some())
                    .map(|cited| MemoryId::Episode(cited.episode)),
            );
            ids.sort_unstable();
            ids.dedup();
        }
        let forgot = answering.memory.forget(&ids, "", at).map_err(change)?;
        let mut notes: Vec<String> = forgot.remains.iter().map(|&it| it.to_owned()).collect();
        if !forgot.unproved.is_empty() {
            notes.push(match forgot.unproved.len() {
                1 => "1 other fact stays and can no longer be verified: its receipt showed what is gone".to_owned(),
                several => format!(
                    "{several} other facts stay and can no longer be verified: their receipts showed what is gone"
                ),
            });
        }
        Ok(Forgotten {
            forgotten: forgot.memories.iter().map(ToString::to_string).collect(),
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        })
    }

    fn profile(&self) -> Result<Profile, ServiceError> {
        let at = (self.clock)();
        let answering = self.answering()?;
        let memory = &answering.memory;
        let profile = memory.profile(at);
        let updated_at = profile
            .categories
            .iter()
            .flat_map(|(_, entries)| entries)
            .map(|entry| UnixMs(entry.said_at.unix_ms()))
            .max();
        let bio = |name: &str, length| NamedText {
            name: name.to_owned(),
            text: memory.bio(length, at).text,
        };
        Ok(Profile {
            user_bio: memory.bio(Length::Medium, at).text,
            bios: vec![bio("short", Length::Short), bio("long", Length::Long)],
            bio_is_own: false,
            bio_is_editable: false,
            lasting: lines(&profile.lasting),
            dynamic: lines(&profile.recent),
            categories: profile
                .categories
                .iter()
                .map(|(category, entries)| ProfileCategory {
                    name: category.as_str().to_owned(),
                    lines: lines(entries),
                })
                .collect(),
            updated_at,
        })
    }

    fn phrase(&self, length: BioLength) -> Result<PhrasedBio, ServiceError> {
        let Some(model) = &self.phraser else {
            return Err(ServiceError::Unsupported(
                "this server was started without a model that puts a bio into words".to_owned(),
            ));
        };
        let length = match length {
            BioLength::Short => Length::Short,
            BioLength::Medium => Length::Medium,
            BioLength::Long => Length::Long,
        };
        let at = (self.clock)();
        // Nobody who writes waits for the model: the view is let go before it is asked.
        let draft = self.answering()?.memory.draft(length, at);
        let bio = draft.phrase(&**model, at).map_err(|error| match error {
            // What a model says of itself is for the log.
            AskError::Model(failed) if failed.is_transient => {
                tracing::warn!("put a bio into words: {failed}");
                ServiceError::Busy("the model does not answer now; ask again".to_owned())
            }
            other => ServiceError::Failed(format!("put a bio into words: {other}")),
        })?;
        let named = |number: &u32| {
            let cited = bio.citations.iter().find(|(cited, _)| cited == number)?;
            Some(cited.1.to_string())
        };
        Ok(PhrasedBio {
            text: bio.text(),
            sentences: bio
                .sentences
                .iter()
                .map(|one| PhrasedSentence {
                    text: one.text.clone(),
                    by: match one.by {
                        By::Model => "model",
                        By::Code => "code",
                    }
                    .to_owned(),
                    memories: one.citations.iter().filter_map(named).collect(),
                })
                .collect(),
            not_taken: bio.not_taken.len(),
            note: bio.note.map(str::to_owned),
            call: bio.call.as_ref().map(|call| {
                let taken = bio
                    .sentences
                    .iter()
                    .filter(|one| one.by == By::Model)
                    .count();
                described_call(
                    call,
                    format!(
                        "{} taken, {} not taken",
                        counted(taken as u64, "sentence"),
                        bio.not_taken.len()
                    ),
                )
            }),
        })
    }

    fn set_bio(&self, _: Option<&str>) -> Result<Profile, ServiceError> {
        Err(ServiceError::Unsupported(
            "the bio quotes the owner's facts and is not written by hand; correct a fact, and it follows"
                .to_owned(),
        ))
    }

    fn grants(&self) -> Result<Vec<GrantInfo>, ServiceError> {
        (self.grants)(&mut lock(&self.vault))
    }

    fn calls(&self, limit: usize) -> Result<Vec<CallInfo>, ServiceError> {
        let answering = self.answering()?;
        let mut calls: Vec<CallInfo> = answering
            .memory
            .log()
            .into_iter()
            .rev()
            .take(limit)
            .map(|(id, call)| {
                let learnt = answering
                    .memory
                    .facts()
                    .iter()
                    .filter(|fact| match fact {
                        MemoryId::Fact(fact) => answering
                            .memory
                            .fact(fact)
                            .is_some_and(|fact| fact.call == id),
                        _ => false,
                    })
                    .count();
                let refused: u32 = call.refused.values().sum();
                described_call(
                    call,
                    format!(
                        "{} kept, {} refused",
                        counted(learnt as u64, "fact"),
                        counted(refused.into(), "proposal")
                    ),
                )
            })
            .collect();
        drop(answering);
        if let Some(noted) = &self.noted {
            calls.extend(noted(limit)?);
            calls.sort_by_key(|call| std::cmp::Reverse(call.at));
        }
        Ok(calls)
    }
}

impl VaultMemory {
    fn keep(&self, turns: &[Turn]) -> Result<tally_memory::Remembered, ServiceError> {
        let mut answering = self.changing()?;
        answering.memory.remember(turns).map_err(not_kept)
    }

    /// What whoever brought turns is told of them, once facts were learnt from them or `patience` is at its end.
    fn told(
        &self,
        kept: tally_memory::Remembered,
        patience: Duration,
    ) -> Result<Remembered, ServiceError> {
        let mut notes = Vec::new();
        if !kept.secrets.is_empty() {
            notes.push(format!(
                "{} in it {} not kept",
                counted(kept.secrets.len() as u64, "secret"),
                if kept.secrets.len() == 1 {
                    "was"
                } else {
                    "were"
                }
            ));
        }
        if kept.forgotten > 0 {
            notes.push(match kept.forgotten {
                1 => "1 was forgotten before and stays so".to_owned(),
                several => format!("{several} were forgotten before and stay so"),
            });
        }
        if !kept.new.is_empty() {
            notes.extend(self.learn_soon(patience));
        }
        let at = (self.clock)();
        let mut answering = self.changing()?;
        answering.look().map_err(load)?;
        let memory = &answering.memory;
        let new: BTreeSet<EpisodeId> = kept.new.iter().copied().collect();
        let facts = memory
            .facts()
            .iter()
            .filter(|id| {
                memory.show(id).is_some_and(|shown| {
                    shown
                        .evidence
                        .iter()
                        .any(|cited| new.contains(&cited.episode))
                })
            })
            .filter_map(|id| described(memory, id, at))
            .collect();
        Ok(Remembered {
            episodes: kept.new.len() as u64,
            known: kept.known as u64,
            facts,
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        })
    }
}

fn not_kept(error: RememberError) -> ServiceError {
    match error {
        RememberError::Turn(error) => ServiceError::Refused(error.to_string()),
        RememberError::Load(error) => load(error),
        RememberError::Embed { .. } => ServiceError::Busy(error.to_string()),
        other => ServiceError::Failed(other.to_string()),
    }
}

/// So many things whose name takes an `s`.
fn counted(number: u64, thing: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{s}")
}

fn speaker(role: Role) -> &'static str {
    match role {
        Role::Owner => "me",
        Role::Person => "somebody",
        other => other.as_str(),
    }
}

fn lines(entries: &[Entry]) -> Vec<ProfileLine> {
    entries
        .iter()
        .map(|entry| ProfileLine {
            text: if entry.subject == "user" {
                entry.text.clone()
            } else {
                format!("{}: {}", entry.subject, entry.text)
            },
            id: entry.id.to_string(),
        })
        .collect()
}

/// A memory with everything that is known of it.
fn described(memory: &Memory, id: &MemoryId, at: Moment) -> Option<tally_gateway::Memory> {
    let unix = |moment: Moment| UnixMs(moment.unix_ms());
    let events = memory.history(id).ok()?;
    let written = |what: &str| {
        events
            .iter()
            .find(|event| event.what == what)
            .map(|event| unix(event.at))
    };
    let updated_at = events
        .iter()
        .map(|event| unix(event.at))
        .max()
        .unwrap_or_default();
    if let MemoryId::Episode(episode_id) = id {
        let (episode, said_at) = memory.episode(episode_id)?;
        return Some(tally_gateway::Memory {
            id: id.to_string(),
            text: tally_memory::secrets::mask(&episode.text),
            level: Level::Episode,
            kind: "episodic".to_owned(),
            said_by: Some(episode.speaker.clone()),
            source: Some(episode.app.clone()),
            thread_id: Some(episode.thread.clone()).filter(|it| !it.is_empty()),
            observed_at: Some(unix(said_at)),
            created_at: written("said").unwrap_or_default(),
            updated_at,
            ..tally_gateway::Memory::default()
        });
    }
    let shown = memory.show(id)?;
    let is_correction = matches!(id, MemoryId::Correction(_));
    let status = match shown.place {
        _ if shown.corrected_by.is_some() => Status::Corrected,
        Some(place) if !place.stands_at(at) => Status::Past,
        _ => Status::Current,
    };
    let first = shown.evidence.first();
    Some(tally_gateway::Memory {
        id: id.to_string(),
        level: if is_correction {
            Level::Correction
        } else {
            Level::Fact
        },
        kind: match shown.fact.kind {
            tally_memory::Kind::Semantic => "semantic",
            tally_memory::Kind::Episodic => "episodic",
        }
        .to_owned(),
        categories: shown
            .fact
            .categories
            .iter()
            .map(|category| category.as_str().to_owned())
            .collect(),
        subject: Some(shown.fact.subject.clone()),
        said_by: Some(shown.fact.said_by.clone()),
        modality: Some(shown.fact.modality.as_str().to_owned()),
        confidence: Some(f64::from(shown.confidence) / 1000.0),
        status,
        confirmed: shown.confirmed,
        source: first.and_then(|cited| cited.app.clone()),
        thread_id: first
            .and_then(|cited| memory.episode(&cited.episode))
            .map(|(episode, _)| episode.thread.clone())
            .filter(|it| !it.is_empty()),
        observed_at: Some(unix(shown.fact.observed)),
        created_at: written(if is_correction { "corrected" } else { "learnt" }).unwrap_or_default(),
        updated_at,
        valid_from: shown.place.and_then(|place| place.from).map(unix),
        valid_until: shown.place.and_then(|place| place.until).map(unix),
        evidence: shown.evidence.iter().map(evidence).collect(),
        // A correction is the owner's word and rests on no model.
        receipt: shown.receipt.filter(|_| !is_correction),
        text: shown.fact.text,
    })
}

fn evidence(cited: &Cited) -> Evidence {
    Evidence {
        episode: cited.episode.to_string(),
        words: cited
            .words
            .clone()
            .unwrap_or_else(|| "(these words are not here any more)".to_owned()),
        speaker: cited.speaker.clone(),
        said_at: cited.said_at.map(|at| UnixMs(at.unix_ms())),
        source: cited.app.clone(),
    }
}

fn described_call(call: &Call, outcome: String) -> CallInfo {
    CallInfo {
        at: UnixMs(call.at.unix_ms()),
        purpose: call.purpose.as_str().to_owned(),
        model: call.model.clone(),
        prompt_tokens: call.prompt_tokens.into(),
        output_tokens: call.output_tokens.into(),
        took_ms: call.took_ms,
        outcome,
        receipt: call.receipt.as_deref().and_then(receipt_digest),
        is_noted: false,
    }
}

fn receipt_digest(envelope: &str) -> Option<String> {
    use base64::Engine as _;
    let envelope = base64::engine::general_purpose::STANDARD
        .decode(envelope)
        .ok()?;
    Some(blake3::hash(&envelope).to_hex().to_string())
}

fn named(memory: &Memory, id: &str) -> Result<MemoryId, ServiceError> {
    memory.find(id).map_err(|error| match error {
        FindError::Several { .. } => ServiceError::Refused(error.to_string()),
        _ => ServiceError::NotFound,
    })
}

fn category(name: &str) -> Result<Category, ServiceError> {
    name.parse()
        .map_err(|error: tally_memory::record::UnknownCategory| {
            ServiceError::Refused(error.to_string())
        })
}

fn moment(at: UnixMs) -> Result<Moment, ServiceError> {
    Moment::from_unix_ms(at.0).map_err(|error| ServiceError::Refused(error.to_string()))
}

fn load(error: LoadError) -> ServiceError {
    match error {
        LoadError::InUse => ServiceError::Busy(error.to_string()),
        other => ServiceError::Failed(other.to_string()),
    }
}

fn change(error: ChangeError) -> ServiceError {
    match error {
        ChangeError::NoSuchMemory(_) => ServiceError::NotFound,
        ChangeError::Said(_) | ChangeError::Record(_) => ServiceError::Refused(error.to_string()),
        ChangeError::Load(error) => load(error),
        other => ServiceError::Failed(other.to_string()),
    }
}

/// What a panic left behind a lock here is whole: a memory's view is rebuilt from the vault where it is not.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

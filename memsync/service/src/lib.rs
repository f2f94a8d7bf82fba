//! A memory in a vault, as the gateway's faces see it.
//!
//! Two views of the same namespace are open: one answers, the other learns. A call of a model takes seconds, and nobody who
//! searches waits for it; what the learning view writes, the answering one takes in with its next look. What is kept is found by its
//! words at once; a chore of its own has the embedding model make vectors of it, and holds the answering view only to take them in.
//! All write through one vault, in turns with other programs of this machine.

mod chore;
mod cursor;
mod imported;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tally_gateway::{
    BioLength, CallInfo, Change, Corrected, Evidence, Extent, Forgotten, ForgottenFrom,
    ForgottenMany, GrantInfo, Hit, Level, Listed, Listing, MemoryService, NamedText, Origin,
    PhrasedBio, PhrasedSentence, Profile, ProfileCategory, ProfileLine, Recall, Recalled, Remember,
    Remembered, ServiceError, Status, UnixMs, Voice,
};
use tally_import::Item;
use tally_memory::profile::{Entry, Length};
use tally_memory::recall::Arm;
use tally_memory::record::Call;
use tally_memory::secrets::spellings;
use tally_memory::{
    AskError, By, Category, ChangeError, ChatModel, Cited, EpisodeId, FindError, Forgot, Layer,
    LearnError, LoadError, Memory, MemoryId, Mode, Moment, Outline, RecallError, RememberError,
    Role, Search, SharedVault, Turn,
};
use tally_vault::Vault;

use chore::{Chore, Trouble, Waited, Work};
use cursor::Cursor;
pub use imported::{PIECE, in_pieces, turns_of};

/// How old what others wrote may be before it is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long whoever brought turns waits for what is made of them.
const PATIENCE: Duration = Duration::from_secs(20);
/// Texts that the embedding model is given at once: so few that a question waits for no more than a moment to be embedded.
const TEXTS: usize = 32;

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
    answering: Arc<RwLock<Answering>>,
    embedding: Option<Arc<Chore>>,
    learning: Option<Arc<Chore>>,
    phraser: Option<Phraser>,
    noted: Option<Noted>,
}

struct Answering {
    memory: Memory,
    looked: Instant,
}

/// Makes vectors of what the answering view holds without.
struct Embedding(Arc<RwLock<Answering>>);

/// Learns from what was said, in a view of its own.
struct Learning {
    memory: Memory,
    model: Model,
    clock: Clock,
}

impl VaultMemory {
    /// `learning` is a second view of the same namespace of the same vault, and the model to learn with; without it what is
    /// said is kept and found, and no facts are learnt. What is left to embed and to learn from is begun with at once, where the keys at
    /// hand may write.
    #[must_use]
    pub fn new(
        vault: SharedVault,
        memory: Memory,
        learning: Option<(Memory, Model)>,
        clock: Clock,
        grants: Grants,
    ) -> Self {
        let begins = memory.may_add();
        let embeds = memory.embeds();
        let answering = Arc::new(RwLock::new(Answering {
            memory,
            looked: Instant::now(),
        }));
        let embedding = embeds.then(|| started(Embedding(Arc::clone(&answering)), begins));
        let learning = learning.map(|(memory, model)| {
            let clock = Arc::clone(&clock);
            let work = Learning {
                memory,
                model,
                clock,
            };
            started(work, begins)
        });
        Self {
            vault,
            clock,
            grants,
            answering,
            embedding,
            learning,
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
        let view = to_read(&self.answering);
        if view.looked.elapsed() < LOOK_EVERY {
            return Ok(view);
        }
        drop(view);
        drop(self.changing()?);
        // It may be older than that again by now, if others were long; not by more than they took.
        Ok(to_read(&self.answering))
    }

    /// The same, to change it.
    fn changing(&self) -> Result<RwLockWriteGuard<'_, Answering>, ServiceError> {
        self.up_to_date().map_err(load)
    }

    fn up_to_date(&self) -> Result<RwLockWriteGuard<'_, Answering>, LoadError> {
        let mut view = to_write(&self.answering);
        if view.looked.elapsed() >= LOOK_EVERY {
            view.look()?;
        }
        Ok(view)
    }

    /// Has vectors made of what was kept, and facts learnt from it.
    fn ask(&self) {
        for chore in [&self.embedding, &self.learning].into_iter().flatten() {
            chore.ask();
        }
    }

    /// The same for who waits until so late for these episodes. Gives what a person is told of what is not done by then.
    fn ask_for(&self, new: &[EpisodeId], until: Instant) -> Vec<String> {
        // Both go on at once.
        let embedding = self.embedding.as_ref().map(|it| (it, it.ask_for(new)));
        let learning = self.learning.as_ref().map(|it| (it, it.ask_for(new)));
        let mut notes = vec![match learning {
            None => Some(NOT_LEARNING),
            Some((chore, ticket)) => match chore.wait_for(&ticket, until) {
                Waited::Done => None,
                Waited::Going => Some(LEARNING),
                Waited::Failed(trouble) => Some(not_learnt(trouble)),
            },
        }];
        notes.extend(
            embedding.map(|(chore, ticket)| match chore.wait_for(&ticket, until) {
                Waited::Done => None,
                Waited::Going => Some("it is found by its words until its vectors are made"),
                Waited::Failed(Trouble::Passing) => {
                    Some("it is found by its words until the embedding model answers again")
                }
                Waited::Failed(Trouble::Lasting) => {
                    Some("it is found by its words alone: no vectors are made, and the server's log says why")
                }
            }),
        );
        notes.into_iter().flatten().map(str::to_owned).collect()
    }
}

const NOT_LEARNING: &str = "kept and searchable; this server was started without learning facts";
const LEARNING: &str = "kept and searchable; facts are being learnt from it";

/// What a person is told where nothing is learnt.
const fn not_learnt(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Passing => {
            "kept and searchable; the model does not answer now, and learning goes on by itself once it does"
        }
        Trouble::Lasting => {
            "kept and searchable; learning does not get on, and the server's log says why"
        }
    }
}

/// A chore on a thread of its own.
fn started(work: impl Work + Send + 'static, begins: bool) -> Arc<Chore> {
    let chore = Arc::new(Chore::default());
    let theirs = Arc::clone(&chore);
    std::thread::spawn(move || theirs.run(work, begins));
    chore
}

impl Work for Embedding {
    fn step(&mut self, first: &[EpisodeId]) -> Result<bool, Trouble> {
        let Some(texts) = to_read(&self.0).memory.to_embed(first, TEXTS) else {
            return Ok(false);
        };
        // Nobody waits for the model, nor for a program that is writing the vault.
        let embedded = texts.embed().map_err(|error| {
            tracing::warn!("make vectors of what was kept: {error}");
            Trouble::of(error.is_transient)
        })?;
        let failed = |error: RememberError| {
            tracing::warn!("keep vectors of what was kept: {error}");
            Trouble::of(matches!(error, RememberError::Load(LoadError::InUse)))
        };
        let kept = embedded.keep().map_err(failed)?;
        let mut view = to_write(&self.0);
        view.memory.take_vectors(&kept).map_err(failed)?;
        Ok(view.memory.to_embed(&[], 1).is_some())
    }

    fn is_done(&self, episodes: &[EpisodeId]) -> bool {
        let view = to_read(&self.0);
        !episodes.iter().any(|id| view.memory.awaits_vectors(id))
    }
}

impl Work for Learning {
    fn step(&mut self, _: &[EpisodeId]) -> Result<bool, Trouble> {
        let learnt = self
            .memory
            .refresh()
            .map_err(LearnError::from)
            .and_then(|()| self.memory.learn(&*self.model, (self.clock)(), 1, |_| ()))
            .map_err(|error| {
                tracing::warn!("learn from what was said: {error}");
                Trouble::of(match error {
                    LearnError::Model(error) => error.is_transient,
                    LearnError::Embed(error) => error.is_transient,
                    LearnError::Load(error) => matches!(error, LoadError::InUse),
                    _ => false,
                })
            })?;
        Ok(learnt.remaining > 0 && !learnt.calls.is_empty())
    }

    fn is_done(&self, episodes: &[EpisodeId]) -> bool {
        !self.memory.awaits_learning(episodes)
    }
}

impl Drop for VaultMemory {
    fn drop(&mut self) {
        for chore in [&self.embedding, &self.learning].into_iter().flatten() {
            chore.end();
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
        let until = Instant::now() + PATIENCE;
        let kept = self
            .up_to_date()
            .map_err(RememberError::from)
            // Those that came without a time are said now.
            .and_then(|mut view| view.memory.remember_live_words(&turns, (self.clock)()))
            .map_err(not_kept)?;
        let mut notes = not_taken(&kept);
        let mut facts = Vec::new();
        if kept.new.is_empty() {
            self.ask();
        } else {
            notes.extend(self.ask_for(&kept.new, until));
            facts = self.learnt_from(&kept.new)?;
        }
        Ok(Remembered {
            facts,
            note: (!notes.is_empty()).then(|| notes.join("; ")),
            ..counts(&kept)
        })
    }

    fn ingest(&self, item: Item, app: Option<&str>) -> Result<Remembered, ServiceError> {
        // Questions are answered between two pieces.
        let kept = in_pieces(&turns_of(item, app), |piece| {
            self.up_to_date()?.memory.remember_words(piece)
        })
        .map_err(not_kept)?;
        // A file is read to its end first; what is made of it comes by and by.
        self.ask();
        let note = match &self.learning {
            _ if kept.new.is_empty() => None,
            None => Some(NOT_LEARNING),
            Some(chore) => Some(chore.trouble().map_or(LEARNING, not_learnt)),
        };
        Ok(Remembered {
            note: note.map(str::to_owned),
            ..counts(&kept)
        })
    }

    fn without_secrets(&self, name: &str) -> String {
        tally_memory::secrets::mask_name(name)
    }

    fn recall(&self, question: Recall) -> Result<Recalled, ServiceError> {
        let search = Search {
            text: question.query,
            mode: match (question.as_of, question.past) {
                (Some(_), true) => {
                    return Err(ServiceError::Refused(
                        "either as of a moment or everything, not both".to_owned(),
                    ));
                }
                (Some(at), false) => Mode::AsOf(moment(at)?),
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
            only: question.level.map(|level| match level {
                Level::Episode => Layer::Episodes,
                Level::Fact => Layer::Learnt,
                Level::Correction => Layer::Corrections,
            }),
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
                RecallError::Embed(error) => model_failed(error.is_transient, &error),
                RecallError::Rerank(error) => model_failed(error.is_transient, &error),
                other => ServiceError::Failed(other.to_string()),
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
        let of_episodes = listing.level == Some(Level::Episode);
        let after = listing.cursor.as_deref().map(|text| {
            Cursor::decode(text)
                .filter(|it| matches!(it.id, MemoryId::Episode(_)) == of_episodes)
                .ok_or_else(|| {
                    ServiceError::Refused("the cursor is not one that this list gave".to_owned())
                })
        });
        let after = after.transpose()?;
        let at = (self.clock)();
        let answering = self.answering()?;
        let memory = &answering.memory;
        let ids: Vec<MemoryId> = match listing.level {
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
        let (apps, threads) = (
            listing.app.as_deref().map(spellings),
            listing.thread.as_deref().map(spellings),
        );
        let fits = |outline: &Outline<'_>| {
            let is_of = |wanted: &Option<Vec<String>>, is: Option<&str>| {
                wanted
                    .as_ref()
                    .is_none_or(|wanted| wanted.iter().any(|name| is == Some(name.as_str())))
            };
            is_of(&apps, outline.app)
                && is_of(&threads, outline.thread)
                && wanted.is_none_or(|wanted| outline.categories.contains(&wanted))
                && (of_episodes
                    || listing.past
                    || outline.place.is_some_and(|place| place.stands_at(at)))
        };
        let mut found: Vec<Cursor> = ids
            .into_iter()
            .filter_map(|id| {
                let outline = memory.outline(&id).filter(&fits)?;
                Some(Cursor::of(id, &outline))
            })
            .collect();
        found.sort_unstable_by_key(|one| std::cmp::Reverse(*one));
        let start = after
            .map_or(0, |after| found.partition_point(|one| *one >= after))
            .saturating_add(listing.skip);
        let end = found.len().min(listing.limit.saturating_add(start));
        // Only what is on the page is looked at as a whole.
        let page = found.get(start..end).unwrap_or_default();
        Ok(Listed {
            memories: page
                .iter()
                .filter_map(|one| described(memory, &one.id, at))
                .collect(),
            next: page
                .last()
                .filter(|_| end < found.len())
                .map(Cursor::encode),
            total: found.len() as u64,
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
        let ids = with_words(&answering.memory, &[id], cascade);
        let forgot = answering.memory.forget(&ids, "", at).map_err(change)?;
        Ok(forgotten(&forgot))
    }

    fn forget_many(&self, ids: &[String], cascade: bool) -> Result<ForgottenMany, ServiceError> {
        let at = (self.clock)();
        let mut answering = self.changing()?;
        let (mut there, mut not_found) = (Vec::new(), Vec::new());
        for asked in ids {
            match named(&answering.memory, asked) {
                Ok(id) => there.push((asked, id)),
                Err(ServiceError::NotFound) => not_found.push(asked.clone()),
                Err(other) => return Err(other),
            }
        }
        let named: Vec<MemoryId> = there.iter().map(|(_, id)| *id).collect();
        if named.is_empty() {
            return Ok(ForgottenMany {
                not_found,
                ..ForgottenMany::default()
            });
        }
        let all = with_words(&answering.memory, &named, cascade);
        let error = match answering.memory.forget(&all, "", at) {
            Ok(forgot) => {
                return Ok(ForgottenMany {
                    forgotten: forgotten(&forgot),
                    not_found,
                    failed: Vec::new(),
                });
            }
            Err(error) => change(error),
        };
        // Some may be gone all the same, and do not come back.
        let memory = &answering.memory;
        let is_here = |id: &MemoryId| memory.provenance(id).is_some();
        let gone: BTreeSet<MemoryId> = named.into_iter().filter(|id| !is_here(id)).collect();
        if gone.is_empty() {
            return Err(error);
        }
        tracing::error!("forget several to the end: {error}");
        Ok(ForgottenMany {
            forgotten: Forgotten {
                forgotten: gone.iter().map(ToString::to_string).collect(),
                note: Some(ForgottenMany::UNFINISHED.to_owned()),
            },
            not_found,
            failed: there
                .into_iter()
                .filter(|(_, id)| is_here(id))
                .map(|(asked, _)| (asked.clone(), error.clone()))
                .collect(),
        })
    }

    fn extent(&self, from: &Origin) -> Result<Extent, ServiceError> {
        let at = (self.clock)();
        let answering = self.answering()?;
        let turns = said_in(&answering.memory, from);
        let would = answering.memory.forget_dry(&turns, at).map_err(change)?;
        Ok(extent(&would.memories))
    }

    fn forget_from(&self, from: &Origin, turns: u64) -> Result<ForgottenFrom, ServiceError> {
        let at = (self.clock)();
        let mut answering = self.changing()?;
        let there = said_in(&answering.memory, from);
        if there.len() as u64 != turns {
            return Err(ServiceError::Refused(format!(
                "nothing was forgotten: {} there, not {turns}",
                match there.len() {
                    1 => "1 turn is".to_owned(),
                    several => format!("{several} turns are"),
                }
            )));
        }
        if there.is_empty() {
            return Ok(ForgottenFrom::default());
        }
        let forgot = answering.memory.forget(&there, "", at).map_err(change)?;
        Ok(ForgottenFrom {
            gone: extent(&forgot.memories),
            note: forgotten(&forgot).note,
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
                let learnt = answering.memory.facts_of_call(&id);
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
    /// Facts that were learnt from these episodes by now.
    fn learnt_from(&self, new: &[EpisodeId]) -> Result<Vec<tally_gateway::Memory>, ServiceError> {
        to_write(&self.answering).look().map_err(load)?;
        let at = (self.clock)();
        let view = to_read(&self.answering);
        let facts = view.memory.facts_from(new);
        Ok(facts
            .iter()
            .filter_map(|id| described(&view.memory, id, at))
            .collect())
    }
}

fn to_read(answering: &RwLock<Answering>) -> RwLockReadGuard<'_, Answering> {
    answering.read().unwrap_or_else(PoisonError::into_inner)
}

fn to_write(answering: &RwLock<Answering>) -> RwLockWriteGuard<'_, Answering> {
    answering.write().unwrap_or_else(PoisonError::into_inner)
}

/// What became of turns, in numbers.
fn counts(kept: &tally_memory::Remembered) -> Remembered {
    Remembered {
        episodes: kept.new.len() as u64,
        known: kept.known as u64,
        forgotten: kept.forgotten as u64,
        empty: kept.empty as u64,
        secrets: kept.secrets.len() as u64,
        ..Remembered::default()
    }
}

/// What a person is told of what turns held and was not kept.
fn not_taken(kept: &tally_memory::Remembered) -> Vec<String> {
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
    notes
}

/// With `cascade`, these and the words they rest on, and those that what says the same rests on.
fn with_words(memory: &Memory, ids: &[MemoryId], cascade: bool) -> Vec<MemoryId> {
    let mut all: BTreeSet<MemoryId> = ids.iter().copied().collect();
    if cascade {
        let facts = ids.iter().copied().chain(memory.repeats_of(ids));
        let shown = facts.filter_map(|id| memory.show(&id));
        all.extend(
            shown
                .flat_map(|shown| shown.evidence)
                // Evidence may be gone already.
                .filter(|cited| memory.episode(&cited.episode).is_some())
                .map(|cited| MemoryId::Episode(cited.episode)),
        );
    }
    all.into_iter().collect()
}

fn said_in(memory: &Memory, from: &Origin) -> Vec<MemoryId> {
    let said = memory.said_in(&from.app, from.thread.as_deref());
    said.into_iter().map(MemoryId::Episode).collect()
}

fn extent(memories: &[MemoryId]) -> Extent {
    let mut extent = Extent::default();
    for id in memories {
        match id {
            MemoryId::Episode(_) => extent.turns += 1,
            MemoryId::Fact(_) => extent.facts += 1,
            MemoryId::Correction(_) => extent.corrections += 1,
        }
    }
    extent
}

/// What is told of what was forgotten.
fn forgotten(forgot: &Forgot) -> Forgotten {
    let mut notes: Vec<String> = Vec::new();
    match forgot.repeats.len() {
        0 => {}
        1 => notes.push("1 other memory that says the same went with it".to_owned()),
        several => notes.push(format!(
            "{several} other memories that say the same went with it"
        )),
    }
    notes.extend(forgot.remains.iter().map(|&it| it.to_owned()));
    match forgot.unproved.len() {
        0 => {}
        1 => notes.push("1 other fact stays and can no longer be verified: its receipt showed what is gone".to_owned()),
        several => notes.push(format!(
            "{several} other facts stay and can no longer be verified: their receipts showed what is gone"
        )),
    }
    Forgotten {
        forgotten: forgot.memories.iter().map(ToString::to_string).collect(),
        note: (!notes.is_empty()).then(|| notes.join("; ")),
    }
}

/// What a model says of itself is for the log. Only where it may answer another time is it worth asking again.
fn model_failed(is_transient: bool, error: &dyn fmt::Display) -> ServiceError {
    if is_transient {
        tracing::warn!("search: {error}");
        ServiceError::Busy("a model that searches need does not answer now; ask again".to_owned())
    } else {
        ServiceError::Failed(format!("search: {error}"))
    }
}

fn not_kept(error: RememberError) -> ServiceError {
    match error {
        RememberError::Turn(error) => ServiceError::Refused(error.to_string()),
        RememberError::Load(error) => load(error),
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

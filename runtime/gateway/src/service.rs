//! What a memory must do to have these faces.
//!
//! Calls may block: they are made on threads of their own. An error is an error and never an empty list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::UnixMs;

/// A memory, as its faces see it.
pub trait MemoryService: Send + Sync + 'static {
    /// Keeps turns, and learns from them if it can. Those without a time are said now. Whoever asks again adds nothing.
    fn remember(&self, turns: Remember) -> Result<Remembered, ServiceError>;

    /// What answers a question.
    fn recall(&self, question: Recall) -> Result<Recalled, ServiceError>;

    /// Memories, newest first.
    fn list(&self, listing: Listing) -> Result<Listed, ServiceError>;

    /// One memory.
    fn get(&self, id: &str) -> Result<Memory, ServiceError>;

    /// What one memory was and became, oldest first.
    fn history(&self, id: &str) -> Result<Vec<Change>, ServiceError>;

    /// Puts the owner's words in the place of a fact, or of its last correction; the id may be that of the fact or of any
    /// correction of it.
    fn correct(&self, id: &str, text: &str) -> Result<Corrected, ServiceError>;

    /// Keeps that the owner says a fact is so.
    fn confirm(&self, id: &str) -> Result<Memory, ServiceError>;

    /// Forgets a memory; with `cascade`, also what it rests on or what rests on it. What says the same as a fact goes with it.
    fn forget(&self, id: &str, cascade: bool) -> Result<Forgotten, ServiceError>;

    /// Forgets several, each as [`Self::forget`] does. An error says that none is forgotten; where some are, those that are not are named.
    /// This does one after the other; a memory that can do it in one go does.
    fn forget_many(&self, ids: &[String], cascade: bool) -> Result<ForgottenMany, ServiceError> {
        one_by_one(self, ids, cascade)
    }

    /// How much [`Self::forget_from`] would forget.
    fn extent(&self, from: &Origin) -> Result<Extent, ServiceError>;

    /// Forgets everything that was said somewhere and what was learnt from it. Refused where another number of turns is there than the
    /// caller expects: whoever destroys so much has seen how much it is.
    fn forget_from(&self, from: &Origin, turns: u64) -> Result<ForgottenFrom, ServiceError>;

    /// What is known about the owner.
    fn profile(&self) -> Result<Profile, ServiceError>;

    /// A bio of this length in a model's words, as far as they say what is known. Waits for the model.
    fn phrase(&self, _: BioLength) -> Result<PhrasedBio, ServiceError> {
        Err(ServiceError::Unsupported(
            "this server has no model that puts a bio into words".to_owned(),
        ))
    }

    /// Puts the owner's own words in the place of the rendered bio; `None` brings the rendered one back.
    fn set_bio(&self, text: Option<&str>) -> Result<Profile, ServiceError>;

    /// Keeps what was read out of a file, as from this app; without one, from the app whose format the file has. The same file again
    /// adds nothing.
    fn ingest(
        &self,
        item: tally_import::Item,
        app: Option<&str>,
    ) -> Result<Remembered, ServiceError>;

    /// A name out of a file as it may be shown: without what this memory takes for a secret.
    fn without_secrets(&self, name: &str) -> String {
        name.to_owned()
    }

    /// Who may read or write the memory.
    fn grants(&self) -> Result<Vec<GrantInfo>, ServiceError>;

    /// Calls of models, newest first: at most `limit` of those that the memory has records of, and as many of those that only this
    /// machine noted.
    fn calls(&self, limit: usize) -> Result<Vec<CallInfo>, ServiceError>;
}

fn one_by_one<M: MemoryService + ?Sized>(
    memory: &M,
    ids: &[String],
    cascade: bool,
) -> Result<ForgottenMany, ServiceError> {
    // All are looked up before the first is forgotten.
    let (mut there, mut not_found) = (Vec::new(), Vec::new());
    for id in ids {
        match memory.get(id) {
            Ok(found) => there.push((id.clone(), found.id)),
            Err(ServiceError::NotFound) => not_found.push(id.clone()),
            Err(other) => return Err(other),
        }
    }
    let mut gone: Vec<String> = Vec::new();
    let mut notes: Vec<String> = Vec::new();
    let mut failed: Vec<(String, String, ServiceError)> = Vec::new();
    for (asked, id) in there {
        // One goes with another: a correction with its fact, a fact with its words.
        if gone.contains(&id) {
            continue;
        }
        let forgotten = match memory.forget(&id, cascade) {
            Ok(forgotten) => forgotten,
            // Somebody else was here in between.
            Err(ServiceError::NotFound) => continue,
            // It failed when the memory was destroyed already: it is gone, and does not come back.
            Err(other) if matches!(memory.get(&id), Err(ServiceError::NotFound)) => {
                tracing::error!("forget {id} to the end: {other}");
                Forgotten {
                    forgotten: vec![id],
                    note: Some(ForgottenMany::UNFINISHED.to_owned()),
                }
            }
            Err(other) => {
                failed.push((asked, id, other));
                continue;
            }
        };
        gone.extend(forgotten.forgotten);
        notes.extend(forgotten.note.filter(|note| !notes.contains(note)));
    }
    // One that failed may have gone with another.
    failed.retain(|(_, id, _)| !gone.contains(id));
    // Where nothing is forgotten, an error hides nothing.
    if gone.is_empty()
        && let Some((_, _, error)) = failed.pop()
    {
        return Err(error);
    }
    Ok(ForgottenMany {
        forgotten: Forgotten {
            forgotten: gone,
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        },
        not_found,
        failed: failed
            .into_iter()
            .map(|(asked, _, error)| (asked, error))
            .collect(),
    })
}

/// Why a memory did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// No memory of that id, or it is forgotten. The caller's.
    #[error("no memory has this id")]
    NotFound,
    /// The request cannot be done as it is; the sentence says why. The caller's.
    #[error("{0}")]
    Refused(String),
    /// This memory cannot do it; the sentence says why and what would. The operator's.
    #[error("{0}")]
    Unsupported(String),
    /// It would have worked at another moment: a lock is held, a model is starting. The caller reads the sentence, so nothing of it is a
    /// text of a model, a disk or another program.
    #[error("{0}")]
    Busy(String),
    /// Disk, vault or model failed. The sentence is for the log and not for the caller.
    #[error("{0}")]
    Failed(String),
}

/// Turns to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remember {
    /// The app they come from.
    pub app: String,
    /// The conversation within the app; may be empty.
    pub thread: String,
    /// Oldest first.
    pub turns: Vec<NewTurn>,
}

/// One turn to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTurn {
    /// The app's own name for it, which makes it the same turn when it comes again.
    pub key: Option<String>,
    /// Whose words.
    pub voice: Voice,
    /// What the speaker is called.
    pub speaker: Option<String>,
    /// When it was said; now if none.
    pub at: Option<UnixMs>,
    /// The words.
    pub text: String,
}

/// Whose words a turn holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Voice {
    /// The owner of the memory.
    User,
    /// A model.
    Assistant,
    /// Another person.
    Person,
    /// The answer of a tool. Nothing is learnt from it.
    Tool,
    /// Something that was read. Nothing is learnt from it.
    Document,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// Turns that were new.
    pub episodes: u64,
    /// Turns that were there already.
    pub known: u64,
    /// Turns that were forgotten before, and stay so.
    pub forgotten: u64,
    /// Turns without words.
    pub empty: u64,
    /// Secrets that were in them and were not kept.
    pub secrets: u64,
    /// Facts that were learnt from them by now. Of a file they come later.
    pub facts: Vec<Memory>,
    /// Why nothing was learnt, or not yet, and of turns what was not kept of them; for a person.
    pub note: Option<String>,
}

/// The categories that a memory knows, in the order of the profile.
pub(crate) const CATEGORIES: [&str; 10] = [
    "identity",
    "career",
    "interests",
    "relationships",
    "health",
    "finance",
    "learning",
    "travel",
    "productivity",
    "private",
];

/// Refuses the name of no category: nothing would be of it, which says nothing of the memory.
pub(crate) fn known_category(name: &str) -> Result<(), ServiceError> {
    if CATEGORIES.contains(&name) {
        return Ok(());
    }
    Err(ServiceError::Refused(format!(
        "not one of the ten categories: {}",
        CATEGORIES.join(", ")
    )))
}

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recall {
    /// The question, in words.
    pub query: String,
    /// The most results.
    pub limit: usize,
    /// The most tokens of all results; the memory's own default if none.
    pub tokens: Option<usize>,
    /// Only these; all if empty.
    pub categories: Vec<String>,
    /// Only of this level; of all if none.
    pub level: Option<Level>,
    /// Only what came from this app.
    pub app: Option<String>,
    /// Only what came from this conversation.
    pub thread: Option<String>,
    /// As it was then; as it is if none.
    pub as_of: Option<UnixMs>,
    /// What does not hold any more, too. Not together with `as_of`: those are two questions.
    pub past: bool,
    /// Ranked by a reranking model as well, where there is one.
    pub rerank: bool,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recalled {
    /// Best first.
    pub hits: Vec<Hit>,
    /// The same as text for a model, marked so that memory does not learn it again.
    pub context: String,
    /// Tokens of the context, as the memory estimates them.
    pub tokens: usize,
    /// Why the memory holds that it does not know, if it does.
    pub abstained: Option<String>,
    /// Whether a reranking model read the best of them.
    pub reranked: bool,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Hit {
    /// The memory.
    #[serde(flatten)]
    pub memory: Memory,
    /// What it was ranked by; comparable within one answer only.
    pub score: f64,
    /// One minus the cosine of question and memory, where vectors were compared.
    pub vector_distance: Option<f64>,
    /// What a reranking model added to the score, where one read this memory: 0 for the worst of those that it read.
    pub rerank_score: Option<f64>,
    /// What each arm of the search made of it.
    pub trace: Vec<String>,
}

/// A memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Memory {
    /// Its id.
    pub id: String,
    /// What it says.
    #[serde(rename = "memory")]
    pub text: String,
    /// What it is: words that were said, or something learnt from them.
    pub level: Level,
    /// Whether it lasts (`semantic`) or happens (`episodic`).
    #[serde(rename = "type")]
    pub kind: String,
    /// Of the ten categories.
    pub categories: Vec<String>,
    /// Whom or what it is about, as far as known.
    pub subject: Option<String>,
    /// Who said it.
    pub said_by: Option<String>,
    /// How it was said: asserted, plan, negated.
    pub modality: Option<String>,
    /// From 0 to 1.
    pub confidence: Option<f64>,
    /// Whether it holds.
    pub status: Status,
    /// Whether the owner said that it is so.
    pub confirmed: bool,
    /// The app it came from.
    pub source: Option<String>,
    /// The conversation it came from.
    pub thread_id: Option<String>,
    /// When it was said.
    pub observed_at: Option<UnixMs>,
    /// When it was written down.
    pub created_at: UnixMs,
    /// When it last changed.
    pub updated_at: UnixMs,
    /// From when on it holds.
    pub valid_from: Option<UnixMs>,
    /// Until when it held.
    pub valid_until: Option<UnixMs>,
    /// The words it rests on.
    pub evidence: Vec<Evidence>,
    /// The digest of the receipt of the inference that found it, if one did.
    pub receipt: Option<String>,
}

/// What a memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Words as they were said or written.
    #[default]
    Episode,
    /// Something learnt.
    Fact,
    /// The owner's correction of a fact.
    Correction,
}

/// Whether a memory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It holds.
    #[default]
    Current,
    /// It held, and something else came after it.
    Past,
    /// The owner corrected it.
    Corrected,
}

/// Words that a memory rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Evidence {
    /// The episode they stand in.
    pub episode: String,
    /// The words.
    pub words: String,
    /// Who said them.
    pub speaker: Option<String>,
    /// When.
    pub said_at: Option<UnixMs>,
    /// In which app.
    pub source: Option<String>,
}

/// What to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Where the last page ended.
    pub cursor: Option<String>,
    /// How many to leave out from there on.
    pub skip: usize,
    /// The most.
    pub limit: usize,
    /// Only of this level; facts and corrections if none.
    pub level: Option<Level>,
    /// Only of this category.
    pub category: Option<String>,
    /// Only from this app.
    pub app: Option<String>,
    /// Only from this conversation.
    pub thread: Option<String>,
    /// What does not hold any more, too.
    pub past: bool,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// Newest first.
    pub memories: Vec<Memory>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
    /// All that fit the listing.
    pub total: u64,
}

/// What happened to a memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// When.
    pub at: UnixMs,
    /// What: `learnt`, `corrected`, `confirmed`, `superseded`, …
    pub event: String,
    /// What it said from then on.
    #[serde(rename = "memory")]
    pub text: String,
    /// The memory that did it, or came in its place.
    pub by: Option<String>,
    /// The receipt behind it.
    pub receipt: Option<String>,
}

/// What correcting did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Corrected {
    /// The memory that holds now.
    pub memory: Memory,
    /// The id of the one that held until then.
    pub supersedes: String,
}

/// What forgetting did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Forgotten {
    /// Ids of the memories that are gone.
    pub forgotten: Vec<String>,
    /// What stays and why; for a person.
    pub note: Option<String>,
}

/// What forgetting several did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForgottenMany {
    /// What is gone.
    pub forgotten: Forgotten,
    /// Those of the ids that no memory had.
    pub not_found: Vec<String>,
    /// Those of the ids whose memories are still there, each with why. Asking again goes on.
    pub failed: Vec<(String, ServiceError)>,
}

impl ForgottenMany {
    /// What is told of a memory that is gone although forgetting it failed.
    pub const UNFINISHED: &str = "forgetting failed on its way: what is named here is gone from the memory, and what files still hold of it is removed when the memory is next written to; ask again for what should have gone with it";
}

/// Where something was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The app.
    pub app: String,
    /// The conversation or document within it; all if none.
    pub thread: Option<String>,
}

/// How much was said somewhere, and learnt from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Extent {
    /// Turns and passages, each part of a long one.
    pub turns: u64,
    /// Facts that rest on them.
    pub facts: u64,
    /// Corrections of these facts.
    pub corrections: u64,
}

/// What forgetting everything from somewhere did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForgottenFrom {
    /// What is gone.
    pub gone: Extent,
    /// What stays and why; for a person.
    pub note: Option<String>,
}

/// What is known about the owner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Profile {
    /// A few sentences.
    pub user_bio: String,
    /// The same in other lengths, by name.
    pub bios: Vec<NamedText>,
    /// Whether the bio is the owner's own words.
    pub bio_is_own: bool,
    /// Whether the owner can write one.
    pub bio_is_editable: bool,
    /// What lasts.
    #[serde(rename = "static")]
    pub lasting: Vec<ProfileLine>,
    /// What is going on.
    pub dynamic: Vec<ProfileLine>,
    /// By category.
    pub categories: Vec<ProfileCategory>,
    /// When the newest fact in it was learnt.
    pub updated_at: Option<UnixMs>,
}

/// How long a bio is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BioLength {
    /// Some 30 words.
    Short,
    /// Some 80 words.
    #[default]
    Medium,
    /// Some 200 words.
    Long,
}

/// A bio in a model's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PhrasedBio {
    /// All sentences.
    pub text: String,
    /// Each of them, with whose it is and what it rests on.
    pub sentences: Vec<PhrasedSentence>,
    /// Sentences of the model that code did not take, because they say something else than the memories they name.
    pub not_taken: usize,
    /// Why no sentence is the model's, if none is; for a person.
    pub note: Option<String>,
    /// The call behind it, if a model was asked.
    pub call: Option<CallInfo>,
}

/// A sentence of a bio.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PhrasedSentence {
    /// What it says.
    pub text: String,
    /// Whose it is: `model` if code held it against what it names, `code` if it quotes.
    pub by: String,
    /// The memories that it rests on.
    pub memories: Vec<String>,
}

/// A text with a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NamedText {
    /// The name.
    pub name: String,
    /// The text.
    pub text: String,
}

/// A line of a profile, and the memory it rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProfileLine {
    /// What it says.
    pub text: String,
    /// The memory.
    pub id: String,
}

/// A category's part of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProfileCategory {
    /// The category.
    pub name: String,
    /// Its lines.
    pub lines: Vec<ProfileLine>,
}

/// Somebody who may use the memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GrantInfo {
    /// Who: a device, a person, an agent.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// What it may do.
    pub rights: Vec<String>,
    /// Until when.
    pub until: Option<UnixMs>,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// A call of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CallInfo {
    /// When.
    pub at: UnixMs,
    /// What for.
    pub purpose: String,
    /// Which model.
    pub model: String,
    /// Tokens it read and wrote.
    pub prompt_tokens: u64,
    /// Tokens it wrote.
    pub output_tokens: u64,
    /// How long it took.
    pub took_ms: u64,
    /// What came of it.
    pub outcome: String,
    /// The digest of its receipt.
    pub receipt: Option<String>,
    /// Whether only this machine noted it, for whichever memory it was. For the console.
    #[serde(skip)]
    pub is_noted: bool,
}

//! `/v1/memories`.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answer, Input, Params, short, text};
use crate::access::Caller;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::keys::Scope;
use crate::service::{
    Change, Hit, Level, Listing, Memory, NewTurn, Recall, Remember, ServiceError, Status, Voice,
};
use crate::time::UnixMs;

/// Turns in one request, and bytes of each.
const TURNS: usize = 1000;
const TURN_LEN: usize = 1 << 20;
/// Bytes of a name, and of a question.
pub(crate) const NAME_LEN: usize = 256;
pub(crate) const QUERY_LEN: usize = 4096;
pub(crate) const FACT_LEN: usize = 1024;

/// Turns to keep.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Add {
    /// Oldest first.
    messages: Vec<Message>,
    /// The app or agent they come from; the key's name if it is left out.
    #[serde(default)]
    agent_id: Option<String>,
    /// The conversation; its turns are one thread.
    #[serde(default)]
    thread_id: Option<String>,
    /// The same as `agent_id`, as older clients send it.
    #[serde(default)]
    source: Option<String>,
    /// What is known of the conversation.
    #[serde(default)]
    metadata: Option<Metadata>,
}

/// What is known of a conversation. Other fields than these are taken and not kept.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Metadata {
    /// When it was: said of every message that has no `timestamp` of its own.
    #[serde(default)]
    timestamp: Option<UnixMs>,
}

/// One turn.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    /// Whose words.
    role: Voice,
    /// The words.
    content: String,
    /// What the speaker is called.
    #[serde(default)]
    name: Option<String>,
    /// When it was said; now if it is left out. A turn that comes again at another time is another turn; one without a time that comes
    /// again within twelve hours, or with the conversation it stood in, is the same.
    #[serde(default)]
    timestamp: Option<UnixMs>,
    /// The app's own id of the turn: the same id is the same turn.
    #[serde(default)]
    id: Option<String>,
}

/// What came of it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Added {
    /// That the turns are kept.
    success: bool,
    /// How long it took, such as `1.2s`.
    processing_time: String,
    /// Facts that were learnt.
    memories_created: u64,
    /// Turns that were new.
    episodes_created: u64,
    /// Turns that were there already.
    already_known: u64,
    /// Turns that were forgotten before, and stay so.
    forgotten_before: u64,
    /// Secrets that were in them and were not kept.
    secrets_not_kept: u64,
    /// Categories of what was learnt.
    categories_detected: Vec<String>,
    /// What was learnt.
    memories: Vec<ToldMemory>,
    /// Why nothing was learnt, or not yet.
    note: Option<String>,
}

impl Add {
    pub(crate) fn turns(self, caller: &Caller) -> Result<Remember, ApiError> {
        if self.messages.is_empty() || self.messages.len() > TURNS {
            return Err(ApiError::invalid(
                "messages_count",
                format!(
                    "between 1 and {TURNS} messages; these are {}",
                    self.messages.len()
                ),
            ));
        }
        let app = self
            .agent_id
            .or(self.source)
            .unwrap_or_else(|| caller.name.clone());
        text("agent_id", &app, NAME_LEN)?;
        let thread = self.thread_id.unwrap_or_default();
        short("thread_id", &thread, NAME_LEN)?;
        let said_at = self.metadata.and_then(|metadata| metadata.timestamp);
        let mut turns = Vec::with_capacity(self.messages.len());
        for (index, message) in self.messages.into_iter().enumerate() {
            let field = |name: &str| format!("messages[{index}].{name}");
            text(&field("content"), &message.content, TURN_LEN)?;
            for (name, value) in [("name", &message.name), ("id", &message.id)] {
                if let Some(value) = value {
                    text(&field(name), value, NAME_LEN)?;
                }
            }
            turns.push(NewTurn {
                key: message.id,
                voice: message.role,
                speaker: message.name,
                at: message.timestamp.or(said_at),
                text: message.content,
            });
        }
        Ok(Remember { app, thread, turns })
    }
}

pub(crate) async fn add(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    Input(add): Input<Add>,
) -> Result<Answer<Added>, ApiError> {
    let turns = add.turns(&caller)?;
    let began = gateway.now();
    let remembered = gateway.ask(move |memory| memory.remember(turns)).await?;
    let mut categories: Vec<String> = remembered
        .facts
        .iter()
        .flat_map(|fact| fact.categories.iter().cloned())
        .collect();
    categories.sort_unstable();
    categories.dedup();
    Ok(Answer(
        StatusCode::CREATED,
        Added {
            success: true,
            processing_time: seconds(began, gateway.now()),
            memories_created: remembered.facts.len() as u64,
            episodes_created: remembered.episodes,
            already_known: remembered.known,
            forgotten_before: remembered.forgotten,
            secrets_not_kept: remembered.secrets,
            categories_detected: categories,
            memories: remembered
                .facts
                .into_iter()
                .map(|fact| ToldMemory::to(&caller, fact))
                .collect(),
            note: remembered.note,
        },
    ))
}

/// `1.2s`
fn seconds(from: UnixMs, to: UnixMs) -> String {
    let tenths = to.0.saturating_sub(from.0).max(0) / 100;
    format!("{}.{}s", tenths / 10, tenths % 10)
}

/// A memory in an answer.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Memory")]
pub(crate) struct ShownMemory {
    #[serde(flatten)]
    memory: Memory,
    /// The app it came from, as MemSync's documentation calls it: the same as `source`.
    agent_id: Option<String>,
}

impl From<Memory> for ShownMemory {
    fn from(memory: Memory) -> Self {
        Self {
            agent_id: memory.source.clone(),
            memory,
        }
    }
}

/// A memory that a change came to: all of it for who may read memories, and for who may only write them which it is.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ToldMemory {
    /// For who has the scope `memories:read`.
    Whole(Box<ShownMemory>),
    /// For who has not.
    Named(NamedMemory),
}

/// Which memory it is, and whether it holds.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NamedMemory {
    /// Its id.
    pub(crate) id: String,
    /// Whether it holds.
    pub(crate) status: Status,
}

impl From<Memory> for NamedMemory {
    fn from(memory: Memory) -> Self {
        Self {
            id: memory.id,
            status: memory.status,
        }
    }
}

impl ToldMemory {
    pub(crate) fn to(caller: &Caller, memory: Memory) -> Self {
        if caller.may(Scope::MemoriesRead) {
            Self::Whole(Box::new(memory.into()))
        } else {
            Self::Named(memory.into())
        }
    }
}

/// A memory's id as a face takes it: all of it. By its first digits, which a person at a terminal may give, a program would find and
/// destroy what it was never told of.
pub(crate) fn whole_id(id: String) -> Result<String, ServiceError> {
    let is_whole = id.len() == 64
        && id
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_whole {
        Ok(id)
    } else {
        Err(ServiceError::NotFound)
    }
}

fn shown(memories: Vec<Memory>) -> Vec<ShownMemory> {
    memories.into_iter().map(ShownMemory::from).collect()
}

/// A result in an answer.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Hit")]
pub(crate) struct ShownHit {
    #[serde(flatten)]
    hit: Hit,
    /// The app it came from, as MemSync's documentation calls it: the same as `source`.
    agent_id: Option<String>,
}

impl From<Hit> for ShownHit {
    fn from(hit: Hit) -> Self {
        Self {
            agent_id: hit.memory.source.clone(),
            hit,
        }
    }
}

/// What to list. Pages are asked for by `cursor` or by number.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// The most; 1 to 100, 20 if it is left out.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// The number of the page, from 1 on. The answer then has `data` and `pagination`.
    page: Option<usize>,
    /// The most of a numbered page; 1 to 100, 20 if it is left out.
    page_size: Option<usize>,
    /// Facts and corrections if it is left out.
    level: Option<Level>,
    /// Only of this category.
    category: Option<String>,
    /// Only from this app.
    agent_id: Option<String>,
    /// Only from this conversation.
    thread_id: Option<String>,
    /// Also what does not hold any more.
    #[serde(default)]
    past: bool,
}

/// A numbered page that was asked for.
#[derive(Clone, Copy)]
struct Numbered {
    page: usize,
    size: usize,
}

impl ListQuery {
    fn numbered(&self) -> Result<Option<Numbered>, ApiError> {
        if self.page.is_none() && self.page_size.is_none() {
            return Ok(None);
        }
        if self.cursor.is_some() || self.limit.is_some() {
            return Err(ApiError::invalid(
                "page_or_cursor",
                "ask either with limit and cursor, or with page and page_size",
            ));
        }
        let page = self.page.unwrap_or(1);
        if page == 0 {
            return Err(ApiError::invalid("page_range", "pages begin with 1"));
        }
        match self.page_size.unwrap_or(20) {
            size @ 1..=100 => Ok(Some(Numbered { page, size })),
            size => Err(ApiError::invalid(
                "page_size_range",
                format!("page_size is from 1 to 100, not {size}"),
            )),
        }
    }
}

/// A page of memories.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum List {
    /// As `limit` and `cursor` ask for it, or nothing does.
    FromCursor {
        /// Newest first.
        memories: Vec<ShownMemory>,
        /// Where the next page begins; none at the end.
        next_cursor: Option<String>,
        /// All that fit the query.
        total: u64,
    },
    /// As `page` and `page_size` ask for it.
    ByNumber {
        /// Newest first.
        data: Vec<ShownMemory>,
        /// Which page it is.
        pagination: Pagination,
    },
}

/// Which page of how many.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Pagination {
    /// Its number, from 1 on.
    page: usize,
    /// The most memories of a page.
    page_size: usize,
    /// All that fit the query.
    total_items: u64,
    /// Pages that hold something.
    total_pages: u64,
    /// Whether there is one after it.
    has_next: bool,
    /// Whether there is one before it.
    has_previous: bool,
}

impl Pagination {
    fn new(asked: Numbered, total_items: u64) -> Self {
        let total_pages = total_items.div_ceil(asked.size as u64);
        Self {
            page: asked.page,
            page_size: asked.size,
            total_items,
            total_pages,
            has_next: (asked.page as u64) < total_pages,
            has_previous: asked.page > 1,
        }
    }
}

pub(crate) async fn list(
    State(gateway): State<Gateway>,
    Params(query): Params<ListQuery>,
) -> Result<Answer<List>, ApiError> {
    let numbered = query.numbered()?;
    let listing = Listing {
        limit: match numbered {
            Some(asked) => asked.size,
            None => limit(query.limit, 20)?,
        },
        skip: numbered.map_or(0, |asked| (asked.page - 1).saturating_mul(asked.size)),
        cursor: query.cursor,
        level: query.level,
        category: query.category,
        app: query.agent_id,
        thread: query.thread_id,
        past: query.past,
    };
    let listed = gateway.ask(move |memory| memory.list(listing)).await?;
    let memories = shown(listed.memories);
    let list = match numbered {
        Some(asked) => List::ByNumber {
            data: memories,
            pagination: Pagination::new(asked, listed.total),
        },
        None => List::FromCursor {
            memories,
            next_cursor: listed.next,
            total: listed.total,
        },
    };
    Ok(Answer(StatusCode::OK, list))
}

pub(crate) fn limit(asked: Option<usize>, default: usize) -> Result<usize, ApiError> {
    match asked.unwrap_or(default) {
        limit @ 1..=100 => Ok(limit),
        limit => Err(ApiError::invalid(
            "limit_range",
            format!("limit is from 1 to 100, not {limit}"),
        )),
    }
}

/// A question.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Search {
    /// In words.
    query: String,
    /// The most results; 1 to 100, 10 if it is left out.
    #[serde(default)]
    limit: Option<usize>,
    /// The most tokens of all results together.
    #[serde(default)]
    max_tokens: Option<usize>,
    /// Only of these categories.
    #[serde(default)]
    categories: Vec<String>,
    /// Rank with a reranking model, where the server has one.
    #[serde(default)]
    rerank: Option<bool>,
    /// Whether the answer begins with the bio; it does if it is left out.
    #[serde(default)]
    include_bio: Option<bool>,
    /// Only of this level; of all if it is left out.
    #[serde(default)]
    level: Option<Level>,
    /// Only from this app.
    #[serde(default)]
    agent_id: Option<String>,
    /// Only from this conversation.
    #[serde(default)]
    thread_id: Option<String>,
    /// As it was then, as far as it had been said by then.
    #[serde(default)]
    as_of: Option<UnixMs>,
    /// Everything: also what does not hold any more. Not together with `as_of`.
    #[serde(default)]
    past: bool,
}

/// A question is of one moment or of everything.
pub(crate) fn one_state(as_of: Option<UnixMs>, past: bool) -> Result<(), ApiError> {
    if as_of.is_some() && past {
        return Err(ApiError::invalid(
            "as_of_or_past",
            "ask either as of a moment or for everything, which is also what does not hold any more",
        ));
    }
    Ok(())
}

/// The answer.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Results {
    /// The owner's bio, if it was asked for and the key may read the profile.
    user_bio: Option<String>,
    /// Best first.
    memories: Vec<ShownHit>,
    /// The same as text to put before a model, marked so that it is not learnt again.
    context: String,
    /// Tokens of the context, as the memory estimates them.
    tokens: usize,
    /// Why the memory holds that it does not know.
    abstained: Option<String>,
    /// What of the request was not done, and why.
    note: Option<String>,
}

pub(crate) async fn search(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    Input(search): Input<Search>,
) -> Result<Answer<Results>, ApiError> {
    text("query", &search.query, QUERY_LEN)?;
    if search.max_tokens == Some(0) {
        return Err(ApiError::invalid(
            "max_tokens_range",
            "max_tokens is at least 1",
        ));
    }
    one_state(search.as_of, search.past)?;
    let recall = Recall {
        query: search.query,
        limit: limit(search.limit, 10)?,
        tokens: search.max_tokens,
        categories: search.categories,
        level: search.level,
        app: search.agent_id,
        thread: search.thread_id,
        as_of: search.as_of,
        past: search.past,
        rerank: search.rerank == Some(true),
    };
    let with_bio = search.include_bio.unwrap_or(true) && caller.may(Scope::ProfileRead);
    let (recalled, user_bio) = gateway
        .ask(move |memory| {
            let recalled = memory.recall(recall)?;
            let bio = if with_bio {
                Some(memory.profile()?.user_bio)
            } else {
                None
            };
            Ok((recalled, bio))
        })
        .await?;
    Ok(Answer(
        StatusCode::OK,
        Results {
            user_bio,
            context: recalled.context,
            tokens: recalled.tokens,
            abstained: recalled.abstained,
            note: (search.rerank == Some(true) && !recalled.reranked)
                .then(|| "not reranked: this server has no reranking model".to_owned()),
            memories: recalled.hits.into_iter().map(ShownHit::from).collect(),
        },
    ))
}

pub(crate) async fn one(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
) -> Result<Answer<ShownMemory>, ApiError> {
    let id = whole_id(id)?;
    let memory = gateway.ask(move |memory| memory.get(&id)).await?;
    Ok(Answer(StatusCode::OK, memory.into()))
}

/// What a memory was and became.
#[derive(Serialize, JsonSchema)]
pub(crate) struct History {
    /// Oldest first.
    history: Vec<Change>,
}

pub(crate) async fn history(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
) -> Result<Answer<History>, ApiError> {
    let id = whole_id(id)?;
    let history = gateway.ask(move |memory| memory.history(&id)).await?;
    Ok(Answer(StatusCode::OK, History { history }))
}

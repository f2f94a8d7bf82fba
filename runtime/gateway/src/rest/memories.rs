//! `/v1/memories`.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answer, Ignored, Input, Params, short, text};
use crate::access::Caller;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::keys::Scope;
use crate::service::{
    Change, Forgotten, Hit, Level, Listing, Memory, NewTurn, Recall, Remember, Voice,
};
use crate::time::UnixMs;

/// Turns in one request, and bytes of each.
const TURNS: usize = 1000;
const TURN_LEN: usize = 1 << 20;
/// Bytes of a name, and of a question.
const NAME_LEN: usize = 256;
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
    /// Taken and not kept.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    #[expect(dead_code, reason = "clients of the documented shape send it")]
    metadata: Ignored,
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
    /// When it was said.
    #[serde(default)]
    timestamp: Option<UnixMs>,
    /// The app's own id of the turn: the same id is the same turn.
    #[serde(default)]
    id: Option<String>,
}

/// What came of it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Added {
    /// Facts that were learnt.
    memories_created: u64,
    /// Turns that were new.
    episodes_created: u64,
    /// Turns that were there already.
    already_known: u64,
    /// Categories of what was learnt.
    categories_detected: Vec<String>,
    /// What was learnt.
    memories: Vec<Memory>,
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
                at: message.timestamp,
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
            memories_created: remembered.facts.len() as u64,
            episodes_created: remembered.episodes,
            already_known: remembered.known,
            categories_detected: categories,
            memories: remembered.facts,
            note: remembered.note,
        },
    ))
}

/// What to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// The most; 1 to 100, 20 if it is left out.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
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

/// A page of memories.
#[derive(Serialize, JsonSchema)]
pub(crate) struct List {
    /// Newest first.
    memories: Vec<Memory>,
    /// Where the next page begins; none at the end.
    next_cursor: Option<String>,
    /// All that fit the query.
    total: u64,
}

pub(crate) async fn list(
    State(gateway): State<Gateway>,
    Params(query): Params<ListQuery>,
) -> Result<Answer<List>, ApiError> {
    let listing = Listing {
        limit: limit(query.limit, 20)?,
        cursor: query.cursor,
        level: query.level,
        category: query.category,
        app: query.agent_id,
        thread: query.thread_id,
        past: query.past,
    };
    let listed = gateway.ask(move |memory| memory.list(listing)).await?;
    Ok(Answer(
        StatusCode::OK,
        List {
            memories: listed.memories,
            next_cursor: listed.next,
            total: listed.total,
        },
    ))
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
    /// Only from this app.
    #[serde(default)]
    agent_id: Option<String>,
    /// Only from this conversation.
    #[serde(default)]
    thread_id: Option<String>,
    /// As it was then.
    #[serde(default)]
    as_of: Option<UnixMs>,
    /// Also what does not hold any more.
    #[serde(default)]
    past: bool,
}

/// The answer.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Results {
    /// The owner's bio, if it was asked for and the key may read the profile.
    user_bio: Option<String>,
    /// Best first.
    memories: Vec<Hit>,
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
    let recall = Recall {
        query: search.query,
        limit: limit(search.limit, 10)?,
        tokens: search.max_tokens,
        categories: search.categories,
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
            memories: recalled.hits,
        },
    ))
}

pub(crate) async fn one(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
) -> Result<Answer<Memory>, ApiError> {
    let memory = gateway.ask(move |memory| memory.get(&id)).await?;
    Ok(Answer(StatusCode::OK, memory))
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
    let history = gateway.ask(move |memory| memory.history(&id)).await?;
    Ok(Answer(StatusCode::OK, History { history }))
}

/// A change of a memory: one of the two.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// What it should say.
    #[serde(default)]
    memory: Option<String>,
    /// `true`: it is so.
    #[serde(default)]
    confirmed: Option<bool>,
}

pub(crate) async fn edit(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    Input(edit): Input<Edit>,
) -> Result<Answer<Memory>, ApiError> {
    let memory = match (edit.memory, edit.confirmed) {
        (Some(new), None) => {
            text("memory", &new, FACT_LEN)?;
            gateway.ask(move |memory| memory.correct(&id, &new)).await?
        }
        (None, Some(true)) => gateway.ask(move |memory| memory.confirm(&id)).await?,
        _ => {
            return Err(ApiError::invalid(
                "edit_shape",
                "send either \"memory\" with the corrected text, or \"confirmed\": true",
            ));
        }
    };
    Ok(Answer(StatusCode::OK, memory))
}

/// How to forget.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForgetQuery {
    /// Also the words it rests on, and what rests on it.
    #[serde(default)]
    cascade: bool,
    /// Keep a copy: not done here; a vault is backed up with `tally vault export`.
    #[serde(default)]
    backup: bool,
}

pub(crate) async fn forget(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    Params(query): Params<ForgetQuery>,
) -> Result<Answer<Forgotten>, ApiError> {
    if query.backup {
        return Err(ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            "unsupported",
            "what is forgotten is not kept; export the vault first if you want a copy",
        ));
    }
    let forgotten = gateway
        .ask(move |memory| memory.forget(&id, query.cascade))
        .await?;
    Ok(Answer(StatusCode::OK, forgotten))
}

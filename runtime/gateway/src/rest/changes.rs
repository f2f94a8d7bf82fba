//! Changes of memories: `PATCH`, `DELETE` (of one, or of what came from somewhere) and `/v1/memories/batch-delete`.
//!
//! A memory is not written over. What replaces it is a correction, a memory of its own, and answers carry the id of what holds
//! now; by the id from before it can still be corrected further and forgotten.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::memories::{FACT_LEN, NAME_LEN, ShownMemory, whole_id};
use super::{Answer, Input, Params, short, text};
use crate::access::Caller;
use crate::error::{ApiError, ErrorDetail};
use crate::gateway::Gateway;
use crate::guard::RequestId;
use crate::keys::Scope;
use crate::service::{
    Extent, Forgotten, ForgottenFrom, ForgottenMany, Memory, Origin, ServiceError, Status,
};
use crate::time::UnixMs;

/// Memories in one request to forget several.
const BATCH: usize = 100;

/// A change of a memory: what it should say, or that it is so.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// What it should say.
    #[serde(default)]
    memory: Option<String>,
    /// The same, as MemSync's documentation calls it.
    #[serde(default)]
    content: Option<String>,
    /// `true`: it is so.
    #[serde(default)]
    confirmed: Option<bool>,
    /// A category. Those of a fact stay with its correction.
    #[serde(default)]
    category: Option<String>,
    /// `semantic` or `episodic`. It stays as it was.
    #[serde(default)]
    memory_type: Option<String>,
    /// Not kept.
    #[serde(default)]
    importance: Option<f64>,
    /// Not kept.
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
}

/// What MemSync changes of a memory and this memory does not. A request for these alone is refused; beside a correction they are
/// taken, and `note` says what stayed as it was.
struct Labels {
    category: Option<String>,
    kind: Option<String>,
    importance: bool,
    metadata: bool,
}

impl Labels {
    fn is_empty(&self) -> bool {
        self.category.is_none() && self.kind.is_none() && !self.importance && !self.metadata
    }

    /// What of them is not so of a memory, and why; for a person.
    fn undone(&self, memory: &Memory) -> Option<String> {
        let mut undone = Vec::new();
        if let Some(category) = &self.category
            && !memory.categories.contains(category)
        {
            let categories = match memory.categories.join(", ") {
                none if none.is_empty() => "none".to_owned(),
                some => some,
            };
            undone.push(format!("the categories stay as learnt: {categories}"));
        }
        if let Some(kind) = &self.kind
            && *kind != memory.kind
        {
            undone.push(format!("the type stays {}", memory.kind));
        }
        if self.importance {
            undone.push("importance is not kept".to_owned());
        }
        if self.metadata {
            undone.push("metadata is not kept".to_owned());
        }
        (!undone.is_empty()).then(|| undone.join("; "))
    }
}

/// The memory that holds now.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Edited {
    /// For who has the scope `memories:read`.
    Whole(Box<EditedMemory>),
    /// For who has not: what it says is not told, nor what of the request was not done.
    Named(EditedName),
}

/// Which memory holds now.
#[derive(Serialize, JsonSchema)]
pub(crate) struct EditedName {
    /// Its id.
    id: String,
    /// The same, as MemSync's documentation calls it.
    memory_id: String,
    /// Whether it holds.
    status: Status,
}

/// The memory that holds now, all of it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct EditedMemory {
    #[serde(flatten)]
    memory: ShownMemory,
    /// Its id, as MemSync's documentation calls it.
    memory_id: String,
    /// What it says, as MemSync's documentation calls it.
    content: String,
    /// The first of its categories.
    category: Option<String>,
    /// Its type, as MemSync's documentation calls it.
    memory_type: String,
    /// The memory in whose place it came: the one that held until then, by whichever id the request named it.
    supersedes: Option<String>,
    /// What of the request was not done, and why.
    note: Option<String>,
}

pub(crate) async fn edit(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Input(edit): Input<Edit>,
) -> Result<Answer<Edited>, ApiError> {
    let id = whole_id(id)?;
    let labels = Labels {
        category: edit.category,
        kind: edit.memory_type,
        importance: edit.importance.is_some(),
        metadata: edit.metadata.is_some(),
    };
    let mut supersedes = None;
    let memory = match (edit.memory, edit.content, edit.confirmed) {
        (Some(new), None, None) | (None, Some(new), None) => {
            text("the corrected text", &new, FACT_LEN)?;
            let corrected = gateway.ask(move |memory| memory.correct(&id, &new)).await?;
            // A memory may take the same words at the same moment for the same correction.
            supersedes = Some(corrected.supersedes).filter(|before| *before != corrected.memory.id);
            corrected.memory
        }
        (None, None, Some(true)) => gateway.ask(move |memory| memory.confirm(&id)).await?,
        (None, None, None) if !labels.is_empty() => {
            // This changes nothing: it says whether they are so already, which is reading.
            caller.need(Scope::MemoriesRead)?;
            let memory = gateway.ask(move |memory| memory.get(&id)).await?;
            if let Some(undone) = labels.undone(&memory) {
                return Err(
                    ServiceError::Unsupported(format!("nothing was changed: {undone}")).into(),
                );
            }
            memory
        }
        _ => {
            return Err(ApiError::invalid(
                "edit_shape",
                "send either \"memory\" (or \"content\") with the corrected text, or \"confirmed\": true",
            ));
        }
    };
    let edited = if caller.may(Scope::MemoriesRead) {
        Edited::Whole(Box::new(EditedMemory {
            memory_id: memory.id.clone(),
            content: memory.text.clone(),
            category: memory.categories.first().cloned(),
            memory_type: memory.kind.clone(),
            supersedes,
            note: labels.undone(&memory),
            memory: memory.into(),
        }))
    } else {
        Edited::Named(EditedName {
            id: memory.id.clone(),
            memory_id: memory.id,
            status: memory.status,
        })
    };
    Ok(Answer(StatusCode::OK, edited))
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

/// What was forgotten.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Deleted {
    /// That it is forgotten.
    success: bool,
    /// The id in the request.
    memory_id: String,
    /// When.
    deleted_at: UnixMs,
    #[serde(flatten)]
    forgotten: Forgotten,
}

fn without_backup(backup: bool) -> Result<(), ApiError> {
    if backup {
        return Err(ServiceError::Unsupported(
            "what is forgotten is not kept; export the vault first if you want a copy".to_owned(),
        )
        .into());
    }
    Ok(())
}

pub(crate) async fn forget(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    Params(query): Params<ForgetQuery>,
) -> Result<Answer<Deleted>, ApiError> {
    without_backup(query.backup)?;
    let id = whole_id(id)?;
    let asked = id.clone();
    let forgotten = gateway
        .ask(move |memory| memory.forget(&asked, query.cascade))
        .await?;
    Ok(Answer(
        StatusCode::OK,
        Deleted {
            success: true,
            memory_id: id,
            deleted_at: gateway.now(),
            forgotten,
        },
    ))
}

/// Memories to forget.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    /// Their ids; 1 to 100.
    memory_ids: Vec<String>,
    /// Also the words they rest on, and what rests on them.
    #[serde(default)]
    cascade: bool,
    /// Keep a copy: not done here; a vault is backed up with `tally vault export`.
    #[serde(default)]
    backup: bool,
}

/// What was forgotten.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BatchDeleted {
    /// Whether all of them were there and are forgotten.
    success: bool,
    /// When.
    deleted_at: UnixMs,
    /// Those of the request that were not there.
    not_found: Vec<String>,
    /// Those of the request that could not be forgotten. Asking again goes on.
    failed: Vec<NotForgotten>,
    #[serde(flatten)]
    forgotten: Forgotten,
}

/// A memory that could not be forgotten.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NotForgotten {
    /// The id in the request.
    memory_id: String,
    /// Why, as an error says it.
    error: ErrorDetail,
}

pub(crate) async fn forget_batch(
    State(gateway): State<Gateway>,
    Extension(RequestId(request)): Extension<RequestId>,
    Input(batch): Input<Batch>,
) -> Result<Answer<BatchDeleted>, ApiError> {
    without_backup(batch.backup)?;
    if batch.memory_ids.is_empty() || batch.memory_ids.len() > BATCH {
        return Err(ApiError::invalid(
            "memory_ids_count",
            format!(
                "between 1 and {BATCH} memory_ids; these are {}",
                batch.memory_ids.len()
            ),
        ));
    }
    let (whole, cut) = batch
        .memory_ids
        .into_iter()
        .partition::<Vec<_>, _>(|id| whole_id(id.clone()).is_ok());
    let ForgottenMany {
        forgotten,
        mut not_found,
        failed,
    } = gateway
        .ask(move |memory| memory.forget_many(&whole, batch.cascade))
        .await?;
    not_found.extend(cut);
    let status = if failed.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::MULTI_STATUS
    };
    let failed = failed
        .into_iter()
        .map(|(memory_id, error)| NotForgotten {
            memory_id,
            error: ErrorDetail {
                request_id: Some(request.clone()),
                ..ApiError::from(error).body().error
            },
        })
        .collect();
    Ok(Answer(
        status,
        BatchDeleted {
            success: status == StatusCode::OK && not_found.is_empty(),
            deleted_at: gateway.now(),
            not_found,
            failed,
            forgotten,
        },
    ))
}

/// What to forget by where it was said.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OriginQuery {
    /// The app or agent it came from.
    agent_id: String,
    /// Only this conversation or document of it; empty for what was said in none.
    thread_id: Option<String>,
    /// Say how much it is and forget nothing.
    #[serde(default)]
    dry_run: bool,
    /// How many `turns` a dry run counted. Nothing is forgotten where another number is there.
    turns: Option<u64>,
}

/// What was said somewhere, and what became of it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct DeletedFrom {
    /// Whether it is forgotten; a dry run only counts.
    success: bool,
    /// When.
    deleted_at: Option<UnixMs>,
    #[serde(flatten)]
    extent: Extent,
    /// What stays and why.
    note: Option<String>,
}

pub(crate) async fn forget_from(
    State(gateway): State<Gateway>,
    Params(query): Params<OriginQuery>,
) -> Result<Answer<DeletedFrom>, ApiError> {
    text("agent_id", &query.agent_id, NAME_LEN)?;
    if let Some(thread) = &query.thread_id {
        short("thread_id", thread, NAME_LEN)?;
    }
    let origin = Origin {
        app: query.agent_id,
        thread: query.thread_id,
    };
    let answer = match (query.dry_run, query.turns) {
        (true, _) => DeletedFrom {
            success: false,
            deleted_at: None,
            extent: gateway.ask(move |memory| memory.extent(&origin)).await?,
            note: None,
        },
        (false, Some(turns)) => {
            let ForgottenFrom { gone, note } = gateway
                .ask(move |memory| memory.forget_from(&origin, turns))
                .await?;
            DeletedFrom {
                success: true,
                deleted_at: Some(gateway.now()),
                extent: gone,
                note,
            }
        }
        (false, None) => {
            return Err(ApiError::invalid(
                "turns_missing",
                "ask with dry_run=true how much it is, then without it and with turns=, the number of turns that it answers",
            ));
        }
    };
    Ok(Answer(StatusCode::OK, answer))
}

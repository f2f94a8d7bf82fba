//! `/v1/api-keys`.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answer, Input};
use crate::access::Caller;
use crate::error::ApiError;
use crate::gateway::{Gateway, StartError};
use crate::keys::{IssuedKey, KeyError, KeyInfo, Scope};
use crate::time::UnixMs;

/// A key to make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// What to call it: the app that will use it.
    name: String,
    /// What it may do; everything but making keys if it is left out. Never more than the key that makes it.
    #[serde(default)]
    scopes: Option<Vec<Scope>>,
    /// When it ends; never if it is left out.
    #[serde(default)]
    expires_at: Option<UnixMs>,
}

pub(crate) async fn create(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    Input(new): Input<NewKey>,
) -> Result<Answer<IssuedKey>, ApiError> {
    let scopes = new.scopes.unwrap_or_else(|| {
        Scope::ORDINARY
            .into_iter()
            .filter(|scope| caller.may(*scope))
            .collect()
    });
    // A key widens nothing.
    for scope in &scopes {
        caller.need(*scope)?;
    }
    match gateway.issue_key(&new.name, &scopes, new.expires_at) {
        Ok(issued) => Ok(Answer(StatusCode::CREATED, issued)),
        Err(StartError::Key(error @ KeyError::Randomness)) => Err(ApiError::internal(error)),
        Err(StartError::Key(error)) => Err(ApiError::invalid("key_refused", error.to_string())),
        Err(StartError::Keep(error)) => Err(ApiError::internal(format!("keep API keys: {error}"))),
    }
}

/// All keys.
#[derive(Serialize, JsonSchema)]
pub(crate) struct List {
    /// Oldest first.
    api_keys: Vec<KeyInfo>,
}

pub(crate) async fn list(State(gateway): State<Gateway>) -> Answer<List> {
    Answer(
        StatusCode::OK,
        List {
            api_keys: gateway.keys(),
        },
    )
}

/// What was deleted.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Deleted {
    /// The key's id.
    deleted: String,
}

pub(crate) async fn delete(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
) -> Result<Answer<Deleted>, ApiError> {
    match gateway.delete_key(&id) {
        Ok(true) => Ok(Answer(StatusCode::OK, Deleted { deleted: id })),
        Ok(false) => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "key_not_found",
            "no key has this id",
        )),
        Err(error) => Err(ApiError::internal(format!("keep API keys: {error}"))),
    }
}

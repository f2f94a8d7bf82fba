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
    /// When it ends; with the key that makes it if it is left out or later than that.
    #[serde(default)]
    expires_at: Option<UnixMs>,
    /// The same in seconds from now, as MemSync's documentation has it: one of the two.
    #[serde(default)]
    expires_in: Option<u64>,
}

impl NewKey {
    fn end(&self, now: UnixMs) -> Result<Option<UnixMs>, ApiError> {
        match (self.expires_at, self.expires_in) {
            (end, None) => Ok(end),
            (None, Some(seconds)) => {
                let lasts_ms = seconds.saturating_mul(1000);
                Ok(Some(UnixMs(now.0.saturating_add_unsigned(lasts_ms))))
            }
            (Some(_), Some(_)) => Err(ApiError::invalid(
                "key_end",
                "send either \"expires_at\" or \"expires_in\"",
            )),
        }
    }
}

/// A new key, with its secret.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Issued {
    #[serde(flatten)]
    issued: IssuedKey,
    /// Its id, as MemSync's documentation calls it.
    api_key_id: String,
}

pub(crate) async fn create(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    Input(new): Input<NewKey>,
) -> Result<Answer<Issued>, ApiError> {
    let end = caller.end_of_made(new.end(gateway.now())?);
    let scopes = new.scopes.unwrap_or_else(|| {
        Scope::ORDINARY
            .into_iter()
            .filter(|scope| caller.may(*scope))
            .collect()
    });
    // A key widens nothing: neither what may be done nor until when.
    for scope in &scopes {
        caller.need(*scope)?;
    }
    match gateway.issue_key(&new.name, &scopes, end) {
        Ok(issued) => {
            let api_key_id = issued.info.id.clone();
            Ok(Answer(StatusCode::CREATED, Issued { issued, api_key_id }))
        }
        Err(StartError::Key(error @ KeyError::Randomness)) => Err(ApiError::internal(error)),
        Err(StartError::Key(error)) => Err(ApiError::invalid("key_refused", error.to_string())),
        Err(StartError::Keep(error)) => Err(ApiError::internal(format!("keep API keys: {error}"))),
    }
}

/// A key, without its secret.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Listed {
    #[serde(flatten)]
    info: KeyInfo,
    /// Its id, as MemSync's documentation calls it.
    api_key_id: String,
    /// Whether it opens anything.
    status: KeyStatus,
}

/// Whether a key opens anything. One that was deleted is not listed.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyStatus {
    /// It does.
    Active,
    /// It did.
    Expired,
}

/// All keys.
#[derive(Serialize, JsonSchema)]
pub(crate) struct List {
    /// Oldest first.
    api_keys: Vec<Listed>,
    /// How many there are.
    total: usize,
    /// Whether there are more: never, these are all.
    has_more: bool,
}

pub(crate) async fn list(State(gateway): State<Gateway>) -> Answer<List> {
    let now = gateway.now();
    let api_keys: Vec<Listed> = gateway
        .keys()
        .into_iter()
        .map(|info| Listed {
            api_key_id: info.id.clone(),
            status: match info.expires_at {
                Some(end) if end <= now => KeyStatus::Expired,
                _ => KeyStatus::Active,
            },
            info,
        })
        .collect();
    Answer(
        StatusCode::OK,
        List {
            total: api_keys.len(),
            has_more: false,
            api_keys,
        },
    )
}

/// What was deleted.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Deleted {
    /// The key's id.
    deleted: String,
    /// That it is deleted.
    success: bool,
    /// The key's id, as MemSync's documentation calls it.
    api_key_id: String,
    /// When.
    deleted_at: UnixMs,
}

pub(crate) async fn delete(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
) -> Result<Answer<Deleted>, ApiError> {
    match gateway.delete_key(&id) {
        Ok(true) => Ok(Answer(
            StatusCode::OK,
            Deleted {
                deleted: id.clone(),
                success: true,
                api_key_id: id,
                deleted_at: gateway.now(),
            },
        )),
        Ok(false) => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "key_not_found",
            "no key has this id",
        )),
        Err(error) => Err(ApiError::internal(format!("keep API keys: {error}"))),
    }
}

//! MemSync's REST, in the shape its documentation gives: one table of routes.

mod changes;
mod chat;
mod files;
mod keys;
pub(crate) mod memories;
mod profile;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Query};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::by_key;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::jobs::JobStatus;
use crate::keys::Scope;
use crate::openapi::{Body, Route, openapi};
use crate::rate::Allowance;

pub(crate) fn router(gateway: &Gateway) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let file_len = gateway.state.config.file_len;
        let handler = match route.body {
            // A form adds its own lines to the file.
            Body::File(_) | Body::FileOrJson(..) => route
                .handler
                .layer(DefaultBodyLimit::max(file_len.saturating_add(64 * 1024))),
            _ => route.handler,
        };
        let handler = match route.scope {
            Some(scope) => {
                let state = (gateway.clone(), Some(scope), route.allowance);
                handler.layer(from_fn_with_state(state, by_key))
            }
            None => handler,
        };
        router = router.route(route.path, handler);
    }
    router.with_state(gateway.clone())
}

/// Every operation. A path that needs a key has a scope here and nowhere else.
pub(crate) fn routes() -> Vec<Route> {
    use Scope::{Integrations, Keys, MemoriesRead, MemoriesWrite, ProfileRead, ProfileWrite};
    fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
        schemas.subschema_for::<T>()
    }
    /// Written out, because its fields become parameters.
    fn fields<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
        T::json_schema(schemas)
    }
    let route = |method, path, id, summary, scope: Option<Scope>, status, answer, handler| Route {
        method,
        path,
        id,
        summary,
        scope,
        allowance: Allowance::Ordinary,
        query: None,
        body: Body::Nothing,
        status,
        answer,
        or: None,
        handler,
    };
    vec![
        Route {
            body: Body::Json(of::<memories::Add>),
            ..route(
                Method::POST,
                "/v1/memories",
                "addMemories",
                "Keep turns of a conversation and learn from them",
                Some(MemoriesWrite),
                201,
                of::<memories::Added>,
                post(memories::add),
            )
        },
        Route {
            query: Some(fields::<memories::ListQuery>),
            ..route(
                Method::GET,
                "/v1/memories",
                "listMemories",
                "Memories, newest first",
                Some(MemoriesRead),
                200,
                of::<memories::List>,
                get(memories::list),
            )
        },
        Route {
            allowance: Allowance::Searches,
            body: Body::Json(of::<memories::Search>),
            ..route(
                Method::POST,
                "/v1/memories/search",
                "searchMemories",
                "Memories that answer a question, best first",
                Some(MemoriesRead),
                200,
                of::<memories::Results>,
                post(memories::search),
            )
        },
        route(
            Method::GET,
            "/v1/memories/{id}",
            "getMemory",
            "One memory with its evidence",
            Some(MemoriesRead),
            200,
            of::<memories::ShownMemory>,
            get(memories::one),
        ),
        route(
            Method::GET,
            "/v1/memories/{id}/history",
            "getMemoryHistory",
            "What a memory was and became",
            Some(MemoriesRead),
            200,
            of::<memories::History>,
            get(memories::history),
        ),
        Route {
            body: Body::Json(of::<changes::Edit>),
            ..route(
                Method::PATCH,
                "/v1/memories/{id}",
                "updateMemory",
                "Correct a fact, or confirm it; what it was stays in its history",
                Some(MemoriesWrite),
                200,
                of::<changes::Edited>,
                patch(changes::edit),
            )
        },
        Route {
            query: Some(fields::<changes::ForgetQuery>),
            ..route(
                Method::DELETE,
                "/v1/memories/{id}",
                "deleteMemory",
                "Forget a memory",
                Some(MemoriesWrite),
                200,
                of::<changes::Deleted>,
                delete(changes::forget),
            )
        },
        Route {
            query: Some(fields::<changes::OriginQuery>),
            ..route(
                Method::DELETE,
                "/v1/memories",
                "deleteMemoriesFrom",
                "Count, then forget, everything that came from an app or a conversation",
                Some(MemoriesWrite),
                200,
                of::<changes::DeletedFrom>,
                delete(changes::forget_from),
            )
        },
        Route {
            body: Body::Json(of::<changes::Batch>),
            or: Some((207, of::<changes::BatchDeleted>)),
            ..route(
                Method::POST,
                "/v1/memories/batch-delete",
                "deleteMemories",
                "Forget several memories",
                Some(MemoriesWrite),
                200,
                of::<changes::BatchDeleted>,
                post(changes::forget_batch),
            )
        },
        Route {
            query: Some(fields::<profile::ProfileQuery>),
            ..route(
                Method::GET,
                "/v1/profile",
                "getProfile",
                "What is known about the owner, each line with the memory it rests on",
                Some(ProfileRead),
                200,
                of::<crate::service::Profile>,
                get(profile::profile),
            )
        },
        Route {
            query: Some(fields::<profile::BioQuery>),
            ..route(
                Method::GET,
                "/v1/profile/bio",
                "getBio",
                "The bio, in several lengths; where that is asked for, also in a model's words",
                Some(ProfileRead),
                200,
                of::<profile::Bio>,
                get(profile::bio),
            )
        },
        Route {
            body: Body::Json(of::<profile::EditBio>),
            ..route(
                Method::PATCH,
                "/v1/profile/bio",
                "updateBio",
                "Put the owner's own words in the place of the bio",
                Some(ProfileWrite),
                200,
                of::<profile::Bio>,
                patch(profile::edit_bio),
            )
        },
        Route {
            allowance: Allowance::Imports,
            body: Body::File(files::FIELDS),
            ..route(
                Method::POST,
                "/v1/integrations/files",
                "importFile",
                "Import a document or an export, in the background",
                Some(Integrations),
                202,
                of::<JobStatus>,
                post(files::import_file),
            )
        },
        Route {
            allowance: Allowance::Imports,
            body: Body::FileOrJson(files::FIELDS, of::<memories::Add>),
            or: Some((201, of::<memories::Added>)),
            ..route(
                Method::POST,
                "/v1/integrations/chat",
                "importChat",
                "Import a chat export (file), or turns (JSON, as POST /v1/memories has them)",
                Some(Integrations),
                202,
                of::<JobStatus>,
                post(chat::import_chat),
            )
        },
        route(
            Method::GET,
            "/v1/integrations/{id}/status",
            "getImport",
            "How an import stands, and what it left out",
            Some(Integrations),
            200,
            of::<JobStatus>,
            get(files::status),
        ),
        Route {
            body: Body::Json(of::<keys::NewKey>),
            ..route(
                Method::POST,
                "/v1/api-keys",
                "createKey",
                "Make a key; it is shown once",
                Some(Keys),
                201,
                of::<keys::Issued>,
                post(keys::create),
            )
        },
        route(
            Method::GET,
            "/v1/api-keys",
            "listKeys",
            "Keys, without their secrets",
            Some(Keys),
            200,
            of::<keys::List>,
            get(keys::list),
        ),
        route(
            Method::DELETE,
            "/v1/api-keys/{id}",
            "deleteKey",
            "Delete a key; it opens nothing from then on",
            Some(Keys),
            200,
            of::<keys::Deleted>,
            delete(keys::delete),
        ),
        route(
            Method::GET,
            "/v1/openapi.json",
            "getOpenApi",
            "This document",
            None,
            200,
            |_| schemars::json_schema!({ "type": "object" }),
            get(|| async { Json(openapi()) }),
        ),
        route(
            Method::GET,
            "/healthz",
            "getHealth",
            "Whether the server lives",
            None,
            200,
            of::<Health>,
            get(|| async { Json(Health { status: "ok" }) }),
        ),
    ]
}

#[derive(Serialize, JsonSchema)]
struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether a request says that its body is JSON, where it may be a file too.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"))
}

/// A JSON body, with errors of our shape.
pub(crate) struct Input<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = ApiError;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, ApiError> {
        let Json(value) = Json::<T>::from_request(request, state).await?;
        Ok(Self(value))
    }
}

/// A query string, with errors of our shape.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, ApiError> {
        let Query(value) = Query::<T>::from_request_parts(parts, state)
            .await
            .map_err(|error: QueryRejection| ApiError::invalid("bad_query", error.body_text()))?;
        Ok(Self(value))
    }
}

/// An answer with a status.
pub(crate) struct Answer<T>(pub(crate) StatusCode, pub(crate) T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

/// A text within bounds, without characters that control a terminal.
pub(crate) fn text(field: &str, value: &str, most: usize) -> Result<(), ApiError> {
    if value.trim().is_empty() {
        return Err(ApiError::invalid(
            "field_empty",
            format!("{field} is empty"),
        ));
    }
    short(field, value, most)
}

/// The same, or empty.
pub(crate) fn short(field: &str, value: &str, most: usize) -> Result<(), ApiError> {
    if value.len() > most {
        return Err(ApiError::invalid(
            "field_too_long",
            format!("{field} has {} bytes; {most} are allowed", value.len()),
        ));
    }
    if value
        .chars()
        .any(|letter| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t'))
    {
        return Err(ApiError::invalid(
            "field_control",
            format!("{field} holds control characters"),
        ));
    }
    Ok(())
}

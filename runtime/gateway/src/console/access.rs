//! Who may use the memory, and which models were asked.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::page::{page, token};
use super::{OwnForm, Page, PageError};
use crate::access::SignedIn;
use crate::error::ApiError;
use crate::gateway::{Gateway, StartError};
use crate::keys::Scope;

const HERE: &str = "/console/access";

#[derive(Deserialize)]
pub(crate) struct Done {
    done: Option<String>,
}

pub(crate) async fn index(
    State(gateway): State<Gateway>,
    Extension(session): Extension<SignedIn>,
    Query(done): Query<Done>,
) -> Result<Page, PageError> {
    session.caller.need(Scope::MemoriesRead)?;
    let grants = gateway.ask(|memory| memory.grants()).await?;
    let keys = session.caller.may(Scope::Keys).then(|| gateway.keys());
    let now = gateway.now();
    let body = html! {
        h1 { "Access" }
        h2 { "Grants of the vault" }
        p.hint { "Devices, people and agents that hold keys of the vault. " code { "tally vault share" } " and " code { "tally vault revoke" } " change them." }
        @if grants.is_empty() { p.empty { "Nobody but you." } }
        @else {
            div.scroll {
                table.rows {
                    thead { tr { th { "Who" } th { "What it is" } th { "May" } th { "Until" } } }
                    tbody {
                        @for grant in &grants {
                            tr.off[grant.revoked] {
                                td data-label="Who" { bdi { (grant.name) } }
                                td data-label="What it is" { (grant.kind) }
                                td data-label="May" { (grant.rights.join(", ")) }
                                td data-label="Until" { @if grant.revoked { "taken back" } @else if let Some(until) = grant.until { (until.date()) } @else { "no end" } }
                            }
                        }
                    }
                }
            }
        }
        @if let Some(keys) = &keys {
            h2 { "API keys of this server" }
            @if keys.is_empty() { p.empty { "None." } }
            @else {
                div.scroll {
                    table.rows {
                        thead { tr { th { "App" } th { "May" } th { "Until" } th { span.hidden { "Delete" } } } }
                        tbody {
                            @for key in keys {
                                tr.off[key.expires_at.is_some_and(|end| end <= now)] {
                                    td data-label="App" { bdi { (key.name) } br; code { (key.id) } }
                                    td data-label="May" { (key.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ")) }
                                    td data-label="Until" { @if let Some(end) = key.expires_at { (end.date()) } @else { "no end" } }
                                    td {
                                        form method="post" action={ "/console/access/keys/" (key.id) "/delete" } {
                                            (token(&session))
                                            button.plain type="submit" aria-label={ "Delete the key of " (key.name) } { "Delete" }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            details {
                summary { "Make a key" }
                form.card method="post" action="/console/access/keys" {
                    (token(&session))
                    label for="name" { "The app that will use it" }
                    input #name name="name" required maxlength="100";
                    label for="days" { "Days until it ends; empty for none" }
                    input #days name="days" type="number" min="1" max="3650" inputmode="numeric";
                    @if let Some(end) = session.caller.ends_at { p.hint { "It ends with your own key at the latest, on " (end.date()) "." } }
                    label.check { input type="checkbox" name="read_only"; " may only read" }
                    button type="submit" { "Make" }
                }
            }
        }
    };
    Ok(Page(
        StatusCode::OK,
        page("Access", HERE, &session, done.done.as_deref(), body),
    ))
}

#[derive(Deserialize)]
pub(crate) struct NewKey {
    name: String,
    #[serde(default)]
    days: String,
    #[serde(default)]
    read_only: Option<String>,
}

/// The answer shows the key, so that it is nowhere else: not in an address, not on the server.
pub(crate) async fn create_key(
    State(gateway): State<Gateway>,
    Extension(session): Extension<SignedIn>,
    OwnForm(form): OwnForm<NewKey>,
) -> Result<Response, PageError> {
    session.caller.need(Scope::Keys)?;
    let wanted: &[Scope] = if form.read_only.is_some() {
        &[Scope::MemoriesRead, Scope::ProfileRead]
    } else {
        &Scope::ORDINARY
    };
    let scopes: Vec<Scope> = wanted
        .iter()
        .copied()
        .filter(|scope| session.caller.may(*scope))
        .collect();
    let end = match form.days.trim() {
        "" => None,
        days => {
            let days: i64 = days
                .parse()
                .ok()
                .filter(|days| (1..=3650).contains(days))
                .ok_or_else(|| ApiError::invalid("days_range", "days are from 1 to 3650"))?;
            Some(crate::UnixMs(gateway.now().0 + days * 86_400_000))
        }
    };
    let end = session.caller.end_of_made(end);
    let issued = match gateway.issue_key(form.name.trim(), &scopes, end) {
        Ok(issued) => issued,
        Err(StartError::Key(error)) => {
            return Err(ApiError::invalid("key_refused", error.to_string()).into());
        }
        Err(StartError::Keep(error)) => {
            return Err(ApiError::internal(format!("keep API keys: {error}")).into());
        }
    };
    let body = html! {
        p.path { a href=(HERE) { "Access" } }
        h1 { "A key for " bdi { (issued.info.name) } }
        p.notice role="status" { "Copy it now: it is not kept and will not be shown again." }
        p { code.digest.key { (issued.key) } }
        @if let Some(end) = issued.info.expires_at { p { "It ends on " time datetime=(end) { (end.date()) } "." } }
        p.hint { "Apps send it as " code { "X-API-Key" } " or as " code { "Authorization: Bearer" } "." }
    };
    Ok(Page(
        StatusCode::OK,
        page("A new key", HERE, &session, None, body),
    )
    .into_response())
}

#[derive(Deserialize)]
pub(crate) struct Nothing {}

pub(crate) async fn delete_key(
    State(gateway): State<Gateway>,
    Extension(session): Extension<SignedIn>,
    Path(id): Path<String>,
    OwnForm(Nothing {}): OwnForm<Nothing>,
) -> Result<Redirect, PageError> {
    session.caller.need(Scope::Keys)?;
    match gateway.delete_key(&id) {
        Ok(_) => Ok(Redirect::to("/console/access?done=key-deleted")),
        Err(error) => Err(ApiError::internal(format!("keep API keys: {error}")).into()),
    }
}

pub(crate) async fn models(
    State(gateway): State<Gateway>,
    Extension(session): Extension<SignedIn>,
) -> Result<Page, PageError> {
    session.caller.need(Scope::MemoriesRead)?;
    let calls = gateway.ask(|memory| memory.calls(200)).await?;
    let body = html! {
        h1 { "Models" }
        p.hint { "Every call of a model that memory made, what it cost, and its receipt." }
        @if calls.iter().any(|call| call.is_noted) {
            p.hint { "Those of “this machine” are in no vault: searches, dry runs and failures, noted where they were made, for whichever vault." }
        }
        @if calls.is_empty() { p.empty { "No model was asked. Without one, memory keeps what is said and finds it again; it learns no facts." } }
        @else {
            div.scroll {
                table.rows {
                    thead { tr { th { "When" } th { "What for" } th { "Model" } th { "Tokens read, written" } th { "Took" } th { "Came of it" } th { "Receipt" } } }
                    tbody {
                        @for call in &calls {
                            tr {
                                td data-label="When" { time datetime=(call.at) { (call.at.date()) " " (call.at.clock()) } }
                                td data-label="What for" { (call.purpose) @if call.is_noted { " " span.mark { "this machine" } } }
                                td data-label="Model" { (call.model) }
                                td.number data-label="Tokens" { (call.prompt_tokens) ", " (call.output_tokens) }
                                td.number data-label="Took" { (call.took_ms) " ms" }
                                td data-label="Came of it" { (call.outcome) }
                                td data-label="Receipt" { @if let Some(receipt) = &call.receipt { code { (receipt.chars().take(16).collect::<String>()) "…" } } @else { "none" } }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(Page(
        StatusCode::OK,
        page("Models", "/console/models", &session, None, body),
    ))
}

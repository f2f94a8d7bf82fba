//! The console: a memory for the person whose it is. Rendered here, works without JavaScript, and carries none.
//!
//! Who opens it signs in with the link that the server prints, which works once, or with an API key, and then sees and does
//! what that key may. A session is a random secret in a cookie that no script reads and no other site sends; every form
//! carries a token of the session. What memory says is text and never markup.

mod access;
mod memories;
pub(crate) mod page;
mod profile;

use std::time::Duration;

use axum::extract::{Form, FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use maud::{Markup, html};
use serde::Deserialize;

use crate::access::{COOKIE, NewSession, SignedIn};
use crate::error::ApiError;
use crate::explorer;
use crate::gateway::Gateway;
use crate::guard::peer;
use crate::rate::Allowance;

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
/// Where a browser shows who is signed in: everything behind the door, and nothing else of this server.
const COOKIE_PATHS: [&str; 2] = ["/console", explorer::HERE];
const STYLE: &str = include_str!("console/style.css");
const ICON: &str = include_str!("console/icon.svg");

pub(crate) fn router(gateway: &Gateway) -> Router {
    let inside = Router::new()
        .route(
            "/console",
            get(|| async { Redirect::to("/console/memories") }),
        )
        .route("/console/memories", get(memories::index))
        .route("/console/memories/{id}", get(memories::one))
        .route("/console/memories/{id}/correct", post(memories::correct))
        .route("/console/memories/{id}/confirm", post(memories::confirm))
        .route("/console/memories/{id}/forget", post(memories::forget))
        .route("/console/timeline", get(memories::timeline))
        .route("/console/profile", get(profile::profile))
        .route("/console/profile/bio", post(profile::edit_bio))
        .route("/console/access", get(access::index))
        .route("/console/access/keys", post(access::create_key))
        .route("/console/access/keys/{id}/delete", post(access::delete_key))
        .route("/console/models", get(access::models))
        .route("/console/sign-out", post(sign_out))
        .route("/console/{*nothing}", get(nothing_here))
        .merge(match &gateway.state.config.ledger {
            Some(explorer) => explorer.routes(),
            None => Router::new().route(explorer::HERE, get(explorer::none)),
        })
        .layer(from_fn_with_state(gateway.clone(), signed_in));
    Router::new()
        .merge(inside)
        .route("/", get(|| async { Redirect::to("/console/memories") }))
        .route("/console/sign-in", get(sign_in_page).post(sign_in))
        .with_state(gateway.clone())
        .merge(assets())
}

/// What every page loads.
pub(crate) fn assets() -> Router {
    Router::new()
        .route(
            "/console/style.css",
            get(|| async { asset("text/css; charset=utf-8", STYLE) }),
        )
        .route(
            "/console/icon.svg",
            get(|| async { asset("image/svg+xml", ICON) }),
        )
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "private, max-age=300"),
    ];
    (headers, text).into_response()
}

/// A page as an answer.
pub(crate) struct Page(StatusCode, Markup);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ];
        (self.0, headers, self.1.into_string()).into_response()
    }
}

/// An error as a page.
pub(crate) struct PageError(ApiError);

impl<E: Into<ApiError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let ApiError {
            status,
            message,
            retry_after_s,
            ..
        } = self.0;
        let body = html! {
            h1 { "That did not work" }
            p.notice.bad role="alert" { (explorer::capital(&message)) }
            p { a href="/console/memories" { "Back to the memories" } }
        };
        let mut response = Page(status, page::bare("That did not work", body)).into_response();
        if let Some(seconds) = retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Whoever reads pages is told of a wrong address by one.
async fn nothing_here() -> PageError {
    PageError(ApiError::new(
        StatusCode::NOT_FOUND,
        "no_such_page",
        "there is no such page",
    ))
}

/// Lets who is signed in through, and sends the others to the door.
async fn signed_in(State(gateway): State<Gateway>, mut request: Request, next: Next) -> Response {
    let Some(session) = gateway.session_of(request.headers()) else {
        return if request.method() == Method::GET {
            Redirect::to("/console/sign-in").into_response()
        } else {
            PageError(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "signed_out",
                "you are not signed in any more; nothing was changed",
            ))
            .into_response()
        };
    };
    // The overview of the ledger keeps itself new, every few seconds: that takes from nothing but its own.
    let counted = match request.uri().path() {
        explorer::HERE => format!("ledger {}", session.counted),
        _ => session.counted.clone(),
    };
    if let Err(error) = gateway.take_rate(&counted, Allowance::Ordinary) {
        return PageError(error).into_response();
    }
    request.extensions_mut().insert(session);
    next.run(request).await
}

/// A form of this session: its token was checked before its fields are seen.
pub(crate) struct OwnForm<T>(pub(crate) T);

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    csrf: String,
}

impl<T: serde::de::DeserializeOwned> axum::extract::FromRequest<Gateway> for OwnForm<T> {
    type Rejection = PageError;

    async fn from_request(request: Request, gateway: &Gateway) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let Extension(session) = Extension::<SignedIn>::from_request_parts(&mut parts, gateway)
            .await
            .map_err(|_| PageError(ApiError::internal("a form outside of a session")))?;
        let bytes = axum::body::to_bytes(body, 64 * 1024).await.map_err(|_| {
            PageError(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "form_too_large",
                "the form is too long",
            ))
        })?;
        let refused = |_| PageError(ApiError::invalid("bad_form", "the form is not complete"));
        let Form(token) = form::<Token>(&parts, bytes.clone(), gateway)
            .await
            .map_err(refused)?;
        session.form_is_ours(&token.csrf)?;
        let Form(fields) = form::<T>(&parts, bytes, gateway).await.map_err(refused)?;
        Ok(Self(fields))
    }
}

async fn form<T: serde::de::DeserializeOwned>(
    parts: &Parts,
    bytes: axum::body::Bytes,
    gateway: &Gateway,
) -> Result<Form<T>, axum::extract::rejection::FormRejection> {
    use axum::extract::FromRequest;
    let mut request = Request::new(axum::body::Body::from(bytes));
    request.method_mut().clone_from(&parts.method);
    request.headers_mut().clone_from(&parts.headers);
    Form::<T>::from_request(request, gateway).await
}

#[derive(Deserialize)]
struct Door {
    #[serde(default)]
    secret: Option<String>,
}

/// The printed link comes here. A page asks before the secret is used up, so that whatever fetches links ahead does not.
async fn sign_in_page(Query(door): Query<Door>) -> Page {
    Page(StatusCode::OK, door_page(door.secret.as_deref(), None))
}

fn door_page(secret: Option<&str>, error: Option<&str>) -> Markup {
    page::bare(
        "Sign in",
        html! {
            h1 { "Your memory" }
            @if let Some(error) = error { p.notice.bad role="alert" { (error) } }
            form.card method="post" action="/console/sign-in" {
                @if let Some(secret) = secret {
                    p { "This link signs you in once, on this device." }
                    input type="hidden" name="secret" value=(secret);
                } @else {
                    label for="secret" { "API key" }
                    input #secret type="password" name="secret" required autocomplete="off" autofocus;
                    p.hint { "Or use the link that " code { "tally serve" } " printed when it started." }
                }
                button type="submit" { "Sign in" }
            }
        },
    )
}

async fn sign_in(State(gateway): State<Gateway>, request: Request) -> Response {
    let who = peer(&request);
    let outcome = async {
        let bytes = axum::body::to_bytes(request.into_body(), 4096)
            .await
            .map_err(|_| ApiError::invalid("bad_form", "the form is too long"))?;
        let mut form = Request::new(axum::body::Body::from(bytes));
        *form.method_mut() = Method::POST;
        form.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let Form(door) =
            <Form<Door> as axum::extract::FromRequest<Gateway>>::from_request(form, &gateway)
                .await
                .map_err(|_| ApiError::invalid("bad_form", "the form is not complete"))?;
        gateway.sign_in_with(door.secret.as_deref().unwrap_or_default())
    }
    .await
    .or_else(|error| gateway.count_stranger(&who).and(Err(error)));
    match outcome {
        Ok(NewSession { secret, lasts }) => {
            let mut response = Redirect::to("/console/memories").into_response();
            set_cookie(&mut response, &secret, lasts);
            response
        }
        Err(error) => Page(error.status, door_page(None, Some(&error.message))).into_response(),
    }
}

#[derive(Deserialize)]
struct Nothing {}

async fn sign_out(
    State(gateway): State<Gateway>,
    headers: axum::http::HeaderMap,
    OwnForm(Nothing {}): OwnForm<Nothing>,
) -> Response {
    gateway.sign_out(&headers);
    let mut response = Redirect::to("/console/sign-in").into_response();
    set_cookie(&mut response, "", Duration::ZERO);
    response
}

/// Hands a session's secret to the browser, for so long.
fn set_cookie(response: &mut Response, secret: &str, lasts: Duration) {
    let seconds = lasts.as_secs();
    for path in COOKIE_PATHS {
        // Not `Secure`: the loopback face is plain HTTP. Behind a proxy with TLS, the proxy adds it.
        let cookie =
            format!("{COOKIE}={secret}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={seconds}");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
}

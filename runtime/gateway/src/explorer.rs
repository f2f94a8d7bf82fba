//! The explorer: a ledger for whoever looks. In the console of `tally serve` behind its sign-in, or by itself.
//!
//! Pages are rendered here and read without scripts. One thing needs them: a receipt's page has the reader's own browser
//! check the proof, by the verifier (`p2p-ledger/verifier-web`) as WebAssembly, so that whoever serves the page is not believed about it.
//! The policy lets scripts and WebAssembly of the server itself run, and nothing of anybody else.
//!
//! ```text
//! /ledger                              the network: validators, lag, blocks, receipts as they arrive, faults
//! /ledger/receipts/DIGEST[.proof]      one receipt, and the file that proves it
//! /ledger/genesis.toml                 whom to believe, as this server has it
//! /ledger/evidence/NAME                what a validator signed
//! /ledger/verifier.wasm, *.mjs         what the browser checks with
//! ```

mod overview;
mod receipt;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};
use maud::{Markup, html};
use serde::Deserialize;

use crate::access::SignedIn;
use crate::console::{self, page};
use crate::guard::{self, Doors};
use crate::ledger::{LedgerError, LedgerView};

const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; style-src 'self'; \
                      img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const SCRIPT: &str = include_str!("explorer/explorer.mjs");
const GLUE: &str = include_str!("../../../p2p-ledger/verifier-web/verifier.mjs");

/// The place of the overview, in the console and by itself.
pub(crate) const HERE: &str = "/ledger";

/// A ledger's pages.
#[derive(Clone)]
pub struct Explorer {
    view: Arc<dyn LedgerView>,
    verifier: Option<Bytes>,
}

impl std::fmt::Debug for Explorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Explorer")
            .field("verifier", &self.verifier.as_ref().map(Bytes::len))
            .finish_non_exhaustive()
    }
}

impl Explorer {
    /// Pages of this ledger. `verifier` is the module that a browser checks with; without one the pages say so.
    pub fn new(view: Arc<dyn LedgerView>, verifier: Option<Vec<u8>>) -> Self {
        Self {
            view,
            verifier: verifier.map(Bytes::from),
        }
    }

    /// Everything an explorer by itself answers, called by one of these names (without a port).
    pub fn router(&self, names: Vec<String>) -> Router {
        let doors = Arc::new(Doors {
            names,
            origins: Vec::new(),
        });
        Router::new()
            .route("/", get(|| async { Redirect::to(HERE) }))
            .merge(self.routes())
            .merge(console::assets())
            .fallback(|| async { missing(None, "There is no such page.") })
            .layer(from_fn_with_state(guard::LONGEST, guard::timely))
            .layer(from_fn(guard::survive))
            .layer(from_fn_with_state(doors, guard::guard))
    }

    pub(crate) fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        Router::new()
            .route(HERE, get(overview::page))
            .route("/ledger/find", get(find))
            // The same place for the page and for the file: a segment is matched as a whole.
            .route("/ledger/receipts/{name}", get(receipt::page_or_proof))
            .route("/ledger/genesis.toml", get(genesis))
            .route("/ledger/evidence/{name}", get(evidence))
            .route("/ledger/verifier.wasm", get(verifier))
            .route("/ledger/explorer.mjs", get(|| async { script(SCRIPT) }))
            .route("/ledger/verifier.mjs", get(|| async { script(GLUE) }))
            .with_state(self.clone())
    }
}

/// Where no ledger is configured.
pub(crate) async fn none(session: Option<Extension<SignedIn>>) -> Response {
    let session = session.map(|Extension(session)| session);
    let body = html! {
        h1 { "Ledger" }
        p.empty {
            "No ledger is configured. " code { "tally ledger use genesis.toml" } " names one; " code { "tally devnet" }
            " starts one on this machine."
        }
    };
    answer(
        StatusCode::OK,
        page::scripted("Ledger", HERE, session.as_ref(), html! {}, body),
    )
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    receipt: String,
}

/// The search field, for browsers without scripts and with them.
async fn find(Query(wanted): Query<Wanted>) -> Redirect {
    // Whatever is not hexadecimal has no place in an address.
    let digest: String = wanted
        .receipt
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(64)
        .collect();
    if digest.is_empty() {
        return Redirect::to(HERE);
    }
    Redirect::to(&format!("/ledger/receipts/{}", digest.to_lowercase()))
}

async fn genesis(State(explorer): State<Explorer>) -> Response {
    file(
        "application/toml",
        "genesis.toml",
        explorer.view.genesis().to_owned().into(),
    )
}

async fn evidence(
    State(explorer): State<Explorer>,
    session: Option<Extension<SignedIn>>,
    Path(name): Path<String>,
) -> Response {
    // From a disk.
    let found = tokio::task::spawn_blocking(move || explorer.view.evidence(&name)).await;
    match found.ok().flatten() {
        Some(bytes) => file("application/octet-stream", "fault.evidence", bytes.into()),
        None => missing(
            session.map(|Extension(session)| session),
            "There is no such evidence here.",
        ),
    }
}

async fn verifier(State(explorer): State<Explorer>) -> Response {
    match explorer.verifier {
        Some(module) => {
            let headers = [
                (header::CONTENT_TYPE, "application/wasm"),
                (header::CACHE_CONTROL, "private, max-age=300"),
            ];
            (headers, module).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn script(text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "private, max-age=300"),
    ];
    (headers, text).into_response()
}

/// A file for whoever keeps it.
fn file(content_type: &'static str, name: &str, bytes: Bytes) -> Response {
    let mut response = ([(header::CONTENT_TYPE, content_type)], bytes).into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// A page as an answer.
fn answer(status: StatusCode, page: Markup) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (status, headers, page.into_string()).into_response()
}

fn missing(session: Option<SignedIn>, sentence: &str) -> Response {
    let body = html! {
        h1 { "Not here" }
        p.notice.bad role="alert" { (sentence) }
        p { a href=(HERE) { "Back to the ledger" } }
    };
    answer(
        StatusCode::NOT_FOUND,
        page::scripted("Not here", HERE, session.as_ref(), html! {}, body),
    )
}

fn trouble(session: Option<SignedIn>, error: &LedgerError) -> Response {
    let (title, heading, retry_after_s) = match error {
        LedgerError::NoDigest(_) => return missing(session, &capital(&error.to_string())),
        LedgerError::Nobody(_) => ("No answer", "The ledger does not answer", None),
        LedgerError::Busy => ("Busy", "Many are looking just now", Some(1_u64)),
    };
    let body = html! {
        h1 { (heading) }
        p.notice.bad role="alert" { (capital(&error.to_string())) "." }
        p { a href=(HERE) { "Back to the ledger" } }
    };
    let mut response = answer(
        StatusCode::SERVICE_UNAVAILABLE,
        page::scripted(title, HERE, session.as_ref(), html! {}, body),
    );
    if let Some(seconds) = retry_after_s {
        let seconds = HeaderValue::from(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// A sentence out of an error, which begins in lower case.
pub(crate) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// The beginning of a long name, for eyes.
fn short(hex: &str) -> &str {
    hex.get(..12).unwrap_or(hex)
}

/// `12,345`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

//! The console in headless Chromium: who signs in is in, every page draws, nothing is refused by its own policy, light and dark
//! differ, and on a phone no page is wider than the screen or too pale to read.
//!
//! Where there is no Chromium this does not run, and says so. `TALLY_SHOTS` names a folder in which the pictures stay, for eyes.

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse as _, Response};
use common::chromium::{chromium, content, shoot};
use common::ledger::Ledger;
use common::{bench, bench_with};
use serde_json::json;
use tally_gateway::{Explorer, serve};
use tokio::sync::oneshot;

/// Where a router answers, until what comes with it is dropped.
async fn listening(router: Router) -> (String, oneshot::Sender<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (end, ended) = oneshot::channel::<()>();
    tokio::spawn(serve(listener, router, async move {
        let _ = ended.await;
    }));
    (base, end)
}

/// Chromium's command line fills in no form: the server of a test adds the cookie of who signed in.
fn signed_in(router: &Router, cookie: &str) -> Router {
    let value = HeaderValue::from_str(cookie).unwrap();
    let add = move |mut request: Request, next: Next| {
        let value = value.clone();
        async move {
            if !request.uri().path().ends_with("/sign-in") {
                request.headers_mut().insert(header::COOKIE, value);
            }
            next.run(request).await
        }
    };
    router.clone().layer(from_fn(add))
}

fn policy_with(response: &mut Response, old: &str, new: &str) {
    let headers = response.headers_mut();
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    let policy = HeaderValue::from_str(&policy.replacen(old, new, 1)).unwrap();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_draws_in_chromium() {
    let Some(browser) = chromium("every_page_draws_in_chromium") else {
        return;
    };
    let bench = bench();
    bench.fill();
    let cookie = bench.cookie().await;
    let list = bench.call(Method::GET, "/v1/memories", None).await.json();
    let id = list["memories"][0]["id"].as_str().unwrap().to_owned();
    let (base, end) = listening(signed_in(&bench.router, &cookie)).await;
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("TALLY_SHOTS").map_or(temporary.path().to_owned(), PathBuf::from);
    let all = std::env::var_os("TALLY_SHOTS").is_some();
    let pages = [
        ("memories", "/console/memories".to_owned(), "rye bread"),
        (
            "search",
            "/console/memories?q=coffee+after+four".to_owned(),
            "why it is here",
        ),
        (
            "one",
            format!("/console/memories/{id}"),
            "Why memory holds this",
        ),
        ("timeline", "/console/timeline".to_owned(), "learnt"),
        ("profile", "/console/profile".to_owned(), "interests"),
        ("access", "/console/access".to_owned(), "Travel agent"),
        ("models", "/console/models".to_owned(), "tally-nano"),
        ("sign-in", "/console/sign-in".to_owned(), "API key"),
    ];
    tokio::task::spawn_blocking(move || {
        for (index, (name, path, words)) in pages.iter().enumerate() {
            let mut light = Vec::new();
            for (look, width, dark) in [
                ("wide-light", 1200, false),
                ("narrow-dark", 500, true),
                ("wide-dark", 1200, true),
                ("narrow-light", 500, false),
            ] {
                // Without somebody to look, two looks of the first page and one of each other suffice.
                let is_enough = match index {
                    0 => width == 1200,
                    _ => look == "narrow-dark",
                };
                if !all && !is_enough {
                    continue;
                }
                let keep = folder.join(format!("{name}-{look}.png"));
                let shot = shoot(&browser, &format!("{base}{path}"), width, 1000, dark, &keep);
                assert!(shot.dom.contains(words), "{name}: {}", shot.dom);
                shot.is_sound(name, width, 1000);
                match look {
                    "wide-light" => light = shot.png,
                    "wide-dark" => assert_ne!(shot.png, light, "{name}: dark is as light"),
                    _ => {}
                }
            }
        }
    })
    .await
    .unwrap();
    drop(end);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_in_with_the_printed_link_is_in_everywhere() {
    /// What the person clicks, page by page; the browser does the rest, as it does for everybody.
    async fn click(request: Request, next: Next) -> Response {
        let click = match (request.method(), request.uri().path()) {
            (&Method::GET, "/console/sign-in") => "document.forms[0].submit()",
            (&Method::GET, "/console/memories") => {
                "document.querySelector('a[href=\"/ledger\"]').click()"
            }
            _ => return next.run(request).await,
        };
        let mut response = next.run(request).await;
        policy_with(
            &mut response,
            "default-src 'none'",
            "default-src 'none'; script-src 'unsafe-inline'",
        );
        response.headers_mut().remove(header::CONTENT_LENGTH);
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 16 << 20).await.unwrap();
        let script = format!("<script>{click}</script></body>");
        let page = String::from_utf8_lossy(&bytes).replace("</body>", &script);
        Response::from_parts(parts, Body::from(page))
    }

    let Some(browser) = chromium("who_signs_in_with_the_printed_link_is_in_everywhere") else {
        return;
    };
    let bench = bench();
    let secret = bench.gateway.sign_in_secret().unwrap();
    let (base, end) = listening(bench.router.clone().layer(from_fn(click))).await;
    let (page, log) = tokio::task::spawn_blocking(move || {
        let link = format!("{base}/console/sign-in?secret={secret}");
        content(&browser, &link, 1200, 1000, false)
    })
    .await
    .unwrap();
    // The link's page, the memories, and the ledger that nobody has configured.
    assert!(page.contains("No ledger is configured"), "{page} {log}");
    assert!(page.contains("Sign out"), "{page}");
    drop(end);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_phone_no_page_is_wider_than_the_screen_or_too_pale_to_read() {
    const NAME: &str = "on_a_phone_no_page_is_wider_than_the_screen_or_too_pale_to_read";
    let Some(browser) = chromium(NAME) else {
        return;
    };
    let ledger = Arc::new(Ledger::new());
    let receipt = format!("/ledger/receipts/{}", ledger.digest);
    let bench = bench_with(|config| config.ledger = Some(Explorer::new(ledger, None)));
    let cookie = bench.cookie().await;
    let keep = async |text: &str| {
        let name = "Maximiliana-Wilhelmine-von-und-zu-Hohenzollern-Sigmaringendorf";
        let body = json!({
            "agent_id": "an_app_whose_name_is_".repeat(8),
            "messages": [{ "role": "user", "name": name, "content": text }]
        });
        let kept = bench.call(Method::POST, "/v1/memories", Some(body)).await;
        kept.json()["memories"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let long = "donaudampfschifffahrt".repeat(20);
    let mut pages = Vec::new();
    for text in [
        format!("I {}", "x".repeat(10_000)),
        format!("I said {long}"),
        "I אוהב לשתות קפה שחור בבוקר, אחר כך תה".to_owned(),
        "I love 🍞🥐🧑‍🚀👩‍👩‍👧‍👦🏳️‍🌈".repeat(20),
        format!("I wrote\n\n```\nlet {long} = 1;\n```"),
    ] {
        pages.push(format!("/console/memories/{}", keep(&text).await));
    }
    pages.extend(
        [
            "/console/memories",
            "/console/memories?level=episode",
            "/console/memories?q=love+said",
            "/console/memories?q=nothing",
            "/console/timeline",
            "/console/profile",
            "/console/access",
            "/console/models",
            "/console/memories/none",
            "/console/nowhere",
            "/console/sign-in",
            "/ledger",
            receipt.as_str(),
            "/ledger/receipts/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "/ledger/receipts/none",
        ]
        .map(str::to_owned),
    );
    let count = pages.len();
    let list = format!("const PAGES = {};", json!(pages));
    let phone = include_str!("common/phone.html").replace("const PAGES = [];", &list);
    let frames = move |request: Request, next: Next| {
        let phone = phone.clone();
        async move {
            if request.uri().path() == "/phone" {
                return Html(phone).into_response();
            }
            let mut response = next.run(request).await;
            // The pages refuse to be in frames, even in those of their own server.
            response.headers_mut().remove(header::X_FRAME_OPTIONS);
            policy_with(
                &mut response,
                "frame-ancestors 'none'",
                "frame-ancestors 'self'",
            );
            response
        }
    };
    let router = signed_in(&bench.router, &cookie).layer(from_fn(frames));
    let (base, end) = listening(router).await;
    tokio::task::spawn_blocking(move || {
        for (scheme, dark) in [("light", false), ("dark", true)] {
            let (page, log) = content(&browser, &format!("{base}/phone"), 1200, 1000, dark);
            // Whatever is wrong stands below this line.
            let (_, said) = page.rsplit_once("<body>").expect("a page");
            let said = said.trim_end().trim_end_matches("</body></html>").trim();
            assert_eq!(said, format!("{count} pages were {scheme}"), "{log}");
        }
    })
    .await
    .unwrap();
    drop(end);
}

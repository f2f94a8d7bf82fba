//! The console in headless Chromium: every page draws, nothing is refused by its own policy, light and dark differ, and a narrow
//! window is not wider than it is.
//!
//! Where there is no Chromium this does not run, and says so. `TALLY_SHOTS` names a folder in which the pictures stay, for eyes.

mod common;

use std::path::PathBuf;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::middleware::{Next, from_fn};
use common::bench;
use common::chromium::{chromium, shoot};
use tally_gateway::serve;

#[tokio::test(flavor = "multi_thread")]
async fn every_page_draws_in_chromium() {
    let Some(browser) = chromium("every_page_draws_in_chromium") else {
        return;
    };
    let bench = bench();
    bench.fill();
    let cookie = bench.cookie().await;
    let list = bench
        .call(axum::http::Method::GET, "/v1/memories", None)
        .await
        .json();
    let id = list["memories"][0]["id"].as_str().unwrap().to_owned();
    // Chromium's command line fills in no form: the server of this test adds the cookie of who signed in.
    let value = HeaderValue::from_str(&cookie).unwrap();
    let router = bench
        .router
        .clone()
        .layer(from_fn(move |mut request: Request, next: Next| {
            let value = value.clone();
            async move {
                if !request.uri().path().ends_with("/sign-in") {
                    request.headers_mut().insert("cookie", value);
                }
                next.run(request).await
            }
        }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(serve(listener, router, async move {
        let _ = ended.await;
    }));
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

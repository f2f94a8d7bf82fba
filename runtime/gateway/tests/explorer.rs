//! The explorer over HTTP and in headless Chromium, above a ledger whose proofs are real: what holds is said to hold, and what was
//! altered is said not to, by the browser itself.

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, StatusCode};
use common::chromium::{chromium, shoot};
use common::ledger::Ledger;
use common::{bench, bench_with, request};
use tally_gateway::{Explorer, Later, LedgerError, LedgerView, Overview, SettledReceipt, serve};
use tower::ServiceExt as _;

fn names() -> Vec<String> {
    vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
}

async fn get(router: &Router, path: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    let asked = request(Method::GET, path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(asked).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 16 << 20).await.unwrap();
    (parts.status, parts.headers, bytes.to_vec())
}

async fn page(router: &Router, path: &str) -> String {
    let (status, headers, bytes) = get(router, path).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "));
    assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"));
    let text = String::from_utf8(bytes).unwrap();
    // The policy would refuse both.
    assert!(!text.contains(" style=") && !text.contains("onclick"));
    text
}

#[tokio::test]
async fn pages_say_without_scripts_how_the_ledger_is_and_hand_out_what_proves_it() {
    let ledger = Arc::new(Ledger::new());
    let digest = ledger.digest.clone();
    let router = Explorer::new(ledger.clone(), None).router(names());
    let overview = page(&router, "/ledger").await;
    for words in [
        "harbour",
        "v3 does not answer; the ledger goes on without.",
        &digest[..12],
        "notarized two blocks",
        "1,234 receipts; tried again: no validator answered",
        "56, of which <code>tally ledger refused</code> says why",
    ] {
        assert!(overview.contains(words), "{words}: {overview}");
    }
    let receipt = page(&router, &format!("/ledger/receipts/{digest}")).await;
    for words in ["settled it as number 0", "A model read", "has no verifier"] {
        assert!(receipt.contains(words), "{words}: {receipt}");
    }
    let (_, headers, proof) = get(&router, &format!("/ledger/receipts/{digest}.proof")).await;
    assert_eq!(proof, ledger.proof());
    assert!(
        headers["content-disposition"]
            .to_str()
            .unwrap()
            .ends_with(".proof\"")
    );
    let (_, _, genesis) = get(&router, "/ledger/genesis.toml").await;
    assert!(genesis.starts_with(b"format = \"tally-genesis-v1\""));
    let (_, _, evidence) = get(&router, "/ledger/evidence/one.evidence").await;
    assert!(evidence.starts_with(b"TALLYEV1"));

    let found = get(&router, &format!("/ledger/find?receipt=%20{digest}%0A")).await;
    assert_eq!(
        found.1["location"],
        format!("/ledger/receipts/{digest}").as_str()
    );
    for path in [
        "/ledger/receipts/none".to_owned(),
        format!("/ledger/receipts/{}", "0".repeat(64)),
        "/ledger/evidence/..%2F..%2Fkeys".to_owned(),
        "/ledger/verifier.wasm".to_owned(),
        "/v1/memories".to_owned(),
    ] {
        assert_eq!(get(&router, &path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_receipt_whose_text_is_not_at_hand_is_said_to_be_settled_as_it_was() {
    let at = async |in_full: bool, block: Option<u64>| {
        let mut ledger = Ledger::new();
        (ledger.in_full, ledger.block) = (in_full, block);
        ledger.words.clear();
        let path = format!("/ledger/receipts/{}", ledger.digest);
        page(
            &Explorer::new(Arc::new(ledger), None).router(names()),
            &path,
        )
        .await
    };
    let by_digest = "It was settled by its digest: the ledger has no more of it.";
    assert!(at(false, None).await.contains(by_digest));
    for (block, place) in [(Some(1), "block 1"), (None, "block 2 or one before it")] {
        let page = at(true, block).await;
        let said = format!(
            "It was settled in full: the ledger has its text, in {place}; it is not at hand on this server."
        );
        assert!(page.contains(&said), "{said}: {page}");
        assert!(!page.contains("by its digest"), "{page}");
    }
}

/// A ledger of which an answer never comes, or this one.
struct Asked(Option<LedgerError>);

impl LedgerView for Asked {
    fn overview(&self) -> Later<'_, Overview> {
        Box::pin(std::future::pending::<Overview>())
    }

    fn receipt<'a>(&'a self, _: &'a str) -> Later<'a, Result<Option<SettledReceipt>, LedgerError>> {
        let error = self.0.clone();
        Box::pin(async move {
            match error {
                Some(error) => Err(error),
                None => std::future::pending().await,
            }
        })
    }

    fn genesis(&self) -> &str {
        ""
    }

    fn evidence(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_not_waited_for_and_one_that_will_says_when() {
    let router = Explorer::new(Arc::new(Asked(None)), None).router(names());
    for path in ["/ledger", "/ledger/receipts/x", "/ledger/receipts/x.proof"] {
        let (status, headers, _) = get(&router, path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(headers.contains_key("retry-after"), "{path}");
    }
    let busy = Asked(Some(LedgerError::Busy));
    let router = Explorer::new(Arc::new(busy), None).router(names());
    let (status, headers, page) = get(&router, "/ledger/receipts/x").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["retry-after"], "1");
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("Many are looking just now"), "{page}");
    assert!(!page.contains("does not answer"), "{page}");
    let nobody = Asked(Some(LedgerError::Nobody("away".to_owned())));
    let router = Explorer::new(Arc::new(nobody), None).router(names());
    let (_, _, page) = get(&router, "/ledger/receipts/x").await;
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("The ledger does not answer"), "{page}");
}

#[tokio::test]
async fn a_page_elsewhere_does_not_reach_it_by_a_name_of_its_own() {
    let router = Explorer::new(Arc::new(Ledger::new()), None).router(names());
    let asked = axum::http::Request::builder()
        .uri("/ledger")
        .header("host", "rebound.example:7412")
        .body(Body::empty())
        .unwrap();
    let response = router.oneshot(asked).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn in_the_console_it_stands_behind_the_sign_in() {
    let ledger = Arc::new(Ledger::new());
    let with = bench_with(|config| {
        config.ledger = Some(Explorer::new(ledger, None));
    });
    let stranger = get(&with.router, "/ledger").await;
    assert_eq!(stranger.1["location"], "/console/sign-in");
    let cookie = with.cookie().await;
    let overview = with.page(&cookie, "/ledger").await.text;
    assert!(overview.contains("harbour") && overview.contains("Sign out"));

    let without = bench();
    let cookie = without.cookie().await;
    let none = without.page(&cookie, "/ledger").await.text;
    assert!(none.contains("No ledger is configured"), "{none}");
}

/// Where `scripts/verifier-web.sh` leaves the module, or where it is said to be.
fn module() -> Option<Vec<u8>> {
    let path = match std::env::var_os("TALLY_VERIFIER") {
        Some(path) => PathBuf::from(path),
        None => {
            let test = std::env::current_exe().ok()?;
            let target = test.ancestors().nth(3)?;
            target.join("wasm32-unknown-unknown/release/tally_verifier_web.wasm")
        }
    };
    std::fs::read(path).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readers_browser_checks_the_proof_and_says_when_it_was_altered() {
    const NAME: &str = "the_readers_browser_checks_the_proof_and_says_when_it_was_altered";
    let Some(browser) = chromium(NAME) else {
        return;
    };
    let Some(module) = module() else {
        common::chromium::loudly(&format!(
            "NOT RUN: {NAME}: there is no module to check with (scripts/verifier-web.sh builds it)"
        ));
        return;
    };
    let ledger = Arc::new(Ledger::new());
    let router = Explorer::new(ledger.clone(), Some(module)).router(names());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(serve(listener, router, async move {
        let _ = ended.await;
    }));
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("TALLY_SHOTS").map_or(temporary.path().to_owned(), PathBuf::from);
    let all = std::env::var_os("TALLY_SHOTS").is_some();
    tokio::task::spawn_blocking(move || {
        let receipt = format!("{base}/ledger/receipts/{}", ledger.digest);
        let holds = "Checked here, in your browser: it holds";
        let fails = "it does NOT hold";
        // One bit in the middle, where it changes a signature; the server's own words stay as they were.
        let altered = {
            let mut proof = ledger.proof();
            let place = proof.len() - 40;
            proof[place] ^= 1;
            proof
        };
        let pages = [
            ("ledger", format!("{base}/ledger"), "harbour", None),
            ("receipt", receipt.clone(), holds, None),
            ("receipt-altered", receipt, fails, Some(altered)),
        ];
        for (name, url, words, handed_out) in pages {
            if let Some(bytes) = handed_out {
                *ledger.handed_out.lock().unwrap() = bytes;
            }
            let mut light = Vec::new();
            for (look, width, dark) in [
                ("wide-light", 1200, false),
                ("narrow-dark", 500, true),
                ("wide-dark", 1200, true),
                ("narrow-light", 500, false),
            ] {
                if !all && (width == 1200) == dark {
                    continue;
                }
                let keep = folder.join(format!("explorer-{name}-{look}.png"));
                let shot = shoot(&browser, &url, width, 1400, dark, &keep);
                assert!(shot.dom.contains(words), "{name}: {}", shot.dom);
                if name.starts_with("receipt") {
                    assert_eq!(shot.dom.contains(holds), words == holds, "{name}");
                    assert!(
                        shot.dom.contains("begins the chain"),
                        "{name}: {}",
                        shot.dom
                    );
                }
                shot.is_sound(name, width, 1400);
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

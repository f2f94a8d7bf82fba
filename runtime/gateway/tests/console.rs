//! The console, through the router: who gets in, what a form may do, that text is never markup.

mod common;

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Method, StatusCode};
use common::{Bench, START_MS, bench, bench_with, request};
use tally_gateway::{Scope, UnixMs};

/// The token in the page's forms.
async fn token(bench: &Bench, cookie: &str) -> String {
    let page = bench.page(cookie, "/console/profile").await.text;
    let at = page.find("name=\"csrf\" value=\"").unwrap() + 19;
    page[at..at + 64].to_owned()
}

async fn first_id(bench: &Bench) -> String {
    let list = bench.call(Method::GET, "/v1/memories", None).await.json();
    list["memories"].as_array().unwrap().last().unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_ledger_that_keeps_itself_new_takes_nothing_from_the_other_pages() {
    let bench = bench_with(|config| config.per_minute = 5);
    let cookie = bench.cookie().await;
    for _ in 0..5 {
        assert_eq!(bench.page(&cookie, "/ledger").await.status, StatusCode::OK);
    }
    let refused = bench.page(&cookie, "/ledger").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let page = bench.page(&cookie, "/console/memories").await;
    assert_eq!(page.status, StatusCode::OK);
}

#[tokio::test]
async fn who_is_not_signed_in_sees_only_the_door() {
    let bench = bench();
    for path in [
        "/console",
        "/console/memories",
        "/console/timeline",
        "/console/profile",
        "/console/access",
        "/console/models",
        "/console/memories/x",
    ] {
        let reply = bench.page("tally_session=guess", path).await;
        assert_eq!(reply.status, StatusCode::SEE_OTHER, "{path}");
        assert_eq!(reply.headers["location"], "/console/sign-in");
    }
    let reply = bench
        .form(
            "tally_session=guess",
            "/console/memories/x/forget",
            "csrf=&sure=on",
        )
        .await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_printed_link_signs_in_once_and_only_when_asked() {
    let bench = bench();
    let secret = bench.gateway.sign_in_secret().unwrap();
    // A program that fetches links ahead uses nothing up.
    let door = bench
        .page("", &format!("/console/sign-in?secret={secret}"))
        .await;
    assert!(door.text.contains(&secret) && door.headers.get("set-cookie").is_none());
    let enter = async |secret: &str| {
        bench
            .send(
                request(Method::POST, "/console/sign-in")
                    .body(Body::from(format!("secret={secret}")))
                    .unwrap(),
            )
            .await
    };
    let first = enter(&secret).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER);
    // For the console and for the ledger's pages, which lie beside it; for the rest of the server there is none.
    let cookies: Vec<&str> = first
        .headers
        .get_all("set-cookie")
        .iter()
        .map(|cookie| cookie.to_str().unwrap())
        .collect();
    for (cookie, path) in cookies.iter().zip(["Path=/console;", "Path=/ledger;"]) {
        for part in ["HttpOnly", "SameSite=Strict", path] {
            assert!(cookie.contains(part), "{cookie}");
        }
    }
    assert_eq!(cookies.len(), 2);
    assert_eq!(enter(&secret).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(enter("").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(enter(&bench.key).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_ends_by_time_by_signing_out_and_with_its_key() {
    let bench = bench();
    let is_in =
        async |cookie: &str| bench.page(cookie, "/console/memories").await.status == StatusCode::OK;
    let cookie = bench.cookie().await;
    assert!(is_in(&cookie).await);
    let csrf = token(&bench, &cookie).await;
    bench
        .form(&cookie, "/console/sign-out", &format!("csrf={csrf}"))
        .await;
    assert!(!is_in(&cookie).await);

    let cookie = bench.cookie().await;
    bench
        .clock
        .store(START_MS + 12 * 3_600_000, Ordering::Relaxed);
    assert!(!is_in(&cookie).await);

    let issued = bench
        .gateway
        .issue_key("app", &[Scope::MemoriesRead], None)
        .unwrap();
    let reply = bench
        .send(
            request(Method::POST, "/console/sign-in")
                .body(Body::from(format!("secret={}", issued.key)))
                .unwrap(),
        )
        .await;
    let cookie = reply.headers["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    assert!(is_in(&cookie).await);
    bench
        .call(
            Method::DELETE,
            &format!("/v1/api-keys/{}", issued.info.id),
            None,
        )
        .await;
    assert!(!is_in(&cookie).await);
}

/// Signs in with a key; gives the cookie as it is set.
async fn with_key(bench: &Bench, key: &str) -> String {
    let reply = bench
        .send(
            request(Method::POST, "/console/sign-in")
                .body(Body::from(format!("secret={key}")))
                .unwrap(),
        )
        .await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.text);
    reply.headers["set-cookie"].to_str().unwrap().to_owned()
}

async fn is_in(bench: &Bench, cookie: &str) -> bool {
    bench.page(cookie, "/console/memories").await.status == StatusCode::OK
}

#[tokio::test]
async fn a_session_of_a_key_ends_when_the_key_does() {
    let bench = bench();
    let end = START_MS + 60_000;
    let key = bench
        .gateway
        .issue_key("app", &[Scope::MemoriesRead], Some(UnixMs(end)))
        .unwrap()
        .key;
    let cookie = with_key(&bench, &key).await;
    assert!(cookie.contains("Max-Age=60"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    bench.clock.store(end - 1, Ordering::Relaxed);
    assert!(is_in(&bench, cookie).await);
    bench.clock.store(end, Ordering::Relaxed);
    assert!(!is_in(&bench, cookie).await);
    // One without an end lasts as long as a session does.
    let cookie = with_key(&bench, &bench.key).await;
    assert!(cookie.contains("Max-Age=43200"), "{cookie}");
}

#[tokio::test]
async fn a_key_signs_out_its_own_oldest_session_and_nobody_else() {
    let bench = bench();
    let owner = bench.cookie().await;
    let mut of_key = Vec::new();
    for place in 0..7 {
        bench.clock.store(START_MS + place, Ordering::Relaxed);
        of_key.push(with_key(&bench, &bench.key).await);
    }
    let mut still_in = Vec::new();
    for cookie in &of_key {
        still_in.push(is_in(&bench, cookie.split(';').next().unwrap()).await);
    }
    assert_eq!(still_in, [false, false, true, true, true, true, true]);
    assert!(is_in(&bench, &owner).await);
}

#[tokio::test]
async fn all_sessions_of_a_key_and_its_own_requests_are_counted_together() {
    let bench = bench_with(|config| config.per_minute = 6);
    let mut cookies = Vec::new();
    // Signing in is one request of the key.
    for _ in 0..2 {
        cookies.push(with_key(&bench, &bench.key).await);
    }
    for cookie in &cookies {
        assert!(is_in(&bench, cookie.split(';').next().unwrap()).await);
    }
    for _ in 0..2 {
        let listed = bench.call(Method::GET, "/v1/memories", None).await;
        assert_eq!(listed.status, StatusCode::OK);
    }
    let cookie = cookies[0].split(';').next().unwrap();
    let refused = bench.page(cookie, "/console/memories").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    // The owner, and whoever else has a key, have their own.
    assert!(is_in(&bench, &bench.cookie().await).await);
}

#[tokio::test]
async fn who_guesses_keeps_nobody_with_a_key_or_the_link_out() {
    let bench = bench_with(|config| config.per_minute = 3);
    let guess = async || {
        bench
            .send(
                request(Method::POST, "/console/sign-in")
                    .body(Body::from("secret=tally_00000000_guess"))
                    .unwrap(),
            )
            .await
            .status
    };
    for _ in 0..3 {
        assert_eq!(guess().await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(guess().await, StatusCode::TOO_MANY_REQUESTS);
    // From the same address: behind a proxy there is one for all.
    let by_key = with_key(&bench, &bench.key).await;
    assert!(is_in(&bench, by_key.split(';').next().unwrap()).await);
    assert!(is_in(&bench, &bench.cookie().await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_shows_what_memory_says_as_text_and_runs_no_script() {
    let bench = bench();
    bench.fill();
    let cookie = bench.cookie().await;
    let id = first_id(&bench).await;
    for path in [
        "/console/memories".to_owned(),
        "/console/memories?q=coffee+rye&category=interests".to_owned(),
        "/console/memories?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/console/memories?level=episode&past=on&done=forgotten".to_owned(),
        "/console/memories?done=%3Cscript%3E".to_owned(),
        "/console/timeline".to_owned(),
        "/console/profile".to_owned(),
        "/console/access".to_owned(),
        "/console/models".to_owned(),
        format!("/console/memories/{id}"),
    ] {
        let page = bench.page(&cookie, &path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        let html = page.text.to_lowercase();
        for never in [
            "<script",
            "<b>never",
            " onclick",
            " style=",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(
                !html.replace("http://www.w3.org", "").contains(never),
                "{path} has {never}"
            );
        }
        assert!(
            html.contains("<title>")
                && html.contains("lang=\"en\"")
                && html.contains("name=\"viewport\"")
        );
    }
    let list = bench.page(&cookie, "/console/memories").await.text;
    assert!(list.contains("User &lt;b&gt;never&lt;/b&gt; drink coffee"));
    assert!(list.contains("4 memories"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_of_one_kind_and_of_one_day_and_wrong_choices_are_said() {
    let bench = bench();
    for number in 0..25 {
        let body = serde_json::json!({
            "messages": [{ "role": "user", "content": format!("I like rye of kind {number}") }]
        });
        bench.call(Method::POST, "/v1/memories", Some(body)).await;
    }
    let id = first_id(&bench).await;
    let words = serde_json::json!({ "content": "User bakes with rye" });
    let path = format!("/v1/memories/{id}");
    bench.call(Method::PATCH, &path, Some(words)).await;
    let cookie = bench.cookie().await;
    let page = async |query: &str| {
        let path = format!("/console/memories?{query}");
        bench.page(&cookie, &path).await
    };
    // Behind more that answers than a page has.
    let corrections = page("q=rye&level=correction").await.text;
    assert!(corrections.contains("User bakes with rye"), "{corrections}");
    let none = page("q=zebra&level=correction").await.text;
    assert!(none.contains("Nothing answers this"), "{none}");
    let none = page("category=health").await.text;
    assert!(none.contains("Nothing is of this kind"), "{none}");

    assert!(
        page("q=rye&as_of=2027-01-01")
            .await
            .text
            .contains("rye of kind")
    );
    let before = page("q=rye&as_of=2020-01-01").await.text;
    assert!(before.contains("Nothing answers this"), "{before}");
    assert!(before.contains("value=\"2020-01-01\""), "{before}");
    let list = page("as_of=2020-01-01").await.text;
    assert!(list.contains("A day is for questions"), "{list}");
    for wrong in [
        "q=rye&as_of=2020-01-01&past=on",
        "q=rye&as_of=yesterday",
        "q=rye&level=soul",
        "level=soul",
        "category=soul",
    ] {
        let refused = page(wrong).await;
        assert!(
            refused.status.is_client_error(),
            "{wrong}: {}",
            refused.text
        );
        assert!(refused.text.contains("That did not work"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_only_this_machine_noted_is_marked_as_its_own() {
    let bench = bench();
    let cookie = bench.cookie().await;
    let page = bench.page(&cookie, "/console/models").await.text;
    let row = |model: &str| {
        page.split("<tr>")
            .find(|row| row.contains(model))
            .unwrap_or_else(|| panic!("{model} in {page}"))
            .contains(">this machine<")
    };
    assert!(row("letters"));
    assert!(!row("tally-nano"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_is_corrected_confirmed_and_forgotten_by_forms_of_the_session() {
    let bench = bench();
    bench.fill();
    let cookie = bench.cookie().await;
    let csrf = token(&bench, &cookie).await;
    let id = first_id(&bench).await;
    let path = format!("/console/memories/{id}");

    let page = bench.page(&cookie, &path).await.text;
    for part in [
        "User like rye bread",
        "I like rye bread with caraway",
        &"ab".repeat(32),
        "learnt",
        "History",
    ] {
        assert!(page.contains(part), "no {part}");
    }
    let confirmed = bench
        .form(&cookie, &format!("{path}/confirm"), &format!("csrf={csrf}"))
        .await;
    assert_eq!(
        confirmed.status,
        StatusCode::SEE_OTHER,
        "{}",
        confirmed.text
    );
    let corrected = bench
        .form(
            &cookie,
            &format!("{path}/correct"),
            &format!("csrf={csrf}&text=I+bake+it%2C+too"),
        )
        .await;
    assert_eq!(corrected.status, StatusCode::SEE_OTHER);
    let new = corrected.headers["location"].to_str().unwrap().to_owned();
    let page = bench.page(&cookie, &new).await.text;
    assert!(
        page.contains("I bake it, too")
            && page.contains("your correction")
            && page.contains("Corrected. What")
    );
    assert!(bench.page(&cookie, &path).await.text.contains("corrected"));

    let new = new.split('?').next().unwrap();
    let unsure = bench
        .form(&cookie, &format!("{new}/forget"), &format!("csrf={csrf}"))
        .await;
    assert_eq!(unsure.status, StatusCode::BAD_REQUEST);
    let forgotten = bench
        .form(
            &cookie,
            &format!("{new}/forget"),
            &format!("csrf={csrf}&sure=on"),
        )
        .await;
    assert_eq!(
        forgotten.headers["location"],
        "/console/memories?done=forgotten"
    );
    assert_eq!(bench.page(&cookie, new).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_session_or_of_none_does_nothing() {
    let bench = bench();
    bench.fill();
    let cookie = bench.cookie().await;
    let others = bench.cookie().await;
    let theirs = token(&bench, &others).await;
    let id = first_id(&bench).await;
    for body in [
        format!("csrf={theirs}&sure=on"),
        "csrf=&sure=on".to_owned(),
        "sure=on".to_owned(),
    ] {
        let reply = bench
            .form(&cookie, &format!("/console/memories/{id}/forget"), &body)
            .await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{body}");
        assert!(
            reply.headers["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/html")
        );
    }
    let ours = token(&bench, &cookie).await;
    let elsewhere = bench
        .send(
            request(Method::POST, &format!("/console/memories/{id}/forget"))
                .header("cookie", &cookie)
                .header("origin", "http://evil.example")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(format!("csrf={ours}&sure=on")))
                .unwrap(),
        )
        .await;
    assert_eq!(elsewhere.status, StatusCode::FORBIDDEN);
    assert_eq!(
        bench
            .page(&cookie, &format!("/console/memories/{id}"))
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_page_lets_the_browser_say_where_its_forms_come_from() {
    let bench = bench();
    let door = bench.page("", "/console/sign-in").await;
    // By `no-referrer` the origin of its own form would be `null`.
    assert_eq!(door.headers["referrer-policy"], "same-origin");
    let enter = async |origin: &str| {
        bench
            .send(
                request(Method::POST, "/console/sign-in")
                    .header("origin", origin)
                    .body(Body::from(format!("secret={}", bench.key)))
                    .unwrap(),
            )
            .await
            .status
    };
    assert_eq!(enter("http://localhost:7411").await, StatusCode::SEE_OTHER);
    assert_eq!(enter("null").await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_wrong_address_and_a_long_memory_have_pages_that_can_be_read() {
    let bench = bench();
    let cookie = bench.cookie().await;
    for path in ["/console/nowhere", "/console/memories/x/y/z"] {
        let page = bench.page(&cookie, path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        assert!(page.text.contains("There is no such page"), "{}", page.text);
    }
    let text = format!("I said {}", "שלום ".repeat(2000));
    let body = serde_json::json!({ "messages": [{ "role": "user", "content": text }] });
    bench.call(Method::POST, "/v1/memories", Some(body)).await;
    let id = first_id(&bench).await;
    let page = bench
        .page(&cookie, &format!("/console/memories/{id}"))
        .await
        .text;
    let (_, heading) = page
        .split_once("<h1 class=\"quoted\" dir=\"auto\">")
        .unwrap();
    let (heading, rest) = heading.split_once("</h1>").unwrap();
    assert!(heading.chars().count() < 200 && heading.ends_with('…'));
    let whole = "<p class=\"card whole\" dir=\"auto\">User said שלום";
    assert!(rest.contains(whole), "{rest}");
}

#[tokio::test]
async fn a_key_is_made_shown_once_and_deleted() {
    let bench = bench();
    let cookie = bench.cookie().await;
    let csrf = token(&bench, &cookie).await;
    let made = bench
        .form(
            &cookie,
            "/console/access/keys",
            &format!("csrf={csrf}&name=Mail&days=30&read_only=on"),
        )
        .await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let at = made.text.find("tally_").unwrap();
    let key: String = made.text[at..]
        .chars()
        .take_while(|it| it.is_alphanumeric() || "_-".contains(*it))
        .collect();
    assert_eq!(
        bench
            .call_as(&key, Method::GET, "/v1/memories", None)
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        bench
            .call_as(&key, Method::GET, "/v1/api-keys", None)
            .await
            .code(),
        "scope_missing"
    );
    let page = bench.page(&cookie, "/console/access").await.text;
    assert!(page.contains("Mail") && page.contains("Travel agent") && !page.contains(&key));
    let id = &key[6..14];
    bench
        .form(
            &cookie,
            &format!("/console/access/keys/{id}/delete"),
            &format!("csrf={csrf}"),
        )
        .await;
    assert_eq!(
        bench
            .call_as(&key, Method::GET, "/v1/memories", None)
            .await
            .code(),
        "key_unknown"
    );
}

#[tokio::test]
async fn a_key_that_is_made_in_the_console_ends_with_its_makers_at_the_latest() {
    let bench = bench();
    let end = UnixMs(START_MS + 86_400_000);
    let key = bench
        .gateway
        .issue_key("maker", &Scope::ALL, Some(end))
        .unwrap()
        .key;
    let cookie = with_key(&bench, &key).await;
    let cookie = cookie.split(';').next().unwrap();
    let csrf = token(&bench, cookie).await;
    let ends = async |id: &str| {
        let listed = bench.call(Method::GET, "/v1/api-keys", None).await.json();
        let keys = listed["api_keys"].as_array().unwrap().clone();
        let key = keys.into_iter().find(|key| key["id"] == id).unwrap();
        key["expires_at"].clone()
    };
    for days in ["", "30"] {
        let made = bench
            .form(
                cookie,
                "/console/access/keys",
                &format!("csrf={csrf}&name=Made&days={days}"),
            )
            .await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text);
        let at = made.text.find("tally_").unwrap() + "tally_".len();
        assert_eq!(
            ends(&made.text[at..at + 8]).await,
            end.to_string(),
            "{days}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_is_shown_no_forms_and_cannot_post_them() {
    let bench = bench();
    bench.fill();
    let key = bench
        .gateway
        .issue_key("reader", &[Scope::MemoriesRead, Scope::ProfileRead], None)
        .unwrap()
        .key;
    let reply = bench
        .send(
            request(Method::POST, "/console/sign-in")
                .body(Body::from(format!("secret={key}")))
                .unwrap(),
        )
        .await;
    let cookie = reply.headers["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let csrf = token(&bench, &cookie).await;
    let id = first_id(&bench).await;
    let page = bench
        .page(&cookie, &format!("/console/memories/{id}"))
        .await
        .text;
    assert!(!page.contains("/forget") && !page.contains("/correct"));
    for (path, body) in [
        (format!("/console/memories/{id}/forget"), "&sure=on"),
        (format!("/console/memories/{id}/correct"), "&text=x"),
        (format!("/console/memories/{id}/confirm"), ""),
        ("/console/profile/bio".to_owned(), "&bio=x"),
        ("/console/access/keys".to_owned(), "&name=x&days="),
    ] {
        let reply = bench
            .form(&cookie, &path, &format!("csrf={csrf}{body}"))
            .await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path}");
    }
}

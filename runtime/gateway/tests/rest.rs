//! MemSync's REST, through the router.

mod common;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::{Method, StatusCode};
use common::described::{Strictness, faults, fits};
use common::{Notebook, START_MS, bench, bench_of, bench_with, request};
use hyper::body::Frame;
use serde_json::{Value, json};
use tally_gateway::{FileReader, KeyRing, Scope, UnixMs, openapi};
use tally_import::{Format, ImportError};
use tower::ServiceExt;

fn add(text: &str) -> Option<Value> {
    Some(
        json!({ "messages": [{ "role": "user", "content": text }], "agent_id": "chat", "thread_id": "t1" }),
    )
}

#[tokio::test]
async fn what_is_added_is_found_with_evidence_and_receipt() {
    let bench = bench();
    let added = bench
        .call(Method::POST, "/v1/memories", add("I like rye"))
        .await;
    assert_eq!(added.status, StatusCode::CREATED);
    let added = added.json();
    assert_eq!(added["memories_created"], 1);
    assert_eq!(added["episodes_created"], 1);
    assert_eq!(added["categories_detected"], json!(["interests"]));

    let again = bench
        .call(Method::POST, "/v1/memories", add("I like rye"))
        .await
        .json();
    assert_eq!(
        (&again["episodes_created"], &again["already_known"]),
        (&json!(0), &json!(1))
    );

    let found = bench
        .call(
            Method::POST,
            "/v1/memories/search",
            Some(json!({ "query": "rye", "limit": 1, "rerank": true })),
        )
        .await
        .json();
    let hit = &found["memories"][0];
    assert_eq!(hit["memory"], "User like rye");
    assert_eq!(hit["type"], "semantic");
    assert_eq!(hit["source"], "chat");
    assert_eq!(hit["evidence"][0]["words"], "I like rye");
    assert_eq!(hit["receipt"].as_str().unwrap().len(), 64);
    assert_eq!(found["user_bio"], "User like rye.");
    assert!(found["note"].as_str().unwrap().contains("not reranked"));
    assert!(found["context"].as_str().unwrap().contains("[memory]"));

    let nothing = bench
        .call(
            Method::POST,
            "/v1/memories/search",
            Some(json!({ "query": "zebra", "include_bio": false })),
        )
        .await
        .json();
    assert_eq!(nothing["memories"], json!([]));
    assert!(nothing["abstained"].is_string() && nothing["user_bio"].is_null());
}

#[tokio::test]
async fn a_memory_is_listed_corrected_confirmed_and_forgotten() {
    let bench = bench();
    for text in ["I like rye", "I row", "I sing"] {
        bench.call(Method::POST, "/v1/memories", add(text)).await;
    }
    let first = bench
        .call(Method::GET, "/v1/memories?limit=2", None)
        .await
        .json();
    assert_eq!(first["total"], 3);
    let next = first["next_cursor"].as_str().unwrap();
    let second = bench
        .call(
            Method::GET,
            &format!("/v1/memories?limit=2&cursor={next}"),
            None,
        )
        .await
        .json();
    assert_eq!(second["memories"].as_array().unwrap().len(), 1);
    let id = second["memories"][0]["id"].as_str().unwrap().to_owned();

    let path = format!("/v1/memories/{id}");
    let corrected = bench
        .call(
            Method::PATCH,
            &path,
            Some(json!({ "memory": "User loves rye" })),
        )
        .await
        .json();
    assert_eq!(
        (&corrected["level"], &corrected["memory"]),
        (&json!("correction"), &json!("User loves rye"))
    );
    assert_eq!(
        bench.call(Method::GET, &path, None).await.json()["status"],
        "corrected"
    );
    let history = bench
        .call(Method::GET, &format!("{path}/history"), None)
        .await
        .json();
    assert_eq!(history["history"].as_array().unwrap().len(), 2);

    let new = format!("/v1/memories/{}", corrected["id"].as_str().unwrap());
    let confirmed = bench
        .call(Method::PATCH, &new, Some(json!({ "confirmed": true })))
        .await
        .json();
    assert_eq!(confirmed["confirmed"], true);
    for wrong in [
        json!({}),
        json!({ "confirmed": false }),
        json!({ "memory": "a", "confirmed": true }),
    ] {
        assert_eq!(
            bench.call(Method::PATCH, &new, Some(wrong)).await.code(),
            "edit_shape"
        );
    }
    let forgotten = bench
        .call(Method::DELETE, &format!("{new}?cascade=true"), None)
        .await
        .json();
    assert_eq!(forgotten["forgotten"].as_array().unwrap().len(), 2);
    let gone = bench.call(Method::GET, &new, None).await;
    assert_eq!(
        (gone.status, &*gone.code()),
        (StatusCode::NOT_FOUND, "memory_not_found")
    );
    assert_eq!(
        bench
            .call(Method::DELETE, &format!("{path}?backup=true"), None)
            .await
            .code(),
        "unsupported"
    );
}

/// What MemSync's documentation shows, sent as it stands there.
#[tokio::test]
async fn a_client_of_memsync_stores_corrects_pages_and_deletes() {
    let bench = bench();
    let mut conversation = json!({
        "messages": [
            { "role": "user", "content": "I like rye" },
            { "role": "assistant", "content": "Congratulations!" },
            { "role": "user", "content": "I row", "timestamp": "2024-03-21T08:00:00Z" }
        ],
        "agent_id": "career-advisor-bot", "thread_id": "conversation-2024-001", "source": "chat",
        "metadata": { "timestamp": "2024-03-20T10:00:00Z", "platform": "web-app", "session_id": "s" }
    });
    let stored = bench
        .call(Method::POST, "/v1/memories", Some(conversation.clone()))
        .await
        .json();
    assert_eq!(
        (&stored["success"], &stored["memories_created"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(stored["processing_time"], "0.0s");
    let rye = &stored["memories"][0];
    assert_eq!(rye["agent_id"], "career-advisor-bot");
    // The conversation's time is that of a message without its own.
    assert_eq!(rye["observed_at"], "2024-03-20T10:00:00Z");
    assert_eq!(stored["memories"][1]["observed_at"], "2024-03-21T08:00:00Z");

    let first = format!("/v1/memories/{}", rye["id"].as_str().unwrap());
    let edited = bench
        .call(
            Method::PATCH,
            &first,
            Some(json!({
                "content": "User loves rye", "category": "learning",
                "metadata": { "location": "Stanford Medical Center" }
            })),
        )
        .await
        .json();
    assert_eq!(
        (&edited["content"], &edited["memory_type"]),
        (&json!("User loves rye"), &json!("semantic"))
    );
    assert_eq!(edited["memory_id"], edited["id"]);
    assert_eq!(edited["supersedes"], rye["id"]);
    assert_eq!(edited["category"], "interests");
    let note = edited["note"].as_str().unwrap();
    assert!(
        note.contains("interests") && note.contains("metadata"),
        "{note}"
    );
    let old = bench.call(Method::GET, &first, None).await.json();
    assert_eq!(old["status"], "corrected");
    // By the old id once more: what goes is what held until now.
    let again = json!({ "content": "User loves dark rye" });
    let again = bench.call(Method::PATCH, &first, Some(again)).await.json();
    assert_eq!(again["supersedes"], edited["memory_id"]);
    // A label alone changes nothing, and says so; one that is so already is no change.
    let alone = json!({ "category": "learning" });
    assert_eq!(
        bench.call(Method::PATCH, &first, Some(alone)).await.code(),
        "unsupported"
    );
    let same = json!({ "category": "interests", "memory_type": "semantic" });
    let same = bench.call(Method::PATCH, &first, Some(same)).await.json();
    assert_eq!(
        (&same["supersedes"], &same["note"]),
        (&json!(null), &json!(null))
    );
    let both = json!({ "content": "a", "memory": "b" });
    assert_eq!(
        bench.call(Method::PATCH, &first, Some(both)).await.code(),
        "edit_shape"
    );

    conversation["messages"] = json!([{ "role": "user", "content": "I sing" }]);
    bench
        .call(Method::POST, "/v1/memories", Some(conversation))
        .await;
    let mut ids = Vec::new();
    for (page, has_next, has_previous) in [(1, true, false), (2, false, true), (3, false, true)] {
        let path = format!("/v1/memories?page={page}&page_size=2");
        let listed = bench.call(Method::GET, &path, None).await.json();
        assert_eq!(
            listed["pagination"],
            json!({
                "page": page, "page_size": 2, "total_items": 3, "total_pages": 2,
                "has_next": has_next, "has_previous": has_previous
            })
        );
        let data = listed["data"].as_array().unwrap().clone();
        ids.extend(data.iter().map(|it| it["id"].clone()));
    }
    assert_eq!(ids.len(), 3);
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);

    let deleted = bench
        .call(
            Method::DELETE,
            &format!("/v1/memories/{}", ids[0].as_str().unwrap()),
            None,
        )
        .await
        .json();
    assert_eq!(
        (&deleted["success"], &deleted["memory_id"]),
        (&json!(true), &ids[0])
    );
    assert_eq!(deleted["deleted_at"], json!(UnixMs(START_MS)));
}

#[tokio::test]
async fn by_the_first_digits_of_its_id_no_memory_is_read_changed_or_forgotten() {
    let bench = bench();
    let added = bench
        .call(Method::POST, "/v1/memories", add("I like rye"))
        .await;
    let id = added.json()["memories"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let cookie = bench.cookie().await;
    for beginning in [&id[..4], &id[..63]] {
        let path = format!("/v1/memories/{beginning}");
        for (method, path, body) in [
            (Method::GET, path.clone(), None),
            (Method::GET, format!("{path}/history"), None),
            (Method::PATCH, path.clone(), Some(json!({ "memory": "no" }))),
            (
                Method::PATCH,
                path.clone(),
                Some(json!({ "confirmed": true })),
            ),
            (Method::DELETE, path, None),
        ] {
            let reply = bench.call(method.clone(), &path, body).await;
            assert_eq!(reply.code(), "memory_not_found", "{method} {path}");
        }
        let batch = json!({ "memory_ids": [beginning] });
        let deleted = bench
            .call(Method::POST, "/v1/memories/batch-delete", Some(batch))
            .await
            .json();
        assert_eq!(deleted["not_found"], json!([beginning]));
        let page = bench
            .page(&cookie, &format!("/console/memories/{beginning}"))
            .await;
        assert_eq!(page.status, StatusCode::NOT_FOUND);
    }
    let whole = bench
        .call(Method::GET, &format!("/v1/memories/{id}"), None)
        .await
        .json();
    assert_eq!(
        (&whole["memory"], &whole["confirmed"]),
        (&json!("User like rye"), &json!(false))
    );
}

#[tokio::test]
async fn who_may_only_write_is_told_which_memory_it_was_and_not_what_it_says() {
    let bench = bench();
    let added = bench
        .call(Method::POST, "/v1/memories", add("I like rye"))
        .await;
    let id = added.json()["memories"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let writer = bench
        .gateway
        .issue_key("writer", &[Scope::MemoriesWrite], None)
        .unwrap()
        .key;
    let path = format!("/v1/memories/{id}");
    let patch = async |path: &str, body: Value| {
        bench
            .call_as(&writer, Method::PATCH, path, Some(body))
            .await
    };
    let confirmed = patch(&path, json!({ "confirmed": true })).await.json();
    assert_eq!(
        confirmed,
        json!({ "id": id, "memory_id": id, "status": "current" })
    );
    // What changes nothing only reads, if it is refused too: the refusal says what is so.
    for labels in [
        json!({ "memory_type": "semantic" }),
        json!({ "category": "health" }),
    ] {
        let refused = patch(&path, labels).await;
        assert_eq!(refused.code(), "scope_missing");
        assert!(!refused.text.contains("interests"), "{}", refused.text);
    }
    let corrected = patch(
        &path,
        json!({ "content": "User loves rye", "category": "health", "importance": 0.5 }),
    )
    .await;
    assert_eq!(corrected.status, StatusCode::OK);
    let new = corrected.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        corrected.json(),
        json!({ "id": new, "memory_id": new, "status": "current" })
    );
    let added = bench
        .call_as(&writer, Method::POST, "/v1/memories", add("I row"))
        .await
        .json();
    assert_eq!(added["memories_created"], 1);
    let told = added["memories"][0].as_object().unwrap();
    assert_eq!(told.keys().collect::<Vec<_>>(), ["id", "status"]);
    // Who may read as well is told all.
    let whole = bench
        .call(Method::PATCH, &path, Some(json!({ "content": "No rye" })))
        .await
        .json();
    assert_eq!(whole["content"], "No rye");
}

#[tokio::test]
async fn several_are_forgotten_at_once_and_what_was_not_there_is_named() {
    let bench = bench();
    let mut ids = Vec::new();
    for text in ["I like rye", "I row", "I sing"] {
        let added = bench.call(Method::POST, "/v1/memories", add(text)).await;
        ids.push(added.json()["memories"][0]["id"].clone());
    }
    let wrong = "f".repeat(64);
    let deleted = bench
        .call(
            Method::POST,
            "/v1/memories/batch-delete",
            Some(json!({ "memory_ids": [ids[0], wrong, ids[1], ids[0]], "cascade": true })),
        )
        .await
        .json();
    // Each with its words, once.
    assert_eq!(deleted["forgotten"].as_array().unwrap().len(), 4);
    assert_eq!(
        (&deleted["success"], &deleted["not_found"]),
        (&json!(false), &json!([wrong]))
    );
    let left = bench.call(Method::GET, "/v1/memories", None).await.json();
    assert_eq!(left["memories"][0]["id"], ids[2]);
    assert_eq!(left["total"], 1);
    let rest = json!({ "memory_ids": [ids[2]] });
    let deleted = bench
        .call(Method::POST, "/v1/memories/batch-delete", Some(rest))
        .await
        .json();
    assert_eq!(deleted["success"], true);
    let reader = bench
        .gateway
        .issue_key("reader", &[Scope::MemoriesRead], None)
        .unwrap()
        .key;
    let all = json!({ "memory_ids": ids });
    let refused = bench
        .call_as(
            &reader,
            Method::POST,
            "/v1/memories/batch-delete",
            Some(all),
        )
        .await;
    assert_eq!(refused.code(), "scope_missing");
    assert_eq!(refused.headers["x-ratelimit-limit"], "10000");
}

#[tokio::test]
async fn what_could_not_be_forgotten_is_named_beside_what_was() {
    let bench = bench();
    let mut ids = Vec::new();
    for text in ["I like rye", "I cling to it", "I sing"] {
        let added = bench.call(Method::POST, "/v1/memories", add(text)).await;
        ids.push(added.json()["memories"][0]["id"].clone());
    }
    let forget = async |ids: Value| {
        let body = json!({ "memory_ids": ids });
        bench
            .call(Method::POST, "/v1/memories/batch-delete", Some(body))
            .await
    };
    let wrong = "f".repeat(64);
    let reply = forget(json!([wrong, ids[0], ids[1], ids[2]])).await;
    assert_eq!(reply.status, StatusCode::MULTI_STATUS);
    let deleted = reply.json();
    assert_eq!(deleted["success"], false);
    assert_eq!(deleted["forgotten"], json!([ids[0], ids[2]]));
    assert_eq!(deleted["not_found"], json!([wrong]));
    assert_eq!(deleted["failed"].as_array().unwrap().len(), 1);
    assert_eq!(deleted["failed"][0]["memory_id"], ids[1]);
    assert_eq!(deleted["failed"][0]["error"]["code"], "internal");
    assert_eq!(
        deleted["failed"][0]["error"]["request_id"],
        reply.headers["x-request-id"].to_str().unwrap()
    );
    assert!(!reply.text.contains("secret"), "{}", reply.text);
    // One that is gone all the same was forgotten.
    let slips = bench
        .call(Method::POST, "/v1/memories", add("I slip away"))
        .await;
    let slips = slips.json()["memories"][0]["id"].clone();
    let reply = forget(json!([slips])).await;
    assert_eq!(reply.status, StatusCode::OK);
    let deleted = reply.json();
    assert_eq!(deleted["forgotten"], json!([slips]));
    assert_eq!(deleted["failed"], json!([]));
    assert!(
        deleted["note"]
            .as_str()
            .is_some_and(|note| note.contains("failed on its way")),
        "{deleted}"
    );
    assert!(!reply.text.contains("secret"), "{}", reply.text);
    // Where none is forgotten, it is an error as any other.
    let reply = forget(json!([ids[1]])).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(reply.code(), "internal");
    let left = bench.call(Method::GET, "/v1/memories", None).await.json();
    assert_eq!(left["memories"][0]["id"], ids[1]);
    assert_eq!(left["total"], 1);
}

#[tokio::test]
async fn what_came_from_an_app_is_counted_and_then_forgotten() {
    let bench = bench();
    for (app, thread, text) in [
        ("chat", "one", "I like rye"),
        ("chat", "two", "I row"),
        ("mail", "one", "I sing"),
    ] {
        let body = json!({
            "agent_id": app, "thread_id": thread,
            "messages": [{ "role": "user", "content": text }]
        });
        bench.call(Method::POST, "/v1/memories", Some(body)).await;
    }
    let forget = async |query: &str| {
        let path = format!("/v1/memories?{query}");
        bench.call(Method::DELETE, &path, None).await
    };
    let left = async || {
        let listed = bench.call(Method::GET, "/v1/memories", None).await.json();
        listed["total"].as_u64().unwrap()
    };
    for (query, code) in [
        ("", "bad_query"),
        ("thread_id=one", "bad_query"),
        ("agent_id=", "field_empty"),
        ("agent_id=chat", "turns_missing"),
        ("agent_id=chat&thread_id=one", "turns_missing"),
        ("agent_id=chat&turns=3", "refused"),
        ("agent_id=chat&turns=2&all=true", "bad_query"),
    ] {
        assert_eq!(forget(query).await.code(), code, "{query}");
    }
    let counted = forget("agent_id=chat&dry_run=true").await.json();
    assert_eq!(
        counted,
        json!({
            "success": false, "deleted_at": null, "turns": 2, "facts": 2, "corrections": 0, "note": null
        })
    );
    assert_eq!(left().await, 3, "nothing was forgotten by then");
    let thread = forget("agent_id=chat&thread_id=two&turns=1").await.json();
    assert_eq!(
        (&thread["success"], &thread["turns"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(left().await, 2);
    let gone = forget("agent_id=chat&turns=1").await.json();
    assert_eq!(
        (&gone["facts"], &gone["deleted_at"]),
        (&json!(1), &json!(UnixMs(START_MS)))
    );
    assert_eq!(left().await, 1);
    let reader = bench
        .gateway
        .issue_key("reader", &[Scope::MemoriesRead], None)
        .unwrap()
        .key;
    let path = "/v1/memories?agent_id=mail&turns=1";
    let refused = bench.call_as(&reader, Method::DELETE, path, None).await;
    assert_eq!(refused.code(), "scope_missing");
}

#[tokio::test]
async fn a_search_is_of_one_state_and_if_asked_of_one_level() {
    let bench = bench();
    let added = bench
        .call(Method::POST, "/v1/memories", add("I like rye"))
        .await
        .json();
    let path = format!(
        "/v1/memories/{}",
        added["memories"][0]["id"].as_str().unwrap()
    );
    let words = json!({ "memory": "User loves rye" });
    bench.call(Method::PATCH, &path, Some(words)).await;
    let search = async |more: Value| {
        let mut asked = json!({ "query": "rye" });
        asked
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        bench
            .call(Method::POST, "/v1/memories/search", Some(asked))
            .await
    };
    let found = async |more: Value| {
        let found = search(more).await.json();
        let texts = found["memories"].as_array().unwrap().iter();
        let mut texts: Vec<String> = texts
            .map(|it| it["memory"].as_str().unwrap().to_owned())
            .collect();
        texts.sort();
        texts
    };
    assert_eq!(found(json!({})).await, ["I like rye", "User loves rye"]);
    assert_eq!(
        found(json!({ "past": true })).await,
        ["I like rye", "User like rye", "User loves rye"]
    );
    for (level, text) in [("episode", "I like rye"), ("correction", "User loves rye")] {
        assert_eq!(found(json!({ "level": level })).await, [text]);
    }
    assert_eq!(
        found(json!({ "level": "fact", "past": true })).await,
        ["User like rye"]
    );
    let before = "2020-01-01T00:00:00Z";
    assert!(found(json!({ "as_of": before })).await.is_empty());
    let both = search(json!({ "as_of": before, "past": true })).await;
    assert_eq!(both.code(), "as_of_or_past");
}

#[tokio::test]
async fn the_profile_has_parts_and_the_bio_can_be_the_owners() {
    let bench = bench();
    bench
        .call(Method::POST, "/v1/memories", add("I like rye"))
        .await;
    let profile = bench
        .call(Method::GET, "/v1/profile?include=static", None)
        .await
        .json();
    assert_eq!(profile["static"][0]["text"], "User like rye");
    assert_eq!(
        (&profile["user_bio"], &profile["categories"]),
        (&json!(""), &json!([]))
    );
    assert_eq!(
        bench
            .call(Method::GET, "/v1/profile?include=soul", None)
            .await
            .code(),
        "include_unknown"
    );
    // Of a category nothing may be known; of a name that is none, nothing is said.
    let empty = bench
        .call(Method::GET, "/v1/profile?category=health", None)
        .await;
    assert_eq!(empty.json()["categories"], json!([]));
    let typo = bench
        .call(Method::GET, "/v1/profile?category=helath", None)
        .await;
    assert_eq!(
        (typo.status, &*typo.code()),
        (StatusCode::UNPROCESSABLE_ENTITY, "refused")
    );
    let bio = bench
        .call(
            Method::PATCH,
            "/v1/profile/bio",
            Some(json!({ "bio": "A baker." })),
        )
        .await
        .json();
    assert_eq!(
        (&bio["bio"], &bio["own"]),
        (&json!("A baker."), &json!(true))
    );
    let bio = bench
        .call(
            Method::PATCH,
            "/v1/profile/bio",
            Some(json!({ "bio": null })),
        )
        .await
        .json();
    assert_eq!(
        (&bio["bio"], &bio["own"]),
        (&json!("User like rye."), &json!(false))
    );
}

#[tokio::test]
async fn a_bio_is_put_into_words_where_somebody_asks_for_that() {
    let bench = bench();
    bench
        .call(Method::POST, "/v1/memories", add("I like rye"))
        .await;
    let plain = bench.call(Method::GET, "/v1/profile/bio", None).await;
    assert_eq!(plain.json()["phrased"], Value::Null);
    let short = bench
        .call(Method::GET, "/v1/profile/bio?phrase=short", None)
        .await
        .json();
    let phrased = &short["phrased"];
    assert_eq!(phrased["text"], "a short bio.");
    assert_eq!(
        (&phrased["note"], &phrased["call"]),
        (&json!("nobody was asked"), &Value::Null)
    );
    let first = &phrased["sentences"][0];
    assert_eq!(
        (&first["by"], first["memories"].as_array().map(Vec::len)),
        (&json!("code"), Some(1))
    );
    let refused = bench
        .call(Method::GET, "/v1/profile/bio?phrase=epic", None)
        .await;
    assert_eq!(refused.code(), "bad_query");
}

fn multipart(fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(
            format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .as_bytes(),
        );
    }
    if let Some((name, bytes)) = file {
        body.extend_from_slice(
            format!(
                "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--X--\r\n");
    ("multipart/form-data; boundary=X".to_owned(), body)
}

async fn upload(
    bench: &common::Bench,
    path: &str,
    fields: &[(&str, &str)],
    file: Option<(&str, &[u8])>,
) -> common::Reply {
    let (content_type, body) = multipart(fields, file);
    bench
        .send(
            request(Method::POST, path)
                .header("x-api-key", &bench.key)
                .header("content-type", content_type)
                .body(Body::from(body))
                .unwrap(),
        )
        .await
}

async fn finished(bench: &common::Bench, id: &str) -> Value {
    for _ in 0..500 {
        let status = bench
            .call(Method::GET, &format!("/v1/integrations/{id}/status"), None)
            .await
            .json();
        if status["status"] != "running" {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the import never ends");
}

#[tokio::test]
async fn a_chat_export_is_imported_once_and_says_what_it_left_out() {
    let bench = bench();
    let chat = "31.12.23, 21:40 - Notice\n31.12.23, 21:41 - Anna: Hi\n31.12.23, 21:42 - Ben: Ho\n";
    for (new, known) in [(2, 0), (0, 2)] {
        let begun = upload(
            &bench,
            "/v1/integrations/chat",
            &[("source", "whatsapp"), ("utc_offset_minutes", "60")],
            Some(("WhatsApp Chat with Ben.txt", chat.as_bytes())),
        )
        .await;
        assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text);
        let status = finished(&bench, begun.json()["id"].as_str().unwrap()).await;
        assert_eq!(status["status"], "done", "{status}");
        assert_eq!(status["format"], "whatsapp");
        assert_eq!(
            (&status["memories_created"], &status["already_known"]),
            (&json!(new), &json!(known))
        );
        assert_eq!(status["left_out"][0]["reason"], "system");
        assert_eq!(
            status["left_out"][0]["examples"],
            json!(["2023-12-31T[hidden]#1"])
        );
    }
    let other = bench
        .gateway
        .issue_key("other", &Scope::ALL, None)
        .unwrap()
        .key;
    let begun = upload(
        &bench,
        "/v1/integrations/files",
        &[],
        Some(("a.txt", b"words")),
    )
    .await
    .json();
    let path = format!("/v1/integrations/{}/status", begun["id"].as_str().unwrap());
    assert_eq!(
        bench.call_as(&other, Method::GET, &path, None).await.code(),
        "import_not_found"
    );
    finished(&bench, begun["id"].as_str().unwrap()).await;
}

#[tokio::test]
async fn an_import_says_what_was_not_kept_and_that_learning_comes_later() {
    let bench = bench();
    let chat = "31.12.23, 21:41 - Anna: it is hunter2\n31.12.23, 21:42 - Ben: Ho\n";
    let file = Some(("WhatsApp Chat with Ben.txt", chat.as_bytes()));
    let begun = upload(&bench, "/v1/integrations/chat", &[], file)
        .await
        .json();
    let status = finished(&bench, begun["id"].as_str().unwrap()).await;
    assert_eq!(
        (
            &status["secrets_not_kept"],
            &status["forgotten_before"],
            &status["without_words"]
        ),
        (&json!(1), &json!(0), &json!(0)),
        "{status}"
    );
    assert_eq!(status["note"], "facts are being learnt from it");
    let said = add("the code is hunter2");
    let added = bench.call(Method::POST, "/v1/memories", said).await.json();
    assert_eq!(
        (&added["secrets_not_kept"], &added["forgotten_before"]),
        (&json!(1), &json!(0)),
        "{added}"
    );
}

#[tokio::test]
async fn what_a_file_holds_is_of_the_app_that_is_stated_or_else_of_its_format() {
    let bench = bench();
    for (fields, app) in [(&[][..], "text"), (&[("source", "diary")][..], "diary")] {
        let path = "/v1/integrations/files";
        let text = format!("Figs ripen, says the {app}.");
        let begun = upload(&bench, path, fields, Some(("a.txt", text.as_bytes()))).await;
        finished(&bench, begun.json()["id"].as_str().unwrap()).await;
        let path = format!("/v1/memories?agent_id={app}&level=episode");
        let listed = bench.call(Method::GET, &path, None).await.json();
        assert_eq!(listed["memories"][0]["source"], app, "{listed}");
    }
}

#[tokio::test]
async fn a_file_that_is_none_or_too_large_or_badly_described_is_refused_at_once() {
    let bench = bench_with(|config| config.file_len = 1000);
    let code = async |path: &str, fields: &[(&str, &str)], file| {
        upload(&bench, path, fields, file).await.code()
    };
    let text: Option<(&str, &[u8])> = Some(("a.txt", b"words"));
    assert_eq!(code("/v1/integrations/chat", &[], text).await, "not_a_chat");
    assert_eq!(
        code("/v1/integrations/files", &[], None).await,
        "file_missing"
    );
    assert_eq!(
        code("/v1/integrations/files", &[], Some(("a.png", b"\x89PNG\0"))).await,
        "file_unreadable"
    );
    assert_eq!(
        code("/v1/integrations/files", &[("format", "stone")], text).await,
        "field_value"
    );
    assert_eq!(
        code("/v1/integrations/files", &[("colour", "red")], text).await,
        "field_value"
    );
    assert_eq!(
        code(
            "/v1/integrations/files",
            &[],
            Some(("a.txt", &[b'a'; 1001]))
        )
        .await,
        "file_too_large"
    );
    let json = bench
        .call(Method::POST, "/v1/integrations/files", Some(json!({})))
        .await;
    assert_eq!(json.code(), "not_multipart");
}

#[tokio::test]
async fn what_a_file_is_is_told_where_files_of_strangers_are_read() {
    let asked: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let told = Arc::clone(&asked);
    let bench = bench_with(|config| {
        config.files = FileReader::new(
            move |bytes, _| {
                told.lock().unwrap().push(bytes.to_vec());
                if bytes.starts_with(b"chat") {
                    Ok(Format::Discord)
                } else {
                    Err(ImportError::Unrecognized {
                        found: "what another process calls it".to_owned(),
                    })
                }
            },
            |_, options, _| {
                Err(ImportError::ParserFailed {
                    format: options.format.expect("it was told"),
                })
            },
        );
    });
    let files = "/v1/integrations/files";
    let refused = upload(&bench, files, &[], Some(("a.txt", b"words"))).await;
    assert_eq!(refused.code(), "file_unreadable");
    assert!(
        refused.text.contains("what another process calls it"),
        "{}",
        refused.text
    );
    let begun = upload(&bench, files, &[], Some(("a.txt", b"chat"))).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text);
    let status = finished(&bench, begun.json()["id"].as_str().unwrap()).await;
    assert_eq!(
        (&status["status"], &status["format"]),
        (&json!("failed"), &json!("discord"))
    );
    // Whoever says what it is has nobody look.
    let stated = [("format", "pdf")];
    let begun = upload(&bench, files, &stated, Some(("a.txt", b"pages"))).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text);
    assert_eq!(*asked.lock().unwrap(), [&b"words"[..], b"chat"]);
}

/// A body of which nothing comes. It counts how often somebody waited for it.
struct Unsent(Arc<AtomicUsize>);

impl HttpBody for Unsent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn files_beyond_four_are_refused_before_a_byte_of_them_is_read() {
    let bench = bench();
    let send = |body: Body| {
        let request = request(Method::POST, "/v1/integrations/files")
            .header("x-api-key", &bench.key)
            .header("content-type", "multipart/form-data; boundary=X")
            .body(body)
            .unwrap();
        bench.router.clone().oneshot(request)
    };
    let waiting: Vec<Arc<AtomicUsize>> = (0..4).map(|_| Arc::default()).collect();
    let slow: Vec<_> = waiting
        .iter()
        .map(|polls| tokio::spawn(send(Body::new(Unsent(Arc::clone(polls))))))
        .collect();
    while waiting
        .iter()
        .any(|polls| polls.load(Ordering::Relaxed) == 0)
    {
        tokio::task::yield_now().await;
    }
    let untouched = Arc::<AtomicUsize>::default();
    let fifth = send(Body::new(Unsent(Arc::clone(&untouched))))
        .await
        .unwrap();
    assert_eq!(fifth.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(fifth.headers().contains_key("retry-after"));
    let said = to_bytes(fifth.into_body(), 1 << 20).await.unwrap();
    let said: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(said["error"]["code"], "busy");
    assert_eq!(untouched.load(Ordering::Relaxed), 0);
    // Turns as JSON have no file.
    let added = bench
        .call(Method::POST, "/v1/integrations/chat", add("I row"))
        .await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    // Nothing comes of the four, and then others have their places.
    for request in slow {
        let given_up = request.await.unwrap().unwrap();
        assert_eq!(given_up.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let files = "/v1/integrations/files";
    let begun = upload(&bench, files, &[], Some(("a.txt", b"words"))).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text);
}

#[tokio::test]
async fn a_file_is_an_import_by_whichever_path_and_turns_are_none() {
    let bench = bench_with(|config| config.per_minute = 20);
    let chat = "31.12.23, 21:40 - Notice\n31.12.23, 21:41 - Anna: Hi\n31.12.23, 21:42 - Ben: Ho\n";
    let chat = Some(("a.txt", chat.as_bytes()));
    for (path, left) in [
        ("/v1/integrations/chat", "1"),
        ("/v1/integrations/files", "0"),
    ] {
        let begun = upload(&bench, path, &[], chat).await;
        assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text);
        assert_eq!(begun.headers["x-ratelimit-limit"], "2");
        assert_eq!(begun.headers["x-ratelimit-remaining"], left);
    }
    let refused = upload(&bench, "/v1/integrations/chat", &[], chat).await;
    assert_eq!(refused.code(), "too_many_requests");
    assert!(refused.text.contains("2 imports"), "{}", refused.text);
    let added = bench
        .call(Method::POST, "/v1/integrations/chat", add("I row"))
        .await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    assert_eq!(added.headers["x-ratelimit-limit"], "20");
}

#[tokio::test]
async fn an_import_whose_memory_fails_says_so() {
    let bench = bench();
    for text in ["the disk is full", "boom"] {
        let begun = upload(
            &bench,
            "/v1/integrations/files",
            &[],
            Some(("a.txt", text.as_bytes())),
        )
        .await
        .json();
        let status = finished(&bench, begun["id"].as_str().unwrap()).await;
        assert_eq!(status["status"], "failed");
        assert!(
            !status["error"].as_str().unwrap().contains("secret"),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_makes_no_wider_key() {
    let bench = bench();
    let reader = bench
        .call(
            Method::POST,
            "/v1/api-keys",
            Some(json!({ "name": "reader", "scopes": ["memories:read", "keys"] })),
        )
        .await
        .json();
    let key = reader["key"].as_str().unwrap();
    assert_eq!(
        bench
            .call_as(key, Method::GET, "/v1/memories", None)
            .await
            .status,
        StatusCode::OK
    );
    for (method, path, body) in [
        (Method::POST, "/v1/memories", add("I lie")),
        (Method::DELETE, "/v1/memories/x", None),
        (Method::GET, "/v1/profile", None),
        (
            Method::POST,
            "/v1/api-keys",
            Some(json!({ "name": "wide", "scopes": ["memories:write"] })),
        ),
    ] {
        let reply = bench.call_as(key, method, path, body).await;
        assert_eq!(
            (reply.status, &*reply.code()),
            (StatusCode::FORBIDDEN, "scope_missing"),
            "{path}"
        );
    }
    // A search gives no bio to a key that may not read the profile.
    bench
        .call(Method::POST, "/v1/memories", add("I like rye"))
        .await;
    let found = bench
        .call_as(
            key,
            Method::POST,
            "/v1/memories/search",
            Some(json!({ "query": "rye" })),
        )
        .await
        .json();
    assert!(found["user_bio"].is_null() && !found["memories"].as_array().unwrap().is_empty());

    let list = bench.call(Method::GET, "/v1/api-keys", None).await;
    assert!(!list.text.contains(key) && list.text.contains("reader"));
    let path = format!("/v1/api-keys/{}", reader["id"].as_str().unwrap());
    assert_eq!(
        bench.call(Method::DELETE, &path, None).await.status,
        StatusCode::OK
    );
    assert_eq!(
        bench.call(Method::DELETE, &path, None).await.code(),
        "key_not_found"
    );
    assert_eq!(
        bench
            .call_as(key, Method::GET, "/v1/memories", None)
            .await
            .code(),
        "key_unknown"
    );
}

#[tokio::test]
async fn a_key_that_is_made_ends_with_its_makers_at_the_latest() {
    let bench = bench();
    let end = UnixMs(START_MS + 60_000);
    let maker = bench
        .gateway
        .issue_key("maker", &Scope::ALL, Some(end))
        .unwrap()
        .key;
    let made = async |body: Value| {
        let made = bench
            .call_as(&maker, Method::POST, "/v1/api-keys", Some(body))
            .await
            .json();
        made["expires_at"].clone()
    };
    for body in [
        json!({ "name": "x" }),
        json!({ "name": "x", "expires_in": 3600 }),
        json!({ "name": "x", "expires_at": "2099-01-01T00:00:00Z" }),
    ] {
        assert_eq!(made(body.clone()).await, json!(end), "{body}");
    }
    let sooner = json!({ "name": "x", "expires_in": 30 });
    assert_eq!(made(sooner).await, json!(UnixMs(START_MS + 30_000)));
    // One that has no end makes such.
    let lasting = bench
        .call(Method::POST, "/v1/api-keys", Some(json!({ "name": "x" })))
        .await
        .json();
    assert_eq!(lasting["expires_at"], Value::Null);
}

#[tokio::test]
async fn keys_end_and_are_kept_as_hashes() {
    let bench = bench();
    let made = bench
        .call(
            Method::POST,
            "/v1/api-keys",
            Some(json!({ "name": "short", "expires_at": UnixMs(START_MS + 60_000) })),
        )
        .await
        .json();
    let key = made["key"].as_str().unwrap();
    assert!(
        made["scopes"]
            .as_array()
            .unwrap()
            .iter()
            .all(|scope| scope != "keys")
    );
    // As MemSync's documentation asks for one.
    let lasting = bench
        .call(
            Method::POST,
            "/v1/api-keys",
            Some(json!({ "name": "production", "scopes": ["memories:read"], "expires_in": 60 })),
        )
        .await
        .json();
    assert_eq!(lasting["expires_at"], made["expires_at"]);
    assert_eq!(lasting["api_key_id"], lasting["id"]);
    let kept = bench.kept_keys.lock().unwrap().clone();
    assert!(!String::from_utf8_lossy(&kept).contains(key));
    assert!(
        KeyRing::from_json(&kept)
            .unwrap()
            .check(key, UnixMs(START_MS))
            .is_ok()
    );
    bench.clock.store(START_MS + 60_000, Ordering::Relaxed);
    assert_eq!(
        bench
            .call_as(key, Method::GET, "/v1/memories", None)
            .await
            .code(),
        "key_expired"
    );
    let listed = bench.call(Method::GET, "/v1/api-keys", None).await.json();
    let stands: Vec<&Value> = listed["api_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["status"])
        .collect();
    assert_eq!(stands.iter().filter(|it| **it == "expired").count(), 2);
    assert_eq!(
        (&listed["total"], &listed["has_more"]),
        (&json!(3), &json!(false))
    );
    for (body, wanted) in [
        (json!({ "name": "" }), "key_refused"),
        (json!({ "name": "x", "scopes": [] }), "key_refused"),
        (
            json!({ "name": "x", "expires_at": UnixMs(START_MS) }),
            "key_refused",
        ),
        (json!({ "name": "x", "scopes": ["root"] }), "bad_json"),
    ] {
        assert_eq!(
            bench
                .call(Method::POST, "/v1/api-keys", Some(body))
                .await
                .code(),
            wanted
        );
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_answered() {
    let bench = bench();
    for route in openapi()["paths"].as_object().unwrap() {
        let (path, operations) = route;
        for (method, operation) in operations.as_object().unwrap() {
            let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
            let is_open = operation["security"] == json!([]);
            let reply = bench
                .send(request(method, path).body(Body::empty()).unwrap())
                .await;
            if is_open {
                assert_eq!(reply.status, StatusCode::OK, "{path}");
            } else {
                assert_eq!(
                    (reply.status, &*reply.code()),
                    (StatusCode::UNAUTHORIZED, "key_missing"),
                    "{path}"
                );
                assert!(reply.headers.contains_key("www-authenticate"));
            }
        }
    }
    let bearer = bench
        .send(
            request(Method::GET, "/v1/memories")
                .header("authorization", format!("bearer {}", bench.key))
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    assert_eq!(bearer.status, StatusCode::OK);
}

/// Every described operation is answered by its handler, and none is answered that is not described.
#[tokio::test]
async fn the_openapi_document_is_what_the_router_answers() {
    let bench = bench();
    let served = bench
        .send(
            request(Method::GET, "/v1/openapi.json")
                .body(Body::empty())
                .unwrap(),
        )
        .await
        .json();
    assert_eq!(served, openapi());
    let document = served.as_object().unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in ["GET", "POST", "PATCH", "DELETE", "PUT"] {
            let described = operations.get(method.to_ascii_lowercase());
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let reply = bench.call(method.clone(), path, None).await;
            match described {
                Some(_) => {
                    assert!(
                        reply.status != StatusCode::METHOD_NOT_ALLOWED,
                        "{method} {path}"
                    );
                    if reply.status == StatusCode::NOT_FOUND {
                        assert_ne!(reply.code(), "no_such_path", "{method} {path}");
                    }
                }
                None => assert_eq!(reply.code(), "no_such_method", "{method} {path}"),
            }
        }
    }
    for path in [
        "/v1/memories",
        "/v1/memories/search",
        "/v1/memories/batch-delete",
        "/v1/memories/{id}",
        "/v1/profile",
        "/v1/profile/bio",
        "/v1/integrations/files",
        "/v1/integrations/chat",
        "/v1/integrations/{id}/status",
        "/v1/api-keys",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}

#[test]
fn the_openapi_document_is_sound_and_faults_in_one_are_found() {
    assert_eq!(faults(&openapi()), Vec::<String>::new());
    let at = |path: &str, value: Value| {
        let mut document = openapi();
        *document.pointer_mut(path).unwrap() = value;
        faults(&document)
    };
    let operation = "/paths/~1v1~1memories/post";
    let answer = format!("{operation}/responses/201/content/application~1json");
    for (path, value) in [
        ("/openapi", json!("3.0.3")),
        (operation, json!({ "operationId": "addMemories" })),
        (&*format!("{operation}/operationId"), json!("listMemories")),
        (&*format!("{operation}/security"), json!([{ "cookie": [] }])),
        (&*format!("{operation}/responses"), json!({})),
        (&*answer, json!({})),
        (&*format!("{answer}/schema"), json!({})),
        (
            &*format!("{answer}/schema"),
            json!({ "$ref": "#/components/schemas/Nothing" }),
        ),
        (&*format!("{answer}/schema"), json!({ "type": "text" })),
        ("/paths/~1v1~1memories~1{id}/get/parameters", json!([])),
        (
            "/components/schemas/Memory/required",
            json!(["id", "colour"]),
        ),
        ("/components/schemas/Memory/properties/id", json!("string")),
    ] {
        assert!(!at(path, value.clone()).is_empty(), "{path} {value}");
    }
}

#[test]
fn an_answer_that_is_not_as_described_is_found() {
    let document = json!({ "components": { "schemas": { "Moment": { "type": "string", "format": "date-time" } } } });
    let schema = json!({
        "type": "object", "required": ["id"],
        "properties": {
            "id": { "type": "string" },
            "at": { "anyOf": [{ "$ref": "#/components/schemas/Moment" }, { "type": "null" }] },
            "level": { "oneOf": [{ "const": "fact" }, { "const": "episode" }] },
            "counts": { "type": "array", "items": { "type": ["integer", "null"], "minimum": 0 } }
        }
    });
    let check =
        |value: &Value, strictness| fits(&document, &schema, value, strictness, "answer").is_ok();
    for fine in [
        json!({ "id": "x" }),
        json!({ "id": "x", "at": "2026-11-29T20:15:00Z", "level": "fact", "counts": [1, null] }),
        json!({ "id": "x", "at": null, "counts": [] }),
    ] {
        assert!(check(&fine, Strictness::NothingElse), "{fine}");
    }
    for wrong in [
        json!([]),
        json!({}),
        json!({ "id": 1 }),
        json!({ "id": "x", "at": "yesterday" }),
        json!({ "id": "x", "level": "soul" }),
        json!({ "id": "x", "counts": [-1] }),
        json!({ "id": "x", "counts": [0.5] }),
    ] {
        assert!(!check(&wrong, Strictness::AsWritten), "{wrong}");
    }
    let more = json!({ "id": "x", "more": 1 });
    assert!(check(&more, Strictness::AsWritten) && !check(&more, Strictness::NothingElse));
}

#[tokio::test]
async fn wrong_requests_get_a_code_and_a_sentence() {
    let bench = bench();
    let json = |body: Value| Some(body);
    for (method, path, body, wanted) in [
        (
            Method::POST,
            "/v1/memories",
            json(json!({ "messages": [] })),
            "messages_count",
        ),
        (
            Method::POST,
            "/v1/memories",
            json(json!({ "messages": [{ "role": "user", "content": " " }] })),
            "field_empty",
        ),
        (
            Method::POST,
            "/v1/memories",
            json(json!({ "messages": [{ "role": "god", "content": "x" }] })),
            "bad_json",
        ),
        (
            Method::POST,
            "/v1/memories",
            json(json!({ "messages": [{ "role": "user", "content": "a\u{1b}[0m" }] })),
            "field_control",
        ),
        (
            Method::POST,
            "/v1/memories",
            json(json!({ "messages": [], "more": 1 })),
            "bad_json",
        ),
        (
            Method::POST,
            "/v1/memories/search",
            json(json!({ "query": "x", "limit": 101 })),
            "limit_range",
        ),
        (
            Method::POST,
            "/v1/memories/search",
            json(json!({ "query": "x".repeat(5000) })),
            "field_too_long",
        ),
        (
            Method::POST,
            "/v1/memories/search",
            json(json!({ "query": "x", "max_tokens": 0 })),
            "max_tokens_range",
        ),
        (
            Method::POST,
            "/v1/memories",
            json(
                json!({ "messages": [{ "role": "user", "content": "x" }], "metadata": { "timestamp": "2024-03-20T10:00:00" } }),
            ),
            "bad_json",
        ),
        (
            Method::POST,
            "/v1/memories/batch-delete",
            json(json!({ "memory_ids": [] })),
            "memory_ids_count",
        ),
        (
            Method::POST,
            "/v1/memories/batch-delete",
            json(json!({ "memory_ids": vec!["x"; 101] })),
            "memory_ids_count",
        ),
        (
            Method::POST,
            "/v1/memories/batch-delete",
            json(json!({ "memory_ids": ["x"], "backup": true })),
            "unsupported",
        ),
        (
            Method::POST,
            "/v1/api-keys",
            json(json!({ "name": "x", "expires_in": 60, "expires_at": "2099-01-01T00:00:00Z" })),
            "key_end",
        ),
        (Method::GET, "/v1/memories?page=0", None, "page_range"),
        (
            Method::GET,
            "/v1/memories?page_size=101",
            None,
            "page_size_range",
        ),
        (
            Method::GET,
            "/v1/memories?page=2&cursor=1",
            None,
            "page_or_cursor",
        ),
        (Method::GET, "/v1/memories?limit=no", None, "bad_query"),
        (Method::GET, "/v1/memories?cursor=no", None, "refused"),
        (Method::GET, "/v1/nothing", None, "no_such_path"),
        (Method::PUT, "/v1/memories", None, "no_such_method"),
        (Method::POST, "/v1/memories", None, "not_json"),
    ] {
        let reply = bench.call(method, path, body).await;
        assert!(!reply.status.is_success(), "{path}");
        assert_eq!(reply.code(), wanted, "{path}: {}", reply.text);
    }
    let broken = bench
        .send(
            request(Method::POST, "/v1/memories")
                .header("x-api-key", &bench.key)
                .header("content-type", "application/json")
                .body(Body::from("{"))
                .unwrap(),
        )
        .await;
    assert_eq!(broken.code(), "bad_json");
}

#[tokio::test]
async fn what_fails_inside_is_not_told_outside_and_costs_one_answer() {
    let bench = bench();
    for text in ["the disk is full", "boom"] {
        let reply = bench.call(Method::POST, "/v1/memories", add(text)).await;
        assert_eq!(
            (reply.status, &*reply.code()),
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
        );
        assert!(
            !reply.text.contains("secret") && !reply.text.contains("panic"),
            "{}",
            reply.text
        );
    }
    // The notebook's lock is poisoned by now; a memory of its own answers or says that it cannot.
    assert_eq!(
        bench
            .call(Method::GET, "/v1/openapi.json", None)
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let bench = bench_with(|config| config.body_len = 1000);
    let reply = bench
        .call(Method::POST, "/v1/memories", add(&"x".repeat(2000)))
        .await;
    assert_eq!(
        (reply.status, &*reply.code()),
        (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
    );
    let reply = bench
        .call(
            Method::POST,
            "/v1/integrations/chat",
            add(&"x".repeat(2000)),
        )
        .await;
    assert_eq!(reply.code(), "body_too_large");
}

#[tokio::test]
async fn each_key_has_its_own_rate_and_guessing_is_slow() {
    let bench = bench_with(|config| config.per_minute = 3);
    let other = bench
        .gateway
        .issue_key("other", &Scope::ALL, None)
        .unwrap()
        .key;
    for _ in 0..3 {
        assert_eq!(
            bench.call(Method::GET, "/v1/memories", None).await.status,
            StatusCode::OK
        );
    }
    let reply = bench.call(Method::GET, "/v1/memories", None).await;
    assert_eq!(
        (reply.status, &*reply.code()),
        (StatusCode::TOO_MANY_REQUESTS, "too_many_requests")
    );
    assert_eq!(reply.headers["retry-after"], "20");
    assert_eq!(
        bench
            .call_as(&other, Method::GET, "/v1/memories", None)
            .await
            .status,
        StatusCode::OK
    );
    bench.clock.store(START_MS + 20_000, Ordering::Relaxed);
    assert_eq!(
        bench.call(Method::GET, "/v1/memories", None).await.status,
        StatusCode::OK
    );
    let mut last = StatusCode::OK;
    for _ in 0..4 {
        last = bench
            .call_as("tally_0_wrong", Method::GET, "/v1/memories", None)
            .await
            .status;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn half_of_a_keys_requests_may_be_searches_a_tenth_imports_and_headers_say_how_many_are_left()
{
    let bench = bench_with(|config| config.per_minute = 20);
    let search = async || {
        let body = json!({ "query": "rye" });
        bench
            .call(Method::POST, "/v1/memories/search", Some(body))
            .await
    };
    for left in (0..10).rev() {
        let found = search().await;
        assert_eq!(found.headers["x-ratelimit-limit"], "10");
        assert_eq!(found.headers["x-ratelimit-remaining"], left.to_string());
    }
    let refused = search().await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.text.contains("10 searches"), "{}", refused.text);
    assert_eq!(refused.headers["retry-after"], "6");
    assert_eq!(refused.headers["x-ratelimit-limit"], "10");
    assert_eq!(refused.headers["x-ratelimit-remaining"], "0");
    let full_s = (START_MS + 60_000) / 1000;
    assert_eq!(refused.headers["x-ratelimit-reset"], full_s.to_string());
    // Turns as JSON are no imports: a chat hands over each of its own.
    for text in ["I row", "I sing"] {
        let added = bench
            .call(Method::POST, "/v1/integrations/chat", add(text))
            .await;
        assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    }
    let file: Option<(&str, &[u8])> = Some(("a.txt", b"words"));
    for _ in 0..2 {
        let begun = upload(&bench, "/v1/integrations/files", &[], file).await;
        assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text);
    }
    let refused = upload(&bench, "/v1/integrations/files", &[], file).await;
    assert_eq!(refused.code(), "too_many_requests");
    // Fourteen of the twenty were let through, and what was refused took nothing.
    let listed = bench.call(Method::GET, "/v1/memories", None).await;
    assert_eq!(listed.headers["x-ratelimit-limit"], "20");
    assert_eq!(listed.headers["x-ratelimit-remaining"], "5");
    let full_s = (START_MS + 45_000) / 1000;
    assert_eq!(listed.headers["x-ratelimit-reset"], full_s.to_string());
}

#[tokio::test]
async fn a_search_is_told_of_the_requests_that_are_left_where_they_are_fewer_than_searches() {
    let bench = bench_with(|config| config.per_minute = 20);
    for _ in 0..16 {
        bench.call(Method::GET, "/v1/memories", None).await;
    }
    for left in (0..4).rev() {
        let body = json!({ "query": "rye" });
        let found = bench
            .call(Method::POST, "/v1/memories/search", Some(body))
            .await;
        assert_eq!(found.headers["x-ratelimit-limit"], "20");
        assert_eq!(found.headers["x-ratelimit-remaining"], left.to_string());
    }
    let body = json!({ "query": "rye" });
    let refused = bench
        .call(Method::POST, "/v1/memories/search", Some(body))
        .await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_request_by_another_name_or_from_another_page_goes_no_further() {
    let bench = bench_with(|config| config.origins = vec!["https://app.example".to_owned()]);
    let with = |headers: &[(&str, &str)]| {
        let mut request = axum::http::Request::builder()
            .uri("/v1/memories")
            .header("x-api-key", &bench.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    };
    for (headers, fine) in [
        (&[("host", "localhost:7411")][..], true),
        (&[("host", "127.0.0.1")], true),
        (&[("host", "[::1]:7411")], true),
        (&[("host", "LOCALHOST:7411")], true),
        (&[("host", "evil.example:7411")], false),
        (&[("host", "localhost.evil.example")], false),
        (&[("host", "")], false),
        (&[], false),
        (
            &[
                ("host", "localhost:7411"),
                ("origin", "http://localhost:7411"),
            ],
            true,
        ),
        (
            &[
                ("host", "localhost:7411"),
                ("origin", "https://app.example"),
            ],
            true,
        ),
        (
            &[
                ("host", "localhost:7411"),
                ("origin", "http://localhost:9999"),
            ],
            false,
        ),
        (
            &[
                ("host", "localhost:7411"),
                ("origin", "http://evil.example"),
            ],
            false,
        ),
        (&[("host", "localhost:7411"), ("origin", "null")], false),
        // What a page elsewhere loads as a picture has no origin.
        (
            &[("host", "localhost:7411"), ("sec-fetch-site", "cross-site")],
            false,
        ),
        (
            &[("host", "localhost:7411"), ("sec-fetch-site", "same-site")],
            false,
        ),
        (
            &[
                ("host", "localhost:7411"),
                ("sec-fetch-site", "same-origin"),
            ],
            true,
        ),
        (
            &[("host", "localhost:7411"), ("sec-fetch-site", "none")],
            true,
        ),
        (
            &[
                ("host", "localhost:7411"),
                ("origin", "https://app.example"),
                ("sec-fetch-site", "cross-site"),
            ],
            true,
        ),
    ] {
        let reply = bench.send(with(headers)).await;
        assert_eq!(
            reply.status == StatusCode::OK,
            fine,
            "{headers:?}: {}",
            reply.text
        );
        if !fine {
            assert!(matches!(&*reply.code(), "origin_refused" | "no_host"));
        }
    }
}

/// As a browser does it: first it asks whether the page may, then it sends the page's request, and shows the page the answer only
/// where a header says so.
#[tokio::test]
async fn a_page_of_an_origin_that_is_named_may_ask_call_and_read_the_answer_and_no_other_page() {
    const APP: &str = "https://app.example";
    let bench = bench_with(|config| config.origins = vec![APP.to_owned()]);
    let ask = async |origin: &str, path: &str| {
        let asked = request(Method::OPTIONS, path)
            .header("origin", origin)
            .header("sec-fetch-site", "cross-site")
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "content-type,x-api-key")
            .body(Body::empty())
            .unwrap();
        bench.send(asked).await
    };
    let document = openapi();
    let described = document["paths"].as_object().unwrap().keys();
    let paths: Vec<String> = described
        .map(|path| path.replace("{id}", "x"))
        .chain(["/mcp".to_owned()])
        .collect();
    for path in &paths {
        let answer = ask("https://evil.example", path).await;
        assert_eq!(answer.code(), "origin_refused", "{path}");
        let answer = ask(APP, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        assert_eq!(answer.headers["access-control-allow-origin"], APP);
        for (name, part) in [
            ("access-control-allow-methods", "PATCH"),
            ("access-control-allow-headers", "x-api-key"),
        ] {
            let value = answer.headers[name].to_str().unwrap();
            assert!(value.contains(part), "{path} {name}: {value}");
        }
        assert!(
            !answer
                .headers
                .contains_key("access-control-allow-credentials")
        );
    }
    let call = async |origin: &str, path: &str, key: &str| {
        let asked = request(Method::GET, path)
            .header("origin", origin)
            .header("sec-fetch-site", "cross-site")
            .header("x-api-key", key)
            .body(Body::empty())
            .unwrap();
        bench.send(asked).await
    };
    // Also an answer that says why not, and which paths there are not.
    for (key, status) in [
        (&*bench.key, StatusCode::OK),
        ("tally_0_wrong", StatusCode::UNAUTHORIZED),
    ] {
        let answer = call(APP, "/v1/memories", key).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers["access-control-allow-origin"], APP);
        let shown = &answer.headers["access-control-expose-headers"];
        assert!(shown.to_str().unwrap().contains("x-ratelimit-remaining"));
    }
    for path in ["/mcp", "/healthz"] {
        let answer = call(APP, path, &bench.key).await;
        assert_ne!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer.headers["access-control-allow-origin"], APP);
    }

    // Another origin; and the console, which is for its own pages alone.
    for (origin, path) in [
        ("https://evil.example", "/v1/memories"),
        ("https://app.example.evil.example", "/v1/memories"),
        ("https://evil.example", "/mcp"),
        (APP, "/console/sign-in"),
        (APP, "/ledger"),
    ] {
        for answer in [
            ask(origin, path).await,
            call(origin, path, &bench.key).await,
        ] {
            assert_eq!(answer.code(), "origin_refused", "{origin} {path}");
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }
    }
}

#[tokio::test]
async fn a_page_elsewhere_may_link_to_the_console() {
    let bench = bench();
    let linked = request(Method::GET, "/console/sign-in")
        .header("sec-fetch-site", "cross-site")
        .body(Body::empty())
        .unwrap();
    assert_eq!(bench.send(linked).await.status, StatusCode::OK);
}

#[tokio::test]
async fn bios_that_wait_for_a_model_leave_the_memory_to_others() {
    let barrier = Arc::new(Barrier::new(3));
    let notebook = Notebook::phrasing_behind(Arc::clone(&barrier));
    let bench = bench_of(notebook, |config| config.at_once = 3);
    let mut bios = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let asked = request(Method::GET, "/v1/profile/bio?phrase=short")
            .header("x-api-key", &bench.key)
            .body(Body::empty())
            .unwrap();
        let router = bench.router.clone();
        bios.spawn(async move { router.oneshot(asked).await.unwrap() });
    }
    // Two wait for the model, and one is told so.
    let refused = bios.join_next().await.unwrap().unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    let listed = bench.call(Method::GET, "/v1/memories", None).await;
    assert_eq!(listed.status, StatusCode::OK);
    tokio::task::spawn_blocking(move || barrier.wait())
        .await
        .unwrap();
    while let Some(bio) = bios.join_next().await {
        assert_eq!(bio.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn every_answer_carries_its_headers() {
    let bench = bench();
    for path in [
        "/v1/memories",
        "/v1/nothing",
        "/healthz",
        "/console/sign-in",
    ] {
        let reply = bench.call(Method::GET, path, None).await;
        for name in [
            "x-request-id",
            "x-content-type-options",
            "referrer-policy",
            "content-security-policy",
            "cache-control",
        ] {
            assert!(reply.headers.contains_key(name), "{path} {name}");
        }
        assert!(!reply.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn an_open_server_needs_no_key_and_a_wrong_one_is_still_wrong() {
    let bench = bench_with(|config| config.open = true);
    let reply = bench
        .send(
            request(Method::GET, "/v1/memories")
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(
        bench
            .call_as("tally_0_x", Method::GET, "/v1/memories", None)
            .await
            .code(),
        "key_unknown"
    );
}

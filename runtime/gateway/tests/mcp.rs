//! The MCP server, called by the SDK's own client: over a pair of pipes as standard streams are, and over HTTP through a real
//! socket.

mod common;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use common::{bench, bench_with};
use hyper::body::Frame;
use rmcp::model::{CallToolRequestParams, CallToolResult, ClientConfig};
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Value, json};
use tally_gateway::{Gateway, McpServer, Scope, serve};
use tokio::sync::oneshot;
use tower::ServiceExt as _;

type Client = RunningService<RoleClient, ClientConfig>;

async fn over_pipes(gateway: Gateway) -> Client {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let server = McpServer::for_owner(gateway).serve(theirs).await.unwrap();
        server.waiting().await.unwrap();
    });
    ClientConfig::default().serve(ours).await.unwrap()
}

/// A client over HTTP, and what ends its server.
async fn over_http(
    bench: &common::Bench,
    key: Option<&str>,
) -> (Result<Client, String>, oneshot::Sender<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = oneshot::channel::<()>();
    let router = bench.router.clone();
    tokio::spawn(serve(listener, router, async move {
        let _ = ended.await;
    }));
    // One for the process: whoever comes second finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = StreamableHttpClientTransportConfig::with_uri(format!("http://{address}/mcp"));
    if let Some(key) = key {
        config = config.auth_header(key);
    }
    let transport = StreamableHttpClientTransport::from_config(config);
    let client = ClientConfig::default()
        .serve(transport)
        .await
        .map_err(|error| error.to_string());
    (client, end)
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> CallToolResult {
    let arguments = arguments.as_object().unwrap().clone();
    client
        .call_tool(CallToolRequestParams::new(tool).with_arguments(arguments))
        .await
        .unwrap()
}

fn text(result: &CallToolResult) -> String {
    result.content[0].as_text().unwrap().text.clone()
}

fn structured(result: &CallToolResult) -> Value {
    result.structured_content.clone().unwrap()
}

/// The whole life of a memory through the five tools.
async fn life_of_a_memory(client: &Client) {
    let mut tools: Vec<String> = client
        .list_all_tools()
        .await
        .unwrap()
        .into_iter()
        .map(|tool| {
            assert!(
                tool.description.is_some() && tool.annotations.is_some(),
                "{}",
                tool.name
            );
            tool.name.to_string()
        })
        .collect();
    tools.sort();
    assert_eq!(
        tools,
        ["correct", "forget", "profile", "recall", "remember"]
    );

    let kept = call(
        client,
        "remember",
        json!({ "text": "I like rye", "conversation": "c" }),
    )
    .await;
    assert_eq!(kept.is_error, Some(false), "{}", text(&kept));
    assert!(
        text(&kept).starts_with("Kept 1 turn new, 0 known before; learnt 1 fact."),
        "{}",
        text(&kept)
    );
    let again = structured(
        &call(
            client,
            "remember",
            json!({ "text": "I like rye", "conversation": "c" }),
        )
        .await,
    );
    assert_eq!(
        (&again["episodes_created"], &again["already_known"]),
        (&json!(0), &json!(1))
    );

    let found = call(client, "recall", json!({ "query": "rye" })).await;
    let memory = structured(&found)["memories"][0].clone();
    assert_eq!(memory["memory"], "User like rye");
    assert_eq!(memory["evidence"][0]["words"], "I like rye");
    assert_eq!(memory["receipt"].as_str().unwrap().len(), 64);
    assert!(text(&found).contains("[memory] User like rye"));
    let nothing = call(client, "recall", json!({ "query": "zebra" })).await;
    assert!(text(&nothing).starts_with("Memory does not know"));

    let id = memory["id"].as_str().unwrap();
    let now = structured(
        &call(
            client,
            "correct",
            json!({ "id": id, "text": "User loves rye" }),
        )
        .await,
    );
    let new = now["memory"]["id"].as_str().unwrap();
    let confirmed = structured(&call(client, "correct", json!({ "id": new })).await);
    assert_eq!(confirmed["memory"]["confirmed"], true);
    // What does not hold any more is found by who asks for everything.
    let current = call(client, "recall", json!({ "query": "rye" })).await;
    assert!(
        !text(&current).contains("User like rye"),
        "{}",
        text(&current)
    );
    let all = call(client, "recall", json!({ "query": "rye", "past": true })).await;
    for either in ["User like rye", "User loves rye"] {
        assert!(text(&all).contains(either), "{}", text(&all));
    }
    let both = json!({ "query": "rye", "past": true, "as_of": "2026-11-29T20:15:00Z" });
    let both = call(client, "recall", both).await;
    assert_eq!(structured(&both)["code"], "as_of_or_past");
    let profile = call(client, "profile", json!({})).await;
    assert_eq!(text(&profile), "User loves rye.");
    assert_eq!(structured(&profile)["phrased"], Value::Null);
    let phrased = call(client, "profile", json!({ "phrase": "long" })).await;
    assert_eq!(text(&phrased), "a long bio.\nnobody was asked");
    assert_eq!(
        structured(&phrased)["phrased"]["sentences"][0]["by"],
        "code"
    );
    let forgotten =
        structured(&call(client, "forget", json!({ "id": new, "cascade": true })).await);
    assert_eq!(forgotten["forgotten"].as_array().unwrap().len(), 2);

    let gone = call(client, "forget", json!({ "id": new })).await;
    assert_eq!(gone.is_error, Some(true));
    assert_eq!(structured(&gone)["code"], "memory_not_found");
    for (tool, arguments) in [
        ("remember", json!({})),
        ("remember", json!({ "text": " " })),
        ("recall", json!({ "query": "x", "limit": 1000 })),
        ("recall", json!({ "query": "" })),
    ] {
        let refused = call(client, tool, arguments).await;
        assert_eq!(refused.is_error, Some(true), "{tool}");
    }
    let unknown = client
        .call_tool(
            CallToolRequestParams::new("recall").with_arguments(
                json!({ "query": "x", "colour": "red" })
                    .as_object()
                    .unwrap()
                    .clone(),
            ),
        )
        .await;
    assert!(unknown.is_err() || unknown.unwrap().is_error == Some(true));
}

#[tokio::test]
async fn the_five_tools_over_standard_streams() {
    let bench = bench();
    let client = over_pipes(bench.gateway.clone()).await;
    life_of_a_memory(&client).await;
    client.cancel().await.unwrap();
}

#[tokio::test]
async fn the_five_tools_over_http_with_a_key() {
    let bench = bench();
    let (client, end) = over_http(&bench, Some(&bench.key)).await;
    let client = client.unwrap();
    life_of_a_memory(&client).await;
    client.cancel().await.unwrap();
    drop(end);
}

#[tokio::test]
async fn over_http_without_a_key_nobody_gets_in() {
    let bench = bench();
    for key in [None, Some("tally_0_wrong")] {
        let (client, _end) = over_http(&bench, key).await;
        assert!(client.is_err());
    }
    let open = bench_with(|config| config.open = true);
    let (client, _end) = over_http(&open, None).await;
    assert!(client.is_ok());
}

#[tokio::test]
async fn over_http_a_key_does_what_its_scopes_say() {
    let bench = bench();
    let reader = bench
        .gateway
        .issue_key("reader", &[Scope::MemoriesRead], None)
        .unwrap()
        .key;
    let (client, _end) = over_http(&bench, Some(&reader)).await;
    let client = client.unwrap();
    let found = call(&client, "recall", json!({ "query": "rye" })).await;
    assert_eq!(found.is_error, Some(false));
    for (tool, arguments) in [
        ("remember", json!({ "text": "I lie" })),
        ("profile", json!({})),
        ("forget", json!({ "id": "x" })),
        ("correct", json!({ "id": "x", "text": "y" })),
    ] {
        let refused = call(&client, tool, arguments).await;
        assert_eq!(structured(&refused)["code"], "scope_missing", "{tool}");
    }
}

#[tokio::test]
async fn by_the_first_digits_of_its_id_no_memory_is_changed_or_forgotten() {
    let bench = bench();
    let client = over_pipes(bench.gateway.clone()).await;
    let kept = structured(&call(&client, "remember", json!({ "text": "I like rye" })).await);
    let id = kept["memories"][0]["id"].as_str().unwrap();
    for (tool, arguments) in [
        ("forget", json!({ "id": &id[..4] })),
        ("correct", json!({ "id": &id[..4] })),
        ("correct", json!({ "id": &id[..63], "text": "no" })),
    ] {
        let refused = call(&client, tool, arguments).await;
        assert_eq!(structured(&refused)["code"], "memory_not_found", "{tool}");
    }
    let forgotten = call(&client, "forget", json!({ "id": id })).await;
    assert_eq!(forgotten.is_error, Some(false));
}

#[tokio::test]
async fn who_may_only_write_is_told_which_memory_it_was_and_not_what_it_says() {
    let bench = bench();
    let writer = bench
        .gateway
        .issue_key("writer", &[Scope::MemoriesWrite], None)
        .unwrap()
        .key;
    let (client, _end) = over_http(&bench, Some(&writer)).await;
    let client = client.unwrap();
    let kept = call(&client, "remember", json!({ "text": "I like rye" })).await;
    let memory = structured(&kept)["memories"][0].clone();
    let id = memory["id"].as_str().unwrap();
    assert_eq!(memory, json!({ "id": id, "status": "current" }));
    let confirmed = call(&client, "correct", json!({ "id": id })).await;
    for answer in [kept, confirmed] {
        assert_eq!(answer.is_error, Some(false));
        let all = format!("{} {}", text(&answer), structured(&answer));
        assert!(all.contains(id) && !all.contains("rye"), "{all}");
    }
}

/// A request of the protocol without sessions (2026-07-28): one that is answered by itself.
fn stateless(bench: &common::Bench, body: Body) -> axum::http::Request<Body> {
    common::request(axum::http::Method::POST, "/mcp")
        .header("x-api-key", &bench.key)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "recall")
        .body(body)
        .unwrap()
}

fn recall() -> Body {
    let body = json!({
        "jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": { "name": "recall", "arguments": { "query": "rye" }, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {}
        } }
    });
    Body::from(body.to_string())
}

/// A body of which nothing ever comes.
struct Nothing;

impl HttpBody for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_not_waited_for() {
    let bench = bench();
    let asked = stateless(&bench, Body::new(Nothing));
    let answer = bench.router.clone().oneshot(asked).await.unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 16)
        .await
        .unwrap();
    let error: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(error["error"]["code"], "body_slow");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let bench = bench_with(|config| config.body_len = 1000);
    let asked = stateless(&bench, Body::from("x".repeat(1001)));
    let reply = bench.send(asked).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(reply.code(), "body_too_large");
}

#[tokio::test]
async fn one_key_has_so_many_answers_on_their_way_and_the_others_have_theirs() {
    let bench = bench();
    let send = async |key: &str| {
        let mut asked = stateless(&bench, recall());
        asked
            .headers_mut()
            .insert("x-api-key", key.parse().unwrap());
        bench.router.clone().oneshot(asked).await.unwrap()
    };
    let mut unread = Vec::new();
    for _ in 0..32 {
        let answer = send(&bench.key).await;
        assert_eq!(answer.status(), StatusCode::OK);
        unread.push(answer);
    }
    let refused = send(&bench.key).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let other = bench
        .gateway
        .issue_key("other", &Scope::ALL, None)
        .unwrap()
        .key;
    assert_eq!(send(&other).await.status(), StatusCode::OK);
    drop(unread.pop());
    assert_eq!(send(&bench.key).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_stateless_client_is_answered() {
    let bench = bench();
    let reply = bench.send(stateless(&bench, recall())).await;
    assert!(reply.status.is_success(), "{} {}", reply.status, reply.text);
    assert!(
        reply.text.contains("Memory does not know"),
        "{}",
        reply.text
    );
}

#[tokio::test]
async fn a_page_elsewhere_cannot_call_it() {
    let bench = bench_with(|config| config.open = true);
    for (name, value) in [("host", "evil.example"), ("origin", "http://evil.example")] {
        let mut request = common::request(axum::http::Method::POST, "/mcp")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(axum::body::Body::from("{}"))
            .unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(bench.send(request).await.code(), "origin_refused");
    }
}

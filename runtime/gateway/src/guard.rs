//! What stands around every request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::error::ApiError;
use crate::gateway::random;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, for what an answer holds beside an error of its own.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// By which names and from which pages a server is called.
pub(crate) struct Doors {
    /// Without a port.
    pub(crate) names: Vec<String>,
    /// Beside the server itself.
    pub(crate) origins: Vec<String>,
}

/// Names a request, refuses those that a page elsewhere could have made, and puts the security headers on every answer.
pub(crate) async fn guard(
    State(doors): State<Arc<Doors>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut bytes = [0; 12];
    // An id that repeats harms nobody; no randomness shows where it matters, with keys.
    let _ = random(&mut bytes);
    let id = hex::encode(bytes);
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = match origin_is_here(&doors, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        response = with_id_in_body(response, &id).await;
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // To nobody else. By `no-referrer` a browser would call the origin of our own forms `null`, which is refused.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What memory says is for this caller now, and for no cache.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'",
        ));
    response
}

/// DNS rebinding: a page of a name that somebody points at this machine sends that name as `Host`. A form or a script of a
/// page elsewhere sends its `Origin`.
fn origin_is_here(doors: &Doors, request: &Request) -> Result<(), ApiError> {
    let refused = |message: &str| {
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "origin_refused",
            message,
        ))
    };
    let host = match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => request
            .uri()
            .authority()
            .map(|authority| authority.as_str()),
    };
    let Some(host) = host else {
        return Err(ApiError::invalid("no_host", "the request names no host"));
    };
    if !doors
        .names
        .iter()
        .any(|name| name.eq_ignore_ascii_case(without_port(host)))
    {
        return refused("this server is not known by the name in the Host header");
    }
    let is_api = is_for_programs(request.uri().path());
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        // A picture or a link of a page elsewhere sends none: it reads no answer, and has us work for it. To pages of the console
        // anybody may link.
        return match request.headers().get("sec-fetch-site") {
            // `none` is a person's own doing, as in the address bar.
            Some(site) if is_api && site != "same-origin" && site != "none" => {
                refused("a page of another origin may not call this server")
            }
            _ => Ok(()),
        };
    };
    let origin = origin.to_str().unwrap_or_default();
    let same = ["http://", "https://"]
        .iter()
        .filter_map(|scheme| origin.strip_prefix(scheme))
        .any(|authority| authority.eq_ignore_ascii_case(host));
    // Programs in pages of other origins have keys; the console's forms are its own.
    if same || (is_api && doors.origins.iter().any(|allowed| allowed == origin)) {
        Ok(())
    } else {
        refused("a page of another origin may not call this server")
    }
}

/// Whether it is a path of REST or MCP, which programs call, those in pages too, and no page of the console.
fn is_for_programs(path: &str) -> bool {
    path.starts_with("/v1/") || matches!(path, "/mcp" | "/healthz")
}

/// Lets pages of these origins ask whether they may call, and read what is answered. They show a key as every program does: cookies
/// are not for them.
pub(crate) fn cors(origins: &[String]) -> CorsLayer {
    // A wildcard is no origin, and none that a browser sends would be equal to it.
    let origins = origins
        .iter()
        .filter(|origin| *origin != "*")
        .filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        // MCP has headers for each parameter of a tool, so there is no list of them.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(
            [
                "mcp-session-id",
                "retry-after",
                "www-authenticate",
                "x-ratelimit-limit",
                "x-ratelimit-remaining",
                "x-ratelimit-reset",
                "x-request-id",
            ]
            .map(HeaderName::from_static),
        )
        .max_age(Duration::from_secs(600))
}

/// `[::1]:80` → `[::1]`, `localhost:80` → `localhost`
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() =>
        {
            // "::1" without brackets is no host in HTTP.
            name
        }
        _ => host,
    }
}

/// Puts the id of the request into an error's body, where people copy it from.
async fn with_id_in_body(response: Response, id: &str) -> Response {
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value == "application/json");
    if !is_json {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Errors are short.
    let Ok(bytes) = axum::body::to_bytes(body, 64 * 1024).await else {
        return (parts, Body::empty()).into_response();
    };
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
        return (parts, Body::from(bytes)).into_response();
    };
    match value
        .get_mut("error")
        .and_then(|error| error.as_object_mut())
    {
        Some(error) if error.contains_key("code") && error.contains_key("type") => {
            error.insert("request_id".to_owned(), id.into());
        }
        // Not ours: the errors of MCP have their own shape.
        _ => return (parts, Body::from(bytes)).into_response(),
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    (parts, Body::from(value.to_string())).into_response()
}

/// How long a request may take that is told nothing else.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// Ends a request that takes too long. What the memory does for it goes on to its end and is kept.
pub(crate) async fn timely(
    State(longest): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    match tokio::time::timeout(longest, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError {
            retry_after_s: Some(5),
            ..ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "timeout",
                "it took too long; what was begun goes on, so ask again before you repeat it",
            )
        }
        .into_response(),
    }
}

/// A handler that panics costs one answer.
pub(crate) async fn survive(request: Request, next: Next) -> Response {
    // A task of its own: its panic comes back as an error.
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => ApiError::internal(format!("a handler failed: {error}")).into_response(),
    }
}

pub(crate) async fn no_such_page(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no_such_path",
        format!(
            "nothing is at {}; /v1/openapi.json lists what is",
            uri.path()
        ),
    )
}

pub(crate) async fn no_such_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "no_such_method",
        "this path does not answer that method",
    )
}

/// Who is at the other end, for callers that have not shown a key.
pub(crate) fn peer(request: &Request) -> String {
    match request.extensions().get::<ConnectInfo<SocketAddr>>() {
        Some(ConnectInfo(address)) => counted(address.ip()).to_string(),
        None => "unknown".to_owned(),
    }
}

/// An address as it is counted: of IPv6 its network of 64 bits, all of which whoever has one address there may use.
pub(crate) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            IpAddr::from(octets)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_counted_by_its_network_and_ipv4_as_it_is() {
        let counted = |address: &str| counted(address.parse().unwrap()).to_string();
        assert_eq!(counted("192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("2001:db8:1:2:ffff::1"), "2001:db8:1:2::");
        assert_eq!(counted("2001:db8:1:3::1"), "2001:db8:1:3::");
    }
}

//! One question to a server, its redirects followed by our rules instead of the client's.
//!
//! - A hop goes to https; from http on this machine also to http on this machine. Never from https to http.
//! - The hub's token goes with a hop whose scheme, host and port are the hub's.
//! - The hub speaks in the headers of its own hops: `X-Linked-Etag` (SHA-256 of a large file), `X-Linked-Size`,
//!   `X-Repo-Commit`. The same headers from anybody else are not heard.
//! - Bodies come as they are (`Accept-Encoding: identity`): a length and a range count the file's own bytes.
//!
//! Source: RFC 9110 (ranges and validators: 8.8, 13.1.5, 14).

use std::io::Read;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use crate::error::FetchError;
use crate::reference::{Hub, Place};

/// Hops after the first. Hubs use two.
const MAX_REDIRECTS: u32 = 8;
/// For a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(20);
/// For the headers of an answer, and then for each read: a server that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// Scheme, host and port.
pub type Origin = url::Origin;

/// Asks servers. Has the machine's certificate roots, its proxy, and maybe a token for the hub.
pub struct Client {
    agent: Agent,
    hub: Hub,
    token: Option<Zeroizing<String>>,
}

/// An answer whose body has not been read.
pub(crate) struct Answer {
    /// Who gave it, at the end of all redirects.
    pub(crate) host: String,
    /// 200, 206 or 416.
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: Box<dyn Read>,
    /// What the hub said on the way.
    pub(crate) hub: HubSays,
}

/// What the hub says about a file in its own hops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HubSays {
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) bytes: Option<u64>,
    pub(crate) commit: Option<String>,
}

/// The rest of a file, from a byte on.
pub(crate) struct Rest<'a> {
    pub(crate) from: u64,
    /// A strong validator of the version that the beginning is from.
    pub(crate) only_if: Option<&'a str>,
}

impl Client {
    /// A client for this hub. The token is sent to the hub's origin and nowhere else.
    #[must_use]
    pub fn new(hub: Hub, token: Option<Zeroizing<String>>) -> Self {
        Self::with_silence(hub, token, SILENCE)
    }

    /// A client that takes a server for gone when it has said nothing for so long.
    #[must_use]
    pub fn with_silence(hub: Hub, token: Option<Zeroizing<String>>, silence: Duration) -> Self {
        let roots: Vec<_> = rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .collect();
        let roots = if roots.is_empty() {
            RootCerts::WebPki
        } else {
            RootCerts::from(roots)
        };
        let agent = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("tally/", env!("CARGO_PKG_VERSION")))
            .accept("*/*")
            .accept_encoding("identity")
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(silence))
            .timeout_recv_response(Some(silence))
            .timeout_per_read(Some(silence))
            .max_response_header_size(64 << 10)
            .build()
            .new_agent();
        Self { agent, hub, token }
    }

    /// The hub it was made for.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Asks for the file at `place`, or for the rest of it.
    pub(crate) fn get(&self, place: &Place, rest: Option<&Rest<'_>>) -> Result<Answer, FetchError> {
        let mut at = place.clone();
        let mut hub = HubSays::default();
        for _ in 0..=MAX_REDIRECTS {
            let is_hub = at.url().origin() == self.hub.endpoint().origin();
            let with_token = is_hub && self.token.is_some();
            let response = self.ask(&at, rest, with_token)?;
            if is_hub {
                hub.hear(response.headers());
            }
            let status = response.status().as_u16();
            match status {
                200 | 206 | 416 => {
                    let (parts, body) = response.into_parts();
                    return Ok(Answer {
                        host: at.host(),
                        status,
                        headers: parts.headers,
                        body: Box::new(body.into_with_config().limit(u64::MAX).reader()),
                        hub,
                    });
                }
                301 | 302 | 303 | 307 | 308 => at = next(&at, response.headers())?,
                404 | 410 => {
                    return Err(FetchError::NotThere {
                        host: at.host(),
                        status,
                        url: at.to_string(),
                    });
                }
                401 | 403 => {
                    return Err(FetchError::NotAllowed {
                        host: at.host(),
                        status,
                        url: at.to_string(),
                        with_token,
                    });
                }
                _ => {
                    return Err(FetchError::Status {
                        host: at.host(),
                        status,
                        url: at.to_string(),
                    });
                }
            }
        }
        Err(FetchError::Redirects {
            host: at.host(),
            limit: MAX_REDIRECTS,
        })
    }

    fn ask(
        &self,
        at: &Place,
        rest: Option<&Rest<'_>>,
        with_token: bool,
    ) -> Result<Response<Body>, FetchError> {
        let mut request = self.agent.get(at.url().as_str());
        if let Some(token) = self.token.as_ref().filter(|_| with_token) {
            let mut value = header::HeaderValue::from_str(&Zeroizing::new(format!(
                "Bearer {}",
                token.as_str()
            )))
            .map_err(|_| FetchError::NotAllowed {
                host: at.host(),
                status: 401,
                url: at.to_string(),
                with_token,
            })?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(rest) = rest {
            request = request.header(header::RANGE, format!("bytes={}-", rest.from));
            if let Some(validator) = rest.only_if {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        let request = if at.is_loopback() {
            request.config().proxy(None).build()
        } else {
            request
        };
        request.call().map_err(|error| unanswered(at, error))
    }
}

impl HubSays {
    fn hear(&mut self, headers: &HeaderMap) {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        // A file outside the large-file store has a git object id here, which is no SHA-256 of its bytes.
        let linked = text("x-linked-etag").map(|value| value.trim_matches('"'));
        if let Some(sha256) = linked.and_then(|hex| crate::Expected::parse_hash(hex).ok()) {
            self.sha256 = Some(sha256);
        }
        if let Some(bytes) = text("x-linked-size").and_then(whole_number) {
            self.bytes = Some(bytes);
        }
        let is_commit =
            |text: &&str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(commit) = text("x-repo-commit").filter(is_commit) {
            self.commit = Some(commit.to_owned());
        }
    }
}

impl Answer {
    fn text(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The bytes of this answer's body, when it says.
    pub(crate) fn length(&self) -> Option<u64> {
        self.text(header::CONTENT_LENGTH).and_then(whole_number)
    }

    /// A validator that names exactly these bytes; a weak one does not.
    pub(crate) fn strong_etag(&self) -> Option<&str> {
        self.text(header::ETAG).filter(|etag| {
            etag.len() >= 2 && etag.len() <= 256 && etag.starts_with('"') && etag.ends_with('"')
        })
    }

    /// First byte and length of the whole file, of a 206. The length may be unknown.
    pub(crate) fn range(&self) -> Option<(u64, Option<u64>)> {
        let (range, whole) = self
            .text(header::CONTENT_RANGE)?
            .strip_prefix("bytes ")?
            .split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (whole_number(first)?, whole_number(last)?);
        let whole = match whole {
            "*" => None,
            digits => Some(whole_number(digits)?),
        };
        (first <= last && whole.is_none_or(|whole| last < whole)).then_some((first, whole))
    }

    /// A coding of the body other than none.
    pub(crate) fn coding(&self) -> Option<&str> {
        self.text(header::CONTENT_ENCODING)
            .filter(|coding| !coding.eq_ignore_ascii_case("identity"))
    }
}

/// `1*DIGIT`; `u64::from_str` would also take a plus sign.
fn whole_number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn next(at: &Place, headers: &HeaderMap) -> Result<Place, FetchError> {
    let to = headers
        .get(header::LOCATION)
        .and_then(|to| to.to_str().ok())
        .ok_or_else(|| FetchError::Contradiction {
            host: at.host(),
            what: "it redirects to nowhere".to_owned(),
        })?;
    let shown = || {
        to.split(['?', '#'])
            .next()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect()
    };
    let insecure = || FetchError::Insecure {
        host: at.host(),
        to: shown(),
    };
    let next = at
        .url()
        .join(to)
        .ok()
        .and_then(|url| Place::of(url).ok())
        .ok_or_else(insecure)?;
    if at.url().scheme() == "https" && next.url().scheme() != "https" {
        return Err(insecure());
    }
    Ok(next)
}

/// Why no answer came, sorted by who can do something about it.
fn unanswered(at: &Place, error: ureq::Error) -> FetchError {
    let host = at.host();
    let text = error.to_string();
    match error {
        ureq::Error::HostNotFound => FetchError::Unreachable {
            host,
            reason: "its name is not known here".to_owned(),
        },
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
            FetchError::Unreachable {
                host,
                reason: "no answer".to_owned(),
            }
        }
        ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
            FetchError::Unreachable {
                host,
                reason: format!("the proxy of this machine: {text}"),
            }
        }
        ureq::Error::Rustls(error) => FetchError::Certificate {
            host,
            reason: error.to_string(),
        },
        ureq::Error::Io(error) if error.get_ref().is_some_and(is_certificate) => {
            FetchError::Certificate {
                host,
                reason: error.to_string(),
            }
        }
        ureq::Error::Io(error) => match error.kind() {
            // After the connection stood; it may stand again.
            std::io::ErrorKind::UnexpectedEof
            | std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::ConnectionAborted
            | std::io::ErrorKind::BrokenPipe => FetchError::Interrupted {
                host,
                have: 0,
                total: None,
                reason: error.to_string(),
            },
            _ => FetchError::Unreachable {
                host,
                reason: error.to_string(),
            },
        },
        ureq::Error::Timeout(_) => FetchError::Interrupted {
            host,
            have: 0,
            total: None,
            reason: "it says nothing".to_owned(),
        },
        _ => FetchError::Contradiction {
            host,
            what: format!("its answer is not HTTP as it should be ({text})"),
        },
    }
}

fn is_certificate(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    // ureq hands rustls errors through `io::Error`; the type is rustls' own, which we do not depend on.
    error.to_string().contains("certificate")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&'static str, &str)]) -> Answer {
        Answer {
            host: "h".to_owned(),
            status: 206,
            headers: headers
                .iter()
                .map(|(name, value)| {
                    (
                        header::HeaderName::from_static(name),
                        value.parse().expect("a header"),
                    )
                })
                .collect(),
            body: Box::new(std::io::empty()),
            hub: HubSays::default(),
        }
    }

    #[test]
    fn ranges_are_read_as_the_rfc_writes_them() {
        let range = |text| answer(&[("content-range", text)]).range();
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        for bad in [
            "bytes 9-5/10",
            "bytes 5-10/10",
            "bytes */10",
            "bytes 5-9",
            "5-9/10",
            "bytes +5-9/10",
            "bytes -9/10",
        ] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }

    #[test]
    fn weak_validators_are_none() {
        assert_eq!(answer(&[("etag", "\"a\"")]).strong_etag(), Some("\"a\""));
        assert_eq!(answer(&[("etag", "W/\"a\"")]).strong_etag(), None);
        assert_eq!(answer(&[("etag", "a")]).strong_etag(), None);
        assert_eq!(answer(&[]).strong_etag(), None);
    }

    #[test]
    fn only_a_sha256_is_taken_for_one() {
        let hear = |value: &str| {
            let mut says = HubSays::default();
            says.hear(&answer(&[("x-linked-etag", value)]).headers);
            says.sha256
        };
        assert_eq!(hear(&format!("\"{}\"", "ab".repeat(32))), Some([0xab; 32]));
        assert_eq!(hear("\"0123456789abcdef0123456789abcdef01234567\""), None);
    }
}

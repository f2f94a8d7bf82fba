//! Who may do what: keys for programs, sessions for people.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use crate::error::ApiError;
use crate::gateway::{Gateway, random};
use crate::guard::peer;
use crate::keys::{KeyError, KeyInfo, Scope};
use crate::rate::{Allowance, Left};
use crate::rest::is_json;
use crate::time::UnixMs;

pub(crate) const COOKIE: &str = "tally_session";
/// Sessions of one caller at once; the oldest goes. So nobody signs others out, and keys, which are bounded, bound all of them.
const SESSIONS: usize = 5;

/// Who calls, and what they may do.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The key's id, or `owner`.
    pub(crate) id: String,
    pub(crate) name: String,
    scopes: Vec<Scope>,
    /// When the key ends.
    pub(crate) ends_at: Option<UnixMs>,
}

impl Caller {
    /// The person at this machine: the one whose memory it is.
    pub(crate) fn owner() -> Self {
        Self {
            id: "owner".to_owned(),
            name: "tally".to_owned(),
            scopes: Scope::ALL.into(),
            ends_at: None,
        }
    }

    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    pub(crate) fn need(&self, scope: Scope) -> Result<(), ApiError> {
        if self.may(scope) {
            Ok(())
        } else {
            Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "scope_missing",
                format!("this key has no scope {scope}"),
            ))
        }
    }

    /// When a key ends that this caller makes: as wanted, and not after the caller's own.
    pub(crate) fn end_of_made(&self, wanted: Option<UnixMs>) -> Option<UnixMs> {
        match (wanted, self.ends_at) {
            (Some(wanted), Some(own)) => Some(wanted.min(own)),
            (wanted, own) => wanted.or(own),
        }
    }
}

impl From<KeyInfo> for Caller {
    fn from(key: KeyInfo) -> Self {
        Self {
            id: key.id,
            name: key.name,
            scopes: key.scopes,
            ends_at: key.expires_at,
        }
    }
}

/// Lets a request through whose key has the scope, counts it, and says how many are left.
pub(crate) async fn by_key(
    State((gateway, scope, allowance)): State<(Gateway, Option<Scope>, Allowance)>,
    mut request: Request,
    next: Next,
) -> Response {
    let (caller, left) = match caller_by_key(&gateway, &request, allowance) {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    if let Some(scope) = scope
        && let Err(error) = caller.need(scope)
    {
        let left = Some(left);
        return ApiError { left, ..error }.into_response();
    }
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    left.write_to(response.headers_mut());
    response
}

fn caller_by_key(
    gateway: &Gateway,
    request: &Request,
    allowance: Allowance,
) -> Result<(Caller, Left), ApiError> {
    let caller = match key_of(request.headers()) {
        Some(key) => match gateway.check_key(key) {
            Ok(info) => Caller::from(info),
            Err(error) => {
                gateway.count_stranger(&peer(request))?;
                let code = match error {
                    KeyError::Expired => "key_expired",
                    _ => "key_unknown",
                };
                return Err(ApiError::new(
                    StatusCode::UNAUTHORIZED,
                    code,
                    error.to_string(),
                ));
            }
        },
        None if gateway.state.config.open => Caller::owner(),
        None => {
            gateway.count_stranger(&peer(request))?;
            return Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "key_missing",
                "send an API key as X-API-Key, or as Authorization: Bearer",
            ));
        }
    };
    let allowance = match allowance {
        // Turns as JSON are no import, by whichever path: a chat hands over each of its turns.
        Allowance::Imports if is_json(request.headers()) => Allowance::Ordinary,
        other => other,
    };
    let left = gateway.take_rate(&allowance_of(&caller.id), allowance)?;
    Ok((caller, left))
}

/// Whose requests are counted together: all of one key, whichever door they come by.
fn allowance_of(key: &str) -> String {
    format!("key {key}")
}

fn key_of(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get("x-api-key") {
        return key.to_str().ok();
    }
    let (scheme, key) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

/// Somebody who signed in.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    who: Who,
    began_at: UnixMs,
    expires_at: UnixMs,
}

impl Session {
    pub(crate) fn is_of_key(&self, id: &str) -> bool {
        matches!(&self.who, Who::Key(key) if key == id)
    }
}

/// By what somebody signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    /// By the link that was printed.
    Owner,
    /// By the key of this id. What it may do, and whether it opens anything, is asked of the ring each time.
    Key(String),
}

/// A session that begins.
pub(crate) struct NewSession {
    /// What the browser shows from now on.
    pub(crate) secret: String,
    pub(crate) lasts: Duration,
}

/// A session as a request of it shows it.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) caller: Caller,
    /// Whose requests are counted together, however many sessions they have.
    pub(crate) counted: String,
    /// What every form carries back.
    pub(crate) csrf: String,
}

impl SignedIn {
    /// Whether a form is one of this session's.
    pub(crate) fn form_is_ours(&self, csrf: &str) -> Result<(), ApiError> {
        if self.csrf.as_bytes().ct_eq(csrf.as_bytes()).into() {
            Ok(())
        } else {
            Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "form_stale",
                "the form is not of this session; load the page again",
            ))
        }
    }
}

pub(crate) fn secret_hash(secret: &str) -> [u8; 32] {
    blake3::derive_key("tally gateway v1 session secret", secret.as_bytes())
}

fn csrf_of(secret: &str) -> String {
    hex::encode(blake3::derive_key(
        "tally gateway v1 form token",
        secret.as_bytes(),
    ))
}

impl Gateway {
    /// Signs in with the secret that was printed, which then is used up, or with a key, until that ends.
    pub(crate) fn sign_in_with(&self, secret: &str) -> Result<NewSession, ApiError> {
        let now = self.now();
        if self.use_up_link(secret) {
            return self.begin_session(Who::Owner, now, None);
        }
        // Held until the session is kept: none is left of a key that somebody deletes meanwhile.
        let keys = self.key_ring();
        let key = keys.check(secret, now).map_err(|_| {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "sign_in_refused",
                "neither an API key nor the link that was printed last; a link works once",
            )
        })?;
        self.take_rate(&allowance_of(&key.id), Allowance::Ordinary)?;
        self.begin_session(Who::Key(key.id), now, key.expires_at)
    }

    fn use_up_link(&self, secret: &str) -> bool {
        let mut once = self.sign_in();
        let hash = secret_hash(secret);
        let is_it = once.is_some_and(|expected| expected.ct_eq(&hash).into());
        if is_it {
            *once = None;
        }
        is_it
    }

    fn begin_session(
        &self,
        who: Who,
        now: UnixMs,
        end: Option<UnixMs>,
    ) -> Result<NewSession, ApiError> {
        let mut bytes = [0; 32];
        random(&mut bytes).map_err(ApiError::internal)?;
        let secret = hex::encode(bytes);
        let lasts_ms = i64::try_from(self.state.config.session.as_millis()).unwrap_or(i64::MAX);
        let longest = UnixMs(now.0.saturating_add(lasts_ms));
        let expires_at = end.map_or(longest, |end| end.min(longest));
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.expires_at > now);
        let mut same: Vec<(UnixMs, [u8; 32])> = sessions
            .iter()
            .filter(|(_, session)| session.who == who)
            .map(|(hash, session)| (session.began_at, *hash))
            .collect();
        same.sort_unstable();
        for (_, oldest) in same.iter().rev().skip(SESSIONS - 1) {
            sessions.remove(oldest);
        }
        sessions.insert(
            secret_hash(&secret),
            Session {
                who,
                began_at: now,
                expires_at,
            },
        );
        let lasts = u64::try_from(expires_at.0.saturating_sub(now.0)).unwrap_or(0);
        Ok(NewSession {
            secret,
            lasts: Duration::from_millis(lasts),
        })
    }

    pub(crate) fn session_of(&self, headers: &HeaderMap) -> Option<SignedIn> {
        let secret = session_secret(headers)?;
        let now = self.now();
        let session = self.sessions().get(&secret_hash(secret)).cloned()?;
        if session.expires_at <= now {
            return None;
        }
        let (caller, counted) = match session.who {
            // Apart from programs that show no key, where none is needed.
            Who::Owner => (Caller::owner(), "console owner".to_owned()),
            Who::Key(id) => {
                let key = self.key_ring().standing(&id, now).ok()?;
                (key.into(), allowance_of(&id))
            }
        };
        Some(SignedIn {
            caller,
            counted,
            csrf: csrf_of(secret),
        })
    }

    pub(crate) fn sign_out(&self, headers: &HeaderMap) {
        if let Some(secret) = session_secret(headers) {
            self.sessions().remove(&secret_hash(secret));
        }
    }
}

fn session_secret(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, secret)| secret)
}

//! Who may do what: keys for programs, sessions for people.

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
use crate::time::UnixMs;

pub(crate) const COOKIE: &str = "tally_session";
/// Sessions at once; the oldest goes.
const SESSIONS: usize = 100;

/// Who calls, and what they may do.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The key's id, or `owner`.
    pub(crate) id: String,
    pub(crate) name: String,
    scopes: Vec<Scope>,
}

impl Caller {
    /// The person at this machine: the one whose memory it is.
    pub(crate) fn owner() -> Self {
        Self {
            id: "owner".to_owned(),
            name: "tally".to_owned(),
            scopes: Scope::ALL.into(),
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
}

impl From<KeyInfo> for Caller {
    fn from(key: KeyInfo) -> Self {
        Self {
            id: key.id,
            name: key.name,
            scopes: key.scopes,
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
                // Guessing is slow.
                gateway.take_rate(&peer(request), Allowance::Ordinary)?;
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
            gateway.take_rate(&peer(request), Allowance::Ordinary)?;
            return Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "key_missing",
                "send an API key as X-API-Key, or as Authorization: Bearer",
            ));
        }
    };
    let left = gateway.take_rate(&format!("key {}", caller.id), allowance)?;
    Ok((caller, left))
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
    pub(crate) caller: Caller,
    expires_at: UnixMs,
}

/// A session as a request of it shows it.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    pub(crate) caller: Caller,
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
    /// Signs in with the secret that was printed, which then is used up, or with a key.
    pub(crate) fn sign_in_with(&self, secret: &str) -> Result<String, ApiError> {
        let refused = || {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "sign_in_refused",
                "neither an API key nor the link that was printed last; a link works once",
            )
        };
        let caller = {
            let mut once = self.sign_in();
            let hash = secret_hash(secret);
            match *once {
                Some(expected) if bool::from(expected.ct_eq(&hash)) => {
                    *once = None;
                    Caller::owner()
                }
                _ => self.check_key(secret).map_err(|_| refused())?.into(),
            }
        };
        let mut bytes = [0; 32];
        random(&mut bytes).map_err(ApiError::internal)?;
        let secret = hex::encode(bytes);
        let now = self.now();
        let lasts_ms = i64::try_from(self.state.config.session.as_millis()).unwrap_or(i64::MAX);
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.expires_at > now);
        if sessions.len() >= SESSIONS
            && let Some(oldest) = sessions
                .iter()
                .min_by_key(|(_, session)| session.expires_at)
                .map(|(hash, _)| *hash)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(
            secret_hash(&secret),
            Session {
                caller,
                expires_at: UnixMs(now.0.saturating_add(lasts_ms)),
            },
        );
        Ok(secret)
    }

    pub(crate) fn session_of(&self, headers: &HeaderMap) -> Option<SignedIn> {
        let secret = session_secret(headers)?;
        let sessions = self.sessions();
        let session = sessions.get(&secret_hash(secret))?;
        (session.expires_at > self.now()).then(|| SignedIn {
            caller: session.caller.clone(),
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

//! The state of a gateway, and how it is put together.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use tally_import::{Format, ImportError, Item, Options, Report};
use tokio::sync::Semaphore;

use crate::access::Session;
use crate::at_once::AtOnce;
use crate::error::ApiError;
use crate::explorer::Explorer;
use crate::jobs::Jobs;
use crate::keys::{IssuedKey, KeyError, KeyInfo, KeyRing, Scope};
use crate::rate::{Allowance, Left, Rates, TooMany};
use crate::service::{BioLength, MemoryService, PhrasedBio, Profile, ServiceError};
use crate::time::UnixMs;
use crate::{console, guard, mcp, rest};

/// What time it is.
pub type Clock = Arc<dyn Fn() -> UnixMs + Send + Sync>;

/// Keeps the ring of keys, as [`KeyRing::to_json`] writes it, so that it is there after a crash.
pub type KeyKeeper = Arc<dyn Fn(&[u8]) -> io::Result<()> + Send + Sync>;

/// Tells what an imported file is and reads it, as [`tally_import::detect`] and [`tally_import::read`] do, in whatever place is safe
/// enough for the files of strangers.
#[derive(Clone)]
pub struct FileReader {
    detect: Arc<DetectFile>,
    read: Arc<ReadFile>,
}

type DetectFile = dyn Fn(&[u8], &Options) -> Result<Format, ImportError> + Send + Sync;

type ReadFile = dyn Fn(&[u8], &Options, &mut dyn FnMut(Item) -> ControlFlow<()>) -> Result<Report, ImportError>
    + Send
    + Sync;

impl FileReader {
    /// Takes a function for each.
    pub fn new(
        detect: impl Fn(&[u8], &Options) -> Result<Format, ImportError> + Send + Sync + 'static,
        read: impl Fn(
            &[u8],
            &Options,
            &mut dyn FnMut(Item) -> ControlFlow<()>,
        ) -> Result<Report, ImportError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            detect: Arc::new(detect),
            read: Arc::new(read),
        }
    }

    pub(crate) fn detect(&self, bytes: &[u8], options: &Options) -> Result<Format, ImportError> {
        (self.detect)(bytes, options)
    }

    pub(crate) fn read(
        &self,
        bytes: &[u8],
        options: &Options,
        take: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> Result<Report, ImportError> {
        (self.read)(bytes, options, take)
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileReader")
    }
}

/// Fills bytes with randomness from the operating system.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), KeyError> {
    getrandom::fill(bytes).map_err(|_| KeyError::Randomness)
}

/// How a gateway behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Names by which the server may be called, without a port.
    pub names: Vec<String>,
    /// Origins other than the server itself from which a browser may call.
    pub origins: Vec<String>,
    /// Requests in a minute: of one key, in the console too, or of the owner there. Half of a key's may be searches by REST, and a tenth may begin imports.
    pub per_minute: u32,
    /// The longest body of an ordinary request, in bytes.
    pub body_len: usize,
    /// The longest file of an import, in bytes.
    pub file_len: usize,
    /// How long an ordinary request may take.
    pub timeout: Duration,
    /// Calls of the memory at once.
    pub at_once: usize,
    /// How long somebody stays signed in to the console.
    pub session: Duration,
    /// Whether requests without a key may do everything. Only for a server that nobody else can reach.
    pub open: bool,
    /// The ledger that the console shows, if there is one.
    pub ledger: Option<Explorer>,
    /// What reads imported files; in this process unless said otherwise.
    pub files: FileReader,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            names: ["localhost", "127.0.0.1", "[::1]"]
                .map(str::to_owned)
                .into(),
            origins: Vec::new(),
            per_minute: 100,
            body_len: 2 << 20,
            file_len: 256 << 20,
            timeout: guard::LONGEST,
            at_once: 16,
            session: Duration::from_hours(12),
            open: false,
            ledger: None,
            files: FileReader::new(tally_import::detect, tally_import::read),
        }
    }
}

/// Why a gateway cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The keys cannot be kept.
    #[error("keep the API keys: {0}")]
    Keep(#[from] io::Error),
    /// A key cannot be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

pub(crate) struct State {
    pub(crate) config: Config,
    service: Arc<dyn MemoryService>,
    clock: Clock,
    keys: Mutex<KeyRing>,
    keeper: KeyKeeper,
    rates: Mutex<Rates>,
    sessions: Mutex<HashMap<[u8; 32], Session>>,
    /// The hash of the secret that signs in once.
    sign_in: Mutex<Option<[u8; 32]>>,
    pub(crate) jobs: Jobs,
    at_once: Arc<Semaphore>,
    phrasing: Arc<Semaphore>,
    /// Requests of MCP that are being answered, by who asked.
    pub(crate) mcp: AtOnce<String>,
}

/// Calls at once that wait for a model to put a bio into words: so few that the memory answers others meanwhile.
const PHRASING_AT_ONCE: usize = 2;

/// A gateway above one memory.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) state: Arc<State>,
}

impl Gateway {
    /// A gateway with these keys.
    pub fn new(
        config: Config,
        service: Arc<dyn MemoryService>,
        keys: KeyRing,
        keeper: KeyKeeper,
        clock: Clock,
    ) -> Self {
        Self {
            state: Arc::new(State {
                rates: Mutex::new(Rates::new(config.per_minute)),
                at_once: Arc::new(Semaphore::new(config.at_once.max(1))),
                phrasing: Arc::new(Semaphore::new(PHRASING_AT_ONCE)),
                mcp: AtOnce::new(mcp::AT_ONCE),
                config,
                service,
                clock,
                keys: Mutex::new(keys),
                keeper,
                sessions: Mutex::default(),
                sign_in: Mutex::default(),
                jobs: Jobs::default(),
            }),
        }
    }

    /// Everything it answers.
    pub fn router(&self) -> Router {
        let doors = Arc::new(guard::Doors {
            names: self.state.config.names.clone(),
            origins: self.state.config.origins.clone(),
        });
        let config = &self.state.config;
        let ordinary = |router: Router| {
            router
                .layer(DefaultBodyLimit::max(config.body_len))
                .layer(from_fn_with_state(config.timeout, guard::timely))
        };
        let mut for_programs = ordinary(rest::router(self))
            // Its answers stream, for as long as a client listens; it bounds its requests itself.
            .merge(mcp::router(self))
            .method_not_allowed_fallback(guard::no_such_method);
        if !config.origins.is_empty() {
            // Above the fallback, which is where a browser's question whether it may call ends else.
            for_programs = for_programs.layer(guard::cors(&config.origins));
        }
        Router::new()
            .merge(for_programs)
            .merge(ordinary(console::router(self)))
            .fallback(guard::no_such_page)
            .method_not_allowed_fallback(guard::no_such_method)
            .layer(from_fn(guard::survive))
            .layer(from_fn_with_state(doors, guard::guard))
    }

    /// A secret that signs in to the console once, with everything allowed. One made before it is void.
    ///
    /// # Errors
    ///
    /// [`KeyError::Randomness`].
    pub fn sign_in_secret(&self) -> Result<String, KeyError> {
        let mut bytes = [0; 24];
        random(&mut bytes)?;
        let secret = hex::encode(bytes);
        *lock(&self.state.sign_in) = Some(crate::access::secret_hash(&secret));
        Ok(secret)
    }

    /// Makes a key and keeps it.
    ///
    /// # Errors
    ///
    /// As [`StartError`] says.
    pub fn issue_key(
        &self,
        name: &str,
        scopes: &[Scope],
        expires_at: Option<UnixMs>,
    ) -> Result<IssuedKey, StartError> {
        let now = self.now();
        let mut keys = lock(&self.state.keys);
        // What cannot be kept is not given out.
        let mut next = keys.clone();
        let issued = next.issue(name, scopes, now, expires_at, &mut random)?;
        (self.state.keeper)(&next.to_json())?;
        *keys = next;
        Ok(issued)
    }

    /// Deletes a key; whether there was one.
    pub(crate) fn delete_key(&self, id: &str) -> io::Result<bool> {
        let mut keys = lock(&self.state.keys);
        let mut next = keys.clone();
        let was_there = next.delete(id);
        if was_there {
            (self.state.keeper)(&next.to_json())?;
            *keys = next;
        }
        drop(keys);
        // Who signed in with it is signed out.
        lock(&self.state.sessions).retain(|_, session| !session.is_of_key(id));
        Ok(was_there)
    }

    pub(crate) fn keys(&self) -> Vec<KeyInfo> {
        lock(&self.state.keys).list()
    }

    pub(crate) fn check_key(&self, key: &str) -> Result<KeyInfo, KeyError> {
        self.key_ring().check(key, self.now())
    }

    /// The keys. Sessions, and what is counted, may be locked while they are, and never the other way round.
    pub(crate) fn key_ring(&self) -> MutexGuard<'_, KeyRing> {
        lock(&self.state.keys)
    }

    pub(crate) fn now(&self) -> UnixMs {
        (self.state.clock)()
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        lock(&self.state.sessions)
    }

    pub(crate) fn sign_in(&self) -> MutexGuard<'_, Option<[u8; 32]>> {
        lock(&self.state.sign_in)
    }

    /// Takes one request of a caller from its allowance.
    pub(crate) fn take_rate(&self, who: &str, of: Allowance) -> Result<Left, ApiError> {
        lock(&self.state.rates)
            .take(who, of, self.now())
            .map_err(refused)
    }

    /// Takes one request of an address that shows no valid key from its allowance. What was shown was looked at before, and only what
    /// was wrong is counted: behind a proxy all come from one address, and who has a key or the link is let in whatever others do
    /// there. So this is no defence against guessing, which is hopeless: a key has 256 random bits, and the link's secret 192.
    pub(crate) fn count_stranger(&self, address: &str) -> Result<(), ApiError> {
        lock(&self.state.rates)
            .take_stranger(address, self.now())
            .map_err(refused)
    }

    /// Calls the memory on a thread of its own, a bounded number at once.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn MemoryService) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ApiError> {
        Ok(self.ask_raw(call).await?)
    }

    /// The same, with the memory's own error.
    pub(crate) async fn ask_raw<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn MemoryService) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let permit = Arc::clone(&self.state.at_once)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let service = Arc::clone(&self.state.service);
        tokio::task::spawn_blocking(move || {
            // Given back when the call ends, also if nobody waits for it any more.
            let _permit = permit;
            call(&*service)
        })
        .await
        .unwrap_or_else(|error| Err(ServiceError::Failed(format!("memory panicked: {error}"))))
    }

    /// The profile, and a bio of this length in a model's words if one is asked for. So many at once, and the others are refused: who
    /// waits for a model holds one of the calls of the memory.
    pub(crate) async fn profile(
        &self,
        phrase: Option<BioLength>,
    ) -> Result<(Profile, Option<PhrasedBio>), ApiError> {
        let permit = match phrase {
            None => None,
            Some(_) => Some(
                Arc::clone(&self.state.phrasing)
                    .try_acquire_owned()
                    .map_err(|_| ApiError {
                        retry_after_s: Some(5),
                        ..ApiError::new(
                            StatusCode::SERVICE_UNAVAILABLE,
                            "busy",
                            "the model is putting other bios into words; ask again, or without phrase",
                        )
                    })?,
            ),
        };
        self.ask(move |memory| {
            // Given back when the call ends, as that of the call itself.
            let _permit = permit;
            let phrased = phrase.map(|length| memory.phrase(length));
            Ok((memory.profile()?, phrased.transpose()?))
        })
        .await
    }

    pub(crate) fn service(&self) -> Arc<dyn MemoryService> {
        Arc::clone(&self.state.service)
    }
}

fn refused(too_many: TooMany) -> ApiError {
    ApiError {
        retry_after_s: Some(too_many.wait_s),
        left: Some(Left {
            per_minute: too_many.per_minute,
            requests: 0,
            full_at: too_many.full_at,
        }),
        ..ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            format!(
                "more than {} {} a minute; wait {} s",
                too_many.per_minute, too_many.what, too_many.wait_s
            ),
        )
    }
}

/// What a panic left behind a lock here is whole: nothing is changed in steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! One run while it goes on: what it has used, what it has written, and, during replay, what it must say next.
//!
//! Every host call passes through [`begin`] and [`finish`]. Live, `begin` encodes the request, counts it, asks the
//! policy, and makes the journal durable where the effect demands it; `finish` writes the entry. During replay `begin`
//! compares the call with the next entry (frame, function, request, fuel) and answers from it; nothing else of the host
//! is reached, and the policy is not asked again.
//!
//! Invariants: an effect is never visible before its entry (or intent) has been handed on as [`Durability`] demands;
//! after the journal failed, nothing more is shown, sent or written; frames of one run share one session.

use crate::cbor::{self, CborError};
use crate::contract::{Datetime, Error, ResourceKind};
use crate::effects::{Durability, Effect};
use crate::host::Host;
use crate::limits::{Exhausted, Limits};
use crate::policy::Verdict;
use crate::replay::{Cursor, Difference, Divergence, Next};
use crate::services::{NoOutput, OutputSink};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tally_journal::{
    Brought, Call, Callee, Decision, Digest, FrameId, Intent, Seq, SettledTerms, Sink, Timestamp,
    WriteError, Writer,
};
use wasmtime::StoreContextMut;

/// Where a run's journal goes.
pub enum JournalTo {
    /// Nowhere: the run cannot be replayed or proved. For measuring what a journal costs.
    Nowhere,
    /// Into memory; [`crate::RunReport::journal`] holds it afterwards.
    Memory,
    /// Into this sink.
    Sink(Box<dyn Sink + Send>),
}

impl std::fmt::Debug for JournalTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nowhere => "Nowhere",
            Self::Memory => "Memory",
            Self::Sink(_) => "Sink",
        })
    }
}

/// A journal that was kept in memory. Its terms stand apart, since all runs of a plan share them: they are put before the
/// entries when somebody asks for the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct RunJournal {
    terms: Option<Arc<SettledTerms>>,
    entries: Vec<u8>,
}

impl RunJournal {
    pub(crate) fn new() -> Self {
        Self {
            terms: None,
            entries: Vec::with_capacity(ENTRIES_LEN),
        }
    }

    fn opening(&self) -> &[u8] {
        self.terms.as_ref().map_or(&[], |terms| terms.opening())
    }

    /// How many bytes it has.
    #[allow(
        clippy::len_without_is_empty,
        reason = "a journal has a first entry, or it is none"
    )]
    pub fn len(&self) -> usize {
        self.opening().len() + self.entries.len()
    }

    /// The journal, as a file would hold it.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.opening(), &self.entries].concat()
    }
}

impl std::fmt::Debug for RunJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunJournal({} bytes)", self.len())
    }
}

impl From<RunJournal> for Vec<u8> {
    fn from(journal: RunJournal) -> Self {
        journal.to_bytes()
    }
}

/// What the entries of a journal in memory have room for before they grow, in bytes: a first entry and some calls. What
/// is a little larger costs an allocator far more.
const ENTRIES_LEN: usize = 1000;

pub(crate) enum AnySink {
    Memory(RunJournal),
    Boxed(Box<dyn Sink + Send>),
}

impl Sink for AnySink {
    fn open(&mut self, terms: &Arc<SettledTerms>) -> std::io::Result<()> {
        match self {
            Self::Memory(journal) => {
                journal.terms = Some(terms.clone());
                Ok(())
            }
            Self::Boxed(sink) => sink.open(terms),
        }
    }
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Memory(journal) => {
                journal.entries.extend_from_slice(bytes);
                Ok(())
            }
            Self::Boxed(sink) => sink.append(bytes),
        }
    }
    #[inline]
    fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Memory(journal) => Some(&mut journal.entries),
            Self::Boxed(sink) => sink.buffer(),
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Boxed(sink) => sink.flush(),
        }
    }
    fn sync(&mut self) -> std::io::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Boxed(sink) => sink.sync(),
        }
    }
}

/// The host ends the guest. Never seen by the guest: it unwinds it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the limit {} of the run is used up", .0.name())]
    Limit(Exhausted),
    /// The session's `failure` says what happened.
    #[error("the run's surroundings failed")]
    Environment,
    /// The session's `divergence` says where.
    #[error("the run differs from its journal")]
    Diverged,
    /// Replay came to where the journal stops.
    #[error("the journal stops here")]
    JournalEnds,
}

impl Stop {
    pub(crate) fn raise(self) -> wasmtime::Error {
        wasmtime::Error::new(self)
    }
}

/// What went wrong around a run. The operator acts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// The journal could not be written, so nothing was done after that.
    #[error(transparent)]
    Journal(#[from] WriteError),
    /// What the agent shows could not be shown.
    #[error("show the agent's output: {0}")]
    Output(#[source] std::io::Error),
    /// No randomness.
    #[error("get randomness from the operating system: {0}")]
    Entropy(#[source] std::io::Error),
    /// A value could not be encoded; a fault of this program.
    #[error(transparent)]
    Encoding(#[from] CborError),
    /// The receipt could not be made.
    #[error("sign the run receipt: {0}")]
    Receipt(String),
}

/// A call that the policy refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The entry that records it.
    pub entry: Option<Seq>,
    /// The frame that asked: 0 is the agent.
    pub frame: u32,
    /// The function.
    pub function: &'static str,
    /// Why.
    pub reason: String,
}

/// What a run has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Fuel, tools included.
    pub fuel: u64,
    /// Host calls, tools included.
    pub calls: u64,
    /// Tokens.
    pub tokens: u64,
    /// Bytes shown and logged.
    pub output_bytes: u64,
    /// The most memory at once, in bytes, tools included.
    pub memory_bytes: u64,
}

/// One run while it goes on.
pub(crate) struct Session {
    pub(crate) writer: Option<Writer<AnySink>>,
    pub(crate) replay: Option<Cursor>,
    pub(crate) output: Box<dyn OutputSink>,
    pub(crate) limits: Limits,
    pub(crate) used: Used,
    pub(crate) clock: Timestamp,
    /// Inference calls so far.
    pub(crate) steps: u64,
    /// Tokens that running generations have set aside.
    pub(crate) tokens_reserved: u64,
    /// Tool frames entered so far.
    pub(crate) frames: u32,
    pub(crate) previous: Option<Digest>,
    pub(crate) receipts: Vec<Digest>,
    pub(crate) denials: Vec<Denial>,
    pub(crate) failure: Option<EnvironmentError>,
    pub(crate) divergence: Option<Divergence>,
    pub(crate) buffers: Buffers,
}

/// What a run needs room in, kept from one run of a plan to the next and emptied in between.
#[derive(Default)]
pub(crate) struct Buffers {
    request: Vec<u8>,
    pub(crate) response: Vec<u8>,
    /// The writer's, while there is none.
    pub(crate) frame: Vec<u8>,
}

/// A larger buffer is not kept.
const BUFFER_LEN_KEPT: usize = 64 << 10;

impl Buffers {
    /// Empties them for the next run; a large one is let go.
    fn clear(&mut self) {
        for buffer in [&mut self.request, &mut self.response, &mut self.frame] {
            if buffer.capacity() > BUFFER_LEN_KEPT {
                *buffer = Vec::new();
            }
            buffer.clear();
        }
    }
}

impl Session {
    pub(crate) fn new(
        writer: Option<Writer<AnySink>>,
        replay: Option<Cursor>,
        output: Box<dyn OutputSink>,
        limits: Limits,
    ) -> Self {
        Self {
            writer,
            replay,
            output,
            limits,
            used: Used::default(),
            clock: Timestamp::from_epoch(Duration::ZERO),
            steps: 0,
            tokens_reserved: 0,
            frames: 0,
            previous: None,
            receipts: Vec::new(),
            denials: Vec::new(),
            failure: None,
            divergence: None,
            buffers: Buffers::default(),
        }
    }

    /// Begins another run in the room of one that is over.
    pub(crate) fn restart(
        &mut self,
        writer: Option<Writer<AnySink>>,
        cursor: Option<Cursor>,
        sink: Box<dyn OutputSink>,
        bounds: Limits,
        started: Timestamp,
    ) {
        // Every field is named, so that none can be forgotten here.
        let Self {
            writer: old_writer,
            replay,
            output,
            limits,
            used,
            clock,
            steps,
            tokens_reserved,
            frames,
            previous,
            receipts,
            denials,
            failure,
            divergence,
            buffers: _,
        } = self;
        *old_writer = writer;
        *replay = cursor;
        *output = sink;
        *limits = bounds;
        *used = Used::default();
        *clock = started;
        *steps = 0;
        *tokens_reserved = 0;
        *frames = 0;
        *previous = None;
        receipts.clear();
        denials.clear();
        *failure = None;
        *divergence = None;
    }

    /// Lets go of what a run was given; [`restart`](Self::restart) does the rest.
    pub(crate) fn clear(&mut self) {
        self.writer = None;
        self.replay = None;
        self.output = Box::new(NoOutput);
        self.buffers.clear();
    }

    pub(crate) fn fail(&mut self, error: impl Into<EnvironmentError>) -> wasmtime::Error {
        self.failure.get_or_insert(error.into());
        Stop::Environment.raise()
    }

    pub(crate) fn diverge(&mut self, divergence: Divergence) -> wasmtime::Error {
        self.divergence.get_or_insert(divergence);
        Stop::Diverged.raise()
    }

    /// Counts bytes shown or logged; false when they are too many.
    pub(crate) fn take_output(&mut self, bytes: usize) -> bool {
        let total = self.used.output_bytes.saturating_add(bytes as u64);
        let fits = total <= self.limits.output.get();
        if fits {
            self.used.output_bytes = total;
        }
        fits
    }

    /// Tokens that nothing has used or set aside.
    pub(crate) fn tokens_left(&self) -> u64 {
        self.limits
            .tokens
            .get()
            .saturating_sub(self.used.tokens)
            .saturating_sub(self.tokens_reserved)
    }

    /// Whether the next call is made rather than answered from a journal.
    pub(crate) fn is_live(&self) -> bool {
        self.replay.as_ref().is_none_or(Cursor::is_at_branch)
    }

    /// The next moment of a clock that never goes back.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.clock = self.clock.max(now);
        self.clock
    }
}

/// The session of a run, shared by its frames. Only one frame executes at a time, so nobody waits for this lock.
#[derive(Clone)]
pub(crate) struct SharedSession(Arc<Mutex<Session>>);

impl SharedSession {
    pub(crate) fn new(session: Session) -> Self {
        Self(Arc::new(Mutex::new(session)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Session> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether every frame is gone.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// The session, once every frame is gone.
    pub(crate) fn into_inner(self) -> Option<Session> {
        let mutex = Arc::into_inner(self.0)?;
        Some(
            mutex
                .into_inner()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

/// A response that the host can make up when it refuses a call.
pub(crate) trait Response: Serialize + DeserializeOwned {
    /// The response that says so, where the function's type has room for one.
    fn refusal(error: Error) -> Option<Self>;
}

impl<T: Serialize + DeserializeOwned> Response for Result<T, Error> {
    fn refusal(error: Error) -> Option<Self> {
        Some(Err(error))
    }
}

/// Functions that cannot fail cannot be refused either.
macro_rules! infallible {
    ($($response:ty),*) => { $(impl Response for $response {
        fn refusal(_error: Error) -> Option<Self> {
            None
        }
    })* };
}
infallible!((), Datetime, Vec<String>);

/// A setting that may not be read is not there.
impl Response for Option<String> {
    fn refusal(_error: Error) -> Option<Self> {
        Some(None)
    }
}

/// A live call between [`begin`] and [`finish`].
pub(crate) struct Pending<'a> {
    effect: &'static Effect,
    request: Vec<u8>,
    fuel: u64,
    rule: Cow<'a, str>,
    intent: Option<Seq>,
}

impl Pending<'_> {
    /// The same, without what it borrows: for a call that waits.
    fn keep(self) -> Pending<'static> {
        Pending {
            effect: self.effect,
            request: self.request,
            fuel: self.fuel,
            rule: Cow::Owned(self.rule.into_owned()),
            intent: self.intent,
        }
    }

    /// The request as it will stand in the journal.
    pub(crate) fn request(&self) -> &[u8] {
        &self.request
    }
}

/// What [`begin`] found.
pub(crate) enum Begun<'a, R> {
    /// The answer is settled and journaled: refused, or replayed.
    Answered(R),
    /// Make the call, then [`finish`] it.
    Live(Pending<'a>),
}

/// Stands in the journal for a request that was refused for its size.
#[derive(Serialize)]
struct TooLarge {
    bytes: u64,
}

/// Opens a host call.
///
/// `leaves` says whether the effect leaves the machine.
pub(crate) fn begin<'h, Q: Serialize, R: Response>(
    cx: &'h mut StoreContextMut<'_, Host>,
    effect: &'static Effect,
    request: &Q,
    ask: impl FnOnce(&'h Host) -> Verdict<'h>,
    leaves: bool,
) -> wasmtime::Result<Begun<'static, R>> {
    if cx.data().has_printed() {
        crate::host::wasi::drain(cx)?;
    }
    open(cx, effect, request, ask, leaves)
}

/// [`begin`] without looking at what a WASI build printed.
pub(crate) fn open<'h, Q: Serialize, R: Response>(
    cx: &'h mut StoreContextMut<'_, Host>,
    effect: &'static Effect,
    request: &Q,
    ask: impl FnOnce(&'h Host) -> Verdict<'h>,
    leaves: bool,
) -> wasmtime::Result<Begun<'static, R>> {
    let left = cx.get_fuel()?;
    let host: &'h Host = cx.data();
    let mut session = host.session.lock();
    let begun = open_in(host, &mut session, left, effect, request, ask, leaves)?;
    Ok(match begun {
        Begun::Answered(response) => Begun::Answered(response),
        Begun::Live(pending) => Begun::Live(pending.keep()),
    })
}

/// A call that the host answers without waiting: [`begin`] and [`finish`] with the session locked once.
///
/// `answer` is called for a live call that is allowed, and may not lock the session. `after` comes last, live or not.
#[inline]
pub(crate) fn at_once<'h, Q: Serialize, R: Response>(
    cx: &'h mut StoreContextMut<'_, Host>,
    effect: &'static Effect,
    request: &Q,
    ask: impl FnOnce(&'h Host) -> Verdict<'h>,
    answer: impl FnOnce(&Host, &mut Session) -> wasmtime::Result<R>,
    after: impl FnOnce(&Host, &mut Session, &R, Origin) -> wasmtime::Result<()>,
) -> wasmtime::Result<R> {
    if cx.data().has_printed() {
        crate::host::wasi::drain(cx)?;
    }
    let left = cx.get_fuel()?;
    let host: &'h Host = cx.data();
    let session = &mut *host.session.lock();
    let (response, origin) = match open_in(host, session, left, effect, request, ask, false)? {
        Begun::Answered(response) => (response, Origin::Settled),
        Begun::Live(pending) => {
            let response = answer(host, session)?;
            finish_in(session, host.frame, pending, &response, None, None)?;
            (response, Origin::Made)
        }
    };
    after(host, session, &response, origin)?;
    Ok(response)
}

/// Where the answer to a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The host made it now.
    Made,
    /// It was refused, or recorded.
    Settled,
}

/// Nothing comes after.
pub(crate) fn nothing<R>(_: &Host, _: &mut Session, _: &R, _: Origin) -> wasmtime::Result<()> {
    Ok(())
}

/// [`open`] for who has the session locked. `left` is the guest's fuel.
fn open_in<'h, Q: Serialize, R: Response>(
    host: &'h Host,
    session: &mut Session,
    left: u64,
    effect: &'static Effect,
    request: &Q,
    ask: impl FnOnce(&'h Host) -> Verdict<'h>,
    leaves: bool,
) -> wasmtime::Result<Begun<'h, R>> {
    let fuel = host.fuel_limit - left;
    if session.failure.is_some() {
        return Err(Stop::Environment.raise());
    }
    if session.used.calls >= session.limits.calls.get() {
        return Err(Stop::Limit(Exhausted::Calls).raise());
    }
    session.used.calls += 1;

    let mut bytes = std::mem::take(&mut session.buffers.request);
    bytes.clear();
    if let Err(error) = cbor::encode_into(&mut bytes, request) {
        return Err(session.fail(error));
    }
    let too_large = bytes.len() as u64 > session.limits.request.get();
    if too_large {
        let stand_in = TooLarge {
            bytes: bytes.len() as u64,
        };
        bytes.clear();
        bytes.shrink_to(4096);
        if let Err(error) = cbor::encode_into(&mut bytes, &stand_in) {
            return Err(session.fail(error));
        }
    }

    // Where a branch leaves its parent there is no recorded answer, and from there on the call is made.
    if session.replay.is_some()
        && let Some(answer) = replayed(session, host.frame, effect, &bytes, fuel)?
    {
        session.buffers.request = bytes;
        return Ok(Begun::Answered(answer));
    }

    let refusal = if too_large {
        Some((Error::Exhausted(ResourceKind::RequestBytes), None))
    } else {
        match ask(host) {
            Verdict::Allowed(rule) => {
                let intent = if leaves && effect.durability == Durability::SyncBeforeLeaving {
                    let intent = Intent {
                        frame: FrameId::new(host.frame),
                        function: effect.name,
                        class: effect.class,
                        request: &bytes[..],
                        fuel,
                    };
                    match session
                        .writer
                        .as_mut()
                        .map(|writer| writer.intent(&intent))
                        .transpose()
                    {
                        Ok(intent) => intent,
                        Err(error) => return Err(session.fail(error)),
                    }
                } else {
                    None
                };
                return Ok(Begun::Live(Pending {
                    effect,
                    request: bytes,
                    fuel,
                    rule: Cow::Borrowed(rule),
                    intent,
                }));
            }
            Verdict::Denied(reason) => Some((Error::Denied(reason.clone()), Some(reason))),
        }
    };
    let (error, reason) = refusal.expect("an allowed call has returned above");
    let Some(response) = R::refusal(error) else {
        return Err(Stop::Limit(Exhausted::RequestBytes).raise());
    };
    let mut encoded = std::mem::take(&mut session.buffers.response);
    encoded.clear();
    if let Err(error) = cbor::encode_into(&mut encoded, &response) {
        return Err(session.fail(error));
    }
    let entry = session
        .writer
        .as_ref()
        .map(|writer| Seq::new(writer.head().entries));
    let decision = match &reason {
        Some(reason) => Decision::Denied { reason },
        None => Decision::Allowed { rule: "limit" },
    };
    let call = Call {
        frame: FrameId::new(host.frame),
        function: effect.name,
        class: effect.class,
        intent: None,
        request: &bytes[..],
        decision,
        fuel,
        response: &encoded[..],
        receipt: None,
        callee: None,
    };
    let written = session
        .writer
        .as_mut()
        .map(|writer| writer.call(&call))
        .transpose();
    session.buffers.request = bytes;
    session.buffers.response = encoded;
    if let Err(error) = written {
        return Err(session.fail(error));
    }
    if let Some(reason) = reason {
        session.denials.push(Denial {
            entry,
            frame: host.frame,
            function: effect.name,
            reason,
        });
    }
    Ok(Begun::Answered(response))
}

/// Closes a live host call: writes its entry.
pub(crate) fn finish<R: Response>(
    cx: &mut StoreContextMut<'_, Host>,
    pending: Pending<'_>,
    response: &R,
    receipt: Option<Brought<&[u8]>>,
    callee: Option<Callee>,
) -> wasmtime::Result<()> {
    let host = cx.data();
    finish_in(
        &mut host.session.lock(),
        host.frame,
        pending,
        response,
        receipt,
        callee,
    )
}

/// [`finish`] for who has the session locked.
pub(crate) fn finish_in<R: Response>(
    session: &mut Session,
    frame: u32,
    pending: Pending<'_>,
    response: &R,
    receipt: Option<Brought<&[u8]>>,
    callee: Option<Callee>,
) -> wasmtime::Result<()> {
    let Pending {
        effect,
        request,
        fuel,
        rule,
        intent,
    } = pending;
    let Some(writer) = &mut session.writer else {
        session.buffers.request = request;
        return Ok(());
    };
    session.buffers.response.clear();
    if let Err(error) = cbor::encode_into(&mut session.buffers.response, response) {
        return Err(session.fail(error));
    }
    let call = Call {
        frame: FrameId::new(frame),
        function: effect.name,
        class: effect.class,
        intent,
        request: &request[..],
        decision: Decision::Allowed { rule: &rule },
        fuel,
        response: &session.buffers.response[..],
        receipt,
        callee,
    };
    let mut written = writer.call(&call).map(|_| ());
    if written.is_ok() && effect.durability == Durability::FlushBefore {
        written = writer.flush();
    }
    session.buffers.request = request;
    written.map_err(|error| session.fail(error))
}

/// The recorded answer to this call; `None` where a branch leaves its parent.
fn replayed<R: Response>(
    session: &mut Session,
    frame: u32,
    effect: &'static Effect,
    request: &[u8],
    fuel: u64,
) -> wasmtime::Result<Option<R>> {
    let Some(cursor) = &mut session.replay else {
        return Ok(None);
    };
    let (entry, response) = match cursor.call(frame, effect.name, request, fuel) {
        Next::Call { entry, call } => {
            let response = cbor::decode::<R>(call.response);
            if let Some(writer) = &mut session.writer {
                // The branch's journal repeats what it took from its parent.
                let copy = Call {
                    intent: None,
                    ..call
                };
                if let Err(error) = writer.call(&copy) {
                    session.failure.get_or_insert(error.into());
                    return Err(Stop::Environment.raise());
                }
            }
            if let Decision::Denied { reason } = call.decision {
                session.denials.push(Denial {
                    entry: Some(entry),
                    frame,
                    function: effect.name,
                    reason: reason.to_owned(),
                });
            }
            if let Some(receipt) = call.receipt {
                let digest = Digest::from_bytes(*blake3::hash(receipt.envelope).as_bytes());
                session.receipts.push(digest);
                session.previous = Some(digest);
            }
            (entry, response)
        }
        Next::Branch => {
            session.replay = None;
            return Ok(None);
        }
        Next::Ends => return Err(Stop::JournalEnds.raise()),
        Next::Differs(divergence) => return Err(session.diverge(divergence)),
    };
    match response {
        Ok(response) => Ok(Some(response)),
        Err(error) => Err(session.diverge(Divergence {
            entry: Some(entry),
            frame,
            what: Difference::Response,
            recorded: format!("a response of {} that cannot be read: {error}", effect.name),
            now: "a response of the type that the contract names".into(),
        })),
    }
}

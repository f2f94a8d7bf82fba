//! Starts runs: a [`Plan`] is resolved once, each [`Start`] executes it in a store of its own.
//!
//! A run ends in one of the ways of [`Outcome`], and its journal says which. Only when the surroundings fail (the disk is
//! full, the screen is gone) is there no outcome but a [`RunError`]; nothing is shown or sent after that.
//!
//! A run whose future is dropped is gone: its generations are cancelled, nothing is left running, and its journal stops
//! without an end, as after a crash. To stop one in order, give it [`Start::cancel`].

use crate::cbor;
use crate::component::{Component, ComponentKind, Pre};
use crate::config::{Engine, Pool, YIELD_FUEL};
use crate::contract::{Error, Input, Reply};
use crate::effects;
use crate::host::{Given, Host, Shared, wasi::Wasi};
use crate::limits::{self, Exhausted, Limits, MemoryExceeded, MemoryMeter};
use crate::policy::{Grant, Policy, ResolveError};
use crate::receipt::{Proof, Signing};
use crate::replay::{Cursor, Divergence};
use crate::services::{NoOutput, OutputSink, Services};
use crate::session::{
    AnySink, Denial, EnvironmentError, JournalTo, RunJournal, Session, SharedSession, Stop, Used,
};
use crate::tool::{ToolError, ToolPlugin, ToolSet};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tally_journal::{
    BranchPoint, Digest, End, Genesis, Head, Outcome as Ending, RunId, SettledTerms, Terms,
    Timestamp, WriteError, Writer,
};
use wasmtime::{AsContextMut as _, Store, Trap};

/// Bytes copied across the boundary in one call, beyond the request itself: other arguments and what lists cost.
const COPY_SLACK: u64 = 1 << 20;
/// Handles of resources that one store may hold, ours and WASI's.
const STORE_HANDLES: usize = 1_000;

/// Why a plan does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A tool plugin where an agent is wanted.
    #[error("this is a tool plugin, which agents call; name an agent to run")]
    NotAnAgent,
    /// The grant is not for this component.
    #[error(transparent)]
    Grant(#[from] ResolveError),
    /// The tools do not go together.
    #[error(transparent)]
    Tools(#[from] ToolError),
    /// A journal could not hold what the plan says: settings that are too long.
    #[error(transparent)]
    Journal(#[from] WriteError),
}

/// An agent with what it may do, resolved once and run many times. Cheap to clone.
#[derive(Clone)]
pub struct Plan(Arc<PlanInner>);

struct PlanInner {
    component: Component,
    policy: Arc<Policy>,
    given: Arc<Given>,
    genesis: Genesis,
    /// What past runs needed room in serves the next.
    #[expect(
        clippy::vec_box,
        reason = "room goes from run to run without being copied"
    )]
    spare: Mutex<Vec<Box<Spare>>>,
}

/// Room for a run: its first entry, and its session with nothing in it.
struct Spare {
    genesis: Genesis,
    session: SharedSession,
}

/// How many runs' room is kept.
const SPARE_MAX: usize = 64;

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("component", &self.0.component)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Resolves manifest ∩ grant, and checks that the tools go together.
    pub fn new(
        engine: &Engine,
        component: &Component,
        grant: &Grant,
        tools: Vec<ToolPlugin>,
        settings: BTreeMap<String, String>,
    ) -> Result<Self, PlanError> {
        if component.kind() != ComponentKind::Agent {
            return Err(PlanError::NotAnAgent);
        }
        let policy = Policy::resolve(component.manifest(), grant, &component.digest())?;
        let tools = ToolSet::new(tools.into_iter().map(Arc::new).collect())?;
        let settings: Vec<_> = settings.into_iter().collect();
        let terms = SettledTerms::new(Terms {
            component: component.digest(),
            world: component.kind().world().to_owned(),
            engine: engine.fingerprint().clone(),
            manifest: policy.manifest(),
            grant: policy.grant_json().to_vec(),
            limits: limits::to_named(policy.limits()),
            settings: settings.clone(),
            tools: tools.digests(),
            functions: effects::names(),
        })?;
        let epoch = Timestamp::from_epoch(Duration::ZERO);
        let genesis = Genesis {
            terms: Arc::new(terms),
            run_id: RunId::from_bytes([0; 16]),
            input: Vec::new(),
            models: Vec::new(),
            wasi_seed: [0; 32],
            clock_base: epoch,
            started: epoch,
            branch_of: None,
        };
        Ok(Self(Arc::new(PlanInner {
            component: component.clone(),
            policy: Arc::new(policy),
            given: Arc::new(Given {
                engine: engine.clone(),
                settings: settings.into(),
                tools,
            }),
            genesis,
            spare: Mutex::default(),
        })))
    }

    /// The agent.
    pub fn component(&self) -> &Component {
        &self.0.component
    }

    /// The limits of each run.
    pub fn limits(&self) -> &Limits {
        self.0.policy.limits()
    }

    fn spare(&self) -> Box<Spare> {
        let spare = self
            .0
            .spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        spare.unwrap_or_else(|| {
            Box::new(Spare {
                genesis: self.0.genesis.clone(),
                session: SharedSession::new(Session::new(
                    None,
                    None,
                    Box::new(NoOutput),
                    *self.limits(),
                )),
            })
        })
    }

    /// Keeps the room of a run that is over, whose session has been cleared.
    fn give_back(&self, mut room: Box<Spare>) {
        if room.genesis.input.capacity() > 64 << 10 {
            room.genesis.input = Vec::new();
        }
        let mut spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX && room.session.is_alone() {
            spare.push(room);
        }
    }
}

/// One run, about to start.
pub struct Start {
    /// The run's name; a random one when `None`.
    pub run_id: Option<RunId>,
    /// What the agent is given.
    pub input: Input,
    /// Models, time and chance.
    pub services: Services,
    /// Where what it shows goes.
    pub output: Box<dyn OutputSink>,
    /// Where its journal goes.
    pub journal: JournalTo,
    /// Who signs the run receipt; nobody when `None`.
    pub signing: Option<Signing>,
    /// When this is ready the run is stopped in order, with the outcome `cancelled`.
    pub cancel: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Start {
    /// A run with a journal in memory, unsigned.
    pub fn new(input: Input, services: Services, output: Box<dyn OutputSink>) -> Self {
        Self {
            run_id: None,
            input,
            services,
            output,
            journal: JournalTo::Memory,
            signing: None,
            cancel: None,
        }
    }
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start")
            .field("run_id", &self.run_id)
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The caller's: the input is too large.
    #[error(
        "the input has {len} bytes; this run takes at most {max}: shorten it, or grant more `input-bytes`"
    )]
    InputTooLarge {
        /// Bytes of the input.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// The operator's: the journal could not be started. Nothing was executed.
    #[error("start the journal: {0}")]
    JournalStart(#[source] WriteError),
    /// A branch did not come to its entry. See [`crate::BranchError::Diverged`].
    #[error("the run differs from its journal: {0}")]
    Diverged(Box<Divergence>),
    /// The operator's: the surroundings failed while the run went on. It was stopped.
    #[error("the run was stopped: {0}")]
    Environment(#[from] EnvironmentError),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The agent replied.
    Replied(Reply),
    /// The agent returned an error.
    Failed(Error),
    /// A limit stopped it.
    Exhausted(Exhausted),
    /// The agent broke, for this reason.
    Trapped(String),
    /// Whoever started it stopped it.
    Cancelled,
}

impl Outcome {
    /// How it ended, as a sentence for a person.
    pub fn sentence(&self) -> String {
        match self {
            Self::Replied(_) => "the agent replied".into(),
            Self::Failed(error) => format!("the agent failed: {}", error.sentence()),
            Self::Exhausted(limit) => exhausted_sentence(*limit),
            Self::Trapped(reason) => format!("the agent broke: {reason}"),
            Self::Cancelled => "the run was stopped".into(),
        }
    }

    pub(crate) fn ending(&self) -> Ending<'_> {
        match self {
            Self::Replied(_) => Ending::Replied,
            Self::Failed(_) => Ending::Failed,
            Self::Exhausted(limit) => Ending::Exhausted {
                limit: limit.name(),
            },
            Self::Trapped(reason) => Ending::Trapped { reason },
            Self::Cancelled => Ending::Cancelled,
        }
    }

    /// What the handler returned, as the journal holds it: a WIT `result<reply, error>`.
    pub(crate) fn output(&self) -> Option<Result<&Reply, &Error>> {
        match self {
            Self::Replied(reply) => Some(Ok(reply)),
            Self::Failed(error) => Some(Err(error)),
            _ => None,
        }
    }
}

fn exhausted_sentence(limit: Exhausted) -> String {
    match limit {
        Exhausted::Fuel => "it used up its fuel: an endless loop, or more work than `fuel` allows",
        Exhausted::Memory => "it asked for more memory than `memory-bytes` allows",
        Exhausted::WallTime => "it took longer than `wall-ms` allows",
        Exhausted::Stack => "it recursed deeper than its stack allows",
        Exhausted::Calls => "it called the host more often than `calls` allows",
        Exhausted::OutputBytes => "it showed or logged more than `output-bytes` allows",
        Exhausted::RequestBytes => "it handed over more in one call than `request-bytes` allows",
    }
    .into()
}

/// What a run came to.
#[derive(Debug)]
pub struct RunReport {
    /// The run's name.
    pub run_id: RunId,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub used: Used,
    /// How long it took by the clock of its services, waiting for a slot included.
    pub wall: Duration,
    /// Where its journal stands.
    pub head: Option<Head>,
    /// The journal, when it was kept in memory.
    pub journal: Option<RunJournal>,
    /// Digests of the inference receipts, in order.
    pub receipts: Vec<Digest>,
    /// What the policy refused, in order.
    pub denials: Vec<Denial>,
    /// The run receipt and what opens it, when the run was signed.
    pub proof: Option<Proof>,
}

/// Where a run begins, when not at the beginning.
pub(crate) struct From {
    pub(crate) cursor: Cursor,
    pub(crate) point: BranchPoint,
    pub(crate) seed: [u8; 32],
    pub(crate) clock_base: Timestamp,
}

impl Engine {
    /// Runs an agent once.
    pub fn run(
        &self,
        plan: &Plan,
        start: Start,
    ) -> impl Future<Output = Result<RunReport, RunError>> + Send {
        self.run_from(plan, start, None)
    }

    pub(crate) async fn run_from(
        &self,
        plan: &Plan,
        start: Start,
        from: Option<From>,
    ) -> Result<RunReport, RunError> {
        let Start {
            run_id,
            input,
            services,
            output,
            journal,
            signing,
            cancel,
        } = start;
        let limits = *plan.limits();
        if input.len() > limits.input.get() {
            return Err(RunError::InputTooLarge {
                len: input.len(),
                max: limits.input.get(),
            });
        }
        let entropy = |bytes: &mut [u8]| {
            services
                .entropy
                .fill(bytes)
                .map_err(EnvironmentError::Entropy)
        };
        let mut random = [0; 48];
        entropy(&mut random)?;
        let (id, seed) = random.split_at(16);
        let run_id = run_id
            .unwrap_or_else(|| RunId::from_bytes(id.try_into().expect("16 bytes were split off")));
        let started = services.clock.now();
        let (seed, clock_base) = match &from {
            Some(from) => (from.seed, from.clock_base),
            None => (seed.try_into().expect("32 bytes are left"), started),
        };

        let mut room = plan.spare();
        let Spare { genesis, session } = &mut *room;
        genesis.run_id = run_id;
        genesis.input.clear();
        cbor::encode_into(&mut genesis.input, &input).map_err(EnvironmentError::Encoding)?;
        genesis.models.clear();
        genesis
            .models
            .extend(services.inference.models().into_iter().filter(|(name, _)| {
                plan.0
                    .policy
                    .effective()
                    .decide(tally_capability::Ask::Model(name), moment(started))
                    .is_allowed()
            }));
        genesis.models.sort();
        genesis.models.dedup_by(|a, b| a.0 == b.0);
        genesis.wasi_seed = seed;
        genesis.clock_base = clock_base;
        genesis.started = started;
        genesis.branch_of = from.as_ref().map(|from| from.point);

        let first_entry = {
            let mut session = session.lock();
            let sink = match journal {
                JournalTo::Nowhere => None,
                JournalTo::Memory => Some(AnySink::Memory(RunJournal::new())),
                JournalTo::Sink(sink) => Some(AnySink::Boxed(sink)),
            };
            let frame = std::mem::take(&mut session.buffers.frame);
            let writer = sink
                .map(|sink| Writer::reusing(frame, sink, genesis))
                .transpose()
                .map_err(RunError::JournalStart)?;
            let cursor = from.map(|from| from.cursor);
            let first_entry = writer.as_ref().map(|writer| writer.head().hash);
            session.restart(writer, cursor, output, limits, started);
            first_entry
        };
        let shared = Arc::new(Shared {
            given: plan.0.given.clone(),
            services,
            input,
            run: run_id,
            first_entry,
            seed,
            clock_base: duration(clock_base),
        });
        let pool = self.pool(plan.0.component.pool());
        let deadline = Deadline::within(Duration::from_millis(limits.wall.get()));
        let frame = self
            .agent(
                pool,
                &plan.0.component,
                plan.0.policy.clone(),
                &limits,
                session.clone(),
                shared.clone(),
                deadline,
                cancel,
            )
            .await;
        let report = {
            let mut session = session.lock();
            let report = conclude(&mut session, frame, genesis, &shared, signing.as_ref());
            session.clear();
            report
        };
        plan.give_back(room);
        report
    }

    /// Executes the agent's frame.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one fact of the frame; live runs and replays share it"
    )]
    pub(crate) async fn agent(
        &self,
        pool: &Pool,
        component: &Component,
        policy: Arc<Policy>,
        limits: &Limits,
        session: SharedSession,
        shared: Arc<Shared>,
        mut deadline: Deadline,
        cancel: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ) -> Frame<Result<Reply, Error>> {
        let Pre::Agent(pre) = &component.0.pre else {
            unreachable!("a plan, and a replay, is made of an agent only");
        };
        let wasi = component
            .0
            .wasi
            .then(|| Box::new(Wasi::new(&shared.seed, 0, shared.clock_base)));
        let given = shared.clone();
        let host = Host {
            frame: 0,
            fuel_limit: limits.fuel.get(),
            call_wall: Duration::from_millis(limits.call_wall.get()),
            meter: MemoryMeter::new(limits.memory.get()),
            policy,
            session,
            shared,
            generations: Default::default(),
            wasi,
        };
        let permit = match pool.admission.try_acquire() {
            Ok(permit) => permit,
            // Nobody overtakes those who wait: then there is no permit to be had at once.
            Err(_) => {
                let waiting = pin!(pool.admission.acquire());
                let Ok(permit) = bounded(&mut deadline, None, waiting).await else {
                    return Frame {
                        result: Err(Ended::Limit(Exhausted::WallTime)),
                        fuel: 0,
                        memory_peak: 0,
                    };
                };
                permit.expect("the semaphore is never closed")
            }
        };
        let _permit = permit;
        let mut store = open(pool, host, limits);
        let result = {
            let call = pin!(async {
                let agent = pre.instantiate_async(&mut store).await?;
                agent
                    .tally_agent_handler()
                    .call_handle(&mut store, &given.input)
                    .await
            });
            bounded(&mut deadline, cancel, call).await
        };
        close(store, result)
    }
}

/// A moment as the policy counts it.
fn moment(at: Timestamp) -> tally_capability::Moment {
    tally_capability::Moment::from_epoch_seconds(at.seconds())
}

pub(crate) fn duration(at: Timestamp) -> Duration {
    Duration::new(at.seconds(), at.nanoseconds())
}

/// Writes the end, signs it, and reports.
fn conclude(
    session: &mut Session,
    frame: Frame<Result<Reply, Error>>,
    genesis: &Genesis,
    shared: &Shared,
    signing: Option<&Signing>,
) -> Result<RunReport, RunError> {
    let Frame {
        result,
        fuel,
        memory_peak,
    } = frame;
    let ended = session.advance(shared.services.clock.now());
    if let Some(failure) = session.failure.take() {
        if let (Some(writer), EnvironmentError::Output(_) | EnvironmentError::Entropy(_)) =
            (&mut session.writer, &failure)
        {
            // The journal still works: say how it ended. The first failure is the one to report.
            let reason = failure.to_string();
            let end = End {
                outcome: Ending::HostFailed { reason: &reason },
                output: None,
                fuel,
                ended,
            };
            let _ = writer.end(&end);
        }
        return Err(failure.into());
    }
    if let Some(divergence) = session.divergence.take() {
        return Err(RunError::Diverged(Box::new(divergence)));
    }
    let outcome = outcome(result).unwrap_or(Outcome::Cancelled);
    session.used.fuel = fuel;
    session.used.memory_bytes = memory_peak;
    let mut proof = None;
    let mut head = None;
    let mut journal = None;
    if let Some(mut writer) = session.writer.take() {
        let encoded = &mut session.buffers.response;
        encoded.clear();
        let output = match outcome.output() {
            Some(output) => {
                cbor::encode_into(encoded, &output).map_err(EnvironmentError::Encoding)?;
                Some(&encoded[..])
            }
            None => None,
        };
        let end = End {
            outcome: outcome.ending(),
            output,
            fuel,
            ended,
        };
        let at = writer.end(&end).map_err(EnvironmentError::Journal)?;
        head = Some(at);
        if let Some(signing) = signing {
            let made = signing
                .prove(
                    genesis,
                    &end,
                    at,
                    &session.receipts,
                    &*shared.services.entropy,
                )
                .map_err(EnvironmentError::Receipt)?;
            writer
                .seal(&made.receipt.to_json())
                .map_err(EnvironmentError::Journal)?;
            proof = Some(made);
        }
        let (sink, frame) = writer.into_parts();
        session.buffers.frame = frame;
        if let AnySink::Memory(kept) = sink {
            journal = Some(kept);
        }
    }
    Ok(RunReport {
        run_id: genesis.run_id,
        outcome,
        used: session.used,
        wall: duration(ended).saturating_sub(duration(genesis.started)),
        head,
        journal,
        receipts: std::mem::take(&mut session.receipts),
        denials: std::mem::take(&mut session.denials),
        proof,
    })
}

/// The outcome of a run; `None` when the session knows better.
fn outcome(result: Result<Result<Reply, Error>, Ended>) -> Option<Outcome> {
    Some(match result {
        Ok(Ok(reply)) => Outcome::Replied(reply),
        Ok(Err(error)) => Outcome::Failed(error),
        Err(Ended::Limit(limit)) => Outcome::Exhausted(limit),
        Err(Ended::Trap(reason)) => Outcome::Trapped(reason),
        Err(Ended::Cancelled) => Outcome::Cancelled,
        Err(Ended::Stopped(_)) => return None,
    })
}

/// How a frame ended when it did not return.
#[derive(Debug)]
pub(crate) enum Ended {
    Limit(Exhausted),
    Trap(String),
    Cancelled,
    Stopped(Stop),
}

impl Ended {
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Limit(limit) => exhausted_sentence(*limit),
            Self::Trap(reason) => reason.clone(),
            Self::Cancelled => "it was stopped".into(),
            Self::Stopped(stop) => stop.to_string(),
        }
    }
}

/// What executing a frame came to.
pub(crate) struct Frame<T> {
    pub(crate) result: Result<T, Ended>,
    pub(crate) fuel: u64,
    pub(crate) memory_peak: u64,
}

impl Frame<Result<Reply, Error>> {
    /// The outcome of a run; `None` when the session knows better.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        outcome(self.result)
    }
}

/// Makes the store of a frame, with every limit set before anything is instantiated.
pub(crate) fn open(pool: &Pool, host: Host, limits: &Limits) -> Store<Host> {
    let fuel = host.fuel_limit;
    let mut store = Store::new(&pool.engine, host);
    store.limiter(|host| &mut host.meter);
    store
        .set_fuel(fuel)
        .expect("fuel is on in every engine of ours");
    store
        .fuel_async_yield_interval(Some(YIELD_FUEL))
        .expect("fuel is on in every engine of ours");
    store.set_hostcall_fuel(
        usize::try_from(limits.request.get().saturating_mul(2) + COPY_SLACK).unwrap_or(usize::MAX),
    );
    store.set_max_component_handles(STORE_HANDLES);
    store
}

/// Ends a frame: journals what it printed last, counts, and lets everything it held go.
pub(crate) fn close<T>(
    mut store: Store<Host>,
    result: Result<wasmtime::Result<T>, Interrupted>,
) -> Frame<T> {
    let mut result = match result {
        Ok(result) => result.map_err(|error| classify(&error)),
        Err(Interrupted::Deadline) => Err(Ended::Limit(Exhausted::WallTime)),
        Err(Interrupted::Cancelled) => Err(Ended::Cancelled),
    };
    if store.data().has_printed()
        && !matches!(result, Err(Ended::Stopped(_)))
        && let Err(error) = crate::host::wasi::drain(&mut store.as_context_mut())
    {
        result = Err(classify(&error));
    }
    let left = store.get_fuel().unwrap_or(0);
    let host = store.data();
    Frame {
        result,
        fuel: host.fuel_limit.saturating_sub(left),
        memory_peak: host.meter.peak(),
    }
}

/// Why the host gave up waiting for a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    Deadline,
    Cancelled,
}

/// By when a call must have returned.
///
/// The clock is first looked at when the call does not return at once, and the time counts from there: a run that never
/// waits costs no look, and one that computes is late by the few milliseconds up to its first yield.
#[derive(Debug)]
pub(crate) struct Deadline {
    within: Option<Duration>,
    at: Option<Instant>,
}

impl Deadline {
    pub(crate) const fn never() -> Self {
        Self {
            within: None,
            at: None,
        }
    }

    pub(crate) const fn within(time: Duration) -> Self {
        Self {
            within: Some(time),
            at: None,
        }
    }

    /// The moment; none when there is none, or none that this machine's clock can name.
    fn at(&mut self, now: Instant) -> Option<Instant> {
        if self.at.is_none() {
            self.at = self.within.and_then(|time| now.checked_add(time));
        }
        self.at
    }
}

/// Waits for `call` until the deadline or until it is cancelled. A call that never waits costs no timer.
pub(crate) async fn bounded<T>(
    deadline: &mut Deadline,
    mut cancel: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    mut call: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Interrupted> {
    let mut timer: Option<Pin<Box<tokio::time::Sleep>>> = None;
    poll_fn(move |cx| {
        if let Poll::Ready(value) = call.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        if let Some(cancel) = &mut cancel
            && cancel.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(Interrupted::Cancelled));
        }
        let now = Instant::now();
        if let Some(deadline) = deadline.at(now) {
            // A guest that computes is polled again at once, before any timer would ring: look at the clock too.
            if now >= deadline {
                return Poll::Ready(Err(Interrupted::Deadline));
            }
            let timer =
                timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
            if timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Interrupted::Deadline));
            }
        }
        Poll::Pending
    })
    .await
}

/// What an error from wasmtime means.
fn classify(error: &wasmtime::Error) -> Ended {
    for cause in error.chain() {
        if let Some(stop) = cause.downcast_ref::<Stop>() {
            return match stop {
                Stop::Limit(limit) => Ended::Limit(*limit),
                Stop::Environment => Ended::Stopped(Stop::Environment),
                Stop::Diverged => Ended::Stopped(Stop::Diverged),
                Stop::JournalEnds => Ended::Stopped(Stop::JournalEnds),
            };
        }
        if cause.downcast_ref::<MemoryExceeded>().is_some() {
            return Ended::Limit(Exhausted::Memory);
        }
        if let Some(exit) = cause.downcast_ref::<wasmtime_wasi::I32Exit>() {
            return Ended::Trap(format!("it called exit({})", exit.0));
        }
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return Ended::Limit(Exhausted::Fuel),
        Some(Trap::StackOverflow) => return Ended::Limit(Exhausted::Stack),
        Some(trap) => return Ended::Trap(trap.to_string()),
        None => {}
    }
    let reason = error.root_cause().to_string();
    if reason.contains("fuel allocated for hostcalls") {
        return Ended::Limit(Exhausted::RequestBytes);
    }
    Ended::Trap(reason)
}

//! Replay: a recorded run, executed again without model, network or key.
//!
//! *Verify* ([`Engine::replay`]) runs the same component against the journal. Every host call must be the next recorded
//! one (frame, function, request, and the fuel used so far), is answered from the journal, and the run must end as
//! recorded. The first difference is named. Tools run again too, where their components are at hand.
//!
//! *Branch* ([`Engine::branch`]) does the same up to an entry and goes on live from there, into a journal of its own
//! whose first entry names the parent.
//!
//! *View* executes nothing, so it is the journal's own: `tally_journal::view`.
//!
//! A run that was cut (a crash, the wall clock, somebody's Ctrl-C) is replayed to the cut: what is there must be the
//! same, and nothing is said about what is not.

use crate::cbor;
use crate::component::{Component, ComponentKind};
use crate::config::Engine;
use crate::contract::{Error, Input, Reply};
use crate::host::{Given, Shared};
use crate::limits::{self, Exhausted};
use crate::policy::{Grant, Policy};
use crate::run::{self, Deadline, Ended, Frame, Outcome, Plan, RunError, RunReport, Start};
use crate::services::{Entropy, NoInference, NoMemory, NoOutput, NoVault, Services};
use crate::session::{AnySink, Session, SharedSession, Stop};
use crate::tool::{Nowhen, ToolError, ToolPlugin, ToolSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally_journal::{
    Body, BranchPoint, Call, Callee, Completeness, Digest, End, EngineFingerprint, Journal,
    Outcome as Ending, Seq, WriteError, Writer,
};

/// How replay compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayOptions {
    /// Accept a component other than the recorded one, and do not compare fuel: for testing a changed agent against a
    /// recorded run. The report then says how it behaves differently, not whether the journal is genuine.
    pub allow_other_component: bool,
}

/// Why a journal could not be replayed at all. None of these means that it was tampered with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A tool plugin where the agent is wanted.
    #[error("this is a tool plugin; name the agent that was run")]
    NotAnAgent,
    /// Not what was run.
    #[error(
        "this is another component than the one that was run: recorded {}, given {}; use the recorded one",
        hex(recorded),
        hex(given)
    )]
    OtherComponent {
        /// What was run.
        recorded: Digest,
        /// What was given.
        given: Digest,
    },
    /// Recorded by an engine whose fuel counts and results need not be ours. No sign of tampering.
    #[error(
        "it was recorded by {} {} with settings {}, and this is {} {} with settings {}; replay it with that version",
        recorded.name, recorded.version, short(&recorded.config), ours.name, ours.version, short(&ours.config)
    )]
    OtherEngine {
        /// What recorded it.
        recorded: Box<EngineFingerprint>,
        /// What this is.
        ours: Box<EngineFingerprint>,
    },
    /// The first entry holds something that this version does not understand.
    #[error("its first entry holds {0}, which this version does not understand")]
    Genesis(&'static str),
    /// A tool that was given is not one that the run used.
    #[error("{name} is not one of the tools of this run")]
    OtherTool {
        /// The plugin.
        name: String,
    },
    /// The given tools do not go together.
    #[error(transparent)]
    Tools(#[from] ToolError),
}

/// Why a branch did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BranchError {
    /// It cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// No such entry, or not one that answers a call of the agent.
    #[error("entry {at} is not a call of the agent; the last one before it is entry {nearest}")]
    NotACall {
        /// The entry that was named.
        at: Seq,
        /// The nearest one that can be.
        nearest: Seq,
    },
    /// A generation was running, and what the model would have said next is not in the journal.
    #[error(
        "at entry {at} a generation is running that began at entry {began}; branch at entry {nearest} or after its end"
    )]
    InsideGeneration {
        /// The entry that was named.
        at: Seq,
        /// Where the generation began.
        began: Seq,
        /// The nearest entry that can be.
        nearest: Seq,
    },
    /// Before coming to the entry, the run differed from its journal.
    #[error("before entry {at} the run differs from its journal: {divergence}")]
    Diverged {
        /// The entry that was named.
        at: Seq,
        /// How.
        divergence: Box<Divergence>,
    },
    /// The run itself failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// In what a run differs from its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Another execution (agent or tool) calls.
    Frame,
    /// Another function is called.
    Function,
    /// The same function is called with other arguments.
    Request,
    /// The same call is made after more or fewer instructions.
    Fuel,
    /// The recorded answer is not one of this function.
    Response,
    /// A tool, run again, answers otherwise or offers other tools.
    ToolAnswer,
    /// The run ends where the journal goes on.
    EndsEarly,
    /// The run goes on where the journal ends.
    GoesOn,
    /// It ends otherwise.
    Outcome,
    /// It ends the same way with another reply.
    Output,
}

impl Difference {
    /// A word for programs. It does not change.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Frame => "replay.frame",
            Self::Function => "replay.function",
            Self::Request => "replay.request",
            Self::Fuel => "replay.fuel",
            Self::Response => "replay.response",
            Self::ToolAnswer => "replay.tool-answer",
            Self::EndsEarly => "replay.ends-early",
            Self::GoesOn => "replay.goes-on",
            Self::Outcome => "replay.outcome",
            Self::Output => "replay.output",
        }
    }
}

/// The first point at which a run differs from its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The entry that does not fit; `None` past the last one.
    pub entry: Option<Seq>,
    /// The execution: 0 is the agent.
    pub frame: u32,
    /// In what.
    pub what: Difference,
    /// What the journal says.
    pub recorded: String,
    /// What happened now.
    pub now: String,
}

impl std::fmt::Display for Divergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.entry {
            Some(entry) => write!(f, "entry {entry}: ")?,
            None => f.write_str("past the last entry: ")?,
        }
        if self.frame != 0 {
            write!(f, "in tool run {}: ", self.frame)?;
        }
        write!(f, "recorded {}; now {}", self.recorded, self.now)
    }
}

impl Divergence {
    /// Two requests of one function, at the place where they part.
    pub(crate) fn requests(
        entry: Seq,
        frame: u32,
        function: &str,
        recorded: &[u8],
        now: &[u8],
    ) -> Self {
        let (recorded, now) = part(&readable(recorded), &readable(now));
        Self {
            entry: Some(entry),
            frame,
            what: Difference::Request,
            recorded: format!("{function} with {recorded}"),
            now: format!("with {now}"),
        }
    }
}

/// Longest excerpt of a request in a sentence, in characters.
const EXCERPT: usize = 160;

fn readable(request: &[u8]) -> String {
    cbor::to_json(request).map_or_else(
        |_| format!("{} unreadable bytes", request.len()),
        |json| json.to_string(),
    )
}

/// The parts of two texts around their first difference.
fn part(a: &str, b: &str) -> (String, String) {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(EXCERPT / 2);
    let cut = |text: &str| {
        let mut out = String::from(if from > 0 { "…" } else { "" });
        out.extend(text.chars().skip(from).take(EXCERPT));
        if text.chars().count() > from + EXCERPT {
            out.push('…');
        }
        out
    };
    (cut(a), cut(b))
}

fn hex(digest: &Digest) -> String {
    blake3::Hash::from_bytes(*digest.as_bytes())
        .to_hex()
        .to_string()
}

fn short(digest: &Digest) -> String {
    hex(digest)[..12].to_owned()
}

/// Goes along a journal's entries as a run is executed again.
pub(crate) struct Cursor {
    journal: Arc<Journal>,
    at: u64,
    /// The first entry that a branch does not take.
    branch: Option<u64>,
    compare_fuel: bool,
    last_callee: Option<Callee>,
    compared: u64,
    taken_as_recorded: Vec<(u32, Digest)>,
}

/// A tool run that the journal holds.
pub(crate) struct RecordedFrame {
    pub(crate) entry: Seq,
    pub(crate) frame: u32,
    pub(crate) component: Digest,
    pub(crate) request: Vec<u8>,
    pub(crate) grant: Vec<u8>,
}

pub(crate) enum Next<'a> {
    Call { entry: Seq, call: Call<'a> },
    Branch,
    Ends,
    Differs(Divergence),
}

impl Cursor {
    fn new(journal: Arc<Journal>, branch: Option<u64>, compare_fuel: bool) -> Self {
        Self {
            journal,
            at: 1,
            branch,
            compare_fuel,
            last_callee: None,
            compared: 0,
            taken_as_recorded: Vec::new(),
        }
    }

    /// The place of the next entry that is not an intent: intents are answered by their calls.
    fn next_seq(&self) -> u64 {
        let mut at = self.at;
        while let Some(Body::Intent(_)) = self.journal.get(Seq::new(at)).map(|entry| entry.body) {
            at += 1;
        }
        at
    }

    pub(crate) fn is_at_branch(&self) -> bool {
        self.branch.is_some_and(|branch| self.next_seq() >= branch)
    }

    pub(crate) fn compares_fuel(&self) -> bool {
        self.compare_fuel
    }

    pub(crate) fn last_callee(&self) -> Option<Callee> {
        self.last_callee
    }

    /// Compares a call with the next entry and goes past it.
    pub(crate) fn call(
        &mut self,
        frame: u32,
        function: &str,
        request: &[u8],
        fuel: u64,
    ) -> Next<'_> {
        if self.is_at_branch() {
            return Next::Branch;
        }
        self.at = self.next_seq();
        let entry = Seq::new(self.at);
        let differs = |what, recorded: String, now: String| {
            Next::Differs(Divergence {
                entry: Some(entry),
                frame,
                what,
                recorded,
                now,
            })
        };
        let Some(body) = self.journal.get(entry).map(|entry| entry.body) else {
            return Next::Ends;
        };
        let call = match body {
            Body::Call(call) => call,
            Body::End(end) if is_cut(&end) => return Next::Ends,
            Body::End(end) => {
                return differs(
                    Difference::GoesOn,
                    format!("the end of the run ({})", end.outcome.name()),
                    format!(
                        "a call of {function} with {}",
                        part(&readable(request), "").0
                    ),
                );
            }
            Body::Enter(_) => {
                return differs(
                    Difference::Function,
                    "the start of a tool".into(),
                    format!("a call of {function}"),
                );
            }
            Body::Genesis | Body::Intent(_) => {
                return differs(
                    Difference::Function,
                    "no call".into(),
                    format!("a call of {function}"),
                );
            }
        };
        if call.frame.get() != frame {
            return differs(
                Difference::Frame,
                format!("a call by execution {}", call.frame),
                format!("a call by execution {frame}"),
            );
        }
        if call.function != function {
            return differs(
                Difference::Function,
                format!(
                    "a call of {} with {}",
                    call.function,
                    part(&readable(call.request), "").0
                ),
                format!(
                    "a call of {function} with {}",
                    part(&readable(request), "").0
                ),
            );
        }
        if call.request != request {
            return Next::Differs(Divergence::requests(
                entry,
                frame,
                function,
                call.request,
                request,
            ));
        }
        if self.compare_fuel && call.fuel != fuel {
            return differs(
                Difference::Fuel,
                format!("{function} after {} fuel", call.fuel),
                format!("after {fuel}: other instructions were executed before it"),
            );
        }
        self.at += 1;
        self.compared += 1;
        self.last_callee = call.callee;
        Next::Call { entry, call }
    }

    /// The tool run that begins at the next entry, when `parent` is the one who started it.
    pub(crate) fn entered(&mut self, parent: u32) -> Option<RecordedFrame> {
        if self.is_at_branch() {
            return None;
        }
        let entry = Seq::new(self.next_seq());
        match self.journal.get(entry)?.body {
            Body::Enter(enter) if enter.parent.get() == parent => Some(RecordedFrame {
                entry,
                frame: enter.frame.get(),
                component: enter.component,
                request: enter.request.to_vec(),
                grant: enter.grant.to_vec(),
            }),
            _ => None,
        }
    }

    /// Goes past the next entry, repeating it in a branch's journal.
    pub(crate) fn take_entry(
        &mut self,
        writer: Option<&mut Writer<AnySink>>,
    ) -> Result<(), WriteError> {
        self.at = self.next_seq();
        let body = self.journal.get(Seq::new(self.at)).map(|entry| entry.body);
        self.at += 1;
        match (body, writer) {
            (Some(Body::Enter(enter)), Some(writer)) => writer.enter(&enter).map(|_| ()),
            (Some(Body::Call(call)), Some(writer)) => writer
                .call(&Call {
                    intent: None,
                    ..call
                })
                .map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Goes past the entries of a tool that is not run again, up to the call that it answers.
    pub(crate) fn skip_frame(
        &mut self,
        recorded: &RecordedFrame,
        mut writer: Option<&mut Writer<AnySink>>,
    ) -> Result<(), WriteError> {
        self.taken_as_recorded
            .push((recorded.frame, recorded.component));
        loop {
            let at = self.next_seq();
            match self.journal.get(Seq::new(at)).map(|entry| entry.body) {
                None | Some(Body::End(_)) => return Ok(()),
                Some(Body::Call(Call {
                    callee: Some(callee),
                    ..
                })) if callee.frame.get() == recorded.frame => {
                    return Ok(());
                }
                Some(_) => self.take_entry(writer.as_deref_mut())?,
            }
        }
    }
}

/// Whether a run was ended from outside, so that executing it again goes past its end.
fn is_cut(end: &End<'_>) -> bool {
    match end.outcome {
        Ending::Cancelled | Ending::HostFailed { .. } => true,
        Ending::Exhausted { limit } => limit == Exhausted::WallTime.name(),
        _ => false,
    }
}

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayVerdict {
    /// The same calls, the same fuel, the same end.
    Identical,
    /// The same up to where the journal, or the run, was cut.
    IdenticalToCut,
    /// This is the first difference.
    Differs(Divergence),
}

/// A replay and what it covered.
#[derive(Clone, Debug)]
pub struct ReplayReport {
    /// What it found.
    pub verdict: ReplayVerdict,
    /// Host calls that were compared.
    pub calls: u64,
    /// Fuel that was used.
    pub fuel: u64,
    /// How the journal says it ended.
    pub recorded_outcome: Option<String>,
    /// How far the journal goes.
    pub completeness: Completeness,
    /// Tool runs whose answers were taken as recorded because their components were not given: frame and component.
    pub not_executed_again: Vec<(u32, Digest)>,
    /// Calls that were about to leave the machine when the journal was cut: whether they did is not known.
    pub in_doubt: Vec<Seq>,
    /// Set when the component is not the recorded one, which was allowed.
    pub other_component: bool,
    /// How long it took.
    pub wall: Duration,
}

impl ReplayReport {
    /// Whether nothing differs.
    pub fn is_identical(&self) -> bool {
        !matches!(self.verdict, ReplayVerdict::Differs(_))
    }

    /// The verdict as a sentence for a person.
    pub fn sentence(&self) -> String {
        match &self.verdict {
            ReplayVerdict::Identical => format!(
                "identical: {} calls, {} fuel, same end",
                self.calls, self.fuel
            ),
            ReplayVerdict::IdenticalToCut => {
                format!("identical up to the cut: {} calls", self.calls)
            }
            ReplayVerdict::Differs(divergence) => divergence.to_string(),
        }
    }
}

struct NoChance;

impl Entropy for NoChance {
    fn fill(&self, _bytes: &mut [u8]) -> std::io::Result<()> {
        Err(std::io::Error::other(
            "a replay takes chance from the journal",
        ))
    }
}

impl Engine {
    /// Executes a recorded run again and compares.
    ///
    /// `tools` are the plugins whose components are at hand; the others' answers are taken as recorded.
    pub async fn replay(
        &self,
        journal: &Arc<Journal>,
        component: &Component,
        tools: Vec<ToolPlugin>,
        options: ReplayOptions,
    ) -> Result<ReplayReport, ReplayError> {
        let began = Instant::now();
        self.check_replayable(journal, component, &tools, options)?;
        let genesis = journal.genesis();
        let mut limits = limits::from_named(&genesis.terms.limits)
            .ok_or(ReplayError::Genesis("other limits"))?;
        let input: Input = cbor::decode(&genesis.input)
            .map_err(|_| ReplayError::Genesis("another kind of input"))?;
        let end = journal.end();
        if let Some(end) = end.filter(is_cut) {
            // Stop where it was stopped, even if no call comes any more.
            limits.fuel = limits.fuel.min(tally_capability::Fuel::new(end.fuel));
        }
        let same = genesis.terms.component == component.digest();
        let cursor = Cursor::new(journal.clone(), None, same);
        let session =
            SharedSession::new(Session::new(None, Some(cursor), Box::new(NoOutput), limits));
        let services = Services {
            inference: Arc::new(NoInference),
            vault: Arc::new(NoVault),
            memory: Arc::new(NoMemory),
            clock: Arc::new(Nowhen),
            entropy: Arc::new(NoChance),
        };
        let shared = Arc::new(Shared {
            given: Arc::new(Given {
                engine: self.clone(),
                settings: Box::default(),
                tools: ToolSet::new(tools.into_iter().map(Arc::new).collect())?,
            }),
            services,
            input,
            run: genesis.run_id,
            first_entry: None,
            seed: genesis.wasi_seed,
            clock_base: run::duration(genesis.clock_base),
        });
        // Nobody asks it during replay.
        let policy = Policy::resolve(component.manifest(), &Grant::default(), &component.digest())
            .expect("a grant for any component is for this one");
        let pool = self.pool(component.pool());
        let frame = self
            .agent(
                pool,
                component,
                Arc::new(policy),
                &limits,
                session.clone(),
                shared,
                Deadline::never(),
                None,
            )
            .await;
        let session = session
            .into_inner()
            .expect("the frames of the run are gone");
        let cursor = session
            .replay
            .expect("a replay without a branch keeps its cursor");
        let fuel = frame.fuel;
        let verdict = match session.divergence {
            Some(divergence) => ReplayVerdict::Differs(divergence),
            None => judge(journal, &cursor, frame, same),
        };
        Ok(ReplayReport {
            verdict,
            calls: cursor.compared,
            fuel,
            recorded_outcome: end.map(|end| outcome_words(&end.outcome)),
            completeness: journal.completeness(),
            not_executed_again: cursor.taken_as_recorded,
            in_doubt: journal.in_doubt().collect(),
            other_component: !same,
            wall: began.elapsed(),
        })
    }

    fn check_replayable(
        &self,
        journal: &Journal,
        component: &Component,
        tools: &[ToolPlugin],
        options: ReplayOptions,
    ) -> Result<(), ReplayError> {
        let genesis = journal.genesis();
        if component.kind() != ComponentKind::Agent {
            return Err(ReplayError::NotAnAgent);
        }
        // Before the component: a newer engine's journal is no other component's.
        if genesis.terms.engine != *self.fingerprint() {
            return Err(ReplayError::OtherEngine {
                recorded: Box::new(genesis.terms.engine.clone()),
                ours: Box::new(self.fingerprint().clone()),
            });
        }
        if genesis.terms.component != component.digest() && !options.allow_other_component {
            return Err(ReplayError::OtherComponent {
                recorded: genesis.terms.component,
                given: component.digest(),
            });
        }
        for tool in tools {
            if !genesis
                .terms
                .tools
                .iter()
                .any(|(_, digest)| *digest == tool.component().digest())
            {
                return Err(ReplayError::OtherTool {
                    name: tool.name().to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Replays a run up to and including entry `at`, then goes on live, into a journal of its own.
    ///
    /// The plan must be of the recorded component. The input is the recorded one; `start.input` is not used.
    pub async fn branch(
        &self,
        journal: &Arc<Journal>,
        at: Seq,
        plan: &Plan,
        mut start: Start,
    ) -> Result<RunReport, BranchError> {
        self.check_replayable(journal, plan.component(), &[], ReplayOptions::default())?;
        check_branch(journal, at)?;
        let genesis = journal.genesis();
        start.input = cbor::decode(&genesis.input)
            .map_err(|_| ReplayError::Genesis("another kind of input"))?;
        let entry = journal.get(at).expect("the entry was found above");
        let from = run::From {
            cursor: Cursor::new(journal.clone(), Some(at.get() + 1), true),
            point: BranchPoint {
                head: entry.hash,
                entry: at,
            },
            seed: genesis.wasi_seed,
            clock_base: genesis.clock_base,
        };
        match self.run_from(plan, start, Some(from)).await {
            Err(RunError::Diverged(divergence)) => Err(BranchError::Diverged { at, divergence }),
            other => Ok(other?),
        }
    }
}

/// What the end of a replay says, when no call differed.
fn judge(
    journal: &Journal,
    cursor: &Cursor,
    frame: Frame<Result<Reply, Error>>,
    same: bool,
) -> ReplayVerdict {
    if let Err(Ended::Stopped(Stop::JournalEnds)) = &frame.result {
        return ReplayVerdict::IdenticalToCut;
    }
    let at = Seq::new(cursor.next_seq());
    let next = journal.get(at).map(|entry| entry.body);
    let differs = |what, recorded: String, now: String| {
        ReplayVerdict::Differs(Divergence {
            entry: next.map(|_| at),
            frame: 0,
            what,
            recorded,
            now,
        })
    };
    let fuel = frame.fuel;
    let Some(outcome) = frame.outcome() else {
        return differs(
            Difference::Outcome,
            "a run".into(),
            "the replay itself was stopped".into(),
        );
    };
    let now = outcome_words(&outcome.ending());
    match next {
        // Cut before the end was written: the run may have ended like this.
        None => ReplayVerdict::IdenticalToCut,
        Some(Body::End(end)) if is_cut(&end) => {
            if fuel >= end.fuel || matches!(outcome, Outcome::Exhausted(Exhausted::Fuel)) {
                ReplayVerdict::IdenticalToCut
            } else {
                differs(
                    Difference::EndsEarly,
                    format!("stopped after {} fuel", end.fuel),
                    now,
                )
            }
        }
        Some(Body::End(end)) => {
            let recorded = outcome_words(&end.outcome);
            if end.outcome != outcome.ending() {
                return differs(Difference::Outcome, recorded, now);
            }
            let output = outcome
                .output()
                .map(|output| cbor::encode(&output))
                .transpose();
            match output {
                Ok(output) if output.as_deref() == end.output => {}
                Ok(output) => {
                    let (recorded, now) = part(
                        &end.output.map(readable).unwrap_or_default(),
                        &output.as_deref().map(readable).unwrap_or_default(),
                    );
                    return differs(
                        Difference::Output,
                        format!("the reply {recorded}"),
                        format!("the reply {now}"),
                    );
                }
                Err(error) => return differs(Difference::Output, recorded, error.to_string()),
            }
            // How deep a stack goes depends on how the machine's code spills registers, not on what the guest does.
            let comparable = same && outcome != Outcome::Exhausted(Exhausted::Stack);
            if comparable && end.fuel != fuel {
                return differs(
                    Difference::Fuel,
                    format!("{recorded} after {} fuel", end.fuel),
                    format!("after {}", fuel),
                );
            }
            ReplayVerdict::Identical
        }
        Some(Body::Call(call)) => differs(
            Difference::EndsEarly,
            format!(
                "a call of {} with {}",
                call.function,
                part(&readable(call.request), "").0
            ),
            format!("the end of the run ({now})"),
        ),
        Some(_) => differs(
            Difference::EndsEarly,
            "the start of a tool".into(),
            format!("the end of the run ({now})"),
        ),
    }
}

fn outcome_words(outcome: &Ending<'_>) -> String {
    match outcome {
        Ending::Trapped { reason } => format!("trapped: {reason}"),
        Ending::Exhausted { limit } => format!("limit used up: {limit}"),
        other => other.name().to_owned(),
    }
}

/// A branch begins after a call of the agent, outside tools, with no generation running.
fn check_branch(journal: &Journal, at: Seq) -> Result<(), BranchError> {
    let mut open_frames = 0u32;
    let mut running: Vec<(u64, Seq)> = Vec::new();
    let mut nearest = None;
    let mut generations = 0;
    for entry in journal.entries().take_while(|entry| entry.seq <= at) {
        match entry.body {
            Body::Enter(_) => open_frames += 1,
            Body::Call(call) => {
                open_frames -= u32::from(call.callee.is_some());
                if call.frame.get() == 0 {
                    track(&call, entry.seq, &mut running, &mut generations);
                }
                if open_frames == 0 && call.frame.get() == 0 && running.is_empty() {
                    nearest = Some(entry.seq);
                }
            }
            _ => {}
        }
    }
    if nearest == Some(at) {
        return Ok(());
    }
    let is_call = matches!(journal.get(at).map(|entry| entry.body), Some(Body::Call(call)) if call.frame.get() == 0);
    let nearest = nearest.unwrap_or(Seq::GENESIS);
    match running.first() {
        Some((_, began)) if is_call => Err(BranchError::InsideGeneration {
            at,
            began: *began,
            nearest,
        }),
        _ => Err(BranchError::NotACall { at, nearest }),
    }
}

/// Notes which generations run.
fn track(call: &Call<'_>, seq: Seq, running: &mut Vec<(u64, Seq)>, generations: &mut u64) {
    use crate::effects::{GENERATION_NEXT, INFERENCE_CHAT};
    let answer = cbor::to_json(call.response).unwrap_or_default();
    if call.function == INFERENCE_CHAT.name && answer.get("ok").is_some() {
        running.push((*generations, seq));
        *generations += 1;
    } else if call.function == GENERATION_NEXT.name {
        let ended = answer
            .get("ok")
            .is_some_and(|event| event.is_null() || event.get("done").is_some());
        let request = cbor::to_json(call.request).unwrap_or_default();
        if let (true, Some(id)) = (
            ended,
            request.get("self").and_then(serde_json::Value::as_u64),
        ) {
            running.retain(|(running, _)| *running != id);
        }
    }
}

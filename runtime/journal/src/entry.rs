//! What a journal says, as types. How it is laid out in bytes is `encode` and `decode`, and `docs/journal.md`.
//!
//! A value (`request`, `response`, `input`, …) is the bytes of one CBOR item that the engine made from WIT values.
//! This crate carries values and hashes them; it does not interpret them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::hash::EntryHash;
use crate::terms::SettledTerms;
use tally_receipt::{Digest, RunId};

/// Place of an entry in its journal, counted from zero. Blobs and the seal have no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

impl Seq {
    /// The first entry.
    pub const GENESIS: Self = Self(0);

    /// The entry with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One execution inside a run: 0 is the agent, each run of a tool plugin gets the next number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(u32);

impl FrameId {
    /// The agent itself.
    pub const AGENT: Self = Self(0);

    /// The frame with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment, in nanoseconds since 1970-01-01T00:00:00Z: until the year 2554.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

const NANOSECONDS: u64 = 1_000_000_000;

impl Timestamp {
    /// `seconds` and `nanoseconds` since the epoch; none when the nanoseconds make a second or more, or it is too late.
    pub const fn new(seconds: u64, nanoseconds: u32) -> Option<Self> {
        if nanoseconds as u64 >= NANOSECONDS {
            return None;
        }
        match seconds.checked_mul(NANOSECONDS) {
            Some(whole) => match whole.checked_add(nanoseconds as u64) {
                Some(all) => Some(Self(all)),
                None => None,
            },
            None => None,
        }
    }

    /// Nanoseconds since the epoch.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Time since the epoch; the last moment there is when it is later.
    pub const fn from_epoch(elapsed: std::time::Duration) -> Self {
        match Self::new(elapsed.as_secs(), elapsed.subsec_nanos()) {
            Some(at) => at,
            None => Self(u64::MAX),
        }
    }

    /// Whole seconds.
    pub const fn seconds(self) -> u64 {
        self.0 / NANOSECONDS
    }

    /// What goes beyond the whole seconds, below 1,000,000,000.
    pub const fn nanoseconds(self) -> u32 {
        (self.0 % NANOSECONDS) as u32
    }

    /// All of it in nanoseconds.
    pub const fn as_nanoseconds(self) -> u64 {
        self.0
    }
}

/// What a host function does to the world. It decides how a call is journaled, retried and replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EffectClass {
    /// Answers from its arguments alone.
    Pure = 0,
    /// Reads something of this machine: a clock, chance, a setting.
    ReadLocal = 1,
    /// Changes something of this machine.
    WriteLocal = 2,
    /// Reads something beyond this machine.
    ReadRemote = 3,
    /// Changes something beyond this machine. An intent is durable before it happens.
    WriteRemote = 4,
}

impl EffectClass {
    /// All classes, by number.
    pub const ALL: [Self; 5] = [
        Self::Pure,
        Self::ReadLocal,
        Self::WriteLocal,
        Self::ReadRemote,
        Self::WriteRemote,
    ];

    /// The number it has in the file.
    pub const fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::ReadLocal => "read-local",
            Self::WriteLocal => "write-local",
            Self::ReadRemote => "read-remote",
            Self::WriteRemote => "write-remote",
        }
    }
}

/// Which engine executed. Fuel counts and results are comparable only between equal fingerprints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFingerprint {
    /// For example `wasmtime`.
    pub name: String,
    /// For example `48.0.1`.
    pub version: String,
    /// Digest of every setting that changes what a guest can observe.
    pub config: Digest,
}

/// Where a branched run left its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchPoint {
    /// Hash of the parent's entry at `entry`.
    pub head: EntryHash,
    /// The last entry taken from the parent.
    pub entry: Seq,
}

/// What is settled before a run begins, and is the same for each run of the same component under the same grant. It
/// stands in a frame of its own before the first entry, so it is encoded and hashed once and not once for each run: see
/// [`SettledTerms`](crate::SettledTerms).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Digest of the component's bytes.
    pub component: Digest,
    /// For example `tally:agent/agent@0.1.0`.
    pub world: String,
    /// What executes it.
    pub engine: EngineFingerprint,
    /// Digest of the component's manifest.
    pub manifest: Digest,
    /// The grant, as canonical JSON. At most [`MAX_GRANT_LEN`](crate::limits::MAX_GRANT_LEN) bytes.
    pub grant: Vec<u8>,
    /// The effective limits, by name. Sorted by name, no name twice.
    pub limits: Vec<(String, u64)>,
    /// Settings given for the run. Sorted by name, no name twice.
    pub settings: Vec<(String, String)>,
    /// Digest of the component of each tool the run may call. Sorted by name, no name twice.
    pub tools: Vec<(String, Digest)>,
    /// The host functions that entries may name, for example `tally:agent/env@0.1.0#now`. Sorted, none twice.
    pub functions: Vec<Cow<'static, str>>,
}

/// Everything that determines a run except what its host calls answered. The first entry, and the terms before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// What was settled before.
    pub terms: Arc<SettledTerms>,
    /// This run.
    pub run_id: RunId,
    /// What the handler was given: a value.
    pub input: Vec<u8>,
    /// Digest of the weights of each model the run may use. Sorted by name, no name twice.
    pub models: Vec<(String, Digest)>,
    /// Seeds the deterministic WASI random sources.
    pub wasi_seed: [u8; 32],
    /// What the deterministic WASI clocks start from.
    pub clock_base: Timestamp,
    /// When the run was started.
    pub started: Timestamp,
    /// Set when this run continues another from the middle.
    pub branch_of: Option<BranchPoint>,
}

/// A call that is about to be made, durable before the effect leaves the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent<'a, V = &'a [u8]> {
    /// Who calls.
    pub frame: FrameId,
    /// For example `tally:agent/inference@0.1.0#chat`: one of the terms' functions.
    pub function: &'a str,
    /// What it does to the world.
    pub class: EffectClass,
    /// The arguments: a value.
    pub request: V,
    /// Fuel used when the call was made.
    pub fuel: u64,
}

/// A tool plugin's run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enter<'a, V = &'a [u8]> {
    /// The number of this frame: one more than the last frame entered, the first being 1.
    pub frame: FrameId,
    /// The frame that called the tool.
    pub parent: FrameId,
    /// Digest of the tool's component.
    pub component: Digest,
    /// The export that runs, for example `tally:agent/tools@0.1.0#call`.
    pub export: &'a str,
    /// Its arguments: a value.
    pub request: V,
    /// The tool's own grant, as canonical JSON. At most [`MAX_GRANT_LEN`](crate::limits::MAX_GRANT_LEN) bytes.
    pub grant: &'a [u8],
}

/// What the policy said about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It was carried out.
    Allowed {
        /// The rule that allowed it.
        rule: &'a str,
    },
    /// It was not carried out; the response is the typed refusal that the guest saw.
    Denied {
        /// Why, as a sentence.
        reason: &'a str,
    },
}

/// How the tool run ended that a call started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callee {
    /// The frame, which this entry closes.
    pub frame: FrameId,
    /// Fuel the frame used in all.
    pub fuel: u64,
}

/// A receipt that a call brought, and what shows that it is about the words in the journal: the journal holds them in the
/// clear, so with the salts whoever reads it can compute the receipt's commitments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brought<V> {
    /// The DSSE envelope, as JSON.
    pub envelope: V,
    /// Opens the receipt's commitment to the request.
    pub asked: Option<[u8; 32]>,
    /// Opens the receipt's commitment to the answer: to the text of a generation, or to the vectors of an embedding.
    pub answered: Option<[u8; 32]>,
}

impl<V> Brought<V> {
    /// A receipt of which nothing can be opened.
    pub const fn closed(envelope: V) -> Self {
        Self {
            envelope,
            asked: None,
            answered: None,
        }
    }

    /// The same with another envelope.
    pub fn map<W>(self, envelope: impl FnOnce(V) -> W) -> Brought<W> {
        Brought {
            envelope: envelope(self.envelope),
            asked: self.asked,
            answered: self.answered,
        }
    }
}

/// A host call that has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a, V = &'a [u8]> {
    /// Who called.
    pub frame: FrameId,
    /// For example `tally:agent/env@0.1.0#now`: one of the terms' functions.
    pub function: &'a str,
    /// What it does to the world.
    pub class: EffectClass,
    /// The intent that this call fulfils, if one was written. Its request is then not stored twice.
    pub intent: Option<Seq>,
    /// The arguments: a value.
    pub request: V,
    /// What the policy said.
    pub decision: Decision<'a>,
    /// Fuel used when the call was made: a pure function of what the guest executed.
    pub fuel: u64,
    /// What the guest was told: a value.
    pub response: V,
    /// The receipt that this call brought.
    pub receipt: Option<Brought<V>>,
    /// The tool run that this call started and that is now over.
    pub callee: Option<Callee>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The handler returned a reply.
    Replied,
    /// The handler returned an error.
    Failed,
    /// The guest trapped.
    Trapped {
        /// Why, as the engine says it.
        reason: &'a str,
    },
    /// A limit of the run stopped it.
    Exhausted {
        /// The limit's name.
        limit: &'a str,
    },
    /// Whoever started the run stopped it.
    Cancelled,
    /// The host failed: not the guest's doing.
    HostFailed {
        /// Why, as the host says it.
        reason: &'a str,
    },
}

impl Outcome<'_> {
    /// The word for it, stable for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Replied => "replied",
            Self::Failed => "failed",
            Self::Trapped { .. } => "trapped",
            Self::Exhausted { .. } => "exhausted",
            Self::Cancelled => "cancelled",
            Self::HostFailed { .. } => "host-failed",
        }
    }
}

/// The run is over. The last entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a, V = &'a [u8]> {
    /// How it ended.
    pub outcome: Outcome<'a>,
    /// What the handler returned (a reply or an error): a value. Absent when it did not return.
    pub output: Option<V>,
    /// Fuel used in all.
    pub fuel: u64,
    /// When it ended.
    pub ended: Timestamp,
}

/// What one entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a, V = &'a [u8]> {
    /// The first entry; [`Journal::genesis`](crate::Journal::genesis) holds it.
    Genesis,
    /// A call is about to be made.
    Intent(Intent<'a, V>),
    /// A tool's run begins.
    Enter(Enter<'a, V>),
    /// A call has returned.
    Call(Call<'a, V>),
    /// The run is over.
    End(End<'a, V>),
}

/// One entry of a parsed journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its place.
    pub seq: Seq,
    /// Its hash.
    pub hash: EntryHash,
    /// What it says.
    pub body: Body<'a>,
}

/// Where a journal stands: what a run receipt signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Hash of the last entry.
    pub hash: EntryHash,
    /// How many entries there are.
    pub entries: u64,
}

//! Entries to bytes: deterministic CBOR (RFC 8949, section 4.2.1), written straight into a buffer that is used again
//! for every entry. The reader encodes what it decoded with these same functions and compares, so there is exactly one
//! way to write each entry.

use crate::entry::{
    BranchPoint, Call, Decision, End, Enter, FrameId, Genesis, Intent, Outcome, Seq, Timestamp,
};
use crate::hash::EntryHash;
use tally_receipt::RunId;

/// First element of a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Genesis = 0,
    Intent = 1,
    Enter = 2,
    Call = 3,
    End = 4,
    Blob = 8,
    Seal = 9,
}

impl Kind {
    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Genesis,
            1 => Self::Intent,
            2 => Self::Enter,
            3 => Self::Call,
            4 => Self::End,
            8 => Self::Blob,
            9 => Self::Seal,
            _ => return None,
        })
    }

    pub(crate) const fn is_entry(self) -> bool {
        !matches!(self, Self::Blob | Self::Seal)
    }
}

/// A value as it stands in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    /// The bytes themselves.
    Inline(&'a [u8]),
    /// Frame hash of the blob frame that holds the bytes.
    Blob(EntryHash),
    /// The request of an earlier intent.
    Of(Seq),
}

/// The fields that every entry begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    pub(crate) seq: Seq,
    pub(crate) run: RunId,
    pub(crate) prev: EntryHash,
}

const UNSIGNED: u8 = 0 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;
const NULL: u8 = 0xf6;

/// Number of elements of each kind of entry, the lead's included.
pub(crate) const fn arity(kind: Kind) -> u64 {
    match kind {
        Kind::Genesis => 18,
        Kind::Intent => 9,
        Kind::Enter => 10,
        Kind::Call => 13,
        Kind::End => 8,
        Kind::Blob | Kind::Seal => 2,
    }
}

/// Head of one data item, in its shortest form.
#[inline]
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major | bytes[7]),
        24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..=0xffff => out.extend_from_slice(&[major | 25, bytes[6], bytes[7]]),
        0x1_0000..=0xffff_ffff => {
            out.extend_from_slice(&[major | 26, bytes[4], bytes[5], bytes[6], bytes[7]]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

#[inline]
fn unsigned(out: &mut Vec<u8>, value: u64) {
    head(out, UNSIGNED, value);
}

#[inline]
fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    head(out, BYTES, value.len() as u64);
    out.extend_from_slice(value);
}

#[inline]
fn text(out: &mut Vec<u8>, value: &str) {
    head(out, TEXT, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

#[inline]
fn array(out: &mut Vec<u8>, len: usize) {
    head(out, ARRAY, len as u64);
}

#[inline]
fn stored(out: &mut Vec<u8>, value: Stored<'_>) {
    match value {
        Stored::Inline(value) => bytes(out, value),
        Stored::Blob(hash) => {
            array(out, 1);
            bytes(out, hash.as_bytes());
        }
        Stored::Of(seq) => unsigned(out, seq.get()),
    }
}

fn timestamp(out: &mut Vec<u8>, at: Timestamp) {
    array(out, 2);
    unsigned(out, at.seconds());
    unsigned(out, u64::from(at.nanoseconds()));
}

fn frame(out: &mut Vec<u8>, frame: FrameId) {
    unsigned(out, u64::from(frame.get()));
}

fn pairs<T>(out: &mut Vec<u8>, list: &[(String, T)], mut value: impl FnMut(&mut Vec<u8>, &T)) {
    array(out, list.len());
    for (name, item) in list {
        array(out, 2);
        text(out, name);
        value(out, item);
    }
}

fn lead(out: &mut Vec<u8>, kind: Kind, lead: &Lead) {
    head(out, ARRAY, arity(kind));
    unsigned(out, kind as u64);
    unsigned(out, lead.seq.get());
    bytes(out, lead.run.as_bytes());
    bytes(out, lead.prev.as_bytes());
}

pub(crate) fn genesis(out: &mut Vec<u8>, at: &Lead, entry: &Genesis, input: Stored<'_>) {
    lead(out, Kind::Genesis, at);
    bytes(out, entry.component.as_bytes());
    text(out, &entry.world);
    array(out, 3);
    text(out, &entry.engine.name);
    text(out, &entry.engine.version);
    bytes(out, entry.engine.config.as_bytes());
    bytes(out, entry.manifest.as_bytes());
    bytes(out, &entry.grant);
    pairs(out, &entry.limits, |out, value| unsigned(out, *value));
    stored(out, input);
    pairs(out, &entry.settings, |out, value| text(out, value));
    pairs(out, &entry.models, |out, value| {
        bytes(out, value.as_bytes())
    });
    pairs(out, &entry.tools, |out, value| bytes(out, value.as_bytes()));
    bytes(out, &entry.wasi_seed);
    timestamp(out, entry.clock_base);
    timestamp(out, entry.started);
    match entry.branch_of {
        None => out.push(NULL),
        Some(BranchPoint { head, entry }) => {
            array(out, 2);
            bytes(out, head.as_bytes());
            unsigned(out, entry.get());
        }
    }
}

pub(crate) fn intent(out: &mut Vec<u8>, at: &Lead, entry: &Intent<'_, Stored<'_>>) {
    lead(out, Kind::Intent, at);
    frame(out, entry.frame);
    text(out, entry.function);
    unsigned(out, u64::from(entry.class.code()));
    stored(out, entry.request);
    unsigned(out, entry.fuel);
}

pub(crate) fn enter(out: &mut Vec<u8>, at: &Lead, entry: &Enter<'_, Stored<'_>>) {
    lead(out, Kind::Enter, at);
    frame(out, entry.frame);
    frame(out, entry.parent);
    bytes(out, entry.component.as_bytes());
    text(out, entry.export);
    stored(out, entry.request);
    bytes(out, entry.grant);
}

pub(crate) fn call(out: &mut Vec<u8>, at: &Lead, entry: &Call<'_, Stored<'_>>) {
    lead(out, Kind::Call, at);
    frame(out, entry.frame);
    text(out, entry.function);
    unsigned(out, u64::from(entry.class.code()));
    stored(out, entry.request);
    array(out, 2);
    match entry.decision {
        Decision::Allowed { rule } => {
            unsigned(out, 0);
            text(out, rule);
        }
        Decision::Denied { reason } => {
            unsigned(out, 1);
            text(out, reason);
        }
    }
    unsigned(out, entry.fuel);
    stored(out, entry.response);
    match entry.receipt {
        None => out.push(NULL),
        Some(receipt) => stored(out, receipt),
    }
    // No field of its own for the intent: a request that is a number names it.
    match entry.callee {
        None => out.push(NULL),
        Some(callee) => {
            array(out, 2);
            frame(out, callee.frame);
            unsigned(out, callee.fuel);
        }
    }
}

pub(crate) fn end(out: &mut Vec<u8>, at: &Lead, entry: &End<'_, Stored<'_>>) {
    lead(out, Kind::End, at);
    array(out, 2);
    let (code, detail) = match entry.outcome {
        Outcome::Replied => (0, ""),
        Outcome::Failed => (1, ""),
        Outcome::Trapped { reason } => (2, reason),
        Outcome::Exhausted { limit } => (3, limit),
        Outcome::Cancelled => (4, ""),
        Outcome::HostFailed { reason } => (5, reason),
    };
    unsigned(out, code);
    text(out, detail);
    match entry.output {
        None => out.push(NULL),
        Some(output) => stored(out, output),
    }
    unsigned(out, entry.fuel);
    timestamp(out, entry.ended);
}

/// A blob or a seal: its kind and its bytes.
pub(crate) fn attached(out: &mut Vec<u8>, kind: Kind, value: &[u8]) {
    head(out, ARRAY, arity(kind));
    unsigned(out, kind as u64);
    bytes(out, value);
}

//! Entries to bytes: deterministic CBOR (RFC 8949, section 4.2.1), written straight into a buffer that is used again
//! for every entry: what an entry says, and apart from it the [`tail`] that is the same in all. The reader encodes what it decoded with these same functions and compares, so there is exactly one
//! way to write each entry.

use crate::entry::{
    BranchPoint, Brought, Call, Decision, End, Enter, FrameId, Genesis, Intent, Outcome, Seq,
    Terms, Timestamp,
};
use crate::hash::EntryHash;
use std::borrow::Cow;
use tally_receipt::{Digest, RunId};

/// First element of a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Genesis = 0,
    Intent = 1,
    Enter = 2,
    Call = 3,
    End = 4,
    Terms = 7,
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
            7 => Self::Terms,
            8 => Self::Blob,
            9 => Self::Seal,
            _ => return None,
        })
    }

    pub(crate) const fn is_entry(self) -> bool {
        !matches!(self, Self::Terms | Self::Blob | Self::Seal)
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

/// The fields that every entry has.
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
        Kind::Genesis => 10,
        Kind::Intent => 9,
        Kind::Enter => 10,
        Kind::Call => 13,
        Kind::End => 8,
        Kind::Terms => 10,
        Kind::Blob | Kind::Seal => 2,
    }
}

/// Head of one data item, in its shortest form. Nearly all are of one byte.
#[inline]
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    match u8::try_from(argument) {
        Ok(small @ 0..=23) => out.push(major | small),
        Ok(byte) => out.extend_from_slice(&[major | 24, byte]),
        Err(_) => long_head(out, major, argument),
    }
}

#[inline(never)]
fn long_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let bytes = argument.to_be_bytes();
    match argument {
        0..=0xffff => out.extend_from_slice(&[major | 25, bytes[6], bytes[7]]),
        0x1_0000..=0xffff_ffff => {
            out.extend_from_slice(&[major | 26, bytes[4], bytes[5], bytes[6], bytes[7]]);
        }
        _ => {
            let [a, b, c, d, e, f, g, h] = bytes;
            out.extend_from_slice(&[major | 27, a, b, c, d, e, f, g, h]);
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

/// The envelope alone where there is no salt; else a list, which is no blob's since it has three items.
fn brought(out: &mut Vec<u8>, receipt: &Brought<Stored<'_>>) {
    let salts = [receipt.asked, receipt.answered];
    if salts == [None, None] {
        return stored(out, receipt.envelope);
    }
    array(out, 3);
    stored(out, receipt.envelope);
    for salt in salts {
        match salt {
            None => out.push(NULL),
            Some(salt) => bytes(out, &salt),
        }
    }
}

fn timestamp(out: &mut Vec<u8>, at: Timestamp) {
    unsigned(out, at.as_nanoseconds());
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

/// What an entry begins with.
#[inline]
fn lead(out: &mut Vec<u8>, kind: Kind, lead: &Lead) {
    numbers(out, kind, [lead.seq.get()]);
}

/// Head and kind of an entry, and the numbers after them. Nearly all are small, and then they are put down at once.
#[inline]
fn numbers<const N: usize>(out: &mut Vec<u8>, kind: Kind, numbers: [u64; N]) {
    out.extend_from_slice(&[ARRAY | arity(kind) as u8, kind as u8]);
    if numbers.iter().all(|number| *number <= 23) {
        out.extend_from_slice(&numbers.map(|number| UNSIGNED | number as u8));
    } else {
        for number in numbers {
            unsigned(out, number);
        }
    }
}

/// What an entry ends with: run and predecessor, at places counted from the end, so that [`signpost`] finds them.
#[inline]
pub(crate) fn tail(lead: &Lead) -> [u8; TAIL_LEN] {
    let mut tail = [0; TAIL_LEN];
    tail[0] = RUN_HEAD;
    tail[1..=RUN_LEN].copy_from_slice(lead.run.as_bytes());
    tail[1 + RUN_LEN..3 + RUN_LEN].copy_from_slice(&PREV_HEAD);
    tail[3 + RUN_LEN..].copy_from_slice(lead.prev.as_bytes());
    tail
}

const RUN_LEN: usize = 16;
const PREV_LEN: usize = 32;
const RUN_HEAD: u8 = BYTES | RUN_LEN as u8;
const PREV_HEAD: [u8; 2] = [BYTES | 24, PREV_LEN as u8];
/// Bytes of an entry's last two elements, the run and the hash of the entry before it.
pub(crate) const TAIL_LEN: usize = 1 + RUN_LEN + 2 + PREV_LEN;
/// Bytes of the last element.
pub(crate) const PREV_ITEM_LEN: usize = 2 + PREV_LEN;
/// Bytes of the last element but one.
pub(crate) const RUN_ITEM_LEN: usize = 1 + RUN_LEN;

/// Run and predecessor of what looks like an entry, by its last bytes. None when they are something else.
pub(crate) fn signpost(payload: &[u8]) -> Option<(RunId, EntryHash)> {
    let tail = payload.last_chunk::<TAIL_LEN>()?;
    if tail[0] != RUN_HEAD || tail[1 + RUN_LEN..3 + RUN_LEN] != PREV_HEAD {
        return None;
    }
    let run = tail[1..].first_chunk::<RUN_LEN>()?;
    let prev = tail.last_chunk::<PREV_LEN>()?;
    Some((RunId::from_bytes(*run), EntryHash::from_bytes(*prev)))
}

pub(crate) fn terms(out: &mut Vec<u8>, terms: &Terms) {
    head(out, ARRAY, arity(Kind::Terms));
    unsigned(out, Kind::Terms as u64);
    bytes(out, terms.component.as_bytes());
    text(out, &terms.world);
    array(out, 3);
    text(out, &terms.engine.name);
    text(out, &terms.engine.version);
    bytes(out, terms.engine.config.as_bytes());
    bytes(out, terms.manifest.as_bytes());
    bytes(out, &terms.grant);
    pairs(out, &terms.limits, |out, value| unsigned(out, *value));
    pairs(out, &terms.settings, |out, value| text(out, value));
    pairs(out, &terms.tools, |out, value| bytes(out, value.as_bytes()));
    array(out, terms.functions.len());
    for function in &terms.functions {
        text(out, function);
    }
}

/// A first entry as it stands in the file: without its terms, and without what its lead says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beginning<'a> {
    pub(crate) input: Stored<'a>,
    pub(crate) models: Cow<'a, [(String, Digest)]>,
    pub(crate) wasi_seed: [u8; 32],
    pub(crate) clock_base: Timestamp,
    pub(crate) started: Timestamp,
    pub(crate) branch_of: Option<BranchPoint>,
}

impl<'a> Beginning<'a> {
    pub(crate) fn new(genesis: &'a Genesis, input: Stored<'a>) -> Self {
        Self {
            input,
            models: Cow::Borrowed(&genesis.models),
            wasi_seed: genesis.wasi_seed,
            clock_base: genesis.clock_base,
            started: genesis.started,
            branch_of: genesis.branch_of,
        }
    }
}

pub(crate) fn genesis(out: &mut Vec<u8>, at: &Lead, entry: &Beginning<'_>) {
    lead(out, Kind::Genesis, at);
    stored(out, entry.input);
    pairs(out, &entry.models, |out, value| {
        bytes(out, value.as_bytes())
    });
    bytes(out, &entry.wasi_seed);
    if entry.clock_base == entry.started {
        out.push(NULL);
    } else {
        timestamp(out, entry.clock_base);
    }
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

/// `function` is the place of the function among the terms'.
pub(crate) fn intent(
    out: &mut Vec<u8>,
    at: &Lead,
    entry: &Intent<'_, Stored<'_>>,
    function: usize,
) {
    lead(out, Kind::Intent, at);
    frame(out, entry.frame);
    unsigned(out, function as u64);
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

/// What most calls are: allowed or denied without an intent, a receipt or a tool's run, all of it inline. The same bytes as
/// [`call`] gives.
#[derive(Clone, Copy)]
pub(crate) struct Plain<'a> {
    pub(crate) frame: FrameId,
    /// The place of the function among the terms'.
    pub(crate) function: usize,
    pub(crate) class: u8,
    pub(crate) request: &'a [u8],
    pub(crate) decision: Decision<'a>,
    pub(crate) fuel: u64,
    pub(crate) response: &'a [u8],
}

#[inline]
pub(crate) fn plain(out: &mut Vec<u8>, at: &Lead, call: &Plain<'_>) {
    numbers(
        out,
        Kind::Call,
        [
            at.seq.get(),
            u64::from(call.frame.get()),
            call.function as u64,
            u64::from(call.class),
        ],
    );
    bytes(out, call.request);
    decision(out, &call.decision);
    unsigned(out, call.fuel);
    bytes(out, call.response);
    out.extend_from_slice(&[NULL, NULL]);
}

#[inline]
fn decision(out: &mut Vec<u8>, decision: &Decision<'_>) {
    let (code, sentence) = match *decision {
        Decision::Allowed { rule } => (0, rule),
        Decision::Denied { reason } => (1, reason),
    };
    out.extend_from_slice(&[ARRAY | 2, UNSIGNED | code]);
    text(out, sentence);
}

/// `function` is the place of the function among the terms'.
pub(crate) fn call(out: &mut Vec<u8>, at: &Lead, entry: &Call<'_, Stored<'_>>, function: usize) {
    numbers(
        out,
        Kind::Call,
        [
            at.seq.get(),
            u64::from(entry.frame.get()),
            function as u64,
            u64::from(entry.class.code()),
        ],
    );
    stored(out, entry.request);
    decision(out, &entry.decision);
    unsigned(out, entry.fuel);
    stored(out, entry.response);
    match entry.receipt {
        None => out.push(NULL),
        Some(receipt) => brought(out, &receipt),
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

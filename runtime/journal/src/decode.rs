//! Bytes to entries. Every length is bounded before anything is kept, and what was read is written again and compared:
//! a payload that is not exactly what `encode` would produce is refused.

use std::borrow::Cow;

use minicbor::Decoder;
use minicbor::data::Type;
use tally_receipt::Digest;

use crate::encode::{self, Beginning, Kind, Lead, Stored, TAIL_LEN, arity, signpost};
use crate::entry::{
    BranchPoint, Brought, Call, Callee, Decision, EffectClass, End, EngineFingerprint, Enter,
    FrameId, Intent, Outcome, Seq, Terms, Timestamp,
};
use crate::hash::EntryHash;
use crate::limits::{
    MAX_GRANT_LEN, MAX_INLINE_LEN, MAX_LIST_LEN, MAX_NAME_LEN, MAX_SETTING_LEN, MAX_TEXT_LEN,
    MAX_VALUE_LEN,
};

/// What about a payload is not as the format says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

type Result<T> = std::result::Result<T, Malformed>;

/// One frame's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Terms(Box<Terms>),
    Genesis(Lead, Box<Beginning<'a>>),
    Intent(Lead, Intent<'a, Stored<'a>>),
    Enter(Lead, Enter<'a, Stored<'a>>),
    Call(Lead, Call<'a, Stored<'a>>),
    End(Lead, End<'a, Stored<'a>>),
    Blob(&'a [u8]),
    Seal(&'a [u8]),
}

impl Frame<'_> {
    /// What every entry has; none of a frame that is no entry.
    fn lead(&self) -> Option<&Lead> {
        match self {
            Self::Genesis(lead, _)
            | Self::Intent(lead, _)
            | Self::Enter(lead, _)
            | Self::Call(lead, _)
            | Self::End(lead, _) => Some(lead),
            Self::Terms(_) | Self::Blob(_) | Self::Seal(_) => None,
        }
    }
}

/// The functions of the terms, by which entries name theirs. None are known before the terms are.
pub(crate) type Functions<'a> = &'a [Cow<'static, str>];

/// Reads one payload strictly. `scratch` is overwritten.
pub(crate) fn strict<'a>(
    payload: &'a [u8],
    functions: Functions<'a>,
    scratch: &mut Vec<u8>,
) -> Result<Frame<'a>> {
    let (frame, function) = read(payload, functions)?;
    scratch.clear();
    match &frame {
        Frame::Terms(terms) => encode::terms(scratch, terms),
        Frame::Genesis(lead, entry) => encode::genesis(scratch, lead, entry),
        Frame::Intent(lead, entry) => encode::intent(scratch, lead, entry, function),
        Frame::Enter(lead, entry) => encode::enter(scratch, lead, entry),
        Frame::Call(lead, entry) => encode::call(scratch, lead, entry, function),
        Frame::End(lead, entry) => encode::end(scratch, lead, entry),
        Frame::Blob(value) => encode::attached(scratch, Kind::Blob, value),
        Frame::Seal(value) => encode::attached(scratch, Kind::Seal, value),
    }
    if let Some(lead) = frame.lead() {
        scratch.extend_from_slice(&encode::tail(lead));
    }
    if scratch != payload {
        return Err(Malformed(
            "it is not in the one form that the format allows",
        ));
    }
    Ok(frame)
}

/// Reads one payload whose strictness is already known or does not matter.
pub(crate) fn frame<'a>(payload: &'a [u8], functions: Functions<'a>) -> Result<Frame<'a>> {
    read(payload, functions).map(|(frame, _)| frame)
}

/// One payload, and the place of its function among the terms' if it names one.
fn read<'a>(payload: &'a [u8], functions: Functions<'a>) -> Result<(Frame<'a>, usize)> {
    let mut function = 0;
    let mut d = Decoder::new(payload);
    let elements = array(&mut d)?;
    let kind = Kind::from_code(d.u8().map_err(|_| Malformed("it has no kind"))?)
        .ok_or(Malformed("its kind is unknown"))?;
    if elements != arity(kind) {
        return Err(Malformed("it has too few or too many fields"));
    }
    let frame = match kind {
        Kind::Terms => Frame::Terms(Box::new(terms(&mut d)?)),
        Kind::Genesis => {
            let lead = lead(&mut d, payload)?;
            Frame::Genesis(lead, Box::new(genesis(&mut d)?))
        }
        Kind::Intent => {
            let lead = lead(&mut d, payload)?;
            let (entry, place) = intent(&mut d, functions)?;
            function = place;
            Frame::Intent(lead, entry)
        }
        Kind::Enter => Frame::Enter(lead(&mut d, payload)?, enter(&mut d)?),
        Kind::Call => {
            let lead = lead(&mut d, payload)?;
            let (entry, place) = call(&mut d, functions)?;
            function = place;
            Frame::Call(lead, entry)
        }
        Kind::End => Frame::End(lead(&mut d, payload)?, end(&mut d)?),
        Kind::Blob => Frame::Blob(blob(&mut d)?),
        Kind::Seal => Frame::Seal(bytes(&mut d, MAX_VALUE_LEN)?),
    };
    let tail = if kind.is_entry() { TAIL_LEN } else { 0 };
    if d.position() + tail != payload.len() {
        return Err(Malformed("bytes follow its last field"));
    }
    Ok((frame, function))
}

/// Kind and lead of an entry, as far as they can be read: for saying what is wrong with one that is damaged.
pub(crate) fn peek(payload: &[u8]) -> Option<(Kind, Option<Lead>)> {
    let mut d = Decoder::new(payload);
    array(&mut d).ok()?;
    let kind = Kind::from_code(d.u8().ok()?)?;
    Some((
        kind,
        if kind.is_entry() {
            lead(&mut d, payload).ok()
        } else {
            None
        },
    ))
}

/// Length of the one CBOR item at the start of `bytes`, if there is a whole one.
pub(crate) fn item_len(bytes: &[u8]) -> Option<usize> {
    let mut d = Decoder::new(bytes);
    array(&mut d).ok()?;
    d.set_position(0);
    d.skip().ok()?;
    Some(d.position())
}

fn array(d: &mut Decoder<'_>) -> Result<u64> {
    match d.array() {
        Ok(Some(len)) => Ok(len),
        Ok(None) => Err(Malformed("it holds a list of indefinite length")),
        Err(_) => Err(Malformed("a list is missing")),
    }
}

fn array_of(d: &mut Decoder<'_>, len: u64) -> Result<()> {
    if array(d)? == len {
        Ok(())
    } else {
        Err(Malformed("a list has too few or too many items"))
    }
}

fn unsigned(d: &mut Decoder<'_>) -> Result<u64> {
    d.u64().map_err(|_| Malformed("a number is missing"))
}

fn bytes<'a>(d: &mut Decoder<'a>, max: usize) -> Result<&'a [u8]> {
    let value = d
        .bytes()
        .map_err(|_| Malformed("a byte string is missing"))?;
    if value.len() > max {
        Err(Malformed("a byte string is too long"))
    } else {
        Ok(value)
    }
}

fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N]> {
    bytes(d, N)?
        .try_into()
        .map_err(|_| Malformed("a digest or id has the wrong length"))
}

fn digest(d: &mut Decoder<'_>) -> Result<Digest> {
    Ok(Digest::from_bytes(fixed(d)?))
}

fn text<'a>(d: &mut Decoder<'a>, max: usize) -> Result<&'a str> {
    let value = d
        .str()
        .map_err(|_| Malformed("a text is missing or not UTF-8"))?;
    if value.len() > max {
        Err(Malformed("a text is too long"))
    } else {
        Ok(value)
    }
}

fn is_null(d: &mut Decoder<'_>) -> Result<bool> {
    if matches!(d.datatype(), Ok(Type::Null)) {
        d.null().map_err(|_| Malformed("a null is damaged"))?;
        return Ok(true);
    }
    Ok(false)
}

fn stored<'a>(d: &mut Decoder<'a>) -> Result<Stored<'a>> {
    match d.datatype() {
        Ok(Type::Array) => {
            array_of(d, 1)?;
            Ok(Stored::Blob(EntryHash::from_bytes(fixed(d)?)))
        }
        _ => Ok(Stored::Inline(bytes(d, MAX_INLINE_LEN)?)),
    }
}

fn optional<'a>(d: &mut Decoder<'a>) -> Result<Option<Stored<'a>>> {
    if is_null(d)? {
        Ok(None)
    } else {
        stored(d).map(Some)
    }
}

/// A receipt, with its salts where it has any. Two nulls in place of salts are caught by the comparison with what would be
/// written.
fn brought<'a>(d: &mut Decoder<'a>) -> Result<Option<Brought<Stored<'a>>>> {
    if is_null(d)? {
        return Ok(None);
    }
    if !matches!(d.probe().array(), Ok(Some(3))) {
        return stored(d).map(Brought::closed).map(Some);
    }
    array_of(d, 3)?;
    Ok(Some(Brought {
        envelope: stored(d)?,
        asked: salt(d)?,
        answered: salt(d)?,
    }))
}

fn salt(d: &mut Decoder<'_>) -> Result<Option<[u8; 32]>> {
    if is_null(d)? {
        Ok(None)
    } else {
        fixed(d).map(Some)
    }
}

fn timestamp(d: &mut Decoder<'_>) -> Result<Timestamp> {
    unsigned(d).map(Timestamp::from_nanoseconds)
}

fn frame_id(d: &mut Decoder<'_>) -> Result<FrameId> {
    d.u32()
        .map(FrameId::new)
        .map_err(|_| Malformed("a frame number is missing"))
}

fn class(d: &mut Decoder<'_>) -> Result<EffectClass> {
    let code = d
        .u8()
        .map_err(|_| Malformed("an effect class is missing"))?;
    EffectClass::from_code(code).ok_or(Malformed("an effect class is unknown"))
}

fn pairs<'a, T>(
    d: &mut Decoder<'a>,
    mut value: impl FnMut(&mut Decoder<'a>) -> Result<T>,
) -> Result<Vec<(String, T)>> {
    let len = array(d)?;
    if len > MAX_LIST_LEN as u64 {
        return Err(Malformed("a list is too long"));
    }
    let mut list: Vec<(String, T)> = Vec::new();
    for _ in 0..len {
        array_of(d, 2)?;
        let name = text(d, MAX_NAME_LEN)?;
        if list.last().is_some_and(|(last, _)| last.as_str() >= name) {
            return Err(Malformed("a list of names is not sorted"));
        }
        list.push((name.to_owned(), value(d)?));
    }
    Ok(list)
}

/// What an entry begins and ends with.
fn lead(d: &mut Decoder<'_>, payload: &[u8]) -> Result<Lead> {
    let seq = Seq::new(unsigned(d)?);
    let (run, prev) =
        signpost(payload).ok_or(Malformed("it does not end with a run and a hash"))?;
    Ok(Lead { seq, run, prev })
}

fn terms(d: &mut Decoder<'_>) -> Result<Terms> {
    let component = digest(d)?;
    let world = text(d, MAX_NAME_LEN)?.to_owned();
    array_of(d, 3)?;
    let engine = EngineFingerprint {
        name: text(d, MAX_NAME_LEN)?.to_owned(),
        version: text(d, MAX_NAME_LEN)?.to_owned(),
        config: digest(d)?,
    };
    Ok(Terms {
        component,
        world,
        engine,
        manifest: digest(d)?,
        grant: bytes(d, MAX_GRANT_LEN)?.to_vec(),
        limits: pairs(d, unsigned)?,
        settings: pairs(d, |d| text(d, MAX_SETTING_LEN).map(str::to_owned))?,
        tools: pairs(d, digest)?,
        functions: names(d)?,
    })
}

fn names(d: &mut Decoder<'_>) -> Result<Vec<Cow<'static, str>>> {
    let len = array(d)?;
    if len > MAX_LIST_LEN as u64 {
        return Err(Malformed("a list is too long"));
    }
    let mut list: Vec<Cow<'static, str>> = Vec::new();
    for _ in 0..len {
        let name = text(d, MAX_NAME_LEN)?;
        if list.last().is_some_and(|last| **last >= *name) {
            return Err(Malformed("a list of names is not sorted"));
        }
        list.push(Cow::Owned(name.to_owned()));
    }
    Ok(list)
}

fn genesis<'a>(d: &mut Decoder<'a>) -> Result<Beginning<'a>> {
    let input = stored(d)?;
    let models = Cow::Owned(pairs(d, digest)?);
    let wasi_seed = fixed(d)?;
    // Null when it is the moment of the start. A moment that is the same is caught by the comparison with what would be
    // written.
    let clock_base = if is_null(d)? {
        None
    } else {
        Some(timestamp(d)?)
    };
    let started = timestamp(d)?;
    Ok(Beginning {
        input,
        models,
        wasi_seed,
        clock_base: clock_base.unwrap_or(started),
        started,
        branch_of: if is_null(d)? {
            None
        } else {
            array_of(d, 2)?;
            Some(BranchPoint {
                head: EntryHash::from_bytes(fixed(d)?),
                entry: Seq::new(unsigned(d)?),
            })
        },
    })
}

/// A function of the terms, and its place there.
fn function<'a>(d: &mut Decoder<'_>, functions: Functions<'a>) -> Result<(&'a str, usize)> {
    let place = usize::try_from(unsigned(d)?).unwrap_or(usize::MAX);
    let name = functions
        .get(place)
        .ok_or(Malformed("it names a function that is not in the terms"))?;
    Ok((name, place))
}

fn intent<'a>(
    d: &mut Decoder<'a>,
    functions: Functions<'a>,
) -> Result<(Intent<'a, Stored<'a>>, usize)> {
    let frame = frame_id(d)?;
    let (function, place) = function(d, functions)?;
    let intent = Intent {
        frame,
        function,
        class: class(d)?,
        request: stored(d)?,
        fuel: unsigned(d)?,
    };
    Ok((intent, place))
}

fn enter<'a>(d: &mut Decoder<'a>) -> Result<Enter<'a, Stored<'a>>> {
    Ok(Enter {
        frame: frame_id(d)?,
        parent: frame_id(d)?,
        component: digest(d)?,
        export: text(d, MAX_NAME_LEN)?,
        request: stored(d)?,
        grant: bytes(d, MAX_GRANT_LEN)?,
    })
}

fn call<'a>(
    d: &mut Decoder<'a>,
    functions: Functions<'a>,
) -> Result<(Call<'a, Stored<'a>>, usize)> {
    let frame = frame_id(d)?;
    let (function, place) = function(d, functions)?;
    let class = class(d)?;
    let (intent, request) = match d.datatype() {
        Ok(Type::U8 | Type::U16 | Type::U32 | Type::U64) => {
            let seq = Seq::new(unsigned(d)?);
            (Some(seq), Stored::Of(seq))
        }
        _ => (None, stored(d)?),
    };
    array_of(d, 2)?;
    let verdict = unsigned(d)?;
    let sentence = text(d, MAX_TEXT_LEN)?;
    let decision = match verdict {
        0 => Decision::Allowed { rule: sentence },
        1 => Decision::Denied { reason: sentence },
        _ => return Err(Malformed("a decision is unknown")),
    };
    let call = Call {
        frame,
        function,
        class,
        intent,
        request,
        decision,
        fuel: unsigned(d)?,
        response: stored(d)?,
        receipt: brought(d)?,
        callee: if is_null(d)? {
            None
        } else {
            array_of(d, 2)?;
            Some(Callee {
                frame: frame_id(d)?,
                fuel: unsigned(d)?,
            })
        },
    };
    Ok((call, place))
}

fn end<'a>(d: &mut Decoder<'a>) -> Result<End<'a, Stored<'a>>> {
    array_of(d, 2)?;
    let code = unsigned(d)?;
    let detail = text(d, MAX_TEXT_LEN)?;
    // A detail where none belongs is caught by the comparison with what would be written.
    let outcome = match code {
        0 => Outcome::Replied,
        1 => Outcome::Failed,
        2 => Outcome::Trapped { reason: detail },
        3 => Outcome::Exhausted { limit: detail },
        4 => Outcome::Cancelled,
        5 => Outcome::HostFailed { reason: detail },
        _ => return Err(Malformed("an outcome is unknown")),
    };
    Ok(End {
        outcome,
        output: optional(d)?,
        fuel: unsigned(d)?,
        ended: timestamp(d)?,
    })
}

fn blob<'a>(d: &mut Decoder<'a>) -> Result<&'a [u8]> {
    let value = bytes(d, MAX_VALUE_LEN)?;
    if value.len() <= MAX_INLINE_LEN {
        return Err(Malformed("it is a blob that belongs inside its entry"));
    }
    Ok(value)
}

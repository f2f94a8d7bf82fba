//! What was done to a journal, from the neighbours of the first place that does not hold.
//!
//! The terms and each entry are vouched for by the entry after them, which names their hash; the last entry by the run receipt. When two
//! neighbours do not fit together, the one that its own successor vouches for is intact, so the other was altered.

use crate::decode::{self, Frame, peek};
use crate::encode::{Kind, Lead};
use crate::entry::Seq;
use crate::error::{Evidence, JournalError, Place};
use crate::frames::{Frames, Raw};
use crate::hash::EntryHash;
use crate::seal::{self, Sealed};
use tally_receipt::RunId;

/// What a frame is, when `next` is the number the next entry should have.
pub(crate) fn place(
    bytes: &[u8],
    raw: &Raw,
    after: &Frames<'_>,
    is_first: bool,
    next: Seq,
    ended: bool,
) -> Place {
    let is_last = || after.clone().next().is_none();
    match peek(&bytes[raw.payload.clone()]) {
        Some((kind, lead)) if is_first && !(kind.is_entry() && lead.is_some()) => Place::Terms,
        None if is_first => Place::Terms,
        Some((Kind::Blob, _)) if !ended => Place::ValueOf(next),
        Some((Kind::Seal, _)) if is_last() => Place::Seal,
        _ if ended && is_last() => Place::Seal,
        _ => Place::Entry(next),
    }
}

/// A frame that does not match its own check or length.
pub(crate) fn rotten(
    bytes: &[u8],
    raw: &Raw,
    place: Place,
    expected: Option<EntryHash>,
) -> JournalError {
    if raw.length_altered {
        return JournalError::Altered {
            place,
            evidence: Evidence::Length,
        };
    }
    let lead = peek(&bytes[raw.payload.clone()]).and_then(|(_, lead)| lead);
    if let (Place::Entry(entry), Some(lead), Some(expected)) = (place, lead, expected)
        && lead.seq == entry
        && lead.prev != expected
    {
        return JournalError::PrevAltered { entry };
    }
    JournalError::Altered {
        place,
        evidence: Evidence::Check,
    }
}

/// A first entry with a wrong number or predecessor.
pub(crate) fn bad_genesis(
    bytes: &[u8],
    after: &Frames<'_>,
    raw: &Raw,
    lead: &Lead,
    terms: EntryHash,
) -> JournalError {
    let entry = Seq::GENESIS;
    if lead.prev == terms || lead.seq != entry {
        return JournalError::Altered {
            place: Place::Entry(entry),
            evidence: Evidence::Lead,
        };
    }
    match leads_after(bytes, after).next() {
        Some(next) if next.prev == raw.hash => JournalError::Altered {
            place: Place::Terms,
            evidence: Evidence::NextEntry,
        },
        Some(_) => JournalError::PrevAltered { entry },
        None => JournalError::LinkBroken { second: entry },
    }
}

/// Whether the first entry is the one that belongs to another run: all others agree against it.
pub(crate) fn foreign_genesis(
    bytes: &[u8],
    after: &Frames<'_>,
    lead: &Lead,
) -> Result<(), JournalError> {
    let mut others = leads_after(bytes, after).map(|other| other.run);
    let Some(run) = others.next() else {
        return Ok(());
    };
    if run == lead.run {
        return Ok(());
    }
    let mut agreeing = 1;
    for other in others {
        if other != run {
            return Ok(());
        }
        agreeing += 1;
    }
    if agreeing < 2 {
        return Ok(());
    }
    Err(JournalError::Foreign {
        entry: Seq::GENESIS,
        run: lead.run,
    })
}

/// The first frame holds something other than terms.
pub(crate) fn no_terms(payload: &[u8]) -> JournalError {
    match peek(payload) {
        Some((_, Some(lead))) if lead.seq != Seq::GENESIS => no_genesis(&lead),
        _ => JournalError::TermsMissing,
    }
}

/// The first entry is something other than a first entry.
pub(crate) fn no_genesis(lead: &Lead) -> JournalError {
    if lead.seq == Seq::GENESIS {
        return JournalError::OutOfOrder {
            place: Place::Entry(Seq::GENESIS),
            rule: "is not a first entry",
        };
    }
    JournalError::Missing {
        entry: Seq::GENESIS,
        found: lead.seq,
    }
}

/// An entry with a wrong number, run or predecessor.
#[allow(
    clippy::too_many_arguments,
    reason = "these are the facts that a diagnosis weighs, and it is called once"
)]
pub(crate) fn bad_lead(
    bytes: &[u8],
    after: &Frames<'_>,
    raw: &Raw,
    lead: &Lead,
    run: RunId,
    entry: Seq,
    expected: EntryHash,
    known: impl Fn(Seq) -> Option<EntryHash>,
) -> JournalError {
    if lead.prev == expected {
        return JournalError::Altered {
            place: Place::Entry(entry),
            evidence: Evidence::Lead,
        };
    }
    if lead.run != run {
        return JournalError::Foreign {
            entry,
            run: lead.run,
        };
    }
    if lead.seq != entry {
        let found = lead.seq;
        if known(found) == Some(raw.hash) {
            return JournalError::Duplicated { entry, found };
        }
        let elsewhere =
            leads_after(bytes, after).any(|other| other.seq == entry && other.run == run);
        return if found < entry || elsewhere {
            JournalError::Reordered { entry, found }
        } else {
            JournalError::Missing { entry, found }
        };
    }
    match leads_after(bytes, after).next() {
        Some(next) if next.prev == raw.hash => JournalError::Altered {
            place: Place::Entry(Seq::new(entry.get() - 1)),
            evidence: Evidence::NextEntry,
        },
        Some(_) => JournalError::PrevAltered { entry },
        // Nothing follows but perhaps the seal, which vouches for the last entry as an entry would.
        None => match sealed_head(bytes, after) {
            Some(head) if head == raw.hash => JournalError::Altered {
                place: Place::Entry(Seq::new(entry.get() - 1)),
                evidence: Evidence::NextEntry,
            },
            Some(_) => JournalError::PrevAltered { entry },
            None => JournalError::LinkBroken { second: entry },
        },
    }
}

/// The leads of the entries that come after, as far as they can be read.
fn leads_after<'a>(bytes: &'a [u8], after: &Frames<'a>) -> impl Iterator<Item = Lead> {
    after
        .clone()
        .filter_map(move |raw| peek(&bytes[raw.payload])?.1)
}

/// The hash that the run receipt at the end names, if there is a good one.
fn sealed_head(bytes: &[u8], after: &Frames<'_>) -> Option<EntryHash> {
    let last = after.clone().last().filter(|raw| raw.intact)?;
    let Ok(Frame::Seal(seal)) = decode::frame(&bytes[last.payload], &[]) else {
        return None;
    };
    let Sealed::Run(receipt) = seal::read(seal) else {
        return None;
    };
    Some(seal::named_head(receipt.as_run()?).hash)
}

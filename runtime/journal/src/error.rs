//! Why bytes are not a journal that holds, with the place named.

use std::fmt;

use crate::entry::Seq;
use crate::format::{FORMAT_VERSION, HEADER_LEN};
use crate::limits::MAX_FRAME_LEN;
use tally_receipt::RunId;

/// Where in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The terms, which stand before the first entry.
    Terms,
    /// The entry with this number.
    Entry(Seq),
    /// A value of the entry with this number that stands in a frame of its own before it.
    ValueOf(Seq),
    /// The run receipt after the last entry.
    Seal,
}

impl Place {
    /// The entry it is or belongs to: the terms to the first.
    pub const fn entry(self) -> Option<Seq> {
        match self {
            Self::Terms => Some(Seq::GENESIS),
            Self::Entry(seq) | Self::ValueOf(seq) => Some(seq),
            Self::Seal => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terms => f.write_str("the list of terms"),
            Self::Entry(seq) => write!(f, "entry {seq}"),
            Self::ValueOf(seq) => write!(f, "a value of entry {seq}"),
            Self::Seal => f.write_str("the seal"),
        }
    }
}

/// How it is known that a frame is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Its bytes do not match the check beside them.
    Check,
    /// Its length does not match its content, which is whole.
    Length,
    /// The entry after it, which is intact, names another hash.
    NextEntry,
    /// The entry stands where it stood (its predecessor is right), but says otherwise.
    Lead,
    /// The entry it belongs to names another hash.
    Owner,
    /// Its signature does not hold.
    Signature,
}

impl Evidence {
    const fn clause(self) -> &'static str {
        match self {
            Self::Check => "its bytes do not match the check beside them",
            Self::Length => "its length does not match its content",
            Self::NextEntry => "the entry after it names another hash",
            Self::Lead => "it follows the right entry but carries another number or run",
            Self::Owner => "its entry names another hash",
            Self::Signature => "its signature does not hold",
        }
    }
}

/// Why bytes are not a journal that holds. One fault is named: the first, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Something else, or a journal that went through a text translation.
    #[error("this is not a journal: it does not begin as one")]
    NotAJournal,
    /// Written by a later version of this program.
    #[error(
        "the journal has format version {found} and this program reads version {FORMAT_VERSION}: use a newer one"
    )]
    NewerFormat {
        /// The version in the header.
        found: u32,
    },
    /// Written by an earlier version of this program.
    #[error(
        "the journal has format version {found} and this program reads version {FORMAT_VERSION}: use the program that wrote it"
    )]
    OlderFormat {
        /// The version in the header.
        found: u32,
    },
    /// A version that never existed.
    #[error("the journal has format version {found}, which does not exist: its header was altered")]
    UnknownFormat {
        /// The version in the header.
        found: u32,
    },
    /// Cut within the header.
    #[error("the journal is cut off after {len} bytes, inside its {HEADER_LEN}-byte header")]
    CutInHeader {
        /// How many bytes there are.
        len: usize,
    },
    /// A header and nothing that can be read after it.
    #[error("the journal is cut off before its first entry")]
    Empty,
    /// Cut inside a frame: by a crash, a full disk or an incomplete copy.
    #[error(
        "the journal is cut off inside {place}: {present} of at least {needed} bytes are there"
    )]
    CutInFrame {
        /// What was being written.
        place: Place,
        /// Bytes of the frame that are there.
        present: usize,
        /// Bytes it needs, as far as is known.
        needed: usize,
    },
    /// A length beyond what the format allows.
    #[error("{place} was altered: it claims {len} bytes and may have {MAX_FRAME_LEN}")]
    FrameTooLong {
        /// What claims it.
        place: Place,
        /// The claim.
        len: u32,
    },
    /// The content of an entry, a value or the seal is not what was written.
    #[error("{place} was altered: {}", .evidence.clause())]
    Altered {
        /// What was altered.
        place: Place,
        /// How that is known.
        evidence: Evidence,
    },
    /// The hash by which an entry names its predecessor is not what was written.
    #[error("entry {entry} was altered: the hash by which it names its predecessor is wrong")]
    PrevAltered {
        /// The entry.
        entry: Seq,
    },
    /// Two entries do not fit together and nothing after them tells which was altered.
    #[error("{} or entry {second} was altered: they do not fit together, and no seal tells which", before(*.second))]
    LinkBroken {
        /// The second of the two.
        second: Seq,
    },
    /// A whole entry of another journal.
    #[error("entry {entry} is foreign: it belongs to run {run}")]
    Foreign {
        /// Its place here.
        entry: Seq,
        /// The run it names.
        run: RunId,
    },
    /// An entry stands where another belongs, which is elsewhere in the file.
    #[error("the entries were reordered: entry {found} stands in the place of entry {entry}")]
    Reordered {
        /// The place.
        entry: Seq,
        /// What stands there.
        found: Seq,
    },
    /// An entry was taken out.
    #[error("entry {entry} is missing: entry {found} stands in its place")]
    Missing {
        /// What is missing.
        entry: Seq,
        /// What stands there.
        found: Seq,
    },
    /// The same entry again.
    #[error("entry {found} is there twice, the second time in the place of entry {entry}")]
    Duplicated {
        /// The place of the second.
        entry: Seq,
        /// Which entry it is.
        found: Seq,
    },
    /// The journal begins with something else than terms.
    #[error("the list of terms is missing: the journal begins with something else")]
    TermsMissing,
    /// A value that stands in a frame of its own is not there.
    #[error("a value of entry {entry} is missing")]
    ValueMissing {
        /// The entry.
        entry: Seq,
    },
    /// A frame holds a value that the entry after it does not name.
    #[error("a value before entry {entry} belongs to no entry")]
    ValueStray {
        /// The entry after it.
        entry: Seq,
    },
    /// Whole and unaltered by every check, yet not as the format says: the writer was wrong, or was not ours.
    #[error("{place} is not well formed: {detail}")]
    Malformed {
        /// What it is.
        place: Place,
        /// What about it.
        detail: &'static str,
    },
    /// Well formed, but it may not stand where it stands.
    #[error("{place} breaks a rule: it {rule}")]
    OutOfOrder {
        /// What it is.
        place: Place,
        /// The rule, as a clause that follows "it".
        rule: &'static str,
    },
    /// The seal is not a run receipt.
    #[error("the seal is not a run receipt ({why})")]
    SealUnreadable {
        /// Why, as `tally-receipt` codes it.
        why: &'static str,
    },
    /// A good run receipt of another run.
    #[error("the seal is foreign: it is the receipt of run {run}")]
    SealForeign {
        /// The run it is of.
        run: RunId,
    },
    /// A good receipt of this run, over another journal.
    #[error(
        "the seal is over another head: it covers {named} entries and this journal has {found}"
    )]
    SealOverAnotherHead {
        /// Entries the receipt covers.
        named: u64,
        /// Entries there are.
        found: u64,
    },
    /// A good receipt of this run over as many entries with another last one.
    #[error(
        "this is not the journal that was sealed: its last entry, {last}, was altered, or an earlier one and all after it"
    )]
    NotTheSealed {
        /// The last entry.
        last: Seq,
    },
    /// A good receipt over this head that says otherwise than the journal.
    #[error("the seal contradicts the journal: it states another {what}")]
    SealContradicts {
        /// What it states otherwise.
        what: &'static str,
    },
    /// Something follows the seal.
    #[error("{len} bytes follow the seal, which must be the last thing in a journal")]
    TrailingData {
        /// How many bytes.
        len: usize,
    },
}

/// What an entry names as its predecessor.
const fn before(entry: Seq) -> Place {
    match entry.get().checked_sub(1) {
        Some(number) => Place::Entry(Seq::new(number)),
        None => Place::Terms,
    }
}

impl JournalError {
    /// A word for programs. It does not change.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAJournal => "journal.not-a-journal",
            Self::NewerFormat { .. } => "journal.newer-format",
            Self::OlderFormat { .. } => "journal.older-format",
            Self::UnknownFormat { .. } => "journal.unknown-format",
            Self::CutInHeader { .. } => "journal.cut-in-header",
            Self::Empty => "journal.empty",
            Self::CutInFrame { .. } => "journal.cut-in-frame",
            Self::FrameTooLong { .. } => "journal.frame-too-long",
            Self::Altered { .. } => "journal.altered",
            Self::PrevAltered { .. } => "journal.prev-altered",
            Self::LinkBroken { .. } => "journal.link-broken",
            Self::Foreign { .. } => "journal.foreign-entry",
            Self::Reordered { .. } => "journal.reordered",
            Self::Missing { .. } => "journal.missing-entry",
            Self::Duplicated { .. } => "journal.duplicated-entry",
            Self::TermsMissing => "journal.terms-missing",
            Self::ValueMissing { .. } => "journal.value-missing",
            Self::ValueStray { .. } => "journal.value-stray",
            Self::Malformed { .. } => "journal.malformed",
            Self::OutOfOrder { .. } => "journal.out-of-order",
            Self::SealUnreadable { .. } => "journal.seal-unreadable",
            Self::SealForeign { .. } => "journal.seal-foreign",
            Self::SealOverAnotherHead { .. } => "journal.seal-over-another-head",
            Self::NotTheSealed { .. } => "journal.not-the-sealed",
            Self::SealContradicts { .. } => "journal.seal-contradicts",
            Self::TrailingData { .. } => "journal.trailing-data",
        }
    }

    /// The first entry that does not hold, when the fault lies in one.
    pub const fn entry(&self) -> Option<Seq> {
        match self {
            Self::NotAJournal
            | Self::NewerFormat { .. }
            | Self::OlderFormat { .. }
            | Self::UnknownFormat { .. }
            | Self::CutInHeader { .. }
            | Self::Empty
            | Self::SealUnreadable { .. }
            | Self::SealForeign { .. }
            | Self::SealOverAnotherHead { .. }
            | Self::SealContradicts { .. }
            | Self::TrailingData { .. } => None,
            Self::CutInFrame { place, .. }
            | Self::FrameTooLong { place, .. }
            | Self::Altered { place, .. }
            | Self::Malformed { place, .. }
            | Self::OutOfOrder { place, .. } => place.entry(),
            Self::TermsMissing => Place::Terms.entry(),
            Self::LinkBroken { second } => before(*second).entry(),
            Self::NotTheSealed { last: entry }
            | Self::PrevAltered { entry }
            | Self::Foreign { entry, .. }
            | Self::Reordered { entry, .. }
            | Self::Missing { entry, .. }
            | Self::Duplicated { entry, .. }
            | Self::ValueMissing { entry }
            | Self::ValueStray { entry } => Some(*entry),
        }
    }
}

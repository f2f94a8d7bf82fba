//! A journal that was read and holds.
//!
//! Reading goes over the bytes once: frame by frame it decides that every entry stands where it must. It stops at the first
//! fault; `diagnose` looks at what comes after to say what was done to it. What is kept is where entries and values stand
//! that hold, so that no file costs much more memory than its length.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use tally_receipt::{Check, Digest, Receipt, Run, RunPredicate};

use crate::decode::{self, Frame, Malformed};
use crate::diagnose;
use crate::encode::{Beginning, Kind, Lead, Stored};
use crate::entry::{Body, Call, End, Enter, Entry, Genesis, Head, Intent, Seq};
use crate::error::{Evidence, JournalError, Place};
use crate::format::{CHECK_LEN, FORMAT_VERSION, HEADER, HEADER_LEN, MAGIC};
use crate::frames::{Frames, Raw, Tail};
use crate::hash::EntryHash;
use crate::seal::{self, Contradiction, Sealed};
use crate::state::State;
use crate::terms::SettledTerms;
use crate::words;

/// How far a run came before its journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Completeness {
    /// It stops in the middle: the process died, or is still running. What is there holds; nothing says what came after.
    Open,
    /// The run ended, and no receipt says so: anybody could have written this.
    Ended,
    /// A run receipt over the head follows the end, signed by whom it names. Whether that is somebody to trust is for
    /// [`Journal::verify`] to say.
    Sealed,
}

/// What follows the last whole frame of a journal that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where the last whole frame ends, in bytes from the start of the file.
    pub offset: usize,
    /// How many bytes follow.
    pub len: usize,
    /// What they look like.
    pub reason: JournalError,
}

/// A journal that was read and holds.
#[derive(Clone, Debug)]
pub struct Journal {
    bytes: Vec<u8>,
    entries: Vec<Slot>,
    blobs: HashMap<EntryHash, Range<usize>>,
    genesis: Genesis,
    seal: Option<Seal>,
    state: State,
}

/// The seal: where its bytes stand, and what they say.
#[derive(Clone, Debug)]
struct Seal {
    bytes: Range<usize>,
    receipt: Box<Receipt>,
}

/// Where an entry's payload stands, and its hash.
#[derive(Clone, Debug)]
struct Slot {
    payload: Range<usize>,
    hash: EntryHash,
}

impl Journal {
    /// Reads a whole journal: one that ends between two frames. It need not be sealed: see [`Self::completeness`].
    ///
    /// # Errors
    /// [`JournalError`] names the first fault.
    pub fn parse(bytes: impl Into<Vec<u8>>) -> Result<Self, JournalError> {
        let (journal, torn) = Reader::read(bytes.into())?;
        match torn {
            None => Ok(journal),
            Some(torn) => Err(torn.reason),
        }
    }

    /// Reads a journal that a crash may have cut: what follows the last whole frame is left out and described.
    ///
    /// A fault with whole frames behind it is no crash, and is an error here too.
    ///
    /// # Errors
    /// [`JournalError`] names the first fault.
    pub fn recover(bytes: impl Into<Vec<u8>>) -> Result<(Self, Option<Torn>), JournalError> {
        Reader::read(bytes.into())
    }

    /// The first entry.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// How many entries there are.
    #[allow(
        clippy::len_without_is_empty,
        reason = "a journal has a first entry, or it is none"
    )]
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// One entry.
    pub fn get(&self, seq: Seq) -> Option<Entry<'_>> {
        let slot = self.entries.get(usize::try_from(seq.get()).ok()?)?;
        Some(Entry {
            seq,
            hash: slot.hash,
            body: self.body(slot),
        })
    }

    /// All entries in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> + '_ {
        self.entries.iter().enumerate().map(|(index, slot)| Entry {
            seq: Seq::new(index as u64),
            hash: slot.hash,
            body: self.body(slot),
        })
    }

    /// The receipts that calls brought, in order: DSSE envelopes as JSON.
    pub fn receipts(&self) -> impl Iterator<Item = (Seq, &[u8])> + '_ {
        self.entries().filter_map(|entry| match entry.body {
            Body::Call(Call {
                receipt: Some(receipt),
                ..
            }) => Some((entry.seq, receipt.envelope)),
            _ => None,
        })
    }

    /// Where the journal stands: what its run receipt must name.
    pub fn head(&self) -> Head {
        let last = self.entries.last().expect("a journal has a first entry");
        Head {
            hash: last.hash,
            entries: self.len(),
        }
    }

    /// How far the run came.
    pub fn completeness(&self) -> Completeness {
        match (&self.seal, self.state.ended()) {
            (Some(_), _) => Completeness::Sealed,
            (None, true) => Completeness::Ended,
            (None, false) => Completeness::Open,
        }
    }

    /// How the run ended, if it did.
    pub fn end(&self) -> Option<End<'_>> {
        match self.body(self.entries.last()?) {
            Body::End(end) => Some(end),
            _ => None,
        }
    }

    /// Intents that no call answered: whether their effects happened is not known.
    pub fn in_doubt(&self) -> impl Iterator<Item = Seq> + '_ {
        self.state.in_doubt()
    }

    /// The run receipt: a DSSE envelope as JSON.
    pub fn seal(&self) -> Option<&[u8]> {
        self.seal
            .as_ref()
            .map(|seal| &self.bytes[seal.bytes.clone()])
    }

    /// The run receipt, read. Its signatures hold; whose they are is for a policy to say: see [`Self::verify`].
    pub fn run_receipt(&self) -> Option<&Receipt> {
        self.seal.as_ref().map(|seal| &*seal.receipt)
    }

    /// What a run receipt by the runner of `run`, with its commitments, says about this journal. None before the end.
    pub(crate) fn stated(&self, run: &RunPredicate) -> Option<Run> {
        let receipts = self.receipts().map(|(_, receipt)| Digest::of(receipt));
        Some(seal::statement(
            &self.genesis,
            &self.end()?,
            self.head(),
            receipts,
            run.runner,
            run.input,
            run.output,
        ))
    }

    /// What the receipts inside say of the words beside them: a check for each, as [`Self::verify`] makes them too.
    pub fn words(&self) -> Vec<Check> {
        words::compare(self).checks
    }

    /// Takes the seal if it is one, and over this.
    fn take_seal(&mut self, range: Range<usize>) -> Result<(), JournalError> {
        let receipt = match seal::read(&self.bytes[range.clone()]) {
            Sealed::Run(receipt) => receipt,
            Sealed::BadSignature => {
                return Err(JournalError::Altered {
                    place: Place::Seal,
                    evidence: Evidence::Signature,
                });
            }
            Sealed::Unreadable(why) => return Err(JournalError::SealUnreadable { why }),
        };
        let run = receipt
            .as_run()
            .expect("it was read as the receipt of a run");
        let stated = self.stated(run).expect("a seal follows the end");
        match seal::contradiction(run, &stated) {
            None => {}
            Some(Contradiction::Run) => return Err(JournalError::SealForeign { run: run.run }),
            Some(Contradiction::Head) => {
                let (named, found) = (run.journal.entries.get(), self.len());
                return Err(if named == found {
                    JournalError::NotTheSealed {
                        last: Seq::new(found - 1),
                    }
                } else {
                    JournalError::SealOverAnotherHead { named, found }
                });
            }
            Some(Contradiction::Beginning(what) | Contradiction::Ending(what)) => {
                return Err(JournalError::SealContradicts { what });
            }
            Some(Contradiction::Receipts) => {
                return Err(JournalError::SealContradicts {
                    what: "list of receipts",
                });
            }
        }
        self.seal = Some(Seal {
            bytes: range,
            receipt,
        });
        Ok(())
    }

    /// The journal's own bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn body(&self, slot: &Slot) -> Body<'_> {
        let payload = &self.bytes[slot.payload.clone()];
        let frame = decode::frame(payload, &self.genesis.terms.functions)
            .expect("it was decoded when the journal was read");
        match frame {
            Frame::Genesis(..) => Body::Genesis,
            Frame::Intent(
                _,
                Intent {
                    frame,
                    function,
                    class,
                    request,
                    fuel,
                },
            ) => Body::Intent(Intent {
                frame,
                function,
                class,
                request: self.value(request),
                fuel,
            }),
            Frame::Enter(
                _,
                Enter {
                    frame,
                    parent,
                    component,
                    export,
                    request,
                    grant,
                },
            ) => Body::Enter(Enter {
                frame,
                parent,
                component,
                export,
                request: self.value(request),
                grant,
            }),
            Frame::Call(
                _,
                Call {
                    frame,
                    function,
                    class,
                    intent,
                    request,
                    decision,
                    fuel,
                    response,
                    receipt,
                    callee,
                },
            ) => Body::Call(Call {
                frame,
                function,
                class,
                intent,
                request: self.value(request),
                decision,
                fuel,
                response: self.value(response),
                receipt: receipt.map(|receipt| receipt.map(|envelope| self.value(envelope))),
                callee,
            }),
            Frame::End(
                _,
                End {
                    outcome,
                    output,
                    fuel,
                    ended,
                },
            ) => Body::End(End {
                outcome,
                output: output.map(|output| self.value(output)),
                fuel,
                ended,
            }),
            Frame::Terms(_) | Frame::Blob(_) | Frame::Seal(_) => {
                unreachable!("only entries have a slot")
            }
        }
    }

    fn value<'a>(&'a self, stored: Stored<'a>) -> &'a [u8] {
        match stored {
            Stored::Inline(bytes) => bytes,
            Stored::Blob(hash) => &self.bytes[self.blobs[&hash].clone()],
            Stored::Of(seq) => match self.get(seq).map(|entry| entry.body) {
                Some(Body::Intent(intent)) => intent.request,
                _ => unreachable!("a call's intent was looked up when the journal was read"),
            },
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// Those that are still to be read.
    after: Frames<'a>,
    entries: Vec<Slot>,
    blobs: HashMap<EntryHash, Range<usize>>,
    /// Blobs since the last entry, in order.
    waiting: Vec<(EntryHash, Range<usize>)>,
    terms: Option<Arc<SettledTerms>>,
    genesis: Option<Genesis>,
    seal: Option<Range<usize>>,
    state: State,
    scratch: Vec<u8>,
}

impl Reader<'_> {
    fn read(bytes: Vec<u8>) -> Result<(Journal, Option<Torn>), JournalError> {
        check_header(&bytes)?;
        let mut reader = Reader {
            bytes: &bytes,
            after: Frames::new(&bytes),
            entries: Vec::new(),
            blobs: HashMap::new(),
            waiting: Vec::new(),
            terms: None,
            genesis: None,
            seal: None,
            state: State::default(),
            scratch: Vec::new(),
        };
        let mut torn = None;
        while let Some(raw) = reader.after.next() {
            if let Err(fault) = reader.frame(&raw) {
                // Rot at the very end of an unsealed journal is what a crash leaves; anywhere else it is a fault.
                if raw.intact || reader.after.any(|later| later.intact) {
                    return Err(fault);
                }
                torn = Some(Torn {
                    offset: raw.offset,
                    len: bytes.len() - raw.offset,
                    reason: fault,
                });
                break;
            }
        }
        if torn.is_none()
            && let Some((offset, reason)) = reader.tail()
        {
            torn = Some(Torn {
                offset,
                len: bytes.len() - offset,
                reason,
            });
        }
        if reader.seal.is_some()
            && let Some(torn) = torn
        {
            return Err(JournalError::TrailingData { len: torn.len });
        }
        let Reader {
            entries,
            blobs,
            genesis,
            seal,
            state,
            ..
        } = reader;
        let Some(genesis) = genesis else {
            return Err(torn.map_or(JournalError::Empty, |torn| torn.reason));
        };
        let mut journal = Journal {
            entries,
            blobs,
            genesis,
            seal: None,
            state,
            bytes,
        };
        if let Some(range) = seal {
            journal.take_seal(range)?;
        }
        Ok((journal, torn))
    }

    fn next(&self) -> Seq {
        Seq::new(self.entries.len() as u64)
    }

    fn frame(&mut self, raw: &Raw) -> Result<(), JournalError> {
        if self.seal.is_some() {
            return Err(JournalError::TrailingData {
                len: self.bytes.len() - raw.offset,
            });
        }
        let place = self.place(raw);
        if !raw.intact {
            return Err(diagnose::rotten(
                self.bytes,
                raw,
                place,
                self.expected_prev(),
            ));
        }
        let payload = &self.bytes[raw.payload.clone()];
        let terms = self.terms.clone();
        if terms.is_none() && !matches!(decode::peek(payload), Some((Kind::Terms, _))) {
            return Err(diagnose::no_terms(payload));
        }
        let functions = terms.as_ref().map_or(&[][..], |terms| &terms.functions);
        let mut scratch = std::mem::take(&mut self.scratch);
        let frame = decode::strict(payload, functions, &mut scratch);
        self.scratch = scratch;
        let frame = frame.map_err(|Malformed(detail)| JournalError::Malformed { place, detail })?;
        match frame {
            Frame::Terms(_) if terms.is_some() => Err(JournalError::OutOfOrder {
                place: Place::Terms,
                rule: "is a second list of terms",
            }),
            Frame::Terms(terms) => {
                let opening = &self.bytes[..raw.payload.end + CHECK_LEN];
                self.terms = Some(Arc::new(SettledTerms::read(*terms, opening, raw.hash)));
                Ok(())
            }
            Frame::Genesis(lead, genesis) => self.genesis(raw, &lead, *genesis),
            Frame::Intent(lead, entry) => {
                self.lead(raw, &lead)?;
                self.values(&[entry.request])?;
                let ruled = self.state.intent(lead.seq, &entry);
                self.keep(raw, place, ruled)
            }
            Frame::Enter(lead, entry) => {
                self.lead(raw, &lead)?;
                self.values(&[entry.request])?;
                let ruled = self.state.enter(&entry);
                self.keep(raw, place, ruled)
            }
            Frame::Call(lead, entry) => {
                self.lead(raw, &lead)?;
                let values = [
                    entry.request,
                    entry.response,
                    entry
                        .receipt
                        .map_or(Stored::Inline(&[]), |receipt| receipt.envelope),
                ];
                self.values(&values)?;
                let ruled = self.state.call(&entry);
                self.keep(raw, place, ruled)
            }
            Frame::End(lead, entry) => {
                self.lead(raw, &lead)?;
                self.values(entry.output.as_slice())?;
                let ruled = self.state.end();
                self.keep(raw, place, ruled)
            }
            Frame::Blob(value) => {
                if self.state.ended() {
                    return Err(JournalError::ValueStray { entry: self.next() });
                }
                self.waiting.push((raw.hash, self.range_of(raw, value)));
                Ok(())
            }
            Frame::Seal(value) => {
                if !self.state.ended() || !self.waiting.is_empty() {
                    return Err(JournalError::OutOfOrder {
                        place: Place::Seal,
                        rule: "comes before the end of the run",
                    });
                }
                self.seal = Some(self.range_of(raw, value));
                Ok(())
            }
        }
    }

    /// A blob's or seal's value is the last thing in its payload.
    fn range_of(&self, raw: &Raw, value: &[u8]) -> Range<usize> {
        raw.payload.end - value.len()..raw.payload.end
    }

    fn place(&self, raw: &Raw) -> Place {
        diagnose::place(
            self.bytes,
            raw,
            &self.after,
            // Nothing but terms is read before them.
            self.terms.is_none(),
            self.next(),
            self.state.ended(),
        )
    }

    /// What the next entry must name as its predecessor.
    fn expected_prev(&self) -> Option<EntryHash> {
        match self.entries.last() {
            Some(slot) => Some(slot.hash),
            None => self.terms.as_ref().map(|terms| terms.hash()),
        }
    }

    fn genesis(
        &mut self,
        raw: &Raw,
        lead: &Lead,
        genesis: Beginning<'_>,
    ) -> Result<(), JournalError> {
        if self.genesis.is_some() {
            self.lead(raw, lead)?;
            return Err(JournalError::OutOfOrder {
                place: Place::Entry(self.next()),
                rule: "is a first entry in the middle",
            });
        }
        let terms = self.terms.clone().ok_or(JournalError::TermsMissing)?;
        diagnose::foreign_genesis(self.bytes, &self.after, lead)?;
        if lead.seq != Seq::GENESIS || lead.prev != terms.hash() {
            return Err(diagnose::bad_genesis(
                self.bytes,
                &self.after,
                raw,
                lead,
                terms.hash(),
            ));
        }
        let Beginning {
            input,
            models,
            wasi_seed,
            clock_base,
            started,
            branch_of,
        } = genesis;
        self.values(&[input])?;
        let input = match input {
            Stored::Inline(bytes) => bytes.to_vec(),
            Stored::Blob(hash) => self.bytes[self.blobs[&hash].clone()].to_vec(),
            Stored::Of(_) => unreachable!("an input that names an intent does not decode"),
        };
        self.genesis = Some(Genesis {
            terms,
            run_id: lead.run,
            input,
            models: models.into_owned(),
            wasi_seed,
            clock_base,
            started,
            branch_of,
        });
        self.entries.push(Slot {
            payload: raw.payload.clone(),
            hash: raw.hash,
        });
        Ok(())
    }

    /// Number, run and predecessor.
    fn lead(&self, raw: &Raw, lead: &Lead) -> Result<(), JournalError> {
        let Some(genesis) = &self.genesis else {
            return Err(diagnose::no_genesis(lead));
        };
        let expected = self.expected_prev().expect("there is a first entry");
        if lead.seq == self.next() && lead.run == genesis.run_id && lead.prev == expected {
            return Ok(());
        }
        let known = |seq: Seq| {
            self.entries
                .get(usize::try_from(seq.get()).ok()?)
                .map(|slot| slot.hash)
        };
        Err(diagnose::bad_lead(
            self.bytes,
            &self.after,
            raw,
            lead,
            genesis.run_id,
            self.next(),
            expected,
            known,
        ))
    }

    /// Every blob an entry names is there, and every blob that is there is named, in order.
    fn values(&mut self, values: &[Stored<'_>]) -> Result<(), JournalError> {
        let entry = self.next();
        let mut waiting = std::mem::take(&mut self.waiting).into_iter();
        for value in values {
            let Stored::Blob(hash) = value else { continue };
            if self.blobs.contains_key(hash) {
                continue;
            }
            match waiting.next() {
                Some((found, range)) if found == *hash => {
                    self.blobs.insert(found, range);
                }
                Some(_) => {
                    return Err(JournalError::Altered {
                        place: Place::ValueOf(entry),
                        evidence: Evidence::Owner,
                    });
                }
                None => return Err(JournalError::ValueMissing { entry }),
            }
        }
        if waiting.next().is_some() {
            Err(JournalError::ValueStray { entry })
        } else {
            Ok(())
        }
    }

    fn keep(
        &mut self,
        raw: &Raw,
        place: Place,
        ruled: Result<(), crate::state::Broken>,
    ) -> Result<(), JournalError> {
        ruled.map_err(|crate::state::Broken(rule)| JournalError::OutOfOrder { place, rule })?;
        self.entries.push(Slot {
            payload: raw.payload.clone(),
            hash: raw.hash,
        });
        Ok(())
    }

    /// What the bytes after the last frame are.
    fn tail(&self) -> Option<(usize, JournalError)> {
        let place = if self.terms.is_none() {
            Place::Terms
        } else if self.state.ended() {
            Place::Seal
        } else {
            Place::Entry(self.next())
        };
        match *self.after.tail() {
            Tail::Clean => None,
            Tail::Cut {
                offset,
                present,
                needed,
            } => Some((
                offset,
                JournalError::CutInFrame {
                    place,
                    present,
                    needed,
                },
            )),
            Tail::TooLong { offset, len } => {
                Some((offset, JournalError::FrameTooLong { place, len }))
            }
        }
    }
}

fn check_header(bytes: &[u8]) -> Result<(), JournalError> {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        return Err(if !bytes.is_empty() && HEADER.starts_with(bytes) {
            JournalError::CutInHeader { len: bytes.len() }
        } else {
            JournalError::NotAJournal
        });
    };
    let (magic, version) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(JournalError::NotAJournal);
    }
    let found = u32::from_le_bytes(
        version
            .try_into()
            .expect("what follows the magic is four bytes"),
    );
    match found {
        FORMAT_VERSION => Ok(()),
        0 => Err(JournalError::UnknownFormat { found }),
        1..FORMAT_VERSION => Err(JournalError::OlderFormat { found }),
        _ => Err(JournalError::NewerFormat { found }),
    }
}

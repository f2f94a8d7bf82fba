//! Appends entries.
//!
//! An entry is encoded and hashed where it stays when the sink keeps everything in memory; else in a buffer that is used
//! again for the next, and then handed to the sink as one frame.
//! After an error from the sink the writer takes nothing more: what follows a frame that is half there could not be
//! read.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use crate::encode::{self, Beginning, Kind, Lead, Plain, RUN_ITEM_LEN, Stored, TAIL_LEN};
use crate::entry::{Call, End, Enter, Genesis, Head, Intent, Outcome, Seq};
use crate::format::{CHECK_LEN, LENGTH_LEN};
use crate::hash::{EntryHash, entry_hash, frame_hash};
use crate::limits::{
    MAX_FRAME_LEN, MAX_GRANT_LEN, MAX_INLINE_LEN, MAX_LIST_LEN, MAX_NAME_LEN, MAX_TEXT_LEN,
    MAX_VALUE_LEN,
};
use crate::sink::Sink;
use crate::state::{Broken, State};
use crate::terms::SettledTerms;
use tally_receipt::RunId;

/// The rule that an entry with an unknown function breaks.
const NOT_IN_THE_TERMS: &str = "names a function that is not in the terms";

/// Why an entry was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The disk has no room. What was durable stays readable.
    #[error("no room on the disk for entry {entry} of the journal: free some and run again")]
    DiskFull {
        /// The entry that did not fit.
        entry: Seq,
    },
    /// The sink failed otherwise.
    #[error("write entry {entry} of the journal: {source}")]
    Io {
        /// The entry that was being written.
        entry: Seq,
        /// What the sink said.
        source: io::Error,
    },
    /// An earlier write failed, so nothing more is taken.
    #[error("the journal takes nothing more since an earlier write failed")]
    Closed,
    /// Longer than the format allows. The caller bounds it.
    #[error("{what} is {len} long and may be {max} in a journal")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// How long it is, in bytes, or in items for a list.
        len: usize,
        /// How long it may be.
        max: usize,
    },
    /// A list that must be sorted by name, without a name twice, is not.
    #[error("{what} are not sorted by name, or name one twice")]
    Unsorted {
        /// Which list.
        what: &'static str,
    },
    /// The entry may not stand here. The caller is wrong.
    #[error("entry {entry} of the journal may not stand here: it {rule}")]
    OutOfOrder {
        /// The entry that was offered.
        entry: Seq,
        /// The rule, as a clause that follows "it".
        rule: &'static str,
    },
}

/// Writes one journal.
#[derive(Debug)]
pub struct Writer<S> {
    sink: S,
    frame: Vec<u8>,
    terms: Arc<SettledTerms>,
    run: RunId,
    next: u64,
    prev: EntryHash,
    state: State,
    blobs: BTreeSet<EntryHash>,
    /// Hash of the request of each open intent.
    requests: Vec<(Seq, blake3::Hash)>,
    failed: bool,
    sealed: bool,
}

impl<S: Sink> Writer<S> {
    /// Writes the header, the terms and the first entry.
    ///
    /// # Errors
    /// [`WriteError::TooLong`] and [`WriteError::Unsorted`] before anything is written; else what the sink says.
    pub fn create(sink: S, genesis: &Genesis) -> Result<Self, WriteError> {
        Self::reusing(Vec::with_capacity(1024), sink, genesis)
    }

    /// [`create`](Self::create) with a buffer of a writer before it: see [`into_parts`](Self::into_parts).
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn reusing(buffer: Vec<u8>, sink: S, genesis: &Genesis) -> Result<Self, WriteError> {
        value("the input", &genesis.input)?;
        check_list("the models", &genesis.models)?;
        let mut writer = Self {
            sink,
            frame: buffer,
            terms: genesis.terms.clone(),
            run: genesis.run_id,
            next: 0,
            prev: genesis.terms.hash(),
            state: State::default(),
            blobs: BTreeSet::new(),
            requests: Vec::new(),
            failed: false,
            sealed: false,
        };
        let opened = writer.sink.open(&genesis.terms);
        writer.took(opened)?;
        let input = writer.store("the input", &genesis.input)?;
        let beginning = Beginning::new(genesis, input);
        writer.entry(|out, lead| encode::genesis(out, lead, &beginning))?;
        Ok(writer)
    }

    /// Records that a call is about to be made and makes that durable. Only then may the effect leave the machine.
    ///
    /// # Errors
    /// [`WriteError`]; the call must then not be made.
    pub fn intent(&mut self, intent: &Intent<'_>) -> Result<Seq, WriteError> {
        self.ready()?;
        let place = self.function(intent.function)?;
        value("the request", intent.request)?;
        let seq = Seq::new(self.next);
        self.state
            .intent(seq, intent)
            .map_err(|broken| self.out_of_order(broken))?;
        let request = self.store("the request", intent.request)?;
        let Intent {
            frame,
            function,
            class,
            request: bytes,
            fuel,
        } = *intent;
        self.entry(|out, lead| {
            encode::intent(
                out,
                lead,
                &Intent {
                    frame,
                    function,
                    class,
                    request,
                    fuel,
                },
                place,
            )
        })?;
        self.requests.push((seq, blake3::hash(bytes)));
        self.sync()?;
        Ok(seq)
    }

    /// Records that a tool's run begins.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn enter(&mut self, enter: &Enter<'_>) -> Result<EntryHash, WriteError> {
        self.ready()?;
        name("the export", enter.export)?;
        value("the request", enter.request)?;
        at_most("the grant", enter.grant.len(), MAX_GRANT_LEN)?;
        self.state
            .enter(enter)
            .map_err(|broken| self.out_of_order(broken))?;
        let request = self.store("the request", enter.request)?;
        let Enter {
            frame,
            parent,
            component,
            export,
            grant,
            ..
        } = *enter;
        self.entry(|out, lead| {
            encode::enter(
                out,
                lead,
                &Enter {
                    frame,
                    parent,
                    component,
                    export,
                    request,
                    grant,
                },
            );
        })
    }

    /// Records a call that has returned.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn call(&mut self, call: &Call<'_>) -> Result<EntryHash, WriteError> {
        self.ready()?;
        let place = self.function(call.function)?;
        if let Some(plain) = plain(call, place) {
            self.state
                .plain_call(plain.frame)
                .map_err(|broken| self.out_of_order(broken))?;
            return self.entry(|out, lead| encode::plain(out, lead, &plain));
        }
        value("the request", call.request)?;
        value("the response", call.response)?;
        value(
            "the receipt",
            call.receipt.map_or(&[], |receipt| receipt.envelope),
        )?;
        let (crate::Decision::Allowed { rule: sentence }
        | crate::Decision::Denied { reason: sentence }) = call.decision;
        at_most("the rule or reason", sentence.len(), MAX_TEXT_LEN)?;
        let answered = match call.intent {
            None => None,
            Some(seq) => {
                let same = |(open, hash): &(Seq, blake3::Hash)| {
                    *open == seq && *hash == blake3::hash(call.request)
                };
                let index = self.requests.iter().position(same);
                Some(index.ok_or_else(|| {
                    self.out_of_order(Broken("answers an intent with another request"))
                })?)
            }
        };
        self.state
            .call(call)
            .map_err(|broken| self.out_of_order(broken))?;
        let request = match call.intent {
            Some(seq) => Stored::Of(seq),
            None => self.store("the request", call.request)?,
        };
        let response = self.store("the response", call.response)?;
        let receipt = match call.receipt {
            None => None,
            Some(receipt) => {
                let envelope = self.store("the receipt", receipt.envelope)?;
                Some(receipt.map(|_| envelope))
            }
        };
        if let Some(index) = answered {
            self.requests.swap_remove(index);
        }
        let Call {
            frame,
            function,
            class,
            intent,
            decision,
            fuel,
            callee,
            ..
        } = *call;
        self.entry(|out, lead| {
            encode::call(
                out,
                lead,
                &Call {
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
                place,
            );
        })
    }

    /// Records the end of the run and makes the journal durable.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn end(&mut self, end: &End<'_>) -> Result<Head, WriteError> {
        self.ready()?;
        value("the output", end.output.unwrap_or_default())?;
        if let Outcome::Trapped { reason: text }
        | Outcome::Exhausted { limit: text }
        | Outcome::HostFailed { reason: text } = end.outcome
        {
            at_most("the outcome", text.len(), MAX_TEXT_LEN)?;
        }
        self.state
            .end()
            .map_err(|broken| self.out_of_order(broken))?;
        let output = match end.output {
            None => None,
            Some(output) => Some(self.store("the output", output)?),
        };
        let End {
            outcome,
            fuel,
            ended,
            ..
        } = *end;
        self.entry(|out, lead| {
            encode::end(
                out,
                lead,
                &End {
                    outcome,
                    output,
                    fuel,
                    ended,
                },
            )
        })?;
        self.sync()?;
        Ok(self.head())
    }

    /// Adds the run receipt (a DSSE envelope, as JSON) over the head and makes the journal durable.
    ///
    /// # Errors
    /// [`WriteError`]; [`WriteError::OutOfOrder`] before the end or a second time.
    pub fn seal(&mut self, envelope: &[u8]) -> Result<(), WriteError> {
        self.ready()?;
        value("the run receipt", envelope)?;
        if !self.state.ended() {
            return Err(self.out_of_order(Broken("is a seal and the run has not ended")));
        }
        if self.sealed {
            return Err(self.out_of_order(Broken("is a second seal")));
        }
        self.frame.clear();
        frame(&mut self.frame, |out| {
            encode::attached(out, Kind::Seal, envelope);
        });
        self.hand_over()?;
        self.sealed = true;
        self.sync()
    }

    /// Where the journal stands.
    pub fn head(&self) -> Head {
        Head {
            hash: self.prev,
            entries: self.next,
        }
    }

    /// Hands what was written to the operating system.
    ///
    /// # Errors
    /// What the sink says.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.ready()?;
        let flushed = self.sink.flush();
        self.took(flushed)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the sink says.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.ready()?;
        let synced = self.sink.sync();
        self.took(synced)
    }

    /// The sink.
    pub fn sink(&self) -> &S {
        &self.sink
    }

    /// Gives the sink back.
    pub fn into_sink(self) -> S {
        self.sink
    }

    /// Gives the sink back, and the buffer for another writer.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.sink, self.frame)
    }

    #[inline]
    fn ready(&self) -> Result<(), WriteError> {
        if self.failed {
            Err(WriteError::Closed)
        } else {
            Ok(())
        }
    }

    fn function(&self, name: &str) -> Result<usize, WriteError> {
        self.terms
            .function(name)
            .ok_or_else(|| self.out_of_order(Broken(NOT_IN_THE_TERMS)))
    }

    fn out_of_order(&self, Broken(rule): Broken) -> WriteError {
        WriteError::OutOfOrder {
            entry: Seq::new(self.next),
            rule,
        }
    }

    /// Decides where a value stands and, if that is a blob not yet in the file, writes it.
    fn store<'a>(&mut self, what: &'static str, bytes: &'a [u8]) -> Result<Stored<'a>, WriteError> {
        value(what, bytes)?;
        if bytes.len() <= MAX_INLINE_LEN {
            return Ok(Stored::Inline(bytes));
        }
        self.frame.clear();
        let hash = frame(&mut self.frame, |out| {
            encode::attached(out, Kind::Blob, bytes);
        });
        if self.blobs.insert(hash) {
            self.hand_over()?;
        }
        Ok(Stored::Blob(hash))
    }

    /// Appends an entry: its length, what `encode` appends, run and predecessor, and its check.
    #[inline]
    fn entry(&mut self, encode: impl FnOnce(&mut Vec<u8>, &Lead)) -> Result<EntryHash, WriteError> {
        let lead = Lead {
            seq: Seq::new(self.next),
            run: self.run,
            prev: self.prev,
        };
        let (out, in_place) = match self.sink.buffer() {
            Some(out) => (out, true),
            None => {
                self.frame.clear();
                (&mut self.frame, false)
            }
        };
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH_LEN]);
        encode(out, &lead);
        let mut end = [0; TAIL_LEN + CHECK_LEN];
        end[..TAIL_LEN].copy_from_slice(&encode::tail(&lead));
        // The first entry covers the run, the others only their predecessor: see `hash`.
        let covered_of_end = if lead.seq == Seq::GENESIS {
            RUN_ITEM_LEN
        } else {
            0
        };
        out.extend_from_slice(&end[..covered_of_end]);
        let hash = entry_hash(&lead.prev, &out[start + LENGTH_LEN..]);
        end[TAIL_LEN..].copy_from_slice(&hash.as_bytes()[..CHECK_LEN]);
        if covered_of_end == 0 {
            out.extend_from_slice(&end);
        } else {
            out.extend_from_slice(&end[covered_of_end..]);
        }
        let len = out.len() - start - LENGTH_LEN - CHECK_LEN;
        debug_assert!(len <= MAX_FRAME_LEN, "each part is bounded to fit");
        let len = u32::try_from(len).expect("values are bounded well below 4 GiB");
        out[start..start + LENGTH_LEN].copy_from_slice(&len.to_le_bytes());
        if !in_place {
            self.hand_over()?;
        }
        self.next += 1;
        self.prev = hash;
        Ok(hash)
    }

    fn hand_over(&mut self) -> Result<(), WriteError> {
        let appended = self.sink.append(&self.frame);
        self.took(appended)
    }

    fn took(&mut self, result: io::Result<()>) -> Result<(), WriteError> {
        result.map_err(|source| {
            self.failed = true;
            let entry = Seq::new(self.next);
            if source.kind() == io::ErrorKind::StorageFull {
                WriteError::DiskFull { entry }
            } else {
                WriteError::Io { entry, source }
            }
        })
    }
}

/// The call as the shorter way to write it, where it is so plain that nothing has to be checked or stored first.
#[inline]
fn plain<'a>(call: &Call<'a>, function: usize) -> Option<Plain<'a>> {
    let (crate::Decision::Allowed { rule: sentence }
    | crate::Decision::Denied { reason: sentence }) = call.decision;
    let short = call.request.len() <= MAX_INLINE_LEN
        && call.response.len() <= MAX_INLINE_LEN
        && sentence.len() <= MAX_TEXT_LEN;
    let alone = call.intent.is_none() && call.receipt.is_none() && call.callee.is_none();
    (short && alone).then_some(Plain {
        frame: call.frame,
        function,
        class: call.class.code(),
        request: call.request,
        decision: call.decision,
        fuel: call.fuel,
        response: call.response,
    })
}

/// Appends one frame that is no entry: its length, the payload that `encode` appends, and its check.
#[inline]
fn frame(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) -> EntryHash {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_LEN]);
    encode(out);
    let (length, payload) = out[start..].split_at_mut(LENGTH_LEN);
    debug_assert!(
        payload.len() <= MAX_FRAME_LEN,
        "each part is bounded to fit"
    );
    let len = u32::try_from(payload.len()).expect("values are bounded well below 4 GiB");
    length.copy_from_slice(&len.to_le_bytes());
    let hash = frame_hash(payload);
    out.extend_from_slice(&hash.as_bytes()[..CHECK_LEN]);
    hash
}

pub(crate) fn at_most(what: &'static str, len: usize, max: usize) -> Result<(), WriteError> {
    if len > max {
        Err(WriteError::TooLong { what, len, max })
    } else {
        Ok(())
    }
}

pub(crate) fn name(what: &'static str, name: &str) -> Result<(), WriteError> {
    at_most(what, name.len(), MAX_NAME_LEN)
}

fn value(what: &'static str, bytes: &[u8]) -> Result<(), WriteError> {
    at_most(what, bytes.len(), MAX_VALUE_LEN)
}

pub(crate) fn check_list<T>(what: &'static str, list: &[(String, T)]) -> Result<(), WriteError> {
    at_most(what, list.len(), MAX_LIST_LEN)?;
    for (item, _) in list {
        name(what, item)?;
    }
    if list.is_sorted_by(|a, b| a.0 < b.0) {
        Ok(())
    } else {
        Err(WriteError::Unsorted { what })
    }
}

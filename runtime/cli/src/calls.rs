//! Calls of models that leave no record in a vault: embeddings, rankings, bios in a model's words, calls that failed, and answers that
//! were thrown away while learning.
//!
//! A call that something was learnt from is a record of the vault, beside what it brought (`docs/memory.md`). A question brings nothing,
//! and may be asked with a key that writes nothing; so what it cost is noted here, by this machine for itself:
//!
//! ```text
//! $TALLY_HOME/calls/                         mode 0700
//!   log.jsonl, log.1.jsonl    a line for each call, the newest in the first; mode 0600
//!   gone.json                 what the calls cost together whose lines had to go
//! ```
//!
//! Invariants: a line holds no word of what was asked or answered, so forgetting has nothing to do here, and of a receipt the
//! digest. The files hold at most twice [`FILE_MAX`] and a line. A call whose note cannot be written is answered all the same: the log says so.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tally_durable::Access;
use tally_inference::InferenceError;

use crate::home::Home;

/// How long a file of lines becomes before the next is begun: some 5,000 calls.
const FILE_MAX: u64 = 1 << 20;

/// A call, as it is noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    /// When it ended, in milliseconds since 1970.
    pub(crate) at: u64,
    /// What for: `embed`, `rank`, `phrase`, `extract`, or `learn` where that is all that is known.
    pub(crate) purpose: String,
    /// The model's name.
    pub(crate) model: String,
    /// How many texts it was given.
    pub(crate) texts: usize,
    /// Tokens that it read.
    pub(crate) prompt_tokens: u32,
    /// Tokens that it wrote.
    pub(crate) output_tokens: u32,
    /// How long it took, in milliseconds.
    pub(crate) took_ms: u64,
    /// BLAKE3 of its receipt's envelope.
    pub(crate) receipt: Option<String>,
    /// Who has to act, if it failed; why, if its answer was thrown away.
    pub(crate) error: Option<String>,
}

/// What calls cost together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) calls: u64,
    /// Of them, those that failed.
    pub(crate) failed: u64,
    pub(crate) prompt_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) took_ms: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, call: &Noted) {
        self.calls += 1;
        self.failed += u64::from(call.error.is_some());
        self.prompt_tokens += u64::from(call.prompt_tokens);
        self.output_tokens += u64::from(call.output_tokens);
        self.took_ms += call.took_ms;
    }
}

/// What a call cost: tokens read, tokens written and the receipt's envelope.
pub(crate) type Spent<'a> = (u32, u32, Option<&'a [u8]>);

/// What came of a call: what it cost, or who has to act.
pub(crate) type Ended<'a> = Result<Spent<'a>, &'static str>;

/// Where calls are noted: in a folder, or nowhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Option<Arc<Path>>);

impl Calls {
    /// In this machine's folder.
    pub(crate) fn of(home: &Home) -> Self {
        Self(Some(Arc::from(home.path().join("calls"))))
    }

    /// Notes a call that has just ended.
    pub(crate) fn note(
        &self,
        purpose: &str,
        model: &str,
        texts: usize,
        began: Instant,
        ended: Ended<'_>,
    ) {
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let spent = ended.unwrap_or_default();
        self.put(noted(purpose, model, texts, took_ms, spent, ended.err()));
    }

    /// Notes an answer that came, and that nothing was learnt from because it was thrown away: with what it cost.
    pub(crate) fn note_thrown_away(
        &self,
        model: &str,
        took_ms: u64,
        spent: Spent<'_>,
        why: &'static str,
    ) {
        self.put(noted(LEARN, model, 1, took_ms, spent, Some(why)));
    }

    fn put(&self, call: Noted) {
        let Some(folder) = &self.0 else {
            return;
        };
        if let Err(error) = append(folder, &call, FILE_MAX) {
            tracing::warn!(%error, "a call of a model is not noted");
        }
    }

    /// What is noted, oldest first, and what the calls before cost together.
    pub(crate) fn read(&self) -> io::Result<(Vec<Noted>, Sum)> {
        let Some(folder) = &self.0 else {
            return Ok((Vec::new(), Sum::default()));
        };
        if !folder.is_dir() {
            return Ok((Vec::new(), Sum::default()));
        }
        let _turn = readers_turn(folder)?;
        let mut calls = lines(&folder.join(OLDER))?;
        calls.extend(lines(&folder.join(NEWER))?);
        Ok((calls, gone(folder)?))
    }
}

/// A line for a call that ended now.
fn noted(
    purpose: &str,
    model: &str,
    texts: usize,
    took_ms: u64,
    (prompt_tokens, output_tokens, receipt): Spent<'_>,
    error: Option<&str>,
) -> Noted {
    Noted {
        at: now_ms(),
        purpose: purpose.to_owned(),
        model: model.to_owned(),
        texts,
        prompt_tokens,
        output_tokens,
        took_ms,
        receipt: receipt.map(|envelope| blake3::hash(envelope).to_hex().to_string()),
        error: error.map(str::to_owned),
    }
}

/// What calls while learning are noted as, of which nothing came.
pub(crate) const LEARN: &str = "learn";

/// Who has to act on this failure of a call.
pub(crate) fn class(error: &InferenceError) -> &'static str {
    match error {
        error if error.is_callers() => "request",
        error if error.is_retryable() => "try-again",
        InferenceError::Cancelled => "cancelled",
        InferenceError::Receipt(_) => "receipt",
        _ => "operator",
    }
}

/// The class of a call whose receipt could not be kept, so that its answer was not used.
pub(crate) const NOT_KEPT: &str = "receipt-not-kept";

const NEWER: &str = "log.jsonl";
const OLDER: &str = "log.1.jsonl";
const GONE: &str = "gone.json";

fn append(folder: &Path, call: &Noted, most: u64) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let _turn = turn(folder)?;
    let newer = folder.join(NEWER);
    let is_full = match std::fs::metadata(&newer) {
        Ok(found) => found.len() >= most,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if is_full {
        let older = folder.join(OLDER);
        let mut sum = gone(folder)?;
        for call in lines(&older)? {
            sum.add(&call);
        }
        // A crash between the two counts what a file cost twice; no line is lost by it.
        let sum = serde_json::to_vec(&sum)?;
        tally_durable::write_file(&folder.join(GONE), &sum, Access::Owner)?;
        tally_durable::rename(&newer, &older)?;
    }
    // A line feed before it ends what a crash cut off.
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, call)?;
    open(&newer)?.write_all(&line)
}

/// This program's turn at the files, while what it gives lives.
fn turn(folder: &Path) -> io::Result<File> {
    let file = open(&folder.join("lock"))?;
    file.lock()?;
    Ok(file)
}

/// The same for whoever only reads, as far as there is something to lock: a folder may be one that cannot be written, or be read
/// before anything was written.
fn readers_turn(folder: &Path) -> io::Result<Option<File>> {
    match File::open(folder.join("lock")) {
        Ok(file) => {
            file.lock_shared()?;
            Ok(Some(file))
        }
        Err(_) => Ok(None),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// The calls of a file. A line that a crash cut off is none.
fn lines(path: &Path) -> io::Result<Vec<Noted>> {
    let text = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

/// What calls cost whose lines are gone. A sum that is damaged is lost, and ends nothing else.
fn gone(folder: &Path) -> io::Result<Sum> {
    match std::fs::read(folder.join(GONE)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, "what older calls cost is damaged, and counted from zero again");
            Sum::default()
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Sum::default()),
        Err(error) => Err(error),
    }
}

fn now_ms() -> u64 {
    use tally_vault::Clock as _;
    tally_vault::SystemClock.now_ms()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(texts: usize, error: Option<&str>) -> Noted {
        Noted {
            at: 1,
            purpose: "embed".to_owned(),
            model: "letters".to_owned(),
            texts,
            prompt_tokens: 3,
            output_tokens: 0,
            took_ms: 2,
            receipt: None,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn the_oldest_lines_go_and_what_they_cost_stays_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let calls = Calls(Some(Arc::from(folder.path().join("calls"))));
        assert_eq!(calls.read().expect("read"), (Vec::new(), Sum::default()));
        let place = folder.path().join("calls");
        // Two lines a file; the first line, which is longer, has one to itself.
        let most = serde_json::to_vec(&call(0, None)).expect("JSON").len() as u64 + 2;
        for texts in 0..7 {
            let error = (texts == 0).then_some("operator");
            append(&place, &call(texts, error), most).expect("noted");
        }
        let (kept, gone) = calls.read().expect("read");
        let texts: Vec<usize> = kept.iter().map(|one| one.texts).collect();
        assert_eq!(texts, [3, 4, 5, 6]);
        assert_eq!((gone.calls, gone.failed, gone.prompt_tokens), (3, 1, 9));
    }

    #[test]
    fn an_answer_that_was_thrown_away_is_noted_with_its_cost_and_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let calls = Calls(Some(Arc::from(folder.path())));
        calls.note_thrown_away(
            "parrot",
            7,
            (10, 20, Some(b"envelope")),
            "vault-not-written",
        );
        let (kept, _) = calls.read().expect("read");
        let digest = blake3::hash(b"envelope").to_hex().to_string();
        assert_eq!(
            kept,
            [Noted {
                at: kept[0].at,
                purpose: "learn".to_owned(),
                model: "parrot".to_owned(),
                texts: 1,
                prompt_tokens: 10,
                output_tokens: 20,
                took_ms: 7,
                receipt: Some(digest),
                error: Some("vault-not-written".to_owned()),
            }]
        );
    }

    #[test]
    fn a_sum_that_is_damaged_is_counted_from_zero_and_ends_no_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let calls = Calls(Some(Arc::from(folder.path())));
        for damaged in ["", "{\"calls\":", "7"] {
            std::fs::write(folder.path().join(GONE), damaged).expect("written");
            assert_eq!(calls.read().expect("read").1, Sum::default(), "{damaged}");
            // Each line fills a file, so from the third on what they cost is summed.
            for texts in 0..3 {
                append(folder.path(), &call(texts, None), 1).expect("noted");
            }
            assert!(calls.read().expect("read").1.calls > 0, "{damaged}");
        }
    }

    #[test]
    fn whoever_only_reads_writes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut line = serde_json::to_vec(&call(5, None)).expect("JSON");
        line.push(b'\n');
        std::fs::write(folder.path().join(NEWER), line).expect("written");
        let calls = Calls(Some(Arc::from(folder.path())));
        assert_eq!(calls.read().expect("read").0, [call(5, None)]);
        let files = std::fs::read_dir(folder.path()).expect("a folder");
        assert_eq!(files.count(), 1);
    }

    #[test]
    fn a_line_that_was_cut_off_hides_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(NEWER), b"{\"at\":1,\"pur").expect("written");
        append(folder.path(), &call(5, None), FILE_MAX).expect("noted");
        let calls = Calls(Some(Arc::from(folder.path())));
        let (kept, _) = calls.read().expect("read");
        assert_eq!(kept, [call(5, None)]);
    }
}

//! Where memory is kept: one namespace of a vault, which others may have open too.
//!
//! The vault's lock is taken for each write and given back after it, unless the vault was opened for writing. Everything that
//! is read is decoded once and handed to the fold; a record that is not memory's is passed over, one that should be and is not
//! is counted and named, and hides nothing else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tally_vault::format::{MemberId, NamespaceId, OpId, ReceiptDigest, Right, RunId};
use tally_vault::{Change, NewContent, NewRecord, OpenError, ReadError, Vault, WriteError};
use zeroize::Zeroizing;

use crate::record::{RECORD_MAX, Record, RecordError};
use crate::vectors::Vectors;

/// A vault that several parts of a program use in turn.
pub type SharedVault = Arc<Mutex<Vault>>;

/// How long a write waits for another program's, and how often it looks.
const PATIENCE_STEPS: u32 = 500;
const PATIENCE_STEP: Duration = Duration::from_millis(20);

/// A record as it lies in the vault.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) op: OpId,
    /// The vault's time of the operation: milliseconds since 1970 in the upper 48 bits.
    pub(crate) written: u64,
    pub(crate) author: MemberId,
    /// The run that wrote it, if one did.
    pub(crate) run: Option<RunId>,
    pub(crate) content: Content,
}

/// What it holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Record(Box<Record>),
    Vectors(Vectors),
}

/// A record of one of memory's types that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The operation that wrote it.
    pub operation: OpId,
    /// The type it claims.
    pub record_type: String,
    /// What is wrong with it.
    pub error: RecordError,
}

/// What came and what went since the last look.
#[derive(Default)]
pub(crate) struct News {
    pub(crate) found: Vec<Found>,
    pub(crate) damaged: Vec<Damaged>,
    /// Something was retracted or redacted: what is known has to be built again.
    pub(crate) gone: bool,
}

/// Why memory could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No such namespace, or its key is not ours.
    #[error("the vault has no namespace {0:?} that this key opens")]
    NoSuchNamespace(String),
    /// Another program has the vault.
    #[error("another program is writing the vault: try again")]
    InUse,
    /// The vault's folder could not be read.
    #[error("{0}")]
    Vault(#[from] OpenError),
    /// A record could not be read.
    #[error("{0}")]
    Read(#[from] ReadError),
}

pub(crate) struct Store {
    vault: SharedVault,
    pub(crate) namespace: NamespaceId,
    /// The run that what is written names, if one writes.
    pub(crate) run: Option<RunId>,
    /// Everything of the namespace that was looked at.
    seen: BTreeSet<OpId>,
}

/// The vault, with its lock while this lives.
pub(crate) struct Turn<'a> {
    pub(crate) vault: MutexGuard<'a, Vault>,
    namespace: NamespaceId,
    run: Option<RunId>,
    /// Whether the lock was taken for this turn.
    ours: bool,
}

impl Turn<'_> {
    /// Writes records, all with one sync. Those of which a receipt is known carry its digest.
    pub(crate) fn append(
        &mut self,
        records: &[(&'static str, Vec<u8>, Option<ReceiptDigest>)],
    ) -> Result<Vec<OpId>, WriteError> {
        let changes = records
            .iter()
            .map(|(record_type, bytes, receipt)| {
                Change::Add(NewRecord {
                    record_type,
                    run: self.run,
                    receipt: *receipt,
                    content: NewContent::Bytes(bytes),
                })
            })
            .collect();
        self.vault.append(&self.namespace, changes)
    }

    /// Whether all these operations were destroyed. Asked in the turn that writes what was made of them, so that nothing is kept of what
    /// somebody has just forgotten.
    pub(crate) fn are_gone(&mut self, operations: &[OpId]) -> bool {
        let view = self.vault.view();
        operations.iter().all(|op| view.is_redacted(op))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.ours {
            self.vault.end_writing();
        }
    }
}

impl Store {
    pub(crate) fn open(vault: SharedVault, name: &str) -> Result<Self, LoadError> {
        let namespace = lock(&vault)
            .namespace(name)
            .ok_or_else(|| LoadError::NoSuchNamespace(name.to_owned()))?;
        Ok(Self {
            vault,
            namespace,
            run: None,
            seen: BTreeSet::new(),
        })
    }

    /// The same place, for who writes there and looks at nothing.
    pub(crate) fn to_write(&self) -> Self {
        Self {
            vault: Arc::clone(&self.vault),
            namespace: self.namespace,
            run: self.run,
            seen: BTreeSet::new(),
        }
    }

    pub(crate) fn vault(&self) -> MutexGuard<'_, Vault> {
        lock(&self.vault)
    }

    /// Whether the keys at hand may add to the namespace.
    pub(crate) fn may_add(&self) -> bool {
        self.vault()
            .namespaces()
            .iter()
            .any(|one| one.id == self.namespace && one.right >= Some(Right::Append))
    }

    /// Takes the vault to write to it.
    pub(crate) fn turn(&self) -> Result<Turn<'_>, LoadError> {
        for _ in 0..PATIENCE_STEPS {
            let mut vault = self.vault();
            let ours = !vault.is_writable();
            let begun = if ours { vault.begin_writing() } else { Ok(()) };
            match begun {
                Ok(()) => {
                    return Ok(Turn {
                        vault,
                        namespace: self.namespace,
                        run: self.run,
                        ours,
                    });
                }
                Err(OpenError::InUse) => drop(vault),
                Err(error) => return Err(error.into()),
            }
            std::thread::sleep(PATIENCE_STEP);
        }
        Err(LoadError::InUse)
    }

    /// Forgets what was looked at, so that the next look shows everything.
    pub(crate) fn start_over(&mut self) {
        self.seen.clear();
    }

    /// What is in the vault now and was not at the last look.
    pub(crate) fn look(&mut self) -> Result<News, LoadError> {
        let mut vault = lock(&self.vault);
        let mut news = News::default();
        let namespace = self.namespace;
        let view = vault.view();
        let current: BTreeSet<OpId> = view
            .current()
            .into_iter()
            .filter(|id| view.row(id).is_some_and(|row| row.namespace == namespace))
            .collect();
        if self.seen.iter().any(|id| !current.contains(id)) {
            news.gone = true;
            self.seen.clear();
        }
        let fresh = current.difference(&self.seen).count();
        if fresh == 0 {
            return Ok(news);
        }
        let mut raw: Vec<(OpId, String, tally_vault::Record)> = Vec::new();
        vault.for_each_current::<LoadError>(Some(&[namespace]), |id, record| {
            if !self.seen.contains(&id) && is_ours(&record.record_type) {
                raw.push((id, record.record_type.clone(), copy(record)));
            }
            Ok(())
        })?;
        self.seen = current;
        for (op, record_type, record) in raw {
            if record.len() > RECORD_MAX as u64 {
                news.damaged.push(Damaged {
                    operation: op,
                    record_type,
                    error: RecordError::TooLong {
                        found: record.len(),
                    },
                });
                continue;
            }
            let mut bytes = Zeroizing::new(Vec::new());
            vault.read_content(&record, &mut *bytes)?;
            let content = if record_type == Vectors::RECORD_TYPE {
                Vectors::decode(&bytes).map(|vectors| Some(Content::Vectors(vectors)))
            } else {
                Record::decode(&record_type, &bytes)
                    .map(|record| record.map(|record| Content::Record(Box::new(record))))
            };
            match content {
                Ok(Some(content)) => {
                    let view = vault.view();
                    let Some(row) = view.row(&op) else { continue };
                    news.found.push(Found {
                        op,
                        written: row.time.0,
                        author: row.author,
                        run: record.run,
                        content,
                    });
                }
                Ok(None) => {}
                Err(error) => news.damaged.push(Damaged {
                    operation: op,
                    record_type,
                    error,
                }),
            }
        }
        news.found.sort_by_key(|found| (found.written, found.op));
        Ok(news)
    }
}

fn is_ours(record_type: &str) -> bool {
    Record::is_ours(record_type) || record_type == Vectors::RECORD_TYPE
}

/// A record without its content where that is in a file of its own.
fn copy(record: &tally_vault::Record) -> tally_vault::Record {
    use tally_vault::Stored;
    tally_vault::Record {
        record_type: record.record_type.clone(),
        run: record.run,
        receipt: record.receipt,
        content: match &record.content {
            Stored::Inline(bytes) => Stored::Inline(bytes.clone()),
            Stored::Blob(blob) => Stored::Blob(blob.clone()),
        },
    }
}

fn lock(vault: &SharedVault) -> MutexGuard<'_, Vault> {
    // The vault's own invariants hold between its operations; one that panicked wrote nothing it acknowledged.
    vault.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Reading records back: from the boxes on the disk, one at a time or all in the order in which they lie there.
//!
//! Nothing that was decrypted is kept: what a vault holds in memory of a record is its id and what became of it.

use std::collections::BTreeMap;
use std::io::Write;

use tally_vault_format::{
    BlobRef, BoxBuffer, Content, NamespaceId, OpId, OpenedOp, ReceiptDigest, RecordContent, RunId,
    SealId,
};
use tally_vault_state::Status;
use zeroize::Zeroizing;

use crate::blobs::{self, ReadBlobError};
use crate::error::{FileError, ReadError};
use crate::open_boxes::{FrameReader, KeyNumbers, OpenBoxError, ranked};
use crate::vault::Vault;

/// A record that was read. Its inline content is wiped when it is dropped.
pub struct Record {
    /// What it is.
    pub record_type: String,
    /// The run that wrote it.
    pub run: Option<RunId>,
    /// The receipt it rests on.
    pub receipt: Option<ReceiptDigest>,
    /// The thing itself.
    pub content: Stored,
}

/// The content of a record.
pub enum Stored {
    /// Here.
    Inline(Zeroizing<Vec<u8>>),
    /// In a file of its own: [`Vault::read_content`] gives it out.
    Blob(BlobRef),
}

impl Record {
    /// Bytes of the content.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.content {
            Stored::Inline(bytes) => bytes.len() as u64,
            Stored::Blob(blob) => blob.len,
        }
    }

    /// Whether the content is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn of(op: &OpenedOp<'_>) -> Option<Self> {
        let Some(Content::Record(record)) = op.op.content() else {
            return None;
        };
        Some(Self {
            record_type: record.record_type.to_owned(),
            run: record.run,
            receipt: record.receipt,
            content: match record.content {
                RecordContent::Inline(bytes) => Stored::Inline(Zeroizing::new(bytes.to_vec())),
                RecordContent::Blob(blob) => Stored::Blob(blob),
            },
        })
    }
}

impl Vault {
    /// The record that an add or supersede wrote, whatever became of it since, unless it was redacted.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get(&mut self, id: &OpId) -> Result<Record, ReadError> {
        self.with_body(id, |op| Record::of(op).ok_or(ReadError::NotARecord(op.id)))?
    }

    /// Why something was retracted or redacted, in the words of who did it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn reason(&mut self, id: &OpId) -> Result<Zeroizing<String>, ReadError> {
        self.with_body(id, |op| match op.op.content() {
            Some(Content::Reason(text)) => Ok(Zeroizing::new(text.to_owned())),
            _ => Err(ReadError::NotARecord(op.id)),
        })?
    }

    /// Gives out the content of a record. Each part is authentic when it is given out; that it was the whole is known when
    /// this returns.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_content(&self, record: &Record, output: &mut dyn Write) -> Result<(), ReadError> {
        match &record.content {
            Stored::Inline(bytes) => output.write_all(bytes).map_err(ReadError::Output),
            Stored::Blob(blob) => {
                blobs::read(&self.environment, &self.layout, &self.id, blob, output).map_err(
                    |error| match error {
                        ReadBlobError::Missing => ReadError::BlobMissing,
                        ReadBlobError::Damaged(error) => ReadError::Blob(error),
                        ReadBlobError::Io(error) => {
                            FileError::at(&self.layout.blob(&blob.id))(error).into()
                        }
                        ReadBlobError::Output(error) => ReadError::Output(error),
                    },
                )
            }
        }
    }

    /// Shows the current records of these namespaces, or of all that can be read, each box opened once and in the order
    /// in which they lie on the disk. Of versions in conflict each is shown.
    ///
    /// # Errors
    /// [`ReadError`] of the first that cannot be read; an error of `visit` ends it too.
    pub fn for_each_current<E: From<ReadError>>(
        &mut self,
        namespaces: Option<&[NamespaceId]>,
        mut visit: impl FnMut(OpId, &Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut wanted: BTreeMap<(usize, u64, SealId), Vec<OpId>> = BTreeMap::new();
        let view = self.fold.view();
        for id in view.current() {
            let Some(row) = view.row(&id) else { continue };
            if namespaces.is_some_and(|some| !some.contains(&row.namespace)) {
                continue;
            }
            let Some(stored) = self.set.seals.get(&row.seal) else {
                continue;
            };
            let Some(first) = stored.boxes.first() else {
                continue;
            };
            wanted
                .entry((first.file, first.offset, row.seal))
                .or_default()
                .push(id);
        }
        let numbers = self.key_numbers();
        let mut reader = FrameReader::new(&self.environment, &self.set);
        let mut buffer = BoxBuffer::new();
        for ((_, _, seal), mut ids) in wanted {
            ids.sort_unstable();
            let stored = &self.set.seals[&seal];
            let mut last = None;
            for place in ranked(stored, &self.keys, &numbers) {
                match reader.open(stored, place, &self.keys, &mut buffer) {
                    Ok(opened) => {
                        for op in opened.iter() {
                            if let Ok(at) = ids.binary_search(&op.id)
                                && let Some(record) = Record::of(&op)
                            {
                                visit(op.id, &record)?;
                                ids.remove(at);
                            }
                        }
                    }
                    Err(error) => last = Some(error),
                }
                if ids.is_empty() {
                    break;
                }
            }
            if let Some(id) = ids.first() {
                return Err(match last {
                    Some(error) => self.read_error(*id, error).into(),
                    None => ReadError::BodyMissing(*id).into(),
                });
            }
        }
        Ok(())
    }

    /// Opens the box of an operation and shows the operation, body included.
    fn with_body<R>(
        &mut self,
        id: &OpId,
        show: impl FnOnce(&OpenedOp<'_>) -> R,
    ) -> Result<R, ReadError> {
        let view = self.fold.view();
        let row = view.row(id).ok_or(ReadError::NoSuchOperation(*id))?;
        if view.is_redacted(id) || row.status == Status::Redacted {
            return Err(ReadError::Redacted(*id));
        }
        let numbers = self.key_numbers();
        let stored = self
            .set
            .seals
            .get(&row.seal)
            .ok_or(ReadError::NoSuchOperation(*id))?;
        let mut reader = FrameReader::new(&self.environment, &self.set);
        let mut buffer = BoxBuffer::new();
        let mut last = None;
        let places = ranked(stored, &self.keys, &numbers);
        if places.is_empty() {
            return Err(ReadError::NoKey(row.namespace));
        }
        for place in places {
            match reader.open(stored, place, &self.keys, &mut buffer) {
                Ok(opened) => {
                    if let Some(op) = opened.iter().find(|op| op.id == *id)
                        && op.op.content().is_some()
                    {
                        return Ok(show(&op));
                    }
                }
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(error) => self.read_error(*id, error),
            None => ReadError::BodyMissing(*id),
        })
    }

    fn read_error(&self, id: OpId, error: OpenBoxError) -> ReadError {
        match error {
            OpenBoxError::Io(error) => FileError::at(self.layout.root())(error).into(),
            OpenBoxError::Box(error) => ReadError::Box { id, error },
        }
    }

    pub(crate) fn key_numbers(&mut self) -> KeyNumbers {
        let view = self.fold.view();
        let mut numbers = KeyNumbers::new();
        for namespace in view.namespaces() {
            for row in view.keys(&namespace, |_| None).keys {
                numbers.insert((namespace, row.key.key_id()), row.number);
            }
        }
        numbers
    }
}

//! Writing operations: named, boxed, sealed, appended to the author's tail with one sync, and then acknowledged.

use std::io::Read;
use std::sync::Arc;

use tally_vault_format::{
    Body, BoxDraft, ChainPosition, Content, DraftError, EpochKey, FrameRef, GrantId, Identity,
    MemberId, NamespaceId, Op, OpId, OpKind, OpRef, ReceiptDigest, Record, RecordContent, Right,
    RunId, Time, limits, seal_frame,
};
use tally_vault_state::Operation;
use zeroize::Zeroizing;

use crate::author::Author;
use crate::blobs::{self, WriteBlobError};
use crate::environment::Rng;
use crate::error::{FileError, WriteError};
use crate::layout::BLOBS;
use crate::tail::TailError;
use crate::vault::Vault;

/// The content of a record to be written.
pub enum NewContent<'a> {
    /// In memory. What is too long for a record goes to a file of its own.
    Bytes(&'a [u8]),
    /// From a stream, into a file of its own.
    Stream {
        /// Where it comes from.
        reader: &'a mut dyn Read,
        /// How long it is.
        len: u64,
    },
}

/// A record to be written.
pub struct NewRecord<'a> {
    /// What it is: 1 to 64 of `a-z 0-9 . - / +`.
    pub record_type: &'a str,
    /// The run that writes it.
    pub run: Option<RunId>,
    /// The receipt it rests on.
    pub receipt: Option<ReceiptDigest>,
    /// The thing itself.
    pub content: NewContent<'a>,
}

/// One change to be written.
pub enum Change<'a> {
    /// A new record.
    Add(NewRecord<'a>),
    /// A record in place of others.
    Supersede {
        /// In place of which; 1 to 64.
        targets: Vec<OpId>,
        /// The record.
        record: NewRecord<'a>,
    },
    /// Records are no longer shown.
    Retract {
        /// Which; 1 to 64.
        targets: Vec<OpId>,
        /// Why, in words; may be empty.
        reason: &'a str,
    },
}

/// Who writes, and under which grant.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) identity: Arc<Identity>,
    pub(crate) grant: GrantId,
}

/// An operation that has no time and no place yet.
pub(crate) struct Draft {
    pub(crate) kind: OpKind,
    pub(crate) targets: Vec<OpId>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Draft {
    pub(crate) fn new(kind: OpKind, targets: Vec<OpId>, content: &Content<'_>) -> Self {
        Self {
            kind,
            targets,
            body: Zeroizing::new(content.encode()),
        }
    }
}

impl Vault {
    /// Writes changes to one namespace, all or none of them but for a crash in between, and returns their ids in order.
    /// When this returns they are on the disk: large contents first, then all operations with one sync.
    ///
    /// Opened with a passphrase on a device that is new to the vault, the device is enrolled first.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn append(
        &mut self,
        namespace: &NamespaceId,
        changes: Vec<Change<'_>>,
    ) -> Result<Vec<OpId>, WriteError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        self.enrol_if_new()?;
        let needs = self.needed_right(namespace, &changes);
        let writer = self.writer(namespace, needs)?;
        // Refused before a blob is written for it.
        self.key_to_write(namespace)?;
        let mut rng = Rng::new(&self.environment).map_err(WriteError::Random)?;
        let mut drafts = Vec::with_capacity(changes.len());
        let mut has_blobs = false;
        for change in changes {
            drafts.push(match change {
                Change::Add(record) => {
                    self.record_draft(OpKind::Add, Vec::new(), record, &mut rng, &mut has_blobs)?
                }
                Change::Supersede { targets, record } => {
                    self.record_draft(OpKind::Supersede, targets, record, &mut rng, &mut has_blobs)?
                }
                Change::Retract { targets, reason } => {
                    Draft::new(OpKind::Retract, targets, &Content::Reason(reason))
                }
            });
        }
        if has_blobs {
            let folder = self.layout.folder(BLOBS);
            self.environment
                .fs
                .sync_dir(&folder)
                .map_err(FileError::at(&folder))?;
        }
        self.write(&writer, namespace, drafts, &mut rng)
    }

    fn record_draft(
        &self,
        kind: OpKind,
        targets: Vec<OpId>,
        record: NewRecord<'_>,
        rng: &mut Rng,
        has_blobs: &mut bool,
    ) -> Result<Draft, WriteError> {
        let mut blob = |reader: &mut dyn Read, len: u64| {
            *has_blobs = true;
            blobs::write(&self.environment, &self.layout, &self.id, reader, len, rng)
                .map(RecordContent::Blob)
                .map_err(|error| self.blob_error(error))
        };
        let content = match record.content {
            NewContent::Bytes(bytes) if bytes.len() <= limits::INLINE_LEN => {
                RecordContent::Inline(bytes)
            }
            NewContent::Bytes(mut bytes) => {
                let len = bytes.len() as u64;
                blob(&mut bytes, len)?
            }
            NewContent::Stream { reader, len } => blob(reader, len)?,
        };
        let record = Record {
            record_type: record.record_type,
            run: record.run,
            receipt: record.receipt,
            content,
        };
        Ok(Draft::new(kind, targets, &Content::Record(record)))
    }

    fn blob_error(&self, error: WriteBlobError) -> WriteError {
        match error {
            WriteBlobError::Io(error) => FileError::at(&self.layout.folder(BLOBS))(error).into(),
            other => WriteError::Content(other.to_string()),
        }
    }

    /// What these changes take: to touch what others wrote, curate.
    fn needed_right(&mut self, namespace: &NamespaceId, changes: &[Change<'_>]) -> Right {
        let own: Vec<MemberId> = self
            .holder
            .all()
            .iter()
            .map(|holder| holder.member())
            .collect();
        let view = self.fold.view();
        let foreign = changes
            .iter()
            .flat_map(|change| match change {
                Change::Add(_) => &[],
                Change::Supersede { targets, .. } | Change::Retract { targets, .. } => {
                    targets.as_slice()
                }
            })
            .filter_map(|target| view.row(target))
            .any(|row| row.namespace == *namespace && !own.contains(&row.author));
        if foreign {
            Right::Curate
        } else {
            Right::Append
        }
    }

    /// Who of those whose keys are here may do something, and under which grant.
    pub(crate) fn writer(
        &mut self,
        namespace: &NamespaceId,
        needs: Right,
    ) -> Result<Writer, WriteError> {
        if self.lock.is_none() {
            return Err(WriteError::ReadOnly);
        }
        let now = self.now();
        let holders = self.holder.all();
        let first = holders.first().ok_or(WriteError::Locked)?.member();
        let view = self.fold.view();
        for identity in holders {
            let member = identity.member();
            if let Some(grant) = view.grant_to_use(&member, namespace, needs, now) {
                return Ok(Writer { identity, grant });
            }
        }
        Err(WriteError::NotPermitted {
            member: first,
            needs,
            namespace: *namespace,
        })
    }

    /// The key with which a namespace is written.
    pub(crate) fn key_to_write(&mut self, namespace: &NamespaceId) -> Result<EpochKey, WriteError> {
        let keys = self.namespace_keys(namespace);
        let row = keys
            .write_with
            .map(|at| &keys.keys[at])
            .ok_or(WriteError::NoSuchNamespace(*namespace))?;
        self.keys
            .by_commitment(namespace, &row.key)
            .cloned()
            .ok_or(WriteError::NoSuchNamespace(*namespace))
    }

    /// Writes operations of one member to one namespace, with one sync.
    pub(crate) fn write(
        &mut self,
        writer: &Writer,
        namespace: &NamespaceId,
        drafts: Vec<Draft>,
        rng: &mut Rng,
    ) -> Result<Vec<OpId>, WriteError> {
        if self.lock.is_none() {
            return Err(WriteError::ReadOnly);
        }
        let key = if *namespace == NamespaceId::CONTROL {
            None
        } else {
            Some(self.key_to_write(namespace)?)
        };
        let member = writer.identity.member();
        if !self.authors.contains_key(&member) {
            self.authors.insert(member, Author::of(&self.set, &member));
        }
        let author = &self.authors[&member];
        if author.is_broken() {
            return Err(WriteError::Broken);
        }
        if let Some(seen) = self.seen.get(&member)
            && seen.counter > author.counter
        {
            return Err(WriteError::RolledBack {
                wrote: seen.counter,
                found: author.counter,
            });
        }

        let clock = self.now();
        let mut last = author.last;
        let (mut counter, mut previous) = (author.counter, author.previous);
        let (mut sequence, mut head) = author
            .logs
            .get(namespace)
            .copied()
            .unwrap_or((0, OpId::NONE));
        let mut frames = Vec::new();
        let mut sealed: Vec<(usize, Vec<Op>, Vec<OpId>)> = Vec::new();
        let mut all_ids = Vec::with_capacity(drafts.len());
        let mut drafts = drafts.into_iter().peekable();
        while drafts.peek().is_some() {
            let mut draft = BoxDraft::new(self.id, *namespace, member, sequence + 1, head, last);
            let (mut ops, mut ids) = (Vec::new(), Vec::new());
            while let Some(next) = drafts.peek() {
                let time = Time::next(clock, last).ok_or(WriteError::EndOfTime)?;
                let op = next.op(time, rng);
                match draft.push(&op) {
                    Ok(id) => {
                        ids.push(id);
                        ops.push(op);
                        last = Some(time);
                        drafts.next();
                    }
                    Err(DraftError::Full) if !draft.is_empty() => break,
                    Err(DraftError::Full) => {
                        return Err(WriteError::Content(
                            "one operation does not fit a box".to_owned(),
                        ));
                    }
                    Err(DraftError::Refused(error)) => return Err(WriteError::Malformed(error)),
                }
            }
            let start = frames.len();
            counter += 1;
            let position = ChainPosition {
                counter,
                previous,
                grant: writer.grant,
            };
            let seal = seal_frame(
                &writer.identity,
                position,
                &draft,
                key.as_ref(),
                rng,
                &mut frames,
            )
            .expect("the numbers continue those of a chain that stands");
            previous = seal.id();
            (sequence, head) = (seal.last(), seal.head);
            all_ids.extend_from_slice(&ids);
            sealed.push((start, ops, ids));
        }

        let author = self.authors.get_mut(&member).expect("inserted above");
        let placed = author.append(
            &self.environment,
            &self.layout,
            &self.id,
            &mut self.set,
            &member,
            &frames,
        );
        let (file, offset) = placed.map_err(|error| match error {
            TailError::Lost => WriteError::Broken,
            TailError::Io(error) => FileError::at(&self.layout.tail(&member))(error).into(),
        })?;
        (author.counter, author.previous, author.last) = (counter, previous, last);
        author.logs.insert(*namespace, (sequence, head));
        self.latest = self.latest.max(last.unwrap_or(self.latest));

        // Acknowledged: the rest is memory.
        for (index, (start, ops, ids)) in sealed.iter().enumerate() {
            let end = sealed
                .get(index + 1)
                .map_or(frames.len(), |(start, _, _)| *start);
            let frame = FrameRef::parse(&self.id, &frames[*start..end]).expect("sealed above");
            self.set.add_own(file, offset + *start as u64, &frame);
            let operations: Vec<Operation> = ops
                .iter()
                .zip(ids)
                .map(|(op, id)| {
                    let encoded = Zeroizing::new(op.encode());
                    let op = OpRef::parse(namespace, &encoded).expect("it went into the box");
                    Operation::new(*id, &op)
                })
                .collect();
            self.fold
                .insert(frame.seal_id(), frame.seal(), Some(&operations))
                .expect("these are the operations that were sealed");
        }
        Ok(all_ids)
    }
}

impl Draft {
    fn op(&self, time: Time, rng: &mut Rng) -> Op {
        let mut targets = self.targets.clone();
        targets.sort_unstable();
        targets.dedup();
        Op {
            kind: self.kind,
            time,
            targets,
            body: Body::Present {
                salt: rng.bytes(),
                bytes: self.body.to_vec(),
            },
        }
    }
}

//! Large contents: files of their own, written before the frame that names them.

use std::io::{self, Read, Write};
use std::path::Path;

use tally_vault_format::{
    BLOB_GROUP_LEN, BlobError, BlobId, BlobOpener, BlobRef, BlobSealer, BlobVerifier, VaultId,
    blob_header_len,
};
use zeroize::Zeroizing;

use crate::durable::Draft;
use crate::environment::{Environment, Rng};
use crate::fs::{Input, read_full};
use crate::layout::{Layout, TEMPORARY};

/// Why a blob was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteBlobError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("the content ended before its announced length")]
    Short,
    #[error("read the content: {0}")]
    Source(io::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes one blob durably but for the folder, which the caller syncs once for all.
pub(crate) fn write(
    environment: &Environment,
    layout: &Layout,
    vault: &VaultId,
    content: &mut dyn Read,
    len: u64,
    rng: &mut Rng,
) -> Result<BlobRef, WriteBlobError> {
    let mut sealer = BlobSealer::new(vault, len, rng)?;
    let mut draft = Draft::begin(environment, &layout.folder(TEMPORARY))?;
    let mut fill = |draft: &mut Draft, sealer: &mut BlobSealer| -> Result<(), WriteBlobError> {
        // What stands in front is known in the end.
        draft.write(&vec![0; sealer.header_len()])?;
        let mut group = Vec::with_capacity(BLOB_GROUP_LEN);
        while let Some(wanted) = sealer.next_len() {
            group.clear();
            group.resize(wanted, 0);
            content
                .read_exact(&mut group)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => WriteBlobError::Short,
                    _ => WriteBlobError::Source(error),
                })?;
            sealer.seal(&mut group);
            draft.write(&group)?;
        }
        Ok(())
    };
    if let Err(error) = fill(&mut draft, &mut sealer) {
        draft.abandon(environment);
        return Err(error);
    }
    let (blob, header) = sealer.finish();
    if let Err(error) = draft.write_at(&header, 0) {
        draft.abandon(environment);
        return Err(error.into());
    }
    draft.place(environment, &layout.blob(&blob.id))?;
    Ok(blob)
}

/// Why a blob was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadBlobError {
    /// The file is not in the folder.
    #[error("the content's file is not here: sync with another copy of the vault")]
    Missing,
    /// The file is not what the record names.
    #[error("the content's file: {0}")]
    Damaged(#[from] BlobError),
    /// The file system refused.
    #[error("read the content's file: {0}")]
    Io(io::Error),
    /// Whoever takes the content refused it.
    #[error("pass the content on: {0}")]
    Output(io::Error),
}

/// Gives out the content of a blob, a group of chunks at a time. Each is what the record names when it is given out.
pub(crate) fn read(
    environment: &Environment,
    layout: &Layout,
    vault: &VaultId,
    blob: &BlobRef,
    output: &mut dyn Write,
) -> Result<(), ReadBlobError> {
    let file = open(environment, &layout.blob(&blob.id))?;
    let len = file.len().map_err(ReadBlobError::Io)?;
    let mut header = vec![0; blob_header_len(len)?];
    if read_full(&*file, &mut header, 0).map_err(ReadBlobError::Io)? < header.len() {
        return Err(BlobError::Length.into());
    }
    let mut offset = header.len() as u64;
    let mut opener = BlobOpener::new(vault, blob, len, header)?;
    let mut group = Zeroizing::new(vec![0; BLOB_GROUP_LEN]);
    while let Some(wanted) = opener.next_len() {
        let room = &mut group[..wanted];
        if read_full(&*file, room, offset).map_err(ReadBlobError::Io)? < wanted {
            return Err(BlobError::Length.into());
        }
        offset += wanted as u64;
        output
            .write_all(opener.open(room)?)
            .map_err(ReadBlobError::Output)?;
    }
    Ok(())
}

fn open(environment: &Environment, path: &Path) -> Result<Box<dyn Input>, ReadBlobError> {
    environment
        .fs
        .open(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadBlobError::Missing,
            _ => ReadBlobError::Io(error),
        })
}

/// Which blob the bytes at a place of a file are, every chunk verified; an error in the inner result if they are none.
pub(crate) fn identify(
    file: &dyn Input,
    offset: u64,
    len: u64,
) -> io::Result<Result<BlobId, BlobError>> {
    walk(file, offset, len, None, |_| Ok(()))
}

/// Passes on a blob that lies at a place of a file: first what stands in front, when it has the blob's name, then each group of chunks
/// when it is verified. After an error in the inner result what was passed on is the beginning of the blob, or nothing.
pub(crate) fn pass_on(
    file: &dyn Input,
    offset: u64,
    len: u64,
    id: &BlobId,
    take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Result<(), BlobError>> {
    Ok(walk(file, offset, len, Some(id), take)?.map(drop))
}

fn walk(
    file: &dyn Input,
    offset: u64,
    len: u64,
    expected: Option<&BlobId>,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Result<BlobId, BlobError>> {
    let mut at = offset;
    let mut fill = |room: &mut [u8]| -> io::Result<Result<(), BlobError>> {
        let filled = read_full(file, room, at)?;
        at += filled as u64;
        Ok(if filled == room.len() {
            Ok(())
        } else {
            Err(BlobError::Length)
        })
    };
    let mut header = match blob_header_len(len) {
        Ok(len) => vec![0; len],
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = fill(&mut header)? {
        return Ok(Err(error));
    }
    let mut verifier = match BlobVerifier::new(len, header) {
        Ok(verifier) => verifier,
        Err(error) => return Ok(Err(error)),
    };
    if expected.is_some_and(|expected| expected != verifier.id()) {
        return Ok(Err(BlobError::Hash));
    }
    take(verifier.header())?;
    let mut group = vec![0; BLOB_GROUP_LEN.min(usize::try_from(len).unwrap_or(usize::MAX))];
    while let Some(wanted) = verifier.next_len() {
        let group = &mut group[..wanted];
        if let Err(error) = fill(group)?.and_then(|()| verifier.verify(group)) {
            return Ok(Err(error));
        }
        take(group)?;
    }
    Ok(Ok(*verifier.id()))
}

/// The hash of a whole file.
pub(crate) fn hash_file(file: &dyn Input) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut offset = 0;
    loop {
        let count = read_full(file, &mut buffer, offset)?;
        hasher.update(&buffer[..count]);
        offset += count as u64;
        if count < buffer.len() {
            return Ok(hasher.finalize());
        }
    }
}

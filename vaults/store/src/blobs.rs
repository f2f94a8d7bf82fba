//! Large contents: files of their own, written before the frame that names them.

use std::io::{self, Read, Write};
use std::path::Path;

use tally_vault_format::{
    BLOB_HEADER_LEN, BLOB_SEALED_GROUP_LEN, BlobError, BlobOpener, BlobRef, BlobSealer, VaultId,
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
    let mut fill = || -> Result<(), WriteBlobError> {
        draft.write(sealer.header())?;
        let mut chunk = Vec::with_capacity(BLOB_SEALED_GROUP_LEN);
        while let Some(wanted) = sealer.next_len() {
            chunk.clear();
            chunk.resize(wanted, 0);
            content
                .read_exact(&mut chunk)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => WriteBlobError::Short,
                    _ => WriteBlobError::Source(error),
                })?;
            sealer.seal(&mut chunk);
            draft.write(&chunk)?;
        }
        Ok(())
    };
    if let Err(error) = fill() {
        draft.abandon(environment);
        return Err(error);
    }
    let blob = sealer.finish();
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

/// Gives out the content of a blob chunk by chunk. Each chunk is authentic when it is given out; that all of them are the
/// very file the record names is known when this returns.
pub(crate) fn read(
    environment: &Environment,
    layout: &Layout,
    vault: &VaultId,
    blob: &BlobRef,
    output: &mut dyn Write,
) -> Result<(), ReadBlobError> {
    let file = open(environment, &layout.blob(&blob.id))?;
    let len = file.len().map_err(ReadBlobError::Io)?;
    let mut header = [0; BLOB_HEADER_LEN];
    if read_full(&*file, &mut header, 0).map_err(ReadBlobError::Io)? < header.len() {
        return Err(BlobError::Length.into());
    }
    let mut opener = BlobOpener::new(vault, blob, len, &header)?;
    let mut offset = BLOB_HEADER_LEN as u64;
    let mut chunk = Zeroizing::new(vec![0; BLOB_SEALED_GROUP_LEN]);
    while let Some(wanted) = opener.next_len() {
        let room = &mut chunk[..wanted];
        if read_full(&*file, room, offset).map_err(ReadBlobError::Io)? < wanted {
            return Err(BlobError::Length.into());
        }
        offset += wanted as u64;
        output
            .write_all(opener.open(room)?)
            .map_err(ReadBlobError::Output)?;
    }
    Ok(opener.finish()?)
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

/// The hash of a whole file, and its length.
pub(crate) fn hash_file(file: &dyn Input) -> io::Result<(blake3::Hash, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut offset = 0;
    loop {
        let count = read_full(file, &mut buffer, offset)?;
        hasher.update(&buffer[..count]);
        offset += count as u64;
        if count < buffer.len() {
            return Ok((hasher.finalize(), offset));
        }
    }
}

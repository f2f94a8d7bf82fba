//! What can go wrong, one enum per thing that is done, in the order of who must act.

use std::io;
use std::path::{Path, PathBuf};

use tally_vault_format::{
    BlobError, BoxError, GenesisError, GrantId, MemberId, NamespaceId, NamespaceNameError, OpId,
    OpenSlotError, PhraseError, Right, SealKeyringError, SlotError, VaultId,
};

use crate::local::SealedIdentityError;

/// What the file system said, and about which file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub struct FileError {
    /// The file or folder.
    pub path: PathBuf,
    /// What was said.
    pub source: io::Error,
}

impl FileError {
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self {
            path: path.to_owned(),
            source,
        }
    }
}

/// Why no vault was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A vault is never written over.
    #[error("{} is a vault already: name another folder, or open this one", .folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder holds something else.
    #[error("{} is not empty: name a new folder (found {found})", .folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
        /// One name in it.
        found: String,
    },
    /// A namespace cannot have this name.
    #[error("namespace name: {0}")]
    Name(#[from] NamespaceNameError),
    /// Two namespaces of one name.
    #[error("namespace {0:?} is named twice")]
    NameTwice(String),
    /// The passphrase's work was refused.
    #[error("{0}")]
    Slot(#[from] OpenSlotError),
    /// There was no randomness.
    #[error("draw randomness: {0}")]
    Random(io::Error),
    /// The file system refused.
    #[error("{0}")]
    File(#[from] FileError),
}

/// Why a vault did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder holds no vault.
    #[error("{} holds no vault: there is no file VAULT in it", .folder.display())]
    NotAVault {
        /// The folder.
        folder: PathBuf,
    },
    /// `VAULT` does not hold, and this computer has no copy of it.
    #[error("the file VAULT: {0}")]
    Genesis(#[from] GenesisError),
    /// Another vault lies where this device knows one.
    #[error("this folder held vault {expected} and holds vault {found} now: somebody exchanged it")]
    Substituted {
        /// The vault that was expected.
        expected: VaultId,
        /// The vault that was found.
        found: VaultId,
    },
    /// Another process is writing.
    #[error(
        "another program is writing this vault: wait until it is done, or open the vault for reading"
    )]
    InUse,
    /// No slot can be tried.
    #[error(
        "there is no slot to try a passphrase on: use the recovery phrase, or restore the folder slots from another copy"
    )]
    NoSlot,
    /// Slots are there, and each was refused before a passphrase was tried.
    #[error("no slot can be tried: {0}")]
    SlotsRefused(SlotError),
    /// No slot opened.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The computer cannot do the work that a slot asks for.
    #[error("{0}")]
    Slot(OpenSlotError),
    /// The recovery phrase is no phrase.
    #[error("recovery phrase: {0}")]
    Phrase(#[from] PhraseError),
    /// The recovery phrase is another vault's.
    #[error("this is the recovery phrase of another vault")]
    OtherRoot,
    /// The key belongs to nobody in this vault.
    #[error("{member} is no member of this vault")]
    Stranger {
        /// Whose key it is.
        member: MemberId,
    },
    /// This device's key does not open.
    #[error("{0}")]
    Device(#[from] SealedIdentityError),
    /// There was no randomness.
    #[error("draw randomness: {0}")]
    Random(io::Error),
    /// The file system refused.
    #[error("{0}")]
    File(#[from] FileError),
}

/// Why something was not written. Unless said otherwise, the vault is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The vault was opened for reading.
    #[error("the vault is open for reading only")]
    ReadOnly,
    /// The vault was opened without a key.
    #[error("the vault is locked: open it with a passphrase or a key")]
    Locked,
    /// This takes the passphrase or the recovery phrase.
    #[error("this takes the vault's passphrase or its recovery phrase")]
    NeedsOwner,
    /// This takes the recovery phrase.
    #[error("this takes the vault's recovery phrase")]
    NeedsRoot,
    /// Nobody whose key is here may do this.
    #[error("no grant of {member} permits this: it takes the right to {needs} in {namespace}")]
    NotPermitted {
        /// Who tried.
        member: MemberId,
        /// What it takes.
        needs: Right,
        /// Where; `ff…ff` for everywhere.
        namespace: NamespaceId,
    },
    /// No such namespace, or none that this member knows.
    #[error("there is no namespace {0}, or its key is not yours")]
    NoSuchNamespace(NamespaceId),
    /// No such operation.
    #[error("there is no operation {0} in this namespace")]
    NoSuchOperation(OpId),
    /// A grant that is not here, or that does not count.
    #[error("there is no valid grant {0}")]
    NoSuchGrant(GrantId),
    /// A grant that stands above, beside, or is the root's.
    #[error(
        "grant {0} does not stand below yours, so you cannot revoke it: use the recovery phrase"
    )]
    NotBelow(GrantId),
    /// The grant would be wider than the one it rests on.
    #[error("the grant would give more than yours does: {0}")]
    Wider(String),
    /// An agent's grant must end.
    #[error("an agent's grant must have an end")]
    NoEnd,
    /// A namespace has this name already.
    #[error("a namespace is called {0:?} already")]
    NameTaken(String),
    /// A namespace cannot have this name.
    #[error("namespace name: {0}")]
    Name(#[from] NamespaceNameError),
    /// The record, reason or content is not one that a vault holds.
    #[error("{0}")]
    Malformed(#[from] BoxError),
    /// The content is too long, or ended early.
    #[error("content: {0}")]
    Content(String),
    /// The folder is older than what this device wrote.
    #[error("the folder was set back: this device wrote up to seal {wrote} and finds {found}")]
    RolledBack {
        /// The newest seal that this device wrote.
        wrote: u64,
        /// The newest that is there.
        found: u64,
    },
    /// The clock is past what 48 bits of milliseconds can say.
    #[error("there is no later time to write")]
    EndOfTime,
    /// An earlier failure left the end of this member's file unknown.
    #[error("an earlier write failed and its end is unknown: open the vault again")]
    Broken,
    /// A keyring could not be made.
    #[error("keyring: {0}")]
    Keyring(#[from] SealKeyringError),
    /// The passphrase's work was refused.
    #[error("{0}")]
    Slot(#[from] OpenSlotError),
    /// The recovery phrase is no phrase.
    #[error("recovery phrase: {0}")]
    Phrase(#[from] PhraseError),
    /// What is here could not be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// This device's key does not open.
    #[error("{0}")]
    Device(#[from] SealedIdentityError),
    /// There was no randomness.
    #[error("draw randomness: {0}")]
    Random(io::Error),
    /// The file system refused. What was asked for may or may not have happened; opening the vault again tells.
    #[error("{0}")]
    File(#[from] FileError),
}

impl WriteError {
    /// Whether the disk is full: something else than the vault has to change before it works.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(
            self,
            Self::File(FileError { source, .. })
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
        )
    }
}

/// Why something was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No such operation here.
    #[error("there is no operation {0}")]
    NoSuchOperation(OpId),
    /// The key is not held.
    #[error("the key of namespace {0} is not yours")]
    NoKey(NamespaceId),
    /// The body was redacted.
    #[error("operation {0} was redacted")]
    Redacted(OpId),
    /// No box here has the body.
    #[error("the body of operation {0} is not here: sync with another copy of the vault")]
    BodyMissing(OpId),
    /// It is not a record.
    #[error("operation {0} is no record")]
    NotARecord(OpId),
    /// The box on the disk is not what it was when the vault was opened.
    #[error("the box of operation {id}: {error}")]
    Box {
        /// The operation.
        id: OpId,
        /// What is wrong.
        error: BoxError,
    },
    /// The content's file does not hold.
    #[error("the content's file: {0}")]
    Blob(#[from] BlobError),
    /// The content's file is not here.
    #[error("the content's file is not here: sync with another copy of the vault")]
    BlobMissing,
    /// Whoever takes the content refused it.
    #[error("pass the content on: {0}")]
    Output(io::Error),
    /// The file system refused.
    #[error("{0}")]
    File(#[from] FileError),
}

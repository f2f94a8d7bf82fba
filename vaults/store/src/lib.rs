//! A vault on disk: the encrypted memory of one person, in a folder that nobody else need be trusted with.
//!
//! `docs/vault.md` fixes the format, `tally-vault-format` its bytes and `tally-vault-state` what operations mean. This
//! crate keeps them in files: it opens what it finds, writes so that nothing acknowledged is lost, and names what somebody did to
//! the folder.
//!
//! * [`Vault::create`], [`Vault::open`]: with a passphrase, the recovery phrase, a member's key, or none (a relay).
//! * [`Vault::append`], [`Vault::get`], [`Vault::for_each_current`]: records.
//! * [`Vault::share`], [`Vault::revoke`], [`Vault::rotate`], [`Vault::recover`]: members and keys.
//! * [`Environment`]: disk, clock and randomness are parameters.
//!
//! Invariants:
//!
//! * When a write returns, what it wrote is on the disk; when it fails or the power goes, the vault is as before or as after.
//! * What lies in the folder is believed in nothing. Whatever is used was verified; whatever was not is a [`Finding`].
//! * Nothing that was decrypted is written anywhere, nor names, types or lengths that tell a record.
//! * One process writes at a time (`lock`); any number read.
//!
//! Out of scope: exchange with peers (`vaults/sync`), the command line (`runtime/cli`).

#[cfg(feature = "age")]
mod age_file;
mod author;
mod blobs;
mod check;
mod durable;
mod environment;
mod error;
mod expiry;
mod finding;
pub mod fs;
mod keys;
mod layout;
mod local;
mod members;
mod open_boxes;
mod parallel;
mod read;
#[cfg(feature = "sync")]
mod replica;
mod rewrite;
mod scan;
mod seals;
mod segment;
mod set;
mod standing;
mod tail;
mod transfer;
mod turn;
mod vault;
mod write;

#[cfg(feature = "age")]
pub use age_file::{AgeError, AgeKey};
pub use environment::{Clock, Environment, Random, SystemClock, SystemRandom};
pub use error::{CreateError, FileError, OpenError, ReadError, WriteError};
pub use finding::{Code, Finding, Severity};
pub use local::{Head, SealedIdentityError};
pub use members::{Create, Created, Revoked, Share};
pub use read::{Record, Stored};
#[cfg(feature = "sync")]
pub use replica::{CopyError, DiskCopy, Moved};
pub use rewrite::{Redacted, RotatedInFull};
pub use tally_vault_format as format;
pub use tally_vault_state as state;
pub use transfer::{ExportError, Exported, ImportError, Taken, unpack};
pub use vault::{Key, NamespaceInfo, Open, Place, Vault};
pub use write::{Change, NewContent, NewRecord};

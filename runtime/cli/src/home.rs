//! Where this machine keeps what outlives a command.
//!
//! ```text
//! $TALLY_HOME, else $XDG_DATA_HOME/tally, else ~/.local/share/tally        mode 0700
//!   keys/node.key     the signing key of this machine, 64 hex digits and a line feed, mode 0600
//!   models/           weights by digest (`tally_inference::ModelStore`)
//!   compiled/         machine code of components, authenticated (`tally_engine`)
//!   runs/             journals that were not given a place of their own
//!   vault/            the vault of commands that name none
//!   vaults/           what this device knows of vaults (`tally_vault`), and its sealed keys
//!   calls/            what models were called for that no record of a vault names (`calls`)
//!   gateway/          keys.json, hashes of the API keys of `tally serve`, mode 0600
//!   ledger/           the network of commands that name none, its outbox, nodes of this machine (`network`), its own ledger (`own`)
//!   agents/           NAME.key, what the keys of an agent of this machine are derived from, as node.key
//! ```
//!
//! Invariant: nothing here is trusted because of where it lies: weights are hashed, code is authenticated. Keys are, and who
//! validates on which ledger (`network`, `trusted`).

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tally_receipt::{PublicKey, SigningKey};
use zeroize::Zeroizing;

use crate::failure::{Failure, OrFail};

/// The data directory.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// Finds the directory and creates it.
    pub(crate) fn open() -> Result<Self, Failure> {
        let home = Self(Self::place()?);
        private_dir(&home.0)?;
        Ok(home)
    }

    /// The directory, if it is there.
    pub(crate) fn existing() -> Result<Option<Self>, Failure> {
        let place = Self::place()?;
        Ok(place.is_dir().then_some(Self(place)))
    }

    /// This machine's public key, if it has one. Makes nothing: checking what others did leaves no trace.
    pub(crate) fn existing_public_key() -> Result<Option<PublicKey>, Failure> {
        let path = Self::place()?.join("keys/node.key");
        Ok(read_seed(&path)?.map(|seed| SigningKey::from_seed(&seed).public_key()))
    }

    fn place() -> Result<PathBuf, Failure> {
        let dir = match std::env::var_os("TALLY_HOME") {
            Some(dir) if !dir.is_empty() => PathBuf::from(dir),
            _ => match std::env::var_os("XDG_DATA_HOME") {
                Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("tally"),
                _ => std::env::home_dir()
                    .ok_or_else(|| {
                        Failure::environment("this user has no home directory")
                            .advise("set TALLY_HOME to a directory")
                    })?
                    .join(".local/share/tally"),
            },
        };
        std::path::absolute(&dir).or_environment(format_args!("use {}", dir.display()))
    }

    /// Weights, by digest.
    pub(crate) fn models(&self) -> Result<PathBuf, Failure> {
        self.sub("models")
    }

    /// Compiled components.
    pub(crate) fn compiled(&self) -> Result<PathBuf, Failure> {
        self.sub("compiled")
    }

    /// Journals.
    pub(crate) fn runs(&self) -> Result<PathBuf, Failure> {
        self.sub("runs")
    }

    /// What this device knows of vaults.
    pub(crate) fn vaults(&self) -> Result<PathBuf, Failure> {
        self.sub("vaults")
    }

    /// What is about ledgers.
    pub(crate) fn ledger(&self) -> Result<PathBuf, Failure> {
        self.sub("ledger")
    }

    /// The ledger of this machine alone.
    pub(crate) fn own_ledger(&self) -> Result<PathBuf, Failure> {
        self.sub("ledger/own")
    }

    /// Keys of agents.
    pub(crate) fn agents(&self) -> Result<PathBuf, Failure> {
        self.sub("agents")
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn sub(&self, name: &str) -> Result<PathBuf, Failure> {
        let dir = self.0.join(name);
        private_dir(&dir)?;
        Ok(dir)
    }

    /// The signing key of this machine, made on first use.
    pub(crate) fn node_key(&self) -> Result<SigningKey, Failure> {
        let path = self.sub("keys")?.join("node.key");
        let seed = seed_or_new(&path)?;
        Ok(SigningKey::from_seed(&seed))
    }
}

/// The 32 bytes of a key file, made if there is none.
pub(crate) fn seed_or_new(path: &Path) -> Result<Zeroizing<[u8; 32]>, Failure> {
    match read_seed(path)? {
        Some(seed) => Ok(seed),
        None => {
            make_key(path)?;
            read_seed(path)?.ok_or_else(|| {
                Failure::environment(format_args!(
                    "{} vanished while it was made",
                    path.display()
                ))
            })
        }
    }
}

fn private_dir(dir: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .or_environment(format_args!("create {}", dir.display()))
        .map_err(|failure| failure.advise("set TALLY_HOME to a directory that can be written"))
}

/// The 32 bytes of a key file, if there is one.
pub(crate) fn read_seed(path: &Path) -> Result<Option<Zeroizing<[u8; 32]>>, Failure> {
    let mut file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).or_environment(format_args!("open {}", path.display())),
    };
    let mode = file
        .metadata()
        .or_environment(format_args!("read {}", path.display()))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(
            Failure::environment(format_args!("{} can be read by others", path.display())).advise(
                format_args!(
                    "if nobody has copied it: chmod 600 {}; else remove it, and a new key is made",
                    path.display()
                ),
            ),
        );
    }
    let mut text = Zeroizing::new([0u8; 66]);
    let mut length = 0;
    while length < text.len() {
        match file
            .read(&mut text[length..])
            .or_environment(format_args!("read {}", path.display()))?
        {
            0 => break,
            read => length += read,
        }
    }
    let mut seed = Zeroizing::new([0u8; 32]);
    if length != 65
        || text[64] != b'\n'
        || hex::decode_to_slice(&text[..64], seed.as_mut_slice()).is_err()
    {
        return Err(Failure::environment(format_args!("{} does not hold a key: 64 hex digits and a line feed", path.display()))
            .advise("restore it from a copy; or move it away, and a new key is made (old receipts stay checkable with the old public key)"));
    }
    Ok(Some(seed))
}

/// Writes a fresh key beside its place and links it there, so that a reader never sees half of one and two
/// first runs at once agree on one key.
fn make_key(path: &Path) -> Result<(), Failure> {
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(seed.as_mut_slice())
        .or_environment("draw a key from the system's random source")?;
    let mut text = Zeroizing::new([b'\n'; 65]);
    hex::encode_to_slice(seed.as_slice(), &mut text[..64]).expect("64 digits encode 32 bytes");
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_slice())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        });
    // The draft holds the key: it goes whether or not the link was made.
    let removed = std::fs::remove_file(&draft);
    written
        .and(removed)
        .or_environment(format_args!("write {}", path.display()))
}

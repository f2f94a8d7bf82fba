//! Where this machine keeps what outlives a command.
//!
//! ```text
//! $TALLY_HOME, else $XDG_DATA_HOME/tally, else ~/.local/share/tally        mode 0700
//!   keys/node.key     the signing key of this machine, 64 hex digits and a line feed, mode 0600
//!   keys/former/      those that it had before, as node.key, each PUBLIC-MS.key: its public key, and until when it was this machine's
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

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tally_durable::Access;
use tally_receipt::{PublicKey, SigningKey, Timestamp};
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

    /// This machine's public key, if it has one, and those that it had, each with when another one took its place. Makes nothing:
    /// checking what others did leaves no trace.
    pub(crate) fn existing_public_keys() -> Result<Vec<(PublicKey, Option<Timestamp>)>, Failure> {
        public_keys(&Self::place()?.join("keys"))
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

    /// Makes another key the signing key of this machine, and says where the one before is from now on. At any moment there is one
    /// or the other; whoever is stopped in between does it again.
    pub(crate) fn exchange_node_key(
        &self,
        new: &SigningKey,
        now: Timestamp,
    ) -> Result<PathBuf, Failure> {
        let old = self.node_key()?.public_key();
        let (place, folder) = (
            self.sub("keys")?.join("node.key"),
            self.0.join("keys/former"),
        );
        let former = folder.join(format!("{old}-{}.key", now.unix_ms()));
        let text = key_text(&new.to_seed());
        // Nothing is replaced before it is durable elsewhere.
        tally_durable::create_folder(&folder, Access::Owner)
            .and_then(|()| unless_there(tally_durable::link(&place, &former)))
            .and_then(|()| tally_durable::write_file(&place, text.as_slice(), Access::Owner))
            .or_environment(format_args!("exchange {}", place.display()))?;
        Ok(former)
    }
}

/// Whoever was faster made the same.
pub(crate) fn unless_there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The public keys in the folder of keys: of a key that is back, or was not exchanged to the end, only that it is there.
fn public_keys(keys: &Path) -> Result<Vec<(PublicKey, Option<Timestamp>)>, Failure> {
    let current = read_seed(&keys.join("node.key"))?;
    let current = current.map(|seed| SigningKey::from_seed(&seed).public_key());
    let mut former: BTreeMap<PublicKey, Timestamp> = BTreeMap::new();
    let folder = keys.join("former");
    let doing = format!("read {}", folder.display());
    match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        files => {
            for file in files.or_environment(&doing)? {
                let name = file.or_environment(&doing)?.file_name();
                if let Some((key, until)) = name.to_str().and_then(former_key) {
                    let last = former.entry(key).or_insert(until);
                    *last = until.max(*last);
                }
            }
        }
    }
    let before = former
        .into_iter()
        .filter(|(key, _)| Some(*key) != current)
        .map(|(key, until)| (key, Some(until)));
    Ok(current
        .map(|key| (key, None))
        .into_iter()
        .chain(before)
        .collect())
}

/// What the name of a former key's file says.
fn former_key(name: &str) -> Option<(PublicKey, Timestamp)> {
    let (key, ms) = name.strip_suffix(".key")?.split_once('-')?;
    // One that ended in 1970 never began.
    let ms = ms.parse::<u64>().ok().filter(|ms| *ms > 0)?;
    Some((key.parse().ok()?, Timestamp::from_unix_ms(ms).ok()?))
}

/// Has a key file and its name on the disk.
pub(crate) fn sync_key(path: &Path) -> Result<(), Failure> {
    tally_durable::sync(path).or_environment(format_args!("have {} on the disk", path.display()))
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
    // It is asked for often, and syncs would be felt.
    if dir.is_dir() {
        return Ok(());
    }
    tally_durable::create_folder(dir, Access::Owner)
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

/// A key as its file has it.
fn key_text(seed: &[u8; 32]) -> Zeroizing<[u8; 65]> {
    let mut text = Zeroizing::new([b'\n'; 65]);
    hex::encode_to_slice(seed, &mut text[..64]).expect("64 digits encode 32 bytes");
    text
}

/// Puts a fresh key in place, durable before anybody uses it: a reader never sees half of one, and two first runs at once agree on
/// one key.
fn make_key(path: &Path) -> Result<(), Failure> {
    let mut seed = Zeroizing::new([0u8; 32]);
    getrandom::fill(seed.as_mut_slice())
        .or_environment("draw a key from the system's random source")?;
    let text = key_text(&seed);
    unless_there(tally_durable::write_new(
        path,
        text.as_slice(),
        Access::Owner,
    ))
    .or_environment(format_args!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchanged_key_stays_among_the_former_ones_however_often_the_exchange_was_begun() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home(folder.path().to_owned());
        let keys = folder.path().join("keys");
        let at = |ms| Timestamp::from_unix_ms(ms).unwrap();
        assert!(public_keys(&keys).unwrap().is_empty());
        let old = home.node_key().unwrap().public_key();
        let old_alone = [(old, None::<Timestamp>)];
        assert_eq!(public_keys(&keys).unwrap(), old_alone);
        // Stopped once it was kept, before it was replaced: this machine still has it.
        let former = keys.join("former");
        std::fs::create_dir(&former).unwrap();
        let begun = former.join(format!("{old}-5.key"));
        tally_durable::link(&keys.join("node.key"), &begun).unwrap();
        assert_eq!(public_keys(&keys).unwrap(), old_alone);

        let new = SigningKey::from_seed(&[7; 32]);
        let kept = home.exchange_node_key(&new, at(9)).unwrap();
        let has = home.node_key().unwrap().public_key();
        assert_eq!(has, new.public_key());
        let seed = read_seed(&kept).unwrap().expect("it is kept");
        assert_eq!(SigningKey::from_seed(&seed).public_key(), old);
        // What is called otherwise is no key's.
        for other in ["notes", "x-1.key", &format!("{has}-0.key")] {
            std::fs::write(former.join(other), "").unwrap();
        }
        let all = [(has, None), (old, Some(at(9)))];
        assert_eq!(public_keys(&keys).unwrap(), all);
        assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 2);
        let next = SigningKey::from_seed(&[8; 32]);
        home.exchange_node_key(&next, at(11)).unwrap();
        let mut found = public_keys(&keys).unwrap();
        found.sort();
        let mut all = [
            (next.public_key(), None),
            (has, Some(at(11))),
            (old, Some(at(9))),
        ];
        all.sort();
        assert_eq!(found, all);
    }
}

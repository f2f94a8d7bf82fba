//! The epoch keys that this holder of a vault has, and the keyrings that deliver keys to others.

use std::collections::{BTreeMap, HashMap};
use std::io;

use tally_vault_format::{
    EpochKey, Identity, KeyCommitment, KeyId, Keyring, KeyringId, NamespaceId, OpenKeyringError,
    VaultId, limits,
};
use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::finding::{Code, Finding};
use crate::fs::{self, EntryKind};
use crate::layout::{KEYS, Layout};
use crate::set::list;

/// A key, and what it is called.
pub(crate) struct HeldKey {
    pub(crate) key: EpochKey,
    pub(crate) commitment: KeyCommitment,
}

/// Keyrings as they lie in the folder, and the keys that were opened from them.
#[derive(Default)]
pub(crate) struct Keys {
    /// Every keyring that parses, by the hash of its bytes, with the name of its file.
    pub(crate) rings: BTreeMap<KeyringId, (Keyring, String)>,
    /// Files that were read, and their length then.
    read: HashMap<String, u64>,
    held: HashMap<(NamespaceId, KeyId), HeldKey>,
    names: BTreeMap<NamespaceId, Zeroizing<String>>,
    /// Of which number the key was that told the name.
    named_by: HashMap<NamespaceId, u32>,
}

impl Keys {
    /// Reads the keyrings that are new in the folder.
    pub(crate) fn read_folder(
        &mut self,
        environment: &Environment,
        layout: &Layout,
        vault: &VaultId,
        findings: &mut Vec<Finding>,
    ) -> io::Result<bool> {
        let mut news = false;
        for entry in list(environment, &layout.folder(KEYS))? {
            if entry.kind != EntryKind::File || self.read.get(&entry.name) == Some(&entry.len) {
                continue;
            }
            let place = format!("{KEYS}/{}", entry.name);
            let path = layout.folder(KEYS).join(&entry.name);
            let bytes = match fs::read(&*environment.fs, &path, limits::KEYRING_LEN as u64) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    findings.push(Finding::new(Code::KeyringDamaged, place, error.to_string()));
                    continue;
                }
            };
            self.read.insert(entry.name.clone(), entry.len);
            match Keyring::parse(vault, &bytes) {
                Ok(ring) => {
                    let id = ring.id();
                    // A name that is not the hash: a second copy, or altered bytes, which no rotation names then.
                    let original = entry.name == format!("{id}.key");
                    if original || !self.rings.contains_key(&id) {
                        news |= self.rings.insert(id, (ring, entry.name)).is_none();
                    }
                }
                Err(error) => {
                    findings.push(Finding::new(Code::KeyringDamaged, place, error.to_string()))
                }
            }
        }
        Ok(news)
    }

    /// Takes in a keyring that this process has just written.
    pub(crate) fn add_ring(&mut self, ring: Keyring) {
        let id = ring.id();
        let name = format!("{id}.key");
        self.read.insert(name.clone(), ring.encode().len() as u64);
        self.rings.insert(id, (ring, name));
    }

    /// Opens a keyring that a rotation names.
    pub(crate) fn open(
        &mut self,
        id: &KeyringId,
        members: &[&Identity],
    ) -> Result<(), OpenKeyringError> {
        let Some((ring, _)) = self.rings.get(id) else {
            return Err(OpenKeyringError::NoMatch);
        };
        let mut result = Err(OpenKeyringError::NoMatch);
        for member in members {
            match ring.open(member) {
                Ok(opened) => {
                    let (namespace, number, commitment) =
                        (ring.namespace(), ring.number(), ring.key());
                    for (commitment, key) in opened.older {
                        self.hold(namespace, commitment, key);
                    }
                    self.hold(namespace, commitment, opened.key);
                    self.name(namespace, number, opened.name);
                    return Ok(());
                }
                Err(OpenKeyringError::NoMatch) => {}
                Err(error) => result = Err(error),
            }
        }
        result
    }

    pub(crate) fn hold(
        &mut self,
        namespace: NamespaceId,
        commitment: KeyCommitment,
        key: EpochKey,
    ) {
        self.held.insert(
            (namespace, commitment.key_id()),
            HeldKey { key, commitment },
        );
    }

    /// The name that the newest key tells is the namespace's.
    pub(crate) fn name(&mut self, namespace: NamespaceId, number: u32, name: Zeroizing<String>) {
        let by = self.named_by.entry(namespace).or_insert(0);
        if number >= *by {
            *by = number;
            self.names.insert(namespace, name);
        }
    }

    pub(crate) fn get(&self, namespace: &NamespaceId, key: &KeyId) -> Option<&EpochKey> {
        self.held.get(&(*namespace, *key)).map(|held| &held.key)
    }

    pub(crate) fn by_commitment(
        &self,
        namespace: &NamespaceId,
        commitment: &KeyCommitment,
    ) -> Option<&EpochKey> {
        self.held
            .get(&(*namespace, commitment.key_id()))
            .filter(|held| held.commitment == *commitment)
            .map(|held| &held.key)
    }

    pub(crate) fn name_of(&self, namespace: &NamespaceId) -> Option<&str> {
        self.names.get(namespace).map(|name| name.as_str())
    }

    pub(crate) fn namespace_named(&self, name: &str) -> impl Iterator<Item = NamespaceId> {
        self.names
            .iter()
            .filter(move |(_, known)| known.as_str() == name)
            .map(|(namespace, _)| *namespace)
    }
}

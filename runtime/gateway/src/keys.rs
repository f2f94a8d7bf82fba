//! API keys: random, shown once, kept as hashes, with scopes and an end.
//!
//! ```text
//! key    = "tally_" id(8 hexadecimal digits) "_" base64url(32 random bytes)
//! kept   = BLAKE3 derive-key "tally gateway v1 api key" over the whole key
//! ```
//!
//! 256 random bits need no slow hash: they cannot be guessed, and the hash gives nothing back. The id in the key finds the
//! entry without comparing secrets; the hash is compared in constant time.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::time::UnixMs;

const PREFIX: &str = "tally_";
const CONTEXT: &str = "tally gateway v1 api key";
/// More keys than this are a mistake, or an attack.
pub(crate) const MOST: usize = 1000;
/// The longest name of a key, in bytes.
pub(crate) const NAME_MAX: usize = 100;

/// What a key may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Scope {
    /// Search and read memories.
    #[serde(rename = "memories:read")]
    MemoriesRead,
    /// Add, correct and forget memories.
    #[serde(rename = "memories:write")]
    MemoriesWrite,
    /// Read the profile.
    #[serde(rename = "profile:read")]
    ProfileRead,
    /// Change the bio.
    #[serde(rename = "profile:write")]
    ProfileWrite,
    /// Import files and chats.
    #[serde(rename = "integrations")]
    Integrations,
    /// Make, list and delete keys.
    #[serde(rename = "keys")]
    Keys,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 6] = [
        Self::MemoriesRead,
        Self::MemoriesWrite,
        Self::ProfileRead,
        Self::ProfileWrite,
        Self::Integrations,
        Self::Keys,
    ];

    /// What a new key may do unless it is said: everything but making more keys.
    pub const ORDINARY: [Self; 5] = [
        Self::MemoriesRead,
        Self::MemoriesWrite,
        Self::ProfileRead,
        Self::ProfileWrite,
        Self::Integrations,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::MemoriesRead => "memories:read",
            Self::MemoriesWrite => "memories:write",
            Self::ProfileRead => "profile:read",
            Self::ProfileWrite => "profile:write",
            Self::Integrations => "integrations",
            Self::Keys => "keys",
        }
    }

    /// The scope of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key as it is listed: without the secret, which nobody has but its holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyInfo {
    /// Its id, the part of the key after `tally_`.
    pub id: String,
    /// What its maker calls it. Turns that it brings are of the app of this name unless they say otherwise.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: UnixMs,
    /// When it ends; never if none.
    pub expires_at: Option<UnixMs>,
}

/// A new key, with its secret. Shown once.
#[derive(Serialize, JsonSchema)]
pub struct IssuedKey {
    /// The key itself. It is not kept and cannot be shown again.
    pub key: String,
    /// The rest.
    #[serde(flatten)]
    pub info: KeyInfo,
}

/// Why a key was not made or is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a key, or none of ours, or deleted; which of these is not told.
    #[error("the API key is not known here")]
    Unknown,
    /// Ours, and over.
    #[error("the API key has expired")]
    Expired,
    /// Too many keys.
    #[error("there are {MOST} keys already; delete some first")]
    TooMany,
    /// Not a name.
    #[error("a key's name has 1 to {NAME_MAX} bytes and no control characters")]
    Name,
    /// A key that may nothing.
    #[error("a key needs at least one scope")]
    NoScope,
    /// An end that is not ahead.
    #[error("the key would end before it begins")]
    EndsBefore,
    /// The machine gives no randomness.
    #[error("no randomness to be had")]
    Randomness,
    /// The file of keys is not one.
    #[error("the file of API keys is not readable")]
    File,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    scopes: Vec<Scope>,
    created_at: UnixMs,
    expires_at: Option<UnixMs>,
    hash: String,
}

/// All keys of a server.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    keys: BTreeMap<String, Entry>,
}

impl KeyRing {
    /// Reads a ring as [`to_json`](Self::to_json) writes it.
    ///
    /// # Errors
    ///
    /// [`KeyError::File`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, KeyError> {
        let file: File = serde_json::from_slice(bytes).map_err(|_| KeyError::File)?;
        if file.version != 1 || file.keys.len() > MOST {
            return Err(KeyError::File);
        }
        Ok(Self { keys: file.keys })
    }

    /// The ring as it is kept: hashes, no secrets.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&File {
            version: 1,
            keys: self.keys.clone(),
        })
        .expect("strings and numbers have a form in JSON")
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Makes a key. `random` is where its secret comes from.
    ///
    /// # Errors
    ///
    /// As [`KeyError`] says.
    pub fn issue(
        &mut self,
        name: &str,
        scopes: &[Scope],
        now: UnixMs,
        expires_at: Option<UnixMs>,
        random: &mut dyn FnMut(&mut [u8]) -> Result<(), KeyError>,
    ) -> Result<IssuedKey, KeyError> {
        if self.keys.len() >= MOST {
            return Err(KeyError::TooMany);
        }
        if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
            return Err(KeyError::Name);
        }
        let mut scopes = scopes.to_vec();
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(KeyError::NoScope);
        }
        if expires_at.is_some_and(|end| end <= now) {
            return Err(KeyError::EndsBefore);
        }
        let mut secret = [0; 32];
        random(&mut secret)?;
        let id = loop {
            let mut id = [0; 4];
            random(&mut id)?;
            let id = hex::encode(id);
            if !self.keys.contains_key(&id) {
                break id;
            }
        };
        let key = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        let entry = Entry {
            name: name.to_owned(),
            scopes,
            created_at: now,
            expires_at,
            hash: hex::encode(hash(&key)),
        };
        let info = info(&id, &entry);
        self.keys.insert(id, entry);
        Ok(IssuedKey { key, info })
    }

    /// Whose key it is.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unknown`] or [`KeyError::Expired`].
    pub fn check(&self, key: &str, now: UnixMs) -> Result<KeyInfo, KeyError> {
        let id = key
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .map(|(id, _)| id)
            .ok_or(KeyError::Unknown)?;
        let entry = self.keys.get(id).ok_or(KeyError::Unknown)?;
        let is_it: bool = hex::encode(hash(key))
            .as_bytes()
            .ct_eq(entry.hash.as_bytes())
            .into();
        if !is_it {
            return Err(KeyError::Unknown);
        }
        self.standing(id, now)
    }

    /// The key of this id as it is now, for whoever showed it before.
    pub(crate) fn standing(&self, id: &str, now: UnixMs) -> Result<KeyInfo, KeyError> {
        let entry = self.keys.get(id).ok_or(KeyError::Unknown)?;
        if entry.expires_at.is_some_and(|end| end <= now) {
            return Err(KeyError::Expired);
        }
        Ok(info(id, entry))
    }

    /// All keys, oldest first.
    pub fn list(&self) -> Vec<KeyInfo> {
        let mut list: Vec<KeyInfo> = self
            .keys
            .iter()
            .map(|(id, entry)| info(id, entry))
            .collect();
        list.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        list
    }

    /// Deletes a key; whether there was one.
    pub fn delete(&mut self, id: &str) -> bool {
        self.keys.remove(id).is_some()
    }
}

fn hash(key: &str) -> [u8; 32] {
    blake3::derive_key(CONTEXT, key.as_bytes())
}

fn info(id: &str, entry: &Entry) -> KeyInfo {
    KeyInfo {
        id: id.to_owned(),
        name: entry.name.clone(),
        scopes: entry.scopes.clone(),
        created_at: entry.created_at,
        expires_at: entry.expires_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(
        ring: &mut KeyRing,
        scopes: &[Scope],
        end: Option<UnixMs>,
    ) -> Result<IssuedKey, KeyError> {
        let mut next = 0;
        let mut random = |bytes: &mut [u8]| {
            for byte in bytes {
                next += 7;
                *byte = next;
            }
            Ok(())
        };
        ring.issue("app", scopes, UnixMs(1000), end, &mut random)
    }

    #[test]
    fn a_key_opens_until_it_ends_and_not_after_it_is_deleted() {
        let mut ring = KeyRing::default();
        let issued = issue(&mut ring, &[Scope::MemoriesRead], Some(UnixMs(2000))).unwrap();
        assert_eq!(
            ring.check(&issued.key, UnixMs(1999)),
            Ok(issued.info.clone())
        );
        assert_eq!(
            ring.check(&issued.key, UnixMs(2000)),
            Err(KeyError::Expired)
        );
        assert!(ring.delete(&issued.info.id) && !ring.delete(&issued.info.id));
        assert_eq!(ring.check(&issued.key, UnixMs(1)), Err(KeyError::Unknown));
    }

    #[test]
    fn what_is_kept_opens_nothing_and_reads_back() {
        let mut ring = KeyRing::default();
        let issued = issue(&mut ring, &Scope::ALL, None).unwrap();
        let kept = ring.to_json();
        let text = String::from_utf8(kept.clone()).unwrap();
        assert!(!text.contains(issued.key.rsplit('_').next().unwrap()));
        let again = KeyRing::from_json(&kept).unwrap();
        assert_eq!(again.check(&issued.key, UnixMs(1)), Ok(issued.info));
        assert!(KeyRing::from_json(b"{}").is_err());
    }

    #[test]
    fn a_key_with_another_secret_or_another_id_is_unknown() {
        let mut ring = KeyRing::default();
        let key = issue(&mut ring, &[Scope::Keys], None).unwrap().key;
        let mut other = key.clone();
        other.pop();
        for wrong in [
            &other,
            "",
            "tally_",
            "tally__",
            &key.replace("tally_", "tally_0"),
            &key.to_uppercase(),
        ] {
            assert_eq!(
                ring.check(wrong, UnixMs(1)),
                Err(KeyError::Unknown),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_key_that_may_nothing_or_is_over_is_not_made() {
        let mut ring = KeyRing::default();
        assert_eq!(issue(&mut ring, &[], None).err(), Some(KeyError::NoScope));
        assert_eq!(
            issue(&mut ring, &[Scope::Keys], Some(UnixMs(1000))).err(),
            Some(KeyError::EndsBefore)
        );
    }
}

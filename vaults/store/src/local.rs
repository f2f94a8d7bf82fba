//! What a device keeps for itself, outside of every vault: its own sealed identity, and what it has seen.
//!
//! ```text
//! places/<64 hex>            vault id [32]; the name is BLAKE3 of a folder's absolute path
//! <vault id>/genesis         the 245 bytes of VAULT
//! <vault id>/device          a sealed identity
//! <vault id>/seen            the newest seal of each author
//! <vault id>/lock  <vault id>/tmp/
//! ```
//!
//! A *sealed identity* is `TALLYDEV [8] ‖ version u16 = 1 ‖ vault [32] ‖ card [129] ‖ keeper [32] ‖ nonce [24] ‖ sealed [48]`.
//! `okm` = BLAKE3 in derive-key mode with context `tally vault v1 2026-11-21 device`, over keeper's seed ‖ every byte before the
//! nonce, 64 bytes: key and commitment. `sealed` = XChaCha20-Poly1305(key, nonce, seed, associated data = commitment).
//!
//! *Seen* is `TALLYSEN [8] ‖ version u16 = 1 ‖ vault [32] ‖ authors u32 ‖ (author [32] ‖ counter u64 ‖ seal [32]) × authors, ascending ‖
//! BLAKE3 of what is before [32]`.
//!
//! With these a device notices that the vault in a folder was exchanged or set back. Losing them loses no memory: the
//! device enrols anew, and notices rollback from then on. The folder is trusted as the home folder is.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, aead::AeadInOut as _};
use tally_vault_format::{Card, Genesis, Identity, MemberId, SealId, Seed, VaultId};
use zeroize::Zeroizing;

use crate::durable;
use crate::environment::Environment;
use crate::fs::{self, LockError};

const IDENTITY_MAGIC: &[u8; 8] = b"TALLYDEV";
const IDENTITY_LEN: usize = 8 + 2 + 32 + Card::LEN + 32 + 24 + 48;
const SEEN_MAGIC: &[u8; 8] = b"TALLYSEN";
const SEEN_HEAD_LEN: usize = 8 + 2 + 32 + 4;
const SEEN_ENTRY_LEN: usize = 32 + 8 + 32;
/// Far more authors than a vault may have members, because unknown ones are not kept.
const SEEN_LEN_MAX: u64 = (SEEN_HEAD_LEN + 65_536 * SEEN_ENTRY_LEN + 32) as u64;

/// The newest seal of an author that was seen and verified here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub counter: u64,
    /// Its id.
    pub seal: SealId,
}

/// What this device has seen of one vault.
pub(crate) type Seen = BTreeMap<MemberId, Head>;

/// Why a sealed identity did not open.
#[derive(Debug, thiserror::Error)]
pub enum SealedIdentityError {
    /// The bytes are no sealed identity of this vault.
    #[error("the device's key file is damaged or belongs to another vault")]
    Damaged,
    /// It was sealed under another member's seed.
    #[error("the device's key file is sealed under the slot of {keeper}, not this one")]
    OtherKeeper {
        /// The member that opens it.
        keeper: MemberId,
    },
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Seals an identity under a seed that is kept better, such as that of a passphrase slot.
///
/// # Errors
/// When there is no randomness.
pub(crate) fn seal_identity(
    environment: &Environment,
    vault: &VaultId,
    identity: &Identity,
    keeper: &Identity,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(IDENTITY_LEN);
    bytes.extend_from_slice(IDENTITY_MAGIC);
    bytes.extend_from_slice(&1u16.to_be_bytes());
    bytes.extend_from_slice(vault.as_bytes());
    bytes.extend_from_slice(&identity.card().encode());
    bytes.extend_from_slice(keeper.member().as_bytes());
    let (cipher, commitment) = identity_cipher(keeper.seed(), &bytes);
    let mut nonce = [0; 24];
    environment.random.fill(&mut nonce)?;
    let mut seed = Zeroizing::new(*identity.seed().expose());
    let tag = cipher
        .encrypt_inout_detached(&nonce.into(), &*commitment, seed.as_mut_slice().into())
        .expect("32 bytes are not too long");
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(&*seed);
    bytes.extend_from_slice(&tag);
    Ok(bytes)
}

/// Opens what [`seal_identity`] made.
///
/// # Errors
/// Why it did not open.
pub(crate) fn open_identity(
    vault: &VaultId,
    bytes: &[u8],
    keeper: &Identity,
) -> Result<Identity, SealedIdentityError> {
    let damaged = || SealedIdentityError::Damaged;
    if bytes.len() != IDENTITY_LEN || !bytes.starts_with(IDENTITY_MAGIC) || bytes[8..10] != [0, 1] {
        return Err(damaged());
    }
    let (header, rest) = bytes.split_at(IDENTITY_LEN - 24 - 48);
    if header[10..42] != *vault.as_bytes() {
        return Err(damaged());
    }
    let card =
        Card::parse(header[42..].first_chunk().ok_or_else(damaged)?).map_err(|_| damaged())?;
    let sealed_under = MemberId(*header.last_chunk().ok_or_else(damaged)?);
    if sealed_under != keeper.member() {
        return Err(SealedIdentityError::OtherKeeper {
            keeper: sealed_under,
        });
    }
    let (cipher, commitment) = identity_cipher(keeper.seed(), header);
    let nonce: &[u8; 24] = rest.first_chunk().ok_or_else(damaged)?;
    let tag: [u8; 16] = *rest.last_chunk().ok_or_else(damaged)?;
    let mut seed = Zeroizing::new([0; 32]);
    seed.copy_from_slice(&rest[24..56]);
    cipher
        .decrypt_inout_detached(
            nonce.into(),
            &*commitment,
            seed.as_mut_slice().into(),
            &tag.into(),
        )
        .map_err(|_| damaged())?;
    let identity = Identity::new(card.kind(), Seed::from_bytes(*seed));
    if *identity.card() == card {
        Ok(identity)
    } else {
        Err(damaged())
    }
}

fn identity_cipher(keeper: &Seed, header: &[u8]) -> (XChaCha20Poly1305, Zeroizing<[u8; 32]>) {
    let mut hasher = blake3::Hasher::new_derive_key("tally vault v1 2026-11-21 device");
    hasher.update(keeper.expose());
    hasher.update(header);
    let mut okm = Zeroizing::new([0; 64]);
    hasher.finalize_xof().fill(&mut *okm);
    let mut commitment = Zeroizing::new([0; 32]);
    commitment.copy_from_slice(&okm[32..]);
    (
        XChaCha20Poly1305::new_from_slice(&okm[..32]).expect("32 bytes"),
        commitment,
    )
}

/// The device-local folder.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    root: PathBuf,
}

impl Local {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    fn of(&self, vault: &VaultId) -> PathBuf {
        self.root.join(vault.to_string())
    }

    fn place_name(folder: &Path) -> String {
        blake3::hash(folder.as_os_str().as_encoded_bytes())
            .to_hex()
            .to_string()
    }

    /// Makes the folders for a vault.
    fn prepare(&self, environment: &Environment, vault: &VaultId) -> io::Result<PathBuf> {
        let own = self.of(vault);
        environment.fs.create_dir(&self.root)?;
        environment.fs.create_dir(&own)?;
        environment.fs.create_dir(&own.join("tmp"))?;
        Ok(own)
    }

    /// Removes what an interrupted write left. Another process of this device may be writing: it then finds its file gone,
    /// and notes what it has seen the next time.
    pub(crate) fn tidy(&self, environment: &Environment, vault: &VaultId) {
        let temporary = self.of(vault).join("tmp");
        for entry in environment.fs.list(&temporary).unwrap_or_default() {
            let _ = environment.fs.remove(&temporary.join(entry.name));
        }
    }

    fn write(
        &self,
        environment: &Environment,
        vault: &VaultId,
        name: &str,
        bytes: &[u8],
    ) -> io::Result<()> {
        let own = self.prepare(environment, vault)?;
        durable::write(environment, &own.join("tmp"), &own, name, bytes)
    }

    fn read(
        &self,
        environment: &Environment,
        vault: &VaultId,
        name: &str,
        limit: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        optional(fs::read(
            &*environment.fs,
            &self.of(vault).join(name),
            limit,
        ))
    }

    /// The vault that was in a folder when this device last opened it.
    pub(crate) fn vault_at(
        &self,
        environment: &Environment,
        folder: &Path,
    ) -> io::Result<Option<VaultId>> {
        let path = self.root.join("places").join(Self::place_name(folder));
        let found = optional(fs::read(&*environment.fs, &path, 32))?;
        Ok(found.and_then(|bytes| Some(VaultId(*bytes.first_chunk()?))))
    }

    /// Remembers a vault, where it is and how it began.
    pub(crate) fn remember(
        &self,
        environment: &Environment,
        folder: &Path,
        genesis: &Genesis,
    ) -> io::Result<()> {
        let vault = genesis.vault_id();
        let own = self.prepare(environment, &vault)?;
        if self.genesis(environment, &vault)?.is_none() {
            self.write(environment, &vault, "genesis", genesis.encode())?;
        }
        if self.vault_at(environment, folder)? != Some(vault) {
            let places = self.root.join("places");
            environment.fs.create_dir(&places)?;
            durable::write(
                environment,
                &own.join("tmp"),
                &places,
                &Self::place_name(folder),
                vault.as_bytes(),
            )?;
        }
        Ok(())
    }

    /// This device's copy of a vault's genesis.
    pub(crate) fn genesis(
        &self,
        environment: &Environment,
        vault: &VaultId,
    ) -> io::Result<Option<Genesis>> {
        let bytes = self.read(environment, vault, "genesis", Genesis::LEN as u64)?;
        Ok(bytes
            .and_then(|bytes| Genesis::parse(&bytes).ok())
            .filter(|found| found.vault_id() == *vault))
    }

    pub(crate) fn device(
        &self,
        environment: &Environment,
        vault: &VaultId,
        keeper: &Identity,
    ) -> Result<Option<Identity>, SealedIdentityError> {
        match self.read(environment, vault, "device", IDENTITY_LEN as u64)? {
            None => Ok(None),
            Some(bytes) => open_identity(vault, &bytes, keeper).map(Some),
        }
    }

    pub(crate) fn set_device(
        &self,
        environment: &Environment,
        vault: &VaultId,
        identity: &Identity,
        keeper: &Identity,
    ) -> io::Result<()> {
        let sealed = seal_identity(environment, vault, identity, keeper)?;
        self.write(environment, vault, "device", &sealed)
    }

    /// What was seen; none if there is no record, an error if there is one that does not parse.
    pub(crate) fn seen(
        &self,
        environment: &Environment,
        vault: &VaultId,
    ) -> io::Result<Result<Seen, SeenDamaged>> {
        match self.read(environment, vault, "seen", SEEN_LEN_MAX) {
            Ok(None) => Ok(Ok(Seen::new())),
            Ok(Some(bytes)) => Ok(parse_seen(vault, &bytes).ok_or(SeenDamaged)),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(Err(SeenDamaged)),
            Err(error) => Err(error),
        }
    }

    /// Adds to what was seen; what another process of this device added meanwhile stays. While another process is
    /// doing the same, nothing is written: the next opening does it again.
    pub(crate) fn add_seen(
        &self,
        environment: &Environment,
        vault: &VaultId,
        seen: &Seen,
    ) -> io::Result<()> {
        let own = self.prepare(environment, vault)?;
        let _lock = match environment.fs.lock(&own.join("lock")) {
            Ok(lock) => lock,
            Err(LockError::Held) => return Ok(()),
            Err(LockError::Io(error)) => return Err(error),
        };
        let before = self.seen(environment, vault)?.unwrap_or_default();
        let mut after = before.clone();
        for (author, head) in seen {
            after
                .entry(*author)
                .and_modify(|known| {
                    if head.counter >= known.counter {
                        *known = *head;
                    }
                })
                .or_insert(*head);
        }
        if after == before {
            return Ok(());
        }
        self.write(environment, vault, "seen", &encode_seen(vault, &after))
    }

    /// Replaces what was seen, after the owner accepted that the vault was set back.
    pub(crate) fn reset_seen(
        &self,
        environment: &Environment,
        vault: &VaultId,
        seen: &Seen,
    ) -> io::Result<()> {
        self.write(environment, vault, "seen", &encode_seen(vault, seen))
    }
}

/// The record of what was seen does not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenDamaged;

fn encode_seen(vault: &VaultId, seen: &Seen) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SEEN_HEAD_LEN + seen.len() * SEEN_ENTRY_LEN + 32);
    bytes.extend_from_slice(SEEN_MAGIC);
    bytes.extend_from_slice(&1u16.to_be_bytes());
    bytes.extend_from_slice(vault.as_bytes());
    bytes.extend_from_slice(
        &u32::try_from(seen.len())
            .expect("authors are members, which are few")
            .to_be_bytes(),
    );
    for (author, head) in seen {
        bytes.extend_from_slice(author.as_bytes());
        bytes.extend_from_slice(&head.counter.to_be_bytes());
        bytes.extend_from_slice(head.seal.as_bytes());
    }
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

fn parse_seen(vault: &VaultId, bytes: &[u8]) -> Option<Seen> {
    let (body, hash) = bytes.split_last_chunk::<32>()?;
    if blake3::hash(body) != *hash {
        return None;
    }
    let (head, entries) = body.split_at_checked(SEEN_HEAD_LEN)?;
    let count = u32::from_be_bytes(*head.last_chunk()?);
    if !head.starts_with(SEEN_MAGIC) || head[8..10] != [0, 1] || head[10..42] != *vault.as_bytes() {
        return None;
    }
    if entries.len() != usize::try_from(count).ok()?.checked_mul(SEEN_ENTRY_LEN)? {
        return None;
    }
    let (entries, _) = entries.as_chunks::<SEEN_ENTRY_LEN>();
    if !entries.is_sorted_by(|a, b| a[..32] < b[..32]) {
        return None;
    }
    entries
        .iter()
        .map(|entry| {
            let counter = u64::from_be_bytes(*entry[32..].first_chunk()?);
            Some((
                MemberId(*entry.first_chunk()?),
                Head {
                    counter,
                    seal: SealId(*entry.last_chunk()?),
                },
            ))
        })
        .collect()
}

fn optional<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

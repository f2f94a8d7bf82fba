//! Epoch keys, and the files that deliver them.
//!
//! A keyring seals one epoch key to each of its recipients by HPKE. It is not signed: it counts if a valid rotation
//! names its hash. After opening, the key must give the key commitment, so all recipients hold the same key.

use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, aead::AeadInOut as _};
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};
use rand_core::CryptoRng;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::{
    Identity, KeyCommitment, KeyId, KeyringId, NamespaceId, ReceiveKey, RecipientId, VaultId,
    crypto, limits,
    wire::{Cursor, Short, is_ascending},
};

type Kem = hpke::kem::X25519HkdfSha256;
type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::ChaCha20Poly1305;

/// Why a keyring is refused, by anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The bytes end inside it.
    #[error("keyring is cut off")]
    Truncated,
    /// Bytes after it.
    #[error("bytes after the keyring")]
    Trailing,
    /// It does not begin with `TALLYKEY`.
    #[error("not a keyring")]
    Magic,
    /// A version that this reader does not know.
    #[error("keyring has format version {0}, this program reads 1")]
    Version(u16),
    /// Of another vault.
    #[error("keyring belongs to vault {0}")]
    ForeignVault(VaultId),
    /// Of control or `ff…ff`, which have no keys, or number 0.
    #[error("keyring of what has no keys, or number 0")]
    Place,
    /// Older keys out of order or doubled.
    #[error("older keys are not strictly ascending")]
    OlderOrder,
    /// More stanzas than a vault has members, or none.
    #[error("keyring with {0} stanzas")]
    StanzaCount(u16),
    /// Stanzas out of order or doubled.
    #[error("stanzas are not strictly ascending")]
    StanzaOrder,
}

impl From<Short> for KeyringError {
    fn from(_: Short) -> Self {
        Self::Truncated
    }
}

/// Why a keyring did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenKeyringError {
    /// No stanza is for this member.
    #[error("keyring has no stanza for this member")]
    NoMatch,
    /// The stanza for this member does not open.
    #[error("stanza for this member was altered")]
    Stanza,
    /// It opens to something that no writer writes.
    #[error("stanza for this member holds no key and name")]
    StanzaContent,
    /// It opens to another key than the keyring says.
    #[error("key of the stanza is not the one the keyring commits to")]
    Commitment,
    /// An older key does not open, or is another than its entry says.
    #[error("older key {0} was altered")]
    Older(KeyId),
}

/// The key of a namespace for one epoch.
#[derive(Clone, ZeroizeOnDrop)]
pub struct EpochKey([u8; 32]);

impl EpochKey {
    /// A new key.
    #[must_use]
    pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut key = Self([0; 32]);
        rng.fill_bytes(&mut key.0);
        key
    }

    /// The key with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret itself.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The commitment to this key, in its place.
    #[must_use]
    pub fn commitment(&self, vault: &VaultId, namespace: &NamespaceId) -> KeyCommitment {
        KeyCommitment(*crypto::KEY_COMMITMENT.expand::<32>(&[&self.0, &vault.0, &namespace.0]))
    }
}

const NAME_LEN: usize = limits::NAMESPACE_NAME_LEN;
const STANZA_TEXT_LEN: usize = 32 + 1 + NAME_LEN;
const STANZA_LEN: usize = 16 + 32 + STANZA_TEXT_LEN + 16;
const OLDER_LEN: usize = 32 + 24 + 48;

/// A keyring that is well-formed. It has not been opened, and whether it counts is for its rotation to say.
#[derive(Clone, PartialEq, Eq)]
pub struct Keyring {
    vault: VaultId,
    namespace: NamespaceId,
    number: u32,
    key: KeyCommitment,
    bytes: Vec<u8>,
}

/// What a recipient finds in a keyring.
pub struct OpenKeyring {
    /// The epoch key.
    pub key: EpochKey,
    /// The name of the namespace.
    pub name: Zeroizing<String>,
    /// Earlier keys of the namespace, ascending by commitment.
    pub older: Vec<(KeyCommitment, EpochKey)>,
}

/// A namespace's name: UTF-8, 0 to 63 bytes, no control characters.
///
/// # Errors
/// If it is not.
pub fn check_namespace_name(name: &str) -> Result<(), NamespaceNameError> {
    if name.len() > NAME_LEN {
        return Err(NamespaceNameError::Length { found: name.len() });
    }
    if name.chars().any(char::is_control) {
        return Err(NamespaceNameError::ControlCharacter);
    }
    Ok(())
}

/// Why a namespace cannot have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceNameError {
    /// Too long.
    #[error("name of {found} bytes, over {}", NAME_LEN)]
    Length {
        /// How many bytes.
        found: usize,
    },
    /// With control characters.
    #[error("name with control characters")]
    ControlCharacter,
}

impl Keyring {
    const MAGIC: &[u8; 8] = b"TALLYKEY";

    /// Seals a key, the namespace's name and earlier keys for these recipients, of whom doubles are dropped.
    ///
    /// # Errors
    /// [`SealKeyringError`].
    #[expect(clippy::too_many_arguments, reason = "each is a field of the file")]
    pub fn seal(
        vault: VaultId,
        namespace: NamespaceId,
        number: u32,
        key: &EpochKey,
        name: &str,
        older: &[EpochKey],
        recipients: &[ReceiveKey],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, SealKeyringError> {
        check_namespace_name(name)?;
        if namespace == NamespaceId::CONTROL || namespace == NamespaceId::ALL || number == 0 {
            return Err(SealKeyringError::Place);
        }
        let commitment = key.commitment(&vault, &namespace);
        let mut older: Vec<_> = older
            .iter()
            .map(|key| (key.commitment(&vault, &namespace), key))
            .collect();
        older.sort_unstable_by_key(|(commitment, _)| *commitment);
        older.dedup_by_key(|(commitment, _)| *commitment);
        let older_count = u8::try_from(older.len()).map_err(|_| SealKeyringError::TooManyOlder)?;
        let mut recipients: Vec<_> = recipients
            .iter()
            .map(|key| (recipient_id(&vault, &namespace, key), *key))
            .collect();
        recipients.sort_unstable();
        recipients.dedup_by_key(|(id, _)| *id);
        if recipients.is_empty() || recipients.len() > limits::KEYRING_STANZAS {
            return Err(SealKeyringError::RecipientCount(recipients.len()));
        }

        let mut bytes =
            Vec::with_capacity(97 + older.len() * OLDER_LEN + recipients.len() * STANZA_LEN);
        bytes.extend_from_slice(Self::MAGIC);
        bytes.extend_from_slice(&1u16.to_be_bytes());
        bytes.extend_from_slice(&vault.0);
        bytes.extend_from_slice(&namespace.0);
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&commitment.0);
        bytes.push(older_count);
        let cipher = older_cipher(key);
        for (commitment, key) in &older {
            let mut nonce = [0; 24];
            rng.fill_bytes(&mut nonce);
            let mut sealed = Zeroizing::new(key.0);
            let tag = cipher
                .encrypt_inout_detached(
                    &nonce.into(),
                    &older_aad(&vault, &namespace, commitment),
                    sealed.as_mut_slice().into(),
                )
                .expect("32 bytes are not too long");
            bytes.extend_from_slice(&commitment.0);
            bytes.extend_from_slice(&nonce);
            bytes.extend_from_slice(&*sealed);
            bytes.extend_from_slice(&tag);
        }
        let stanza_count = u16::try_from(recipients.len()).expect("bounded above");
        bytes.extend_from_slice(&stanza_count.to_be_bytes());
        let mut text = Zeroizing::new([0; STANZA_TEXT_LEN]);
        text[..32].copy_from_slice(&key.0);
        text[32] = u8::try_from(name.len()).expect("checked above");
        text[33..33 + name.len()].copy_from_slice(name.as_bytes());
        let info = wrap_info(&vault, &namespace, number, &commitment);
        for (id, recipient) in &recipients {
            let public = <Kem as hpke::Kem>::PublicKey::from_bytes(&recipient.0)
                .map_err(|_| SealKeyringError::ReceiveKey(*recipient))?;
            let (encapsulated, sealed) = hpke::single_shot_seal_with_rng::<Aead, Kdf, Kem>(
                &OpModeS::Base,
                &public,
                &info,
                &*text,
                &recipient.0,
                &mut &mut *rng,
            )
            .map_err(|_| SealKeyringError::ReceiveKey(*recipient))?;
            bytes.extend_from_slice(&id.0);
            bytes.extend_from_slice(&encapsulated.to_bytes());
            bytes.extend_from_slice(&sealed);
        }
        Ok(Self {
            vault,
            namespace,
            number,
            key: commitment,
            bytes,
        })
    }

    /// Reads a keyring of `vault`, without opening it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(vault: &VaultId, bytes: &[u8]) -> Result<Self, KeyringError> {
        let mut cursor = Cursor::new(bytes);
        if cursor.array::<8>()? != Self::MAGIC {
            return Err(KeyringError::Magic);
        }
        match cursor.u16()? {
            1 => {}
            other => return Err(KeyringError::Version(other)),
        }
        let named = VaultId(*cursor.array()?);
        if named != *vault {
            return Err(KeyringError::ForeignVault(named));
        }
        let namespace = NamespaceId(*cursor.array()?);
        let number = cursor.u32()?;
        if namespace == NamespaceId::CONTROL || namespace == NamespaceId::ALL || number == 0 {
            return Err(KeyringError::Place);
        }
        let key = KeyCommitment(*cursor.array()?);
        let older = usize::from(cursor.u8()?);
        let older = cursor.arrays::<OLDER_LEN>(older)?;
        if !is_ascending(older.iter().map(|entry| entry.first_chunk::<32>())) {
            return Err(KeyringError::OlderOrder);
        }
        let count = cursor.u16()?;
        if count == 0 || usize::from(count) > limits::KEYRING_STANZAS {
            return Err(KeyringError::StanzaCount(count));
        }
        let stanzas = cursor.arrays::<STANZA_LEN>(usize::from(count))?;
        if !is_ascending(stanzas.iter().map(|entry| entry.first_chunk::<16>())) {
            return Err(KeyringError::StanzaOrder);
        }
        if cursor.remaining() > 0 {
            return Err(KeyringError::Trailing);
        }
        Ok(Self {
            vault: *vault,
            namespace,
            number,
            key,
            bytes: bytes.to_vec(),
        })
    }

    /// The keyring as it is stored.
    #[must_use]
    pub fn encode(&self) -> &[u8] {
        &self.bytes
    }

    /// The name of the file.
    #[must_use]
    pub fn id(&self) -> KeyringId {
        KeyringId::of(&self.bytes)
    }

    /// The vault.
    #[must_use]
    pub const fn vault(&self) -> VaultId {
        self.vault
    }

    /// Whose key it is.
    #[must_use]
    pub const fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// The key's number.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The commitment to the key.
    #[must_use]
    pub const fn key(&self) -> KeyCommitment {
        self.key
    }

    /// For whom it is, ascending.
    pub fn recipients(&self) -> impl ExactSizeIterator<Item = RecipientId> + '_ {
        self.stanzas()
            .iter()
            .map(|stanza| RecipientId(*stanza.first_chunk().expect("longer than 16 bytes")))
    }

    /// Which earlier keys come with its key, ascending.
    pub fn older_keys(&self) -> impl ExactSizeIterator<Item = KeyCommitment> + '_ {
        self.older()
            .iter()
            .map(|entry| KeyCommitment(*entry.first_chunk().expect("longer than 32 bytes")))
    }

    fn older(&self) -> &[[u8; OLDER_LEN]] {
        let count = usize::from(self.bytes[94]);
        self.bytes[95..95 + count * OLDER_LEN].as_chunks().0
    }

    fn stanzas(&self) -> &[[u8; STANZA_LEN]] {
        self.bytes[95 + self.older().len() * OLDER_LEN + 2..]
            .as_chunks()
            .0
    }

    /// Opens the stanza for a member, and the older keys.
    ///
    /// # Errors
    /// Why there is no key.
    pub fn open(&self, identity: &Identity) -> Result<OpenKeyring, OpenKeyringError> {
        let receive = identity.card().receive();
        let id = recipient_id(&self.vault, &self.namespace, &receive);
        let stanzas = self.stanzas();
        let place = stanzas
            .binary_search_by(|stanza| stanza[..16].cmp(&id.0[..]))
            .map_err(|_| OpenKeyringError::NoMatch)?;
        let stanza = &stanzas[place];
        let secret = <Kem as hpke::Kem>::PrivateKey::from_bytes(identity.receiving().as_bytes())
            .expect("32 bytes");
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(&stanza[16..48])
            .map_err(|_| OpenKeyringError::Stanza)?;
        let info = wrap_info(&self.vault, &self.namespace, self.number, &self.key);
        let text = hpke::single_shot_open::<Aead, Kdf, Kem>(
            &OpModeR::Base,
            &secret,
            &encapsulated,
            &info,
            &stanza[48..],
            &receive.0,
        )
        .map_err(|_| OpenKeyringError::Stanza)?;
        let text = Zeroizing::new(text);
        let (key, rest) = text
            .split_first_chunk::<32>()
            .ok_or(OpenKeyringError::StanzaContent)?;
        let key = EpochKey(*key);
        if key.commitment(&self.vault, &self.namespace) != self.key {
            return Err(OpenKeyringError::Commitment);
        }
        let name = read_name(rest).ok_or(OpenKeyringError::StanzaContent)?;
        let cipher = older_cipher(&key);
        let mut older = Vec::with_capacity(self.older().len());
        for entry in self.older() {
            older.push(open_older(&cipher, &self.vault, &self.namespace, entry)?);
        }
        Ok(OpenKeyring { key, name, older })
    }
}

/// Why a keyring was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealKeyringError {
    /// The name is refused.
    #[error("{0}")]
    Name(#[from] NamespaceNameError),
    /// Control and `ff…ff` have no keys, and numbers begin at 1.
    #[error("keyring of what has no keys, or number 0")]
    Place,
    /// More than 255 older keys: rotate in full.
    #[error("more than {} older keys", limits::KEYRING_OLDER)]
    TooManyOlder,
    /// No recipients, or more than a vault has members.
    #[error("keyring for {0} recipients")]
    RecipientCount(usize),
    /// A key that no card can hold.
    #[error("receive key {0} is of small order")]
    ReceiveKey(ReceiveKey),
}

/// For whom a stanza is.
#[must_use]
pub fn recipient_id(vault: &VaultId, namespace: &NamespaceId, receive: &ReceiveKey) -> RecipientId {
    let hash = crypto::RECIPIENT.hash(&[&vault.0, &namespace.0, &receive.0]);
    RecipientId(*hash.first_chunk().expect("longer than 16 bytes"))
}

fn wrap_info(
    vault: &VaultId,
    namespace: &NamespaceId,
    number: u32,
    commitment: &KeyCommitment,
) -> Vec<u8> {
    [
        b"tally vault v1 wrap\0".as_slice(),
        &vault.0,
        &namespace.0,
        &number.to_be_bytes(),
        &commitment.0,
    ]
    .concat()
}

/// The name behind its length byte, followed by zeros.
fn read_name(text: &[u8]) -> Option<Zeroizing<String>> {
    let (&len, rest) = text.split_first()?;
    let (name, padding) = rest.split_at_checked(usize::from(len))?;
    if padding.iter().fold(0, |all, byte| all | byte) != 0 {
        return None;
    }
    let name = str::from_utf8(name).ok()?;
    check_namespace_name(name).ok()?;
    Some(Zeroizing::new(name.to_owned()))
}

fn older_cipher(key: &EpochKey) -> XChaCha20Poly1305 {
    let key = crypto::OLDER.expand::<32>(&[&key.0]);
    XChaCha20Poly1305::new_from_slice(&*key).expect("32 bytes")
}

fn older_aad(vault: &VaultId, namespace: &NamespaceId, commitment: &KeyCommitment) -> [u8; 80] {
    let mut aad = [0; 80];
    aad[..32].copy_from_slice(&vault.0);
    aad[32..48].copy_from_slice(&namespace.0);
    aad[48..].copy_from_slice(&commitment.0);
    aad
}

fn open_older(
    cipher: &XChaCha20Poly1305,
    vault: &VaultId,
    namespace: &NamespaceId,
    entry: &[u8; OLDER_LEN],
) -> Result<(KeyCommitment, EpochKey), OpenKeyringError> {
    let commitment = KeyCommitment(*entry.first_chunk().expect("longer than 32 bytes"));
    let altered = OpenKeyringError::Older(commitment.key_id());
    let nonce: &[u8; 24] = entry[32..].first_chunk().expect("an entry's length");
    let tag: [u8; 16] = *entry.last_chunk().expect("an entry's length");
    let mut key = EpochKey(*entry[56..].first_chunk().expect("an entry's length"));
    cipher
        .decrypt_inout_detached(
            nonce.into(),
            &older_aad(vault, namespace, &commitment),
            key.0.as_mut_slice().into(),
            &tag.into(),
        )
        .map_err(|_| altered)?;
    if key.commitment(vault, namespace) != commitment {
        return Err(altered);
    }
    Ok((commitment, key))
}

//! Names of things: newtypes over the bytes that stand on disk, compared and sorted as bytes, shown as hexadecimal.

use std::{fmt, str::FromStr};

/// A name that is not the right number of lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} lower-case hexadecimal digits")]
pub struct ParseIdError {
    /// How many digits the name has.
    pub digits: usize,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident [$len:literal];)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Bytes of this name.
            pub const LEN: usize = $len;

            /// The bytes as they are stored.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Whether every byte is zero.
            #[must_use]
            pub fn is_zero(&self) -> bool {
                self.0 == [0; $len]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for byte in self.0 {
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let error = ParseIdError { digits: 2 * $len };
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(error);
                }
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| error)?;
                Ok(Self(bytes))
            }
        }
    )*};
}

ids! {
    /// A vault: the hash of its genesis. Whoever has it cannot be given another vault.
    VaultId[32];
    /// A part of the vault with keys of its own.
    NamespaceId[16];
    /// A member: its Ed25519 public key. Any 32 bytes can be held; whether they are a key is decided where a signature
    /// or a [`Card`](crate::Card) is checked.
    MemberId[32];
    /// An X25519 public key.
    ReceiveKey[32];
    /// An operation.
    OpId[32];
    /// A grant: the id of the operation that made it.
    GrantId[32];
    /// A seal.
    SealId[32];
    /// The salted hash of a body, which stays when the body is redacted.
    BodyCommitment[32];
    /// Commitment to an epoch key.
    KeyCommitment[32];
    /// The first 16 bytes of an epoch key's commitment; zero where nothing is encrypted.
    KeyId[16];
    /// A keyring file, by BLAKE3 of its bytes.
    KeyringId[32];
    /// A blob file, by BLAKE3 of what stands in front of its chunks, their hashes among it.
    BlobId[32];
    /// BLAKE3 of the bytes of a box.
    BoxHash[32];
    /// A run of an agent: the hash of its journal's genesis entry.
    RunId[32];
    /// BLAKE3 of a receipt's envelope.
    ReceiptDigest[32];
    /// For whom a stanza is, to those who know the receive key already.
    RecipientId[16];
}

impl NamespaceId {
    /// Grants, revocations, rotations and checkpoints, unencrypted.
    pub const CONTROL: Self = Self([0; 16]);
    /// In a grant: every data namespace, present and future.
    pub const ALL: Self = Self([0xff; 16]);
}

impl GrantId {
    /// What the root holds by being the root.
    pub const ROOT: Self = Self([0; 32]);

    /// The operation that made the grant.
    #[must_use]
    pub const fn operation(self) -> OpId {
        OpId(self.0)
    }
}

impl OpId {
    /// What stands before the first operation of a log.
    pub const NONE: Self = Self([0; 32]);

    /// The grant that this operation makes, if it is one that makes a grant.
    #[must_use]
    pub const fn grant(self) -> GrantId {
        GrantId(self.0)
    }
}

impl SealId {
    /// What stands before an author's first seal.
    pub const NONE: Self = Self([0; 32]);
}

impl KeyId {
    /// No key: the box is in clear.
    pub const NONE: Self = Self([0; 16]);
}

impl KeyCommitment {
    /// The short name that seals carry.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId(*self.0.first_chunk().expect("a commitment has 32 bytes"))
    }
}

impl KeyringId {
    /// The name of a keyring file with these bytes.
    #[must_use]
    pub fn of(file: &[u8]) -> Self {
        Self(*blake3::hash(file).as_bytes())
    }
}

impl BoxHash {
    /// The hash of a box with these bytes.
    #[must_use]
    pub fn of(box_bytes: &[u8]) -> Self {
        Self(*blake3::hash(box_bytes).as_bytes())
    }
}

//! Signed notes: a text for which keys vouch.
//!
//! ```text
//! text, ending in a line end
//! (empty line)
//! — NAME BASE64(key id 4 || signature)        one line for each signature
//! ```
//!
//! Of the signature types, two: `01`, Ed25519 over the text, and `04`, a cosignature, Ed25519 over
//! `cosignature/v1\ntime SECONDS\n` and the text, whose bytes are `SECONDS u64 || signature 64`. Signatures of others
//! are kept and not judged. A key is written as a *verifier key*:
//!
//! ```text
//! NAME+hex(key id 4)+BASE64(type || public key 32)
//! key id = SHA-256(NAME || "\n" || type || public key)[..4]
//! ```
//!
//! Sources: c2sp.org/signed-note, c2sp.org/tlog-cosignature. Deviations: base64 has its one spelling, a note has no more
//! than [`MAX_SIGNATURES`] signatures and [`MAX_NOTE_BYTES`] bytes, and Ed25519 is read strictly (`docs/receipt.md`).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use tally_receipt::{InvalidKey, PublicKey, Signature, SigningKey};

use crate::text;

/// Bytes of a note. A checkpoint with 256 cosignatures of names of 200 bytes has 80,000.
pub const MAX_NOTE_BYTES: usize = 128 << 10;

/// Signatures on a note: one for each of 256 validators, and logs' own.
pub const MAX_SIGNATURES: usize = 512;

const DASH: &str = "— ";

/// The name of a key: not empty, without white space, control characters or `+`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Box<str>);

/// Why a text is no key's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key's name is not empty, and without white space, control characters or '+'")]
pub struct InvalidKeyName;

impl KeyName {
    /// Takes a name.
    ///
    /// # Errors
    /// [`InvalidKeyName`].
    pub fn new(name: &str) -> Result<Self, InvalidKeyName> {
        let allowed = |character: char| {
            !character.is_whitespace() && !character.is_control() && character != '+'
        };
        if !name.is_empty() && name.chars().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidKeyName)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// The text itself: a log's own signature.
    Ed25519,
    /// The text at a time, seen to be consistent with all before: a cosignature.
    Cosignature,
}

impl KeyType {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }
}

/// A public key with its name and what it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    /// Its name.
    pub name: KeyName,
    /// What it signs.
    pub key_type: KeyType,
    /// The key.
    pub key: PublicKey,
}

/// Why a text is no verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierKeyError {
    /// Not of the form.
    #[error("a verifier key is written NAME+ID+KEY, the id in hex and the key in base64")]
    Form,
    /// A name that cannot be one.
    #[error(transparent)]
    Name(#[from] InvalidKeyName),
    /// The id is another key's.
    #[error("the key id does not belong to this name and key")]
    Id,
    /// Of a type that is not supported.
    #[error("keys of type {0:#04x} are not supported, only 0x01 (Ed25519) and 0x04 (cosignature)")]
    Type(u8),
    /// Not a key.
    #[error("the key cannot be used: {0}")]
    Key(InvalidKey),
}

impl VerifierKey {
    /// The first bytes of a hash of name and key, by which signatures name the key.
    pub fn id(&self) -> [u8; 4] {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(self.name.as_str())
            .chain_update([b'\n', self.key_type.byte()])
            .chain_update(self.key.as_bytes())
            .finalize()
            .into();
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.key_type.byte()], &self.key.as_bytes()[..]].concat();
        write!(
            formatter,
            "{}+{}+{}",
            self.name,
            hex::encode(self.id()),
            text::encode(&key)
        )
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let (name, rest) = text.split_once('+').ok_or(VerifierKeyError::Form)?;
        // The key may have a plus sign, too: base64 has one.
        let (id, key) = rest.split_once('+').ok_or(VerifierKeyError::Form)?;
        let name = KeyName::new(name)?;
        let key = text::decode(key).ok_or(VerifierKeyError::Form)?;
        let (type_byte, key) = key.split_first().ok_or(VerifierKeyError::Form)?;
        let key_type = match type_byte {
            1 => KeyType::Ed25519,
            4 => KeyType::Cosignature,
            other => return Err(VerifierKeyError::Type(*other)),
        };
        let key = key.try_into().map_err(|_| VerifierKeyError::Form)?;
        let key = PublicKey::from_bytes(key).map_err(VerifierKeyError::Key)?;
        let verifier = Self {
            name,
            key_type,
            key,
        };
        if id == hex::encode(verifier.id()) {
            Ok(verifier)
        } else {
            Err(VerifierKeyError::Id)
        }
    }
}

/// A time as cosignatures have it: seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

/// One signature on a note, not yet known to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    id: [u8; 4],
    bytes: Box<[u8]>,
}

impl NoteSignature {
    /// The name of the key that is said to have made it.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// Whether it is said to be by this key.
    pub fn is_by(&self, verifier: &VerifierKey) -> bool {
        self.name == verifier.name && self.id == verifier.id()
    }
}

/// A text and signatures on it, not yet known to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: Box<str>,
    signatures: Vec<NoteSignature>,
}

/// Why bytes are no note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Larger than any.
    #[error("a note has at most {MAX_NOTE_BYTES} bytes; this has {found}")]
    TooLarge {
        /// How many.
        found: usize,
    },
    /// Not text.
    #[error("a note is UTF-8 without control characters")]
    Characters,
    /// No text, or no signatures after it.
    #[error("a note is a text, an empty line, and lines with signatures")]
    Form,
    /// A signature line that is none.
    #[error("signature line {line} is not '{DASH}NAME BASE64'")]
    Signature {
        /// Which one, from 1.
        line: usize,
    },
    /// More signatures than may be.
    #[error("a note has at most {MAX_SIGNATURES} signatures")]
    TooManySignatures,
}

/// How a key's signature on a note came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// The key has not signed.
    No,
    /// It has.
    Yes,
    /// It has, at a time.
    At(UnixSeconds),
    /// Something is there that pretends to be its signature. The note is not to be used.
    Bad,
}

impl Note {
    /// Takes a text that nobody has signed yet.
    ///
    /// # Errors
    /// [`NoteError::Characters`], [`NoteError::Form`] without a line end at the end.
    pub fn new(text: &str) -> Result<Self, NoteError> {
        if !allowed(text) {
            return Err(NoteError::Characters);
        }
        if !text.ends_with('\n') {
            return Err(NoteError::Form);
        }
        Ok(Self {
            text: text.into(),
            signatures: Vec::new(),
        })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge { found: bytes.len() });
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Characters)?;
        let split = note.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        let mut read = Self::new(text)?;
        if !allowed(lines) {
            return Err(NoteError::Characters);
        }
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        for (index, line) in lines.split('\n').enumerate() {
            if index == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            let signature = signature_line(line).ok_or(NoteError::Signature { line: index + 1 })?;
            read.signatures.push(signature);
        }
        Ok(read)
    }

    /// The text that is signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in their order.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Signs the text.
    pub fn sign(&mut self, name: &KeyName, key: &SigningKey) {
        let signature = key.sign(self.text.as_bytes());
        self.push(name, KeyType::Ed25519, key, signature.as_bytes());
    }

    /// Cosigns the text at a time: says that nothing larger was seen then, and nothing inconsistent ever.
    pub fn cosign(&mut self, name: &KeyName, key: &SigningKey, at: UnixSeconds) {
        let signature = key.sign(&self.cosigned_bytes(at));
        let bytes = [&at.0.to_be_bytes(), &signature.as_bytes()[..]].concat();
        self.push(name, KeyType::Cosignature, key, &bytes);
    }

    fn push(&mut self, name: &KeyName, key_type: KeyType, key: &SigningKey, bytes: &[u8]) {
        let id = VerifierKey {
            name: name.clone(),
            key_type,
            key: key.public_key(),
        }
        .id();
        self.add(NoteSignature {
            name: name.clone(),
            id,
            bytes: bytes.into(),
        });
    }

    /// Adds a signature that was made elsewhere. One of the same key is replaced.
    pub fn add(&mut self, signature: NoteSignature) {
        self.signatures
            .retain(|other| (&other.name, other.id) != (&signature.name, signature.id));
        self.signatures.push(signature);
    }

    fn cosigned_bytes(&self, at: UnixSeconds) -> Vec<u8> {
        format!("cosignature/v1\ntime {}\n{}", at.0, self.text).into_bytes()
    }

    /// Whether a key has signed.
    pub fn signed_by(&self, verifier: &VerifierKey) -> Signed {
        let id = verifier.id();
        let mut outcome = Signed::No;
        for signature in &self.signatures {
            if signature.name != verifier.name || signature.id != id {
                continue;
            }
            outcome = match (verifier.key_type, &signature.bytes) {
                (KeyType::Ed25519, bytes) => match (**bytes).try_into() {
                    Ok(bytes)
                        if verifier
                            .key
                            .verify(self.text.as_bytes(), &Signature::from_bytes(bytes)) =>
                    {
                        Signed::Yes
                    }
                    _ => Signed::Bad,
                },
                (KeyType::Cosignature, bytes) => self.cosigned_by(&verifier.key, bytes),
            };
            if outcome == Signed::Bad {
                break;
            }
        }
        outcome
    }

    fn cosigned_by(&self, key: &PublicKey, bytes: &[u8]) -> Signed {
        let Some((at, signature)) = bytes.split_first_chunk() else {
            return Signed::Bad;
        };
        let at = UnixSeconds(u64::from_be_bytes(*at));
        match signature.try_into() {
            Ok(signature)
                if i64::try_from(at.0).is_ok()
                    && key.verify(&self.cosigned_bytes(at), &Signature::from_bytes(signature)) =>
            {
                Signed::At(at)
            }
            _ => Signed::Bad,
        }
    }
}

/// The note as it is written.
impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.text)?;
        for signature in &self.signatures {
            let bytes = [&signature.id, &signature.bytes[..]].concat();
            writeln!(
                formatter,
                "{DASH}{} {}",
                signature.name,
                text::encode(&bytes)
            )?;
        }
        Ok(())
    }
}

fn allowed(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' || byte == b'\n')
}

fn signature_line(line: &str) -> Option<NoteSignature> {
    let (name, bytes) = line.strip_prefix(DASH)?.split_once(' ')?;
    let bytes = text::decode(bytes)?;
    let (id, bytes) = bytes.split_first_chunk()?;
    (!bytes.is_empty()).then_some(())?;
    Some(NoteSignature {
        name: KeyName::new(name).ok()?,
        id: *id,
        bytes: bytes.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of c2sp.org/signed-note.
    const EXAMPLE: &str = "This is an example message.\n\n\
        — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    const EXAMPLE_KEY: &str =
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn the_specifications_example_verifies_and_is_written_back() {
        let note = Note::parse(EXAMPLE.as_bytes()).unwrap();
        let key: VerifierKey = EXAMPLE_KEY.parse().unwrap();
        assert_eq!(key.to_string(), EXAMPLE_KEY);
        assert_eq!(note.signed_by(&key), Signed::Yes);
        assert_eq!(note.to_string(), EXAMPLE);
        let altered = EXAMPLE.replace("message", "massage");
        let altered = Note::parse(altered.as_bytes()).unwrap();
        assert_eq!(altered.signed_by(&key), Signed::Bad);
    }

    #[test]
    fn a_cosignature_says_when_and_for_which_key() {
        let key = SigningKey::from_seed(&[3; 32]);
        let name = KeyName::new("witness.example/w1").unwrap();
        let mut note = Note::new("a\n1\nx\n").unwrap();
        note.cosign(&name, &key, UnixSeconds(1_679_315_147));
        let verifier = |key_type, key: &SigningKey| VerifierKey {
            name: name.clone(),
            key_type,
            key: key.public_key(),
        };
        let cosigner = verifier(KeyType::Cosignature, &key);
        assert_eq!(
            note.signed_by(&cosigner),
            Signed::At(UnixSeconds(1_679_315_147))
        );
        // The same key as another type, and another key, have not signed.
        assert_eq!(
            note.signed_by(&verifier(KeyType::Ed25519, &key)),
            Signed::No
        );
        let other = verifier(KeyType::Cosignature, &SigningKey::from_seed(&[4; 32]));
        assert_eq!(note.signed_by(&other), Signed::No);
        assert_eq!(Note::parse(note.to_string().as_bytes()), Ok(note));
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let good = "t\n\n— n AAAAAAA=\n";
        assert!(Note::parse(good.as_bytes()).is_ok());
        for bad in [
            "",
            "t\n",
            "t\n\n",
            "t\n\n— n AAAAAAA=",
            "t\n\n- n AAAAAAA=\n",
            "t\n\n— n AAAAAA==\n",
            "t\n\n— n AAAAAAB=\n",
            "t\n\n— n+m AAAAAAA=\n",
            "t\n\n— AAAAAAA=\n",
            "t\r\n\n— n AAAAAAA=\n",
            "t\n\n— n AAAAAAA= x\n",
            "t\n\n— n AAAAAAA=\n\u{7}\n",
        ] {
            assert!(Note::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let many = format!("t\n\n{}", "— n AAAAAAA=\n".repeat(MAX_SIGNATURES + 1));
        assert_eq!(
            Note::parse(many.as_bytes()),
            Err(NoteError::TooManySignatures)
        );
    }

    #[test]
    fn what_is_no_verifier_key_is_refused() {
        for bad in [
            "",
            "example.com/foo",
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/fo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+BekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        ] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad:?}");
        }
    }
}

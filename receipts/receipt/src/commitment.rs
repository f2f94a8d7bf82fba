//! Salted commitments and their selective opening.
//!
//! ```text
//! key        = BLAKE3 derive_key("tally-receipt v1 2026-11-21 commitment", salt)          salt: 32 random bytes
//! commitment = BLAKE3 keyed_hash(key, field || 00 || kind || 00 || content)
//! ```
//!
//! `field` is the place in the receipt ([`Field::path`]), `kind` the form of the value ([`ValueRef::kind`]), both
//! ASCII without a zero byte, so the encoding is unambiguous and a commitment is of no use in another field or for
//! another kind. Whoever sees a receipt learns nothing about a value, not even by guessing it, as long as the salt is
//! secret (a keyed BLAKE3 is a pseudo-random function); whoever opens it cannot open it to another value (collision
//! resistance).
//!
//! Each field has its own salt, so one can be opened and the rest stay closed. [`SaltSeed`] makes them from one secret.
//! Out of scope: where salts come from and rest.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer};
use serde::{Serialize, Serializer};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use crate::bytes::{Digest, ParseHexError, TextVisitor, hex_bytes};
use crate::limits::MAX_OPENINGS_BYTES;

hex_bytes! {
    /// What stands in a receipt for a value that is not shown: 32 bytes that only the salt's holder can explain.
    Commitment, 32
}

const COMMITMENT_CONTEXT: &str = "tally-receipt v1 2026-11-21 commitment";
const SALT_CONTEXT: &str = "tally-receipt v1 2026-11-21 salt of a field";

impl Commitment {
    /// Commits to `value` as the value of `field`.
    pub fn new(field: Field, salt: &Salt, value: ValueRef<'_>) -> Self {
        let mut key = blake3::derive_key(COMMITMENT_CONTEXT, &salt.0);
        let mut hasher = blake3::Hasher::new_keyed(&key);
        for part in [field.path(), value.kind()] {
            hasher.update(part.as_bytes());
            hasher.update(&[0]);
        }
        value.feed(&mut hasher);
        let commitment = Self(*hasher.finalize().as_bytes());
        hasher.zeroize();
        key.zeroize();
        commitment
    }

    /// Whether this is the commitment to `value` as the value of `field`.
    pub fn opens_to(&self, field: Field, salt: &Salt, value: ValueRef<'_>) -> bool {
        Self::new(field, salt, value).0.ct_eq(&self.0).into()
    }
}

/// A place in a receipt that holds a commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Field {
    /// The request as the client sent it, before templates.
    Asked,
    /// The prompt as the model saw it: token ids.
    Prompt,
    /// The strings that end a generation.
    StopStrings,
    /// What the model produced: token ids, or the vectors of an embedding or the numbers of a ranking as little-endian binary32.
    Output,
    /// The text that was handed out for the output.
    OutputText,
    /// What an agent was run with.
    RunInput,
    /// What an agent answered.
    RunOutput,
}

impl Field {
    /// All fields.
    pub const ALL: [Self; 7] = [
        Self::Asked,
        Self::Prompt,
        Self::StopStrings,
        Self::Output,
        Self::OutputText,
        Self::RunInput,
        Self::RunOutput,
    ];

    /// Its name: the predicate's type, `#`, and the JSON pointer (RFC 6901) of the commitment inside the predicate.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Asked => "urn:tally:inference:v1#/asked",
            Self::Prompt => "urn:tally:inference:v1#/prompt/commitment",
            Self::StopStrings => "urn:tally:inference:v1#/sampling/stop/commitment",
            Self::Output => "urn:tally:inference:v1#/output/commitment",
            Self::OutputText => "urn:tally:inference:v1#/output/text",
            Self::RunInput => "urn:tally:run:v1#/input",
            Self::RunOutput => "urn:tally:run:v1#/output",
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        Self::ALL
            .into_iter()
            .find(|field| field.path() == text)
            .ok_or("no field of a receipt has this name")
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.path())
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor {
            expecting: "the name of a field",
            parse: Self::parse,
        })
    }
}

/// What hides a committed value: 32 random bytes, used for one field of one receipt. Without `Debug`: until it is
/// given away on purpose it is a secret. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Drop for Salt {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Salt {
    /// Takes 32 bytes of the operating system's randomness.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::bytes::serialize_hex(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::bytes::deserialize_hex(deserializer).map(Self)
    }
}

/// One secret from which all salts of one receipt follow: `derive_key(context, seed || field)`. A salt says nothing
/// about the seed or about other salts.
#[derive(Clone)]
pub struct SaltSeed([u8; 32]);

impl Drop for SaltSeed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl SaltSeed {
    /// Takes 32 bytes of the operating system's randomness. A seed serves one receipt only: the same value in the same
    /// field under the same seed gives the same commitment, which would show that two prompts are equal.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The salt of one field.
    pub fn salt(&self, field: Field) -> Salt {
        let mut hasher = blake3::Hasher::new_derive_key(SALT_CONTEXT);
        hasher.update(&self.0);
        hasher.update(field.path().as_bytes());
        let salt = Salt(*hasher.finalize().as_bytes());
        hasher.zeroize();
        salt
    }
}

/// A value to commit to.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    /// Token ids. Content: each as 4 little-endian bytes.
    Tokens(&'a [u32]),
    /// A text. Content: its UTF-8 bytes.
    Text(&'a str),
    /// Several texts. Content: each as the 4 little-endian bytes of its length in bytes, then its UTF-8 bytes.
    Texts(&'a [String]),
    /// Anything else, as it is.
    Bytes(&'a [u8]),
}

impl ValueRef<'_> {
    /// Its form, by name.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tokens(_) => "tokens",
            Self::Text(_) => "text",
            Self::Texts(_) => "texts",
            Self::Bytes(_) => "bytes",
        }
    }

    fn feed(&self, hasher: &mut blake3::Hasher) {
        match self {
            Self::Tokens(tokens) => {
                let mut block = [0; 1024];
                for tokens in tokens.chunks(block.len() / 4) {
                    for (bytes, token) in block.chunks_exact_mut(4).zip(tokens) {
                        bytes.copy_from_slice(&token.to_le_bytes());
                    }
                    hasher.update(&block[..tokens.len() * 4]);
                }
            }
            Self::Text(text) => {
                hasher.update(text.as_bytes());
            }
            Self::Texts(texts) => {
                for text in *texts {
                    let length = u32::try_from(text.len())
                        .expect("a text in memory that is committed to is below 4 GiB");
                    hasher.update(&length.to_le_bytes());
                    hasher.update(text.as_bytes());
                }
            }
            Self::Bytes(bytes) => {
                hasher.update(bytes);
            }
        }
    }
}

/// A committed value, held.
#[derive(Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommittedValue {
    /// As [`ValueRef::Tokens`].
    Tokens(Vec<u32>),
    /// As [`ValueRef::Text`].
    Text(String),
    /// As [`ValueRef::Texts`].
    Texts(Vec<String>),
    /// As [`ValueRef::Bytes`]; in JSON, padded base64.
    Bytes(#[serde(with = "base64_text")] Vec<u8>),
}

impl CommittedValue {
    /// Borrows it.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Tokens(tokens) => ValueRef::Tokens(tokens),
            Self::Text(text) => ValueRef::Text(text),
            Self::Texts(texts) => ValueRef::Texts(texts),
            Self::Bytes(bytes) => ValueRef::Bytes(bytes),
        }
    }
}

mod base64_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_str(TextVisitor {
            expecting: "base64 in a string",
            parse: |text| STANDARD.decode(text),
        })
    }
}

/// A value with the salt that shows it to be what a receipt commits to. Giving it away opens this field, and no other.
#[derive(Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The field it opens.
    pub field: Field,
    /// The field's salt.
    pub salt: Salt,
    /// The field's value.
    pub value: CommittedValue,
}

impl Opening {
    /// Commits to `value` and keeps what opens the commitment.
    pub fn commit(field: Field, salt: Salt, value: CommittedValue) -> (Commitment, Self) {
        (
            Commitment::new(field, &salt, value.as_ref()),
            Self { field, salt, value },
        )
    }

    /// Whether it opens `commitment`.
    pub fn opens(&self, commitment: &Commitment) -> bool {
        commitment.opens_to(self.field, &self.salt, self.value.as_ref())
    }
}

/// Why an opening does not open its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// It is for another receipt.
    #[error("the openings are for the receipt {expected}, not for this one")]
    OtherReceipt {
        /// The digest they name.
        expected: Digest,
    },
    /// The receipt has no commitment there.
    #[error("the receipt has nothing committed at {}", .0.path())]
    NothingCommitted(Field),
    /// The salt and value give another commitment.
    #[error("the value at {} is not what the receipt commits to", .0.path())]
    Mismatch(Field),
}

/// A file of openings: what the holder of a receipt keeps beside it, whole or cut down to what is to be shown.
///
/// The content of `tally verify --open FILE`:
/// `{"format":"tally-openings-v1","receipt":DIGEST,"openings":[{"field":…,"salt":…,"value":{"tokens":[…]}},…]}`.
#[derive(Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Openings {
    format: Format,
    receipt: Digest,
    openings: Vec<Opening>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
enum Format {
    #[serde(rename = "tally-openings-v1")]
    V1,
}

/// Why bytes are not a file of openings. The texts say nothing about the values in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpeningsError {
    /// Too many bytes.
    #[error("a file of openings has at most {MAX_OPENINGS_BYTES} bytes, not {found}")]
    TooLarge {
        /// How many there are.
        found: usize,
    },
    /// Not of the form.
    #[error("the file is not a tally-openings-v1 document: line {line}, column {column}")]
    Form {
        /// Where, counted from one.
        line: usize,
        /// Where, counted from one.
        column: usize,
    },
    /// A field twice.
    #[error("the field {} is opened twice", .0.path())]
    Twice(Field),
}

impl OpeningsError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "openings-oversized",
            Self::Form { .. } => "openings-form",
            Self::Twice(_) => "opened-twice",
        }
    }
}

impl Openings {
    /// Collects the openings of one receipt.
    ///
    /// # Errors
    /// [`OpeningsError::Twice`].
    pub fn new(receipt: Digest, openings: Vec<Opening>) -> Result<Self, OpeningsError> {
        for (index, opening) in openings.iter().enumerate() {
            if openings[..index]
                .iter()
                .any(|earlier| earlier.field == opening.field)
            {
                return Err(OpeningsError::Twice(opening.field));
            }
        }
        Ok(Self {
            format: Format::V1,
            receipt,
            openings,
        })
    }

    /// Reads a file of openings.
    ///
    /// # Errors
    /// [`OpeningsError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, OpeningsError> {
        if bytes.len() > MAX_OPENINGS_BYTES {
            return Err(OpeningsError::TooLarge { found: bytes.len() });
        }
        let form = |error: serde_json::Error| OpeningsError::Form {
            line: error.line(),
            column: error.column(),
        };
        let read: Self = crate::statement::from_json_objects(bytes).map_err(form)?;
        Self::new(read.receipt, read.openings)
    }

    /// The file.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("texts and numbers are JSON")
    }

    /// The digest of the receipt they are for.
    pub fn receipt(&self) -> Digest {
        self.receipt
    }

    /// Each opening, each of another field.
    pub fn iter(&self) -> impl Iterator<Item = &Opening> {
        self.openings.iter()
    }

    /// The value that this file gives for `field`; whether it is the receipt's is for the verdict to say.
    pub fn value(&self, field: Field) -> Option<&CommittedValue> {
        self.openings
            .iter()
            .find(|opening| opening.field == field)
            .map(|opening| &opening.value)
    }

    /// The salt of `field`: whoever knows the value can then show that the receipt commits to it.
    pub fn salt(&self, field: Field) -> Option<&Salt> {
        self.openings
            .iter()
            .find(|opening| opening.field == field)
            .map(|opening| &opening.salt)
    }

    /// Only the openings of `fields`: the part that its holder wants to show.
    #[must_use]
    pub fn only(&self, fields: &[Field]) -> Self {
        let openings = self
            .openings
            .iter()
            .filter(|opening| fields.contains(&opening.field))
            .cloned()
            .collect();
        Self { openings, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt::from_bytes([1; 32]);

    #[test]
    fn a_commitment_opens_to_its_value_in_its_field_only() {
        let commitment = Commitment::new(Field::Prompt, &SALT, ValueRef::Tokens(&[1, 2, 3]));
        assert!(commitment.opens_to(Field::Prompt, &SALT, ValueRef::Tokens(&[1, 2, 3])));
        assert!(!commitment.opens_to(Field::Prompt, &SALT, ValueRef::Tokens(&[1, 2, 4])));
        assert!(!commitment.opens_to(Field::Prompt, &SALT, ValueRef::Tokens(&[1, 2])));
        assert!(!commitment.opens_to(
            Field::Prompt,
            &Salt::from_bytes([2; 32]),
            ValueRef::Tokens(&[1, 2, 3])
        ));
        for field in Field::ALL
            .into_iter()
            .filter(|field| *field != Field::Prompt)
        {
            assert!(!commitment.opens_to(field, &SALT, ValueRef::Tokens(&[1, 2, 3])));
        }
    }

    #[test]
    fn the_form_of_a_value_is_committed_to() {
        let text = Commitment::new(Field::Output, &SALT, ValueRef::Text("abcd"));
        assert!(!text.opens_to(Field::Output, &SALT, ValueRef::Bytes(b"abcd")));
        assert!(!text.opens_to(
            Field::Output,
            &SALT,
            ValueRef::Tokens(&[u32::from_le_bytes(*b"abcd")])
        ));
        let one = Commitment::new(
            Field::StopStrings,
            &SALT,
            ValueRef::Texts(&["ab".into(), "c".into()]),
        );
        assert!(!one.opens_to(
            Field::StopStrings,
            &SALT,
            ValueRef::Texts(&["a".into(), "bc".into()])
        ));
    }

    #[test]
    fn long_token_lists_are_fed_whole() {
        let tokens: Vec<u32> = (0..1000).collect();
        let commitment = Commitment::new(Field::Prompt, &SALT, ValueRef::Tokens(&tokens));
        let mut hasher =
            blake3::Hasher::new_keyed(&blake3::derive_key(COMMITMENT_CONTEXT, &[1; 32]));
        hasher.update(b"urn:tally:inference:v1#/prompt/commitment\0tokens\0");
        tokens.iter().for_each(|token| {
            hasher.update(&token.to_le_bytes());
        });
        assert_eq!(commitment.as_bytes(), hasher.finalize().as_bytes());
    }

    #[test]
    fn salts_of_one_seed_differ_by_field() {
        let seed = SaltSeed::from_bytes([5; 32]);
        for (index, field) in Field::ALL.into_iter().enumerate() {
            for other in &Field::ALL[..index] {
                assert!(seed.salt(field) != seed.salt(*other));
            }
        }
    }

    #[test]
    fn a_cut_down_file_opens_one_field_and_holds_no_other_salt() {
        let seed = SaltSeed::from_bytes([5; 32]);
        let open = |field, text: &str| {
            Opening::commit(field, seed.salt(field), CommittedValue::Text(text.into()))
        };
        let (input, input_opening) = open(Field::RunInput, "what is shown");
        let (output, output_opening) = open(Field::RunOutput, "what is not");
        let all =
            Openings::new(Digest::of(b"receipt"), vec![input_opening, output_opening]).unwrap();

        let shown = Openings::parse(&all.only(&[Field::RunInput]).to_json())
            .ok()
            .unwrap();
        assert!(shown.iter().all(|opening| opening.opens(&input)));
        assert!(!shown.iter().any(|opening| opening.opens(&output)));
        assert_eq!(shown.iter().count(), 1);
        let text = String::from_utf8(shown.to_json()).unwrap();
        assert!(!text.contains("what is not"));
        assert!(!text.contains(&hex::encode(seed.salt(Field::RunOutput).as_bytes())));
    }

    #[test]
    fn openings_of_another_form_are_refused() {
        let form = |text: &str| Openings::parse(text.as_bytes()).err();
        let receipt = Digest::of(b"r");
        let good =
            format!(r#"{{"format":"tally-openings-v1","receipt":"{receipt}","openings":[]}}"#);
        assert!(form(&good).is_none());
        assert!(form(&good.replace("v1", "v2")).is_some());
        assert!(form(&good.replace("[]", "[],\"x\":1")).is_some());
        assert!(form(&good.replace("[]", "[],\"openings\":[]")).is_some());
        assert!(form(&format!(r#"["tally-openings-v1","{receipt}",[]]"#)).is_some());
        assert!(form(&format!("{good}x")).is_some());
        let one = r#"{"field":"urn:tally:run:v1#/input","salt":"SALT","value":{"text":""}}"#
            .replace("SALT", &"00".repeat(32));
        assert!(form(&good.replace("[]", &format!("[{one}]"))).is_none());
        assert_eq!(
            form(&good.replace("[]", &format!("[{one},{one}]"))),
            Some(OpeningsError::Twice(Field::RunInput))
        );
    }
}

//! The DSSE envelope: signed bytes, carried verbatim, and who signed them.
//!
//! ```text
//! {"payload":"BASE64","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":"HEX","sig":"BASE64"},…]}
//! ```
//!
//! Every DSSE implementation reads this. This one reads nothing else: these fields in this order, without white space,
//! standard padded base64 with zero trailing bits, `keyid` the 64 hex digits of the public key, one to
//! [`MAX_SIGNATURES`] signatures in ascending order of key, each key once, no byte after the last brace. Therefore an
//! envelope has one spelling, its BLAKE3 digest names it, and no byte of the file can be changed without notice: not
//! even one that leaves the signed bytes and the signatures as they were.
//!
//! Signed is the pre-authentication encoding. Source: DSSE protocol and envelope, version 1.0.2. Deviation: stricter
//! than DSSE asks a reader to be, and `keyid` is required. Out of scope: what the payload says
//! ([`Receipt`](crate::Receipt)) and whom to trust ([`Policy`](crate::Policy)).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::bytes::Digest;
use crate::key::{InvalidKey, PublicKey, Signature, SigningKey};
use crate::limits::{MAX_ENVELOPE_BYTES, MAX_PAYLOAD_BYTES, MAX_SIGNATURES};

/// What the payload is: an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The bytes that are signed: `DSSEv1`, then the type and the payload, each after its length in decimal, with single
/// spaces between.
pub fn pre_authentication_encoding(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "DSSEv1 {} {PAYLOAD_TYPE} {} ",
        PAYLOAD_TYPE.len(),
        payload.len()
    )
    .into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// A payload with its signatures. Well-formed; whether the signatures hold is for a
/// [`Verifier`](crate::Verifier) to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    signatures: Vec<EnvelopeSignature>,
}

/// One signature and the key that it should be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvelopeSignature {
    /// Who is said to have signed.
    pub key: PublicKey,
    /// The signature over the [`pre_authentication_encoding`].
    pub signature: Signature,
}

/// Why bytes are not an envelope, or an envelope cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// More bytes than any receipt has.
    #[error("the file has {found} bytes; a receipt has at most {MAX_ENVELOPE_BYTES}")]
    TooLarge {
        /// How many there are.
        found: usize,
    },
    /// The statement to be signed is too large.
    #[error("the statement has {found} bytes; it may have at most {MAX_PAYLOAD_BYTES}")]
    PayloadTooLarge {
        /// How many there are.
        found: usize,
    },
    /// The bytes end inside the envelope.
    #[error("the file ends after {at} bytes, inside the envelope: it was cut short, get it again")]
    Truncated {
        /// How many there are.
        at: usize,
    },
    /// Not the one layout.
    #[error("the file is not a receipt in its one layout: byte {at} is not what belongs there")]
    Layout {
        /// The first wrong byte.
        at: usize,
    },
    /// A payload of another type.
    #[error("the payload is not of type {PAYLOAD_TYPE}")]
    PayloadType,
    /// Not canonical base64.
    #[error("the {part} is not canonical base64")]
    Base64 {
        /// Which field.
        part: &'static str,
    },
    /// A key that cannot be one.
    #[error("a signature's keyid is no key: {0}")]
    Key(InvalidKey),
    /// Nobody signed.
    #[error("the envelope has no signature")]
    NoSignature,
    /// More signatures than allowed.
    #[error("the envelope has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// A key twice.
    #[error("the key {key} has two signatures")]
    DuplicateSignature {
        /// Whose.
        key: PublicKey,
    },
    /// Not ascending by key.
    #[error("the signatures are not in ascending order of key")]
    SignatureOrder,
    /// Bytes after the envelope.
    #[error("there are {count} bytes after the envelope; remove them if they are only a line end")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
}

impl EnvelopeError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::PayloadTooLarge { .. } => "oversized",
            Self::Truncated { .. } => "truncated",
            Self::Layout { .. } => "layout",
            Self::PayloadType => "payload-type",
            Self::Base64 { .. } => "base64",
            Self::Key(_) => "invalid-key",
            Self::NoSignature => "no-signature",
            Self::TooManySignatures => "too-many-signatures",
            Self::DuplicateSignature { .. } => "duplicate-signature",
            Self::SignatureOrder => "signature-order",
            Self::TrailingBytes { .. } => "trailing-bytes",
        }
    }
}

impl Envelope {
    /// Signs `payload` with each key.
    ///
    /// # Errors
    /// [`EnvelopeError`]: no key, too many, one twice, or too large a payload.
    pub fn sign(payload: Vec<u8>, keys: &[&SigningKey]) -> Result<Self, EnvelopeError> {
        let message = pre_authentication_encoding(&payload);
        let signatures = keys
            .iter()
            .map(|key| EnvelopeSignature {
                key: key.public_key(),
                signature: key.sign(&message),
            })
            .collect();
        Self::from_parts(payload, signatures)
    }

    /// Puts together a payload and signatures that were made elsewhere, in any order.
    ///
    /// # Errors
    /// [`EnvelopeError`] as for [`Envelope::sign`]. Whether the signatures hold is not looked at.
    pub fn from_parts(
        payload: Vec<u8>,
        mut signatures: Vec<EnvelopeSignature>,
    ) -> Result<Self, EnvelopeError> {
        signatures.sort_by_key(|signature| signature.key);
        check_signatures(&signatures)?;
        // With the most signatures a payload of MAX_PAYLOAD_BYTES would be too large an envelope; the sum decides.
        let found = encoded_len(payload.len(), signatures.len());
        if payload.len() > MAX_PAYLOAD_BYTES || found > MAX_ENVELOPE_BYTES {
            return Err(EnvelopeError::PayloadTooLarge {
                found: payload.len(),
            });
        }
        Ok(Self {
            payload,
            signatures,
        })
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// [`EnvelopeError`], for every deviation from the one layout.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(EnvelopeError::TooLarge { found: bytes.len() });
        }
        // Everything in an envelope is ASCII, and a text is searched faster than bytes.
        let text = std::str::from_utf8(bytes).map_err(|error| EnvelopeError::Layout {
            at: error.valid_up_to(),
        })?;
        let mut reader = Reader { text, at: 0 };
        reader.literal(b"{\"payload\":\"")?;
        let payload = reader.string()?;
        reader.literal(b",\"payloadType\":\"")?;
        let payload_type = reader.string()?;
        reader.literal(b",\"signatures\":[")?;
        if payload_type != PAYLOAD_TYPE {
            return Err(EnvelopeError::PayloadType);
        }
        let mut signatures = Vec::with_capacity(1);
        if reader.peek()? != b']' {
            loop {
                reader.literal(b"{\"keyid\":\"")?;
                let key = reader.string()?;
                reader.literal(b",\"sig\":\"")?;
                let signature = reader.string()?;
                reader.literal(b"}")?;
                if signatures.len() == MAX_SIGNATURES {
                    return Err(EnvelopeError::TooManySignatures);
                }
                signatures.push(EnvelopeSignature {
                    key: PublicKey::parse(key).map_err(EnvelopeError::Key)?,
                    signature: parse_signature(signature)?,
                });
                if reader.peek()? != b',' {
                    break;
                }
                reader.literal(b",")?;
            }
        }
        reader.literal(b"]}")?;
        match bytes.len() - reader.at {
            0 => {}
            count => return Err(EnvelopeError::TrailingBytes { count }),
        }
        check_signatures(&signatures)?;
        let payload = STANDARD
            .decode(payload)
            .map_err(|_| EnvelopeError::Base64 { part: "payload" })?;
        Ok(Self {
            payload,
            signatures,
        })
    }

    /// The file: what [`Envelope::parse`] reads.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text =
            String::with_capacity(encoded_len(self.payload.len(), self.signatures.len()));
        text.push_str("{\"payload\":\"");
        STANDARD.encode_string(&self.payload, &mut text);
        text.push_str("\",\"payloadType\":\"");
        text.push_str(PAYLOAD_TYPE);
        text.push_str("\",\"signatures\":[");
        for (index, signature) in self.signatures.iter().enumerate() {
            text.push_str(if index == 0 {
                "{\"keyid\":\""
            } else {
                ",{\"keyid\":\""
            });
            text.push_str(&hex::encode(signature.key.as_bytes()));
            text.push_str("\",\"sig\":\"");
            STANDARD.encode_string(signature.signature.as_bytes(), &mut text);
            text.push_str("\"}");
        }
        text.push_str("]}");
        text.into_bytes()
    }

    /// The name of this envelope: the digest of its [JSON bytes](Envelope::to_json).
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_json())
    }

    /// The signed statement, as it was signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The signatures, ascending by key, at least one.
    pub fn signatures(&self) -> &[EnvelopeSignature] {
        &self.signatures
    }

    /// The keys that are said to have signed, ascending.
    pub fn signers(&self) -> impl Iterator<Item = PublicKey> {
        self.signatures.iter().map(|signature| signature.key)
    }
}

fn encoded_len(payload: usize, signatures: usize) -> usize {
    let frame =
        "{\"payload\":\"\",\"payloadType\":\"\",\"signatures\":[]}".len() + PAYLOAD_TYPE.len();
    let one = "{\"keyid\":\"\",\"sig\":\"\"},".len() + 64 + 88;
    frame + payload.div_ceil(3) * 4 + (signatures * one).saturating_sub(1)
}

fn check_signatures(signatures: &[EnvelopeSignature]) -> Result<(), EnvelopeError> {
    if signatures.is_empty() {
        return Err(EnvelopeError::NoSignature);
    }
    if signatures.len() > MAX_SIGNATURES {
        return Err(EnvelopeError::TooManySignatures);
    }
    for pair in signatures.windows(2) {
        match pair[0].key.cmp(&pair[1].key) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => {
                return Err(EnvelopeError::DuplicateSignature { key: pair[0].key });
            }
            std::cmp::Ordering::Greater => return Err(EnvelopeError::SignatureOrder),
        }
    }
    Ok(())
}

fn parse_signature(text: &str) -> Result<Signature, EnvelopeError> {
    let error = EnvelopeError::Base64 { part: "signature" };
    // 64 bytes are 88 characters; a decoder that is given 66 bytes of room takes no more.
    let mut bytes = [0; 66];
    match STANDARD.decode_slice(text, &mut bytes) {
        Ok(64) => Ok(Signature::from_bytes(
            bytes[..64].try_into().expect("64 of 66 bytes"),
        )),
        _ => Err(error),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Result<u8, EnvelopeError> {
        self.text
            .as_bytes()
            .get(self.at)
            .copied()
            .ok_or(EnvelopeError::Truncated {
                at: self.text.len(),
            })
    }

    fn literal(&mut self, expected: &[u8]) -> Result<(), EnvelopeError> {
        for byte in expected {
            if self.peek()? != *byte {
                return Err(EnvelopeError::Layout { at: self.at });
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Everything up to a quotation mark, which is taken too. No field of an envelope needs an escape.
    fn string(&mut self) -> Result<&'a str, EnvelopeError> {
        // Only ASCII was read so far, so this is the boundary of a character.
        let rest = &self.text[self.at..];
        let length = rest.find('"').ok_or(EnvelopeError::Truncated {
            at: self.text.len(),
        })?;
        self.at += length + 1;
        Ok(&rest[..length])
    }
}

//! The signed statement: in-toto Statement v1 with one of our predicates.
//!
//! ```text
//! {"_type":"https://in-toto.io/Statement/v1","subject":[{"name":NAME,"digest":{ALGORITHM:HEX}}],
//!  "predicateType":"urn:tally:…:v1","predicate":{…}}                                         (in one line, no spaces)
//! ```
//!
//! The subject repeats what the predicate is about, so that general in-toto tools can find it: the output's commitment
//! (`tally-commitment-v1`), the journal's head (`tally-journal-v1`), the new key (`ed25519`).
//!
//! The signature is over the bytes as they stand, so nothing is ever canonicalised. Still there is one spelling only:
//! fields in the documented order, all of them, no others, no white space, no escape but `\"` and `\\`, integers
//! without sign or exponent. A reader that took two spellings would sooner or later disagree with another one about
//! duplicate keys or the like. Deviation from in-toto, whose parsing rules let a reader ignore unknown fields: a
//! receipt with an unknown field is refused, since the field might take back what the rest says.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bytes::Digest;
use crate::commitment::{Commitment, Field};
use crate::envelope::{Envelope, EnvelopeError};
use crate::inference::InferencePredicate;
use crate::key::{PublicKey, SigningKey};
use crate::rotation::KeyRotationPredicate;
use crate::run::RunPredicate;
use crate::text::Label;
use crate::time::Timestamp;

/// The `_type` of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Predicate {
    /// What executed in one inference.
    Inference(Box<InferencePredicate>),
    /// What happened in one run of an agent.
    Run(Box<RunPredicate>),
    /// Which key follows which.
    KeyRotation(Box<KeyRotationPredicate>),
}

impl From<InferencePredicate> for Predicate {
    fn from(predicate: InferencePredicate) -> Self {
        Self::Inference(Box::new(predicate))
    }
}

impl From<RunPredicate> for Predicate {
    fn from(predicate: RunPredicate) -> Self {
        Self::Run(Box::new(predicate))
    }
}

impl From<KeyRotationPredicate> for Predicate {
    fn from(predicate: KeyRotationPredicate) -> Self {
        Self::KeyRotation(Box::new(predicate))
    }
}

impl Predicate {
    /// The `predicateType`.
    pub fn predicate_type(&self) -> &'static str {
        match self {
            Self::Inference(_) => InferencePredicate::TYPE,
            Self::Run(_) => RunPredicate::TYPE,
            Self::KeyRotation(_) => KeyRotationPredicate::TYPE,
        }
    }

    /// The keys it names as signers: all of them must have signed. The first is the one whose word it is.
    pub fn named_signers(&self) -> Vec<PublicKey> {
        match self {
            Self::Inference(inference) => vec![inference.seed.node],
            Self::Run(run) => vec![run.runner],
            Self::KeyRotation(rotation) => vec![rotation.from, rotation.to],
        }
    }

    /// When it was issued, by the signer's clock.
    pub fn issued_at(&self) -> Timestamp {
        match self {
            Self::Inference(inference) => inference.issued_at,
            Self::Run(run) => run.ended_at,
            Self::KeyRotation(rotation) => rotation.at,
        }
    }

    /// What is committed to at `field`. None where this receipt has nothing there.
    pub fn commitment(&self, field: Field) -> Option<Commitment> {
        match (self, field) {
            (Self::Inference(inference), Field::Asked) => inference.asked,
            (Self::Inference(inference), Field::Prompt) => Some(inference.prompt.commitment),
            (Self::Inference(inference), Field::StopStrings) => inference
                .sampling
                .as_ref()?
                .stop
                .map(|stop| stop.commitment),
            (Self::Inference(inference), Field::Output) => Some(inference.output.commitment),
            (Self::Inference(inference), Field::OutputText) => inference.output.text,
            (Self::Run(run), Field::RunInput) => Some(run.input),
            (Self::Run(run), Field::RunOutput) => run.output,
            _ => None,
        }
    }

    fn subject(&self) -> String {
        let (name, algorithm, digest) = match self {
            Self::Inference(inference) => (
                "output",
                "tally-commitment-v1",
                inference.output.commitment.to_string(),
            ),
            Self::Run(run) => ("journal", "tally-journal-v1", run.journal.head.to_string()),
            Self::KeyRotation(rotation) => ("key", "ed25519", rotation.to.to_string()),
        };
        format!(r#"[{{"name":"{name}","digest":{{"{algorithm}":"{digest}"}}}}]"#)
    }

    /// The statement's one spelling.
    fn to_statement(&self) -> Vec<u8> {
        fn append(bytes: &mut Vec<u8>, predicate: &impl Serialize) {
            serde_json::to_writer(bytes, predicate).expect(
                "a predicate has texts, numbers and lists only, and memory takes any bytes",
            );
        }
        let mut bytes = Vec::with_capacity(4096);
        bytes.extend_from_slice(STATEMENT_START.as_bytes());
        bytes.extend_from_slice(self.subject().as_bytes());
        bytes.extend_from_slice(TYPE_START);
        bytes.extend_from_slice(self.predicate_type().as_bytes());
        bytes.extend_from_slice(PREDICATE_START);
        match self {
            Self::Inference(predicate) => append(&mut bytes, predicate),
            Self::Run(predicate) => append(&mut bytes, predicate),
            Self::KeyRotation(predicate) => append(&mut bytes, predicate),
        }
        bytes.push(b'}');
        bytes
    }

    fn from_statement(bytes: &[u8]) -> Result<Self, ReceiptError> {
        // What is spelled right is read once, straight through; only what is not is read again to say what is wrong.
        match Self::guess(bytes) {
            Some(predicate) if predicate.to_statement() == bytes => Ok(predicate),
            _ => Self::from_any_json(bytes),
        }
    }

    /// Reads the predicate of a statement, trusting that the rest is as it should be.
    fn guess(bytes: &[u8]) -> Option<Self> {
        let subject = bytes.strip_prefix(STATEMENT_START.as_bytes())?;
        let type_starts = subject
            .windows(TYPE_START.len())
            .take(MAX_SUBJECT_BYTES)
            .position(|window| window == TYPE_START)?;
        let predicate_type = &subject[type_starts + TYPE_START.len()..];
        [
            InferencePredicate::TYPE,
            RunPredicate::TYPE,
            KeyRotationPredicate::TYPE,
        ]
        .into_iter()
        .find_map(|known| {
            let predicate = predicate_type
                .strip_prefix(known.as_bytes())?
                .strip_prefix(PREDICATE_START)?
                .strip_suffix(b"}")?;
            Self::read(known, predicate)?.ok()
        })
    }

    fn read(predicate_type: &str, json: &[u8]) -> Option<Result<Self, serde_json::Error>> {
        Some(match predicate_type {
            InferencePredicate::TYPE => serde_json::from_slice(json).map(Self::Inference),
            RunPredicate::TYPE => serde_json::from_slice(json).map(Self::Run),
            KeyRotationPredicate::TYPE => serde_json::from_slice(json).map(Self::KeyRotation),
            _ => return None,
        })
    }

    /// Reads a statement in any spelling, and accepts the one only.
    fn from_any_json(bytes: &[u8]) -> Result<Self, ReceiptError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Statement<'a> {
            #[serde(rename = "_type")]
            kind: String,
            #[serde(borrow)]
            subject: &'a RawValue,
            #[serde(rename = "predicateType")]
            predicate_type: String,
            #[serde(borrow)]
            predicate: &'a RawValue,
        }
        let statement: Statement<'_> =
            serde_json::from_slice(bytes).map_err(|error| ReceiptError::Statement {
                why: Label::lossy(&error.to_string()),
            })?;
        if statement.kind != STATEMENT_TYPE {
            return Err(ReceiptError::StatementType {
                found: Label::lossy(&statement.kind),
            });
        }
        let predicate = Self::read(
            &statement.predicate_type,
            statement.predicate.get().as_bytes(),
        )
        .ok_or_else(|| unknown_predicate(&statement.predicate_type))?
        .map_err(|error| ReceiptError::Predicate {
            why: Label::lossy(&error.to_string()),
        })?;
        if statement.subject.get() != predicate.subject() {
            return Err(ReceiptError::Subject);
        }
        let spelled = predicate.to_statement();
        match bytes
            .iter()
            .zip(&spelled)
            .position(|(found, expected)| found != expected)
        {
            Some(at) => Err(ReceiptError::Spelling { at }),
            None if bytes.len() != spelled.len() => Err(ReceiptError::Spelling {
                at: bytes.len().min(spelled.len()),
            }),
            None => Ok(predicate),
        }
    }
}

const STATEMENT_START: &str = r#"{"_type":"https://in-toto.io/Statement/v1","subject":"#;
const TYPE_START: &[u8] = br#","predicateType":""#;
const PREDICATE_START: &[u8] = br#"","predicate":"#;
const MAX_SUBJECT_BYTES: usize = 256;

fn unknown_predicate(found: &str) -> ReceiptError {
    let known = [
        InferencePredicate::TYPE,
        RunPredicate::TYPE,
        KeyRotationPredicate::TYPE,
    ];
    let family = |predicate_type: &str| {
        predicate_type
            .rsplit_once(":v")
            .map(|(family, _)| family.to_owned())
    };
    if known
        .iter()
        .any(|known| family(found).is_some() && family(found) == family(known))
    {
        ReceiptError::UnknownPredicateVersion {
            found: Label::lossy(found),
        }
    } else {
        ReceiptError::UnknownPredicate {
            found: Label::lossy(found),
        }
    }
}

/// A receipt: an envelope whose statement was read. Well-formed; whether its signatures hold and its signer is trusted
/// is for a [`Verifier`](crate::Verifier) to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    envelope: Envelope,
    predicate: Predicate,
}

/// Why bytes are not a receipt. Whoever made the file must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The envelope is not one.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The payload is not a statement.
    #[error("the payload is not an in-toto statement: {why}")]
    Statement {
        /// The JSON reader's words.
        why: Label,
    },
    /// Another version of in-toto.
    #[error("the statement is of type {found}, not {STATEMENT_TYPE}")]
    StatementType {
        /// What it says.
        found: Label,
    },
    /// Signed by somebody, for something else.
    #[error("the statement is about {found}, which is no receipt")]
    UnknownPredicate {
        /// The predicate's type.
        found: Label,
    },
    /// Made by a newer Tally.
    #[error("the receipt is of version {found}, which this program does not know; a newer one may")]
    UnknownPredicateVersion {
        /// The predicate's type.
        found: Label,
    },
    /// A field is missing, unknown, out of range or contradicts another.
    #[error("the predicate does not hold together: {why}")]
    Predicate {
        /// The reader's words.
        why: Label,
    },
    /// Subject and predicate differ.
    #[error("the statement's subject is not what its predicate is about")]
    Subject,
    /// Right in content, not in form.
    #[error("the statement is not in its one spelling: byte {at} is not what belongs there")]
    Spelling {
        /// The first wrong byte of the payload.
        at: usize,
    },
}

impl ReceiptError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Envelope(error) => error.code(),
            Self::Statement { .. } => "statement",
            Self::StatementType { .. } => "statement-type",
            Self::UnknownPredicate { .. } => "unknown-predicate",
            Self::UnknownPredicateVersion { .. } => "unknown-predicate-version",
            Self::Predicate { .. } => "predicate",
            Self::Subject => "subject",
            Self::Spelling { .. } => "spelling",
        }
    }
}

/// Why a receipt was not signed. The caller must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The statement names a signer whose key was not given.
    #[error("the statement names {0} as a signer, whose key was not given")]
    SignerMissing(PublicKey),
    /// No envelope can be made of it.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

impl Receipt {
    /// Signs what `predicate` says with each of `keys`, those it names among them.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(predicate: impl Into<Predicate>, keys: &[&SigningKey]) -> Result<Self, SignError> {
        let predicate = predicate.into();
        for named in predicate.named_signers() {
            if !keys.iter().any(|key| key.public_key() == named) {
                return Err(SignError::SignerMissing(named));
            }
        }
        let envelope = Envelope::sign(predicate.to_statement(), keys)?;
        Ok(Self {
            envelope,
            predicate,
        })
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// [`ReceiptError`], for every deviation from the one spelling.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let envelope = Envelope::parse(bytes)?;
        let predicate = Predicate::from_statement(envelope.payload())?;
        Ok(Self {
            envelope,
            predicate,
        })
    }

    /// The file.
    pub fn to_json(&self) -> Vec<u8> {
        self.envelope.to_json()
    }

    /// The envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// What it says.
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }

    /// What it says about an inference, if that is what it is about.
    pub fn as_inference(&self) -> Option<&InferencePredicate> {
        match &self.predicate {
            Predicate::Inference(predicate) => Some(predicate),
            _ => None,
        }
    }

    /// What it says about a run, if that is what it is about.
    pub fn as_run(&self) -> Option<&RunPredicate> {
        match &self.predicate {
            Predicate::Run(predicate) => Some(predicate),
            _ => None,
        }
    }

    /// Its name: the BLAKE3 digest of the file. Computed at each call, in a few microseconds.
    pub fn digest(&self) -> Digest {
        self.envelope.digest()
    }
}

/// Reads a JSON document in which every structure is an object. (Derived readers also take an array of the fields'
/// values, which no other implementation would.)
pub(crate) fn from_json_objects<T: DeserializeOwned + Serialize>(
    bytes: &[u8],
) -> Result<T, serde_json::Error> {
    let typed: T = serde_json::from_slice(bytes)?;
    let value: serde_json::Value = serde_json::from_slice(bytes)?;
    if serde_json::to_value(&typed)? == value {
        Ok(typed)
    } else {
        Err(serde::de::Error::custom("an array where an object belongs"))
    }
}

//! A decision on its way: the file that operators of validators hand on until enough of them have signed.
//!
//! ```toml
//! format = "tally-decision-v1"
//! chain = "64 hex digits"
//! decision = 0                       # its number: how many were made before
//!
//! [[validators]]                     # all who vote on the blocks after it, as in a genesis file;
//! name = "v0"
//! vote = "64 hex digits"
//! checkpoint = "64 hex digits"
//! addresses = ["127.0.0.1:4410"]     # may be left out; nobody signs it
//!
//! [parameters]                       # or else the parameters from the next block on, as in a genesis file
//!
//! [[signatures]]                     # over the bytes of the transaction (`transaction.rs`)
//! key = "64 hex digits"
//! signature = "128 hex digits"
//! ```
//!
//! A [`Description`] is what somebody writes by hand: the validators, or those parameters that become others. What is so of
//! every file that people sign one after another is in `signed_file.rs`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tally_receipt::{PublicKey, Signature, SigningKey};

use crate::genesis::{FileParameters, FileRegistration, FileValidator, GenesisError};
use crate::id::{ChainId, Decision};
use crate::params::{Parameters, Registration};
use crate::signed_file::{
    NotAValidator, Signatures, SignedFileError, TooFewSigned, check_format_and_chain, read_toml,
};
use crate::transaction::{Change, Request, Transaction};
use crate::validators::{Validator, ValidatorSet};

/// Bytes of such a file: 256 validators with some addresses each, and their signatures.
const MAX_FILE_BYTES: usize = 1 << 20;

const FORMAT: &str = "tally-decision-v1";

/// What validators are to decide, as somebody writes it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description(Described);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Described {
    Validators(ValidatorSet, Vec<Vec<SocketAddr>>),
    Parameters {
        registration: Option<Registration>,
        block_bytes: Option<u32>,
        block_receipts: Option<u32>,
    },
}

/// A decision and those signatures that have been given, all of which hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionFile {
    chain: ChainId,
    decision: Decision,
    change: Change,
    /// Where each of the validators is reached, by the order of the set. Not signed.
    addresses: Vec<Vec<SocketAddr>>,
    signatures: Signatures,
}

/// Why a text is no decision, or no description of one. Whoever wrote it must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecisionError {
    /// Not a file of this kind, or its signatures do not hold.
    #[error(transparent)]
    File(#[from] SignedFileError),
    /// Validators or parameters that there cannot be.
    #[error(transparent)]
    Part(#[from] GenesisError),
    /// Nothing to decide, or two things.
    #[error("it must have either [[validators]] or [parameters]: one decision changes one of them")]
    NotOne,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescriptionFile {
    #[serde(default)]
    validators: Vec<FileValidator>,
    parameters: Option<SomeParameters>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SomeParameters {
    registration: Option<FileRegistration>,
    block_bytes: Option<u32>,
    block_receipts: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    chain: String,
    decision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<FileParameters>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    validators: Vec<FileValidator>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    signatures: Vec<FileSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSignature {
    key: PublicKey,
    signature: String,
}

fn in_range(parameters: Parameters) -> Result<Parameters, DecisionError> {
    match parameters.in_range() {
        true => Ok(parameters),
        false => Err(GenesisError::Parameters(parameters).into()),
    }
}

impl Description {
    /// Reads a description.
    ///
    /// # Errors
    /// [`DecisionError`].
    pub fn parse(text: &str) -> Result<Self, DecisionError> {
        let file: DescriptionFile = read_toml(text, MAX_FILE_BYTES)?;
        match (file.validators.is_empty(), file.parameters) {
            (false, None) => {
                let (validators, addresses) = FileValidator::set(file.validators)?;
                Ok(Self(Described::Validators(validators, addresses)))
            }
            (true, Some(some)) => Ok(Self(Described::Parameters {
                registration: some.registration.map(Registration::from),
                block_bytes: some.block_bytes,
                block_receipts: some.block_receipts,
            })),
            _ => Err(DecisionError::NotOne),
        }
    }
}

impl DecisionFile {
    /// A decision that nobody has signed. `now` are the present parameters: those that the description leaves out stay.
    ///
    /// # Errors
    /// [`DecisionError::Part`] when the parameters are out of their ranges.
    pub fn new(
        chain: ChainId,
        decision: Decision,
        description: Description,
        now: Parameters,
    ) -> Result<Self, DecisionError> {
        let (change, addresses) = match description.0 {
            Described::Validators(validators, addresses) => {
                (Change::Validators(validators), addresses)
            }
            Described::Parameters {
                registration,
                block_bytes,
                block_receipts,
            } => {
                let parameters = in_range(Parameters {
                    registration: registration.unwrap_or(now.registration),
                    block_bytes: block_bytes.unwrap_or(now.block_bytes),
                    block_receipts: block_receipts.unwrap_or(now.block_receipts),
                })?;
                (Change::Parameters(parameters), Vec::new())
            }
        };
        Ok(Self {
            chain,
            decision,
            change,
            addresses,
            signatures: Signatures::default(),
        })
    }

    /// Reads a file of a chain. All of its signatures hold, or it is refused.
    ///
    /// # Errors
    /// [`DecisionError`].
    pub fn parse(text: &str, chain: ChainId) -> Result<Self, DecisionError> {
        let file: File = read_toml(text, MAX_FILE_BYTES)?;
        check_format_and_chain((file.format, FORMAT), (file.chain, chain))?;
        let (change, addresses) = match (file.validators.is_empty(), file.parameters) {
            (false, None) => {
                let (validators, addresses) = FileValidator::set(file.validators)?;
                (Change::Validators(validators), addresses)
            }
            (true, Some(parameters)) => (
                Change::Parameters(in_range(parameters.parameters())?),
                Vec::new(),
            ),
            _ => return Err(DecisionError::NotOne),
        };
        let given = file.signatures.iter().map(FileSignature::read);
        let given: Vec<_> = given.collect::<Result<_, SignedFileError>>()?;
        let mut read = Self {
            chain,
            decision: Decision::new(file.decision),
            change,
            addresses,
            signatures: Signatures::default(),
        };
        read.signatures = Signatures::check(&read.request().signed_bytes(chain), &given)?;
        Ok(read)
    }

    /// Writes a file.
    ///
    /// # Panics
    /// When the decision's number is more than a TOML number can be, 2^63 - 1: it counts decisions, of which there are fewer.
    pub fn to_toml(&self) -> String {
        let (validators, parameters) = match &self.change {
            Change::Validators(set) => (FileValidator::list(set, &self.addresses), None),
            Change::Parameters(parameters) => (Vec::new(), Some((*parameters).into())),
        };
        let file = File {
            format: FORMAT.into(),
            chain: self.chain.to_string(),
            decision: self.decision.get(),
            parameters,
            validators,
            signatures: self
                .signatures
                .as_slice()
                .iter()
                .map(|(key, signature)| FileSignature {
                    key: *key,
                    signature: hex::encode(signature.as_bytes()),
                })
                .collect(),
        };
        toml::to_string(&file).expect("tables, texts and numbers below 2^63 can be written as TOML")
    }

    /// Of which chain.
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// Its number.
    pub const fn decision(&self) -> Decision {
        self.decision
    }

    /// What is decided.
    pub const fn change(&self) -> &Change {
        &self.change
    }

    /// Where validators are reached, as far as somebody has written it down.
    pub fn addresses(&self) -> impl Iterator<Item = (&Validator, &[SocketAddr])> {
        let set = match &self.change {
            Change::Validators(set) => set.as_slice(),
            Change::Parameters(_) => &[],
        };
        set.iter().zip(self.addresses.iter().map(Vec::as_slice))
    }

    /// Who has signed, ascending.
    pub fn signers(&self) -> impl Iterator<Item = PublicKey> {
        self.signatures.signers()
    }

    /// Signs, and says whether the key had not signed before.
    ///
    /// # Errors
    /// [`NotAValidator`] unless the key votes.
    pub fn sign(
        &mut self,
        key: &SigningKey,
        validators: &ValidatorSet,
    ) -> Result<bool, NotAValidator> {
        let message = self.request().signed_bytes(self.chain);
        self.signatures.sign(&message, key, validators, &[])
    }

    /// Takes the signatures of a copy that others have signed meanwhile.
    ///
    /// # Errors
    /// [`SignedFileError::Another`] when it is of another decision, [`SignedFileError::TooManySignatures`] when there are too
    /// many together.
    pub fn join(&mut self, other: &Self) -> Result<(), SignedFileError> {
        if (self.chain, self.decision, &self.change) != (other.chain, other.decision, &other.change)
        {
            return Err(SignedFileError::Another);
        }
        self.signatures.join(&other.signatures)
    }

    /// What is handed in, once a quorum of those who vote now has signed. Signatures of others are left out.
    ///
    /// # Errors
    /// [`TooFewSigned`].
    pub fn transaction(&self, validators: &ValidatorSet) -> Result<Transaction, TooFewSigned> {
        self.signatures.check_quorum(validators)?;
        let signatures = self
            .signatures
            .of_those(|key| validators.index_of(key).is_some());
        Ok(Transaction::new(self.request(), signatures).expect(
            "there are as many signatures as validators at most, each key once, and one at least",
        ))
    }

    /// What it does where these validators vote and these parameters count, a sentence each.
    pub fn in_words(&self, validators: &ValidatorSet, parameters: Parameters) -> Vec<String> {
        match &self.change {
            Change::Validators(next) => words_of_validators(validators, next),
            Change::Parameters(next) => words_of_parameters(parameters, *next),
        }
    }

    fn request(&self) -> Request {
        Request::Decide {
            decision: self.decision,
            change: self.change.clone(),
        }
    }
}

impl FileSignature {
    fn read(&self) -> Result<(PublicKey, Signature), SignedFileError> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(&self.signature, &mut bytes)
            .map_err(|_| SignedFileError::BadSignature(self.key))?;
        Ok((self.key, Signature::from_bytes(bytes)))
    }
}

fn words_of_validators(now: &ValidatorSet, next: &ValidatorSet) -> Vec<String> {
    if now == next {
        return vec!["it changes nothing: these validators vote already".to_owned()];
    }
    let called = |one: &Validator| format!("{} ({})", one.name, one.vote_key);
    let mut words = Vec::new();
    let mut stay = 0;
    for one in next.as_slice() {
        match now.index_of(&one.vote_key).map(|at| &now.as_slice()[at]) {
            None => words.push(format!("comes: {}", called(one))),
            Some(before) => {
                stay += 1;
                if before.name != one.name {
                    words.push(format!(
                        "is called {} from then on: {}",
                        one.name,
                        called(before)
                    ));
                }
                if before.checkpoint_key != one.checkpoint_key {
                    words.push(format!(
                        "signs checkpoints with {} from then on: {}",
                        one.checkpoint_key,
                        called(before)
                    ));
                }
            }
        }
    }
    for one in now.as_slice() {
        if next.index_of(&one.vote_key).is_none() {
            words.push(format!("goes: {}", called(one)));
        }
    }
    words.push(format!(
        "{} of {} must agree from then on, and {} may fail; now it is {} of {}, and {}",
        next.quorum(),
        next.len(),
        next.tolerated(),
        now.quorum(),
        now.len(),
        now.tolerated()
    ));
    if let Some(missing @ 1..) = next.quorum().checked_sub(stay) {
        words.push(format!(
            "the ledger stands still until {missing} of those who come run as validators"
        ));
    }
    words
}

fn words_of_parameters(now: Parameters, next: Parameters) -> Vec<String> {
    let registration = |registration| match registration {
        Registration::Open => "open".to_owned(),
        Registration::ByValidators => "by-validators".to_owned(),
    };
    let words: Vec<String> = [
        (
            "registration",
            registration(now.registration),
            registration(next.registration),
        ),
        (
            "block-bytes",
            now.block_bytes.to_string(),
            next.block_bytes.to_string(),
        ),
        (
            "block-receipts",
            now.block_receipts.to_string(),
            next.block_receipts.to_string(),
        ),
    ]
    .into_iter()
    .filter(|(_, now, next)| now != next)
    .map(|(name, now, next)| format!("{name} becomes {next}; now it is {now}"))
    .collect();
    match words.is_empty() {
        true => vec!["it changes nothing: these parameters count already".to_owned()],
        false => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signed_file::fixtures::{CHAIN, OTHER_CHAIN, key, set};

    /// The tables of a description.
    fn described(set: &ValidatorSet) -> String {
        set.as_slice()
            .iter()
            .map(|one| {
                format!(
                    "[[validators]]\nname = \"{}\"\nvote = \"{}\"\ncheckpoint = \"{}\"\naddresses = [\"127.0.0.1:4410\"]\n",
                    one.name, one.vote_key, one.checkpoint_key
                )
            })
            .collect()
    }

    fn decision(text: &str) -> Result<DecisionFile, DecisionError> {
        let description = Description::parse(text)?;
        DecisionFile::new(CHAIN, Decision::new(3), description, Parameters::default())
    }

    /// A fifth comes and the first goes.
    fn change() -> DecisionFile {
        decision(&described(&set([2, 3, 4, 5]))).unwrap()
    }

    #[test]
    fn a_decision_comes_back_from_its_file_with_its_signatures_and_is_a_transaction_once_a_quorum_signed()
     {
        let now = set([1, 2, 3, 4]);
        let mut file = change();
        for number in [3, 1] {
            assert_eq!(file.sign(&key(number), &now), Ok(true));
            assert_eq!(file.sign(&key(number), &now), Ok(false), "signed before");
            assert_eq!(
                DecisionFile::parse(&file.to_toml(), CHAIN),
                Ok(file.clone())
            );
        }
        let few = file.transaction(&now).unwrap_err();
        assert_eq!((few.found, few.needed, few.may.len()), (2, 3, 2));
        let words = few.to_string();
        assert!(words.contains("1 more must, of: "), "{words}");
        assert!(words.contains("v2") && words.contains("v4"), "{words}");
        assert!(!words.contains("v1") && !words.contains("v3"), "{words}");
        file.sign(&key(4), &now).unwrap();
        let transaction = file.transaction(&now).unwrap();
        assert_eq!(transaction.request(), &file.request());
        assert_eq!(transaction.signers().count(), 3);
        crate::Checked::check(transaction, CHAIN).unwrap();
    }

    #[test]
    fn whoever_does_not_vote_now_does_not_sign_and_its_signature_counts_for_nothing() {
        let mut file = change();
        let now = set([1, 2, 3, 4]);
        // It comes by this decision.
        let public = key(5).public_key();
        assert_eq!(file.sign(&key(5), &now), Err(NotAValidator(public)));
        // It signed when it voted.
        file.sign(&key(9), &set([9])).unwrap();
        file.sign(&key(1), &now).unwrap();
        file.sign(&key(2), &now).unwrap();
        assert_eq!(file.transaction(&now).unwrap_err().found, 2);
        file.sign(&key(3), &now).unwrap();
        let transaction = file.transaction(&now).unwrap();
        assert!(
            !transaction
                .signers()
                .any(|signer| signer == key(9).public_key())
        );
    }

    #[test]
    fn a_file_that_was_altered_after_somebody_signed_is_refused() {
        let now = set([1, 2, 3, 4]);
        let mut file = change();
        file.sign(&key(1), &now).unwrap();
        let text = file.to_toml();
        let refused: DecisionError = SignedFileError::BadSignature(key(1).public_key()).into();
        for (from, to) in [("decision = 3", "decision = 4"), ("\"v5\"", "\"v6\"")] {
            let altered = text.replace(from, to);
            assert_ne!(altered, text, "{from} is not there");
            let read = DecisionFile::parse(&altered, CHAIN);
            assert_eq!(read, Err(refused.clone()), "{from}");
        }
        let moved = text.replace(&CHAIN.to_string(), &OTHER_CHAIN.to_string());
        let read = DecisionFile::parse(&moved, OTHER_CHAIN);
        assert_eq!(read, Err(refused), "signed for another chain");
        // Where somebody is reached is not signed.
        let moved = text.replace("127.0.0.1:4410", "127.0.0.1:4411");
        assert!(DecisionFile::parse(&moved, CHAIN).is_ok());
        let again = text.rsplit("[[signatures]]").next().unwrap();
        let twice = format!("{text}\n[[signatures]]{again}");
        let refused = SignedFileError::SignedTwice(key(1).public_key());
        assert_eq!(
            DecisionFile::parse(&twice, CHAIN),
            Err(DecisionError::File(refused))
        );
    }

    #[test]
    fn a_file_of_another_format_or_chain_or_too_large_says_so() {
        let text = change().to_toml();
        let unknown = text.replace(FORMAT, "tally-decision-v2");
        let (found, known) = ("tally-decision-v2".to_owned(), FORMAT);
        let (large, limit) = ("#".repeat(MAX_FILE_BYTES + 1), MAX_FILE_BYTES);
        let nameless = text.replace(&CHAIN.to_string(), "x");
        for (text, chain, refused) in [
            (&unknown, CHAIN, SignedFileError::Format { found, known }),
            (
                &text,
                OTHER_CHAIN,
                SignedFileError::OtherChain {
                    found: CHAIN,
                    expected: OTHER_CHAIN,
                },
            ),
            (&nameless, CHAIN, SignedFileError::Chain("x".to_owned())),
            (
                &large,
                CHAIN,
                SignedFileError::TooLarge {
                    found: limit + 1,
                    limit,
                },
            ),
        ] {
            let read = DecisionFile::parse(text, chain);
            assert_eq!(read, Err(DecisionError::File(refused)));
        }
    }

    #[test]
    fn signatures_of_copies_are_put_together_and_those_of_another_decision_are_not() {
        let now = set([1, 2, 3, 4]);
        let (mut one, mut other) = (change(), change());
        one.sign(&key(1), &now).unwrap();
        other.sign(&key(2), &now).unwrap();
        one.join(&other).unwrap();
        one.join(&other).unwrap();
        assert_eq!(one.signers().count(), 2);
        let another = decision("[parameters]\nregistration = \"by-validators\"\n").unwrap();
        assert_eq!(one.join(&another), Err(SignedFileError::Another));
    }

    #[test]
    fn a_description_is_of_validators_or_of_parameters_and_what_it_leaves_out_of_these_stays() {
        let text = "[parameters]\nblock-bytes = 4194304\n";
        let description = Description::parse(text).unwrap();
        let now = Parameters {
            registration: Registration::ByValidators,
            ..Parameters::default()
        };
        let file = DecisionFile::new(CHAIN, Decision::ZERO, description, now).unwrap();
        let next = Parameters {
            block_bytes: 4 << 20,
            ..now
        };
        assert_eq!(file.change(), &Change::Parameters(next));
        assert_eq!(DecisionFile::parse(&file.to_toml(), CHAIN), Ok(file));

        let both = format!("{text}{}", described(&set([1])));
        for text in ["", &both] {
            assert_eq!(Description::parse(text), Err(DecisionError::NotOne));
        }
        let out_of_range = decision("[parameters]\nblock-bytes = 5\n");
        assert!(matches!(out_of_range, Err(DecisionError::Part(_))));
        let unknown = Description::parse("[parameters]\nprice = 5\n");
        assert!(matches!(
            unknown,
            Err(DecisionError::File(SignedFileError::Toml(_)))
        ));
        let twice = described(&set([1])).repeat(2);
        assert!(matches!(decision(&twice), Err(DecisionError::Part(_))));
    }

    #[test]
    fn it_says_who_comes_who_goes_and_which_parameters_become_what() {
        let now = set([1, 2, 3, 4]);
        let parameters = Parameters::default();
        let words = change().in_words(&now, parameters).join("\n");
        assert!(
            words.contains(&format!("comes: v5 ({})", key(5).public_key())),
            "{words}"
        );
        assert!(
            words.contains(&format!("goes: v1 ({})", key(1).public_key())),
            "{words}"
        );
        assert!(words.contains("3 of 4 must agree"), "{words}");
        assert!(
            !words.contains("v2") && !words.contains("stands still"),
            "{words}"
        );

        let strangers = decision(&described(&set([1, 5, 6, 7]))).unwrap();
        let words = strangers.in_words(&now, parameters).join("\n");
        assert!(
            words.contains("stands still until 2 of those who come"),
            "{words}"
        );

        let same = decision(&described(&now))
            .unwrap()
            .in_words(&now, parameters);
        assert!(same[0].contains("changes nothing"), "{same:?}");

        let words = decision("[parameters]\nregistration = \"by-validators\"\n")
            .unwrap()
            .in_words(&now, parameters);
        assert_eq!(
            words,
            ["registration becomes by-validators; now it is open"]
        );
    }
}

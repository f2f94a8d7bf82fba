//! A registration on its way: the file in which a node asks to be registered where validators decide who is, and that their
//! operators hand on until enough of them have signed.
//!
//! ```toml
//! format = "tally-registration-v1"
//! chain = "64 hex digits"
//! transaction = "hex digits"         # the transaction itself with the signatures so far (`transaction.rs`)
//! ```
//!
//! Node and owner sign when the file is made, and it is read only with their signatures. What is so of every file that people
//! sign one after another is in `signed_file.rs`.

use serde::{Deserialize, Serialize};
use tally_receipt::{PublicKey, SigningKey};

use crate::id::{AccountId, ChainId, NodeId};
use crate::params::Registration;
use crate::signed_file::{
    NotAValidator, Signatures, SignedFileError, TooFewSigned, check_format_and_chain, read_toml,
};
use crate::transaction::{Request, Terms, Transaction};
use crate::validators::ValidatorSet;
use crate::wire::DecodeError;

/// Bytes of such a file: 258 signatures of 96 bytes and up to 310 before them, in hex, are 50,156; and comments.
const MAX_FILE_BYTES: usize = 1 << 16;

const FORMAT: &str = "tally-registration-v1";

/// A registration and the signatures so far, all of which hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationFile {
    chain: ChainId,
    owner: AccountId,
    node: NodeId,
    terms: Terms,
    /// Invariant: owner and node are among the signers.
    signatures: Signatures,
}

/// Why a text is no registration. Whoever wrote it must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// Not a file of this kind, or a signature does not hold.
    #[error(transparent)]
    File(#[from] SignedFileError),
    /// The transaction is not written in hex.
    #[error("its transaction is not written in hex digits, two for each byte")]
    Hex,
    /// The transaction is none, or a key has signed it twice.
    #[error("its transaction cannot be read: {0}")]
    Transaction(#[from] DecodeError),
    /// The transaction asks for something else.
    #[error("its transaction does not ask to register a node")]
    NoRegistration,
    /// The owner, or the node, has not signed.
    #[error("{0}, which is the node's key or its owner's, has not signed it")]
    NotSigned(PublicKey),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    chain: String,
    transaction: String,
}

impl RegistrationFile {
    /// What a node asks, signed by it and by its owner, and by no validator yet.
    pub fn new(chain: ChainId, owner: &SigningKey, node: &SigningKey, terms: Terms) -> Self {
        let mut file = Self {
            chain,
            owner: AccountId::new(owner.public_key()),
            node: NodeId::new(node.public_key()),
            terms,
            signatures: Signatures::default(),
        };
        let message = file.request().signed_bytes(chain);
        // Once, where a node is its own owner.
        for key in [owner, node] {
            file.signatures.put(key.public_key(), key.sign(&message));
        }
        file
    }

    /// Reads a file of a chain. All of its signatures hold, or it is refused.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub fn parse(text: &str, chain: ChainId) -> Result<Self, RegistrationError> {
        let file: File = read_toml(text, MAX_FILE_BYTES)?;
        check_format_and_chain((file.format, FORMAT), (file.chain, chain))?;
        let bytes = hex::decode(&file.transaction).map_err(|_| RegistrationError::Hex)?;
        let transaction = Transaction::from_bytes(&bytes)?;
        let Request::Register { owner, node, terms } = transaction.request() else {
            return Err(RegistrationError::NoRegistration);
        };
        let message = transaction.request().signed_bytes(chain);
        let signatures = Signatures::check(&message, transaction.signatures())?;
        for key in [owner.key(), node.key()] {
            if !signatures.has(&key) {
                return Err(RegistrationError::NotSigned(key));
            }
        }
        Ok(Self {
            chain,
            owner: *owner,
            node: *node,
            terms: terms.clone(),
            signatures,
        })
    }

    /// Writes a file.
    pub fn to_toml(&self) -> String {
        let file = File {
            format: FORMAT.into(),
            chain: self.chain.to_string(),
            transaction: hex::encode(self.signed_by(|_| true).as_bytes()),
        };
        toml::to_string(&file).expect("texts can be written as TOML")
    }

    /// Of which chain.
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// Who is responsible for the node.
    pub const fn owner(&self) -> AccountId {
        self.owner
    }

    /// The node.
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// What it does, under which conditions.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Who has signed, ascending: owner and node, and validators.
    pub fn signers(&self) -> impl Iterator<Item = PublicKey> {
        self.signatures.signers()
    }

    /// Signs for a validator, and says whether the key had not signed before.
    ///
    /// # Errors
    /// [`NotAValidator`] unless the key votes.
    pub fn sign(
        &mut self,
        key: &SigningKey,
        validators: &ValidatorSet,
    ) -> Result<bool, NotAValidator> {
        let message = self.request().signed_bytes(self.chain);
        self.signatures
            .sign(&message, key, validators, &self.own_keys())
    }

    /// Takes the signatures of a copy that others have signed meanwhile.
    ///
    /// # Errors
    /// [`SignedFileError::Another`] when it asks for something else, [`SignedFileError::TooManySignatures`] when there are too
    /// many together.
    pub fn join(&mut self, other: &Self) -> Result<(), SignedFileError> {
        if (self.chain, self.request()) != (other.chain, other.request()) {
            return Err(SignedFileError::Another);
        }
        self.signatures.join(&other.signatures)
    }

    /// What is handed in where these validators vote and registration has this rule: with the signatures that count by it, and
    /// no other, which would have it refused.
    ///
    /// # Errors
    /// [`TooFewSigned`] where validators decide and a quorum of them has not signed.
    pub fn transaction(
        &self,
        validators: &ValidatorSet,
        rule: Registration,
    ) -> Result<Transaction, TooFewSigned> {
        let own = self.own_keys();
        Ok(match rule {
            Registration::Open => self.signed_by(|key| own.contains(key)),
            Registration::ByValidators => {
                self.signatures.check_quorum(validators)?;
                self.signed_by(|key| own.contains(key) || validators.index_of(key).is_some())
            }
        })
    }

    fn own_keys(&self) -> [PublicKey; 2] {
        [self.owner.key(), self.node.key()]
    }

    fn request(&self) -> Request {
        Request::Register {
            owner: self.owner,
            node: self.node,
            terms: self.terms.clone(),
        }
    }

    /// The transaction with the signatures of those who count, owner and node among them.
    fn signed_by(&self, counts: impl Fn(&PublicKey) -> bool) -> Transaction {
        Transaction::new(self.request(), self.signatures.of_those(counts))
            .expect("owner and node have signed, each key once, and there are no more than may be")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Credits;
    use crate::signed_file::fixtures::{CHAIN, OTHER_CHAIN, key, set};
    use crate::transaction::{Checked, Roles};
    use tally_receipt::{Digest, Label};

    fn terms() -> Terms {
        Terms {
            roles: Roles::INFERENCE.with(Roles::RUN),
            evidence: Some(Digest::of(b"quote")),
            endpoint: Some(Label::new("https://node.example").unwrap()),
            price: Credits::new(3),
        }
    }

    /// Node 12 of owner 11.
    fn file() -> RegistrationFile {
        RegistrationFile::new(CHAIN, &key(11), &key(12), terms())
    }

    fn request() -> Request {
        file().request()
    }

    /// The file of a transaction, whatever it asks and whoever signed it.
    fn of_bytes(transaction: &[u8]) -> String {
        toml::to_string(&File {
            format: FORMAT.into(),
            chain: CHAIN.to_string(),
            transaction: hex::encode(transaction),
        })
        .unwrap()
    }

    fn signed(request: Request, keys: &[&SigningKey]) -> String {
        of_bytes(request.sign(CHAIN, keys).unwrap().as_bytes())
    }

    #[test]
    fn a_registration_comes_back_from_its_file_and_is_a_transaction_once_a_quorum_signed() {
        let now = set([1, 2, 3, 4]);
        let rule = Registration::ByValidators;
        let mut file = file();
        assert_eq!(
            RegistrationFile::parse(&file.to_toml(), CHAIN),
            Ok(file.clone())
        );
        for number in [3, 1] {
            assert_eq!(file.sign(&key(number), &now), Ok(true));
            assert_eq!(file.sign(&key(number), &now), Ok(false), "signed before");
            assert_eq!(
                RegistrationFile::parse(&file.to_toml(), CHAIN),
                Ok(file.clone())
            );
        }
        let few = file.transaction(&now, rule).unwrap_err();
        assert_eq!((few.found, few.needed, few.may.len()), (2, 3, 2));
        file.sign(&key(4), &now).unwrap();
        let transaction = file.transaction(&now, rule).unwrap();
        assert_eq!(transaction.request(), &request());
        assert_eq!(transaction.signers().count(), 5);
        Checked::check(transaction, CHAIN).unwrap();
        // Where anybody may register, a validator's signature is one too many.
        let transaction = file.transaction(&now, Registration::Open).unwrap();
        assert_eq!(transaction.signers().count(), 2);
    }

    #[test]
    fn a_node_that_is_its_own_owner_or_votes_signs_once_for_both() {
        let own = RegistrationFile::new(CHAIN, &key(1), &key(1), terms());
        assert_eq!(own.signers().count(), 1);
        assert_eq!(
            RegistrationFile::parse(&own.to_toml(), CHAIN),
            Ok(own.clone())
        );
        let transaction = own.transaction(&set([1]), Registration::ByValidators);
        assert_eq!(transaction.unwrap().signers().count(), 1);
    }

    #[test]
    fn whoever_does_not_vote_now_does_not_sign_and_its_signature_counts_for_nothing() {
        let now = set([1, 2, 3, 4]);
        let mut file = file();
        let refused = Err(NotAValidator(key(5).public_key()));
        assert_eq!(file.sign(&key(5), &now), refused);
        // It signed when it voted.
        file.sign(&key(9), &set([9])).unwrap();
        file.sign(&key(1), &now).unwrap();
        file.sign(&key(2), &now).unwrap();
        let rule = Registration::ByValidators;
        assert_eq!(file.transaction(&now, rule).unwrap_err().found, 2);
        file.sign(&key(3), &now).unwrap();
        let transaction = file.transaction(&now, rule).unwrap();
        let nobody = key(9).public_key();
        assert!(!transaction.signers().any(|signer| signer == nobody));
    }

    #[test]
    fn signatures_of_copies_are_put_together_and_those_of_another_registration_are_not() {
        let now = set([1, 2, 3, 4]);
        let (mut one, mut other) = (file(), file());
        one.sign(&key(1), &now).unwrap();
        other.sign(&key(2), &now).unwrap();
        one.join(&other).unwrap();
        one.join(&other).unwrap();
        assert_eq!(one.signers().count(), 4);
        let dearer = Terms {
            price: Credits::new(4),
            ..terms()
        };
        let another = RegistrationFile::new(CHAIN, &key(11), &key(12), dearer);
        assert_eq!(one.join(&another), Err(SignedFileError::Another));
        let elsewhere = RegistrationFile::new(OTHER_CHAIN, &key(11), &key(12), terms());
        assert_eq!(one.join(&elsewhere), Err(SignedFileError::Another));
    }

    #[test]
    fn a_file_that_is_no_registration_on_this_chain_is_refused_by_its_fault() {
        let text = file().to_toml();
        let altered = |from: &str, to: &str| {
            let altered = text.replace(from, to);
            assert_ne!(altered, text, "{from} is not there");
            altered
        };
        let [owner, node] = [11, 12].map(|number| key(number).public_key());
        let bytes = file().signed_by(|_| true).to_bytes();
        // Of one that a single key signs: the count, and the signature.
        let own = RegistrationFile::new(CHAIN, &key(1), &key(1), terms());
        let own = own.signed_by(|_| true).to_bytes();
        let (asked, signature) = own.split_at(own.len() - 96);
        let twice = [
            &asked[..asked.len() - 2],
            &[0u8, 2][..],
            signature,
            signature,
        ]
        .concat();
        let claim = Request::Claim {
            account: AccountId::new(owner),
        };
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let file_error = RegistrationError::File;
        for (text, refused) in [
            (
                "#".repeat(MAX_FILE_BYTES + 1),
                file_error(SignedFileError::TooLarge {
                    found: MAX_FILE_BYTES + 1,
                    limit: MAX_FILE_BYTES,
                }),
            ),
            (
                altered(FORMAT, "tally-registration-v2"),
                file_error(SignedFileError::Format {
                    found: "tally-registration-v2".into(),
                    known: FORMAT,
                }),
            ),
            (
                altered(&CHAIN.to_string(), "x"),
                file_error(SignedFileError::Chain("x".into())),
            ),
            (
                altered(&CHAIN.to_string(), &OTHER_CHAIN.to_string()),
                file_error(SignedFileError::OtherChain {
                    found: OTHER_CHAIN,
                    expected: CHAIN,
                }),
            ),
            (
                altered("transaction = \"", "transaction = \"x"),
                RegistrationError::Hex,
            ),
            (
                of_bytes(&bytes[..bytes.len() - 1]),
                RegistrationError::Transaction(DecodeError::Truncated {
                    part: "the signatures",
                }),
            ),
            (
                of_bytes(&twice),
                RegistrationError::Transaction(DecodeError::Order {
                    part: "the signatures",
                }),
            ),
            (
                signed(claim, &[&key(11)]),
                RegistrationError::NoRegistration,
            ),
            (
                signed(request(), &[&key(12), &key(1)]),
                RegistrationError::NotSigned(owner),
            ),
            (
                signed(request(), &[&key(11), &key(1)]),
                RegistrationError::NotSigned(node),
            ),
            (
                of_bytes(&flipped),
                file_error(SignedFileError::BadSignature(owner.max(node))),
            ),
        ] {
            assert_eq!(
                RegistrationFile::parse(&text, CHAIN),
                Err(refused),
                "{text}"
            );
        }
        let more = format!("{text}price = 5\n");
        assert!(matches!(
            RegistrationFile::parse(&more, CHAIN),
            Err(RegistrationError::File(SignedFileError::Toml(_)))
        ));
        let elsewhere = altered(&CHAIN.to_string(), &OTHER_CHAIN.to_string());
        assert_eq!(
            RegistrationFile::parse(&elsewhere, OTHER_CHAIN),
            Err(file_error(SignedFileError::BadSignature(owner.min(node)))),
            "signed for another chain"
        );
    }

    #[test]
    fn a_file_that_as_many_have_signed_as_can_is_within_its_limit() {
        let longest = Terms {
            endpoint: Some(Label::new(&"x".repeat(200)).unwrap()),
            ..terms()
        };
        let mut file = RegistrationFile::new(CHAIN, &key(11), &key(12), longest);
        let mut keys = (0u64..).map(|number| {
            let mut seed = [200; 32];
            seed[..8].copy_from_slice(&number.to_be_bytes());
            SigningKey::from_seed(&seed)
        });
        let message = file.request().signed_bytes(CHAIN);
        while file.signers().count() < crate::transaction::MAX_SIGNATURES {
            let key = keys.next().unwrap();
            file.signatures.put(key.public_key(), key.sign(&message));
        }
        assert_eq!(RegistrationFile::parse(&file.to_toml(), CHAIN), Ok(file));
    }
}

//! Where a chain begins: a file that everybody who takes part, and everybody who checks, has.
//!
//! ```toml
//! format = "tally-genesis-v1"
//! name = "devnet"
//! time = "2026-11-29T20:00:00.000Z"
//!
//! [parameters]                       # may be left out, each may be left out
//! registration = "open"              # or "by-validators"
//! block-bytes = 2097152
//! block-receipts = 20000
//!
//! [[validators]]
//! name = "v0"
//! vote = "64 hex digits"
//! checkpoint = "64 hex digits"
//! addresses = ["127.0.0.1:4410"]     # may be left out; not part of the chain's name
//!
//! [[accounts]]                       # may be left out
//! key = "64 hex digits"
//! credits = 1000000
//!
//! [faucet]                           # may be left out: then nobody is given anything
//! each = 1000
//! total = 1000000000
//! ```
//!
//! The chain's name is the digest of what the file says, in the bytes below, not of the file: comments, order and
//! addresses may differ.
//!
//! ```text
//! name (u8 length, text) || time u64 || parameters || validators
//! || count u16 of accounts || for each, ascending: key 32 || credits u64
//! || faucet u8 || if 1: each u64 || total u64
//! ```

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tally_log::Frontier;
use tally_receipt::{PublicKey, Timestamp};

use crate::block::{Block, Header};
use crate::id::{AccountId, BlockDigest, ChainId, Credits, Epoch, Height, Purpose, hash};
use crate::params::{Parameters, Registration};
use crate::state::State;
use crate::validators::{InvalidName, InvalidValidators, Name, Validator, ValidatorSet};
use crate::wire::Write;

/// Bytes of a genesis file.
const MAX_FILE_BYTES: usize = 4 << 20;

/// Accounts in a genesis file.
const MAX_ACCOUNTS: usize = 10_000;

/// All credits there are: what a TOML integer can hold, and half of what an amount can.
const MAX_CREDITS: u64 = i64::MAX as u64;

/// Where a chain begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// For people, and for the log's origin.
    pub name: Name,
    /// When it begins.
    pub time: Timestamp,
    /// Limits and admission.
    pub parameters: Parameters,
    /// Who votes on the first block.
    pub validators: ValidatorSet,
    /// Where each validator is reached, by the order of the set. Not part of the chain's name.
    pub addresses: Vec<Vec<SocketAddr>>,
    /// Who has credits from the beginning, ascending, each once.
    pub accounts: Vec<Allocation>,
    /// What every account may claim once.
    pub faucet: Option<Faucet>,
}

/// Credits that somebody has from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Who.
    pub account: AccountId,
    /// How many.
    pub credits: Credits,
}

/// Credits for whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faucet {
    /// For one account.
    pub each: Credits,
    /// For all.
    pub total: Credits,
}

/// Why a text is no genesis file. Whoever wrote it must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// Too large.
    #[error("the genesis file has {found} bytes, more than {MAX_FILE_BYTES}")]
    TooLarge {
        /// How many.
        found: usize,
    },
    /// Not TOML, or not these fields.
    #[error("the genesis file cannot be read: {0}")]
    Toml(String),
    /// Of a format this reader does not know.
    #[error("the genesis file has the format {0:?}; this reader knows {FORMAT:?}")]
    Format(String),
    /// A name that cannot be one.
    #[error("{text:?} cannot be used: {reason}")]
    Name {
        /// The text.
        text: String,
        /// Why not.
        reason: InvalidName,
    },
    /// The validators are no set.
    #[error("the validators cannot be used: {0}")]
    Validators(#[from] InvalidValidators),
    /// A limit is out of its range.
    #[error("block-bytes or block-receipts is out of its range: {0:?}")]
    Parameters(Parameters),
    /// Too many accounts.
    #[error("{found} accounts are more than {MAX_ACCOUNTS}")]
    TooManyAccounts {
        /// How many.
        found: usize,
    },
    /// An account is there twice.
    #[error("the account {0} is there twice")]
    AccountTwice(PublicKey),
    /// More credits than a TOML number can hold.
    #[error("all credits together are more than {MAX_CREDITS}")]
    TooManyCredits,
}

const FORMAT: &str = "tally-genesis-v1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    name: String,
    time: Timestamp,
    #[serde(default)]
    parameters: FileParameters,
    validators: Vec<FileValidator>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    accounts: Vec<FileAccount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    faucet: Option<FileFaucet>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct FileParameters {
    registration: FileRegistration,
    block_bytes: u32,
    block_receipts: u32,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FileRegistration {
    Open,
    ByValidators,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileValidator {
    name: String,
    vote: PublicKey,
    checkpoint: PublicKey,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<SocketAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAccount {
    key: PublicKey,
    credits: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFaucet {
    each: u64,
    total: u64,
}

impl From<Registration> for FileRegistration {
    fn from(registration: Registration) -> Self {
        match registration {
            Registration::Open => Self::Open,
            Registration::ByValidators => Self::ByValidators,
        }
    }
}

impl From<FileRegistration> for Registration {
    fn from(registration: FileRegistration) -> Self {
        match registration {
            FileRegistration::Open => Self::Open,
            FileRegistration::ByValidators => Self::ByValidators,
        }
    }
}

impl From<Parameters> for FileParameters {
    fn from(parameters: Parameters) -> Self {
        Self {
            registration: parameters.registration.into(),
            block_bytes: parameters.block_bytes,
            block_receipts: parameters.block_receipts,
        }
    }
}

impl Default for FileParameters {
    fn default() -> Self {
        Parameters::default().into()
    }
}

impl FileParameters {
    /// Whether they are in their ranges is not looked at.
    pub(crate) fn parameters(self) -> Parameters {
        Parameters {
            registration: self.registration.into(),
            block_bytes: self.block_bytes,
            block_receipts: self.block_receipts,
        }
    }
}

/// The addresses of each validator, by the order of a set.
type Addresses = Vec<Vec<SocketAddr>>;

impl FileValidator {
    /// The set of what is listed in a file.
    pub(crate) fn set(listed: Vec<Self>) -> Result<(ValidatorSet, Addresses), GenesisError> {
        let mut addresses_of = Vec::new();
        let validators = listed
            .into_iter()
            .map(|validator| {
                addresses_of.push((validator.vote, validator.addresses));
                Ok(Validator {
                    vote_key: validator.vote,
                    checkpoint_key: validator.checkpoint,
                    name: read_name(validator.name)?,
                })
            })
            .collect::<Result<_, GenesisError>>()?;
        // In the order of the set, which is that of the vote keys.
        addresses_of.sort_by_key(|(vote_key, _)| *vote_key);
        let addresses = addresses_of.into_iter().map(|(_, at)| at).collect();
        Ok((ValidatorSet::new(validators)?, addresses))
    }

    /// How a set is listed in a file.
    pub(crate) fn list(validators: &ValidatorSet, addresses: &[Vec<SocketAddr>]) -> Vec<Self> {
        validators
            .as_slice()
            .iter()
            .enumerate()
            .map(|(index, validator)| Self {
                name: validator.name.as_str().into(),
                vote: validator.vote_key,
                checkpoint: validator.checkpoint_key,
                addresses: addresses.get(index).cloned().unwrap_or_default(),
            })
            .collect()
    }
}

fn read_name(text: String) -> Result<Name, GenesisError> {
    Name::new(&text).map_err(|reason| GenesisError::Name { text, reason })
}

impl Genesis {
    /// Reads a genesis file.
    ///
    /// # Errors
    /// [`GenesisError`].
    pub fn parse(text: &str) -> Result<Self, GenesisError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(GenesisError::TooLarge { found: text.len() });
        }
        let file: File =
            toml::from_str(text).map_err(|error| GenesisError::Toml(error.to_string()))?;
        if file.format != FORMAT {
            return Err(GenesisError::Format(file.format));
        }
        let (validators, addresses) = FileValidator::set(file.validators)?;
        let genesis = Self {
            name: read_name(file.name)?,
            time: file.time,
            parameters: file.parameters.parameters(),
            validators,
            addresses,
            accounts: file
                .accounts
                .into_iter()
                .map(|account| Allocation {
                    account: AccountId::new(account.key),
                    credits: Credits::new(account.credits),
                })
                .collect(),
            faucet: file.faucet.map(|faucet| Faucet {
                each: Credits::new(faucet.each),
                total: Credits::new(faucet.total),
            }),
        };
        genesis.checked()
    }

    /// The same genesis in order, if it is one.
    ///
    /// # Errors
    /// [`GenesisError`], as for a file that says this.
    pub fn checked(mut self) -> Result<Self, GenesisError> {
        if !self.parameters.in_range() {
            return Err(GenesisError::Parameters(self.parameters));
        }
        if self.accounts.len() > MAX_ACCOUNTS {
            return Err(GenesisError::TooManyAccounts {
                found: self.accounts.len(),
            });
        }
        self.accounts.sort_by_key(|allocation| allocation.account);
        if let Some(twice) = self
            .accounts
            .windows(2)
            .find(|pair| pair[0].account == pair[1].account)
        {
            return Err(GenesisError::AccountTwice(twice[0].account.key()));
        }
        self.accounts
            .iter()
            .map(|allocation| allocation.credits)
            .chain(self.faucet.map(|faucet| faucet.total))
            .try_fold(Credits::ZERO, Credits::plus)
            .filter(|sum| sum.get() <= MAX_CREDITS)
            .ok_or(GenesisError::TooManyCredits)?;
        Ok(self)
    }

    /// Writes a genesis file.
    pub fn to_toml(&self) -> String {
        let file = File {
            format: FORMAT.into(),
            name: self.name.as_str().into(),
            time: self.time,
            parameters: self.parameters.into(),
            validators: FileValidator::list(&self.validators, &self.addresses),
            accounts: self
                .accounts
                .iter()
                .map(|allocation| FileAccount {
                    key: allocation.account.key(),
                    credits: allocation.credits.get(),
                })
                .collect(),
            faucet: self.faucet.map(|faucet| FileFaucet {
                each: faucet.each.get(),
                total: faucet.total.get(),
            }),
        };
        toml::to_string(&file).expect("tables, texts and numbers can be written as TOML")
    }

    /// The chain's name.
    pub fn chain(&self) -> ChainId {
        ChainId::new(hash(Purpose::Genesis, |hasher| self.write(hasher)))
    }

    /// The log's origin, which is the first line of its checkpoints: `tally/NAME-` and the first 16 hex digits of the
    /// chain's name.
    pub fn origin(&self) -> String {
        format!("tally/{}-{}", self.name, &self.chain().to_string()[..16])
    }

    /// The state from which the first block starts.
    pub fn state(&self) -> State {
        State::begin(self)
    }

    /// The header at height 0, which nobody votes on. Its parent is the chain's name.
    pub(crate) fn header(&self, state_root: crate::id::StateRoot) -> Header {
        let log = Frontier::new();
        Header {
            height: Height::ZERO,
            epoch: Epoch::ZERO,
            parent: BlockDigest::from_bytes(*self.chain().as_bytes()),
            body: Block::body_digest(&[]),
            log_size: log.size(),
            log_root: log.root(),
            state_root,
            time: self.time,
            next_validators: self.validators.digest(),
        }
    }

    fn write(&self, to: &mut impl Write) {
        to.put_text(self.name.as_str());
        to.put_u64(self.time.unix_ms());
        self.parameters.write(to);
        self.validators.write(to);
        to.put_count(self.accounts.len());
        for allocation in &self.accounts {
            to.put(allocation.account.as_bytes());
            to.put_u64(allocation.credits.get());
        }
        to.put_u8(u8::from(self.faucet.is_some()));
        if let Some(faucet) = self.faucet {
            to.put_u64(faucet.each.get());
            to.put_u64(faucet.total.get());
        }
    }
}

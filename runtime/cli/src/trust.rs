//! Whom a verification believes, from the command line.
//!
//! A signature proves who said something, so every verdict needs a list of whom to believe. It comes from
//! `--policy FILE` (`docs/receipt.md`), from `--trust KEY`, and, where neither is given, from this machine's own key if it
//! has one: what this machine signed itself is believed by its owner and by nobody else, and the verdict says so. A key that it had
//! before (`tally ledger node rotate`) is believed of what was signed until it was exchanged.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use tally_receipt::{Label, Policy, PublicKey, Role, Timestamp, TrustedKey};

use crate::failure::{Failure, OrFail};
use crate::home::Home;

/// Whom to believe.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct Trust {
    /// A policy: keys with their history, models and components that are allowed (docs/receipt.md).
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Believe this public key, 64 hex digits, for anything at any time. May be given several times.
    #[arg(long, value_name = "KEY", conflicts_with = "policy")]
    trust: Vec<String>,
}

/// Where a policy came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    File,
    CommandLine,
    OwnKey,
    Nowhere,
}

impl Source {
    /// Whether somebody named them for this.
    pub(crate) fn is_named(self) -> bool {
        matches!(self, Self::File | Self::CommandLine)
    }

    /// For a person.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::File => "believing the keys of the policy file",
            Self::CommandLine => "believing the keys named with --trust",
            Self::OwnKey => {
                "believing only this machine's own key; to check what others signed: --policy FILE or --trust KEY"
            }
            Self::Nowhere => {
                "believing nobody: name whom to believe with --policy FILE or --trust KEY"
            }
        }
    }
}

impl Trust {
    /// The policy, and where it came from.
    pub(crate) fn policy(&self) -> Result<(Option<Policy>, Source), Failure> {
        if let Some(path) = &self.policy {
            let bytes = std::fs::read(path).or_misuse(format_args!("read {}", path.display()))?;
            let policy = Policy::parse(&bytes)
                .or_misuse(format_args!("use {} as a policy", path.display()))?;
            return Ok((Some(policy), Source::File));
        }
        let (keys, source) = if self.trust.is_empty() {
            (Home::existing_public_keys()?, Source::OwnKey)
        } else {
            let keys = self.trust.iter().map(|text| {
                text.parse::<PublicKey>()
                    .map(|key| (key, None))
                    .or_misuse(format_args!("use {text:?} as a public key"))
                    .map_err(|failure| failure.advise("a receipt's `keyid` is one: 64 hex digits"))
            });
            (keys.collect::<Result<_, _>>()?, Source::CommandLine)
        };
        if keys.is_empty() {
            return Ok((None, Source::Nowhere));
        }
        let owner = if source == Source::OwnKey {
            "this machine"
        } else {
            "named with --trust"
        };
        let owner = Label::new(owner).expect("the label is a short constant");
        let keys = keys
            .into_iter()
            .map(|(key, valid_until)| TrustedKey {
                key,
                owner: owner.clone(),
                roles: vec![Role::Inference, Role::Run],
                valid_from: Timestamp::from_unix_ms(0).expect("1970 is a moment"),
                valid_until,
                revoked: None,
            })
            .collect();
        Ok((
            Some(Policy::new(keys).or_misuse("trust these keys")?),
            source,
        ))
    }
}

/// The moment a verification is made for: `--now TIME`, else this machine's clock.
pub(crate) fn moment(now: Option<&str>) -> Result<Timestamp, Failure> {
    match now {
        Some(text) => text
            .parse()
            .or_misuse(format_args!("use {text:?} as a time"))
            .map_err(|failure| failure.advise("for example 2026-11-21T12:00:00.000Z")),
        None => {
            let since = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .or_environment("read the clock: it is before 1970")?;
            Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
                .or_environment("read the clock")
        }
    }
}

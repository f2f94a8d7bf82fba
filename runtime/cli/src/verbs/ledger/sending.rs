//! Handing in what a key signs, and waiting until the chain shows that it counts.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use tally_ledger::{ChainId, Request, Transaction};
use tally_node::{Client, ClientError};
use tally_receipt::{PublicKey, SigningKey};

use crate::failure::{Failure, OrFail};
use crate::home::{self, Home};
use crate::network::Which;

/// Who signs, and where it goes.
#[derive(ClapArgs)]
pub(crate) struct Sending {
    /// The file of the key that signs; else this machine's own key.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// End when enough validators have it on their disks; else when the chain shows that it counts.
    #[arg(long)]
    pub(super) no_wait: bool,
    #[command(flatten)]
    pub(super) which: Which,
}

/// How long what was handed in may take to count.
const COUNTS: Duration = Duration::from_secs(15);
/// Between two looks whether it does.
const LOOKS: Duration = Duration::from_millis(200);

/// What is asked of a network first; fits after "cannot".
pub(super) const ASK: &str = "ask the network";

impl Sending {
    /// The key that signs.
    pub(super) fn key(&self, home: &Home) -> Result<SigningKey, Failure> {
        match &self.key {
            Some(file) => existing_key(file),
            None => home.node_key(),
        }
    }
}

/// The key in a file that is there: one that was made now would be nobody's.
pub(super) fn existing_key(path: &Path) -> Result<SigningKey, Failure> {
    let seed = home::read_seed(path)?.ok_or_else(|| {
        Failure::misuse(format_args!("there is no key {}", path.display())).advise(
            "name the file of a key that is there: a validator's is the one that `tally node --key` was given, in a devnet v0/vote.key",
        )
    })?;
    Ok(SigningKey::from_seed(&seed))
}

/// A key as somebody typed it.
pub(super) fn public_key(text: &str) -> Result<PublicKey, Failure> {
    text.parse()
        .or_misuse(format_args!("use {text:?} as a public key"))
        .map_err(|failure| {
            failure.advise("`tally ledger account` says this machine's; others say theirs")
        })
}

/// Signs with each of the keys, once.
pub(super) fn signed(request: Request, chain: ChainId, keys: &[&SigningKey]) -> Transaction {
    let mut keys = keys.to_vec();
    keys.sort_by_key(|key| key.public_key());
    keys.dedup_by_key(|key| key.public_key());
    request
        .sign(chain, &keys)
        .expect("it is within the limits, and each key signs once")
}

/// Hands a transaction in, and waits until `counts` finds what shows that it does. Nothing is found where nobody waits for it.
///
/// # Errors
/// [`Failure`] when too few validators take it, or it does not count in time. It may still.
pub(super) async fn hand_in<T>(
    client: &Client,
    transaction: &Transaction,
    no_wait: bool,
    counts: impl AsyncFn() -> Result<Option<T>, ClientError>,
) -> Result<Option<T>, Failure> {
    client
        .submit(std::slice::from_ref(transaction))
        .await
        .map_err(|error| match &error {
            ClientError::Refused { .. } => Failure::no(&error),
            _ => Failure::environment(format_args!("cannot hand it in: {error}"))
                .advise("repeat the command: nothing is done twice"),
        })?;
    if no_wait {
        return Ok(None);
    }
    let begun = Instant::now();
    loop {
        let asked = counts().await;
        match asked {
            Ok(Some(found)) => return Ok(Some(found)),
            asked if begun.elapsed() > COUNTS => {
                let failure = match asked {
                    Ok(_) => Failure::environment(format_args!(
                        "the ledger took it {COUNTS:?} ago, and it does not count yet"
                    )),
                    Err(error) => Failure::environment(format_args!(
                        "it was handed in, and whether it counts is not known: {error}"
                    )),
                };
                return Err(failure.advise("repeat the command: nothing is done twice"));
            }
            _ => tokio::time::sleep(LOOKS).await,
        }
    }
}

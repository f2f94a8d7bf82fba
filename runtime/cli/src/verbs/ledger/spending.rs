//! What an account spends by its next nonce, once.
//!
//! A transfer or reservation is written down before it is handed in, signed: `$TALLY_HOME/ledger/spending/CHAIN/ACCOUNT` has
//! `0 || transaction` until it counts, or `1 || transaction` if the command ended without waiting. Whoever repeats a command that
//! did not end sends the same transaction again, which has the same nonce and counts once. Whether a nonce was used by it, and not
//! by something else that has the key, the chain does not show: `f + 1` validators say so, which take again what was done.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::PathBuf;

use tally_durable::Access;
use tally_ledger::{
    Account, AccountId, AccountNonce, ChainId, Credits, Height, Request, Transaction,
};
use tally_node::Client;
use tally_receipt::SigningKey;

use super::sending::{ASK, Sending, hand_in, signed};
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::Network;
use crate::ui::grouped;

/// What an account spends by its next nonce.
#[derive(Clone, Copy)]
pub(super) enum Spending {
    Transfer {
        to: AccountId,
        amount: Credits,
    },
    Reserve {
        payee: AccountId,
        amount: Credits,
        blocks: u64,
    },
}

/// How it ended.
pub(super) struct Spent {
    pub(super) transaction: Transaction,
    pub(super) nonce: AccountNonce,
    /// The account after it, where somebody waited for that.
    pub(super) after: Option<(Height, Account)>,
    /// Whether it is one that was begun before.
    pub(super) is_earlier: bool,
}

impl Spending {
    fn request(self, from: AccountId, nonce: AccountNonce, height: Height) -> Request {
        match self {
            Self::Transfer { to, amount } => Request::Transfer {
                from,
                nonce,
                to,
                amount,
            },
            Self::Reserve {
                payee,
                amount,
                blocks,
            } => Request::Reserve {
                payer: from,
                nonce,
                payee,
                amount,
                // Of the next block, at the earliest.
                expires: Height::new(height.get().saturating_add(1).saturating_add(blocks)),
            },
        }
    }

    /// Whether a request is this, whichever nonce it has and whenever it expires.
    fn is(self, request: &Request) -> bool {
        match (self, request) {
            (
                Self::Transfer { to, amount },
                Request::Transfer {
                    to: found,
                    amount: of,
                    ..
                },
            ) => to == *found && amount == *of,
            (
                Self::Reserve { payee, amount, .. },
                Request::Reserve {
                    payee: found,
                    amount: of,
                    ..
                },
            ) => payee == *found && amount == *of,
            _ => false,
        }
    }

    const fn other(self) -> AccountId {
        match self {
            Self::Transfer { to, .. } => to,
            Self::Reserve { payee, .. } => payee,
        }
    }

    const fn amount(self) -> Credits {
        match self {
            Self::Transfer { amount, .. } | Self::Reserve { amount, .. } => amount,
        }
    }

    /// Whether an account can.
    fn check(self, from: AccountId, account: &Account, network: &Network) -> Outcome {
        if account.balance >= self.amount() {
            return Ok(());
        }
        let failure = Failure::no(format_args!(
            "the account {from} has {} credits; this needs {}",
            account.balance,
            self.amount()
        ));
        Err(match network.genesis.faucet {
            Some(faucet) if !account.claimed => failure.advise(format_args!(
                "`tally ledger claim` gives it {}, once",
                grouped(faucet.each.get())
            )),
            _ => failure.advise(format_args!(
                "somebody who has credits gives it some: tally ledger transfer {from} AMOUNT"
            )),
        })
    }
}

fn nonce_of(request: &Request) -> Option<AccountNonce> {
    match request {
        Request::Transfer { nonce, .. } | Request::Reserve { nonce, .. } => Some(*nonce),
        _ => None,
    }
}

/// What an account spent last from this machine, until it is known to count. One command at a time has it.
struct Begun {
    path: PathBuf,
    _turn: File,
}

impl Begun {
    fn of(home: &Home, chain: ChainId, account: AccountId) -> Result<Self, Failure> {
        let folder = home.ledger()?.join("spending").join(chain.to_string());
        tally_durable::create_folder(&folder, Access::Owner)
            .or_environment(format_args!("create {}", folder.display()))?;
        let path = folder.join(account.to_string());
        let lock = path.with_extension("lock");
        let turn = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock)
            .or_environment(format_args!("open {}", lock.display()))?;
        match turn.try_lock() {
            Ok(()) => Ok(Self { path, _turn: turn }),
            Err(TryLockError::WouldBlock) => Err(Failure::environment(
                "another command spends from this account at the moment",
            )
            .advise("repeat this one when it has ended")),
            Err(TryLockError::Error(error)) => {
                Err(error).or_environment(format_args!("lock {}", lock.display()))
            }
        }
    }

    /// Whether the command that made it has ended, and what it made.
    fn read(&self) -> Result<Option<(bool, Transaction)>, Failure> {
        let bytes = match std::fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.or_environment(format_args!("read {}", self.path.display()))?,
        };
        let read = bytes.split_first().and_then(|(is_ended, transaction)| {
            Some((*is_ended == 1, Transaction::from_bytes(transaction).ok()?))
        });
        read.map(Some).ok_or_else(|| {
            Failure::environment(format_args!(
                "{} is damaged: it had what this account spent last",
                self.path.display()
            ))
            .advise("look at the account whether that counts (`tally ledger account`), and remove the file")
        })
    }

    fn write(&self, is_ended: bool, transaction: &Transaction) -> Outcome {
        let bytes = [&[u8::from(is_ended)][..], transaction.as_bytes()].concat();
        tally_durable::write_file(&self.path, &bytes, Access::Owner)
            .or_environment(format_args!("write {}", self.path.display()))
    }

    fn remove(&self) -> Outcome {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).or_environment(format_args!("remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

pub(super) async fn shown(client: &Client, id: AccountId) -> Result<(Height, Account), Failure> {
    client.shown_account(id).await.or_environment(ASK)
}

async fn spend(
    spending: Spending,
    key: &SigningKey,
    no_wait: bool,
    client: &Client,
    network: &Network,
    begun: &Begun,
) -> Result<Spent, Failure> {
    let from = AccountId::new(key.public_key());
    let (mut height, mut account) = shown(client, from).await?;
    if let Some((is_ended, earlier)) = begun.read()?
        && let Some(nonce) = nonce_of(earlier.request())
    {
        let is_this = !is_ended && spending.is(earlier.request());
        let is_used = nonce < account.nonce;
        let after = match is_used {
            true => {
                begun.remove()?;
                if is_this {
                    by_this(client, &earlier, nonce).await?;
                }
                Some((height, account))
            }
            false => {
                if !is_this {
                    eprintln!(
                        "what this account spent before does not count yet, and is handed in again first"
                    );
                }
                finish(&earlier, nonce, no_wait && is_this, client, from, begun)
                    .await
                    .map_err(|failure| match is_this {
                        true => failure,
                        false => failure.advise(format_args!(
                            "what was spent before is in {}; remove that file to give it up, unless it counts by then",
                            begun.path.display()
                        )),
                    })?
            }
        };
        if is_this {
            return Ok(Spent {
                transaction: earlier,
                nonce,
                after,
                is_earlier: true,
            });
        }
        if let Some(after) = after {
            (height, account) = after;
        }
    }
    spending.check(from, &account, network)?;
    let nonce = account.nonce;
    let request = spending.request(from, nonce, height);
    let transaction = signed(request, network.genesis.chain(), &[key]);
    begun.write(false, &transaction)?;
    let after = finish(&transaction, nonce, no_wait, client, from, begun).await?;
    Ok(Spent {
        transaction,
        nonce,
        after,
        is_earlier: false,
    })
}

/// Hands in what was written down, and waits until its nonce is used.
async fn finish(
    transaction: &Transaction,
    nonce: AccountNonce,
    no_wait: bool,
    client: &Client,
    from: AccountId,
    begun: &Begun,
) -> Result<Option<(Height, Account)>, Failure> {
    let handed = hand_in(client, transaction, no_wait, async || {
        let (height, account) = client.shown_account(from).await?;
        Ok((account.nonce > nonce).then_some((height, account)))
    })
    .await;
    match handed {
        Ok(None) => {
            begun.write(true, transaction)?;
            Ok(None)
        }
        Ok(after) => {
            begun.remove()?;
            by_this(client, transaction, nonce).await?;
            Ok(after)
        }
        Err(failure) => {
            // Something else that has this key may have come before.
            match client.shown_account(from).await {
                Ok((_, account)) if account.nonce > nonce => {
                    begun.remove()?;
                    by_this(client, transaction, nonce).await?;
                    Ok(Some(shown(client, from).await?))
                }
                _ => Err(failure),
            }
        }
    }
}

/// Whether a nonce that is used was used by this transaction: validators take again what was done, and nothing else.
async fn by_this(client: &Client, transaction: &Transaction, nonce: AccountNonce) -> Outcome {
    let taken = client.submit(std::slice::from_ref(transaction)).await;
    taken.map(|_| ()).map_err(|error| {
        Failure::no(format_args!(
            "nonce {nonce} of this account is used, and too few validators say that it was by this: {error}"
        ))
        .advise("something else that has this key may have used it: look at both accounts (`tally ledger account KEY`) before the command is repeated, which then takes the next nonce")
    })
}

pub(super) async fn spent(
    spending: Spending,
    sending: &Sending,
    home: &Home,
) -> Result<(AccountId, Spent), Failure> {
    let network = sending.which.existing(home)?;
    let key = sending.key(home)?;
    let from = AccountId::new(key.public_key());
    if spending.other() == from {
        return Err(Failure::misuse(
            "the sender and the recipient are the same account",
        ));
    }
    let begun = Begun::of(home, network.genesis.chain(), from)?;
    let (way, client) = network.client(home).await?;
    let spent = spend(spending, &key, sending.no_wait, &client, &network, &begun).await;
    let ended = way.close().await;
    let spent = spent.map_err(|failure| ended.unwrap_or(failure))?;
    Ok((from, spent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_begun_again_is_the_same_whatever_its_nonce_and_end() {
        let [one, two] =
            [1, 2].map(|seed| AccountId::new(SigningKey::from_seed(&[seed; 32]).public_key()));
        let amount = Credits::new(3);
        let spending = Spending::Reserve {
            payee: two,
            amount,
            blocks: 10,
        };
        let earlier = spending.request(one, AccountNonce::new(4), Height::new(9));
        assert!(spending.is(&earlier));
        assert!(!Spending::Transfer { to: two, amount }.is(&earlier));
        let more = Spending::Reserve {
            payee: two,
            amount: Credits::new(4),
            blocks: 10,
        };
        assert!(!more.is(&earlier));
    }
}

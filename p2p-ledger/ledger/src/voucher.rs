//! A payer's promise of what is in a hold, and the line in which a payee is handed it.
//!
//! ```text
//! signed:   "tally-ledger-voucher-v1\n" || chain id 32 || hold id 32 || total u64
//! line:     tally-voucher-v1 CHAIN HOLD TOTAL SIGNATURE       in lower-case hex but for the total, which is in digits
//! ```
//!
//! Any white space stands between the words of a line, and may stand around them: mail programs break lines. Each word has
//! one spelling. Who the payer is does not stand in it, so whether the signature holds is a question to whoever knows the
//! hold ([`Voucher::pays`]).

use std::fmt;

use tally_receipt::{Signature, SigningKey};

use crate::id::{AccountId, ChainId, Credits, HoldId};
use crate::state::Hold;
use crate::wire::Write as _;

/// Bytes of a line: 296 at most with a space between two words, and white space.
const MAX_LINE_BYTES: usize = 512;

const FORMAT: &str = "tally-voucher-v1";

/// A payer's promise: of this hold, the payee may have this much altogether. The latest one replaces those before, so
/// that a payee redeems many small payments at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// How much altogether, from the hold's beginning.
    pub total: Credits,
    /// The payer's, over [`Voucher::message`].
    pub signature: Signature,
}

/// Why a voucher is worth nothing, whatever was paid before. Whoever took it must ask for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorthlessVoucher {
    /// It grants more than there is.
    #[error("the voucher grants {total} of a hold of {amount}")]
    BeyondHold {
        /// How much it grants.
        total: Credits,
        /// How much there is.
        amount: Credits,
    },
    /// The signature is not the payer's, or is of something else.
    #[error("the voucher was not signed by the payer for this hold and amount")]
    BadSignature,
}

/// A voucher as it is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoucherLine {
    /// Of which chain.
    pub chain: ChainId,
    /// Of which hold.
    pub hold: HoldId,
    /// What is promised. Whether the signature holds is not known.
    pub voucher: Voucher,
}

/// Why a text is no voucher. Whoever handed it over must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoucherError {
    /// Too long.
    #[error("it has {found} bytes, more than {MAX_LINE_BYTES}")]
    TooLong {
        /// How many.
        found: usize,
    },
    /// Of a format this reader does not know.
    #[error("it begins with {0:?}; a voucher begins with {FORMAT:?}")]
    Format(String),
    /// Words are missing, or there are more.
    #[error("{found} words follow {FORMAT:?}, and chain, hold, total and signature are four")]
    Words {
        /// How many.
        found: usize,
    },
    /// The chain's name is none.
    #[error("{0:?} is no chain's name, which has 64 hex digits")]
    Chain(String),
    /// Of another chain.
    #[error("it is of the chain {found}, and this is the chain {expected}")]
    OtherChain {
        /// The one that it names.
        found: ChainId,
        /// The one that it is read for.
        expected: ChainId,
    },
    /// The hold's name is none.
    #[error("{0:?} is no hold's name, which has 64 hex digits")]
    Hold(String),
    /// The total is no number of credits.
    #[error("{0:?} is no number of credits")]
    Total(String),
    /// The signature is not written as one.
    #[error("{0:?} is no signature, which has 128 hex digits")]
    Signature(String),
}

impl Voucher {
    /// The bytes a payer signs: `"tally-ledger-voucher-v1\n" || chain id || hold id || total`.
    pub fn message(chain: ChainId, hold: HoldId, total: Credits) -> Vec<u8> {
        let mut bytes = b"tally-ledger-voucher-v1\n".to_vec();
        bytes.put(chain.as_bytes());
        bytes.put(hold.as_bytes());
        bytes.put_u64(total.get());
        bytes
    }

    /// Signs a promise.
    pub fn sign(chain: ChainId, hold: HoldId, total: Credits, payer: &SigningKey) -> Self {
        Self {
            total,
            signature: payer.sign(&Self::message(chain, hold, total)),
        }
    }

    /// Whether it is the payer's.
    pub fn holds(&self, chain: ChainId, hold: HoldId, payer: AccountId) -> bool {
        payer
            .key()
            .verify(&Self::message(chain, hold, self.total), &self.signature)
    }

    /// What it pays beyond what was paid before. One that is older than the last pays nothing, and takes nothing back.
    ///
    /// # Errors
    /// [`WorthlessVoucher`].
    pub fn pays(
        &self,
        chain: ChainId,
        id: HoldId,
        hold: &Hold,
    ) -> Result<Credits, WorthlessVoucher> {
        if self.total > hold.amount {
            return Err(WorthlessVoucher::BeyondHold {
                total: self.total,
                amount: hold.amount,
            });
        }
        if !self.holds(chain, id, hold.payer) {
            return Err(WorthlessVoucher::BadSignature);
        }
        Ok(self.total.minus(hold.redeemed).unwrap_or_default())
    }
}

impl VoucherLine {
    /// Signs a promise.
    pub fn sign(chain: ChainId, hold: HoldId, total: Credits, payer: &SigningKey) -> Self {
        Self {
            chain,
            hold,
            voucher: Voucher::sign(chain, hold, total, payer),
        }
    }

    /// Reads a line of a chain. [`Display`](fmt::Display) writes it.
    ///
    /// # Errors
    /// [`VoucherError`].
    pub fn parse(text: &str, chain: ChainId) -> Result<Self, VoucherError> {
        if text.len() > MAX_LINE_BYTES {
            return Err(VoucherError::TooLong { found: text.len() });
        }
        let mut words = text.split_whitespace();
        let format = words.next().unwrap_or_default();
        if format != FORMAT {
            return Err(VoucherError::Format(format.into()));
        }
        let words: Vec<&str> = words.collect();
        let [of, hold, total, signature] = words[..] else {
            return Err(VoucherError::Words { found: words.len() });
        };
        let found: ChainId = of.parse().map_err(|_| VoucherError::Chain(of.into()))?;
        if found != chain {
            return Err(VoucherError::OtherChain {
                found,
                expected: chain,
            });
        }
        let hold: HoldId = hold.parse().map_err(|_| VoucherError::Hold(hold.into()))?;
        Ok(Self {
            chain,
            hold,
            voucher: Voucher {
                total: read_total(total).ok_or_else(|| VoucherError::Total(total.into()))?,
                signature: read_signature(signature)
                    .ok_or_else(|| VoucherError::Signature(signature.into()))?,
            },
        })
    }
}

impl fmt::Display for VoucherLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            chain,
            hold,
            voucher: Voucher { total, signature },
        } = self;
        let signature = hex::encode(signature.as_bytes());
        write!(formatter, "{FORMAT} {chain} {hold} {total} {signature}")
    }
}

/// A number as it is written: `parse` takes a plus sign and zeros before it as well.
fn read_total(text: &str) -> Option<Credits> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(Credits::new(number))
}

/// A signature as it is written: `hex` takes upper-case digits as well.
fn read_signature(text: &str) -> Option<Signature> {
    let mut bytes = [0; 64];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    (hex::encode(bytes) == text).then_some(Signature::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AccountNonce, Height};
    use crate::signed_file::fixtures::{CHAIN, OTHER_CHAIN, key};

    fn account(number: u8) -> AccountId {
        AccountId::new(key(number).public_key())
    }

    fn hold_id() -> HoldId {
        HoldId::of(account(1), AccountNonce::ZERO)
    }

    fn line(total: u64) -> VoucherLine {
        VoucherLine::sign(CHAIN, hold_id(), Credits::new(total), &key(1))
    }

    #[test]
    fn a_voucher_comes_back_from_its_line_whatever_white_space_a_mail_program_made_of_it() {
        for total in [0, 5, u64::MAX] {
            let line = line(total);
            let text = line.to_string();
            assert!(text.len() <= 296, "{text}");
            assert!(text.starts_with(&format!("tally-voucher-v1 {CHAIN} {} {total} ", hold_id())));
            assert_eq!(VoucherLine::parse(&text, CHAIN), Ok(line));
            let broken = format!("\r\n  {}\r\n", text.replace(' ', "\r\n"));
            assert_eq!(VoucherLine::parse(&broken, CHAIN), Ok(line));
        }
    }

    #[test]
    fn a_line_that_is_no_voucher_of_this_chain_is_refused_by_its_fault() {
        let text = line(5).to_string();
        let hold = hold_id().to_string();
        let signature = hex::encode(line(5).voucher.signature.as_bytes());
        let altered = |from: &str, to: &str| {
            let altered = text.replace(from, to);
            assert_ne!(altered, text, "{from} is not there");
            altered
        };
        let shout = signature.to_uppercase();
        for (text, refused) in [
            (String::new(), VoucherError::Format(String::new())),
            (
                altered("voucher-v1", "voucher-v2"),
                VoucherError::Format("tally-voucher-v2".into()),
            ),
            (format!("{text} more"), VoucherError::Words { found: 5 }),
            (altered(&signature, ""), VoucherError::Words { found: 3 }),
            (
                altered(&CHAIN.to_string(), "x"),
                VoucherError::Chain("x".into()),
            ),
            (
                altered(&CHAIN.to_string(), &OTHER_CHAIN.to_string()),
                VoucherError::OtherChain {
                    found: OTHER_CHAIN,
                    expected: CHAIN,
                },
            ),
            (
                altered(&hold, &hold[1..]),
                VoucherError::Hold(hold[1..].into()),
            ),
            (altered(" 5 ", " +5 "), VoucherError::Total("+5".into())),
            (altered(" 5 ", " 05 "), VoucherError::Total("05".into())),
            (altered(" 5 ", " -1 "), VoucherError::Total("-1".into())),
            (
                altered(&signature, &shout),
                VoucherError::Signature(shout.clone()),
            ),
            (
                altered(&signature, &signature[2..]),
                VoucherError::Signature(signature[2..].into()),
            ),
            (
                format!("{text}{}", " ".repeat(MAX_LINE_BYTES)),
                VoucherError::TooLong {
                    found: text.len() + MAX_LINE_BYTES,
                },
            ),
        ] {
            assert_eq!(VoucherLine::parse(&text, CHAIN), Err(refused), "{text}");
        }
    }

    #[test]
    fn a_voucher_pays_what_was_not_paid_and_nothing_if_it_is_not_the_payers_for_this_hold() {
        let hold = Hold {
            payer: account(1),
            payee: account(2),
            amount: Credits::new(100),
            redeemed: Credits::new(40),
            expires: Height::new(9),
        };
        let pays = |total, hold: &Hold| line(total).voucher.pays(CHAIN, hold_id(), hold);
        assert_eq!(pays(60, &hold), Ok(Credits::new(20)));
        assert_eq!(pays(100, &hold), Ok(Credits::new(60)));
        assert_eq!(pays(40, &hold), Ok(Credits::ZERO));
        assert_eq!(pays(30, &hold), Ok(Credits::ZERO));
        assert_eq!(
            pays(101, &hold),
            Err(WorthlessVoucher::BeyondHold {
                total: Credits::new(101),
                amount: Credits::new(100)
            })
        );
        let of_another = Hold {
            payer: account(3),
            ..hold
        };
        let refused = Err(WorthlessVoucher::BadSignature);
        assert_eq!(pays(60, &of_another), refused);
        let voucher = line(60).voucher;
        let next = HoldId::of(account(1), AccountNonce::new(1));
        assert_eq!(voucher.pays(OTHER_CHAIN, hold_id(), &hold), refused);
        assert_eq!(voucher.pays(CHAIN, next, &hold), refused);
        let more = Voucher {
            total: Credits::new(61),
            ..voucher
        };
        assert_eq!(more.pays(CHAIN, hold_id(), &hold), refused);
    }
}

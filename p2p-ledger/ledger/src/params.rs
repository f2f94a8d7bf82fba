//! What validators can change about the ledger without a new genesis.
//!
//! ```text
//! registration u8 (0 open, 1 by validators) || block bytes u32 || block receipts u32
//! ```

use crate::wire::{DecodeError, Reader, Write};

/// The largest block there can be, whatever the parameters.
pub const MAX_BLOCK_BYTES: u32 = 8 << 20;

/// The most receipts there can be in a block, whatever the parameters.
pub const MAX_BLOCK_RECEIPTS: u32 = 200_000;

/// Limits and admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Who may register a node.
    pub registration: Registration,
    /// Bytes of a block's body, from 1 MiB + 64 (one transaction of any size) to [`MAX_BLOCK_BYTES`].
    pub block_bytes: u32,
    /// Receipts in a block, from one settlement's to [`MAX_BLOCK_RECEIPTS`].
    pub block_receipts: u32,
}

/// Who may register a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Anybody.
    Open,
    /// Whom a quorum of validators lets in.
    ByValidators,
}

/// Room for the largest transaction, with what frames it.
const MIN_BLOCK_BYTES: u32 = (1 << 20) + 64;
const MIN_BLOCK_RECEIPTS: u32 = 4096;

impl Default for Parameters {
    fn default() -> Self {
        Self {
            registration: Registration::Open,
            block_bytes: 2 << 20,
            block_receipts: 20_000,
        }
    }
}

impl Parameters {
    /// Whether every number is in its range.
    pub fn in_range(&self) -> bool {
        (MIN_BLOCK_BYTES..=MAX_BLOCK_BYTES).contains(&self.block_bytes)
            && (MIN_BLOCK_RECEIPTS..=MAX_BLOCK_RECEIPTS).contains(&self.block_receipts)
    }

    pub(crate) fn write(&self, to: &mut impl Write) {
        to.put_u8(match self.registration {
            Registration::Open => 0,
            Registration::ByValidators => 1,
        });
        to.put_u32(self.block_bytes);
        to.put_u32(self.block_receipts);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let parameters = Self {
            registration: match reader.u8("who may register")? {
                0 => Registration::Open,
                1 => Registration::ByValidators,
                found => {
                    return Err(DecodeError::Unknown {
                        part: "who may register",
                        found: found.into(),
                    });
                }
            },
            block_bytes: reader.u32("a block's bytes")?,
            block_receipts: reader.u32("a block's receipts")?,
        };
        if parameters.in_range() {
            Ok(parameters)
        } else {
            Err(DecodeError::Unknown {
                part: "a block's limits",
                found: parameters.block_bytes.into(),
            })
        }
    }
}

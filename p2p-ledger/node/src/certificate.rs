//! Certificates as nodes need them.

use tally_ledger::{Certificate, Header, State};

/// Whether a certificate makes a block final that follows, somewhere, on `tip` in the epoch that `tip` names.
pub(crate) fn holds(tip: &State, header: &Header, certificate: &[u8]) -> bool {
    header.epoch == tip.next_epoch()
        && Certificate::from_bytes(certificate).is_ok_and(|certificate| {
            certificate
                .verify(tip.chain(), tip.next_validators(), header)
                .is_ok()
        })
}

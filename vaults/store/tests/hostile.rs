//! The peers and writers that the tests of `vaults/sync` try on a copy in memory, tried on a vault on disk.

#[path = "../../sync/tests/common/mod.rs"]
mod common;
mod support;

use common::scenarios::{self, Copies};
use support::Computer;
use support::sim::Sim;
use tally_vault::DiskCopy;
use tally_vault::format::VaultId;

/// Each copy has a disk of its own, and no key.
struct OnDisk;

impl Copies for OnDisk {
    type Copy = DiskCopy;

    fn empty(&mut self, vault: VaultId) -> DiskCopy {
        let computer = Computer::new(1);
        DiskCopy::empty(computer.environment(&Sim::new()), &computer.place, vault)
            .expect("the folder is empty")
    }
}

#[tokio::test]
async fn each_lie_is_named_and_nothing_false_is_kept() {
    scenarios::each_lie_is_named_and_nothing_false_is_kept(&mut OnDisk).await;
}

#[tokio::test(start_paused = true)]
async fn one_changed_byte_anywhere_is_survived() {
    // The tests of `vaults/sync` change any; these lie apart by a prime, and each bit has its turn.
    for at in (0..45_000).step_by(997) {
        let flip = 1 << (at % 8);
        scenarios::one_changed_byte_is_survived(&mut OnDisk, at, flip).await;
    }
}

#[tokio::test]
async fn a_relay_keeps_no_box_of_whoever_may_not_append() {
    scenarios::a_relay_keeps_no_box_of_whoever_may_not_append(&mut OnDisk).await;
}

#[tokio::test]
async fn a_chain_of_grants_in_any_order_of_authors_needs_no_second_session() {
    scenarios::a_chain_of_grants_in_any_order_of_authors_needs_no_second_session(&mut OnDisk).await;
}

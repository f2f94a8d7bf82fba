//! What follows from the control logs for this copy.

use std::collections::{BTreeMap, BTreeSet};

use tally_vault_format::{MemberId, OpId, Right, SealId};
use tally_vault_state::GrantStanding;
use tally_vault_sync::Roster;

use crate::vault::Vault;

/// The roster, and what only a copy on disk asks besides.
#[derive(Default)]
pub(super) struct Authority {
    pub(super) roster: Roster,
    /// The seals of revocations.
    pub(super) revocations: BTreeMap<OpId, SealId>,
    /// Nobody whose key is here may read anything.
    pub(super) is_relay: bool,
}

impl Authority {
    pub(super) fn of(vault: &mut Vault) -> Self {
        let holders: BTreeSet<MemberId> =
            vault.holder.all().iter().map(|one| one.member()).collect();
        let view = vault.fold.view();
        let mut authority = Self {
            roster: Roster::of(&view),
            revocations: BTreeMap::new(),
            is_relay: true,
        };
        for grant in view.grants() {
            if let GrantStanding::Revoked(by) = &grant.standing {
                let places = by
                    .iter()
                    .filter_map(|operation| Some((*operation, view.row(operation)?.seal)));
                authority.revocations.extend(places);
            }
            if holders.contains(&grant.card.member())
                && grant.rights.iter().any(|(_, right)| *right >= Right::Read)
            {
                authority.is_relay = false;
            }
        }
        authority
    }
}

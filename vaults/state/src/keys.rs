//! Epoch keys: which a namespace has, and with which one to write.

use std::collections::{BTreeMap, BTreeSet};

use tally_vault_format::{Card, KeyCommitment, KeyringId, NamespaceId, OpId, Right};

use crate::{
    fold::{Fold, as_u32},
    tables::NONE,
    view::View,
};

/// An epoch key that a valid rotation names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochKeyRow {
    /// Its number: the highest of those under which it stands.
    pub number: u32,
    /// The key.
    pub key: KeyCommitment,
    /// What delivers it: each keyring, the rotation that names it, and whether that rotation was made under a grant that was
    /// revoked since. Ascending.
    pub keyrings: Vec<(KeyringId, OpId, bool)>,
    /// Whether a rotation in full names it: frames of older keys are to be boxed anew under it.
    pub full: bool,
    /// Whether somebody who was removed may have it.
    pub spoiled: bool,
}

/// What a keyring at hand gives to whom, as everybody can read in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Whether it has a recipient that is not among the [`readers`](View::readers).
    pub to_strangers: bool,
    /// The older keys that come with its key.
    pub older: Vec<KeyCommitment>,
}

/// The keys of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceKeys {
    /// Whose.
    pub namespace: NamespaceId,
    /// Ascending by (number, commitment).
    pub keys: Vec<EpochKeyRow>,
    /// The place in `keys` of the one to write with: the greatest unspoiled, or the greatest of all. None without keys.
    pub write_with: Option<usize>,
    /// The number for the next key; none if there is no greater number. Then a revocation that cuts off the rotation which
    /// took the last number helps.
    pub next_number: Option<u32>,
}

impl NamespaceKeys {
    /// The number below which keys are to be dropped, each store once it has boxed all it holds anew: that of the newest
    /// unspoiled key of a rotation in full.
    #[must_use]
    pub fn dropped_below(&self) -> Option<u32> {
        self.keys
            .iter()
            .rev()
            .find(|key| key.full && !key.spoiled)
            .map(|key| key.number)
    }

    /// Whether an admin has to rotate: every key may be known to somebody who was removed.
    #[must_use]
    pub fn is_spoiled(&self) -> bool {
        self.write_with.is_some_and(|at| self.keys[at].spoiled)
    }
}

impl Fold {
    /// Whether one of the grants under which an operation counts is revoked.
    fn is_under_revoked(&self, op: u32) -> bool {
        self.carriers(op).iter().any(|&seal| {
            let grant = self.seals[seal as usize].grant;
            self.standings[grant as usize].is_revoked() && self.judge(op, grant).is_ok()
        })
    }
}

impl View<'_> {
    /// Namespaces that a valid rotation names, ascending.
    #[must_use]
    pub fn namespaces(&self) -> Vec<NamespaceId> {
        let fold = &self.fold;
        let mut namespaces: Vec<NamespaceId> = fold
            .rotations
            .iter()
            .filter(|row| fold.ops[row.op as usize].counts)
            .map(|row| fold.namespace_id(row.namespace))
            .collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        namespaces
    }

    /// The keys of a namespace. `delivery` says what a keyring does that is at hand and fits its rotation; of others, none.
    #[must_use]
    pub fn keys(
        &self,
        namespace: &NamespaceId,
        mut delivery: impl FnMut(&KeyringId) -> Option<Delivery>,
    ) -> NamespaceKeys {
        let fold = &self.fold;
        let index = fold.namespaces.get(&namespace.0).unwrap_or(NONE);
        let mut found: BTreeMap<KeyCommitment, EpochKeyRow> = BTreeMap::new();
        let mut spoiled = BTreeSet::new();
        for row in &fold.rotations {
            if row.namespace != index || !fold.ops[row.op as usize].counts {
                continue;
            }
            let key = found.entry(row.key).or_insert_with(|| EpochKeyRow {
                number: 0,
                key: row.key,
                keyrings: Vec::new(),
                full: false,
                spoiled: false,
            });
            let revoked = fold.is_under_revoked(row.op);
            key.number = key.number.max(row.number);
            key.full |= row.full;
            let delivery = delivery(&row.keyring).unwrap_or_default();
            if revoked || delivery.to_strangers {
                spoiled.insert(row.key);
                spoiled.extend(delivery.older);
            }
            key.keyrings
                .push((row.keyring, fold.op_id(row.op), revoked));
        }
        let mut keys: Vec<EpochKeyRow> = found.into_values().collect();
        for key in &mut keys {
            key.spoiled = spoiled.contains(&key.key);
            key.keyrings.sort_unstable();
        }
        keys.sort_unstable_by_key(|key| (key.number, key.key));
        let unspoiled = keys.iter().rposition(|key| !key.spoiled);
        let write_with = unspoiled.or_else(|| keys.len().checked_sub(1));
        let next_number = unspoiled.map_or(0, |at| keys[at].number).checked_add(1);
        NamespaceKeys {
            namespace: *namespace,
            keys,
            write_with,
            next_number,
        }
    }

    /// To whom the keys of a namespace go: the root, and the subjects of valid grants that nobody revoked with at least read
    /// there. Ascending by member; one member with two receiving keys stands twice.
    #[must_use]
    pub fn readers(&self, namespace: &NamespaceId) -> Vec<Card> {
        let fold = &self.fold;
        let index = fold
            .namespaces
            .get(&namespace.0)
            .unwrap_or(crate::fold::ALL);
        let mut readers: Vec<Card> = (0..as_u32(fold.grants.len()))
            .filter(|&grant| {
                let standing = &fold.standings[grant as usize];
                standing.valid
                    && !standing.is_revoked()
                    && fold.right_under(grant, index) >= Some(Right::Read)
            })
            .filter_map(|grant| fold.grants[grant as usize].card)
            .collect();
        readers.sort_unstable_by_key(|card| (card.member(), card.receive(), card.kind()));
        readers.dedup_by_key(|card| (card.member(), card.receive()));
        readers
    }
}

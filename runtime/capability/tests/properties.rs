//! What holds for every manifest and every grant.

mod common;

use common::{COMPONENT, budgets, capabilities, grants, manifest};
use proptest::prelude::*;
use tally_capability::{
    Access, Ask, Budgets, Capabilities, Effective, Grant, Limits, Manifest, Moment,
};

const NAMES: [&str; 7] = ["a", "b", "c", "d", "é", "q\"\\", "never-listed"];

fn asks() -> Vec<Ask<'static>> {
    let mut asks = vec![Ask::Random, Ask::Output];
    for name in NAMES {
        asks.extend([Ask::Model(name), Ask::Tool(name), Ask::Setting(name)]);
        asks.extend(Access::ALL.map(|access| Ask::Vault(access, name)));
    }
    asks
}

fn holds(capabilities: &Capabilities, ask: Ask<'_>) -> bool {
    match ask {
        Ask::Model(name) => capabilities.models.contains(name),
        Ask::Tool(name) => capabilities.tools.contains(name),
        Ask::Setting(name) => capabilities.settings.contains(name),
        Ask::Vault(access, name) => capabilities.vault.at(access).contains(name),
        Ask::Random => capabilities.random,
        Ask::Output => capabilities.output,
    }
}

fn within(limits: &Limits, budgets: &Budgets) -> bool {
    let limits = limits.to_named();
    budgets.to_named().iter().all(|(key, most)| {
        limits
            .iter()
            .any(|(known, amount)| known == key && amount <= most)
    })
}

fn at_most(a: &Limits, b: &Limits) -> bool {
    a.to_named()
        .iter()
        .zip(b.to_named())
        .all(|((_, a), (_, b))| *a <= b)
}

proptest! {
    #[test]
    fn effective_is_exactly_what_both_sides_hold(
        asked in capabilities(), stated in budgets(), grant in grants(), now in 0..4_000_000_000u64,
    ) {
        let manifest = manifest(&asked, &stated);
        let now = Moment::from_epoch_seconds(now);
        let effective = Effective::resolve(&manifest, &grant, &COMPONENT).unwrap();
        let alive = grant.expires().is_none_or(|expires| now < expires);
        for ask in asks() {
            prop_assert_eq!(
                effective.decide(ask, now).is_allowed(),
                alive && holds(&asked, ask) && holds(grant.capabilities(), ask),
                "{:?}", ask
            );
        }
        prop_assert!(within(effective.limits(), &stated));
        prop_assert!(within(effective.limits(), grant.budgets()));
    }

    #[test]
    fn narrowing_a_grant_never_allows_more(
        asked in capabilities(), stated in budgets(), grant in grants(), other in grants(), now in 0..4_000_000_000u64,
    ) {
        let manifest = manifest(&asked, &stated);
        let now = Moment::from_epoch_seconds(now);
        let narrow = grant.narrow(&other).unwrap();
        let wide = Effective::resolve(&manifest, &grant, &COMPONENT).unwrap();
        let narrow = Effective::resolve(&manifest, &narrow, &COMPONENT).unwrap();
        for ask in asks() {
            prop_assert!(!narrow.decide(ask, now).is_allowed() || wide.decide(ask, now).is_allowed(), "{:?}", ask);
        }
        prop_assert!(at_most(narrow.limits(), wide.limits()));
    }

    #[test]
    fn narrowing_the_manifest_never_allows_more(
        asked in capabilities(), fewer in capabilities(), stated in budgets(), less in budgets(), grant in grants(),
    ) {
        let now = Moment::from_epoch_seconds(0);
        let wide = Effective::resolve(&manifest(&asked, &stated), &grant, &COMPONENT).unwrap();
        let narrow = manifest(&asked.intersect(&fewer), &stated.narrow(&less));
        let narrow = Effective::resolve(&narrow, &grant, &COMPONENT).unwrap();
        for ask in asks() {
            prop_assert!(!narrow.decide(ask, now).is_allowed() || wide.decide(ask, now).is_allowed(), "{:?}", ask);
        }
        prop_assert!(at_most(narrow.limits(), wide.limits()));
    }

    #[test]
    fn narrowing_does_not_care_about_order(grant in grants(), other in grants()) {
        prop_assert_eq!(grant.narrow(&other).unwrap(), other.narrow(&grant).unwrap());
        prop_assert_eq!(grant.narrow(&grant).unwrap(), grant);
    }

    #[test]
    fn the_canonical_form_reads_back(grant in grants(), asked in capabilities(), stated in budgets()) {
        let json = grant.to_canonical_json();
        let read = Grant::from_bytes(&json).unwrap();
        prop_assert_eq!(&read, &grant);
        prop_assert_eq!(read.to_canonical_json(), json);
        let manifest = manifest(&asked, &stated);
        let json = manifest.to_canonical_json();
        prop_assert_eq!(Manifest::from_json(&json).unwrap().to_canonical_json(), json);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..200usize, byte: u8) {
        let _ = Grant::from_bytes(&bytes);
        let _ = Manifest::from_json(&bytes);
        // One byte changed in something that nearly holds.
        let mut near = common::MANIFEST.as_bytes().to_vec();
        let at = at % near.len();
        near[at] = byte;
        if let Ok(text) = str::from_utf8(&near) {
            let _ = Manifest::from_toml(text);
        }
    }
}

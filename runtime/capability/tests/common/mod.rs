//! Manifests, grants and strategies for tests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use proptest::prelude::*;
use tally_capability::{
    Budgets, Bytes, Capabilities, Fuel, Grant, Manifest, Millis, Moment, Name, Names, Namespaces,
    Tokens,
};

pub const COMPONENT: [u8; 32] = [7; 32];
pub const NOW: Moment = Moment::from_epoch_seconds(1_800_000_000);

pub const MANIFEST: &str = r#"
name = "planner"
version = "0.1.0"
description = "Plans a day."

[capabilities]
models = ["seed", "nano"]
tools = ["clock"]
settings = ["lang"]
output = true

[budgets]
tokens = 4000
"#;

pub const GRANT: &str = r#"
expires = 2027-06-01T00:00:00Z

[capabilities]
models = ["*"]
random = true
output = true

[budgets]
tokens = 9000
wall-ms = 1000
"#;

pub fn manifest(capabilities: &Capabilities, budgets: &Budgets) -> Manifest {
    let grant = Grant::new(capabilities.clone(), *budgets);
    let json = String::from_utf8(grant.to_canonical_json()).unwrap();
    let json = json.replacen(
        "\"format\":1",
        "\"format\":1,\"name\":\"a\",\"version\":\"1\"",
        1,
    );
    Manifest::from_json(json.as_bytes()).unwrap()
}

fn names() -> impl Strategy<Value = Names> {
    prop_oneof![
        1 => Just(Names::All),
        4 => prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d", "é", "q\"\\"]), 0..4)
            .prop_map(|names| Names::only(names.into_iter().map(|name| Name::new(name).unwrap()))),
    ]
}

pub fn capabilities() -> impl Strategy<Value = Capabilities> {
    let vault = (names(), names(), names())
        .prop_map(|(read, append, curate)| Namespaces::new(read, append, curate));
    (
        names(),
        names(),
        names(),
        vault,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(models, tools, settings, vault, random, output)| Capabilities {
                models,
                tools,
                settings,
                vault,
                random,
                output,
            },
        )
}

pub fn budgets() -> impl Strategy<Value = Budgets> {
    let amount = || prop::option::of(0..=u64::try_from(i64::MAX).unwrap());
    (amount(), amount(), amount(), amount()).prop_map(|(fuel, memory, wall, tokens)| Budgets {
        fuel: fuel.map(Fuel::new),
        memory: memory.map(Bytes::new),
        wall: wall.map(Millis::new),
        tokens: tokens.map(Tokens::new),
        ..Budgets::default()
    })
}

pub fn grants() -> impl Strategy<Value = Grant> {
    let expires = prop::option::of(0..4_000_000_000u64);
    (capabilities(), budgets(), expires, any::<bool>()).prop_map(
        |(capabilities, budgets, expires, bound)| {
            let mut grant = Grant::new(capabilities, budgets);
            if let Some(expires) = expires {
                grant = grant.until(Moment::from_epoch_seconds(expires));
            }
            if bound {
                grant = grant.only_for(COMPONENT).unwrap();
            }
            grant
        },
    )
}

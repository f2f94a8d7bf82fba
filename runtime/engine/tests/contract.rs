//! The effect table and the contract name the same functions, and a guest's surroundings are a function of its journal.

mod common;

use common::*;
use std::collections::BTreeSet;
use tally_engine::effects::{Durability, EFFECTS, EffectClass, find};

/// Every function of the interfaces that an agent or a tool imports, read from the WIT itself.
fn contract() -> BTreeSet<String> {
    let wit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let mut text = String::new();
    for file in std::fs::read_dir(wit).unwrap() {
        let file = std::fs::read_to_string(file.unwrap().path()).unwrap();
        // Comments go first, so that none is taken for a function.
        text.extend(
            file.lines()
                .map(|line| format!("{}\n", line.split("//").next().unwrap())),
        );
    }
    let imported: BTreeSet<&str> = text
        .split_whitespace()
        .zip(text.split_whitespace().skip(1))
        .filter(|(word, _)| *word == "import")
        .map(|(_, name)| name.trim_end_matches(';'))
        .collect();
    let (mut interface, mut resource) = ("", None);
    let mut functions = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("interface ") {
            interface = name.trim_end_matches('{').trim();
        } else if let Some(name) = line.strip_prefix("resource ") {
            resource = Some(name.trim_end_matches('{').trim());
        } else if line == "}" {
            resource = None;
        } else if let Some((name, _)) = line.split_once(": func(") {
            assert!(
                imported.contains(interface) || interface == "handler",
                "{interface} is imported by nobody"
            );
            let name = name.trim_start_matches('%');
            let function = resource.map_or(name.to_owned(), |resource| {
                format!("[method]{resource}.{name}")
            });
            if imported.contains(interface) {
                functions.insert(format!("tally:agent/{interface}@0.1.0#{function}"));
            }
        }
    }
    assert!(functions.len() > 10, "{functions:?}");
    functions
}

#[test]
fn every_function_of_the_contract_has_a_row_and_every_row_a_function() {
    let rows: BTreeSet<String> = EFFECTS
        .iter()
        .map(|effect| effect.name.to_owned())
        .filter(|name| name.starts_with("tally:"))
        .collect();
    assert_eq!(rows, contract());
    assert_eq!(
        EFFECTS.len(),
        EFFECTS
            .iter()
            .map(|effect| effect.name)
            .collect::<BTreeSet<_>>()
            .len()
    );
}

#[test]
fn rows_are_consistent() {
    for effect in EFFECTS {
        assert!(std::ptr::eq(find(effect.name).unwrap(), *effect));
        if effect.class == EffectClass::WriteRemote {
            assert_eq!(
                effect.durability,
                Durability::SyncBeforeLeaving,
                "{}",
                effect.name
            );
        }
    }
}

#[tokio::test]
async fn two_runs_with_the_same_answers_are_the_same_run() {
    for command in ["hash-order", "std-time", "nan", "two", "every-call name"] {
        let (a, b) = (run(command).await, run(command).await);
        assert_eq!(reply(&a), reply(&b), "{command}");
        assert_eq!(a.head, b.head, "{command}");
    }
}

#[tokio::test]
async fn chance_and_time_of_a_stock_build_come_from_the_journal() {
    let orders: BTreeSet<String> = {
        let mut orders = BTreeSet::new();
        for run in 0..4 {
            let mut start = start("hash-order");
            start.services.entropy = std::sync::Arc::new(tally_engine::SystemEntropy);
            let report = ENGINE.run(&plan("").await, start).await.unwrap();
            assert!(replay(&report).await.is_identical(), "run {run}");
            orders.insert(reply(&report).to_owned());
        }
        orders
    };
    assert!(orders.len() > 1, "each run has its own seed");
    let report = run("std-time").await;
    let (slept, now) = reply(&report).split_once(' ').unwrap();
    assert_eq!(slept, "3600", "sleeping takes no time and moves the clock");
    let base = journal(&report).genesis().clock_base;
    let now: u128 = now.parse().unwrap();
    assert_eq!(now / 1_000_000_000, u128::from(base.seconds() + 3600));
}

#[tokio::test]
async fn a_stock_build_reaches_nothing_of_the_outside() {
    assert_eq!(
        reply(&run("std-outside").await),
        "args 0 vars 0 file true socket true"
    );
}

#[tokio::test]
async fn not_a_number_is_one_number() {
    assert_eq!(
        reply(&run("nan").await),
        "7ff8000000000000 7ff8000000000000 7fc00000"
    );
}

#[tokio::test]
async fn what_is_printed_goes_to_the_log() {
    let screen = Screen::default();
    let mut start = start("print words");
    start.output = Box::new(screen.clone());
    ENGINE.run(&plan("").await, start).await.unwrap();
    let log: Vec<_> = screen
        .log
        .lock()
        .unwrap()
        .iter()
        .map(|(_, _, line)| line.clone())
        .collect();
    assert_eq!(log, ["printed words", "complained words"]);
}

#[tokio::test]
async fn generations_are_pulled_in_turn() {
    assert_eq!(reply(&run("two").await), "axbycz");
    assert_eq!(reply(&run("cancel").await), "true");
    assert!(reply(&run("receipt").await).starts_with("true "));
}

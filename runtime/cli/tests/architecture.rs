//! What ARCHITECTURE.md says of the crates is so.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use support::checkout;

fn read(path: &str) -> String {
    let path = checkout().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folders of the workspace's crates.
fn folders() -> Vec<String> {
    let workspace = read("Cargo.toml");
    let (_, members) = workspace.split_once("members = [").expect("it has members");
    let (members, _) = members.split_once(']').expect("the list ends");
    members
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","))
        .map(str::to_owned)
        .collect()
}

/// Which crates of ours each one uses, by its manifest.
fn used() -> BTreeMap<String, BTreeSet<String>> {
    let manifests: Vec<(String, String)> = folders()
        .into_iter()
        .map(|folder| {
            let manifest = read(&format!("{folder}/Cargo.toml"));
            (folder, manifest)
        })
        .collect();
    let folder_of: BTreeMap<&str, &str> = manifests
        .iter()
        .map(|(folder, manifest)| {
            let name = manifest
                .lines()
                .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
                .expect("a crate has a name");
            (name, folder.as_str())
        })
        .collect();
    let used = |manifest: &str| {
        let mut is_used = false;
        let mut found = BTreeSet::new();
        for line in manifest.lines() {
            if line.starts_with('[') {
                is_used = line == "[dependencies]"
                    || (line.starts_with("[target.") && line.ends_with(".dependencies]"));
            } else if is_used
                && let Some(name) = line.split(['.', ' ', '=']).next()
                && let Some(folder) = folder_of.get(name)
            {
                found.insert((*folder).to_owned());
            }
        }
        found
    };
    manifests
        .iter()
        .map(|(folder, manifest)| (folder.clone(), used(manifest)))
        .collect()
}

/// The same by the page, in its order.
fn said(page: &str) -> Vec<(String, BTreeSet<String>)> {
    let list = page
        .split("```")
        .find(|part| part.starts_with("text\n") && part.contains("→  none"))
        .expect("the page says what each crate uses");
    let mut said: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in list.lines().skip(1) {
        let mut uses = line;
        if let Some((name, rest)) = line.split_once('→') {
            said.push((name.trim().to_owned(), BTreeSet::new()));
            uses = rest;
        }
        let (_, found) = said.last_mut().expect("the first line names a crate");
        let words = uses.split([' ', ',']).filter(|word| word.contains('/'));
        found.extend(words.map(str::to_owned));
    }
    said
}

#[test]
fn each_crate_uses_what_the_page_says_and_only_what_stands_above_it() {
    let said = said(&read("ARCHITECTURE.md"));
    let mut above = BTreeSet::new();
    for (folder, uses) in &said {
        let below: Vec<_> = uses.difference(&above).collect();
        assert!(
            below.is_empty(),
            "{folder} uses what stands below: {below:?}"
        );
        above.insert(folder.clone());
    }
    let used = used();
    for (folder, uses) in &said {
        assert_eq!(used.get(folder), Some(uses), "{folder} by its manifest");
    }
    let named: Vec<&String> = used.keys().collect();
    assert_eq!(named, above.iter().collect::<Vec<_>>());
}

#[test]
fn each_crate_is_on_the_map_and_each_file_that_the_page_names_is_there() {
    let page = read("ARCHITECTURE.md");
    for folder in folders() {
        let begin = format!("{folder}/ ");
        let is_there = page.lines().any(|line| line.starts_with(&begin));
        assert!(is_there, "{folder} is not on the map");
    }
    let places = [
        "docs",
        "memsync",
        "p2p-ledger",
        "receipts",
        "runtime",
        "vaults",
    ];
    for named in page.split('`').skip(1).step_by(2) {
        let is_file = named.split_once('/').is_some_and(|(place, rest)| {
            places.contains(&place) && [".rs", ".md"].iter().any(|end| rest.ends_with(end))
        });
        let is_there = !is_file || checkout().join(named).is_file();
        assert!(is_there, "{named} is named and not there");
    }
}

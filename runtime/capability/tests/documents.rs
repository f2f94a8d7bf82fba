//! What a manifest and a grant may say, and what is refused.

mod common;

use common::{GRANT, MANIFEST};
use tally_capability::{DocumentError, Grant, MAX_DOCUMENT_LEN, Manifest, Names, World};

fn refused(text: &str) -> String {
    Manifest::from_toml(text).unwrap_err().to_string()
}

/// A manifest with one more line inside a table or at the top.
fn with(table: &str, line: &str) -> String {
    if table.is_empty() {
        format!("{line}\n{MANIFEST}")
    } else {
        MANIFEST.replacen(&format!("[{table}]"), &format!("[{table}]\n{line}"), 1)
    }
}

#[test]
fn reads_what_an_author_writes() {
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    assert_eq!(
        (manifest.name().as_str(), manifest.world()),
        ("planner", World::Agent)
    );
    assert!(manifest.capabilities().models.contains("nano"));
    assert!(!manifest.capabilities().random);
    assert_eq!(
        manifest.budgets().tokens.map(|tokens| tokens.get()),
        Some(4000)
    );
}

#[test]
fn an_unknown_key_is_named_with_the_known_one_it_resembles() {
    assert_eq!(
        refused(&with("capabilities", "model = ['x']")),
        "`capabilities.model` means nothing here: did you mean `models`?"
    );
    assert_eq!(
        refused(&with("budgets", "memory_bytes = 1")),
        "`budgets.memory_bytes` means nothing here: did you mean `memory-bytes`?"
    );
    assert_eq!(
        refused(&with("budgets", "zeal = 1")),
        "`budgets.zeal` means nothing here"
    );
    assert_eq!(
        refused(&with("", "vesion = '1'")),
        "`vesion` means nothing here: did you mean `version`?"
    );
}

#[test]
fn values_of_the_wrong_kind_are_named() {
    assert_eq!(
        refused(&with("budgets", "fuel = -1")),
        "`budgets.fuel` must be a whole number from 0 to 9223372036854775807"
    );
    assert_eq!(
        refused(&with("budgets", "fuel = 1.5")),
        "`budgets.fuel` must be a whole number from 0 to 9223372036854775807"
    );
    assert_eq!(
        refused(&with("capabilities", "random = 'yes'")),
        "`capabilities.random` must be true or false"
    );
    assert_eq!(
        refused("capabilities = 1\nname='a'\nversion='1'"),
        "`capabilities` must be a table"
    );
    assert_eq!(refused("version = '1'"), "`name` is missing");
}

#[test]
fn names_that_could_mislead_are_refused() {
    for (line, expected) in [
        (
            "models = ['*', 'x']",
            "`capabilities.models`: `*` already means every name",
        ),
        (
            "models = ['x', 'x']",
            "`capabilities.models`: `x` is listed twice",
        ),
        (
            "models = ['a*']",
            "`capabilities.models`: \"a*\" is not a name",
        ),
        ("models = ['']", "`capabilities.models`: \"\" is not a name"),
        (
            "models = ['a b']",
            "`capabilities.models`: \"a b\" is not a name",
        ),
        (
            "models = \"x\"",
            "`capabilities.models` must be a list of names, or [\"*\"] for all",
        ),
    ] {
        let text = MANIFEST.replacen("models = [\"seed\", \"nano\"]", line, 1);
        let found = refused(&text);
        assert!(found.starts_with(expected), "{found}");
    }
    assert!(refused("name = '../x'\nversion = '1'").contains("use letters, digits"));
    let many = (0..300)
        .map(|i| format!("'{i}'"))
        .collect::<Vec<_>>()
        .join(",");
    assert!(
        refused(&MANIFEST.replacen("\"clock\"", &many, 1))
            .contains("lists 300 names and may list 256")
    );
}

#[test]
fn a_tool_cannot_ask_for_what_its_world_does_not_import() {
    assert!(refused(&with("", "world = 'tool'")).contains("the world `tool` does not import it"));
    let tool = Manifest::from_toml("name = 'clock'\nversion = '1'\nworld = 'tool'").unwrap();
    assert_eq!(tool.world(), World::Tool);
    assert!(refused("name = 'a'\nversion = '1'\nworld = 'other'").contains("`agent` or `tool`"));
}

#[test]
fn files_of_a_later_version_are_named_as_such() {
    assert!(refused(&with("", "format = 2")).contains("version 2 is not known"));
    assert!(refused(&with("", "contract = '0.9.0'")).contains("made for tally:agent@0.9.0"));
}

#[test]
fn a_key_twice_is_refused_in_both_languages() {
    assert!(
        matches!(Grant::from_json(br#"{"expires":"2027-01-01T00:00:00Z","expires":"2028-01-01T00:00:00Z"}"#),
        Err(DocumentError::Syntax { detail, .. }) if detail.contains("there twice"))
    );
    assert!(matches!(
        Grant::from_toml("a = 1\na = 2"),
        Err(DocumentError::Syntax { .. })
    ));
}

#[test]
fn too_much_or_broken_input_is_refused_without_effort() {
    let long = vec![b' '; MAX_DOCUMENT_LEN + 1];
    assert!(matches!(
        Manifest::from_json(&long),
        Err(DocumentError::TooLong { .. })
    ));
    assert!(matches!(
        Grant::from_bytes(b"\xff\xfe"),
        Err(DocumentError::NotUtf8)
    ));
    assert!(matches!(
        Manifest::from_json(b"\xff"),
        Err(DocumentError::NotUtf8)
    ));
    let deep = "[".repeat(30_000);
    assert!(matches!(
        Manifest::from_json(deep.as_bytes()),
        Err(DocumentError::Syntax { .. })
    ));
    assert!(Manifest::from_toml(&format!("a = {deep}")).is_err());
    assert!(matches!(
        Manifest::from_json(b"[]"),
        Err(DocumentError::WrongKind { .. })
    ));
    assert!(Grant::from_json(b"{} {}").is_err());
}

#[test]
fn a_grant_reads_alike_in_both_languages() {
    let toml = Grant::from_bytes(GRANT.as_bytes()).unwrap();
    let json = Grant::from_bytes(
        br#" {"capabilities":{"models":["*"],"output":true,"random":true},"budgets":{"wall-ms":1000,"tokens":9000},
            "expires":"2027-06-01T00:00:00Z"}"#,
    )
    .unwrap();
    assert_eq!(toml, json);
    assert_eq!(toml.capabilities().models, Names::All);
}

#[test]
fn a_moment_may_be_written_as_toml_writes_one_but_only_in_utc_seconds() {
    for text in [
        "expires = 2027-06-01",
        "expires = 2027-06-01T00:00:00",
        "expires = 2027-06-01T00:00:00+01:00",
    ] {
        assert!(
            matches!(Grant::from_toml(text), Err(DocumentError::Value { key, .. }) if key == "expires"),
            "{text}"
        );
    }
}

#[test]
fn a_component_is_named_by_64_lower_case_digits() {
    for text in [
        "",
        "00",
        &"0A".repeat(32),
        &"zz".repeat(32),
        &"00".repeat(33),
    ] {
        assert!(
            Grant::from_toml(&format!("component = '{text}'")).is_err(),
            "{text}"
        );
    }
    let grant = Grant::from_toml(&format!("component = '{}'", "0a".repeat(32))).unwrap();
    assert_eq!(grant.component(), Some(&[10; 32]));
}

/// These bytes are hashed and signed: changing them changes every digest, which is a decision.
#[test]
fn the_canonical_form_is_this() {
    assert_eq!(
        String::from_utf8(Manifest::from_toml(MANIFEST).unwrap().to_canonical_json()).unwrap(),
        concat!(
            r#"{"budgets":{"tokens":4000},"capabilities":{"models":["nano","seed"],"output":true,"random":false,"#,
            r#""settings":["lang"],"tools":["clock"],"vault-append":[],"vault-curate":[],"vault-read":[]},"contract":"0.1.0","description":"Plans a day.","format":1,"#,
            r#""name":"planner","version":"0.1.0","world":"agent"}"#
        )
    );
    assert_eq!(
        String::from_utf8(Grant::from_toml(GRANT).unwrap().to_canonical_json()).unwrap(),
        concat!(
            r#"{"budgets":{"tokens":9000,"wall-ms":1000},"capabilities":{"models":["*"],"output":true,"random":true,"#,
            r#""settings":[],"tools":[],"vault-append":[],"vault-curate":[],"vault-read":[]},"expires":"2027-06-01T00:00:00Z","format":1}"#
        )
    );
}

#[test]
fn the_page_states_the_defaults_that_hold() {
    let page = include_str!("../../../docs/manifest.md");
    let rows: Vec<(String, u64)> = page
        .lines()
        .filter_map(|row| row.strip_prefix("| `"))
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            (
                cells[0].trim_end_matches('`').to_owned(),
                cells[2].replace(',', "").parse().unwrap(),
            )
        })
        .collect();
    let mut rows: Vec<_> = rows
        .iter()
        .map(|(key, amount)| (key.as_str(), *amount))
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, tally_capability::DEFAULT_LIMITS.to_named());
}

#[test]
fn the_page_shows_files_that_read() {
    let page = include_str!("../../../docs/manifest.md");
    let mut blocks = page
        .split("```toml\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap());
    let manifest = Manifest::from_toml(blocks.next().unwrap()).unwrap();
    assert_eq!(manifest.name().as_str(), "planner");
    let digest = "5f".repeat(32);
    let grant = Grant::from_toml(&blocks.next().unwrap().replace("5f0c…", &digest)).unwrap();
    assert_eq!(
        grant.expires().map(|at| at.to_string()).as_deref(),
        Some("2026-12-31T00:00:00Z")
    );
    let json = page
        .split("```json\n")
        .nth(1)
        .unwrap()
        .split('\n')
        .next()
        .unwrap();
    assert_eq!(
        Manifest::from_json(json.as_bytes())
            .unwrap()
            .to_canonical_json(),
        json.as_bytes()
    );
}

/// The manifests of the project's own agents and templates.
#[test]
fn the_projects_own_manifests_read() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut read = 0;
    for folder in ["sample-agents", "runtime/cli/templates", "plugins"] {
        for project in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = project.unwrap().path().join("tally.toml");
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            let manifest = Manifest::from_toml(&text.replace("{{name}}", "new"));
            assert!(
                manifest.is_ok(),
                "{}: {}",
                path.display(),
                manifest.unwrap_err()
            );
            read += 1;
        }
    }
    assert!(read >= 6, "{read} manifests were found");
}

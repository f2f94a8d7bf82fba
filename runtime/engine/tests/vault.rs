//! The vault as a guest sees it: bounded by manifest and grant, journaled, made durable before it is written, and not
//! touched by a replay.

mod common;

use common::*;
use std::sync::{Arc, Mutex};
use tally_capability::Access;
use tally_engine::contract::{Datetime, Error, VaultDraft, VaultItem, VaultPage};
use tally_engine::{BoxFuture, Grant, Plan, ReplayOptions, RunReport, Vault, VaultQuery};
use tally_journal::{Body, Decision, EntryHash};

/// A vault of one namespace in memory, which notes what it is asked.
#[derive(Default)]
struct Shelf {
    items: Mutex<Vec<VaultItem>>,
    runs: Mutex<Vec<Option<EntryHash>>>,
    curate: Mutex<Vec<bool>>,
}

fn id(number: usize) -> String {
    format!("{number:064x}")
}

impl Shelf {
    fn put(&self, draft: &VaultDraft, run: Option<EntryHash>) -> String {
        let mut items = self.items.lock().unwrap();
        let id = id(items.len() + 1);
        self.runs.lock().unwrap().push(run);
        items.push(VaultItem {
            id: id.clone(),
            lineage: id.clone(),
            type_: draft.type_.clone(),
            content: draft.content.clone(),
            author: "ab".repeat(32),
            written: Datetime {
                seconds: 1,
                nanoseconds: 0,
            },
            run: None,
            receipt: draft.receipt.clone(),
            conflicts: Vec::new(),
        });
        id
    }
}

impl Vault for Shelf {
    fn namespaces<'a>(&'a self) -> BoxFuture<'a, Result<Vec<(String, Access)>, Error>> {
        Box::pin(async {
            Ok(vec![
                ("diary".into(), Access::Append),
                ("health".into(), Access::Curate),
            ])
        })
    }

    fn list<'a>(&'a self, query: VaultQuery) -> BoxFuture<'a, Result<VaultPage, Error>> {
        Box::pin(async move {
            let items = self.items.lock().unwrap();
            let some: Vec<_> = items
                .iter()
                .filter(|item| item.type_.starts_with(&query.type_prefix))
                .take(query.limit)
                .cloned()
                .collect();
            let next = (some.len() < items.len())
                .then(|| some.last().map(|item| item.id.clone()))
                .flatten();
            Ok(VaultPage { items: some, next })
        })
    }

    fn get<'a>(
        &'a self,
        _namespace: String,
        id: String,
    ) -> BoxFuture<'a, Result<Option<VaultItem>, Error>> {
        Box::pin(async move {
            let items = self.items.lock().unwrap();
            Ok(items.iter().find(|item| item.id == id).cloned())
        })
    }

    fn append<'a>(
        &'a self,
        _namespace: String,
        drafts: Vec<VaultDraft>,
        run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        Box::pin(async move { Ok(drafts.iter().map(|draft| self.put(draft, run)).collect()) })
    }

    fn supersede<'a>(
        &'a self,
        _namespace: String,
        _targets: Vec<String>,
        draft: VaultDraft,
        run: Option<EntryHash>,
        curate: bool,
    ) -> BoxFuture<'a, Result<String, Error>> {
        Box::pin(async move {
            self.curate.lock().unwrap().push(curate);
            Ok(self.put(&draft, run))
        })
    }

    fn retract<'a>(
        &'a self,
        _namespace: String,
        _targets: Vec<String>,
        _reason: String,
        _run: Option<EntryHash>,
        curate: bool,
    ) -> BoxFuture<'a, Result<String, Error>> {
        Box::pin(async move {
            self.curate.lock().unwrap().push(curate);
            Ok(id(99))
        })
    }
}

async fn with(vault: Arc<dyn Vault>, capabilities: &str, command: &str) -> RunReport {
    let grant =
        Grant::from_json(format!(r#"{{"format":1,"capabilities":{{{capabilities}}}}}"#).as_bytes())
            .unwrap();
    let plan = Plan::new(&ENGINE, &AGENT, &grant, Vec::new(), [].into()).unwrap();
    let mut start = start(command);
    start.services.vault = vault;
    ENGINE.run(&plan, start).await.unwrap()
}

async fn shelf(capabilities: &str, command: &str) -> RunReport {
    with(Arc::new(Shelf::default()), capabilities, command).await
}

#[tokio::test]
async fn an_agent_writes_corrects_hides_and_reads_and_a_replay_needs_no_vault() {
    let vault = Arc::new(Shelf::default());
    let report = with(vault.clone(), r#""vault-append":["diary"]"#, "vault-story").await;
    assert_eq!(reply(&report), "1 true true");
    assert_eq!(
        *vault.curate.lock().unwrap(),
        [false, false],
        "appending is not curating"
    );
    let runs = vault.runs.lock().unwrap().clone();
    assert_eq!(runs.len(), 3);
    let parsed = journal(&report);
    let first = parsed.entries().next().expect("a journal begins");
    assert!(
        runs.iter().all(|run| *run == Some(first.hash)),
        "each names the run by the first entry of its journal"
    );
    let again = ENGINE
        .replay(
            &journal(&report),
            &AGENT,
            Vec::new(),
            ReplayOptions::default(),
        )
        .await
        .unwrap();
    assert!(again.is_identical(), "{again:?}");
    assert_eq!(
        vault.items.lock().unwrap().len(),
        3,
        "the replay wrote nothing"
    );
}

#[tokio::test]
async fn a_write_is_announced_before_it_happens_and_a_read_is_not() {
    let report = shelf(r#""vault-append":["diary"]"#, "vault-append diary a,b").await;
    assert_eq!(reply(&report), format!("Ok([{:?}, {:?}])", id(1), id(2)));
    let intents = |report: &RunReport| {
        journal(report)
            .entries()
            .filter(|entry| matches!(entry.body, Body::Intent(_)))
            .count()
    };
    assert_eq!(intents(&report), 1);
    let report = shelf(r#""vault-read":["diary"]"#, "vault-list diary").await;
    assert_eq!((reply(&report), intents(&report)), ("", 0));
}

#[tokio::test]
async fn a_namespace_that_is_not_granted_is_refused_and_the_vault_is_not_asked() {
    for (capabilities, command, reason) in [
        (
            "",
            "vault-list diary",
            "reading the namespace \"diary\" is not granted",
        ),
        (
            r#""vault-read":["diary"]"#,
            "vault-append diary x",
            "appending to the namespace \"diary\" is not granted",
        ),
        (
            r#""vault-append":["diary"]"#,
            "vault-append health x",
            "appending to the namespace \"health\" is not granted",
        ),
    ] {
        let vault = Arc::new(Shelf::default());
        let report = with(vault.clone(), capabilities, command).await;
        assert!(
            reply(&report).contains("Denied"),
            "{command}: {}",
            reply(&report)
        );
        assert_eq!(report.denials.len(), 1, "{command}");
        let denial = &report.denials[0];
        assert_eq!(denial.reason, reason);
        let journal = journal(&report);
        let entry = journal.get(denial.entry.unwrap()).unwrap();
        assert!(
            matches!(entry.body, Body::Call(call) if call.decision == Decision::Denied { reason })
        );
        assert!(vault.items.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_list_of_namespaces_is_what_the_run_the_manifest_and_the_vault_all_give() {
    let report = shelf(
        r#""vault-curate":["diary"],"vault-read":["health","absent"]"#,
        "vault-namespaces",
    )
    .await;
    let said = reply(&report);
    assert!(
        said.contains("diary") && said.contains("Access::Append"),
        "the vault gives no more: {said}"
    );
    assert!(
        said.contains("health") && said.contains("Access::Read"),
        "the grant gives no more: {said}"
    );
    assert!(
        !said.contains("absent") && !said.contains("Curate"),
        "{said}"
    );
}

#[tokio::test]
async fn malformed_requests_reach_no_vault() {
    for command in [
        "vault-append diary ",
        "vault-typed Text/Plain",
        "vault-typed ",
        "vault-get abc",
        &format!("vault-get {}", "G".repeat(64)),
        &format!("vault-typed {}", "x".repeat(65)),
        // What is remembered goes through the memory, which checks whose words it is.
        "vault-typed tally.episode/1",
    ] {
        let vault = Arc::new(Shelf::default());
        let report = with(vault.clone(), r#""vault-append":["*"]"#, command).await;
        assert!(
            reply(&report).contains("Invalid"),
            "{command}: {}",
            reply(&report)
        );
        assert!(vault.items.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn without_a_vault_nothing_is_there_and_the_agent_is_told() {
    let none = Arc::new(tally_engine::NoVault);
    let report = with(none.clone(), r#""vault-append":["*"]"#, "vault-list diary").await;
    assert!(
        reply(&report).contains("started without a vault"),
        "{}",
        reply(&report)
    );
    let report = with(none, r#""vault-append":["*"]"#, "vault-namespaces").await;
    assert_eq!(reply(&report), "Ok([])");
}

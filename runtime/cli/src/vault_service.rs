//! Fits a vault to what the engine asks for: the vault of one agent, opened with the agent's own key.
//!
//! The vault's lock is taken for each write and given back after it, so that two agents write to one vault in turn, and a
//! person meanwhile. Work on the vault blocks on the disk, so it runs on threads of its own.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tally_capability::Access;
use tally_engine::contract::{Datetime, Error, VaultDraft, VaultItem, VaultPage};
use tally_engine::{BoxFuture, VaultQuery};
use tally_journal::EntryHash;
use tally_vault::format::{self, MemberId, NamespaceId, OpId, ReceiptDigest, Right};
use tally_vault::state::Status;
use tally_vault::{Change, NewContent, NewRecord, OpenError, ReadError, Vault, WriteError};

/// Most bytes of one content that an agent is given.
const CONTENT_MAX: u64 = 4 << 20;
/// How long a write waits for another program's.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const PAUSE: Duration = Duration::from_millis(20);

/// A vault that was opened with an agent's key.
pub(crate) struct AgentVault(Arc<Mutex<Vault>>);

impl AgentVault {
    /// Takes a vault that was opened for reading, which others of this program may use too.
    pub(crate) fn new(vault: Arc<Mutex<Vault>>) -> Arc<Self> {
        Arc::new(Self(vault))
    }

    /// Works on the vault away from the threads that wait on agents.
    fn work<'a, T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vault) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, Error>> {
        let vault = self.0.clone();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || {
                work(&mut vault.lock().unwrap_or_else(PoisonError::into_inner))
            })
            .await
            .map_err(|error| Error::Failed(format!("the vault's thread ended: {error}")))?
        })
    }

    /// The same, with the vault's lock.
    fn change<'a, T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Vault) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, Error>> {
        self.work(|vault| {
            let began = Instant::now();
            loop {
                match vault.begin_writing() {
                    Ok(()) => break,
                    Err(OpenError::InUse) if began.elapsed() < PATIENCE => {
                        std::thread::sleep(PAUSE)
                    }
                    Err(OpenError::InUse) => {
                        return Err(Error::Unavailable(
                            "another program is writing the vault".into(),
                        ));
                    }
                    Err(error) => return Err(Error::Unavailable(error.to_string())),
                }
            }
            let changed = change(vault);
            vault.end_writing();
            changed
        })
    }
}

impl tally_engine::Vault for AgentVault {
    fn namespaces<'a>(&'a self) -> BoxFuture<'a, Result<Vec<(String, Access)>, Error>> {
        self.work(|vault| {
            vault
                .refresh()
                .map_err(|error| Error::Unavailable(error.to_string()))?;
            let shared = vault.namespaces().into_iter();
            Ok(shared
                .filter_map(|one| Some((one.name?, access(one.right?)?)))
                .collect())
        })
    }

    fn list<'a>(&'a self, query: VaultQuery) -> BoxFuture<'a, Result<VaultPage, Error>> {
        self.work(move |vault| list(vault, &query))
    }

    fn get<'a>(
        &'a self,
        namespace: String,
        id: String,
    ) -> BoxFuture<'a, Result<Option<VaultItem>, Error>> {
        self.work(move |vault| {
            let (place, id) = (readable(vault, &namespace)?, operation(&id)?);
            let view = vault.view();
            let shown = match view.record(&id) {
                Some(record) if record.id == id => record.shown,
                _ => view
                    .row(&id)
                    .filter(|row| row.status == Status::Valid)
                    .map(|row| row.operation),
            };
            let here = |id: &OpId| view.row(id).is_some_and(|row| row.namespace == place);
            match shown.filter(here) {
                Some(id) => item(vault, &id),
                None => Ok(None),
            }
        })
    }

    fn append<'a>(
        &'a self,
        namespace: String,
        drafts: Vec<VaultDraft>,
        run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        self.change(move |vault| {
            let place = writable(vault, &namespace)?;
            let changes = drafts
                .iter()
                .map(|draft| Ok(Change::Add(record(draft, run)?)))
                .collect::<Result<_, Error>>()?;
            let ids = vault.append(&place, changes).map_err(written)?;
            Ok(ids.iter().map(ToString::to_string).collect())
        })
    }

    fn supersede<'a>(
        &'a self,
        namespace: String,
        targets: Vec<String>,
        draft: VaultDraft,
        run: Option<EntryHash>,
        curate: bool,
    ) -> BoxFuture<'a, Result<String, Error>> {
        self.change(move |vault| {
            let place = writable(vault, &namespace)?;
            let targets = own_or_curated(vault, place, &namespace, &targets, curate)?;
            let change = Change::Supersede {
                targets,
                record: record(&draft, run)?,
            };
            let ids = vault.append(&place, vec![change]).map_err(written)?;
            Ok(ids[0].to_string())
        })
    }

    fn retract<'a>(
        &'a self,
        namespace: String,
        targets: Vec<String>,
        reason: String,
        _run: Option<EntryHash>,
        curate: bool,
    ) -> BoxFuture<'a, Result<String, Error>> {
        self.change(move |vault| {
            let place = writable(vault, &namespace)?;
            let targets = own_or_curated(vault, place, &namespace, &targets, curate)?;
            let ids = vault
                .append(
                    &place,
                    vec![Change::Retract {
                        targets,
                        reason: &reason,
                    }],
                )
                .map_err(written)?;
            Ok(ids[0].to_string())
        })
    }
}

/// What a right of the vault is in the contract's words. A relay's gives an agent nothing, an admin's no more than curating.
fn access(right: Right) -> Option<Access> {
    match right {
        Right::Relay => None,
        Right::Read => Some(Access::Read),
        Right::Append => Some(Access::Append),
        Right::Curate | Right::Admin => Some(Access::Curate),
    }
}

/// A namespace by its name, where the agent's key opens it. What was not shared and what does not exist are one answer.
pub(crate) fn shared(vault: &mut Vault, name: &str, needs: Access) -> Result<NamespaceId, Error> {
    let found = vault
        .namespaces()
        .into_iter()
        .find(|one| one.name.as_deref() == Some(name));
    let most = found.as_ref().and_then(|one| one.right).and_then(access);
    match (found, most) {
        (Some(one), Some(most)) if most >= needs => Ok(one.id),
        (Some(_), Some(_)) => Err(Error::Denied(format!(
            "the vault does not let this agent write to {name:?}"
        ))),
        _ => Err(Error::Denied(format!(
            "no namespace {name:?} of the vault is shared with this agent"
        ))),
    }
}

pub(crate) fn readable(vault: &mut Vault, name: &str) -> Result<NamespaceId, Error> {
    // What others wrote meanwhile is seen.
    vault
        .refresh()
        .map_err(|error| Error::Unavailable(error.to_string()))?;
    shared(vault, name, Access::Read)
}

fn writable(vault: &mut Vault, name: &str) -> Result<NamespaceId, Error> {
    shared(vault, name, Access::Append)
}

/// The versions meant, which the agent wrote itself unless it may curate.
fn own_or_curated(
    vault: &mut Vault,
    place: NamespaceId,
    name: &str,
    targets: &[String],
    curate: bool,
) -> Result<Vec<OpId>, Error> {
    let own: Vec<MemberId> = vault.holders().iter().map(format::Card::member).collect();
    let view = vault.view();
    targets
        .iter()
        .map(|text| {
            let id = operation(text)?;
            match view.row(&id) {
                Some(row) if row.namespace == place => {
                    if curate || own.contains(&row.author) {
                        Ok(id)
                    } else {
                        Err(Error::Denied(format!("{text} was written by somebody else, and curating {name:?} is not granted")))
                    }
                }
                _ => Err(Error::Invalid(format!("there is no record {text} in {name:?}"))),
            }
        })
        .collect()
}

fn operation(text: &str) -> Result<OpId, Error> {
    text.parse()
        .map_err(|error: format::ParseIdError| Error::Invalid(error.to_string()))
}

fn record(draft: &VaultDraft, run: Option<EntryHash>) -> Result<NewRecord<'_>, Error> {
    let receipt = match &draft.receipt {
        Some(text) => Some(
            text.parse::<ReceiptDigest>()
                .map_err(|error| Error::Invalid(error.to_string()))?,
        ),
        None => None,
    };
    Ok(NewRecord {
        record_type: &draft.type_,
        run: run.map(|run| format::RunId(*run.as_bytes())),
        receipt,
        content: NewContent::Bytes(&draft.content),
    })
}

fn list(vault: &mut Vault, query: &VaultQuery) -> Result<VaultPage, Error> {
    let place = readable(vault, &query.namespace)?;
    let after = query.after.as_deref().map(operation).transpose()?;
    let view = vault.view();
    let key = |id: &OpId| view.row(id).map(|row| (row.time, row.author, *id));
    let after = match after {
        Some(id) => Some(
            key(&id)
                .ok_or_else(|| Error::Invalid(format!("there is no record {id} to go on after")))?,
        ),
        None => None,
    };
    let mut ids: Vec<_> = view
        .current()
        .into_iter()
        .filter(|id| view.row(id).is_some_and(|row| row.namespace == place))
        .filter_map(|id| key(&id))
        .filter(|key| after.is_none_or(|after| *key > after))
        .collect();
    ids.sort_unstable();
    let mut page = VaultPage {
        items: Vec::new(),
        next: None,
    };
    for (_, _, id) in ids {
        if page.items.len() == query.limit {
            page.next = page.items.last().map(|item| item.id.clone());
            break;
        }
        if let Some(item) = item(vault, &id)?
            && item.type_.starts_with(&query.type_prefix)
        {
            page.items.push(item);
        }
    }
    Ok(page)
}

/// A version as an agent sees it; none if its body is gone.
fn item(vault: &mut Vault, id: &OpId) -> Result<Option<VaultItem>, Error> {
    let record = match vault.get(id) {
        Ok(record) => record,
        Err(ReadError::Redacted(_)) => return Ok(None),
        Err(error) => return Err(Error::Unavailable(error.to_string())),
    };
    if record.len() > CONTENT_MAX {
        return Err(Error::Invalid(format!(
            "record {id} has {} bytes, and an agent is given at most {CONTENT_MAX}",
            record.len()
        )));
    }
    let mut content = Vec::new();
    vault
        .read_content(&record, &mut content as &mut dyn Write)
        .map_err(|error| Error::Unavailable(error.to_string()))?;
    let view = vault.view();
    let Some(row) = view.row(id) else {
        return Ok(None);
    };
    let lineage = view.record(id);
    let conflicts = lineage
        .iter()
        .flat_map(|lineage| lineage.shown.iter().chain(&lineage.conflicts));
    let millis = row.time.millis();
    Ok(Some(VaultItem {
        id: id.to_string(),
        lineage: lineage
            .as_ref()
            .map_or(*id, |lineage| lineage.id)
            .to_string(),
        type_: record.record_type,
        content,
        author: row.author.to_string(),
        written: Datetime {
            seconds: u32::try_from(millis / 1000).unwrap_or(u32::MAX),
            nanoseconds: u32::try_from(millis % 1000).unwrap_or_default() * 1_000_000,
        },
        run: record.run.map(|run| run.to_string()),
        receipt: record.receipt.map(|receipt| receipt.to_string()),
        conflicts: conflicts
            .filter(|other| **other != *id)
            .map(ToString::to_string)
            .collect(),
    }))
}

/// Whose turn a refused write is.
pub(crate) fn written(error: WriteError) -> Error {
    match error {
        WriteError::NotPermitted { .. } | WriteError::NoSuchNamespace(_) => {
            Error::Denied(error.to_string())
        }
        WriteError::Malformed(_) | WriteError::Content(_) | WriteError::NoSuchOperation(_) => {
            Error::Invalid(error.to_string())
        }
        _ => Error::Unavailable(error.to_string()),
    }
}

//! `vault`: the person's encrypted memory, as far as it was shared with this agent.
//!
//! The policy is asked with the namespace and what is to be done in it. A write outlives the run, so an intent is durable
//! before it happens; a replay answers reads and writes alike from the journal and touches no vault.

use super::Host;
use crate::contract::{Error, VaultDraft, VaultItem, VaultNamespace, VaultPage};
use crate::effects::{
    Effect, EffectClass, VAULT_APPEND, VAULT_GET, VAULT_LIST, VAULT_NAMESPACES, VAULT_RETRACT,
    VAULT_SUPERSEDE,
};
use crate::policy::Verdict;
use crate::services::{BoxFuture, Vault, VaultQuery};
use crate::session::{Begun, begin, finish};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tally_capability::{Access, Ask};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

/// Most records in one page or one append.
pub(super) const RECORDS_MAX: usize = 1024;
/// Most versions that one operation may replace or hide.
pub(super) const TARGETS_MAX: usize = 64;
/// Longest type, in bytes.
const TYPE_LEN_MAX: usize = 64;
/// What types begin with that no guest writes by itself.
const RESERVED_TYPES: &str = "tally.";
/// Longest reason, in bytes.
pub(super) const REASON_LEN_MAX: usize = 1024;

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct ListRequest<'a> {
    namespace: &'a str,
    type_prefix: &'a str,
    after: Option<&'a str>,
    limit: u32,
}

#[derive(Serialize)]
struct GetRequest<'a> {
    namespace: &'a str,
    id: &'a str,
}

#[derive(Serialize)]
struct AppendRequest<'a> {
    namespace: &'a str,
    drafts: &'a [VaultDraft],
}

#[derive(Serialize)]
struct SupersedeRequest<'a> {
    namespace: &'a str,
    targets: &'a [String],
    draft: &'a VaultDraft,
}

#[derive(Serialize)]
struct RetractRequest<'a> {
    namespace: &'a str,
    targets: &'a [String],
    reason: &'a str,
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut vault = linker.instance(VAULT_LIST.interface)?;
    vault.func_wrap_async(VAULT_NAMESPACES.function, |cx, (): ()| {
        Box::new(async move { namespaces(cx).await.map(|result| (result,)) })
    })?;
    vault.func_wrap_async(
        VAULT_LIST.function,
        |cx, (namespace, type_prefix, after, limit): (String, String, Option<String>, u32)| {
            Box::new(async move {
                let request = ListRequest {
                    namespace: &namespace,
                    type_prefix: &type_prefix,
                    after: after.as_deref(),
                    limit,
                };
                list(cx, &request).await.map(|result| (result,))
            })
        },
    )?;
    vault.func_wrap_async(
        VAULT_GET.function,
        |cx, (namespace, id): (String, String)| {
            Box::new(async move {
                let request = GetRequest {
                    namespace: &namespace,
                    id: &id,
                };
                get(cx, &request).await.map(|result| (result,))
            })
        },
    )?;
    vault.func_wrap_async(
        VAULT_APPEND.function,
        |cx, (namespace, drafts): (String, Vec<VaultDraft>)| {
            Box::new(async move {
                let request = AppendRequest {
                    namespace: &namespace,
                    drafts: &drafts,
                };
                append(cx, &request).await.map(|result| (result,))
            })
        },
    )?;
    vault.func_wrap_async(
        VAULT_SUPERSEDE.function,
        |cx, (namespace, targets, draft): (String, Vec<String>, VaultDraft)| {
            Box::new(async move {
                let request = SupersedeRequest {
                    namespace: &namespace,
                    targets: &targets,
                    draft: &draft,
                };
                supersede(cx, &request).await.map(|result| (result,))
            })
        },
    )?;
    vault.func_wrap_async(
        VAULT_RETRACT.function,
        |cx, (namespace, targets, reason): (String, Vec<String>, String)| {
            Box::new(async move {
                let request = RetractRequest {
                    namespace: &namespace,
                    targets: &targets,
                    reason: &reason,
                };
                retract(cx, &request).await.map(|result| (result,))
            })
        },
    )
}

/// [`perform`] for the vault.
async fn with_vault<Request: Serialize, Answer: Serialize + DeserializeOwned>(
    cx: StoreContextMut<'_, Host>,
    effect: &'static Effect,
    request: &Request,
    ask: Option<(Access, &str)>,
    check: impl FnOnce() -> Result<(), Error>,
    act: impl for<'a> FnOnce(&'a dyn Vault) -> BoxFuture<'a, Result<Answer, Error>>,
) -> wasmtime::Result<Result<Answer, Error>> {
    let vault: Arc<dyn Vault> = cx.data().shared.services.vault.clone();
    perform(cx, effect, request, ask, &[], check, async move {
        act(&*vault).await
    })
    .await
}

/// Begins a call, does what `act` does unless the call is replayed, refused or malformed, and writes its entry.
///
/// `spoken` is what it says in the person's name, which is refused unless it is what the person said.
pub(super) async fn perform<Request: Serialize, Answer: Serialize + DeserializeOwned>(
    mut cx: StoreContextMut<'_, Host>,
    effect: &'static Effect,
    request: &Request,
    ask: Option<(Access, &str)>,
    spoken: &[&str],
    check: impl FnOnce() -> Result<(), Error>,
    act: impl Future<Output = Result<Answer, Error>>,
) -> wasmtime::Result<Result<Answer, Error>> {
    // What is written there outlives the run and travels.
    let leaves = effect.class == EffectClass::WriteRemote;
    let begun = begin::<_, Result<Answer, Error>>(
        &mut cx,
        effect,
        request,
        |host| {
            match ask {
            Some((access, namespace)) => match host.ask(Ask::Vault(access, namespace)) {
                Verdict::Allowed(_) if !spoken.iter().all(|words| host.was_said(words)) => {
                    Verdict::Denied(
                        "speaking for the person: only the text of the run's input, whole, is in their words".into(),
                    )
                }
                verdict => verdict,
            },
            None => Verdict::given(host),
        }
        },
        leaves,
    )?;
    match begun {
        Begun::Answered(answer) => Ok(answer),
        Begun::Live(pending) => {
            let answer = match check() {
                Ok(()) => act.await,
                Err(error) => Err(error),
            };
            finish(&mut cx, pending, &answer, None, None)?;
            Ok(answer)
        }
    }
}

impl Host {
    /// Whether these are the words that the person started the run with, but for white space around them.
    fn was_said(&self, words: &str) -> bool {
        words.trim() == self.shared.input.text.trim()
    }
}

async fn namespaces(
    cx: StoreContextMut<'_, Host>,
) -> wasmtime::Result<Result<Vec<VaultNamespace>, Error>> {
    let may: Arc<crate::policy::Policy> = cx.data().policy.clone();
    let moment = cx.data().moment();
    with_vault(
        cx,
        &VAULT_NAMESPACES,
        &Nothing {},
        None,
        || Ok(()),
        |vault| {
            Box::pin(async move {
                let allowed = |name: &str, access| {
                    may.effective()
                        .decide(Ask::Vault(access, name), moment)
                        .is_allowed()
                };
                let shared = vault.namespaces().await?;
                Ok(shared
                    .into_iter()
                    .filter_map(|(name, most)| {
                        let access = Access::ALL
                            .into_iter()
                            .rev()
                            .find(|access| *access <= most && allowed(&name, *access))?;
                        Some(VaultNamespace {
                            name,
                            access: access.into(),
                        })
                    })
                    .collect())
            })
        },
    )
    .await
}

async fn list(
    cx: StoreContextMut<'_, Host>,
    request: &ListRequest<'_>,
) -> wasmtime::Result<Result<VaultPage, Error>> {
    let query = VaultQuery {
        namespace: request.namespace.to_owned(),
        type_prefix: request.type_prefix.to_owned(),
        after: request.after.map(str::to_owned),
        limit: (request.limit as usize).min(RECORDS_MAX),
    };
    let check = || {
        if request.limit == 0 {
            return Err(Error::Invalid("a page has at least one record".into()));
        }
        if request.type_prefix.len() > TYPE_LEN_MAX {
            return Err(Error::Invalid(format!(
                "a type has at most {TYPE_LEN_MAX} bytes"
            )));
        }
        request.after.map_or(Ok(()), check_id)
    };
    let ask = Some((Access::Read, request.namespace));
    with_vault(cx, &VAULT_LIST, request, ask, check, |vault| {
        Box::pin(async move { vault.list(query).await })
    })
    .await
}

async fn get(
    cx: StoreContextMut<'_, Host>,
    request: &GetRequest<'_>,
) -> wasmtime::Result<Result<Option<VaultItem>, Error>> {
    let (namespace, id) = (request.namespace.to_owned(), request.id.to_owned());
    let ask = Some((Access::Read, request.namespace));
    with_vault(
        cx,
        &VAULT_GET,
        request,
        ask,
        || check_id(request.id),
        |vault| Box::pin(async move { vault.get(namespace, id).await }),
    )
    .await
}

async fn append(
    cx: StoreContextMut<'_, Host>,
    request: &AppendRequest<'_>,
) -> wasmtime::Result<Result<Vec<String>, Error>> {
    let (namespace, drafts) = (request.namespace.to_owned(), request.drafts.to_vec());
    let run = cx.data().shared.first_entry;
    let check = || match request.drafts.len() {
        0 => Err(Error::Invalid("there is nothing to append".into())),
        1..=RECORDS_MAX => request.drafts.iter().try_for_each(check_draft),
        many => Err(Error::Invalid(format!(
            "{many} records; the most is {RECORDS_MAX} at once"
        ))),
    };
    let ask = Some((Access::Append, request.namespace));
    with_vault(cx, &VAULT_APPEND, request, ask, check, |vault| {
        Box::pin(async move { vault.append(namespace, drafts, run).await })
    })
    .await
}

async fn supersede(
    cx: StoreContextMut<'_, Host>,
    request: &SupersedeRequest<'_>,
) -> wasmtime::Result<Result<String, Error>> {
    let (namespace, targets) = (request.namespace.to_owned(), request.targets.to_vec());
    let draft = request.draft.clone();
    let run = cx.data().shared.first_entry;
    let check = || check_targets(request.targets).and_then(|()| check_draft(request.draft));
    // Whose records they are, and so whether appending suffices, the vault knows.
    let ask = Some((Access::Append, request.namespace));
    let curate = cx
        .data()
        .allows(Ask::Vault(Access::Curate, request.namespace));
    with_vault(cx, &VAULT_SUPERSEDE, request, ask, check, |vault| {
        Box::pin(async move {
            vault
                .supersede(namespace, targets, draft, run, curate)
                .await
        })
    })
    .await
}

async fn retract(
    cx: StoreContextMut<'_, Host>,
    request: &RetractRequest<'_>,
) -> wasmtime::Result<Result<String, Error>> {
    let (namespace, targets) = (request.namespace.to_owned(), request.targets.to_vec());
    let reason = request.reason.to_owned();
    let run = cx.data().shared.first_entry;
    let check = || {
        if request.reason.len() > REASON_LEN_MAX {
            return Err(Error::Invalid(format!(
                "a reason has at most {REASON_LEN_MAX} bytes"
            )));
        }
        check_targets(request.targets)
    };
    let ask = Some((Access::Append, request.namespace));
    let curate = cx
        .data()
        .allows(Ask::Vault(Access::Curate, request.namespace));
    with_vault(cx, &VAULT_RETRACT, request, ask, check, |vault| {
        Box::pin(async move { vault.retract(namespace, targets, reason, run, curate).await })
    })
    .await
}

pub(super) fn check_id(id: &str) -> Result<(), Error> {
    let fit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if id.len() == 64 && id.bytes().all(fit) {
        Ok(())
    } else {
        Err(Error::Invalid(
            "an id is 64 lower-case hexadecimal digits".into(),
        ))
    }
}

fn check_targets(targets: &[String]) -> Result<(), Error> {
    if targets.is_empty() || targets.len() > TARGETS_MAX {
        return Err(Error::Invalid(format!("name 1 to {TARGETS_MAX} versions")));
    }
    targets.iter().try_for_each(|target| check_id(target))
}

fn check_draft(draft: &VaultDraft) -> Result<(), Error> {
    let fit =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-/+".contains(&byte);
    if draft.type_.is_empty() || draft.type_.len() > TYPE_LEN_MAX || !draft.type_.bytes().all(fit) {
        return Err(Error::Invalid(format!(
            "a type is 1 to {TYPE_LEN_MAX} of a-z 0-9 . - / +, for example text/plain"
        )));
    }
    // Through the memory, which checks whose words they are.
    if draft.type_.starts_with(RESERVED_TYPES) {
        return Err(Error::Invalid(format!(
            "types that begin with {RESERVED_TYPES:?} are Tally's own; what is to be remembered goes to `memory`"
        )));
    }
    draft.receipt.as_deref().map_or(Ok(()), check_id)
}

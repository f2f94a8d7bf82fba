//! `memory`: the person's long-term memory, as far as it was shared with this agent.
//!
//! The policy is asked as for the vault, where memories lie: recalling and the profile read a namespace, remembering appends to
//! it, correcting and forgetting curate it. What is said in the person's name must be the text of the run's input, whole, or it is
//! refused like anything that was not granted: an agent that is misled by what it read does not make it the person's words.

use super::Host;
use super::inference::within;
use super::vault::{REASON_LEN_MAX, RECORDS_MAX, TARGETS_MAX, check_id, perform};
use crate::contract::Error;
use crate::contract::memory::{
    Forgotten, Portrait, Question, Recalled, Remembered, State, Turn, Voice,
};
use crate::effects::{
    Effect, MEMORY_CORRECT, MEMORY_FORGET, MEMORY_PROFILE, MEMORY_RECALL, MEMORY_REMEMBER,
};
use crate::services::{BoxFuture, Memory};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tally_capability::Access;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

/// Most memories and most tokens of one answer.
const HITS_MAX: u32 = 256;
const TOKENS_MAX: u32 = 32_768;
/// Most entries of one list of a question.
const FILTERS_MAX: usize = 64;

#[derive(Serialize)]
struct RememberRequest<'a> {
    namespace: &'a str,
    turns: &'a [Turn],
}

#[derive(Serialize)]
struct RecallRequest<'a> {
    namespace: &'a str,
    question: &'a Question,
}

#[derive(Serialize)]
struct ProfileRequest<'a> {
    namespace: &'a str,
}

#[derive(Serialize)]
struct CorrectRequest<'a> {
    namespace: &'a str,
    id: &'a str,
    text: &'a str,
    why: &'a str,
}

#[derive(Serialize)]
struct ForgetRequest<'a> {
    namespace: &'a str,
    ids: &'a [String],
    reason: &'a str,
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut memory = linker.instance(MEMORY_RECALL.interface)?;
    memory.func_wrap_async(
        MEMORY_REMEMBER.function,
        |cx, (namespace, turns): (String, Vec<Turn>)| {
            Box::new(async move {
                let request = RememberRequest {
                    namespace: &namespace,
                    turns: &turns,
                };
                remember(cx, &request).await.map(|result| (result,))
            })
        },
    )?;
    memory.func_wrap_async(
        MEMORY_RECALL.function,
        |cx, (namespace, question): (String, Question)| {
            Box::new(async move {
                let request = RecallRequest {
                    namespace: &namespace,
                    question: &question,
                };
                recall(cx, &request).await.map(|result| (result,))
            })
        },
    )?;
    memory.func_wrap_async(MEMORY_PROFILE.function, |cx, (namespace,): (String,)| {
        Box::new(async move {
            let request = ProfileRequest {
                namespace: &namespace,
            };
            profile(cx, &request).await.map(|result| (result,))
        })
    })?;
    memory.func_wrap_async(
        MEMORY_CORRECT.function,
        |cx, (namespace, id, text, why): (String, String, String, String)| {
            Box::new(async move {
                let request = CorrectRequest {
                    namespace: &namespace,
                    id: &id,
                    text: &text,
                    why: &why,
                };
                correct(cx, &request).await.map(|result| (result,))
            })
        },
    )?;
    memory.func_wrap_async(
        MEMORY_FORGET.function,
        |cx, (namespace, ids, reason): (String, Vec<String>, String)| {
            Box::new(async move {
                let request = ForgetRequest {
                    namespace: &namespace,
                    ids: &ids,
                    reason: &reason,
                };
                forget(cx, &request).await.map(|result| (result,))
            })
        },
    )
}

/// What a call needs, and what it says in the person's name.
struct Wants<'a> {
    access: Access,
    namespace: &'a str,
    spoken: Vec<&'a str>,
}

/// [`perform`] for the memory, which may wait for a model and is waited for as long as for one.
async fn with_memory<Request: Serialize, Answer: Serialize + DeserializeOwned>(
    cx: StoreContextMut<'_, Host>,
    effect: &'static Effect,
    request: &Request,
    wants: Wants<'_>,
    check: impl FnOnce() -> Result<(), Error>,
    act: impl for<'a> FnOnce(&'a dyn Memory) -> BoxFuture<'a, Result<Answer, Error>>,
) -> wasmtime::Result<Result<Answer, Error>> {
    let memory: Arc<dyn Memory> = cx.data().shared.services.memory.clone();
    let wall = cx.data().call_wall;
    let Wants {
        access,
        namespace,
        spoken,
    } = wants;
    let ask = Some((access, namespace));
    perform(cx, effect, request, ask, &spoken, check, async move {
        within(wall, "the memory", act(&*memory)).await
    })
    .await
}

async fn remember(
    cx: StoreContextMut<'_, Host>,
    request: &RememberRequest<'_>,
) -> wasmtime::Result<Result<Remembered, Error>> {
    let (namespace, turns) = (request.namespace.to_owned(), request.turns.to_vec());
    let run = cx.data().shared.first_entry;
    let by_user = |turn: &&Turn| turn.voice == Voice::User;
    let wants = Wants {
        access: Access::Append,
        namespace: request.namespace,
        spoken: request
            .turns
            .iter()
            .filter(by_user)
            .map(|turn| turn.text.as_str())
            .collect(),
    };
    let check = || match request.turns.len() {
        0 => Err(Error::Invalid("there is nothing to remember".into())),
        1..=RECORDS_MAX => request.turns.iter().try_for_each(check_turn),
        many => Err(Error::Invalid(format!(
            "{many} turns; the most is {RECORDS_MAX} at once"
        ))),
    };
    with_memory(cx, &MEMORY_REMEMBER, request, wants, check, |memory| {
        memory.remember(namespace, turns, run)
    })
    .await
}

async fn recall(
    cx: StoreContextMut<'_, Host>,
    request: &RecallRequest<'_>,
) -> wasmtime::Result<Result<Recalled, Error>> {
    let (namespace, question) = (request.namespace.to_owned(), request.question.clone());
    let wants = reading(request.namespace);
    let check = || check_question(request.question);
    with_memory(cx, &MEMORY_RECALL, request, wants, check, |memory| {
        Box::pin(async move {
            let recalled = memory.recall(namespace, question).await?;
            // A NaN would not survive the journal bit for bit.
            if recalled.hits.iter().all(|hit| hit.score.is_finite()) {
                Ok(recalled)
            } else {
                Err(Error::Failed(
                    "the memory gave a score that is no number".into(),
                ))
            }
        })
    })
    .await
}

async fn profile(
    cx: StoreContextMut<'_, Host>,
    request: &ProfileRequest<'_>,
) -> wasmtime::Result<Result<Portrait, Error>> {
    let namespace = request.namespace.to_owned();
    let wants = reading(request.namespace);
    with_memory(
        cx,
        &MEMORY_PROFILE,
        request,
        wants,
        || Ok(()),
        |memory| memory.profile(namespace),
    )
    .await
}

async fn correct(
    cx: StoreContextMut<'_, Host>,
    request: &CorrectRequest<'_>,
) -> wasmtime::Result<Result<String, Error>> {
    let [namespace, id, text, why] =
        [request.namespace, request.id, request.text, request.why].map(str::to_owned);
    let run = cx.data().shared.first_entry;
    let wants = Wants {
        access: Access::Curate,
        namespace: request.namespace,
        // That something is wrong takes no words.
        spoken: Some(request.text)
            .filter(|text| !text.is_empty())
            .into_iter()
            .collect(),
    };
    let check = || check_id(request.id).and_then(|()| check_reason(request.why));
    with_memory(cx, &MEMORY_CORRECT, request, wants, check, |memory| {
        memory.correct(namespace, id, text, why, run)
    })
    .await
}

async fn forget(
    cx: StoreContextMut<'_, Host>,
    request: &ForgetRequest<'_>,
) -> wasmtime::Result<Result<Forgotten, Error>> {
    let (namespace, ids) = (request.namespace.to_owned(), request.ids.to_vec());
    let reason = request.reason.to_owned();
    let run = cx.data().shared.first_entry;
    let wants = Wants {
        access: Access::Curate,
        namespace: request.namespace,
        spoken: Vec::new(),
    };
    let check = || {
        if request.ids.is_empty() || request.ids.len() > TARGETS_MAX {
            return Err(Error::Invalid(format!("name 1 to {TARGETS_MAX} memories")));
        }
        request.ids.iter().try_for_each(|id| check_id(id))?;
        check_reason(request.reason)
    };
    with_memory(cx, &MEMORY_FORGET, request, wants, check, |memory| {
        memory.forget(namespace, ids, reason, run)
    })
    .await
}

fn reading(namespace: &str) -> Wants<'_> {
    Wants {
        access: Access::Read,
        namespace,
        spoken: Vec::new(),
    }
}

fn check_turn(turn: &Turn) -> Result<(), Error> {
    match (turn.voice, &turn.speaker, &turn.at) {
        (Voice::User, Some(_), _) => Err(Error::Invalid(
            "the memory knows what the user is called: give no speaker".into(),
        )),
        (Voice::User, _, Some(_)) => Err(Error::Invalid(
            "the user spoke in this run: give no time".into(),
        )),
        (Voice::Person, None, _) => Err(Error::Invalid("say what the person is called".into())),
        _ => Ok(()),
    }
}

fn check_question(question: &Question) -> Result<(), Error> {
    let Question {
        text,
        state,
        hits,
        tokens,
        only: _,
        categories,
        apps,
        threads,
        speakers,
    } = question;
    if text.trim().is_empty() {
        return Err(Error::Invalid("the question has no words".into()));
    }
    if *hits > HITS_MAX || *tokens > TOKENS_MAX {
        return Err(Error::Invalid(format!(
            "at most {HITS_MAX} memories and {TOKENS_MAX} tokens at once"
        )));
    }
    let lists = [categories, apps, threads, speakers];
    if lists.iter().any(|list| list.len() > FILTERS_MAX) {
        return Err(Error::Invalid(format!(
            "at most {FILTERS_MAX} entries in one list"
        )));
    }
    match state {
        State::AsOf(moment) if moment.is_empty() => {
            Err(Error::Invalid("as of when? The moment is empty".into()))
        }
        _ => Ok(()),
    }
}

fn check_reason(reason: &str) -> Result<(), Error> {
    if reason.len() > REASON_LEN_MAX {
        return Err(Error::Invalid(format!(
            "a reason has at most {REASON_LEN_MAX} bytes"
        )));
    }
    Ok(())
}

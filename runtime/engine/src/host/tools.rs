//! `tools`: plugins that an agent calls, each call in a store of its own.
//!
//! A call is written as an `enter` entry, the entries of what the tool itself asked of the host, and last the agent's own
//! entry with the tool's answer and the fuel it used, which the agent pays. During replay the tool runs again when its
//! component is at hand, and its answer must be the recorded one; otherwise its entries are taken as they are, and the
//! report says so.

use super::Host;
use crate::cbor;
use crate::contract::{Error, ToolSpec};
use crate::effects::{TOOLS_CALL, TOOLS_LIST};
use crate::policy::Verdict;
use crate::replay::{Difference, Divergence, RecordedFrame};
use crate::session::{Begun, Stop, at_once, begin, finish, nothing};
use crate::tool::{self, ToolPlugin, ToolRun};
use serde::Serialize;
use std::sync::Arc;
use tally_capability::Ask;
use tally_journal::{Callee, Enter, FrameId};
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct CallArguments<'a> {
    name: &'a str,
    arguments_json: &'a str,
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut tools = linker.instance(TOOLS_LIST.interface)?;
    tools.func_wrap(TOOLS_LIST.function, |cx, (): ()| {
        list(cx).map(|result| (result,))
    })?;
    tools.func_wrap_async(
        TOOLS_CALL.function,
        |cx, (name, arguments): (String, String)| {
            Box::new(async move { call(cx, &name, &arguments).await.map(|result| (result,)) })
        },
    )
}

fn list(mut cx: StoreContextMut<'_, Host>) -> wasmtime::Result<Result<Vec<ToolSpec>, Error>> {
    at_once(
        &mut cx,
        &TOOLS_LIST,
        &Nothing {},
        Verdict::given,
        |host, _| {
            let granted = |spec: &&ToolSpec| host.allows(Ask::Tool(&spec.name));
            let specs = host.shared.given.tools.specs();
            Ok(Ok(specs.filter(granted).cloned().collect()))
        },
        nothing,
    )
}

async fn call(
    mut cx: StoreContextMut<'_, Host>,
    name: &str,
    arguments_json: &str,
) -> wasmtime::Result<Result<String, Error>> {
    let arguments = CallArguments {
        name,
        arguments_json,
    };
    let recorded = {
        let host = cx.data();
        let mut session = host.session.lock();
        let frame = host.frame;
        session
            .replay
            .as_mut()
            .and_then(|cursor| cursor.entered(frame))
    };
    if let Some(recorded) = recorded {
        return call_again(cx, &arguments, recorded).await;
    }
    let begun = begin::<_, Result<String, Error>>(
        &mut cx,
        &TOOLS_CALL,
        &arguments,
        |host| host.ask(Ask::Tool(name)),
        false,
    )?;
    let pending = match begun {
        Begun::Answered(answer) => return Ok(answer),
        Begun::Live(pending) => pending,
    };
    let Some(plugin) = cx.data().shared.given.tools.find(name) else {
        let answer = Err(Error::Invalid(format!("no tool is named {name:?}")));
        finish(&mut cx, pending, &answer, None, None)?;
        return Ok(answer);
    };
    if let Err(error) =
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(arguments_json)
    {
        let answer = Err(Error::Invalid(format!(
            "the arguments of {name} are not a JSON object: {error}"
        )));
        finish(&mut cx, pending, &answer, None, None)?;
        return Ok(answer);
    }
    let frame = enter(&cx, &plugin, &arguments)?;
    let run = run(&mut cx, &plugin, frame, name, arguments_json).await?;
    let answer = run.answer;
    let callee = Callee {
        frame: FrameId::new(frame),
        fuel: run.fuel,
    };
    finish(&mut cx, pending, &answer, None, Some(callee))?;
    Ok(answer)
}

/// Writes that a tool begins, and gives it its number.
fn enter(
    cx: &StoreContextMut<'_, Host>,
    plugin: &ToolPlugin,
    arguments: &CallArguments<'_>,
) -> wasmtime::Result<u32> {
    let host = cx.data();
    let mut session = host.session.lock();
    session.frames += 1;
    let frame = session.frames;
    let request = match cbor::encode(arguments) {
        Ok(request) => request,
        Err(error) => return Err(session.fail(error)),
    };
    let entry = Enter {
        frame: FrameId::new(frame),
        parent: FrameId::new(host.frame),
        component: plugin.component().digest(),
        export: TOOLS_CALL.name,
        request: &request[..],
        grant: plugin.grant_json(),
    };
    match session
        .writer
        .as_mut()
        .map(|writer| writer.enter(&entry))
        .transpose()
    {
        Ok(_) => Ok(frame),
        Err(error) => Err(session.fail(error)),
    }
}

/// Runs a tool and makes the caller pay for it.
async fn run(
    cx: &mut StoreContextMut<'_, Host>,
    plugin: &Arc<ToolPlugin>,
    frame: u32,
    name: &str,
    arguments_json: &str,
) -> wasmtime::Result<ToolRun> {
    let left = cx.get_fuel()?;
    let host = cx.data();
    let run = tool::call(
        plugin,
        host.shared.clone(),
        host.session.clone(),
        frame,
        left,
        host.meter.left(),
        name,
        arguments_json,
    )
    .await?;
    cx.data_mut().meter.callee(run.memory_peak);
    pay(cx, run.fuel)?;
    Ok(run)
}

fn pay(cx: &mut StoreContextMut<'_, Host>, fuel: u64) -> wasmtime::Result<()> {
    let left = cx.get_fuel()?;
    cx.set_fuel(left.saturating_sub(fuel))
}

/// Replays a call for which the journal has a frame.
async fn call_again(
    mut cx: StoreContextMut<'_, Host>,
    arguments: &CallArguments<'_>,
    recorded: RecordedFrame,
) -> wasmtime::Result<Result<String, Error>> {
    let at_call = cx.get_fuel()?;
    let host = cx.data();
    let request = {
        let mut session = host.session.lock();
        match cbor::encode(arguments) {
            Ok(request) => request,
            Err(error) => return Err(session.fail(error)),
        }
    };
    if request != recorded.request {
        return Err(host.session.lock().diverge(Divergence::requests(
            recorded.entry,
            host.frame,
            TOOLS_CALL.name,
            &recorded.request,
            &request,
        )));
    }
    {
        let mut session = host.session.lock();
        let session = &mut *session;
        session.frames = recorded.frame;
        if let Some(cursor) = &mut session.replay {
            let copied = cursor.take_entry(session.writer.as_mut());
            if let Err(error) = copied {
                return Err(session.fail(error));
            }
        }
    }
    let again = match host.shared.given.tools.by_digest(&recorded.component) {
        Some(plugin) => {
            let plugin = plugin.under(&recorded.grant);
            Some(
                run(
                    &mut cx,
                    &plugin,
                    recorded.frame,
                    arguments.name,
                    arguments.arguments_json,
                )
                .await?,
            )
        }
        None => {
            let mut session = host.session.lock();
            let session = &mut *session;
            if let Some(cursor) = &mut session.replay {
                let skipped = cursor.skip_frame(&recorded, session.writer.as_mut());
                if let Err(error) = skipped {
                    return Err(session.fail(error));
                }
            }
            None
        }
    };
    // The call's own entry holds the fuel at which it was made.
    let after = cx.get_fuel()?;
    cx.set_fuel(at_call)?;
    let begun =
        begin::<_, Result<String, Error>>(&mut cx, &TOOLS_CALL, arguments, Verdict::given, false)?;
    let Begun::Answered(answer) = begun else {
        // The journal was branched inside the tool; that is refused before a branch begins.
        return Err(Stop::JournalEnds.raise());
    };
    cx.set_fuel(after)?;
    let host = cx.data();
    let callee = host
        .session
        .lock()
        .replay
        .as_ref()
        .and_then(|cursor| cursor.last_callee());
    match again {
        None => pay(&mut cx, callee.map_or(0, |callee| callee.fuel))?,
        Some(again) => {
            let fuel = callee.map_or(0, |callee| callee.fuel);
            let mut session = host.session.lock();
            let compare_fuel = session
                .replay
                .as_ref()
                .is_some_and(|cursor| cursor.compares_fuel());
            if again.answer != answer {
                return Err(session.diverge(Divergence {
                    entry: Some(recorded.entry),
                    frame: recorded.frame,
                    what: Difference::ToolAnswer,
                    recorded: format!("{answer:?}"),
                    now: format!("{:?}", again.answer),
                }));
            }
            if compare_fuel && again.fuel != fuel {
                return Err(session.diverge(Divergence {
                    entry: Some(recorded.entry),
                    frame: recorded.frame,
                    what: Difference::Fuel,
                    recorded: format!("the tool used {fuel} fuel"),
                    now: format!("it used {}", again.fuel),
                }));
            }
        }
    }
    Ok(answer)
}

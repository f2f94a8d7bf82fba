//! `env`: the clock, chance, settings and the log.

use super::Host;
use crate::cbor::Bytes;
use crate::contract::{Datetime, Error, Level};
use crate::effects::{ENV_LOG, ENV_NOW, ENV_RANDOM, ENV_SETTING};
use crate::limits::Exhausted;
use crate::policy::Verdict;
use crate::session::{Begun, EnvironmentError, Pending, Stop, begin, finish, finish_in};
use serde::Serialize;
use tally_capability::Ask;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

/// Most bytes of one `random`.
const RANDOM_LEN_MAX: u32 = 65_536;

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct RandomRequest {
    len: u32,
}

#[derive(Serialize)]
struct SettingRequest<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct LogRequest<'a> {
    level: Level,
    message: &'a str,
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut env = linker.instance(ENV_NOW.interface)?;
    env.func_wrap(ENV_NOW.function, |cx, (): ()| now(cx).map(|now| (now,)))?;
    env.func_wrap(ENV_RANDOM.function, |cx, (len,): (u32,)| {
        random(cx, len).map(|bytes| (bytes,))
    })?;
    env.func_wrap(ENV_SETTING.function, |cx, (name,): (String,)| {
        setting(cx, &name).map(|value| (value,))
    })?;
    env.func_wrap(ENV_LOG.function, |cx, (level, message): (Level, String)| {
        log(cx, level, &message)
    })
}

fn now(mut cx: StoreContextMut<'_, Host>) -> wasmtime::Result<Datetime> {
    match begin(&mut cx, &ENV_NOW, &Nothing {}, Verdict::given, false)? {
        Begun::Answered(now) => Ok(now),
        Begun::Live(pending) => {
            let host = cx.data();
            let now = host.shared.services.clock.now();
            let mut session = host.session.lock();
            let now = session.advance(now);
            let seconds = u32::try_from(now.seconds()).unwrap_or(u32::MAX);
            let now = Datetime {
                seconds,
                nanoseconds: now.nanoseconds(),
            };
            finish_in(&mut session, host.frame, pending, &now, None, None)?;
            Ok(now)
        }
    }
}

fn random(mut cx: StoreContextMut<'_, Host>, len: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
    let bytes: Result<Bytes, Error> = match begin(
        &mut cx,
        &ENV_RANDOM,
        &RandomRequest { len },
        |host| host.ask(Ask::Random),
        false,
    )? {
        Begun::Answered(bytes) => bytes,
        Begun::Live(pending) => {
            let answer = if len > RANDOM_LEN_MAX {
                Err(Error::Invalid(format!(
                    "{len} random bytes asked for; the most is {RANDOM_LEN_MAX} at once"
                )))
            } else {
                let mut bytes = vec![0; len as usize];
                let host = cx.data();
                if let Err(error) = host.shared.services.entropy.fill(&mut bytes) {
                    return Err(host.session.lock().fail(EnvironmentError::Entropy(error)));
                }
                Ok(Bytes(bytes))
            };
            finish(&mut cx, pending, &answer, None, None)?;
            answer
        }
    };
    Ok(bytes.map(|bytes| bytes.0))
}

fn setting(mut cx: StoreContextMut<'_, Host>, name: &str) -> wasmtime::Result<Option<String>> {
    match begin(
        &mut cx,
        &ENV_SETTING,
        &SettingRequest { name },
        |host| host.ask(Ask::Setting(name)),
        false,
    )? {
        Begun::Answered(value) => Ok(value),
        Begun::Live(pending) => {
            let settings = &cx.data().shared.settings;
            let value = settings
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, value)| value.clone());
            finish(&mut cx, pending, &value, None, None)?;
            Ok(value)
        }
    }
}

fn log(mut cx: StoreContextMut<'_, Host>, level: Level, message: &str) -> wasmtime::Result<()> {
    let request = LogRequest { level, message };
    let pending = match begin(&mut cx, &ENV_LOG, &request, Verdict::given, false)? {
        Begun::Answered(()) => None,
        Begun::Live(pending) => Some(pending),
    };
    record(&mut cx, pending, level, message)
}

/// Counts a line of the log, and unless it is replayed writes its entry and shows it.
pub(super) fn record(
    cx: &mut StoreContextMut<'_, Host>,
    pending: Option<Pending>,
    level: Level,
    message: &str,
) -> wasmtime::Result<()> {
    let live = pending.is_some();
    let host = cx.data();
    let mut session = host.session.lock();
    if let Some(pending) = pending {
        finish_in(&mut session, host.frame, pending, &(), None, None)?;
    }
    if !session.take_output(message.len()) {
        return Err(Stop::Limit(Exhausted::OutputBytes).raise());
    }
    if live {
        session
            .output
            .log(host.frame, level, message)
            .map_err(|error| session.fail(EnvironmentError::Output(error)))?;
    }
    Ok(())
}

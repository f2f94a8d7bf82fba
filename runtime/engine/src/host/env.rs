//! `env`: the clock, chance, settings and the log.

use super::Host;
use crate::cbor::Bytes;
use crate::contract::{Datetime, Error, Level};
use crate::effects::{ENV_LOG, ENV_NOW, ENV_RANDOM, ENV_SETTING};
use crate::limits::Exhausted;
use crate::policy::Verdict;
use crate::session::{
    EnvironmentError, Origin, Pending, Session, Stop, at_once, finish_in, nothing,
};
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
    at_once(
        &mut cx,
        &ENV_NOW,
        &Nothing {},
        Verdict::given,
        |host, session| {
            let now = session.advance(host.shared.services.clock.now());
            Ok(Datetime {
                seconds: u32::try_from(now.seconds()).unwrap_or(u32::MAX),
                nanoseconds: now.nanoseconds(),
            })
        },
        nothing,
    )
}

fn random(mut cx: StoreContextMut<'_, Host>, len: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
    let bytes: Result<Bytes, Error> = at_once(
        &mut cx,
        &ENV_RANDOM,
        &RandomRequest { len },
        |host| host.ask(Ask::Random),
        |host, session| {
            if len > RANDOM_LEN_MAX {
                return Ok(Err(Error::Invalid(format!(
                    "{len} random bytes asked for; the most is {RANDOM_LEN_MAX} at once"
                ))));
            }
            // Not `vec![0; n]`, which asks the allocator for zeros: that is its slow way.
            let mut bytes: Vec<u8> = std::iter::repeat_n(0, len as usize).collect();
            match host.shared.services.entropy.fill(&mut bytes) {
                Ok(()) => Ok(Ok(Bytes(bytes))),
                Err(error) => Err(session.fail(EnvironmentError::Entropy(error))),
            }
        },
        nothing,
    )?;
    Ok(bytes.map(|bytes| bytes.0))
}

fn setting(mut cx: StoreContextMut<'_, Host>, name: &str) -> wasmtime::Result<Option<String>> {
    at_once(
        &mut cx,
        &ENV_SETTING,
        &SettingRequest { name },
        |host| host.ask(Ask::Setting(name)),
        |host, _| {
            let mut settings = host.shared.given.settings.iter();
            let found = settings.find(|(n, _)| n == name);
            Ok(found.map(|(_, value)| value.clone()))
        },
        nothing,
    )
}

fn log(mut cx: StoreContextMut<'_, Host>, level: Level, message: &str) -> wasmtime::Result<()> {
    let request = LogRequest { level, message };
    at_once(
        &mut cx,
        &ENV_LOG,
        &request,
        Verdict::given,
        |_, _| Ok(()),
        |host, session, (), origin| show(host, session, level, message, origin),
    )
}

/// Counts a line of the log, and unless it was recorded shows it.
fn show(
    host: &Host,
    session: &mut Session,
    level: Level,
    message: &str,
    origin: Origin,
) -> wasmtime::Result<()> {
    if !session.take_output(message.len()) {
        return Err(Stop::Limit(Exhausted::OutputBytes).raise());
    }
    if origin == Origin::Made {
        session
            .output
            .log(host.frame, level, message)
            .map_err(|error| session.fail(EnvironmentError::Output(error)))?;
    }
    Ok(())
}

/// Journals and shows what a WASI build printed.
pub(super) fn print(
    cx: &mut StoreContextMut<'_, Host>,
    pending: Option<Pending<'_>>,
    level: Level,
    message: &str,
) -> wasmtime::Result<()> {
    let host = cx.data();
    let mut session = host.session.lock();
    let origin = match pending {
        Some(pending) => {
            finish_in(&mut session, host.frame, pending, &(), None, None)?;
            Origin::Made
        }
        None => Origin::Settled,
    };
    show(host, &mut session, level, message, origin)
}

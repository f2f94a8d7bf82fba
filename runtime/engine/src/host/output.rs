//! `output`: what the person who started the run sees.

use super::Host;
use crate::contract::{Error, ResourceKind};
use crate::effects::OUTPUT_EMIT;
use crate::session::{Begun, EnvironmentError, begin, finish_in};
use serde::Serialize;
use tally_capability::Ask;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

#[derive(Serialize)]
struct EmitRequest<'a> {
    text: &'a str,
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker
        .instance(OUTPUT_EMIT.interface)?
        .func_wrap(OUTPUT_EMIT.function, |cx, (text,): (String,)| {
            emit(cx, &text).map(|result| (result,))
        })
}

/// The entry is written and handed to the operating system before the text is shown: nobody ever saw what the journal
/// does not hold.
fn emit(mut cx: StoreContextMut<'_, Host>, text: &str) -> wasmtime::Result<Result<(), Error>> {
    match begin::<_, Result<(), Error>>(
        &mut cx,
        &OUTPUT_EMIT,
        &EmitRequest { text },
        |host| host.ask(Ask::Output),
        false,
    )? {
        Begun::Answered(result) => {
            if result.is_ok() {
                cx.data().session.lock().take_output(text.len());
            }
            Ok(result)
        }
        Begun::Live(pending) => {
            let host = cx.data();
            let mut session = host.session.lock();
            let fits = session.take_output(text.len());
            let result = if fits {
                Ok(())
            } else {
                Err(Error::Exhausted(ResourceKind::OutputBytes))
            };
            finish_in(&mut session, host.frame, pending, &result, None, None)?;
            if fits {
                session
                    .output
                    .emit(text)
                    .map_err(|error| session.fail(EnvironmentError::Output(error)))?;
            }
            Ok(result)
        }
    }
}

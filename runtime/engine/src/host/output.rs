//! `output`: what the person who started the run sees.

use super::Host;
use crate::contract::{Error, ResourceKind};
use crate::effects::OUTPUT_EMIT;
use crate::session::{EnvironmentError, Origin, at_once};
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
    at_once(
        &mut cx,
        &OUTPUT_EMIT,
        &EmitRequest { text },
        |host| host.ask(Ask::Output),
        |_, session| {
            Ok(if session.take_output(text.len()) {
                Ok(())
            } else {
                Err(Error::Exhausted(ResourceKind::OutputBytes))
            })
        },
        |_, session, result, origin| match (origin, result) {
            (Origin::Made, Ok(())) => session
                .output
                .emit(text)
                .map_err(|error| session.fail(EnvironmentError::Output(error))),
            (Origin::Settled, Ok(())) => {
                session.take_output(text.len());
                Ok(())
            }
            (_, Err(_)) => Ok(()),
        },
    )
}

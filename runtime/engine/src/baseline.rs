//! The same component on the same pool with a host that does the least: what `tally bench engine` compares us with.
//!
//! No journal, no capabilities, no limits but the fuel that the code needs to run; every host function answers a
//! constant. It is not a way to run agents.

use crate::component::Component;
use crate::config::Engine;
use crate::contract::agent::AgentPre;
use crate::contract::{
    ChatRequest, Datetime, Error, Event, Input, Level, ReceiptRef, Reply, ToolSpec,
};
use crate::effects as fx;
use crate::host::inference::GenerationHandle;
use wasmtime::component::{Linker, Resource, ResourceTable, ResourceType};
use wasmtime::{Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Data of a bare store.
struct Least {
    wasi: Option<Box<(WasiCtx, ResourceTable)>>,
}

impl WasiView for Least {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self
            .wasi
            .as_mut()
            .expect("a component that imports WASI is given one");
        WasiCtxView {
            ctx: &mut wasi.0,
            table: &mut wasi.1,
        }
    }
}

/// A component on bare wasmtime.
pub struct Baseline {
    engine: wasmtime::Engine,
    pre: AgentPre<Least>,
    wasi: bool,
}

impl std::fmt::Debug for Baseline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Baseline")
    }
}

/// A store with an instance that does nothing, for measuring how much memory that takes.
pub struct Idle {
    _store: Store<Least>,
    _agent: crate::contract::agent::Agent,
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Idle")
    }
}

impl Baseline {
    /// Links an agent against the least host.
    ///
    /// Each setting has the value `setting`, so that the guest has the same words in its hands as under the host that it is
    /// compared with.
    pub fn new(engine: &Engine, component: &Component, setting: &str) -> Result<Self> {
        let engine = engine.pool(component.pool()).engine.clone();
        let mut linker = Linker::new(&engine);
        link(&mut linker, setting.to_owned())?;
        let wasi = component.inspection().uses_wasi();
        if wasi {
            wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        }
        // What an SDK imports and the measured agents never call, such as the vault, traps.
        linker.define_unknown_imports_as_traps(&component.0.compiled)?;
        let pre = AgentPre::new(linker.instantiate_pre(&component.0.compiled)?)?;
        Ok(Self { engine, pre, wasi })
    }

    fn store(&self) -> Result<Store<Least>> {
        let wasi = self
            .wasi
            .then(|| Box::new((WasiCtx::builder().build(), ResourceTable::new())));
        let mut store = Store::new(&self.engine, Least { wasi });
        store.set_fuel(u64::MAX)?;
        Ok(store)
    }

    /// Instantiates, calls, drops.
    pub async fn run(&self, input: &Input) -> Result<std::result::Result<Reply, Error>> {
        let mut store = self.store()?;
        let agent = self.pre.instantiate_async(&mut store).await?;
        agent
            .tally_agent_handler()
            .call_handle(&mut store, input)
            .await
    }

    /// Instantiates and waits.
    pub async fn idle(&self) -> Result<Idle> {
        let mut store = self.store()?;
        let agent = self.pre.instantiate_async(&mut store).await?;
        Ok(Idle {
            _store: store,
            _agent: agent,
        })
    }
}

fn nothing<T>() -> std::result::Result<T, Error> {
    Err(Error::Unavailable(String::new()))
}

fn link(linker: &mut Linker<Least>, setting: String) -> Result<()> {
    linker.instance("tally:agent/types@0.1.0")?;
    let mut env = linker.instance(fx::ENV_NOW.interface)?;
    env.func_wrap(fx::ENV_NOW.function, |_, (): ()| {
        Ok((Datetime {
            seconds: 1,
            nanoseconds: 2,
        },))
    })?;
    env.func_wrap(fx::ENV_RANDOM.function, |_, (len,): (u32,)| {
        Ok((std::result::Result::<_, Error>::Ok(vec![
            7u8;
            len.min(65_536)
                as usize
        ]),))
    })?;
    env.func_wrap(fx::ENV_SETTING.function, move |_, (_name,): (String,)| {
        Ok((Some(setting.clone()),))
    })?;
    env.func_wrap(
        fx::ENV_LOG.function,
        |_, (_level, _message): (Level, String)| Ok(()),
    )?;
    let mut output = linker.instance(fx::OUTPUT_EMIT.interface)?;
    output.func_wrap(fx::OUTPUT_EMIT.function, |_, (_text,): (String,)| {
        Ok((std::result::Result::<(), Error>::Ok(()),))
    })?;
    let mut tools = linker.instance(fx::TOOLS_LIST.interface)?;
    tools.func_wrap(fx::TOOLS_LIST.function, |_, (): ()| {
        Ok((std::result::Result::<_, Error>::Ok(Vec::<ToolSpec>::new()),))
    })?;
    tools.func_wrap(
        fx::TOOLS_CALL.function,
        |_, (_name, _arguments): (String, String)| Ok((nothing::<String>(),)),
    )?;
    let mut inference = linker.instance(fx::INFERENCE_CHAT.interface)?;
    inference.resource(
        "generation",
        ResourceType::host::<GenerationHandle>(),
        |_, _| Ok(()),
    )?;
    inference.func_wrap(
        fx::INFERENCE_CHAT.function,
        |_, (_request,): (ChatRequest,)| Ok((nothing::<Resource<GenerationHandle>>(),)),
    )?;
    inference.func_wrap(
        fx::GENERATION_NEXT.function,
        |_, (_handle,): (Resource<GenerationHandle>,)| Ok((nothing::<Option<Event>>(),)),
    )?;
    inference.func_wrap(
        fx::GENERATION_RECEIPT.function,
        |_, (_handle,): (Resource<GenerationHandle>,)| Ok((nothing::<ReceiptRef>(),)),
    )?;
    inference.func_wrap(
        fx::GENERATION_CANCEL.function,
        |_, (_handle,): (Resource<GenerationHandle>,)| Ok(()),
    )?;
    inference.func_wrap(
        fx::INFERENCE_EMBED.function,
        |_, (_model, _texts): (String, Vec<String>)| Ok((nothing::<Vec<Vec<f32>>>(),)),
    )?;
    inference.func_wrap(fx::INFERENCE_MODELS.function, |_, (): ()| {
        Ok((Vec::<String>::new(),))
    })
}

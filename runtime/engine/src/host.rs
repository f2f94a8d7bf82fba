//! The host as a guest sees it: one module for each interface, all linked by name against the effect table.
//!
//! Functions are linked by hand rather than through generated traits, because each must know how much fuel the guest
//! has used when it calls. A function that answers at once is linked synchronously; one that may wait is not.

pub(crate) mod env;
pub(crate) mod inference;
pub(crate) mod memory;
pub(crate) mod output;
pub(crate) mod tools;
pub(crate) mod vault;
pub(crate) mod wasi;

use crate::contract::{self, Input};
use crate::limits::MemoryMeter;
use crate::policy::Policy;
use crate::services::Services;
use crate::session::SharedSession;
use crate::tool::ToolSet;
use std::sync::Arc;
use std::time::Duration;
use tally_journal::{EntryHash, RunId};
use wasmtime::component::Linker;

pub(crate) type AgentPre = contract::agent::AgentPre<Host>;
pub(crate) type ToolPre = contract::tool::ToolPre<Host>;

/// What every run of a plan is given.
pub(crate) struct Given {
    pub(crate) engine: crate::config::Engine,
    pub(crate) settings: Box<[(String, String)]>,
    pub(crate) tools: ToolSet,
}

/// What a run is made of and every frame of it shares.
pub(crate) struct Shared {
    pub(crate) given: Arc<Given>,
    pub(crate) services: Services,
    /// What the agent was started with.
    pub(crate) input: Input,
    pub(crate) run: RunId,
    /// The hash of the journal's first entry; none without a journal.
    pub(crate) first_entry: Option<EntryHash>,
    pub(crate) seed: [u8; 32],
    pub(crate) clock_base: Duration,
}

/// The data of one store: one frame of one run.
pub(crate) struct Host {
    pub(crate) frame: u32,
    pub(crate) fuel_limit: u64,
    pub(crate) call_wall: Duration,
    pub(crate) meter: MemoryMeter,
    pub(crate) policy: Arc<Policy>,
    pub(crate) session: SharedSession,
    pub(crate) shared: Arc<Shared>,
    pub(crate) generations: inference::Generations,
    pub(crate) wasi: Option<Box<wasi::Wasi>>,
}

impl Host {
    /// Whether a WASI build printed something that is not journaled yet.
    pub(crate) fn has_printed(&self) -> bool {
        self.wasi.as_ref().is_some_and(|wasi| wasi.has_printed())
    }
}

/// The host, linked once for each engine: with and without WASI.
pub(crate) struct Linkers {
    plain: Linker<Host>,
    wasi: Linker<Host>,
}

impl Linkers {
    pub(crate) fn new(engine: &wasmtime::Engine) -> Self {
        let mut plain = Linker::new(engine);
        link(&mut plain).expect("each function is linked once");
        let mut with_wasi = plain.clone();
        wasi::link(&mut with_wasi).expect("no WASI interface is one of ours");
        Self {
            plain,
            wasi: with_wasi,
        }
    }

    fn linker(&self, wasi: bool) -> &Linker<Host> {
        if wasi { &self.wasi } else { &self.plain }
    }

    pub(crate) fn agent(
        &self,
        component: &wasmtime::component::Component,
        wasi: bool,
    ) -> wasmtime::Result<AgentPre> {
        AgentPre::new(self.linker(wasi).instantiate_pre(component)?)
    }

    pub(crate) fn tool(
        &self,
        component: &wasmtime::component::Component,
        wasi: bool,
    ) -> wasmtime::Result<ToolPre> {
        ToolPre::new(self.linker(wasi).instantiate_pre(component)?)
    }
}

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.instance("tally:agent/types@0.1.0")?;
    env::link(linker)?;
    inference::link(linker)?;
    output::link(linker)?;
    vault::link(linker)?;
    memory::link(linker)?;
    tools::link(linker)
}

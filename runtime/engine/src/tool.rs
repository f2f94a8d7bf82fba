//! Tool plugins: components that agents call.
//!
//! Every call runs in a fresh store with a frame number of its own, under the plugin's manifest ∩ its grant, inside what
//! the caller has left of fuel and memory. What a plugin offers is asked once, when it is made ready, in a store that
//! reaches nothing: the time is 1970, chance is zero, there are no models. So the list is a function of the component.

use crate::component::{Component, ComponentKind, Pre};
use crate::config::Engine;
use crate::contract::{Error, Input, ToolSpec};
use crate::host::{Given, Host, Shared, wasi::Wasi};
use crate::limits::{Limits, MemoryMeter};
use crate::policy::{Grant, Policy, ResolveError};
use crate::run::{Deadline, Ended, bounded, close, open};
use crate::services::{Clock, Entropy, NoInference, NoMemory, NoOutput, NoVault, Services};
use crate::session::{Session, SharedSession, Stop};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tally_capability::{Calls, Fuel};
use tally_journal::{Digest, RunId, Timestamp};

/// Most tools of one plugin.
const TOOLS_MAX: usize = 128;
/// What a plugin may use to say what it offers. CPython needs the most, to start.
const LIST_FUEL: Fuel = Fuel::new(2_000_000_000);
const LIST_CALLS: Calls = Calls::new(1_000);
const LIST_WALL: Duration = Duration::from_secs(60);

/// Why a plugin cannot be used. Its author, or whoever chose it, acts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// An agent, not a tool.
    #[error("{plugin} is an agent, not a tool")]
    NotATool {
        /// The plugin.
        plugin: String,
    },
    /// Its `list` did not answer.
    #[error("ask {plugin} which tools it has: {reason}")]
    List {
        /// The plugin.
        plugin: String,
        /// What happened.
        reason: String,
    },
    /// A tool that no model could be told about.
    #[error("{plugin} offers a tool that cannot be used: {reason}")]
    BadSpec {
        /// The plugin.
        plugin: String,
        /// What is wrong.
        reason: String,
    },
    /// Two plugins, one name.
    #[error("both {first} and {second} have a tool named {tool}; leave one of them out")]
    Duplicate {
        /// The tool.
        tool: String,
        /// One plugin.
        first: String,
        /// The other.
        second: String,
    },
    /// Manifest and grant do not fit.
    #[error(transparent)]
    Policy(#[from] ResolveError),
}

/// A tool plugin, ready to be called.
#[derive(Clone)]
pub struct ToolPlugin {
    name: String,
    component: Component,
    policy: Arc<Policy>,
    limits: Limits,
    specs: Vec<ToolSpec>,
}

impl std::fmt::Debug for ToolPlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolPlugin")
            .field("name", &self.name)
            .field("tools", &self.specs.len())
            .finish_non_exhaustive()
    }
}

impl ToolPlugin {
    /// Makes a plugin ready: resolves what it may do and asks what it offers.
    pub async fn new(
        engine: &Engine,
        name: impl Into<String>,
        component: Component,
        grant: &Grant,
    ) -> Result<Self, ToolError> {
        let name = name.into();
        if component.kind() != ComponentKind::Tool {
            return Err(ToolError::NotATool { plugin: name });
        }
        let policy = Arc::new(Policy::resolve(
            component.manifest(),
            grant,
            &component.digest(),
        )?);
        let limits = *policy.limits();
        let mut plugin = Self {
            name,
            component,
            policy,
            limits,
            specs: Vec::new(),
        };
        plugin.specs = plugin.ask(engine).await?;
        Ok(plugin)
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The component.
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// The tools it offers.
    pub fn specs(&self) -> &[ToolSpec] {
        &self.specs
    }

    pub(crate) fn grant_json(&self) -> &[u8] {
        self.policy.grant_json()
    }

    /// The same plugin with the limits that a recorded grant gives; its policy is not asked during replay.
    pub(crate) fn under(&self, grant_json: &[u8]) -> Arc<Self> {
        let mut plugin = self.clone();
        let granted = Grant::from_json(grant_json).ok();
        let policy = granted.and_then(|g| {
            Policy::resolve(self.component.manifest(), &g, &self.component.digest()).ok()
        });
        // A grant that cannot be read gives limits that differ, and then the replay differs: it is never half believed.
        plugin.limits = policy.map_or(self.limits, |policy| *policy.limits());
        Arc::new(plugin)
    }

    async fn ask(&self, engine: &Engine) -> Result<Vec<ToolSpec>, ToolError> {
        let limits = Limits {
            fuel: self.limits.fuel.min(LIST_FUEL),
            calls: self.limits.calls.min(LIST_CALLS),
            ..self.limits
        };
        let session = SharedSession::new(Session::new(None, None, Box::new(NoOutput), limits));
        let nothing = Services {
            inference: Arc::new(NoInference),
            vault: Arc::new(NoVault),
            memory: Arc::new(NoMemory),
            clock: Arc::new(Nowhen),
            entropy: Arc::new(Zeros),
        };
        let shared = Arc::new(Shared {
            given: Arc::new(Given {
                engine: engine.clone(),
                settings: Box::default(),
                tools: ToolSet::default(),
            }),
            services: nothing,
            input: Input::text(""),
            run: RunId::from_bytes([0; 16]),
            first_entry: None,
            seed: [0; 32],
            clock_base: Duration::ZERO,
        });
        let host = self.host(shared, session, 1, limits.fuel.get(), limits.memory.get());
        let Pre::Tool(pre) = &self.component.0.pre else {
            return Err(ToolError::NotATool {
                plugin: self.name.clone(),
            });
        };
        let failed = |reason: String| ToolError::List {
            plugin: self.name.clone(),
            reason,
        };
        let pool = engine.pool(self.component.pool());
        let _permit = pool
            .tools
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let mut store = open(pool, host, &limits);
        let result = {
            let call = pin!(async {
                let tool = pre.instantiate_async(&mut store).await?;
                tool.tally_agent_tools().call_list(&mut store).await
            });
            bounded(&mut Deadline::within(LIST_WALL), None, call).await
        };
        let run = close(store, result);
        let specs = match run.result {
            Ok(Ok(specs)) => specs,
            Ok(Err(error)) => return Err(failed(error.sentence())),
            Err(ended) => return Err(failed(ended.sentence())),
        };
        self.check(&specs)?;
        Ok(specs)
    }

    fn check(&self, specs: &[ToolSpec]) -> Result<(), ToolError> {
        let bad = |reason| {
            Err(ToolError::BadSpec {
                plugin: self.name.clone(),
                reason,
            })
        };
        if specs.len() > TOOLS_MAX {
            return bad(format!("{} tools; the most is {TOOLS_MAX}", specs.len()));
        }
        for (i, spec) in specs.iter().enumerate() {
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if spec.name.is_empty() || spec.name.len() > 64 || !spec.name.chars().all(legal) {
                return bad(format!(
                    "{:?} is not 1 to 64 letters, digits, '_' and '-'",
                    spec.name
                ));
            }
            if specs[..i].iter().any(|other| other.name == spec.name) {
                return bad(format!("{} is there twice", spec.name));
            }
            let schema = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(
                &spec.parameters_schema,
            );
            if let Err(error) = schema {
                return bad(format!(
                    "the parameters of {} are not a JSON Schema: {error}",
                    spec.name
                ));
            }
        }
        Ok(())
    }

    fn host(
        &self,
        shared: Arc<Shared>,
        session: SharedSession,
        frame: u32,
        fuel: u64,
        memory: u64,
    ) -> Host {
        let wasi = self
            .component
            .0
            .wasi
            .then(|| Box::new(Wasi::new(&shared.seed, frame, shared.clock_base)));
        Host {
            frame,
            fuel_limit: fuel,
            call_wall: Duration::from_millis(self.limits.call_wall.get()),
            meter: MemoryMeter::new(memory),
            policy: self.policy.clone(),
            session,
            shared,
            generations: Default::default(),
            wasi,
        }
    }
}

/// The tools of a run.
#[derive(Default)]
pub(crate) struct ToolSet {
    plugins: Vec<Arc<ToolPlugin>>,
}

impl ToolSet {
    pub(crate) fn new(plugins: Vec<Arc<ToolPlugin>>) -> Result<Self, ToolError> {
        for (i, plugin) in plugins.iter().enumerate() {
            for spec in &plugin.specs {
                let twin = plugins[..i]
                    .iter()
                    .find(|other| other.specs.iter().any(|s| s.name == spec.name));
                if let Some(first) = twin {
                    return Err(ToolError::Duplicate {
                        tool: spec.name.clone(),
                        first: first.name.clone(),
                        second: plugin.name.clone(),
                    });
                }
            }
        }
        Ok(Self { plugins })
    }

    pub(crate) fn specs(&self) -> impl Iterator<Item = &ToolSpec> {
        self.plugins.iter().flat_map(|plugin| &plugin.specs)
    }

    pub(crate) fn find(&self, tool: &str) -> Option<Arc<ToolPlugin>> {
        self.plugins
            .iter()
            .find(|plugin| plugin.specs.iter().any(|spec| spec.name == tool))
            .cloned()
    }

    pub(crate) fn by_digest(&self, digest: &Digest) -> Option<Arc<ToolPlugin>> {
        self.plugins
            .iter()
            .find(|plugin| plugin.component.digest() == *digest)
            .cloned()
    }

    /// Name and digest of each plugin, sorted by name, as the journal's first entry lists them.
    pub(crate) fn digests(&self) -> Vec<(String, Digest)> {
        let mut digests: Vec<_> = self
            .plugins
            .iter()
            .map(|plugin| (plugin.name.clone(), plugin.component.digest()))
            .collect();
        digests.sort();
        digests.dedup_by(|a, b| a.0 == b.0);
        digests
    }
}

/// What a call of a tool came to.
pub(crate) struct ToolRun {
    pub(crate) answer: Result<String, Error>,
    pub(crate) fuel: u64,
    pub(crate) memory_peak: u64,
}

/// Runs one call. Fails only when the whole run must stop.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one fact of the frame, and there is one caller"
)]
pub(crate) async fn call(
    plugin: &ToolPlugin,
    shared: Arc<Shared>,
    session: SharedSession,
    frame: u32,
    fuel_left: u64,
    memory_left: u64,
    name: &str,
    arguments_json: &str,
) -> wasmtime::Result<ToolRun> {
    let Pre::Tool(pre) = &plugin.component.0.pre else {
        return Err(wasmtime::Error::msg(
            "a plugin is a tool, or it is not made",
        ));
    };
    let engine = shared.given.engine.clone();
    let pool = engine.pool(plugin.component.pool());
    let _permit = pool
        .tools
        .acquire()
        .await
        .expect("the semaphore is never closed");
    let fuel = plugin.limits.fuel.get().min(fuel_left);
    let memory = plugin.limits.memory.get().min(memory_left);
    let host = plugin.host(shared, session, frame, fuel, memory);
    let mut store = open(pool, host, &plugin.limits);
    let result = {
        let call = pin!(async {
            let tool = pre.instantiate_async(&mut store).await?;
            tool.tally_agent_tools()
                .call_call(&mut store, name, arguments_json)
                .await
        });
        // The caller's own deadline covers its tools.
        bounded(&mut Deadline::never(), None, call).await
    };
    let run = close(store, result);
    let answer = match run.result {
        Ok(answer) => answer,
        Err(Ended::Stopped(stop @ (Stop::Environment | Stop::Diverged | Stop::JournalEnds))) => {
            return Err(stop.raise());
        }
        Err(ended) => Err(Error::Failed(format!(
            "the tool {name} stopped: {}",
            ended.sentence()
        ))),
    };
    Ok(ToolRun {
        answer,
        fuel: run.fuel,
        memory_peak: run.memory_peak,
    })
}

/// A clock that stands at the epoch.
pub(crate) struct Nowhen;

impl Clock for Nowhen {
    fn now(&self) -> Timestamp {
        Timestamp::from_epoch(Duration::ZERO)
    }
}

struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        bytes.fill(0);
        Ok(())
    }
}

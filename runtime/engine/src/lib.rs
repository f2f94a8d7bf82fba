//! Runs WebAssembly agents so that what they did can be proved.
//!
//! * [`Engine`] holds the pools and the cache of compiled code. [`inspect`] reads what a component says of itself,
//!   [`Engine::load`] makes a [`Component`] of it.
//! * [`Plan`] is a component with manifest ∩ grant, tools and settings, resolved once. [`Engine::run`] executes it in a
//!   store of its own and journals every host call; [`RunReport`] says how it ended.
//! * [`Engine::replay`] executes a journal again and names the first difference, [`Engine::branch`] goes on live from an
//!   entry, `tally_journal::view` shows it.
//! * [`services`] is what a run is given from outside: models, a vault, a memory, a screen, a clock, chance.
//! * [`effects`] lists every host function with what it does to the world.
//!
//! Invariants: a guest reaches nothing but its contract (`wit/`) and a WASI that is a function of the journal; every
//! limit is on; a denial is a typed answer and never a trap; an effect is journaled before it is visible; compiled code
//! is authenticated before it is loaded.
//!
//! Out of scope: what a journal looks like (`tally-journal`), what may be granted (`tally-capability`), what a receipt
//! says (`tally-receipt`), where models come from (whoever implements [`services::Inference`]).

pub mod baseline;
mod cache;
pub mod cbor;
mod component;
mod config;
pub mod contract;
pub mod effects;
mod host;
mod limits;
mod policy;
mod receipt;
mod replay;
mod run;
pub mod services;
mod session;
mod tool;

pub use component::{
    COMPONENT_LEN_MAX, Component, ComponentKind, Inspection, LoadError, LoadStep, MANIFEST_SECTION,
    inspect,
};
pub use config::{Engine, EngineError, EngineOptions, PoolKind, Pools, WASMTIME_VERSION};
pub use limits::{DEFAULT_LIMITS, Exhausted, Limits};
pub use policy::{Grant, Manifest, ResolveError};
pub use receipt::{Proof, Signing};
pub use replay::{
    BranchError, Difference, Divergence, ReplayError, ReplayOptions, ReplayReport, ReplayVerdict,
};
pub use run::{Outcome, Plan, PlanError, RunError, RunReport, Start};
pub use services::{
    BoxFuture, CallContext, Clock, Embeddings, Entropy, Generation, Inference, Memory, NoInference,
    NoMemory, NoOutput, NoVault, OutputSink, ReceiptBytes, Services, SystemClock, SystemEntropy,
    Vault, VaultQuery,
};
pub use session::{Denial, EnvironmentError, JournalTo, RunJournal, Used};
pub use tool::{ToolError, ToolPlugin};

//! Every function of the host, once: its name, what it does to the world, and what follows from that.
//!
//! One table drives journaling (what is written before and after), permission (what the policy is asked), retry (what a
//! caller may do again after a crash) and replay (what is compared). A function in `wit/` without a row does not pass
//! the tests, and neither does a row without a function.

use std::borrow::Cow;
pub use tally_journal::EffectClass;

/// What must have happened to the journal before the call may have an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: the entry is appended when the call returns.
    AfterCall,
    /// The entry has been handed to the operating system before a person sees the effect.
    FlushBefore,
    /// When the effect leaves the machine, an intent is on disk before it does.
    SyncBeforeLeaving,
}

/// What the policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Nothing: the call reaches nothing that could be granted.
    None,
    /// The handle was granted when it was made.
    Handle,
    /// The model named in the request.
    Model,
    /// The tool named in the request.
    Tool,
    /// The namespace of the vault named in the request, and what is to be done in it.
    Vault,
    /// Showing text to the person who started the run.
    Output,
    /// The setting named in the request.
    Setting,
}

/// What may be done when a crash left an intent without its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing outside changed: do it again.
    Free,
    /// It may have happened; doing it again costs, but changes nothing else.
    Costs,
    /// It may have happened; a person decides.
    Never,
}

/// One function of the host.
#[derive(Debug)]
pub struct Effect {
    /// The interface, for example `tally:agent/env@0.1.0`.
    pub interface: &'static str,
    /// The function as the component model names it, for example `now` or `[method]generation.next`.
    pub function: &'static str,
    /// Both, as journals write it: `interface#function`.
    pub name: &'static str,
    /// What it does to the world.
    pub class: EffectClass,
    /// What comes before the effect.
    pub durability: Durability,
    /// What the policy is asked.
    pub capability: Capability,
    /// What may be done after a crash.
    pub retry: Retry,
}

/// Makes the rows, each a constant of its own and all of them a table.
macro_rules! effects {
    ($($(#[$doc:meta])* $row:ident: $interface:literal # $function:literal,
        $class:ident, $durability:ident, $capability:ident, $retry:ident;)*) => {
        $($(#[$doc])* pub static $row: Effect = Effect {
            interface: $interface,
            function: $function,
            name: concat!($interface, "#", $function),
            class: EffectClass::$class,
            durability: Durability::$durability,
            capability: Capability::$capability,
            retry: Retry::$retry,
        };)*
        /// Every function of the host.
        pub static EFFECTS: &[&Effect] = &[$(&$row),*];
    };
}

effects! {
    /// The clock.
    ENV_NOW: "tally:agent/env@0.1.0" # "now", ReadLocal, AfterCall, None, Free;
    /// Chance.
    ENV_RANDOM: "tally:agent/env@0.1.0" # "random", ReadLocal, AfterCall, None, Free;
    /// A setting of the run.
    ENV_SETTING: "tally:agent/env@0.1.0" # "setting", ReadLocal, AfterCall, None, Free;
    /// The log.
    ENV_LOG: "tally:agent/env@0.1.0" # "log", WriteLocal, AfterCall, None, Free;
    /// Starts a generation.
    INFERENCE_CHAT: "tally:agent/inference@0.1.0" # "chat", ReadRemote, SyncBeforeLeaving, Model, Costs;
    /// The next event of a generation.
    GENERATION_NEXT: "tally:agent/inference@0.1.0" # "[method]generation.next", ReadRemote, AfterCall, Handle, Costs;
    /// The receipt of a generation.
    GENERATION_RECEIPT: "tally:agent/inference@0.1.0" # "[method]generation.receipt", ReadLocal, AfterCall, Handle, Free;
    /// Ends a generation early.
    GENERATION_CANCEL: "tally:agent/inference@0.1.0" # "[method]generation.cancel", WriteLocal, AfterCall, Handle, Free;
    /// Vectors of texts.
    INFERENCE_EMBED: "tally:agent/inference@0.1.0" # "embed", ReadRemote, SyncBeforeLeaving, Model, Costs;
    /// The models of the run.
    INFERENCE_MODELS: "tally:agent/inference@0.1.0" # "models", ReadLocal, AfterCall, None, Free;
    /// Shows text to the person who started the run.
    OUTPUT_EMIT: "tally:agent/output@0.1.0" # "emit", WriteLocal, FlushBefore, Output, Never;
    /// The namespaces of the vault that the run may use.
    VAULT_NAMESPACES: "tally:agent/vault@0.1.0" # "namespaces", ReadLocal, AfterCall, None, Free;
    /// Records of the vault.
    VAULT_LIST: "tally:agent/vault@0.1.0" # "list", ReadLocal, AfterCall, Vault, Free;
    /// One record of the vault.
    VAULT_GET: "tally:agent/vault@0.1.0" # "get", ReadLocal, AfterCall, Vault, Free;
    /// Adds records to the vault. They outlive the run and travel with the vault.
    VAULT_APPEND: "tally:agent/vault@0.1.0" # "append", WriteRemote, SyncBeforeLeaving, Vault, Never;
    /// Writes a version in place of others.
    VAULT_SUPERSEDE: "tally:agent/vault@0.1.0" # "supersede", WriteRemote, SyncBeforeLeaving, Vault, Never;
    /// Hides versions.
    VAULT_RETRACT: "tally:agent/vault@0.1.0" # "retract", WriteRemote, SyncBeforeLeaving, Vault, Never;
    /// Takes turns into a memory. Those that are known add nothing.
    MEMORY_REMEMBER: "tally:agent/memory@0.1.0" # "remember", WriteRemote, SyncBeforeLeaving, Vault, Costs;
    /// What a memory answers.
    MEMORY_RECALL: "tally:agent/memory@0.1.0" # "recall", ReadLocal, AfterCall, Vault, Free;
    /// Who the person is, by a memory.
    MEMORY_PROFILE: "tally:agent/memory@0.1.0" # "profile", ReadLocal, AfterCall, Vault, Free;
    /// Puts a text in the place of a fact.
    MEMORY_CORRECT: "tally:agent/memory@0.1.0" # "correct", WriteRemote, SyncBeforeLeaving, Vault, Never;
    /// Destroys memories.
    MEMORY_FORGET: "tally:agent/memory@0.1.0" # "forget", WriteRemote, SyncBeforeLeaving, Vault, Never;
    /// The tools of the run.
    TOOLS_LIST: "tally:agent/tools@0.1.0" # "list", ReadLocal, AfterCall, None, Free;
    /// Runs a tool. What the tool itself does is journaled in its own frame.
    TOOLS_CALL: "tally:agent/tools@0.1.0" # "call", ReadRemote, AfterCall, Tool, Costs;
    /// What a stock WASI build printed since its last host call.
    WASI_STDOUT: "wasi:cli/stdout@0.2.0" # "write", WriteLocal, AfterCall, None, Free;
    /// What a stock WASI build complained about since its last host call.
    WASI_STDERR: "wasi:cli/stderr@0.2.0" # "write", WriteLocal, AfterCall, None, Free;
}

/// The row of the function that journals call `name`.
pub fn find(name: &str) -> Option<&'static Effect> {
    EFFECTS.iter().copied().find(|effect| effect.name == name)
}

/// The names of all of them in the order in which the terms of a journal list them.
pub(crate) fn names() -> Vec<Cow<'static, str>> {
    let mut names: Vec<_> = EFFECTS
        .iter()
        .map(|effect| Cow::Borrowed(effect.name))
        .collect();
    names.sort();
    names
}

//! Write an agent or a tool plugin for Tally in Rust.
//!
//! An agent is one function:
//!
//! ```
//! use tally_agent::prelude::*;
//!
//! tally_agent::agent!(handle);
//!
//! fn handle(input: Input) -> Result<Reply> {
//!     let answer = chat(input.text)
//!         .system("You answer in one sentence.")
//!         .max_tokens(120)
//!         .emit()
//!         .send()?;
//!     Ok(Reply::new(answer.text))
//! }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`chat`] | talking to a model: builder, streaming, constrained output, tool loop |
//! | [`env`] | time, randomness, settings, log, output, embeddings: all that reaches an agent from outside |
//! | [`vault`] | the records of the person's vault |
//! | [`memory`] | the person's long-term memory |
//! | [`plugin`] | offering tools, and calling them |
//! | [`error`] | why a call did not succeed |
//!
//! Everything here is a call into the host, which writes it into the run's journal; there is no other way out of the
//! component. The contract itself is `wit/`, and this crate adds nothing to it that a guest in C could not do.
//!
//! With the feature `std` (the default) an agent may use all of `std`. Without it the crate brings an allocator and a
//! panic handler, and the component imports nothing of WASI.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

#[doc(hidden)]
pub mod bindings;
pub mod chat;
pub mod env;
pub mod error;
mod guest;
#[cfg(any(target_arch = "wasm32", test))]
mod heap;
pub mod memory;
pub mod plugin;
pub mod vault;

pub use bindings::agent::exports::tally::agent::handler::{Attachment, Input, Reply};
pub use chat::chat;
pub use env::{embed, emit, log, models, now, random, setting};
pub use error::{Error, Resource, Result};
pub use serde_json as json;

/// What an agent usually needs, for `use tally_agent::prelude::*`.
pub mod prelude {
    pub use crate::chat::{Answer, Chat, Event, FinishReason, Lane, Message, Role, ToolCall, chat};
    pub use crate::env::{Level, embed, models, now, random, setting};
    pub use crate::error::{Error, Resource, Result};
    pub use crate::memory::{Voice, memory, question, turn};
    pub use crate::plugin::{ToolSpec, call_tool, tools};
    pub use crate::vault::namespace;
    pub use crate::{Attachment, Input, Reply, emit, log};
    pub use alloc::borrow::ToOwned;
    pub use alloc::format;
    pub use alloc::string::{String, ToString};
    pub use alloc::vec::Vec;
}

#[doc(hidden)]
pub mod private {
    //! What the macros expand to. Not for use by hand.
    pub use crate::bindings::agent::exports::tally::agent::handler::Guest as Handler;
    pub use crate::bindings::agent::tally::agent::types::{Error as WitError, ToolSpec};
    pub use crate::bindings::tool::exports::tally::agent::tools::Guest as Tools;
    pub use crate::guest::{call, handle, list};
    pub use alloc::{format, string::String, vec::Vec};
}

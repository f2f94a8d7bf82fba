//! HTTP faces of a memory: MemSync's REST, an MCP server and the console, above one trait. And the explorer of a ledger, above
//! another.
//!
//! ```text
//! connection ─ guard (host, origin, headers, request id) ─ key or session ─ scope ─ rate ─ handler ─ MemoryService
//! ```
//!
//! * [`MemoryService`] is all that a memory must do; the program above puts the real one behind it.
//! * [`Gateway`] holds the state, [`Gateway::router`] answers requests, [`serve`] accepts connections.
//! * [`McpServer`] is the same memory for MCP clients, over standard streams or HTTP.
//! * [`Explorer`] shows a ledger, above the trait [`LedgerView`]: in the console, or by itself.
//! * [`KeyRing`] holds API keys, hashed; [`openapi`] is the description of the REST face.
//!
//! Invariants:
//!
//! * Nothing is answered without a key or a session, but the liveness of the server, its OpenAPI document and the console's
//!   sign-in page. What a key may do is the scope in the one table of routes.
//! * A request whose `Host` is not one of the server's names, or whose `Origin` is not the server itself, goes no further:
//!   a page in a browser cannot use a name that points here, nor send forms here.
//! * Every error has one shape, a code for programs and a sentence for people, and never a text from the inside.
//! * Time, randomness and where keys are kept are parameters.
//!
//! Out of scope: TLS (a proxy's, in front), what is remembered and why (`memsync`), inference.

mod access;
mod at_once;
mod console;
mod error;
mod explorer;
mod gateway;
mod guard;
mod jobs;
mod keys;
mod ledger;
mod mcp;
mod openapi;
mod rate;
mod rest;
mod server;
mod service;
mod time;
mod unread;

pub use error::ApiError;
pub use explorer::Explorer;
pub use gateway::{Clock, Config, FileReader, Gateway, KeyKeeper, StartError};
pub use keys::{IssuedKey, KeyError, KeyInfo, KeyRing, Scope};
pub use ledger::*;
pub use mcp::{McpServer, serve_stdio};
pub use openapi::openapi;
pub use server::{serve, serve_behind};
pub use service::*;
pub use time::UnixMs;

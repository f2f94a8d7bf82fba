//! What an agent may do: **effective = manifest ∩ grant**, decided without I/O, clock or allocation.
//!
//! * [`Manifest`]: what a component asks for. Its author writes it; it travels inside the component
//!   ([`MANIFEST_SECTION`]) and is the ceiling: what it does not ask for is never allowed, whoever grants it.
//! * [`Grant`]: what the operator or user permits, perhaps for a time, perhaps for one component only.
//! * [`Effective`]: both, resolved once for each run. [`Effective::decide`] answers each [`Ask`] with the rule that
//!   allowed it or the reason that refused it.
//!
//! Invariants: nothing is allowed by default; the effective set is contained in both sides; a narrower grant never
//! allows more; a file with a word this crate does not know is refused, never half understood.
//!
//! `docs/manifest.md` describes both files. Out of scope: enforcing limits and recording decisions (the engine), and
//! who may write a grant (whoever can start a run).

mod budgets;
mod document;
mod effective;
mod explain;
mod grant;
mod manifest;
mod moment;
mod names;
mod units;

pub use budgets::{Budgets, DEFAULT_LIMITS, Limits};
pub use document::{DocumentError, MAX_DOCUMENT_LEN};
pub use effective::{Ask, Cause, Decision, Denial, Effective, ResolveError};
pub use explain::Line;
pub use grant::{Grant, NarrowError};
pub use manifest::{CONTRACT_VERSION, MANIFEST_SECTION, Manifest, World};
pub use moment::{Moment, ParseMomentError};
pub use names::{
    Access, Capabilities, InvalidName, MAX_NAME_LEN, MAX_NAMES, Name, Names, Namespaces,
};
pub use units::{Bytes, Calls, Fuel, Handles, Millis, Tokens};

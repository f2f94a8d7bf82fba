//! One file per verb.

pub(crate) mod agent;
pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod devnet;
pub(crate) mod ledger;
pub(crate) mod memory;
pub(crate) mod model;
pub(crate) mod node;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod vault;
pub(crate) mod verify;

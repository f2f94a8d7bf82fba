//! The agent that `tally bench engine` starts: four cheap host calls, then a reply.
//!
//! It is as small as an agent gets, so that what is measured is the host: no `std`, no WASI, four pages of memory,
//! a 64 KiB stack (`.cargo/config.toml`), and no `memory.grow`.
#![no_std]

use tally_agent::prelude::*;

tally_agent::agent!(handle);

fn handle(input: Input) -> Result<Reply> {
    let at = now();
    let chance = random(8)?;
    let name = setting("name").unwrap_or_default();
    log(Level::Info, &input.text);
    let sum = chance.iter().fold(at.seconds, |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    Ok(Reply::new(format!("{name}{sum}")))
}

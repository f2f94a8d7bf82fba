//! Keeps what somebody says about their trips, in their own vault.
//!
//! `keep that I like the window seat`, `forget 3f2a…`, or nothing to list. It writes to the namespace `trips` and to no
//! other: its manifest asks for no more, and whoever widens that at run time meets the vault, which shared no more.

use tally_agent::json::json;
use tally_agent::prelude::*;

tally_agent::agent!(handle);

fn handle(input: Input) -> Result<Reply> {
    let trips = namespace(setting("namespace").unwrap_or_else(|| "trips".into()));
    let text = input.text.trim();
    if let Some(note) = text.strip_prefix("keep ") {
        let id = trips.add("text/plain", note.trim())?;
        emit!("kept {}\n", &id[..12])?;
        return Reply::new(format!("kept: {}", note.trim())).data(&json!({ "id": id }));
    }
    if let Some(id) = text.strip_prefix("forget ") {
        let id = id.trim();
        let item = trips
            .items("")
            .find(|item| item.as_ref().map_or(true, |item| item.id.starts_with(id)))
            .ok_or_else(|| Error::invalid(format!("no note begins with {id:?}")))??;
        trips.retract(std::slice::from_ref(&item.id), "asked to forget it")?;
        return Reply::new(format!("forgotten: {}", item.text()?)).data(&json!({ "id": item.id }));
    }
    if !text.is_empty() {
        return Err(Error::invalid("say `keep …`, `forget ID`, or nothing"));
    }
    let mut lines = Vec::new();
    for item in trips.items("text/") {
        let item = item?;
        lines.push(format!("{}  {}", &item.id[..12], item.text()?));
    }
    let count = lines.len();
    Reply::new(if lines.is_empty() {
        "no notes".into()
    } else {
        lines.join("\n")
    })
    .data(&json!({ "notes": count }))
}

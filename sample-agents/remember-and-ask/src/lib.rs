//! Remembers what it is told, and answers questions from the person's memory, whichever app heard it.
//!
//! A question ends with a question mark; everything else is remembered, as the person's own words, which the host checks. The
//! answer is the memory that fits best, quoted, with who said it, when, and which app heard it: no model takes part.

use tally_agent::json::json;
use tally_agent::prelude::*;

tally_agent::agent!(handle);

fn handle(input: Input) -> Result<Reply> {
    let memory = memory(setting("namespace").unwrap_or_else(|| "memory".into()));
    let text = input.text.trim();
    if text.is_empty() {
        return Err(Error::invalid("tell me something, or ask"));
    }
    if !text.ends_with('?') {
        let kept = memory.remember([turn(Voice::User, text)])?;
        let said = match kept.ids.len() {
            0 => "I know that already.",
            _ => "I will remember that.",
        };
        return Reply::new(said).data(&json!({ "ids": kept.ids, "secrets": kept.secrets }));
    }
    let found = memory.recall(question(text).hits(3))?;
    let best = match found.hits.first() {
        Some(best) if !found.abstain => best,
        _ => return Reply::new("I don't know.").data(&json!({ "answered": false })),
    };
    let day = best.said_at.get(..10).unwrap_or(&best.said_at);
    let answer = format!(
        "“{}” ({}, {day}, heard by {})",
        best.text, best.speaker, best.source.app
    );
    emit!("{answer}\n")?;
    Reply::new(answer).data(&json!({
        "answered": true,
        "memory": best.id,
        "operation": best.source.operation,
        "author": best.source.author,
        "run": best.source.run,
        "receipt": best.source.receipt,
    }))
}

//! Entries for people and for programs that print them: nothing is executed and nothing is checked here that parsing
//! did not check.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::entry::{Body, Call, Decision, End, Enter, Entry, Genesis, Intent, Outcome, Timestamp};
use crate::journal::{Completeness, Journal};
use crate::value;

/// How much of a value a line shows, in characters.
const VALUE_WIDTH: usize = 160;

/// One entry, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its number and what it is, in one line.
    pub title: String,
    /// More of it, one fact a line.
    pub details: Vec<String>,
}

/// Describes each entry in order.
pub fn describe(journal: &Journal) -> impl Iterator<Item = Description> + '_ {
    journal.entries().map(|entry| description(journal, &entry))
}

/// One line on the whole journal: how far the run came, and what is in doubt.
pub fn summary(journal: &Journal) -> String {
    let mut line = format!(
        "run {}: {} entries, ",
        journal.genesis().run_id,
        journal.len()
    );
    line.push_str(match journal.completeness() {
        Completeness::Sealed => "ended and sealed",
        Completeness::Ended => "ended, not sealed",
        Completeness::Open => "cut off before the end",
    });
    let in_doubt: Vec<_> = journal.in_doubt().map(|seq| seq.to_string()).collect();
    if !in_doubt.is_empty() {
        let _ = write!(
            line,
            "; not known to have happened: the calls announced by entries {}",
            in_doubt.join(", ")
        );
    }
    line
}

/// One entry as JSON, with its values read.
pub fn to_json(journal: &Journal, entry: &Entry<'_>) -> Value {
    let mut object = match entry.body {
        Body::Genesis => genesis_json(journal.genesis()),
        Body::Intent(Intent {
            frame,
            function,
            class,
            request,
            fuel,
        }) => json!({
            "kind": "intent", "frame": frame.get(), "function": function, "class": class.name(),
            "request": shown(request), "fuel": fuel,
        }),
        Body::Enter(Enter {
            frame,
            parent,
            component,
            export,
            request,
            grant,
        }) => json!({
            "kind": "enter", "frame": frame.get(), "parent": parent.get(), "component": component.to_string(),
            "export": export, "request": shown(request), "grant": text_or_hex(grant),
        }),
        Body::Call(Call {
            frame,
            function,
            class,
            intent,
            request,
            decision,
            fuel,
            response,
            receipt,
            callee,
        }) => {
            json!({
                "kind": "call", "frame": frame.get(), "function": function, "class": class.name(),
                "intent": intent.map(|seq| seq.get()), "request": shown(request),
                "decision": match decision {
                    Decision::Allowed { rule } => json!({"allowed": rule}),
                    Decision::Denied { reason } => json!({"denied": reason}),
                },
                "fuel": fuel, "response": shown(response),
                "receipt": receipt.map(|receipt| text_or_hex(receipt.envelope)),
                "callee": callee.map(|callee| json!({"frame": callee.frame.get(), "fuel": callee.fuel})),
            })
        }
        Body::End(End {
            outcome,
            output,
            fuel,
            ended,
        }) => json!({
            "kind": "end", "outcome": outcome.name(), "detail": detail(&outcome), "output": output.map(shown),
            "fuel": fuel, "ended": time_json(ended),
        }),
    };
    object["entry"] = entry.seq.get().into();
    object["hash"] = entry.hash.to_string().into();
    object
}

fn genesis_json(genesis: &Genesis) -> Value {
    let strings = |list: &[(String, String)]| -> Value {
        list.iter()
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let digests = |list: &[(String, tally_receipt::Digest)]| -> Value {
        list.iter()
            .map(|(name, digest)| (name.clone(), digest.to_string().into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let limits: serde_json::Map<_, _> = genesis
        .terms
        .limits
        .iter()
        .map(|(name, amount)| (name.clone(), (*amount).into()))
        .collect();
    json!({
        "kind": "genesis", "run": genesis.run_id.to_string(), "component": genesis.terms.component.to_string(),
        "world": genesis.terms.world,
        "engine": {
            "name": genesis.terms.engine.name, "version": genesis.terms.engine.version, "config": genesis.terms.engine.config.to_string(),
        },
        "manifest": genesis.terms.manifest.to_string(), "grant": text_or_hex(&genesis.terms.grant), "limits": limits,
        "input": shown(&genesis.input), "settings": strings(&genesis.terms.settings), "models": digests(&genesis.models),
        "tools": digests(&genesis.terms.tools), "wasi_seed": hex::encode(genesis.wasi_seed),
        "clock_base": time_json(genesis.clock_base), "started": time_json(genesis.started),
        "branch_of": genesis.branch_of.map(|branch| {
            json!({"head": branch.head.to_string(), "entry": branch.entry.get()})
        }),
    })
}

fn time_json(at: Timestamp) -> Value {
    json!({"seconds": at.seconds(), "nanoseconds": at.nanoseconds()})
}

/// A value as JSON; its bytes where it is none.
fn shown(bytes: &[u8]) -> Value {
    value::to_json(bytes).unwrap_or_else(|_| json!({"not-a-value": hex::encode(bytes)}))
}

/// JSON that stands in the journal as text stays text: it is what was hashed.
fn text_or_hex(bytes: &[u8]) -> Value {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({"hex": hex::encode(bytes)}),
    }
}

fn detail<'a>(outcome: &Outcome<'a>) -> Option<&'a str> {
    match outcome {
        Outcome::Trapped { reason } | Outcome::HostFailed { reason } => Some(reason),
        Outcome::Exhausted { limit } => Some(limit),
        Outcome::Replied | Outcome::Failed | Outcome::Cancelled => None,
    }
}

fn description(journal: &Journal, entry: &Entry<'_>) -> Description {
    let seq = entry.seq;
    let mut details = Vec::new();
    let title = match entry.body {
        Body::Genesis => {
            let genesis = journal.genesis();
            details.push(format!("component {}", genesis.terms.component));
            details.push(format!(
                "engine {} {}",
                genesis.terms.engine.name, genesis.terms.engine.version
            ));
            for (name, digest) in &genesis.models {
                details.push(format!("model {} {digest}", plain(name)));
            }
            for (name, digest) in &genesis.terms.tools {
                details.push(format!("tool {} {digest}", plain(name)));
            }
            for (name, setting) in &genesis.terms.settings {
                details.push(format!("setting {} = {}", plain(name), plain(setting)));
            }
            if let Some(branch) = genesis.branch_of {
                details.push(format!(
                    "continues another run after its entry {} ({})",
                    branch.entry, branch.head
                ));
            }
            details.push(format!("input {}", line(&genesis.input)));
            format!(
                "{seq} run {} of {} begins",
                genesis.run_id,
                plain(&genesis.terms.world)
            )
        }
        Body::Intent(intent) => {
            details.push(format!("asks {}", line(intent.request)));
            format!(
                "{seq} {}is about to call {} at fuel {}",
                who(intent.frame.get()),
                plain(intent.function),
                intent.fuel
            )
        }
        Body::Enter(enter) => {
            details.push(format!("component {}", enter.component));
            details.push(format!("asks {}", line(enter.request)));
            format!(
                "{seq} frame {} of a tool begins at {}",
                enter.frame,
                plain(enter.export)
            )
        }
        Body::Call(call) => {
            details.push(format!("asked {}", line(call.request)));
            details.push(format!("was told {}", line(call.response)));
            match call.decision {
                Decision::Allowed { rule } => details.push(format!("allowed by {}", plain(rule))),
                Decision::Denied { reason } => details.push(format!("denied: {}", plain(reason))),
            }
            if let Some(intent) = call.intent {
                details.push(format!("announced by entry {intent}"));
            }
            if let Some(receipt) = call.receipt {
                details.push(format!(
                    "brought a receipt of {} bytes",
                    receipt.envelope.len()
                ));
            }
            if let Some(callee) = call.callee {
                details.push(format!(
                    "frame {} ended after {} fuel",
                    callee.frame, callee.fuel
                ));
            }
            format!(
                "{seq} {}called {} at fuel {}",
                who(call.frame.get()),
                plain(call.function),
                call.fuel
            )
        }
        Body::End(end) => {
            if let Some(detail) = detail(&end.outcome) {
                details.push(plain(detail));
            }
            if let Some(output) = end.output {
                details.push(format!("output {}", line(output)));
            }
            format!(
                "{seq} the run {} after {} fuel",
                end.outcome.name(),
                end.fuel
            )
        }
    };
    Description { title, details }
}

fn who(frame: u32) -> String {
    if frame == 0 {
        String::new()
    } else {
        format!("frame {frame} ")
    }
}

/// A value in one line of bounded width.
fn line(bytes: &[u8]) -> String {
    let text = match value::to_json(bytes) {
        Ok(value) => value.to_string(),
        Err(_) => hex::encode(&bytes[..bytes.len().min(VALUE_WIDTH)]),
    };
    plain(&text)
}

/// Text from a journal for a terminal: no control character can reach it, and not more than fits.
fn plain(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(VALUE_WIDTH)
        .map(|c| {
            if c.is_control() || is_invisible(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    if text.chars().nth(VALUE_WIDTH).is_some() {
        let _ = write!(shown, "… ({} bytes)", text.len());
    }
    shown
}

/// Characters that reorder or hide what is around them on a terminal.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

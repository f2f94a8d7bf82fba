//! Manifests and decisions in plain sentences, for `tally agent inspect` and for whoever is asked to grant.

use std::fmt;

use crate::budgets::Limits;
use crate::effective::Effective;
use crate::manifest::{Manifest, World};
use crate::moment::Moment;
use crate::names::{Access, Capabilities, Names};

/// One thing, said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whether it says that something may be done (or is asked for). Limits say so too: they bound what may.
    pub may: bool,
    /// The sentence, without a full stop.
    pub sentence: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

fn line(may: bool, sentence: impl Into<String>) -> Line {
    Line {
        may,
        sentence: sentence.into(),
    }
}

/// "the models a and b", "every model", "no model".
fn list(names: &Names, one: &str, many: &str) -> String {
    match names {
        Names::All => format!("every {one}"),
        Names::Only(names) => match &names[..] {
            [] => format!("no {one}"),
            [name] => format!("the {one} {name}"),
            [rest @ .., last] => {
                let rest: Vec<_> = rest.iter().map(|name| name.as_str()).collect();
                format!("the {many} {} and {last}", rest.join(", "))
            }
        },
    }
}

/// Verb, singular and plural of each kind of thing that has names. Not asking for the last two goes without saying:
/// whoever does not ask to read a namespace does not ask for more.
const NAMED: [(&str, &str, &str); 6] = [
    ("use", "model", "models"),
    ("call", "tool", "tools"),
    ("read", "setting", "settings"),
    ("read", "namespace", "namespaces"),
    ("append to", "namespace", "namespaces"),
    ("curate", "namespace", "namespaces"),
];

fn goes_without_saying(verb: &str) -> bool {
    matches!(verb, "append to" | "curate")
}

fn named(capabilities: &Capabilities) -> [&Names; 6] {
    [
        &capabilities.models,
        &capabilities.tools,
        &capabilities.settings,
        capabilities.vault.at(Access::Read),
        capabilities.vault.at(Access::Append),
        capabilities.vault.at(Access::Curate),
    ]
}

const FLAGS: [&str; 2] = ["take random bytes", "show text while it runs"];

fn flags(capabilities: &Capabilities) -> [bool; 2] {
    [capabilities.random, capabilities.output]
}

pub(crate) fn manifest(manifest: &Manifest) -> Vec<Line> {
    let kind = match manifest.world() {
        World::Agent => "an agent",
        World::Tool => "a tool that agents call",
    };
    let mut lines = vec![line(
        true,
        format!("{} {} is {kind}", manifest.name(), manifest.version()),
    )];
    let capabilities = manifest.capabilities();
    for (names, (verb, one, many)) in named(capabilities).into_iter().zip(NAMED) {
        if !names.is_empty() {
            lines.push(line(
                true,
                format!("asks to {verb} {}", list(names, one, many)),
            ));
        } else if !goes_without_saying(verb) {
            lines.push(line(false, format!("does not ask to {verb} any {one}")));
        }
    }
    for (flag, verb) in flags(capabilities).into_iter().zip(FLAGS) {
        lines.push(line(
            flag,
            format!("{} to {verb}", if flag { "asks" } else { "does not ask" }),
        ));
    }
    let stated = manifest.budgets().to_named();
    if stated.is_empty() {
        lines.push(line(
            true,
            "states no budget, so the grant's or the default limits hold",
        ));
    } else {
        let stated: Vec<_> = stated
            .iter()
            .map(|(key, amount)| format!("{key} {amount}"))
            .collect();
        lines.push(line(
            true,
            format!("says it needs no more than: {}", stated.join(", ")),
        ));
    }
    lines
}

pub(crate) fn effective(effective: &Effective, now: Moment) -> Vec<Line> {
    let mut lines = Vec::new();
    match effective.expires() {
        Some(expires) if now >= expires => {
            lines.push(line(
                false,
                format!("may do nothing that needs a grant: the grant expired at {expires}"),
            ));
            return lines;
        }
        Some(expires) => lines.push(line(true, format!("may do the following until {expires}"))),
        None => {}
    }
    let capabilities = effective.capabilities();
    let asked = effective.asked();
    for ((names, asked), (verb, one, many)) in named(&capabilities)
        .into_iter()
        .zip(named(asked))
        .zip(NAMED)
    {
        if !names.is_empty() {
            lines.push(line(true, format!("may {verb} {}", list(names, one, many))));
        }
        if asked.is_empty() && goes_without_saying(verb) {
            continue;
        }
        if let Some(sentence) = refused(names, asked, verb, one, many) {
            lines.push(line(false, sentence));
        }
    }
    for ((may, asked), verb) in flags(&capabilities)
        .into_iter()
        .zip(flags(asked))
        .zip(FLAGS)
    {
        lines.push(match (may, asked) {
            (true, _) => line(true, format!("may {verb}")),
            (false, true) => line(
                false,
                format!("may not {verb}: it asks to and is not granted it"),
            ),
            (false, false) => line(false, format!("may not {verb}: it does not ask to")),
        });
    }
    lines.extend(limits(effective.limits()));
    lines
}

/// What is asked for and not granted, or not asked for at all.
fn refused(names: &Names, asked: &Names, verb: &str, one: &str, many: &str) -> Option<String> {
    match (names, asked) {
        (_, asked) if asked.is_empty() => {
            Some(format!("may not {verb} any {one}: it does not ask to"))
        }
        (Names::All, _) => None,
        (Names::Only(names), Names::All) if names.is_empty() => Some(format!(
            "may not {verb} any {one}: it asks to and is granted none"
        )),
        (Names::Only(_), Names::All) => Some(format!(
            "may not {verb} any other {one}: it asks to and is not granted it"
        )),
        (names, Names::Only(asked)) => {
            let missing = Names::only(
                asked
                    .iter()
                    .filter(|name| !names.contains(name.as_str()))
                    .cloned(),
            );
            (!missing.is_empty()).then(|| {
                format!(
                    "may not {verb} {}: it asks to and is not granted it",
                    list(&missing, one, many)
                )
            })
        }
    }
}

fn limits(limits: &Limits) -> [Line; 5] {
    let Limits {
        fuel,
        memory,
        wall,
        call_wall,
        tokens,
        output,
        handles,
        calls,
        request,
        input,
    } = limits;
    [
        line(
            true,
            format!("may run for {wall} in all and {call_wall} in one call, on {fuel}"),
        ),
        line(
            true,
            format!("may use {memory} of memory and hold {handles}"),
        ),
        line(true, format!("may spend {tokens}")),
        line(
            true,
            format!(
                "may make {calls} into the host, each of up to {request}, after an input of up to {input}"
            ),
        ),
        line(true, format!("may show and log {output}")),
    ]
}

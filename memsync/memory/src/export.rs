//! A memory as files that other programs and people read.
//!
//! The JSON holds everything that the vault's records say, receipts included, with where each fact stands at the moment of the export;
//! whoever has it can check all that `memory verify` checks. The Markdown is for reading. The vault itself is exported by the vault.

use serde::Serialize;

use crate::ids::{CallId, EpisodeId, FactId, MemoryId, RemarkId};
use crate::memory::Memory;
use crate::moment::Moment;
use crate::record::{Call, Confirmation, Correction, Episode, Fact};
use crate::secrets::{self, names};
use crate::timeline::Standing;

/// What the JSON of an export begins with.
pub const FORMAT: &str = "tally-memory-export/1";

/// Everything that a memory holds.
#[derive(Clone, Debug, Serialize)]
pub struct Export<'a> {
    /// [`FORMAT`].
    pub format: &'static str,
    /// When it was made.
    pub at: Moment,
    /// What was said, by when.
    pub episodes: Vec<Named<EpisodeId, &'a Episode>>,
    /// What was learnt.
    pub facts: Vec<Learnt<'a>>,
    /// What the owner corrected.
    pub corrections: Vec<Named<RemarkId, &'a Correction>>,
    /// What the owner confirmed.
    pub confirmations: Vec<Named<RemarkId, &'a Confirmation>>,
    /// What models were asked, with their receipts.
    pub calls: Vec<Named<CallId, &'a Call>>,
}

/// A record with its name.
#[derive(Clone, Debug, Serialize)]
pub struct Named<I, T> {
    /// Its name.
    pub id: I,
    /// What it says.
    #[serde(flatten)]
    pub record: T,
}

/// A fact with where it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Learnt<'a> {
    /// Its name.
    pub id: FactId,
    /// What it says.
    #[serde(flatten)]
    pub record: &'a Fact,
    /// `holds`, `happened`, `planned`, `repeats` or `corrected`.
    pub standing: &'static str,
    /// From when on it holds.
    pub holds_from: Option<Moment>,
    /// Until when.
    pub holds_until: Option<Moment>,
    /// The fact it repeats, the correction that replaced it, or what ended it.
    pub because_of: Option<MemoryId>,
}

impl Memory {
    /// Everything, for programs.
    #[must_use]
    pub fn export(&self, now: Moment) -> Export<'_> {
        Export {
            format: FORMAT,
            at: now,
            episodes: self
                .episodes()
                .into_iter()
                .map(|id| Named {
                    id,
                    record: &self.state.episodes[&id].value,
                })
                .collect(),
            facts: self
                .facts()
                .into_iter()
                .filter_map(|id| {
                    let MemoryId::Fact(fact) = id else {
                        return None;
                    };
                    let place = self.state.places().get(&id)?;
                    let (standing, because_of) = standing(place.standing, place.ended_by);
                    Some(Learnt {
                        id: fact,
                        record: self.fact(&fact)?,
                        standing,
                        holds_from: place.from,
                        holds_until: place.until,
                        because_of,
                    })
                })
                .collect(),
            corrections: named(&self.state.corrections),
            confirmations: named(&self.state.confirmations),
            calls: self
                .log()
                .into_iter()
                .map(|(id, record)| Named { id, record })
                .collect(),
        }
    }

    /// What stands now, for people.
    #[must_use]
    pub fn export_markdown(&self, now: Moment) -> String {
        let mut text = format!("# Memory, {}\n", day(now));
        let profile = self.profile(now);
        for (category, entries) in &profile.categories {
            text.push_str(&format!("\n## {}\n\n", category.as_str()));
            for entry in entries {
                let about = if entry.subject == "user" {
                    String::new()
                } else {
                    format!("{}: ", entry.subject)
                };
                let plan = if entry.planned { " (planned)" } else { "" };
                text.push_str(&format!(
                    "- {}{}{plan} — {}, {} `{}`\n",
                    escaped(&about),
                    escaped(&entry.text),
                    escaped(&entry.said_by),
                    day(entry.said_at),
                    short(&entry.id),
                ));
            }
        }
        if profile.categories.is_empty() {
            text.push_str("\nNo facts stand.\n");
        }
        let mut heading = String::new();
        for id in self.episodes() {
            let Some((episode, said)) = self.episode(&id) else {
                continue;
            };
            let app = names::shown(&episode.app);
            let place = match episode.thread.as_str() {
                "" => app,
                thread => format!("{app}, {}", names::shown(thread)),
            };
            let next = format!("\n## {}: {}\n\n", day(said), escaped(&place));
            if next != heading {
                text.push_str(&next);
                heading = next;
            }
            text.push_str(&format!(
                "- **{}**: {}\n",
                escaped(&names::shown(&episode.speaker)),
                escaped(&secrets::mask(&episode.text)).replace('\n', "  \n  ")
            ));
        }
        text
    }
}

fn named<I: Copy, T>(
    map: &std::collections::BTreeMap<I, crate::state::Kept<T>>,
) -> Vec<Named<I, &T>> {
    map.iter()
        .map(|(id, one)| Named {
            id: *id,
            record: &one.value,
        })
        .collect()
}

/// A standing's name for programs, and what brought it about.
#[must_use]
pub fn standing(
    standing: Standing,
    ended_by: Option<MemoryId>,
) -> (&'static str, Option<MemoryId>) {
    match standing {
        Standing::Holds => ("holds", ended_by),
        Standing::Happened => ("happened", ended_by),
        Standing::Planned => ("planned", ended_by),
        Standing::Repeats(other) => ("repeats", Some(other)),
        Standing::Corrected(by) => ("corrected", Some(by)),
    }
}

fn day(moment: Moment) -> String {
    let mut text = moment.to_string();
    text.truncate(10);
    text
}

fn short(id: &MemoryId) -> String {
    let mut text = id.to_string();
    text.truncate(12);
    text
}

/// Text that Markdown shows as it is.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(
            character,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|'
        ) {
            safe.push('\\');
        }
        safe.push(character);
    }
    safe
}

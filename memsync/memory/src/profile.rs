//! Who somebody is, by what they said: rendered from facts that stand now, each line with its citation.
//!
//! The static part is what lasts; the dynamic part is what was planned and what happened in the last [`RECENT_DAYS`]. The
//! categories hold both, about the owner and about people around them. The same facts give the same profile, to the byte;
//! no model takes part. One may put the facts of a bio into words, where somebody asks for that ([`Memory::draft`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use crate::ids::{EpisodeId, MemoryId};
use crate::memory::Memory;
use crate::moment::Moment;
use crate::record::{Category, Fact, Kind};
use crate::secrets::{self, names};
use crate::timeline::{Place, Standing};

/// How long something that happened is recent: 90 days.
pub const RECENT_DAYS: i64 = 90;

/// One line of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The fact or correction it says.
    pub id: MemoryId,
    /// Whom it is about: `user` for the owner.
    pub subject: String,
    /// What it says, in the words of whoever said it.
    pub text: String,
    /// From when on it holds, where that is known.
    pub from: Option<Moment>,
    /// When it was said.
    pub said_at: Moment,
    /// Who said it.
    pub said_by: String,
    /// Whether it was planned, and may not have come to be.
    pub planned: bool,
    /// How often it was said.
    pub times: u32,
    /// In thousandths.
    pub confidence: u16,
    /// The number by which the profile cites it, from 1.
    pub citation: u32,
    /// The episodes it rests on.
    pub evidence: Vec<EpisodeId>,
}

/// A profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// What lasts, about the owner.
    #[serde(rename = "static")]
    pub lasting: Vec<Entry>,
    /// What is planned and what happened lately, about the owner.
    #[serde(rename = "dynamic")]
    pub recent: Vec<Entry>,
    /// Everything that stands, by category, in the order of the categories; those without an entry are left out.
    pub categories: Vec<(Category, Vec<Entry>)>,
}

/// How long a bio is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Length {
    /// At most 30 words.
    Short,
    /// At most 80 words.
    #[default]
    Medium,
    /// At most 200 words.
    Long,
}

impl Length {
    const fn words(self) -> usize {
        match self {
            Self::Short => 30,
            Self::Medium => 80,
            Self::Long => 200,
        }
    }
}

/// A few sentences about the owner, in the owner's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bio {
    /// The text: quotations, each with its citation in brackets.
    pub text: String,
    /// What the citations name.
    pub citations: Vec<(u32, MemoryId)>,
}

impl Memory {
    /// The profile now.
    #[must_use]
    pub fn profile(&self, now: Moment) -> Profile {
        self.profile_by(self.state.places(), now)
    }

    /// The profile at a moment, as far as it had been said by then.
    #[must_use]
    pub fn profile_as_of(&self, moment: Moment) -> Profile {
        self.profile_by(&self.state.places_as_of(moment), moment)
    }

    fn profile_by(&self, places: &BTreeMap<MemoryId, Place>, now: Moment) -> Profile {
        let mut standing: Vec<(MemoryId, Fact, Place)> = places
            .iter()
            .filter(|(_, place)| place.stands_at(now))
            .filter_map(|(id, place)| Some((*id, self.state.fact_of(id)?.1, *place)))
            .collect();
        // What was confirmed and what was said often comes first; then what is newest.
        standing.sort_by_cached_key(|(id, fact, place)| {
            (
                std::cmp::Reverse(self.confidence(id, fact)),
                std::cmp::Reverse(place.times),
                std::cmp::Reverse(fact.observed),
                *id,
            )
        });
        let entries: Vec<(Entry, Vec<Category>, bool, bool)> = (1..)
            .zip(standing)
            .map(|(citation, (id, fact, place))| {
                let happened = place.standing == Standing::Happened;
                let begins = fact.begins();
                let is_recent = begins.plus_days(RECENT_DAYS) >= now;
                let planned = place.standing == Standing::Planned;
                let lasts = fact.kind == Kind::Semantic && !planned && !happened;
                let moves = planned || (happened || fact.kind == Kind::Episodic) && is_recent;
                let entry = Entry {
                    id,
                    text: secrets::mask(&fact.text),
                    from: if happened || fact.from.is_some() {
                        Some(begins)
                    } else {
                        None
                    },
                    said_at: fact.observed,
                    said_by: names::shown(&fact.said_by),
                    planned,
                    times: place.times,
                    confidence: self.confidence(&id, &fact),
                    citation,
                    evidence: fact.evidence.iter().map(|one| one.episode).collect(),
                    subject: names::shown(&fact.subject),
                };
                (entry, fact.categories, lasts, moves)
            })
            .collect();
        let of_owner = |want: fn(bool, bool) -> bool| {
            entries
                .iter()
                .filter(|(entry, _, lasts, moves)| entry.subject == "user" && want(*lasts, *moves))
                .map(|(entry, ..)| entry.clone())
                .collect()
        };
        let categories = Category::ALL
            .into_iter()
            .filter_map(|category| {
                let of: Vec<Entry> = entries
                    .iter()
                    .filter(|(_, categories, ..)| categories.contains(&category))
                    .map(|(entry, ..)| entry.clone())
                    .collect();
                (!of.is_empty()).then_some((category, of))
            })
            .collect();
        Profile {
            lasting: of_owner(|lasts, _| lasts),
            recent: of_owner(|_, moves| moves),
            categories,
        }
    }

    /// A bio now: of each category the best line in turn, while there is room.
    #[must_use]
    pub fn bio(&self, length: Length, now: Moment) -> Bio {
        self.profile(now).bio(length)
    }

    /// A bio at a moment, as far as it had been said by then.
    #[must_use]
    pub fn bio_as_of(&self, length: Length, moment: Moment) -> Bio {
        self.profile_as_of(moment).bio(length)
    }
}

impl Profile {
    fn bio(self, length: Length) -> Bio {
        let mut bio = Bio::default();
        for (number, entry) in (1..).zip(self.bio_entries(length)) {
            if !bio.text.is_empty() {
                bio.text.push(' ');
            }
            bio.text.push_str(&quoted(&entry.text, number));
            bio.citations.push((number, entry.id));
        }
        bio
    }

    /// What a bio says, in its order.
    pub(crate) fn bio_entries(self, length: Length) -> Vec<Entry> {
        // What is private is in no summary, whatever else it is.
        let private: BTreeSet<MemoryId> = self
            .categories
            .iter()
            .filter(|(category, _)| *category == Category::Private)
            .flat_map(|(_, entries)| entries.iter().map(|entry| entry.id))
            .collect();
        let mut columns: Vec<VecDeque<Entry>> = self
            .categories
            .into_iter()
            .map(|(_, entries)| {
                entries
                    .into_iter()
                    .filter(|entry| entry.subject == "user" && !private.contains(&entry.id))
                    .collect()
            })
            .collect();
        let mut taken: Vec<Entry> = Vec::new();
        let mut words = 0;
        loop {
            let mut took = false;
            for column in &mut columns {
                let Some(entry) = column.pop_front() else {
                    continue;
                };
                took = true;
                let cost = entry.text.split_whitespace().count();
                let is_there = taken.iter().any(|one| one.id == entry.id);
                if is_there || words + cost > length.words() {
                    continue;
                }
                words += cost;
                taken.push(entry);
            }
            if !took {
                return taken;
            }
        }
    }
}

/// A line of a profile as code renders it: a quotation, with the number that cites it.
pub(crate) fn quoted(text: &str, number: u32) -> String {
    format!("“{text}” [{number}]")
}

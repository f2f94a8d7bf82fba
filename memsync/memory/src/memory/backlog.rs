//! Lines that no model was asked about, kept in step with what is known.
//!
//! To find an episode's lines is to read its whole text, so that is done once, and not before somebody asks: a view that only answers
//! never does it.

use std::collections::BTreeMap;

use crate::extract;
use crate::ids::EpisodeId;
use crate::record::Line;
use crate::state::{Order, State};

/// The lines that are left of a conversation, with their lengths, by where their episode stands in it. No list is empty.
type Left = BTreeMap<Order, Vec<(Line, usize)>>;

#[derive(Default)]
pub(crate) struct Backlog {
    /// Episodes whose lines were not looked for yet.
    unread: Vec<EpisodeId>,
    /// By app and thread; none is empty.
    conversations: BTreeMap<(String, String), Left>,
    lines: usize,
}

impl Backlog {
    /// An episode is new.
    pub(crate) fn came(&mut self, episode: EpisodeId) {
        self.unread.push(episode);
    }

    /// A model was asked about these lines: they are left no longer.
    pub(crate) fn asked(&mut self, state: &State, lines: &[Line]) {
        for line in lines {
            let Some(kept) = state.episodes.get(&line.episode) else {
                continue;
            };
            let name = (kept.value.app.clone(), kept.value.thread.clone());
            let Some(conversation) = self.conversations.get_mut(&name) else {
                continue;
            };
            let mut at = state.order(&line.episode);
            if !conversation.contains_key(&at) {
                // Another device's copy was written earlier than the one that was known here.
                match conversation.keys().find(|(.., id)| *id == line.episode) {
                    Some(known) => at = *known,
                    None => continue,
                }
            }
            if let Some(left) = conversation.get_mut(&at) {
                let before = left.len();
                left.retain(|(other, _)| other != line);
                self.lines -= before - left.len();
                if left.is_empty() {
                    conversation.remove(&at);
                }
            }
            if conversation.is_empty() {
                self.conversations.remove(&name);
            }
        }
    }

    /// Finds the lines of what came since.
    pub(crate) fn read(&mut self, state: &State) {
        for id in std::mem::take(&mut self.unread) {
            let Some(kept) = state.episodes.get(&id) else {
                continue;
            };
            let episode = &kept.value;
            let lines: Vec<(Line, usize)> = extract::lines(id, episode)
                .into_iter()
                .filter(|line| !state.learnt.contains(line))
                .map(|line| {
                    let text = extract::line_text(episode, &line);
                    (line, text.map_or(0, |text| text.len()))
                })
                .collect();
            if lines.is_empty() {
                continue;
            }
            self.lines += lines.len();
            self.conversations
                .entry((episode.app.clone(), episode.thread.clone()))
                .or_default()
                .insert(state.order(&id), lines);
        }
    }

    /// How many lines are left.
    pub(crate) const fn count(&self) -> usize {
        self.lines
    }

    /// Whether a line of one of these episodes is left.
    pub(crate) fn has_any_of(&self, state: &State, episodes: &[EpisodeId]) -> bool {
        episodes.iter().any(|id| {
            state.episodes.get(id).is_some_and(|kept| {
                let name = (kept.value.app.clone(), kept.value.thread.clone());
                self.conversations
                    .get(&name)
                    .is_some_and(|left| left.contains_key(&state.order(id)))
            })
        })
    }

    /// What is left, the conversation first in which a line was said last, each in the order in which it was said.
    pub(crate) fn newest_first(&self) -> Vec<Vec<(Line, usize)>> {
        let mut conversations: Vec<&Left> = self.conversations.values().collect();
        conversations.sort_by_key(|left| std::cmp::Reverse(last(left)));
        conversations
            .into_iter()
            .map(|left| left.values().flatten().copied().collect())
            .collect()
    }

    /// What the next call is asked about: the first window of [`Self::newest_first`].
    pub(crate) fn next_window(&self) -> Option<Vec<Line>> {
        let newest = self.conversations.values().max_by_key(|left| last(left))?;
        let lines: Vec<(Line, usize)> = newest
            .values()
            .flatten()
            .take(extract::LINES_PER_CALL)
            .copied()
            .collect();
        extract::windows(&lines).into_iter().next()
    }
}

/// Where the last line of a conversation stands.
fn last(left: &Left) -> Option<Order> {
    left.last_key_value().map(|(at, _)| *at)
}

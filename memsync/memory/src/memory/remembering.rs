//! Taking in what was said: turns become episodes, each once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tally_recall::{DocumentId, EmbedError};
use tally_vault::WriteError;
use tally_vault::format::OpId;

use crate::ids::EpisodeId;
use crate::memory::{Memory, SharedEmbedder, index};
use crate::moment::Moment;
use crate::record::{Episode, Record, RecordError, Role, TEXT_MAX};
use crate::secrets::SecretKind;
use crate::state::Kept;
use crate::store::{LoadError, Store};
use crate::vectors::Vectors;

/// Longest text of one turn, in bytes.
const TURN_MAX: usize = 16 << 20;
/// How long the same words are the same turn, where nobody says when it was said: who asks twelve hours later says them again.
const AGAIN_MS: i64 = 12 * 3_600_000;

/// A turn of a conversation, or a document, as an app hands it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The app it comes from.
    pub app: String,
    /// The conversation or document within the app; may be empty.
    pub thread: String,
    /// The app's own name for it, where it has one.
    pub key: Option<String>,
    /// Whose words they are.
    pub role: Role,
    /// What the speaker is called.
    pub speaker: String,
    /// When it was said, where that is known.
    pub at: Option<Moment>,
    /// The words.
    pub text: String,
}

/// A turn as it is to be kept, in one piece.
struct Whole {
    /// Which of those that were handed over.
    index: usize,
    episode: Episode,
    /// The same with the names that it came with, where they are not kept so. Until names were looked at they were: it may be here.
    as_it_came: Option<Episode>,
    /// Which of several turns that are equal in all else, where that is known already.
    repeat: Option<u32>,
}

/// What two turns have in common of which one may be the other, said or handed over once more.
type Words<'a> = (Option<&'a str>, Role, &'a str, &'a str);

fn words(episode: &Episode) -> Words<'_> {
    // Of a long text the episode that is kept first has the first part.
    let text = parts(&episode.text).first().copied().unwrap_or_default();
    (
        episode.key.as_deref(),
        episode.role,
        episode.speaker.as_str(),
        text,
    )
}

/// What became of turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Episodes that are new, in the order of the turns. A long turn is several.
    pub new: Vec<EpisodeId>,
    /// Episodes that were there already.
    pub known: usize,
    /// Episodes that were forgotten before, and stay so.
    pub forgotten: usize,
    /// Turns without any words.
    pub empty: usize,
    /// Secrets and identifiers that were taken out, by the turn's number from zero.
    pub secrets: Vec<(usize, SecretKind)>,
    /// Episodes that were given vectors.
    pub embedded: usize,
}

impl Remembered {
    /// Adds what came of later turns, the first of which is number `first`.
    pub fn add(&mut self, first: usize, later: Self) {
        self.new.extend(later.new);
        self.known += later.known;
        self.forgotten += later.forgotten;
        self.empty += later.empty;
        let secrets = later.secrets.into_iter();
        self.secrets
            .extend(secrets.map(|(at, kind)| (first + at, kind)));
        self.embedded += later.embedded;
    }
}

/// What is wrong with a turn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TurnError {
    /// A field that an episode cannot hold.
    #[error("turn {index}: {error}")]
    Field {
        /// Which, from zero.
        index: usize,
        /// Why.
        error: RecordError,
    },
    /// Longer than any.
    #[error("turn {index} has {found} bytes, more than {TURN_MAX}")]
    TooLong {
        /// Which, from zero.
        index: usize,
        /// How many bytes.
        found: usize,
    },
    /// More than fit one call.
    #[error("{found} turns at once, more than {}", Memory::TURNS_MAX)]
    TooMany {
        /// How many there were.
        found: usize,
    },
}

/// Why turns were not remembered. Nothing of them was, unless it says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RememberError {
    /// The caller gave what cannot be kept.
    #[error("{0}")]
    Turn(#[from] TurnError),
    /// The vault was not written.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// The vault could not be read.
    #[error("{0}")]
    Load(#[from] LoadError),
    /// The turns are kept, and found by their words; the model that embeds them failed. Asking again goes on.
    #[error("{kept} new turns are kept, but not embedded: {error}")]
    Embed {
        /// How many are new.
        kept: usize,
        /// What the model said.
        error: EmbedError,
    },
}

impl Memory {
    /// Most turns that one call of [`Self::remember`] takes.
    pub const TURNS_MAX: usize = 100_000;

    /// Takes in turns. Those that are known add nothing, however often they come; secrets are dealt with by
    /// [`Options::secrets`](crate::Options::secrets) and [`Self::identifiers`] before anything is stored.
    ///
    /// When this returns they are on the disk, and found by [`recall`](Self::recall).
    ///
    /// # Errors
    /// [`RememberError`].
    pub fn remember(&mut self, turns: &[Turn]) -> Result<Remembered, RememberError> {
        self.remember_telling(turns, |_, _| ())
    }

    /// The same, for who waits: embedding many turns takes long. `progress` hears how many texts are embedded, and of how many.
    ///
    /// # Errors
    /// [`RememberError`].
    pub fn remember_telling(
        &mut self,
        turns: &[Turn],
        progress: impl FnMut(usize, usize),
    ) -> Result<Remembered, RememberError> {
        let report = self.take_in(turns, None)?;
        self.with_vectors(report, progress)
    }

    /// The same as [`Self::remember`], and no model is asked: they are found by their words until they have vectors
    /// ([`Self::to_embed`]).
    ///
    /// # Errors
    /// [`RememberError`], but never [`RememberError::Embed`].
    pub fn remember_words(&mut self, turns: &[Turn]) -> Result<Remembered, RememberError> {
        self.take_in(turns, None)
    }

    /// Takes in turns as they are said: those without a time of their own are of `now`. Whoever asks again adds nothing: the same words
    /// within twelve hours are the same turn, and so are, however late, those with the same key, and those with which turns of a named
    /// conversation begin as two or more of it follow one another, since some apps hand over all of it each time.
    ///
    /// # Errors
    /// [`RememberError`].
    pub fn remember_live(
        &mut self,
        turns: &[Turn],
        now: Moment,
    ) -> Result<Remembered, RememberError> {
        let report = self.take_in(turns, Some(now))?;
        self.with_vectors(report, |_, _| ())
    }

    /// The same, and no model is asked, as in [`Self::remember_words`].
    ///
    /// # Errors
    /// [`RememberError`], but never [`RememberError::Embed`].
    pub fn remember_live_words(
        &mut self,
        turns: &[Turn],
        now: Moment,
    ) -> Result<Remembered, RememberError> {
        self.take_in(turns, Some(now))
    }

    /// What became of turns that are kept, once all that has no vectors has them, if there is a model that makes them.
    fn with_vectors(
        &mut self,
        mut report: Remembered,
        progress: impl FnMut(usize, usize),
    ) -> Result<Remembered, RememberError> {
        if self.embedder.is_some() {
            report.embedded = self.embed_missing(progress).map_err(|error| match error {
                RememberError::Embed { error, .. } => RememberError::Embed {
                    kept: report.new.len(),
                    error,
                },
                other => other,
            })?;
        }
        Ok(report)
    }

    /// Keeps turns. `now` is when those were said that do not say when, if they are said now.
    fn take_in(
        &mut self,
        turns: &[Turn],
        now: Option<Moment>,
    ) -> Result<Remembered, RememberError> {
        let mut report = Remembered::default();
        let episodes = self.episodes_of(turns, now, &mut report)?;
        if !episodes.is_empty() {
            let records: Vec<_> = episodes
                .iter()
                .map(|(_, one)| {
                    let record = Record::Episode(one.clone());
                    (record.record_type(), record.encode(), None)
                })
                .collect();
            self.store.turn()?.append(&records)?;
            self.look()?;
            report.new = episodes.into_iter().map(|(id, _)| id).collect();
        }
        Ok(report)
    }

    /// What [`Self::remember`] would make of turns. Nothing is kept, so the same turns are new again the next time.
    ///
    /// # Errors
    /// [`TurnError`].
    pub fn remember_dry(&self, turns: &[Turn]) -> Result<Remembered, TurnError> {
        let mut report = Remembered::default();
        let episodes = self.episodes_of(turns, None, &mut report)?;
        report.new = episodes.into_iter().map(|(id, _)| id).collect();
        Ok(report)
    }

    /// Gives vectors to everything that has none of the present model. `progress` hears how many are done, and of how many.
    ///
    /// # Errors
    /// [`RememberError::Embed`] when the model fails: what was embedded until then is kept. Others as [`Self::remember`].
    pub fn embed_missing(
        &mut self,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<usize, RememberError> {
        let missing: Vec<[u8; 32]> = self.shelf.waiting().iter().copied().collect();
        let mut done = 0;
        for ids in missing.chunks(Vectors::BATCH) {
            let Some(texts) = self.texts_of(ids.to_vec()) else {
                break;
            };
            let embedded = texts
                .embed()
                .map_err(|error| RememberError::Embed { kept: 0, error })?;
            self.take_vectors(&embedded.keep()?)?;
            done += ids.len();
            progress(done, missing.len());
        }
        Ok(done)
    }

    /// At most so many texts that have no vectors of the present model, those of these episodes before others; none if there is no
    /// model, or nothing waits. Whoever shares a memory lets go of it while the model makes them and they are written, and then calls
    /// [`Self::take_vectors`].
    #[must_use]
    pub fn to_embed(&self, first: &[EpisodeId], most: usize) -> Option<ToEmbed> {
        let waiting = self.shelf.waiting();
        let most = most.min(Vectors::BATCH);
        let mut ids: Vec<[u8; 32]> = first
            .iter()
            .map(|id| id.0)
            .filter(|id| waiting.contains(id))
            .take(most)
            .collect();
        let chosen: BTreeSet<[u8; 32]> = ids.iter().copied().collect();
        let others = waiting.iter().filter(|id| !chosen.contains(*id));
        ids.extend(others.take(most - ids.len()));
        self.texts_of(ids)
    }

    /// Whether an episode is found by its words alone, until it has its vectors.
    #[must_use]
    pub fn awaits_vectors(&self, id: &EpisodeId) -> bool {
        self.embedder.is_some() && self.shelf.waiting().contains(&id.0)
    }

    fn texts_of(&self, ids: Vec<[u8; 32]>) -> Option<ToEmbed> {
        let embedder = self.embedder.clone()?;
        let (ids, passages): (Vec<[u8; 32]>, Vec<String>) = ids
            .into_iter()
            .filter_map(|id| Some((id, self.shelf.index.get(DocumentId(id))?.passage())))
            .unzip();
        if ids.is_empty() {
            return None;
        }
        let operations = ids
            .iter()
            .map(|id| self.state.operations_of(id).to_vec())
            .collect();
        Some(ToEmbed {
            embedder,
            store: self.store.to_write(),
            ids,
            operations,
            passages,
        })
    }

    /// Finds by their vectors what was written of them; says of how many texts.
    ///
    /// # Errors
    /// [`RememberError`].
    pub fn take_vectors(&mut self, kept: &KeptVectors) -> Result<usize, RememberError> {
        self.look()?;
        let waiting = self.shelf.waiting();
        if kept.0.iter().any(|id| waiting.contains(id)) {
            return Err(RememberError::Embed {
                kept: 0,
                error: odd(kept.0.len(), "what was written of them is not read"),
            });
        }
        Ok(kept.0.len())
    }

    /// The episodes that turns make and that are new. `now` is when turns were said that do not say when, if they are said now.
    pub(crate) fn episodes_of(
        &self,
        turns: &[Turn],
        now: Option<Moment>,
        report: &mut Remembered,
    ) -> Result<Vec<(EpisodeId, Episode)>, TurnError> {
        if turns.len() > Self::TURNS_MAX {
            return Err(TurnError::TooMany { found: turns.len() });
        }
        let mut wholes = self.wholes(turns, report)?;
        let is_live: BTreeSet<usize> = match now {
            Some(now) => self.say_when(&mut wholes, now),
            None => BTreeSet::new(),
        };
        let mut new: Vec<(EpisodeId, Episode)> = Vec::new();
        let mut here: BTreeSet<EpisodeId> = BTreeSet::new();
        // Turns that are equal in everything are told apart by which of them they are.
        let mut repeats: BTreeMap<EpisodeId, u32> = BTreeMap::new();
        for whole in wholes {
            let Whole {
                index,
                episode: whole,
                as_it_came,
                repeat,
            } = whole;
            let parts = parts(&whole.text);
            let of_part = |repeat, part, text: &str| Episode {
                app: whole.app.clone(),
                thread: whole.thread.clone(),
                key: whole.key.clone(),
                repeat,
                part,
                role: whole.role,
                speaker: whole.speaker.clone(),
                at: whole.at,
                text: text.to_owned(),
            };
            let next = repeats.entry(of_part(0, 0, parts[0]).id()).or_default();
            let repeat = repeat.unwrap_or(*next);
            *next = (*next).max(repeat + 1);
            for (part, text) in (0..).zip(parts) {
                let episode = of_part(repeat, part, text);
                episode
                    .check()
                    .map_err(|error| TurnError::Field { index, error })?;
                let id = episode.id();
                let before = as_it_came.as_ref().map(|came| {
                    let names = came.clone();
                    Episode {
                        app: names.app,
                        thread: names.thread,
                        key: names.key,
                        speaker: names.speaker,
                        ..episode.clone()
                    }
                    .id()
                });
                let ids = || std::iter::once(id).chain(before);
                let is_here = ids().any(|id| self.state.episodes.contains_key(&id));
                let is_forgotten = ids().any(|id| self.state.forgotten.contains(&id))
                    || is_live.contains(&index)
                        && !is_here
                        && self.state.forgotten.contains(&episode.timeless().id());
                if is_forgotten {
                    report.forgotten += 1;
                } else if is_here || !here.insert(id) {
                    report.known += 1;
                } else {
                    new.push((id, episode));
                }
            }
        }
        Ok(new)
    }

    /// Turns as they are kept, those that have words.
    fn wholes(&self, turns: &[Turn], report: &mut Remembered) -> Result<Vec<Whole>, TurnError> {
        let (secrets, identifiers) = (self.options.secrets, self.identifiers());
        let mut names: BTreeMap<&str, String> = BTreeMap::new();
        let mut name = |name| {
            let kept: &String = names.entry(name).or_insert_with(|| identifiers.name(name));
            kept.clone()
        };
        let mut wholes = Vec::with_capacity(turns.len());
        for (index, turn) in turns.iter().enumerate() {
            if turn.text.len() > TURN_MAX {
                return Err(TurnError::TooLong {
                    index,
                    found: turn.text.len(),
                });
            }
            let (text, dropped) = secrets.drop_from(identifiers, &turn.text);
            report
                .secrets
                .extend(dropped.into_iter().map(|kind| (index, kind)));
            if text.trim().is_empty() {
                report.empty += 1;
                continue;
            }
            let as_it_came = Episode {
                app: turn.app.clone(),
                thread: turn.thread.clone(),
                key: turn.key.clone(),
                repeat: 0,
                part: 0,
                role: turn.role,
                speaker: turn.speaker.clone(),
                at: turn.at,
                text: String::new(),
            };
            let named = Episode {
                app: name(turn.app.as_str()),
                thread: name(turn.thread.as_str()),
                key: turn.key.as_deref().map(|key| identifiers.name(key)),
                speaker: name(turn.speaker.as_str()),
                ..as_it_came.clone()
            };
            wholes.push(Whole {
                index,
                as_it_came: (named != as_it_came).then_some(as_it_came),
                episode: Episode { text, ..named },
                repeat: None,
            });
        }
        Ok(wholes)
    }

    /// Says of turns that do not say it when they were said: now, or when the turn was that one of them is once more. Gives those.
    fn say_when(&self, wholes: &mut [Whole], now: Moment) -> BTreeSet<usize> {
        let mut conversations: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
        for (place, whole) in wholes.iter().enumerate() {
            if whole.episode.at.is_none() {
                let Episode { app, thread, .. } = &whole.episode;
                conversations
                    .entry((app.clone(), thread.clone()))
                    .or_default()
                    .push(place);
            }
        }
        let mut live = BTreeSet::new();
        for ((app, thread), places) in conversations {
            let known: Vec<&Kept<Episode>> = self
                .state
                .conversation(&app, &thread)
                .into_iter()
                .map(|id| &self.state.episodes[&id])
                .filter(|one| one.value.part == 0)
                .collect();
            let asked: Vec<Words<'_>> = places
                .iter()
                .map(|place| words(&wholes[*place].episode))
                .collect();
            let again = said_again(
                &asked,
                &known,
                |one| {
                    let said = self.state.said_at(one);
                    // By its app's own name it is the same turn whenever it comes.
                    one.value.key.is_some() || (said.unix_ms() - now.unix_ms()).abs() < AGAIN_MS
                },
                !thread.is_empty(),
            );
            let found: Vec<(Option<Moment>, Option<u32>)> = again
                .into_iter()
                .map(|one| match one {
                    Some(one) => (one.value.at, Some(one.value.repeat)),
                    None => (Some(now), None),
                })
                .collect();
            for (place, (at, repeat)) in places.into_iter().zip(found) {
                let whole = &mut wholes[place];
                whole.episode.at = at;
                whole.repeat = repeat;
                live.insert(whole.index);
            }
        }
        live
    }

    /// An episode as it is kept, and when it was said.
    #[must_use]
    pub fn episode(&self, id: &EpisodeId) -> Option<(&Episode, Moment)> {
        let one = self.state.episodes.get(id)?;
        Some((&one.value, index::said(&self.state, one)))
    }
}

/// Texts that wait for their vectors, with all it takes to make and to keep these: nobody who uses the memory has to wait for it.
pub struct ToEmbed {
    embedder: SharedEmbedder,
    store: Store,
    ids: Vec<[u8; 32]>,
    /// What holds each in the vault.
    operations: Vec<Vec<OpId>>,
    passages: Vec<String>,
}

/// What a model made of texts.
pub struct Embedded {
    store: Store,
    vectors: Vectors,
    operations: BTreeMap<[u8; 32], Vec<OpId>>,
}

/// That vectors are in the vault: for [`Memory::take_vectors`].
#[derive(Debug)]
pub struct KeptVectors(Vec<[u8; 32]>);

impl ToEmbed {
    /// Has the model make the vectors.
    ///
    /// # Errors
    /// [`EmbedError`], also where what the model gave fits no record.
    pub fn embed(self) -> Result<Embedded, EmbedError> {
        let count = self.passages.len();
        let embedded = self.embedder.embed(&self.passages)?;
        if embedded.len() != count {
            return Err(odd(count, "the model gave another number of vectors"));
        }
        let pairs: Vec<_> = self.ids.iter().copied().zip(&embedded).collect();
        let Some(vectors) = Vectors::of(self.embedder.model(), &pairs) else {
            return Err(odd(
                count,
                "the model's vectors are of different shapes, or it has no name",
            ));
        };
        Ok(Embedded {
            store: self.store,
            vectors,
            operations: self.ids.into_iter().zip(self.operations).collect(),
        })
    }
}

impl Embedded {
    /// Writes them into the vault, but those of texts that were forgotten while the model made them.
    ///
    /// # Errors
    /// [`RememberError`].
    pub fn keep(self) -> Result<KeptVectors, RememberError> {
        let mut vectors = self.vectors;
        let mut turn = self.store.turn()?;
        vectors.entries.retain(|id, _| {
            let operations = self.operations.get(id);
            operations.is_some_and(|operations| !turn.are_gone(operations))
        });
        if !vectors.entries.is_empty() {
            turn.append(&[(Vectors::RECORD_TYPE, vectors.encode(), None)])?;
        }
        Ok(KeptVectors(vectors.entries.into_keys().collect()))
    }
}

/// That to ask again would not help.
fn odd(texts: usize, reason: &str) -> EmbedError {
    EmbedError {
        texts,
        reason: reason.to_owned(),
        is_transient: false,
    }
}

/// Which of the turns of a conversation, in their order, each of these is once more, if it is: of a conversation with a name the longest
/// beginning of two or more that follow one another there as they do here, and for the rest, one by one, those in the same words that
/// are `recent`.
fn said_again<'k>(
    asked: &[Words<'_>],
    known: &[&'k Kept<Episode>],
    recent: impl Fn(&Kept<Episode>) -> bool,
    is_named: bool,
) -> Vec<Option<&'k Kept<Episode>>> {
    let told: Vec<Words<'k>> = known.iter().map(|one| words(&one.value)).collect();
    let run = |start: usize| {
        let both = asked.iter().zip(&told[start..]);
        both.take_while(|(one, other)| one == other).count()
    };
    let (mut first, mut sent) = (0, 0);
    if is_named {
        for start in 0..told.len() {
            let len = run(start);
            if len >= 2 && len >= sent {
                (first, sent) = (start, len);
            }
        }
    }
    let mut again: Vec<Option<&'k Kept<Episode>>> = known[first..first + sent]
        .iter()
        .copied()
        .map(Some)
        .collect();
    let mut left: BTreeMap<Words<'_>, VecDeque<&'k Kept<Episode>>> = BTreeMap::new();
    for (at, (one, words)) in known.iter().copied().zip(told).enumerate() {
        if !(first..first + sent).contains(&at) && recent(one) {
            left.entry(words).or_default().push_back(one);
        }
    }
    for words in &asked[sent..] {
        again.push(left.get_mut(words).and_then(VecDeque::pop_front));
    }
    again
}

/// A text in parts that an episode holds, cut where a paragraph, a line or a sentence ends if one does.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > TEXT_MAX {
        let mut end = TEXT_MAX;
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let cut = ["\n\n", "\n", ". ", " "]
            .into_iter()
            .find_map(|mark| rest[..end].rfind(mark).map(|at| at + mark.len()))
            .filter(|cut| *cut > end / 2)
            .unwrap_or(end);
        let (part, more) = rest.split_at(cut);
        if !part.trim().is_empty() {
            parts.push(part);
        }
        rest = more;
    }
    if !rest.trim().is_empty() {
        parts.push(rest);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_where_it_pauses_and_nothing_is_lost() {
        let text = "One sentence here. ".repeat(3_000);
        let parts = parts(&text);
        assert!(parts.len() > 2 && parts.iter().all(|part| part.len() <= TEXT_MAX));
        assert!(parts.iter().all(|part| part.ends_with(". ")));
        assert_eq!(parts.concat(), text);
        assert_eq!(super::parts("short"), ["short"]);
        assert_eq!(
            super::parts(&"é".repeat(TEXT_MAX)).concat(),
            "é".repeat(TEXT_MAX)
        );
    }
}

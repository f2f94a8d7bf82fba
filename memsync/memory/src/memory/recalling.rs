//! Finding what was said and learnt: the index answers, this file brings the evidence.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tally_recall::{
    Abstention, Budget, DocumentId, EmbedError, Filter, Interval, Kind as DocumentKind, Query,
    RerankError, Trace,
};

use crate::ids::{EpisodeId, MemoryId};
use crate::memory::Memory;
use crate::memory::index::{CORRECTION, LEARNT, app_label, category_label, seconds, thread_label};
use crate::moment::Moment;
use crate::record::{Category, Role};
use crate::secrets::{names, spellings};
use crate::speech;
use crate::timeline::Place;

/// Which state of the world is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// What holds now, and what has happened.
    #[default]
    Current,
    /// What held at a moment, as far as it had been said by then.
    AsOf(Moment),
    /// Everything: also what ended, repeats, and what was corrected.
    Everything,
}

/// A question to memory. Empty lists ask for nothing in particular.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The question, as it is asked.
    pub text: String,
    /// Which state of the world.
    pub mode: Mode,
    /// Facts of one of these categories. Episodes have none.
    pub categories: Vec<Category>,
    /// Of one of these apps.
    pub apps: Vec<String>,
    /// Of one of these conversations.
    pub threads: Vec<String>,
    /// Said by, or about, one of these.
    pub speakers: Vec<String>,
    /// Said from this moment on.
    pub after: Option<Moment>,
    /// Said before this moment.
    pub before: Option<Moment>,
    /// Only this.
    pub only: Option<Layer>,
    /// Most hits; the default is the index's.
    pub hits: Option<usize>,
    /// Most tokens of all hits together; the default is the index's.
    pub tokens: Option<u32>,
    /// Have the best memories read together with the question by the reranking model, if this memory has one.
    pub rerank: bool,
}

/// The layers of memory: what was said, and above it what was learnt and corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// What was said.
    Episodes,
    /// What was learnt, and what the owner put in its place.
    Facts,
    /// What was learnt, as it was learnt.
    Learnt,
    /// What the owner put in the place of what was learnt.
    Corrections,
}

impl Layer {
    const fn kind(self) -> DocumentKind {
        match self {
            Self::Episodes => DocumentKind::Episode,
            Self::Facts | Self::Learnt | Self::Corrections => DocumentKind::Fact,
        }
    }

    const fn label(self) -> Option<&'static str> {
        match self {
            Self::Episodes | Self::Facts => None,
            Self::Learnt => Some(LEARNT),
            Self::Corrections => Some(CORRECTION),
        }
    }
}

impl Search {
    /// A question about what holds now.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}

/// Words that a fact rests on, as they were said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cited {
    /// Where.
    pub episode: EpisodeId,
    /// The first byte of its text.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
    /// The words; none if the episode is not here any more.
    pub words: Option<String>,
    /// Who said them.
    pub speaker: Option<String>,
    /// When.
    pub said_at: Option<Moment>,
    /// In which app.
    pub app: Option<String>,
}

/// A memory that may answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Which.
    pub id: MemoryId,
    /// What it says. Of an episode: what is searched of it, without secrets and without what was recalled into it.
    pub text: String,
    /// Who said it; of a fact, whom it is about.
    pub speaker: String,
    /// Whose words they are.
    pub role: Role,
    /// When it was said.
    pub said_at: Moment,
    /// The app and the conversation of an episode; of a fact's first evidence.
    pub app: String,
    /// The same.
    pub thread: String,
    /// Where a fact stands in time, or stood as far as it had been said by the moment that was asked about; none for an episode.
    pub place: Option<Place>,
    /// Categories of a fact.
    pub categories: Vec<Category>,
    /// Confidence of a fact, in thousandths.
    pub confidence: Option<u16>,
    /// What it rests on. An episode rests on itself.
    pub evidence: Vec<Cited>,
    /// BLAKE3 of the envelope of the receipt under which a fact was learnt, in hexadecimal.
    pub receipt: Option<String>,
    /// Comparable within one answer only.
    pub score: f32,
    /// Why it was found.
    pub trace: Trace,
    /// What it costs of the budget.
    pub tokens: u32,
    /// Memories in the same words, left out for it.
    pub duplicates: Vec<MemoryId>,
}

/// What memory answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Recalled {
    /// The best first.
    pub hits: Vec<Hit>,
    /// Whether to say "I do not know" rather than to answer from them.
    pub abstention: Abstention,
    /// Tokens of all hits together.
    pub tokens: u32,
    /// How many memories were looked at.
    pub candidates: usize,
    /// Whether the reranking model read the best of them.
    pub reranked: bool,
}

impl Recalled {
    /// The hits as a model reads them: numbered from 1, with who and when, between the marks that keep them from being
    /// learnt again ([`speech::recalled`]).
    #[must_use]
    pub fn context(&self) -> String {
        let mut lines = String::new();
        for (number, hit) in (1..).zip(&self.hits) {
            let day = hit.said_at.to_string();
            let day = day.get(..10).unwrap_or(&day);
            lines.push_str(&format!("[{number}] {day} {}: {}\n", hit.speaker, hit.text));
        }
        speech::recalled(lines.trim_end())
    }
}

/// Why memory did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecallError {
    /// There is nothing to look for.
    #[error("the question has no words")]
    Empty,
    /// Longer than any question.
    #[error("the question has {found} bytes, more than {QUESTION_MAX}")]
    TooLong {
        /// How many bytes.
        found: usize,
    },
    /// The model that embeds questions failed.
    #[error("the question was not embedded: {0}")]
    Embed(#[from] EmbedError),
    /// The model that reads memories together with the question failed.
    #[error("the memories found were not read again: {0}")]
    Rerank(#[from] RerankError),
}

/// Names as they may be kept.
fn spelt(asked: &[String]) -> Vec<String> {
    asked.iter().flat_map(|name| spellings(name)).collect()
}

/// Longest question, in bytes.
const QUESTION_MAX: usize = 16 << 10;

impl Memory {
    /// Answers a question, asked at `now`.
    ///
    /// # Errors
    /// [`RecallError`]. That nothing is known is no error: there are no hits, and [`Recalled::abstention`] says so.
    pub fn recall(&self, search: &Search, now: Moment) -> Result<Recalled, RecallError> {
        if search.text.trim().is_empty() {
            return Err(RecallError::Empty);
        }
        if search.text.len() > QUESTION_MAX {
            return Err(RecallError::TooLong {
                found: search.text.len(),
            });
        }
        let index = &self.shelf.index;
        let embedding = match &self.embedder {
            Some(embedder) => {
                let asked = [index.embeddable(&search.text)];
                let mut embedded = embedder.embed(&asked)?;
                if embedded.len() != 1 {
                    return Err(EmbedError {
                        texts: 1,
                        reason: "the model gave another number of vectors".to_owned(),
                        is_transient: false,
                    }
                    .into());
                }
                embedded.pop()
            }
            None => None,
        };
        // A question that names an app and a category means both.
        let groups: [Vec<String>; 3] = [
            spelt(&search.apps)
                .iter()
                .map(|app| app_label(app))
                .collect(),
            spelt(&search.threads)
                .iter()
                .map(|one| thread_label(one))
                .collect(),
            search
                .categories
                .iter()
                .copied()
                .map(category_label)
                .collect(),
        ];
        let groups: Vec<Vec<String>> = groups
            .into_iter()
            .filter(|group| !group.is_empty())
            .chain(
                search
                    .only
                    .and_then(Layer::label)
                    .map(|label| vec![label.to_owned()]),
            )
            .collect();
        let defaults = Budget::default();
        let budget = Budget {
            tokens: search.tokens.unwrap_or(defaults.tokens),
            hits: search.hits.unwrap_or(defaults.hits),
        };
        // What was said later may have moved a fact's place.
        let (places, standing) = match search.mode {
            Mode::AsOf(at) => {
                let places = self.state.places_as_of(at);
                let standing = places
                    .iter()
                    .filter(|(_, place)| place.stands_at(at))
                    .map(|(id, _)| DocumentId(*id.as_bytes()))
                    .collect();
                (Cow::Owned(places), Some(standing))
            }
            Mode::Current | Mode::Everything => (Cow::Borrowed(self.state.places()), None),
        };
        let query = Query {
            text: search.text.clone(),
            embedding,
            standing,
            now: seconds(now),
            asker: self.shelf.owner.clone(),
            mode: match search.mode {
                Mode::Current => tally_recall::Mode::Current,
                Mode::AsOf(at) => tally_recall::Mode::AsOf(seconds(at)),
                Mode::Everything => tally_recall::Mode::All,
            },
            filter: Filter {
                kinds: search.only.into_iter().map(Layer::kind).collect(),
                labels: groups,
                speakers: spelt(&search.speakers),
                sessions: Vec::new(),
                observed: Interval {
                    from: search.after.map(seconds),
                    until: search.before.map(seconds),
                },
            },
            budget,
        };
        let reranker = self.reranker.as_ref().filter(|_| search.rerank);
        let answer = match reranker {
            Some(reranker) => index.search_and_rerank(&query, reranker.as_ref())?,
            None => index.search(&query),
        };
        let tokens = answer.tokens;
        let hits = answer.hits.into_iter();
        let hits = hits.filter_map(|hit| self.hit(hit, &places)).collect();
        Ok(Recalled {
            hits,
            abstention: answer.abstention,
            tokens,
            candidates: answer.candidates,
            reranked: reranker.is_some(),
        })
    }

    fn hit(&self, found: tally_recall::Hit, places: &BTreeMap<MemoryId, Place>) -> Option<Hit> {
        let id = self.memory_id(&found.id.0)?;
        let duplicates = found
            .duplicates
            .iter()
            .filter_map(|one| self.memory_id(&one.0))
            .collect();
        let place = places.get(&id).copied();
        let document = self.shelf.index.get(found.id)?;
        let text = document.text.clone();
        let speaker = document.speaker.clone().unwrap_or_default();
        let hit = Hit {
            id,
            text,
            speaker,
            role: Role::Owner,
            said_at: Moment::FIRST,
            app: String::new(),
            thread: String::new(),
            place,
            categories: Vec::new(),
            confidence: None,
            evidence: Vec::new(),
            receipt: None,
            score: found.score,
            trace: found.trace,
            tokens: found.tokens,
            duplicates,
        };
        if let MemoryId::Episode(episode) = id {
            let one = self.state.episodes.get(&episode)?;
            let end = u32::try_from(one.value.text.len()).ok()?;
            return Some(Hit {
                role: one.value.role,
                said_at: self.state.said_at(one),
                app: one.value.app.clone(),
                thread: one.value.thread.clone(),
                evidence: vec![self.cite(episode, 0, end)],
                ..hit
            });
        }
        let (_, fact) = self.state.fact_of(&id)?;
        let evidence: Vec<Cited> = fact
            .evidence
            .iter()
            .map(|one| self.cite(one.episode, one.start, one.end))
            .collect();
        let first = fact
            .evidence
            .first()
            .and_then(|one| self.state.episodes.get(&one.episode));
        Some(Hit {
            role: fact.said_as,
            said_at: fact.observed,
            app: first.map(|one| one.value.app.clone()).unwrap_or_default(),
            thread: first
                .map(|one| one.value.thread.clone())
                .unwrap_or_default(),
            confidence: Some(self.confidence(&id, &fact)),
            receipt: self.receipt_digest(&fact),
            categories: fact.categories,
            evidence,
            ..hit
        })
    }

    /// How far a fact can be relied on: wholly, once the owner said so.
    pub(crate) fn confidence(&self, id: &MemoryId, fact: &crate::record::Fact) -> u16 {
        match id {
            MemoryId::Fact(id) if self.state.is_confirmed(id) => 1_000,
            _ => fact.confidence,
        }
    }

    pub(crate) fn cite(&self, episode: EpisodeId, start: u32, end: u32) -> Cited {
        let kept = self.state.episodes.get(&episode);
        Cited {
            episode,
            start,
            end,
            words: kept.and_then(|one| {
                one.value
                    .text
                    .get(start as usize..end as usize)
                    .map(crate::memory::index::searched)
            }),
            speaker: kept.map(|one| names::shown(&one.value.speaker)),
            said_at: kept.map(|one| self.state.said_at(one)),
            app: kept.map(|one| one.value.app.clone()),
        }
    }

    pub(crate) fn memory_id(&self, bytes: &[u8; 32]) -> Option<MemoryId> {
        use crate::ids::{FactId, RemarkId};
        [
            MemoryId::Episode(EpisodeId(*bytes)),
            MemoryId::Fact(FactId(*bytes)),
            MemoryId::Correction(RemarkId(*bytes)),
        ]
        .into_iter()
        .find(|id| self.exists(id))
    }
}

//! One search: read the question, gather candidates, score them, leave out twins, fill the budget.

use std::cmp::Ordering;

use super::{Entry, Index};
use crate::answer::{Abstention, Answer, Arm, Hit, Trace};
use crate::document::Interval;
use crate::lexical::Concept;
use crate::query::{Filter, Mode, Query};
use crate::text::time::{Precision, Span};
use crate::text::{self, Relation};
use crate::vector;

/// Candidates that each arm brings.
const CANDIDATES_PER_ARM: usize = 300;
/// The best of each arm whose neighbours are candidates too.
const NEIGHBOURED: usize = 50;
/// Below this many documents all are candidates.
const FEW: usize = 2000;
/// Candidates that are matched token by token.
const TOKEN_MATCHED: usize = 100;
/// What a neighbour's words count: the turn before explains more than the turn after.
const NEIGHBOURS: [(isize, f32); 4] = [(-1, 0.5), (1, 0.25), (-2, 0.25), (2, 0.15)];

/// What a question asks for, beside its words.
struct Question {
    concepts: Vec<Concept>,
    /// Speakers it names.
    speakers: Vec<u32>,
    spans: Vec<Span>,
    asks_when: bool,
}

/// One document under consideration, with a value per arm.
struct Candidate {
    slot: u32,
    score: f32,
    parts: Vec<(Arm, f32)>,
}

impl Index {
    /// The documents that answer a question best, inside its budget.
    #[must_use]
    pub fn search(&self, query: &Query) -> Answer {
        let question = self.read(query);
        let words = self.lexical.score(&question.concepts);
        let passes: Vec<bool> = self
            .slots
            .iter()
            .map(|entry| entry.as_ref().is_some_and(|entry| passes(entry, query)))
            .collect();
        let slots = self.candidates(query, &words, &passes);
        let mut candidates = self.score(query, &question, &words, &slots);
        candidates.sort_by(|a, b| self.order(a, b));
        let abstention = self.abstention(&question, &words, &candidates);
        let considered = candidates.len();
        let mut answer = self.fill(query, candidates);
        answer.abstention = abstention;
        answer.candidates = considered;
        answer
    }

    /// Best first; at equal score the later, then the lower id.
    fn order(&self, a: &Candidate, b: &Candidate) -> Ordering {
        let key = |c: &Candidate| {
            self.entry(c.slot)
                .map(|entry| (entry.document.observed_at, entry.document.id))
        };
        b.score.total_cmp(&a.score).then_with(|| {
            let (a, b) = (key(a), key(b));
            b.map(|b| b.0)
                .cmp(&a.map(|a| a.0))
                .then(a.map(|a| a.1).cmp(&b.map(|b| b.1)))
        })
    }

    fn read(&self, query: &Query) -> Question {
        let words = text::words(&query.text);
        let spans = text::time::spans(&words, query.now);
        let mut speakers = Vec::new();
        let mut concepts: Vec<Concept> = Vec::new();
        let mut terms: Vec<Option<String>> = Vec::new();
        for (at, word) in words.iter().enumerate() {
            let named = self.named(&word.folded);
            let asker = matches!(word.folded.as_str(), "i" | "me" | "my" | "mine" | "myself");
            if let Some(asker) = query.asker.as_deref().filter(|_| asker) {
                speakers.extend(self.speakers.numbers.get(asker));
            }
            let is_name = !named.is_empty();
            speakers.extend(named);
            let dated = spans.iter().any(|span| span.words.contains(&at));
            terms.push(
                (!is_name && !dated)
                    .then(|| text::term(&word.folded))
                    .flatten(),
            );
        }
        for at in 0..terms.len() {
            if let Some(term) = &terms[at]
                && !concepts
                    .iter()
                    .any(|concept| concept.variants[0].0 == [term.clone()])
            {
                concepts.push(concept(std::slice::from_ref(term), 1.0));
            }
        }
        speakers.sort_unstable();
        speakers.dedup();
        Question {
            concepts,
            speakers,
            spans,
            asks_when: words.first().is_some_and(|word| word.folded == "when"),
        }
    }

    /// Speakers of this index whom a word names: by their whole name or the first word of it.
    fn named(&self, folded: &str) -> Vec<u32> {
        (0u32..)
            .zip(&self.speakers.folded)
            .zip(&self.spoken)
            .filter(|((_, name), spoken)| {
                **spoken > 0 && (*name == folded || name.split_whitespace().next() == Some(folded))
            })
            .map(|((number, _), _)| number)
            .collect()
    }

    fn candidates(&self, query: &Query, words: &[f32], passes: &[bool]) -> Vec<u32> {
        let all = || {
            (0u32..)
                .zip(passes)
                .filter(|(_, passes)| **passes)
                .map(|(slot, _)| slot)
        };
        if self.len() <= FEW {
            return all().collect();
        }
        let mut by_words: Vec<u32> = all().filter(|slot| words[*slot as usize] > 0.0).collect();
        let order = |a: &u32, b: &u32| {
            words[*b as usize]
                .total_cmp(&words[*a as usize])
                .then(a.cmp(b))
        };
        by_words.sort_unstable_by(order);
        by_words.truncate(CANDIDATES_PER_ARM);
        let by_sentence: Vec<u32> = query.embedding.as_ref().map_or_else(Vec::new, |embedding| {
            let keep = |slot: u32| passes.get(slot as usize).copied().unwrap_or(false);
            let nearest = self
                .vectors
                .nearest(&embedding.sentence, CANDIDATES_PER_ARM, &keep);
            nearest.into_iter().map(|(slot, _)| slot).collect()
        });
        let mut found = Vec::new();
        for best in [&by_words, &by_sentence] {
            for slot in best.iter().take(NEIGHBOURED) {
                found.extend(
                    NEIGHBOURS
                        .iter()
                        .filter_map(|(offset, _)| self.neighbour(*slot, *offset)),
                );
            }
        }
        found.retain(|slot| passes[*slot as usize]);
        found.extend(by_words);
        found.extend(by_sentence);
        found.sort_unstable();
        found.dedup();
        found
    }

    fn score(
        &self,
        query: &Query,
        question: &Question,
        words: &[f32],
        slots: &[u32],
    ) -> Vec<Candidate> {
        let weights = &self.weights;
        let word = |slot: u32| words[slot as usize];
        let around = |slot: u32, of: &dyn Fn(u32) -> f32| -> f32 {
            NEIGHBOURS
                .iter()
                .filter_map(|(offset, weight)| {
                    self.neighbour(slot, *offset)
                        .map(|other| weight * of(other))
                })
                .sum()
        };
        let sessions = self.lexical.score_groups(
            &question.concepts,
            self.turns.len(),
            |slot| self.entry(slot).and_then(|entry| entry.session),
            &self.session_lengths,
        );
        let most_words = words.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let mut arms: Vec<(Arm, f32, Vec<f32>)> = Vec::new();
        let mut arm = |arm, weight, values: Vec<f32>| arms.push((arm, weight, values));
        arm(
            Arm::Words,
            weights.words,
            normalise(slots.iter().map(|slot| word(*slot)).collect()),
        );
        arm(
            Arm::NeighbourWords,
            weights.neighbour_words,
            slots
                .iter()
                .map(|slot| around(*slot, &word) / most_words)
                .collect(),
        );
        let session = |slot: u32| {
            self.entry(slot)
                .and_then(|entry| entry.session)
                .map_or(0.0, |s| sessions[s as usize])
        };
        arm(
            Arm::SessionWords,
            weights.session_words,
            over_largest(slots.iter().map(|slot| session(*slot)).collect()),
        );
        if let Some(embedding) = &query.embedding {
            let cosine = |slot: u32| {
                self.vectors
                    .similarity(&embedding.sentence, slot)
                    .unwrap_or(0.0)
                    .max(0.0)
            };
            let own: Vec<f32> = slots.iter().map(|slot| cosine(*slot)).collect();
            let both = slots
                .iter()
                .zip(&own)
                .map(|(slot, own)| own + around(*slot, &cosine))
                .collect();
            arm(Arm::Sentence, weights.sentence, normalise(own));
            arm(
                Arm::NeighbourSentences,
                weights.neighbour_sentences,
                normalise(both),
            );
        }
        let entries = || {
            slots
                .iter()
                .map(|slot| self.entry(*slot).expect("candidates are taken slots"))
        };
        if let [speaker] = question.speakers[..] {
            let said = entries()
                .map(|entry| f32::from(u8::from(entry.speaker == Some(speaker))))
                .collect();
            arm(Arm::Speaker, weights.speaker, said);
        }
        if !question.spans.is_empty() {
            arm(
                Arm::Date,
                weights.date,
                entries()
                    .map(|entry| near(&question.spans, entry))
                    .collect(),
            );
        }
        if question.asks_when {
            let dated = entries()
                .map(|entry| f32::from(u8::from(!entry.spans.is_empty())))
                .collect();
            arm(Arm::When, weights.when, dated);
        }
        if !self.cited.is_empty() {
            // A fact is worth its words and its vector; the mode decides whether it still holds.
            let worth = |fact: u32| {
                let cosine = query
                    .embedding
                    .as_ref()
                    .and_then(|embedding| self.vectors.similarity(&embedding.sentence, fact));
                word(fact) / most_words + cosine.unwrap_or(0.0).max(0.0)
            };
            let lifted = entries()
                .map(|entry| {
                    let facts = self
                        .cited
                        .get(&entry.document.id)
                        .map_or(&[][..], Vec::as_slice);
                    facts
                        .iter()
                        .filter(|fact| self.entry(**fact).is_some_and(|fact| holds(fact, query)))
                        .map(|fact| worth(*fact))
                        .fold(0.0, f32::max)
                })
                .collect();
            arm(Arm::Fact, weights.fact, lifted);
        }
        let asks = entries()
            .map(|entry| f32::from(u8::from(entry.is_question)))
            .collect();
        arm(Arm::Question, weights.question, asks);

        let mut candidates: Vec<Candidate> = slots
            .iter()
            .enumerate()
            .map(|(at, slot)| {
                let parts: Vec<(Arm, f32)> = arms
                    .iter()
                    .map(|(arm, weight, values)| (*arm, weight * values[at]))
                    .filter(|(_, value)| *value != 0.0)
                    .collect();
                Candidate {
                    slot: *slot,
                    score: parts.iter().map(|(_, value)| value).sum(),
                    parts,
                }
            })
            .collect();
        self.match_tokens(query, &mut candidates);
        candidates
    }

    /// Compares the best candidates with the question token by token.
    fn match_tokens(&self, query: &Query, candidates: &mut [Candidate]) {
        let Some(tokens) = query
            .embedding
            .as_ref()
            .map(|embedding| &embedding.tokens)
            .filter(|t| !t.is_empty())
        else {
            return;
        };
        candidates.sort_by(|a, b| self.order(a, b));
        let count = TOKEN_MATCHED.min(candidates.len());
        let best = &mut candidates[..count];
        let values = best
            .iter()
            .map(|candidate| {
                self.entry(candidate.slot)
                    .filter(|entry| entry.tokens.dimensions() == tokens.dimensions())
                    .map_or(0.0, |entry| {
                        let total: i32 = tokens
                            .rows()
                            .map(|q| {
                                entry
                                    .tokens
                                    .rows()
                                    .map(|d| vector::dot(q, d))
                                    .max()
                                    .unwrap_or(0)
                            })
                            .fold(0, i32::wrapping_add);
                        total as f32 / (127.0 * 127.0) / tokens.len() as f32
                    })
            })
            .collect();
        for (candidate, value) in best.iter_mut().zip(normalise(values)) {
            let part = self.weights.tokens * value;
            candidate.score += part;
            candidate.parts.push((Arm::Tokens, part));
        }
    }

    fn abstention(
        &self,
        question: &Question,
        words: &[f32],
        candidates: &[Candidate],
    ) -> Abstention {
        let best = candidates.iter().map(|c| c.slot).max_by(|a, b| {
            words[*a as usize]
                .total_cmp(&words[*b as usize])
                .then(b.cmp(a))
        });
        let somebody_else = match (
            &question.speakers[..],
            best.and_then(|slot| self.entry(slot)),
        ) {
            ([speaker], Some(entry)) => entry.speaker.is_some_and(|said| said != *speaker),
            _ => false,
        };
        let rarity = |concept: &Concept| self.lexical.idf(&concept.variants[0].0[0]);
        let total: f32 = question.concepts.iter().map(rarity).sum();
        let covered: f32 = question
            .concepts
            .iter()
            .filter(|concept| {
                candidates.iter().take(3).any(|c| {
                    concept
                        .variants
                        .iter()
                        .any(|(phrase, _)| self.lexical.has(c.slot, phrase))
                })
            })
            .map(rarity)
            .sum();
        Abstention {
            advised: candidates.is_empty(),
            said_by_somebody_else: somebody_else,
            covered: if total > 0.0 { covered / total } else { 0.0 },
        }
    }

    /// Leaves out documents in the words of a better one, and takes what fits.
    fn fill(&self, query: &Query, candidates: Vec<Candidate>) -> Answer {
        let mut answer = Answer::default();
        let mut said: Vec<(u64, usize)> = Vec::new();
        for candidate in candidates {
            let entry = self
                .entry(candidate.slot)
                .expect("candidates are taken slots");
            let twin = said
                .iter()
                .find(|(digest, _)| *digest == entry.digest)
                .map(|(_, at)| *at)
                .filter(|at| {
                    self.get(answer.hits[*at].id)
                        .is_some_and(|other| same_words(other, entry))
                });
            if let Some(twin) = twin {
                answer.hits[twin].duplicates.push(entry.document.id);
                continue;
            }
            if answer.hits.len() >= query.budget.hits
                || entry.cost > query.budget.tokens - answer.tokens
            {
                continue;
            }
            answer.tokens += entry.cost;
            said.push((entry.digest, answer.hits.len()));
            answer.hits.push(Hit {
                id: entry.document.id,
                kind: entry.document.kind,
                score: candidate.score,
                trace: Trace(candidate.parts),
                tokens: entry.cost,
                duplicates: Vec::new(),
            });
        }
        answer
    }
}

/// The question without the names of an index's speakers.
pub(super) fn without_names(index: &Index, question: &str) -> String {
    use unicode_segmentation::UnicodeSegmentation;
    let mut text = String::new();
    for piece in question.split_word_bounds() {
        let folded = text::words(piece);
        let is_name = folded
            .first()
            .is_some_and(|word| !index.named(&word.folded).is_empty());
        if !is_name {
            text.push_str(piece);
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn concept(phrase: &[String], weight: f32) -> Concept {
    let mut variants = vec![(phrase.to_vec(), 1.0)];
    variants.extend(text::related(phrase).iter().map(|(other, relation)| {
        let weight = match relation {
            Relation::Same => 0.8,
            Relation::Instance => 0.5,
        };
        (other.clone(), weight)
    }));
    Concept { variants, weight }
}

fn same_words(a: &crate::document::Document, b: &Entry) -> bool {
    let folded = |text: &str| {
        text::words(text)
            .into_iter()
            .map(|word| word.folded)
            .collect::<Vec<_>>()
    };
    a.speaker == b.document.speaker
        && a.kind == b.document.kind
        && folded(&a.text) == folded(&b.document.text)
}

/// Whether a document belongs to the state of the world that is asked about.
fn holds(entry: &Entry, query: &Query) -> bool {
    let document = &entry.document;
    match query.mode {
        Mode::Current => document.valid.contains(query.now),
        Mode::AsOf(moment) => document.valid.contains(moment) && document.observed_at <= moment,
        Mode::All => true,
    }
}

fn passes(entry: &Entry, query: &Query) -> bool {
    let Filter {
        kinds,
        labels,
        speakers,
        sessions,
        observed,
    } = &query.filter;
    let document = &entry.document;
    let any = |list: &[String], value: &Option<String>, same: fn(&str, &str) -> bool| {
        list.is_empty()
            || value
                .as_deref()
                .is_some_and(|value| list.iter().any(|one| same(one, value)))
    };
    holds(entry, query)
        && (kinds.is_empty() || kinds.contains(&document.kind))
        && (labels.is_empty() || labels.iter().any(|label| document.labels.contains(label)))
        && any(speakers, &document.speaker, |a, b| {
            a.to_lowercase() == b.to_lowercase()
        })
        && any(sessions, &document.session, |a, b| a == b)
        && (*observed == Interval::default() || observed.contains(document.observed_at))
}

/// How near a document is to the times that a question names, 0 to 1.
fn near(spans: &[Span], entry: &Entry) -> f32 {
    spans
        .iter()
        .map(|span| {
            let (first, last) = (*span.days.start(), *span.days.end());
            let late = entry.day - last;
            let early = first - entry.day;
            let inside = late <= 0 && early <= 0;
            match span.precision {
                Precision::Year => {
                    if inside {
                        0.3
                    } else {
                        0.0
                    }
                }
                Precision::Month | Precision::Season => {
                    if inside {
                        1.0
                    } else if (1..=31).contains(&late) {
                        0.4
                    } else {
                        0.0
                    }
                }
                Precision::Day | Precision::Week => match () {
                    () if inside => 1.0,
                    () if (1..=3).contains(&late) => 0.8,
                    () if (4..=10).contains(&late) => 0.6,
                    () if (11..=31).contains(&late) => 0.3,
                    () if (1..=7).contains(&early) => 0.2,
                    () => 0.0,
                },
            }
        })
        .fold(0.0, f32::max)
}

/// Values moved and scaled to between 0 and 1.
fn normalise(values: Vec<f32>) -> Vec<f32> {
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = largest - least;
    values
        .into_iter()
        .map(|value| {
            if range > 0.0 {
                (value - least) / range
            } else {
                0.0
            }
        })
        .collect()
}

fn over_largest(values: Vec<f32>) -> Vec<f32> {
    let largest = values.iter().copied().fold(0.0, f32::max);
    values
        .into_iter()
        .map(|value| if largest > 0.0 { value / largest } else { 0.0 })
        .collect()
}

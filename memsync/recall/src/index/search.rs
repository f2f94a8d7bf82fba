//! One search: read the question, gather candidates, score them, leave out twins, fill the budget.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::question::{self, Question};
use super::{Entry, Index, tokens};
use crate::answer::{Abstention, Answer, Arm, Hit, Trace};
use crate::document::{Interval, Kind};
use crate::embed::Embedding;
use crate::query::{Filter, Mode, Query};
use crate::rerank::{self, RERANKED, RerankError, Reranker};
use crate::text;
use crate::text::time::{self, Day, Precision, Span};

/// Up to this many documents all are candidates.
const FEW: usize = 1000;
/// Candidates that each arm of a large index brings.
const CANDIDATES_PER_ARM: usize = 200;
/// The best of each arm whose neighbours are candidates too.
const NEIGHBOURED: usize = 50;
/// Candidates of a large index that are matched token by token.
const TOKEN_MATCHED: usize = 200;
/// What a neighbour's words count beside a document's own: the turn before explains more than the turn after.
const NEIGHBOURS: [(isize, f32); 4] = [(-1, 0.75), (1, 0.4), (-2, 0.4), (2, 0.2)];

/// By how much of the largest possible match somebody else must be ahead before it is they who said it.
const CLEAR: f32 = 0.1;
/// The largest number of a reranking model that is taken as it is: differences of such still fit.
const MOST: f32 = 1e30;
/// What a question loses of the largest possible match as something that somebody said.
const ASKING: f32 = 0.3;

/// One document under consideration.
struct Candidate {
    slot: u32,
    score: f32,
    parts: Vec<(Arm, f32)>,
}

impl Candidate {
    fn add(&mut self, arm: Arm, part: f32) {
        if part != 0.0 {
            self.score += part;
            self.parts.push((arm, part));
        }
    }
}

impl Index {
    /// The documents that answer a question best, inside its budget.
    #[must_use]
    pub fn search(&self, query: &Query) -> Answer {
        let question = question::read(self, query);
        let (candidates, _) = self.ranked(query, &question);
        self.answer(query, &question, candidates)
    }

    /// The same, after a model has read the best candidates together with the question.
    ///
    /// # Errors
    ///
    /// [`RerankError`] when the model fails, or gives something else than a number for each passage.
    pub fn search_and_rerank(
        &self,
        query: &Query,
        reranker: &dyn Reranker,
    ) -> Result<Answer, RerankError> {
        let question = question::read(self, query);
        let (mut candidates, text_weight) = self.ranked(query, &question);
        let count = candidates.len().min(RERANKED);
        let best = &mut candidates[..count];
        if !best.is_empty() {
            let passages: Vec<String> = best.iter().map(|one| self.passage(one.slot)).collect();
            let scores = reranker.rank(&query.text, &passages)?;
            if scores.len() != passages.len() || !scores.iter().all(|score| score.is_finite()) {
                return Err(RerankError {
                    passages: passages.len(),
                    reason: "the model gave something else than a number for each".to_owned(),
                    is_transient: false,
                });
            }
            // Models differ in their scale, so only where a number stands between the least and the largest counts.
            let scores = scores.into_iter().map(|score| score.clamp(-MOST, MOST));
            for (candidate, value) in best.iter_mut().zip(normalise(scores.collect())) {
                let part = text_weight * self.weights.reranker * value;
                // Even of nothing: that it was read is worth knowing.
                candidate.score += part;
                candidate.parts.push((Arm::Reranker, part));
            }
            candidates.sort_by(|a, b| self.order(a, b));
        }
        Ok(self.answer(query, &question, candidates))
    }

    fn passage(&self, slot: u32) -> String {
        let document = |slot| self.entry(slot).map(|entry| &entry.document);
        let before = self.neighbour(slot, -1).and_then(document);
        document(slot).map_or_else(String::new, |one| rerank::passage(before, one))
    }

    /// All candidates, the best first, and the weights of the text arms that ran.
    fn ranked(&self, query: &Query, question: &Question) -> (Vec<Candidate>, f32) {
        let words = self.lexical.score(&question.concepts);
        let slots = self.candidates(query, question, &words);
        let (mut candidates, text_weight) = self.score(query, question, &words, slots);
        candidates.sort_by(|a, b| self.order(a, b));
        (candidates, text_weight)
    }

    fn answer(&self, query: &Query, question: &Question, candidates: Vec<Candidate>) -> Answer {
        let abstention = self.abstention(question, &candidates);
        let considered = candidates.len();
        let mut answer = self.fill(query, candidates);
        answer.abstention = abstention;
        answer.candidates = considered;
        answer
    }

    /// Best first; at equal score the later, then the lower id.
    fn order(&self, a: &Candidate, b: &Candidate) -> Ordering {
        b.score
            .total_cmp(&a.score)
            .then_with(|| self.tie(a.slot, b.slot))
    }

    /// The order of documents between which scores do not decide.
    fn tie(&self, a: u32, b: u32) -> Ordering {
        let key = |slot: u32| {
            self.entry(slot)
                .map(|entry| (entry.document.observed_at, entry.document.id))
        };
        let (a, b) = (key(a), key(b));
        b.map(|b| b.0)
            .cmp(&a.map(|a| a.0))
            .then(a.map(|a| a.1).cmp(&b.map(|b| b.1)))
    }

    /// Speakers of this index whom a word names: by their whole name or the first word of it.
    pub(super) fn named(&self, folded: &str) -> Vec<u32> {
        (0u32..)
            .zip(&self.speakers.folded)
            .zip(&self.spoken)
            .filter(|((_, name), spoken)| {
                **spoken > 0 && (*name == folded || name.split_whitespace().next() == Some(folded))
            })
            .map(|((number, _), _)| number)
            .collect()
    }

    /// Whether the document of a slot that is taken may answer.
    fn passes(&self, slot: u32, query: &Query) -> bool {
        self.holds(slot, query)
            && (query.filter == Filter::default()
                || self
                    .entry(slot)
                    .is_some_and(|entry| passes(entry, &query.filter)))
    }

    /// Whether the document of a slot that is taken belongs to the state of the world that is asked about.
    fn holds(&self, slot: u32, query: &Query) -> bool {
        let gate = &self.gates[slot as usize];
        match query.mode {
            Mode::Current => gate.valid.contains(query.now),
            Mode::AsOf(moment) => {
                gate.observed_at <= moment
                    && self
                        .stood(slot, query)
                        .unwrap_or_else(|| gate.valid.contains(moment))
            }
            Mode::All => true,
        }
    }

    /// Whether a fact held at the moment that is asked about, if the query says so of facts.
    fn stood(&self, slot: u32, query: &Query) -> Option<bool> {
        let standing = query.standing.as_ref()?;
        let document = &self.entry(slot)?.document;
        (document.kind == Kind::Fact).then(|| standing.contains(&document.id))
    }

    /// The documents worth scoring, in an order that does not depend on slots.
    fn candidates(&self, query: &Query, question: &Question, words: &[f32]) -> Vec<u32> {
        let mut found: Vec<u32> = if self.len() <= FEW {
            self.by_id
                .values()
                .copied()
                .filter(|slot| self.passes(*slot, query))
                .collect()
        } else {
            self.best_of_each_arm(query, question, words)
        };
        found.sort_unstable_by(|a, b| self.tie(*a, *b));
        found.dedup();
        found
    }

    fn best_of_each_arm(&self, query: &Query, question: &Question, words: &[f32]) -> Vec<u32> {
        let mut by_words: Vec<u32> = (0u32..)
            .zip(words)
            .filter(|(_, score)| **score > 0.0)
            .map(|(slot, _)| slot)
            .collect();
        let order = |a: &u32, b: &u32| {
            words[*b as usize]
                .total_cmp(&words[*a as usize])
                .then_with(|| self.tie(*a, *b))
        };
        by_words.retain(|slot| self.passes(*slot, query));
        if by_words.len() > CANDIDATES_PER_ARM {
            by_words.select_nth_unstable_by(CANDIDATES_PER_ARM, order);
            by_words.truncate(CANDIDATES_PER_ARM);
        }
        by_words.sort_unstable_by(order);
        let by_sentence: Vec<u32> = query.embedding.as_ref().map_or_else(Vec::new, |embedding| {
            let keep = |slot: u32| self.passes(slot, query);
            let nearest = self
                .vectors
                .nearest(&embedding.sentence, CANDIDATES_PER_ARM, &keep);
            nearest.into_iter().map(|(slot, _)| slot).collect()
        });
        let mut found = Vec::new();
        for best in [&by_words, &by_sentence] {
            for slot in best.iter().take(NEIGHBOURED) {
                let near = NEIGHBOURS
                    .iter()
                    .filter_map(|(offset, _)| self.neighbour(*slot, *offset));
                found.extend(near.filter(|slot| self.passes(*slot, query)));
            }
        }
        found.extend(by_words);
        found.extend(by_sentence);
        found.extend(self.best_by_time(query, question, words));
        found.extend(self.best_by_name(query, question, words));
        found
    }

    /// Those nearest to the times that a question names: "What did we do last weekend?" has hardly a word to search by.
    fn best_by_time(&self, query: &Query, question: &Question, words: &[f32]) -> Vec<u32> {
        if question.spans.is_empty() {
            return Vec::new();
        }
        let dated = (0u32..).zip(&self.gates).filter_map(|(slot, gate)| {
            let value = near(&question.spans, time::day(gate.observed_at));
            (value > 0.0 && self.entry(slot).is_some()).then_some((slot, value))
        });
        self.best(query, dated, words)
    }

    /// By slot: the names of a question that a document mentions, each counted by its rarity. Only those that mention one.
    fn named_by(&self, question: &Question) -> HashMap<u32, f32> {
        let mut named: HashMap<u32, f32> = HashMap::new();
        for name in &question.names {
            let rarity = self.lexical.idf(&[text::stem(name)]);
            for slot in self.mentions.get(name).into_iter().flatten() {
                *named.entry(*slot).or_default() += rarity;
            }
        }
        named
    }

    /// Those that name whom or what a question names, the rarest names first.
    fn best_by_name(&self, query: &Query, question: &Question, words: &[f32]) -> Vec<u32> {
        let named = self.named_by(question);
        self.best(query, named.into_iter(), words)
    }

    /// The best of an arm, at equal value those with more of the question's words.
    fn best(
        &self,
        query: &Query,
        scored: impl Iterator<Item = (u32, f32)>,
        words: &[f32],
    ) -> Vec<u32> {
        let mut scored: Vec<(u32, f32)> = scored
            .filter(|(slot, _)| self.passes(*slot, query))
            .collect();
        let order = |a: &(u32, f32), b: &(u32, f32)| {
            b.1.total_cmp(&a.1)
                .then_with(|| words[b.0 as usize].total_cmp(&words[a.0 as usize]))
                .then_with(|| self.tie(a.0, b.0))
        };
        if scored.len() > CANDIDATES_PER_ARM {
            scored.select_nth_unstable_by(CANDIDATES_PER_ARM, order);
            scored.truncate(CANDIDATES_PER_ARM);
        }
        scored.into_iter().map(|(slot, _)| slot).collect()
    }

    fn score(
        &self,
        query: &Query,
        question: &Question,
        words: &[f32],
        slots: Vec<u32>,
    ) -> (Vec<Candidate>, f32) {
        let weights = &self.weights;
        let entry = |slot: u32| self.entry(slot).expect("candidates are taken slots");
        let mut candidates: Vec<Candidate> = slots
            .iter()
            .map(|slot| Candidate {
                slot: *slot,
                score: 0.0,
                parts: Vec::new(),
            })
            .collect();
        let most = words.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let sessions = self.lexical.score_groups(
            &question.concepts,
            self.turns.len(),
            |slot| self.gates[slot as usize].session,
            &self.session_lengths,
        );
        let mut text_weight = 0.0;
        let mut add = |candidates: &mut [Candidate], arm: Arm, weight: f32, values: Vec<f32>| {
            text_weight += weight;
            for (candidate, value) in candidates.iter_mut().zip(values) {
                candidate.add(arm, weight * value);
            }
        };
        let own = slots
            .iter()
            .map(|slot| words[*slot as usize] / most)
            .collect();
        add(&mut candidates, Arm::Words, weights.words, own);
        let around = slots
            .iter()
            .map(|slot| {
                let near = NEIGHBOURS
                    .iter()
                    .filter_map(|(offset, w)| Some((self.neighbour(*slot, *offset)?, w)));
                near.map(|(other, w)| w * words[other as usize] / most)
                    .sum()
            })
            .collect();
        add(
            &mut candidates,
            Arm::NeighbourWords,
            weights.neighbour_words,
            around,
        );
        let session = slots
            .iter()
            .map(|slot| entry(*slot).session.map_or(0.0, |s| sessions[s as usize]))
            .collect();
        add(
            &mut candidates,
            Arm::SessionWords,
            weights.session_words,
            of_largest(session),
        );
        if !self.cited.is_empty() {
            let lifted: Vec<f32> = slots
                .iter()
                .map(|slot| {
                    self.facts_of(entry(*slot), query)
                        .map(|fact| words[fact as usize] / most)
                        .fold(0.0, f32::max)
                })
                .collect();
            let has_tokens = |embedding: &Embedding| !embedding.tokens.is_empty();
            let weight = if query.embedding.as_ref().is_some_and(has_tokens) {
                weights.fact_beside_tokens
            } else {
                weights.fact
            };
            // Where none has a word of the question it is as if there were none.
            if lifted.iter().any(|value| *value > 0.0) {
                add(&mut candidates, Arm::Fact, weight, lifted);
            }
        }
        let is = |truth: bool| f32::from(u8::from(truth));
        let named = self.named_by(question);
        let named = slots
            .iter()
            .map(|slot| named.get(slot).copied().unwrap_or(0.0));
        // What is known of a document without reading it.
        let shares: Vec<[(Arm, f32); 6]> = slots
            .iter()
            .zip(of_largest(named.collect()))
            .map(|(slot, named)| {
                let entry = entry(*slot);
                let about = question
                    .about
                    .filter(|(speaker, _)| entry.speaker == Some(*speaker));
                [
                    (
                        Arm::Speaker,
                        weights.speaker * about.map_or(0.0, |(_, sure)| sure),
                    ),
                    (Arm::Date, weights.date * near(&question.spans, entry.day)),
                    (
                        Arm::When,
                        weights.when * is(question.asks_when && !entry.spans.is_empty()),
                    ),
                    (
                        Arm::Name,
                        weights.name * is(question.asks_for_a_name && self.has_a_name(entry)),
                    ),
                    (Arm::Entity, weights.entity * named),
                    (Arm::Question, weights.question * is(entry.is_question)),
                ]
            })
            .collect();
        if let Some(embedding) = &query.embedding {
            let so_far =
                weights.words + weights.neighbour_words + weights.session_words + weights.sentence;
            let cosines: Vec<f32> = self
                .vectors
                .similarities(&embedding.sentence, &slots)
                .into_iter()
                .map(|cosine| cosine.unwrap_or(0.0))
                .collect();
            add(
                &mut candidates,
                Arm::Sentence,
                weights.sentence,
                normalise(cosines),
            );
            if !embedding.tokens.is_empty() {
                // Of many documents, what is known so far decides which are matched token by token.
                let known: Vec<f32> = shares
                    .iter()
                    .map(|shares| so_far * shares.iter().map(|(_, value)| value).sum::<f32>())
                    .collect();
                let matched = self.worth_matching(&candidates, &known);
                let matched_slots: Vec<u32> = matched.iter().map(|at| slots[*at]).collect();
                let (own, passages) =
                    tokens::score(self, &embedding.tokens, &matched_slots, |entry| {
                        self.facts_of(entry, query)
                    });
                let spread = |values: Vec<f32>| {
                    let mut all = vec![0.0; slots.len()];
                    for (at, value) in matched.iter().zip(values) {
                        all[*at] = value;
                    }
                    all
                };
                add(
                    &mut candidates,
                    Arm::Tokens,
                    weights.tokens,
                    spread(normalise(own)),
                );
                add(
                    &mut candidates,
                    Arm::PassageTokens,
                    weights.passage_tokens,
                    spread(of_largest(passages)),
                );
            }
        }
        for (candidate, shares) in candidates.iter_mut().zip(shares) {
            for (arm, value) in shares {
                candidate.add(arm, text_weight * value);
            }
        }
        (candidates, text_weight)
    }

    /// The facts drawn from a document that hold and say something that the document does not: a quotation of it has nothing to
    /// add, and would count its words twice.
    fn facts_of(&self, entry: &Entry, query: &Query) -> impl Iterator<Item = u32> {
        let facts = self.cited.get(&entry.document.id);
        let counts = |fact: &u32| {
            let quotes = |fact: &Entry| entry.document.text.contains(&fact.document.text);
            self.holds(*fact, query) && !self.entry(*fact).is_some_and(quotes)
        };
        facts.into_iter().flatten().copied().filter(counts)
    }

    /// Which candidates, by their place in the list, are matched token by token: all of a few, else the best so far.
    fn worth_matching(&self, candidates: &[Candidate], known: &[f32]) -> Vec<usize> {
        let mut places: Vec<usize> = (0..candidates.len()).collect();
        if self.len() > FEW && places.len() > TOKEN_MATCHED {
            let worth = |at: usize| candidates[at].score + known[at];
            places.sort_by(|a, b| worth(*b).total_cmp(&worth(*a)).then(a.cmp(b)));
            places.truncate(TOKEN_MATCHED);
            places.sort_unstable();
        }
        places
    }

    /// Whether a document names something or somebody that is no speaker: to greet is not to name.
    fn has_a_name(&self, entry: &Entry) -> bool {
        entry.names.iter().any(|name| self.named(name).is_empty())
    }

    /// Whether somebody else than the person asked about said what matches best, by a clear margin.
    ///
    /// What was never said is often a thing that the other one said. A question about it is no statement of it.
    fn said_by_somebody_else(&self, question: &Question, candidates: &[Candidate]) -> bool {
        // With two people named, either may have said it.
        let Some((about, 1.0)) = question.about else {
            return false;
        };
        let with_tokens = candidates
            .iter()
            .any(|c| c.parts.iter().any(|(arm, _)| *arm == Arm::Tokens));
        let whole = self.weights.words
            + if with_tokens {
                self.weights.tokens
            } else {
                0.0
            };
        let mut best = [0.0f32; 2];
        for candidate in candidates {
            let Some(entry) = self
                .entry(candidate.slot)
                .filter(|entry| entry.speaker.is_some())
            else {
                continue;
            };
            let matching = candidate
                .parts
                .iter()
                .filter(|(arm, _)| matches!(arm, Arm::Words | Arm::Tokens));
            let asks = if entry.is_question {
                ASKING * whole
            } else {
                0.0
            };
            let best = &mut best[usize::from(entry.speaker == Some(about))];
            *best = best.max(matching.map(|(_, part)| part).sum::<f32>() - asks);
        }
        let [others, theirs] = best;
        others - theirs > CLEAR * whole
    }

    fn abstention(&self, question: &Question, candidates: &[Candidate]) -> Abstention {
        let said_by_somebody_else = self.said_by_somebody_else(question, candidates);
        let asked = || question.concepts.iter().filter(|concept| concept.own > 0.0);
        let total: f32 = asked()
            .map(|concept| self.lexical.idf(&concept.asked))
            .sum();
        let covered: f32 = asked()
            .filter(|concept| {
                let best = candidates.iter().take(3);
                best.clone().any(|c| {
                    concept
                        .phrases()
                        .any(|(phrase, _)| self.lexical.has(c.slot, phrase))
                })
            })
            .map(|concept| self.lexical.idf(&concept.asked))
            .sum();
        Abstention {
            advised: candidates.is_empty() || said_by_somebody_else,
            said_by_somebody_else,
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

fn passes(entry: &Entry, filter: &Filter) -> bool {
    let Filter {
        kinds,
        labels,
        speakers,
        sessions,
        observed,
    } = filter;
    let document = &entry.document;
    let any = |list: &[String], value: &Option<String>, same: fn(&str, &str) -> bool| {
        list.is_empty()
            || value
                .as_deref()
                .is_some_and(|value| list.iter().any(|one| same(one, value)))
    };
    (kinds.is_empty() || kinds.contains(&document.kind))
        && labels
            .iter()
            .all(|any| any.iter().any(|label| document.labels.contains(label)))
        && any(speakers, &document.speaker, |a, b| {
            a.to_lowercase() == b.to_lowercase()
        })
        && any(sessions, &document.session, |a, b| a == b)
        && (*observed == Interval::default() || observed.contains(document.observed_at))
}

/// How near a document is to the times that a question names, 0 to 1.
fn near(spans: &[Span], day: Day) -> f32 {
    spans
        .iter()
        .map(|span| {
            let (first, last) = (*span.days.start(), *span.days.end());
            let late = day - last;
            let early = first - day;
            let inside = late <= 0 && early <= 0;
            match span.precision {
                Precision::Year => {
                    if inside {
                        0.3
                    } else {
                        0.0
                    }
                }
                Precision::Month | Precision::Season => match () {
                    () if inside => 1.0,
                    () if (1..=31).contains(&late) => 0.4,
                    () => 0.0,
                },
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
    of_largest(values.into_iter().map(|value| value - least).collect())
}

/// Values scaled so that the largest is 1; none is below 0.
fn of_largest(values: Vec<f32>) -> Vec<f32> {
    let largest = values.iter().copied().fold(0.0, f32::max);
    values
        .into_iter()
        .map(|value| if largest > 0.0 { value / largest } else { 0.0 })
        .collect()
}

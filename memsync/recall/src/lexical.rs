//! Words to documents: an inverted index with BM25, kept up to date one document at a time.
//!
//! ```text
//! idf(t)  = ln(1 + (N − df + ½) / (df + ½))
//! bm25(t) = idf(t) · tf · (k1 + 1) / (tf + k1 · (1 − b + b · length / mean length))
//! ```
//!
//! A question is a list of *concepts*, each a list of phrases that may stand for one another with a weight; a document gets
//! the best of them, so that naming a thing twice in two ways counts once. What stands for a word is worth no more than the
//! word: its idf is at most that of the word itself, where any document has the word.
//!
//! How many documents there are, how long and with what words, is told by what was said alone: what is drawn from it says the
//! same words again, and would make those common that a question is about.
//!
//! Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009.

use std::collections::HashMap;

/// Saturation: chat turns are short and repeat little, so a second occurrence says little.
const K1: f32 = 0.9;
/// Normalisation of length: a long turn of a chat is seldom padding.
const B: f32 = 0.3;

/// Terms that stand for one another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Concept {
    /// What the question says. A phrase occurs where all its terms do.
    pub(crate) asked: Vec<String>,
    /// What that itself counts: 0 for a phrase whose words are concepts of their own.
    pub(crate) own: f32,
    /// What may stand for it, with a weight.
    pub(crate) others: Vec<(Vec<String>, f32)>,
}

impl Concept {
    /// All phrases, with their weights.
    pub(crate) fn phrases(&self) -> impl Iterator<Item = (&[String], f32)> {
        std::iter::once((self.asked.as_slice(), self.own)).chain(
            self.others
                .iter()
                .map(|(phrase, weight)| (phrase.as_slice(), *weight)),
        )
    }
}

#[derive(Clone, Copy, Debug)]
struct Posting {
    slot: u32,
    count: u16,
}

/// The index. Slots are the caller's small integers.
#[derive(Debug, Default)]
pub(crate) struct Lexical {
    terms: HashMap<Box<str>, u32>,
    postings: Vec<Vec<Posting>>,
    /// By slot: the terms of a document with their counts, by term.
    documents: Vec<Vec<(u32, u16)>>,
    /// By slot, in terms.
    lengths: Vec<u32>,
    /// By slot: whether it is drawn from other documents.
    drawn: Vec<bool>,
    /// By term: documents that are not drawn from others.
    frequencies: Vec<u32>,
    /// Of documents that are not drawn from others.
    total_length: u64,
    count: u32,
}

impl Lexical {
    /// Adds a document under a slot that is free, and says whether it is drawn from others.
    pub(crate) fn insert(&mut self, slot: u32, terms: &[String], is_drawn: bool) {
        let mut counts: Vec<(u32, u16)> = Vec::new();
        let mut ids: Vec<u32> = terms.iter().map(|term| self.intern(term)).collect();
        ids.sort_unstable();
        for id in ids {
            match counts.last_mut() {
                Some((last, count)) if *last == id => *count = count.saturating_add(1),
                _ => counts.push((id, 1)),
            }
        }
        for &(term, count) in &counts {
            let postings = &mut self.postings[term as usize];
            let at = postings.partition_point(|posting| posting.slot < slot);
            postings.insert(at, Posting { slot, count });
            self.frequencies[term as usize] += u32::from(!is_drawn);
        }
        let at = slot as usize;
        if self.documents.len() <= at {
            self.documents.resize_with(at + 1, Vec::new);
            self.lengths.resize(at + 1, 0);
            self.drawn.resize(at + 1, false);
        }
        self.documents[at] = counts;
        self.lengths[at] = u32::try_from(terms.len()).unwrap_or(u32::MAX);
        self.drawn[at] = is_drawn;
        if !is_drawn {
            self.total_length += u64::from(self.lengths[at]);
            self.count += 1;
        }
    }

    /// Removes the document of a slot that is taken.
    pub(crate) fn remove(&mut self, slot: u32) {
        let at = slot as usize;
        let is_drawn = self.drawn[at];
        for (term, _) in std::mem::take(&mut self.documents[at]) {
            self.frequencies[term as usize] -= u32::from(!is_drawn);
            let postings = &mut self.postings[term as usize];
            let at = postings.partition_point(|posting| posting.slot < slot);
            postings.remove(at);
        }
        let length = std::mem::take(&mut self.lengths[at]);
        if !is_drawn {
            self.total_length -= u64::from(length);
            self.count -= 1;
        }
    }

    fn intern(&mut self, term: &str) -> u32 {
        if let Some(id) = self.terms.get(term) {
            return *id;
        }
        let id = u32::try_from(self.postings.len()).expect("fewer than 2^32 words fit in memory");
        self.terms.insert(term.into(), id);
        self.postings.push(Vec::new());
        self.frequencies.push(0);
        id
    }

    /// Documents with all terms of a phrase, of those that are not drawn from others.
    pub(crate) fn found_in(&self, phrase: &[String]) -> u32 {
        if let [term] = phrase {
            let id = self.terms.get(term.as_str());
            return id.map_or(0, |id| self.frequencies[*id as usize]);
        }
        let mut found = 0;
        self.occurrences(phrase, |_, _, frequency| found = frequency);
        found
    }

    /// Rarity of a phrase.
    pub(crate) fn idf(&self, phrase: &[String]) -> f32 {
        idf(self.count, self.found_in(phrase))
    }

    fn mean_length(&self) -> f32 {
        mean(self.total_length, self.count)
    }

    /// BM25 of every document that has some variant of some concept, by slot; others are 0.
    pub(crate) fn score(&self, concepts: &[Concept]) -> Vec<f32> {
        let mut scores = vec![0.0; self.documents.len()];
        let mut best = vec![0.0f32; self.documents.len()];
        let mut touched = Vec::new();
        let mean = self.mean_length();
        for concept in concepts {
            let cap = match self.found_in(&concept.asked) {
                0 => f32::INFINITY,
                frequency => idf(self.count, frequency),
            };
            for (phrase, weight) in concept.phrases() {
                self.occurrences(phrase, |slot, count, frequency| {
                    let length = self.lengths[slot as usize] as f32;
                    let score = weight
                        * idf(self.count, frequency).min(cap)
                        * saturate(f32::from(count), length / mean);
                    let best = &mut best[slot as usize];
                    if *best == 0.0 {
                        touched.push(slot);
                    }
                    *best = best.max(score);
                });
            }
            for slot in touched.drain(..) {
                scores[slot as usize] += std::mem::take(&mut best[slot as usize]);
            }
        }
        scores
    }

    /// Calls `found` for each document with all terms of a phrase: slot, count of the rarest, number of documents that are not
    /// drawn from others.
    fn occurrences(&self, phrase: &[String], mut found: impl FnMut(u32, u16, u32)) {
        let Some(mut lists) = phrase
            .iter()
            .map(|term| {
                self.terms.get(term.as_str()).map(|id| {
                    let id = *id as usize;
                    (self.postings[id].as_slice(), self.frequencies[id])
                })
            })
            .collect::<Option<Vec<_>>>()
        else {
            return;
        };
        lists.sort_by_key(|(list, _)| list.len());
        let Some(((rarest, frequency), others)) = lists.split_first() else {
            return;
        };
        // Most phrases are one word, and those of common words are long lists.
        if others.is_empty() {
            let frequency = *frequency;
            for posting in *rarest {
                found(posting.slot, posting.count, frequency);
            }
            return;
        }
        let all: Vec<Posting> = rarest
            .iter()
            .filter(|posting| {
                others
                    .iter()
                    .all(|(list, _)| list.binary_search_by_key(&posting.slot, |p| p.slot).is_ok())
            })
            .copied()
            .collect();
        let said = |posting: &&Posting| !self.drawn[posting.slot as usize];
        let frequency = all.iter().filter(said).count() as u32;
        for posting in all {
            found(posting.slot, posting.count, frequency);
        }
    }

    /// BM25 of groups of documents, each taken as one long document; `group_of` names the group of a slot.
    pub(crate) fn score_groups(
        &self,
        concepts: &[Concept],
        groups: usize,
        group_of: impl Fn(u32) -> Option<u32>,
        group_lengths: &[u32],
    ) -> Vec<f32> {
        let taken = group_lengths.iter().filter(|length| **length > 0).count() as u32;
        let total: u64 = group_lengths.iter().map(|length| u64::from(*length)).sum();
        let mean = mean(total, taken);
        let mut scores = vec![0.0; groups];
        let mut best = vec![0.0f32; groups];
        let mut counts = vec![0u32; groups];
        for concept in concepts {
            for (phrase, weight) in concept.phrases() {
                counts.fill(0);
                self.occurrences(phrase, |slot, count, _| {
                    if let Some(group) = group_of(slot) {
                        counts[group as usize] += u32::from(count);
                    }
                });
                let frequency = counts.iter().filter(|count| **count > 0).count() as u32;
                for ((best, count), length) in best.iter_mut().zip(&counts).zip(group_lengths) {
                    if *count > 0 {
                        let score = weight
                            * idf(taken, frequency)
                            * saturate(*count as f32, *length as f32 / mean);
                        *best = best.max(score);
                    }
                }
            }
            for (score, best) in scores.iter_mut().zip(&mut best) {
                *score += std::mem::take(best);
            }
        }
        scores
    }

    /// Terms in the document of a slot.
    pub(crate) fn length(&self, slot: u32) -> u32 {
        self.lengths.get(slot as usize).copied().unwrap_or(0)
    }

    /// Whether the document of a slot has all terms of a phrase.
    pub(crate) fn has(&self, slot: u32, phrase: &[String]) -> bool {
        let Some(terms) = self.documents.get(slot as usize) else {
            return false;
        };
        !phrase.is_empty()
            && phrase.iter().all(|term| {
                self.terms
                    .get(term.as_str())
                    .is_some_and(|id| terms.binary_search_by_key(id, |t| t.0).is_ok())
            })
    }
}

/// The mean length of documents, at least 1.
fn mean(total: u64, count: u32) -> f32 {
    (total as f64 / f64::from(count.max(1))).max(1.0) as f32
}

fn idf(count: u32, frequency: u32) -> f32 {
    let (n, df) = (count as f32, frequency as f32);
    (1.0 + (n - df + 0.5) / (df + 0.5)).ln()
}

fn saturate(count: f32, relative_length: f32) -> f32 {
    count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * relative_length))
}

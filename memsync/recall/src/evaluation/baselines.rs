//! What the index is measured beside, over the same documents and vectors: BM25 alone, sentence vectors alone, and both by
//! reciprocal rank fusion.
//!
//! BM25 has the parameters, the stemming and the stop words of the index and nothing else of it: no tables, no neighbours, no
//! metadata; a speaker's name is a word among others. Vectors are compared without loss.

use crate::document::{Document, DocumentId};
use crate::lexical::{Concept, Lexical};
use crate::text;

/// The constant of reciprocal rank fusion that everybody uses.
const RRF: f32 = 60.0;

/// Documents that can be ranked in three plain ways.
#[derive(Default)]
pub struct Baselines {
    ids: Vec<DocumentId>,
    lexical: Lexical,
    sentences: Vec<Vec<f32>>,
}

impl Baselines {
    /// Adds a document, with its sentence vector of length 1 or with an empty one.
    ///
    /// # Panics
    ///
    /// After four billion documents.
    pub fn insert(&mut self, document: &Document, sentence: Vec<f32>) {
        let slot =
            u32::try_from(self.ids.len()).expect("an evaluation has fewer than 2^32 documents");
        self.lexical
            .insert(slot, &text::terms(&document.passage()), false);
        self.ids.push(document.id);
        self.sentences.push(sentence);
    }

    /// The documents by BM25 of the question, best first.
    #[must_use]
    pub fn bm25(&self, question: &str) -> Vec<DocumentId> {
        self.names(self.by_words(question))
    }

    /// The documents by cosine with the question's vector, best first.
    #[must_use]
    pub fn dense(&self, question: &[f32]) -> Vec<DocumentId> {
        self.names(self.by_vectors(question))
    }

    /// The documents by both ranks, best first: the sum of 1 / (60 + rank).
    #[must_use]
    pub fn fused(&self, question: &str, vector: &[f32]) -> Vec<DocumentId> {
        let mut scores = vec![0.0; self.ids.len()];
        for ranking in [self.by_words(question), self.by_vectors(vector)] {
            for (rank, at) in ranking.into_iter().enumerate() {
                scores[at] += 1.0 / (RRF + 1.0 + rank as f32);
            }
        }
        self.names(ranked(&scores))
    }

    fn by_words(&self, question: &str) -> Vec<usize> {
        let mut concepts: Vec<Concept> = Vec::new();
        for term in text::terms(question) {
            let concept = Concept {
                asked: vec![term],
                own: 1.0,
                others: Vec::new(),
            };
            if !concepts.contains(&concept) {
                concepts.push(concept);
            }
        }
        ranked(&self.lexical.score(&concepts))
    }

    fn by_vectors(&self, question: &[f32]) -> Vec<usize> {
        let cosine = |sentence: &Vec<f32>| sentence.iter().zip(question).map(|(a, b)| a * b).sum();
        let scores: Vec<f32> = self.sentences.iter().map(cosine).collect();
        ranked(&scores)
    }

    fn names(&self, ranking: Vec<usize>) -> Vec<DocumentId> {
        ranking.into_iter().map(|at| self.ids[at]).collect()
    }
}

/// Places by score, best first; equal ones in order.
fn ranked(scores: &[f32]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Kind;

    #[test]
    fn each_way_ranks_by_its_own_evidence() {
        let mut baselines = Baselines::default();
        let document = |n: u8, text: &str| Document::new(DocumentId([n; 32]), Kind::Episode, text);
        baselines.insert(&document(1, "a red kite"), vec![1.0, 0.0]);
        baselines.insert(&document(2, "a paper boat"), vec![0.0, 1.0]);
        baselines.insert(&document(3, "nothing of the sort"), vec![0.6, 0.8]);
        let first = |ranking: Vec<DocumentId>| ranking[0].0[0];
        assert_eq!(first(baselines.bm25("Which boats?")), 2);
        assert_eq!(first(baselines.dense(&[1.0, 0.0])), 1);
        assert_eq!(first(baselines.fused("boat", &[0.6, 0.8])), 2);
        assert_eq!(baselines.fused("boat", &[0.6, 0.8]).len(), 3);
    }
}

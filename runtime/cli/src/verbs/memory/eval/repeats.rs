//! How much of an answer says again what a better hit of it said.
//!
//! The same words by the same speaker are left out by the index. What is counted here says the same in nearly the same words, or by
//! its vector: as memory finds that it knows a fact, so only among what one speaker said, and never where a number or a denial
//! differs.

use tally_memory::{Gist, are_twins};
use tally_recall::{Document, Embedding};

/// What is compared of one turn.
pub(super) struct Said {
    speaker: Option<String>,
    gist: Gist,
    sentence: Option<Vec<f32>>,
}

impl Said {
    pub(super) fn of(document: &Document, vectors: Option<&Embedding>) -> Self {
        Self {
            speaker: document.speaker.clone(),
            gist: Gist::of(&document.text),
            sentence: vectors.map(|vectors| vectors.sentence.clone()),
        }
    }

    fn has_the_vector_of(&self, other: &Self) -> bool {
        match (&self.sentence, &other.sentence) {
            (Some(one), Some(two)) => !self.gist.differs(&other.gist) && are_twins(one, two),
            _ => false,
        }
    }
}

/// Hits that say nearly what a better one of their answer says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Repeated {
    pub(super) words: usize,
    pub(super) vectors: usize,
}

impl Repeated {
    /// Counts those of one answer, whose hits come best first.
    pub(super) fn add(&mut self, hits: &[&Said]) {
        for (at, hit) in hits.iter().enumerate() {
            let better: Vec<&Said> = hits[..at]
                .iter()
                .copied()
                .filter(|other| other.speaker == hit.speaker)
                .collect();
            let in_words = better.iter().any(|other| other.gist.is_like(&hit.gist));
            let by_vector = better.iter().any(|other| other.has_the_vector_of(hit));
            self.words += usize::from(in_words);
            self.vectors += usize::from(by_vector);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_recall::{DocumentId, Kind, TokenVectors};

    fn said(speaker: &str, text: &str, sentence: Option<[f32; 2]>) -> Said {
        let document = Document {
            speaker: Some(speaker.to_owned()),
            ..Document::new(DocumentId([0; 32]), Kind::Episode, text)
        };
        let vectors = sentence.map(|sentence| Embedding {
            sentence: sentence.to_vec(),
            tokens: TokenVectors::default(),
        });
        Said::of(&document, vectors.as_ref())
    }

    fn repeated(hits: &[Said]) -> (usize, usize) {
        let mut repeated = Repeated::default();
        repeated.add(&hits.iter().collect::<Vec<_>>());
        (repeated.words, repeated.vectors)
    }

    const HENS: &str = "The neighbours keep four brown hens and one old donkey behind the mill";

    #[test]
    fn a_hit_in_nearly_the_words_of_a_better_one_repeats_it() {
        let again = said("Ada", &format!("{HENS} now."), None);
        assert_eq!(
            repeated(&[
                said("Ada", HENS, None),
                said("Ada", "I like tea", None),
                again
            ]),
            (1, 0)
        );
        // Another speaker speaks of another mill, and what is denied is not repeated.
        let other = said("Ben", &format!("{HENS} now."), None);
        assert_eq!(repeated(&[said("Ada", HENS, None), other]), (0, 0));
        let denied = said("Ada", &format!("{HENS} no more"), None);
        assert_eq!(repeated(&[said("Ada", HENS, None), denied]), (0, 0));
    }

    #[test]
    fn a_paraphrase_repeats_by_its_vector_unless_a_number_differs() {
        let hens = || said("Ada", HENS, Some([1.0, 0.0]));
        let paraphrase = "There are poultry and a donkey next door";
        let again = || said("Ada", paraphrase, Some([0.99, 0.1]));
        // Each repeats once, however often it was said before.
        assert_eq!(repeated(&[hens(), again()]), (0, 1));
        assert_eq!(repeated(&[hens(), again(), again()]), (1, 2));
        let far = said("Ada", paraphrase, Some([0.6, 0.8]));
        assert_eq!(repeated(&[hens(), far]), (0, 0));
        let number = said("Ada", "There are 5 hens next door", Some([1.0, 0.0]));
        assert_eq!(repeated(&[hens(), number]), (0, 0));
        let other = said("Ben", paraphrase, Some([1.0, 0.0]));
        assert_eq!(repeated(&[hens(), other]), (0, 0));
    }
}

//! What each arm counts in the fusion.

/// Weights of the arms; `docs/recall.md` gives the reason of each. None is fitted to data.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Words of the document.
    pub words: f32,
    /// Words of its neighbours.
    pub neighbour_words: f32,
    /// Words of its session.
    pub session_words: f32,
    /// Sentence vector of the document.
    pub sentence: f32,
    /// Sentence vectors of the document and its neighbours together.
    pub neighbour_sentences: f32,
    /// Token by token.
    pub tokens: f32,
    /// The question names one speaker, who said it.
    pub speaker: f32,
    /// The question names a time, near which it was said.
    pub date: f32,
    /// The question asks when, and the document names a time.
    pub when: f32,
    /// The document asks something itself.
    pub question: f32,
    /// A fact that matches lifts its evidence.
    pub fact: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            words: 1.0,
            neighbour_words: 1.0,
            session_words: 0.5,
            sentence: 1.0,
            neighbour_sentences: 1.0,
            tokens: 1.0,
            speaker: 1.0,
            date: 1.0,
            when: 0.5,
            question: -0.5,
            fact: 0.5,
        }
    }
}

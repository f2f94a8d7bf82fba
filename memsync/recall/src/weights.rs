//! What each arm counts in the fusion.
//!
//! Arms of text give 0 to 1 each and are added. What is known about a document without reading it (who, when, of what form) counts
//! as a share of the weight of the text arms that ran, so that it keeps its place beside them with vectors and without.

/// Weights of the arms; `docs/recall.md` gives the reason of each. None is fitted to data.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Text: words of the document.
    pub words: f32,
    /// Text: words of its neighbours.
    pub neighbour_words: f32,
    /// Text: words of its session.
    pub session_words: f32,
    /// Text: sentence vectors.
    pub sentence: f32,
    /// Text: token by token.
    pub tokens: f32,
    /// Text: token by token, each at its best place in or near the document.
    pub passage_tokens: f32,
    /// Text: words of a fact that was drawn from the document, where there are no token vectors.
    pub fact: f32,
    /// Text: the same, where the tokens of facts are matched too.
    pub fact_beside_tokens: f32,
    /// Share: the question is about one speaker, who said it.
    pub speaker: f32,
    /// Share: the question names a time, near which it was said.
    pub date: f32,
    /// Share: the question asks when, and the document names a time.
    pub when: f32,
    /// Share: the question asks who, where or for a name, and the document has one.
    pub name: f32,
    /// Share: the document names whom or what the question names, by how rare the names are.
    pub entity: f32,
    /// Share: the document asks something itself.
    pub question: f32,
    /// Share: a model that read it together with the question.
    pub reranker: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            words: 1.0,
            neighbour_words: 1.0,
            session_words: 0.5,
            sentence: 1.0,
            tokens: 1.0,
            passage_tokens: 1.0,
            fact: 0.75,
            fact_beside_tokens: 0.4,
            speaker: 1.0 / 3.0,
            date: 1.0 / 3.0,
            when: 1.0 / 6.0,
            name: 1.0 / 9.0,
            entity: 1.0 / 9.0,
            question: -1.0 / 9.0,
            reranker: 0.2,
        }
    }
}

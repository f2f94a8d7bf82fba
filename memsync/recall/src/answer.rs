//! What a search found, why, and how sure it is.

use crate::document::{DocumentId, Kind};

/// One source of evidence that a document answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arm {
    /// BM25 of the document.
    Words,
    /// BM25 of what stands before and after it.
    NeighbourWords,
    /// BM25 of its whole session.
    SessionWords,
    /// Cosine of sentence vectors.
    Sentence,
    /// The question's tokens against the document's.
    Tokens,
    /// The question's tokens against those of the document and what stands around it.
    PassageTokens,
    /// The question names who said it.
    Speaker,
    /// The question names a time near it.
    Date,
    /// The question asks when, and it names a time.
    When,
    /// The question asks for a name, and it has one.
    Name,
    /// It names whom or what the question names.
    Entity,
    /// It is a question itself.
    Question,
    /// A fact drawn from it matches.
    Fact,
    /// A model that read it together with the question.
    Reranker,
}

impl Arm {
    /// The word for it in traces that programs read.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::NeighbourWords => "neighbour-words",
            Self::SessionWords => "session-words",
            Self::Sentence => "sentence",
            Self::Tokens => "tokens",
            Self::PassageTokens => "passage-tokens",
            Self::Speaker => "speaker",
            Self::Date => "date",
            Self::When => "when",
            Self::Name => "name",
            Self::Entity => "entity",
            Self::Question => "question",
            Self::Fact => "fact",
            Self::Reranker => "reranker",
        }
    }
}

/// Which arms made a score: their sum is the score.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace(pub Vec<(Arm, f32)>);

impl Trace {
    /// What `arm` added; none where it has no part. The reranker has one wherever it read, even of 0.
    #[must_use]
    pub fn part(&self, arm: Arm) -> Option<f32> {
        let found = self.0.iter().find(|(a, _)| *a == arm);
        found.map(|(_, value)| *value)
    }

    /// The contribution of `arm`.
    #[must_use]
    pub fn of(&self, arm: Arm) -> f32 {
        self.0
            .iter()
            .filter(|(a, _)| *a == arm)
            .map(|(_, value)| value)
            .sum()
    }
}

/// One memory that may answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Which.
    pub id: DocumentId,
    /// Episode or fact.
    pub kind: Kind,
    /// Comparable within one answer only.
    pub score: f32,
    /// Why.
    pub trace: Trace,
    /// What it costs of the budget.
    pub tokens: u32,
    /// Documents that say the same in the same words, and were left out for it.
    pub duplicates: Vec<DocumentId>,
}

/// Signs that the index does not know the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Abstention {
    /// Whether to say "I do not know" rather than to answer from the hits.
    pub advised: bool,
    /// What matches best was clearly said by somebody else than the one whom the question is about.
    pub said_by_somebody_else: bool,
    /// Share of the question's words, each counted by its rarity, that occur in the best hits: 0 to 1.
    pub covered: f32,
}

/// The result of a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The best first.
    pub hits: Vec<Hit>,
    /// Whether to believe them.
    pub abstention: Abstention,
    /// Tokens of all hits together.
    pub tokens: u32,
    /// How many documents were scored.
    pub candidates: usize,
}

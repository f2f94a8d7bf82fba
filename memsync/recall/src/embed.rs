//! Vectors of texts: where they come from, and the compact form in which token vectors are kept.

/// What a text looks like to an embedding model.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// *Shape* `[dimensions]`, of length 1.
    pub sentence: Vec<f32>,
    /// One vector per token of the text; empty when the model gives none, which leaves token matching out.
    pub tokens: TokenVectors,
}

/// Entries of a token vector that are kept. The first 128 of MiniLM's 384 find as much as all of them (`docs/recall.md`), in a
/// third of the memory and time.
pub const TOKEN_DIMENSIONS: usize = 128;

/// Token vectors of one text: of each the first [`TOKEN_DIMENSIONS`] entries at most, scaled to 127 times a unit vector and
/// rounded. Tokens that belong to no word, like those that begin and end a text, are better left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenVectors {
    dimensions: usize,
    /// *Shape* `[tokens, dimensions]`, row by row.
    rows: Vec<i8>,
}

impl TokenVectors {
    /// From the outputs of a model, *shape* `[tokens, dimensions]`; a row without direction is left out.
    #[must_use]
    pub fn from_rows<'r>(dimensions: usize, rows: impl IntoIterator<Item = &'r [f32]>) -> Self {
        let mut out = Vec::new();
        let kept = dimensions.min(TOKEN_DIMENSIONS);
        for row in rows.into_iter().filter(|row| row.len() == dimensions) {
            let row = &row[..kept];
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            if length.is_finite() && length > 0.0 {
                // `as` saturates, and a unit vector's entries are at most 1.
                out.extend(row.iter().map(|x| (x / length * 127.0).round() as i8));
            }
        }
        Self {
            dimensions: kept,
            rows: out,
        }
    }

    /// From bytes as [`Self::as_bytes`] gives them; `None` when they are not whole rows.
    #[must_use]
    pub fn from_bytes(dimensions: usize, rows: Vec<i8>) -> Option<Self> {
        (dimensions > 0 && rows.len().is_multiple_of(dimensions))
            .then_some(Self { dimensions, rows })
    }

    /// All rows, one after another.
    #[must_use]
    pub fn as_bytes(&self) -> &[i8] {
        &self.rows
    }

    /// The rows, in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[i8]> {
        // A chunk of no entries is an error, and an empty value has no rows anyway.
        self.rows.chunks_exact(self.dimensions.max(1))
    }

    /// Entries of one row.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len().checked_div(self.dimensions).unwrap_or(0)
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Why texts were not embedded.
#[derive(Debug, thiserror::Error)]
#[error("embed {texts} texts: {reason}")]
pub struct EmbedError {
    /// How many were asked for.
    pub texts: usize,
    /// The model's or the transport's own words.
    pub reason: String,
    /// Whether asking again may help; else somebody has to mend something first.
    pub is_transient: bool,
}

/// A model that turns texts into vectors. Implemented above this crate, over the inference service.
pub trait Embedder {
    /// A name that changes whenever vectors would: vectors of different models are never compared.
    fn model(&self) -> &str;

    /// One embedding per text, in order.
    ///
    /// # Errors
    ///
    /// [`EmbedError`] when any of them could not be made; nothing is left out silently.
    fn embed(&self, texts: &[String]) -> Result<Vec<Embedding>, EmbedError>;
}

//! Why nothing could be taken out of a file.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::Format;

/// Why nothing could be taken out of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ImportError {
    /// None of the formats that are read. The caller names the format or brings another file.
    #[error("not a format that is read here: {found}")]
    Unrecognized {
        /// What the file looks like.
        found: String,
    },
    /// Broken, cut off, or not what the caller says it is.
    #[error("not readable as {format}: {detail}")]
    Malformed {
        /// What it was read as.
        format: Format,
        /// What is wrong with it, and where.
        detail: String,
    },
    /// Locked with a password. The caller unlocks it first.
    #[error("the {format} file is encrypted; save it without a password first")]
    Encrypted {
        /// What it is.
        format: Format,
    },
    /// A limit forbids it. The caller raises the limit or splits the file.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: Cow<'static, str>,
        /// The limit, in the unit of the limit's name.
        limit: usize,
    },
    /// A parser that we use gave up by panicking; the file is hostile or the parser is wrong. Ours to report upstream.
    #[error("the parser of {format} failed on this file; nothing was taken out of it")]
    ParserFailed {
        /// What it was read as.
        format: Format,
    },
}

impl ImportError {
    pub(crate) fn malformed(format: Format, detail: impl ToString) -> Self {
        Self::Malformed {
            format,
            detail: detail.to_string(),
        }
    }
}

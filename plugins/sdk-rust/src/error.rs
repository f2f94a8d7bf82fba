//! Why a call did not succeed, in words that fit after "failed to".
//!
//! One case for each party that can act: [`Denied`](Error::Denied) is for who granted, [`Invalid`](Error::Invalid) for
//! the agent's author, [`Exhausted`](Error::Exhausted) for who set the limits, [`Unavailable`](Error::Unavailable) for
//! patience, [`Failed`](Error::Failed) for who reads the reply. The same type crosses the contract in both directions,
//! so `?` hands a host's refusal to whoever started the run.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::bindings::agent::tally::agent::types as wit;
pub use crate::bindings::agent::tally::agent::types::ResourceKind as Resource;

/// What a fallible function of an agent returns.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not granted; the text names what was asked for. Asking again cannot help.
    Denied(String),
    /// The request is malformed, and whoever made it must change it.
    Invalid(String),
    /// A limit of this run is used up.
    Exhausted(Resource),
    /// Not there, or not working now. Asking again may help.
    Unavailable(String),
    /// It was started and failed.
    Failed(String),
    /// The caller cancelled it.
    Cancelled,
}

impl Error {
    /// An [`Error::Invalid`] with this text.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// An [`Error::Failed`] with this text.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// Whether a model that asked for a tool can do something about it: another argument, another tool, or an answer
    /// without one. A refusal, a spent limit and a cancellation are not for the model to work around.
    pub fn is_for_the_model(&self) -> bool {
        matches!(
            self,
            Self::Invalid(_) | Self::Unavailable(_) | Self::Failed(_)
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(what) => write!(f, "not granted: {what}"),
            Self::Invalid(why) => write!(f, "invalid request: {why}"),
            Self::Exhausted(kind) => write!(f, "limit used up: {}", resource_name(*kind)),
            Self::Unavailable(why) => write!(f, "unavailable: {why}"),
            Self::Failed(why) => f.write_str(why),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl core::error::Error for Error {}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(format!("read or write JSON: {error}"))
    }
}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl From<&str> for Error {
    fn from(text: &str) -> Self {
        Self::Failed(text.to_owned())
    }
}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::Denied(text) => Self::Denied(text),
            wit::Error::Invalid(text) => Self::Invalid(text),
            wit::Error::Exhausted(kind) => Self::Exhausted(kind),
            wit::Error::Unavailable(text) => Self::Unavailable(text),
            wit::Error::Failed(text) => Self::Failed(text),
            wit::Error::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(text) => Self::Denied(text),
            Error::Invalid(text) => Self::Invalid(text),
            Error::Exhausted(kind) => Self::Exhausted(kind),
            Error::Unavailable(text) => Self::Unavailable(text),
            Error::Failed(text) => Self::Failed(text),
            Error::Cancelled => Self::Cancelled,
        }
    }
}

fn resource_name(kind: Resource) -> &'static str {
    match kind {
        Resource::Tokens => "tokens",
        Resource::OutputBytes => "output bytes",
        Resource::Handles => "open handles",
        Resource::RequestBytes => "request bytes",
        Resource::Calls => "calls",
        Resource::WallTime => "wall time",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_survives_the_contract_in_both_directions() {
        let all = [
            Error::Denied("model x".to_owned()),
            Error::invalid("no text"),
            Error::Exhausted(Resource::Tokens),
            Error::Unavailable("worker".to_owned()),
            Error::failed("oops"),
            Error::Cancelled,
        ];
        for error in all {
            assert_eq!(Error::from(wit::Error::from(error.clone())), error);
        }
    }

    #[test]
    fn a_refusal_is_not_left_to_the_model() {
        assert!(!Error::Denied("tool y".to_owned()).is_for_the_model());
        assert!(!Error::Exhausted(Resource::Calls).is_for_the_model());
        assert!(!Error::Cancelled.is_for_the_model());
        assert!(Error::invalid("bad date").is_for_the_model());
    }
}

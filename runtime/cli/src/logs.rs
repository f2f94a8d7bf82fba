//! What the program's parts say while they work: on stderr, one event a line.
//!
//! | variable | |
//! |---|---|
//! | `TALLY_LOG` | how much, by part: `warn`, `tally_node=info,tally_net=debug`. Without it warnings of a verb that runs until it is stopped, and errors of any other |
//! | `TALLY_LOG_FORMAT` | `text`, which is what is written without it, or `json`: one object a line, for programs |

use std::ffi::OsStr;

use tracing_subscriber::EnvFilter;

use crate::failure::{Failure, Outcome};

/// Whether somebody waits for the verb's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// To its end; what went wrong is its answer.
    Once,
    /// Until it is stopped: its operator reads nothing but what it logs.
    UntilStopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

impl Runs {
    /// How much is said to whoever has not asked for more or less.
    const fn filter(self) -> &'static str {
        match self {
            Self::Once => "error",
            Self::UntilStopped => "warn",
        }
    }
}

impl Format {
    fn named(name: Option<&OsStr>) -> Result<Self, Failure> {
        match name.map(OsStr::to_str) {
            None | Some(Some("" | "text")) => Ok(Self::Text),
            Some(Some("json")) => Ok(Self::Json),
            Some(_) => Err(Failure::misuse("TALLY_LOG_FORMAT is neither text nor json")),
        }
    }
}

/// Lets the parts be heard from here on.
pub(crate) fn begin(runs: Runs) -> Outcome {
    let filter =
        EnvFilter::try_from_env("TALLY_LOG").unwrap_or_else(|_| EnvFilter::new(runs.filter()));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match Format::named(std::env::var_os("TALLY_LOG_FORMAT").as_deref())? {
        Format::Text => subscriber.init(),
        Format::Json => subscriber.json().init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_that_nobody_knows_is_named_and_none_is_text() {
        let named = |name: &str| Format::named(Some(OsStr::new(name))).ok();
        assert_eq!(Format::named(None).ok(), Some(Format::Text));
        assert_eq!(named(""), Some(Format::Text));
        assert_eq!(named("text"), Some(Format::Text));
        assert_eq!(named("json"), Some(Format::Json));
        assert_eq!(named("JSON"), None);
    }
}

//! How a command ends badly, and the exit code that says so to a program.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done, or verified |
//! | 1 | the answer is no: tampered, not identical, denied, the agent failed |
//! | 2 | misuse: the command cannot mean anything as typed |
//! | 3 | environment: a model, a tool, disk space or a right is missing |
//!
//! A failure is one sentence of what happened and, where there is one, a second of what to do next.

use crate::ui::say;
use std::fmt::Display;
use std::process::ExitCode;

/// Who has to act, which is what an exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The question was answered, and the answer is no.
    False,
    /// The command line or a file named on it has to change.
    Misuse,
    /// The machine has to change.
    Environment,
}

/// A command's bad end.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    advice: Option<String>,
    /// The command has already said everything on stderr or as JSON.
    reported: bool,
}

/// What a verb returns.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    /// The answer is no.
    pub(crate) fn no(message: impl Display) -> Self {
        Self::new(Kind::False, message)
    }

    /// The answer is no, and the command's own report has said so already.
    pub(crate) fn reported() -> Self {
        Self {
            reported: true,
            ..Self::new(Kind::False, "")
        }
    }

    /// The command cannot mean anything as typed.
    pub(crate) fn misuse(message: impl Display) -> Self {
        Self::new(Kind::Misuse, message)
    }

    /// The machine lacks something.
    pub(crate) fn environment(message: impl Display) -> Self {
        Self::new(Kind::Environment, message)
    }

    fn new(kind: Kind, message: impl Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
            advice: None,
            reported: false,
        }
    }

    /// Whether the machine, or what it reaches, lacks something: it may not later.
    pub(crate) fn is_environment(&self) -> bool {
        matches!(self.kind, Kind::Environment)
    }

    /// What happened, in a sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Adds what to do next.
    pub(crate) fn advise(mut self, advice: impl Display) -> Self {
        self.advice = Some(advice.to_string());
        self
    }

    /// Says it, to a person on stderr or to a program on stdout, and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        let (code, kind) = match self.kind {
            Kind::False => (1, "false"),
            Kind::Misuse => (2, "misuse"),
            Kind::Environment => (3, "environment"),
        };
        if !self.reported {
            if json {
                let error = serde_json::json!({
                    "error": { "kind": kind, "message": self.message, "advice": self.advice }
                });
                say!("{error}");
            } else {
                eprintln!("tally: {}", self.message);
                if let Some(advice) = &self.advice {
                    eprintln!("       {advice}");
                }
            }
        }
        ExitCode::from(code)
    }
}

/// Sorts a foreign error into a [`Failure`].
pub(crate) trait OrFail<T> {
    /// The machine is at fault; `doing` fits after "cannot".
    fn or_environment(self, doing: impl Display) -> Result<T, Failure>;
    /// The caller is at fault; `doing` fits after "cannot".
    fn or_misuse(self, doing: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_environment(self, doing: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::environment(format_args!("cannot {doing}: {error:#}")))
    }

    fn or_misuse(self, doing: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::misuse(format_args!("cannot {doing}: {error:#}")))
    }
}

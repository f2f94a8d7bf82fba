//! Tools: offering them in a plugin, and calling them from an agent.
//!
//! A plugin lists [`Tool`]s and hands them to [`plugin!`](crate::plugin!). Arguments are parsed into the tool's own
//! type before its code runs, so a malformed call is the caller's [`Invalid`](Error::Invalid), never a panic.
//!
//! ```
//! use tally_agent::plugin::Tool;
//! use tally_agent::prelude::*;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Shout { text: String }
//!
//! fn shout(arguments: Shout) -> Result<String> {
//!     Ok(arguments.text.to_uppercase())
//! }
//!
//! const TOOLS: &[Tool] = &[tally_agent::tool!(
//!     "shout",
//!     "Writes a text in capitals.",
//!     r#"{"type":"object","properties":{"text":{"type":"string"}},"required":["text"],"additionalProperties":false}"#,
//!     shout
//! )];
//! tally_agent::plugin!(TOOLS);
//! ```

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::de::DeserializeOwned;

use crate::bindings::agent::tally::agent::tools as wit;
use crate::error::{Error, Result};

pub use crate::bindings::agent::tally::agent::types::ToolSpec;

/// The longest arguments a tool looks at. A model's call is a few hundred bytes; a document belongs in an attachment.
pub const MAX_ARGUMENT_BYTES: usize = 256 * 1024;

/// One tool of a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// What a model calls it.
    pub name: &'static str,
    /// What it does, for a model to read.
    pub description: &'static str,
    /// A JSON Schema of the arguments object.
    pub parameters_schema: &'static str,
    /// Runs it on the arguments, as JSON text.
    pub run: fn(&str) -> Result<String>,
}

impl Tool {
    /// What a caller is told about it.
    pub fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: self.name.into(),
            description: self.description.into(),
            parameters_schema: self.parameters_schema.into(),
        }
    }
}

/// The tools this run may call.
///
/// # Errors
///
/// [`Unavailable`](Error::Unavailable) when a plugin that offers tools does not start.
pub fn tools() -> Result<Vec<ToolSpec>> {
    Ok(wit::list()?)
}

/// Calls a tool. `arguments` is anything that prints as a JSON object, such as `json!({..})` or a string.
///
/// # Errors
///
/// [`Denied`](Error::Denied) when the tool is not granted; otherwise what the tool itself answers.
pub fn call_tool(name: &str, arguments: impl core::fmt::Display) -> Result<String> {
    Ok(wit::call(name, &arguments.to_string())?)
}

/// Runs the tool of this name.
///
/// # Errors
///
/// [`Invalid`](Error::Invalid) when there is none or the arguments are too long; otherwise the tool's own.
pub(crate) fn dispatch(tools: &[Tool], name: &str, arguments_json: &str) -> Result<String> {
    let Some(tool) = tools.iter().find(|tool| tool.name == name) else {
        let known: Vec<&str> = tools.iter().map(|tool| tool.name).collect();
        return Err(Error::Invalid(format!(
            "there is no tool of this name; there are: {}",
            known.join(", ")
        )));
    };
    if arguments_json.len() > MAX_ARGUMENT_BYTES {
        return Err(Error::Invalid(format!(
            "arguments of {} bytes, more than the {MAX_ARGUMENT_BYTES} a tool reads",
            arguments_json.len()
        )));
    }
    (tool.run)(arguments_json)
}

/// Parses a tool's arguments into its own type. Used by [`tool!`](crate::tool!).
///
/// # Errors
///
/// [`Invalid`](Error::Invalid), saying what is missing or wrong.
pub fn parse_arguments<T: DeserializeOwned>(name: &str, arguments_json: &str) -> Result<T> {
    serde_json::from_str(arguments_json)
        .map_err(|error| Error::Invalid(format!("arguments of {name}: {error}")))
}

/// A [`Tool`](crate::plugin::Tool) from its name, description, JSON Schema, and a function from its arguments' type to
/// a text.
#[macro_export]
macro_rules! tool {
    ($name:expr, $description:expr, $schema:expr, $function:path) => {
        $crate::plugin::Tool {
            name: $name,
            description: $description,
            parameters_schema: $schema,
            run: |arguments| $function($crate::plugin::parse_arguments($name, arguments)?),
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Echo {
        text: String,
    }

    fn echo(arguments: Echo) -> Result<String> {
        Ok(arguments.text)
    }

    const TOOLS: &[Tool] = &[crate::tool!("echo", "Says it again.", "{}", echo)];

    #[test]
    fn a_call_reaches_the_tool_of_its_name() {
        assert_eq!(
            dispatch(TOOLS, "echo", r#"{"text":"hi"}"#),
            Ok("hi".to_owned())
        );
    }

    #[test]
    fn unknown_tools_and_malformed_arguments_are_the_callers_fault() {
        for (name, arguments) in [
            ("nope", "{}"),
            ("echo", ""),
            ("echo", "{}"),
            ("echo", r#"{"text":1}"#),
            ("echo", r#"{"text":"a","more":1}"#),
        ] {
            assert!(
                matches!(dispatch(TOOLS, name, arguments), Err(Error::Invalid(_))),
                "{name} {arguments}"
            );
        }
        let long = format!(r#"{{"text":"{}"}}"#, "a".repeat(MAX_ARGUMENT_BYTES));
        assert!(matches!(
            dispatch(TOOLS, "echo", &long),
            Err(Error::Invalid(_))
        ));
    }

    #[test]
    fn deeply_nested_arguments_are_refused_rather_than_overflowing_the_stack() {
        let nested = "[".repeat(100_000);
        assert!(matches!(
            dispatch(TOOLS, "echo", &nested),
            Err(Error::Invalid(_))
        ));
    }
}

//! The far side of the exported functions: turns what the host hands over into the author's types, and back.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use crate::bindings::agent::tally::agent::types as wit;
use crate::plugin::Tool;
use crate::{Error, Input, Reply, Result};

impl Reply {
    /// A reply of text alone.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            data_json: None,
        }
    }

    /// Adds a value for programs.
    ///
    /// # Errors
    ///
    /// [`Failed`](Error::Failed) when the value cannot be JSON, for example a map whose keys are not strings.
    pub fn data(mut self, value: &impl Serialize) -> Result<Self> {
        self.data_json = Some(serde_json::to_string(value)?);
        Ok(self)
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Runs an author's handler. Used by [`agent!`](crate::agent).
pub fn handle<R, E>(
    input: Input,
    handler: impl FnOnce(Input) -> Result<R, E>,
) -> Result<Reply, wit::Error>
where
    R: Into<Reply>,
    E: Into<Error>,
{
    report_panics();
    match handler(input) {
        Ok(reply) => Ok(reply.into()),
        Err(error) => Err(error.into().into()),
    }
}

/// The specifications of a plugin's tools. Used by [`plugin!`](crate::plugin!).
pub fn list(tools: &[Tool]) -> Vec<wit::ToolSpec> {
    tools.iter().map(Tool::spec).collect()
}

/// Runs one of a plugin's tools. Used by [`plugin!`](crate::plugin!).
pub fn call(tools: &[Tool], name: &str, arguments_json: &str) -> Result<String, wit::Error> {
    report_panics();
    crate::plugin::dispatch(tools, name, arguments_json).map_err(wit::Error::from)
}

/// Makes a panic's message reach the run's log; the run then ends with the trap that a panic is.
#[cfg(all(target_arch = "wasm32", feature = "std"))]
fn report_panics() {
    extern crate std;
    std::panic::set_hook(std::boxed::Box::new(|info| log_panic(info)));
}

#[cfg(not(all(target_arch = "wasm32", feature = "std")))]
fn report_panics() {}

// `memcmp` and its family, which `core` calls by name; `std` would bring them. wasi-libc's need nothing of WASI.
#[cfg(all(target_arch = "wasm32", not(feature = "std")))]
#[allow(unsafe_code, reason = "an empty block only names the library to link")]
#[link(name = "c")]
unsafe extern "C" {}

#[cfg(all(target_arch = "wasm32", not(feature = "std")))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    log_panic(info);
    core::arch::wasm32::unreachable()
}

#[cfg(target_arch = "wasm32")]
fn log_panic(info: &dyn core::fmt::Display) {
    crate::env::log(crate::env::Level::Error, &alloc::format!("{info}"));
}

/// Makes a function the agent of this component.
///
/// The function takes an [`Input`] and returns a [`Result`](crate::Result) of anything that becomes a [`Reply`].
#[macro_export]
macro_rules! agent {
    ($handler:path) => {
        const _: () = {
            struct Agent;
            impl $crate::private::Handler for Agent {
                fn handle(
                    input: $crate::Input,
                ) -> ::core::result::Result<$crate::Reply, $crate::private::WitError> {
                    $crate::private::handle(input, $handler)
                }
            }
    $crate::bindings::agent::export_agent!(Agent with_types_in $crate::bindings::agent);
        };
    };
}

/// Makes a list of [`Tool`]s the tools of this component.
#[macro_export]
macro_rules! plugin {
    ($tools:expr) => {
        const _: () = {
            struct Plugin;
            impl $crate::private::Tools for Plugin {
                fn list() -> ::core::result::Result<
                    $crate::private::Vec<$crate::private::ToolSpec>,
                    $crate::private::WitError,
                > {
                    ::core::result::Result::Ok($crate::private::list($tools))
                }

                fn call(
                    name: $crate::private::String,
                    arguments_json: $crate::private::String,
                ) -> ::core::result::Result<$crate::private::String, $crate::private::WitError>
                {
                    $crate::private::call($tools, &name, &arguments_json)
                }
            }
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::tool::export_tool!(Plugin with_types_in $crate::bindings::tool);
        };
    };
}

//! All that reaches an agent from outside besides models and tools: time, chance, settings, the log, the output.
//!
//! Each call is journaled. Clocks and generators of the language itself either do not exist here or are fed by the
//! host in the same journaled way.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::bindings::agent::tally::agent::{env as wit, inference, output};
use crate::error::Result;

pub use crate::bindings::agent::tally::agent::env::{Datetime, Level};

/// Seconds and nanoseconds since 1970-01-01T00:00:00Z; never goes back within a run.
pub fn now() -> Datetime {
    wit::now()
}

/// `len` random bytes, at most 65,536.
///
/// # Errors
///
/// [`Invalid`](crate::Error::Invalid) when `len` is over the maximum.
pub fn random(len: u32) -> Result<Vec<u8>> {
    Ok(wit::random(len)?)
}

/// A setting given when the run was started (`--set name=value`).
pub fn setting(name: &str) -> Option<String> {
    wit::setting(name)
}

/// Writes a line into the run's log.
pub fn log(level: Level, message: &str) {
    wit::log(level, message);
}

/// Shows `text` to whoever started the run, at once.
///
/// # Errors
///
/// [`Exhausted`](crate::Error::Exhausted) when the run's output limit is reached.
pub fn emit(text: &str) -> Result<()> {
    Ok(output::emit(text)?)
}

/// One vector of unit length for each text, in order. The empty name means the default embedding model.
///
/// # Errors
///
/// [`Unavailable`](crate::Error::Unavailable) when no model is named and this run has no default embedding model, and why;
/// [`Denied`](crate::Error::Denied) when the model is not granted; [`Invalid`](crate::Error::Invalid) for more than 256 texts.
pub fn embed(model: &str, texts: &[String]) -> Result<Vec<Vec<f32>>> {
    Ok(inference::embed(model, texts)?)
}

/// The names of the models this run may use, the default one first.
pub fn models() -> Vec<String> {
    inference::models()
}

impl fmt::Display for Datetime {
    /// RFC 3339, in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.seconds / 86_400, self.seconds % 86_400);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// The date of a day counted from 1970-01-01. Source: H. Hinnant, "chrono-compatible low-level date algorithms".
fn civil_from_days(days: u32) -> (u32, u32, u32) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    (year, month, day)
}

/// Shows formatted text to whoever started the run: `emit!("{n} passages\n")?`.
#[macro_export]
macro_rules! emit {
    ($($format:tt)*) => { $crate::emit(&$crate::private::format!($($format)*)) };
}

/// Writes a formatted line into the run's log: `log!(Info, "{n} passages")`.
#[macro_export]
macro_rules! log {
    ($level:ident, $($format:tt)*) => {
        $crate::log($crate::env::Level::$level, &$crate::private::format!($($format)*))
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_time_prints_as_rfc_3339() {
        let at = |seconds| {
            Datetime {
                seconds,
                nanoseconds: 0,
            }
            .to_string()
        };
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(at(u32::MAX), "2106-02-07T06:28:15Z");
    }
}

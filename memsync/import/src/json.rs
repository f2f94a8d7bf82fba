//! Reading large JSON a record at a time.
//!
//! A record is delimited without being built, which needs no memory and does not recurse; it is parsed by itself, so a
//! record that is not what it should be costs only itself.

use std::fmt;
use std::ops::ControlFlow;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Calls `each` with every element of the array that `bytes` hold, up to where the array breaks off.
pub(crate) fn each_element<'a>(
    bytes: &'a [u8],
    each: &mut dyn FnMut(&'a RawValue) -> ControlFlow<()>,
) -> Result<(), serde_json::Error> {
    struct Elements<'f, 'a> {
        each: &'f mut dyn FnMut(&'a RawValue) -> ControlFlow<()>,
        stopped: &'f mut bool,
    }
    impl<'a> Visitor<'a> for Elements<'_, 'a> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<S: SeqAccess<'a>>(self, mut list: S) -> Result<(), S::Error> {
            while let Some(element) = list.next_element::<&'a RawValue>()? {
                if (self.each)(element).is_break() {
                    *self.stopped = true;
                    return Err(S::Error::custom("stopped"));
                }
            }
            Ok(())
        }
    }
    let mut stopped = false;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let outcome = reader
        .deserialize_seq(Elements {
            each,
            stopped: &mut stopped,
        })
        .and_then(|()| reader.end());
    if stopped { Ok(()) } else { outcome }
}

/// A record, if it is one.
pub(crate) fn record<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, serde_json::Error> {
    serde_json::from_str(raw.get())
}

/// JSON in UTF-8, without the mark some programs begin it with.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// A string or a number, as a string: ids are either.
pub(crate) fn string_or_number<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(from)? {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

//! A value for people and for JSON: the CBOR that the engine made, read back without knowing its WIT type.
//!
//! | CBOR | JSON |
//! |---|---|
//! | unsigned, negative | number |
//! | text, true, false, null, array | the same |
//! | map with text keys | object |
//! | byte string | `{"hex":"…"}` |
//! | float | number; text (`"NaN"`, `"Infinity"`, `"-Infinity"`) where JSON has none |
//!
//! Tags, undefined, other simple values, indefinite lengths, other keys and deeper nesting than [`MAX_DEPTH`] are no value.

use minicbor::Decoder;
use minicbor::data::Type;
use serde_json::{Map, Number, Value};

/// Deepest nesting of lists and maps.
pub const MAX_DEPTH: usize = 64;

/// Bytes that are not one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a value: {0}")]
pub struct NotAValue(&'static str);

/// Reads one value as JSON.
///
/// # Errors
/// [`NotAValue`] when `bytes` are not exactly one item of the kinds above.
pub fn to_json(bytes: &[u8]) -> Result<Value, NotAValue> {
    let mut d = Decoder::new(bytes);
    let value = item(&mut d, MAX_DEPTH)?;
    if d.position() == bytes.len() {
        Ok(value)
    } else {
        Err(NotAValue("bytes follow it"))
    }
}

fn item(d: &mut Decoder<'_>, depth: usize) -> Result<Value, NotAValue> {
    let broken = |_| NotAValue("it is cut off or broken");
    Ok(match d.datatype().map_err(broken)? {
        Type::Bool => d.bool().map_err(broken)?.into(),
        Type::Null => {
            d.null().map_err(broken)?;
            Value::Null
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => d.u64().map_err(broken)?.into(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => d.i64().map_err(broken)?.into(),
        Type::F16 => single(d.f16().map_err(broken)?),
        Type::F32 => single(d.f32().map_err(broken)?),
        Type::F64 => float(d.f64().map_err(broken)?),
        Type::String => d.str().map_err(broken)?.into(),
        Type::Bytes => {
            let mut object = Map::new();
            object.insert(
                "hex".to_owned(),
                hex::encode(d.bytes().map_err(broken)?).into(),
            );
            Value::Object(object)
        }
        Type::Array => {
            let len = d
                .array()
                .map_err(broken)?
                .ok_or(NotAValue("it has a list of indefinite length"))?;
            let depth = depth
                .checked_sub(1)
                .ok_or(NotAValue("it is nested too deeply"))?;
            // The claimed length is not trusted with memory: items are taken while there are bytes.
            (0..len)
                .map(|_| item(d, depth))
                .collect::<Result<Vec<_>, _>>()?
                .into()
        }
        Type::Map => {
            let len = d
                .map()
                .map_err(broken)?
                .ok_or(NotAValue("it has a map of indefinite length"))?;
            let depth = depth
                .checked_sub(1)
                .ok_or(NotAValue("it is nested too deeply"))?;
            let mut object = Map::new();
            for _ in 0..len {
                let key = d
                    .str()
                    .map_err(|_| NotAValue("it has a key that is not a text"))?;
                if object.insert(key.to_owned(), item(d, depth)?).is_some() {
                    return Err(NotAValue("it has a key twice"));
                }
            }
            Value::Object(object)
        }
        _ => return Err(NotAValue("it has an item of a kind that values have not")),
    })
}

/// The shortest decimal that is this number in single precision: 0.7, not 0.699999988079071.
fn single(value: f32) -> Value {
    float(value.to_string().parse().unwrap_or(f64::from(value)))
}

fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_wit_values_become() {
        let bytes = b"\xa3\x64text\x65hello\x64list\x83\x01\x20\xf5\x64data\x42\x00\xff";
        assert_eq!(
            to_json(bytes),
            Ok(json!({"text": "hello", "list": [1, -1, true], "data": {"hex": "00ff"}}))
        );
        assert_eq!(to_json(b"\xfa\x3f\x80\x00\x00"), Ok(json!(1.0)));
        assert_eq!(to_json(b"\xfa\x7f\x80\x00\x00"), Ok(json!("Infinity")));
        assert_eq!(to_json(b"\xf9\x3c\x00"), Ok(json!(1.0)));
        assert_eq!(to_json(b"\xfa\x3f\x33\x33\x33"), Ok(json!(0.7)));
        assert_eq!(to_json(b"\xf6"), Ok(Value::Null));
    }

    #[test]
    fn refuses_what_is_not_one_value() {
        for bytes in [
            &b""[..],
            b"\x01\x01",
            b"\x9f\xff",
            b"\xbf\xff",
            b"\x7f\xff",
            b"\xc0\x00",
            b"\xf7",
            b"\x82\x01",
            b"\xa1\x01\x01",
            b"\xa2\x61a\x01\x61a\x01",
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x61\xff",
        ] {
            assert!(to_json(bytes).is_err(), "{bytes:02x?}");
        }
        assert!(to_json(&[&[0x81; MAX_DEPTH][..], &[0]].concat()).is_ok());
        assert!(to_json(&[&[0x81; MAX_DEPTH + 1][..], &[0]].concat()).is_err());
        assert!(
            to_json(&[0x81; 100_000]).is_err(),
            "and without a deep stack"
        );
    }
}

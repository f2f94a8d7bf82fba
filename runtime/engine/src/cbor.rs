//! Values of the guest contract as CBOR, so that a stranger can read a journal.
//!
//! Rules (RFC 8949, section 4.2.1, core deterministic encoding): integers and lengths are as short as they can be, lengths
//! are definite, the entries of a map are sorted by the bytes of their encoded keys, a float is the shortest of half,
//! single and double precision that holds it, and a NaN is `f97e00`. Names are those of the WIT, in kebab case:
//!
//! ```text
//! record        map from field name to value
//! variant       {"case": payload}, or the text "case" where there is no payload
//! enum          the text of the case
//! result        {"ok": value} or {"err": value}; a missing value is null
//! option        the value, or null
//! list<u8>      byte string (through `Bytes`); any other list is an array
//! ```
//!
//! A request is a map from parameter name to value (`self` for the resource a method belongs to); a response is the
//! result itself.
//!
//! Decoding takes bytes from a journal that somebody else may have written: depth and lengths are bounded before
//! anything is allocated. It accepts entries of a map in any order; comparing bytes is what finds another order.

use serde::de::{self, DeserializeOwned, DeserializeSeed, Visitor};
use serde::ser::{self, Serialize};
use std::fmt;

/// Deeper nesting than this is refused; the contract has at most eight levels, JSON text is a string.
const DEPTH_MAX: u32 = 64;
/// More fields than this in one record are refused; the contract has at most six.
const FIELDS_MAX: usize = 16;

/// Why a value could not be written as, or read from, CBOR.
#[derive(Debug, thiserror::Error)]
#[error("read or write CBOR: {0}")]
pub struct CborError(String);

impl ser::Error for CborError {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Self(msg.to_string())
    }
}

impl de::Error for CborError {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Self(msg.to_string())
    }
}

/// A `list<u8>`, written as a byte string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> de::Deserialize<'de> for Bytes {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl Visitor<'_> for BytesVisitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }
            fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(v.to_vec()))
            }
        }
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

/// Appends the encoding of `value` to `out`.
pub fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), CborError> {
    value.serialize(Encoder { out })
}

/// The encoding of `value`.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CborError> {
    let mut out = Vec::with_capacity(64);
    encode_into(&mut out, value)?;
    Ok(out)
}

/// The value that `bytes`, all of them, encode.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    let mut decoder = Decoder {
        rest: bytes,
        depth: 0,
        name: NameKind::Plain,
    };
    let value = T::deserialize(&mut decoder)?;
    if decoder.rest.is_empty() {
        Ok(value)
    } else {
        Err(CborError("bytes after the value".into()))
    }
}

/// The value as JSON, for people: byte strings become hexadecimal text, and what JSON cannot hold becomes text.
pub fn to_json(bytes: &[u8]) -> Result<serde_json::Value, CborError> {
    decode::<Readable>(bytes).map(|readable| readable.0)
}

// ---------------------------------------------------------------------------------------------------- writing

struct Encoder<'a> {
    out: &'a mut Vec<u8>,
}

#[inline(always)]
fn put_head(out: &mut Vec<u8>, major: u8, value: u64) {
    if value < 24 {
        out.push(major << 5 | value as u8);
    } else {
        put_long_head(out, major, value);
    }
}

#[inline(never)]
fn put_long_head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    if value <= 0xff {
        out.extend_from_slice(&[major | 24, value as u8]);
    } else if value <= 0xffff {
        out.push(major | 25);
        out.extend_from_slice(&(value as u16).to_be_bytes());
    } else if value <= 0xffff_ffff {
        out.push(major | 26);
        out.extend_from_slice(&(value as u32).to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

#[inline(always)]
fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, 3, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A Rust field name as its WIT name.
#[inline(always)]
fn put_field(out: &mut Vec<u8>, name: &str) {
    put_text(out, name);
    if name.bytes().any(|byte| byte == b'_') {
        let start = out.len() - name.len();
        for byte in &mut out[start..] {
            if *byte == b'_' {
                *byte = b'-';
            }
        }
    }
}

/// A Rust variant name as its WIT name.
fn put_case(out: &mut Vec<u8>, name: &str) {
    // Most are one word: one copy, and one letter to change.
    if !name.bytes().skip(1).any(|byte| byte.is_ascii_uppercase()) {
        put_text(out, name);
        let start = out.len() - name.len();
        if let Some(first) = out.get_mut(start) {
            first.make_ascii_lowercase();
        }
        return;
    }
    let dashes = name.bytes().skip(1).filter(u8::is_ascii_uppercase).count();
    put_head(out, 3, (name.len() + dashes) as u64);
    for (i, b) in name.bytes().enumerate() {
        if b.is_ascii_uppercase() {
            if i > 0 {
                out.push(b'-');
            }
            out.push(b.to_ascii_lowercase());
        } else {
            out.push(b);
        }
    }
}

/// The half-precision bits of `value`, when they hold it exactly.
fn half_exact(value: f32) -> Option<u16> {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let exponent = ((bits >> 23) & 0xff) as i32;
    let fraction = bits & 0x7f_ffff;
    if exponent == 0xff {
        return (fraction == 0).then_some(sign | 0x7c00);
    }
    if exponent == 0 {
        return (fraction == 0).then_some(sign); // a single-precision subnormal is below the least half
    }
    let e = exponent - 127;
    if (-14..=15).contains(&e) {
        (fraction & 0x1fff == 0).then(|| sign | (((e + 15) as u16) << 10) | (fraction >> 13) as u16)
    } else if (-24..-14).contains(&e) {
        let significand = fraction | 0x80_0000;
        let shift = (-14 - e) as u32 + 13;
        (significand & ((1 << shift) - 1) == 0).then(|| sign | (significand >> shift) as u16)
    } else {
        None
    }
}

fn half_to_f32(half: u16) -> f32 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((half >> 10) & 0x1f);
    let fraction = f32::from(half & 0x3ff);
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

fn put_f32(out: &mut Vec<u8>, value: f32) {
    if value.is_nan() {
        out.extend_from_slice(&[0xf9, 0x7e, 0x00]);
    } else if let Some(half) = half_exact(value) {
        out.push(0xf9);
        out.extend_from_slice(&half.to_be_bytes());
    } else {
        out.push(0xfa);
        out.extend_from_slice(&value.to_bits().to_be_bytes());
    }
}

/// A map under construction: where each entry starts, so that they can be put in order at the end.
struct MapEncoder<'a> {
    out: &'a mut Vec<u8>,
    starts: [usize; FIELDS_MAX],
    len: usize,
    /// Length of the key before, while each was longer than the one before it: then the entries are in order.
    grown: Option<usize>,
}

impl<'a> MapEncoder<'a> {
    #[inline]
    fn begin(out: &'a mut Vec<u8>, len: usize) -> Result<Self, CborError> {
        if len > FIELDS_MAX {
            return Err(CborError(format!(
                "{len} entries in a map, more than {FIELDS_MAX}"
            )));
        }
        put_head(out, 5, len as u64);
        Ok(Self {
            out,
            starts: [0; FIELDS_MAX],
            len: 0,
            grown: Some(0),
        })
    }

    #[inline]
    fn entry(&mut self) -> Result<(), CborError> {
        let slot = self
            .starts
            .get_mut(self.len)
            .ok_or_else(|| CborError("too many entries in a map".into()))?;
        *slot = self.out.len();
        self.len += 1;
        Ok(())
    }

    #[inline]
    fn finish(self) {
        if self.grown.is_none() {
            self.sort();
        }
    }

    /// Puts the entries in order, unless they are.
    #[inline(never)]
    fn sort(self) {
        let Self {
            out, starts, len, ..
        } = self;
        let starts = &starts[..len];
        let entry = |out: &[u8], i: usize| -> (usize, usize) {
            (starts[i], starts.get(i + 1).copied().unwrap_or(out.len()))
        };
        // Keys differ, and an encoded key delimits itself, so comparing whole entries compares keys.
        let sorted = (1..len).all(|i| {
            let (a, b) = (entry(out, i - 1), entry(out, i));
            out[a.0..a.1] < out[b.0..b.1]
        });
        if sorted {
            return;
        }
        let mut order: Vec<(usize, usize)> = (0..len).map(|i| entry(out, i)).collect();
        order.sort_by(|a, b| out[a.0..a.1].cmp(&out[b.0..b.1]));
        let mut permuted = Vec::with_capacity(out.len() - starts[0]);
        for (start, end) in order {
            permuted.extend_from_slice(&out[start..end]);
        }
        out.truncate(starts[0]);
        out.extend_from_slice(&permuted);
    }
}

impl ser::SerializeStruct for MapEncoder<'_> {
    type Ok = ();
    type Error = CborError;
    #[inline(always)] // so that the length and the letters of the name are known
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), CborError> {
        self.entry()?;
        self.grown = self.grown.filter(|len| key.len() > *len).map(|_| key.len());
        put_field(self.out, key);
        value.serialize(Encoder { out: self.out })
    }
    fn end(self) -> Result<(), CborError> {
        self.finish();
        Ok(())
    }
}

impl ser::SerializeStructVariant for MapEncoder<'_> {
    type Ok = ();
    type Error = CborError;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), CborError> {
        ser::SerializeStruct::serialize_field(self, key, value)
    }
    fn end(self) -> Result<(), CborError> {
        self.finish();
        Ok(())
    }
}

impl ser::SerializeMap for MapEncoder<'_> {
    type Ok = ();
    type Error = CborError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CborError> {
        self.entry()?;
        self.grown = None;
        key.serialize(Encoder { out: self.out })
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
        value.serialize(Encoder { out: self.out })
    }
    fn end(self) -> Result<(), CborError> {
        self.finish();
        Ok(())
    }
}

impl ser::SerializeSeq for Encoder<'_> {
    type Ok = ();
    type Error = CborError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
        value.serialize(Encoder { out: self.out })
    }
    fn end(self) -> Result<(), CborError> {
        Ok(())
    }
}

impl ser::SerializeTuple for Encoder<'_> {
    type Ok = ();
    type Error = CborError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
        value.serialize(Encoder { out: self.out })
    }
    fn end(self) -> Result<(), CborError> {
        Ok(())
    }
}

impl ser::SerializeTupleStruct for Encoder<'_> {
    type Ok = ();
    type Error = CborError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
        value.serialize(Encoder { out: self.out })
    }
    fn end(self) -> Result<(), CborError> {
        Ok(())
    }
}

impl ser::SerializeTupleVariant for Encoder<'_> {
    type Ok = ();
    type Error = CborError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CborError> {
        value.serialize(Encoder { out: self.out })
    }
    fn end(self) -> Result<(), CborError> {
        Ok(())
    }
}

impl<'a> ser::Serializer for Encoder<'a> {
    type Ok = ();
    type Error = CborError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = MapEncoder<'a>;
    type SerializeStruct = MapEncoder<'a>;
    type SerializeStructVariant = MapEncoder<'a>;

    fn is_human_readable(&self) -> bool {
        false
    }
    fn serialize_bool(self, v: bool) -> Result<(), CborError> {
        self.out.push(if v { 0xf5 } else { 0xf4 });
        Ok(())
    }
    fn serialize_i8(self, v: i8) -> Result<(), CborError> {
        self.serialize_i64(v.into())
    }
    fn serialize_i16(self, v: i16) -> Result<(), CborError> {
        self.serialize_i64(v.into())
    }
    fn serialize_i32(self, v: i32) -> Result<(), CborError> {
        self.serialize_i64(v.into())
    }
    fn serialize_i64(self, v: i64) -> Result<(), CborError> {
        if v >= 0 {
            put_head(self.out, 0, v as u64);
        } else {
            put_head(self.out, 1, !(v as u64)); // -1 - v, without overflow
        }
        Ok(())
    }
    fn serialize_u8(self, v: u8) -> Result<(), CborError> {
        self.serialize_u64(v.into())
    }
    fn serialize_u16(self, v: u16) -> Result<(), CborError> {
        self.serialize_u64(v.into())
    }
    fn serialize_u32(self, v: u32) -> Result<(), CborError> {
        self.serialize_u64(v.into())
    }
    fn serialize_u64(self, v: u64) -> Result<(), CborError> {
        put_head(self.out, 0, v);
        Ok(())
    }
    fn serialize_f32(self, v: f32) -> Result<(), CborError> {
        put_f32(self.out, v);
        Ok(())
    }
    fn serialize_f64(self, v: f64) -> Result<(), CborError> {
        if v.is_nan() || f64::from(v as f32) == v {
            put_f32(self.out, v as f32);
        } else {
            self.out.push(0xfb);
            self.out.extend_from_slice(&v.to_bits().to_be_bytes());
        }
        Ok(())
    }
    fn serialize_char(self, v: char) -> Result<(), CborError> {
        put_text(self.out, v.encode_utf8(&mut [0; 4]));
        Ok(())
    }
    fn serialize_str(self, v: &str) -> Result<(), CborError> {
        put_text(self.out, v);
        Ok(())
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<(), CborError> {
        put_head(self.out, 2, v.len() as u64);
        self.out.extend_from_slice(v);
        Ok(())
    }
    fn serialize_none(self) -> Result<(), CborError> {
        self.serialize_unit()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CborError> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), CborError> {
        self.out.push(0xf6);
        Ok(())
    }
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), CborError> {
        self.serialize_unit()
    }
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _i: u32,
        variant: &'static str,
    ) -> Result<(), CborError> {
        put_case(self.out, variant);
        Ok(())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), CborError> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _i: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CborError> {
        put_head(self.out, 5, 1);
        put_case(self.out, variant);
        value.serialize(self)
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Self, CborError> {
        let len = len.ok_or_else(|| CborError("a list without a length".into()))?;
        put_head(self.out, 4, len as u64);
        Ok(self)
    }
    fn serialize_tuple(self, len: usize) -> Result<Self, CborError> {
        put_head(self.out, 4, len as u64);
        Ok(self)
    }
    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Self, CborError> {
        self.serialize_tuple(len)
    }
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _i: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self, CborError> {
        put_head(self.out, 5, 1);
        put_case(self.out, variant);
        self.serialize_tuple(len)
    }
    fn serialize_map(self, len: Option<usize>) -> Result<MapEncoder<'a>, CborError> {
        let len = len.ok_or_else(|| CborError("a map without a length".into()))?;
        MapEncoder::begin(self.out, len)
    }
    fn serialize_struct(
        self,
        _name: &'static str,
        len: usize,
    ) -> Result<MapEncoder<'a>, CborError> {
        MapEncoder::begin(self.out, len)
    }
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _i: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<MapEncoder<'a>, CborError> {
        put_head(self.out, 5, 1);
        put_case(self.out, variant);
        MapEncoder::begin(self.out, len)
    }
}

// ---------------------------------------------------------------------------------------------------- reading

/// How a text is to be turned back into the name that Rust knows.
#[derive(Clone, Copy)]
enum NameKind {
    Plain,
    Field,
    Case,
}

struct Decoder<'de> {
    rest: &'de [u8],
    depth: u32,
    name: NameKind,
}

enum Head {
    Unsigned(u64),
    Negative(u64),
    Bytes(usize),
    Text(usize),
    Array(usize),
    Map(usize),
    Bool(bool),
    Null,
    Float(f64),
}

impl<'de> Decoder<'de> {
    fn take(&mut self, len: usize) -> Result<&'de [u8], CborError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| CborError(format!("{len} bytes wanted, {} left", self.rest.len())))?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<Head, CborError> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        let value = match info {
            0..=23 => u64::from(info),
            24 => u64::from(self.take(1)?[0]),
            25..=27 => self
                .take(1 << (info - 24))?
                .iter()
                .fold(0, |value, b| value << 8 | u64::from(*b)),
            _ => return Err(CborError("indefinite length or reserved head".into())),
        };
        if major < 7 {
            let least = [24, 0x100, 0x1_0000, 0x1_0000_0000];
            if info >= 24 && value < least[usize::from(info - 24)] {
                return Err(CborError("a number longer than it need be".into()));
            }
        }
        // Every element takes at least one byte, so a length beyond what is left is refused before it is believed.
        let bounded = |per: u64| -> Result<usize, CborError> {
            if value.saturating_mul(per) > self.rest.len() as u64 {
                return Err(CborError(format!(
                    "a length of {value}, {} bytes left",
                    self.rest.len()
                )));
            }
            Ok(value as usize)
        };
        Ok(match (major, info) {
            (0, _) => Head::Unsigned(value),
            (1, _) => Head::Negative(value),
            (2, _) => Head::Bytes(bounded(1)?),
            (3, _) => Head::Text(bounded(1)?),
            (4, _) => Head::Array(bounded(1)?),
            (5, _) => Head::Map(bounded(2)?),
            (7, 20) => Head::Bool(false),
            (7, 21) => Head::Bool(true),
            (7, 22) => Head::Null,
            (7, 25) => Head::Float(half_to_f32(value as u16).into()),
            (7, 26) => Head::Float(f32::from_bits(value as u32).into()),
            (7, 27) => Head::Float(f64::from_bits(value)),
            _ => return Err(CborError(format!("head 0x{first:02x} has no meaning here"))),
        })
    }

    fn text(&mut self, len: usize) -> Result<&'de str, CborError> {
        std::str::from_utf8(self.take(len)?).map_err(|_| CborError("a text is not UTF-8".into()))
    }

    fn nested<T>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, CborError>,
    ) -> Result<T, CborError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(CborError(format!("nested deeper than {DEPTH_MAX}")));
        }
        let value = f(self);
        self.depth -= 1;
        value
    }
}

fn as_field(name: &str) -> String {
    name.replace('-', "_")
}

fn as_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for word in name.split('-') {
        let mut chars = word.chars();
        out.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        out.push_str(chars.as_str());
    }
    out
}

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = CborError;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        match self.head()? {
            Head::Unsigned(v) => visitor.visit_u64(v),
            Head::Negative(v) => {
                let v = i64::try_from(v)
                    .map_err(|_| CborError("a negative number below 64 bits".into()))?;
                visitor.visit_i64(-1 - v)
            }
            Head::Bytes(len) => visitor.visit_bytes(self.take(len)?),
            Head::Text(len) => {
                let text = self.text(len)?;
                match self.name {
                    NameKind::Plain => visitor.visit_str(text),
                    NameKind::Field => visitor.visit_string(as_field(text)),
                    NameKind::Case => visitor.visit_string(as_case(text)),
                }
            }
            Head::Array(len) => self.nested(|d| {
                visitor.visit_seq(Items {
                    decoder: d,
                    left: len,
                    fields: false,
                })
            }),
            Head::Map(len) => self.nested(|d| {
                visitor.visit_map(Items {
                    decoder: d,
                    left: len,
                    fields: false,
                })
            }),
            Head::Bool(v) => visitor.visit_bool(v),
            Head::Null => visitor.visit_unit(),
            Head::Float(v) => visitor.visit_f64(v),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        if self.rest.first() == Some(&0xf6) {
            self.take(1)?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CborError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CborError> {
        match self.head()? {
            Head::Map(len) => self.nested(|d| {
                visitor.visit_map(Items {
                    decoder: d,
                    left: len,
                    fields: true,
                })
            }),
            _ => Err(CborError("a record is not a map".into())),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CborError> {
        // Major type 5 with one entry, or major type 3.
        match self.rest.first() {
            Some(0xa1) => {
                self.take(1)?;
                self.nested(|d| {
                    visitor.visit_enum(Case {
                        decoder: d,
                        payload: true,
                    })
                })
            }
            Some(first) if first >> 5 == 3 => visitor.visit_enum(Case {
                decoder: self,
                payload: false,
            }),
            _ => Err(CborError(
                "a variant is neither a text nor a map of one entry".into(),
            )),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Items<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: usize,
    fields: bool,
}

impl<'de> de::SeqAccess<'de> for Items<'_, 'de> {
    type Error = CborError;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, CborError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::MapAccess<'de> for Items<'_, 'de> {
    type Error = CborError;
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, CborError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let before = std::mem::replace(
            &mut self.decoder.name,
            if self.fields {
                NameKind::Field
            } else {
                NameKind::Plain
            },
        );
        let key = seed.deserialize(&mut *self.decoder);
        self.decoder.name = before;
        key.map(Some)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, CborError> {
        seed.deserialize(&mut *self.decoder)
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

struct Case<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    payload: bool,
}

impl<'de> de::EnumAccess<'de> for Case<'_, 'de> {
    type Error = CborError;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), CborError> {
        let before = std::mem::replace(&mut self.decoder.name, NameKind::Case);
        let case = seed.deserialize(&mut *self.decoder);
        self.decoder.name = before;
        Ok((case?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Case<'_, 'de> {
    type Error = CborError;
    fn unit_variant(self) -> Result<(), CborError> {
        if self.payload {
            Err(CborError("a case without a payload has one".into()))
        } else {
            Ok(())
        }
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, CborError> {
        if !self.payload {
            return Err(CborError("a case with a payload has none".into()));
        }
        seed.deserialize(self.decoder)
    }
    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, CborError> {
        de::Deserializer::deserialize_any(self.decoder, visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CborError> {
        de::Deserializer::deserialize_struct(self.decoder, "", fields, visitor)
    }
}

/// Any value, as the JSON a person reads.
struct Readable(serde_json::Value);

impl<'de> de::Deserialize<'de> for Readable {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReadableVisitor;
        impl<'de> Visitor<'de> for ReadableVisitor {
            type Value = serde_json::Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_bool<E>(self, v: bool) -> Result<Self::Value, E> {
                Ok(v.into())
            }
            fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
                Ok(v.into())
            }
            fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
                Ok(v.into())
            }
            fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
                Ok(
                    serde_json::Number::from_f64(v)
                        .map_or_else(|| v.to_string().into(), Into::into),
                )
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(v.into())
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(serde_json::Value::Null)
            }
            fn visit_bytes<E>(self, v: &[u8]) -> Result<Self::Value, E> {
                use std::fmt::Write as _;
                Ok(v.iter()
                    .fold(String::with_capacity(v.len() * 2), |mut text, b| {
                        let _ = write!(text, "{b:02x}"); // writing to a String cannot fail
                        text
                    })
                    .into())
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(Readable(item)) = seq.next_element()? {
                    items.push(item);
                }
                Ok(items.into())
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut object = serde_json::Map::new();
                while let Some((Readable(key), Readable(value))) = map.next_entry()? {
                    let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                    object.insert(key, value);
                }
                Ok(object.into())
            }
        }
        deserializer.deserialize_any(ReadableVisitor).map(Readable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Text,
        JsonSchema(String),
        ToolCall(Call),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Call {
        tool_call_id: Option<String>,
        id: u32,
        arguments_json: String,
    }

    fn round_trip<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(value: &T) -> Vec<u8> {
        let bytes = encode(value).unwrap();
        assert_eq!(&decode::<T>(&bytes).unwrap(), value);
        bytes
    }

    #[test]
    fn names_are_those_of_the_wit_and_entries_are_sorted() {
        let call = Call {
            tool_call_id: None,
            id: 7,
            arguments_json: "{}".into(),
        };
        let bytes = round_trip(&Shape::ToolCall(call));
        let mut want =
            b"\xa1\x69tool-call\xa3\x62id\x07\x6ctool-call-id\xf6\x6earguments-json\x62{}".to_vec();
        assert_eq!(bytes, want);
        want.push(0);
        assert!(
            decode::<Shape>(&want).is_err(),
            "bytes after the value are refused"
        );
        assert_eq!(round_trip(&Shape::Text), b"\x64text");
        assert_eq!(
            round_trip(&Shape::JsonSchema("x".into())),
            b"\xa1\x6bjson-schema\x61x"
        );
    }

    #[test]
    fn results_and_options_are_read_back() {
        assert_eq!(round_trip(&Ok::<(), String>(())), b"\xa1\x62ok\xf6");
        assert_eq!(
            round_trip(&Err::<(), String>("no".into())),
            b"\xa1\x63err\x62no"
        );
        round_trip(&Ok::<Option<Shape>, Shape>(None));
        round_trip(&Ok::<Option<Shape>, Shape>(Some(Shape::Text)));
        assert_eq!(
            round_trip(&Ok::<Bytes, Shape>(Bytes(vec![1, 255]))),
            b"\xa1\x62ok\x42\x01\xff"
        );
    }

    #[test]
    fn floats_are_the_shortest_that_hold_them() {
        // RFC 8949, appendix A.
        for (value, want) in [
            (0.0f32, "f90000"),
            (-0.0, "f98000"),
            (1.0, "f93c00"),
            (1.5, "f93e00"),
            (65504.0, "f97bff"),
            (100_000.0, "fa47c35000"),
            (5.960_464_5e-8, "f90001"),
            (6.103_515_6e-5, "f90400"),
            (-4.0, "f9c400"),
            (f32::INFINITY, "f97c00"),
            (f32::NAN, "f97e00"),
            (f32::from_bits(0x7fc0_beef), "f97e00"),
            (0.1, "fa3dcccccd"),
        ] {
            let hex: String = encode(&value)
                .unwrap()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(hex, want, "{value}");
        }
        for bits in (0..=u16::MAX).filter(|h| (h >> 10) & 0x1f != 31) {
            assert_eq!(half_exact(half_to_f32(bits)), Some(bits));
        }
        round_trip(&vec![vec![0.1f32, -0.5, 1e-30, 3e38]]);
        assert_eq!(
            encode(&1.1f64).unwrap(),
            [0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a]
        );
    }

    #[test]
    fn hostile_bytes_are_refused_before_they_are_believed() {
        for bytes in [
            &b""[..],
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", // a list of 2^64-1
            b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x7a\xff\xff\xff\xff",
            b"\x9f\xff",         // indefinite
            b"\x18\x17",         // 23 in two bytes
            b"\x62\xff\xfe",     // not UTF-8
            b"\xc0\x00",         // a tag
            b"\xa1\x64text\xf6", // a case without a payload, with one
            b"\x6bjson-schema",  // a case with a payload, without
        ] {
            assert!(decode::<Vec<u32>>(bytes).is_err(), "{bytes:x?}");
            assert!(decode::<Shape>(bytes).is_err(), "{bytes:x?}");
        }
        let deep = [vec![0x81; 100_000], vec![0x00]].concat();
        assert!(to_json(&deep).is_err());
    }

    #[test]
    fn people_can_read_it() {
        let value = (
            Shape::JsonSchema("s".into()),
            Bytes(vec![0xab]),
            -3,
            1.5f32,
            Option::<u8>::None,
        );
        assert_eq!(
            to_json(&encode(&value).unwrap()).unwrap().to_string(),
            r#"[{"json-schema":"s"},"ab",-3,1.5,null]"#
        );
    }
}

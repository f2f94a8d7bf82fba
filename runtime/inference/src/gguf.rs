//! The header of a GGUF file, read without trusting it.
//!
//! ```text
//! "GGUF" | version u32 | tensor count u64 | key count u64 | keys | tensor infos | padding | tensor data
//! ```
//!
//! All numbers are little-endian. llama.cpp aborts on many malformed files, so every file is read here first, by a
//! parser that can only return an error: it checks that every length fits in what is left of the file before it
//! allocates, that every tensor lies inside the file, and that what it needs to know is there.
//!
//! Out of scope: the weights themselves, and whether llama.cpp knows the architecture; it says so when it loads.
//!
//! Source: the GGUF specification in ggml (`docs/gguf.md`), versions 2 and 3.

use std::collections::HashMap;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

/// Most bytes of header that are read. The largest vocabularies (260k tokens with merges) take about 16 MiB.
pub const MAX_HEADER_BYTES: u64 = 128 << 20;
/// Most metadata keys.
const MAX_KEYS: u64 = 65_536;
/// Most tensors. The largest published mixture-of-experts models have about 2000.
const MAX_TENSORS: u64 = 65_536;
/// Longest key or tensor name, in bytes.
const MAX_NAME_BYTES: u64 = 1024;
/// Longest string value, in bytes.
const MAX_STRING_BYTES: u64 = 8 << 20;
/// Longest name and longest chat template, in bytes, which records repeat. Chat templates reach 30 KiB.
pub(crate) const MAX_KEPT_BYTES: u64 = 1 << 20;
/// Most elements of an array value. Merges of large vocabularies reach 600k.
const MAX_ARRAY: u64 = 4 << 20;
/// Deepest nesting of arrays.
const MAX_NESTING: u32 = 2;
/// Most dimensions of a tensor (`GGML_MAX_DIMS`).
const MAX_DIMS: u32 = 4;

/// Whether a model continues text, turns text into a vector, or says how well a passage answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// Continues text.
    Chat,
    /// Turns text into one vector.
    Embedding,
    /// Reads a question and a passage together and gives one number.
    Reranking,
}

impl std::fmt::Display for ModelKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Chat => "chat",
            Self::Embedding => "embedding",
            Self::Reranking => "reranking",
        })
    }
}

/// What a header says about a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GgufHeader {
    /// GGUF version.
    pub version: u32,
    /// `general.architecture`.
    pub architecture: String,
    /// `general.name`, if given.
    pub name: Option<String>,
    /// The name of `general.file_type`, or of the type most weights have.
    pub quantisation: String,
    /// Number of weights, summed over tensors.
    pub parameters: u64,
    /// Number of tensors.
    pub tensors: u64,
    /// The context it was trained with, in tokens.
    pub context_tokens: u32,
    /// The width of its states, which is the length of its embeddings.
    pub embedding_length: u32,
    /// Number of layers.
    pub layers: u32,
    /// Number of tokens in its vocabulary.
    pub vocabulary: u32,
    /// `tokenizer.ggml.model`.
    pub tokenizer: String,
    /// Chat, embedding or reranking.
    pub kind: ModelKind,
    /// `tokenizer.chat_template`, if given.
    pub chat_template: Option<String>,
    /// How token states become one vector, or one number (`rank`).
    pub pooling: Option<String>,
    /// Bytes before the tensor data.
    pub data_offset: u64,
}

/// Why a file is not a GGUF model that can be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// No bytes at all.
    #[error("the file is empty; download or copy the model again")]
    Empty,
    /// It does not begin with `GGUF`.
    #[error("the file does not begin with \"GGUF\"; give a model in GGUF format")]
    WrongMagic,
    /// It was made for a big-endian machine.
    #[error("the file is a big-endian GGUF; convert it to little-endian")]
    BigEndian,
    /// Version 1, or one that is newer than we know.
    #[error("the file has GGUF version {found}; versions 2 and 3 are supported")]
    UnknownVersion {
        /// Its version.
        found: u32,
    },
    /// It ends before its header says it does.
    #[error("the file ends within {part}; it is truncated, download or copy it again")]
    Truncated {
        /// What was being read.
        part: &'static str,
    },
    /// A count or length beyond any real model.
    #[error("the file claims {found} for {what}, more than {limit}; it is damaged or not a model")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// The claim.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A tensor that does not lie within the file.
    #[error(
        "tensor {name:?} needs {needed} bytes of a file of {available}; the file is truncated or damaged"
    )]
    TensorOutside {
        /// The tensor.
        name: String,
        /// Where it would end, in bytes.
        needed: u64,
        /// Bytes in the file.
        available: u64,
    },
    /// A tensor whose shape or type is none.
    #[error("tensor {name:?} has {fault}; the file is damaged or newer than this build")]
    BadTensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A value type that the specification does not list.
    #[error("key {key:?} has value type {found}, which GGUF does not define; the file is damaged")]
    UnknownValueType {
        /// The key.
        key: String,
        /// The type.
        found: u32,
    },
    /// Text that is not UTF-8.
    #[error("{what} is not valid UTF-8; the file is damaged")]
    NotUtf8 {
        /// Which text.
        what: String,
    },
    /// The same key or tensor twice.
    #[error("{name:?} occurs twice; the file is damaged")]
    Duplicate {
        /// Its name.
        name: String,
    },
    /// A key that must be there and is not, or has another type.
    #[error("the file has no usable {key:?}; it is not a complete language model")]
    Missing {
        /// The key.
        key: String,
    },
    /// One part of a model in several files.
    #[error(
        "the file is one part of a model in {parts} files; merge them with llama-gguf-split first"
    )]
    Split {
        /// How many there are.
        parts: u64,
    },
    /// A helper file: an adapter, a projector, an importance matrix.
    #[error("the file is a GGUF of type {found:?}, not a model that runs alone")]
    NotAModel {
        /// `general.type`.
        found: String,
    },
    /// The file could not be read.
    #[error("read the file: {0}")]
    Io(String),
}

/// Reads the header of a file of `file_bytes` bytes.
///
/// # Errors
/// [`GgufError`], by what is wrong first.
pub(crate) fn parse(reader: &mut impl Read, file_bytes: u64) -> Result<GgufHeader, GgufError> {
    if file_bytes == 0 {
        return Err(GgufError::Empty);
    }
    let mut cursor = Cursor {
        reader,
        at: 0,
        end: file_bytes.min(MAX_HEADER_BYTES),
        file_bytes,
    };
    let mut magic = [0; 4];
    let length = file_bytes.min(4) as usize;
    cursor.fill(&mut magic[..length], "the magic number")?;
    if magic[..length] != b"GGUF"[..length] {
        return Err(GgufError::WrongMagic);
    }
    if length < 4 {
        return Err(GgufError::Truncated {
            part: "the magic number",
        });
    }
    let version = cursor.u32("the version")?;
    // A big-endian file's small version number reads as one with only high bytes.
    if version & 0xffff == 0 && version != 0 {
        return Err(GgufError::BigEndian);
    }
    if !(2..=3).contains(&version) {
        return Err(GgufError::UnknownVersion { found: version });
    }
    let tensor_count = cursor.u64("the tensor count")?;
    let key_count = cursor.u64("the key count")?;
    at_most("the number of tensors", tensor_count, MAX_TENSORS)?;
    at_most("the number of keys", key_count, MAX_KEYS)?;

    let mut keys: HashMap<String, Value> = HashMap::new();
    for _ in 0..key_count {
        let name = cursor.string("a key", MAX_NAME_BYTES)?;
        let name = String::from_utf8(name).map_err(|_| GgufError::NotUtf8 {
            what: "a key".into(),
        })?;
        let value_type = cursor.u32("a value type")?;
        let value = cursor.value(&name, value_type, 0)?;
        if keys.insert(name.clone(), value).is_some() {
            return Err(GgufError::Duplicate { name });
        }
    }

    let mut names = std::collections::HashSet::new();
    let mut tensors = Vec::with_capacity(tensor_count as usize);
    for _ in 0..tensor_count {
        let tensor = cursor.tensor()?;
        if !names.insert(tensor.name.clone()) {
            return Err(GgufError::Duplicate { name: tensor.name });
        }
        tensors.push(tensor);
    }
    let alignment = match keys.get("general.alignment") {
        None => 32,
        Some(value) => match value.as_u64() {
            Some(found) if found.is_power_of_two() && (8..=1 << 20).contains(&found) => found,
            _ => {
                return Err(GgufError::Missing {
                    key: "general.alignment".into(),
                });
            }
        },
    };
    let data_offset = cursor.at.next_multiple_of(alignment);
    for tensor in &tensors {
        // llama.cpp wants each tensor aligned; an offset that is not is a damaged file.
        if tensor.offset % alignment != 0 {
            return Err(GgufError::BadTensor {
                name: tensor.name.clone(),
                fault: "an offset that is not aligned",
            });
        }
        let end = data_offset
            .checked_add(tensor.offset)
            .and_then(|start| start.checked_add(tensor.bytes));
        match end {
            Some(end) if end <= file_bytes => {}
            _ => {
                return Err(GgufError::TensorOutside {
                    name: tensor.name.clone(),
                    needed: end.unwrap_or(u64::MAX),
                    available: file_bytes,
                });
            }
        }
    }
    describe(version, &keys, &tensors, data_offset)
}

fn describe(
    version: u32,
    keys: &HashMap<String, Value>,
    tensors: &[Tensor],
    data_offset: u64,
) -> Result<GgufHeader, GgufError> {
    let missing = |key: &str| GgufError::Missing {
        key: key.to_owned(),
    };
    let text = |key: &str| match keys.get(key) {
        None => Ok(None),
        Some(Value::Text(bytes)) => {
            String::from_utf8(bytes.clone())
                .map(Some)
                .map_err(|_| GgufError::NotUtf8 {
                    what: format!("the value of {key:?}"),
                })
        }
        Some(_) => Err(missing(key)),
    };
    let kept = |key: &str, what: &'static str, limit: u64| {
        let found = text(key)?;
        at_most(what, found.as_deref().map_or(0, str::len) as u64, limit)?;
        Ok::<_, GgufError>(found)
    };
    let number = |key: &str| keys.get(key).and_then(Value::as_u64);

    if let Some(found) = text("general.type")?.filter(|found| found != "model") {
        return Err(GgufError::NotAModel { found });
    }
    if let Some(parts) = number("split.count").filter(|parts| *parts > 1) {
        return Err(GgufError::Split { parts });
    }
    let architecture =
        text("general.architecture")?.ok_or_else(|| missing("general.architecture"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if architecture.is_empty() || architecture.len() > 64 || !architecture.chars().all(plain) {
        return Err(missing("general.architecture"));
    }
    let scoped = |name: &str| {
        let key = format!("{architecture}.{name}");
        let found = number(&key)
            .and_then(|found| u32::try_from(found).ok())
            .filter(|found| *found > 0);
        found.ok_or(GgufError::Missing { key })
    };
    let context_tokens = scoped("context_length")?;
    let embedding_length = scoped("embedding_length")?;
    let layers = scoped("block_count")?;
    let tokenizer = kept(
        "tokenizer.ggml.model",
        "the bytes of its tokenizer's name",
        MAX_NAME_BYTES,
    )?
    .ok_or_else(|| missing("tokenizer.ggml.model"))?;
    let vocabulary = match keys.get("tokenizer.ggml.tokens") {
        Some(Value::Array { length, .. }) => u32::try_from(*length).unwrap_or(u32::MAX),
        _ => return Err(missing("tokenizer.ggml.tokens")),
    };
    if tensors.is_empty() {
        return Err(missing("tensors"));
    }

    let pooling = number(&format!("{architecture}.pooling_type")).and_then(|code| match code {
        1 => Some("mean"),
        2 => Some("cls"),
        3 => Some("last"),
        4 => Some("rank"),
        _ => None,
    });
    let causal = !matches!(
        keys.get(&format!("{architecture}.attention.causal")),
        Some(Value::Bool(false))
    );
    // A model without causal attention cannot continue text; one that pools was published to embed or to rank.
    let kind = if pooling == Some("rank") {
        ModelKind::Reranking
    } else if !causal
        || pooling.is_some()
        || architecture.contains("bert")
        || architecture == "t5encoder"
    {
        ModelKind::Embedding
    } else {
        ModelKind::Chat
    };

    let mut by_type: HashMap<u32, u64> = HashMap::new();
    let mut parameters = 0u64;
    for tensor in tensors {
        *by_type.entry(tensor.ggml_type).or_default() += tensor.elements;
        parameters = parameters.saturating_add(tensor.elements);
    }
    let commonest = by_type
        .into_iter()
        .max_by_key(|(code, count)| (*count, *code))
        .map_or(0, |(code, _)| code);
    let quantisation = number("general.file_type")
        .and_then(file_type_name)
        .unwrap_or_else(|| type_info(commonest).map_or("unknown", |info| info.name))
        .to_owned();

    Ok(GgufHeader {
        version,
        name: kept("general.name", "the bytes of its name", MAX_KEPT_BYTES)?,
        quantisation,
        parameters,
        tensors: tensors.len() as u64,
        context_tokens,
        embedding_length,
        layers,
        vocabulary,
        tokenizer,
        kind,
        chat_template: kept(
            "tokenizer.chat_template",
            "the bytes of its chat template",
            MAX_KEPT_BYTES,
        )?,
        pooling: pooling.map(str::to_owned),
        data_offset,
        architecture,
    })
}

/// A value that a later step may ask for. Arrays keep only their length.
enum Value {
    Number(u64),
    Bool(bool),
    Text(Vec<u8>),
    Array { length: u64 },
    Other,
}

impl Value {
    fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(found) => Some(*found),
            _ => None,
        }
    }
}

struct Tensor {
    name: String,
    ggml_type: u32,
    elements: u64,
    bytes: u64,
    offset: u64,
}

/// Reads forward and knows where it is; nothing is read beyond `end`.
struct Cursor<'a, R> {
    reader: &'a mut R,
    at: u64,
    end: u64,
    file_bytes: u64,
}

impl<R: Read> Cursor<'_, R> {
    /// Checks that `bytes` more can be there, before anything is allocated for them.
    fn expect(&self, bytes: u64, part: &'static str) -> Result<(), GgufError> {
        match self.at.checked_add(bytes) {
            Some(to) if to <= self.end => Ok(()),
            Some(to) if to <= self.file_bytes => Err(GgufError::TooLarge {
                what: "the header's bytes",
                found: to,
                limit: MAX_HEADER_BYTES,
            }),
            _ => Err(GgufError::Truncated { part }),
        }
    }

    fn fill(&mut self, into: &mut [u8], part: &'static str) -> Result<(), GgufError> {
        self.expect(into.len() as u64, part)?;
        self.reader
            .read_exact(into)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => GgufError::Truncated { part },
                _ => GgufError::Io(error.to_string()),
            })?;
        self.at += into.len() as u64;
        Ok(())
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, part)?;
        Ok(bytes)
    }

    fn u32(&mut self, part: &'static str) -> Result<u32, GgufError> {
        self.array(part).map(u32::from_le_bytes)
    }

    fn u64(&mut self, part: &'static str) -> Result<u64, GgufError> {
        self.array(part).map(u64::from_le_bytes)
    }

    fn string(&mut self, part: &'static str, limit: u64) -> Result<Vec<u8>, GgufError> {
        let length = self.u64(part)?;
        at_most("the bytes of a string", length, limit)?;
        self.expect(length, part)?;
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes, part)?;
        Ok(bytes)
    }

    fn skip(&mut self, bytes: u64, part: &'static str) -> Result<(), GgufError> {
        self.expect(bytes, part)?;
        let skipped = io::copy(&mut self.reader.by_ref().take(bytes), &mut io::sink())
            .map_err(|error| GgufError::Io(error.to_string()))?;
        if skipped != bytes {
            return Err(GgufError::Truncated { part });
        }
        self.at += bytes;
        Ok(())
    }

    fn value(&mut self, key: &str, value_type: u32, depth: u32) -> Result<Value, GgufError> {
        const PART: &str = "a metadata value";
        // Codes of `gguf_type`: u8 i8 u16 i16 u32 i32 f32 bool string array u64 i64 f64.
        Ok(match value_type {
            0 => Value::Number(self.array::<1>(PART)?[0].into()),
            1 => signed(i8::from_le_bytes(self.array(PART)?).into()),
            2 => Value::Number(u16::from_le_bytes(self.array(PART)?).into()),
            3 => signed(i16::from_le_bytes(self.array(PART)?).into()),
            4 => Value::Number(self.u32(PART)?.into()),
            5 => signed(i32::from_le_bytes(self.array(PART)?).into()),
            6 => {
                self.skip(4, PART)?;
                Value::Other
            }
            7 => match self.array::<1>(PART)?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => {
                    return Err(GgufError::Missing {
                        key: key.to_owned(),
                    });
                }
            },
            8 => Value::Text(self.string(PART, MAX_STRING_BYTES)?),
            9 => {
                let element = self.u32(PART)?;
                let length = self.u64(PART)?;
                at_most("the elements of an array", length, MAX_ARRAY)?;
                match scalar_bytes(element) {
                    Some(size) => self.skip(length * size, PART)?,
                    None if element == 8 => {
                        // An element takes at least its length field, so a false count ends here.
                        self.expect(length * 8, PART)?;
                        for _ in 0..length {
                            let bytes = self.u64(PART)?;
                            at_most("the bytes of a string", bytes, MAX_STRING_BYTES)?;
                            self.skip(bytes, PART)?;
                        }
                    }
                    None if element == 9 && depth + 1 < MAX_NESTING => {
                        self.expect(length * 12, PART)?;
                        for _ in 0..length {
                            self.value(key, 9, depth + 1)?;
                        }
                    }
                    None => {
                        return Err(GgufError::UnknownValueType {
                            key: key.to_owned(),
                            found: element,
                        });
                    }
                }
                Value::Array { length }
            }
            10 => Value::Number(self.u64(PART)?),
            11 => signed(i64::from_le_bytes(self.array(PART)?)),
            12 => {
                self.skip(8, PART)?;
                Value::Other
            }
            found => {
                return Err(GgufError::UnknownValueType {
                    key: key.to_owned(),
                    found,
                });
            }
        })
    }

    fn tensor(&mut self) -> Result<Tensor, GgufError> {
        const PART: &str = "the tensor list";
        let name = self.string(PART, MAX_NAME_BYTES)?;
        let name = String::from_utf8(name).map_err(|_| GgufError::NotUtf8 {
            what: "a tensor name".into(),
        })?;
        let bad = |fault| GgufError::BadTensor {
            name: name.clone(),
            fault,
        };
        let dimensions = self.u32(PART)?;
        if !(1..=MAX_DIMS).contains(&dimensions) {
            return Err(bad("no or too many dimensions"));
        }
        let mut elements = 1u64;
        let mut row = 1;
        for index in 0..dimensions {
            let extent = self.u64(PART)?;
            if extent == 0 || extent > i64::MAX as u64 {
                return Err(bad("a dimension that is zero or negative"));
            }
            if index == 0 {
                row = extent;
            }
            elements = elements
                .checked_mul(extent)
                .filter(|found| *found <= i64::MAX as u64)
                .ok_or_else(|| bad("more elements than any memory holds"))?;
        }
        let ggml_type = self.u32(PART)?;
        let info = type_info(ggml_type).ok_or_else(|| bad("an unknown type"))?;
        if row % info.block != 0 {
            return Err(bad("rows that are not whole blocks"));
        }
        let bytes = (elements / info.block)
            .checked_mul(info.block_bytes)
            .ok_or_else(|| bad("more bytes than any memory holds"))?;
        let offset = self.u64(PART)?;
        Ok(Tensor {
            name,
            ggml_type,
            elements,
            bytes,
            offset,
        })
    }
}

fn at_most(what: &'static str, found: u64, limit: u64) -> Result<(), GgufError> {
    if found > limit {
        return Err(GgufError::TooLarge { what, found, limit });
    }
    Ok(())
}

fn signed(found: i64) -> Value {
    u64::try_from(found).map_or(Value::Other, Value::Number)
}

fn scalar_bytes(value_type: u32) -> Option<u64> {
    match value_type {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

struct TypeInfo {
    name: &'static str,
    /// Weights in a block.
    block: u64,
    /// Bytes of a block.
    block_bytes: u64,
}

/// Block sizes of `ggml_type` (ggml-common.h); removed types have none.
fn type_info(code: u32) -> Option<TypeInfo> {
    let (name, block, block_bytes) = match code {
        0 => ("F32", 1, 4),
        1 => ("F16", 1, 2),
        2 => ("Q4_0", 32, 18),
        3 => ("Q4_1", 32, 20),
        6 => ("Q5_0", 32, 22),
        7 => ("Q5_1", 32, 24),
        8 => ("Q8_0", 32, 34),
        9 => ("Q8_1", 32, 36),
        10 => ("Q2_K", 256, 84),
        11 => ("Q3_K", 256, 110),
        12 => ("Q4_K", 256, 144),
        13 => ("Q5_K", 256, 176),
        14 => ("Q6_K", 256, 210),
        15 => ("Q8_K", 256, 292),
        16 => ("IQ2_XXS", 256, 66),
        17 => ("IQ2_XS", 256, 74),
        18 => ("IQ3_XXS", 256, 98),
        19 => ("IQ1_S", 256, 50),
        20 => ("IQ4_NL", 32, 18),
        21 => ("IQ3_S", 256, 110),
        22 => ("IQ2_S", 256, 82),
        23 => ("IQ4_XS", 256, 136),
        24 => ("I8", 1, 1),
        25 => ("I16", 1, 2),
        26 => ("I32", 1, 4),
        27 => ("I64", 1, 8),
        28 => ("F64", 1, 8),
        29 => ("IQ1_M", 256, 56),
        30 => ("BF16", 1, 2),
        34 => ("TQ1_0", 256, 54),
        35 => ("TQ2_0", 256, 66),
        39 => ("MXFP4", 32, 17),
        40 => ("NVFP4", 64, 36),
        41 => ("Q1_0", 128, 18),
        42 => ("Q2_0", 64, 18),
        _ => return None,
    };
    Some(TypeInfo {
        name,
        block,
        block_bytes,
    })
}

/// Names of `llama_ftype` (llama.h).
fn file_type_name(code: u64) -> Option<&'static str> {
    Some(match code {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4_MOE",
        39 => "NVFP4",
        40 => "Q1_0",
        41 => "Q2_0",
        _ => return None,
    })
}

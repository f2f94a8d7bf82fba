//! The two files' common ground: TOML or JSON, read once into a tree that cannot hold a key twice, then walked by name.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::names::{InvalidName, MAX_NAMES, Name, Names};

/// Longest manifest or grant, in bytes.
pub const MAX_DOCUMENT_LEN: usize = 64 << 10;

/// Why a manifest or a grant does not hold. Whoever wrote the file must change it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// More bytes than a file of this kind may have.
    #[error("it has {len} bytes and may have {MAX_DOCUMENT_LEN}")]
    TooLong {
        /// How many it has.
        len: usize,
    },
    /// Not UTF-8.
    #[error("it is not UTF-8 text")]
    NotUtf8,
    /// Not TOML, or not JSON.
    #[error("it is not {language}: {detail}")]
    Syntax {
        /// The language it should be in.
        language: &'static str,
        /// What the parser says.
        detail: String,
    },
    /// A key that means nothing here.
    #[error("`{key}` means nothing here{}", nearest.map(|nearest| format!(": did you mean `{nearest}`?")).unwrap_or_default())]
    UnknownKey {
        /// The key, with the tables it is in.
        key: String,
        /// The known key that resembles it.
        nearest: Option<&'static str>,
    },
    /// A key that must be there.
    #[error("`{key}` is missing")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A value of the wrong kind.
    #[error("`{key}` must be {expected}")]
    WrongKind {
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A list with too many names.
    #[error("`{key}` lists {len} names and may list {MAX_NAMES}")]
    TooMany {
        /// The key.
        key: String,
        /// How many it lists.
        len: usize,
    },
    /// A text that is not a name.
    #[error("`{key}`: {source}")]
    Name {
        /// The key.
        key: String,
        /// Why not.
        source: InvalidName,
    },
    /// A value of the right kind that says something impossible.
    #[error("`{key}`: {detail}")]
    Value {
        /// The key.
        key: String,
        /// What about it.
        detail: String,
    },
}

/// A tree of values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// A negative or broken number, or a null: nothing that these files use.
    Other,
}

/// How toml hands a datetime to a visitor that did not ask for one.
const TOML_DATETIME: &str = "$__toml_private_datetime";

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nodes;
        impl<'de> Visitor<'de> for Nodes {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Number(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(u64::try_from(value).map_or(Node::Other, Node::Number))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut table: Vec<(String, Node)> = Vec::new();
                while let Some((key, value)) = items.next_entry::<String, Node>()? {
                    if table.iter().any(|(known, _)| *known == key) {
                        return Err(serde::de::Error::custom(format_args!(
                            "`{key}` is there twice"
                        )));
                    }
                    table.push((key, value));
                }
                match &mut table[..] {
                    [(key, value)] if key == TOML_DATETIME => {
                        Ok(std::mem::replace(value, Node::Other))
                    }
                    _ => Ok(Node::Table(table)),
                }
            }
        }
        deserializer.deserialize_any(Nodes)
    }
}

/// A table whose keys are all known, to be taken one by one.
pub(crate) struct Table {
    path: String,
    entries: Vec<(String, Node)>,
}

impl Table {
    pub(crate) fn from_toml(
        text: &str,
        known: &'static [&'static str],
    ) -> Result<Self, DocumentError> {
        bounded(text.as_bytes())?;
        let root = toml::from_str(text).map_err(|error| DocumentError::Syntax {
            language: "TOML",
            detail: error.to_string().trim_end().to_owned(),
        })?;
        Self::of(String::new(), root, known)
    }

    pub(crate) fn from_json(
        bytes: &[u8],
        known: &'static [&'static str],
    ) -> Result<Self, DocumentError> {
        bounded(bytes)?;
        let text = str::from_utf8(bytes).map_err(|_| DocumentError::NotUtf8)?;
        let root = serde_json::from_str(text).map_err(|error| DocumentError::Syntax {
            language: "JSON",
            detail: error.to_string(),
        })?;
        Self::of(String::new(), root, known)
    }

    fn of(path: String, node: Node, known: &'static [&'static str]) -> Result<Self, DocumentError> {
        let Node::Table(entries) = node else {
            let key = if path.is_empty() {
                "the whole file".to_owned()
            } else {
                path
            };
            return Err(DocumentError::WrongKind {
                key,
                expected: "a table",
            });
        };
        for (key, _) in &entries {
            if !known.contains(&key.as_str()) {
                return Err(DocumentError::UnknownKey {
                    key: join(&path, key),
                    nearest: nearest(key, known),
                });
            }
        }
        Ok(Self { path, entries })
    }

    fn take(&mut self, key: &str) -> Option<(String, Node)> {
        let index = self.entries.iter().position(|(known, _)| known == key)?;
        let (_, node) = self.entries.swap_remove(index);
        Some((join(&self.path, key), node))
    }

    /// A table inside this one; an empty one if it is not there.
    pub(crate) fn table(
        &mut self,
        key: &str,
        known: &'static [&'static str],
    ) -> Result<Self, DocumentError> {
        match self.take(key) {
            None => Ok(Self {
                path: join(&self.path, key),
                entries: Vec::new(),
            }),
            Some((path, node)) => Self::of(path, node, known),
        }
    }

    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>, DocumentError> {
        match self.take(key) {
            None => Ok(None),
            Some((_, Node::Text(text))) => Ok(Some(text)),
            Some((key, _)) => Err(DocumentError::WrongKind {
                key,
                expected: "a text",
            }),
        }
    }

    pub(crate) fn flag(&mut self, key: &str) -> Result<bool, DocumentError> {
        match self.take(key) {
            None => Ok(false),
            Some((_, Node::Bool(flag))) => Ok(flag),
            Some((key, _)) => Err(DocumentError::WrongKind {
                key,
                expected: "true or false",
            }),
        }
    }

    pub(crate) fn number(&mut self, key: &str) -> Result<Option<u64>, DocumentError> {
        match self.take(key) {
            None => Ok(None),
            // TOML has no number above this, so a file in either language can say the same.
            Some((_, Node::Number(number))) if i64::try_from(number).is_ok() => Ok(Some(number)),
            Some((key, _)) => Err(DocumentError::WrongKind {
                key,
                expected: "a whole number from 0 to 9223372036854775807",
            }),
        }
    }

    pub(crate) fn names(&mut self, key: &str) -> Result<Names, DocumentError> {
        const EXPECTED: &str = "a list of names, or [\"*\"] for all";
        let (key, list) = match self.take(key) {
            None => return Ok(Names::none()),
            Some((key, Node::List(list))) => (key, list),
            Some((key, _)) => {
                return Err(DocumentError::WrongKind {
                    key,
                    expected: EXPECTED,
                });
            }
        };
        if list.len() > MAX_NAMES {
            return Err(DocumentError::TooMany {
                key,
                len: list.len(),
            });
        }
        let mut names = Vec::with_capacity(list.len());
        let mut all = false;
        for item in &list {
            match item {
                Node::Text(text) if text == "*" => all = true,
                Node::Text(text) => match Name::new(text) {
                    Ok(name) if names.contains(&name) => {
                        return Err(DocumentError::Value {
                            key,
                            detail: format!("`{name}` is listed twice"),
                        });
                    }
                    Ok(name) => names.push(name),
                    Err(source) => return Err(DocumentError::Name { key, source }),
                },
                _ => {
                    return Err(DocumentError::WrongKind {
                        key,
                        expected: EXPECTED,
                    });
                }
            }
        }
        match (all, names.is_empty() && list.len() == 1) {
            (true, true) => Ok(Names::All),
            (true, false) => Err(DocumentError::Value {
                key,
                detail: "`*` already means every name".to_owned(),
            }),
            (false, _) => Ok(Names::only(names)),
        }
    }
}

fn bounded(bytes: &[u8]) -> Result<(), DocumentError> {
    if bytes.len() > MAX_DOCUMENT_LEN {
        Err(DocumentError::TooLong { len: bytes.len() })
    } else {
        Ok(())
    }
}

fn join(path: &str, key: &str) -> String {
    let key: String = key.chars().take(64).collect();
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

/// The known key that `key` was probably meant to be: at most a third of its letters differ.
fn nearest(key: &str, known: &'static [&'static str]) -> Option<&'static str> {
    if key.len() > 64 {
        return None;
    }
    let key = key.replace('_', "-").to_lowercase();
    known
        .iter()
        .map(|known| (distance(&key, known), *known))
        .filter(|(distance, known)| {
            *distance * 3 <= known.len().max(3)
                || known.starts_with(&key)
                || key.starts_with(*known)
        })
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

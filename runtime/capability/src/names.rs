//! Names of things, sets of them, and the capabilities that both manifest and grant are made of.

use std::fmt;

/// Longest name, in bytes.
pub const MAX_NAME_LEN: usize = 128;
/// Most names in one list.
pub const MAX_NAMES: usize = 256;

/// The name of a model, a tool, a setting or a vault's namespace: 1 to [`MAX_NAME_LEN`] bytes, no blanks or control characters, not `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// A text that cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a name: use 1 to {MAX_NAME_LEN} bytes without blanks, control characters or `*`"
)]
pub struct InvalidName {
    /// The text, cut if it is very long.
    pub text: String,
}

impl Name {
    /// Takes a name.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == '*';
        if text.is_empty() || text.len() > MAX_NAME_LEN || text.contains(bad) {
            return Err(InvalidName {
                text: text.chars().take(MAX_NAME_LEN).collect(),
            });
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which names: all, or the listed ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// `"*"`: every name, known today or not.
    All,
    /// These, sorted, none twice.
    Only(Box<[Name]>),
}

impl Names {
    /// No name.
    pub fn none() -> Self {
        Self::Only(Box::new([]))
    }

    /// These names, in any order.
    pub fn only(names: impl IntoIterator<Item = Name>) -> Self {
        let mut names: Vec<Name> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Self::Only(names.into())
    }

    /// Whether it holds no name at all.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(names) if names.is_empty())
    }

    /// Whether it holds `name`.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names
                .binary_search_by(|known| known.as_str().cmp(name))
                .is_ok(),
        }
    }

    /// The names in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Only(a), Self::Only(b)) => Self::only(a.iter().chain(b).cloned()),
        }
    }

    /// The names in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, names) | (names, Self::All) => names.clone(),
            (Self::Only(names), other) => Self::Only(
                names
                    .iter()
                    .filter(|name| other.contains(name.as_str()))
                    .cloned()
                    .collect(),
            ),
        }
    }
}

/// What may be done in a namespace of the vault. Each contains the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Read records.
    Read,
    /// Add records, and change one's own.
    Append,
    /// Change and retract the records of others.
    Curate,
}

impl Access {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Append, Self::Curate];

    /// The key of the list in a manifest or grant.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Read => "vault-read",
            Self::Append => "vault-append",
            Self::Curate => "vault-curate",
        }
    }
}

/// Which namespaces of the vault, and how far. A namespace that may be curated may be appended to and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    read: Names,
    append: Names,
    curate: Names,
}

impl Namespaces {
    /// No namespace.
    pub fn none() -> Self {
        Self::new(Names::none(), Names::none(), Names::none())
    }

    /// These; what a list implies for the narrower ones is added.
    pub fn new(read: Names, append: Names, curate: Names) -> Self {
        let append = append.union(&curate);
        let read = read.union(&append);
        Self {
            read,
            append,
            curate,
        }
    }

    /// The namespaces that may be used so far.
    pub const fn at(&self, access: Access) -> &Names {
        match access {
            Access::Read => &self.read,
            Access::Append => &self.append,
            Access::Curate => &self.curate,
        }
    }

    /// Whether it holds no namespace at all.
    pub fn is_empty(&self) -> bool {
        self.read.is_empty()
    }

    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self {
            read: self.read.intersect(&other.read),
            append: self.append.intersect(&other.append),
            curate: self.curate.intersect(&other.curate),
        }
    }
}

/// What may be reached. Empty by default.
///
/// The clock and the log are not here: the contract gives a guest no way to be refused them. Both are journaled, and the
/// log counts against the output budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Models to generate and embed with.
    pub models: Names,
    /// Tools to call.
    pub tools: Names,
    /// Settings of the run to read.
    pub settings: Names,
    /// Namespaces of the vault. The vault's own grant, which is cryptographic, bounds this again.
    pub vault: Namespaces,
    /// Random bytes.
    pub random: bool,
    /// Showing text to the person who started the run, while it goes on.
    pub output: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            models: Names::none(),
            tools: Names::none(),
            settings: Names::none(),
            vault: Namespaces::none(),
            random: false,
            output: false,
        }
    }
}

impl Capabilities {
    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self {
            models: self.models.intersect(&other.models),
            tools: self.tools.intersect(&other.tools),
            settings: self.settings.intersect(&other.settings),
            vault: self.vault.intersect(&other.vault),
            random: self.random && other.random,
            output: self.output && other.output,
        }
    }
}

//! What a component asks for. `docs/manifest.md` has the file's keys.

use crate::budgets::Budgets;
use crate::document::{DocumentError, Table};
use crate::explain;
use crate::names::{Access, Capabilities, Name, Names, Namespaces};

/// The custom section of a component that holds its manifest, as canonical JSON.
pub const MANIFEST_SECTION: &str = "tally:manifest";
/// The version of the contract with guests (`wit/`) that this crate's words belong to.
pub const CONTRACT_VERSION: &str = "0.1.0";

/// Longest description, in bytes.
const MAX_DESCRIPTION_LEN: usize = 1024;

/// Which world of the contract a component is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// An agent: it has a handler, and may call tools and show text.
    Agent,
    /// A tool plugin: agents call it.
    Tool,
}

impl World {
    /// The name in `wit/world.wit`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Tool => "tool",
        }
    }
}

impl std::fmt::Display for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a component asks for: the ceiling of every grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    name: Name,
    version: Name,
    description: String,
    world: World,
    capabilities: Capabilities,
    budgets: Budgets,
}

const KEYS: &[&str] = &[
    "budgets",
    "capabilities",
    "contract",
    "description",
    "format",
    "name",
    "version",
    "world",
];
pub(crate) const CAPABILITY_KEYS: &[&str] = &[
    "models",
    "output",
    "random",
    "settings",
    "tools",
    "vault-append",
    "vault-curate",
    "vault-read",
];

impl Manifest {
    /// Reads `tally.toml`.
    ///
    /// # Errors
    /// [`DocumentError`] says what the author must change.
    pub fn from_toml(text: &str) -> Result<Self, DocumentError> {
        Self::read(Table::from_toml(text, KEYS)?)
    }

    /// Reads the JSON of a component's manifest section.
    ///
    /// # Errors
    /// [`DocumentError`] says what the author must change.
    pub fn from_json(bytes: &[u8]) -> Result<Self, DocumentError> {
        Self::read(Table::from_json(bytes, KEYS)?)
    }

    /// The manifest of a component that carries none: it asks for nothing.
    pub fn undeclared() -> Self {
        let name = |text| Name::new(text).expect("the text is a name");
        Self {
            name: name("undeclared"),
            version: name("0"),
            description: String::new(),
            world: World::Agent,
            capabilities: Capabilities::default(),
            budgets: Budgets::default(),
        }
    }

    fn read(mut root: Table) -> Result<Self, DocumentError> {
        check_format(&mut root)?;
        if let Some(contract) = root.text("contract")?
            && contract != CONTRACT_VERSION
        {
            return Err(DocumentError::Value {
                key: "contract".to_owned(),
                detail: format!(
                    "it is made for tally:agent@{contract} and this program speaks {CONTRACT_VERSION}"
                ),
            });
        }
        let mut name = |key: &'static str| {
            let text = root.text(key)?.ok_or(DocumentError::MissingKey { key })?;
            Name::new(&text).map_err(|source| DocumentError::Name {
                key: key.to_owned(),
                source,
            })
        };
        let (name, version) = (name("name")?, name("version")?);
        // The name becomes a file's name, so it must be nothing but one.
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !name.as_str().bytes().all(fit) || !name.as_str().as_bytes()[0].is_ascii_alphanumeric() {
            return Err(DocumentError::Value {
                key: "name".to_owned(),
                detail: "use letters, digits, `-`, `_` and `.`, with a letter or digit first"
                    .to_owned(),
            });
        }
        let description = root.text("description")?.unwrap_or_default();
        if description.len() > MAX_DESCRIPTION_LEN || description.chars().any(char::is_control) {
            return Err(DocumentError::Value {
                key: "description".to_owned(),
                detail: format!("use one line of at most {MAX_DESCRIPTION_LEN} bytes"),
            });
        }
        let world = match root.text("world")?.as_deref() {
            None | Some("agent") => World::Agent,
            Some("tool") => World::Tool,
            Some(_) => {
                return Err(DocumentError::Value {
                    key: "world".to_owned(),
                    detail: "it is `agent` or `tool`".to_owned(),
                });
            }
        };
        let capabilities = read_capabilities(&mut root)?;
        if world == World::Tool {
            for (key, asked) in [
                ("tools", !capabilities.tools.is_empty()),
                ("output", capabilities.output),
                ("vault-read", !capabilities.vault.is_empty()),
            ] {
                if asked {
                    return Err(DocumentError::Value {
                        key: format!("capabilities.{key}"),
                        detail: "the world `tool` does not import it, so a tool cannot ask for it"
                            .to_owned(),
                    });
                }
            }
        }
        let budgets = read_budgets(&mut root)?;
        Ok(Self {
            name,
            version,
            description,
            world,
            capabilities,
            budgets,
        })
    }

    /// The component's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The component's version.
    pub fn version(&self) -> &Name {
        &self.version
    }

    /// One line about it; may be empty.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The world it is built for.
    pub const fn world(&self) -> World {
        self.world
    }

    /// What it asks to reach.
    pub const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What it says it needs at most.
    pub const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// The manifest in its one form: what a component carries, and what its digest is made of.
    ///
    /// Keys sorted, no blanks, names sorted, every key written except budgets not stated.
    pub fn to_canonical_json(&self) -> Vec<u8> {
        let mut out = Canonical::begin(&self.budgets, &self.capabilities);
        out.text("contract", CONTRACT_VERSION);
        out.text("description", &self.description);
        out.raw("format", "1");
        out.text("name", self.name.as_str());
        out.text("version", self.version.as_str());
        out.text("world", self.world.name());
        out.end()
    }

    /// What it asks for, in sentences for a person who decides whether to run it.
    pub fn explain(&self) -> Vec<explain::Line> {
        explain::manifest(self)
    }
}

/// The file's own version, so that a later one is named as such.
pub(crate) fn check_format(root: &mut Table) -> Result<(), DocumentError> {
    match root.number("format")? {
        None | Some(1) => Ok(()),
        Some(format) => Err(DocumentError::Value {
            key: "format".to_owned(),
            detail: format!("version {format} is not known to this program, which reads version 1"),
        }),
    }
}

pub(crate) fn read_capabilities(root: &mut Table) -> Result<Capabilities, DocumentError> {
    let mut table = root.table("capabilities", CAPABILITY_KEYS)?;
    Ok(Capabilities {
        models: table.names("models")?,
        tools: table.names("tools")?,
        settings: table.names("settings")?,
        vault: Namespaces::new(
            table.names(Access::Read.key())?,
            table.names(Access::Append.key())?,
            table.names(Access::Curate.key())?,
        ),
        random: table.flag("random")?,
        output: table.flag("output")?,
    })
}

pub(crate) fn read_budgets(root: &mut Table) -> Result<Budgets, DocumentError> {
    let mut table = root.table("budgets", Budgets::KEYS)?;
    let mut budgets = Budgets::default();
    for key in Budgets::KEYS {
        if let Some(amount) = table.number(key)? {
            budgets.set(key, amount);
        }
    }
    Ok(budgets)
}

/// Writes JSON in its one form. Keys must be given in order; `budgets` and `capabilities` come first in both files.
pub(crate) struct Canonical(String);

impl Canonical {
    pub(crate) fn begin(budgets: &Budgets, capabilities: &Capabilities) -> Self {
        let budgets: Vec<_> = budgets
            .to_named()
            .iter()
            .map(|(key, amount)| format!("\"{key}\":{amount}"))
            .collect();
        let mut out = Self(format!(
            "{{\"budgets\":{{{}}},\"capabilities\":{{",
            budgets.join(",")
        ));
        out.names("models", &capabilities.models);
        out.raw("output", if capabilities.output { "true" } else { "false" });
        out.raw("random", if capabilities.random { "true" } else { "false" });
        out.names("settings", &capabilities.settings);
        out.names("tools", &capabilities.tools);
        for access in [Access::Append, Access::Curate, Access::Read] {
            out.names(access.key(), capabilities.vault.at(access));
        }
        out.0.push('}');
        out
    }

    fn key(&mut self, key: &str) {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        self.0.push_str(&quoted(key));
        self.0.push(':');
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.0.push_str(&quoted(value));
    }

    pub(crate) fn raw(&mut self, key: &str, value: &str) {
        self.key(key);
        self.0.push_str(value);
    }

    fn names(&mut self, key: &str, names: &Names) {
        let list: Vec<_> = match names {
            Names::All => vec![quoted("*")],
            Names::Only(names) => names.iter().map(|name| quoted(name.as_str())).collect(),
        };
        self.raw(key, &format!("[{}]", list.join(",")));
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.push('}');
        self.0.into_bytes()
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

//! What the operator or user permits. `docs/manifest.md` has the file's keys.

use crate::budgets::Budgets;
use crate::document::{DocumentError, Table};
use crate::manifest::{Canonical, Manifest, check_format, read_budgets, read_capabilities};
use crate::moment::Moment;
use crate::names::Capabilities;

/// A permission: what may be reached, how much may be used, until when, by which component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    capabilities: Capabilities,
    budgets: Budgets,
    expires: Option<Moment>,
    component: Option<[u8; 32]>,
}

/// Two grants that have nothing in common because they name different components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the two grants are for different components")]
pub struct NarrowError;

const KEYS: &[&str] = &["budgets", "capabilities", "component", "expires", "format"];

impl Grant {
    /// A grant of these capabilities and budgets, for any component, without end.
    pub const fn new(capabilities: Capabilities, budgets: Budgets) -> Self {
        Self {
            capabilities,
            budgets,
            expires: None,
            component: None,
        }
    }

    /// Everything that the manifest asks to reach, within the default limits: what a person grants who starts a run on
    /// their own machine without naming a grant.
    pub fn as_asked(manifest: &Manifest) -> Self {
        Self::new(manifest.capabilities().clone(), Budgets::default())
    }

    /// Reads a grant in TOML.
    ///
    /// # Errors
    /// [`DocumentError`] says what its author must change.
    pub fn from_toml(text: &str) -> Result<Self, DocumentError> {
        Self::read(Table::from_toml(text, KEYS)?)
    }

    /// Reads a grant in JSON.
    ///
    /// # Errors
    /// [`DocumentError`] says what its author must change.
    pub fn from_json(bytes: &[u8]) -> Result<Self, DocumentError> {
        Self::read(Table::from_json(bytes, KEYS)?)
    }

    /// Reads a grant in either language: JSON when the first character is `{`, which no TOML begins with.
    ///
    /// # Errors
    /// [`DocumentError`] says what its author must change.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.trim_ascii_start().first() == Some(&b'{') {
            return Self::from_json(bytes);
        }
        Self::from_toml(str::from_utf8(bytes).map_err(|_| DocumentError::NotUtf8)?)
    }

    fn read(mut root: Table) -> Result<Self, DocumentError> {
        check_format(&mut root)?;
        let value = |key: &str, detail: &dyn std::fmt::Display| DocumentError::Value {
            key: key.to_owned(),
            detail: detail.to_string(),
        };
        let expires = match root.text("expires")? {
            None => None,
            Some(text) => Some(text.parse().map_err(|error| value("expires", &error))?),
        };
        let component = match root.text("component")? {
            None => None,
            Some(text) => Some(parse_component(&text).ok_or_else(|| {
                value(
                    "component",
                    &"write the BLAKE3 digest of the component as 64 lower-case hex digits",
                )
            })?),
        };
        Ok(Self {
            capabilities: read_capabilities(&mut root)?,
            budgets: read_budgets(&mut root)?,
            expires,
            component,
        })
    }

    /// What may be reached.
    pub const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// How much may be used; the defaults where it says nothing.
    pub const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// The first moment at which nothing is granted any more.
    pub const fn expires(&self) -> Option<Moment> {
        self.expires
    }

    /// The BLAKE3 digest of the one component that it is for.
    pub const fn component(&self) -> Option<&[u8; 32]> {
        self.component.as_ref()
    }

    /// The same until `moment`, if that is sooner.
    #[must_use]
    pub fn until(mut self, moment: Moment) -> Self {
        self.expires = Some(self.expires.map_or(moment, |expires| expires.min(moment)));
        self
    }

    /// The same for one component only.
    ///
    /// # Errors
    /// [`NarrowError`] when it is for another already.
    pub fn only_for(mut self, component: [u8; 32]) -> Result<Self, NarrowError> {
        if self.component.is_some_and(|bound| bound != component) {
            return Err(NarrowError);
        }
        self.component = Some(component);
        Ok(self)
    }

    /// What both permit.
    ///
    /// # Errors
    /// [`NarrowError`] when they are for different components.
    pub fn narrow(&self, other: &Self) -> Result<Self, NarrowError> {
        let mut both = Self {
            capabilities: self.capabilities.intersect(&other.capabilities),
            budgets: self.budgets.narrow(&other.budgets),
            expires: self.expires,
            component: self.component,
        };
        if let Some(expires) = other.expires {
            both = both.until(expires);
        }
        match other.component {
            None => Ok(both),
            Some(component) => both.only_for(component),
        }
    }

    /// The grant in its one form: what a journal records, and what its digest is made of.
    ///
    /// Keys sorted, no blanks, names sorted; `component`, `expires` and budgets only where stated.
    pub fn to_canonical_json(&self) -> Vec<u8> {
        let mut out = Canonical::begin(&self.budgets, &self.capabilities);
        if let Some(component) = &self.component {
            out.text("component", &hex::encode(component));
        }
        if let Some(expires) = self.expires {
            out.text("expires", &expires.to_string());
        }
        out.raw("format", "1");
        out.end()
    }
}

fn parse_component(text: &str) -> Option<[u8; 32]> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).ok()?;
    Some(digest)
}

//! Manifest and grant resolved into one set, and the decision on each ask.

use std::fmt;

use crate::budgets::Limits;
use crate::explain;
use crate::grant::Grant;
use crate::manifest::Manifest;
use crate::moment::Moment;
use crate::names::{Access, Capabilities, Name, Names, Namespaces};

/// What a guest wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Generate or embed with this model.
    Model(&'a str),
    /// Call this tool.
    Tool(&'a str),
    /// Read this setting.
    Setting(&'a str),
    /// Use this namespace of the vault so far.
    Vault(Access, &'a str),
    /// Take random bytes.
    Random,
    /// Show text to the person who started the run.
    Output,
}

impl fmt::Display for Ask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(name) => write!(f, "the model {name:?}"),
            Self::Tool(name) => write!(f, "the tool {name:?}"),
            Self::Setting(name) => write!(f, "the setting {name:?}"),
            Self::Vault(Access::Read, name) => write!(f, "reading the namespace {name:?}"),
            Self::Vault(Access::Append, name) => write!(f, "appending to the namespace {name:?}"),
            Self::Vault(Access::Curate, name) => write!(f, "curating the namespace {name:?}"),
            Self::Random => f.write_str("random bytes"),
            Self::Output => f.write_str("showing text"),
        }
    }
}

/// Why an ask was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The manifest does not ask for it, so no grant can allow it. The component's author must act.
    NotAsked,
    /// The grant's time is over. Whoever granted it must act.
    Expired(Moment),
    /// The manifest asks for it and the grant does not permit it. Whoever grants must act.
    NotGranted,
}

impl Cause {
    /// A word for programs. It does not change.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotAsked => "capability.not-asked",
            Self::Expired(_) => "capability.expired",
            Self::NotGranted => "capability.not-granted",
        }
    }
}

/// A refusal, as a sentence when displayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial<'a> {
    /// What was asked.
    pub ask: Ask<'a>,
    /// Why it was refused.
    pub cause: Cause,
}

impl fmt::Display for Denial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ask = self.ask;
        match self.cause {
            Cause::NotAsked => write!(f, "{ask} is not asked for in the manifest"),
            Cause::Expired(at) => {
                write!(f, "{ask} is no longer granted: the grant expired at {at}")
            }
            Cause::NotGranted => write!(f, "{ask} is not granted"),
        }
    }
}

/// The answer to an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It may be done.
    Allowed {
        /// The rule that allows it, for example `models/seed` or `models/*`.
        rule: &'a str,
    },
    /// It may not.
    Denied(Denial<'a>),
}

impl Decision<'_> {
    /// Whether it may be done.
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

/// Manifest and grant do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The grant is for another component.
    #[error("the grant is for the component {} and this one is {}: ask for a grant for this one", hex::encode(.granted), hex::encode(.found))]
    OtherComponent {
        /// The component that the grant names.
        granted: [u8; 32],
        /// The component that is to run.
        found: [u8; 32],
    },
}

/// What one run may do.
#[derive(Clone, Debug)]
pub struct Effective {
    asked: Capabilities,
    models: Rules,
    tools: Rules,
    settings: Rules,
    /// By [`Access`].
    vault: [Rules; 3],
    random: bool,
    output: bool,
    limits: Limits,
    expires: Option<Moment>,
}

impl Effective {
    /// Resolves a manifest and a grant for the component with this BLAKE3 digest.
    ///
    /// A grant that has expired still resolves; every decision then says so.
    ///
    /// # Errors
    /// [`ResolveError::OtherComponent`].
    pub fn resolve(
        manifest: &Manifest,
        grant: &Grant,
        component: &[u8; 32],
    ) -> Result<Self, ResolveError> {
        if let Some(granted) = grant.component()
            && granted != component
        {
            return Err(ResolveError::OtherComponent {
                granted: *granted,
                found: *component,
            });
        }
        let both = manifest.capabilities().intersect(grant.capabilities());
        Ok(Self {
            asked: manifest.capabilities().clone(),
            models: Rules::new("models", &both.models),
            tools: Rules::new("tools", &both.tools),
            settings: Rules::new("settings", &both.settings),
            vault: Access::ALL.map(|access| Rules::new(access.key(), both.vault.at(access))),
            random: both.random,
            output: both.output,
            // What the manifest states can only lower what the grant (or the default) gives.
            limits: manifest.budgets().lower(&grant.budgets().or_default()),
            expires: grant.expires(),
        })
    }

    /// Decides. Allowing allocates nothing.
    ///
    /// What the manifest does not ask for is refused as such, whatever the grant says and whether or not it has expired.
    pub fn decide<'a>(&'a self, ask: Ask<'a>, now: Moment) -> Decision<'a> {
        let (asked, rule) = match ask {
            Ask::Model(name) => (self.asked.models.contains(name), self.models.find(name)),
            Ask::Tool(name) => (self.asked.tools.contains(name), self.tools.find(name)),
            Ask::Setting(name) => (self.asked.settings.contains(name), self.settings.find(name)),
            Ask::Vault(access, name) => (
                self.asked.vault.at(access).contains(name),
                self.vault[access as usize].find(name),
            ),
            Ask::Random => (self.asked.random, self.random.then_some("random")),
            Ask::Output => (self.asked.output, self.output.then_some("output")),
        };
        let denied = |cause| Decision::Denied(Denial { ask, cause });
        if !asked {
            return denied(Cause::NotAsked);
        }
        if let Some(expires) = self.expires
            && now >= expires
        {
            return denied(Cause::Expired(expires));
        }
        match rule {
            Some(rule) => Decision::Allowed { rule },
            None => denied(Cause::NotGranted),
        }
    }

    /// How much may be used.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The first moment at which nothing is granted any more.
    pub const fn expires(&self) -> Option<Moment> {
        self.expires
    }

    /// What may be reached until the grant expires.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            models: self.models.names(),
            tools: self.tools.names(),
            settings: self.settings.names(),
            vault: {
                let [read, append, curate] = &self.vault;
                Namespaces::new(read.names(), append.names(), curate.names())
            },
            random: self.random,
            output: self.output,
        }
    }

    /// What the manifest asks for.
    pub(crate) const fn asked(&self) -> &Capabilities {
        &self.asked
    }

    /// What the run may and may not do, in sentences for a person.
    pub fn explain(&self, now: Moment) -> Vec<explain::Line> {
        explain::effective(self, now)
    }
}

/// Names, each with the text of its rule, made once so that a decision need not make it.
#[derive(Clone, Debug)]
enum Rules {
    All(Box<str>),
    Only(Box<[(Name, Box<str>)]>),
}

impl Rules {
    fn new(kind: &str, names: &Names) -> Self {
        match names {
            Names::All => Self::All(format!("{kind}/*").into()),
            Names::Only(names) => Self::Only(
                names
                    .iter()
                    .map(|name| (name.clone(), format!("{kind}/{name}").into()))
                    .collect(),
            ),
        }
    }

    fn find(&self, name: &str) -> Option<&str> {
        match self {
            Self::All(rule) => Some(rule),
            Self::Only(rules) => {
                let index = rules
                    .binary_search_by(|(known, _)| known.as_str().cmp(name))
                    .ok()?;
                Some(&rules[index].1)
            }
        }
    }

    fn names(&self) -> Names {
        match self {
            Self::All(_) => Names::All,
            Self::Only(rules) => Names::only(rules.iter().map(|(name, _)| name.clone())),
        }
    }
}

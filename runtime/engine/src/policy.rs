//! Who may do what: the component's manifest ∩ the operator's grant, as `tally-capability` decides, ready for a run.
//!
//! Out of scope: deciding (that crate), recording decisions ([`crate::session`]).

use crate::component::{ComponentKind, LoadError};
use crate::host::Host;
use tally_capability::Limits;
use tally_capability::{Ask, Decision, Effective, Moment, World};
pub use tally_capability::{Grant, Manifest, ResolveError};
use tally_journal::Digest;

/// What one component may do in one run.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    effective: Effective,
    manifest: Digest,
    grant_json: Vec<u8>,
}

impl Policy {
    pub(crate) fn resolve(
        manifest: &Manifest,
        grant: &Grant,
        component: &Digest,
    ) -> Result<Self, ResolveError> {
        Ok(Self {
            effective: Effective::resolve(manifest, grant, component.as_bytes())?,
            manifest: digest(&manifest.to_canonical_json()),
            grant_json: grant.to_canonical_json(),
        })
    }

    pub(crate) fn effective(&self) -> &Effective {
        &self.effective
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.effective.limits()
    }

    pub(crate) fn manifest(&self) -> Digest {
        self.manifest
    }

    /// The grant in its one form, as journals record it.
    pub(crate) fn grant_json(&self) -> &[u8] {
        &self.grant_json
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// Reads the manifest of a component; one that has none asks for nothing.
pub(crate) fn parse_manifest(
    section: Option<&[u8]>,
    kind: ComponentKind,
) -> Result<Manifest, LoadError> {
    let Some(bytes) = section else {
        return Ok(Manifest::undeclared());
    };
    let manifest =
        Manifest::from_json(bytes).map_err(|error| LoadError::Manifest(error.to_string()))?;
    let (found, says) = match (kind, manifest.world()) {
        (ComponentKind::Agent, World::Agent) | (ComponentKind::Tool, World::Tool) => {
            return Ok(manifest);
        }
        (ComponentKind::Agent, World::Tool) => ("an agent", "a tool"),
        (ComponentKind::Tool, World::Agent) => ("a tool", "an agent"),
    };
    Err(LoadError::Manifest(format!(
        "it says that the component is {says}, and the component is {found}"
    )))
}

/// The answer to one call.
pub(crate) enum Verdict<'a> {
    /// By this rule.
    Allowed(&'a str),
    /// For this reason.
    Denied(String),
}

impl<'a> Verdict<'a> {
    /// The contract gives it to every guest.
    pub(crate) fn given(_: &'a Host) -> Self {
        Self::Allowed("contract")
    }

    /// Whoever holds the handle was granted it when it was made.
    pub(crate) fn handle(_: &'a Host) -> Self {
        Self::Allowed("handle")
    }
}

impl Host {
    /// Asks the policy. The clock is looked at only when the grant ends.
    pub(crate) fn ask<'a>(&'a self, ask: Ask<'a>) -> Verdict<'a> {
        match self.decide(ask) {
            Decision::Allowed { rule } => Verdict::Allowed(rule),
            Decision::Denied(denial) => Verdict::Denied(denial.to_string()),
        }
    }

    /// Whether the policy allows it, for lists of what there is.
    pub(crate) fn allows(&self, ask: Ask<'_>) -> bool {
        self.decide(ask).is_allowed()
    }

    fn decide<'a>(&'a self, ask: Ask<'a>) -> Decision<'a> {
        self.policy.effective().decide(ask, self.moment())
    }

    /// The moment at which the policy is asked.
    pub(crate) fn moment(&self) -> Moment {
        Moment::from_epoch_seconds(match self.policy.effective().expires() {
            Some(_) => self.shared.services.clock.now().seconds(),
            None => 0,
        })
    }
}

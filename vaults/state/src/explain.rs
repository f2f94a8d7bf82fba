//! Why an operation does not count.

use tally_vault_format::{NamespaceId, Right, Time};

/// Why an operation does not count, in the order in which the rules are asked. Of an operation that several seals carry, the
/// least of the reasons is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Void {
    /// The grant that the seal names is not here.
    #[error("no grant of that name is here")]
    GrantUnknown,
    /// The grant that the seal names does not count itself.
    #[error("the grant itself does not count")]
    GrantVoid,
    /// The grant is somebody else's.
    #[error("the grant is somebody else's")]
    NotTheSubject,
    /// Dated after the end of the grant.
    #[error("dated after the end of the grant (at {} ms)", .ended.millis())]
    Expired {
        /// The last moment of the grant.
        ended: Time,
    },
    /// Not among what the one who revoked the grant had seen.
    #[error("the grant was revoked, and this was not among what had been seen by then")]
    Revoked,
    /// Not among what the subject itself let count when it gave the grant up.
    #[error("its author gave the grant up before this")]
    GivenUp,
    /// The grant does not give the right that this takes.
    #[error("takes the right to {needs}, the grant gives {}", .has.map_or("none", Right::name))]
    NeedsRight {
        /// What it takes.
        needs: Right,
        /// What the grant gives in that namespace.
        has: Option<Right>,
    },
    /// A grant that names another parent than the grant it was made under.
    #[error("the grant names another parent than the one it was made under")]
    WrongParent,
    /// The parent allows no grants below it.
    #[error("its parent allows no further grants below it")]
    DepthSpent,
    /// A grant that allows as many grants below it as its parent, or more.
    #[error("the grant allows {asked} grants below it, and its parent {has}: it must be fewer")]
    DepthWidened {
        /// What the grant says.
        asked: u8,
        /// What its parent says.
        has: u8,
    },
    /// A grant that gives more than its parent has.
    #[error("the grant gives {asked} in {namespace}, its parent has {}", .has.map_or("nothing there", Right::name))]
    RightWidened {
        /// Where: the first such namespace.
        namespace: NamespaceId,
        /// What the grant gives.
        asked: Right,
        /// What its parent has.
        has: Option<Right>,
    },
    /// A grant that ends after its parent.
    #[error("the grant ends after its parent (at {} ms)", .parent.millis())]
    OutlivesParent {
        /// The end of the parent.
        parent: Time,
    },
    /// An agent's grant without an end.
    #[error("an agent's grant has no end")]
    AgentWithoutEnd,
    /// A revocation of what is not here.
    #[error("revokes a grant that is not here")]
    TargetUnknown,
    /// A revocation of a grant that does not count.
    #[error("revokes a grant that does not count")]
    TargetVoid,
    /// A revocation by one who does not stand above the grant.
    #[error("revokes a grant that it does not stand above")]
    NotAbove,
}

impl Void {
    /// A name that programs can rely on.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::GrantUnknown => "grant.unknown",
            Self::GrantVoid => "grant.void",
            Self::NotTheSubject => "grant.foreign",
            Self::Expired { .. } => "grant.expired",
            Self::Revoked => "grant.revoked",
            Self::GivenUp => "grant.given-up",
            Self::NeedsRight { .. } => "right.missing",
            Self::WrongParent => "parent.wrong",
            Self::DepthSpent => "depth.spent",
            Self::DepthWidened { .. } => "depth.widened",
            Self::RightWidened { .. } => "right.widened",
            Self::OutlivesParent { .. } => "expiry.widened",
            Self::AgentWithoutEnd => "expiry.missing",
            Self::TargetUnknown => "target.unknown",
            Self::TargetVoid => "target.void",
            Self::NotAbove => "target.foreign",
        }
    }
}

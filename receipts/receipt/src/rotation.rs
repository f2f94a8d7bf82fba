//! The hand-over from one key to the next: the predicate `urn:tally:key-rotation:v1`.
//!
//! Signed by both: the old key says who follows it, the new one that it is held. It changes nobody's trust by itself;
//! whoever keeps a policy applies it there ([`Policy::apply_rotation`](crate::Policy::apply_rotation)).

use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

use crate::key::PublicKey;
use crate::text::Label;
use crate::time::Timestamp;

/// The content of a [`KeyRotationPredicate`], before its parts are checked against each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRotation {
    /// The key that ends. It must be among those that sign.
    pub from: PublicKey,
    /// The key that follows. It must be among those that sign.
    pub to: PublicKey,
    /// From when on.
    pub at: Timestamp,
    /// Why, for people.
    pub reason: Label,
}

/// Why the parts of a [`KeyRotation`] do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// Nothing would change.
    #[error("a key cannot follow itself")]
    SameKey,
}

/// The hand-over from one key to the next, whole and consistent. Reads as a [`KeyRotation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct KeyRotationPredicate(KeyRotation);

impl KeyRotationPredicate {
    /// The `predicateType`.
    pub const TYPE: &'static str = "urn:tally:key-rotation:v1";

    /// Checks the parts against each other.
    ///
    /// # Errors
    /// [`RotationError`].
    pub fn new(rotation: KeyRotation) -> Result<Self, RotationError> {
        if rotation.from == rotation.to {
            Err(RotationError::SameKey)
        } else {
            Ok(Self(rotation))
        }
    }
}

impl Deref for KeyRotationPredicate {
    type Target = KeyRotation;

    fn deref(&self) -> &KeyRotation {
        &self.0
    }
}

impl<'de> Deserialize<'de> for KeyRotationPredicate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(KeyRotation::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

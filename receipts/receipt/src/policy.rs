//! Whom and what a verifier trusts: a document that its owner writes, and the history of keys in it.
//!
//! ```json
//! {"format": "tally-policy-v1",
//!  "keys": [{"key": "HEX", "owner": "a name", "roles": ["inference", "run"],
//!            "validFrom": "2026-01-01T00:00:00.000Z", "validUntil": null,
//!            "revoked": {"at": "…", "reason": "compromised", "compromisedSince": "…"}}],
//!  "models": null,
//!  "components": [{"component": "HEX", "name": "a name"}]}
//! ```
//!
//! A key that is no longer used stays in the document, so what it signed while it was valid stays checkable. The time
//! in a receipt is its signer's word. That is enough while the key is only its owner's. Once a key is compromised,
//! whoever has it can write any time into a receipt, so an earlier one is believed only where the verifier knows from
//! elsewhere that it existed before ([`Context::known_since`](crate::Context::known_since)).
//!
//! Invariants: each key once; a key's period is not empty; `compromisedSince` is present exactly for the reason
//! `compromised`, and not after the revocation.

use serde::{Deserialize, Serialize};

use crate::bytes::{Digest, required_option};
use crate::key::PublicKey;
use crate::limits::{MAX_POLICY_BYTES, MAX_POLICY_ENTRIES};
use crate::statement::{Predicate, Receipt, from_json_objects};
use crate::text::Label;
use crate::time::Timestamp;

/// Whom and what a verifier trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    format: Format,
    keys: Vec<TrustedKey>,
    #[serde(deserialize_with = "required_option")]
    models: Option<Vec<AllowedModel>>,
    #[serde(deserialize_with = "required_option")]
    components: Option<Vec<AllowedComponent>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "tally-policy-v1")]
    V1,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowedModel {
    weights: Digest,
    name: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowedComponent {
    component: Digest,
    name: Label,
}

/// A key, whose it is, for what and from when to when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// Whose it is, for people.
    pub owner: Label,
    /// What it may sign.
    pub roles: Vec<Role>,
    /// From when on its receipts count.
    pub valid_from: Timestamp,
    /// Until when, exclusive. None: until further notice.
    #[serde(deserialize_with = "required_option")]
    pub valid_until: Option<Timestamp>,
    /// That it was taken back.
    #[serde(deserialize_with = "required_option")]
    pub revoked: Option<Revocation>,
}

/// What a key may sign. A rotation may be signed by a key of either role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Inference receipts.
    Inference,
    /// Run receipts.
    Run,
}

/// That a key was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revocation {
    /// From when on its receipts do not count.
    pub at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
    /// From when on somebody else may have had the key. Present exactly for the reason `compromised`.
    #[serde(deserialize_with = "required_option")]
    pub compromised_since: Option<Timestamp>,
}

/// Why a key was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationReason {
    /// No longer used.
    Retired,
    /// Another key follows.
    Replaced,
    /// Somebody else may have it.
    Compromised,
}

/// Why a document is not a policy. Its owner must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Too many bytes.
    #[error("a policy has at most {MAX_POLICY_BYTES} bytes, not {found}")]
    TooLarge {
        /// How many there are.
        found: usize,
    },
    /// Not of the form.
    #[error("the file is not a tally-policy-v1 document: {why}")]
    Form {
        /// The JSON reader's words.
        why: Label,
    },
    /// Too many keys, models or components.
    #[error("a policy has at most {MAX_POLICY_ENTRIES} keys, models or components, not {found}")]
    TooManyEntries {
        /// How many there are.
        found: usize,
    },
    /// A key twice.
    #[error("the key {0} is listed twice; give its whole period in one entry")]
    KeyTwice(PublicKey),
    /// For nothing, or for one thing twice.
    #[error("the key {0} needs one or more roles, each once")]
    Roles(PublicKey),
    /// A period that ends before it begins.
    #[error("the key {0} is valid until a time that is not after validFrom")]
    EmptyPeriod(PublicKey),
    /// A revocation that contradicts itself.
    #[error(
        "the key {0} needs compromisedSince exactly when its reason is compromised, and not after the revocation"
    )]
    Revocation(PublicKey),
}

/// Why a rotation was not applied. The policy is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RotationRefused {
    /// Another kind of receipt.
    #[error("the receipt is not a key rotation")]
    NotARotation,
    /// Both keys must sign.
    #[error("the rotation is not signed by both the old and the new key")]
    NotSigned,
    /// The old key means nothing to this policy.
    #[error("the key {0} that hands over is not in the policy")]
    UnknownKey(PublicKey),
    /// The old key could not hand over any more, or not yet.
    #[error("the key {0} that hands over was not valid at the time of the rotation, or is revoked")]
    NotValid(PublicKey),
    /// The new key has a history already.
    #[error("the key {0} that follows is in the policy already")]
    KnownSuccessor(PublicKey),
}

/// What a policy says about a key at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing<'a> {
    Trusted(&'a TrustedKey),
    Unknown,
    WrongRole(&'a TrustedKey),
    TooEarly(&'a TrustedKey),
    TooLate(&'a TrustedKey),
    Revoked(&'a TrustedKey),
    /// Issued when somebody else may have had the key.
    Compromised(&'a TrustedKey),
    /// Said to be issued before somebody else had the key; nothing but the receipt says so.
    PerhapsBackdated(&'a TrustedKey),
}

impl Policy {
    /// A policy that trusts `keys`, and restricts neither models nor components.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn new(keys: Vec<TrustedKey>) -> Result<Self, PolicyError> {
        Self {
            format: Format::V1,
            keys,
            models: None,
            components: None,
        }
        .checked()
    }

    /// Reads a policy document.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLarge { found: bytes.len() });
        }
        let policy: Self = from_json_objects(bytes).map_err(|error| PolicyError::Form {
            why: Label::lossy(&error.to_string()),
        })?;
        policy.checked()
    }

    /// The document.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("texts and lists are JSON")
    }

    /// Allows this model too; before the first one all are allowed.
    #[must_use]
    pub fn allow_model(mut self, weights: Digest, name: Label) -> Self {
        self.models
            .get_or_insert_default()
            .push(AllowedModel { weights, name });
        self
    }

    /// Allows this component too; before the first one all are allowed.
    #[must_use]
    pub fn allow_component(mut self, component: Digest, name: Label) -> Self {
        self.components
            .get_or_insert_default()
            .push(AllowedComponent { component, name });
        self
    }

    /// The keys and their history.
    pub fn keys(&self) -> &[TrustedKey] {
        &self.keys
    }

    /// Takes a hand-over into the history: the old key ends, the new one begins, with the same owner and roles.
    ///
    /// This is the policy owner's decision, never a verifier's: whoever stole the old key could hand over as well.
    ///
    /// # Errors
    /// [`RotationRefused`].
    pub fn apply_rotation(&mut self, receipt: &Receipt) -> Result<(), RotationRefused> {
        let Predicate::KeyRotation(rotation) = receipt.predicate() else {
            return Err(RotationRefused::NotARotation);
        };
        let message = crate::envelope::pre_authentication_encoding(receipt.envelope().payload());
        let signed = |key: PublicKey| {
            receipt
                .envelope()
                .signatures()
                .iter()
                .any(|one| one.key == key && key.verify(&message, &one.signature))
        };
        if !signed(rotation.from) || !signed(rotation.to) {
            return Err(RotationRefused::NotSigned);
        }
        if self.find(rotation.to).is_some() {
            return Err(RotationRefused::KnownSuccessor(rotation.to));
        }
        let old = self
            .keys
            .iter_mut()
            .find(|trusted| trusted.key == rotation.from)
            .ok_or(RotationRefused::UnknownKey(rotation.from))?;
        let valid =
            rotation.at > old.valid_from && old.valid_until.is_none_or(|until| rotation.at < until);
        if !valid || old.revoked.is_some() {
            return Err(RotationRefused::NotValid(rotation.from));
        }
        let new = TrustedKey {
            key: rotation.to,
            valid_from: rotation.at,
            ..old.clone()
        };
        old.valid_until = Some(rotation.at);
        self.keys.push(new);
        Ok(())
    }

    pub(crate) fn standing(
        &self,
        key: PublicKey,
        role: Option<Role>,
        issued_at: Timestamp,
        known_since: Option<Timestamp>,
    ) -> Standing<'_> {
        let Some(trusted) = self.find(key) else {
            return Standing::Unknown;
        };
        if role.is_some_and(|role| !trusted.roles.contains(&role)) {
            return Standing::WrongRole(trusted);
        }
        if issued_at < trusted.valid_from {
            return Standing::TooEarly(trusted);
        }
        if let Some(Revocation {
            compromised_since: Some(since),
            ..
        }) = trusted.revoked
        {
            if issued_at >= since {
                return Standing::Compromised(trusted);
            }
            if known_since.is_none_or(|known| known >= since) {
                return Standing::PerhapsBackdated(trusted);
            }
        }
        if trusted.valid_until.is_some_and(|until| issued_at >= until) {
            return Standing::TooLate(trusted);
        }
        if trusted
            .revoked
            .is_some_and(|revoked| issued_at >= revoked.at)
        {
            return Standing::Revoked(trusted);
        }
        Standing::Trusted(trusted)
    }

    /// The name of a model that is allowed; `Err` when it is not, `Ok(None)` when all are.
    pub(crate) fn model(&self, weights: Digest) -> Result<Option<&Label>, ()> {
        match &self.models {
            None => Ok(None),
            Some(models) => models
                .iter()
                .find(|model| model.weights == weights)
                .map(|model| Some(&model.name))
                .ok_or(()),
        }
    }

    /// As [`Policy::model`], for a component.
    pub(crate) fn component(&self, component: Digest) -> Result<Option<&Label>, ()> {
        match &self.components {
            None => Ok(None),
            Some(all) => all
                .iter()
                .find(|allowed| allowed.component == component)
                .map(|allowed| Some(&allowed.name))
                .ok_or(()),
        }
    }

    fn find(&self, key: PublicKey) -> Option<&TrustedKey> {
        self.keys.iter().find(|trusted| trusted.key == key)
    }

    fn checked(self) -> Result<Self, PolicyError> {
        let counts = [
            self.keys.len(),
            self.models.as_ref().map_or(0, Vec::len),
            self.components.as_ref().map_or(0, Vec::len),
        ];
        if let Some(found) = counts.into_iter().find(|count| *count > MAX_POLICY_ENTRIES) {
            return Err(PolicyError::TooManyEntries { found });
        }
        let mut seen = std::collections::HashSet::with_capacity(self.keys.len());
        for trusted in &self.keys {
            let key = trusted.key;
            if !seen.insert(key) {
                return Err(PolicyError::KeyTwice(key));
            }
            let twice = trusted
                .roles
                .iter()
                .enumerate()
                .any(|(index, role)| trusted.roles[..index].contains(role));
            if trusted.roles.is_empty() || twice {
                return Err(PolicyError::Roles(key));
            }
            if trusted
                .valid_until
                .is_some_and(|until| until <= trusted.valid_from)
            {
                return Err(PolicyError::EmptyPeriod(key));
            }
            if let Some(Revocation {
                at,
                reason,
                compromised_since,
            }) = trusted.revoked
            {
                let compromised = reason == RevocationReason::Compromised;
                if compromised != compromised_since.is_some()
                    || compromised_since.is_some_and(|since| since > at)
                {
                    return Err(PolicyError::Revocation(key));
                }
            }
        }
        Ok(self)
    }
}

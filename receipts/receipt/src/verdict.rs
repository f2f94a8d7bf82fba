//! What a verification found: named checks, each with a status, and what the method does not prove.
//!
//! A verdict is *verified* only when nothing failed and every check that the method needs passed. A check that could
//! not be made is *not established*, which is never counted as a pass. Evidence of a simulation gives a
//! [`SimulatedVerdict`], which is another type and is never verified.

use std::borrow::Cow;
use std::fmt;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::statement::Receipt;
use crate::verify::{Context, Verifier};

/// The codes of the checks that the `signature` method makes. Codes are stable; sentences are not.
pub mod code {
    /// The file is a receipt in its one spelling.
    pub const FORMAT: &str = "format";
    /// Every signature in it holds.
    pub const SIGNATURE: &str = "signature";
    /// The signers that the statement names have signed.
    pub const SIGNER_NAMED: &str = "signer-named";
    /// The policy trusts the signer for this, at that time.
    pub const SIGNER_TRUSTED: &str = "signer-trusted";
    /// It was not issued in the future.
    pub const TIME: &str = "time";
    /// The model is the expected one, or one that the policy allows.
    pub const MODEL: &str = "model";
    /// The agent's component is the expected one, or one that the policy allows.
    pub const COMPONENT: &str = "component";
    /// The nonce is the one that the client sent.
    pub const NONCE: &str = "nonce";
    /// The nonce was not seen before.
    pub const REPLAY: &str = "replay";
    /// A value is what the receipt commits to. Followed by a space and the field's path.
    pub const OPENING: &str = "opening";
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// It was not possible to say.
    NotEstablished,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its stable name, for a program.
    pub code: Cow<'static, str>,
    /// How it came out.
    pub status: Status,
    /// When it did not pass: why, as a stable name.
    pub reason: Option<Cow<'static, str>>,
    /// The same for a person.
    pub sentence: Cow<'static, str>,
}

impl Check {
    /// A check that holds.
    pub fn pass(
        code: impl Into<Cow<'static, str>>,
        sentence: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code: code.into(),
            status: Status::Pass,
            reason: None,
            sentence: sentence.into(),
        }
    }

    /// A check that does not hold.
    pub fn fail(
        code: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
        sentence: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code: code.into(),
            status: Status::Fail,
            reason: Some(reason.into()),
            sentence: sentence.into(),
        }
    }

    /// A check that could not be made.
    pub fn not_established(
        code: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
        sentence: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code: code.into(),
            status: Status::NotEstablished,
            reason: Some(reason.into()),
            sentence: sentence.into(),
        }
    }
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a verdict that nobody reads verifies nothing"]
pub struct Verdict {
    method: &'static str,
    needed: &'static [&'static str],
    checks: Vec<Check>,
    not_proved: Vec<Cow<'static, str>>,
}

impl Verdict {
    /// Puts a verdict together. `needed` are the codes of the checks that must be there and pass.
    pub fn new(
        method: &'static str,
        needed: &'static [&'static str],
        checks: Vec<Check>,
        not_proved: Vec<Cow<'static, str>>,
    ) -> Self {
        Self {
            method,
            needed,
            checks,
            not_proved,
        }
    }

    /// The method's name.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// Each check, in the order in which they were made.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// What this method does not prove, in sentences that complete "it is not proved".
    pub fn not_proved(&self) -> &[Cow<'static, str>] {
        &self.not_proved
    }

    /// How one check came out. None when it was not made. Where a code occurs twice, the worst counts.
    pub fn status_of(&self, code: &str) -> Option<Status> {
        let statuses = || {
            self.checks
                .iter()
                .filter(|check| check.code == code)
                .map(|check| check.status)
        };
        [Status::Fail, Status::NotEstablished, Status::Pass]
            .into_iter()
            .find(|status| statuses().any(|found| found == *status))
    }

    /// Whether nothing failed and everything that the method needs passed.
    pub fn is_verified(&self) -> bool {
        !self.has_failed() && self.missing().is_empty()
    }

    /// Whether something failed: the receipt contradicts itself, its signature or the policy.
    pub fn has_failed(&self) -> bool {
        self.checks.iter().any(|check| check.status == Status::Fail)
    }

    /// The codes of needed checks that did not pass.
    pub fn missing(&self) -> Vec<&'static str> {
        self.needed
            .iter()
            .copied()
            .filter(|code| self.status_of(code) != Some(Status::Pass))
            .collect()
    }

    fn serialize<S: Serializer>(&self, serializer: S, simulated: bool) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Verdict", 6)?;
        fields.serialize_field("method", self.method)?;
        fields.serialize_field("verified", &(self.is_verified() && !simulated))?;
        fields.serialize_field("simulated", &simulated)?;
        fields.serialize_field("checks", &self.checks)?;
        fields.serialize_field("missing", &self.missing())?;
        fields.serialize_field("notProved", &self.not_proved)?;
        fields.end()
    }

    fn write(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let mark = match check.status {
                Status::Pass => "pass",
                Status::Fail => "FAIL",
                Status::NotEstablished => "not established",
            };
            writeln!(formatter, "{mark:>15}  {}: {}", check.code, check.sentence)?;
        }
        for sentence in &self.not_proved {
            writeln!(formatter, "{:>15}  {sentence}", "not proved")?;
        }
        Ok(())
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer, false)
    }
}

/// One line for each check, then one for each thing not proved.
impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(formatter)
    }
}

/// Evidence that was made up, for tests and rehearsals. It is not what a [`Verifier`] takes for evidence, and
/// [`verify`](Self::verify) gives a [`SimulatedVerdict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulated<E>(pub E);

impl<E> Simulated<E> {
    /// What this verifier would find if the evidence were real.
    pub fn verify(
        &self,
        verifier: &impl Verifier<Evidence = E>,
        receipt: &Receipt,
        context: &Context<'_>,
    ) -> SimulatedVerdict {
        SimulatedVerdict(verifier.verify(receipt, &self.0, context))
    }
}

/// What a verification of [`Simulated`] evidence found. It cannot be turned into a [`Verdict`]:
///
/// ```compile_fail
/// # fn real(verdict: tally_receipt::SimulatedVerdict) {
/// let verdict: tally_receipt::Verdict = verdict.into();
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a verdict that nobody reads verifies nothing"]
pub struct SimulatedVerdict(Verdict);

impl SimulatedVerdict {
    /// Each check, in the order in which they were made.
    pub fn checks(&self) -> &[Check] {
        self.0.checks()
    }

    /// Whether it would be verified if the evidence were real.
    pub fn would_be_verified(&self) -> bool {
        self.0.is_verified()
    }
}

impl Serialize for SimulatedVerdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer, true)
    }
}

impl fmt::Display for SimulatedVerdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:>15}  the evidence is made up; this proves nothing",
            "SIMULATED"
        )?;
        self.0.write(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(checks: Vec<Check>) -> Verdict {
        Verdict::new("test", &["a"], checks, vec![])
    }

    #[test]
    fn verified_needs_every_needed_check_and_no_failure() {
        assert!(verdict(vec![Check::pass("a", "")]).is_verified());
        assert!(
            verdict(vec![
                Check::pass("a", ""),
                Check::not_established("b", "r", "")
            ])
            .is_verified()
        );
        assert!(!verdict(vec![]).is_verified());
        assert!(!verdict(vec![Check::not_established("a", "r", "")]).is_verified());
        assert!(!verdict(vec![Check::pass("a", ""), Check::fail("b", "r", "")]).is_verified());
        assert!(!verdict(vec![Check::pass("a", ""), Check::fail("a", "r", "")]).is_verified());
    }

    #[test]
    fn a_simulated_verdict_says_so_and_is_never_verified() {
        let simulated = SimulatedVerdict(verdict(vec![Check::pass("a", "")]));
        let json = serde_json::to_value(&simulated).unwrap();
        assert_eq!(
            (&json["verified"], &json["simulated"]),
            (&false.into(), &true.into())
        );
        assert!(simulated.to_string().contains("SIMULATED"));
    }
}

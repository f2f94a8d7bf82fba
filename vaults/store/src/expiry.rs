//! Closing grants that have ended (`docs/vault.md`, Expiry).
//!
//! An end alone closes nothing, because time is what an author writes. So whoever opens a vault for writing revokes, with the
//! frontier that is here, each grant below its own whose end has passed by its clock, and gives new keys to what the
//! subject could read.
//!
//! A grant is left to the device that gave it for [`PATIENCE_MILLIS`], if that device is still admitted: the others would all
//! sign with the key of the passphrase, and two that do so apart fork its log.

use tally_vault_format::{GrantId, MemberKind, Time};

use crate::error::WriteError;
use crate::members::Revoked;
use crate::vault::Vault;
use crate::write::Writer;

/// How long after its end a grant is left to the device that gave it: 7 days.
const PATIENCE_MILLIS: u64 = 7 * 24 * 60 * 60 * 1_000;

impl Vault {
    /// The grants that were closed when this vault was opened, because they had ended, and the namespaces that have new keys
    /// since.
    #[must_use]
    pub const fn closed_when_opened(&self) -> &Revoked {
        &self.closed
    }

    /// Closes every grant that has ended, that nobody revoked yet, and that someone here stands above. Opening for writing
    /// does this by itself.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn close_ended(&mut self) -> Result<Revoked, WriteError> {
        let now = self.now();
        let mut by_writer: Vec<(Writer, Vec<GrantId>)> = Vec::new();
        for grant in self.fold.view().ended_and_open(now) {
            let writer = match self.writer_above(&grant) {
                Ok(writer) => writer,
                Err(WriteError::NotBelow(_) | WriteError::Locked) => continue,
                Err(error) => return Err(error),
            };
            if writer.identity.card().kind() == MemberKind::Slot && self.is_left(&grant, now) {
                continue;
            }
            match by_writer
                .iter_mut()
                .find(|(known, _)| known.grant == writer.grant)
            {
                Some((_, grants)) => grants.push(grant),
                None => by_writer.push((writer, vec![grant])),
            }
        }
        let mut closed = Revoked::default();
        for (_, grants) in &by_writer {
            closed.grants.extend(grants);
        }
        let subjects = self.subjects_of(&closed.grants)?;
        let to_rotate = self.readable_by(&subjects);
        for (writer, grants) in &by_writer {
            self.write_revocations(writer, grants)?;
        }
        (closed.rotated, closed.not_rotated) = self.rotate_each(to_rotate)?;
        Ok(closed)
    }

    /// Whether a grant that ended is left to the one who gave it.
    fn is_left(&mut self, grant: &GrantId, now: Time) -> bool {
        let Some(row) = self.valid_grant(grant) else {
            return false;
        };
        let giver = row.parent.and_then(|parent| self.valid_grant(&parent));
        let is_patient = row
            .expires
            .is_some_and(|end| now.millis() < end.millis().saturating_add(PATIENCE_MILLIS));
        is_patient && giver.is_some_and(|giver| giver.expires.is_none_or(|end| now <= end))
    }
}

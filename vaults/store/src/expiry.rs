//! Closing grants that have ended (`docs/vault.md`, Expiry).
//!
//! An end alone closes nothing, because time is what an author writes. So whoever opens a vault for writing revokes, with the
//! frontier that is here, each grant below its own whose end has passed by its clock, and gives new keys to what the
//! subject could read.
//!
//! Whoever was stopped between a revocation and the new keys has left keys that somebody who was removed may know. They
//! are named (`key.spoiled`), and the next device of an admin that opens the vault for writing gives new ones.
//!
//! A grant is left to the device that gave it for [`PATIENCE_MILLIS`], if that device is still admitted: the others would all
//! sign with the key of the passphrase, and two that do so apart fork its log.

use tally_vault_format::{GrantId, MemberKind, NamespaceId, Right, Time};

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

    /// Closes every grant that has ended, that nobody revoked yet, and that someone here stands above, and gives new keys to
    /// namespaces whose keys are spoiled and which a device here administers. Opening for writing does this by itself.
    ///
    /// # Errors
    /// [`WriteError`].
    pub(crate) fn close_ended(&mut self) -> Result<Revoked, WriteError> {
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
        let mut to_rotate = self.readable_by(&subjects);
        for (writer, grants) in &by_writer {
            self.write_revocations(writer, grants)?;
        }
        for namespace in self.spoiled() {
            if !to_rotate.contains(&namespace) && self.device_rotates(&namespace) {
                to_rotate.push(namespace);
            }
        }
        (closed.rotated, closed.not_rotated) = self.rotate_each(to_rotate)?;
        Ok(closed)
    }

    /// The namespaces all of whose keys may be known to somebody who was removed.
    fn spoiled(&mut self) -> Vec<NamespaceId> {
        let mut namespaces = self.fold.view().namespaces();
        namespaces.retain(|namespace| self.namespace_keys(namespace).is_spoiled());
        namespaces
    }

    /// Whether a key of this computer alone, and not that of the passphrase, would sign a rotation.
    fn device_rotates(&mut self, namespace: &NamespaceId) -> bool {
        self.writer(namespace, Right::Admin)
            .is_ok_and(|writer| writer.identity.card().kind() != MemberKind::Slot)
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

//! Who is in a vault: making one, enrolling devices, sharing, revoking, keys, and coming back with the recovery phrase.
//!
//! The tree of grants: the root admits the passphrase slot, the slot admits devices, devices admit agents. So whoever has
//! the passphrase can revoke any device or agent from any computer, and whoever has the recovery phrase can revoke the
//! slot. The slot signs only when a device comes or goes: two computers that use it apart would fork its log.

use std::path::Path;
use std::sync::Arc;

use tally_vault_format::{
    Card, Content, EpochKey, Genesis, Grant, GrantId, Identity, Keyring, MemberId, MemberKind,
    NamespaceId, OpKind, ReceiveKey, Revocation, Right, Rotation, Seed, Slot, SlotCost, Time,
    check_namespace_name, to_phrase,
};
use tally_vault_state::GrantStanding;
use zeroize::Zeroizing;

use crate::durable;
use crate::environment::{Environment, Rng};
use crate::error::{CreateError, FileError, OpenError, WriteError};
use crate::fs::EntryKind;
use crate::layout::{FOLDERS, GENESIS, KEYS, LOCK, Layout, SLOTS, TEMPORARY};
use crate::local::Local;
use crate::set::list;
use crate::vault::{Holder, Place, Vault, take_lock};
use crate::write::{Draft, Writer};

/// How long an agent's grant lasts unless it is said: 30 days.
const AGENT_GRANT_MILLIS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// Grants below the slot: devices, what they admit, and what those admit, with room to spare.
const SLOT_DEPTH: u8 = 254;

/// What a new vault is to be.
pub struct Create<'a> {
    /// The owner's passphrase.
    pub passphrase: &'a str,
    /// What a guess at it is to cost.
    pub cost: SlotCost,
    /// The names of its first namespaces.
    pub namespaces: &'a [&'a str],
}

/// A vault that was made.
pub struct Created {
    /// The vault, open for writing.
    pub vault: Vault,
    /// The recovery phrase, which is kept nowhere else.
    pub phrase: Zeroizing<String>,
}

/// What a member is to be given.
#[derive(Clone, Debug)]
pub struct Share {
    /// Who: an agent, a device, a relay.
    pub card: Card,
    /// What it may do where. [`NamespaceId::ALL`] stands for every namespace and stands alone.
    pub rights: Vec<(NamespaceId, Right)>,
    /// The end of it; none: 30 days for an agent, never for others.
    pub expires: Option<Time>,
    /// How many grants may follow below it.
    pub depth: u8,
}

/// What a revocation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// The grants that were revoked: the one that was named, and those below it that were not kept.
    pub grants: Vec<GrantId>,
    /// Grants below it that still stand.
    pub kept: Vec<GrantId>,
    /// The namespaces that have a new key.
    pub rotated: Vec<NamespaceId>,
    /// Namespaces that the member could read and whose key nobody here may change: an admin has to.
    pub not_rotated: Vec<NamespaceId>,
}

impl Revoked {
    /// What revoking cannot do, in a sentence.
    pub const CAVEAT: &'static str = "what the member could read until now it may have kept, and the keys it had open every copy that was made until now; from now on it gets no new key, and nothing it writes counts";
}

impl Vault {
    /// Makes a vault in a folder that is empty or not there, with this computer as its first device.
    ///
    /// The root's seed lives as long as this call and in the phrase that it returns.
    ///
    /// # Errors
    /// [`CreateError`]. A folder where that failed is no vault: `VAULT` is written last.
    pub fn create(
        environment: Environment,
        place: &Place,
        create: &Create<'_>,
    ) -> Result<Created, CreateError> {
        let layout = Layout::new(&place.folder);
        for (index, name) in create.namespaces.iter().enumerate() {
            check_namespace_name(name)?;
            if create.namespaces[..index].contains(name) {
                return Err(CreateError::NameTwice((*name).to_owned()));
            }
        }
        refuse_what_is_there(&environment, &layout)?;
        for folder in
            std::iter::once(layout.root().to_owned()).chain(FOLDERS.map(|name| layout.folder(name)))
        {
            environment
                .fs
                .create_dir(&folder)
                .map_err(FileError::at(&folder))?;
        }
        let lock = take_lock(&environment, &layout).map_err(|error| match error {
            OpenError::File(error) => CreateError::File(error),
            _ => CreateError::NotEmpty {
                folder: layout.root().to_owned(),
                found: LOCK.to_owned(),
            },
        })?;

        let mut rng = Rng::new(&environment).map_err(CreateError::Random)?;
        let root = Identity::new(MemberKind::Root, Seed::random(&mut rng));
        let slot = Identity::new(MemberKind::Slot, Seed::random(&mut rng));
        let device = Identity::new(MemberKind::Device, Seed::random(&mut rng));
        let now = Time::from_millis(environment.clock.now_ms());
        let genesis = Genesis::new(&root, now, &mut rng);
        let id = genesis.vault_id();
        let sealed = Slot::seal(id, &slot, create.passphrase, create.cost, &mut rng)?;
        let phrase = to_phrase(root.seed());
        let local = Local::new(&place.local);

        let mut vault = Self::begin(environment, place, genesis, Some(lock));
        vault.holder = Holder {
            device: None,
            member: None,
            slot: Some(Arc::new(slot)),
            root: Some(Arc::new(root)),
        };
        let slot = vault.holder.slot.clone().expect("set above");
        let write = |error: WriteError| match error {
            WriteError::File(error) => CreateError::File(error),
            WriteError::Random(error) => CreateError::Random(error),
            other => CreateError::File(FileError {
                path: place.folder.clone(),
                source: std::io::Error::other(other.to_string()),
            }),
        };
        durable::write(
            &vault.environment,
            &vault.layout.folder(TEMPORARY),
            &vault.layout.folder(SLOTS),
            &sealed.file_name(),
            sealed.encode(),
        )
        .map_err(FileError::at(&vault.layout.folder(SLOTS)))?;
        local
            .set_device(&vault.environment, &id, &device, &slot)
            .map_err(FileError::at(&place.local))?;

        // The root admits the slot and makes the namespaces; the slot admits the device.
        let as_root = Writer {
            identity: vault.holder.root.clone().expect("set above"),
            grant: GrantId::ROOT,
        };
        let mut drafts = vec![grant_draft(
            GrantId::ROOT,
            *slot.card(),
            SLOT_DEPTH,
            None,
            &[(NamespaceId::ALL, Right::Admin)],
        )];
        let cards = [*slot.card(), *device.card()];
        for name in create.namespaces {
            let namespace = NamespaceId(rng.bytes());
            let (rotation, ring) = vault
                .new_key(&namespace, name, 1, false, &cards, &mut rng)
                .map_err(write)?;
            vault.write_ring(ring).map_err(write)?;
            drafts.push(rotation);
        }
        vault.sync_rings().map_err(write)?;
        let ids = vault
            .write(&as_root, &NamespaceId::CONTROL, drafts, &mut rng)
            .map_err(write)?;
        let as_slot = Writer {
            identity: slot.clone(),
            grant: ids[0].grant(),
        };
        let grant = grant_draft(
            as_slot.grant,
            *device.card(),
            SLOT_DEPTH - 1,
            None,
            &[(NamespaceId::ALL, Right::Admin)],
        );
        vault
            .write(&as_slot, &NamespaceId::CONTROL, vec![grant], &mut rng)
            .map_err(write)?;
        // Both are done writing for now.
        for member in [as_root.identity.member(), slot.member()] {
            vault.close_tail(&member).map_err(write)?;
        }
        durable::write(
            &vault.environment,
            &vault.layout.folder(TEMPORARY),
            vault.layout.root(),
            GENESIS,
            vault.genesis.encode(),
        )
        .map_err(FileError::at(vault.layout.root()))?;
        local
            .remember(&vault.environment, &place.folder, &vault.genesis)
            .map_err(FileError::at(&place.local))?;
        vault.authors.remove(&as_root.identity.member());
        vault.holder.root = None;
        vault.holder.device = Some(Arc::new(device));
        vault.open_keyrings();
        Ok(Created { vault, phrase })
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn create_namespace(&mut self, name: &str) -> Result<NamespaceId, WriteError> {
        check_namespace_name(name)?;
        self.enrol_if_new()?;
        if self
            .namespaces()
            .iter()
            .any(|namespace| namespace.name.as_deref() == Some(name))
        {
            return Err(WriteError::NameTaken(name.to_owned()));
        }
        let writer = self.writer(&NamespaceId::ALL, Right::Admin)?;
        let mut rng = Rng::new(&self.environment).map_err(WriteError::Random)?;
        let namespace = NamespaceId(rng.bytes());
        let readers = self.fold.view().readers(&namespace);
        let (rotation, ring) = self.new_key(&namespace, name, 1, false, &readers, &mut rng)?;
        self.write_ring(ring)?;
        self.sync_rings()?;
        self.write(&writer, &NamespaceId::CONTROL, vec![rotation], &mut rng)?;
        self.open_keyrings();
        Ok(namespace)
    }

    /// Admits this computer as a device, if the vault was opened with a passphrase and the computer is new to it.
    /// Writing does this by itself.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn enrol_if_new(&mut self) -> Result<(), WriteError> {
        if self.lock.is_none() {
            return Err(WriteError::ReadOnly);
        }
        let Some(slot) = self.holder.slot.clone() else {
            return Ok(());
        };
        let mut fresh = None;
        if let Some(device) = self.holder.device.clone() {
            let card = *device.card();
            let is_admitted = self
                .fold
                .view()
                .grants()
                .iter()
                .any(|grant| grant.card == card);
            if is_admitted && !self.is_set_back(&device.member()) {
                return Ok(());
            }
            // Admitted nowhere: enrolling was interrupted, so it goes on. Set back and accepted: a new key, so that nothing is sealed twice.
            if !is_admitted {
                fresh = Some(device);
            } else if !self.set_back.contains(&device.member()) {
                // Not accepted: writing says so.
                return Ok(());
            }
        }
        let mut rng = Rng::new(&self.environment).map_err(WriteError::Random)?;
        let device = match fresh {
            Some(device) => device,
            None => {
                let device = Identity::new(MemberKind::Device, Seed::random(&mut rng));
                // Kept before it is admitted: the other way round a crash would leave a device that nobody has the key of.
                self.local
                    .set_device(&self.environment, &self.id, &device, &slot)
                    .map_err(FileError::at(&self.place.local))?;
                Arc::new(device)
            }
        };
        let now = self.now();
        let grant = self
            .fold
            .view()
            .grant_to_use(&slot.member(), &NamespaceId::ALL, Right::Admin, now)
            .ok_or(WriteError::NotPermitted {
                member: slot.member(),
                needs: Right::Admin,
                namespace: NamespaceId::ALL,
            })?;
        let writer = Writer {
            identity: slot,
            grant,
        };
        let rights = vec![(NamespaceId::ALL, Right::Admin)];
        self.admit(
            &writer,
            *device.card(),
            SLOT_DEPTH - 1,
            None,
            rights,
            &mut rng,
        )?;
        self.close_tail(&writer.identity.member())?;
        self.holder.device = Some(device);
        Ok(())
    }

    /// Whether this device has seen newer seals of a member than are here.
    fn is_set_back(&self, member: &MemberId) -> bool {
        let newest = self
            .set
            .chains
            .get(member)
            .and_then(|chain| chain.last_key_value())
            .map_or(0, |(counter, _)| *counter);
        self.set_back.contains(member)
            || self
                .seen
                .get(member)
                .is_some_and(|seen| seen.counter > newest)
    }

    /// Admits a member and delivers the keys of what it may read. Returns the grant.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn share(&mut self, share: &Share) -> Result<GrantId, WriteError> {
        self.enrol_if_new()?;
        let mut rights = share.rights.clone();
        rights.sort_unstable();
        let expires = match share.expires {
            Some(time) => Some(time),
            None if share.card.kind() == MemberKind::Agent => {
                let now = self.environment.clock.now_ms();
                Some(Time::from_millis(now.saturating_add(AGENT_GRANT_MILLIS)))
            }
            None => None,
        };
        let known = self.fold.view().namespaces();
        for (namespace, _) in &rights {
            if *namespace != NamespaceId::ALL && !known.contains(namespace) {
                return Err(WriteError::NoSuchNamespace(*namespace));
            }
        }
        // Keys are delivered by admins.
        let mut writer = None;
        for (namespace, right) in &rights {
            let needs = if *right >= Right::Read {
                Right::Admin
            } else {
                *right
            };
            let one = self.writer(namespace, needs)?;
            writer.get_or_insert(one);
        }
        let writer = writer.ok_or_else(|| WriteError::Wider("no rights were named".to_owned()))?;
        let mut rng = Rng::new(&self.environment).map_err(WriteError::Random)?;
        self.admit(&writer, share.card, share.depth, expires, rights, &mut rng)
    }

    /// Writes a grant, and with it the rotations that deliver the keys, in one frame.
    fn admit(
        &mut self,
        writer: &Writer,
        card: Card,
        depth: u8,
        expires: Option<Time>,
        rights: Vec<(NamespaceId, Right)>,
        rng: &mut Rng,
    ) -> Result<GrantId, WriteError> {
        let parent = self
            .valid_grant(&writer.grant)
            .ok_or(WriteError::NoSuchGrant(writer.grant))?;
        if parent.depth == 0 {
            return Err(WriteError::Wider("it allows no grants below it".to_owned()));
        }
        let depth = depth.min(parent.depth - 1);
        let expires = match (expires, parent.expires) {
            (None, end) => end,
            (Some(asked), Some(end)) if asked > end => {
                return Err(WriteError::Wider("it ends before that".to_owned()));
            }
            (asked, _) => asked,
        };
        let reads: Vec<NamespaceId> = self
            .fold
            .view()
            .namespaces()
            .into_iter()
            .filter(|namespace| {
                rights.iter().any(|(given, right)| {
                    (given == namespace || *given == NamespaceId::ALL) && *right >= Right::Read
                })
            })
            .collect();
        let mut drafts = vec![grant_draft(writer.grant, card, depth, expires, &rights)];
        for namespace in &reads {
            let (rotation, ring) = self.redelivery(writer, namespace, &[card], rng)?;
            self.write_ring(ring)?;
            drafts.push(rotation);
        }
        self.sync_rings()?;
        let ids = self.write(writer, &NamespaceId::CONTROL, drafts, rng)?;
        Ok(ids[0].grant())
    }

    /// Revokes a grant, and those below it but for `keep`, as far as their subjects' logs are known here; then changes the
    /// keys that their subjects had.
    ///
    /// What a member wrote up to what is known here still counts. What it granted stays granted if it is kept.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn revoke(&mut self, grant: &GrantId, keep: &[GrantId]) -> Result<Revoked, WriteError> {
        if self.lock.is_none() {
            return Err(WriteError::ReadOnly);
        }
        self.valid_grant(grant)
            .ok_or(WriteError::NoSuchGrant(*grant))?;
        if *grant == GrantId::ROOT {
            return Err(WriteError::NotBelow(*grant));
        }
        let writer = self.writer_above(grant)?;
        let below = self.fold.view().grants_below(grant);
        let mut ended = vec![*grant];
        ended.extend(below.iter().filter(|one| !keep.contains(one)));
        let subjects = self.subjects_of(&ended)?;
        // Asked before the revocation, which ends the rights.
        let to_rotate = self.readable_by(&subjects);
        self.write_revocations(&writer, &ended)?;
        let kept = below.into_iter().filter(|one| keep.contains(one)).collect();
        let (rotated, not_rotated) = self.rotate_each(to_rotate)?;
        Ok(Revoked {
            grants: ended,
            kept,
            rotated,
            not_rotated,
        })
    }

    /// Whom these grants are for.
    pub(crate) fn subjects_of(&mut self, grants: &[GrantId]) -> Result<Vec<MemberId>, WriteError> {
        let view = self.fold.view();
        grants
            .iter()
            .map(|id| {
                Ok(view
                    .grant(id)
                    .ok_or(WriteError::NoSuchGrant(*id))?
                    .card
                    .member())
            })
            .collect()
    }

    /// The namespaces that any of these may read, or could before its grant ended.
    pub(crate) fn readable_by(&mut self, members: &[MemberId]) -> Vec<NamespaceId> {
        let now = self.now();
        let view = self.fold.view();
        let mut namespaces = view.namespaces();
        namespaces.retain(|namespace| {
            members.iter().any(|member| {
                view.right(member, namespace, now)
                    .max(view.right(member, namespace, Time(0)))
                    >= Some(Right::Read)
            })
        });
        namespaces
    }

    /// Revokes grants in one frame, each as far as its subject's logs are known here.
    pub(crate) fn write_revocations(
        &mut self,
        writer: &Writer,
        grants: &[GrantId],
    ) -> Result<(), WriteError> {
        let subjects = self.subjects_of(grants)?;
        let view = self.fold.view();
        let drafts = grants.iter().zip(&subjects).map(|(grant, subject)| {
            let revocation = Revocation {
                frontier: view.frontier(subject),
            };
            Draft::new(
                OpKind::Revoke,
                vec![grant.operation()],
                &Content::Revocation(revocation),
            )
        });
        let drafts = drafts.collect();
        let mut rng = Rng::new(&self.environment).map_err(WriteError::Random)?;
        self.write(writer, &NamespaceId::CONTROL, drafts, &mut rng)?;
        let is_gone = |identity: &mut Arc<Identity>| subjects.contains(&identity.member());
        self.holder.device.take_if(is_gone);
        self.holder.member.take_if(is_gone);
        Ok(())
    }

    /// Gives namespaces new keys. Returns those that have them, and those of which nobody here is an admin.
    pub(crate) fn rotate_each(
        &mut self,
        namespaces: Vec<NamespaceId>,
    ) -> Result<(Vec<NamespaceId>, Vec<NamespaceId>), WriteError> {
        let (mut rotated, mut not_rotated) = (Vec::new(), Vec::new());
        for namespace in namespaces {
            match self.rotate(&namespace) {
                Ok(()) => rotated.push(namespace),
                Err(
                    WriteError::NotPermitted { .. }
                    | WriteError::Locked
                    | WriteError::NoSuchNamespace(_),
                ) => {
                    not_rotated.push(namespace);
                }
                Err(error) => return Err(error),
            }
        }
        Ok((rotated, not_rotated))
    }

    /// Who of those here stands above a grant, or is its subject, and under which grant.
    pub(crate) fn writer_above(&mut self, grant: &GrantId) -> Result<Writer, WriteError> {
        let holders = self.holder.all();
        if holders.is_empty() {
            return Err(WriteError::Locked);
        }
        let now = self.now();
        let mut above = Some(*grant);
        let mut path = Vec::new();
        while let Some(at) = above {
            path.push(at);
            above = self.fold.view().grant(&at).and_then(|row| row.parent);
        }
        for identity in holders {
            for at in &path {
                let Some(row) = self.valid_grant(at) else {
                    continue;
                };
                let ended = row.expires.is_some_and(|end| end < now);
                // One's own grant last: giving it up leaves nobody here who could rotate.
                let own = at == grant;
                if row.card == *identity.card()
                    && !ended
                    && (!own || path.len() == 1 || self.holder.all().len() == 1)
                {
                    return Ok(Writer {
                        identity,
                        grant: *at,
                    });
                }
            }
        }
        Err(WriteError::NotBelow(*grant))
    }

    /// Gives a namespace a new key, for those who may read it now. What was written before stays readable to them.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn rotate(&mut self, namespace: &NamespaceId) -> Result<(), WriteError> {
        let mut rng = Rng::new(&self.environment).map_err(WriteError::Random)?;
        self.rotate_with(namespace, false, &mut rng)
    }

    pub(crate) fn rotate_with(
        &mut self,
        namespace: &NamespaceId,
        full: bool,
        rng: &mut Rng,
    ) -> Result<(), WriteError> {
        let keys = self.namespace_keys(namespace);
        if keys.keys.is_empty() {
            return Err(WriteError::NoSuchNamespace(*namespace));
        }
        let number = keys.next_number.ok_or(WriteError::EndOfTime)?;
        let needs_all = number == 1;
        let place = if needs_all {
            NamespaceId::ALL
        } else {
            *namespace
        };
        let writer = self.writer(&place, Right::Admin)?;
        let name = self
            .keys
            .name_of(namespace)
            .ok_or(WriteError::NoSuchNamespace(*namespace))?
            .to_owned();
        let readers = self.fold.view().readers(namespace);
        let (rotation, ring) = self.new_key(namespace, &name, number, full, &readers, rng)?;
        self.write_ring(ring)?;
        self.sync_rings()?;
        self.write(&writer, &NamespaceId::CONTROL, vec![rotation], rng)?;
        self.open_keyrings();
        Ok(())
    }

    /// Comes back with the recovery phrase: a new passphrase, and with it a new slot and this computer as a device.
    /// Revoke afterwards what was lost.
    ///
    /// # Errors
    /// [`WriteError`]; [`WriteError::NeedsRoot`] unless the vault was opened with the phrase.
    pub fn recover(&mut self, passphrase: &str, cost: SlotCost) -> Result<GrantId, WriteError> {
        if self.lock.is_none() {
            return Err(WriteError::ReadOnly);
        }
        let root = self.holder.root.clone().ok_or(WriteError::NeedsRoot)?;
        let mut rng = Rng::new(&self.environment).map_err(WriteError::Random)?;
        let slot = Arc::new(Identity::new(MemberKind::Slot, Seed::random(&mut rng)));
        let sealed = Slot::seal(self.id, &slot, passphrase, cost, &mut rng)?;
        // The file before the grant: a slot without a grant is refused and harmless, a grant without a file is lost.
        self.write_slot(&sealed)?;
        let writer = Writer {
            identity: root,
            grant: GrantId::ROOT,
        };
        let rights = vec![(NamespaceId::ALL, Right::Admin)];
        let grant = self.admit(&writer, *slot.card(), SLOT_DEPTH, None, rights, &mut rng)?;
        self.close_tail(&writer.identity.member())?;
        self.holder.slot = Some(slot);
        self.holder.device = None;
        self.enrol_if_new()?;
        Ok(grant)
    }

    /// Forgets the recovery phrase, if the vault was opened with it.
    pub fn forget_root(&mut self) {
        self.holder.root = None;
    }

    /// Changes the passphrase of the slot that opened this vault.
    ///
    /// The member stays the same: whoever has an old copy of the slot's file still opens it with the old passphrase. If
    /// the old one is known to somebody, [recover](Self::recover) and revoke the old slot.
    ///
    /// # Errors
    /// [`WriteError`]; [`WriteError::NeedsOwner`] unless the vault was opened with a passphrase.
    pub fn change_passphrase(
        &mut self,
        passphrase: &str,
        cost: SlotCost,
    ) -> Result<(), WriteError> {
        if self.lock.is_none() {
            return Err(WriteError::ReadOnly);
        }
        let slot = self.holder.slot.clone().ok_or(WriteError::NeedsOwner)?;
        let mut rng = Rng::new(&self.environment).map_err(WriteError::Random)?;
        let sealed = Slot::seal(self.id, &slot, passphrase, cost, &mut rng)?;
        self.write_slot(&sealed)
    }

    /// Names, in a signed operation, the newest seals of others that are here, so that others notice if they are withheld.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn checkpoint(&mut self) -> Result<(), WriteError> {
        self.enrol_if_new()?;
        let holders = self.holder.all();
        let identity = holders.first().cloned().ok_or(WriteError::Locked)?;
        let member = identity.member();
        let now = self.now();
        let grant = self
            .fold
            .view()
            .grants()
            .into_iter()
            .find(|grant| {
                grant.card.member() == member
                    && grant.standing == GrantStanding::Valid
                    && grant.expires.is_none_or(|end| end >= now)
            })
            .map(|grant| grant.id)
            .ok_or(WriteError::NotPermitted {
                member,
                needs: Right::Relay,
                namespace: NamespaceId::CONTROL,
            })?;
        let mut heads = self.fold.view().heads(&member);
        heads.truncate(tally_vault_format::limits::CHECKPOINT_HEADS);
        let content = Content::Checkpoint(tally_vault_format::Checkpoint { heads });
        let mut rng = Rng::new(&self.environment).map_err(WriteError::Random)?;
        let draft = Draft::new(OpKind::Checkpoint, Vec::new(), &content);
        self.write(
            &Writer { identity, grant },
            &NamespaceId::CONTROL,
            vec![draft],
            &mut rng,
        )?;
        Ok(())
    }

    /// Closes the tail of a member that is done writing for now.
    pub(crate) fn close_tail(&mut self, member: &MemberId) -> Result<(), WriteError> {
        let Some(author) = self.authors.get_mut(member) else {
            return Ok(());
        };
        author
            .close(&self.environment, &self.layout, &mut self.set)
            .map_err(|error| FileError::at(&self.layout.tail(member))(error).into())
    }

    fn write_slot(&self, slot: &Slot) -> Result<(), WriteError> {
        let folder = self.layout.folder(SLOTS);
        durable::write(
            &self.environment,
            &self.layout.folder(TEMPORARY),
            &folder,
            &slot.file_name(),
            slot.encode(),
        )
        .map_err(|error| FileError::at(&folder)(error).into())
    }

    /// A new key for a namespace: the rotation that announces it, and the keyring that delivers it.
    fn new_key(
        &mut self,
        namespace: &NamespaceId,
        name: &str,
        number: u32,
        full: bool,
        readers: &[Card],
        rng: &mut Rng,
    ) -> Result<(Draft, Keyring), WriteError> {
        let key = EpochKey::random(rng);
        let older = if full {
            Vec::new()
        } else {
            self.older_keys(namespace, None)
        };
        let recipients = self.recipients(readers);
        let ring = Keyring::seal(
            self.id,
            *namespace,
            number,
            &key,
            name,
            &older,
            &recipients,
            rng,
        )?;
        Ok((rotation_draft(&ring, full), ring))
    }

    /// The key in use, for more members; or a new one, if it is spoiled or this member may not pass on the first.
    fn redelivery(
        &mut self,
        writer: &Writer,
        namespace: &NamespaceId,
        cards: &[Card],
        rng: &mut Rng,
    ) -> Result<(Draft, Keyring), WriteError> {
        let keys = self.namespace_keys(namespace);
        let row = keys
            .write_with
            .map(|at| keys.keys[at].clone())
            .ok_or(WriteError::NoSuchNamespace(*namespace))?;
        let name = self
            .keys
            .name_of(namespace)
            .ok_or(WriteError::NoSuchNamespace(*namespace))?
            .to_owned();
        let now = self.now();
        let passes_on_first = self.fold.view().permits(
            &writer.grant,
            &writer.identity.member(),
            &NamespaceId::ALL,
            Right::Admin,
            now,
        );
        if row.spoiled || (row.number == 1 && !passes_on_first) {
            let number = keys.next_number.ok_or(WriteError::EndOfTime)?.max(2);
            let mut readers = self.fold.view().readers(namespace);
            readers.extend_from_slice(cards);
            return self.new_key(namespace, &name, number, false, &readers, rng);
        }
        let key = self
            .keys
            .by_commitment(namespace, &row.key)
            .cloned()
            .ok_or(WriteError::NoSuchNamespace(*namespace))?;
        let older = if row.full {
            Vec::new()
        } else {
            self.older_keys(namespace, Some(&key))
        };
        let recipients = self.recipients(cards);
        let ring = Keyring::seal(
            self.id,
            *namespace,
            row.number,
            &key,
            &name,
            &older,
            &recipients,
            rng,
        )?;
        Ok((rotation_draft(&ring, false), ring))
    }

    /// Every key that is held for a namespace but for one, the newest as many as a keyring holds.
    fn older_keys(&mut self, namespace: &NamespaceId, but: Option<&EpochKey>) -> Vec<EpochKey> {
        let keys = self.fold.view().keys(namespace, |_| None);
        let mut older: Vec<EpochKey> = keys
            .keys
            .iter()
            .rev()
            .filter_map(|row| self.keys.by_commitment(namespace, &row.key))
            .filter(|key| but.is_none_or(|but| but.expose() != key.expose()))
            .take(tally_vault_format::limits::KEYRING_OLDER)
            .cloned()
            .collect();
        older.reverse();
        older
    }

    /// Receiving keys of these and of the root, who can always read.
    fn recipients(&self, cards: &[Card]) -> Vec<ReceiveKey> {
        let mut recipients: Vec<ReceiveKey> = cards.iter().map(Card::receive).collect();
        recipients.push(self.genesis.root().receive());
        recipients
    }

    /// Writes a keyring durably but for its folder.
    fn write_ring(&mut self, ring: Keyring) -> Result<(), WriteError> {
        let path = self.layout.keyring(&ring.id());
        let name = path
            .file_name()
            .expect("a keyring's path has a name")
            .to_string_lossy()
            .into_owned();
        durable::write_unsynced(
            &self.environment,
            &self.layout.folder(TEMPORARY),
            &self.layout.folder(KEYS),
            &name,
            ring.encode(),
        )
        .map_err(FileError::at(&path))?;
        self.keys.add_ring(ring);
        Ok(())
    }

    fn sync_rings(&self) -> Result<(), WriteError> {
        let folder = self.layout.folder(KEYS);
        self.environment
            .fs
            .sync_dir(&folder)
            .map_err(|error| FileError::at(&folder)(error).into())
    }
}

fn grant_draft(
    parent: GrantId,
    card: Card,
    depth: u8,
    expires: Option<Time>,
    rights: &[(NamespaceId, Right)],
) -> Draft {
    let grant = Grant {
        parent,
        card,
        depth,
        expires,
        rights: rights.to_vec(),
    };
    Draft::new(OpKind::Grant, Vec::new(), &Content::Grant(grant))
}

fn rotation_draft(ring: &Keyring, full: bool) -> Draft {
    let rotation = Rotation {
        namespace: ring.namespace(),
        number: ring.number(),
        key: ring.key(),
        keyring: ring.id(),
        full,
    };
    Draft::new(OpKind::Rotate, Vec::new(), &Content::Rotation(rotation))
}

/// A vault is made in an empty folder. Parts of a vault without `VAULT` may be one whose `VAULT` was lost.
fn refuse_what_is_there(environment: &Environment, layout: &Layout) -> Result<(), CreateError> {
    let folder = || layout.root().to_owned();
    let not_empty = |found: String| CreateError::NotEmpty {
        folder: folder(),
        found,
    };
    for entry in list(environment, layout.root()).map_err(FileError::at(layout.root()))? {
        if entry.name == GENESIS {
            return Err(CreateError::Exists { folder: folder() });
        }
        if entry.name == LOCK && entry.len == 0 {
            continue;
        }
        if entry.kind != EntryKind::Folder || !FOLDERS.contains(&entry.name.as_str()) {
            return Err(not_empty(entry.name));
        }
        let inside: &Path = &layout.folder(&entry.name);
        if let Some(first) = list(environment, inside)
            .map_err(FileError::at(inside))?
            .first()
        {
            return Err(not_empty(format!("{}/{}", entry.name, first.name)));
        }
    }
    Ok(())
}

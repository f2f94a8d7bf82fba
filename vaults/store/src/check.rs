//! `vault check`: everything in the folder held against everything else, and what is wrong named.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use tally_vault_format::{
    BlobId, KeyringId, MemberKind, NamespaceId, OpenKeyringError, Right, Time,
};
use tally_vault_state::{GrantStanding, Status};

use crate::blobs;
use crate::error::{FileError, OpenError};
use crate::finding::{Code, Finding};
use crate::fs::EntryKind;
use crate::layout::{self, BLOBS, FOLDERS, GENESIS, KEYS, LOCK, SEGMENTS, SLOTS, TAILS, TEMPORARY};
use crate::scan::FlawKind;
use crate::set::{Set, list};
use crate::vault::Vault;

impl Vault {
    /// Reads the whole folder again, verifies every signature and every hash in it, and returns what is odd or wrong, the
    /// gravest first.
    ///
    /// # Errors
    /// When the folder cannot be read. What is in it is no error.
    pub fn check(&mut self) -> Result<Vec<Finding>, OpenError> {
        let mut findings = self.findings_when_opened();
        // From nothing: what this vault holds in memory may be gone from the disk.
        let mut set = Set::default();
        set.read_folder(&self.environment, &self.layout, &self.id)
            .map_err(FileError::at(self.layout.root()))?;
        self.check_files(&set, &mut findings)?;
        self.check_seals(&set, &mut findings);
        self.check_names(&mut findings)?;
        self.check_slots(&mut findings)?;
        self.check_keyrings(&mut findings)?;
        self.check_blobs(&set, &mut findings)?;
        self.check_operations(&mut findings);
        findings.sort_by_key(|found| std::cmp::Reverse(found.code.severity()));
        let mut known = BTreeSet::new();
        findings.retain(|found| known.insert(found.clone()));
        Ok(findings)
    }

    /// What was found while opening: no file was read for it twice.
    #[must_use]
    pub fn findings_when_opened(&self) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        findings.extend(self.set.dropped.iter().cloned());
        findings
    }

    fn check_files(&self, set: &Set, findings: &mut Vec<Finding>) -> Result<(), OpenError> {
        findings.extend(set.dropped.iter().cloned());
        for file in set.files.iter().filter(|file| file.present) {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy();
            let place = format!("{}/{name}", if file.is_tail { TAILS } else { SEGMENTS });
            for flaw in &file.flaws {
                let code = match flaw.kind {
                    FlawKind::Header => Code::FileHeader,
                    FlawKind::Damaged => Code::FrameDamaged,
                    FlawKind::Foreign => Code::FrameForeign,
                    FlawKind::Cut => Code::TailCut,
                    FlawKind::BoxAltered => Code::BoxAltered,
                    FlawKind::Unreadable => Code::FileUnreadable,
                };
                findings.push(Finding::new(code, &place, &flaw.detail));
            }
            if file
                .flaws
                .iter()
                .any(|flaw| matches!(flaw.kind, FlawKind::Header | FlawKind::Unreadable))
            {
                continue;
            }
            if file.is_tail {
                let named: Option<tally_vault_format::MemberId> =
                    name.strip_suffix(".log").and_then(|stem| stem.parse().ok());
                match named {
                    None => findings.push(Finding::new(Code::FileMisnamed, &place, "")),
                    Some(named) if file.authors.iter().any(|author| *author != named) => {
                        findings.push(Finding::new(Code::TailForeign, &place, ""));
                    }
                    Some(_) => {}
                }
            } else {
                let input = match self.environment.fs.open(&file.path) {
                    Ok(input) => input,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => {
                        findings.push(Finding::new(
                            Code::FileUnreadable,
                            &place,
                            error.to_string(),
                        ));
                        continue;
                    }
                };
                let hash = blobs::hash_file(&*input).map_err(FileError::at(&file.path))?;
                if name != layout::segment_name(&hash) {
                    findings.push(Finding::new(Code::FileMisnamed, &place, ""));
                }
            }
            if file.frames > 0 && file.fresh == 0 {
                findings.push(Finding::new(
                    Code::FileDoubled,
                    &place,
                    format!("{} frames", file.frames),
                ));
            }
        }
        Ok(())
    }

    /// Every signature, where opening checks the ends of chains; boxes, and who packed them.
    fn check_seals(&mut self, set: &Set, findings: &mut Vec<Finding>) {
        let seals: Vec<_> = set.seals.iter().collect();
        let bad = crate::parallel::map(&seals, self.environment.threads, |(id, stored)| {
            let mut found = Vec::new();
            let place = || stored.seal.author.to_string();
            let which = || format!("seal {} {id}", stored.seal.counter);
            if stored.seal.verify().is_err() {
                // It stands by the seal behind it; alone it proves nothing.
                found.push(Finding::new(
                    Code::SealForged,
                    place(),
                    format!("{}, vouched for by the next", which()),
                ));
            }
            for one in &stored.boxes {
                if one
                    .rebox
                    .as_ref()
                    .is_some_and(|rebox| rebox.verify().is_err())
                {
                    found.push(Finding::new(Code::ReboxRefused, place(), which()));
                }
            }
            if stored.boxes.is_empty() {
                found.push(Finding::new(Code::BoxMissing, place(), which()));
            }
            found
        });
        // Of namespaces that are not shared with the holder, boxes are left out on purpose.
        let now = self.now();
        let holders = self.holder.all();
        let view = self.fold.view();
        let mut may_read: HashMap<NamespaceId, bool> = HashMap::new();
        for ((_, stored), found) in seals.iter().zip(bad) {
            let namespace = stored.seal.namespace;
            let readable = *may_read.entry(namespace).or_insert_with(|| {
                namespace == NamespaceId::CONTROL
                    || holders.is_empty()
                    || holders.iter().any(|holder| {
                        view.right(&holder.member(), &namespace, now) >= Some(Right::Read)
                    })
            });
            findings.extend(
                found
                    .into_iter()
                    .filter(|found| found.code != Code::BoxMissing || readable),
            );
            for one in &stored.boxes {
                let Some(rebox) = &one.rebox else { continue };
                let own = rebox.packer == stored.seal.author;
                let permitted = view.grant(&rebox.grant).is_some_and(|grant| {
                    grant.card.member() == rebox.packer
                        && !matches!(grant.standing, GrantStanding::Void(_))
                        && (own
                            || grant.rights.iter().any(|(given, right)| {
                                (*given == namespace || *given == NamespaceId::ALL)
                                    && *right >= Right::Curate
                            }))
                });
                if !permitted {
                    findings.push(Finding::new(
                        Code::ReboxRefused,
                        rebox.packer.to_string(),
                        format!("seal {} of {}", stored.seal.counter, stored.seal.author),
                    ));
                }
            }
        }
        let locked = set
            .seals
            .iter()
            .filter(|(id, stored)| {
                stored.seal.namespace != NamespaceId::CONTROL
                    && !stored.boxes.is_empty()
                    && stored
                        .boxes
                        .iter()
                        .all(|one| self.keys.get(&stored.seal.namespace, &one.key).is_none())
                    && self.set.seals.get(id).is_none_or(|known| !known.opened)
            })
            .count();
        if locked > 0 {
            findings.push(Finding::new(Code::BoxLocked, "", format!("{locked} boxes")));
        }
        if holders.is_empty() {
            findings.push(Finding::new(Code::NotChecked, "", ""));
        }
    }

    /// Names in the folder that are no part of a vault.
    fn check_names(&self, findings: &mut Vec<Finding>) -> Result<(), OpenError> {
        let root = self.layout.root();
        for entry in list(&self.environment, root).map_err(FileError::at(root))? {
            let expected = match entry.name.as_str() {
                GENESIS | LOCK => EntryKind::File,
                name if FOLDERS.contains(&name) => EntryKind::Folder,
                _ => {
                    findings.push(Finding::new(Code::FileUnknown, entry.name, ""));
                    continue;
                }
            };
            if entry.kind != expected {
                findings.push(Finding::new(Code::FileIrregular, entry.name, ""));
            }
        }
        for name in FOLDERS {
            let folder = self.layout.folder(name);
            for entry in list(&self.environment, &folder).map_err(FileError::at(&folder))? {
                let place = format!("{name}/{}", entry.name);
                match entry.kind {
                    EntryKind::Other => findings.push(Finding::new(Code::FileIrregular, place, "")),
                    EntryKind::Folder => findings.push(Finding::new(Code::FileUnknown, place, "")),
                    EntryKind::File if name == TEMPORARY => {
                        // While another process writes, its files are there and in order.
                        if self.is_writable() {
                            findings.push(Finding::new(Code::TemporaryLeft, place, ""));
                        }
                    }
                    EntryKind::File => {}
                }
            }
        }
        Ok(())
    }

    fn check_slots(&mut self, findings: &mut Vec<Finding>) -> Result<(), OpenError> {
        let (slots, _) = self.read_slots(findings)?;
        for grant in self.fold.view().grants() {
            if grant.standing == GrantStanding::Valid
                && grant.card.kind() == MemberKind::Slot
                && !slots.iter().any(|slot| *slot.card() == grant.card)
            {
                let place = format!("{SLOTS}/{}", layout::slot_name(&grant.card.member()));
                findings.push(Finding::new(Code::SlotMissing, place, ""));
            }
        }
        Ok(())
    }

    fn check_keyrings(&mut self, findings: &mut Vec<Finding>) -> Result<(), OpenError> {
        let mut named: BTreeMap<KeyringId, NamespaceId> = BTreeMap::new();
        for namespace in self.fold.view().namespaces() {
            let keys = self.namespace_keys(&namespace);
            if keys.is_spoiled() {
                findings.push(Finding::new(Code::KeySpoiled, namespace.to_string(), ""));
            }
            let dropped_below = keys.dropped_below().unwrap_or(0);
            for row in &keys.keys {
                for (ring, _, _) in &row.keyrings {
                    if row.number >= dropped_below {
                        named.insert(*ring, namespace);
                    } else {
                        named.entry(*ring).or_insert(NamespaceId::CONTROL);
                    }
                }
            }
        }
        let folder = self.layout.folder(KEYS);
        let mut present = BTreeSet::new();
        for entry in list(&self.environment, &folder).map_err(FileError::at(&folder))? {
            if entry.kind != EntryKind::File {
                continue;
            }
            let place = format!("{KEYS}/{}", entry.name);
            let path = folder.join(&entry.name);
            let limit = tally_vault_format::limits::KEYRING_LEN as u64;
            let bytes = match crate::fs::read(&*self.environment.fs, &path, limit) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    findings.push(Finding::new(Code::KeyringDamaged, place, error.to_string()));
                    continue;
                }
            };
            let id = KeyringId::of(&bytes);
            let doubled = !present.insert(id);
            let well_named = entry.name == format!("{id}.key");
            match tally_vault_format::Keyring::parse(&self.id, &bytes) {
                Err(error) => {
                    findings.push(Finding::new(Code::KeyringDamaged, place, error.to_string()))
                }
                Ok(_) if !named.contains_key(&id) => {
                    let claims = entry
                        .name
                        .strip_suffix(".key")
                        .and_then(|stem| stem.parse().ok());
                    let code = match claims {
                        Some(claimed) if claimed != id && named.contains_key(&claimed) => {
                            Code::KeyringDamaged
                        }
                        _ => Code::KeyringForeign,
                    };
                    findings.push(Finding::new(code, place, ""));
                }
                Ok(_) if doubled => findings.push(Finding::new(Code::FileDoubled, place, "")),
                Ok(_) if !well_named => findings.push(Finding::new(Code::FileMisnamed, place, "")),
                Ok(ring) => {
                    for holder in self.holder.all() {
                        match ring.open(&holder) {
                            Ok(_) | Err(OpenKeyringError::NoMatch) => {}
                            Err(error) => {
                                findings.push(Finding::new(
                                    Code::KeyringDamaged,
                                    place.clone(),
                                    error.to_string(),
                                ));
                            }
                        }
                    }
                }
            }
        }
        for (ring, namespace) in named {
            // Keyrings of keys that a rotation in full dropped may be gone.
            if namespace != NamespaceId::CONTROL && !present.contains(&ring) {
                findings.push(Finding::new(
                    Code::KeyringMissing,
                    format!("{KEYS}/{ring}.key"),
                    "",
                ));
            }
        }
        Ok(())
    }

    fn check_blobs(&self, set: &Set, findings: &mut Vec<Finding>) -> Result<(), OpenError> {
        let mut needed: BTreeMap<BlobId, u64> = BTreeMap::new();
        for stored in set.seals.values() {
            for one in &stored.boxes {
                needed.extend(one.blobs.iter().map(|entry| (entry.id, entry.size)));
            }
        }
        let folder = self.layout.folder(BLOBS);
        let mut present = BTreeSet::new();
        let entries = list(&self.environment, &folder).map_err(FileError::at(&folder))?;
        let files: Vec<_> = entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::File && !is_part(&entry.name))
            .collect();
        let environment = &self.environment;
        let found = crate::parallel::map(&files, environment.threads, |entry| {
            let input = environment.fs.open(&folder.join(&entry.name))?;
            let len = input.len()?;
            io::Result::Ok((blobs::identify(&*input, 0, len)?, len))
        });
        for (entry, found) in files.into_iter().zip(found) {
            let place = format!("{BLOBS}/{}", entry.name);
            let (id, len) = match found {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    findings.push(Finding::new(Code::FileUnreadable, place, error.to_string()));
                    continue;
                }
            };
            let claims: Option<BlobId> = entry
                .name
                .strip_suffix(".blob")
                .and_then(|stem| stem.parse().ok());
            let id = match id {
                Ok(id) => id,
                Err(error) => {
                    findings.push(match claims {
                        Some(_) => {
                            Finding::new(Code::BlobDamaged, place, format!("{len} bytes: {error}"))
                        }
                        None => Finding::new(Code::FileUnknown, place, ""),
                    });
                    continue;
                }
            };
            match (claims, needed.get(&id)) {
                (Some(claimed), _) if claimed != id => {
                    findings.push(Finding::new(
                        Code::BlobDamaged,
                        place,
                        format!("{len} bytes: it is blob {id}"),
                    ));
                }
                (None, Some(_)) => findings.push(Finding::new(
                    Code::FileMisnamed,
                    place,
                    format!("{id}.blob"),
                )),
                (None, None) => findings.push(Finding::new(Code::FileUnknown, place, "")),
                (Some(_), None) => findings.push(Finding::new(Code::BlobUnneeded, place, "")),
                (Some(_), Some(_)) => {
                    present.insert(id);
                }
            }
        }
        for (id, size) in needed {
            if !present.contains(&id) {
                findings.push(Finding::new(
                    Code::BlobMissing,
                    format!("{BLOBS}/{id}.blob"),
                    format!("{size} bytes"),
                ));
            }
        }
        Ok(())
    }

    /// What the fold finds odd.
    fn check_operations(&mut self, findings: &mut Vec<Finding>) {
        use tally_vault_state::Finding as Odd;
        let now = Time::from_millis(self.environment.clock.now_ms());
        findings
            .retain(|found| !matches!(found.code, Code::AuthorRolledBack | Code::AuthorRewritten));
        findings.extend(self.rollbacks());
        let view = self.fold.view();
        for odd in view.findings() {
            let finding = match &odd {
                Odd::SealFork {
                    author,
                    counter,
                    seals,
                } => Finding::new(
                    Code::AuthorForked,
                    author.to_string(),
                    format!("seal {counter}: {}", join(seals)),
                ),
                Odd::OperationFork {
                    author,
                    namespace,
                    sequence,
                    operations,
                    ..
                } => Finding::new(
                    Code::AuthorForked,
                    author.to_string(),
                    format!("operation {sequence} in {namespace}: {}", join(operations)),
                ),
                Odd::SealGap {
                    author,
                    first,
                    last,
                } => Finding::new(
                    Code::SealGap,
                    author.to_string(),
                    format!("seals {first} to {last}"),
                ),
                Odd::SealUnlinked { seal } => {
                    Finding::new(Code::SealUnlinked, "", format!("seal {seal}"))
                }
                Odd::OperationUnlinked { operation } => Finding::new(
                    Code::OperationUnlinked,
                    "",
                    format!("operation {operation}"),
                ),
                Odd::ClockWentBack { operation } => {
                    Finding::new(Code::AuthorClock, "", format!("operation {operation}"))
                }
                Odd::Withheld {
                    author,
                    have,
                    seen,
                    witness,
                    ..
                } => Finding::new(
                    Code::AuthorWithheld,
                    author.to_string(),
                    format!("{witness} has seen seal {seen}, here up to {have}"),
                ),
                Odd::SeenOtherwise {
                    author,
                    counter,
                    seal,
                    witness,
                    ..
                } => Finding::new(
                    Code::AuthorSeenOtherwise,
                    author.to_string(),
                    format!("{witness} has seen {seal} as seal {counter}"),
                ),
                Odd::FrontierMissing {
                    namespace,
                    sequence,
                    operation,
                    ..
                } => Finding::new(
                    Code::FrontierMissing,
                    namespace.to_string(),
                    format!("operation {sequence} {operation}"),
                ),
                Odd::BodyMissing { operation } => {
                    Finding::new(Code::BodyMissing, "", format!("operation {operation}"))
                }
            };
            findings.push(finding);
        }
        for grant in view.ended_and_open(now) {
            findings.push(Finding::new(Code::GrantExpired, grant.to_string(), ""));
        }
        let mut void: BTreeMap<String, (u64, String)> = BTreeMap::new();
        for row in view.log() {
            if row.status == Status::Void {
                let why = row.why.map_or_else(String::new, |why| why.to_string());
                let known = void.entry(row.author.to_string()).or_insert((0, why));
                known.0 += 1;
            }
        }
        for (author, (count, why)) in void {
            findings.push(Finding::new(
                Code::OperationVoid,
                author,
                format!("{count} operations: {why}"),
            ));
        }
    }
}

fn join<T: ToString>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Whether a file of the folder of blobs is the beginning of one that is being synchronised.
fn is_part(name: &str) -> bool {
    name.strip_suffix(".part")
        .is_some_and(|stem| stem.parse::<BlobId>().is_ok())
}

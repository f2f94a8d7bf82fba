//! What the control logs say about members and keys, as an exchange asks for it.
//!
//! A [`Roster`] follows from a fold alone, so every [`Replica`](crate::Replica) judges by the same rules: who may have what
//! ([`Roster::standing`]), which box is preferred ([`Roster::rank`]), and which boxes are kept at all ([`Roster::keeps`]).
//!
//! Out of scope: signatures and hashes, which a replica checks before it asks here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tally_vault_format::{
    Card, GrantId, KeyCommitment, KeyId, Keyring, KeyringId, MemberId, NamespaceId, OpId, Rebox,
    Right, Seal, Time,
};
use tally_vault_state::{GrantRow, GrantStanding, View, What};

use crate::replica::{Notice, Rank, Scope, Standing};

/// What follows from the control logs. The empty one knows nobody.
#[derive(Debug, Default)]
pub struct Roster {
    grants: BTreeMap<GrantId, GrantRow>,
    subjects: BTreeSet<MemberId>,
    /// Who granted comes before whom it granted.
    order: Vec<MemberId>,
    numbers: HashMap<(NamespaceId, KeyId), u32>,
    keyrings: BTreeMap<KeyringId, Vec<Announced>>,
}

/// What a rotation says of a keyring.
type Announced = (NamespaceId, u32, KeyCommitment);

impl Roster {
    /// What this view of the control logs says.
    #[must_use]
    pub fn of(view: &View<'_>) -> Self {
        let mut roster = Self::of_grants(view.grants());
        for namespace in view.namespaces() {
            for row in view.keys(&namespace, |_| None).keys {
                roster
                    .numbers
                    .insert((namespace, row.key.key_id()), row.number);
                for (ring, operation, _) in row.keyrings {
                    // The number of the rotation itself: its key may stand under a higher one too.
                    if let Some(What::Rotate { number, .. }) =
                        view.row(&operation).map(|row| row.what)
                    {
                        let announced = (namespace, number, row.key);
                        roster.keyrings.entry(ring).or_default().push(announced);
                    }
                }
            }
        }
        roster
    }

    fn of_grants(grants: Vec<GrantRow>) -> Self {
        let grants: BTreeMap<GrantId, GrantRow> =
            grants.into_iter().map(|grant| (grant.id, grant)).collect();
        Self {
            subjects: grants.values().map(|grant| grant.card.member()).collect(),
            order: descending(&grants),
            grants,
            ..Self::default()
        }
    }

    /// Whether a grant admits this member, be it void or revoked.
    #[must_use]
    pub fn is_subject(&self, member: &MemberId) -> bool {
        self.subjects.contains(member)
    }

    /// Whether a grant admits a member with this card: also the key that it receives with is its own.
    #[must_use]
    pub fn has_card(&self, card: &Card) -> bool {
        self.grants.values().any(|grant| grant.card == *card)
    }

    /// Every subject of a grant: whoever granted comes before whom it granted.
    #[must_use]
    pub fn order(&self) -> &[MemberId] {
        &self.order
    }

    /// What a member may have at this time. `notice` finds where a revocation stands.
    pub fn standing(
        &self,
        member: &MemberId,
        now: Time,
        mut notice: impl FnMut(&OpId) -> Option<Notice>,
    ) -> Standing {
        let mut kind = None;
        let mut boxes = Scope::none();
        let (mut notices, mut former) = (Vec::new(), false);
        for grant in self
            .grants
            .values()
            .filter(|grant| grant.card.member() == *member)
        {
            match &grant.standing {
                GrantStanding::Void(_) => {}
                GrantStanding::Revoked(by) => {
                    former = true;
                    notices.extend(by.iter().filter_map(&mut notice));
                }
                GrantStanding::Valid if grant.expires.is_some_and(|end| end < now) => former = true,
                GrantStanding::Valid => {
                    kind = Some(grant.card.kind());
                    for (namespace, _) in &grant.rights {
                        match &mut boxes {
                            Scope::All => {}
                            _ if *namespace == NamespaceId::ALL => boxes = Scope::All,
                            Scope::Only(set) => {
                                set.insert(*namespace);
                            }
                        }
                    }
                }
            }
        }
        match kind {
            Some(kind) => Standing::Member { kind, boxes },
            None if former => Standing::Former { notices },
            None => Standing::Unknown,
        }
    }

    /// The number of a key; 0 if no rotation that counts names it.
    #[must_use]
    pub fn number(&self, namespace: NamespaceId, key: KeyId) -> u32 {
        self.numbers.get(&(namespace, key)).copied().unwrap_or(0)
    }

    /// How good the author's own box of a seal is.
    #[must_use]
    pub fn original(&self, seal: &Seal) -> Rank {
        Rank {
            number: match seal.namespace {
                NamespaceId::CONTROL => 0,
                namespace => self.number(namespace, seal.key),
            },
            time: seal.time,
            hash: seal.box_hash,
        }
    }

    /// How good a box is that was made anew. Of one whose number is 0 nobody can tell.
    #[must_use]
    pub fn anew(&self, seal: &Seal, rebox: &Rebox) -> Rank {
        Rank {
            number: self.number(seal.namespace, rebox.key),
            time: rebox.time,
            hash: rebox.box_hash,
        }
    }

    /// How good the box of a frame is; none without a box.
    #[must_use]
    pub fn rank(&self, seal: &Seal, boxed: bool, rebox: Option<&Rebox>) -> Option<Rank> {
        match rebox {
            Some(rebox) => Some(self.anew(seal, rebox)),
            None => boxed.then(|| self.original(seal)),
        }
    }

    /// Whether a copy keeps the box of a data seal; none if the grant is not here yet by which a relay judges it. `view` is
    /// the one that this roster follows from.
    #[must_use]
    pub fn keeps(
        &self,
        view: &View<'_>,
        seal: &Seal,
        rebox: Option<&Rebox>,
        is_relay: bool,
    ) -> Option<bool> {
        if rebox.is_some_and(|rebox| !may_rebox(view, seal, rebox)) {
            return Some(false);
        }
        // Making a box anew gives no right to what is in it: a relay asks after the seal's grant all the same.
        if is_relay {
            self.may_append(seal)
        } else {
            Some(true)
        }
    }

    /// Whether the grant of a data seal lets its author write there; none if it is not here.
    fn may_append(&self, seal: &Seal) -> Option<bool> {
        let grant = self.grants.get(&seal.grant)?;
        let right = grant
            .rights
            .iter()
            .filter(|(namespace, _)| *namespace == seal.namespace || *namespace == NamespaceId::ALL)
            .map(|(_, right)| *right)
            .max();
        // What a revocation cut off cannot be told without opening boxes; readers tell.
        Some(
            grant.card.member() == seal.author
                && !matches!(grant.standing, GrantStanding::Void(_))
                && right >= Some(Right::Append)
                && grant.expires.is_none_or(|end| seal.time <= end),
        )
    }

    /// Whether a rotation that counts names this keyring with its namespace, number and key; none if no rotation names it.
    #[must_use]
    pub fn announces(&self, keyring: &Keyring) -> Option<bool> {
        let announced = self.keyrings.get(&keyring.id())?;
        let own = (keyring.namespace(), keyring.number(), keyring.key());
        Some(announced.contains(&own))
    }
}

/// Whether a box made anew may take the place of another: its packer is the author, or may curate there at the time of the
/// box, by the grant that it names.
fn may_rebox(view: &View<'_>, seal: &Seal, rebox: &Rebox) -> bool {
    rebox.packer == seal.author
        || view.permits(
            &rebox.grant,
            &rebox.packer,
            &seal.namespace,
            Right::Curate,
            rebox.time,
        )
}

/// The subjects of grants, generation by generation; last those below a grant that is not here. Every grant is looked at
/// once: how many there are is for whoever writes them to say.
fn descending(grants: &BTreeMap<GrantId, GrantRow>) -> Vec<MemberId> {
    let mut below: HashMap<GrantId, Vec<&GrantRow>> = HashMap::new();
    let (mut first, mut orphans) = (Vec::new(), Vec::new());
    for grant in grants.values() {
        match grant.parent {
            None => first.push(grant),
            Some(parent) if grants.contains_key(&parent) => {
                below.entry(parent).or_default().push(grant);
            }
            Some(_) => orphans.push(grant),
        }
    }
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    for mut generation in [first, orphans] {
        while !generation.is_empty() {
            let mut next = Vec::new();
            for grant in generation {
                if seen.insert(grant.card.member()) {
                    order.push(grant.card.member());
                }
                next.extend(below.remove(&grant.id).into_iter().flatten());
            }
            generation = next;
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use tally_vault_format::{BoxHash, Identity, MemberKind, SealId, Seed, Signature, VaultId};
    use tally_vault_state::Void;

    use super::*;

    const NOTES: NamespaceId = NamespaceId([1; 16]);
    const HEALTH: NamespaceId = NamespaceId([2; 16]);

    fn card(number: u8) -> Card {
        *Identity::new(MemberKind::Device, Seed::from_bytes([number; 32])).card()
    }

    /// A valid grant to member `number` below another grant.
    fn grant(id: u8, parent: Option<u8>, number: u8, rights: &[(NamespaceId, Right)]) -> GrantRow {
        GrantRow {
            id: GrantId([id; 32]),
            by: card(1).member(),
            made: None,
            parent: parent.map(|parent| GrantId([parent; 32])),
            card: card(number),
            depth: 3,
            expires: None,
            rights: rights.to_vec(),
            standing: GrantStanding::Valid,
        }
    }

    /// A data seal of member 2 under grant 2, in the notes.
    fn seal() -> Seal {
        Seal {
            vault: VaultId([9; 32]),
            author: card(2).member(),
            counter: 1,
            previous: SealId::NONE,
            namespace: NOTES,
            grant: GrantId([2; 32]),
            key: KeyId([3; 16]),
            first: 1,
            count: 1,
            before: OpId::NONE,
            head: OpId([4; 32]),
            time: Time::from_millis(100),
            box_len: 400,
            box_hash: BoxHash([5; 32]),
            signature: Signature([0; 64]),
        }
    }

    #[test]
    fn who_granted_comes_before_whom_it_granted_and_orphans_come_last() {
        // The ids of grants and of members say nothing about the order.
        let roster = Roster::of_grants(vec![
            grant(1, Some(7), 5, &[]),
            grant(3, Some(200), 6, &[]),
            grant(7, Some(9), 4, &[]),
            grant(9, None, 1, &[]),
            // Below an orphan, and a second grant of somebody who has one by the root already.
            grant(2, Some(3), 7, &[]),
            grant(4, Some(3), 4, &[]),
        ]);
        let expected = [1, 4, 5, 6, 7].map(|number| card(number).member());
        assert_eq!(roster.order(), expected);
    }

    #[test]
    fn a_long_line_of_grants_is_followed_to_its_end() {
        // Each below the one before, written by somebody who wants it to be slow. One pass for each would be 10^10 steps.
        const LONG: u32 = 100_000;
        let id = |number: u32| {
            let mut id = [0; 32];
            // The last comes first by id.
            id[..4].copy_from_slice(&(LONG - number).to_be_bytes());
            GrantId(id)
        };
        let cards = [card(1), card(2)];
        let one = grant(0, None, 1, &[]);
        let grants = (0..LONG)
            .map(|number| GrantRow {
                id: id(number),
                parent: number.checked_sub(1).map(id),
                card: cards[usize::from(number + 1 == LONG)],
                ..one.clone()
            })
            .collect();
        let expected = cards.map(|card| card.member());
        assert_eq!(Roster::of_grants(grants).order(), expected);
    }

    #[test]
    fn who_may_append_there_and_then_is_told_by_the_grant_of_the_seal() {
        let append = [(NOTES, Right::Append)];
        let kept = |grant: GrantRow| Roster::of_grants(vec![grant]).may_append(&seal());
        let good = || grant(2, None, 2, &append);
        assert_eq!(kept(good()), Some(true));
        assert_eq!(
            kept(grant(2, None, 2, &[(NamespaceId::ALL, Right::Admin)])),
            Some(true)
        );
        assert_eq!(
            kept(GrantRow {
                expires: Some(Time::from_millis(100)),
                ..good()
            }),
            Some(true),
            "its last moment"
        );
        // What a revocation cut off, readers tell.
        assert_eq!(
            kept(GrantRow {
                standing: GrantStanding::Revoked(vec![OpId([6; 32])]),
                ..good()
            }),
            Some(true)
        );

        assert_eq!(kept(grant(8, None, 2, &append)), None, "not here yet");
        for (why, bad) in [
            ("somebody else's", grant(2, None, 3, &append)),
            ("elsewhere", grant(2, None, 2, &[(HEALTH, Right::Admin)])),
            ("too little", grant(2, None, 2, &[(NOTES, Right::Read)])),
            (
                "void",
                GrantRow {
                    standing: GrantStanding::Void(Void::GrantVoid),
                    ..good()
                },
            ),
            (
                "ended",
                GrantRow {
                    expires: Some(Time::from_millis(99)),
                    ..good()
                },
            ),
        ] {
            assert_eq!(kept(bad), Some(false), "{why}");
        }
    }

    #[test]
    fn standing_follows_from_the_grants_that_count_and_have_not_ended() {
        let now = Time::from_millis(100);
        let member = card(2).member();
        let revocation = OpId([6; 32]);
        let notice = Notice {
            author: card(1).member(),
            through: 12,
        };
        let standing = |grants: Vec<GrantRow>| {
            Roster::of_grants(grants).standing(&member, now, |operation| {
                (*operation == revocation).then_some(notice)
            })
        };
        let read = |id: u8, namespace| grant(id, None, 2, &[(namespace, Right::Read)]);
        let with = |grant: GrantRow, standing| GrantRow { standing, ..grant };
        let ended = |grant: GrantRow, millis| GrantRow {
            expires: Some(Time::from_millis(millis)),
            ..grant
        };
        let only = |namespaces: &[NamespaceId]| Standing::Member {
            kind: MemberKind::Device,
            boxes: Scope::Only(namespaces.iter().copied().collect()),
        };

        assert_eq!(standing(vec![]), Standing::Unknown);
        assert_eq!(
            standing(vec![with(
                read(2, NOTES),
                GrantStanding::Void(Void::GrantVoid)
            )]),
            Standing::Unknown
        );
        assert_eq!(
            standing(vec![
                read(2, NOTES),
                ended(read(3, HEALTH), 99),
                with(read(4, HEALTH), GrantStanding::Void(Void::GrantVoid)),
            ]),
            only(&[NOTES]),
            "an ended and a void grant add nothing"
        );
        assert_eq!(
            standing(vec![ended(read(2, NOTES), 100), read(3, HEALTH)]),
            only(&[NOTES, HEALTH])
        );
        assert_eq!(
            standing(vec![read(2, NOTES), read(3, NamespaceId::ALL)]),
            Standing::Member {
                kind: MemberKind::Device,
                boxes: Scope::All
            }
        );
        assert_eq!(
            standing(vec![ended(read(2, NOTES), 99)]),
            Standing::Former { notices: vec![] }
        );
        let by = vec![revocation, OpId([7; 32])];
        assert_eq!(
            standing(vec![with(read(2, NOTES), GrantStanding::Revoked(by))]),
            Standing::Former {
                notices: vec![notice]
            },
            "a revocation that is not here is not told"
        );
    }

    #[test]
    fn an_original_box_is_ranked_by_its_number_and_then_by_time() {
        let mut roster = Roster::default();
        let old = seal();
        assert_eq!(roster.original(&old).number, 0, "no rotation names its key");
        roster.numbers.insert((NOTES, old.key), 2);
        roster.numbers.insert((NOTES, KeyId([8; 16])), 1);
        let newer = Seal {
            key: KeyId([8; 16]),
            time: Time::from_millis(200),
            ..old
        };
        assert!(roster.original(&old) > roster.original(&newer));
        assert_eq!(roster.rank(&old, true, None), Some(roster.original(&old)));
        assert_eq!(roster.rank(&old, false, None), None);
        let control = Seal {
            namespace: NamespaceId::CONTROL,
            ..old
        };
        assert_eq!(roster.original(&control).number, 0);
    }
}

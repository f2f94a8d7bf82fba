//! A world of members who write: honest, careless, hostile. It makes seals and operations without the costly part
//! (signatures, boxes): ids are hashes over everything that the format's ids cover, so nobody can name what does not exist yet.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "a module of several test crates")]

pub mod model;

use std::collections::BTreeMap;

use tally_vault_format::*;
use tally_vault_state::{Fact, Fold, Operation, View};

pub const VAULT: VaultId = VaultId([7; 32]);
pub const CONTROL: NamespaceId = NamespaceId::CONTROL;
pub const ALL: NamespaceId = NamespaceId::ALL;
pub const DIARY: NamespaceId = NamespaceId([1; 16]);
pub const HEALTH: NamespaceId = NamespaceId([2; 16]);
pub const DAY: u64 = 24 * 3_600 * 1_000;
pub const YEAR: u64 = 365 * DAY;
pub const NOW: u64 = 1_795_000_000_000;

pub fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// What travels: a seal, and the operations unless its box is closed.
#[derive(Clone)]
pub struct Sealed {
    pub id: SealId,
    pub seal: Seal,
    pub operations: Vec<Operation>,
}

/// The state of one author's pen. A clone is a device restored from a backup: writing with both forks.
#[derive(Clone)]
pub struct Pen {
    pub card: Card,
    pub counter: u64,
    pub last_seal: SealId,
    pub tips: BTreeMap<NamespaceId, (u64, OpId)>,
    pub clock: u64,
}

pub fn card(kind: MemberKind, number: u8) -> Card {
    *Identity::new(kind, Seed::from_bytes([number; 32])).card()
}

impl Pen {
    pub fn new(card: Card) -> Self {
        Self {
            card,
            counter: 0,
            last_seal: SealId::NONE,
            tips: BTreeMap::new(),
            clock: NOW,
        }
    }

    pub fn id(&self) -> MemberId {
        self.card.member()
    }

    pub fn tip(&self, namespace: NamespaceId) -> LogPosition {
        let (sequence, operation) = self.tips[&namespace];
        LogPosition {
            namespace,
            sequence,
            operation,
        }
    }

    pub fn frontier(&self) -> Revocation {
        Revocation {
            frontier: self
                .tips
                .keys()
                .map(|&namespace| self.tip(namespace))
                .collect(),
        }
    }
}

/// An operation before it has a place.
#[derive(Clone)]
pub struct Draft {
    pub kind: OpKind,
    pub targets: Vec<OpId>,
    pub fact: Fact,
}

pub fn add() -> Draft {
    Draft {
        kind: OpKind::Add,
        targets: vec![],
        fact: Fact::Data {
            run: None,
            receipt: None,
        },
    }
}

fn naming(kind: OpKind, targets: &[OpId]) -> Draft {
    let mut targets = targets.to_vec();
    targets.sort_unstable();
    targets.dedup();
    Draft {
        kind,
        targets,
        ..add()
    }
}

pub fn supersede(targets: &[OpId]) -> Draft {
    naming(OpKind::Supersede, targets)
}

pub fn retract(targets: &[OpId]) -> Draft {
    naming(OpKind::Retract, targets)
}

pub fn redact(targets: &[OpId]) -> Draft {
    naming(OpKind::Redact, targets)
}

pub fn grant(
    parent: GrantId,
    card: Card,
    depth: u8,
    expires: Option<u64>,
    rights: &[(NamespaceId, Right)],
) -> Draft {
    let mut rights = rights.to_vec();
    rights.sort_unstable();
    rights.dedup_by_key(|(namespace, _)| *namespace);
    let grant = Grant {
        parent,
        card,
        depth,
        expires: expires.map(at),
        rights,
    };
    Draft {
        kind: OpKind::Grant,
        targets: vec![],
        fact: Fact::Grant(Box::new(grant)),
    }
}

pub fn revoke(grant: GrantId, frontier: Revocation) -> Draft {
    Draft {
        kind: OpKind::Revoke,
        targets: vec![grant.operation()],
        fact: Fact::Revocation(frontier),
    }
}

pub fn rotate(namespace: NamespaceId, number: u32, key: u8, full: bool) -> Draft {
    let rotation = Rotation {
        namespace,
        number,
        key: KeyCommitment([key; 32]),
        keyring: KeyringId([key; 32]),
        full,
    };
    Draft {
        kind: OpKind::Rotate,
        targets: vec![],
        fact: Fact::Rotation(rotation),
    }
}

pub fn checkpoint(heads: Vec<Head>) -> Draft {
    Draft {
        kind: OpKind::Checkpoint,
        targets: vec![],
        fact: Fact::Checkpoint(Checkpoint { heads }),
    }
}

/// Seals these drafts as one frame, one millisecond apart from the pen's clock on.
pub fn write(pen: &mut Pen, under: GrantId, namespace: NamespaceId, drafts: Vec<Draft>) -> Sealed {
    let (sequence, before) = pen.tips.get(&namespace).copied().unwrap_or((0, OpId::NONE));
    let mut previous = before;
    let mut operations = Vec::new();
    for (draft, number) in drafts.into_iter().zip(sequence + 1..) {
        pen.clock += 1;
        let time = at(pen.clock);
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&namespace.0)
            .update(&pen.id().0)
            .update(&number.to_be_bytes());
        hasher
            .update(&previous.0)
            .update(&[draft.kind as u8])
            .update(&time.0.to_be_bytes());
        for target in &draft.targets {
            hasher.update(&target.0);
        }
        if draft.kind.is_control() {
            hasher.update(format!("{:?}", draft.fact).as_bytes());
        }
        previous = OpId(*hasher.finalize().as_bytes());
        let Draft {
            kind,
            targets,
            fact,
        } = draft;
        operations.push(Operation {
            id: previous,
            kind,
            time,
            targets,
            fact,
        });
        pen.tips.insert(namespace, (number, previous));
    }
    seal(pen, under, namespace, sequence + 1, before, operations)
}

/// Seals operations that may have been sealed before.
pub fn seal(
    pen: &mut Pen,
    under: GrantId,
    namespace: NamespaceId,
    first: u64,
    before: OpId,
    operations: Vec<Operation>,
) -> Sealed {
    pen.counter += 1;
    let last = operations.last().expect("a frame has an operation");
    let seal = Seal {
        vault: VAULT,
        author: pen.id(),
        counter: pen.counter,
        previous: pen.last_seal,
        namespace,
        grant: under,
        key: KeyId([u8::from(namespace != CONTROL); 16]),
        first,
        count: operations.len() as u32,
        before,
        head: last.id,
        time: last.time,
        box_len: 100,
        box_hash: BoxHash([0; 32]),
        signature: Signature([0; 64]),
    };
    pen.last_seal = seal.id();
    Sealed {
        id: seal.id(),
        seal,
        operations,
    }
}

pub fn one(
    pen: &mut Pen,
    under: GrantId,
    namespace: NamespaceId,
    draft: Draft,
    into: &mut Vec<Sealed>,
) -> OpId {
    let frame = write(pen, under, namespace, vec![draft]);
    let id = frame.operations[0].id;
    into.push(frame);
    id
}

pub fn root() -> Pen {
    Pen::new(card(MemberKind::Root, 0))
}

pub fn empty() -> Fold {
    Fold::new(VAULT, card(MemberKind::Root, 0))
}

pub fn insert(fold: &mut Fold, frame: &Sealed) {
    fold.insert(frame.id, &frame.seal, Some(&frame.operations))
        .expect("the world writes what it may");
}

pub fn fold<'a>(frames: impl IntoIterator<Item = &'a Sealed>) -> Fold {
    let mut fold = empty();
    for frame in frames {
        insert(&mut fold, frame);
    }
    fold
}

/// Everything that a view answers, for comparison.
pub fn picture(view: &View<'_>) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    writeln!(out, "{:02x?}", view.state_hash()).unwrap();
    for row in view.log() {
        writeln!(out, "{row:?}").unwrap();
    }
    for grant in view.grants() {
        writeln!(out, "{grant:?} below {:?}", view.grants_below(&grant.id)).unwrap();
        let member = grant.card.member();
        writeln!(
            out,
            "frontier {:?} heads {:?}",
            view.frontier(&member),
            view.heads(&member)
        )
        .unwrap();
        for namespace in [DIARY, HEALTH, ALL] {
            for time in [NOW - 20 * YEAR, NOW, NOW + 20 * YEAR].map(at) {
                let right = view.right(&member, &namespace, time);
                let using = view.grant_to_use(&member, &namespace, Right::Append, time);
                writeln!(out, "{right:?} {using:?}").unwrap();
            }
        }
    }
    writeln!(out, "{:?}", view.records()).unwrap();
    writeln!(out, "{:?}", view.current()).unwrap();
    for namespace in view.namespaces() {
        writeln!(
            out,
            "{:?} {:?}",
            view.keys(&namespace, |_| None),
            view.readers(&namespace)
        )
        .unwrap();
    }
    writeln!(out, "{:?}", view.findings()).unwrap();
    writeln!(out, "{:?}", view.ended_and_open(at(NOW))).unwrap();
    out
}

/// Asserts that two pictures are one, and shows the first line that differs if not.
pub fn assert_same(left: &str, right: &str) {
    for (left, right) in left.lines().zip(right.lines()) {
        assert_eq!(left, right);
    }
    assert_eq!(left.lines().count(), right.lines().count());
}

/// Small, seeded, good enough to choose with (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

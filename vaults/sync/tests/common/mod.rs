//! A small vault's world: members who write real frames, copies that hold them, and the state that a reader with all keys sees.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

mod memory;
pub mod scenarios;

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use tally_vault_format::{
    BlobRef, BoxBuffer, BoxDraft, ChainPosition, Content, EpochKey, FrameRef, Genesis, Grant,
    GrantId, Identity, KeyId, Keyring, LogPosition, MemberId, MemberKind, NamespaceId, Op, OpId,
    OpKind, Record, RecordContent, Revocation, Right, Rotation, Seal, SealId, Seed, Time, VaultId,
    rebox_frame, seal_frame,
};
use tally_vault_state::{Fold, Operation};
use tally_vault_sync::{Ended, Limits, Replica, Taken, initiate, respond};
use tokio::io::{AsyncRead, AsyncWrite};

pub use memory::Memory;

pub type Ends<A, B> = (Ended<<A as Replica>::Error>, Ended<<B as Replica>::Error>);

pub const NOW: u64 = 1_795_000_000_000;

pub fn now() -> Time {
    Time::from_millis(NOW)
}

/// Who writes, and where its logs stand.
pub struct Author {
    pub identity: Identity,
    pub grant: GrantId,
    chain: Option<Seal>,
    logs: BTreeMap<NamespaceId, (u64, OpId, Time)>,
    time: Time,
}

impl Author {
    fn new(identity: Identity, grant: GrantId) -> Self {
        Self {
            identity,
            grant,
            chain: None,
            logs: BTreeMap::new(),
            time: now(),
        }
    }

    pub fn member(&self) -> MemberId {
        self.identity.member()
    }

    /// Where each log ends: the frontier that a revoker has seen.
    pub fn frontier(&self) -> Vec<LogPosition> {
        self.logs
            .iter()
            .map(|(namespace, (sequence, operation, _))| LogPosition {
                namespace: *namespace,
                sequence: *sequence,
                operation: *operation,
            })
            .collect()
    }

    /// A second history from the same point, as a device restored from a backup writes it.
    pub fn restored(&self, seed: u8) -> Self {
        Self {
            identity: Identity::new(self.identity.card().kind(), Seed::from_bytes([seed; 32])),
            grant: self.grant,
            chain: self.chain,
            logs: self.logs.clone(),
            time: self.time,
        }
    }
}

pub struct World {
    pub rng: ChaCha20Rng,
    pub genesis: Genesis,
    pub root: Author,
    pub keys: BTreeMap<NamespaceId, Vec<EpochKey>>,
}

pub fn seed(number: u8) -> Seed {
    Seed::from_bytes([number; 32])
}

impl World {
    pub fn new(number: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(number);
        let root = Identity::new(MemberKind::Root, seed(1));
        let genesis = Genesis::new(&root, now(), &mut rng);
        Self {
            rng,
            genesis,
            root: Author::new(root, GrantId::ROOT),
            keys: BTreeMap::new(),
        }
    }

    pub fn vault(&self) -> VaultId {
        self.genesis.vault_id()
    }

    /// A copy that knows the genesis.
    pub fn copy(&self) -> Memory {
        let mut copy = self.empty();
        copy.insert_genesis(self.genesis.encode())
            .expect("infallible");
        copy
    }

    /// A copy that knows the vault's id only.
    pub fn empty(&self) -> Memory {
        Memory::new(self.vault(), now())
    }

    pub fn write(
        &mut self,
        who: Option<&mut Author>,
        namespace: NamespaceId,
        ops: Vec<(OpKind, Vec<OpId>, Content<'_>)>,
    ) -> Vec<u8> {
        let vault = self.vault();
        let author = who.unwrap_or(&mut self.root);
        let (sequence, before, time) = match author.logs.get(&namespace) {
            Some((sequence, head, time)) => (*sequence, *head, Some(*time)),
            None => (0, OpId::NONE, None),
        };
        let mut draft = BoxDraft::new(
            vault,
            namespace,
            author.member(),
            sequence + 1,
            before,
            time,
        );
        for (kind, targets, content) in ops {
            author.time = Time(author.time.0 + 1);
            draft
                .push(&Op::new(
                    author.time,
                    kind,
                    targets,
                    &content,
                    &mut self.rng,
                ))
                .expect("it fits");
        }
        let position = match &author.chain {
            Some(seal) => ChainPosition {
                grant: author.grant,
                ..ChainPosition::after(seal)
            },
            None => ChainPosition::first(author.grant),
        };
        let key = self.keys.get(&namespace).and_then(|keys| keys.last());
        let mut frame = Vec::new();
        let seal = seal_frame(
            &author.identity,
            position,
            &draft,
            key,
            &mut self.rng,
            &mut frame,
        )
        .expect("consistent");
        author
            .logs
            .insert(namespace, (seal.last(), seal.head, seal.time));
        author.chain = Some(seal);
        frame
    }

    /// A record of so many bytes.
    pub fn note(
        &mut self,
        who: Option<&mut Author>,
        namespace: NamespaceId,
        text: &[u8],
    ) -> Vec<u8> {
        let record = Record {
            record_type: "note",
            run: None,
            receipt: None,
            content: RecordContent::Inline(text),
        };
        self.write(
            who,
            namespace,
            vec![(OpKind::Add, Vec::new(), Content::Record(record))],
        )
    }

    pub fn blob_note(&mut self, namespace: NamespaceId, blob: BlobRef) -> Vec<u8> {
        let record = Record {
            record_type: "file",
            run: None,
            receipt: None,
            content: RecordContent::Blob(blob),
        };
        self.write(
            None,
            namespace,
            vec![(OpKind::Add, Vec::new(), Content::Record(record))],
        )
    }

    /// The root admits a member.
    pub fn admit(
        &mut self,
        kind: MemberKind,
        number: u8,
        rights: &[(NamespaceId, Right)],
    ) -> (Author, Vec<u8>) {
        self.admit_until(
            kind,
            number,
            rights,
            (kind == MemberKind::Agent).then(|| Time::from_millis(NOW + 1_000_000)),
        )
    }

    pub fn admit_until(
        &mut self,
        kind: MemberKind,
        number: u8,
        rights: &[(NamespaceId, Right)],
        expires: Option<Time>,
    ) -> (Author, Vec<u8>) {
        let identity = Identity::new(kind, seed(number));
        let grant = Grant {
            parent: GrantId::ROOT,
            card: *identity.card(),
            depth: 3,
            expires,
            rights: rights.to_vec(),
        };
        let frame = self.write(
            None,
            NamespaceId::CONTROL,
            vec![(OpKind::Grant, Vec::new(), Content::Grant(grant))],
        );
        let made = self.root.logs[&NamespaceId::CONTROL].1;
        (Author::new(identity, made.grant()), frame)
    }

    /// A member admits another.
    pub fn pass_on(
        &mut self,
        by: &mut Author,
        kind: MemberKind,
        number: u8,
        rights: &[(NamespaceId, Right)],
    ) -> (Author, Vec<u8>) {
        let identity = Identity::new(kind, seed(number));
        let grant = Grant {
            parent: by.grant,
            card: *identity.card(),
            depth: 2,
            expires: None,
            rights: rights.to_vec(),
        };
        let frame = self.write(
            Some(&mut *by),
            NamespaceId::CONTROL,
            vec![(OpKind::Grant, Vec::new(), Content::Grant(grant))],
        );
        let made = by.logs[&NamespaceId::CONTROL].1;
        (Author::new(identity, made.grant()), frame)
    }

    /// The root removes a member, having seen everything it wrote.
    pub fn revoke(&mut self, who: &Author) -> Vec<u8> {
        let revocation = Revocation {
            frontier: who.frontier(),
        };
        self.write(
            None,
            NamespaceId::CONTROL,
            vec![(
                OpKind::Revoke,
                vec![who.grant.operation()],
                Content::Revocation(revocation),
            )],
        )
    }

    /// The root makes the next key of a namespace; the keyring and the frame that names it.
    pub fn rotate(&mut self, namespace: NamespaceId, full: bool) -> (Vec<u8>, Vec<u8>) {
        let key = EpochKey::random(&mut self.rng);
        let number = self.keys.get(&namespace).map_or(0, Vec::len) as u32 + 1;
        let receive = [self.root.identity.card().receive()];
        let keyring = Keyring::seal(
            self.vault(),
            namespace,
            number,
            &key,
            "notes",
            &[],
            &receive,
            &mut self.rng,
        )
        .expect("well-formed");
        let rotation = Rotation {
            namespace,
            number,
            key: key.commitment(&self.vault(), &namespace),
            keyring: keyring.id(),
            full,
        };
        let frame = self.write(
            None,
            NamespaceId::CONTROL,
            vec![(OpKind::Rotate, Vec::new(), Content::Rotation(rotation))],
        );
        self.keys.entry(namespace).or_default().push(key);
        (keyring.encode().to_vec(), frame)
    }

    /// Makes the box of a frame anew, under the newest key.
    pub fn rebox(&mut self, who: Option<&mut Author>, frame: &[u8]) -> Vec<u8> {
        let vault = self.vault();
        let frame = FrameRef::parse(&vault, frame).expect("a frame");
        let seal = frame.seal();
        let key = self
            .key(seal.namespace, frame.key())
            .expect("the key of the box")
            .clone();
        let mut buffer = BoxBuffer::new();
        let opened = frame
            .open(Some(&key), &mut buffer)
            .expect("opens")
            .expect("has a box");
        let mut draft = BoxDraft::anew(seal);
        for row in opened.iter() {
            draft.push_ref(&row.op).expect("it fitted before");
        }
        let newest = self.keys[&seal.namespace].last().expect("a key").clone();
        let packer = who.unwrap_or(&mut self.root);
        packer.time = Time(packer.time.0 + 1);
        let mut out = Vec::new();
        rebox_frame(
            &packer.identity,
            packer.grant,
            packer.time,
            seal,
            &draft,
            &newest,
            &mut self.rng,
            &mut out,
        )
        .expect("the same operations");
        out
    }

    fn key(&self, namespace: NamespaceId, id: KeyId) -> Option<&EpochKey> {
        self.keys
            .get(&namespace)?
            .iter()
            .find(|key| key.commitment(&self.vault(), &namespace).key_id() == id)
    }

    /// What a reader with every key sees in a copy.
    pub fn state_hash(&self, copy: &impl Replica) -> [u8; 32] {
        let vault = self.vault();
        let mut fold = Fold::new(vault, *self.genesis.root());
        for bytes in frames(copy) {
            let frame = FrameRef::parse(&vault, &bytes).expect("kept frames parse");
            let mut buffer = BoxBuffer::new();
            let key = self.key(frame.seal().namespace, frame.key());
            let opened = frame.open(key, &mut buffer).expect("every key is known");
            let operations: Option<Vec<Operation>> = opened.map(|opened| {
                opened
                    .iter()
                    .map(|row| Operation::new(row.id, &row.op))
                    .collect()
            });
            fold.insert(frame.seal_id(), frame.seal(), operations.as_deref())
                .expect("well-formed");
        }
        fold.view().state_hash()
    }
}

/// Puts a frame into a copy, which must take it.
pub fn put(copy: &mut impl Replica, frame: &[u8]) {
    assert_eq!(copy.insert(frame).expect("it is written"), Taken::New);
    assert_eq!(copy.commit(true).expect("it is written"), Taken::New);
}

/// Every frame that a copy shows, as a session would send it.
pub fn frames(copy: &impl Replica) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for author in copy.authors().expect("it is read") {
        let mut places = Vec::new();
        copy.items(&author, 1..=u64::MAX, &mut |item| {
            places.push((item.counter, item.seal));
        })
        .expect("it is read");
        for (counter, seal) in places {
            let frame = copy.frame(&author, counter, &seal).expect("it is read");
            frames.push(frame.expect("what is shown is there"));
        }
    }
    frames
}

/// What a copy holds, to be compared.
pub fn holdings(copy: &impl Replica) -> Vec<Vec<u8>> {
    let mut all = frames(copy);
    all.sort();
    all
}

/// Frames without the signatures of their seals, which are not under the seals' ids.
pub fn substance(copy: &impl Replica) -> std::collections::BTreeSet<Vec<u8>> {
    let mut all = frames(copy);
    for frame in &mut all {
        frame[6 + Seal::LEN - 64..6 + Seal::LEN].fill(0);
    }
    all.into_iter().collect()
}

pub fn boxes(copy: &impl Replica, vault: &VaultId) -> BTreeMap<NamespaceId, usize> {
    let mut counts = BTreeMap::new();
    for bytes in frames(copy) {
        let frame = FrameRef::parse(vault, &bytes).expect("kept frames parse");
        *counts.entry(frame.seal().namespace).or_default() +=
            usize::from(frame.sealed_box().is_some());
    }
    counts
}

pub fn rng(number: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(number)
}

/// One session between two copies, over two ends of a channel.
pub async fn session<A: Replica, B: Replica, S: AsyncRead + AsyncWrite + Unpin>(
    (a, as_a): (&mut A, &Identity),
    (b, as_b): (&mut B, &Identity),
    (mut near, mut far): (S, S),
    number: u64,
    limits: &Limits,
) -> Ends<A, B> {
    let (mut rng_a, mut rng_b) = (rng(2 * number), rng(2 * number + 1));
    tokio::join!(
        async {
            let ended = initiate(a, &mut near, as_a, b"channel", &mut rng_a, limits).await;
            drop(near);
            ended
        },
        async {
            let ended = respond(b, &mut far, as_b, b"channel", &mut rng_b, limits).await;
            drop(far);
            ended
        }
    )
}

/// One session over memory, which both sides end content.
pub async fn sync<A: Replica, B: Replica>(
    a: (&mut A, &Identity),
    b: (&mut B, &Identity),
) -> Ends<A, B> {
    let (left, right) = session(a, b, tokio::io::duplex(64 * 1024), 7, &Limits::default()).await;
    assert!(left.result.is_ok(), "{:?}", left);
    assert!(right.result.is_ok(), "{:?}", right);
    assert_eq!(left.report.bytes_sent, right.report.bytes_received);
    assert_eq!(left.report.bytes_received, right.report.bytes_sent);
    (left, right)
}

/// A seal's place, for tests that look for one.
pub fn place(vault: &VaultId, frame: &[u8]) -> (MemberId, u64, SealId) {
    let frame = FrameRef::parse(vault, frame).expect("a frame");
    (frame.seal().author, frame.seal().counter, frame.seal_id())
}

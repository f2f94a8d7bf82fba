//! Whole small vaults, each with what a reader answers. To add one: tell its story in a function, say of each operation
//! that does not stay `valid` what becomes of it, and name the findings. Nothing here folds: the statuses are what the
//! author of the story says they are, so a wrong fold and a right one differ.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};
use tally_vault_format::{
    BlobId, Body, BoxBuffer, BoxDraft, ChainPosition, Content, EpochKey, FrameRef, Genesis, Grant,
    GrantId, Identity, Keyring, LogPosition, MemberId, MemberKind, NamespaceId, Op, OpId, OpKind,
    Record, RecordContent, Revocation, Right, Rotation, Seed, Slot, SlotCost, Time, VaultId,
    portable, rebox_frame, seal_frame, to_phrase,
};

use crate::{manifest::Manifest, raw};

const START: u64 = 1_795_000_000_000;
const HEALTH: NamespaceId = NamespaceId([0x0a; 16]);
const VOID: u8 = 0;
const SUPERSEDED: u8 = 2;
const RETRACTED: u8 = 3;
const REDACTED: u8 = 4;

/// Where an author's log ends.
#[derive(Clone, Copy)]
struct Log {
    first: u64,
    before: OpId,
    time: Option<Time>,
}

/// A vault while it is told.
struct Story {
    name: &'static str,
    what: &'static str,
    rng: ChaCha20Rng,
    genesis: Genesis,
    vault: VaultId,
    root: Identity,
    millis: u64,
    logs: BTreeMap<(MemberId, NamespaceId), Log>,
    chains: BTreeMap<MemberId, ChainPosition>,
    key: EpochKey,
    frames: Vec<Vec<u8>>,
    slots: Vec<Slot>,
    keyrings: Vec<Vec<u8>>,
    blobs: Vec<Vec<u8>>,
    statuses: BTreeMap<OpId, u8>,
    /// What the records are in the end: the record's name, and the version that is shown.
    records: BTreeMap<OpId, Value>,
    findings: BTreeSet<&'static str>,
    secret: Option<(&'static str, String)>,
}

impl Story {
    fn new(name: &'static str, what: &'static str) -> Self {
        let mut rng = raw::rng(name);
        let root = Identity::new(MemberKind::Root, Seed::random(&mut rng));
        let genesis = Genesis::new(&root, Time::from_millis(START), &mut rng);
        let key = EpochKey::random(&mut rng);
        Self {
            name,
            what,
            vault: genesis.vault_id(),
            genesis,
            root,
            millis: START,
            logs: BTreeMap::new(),
            chains: BTreeMap::new(),
            key,
            frames: Vec::new(),
            slots: Vec::new(),
            keyrings: Vec::new(),
            blobs: Vec::new(),
            statuses: BTreeMap::new(),
            records: BTreeMap::new(),
            findings: BTreeSet::new(),
            secret: None,
            rng,
        }
    }

    /// A vault with one namespace, its key delivered to `members` besides the root, each granted `right` in it.
    fn with_members(
        name: &'static str,
        what: &'static str,
        members: &[(&Identity, Right, u8)],
    ) -> (Self, Vec<GrantId>) {
        let mut story = Self::new(name, what);
        let root = story.root();
        let receive: Vec<_> = std::iter::once(&root)
            .chain(members.iter().map(|(member, ..)| *member))
            .map(|m| m.card().receive())
            .collect();
        story.rotate(&root, GrantId::ROOT, 1, story.key.clone(), &[], &receive);
        let grants = members
            .iter()
            .map(|(member, right, depth)| {
                story.grant(&root, GrantId::ROOT, member, *right, *depth, None)
            })
            .collect();
        (story, grants)
    }

    fn root(&self) -> Identity {
        Identity::new(MemberKind::Root, self.root.seed().clone())
    }

    fn member(name: &str, kind: MemberKind) -> Identity {
        Identity::new(kind, Seed::random(&mut raw::rng(name)))
    }

    fn now(&mut self) -> Time {
        self.millis += 1_000;
        Time::from_millis(self.millis)
    }

    /// Seals operations of one log as one frame.
    fn write(
        &mut self,
        author: &Identity,
        grant: GrantId,
        namespace: NamespaceId,
        ops: Vec<(OpKind, Vec<OpId>, Content<'_>)>,
    ) -> Vec<OpId> {
        let place = (author.member(), namespace);
        let log = self.logs.get(&place).copied().unwrap_or(Log {
            first: 1,
            before: OpId::NONE,
            time: None,
        });
        let mut draft = BoxDraft::new(
            self.vault,
            namespace,
            author.member(),
            log.first,
            log.before,
            log.time,
        );
        let ids: Vec<OpId> = ops
            .into_iter()
            .map(|(kind, targets, content)| {
                let time = self.now();
                draft
                    .push(&Op::new(time, kind, targets, &content, &mut self.rng))
                    .unwrap()
            })
            .collect();
        let mut position = self
            .chains
            .get(&author.member())
            .copied()
            .unwrap_or(ChainPosition::first(grant));
        position.grant = grant;
        let key = (namespace != NamespaceId::CONTROL).then(|| self.key.clone());
        let mut frame = Vec::new();
        let seal = seal_frame(
            author,
            position,
            &draft,
            key.as_ref(),
            &mut self.rng,
            &mut frame,
        )
        .unwrap();
        self.chains
            .insert(author.member(), ChainPosition::after(&seal));
        self.logs.insert(
            place,
            Log {
                first: seal.last() + 1,
                before: seal.head,
                time: Some(seal.time),
            },
        );
        self.frames.push(frame);
        self.statuses.extend(ids.iter().map(|id| (*id, 1)));
        ids
    }

    fn rotate(
        &mut self,
        author: &Identity,
        grant: GrantId,
        number: u32,
        key: EpochKey,
        older: &[EpochKey],
        recipients: &[tally_vault_format::ReceiveKey],
    ) -> OpId {
        let keyring = Keyring::seal(
            self.vault,
            HEALTH,
            number,
            &key,
            "health",
            older,
            recipients,
            &mut self.rng,
        )
        .unwrap();
        let rotation = Rotation {
            namespace: HEALTH,
            number,
            key: keyring.key(),
            keyring: keyring.id(),
            full: false,
        };
        self.keyrings.push(keyring.encode().to_vec());
        self.key = key;
        self.write(
            author,
            grant,
            NamespaceId::CONTROL,
            vec![(OpKind::Rotate, vec![], Content::Rotation(rotation))],
        )[0]
    }

    fn grant(
        &mut self,
        author: &Identity,
        parent: GrantId,
        subject: &Identity,
        right: Right,
        depth: u8,
        expires: Option<Time>,
    ) -> GrantId {
        let grant = Grant {
            parent,
            card: *subject.card(),
            depth,
            expires,
            rights: vec![(HEALTH, right)],
        };
        self.write(
            author,
            parent,
            NamespaceId::CONTROL,
            vec![(OpKind::Grant, vec![], Content::Grant(grant))],
        )[0]
        .grant()
    }

    /// Adds a text that is a record of its own in the end.
    fn add(&mut self, author: &Identity, grant: GrantId, text: &str) -> OpId {
        let time = Time::from_millis(self.millis + 1_000);
        let id = self.write(
            author,
            grant,
            HEALTH,
            vec![(OpKind::Add, vec![], note(text))],
        )[0];
        self.shows(id, id, author, time, text);
        id
    }

    /// Says that the record `name` shows the version `id` in the end.
    fn shows(&mut self, name: OpId, id: OpId, author: &Identity, time: Time, text: &str) {
        self.records.insert(
            name,
            json!({
                "record": name.to_string(), "id": id.to_string(), "namespace": HEALTH.to_string(),
                "author": author.member().to_string(), "time": time.0, "type": "note", "run": "", "receipt": "",
                "content": hex::encode(text), "conflicts": [],
            }),
        );
    }

    /// Says what becomes of an operation that is not simply valid; a record of its name is not shown.
    fn becomes(&mut self, id: OpId, status: u8) {
        self.statuses.insert(id, status);
        self.records.remove(&id);
    }

    fn state_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.vault.0);
        for (id, status) in self.statuses.iter().filter(|(_, status)| **status != VOID) {
            hasher.update(&id.0).update(&[*status]);
        }
        hasher.finalize().to_hex().to_string()
    }

    fn portable(&self) -> Vec<u8> {
        use portable::SectionKind as Kind;
        let sections = std::iter::once((Kind::Genesis, &self.genesis.encode()[..]))
            .chain(
                self.slots
                    .iter()
                    .map(|slot| (Kind::Slot, &slot.encode()[..])),
            )
            .chain(
                self.keyrings
                    .iter()
                    .map(|bytes| (Kind::Keyring, &bytes[..])),
            )
            .chain(self.frames.iter().map(|bytes| (Kind::Frame, &bytes[..])))
            .chain(self.blobs.iter().map(|bytes| (Kind::Blob, &bytes[..])));
        portable::encode(sections).unwrap()
    }

    fn folder(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::from([("VAULT".to_owned(), self.genesis.encode().to_vec())]);
        for slot in &self.slots {
            files.insert(
                format!("slots/{}", slot.file_name()),
                slot.encode().to_vec(),
            );
        }
        for keyring in &self.keyrings {
            files.insert(
                format!("keys/{}.key", blake3::hash(keyring).to_hex()),
                keyring.clone(),
            );
        }
        for blob in &self.blobs {
            files.insert(
                format!("blob/{}.blob", BlobId::of(blob).unwrap()),
                blob.clone(),
            );
        }
        // The last frame is still in its author's tail.
        let (last, closed) = self.frames.split_last().unwrap();
        let segment = [b"TALLYSEG\0\x01".as_slice(), &closed.concat()].concat();
        files.insert(
            format!("seg/{}.seg", blake3::hash(&segment).to_hex()),
            segment,
        );
        let author = FrameRef::parse(&self.vault, last).unwrap().seal().author;
        files.insert(
            format!("tail/{author}.log"),
            [b"TALLYSEG\0\x01".as_slice(), last].concat(),
        );
        files
    }

    fn entry(&self, class: &str, path: &str) -> Value {
        let seed = || ("seed", hex::encode(self.root.seed().expose()));
        let (how, secret) = self.secret.clone().unwrap_or_else(seed);
        json!({
            "name": self.name, "what": self.what, "path": path, "id": self.vault.to_string(),
            "secret": { "how": how, "value": secret }, "expect": class,
        })
    }

    /// As a portable file that is read.
    fn tell(self, manifest: &mut Manifest, class: &str) {
        let path = format!("vaults/{}.vex", self.name);
        let bytes = self.portable();
        self.tell_as(
            manifest,
            class,
            &path,
            BTreeMap::from([(path.clone(), bytes)]),
        );
    }

    /// As a folder that is read.
    fn tell_folder(
        self,
        manifest: &mut Manifest,
        class: &str,
        edit: impl FnOnce(&mut BTreeMap<String, Vec<u8>>),
    ) {
        let path = format!("vaults/{}", self.name);
        let mut files = self.folder();
        edit(&mut files);
        let files = files
            .into_iter()
            .map(|(name, bytes)| (format!("{path}/{name}"), bytes))
            .collect();
        self.tell_as(manifest, class, &path, files);
    }

    fn tell_as(
        self,
        manifest: &mut Manifest,
        class: &str,
        path: &str,
        files: BTreeMap<String, Vec<u8>>,
    ) {
        let mut entry = self.entry(class, path);
        let names = ["void", "valid", "superseded", "retracted", "redacted"];
        let operations: BTreeMap<String, &str> = self
            .statuses
            .iter()
            .map(|(id, status)| (id.to_string(), names[usize::from(*status)]))
            .collect();
        entry["answer"] = json!({
            "state": self.state_hash(),
            "records": self.records.values().collect::<Vec<_>>(),
            "operations": operations,
            "findings": self.findings,
        });
        manifest.vault(entry, files);
    }

    /// As a portable file that is refused as a whole.
    fn refused(
        self,
        manifest: &mut Manifest,
        class: &str,
        code: &str,
        edit: impl FnOnce(&mut Vec<u8>),
    ) {
        let path = format!("vaults/{}.vex", self.name);
        let mut bytes = self.portable();
        edit(&mut bytes);
        let mut entry = self.entry(class, &path);
        entry["answer"] = json!({ "refused": code });
        manifest.vault(entry, BTreeMap::from([(path, bytes)]));
    }
}

fn note(text: &str) -> Content<'_> {
    Content::Record(Record {
        record_type: "note",
        run: None,
        receipt: None,
        content: RecordContent::Inline(text.as_bytes()),
    })
}

pub(crate) fn write(manifest: &mut Manifest) {
    readable(manifest);
    keys(manifest);
    forgetting(manifest);
    chains(manifest);
    rights(manifest);
    files(manifest);
}

fn simple(name: &'static str, what: &'static str) -> Story {
    let (mut story, _) = Story::with_members(name, what, &[]);
    let root = story.root();
    story.add(&root, GrantId::ROOT, "allergic to penicillin");
    story.add(&root, GrantId::ROOT, "born in 1815");
    story
}

fn readable(manifest: &mut Manifest) {
    simple("simple", "one namespace, two records, by the root").tell(manifest, "success");
    simple(
        "simple-folder",
        "the same kind of vault as a folder, its last frame in a tail",
    )
    .tell_folder(manifest, "success", |_| {});

    let mut story = simple("phrase", "opened with the recovery phrase");
    story.secret = Some(("phrase", to_phrase(story.root.seed()).to_string()));
    story.tell(manifest, "success");

    let slot = Story::member("slot member", MemberKind::Slot);
    let (mut story, grants) = Story::with_members(
        "passphrase",
        "opened with a passphrase, by a member that may do everything there",
        &[(&slot, Right::Admin, 1)],
    );
    story.slots.push(
        Slot::seal(
            story.vault,
            &slot,
            "correct horse",
            SlotCost::LEAST,
            &mut story.rng,
        )
        .unwrap(),
    );
    story.add(&slot, grants[0], "by the slot");
    story.secret = Some(("passphrase", "correct horse".into()));
    story.tell(manifest, "success");

    let device = Story::member("device", MemberKind::Device);
    let (mut story, grants) = Story::with_members(
        "versions",
        "a record that was superseded, one that was retracted, and two concurrent versions of one",
        &[(&device, Right::Curate, 0)],
    );
    let root = story.root();
    let first = story.add(&root, GrantId::ROOT, "lives in Paris");
    let gone = story.add(&root, GrantId::ROOT, "likes liver");
    let time = Time::from_millis(story.millis + 1_000);
    let one = story.write(
        &root,
        GrantId::ROOT,
        HEALTH,
        vec![(OpKind::Supersede, vec![first], note("lives in London"))],
    )[0];
    story.write(
        &device,
        grants[0],
        HEALTH,
        vec![(OpKind::Retract, vec![gone], Content::Reason("not true"))],
    );
    let late = Time::from_millis(story.millis + 1_000);
    let two = story.write(
        &device,
        grants[0],
        HEALTH,
        vec![(OpKind::Supersede, vec![first], note("lives in Rome"))],
    )[0];
    assert!(late > time);
    story.becomes(gone, RETRACTED);
    story.becomes(first, SUPERSEDED);
    let name = first.min(one).min(two);
    story.shows(name, two, &device, late, "lives in Rome");
    story.records.get_mut(&name).unwrap()["conflicts"] = json!([one.to_string()]);
    story.tell(manifest, "success");

    let (mut story, _) = Story::with_members("blob", "a large content in a file of its own", &[]);
    let root = story.root();
    let text = "large ".repeat(60);
    let (file, blob) =
        tally_vault_format::seal_blob(&story.vault, text.as_bytes(), &mut story.rng).unwrap();
    story.blobs.push(file);
    let record = Record {
        record_type: "note",
        run: None,
        receipt: None,
        content: RecordContent::Blob(blob),
    };
    let time = Time::from_millis(story.millis + 1_000);
    let id = story.write(
        &root,
        GrantId::ROOT,
        HEALTH,
        vec![(OpKind::Add, vec![], Content::Record(record))],
    )[0];
    story.shows(id, id, &root, time, &text);
    story.tell(manifest, "success");

    simple("wrong-id", "another vault than the reader expects").replaced(manifest);
}

impl Story {
    /// A vault that is whole, read by one who remembers another id.
    fn replaced(self, manifest: &mut Manifest) {
        let path = format!("vaults/{}.vex", self.name);
        let mut entry = self.entry("header", &path);
        entry["id"] = "07".repeat(32).into();
        entry["answer"] = json!({ "refused": "genesis.other" });
        manifest.vault(entry, BTreeMap::from([(path, self.portable())]));
    }
}

fn keys(manifest: &mut Manifest) {
    let (mut story, _) = Story::with_members(
        "rotated",
        "a second key, with the first among its older ones",
        &[],
    );
    let root = story.root();
    story.add(&root, GrantId::ROOT, "under the first key");
    let (old, new) = (story.key.clone(), EpochKey::random(&mut story.rng));
    story.rotate(
        &root,
        GrantId::ROOT,
        2,
        new,
        &[old],
        &[root.card().receive()],
    );
    story.add(&root, GrantId::ROOT, "under the second key");
    story.tell(manifest, "success");

    let mut story = simple(
        "keyring-foreign",
        "a keyring that no rotation names, thrown in",
    );
    let root = story.root();
    let key = EpochKey::random(&mut story.rng);
    let keyring = Keyring::seal(
        story.vault,
        HEALTH,
        9,
        &key,
        "health",
        &[],
        &[root.card().receive()],
        &mut story.rng,
    )
    .unwrap();
    story.keyrings.push(keyring.encode().to_vec());
    story.findings.insert("keyring.foreign");
    story.tell(manifest, "success");

    let stranger = Story::member("stranger", MemberKind::Slot);
    let mut story = simple(
        "slot-foreign",
        "a slot of a member that has no grant, thrown in, and its passphrase",
    );
    story.slots.push(
        Slot::seal(
            story.vault,
            &stranger,
            "correct horse",
            SlotCost::LEAST,
            &mut story.rng,
        )
        .unwrap(),
    );
    story.secret = Some(("passphrase", "correct horse".into()));
    story.refused(manifest, "no match", "passphrase", |_| {});
}

fn forgetting(manifest: &mut Manifest) {
    let curator = Story::member("curator", MemberKind::Device);
    let stranger = Story::member("stranger", MemberKind::Agent);
    for (name, what, stray) in [
        (
            "redacted",
            "a record that was redacted, its frame boxed anew by a curator without the body",
            false,
        ),
        (
            "rebox-by-stranger",
            "the same, but boxed anew by somebody without a right: what it holds is still what the author sealed",
            true,
        ),
    ] {
        let (mut story, grants) = Story::with_members(name, what, &[(&curator, Right::Curate, 0)]);
        let root = story.root();
        let id = story.add(&root, GrantId::ROOT, "a secret");
        story.write(
            &curator,
            grants[0],
            HEALTH,
            vec![(OpKind::Redact, vec![id], Content::Reason("asked to"))],
        );
        story.becomes(id, REDACTED);
        let position = story
            .frames
            .iter()
            .position(|frame| FrameRef::parse(&story.vault, frame).unwrap().seal().head == id)
            .unwrap();
        let bytes = story.frames[position].clone();
        let frame = FrameRef::parse(&story.vault, &bytes).unwrap();
        let mut buffer = BoxBuffer::new();
        let opened = frame.open(Some(&story.key), &mut buffer).unwrap().unwrap();
        let mut draft = BoxDraft::anew(frame.seal());
        for op in opened.iter() {
            let mut owned = op.op.to_op();
            owned.body = Body::Redacted(op.op.body().commitment());
            draft.push(&owned).unwrap();
        }
        let time = story.now();
        let mut out = Vec::new();
        let packer = if stray { &stranger } else { &curator };
        rebox_frame(
            packer,
            grants[0],
            time,
            frame.seal(),
            &draft,
            &story.key.clone(),
            &mut story.rng,
            &mut out,
        )
        .unwrap();
        story.frames[position] = out;
        story.tell(manifest, "success");
    }
}

fn chains(manifest: &mut Manifest) {
    let mut story = simple(
        "seal-gap",
        "the frame before the last is withheld: the last stands by its own signature",
    );
    let missing = story.frames.remove(1);
    forget(&mut story, &missing);
    story.findings.insert("seal.gap");
    story.tell(manifest, "rollback");

    let mut story = simple(
        "seal-forged",
        "the last seal's signature with one bit changed",
    );
    let last = story.frames.pop().unwrap();
    forget(&mut story, &last);
    let mut forged = last.clone();
    forged[6 + 300] ^= 1;
    story.frames.push(forged);
    story.findings.insert("seal.forged");
    story.tell(manifest, "mac");

    let mut story = simple(
        "forked",
        "an author who seals two frames with one counter and one sequence number: both count",
    );
    let root = story.root();
    let (chains, logs) = (story.chains.clone(), story.logs.clone());
    story.add(&root, GrantId::ROOT, "one story");
    (story.chains, story.logs) = (chains, logs);
    story.add(&root, GrantId::ROOT, "another story");
    story.findings.insert("author.forked");
    story.tell(manifest, "rollback");

    let mut story = simple("doubled", "every frame twice: a union does not mind");
    let frames = story.frames.clone();
    story.frames.extend(frames);
    story.tell(manifest, "success");

    let mut story = simple("reordered", "the frames in the opposite order");
    story.frames.reverse();
    story.tell(manifest, "success");

    let mut story = simple("frame-foreign", "a frame of another vault, thrown in");
    let other = simple("frame-foreign-source", "");
    story.frames.push(other.frames[0].clone());
    story.findings.insert("frame.foreign");
    story.tell(manifest, "header");

    let mut story = simple("box-altered", "the last box with one bit changed");
    let last = story.frames.last().unwrap().clone();
    forget(&mut story, &last);
    *story.frames.last_mut().unwrap().last_mut().unwrap() ^= 1;
    story.findings.insert("box.altered");
    story.tell(manifest, "payload");

    let mut story = simple("box-missing", "the last frame without its box");
    let last = story.frames.pop().unwrap();
    forget(&mut story, &last);
    let mut bare = Vec::new();
    FrameRef::parse(&story.vault, &last)
        .unwrap()
        .write_without_box(&mut bare);
    story.frames.push(bare);
    story.findings.insert("box.missing");
    story.tell(manifest, "payload");
}

/// The operations of this frame are not to be read any more.
fn forget(story: &mut Story, frame: &[u8]) {
    let frame = FrameRef::parse(&story.vault, frame).unwrap();
    let key = story.key.clone();
    let mut buffer = BoxBuffer::new();
    let key = (frame.seal().namespace != NamespaceId::CONTROL).then_some(&key);
    let ids: Vec<OpId> = frame
        .open(key, &mut buffer)
        .unwrap()
        .unwrap()
        .iter()
        .map(|op| op.id)
        .collect();
    for id in ids {
        story.statuses.remove(&id);
        story.records.remove(&id);
    }
}

fn rights(manifest: &mut Manifest) {
    let agent = Story::member("agent", MemberKind::Agent);
    let helper = Story::member("helper", MemberKind::Agent);
    let stranger = Story::member("stranger", MemberKind::Device);

    let (mut story, _) = Story::with_members(
        "stranger-writes",
        "a record by somebody who names the root's grant and has none",
        &[],
    );
    let id = story.add(&stranger, GrantId::ROOT, "trust me");
    story.becomes(id, VOID);
    story.findings.insert("operation.void");
    story.tell(manifest, "capability");

    let (mut story, grants) = Story::with_members(
        "reader-writes",
        "a record by a member who may only read",
        &[(&stranger, Right::Read, 0)],
    );
    let id = story.add(&stranger, grants[0], "trust me");
    story.becomes(id, VOID);
    story.findings.insert("operation.void");
    story.tell(manifest, "capability");

    let (mut story, grants) = Story::with_members(
        "appender-curates",
        "a retract of somebody else's record by a member who may only append",
        &[(&stranger, Right::Append, 0)],
    );
    let root = story.root();
    let id = story.add(&root, GrantId::ROOT, "stays");
    let retract = story.write(
        &stranger,
        grants[0],
        HEALTH,
        vec![(OpKind::Retract, vec![id], Content::Reason(""))],
    )[0];
    story.becomes(retract, VOID);
    story.findings.insert("operation.void");
    story.tell(manifest, "capability");

    for (name, what, parent_depth, right, depth, expires) in [
        (
            "widened-right",
            "a grant with a greater right than its parent's, and what was written under it",
            1,
            Right::Curate,
            0,
            5_000_000,
        ),
        (
            "widened-depth",
            "a grant as deep as its parent",
            1,
            Right::Append,
            1,
            5_000_000,
        ),
        (
            "widened-no-depth",
            "a grant below one that allows none",
            0,
            Right::Append,
            0,
            5_000_000,
        ),
        (
            "agent-without-expiry",
            "an agent's grant that never ends",
            1,
            Right::Append,
            0,
            0,
        ),
    ] {
        let (mut story, grants) =
            Story::with_members(name, what, &[(&stranger, Right::Append, parent_depth)]);
        let expires = (expires > 0).then(|| Time::from_millis(START + expires));
        let grant = story.grant(&stranger, grants[0], &helper, right, depth, expires);
        story.becomes(grant.operation(), VOID);
        let id = story.add(&helper, grant, "under it");
        story.becomes(id, VOID);
        story.findings.insert("operation.void");
        story.tell(manifest, "capability");
    }

    let (mut story, _) = Story::with_members(
        "expired",
        "a record that its author dates after the end of its grant",
        &[],
    );
    let root = story.root();
    let end = Time::from_millis(story.millis + 5_000);
    let grant = story.grant(&root, GrantId::ROOT, &agent, Right::Append, 0, Some(end));
    story.add(&agent, grant, "in time");
    story.millis += 60_000;
    let id = story.add(&agent, grant, "too late");
    story.becomes(id, VOID);
    story.findings.insert("operation.void");
    story.tell(manifest, "capability");

    let (mut story, grants) = Story::with_members(
        "removed",
        "a member writes on after its removal: what the revoker had seen stays, the rest does not count",
        &[(&stranger, Right::Append, 0)],
    );
    let root = story.root();
    let seen = story.add(&stranger, grants[0], "before");
    let frontier = vec![LogPosition {
        namespace: HEALTH,
        sequence: 1,
        operation: seen,
    }];
    story.write(
        &root,
        GrantId::ROOT,
        NamespaceId::CONTROL,
        vec![(
            OpKind::Revoke,
            vec![grants[0].operation()],
            Content::Revocation(Revocation { frontier }),
        )],
    );
    let id = story.add(&stranger, grants[0], "after");
    story.becomes(id, VOID);
    story.findings.extend(["operation.void", "key.spoiled"]);
    story.tell(manifest, "capability");
}

/// Which sector of a write did not reach the disk.
enum Missing {
    First,
    InTheSeal,
    InTheBox,
}

fn tail(files: &mut BTreeMap<String, Vec<u8>>) -> &mut Vec<u8> {
    files
        .iter_mut()
        .find(|(name, _)| name.starts_with("tail/"))
        .unwrap()
        .1
}

fn files(manifest: &mut Manifest) {
    let mut story = simple(
        "tail-torn",
        "a write to the tail that was cut off: it was never acknowledged",
    );
    let root = story.root();
    let before = (story.statuses.clone(), story.records.clone());
    let kept = story.frames.last().unwrap().clone();
    story.add(&root, GrantId::ROOT, "never acknowledged");
    (story.statuses, story.records) = before;
    let torn = story.frames.pop().unwrap();
    story.findings.insert("tail.cut");
    story.tell_folder(manifest, "success", |files| {
        let tail = files
            .iter_mut()
            .find(|(name, _)| name.starts_with("tail/"))
            .unwrap()
            .1;
        assert!(tail.ends_with(&kept));
        tail.extend_from_slice(&torn[..torn.len() - 10]);
    });

    simple(
        "tail-room",
        "zeros at the end of a tail: room for what its author writes next",
    )
    .tell_folder(manifest, "success", |files| {
        tail(files).resize(4_096, 0);
    });
    for (name, what, at) in [
        (
            "tail-room-torn",
            "a write into the room of which a sector is missing, inside the box: it was never acknowledged",
            Missing::InTheBox,
        ),
        (
            "tail-room-headless",
            "a write into the room of which the first sector is missing: it was never acknowledged",
            Missing::First,
        ),
        (
            "tail-room-sealless",
            "a write into the room of which a sector is missing, inside the seal: it was never acknowledged",
            Missing::InTheSeal,
        ),
    ] {
        let mut story = simple(name, what);
        let root = story.root();
        let before = (story.statuses.clone(), story.records.clone());
        story.add(&root, GrantId::ROOT, &"never acknowledged ".repeat(60));
        (story.statuses, story.records) = before;
        let torn = story.frames.pop().unwrap();
        story.findings.insert("tail.cut");
        story.tell_folder(manifest, "success", |files| {
            let tail = tail(files);
            let start = tail.len();
            tail.extend_from_slice(&torn);
            // The sectors that the frame lies in, as parts of the frame.
            let sector = |number: usize| {
                let at = (start / 512 + number) * 512;
                at.max(start)..at + 512
            };
            let missing = match at {
                Missing::First => sector(0),
                Missing::InTheSeal => {
                    // So that a sector ends inside the seal.
                    let (at, seal) = (sector(1), start + 6..start + 358);
                    assert!(at.start < seal.end && at.start > seal.start + 64);
                    at
                }
                Missing::InTheBox => {
                    let at = sector(2);
                    assert!(at.start > start + 358 && at.end < start + torn.len());
                    at
                }
            };
            tail[missing].fill(0);
            tail.resize(8_192, 0);
        });
    }

    let mut story = simple(
        "segment-damaged",
        "the first frame of a segment does not begin with 0xF1: the reader goes on behind it",
    );
    story.add(&story.root(), GrantId::ROOT, "in the tail");
    let first = story.frames[1].clone();
    forget(&mut story, &first);
    let at = 10 + story.frames[0].len();
    story
        .findings
        .extend(["frame.damaged", "file.misnamed", "seal.gap"]);
    story.tell_folder(manifest, "header", |files| {
        files
            .iter_mut()
            .find(|(name, _)| name.starts_with("seg/"))
            .unwrap()
            .1[at] ^= 1;
    });

    let story = simple(
        "misnamed",
        "a segment under another name than its hash: its frames verify and count",
    );
    let mut story = story;
    story.findings.insert("file.misnamed");
    story.tell_folder(manifest, "success", |files| {
        let name = files
            .keys()
            .find(|name| name.starts_with("seg/"))
            .unwrap()
            .clone();
        let bytes = files.remove(&name).unwrap();
        files.insert(format!("seg/{}.seg", "07".repeat(32)), bytes);
    });

    simple("without-end", "a portable file that ends before its end").refused(
        manifest,
        "header",
        "file.incomplete",
        |bytes| bytes.truncate(bytes.len() - 41),
    );
    simple(
        "genesis-flipped",
        "a byte of the genesis changed, and the file's hash with it",
    )
    .refused(manifest, "mac", "genesis.damaged", |bytes| {
        bytes[10 + 9 + 12] ^= 1;
        let body = bytes.len() - 41;
        let hash = *blake3::hash(&bytes[..body]).as_bytes();
        bytes[body + 9..].copy_from_slice(&hash);
    });
}
